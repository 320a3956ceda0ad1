//! `doctor` on a real machine: each fault is made, found, and mended where that is safe; nothing else changes.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};

use crate::services::programs_that;
use crate::support::device::Device;
use crate::support::home::Home;
use crate::support::peer::Peer;
use crate::support::process::{
    Gateway, Outcome, SECRET, command, finish, free_port, openclaw, openclaw_with, program,
};

const DAY_MS: u64 = 24 * 3_600 * 1_000;

/// A search path without any service manager.
const NO_MANAGER: (&str, &str) = ("PATH", "/nonexistent");

fn doctor(home: &Home, more: &[&str]) -> Outcome {
    let line = [&["doctor", "--json"], more].concat();
    openclaw_with(home, &[NO_MANAGER], &line)
}

/// The check with this id.
#[track_caller]
fn check(report: &Value, id: &str) -> Value {
    let checks = report["checks"].as_array().unwrap();
    let found = checks.iter().find(|check| check["id"] == id);
    found
        .unwrap_or_else(|| panic!("no {id} in {report:#}"))
        .clone()
}

#[track_caller]
fn state(report: &Value, id: &str) -> String {
    check(report, id)["state"].as_str().unwrap().to_owned()
}

/// Everything is private as the program itself keeps it.
fn tidy(home: &Home) {
    for path in below(&home.state()) {
        let mode = if path.is_dir() { 0o700 } else { 0o600 };
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    }
}

fn below(path: &Path) -> Vec<PathBuf> {
    let mut found = vec![path.to_owned()];
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        found.extend(below(&entry.path()));
    }
    found
}

/// Every file below the state directory: mode and content.
fn files(home: &Home) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    let seen = |path: PathBuf| {
        let mode = fs::symlink_metadata(&path).unwrap().permissions().mode();
        let bytes = fs::read(&path).unwrap_or_default();
        (path, (mode & 0o7777, bytes))
    };
    below(&home.state()).into_iter().map(seen).collect()
}

fn mode(home: &Home, name: &str) -> u32 {
    fs::metadata(home.state().join(name))
        .unwrap()
        .permissions()
        .mode()
        & 0o7777
}

/// Makes a file look as if nobody had written to it for an hour.
fn age(path: &Path) {
    let file = File::options().write(true).open(path).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(3_600))
        .unwrap();
}

#[test]
fn a_healthy_gateway_has_no_failure_and_is_left_without_a_trace() {
    let gateway = Gateway::start();
    tidy(&gateway.home);
    let before = files(&gateway.home);
    let outcome = doctor(&gateway.home, &[]);
    let report = outcome.json();
    assert_eq!(
        (outcome.code, &report["ok"]),
        (0, &json!(true)),
        "{report:#}"
    );
    for id in [
        "config.valid",
        "state.modes",
        "state.owner",
        "state.leftovers",
        "state.files",
        "secrets.token",
        "port.owner",
        "clock.time",
        "clock.gateway",
        "gateway.reachable",
        "gateway.version",
        "discovery.mdns",
        "nodes.stale",
        "requests.pending",
    ] {
        assert_eq!(state(&report, id), "ok", "{}", check(&report, id));
    }
    for id in [
        "tls.certificate",
        "node.settings",
        "gateway-service.unit",
        "node-service.unit",
    ] {
        assert_eq!(state(&report, id), "skipped", "{}", check(&report, id));
    }
    assert_eq!(report["counts"]["fail"], 0);
    let checks = report["checks"].as_array().unwrap();
    for check in checks {
        let odd = ["warn", "fail"].contains(&check["state"].as_str().unwrap());
        assert_eq!(odd, check["fix"].is_string(), "{check}");
        assert!(!check["what"].as_str().unwrap().is_empty(), "{check}");
    }
    assert_eq!(files(&gateway.home), before, "it leaves a trace");
    let mut operator = Peer::operator(gateway.address, SECRET);
    let listed = operator.call("device.pair.list", json!({})).unwrap();
    assert_eq!(
        (&listed["paired"], &listed["pending"]),
        (&json!([]), &json!([]))
    );

    let text = openclaw_with(&gateway.home, &[NO_MANAGER], &["doctor"]).success();
    assert!(
        text.stdout.contains("ok      gateway.reachable"),
        "{}",
        text.stdout
    );
    assert!(
        text.stdout.trim_end().ends_with("skipped"),
        "{}",
        text.stdout
    );
    assert!(
        !format!("{report}{text:?}").contains(SECRET),
        "the secret is shown"
    );
}

