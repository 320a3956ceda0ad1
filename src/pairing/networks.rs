//! Addresses and CIDR blocks that an operator named, and the one among them that an address is in.
//!
//! IPv4-mapped IPv6 is normalized to IPv4 on both sides, so one machine has one address however it came.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use ipnetwork::{IpNetwork, Ipv4Network};

/// Bits of the prefix under which IPv6 carries IPv4 addresses.
const MAPPED_PREFIX: u8 = 96;

/// A list of networks; cloning shares it. The empty list holds no address at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks {
    listed: Arc<[(IpNetwork, String)]>,
}

impl Networks {
    /// The networks of a checked configuration list. An entry that is neither an address nor a CIDR block
    /// matches nothing: a fault never lets anybody in.
    pub fn parse(entries: &[String]) -> Networks {
        let listed = entries.iter().filter_map(|entry| {
            let text = entry.trim();
            let network = text.parse::<IpNetwork>().ok()?;
            Some((canonical(network), text.to_owned()))
        });
        Networks {
            listed: listed.collect(),
        }
    }

    /// Whether a text is an address or a CIDR block.
    pub fn is_network(text: &str) -> bool {
        text.trim().parse::<IpNetwork>().is_ok()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.listed.is_empty()
    }

    /// Whether `address` is in one of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.matching(address).is_some()
    }

    /// Whether one of them holds a loopback address.
    pub fn covers_loopback(&self) -> bool {
        let usual = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let mut listed = self.listed.iter();
        listed.any(|(network, _)| network.ip().is_loopback() || network.contains(usual))
    }

    /// The first listed network that `address` is in, as it was written.
    pub fn matching(&self, address: IpAddr) -> Option<&str> {
        let address = address.to_canonical();
        let mut listed = self.listed.iter();
        let found = listed.find(|(network, _)| network.contains(address));
        found.map(|(_, text)| text.as_str())
    }
}

fn canonical(network: IpNetwork) -> IpNetwork {
    let IpNetwork::V6(v6) = network else {
        return network;
    };
    let mapped: Option<Ipv4Network> = v6
        .ip()
        .to_ipv4_mapped()
        .zip(v6.prefix().checked_sub(MAPPED_PREFIX))
        .and_then(|(address, prefix)| Ipv4Network::new(address, prefix).ok());
    match mapped {
        Some(v4) => IpNetwork::V4(v4),
        // A block that holds the whole mapped range and more is about IPv6.
        None => IpNetwork::V6(v6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pairing::testing::words;

    #[test]
    fn an_address_is_in_what_was_written_and_nowhere_else() {
        let table = [
            ("192.168.1.0/24", "192.168.1.77", true),
            ("192.168.1.0/24", "::ffff:192.168.1.77", true),
            ("192.168.1.0/24", "192.168.2.1", false),
            ("192.168.1.9/24", "192.168.1.77", true),
            (" 192.168.1.9 ", "192.168.1.9", true),
            ("192.168.1.9", "192.168.1.10", false),
            ("::ffff:192.168.1.0/120", "192.168.1.77", true),
            ("::ffff:192.168.1.9", "192.168.1.9", true),
            ("fd00::/8", "fd12::1", true),
            ("fd00::/8", "fe80::1", false),
            ("::1", "::1", true),
            ("::/0", "192.168.1.9", false),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("", "192.168.1.9", false),
            ("192.168.1.0/33", "192.168.1.9", false),
            ("lan", "192.168.1.9", false),
        ];
        for (network, address, inside) in table {
            let networks = Networks::parse(&words(&[network]));
            let found = networks.matching(address.parse().unwrap());
            assert_eq!(found.is_some(), inside, "{network} {address}");
            assert!(found.is_none_or(|text| text == network.trim()));
        }
        assert!(Networks::default().is_empty());
        assert_eq!(Networks::default().matching([127, 0, 0, 1].into()), None);
    }

    #[test]
    fn loopback_is_seen_in_every_form() {
        for (entry, expected) in [
            ("127.0.0.1", true),
            ("127.0.0.0/8", true),
            ("127.9.0.0/16", true),
            ("::1", true),
            ("0.0.0.0/0", true),
            ("::ffff:127.0.0.1", true),
            ("10.0.0.0/8", false),
            ("nobody", false),
        ] {
            let networks = Networks::parse(&words(&[entry]));
            assert_eq!(networks.covers_loopback(), expected, "{entry}");
        }
    }
}
