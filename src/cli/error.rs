//! Everything that can go wrong for a person at the command line, with its text, machine code and exit code.
//!
//! Display is the message part that scripts match; what precedes it (`nodes approve failed: `) is added once, in
//! `cli::run`.

use std::fmt;
use std::path::PathBuf;

use serde_json::{Map, Value, json};

use crate::cli::answer::FAILURE;
use crate::cli::output::time::DurationFault;
use crate::client::{ClientError, ResolveError, UrlSource};
use crate::config::ConfigError;
use crate::protocol::error::ErrorCode;
use crate::protocol::scope::Scope;
use crate::store::StoreError;

/// A command that did not succeed.
#[derive(Debug)]
pub enum CliError {
    /// The gateway could not be reached or refused.
    Client(Box<GatewayFailure>),
    /// Paths or configuration.
    Config(ConfigError),
    /// Something with a code of its own; see [`Failed`].
    Failed(Box<Failed>),
    /// A step that cannot be taken back was not confirmed; the text is complete.
    NotConfirmed(&'static str),
    /// The state directory.
    Store(StoreError),
    /// Typed wrongly; nothing was done.
    Usage(Usage),
}

/// A client error and where it happened.
#[derive(Debug)]
pub struct GatewayFailure {
    /// What happened.
    pub error: ClientError,
    /// The target that was tried, `None` when none was found.
    pub target: Option<Target>,
    /// The process that holds the state directory although nothing answers at the target.
    pub holder: Option<u32>,
}

/// Where a command tried to connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The URL.
    pub url: String,
    /// Who named it.
    pub source: UrlSource,
    /// The configuration file.
    pub config: PathBuf,
    /// `gateway.bind`, for the local gateway.
    pub bind: Option<String>,
}

/// A failure described by its parts.
#[derive(Debug, Clone, PartialEq)]
pub struct Failed {
    /// The gateway's error code, or one of cli.md §1.4.
    pub code: String,
    /// The message scripts match.
    pub message: String,
    /// What to do next, one sentence or command per line.
    pub hint: Option<String>,
    /// Machine readable details; an object.
    pub details: Value,
    /// Exit code, never 0.
    pub exit: u8,
    /// What had been done before it failed; its keys stand beside `error` in the document.
    pub partial: Option<Map<String, Value>>,
}

