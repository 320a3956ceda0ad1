//! What a person should know about an installed gateway beside its configuration: where the two disagree
//! (cli.md §2.5).

use serde_json::{Value, json};

use crate::cli::service::view::Seen;
use crate::config::{Config, Environment, Paths};
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
    let (noun, again) = (seen.noun(), seen.install_anew());
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
    let token = config.gateway.auth.token.plain();
    if token.is_some_and(|token| kept.is_some_and(|(_, value)| value != token)) {
        found(
            "token-drift",
            "The service was given another token than gateway.auth.token, which wins. Fix: openclaw gateway uninstall, then \
             openclaw gateway install"
                .to_owned(),
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

/// The configuration that the service reads, which another state directory or profile may make another one
/// than that of commands; `None` without a service.
pub fn daemon_config(seen: &Seen) -> Option<Value> {
    let environment = Environment::from_pairs(seen.variables()?);
    let paths = Paths::resolve(&environment, None).ok()?;
    let valid = crate::config::load(&paths, &environment).is_ok();
    Some(json!({"path": paths.config_file, "exists": paths.config_file.exists(), "valid": valid}))
}
