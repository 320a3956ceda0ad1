//! Where pages may be sent: schemes, and addresses that only this machine or its network can reach
//! (node-host specification, section 4.4, "Navigation guard").
//!
//! The judgement is pure over the addresses a host has; only [`check`] looks them up.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::error::BrowserError;
use crate::net::NetError;
use crate::net::address::is_private;
use crate::net::dial::resolve;

/// How long looking up a host may take.
const LOOKUP_LIMIT: Duration = Duration::from_secs(5);

/// The page of a tab that shows nothing.
pub const BLANK: &str = "about:blank";

/// `browser.ssrfPolicy`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// `dangerouslyAllowPrivateNetwork`: every address.
    pub private_network: bool,
    /// `allowedHostnames` and `hostnameAllowlist`, lower-case: these hosts wherever they are; `*.example.org`
    /// is every host below `example.org`.
    pub hosts: Vec<String>,
}

/// An address of the web that a tab may be sent to if its host passes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// The host, lower-case, without brackets and without a final dot; `None` for `about:blank`.
    pub host: Option<String>,
}

/// Reads the URL of a navigation.
///
/// # Errors
/// [`BrowserError::InvalidUrl`] and [`BrowserError::UnsupportedProtocol`].
pub fn destination(url: &str) -> Result<Destination, BrowserError> {
    let invalid = || BrowserError::InvalidUrl(url.to_owned());
    let text = url.trim();
    if text.eq_ignore_ascii_case(BLANK) {
        return Ok(Destination { host: None });
    }
    let (scheme, rest) = text.split_once(':').ok_or_else(invalid)?;
    let named = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    if !named {
        return Err(invalid());
    }
    let scheme = scheme.to_ascii_lowercase();
    if scheme != "http" && scheme != "https" {
        return Err(BrowserError::UnsupportedProtocol(format!("{scheme}:")));
    }
    // Browsers take any number of slashes of either kind here, and drop white space inside.
    if rest.contains(|letter: char| letter.is_control() || letter == ' ') {
        return Err(invalid());
    }
    let rest = rest.trim_start_matches(['/', '\\']);
    let end = rest.find(['/', '\\', '?', '#']).unwrap_or(rest.len());
    let authority = &rest[..end];
    let place = authority
        .rsplit_once('@')
        .map_or(authority, |(_, place)| place);
    let host = host_of(place).ok_or_else(invalid)?;
    Ok(Destination { host: Some(host) })
}

/// Judges where a navigation goes, with a look at the addresses of its host.
///
/// # Errors
/// As [`destination`]; [`BrowserError::Blocked`]; [`BrowserError::TimedOut`] when the request's time is over first.
pub fn check(policy: &Policy, url: &str, deadline: Instant) -> Result<(), BrowserError> {
    let Some(host) = destination(url)?.host else {
        return Ok(());
    };
    if policy.trusts(&host) {
        return Ok(());
    }
    let until = deadline.min(Instant::now() + LOOKUP_LIMIT);
    let addresses = match literal(&host) {
        Some(address) => vec![address],
        None => match resolve(&host, 0, until) {
            Ok(found) => found.iter().map(|address| address.ip()).collect(),
            Err(NetError::TimedOut) if Instant::now() >= deadline => {
                return Err(BrowserError::TimedOut);
            }
            Err(_) => {
                let text = format!("net::ERR_NAME_NOT_RESOLVED at {url}");
                return Err(BrowserError::Unexpected(text));
            }
        },
    };
    if policy.passes(&host, &addresses) {
        Ok(())
    } else {
        Err(BrowserError::Blocked)
    }
}

/// The host of `host[:port]`.
fn host_of(place: &str) -> Option<String> {
    let (host, port) = match place.strip_prefix('[') {
        Some(inside) => {
            let (address, after) = inside.split_once(']')?;
            address.parse::<std::net::Ipv6Addr>().ok()?;
            (
                address,
                after.strip_prefix(':').or(after.is_empty().then_some(""))?,
            )
        }
        None => place.split_once(':').unwrap_or((place, "")),
    };
    if !port.is_empty() && port.parse::<u16>().is_err() {
        return None;
    }
    let host = host.strip_suffix('.').unwrap_or(host);
    // Escapes and full-width letters are read in the browser's own way: nothing that needs that is judged.
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte);
    (!host.is_empty() && host.bytes().all(plain)).then(|| host.to_ascii_lowercase())
}

