//! A machine on which a package brought the units: they are seen, told apart from those of an install, and never removed.
//! The machine is a mount namespace with the units of `contrib/systemd` below /usr/local/lib.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::services::{asked, programs};
use crate::support::home::Home;
use crate::support::process::{Outcome, command, finish, free_port, program};

const GATEWAY: &str = "/usr/local/lib/systemd/system/openclaw-gateway.service";

/// The machine's services are enabled and run, the user's are not.
const MACHINE_RUNS: &str = "*--user*is-enabled*) exit 1;;\n*.socket*) printf 'ActiveState=inactive\\nUnitFileState=disabled\\n';;
*--user*show*) printf 'ActiveState=inactive\\nLoadState=loaded\\n';;\n*show*) printf 'ActiveState=active\\nMainPID=4242\\nLoadState=loaded\\n';;\n*) exit 0;;";
/// The machine's gateway waits for the first connection to its socket.
const SOCKET_LISTENS: &str =
    "*is-enabled*) exit 1;;\n*.socket*) printf 'ActiveState=active\\nUnitFileState=enabled\\nListen=127.0.0.1:9 (Stream)\\n';;
*show*) printf 'ActiveState=inactive\\nLoadState=loaded\\n';;\n*) exit 0;;";
/// Nothing is enabled or runs.
const NOTHING: &str = "*is-enabled*) exit 1;;\n*show*) printf 'ActiveState=inactive\\nLoadState=loaded\\nUnitFileState=disabled\\n';;\n*) exit 0;;";
/// Nobody has enabled the machine's gateway; somebody started it.
const STARTED: &str =
    "*is-enabled*) exit 1;;\n*--user*) printf 'ActiveState=inactive\\nLoadState=loaded\\n';;
*show*) printf 'ActiveState=active\\nMainPID=4242\\nUnitFileState=disabled\\n';;\n*) exit 0;;";

/// `None`, said aloud, where this kernel gives no mount namespace. A target starts the units in `enabled`.
struct Machine {
    home: Home,
    manager: &'static str,
    enabled: &'static str,
}

impl Machine {
    fn new(manager: &'static str, enabled: &'static str) -> Option<Machine> {
        let refused = Command::new("unshare").args(["-rm", "true"]).output();
        if !refused.is_ok_and(|output| output.status.success()) {
            eprintln!("SKIPPED: no mount namespaces here");
            return None;
        }
        let home = Home::new();
        home.write_config(&format!("{{ gateway: {{ port: {} }} }}", free_port()));
        Some(Machine {
            home,
            manager,
            enabled,
        })
    }

    fn run(&self, arguments: &[&str]) -> Outcome {
        let script = "set -e; mount -t tmpfs tmpfs /usr/local/lib; mkdir /usr/local/lib/systemd
            cp -r \"$1/system\" \"$1/user\" /usr/local/lib/systemd; wants=/usr/local/lib/systemd/system/any.target.wants
            mkdir $wants; for unit in $2; do ln -s ../$unit $wants; done; shift 2
            code=0; \"$@\" || code=$?; test -e /usr/local/lib/systemd/system/openclaw-gateway.service; exit $code";
        let mut line = command(Path::new("unshare"), &self.home);
        line.args(["-rm", "/bin/sh", "-c", script, "sh"])
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/systemd"))
            .arg(self.enabled)
            .arg(program())
            .args(arguments)
            .env(
                "PATH",
                programs(&self.home, self.manager) + ":/usr/sbin:/sbin",
            );
        finish(line)
    }

    fn status(&self, kind: &str) -> Value {
        let more: &[&str] = if kind == "gateway" {
            &["--no-probe"]
        } else {
            &[]
        };
        let line = [&[kind, "status", "--json"], more].concat();
        self.run(&line).success().json()
    }

    fn doctor(&self) -> Vec<Value> {
        let report = self.run(&["doctor", "--json"]).json();
        report["checks"].as_array().unwrap().clone()
    }
}

