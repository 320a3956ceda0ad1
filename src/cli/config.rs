//! `config file|get|validate`: what the configuration file is, says, and whether it may be used (cli.md §2.9).
//!
//! Works on a file with validation errors, prints no secret unless asked to, and writes nothing.

use std::io::IsTerminal;

use serde_json::{Map, Value, json};

use crate::cli::answer::{Answer, FAILURE};
use crate::cli::error::CliError;
use crate::cli::invocation::Invocation;
use crate::cli::output;
use crate::config::error::{ConfigError, Issue};
use crate::config::path::ConfigPath;
use crate::config::redact::redact;
use crate::config::{Paths, load};

/// `config file`: the path in use; shortened only for a person at a terminal.
pub fn file(invocation: &Invocation) -> Result<Answer, CliError> {
    let paths = invocation.paths()?;
    let text = if std::io::stdout().is_terminal() {
        paths.shorten(&paths.config_file)
    } else {
        paths.config_file.display().to_string()
    };
    Ok(Answer::new(json!({"path": paths.config_file}), text))
}

/// `config get <path>`: the value as authored, includes and variables resolved, no defaults added.
pub fn get(invocation: &Invocation) -> Result<Answer, CliError> {
    let path = parse_path(invocation.required_argument(0)?)?;
    let paths = invocation.paths()?;
    let draft = load::read(&paths, invocation.environment())?;
    let found = path
        .find(&draft.document)
        .ok_or_else(|| ConfigError::Missing(path.to_string()))?;
    let shown = if invocation.has("reveal") {
        found.clone()
    } else {
        redact(&path.to_string(), found)
    };
    let text = match &shown {
        Value::String(text) => text.clone(),
        Value::Array(_) | Value::Object(_) => output::pretty(&shown),
        scalar => scalar.to_string(),
    };
    Ok(Answer::new(shown, text))
}

/// `config validate`: every issue at once.
pub fn validate(invocation: &Invocation) -> Result<Answer, CliError> {
    let paths = invocation.paths()?;
    let shown = paths.shorten(&paths.config_file);
    let draft = match load::read(&paths, invocation.environment()) {
        Ok(draft) => draft,
        Err(ConfigError::Invalid { issues, .. }) => {
            return Ok(invalid(&paths, &issues, &[], invocation.json()));
        }
        Err(other) => return Err(other.into()),
    };
    if !draft.exists {
        let document =
            json!({"valid": false, "path": paths.config_file, "error": "file not found"});
        let line = format!("Config file not found: {shown}");
        return Ok(refusal(document, vec![line], invocation.json()));
    }
    let (issues, warnings) = (draft.issues(), draft.warnings());
    if !issues.is_empty() {
        return Ok(invalid(&paths, &issues, &warnings, invocation.json()));
    }
    let mut document = Map::new();
    document.insert("valid".to_owned(), json!(true));
    document.insert("path".to_owned(), json!(paths.config_file));
    if !warnings.is_empty() {
        document.insert("warnings".to_owned(), json!(warnings));
    }
    let mut answer = Answer::new(Value::Object(document), format!("Config valid: {shown}"));
    if !invocation.json() {
        answer.notes = warnings;
    }
    Ok(answer)
}

/// The path of a `config` command.
///
/// # Errors
/// A usage error for a text that is no path.
pub fn parse_path(text: &str) -> Result<ConfigPath, CliError> {
    ConfigPath::parse(text).map_err(CliError::rule)
}

/// One issue as JSON; `allowedValues` only for enumerations.
pub fn issue_document(issue: &Issue) -> Value {
    let mut document = Map::new();
    document.insert("path".to_owned(), json!(issue.path));
    document.insert("message".to_owned(), json!(issue.message));
    if !issue.allowed.is_empty() {
        document.insert("allowedValues".to_owned(), json!(issue.allowed));
    }
    Value::Object(document)
}

fn invalid(paths: &Paths, issues: &[Issue], warnings: &[String], json: bool) -> Answer {
    let list: Vec<Value> = issues.iter().map(issue_document).collect();
    let mut document = json!({"valid": false, "path": paths.config_file, "issues": list});
    if !warnings.is_empty() {
        document["warnings"] = json!(warnings);
    }
    let shown = paths.shorten(&paths.config_file);
    let heading = format!("Config invalid at {shown}:");
    let lines = issues.iter().map(|issue| format!("  × {issue}"));
    let notes = [heading]
        .into_iter()
        .chain(lines)
        .chain(warnings.iter().cloned())
        .collect();
    refusal(document, notes, json)
}