impl Policy {
    /// Whether a host passes without a look at its addresses.
    pub fn trusts(&self, host: &str) -> bool {
        self.private_network
            || self
                .hosts
                .iter()
                .any(|allowed| match allowed.strip_prefix("*.") {
                    Some(domain) => host
                        .strip_suffix(domain)
                        .is_some_and(|below| below.ends_with('.') && below.len() > 1),
                    None => allowed == host,
                })
    }

    /// Whether a host with these addresses passes.
    pub fn passes(&self, host: &str, addresses: &[IpAddr]) -> bool {
        self.trusts(host) || !(is_local_name(host) || addresses.iter().any(is_internal))
    }
}

/// Names that mean this machine or its network whatever the resolver says.
fn is_local_name(host: &str) -> bool {
    host == "localhost"
        || [".localhost", ".local", ".internal"]
            .iter()
            .any(|end| host.ends_with(end))
}

/// Loopback, private, link-local, unspecified, multicast, reserved.
fn is_internal(address: &IpAddr) -> bool {
    let address = address.to_canonical();
    is_private(address)
        || address.is_loopback()
        || address.is_unspecified()
        || address.is_multicast()
        || match address {
            IpAddr::V4(v4) => {
                let [first, second, third, _] = v4.octets();
                v4.is_broadcast()
                    || v4.is_documentation()
                    || first == 0
                    || first >= 240
                    || (first == 192 && second == 0 && third == 0)
                    || (first == 198 && second & 0xfe == 18)
            }
            // An IPv4 address inside one of IPv6: NAT64, 6to4, or the compatible form of old.
            IpAddr::V6(v6) => {
                let parts = v6.segments();
                let inner = |high: u16, low: u16| {
                    let [a, b] = high.to_be_bytes();
                    let [c, d] = low.to_be_bytes();
                    is_internal(&IpAddr::from([a, b, c, d]))
                };
                match parts {
                    [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0, 0, 0, 0, 0, 0, high, low] => {
                        inner(high, low)
                    }
                    [0x2002, high, low, ..] => inner(high, low),
                    _ => false,
                }
            }
        }
}

/// The address that a host is, in any of the ways a browser reads one: `127.1`, `0x7f000001`, `017700000001`.
pub fn literal(host: &str) -> Option<IpAddr> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Some(address);
    }
    let parts: Vec<&str> = host.split('.').collect();
    if parts.len() > 4 {
        return None;
    }
    let numbers = parts
        .iter()
        .map(|part| number(part))
        .collect::<Option<Vec<u64>>>()?;
    let (last, firsts) = numbers.split_last()?;
    let room = 4_u32.checked_sub(u32::try_from(firsts.len()).ok()?)?;
    if firsts.iter().any(|&first| first > 255) || *last >= 1_u64.checked_shl(8 * room)? {
        return None;
    }
    let high = firsts
        .iter()
        .enumerate()
        .fold(0_u64, |sum, (at, first)| sum | first << (8 * (3 - at)));
    let address = u32::try_from(high | last).ok()?;
    Some(IpAddr::from(address.to_be_bytes()))
}

