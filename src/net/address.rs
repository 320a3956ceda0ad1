//! What an address says about where it is, and which addresses this machine has.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::net::dial::source_address;

/// An address inside the tailnet's range; nothing is ever sent to it.
const IN_TAILNET: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(100, 100, 100, 100)), 53);

/// The same of the other family.
const IN_TAILNET_V6: SocketAddr = SocketAddr::new(
    IpAddr::V6(Ipv6Addr::new(0xfd7a, 0x115c, 0xa1e0, 0, 0, 0, 0, 0x53)),
    53,
);

/// An address that is routed like everything else (RFC 5737); nothing is ever sent to it.
const ANYWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 9);

/// RFC 1918, link-local, carrier-grade NAT 100.64/10, fc00::/7, fe80::/10 and the old site-local fec0::/10.
pub fn is_private(address: IpAddr) -> bool {
    let address = address.to_canonical();
    match address {
        IpAddr::V4(v4) => v4.is_private() || v4.is_link_local() || is_tailnet(address),
        IpAddr::V6(v6) => {
            let head = v6.segments()[0];
            head & 0xfe00 == 0xfc00 || matches!(head & 0xffc0, 0xfe80 | 0xfec0)
        }
    }
}

/// 100.64.0.0/10 and fd7a:115c:a1e0::/48: carrier-grade NAT and Tailscale's own range, where tailnets give out their
/// addresses.
pub fn is_tailnet(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64,
        IpAddr::V6(v6) => v6.segments()[..3] == [0xfd7a, 0x115c, 0xa1e0],
    }
}

/// This machine's first address in the tailnet.
pub fn tailnet_address() -> Option<IpAddr> {
    tailnet_addresses().first().copied()
}

/// This machine's addresses in the tailnet, as the routes into it tell, IPv4 first.
pub fn tailnet_addresses() -> Vec<IpAddr> {
    let sources = [IN_TAILNET, IN_TAILNET_V6]
        .into_iter()
        .filter_map(source_address);
    sources.filter(|address| is_tailnet(*address)).collect()
}

/// The address by which most other machines reach this one.
pub fn routed_address() -> Option<IpAddr> {
    source_address(ANYWHERE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_end_where_they_should() {
        for (text, private, tailnet) in [
            ("10.0.0.1", true, false),
            ("172.15.255.255", false, false),
            ("172.31.0.1", true, false),
            ("192.168.1.1", true, false),
            ("169.254.1.1", true, false),
            ("100.63.255.255", false, false),
            ("100.64.0.0", true, true),
            ("100.127.255.255", true, true),
            ("100.128.0.0", false, false),
            ("::ffff:100.64.0.1", true, true),
            ("127.0.0.1", false, false),
            ("8.8.8.8", false, false),
            ("fd00::1", true, false),
            ("fd7a:115c:a1e0::1", true, true),
            ("fd7a:115c:a1e1::1", true, false),
            ("fe80::1", true, false),
            ("fec0::1", true, false),
            ("2001:db8::1", false, false),
        ] {
            let address = text.parse().unwrap();
            assert_eq!(
                (is_private(address), is_tailnet(address)),
                (private, tailnet),
                "{text}"
            );
        }
    }
}
