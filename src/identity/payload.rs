//! The text that a device signs to prove its key (protocol §3.2), in both forms, and the
//! normalization of the metadata inside it (§3.3).
//!
//! Fields are joined by `|` without escaping; whoever builds a payload passes the values as sent.

/// Everything that goes into a signature payload. All values as they stand in the connect frame.
#[derive(Debug, Clone, Copy)]
pub struct ProofInput<'a> {
    /// Device id, 64 hex digits.
    pub device_id: &'a str,
    /// `client.id`.
    pub client_id: &'a str,
    /// `client.mode`.
    pub client_mode: &'a str,
    /// Resolved role: `operator` when the frame names none.
    pub role: &'a str,
    /// Scopes in the order sent.
    pub scopes: &'a [String],
    /// `device.signedAt`, milliseconds since the Unix epoch.
    pub signed_at_ms: u64,
    /// First present one of `auth.token`, `auth.deviceToken`, `auth.bootstrapToken`, untrimmed; else
    /// empty. Never the password.
    pub token: &'a str,
    /// The challenge's nonce, trimmed.
    pub nonce: &'a str,
    /// `client.platform` (version 3 only).
    pub platform: Option<&'a str>,
    /// `client.deviceFamily` (version 3 only).
    pub device_family: Option<&'a str>,
}

/// The current payload, with platform and device family.
pub fn payload_v3(input: &ProofInput<'_>) -> String {
    format!(
        "v3|{}|{}|{}",
        common_fields(input),
        normalize_for_auth(input.platform.unwrap_or_default()),
        normalize_for_auth(input.device_family.unwrap_or_default())
    )
}

/// The older payload, without metadata. A gateway tries it after [`payload_v3`].
pub fn payload_v2(input: &ProofInput<'_>) -> String {
    format!("v2|{}", common_fields(input))
}

/// Platform or device family as it is signed and pinned: trimmed, ASCII letters lower-cased, all
/// other characters untouched (§3.3).
pub fn normalize_for_auth(text: &str) -> String {
    text.trim().to_ascii_lowercase()
}

fn common_fields(input: &ProofInput<'_>) -> String {
    format!(
        "{}|{}|{}|{}|{}|{}|{}|{}",
        input.device_id,
        input.client_id,
        input.client_mode,
        input.role,
        input.scopes.join(","),
        input.signed_at_ms,
        input.token,
        input.nonce
    )
}

#[cfg(test)]
mod tests {
    use data_encoding::BASE64;

    use super::*;
    use crate::identity::{DeviceKey, PublicKey};

    struct Vector {
        key: DeviceKey,
        public: &'static str,
        device_id: &'static str,
        input: ProofInput<'static>,
        v3: &'static str,
        v3_signature: &'static str,
        v2: Option<(&'static str, &'static str)>,
    }

    fn seed(hex: &str) -> DeviceKey {
        let bytes = data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap();
        DeviceKey::from_seed(&bytes.try_into().unwrap()).unwrap()
    }

