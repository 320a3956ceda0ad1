//! The main job end to end: a node joins, an operator sees it, approves it and uses it.

use serde_json::{Value, json};

use crate::support::device::Device;
use crate::support::home::Home;
use crate::support::peer::{Peer, operator_params};
use crate::support::process::{Gateway, Running, command, openclaw, openclaw_with, program};
use crate::support::wait_for;

const COMMANDS: [&str; 3] = ["system.run.prepare", "system.run", "system.which"];

/// A node host of the program under test, on a home of its own.
pub fn start_node(home: &Home, gateway: &Gateway) -> Running {
    let mut command = command(&program(), home);
    command.env("OPENCLAW_GATEWAY_TOKEN", &gateway.token).args([
        "node",
        "run",
        "--port",
        &gateway.address.port().to_string(),
        "--display-name",
        "Lab Node",
    ]);
    Running::start(command)
}

fn pending(gateway: &Gateway) -> Vec<Value> {
    let rows = gateway
        .cli(&["nodes", "pending", "--json"])
        .success()
        .json();
    rows.as_array().unwrap().clone()
}

/// Approves everything that waits until the node is usable.
pub fn approve_all(gateway: &Gateway) {
    wait_for("an approved node", || {
        for row in pending(gateway) {
            let id = row["requestId"].as_str().unwrap();
            gateway.cli(&["nodes", "approve", id, "--json"]).success();
        }
        let status = gateway.cli(&["nodes", "status", "--json"]).success().json();
        let node = status["nodes"].get(0)?.clone();
        (node["pairing"] == "approved" && node["connected"] == true).then_some(node)
    });
}

#[test]
fn a_node_host_joins_is_approved_and_runs_a_command() {
    let gateway = Gateway::start();
    let home = Home::new();
    home.write(
        "exec-approvals.json",
        br#"{"version":1,"defaults":{"security":"allowlist","ask":"off"},"agents":{"*":{"allowlist":[{"pattern":"/usr/bin/uname"}]}}}"#,
    );
    let mut node = start_node(&home, &gateway);
    let waiting = wait_for("a pending request", || pending(&gateway).into_iter().next());
    assert_eq!(waiting["displayName"], "Lab Node", "{waiting}");
    // Its own person sees what it waits for, too.
    let approve = format!(
        "openclaw nodes approve {}",
        waiting["requestId"].as_str().unwrap()
    );
    node.wait_for_output(&approve);
    approve_all(&gateway);

    let which = gateway.cli(&[
        "nodes",
        "invoke",
        "--node",
        "Lab Node",
        "--command",
        "system.which",
        "--params",
        r#"{"bins":["uname","no-such-program"]}"#,
    ]);
    assert_eq!(
        which.success().json()["payload"],
        json!({"bins": {"uname": "/usr/bin/uname"}})
    );

    let mut operator = Peer::operator(gateway.address, &gateway.token);
    let node = operator.call("node.list", json!({})).unwrap()["nodes"][0]["nodeId"].clone();
    let run = |operator: &mut Peer, argv: Value, key: &str| {
        operator.call(
            "node.invoke",
            json!({"nodeId": node, "command": "system.run", "params": {"command": argv}, "idempotencyKey": key}),
        )
    };
    let ran = run(&mut operator, json!(["uname", "-s"]), "k1").unwrap();
    assert_eq!(ran["payload"]["stdout"], "Linux\n", "{ran}");
    let denied = run(&mut operator, json!(["/usr/bin/id"]), "k2").unwrap_err();
    assert_eq!(denied["code"], "UNAVAILABLE", "{denied}");
    let text = denied["message"].as_str().unwrap();
    assert!(
        text.contains("SYSTEM_RUN_DENIED") && text.contains("approvals allowlist add"),
        "{text}"
    );
}

