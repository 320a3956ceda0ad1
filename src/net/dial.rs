//! Connecting to a host within one deadline, whatever number of addresses it has.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs, UdpSocket},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use rustix::event::PollFlags;
use rustix::io::{Errno, FdFlags, fcntl_setfd, ioctl_fionbio};
use rustix::net::{AddressFamily, SocketType, connect as begin_connect, socket, sockopt};

use crate::net::{error::NetError, readiness::wait_all, stream::Stream};

/// How long one address may take before the next one is tried beside it (RFC 8305, section 8).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Connects to one of the addresses of a host, which were judged before. All are tried in order; each gets
/// its share of the time that is left. `host` and `port` are for the error alone.
pub fn connect_to(
    addresses: &[SocketAddr],
    host: &str,
    port: u16,
    deadline: Instant,
) -> Result<Stream, NetError> {
    let mut last = None;
    for (index, address) in addresses.iter().enumerate() {
        let share = u32::try_from(addresses.len() - index).unwrap_or(u32::MAX);
        let left = deadline.saturating_duration_since(Instant::now()) / share;
        if left < Duration::from_millis(1) {
            return Err(NetError::TimedOut);
        }
        match TcpStream::connect_timeout(address, left) {
            Ok(socket) => return Ok(Stream::plain(socket)?),
            Err(error) => last = Some(error),
        }
    }
    match last {
        Some(error) if error.kind() == io::ErrorKind::TimedOut => Err(NetError::TimedOut),
        Some(source) => Err(NetError::Unreachable {
            target: format!("{host}:{port}"),
            source,
        }),
        None => Err(NetError::Unresolved {
            host: host.to_owned(),
        }),
    }
}

/// Connects to whichever of these addresses answers first; each is tried when those before it have failed or let
/// 250 ms pass (RFC 8305). The socket does not block.
///
/// # Errors
/// [`io::ErrorKind::TimedOut`]; [`io::ErrorKind::ConnectionAborted`] as soon as `asker` ends or says anything more;
/// else the failure of the last address.
pub fn race(
    addresses: &[SocketAddr],
    asker: BorrowedFd<'_>,
    deadline: Instant,
) -> io::Result<TcpStream> {
    let mut rest = addresses.iter();
    let mut tried: Vec<OwnedFd> = Vec::new();
    let mut failure = io::Error::from(io::ErrorKind::NotFound);
    let mut next = Instant::now();
    loop {
        let now = Instant::now();
        if now >= deadline {
            return Err(io::ErrorKind::TimedOut.into());
        }
        if tried.is_empty() || now >= next {
            match rest.next().map(begin) {
                Some(Ok(socket)) => {
                    tried.push(socket);
                    next = now + ATTEMPT_DELAY;
                }
                Some(Err(error)) => {
                    failure = error;
                    continue;
                }
                None if tried.is_empty() => return Err(failure),
                None => next = deadline,
            }
        }
        let mut watched = vec![(asker, PollFlags::IN)];
        watched.extend(tried.iter().map(|socket| (socket.as_fd(), PollFlags::OUT)));
        let ready = wait_all(&watched, Some(deadline.min(next)))?;
        if ready.first().is_some_and(|asker| !asker.is_empty()) {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        let ready: Vec<bool> = ready[1..].iter().map(|flags| !flags.is_empty()).collect();
        for place in (0..ready.len()).rev().filter(|place| ready[*place]) {
            let socket = tried.remove(place);
            match sockopt::socket_error(&socket)? {
                Ok(()) => return Ok(socket.into()),
                Err(error) => failure = error.into(),
            }
        }
    }
}

/// A socket that is about to connect and does not block.
fn begin(address: &SocketAddr) -> io::Result<OwnedFd> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let socket = socket(family, SocketType::STREAM, None)?;
    fcntl_setfd(&socket, FdFlags::CLOEXEC)?;
    ioctl_fionbio(&socket, true)?;
    match begin_connect(&socket, address) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(error) => Err(error.into()),
    }
}

/// The address of this machine from which it reaches `target`, as the system would choose it; no packet is
/// sent.
pub fn source_address(target: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = match target {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(target).ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_unspecified()).then_some(address)
}

/// Connects to `host` (a name, or an address without brackets) at `port`.
pub fn connect(host: &str, port: u16, deadline: Instant) -> Result<Stream, NetError> {
    connect_to(&resolve(host, port, deadline)?, host, port, deadline)
}

/// The addresses of a host. A name is looked up in a thread of its own, because the system's resolver
/// knows no deadline; a lookup that comes too late is dropped.
pub fn resolve(host: &str, port: u16, deadline: Instant) -> Result<Vec<SocketAddr>, NetError> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let unresolved = || NetError::Unresolved {
        host: host.to_owned(),
    };
    let (answer, answered) = mpsc::channel();
    let name = host.to_owned();
    thread::Builder::new()
        .name("resolve".into())
        .spawn(move || {
            let found = (name.as_str(), port)
                .to_socket_addrs()
                .map(Iterator::collect::<Vec<_>>);
            // Nobody listens any more when this took too long.
            let _ = answer.send(found);
        })?;
    match answered.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        Ok(Ok(addresses)) if !addresses.is_empty() => Ok(addresses),
        Ok(_) | Err(mpsc::RecvTimeoutError::Disconnected) => Err(unresolved()),
        Err(mpsc::RecvTimeoutError::Timeout) => Err(NetError::TimedOut),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};

    use rustix::net::{bind, getsockname};

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(30)
    }

    #[test]
    fn every_address_of_a_name_is_tried() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        for host in ["127.0.0.1", "localhost"] {
            let Stream::Plain(socket) = connect(host, address.port(), soon()).unwrap() else {
                panic!("{host}");
            };
            assert_eq!(socket.peer_addr().unwrap(), address, "{host}");
        }
    }

    #[test]
    fn of_several_addresses_the_first_that_answers_is_taken_and_nobody_waits_for_an_asker_who_left()
    {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let good = listener.local_addr().unwrap();
        // One that accepts nobody: its queue is full.
        let full = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        bind(&full, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).unwrap();
        rustix::net::listen(&full, 0).unwrap();
        let silent: SocketAddr = SocketAddrV4::try_from(getsockname(&full).unwrap())
            .unwrap()
            .into();
        let _queued: Vec<_> = (0..4).map(|_| begin(&silent)).collect();
        let closed = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let (asker, leaving) = std::os::unix::net::UnixStream::pair().unwrap();
        let raced = race(&[closed, silent, good], asker.as_fd(), soon()).unwrap();
        assert_eq!(raced.peer_addr().unwrap(), good);
        let refused = race(&[closed], asker.as_fd(), soon()).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        let late = race(&[silent], asker.as_fd(), Instant::now() + ATTEMPT_DELAY).unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
        drop(leaving);
        let left = race(&[silent], asker.as_fd(), soon()).unwrap_err();
        assert_eq!(left.kind(), io::ErrorKind::ConnectionAborted);
    }

    #[test]
    fn failures_are_told_apart() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let late = connect("127.0.0.1", port, Instant::now());
        assert!(matches!(late, Err(NetError::TimedOut)), "{late:?}");
        // Bound but not listening, so that nobody else takes the port meanwhile.
        let bound = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        bind(&bound, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = SocketAddrV4::try_from(getsockname(&bound).unwrap()).unwrap();
        let refused = connect("127.0.0.1", address.port(), soon());
        let Err(NetError::Unreachable { target, .. }) = refused else {
            panic!("{refused:?}")
        };
        assert_eq!(target, address.to_string());
    }
}
