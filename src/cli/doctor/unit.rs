//! An installed service beside the configuration: what it runs, whether it runs, and whether it stays.

use std::path::Path;

use crate::cli::doctor::check::Check;
use crate::cli::doctor::scene::Scene;
use crate::cli::service::audit::{Finding, audit, daemon_config};
use crate::cli::service::{Place, Seen};
use crate::service::account::Account;
use crate::service::{Kind, Manager};

/// What is known about one service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Facts {
    /// `gateway` or `node`.
    noun: &'static str,
    /// The command that installs it anew.
    install: String,
    /// The program of the unit, when there is a unit; whether it can be run.
    program: Option<(String, bool)>,
    /// The disagreements with the configuration.
    findings: Vec<Finding>,
    /// The configuration that the service reads, where it is another one than that of commands.
    other_config: Option<String>,
    /// The memory is bounded, as far as the manager can do that.
    bounded: bool,
    /// It starts by itself, when the manager could be asked.
    enabled: Option<bool>,
    /// It runs, when the manager could be asked.
    running: Option<bool>,
    /// Whether the user's services stay at logout, with the user; unknown, or a service of the machine.
    lingers: Option<(String, bool)>,
}

/// `gateway-service.*` or `node-service.*`.
pub fn checks(scene: &Scene, kind: Kind, seen: Option<&Seen>) -> Vec<Check> {
    let place = match kind {
        Kind::Gateway => &scene.gateway_service,
        Kind::Node => &scene.node_service,
    };
    let noun = kind.word();
    match (place, seen) {
        (Ok(place), Some(seen)) => judge(&facts(scene, kind, place, seen)),
        (Err(why), _) => vec![Check::skipped(&format!("{noun}-service.unit"), why)],
        (Ok(_), None) => Vec::new(),
    }
}

fn facts(scene: &Scene, kind: Kind, place: &Place, seen: &Seen) -> Facts {
    let config = scene.loaded.as_ref().ok().map(|loaded| &loaded.config);
    let manager = place.manager();
    let systemd = match &manager {
        Manager::Systemd(systemd) if !place.system => Some(systemd),
        _ => None,
    };
    let lingers = systemd.and_then(|systemd| {
        let user = place.account.clone().or_else(Account::own)?.name;
        let lingers = systemd.lingers(&user)?;
        Some((user, lingers))
    });
    let own = scene.paths.config_file.display().to_string();
    let other = daemon_config(seen)
        .and_then(|config| config["path"].as_str().map(str::to_owned))
        .filter(|path| *path != own);
    Facts {
        noun: kind.word(),
        install: place.command("install --force"),
        program: seen.program().map(|program| {
            let runs = Path::new(&program).is_file();
            (program, runs)
        }),
        findings: audit(seen, config),
        other_config: other,
        bounded: matches!(manager, Manager::Launchd(_)) || seen.is_bounded(),
        enabled: seen.is_enabled(),
        running: seen.is_running(),
        lingers: lingers.filter(|_| seen.is_installed()),
    }
}

fn judge(facts: &Facts) -> Vec<Check> {
    let noun = facts.noun;
    let id = |point: &str| format!("{noun}-service.{point}");
    let Some((program, runs)) = &facts.program else {
        return vec![Check::skipped(
            &id("unit"),
            format!("no {noun} service is installed"),
        )];
    };
    let mut checks = vec![match runs {
        true => Check::ok(&id("program"), format!("the unit starts {program}")),
        false => {
            let what = format!("the unit starts {program}, which is not there");
            Check::fail(&id("program"), what, &facts.install)
        }
    }];
    for finding in &facts.findings {
        let (what, fix) = match finding.message.split_once(" Fix: ") {
            Some((what, fix)) => (what.trim_end_matches('.'), fix.replace(", then ", " && ")),
            None => (finding.message.as_str(), facts.install.clone()),
        };
        let point = finding
            .code
            .trim_start_matches(noun)
            .trim_start_matches('-');
        // An older unit still works.
        let fails = point != "version-mismatch";
        checks.push(Check::bad(&id(point), fails, what, fix));
    }
    if facts.findings.is_empty() {
        checks.push(Check::ok(
            &id("unit"),
            "the unit agrees with the configuration and holds no secret",
        ));
    }
    if let Some(other) = &facts.other_config {
        let what = format!("the service reads {other}, commands read another configuration");
        checks.push(Check::warn(&id("config"), what, &facts.install));
    }
    if !facts.bounded {
        let what = "the unit sets no MemoryMax, so the service may take all memory";
        checks.push(Check::warn(&id("memory"), what, &facts.install));
    }
    checks.push(runtime(facts, &id("runtime")));
    if let Some((user, lingers)) = &facts.lingers {
        checks.push(match lingers {
            true => Check::ok(&id("lingering"), format!("lingering is on for {user}")),
            false => {
                let what = format!(
                    "lingering is off for {user}: the service stops at logout and does not start with the machine"
                );
                Check::warn(&id("lingering"), what, format!("sudo loginctl enable-linger {user}"))
            }
        });
    }
    checks
}

