//! Node hosts across programs: the reference's with this gateway, this one's with the reference's.

use serde_json::{Value, json};

use crate::reference;
use crate::reference::wait_long;
use crate::support::home::Home;
use crate::support::process::{
    Gateway, Outcome, Running, SECRET, command, free_port, openclaw_with, program,
};

fn rows(gateway: &Gateway) -> Vec<Value> {
    gateway
        .cli(&["nodes", "pending", "--json"])
        .success()
        .json()
        .as_array()
        .unwrap()
        .clone()
}

fn which(gateway: &Gateway, node: &str) -> Outcome {
    gateway.cli(&[
        "nodes",
        "invoke",
        "--node",
        node,
        "--command",
        "system.which",
        "--params",
        r#"{"bins":["uname"]}"#,
    ])
}

#[test]
fn the_reference_node_host_joins_is_approved_and_survives_a_restart() {
    let mut gateway = Gateway::start();
    // Its command line on the same home is a paired operator, so the node role is an upgrade
    // that waits on the device layer; then its commands wait on the node layer.
    let home = reference::home(Some(gateway.address.port()));
    reference::run(&home, &["devices", "list", "--json"]).success();
    let port = gateway.address.port();
    let mut node = reference::node_host(&home, port);
    let waiting = wait_long("the device request", || rows(&gateway).into_iter().next());
    assert_eq!(waiting["layer"], "device", "{waiting}");
    gateway
        .cli(&[
            "nodes",
            "approve",
            waiting["requestId"].as_str().unwrap(),
            "--json",
        ])
        .success();
    // The reference does not retry by itself after an approval: its supervisor would start it again.
    node.kill();
    let node = reference::node_host(&home, port);
    let waiting = wait_long("the node request", || {
        rows(&gateway)
            .into_iter()
            .find(|row| row["layer"] == "node")
    });
    let id = waiting["nodeId"].as_str().unwrap().to_owned();
    let refused = which(&gateway, &id);
    assert_eq!(
        refused.code, 1,
        "no command before the approval: {refused:?}"
    );
    gateway
        .cli(&[
            "nodes",
            "approve",
            waiting["requestId"].as_str().unwrap(),
            "--json",
        ])
        .success();
    let answer = which(&gateway, &id).success().json();
    assert_eq!(
        answer["payload"],
        json!({"bins": {"uname": "/usr/bin/uname"}})
    );

    gateway.crash_and_restart();
    wait_long("the node to be back", || {
        let status = gateway
            .cli(&["nodes", "status", "--connected", "--json"])
            .success()
            .json();
        status["nodes"].get(0).map(|_| ())
    });
    which(&gateway, &id).success();
    drop(node);
    reference::nothing_left_behind(&home);
}

#[test]
fn this_node_host_works_for_the_reference_gateway() {
    let port = free_port();
    let gateway_home = reference::home(Some(port));
    let mut gateway = reference::gateway(&gateway_home);
    let home = Home::new();
    // What it offers does not depend on the programs of the machine that tests it.
    home.write_config("{ browser: { enabled: false } }");
    let mut command = command(&program(), &home);
    command.env("OPENCLAW_GATEWAY_TOKEN", SECRET).args([
        "node",
        "run",
        "--port",
        &port.to_string(),
        "--display-name",
        "Small Node",
    ]);
    let mut node = Running::start(command);
    // This program's command line administers the reference's gateway as well.
    let url = format!("ws://127.0.0.1:{port}");
    let operator = Home::new();
    let ask = |arguments: &[&str]| {
        let mut line = arguments.to_vec();
        line.extend([
            "--url",
            &url,
            "--token",
            SECRET,
            "--json",
            "--timeout",
            "60000",
        ]);
        openclaw_with(&operator, &[], &line)
    };
    let waiting = wait_long("the pending node", || {
        ask(&["nodes", "pending"]).success().json().get(0).cloned()
    });
    assert_eq!(waiting["displayName"], "Small Node", "{waiting}");
    assert_eq!(
        waiting["commands"],
        json!(["system.run.prepare", "system.run", "system.which"])
    );
    ask(&["nodes", "approve", waiting["requestId"].as_str().unwrap()]).success();
    let invoke = || {
        ask(&[
            "nodes",
            "invoke",
            "--node",
            "Small Node",
            "--command",
            "system.which",
            "--params",
            r#"{"bins":["uname"]}"#,
        ])
    };
    let answer = wait_long("the answer", || {
        let outcome = invoke();
        (outcome.code == 0).then(|| outcome.json())
    });
    assert_eq!(
        answer["payload"],
        json!({"bins": {"uname": "/usr/bin/uname"}})
    );

    // A restart of the gateway is survived without a hand.
    gateway.kill();
    gateway = reference::gateway(&gateway_home);
    wait_long("the node to be back", || (invoke().code == 0).then_some(()));
    node.signal("TERM");
    assert_eq!(node.exit_code(), 0, "{}", node.output());
    drop(gateway);
    reference::nothing_left_behind(&gateway_home);
}

#[test]
fn the_reference_node_host_stays_while_pairing_is_closed() {
    let gateway = Gateway::start();
    gateway.cli(&["gateway", "pairing", "close"]).success();
    let home = reference::home(Some(gateway.address.port()));
    let mut node = reference::node_host(&home, gateway.address.port());
    wait_long("the refusal", || {
        let output = node.output();
        output.contains("PAIRING_REQUIRED").then_some(())
    });
    let output = node.output();
    assert!(
        output.contains("pairing is closed on this gateway")
            && output.contains("openclaw gateway pairing open"),
        "{output}"
    );
    assert!(node.alive(), "it waits for its operator:\n{output}");
    assert_eq!(rows(&gateway), Vec::<Value>::new());
    gateway
        .cli(&["gateway", "pairing", "open", "--for", "3m"])
        .success();
    node.kill();
    let _node = reference::node_host(&home, gateway.address.port());
    wait_long("a request", || rows(&gateway).into_iter().next());
}
