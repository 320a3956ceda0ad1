//! The gateway's self-signed certificate, and the little that is read out of any certificate.
//!
//! X.509 version 3 as RFC 5280 writes it: a P-256 key, subject and issuer alike, no authority over
//! other certificates. Times come in as text; nothing here reads a clock.

use std::net::IpAddr;

use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};

use crate::identity::{IdentityError, Random, pem};

/// Bytes of the serial number; its top bit stays clear, so that it is positive.
const SERIAL_BYTES: usize = 16;

/// From this year on times have four digits of the year (RFC 5280 §4.1.2.5).
const GENERALIZED_FROM: &str = "2050";

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const UTF8_STRING: u8 = 0x0c;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// `[0]` and `[3]`, explicit.
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
/// `dNSName` and `iPAddress` of a `GeneralName`.
const DNS_NAME: u8 = 0x82;
const IP_ADDRESS: u8 = 0x87;

/// `ecdsa-with-SHA256`, a whole `AlgorithmIdentifier`.
const ECDSA_WITH_SHA256: &[u8] = b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02";
/// `id-ecPublicKey` with `prime256v1`, a whole `AlgorithmIdentifier`.
const P256_KEY: &[u8] =
    b"\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
const COMMON_NAME: &[u8] = b"\x06\x03\x55\x04\x03";
const BASIC_CONSTRAINTS: &[u8] = b"\x06\x03\x55\x1d\x13";
const KEY_USAGE: &[u8] = b"\x06\x03\x55\x1d\x0f";
const EXTENDED_KEY_USAGE: &[u8] = b"\x06\x03\x55\x1d\x25";
const SUBJECT_ALT_NAME: &[u8] = b"\x06\x03\x55\x1d\x11";
const SUBJECT_KEY_ID: &[u8] = b"\x06\x03\x55\x1d\x0e";
/// `SEQUENCE { serverAuth }`.
const SERVER_AUTH: &[u8] = b"\x30\x0a\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x01";
/// `BIT STRING { digitalSignature }`.
const DIGITAL_SIGNATURE: &[u8] = b"\x03\x02\x07\x80";
const CRITICAL: &[u8] = b"\x01\x01\xff";

/// What goes into a new certificate.
#[derive(Clone, Copy, Debug)]
pub struct NewCertificate<'a> {
    /// The common name.
    pub name: &'a str,
    /// Host names it is valid for; ASCII.
    pub hosts: &'a [String],
    /// Addresses it is valid for.
    pub addresses: &'a [IpAddr],
    /// RFC 3339 in UTC.
    pub not_before: &'a str,
    /// RFC 3339 in UTC.
    pub not_after: &'a str,
}

/// A certificate and its key as PEM, the key as PKCS#8.
pub struct PemPair {
    /// The certificate.
    pub certificate: String,
    /// The private key; a secret.
    pub key: String,
}

