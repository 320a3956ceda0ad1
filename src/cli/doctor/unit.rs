//! An installed service beside the configuration: what it runs, whether it runs, and whether it stays.

use std::path::Path;

use crate::cli::doctor::check::Check;
use crate::cli::doctor::scene::Scene;
use crate::cli::service::Seen;
use crate::cli::service::audit::{Finding, audit, daemon_config};
use crate::service::account::Account;
use crate::service::{Kind, Manager, Socket};

/// What is known about one service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Facts {
    /// `gateway` or `node`.
    noun: &'static str,
    /// What mends it.
    commands: Commands,
    /// The unit file, with whose it is.
    unit: String,
    /// Directories with drop-ins, which are not read here.
    drop_ins: Vec<String>,
    /// It is a package's, which nobody has enabled.
    offered: bool,
    /// The program of the unit, when there is a unit; whether it can be run.
    program: Option<(String, bool)>,
    /// The disagreements with the configuration.
    findings: Vec<Finding>,
    /// The configuration that the service reads, where it is another one than that of commands; whose account runs it,
    /// where that is another one too.
    other_config: Option<(String, Option<String>)>,
    /// The memory is bounded, as far as the manager can do that.
    bounded: bool,
    /// It starts by itself, when the manager could be asked.
    enabled: Option<bool>,
    /// It runs, when the manager could be asked.
    running: Option<bool>,
    /// The socket that starts it.
    socket: Option<Socket>,
    /// The port that the gateway would take, where it is the one of commands.
    port: Option<u16>,
    /// Whether the user's services stay at logout, with the user; unknown, or a service of the machine.
    lingers: Option<(String, bool)>,
}

/// The commands that mend a service, as its owner types them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Commands {
    /// Makes the unit another one.
    change: String,
    /// Brings its program back.
    reinstall: String,
    start: String,
    /// Has it start by itself.
    enable: String,
    /// Has its socket open other addresses.
    edit_socket: String,
}

/// `gateway-service.*` or `node-service.*`.
pub fn checks(scene: &Scene, kind: Kind, seen: Option<&Seen>) -> Vec<Check> {
    let place = match kind {
        Kind::Gateway => &scene.gateway_service,
        Kind::Node => &scene.node_service,
    };
    let noun = kind.word();
    match (place, seen) {
        (Ok(_), Some(seen)) => judge(&facts(scene, kind, seen)),
        (Err(why), _) => vec![Check::skipped(&format!("{noun}-service.unit"), why)],
        (Ok(_), None) => Vec::new(),
    }
}

fn commands(seen: &Seen) -> Commands {
    let (place, change) = (seen.place(), seen.change());
    let packaged = seen.source().is_some_and(|source| source.is_packaged);
    Commands {
        reinstall: match packaged {
            true => "sudo apt install --reinstall openclaw".to_owned(),
            false => change.clone(),
        },
        start: place.command_as_owner("start"),
        edit_socket: match seen.socket() {
            Some(socket) => place.systemctl_on("edit", &socket.unit),
            None => String::new(),
        },
        enable: match seen.is_of_a_package() {
            true => place.systemctl("enable --now"),
            false => change.clone(),
        },
        change,
    }
}

