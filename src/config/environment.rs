//! The environment as a value: captured once in `main`, handed to everything else.
//!
//! It also knows the `.env` rules: an earlier source is never overridden, and a `.env` of the
//! working directory can neither redirect the program nor change what it executes (cli.md §4).

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;

use crate::config::word::{LogLevel, Word};

/// Prefixes of names that a working directory's `.env` may never set, because they decide which
/// gateway, which secrets and which code this program uses.
const GUARDED_PREFIXES: [&str; 4] = ["DYLD_", "LD_", "NODE_", "OPENCLAW_GATEWAY_"];

/// Whole names guarded like [`GUARDED_PREFIXES`].
const GUARDED_NAMES: [&str; 12] = [
    "BASH_ENV",
    "ENV",
    "HOME",
    "OPENCLAW_ALLOW_INSECURE_PRIVATE_WS",
    "OPENCLAW_CONFIG_PATH",
    "OPENCLAW_HOME",
    "OPENCLAW_PROFILE",
    "OPENCLAW_STATE_DIR",
    "OPENCLAW_WRAPPER",
    "PATH",
    "Path",
    "TMPDIR",
];

/// Largest `.env` file that is read, in bytes.
const MAX_DOTENV_BYTES: u64 = 256 * 1024;

/// All environment variables of this run.
#[derive(Clone, Default)]
pub struct Environment {
    vars: BTreeMap<OsString, OsString>,
}

/// Who wrote a `.env` file, and so what it may say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DotenvOrigin {
    /// `<state>/.env`: the operator's own; may set everything that is not set yet.
    StateDir,
    /// `./.env`: any directory's; guarded names are skipped.
    WorkingDirectory,
}

/// What kind of service this process was started as (`OPENCLAW_SERVICE_KIND`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceKind {
    /// Started by the gateway's unit.
    Gateway,
    /// Started by the node host's unit.
    Node,
}

impl Environment {
    /// Reads the process environment. Called once, in `main`.
    pub fn capture() -> Self {
        Self {
            vars: std::env::vars_os().collect(),
        }
    }

    /// An environment of exactly these variables, for tests and for nested runs.
    pub fn from_pairs<K: Into<OsString>, V: Into<OsString>>(
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        Self {
            vars: pairs
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        }
    }

    /// The value as it stands; `None` when unset, empty or not UTF-8.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.vars
            .get(OsStr::new(name))?
            .to_str()
            .filter(|value| !value.is_empty())
    }

    /// The value trimmed; `None` when nothing remains. For settings, where blanks mean nothing.
    pub fn setting(&self, name: &str) -> Option<&str> {
        self.get(name)
            .map(str::trim)
            .filter(|value| !value.is_empty())
    }

    /// Whether the name is present at all, even empty.
    pub fn contains(&self, name: &str) -> bool {
        self.vars.contains_key(OsStr::new(name))
    }

    /// Every variable, in name order, for the environments of child processes.
    pub fn iter(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.vars
            .iter()
            .map(|(name, value)| (name.as_os_str(), value.as_os_str()))
    }

    /// Sets a variable for this run, as `gateway run --token` does.
    pub fn set(&mut self, name: &str, value: &str) {
        self.vars.insert(name.into(), value.into());
    }

    /// Sets a variable only where it is not present yet.
    pub fn set_missing(&mut self, name: &str, value: &str) {
        self.vars.entry(name.into()).or_insert_with(|| value.into());
    }

    /// Takes over what a `.env` file says, without overriding anything. A missing or unreadable file
    /// says nothing; a line that is not an assignment is skipped.
    pub fn read_dotenv(&mut self, file: &Path, origin: DotenvOrigin) {
        let small = std::fs::metadata(file)
            .is_ok_and(|found| found.is_file() && found.len() <= MAX_DOTENV_BYTES);
        let Some(text) = small.then(|| std::fs::read_to_string(file).ok()).flatten() else {
            return;
        };
        for (name, value) in text.lines().filter_map(assignment) {
            if origin == DotenvOrigin::StateDir || !is_guarded(name) {
                self.set_missing(name, &value);
            }
        }
    }
}

/// The variables that have a meaning of their own (cli.md §4).
impl Environment {
    /// `OPENCLAW_GATEWAY_URL`.
    pub fn gateway_url(&self) -> Option<&str> {
        self.setting("OPENCLAW_GATEWAY_URL")
    }

    /// `OPENCLAW_GATEWAY_TOKEN`; an unexpanded `${NAME}` counts as absent.
    pub fn gateway_token(&self) -> Option<&str> {
        self.credential("OPENCLAW_GATEWAY_TOKEN")
    }

    /// `OPENCLAW_GATEWAY_PASSWORD`; an unexpanded `${NAME}` counts as absent.
    pub fn gateway_password(&self) -> Option<&str> {
        self.credential("OPENCLAW_GATEWAY_PASSWORD")
    }