#[test]
fn commands_wait_for_the_approval_of_both_layers() {
    let gateway = Gateway::start();
    let mut operator = Peer::operator(gateway.address, &gateway.token);
    let device = Device::new();
    let mut node = Peer::node(gateway.address, &gateway.token, &device, &COMMANDS)
        .expect("a first direct-local pairing is silent for every role");
    assert_eq!(node.hello["auth"]["role"], "node");
    assert_eq!(
        node.hello["auth"]["deviceToken"].as_str().unwrap().len(),
        43
    );
    let requested = operator.event("node.pair.requested")["payload"].clone();
    assert_eq!(requested["nodeId"], device.id);
    assert_eq!(
        requested["requiredApproveScopes"],
        json!(["operator.pairing", "operator.admin"])
    );

    let invoke = json!({"nodeId": device.id, "command": "system.which", "params": {"bins": ["ls"]}, "idempotencyKey": "k"});
    let refused = operator.call("node.invoke", invoke.clone()).unwrap_err();
    assert_eq!(refused["code"], "INVALID_REQUEST");
    assert_eq!(refused["details"]["reason"], "node pairing not approved");
    assert_eq!(refused["details"]["code"], "NODE_PAIRING_REQUIRED");
    let row = operator
        .call("node.describe", json!({"nodeId": device.id}))
        .unwrap();
    assert_eq!(row["commands"], json!([]), "{row}");
    assert_eq!(row["approvalState"], "pending-approval", "{row}");

    let narrow = operator_params(&gateway.token, &["operator.pairing"]);
    let mut narrow = Peer::connect(gateway.address, narrow, None).unwrap();
    let id = requested["requestId"].clone();
    let missing = narrow
        .call("node.pair.approve", json!({"requestId": id}))
        .unwrap_err();
    assert_eq!(missing["message"], "missing scope: operator.admin");

    let approved = operator
        .call("node.pair.approve", json!({"requestId": id}))
        .unwrap();
    assert_eq!(approved["node"]["token"].as_str().unwrap().len(), 43);
    assert_eq!(
        operator.event("node.pair.resolved")["payload"]["decision"],
        "approved"
    );
    let asked = operator.send("node.invoke", invoke);
    let forwarded = node.answer_invoke(&json!({"bins": {"ls": "/usr/bin/ls"}}));
    assert_eq!(forwarded["paramsJSON"], r#"{"bins":["ls"]}"#);
    let answer = operator.answer(&asked).unwrap();
    assert_eq!(answer["payload"], json!({"bins": {"ls": "/usr/bin/ls"}}));
    assert_eq!(answer["ok"], true);
    assert!(node.has_not_heard("node.invoke.request"));
}

#[test]
fn a_remote_node_waits_on_the_device_layer_too_and_both_lists_show_it() {
    let gateway = Gateway::start();
    // A forwarding header removes locality, so the first pairing is not silent.
    let device = Device::new();
    let socket = crate::support::websocket::WebSocket::connect_with(
        gateway.address,
        "/",
        &[("X-Forwarded-For", "203.0.113.9")],
    )
    .unwrap();
    let params = crate::support::peer::node_params(&gateway.token, &COMMANDS);
    let refused = Peer::handshake(socket, params, Some(&device))
        .err()
        .expect("not approved yet");
    assert_eq!(refused.error["code"], "NOT_PAIRED");
    assert_eq!(refused.error["details"]["reason"], "not-paired");
    let id = refused.error["details"]["requestId"]
        .as_str()
        .unwrap()
        .to_owned();
    let (code, reason) = refused.close.unwrap();
    assert_eq!(code, 1008);
    assert_eq!(
        reason,
        format!("pairing required: device is not approved yet (requestId: {id})")
    );

    let rows = pending(&gateway);
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(rows[0]["layer"], "device");
    assert_eq!(rows[0]["requestId"], json!(id));
    let devices = gateway.cli(&["devices", "list", "--json"]).success().json();
    assert_eq!(devices["pending"][0]["requestId"], json!(id), "{devices}");

    let approved = gateway
        .cli(&["nodes", "approve", &id[..8], "--json"])
        .success();
    assert!(
        !approved.stdout.contains("\"token\""),
        "{}",
        approved.stdout
    );
    // Approved: the same device may now connect, and its commands wait in the second layer.
    let node = Peer::node(gateway.address, &gateway.token, &device, &COMMANDS).unwrap();
    let rows = pending(&gateway);
    assert_eq!(rows[0]["layer"], "node", "{rows:?}");
    drop(node);
}

#[test]
fn the_owner_works_on_the_state_directory_without_a_running_gateway() {
    let mut gateway = Gateway::start();
    let device = Device::new();
    let node = Peer::node(gateway.address, &gateway.token, &device, &COMMANDS).unwrap();
    drop(node);
    gateway.process.signal("TERM");
    assert_eq!(
        gateway.process.exit_code(),
        0,
        "{}",
        gateway.process.output()
    );
    let rows = pending(&gateway);
    let id = rows[0]["requestId"].as_str().unwrap().to_owned();
    gateway.cli(&["nodes", "approve", &id, "--json"]).success();
    assert!(pending(&gateway).is_empty());
    let paired = gateway.home.json("nodes/paired.json");
    assert_eq!(paired[&device.id]["commands"], json!(COMMANDS), "{paired}");
    gateway.cli(&["devices", "remove", &device.id]).success();
    assert_eq!(
        gateway.home.json("nodes/paired.json"),
        json!({}),
        "the node rows go with the device"
    );
    assert_eq!(
        gateway.home.json("devices/paired.json").get(&device.id),
        None
    );
}

#[test]
fn the_command_line_never_locks_itself_out() {
    let gateway = Gateway::start();
    // The order that locks the reference's owner out: pairing first, then reading, then writing.
    for arguments in [
        &["devices", "list", "--json"][..],
        &["nodes", "status", "--json"],
        &["nodes", "list", "--json"],
        &["gateway", "health", "--json"],
        &["gateway", "call", "node.list", "--json"],
        &["devices", "list", "--json"],
    ] {
        gateway.cli(arguments).success().json();
    }
    let devices = gateway.cli(&["devices", "list", "--json"]).success().json();
    assert_eq!(devices["pending"], json!([]), "no upgrade waits: {devices}");
}

#[test]
fn a_waiting_node_host_works_after_the_approval_without_a_restart() {
    let gateway = Gateway::start();
    let home = Home::new();
    let mut node = start_node(&home, &gateway);
    approve_all(&gateway);
    assert!(node.alive());
    gateway
        .cli(&[
            "nodes",
            "invoke",
            "--node",
            "lab-node",
            "--command",
            "system.which",
            "--params",
            r#"{"bins":["sh"]}"#,
        ])
        .success();
    node.signal("TERM");
    assert_eq!(node.exit_code(), 0, "{}", node.output());
}

#[test]
fn a_node_host_comes_back_after_the_gateway_was_killed() {
    let mut gateway = Gateway::start();
    let home = Home::new();
    let _node = start_node(&home, &gateway);
    approve_all(&gateway);
    gateway.crash_and_restart();
    wait_for("the node to be back", || {
        let status = gateway
            .cli(&["nodes", "status", "--connected", "--json"])
            .success()
            .json();
        status["nodes"]
            .get(0)
            .map(|node| assert_eq!(node["pairing"], "approved"))
    });
}

#[test]
fn a_wrong_secret_ends_the_node_host_with_the_detail() {
    let gateway = Gateway::start();
    let home = Home::new();
    let outcome = openclaw_with(
        &home,
        &[("OPENCLAW_GATEWAY_TOKEN", "wrong")],
        &["node", "run", "--port", &gateway.address.port().to_string()],
    );
    assert_eq!(outcome.code, 1, "{outcome:?}");
    assert!(outcome.stdout.is_empty(), "{outcome:?}");
    assert!(
        outcome
            .stderr
            .contains("node host gateway reconnect paused after close (1008): ")
            && outcome
                .stderr
                .contains("detail=AUTH_TOKEN_MISMATCH; exiting for supervisor restart"),
        "{outcome:?}"
    );
    assert!(
        !outcome.stderr.contains("wrong\""),
        "the secret is not shown: {outcome:?}"
    );
}

#[test]
fn a_second_home_is_another_machine() {
    let gateway = Gateway::start();
    let stranger = Home::new();
    let outcome = openclaw(
        &stranger,
        &[
            "nodes",
            "list",
            "--json",
            "--url",
            &format!("ws://{}", gateway.address),
            "--token",
            "guess",
        ],
    );
    assert_eq!(outcome.code, 1);
    assert_eq!(outcome.json()["ok"], false);
    let text = outcome.json()["error"]["message"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        text.contains("unauthorized: gateway token mismatch"),
        "{text}"
    );

    // Another state directory that takes this gateway for its own.
    let other = Home::with_gateway(gateway.address.port(), "another-secret");
    for line in [&["health", "--json"][..], &["nodes", "list", "--json"]] {
        let refused = openclaw(&other, line);
        let error = refused.json()["error"].clone();
        let hint = error["hint"].as_str().unwrap_or_default();
        assert!(hint.contains("openclaw doctor names it"), "{error}");
    }
}
