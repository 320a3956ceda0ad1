//! TLS across programs: the reference's node host pins this gateway's certificate, this node host the
//! reference's.

use serde_json::{Value, json};

use crate::reference::{self, OLDER, wait_long};
use crate::support::home::Home;
use crate::support::process::{
    Gateway, Outcome, Running, SECRET, command, free_port, openclaw, program,
};
use crate::support::tls::{CERTIFICATE, fingerprint};

/// A node host of the reference with a pin.
fn reference_node(home: &Home, port: u16, pin: &str) -> Running {
    let port = port.to_string();
    let line = ["node", "run", "--port", &port, "--display-name", "Pinned"];
    OLDER.start(
        home,
        &[&line[..], &["--tls", "--tls-fingerprint", pin]].concat(),
    )
}

fn pending(gateway: &Gateway) -> Vec<Value> {
    let rows = gateway
        .cli(&["nodes", "pending", "--json"])
        .success()
        .json();
    rows.as_array().unwrap().clone()
}

/// `nodes invoke` of `system.which`, where the rest of the line says which gateway.
fn which(home: &Home, more: &[&str]) -> Outcome {
    let ask = [
        "nodes",
        "invoke",
        "--node",
        "Pinned",
        "--command",
        "system.which",
    ];
    let params = ["--params", r#"{"bins":["uname"]}"#, "--json"];
    openclaw(home, &[&ask[..], &params, more].concat())
}

#[test]
fn the_reference_node_host_pins_this_gateway() {
    let gateway = Gateway::start_tls();
    let port = gateway.address.port();
    let home = reference::home(None);

    let mut mistaken = reference_node(&home, port, &"ab".repeat(32));
    wait_long("the mismatch", || {
        mistaken
            .output()
            .contains("fingerprint mismatch")
            .then_some(())
    });
    assert_eq!(pending(&gateway), [] as [Value; 0]);
    mistaken.kill();

    let node = reference_node(&home, port, &fingerprint(&gateway.home));
    let waiting = wait_long("the node request", || pending(&gateway).into_iter().next());
    assert_eq!(waiting["layer"], "node", "{waiting}");
    let id = waiting["requestId"].as_str().unwrap();
    gateway.cli(&["nodes", "approve", id]).success();
    let answer = which(&gateway.home, &[]).success().json();
    assert_eq!(
        answer["payload"],
        json!({"bins": {"uname": "/usr/bin/uname"}})
    );
    drop(node);
}

#[test]
fn this_node_host_pins_the_reference_gateway() {
    let port = free_port();
    let theirs = Home::new();
    theirs.write_config(&format!(
        r#"{{ "gateway": {{ "mode": "local", "port": {port}, "bind": "loopback", "tls": {{ "enabled": true }},
              "auth": {{ "mode": "token", "token": "{SECRET}" }} }}, "plugins": {{ "enabled": false }} }}"#
    ));
    let _gateway = reference::gateway(&theirs);
    assert!(!theirs.read(CERTIFICATE).is_empty(), "it makes one as well");
    let pin = fingerprint(&theirs);
    let url = format!("wss://127.0.0.1:{port}");
    let operator = Home::new();
    let target = ["--url", &url, "--token", SECRET, "--timeout", "60000"];
    let reach = [&target[..], &["--tls-fingerprint", &pin]].concat();
    let ask = |arguments: &[&str]| openclaw(&operator, &[arguments, &reach, &["--json"]].concat());

    let home = Home::new();
    let port = port.to_string();
    let start = |pin: &str| {
        let mut command = command(&program(), &home);
        command
            .env("OPENCLAW_GATEWAY_TOKEN", SECRET)
            .args(["node", "run", "--port", &port, "--display-name", "Pinned"])
            .args(["--tls-fingerprint", pin]);
        Running::start(command)
    };
    let mut mistaken = start(&"ab".repeat(32));
    mistaken.wait_for_output("gateway tls fingerprint mismatch");
    assert_eq!(ask(&["nodes", "pending"]).success().json(), json!([]));
    mistaken.kill();

    let node = start(&pin);
    // The reference gives a request a new id when its node connects again meanwhile.
    wait_long("the approval", || {
        let waiting = ask(&["nodes", "pending"])
            .success()
            .json()
            .get(0)
            .cloned()?;
        let id = waiting["requestId"].as_str().unwrap();
        (ask(&["nodes", "approve", id]).code == 0).then_some(())
    });
    let answer = wait_long("the answer", || {
        let outcome = which(&operator, &reach);
        (outcome.code == 0).then(|| outcome.json())
    });
    assert_eq!(
        answer["payload"],
        json!({"bins": {"uname": "/usr/bin/uname"}})
    );
    drop(node);
}
