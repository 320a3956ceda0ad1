//! What proxies say about the client behind them (protocol.md §4.7).
//!
//! Only the headers of a trusted proxy name a client. They are read from the end, where that proxy wrote;
//! what stands further left was written by whoever spoke to it.

use std::net::{IpAddr, SocketAddr};

use crate::net::Headers;
use crate::pairing::networks::Networks;

/// Names of the headers that prove a proxy stands in between: those of §4.7, then those that other
/// proxies in use add, since any evidence of forwarding removes locality.
const FORWARDING_HEADERS: [&str; 15] = [
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-real-ip",
    "cf-connecting-ip",
    "fly-client-ip",
    "tailscale-user-login",
    "true-client-ip",
    "via",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-forwarded-port",
    "x-forwarded-server",
    "x-original-forwarded-for",
];

/// Whose headers count, and which (`gateway.trustedProxies`, `gateway.allowRealIpFallback`).
#[derive(Clone, Debug, Default)]
pub struct ProxyTrust {
    /// The header by which a proxy names its user: whoever carries it came through a proxy.
    pub identity_header: Option<String>,
    /// The proxies.
    pub networks: Networks,
    /// Use X-Real-IP where X-Forwarded-For names nobody.
    pub real_ip_fallback: bool,
}

impl ProxyTrust {
    /// Whether the request carries any evidence of a proxy.
    pub fn is_forwarded(&self, headers: &Headers) -> bool {
        let names = FORWARDING_HEADERS.into_iter();
        names
            .chain(self.identity_header.as_deref())
            .any(|name| is_given(headers, name))
    }

    /// The client that a trusted proxy names; `None` when it names nobody.
    ///
    /// Loopback is nobody's client address: a proxy that sees its client there would hide a whole chain
    /// behind the address that is trusted most.
    pub fn client(&self, headers: &Headers) -> Option<IpAddr> {
        let lines: Vec<&str> = headers.all("x-forwarded-for").collect();
        // Repeated lines are one list in their order; a head is bounded, so the list is.
        let hops = lines.iter().rev().flat_map(|line| line.rsplit(','));
        hops.filter_map(hop)
            .find(|&address| self.may_be_client(address))
            .or_else(|| {
                let real = headers.only("x-real-ip").and_then(hop);
                real.filter(|&address| self.real_ip_fallback && self.may_be_client(address))
            })
    }

    fn may_be_client(&self, address: IpAddr) -> bool {
        !address.is_loopback() && !address.is_unspecified() && !self.networks.contains(address)
    }
}

/// Whether a header stands there with a value.
pub fn is_given(headers: &Headers, name: &str) -> bool {
    headers.all(name).any(|value| !value.trim().is_empty())
}

