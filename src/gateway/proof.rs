//! Does the connecting device hold its key? The checks of protocol.md §3.5, in their order.
//!
//! Pure: the challenge and the time come in as arguments. The failures look as precise as they do on
//! purpose, because each names a different thing that is wrong on the client's side.

use serde_json::json;

use crate::identity::{DeviceId, ProofInput, PublicKey, payload_v2, payload_v3};
use crate::protocol::error::ErrorShape;
use crate::protocol::limits::MAX_SIGNATURE_SKEW_MS;

/// The `device` object of a connect, as sent.
#[derive(Clone, Copy, Debug)]
pub struct DeviceClaim<'a> {
    /// `device.id`.
    pub id: &'a str,
    /// `device.nonce`.
    pub nonce: &'a str,
    /// `device.publicKey`.
    pub public_key: &'a str,
    /// `device.signature`.
    pub signature: &'a str,
    /// `device.signedAt`, epoch milliseconds.
    pub signed_at_ms: u64,
}

/// A device that proved its key.
#[derive(Clone, Debug)]
pub struct ProvenDevice {
    /// Its id.
    pub id: DeviceId,
    /// Its key; encodes to the canonical form that is stored.
    pub key: PublicKey,
}

/// Checks key, clock, nonce and signature. `input` carries the signed fields; its `device_id`, `nonce`
/// and `signed_at_ms` are taken from the claim. The error is the finished answer.
pub fn check(
    claim: &DeviceClaim<'_>,
    input: &ProofInput<'_>,
    challenge: &str,
    now_ms: u64,
) -> Result<ProvenDevice, ErrorShape> {
    let key = PublicKey::decode(claim.public_key)
        .filter(|key| key.device_id().as_str() == claim.id)
        .ok_or_else(|| Fault::DeviceIdMismatch.error())?;
    if now_ms.abs_diff(claim.signed_at_ms) > MAX_SIGNATURE_SKEW_MS {
        return Err(expired(claim.signed_at_ms, now_ms));
    }
    let nonce = claim.nonce.trim();
    if nonce.is_empty() {
        return Err(Fault::NonceMissing.error());
    }
    if nonce != challenge {
        return Err(Fault::NonceMismatch.error());
    }
    let input = ProofInput {
        device_id: claim.id,
        nonce,
        signed_at_ms: claim.signed_at_ms,
        ..*input
    };
    let proven = key.verify(&payload_v3(&input), claim.signature)
        || key.verify(&payload_v2(&input), claim.signature);
    if !proven {
        return Err(Fault::SignatureInvalid.error());
    }
    Ok(ProvenDevice {
        id: key.device_id(),
        key,
    })
}

enum Fault {
    DeviceIdMismatch,
    NonceMismatch,
    NonceMissing,
    SignatureExpired,
    SignatureInvalid,
}

impl Fault {
    /// Message, `details.code` and `details.reason`.
    fn words(&self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::DeviceIdMismatch => (
                "device identity mismatch",
                "DEVICE_AUTH_DEVICE_ID_MISMATCH",
                "device-id-mismatch",
            ),
            Self::NonceMismatch => (
                "device nonce mismatch",
                "DEVICE_AUTH_NONCE_MISMATCH",
                "device-nonce-mismatch",
            ),
            Self::NonceMissing => (
                "device nonce required",
                "DEVICE_AUTH_NONCE_REQUIRED",
                "device-nonce-missing",
            ),
            Self::SignatureExpired => (
                "device signature expired",
                "DEVICE_AUTH_SIGNATURE_EXPIRED",
                "device-signature-stale",
            ),
            Self::SignatureInvalid => (
                "device signature invalid",
                "DEVICE_AUTH_SIGNATURE_INVALID",
                "device-signature",
            ),
        }
    }

    fn error(&self) -> ErrorShape {
        let (message, code, reason) = self.words();
        ErrorShape::invalid(message).with_details(json!({"code": code, "reason": reason}))
    }
}

