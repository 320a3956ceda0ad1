//! Where a credential comes from: plain text, `${NAME}`, or a reference to a source (cli.md §3.2).
//!
//! A reference that cannot be resolved is `Unavailable` and stays so: whoever asks for the credential
//! must fail closed, never fall through to a weaker source. Values never reach logs or errors.

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::config::environment::{Environment, is_unexpanded};
use crate::config::error::Issue;
use crate::config::expand::Missing;
use crate::config::kind::{check_members, expect};
use crate::config::path::join;
use crate::config::source;

/// The paths that may hold a secret or a reference to one.
pub const SECRET_PATHS: [&str; 4] = [
    "gateway.auth.password",
    "gateway.auth.token",
    "gateway.remote.password",
    "gateway.remote.token",
];

/// The provider that exists without configuration: the environment.
const DEFAULT_PROVIDER: &str = "default";

/// The id that means "the whole file" for files holding one value.
const SINGLE_VALUE_ID: &str = "value";

/// Largest secret file by default, in bytes.
const MAX_SECRET_FILE_BYTES: u64 = 1024 * 1024;

/// Permission bits of group and others.
const FOREIGN_ACCESS: u32 = 0o077;

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

/// A parsed `{source, provider, id}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// `env`, `file` or `exec`.
    pub source: Source,
    /// Alias under `secrets.providers`.
    pub provider: String,
    /// What the source is asked for.
    pub id: String,
}

/// The kinds of sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// An environment variable.
    Env,
    /// A command's output; parsed, not run by this program.
    Exec,
    /// A file of one value, or a JSON file.
    File,
}

impl Source {
    /// The word of the configuration file.
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "env" => Self::Env,
            "exec" => Self::Exec,
            "file" => Self::File,
            _ => return None,
        })
    }

    /// The word of the configuration file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Env => "env",
            Self::Exec => "exec",
            Self::File => "file",
        }
    }
}

impl Reference {
    /// Reads a reference that was checked before; `None` when it is not one.
    pub fn parse(value: &Value) -> Option<Self> {
        let text = |key| value.get(key).and_then(Value::as_str);
        Some(Self {
            source: Source::parse(text("source")?)?,
            provider: text("provider")?.to_owned(),
            id: text("id")?.to_owned(),
        })
    }

    /// Asks the source for the value.
    ///
    /// # Errors
    /// Why there is none, as a full sentence without the value.
    pub fn resolve(
        &self,
        providers: Option<&Value>,
        environment: &Environment,
    ) -> Result<String, String> {
        let provider = providers.and_then(|all| all.get(&self.provider));
        let Some(provider) = provider else {
            return if self.provider == DEFAULT_PROVIDER && self.source == Source::Env {
                self.ask_environment(None, environment)
            } else {
                Err(format!(
                    "Secret provider \"{}\" is not configured.",
                    self.provider
                ))
            };
        };
        let configured = provider
            .get("source")
            .and_then(Value::as_str)
            .unwrap_or_default();
        if configured != self.source.as_str() {
            return Err(format!(
                "Secret provider \"{}\" has source \"{configured}\" but the reference asks for \"{}\".",
                self.provider,
                self.source.as_str()
            ));
        }
        match self.source {
            Source::Env => self.ask_environment(provider.get("allowlist"), environment),
            Source::Exec => Err(format!(
                "Secret provider \"{}\" runs a command, which this program does not do; use env or file.",
                self.provider
            )),
            Source::File => self.ask_file(provider, environment),
        }
    }

    fn ask_environment(
        &self,
        allowlist: Option<&Value>,
        environment: &Environment,
    ) -> Result<String, String> {
        let listed = |list: &Value| {
            let items = list.as_array().map(Vec::as_slice).unwrap_or_default();
            items.iter().any(|name| name.as_str() == Some(&self.id))
        };
        if allowlist.is_some_and(|list| !listed(list)) {
            return Err(format!(
                "Environment variable \"{}\" is not in the allowlist of secret provider \"{}\".",
                self.id, self.provider
            ));
        }
        environment
            .setting(&self.id)
            .map(str::to_owned)
            .ok_or_else(|| missing_variable(&self.id))
    }

