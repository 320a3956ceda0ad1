//! SHA-256 as lower-case hex, and the comparison of secrets built on it.
//!
//! Secrets are never compared with `==`: the time of that tells how many leading bytes were right.

use data_encoding::HEXLOWER;
use ring::digest::{SHA256, digest};
use subtle::ConstantTimeEq;

/// SHA-256 of `bytes`.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut sum = [0; 32];
    // A SHA-256 has as many bytes as there is room.
    sum.copy_from_slice(digest(&SHA256, bytes).as_ref());
    sum
}

/// SHA-256 of `bytes` as 64 lower-case hex digits.
pub fn sha256_hex(bytes: &[u8]) -> String {
    HEXLOWER.encode(&sha256(bytes))
}

/// True when both secrets are equal. The time it takes depends on neither the content nor on how
/// much of it agrees: the SHA-256 of both sides is compared without early exit.
pub fn secret_eq(left: &str, right: &str) -> bool {
    let left = digest(&SHA256, left.as_bytes());
    let right = digest(&SHA256, right.as_bytes());
    left.as_ref().ct_eq(right.as_ref()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sha256_matches_the_published_vectors() {
        for (input, expected) in [
            (
                "",
                "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            ),
            (
                "abc",
                "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            ),
        ] {
            assert_eq!(sha256_hex(input.as_bytes()), expected, "{input:?}");
        }
    }

    #[test]
    fn secrets_are_equal_only_when_every_byte_is() {
        for (left, right, expected) in [
            ("", "", true),
            ("token", "token", true),
            ("token", "Token", false),
            ("token", "token ", false),
            ("token", "", false),
            ("tökén", "tökén", true),
        ] {
            assert_eq!(secret_eq(left, right), expected, "{left:?} {right:?}");
        }
    }
}