/// What was typed wrongly. Display is the complete text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Usage {
    /// A value outside a closed list: option name and the list.
    BadChoice(&'static str, &'static [&'static str]),
    /// A duration that cannot be read: option name and fault.
    BadDuration(&'static str, DurationFault),
    /// Not whole milliseconds above zero: option as in help, and what was given.
    BadMilliseconds(String, String),
    /// Not a port.
    BadPort,
    /// An option that must not be empty was.
    Empty(&'static str),
    /// A required argument is missing.
    MissingArgument(&'static str),
    /// A required option is missing: option as in help.
    MissingOption(String),
    /// An option that needs a value got none: option as in help.
    MissingValue(String),
    /// An argument is not UTF-8.
    NotText,
    /// A rule of one command; the text is complete.
    Rule(String),
    /// More arguments than the command takes: command, expected, given.
    TooMany(&'static str, usize, usize),
    /// A subcommand that does not exist, and the nearest that does.
    UnknownCommand(String, Option<String>),
    /// An option that does not exist here, and the nearest that does.
    UnknownOption(String, Option<String>),
    /// A switch was given a value.
    UnwantedValue(&'static str),
}

impl CliError {
    /// A failure with exit code 1 and no details.
    pub fn failed(code: &str, message: impl Into<String>) -> CliError {
        CliError::Failed(Box::new(Failed::new(code, message)))
    }

    /// A rule of one command that was broken before anything was done.
    pub fn rule(text: impl Into<String>) -> CliError {
        CliError::Usage(Usage::Rule(text.into()))
    }

    /// The exit code, never 0.
    pub fn exit(&self) -> u8 {
        match self {
            CliError::Failed(failed) => failed.exit,
            _ => FAILURE,
        }
    }

    /// Whether the text is complete without the command's name before it.
    pub fn stands_alone(&self) -> bool {
        matches!(
            self,
            CliError::Config(_) | CliError::NotConfirmed(_) | CliError::Usage(_)
        )
    }

    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        match self {
            CliError::Client(failure) => failure.hint(),
            CliError::Failed(failed) => failed.hint.clone(),
            CliError::Config(_)
            | CliError::NotConfirmed(_)
            | CliError::Store(_)
            | CliError::Usage(_) => None,
        }
    }

    /// The scope a gateway or the pairing rules found missing.
    pub fn missing_scope(&self) -> Option<Scope> {
        let message = match self {
            CliError::Client(failure) => failure.error.shape()?.message.as_str(),
            CliError::Failed(failed) => failed.message.as_str(),
            _ => return None,
        };
        // The wire tells it in no other way.
        message.strip_prefix("missing scope: ").map(Scope::from)
    }

    /// The same error, naming the process that holds the state directory meanwhile.
    pub fn held_by(mut self, pid: Option<u32>) -> CliError {
        if let CliError::Client(failure) = &mut self {
            failure.holder = pid;
        }
        self
    }

    /// The gateway's detail code of a refusal.
    pub fn detail_code(&self) -> Option<&str> {
        match self {
            CliError::Client(failure) => failure.error.detail_code(),
            _ => None,
        }
    }

    /// Machine code and details.
    fn machine(&self) -> (String, Value) {
        match self {
            CliError::Client(failure) => failure.machine(),
            CliError::Config(ConfigError::Invalid { path, issues }) => {
                let issues: Vec<Value> = issues
                    .iter()
                    .map(|issue| json!({"path": issue.path, "message": issue.message}))
                    .collect();
                (
                    "CONFIG_INVALID".to_owned(),
                    json!({"path": path, "issues": issues}),
                )
            }
            CliError::Config(ConfigError::Profile(_)) => ("USAGE".to_owned(), json!({})),
            CliError::Config(_) => ("CONFIG_INVALID".to_owned(), json!({})),
            CliError::Failed(failed) => (failed.code.clone(), failed.details.clone()),
            CliError::NotConfirmed(_) => ("NOT_CONFIRMED".to_owned(), json!({})),
            CliError::Store(StoreError::Locked { pid, .. }) => {
                ("UNAVAILABLE".to_owned(), json!({"pid": pid}))
            }
            CliError::Store(_) => ("UNAVAILABLE".to_owned(), json!({})),
            CliError::Usage(_) => ("USAGE".to_owned(), json!({})),
        }
    }

    /// The document of the `--json` contract: `{"ok":false,…,"error":{code,message,hint?,details}}`.
    pub fn document(&self) -> Value {
        let (code, details) = self.machine();
        let mut error = Map::new();
        error.insert("code".to_owned(), json!(code));
        error.insert("message".to_owned(), json!(self.message()));
        if let Some(hint) = self.hint() {
            error.insert("hint".to_owned(), json!(hint));
        }
        error.insert("details".to_owned(), details);
        let mut document = Map::new();
        document.insert("ok".to_owned(), json!(false));
        if let CliError::Failed(failed) = self {
            document.extend(failed.partial.clone().unwrap_or_default());
        }
        document.insert("error".to_owned(), Value::Object(error));
        Value::Object(document)
    }

    /// The message alone: without the `error: ` that usage texts start with.
    fn message(&self) -> String {
        let text = match self {
            CliError::Client(failure) => failure.error.to_string(),
            _ => self.to_string(),
        };
        match text.strip_prefix("error: ") {
            Some(rest) => rest.to_owned(),
            None => text,
        }
    }
}

impl Failed {
    /// A failure with exit code 1, no hint and no details.
    pub fn new(code: &str, message: impl Into<String>) -> Failed {
        Failed {
            code: code.to_owned(),
            message: message.into(),
            hint: None,
            details: json!({}),
            exit: FAILURE,
            partial: None,
        }
    }
}

impl GatewayFailure {
    /// An error at a target.
    pub fn at(error: ClientError, target: &Target) -> GatewayFailure {
        GatewayFailure {
            error,
            target: Some(target.clone()),
            holder: None,
        }
    }

    /// An error before there was a target.
    pub fn nowhere(error: ClientError) -> GatewayFailure {
        GatewayFailure {
            error,
            target: None,
            holder: None,
        }
    }

    /// Whether the gateway itself could not do it just now.
    pub fn is_unavailable(&self) -> bool {
        let code = self.error.shape().map(|shape| &shape.code);
        code == Some(&ErrorCode::Unavailable)
    }

    fn hint(&self) -> Option<String> {
        let held = self.holder.map(|pid| {
            format!("Process {pid} holds the state directory but does not answer there; is it on another port?")
        });
        held.or_else(|| self.error.hint())
    }

    /// Machine code and details of cli.md §1.4.
    fn machine(&self) -> (String, Value) {
        let (code, mut details) = match &self.error {
            ClientError::Closed { code, reason } => (
                "GATEWAY_CLOSED",
                json!({"closeCode": code, "reason": reason}),
            ),
            ClientError::PairingRequired(_) | ClientError::Rejected(_) => {
                let shape = self.error.shape();
                let code = shape.map_or("UNAVAILABLE", |shape| shape.code.as_str());
                let details = shape.and_then(|shape| shape.details.as_deref().cloned());
                return (code.to_owned(), details.unwrap_or_else(|| json!({})));
            }
            ClientError::Resolve(
                ResolveError::CredentialsMissing { .. } | ResolveError::SecretUnavailable { .. },
            ) => ("CREDENTIALS_MISSING", json!({})),
            ClientError::Resolve(_) => ("CONFIG_INVALID", json!({})),
            ClientError::Timeout(_) => ("GATEWAY_TIMEOUT", json!({})),
            ClientError::NotGateway(_)
            | ClientError::Plaintext { .. }
            | ClientError::TlsUnavailable(_)
            | ClientError::Unreachable { .. }
            | ClientError::Unresolvable { .. } => ("GATEWAY_UNREACHABLE", json!({})),
        };
        if let (Some(target), Some(details)) = (&self.target, details.as_object_mut()) {
            details.insert("url".to_owned(), json!(target.url));
            details.insert("source".to_owned(), json!(target.source.to_string()));
        }
        (code.to_owned(), details)
    }
}

impl fmt::Display for GatewayFailure {
    /// The error; after a transport failure the lines of where it tried.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(out)?;
        let transport = matches!(
            self.error,
            ClientError::Closed { .. }
                | ClientError::NotGateway(_)
                | ClientError::Timeout(_)
                | ClientError::Unreachable { .. }
                | ClientError::Unresolvable { .. }
        );
        let Some(target) = self.target.as_ref().filter(|_| transport) else {
            return Ok(());
        };
        write!(
            out,
            "\nGateway target: {}\nSource: {}\nConfig: {}",
            target.url,
            target.source,
            target.config.display()
        )?;
        match &target.bind {
            Some(bind) => write!(out, "\nBind: {bind}"),
            None => Ok(()),
        }
    }
}

impl From<GatewayFailure> for CliError {
    fn from(failure: GatewayFailure) -> CliError {
        CliError::Client(Box::new(failure))
    }
}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> CliError {
        CliError::Config(error)
    }
}

impl From<StoreError> for CliError {
    fn from(error: StoreError) -> CliError {
        CliError::Store(error)
    }
}

impl From<CliError> for Failed {
    /// The parts of any error, to add what more is known.
    fn from(error: CliError) -> Failed {
        let (code, details) = error.machine();
        match error {
            CliError::Failed(failed) => *failed,
            error => Failed {
                code,
                message: error.to_string(),
                hint: error.hint(),
                details,
                exit: error.exit(),
                partial: None,
            },
        }
    }
}

impl From<Usage> for CliError {
    fn from(usage: Usage) -> CliError {
        CliError::Usage(usage)
    }
}

impl From<Failed> for CliError {
    fn from(failed: Failed) -> CliError {
        CliError::Failed(Box::new(failed))
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CliError::Client(failure) => failure.fmt(out),
            CliError::Config(error) => error.fmt(out),
            CliError::Failed(failed) => out.write_str(&failed.message),
            CliError::NotConfirmed(text) => out.write_str(text),
            CliError::Store(error) => error.fmt(out),
            CliError::Usage(usage) => usage.fmt(out),
        }
    }
}

impl std::error::Error for CliError {}

impl fmt::Display for Usage {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Usage::BadChoice(name, words) => {
                write!(out, "Invalid --{name} (use {})", listed(words))
            }
            Usage::BadDuration(name, fault) => write!(out, "Invalid --{name}: {fault}"),
            Usage::BadMilliseconds(option, value) => write!(
                out,
                "error: option '{option}' argument '{value}' is invalid. Expected whole milliseconds above 0."
            ),
            Usage::BadPort => write!(out, "Invalid port"),
            Usage::Empty(name) => write!(out, "error: --{name} required"),
            Usage::MissingArgument(name) => {
                write!(out, "error: missing required argument '{name}'")
            }
            Usage::MissingOption(option) => {
                write!(out, "error: required option '{option}' not specified")
            }
            Usage::MissingValue(option) => write!(out, "error: option '{option}' argument missing"),
            Usage::NotText => write!(out, "error: an argument is not valid UTF-8"),
            Usage::Rule(text) => out.write_str(text),
            Usage::TooMany(command, expected, given) => write!(
                out,
                "error: too many arguments for '{command}'. Expected {expected} argument{} but got {given}.",
                if *expected == 1 { "" } else { "s" }
            ),
            Usage::UnknownCommand(word, near) => {
                write!(
                    out,
                    "error: unknown command '{word}'{}",
                    meant(near.as_deref())
                )
            }
            Usage::UnknownOption(option, near) => {
                write!(
                    out,
                    "error: unknown option '{option}'{}",
                    meant(near.as_deref())
                )
            }
            Usage::UnwantedValue(name) => {
                write!(out, "error: option '--{name}' does not take a value")
            }
        }
    }
}

