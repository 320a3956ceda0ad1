//! Where a connection comes from, as far as it is held against anybody.
//!
//! An IPv6 host owns a whole /64, so that is one source; all connections whose address a proxy hides are
//! one source too.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Leading bits of an IPv6 address that name one source: what a host is given as its own.
const V6_SOURCE_BITS: u32 = 64;

/// Who connections and failures are counted under before anything is proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// One address, or the first of the /64 of an IPv6 address.
    Address(IpAddr),
    /// Everybody whose address a proxy hides.
    Hidden,
}

impl Source {
    /// The source of a client; `None` is one whose address cannot be told.
    pub fn of(client: Option<IpAddr>) -> Self {
        client.map_or(Self::Hidden, |address| {
            let address = address.to_canonical();
            Self::Address(masked(address, u32::BITS, V6_SOURCE_BITS))
        })
    }

    /// Whether it is this host.
    pub fn is_local(self) -> bool {
        matches!(self, Self::Address(address) if address.is_loopback())
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) if address.is_ipv4() || address.is_loopback() => address.fmt(f),
            Self::Address(address) => write!(f, "{address}/{V6_SOURCE_BITS}"),
            Self::Hidden => f.write_str("behind-proxy"),
        }
    }
}

/// The network of an address: its leading bits. `::1` stands for itself.
pub(super) fn masked(address: IpAddr, v4_bits: u32, v6_bits: u32) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(u32::BITS - v4_bits).unwrap_or(0);
            Ipv4Addr::from(u32::from(v4) & mask).into()
        }
        IpAddr::V6(v6) if v6.is_loopback() => address,
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(u128::BITS - v6_bits).unwrap_or(0);
            Ipv6Addr::from(u128::from(v6) & mask).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_an_address_a_network_of_64_bits_or_everybody_behind_a_proxy() {
        for (client, name, local) in [
            (Some("192.0.2.7"), "192.0.2.7", false),
            (Some("::ffff:192.0.2.7"), "192.0.2.7", false),
            (Some("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64", false),
            (Some("127.0.0.2"), "127.0.0.2", true),
            (Some("::1"), "::1", true),
            (Some("::ffff:127.0.0.1"), "127.0.0.1", true),
            (None, "behind-proxy", false),
        ] {
            let source = Source::of(client.map(|address| address.parse().unwrap()));
            assert_eq!(
                (source.to_string().as_str(), source.is_local()),
                (name, local)
            );
        }
    }
}
