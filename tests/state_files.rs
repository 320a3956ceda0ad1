//! The state directory: what others wrote is kept, what is broken is never overwritten.

use serde_json::json;

use crate::support::device::Device;
use crate::support::home::Home;
use crate::support::peer::Peer;
use crate::support::process::{Gateway, Running, SECRET, command, finish, free_port, program};

/// Starts a gateway that is expected to refuse; its output.
fn refused_start(home: &Home) -> String {
    let mut command = command(&program(), home);
    command.args(["gateway", "run"]);
    let mut process = Running::start(command);
    let code = process.exit_code();
    assert_ne!(code, 0, "{}", process.output());
    process.output()
}

#[test]
fn a_malformed_store_stops_the_start_and_keeps_its_bytes() {
    for (file, text) in [
        ("devices/paired.json", "{\n  \"a\": {,\n}"),
        ("devices/paired.json", "[]"),
        ("devices/pending.json", "null"),
        ("nodes/paired.json", "\"x\""),
        ("nodes/pending.json", ""),
        ("nodes/pending.json", "{\"a\": \u{0}"),
    ] {
        let home = Home::with_gateway(free_port(), SECRET);
        home.write(file, text.as_bytes());
        let output = refused_start(&home);
        assert!(output.contains(file), "the file is named: {output}");
        assert_eq!(home.read(file), text, "its bytes stay");
    }
    let home = Home::with_gateway(free_port(), SECRET);
    home.write("devices/paired.json", b"{\n  \"a\": {,\n}");
    let output = refused_start(&home);
    assert!(output.contains(":2:"), "line and column: {output}");
    let home = Home::with_gateway(free_port(), SECRET);
    home.write("devices/paired.json", &[b'{', 0xff, 0xfe, b'}']);
    refused_start(&home);
    let home = Home::with_gateway(free_port(), SECRET);
    home.write("identity/device.json", b"not a key");
    let output = refused_start(&home);
    assert!(output.contains("device.json"), "{output}");
    assert_eq!(home.read("identity/device.json"), "not a key");
}

#[test]
fn one_malformed_record_locks_out_that_device_only() {
    let (good, bad) = (Device::new(), Device::new());
    let port = free_port();
    let home = Home::with_gateway(port, SECRET);
    let record = |device: &Device| {
        json!({"deviceId": device.id, "publicKey": device.public_key, "role": "node", "roles": ["node"],
               "scopes": [], "approvedScopes": [], "createdAtMs": 1, "approvedAtMs": 2, "future": {"kept": true},
               "tokens": {"node": {"token": "A".repeat(43), "role": "node", "scopes": [], "createdAtMs": 1}}})
    };
    let mut broken = record(&bad);
    broken["publicKey"] = json!(17);
    let file = json!({(&good.id): record(&good), (&bad.id): broken});
    home.write("devices/paired.json", file.to_string().as_bytes());
    let gateway = Gateway::start_at(home, port);
    let node = Peer::node(gateway.address, SECRET, &good, &["system.which"]).unwrap();
    assert!(
        Peer::node(gateway.address, SECRET, &bad, &[]).is_err(),
        "fails closed"
    );
    drop(node);
    let mut operator = Peer::operator(gateway.address, SECRET);
    let device = Device::new();
    let _node = Peer::node(gateway.address, SECRET, &device, &[]).unwrap();
    operator.event("node.pair.requested");
    let paired = gateway.home.json("devices/paired.json");
    assert_eq!(paired[&bad.id]["publicKey"], 17, "kept as it was");
    assert_eq!(
        paired[&good.id]["future"],
        json!({"kept": true}),
        "unknown fields survive"
    );
    assert!(paired.get(&device.id).is_some());
}

#[test]
fn a_change_made_by_another_program_is_seen() {
    let gateway = Gateway::start();
    let mut operator = Peer::operator(gateway.address, SECRET);
    let first = Device::new();
    drop(Peer::node(gateway.address, SECRET, &first, &[]).unwrap());
    // Another program adds a device while the gateway runs.
    let other = Device::new();
    let mut paired = gateway.home.json("devices/paired.json");
    paired[&other.id] = json!({"deviceId": other.id, "publicKey": other.public_key, "role": "node", "roles": ["node"],
        "scopes": [], "createdAtMs": 1, "approvedAtMs": 2,
        "tokens": {"node": {"token": "B".repeat(43), "role": "node", "scopes": [], "createdAtMs": 1}}});
    gateway
        .home
        .write("devices/paired.json", paired.to_string().as_bytes());
    let removed = operator
        .call("device.pair.remove", json!({"deviceId": first.id}))
        .unwrap();
    assert_eq!(removed["deviceId"], json!(first.id));
    let list = operator.call("device.pair.list", json!({})).unwrap();
    assert!(
        list["paired"]
            .as_array()
            .unwrap()
            .iter()
            .any(|row| row["deviceId"] == json!(other.id)),
        "{list}"
    );
    assert!(
        gateway
            .home
            .json("devices/paired.json")
            .get(&other.id)
            .is_some(),
        "nothing was lost"
    );
}

