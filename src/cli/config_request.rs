//! What was typed after `config set`: a value, a secret reference, or a batch, as operations.

use std::io::ErrorKind;
use std::path::Path;

use serde_json::{Value, json};

use crate::cli::config::parse_path;
use crate::cli::error::{CliError, Usage};
use crate::cli::invocation::Invocation;
use crate::config::error::ConfigError;
use crate::config::key;
use crate::config::kind::Kind;
use crate::config::path::ConfigPath;
use crate::config::source;
use crate::config::write::Operation;

/// What `config set` was asked to do.
pub struct Request {
    /// In the order given.
    pub operations: Vec<Operation>,
    /// How the values came in: `value`, `json` or `builder`.
    pub input_mode: &'static str,
}

impl Request {
    /// Reads options and arguments.
    ///
    /// # Errors
    /// Usage errors, and a batch file that cannot be read.
    pub fn read(invocation: &Invocation) -> Result<Self, CliError> {
        let batch = [
            invocation.value("batch-json"),
            invocation.value("batch-file"),
        ];
        let reference = ["ref-provider", "ref-source", "ref-id"].map(|name| invocation.text(name));
        let typed = invocation.arguments();
        if batch.iter().any(Option::is_some) {
            if batch.iter().all(Option::is_some) {
                return Err(CliError::rule("Use either --batch-json or --batch-file."));
            }
            if !typed.is_empty() || reference.iter().any(Option::is_some) {
                return Err(CliError::rule(
                    "A batch takes no path, value or --ref options.",
                ));
            }
            let operations = match batch {
                [Some(text), _] => parse_batch(text)?,
                [_, Some(file)] => parse_batch(&read_batch(Path::new(file))?)?,
                _ => Vec::new(),
            };
            return Ok(Self {
                operations,
                input_mode: "json",
            });
        }
        let path = parse_path(invocation.required_argument(0)?)?;
        if reference.iter().any(Option::is_some) {
            if typed.len() > 1 {
                return Err(CliError::rule(
                    "Give either a value or --ref options, not both.",
                ));
            }
            let [Some(provider), Some(source), Some(id)] = reference else {
                return Err(CliError::rule(
                    "A secret reference needs --ref-provider, --ref-source and --ref-id.",
                ));
            };
            let value = json!({"source": source, "provider": provider, "id": id});
            return Ok(Self {
                operations: vec![Operation::Set(path, value)],
                input_mode: "builder",
            });
        }
        let text = typed
            .get(1)
            .ok_or(CliError::Usage(Usage::MissingArgument("value")))?;
        let strict =
            invocation.has("strict-json") || (invocation.has("json") && !invocation.has("dry-run"));
        let value = parse_value(text, &path, strict)?;
        let input_mode = if strict { "json" } else { "value" };
        Ok(Self {
            operations: vec![Operation::Set(path, value)],
            input_mode,
        })
    }
}

/// A typed value: JSON5, and unless `strict` any other text as itself.
fn parse_value(text: &str, path: &ConfigPath, strict: bool) -> Result<Value, CliError> {
    let parsed = source::parse_value(text);
    if strict {
        return parsed.map_err(unparsable);
    }
    match parsed {
        // A token of digits is a text all the same.
        Ok(Value::Null | Value::Bool(_) | Value::Number(_)) if takes_text_only(path) => {
            Ok(Value::from(text))
        }
        Ok(value) => Ok(value),
        Err(_) => Ok(Value::from(text)),
    }
}

fn takes_text_only(path: &ConfigPath) -> bool {
    let segments: Vec<&str> = path.segments().iter().map(String::as_str).collect();
    key::find(&segments).is_some_and(|key| {
        matches!(
            key.kind,
            Kind::Fingerprint
                | Kind::Ipv4
                | Kind::Secret
                | Kind::Text
                | Kind::UserHeader
                | Kind::WebSocketUrl
                | Kind::Word(_)
        )
    })
}

fn unparsable(reason: String) -> CliError {
    CliError::failed("USAGE", format!("Failed to parse JSON value: {reason}"))
}

fn read_batch(file: &Path) -> Result<String, CliError> {
    let bytes = match source::read(file) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Err(CliError::unopened(file, &ErrorKind::NotFound.into())),
        Err(ConfigError::File { cause, .. }) => return Err(CliError::unopened(file, &cause)),
        Err(other) => return Err(other.into()),
    };
    let text = source::decode(&bytes).map_err(|issue| unparsable(issue.message))?;
    Ok(text.to_owned())
}

/// `[{path, value}, {path, ref}, …]`, at least one.
fn parse_batch(text: &str) -> Result<Vec<Operation>, CliError> {
    let document = source::parse_value(text).map_err(unparsable)?;
    let items = document.as_array().filter(|items| !items.is_empty());
    let items = items.ok_or_else(|| {
        CliError::rule("A batch is a JSON array of {path, value} or {path, ref}.")
    })?;
    items
        .iter()
        .enumerate()
        .map(|(at, item)| batch_item(at, item))
        .collect()
}

fn batch_item(at: usize, item: &Value) -> Result<Operation, CliError> {
    let wrong = |what: &str| CliError::rule(format!("Batch entry {at}: {what}"));
    let members = item
        .as_object()
        .ok_or_else(|| wrong("expected an object"))?;
    if let Some(name) = members
        .keys()
        .find(|name| !matches!(name.as_str(), "path" | "ref" | "value"))
    {
        return Err(wrong(&format!(
            "unknown key {}",
            Value::from(name.as_str())
        )));
    }
    let path = members
        .get("path")
        .and_then(Value::as_str)
        .ok_or_else(|| wrong("path is missing"))?;
    let path = ConfigPath::parse(path).map_err(|fault| wrong(&fault))?;
    match (members.get("value"), members.get("ref")) {
        (Some(value), None) | (None, Some(value)) => Ok(Operation::Set(path, value.clone())),
        _ => Err(wrong("give either value or ref")),
    }
}
