//! The command line of the newer release drives this gateway at protocol 4: on this host it brings the
//! shared secret and no device.

use serde_json::{Value, json};

use crate::command_line::waiting_device;
use crate::reference::{NEWER, document, home, nothing_left_behind, wait_long};
use crate::support::device::Device;
use crate::support::home::Home;
use crate::support::peer::Peer;
use crate::support::process::{Gateway, Outcome, SECRET};

struct Newer<'a> {
    gateway: &'a Gateway,
    home: Home,
}

impl Newer<'_> {
    fn new(gateway: &Gateway) -> Newer<'_> {
        let home = home(Some(gateway.address.port()));
        Newer { gateway, home }
    }

    #[track_caller]
    fn ask(&self, arguments: &[&str]) -> Value {
        document(&self.run(arguments).success())
    }

    #[track_caller]
    fn refused(&self, arguments: &[&str], text: &str) {
        let outcome = self.run(arguments);
        let said = outcome.stderr.clone() + &outcome.stdout;
        assert!(
            outcome.code != 0 && said.contains(text),
            "{text}: {outcome:?}"
        );
    }

    fn run(&self, arguments: &[&str]) -> Outcome {
        NEWER.run(&self.home, arguments)
    }

    /// Every session was of protocol 4, and nothing else was refused than `expected` says.
    #[track_caller]
    fn went_well_but(&self, expected: &[&str]) {
        let log = self.gateway.process.output();
        let sessions = log
            .lines()
            .filter(|line| line.contains("[ws] connected") && line.contains("client=cli mode=cli"));
        for line in sessions {
            assert!(line.contains("protocol=4 device=-"), "{line}");
        }
        let refused: Vec<&str> = log
            .lines()
            .filter(|line| line.contains("res ✗"))
            .filter(|line| !expected.iter().any(|expected| line.contains(expected)))
            .collect();
        assert_eq!(refused, Vec::<&str>::new());
        nothing_left_behind(&self.home);
    }
}

