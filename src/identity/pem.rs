//! PEM text around DER (RFC 7468).

use data_encoding::BASE64;

/// Base64 characters per PEM line (RFC 7468 §2).
const PEM_LINE: usize = 64;

/// DER as PEM under a label, with a final line break.
pub fn encode(label: &str, der: &[u8]) -> String {
    let base64 = BASE64.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        let (line, tail) = rest.split_at(rest.len().min(PEM_LINE));
        text.push_str(line);
        text.push('\n');
        rest = tail;
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

/// The DER of a text that is exactly one PEM section under that label.
pub fn decode(text: &str, label: &str) -> Option<Vec<u8>> {
    let body = text
        .trim()
        .strip_prefix(&format!("-----BEGIN {label}-----"))?
        .strip_suffix(&format!("-----END {label}-----"))?;
    let base64: String = body.split_ascii_whitespace().collect();
    BASE64.decode(base64.as_bytes()).ok()
}
