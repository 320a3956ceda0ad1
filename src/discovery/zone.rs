//! The zone file of the wide-area domain (discovery seed, 1): the beacon as DNS-SD records in a master file
//! (RFC 1035, section 5; RFC 6763), for whichever server serves the domain.
//!
//! Pure: what the file should say comes out of what it said before. Its serial only grows, and a file that
//! says the right thing already is left alone.

use std::fmt::Write as _;
use std::net::IpAddr;

use crate::discovery::beacon::MAX_STRING_BYTES;
use crate::discovery::domain::Domain;
use crate::discovery::found::SERVICE_TYPE;

/// How long an answer may be remembered, in seconds: addresses change when machines move.
const TTL_SECONDS: u32 = 60;

/// Refresh, retry, expire and the time a name counts as absent, in seconds; for secondary servers and caches.
const SOA_TIMES: &str = "3600 600 604800 60";

/// The first line of every file that we write.
pub const HEADER: &str = "; Written by openclaw; edits are lost at its next change.\n";

/// What a zone says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone<'a> {
    /// Whose zone it is.
    pub domain: &'a Domain,
    /// The instance label, any text of at most 63 bytes.
    pub instance: &'a str,
    /// The label of the host below the domain.
    pub host: &'a str,
    /// The SRV port.
    pub port: u16,
    /// The pairs of the TXT record; one that fits in no string of it is left out.
    pub txt: &'a [(String, String)],
    /// Where the host is; without any there is no zone.
    pub addresses: &'a [IpAddr],
}

impl Zone<'_> {
    /// The new content of the file, `None` when the `previous` one says the same already. `today` is the date
    /// as a number, 20261130: the serial is that of the day (RFC 1912, section 2.2) or, where the previous one
    /// is not before it, the next one (RFC 1982).
    pub fn update(&self, previous: Option<&str>, today: u32) -> Option<String> {
        let first_of_today = today.saturating_mul(100);
        let serial = match (previous, previous.and_then(serial)) {
            (Some(text), Some(old)) if text == self.render(old) => return None,
            (_, Some(old)) if !is_after(first_of_today, old) => old.wrapping_add(1).max(1),
            _ => first_of_today,
        };
        Some(self.render(serial))
    }

    /// The file with this serial.
    pub fn render(&self, serial: u32) -> String {
        let host = &label(self.host);
        let instance = format!("{}.{SERVICE_TYPE}", label(self.instance));
        let mut text = format!(
            "{HEADER}$ORIGIN {}\n$TTL {TTL_SECONDS}\n\
             @ IN SOA {host} hostmaster {serial} {SOA_TIMES}\n\
             @ IN NS {host}\n",
            self.domain
        );
        let mut record = |name: &str, rest: &str| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{name} IN {rest}");
        };
        for address in self.addresses {
            match address {
                IpAddr::V4(v4) => record(host, &format!("A {v4}")),
                IpAddr::V6(v6) => record(host, &format!("AAAA {v6}")),
            }
        }
        for role in ["b", "lb"] {
            record(&format!("{role}._dns-sd._udp"), "PTR @");
        }
        record("_services._dns-sd._udp", &format!("PTR {SERVICE_TYPE}"));
        record(SERVICE_TYPE, &format!("PTR {instance}"));
        record(&instance, &format!("SRV 0 0 {} {host}", self.port));
        record(&instance, &format!("TXT {}", self.strings()));
        text
    }

    fn strings(&self) -> String {
        let pairs = self.txt.iter();
        let pairs = pairs.map(|(key, value)| format!("{key}={value}"));
        let strings: Vec<String> = pairs
            .filter(|pair| pair.len() <= MAX_STRING_BYTES)
            .map(|pair| quoted(pair.as_bytes()))
            .collect();
        match strings.is_empty() {
            // A TXT record has at least one string (RFC 6763, section 6.1).
            true => "\"\"".to_owned(),
            false => strings.join(" "),
        }
    }
}

/// The serial of a zone file's SOA record, however it is laid out.
pub fn serial(zone: &str) -> Option<u32> {
    let without_comments = |line: &str| line.split(';').next().unwrap_or_default().to_owned();
    let text: Vec<String> = zone.lines().map(without_comments).collect();
    let text = text.join(" ").replace(['(', ')'], " ");
    let mut words = text.split_whitespace();
    words.find(|word| word.eq_ignore_ascii_case("SOA"))?;
    // Behind the server and the mailbox.
    words.nth(2)?.parse().ok()
}

/// Whether a serial comes after another, in the arithmetic of serials (RFC 1982).
fn is_after(new: u32, old: u32) -> bool {
    new != old && new.wrapping_sub(old) < 1 << 31
}

/// One label of a master file, whatever is in it.
fn label(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => out.push(byte.into()),
            b'!'..=b'~' => out.extend(['\\', byte.into()]),
            _ => push_decimal(&mut out, byte),
        }
    }
    out
}

/// One quoted string of a master file, whatever is in it.
fn quoted(bytes: &[u8]) -> String {
    let mut out = String::from('"');
    for &byte in bytes {
        match byte {
            b'"' | b'\\' => out.extend(['\\', byte.into()]),
            b' '..=b'~' => out.push(byte.into()),
            _ => push_decimal(&mut out, byte),
        }
    }
    out.push('"');
    out
}

fn push_decimal(out: &mut String, byte: u8) {
    // Writing to a string cannot fail.
    let _ = write!(out, "\\{byte:03}");
}

