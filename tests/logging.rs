//! The log of the daemon: the file, its form and its bounds, and that it stops nobody.

use serde_json::{Value, json};

use crate::support::home::Home;
use crate::support::peer::Peer;
use crate::support::process::{Gateway, SECRET, free_port, openclaw_with};
use crate::support::reloading::{applied, logged, replace};

fn config(port: u16, logging: &str) -> String {
    format!(
        r#"{{ gateway: {{ mode: "local", port: {port}, reload: {{ debounceMs: 10 }},
              auth: {{ mode: "token", token: "{SECRET}" }} }}, logging: {{ {logging} }} }}"#
    )
}

fn start(logging: &str) -> Gateway {
    let port = free_port();
    let home = Home::new();
    home.write_config(&config(port, logging));
    Gateway::start_at(home, port)
}

#[test]
fn every_line_is_in_a_private_file_that_status_names() {
    use std::os::unix::fs::PermissionsExt;
    let gateway = start("");
    drop(Peer::operator(gateway.address, SECRET));
    logged(&gateway, "closed conn=", 1);
    let status = gateway
        .cli(&["gateway", "status", "--json"])
        .success()
        .json();
    let file = std::path::PathBuf::from(status["logFile"].as_str().unwrap());
    assert!(
        file.starts_with(gateway.home.temp().join("openclaw")),
        "{status}"
    );
    let mode =
        |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));
    assert!(
        gateway
            .process
            .output()
            .contains(&format!("log file: {}", file.display()))
    );
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(!text.contains(SECRET));
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let ready = lines
        .iter()
        .find(|line| line["message"] == "ready")
        .expect("it says so");
    assert_eq!(
        (ready["level"].as_str(), ready["subsystem"].as_str()),
        (Some("info"), Some("gateway"))
    );
    assert!(lines.iter().any(|line| line["subsystem"] == "ws"));
    let shown = gateway.cli(&["gateway", "status"]).success().stdout;
    assert!(
        shown.contains("\nFile logs: ~/tmp/openclaw/openclaw-"),
        "{shown}"
    );
}

#[test]
fn levels_form_and_file_change_while_it_runs() {
    let gateway = start("");
    let port = gateway.address.port();
    let file = gateway.home.path().join("elsewhere/gateway.log");
    let moved = format!("file: '{}', maxFileBytes: 2000", file.display());
    replace(&gateway, &config(port, &moved));
    logged(&gateway, "[reload] config change applied", 1);
    logged(&gateway, "[reload] config change", 2);
    while !file.with_extension("1.log").exists() {
        drop(Peer::operator(gateway.address, SECRET));
    }
    assert!(std::fs::metadata(&file).unwrap().len() <= 2000);
    // Only errors from here on, and on the console as JSON.
    replace(
        &gateway,
        &config(
            port,
            "level: 'error', consoleLevel: 'warn', consoleStyle: 'json'",
        ),
    );
    let silenced = |gateway: &Gateway| {
        let before = gateway.process.output().len();
        drop(Peer::operator(gateway.address, SECRET));
        let _ = gateway.get("/healthz");
        gateway.process.output().len() == before
    };
    // A line may come late: silence is what lasts.
    let lasting = || (0..20).all(|_| silenced(&gateway)).then_some(());
    crate::support::wait_for("silence", lasting);
    replace(&gateway, "{");
    logged(
        &gateway,
        "\"subsystem\":\"reload\",\"message\":\"config reload skipped: ",
        1,
    );
}

#[test]
fn a_log_that_cannot_be_written_stops_nobody() {
    let gateway = start("file: '/dev/full'");
    logged(&gateway, "the log file cannot be written: ", 1);
    Peer::operator(gateway.address, SECRET)
        .call("health", json!({}))
        .unwrap();
    assert_eq!(
        gateway
            .process
            .output()
            .matches("cannot be written")
            .count(),
        1
    );
    let port = gateway.address.port();
    replace(&gateway, &config(port, "file: '/proc/version'"));
    logged(&gateway, &applied("logging.file"), 1);
    Peer::operator(gateway.address, SECRET);
}

#[test]
fn gateways_may_share_a_configuration_only_when_told_and_never_a_state() {
    let gateway = start("");
    let other = gateway.home.path().join("other-state");
    let port = free_port().to_string();
    let shared = gateway.home.state().join("openclaw.json");
    let place = [
        ("OPENCLAW_STATE_DIR", other.to_str().unwrap()),
        ("OPENCLAW_CONFIG_PATH", shared.to_str().unwrap()),
        ("OPENCLAW_GATEWAY_PORT", &port),
    ];
    let refused = openclaw_with(&gateway.home, &place, &["gateway", "run"]);
    assert!(
        refused.code != 0 && refused.stderr.contains("already running"),
        "{refused:?}"
    );

    let told = [&place[..], &[("OPENCLAW_ALLOW_MULTI_GATEWAY", "1")]].concat();
    let mut command =
        crate::support::process::command(&crate::support::process::program(), &gateway.home);
    command.args(["gateway", "run"]).envs(told.iter().copied());
    let mut second = crate::support::process::Running::start(command);
    second.wait_for_output("[gateway] ready");
    // The same state directory stays locked, whatever is allowed.
    let same = [
        ("OPENCLAW_ALLOW_MULTI_GATEWAY", "1"),
        ("OPENCLAW_GATEWAY_PORT", &port),
    ];
    let refused = openclaw_with(&gateway.home, &same, &["gateway", "run"]);
    assert!(!refused.stdout.contains("[gateway] ready"), "{refused:?}");
    assert!(
        format!("{}{}", refused.stdout, refused.stderr).contains("already running"),
        "{refused:?}"
    );
}