impl NewCertificate<'_> {
    /// Makes a key and the certificate that it signs itself.
    ///
    /// # Errors
    /// [`IdentityError::Randomness`].
    pub fn generate(&self) -> Result<PemPair, IdentityError> {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
        let failed = |fault: &dyn std::fmt::Display| IdentityError::Randomness(fault.to_string());
        let key = EcdsaKeyPair::generate_pkcs8(algorithm, &random).map_err(|it| failed(&it))?;
        let pair =
            EcdsaKeyPair::from_pkcs8(algorithm, key.as_ref(), &random).map_err(|it| failed(&it))?;
        let body = self.body(pair.public_key().as_ref());
        let signature = pair.sign(&random, &body).map_err(|it| failed(&it))?;
        let certificate = sequence(&[&body, ECDSA_WITH_SHA256, &bits(signature.as_ref())]);
        Ok(PemPair {
            certificate: pem::encode("CERTIFICATE", &certificate),
            key: pem::encode("PRIVATE KEY", key.as_ref()),
        })
    }

    /// The `TBSCertificate`.
    fn body(&self, public_key: &[u8]) -> Vec<u8> {
        let mut serial = Random.bytes::<SERIAL_BYTES>();
        // Positive, and never with a leading zero byte that DER would forbid.
        serial[0] = serial[0] & 0x3f | 0x40;
        let name = sequence(&[&tlv(
            SET,
            &sequence(&[COMMON_NAME, &tlv(UTF8_STRING, self.name.as_bytes())]),
        )]);
        sequence(&[
            &tlv(VERSION, &tlv(INTEGER, &[2])),
            &tlv(INTEGER, &serial),
            ECDSA_WITH_SHA256,
            &name,
            &sequence(&[&time(self.not_before), &time(self.not_after)]),
            &name,
            &sequence(&[P256_KEY, &bits(public_key)]),
            &tlv(EXTENSIONS, &self.extensions(public_key)),
        ])
    }

    fn extensions(&self, public_key: &[u8]) -> Vec<u8> {
        let hosts = self.hosts.iter().map(|host| tlv(DNS_NAME, host.as_bytes()));
        let addresses = self.addresses.iter().map(|address| match address {
            IpAddr::V4(address) => tlv(IP_ADDRESS, &address.octets()),
            IpAddr::V6(address) => tlv(IP_ADDRESS, &address.octets()),
        });
        let names: Vec<u8> = hosts.chain(addresses).flatten().collect();
        // The key's own name for chain building (RFC 5280 §4.2.1.2 method 1); nothing is secured by it.
        let key_id = digest(&SHA1_FOR_LEGACY_USE_ONLY, public_key);
        let extension =
            |id, critical, value: &[u8]| sequence(&[id, critical, &tlv(OCTET_STRING, value)]);
        sequence(&[
            &extension(BASIC_CONSTRAINTS, CRITICAL, &sequence(&[])),
            &extension(KEY_USAGE, CRITICAL, DIGITAL_SIGNATURE),
            &extension(EXTENDED_KEY_USAGE, &[], SERVER_AUTH),
            &extension(SUBJECT_ALT_NAME, &[], &tlv(SEQUENCE, &names)),
            &extension(SUBJECT_KEY_ID, &[], &tlv(OCTET_STRING, key_id.as_ref())),
        ])
    }
}

/// Until when a certificate is valid, RFC 3339 in UTC to the second; `None` for DER that is no
/// certificate.
pub fn not_after(der: &[u8]) -> Option<String> {
    let (_, certificate, _) = element(der)?;
    let (_, mut body, _) = element(certificate)?;
    if body.first() == Some(&VERSION) {
        body = element(body)?.2;
    }
    // Serial number, algorithm and issuer stand before the validity.
    for _ in 0..3 {
        body = element(body)?.2;
    }
    let (_, validity, _) = element(body)?;
    let (_, _, after_start) = element(validity)?;
    let (tag, text, _) = element(after_start)?;
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let digits = match tag {
        // Two digits mean 1950 to 2049.
        UTC_TIME if text >= "50" => format!("19{text}"),
        UTC_TIME => format!("20{text}"),
        GENERALIZED_TIME => text.to_owned(),
        _ => return None,
    };
    if digits.len() != 14 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let (date, time) = digits.split_at(8);
    Some(format!(
        "{}-{}-{}T{}:{}:{}Z",
        &date[..4],
        &date[4..6],
        &date[6..],
        &time[..2],
        &time[2..4],
        &time[4..]
    ))
}

/// Splits the first DER element off: its tag, its content, what follows it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&short, mut rest) = rest.split_first()?;
    let mut length = usize::from(short);
    if short & 0x80 != 0 {
        let count = usize::from(short & 0x7f);
        let bytes = rest.get(..count).filter(|_| matches!(count, 1..=4))?;
        length = bytes
            .iter()
            .fold(0, |length, byte| length << 8 | usize::from(*byte));
        rest = &rest[count..];
    }
    let content = rest.get(..length)?;
    Some((tag, content, &rest[length..]))
}

/// One DER element.
fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let significant = &length[length.iter().take_while(|byte| **byte == 0).count()..];
    let mut out = vec![tag];
    match significant {
        [] => out.push(0),
        [short @ 0..0x80] => out.push(*short),
        long => {
            // At most eight bytes of length.
            out.push(0x80 | long.len() as u8);
            out.extend_from_slice(long);
        }
    }
    out.extend_from_slice(content);
    out
}

fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    tlv(SEQUENCE, &parts.concat())
}

