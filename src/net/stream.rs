//! One byte stream between two hosts, non-blocking, plain or through TLS.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    net::{
        error::timed_out,
        readiness::{Interest, wait},
        remains::Remains,
        tls::TlsStream,
    },
    protocol::limits::{TICK_INTERVAL, TICK_INTERVALS_UNTIL_SILENCE},
};

/// A connected stream; reads and writes never block.
#[derive(Debug)]
pub enum Stream {
    /// Bytes as they are; the socket can be lent to whoever writes for a sleeping owner.
    Plain(Arc<TcpStream>),
    /// Bytes inside TLS, after its handshake.
    Tls(Box<TlsStream>),
}

impl Stream {
    /// Takes over a connected socket: non-blocking, without Nagle's delay, and given up by the system when
    /// the other end acknowledges nothing for too long.
    pub fn plain(socket: TcpStream) -> io::Result<Stream> {
        socket.set_nonblocking(true)?;
        socket.set_nodelay(true)?;
        watch_liveness(&socket)?;
        Ok(Stream::Plain(Arc::new(socket)))
    }

    /// Keeps the connection for its end: see [`Remains`].
    ///
    /// # Errors
    /// No descriptor left.
    pub fn remains(&self) -> io::Result<Remains> {
        Remains::of(self.socket())
    }

    /// Takes over one end of a socket pair: a program of this machine at the other end carries the bytes on,
    /// and watches the way they take.
    pub fn carried(socket: UnixStream) -> io::Result<Stream> {
        socket.set_nonblocking(true)?;
        // Reading, writing and closing are the same for every stream socket; only the options of TCP are not.
        let socket = TcpStream::from(OwnedFd::from(socket));
        Ok(Stream::Plain(Arc::new(socket)))
    }

    /// Tells the other end that nothing more will come.
    pub fn finish_writing(&mut self) -> io::Result<()> {
        if let Stream::Tls(stream) = self {
            stream.say_goodbye();
        }
        self.socket().shutdown(Shutdown::Write)
    }

    /// Whether something written before still waits for the socket, so that a sleep has to end when it
    /// becomes writable.
    pub fn wants_write(&self) -> bool {
        match self {
            Stream::Plain(_) => false,
            Stream::Tls(stream) => stream.wants_write(),
        }
    }

    /// The socket of a plain stream, where bytes of other threads cannot come between those of TLS.
    pub(super) fn lendable(&self) -> Option<&Arc<TcpStream>> {
        match self {
            Stream::Plain(socket) => Some(socket),
            Stream::Tls(_) => None,
        }
    }

    fn socket(&self) -> &TcpStream {
        match self {
            Stream::Plain(socket) => socket,
            Stream::Tls(stream) => stream.socket(),
        }
    }