#[test]
fn modes_and_leftovers_are_found_and_fixed_once_without_widening_anything() {
    let home = Home::with_gateway(free_port(), SECRET);
    openclaw(&home, &["devices", "list"]);
    tidy(&home);
    let id = "0f0e0d0c-0b0a-4908-8706-050403020100";
    let leftover = format!("devices/paired.json.{id}.tmp");
    for name in [
        leftover.as_str(),
        "mine.txt",
        "devices/paired.json.tmp",
        "node-audit.jsonl",
    ] {
        home.write(name, b"x");
        fs::set_permissions(home.state().join(name), Permissions::from_mode(0o600)).unwrap();
    }
    age(&home.state().join(&leftover));
    home.write("elsewhere/other", b"x");
    symlink(
        home.state().join("elsewhere/other"),
        home.state().join("gateway-token"),
    )
    .unwrap();
    let set = |name: &str, mode| {
        fs::set_permissions(home.state().join(name), Permissions::from_mode(mode)).unwrap();
    };
    for (name, mode) in [
        ("", 0o755),
        ("devices", 0o700),
        ("openclaw.json", 0o644),
        ("identity", 0o711),
        ("identity/device.json", 0o440),
        ("node-audit.jsonl", 0o640),
        ("mine.txt", 0o644),
        ("elsewhere/other", 0o644),
    ] {
        set(name, mode);
    }
    let before = files(&home);
    let outcome = doctor(&home, &[]);
    let report = outcome.json();
    assert_eq!(
        (outcome.code, &report["ok"]),
        (1, &json!(false)),
        "{report:#}"
    );
    let modes = check(&report, "state.modes");
    assert_eq!(
        (&modes["state"], &modes["fix"]),
        (&json!("fail"), &json!("openclaw doctor --fix"))
    );
    assert_eq!(modes["items"].as_array().unwrap().len(), 5, "{modes:#}");
    let left = check(&report, "state.leftovers");
    assert_eq!(
        (&left["state"], left["items"].as_array().unwrap().len()),
        (&json!("warn"), 1)
    );
    assert_eq!(files(&home), before, "a look changes nothing");

    let fixed = doctor(&home, &["--fix"]);
    let report = fixed.json();
    assert_eq!(fixed.code, 0, "{report:#}");
    assert_eq!(report["fixed"].as_array().unwrap().len(), 6, "{report:#}");
    assert_eq!(report["notFixed"], json!([]));
    for (name, expected) in [
        ("", 0o700),
        ("openclaw.json", 0o600),
        ("identity", 0o700),
        ("identity/device.json", 0o400),
        ("node-audit.jsonl", 0o600),
        ("mine.txt", 0o644),
        ("elsewhere/other", 0o644),
    ] {
        assert_eq!(mode(&home, name), expected, "{name}");
    }
    assert!(!home.state().join(&leftover).exists());
    assert!(
        home.state().join("devices/paired.json.tmp").exists(),
        "no file of ours"
    );
    for (path, (_, bytes)) in before {
        // The lock names who held it last.
        let ours = [leftover.as_str(), "gateway.lock"].map(|name| home.state().join(name));
        if !ours.contains(&path) {
            assert_eq!(
                fs::read(&path).unwrap_or_default(),
                bytes,
                "{}",
                path.display()
            );
        }
    }
    let again = doctor(&home, &["--fix"]).success().json();
    assert_eq!(
        (&again["fixed"], &again["notFixed"]),
        (&json!([]), &json!([]))
    );
}

#[test]
fn a_running_gateway_keeps_its_leftovers_to_itself() {
    let gateway = Gateway::start();
    tidy(&gateway.home);
    let leftover = "devices/paired.json.0f0e0d0c-0b0a-4908-8706-050403020100.tmp";
    gateway.home.write(leftover, b"x");
    fs::set_permissions(
        gateway.home.state().join(leftover),
        Permissions::from_mode(0o600),
    )
    .unwrap();
    age(&gateway.home.state().join(leftover));
    let report = doctor(&gateway.home, &["--fix"]).success().json();
    assert_eq!(report["fixed"], json!([]), "{report:#}");
    let left = report["notFixed"][0].as_str().unwrap();
    assert!(left.contains(&gateway.process.pid().to_string()), "{left}");
    assert_eq!(
        check(&report, "state.leftovers")["fix"],
        "openclaw gateway restart"
    );
}