#[test]
fn it_administers_nodes() {
    let gateway = Gateway::start();
    let newer = Newer::new(&gateway);
    let device = Device::new();
    let mut node = Peer::node(gateway.address, SECRET, &device, &["system.which"]).unwrap();
    let waiting = newer.ask(&["nodes", "pending", "--json"]);
    assert_eq!(waiting[0]["nodeId"], json!(device.id), "{waiting}");
    let id = waiting[0]["requestId"].as_str().unwrap();
    // It reads which scopes the approval needs and asks for them.
    let approved = newer.ask(&["nodes", "approve", id]);
    assert_eq!(approved["node"]["nodeId"], json!(device.id), "{approved}");
    newer.refused(&["nodes", "approve", id], "Unknown node pairing requestId");
    let list = newer.ask(&["nodes", "list", "--json"]);
    assert_eq!(list["paired"][0]["nodeId"], json!(device.id), "{list}");
    assert!(list["paired"][0].get("token").is_none(), "{list}");
    let status = newer.ask(&["nodes", "status", "--json"]);
    assert_eq!(status["nodes"][0]["connected"], true, "{status}");
    assert_eq!(status["nodes"][0]["approvalState"], "approved", "{status}");
    newer
        .run(&["nodes", "rename", "--node", &device.id, "--name", "Cellar"])
        .success();
    let described = newer.ask(&["nodes", "describe", "--node", "Cellar", "--json"]);
    assert_eq!(described["nodeId"], json!(device.id), "{described}");
    assert_eq!(described["commands"], json!(["system.which"]));

    let params = r#"{"bins":["ls"]}"#;
    let command = [
        "nodes",
        "invoke",
        "--node",
        "Cellar",
        "--command",
        "system.which",
    ];
    let invoke = std::thread::scope(|scope| {
        let asked = scope.spawn(|| newer.run(&[&command[..], &["--params", params]].concat()));
        wait_long("the invoke", || {
            let soon = std::time::Duration::from_millis(200);
            let request = node.event_within("node.invoke.request", soon)?["payload"].clone();
            let result = json!({"id": request["id"], "nodeId": request["nodeId"], "ok": true,
                "payloadJSON": r#"{"bins":{"ls":"/usr/bin/ls"}}"#});
            node.call("node.invoke.result", result).unwrap();
            Some(())
        });
        asked.join().unwrap()
    });
    let answer = document(&invoke.success());
    assert_eq!(answer["payload"]["bins"]["ls"], "/usr/bin/ls", "{answer}");

    newer
        .run(&["nodes", "remove", "--node", "Cellar"])
        .success();
    let list = newer.ask(&["nodes", "list", "--json"]);
    assert!(
        !list["paired"].to_string().contains("Cellar"),
        "its record is gone: {list}"
    );
    drop(node);
    let other = Device::new();
    let _node = Peer::node(gateway.address, SECRET, &other, &[]).unwrap();
    let waiting = newer.ask(&["nodes", "pending", "--json"]);
    let row = |row: &&Value| row["nodeId"] == json!(other.id);
    let row = waiting.as_array().unwrap().iter().find(row).unwrap();
    let id = row["requestId"].as_str().unwrap();
    newer.run(&["nodes", "reject", id]).success();
    newer.refused(&["nodes", "reject", id], "Unknown node pairing requestId");
    newer.went_well_but(&["unknown requestId"]);
}

#[test]
fn it_administers_devices() {
    let gateway = Gateway::start();
    let newer = Newer::new(&gateway);
    let (device, id) = waiting_device(&gateway);
    let list = newer.ask(&["devices", "list", "--json"]);
    assert_eq!(list["pending"][0]["requestId"], json!(id), "{list}");
    newer.refused(&["devices", "approve", "--latest"], &id);
    let approved = newer.ask(&["devices", "approve", &id, "--json"]);
    assert_eq!(approved["device"]["deviceId"], json!(device.id));
    let target = ["--device", &device.id, "--role", "node", "--json"];
    let rotated = newer.ask(&[&["devices", "rotate"][..], &target].concat());
    assert_eq!(rotated["role"], "node", "{rotated}");
    assert!(rotated.get("token").is_none(), "not its own: {rotated}");
    let revoked = newer.ask(&[&["devices", "revoke"][..], &target].concat());
    assert!(revoked["revokedAtMs"].as_u64().is_some(), "{revoked}");
    let operator = [
        "devices", "rotate", "--device", &device.id, "--role", "operator",
    ];
    newer.refused(&operator, "device token rotation denied");

    // A node that waits behind a paired device is pointed to from the list of devices.
    let other = Device::new();
    let _node = Peer::node(gateway.address, SECRET, &other, &["system.which"]).unwrap();
    let text = newer.run(&["devices", "list"]).success().stdout;
    assert!(text.contains("openclaw nodes approve"), "{text}");

    newer.ask(&["devices", "remove", &device.id, "--json"]);
    let (third, id) = waiting_device(&gateway);
    let rejected = newer.ask(&["devices", "reject", &id, "--json"]);
    assert_eq!(rejected["deviceId"], json!(third.id), "{rejected}");
    newer.refused(&["devices", "remove", &third.id], "unknown deviceId");
    let cleared = newer.ask(&["devices", "clear", "--yes", "--pending", "--json"]);
    assert_eq!(cleared["removedDevices"], json!([other.id]), "{cleared}");
    newer.went_well_but(&["device token rotation denied", "unknown deviceId"]);
}

#[test]
fn it_asks_how_the_gateway_is() {
    let gateway = Gateway::start();
    let newer = Newer::new(&gateway);
    let health = newer.ask(&["health", "--json"]);
    assert_eq!(health["ok"], true, "{health}");
    let health = newer.ask(&["gateway", "health", "--json"]);
    assert_eq!(health["ok"], true, "{health}");
    let called = newer.ask(&["gateway", "call", "status", "--json"]);
    assert!(called["runtimeVersion"].is_string(), "{called}");
    let status = newer.ask(&["status", "--json"]);
    assert_eq!(status["gateway"]["reachable"], true, "{status}");
    let missing = status["collection"]["notCollected"].to_string();
    assert!(!missing.contains("invalid status params"), "{missing}");
    let text = newer.run(&["status"]).success().stdout;
    assert!(text.contains("reachable"), "{text}");
    let probe = newer.ask(&["gateway", "probe", "--json"]);
    assert_eq!(probe["targets"][0]["connect"]["ok"], true, "{probe}");
    // A probe without a device has no scope at all, here as at its own gateway, and says so itself.
    newer.went_well_but(&["missing scope: operator.read", "✗ config.get "]);
}

#[test]
fn a_wrong_secret_is_told_apart() {
    let gateway = Gateway::start();
    let newer = Newer::new(&gateway);
    let url = format!("ws://127.0.0.1:{}", gateway.address.port());
    newer.refused(
        &["devices", "list", "--url", &url, "--token", "wrong"],
        "gateway token mismatch",
    );
    newer.went_well_but(&[]);
}
