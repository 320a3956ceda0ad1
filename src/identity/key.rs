//! Ed25519 keys: the private key of this device and the public key of any device (protocol §3.1).
//!
//! A public key is always 32 bytes and always stored and sent in one canonical form; a private key
//! never shows itself in a debug print.

use std::fmt;

use data_encoding::{BASE64_NOPAD, BASE64URL_NOPAD};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

use crate::identity::{DeviceId, IdentityError, sha256_hex};

/// Bytes of an Ed25519 seed and of a public key.
pub const KEY_BYTES: usize = 32;

/// Bytes of an Ed25519 signature.
pub const SIGNATURE_BYTES: usize = 64;

/// DER before the 32 seed bytes of a PKCS#8 version 1 Ed25519 key (RFC 8410 §7): the form Node reads.
const PKCS8_V1_PREFIX: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// The private key of this device.
pub struct DeviceKey {
    pair: Ed25519KeyPair,
    pkcs8: Vec<u8>,
}

impl DeviceKey {
    /// A new key from the operating system's randomness.
    pub fn generate() -> Result<Self, IdentityError> {
        let mut seed = [0; KEY_BYTES];
        getrandom::fill(&mut seed).map_err(|error| IdentityError::Randomness(error.to_string()))?;
        Self::from_seed(&seed)
    }

    /// The key of a known seed. Fails only where [`DeviceKey::from_pkcs8`] does, which for a seed of
    /// the right length is never.
    pub fn from_seed(seed: &[u8; KEY_BYTES]) -> Result<Self, IdentityError> {
        Self::from_pkcs8(&[PKCS8_V1_PREFIX.as_slice(), seed].concat())
    }

    /// The key of a PKCS#8 document, version 1 (seed only) or 2 (with public key). Fails with
    /// [`IdentityError::PrivateKey`] when it is not an Ed25519 key.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, IdentityError> {
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der)
            .map_err(|_| IdentityError::PrivateKey)?;
        Ok(DeviceKey {
            pair,
            pkcs8: der.to_vec(),
        })
    }

    /// The PKCS#8 document of this key, as loaded or as made.
    pub fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    /// Signature over the UTF-8 bytes of `payload`: base64url without padding, 86 characters.
    pub fn sign(&self, payload: &str) -> String {
        BASE64URL_NOPAD.encode(self.pair.sign(payload.as_bytes()).as_ref())
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        let mut bytes = [0; KEY_BYTES];
        bytes.copy_from_slice(self.pair.public_key().as_ref());
        PublicKey(bytes)
    }

    /// The id by which others know this device.
    pub fn device_id(&self) -> DeviceId {
        self.public().device_id()
    }
}

impl fmt::Debug for DeviceKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("DeviceKey")
            .field("device_id", &self.device_id())
            .finish_non_exhaustive()
    }
}

/// The public key of a device.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicKey([u8; KEY_BYTES]);

impl PublicKey {
    /// Reads base64url or standard base64, padded or not. `None` unless it is exactly 32 bytes.
    pub fn decode(text: &str) -> Option<Self> {
        decode_any_base64(text)?.try_into().ok().map(PublicKey)
    }

    /// The key whose raw bytes these are.
    pub fn from_bytes(bytes: [u8; KEY_BYTES]) -> Self {
        PublicKey(bytes)
    }

    /// The raw bytes.
    pub fn as_bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// The canonical form: base64url without padding, 43 characters.
    pub fn encode(&self) -> String {
        BASE64URL_NOPAD.encode(&self.0)
    }

    /// Lower-case hex SHA-256 of the raw bytes.
    pub fn device_id(&self) -> DeviceId {
        DeviceId::from(sha256_hex(&self.0))
    }

    /// True when `signature` (base64url or standard base64, padded or not) is this key's over the
    /// UTF-8 bytes of `payload`.
    pub fn verify(&self, payload: &str, signature: &str) -> bool {
        let Some(signature) = decode_any_base64(signature) else {
            return false;
        };
        signature.len() == SIGNATURE_BYTES
            && UnparsedPublicKey::new(&ED25519, &self.0)
                .verify(payload.as_bytes(), &signature)
                .is_ok()
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "PublicKey({})", self.encode())
    }
}

/// One alphabet per text: a mixture of `+/` and `-_` is not base64 of any kind.
fn decode_any_base64(text: &str) -> Option<Vec<u8>> {
    let unpadded = text.trim_end_matches('=');
    let padding = text.len() - unpadded.len();
    if padding > 0 && (padding > 2 || text.len() % 4 != 0) {
        return None;
    }
    BASE64URL_NOPAD
        .decode(unpadded.as_bytes())
        .or_else(|_| BASE64_NOPAD.decode(unpadded.as_bytes()))
        .ok()
}

#[cfg(test)]
mod tests {
    use data_encoding::{BASE64, BASE64URL};

    use super::*;

    #[test]
    fn every_form_of_base64_names_the_same_key() {
        let bytes = [0xfb; KEY_BYTES];
        let key = PublicKey::from_bytes(bytes);
        let canonical = key.encode();
        assert_eq!(canonical.len(), 43);
        for text in [
            canonical,
            BASE64URL.encode(&bytes),
            BASE64.encode(&bytes),
            BASE64_NOPAD.encode(&bytes),
        ] {
            assert_eq!(PublicKey::decode(&text), Some(key), "{text}");
        }
    }

    #[test]
    fn what_is_not_32_bytes_is_no_key() {
        let pem = "-----BEGIN PUBLIC KEY-----\nMCow\n-----END PUBLIC KEY-----\n";
        let valid = PublicKey::from_bytes([7; KEY_BYTES]).encode();
        for text in [
            String::new(),
            "=".to_owned(),
            pem.to_owned(),
            BASE64URL_NOPAD.encode(&[0; 31]),
            BASE64URL_NOPAD.encode(&[0; 33]),
            format!("{valid}=="),
            format!("{valid} "),
            format!("-{}+", &valid[1..42]),
            "ä".repeat(43),
        ] {
            assert_eq!(PublicKey::decode(&text), None, "{text:?}");
        }
    }

    #[test]
    fn signatures_verify_only_for_their_key_and_text() {
        let key = DeviceKey::generate().unwrap();
        let other = DeviceKey::generate().unwrap();
        let signature = key.sign("payload");
        assert_eq!(signature.len(), 86);
        assert!(key.public().verify("payload", &signature));
        assert!(key.public().verify("payload", &format!("{signature}==")));
        assert!(!key.public().verify("payloae", &signature));
        assert!(!other.public().verify("payload", &signature));
        assert!(!key.public().verify("payload", ""));
        assert!(!key.public().verify("payload", &signature[..80]));
    }

    #[test]
    fn the_debug_print_of_a_key_holds_no_secret() {
        let key = DeviceKey::from_seed(&[9; KEY_BYTES]).unwrap();
        let print = format!("{key:?}");
        assert!(print.contains(key.device_id().as_str()));
        assert!(!print.contains("pkcs8"));
    }
}
