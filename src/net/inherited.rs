//! Sockets that a service manager opened before this process and passed on (`LISTEN_FDS`, socket activation).
//!
//! The configuration alone decides where a gateway listens; a socket that was passed on is used in the place of one
//! that would be bound there, and one that nobody asked for is an error. They stay open over restarts in the same
//! process, so that whoever connects meanwhile waits instead of being refused.

use std::{
    fmt, io,
    net::{SocketAddr, TcpListener},
    os::fd::{AsFd, OwnedFd},
};

use rustix::{
    io::{FdFlags, fcntl_setfd},
    net::{SocketType, sockopt},
};

use crate::net::{Listener, NetError};

/// The sockets passed on to this process.
#[derive(Debug, Default)]
pub struct Inherited {
    sockets: Vec<(SocketAddr, TcpListener)>,
}

/// Why the sockets that were passed on are no use.
#[derive(Debug)]
pub enum InheritedError {
    /// What is to be bound beside them cannot be.
    Bind(NetError),
    /// One listens where the configuration does not want it.
    Elsewhere {
        /// Where it listens.
        address: SocketAddr,
        /// What the configuration wants.
        wanted: Vec<SocketAddr>,
    },
    /// One is no listening TCP socket; counted from 1.
    NotListening(usize),
    /// `LISTEN_FDS` or `LISTEN_PID` is no number.
    Variables,
}

impl Inherited {
    /// Takes them over. To be called once in a process; nothing where `LISTEN_PID` names another one.
    ///
    /// # Errors
    /// A descriptor that is no listening TCP socket, or variables that are not numbers.
    pub fn take() -> Result<Inherited, InheritedError> {
        let passed = sd_listen_fds::get().map_err(|_| InheritedError::Variables)?;
        let sockets = passed.into_iter().enumerate();
        let sockets = sockets.map(|(at, (_, socket))| {
            listening(socket.into_std()).ok_or(InheritedError::NotListening(at + 1))
        });
        Ok(Inherited {
            sockets: sockets.collect::<Result<_, _>>()?,
        })
    }

    /// Where they listen.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.sockets.iter().map(|(address, _)| *address).collect()
    }

    /// Fails when one of them listens elsewhere than wanted.
    ///
    /// # Errors
    /// [`InheritedError::Elsewhere`].
    pub fn check(&self, wanted: &[SocketAddr]) -> Result<(), InheritedError> {
        match self.addresses().into_iter().find(|it| !wanted.contains(it)) {
            None => Ok(()),
            Some(address) => Err(InheritedError::Elsewhere {
                address,
                wanted: wanted.to_vec(),
            }),
        }
    }

    /// A listener on all the wanted addresses, bound where no socket was passed on; `None` when none was passed on
    /// at all.
    ///
    /// # Errors
    /// As [`Inherited::check`] and [`Listener::bind`].
    pub fn listener(&self, wanted: &[SocketAddr]) -> Result<Option<Listener>, InheritedError> {
        if self.sockets.is_empty() {
            return Ok(None);
        }
        self.check(wanted)?;
        let passed = self.sockets.iter().map(|(_, socket)| socket.try_clone());
        let passed = passed.collect::<io::Result<Vec<TcpListener>>>();
        let passed = passed.map_err(|error| InheritedError::Bind(error.into()))?;
        let own = self.addresses();
        let rest: Vec<SocketAddr> = wanted
            .iter()
            .filter(|it| !own.contains(it))
            .copied()
            .collect();
        Listener::beside(passed, &rest)
            .map(Some)
            .map_err(InheritedError::Bind)
    }
}

impl fmt::Display for InheritedError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind(error) => error.fmt(formatter),
            Self::Elsewhere { address, wanted } => {
                let wanted: Vec<String> = wanted.iter().map(SocketAddr::to_string).collect();
                write!(
                    formatter,
                    "the service manager passed on a socket at {address}, the configuration wants {} (gateway.bind, \
                     gateway.port).\nChange ListenStream= of the socket unit, or the configuration.",
                    wanted.join(" and ")
                )
            }
            Self::NotListening(number) => write!(
                formatter,
                "socket {number} that the service manager passed on is no listening TCP socket"
            ),
            Self::Variables => formatter.write_str("LISTEN_FDS or LISTEN_PID is not a number"),
        }
    }
}

impl std::error::Error for InheritedError {}

/// The socket as a listener with its address, kept from children; `None` when it is none.
fn listening(socket: OwnedFd) -> Option<(SocketAddr, TcpListener)> {
    let fd = socket.as_fd();
    let listens = sockopt::socket_type(fd).ok()? == SocketType::STREAM
        && sockopt::socket_acceptconn(fd).ok()?;
    fcntl_setfd(fd, FdFlags::CLOEXEC).ok()?;
    let listener = listens.then(|| TcpListener::from(socket))?;
    // Fails for a socket of the file system.
    let address = listener.local_addr().ok()?;
    listener.set_nonblocking(true).ok()?;
    Some((address, listener))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpStream, UdpSocket};

    use super::*;

    fn passed(listener: TcpListener) -> Inherited {
        Inherited {
            sockets: vec![listening(listener.into()).unwrap()],
        }
    }

    #[test]
    fn a_passed_socket_takes_the_place_of_one_that_would_be_bound() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let inherited = passed(socket);
        let other: SocketAddr = (std::net::Ipv6Addr::LOCALHOST, address.port()).into();
        let listener = inherited.listener(&[address, other]).unwrap().unwrap();
        assert_eq!(listener.addresses()[0], address);
        drop(listener);
        // The socket outlives the listener: whoever connects meanwhile waits.
        TcpStream::connect(address).unwrap();
        assert!(inherited.listener(&[address]).unwrap().is_some());
    }

    #[test]
    fn a_socket_that_nobody_asked_for_is_named() {
        let inherited = passed(TcpListener::bind("127.0.0.1:0").unwrap());
        let address = inherited.addresses()[0];
        let error = inherited
            .listener(&["127.0.0.1:1".parse().unwrap()])
            .unwrap_err();
        let text = error.to_string();
        for part in [&address.to_string(), "127.0.0.1:1", "ListenStream="] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn only_listening_tcp_sockets_count() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let connected = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert!(listening(connected.into()).is_none());
        assert!(listening(UdpSocket::bind("127.0.0.1:0").unwrap().into()).is_none());
        let (unix, _) = std::os::unix::net::UnixStream::pair().unwrap();
        assert!(listening(unix.into()).is_none());
        assert!(Inherited::default().listener(&[]).unwrap().is_none());
    }
}
