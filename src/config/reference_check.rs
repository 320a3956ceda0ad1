//! What can be wrong with a secret reference or a provider as written in the file.

use serde_json::{Map, Value};

use crate::config::error::Issue;
use crate::config::kind::{check_members, expect};
use crate::config::path::join;
use crate::config::reference::{SINGLE_VALUE_ID, Source};

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
        Some(Source::File) => check_file_provider(path, members, issues),
        Some(Source::Exec) => check_exec_provider(path, members, issues),
        None => issues.push(source_issue(&join(path, "source"))),
    }
}

fn check_file_provider(path: &str, members: &Map<String, Value>, issues: &mut Vec<Issue>) {
    let text = |key| members.get(key).and_then(Value::as_str);
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
    if !matches!(text("mode"), Some("json" | "singleValue")) && members.contains_key("mode") {
        let message = "Invalid input (allowed: \"json\", \"singleValue\")";
        issues.push(Issue {
            allowed: vec!["json", "singleValue"],
            ..Issue::new(&join(path, "mode"), message)
        });
    }
}

fn check_exec_provider(path: &str, members: &Map<String, Value>, issues: &mut Vec<Issue>) {
    let text = |key| members.get(key).and_then(Value::as_str);
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

fn source_issue(path: &str) -> Issue {
    Issue {
        allowed: vec!["env", "file", "exec"],
        ..Issue::new(path, "Invalid input (allowed: \"env\", \"file\", \"exec\")")
    }
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