#[test]
fn files_that_do_not_parse_are_named_with_line_and_column() {
    let home = Home::with_gateway(free_port(), SECRET);
    for (name, text) in [
        ("devices/paired.json", "{\n  \"a\": ]"),
        ("nodes/pending.json", "[]"),
        ("identity/device-auth.json", "{\n\n  oops"),
        ("exec-approvals.json", "{\n  \"version\": 1, \"wat\": 2}"),
        ("node.json", "[1]"),
    ] {
        home.write(name, text.as_bytes());
    }
    tidy(&home);
    let before = files(&home);
    let outcome = doctor(&home, &["--fix"]);
    assert_eq!(outcome.code, 1);
    let found = check(&outcome.json(), "state.files");
    let items: Vec<&str> = found["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item.as_str().unwrap())
        .collect();
    for place in [
        "devices/paired.json:2:8",
        "nodes/pending.json:1:1",
        "identity/device-auth.json:3:3",
        "exec-approvals.json",
        "node.json:1:0",
    ] {
        assert!(
            items.iter().any(|item| item.contains(place)),
            "{place}: {items:#?}"
        );
    }
    assert_eq!(
        files(&home),
        before,
        "what does not parse is nobody's to mend"
    );
}

#[test]
fn a_broken_configuration_is_named_and_everything_else_is_looked_at() {
    let home = Home::new();
    home.write_config("{ gateway: { port: 'x', bogus: 1 } }");
    let outcome = doctor(&home, &[]);
    assert_eq!(outcome.code, 1);
    let report = outcome.json();
    let config = check(&report, "config.valid");
    assert_eq!(config["state"], "fail");
    let file = home.state().join("openclaw.json");
    let fix = format!("\"${{EDITOR:-vi}}\" {}", file.display());
    assert_eq!(config["fix"], fix);
    assert_eq!(config["items"].as_array().unwrap().len(), 2, "{config:#}");
    assert_eq!(state(&report, "state.files"), "ok");
    assert_eq!(state(&report, "clock.time"), "ok");
}

#[test]
fn secrets_are_told_by_fingerprint_and_sources_that_disagree_are_a_warning() {
    let gateway = Gateway::start();
    let other = "another-secret-19c2";
    let variables = [NO_MANAGER, ("OPENCLAW_GATEWAY_TOKEN", other)];
    let drawn = "xG0v3kq8_T1mVw5Zr2Yb7Nc4Ld9Hs6Pf0Jt-Ae3Ku1I";
    gateway
        .home
        .write("gateway-token", format!("{drawn}\n").as_bytes());
    tidy(&gateway.home);
    let outcome = openclaw_with(&gateway.home, &variables, &["doctor", "--json"]);
    let report = outcome.json();
    let token = check(&report, "secrets.token");
    assert_eq!(
        (&token["state"], &token["fix"]),
        (&json!("warn"), &json!("unset OPENCLAW_GATEWAY_TOKEN")),
        "{token:#}"
    );
    let items = token["items"].to_string();
    for place in [
        "env OPENCLAW_GATEWAY_TOKEN: value A",
        "config gateway.auth.token: value B",
        "gateway-token: sha256:",
    ] {
        assert!(items.contains(place), "{items}");
    }
    assert!(
        token["what"]
            .as_str()
            .unwrap()
            .contains("commands use the token of env"),
        "{token}"
    );
    // The wrong one wins, so the gateway refuses.
    assert_eq!(state(&report, "gateway.reachable"), "fail");
    assert_eq!(outcome.code, 1);
    let status = |token: &str| {
        let variables = [NO_MANAGER, ("OPENCLAW_GATEWAY_TOKEN", token)];
        let line = ["gateway", "status", "--no-probe"];
        let text = openclaw_with(&gateway.home, &variables, &line).stdout;
        let line = [&line[..], &["--json"]].concat();
        let report = openclaw_with(&gateway.home, &variables, &line).json();
        let print = report["gateway"]["credentials"]["tokenFingerprint"].clone();
        (text, print)
    };
    let (text, print) = status(drawn);
    let print = print.as_str().unwrap();
    assert!(
        items.contains(&format!("gateway-token: {print}")),
        "{items}"
    );
    assert!(text.contains(&format!(" ({print})\n")), "{text}");
    let (text, print) = status(other);
    assert!(print.is_null() && !text.contains("sha256:"), "{text}");
    for secret in [SECRET, other, drawn] {
        assert!(
            !outcome.stdout.contains(secret) && !outcome.stderr.contains(secret),
            "{outcome:?}"
        );
    }
}

#[test]
fn a_port_that_somebody_else_holds_and_a_gateway_that_does_not_run_are_told() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let home = Home::with_gateway(port, SECRET);
    tidy(&home);
    let report = doctor(&home, &["--timeout", "2000"]).json();
    let held = check(&report, "port.owner");
    assert_eq!(held["state"], "fail", "{held:#}");
    assert!(
        held["what"]
            .as_str()
            .unwrap()
            .contains(&format!("pid {} ", std::process::id())),
        "{held}"
    );
    drop(listener);
    let outcome = doctor(&home, &[]);
    let report = outcome.json();
    assert_eq!(state(&report, "port.owner"), "ok");
    assert_eq!(state(&report, "gateway.reachable"), "warn");
    assert_eq!(outcome.code, 0, "{report:#}");
    assert!(
        !home.state().join("identity").exists(),
        "it makes no device"
    );
}

