//! What a person should know about an installed gateway beside its configuration: where the two disagree
//! (cli.md §2.5).

use std::fs::File;

use serde_json::{Value, json};

use crate::cli::service::view::Seen;
use crate::config::Config;
use crate::service::definition::SECRETS;

/// One disagreement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// For programs.
    pub code: String,
    /// For people, with what to do.
    pub message: String,
}

/// Everything that is wrong with the unit; `config` is absent when it cannot be used.
pub fn audit(seen: &Seen, config: Option<&Config>) -> Vec<Finding> {
    if !seen.is_installed() {
        return Vec::new();
    }
    let (noun, again) = (seen.noun(), seen.change());
    let mut findings = Vec::new();
    let mut found = |point: &str, message: String| {
        let code = format!("{noun}-{point}");
        findings.push(Finding { code, message });
    };
    for name in SECRETS.iter().filter(|name| seen.variable(name).is_some()) {
        found(
            "token-embedded",
            format!(
                "The unit holds {name}, where every user of this machine can read it. Fix: {again}"
            ),
        );
    }
    let version = env!("CARGO_PKG_VERSION");
    if let Some(other) = seen
        .variable("OPENCLAW_SERVICE_VERSION")
        .filter(|it| *it != version)
    {
        found(
            "version-mismatch",
            format!("The unit was written by version {other}, this is {version}. Fix: {again}"),
        );
    }
    // A node host goes by node.json.
    let Some(config) = config.filter(|_| seen.is_gateway()) else {
        return findings;
    };
    let configured = config.gateway.port.to_string();
    if let Some(port) = seen
        .variable("OPENCLAW_GATEWAY_PORT")
        .filter(|it| *it != configured)
    {
        found(
            "port-mismatch",
            format!("The service listens on port {port}, commands use {configured}. Fix: {again}"),
        );
    }
    let kept = seen
        .secrets()
        .into_iter()
        .find(|(name, _)| name == "OPENCLAW_GATEWAY_TOKEN");
    // The configuration of commands says nothing about somebody else's service.
    let ours = seen.other_account().is_none();
    let token = config.gateway.auth.token.plain().filter(|_| ours);
    if token.is_some_and(|token| kept.is_some_and(|(_, value)| value != token)) {
        let again = match seen.is_of_a_package() {
            true => seen.forget("OPENCLAW_GATEWAY_TOKEN"),
            false => "openclaw gateway uninstall, then openclaw gateway install".to_owned(),
        };
        found(
            "token-drift",
            format!(
                "The service was given another token than gateway.auth.token, which wins. Fix: {again}"
            ),
        );
    }
    findings
}

/// The member `configAudit`.
pub fn document(findings: &[Finding]) -> Value {
    let issues = findings
        .iter()
        .map(|it| json!({"code": it.code, "message": it.message}));
    json!({"ok": findings.is_empty(), "issues": issues.collect::<Vec<_>>()})
}

/// The configuration that the service reads, which another account, state directory or profile may make another one
/// than that of commands; `None` without a service. What this account may not look at is `null`.
pub fn daemon_config(seen: &Seen) -> Option<Value> {
    let (environment, paths) = seen.place().served()?;
    let file = &paths.config_file;
    let exists = file.try_exists().ok();
    let readable = exists.is_some_and(|exists| !exists || File::open(file).is_ok());
    let valid = readable.then(|| crate::config::load(&paths, &environment).is_ok());
    Some(json!({"path": file, "exists": exists, "valid": valid}))
}
