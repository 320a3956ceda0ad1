//! Randomness of the operating system, shaped as the program needs it: bytes, tokens, uuids.
//!
//! There is no weaker source to fall back to: where the operating system has no randomness, the
//! process ends rather than hand out a secret that can be guessed.

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};

use crate::identity::Token;

/// Bytes of entropy in a token (protocol §5.5); 43 characters as base64url.
pub const TOKEN_BYTES: usize = 32;

/// The operating system's randomness.
#[derive(Debug, Clone, Copy, Default)]
pub struct Random;

impl Random {
    /// A random UUID (version 4), lower case with dashes.
    pub fn uuid(&self) -> String {
        let mut bytes = self.bytes::<16>();
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        let hex = HEXLOWER.encode(&bytes);
        format!(
            "{}-{}-{}-{}-{}",
            &hex[..8],
            &hex[8..12],
            &hex[12..16],
            &hex[16..20],
            &hex[20..]
        )
    }

    /// A new bearer secret: 32 random bytes, base64url without padding, 43 characters.
    pub fn token(&self) -> Token {
        Token::from(BASE64URL_NOPAD.encode(&self.bytes::<TOKEN_BYTES>()))
    }

    /// `N` random bytes. Ends the process when the operating system cannot deliver them.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        if let Err(error) = getrandom::fill(&mut bytes) {
            log::error!("the operating system has no randomness, ending: {error}");
            std::process::abort();
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_have_the_shape_of_version_4() {
        for _ in 0..64 {
            let uuid = Random.uuid();
            let groups: Vec<usize> = uuid.split('-').map(str::len).collect();
            assert_eq!(groups, [8, 4, 4, 4, 12], "{uuid}");
            assert_eq!(uuid.as_bytes()[14], b'4', "{uuid}");
            assert!(b"89ab".contains(&uuid.as_bytes()[19]), "{uuid}");
            assert!(
                uuid.bytes()
                    .all(|byte| byte == b'-' || byte.is_ascii_digit() || byte.is_ascii_lowercase()),
                "{uuid}"
            );
        }
    }

    #[test]
    fn tokens_are_43_url_safe_characters_and_differ() {
        let first = Random.token();
        let second = Random.token();
        assert_eq!(first.as_str().len(), 43);
        assert!(BASE64URL_NOPAD.decode(first.as_str().as_bytes()).is_ok());
        assert_ne!(first, second);
    }
}
