//! TLS over a non-blocking socket: what differs from plain bytes, and nothing else.
//!
//! A session may hold received plaintext and unsent records that `poll` does not know of. So a reader
//! reads until `WouldBlock` before it sleeps, a writer flushes until nothing is left, and the handshake
//! is carried to its end before the first byte of the program goes either way. Sessions are never
//! resumed: each connection shows its certificate.

use std::{
    fmt,
    io::{self, Read, Write},
    net::TcpStream,
    os::fd::AsFd,
    sync::Arc,
    time::Instant,
};

use rustls::Connection;

use crate::net::{
    error::HeadFault,
    readiness::{Interest, wait},
    stream::is_would_block,
    wake::Wake,
};

/// Bytes of records that may wait for the socket; more would only hide that a peer does not read.
const UNSENT_BYTES: usize = 16 * 1024;

/// One TLS connection.
pub struct TlsStream {
    socket: Arc<TcpStream>,
    session: Connection,
    /// The other end was told that nothing more will come, or must not be told anything.
    finished: bool,
}

/// Why a handshake did not come to its end.
#[derive(Debug)]
pub enum ShakeFault {
    /// The connection ended, broke, took too long or was interrupted.
    Head(HeadFault),
    /// What came is not acceptable.
    Tls(rustls::Error),
}

impl TlsStream {
    /// Takes over a non-blocking socket; nothing is sent yet.
    pub fn new(socket: Arc<TcpStream>, session: impl Into<Connection>) -> TlsStream {
        let mut session = session.into();
        session.set_buffer_limit(Some(UNSENT_BYTES));
        TlsStream {
            socket,
            session,
            finished: false,
        }
    }

    /// The socket underneath.
    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// Whether records wait for the socket to become writable.
    pub fn wants_write(&self) -> bool {
        self.session.wants_write()
    }

    /// Carries the handshake to its end; a peer that trickles does not extend the deadline.
    pub fn shake_hands(
        &mut self,
        deadline: Instant,
        wake: Option<&Wake>,
    ) -> Result<(), ShakeFault> {
        loop {
            let sent = done(self.send())?;
            if sent && !self.session.is_handshaking() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(HeadFault::TimedOut.into());
            }
            if self.session.wants_read() {
                let mut closed = false;
                let received = self.session.read_tls(&mut &*self.socket).map(|read| {
                    closed = read == 0;
                });
                if done(received)? {
                    self.digest()?;
                    if closed {
                        return Err(HeadFault::Closed.into());
                    }
                    continue;
                }
            }
            let interest = Interest {
                read: self.session.wants_read(),
                write: !sent,
            };
            let ready = wait(Some(self.socket.as_fd()), interest, wake, Some(deadline));
            if ready.map_err(HeadFault::from)?.woken {
                return Err(HeadFault::Woken.into());
            }
        }
    }

    /// Tells the other end that nothing more will come, as far as the socket takes it at once.
    pub fn say_goodbye(&mut self) {
        if !self.finished {
            self.finished = true;
            self.session.send_close_notify();
            // A peer that does not read needs no goodbye.
            let _ = self.send();
        }
    }

    /// Understands what was received; tells the other end when it is wrong.
    fn digest(&mut self) -> Result<(), rustls::Error> {
        let understood = self.session.process_new_packets();
        if understood.is_err() {
            // The alert is the last word.
            self.finished = true;
            let _ = self.send();
        }
        understood.map(drop)
    }

    /// Hands records to the socket while it takes them; `WouldBlock` when some are left.
    fn send(&mut self) -> io::Result<()> {
        while self.session.wants_write() {
            if self.session.write_tls(&mut &*self.socket)? == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
        }
        Ok(())
    }
}

impl Read for TlsStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.session.reader().read(buffer) {
                Err(error) if is_would_block(&error) => {}
                // An end without a goodbye may have lost something.
                outcome => return outcome,
            }
            match self.session.read_tls(&mut &*self.socket) {
                Ok(_) => self
                    .digest()
                    .map_err(|fault| io::Error::new(io::ErrorKind::InvalidData, fault))?,
                Err(error) => {
                    // What was received may have asked for an answer of the session itself.
                    if is_would_block(&error) {
                        done(self.send())?;
                    }
                    return Err(error);
                }
            }
        }
    }
}

impl Write for TlsStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Records of an earlier write go first, so that never more than one write waits.
        self.send()?;
        let written = self.session.writer().write(bytes)?;
        done(self.send())?;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send()
    }
}

impl Drop for TlsStream {
    fn drop(&mut self) {
        if !self.session.is_handshaking() {
            self.say_goodbye();
        }
    }
}

impl fmt::Debug for TlsStream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("TlsStream")
            .field("socket", &self.socket)
            .finish_non_exhaustive()
    }
}

impl From<HeadFault> for ShakeFault {
    fn from(fault: HeadFault) -> Self {
        Self::Head(fault)
    }
}

impl From<io::Error> for ShakeFault {
    fn from(error: io::Error) -> Self {
        Self::Head(error.into())
    }
}

impl From<rustls::Error> for ShakeFault {
    fn from(fault: rustls::Error) -> Self {
        Self::Tls(fault)
    }
}

impl fmt::Display for ShakeFault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Head(fault) => fault.fmt(formatter),
            Self::Tls(fault) => fault.fmt(formatter),
        }
    }
}

impl std::error::Error for ShakeFault {}

/// Whether an operation on the socket is done; false when it has to wait.
fn done(outcome: io::Result<()>) -> io::Result<bool> {
    match outcome {
        Ok(()) => Ok(true),
        Err(error) if is_would_block(&error) => Ok(false),
        Err(error) => Err(error),
    }
}
