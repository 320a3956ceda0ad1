//! Which addresses only this machine or its network reaches, and which hosts are addresses.

use std::net::{IpAddr, Ipv6Addr};

use crate::net::address::is_private;

/// Whether an address leads to this machine, to its network, or to nobody in particular: loopback, private, link-local,
/// unspecified, multicast, reserved; also inside an IPv6 address that stands for one of IPv4.
pub fn is_internal(address: IpAddr) -> bool {
    let address = address.to_canonical();
    is_private(address)
        || is_own(address)
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
            IpAddr::V6(v6) => is_reserved(v6) || embedded(v6).into_iter().any(is_internal),
        }
}

/// Whether an address leads to this machine alone: loopback, or unspecified, which systems take for it.
pub fn is_own(address: IpAddr) -> bool {
    let address = address.to_canonical();
    address.is_loopback() || address.is_unspecified()
}

/// Networks that nobody reaches from elsewhere: translation of one's own (RFC 8215), discarding (RFC 6666),
/// documentation (RFC 3849, RFC 9637).
fn is_reserved(v6: Ipv6Addr) -> bool {
    let parts = v6.segments();
    parts[..3] == [0x64, 0xff9b, 1]
        || parts[..4] == [0x100, 0, 0, 0]
        || parts[..2] == [0x2001, 0xdb8]
        || (parts[0] == 0x3fff && parts[1] < 0x1000)
}

/// The addresses of IPv4 that one of IPv6 stands for.
fn embedded(v6: Ipv6Addr) -> Vec<IpAddr> {
    let parts = v6.segments();
    let inner = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        IpAddr::from([a, b, c, d])
    };
    match parts {
        // NAT64 (RFC 6052), SIIT (RFC 2765), and the compatible form of old.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0, 0, 0, 0, 0, 0, high, low] => vec![inner(high, low)],
        // 6to4 (RFC 3056).
        [0x2002, high, low, ..] => vec![inner(high, low)],
        // Teredo (RFC 4380): its server, and its client turned over.
        [0x2001, 0, high, low, _, _, client_high, client_low] => {
            vec![inner(high, low), inner(!client_high, !client_low)]
        }
        // ISATAP (RFC 5214), below any network.
        [_, _, _, _, 0 | 0x200, 0x5efe, high, low] => vec![inner(high, low)],
        _ => Vec::new(),
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

/// Whether browsers take a host for an address because of its last part, and for none at all when it is no address.
pub fn ends_in_number(host: &str) -> bool {
    let last = host.rsplit('.').next().unwrap_or_default();
    let digits = !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit());
    digits || number(last).is_some()
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

    #[test]
    fn addresses_that_only_this_network_reaches_are_internal() {
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
            "fec0::1",
            "fd00::1",
            "ff02::1",
            "2001:db8::1",
            "3fff:fff::1",
            "100::1",
            // Mapped, compatible, SIIT.
            "::ffff:10.0.0.1",
            "::7f00:1",
            "::ffff:0:10.0.0.1",
            // NAT64, that of one's own, 6to4.
            "64:ff9b::a00:1",
            "64:ff9b::169.254.169.254",
            "64:ff9b:1::8.8.8.8",
            "64:ff9b:1:7f00:0:100::",
            "2002:7f00:1::",
            "2002:c0a8:101::1",
            // Teredo: an internal server, and the client 192.168.1.1.
            "2001:0:a00:1::f7f7:f7f7",
            "2001:0:808:808:0:0:3f57:fefe",
            // ISATAP, both kinds, below a network that everybody reaches.
            "2606:2800:220::5efe:10.0.0.1",
            "2606:2800:220:1:200:5efe:127.0.0.1",
        ] {
            assert!(is_internal(address.parse().unwrap()), "{address}");
        }
        for address in [
            "8.8.8.8",
            "93.184.216.34",
            "2606:2800:220::1",
            "172.32.0.1",
            "100.128.0.1",
            "64:ff9b::808:808",
            "::ffff:0:8.8.8.8",
            "::ffff:8.8.8.8",
            "2002:808:808::1",
            // Teredo between 8.8.8.8 and 8.8.8.8.
            "2001:0:808:808::f7f7:f7f7",
            "2606:2800:220::5efe:8.8.8.8",
        ] {
            assert!(!is_internal(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn numbers_are_addresses_as_browsers_read_them() {
        for (host, expected) in [
            ("127.0.0.1", Some("127.0.0.1")),
            ("127.1", Some("127.0.0.1")),
            ("2130706433", Some("127.0.0.1")),
            ("0x7f000001", Some("127.0.0.1")),
            ("0X7F.1", Some("127.0.0.1")),
            ("0177.0.0.1", Some("127.0.0.1")),
            ("017700000001", Some("127.0.0.1")),
            ("0xa9fea9fe", Some("169.254.169.254")),
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
        for (host, expected) in [
            ("1.2.3.08", true),
            ("a.0x7f", true),
            ("256.0.0.1", true),
            ("example.org", false),
            ("1.2.3.4.example", false),
        ] {
            assert_eq!(ends_in_number(host), expected, "{host}");
        }
    }
}