fn facts(scene: &Scene, kind: Kind, seen: &Seen) -> Facts {
    let place = seen.place();
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
    let source = seen.source();
    let whose = source.and_then(|source| source.whose());
    let path = source.map_or(String::new(), |source| source.path.display().to_string());
    let drop_ins = source.map_or(&[][..], |source| &source.drop_ins);
    Facts {
        noun: kind.word(),
        commands: commands(seen),
        unit: whose.map_or(path.clone(), |whose| format!("{path} ({whose})")),
        drop_ins: drop_ins
            .iter()
            .map(|path| path.display().to_string())
            .collect(),
        offered: !seen.is_installed(),
        program: seen.program().map(|program| {
            let runs = Path::new(&program).is_file();
            (program, runs)
        }),
        findings: audit(seen, config),
        other_config: other.map(|path| (path, seen.other_account())),
        bounded: matches!(manager, Manager::Launchd(_)) || seen.is_bounded(),
        enabled: seen.is_enabled(),
        running: seen.is_running(),
        socket: seen.socket().cloned(),
        port: config
            .map(|config| config.gateway.port)
            .filter(|_| place.serves(&scene.paths)),
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
    if facts.offered {
        let what = format!("no {noun} service is enabled; there is {}", facts.unit);
        return vec![Check::skipped(&id("unit"), what)];
    }
    let commands = &facts.commands;
    let mut checks = vec![match runs {
        true => Check::ok(&id("program"), format!("the unit starts {program}")),
        false => {
            let what = format!("the unit starts {program}, which is not there");
            Check::fail(&id("program"), what, &commands.reinstall)
        }
    }];
    for finding in &facts.findings {
        let (what, fix) = match finding.message.split_once(" Fix: ") {
            Some((what, fix)) => (what.trim_end_matches('.'), fix.replace(", then ", " && ")),
            None => (finding.message.as_str(), commands.change.clone()),
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
        let unit = &facts.unit;
        let what = match (&facts.other_config, facts.drop_ins.is_empty()) {
            (Some(_), _) => format!("{unit} holds no secret"),
            (None, true) => format!("{unit} agrees with the configuration and holds no secret"),
            (None, false) => {
                format!("{unit} agrees with the configuration; its drop-ins were not read")
            }
        };
        checks.push(Check::ok(&id("unit"), what).items(facts.drop_ins.clone()));
    }
    if let Some((other, account)) = &facts.other_config {
        checks.push(match account {
            Some(account) => {
                let what = format!("the service runs as {account} and reads {other}, which commands of this account do not");
                Check::warn(&id("config"), what, format!("sudo -u {account} -H openclaw doctor"))
            }
            None => {
                let what = format!("the service reads {other}, commands read another configuration");
                Check::warn(&id("config"), what, &commands.change)
            }
        });
    }
    // A drop-in may well set it.
    if !facts.bounded && facts.drop_ins.is_empty() {
        let what = "the unit sets no MemoryMax, so the service may take all memory";
        checks.push(Check::warn(&id("memory"), what, &commands.change));
    }
    checks.extend(socket(facts, &id("socket")));
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

/// A gateway that is given another port than its own does not start.
fn socket(facts: &Facts, id: &str) -> Option<Check> {
    let socket = facts
        .socket
        .as_ref()
        .filter(|socket| socket.enabled || socket.listening)?;
    let (port, unit, addresses) = (facts.port?, &socket.unit, socket.addresses.join(" "));
    if socket.has_port(port) {
        return Some(Check::ok(id, format!("{unit} opens {addresses}")));
    }
    let what = format!("{unit} opens {addresses}, the configuration says port {port}");
    Some(Check::fail(id, what, &facts.commands.edit_socket))
}

fn runtime(facts: &Facts, id: &str) -> Check {
    let commands = &facts.commands;
    let by_socket = facts.socket.as_ref().filter(|socket| socket.enabled);
    match (facts.enabled, facts.running) {
        (Some(true), Some(true)) => match by_socket {
            Some(socket) => Check::ok(id, format!("it runs, and {} is enabled", socket.unit)),
            None => Check::ok(id, "it is enabled and runs"),
        },
        (Some(true), Some(false)) if by_socket.is_some_and(|socket| socket.listening) => {
            Check::ok(id, "its socket listens; the first connection starts it")
        }
        (_, Some(false)) => {
            let what = "it is installed and does not run";
            Check::fail(id, what, &commands.start)
        }
        (Some(false), _) => {
            let what = "it is installed and does not start by itself";
            Check::warn(id, what, &commands.enable)
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
            commands: Commands {
                change: "openclaw gateway install --force".to_owned(),
                reinstall: "apt".to_owned(),
                start: "openclaw gateway start".to_owned(),
                enable: "systemctl enable".to_owned(),
                edit_socket: "systemctl edit s".to_owned(),
            },
            unit: "/u (of the package openclaw)".to_owned(),
            program: Some(("/usr/bin/openclaw".to_owned(), true)),
            bounded: true,
            enabled: Some(true),
            running: Some(true),
            lingers: Some(("pi".to_owned(), true)),
            ..Facts::default()
        }
    }

    fn opened(enabled: bool, listening: bool) -> Socket {
        Socket {
            unit: "s".to_owned(),
            enabled,
            listening,
            addresses: vec!["127.0.0.1:1".to_owned(), "[::1]:1".to_owned()],
        }
    }

    #[test]
    fn a_unit_that_a_package_offers_and_nobody_has_enabled_is_no_trouble() {
        let checks = judge(&Facts {
            offered: true,
            running: Some(false),
            enabled: Some(false),
            ..healthy()
        });
        assert_eq!((checks.len(), checks[0].state), (1, State::Skipped));
        assert!(
            checks[0]
                .what
                .ends_with("there is /u (of the package openclaw)")
        );
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
            (Facts { program: Some(("/gone".to_owned(), false)), ..healthy() }, "program", State::Fail, "apt"),
            (Facts { findings: vec![finding("gateway-token-embedded")], ..healthy() }, "token-embedded", State::Fail, "openclaw a && openclaw b"),
            (Facts { findings: vec![finding("gateway-version-mismatch")], ..healthy() }, "version-mismatch", State::Warn, "openclaw a && openclaw b"),
            (Facts { other_config: Some(("/other".to_owned(), None)), ..healthy() }, "config", State::Warn, install),
            (Facts { other_config: Some(("/other".to_owned(), Some("kim".to_owned()))), ..healthy() }, "config", State::Warn, "sudo -u kim -H openclaw doctor"),
            (Facts { bounded: false, ..healthy() }, "memory", State::Warn, install),
            (Facts { running: Some(false), ..healthy() }, "runtime", State::Fail, "openclaw gateway start"),
            (Facts { enabled: Some(false), ..healthy() }, "runtime", State::Warn, "systemctl enable"),
            (Facts { socket: Some(opened(true, true)), port: Some(2), ..healthy() }, "socket", State::Fail, "systemctl edit s"),
            (Facts { running: Some(false), socket: Some(opened(true, false)), ..healthy() }, "runtime", State::Fail, "openclaw gateway start"),
            (Facts { lingers: Some(("pi".to_owned(), false)), ..healthy() }, "lingering", State::Warn, "sudo loginctl enable-linger pi"),
        ] {
            let checks = judge(&facts);
            let odd: Vec<&Check> = checks.iter().filter(|check| check.state != State::Ok).collect();
            assert_eq!(odd.len(), 1, "{checks:?}");
            assert_eq!(odd[0].id, format!("gateway-service.{id}"));
            assert_eq!((odd[0].state, odd[0].fix.as_deref()), (state, Some(fix)));
        }
        for (facts, word) in [
            (Facts { running: Some(false), socket: Some(opened(true, true)), ..healthy() }, "the first connection starts it"),
            (Facts { socket: Some(opened(true, true)), ..healthy() }, "it runs, and s is enabled"),
            (Facts { socket: Some(opened(false, false)), ..healthy() }, "it is enabled and runs"),
            (Facts { socket: Some(opened(true, true)), port: Some(1), ..healthy() }, "s opens 127.0.0.1:1 [::1]:1"),
            (Facts { bounded: false, drop_ins: vec!["/d".to_owned()], ..healthy() }, "drop-ins were not read"),
        ] {
            let checks = judge(&facts);
            assert!(checks.iter().all(|check| check.state == State::Ok), "{checks:?}");
            assert!(checks.iter().any(|check| check.what.contains(word)), "{word}: {checks:?}");
        }
        let unknown = judge(&Facts { enabled: None, running: None, ..healthy() });
        assert!(unknown.iter().any(|check| check.state == State::Skipped));
    }
}
