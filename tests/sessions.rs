//! Live sessions: duplicates, timeouts, disconnects, sequence numbers, shutdown.

use serde_json::{Value, json};

use crate::support::device::Device;
use crate::support::peer::{Peer, operator_params};
use crate::support::process::{Gateway, SECRET};

fn which(node: &Device, timeout_ms: Value) -> Value {
    json!({"nodeId": node.id, "command": "system.which", "params": {"bins": []}, "timeoutMs": timeout_ms, "idempotencyKey": "k"})
}

/// A connected, approved node and an operator.
fn pair(gateway: &Gateway) -> (Device, Peer, Peer) {
    let device = Device::new();
    let mut operator = Peer::operator(gateway.address, SECRET);
    let node = Peer::node(gateway.address, SECRET, &device, &["system.which"]).unwrap();
    let request = operator.event("node.pair.requested")["payload"]["requestId"].clone();
    operator
        .call("node.pair.approve", json!({"requestId": request}))
        .unwrap();
    (device, node, operator)
}

#[test]
fn the_newest_connection_of_a_node_owns_it_and_the_survivor_takes_over() {
    let gateway = Gateway::start();
    let (device, mut first, mut operator) = pair(&gateway);
    let mut second = Peer::node(gateway.address, SECRET, &device, &["system.which"]).unwrap();
    let asked = operator.send("node.invoke", which(&device, json!(10_000)));
    second.answer_invoke(&json!({"bins": {"from": "second"}}));
    assert_eq!(
        operator.answer(&asked).unwrap()["payload"]["bins"]["from"],
        "second"
    );
    assert!(first.has_not_heard("node.invoke.request"));

    let asked = operator.send("node.invoke", which(&device, json!(60_000)));
    second.event("node.invoke.request");
    drop(second);
    let error = operator.answer(&asked).unwrap_err();
    assert_eq!(error["code"], "UNAVAILABLE");
    assert_eq!(error["details"]["code"], "NODE_DISCONNECTED");
    let asked = operator.send("node.invoke", which(&device, json!(10_000)));
    first.answer_invoke(&json!({"bins": {"from": "first"}}));
    assert_eq!(
        operator.answer(&asked).unwrap()["payload"]["bins"]["from"],
        "first"
    );
}

#[test]
fn an_unanswered_invoke_times_out_and_its_late_result_is_ignored() {
    let gateway = Gateway::start();
    let (device, mut node, mut operator) = pair(&gateway);
    let error = operator
        .call("node.invoke", which(&device, json!(500)))
        .unwrap_err();
    assert_eq!(error["message"], "TIMEOUT: node invoke timed out");
    assert_eq!(error["details"]["nodeError"]["code"], "TIMEOUT");
    let late = node.event("node.invoke.request")["payload"].clone();
    let result = json!({"id": late["id"], "nodeId": device.id, "ok": true, "payloadJSON": "{}"});
    assert_eq!(
        node.call("node.invoke.result", result).unwrap(),
        json!({"ok": true, "ignored": true})
    );
    let foreign = json!({"id": late["id"], "nodeId": "other", "ok": true});
    assert_eq!(
        node.call("node.invoke.result", foreign).unwrap_err()["message"],
        "nodeId mismatch"
    );
    let error = operator
        .call("node.invoke", which(&device, json!(0)))
        .unwrap_err();
    assert_eq!(error["message"], "TIMEOUT: node invoke timed out");
}

