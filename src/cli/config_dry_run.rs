//! `config set --dry-run`: would the change be accepted, and do its secret references have values?

use serde_json::{Value, json};

use crate::cli::answer::{Answer, FAILURE};
use crate::cli::config_request::Request;
use crate::cli::error::CliError;
use crate::cli::invocation::Invocation;
use crate::config::Paths;
use crate::config::error::{ConfigError, Issue, ROOT};
use crate::config::load::Draft;
use crate::config::reference::{Reference, Source};
use crate::config::secret::SECRET_PATHS;
use crate::config::write::{self, Operation};

/// What a dry run found out about the secret references of its operations.
#[derive(Default)]
struct References {
    checked: usize,
    skipped_exec: usize,
    /// Reference as `source:provider:id`, and why it has no value.
    unresolved: Vec<(String, String)>,
}

/// The report of a dry run; exit code 1 when the change would be refused or a secret has no value.
///
/// # Errors
/// Only what keeps the file from being read.
pub fn dry_run(
    invocation: &Invocation,
    paths: &Paths,
    request: &Request,
) -> Result<Answer, CliError> {
    let preview = write::preview(paths, invocation.environment(), &request.operations);
    let (issues, references) = match preview {
        Ok((_, draft)) => (
            draft.issues(),
            check_references(&draft, &request.operations),
        ),
        Err(ConfigError::Invalid { issues, .. } | ConfigError::Rejected(issues)) => {
            (issues, References::default())
        }
        Err(fault @ (ConfigError::BeyondEnd { .. } | ConfigError::Through(_))) => (
            vec![Issue::new(ROOT, fault.to_string())],
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
    use crate::cli::testing::run;
    use crate::config::testing::Home;

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
}
