//! The fingerprint by which a generated secret may be told without telling it.
//!
//! It is the beginning of a plain SHA-256, so whoever sees it can try guesses against it: of a password, or of a token
//! that somebody made up, that would give away the rest. Only what looks drawn at random has one.

use crate::identity::sha256_hex;

/// Hex digits of a fingerprint: enough to tell two secrets apart.
const DIGITS: usize = 8;

/// Characters that hold 128 bits even where each is a hex digit.
const LEAST_CHARS: usize = 32;

/// Different characters of which a random text has more.
const LEAST_DIFFERENT: usize = 8;

/// `sha256:` and the first digits of the SHA-256 of a token; `None` for one that somebody could guess: a short one, one
/// of words, one of few characters. Blanks around it do not count.
pub fn fingerprint(token: &str) -> Option<String> {
    let token = token.trim();
    let mut different: Vec<char> = token.chars().collect();
    different.sort_unstable();
    different.dedup();
    let drawn = token.len() >= LEAST_CHARS
        && different.len() >= LEAST_DIFFERENT
        && token
            .chars()
            .all(|one| one.is_ascii_alphanumeric() || "-_+/=".contains(one))
        && token.chars().filter(char::is_ascii_digit).count() >= 2;
    drawn.then(|| format!("sha256:{}", &sha256_hex(token.as_bytes())[..DIGITS]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Random;

    #[test]
    fn only_what_looks_drawn_at_random_has_a_fingerprint() {
        let hex = "0123456789abcdef0123456789abcdef";
        assert_eq!(fingerprint(hex).as_deref(), Some("sha256:3eb1bd43"));
        assert_eq!(fingerprint(&format!(" {hex}\n")), fingerprint(hex));
        assert_ne!(
            fingerprint("0123456789abcdef0123456789abcdeF"),
            fingerprint(hex)
        );
        for guessable in [
            "",
            "0123456789abcdef",
            "correct-horse-battery-staple-and-some-more",
            "a long sentence 12 of words 34 with blanks",
            "11111111111111111111111111111111111111112222",
        ] {
            assert_eq!(fingerprint(guessable), None, "{guessable:?}");
        }
        // Of these, one in hundred lacks two digits; all ten do never.
        let drawn = (0..10).filter(|_| fingerprint(Random.token().as_str()).is_some());
        assert!(drawn.count() > 0);
    }
}