/// The expired answer additionally states both clocks and their difference, so that a board without a
/// clock battery can be told apart from a replayed signature.
fn expired(signed_at_ms: u64, now_ms: u64) -> ErrorShape {
    let (message, code, reason) = Fault::SignatureExpired.words();
    let direction = if signed_at_ms < now_ms {
        "behind"
    } else {
        "ahead of"
    };
    let difference_ms = now_ms.abs_diff(signed_at_ms);
    ErrorShape::invalid(message).with_details(json!({
        "code": code,
        "reason": reason,
        "signedAtMs": signed_at_ms,
        "gatewayTimeMs": now_ms,
        "differenceMs": difference_ms,
        "maxDifferenceMs": MAX_SIGNATURE_SKEW_MS,
        "hint": format!(
            "the device clock is {} s {direction} the gateway clock; at most {} s are allowed",
            difference_ms / 1000,
            MAX_SIGNATURE_SKEW_MS / 1000
        ),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::DeviceKey;

    const NOW: u64 = 1_795_221_070_445;
    const NONCE: &str = "b7327da4-f2dc-4ebe-9b76-0fda8e844b71";

    struct Attempt {
        id: Option<String>,
        key: Option<String>,
        nonce: &'static str,
        signed_nonce: &'static str,
        signed_at_ms: u64,
        version: u8,
        broken: bool,
    }

    impl Default for Attempt {
        fn default() -> Self {
            Attempt {
                id: None,
                key: None,
                nonce: NONCE,
                signed_nonce: NONCE,
                signed_at_ms: NOW,
                version: 3,
                broken: false,
            }
        }
    }

    fn input<'a>(id: &'a str, attempt: &Attempt) -> ProofInput<'a> {
        ProofInput {
            device_id: id,
            client_id: "node-host",
            client_mode: "node",
            role: "node",
            scopes: &[],
            signed_at_ms: attempt.signed_at_ms,
            token: "shared",
            nonce: attempt.signed_nonce,
            platform: Some("Linux"),
            device_family: None,
        }
    }

    fn run(attempt: &Attempt) -> Result<ProvenDevice, ErrorShape> {
        let key = DeviceKey::from_seed(&[7; 32]).unwrap();
        let id = key.device_id();
        let signed = input(id.as_str(), attempt);
        let payload = if attempt.version == 2 {
            payload_v2(&signed)
        } else {
            payload_v3(&signed)
        };
        let signature = if attempt.broken {
            key.sign("something else")
        } else {
            key.sign(&payload)
        };
        let public = key.public().encode();
        let claim = DeviceClaim {
            id: attempt.id.as_deref().unwrap_or(id.as_str()),
            nonce: attempt.nonce,
            public_key: attempt.key.as_deref().unwrap_or(&public),
            signature: &signature,
            signed_at_ms: attempt.signed_at_ms,
        };
        check(&claim, &signed, NONCE, NOW)
    }

    #[test]
    fn good_proofs_pass_with_either_payload_and_up_to_the_allowed_difference() {
        for attempt in [
            Attempt::default(),
            Attempt {
                version: 2,
                ..Attempt::default()
            },
            Attempt {
                nonce: " b7327da4-f2dc-4ebe-9b76-0fda8e844b71 ",
                ..Attempt::default()
            },
            Attempt {
                signed_at_ms: NOW - 120_000,
                ..Attempt::default()
            },
            Attempt {
                signed_at_ms: NOW + 120_000,
                ..Attempt::default()
            },
        ] {
            let proven = run(&attempt).unwrap();
            assert_eq!(proven.id, proven.key.device_id());
        }
    }

    #[test]
    #[rustfmt::skip]
    fn faults_are_named_in_their_order() {
        let other = DeviceKey::from_seed(&[8; 32]).unwrap();
        let wrong_id = || Some(other.device_id().as_str().to_owned());
        for (attempt, message, code, reason) in [
            (Attempt { id: wrong_id(), broken: true, signed_at_ms: 0, ..Attempt::default() }, "device identity mismatch", "DEVICE_AUTH_DEVICE_ID_MISMATCH", "device-id-mismatch"),
            (Attempt { key: Some("AAAA".into()), ..Attempt::default() }, "device identity mismatch", "DEVICE_AUTH_DEVICE_ID_MISMATCH", "device-id-mismatch"),
            (Attempt { signed_at_ms: NOW - 120_001, nonce: " ", ..Attempt::default() }, "device signature expired", "DEVICE_AUTH_SIGNATURE_EXPIRED", "device-signature-stale"),
            (Attempt { signed_at_ms: NOW + 120_001, ..Attempt::default() }, "device signature expired", "DEVICE_AUTH_SIGNATURE_EXPIRED", "device-signature-stale"),
            (Attempt { nonce: "  ", broken: true, ..Attempt::default() }, "device nonce required", "DEVICE_AUTH_NONCE_REQUIRED", "device-nonce-missing"),
            (Attempt { nonce: "other", broken: true, ..Attempt::default() }, "device nonce mismatch", "DEVICE_AUTH_NONCE_MISMATCH", "device-nonce-mismatch"),
            (Attempt { broken: true, ..Attempt::default() }, "device signature invalid", "DEVICE_AUTH_SIGNATURE_INVALID", "device-signature"),
            (Attempt { signed_nonce: "other", ..Attempt::default() }, "device signature invalid", "DEVICE_AUTH_SIGNATURE_INVALID", "device-signature"),
        ] {
            let error = run(&attempt).unwrap_err();
            assert_eq!(error.message, message);
            let details = error.details.unwrap();
            assert_eq!(
                (details["code"].as_str(), details["reason"].as_str()),
                (Some(code), Some(reason))
            );
        }
    }

    #[test]
    fn an_expired_signature_states_the_difference() {
        let attempt = Attempt {
            signed_at_ms: NOW - 3_600_000,
            ..Attempt::default()
        };
        let details = run(&attempt).unwrap_err().details.unwrap();
        assert_eq!(details["differenceMs"], 3_600_000);
        assert_eq!(
            details["hint"],
            "the device clock is 3600 s behind the gateway clock; at most 120 s are allowed"
        );
    }
}
