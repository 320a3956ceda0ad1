//! Everything that can go wrong for a person at the command line, with its text, machine code and exit code.
//!
//! Display is the message part that scripts match; what precedes it (`nodes approve failed: `) is added once, in
//! `cli::run`.

use std::fmt;

use serde_json::{Map, Value, json};

use crate::cli::answer::FAILURE;
use crate::cli::output::time::DurationFault;

/// A command that did not succeed.
#[derive(Debug)]
pub enum CliError {
    /// Something with a code of its own; see [`Failed`].
    Failed(Box<Failed>),
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
            CliError::Usage(_) => FAILURE,
        }
    }

    /// Whether the text is complete without the command's name before it.
    pub fn stands_alone(&self) -> bool {
        matches!(self, CliError::Usage(_))
    }

    /// What to do next.
    pub fn hint(&self) -> Option<&str> {
        match self {
            CliError::Failed(failed) => failed.hint.as_deref(),
            CliError::Usage(_) => None,
        }
    }

    /// The document of the `--json` contract: `{"ok":false,…,"error":{code,message,hint?,details}}`.
    pub fn document(&self) -> Value {
        let (code, details) = match self {
            CliError::Failed(failed) => (failed.code.as_str(), failed.details.clone()),
            CliError::Usage(_) => ("USAGE", json!({})),
        };
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
        let text = self.to_string();
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
            CliError::Failed(failed) => out.write_str(&failed.message),
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