    /// The three published vectors: two of protocol §3.6 and the one of node-host §7.
    fn vectors() -> Vec<Vector> {
        let scopes: &'static [String] = Box::leak(Box::new([
            "operator.read".to_owned(),
            "operator.write".to_owned(),
        ]));
        let pkcs8 = BASE64
            .decode(b"MC4CAQAwBQYDK2VwBCIEIDtZJHEb5VImQlVk7l/3GtX3gmwARaaRNTzoWNtARIWg")
            .unwrap();
        vec![
            Vector {
                key: seed("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"),
                public: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
                device_id: "21fe31dfa154a261626bf854046fd2271b7bed4b6abe45aa58877ef47f9721b9",
                input: ProofInput {
                    device_id: "21fe31dfa154a261626bf854046fd2271b7bed4b6abe45aa58877ef47f9721b9",
                    client_id: "node-host",
                    client_mode: "node",
                    role: "node",
                    scopes: &[],
                    signed_at_ms: 1_737_264_000_000,
                    token: "shared-secret",
                    nonce: "11111111-2222-3333-4444-555555555555",
                    platform: Some("  LinuX "),
                    device_family: None,
                },
                v3: "v3|21fe31dfa154a261626bf854046fd2271b7bed4b6abe45aa58877ef47f9721b9|node-host|node|node||1737264000000|shared-secret|11111111-2222-3333-4444-555555555555|linux|",
                v3_signature: "d-QbYJVUug1rNrwPxFsGlZ9LKLDeFRHf6GMhKS27u-e1FCPS0TdrUq9M8wlKVhOcRCht41BG1ydmooOExBpGBQ",
                v2: None,
            },
            Vector {
                key: seed("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"),
                public: "A6EHv_POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg",
                device_id: "56475aa75463474c0285df5dbf2bcab73da651358839e9b77481b2eab107708c",
                input: ProofInput {
                    device_id: "56475aa75463474c0285df5dbf2bcab73da651358839e9b77481b2eab107708c",
                    client_id: "cli",
                    client_mode: "cli",
                    role: "operator",
                    scopes,
                    signed_at_ms: 1_737_264_000_123,
                    token: "",
                    nonce: "nonce-abc",
                    platform: Some("MacOS 15.1"),
                    device_family: Some("MacBookPro"),
                },
                v3: "v3|56475aa75463474c0285df5dbf2bcab73da651358839e9b77481b2eab107708c|cli|cli|operator|operator.read,operator.write|1737264000123||nonce-abc|macos 15.1|macbookpro",
                v3_signature: "9HHeTNjOB-BCQmDOlQwEkUz1WQHdg1kOFgaTKmcKXFzmtvbRldOjIGiot2qYIL7JSlWohPBGXUI8rf5HaJf6Dg",
                v2: Some((
                    "v2|56475aa75463474c0285df5dbf2bcab73da651358839e9b77481b2eab107708c|cli|cli|operator|operator.read,operator.write|1737264000123||nonce-abc",
                    "KaelhFh0HpeVdk7lljQfrevK95v7lPMi8nDOjLK6tq0ZGMFOygsVH1-ocjGAN6Hwz52P4JWOF_-0Ct9dkIt6AA",
                )),
            },
            Vector {
                key: DeviceKey::from_pkcs8(&pkcs8).unwrap(),
                public: "T9CKKSit7AaDULKgVT62W69L6I7hvL7IhaAO-2ZS7gs",
                device_id: "3b2f3bcfff46d797e67aaeebf964c6d385cb4028b3dc041f0db39485eeef93a8",
                input: ProofInput {
                    device_id: "3b2f3bcfff46d797e67aaeebf964c6d385cb4028b3dc041f0db39485eeef93a8",
                    client_id: "node-host",
                    client_mode: "node",
                    role: "node",
                    scopes: &[],
                    signed_at_ms: 1_795_220_955_933,
                    token: "sekret-token-123",
                    nonce: "2883be1f-ab2a-4f0f-a580-827d03ed49cb",
                    platform: Some("linux"),
                    device_family: None,
                },
                v3: "v3|3b2f3bcfff46d797e67aaeebf964c6d385cb4028b3dc041f0db39485eeef93a8|node-host|node|node||1795220955933|sekret-token-123|2883be1f-ab2a-4f0f-a580-827d03ed49cb|linux|",
                v3_signature: "C37SCvPOcEzrwSavmShzGlCE4XaTue2ifZRfafdn4UsUZP5XjnDCf_eUG14PimdRMb_unYKly-ZxEWkS3RKvDw",
                v2: None,
            },
        ]
    }

    #[test]
    fn published_vectors_hold() {
        for vector in vectors() {
            assert_eq!(vector.key.public().encode(), vector.public);
            assert_eq!(vector.key.device_id().as_str(), vector.device_id);
            assert_eq!(payload_v3(&vector.input), vector.v3);
            assert_eq!(vector.key.sign(vector.v3), vector.v3_signature);
            if let Some((payload, signature)) = vector.v2 {
                assert_eq!(payload_v2(&vector.input), payload);
                assert_eq!(vector.key.sign(payload), signature);
            }
            let public = PublicKey::decode(vector.public).unwrap();
            assert!(public.verify(vector.v3, vector.v3_signature));
            assert!(!public.verify(&format!("{}x", vector.v3), vector.v3_signature));
        }
    }

    #[test]
    fn normalization_folds_ascii_only() {
        for (text, expected) in [
            ("", ""),
            ("   ", ""),
            ("  LinuX ", "linux"),
            ("MacOS 15.1", "macos 15.1"),
            ("ÄPFEL", "Äpfel"),
            ("İOS", "İos"),
        ] {
            assert_eq!(normalize_for_auth(text), expected, "{text:?}");
        }
    }
}