#[cfg(test)]
mod tests {
    use super::*;

    const TODAY: u32 = 20_261_130;

    fn domain() -> Domain {
        Domain::parse("openclaw.internal").unwrap()
    }

    fn zone<'a>(domain: &'a Domain, addresses: &'a [IpAddr]) -> Zone<'a> {
        Zone {
            domain,
            instance: "Pi (OpenClaw)",
            host: "pi",
            port: 18_789,
            txt: &[],
            addresses,
        }
    }

    #[test]
    fn every_record_of_the_beacon_stands_in_the_file() {
        let domain = domain();
        let addresses = ["100.64.0.9", "fd7a:115c:a1e0::9"].map(|text| text.parse().unwrap());
        let txt = [("role", "gateway"), ("displayName", "Küche \"1\\2\"")];
        let txt = txt.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let zone = Zone {
            txt: &txt,
            ..zone(&domain, &addresses)
        };
        assert_eq!(
            zone.update(None, TODAY).unwrap(),
            format!(
                r#"{HEADER}$ORIGIN openclaw.internal.
$TTL 60
@ IN SOA pi hostmaster 2026113000 3600 600 604800 60
@ IN NS pi
pi IN A 100.64.0.9
pi IN AAAA fd7a:115c:a1e0::9
b._dns-sd._udp IN PTR @
lb._dns-sd._udp IN PTR @
_services._dns-sd._udp IN PTR _openclaw-gw._tcp
_openclaw-gw._tcp IN PTR Pi\032\(OpenClaw\)._openclaw-gw._tcp
Pi\032\(OpenClaw\)._openclaw-gw._tcp IN SRV 0 0 18789 pi
Pi\032\(OpenClaw\)._openclaw-gw._tcp IN TXT "role=gateway" "displayName=K\195\188che \"1\\2\""
"#
            )
        );
    }

    #[test]
    fn names_and_strings_are_escaped_whatever_is_in_them() {
        for (text, expected) in [
            ("a.b", r"a\.b"),
            ("a b", r"a\032b"),
            (
                "\"quoted\"; (x) @ $",
                r#"\"quoted\"\;\032\(x\)\032\@\032\$"#,
            ),
            ("back\\slash", r"back\\slash"),
            ("é\n\0", r"\195\169\010\000"),
            ("plain-Label_1", "plain-Label_1"),
        ] {
            assert_eq!(label(text), expected);
        }
        assert_eq!(quoted(b"a;\"\\\n\xff"), r#""a;\"\\\010\255""#);
    }

    #[test]
    fn a_pair_too_long_for_a_string_is_left_out_whole() {
        let domain = domain();
        let pair = |key: &str, length: usize| (key.to_owned(), "x".repeat(length));
        let txt = [pair("cliPath", 248), pair("fits", 250)];
        let mut zone = zone(&domain, &[]);
        assert_eq!(zone.strings(), "\"\"");
        zone.txt = &txt;
        assert_eq!(zone.strings(), format!("\"fits={}\"", "x".repeat(250)));
    }

    #[test]
    fn the_serial_only_grows_and_a_file_that_is_right_is_left_alone() {
        let domain = domain();
        let addresses = ["100.64.0.9".parse().unwrap()];
        let here = zone(&domain, &addresses);
        let mut elsewhere = here.clone();
        elsewhere.port = 1;
        for (previous, expected) in [
            (None, Some(2_026_113_000)),
            (Some(here.render(5)), None),
            (Some(here.render(2_026_113_000)), None),
            (Some(elsewhere.render(5)), Some(2_026_113_000)),
            (Some(elsewhere.render(2_026_112_999)), Some(2_026_113_000)),
            (Some(elsewhere.render(2_026_113_000)), Some(2_026_113_001)),
            (Some(elsewhere.render(2_099_010_100)), Some(2_099_010_101)),
            // A day of a hundred changes borrows from the next.
            (Some(elsewhere.render(2_026_113_099)), Some(2_026_113_100)),
            // Half the numbers are before any number: these are after today's.
            (Some(elsewhere.render(4_000_000_000)), Some(4_000_000_001)),
            (Some(elsewhere.render(u32::MAX)), Some(2_026_113_000)),
            (Some("no zone at all".to_owned()), Some(2_026_113_000)),
            (Some(String::new()), Some(2_026_113_000)),
        ] {
            let updated = here.update(previous.as_deref(), TODAY);
            assert_eq!(
                updated.as_deref().and_then(serial),
                expected,
                "{previous:?}"
            );
            if let Some(text) = updated {
                assert_eq!(here.update(Some(&text), TODAY + 1), None);
            }
        }
        // A clock that has fallen back to 1970.
        let old = elsewhere.render(2_026_113_000);
        let updated = here.update(Some(&old), 19_700_101).unwrap();
        assert_eq!(serial(&updated), Some(2_026_113_001));
    }

    #[test]
    fn a_serial_is_found_in_files_of_other_hands() {
        for (text, expected) in [
            ("@ IN SOA a b 7 1 1 1 1", Some(7)),
            (
                "@ IN soa a. b. (\n  2024010101 ; serial 9\n 1 1 1 1 )",
                Some(2_024_010_101),
            ),
            ("; SOA a b 3\n@ SOA a b 4 1", Some(4)),
            ("@ IN SOA a b ( 4294967296", None),
            ("@ IN SOA a b", None),
            ("", None),
        ] {
            assert_eq!(serial(text), expected, "{text}");
        }
    }
}
