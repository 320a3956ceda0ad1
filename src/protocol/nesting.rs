//! How deep a JSON or JSON5 text nests, measured without parsing it.
//!
//! The parsers recurse (one of them without any limit) and a connection thread has a small stack, so
//! everything a person or a peer wrote is measured here first. The scanner knows strings and the
//! comments of JSON5; text that is not valid JSON is the parser's to refuse, which it does before it
//! can get deeper than measured.

/// Levels of `{` and `[` that a text may have; the stack of a connection thread holds this many in a
/// debug build.
pub const MAX_NESTING: usize = 64;

/// A text nests deeper than [`MAX_NESTING`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooDeep {
    /// Byte offset of the bracket that opens the first level too many.
    pub offset: usize,
}

impl std::fmt::Display for TooDeep {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "nested deeper than {MAX_NESTING} levels")
    }
}

impl std::error::Error for TooDeep {}

/// The deepest level in `text` (0 for a scalar), or [`TooDeep`] beyond [`MAX_NESTING`].
pub fn measure(text: &str) -> Result<usize, TooDeep> {
    let bytes = text.as_bytes();
    let (mut depth, mut deepest, mut at) = (0_usize, 0, 0);
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' | b'\'' => at = end_of_string(bytes, at),
            b'/' => at = end_of_comment(bytes, at),
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
                if depth > MAX_NESTING {
                    return Err(TooDeep { offset: at });
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    Ok(deepest)
}

/// Index of the quote that ends the string opened at `start`, or of the last byte.
fn end_of_string(bytes: &[u8], start: usize) -> usize {
    let quote = bytes[start];
    let mut at = start + 1;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'\\' => at += 1,
            _ if byte == quote => return at,
            _ => {}
        }
        at += 1;
    }
    bytes.len()
}

/// Index of the last byte of the comment opened at `start`, or `start` when it is only a slash.
fn end_of_comment(bytes: &[u8], start: usize) -> usize {
    let rest = &bytes[start..];
    let length = if rest.starts_with(b"//") {
        // JSON5 ends a line comment at LF, CR, U+2028 and U+2029.
        (2..rest.len()).find(|&at| {
            matches!(rest[at], b'\n' | b'\r') || matches!(rest[at..], [0xE2, 0x80, 0xA8 | 0xA9, ..])
        })
    } else if rest.starts_with(b"/*") {
        rest[2..]
            .windows(2)
            .position(|pair| pair == b"*/")
            .map(|at| at + 3)
    } else {
        return start;
    };
    length.map_or(bytes.len(), |length| start + length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_counts_brackets_outside_strings_and_comments() {
        let table = [
            ("1", 0),
            ("{}", 1),
            (r#"{"a":[{}]}"#, 3),
            (r#"{"a":"[[[["}"#, 1),
            (r#"{"a":"\"[[["}"#, 1),
            ("{'a':'[[[[', b: [] }", 2),
            ("// [[[[\n{}", 1),
            ("// [[[[\u{2028}{}", 1),
            ("// [[[[\r[[]]", 2),
            ("/* [[[ */ [/* ] */]", 1),
            ("/*/ [[[ */ []", 1),
            ("/* [[[", 0),
            ("// [[[", 0),
            ("\"[[[", 0),
            ("\"\\", 0),
            ("]]]][[", 2),
            ("[] / [[]]", 2),
        ];
        for (text, depth) in table {
            assert_eq!(measure(text), Ok(depth), "{text}");
        }
    }

    #[test]
    fn the_limit_is_exact_and_named_by_offset() {
        let fits = format!("{}{}", "[".repeat(MAX_NESTING), "]".repeat(MAX_NESTING));
        assert_eq!(measure(&fits), Ok(MAX_NESTING));
        assert_eq!(
            measure(&format!(" [{fits}]")),
            Err(TooDeep {
                offset: MAX_NESTING + 1
            })
        );
    }
}