    fn ask_file(&self, provider: &Value, environment: &Environment) -> Result<String, String> {
        let written = provider
            .get("path")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let path = expand_home(written, environment);
        let shown = path.display();
        let insecure_allowed =
            provider.get("allowInsecurePath").and_then(Value::as_bool) == Some(true);
        let limit = provider
            .get("maxBytes")
            .and_then(Value::as_u64)
            .unwrap_or(MAX_SECRET_FILE_BYTES);
        check_file(&path, insecure_allowed, limit)?;
        let bytes = std::fs::read(&path)
            .map_err(|cause| format!("Cannot read secret file {shown}: {cause}."))?;
        let text =
            String::from_utf8(bytes).map_err(|_| format!("Secret file {shown} is not UTF-8."))?;
        let single = provider.get("mode").and_then(Value::as_str) == Some("singleValue");
        let value = if single {
            (self.id == SINGLE_VALUE_ID)
                .then(|| text.trim().to_owned())
                .ok_or_else(|| {
                    format!("Secret file {shown} holds one value: its id is \"{SINGLE_VALUE_ID}\".")
                })?
        } else {
            let document = source::parse_value(&text)
                .map_err(|fault| format!("Secret file {shown}: {fault}."))?;
            let found = document
                .pointer(&self.id)
                .and_then(Value::as_str)
                .map(str::trim);
            found
                .map(str::to_owned)
                .ok_or_else(|| format!("Secret file {shown} has no text at {}.", self.id))?
        };
        if value.is_empty() {
            return Err(format!("Secret file {shown} holds an empty value."));
        }
        Ok(value)
    }
}

/// Issues of a value at a secret's path: a text, or a strict reference.
pub fn check_input(path: &str, value: &Value, issues: &mut Vec<Issue>) {
    let Some(members) = value.as_object() else {
        issues.extend(expect(
            path,
            value,
            "string or secret reference",
            value.is_string(),
        ));
        return;
    };
    check_members(path, members, &["source", "provider", "id"], issues);
    let mut text = |key: &str| match members.get(key) {
        Some(Value::String(text)) => Some(text.as_str()),
        Some(other) => {
            issues.extend(expect(&join(path, key), other, "string", false));
            None
        }
        None => {
            issues.push(Issue::new(
                &join(path, key),
                "Invalid input: expected string, received undefined",
            ));
            None
        }
    };
    let (source, provider, id) = (text("source"), text("provider"), text("id"));
    if provider.is_some_and(|provider| !is_provider_name(provider)) {
        issues.push(Issue::new(
            &join(path, "provider"),
            "Invalid secret provider name",
        ));
    }
    match (source.map(Source::parse), id) {
        (Some(Some(source)), Some(id)) if !is_valid_id(source, id) => {
            let message = format!("Invalid secret id for source \"{}\"", source.as_str());
            issues.push(Issue::new(&join(path, "id"), message));
        }
        (Some(None), _) => issues.push(source_issue(&join(path, "source"))),
        _ => {}
    }
}

