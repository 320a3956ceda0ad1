//! `config set|unset`: changes of the configuration file, one or many in one write (cli.md §2.9).
//!
//! What is typed becomes operations; judging and writing them is `config`'s.

use std::path::Path;

use serde_json::{Value, json};

use crate::cli::answer::{Answer, FAILURE};
use crate::cli::config::{issue_document, parse_path};
use crate::cli::error::{CliError, Failed, Usage};
use crate::cli::invocation::Invocation;
use crate::config::Paths;
use crate::config::error::{ConfigError, Issue};
use crate::config::key::{self, Effect};
use crate::config::kind::Kind;
use crate::config::load::Draft;
use crate::config::path::ConfigPath;
use crate::config::secret::{Reference, SECRET_PATHS, Source};
use crate::config::write::{self, Operation};
use crate::config::{error, source};

/// `config set`: a value, a secret reference, or a batch.
pub fn set(invocation: &Invocation) -> Result<Answer, CliError> {
    let request = Request::read(invocation)?;
    let paths = invocation.paths()?;
    if invocation.has("dry-run") {
        return dry_run(invocation, &paths, &request);
    }
    let draft =
        write::apply(&paths, invocation.environment(), &request.operations).map_err(refused)?;
    let names = names(&request.operations);
    let mut answer = changed("Updated", "updated", &names, &request.operations);
    answer.notes = warnings_of(&draft, &names);
    Ok(answer)
}

/// `config unset <path>`.
pub fn unset(invocation: &Invocation) -> Result<Answer, CliError> {
    let path = parse_path(invocation.required_argument(0)?)?;
    let paths = invocation.paths()?;
    let operations = [Operation::Unset(path)];
    write::apply(&paths, invocation.environment(), &operations).map_err(refused)?;
    Ok(changed(
        "Removed",
        "removed",
        &names(&operations),
        &operations,
    ))
}

/// What `config set` was asked to do.
struct Request {
    operations: Vec<Operation>,
    /// How the values came in: `value`, `json` or `builder`.
    input_mode: &'static str,
}

