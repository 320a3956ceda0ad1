//! Under which name failures are counted: an address, a network, a browser's origin.
//!
//! Pure: an address and what the request head says in, a key out.

use std::fmt;
use std::net::IpAddr;

use crate::gateway::limits::source::{Source, masked};
use crate::gateway::locality::{Locality, Place, RequestHeaders};
use crate::identity::DeviceId;
use crate::protocol::close::truncate;

/// Leading bits of the network that shares one counter when there is no room for single addresses.
const V4_NETWORK_BITS: u32 = 16;

/// The same for IPv6: what a provider gets.
const V6_NETWORK_BITS: u32 = 32;

/// Bytes of an origin that are kept: host names end at 253.
const MAX_ORIGIN_BYTES: usize = 280;

/// Who failures are counted under.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Client {
    /// Where it comes from, when nothing is proven; listed first.
    Source(Source),
    /// A paired device that proved its key: nobody else can fail in its name.
    Device(DeviceId),
    /// A network whose addresses found no room of their own.
    Network(IpAddr),
    /// A browser on this host, by the page it shows.
    Origin(Box<str>),
    /// Everybody else who found no room.
    Rest,
}

/// A client as far as the request head tells, before its credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Its name.
    pub client: Client,
    /// It sends an `Origin`: such requests have a limiter of their own (protocol.md §4.5).
    pub browser: bool,
    /// It is on this host, with no proxy in between.
    pub direct: bool,
    /// The same, and no browser either.
    pub local: bool,
}

impl Caller {
    /// Names the caller of a request (protocol.md §4.5).
    pub fn of(place: &Place, headers: &RequestHeaders) -> Self {
        let direct = place.locality != Locality::Remote;
        let browser = headers.has_origin();
        let client = match place.client {
            Some(_) if direct && browser => {
                let origin = headers.origin().unwrap_or_default().trim();
                Client::Origin(truncate(&origin.to_ascii_lowercase(), MAX_ORIGIN_BYTES).into())
            }
            client => Client::Source(Source::of(client)),
        };
        Self {
            client,
            browser,
            direct,
            local: direct && !browser,
        }
    }
}

impl Client {
    /// The wider counters to use when there is no room for this one, nearest first.
    pub(super) fn wider(&self) -> Vec<Client> {
        match self {
            Self::Source(Source::Address(address)) => {
                vec![Self::Network(network(*address)), Self::Rest]
            }
            Self::Origin(_) => vec![Self::Rest],
            Self::Device(_) | Self::Network(_) | Self::Rest | Self::Source(Source::Hidden) => {
                Vec::new()
            }
        }
    }

    /// Whether strangers share it, so that the success of one says nothing about the others.
    pub fn is_shared(&self) -> bool {
        matches!(
            self,
            Self::Network(_) | Self::Rest | Self::Source(Source::Hidden)
        )
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(device) => write!(f, "device:{device}"),
            Self::Network(address @ IpAddr::V4(_)) => write!(f, "{address}/{V4_NETWORK_BITS}"),
            Self::Network(address) => write!(f, "{address}/{V6_NETWORK_BITS}"),
            Self::Origin(origin) => write!(f, "browser-origin:{origin}"),
            Self::Rest => f.write_str("others"),
            Self::Source(source) => source.fmt(f),
        }
    }
}

fn network(address: IpAddr) -> IpAddr {
    masked(address, V4_NETWORK_BITS, V6_NETWORK_BITS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::forwarded::ProxyTrust;
    use crate::gateway::locality::place;

    #[test]
    #[rustfmt::skip]
    fn callers_are_named_by_address_origin_or_proxy() {
        const NONE: &[(&str, &str)] = &[];
        const PROXIED: &[(&str, &str)] = &[("x-forwarded-for", "203.0.113.9")];
        const PAGE: &[(&str, &str)] = &[("origin", "http://LOCALHOST:3000")];
        const PROXIED_PAGE: &[(&str, &str)] = &[("via", "1.1 x"), ("origin", "http://localhost")];
        for (peer, lines, name, browser, local) in [
            ("127.0.0.1", NONE, "127.0.0.1", false, true),
            ("::1", NONE, "::1", false, true),
            ("::ffff:127.0.0.1", NONE, "127.0.0.1", false, true),
            ("127.0.0.1", PAGE, "browser-origin:http://localhost:3000", true, false),
            ("127.0.0.1", &[("origin", "")], "browser-origin:", true, false),
            ("127.0.0.1", PROXIED, "behind-proxy", false, false),
            ("127.0.0.1", PROXIED_PAGE, "behind-proxy", true, false),
            ("192.0.2.7", NONE, "192.0.2.7", false, false),
            ("192.0.2.7", PAGE, "192.0.2.7", true, false),
            // A header that anybody may send moves nobody into the shared counter.
            ("192.0.2.7", PROXIED, "192.0.2.7", false, false),
            ("2001:db8:1:2:3:4:5:6", NONE, "2001:db8:1:2::/64", false, false),
        ] {
            let proxies = ProxyTrust::default();
            let headers = RequestHeaders::new(lines.iter().copied().collect(), &proxies);
            let caller = Caller::of(&place(peer.parse().unwrap(), &headers, &proxies), &headers);
            assert_eq!(
                (caller.client.to_string().as_str(), caller.browser, caller.local),
                (name, browser, local),
                "{peer} {lines:?}"
            );
        }
    }

    #[test]
    fn without_room_networks_share_a_counter() {
        for (address, expected) in [
            ("203.0.113.9", vec!["203.0.0.0/16", "others"]),
            ("2001:db8:1:2::", vec!["2001:db8::/32", "others"]),
        ] {
            let wider = Client::Source(Source::Address(address.parse().unwrap())).wider();
            let names: Vec<String> = wider.iter().map(ToString::to_string).collect();
            assert_eq!(names, expected);
        }
        assert!(Client::Device(DeviceId::from("d")).wider().is_empty());
    }
}
