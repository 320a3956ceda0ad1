//! Hiding secrets in documents and URLs that are shown.

use std::borrow::Cow;

use serde_json::Value;

use crate::config::environment::is_unexpanded;
use crate::config::path::join;
use crate::config::secret::SECRET_PATHS;

/// What stands in place of a secret.
pub const REDACTED: &str = "__OPENCLAW_REDACTED__";

/// Endings of key names, in lower case, whose text values are secrets in any section.
const SECRET_ENDINGS: [&str; 8] = [
    "apikey",
    "api_key",
    "passphrase",
    "password",
    "privatekey",
    "secret",
    "token",
    "_key",
];

/// The value that stands at `path` with every secret in it hidden. References to sources stay: they
/// say where a secret is, not what it is; so does a `${NAME}` without a value.
pub fn redact(path: &str, value: &Value) -> Value {
    match value {
        Value::String(text) if is_secret(path) && !text.is_empty() && !is_unexpanded(text) => {
            Value::from(REDACTED)
        }
        Value::String(text) => Value::from(without_login(text)),
        Value::Array(items) => {
            let item = |(at, item): (usize, &Value)| redact(&join(path, &at.to_string()), item);
            items.iter().enumerate().map(item).collect()
        }
        Value::Object(members) => members
            .iter()
            .map(|(name, member)| (name.clone(), redact(&join(path, name), member)))
            .collect(),
        other => other.clone(),
    }
}

/// The URL with `***` for its user name and password; any other text as it is.
pub fn without_login(text: &str) -> Cow<'_, str> {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.into();
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let authority = &rest[..end];
    let port = authority.rsplit(':').next().unwrap_or_default();
    // A password may hold what ends a host: then no port stands before it.
    let ended = authority == port || port.bytes().all(|byte| byte.is_ascii_digit());
    match rest.rsplit_once('@') {
        Some((_, host)) if authority.contains('@') || !ended => {
            format!("{scheme}://***@{host}").into()
        }
        _ => text.into(),
    }
}

fn is_secret(path: &str) -> bool {
    if SECRET_PATHS.contains(&path) {
        return true;
    }
    let name = path.rsplit('.').next().unwrap_or(path).to_ascii_lowercase();
    SECRET_ENDINGS.iter().any(|ending| name.ends_with(ending))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn hides_the_login_of_a_url_and_nothing_else() {
        for (text, expected) in [
            ("wss://user:p4ss@host:1/x", "wss://***@host:1/x"),
            ("wss://user@host", "wss://***@host"),
            ("wss://user:p@ss/w?rd@host", "wss://***@host"),
            ("wss://host:1/@team", "wss://host:1/@team"),
            ("wss://host/?a=b@c", "wss://host/?a=b@c"),
            ("user@host", "user@host"),
            ("wss://host", "wss://host"),
        ] {
            assert_eq!(without_login(text), expected);
        }
        let url = json!({"remote": {"url": "wss://user:p4ss@host"}});
        assert_eq!(
            redact("gateway", &url),
            json!({"remote": {"url": "wss://***@host"}})
        );
    }

    #[test]
    fn hides_secrets_and_nothing_else() {
        let document = json!({
            "gateway": {
                "port": 1,
                "auth": {"token": "t", "password": {"source": "env", "provider": "default", "id": "PW"}},
                "remote": {"token": "", "password": "${PW}"},
            },
            "env": {"vars": {"OPENAI_API_KEY": "k", "EDITOR": "vi"}},
            "models": {"providers": [{"apiKey": "k", "id": "m"}]},
        });
        let expected = json!({
            "gateway": {
                "port": 1,
                "auth": {"token": REDACTED, "password": {"source": "env", "provider": "default", "id": "PW"}},
                "remote": {"token": "", "password": "${PW}"},
            },
            "env": {"vars": {"OPENAI_API_KEY": REDACTED, "EDITOR": "vi"}},
            "models": {"providers": [{"apiKey": REDACTED, "id": "m"}]},
        });
        assert_eq!(redact("", &document), expected);
        assert_eq!(redact("gateway.auth.token", &json!("t")), json!(REDACTED));
    }
}
