//! What a command hands back: the machine document, the human text, notes and the exit code.
//!
//! Handlers never print. One place decides what reaches which stream, so `--json` is always exactly one document.

use serde_json::Value;

/// Exit code of success.
pub const SUCCESS: u8 = 0;
/// Exit code of every failure that has no code of its own.
pub const FAILURE: u8 = 1;

/// The one answer of a command.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// What `--json` prints; `None` for a command that wrote its own output.
    pub document: Option<Value>,
    /// What is printed otherwise; a final newline is added when missing.
    pub text: String,
    /// Lines for stderr, printed without `--json` only.
    pub notes: Vec<String>,
    /// The exit code.
    pub exit: u8,
}

impl Answer {
    /// A successful answer with both forms.
    pub fn new(document: Value, text: impl Into<String>) -> Answer {
        Answer {
            document: Some(document),
            text: text.into(),
            notes: Vec::new(),
            exit: SUCCESS,
        }
    }

    /// A successful answer that is JSON in both modes.
    pub fn json(document: Value) -> Answer {
        let text = crate::cli::output::pretty(&document);
        Answer::new(document, text)
    }

    /// The answer of a command that wrote its own output while it ran.
    pub fn silent() -> Answer {
        Answer {
            document: None,
            text: String::new(),
            notes: Vec::new(),
            exit: SUCCESS,
        }
    }

    /// The same answer with one more line for stderr.
    pub fn note(mut self, line: impl Into<String>) -> Answer {
        self.notes.push(line.into());
        self
    }

    /// The same answer with a line for stderr before all others.
    pub fn note_first(mut self, line: impl Into<String>) -> Answer {
        self.notes.insert(0, line.into());
        self
    }

    /// The same answer with another exit code.
    pub fn exit(mut self, code: u8) -> Answer {
        self.exit = code;
        self
    }
}
