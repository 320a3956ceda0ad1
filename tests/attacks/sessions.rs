//! Attacks of those who are in: calls of the other role, somebody else's invokes and signs of life,
//! and decisions that cross each other.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::{Scene, node_with};
use crate::support::device::Device;
use crate::support::peer::{Peer, cli_params, operator_params};
use crate::support::process::SECRET;
use crate::support::wait_for;

/// Methods that are for nodes alone; everything else but `health` is for operators.
const OF_NODES: [&str; 9] = [
    "node.invoke.result",
    "node.event",
    "node.pending.pull",
    "node.pending.ack",
    "node.pending.drain",
    "skills.bins",
    "node.skills.update",
    "node.pluginTools.update",
    "node.runnerInventory.update",
];

/// A second approved node.
fn second_node(scene: &mut Scene) -> (Device, Peer) {
    let key = Device::new();
    let node = Peer::node(scene.gateway.address, SECRET, &key, &["system.which"]).unwrap();
    let admin = scene.admin();
    let list = admin.call("node.pair.list", json!({})).unwrap();
    let request = list["pending"][0]["requestId"].clone();
    admin
        .call("node.pair.approve", json!({"requestId": request}))
        .unwrap();
    (key, node)
}

#[test]
fn no_role_calls_the_methods_of_the_other() {
    let mut scene = Scene::new();
    let hello = scene.node.hello["features"]["methods"].clone();
    let methods: Vec<&str> = hello
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let of_operators = methods
        .iter()
        .filter(|name| !OF_NODES.contains(name) && **name != "health");
    let mut tried = 0;
    for name in of_operators.chain([&"no.such.method", &"connect"]) {
        let error = scene.node.call(name, json!({})).unwrap_err();
        assert_eq!(error["message"], "unauthorized role: node", "{name}");
        // Any answered call keeps the guard against floods of such calls quiet.
        scene.node.call("health", json!({})).unwrap();
        tried += 1;
    }
    assert!(tried > 25, "{methods:?}");
    for name in OF_NODES {
        let error = scene.admin().call(name, json!({})).unwrap_err();
        assert_eq!(error["message"], "unauthorized role: operator", "{name}");
        scene.admin().call("health", json!({})).unwrap();
    }
    scene.unharmed();
}

