//! The parameters that `system.run` and `system.run.prepare` have in common, typed.
//!
//! Texts are those of the specification (node-host, sections 2.3 to 2.5); every fault is
//! `INVALID_REQUEST`.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::exec::command::raw_matches;
use crate::exec::wrapper::unwrap;
use crate::protocol::error::ErrorShape;

/// What is to be run, where, and for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandParams {
    /// At least one word, none with NUL.
    pub argv: Vec<String>,
    /// Working directory as given, not blank.
    pub cwd: Option<String>,
    /// Agent as given, not blank.
    pub agent_id: Option<String>,
    /// Session as given, not blank.
    pub session_key: Option<String>,
}

impl CommandParams {
    /// Reads and checks them.
    pub fn parse(params: &Value) -> Result<Self, ErrorShape> {
        let raw = text(params, "rawCommand");
        let words = match params.get("command") {
            Some(Value::Array(words)) if !words.is_empty() => words,
            None | Some(Value::Null) if raw.is_some() => {
                return Err(ErrorShape::invalid("rawCommand requires params.command"));
            }
            _ => return Err(ErrorShape::invalid("command required")),
        };
        let argv: Result<Vec<String>, ErrorShape> = words.iter().map(word).collect();
        let argv = argv?;
        let cwd = text(params, "cwd");
        if argv.iter().chain(&cwd).any(|text| text.contains('\0')) {
            return Err(nul());
        }
        if raw.is_some_and(|raw| !raw_matches(&raw, &argv, &unwrap(&argv))) {
            let message = "INVALID_REQUEST: rawCommand does not match command";
            return Err(ErrorShape::invalid(message));
        }
        let (agent_id, session_key) = (text(params, "agentId"), text(params, "sessionKey"));
        Ok(Self {
            argv,
            cwd,
            agent_id,
            session_key,
        })
    }

    /// The working directory as an absolute path; `own` is the host's.
    pub fn directory(&self, own: &Path) -> PathBuf {
        self.cwd
            .as_ref()
            .map_or_else(|| own.to_owned(), |cwd| own.join(cwd))
    }
}

/// The refusal of a NUL byte anywhere, which no system call could carry.
pub fn nul() -> ErrorShape {
    ErrorShape::invalid("command must not contain NUL")
}

/// A string member that is not blank, untrimmed.
pub fn text(params: &Value, name: &str) -> Option<String> {
    let value = params.get(name).and_then(Value::as_str)?;
    (!value.trim().is_empty()).then(|| value.to_owned())
}

/// Words that are not strings are taken as their text; lists and objects have none that anybody means.
fn word(value: &Value) -> Result<String, ErrorShape> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Array(_) | Value::Object(_) => Err(ErrorShape::invalid(format!(
            "command must hold texts only, found {value}"
        ))),
        other => Ok(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn parameters_are_checked_once() {
        let cases = [
            (json!({}), "command required"),
            (json!({"command": []}), "command required"),
            (json!({"command": "ls"}), "command required"),
            (
                json!({"command": [["ls"]]}),
                "command must hold texts only, found [\"ls\"]",
            ),
            (
                json!({"command": ["echo", {"a": 1}]}),
                "command must hold texts only, found {\"a\":1}",
            ),
            (json!([]), "command required"),
            (
                json!({"rawCommand": "ls"}),
                "rawCommand requires params.command",
            ),
            (
                json!({"command": ["l\u{0}s"]}),
                "command must not contain NUL",
            ),
            (
                json!({"command": ["ls"], "cwd": "/\u{0}"}),
                "command must not contain NUL",
            ),
            (
                json!({"command": ["ls"], "rawCommand": "rm"}),
                "INVALID_REQUEST: rawCommand does not match command",
            ),
        ];
        for (params, message) in cases {
            assert_eq!(
                CommandParams::parse(&params),
                Err(ErrorShape::invalid(message)),
                "{params}"
            );
        }
        let params = json!({"command": ["echo", 1, true, null], "rawCommand": " ", "cwd": "sub"});
        let parsed = CommandParams::parse(&params).unwrap();
        assert_eq!(parsed.argv, ["echo", "1", "true", "null"]);
        assert_eq!(parsed.directory(Path::new("/w")), PathBuf::from("/w/sub"));
    }
}