/// A negative report: the document on stdout, or the lines on stderr.
fn refusal(document: Value, notes: Vec<String>, json: bool) -> Answer {
    Answer {
        document: Some(document),
        text: String::new(),
        notes: if json { Vec::new() } else { notes },
        exit: FAILURE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::run;
    use crate::config::testing::Home;

    const TEXT: &str = "{gateway: {port: 5, auth: {token: 'geheim', password: '${PW}'}, nodes: {allowCommands: ['a']}}, wat: 1}";

    #[test]
    fn get_shows_what_is_authored_and_no_secret() {
        let home = Home::new(TEXT);
        for (line, expected) in [
            ("config get gateway.port", "5"),
            ("config get gateway.auth.token", "__OPENCLAW_REDACTED__"),
            ("config get gateway.auth.token --reveal", "geheim"),
            ("config get gateway.auth.password", "${PW}"),
            ("config get gateway.nodes.allowCommands[0]", "a"),
            (
                "config get gateway.nodes",
                "{\n  \"allowCommands\": [\n    \"a\"\n  ]\n}",
            ),
        ] {
            assert_eq!(run(&home, line).unwrap().text, expected, "{line}");
        }
        let whole = run(&home, "config get gateway --json")
            .unwrap()
            .document
            .unwrap();
        assert_eq!(
            whole["auth"],
            json!({"token": "__OPENCLAW_REDACTED__", "password": "${PW}"})
        );
        for line in ["config get nope.x", "config get gateway.bind"] {
            let path = line.rsplit(' ').next().unwrap();
            let error = run(&home, line).unwrap_err();
            assert_eq!(
                (error.to_string(), error.stands_alone()),
                (format!("Config path not found: {path}"), true)
            );
        }
        assert_eq!(
            run(&home, "config get a..b").unwrap_err().to_string(),
            "Invalid config path: a..b"
        );
    }

    #[test]
    fn file_is_absolute_for_programs() {
        let home = Home::new("{}");
        let answer = run(&home, "config file --json").unwrap();
        assert_eq!(
            answer.document,
            Some(json!({"path": home.paths.config_file}))
        );
        assert!(answer.text.ends_with("/.openclaw/openclaw.json"));
    }

    #[test]
    fn validate_lists_everything() {
        let path = |home: &Home| json!(home.paths.config_file);
        let valid = Home::new("{gateway: {auth: {token: '${TOK}'}}}");
        let answer = run(&valid, "config validate --json").unwrap();
        let warning = "missing env var \"TOK\" at gateway.auth.token - feature using this value will be unavailable";
        assert_eq!(
            answer.document,
            Some(json!({"valid": true, "path": path(&valid), "warnings": [warning]}))
        );
        let answer = run(&valid, "config validate").unwrap();
        assert_eq!(
            (answer.text.as_str(), answer.notes, answer.exit),
            (
                "Config valid: ~/.openclaw/openclaw.json",
                vec![warning.to_owned()],
                0
            )
        );

        let broken = Home::new("{gateway: {mode: 'x', port: '1'}}");
        let answer = run(&broken, "config validate --json").unwrap();
        assert_eq!(answer.exit, 1);
        assert_eq!(
            answer.document,
            Some(json!({"valid": false, "path": path(&broken), "issues": [
                {"path": "gateway.mode", "message": "Invalid input (allowed: \"local\", \"remote\")", "allowedValues": ["local", "remote"]},
                {"path": "gateway.port", "message": "Invalid input: expected number, received string"},
            ]}))
        );
        let answer = run(&broken, "config validate").unwrap();
        assert_eq!(answer.text, "");
        assert_eq!(
            answer.notes,
            [
                "Config invalid at ~/.openclaw/openclaw.json:",
                "  × gateway.mode: Invalid input (allowed: \"local\", \"remote\")",
                "  × gateway.port: Invalid input: expected number, received string",
            ]
        );

        let unparsable = Home::new("{gateway: {");
        let answer = run(&unparsable, "config validate --json").unwrap();
        assert_eq!(answer.document.unwrap()["issues"][0]["path"], "<root>");

        std::fs::remove_file(&unparsable.paths.config_file).unwrap();
        let answer = run(&unparsable, "config validate").unwrap();
        assert_eq!(
            (answer.notes, answer.exit),
            (
                vec!["Config file not found: ~/.openclaw/openclaw.json".to_owned()],
                1
            )
        );
        let document = answer.document.unwrap();
        assert_eq!(
            document,
            json!({"valid": false, "path": path(&unparsable), "error": "file not found"})
        );
    }
}