fn runtime(facts: &Facts, id: &str) -> Check {
    let noun = facts.noun;
    match (facts.enabled, facts.running) {
        (Some(true), Some(true)) => Check::ok(id, "it is enabled and runs"),
        (_, Some(false)) => {
            let what = "it is installed and does not run";
            Check::fail(id, what, format!("openclaw {noun} start"))
        }
        (Some(false), _) => {
            let what = "it is installed and does not start by itself";
            Check::warn(id, what, &facts.install)
        }
        _ => Check::skipped(id, "the service manager cannot be asked"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::check::State;

    fn healthy() -> Facts {
        Facts {
            noun: "gateway",
            install: "openclaw gateway install --force".to_owned(),
            program: Some(("/usr/bin/openclaw".to_owned(), true)),
            bounded: true,
            enabled: Some(true),
            running: Some(true),
            lingers: Some(("pi".to_owned(), true)),
            ..Facts::default()
        }
    }

    #[test]
    fn a_service_that_is_not_there_is_no_trouble() {
        let checks = judge(&Facts {
            noun: "node",
            ..Facts::default()
        });
        assert_eq!(checks.len(), 1);
        assert_eq!(
            (checks[0].state, checks[0].id.as_str()),
            (State::Skipped, "node-service.unit")
        );
    }

    #[test]
    #[rustfmt::skip]
    fn each_fault_of_a_unit_has_its_check_and_its_command() {
        let all_ok = judge(&healthy());
        assert!(all_ok.iter().all(|check| check.state == State::Ok), "{all_ok:?}");
        let finding = |code: &str| Finding {
            code: code.to_owned(),
            message: "It is odd. Fix: openclaw a, then openclaw b".to_owned(),
        };
        let install = "openclaw gateway install --force";
        for (facts, id, state, fix) in [
            (Facts { program: Some(("/gone".to_owned(), false)), ..healthy() }, "program", State::Fail, install),
            (Facts { findings: vec![finding("gateway-token-embedded")], ..healthy() }, "token-embedded", State::Fail, "openclaw a && openclaw b"),
            (Facts { findings: vec![finding("gateway-version-mismatch")], ..healthy() }, "version-mismatch", State::Warn, "openclaw a && openclaw b"),
            (Facts { other_config: Some("/other".to_owned()), ..healthy() }, "config", State::Warn, install),
            (Facts { bounded: false, ..healthy() }, "memory", State::Warn, install),
            (Facts { running: Some(false), ..healthy() }, "runtime", State::Fail, "openclaw gateway start"),
            (Facts { enabled: Some(false), ..healthy() }, "runtime", State::Warn, install),
            (Facts { lingers: Some(("pi".to_owned(), false)), ..healthy() }, "lingering", State::Warn, "sudo loginctl enable-linger pi"),
        ] {
            let checks = judge(&facts);
            let odd: Vec<&Check> = checks.iter().filter(|check| check.state != State::Ok).collect();
            assert_eq!(odd.len(), 1, "{checks:?}");
            assert_eq!(odd[0].id, format!("gateway-service.{id}"));
            assert_eq!((odd[0].state, odd[0].fix.as_deref()), (state, Some(fix)));
        }
        let unknown = judge(&Facts { enabled: None, running: None, ..healthy() });
        assert!(unknown.iter().any(|check| check.state == State::Skipped));
    }
}