/// A bit string of whole bytes.
fn bits(bytes: &[u8]) -> Vec<u8> {
    tlv(BIT_STRING, &[&[0], bytes].concat())
}

/// A `Time` to the second.
fn time(rfc3339: &str) -> Vec<u8> {
    let digits: String = rfc3339
        .chars()
        .filter(char::is_ascii_digit)
        .take(14)
        .collect();
    if digits.as_str() < GENERALIZED_FROM {
        tlv(
            UTC_TIME,
            format!("{}Z", digits.get(2..).unwrap_or_default()).as_bytes(),
        )
    } else {
        tlv(GENERALIZED_TIME, format!("{digits}Z").as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use rustls::RootCertStore;
    use rustls::client::WebPkiServerVerifier;
    use rustls::client::danger::ServerCertVerifier;
    use rustls::crypto::ring::default_provider;
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};

    use super::*;

    fn made(not_after: &str) -> (Vec<u8>, String) {
        let hosts = ["localhost".to_owned(), "gw.local".to_owned()];
        let addresses = ["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()];
        let wanted = NewCertificate {
            name: "openclaw-gateway",
            hosts: &hosts,
            addresses: &addresses,
            not_before: "2026-11-24T10:11:12.345Z",
            not_after,
        };
        let pair = wanted.generate().unwrap();
        (
            pem::decode(&pair.certificate, "CERTIFICATE").unwrap(),
            pair.key,
        )
    }

    #[test]
    fn both_forms_of_time_survive() {
        for (given, expected) in [
            ("2036-11-21T10:11:12.345Z", "2036-11-21T10:11:12Z"),
            ("2049-12-31T23:59:59.000Z", "2049-12-31T23:59:59Z"),
            ("2050-01-01T00:00:00.000Z", "2050-01-01T00:00:00Z"),
        ] {
            let (der, key) = made(given);
            assert_eq!(not_after(&der).as_deref(), Some(expected));
            assert!(key.starts_with("-----BEGIN PRIVATE KEY-----\n"));
        }
    }

    #[test]
    fn a_strict_verifier_accepts_it_for_its_names_and_times_only() {
        let (der, _) = made("2036-11-21T10:11:12Z");
        let certificate = CertificateDer::from(der);
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).unwrap();
        let verifier =
            WebPkiServerVerifier::builder_with_provider(roots.into(), default_provider().into())
                .build()
                .unwrap();
        let verify = |name: &str, at: u64| {
            let name = ServerName::try_from(name.to_owned()).unwrap();
            let at = UnixTime::since_unix_epoch(std::time::Duration::from_secs(at));
            verifier
                .verify_server_cert(&certificate, &[], &name, &[], at)
                .is_ok()
        };
        const DURING: u64 = 1_800_000_000;
        for (name, expected) in [
            ("localhost", true),
            ("gw.local", true),
            ("127.0.0.1", true),
            ("::1", true),
            ("127.0.0.2", false),
            ("example.com", false),
        ] {
            assert_eq!(verify(name, DURING), expected, "{name}");
        }
        assert!(!verify("localhost", 1_700_000_000), "before it is valid");
        assert!(!verify("localhost", 2_200_000_000), "after it was valid");
    }

    #[test]
    fn every_certificate_is_another() {
        assert_ne!(
            made("2036-11-21T10:11:12Z").0,
            made("2036-11-21T10:11:12Z").0
        );
    }

    #[test]
    fn lengths_of_every_size_are_read_back() {
        for length in [0, 1, 127, 128, 255, 256, 65_535, 65_536] {
            let der = tlv(OCTET_STRING, &vec![7; length]);
            let (tag, content, rest) = element(&der).unwrap();
            assert_eq!((tag, content.len(), rest.len()), (OCTET_STRING, length, 0));
        }
    }

    #[test]
    fn what_is_no_certificate_has_no_end() {
        let (der, _) = made("2036-11-21T10:11:12Z");
        for length in [0, 1, 2, 4, 40] {
            assert_eq!(not_after(&der[..length]), None, "{length}");
        }
        for garbage in [&b"\x30\x80"[..], b"\x30\x85\xff\xff\xff\xff\xff", b"abc"] {
            assert_eq!(not_after(garbage), None, "{garbage:?}");
        }
    }
}
