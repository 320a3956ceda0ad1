//! Who a device is: Ed25519 keys and their key file, device ids, the payloads that a device signs,
//! the gateway's certificate and fingerprints of certificates, the randomness behind tokens and ids, and
//! comparison of secrets in constant time.
//!
//! This room must never know who is allowed what, and it touches no file: text comes in, text goes out.

pub mod certificate;
pub mod digest;
pub mod fingerprint;
pub mod ids;
pub mod key;
pub mod key_file;
pub mod payload;
pub mod pem;
pub mod random;

pub use digest::{secret_eq, sha256, sha256_hex};
pub use fingerprint::Fingerprint;
pub use ids::{ConnId, DeviceId, KeyId, NodeId, RequestId, Token};
pub use key::{DeviceKey, PublicKey};
pub use key_file::{IdentityError, KeyFile};
pub use payload::{ProofInput, normalize_for_auth, payload_v2, payload_v3};
pub use random::Random;
