//! What is left of a connection whose other end was given up: enough to tell it that it is over.
//!
//! A peer that lost its network learns of the end only when its own packets are refused, which may be long
//! after this end has come back by another connection. A reset ends the old one at once, and costs nobody a
//! wait for acknowledgements that are still held back.

use std::io;
use std::net::TcpStream;
use std::time::Duration;

use rustix::net::sockopt;

/// The socket of a connection that was given up, kept open without being used. Dropping it closes it as
/// usual.
#[derive(Debug)]
pub struct Remains(TcpStream);

impl Remains {
    /// Shares the socket of a connection. The system is told to keep it although nothing is acknowledged.
    ///
    /// # Errors
    /// No descriptor left.
    pub(super) fn of(socket: &TcpStream) -> io::Result<Remains> {
        let socket = socket.try_clone()?;
        #[cfg(any(target_os = "linux", target_os = "android"))]
        sockopt::set_tcp_user_timeout(&socket, 0)?;
        Ok(Remains(socket))
    }

    /// Resets the connection: for when the other end can be reached again.
    pub fn bury(self) {
        // Without it the end takes the usual way, which is later and not wrong.
        let _ = sockopt::set_socket_linger(&self.0, Some(Duration::ZERO));
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpListener;

    use super::*;
    use crate::net::Stream;

    #[test]
    fn the_other_end_hears_nothing_until_the_burial_and_then_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut far, _) = listener.accept().unwrap();
        let stream = Stream::plain(near).unwrap();
        let remains = stream.remains().unwrap();
        drop(stream);
        far.set_nonblocking(true).unwrap();
        let mut chunk = [0_u8; 8];
        let quiet = far.read(&mut chunk).unwrap_err();
        assert_eq!(quiet.kind(), io::ErrorKind::WouldBlock);
        far.set_nonblocking(false).unwrap();
        remains.bury();
        let told = far.read(&mut chunk).unwrap_err();
        assert_eq!(told.kind(), io::ErrorKind::ConnectionReset);
    }
}