    /// `OPENCLAW_GATEWAY_PORT` in any of its four forms.
    ///
    /// # Errors
    /// The warning to show when it is set and is no port; the value is then to be ignored.
    pub fn gateway_port(&self) -> Result<Option<u16>, String> {
        let Some(value) = self.setting("OPENCLAW_GATEWAY_PORT") else {
            return Ok(None);
        };
        parse_port(value)
            .map(Some)
            .ok_or_else(|| format!("ignoring OPENCLAW_GATEWAY_PORT={value}: not a port"))
    }

    /// `OPENCLAW_ALLOW_INSECURE_PRIVATE_WS=1`: plaintext to private addresses is permitted.
    pub fn allow_insecure_private_ws(&self) -> bool {
        self.setting("OPENCLAW_ALLOW_INSECURE_PRIVATE_WS") == Some("1")
    }

    /// `OPENCLAW_HANDSHAKE_TIMEOUT_MS` in milliseconds, when it is a positive integer.
    pub fn handshake_timeout_ms(&self) -> Option<u64> {
        let milliseconds = self
            .setting("OPENCLAW_HANDSHAKE_TIMEOUT_MS")?
            .parse()
            .ok()?;
        (milliseconds > 0).then_some(milliseconds)
    }

    /// `OPENCLAW_MAX_PREAUTH_CONNECTIONS_PER_IP`, when it is a positive integer.
    pub fn max_preauth_per_ip(&self) -> Option<usize> {
        let limit = self.setting("OPENCLAW_MAX_PREAUTH_CONNECTIONS_PER_IP")?;
        limit.parse().ok().filter(|&limit| limit > 0)
    }

    /// `OPENCLAW_LOG_LEVEL`.
    ///
    /// # Errors
    /// The warning to show when it is set and is no level; the value is then to be ignored.
    pub fn log_level(&self) -> Result<Option<LogLevel>, String> {
        let Some(value) = self.setting("OPENCLAW_LOG_LEVEL") else {
            return Ok(None);
        };
        LogLevel::parse(value)
            .map(Some)
            .ok_or_else(|| format!("ignoring OPENCLAW_LOG_LEVEL={value}: not a level"))
    }

    /// `OPENCLAW_SERVICE_KIND`.
    pub fn service_kind(&self) -> Option<ServiceKind> {
        match self.setting("OPENCLAW_SERVICE_KIND")? {
            "gateway" => Some(ServiceKind::Gateway),
            "node" => Some(ServiceKind::Node),
            _ => None,
        }
    }

    /// Whether systemd started this process: it then wants exit code 78 instead of a restart loop.
    pub fn under_systemd(&self) -> bool {
        self.get("INVOCATION_ID").is_some() || self.get("OPENCLAW_SYSTEMD_UNIT").is_some()
    }

    /// `OPENCLAW_ALLOW_MULTI_GATEWAY=1`: no lock on the configuration.
    pub fn allow_multi_gateway(&self) -> bool {
        self.setting("OPENCLAW_ALLOW_MULTI_GATEWAY") == Some("1")
    }

    /// `NO_COLOR`: any non-empty value.
    pub fn no_color(&self) -> bool {
        self.get("NO_COLOR").is_some()
    }

    /// `FORCE_COLOR`: non-empty and not `0`.
    pub fn force_color(&self) -> bool {
        self.get("FORCE_COLOR").is_some_and(|value| value != "0")
    }

    /// `COLUMNS`: the terminal's width, when it is a positive number.
    pub fn columns(&self) -> Option<usize> {
        self.setting("COLUMNS")?
            .parse()
            .ok()
            .filter(|&columns| columns > 0)
    }

    /// Names of variables of the program's former names, which are ignored and deserve one warning.
    pub fn former_names(&self) -> Vec<&str> {
        self.vars
            .keys()
            .filter_map(|name| name.to_str())
            .filter(|name| name.starts_with("CLAWDBOT_") || name.starts_with("MOLTBOT_"))
            .collect()
    }

    fn credential(&self, name: &str) -> Option<&str> {
        self.setting(name).filter(|value| !is_unexpanded(value))
    }
}

impl std::fmt::Debug for Environment {
    /// Names only: values may be secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.vars.keys()).finish()
    }
}

/// A value that is still the text `${NAME}`: somebody's template was never filled in.
pub fn is_unexpanded(value: &str) -> bool {
    value
        .strip_prefix("${")
        .and_then(|rest| rest.strip_suffix('}'))
        .is_some_and(|name| {
            !name.is_empty()
                && name
                    .bytes()
                    .all(|byte| byte == b'_' || byte.is_ascii_alphanumeric())
        })
}

