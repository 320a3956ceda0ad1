//! Everything that can go wrong for a person at the command line, with its text, machine code and exit code.
//!
//! Display is the message part that scripts match; what precedes it (`nodes approve failed: `) is added once, in
//! `cli::run`.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, ErrorKind};
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::cli::answer::FAILURE;
pub use crate::cli::gateway_failure::{GatewayFailure, Target};
pub use crate::cli::usage::Usage;
use crate::client::UrlSource;
use crate::config::ConfigError;
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
    NotConfirmed(Cow<'static, str>),
    /// The state directory.
    Store(StoreError),
    /// Typed wrongly; nothing was done.
    Usage(Usage),
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

impl CliError {
    /// A failure with exit code 1 and no details.
    pub fn failed(code: &str, message: impl Into<String>) -> CliError {
        CliError::Failed(Box::new(Failed::new(code, message)))
    }

    /// A gateway that does not list the method that a command needs.
    pub fn unknown_method(method: &str) -> CliError {
        let message =
            format!("this gateway does not know {method}: it is another program or an older one");
        CliError::failed("UNAVAILABLE", message)
    }

    /// A file that was named and cannot be read.
    pub fn unopened(path: &Path, fault: &io::Error) -> CliError {
        let path = path.display();
        let message = match fault.kind() {
            // The words that scripts know.
            ErrorKind::NotFound => format!("ENOENT: no such file or directory, open '{path}'"),
            _ => format!("cannot read '{path}': {fault}"),
        };
        CliError::failed("USAGE", message)
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

    /// Whether it happened at a gateway that may be another machine's.
    pub fn is_elsewhere(&self) -> bool {
        let CliError::Client(failure) = self else {
            return false;
        };
        let target = failure.target.as_ref();
        target.is_some_and(|target| target.source != UrlSource::Local)
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

    /// The same error with its message in other words.
    pub fn reworded(self, words: impl FnOnce(&str) -> String) -> CliError {
        let text = self.to_string();
        let message = words(&text);
        if message == text {
            return self;
        }
        let failed = Failed::from(self);
        Failed { message, ..failed }.into()
    }

    /// Machine readable details; an object.
    pub fn details(&self) -> Value {
        self.machine().1
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

    /// The document of the `--json` contract: `{"ok":false,…,"error":{code,message,hint?,details}}`. A program finds the
    /// fix of a message that tells it itself in `hint` too.
    pub fn document(&self) -> Value {
        let (code, details) = self.machine();
        let message = self.message();
        let fix = message.lines().find_map(|line| line.strip_prefix("Fix: "));
        let hint = self.hint().or_else(|| fix.map(str::to_owned));
        let mut error = Map::new();
        error.insert("code".to_owned(), json!(code));
        error.insert("message".to_owned(), json!(message));
        if let Some(hint) = hint {
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

/// A message without the marks that node and gateway put in front of it: `INVALID_REQUEST: Error: INVALID_REQUEST: `.
pub fn unmarked(mut text: &str) -> &str {
    const MARKS: [&str; 3] = ["Error: ", "INVALID_REQUEST: ", "UNAVAILABLE: "];
    while let Some(rest) = MARKS.iter().find_map(|mark| text.strip_prefix(mark)) {
        text = rest;
    }
    text
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

#[cfg(test)]
mod tests {
    use super::*;

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