#[test]
fn only_the_asked_connection_answers_an_invoke() {
    let mut scene = Scene::new();
    let (other_key, mut other) = second_node(&mut scene);
    let victim = scene.node_key.id.clone();
    let asked = scene.admin().send(
        "node.invoke",
        json!({"nodeId": victim, "command": "system.which", "params": {"bins": ["x"]}, "timeoutMs": 60_000, "idempotencyKey": "k"}),
    );
    let request = scene.node.event("node.invoke.request")["payload"].clone();
    let forged = |node: &str| json!({"id": request["id"], "nodeId": node, "ok": true, "payloadJSON": r#"{"bins":{"x":"/forged"}}"#});
    let error = other
        .call("node.invoke.result", forged(&victim))
        .unwrap_err();
    assert_eq!(error["message"], "nodeId mismatch");
    let ignored = other
        .call("node.invoke.result", forged(&other_key.id))
        .unwrap();
    assert_eq!(ignored, json!({"ok": true, "ignored": true}));
    // A second connection of the same node was not asked either.
    let mut twin = Peer::node(
        scene.gateway.address,
        SECRET,
        &scene.node_key,
        &["system.which"],
    )
    .unwrap();
    let ignored = twin.call("node.invoke.result", forged(&victim)).unwrap();
    assert_eq!(ignored, json!({"ok": true, "ignored": true}));
    // The operator cannot answer itself, and nobody sees the request but the node.
    let error = scene
        .admin()
        .call("node.invoke.result", forged(&victim))
        .unwrap_err();
    assert_eq!(error["message"], "unauthorized role: operator");
    assert!(other.has_not_heard("node.invoke.request"));
    assert!(twin.has_not_heard("node.invoke.request"));

    let answer = json!({"id": request["id"], "nodeId": victim, "ok": true, "payloadJSON": r#"{"bins":{"x":"/right"}}"#});
    scene
        .node
        .call("node.invoke.result", answer.clone())
        .unwrap();
    let result = scene.admin().answer(&asked).unwrap();
    assert_eq!(result["payload"]["bins"]["x"], "/right");
    // Once answered it is over.
    let again = scene.node.call("node.invoke.result", answer).unwrap();
    assert_eq!(again, json!({"ok": true, "ignored": true}));
}

#[test]
fn a_node_speaks_for_itself_alone() {
    let mut scene = Scene::new();
    let (other_key, other) = second_node(&mut scene);
    drop(other);
    let victim = scene.node_key.id.clone();
    let seen = |scene: &Scene| {
        let row = scene
            .gateway
            .cli(&["nodes", "describe", "--node", &victim, "--json"]);
        let row = row.success().json();
        (
            row["lastSeenAtMs"].clone(),
            row["lastConnectedAtMs"].clone(),
            row["displayName"].clone(),
        )
    };
    let before = seen(&scene);
    // It names the other one wherever a name can stand.
    let mut params = node_with(json!({"token": SECRET}));
    params["client"]["instanceId"] = json!(victim);
    params["client"]["displayName"] = json!("Somebody");
    let mut liar = Peer::connect(scene.gateway.address, params, Some(&other_key)).unwrap();
    let describe_own = ["nodes", "describe", "--node", &other_key.id, "--json"];
    let row = scene.gateway.cli(&describe_own).success().json();
    let connected = row["connectedAtMs"].as_u64().unwrap();
    // In the millisecond of the connect, the connect is the newest sign of life.
    wait_for("the next millisecond", || {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        (now.as_millis() > u128::from(connected)).then_some(())
    });
    let payload =
        json!({"trigger": "manual", "nodeId": victim, "deviceId": victim, "displayName": "Taken"});
    let alive = json!({"event": "node.presence.alive", "payload": payload});
    let noted = liar.call("node.event", alive).unwrap();
    assert_eq!(noted["reason"], "persisted", "its own record: {noted}");
    assert_eq!(seen(&scene), before, "the other's record is as it was");
    let own = scene.gateway.cli(&describe_own);
    assert_eq!(own.success().json()["lastSeenReason"], "manual");
    // Skills and tools are its own as well.
    let answer = liar
        .call("node.skills.update", json!({"skills": []}))
        .unwrap();
    assert_eq!(answer["nodeId"], json!(other_key.id));
    let pulled = liar.call("node.pending.pull", json!({})).unwrap();
    assert_eq!(pulled["nodeId"], json!(other_key.id));
}

#[test]
fn of_two_opposite_decisions_one_holds() {
    let scene = Scene::new();
    for round in 0..8 {
        let stranger = Device::new();
        let params = node_with(json!({"token": SECRET}));
        let headers = [("X-Forwarded-For", "203.0.113.9")];
        let refused = scene
            .connect_with(&headers, params, Some(&stranger))
            .err()
            .unwrap();
        let request = json!({"requestId": refused.error["details"]["requestId"]});
        let decide = |method: &'static str| {
            let (address, request) = (scene.gateway.address, request.clone());
            std::thread::spawn(move || {
                let mut judge = Peer::operator(address, SECRET);
                judge.call(method, request).is_ok()
            })
        };
        let mut watcher = Peer::operator(scene.gateway.address, SECRET);
        let (approve, reject) = (decide("device.pair.approve"), decide("device.pair.reject"));
        let (approved, rejected) = (approve.join().unwrap(), reject.join().unwrap());
        assert!(approved != rejected, "round {round}: {approved} {rejected}");
        let told = watcher.event("device.pair.resolved")["payload"].clone();
        let decision = if approved { "approved" } else { "rejected" };
        assert_eq!(told["decision"], decision, "{told}");
        assert!(watcher.has_not_heard("device.pair.resolved"));
        let paired = scene.gateway.home.json("devices/paired.json");
        assert_eq!(paired.get(&stranger.id).is_some(), approved);
        assert_eq!(scene.gateway.home.json("devices/pending.json"), json!({}));
    }
}

#[test]
fn a_request_that_changed_is_not_approved_by_its_old_id() {
    let scene = Scene::new();
    let stranger = Device::new();
    let headers = [("X-Forwarded-For", "203.0.113.9")];
    let ask = |scopes: &[&str]| {
        let params = cli_params(json!({"token": SECRET}), scopes);
        let refused = scene
            .connect_with(&headers, params, Some(&stranger))
            .err()
            .unwrap();
        refused.error["details"]["requestId"].clone()
    };
    // A harmless request is shown; before the person says yes it asks for everything.
    let harmless = ask(&["operator.read"]);
    let greedy = ask(&["operator.admin"]);
    assert_ne!(harmless, greedy);
    let mut admin = Peer::operator(scene.gateway.address, SECRET);
    let error = admin
        .call("device.pair.approve", json!({"requestId": harmless}))
        .unwrap_err();
    assert_eq!(error["code"], "INVALID_REQUEST");
    let message = error["message"].as_str().unwrap();
    assert!(
        message.contains("unknown requestId") || message.contains("superseded"),
        "{message}"
    );
    let paired = scene.gateway.home.json("devices/paired.json");
    assert!(paired.get(&stranger.id).is_none());
}

#[test]
fn a_small_approver_cannot_approve_much_by_making_it_look_small() {
    let mut scene = Scene::new();
    let victim = scene.node_key.id.clone();
    // The node declares more than was approved, which waits and needs an administrator.
    let wider = ["system.which", "system.run"];
    let mut node = Peer::node(scene.gateway.address, SECRET, &scene.node_key, &wider).unwrap();
    let pairing = operator_params(SECRET, &["operator.pairing"]);
    let mut small = Peer::connect(scene.gateway.address, pairing, None).unwrap();
    let list = small.call("node.pair.list", json!({})).unwrap();
    let request = json!({"requestId": list["pending"][0]["requestId"]});
    let error = small
        .call("node.pair.approve", request.clone())
        .unwrap_err();
    assert_eq!(error["message"], "missing scope: operator.admin");
    // It shrinks the request to one that it may approve: that approves the small thing alone.
    small
        .call(
            "node.pair.request",
            json!({"nodeId": victim, "commands": []}),
        )
        .unwrap();
    let _ = small.call("node.pair.approve", request);
    let asked = scene.admin().call(
        "node.invoke",
        json!({"nodeId": victim, "command": "system.run", "params": {"command": ["true"]}, "idempotencyKey": "k"}),
    );
    assert_eq!(asked.unwrap_err()["code"], "INVALID_REQUEST");
    assert!(node.has_not_heard("node.invoke.request"));
    assert!(scene.node.has_not_heard("node.invoke.request"));
}