/// One entry of a list of hops: an address, with brackets and port or without.
fn hop(entry: &str) -> Option<IpAddr> {
    let entry = entry.trim();
    let bare = entry
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(entry);
    let address = bare.parse::<IpAddr>().ok();
    let address = address.or_else(|| entry.parse::<SocketAddr>().ok().map(|at| at.ip()));
    address.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trust(real_ip_fallback: bool) -> ProxyTrust {
        ProxyTrust {
            identity_header: None,
            networks: Networks::parse(&["10.0.0.0/8", "2001:db8:aa::1"].map(str::to_owned)),
            real_ip_fallback,
        }
    }

    #[test]
    #[rustfmt::skip]
    fn the_nearest_stranger_is_the_client() {
        const FOR: &str = "X-Forwarded-For";
        const REAL: &str = "x-real-ip";
        for (lines, fallback, expected) in [
            (&[][..], false, None),
            (&[(FOR, "")], false, None),
            (&[(FOR, "203.0.113.9")], false, Some("203.0.113.9")),
            (&[(FOR, "198.51.100.1, 203.0.113.9")], false, Some("203.0.113.9")),
            (&[(FOR, "203.0.113.9, 10.0.0.2, 10.0.0.3")], false, Some("203.0.113.9")),
            (&[(FOR, "203.0.113.9,127.0.0.1,::1")], false, Some("203.0.113.9")),
            (&[(FOR, "1.1.1.1, 203.0.113.9, 2001:db8:aa::1")], false, Some("203.0.113.9")),
            // Lines are joined in their order: the last entry of the last line is the nearest.
            (&[(FOR, "203.0.113.9"), ("x-forwarded-for", "198.51.100.1")], false, Some("198.51.100.1")),
            (&[(FOR, "203.0.113.9"), (FOR, "10.0.0.1")], false, Some("203.0.113.9")),
            (&[(FOR, "203.0.113.9:4711")], false, Some("203.0.113.9")),
            (&[(FOR, "[2001:db8::7]:4711")], false, Some("2001:db8::7")),
            (&[(FOR, "[2001:db8::7]")], false, Some("2001:db8::7")),
            (&[(FOR, "2001:db8::7")], false, Some("2001:db8::7")),
            (&[(FOR, "::ffff:203.0.113.9")], false, Some("203.0.113.9")),
            (&[(FOR, "203.0.113.9, ::ffff:10.1.2.3")], false, Some("203.0.113.9")),
            (&[(FOR, "203.0.113.9, unknown, _hidden, \"\", 1.2.3, 999.1.1.1, 1.2.3.4:x, [::1, 0x7f.1")], false, Some("203.0.113.9")),
            (&[(FOR, "127.0.0.1")], false, None),
            (&[(FOR, "::ffff:127.0.0.1, 0.0.0.0, ::")], false, None),
            (&[(FOR, "10.0.0.1, 10.0.0.2")], false, None),
            (&[(FOR, "unknown")], false, None),
            (&[(REAL, "203.0.113.9")], false, None),
            (&[(REAL, "203.0.113.9")], true, Some("203.0.113.9")),
            (&[(REAL, " [2001:db8::7]:1 ")], true, Some("2001:db8::7")),
            (&[(FOR, "198.51.100.1"), (REAL, "203.0.113.9")], true, Some("198.51.100.1")),
            (&[(FOR, "unknown"), (REAL, "203.0.113.9")], true, Some("203.0.113.9")),
            (&[(REAL, "203.0.113.9"), (REAL, "198.51.100.1")], true, None),
            (&[(REAL, "203.0.113.9, 198.51.100.1")], true, None),
            (&[(REAL, "127.0.0.1")], true, None),
            (&[(REAL, "10.0.0.1")], true, None),
            (&[("forwarded", "for=203.0.113.9")], true, None),
        ] {
            let headers: Headers = lines.iter().copied().collect();
            let expected = expected.map(|text: &str| text.parse::<IpAddr>().unwrap());
            assert_eq!(trust(fallback).client(&headers), expected, "{lines:?}");
        }
    }

    #[test]
    fn a_very_long_list_is_read_to_its_end() {
        let garbage = "x,".repeat(8_000);
        for (line, expected) in [
            (format!("203.0.113.9,{garbage}"), Some("203.0.113.9")),
            (garbage.clone(), None),
        ] {
            let headers: Headers = [("x-forwarded-for", line)].into_iter().collect();
            let expected = expected.map(|text| text.parse::<IpAddr>().unwrap());
            assert_eq!(trust(false).client(&headers), expected);
        }
    }

    #[test]
    fn every_forwarding_header_is_evidence_and_an_empty_one_is_none() {
        let trust = ProxyTrust {
            identity_header: Some("X-Auth-User".to_owned()),
            ..ProxyTrust::default()
        };
        let forwarded = |name: &str, value: &str| {
            let headers: Headers = [(name, value)].into_iter().collect();
            trust.is_forwarded(&headers)
        };
        for name in FORWARDING_HEADERS.into_iter().chain(["x-auth-user"]) {
            assert!(forwarded(&name.to_ascii_uppercase(), "127.0.0.1"), "{name}");
            assert!(!forwarded(name, "  "), "{name}");
        }
        assert!(!forwarded("user-agent", "x"));
        let second: Headers = [("via", ""), ("Via", "1.1 proxy")].into_iter().collect();
        assert!(trust.is_forwarded(&second));
    }
}
