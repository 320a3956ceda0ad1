//! `config set|unset`: changes of the configuration file, one or many in one write (cli.md §2.9).
//!
//! What is typed becomes operations; judging and writing them is `config`'s.

use serde_json::json;

use crate::cli::answer::Answer;
use crate::cli::config::{issue_document, parse_path};
use crate::cli::config_dry_run::dry_run;
use crate::cli::config_request::Request;
use crate::cli::error::{CliError, Failed};
use crate::cli::invocation::Invocation;
use crate::config::error::ConfigError;
use crate::config::expand;
use crate::config::key::{self, Effect};
use crate::config::load::Draft;
use crate::config::path::ConfigPath;
use crate::config::view::View;
use crate::config::word::ReloadMode;
use crate::config::write::{self, Operation};

/// What to do when a running gateway does not apply a change by itself.
const RESTART_BY_HAND: &str = "Restart the gateway to apply.";

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
    let mode = reload_mode(&draft);
    let mut answer = changed("Updated", "updated", &names, &request.operations, mode);
    answer.notes = warnings_of(&draft, &names);
    Ok(answer)
}

/// `config unset <path>`.
pub fn unset(invocation: &Invocation) -> Result<Answer, CliError> {
    let path = parse_path(invocation.required_argument(0)?)?;
    let paths = invocation.paths()?;
    let operations = [Operation::Unset(path)];
    let draft = write::apply(&paths, invocation.environment(), &operations).map_err(refused)?;
    Ok(changed(
        "Removed",
        "removed",
        &names(&operations),
        &operations,
        reload_mode(&draft),
    ))
}

/// What a running gateway does about a changed file.
fn reload_mode(draft: &Draft) -> ReloadMode {
    let view = View {
        document: &draft.document,
        missing: &draft.missing,
    };
    view.word("gateway.reload.mode", ReloadMode::Hybrid)
}

fn names(operations: &[Operation]) -> Vec<String> {
    operations
        .iter()
        .map(|operation| operation.path().to_string())
        .collect()
}

/// The answer of a finished change: what was changed, and what makes it effective.
fn changed(
    word: &str,
    key: &str,
    names: &[String],
    operations: &[Operation],
    mode: ReloadMode,
) -> Answer {
    let strongest = operations
        .iter()
        .map(|operation| effect(operation.path()))
        .max()
        .unwrap_or(Effect::None);
    let follow_up = follow_up(strongest, mode);
    let document = json!({
        "ok": true,
        key: names,
        "effect": strongest.as_str(),
        "restartRequired": follow_up == RESTART_BY_HAND,
    });
    Answer::new(
        document,
        format!("{word} {}. {follow_up}", names.join(", ")),
    )
}

/// What makes a change effective, in one sentence.
fn follow_up(effect: Effect, mode: ReloadMode) -> &'static str {
    match (effect, mode) {
        (Effect::None, _) => "No restart needed.",
        (Effect::Hot, ReloadMode::Hybrid | ReloadMode::Hot) => {
            "A running gateway applies it at once."
        }
        (_, ReloadMode::Hybrid | ReloadMode::Restart) => {
            "A running gateway restarts by itself to apply it."
        }
        (Effect::Restart, ReloadMode::Hot) | (_, ReloadMode::Off) => RESTART_BY_HAND,
    }
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
        .map(|(path, name)| expand::warning(path, name))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::{run, run_words};
    use crate::config::source;
    use crate::config::testing::Home;

    #[test]
    fn values_are_json5_or_text() {
        for (line, expected, text) in [
            (
                "config set gateway.port 0x10",
                json!(16),
                "Updated gateway.port. A running gateway restarts by itself to apply it.",
            ),
            (
                "config set gateway.mode local",
                json!("local"),
                "Updated gateway.mode. A running gateway restarts by itself to apply it.",
            ),
            (
                "config set gateway.auth.token 123",
                json!("123"),
                "Updated gateway.auth.token. A running gateway applies it at once.",
            ),
            (
                "config set gateway.auth.token ${TOK}",
                json!("${TOK}"),
                "Updated gateway.auth.token. A running gateway applies it at once.",
            ),
            (
                "config set logging.level debug",
                json!("debug"),
                "Updated logging.level. No restart needed.",
            ),
            (
                "config set gateway.nodes.denyCommands ['a']",
                json!(["a"]),
                "Updated gateway.nodes.denyCommands. A running gateway applies it at once.",
            ),
            (
                "config set gateway.nodes.allowCommands[0] x --strict-json",
                json!(null),
                "",
            ),
            (
                "config set gateway.tailscale.mode off",
                json!("off"),
                "Updated gateway.tailscale.mode. A running gateway restarts by itself to apply it.",
            ),
            ("config set gateway.customBindHost ''", json!(null), ""),
            (
                "config set gateway.auth.token --ref-provider default --ref-source env --ref-id TOK",
                json!({"source": "env", "provider": "default", "id": "TOK"}),
                "Updated gateway.auth.token. A running gateway applies it at once.",
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
    fn what_follows_depends_on_the_key_and_the_mode() {
        let (once, itself) = (
            "A running gateway applies it at once.",
            "A running gateway restarts by itself to apply it.",
        );
        for (key, mode, expected) in [
            ("logging.level warn", "off", "No restart needed."),
            ("gateway.nodes.denyCommands []", "hybrid", once),
            ("gateway.nodes.denyCommands []", "hot", once),
            ("gateway.nodes.denyCommands []", "restart", itself),
            ("gateway.nodes.denyCommands []", "off", RESTART_BY_HAND),
            ("gateway.port 5", "hybrid", itself),
            ("gateway.port 5", "hot", RESTART_BY_HAND),
            ("gateway.port 5", "restart", itself),
            ("gateway.port 5", "off", RESTART_BY_HAND),
        ] {
            let home = Home::new(&format!("{{gateway: {{reload: {{mode: '{mode}'}}}}}}"));
            let answer = run(&home, &format!("config set {key}")).unwrap();
            assert!(
                answer.text.ends_with(expected),
                "{key} {mode}: {}",
                answer.text
            );
            let by_hand = expected == RESTART_BY_HAND;
            assert_eq!(
                answer.document.unwrap()["restartRequired"],
                by_hand,
                "{key} {mode}"
            );
        }
    }

    #[test]
    fn set_warns_about_what_it_cannot_find_and_reports_as_json() {
        let home = Home::new("{gateway: {auth: {password: '${OTHER}'}}}");
        let answer = run(&home, "config set gateway.auth.token '${TOK}' --json").unwrap();
        assert_eq!(answer.notes.len(), 1);
        assert!(answer.notes[0].contains("\"TOK\" at gateway.auth.token"));
        let expected = json!({"ok": true, "updated": ["gateway.auth.token"], "effect": "hot",
            "restartRequired": false});
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
            "Updated gateway.port, gateway.auth.token. A running gateway restarts by itself to apply it."
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
    fn unset_prunes_and_says_so() {
        let home = Home::new("{\n  gateway: {auth: {token: 'x'}, port: 5},\n}\n");
        let answer = run(&home, "config unset gateway.auth.token").unwrap();
        assert_eq!(
            answer.text,
            "Removed gateway.auth.token. A running gateway applies it at once."
        );
        assert_eq!(home.text(), "{\n  gateway: {port: 5},\n}\n");
    }
}
