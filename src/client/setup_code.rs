//! Setup codes: the URL of a gateway and a bootstrap token in one word that can be scanned or pasted
//! (cli.md §2.7).
//!
//! A code is a secret like the token inside it; it never holds the shared secret.

use std::fmt;

use data_encoding::{BASE64, BASE64_NOPAD, BASE64URL, BASE64URL_NOPAD};
use serde_json::{Value, json};

use crate::client::target::GatewayUrl;
use crate::identity::Token;

/// The longest text that is taken for a code, in bytes: a URL and a token with room to spare.
const MAX_BYTES: usize = 4_096;

/// Characters of a join key: 32 random bytes, URL-safe.
const KEY_BYTES: usize = 43;

/// What a person was given to join with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetupCode {
    /// The gateway; a bare join key does not say.
    pub url: Option<GatewayUrl>,
    /// The bootstrap token or join key.
    pub secret: Token,
}

/// Why a text is no setup code. Display is the whole sentence; it never repeats the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetupCodeFault {
    /// Nothing was given.
    Empty,
    /// Neither a code nor a key.
    Malformed,
    /// A code whose URL cannot be used.
    Url,
}

impl SetupCode {
    /// The word for a gateway at `url`, given in its normal form.
    pub fn encode(url: &str, secret: &Token) -> String {
        let document = json!({"url": url, "bootstrapToken": secret.as_str()});
        BASE64URL_NOPAD.encode(document.to_string().as_bytes())
    }

    /// Reads a setup code, or a join key as it was shown.
    ///
    /// # Errors
    /// [`SetupCodeFault`].
    pub fn decode(text: &str) -> Result<SetupCode, SetupCodeFault> {
        let text = text.trim();
        if text.is_empty() {
            return Err(SetupCodeFault::Empty);
        }
        let word = text.len() <= MAX_BYTES && text.bytes().all(|byte| byte.is_ascii_graphic());
        if !word {
            return Err(SetupCodeFault::Malformed);
        }
        let Some(document) = document(text) else {
            // A damaged code is none, and neither is a gateway's own token.
            let url_safe = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
            let key = text.len() == KEY_BYTES && text.bytes().all(url_safe);
            return key
                .then(|| SetupCode {
                    url: None,
                    secret: Token::from(text),
                })
                .ok_or(SetupCodeFault::Malformed);
        };
        let member = |name: &str| {
            let text = document.get(name).and_then(Value::as_str).map(str::trim);
            text.filter(|text| !text.is_empty()).map(str::to_owned)
        };
        let url = member("url").ok_or(SetupCodeFault::Url)?;
        let url = GatewayUrl::parse(&url).map_err(|_| SetupCodeFault::Url)?;
        let secret = member("bootstrapToken").ok_or(SetupCodeFault::Malformed)?;
        Ok(SetupCode {
            url: Some(url),
            secret: Token::from(secret),
        })
    }
}

/// The JSON object inside a code; a key has none.
fn document(text: &str) -> Option<Value> {
    let forms = [BASE64URL_NOPAD, BASE64URL, BASE64_NOPAD, BASE64];
    let bytes = forms
        .iter()
        .find_map(|form| form.decode(text.as_bytes()).ok())?;
    let document: Value = serde_json::from_slice(&bytes).ok()?;
    document.is_object().then_some(document)
}

impl fmt::Display for SetupCodeFault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            SetupCodeFault::Empty => "The setup code is empty.",
            SetupCodeFault::Malformed => {
                "This is no setup code and no join key. Copy the whole word that `openclaw qr` or `openclaw devices keys create` printed; \
                 the gateway's own token goes into OPENCLAW_GATEWAY_TOKEN."
            }
            SetupCodeFault::Url => {
                "The setup code names no usable gateway URL. Make a new one with `openclaw qr`."
            }
        })
    }
}

impl std::error::Error for SetupCodeFault {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_what_the_reference_writes() {
        let code = SetupCode::encode("wss://gw.example.com", &Token::from("G5i2"));
        let bytes = BASE64URL_NOPAD.decode(code.as_bytes()).unwrap();
        assert_eq!(
            String::from_utf8(bytes).unwrap(),
            r#"{"url":"wss://gw.example.com","bootstrapToken":"G5i2"}"#
        );
        let read = SetupCode::decode(&format!(" {code}\n")).unwrap();
        assert_eq!(read.url.unwrap().to_string(), "wss://gw.example.com:443");
        assert_eq!(read.secret, Token::from("G5i2"));
        let padded = BASE64.encode(br#"{"url":"ws://127.0.0.1:9","bootstrapToken":"k?"}"#);
        let read = SetupCode::decode(&padded).unwrap();
        assert_eq!(read.url.unwrap().port, 9);
    }

    #[test]
    fn a_join_key_stands_for_itself_and_nonsense_for_nothing() {
        let key = "0123456789_-0123456789_-0123456789_-0123456";
        let read = SetupCode::decode(key).unwrap();
        assert_eq!((read.url, read.secret), (None, Token::from(key)));
        let encoded = |text: &str| BASE64URL_NOPAD.encode(text.as_bytes());
        let cases = [
            (" \n".to_owned(), SetupCodeFault::Empty),
            ("two words".to_owned(), SetupCodeFault::Malformed),
            ("hello".to_owned(), SetupCodeFault::Malformed),
            // A gateway's own token, and a code that lost its end.
            ("0123456789abcdef".repeat(3), SetupCodeFault::Malformed),
            (
                encoded(r#"{"url":"ws://a:1","bootstrapToken":"G5i2G5i2"}"#)[..60].to_owned(),
                SetupCodeFault::Malformed,
            ),
            ("x".repeat(5_000), SetupCodeFault::Malformed),
            (encoded(r#"{"url":"ws://a:1"}"#), SetupCodeFault::Malformed),
            (encoded(r#"{"bootstrapToken":"k"}"#), SetupCodeFault::Url),
            (
                encoded(r#"{"url":"nowhere","bootstrapToken":"k"}"#),
                SetupCodeFault::Url,
            ),
            (
                encoded(r#"{"url":"ws://u:p@a","bootstrapToken":"k"}"#),
                SetupCodeFault::Url,
            ),
        ];
        for (text, fault) in cases {
            assert_eq!(SetupCode::decode(&text), Err(fault), "{text}");
            assert!(!fault.to_string().contains(text.trim()) || text.trim().is_empty());
        }
    }
}