    /// Writes all of `bytes` and sees them leave, or fails with `TimedOut` at the deadline.
    pub fn write_all_until(&mut self, mut bytes: &[u8], deadline: Instant) -> io::Result<()> {
        loop {
            let outcome = if bytes.is_empty() {
                self.flush().map(|()| 0)
            } else {
                self.write(bytes)
            };
            match outcome {
                Ok(_) if bytes.is_empty() => return Ok(()),
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => bytes = &bytes[written..],
                Err(error) if is_would_block(&error) => {
                    if wait(Some(self.as_fd()), Interest::WRITE, None, Some(deadline))?.timed_out()
                    {
                        return Err(timed_out());
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads until the other end closes, at most `limit` bytes; fails with `TimedOut` at the deadline.
    pub fn read_to_end_until(&mut self, limit: usize, deadline: Instant) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut chunk = [0_u8; 512];
        while bytes.len() < limit {
            let room = chunk.len().min(limit - bytes.len());
            match self.read(&mut chunk[..room]) {
                Ok(0) => break,
                Ok(read) => bytes.extend_from_slice(&chunk[..read]),
                Err(error) if is_would_block(&error) => {
                    if wait(Some(self.as_fd()), Interest::READ, None, Some(deadline))?.timed_out() {
                        return Err(timed_out());
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(bytes)
    }

    /// Says that nothing more will come, then throws away what still arrives until the other end closes
    /// too or the deadline passes. Closing with unread input would reset the connection and could take
    /// the last words with it.
    pub fn linger(&mut self, deadline: Instant) {
        if self.finish_writing().is_err() {
            return;
        }
        let mut sink = [0_u8; 1024];
        let mut left = MAX_LINGER_BYTES;
        while Instant::now() < deadline && left > 0 {
            match self.read(&mut sink) {
                Ok(0) => return,
                Ok(read) => left = left.saturating_sub(read),
                Err(error) if is_would_block(&error) => {
                    let ready = wait(Some(self.as_fd()), Interest::READ, None, Some(deadline));
                    if !ready.is_ok_and(|ready| ready.readable) {
                        return;
                    }
                }
                Err(_) => return,
            }
        }
    }
}

/// Bytes that are read and thrown away so that the last words arrive: more than a peer has on its way when
/// they are said. Who goes on sending is cut off.
const MAX_LINGER_BYTES: usize = 1024 * 1024;

/// How long sent bytes may stay unacknowledged. A tick is sent at every interval, so a peer that lost its power
/// or its network ends within two of them, without a timer of ours: as soon as it would give up this end.
const MAX_UNACKNOWLEDGED: Duration = TICK_INTERVAL.saturating_mul(TICK_INTERVALS_UNTIL_SILENCE - 1);

#[cfg(any(target_os = "linux", target_os = "android"))]
fn watch_liveness(socket: &TcpStream) -> io::Result<()> {
    let milliseconds = u32::try_from(MAX_UNACKNOWLEDGED.as_millis()).unwrap_or(u32::MAX);
    Ok(rustix::net::sockopt::set_tcp_user_timeout(
        socket,
        milliseconds,
    )?)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn watch_liveness(socket: &TcpStream) -> io::Result<()> {
    rustix::net::sockopt::set_tcp_keepidle(socket, MAX_UNACKNOWLEDGED)?;
    Ok(rustix::net::sockopt::set_socket_keepalive(socket, true)?)
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(socket) => (&**socket).read(buffer),
            Stream::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(socket) => (&**socket).write(bytes),
            Stream::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Stream::Plain(socket) => (&**socket).flush(),
            Stream::Tls(stream) => stream.flush(),
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket().as_fd()
    }
}

/// Whether an operation would have had to wait, or was interrupted by a signal: try again after a wait.
pub(crate) fn is_would_block(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

#[cfg(test)]
pub(crate) mod testing {
    use std::net::TcpListener;

    use super::*;

    /// Two ends of one loopback connection.
    pub fn pair() -> (Stream, Stream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (far, _) = listener.accept().unwrap();
        (Stream::plain(near).unwrap(), Stream::plain(far).unwrap())
    }

    /// Everything until the other end closes.
    pub fn read_to_end(stream: &mut Stream, deadline: Instant) -> Vec<u8> {
        stream.read_to_end_until(usize::MAX, deadline).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_reader_that_stalls_ends_a_write_at_its_deadline() {
        let (mut near, far) = testing::pair();
        let bytes = vec![0_u8; 64 << 20];
        let deadline = Instant::now() + Duration::from_millis(50);
        let error = near.write_all_until(&bytes, deadline).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(far);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_system_watches_for_silence() {
        let (near, _far) = testing::pair();
        assert_eq!(
            rustix::net::sockopt::tcp_user_timeout(&near).unwrap(),
            30_000
        );
    }

    #[test]
    fn lingering_delivers_the_last_words_to_a_peer_that_still_talks() {
        let (mut near, mut far) = testing::pair();
        let deadline = Instant::now() + Duration::from_secs(30);
        far.write_all_until(&[0; 4096], deadline).unwrap();
        near.write_all_until(b"bye", deadline).unwrap();
        let near = thread::spawn(move || near.linger(deadline));
        let words = testing::read_to_end(&mut far, deadline);
        drop(far);
        near.join().unwrap();
        assert_eq!(words, b"bye");
    }
}