#[test]
fn a_machine_without_anything_is_no_failure_and_nothing_is_made() {
    let home = Home::new();
    let outcome = doctor(&home, &["--fix"]);
    assert_eq!(outcome.code, 0, "{outcome:?}");
    assert!(!home.state().exists(), "it makes a state directory");
}

#[test]
fn it_ends_within_its_time_whatever_does_not_answer() {
    // Accepts and says nothing.
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let home = Home::with_gateway(listener.local_addr().unwrap().port(), SECRET);
    let begun = Instant::now();
    let line = ["doctor", "--json", "--timeout", "1500"];
    let outcome = openclaw_with(&home, &[NO_MANAGER], &line);
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "{:?}",
        begun.elapsed()
    );
    assert!(outcome.json()["checks"].as_array().unwrap().len() > 5);
}

#[test]
fn nodes_that_nobody_saw_for_long_are_named_with_the_command_that_removes_them() {
    let gateway = Gateway::start();
    let device = Device::new();
    let mut operator = Peer::operator(gateway.address, SECRET);
    let node = Peer::node(gateway.address, SECRET, &device, &["system.which"]).unwrap();
    let request = operator.event("node.pair.requested")["payload"]["requestId"].clone();
    operator
        .call("node.pair.approve", json!({"requestId": request}))
        .unwrap();
    drop((node, operator));
    let (home, mut process) = (gateway.home, gateway.process);
    process.signal("TERM");
    assert_eq!(process.exit_code(), 0);
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap();
    let old = u64::try_from(now.as_millis()).unwrap() - 100 * DAY_MS;
    let away = |file: &str, names: &[&str]| {
        let mut paired = home.json(file);
        for name in names {
            paired[&device.id][*name] = json!(old);
        }
        for token in paired[&device.id]["tokens"]
            .as_object_mut()
            .into_iter()
            .flatten()
        {
            token.1["lastUsedAtMs"] = json!(old);
        }
        home.write(file, paired.to_string().as_bytes());
    };
    let names = ["createdAtMs", "approvedAtMs", "lastSeenAtMs"];
    away(
        "nodes/paired.json",
        &[&names[..], &["lastConnectedAtMs"]].concat(),
    );
    // Its device has been seen, so the node is not away.
    tidy(&home);
    assert_eq!(state(&doctor(&home, &[]).json(), "nodes.stale"), "ok");
    away("devices/paired.json", &names);
    tidy(&home);
    let report = doctor(&home, &[]).success().json();
    let stale = check(&report, "nodes.stale");
    let remove = "openclaw nodes prune --not-seen 90d";
    assert_eq!(
        (&stale["state"], &stale["fix"]),
        (&json!("warn"), &json!(remove)),
        "{stale:#}"
    );
    // The command is right.
    let mut words: Vec<&str> = remove.split(' ').skip(1).collect();
    words.push("--yes");
    openclaw(&home, &words).success();
    assert_eq!(state(&doctor(&home, &[]).json(), "nodes.stale"), "ok");
}