fn number(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    if let Some(hex) = lower.strip_prefix("0x") {
        return if hex.is_empty() {
            Some(0)
        } else {
            u64::from_str_radix(hex, 16).ok()
        };
    }
    if text.len() > 1 && text.starts_with('0') {
        return u64::from_str_radix(text, 8).ok();
    }
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(url: &str) -> Result<Option<String>, String> {
        destination(url)
            .map(|destination| destination.host)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn only_pages_of_the_web_are_destinations() {
        for (url, expected) in [
            ("http://Example.org/a?b#c", Some("example.org")),
            ("https://user:pw@example.org.:8443", Some("example.org")),
            ("http:///\\example.org\\x", Some("example.org")),
            ("http://[::1]:80/", Some("::1")),
            ("http://evil@10.0.0.1#@example.org", Some("10.0.0.1")),
            (" about:blank ", None),
            ("ABOUT:BLANK", None),
        ] {
            assert_eq!(host(url), Ok(expected.map(str::to_owned)), "{url}");
        }
        for (url, error) in [
            (
                "file:///etc/passwd",
                "Navigation blocked: unsupported protocol \"file:\"",
            ),
            (
                "JavaScript:alert(1)",
                "Navigation blocked: unsupported protocol \"javascript:\"",
            ),
            (
                "view-source:http://a",
                "Navigation blocked: unsupported protocol \"view-source:\"",
            ),
            (
                "about:version",
                "Navigation blocked: unsupported protocol \"about:\"",
            ),
            ("nonsense", "Invalid URL: nonsense"),
            ("http://", "Invalid URL: http://"),
            ("http://a b/", "Invalid URL: http://a b/"),
            ("http://a:99999/", "Invalid URL: http://a:99999/"),
            ("http://%31%32%37.1/", "Invalid URL: http://%31%32%37.1/"),
            ("http://[::1", "Invalid URL: http://[::1"),
            ("http://1\t0.0.0.1/", "Invalid URL: http://1\t0.0.0.1/"),
        ] {
            assert_eq!(host(url), Err(error.to_owned()), "{url}");
        }
    }

    #[test]
    fn addresses_that_only_this_network_reaches_do_not_pass() {
        let policy = Policy::default();
        let passes = |address: &str| policy.passes("a.example", &[address.parse().unwrap()]);
        for address in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.0.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "0.1.2.3",
            "224.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "192.0.0.8",
            "240.0.0.1",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "2002:7f00:1::",
            "::7f00:1",
        ] {
            assert!(!passes(address), "{address}");
        }
        for address in [
            "8.8.8.8",
            "93.184.216.34",
            "2606:2800:220::1",
            "172.32.0.1",
            "100.128.0.1",
            "64:ff9b::808:808",
        ] {
            assert!(passes(address), "{address}");
        }
        // One bad address of several is enough.
        let both = ["8.8.8.8".parse().unwrap(), "10.0.0.1".parse().unwrap()];
        assert!(!policy.passes("a.example", &both));
        for name in [
            "localhost",
            "a.localhost",
            "printer.local",
            "metadata.google.internal",
        ] {
            assert!(
                !policy.passes(name, &["8.8.8.8".parse().unwrap()]),
                "{name}"
            );
        }
    }

    #[test]
    fn hosts_that_the_operator_named_pass() {
        let policy = Policy {
            hosts: vec!["127.0.0.1".to_owned(), "*.lan.example".to_owned()],
            ..Policy::default()
        };
        let inside = ["10.0.0.1".parse().unwrap()];
        for (host, passes) in [
            ("127.0.0.1", true),
            ("127.0.0.2", false),
            ("a.lan.example", true),
            ("lan.example", false),
            ("evillan.example", false),
        ] {
            assert_eq!(policy.passes(host, &inside), passes, "{host}");
        }
        let open = Policy {
            private_network: true,
            ..Policy::default()
        };
        assert!(open.passes("localhost", &inside));
    }

    #[test]
    fn numbers_are_addresses_as_browsers_read_them() {
        for (host, expected) in [
            ("127.0.0.1", Some("127.0.0.1")),
            ("127.1", Some("127.0.0.1")),
            ("2130706433", Some("127.0.0.1")),
            ("0x7f000001", Some("127.0.0.1")),
            ("0x7f.1", Some("127.0.0.1")),
            ("017700000001", Some("127.0.0.1")),
            ("10.256", Some("10.0.1.0")),
            ("::1", Some("::1")),
            ("example.org", None),
            ("1.2.3.4.5", None),
            ("256.0.0.1", None),
            ("4294967296", None),
        ] {
            assert_eq!(
                literal(host),
                expected.map(|text| text.parse().unwrap()),
                "{host}"
            );
        }
    }
}
