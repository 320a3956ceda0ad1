//! What can go wrong between two sockets, in the words of the person at this end.

use std::{fmt, io, net::SocketAddr, time::Duration};

use crate::net::{http::Response, trust::TlsFault};

/// Why no usable connection or listener came about.
#[derive(Debug)]
pub enum NetError {
    /// The other end answered the upgrade with a wrong key: it is no WebSocket server.
    AcceptKeyMismatch,
    /// An address could not be bound.
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The upgrade got no usable answer.
    Head(HeadFault),
    /// The connection broke.
    Io(io::Error),
    /// The other end answered the upgrade with another status than 101.
    Refused {
        /// Its HTTP status.
        status: u16,
        /// The start of its body, for the person who reads this.
        body: String,
    },
    /// Nothing answered in time.
    TimedOut,
    /// TLS did not come about.
    Tls(TlsFault),
    /// Connecting failed at every address of the host.
    Unreachable {
        /// Host and port as asked for.
        target: String,
        /// What the system said about the last address.
        source: io::Error,
    },
    /// The host name has no address.
    Unresolved {
        /// The host as asked for.
        host: String,
    },
}

impl fmt::Display for NetError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AcceptKeyMismatch => {
                formatter.write_str("the server's upgrade answer is not a WebSocket's")
            }
            Self::Bind { address, source } => {
                write!(formatter, "cannot listen on {address}: {source}")
            }
            Self::Head(fault) => write!(formatter, "no usable answer to the upgrade: {fault}"),
            Self::Io(source) => write!(formatter, "connection lost: {source}"),
            Self::Refused { status, body } if body.is_empty() => {
                write!(
                    formatter,
                    "the server refused the upgrade with HTTP {status}"
                )
            }
            Self::Refused { status, body } => {
                write!(
                    formatter,
                    "the server refused the upgrade with HTTP {status}: {body}"
                )
            }
            Self::TimedOut => formatter.write_str("no answer in time"),
            Self::Tls(fault) => fault.fmt(formatter),
            Self::Unreachable { target, source } => {
                write!(formatter, "cannot connect to {target}: {source}")
            }
            Self::Unresolved { host } => write!(formatter, "cannot find the address of {host}"),
        }
    }
}

impl std::error::Error for NetError {}

impl NetError {
    /// The same without what the other end said, for a reader who is not to see the answers of just any server.
    #[must_use]
    pub fn without_body(self) -> Self {
        match self {
            Self::Refused { status, .. } => Self::Refused {
                status,
                body: String::new(),
            },
            other => other,
        }
    }
}

impl From<io::Error> for NetError {
    fn from(source: io::Error) -> Self {
        if source.kind() == io::ErrorKind::TimedOut {
            Self::TimedOut
        } else {
            Self::Io(source)
        }
    }
}

impl From<HeadFault> for NetError {
    fn from(fault: HeadFault) -> Self {
        match fault {
            HeadFault::Io(source) => source.into(),
            HeadFault::TimedOut => Self::TimedOut,
            fault => Self::Head(fault),
        }
    }
}

/// Why no HTTP head could be read.
#[derive(Debug)]
pub enum HeadFault {
    /// The peer closed before its head was complete.
    Closed,
    /// The connection broke.
    Io(io::Error),
    /// The bytes are no HTTP/1 head.
    Malformed,
    /// The deadline passed.
    TimedOut,
    /// No end within the limit.
    TooLarge,
    /// The wake was notified, for example because the program stops.
    Woken,
}

impl HeadFault {
    /// What a server answers before it closes, if anything.
    pub fn response(&self) -> Option<Response> {
        match self {
            Self::Malformed => Some(Response::text(400, "Bad Request")),
            Self::TooLarge => Some(Response::text(431, "Request Header Fields Too Large")),
            Self::Closed | Self::Io(_) | Self::TimedOut | Self::Woken => None,
        }
    }
}

impl fmt::Display for HeadFault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => formatter.write_str("closed by the peer"),
            Self::Io(source) => write!(formatter, "{source}"),
            Self::Malformed => formatter.write_str("not HTTP"),
            Self::TimedOut => formatter.write_str("no answer in time"),
            Self::TooLarge => formatter.write_str("HTTP head too large"),
            Self::Woken => formatter.write_str("interrupted"),
        }
    }
}

impl std::error::Error for HeadFault {}

impl From<io::Error> for HeadFault {
    fn from(source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::TimedOut => Self::TimedOut,
            // TLS tells an end without a goodbye apart; before a head is complete both mean the same.
            io::ErrorKind::UnexpectedEof => Self::Closed,
            _ => Self::Io(source),
        }
    }
}

/// The error of a wait whose deadline passed.
pub(crate) fn timed_out() -> io::Error {
    io::Error::from(io::ErrorKind::TimedOut)
}

/// How long a closing connection may take to say goodbye before it is cut.
pub const CLOSE_LINGER: Duration = Duration::from_secs(2);