#[track_caller]
fn check<'a>(checks: &'a [Value], id: &str) -> &'a Value {
    let found = checks.iter().find(|check| check["id"] == id);
    found.unwrap_or_else(|| panic!("no {id} in {checks:#?}"))
}

#[test]
fn the_machines_gateway_of_a_package_is_shown_with_its_file_and_its_configuration() {
    let Some(machine) = Machine::new(MACHINE_RUNS, "openclaw-gateway.service") else {
        return;
    };
    let status = machine.status("gateway");
    let service = &status["service"];
    let unit = json!({"name": "openclaw-gateway.service", "scope": "system", "supplier": "vendor", "package": null, "dropIns": []});
    assert_eq!(
        (&service["loaded"], &service["unit"]),
        (&json!(true), &unit)
    );
    assert_eq!(service["runtime"]["status"], "running");
    assert_eq!(service["command"]["sourcePath"], GATEWAY);
    assert_eq!(
        status["config"]["daemon"]["path"],
        "/var/lib/openclaw/.openclaw/openclaw.json"
    );
    let text = machine.run(&["gateway", "status", "--no-probe"]).stdout;
    let file = format!("\nService file: {GATEWAY} (installed with the program)\n");
    let config =
        "\nConfig (service): /var/lib/openclaw/.openclaw/openclaw.json (of the account openclaw)\n";
    assert!(text.contains(&file) && text.contains(config), "{text}");

    let checks = machine.doctor();
    assert_eq!(check(&checks, "gateway-service.runtime")["state"], "ok");
    let config = check(&checks, "gateway-service.config");
    assert_eq!(config["fix"], "sudo -u openclaw -H openclaw doctor");
    let port = check(&checks, "port.owner");
    assert_eq!(port["state"], "skipped", "{port}");
    // /usr/local/bin/openclaw is not there: the unit is not written anew for that.
    let program = check(&checks, "gateway-service.program");
    assert_eq!(
        program["fix"],
        "sudo systemctl edit openclaw-gateway.service"
    );
}

#[test]
fn an_install_beside_the_machines_gateway_is_warned_about_and_counts() {
    let Some(machine) = Machine::new(MACHINE_RUNS, "openclaw-gateway.service") else {
        return;
    };
    let home = &machine.home;
    home.write_config("{ gateway: { mode: 'local' } }");
    let second = machine.run(&["gateway", "install", "--json"]).success();
    let warnings = second.json()["warnings"].to_string();
    let warning = "this machine has a gateway of its own (openclaw-gateway.service)";
    assert!(warnings.contains(warning), "{warnings}");
    let unit = ".config/systemd/user/openclaw-gateway.service";
    let unit = home.path().join(unit);
    let status = machine.status("gateway");
    assert_eq!(status["service"]["command"]["sourcePath"], json!(unit));
    let deep = machine.run(&["gateway", "status", "--no-probe", "--deep", "--json"]);
    let others = &deep.json()["extraServices"];
    assert_eq!(
        others,
        &json!([{"label": "systemd", "sourcePath": GATEWAY}])
    );
    machine.run(&["gateway", "uninstall"]).success();
    assert!(!unit.exists());
}

#[test]
fn a_unit_of_a_package_is_stopped_and_never_removed() {
    let Some(machine) = Machine::new(MACHINE_RUNS, "openclaw-gateway.socket") else {
        return;
    };
    let refused = machine.run(&["gateway", "uninstall", "--json"]);
    let document = refused.json();
    assert_eq!(refused.code, 1, "{refused:?}");
    let why = format!(
        "Gateway uninstall failed: {GATEWAY} is installed with the program, which uninstall leaves alone."
    );
    assert_eq!(document["error"], why);
    assert_eq!(
        document["hints"],
        json!(["sudo systemctl disable --now openclaw-gateway.service openclaw-gateway.socket"])
    );
    let stopped = machine.run(&["gateway", "stop"]).success();
    assert_eq!(
        stopped.stdout,
        "Stopped systemd service: openclaw-gateway.service\n"
    );
    let asked = asked(&machine.home);
    let stop = "systemctl --no-ask-password stop openclaw-gateway.service\n";
    assert!(
        asked.contains(stop) && !asked.contains("disable"),
        "{asked}"
    );
}