/// Issues of one `secrets.providers.<alias>`.
pub fn check_provider(path: &str, value: &Value, issues: &mut Vec<Issue>) {
    let Some(members) = value.as_object() else {
        issues.extend(expect(path, value, "object", false));
        return;
    };
    let alias = path.rsplit('.').next().unwrap_or(path);
    if !is_provider_name(alias) {
        issues.push(Issue::new(path, "Invalid secret provider name"));
    }
    let text = |key| members.get(key).and_then(Value::as_str);
    match text("source").and_then(Source::parse) {
        Some(Source::Env) => check_members(path, members, &["source", "allowlist"], issues),
        Some(Source::File) => {
            let known = [
                "source",
                "path",
                "mode",
                "timeoutMs",
                "maxBytes",
                "allowInsecurePath",
            ];
            check_members(path, members, &known, issues);
            if text("path").is_none_or(str::is_empty) {
                issues.push(Issue::new(
                    &join(path, "path"),
                    "Invalid input: expected a file path",
                ));
            }
            if !matches!(text("mode"), Some("json" | "singleValue")) && members.contains_key("mode")
            {
                let message = "Invalid input (allowed: \"json\", \"singleValue\")";
                issues.push(Issue {
                    allowed: vec!["json", "singleValue"],
                    ..Issue::new(&join(path, "mode"), message)
                });
            }
        }
        Some(Source::Exec) => {
            let known = [
                "source",
                "command",
                "args",
                "timeoutMs",
                "noOutputTimeoutMs",
                "maxOutputBytes",
                "jsonOnly",
                "env",
                "passEnv",
                "trustedDirs",
                "allowSymlinkCommand",
                "allowInsecurePath",
            ];
            check_members(path, members, &known, issues);
            if !text("command").is_some_and(|command| command.starts_with('/')) {
                issues.push(Issue::new(
                    &join(path, "command"),
                    "Invalid input: expected an absolute path",
                ));
            }
        }
        None => issues.push(source_issue(&join(path, "source"))),
    }
}

fn source_issue(path: &str) -> Issue {
    Issue {
        allowed: vec!["env", "file", "exec"],
        ..Issue::new(path, "Invalid input (allowed: \"env\", \"file\", \"exec\")")
    }
}

fn missing_variable(name: &str) -> String {
    format!("Environment variable \"{name}\" is missing or empty.")
}

fn is_provider_name(name: &str) -> bool {
    let rest = |byte: u8| {
        matches!(byte, b'_' | b'-') || byte.is_ascii_lowercase() || byte.is_ascii_digit()
    };
    name.len() <= 64
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(rest)
}

fn is_valid_id(source: Source, id: &str) -> bool {
    match source {
        Source::Env => {
            let rest =
                |byte: u8| byte == b'_' || byte.is_ascii_uppercase() || byte.is_ascii_digit();
            id.len() <= 128
                && id.starts_with(|first: char| first.is_ascii_uppercase())
                && id.bytes().all(rest)
        }
        Source::Exec => {
            let rest = |byte: u8| byte.is_ascii_alphanumeric() || b"._:/-".contains(&byte);
            id.len() <= 256
                && id.starts_with(|first: char| first.is_ascii_alphanumeric())
                && id.bytes().all(rest)
                && !id.split('/').any(|segment| matches!(segment, "." | ".."))
        }
        Source::File => id == SINGLE_VALUE_ID || (id.starts_with('/') && id.len() > 1),
    }
}

/// The file must be small, the user's own, and closed to everybody else.
fn check_file(path: &Path, insecure_allowed: bool, limit: u64) -> Result<(), String> {
    let shown = path.display();
    let found = std::fs::metadata(path)
        .map_err(|cause| format!("Cannot read secret file {shown}: {cause}."))?;
    if !found.is_file() {
        return Err(format!("Secret file {shown} is not a regular file."));
    }
    if found.len() > limit {
        return Err(format!("Secret file {shown} is larger than {limit} bytes."));
    }
    if insecure_allowed {
        return Ok(());
    }
    if found.uid() != rustix::process::geteuid().as_raw() {
        return Err(format!("Secret file {shown} does not belong to this user."));
    }
    if found.mode() & FOREIGN_ACCESS != 0 {
        return Err(format!(
            "Secret file {shown} is open to other users: run chmod 600 {shown}."
        ));
    }
    Ok(())
}

fn expand_home(path: &str, environment: &Environment) -> PathBuf {
    match (path.strip_prefix("~/"), environment.setting("HOME")) {
        (Some(rest), Some(home)) => Path::new(home).join(rest),
        _ => PathBuf::from(path),
    }
}
