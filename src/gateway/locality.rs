//! Where a connection comes from: the address of the socket and the forwarding headers together
//! (protocol.md §4.7).
//!
//! Pure decisions over what the socket and the request head say. A forwarding header can only take
//! locality away, never give it: its value is chosen by whoever sent it. A trusted proxy adds who its
//! client is, nothing else.

use std::net::IpAddr;

use crate::gateway::forwarded::ProxyTrust;
use crate::gateway::origin::{host_name, is_loopback_host, origin_authority};
use crate::net::Headers;
use crate::net::address::{is_private, is_tailnet};

pub use crate::pairing::connect::{AddressSource, Locality};

/// The header lines of the request head, as the decisions about a connection look at them.
#[derive(Clone, Debug, Default)]
pub struct RequestHeaders {
    /// A proxy left evidence of itself.
    pub forwarded: bool,
    /// All of them.
    pub lines: Headers,
}

impl RequestHeaders {
    /// The lines of a head, with what they say about proxies.
    pub fn new(lines: Headers, proxies: &ProxyTrust) -> Self {
        Self {
            forwarded: proxies.is_forwarded(&lines),
            lines,
        }
    }

    /// Whether an `Origin` was sent, whatever it says.
    pub fn has_origin(&self) -> bool {
        self.lines.first("origin").is_some()
    }

    /// The one `Origin`.
    pub fn origin(&self) -> Option<&str> {
        self.lines.only("origin")
    }

    /// The one `Host`.
    pub fn host(&self) -> Option<&str> {
        self.lines.only("host")
    }

    /// Whether it asks for a name or address of this host.
    pub fn is_for_loopback(&self) -> bool {
        self.host()
            .is_some_and(|host| is_loopback_host(host_name(host)))
    }

    /// Whether a page of somebody else's may have sent it by a browser on this host: browsers tell the origin, or at
    /// least the name that the page has, wherever that name leads.
    pub fn may_be_of_a_page(&self) -> bool {
        self.has_origin() || !self.is_for_loopback()
    }
}

/// The result for one connection, before anything is known about its credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The address failures and open sockets are counted under; `None` when a proxy hides it.
    pub client: Option<IpAddr>,
    /// Distance, as far as the socket alone tells.
    pub locality: Locality,
    /// The address stored as `remoteIp`: absent for local connections and for those whose proxy is not
    /// trusted or names nobody.
    pub reported: Option<IpAddr>,
    /// Where `reported` comes from; absent exactly when that is.
    pub source: Option<AddressSource>,
}

/// Judges the raw peer address together with the forwarding evidence (table of §4.7).
pub fn place(peer: IpAddr, headers: &RequestHeaders, proxies: &ProxyTrust) -> Place {
    let peer = peer.to_canonical();
    let trusted = proxies.networks.contains(peer);
    let local = peer.is_loopback();
    let (client, source) = match (local, headers.forwarded) {
        (true, false) => {
            return Place {
                client: Some(peer),
                locality: Locality::DirectLocal,
                reported: None,
                source: None,
            };
        }
        // A trusted proxy that says nothing hides its client; its own address stands for nobody.
        (false, false) if trusted => (None, None),
        (false, false) => (Some(peer), Some(AddressSource::Direct)),
        (true, true) if trusted => (
            proxies.client(&headers.lines),
            Some(AddressSource::LoopbackTrustedProxy),
        ),
        (false, true) if trusted => (
            proxies.client(&headers.lines),
            Some(AddressSource::TrustedProxy),
        ),
        // Somebody behind a proxy of this host: not this host, and nobody knows who.
        (true, true) => (None, None),
        // The headers are its own claim; the address that it sent them from is not.
        (false, true) => (Some(peer), None),
    };
    let reported = client.filter(|_| source.is_some());
    Place {
        client,
        locality: Locality::Remote,
        reported,
        source: source.filter(|_| reported.is_some()),
    }
}

