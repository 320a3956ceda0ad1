//! The text of the key file `identity/device.json` (protocol §10.5): SPKI and PKCS#8 PEM in JSON, as
//! Node writes and reads it.
//!
//! Pure text; reading and writing the file is the store's. A text that does not parse is an error,
//! never a reason for a new key: the pairing hangs on the old one.

use std::fmt;

use serde_json::{Map, Value, json};

use crate::identity::{DeviceKey, PublicKey, key::KEY_BYTES, pem};

/// DER before the 32 bytes of an Ed25519 public key (RFC 8410 §4).
const SPKI_PREFIX: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

/// What the key file says.
#[derive(Debug)]
pub struct KeyFile {
    /// The key.
    pub key: DeviceKey,
    /// When the key was made, milliseconds since the Unix epoch; 0 when the file does not say.
    pub created_at_ms: u64,
    /// The text that the file should have instead, when its `deviceId` is not that of its key.
    /// Everything else in it is unchanged.
    pub corrected: Option<String>,
}

impl KeyFile {
    /// Reads the text of a key file.
    pub fn parse(text: &str) -> Result<Self, IdentityError> {
        let mut document: Map<String, Value> =
            serde_json::from_str(text).map_err(|error| IdentityError::Json {
                line: error.line(),
                column: error.column(),
            })?;
        if document.get("version").and_then(Value::as_u64) != Some(1) {
            return Err(IdentityError::Version);
        }
        let key = DeviceKey::from_pkcs8(&pem_member(&document, "privateKeyPem", "PRIVATE KEY")?)?;
        let public = pem_member(&document, "publicKeyPem", "PUBLIC KEY")?;
        if spki_key(&public) != Some(key.public()) {
            return Err(IdentityError::KeysDiffer);
        }
        let created_at_ms = document
            .get("createdAtMs")
            .and_then(Value::as_u64)
            .unwrap_or_default();
        let device_id = key.device_id();
        let right = document.get("deviceId").and_then(Value::as_str) == Some(device_id.as_str());
        let corrected = (!right).then(|| {
            document.insert("deviceId".to_owned(), json!(device_id));
            pretty(&Value::Object(document))
        });
        Ok(KeyFile {
            key,
            created_at_ms,
            corrected,
        })
    }

    /// The text for a key file: 2-space JSON with a final newline.
    pub fn render(key: &DeviceKey, created_at_ms: u64) -> String {
        let spki = [SPKI_PREFIX.as_slice(), key.public().as_bytes()].concat();
        pretty(&json!({
            "version": 1,
            "deviceId": key.device_id(),
            "publicKeyPem": pem::encode("PUBLIC KEY", &spki),
            "privateKeyPem": pem::encode("PRIVATE KEY", key.pkcs8()),
            "createdAtMs": created_at_ms,
        }))
    }
}

/// Why there is no usable device key. None of the texts holds key material.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdentityError {
    /// The text is no JSON object.
    Json {
        /// 1-based line of the fault.
        line: usize,
        /// 1-based column of the fault; 0 at the end of the text.
        column: usize,
    },
    /// The two PEM members are not halves of one key.
    KeysDiffer,
    /// The named member is missing or is not PEM of the expected kind.
    Member(&'static str),
    /// The private key is not an Ed25519 key.
    PrivateKey,
    /// The operating system has no randomness; its own words.
    Randomness(String),
    /// `version` is not 1.
    Version,
}

impl fmt::Display for IdentityError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IdentityError::Json { line, column } => {
                write!(
                    formatter,
                    "not a JSON object at line {line} column {column}"
                )
            }
            IdentityError::KeysDiffer => {
                formatter.write_str("publicKeyPem does not belong to privateKeyPem")
            }
            IdentityError::Member(name) => write!(formatter, "{name} is missing or not PEM"),
            IdentityError::PrivateKey => formatter.write_str("privateKeyPem is not an Ed25519 key"),
            IdentityError::Randomness(cause) => write!(
                formatter,
                "cannot make a key, the operating system has no randomness: {cause}"
            ),
            IdentityError::Version => formatter.write_str("version is not 1"),
        }
    }
}

impl std::error::Error for IdentityError {}