/// `18789`, `:18789`, `127.0.0.1:18789` or `[::1]:18789`.
fn parse_port(value: &str) -> Option<u16> {
    let (host, port) = value.rsplit_once(':').unwrap_or(("", value));
    let bare_ipv6 = host.contains(':') && !(host.starts_with('[') && host.ends_with(']'));
    if bare_ipv6 || !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    port.parse().ok().filter(|&port| port > 0)
}

fn is_guarded(name: &str) -> bool {
    GUARDED_NAMES.contains(&name)
        || GUARDED_PREFIXES
            .iter()
            .any(|prefix| name.starts_with(prefix))
}

/// `NAME=value`, optionally after `export `; quotes are taken off, ` #` ends an unquoted value.
fn assignment(line: &str) -> Option<(&str, String)> {
    let line = line.trim();
    let (name, value) = line
        .strip_prefix("export ")
        .unwrap_or(line)
        .split_once('=')?;
    let name = name.trim();
    let valid = !name.is_empty()
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && name
            .bytes()
            .all(|byte| byte == b'_' || byte.is_ascii_alphanumeric());
    valid.then(|| (name, unquoted(value.trim())))
}

fn unquoted(value: &str) -> String {
    for quote in ['"', '\'', '`'] {
        let inner = value
            .strip_prefix(quote)
            .and_then(|rest| rest.split_once(quote));
        if let Some((inner, _)) = inner {
            return if quote == '"' {
                inner.replace("\\n", "\n")
            } else {
                inner.to_owned()
            };
        }
    }
    let comment = value.find(" #").unwrap_or(value.len());
    value[..comment].trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_has_four_forms() {
        let cases = [
            ("18789", Some(18_789)),
            (":18789", Some(18_789)),
            ("127.0.0.1:18789", Some(18_789)),
            ("[::1]:18789", Some(18_789)),
            (" 19001 ", Some(19_001)),
            ("0", None),
            ("65536", None),
            ("+1", None),
            ("::1:18789", None),
            ("18789:", None),
            ("abc", None),
        ];
        for (value, port) in cases {
            let found = Environment::from_pairs([("OPENCLAW_GATEWAY_PORT", value)]).gateway_port();
            assert_eq!(found.clone().ok().flatten(), port, "{value}");
            assert_eq!(found.is_err(), port.is_none(), "{value} must warn");
        }
        assert_eq!(Environment::default().gateway_port(), Ok(None));
    }

    #[test]
    fn credentials_are_trimmed_and_templates_are_absent() {
        for (value, expected) in [
            (" tok ", Some("tok")),
            ("  ", None),
            ("${TOK}", None),
            ("a${TOK}", Some("a${TOK}")),
        ] {
            let environment = Environment::from_pairs([("OPENCLAW_GATEWAY_TOKEN", value)]);
            assert_eq!(environment.gateway_token(), expected, "{value}");
        }
    }

    #[test]
    fn levels_and_flags() {
        let environment = Environment::from_pairs([
            ("OPENCLAW_LOG_LEVEL", "loud"),
            ("OPENCLAW_HANDSHAKE_TIMEOUT_MS", "250"),
            ("OPENCLAW_SERVICE_KIND", "gateway"),
            ("FORCE_COLOR", "0"),
            ("NO_COLOR", ""),
            ("COLUMNS", "80"),
            ("CLAWDBOT_TOKEN", "x"),
        ]);
        assert!(environment.log_level().is_err());
        assert_eq!(environment.handshake_timeout_ms(), Some(250));
        assert_eq!(environment.service_kind(), Some(ServiceKind::Gateway));
        assert!(!environment.force_color() && !environment.no_color());
        assert_eq!(environment.columns(), Some(80));
        assert_eq!(environment.former_names(), ["CLAWDBOT_TOKEN"]);
        assert!(!format!("{environment:?}").contains("gateway"));
    }

    #[test]
    fn dotenv_never_overrides_and_a_foreign_one_never_redirects() {
        let lines = [
            ("A=1", Some(("A", "1"))),
            ("export B = \"two words\" # note", Some(("B", "two words"))),
            ("C='x#y'", Some(("C", "x#y"))),
            ("D=x # note", Some(("D", "x"))),
            ("E=\"a\\nb\"", Some(("E", "a\nb"))),
            ("# F=1", None),
            ("9=1", None),
            ("nothing", None),
        ];
        for (line, expected) in lines {
            let found = assignment(line);
            assert_eq!(
                found.as_ref().map(|(name, value)| (*name, value.as_str())),
                expected,
                "{line}"
            );
        }
        for name in [
            "OPENCLAW_GATEWAY_URL",
            "OPENCLAW_STATE_DIR",
            "PATH",
            "LD_PRELOAD",
            "OPENCLAW_CONFIG_PATH",
        ] {
            assert!(is_guarded(name), "{name}");
        }
        assert!(!is_guarded("OPENCLAW_LOG_LEVEL"));
    }
}