#[test]
fn a_certificate_that_another_pin_names_is_found() {
    let gateway = Gateway::start_tls();
    let port = gateway.address.port();
    let write = |pin: &str| {
        let gateway_part =
            json!({"host": "127.0.0.1", "port": port, "tls": true, "tlsFingerprint": pin});
        let text = json!({"version": 1, "nodeId": "n", "gateway": gateway_part}).to_string();
        gateway.home.write("node.json", text.as_bytes());
        tidy(&gateway.home);
    };
    let own = gateway.cli(&["gateway", "fingerprint"]).success().stdout;
    write(own.trim());
    let report = doctor(&gateway.home, &[]).success().json();
    for id in [
        "tls.certificate",
        "tls.pins",
        "node.settings",
        "node.gateway",
        "node.approvals",
        "gateway.reachable",
    ] {
        assert_eq!(state(&report, id), "ok", "{}", check(&report, id));
    }
    write(&"ab".repeat(32));
    let outcome = doctor(&gateway.home, &[]);
    assert_eq!(outcome.code, 1);
    let report = outcome.json();
    let pins = check(&report, "tls.pins");
    assert_eq!(pins["state"], "fail", "{pins:#}");
    assert!(pins["fix"].as_str().unwrap().contains(own.trim()), "{pins}");
    assert_eq!(
        state(&report, "node.gateway"),
        "fail",
        "{}",
        check(&report, "node.gateway")
    );
}

#[test]
fn in_remote_mode_the_gateway_elsewhere_is_asked_and_this_machine_is_no_gateway() {
    let gateway = Gateway::start();
    let home = Home::new();
    let url = format!("ws://{}", gateway.address);
    home.write_config(&format!(
        "{{ gateway: {{ mode: 'remote', remote: {{ url: '{url}', token: '{SECRET}' }} }} }}"
    ));
    tidy(&home);
    let report = doctor(&home, &[]).success().json();
    assert_eq!(state(&report, "gateway.reachable"), "ok");
    for id in ["port.owner", "tls.certificate", "nodes.stale"] {
        assert_eq!(state(&report, id), "skipped", "{}", check(&report, id));
    }
    home.write_config("{ gateway: { mode: 'remote' } }");
    tidy(&home);
    let outcome = doctor(&home, &[]);
    assert_eq!(outcome.code, 1);
    let missing = check(&outcome.json(), "gateway.reachable");
    assert_eq!(
        missing["fix"],
        "openclaw config set gateway.remote.url <wss-url>"
    );
    home.write_config(&format!(
        "{{ gateway: {{ mode: 'remote', remote: {{ url: '{url}', token: '${{NOWHERE_SET}}' }} }} }}"
    ));
    tidy(&home);
    let report = doctor(&home, &[]).json();
    let secret = check(&report, "secrets.token");
    assert_eq!(secret["state"], "fail", "{secret}");
    let fix = "openclaw config set gateway.remote.token <token>";
    assert_eq!(secret["fix"], fix, "{secret}");
    // The address is right.
    assert_eq!(state(&report, "gateway.reachable"), "skipped");
}

#[test]
fn a_gateway_that_was_asked_for_by_its_url_and_is_not_reached_is_a_failure() {
    let home = Home::new();
    let line = ["--url", "ws://192.0.2.1:1", "--token", "x"];
    let outcome = doctor(&home, &line);
    assert_eq!(outcome.code, 1, "{outcome:?}");
    assert_eq!(state(&outcome.json(), "gateway.reachable"), "fail");
    let outcome = doctor(&home, &line[..2]);
    assert_eq!(outcome.code, 1, "{outcome:?}");
}

#[test]
fn a_node_that_its_host_refuses_to_connect_in_plaintext_is_a_failure() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let home = Home::new();
    for (host, expected) in [("127.0.0.1", "ok"), ("8.8.8.8", "fail")] {
        let gateway = json!({"host": host, "port": port, "tls": false});
        let file = json!({"version": 1, "nodeId": "n", "gateway": gateway});
        home.write("node.json", file.to_string().as_bytes());
        tidy(&home);
        let report = doctor(&home, &["--timeout", "2000"]).json();
        let node = check(&report, "node.gateway");
        assert_eq!(node["state"], expected, "{node}");
        let fix =
            format!("openclaw node run --host {host} --port {port} --tls-fingerprint <sha256>");
        assert_eq!(
            node["fix"].as_str(),
            (expected == "fail").then_some(fix.as_str())
        );
    }
}

