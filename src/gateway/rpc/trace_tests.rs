//! The complete first pairing of a remote node over real connections (protocol.md, appendix B), and what
//! waits while a node does its work.

use serde_json::{Value, json};

use crate::gateway::loopback::{Client, Rig, key, node, operator, wait_until};

const WHICH: &[&str] = &["system.which"];

/// A proxy in front makes a connection remote.
const FORWARDED: &[(&str, &str)] = &[("x-forwarded-for", "203.0.113.9")];

/// Connects node `number` from far away; the client and its answer.
fn arrive(rig: &Rig, number: u8) -> (Client, Value) {
    let mut client = rig.client_with(FORWARDED);
    let params = node(&key(number), &client.nonce, WHICH);
    let answer = client.call("connect", params);
    (client, answer)
}

/// Connects node `number` from this host, where device pairing is silent.
fn local(rig: &Rig, number: u8) -> Client {
    rig.session(|nonce| node(&key(number), nonce, WHICH))
}

fn node_id(number: u8) -> String {
    key(number).device_id().to_string()
}

fn invoke(number: u8) -> Value {
    json!({"nodeId": node_id(number), "command": "system.which", "params": {"bins": ["ls"]}, "idempotencyKey": "k"})
}

fn approve_node(person: &mut Client, number: u8) {
    let pending = person.call("node.pair.list", json!({}))["payload"]["pending"].clone();
    let mut rows = pending.as_array().unwrap().iter();
    let row = rows
        .find(|row| row["nodeId"] == node_id(number).as_str())
        .unwrap();
    let answer = person.call("node.pair.approve", json!({"requestId": row["requestId"]}));
    assert_eq!(answer["ok"], true, "{answer}");
}

fn start(client: &mut Client, id: &str, method: &str, params: Value) {
    client.send(json!({"type": "req", "id": id, "method": method, "params": params}).to_string());
}

fn response(client: &mut Client, id: &str) -> Value {
    client.until(|frame| frame["type"] == "res" && frame["id"] == id)
}

#[test]
fn a_remote_node_is_paired_on_both_layers_and_runs_a_command() {
    let rig = Rig::start();
    let mut person = rig.session(|_| operator(&["operator.admin"]));

    let (mut waiting, answer) = arrive(&rig, 1);
    let details = &answer["error"]["details"];
    assert_eq!(
        (&answer["error"]["code"], &details["code"]),
        (&json!("NOT_PAIRED"), &json!("PAIRING_REQUIRED"))
    );
    assert_eq!(details["reason"], "not-paired");
    let first = details["requestId"].as_str().unwrap().to_owned();
    assert_eq!(
        person.event("device.pair.requested")["payload"]["requestId"],
        first.as_str()
    );
    let (_, code, reason) = waiting.closing();
    assert_eq!(code, 1008);
    assert_eq!(
        reason,
        format!("pairing required: device is not approved yet (requestId: {first})")
    );

    let approved = person.call("device.pair.approve", json!({"requestId": first}));
    assert_eq!(
        approved["payload"]["device"]["deviceId"],
        node_id(1).as_str()
    );

    let (mut host, answer) = arrive(&rig, 1);
    assert_eq!(
        answer["payload"]["auth"]["deviceToken"]
            .as_str()
            .unwrap()
            .len(),
        43
    );
    let asked = person.event("node.pair.requested")["payload"].clone();
    assert_eq!(
        asked["requiredApproveScopes"],
        json!(["operator.pairing", "operator.admin"])
    );

    let refused = person.call("node.invoke", invoke(1))["error"].clone();
    assert_eq!(refused["details"]["reason"], "node pairing not approved");
    assert_eq!(refused["details"]["requestId"], asked["requestId"]);

    let approved = person.call(
        "node.pair.approve",
        json!({"requestId": asked["requestId"]}),
    );
    assert_eq!(
        approved["payload"]["node"]["token"].as_str().unwrap().len(),
        43
    );

    start(&mut person, "run", "node.invoke", invoke(1));
    let request = host.event("node.invoke.request")["payload"].clone();
    assert_eq!(request["paramsJSON"], "{\"bins\":[\"ls\"]}");
    let result = json!({"id": request["id"], "nodeId": node_id(1), "ok": true, "payloadJSON": "{\"bins\":{}}"});
    assert_eq!(
        host.call("node.invoke.result", result)["payload"],
        json!({"ok": true})
    );
    let answer = response(&mut person, "run");
    assert_eq!(
        (&answer["ok"], &answer["payload"]["payload"]),
        (&json!(true), &json!({"bins": {}}))
    );
}

#[test]
fn a_slow_node_delays_no_other_request_of_the_same_connection() {
    let rig = Rig::start();
    let mut person = rig.session(|_| operator(&["operator.admin"]));
    let (mut slow, mut quick) = (local(&rig, 1), local(&rig, 2));
    approve_node(&mut person, 1);
    approve_node(&mut person, 2);
    start(&mut person, "slow", "node.invoke", invoke(1));
    start(&mut person, "quick", "node.invoke", invoke(2));
    start(&mut person, "list", "node.list", json!({}));
    let listed = person.until(|frame| frame["type"] == "res");
    assert_eq!(
        (
            &listed["id"],
            listed["payload"]["nodes"].as_array().unwrap().len()
        ),
        (&json!("list"), 2)
    );
    let first = slow.event("node.invoke.request")["payload"]["id"].clone();
    let second = quick.event("node.invoke.request")["payload"]["id"].clone();
    quick.call(
        "node.invoke.result",
        json!({"id": second, "nodeId": node_id(2), "ok": true}),
    );
    assert_eq!(person.until(|frame| frame["type"] == "res")["id"], "quick");
    slow.call(
        "node.invoke.result",
        json!({"id": first, "nodeId": node_id(1), "ok": true}),
    );
    assert_eq!(person.until(|frame| frame["type"] == "res")["id"], "slow");
}

#[test]
fn a_node_that_drops_its_connection_fails_its_invokes() {
    let rig = Rig::start();
    let mut person = rig.session(|_| operator(&["operator.admin"]));
    let mut host = local(&rig, 1);
    approve_node(&mut person, 1);
    start(&mut person, "run", "node.invoke", invoke(1));
    host.event("node.invoke.request");
    drop(host);
    let error = response(&mut person, "run")["error"].clone();
    assert_eq!(error["message"], "node disconnected (system.which)");
    let refused = person.call("node.invoke", invoke(1))["error"].clone();
    assert_eq!(refused["details"]["code"], "NOT_CONNECTED");
}

#[test]
fn the_older_of_two_connections_takes_over_when_the_newer_leaves() {
    let rig = Rig::start();
    let mut person = rig.session(|_| operator(&["operator.admin"]));
    let mut old = local(&rig, 1);
    let owner = || {
        let registry = rig.gateway().context().registry();
        registry
            .owner(&node_id(1).as_str().into())
            .map(|live| live.conn.clone())
    };
    let first = owner();
    let new = local(&rig, 1);
    approve_node(&mut person, 1);
    assert_ne!(owner(), first);
    new.leave();
    wait_until("the older connection owns the node", || owner() == first);
    start(&mut person, "run", "node.invoke", invoke(1));
    let request = old.event("node.invoke.request")["payload"].clone();
    old.call(
        "node.invoke.result",
        json!({"id": request["id"], "nodeId": node_id(1), "ok": true}),
    );
    assert_eq!(response(&mut person, "run")["ok"], true);
}
