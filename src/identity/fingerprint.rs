//! The SHA-256 of a certificate, as it is compared, printed and typed.

use std::fmt;

use data_encoding::HEXLOWER;

use super::digest::sha256;

/// SHA-256 of a leaf certificate's DER. Display is the one form that is printed: 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of a certificate.
    pub fn of(der: &[u8]) -> Fingerprint {
        Fingerprint(sha256(der))
    }

    /// Reads what a person typed: any case, colons or blanks between the digits, `sha256:` or the words
    /// that other tools print before an equals sign. `None` unless exactly 64 hex digits are left
    /// (node-host §1.6).
    pub fn parse(text: &str) -> Option<Fingerprint> {
        let text = text.rsplit('=').next()?.trim().to_ascii_lowercase();
        let text = ["sha256", "sha-256"]
            .iter()
            .find_map(|prefix| text.strip_prefix(prefix))
            .unwrap_or(&text);
        let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
        let bytes = HEXLOWER.decode(digits.as_bytes()).ok()?;
        Some(Fingerprint(bytes.try_into().ok()?))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Fingerprint({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_notation_of_one_fingerprint_is_the_same() {
        let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let upper = hex.to_ascii_uppercase();
        let pairs: Vec<&str> = (0..64).step_by(2).map(|at| &upper[at..at + 2]).collect();
        let colons = pairs.join(":");
        for text in [
            hex.to_owned(),
            upper.clone(),
            colons.clone(),
            pairs.join(" "),
            format!("  {hex}\n"),
            format!("sha256:{hex}"),
            format!("SHA-256:{colons}"),
            format!("sha256{hex}"),
            format!("sha256 Fingerprint={colons}"),
        ] {
            let parsed = Fingerprint::parse(&text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(parsed, Fingerprint::of(b"abc"), "{text}");
            assert_eq!(parsed.to_string(), hex);
        }
    }

    #[test]
    fn anything_but_64_digits_is_none() {
        let hex = "a".repeat(64);
        for text in [
            "",
            "sha256:",
            "zz",
            &hex[..62],
            &hex[..63],
            &format!("{hex}a"),
            &format!("{hex}aa"),
        ] {
            assert_eq!(Fingerprint::parse(text), None, "{text}");
        }
    }
}
