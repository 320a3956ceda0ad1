//! A gateway that discovery found: what it says it is called, and where it was resolved to.
//!
//! Everything in here came from the network, where anybody can say anything. Names are safe to print;
//! TXT values are hints for people and never decide where a connection goes or which certificate is
//! trusted (discovery seed, security notes).

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use crate::client::GatewayUrl;
use crate::net::address::is_private;

/// The service type of the beacon.
pub const SERVICE_TYPE: &str = "_openclaw-gw._tcp";

/// The domain of multicast DNS.
pub const LOCAL: &str = "local.";

/// Bytes of one TXT value that are kept; a string of a TXT record has at most 255.
const MAX_VALUE_BYTES: usize = 255;

/// One gateway, resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The instance label, decoded and safe to print.
    pub instance: String,
    /// Where it was found: `local.` or the wide-area domain, with the dot at its end.
    pub domain: String,
    /// The SRV target, without the dot at its end.
    pub host: String,
    /// The SRV port.
    pub port: u16,
    /// Where the SRV target is, best first: see [`Found::new`]. IPv6 link-local ones carry their scope.
    pub addresses: Vec<SocketAddr>,
    /// The TXT record: keys in lower case, values safe to print.
    pub txt: BTreeMap<String, String>,
}

impl Found {
    /// Puts together what was resolved. `txt` is the record's pairs in the order of the packet; of a key that
    /// comes twice the first counts (RFC 6763, section 6.4). Addresses are sorted: IPv4 before IPv6, private
    /// before public, link-local last; doubles go, and so do places that no other machine can be at.
    pub fn new<'a>(
        instance: &[u8],
        domain: &str,
        host: &str,
        port: u16,
        addresses: impl IntoIterator<Item = SocketAddr>,
        txt: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    ) -> Found {
        let mut values = BTreeMap::new();
        for (key, value) in txt {
            let key = printable(key.as_bytes()).to_ascii_lowercase();
            if !key.is_empty() {
                values
                    .entry(key)
                    .or_insert_with(|| printable(value.get(..MAX_VALUE_BYTES).unwrap_or(value)));
            }
        }
        Found {
            instance: printable(instance),
            domain: domain.to_owned(),
            host: printable(host.trim_end_matches('.').as_bytes()),
            port,
            addresses: Found::in_order(
                addresses
                    .into_iter()
                    .filter(|address| is_elsewhere(address.ip())),
            ),
            txt: values,
        }
    }

    /// Addresses best first, each once.
    pub fn in_order(addresses: impl IntoIterator<Item = SocketAddr>) -> Vec<SocketAddr> {
        let mut addresses: Vec<SocketAddr> = addresses.into_iter().collect();
        addresses.sort_by_key(|address| (rank(*address), *address));
        addresses.dedup();
        addresses
    }

    /// A hint of the TXT record; the key in any case, an empty value is none.
    pub fn hint(&self, key: &str) -> Option<&str> {
        let value = self.txt.get(&key.to_ascii_lowercase())?;
        (!value.is_empty()).then_some(value.as_str())
    }

    /// What to show people: the display name of the hint, else the instance.
    pub fn name(&self) -> &str {
        self.hint("displayName").unwrap_or(&self.instance)
    }

    /// Whether it says that it speaks TLS.
    pub fn says_tls(&self) -> bool {
        matches!(self.hint("gatewayTls"), Some("1" | "true"))
    }

    /// Where a connection goes: the resolved address and port, never what TXT says; `None` when it was not
    /// resolved to any address.
    pub fn url(&self) -> Option<GatewayUrl> {
        self.urls().next()
    }

    /// The same for every address, best first.
    pub fn urls(&self) -> impl Iterator<Item = GatewayUrl> + '_ {
        let url =
            |address: &SocketAddr| GatewayUrl::new(&host(*address), self.port, self.says_tls());
        self.addresses.iter().map(url)
    }
}

/// An address as the host of a URL; a link-local one with its scope.
pub fn host(address: SocketAddr) -> String {
    match address {
        SocketAddr::V6(v6) if v6.scope_id() != 0 => format!("{}%{}", v6.ip(), v6.scope_id()),
        _ => address.ip().to_string(),
    }
}

