//! Services from outside: what is printed and written, what the service manager is asked, and what the
//! daemons tell a manager that listens on a real socket.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::support::home::Home;
use crate::support::process::{
    Gateway, Outcome, Running, SECRET, command, free_port, openclaw, openclaw_with, program,
};
use crate::support::wait_for;

/// The programs of a service manager, in front of the search path.
pub fn programs(home: &Home, systemctl: &str) -> String {
    let loginctl = ("loginctl", "*) echo Linger=no;;");
    programs_that(home, &[("systemctl", systemctl), loginctl])
}

/// Programs that write down what they are asked and answer by a shell `case`, in front of the search path.
pub fn programs_that(home: &Home, answer: &[(&str, &str)]) -> String {
    let bin = home.path().join("manager");
    fs::create_dir_all(&bin).unwrap();
    let asked = home.path().join("asked");
    for (name, answers) in answer {
        let script = format!(
            "#!/bin/sh\necho \"{name} $*\" >> '{}'\ncase \"$*\" in\n{answers}\nesac\n",
            asked.display()
        );
        let source = bin.join(format!("{name}.source"));
        fs::write(&source, script).unwrap();
        // By a process of its own: a file that another test's child still has open cannot be executed.
        let done = Command::new("install")
            .args(["-m", "755"])
            .args([&source, &bin.join(name)])
            .status();
        assert!(done.unwrap().success());
    }
    format!("{}:/usr/bin:/bin", bin.display())
}

/// Nothing is enabled, everything else works.
const FRESH: &str = "*is-enabled*) exit 1;;\n*) exit 0;;";
/// Everything is enabled and runs.
const RUNNING: &str = "*show*) printf 'ActiveState=active\\nSubState=running\\nMainPID=4242\\nExecMainStatus=0\\nExecMainCode=0\\nLoadState=loaded\\n';;\n*) exit 0;;";
/// A machine on which the user's manager does not run.
const NO_BUS: &str = "*) echo 'Failed to connect to bus: No medium found' >&2; exit 1;;";

/// The same, but what stands on the disk is answered.
const DISK_ONLY: &str =
    "*is-enabled*) exit 1;;\n*) echo 'Failed to connect to bus: No medium found' >&2; exit 1;;";

pub fn asked(home: &Home) -> String {
    fs::read_to_string(home.path().join("asked")).unwrap_or_default()
}

fn run(home: &Home, manager: &str, variables: &[(&str, &str)], arguments: &[&str]) -> Outcome {
    let path = programs(home, manager);
    let variables = [&[("PATH", path.as_str())], variables].concat();
    openclaw_with(home, &variables, arguments)
}