fn meant(near: Option<&str>) -> String {
    near.map_or_else(String::new, |word| format!("\n(Did you mean {word}?)"))
}

/// `"a", "b", or "c"`.
fn listed(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    match quoted.as_slice() {
        [] => String::new(),
        [only] => only.clone(),
        [first, second] => format!("{first} or {second}"),
        [first @ .., last] => format!("{}, or {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_texts() {
        for (usage, expected) in [
            (
                Usage::BadChoice("bind", &["loopback", "lan", "custom"]),
                "Invalid --bind (use \"loopback\", \"lan\", or \"custom\")",
            ),
            (
                Usage::BadChoice("runtime", &["node", "bun"]),
                "Invalid --runtime (use \"node\" or \"bun\")",
            ),
            (
                Usage::BadDuration("last-connected", DurationFault::Empty),
                "Invalid --last-connected: invalid duration (empty)",
            ),
            (
                Usage::TooMany("list", 0, 1),
                "error: too many arguments for 'list'. Expected 0 arguments but got 1.",
            ),
            (
                Usage::UnknownCommand("lst".to_owned(), Some("list".to_owned())),
                "error: unknown command 'lst'\n(Did you mean list?)",
            ),
            (
                Usage::UnknownOption("--bogus".to_owned(), None),
                "error: unknown option '--bogus'",
            ),
        ] {
            assert_eq!(usage.to_string(), expected);
        }
    }

    #[test]
    fn documents() {
        let usage = CliError::from(Usage::Empty("node"));
        assert_eq!(
            usage.document(),
            json!({"ok":false,"error":{"code":"USAGE","message":"--node required","details":{}}})
        );
        let mut failed = Failed::new("INVALID_REQUEST", "unknown requestId");
        failed.hint = Some("Run: openclaw nodes pending".to_owned());
        let mut partial = Map::new();
        partial.insert("removedDevices".to_owned(), json!(["a"]));
        failed.partial = Some(partial);
        assert_eq!(
            CliError::from(failed).document(),
            json!({"ok":false,"removedDevices":["a"],"error":{"code":"INVALID_REQUEST","message":"unknown requestId",
                "hint":"Run: openclaw nodes pending","details":{}}})
        );
    }
}
