//! Where a connection comes from: the address of the socket and the forwarding headers together
//! (protocol.md §4.7).
//!
//! Pure decisions over what the socket and the request head say. A forwarding header can only take
//! locality away, never give it: its value is chosen by whoever sent it. Trusted proxies will be one
//! more argument here; until then every forwarded request has an unknown client address.

use std::net::{IpAddr, Ipv6Addr};

use crate::gateway::origin::{host_name, is_loopback_host, origin_authority};

pub use crate::pairing::connect::{AddressSource, Locality};

/// The header lines of the request head that locality looks at; absent and empty are the same.
#[derive(Clone, Debug, Default)]
pub struct RequestHeaders {
    /// Some forwarding header is present and not empty.
    pub forwarded: bool,
    /// `Host`.
    pub host: Option<String>,
    /// `Origin`.
    pub origin: Option<String>,
}

/// The result for one connection, before anything is known about its credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The address failures are counted under; `None` when a proxy hides it.
    pub client: Option<IpAddr>,
    /// Distance, as far as the socket alone tells.
    pub locality: Locality,
    /// The address stored as `remoteIp`: absent for local and for forwarded connections.
    pub reported: Option<IpAddr>,
}

/// Names of the headers that prove a proxy stands in between: those of §4.7, then those that other
/// proxies in use add, since any evidence of forwarding removes locality.
pub const FORWARDING_HEADERS: [&str; 15] = [
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

/// Judges the raw peer address together with the forwarding evidence (table of §4.7).
pub fn place(peer: IpAddr, headers: &RequestHeaders) -> Place {
    let peer = peer.to_canonical();
    let local = peer.is_loopback();
    Place {
        client: Some(peer),
        locality: if local && !headers.forwarded {
            Locality::DirectLocal
        } else {
            Locality::Remote
        },
        reported: (!local && !headers.forwarded).then_some(peer),
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
        && is_private(peer.to_canonical())
        && headers
            .host
            .as_deref()
            .is_some_and(|host| is_loopback_host(host_name(host)))
        && headers
            .origin
            .as_deref()
            .and_then(origin_authority)
            .is_some_and(|authority| is_loopback_host(host_name(authority)))
}

fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_private() || v4.is_link_local(),
        IpAddr::V6(v6) => is_unique_local(v6) || (v6.segments()[0] & 0xffc0) == 0xfe80,
    }
}

fn is_unique_local(address: Ipv6Addr) -> bool {
    (address.segments()[0] & 0xfe00) == 0xfc00
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(forwarded: bool, host: Option<&str>, origin: Option<&str>) -> RequestHeaders {
        RequestHeaders {
            forwarded,
            host: host.map(str::to_owned),
            origin: origin.map(str::to_owned),
        }
    }

    #[test]
    fn socket_and_forwarding_evidence_decide_together() {
        for (peer, forwarded, locality, reported) in [
            ("127.0.0.1", false, Locality::DirectLocal, None),
            ("127.8.8.8", false, Locality::DirectLocal, None),
            ("::1", false, Locality::DirectLocal, None),
            ("::ffff:127.0.0.1", false, Locality::DirectLocal, None),
            ("127.0.0.1", true, Locality::Remote, None),
            ("::1", true, Locality::Remote, None),
            ("192.168.1.7", false, Locality::Remote, Some("192.168.1.7")),
            (
                "::ffff:192.168.1.7",
                false,
                Locality::Remote,
                Some("192.168.1.7"),
            ),
            ("203.0.113.9", false, Locality::Remote, Some("203.0.113.9")),
            ("192.168.1.7", true, Locality::Remote, None),
        ] {
            let place = place(peer.parse().unwrap(), &headers(forwarded, None, None));
            assert_eq!(place.locality, locality, "{peer} forwarded={forwarded}");
            assert_eq!(
                place.reported,
                reported.map(|text| text.parse().unwrap()),
                "{peer} forwarded={forwarded}"
            );
        }
    }

    #[test]
    #[rustfmt::skip]
    fn a_container_browser_needs_every_piece_of_evidence() {
        let peer: IpAddr = "172.17.0.1".parse().unwrap();
        let good = headers(
            false,
            Some("127.0.0.1:18789"),
            Some("http://localhost:18789"),
        );
        assert!(is_browser_container_local(peer, &good, true, true));
        for (peer, headers, control_ui, secret) in [
            ("203.0.113.9", good.clone(), true, true),
            ("172.17.0.1", good.clone(), false, true),
            ("172.17.0.1", good.clone(), true, false),
            ("172.17.0.1", RequestHeaders { forwarded: true, ..good.clone() }, true, true),
            ("172.17.0.1", RequestHeaders { host: Some("gw.lan".into()), ..good.clone() }, true, true),
            ("172.17.0.1", RequestHeaders { origin: None, ..good.clone() }, true, true),
            ("172.17.0.1", RequestHeaders { origin: Some("http://evil".into()), ..good }, true, true),
        ] {
            let verdict =
                is_browser_container_local(peer.parse().unwrap(), &headers, control_ui, secret);
            assert!(!verdict, "{peer} {headers:?}");
        }
    }
}
