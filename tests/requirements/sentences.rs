//! Sentences that no test of a part proves as they stand, from outside.

use serde_json::{Value, json};

use crate::support::device::Device;
use crate::support::home::Home;
use crate::support::peer::{Peer, cli_params, node_params, operator_params};
use crate::support::process::Running;
use crate::support::process::{
    Gateway, SECRET, command, free_port, openclaw, openclaw_with, program,
};
use crate::support::reloading;
use crate::support::websocket::WebSocket;

#[test]
fn the_node_store_does_not_gate_the_handshake() {
    let gateway = Gateway::start();
    let device = Device::new();
    let mut admin = Peer::operator(gateway.address, SECRET);
    // Never node-paired, rejected there, removed there: it connects each time.
    let connect = || Peer::node(gateway.address, SECRET, &device, &["system.which"]).unwrap();
    let node = connect();
    let request = admin.event("node.pair.requested")["payload"]["requestId"].clone();
    drop(node);
    admin
        .call("node.pair.reject", json!({"requestId": request}))
        .unwrap();
    let node = connect();
    let request = admin.event("node.pair.requested")["payload"]["requestId"].clone();
    drop(node);
    admin
        .call("node.pair.approve", json!({"requestId": request}))
        .unwrap();
    admin
        .call("node.pair.remove", json!({"nodeId": device.id}))
        .unwrap();
    drop(connect());
    // And a record of that layer alone lets nobody in from afar.
    let stranger = Device::new();
    let asked = json!({"nodeId": stranger.id, "commands": []});
    let request = admin.call("node.pair.request", asked).unwrap()["request"]["requestId"].clone();
    admin
        .call("node.pair.approve", json!({"requestId": request}))
        .unwrap();
    let afar = [("X-Forwarded-For", "203.0.113.9")];
    let socket = WebSocket::connect_with(gateway.address, "/", &afar).unwrap();
    let refused = Peer::handshake(socket, node_params(SECRET, &[]), Some(&stranger))
        .err()
        .unwrap();
    assert_eq!(refused.error["details"]["reason"], "not-paired");
}

#[test]
fn a_silent_request_that_nobody_approves_waits_like_any_other() {
    let gateway = Gateway::start();
    let mut admin = Peer::operator(gateway.address, SECRET);
    let asked = json!({"nodeId": "mac", "silent": true});
    let answer = admin.call("node.pair.request", asked).unwrap();
    assert_eq!(answer["status"], "pending", "{answer}");
    assert_eq!(
        answer["request"]["silent"], true,
        "the hint is shown: {answer}"
    );
    let list = admin.call("node.pair.list", json!({})).unwrap();
    assert_eq!(list["pending"][0]["nodeId"], "mac");
    assert_eq!(list["paired"], json!([]));
}

#[test]
fn the_nodes_folder_moves_with_the_state_directory() {
    let port = free_port();
    let home = Home::with_gateway(port, SECRET);
    let elsewhere = home.path().join("elsewhere");
    std::fs::create_dir_all(&elsewhere).unwrap();
    let config = home.state().join("openclaw.json");
    let environment = [
        ("OPENCLAW_STATE_DIR", elsewhere.to_str().unwrap()),
        ("OPENCLAW_CONFIG_PATH", config.to_str().unwrap()),
    ];
    let mut start = command(&program(), &home);
    start.args(["gateway", "run"]).envs(environment);
    let mut process = Running::start(start);
    process.wait_for_output("[gateway] ready");
    let device = Device::new();
    let _node = Peer::node(([127, 0, 0, 1], port).into(), SECRET, &device, &[]).unwrap();
    let list = openclaw_with(&home, &environment, &["nodes", "pending", "--json"])
        .success()
        .json();
    let id = list[0]["requestId"].as_str().unwrap();
    openclaw_with(&home, &environment, &["nodes", "approve", id, "--json"]).success();
    let paired = std::fs::read_to_string(elsewhere.join("nodes/paired.json")).unwrap();
    assert!(paired.contains(&device.id), "{paired}");
    assert!(elsewhere.join("nodes/pending.json").exists());
    assert!(!home.state().join("nodes").exists(), "nothing stays behind");
}

#[test]
fn in_remote_mode_the_other_gateways_store_decides() {
    let gateway = Gateway::start();
    let home = Home::new();
    home.write_config(&format!(
        r#"{{ gateway: {{ mode: "remote", remote: {{ url: "ws://127.0.0.1:{}", token: "{SECRET}" }} }} }}"#,
        gateway.address.port()
    ));
    let device = Device::new();
    let _node = Peer::node(gateway.address, SECRET, &device, &["system.which"]).unwrap();
    // No --url: the configured remote is the default, and its store is the one that changes.
    let list = openclaw(&home, &["nodes", "pending", "--json"])
        .success()
        .json();
    assert_eq!(list[0]["nodeId"], json!(device.id), "{list}");
    let id = list[0]["requestId"].as_str().unwrap();
    openclaw(&home, &["nodes", "approve", id, "--json"]).success();
    assert!(
        gateway
            .home
            .json("nodes/paired.json")
            .get(&device.id)
            .is_some()
    );
    assert!(!home.state().join("nodes").exists() && !home.state().join("devices").exists());
    let devices = openclaw(&home, &["devices", "list", "--json"])
        .success()
        .json();
    assert!(devices.to_string().contains(&device.id), "{devices}");
}

