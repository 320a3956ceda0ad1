//! The node host of the newer release joins this gateway at protocol 4 and stays.

use serde_json::{Value, json};

use crate::forwarder::{Forwarder, Manner};
use crate::reference::{NEWER, home, nothing_left_behind, wait_long};
use crate::support::process::{Gateway, Outcome, Running};

fn waiting(gateway: &Gateway, layer: &str) -> Value {
    wait_long(&format!("a request on the {layer} layer"), || {
        let rows = gateway
            .cli(&["nodes", "pending", "--json"])
            .success()
            .json();
        rows.as_array()
            .unwrap()
            .iter()
            .find(|row| row["layer"] == layer)
            .cloned()
    })
}

fn approve(gateway: &Gateway, request: &Value) {
    let id = request["requestId"].as_str().unwrap();
    gateway.cli(&["nodes", "approve", id, "--json"]).success();
}

fn which(gateway: &Gateway, node: &str) -> Outcome {
    let params = r#"{"bins":["uname"]}"#;
    let command = ["nodes", "invoke", "--command", "system.which"];
    gateway.cli(&[&command[..], &["--params", params, "--node", node]].concat())
}

/// The sessions of nodes that the gateway's log shows, as `client ... protocol=...` lines.
fn node_sessions(gateway: &Gateway) -> Vec<String> {
    let log = gateway.process.output();
    let lines = log.lines().filter(|line| line.contains("role=node"));
    lines
        .filter(|line| line.contains("[ws] connected"))
        .map(str::to_owned)
        .collect()
}

/// Nothing that the newer node host asked was refused, but the one method that is not there.
fn only_the_inventory_was_refused(gateway: &Gateway) {
    let log = gateway.process.output();
    let refused: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("res ✗"))
        .filter(|line| !line.contains("unknown method: node.runnerInventory.update"))
        .filter(|line| !line.contains("res ✗ node.invoke "))
        .collect();
    assert_eq!(refused, Vec::<&str>::new());
}

fn no_complaint(node: &Running) {
    let output = node.output();
    for word in ["rror", "paused", "exiting", "invalid", "denied"] {
        assert!(!output.contains(word), "{word}: {output}");
    }
}

#[test]
fn it_waits_on_both_layers_by_itself_and_survives_a_restart() {
    let mut gateway = Gateway::start();
    // Through a proxy it is remote, so nothing is silent.
    let proxy = Forwarder::start(
        gateway.address,
        Manner::Adding("X-Forwarded-For: 203.0.113.9"),
    );
    let home = home(None);
    let node = NEWER.node_host(&home, proxy.port());
    let device = waiting(&gateway, "device");
    assert_eq!(device["deviceFamily"], "Linux", "{device}");
    approve(&gateway, &device);
    // No hand at the node: it goes on trying because the refusal said so.
    let request = waiting(&gateway, "node");
    let id = request["nodeId"].as_str().unwrap().to_owned();
    assert_eq!(
        request["commands"],
        json!(["system.run", "system.run.prepare", "system.which"]),
        "what the policy does not allow is not asked for"
    );
    let refused = which(&gateway, &id);
    assert!(
        refused.code == 1 && refused.stderr.contains("node pairing is not approved"),
        "{refused:?}"
    );
    approve(&gateway, &request);
    let answer = which(&gateway, &id).success().json();
    assert_eq!(
        answer["payload"],
        json!({"bins": {"uname": "/usr/bin/uname"}})
    );
    let sessions = node_sessions(&gateway);
    assert!(
        sessions.last().unwrap().contains("protocol=4"),
        "{sessions:?}"
    );
    only_the_inventory_was_refused(&gateway);

    gateway.crash_and_restart();
    wait_long("the node to be back", || {
        (which(&gateway, &id).code == 0).then_some(())
    });
    only_the_inventory_was_refused(&gateway);
    assert!(!node.output().contains("paused"), "{}", node.output());
    drop(node);
    nothing_left_behind(&home);
}

#[test]
fn it_falls_back_to_protocol_3_and_stays_the_same_device() {
    let gateway = Gateway::start();
    let home = home(None);
    // Paired at protocol 4, with its device family.
    let node = NEWER.node_host(&home, gateway.address.port());
    let request = waiting(&gateway, "node");
    let id = request["nodeId"].as_str().unwrap().to_owned();
    approve(&gateway, &request);
    which(&gateway, &id).success();
    no_complaint(&node);
    drop(node);

    // At protocol 3 it names no device family: that is no change of the device.
    let older = Forwarder::start(gateway.address, Manner::OutdatedAtFirst);
    let node = NEWER.node_host(&home, older.port());
    wait_long("the session of protocol 3", || {
        node_sessions(&gateway)
            .iter()
            .any(|line| line.contains("protocol=3"))
            .then_some(())
    });
    let asked = older.turned_away().unwrap();
    assert_eq!(
        (&asked["maxProtocol"], &asked["client"]["deviceFamily"]),
        (&json!(4), &json!("Linux"))
    );
    which(&gateway, &id).success();
    let rows = gateway
        .cli(&["nodes", "pending", "--json"])
        .success()
        .json();
    assert_eq!(rows, json!([]));
    let list = gateway.cli(&["devices", "list", "--json"]).success().json();
    let row = |row: &&Value| row["deviceId"] == json!(id);
    let device = list["paired"].as_array().unwrap().iter().find(row).unwrap();
    assert_eq!(device["deviceFamily"], "Linux", "{device}");
    drop(node);
    nothing_left_behind(&home);
}