/// Text from the network as people may see it: valid UTF-8 without control characters, format characters
/// that turn or hide text, or blanks at its ends.
pub fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let hides = |letter: char| {
        letter.is_control()
            || matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    text.chars()
        .filter(|letter| !hides(*letter))
        .collect::<String>()
        .trim()
        .to_owned()
}

/// Whether another machine can be at an address. One that discovery says is here would reach what listens on this
/// machine alone, in a gateway's name.
pub fn is_elsewhere(address: IpAddr) -> bool {
    let address = address.to_canonical();
    let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    !(address.is_unspecified() || address.is_loopback() || address.is_multicast() || broadcast)
}

fn rank(address: SocketAddr) -> u8 {
    let link_local = match address {
        SocketAddr::V4(v4) => v4.ip().is_link_local(),
        SocketAddr::V6(v6) => v6.ip().segments()[0] & 0xffc0 == 0xfe80,
    };
    4 * u8::from(link_local) + 2 * u8::from(address.is_ipv6()) + u8::from(!is_private(address.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(addresses: &[&str], txt: &[(&str, &str)]) -> Found {
        let addresses = addresses.iter().map(|text| text.parse().unwrap());
        let txt = txt.iter().map(|(key, value)| (*key, value.as_bytes()));
        Found::new(b"Pi (OpenClaw)", LOCAL, "pi.local.", 18_789, addresses, txt)
    }

    #[test]
    fn a_connection_goes_where_it_was_resolved_to_whatever_the_hints_say() {
        let lies = [
            ("gatewayPort", "6666"),
            ("lanHost", "evil.local"),
            ("tailnetDns", "evil.ts.net"),
        ];
        let it = found(&["192.168.1.7:18789"], &lies);
        assert_eq!(it.url().unwrap().to_string(), "ws://192.168.1.7:18789");
        assert_eq!(found(&[], &lies).url(), None);
        let it = found(&["192.168.1.7:18789"], &[("gatewaytls", "1")]);
        assert_eq!(it.url().unwrap().to_string(), "wss://192.168.1.7:18789");
        let it = found(&["[fe80::7%3]:18789"], &[]);
        assert_eq!(it.url().unwrap().host, "fe80::7%3");
    }

    #[test]
    fn addresses_come_best_first() {
        let it = found(
            &[
                "[fe80::7%3]:1",
                "8.8.8.8:1",
                "[fd00::7]:1",
                "10.0.0.7:1",
                "169.254.1.1:1",
                "10.0.0.7:1",
            ],
            &[],
        );
        let order: Vec<String> = it.addresses.iter().map(SocketAddr::to_string).collect();
        assert_eq!(
            order,
            [
                "10.0.0.7:1",
                "8.8.8.8:1",
                "[fd00::7]:1",
                "169.254.1.1:1",
                "[fe80::7%3]:1"
            ]
        );
    }

    #[test]
    fn places_that_no_other_machine_can_be_at_are_none() {
        let nowhere = [
            "127.0.0.1:1",
            "127.9.9.9:1",
            "0.0.0.0:1",
            "224.0.0.251:1",
            "255.255.255.255:1",
            "[::1]:1",
            "[::]:1",
            "[ff02::fb]:1",
            "[::ffff:127.0.0.1]:1",
        ];
        assert_eq!(found(&nowhere, &[]).url(), None);
        let it = found(&["127.0.0.1:1", "10.0.0.7:1"], &[]);
        assert_eq!(it.addresses, ["10.0.0.7:1".parse().unwrap()]);
    }

    #[test]
    fn nothing_from_the_network_moves_the_terminal() {
        let it = Found::new(
            b" \x1b[2JPi\x07\xff \xe2\x80\xaeevil\r\n",
            LOCAL,
            "pi\n.local.",
            1,
            [],
            [("Display\tName", &b"a\0b"[..]), ("displayname", b"second")],
        );
        assert_eq!(it.instance, "[2JPi\u{fffd} evil");
        assert_eq!(it.host, "pi.local");
        assert_eq!(it.name(), "ab");
    }
}
