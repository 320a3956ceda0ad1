//! `openclaw audit` with the built program: reading the trail with and without a gateway, staying over a
//! rotation, and finding what somebody changed in it.

use std::fs::{self, File};
use std::io::Write;

use serde_json::{Value, json};

use crate::support::device::Device;
use crate::support::home::Home;
use crate::support::peer::Peer;
use crate::support::process::{Gateway, Outcome, Running, SECRET, command, openclaw, program};

/// A gateway that let a device in and then ended.
fn ended_gateway() -> Home {
    let mut gateway = Gateway::start();
    let node = Device::new();
    let _node = Peer::node(gateway.address, SECRET, &node, &["system.which"]).unwrap();
    gateway.cli(&["devices", "list"]).success();
    gateway.process.signal("TERM");
    assert_eq!(gateway.process.exit_code(), 0);
    gateway.home
}

fn staying(home: &Home, arguments: &[&str]) -> Running {
    let mut command = command(&program(), home);
    command.args(arguments);
    Running::start(command)
}

fn error(outcome: &Outcome) -> Value {
    assert_eq!(outcome.code, 1, "{outcome:?}");
    outcome.json()["error"].clone()
}

#[test]
fn the_trail_is_read_and_checked_with_and_without_a_gateway() {
    let mut gateway = Gateway::start();
    let none = gateway.cli(&["audit", "tail"]).success();
    assert!(none.stdout.starts_with("No lines in ~/"), "{none:?}");
    let device = Device::new();
    let _node = Peer::node(gateway.address, SECRET, &device, &["system.which"]).unwrap();
    let shown = gateway.cli(&["audit", "tail", "--kind", "device.approve"]);
    let shown = shown.success().stdout;
    let short = &device.id[..12];
    assert!(
        shown.starts_with("just now") && shown.contains(&format!("device.approve  {short}  by ")),
        "{shown}"
    );
    gateway.process.signal("TERM");
    assert_eq!(gateway.process.exit_code(), 0);
    gateway.cli(&["devices", "remove", &device.id]).success();
    let tail = gateway
        .cli(&["audit", "tail", "--json", "-n", "1"])
        .success()
        .json();
    let last = &tail["entries"][0];
    assert_eq!(tail["entries"].as_array().unwrap().len(), 1);
    assert_eq!(
        (&last["action"], &last["subject"], &last["via"]),
        (
            &json!("device.remove"),
            &json!(device.id),
            &json!("offline")
        )
    );
    let since = [
        "audit", "tail", "--since", "1h", "--kind", "device", "--json",
    ];
    let since = gateway.cli(&since).success().json();
    let actions: Vec<&str> = since["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["action"].as_str().unwrap())
        .collect();
    assert!(
        actions.starts_with(&["device.approve"]) && actions.ends_with(&["device.remove"]),
        "{actions:?}"
    );
    let checked = gateway.cli(&["audit", "verify", "--json"]).success().json();
    assert_eq!(
        (&checked["head"]["seq"], &checked["first"]),
        (&last["seq"], &json!(1))
    );
    assert_eq!(
        (&checked["torn"], &checked["unexplained"]),
        (&json!(0), &json!([]))
    );
    for (arguments, said) in [
        (
            &["audit", "tail", "--lines", "x"][..],
            "Invalid --lines: expected a whole number",
        ),
        (
            &["audit", "tail", "--since", "soon"],
            "Invalid --since: invalid duration: soon",
        ),
        (
            &["audit", "verify", "--expect", "7"],
            "Invalid --expect: expected <number>:<chain>",
        ),
    ] {
        let outcome = gateway.cli(arguments);
        assert!(
            outcome.code == 1 && outcome.stderr.contains(said),
            "{outcome:?}"
        );
    }
}

#[test]
fn an_edit_a_cut_and_an_unexplained_pairing_are_told_apart_from_a_crash() {
    let home = ended_gateway();
    let path = home.state().join("audit.jsonl");
    let whole = home.read("audit.jsonl");
    let lines: Vec<&str> = whole.lines().collect();
    assert!(lines.len() >= 2, "{whole}");
    let verify = |more: &[&str]| openclaw(&home, &[&["audit", "verify", "--json"], more].concat());
    let head = verify(&[]).success().json()["head"].clone();
    let head = format!("{}:{}", head["seq"], head["chain"].as_str().unwrap());
    verify(&["--expect", &head]).success();

    fs::write(&path, whole.replacen("device.approve", "device.reject", 1)).unwrap();
    let broken = error(&verify(&[]));
    assert_eq!(broken["code"], "AUDIT_BROKEN");
    assert_eq!(
        broken["details"],
        json!({"file": path, "line": 1, "reason": "altered"})
    );
    let text = openclaw(&home, &["audit", "verify"]);
    assert!(
        text.code == 1 && text.stderr.contains("audit.jsonl:1: this line was changed"),
        "{text:?}"
    );
    fs::write(&path, format!("{}\n", lines[1..].join("\n"))).unwrap();
    assert_eq!(error(&verify(&[]))["details"]["reason"], "missing");
    // Lines cut off at the end are whole for themselves, and known by the end that was noted.
    fs::write(&path, format!("{}\n", lines[0])).unwrap();
    verify(&[]).success();
    let cut = error(&verify(&["--expect", &head]));
    assert!(
        cut["message"]
            .as_str()
            .unwrap()
            .starts_with("the end of the trail is missing"),
        "{cut}"
    );

    fs::write(&path, format!("{whole}{{\"ts\":1,\"act")).unwrap();
    assert_eq!(verify(&[]).success().json()["torn"], 1);
    // A command line goes on after the piece.
    let id = "f".repeat(64);
    let mut devices: Value = serde_json::from_str(&home.read("devices/paired.json")).unwrap();
    let known = devices.as_object().unwrap().keys().next().unwrap().clone();
    openclaw(&home, &["devices", "remove", &known]).success();
    let after = verify(&["--expect", &head]).success().json();
    assert_eq!(
        (&after["torn"], &after["unexplained"]),
        (&json!(1), &json!([]))
    );

    devices = json!({&id: {"deviceId": id, "publicKey": "k", "roles": ["node"], "scopes": [], "createdAtMs": 1,
        "approvedAtMs": 32_503_680_000_000_u64}});
    home.write("devices/paired.json", devices.to_string().as_bytes());
    let text = openclaw(&home, &["audit", "verify"]).success();
    let warned =
        format!("Warning: device {id} is paired, and the trail has no line that approved it.");
    assert!(text.stderr.contains(&warned), "{text:?}");
    assert_eq!(
        verify(&[]).success().json()["unexplained"][0]["id"],
        json!(id)
    );
}

#[test]
fn following_stays_over_a_rotation_and_ends_by_a_signal_with_whole_lines() {
    let home = ended_gateway();
    let path = home.state().join("audit.jsonl");
    let mut json = staying(&home, &["audit", "tail", "--follow", "--json", "-n", "1"]);
    let mut text = staying(&home, &["audit", "tail", "-f", "--kind", "later"]);
    json.wait_for_output("\"chain\":");
    fs::rename(&path, home.state().join("audit.jsonl.1")).unwrap();
    let mut file = File::options()
        .create(true)
        .append(true)
        .open(&path)
        .unwrap();
    file.write_all(b"{\"ts\":1,\"action\":\"later\",\"subject\":\"a\"}\n{\"ts\":2,\"act")
        .unwrap();
    json.wait_for_output("\"subject\":\"a\"");
    file.write_all(b"ion\":\"later\",\"subject\":\"b\"}\n")
        .unwrap();
    json.wait_for_output("\"subject\":\"b\"");
    text.wait_for_output("1970-01-01T00:00:00.002Z  later  b\n");
    for (running, signal, code) in [(&mut json, "INT", 130), (&mut text, "TERM", 143)] {
        running.signal(signal);
        assert_eq!(running.exit_code(), code);
    }
    let lines = json.output();
    assert_eq!(lines.lines().count(), 3, "{lines}");
    for line in lines.lines() {
        serde_json::from_str::<Value>(line).unwrap();
    }
}

#[test]
fn a_machine_without_its_own_gateway_reads_its_node_hosts_trail_alone() {
    let home = Home::new();
    home.write_config(
        "{ gateway: { mode: 'remote', remote: { url: 'ws://127.0.0.1:1', token: 'x' } } }",
    );
    for name in ["tail", "verify"] {
        let refused = openclaw(&home, &["audit", name]);
        assert!(
            refused.code == 1
                && refused
                    .stderr
                    .contains("With --node it reads the trail of this machine's node host."),
            "{refused:?}"
        );
    }
    home.write(
        "node-audit.jsonl",
        b"{\"ts\":1,\"action\":\"run.finished\",\"command\":\"uname -a\",\"exitCode\":0}\n",
    );
    let shown = openclaw(&home, &["audit", "tail", "--node"])
        .success()
        .stdout;
    assert!(
        shown.contains("run.finished  command: uname -a  exitCode: 0"),
        "{shown}"
    );
    let checked = openclaw(&home, &["audit", "verify", "--node", "--json"])
        .success()
        .json();
    assert_eq!(
        (&checked["notChained"], &checked["head"]),
        (&json!(1), &Value::Null)
    );
}

#[test]
fn reading_a_trail_makes_no_state_directory() {
    let home = Home::new();
    let none = openclaw(&home, &["audit", "tail"]).success();
    assert!(none.stdout.starts_with("No lines in ~/"), "{none:?}");
    openclaw(&home, &["audit", "verify"]);
    assert!(!home.state().exists());
}