#[test]
fn many_invokes_are_open_at_once_and_answered_in_any_order() {
    let gateway = Gateway::start();
    let (device, mut node, mut operator) = pair(&gateway);
    let asked: Vec<String> = (0..50)
        .map(|_| operator.send("node.invoke", which(&device, json!(20_000))))
        .collect();
    let mut forwarded: Vec<Value> = (0..50)
        .map(|_| node.event("node.invoke.request")["payload"].clone())
        .collect();
    forwarded.reverse();
    for request in &forwarded {
        let result = json!({"id": request["id"], "nodeId": device.id, "ok": true,
                            "payloadJSON": json!({"id": request["id"]}).to_string()});
        node.call("node.invoke.result", result).unwrap();
    }
    let mut ids: Vec<String> = asked
        .iter()
        .map(|id| {
            operator.answer(id).unwrap()["payload"]["id"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    let mut expected: Vec<String> = forwarded
        .iter()
        .map(|request| request["id"].as_str().unwrap().to_owned())
        .collect();
    expected.reverse();
    assert_eq!(ids, expected, "each asker gets its own answer");
    ids.dedup();
    assert_eq!(ids.len(), 50);
}

#[test]
fn broadcasts_are_numbered_per_client_and_scoped() {
    let gateway = Gateway::start();
    let mut pairing = Peer::connect(
        gateway.address,
        operator_params(SECRET, &["operator.pairing"]),
        None,
    )
    .unwrap();
    let mut reader = Peer::connect(
        gateway.address,
        operator_params(SECRET, &["operator.read"]),
        None,
    )
    .unwrap();
    let nodes: Vec<Peer> = (0..3)
        .map(|_| Peer::node(gateway.address, SECRET, &Device::new(), &["system.which"]).unwrap())
        .collect();
    let mut numbers = Vec::new();
    for _ in 0..3 {
        numbers.push(
            pairing.event("node.pair.requested")["seq"]
                .as_u64()
                .unwrap(),
        );
    }
    assert!(
        numbers.windows(2).all(|pair| pair[0] < pair[1]),
        "{numbers:?}"
    );
    assert!(reader.has_not_heard("node.pair.requested"));
    drop(nodes);
    let presence = reader.event("presence");
    assert!(
        presence["stateVersion"]["presence"].as_u64().unwrap() >= 1,
        "{presence}"
    );
    assert_eq!(presence["seq"], 1, "its own numbering: {presence}");
}

#[test]
fn removing_a_device_ends_its_session_and_its_open_invokes() {
    let gateway = Gateway::start();
    let (device, mut node, mut operator) = pair(&gateway);
    let asked = operator.send("node.invoke", which(&device, json!(60_000)));
    node.event("node.invoke.request");
    operator
        .call("device.pair.remove", json!({"deviceId": device.id}))
        .unwrap();
    assert_eq!(node.closed(), (4001, "device removed".to_owned()));
    assert_eq!(
        operator.answer(&asked).unwrap_err()["details"]["code"],
        "NODE_DISCONNECTED"
    );
    let list = operator.call("node.pair.list", json!({})).unwrap();
    assert_eq!(list, json!({"pending": [], "paired": []}));
    assert_eq!(
        operator.event("node.pair.resolved")["payload"]["decision"],
        "approved"
    );
}

#[test]
fn rotation_and_revocation_end_sessions_and_old_tokens() {
    let gateway = Gateway::start();
    let (device, mut node, mut operator) = pair(&gateway);
    let token = node.hello["auth"]["deviceToken"]
        .as_str()
        .unwrap()
        .to_owned();
    let rotated = operator
        .call(
            "device.token.rotate",
            json!({"deviceId": device.id, "role": "node"}),
        )
        .unwrap();
    assert_eq!(
        rotated.get("token"),
        None,
        "a shared-secret caller gets no bearer token"
    );
    assert_eq!(node.closed(), (4001, "device removed".to_owned()));
    // A right signature with the old token is still refused.
    let refused = Peer::node(gateway.address, &token, &device, &["system.which"])
        .err()
        .unwrap();
    assert_eq!(refused.error["code"], "INVALID_REQUEST", "{refused:?}");
    // The shared secret gets the current token again.
    let mut node = Peer::node(gateway.address, SECRET, &device, &["system.which"]).unwrap();
    let token = node.hello["auth"]["deviceToken"]
        .as_str()
        .unwrap()
        .to_owned();
    drop(
        Peer::node(gateway.address, &token, &device, &["system.which"])
            .expect("the device token works alone"),
    );
    operator
        .call(
            "device.token.revoke",
            json!({"deviceId": device.id, "role": "node"}),
        )
        .unwrap();
    assert_eq!(node.closed(), (4001, "device removed".to_owned()));
    let refused = Peer::node(gateway.address, SECRET, &device, &["system.which"])
        .err()
        .unwrap();
    assert_eq!(
        refused.error["details"]["reason"], "role-upgrade",
        "{refused:?}"
    );
}

#[test]
fn an_expanded_node_keeps_what_was_approved() {
    let gateway = Gateway::start();
    let (device, node, mut operator) = pair(&gateway);
    drop(node);
    let mut node = Peer::node(
        gateway.address,
        SECRET,
        &device,
        &["system.run", "system.which"],
    )
    .unwrap();
    let row = operator
        .call("node.describe", json!({"nodeId": device.id}))
        .unwrap();
    assert_eq!(row["commands"], json!(["system.which"]), "{row}");
    assert_eq!(row["approvalState"], "pending-reapproval");
    let asked = operator.send("node.invoke", which(&device, json!(10_000)));
    node.answer_invoke(&json!({"bins": {}}));
    operator.answer(&asked).unwrap();
    let refused = operator.call(
        "node.invoke",
        json!({"nodeId": device.id, "command": "system.run", "params": {"command": ["id"]}, "idempotencyKey": "k"}),
    );
    assert_eq!(refused.unwrap_err()["code"], "INVALID_REQUEST");
    // An approval acts on the live session at once.
    operator
        .call(
            "node.pair.approve",
            json!({"requestId": row["pendingRequestId"]}),
        )
        .unwrap();
    let row = operator
        .call("node.describe", json!({"nodeId": device.id}))
        .unwrap();
    assert_eq!(row["commands"], json!(["system.run", "system.which"]));
}

#[test]
fn presence_alive_is_written_only_for_a_paired_identity() {
    let gateway = Gateway::start();
    let (device, mut node, mut operator) = pair(&gateway);
    let alive = json!({"event": "node.presence.alive", "payload": {"trigger": "silent_push", "nodeId": "forged"}});
    let first = node.call("node.event", alive.clone()).unwrap();
    assert_eq!(
        first,
        json!({"ok": true, "event": "node.presence.alive", "handled": true, "reason": "persisted"})
    );
    assert_eq!(
        node.call("node.event", alive).unwrap()["reason"],
        "throttled"
    );
    let row = operator
        .call("node.describe", json!({"nodeId": device.id}))
        .unwrap();
    assert!(row["lastSeenAtMs"].as_u64().unwrap() > 0, "{row}");
}

#[test]
fn a_node_whose_commands_wait_was_seen_when_it_connected_and_is_more_than_its_pairing() {
    let gateway = Gateway::start();
    let device = Device::new();
    let node = Peer::node(gateway.address, SECRET, &device, &["system.run"]).unwrap();
    drop(node);
    let line = ["nodes", "list", "--last-connected", "24h", "--json"];
    let listed = gateway.cli(&line).success().json();
    let row = &listed["paired"][0];
    assert_eq!(row["nodeId"], json!(device.id), "{listed}");
    assert!(row["lastConnectedAtMs"].as_u64().unwrap() > 0, "{row}");
    for line in [
        vec!["nodes", "remove", "--node", &device.id],
        vec!["nodes", "rename", "--node", &device.id, "--name", "Pi"],
    ] {
        let refused = gateway.cli(&line);
        assert!(refused.stderr.contains("unknown nodeId"), "{refused:?}");
        let way = format!("openclaw devices remove {}", device.id);
        assert!(refused.stderr.contains(&way), "{refused:?}");
    }
}

#[test]
fn a_stop_tells_everybody_and_closes_with_1012() {
    let mut gateway = Gateway::start();
    let (_, mut node, mut operator) = pair(&gateway);
    gateway.process.signal("TERM");
    let shutdown = operator.event("shutdown");
    assert_eq!(
        shutdown["payload"],
        json!({"reason": "gateway stopping", "restartExpectedMs": null})
    );
    assert_eq!(operator.closed(), (1012, "service restart".to_owned()));
    assert_eq!(node.closed(), (1012, "service restart".to_owned()));
    assert_eq!(
        gateway.process.exit_code(),
        0,
        "{}",
        gateway.process.output()
    );
}

#[test]
fn the_thirty_third_unauthenticated_socket_is_turned_away() {
    let gateway = Gateway::start();
    let held: Vec<_> = (0..32)
        .map(|_| crate::support::websocket::WebSocket::connect(gateway.address))
        .collect();
    let answer = crate::support::wait_for("the refusal", || {
        crate::support::websocket::WebSocket::connect_with(gateway.address, "/", &[]).err()
    });
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(
        answer.ends_with("Too many unauthenticated sockets"),
        "{answer}"
    );
    drop(held);
    crate::support::wait_for("room again", || {
        crate::support::websocket::WebSocket::connect_with(gateway.address, "/", &[])
            .ok()
            .map(|_| ())
    });
}
