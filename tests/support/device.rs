//! A device key and its connect frames, made with `ring` straight from the protocol's description.

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use ring::digest::{SHA256, digest};
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};

/// An Ed25519 identity.
pub struct Device {
    key: Ed25519KeyPair,
    pub id: String,
    pub public_key: String,
}

impl Device {
    pub fn new() -> Device {
        let mut seed = [0u8; 32];
        getrandom::fill(&mut seed).unwrap();
        Self::from_seed(&seed)
    }

    pub fn from_seed(seed: &[u8; 32]) -> Device {
        let key = Ed25519KeyPair::from_seed_unchecked(seed).unwrap();
        let public = key.public_key().as_ref().to_vec();
        Device {
            id: HEXLOWER.encode(digest(&SHA256, &public).as_ref()),
            public_key: BASE64URL_NOPAD.encode(&public),
            key,
        }
    }

    pub fn sign(&self, payload: &str) -> String {
        BASE64URL_NOPAD.encode(self.key.sign(payload.as_bytes()).as_ref())
    }

    /// Adds the `device` proof to connect params, signing exactly what the params say.
    pub fn prove(&self, params: &mut Value, nonce: &str, signed_at_ms: u64) {
        let text = |pointer: &str| {
            params
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or("")
        };
        let scopes: Vec<&str> = params
            .pointer("/scopes")
            .and_then(Value::as_array)
            .map(|list| list.iter().filter_map(Value::as_str).collect())
            .unwrap_or_default();
        let token = ["/auth/token", "/auth/deviceToken", "/auth/bootstrapToken"]
            .iter()
            .find_map(|pointer| params.pointer(pointer).and_then(Value::as_str))
            .unwrap_or("");
        let role = params
            .pointer("/role")
            .and_then(Value::as_str)
            .unwrap_or("operator");
        let payload = format!(
            "v3|{}|{}|{}|{role}|{}|{signed_at_ms}|{token}|{nonce}|{}|{}",
            self.id,
            text("/client/id"),
            text("/client/mode"),
            scopes.join(","),
            text("/client/platform").trim().to_ascii_lowercase(),
            text("/client/deviceFamily").trim().to_ascii_lowercase(),
        );
        let signature = self.sign(&payload);
        params["device"] = json!({
            "id": self.id, "publicKey": self.public_key, "signature": signature,
            "signedAt": signed_at_ms, "nonce": nonce,
        });
    }
}