/// A Control UI in a browser on this host whose packets arrive from a container's private address
/// counts as local once the shared secret proved right.
pub fn is_browser_container_local(
    peer: IpAddr,
    headers: &RequestHeaders,
    control_ui_webchat: bool,
    shared_secret_ok: bool,
) -> bool {
    control_ui_webchat
        && shared_secret_ok
        && !headers.forwarded
        // Containers get private addresses of their host, never a tailnet's.
        && is_private(peer)
        && !is_tailnet(peer)
        && headers.is_for_loopback()
        && headers
            .origin()
            .and_then(origin_authority)
            .is_some_and(|authority| is_loopback_host(host_name(authority)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pairing::networks::Networks;

    /// Headers of these lines, as a gateway reads them that trusts 10.0.0.0/8, 192.168.1.7 and, when
    /// asked, its own host.
    fn place_of(peer: &str, lines: &[(&str, &str)], trust_loopback: bool) -> Place {
        let mut entries = vec!["10.0.0.0/8".to_owned(), "192.168.1.7".to_owned()];
        if trust_loopback {
            entries.extend(["127.0.0.1", "::1"].map(str::to_owned));
        }
        let proxies = ProxyTrust {
            networks: Networks::parse(&entries),
            ..ProxyTrust::default()
        };
        let headers = RequestHeaders::new(lines.iter().copied().collect(), &proxies);
        place(peer.parse().unwrap(), &headers, &proxies)
    }

    #[test]
    #[rustfmt::skip]
    fn socket_and_forwarding_evidence_decide_together() {
        use AddressSource::{Direct, LoopbackTrustedProxy, TrustedProxy};
        use Locality::{DirectLocal, Remote};
        const NONE: &[(&str, &str)] = &[];
        const FROM_LAN: &[(&str, &str)] = &[("x-forwarded-for", "192.168.5.5")];
        const FROM_HERE: &[(&str, &str)] = &[("x-forwarded-for", "127.0.0.1")];
        const CHAIN: &[(&str, &str)] = &[("x-forwarded-for", "1.1.1.1, 203.0.113.9, 10.0.0.2")];
        const OTHER: &[(&str, &str)] = &[("x-forwarded-proto", "https")];
        const STANDARD: &[(&str, &str)] = &[("forwarded", "for=192.168.5.5")];
        const REAL: &[(&str, &str)] = &[("x-real-ip", "192.168.5.5")];
        // peer, headers, loopback trusted -> locality, source, reported, counted under
        for (peer, lines, trusted, locality, source, reported, client) in [
            ("127.0.0.1", NONE, false, DirectLocal, None, None, Some("127.0.0.1")),
            ("127.8.8.8", NONE, false, DirectLocal, None, None, Some("127.8.8.8")),
            ("::1", NONE, true, DirectLocal, None, None, Some("::1")),
            ("::ffff:127.0.0.1", NONE, false, DirectLocal, None, None, Some("127.0.0.1")),
            ("127.0.0.1", NONE, true, DirectLocal, None, None, Some("127.0.0.1")),
            // loopback, headers, not trusted
            ("127.0.0.1", FROM_LAN, false, Remote, None, None, None),
            ("127.0.0.1", FROM_HERE, false, Remote, None, None, None),
            ("::ffff:127.0.0.1", OTHER, false, Remote, None, None, None),
            ("::1", STANDARD, false, Remote, None, None, None),
            // loopback, headers, trusted
            ("127.0.0.1", FROM_LAN, true, Remote, Some(LoopbackTrustedProxy), Some("192.168.5.5"), Some("192.168.5.5")),
            ("::1", CHAIN, true, Remote, Some(LoopbackTrustedProxy), Some("203.0.113.9"), Some("203.0.113.9")),
            ("::ffff:127.0.0.1", FROM_LAN, true, Remote, Some(LoopbackTrustedProxy), Some("192.168.5.5"), Some("192.168.5.5")),
            ("127.0.0.1", FROM_HERE, true, Remote, None, None, None),
            ("127.0.0.1", OTHER, true, Remote, None, None, None),
            ("127.0.0.1", REAL, true, Remote, None, None, None),
            // somewhere else, no headers
            ("192.168.1.8", NONE, false, Remote, Some(Direct), Some("192.168.1.8"), Some("192.168.1.8")),
            ("::ffff:192.168.1.8", NONE, false, Remote, Some(Direct), Some("192.168.1.8"), Some("192.168.1.8")),
            ("100.64.1.2", NONE, false, Remote, Some(Direct), Some("100.64.1.2"), Some("100.64.1.2")),
            ("203.0.113.9", NONE, true, Remote, Some(Direct), Some("203.0.113.9"), Some("203.0.113.9")),
            ("2001:db8::1", NONE, false, Remote, Some(Direct), Some("2001:db8::1"), Some("2001:db8::1")),
            // a trusted proxy that does not say whom it speaks for
            ("192.168.1.7", NONE, false, Remote, None, None, None),
            ("10.9.9.9", OTHER, false, Remote, None, None, None),
            ("10.9.9.9", FROM_HERE, false, Remote, None, None, None),
            // somewhere else, headers, not trusted
            ("192.168.1.8", FROM_LAN, false, Remote, None, None, Some("192.168.1.8")),
            ("192.168.1.8", FROM_HERE, true, Remote, None, None, Some("192.168.1.8")),
            ("203.0.113.9", STANDARD, false, Remote, None, None, Some("203.0.113.9")),
            // somewhere else, headers, trusted
            ("192.168.1.7", FROM_LAN, false, Remote, Some(TrustedProxy), Some("192.168.5.5"), Some("192.168.5.5")),
            ("10.9.9.9", CHAIN, false, Remote, Some(TrustedProxy), Some("203.0.113.9"), Some("203.0.113.9")),
            ("::ffff:10.9.9.9", CHAIN, false, Remote, Some(TrustedProxy), Some("203.0.113.9"), Some("203.0.113.9")),
        ] {
            let address = |text: Option<&str>| text.map(|text| text.parse::<IpAddr>().unwrap());
            let expected = Place { client: address(client), locality, reported: address(reported), source };
            assert_eq!(place_of(peer, lines, trusted), expected, "{peer} {lines:?} trusted={trusted}");
        }
    }

    #[test]
    #[rustfmt::skip]
    fn a_container_browser_needs_every_piece_of_evidence() {
        let peer: IpAddr = "172.17.0.1".parse().unwrap();
        let head = |lines: &[(&str, &str)]| {
            RequestHeaders::new(lines.iter().copied().collect(), &ProxyTrust::default())
        };
        let host = ("host", "127.0.0.1:18789");
        let origin = ("origin", "http://localhost:18789");
        let good = head(&[host, origin]);
        assert!(is_browser_container_local(peer, &good, true, true));
        for (peer, headers, control_ui, secret) in [
            ("203.0.113.9", good.clone(), true, true),
            ("172.17.0.1", good.clone(), false, true),
            ("172.17.0.1", good.clone(), true, false),
            ("172.17.0.1", head(&[host, origin, ("via", "1.1 x")]), true, true),
            ("172.17.0.1", head(&[("host", "gw.lan"), origin]), true, true),
            ("172.17.0.1", head(&[host, host, origin]), true, true),
            ("172.17.0.1", head(&[host]), true, true),
            ("172.17.0.1", head(&[host, ("origin", "http://evil")]), true, true),
            ("172.17.0.1", head(&[host, origin, ("origin", "http://evil")]), true, true),
        ] {
            let verdict =
                is_browser_container_local(peer.parse().unwrap(), &headers, control_ui, secret);
            assert!(!verdict, "{peer} {headers:?}");
        }
    }
}