#[test]
fn a_rotation_keeps_the_scopes_or_stores_the_given_ones() {
    let gateway = Gateway::start();
    let device = Device::new();
    let wide = ["operator.pairing", "operator.read", "operator.write"];
    let connect = |auth: Value, scopes: &[&str]| {
        Peer::connect(gateway.address, cli_params(auth, scopes), Some(&device))
    };
    let mut own = connect(json!({"token": SECRET}), &wide).unwrap();
    let mut token = json!(own.device_token());
    drop(own);
    own = connect(json!({"deviceToken": token}), &wide).unwrap();
    // Without scopes: the same ones go on with the new token, which its owner is told.
    let target = json!({"deviceId": device.id, "role": "operator"});
    let rotated = own.call("device.token.rotate", target.clone()).unwrap();
    assert_eq!(rotated["scopes"], json!(wide), "{rotated}");
    assert_ne!(rotated["token"], token);
    assert!(
        connect(json!({"deviceToken": token}), &wide).is_err(),
        "the old one is dead"
    );
    token = rotated["token"].clone();
    let mut own = connect(json!({"deviceToken": token}), &wide).unwrap();
    // With scopes: those are what the token carries from now on.
    let mut narrower = target;
    narrower["scopes"] = json!(["operator.pairing"]);
    let rotated = own.call("device.token.rotate", narrower).unwrap();
    assert_eq!(rotated["scopes"], json!(["operator.pairing"]), "{rotated}");
    token = rotated["token"].clone();
    assert!(connect(json!({"deviceToken": token}), &wide).is_err());
    let own = connect(json!({"deviceToken": token}), &["operator.pairing"]).unwrap();
    assert_eq!(own.hello["auth"]["scopes"], json!(["operator.pairing"]));
}

#[test]
fn token_drift_is_recovered_as_the_checklist_says() {
    let gateway = Gateway::start();
    let device = Device::new();
    let scopes = ["operator.read"];
    let connect =
        |auth: Value| Peer::connect(gateway.address, cli_params(auth, &scopes), Some(&device));
    let stale = connect(json!({"token": SECRET})).unwrap().device_token();
    let secret = gateway
        .cli(&["config", "get", "gateway.auth.token"])
        .success();
    assert!(
        !secret.stdout.contains(SECRET),
        "named, not shown: {secret:?}"
    );
    let list = gateway.cli(&["devices", "list", "--json"]).success().json();
    let row = |row: &&Value| row["deviceId"] == json!(device.id);
    assert!(
        list["paired"]
            .as_array()
            .unwrap()
            .iter()
            .any(|entry| row(&entry))
    );
    let rotate = [
        "devices", "rotate", "--device", &device.id, "--role", "operator", "--json",
    ];
    gateway.cli(&rotate).success();
    let refused = connect(json!({"deviceToken": stale})).err().unwrap();
    assert_eq!(
        refused.error["details"]["code"],
        "AUTH_DEVICE_TOKEN_MISMATCH"
    );
    // With the current shared secret it is told its new token.
    let fresh = connect(json!({"token": SECRET})).unwrap().device_token();
    drop(connect(json!({"deviceToken": fresh})).unwrap());
    // Not enough? Remove it, and approve it again where it asks.
    gateway
        .cli(&["devices", "remove", &device.id, "--json"])
        .success();
    assert!(connect(json!({"deviceToken": fresh})).is_err());
    let afar = [("X-Forwarded-For", "203.0.113.9")];
    let socket = WebSocket::connect_with(gateway.address, "/", &afar).unwrap();
    let asked = cli_params(json!({"token": SECRET}), &scopes);
    let refused = Peer::handshake(socket, asked, Some(&device)).err().unwrap();
    let id = refused.error["details"]["requestId"].as_str().unwrap();
    let list = gateway.cli(&["devices", "list", "--json"]).success().json();
    assert_eq!(list["pending"][0]["requestId"], id, "{list}");
    gateway.cli(&["devices", "approve", id, "--json"]).success();
    drop(connect(json!({"token": SECRET})).unwrap());
}

#[test]
fn trusted_networks_change_nobodys_authority() {
    let gateway = reloading::start(
        r#"nodes: { pairing: { autoApproveCidrs: ["127.0.0.0/8", "203.0.113.0/24"] } },"#,
    );
    let mut small = Peer::connect(
        gateway.address,
        operator_params(SECRET, &["operator.pairing"]),
        None,
    )
    .unwrap();
    // A node in one of the networks, but named by a proxy on this host: it could be anybody.
    let afar = [("X-Forwarded-For", "203.0.113.9")];
    let ask = |params: Value| {
        let socket = WebSocket::connect_with(gateway.address, "/", &afar).unwrap();
        let refused = Peer::handshake(socket, params, Some(&Device::new()))
            .err()
            .unwrap();
        refused.error["details"]["requestId"].clone()
    };
    assert!(ask(node_params(SECRET, &[])).is_string(), "it waits");
    let request = ask(cli_params(json!({"token": SECRET}), &["operator.admin"]));
    let error = small
        .call("device.pair.approve", json!({"requestId": request}))
        .unwrap_err();
    assert_eq!(error["message"], "missing scope: operator.admin");
    let device = Device::new();
    let _node = Peer::node(gateway.address, SECRET, &device, &["system.run"]).unwrap();
    let request = small.event("node.pair.requested")["payload"]["requestId"].clone();
    let error = small
        .call("node.pair.approve", json!({"requestId": request}))
        .unwrap_err();
    assert_eq!(error["message"], "missing scope: operator.admin");
}
