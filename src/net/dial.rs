//! Connecting to a host within one deadline, whatever number of addresses it has.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs, UdpSocket},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use crate::net::{error::NetError, stream::Stream};

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

    use rustix::net::{AddressFamily, SocketType, bind, getsockname, socket};

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
