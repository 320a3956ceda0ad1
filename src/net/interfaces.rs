//! The interfaces that multicast goes out by, and the port of multicast DNS.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with, sockopt};

/// The interface takes part in multicast (netdevice(7), `IFF_MULTICAST`).
const MULTICAST: u32 = 0x1000;

/// One address of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The interface.
    pub interface: String,
    /// The address.
    pub ip: IpAddr,
    /// Whether multicast reaches others from here: the interface is up, is neither loopback nor a line to one
    /// peer, and has not been told to keep out of multicast.
    pub multicast: bool,
}

/// Every address of this machine; none where the system does not tell.
pub fn addresses() -> Vec<Address> {
    let found = if_addrs::get_if_addrs().unwrap_or_default();
    let address = |found: if_addrs::Interface| Address {
        ip: found.ip(),
        multicast: found.is_oper_up()
            && !found.is_loopback()
            && !found.is_p2p()
            && takes_part(&found.name),
        interface: found.name,
    };
    found.into_iter().map(address).collect()
}

/// Where the flags cannot be read, the interface is taken to be as most are.
fn takes_part(interface: &str) -> bool {
    let path = format!("/sys/class/net/{interface}/flags");
    let flags = std::fs::read_to_string(path).ok();
    let flags =
        flags.and_then(|text| u32::from_str_radix(text.trim().trim_start_matches("0x"), 16).ok());
    flags.is_none_or(|flags| flags & MULTICAST != 0)
}

/// Whether this UDP port can be shared with the responders of other programs.
///
/// # Errors
/// Somebody has the port for himself, or the system gives no socket of either family.
pub fn can_share(port: u16) -> io::Result<()> {
    let families = [
        (AddressFamily::INET, IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        (AddressFamily::INET6, IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
    ];
    let mut missing = None;
    for (family, any) in families {
        match try_share(family, SocketAddr::new(any, port)) {
            Ok(()) => return Ok(()),
            // This machine has no such family: the other one will do.
            Err(rustix::io::Errno::AFNOSUPPORT | rustix::io::Errno::ADDRNOTAVAIL) => {
                missing = Some(rustix::io::Errno::AFNOSUPPORT);
            }
            Err(error) => return Err(error.into()),
        }
    }
    missing.map_or(Ok(()), |error| Err(error.into()))
}

fn try_share(family: AddressFamily, address: SocketAddr) -> rustix::io::Result<()> {
    let socket = socket_with(family, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_socket_reuseport(&socket, true)?;
    bind(&socket, &address)
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn loopback_reaches_nobody_by_multicast() {
        let all = addresses();
        let loopback = all.iter().find(|address| address.ip.is_loopback()).unwrap();
        assert!(!loopback.multicast, "{all:?}");
    }

    #[test]
    fn a_port_that_somebody_keeps_for_himself_cannot_be_shared() {
        let alone = UdpSocket::bind("0.0.0.0:0").unwrap();
        let port = alone.local_addr().unwrap().port();
        assert_eq!(
            can_share(port).unwrap_err().kind(),
            io::ErrorKind::AddrInUse
        );
        drop(alone);
        let any = SocketAddr::from(([0, 0, 0, 0], 0));
        let socket = socket_with(
            AddressFamily::INET,
            SocketType::DGRAM,
            SocketFlags::CLOEXEC,
            None,
        );
        let shared = socket.unwrap();
        sockopt::set_socket_reuseaddr(&shared, true).unwrap();
        sockopt::set_socket_reuseport(&shared, true).unwrap();
        bind(&shared, &any).unwrap();
        let bound = rustix::net::getsockname(&shared).unwrap();
        let port = SocketAddr::try_from(bound).unwrap().port();
        can_share(port).unwrap();
    }
}
