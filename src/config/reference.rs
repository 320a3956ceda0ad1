//! References to secrets: what a source is, and asking it for the value (cli.md §3.2).
//!
//! Errors are full sentences and never hold the value.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::config::environment::Environment;
use crate::config::source;

/// The provider that exists without configuration: the environment.
const DEFAULT_PROVIDER: &str = "default";

/// The id that means "the whole file" for files holding one value.
pub const SINGLE_VALUE_ID: &str = "value";

/// Largest secret file by default, in bytes.
const MAX_SECRET_FILE_BYTES: u64 = 1024 * 1024;

/// Permission bits of group and others.
const FOREIGN_ACCESS: u32 = 0o077;

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

/// The files that secret providers read.
pub fn files(providers: Option<&Value>, environment: &Environment) -> Vec<PathBuf> {
    let all = providers.and_then(Value::as_object);
    let providers = all.into_iter().flat_map(|all| all.values());
    let text = |provider: &Value, key| provider.get(key).and_then(Value::as_str).map(str::to_owned);
    providers
        .filter(|provider| text(provider, "source").as_deref() == Some(Source::File.as_str()))
        .filter_map(|provider| text(provider, "path"))
        .map(|path| expand_home(&path, environment))
        .collect()
}

/// Why a variable gives no secret.
pub fn missing_variable(name: &str) -> String {
    format!("Environment variable \"{name}\" is missing or empty.")
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