fn pem_member(
    document: &Map<String, Value>,
    name: &'static str,
    label: &str,
) -> Result<Vec<u8>, IdentityError> {
    document
        .get(name)
        .and_then(Value::as_str)
        .and_then(|text| pem::decode(text, label))
        .ok_or(IdentityError::Member(name))
}

fn spki_key(der: &[u8]) -> Option<PublicKey> {
    let bytes: [u8; KEY_BYTES] = der.strip_prefix(&SPKI_PREFIX)?.try_into().ok()?;
    Some(PublicKey::from_bytes(bytes))
}

fn pretty(document: &Value) -> String {
    format!("{document:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITTEN_BY_NODE: &str = r#"{
  "version": 1,
  "deviceId": "3b2f3bcfff46d797e67aaeebf964c6d385cb4028b3dc041f0db39485eeef93a8",
  "publicKeyPem": "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAT9CKKSit7AaDULKgVT62W69L6I7hvL7IhaAO+2ZS7gs=\n-----END PUBLIC KEY-----\n",
  "privateKeyPem": "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIDtZJHEb5VImQlVk7l/3GtX3gmwARaaRNTzoWNtARIWg\n-----END PRIVATE KEY-----\n",
  "createdAtMs": 1795220955000
}
"#;

    #[test]
    fn a_file_of_the_reference_is_read_and_rendered_to_the_same_bytes() {
        let file = KeyFile::parse(WRITTEN_BY_NODE).unwrap();
        assert_eq!(
            file.key.device_id().as_str(),
            "3b2f3bcfff46d797e67aaeebf964c6d385cb4028b3dc041f0db39485eeef93a8"
        );
        assert_eq!(file.created_at_ms, 1_795_220_955_000);
        assert_eq!(file.corrected, None);
        assert_eq!(
            KeyFile::render(&file.key, file.created_at_ms),
            WRITTEN_BY_NODE
        );
    }

    #[test]
    fn a_generated_key_survives_the_round_trip() {
        let key = DeviceKey::generate().unwrap();
        let text = KeyFile::render(&key, 7);
        let file = KeyFile::parse(&text).unwrap();
        assert_eq!(file.key.public(), key.public());
        assert_eq!(file.created_at_ms, 7);
        assert_eq!(file.corrected, None);
    }

    #[test]
    fn a_wrong_device_id_is_corrected_and_the_rest_kept() {
        let text = WRITTEN_BY_NODE.replace("\"3b2f", "\"0000").replace(
            "\"createdAtMs\"",
            "\"later\": {\"kept\": true},\n  \"createdAtMs\"",
        );
        let corrected = KeyFile::parse(&text).unwrap().corrected.unwrap();
        assert!(corrected.contains("\"3b2f3bcf"));
        assert!(corrected.contains("\"kept\": true"));
        assert_eq!(KeyFile::parse(&corrected).unwrap().corrected, None);
    }

    #[test]
    fn what_does_not_parse_says_what_is_wrong() {
        let other = KeyFile::render(&DeviceKey::generate().unwrap(), 1);
        let other_public = other.split('"').nth(9).unwrap();
        let own_public = WRITTEN_BY_NODE.split('"').nth(9).unwrap();
        let cases = [
            (String::new(), IdentityError::Json { line: 1, column: 0 }),
            ("[]".to_owned(), IdentityError::Json { line: 1, column: 0 }),
            (
                "{\n  nope".to_owned(),
                IdentityError::Json { line: 2, column: 3 },
            ),
            (
                WRITTEN_BY_NODE.replace("\"version\": 1", "\"version\": 2"),
                IdentityError::Version,
            ),
            (
                WRITTEN_BY_NODE.replace("BEGIN PRIVATE", "BEGIN EC PRIVATE"),
                IdentityError::Member("privateKeyPem"),
            ),
            (
                WRITTEN_BY_NODE.replace("publicKeyPem", "publicKey"),
                IdentityError::Member("publicKeyPem"),
            ),
            (
                WRITTEN_BY_NODE.replace("MC4CAQAwBQYDK2Vw", "MC4CAQAwBQYDK2Vx"),
                IdentityError::PrivateKey,
            ),
            (
                WRITTEN_BY_NODE.replace(own_public, other_public),
                IdentityError::KeysDiffer,
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(KeyFile::parse(&text).unwrap_err(), expected, "{text}");
        }
    }
}
