//! Reads JSON that JavaScript wrote, which knows texts that no Rust string can hold.
//!
//! OpenClaw cuts texts between UTF-16 units, so half of a surrogate pair may be left at their end. What the
//! strict parser takes is read by it alone.

use serde::de::{DeserializeOwned, IgnoredAny};

/// Reads `text` with U+FFFD for every lone surrogate.
///
/// # Errors
/// Those of the strict parser.
pub fn read<T: DeserializeOwned>(text: &[u8]) -> serde_json::Result<T> {
    serde_json::from_slice(text).or_else(|error| match paired(text) {
        Some(text) => serde_json::from_slice(&text),
        None => Err(error),
    })
}

/// Whether `text` is JSON by its grammar, whatever its strings and numbers are worth.
pub fn is_json(text: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(text).is_ok()
}

/// The text with U+FFFD for every lone surrogate; `None` without any.
fn paired(text: &[u8]) -> Option<Vec<u8>> {
    let unit = |at: usize| {
        let digits = text.get(at..)?.strip_prefix(b"\\u")?.get(..4)?;
        u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    let mut whole = Vec::new();
    let (mut at, mut copied) = (0, 0);
    while let Some(found) = text.get(at..)?.iter().position(|byte| *byte == b'\\') {
        at += found;
        at += match unit(at) {
            Some(0xd800..=0xdbff) if matches!(unit(at + 6), Some(0xdc00..=0xdfff)) => 12,
            Some(0xd800..=0xdfff) => {
                whole.extend_from_slice(&text[copied..at]);
                whole.extend_from_slice(b"\\ufffd");
                copied = at + 6;
                6
            }
            Some(_) => 6,
            None => 2,
        };
    }
    whole.extend_from_slice(&text[copied..]);
    (copied > 0).then_some(whole)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn half_a_surrogate_pair_costs_only_itself() {
        for (text, expected) in [
            (r#"["a\ud83d b"]"#, json!(["a\u{fffd} b"])),
            (
                r#"["\udc00\ud83d\ude00\ud83d"]"#,
                json!(["\u{fffd}😀\u{fffd}"]),
            ),
            (r#"["\\ud83d","\ud83d"]"#, json!(["\\ud83d", "\u{fffd}"])),
            (r#"["\ud83d\n"]"#, json!(["\u{fffd}\n"])),
        ] {
            assert_eq!(read::<Value>(text.as_bytes()).unwrap(), expected, "{text}");
        }
        for text in [r#"["\u"#, r#"["\"#, r#"["\ud83d"#, "["] {
            assert!(read::<Value>(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn the_grammar_alone_bounds_no_number_and_no_depth() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        for text in ["1e400", r#"{"a":["\ud83d", -1e999]}"#, &deep] {
            assert!(is_json(text.as_bytes()), "{text}");
        }
        for text in ["", "{", "[1e]", "{} {}", "\"\n\"", "NaN"] {
            assert!(!is_json(text.as_bytes()), "{text}");
        }
    }
}
