//! From bytes on disk to a JSON value: encoding, nesting, JSON5, each failure with line and column.

use std::io::{ErrorKind, Read};
use std::path::Path;

use json5::ErrorCode;
use serde_json::Value;

use crate::config::error::{ConfigError, Issue};
use crate::protocol::nesting;

/// Largest configuration file that is read, in bytes; a large real one has about 100 KiB.
const MAX_CONFIG_BYTES: u64 = 8 * 1024 * 1024;

/// The file's bytes; `None` when there is no such file.
///
/// # Errors
/// [`ConfigError::File`] when it exists and cannot be read or is larger than 8 MiB.
pub fn read(path: &Path) -> Result<Option<Vec<u8>>, ConfigError> {
    let failed = |cause| ConfigError::File {
        path: path.to_owned(),
        action: "read",
        cause,
    };
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(failed(cause)),
    };
    let mut bytes = Vec::new();
    file.take(MAX_CONFIG_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > MAX_CONFIG_BYTES {
        return Err(failed(std::io::Error::new(
            ErrorKind::FileTooLarge,
            "larger than 8 MiB",
        )));
    }
    Ok(Some(bytes))
}

/// The bytes as text, without a byte order mark.
///
/// # Errors
/// One root issue with the line and column of the first byte that is not UTF-8.
pub fn decode(bytes: &[u8]) -> Result<&str, Issue> {
    let text = std::str::from_utf8(bytes).map_err(|fault| {
        let valid = String::from_utf8_lossy(&bytes[..fault.valid_up_to()]);
        let (line, column) = position(&valid, valid.len());
        Issue::root(format!("not valid UTF-8 at {line}:{column}"))
    })?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// The document as a value; its root is an object.
///
/// # Errors
/// One root issue: too deep, not JSON5 (with line and column), or a root that is no object.
pub fn parse(text: &str) -> Result<Value, Issue> {
    let value = parse_value(text).map_err(Issue::root)?;
    if value.is_object() {
        return Ok(value);
    }
    let received = crate::config::kind::type_name(&value);
    Err(Issue::root(format!(
        "Invalid input: expected object, received {received}"
    )))
}

/// Any JSON5 value, nesting measured first.
///
/// # Errors
/// The message without a path.
pub fn parse_value(text: &str) -> Result<Value, String> {
    nesting::measure(text).map_err(|deep| {
        let (line, column) = position(text, deep.offset);
        format!("JSON5 parse failed: {deep} at {line}:{column}")
    })?;
    json5::from_str(text).map_err(|fault| {
        let what = fault
            .code()
            .map_or_else(|| fault.to_string(), |code| code.to_string());
        // At the text's end the parser names no position, or the one of the outermost bracket.
        let (line, column) = match fault.position() {
            Some(at) if !fault.code().is_some_and(is_at_end) => (at.line + 1, at.column + 1),
            _ => position(text, text.len()),
        };
        format!("JSON5 parse failed: {what} at {line}:{column}")
    })
}

fn is_at_end(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::EofParsingArray
            | ErrorCode::EofParsingBool
            | ErrorCode::EofParsingComment
            | ErrorCode::EofParsingEscapeSequence
            | ErrorCode::EofParsingIdentifier
            | ErrorCode::EofParsingNull
            | ErrorCode::EofParsingNumber
            | ErrorCode::EofParsingObject
            | ErrorCode::EofParsingString
            | ErrorCode::EofParsingValue
    )
}

/// Line and column of a byte offset, both from 1; columns count characters.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = &text[..offset];
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let line = before.bytes().filter(|&byte| byte == b'\n').count() + 1;
    (line, before[line_start..].chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_json5() {
        let text =
            "// head\n{gateway: {port: 0x4965, bind: 'lan',}, /* x */ \"a\": [1, .5, 1e3,], n: -3}";
        let value = parse(text).unwrap();
        assert_eq!(value["gateway"], json!({"port": 18_789, "bind": "lan"}));
        assert_eq!(value["a"][1], json!(0.5));
    }

    #[test]
    fn every_unreadable_text_is_one_clear_issue() {
        let deep = "[".repeat(100_000);
        let deep_objects = "{a:".repeat(100_000);
        let cases = [
            ("", "<root>: JSON5 parse failed: EOF parsing value at 1:1"),
            (
                "[]",
                "<root>: Invalid input: expected object, received array",
            ),
            (
                "3",
                "<root>: Invalid input: expected object, received number",
            ),
            (
                "null",
                "<root>: Invalid input: expected object, received null",
            ),
            (
                "{gateway: {port: 1,\n  bind lan}}",
                "<root>: JSON5 parse failed: expected colon at 2:8",
            ),
            (
                "{} x",
                "<root>: JSON5 parse failed: trailing characters at 1:4",
            ),
            (
                &deep,
                "<root>: JSON5 parse failed: nested deeper than 64 levels at 1:65",
            ),
            (
                &deep_objects,
                "<root>: JSON5 parse failed: nested deeper than 64 levels at 1:193",
            ),
        ];
        for (text, expected) in cases {
            let shown = text.chars().take(40).collect::<String>();
            assert_eq!(parse(text).unwrap_err().to_string(), expected, "{shown}");
        }
    }

    #[test]
    fn bytes_become_text() {
        assert_eq!(decode(b"\xEF\xBB\xBF{}").unwrap(), "{}");
        assert_eq!(
            decode(b"{\n  a: '\xFF'}").unwrap_err().to_string(),
            "<root>: not valid UTF-8 at 2:7"
        );
    }
}