fn unit_file(home: &Home, name: &str) -> PathBuf {
    home.path().join(".config/systemd/user").join(name)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_node_that_joins_is_installed_with_the_gateway_it_joined_over_what_was_there() {
    let gateway = Gateway::start();
    let home = Home::new();
    let url = format!("ws://{}", gateway.address);
    let token = [("OPENCLAW_GATEWAY_TOKEN", SECRET)];
    let join = ["node", "join", "--install", "--json", "--url", &url];
    let joined = run(&home, RUNNING, &token, &join).success().json();
    assert_eq!(
        (&joined["ok"], &joined["stored"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(joined["service"]["result"], "installed", "{joined}");
    let unit = fs::read_to_string(unit_file(&home, "openclaw-node.service")).unwrap();
    let port = gateway.address.port();
    let start = format!("node run --host 127.0.0.1 --port {port}");
    assert!(unit.contains(&start), "{unit}");

    // The gateway is stored even where no service can be made of it, and the answer says both.
    let home = Home::new();
    let outcome = run(&home, NO_BUS, &token, &join);
    assert_eq!(outcome.code, 1, "{outcome:?}");
    let document = outcome.json();
    assert_eq!(
        (&document["ok"], &document["stored"]),
        (&json!(false), &json!(true))
    );
    assert_eq!(document["error"]["code"], "UNAVAILABLE", "{document}");
    assert_eq!(home.json("node.json")["gateway"]["port"], port);
}

#[test]
fn a_node_is_installed_once_with_its_secrets_beside_the_unit_and_uninstalled_without_a_trace() {
    let home = Home::new();
    let secret = "n0de-secret";
    let variables = [
        ("OPENCLAW_GATEWAY_TOKEN", secret),
        ("OPENCLAW_ALLOW_INSECURE_PRIVATE_WS", "1"),
    ];
    let install = [
        "node",
        "install",
        "--host",
        "gw.lan",
        "--port",
        "19000",
        "--display-name",
        "A b",
        "--json",
        "--runtime",
        "bun",
    ];
    let done = run(&home, FRESH, &variables, &install).success();
    assert!(done.stderr.is_empty(), "{done:?}");
    let document = done.json();
    let service = json!({"label": "systemd", "loaded": true, "loadedText": "enabled", "notLoadedText": "disabled"});
    assert_eq!(document["action"], "install");
    assert_eq!(
        (&document["ok"], &document["result"]),
        (&json!(true), &json!("installed"))
    );
    assert_eq!(document["service"], service);
    let warnings = document["warnings"].to_string();
    assert!(
        warnings
            .contains("Note: --runtime bun has no effect; this build runs as a native executable."),
        "{warnings}"
    );
    assert!(
        warnings.contains("sudo loginctl enable-linger "),
        "{warnings}"
    );

    let unit = unit_file(&home, "openclaw-node.service");
    let text = fs::read_to_string(&unit).unwrap();
    assert!(
        text.contains(" node run --host gw.lan --port 19000 --display-name \"A b\"\n"),
        "{text}"
    );
    assert!(
        text.contains("Environment=OPENCLAW_ALLOW_INSECURE_PRIVATE_WS=1\n"),
        "{text}"
    );
    let secrets = home.state().join("node.systemd.env");
    assert!(
        fs::read_to_string(&secrets)
            .unwrap()
            .contains(&format!("OPENCLAW_GATEWAY_TOKEN=\"{secret}\""))
    );
    assert_eq!((mode(&unit), mode(&secrets)), (0o600, 0o600));
    let manager = asked(&home);
    for step in [
        "daemon-reload",
        "enable openclaw-node.service",
        "restart openclaw-node.service",
    ] {
        assert!(
            manager.contains(&format!("systemctl --user --no-ask-password {step}\n")),
            "{manager}"
        );
    }

    let again = run(&home, RUNNING, &[], &["node", "install"]).success();
    assert_eq!(
        again.stdout,
        "Node service already enabled.\nReinstall with: openclaw node install --force\n"
    );
    fs::remove_file(home.path().join("asked")).unwrap();
    run(&home, RUNNING, &[], &["node", "start"]).success();
    let manager = asked(&home);
    let started = manager.contains(" start openclaw-node.service\n");
    assert!(started && !manager.contains(" restart "), "{manager}");
    let status = run(&home, RUNNING, &[], &["node", "status", "--json"]).success();
    assert!(!status.stdout.contains(secret), "{status:?}");
    let status = status.json();
    let command = &status["service"]["command"];
    let arguments = command["programArguments"].as_array().unwrap();
    assert_eq!(arguments[1..3], [json!("node"), json!("run")]);
    assert_eq!(
        command["environment"]["OPENCLAW_GATEWAY_TOKEN"],
        "<redacted>"
    );
    assert_eq!(
        command["environmentValueSources"]["OPENCLAW_GATEWAY_TOKEN"],
        "file"
    );
    assert_eq!(command["environmentValueSources"]["HOME"], "inline");
    assert_eq!(
        status["service"]["runtime"],
        json!({"status": "running", "state": "active", "subState": "running", "pid": 4242, "lastExitStatus": 0, "lastExitReason": "0"})
    );
    // A forced install keeps what it is not told anew.
    let forced = run(
        &home,
        RUNNING,
        &[],
        &["node", "install", "--force", "--host", "other.lan", "--tls"],
    )
    .success();
    assert!(
        forced.stdout.contains(&format!(
            "\nPrevious unit backed up to: {}.bak",
            unit.display()
        )),
        "{forced:?}"
    );
    assert!(fs::read_to_string(&secrets).unwrap().contains(secret));

    let gone = run(&home, RUNNING, &[], &["node", "uninstall"]).success();
    assert_eq!(
        gone.stdout,
        format!("Removed systemd service: {}\n", unit.display())
    );
    assert_eq!(fs::read_dir(unit.parent().unwrap()).unwrap().count(), 0);
    assert!(!secrets.exists());
    let gone = run(&home, RUNNING, &[], &["node", "uninstall", "--json"])
        .success()
        .json();
    assert_eq!(
        (&gone["result"], &gone["service"]["loaded"]),
        (&json!("uninstalled"), &json!(false))
    );
}

#[test]
fn what_is_not_installed_is_not_started_and_the_answer_says_what_to_do() {
    let home = Home::new();
    home.write_config("{ gateway: { mode: 'local' } }");
    for (kind, title) in [("node", "Node"), ("gateway", "Gateway")] {
        for word in ["start", "restart"] {
            let refused = run(&home, FRESH, &[], &[kind, word, "--json"]);
            let document = refused.json();
            assert_eq!(refused.code, 1, "{refused:?}");
            assert_eq!(document["result"], "not-loaded");
            assert_eq!(document["message"], format!("{title} service disabled."));
            assert_eq!(
                document["hints"],
                json!([
                    format!("openclaw {kind} install"),
                    format!("openclaw {kind} start"),
                    format!("systemctl --user start openclaw-{kind}.service")
                ])
            );
            let text = run(&home, FRESH, &[], &[kind, word]);
            assert!(
                text.stdout
                    .contains(&format!("\nStart with: openclaw {kind} install\n")),
                "{text:?}"
            );
        }
        for manager in [FRESH, NO_BUS] {
            let stopped = run(&home, manager, &[], &[kind, "stop", "--json"])
                .success()
                .json();
            assert_eq!(
                (&stopped["ok"], &stopped["result"]),
                (&json!(true), &json!("not-loaded"))
            );
            assert_eq!(stopped.get("hints"), None);
            run(&home, manager, &[], &[kind, "uninstall"]).success();
        }
        let status = run(&home, FRESH, &[], &[kind, "status"]).success();
        assert!(
            status.stdout.starts_with("Service: systemd (disabled)\n"),
            "{status:?}"
        );
    }
}

#[test]
fn an_install_without_a_manager_that_answers_stores_no_token() {
    const CONFIG: &str = "{ gateway: { mode: 'local' } }";
    let home = Home::new();
    home.write_config(CONFIG);
    let refused = run(&home, DISK_ONLY, &[], &["gateway", "install"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(
        refused.stderr.starts_with("Gateway install failed: "),
        "{refused:?}"
    );
    assert_eq!(home.read("openclaw.json"), CONFIG);
}

#[test]
fn without_a_service_manager_the_reason_and_the_ways_out_are_named() {
    let home = Home::new();
    home.write_config("{ gateway: { mode: 'local' } }");
    let nowhere = [("PATH", "/nonexistent")];
    let missing = "systemctl not available; systemd user services are required on Linux.";
    let node = openclaw_with(&home, &nowhere, &["node", "install"]);
    assert_eq!(node.code, 1);
    assert!(
        node.stderr
            .starts_with(&format!("Node install failed: Error: {missing}\nTip: ")),
        "{node:?}"
    );
    let gateway = openclaw_with(&home, &nowhere, &["gateway", "install", "--json"]);
    assert!(
        gateway.code == 1 && gateway.stderr.is_empty(),
        "{gateway:?}"
    );
    let document = gateway.json();
    assert_eq!(
        document["error"],
        format!("Gateway install failed: {missing}")
    );
    let kinds = |document: &Value| -> Vec<String> {
        let items = document["hintItems"].as_array().unwrap().iter();
        items
            .map(|item| item["kind"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(
        kinds(&document),
        [
            "install",
            "generic",
            "generic",
            "systemd-unavailable",
            "container-foreground"
        ]
    );
    let headless = run(
        &home,
        NO_BUS,
        &[("OPENCLAW_CONTAINER", "1")],
        &["gateway", "install", "--json"],
    );
    let document = headless.json();
    assert!(
        document["error"].as_str().unwrap().starts_with(
            "Gateway service check failed: systemctl --user unavailable: Failed to connect to bus"
        ),
        "{document}"
    );
    assert_eq!(
        kinds(&document)[3..],
        [
            "systemd-unavailable",
            "systemd-headless",
            "systemd-headless"
        ]
    );
    // What just failed is no advice for a person.
    let container = [("OPENCLAW_CONTAINER", "1")];
    let headless = run(&home, NO_BUS, &container, &["gateway", "install"]);
    let tips: Vec<&str> = headless
        .stderr
        .lines()
        .filter(|line| line.starts_with("Tip: "))
        .collect();
    assert_eq!(tips.len(), 3, "{headless:?}");
    assert!(
        tips.iter()
            .all(|tip| tip.to_lowercase().contains("systemd") || tip.contains("XDG_RUNTIME_DIR")),
        "{tips:?}"
    );
    // Nothing was written on the way.
    assert!(
        !home.path().join(".config").exists() && !home.state().join("gateway.systemd.env").exists()
    );

    let nix = run(
        &home,
        FRESH,
        &[("OPENCLAW_NIX_MODE", "1")],
        &["node", "install"],
    );
    assert_eq!(
        (nix.code, nix.stderr.as_str()),
        (1, "Nix mode detected; service install is disabled.\n")
    );
    let bad = run(&home, FRESH, &[], &["node", "install", "--runtime", "deno"]);
    assert!(
        bad.code == 1
            && bad
                .stderr
                .contains("Invalid --runtime (use \"node\" or \"bun\")"),
        "{bad:?}"
    );
    let port = run(&home, FRESH, &[], &["node", "install", "--port", "x"]);
    assert!(
        port.code == 1 && port.stderr.contains("Invalid port"),
        "{port:?}"
    );
}

#[test]
fn a_gateway_is_installed_only_where_it_would_start() {
    for (config, variables, arguments, reason) in [
        (
            "{}",
            &[][..],
            &[][..],
            "Gateway start blocked: existing config is missing gateway.mode.",
        ),
        (
            "{ gateway: { mode: 'local', auth: { token: 't', password: 'p' } } }",
            &[],
            &[],
            "gateway.auth.mode is unset",
        ),
        (
            "{ gateway: { mode: 'local', auth: { mode: 'password' } } }",
            &[("OPENCLAW_GATEWAY_PASSWORD", "p")],
            &[],
            "no password is configured",
        ),
        (
            "{ gateway: { mode: 'local', auth: { token: 'mine' } } }",
            &[],
            &["--token", "other"],
            "--token differs from gateway.auth.token",
        ),
        (
            "{ gateway: { mode: 'local' } }",
            &[],
            &["--wrapper", "/nonexistent/w"],
            "is no executable file",
        ),
    ] {
        let home = Home::new();
        home.write_config(config);
        let arguments = [&["gateway", "install"], arguments].concat();
        let refused = run(&home, FRESH, variables, &arguments);
        assert_eq!(refused.code, 1, "{refused:?}");
        assert!(refused.stderr.contains(reason), "{reason}: {refused:?}");
        assert!(!home.path().join(".config").exists(), "{reason}");
    }
}

#[test]
fn a_gateways_token_is_made_or_kept_and_never_in_the_unit() {
    let home = Home::new();
    home.write_config("{ gateway: { mode: 'local' } }");
    let print = run(&home, FRESH, &[], &["gateway", "install", "--print"]).success();
    assert!(
        print
            .stdout
            .starts_with("[Unit]\nDescription=OpenClaw Gateway (v"),
        "{print:?}"
    );
    assert!(
        asked(&home).is_empty() && !home.read("openclaw.json").contains("token"),
        "printing changes nothing"
    );
    let made = run(&home, FRESH, &[], &["gateway", "install", "--json"])
        .success()
        .json();
    assert!(
        made["warnings"]
            .to_string()
            .contains("Generated a gateway token"),
        "{made}"
    );
    assert!(home.read("openclaw.json").contains("token"));

    let home = Home::new();
    home.write_config("{ gateway: { mode: 'local', port: 18999 } }");
    let kept = run(
        &home,
        FRESH,
        &[],
        &[
            "--profile",
            "default",
            "gateway",
            "install",
            "--token",
            "gw-secret",
        ],
    )
    .success();
    let unit = fs::read_to_string(unit_file(&home, "openclaw-gateway.service")).unwrap();
    assert!(
        !unit.contains("gw-secret") && unit.contains(" gateway --port 18999\n"),
        "{unit}"
    );
    assert!(
        home.read("gateway.systemd.env")
            .contains("OPENCLAW_GATEWAY_TOKEN=\"gw-secret\""),
        "{kept:?}"
    );
    assert!(!home.read("openclaw.json").contains("token"));
    let status = run(
        &home,
        RUNNING,
        &[],
        &["gateway", "status", "--json", "--no-probe"],
    )
    .success()
    .json();
    assert_eq!(status["service"]["loaded"], true);
    assert_eq!(
        status["service"]["command"]["environment"]["OPENCLAW_GATEWAY_TOKEN"],
        "<redacted>"
    );
    assert_eq!(
        status["service"]["configAudit"],
        json!({"ok": true, "issues": []})
    );
    assert_eq!(status["config"]["daemon"]["valid"], true);
    home.write_config("{ gateway: { mode: 'local', port: 18998, auth: { token: 'another' } } }");
    let status = run(
        &home,
        RUNNING,
        &[],
        &["gateway", "status", "--json", "--no-probe"],
    )
    .success()
    .json();
    let codes: Vec<&str> = status["service"]["configAudit"]["issues"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|it| it["code"].as_str())
        .collect();
    assert_eq!(codes, ["gateway-port-mismatch", "gateway-token-drift"]);
    let page = run(
        &home,
        RUNNING,
        &[],
        &["status", "--json", "--timeout", "500"],
    )
    .success()
    .json();
    assert_eq!(
        (
            &page["gatewayService"]["installed"],
            &page["nodeService"]["installed"]
        ),
        (&json!(true), &json!(false))
    );
}

#[test]
fn profiles_have_services_of_their_own() {
    let home = Home::new();
    let lab = run(
        &home,
        FRESH,
        &[],
        &["--profile", "lab", "node", "install", "--print"],
    )
    .success();
    for line in [
        "Environment=OPENCLAW_PROFILE=lab".to_owned(),
        format!(
            "EnvironmentFile=-{}/.openclaw-lab/node.systemd.env",
            home.path().display()
        ),
    ] {
        assert!(
            lab.stdout.lines().any(|found| found == line),
            "{line}: {lab:?}"
        );
    }
    let status = run(&home, FRESH, &[], &["--profile", "lab", "node", "start"]);
    assert!(
        status
            .stdout
            .contains("systemctl --user start openclaw-node-lab.service"),
        "{status:?}"
    );
}

#[test]
fn a_system_service_needs_root_and_somebody_to_run_as() {
    let home = Home::new();
    let root = rustix::process::geteuid().is_root();
    let refused = run(&home, FRESH, &[], &["node", "install", "--system"]);
    assert_eq!(refused.code, 1);
    let fix = match root {
        true => "Fix: openclaw node install --system --run-as <user>",
        false => "Fix: sudo openclaw node install --system",
    };
    assert!(refused.stderr.contains(fix), "{refused:?}");
    let alone = run(&home, FRESH, &[], &["node", "install", "--run-as", "root"]);
    assert!(
        alone.stderr.contains("--run-as goes with --system"),
        "{alone:?}"
    );
    let nobody = run(
        &home,
        FRESH,
        &[],
        &[
            "node",
            "install",
            "--system",
            "--run-as",
            "no-such-account",
            "--print",
        ],
    );
    assert!(nobody.stderr.contains("no local account"), "{nobody:?}");
    let unit = run(
        &home,
        FRESH,
        &[],
        &["node", "install", "--system", "--run-as", "root", "--print"],
    )
    .success();
    for line in [
        "User=root",
        "Environment=HOME=/root",
        "WantedBy=multi-user.target",
    ] {
        assert!(unit.stdout.lines().any(|found| found == line), "{unit:?}");
    }
}

/// `systemd-analyze` of this machine, or the reason why there is no answer, said aloud.
fn analyzed(arguments: &[&str], unit: &Path) -> Option<(String, String)> {
    let runtime = unit.parent().unwrap();
    let output = Command::new("systemd-analyze")
        .args(arguments)
        .arg(unit)
        .env("XDG_RUNTIME_DIR", runtime)
        .output();
    match output {
        Ok(output) => {
            let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
            Some((text(output.stdout), text(output.stderr)))
        }
        Err(error) => {
            eprintln!(
                "SKIPPED: systemd-analyze cannot be run ({error}); `make service` installs it"
            );
            None
        }
    }
}

#[test]
fn systemd_finds_nothing_to_say_about_the_units_and_scores_the_gateway() {
    let home = Home::new();
    home.write_config("{ gateway: { mode: 'local' } }");
    let awkward = "M\"y\\ $HOME 100% 'Node' ;";
    for (kind, scope, more) in [
        ("gateway", "--user", &[][..]),
        ("gateway", "--system", &["--system", "--run-as", "root"]),
        ("node", "--user", &["--display-name", awkward]),
        (
            "node",
            "--system",
            &["--display-name", awkward, "--system", "--run-as", "root"],
        ),
    ] {
        let root_home = [("OPENCLAW_STATE_DIR", home.state())];
        let variables: Vec<(&str, &str)> = root_home
            .iter()
            .map(|(name, path)| (*name, path.to_str().unwrap()))
            .collect();
        let arguments = [&[kind, "install", "--print"], more].concat();
        let printed = openclaw_with(&home, &variables, &arguments).success();
        let unit = home.path().join(format!("openclaw-{kind}.service"));
        fs::write(&unit, &printed.stdout).unwrap();
        let Some((_, complaints)) = analyzed(&["verify", "--man=no", scope], &unit) else {
            return;
        };
        assert_eq!(complaints, "", "{kind} {scope}:\n{}", printed.stdout);
        if (kind, scope) != ("gateway", "--system") {
            continue;
        }
        let (table, _) = analyzed(&["security", "--offline=true", "--no-pager"], &unit).unwrap();
        let score = table
            .lines()
            .find_map(|line| line.split_once("Overall exposure level for "))
            .unwrap()
            .1;
        let score = score
            .split_whitespace()
            .nth(1)
            .unwrap()
            .parse::<f64>()
            .unwrap();
        println!("exposure of the gateway's system unit: {score}");
        assert!(score <= 3.0, "{score}\n{table}");
    }
}

/// A service manager's end of the notify socket.
struct Listening {
    socket: UnixDatagram,
    path: PathBuf,
    heard: Vec<String>,
}

impl Listening {
    fn at(home: &Home) -> Listening {
        let path = home.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_nonblocking(true).unwrap();
        Listening {
            socket,
            path,
            heard: Vec::new(),
        }
    }

    /// Everything that was said until now.
    fn listen(&mut self) {
        let mut buffer = [0; 2048];
        while let Ok(length) = self.socket.recv(&mut buffer) {
            self.heard
                .push(String::from_utf8_lossy(&buffer[..length]).into_owned());
        }
    }

    #[track_caller]
    fn wait(&mut self, start: &str) -> String {
        wait_for(start, || {
            self.listen();
            self.heard.iter().find(|it| it.starts_with(start)).cloned()
        })
    }

    fn beats(&mut self) -> usize {
        self.listen();
        self.heard.iter().filter(|it| *it == "WATCHDOG=1").count()
    }
}

/// A process that is supervised with a watchdog of so many microseconds.
fn supervised(mut command: Command, manager: &Listening, watchdog: &str) -> Running {
    command
        .env("NOTIFY_SOCKET", &manager.path)
        .env("WATCHDOG_USEC", watchdog);
    Running::start(command)
}

/// Shows that the signs of life come from a process that works: they stop with it and come back.
fn lives_and_dies(manager: &mut Listening, process: &mut Running) {
    manager.wait("WATCHDOG=1");
    let before = manager.beats();
    wait_for("further signs of life", || {
        (manager.beats() > before + 2).then_some(())
    });
    process.signal("STOP");
    let stat = format!("/proc/{}/stat", process.pid());
    wait_for("the stop", || {
        fs::read_to_string(&stat)
            .ok()
            .filter(|it| it.contains(") T "))
    });
    let stopped = manager.beats();
    assert_eq!(manager.beats(), stopped);
    process.signal("CONT");
    wait_for("life after the stop", || {
        (manager.beats() > stopped).then_some(())
    });
    process.signal("TERM");
    manager.wait("STOPPING=1");
    assert_eq!(process.exit_code(), 0);
}

#[test]
fn a_gateway_tells_its_manager_when_it_listens_lives_and_stops() {
    let port = free_port();
    let home = Home::with_gateway(port, SECRET);
    let mut manager = Listening::at(&home);
    let mut gateway = command(&program(), &home);
    gateway.args(["gateway", "run"]);
    let mut process = supervised(gateway, &manager, "400000");
    let ready = manager.wait("READY=1");
    assert_eq!(
        ready,
        format!("READY=1\nSTATUS=listening on ws://127.0.0.1:{port} ws://[::1]:{port}")
    );
    assert!(
        std::net::TcpStream::connect(("127.0.0.1", port)).is_ok(),
        "ready means that it listens"
    );
    process.signal("USR1");
    manager.wait("RELOADING=1");
    wait_for("the second start", || {
        manager.listen();
        (manager
            .heard
            .iter()
            .filter(|it| it.starts_with("READY=1"))
            .count()
            == 2)
            .then_some(())
    });
    lives_and_dies(&mut manager, &mut process);
}

#[test]
fn a_node_host_is_ready_at_its_first_attempt_and_lives_while_no_gateway_does() {
    let home = Home::new();
    let mut manager = Listening::at(&home);
    let port = free_port().to_string();
    let mut node = command(&program(), &home);
    node.args(["node", "run", "--port", &port]);
    let mut process = supervised(node, &manager, "400000");
    let ready = manager.wait("READY=1");
    assert_eq!(
        ready,
        format!("READY=1\nSTATUS=connecting to ws://127.0.0.1:{port}")
    );
    manager.wait("STATUS=node host gateway connect failed: ");
    lives_and_dies(&mut manager, &mut process);
}

#[test]
fn a_connected_node_host_lives_too_and_reads_its_secrets_as_a_service() {
    let gateway = Gateway::start();
    let home = Home::new();
    let port = gateway.address.port().to_string();
    home.write(
        "node.systemd.env",
        format!("OPENCLAW_GATEWAY_TOKEN=\"{SECRET}\"\n").as_bytes(),
    );
    let mut manager = Listening::at(&home);
    let mut node = command(&program(), &home);
    node.args(["node", "run", "--port", &port])
        .env("OPENCLAW_SERVICE_KIND", "node");
    let mut process = supervised(node, &manager, "400000");
    let connected = manager.wait("STATUS=connected to ");
    assert!(
        connected.starts_with(&format!("STATUS=connected to ws://127.0.0.1:{port} as ")),
        "{connected}"
    );
    lives_and_dies(&mut manager, &mut process);
}

#[test]
fn a_watchdog_that_is_meant_for_another_process_hears_nothing() {
    let home = Home::new();
    let mut manager = Listening::at(&home);
    let mut node = command(&program(), &home);
    node.args(["node", "run", "--port", &free_port().to_string()])
        .env("WATCHDOG_PID", "1");
    let mut process = supervised(node, &manager, "1000");
    manager.wait("STATUS=node host gateway connect failed: ");
    process.signal("TERM");
    manager.wait("STOPPING=1");
    assert_eq!((process.exit_code(), manager.beats()), (0, 0));
}

#[test]
fn help_names_the_service_commands() {
    let home = Home::new();
    for (kind, words) in [
        (
            "node",
            &["install", "status", "start", "stop", "restart", "uninstall"][..],
        ),
        (
            "gateway",
            &["install", "status", "start", "stop", "restart", "uninstall"],
        ),
    ] {
        let help = openclaw(&home, &[kind, "--help"]).success();
        for word in words {
            assert!(
                help.stdout.contains(&format!("  {word} ")),
                "{word}: {help:?}"
            );
        }
    }
}