#[test]
fn leftovers_of_a_crash_are_swept_and_files_are_private() {
    use std::os::unix::fs::PermissionsExt;
    let port = free_port();
    let home = Home::with_gateway(port, SECRET);
    let leftover = "devices/paired.json.0d9d1a8e-4b0f-4c10-8e9d-8da214131cb9.tmp";
    home.write(leftover, b"{\"half\":");
    home.write("devices/notes.tmp", b"a user's own file");
    let gateway = Gateway::start_at(home, port);
    assert!(!gateway.home.state().join(leftover).exists());
    assert!(
        gateway.home.state().join("devices/notes.tmp").exists(),
        "only our own leftovers"
    );
    drop(Peer::node(gateway.address, SECRET, &Device::new(), &[]).unwrap());
    for file in ["devices/paired.json", "identity/device.json", "audit.jsonl"] {
        let mode = std::fs::metadata(gateway.home.state().join(file))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    let audit = gateway.home.read("audit.jsonl");
    assert!(
        audit.lines().count() >= 1,
        "the silent admission left a line"
    );
    for line in audit.lines() {
        serde_json::from_str::<serde_json::Value>(line).expect("one JSON document per line");
        assert!(!line.contains(SECRET), "{line}");
    }
}

#[test]
fn an_acknowledged_approval_is_on_the_disk() {
    let mut gateway = Gateway::start();
    let device = Device::new();
    let mut operator = Peer::operator(gateway.address, SECRET);
    let _node = Peer::node(gateway.address, SECRET, &device, &["system.which"]).unwrap();
    let request = operator.event("node.pair.requested")["payload"]["requestId"].clone();
    let token = operator
        .call("node.pair.approve", json!({"requestId": request}))
        .unwrap()["node"]["token"]
        .clone();
    gateway.crash_and_restart();
    let mut operator = Peer::operator(gateway.address, SECRET);
    let verified = operator
        .call(
            "node.pair.verify",
            json!({"nodeId": device.id, "token": token}),
        )
        .unwrap();
    assert_eq!(verified["ok"], true);
    assert!(verified["node"].get("token").is_none(), "{verified}");
}

#[test]
fn a_store_that_breaks_under_a_running_gateway_is_refused_and_kept() {
    let gateway = Gateway::start();
    drop(Peer::node(gateway.address, SECRET, &Device::new(), &[]).unwrap());
    let whole = gateway.home.read("devices/paired.json");
    let mut operator = Peer::operator(gateway.address, SECRET);
    for broken in ["[]", "{\"a\": {,", "null"] {
        gateway.home.write("devices/paired.json", broken.as_bytes());
        let error = operator.call("device.pair.list", json!({})).unwrap_err();
        assert_eq!(error["code"], "UNAVAILABLE", "{error}");
        assert_eq!(error["message"], "pairing store unavailable", "{error}");
        assert_eq!(gateway.home.read("devices/paired.json"), broken);
        assert_eq!(operator.call("health", json!({})).unwrap()["ok"], true);
    }
    gateway.home.write("devices/paired.json", whole.as_bytes());
    let list = operator.call("device.pair.list", json!({})).unwrap();
    assert_eq!(list["paired"].as_array().unwrap().len(), 1, "{list}");
}

#[test]
fn a_disk_that_takes_no_new_configuration_costs_no_backup() {
    let home = Home::with_gateway(free_port(), SECRET);
    let backups = [
        "openclaw.json.bak",
        "openclaw.json.bak.1",
        "openclaw.json.bak.4",
    ];
    for name in backups {
        home.write(name, name.as_bytes());
    }
    let before = home.read("openclaw.json");
    // A file may be made and takes no byte, as on a full disk.
    let mut line = command(std::path::Path::new("/bin/sh"), &home);
    line.args(["-c", "trap '' XFSZ; ulimit -f 0; exec \"$@\"", "sh"]);
    line.arg(program())
        .args(["config", "set", "gateway.reload.mode", "off"]);
    let refused = finish(line);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(
        refused.stderr.contains("Nothing was changed"),
        "{refused:?}"
    );
    assert_eq!(home.read("openclaw.json"), before);
    for name in backups {
        assert_eq!(home.read(name), name);
    }
}
