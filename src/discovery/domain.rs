//! The wide-area domain: checked once, safe as a file name from then on.

use std::fmt;

use crate::discovery::beacon::MAX_LABEL_BYTES;
use crate::discovery::found::LOCAL;

/// Bytes of the domain without the dot at its end: an instance of 63 bytes and the service type before it make
/// a name of at most 255 bytes (RFC 1035, section 2.3.4).
const MAX_DOMAIN_BYTES: usize = 170;

/// A domain of host names, in lower case with its dot at the end: `openclaw.internal.`.
///
/// It has no slash, no `..` and no empty label, so that a file may be named after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Domain(String);

/// Why a text is no wide-area domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DomainError {
    /// There is nothing but blanks and dots.
    Empty,
    /// A label is no host name's: letters, digits and inner hyphens, at most 63.
    Label(String),
    /// It belongs to multicast DNS.
    Multicast,
    /// It has more than 170 bytes.
    TooLong,
}

impl Domain {
    /// Checks and normalises what a person wrote; the dot at the end may be missing.
    ///
    /// # Errors
    /// It is no domain that a zone may have.
    pub fn parse(text: &str) -> Result<Domain, DomainError> {
        let text = text.trim().to_ascii_lowercase();
        let name = text.strip_suffix('.').unwrap_or(&text);
        if name.is_empty() {
            return Err(DomainError::Empty);
        }
        if name.len() > MAX_DOMAIN_BYTES {
            return Err(DomainError::TooLong);
        }
        if let Some(label) = name.split('.').find(|label| !is_host_label(label)) {
            return Err(DomainError::Label(label.to_owned()));
        }
        let domain = format!("{name}.");
        match domain == LOCAL || domain.ends_with(&format!(".{LOCAL}")) {
            true => Err(DomainError::Multicast),
            false => Ok(Domain(domain)),
        }
    }

    /// With the dot at its end.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Without the dot at its end.
    pub fn bare(&self) -> &str {
        self.0.trim_end_matches('.')
    }

    /// The name of its zone file: `openclaw.internal.db`.
    pub fn zone_file_name(&self) -> String {
        format!("{}db", self.0)
    }
}

/// Whether a text is a label of a host name (RFC 1123).
pub fn is_host_label(label: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (1..=MAX_LABEL_BYTES).contains(&label.len())
        && label.bytes().all(inner)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

impl fmt::Display for Domain {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl fmt::Display for DomainError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("the wide-area domain ")?;
        match self {
            Self::Empty => out.write_str("is empty; use one like openclaw.internal."),
            Self::Label(label) => write!(
                out,
                "has a part {label:?}; each has 1 to 63 letters, digits and inner hyphens, as in openclaw.internal. \
                 (names in other scripts are written in their xn-- form)"
            ),
            Self::Multicast => out.write_str(
                "is below local., which is multicast DNS; use another one, like openclaw.internal.",
            ),
            Self::TooLong => out.write_str("is longer than 170 characters; use a shorter one."),
        }
    }
}

impl std::error::Error for DomainError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_is_in_lower_case_with_its_dot() {
        for (text, domain, file) in [
            (
                "openclaw.internal",
                "openclaw.internal.",
                "openclaw.internal.db",
            ),
            (
                " OpenClaw.Internal. ",
                "openclaw.internal.",
                "openclaw.internal.db",
            ),
            ("lan", "lan.", "lan.db"),
            (
                "xn--bcher-kva.example",
                "xn--bcher-kva.example.",
                "xn--bcher-kva.example.db",
            ),
            ("1.2.3", "1.2.3.", "1.2.3.db"),
        ] {
            let parsed = Domain::parse(text).unwrap();
            assert_eq!(parsed.as_str(), domain);
            assert_eq!(format!("{}.", parsed.bare()), domain);
            assert_eq!(parsed.zone_file_name(), file);
        }
        let longest = format!("{}ab", "ab.".repeat(56));
        assert_eq!(longest.len(), 170);
        assert!(Domain::parse(&longest).is_ok());
    }

    #[test]
    fn what_could_leave_the_directory_or_the_zone_is_no_domain() {
        let label = |text: &str| DomainError::Label(text.to_owned());
        for (text, error) in [
            ("", DomainError::Empty),
            (" . ", DomainError::Empty),
            ("..", label("")),
            ("a..b", label("")),
            (".a", label("")),
            ("../../etc/passwd", label("")),
            ("a/b", label("a/b")),
            ("a\\b.c", label("a\\b")),
            ("a\0.b", label("a\0")),
            ("a\n.b", label("a\n")),
            ("a b.c", label("a b")),
            ("-a.b", label("-a")),
            ("a-.b", label("a-")),
            ("a_b.c", label("a_b")),
            ("bücher.example", label("bücher")),
            ("$ORIGIN", label("$origin")),
            ("local", DomainError::Multicast),
            ("Pi.LOCAL.", DomainError::Multicast),
            (&"a".repeat(64), label(&"a".repeat(64))),
            (&format!("{}abc", "ab.".repeat(56)), DomainError::TooLong),
        ] {
            assert_eq!(Domain::parse(text), Err(error), "{text:?}");
        }
    }
}