impl Request {
    fn read(invocation: &Invocation) -> Result<Self, CliError> {
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
    let failed = |cause| ConfigError::File {
        path: file.to_owned(),
        action: "read",
        cause,
    };
    let bytes = source::read(file)?.ok_or_else(|| failed(std::io::ErrorKind::NotFound.into()))?;
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

fn names(operations: &[Operation]) -> Vec<String> {
    operations
        .iter()
        .map(|operation| operation.path().to_string())
        .collect()
}

/// The answer of a finished change: what was changed, and what makes it effective.
fn changed(word: &str, key: &str, names: &[String], operations: &[Operation]) -> Answer {
    let strongest = operations
        .iter()
        .map(|operation| effect(operation.path()))
        .max();
    // A running gateway reads the file at start only, so what could be applied live waits as well.
    let restart = strongest.is_some_and(|effect| effect != Effect::None);
    let follow_up = if restart {
        "Restart the gateway to apply."
    } else {
        "No restart needed."
    };
    let document = json!({"ok": true, key: names, "restartRequired": restart});
    Answer::new(
        document,
        format!("{word} {}. {follow_up}", names.join(", ")),
    )
}

fn effect(path: &ConfigPath) -> Effect {
    let segments: Vec<&str> = path.segments().iter().map(String::as_str).collect();
    key::effect(&segments)
}

/// The warnings that concern what was just set.
fn warnings_of(draft: &Draft, names: &[String]) -> Vec<String> {
    let concerns = |path: &str| {
        names.iter().any(|name| {
            path.strip_prefix(name.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
    };
    draft
        .missing
        .iter()
        .filter(|(path, _)| concerns(path))
        .map(|(path, name)| crate::config::expand::warning(path, name))
        .collect()
}

/// A refused change in the words of this command; other errors stay as they are.
fn refused(fault: ConfigError) -> CliError {
    let ConfigError::Rejected(issues) = &fault else {
        return fault.into();
    };
    let mut failed = Failed::new("CONFIG_INVALID", fault.to_string());
    failed.details = json!({"issues": issues.iter().map(issue_document).collect::<Vec<_>>()});
    failed.into()
}

/// What a dry run found out about the secret references of its operations.
#[derive(Default)]
struct References {
    checked: usize,
    skipped_exec: usize,
    /// Reference as `source:provider:id`, and why it has no value.
    unresolved: Vec<(String, String)>,
}

fn dry_run(invocation: &Invocation, paths: &Paths, request: &Request) -> Result<Answer, CliError> {
    let preview = write::preview(paths, invocation.environment(), &request.operations);
    let (issues, references) = match preview {
        Ok((_, draft)) => (
            draft.issues(),
            check_references(&draft, &request.operations),
        ),
        Err(ConfigError::Rejected(issues)) => (issues, References::default()),
        Err(
            fault @ (ConfigError::BeyondEnd { .. }
            | ConfigError::Through(_)
            | ConfigError::Unreadable(_)),
        ) => (
            vec![Issue::new(error::ROOT, fault.to_string())],
            References::default(),
        ),
        Err(other) => return Err(other.into()),
    };
    let document = dry_run_document(paths, request, &issues, &references);
    let count = request.operations.len();
    let plural = if count == 1 { "" } else { "s" };
    if issues.is_empty() && references.unresolved.is_empty() {
        let shown = paths.shorten(&paths.config_file);
        let text = format!("Dry run successful: {count} change{plural} validated against {shown}.");
        return Ok(Answer::new(document, text));
    }
    let lines = issues.iter().map(|issue| format!("  × {issue}"));
    let unresolved = references
        .unresolved
        .iter()
        .map(|(name, why)| format!("  × {name}: {why}"));
    let heading = format!("Dry run failed: {count} change{plural} would not be written.");
    let notes: Vec<String> = [heading]
        .into_iter()
        .chain(lines)
        .chain(unresolved)
        .collect();
    Ok(Answer {
        document: Some(document),
        text: String::new(),
        notes: if invocation.json() { Vec::new() } else { notes },
        exit: FAILURE,
    })
}

fn check_references(draft: &Draft, operations: &[Operation]) -> References {
    let mut found = References::default();
    let providers = draft.document.pointer("/secrets/providers");
    for operation in operations {
        let Operation::Set(path, value) = operation else {
            continue;
        };
        let reference =
            Reference::parse(value).filter(|_| SECRET_PATHS.contains(&path.to_string().as_str()));
        let Some(reference) = reference else { continue };
        if reference.source == Source::Exec {
            found.skipped_exec += 1;
            continue;
        }
        found.checked += 1;
        if let Err(why) = reference.resolve(providers, &draft.environment) {
            let name = format!(
                "{}:{}:{}",
                reference.source.as_str(),
                reference.provider,
                reference.id
            );
            found.unresolved.push((name, why));
        }
    }
    found
}

fn dry_run_document(
    paths: &Paths,
    request: &Request,
    issues: &[Issue],
    references: &References,
) -> Value {
    let schema = issues
        .iter()
        .map(|issue| json!({"kind": "schema", "message": issue.to_string()}));
    let unresolved = references
        .unresolved
        .iter()
        .map(|(name, why)| json!({"kind": "resolvability", "message": why, "ref": name}));
    let errors: Vec<Value> = schema.chain(unresolved).collect();
    let mut document = json!({
        "ok": errors.is_empty(),
        "operations": request.operations.len(),
        "configPath": paths.config_file,
        "inputModes": [request.input_mode],
        "checks": {
            "schema": true,
            "resolvability": references.checked > 0,
            "resolvabilityComplete": references.skipped_exec == 0,
        },
        "refsChecked": references.checked,
        "skippedExecRefs": references.skipped_exec,
    });
    if !errors.is_empty() {
        document["errors"] = json!(errors);
    }
    document
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::{run, run_words};
    use crate::config::testing::Home;

    #[test]
    fn values_are_json5_or_text() {
        for (line, expected, text) in [
            (
                "config set gateway.port 0x10",
                json!(16),
                "Updated gateway.port. Restart the gateway to apply.",
            ),
            (
                "config set gateway.mode local",
                json!("local"),
                "Updated gateway.mode. Restart the gateway to apply.",
            ),
            (
                "config set gateway.auth.token 123",
                json!("123"),
                "Updated gateway.auth.token. Restart the gateway to apply.",
            ),
            (
                "config set gateway.auth.token ${TOK}",
                json!("${TOK}"),
                "Updated gateway.auth.token. Restart the gateway to apply.",
            ),
            (
                "config set logging.level debug",
                json!("debug"),
                "Updated logging.level. No restart needed.",
            ),
            (
                "config set gateway.nodes.denyCommands ['a']",
                json!(["a"]),
                "Updated gateway.nodes.denyCommands. Restart the gateway to apply.",
            ),
            (
                "config set gateway.nodes.allowCommands[0] x --strict-json",
                json!(null),
                "",
            ),
            (
                "config set gateway.tailscale.mode off",
                json!("off"),
                "Updated gateway.tailscale.mode. Restart the gateway to apply.",
            ),
            ("config set gateway.customBindHost ''", json!(null), ""),
            (
                "config set gateway.auth.token --ref-provider default --ref-source env --ref-id TOK",
                json!({"source": "env", "provider": "default", "id": "TOK"}),
                "Updated gateway.auth.token. Restart the gateway to apply.",
            ),
        ] {
            let home = Home::new("{}");
            let answer = run(&home, line);
            if expected.is_null() {
                assert!(answer.is_err(), "{line}");
                assert_eq!(home.text(), "{}", "{line}");
                continue;
            }
            assert_eq!(answer.unwrap().text, text, "{line}");
            let path = line.split(' ').nth(2).unwrap();
            let document = source::parse(&home.text()).unwrap();
            assert_eq!(
                ConfigPath::parse(path).unwrap().find(&document),
                Some(&expected),
                "{line}"
            );
        }
    }

    #[test]
    fn set_warns_about_what_it_cannot_find_and_reports_as_json() {
        let home = Home::new("{gateway: {auth: {password: '${OTHER}'}}}");
        let answer = run(&home, "config set gateway.auth.token '${TOK}' --json").unwrap();
        assert_eq!(answer.notes.len(), 1);
        assert!(answer.notes[0].contains("\"TOK\" at gateway.auth.token"));
        let expected =
            json!({"ok": true, "updated": ["gateway.auth.token"], "restartRequired": true});
        assert_eq!(answer.document, Some(expected));
    }

    #[test]
    fn refusals_say_why() {
        let home = Home::new("{gateway: {port: 5}}");
        for (words, expected) in [
            (
                &["set", "gateway.bind", "0.0.0.0"][..],
                "Config validation failed: gateway.bind: Invalid input (allowed: \"auto\", \"lan\", \"loopback\", \"custom\", \"tailnet\")",
            ),
            (
                &["set", "gateway.port", "{", "--strict-json"],
                "Failed to parse JSON value: JSON5 parse failed: EOF parsing object at 1:2",
            ),
            (&["set"], "error: missing required argument 'path'"),
            (
                &["set", "gateway.port"],
                "error: missing required argument 'value'",
            ),
            (
                &["set", "a", "1", "--ref-id", "X"],
                "Give either a value or --ref options, not both.",
            ),
            (
                &["set", "a", "--ref-id", "X"],
                "A secret reference needs --ref-provider, --ref-source and --ref-id.",
            ),
            (
                &["set", "--batch-json", "[]", "--batch-file", "x"],
                "Use either --batch-json or --batch-file.",
            ),
            (
                &["set", "a", "--batch-json", "[]"],
                "A batch takes no path, value or --ref options.",
            ),
            (
                &["set", "--batch-json", "[]"],
                "A batch is a JSON array of {path, value} or {path, ref}.",
            ),
            (
                &["set", "--batch-json", "[{path: 'a', value: 1, x: 2}]"],
                "Batch entry 0: unknown key \"x\"",
            ),
            (
                &["set", "--batch-json", "[{path: 'a'}]"],
                "Batch entry 0: give either value or ref",
            ),
            (
                &["set", "--batch-json", "[{value: 1}]"],
                "Batch entry 0: path is missing",
            ),
            (
                &["set", "gateway.port.x", "1"],
                "gateway.port is neither an object nor a list",
            ),
            (&["unset", "nope.x"], "Config path not found: nope.x"),
        ] {
            let words: Vec<&str> = ["config"].iter().chain(words).copied().collect();
            assert_eq!(
                run_words(&home, &words).unwrap_err().to_string(),
                expected,
                "{words:?}"
            );
            assert_eq!(home.text(), "{gateway: {port: 5}}");
        }
        let error = run(&home, "config set gateway.bind x").unwrap_err();
        let document = error.document();
        assert_eq!(document["error"]["code"], "CONFIG_INVALID");
        assert_eq!(
            document["error"]["details"]["issues"][0]["path"],
            "gateway.bind"
        );
    }

    #[test]
    fn batches_are_one_write() {
        let home = Home::new("{\n  // mine\n  gateway: {port: 5},\n}\n");
        let batch = "[{path: 'gateway.port', value: 6}, {path: 'gateway.auth.token', ref: {source: 'env', provider: 'default', id: 'T'}}]";
        let file = home.write("batch.json", batch);
        let answer = run_words(
            &home,
            &["config", "set", "--batch-file", file.to_str().unwrap()],
        )
        .unwrap();
        assert_eq!(
            answer.text,
            "Updated gateway.port, gateway.auth.token. Restart the gateway to apply."
        );
        assert!(
            home.text()
                .starts_with("{\n  // mine\n  gateway: {port: 6, auth: {"),
            "{}",
            home.text()
        );
        assert!(home.names().contains(&"openclaw.json.bak".to_owned()));
        assert!(!home.names().contains(&"openclaw.json.bak.1".to_owned()));
    }

    #[test]
    fn dry_runs_write_nothing() {
        let text = "{gateway: {port: 5}, secrets: {providers: {run: {source: 'exec', command: '/bin/x'}}}}";
        let home = Home::with_environment(text, &[("TOK", "x")]);
        let checks = |resolvability, complete| json!({"schema": true, "resolvability": resolvability, "resolvabilityComplete": complete});
        for (line, mode, expected_checks, errors) in [
            ("gateway.port 6", "value", checks(false, true), json!(null)),
            (
                "gateway.port x",
                "value",
                checks(false, true),
                json!([{"kind": "schema", "message": "gateway.port: Invalid input: expected number, received string"}]),
            ),
            (
                "gateway.auth.token --ref-provider default --ref-source env --ref-id TOK",
                "builder",
                checks(true, true),
                json!(null),
            ),
            (
                "gateway.auth.token --ref-provider default --ref-source env --ref-id NO",
                "builder",
                checks(true, true),
                json!([{"kind": "resolvability", "message": "Environment variable \"NO\" is missing or empty.", "ref": "env:default:NO"}]),
            ),
            (
                "gateway.auth.token --ref-provider run --ref-source exec --ref-id a",
                "builder",
                checks(false, false),
                json!(null),
            ),
        ] {
            let answer = run(&home, &format!("config set {line} --dry-run --json")).unwrap();
            let document = answer.document.unwrap();
            assert_eq!(document["ok"], json!(errors.is_null()), "{line}");
            assert_eq!(answer.exit, u8::from(!errors.is_null()), "{line}");
            assert_eq!(document["inputModes"], json!([mode]), "{line}");
            assert_eq!(document["checks"], expected_checks, "{line}");
            assert_eq!(document["errors"], errors, "{line}");
            assert_eq!(document["configPath"], json!(home.paths.config_file));
        }
        let answer = run(&home, "config set gateway.port 6 --dry-run").unwrap();
        assert_eq!(
            answer.text,
            "Dry run successful: 1 change validated against ~/.openclaw/openclaw.json."
        );
        let answer = run(&home, "config set gateway.port x --dry-run").unwrap();
        assert_eq!((answer.notes.len(), answer.exit), (2, 1));
        assert_eq!(home.names(), ["openclaw.json"]);
        assert_eq!(home.text(), text);
    }

    #[test]
    fn unset_prunes_and_says_so() {
        let home = Home::new("{\n  gateway: {auth: {token: 'x'}, port: 5},\n}\n");
        let answer = run(&home, "config unset gateway.auth.token").unwrap();
        assert_eq!(
            answer.text,
            "Removed gateway.auth.token. Restart the gateway to apply."
        );
        assert_eq!(home.text(), "{\n  gateway: {port: 5},\n}\n");
    }
}