#[test]
fn lingering_and_the_time_server_are_asked_for() {
    let home = Home::new();
    let user = Command::new("id").arg("-un").output().unwrap().stdout;
    let user = String::from_utf8(user).unwrap();
    let linger = format!("sudo loginctl enable-linger {}", user.trim());
    for (answer, expected) in [("no", "warn"), ("yes", "ok")] {
        let (lingers, synchronized) = (
            format!("*) echo Linger={answer};;"),
            format!("*) echo NTPSynchronized={answer};;"),
        );
        let path = programs_that(
            &home,
            &[
                ("systemctl", "*) exit 0;;"),
                ("loginctl", &lingers),
                ("timedatectl", &synchronized),
            ],
        );
        let manager = [("PATH", path.as_str())];
        openclaw_with(&home, &manager, &["node", "install", "--force"]).success();
        let report = openclaw_with(&home, &manager, &["doctor", "--json"]).json();
        for (id, fix) in [
            ("node-service.lingering", linger.as_str()),
            ("clock.sync", "sudo timedatectl set-ntp true"),
        ] {
            let check = check(&report, id);
            assert_eq!(check["state"], expected, "{check}");
            let fix = (expected == "warn").then_some(fix);
            assert_eq!(check["fix"].as_str(), fix, "{check}");
        }
    }
}

#[test]
fn a_disk_that_is_nearly_full_or_read_only_is_seen() {
    let refused = Command::new("unshare").args(["-rm", "true"]).output();
    if !refused.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: no mounts here");
        return;
    }
    let home = Home::new();
    fs::create_dir_all(home.state()).unwrap();
    let disk = |options: &str| {
        let mut line = command(Path::new("/usr/bin/unshare"), &home);
        let script = "mount -t tmpfs -o \"$1\" tmpfs \"$2\" && shift 2 && exec \"$@\"";
        line.args(["-rm", "/bin/sh", "-c", script, "sh", options])
            .arg(home.state())
            .arg(program())
            .args(["doctor", "--json"])
            .env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin");
        check(&finish(line).json(), "state.disk")
    };
    for (options, state, word) in [
        ("size=1g", "ok", "MiB are free"),
        ("size=40m", "warn", "only "),
        ("size=64k", "fail", "only 0 MiB are free"),
        ("size=1g,nr_inodes=2", "warn", "hardly any more files"),
        ("size=1g,ro", "fail", "nothing can be written"),
    ] {
        let check = disk(options);
        assert_eq!(check["state"], state, "{options}: {check}");
        let what = check["what"].as_str().unwrap();
        assert!(what.contains(word), "{options}: {what}");
    }
}

#[test]
fn a_gateway_on_a_read_only_disk_is_known_as_the_one_that_holds_its_state() {
    let refused = Command::new("unshare").args(["-rm", "true"]).output();
    if !refused.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: no mounts here");
        return;
    }
    let home = Home::with_gateway(free_port(), SECRET);
    let kept = home.path().join("kept.json");
    fs::copy(home.state().join("openclaw.json"), &kept).unwrap();
    // The first gateway leaves its name in the lock, which the second cannot replace.
    let script = r#"
        state=$1 kept=$2 log=$3 openclaw=$4
        start() {
            "$openclaw" gateway run >"$log" 2>&1 &
            tries=0
            until "$openclaw" gateway health >/dev/null 2>&1 || [ $tries = 100 ]; do
                tries=$((tries + 1)); sleep 0.1
            done
        }
        mount -t tmpfs -o mode=700 tmpfs "$state" && cp "$kept" "$state/openclaw.json" || exit 9
        start; kill $!; wait $!
        mount -o remount,ro "$state" || exit 9
        start
        "$openclaw" doctor --json
        kill $!; wait $!
    "#;
    let log = home.path().join("log");
    let mut line = command(Path::new("/usr/bin/unshare"), &home);
    line.args(["-rm", "/bin/sh", "-c", script, "sh"])
        .args([home.state(), kept, log.clone(), program()])
        .env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin");
    let outcome = finish(line);
    let log = fs::read_to_string(log).unwrap();
    assert!(log.contains("the file system is read-only"), "{log}");
    let owner = check(&outcome.json(), "port.owner");
    assert_eq!(owner["state"], "ok", "{owner} {outcome:?}");
}