#[test]
fn a_socket_that_listens_is_a_service_that_starts_by_itself() {
    let Some(machine) = Machine::new(SOCKET_LISTENS, "openclaw-gateway.socket") else {
        return;
    };
    let service = &machine.status("gateway")["service"];
    let socket = json!({"name": "openclaw-gateway.socket", "enabled": true, "listening": true, "addresses": ["127.0.0.1:9"]});
    assert_eq!(
        (&service["loaded"], &service["socket"]),
        (&json!(true), &socket)
    );
    let checks = machine.doctor();
    let runtime = check(&checks, "gateway-service.runtime");
    assert_eq!(
        (&runtime["state"], &runtime["what"]),
        (
            &json!("ok"),
            &json!("its socket listens; the first connection starts it")
        )
    );
}

#[test]
fn units_that_nobody_has_enabled_are_offered_and_no_trouble() {
    let Some(machine) = Machine::new(NOTHING, "") else {
        return;
    };
    for kind in ["gateway", "node"] {
        let status = machine.status(kind);
        let unit = &status["service"]["unit"];
        assert_eq!(
            (&unit["scope"], &unit["supplier"]),
            (&json!("user"), &json!("vendor"))
        );
        let refused = machine.run(&[kind, "start", "--json"]);
        assert_eq!(refused.code, 1, "{refused:?}");
        let hints = &refused.json()["hints"];
        assert_eq!(
            hints[0],
            format!("systemctl --user enable --now openclaw-{kind}.service")
        );
        assert_eq!(hints[1], format!("openclaw {kind} install"));
        let unit = if kind == "node" { "node@root" } else { kind };
        assert_eq!(
            hints[2],
            format!("sudo systemctl enable --now openclaw-{unit}.service")
        );
        let gone = machine.run(&[kind, "uninstall"]).success();
        assert!(
            gone.stdout.starts_with("Systemd service not found at "),
            "{gone:?}"
        );
    }
    let checks = machine.doctor();
    for id in ["gateway-service.unit", "node-service.unit", "port.owner"] {
        let check = check(&checks, id);
        assert_eq!(check["state"], "skipped", "{check}");
    }
    let overview = machine
        .run(&["status", "--json", "--timeout", "500"])
        .json();
    assert_eq!(overview["gatewayService"]["installed"], false);

    let started = Machine {
        manager: STARTED,
        ..machine
    };
    let status = started.status("gateway");
    let service = &status["service"];
    assert_eq!(
        (&service["unit"]["scope"], &service["runtime"]["status"]),
        (&json!("system"), &json!("running"))
    );
}

#[test]
fn the_machines_node_host_of_a_user_is_that_users_instance() {
    let Some(machine) = Machine::new(MACHINE_RUNS, "openclaw-node@root.service") else {
        return;
    };
    let service = &machine.status("node")["service"];
    assert_eq!(service["unit"]["name"], "openclaw-node@root.service");
    assert_eq!(
        service["command"]["environment"]["OPENCLAW_SYSTEMD_UNIT"],
        "openclaw-node@root.service"
    );
    let restarted = machine.run(&["node", "restart"]).success();
    assert_eq!(
        restarted.stdout,
        "Restarted systemd service: openclaw-node@root.service\n"
    );
    // Another user's is none of this one's.
    let other = Machine {
        manager: NOTHING,
        enabled: "openclaw-node@kim.service",
        ..machine
    };
    assert_eq!(other.status("node")["service"]["unit"]["scope"], "user");
}
