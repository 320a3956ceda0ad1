//! Where a credential comes from: plain text, `${NAME}`, or a reference to a source (cli.md §3.2).
//!
//! A reference that cannot be resolved is `Unavailable` and stays so: whoever asks for the credential
//! must fail closed, never fall through to a weaker source. Values never reach logs or errors.

use std::fmt;

use serde_json::Value;

use crate::config::environment::{Environment, is_unexpanded};
use crate::config::expand::Missing;
use crate::config::reference::{Reference, missing_variable};

/// The paths that may hold a secret or a reference to one.
pub const SECRET_PATHS: [&str; 4] = [
    "gateway.auth.password",
    "gateway.auth.token",
    "gateway.remote.password",
    "gateway.remote.token",
];

/// A credential as configured and resolved.
#[derive(Clone, PartialEq, Eq, Default)]
pub enum Secret {
    /// Not configured.
    #[default]
    Absent,
    /// Configured and known; trimmed and not empty.
    Plain(String),
    /// Configured, but its source gives no value.
    Unavailable {
        /// Dotted path of the credential.
        path: &'static str,
        /// Why, as a full sentence.
        why: String,
    },
}

impl Secret {
    /// The value when it is known.
    pub fn plain(&self) -> Option<&str> {
        match self {
            Self::Plain(value) => Some(value),
            Self::Absent | Self::Unavailable { .. } => None,
        }
    }

    /// Whether the operator configured anything here, resolvable or not.
    pub fn is_configured(&self) -> bool {
        *self != Self::Absent
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("Absent"),
            Self::Plain(_) => f.write_str("Plain(***)"),
            Self::Unavailable { path, why } => write!(f, "Unavailable({path}: {why})"),
        }
    }
}

/// Resolves the secret at one of [`SECRET_PATHS`] in a validated, expanded document.
pub fn resolve(
    path: &'static str,
    input: Option<&Value>,
    missing: &Missing,
    providers: Option<&Value>,
    environment: &Environment,
) -> Secret {
    let unavailable = |why| Secret::Unavailable { path, why };
    if let Some(name) = missing.get(path) {
        return unavailable(missing_variable(name));
    }
    match input {
        Some(Value::String(text)) => match text.trim() {
            "" => Secret::Absent,
            text if is_unexpanded(text) => Secret::Absent,
            text => Secret::Plain(text.to_owned()),
        },
        Some(reference @ Value::Object(_)) => match Reference::parse(reference) {
            Some(reference) => reference
                .resolve(providers, environment)
                .map_or_else(unavailable, Secret::Plain),
            None => unavailable("The secret reference is malformed.".to_owned()),
        },
        _ => Secret::Absent,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::config::testing::Home;

    #[test]
    fn secrets_come_from_their_sources_or_say_why_not() {
        let text = "{secrets: {providers: {
                json: {source: 'file', path: '~/.openclaw/s.json', mode: 'json'},
                one: {source: 'file', path: '~/.openclaw/one', mode: 'singleValue'},
                open: {source: 'file', path: '~/.openclaw/open', mode: 'singleValue'},
                loose: {source: 'file', path: '~/.openclaw/open', mode: 'singleValue', allowInsecurePath: true},
                small: {source: 'file', path: '~/.openclaw/one', mode: 'singleValue', maxBytes: 2},
                listed: {source: 'env', allowlist: ['OTHER']},
                run: {source: 'exec', command: '/bin/pass'}}},
            gateway: {auth: {token: REF}}}";
        let cases = [
            ("env", "default", "TOK", Ok("from-env")),
            (
                "env",
                "default",
                "NO",
                Err("Environment variable \"NO\" is missing or empty."),
            ),
            (
                "env",
                "listed",
                "TOK",
                Err("is not in the allowlist of secret provider \"listed\"."),
            ),
            ("file", "json", "/gateway/token", Ok("from-json")),
            (
                "file",
                "json",
                "/gateway/none",
                Err("has no text at /gateway/none."),
            ),
            ("file", "one", "value", Ok("from-one")),
            (
                "file",
                "one",
                "/x",
                Err("holds one value: its id is \"value\"."),
            ),
            (
                "file",
                "open",
                "value",
                Err("is open to other users: run chmod 600"),
            ),
            ("file", "loose", "value", Ok("from-open")),
            ("file", "small", "value", Err("is larger than 2 bytes.")),
            (
                "file",
                "listed",
                "value",
                Err("has source \"env\" but the reference asks for \"file\"."),
            ),
            (
                "file",
                "nobody",
                "value",
                Err("Secret provider \"nobody\" is not configured."),
            ),
            (
                "exec",
                "run",
                "gateway",
                Err("runs a command, which this program does not do"),
            ),
        ];
        for (source, provider, id, expected) in cases {
            let reference = format!("{{source: '{source}', provider: '{provider}', id: '{id}'}}");
            let home =
                Home::with_environment(&text.replace("REF", &reference), &[("TOK", " from-env ")]);
            home.write("s.json", "{gateway: {token: 'from-json'}}");
            home.write("one", "from-one\n");
            let open = home.write("open", "from-open");
            for (name, mode) in [("s.json", 0o600), ("one", 0o400), ("open", 0o640)] {
                let permissions = std::fs::Permissions::from_mode(mode);
                std::fs::set_permissions(open.with_file_name(name), permissions).unwrap();
            }
            match (home.load().unwrap().config.gateway.auth.token, expected) {
                (Secret::Plain(value), Ok(expected)) => assert_eq!(value, expected),
                (Secret::Unavailable { path, why }, Err(expected)) => {
                    assert_eq!(path, "gateway.auth.token");
                    assert!(why.contains(expected), "{why}");
                }
                (found, expected) => {
                    panic!("{source}:{provider}:{id}: {found:?}, not {expected:?}")
                }
            }
        }
    }

    #[test]
    fn blank_and_unfilled_credentials_are_absent() {
        for value in ["''", "'  '", "'$${TOK}'", "'${lower}'"] {
            let home = Home::new(&format!("{{gateway: {{auth: {{token: {value}}}}}}}"));
            assert_eq!(
                home.load().unwrap().config.gateway.auth.token,
                Secret::Absent,
                "{value}"
            );
        }
    }
}
