//! Revocation that bites: what a removed, rotated or revoked device had open ends before the answer, which
//! says how much it was, and nothing of it has an effect afterwards.

use serde_json::{Value, json};

use crate::support::device::Device;
use crate::support::peer::{ALL_SCOPES, Peer, operator_params};
use crate::support::process::{Gateway, SECRET};

/// An operator session of `device`, paired on first contact.
fn operator_of(gateway: &Gateway, device: &Device) -> Peer {
    let mut params = operator_params(SECRET, &ALL_SCOPES);
    params["client"]["id"] = json!("cli");
    params["client"]["mode"] = json!("cli");
    Peer::connect(gateway.address, params, Some(device)).unwrap()
}

/// A connected and approved node.
fn node(gateway: &Gateway, operator: &mut Peer) -> (Device, Peer) {
    let device = Device::new();
    let node = Peer::node(gateway.address, SECRET, &device, &["system.which"]).unwrap();
    let request = operator.event("node.pair.requested")["payload"]["requestId"].clone();
    operator
        .call("node.pair.approve", json!({"requestId": request}))
        .unwrap();
    (device, node)
}

fn which(node: &Device) -> Value {
    json!({"nodeId": node.id, "command": "system.which", "timeoutMs": 60_000, "idempotencyKey": "k"})
}

#[test]
fn removing_a_device_ends_both_of_its_sessions_and_what_waited_for_it() {
    let gateway = Gateway::start();
    let mut person = Peer::operator(gateway.address, SECRET);
    let (device, mut host) = node(&gateway, &mut person);
    // The same key as an operator: a wider role, hence a request of its own.
    let mut params = operator_params(SECRET, &["operator.read"]);
    params["client"]["id"] = json!("cli");
    params["client"]["mode"] = json!("cli");
    Peer::connect(gateway.address, params.clone(), Some(&device))
        .map(drop)
        .unwrap_err();
    let upgrade = person.event("device.pair.requested")["payload"]["requestId"].clone();
    person
        .call("device.pair.approve", json!({"requestId": upgrade}))
        .unwrap();
    let mut desk = Peer::connect(gateway.address, params, Some(&device)).unwrap();
    let asked = person.send("node.invoke", which(&device));
    host.event("node.invoke.request");

    let removed = gateway
        .cli(&["devices", "remove", &device.id, "--json"])
        .success()
        .json();
    assert_eq!(
        removed,
        json!({"deviceId": device.id, "sessionsEnded": 2, "invokesEnded": 1, "approvalsEnded": 0})
    );
    let failed = person.answer(&asked).unwrap_err();
    assert_eq!(failed["details"]["code"], "NODE_DISCONNECTED");
    for session in [&mut host, &mut desk] {
        assert_eq!(session.closed(), (4001, "device removed".to_owned()));
    }
    let listed = gateway.cli(&["nodes", "list", "--json"]).success().json();
    assert_eq!(
        listed,
        json!({"pending": [], "paired": []}),
        "its node rows went with it"
    );
    assert_eq!(
        person.event("node.pair.resolved")["payload"]["decision"],
        "approved"
    );
    assert_eq!(
        person.event("node.pair.resolved")["payload"]["decision"],
        "removed"
    );
}

#[test]
fn nothing_of_a_removed_session_counts_after_the_answer() {
    let gateway = Gateway::start();
    let mut person = Peer::operator(gateway.address, SECRET);
    for round in 0..6 {
        let device = Device::new();
        let mut victim = operator_of(&gateway, &device);
        for n in 0..300 {
            let asked = json!({"nodeId": format!("ghost-{round}-{n}")});
            victim.send("node.pair.request", asked);
        }
        let mut seen = || {
            let listed = person.call("node.pair.list", json!({})).unwrap();
            listed["pending"].as_array().unwrap().len()
        };
        let before = seen();
        person
            .call("device.pair.remove", json!({"deviceId": device.id}))
            .unwrap();
        let mut seen = || {
            let listed = person.call("node.pair.list", json!({})).unwrap();
            listed["pending"].as_array().unwrap().len()
        };
        let at_the_answer = seen();
        assert!(at_the_answer >= before);
        // Its thread has read everything it will ever read once the connection is over.
        assert_eq!(victim.closed().0, 4001);
        assert_eq!(seen(), at_the_answer, "round {round}");
    }
}

#[test]
fn a_node_that_is_removed_but_connected_waits_again_at_once() {
    let gateway = Gateway::start();
    let mut person = Peer::operator(gateway.address, SECRET);
    let (device, mut host) = node(&gateway, &mut person);
    let asked = person.send("node.invoke", which(&device));
    host.event("node.invoke.request");
    let removed = gateway
        .cli(&["nodes", "remove", "--node", "build-node"])
        .success();
    assert_eq!(
        removed.stdout,
        format!("Removed paired node {}\n", device.id)
    );
    assert!(
        removed
            .stderr
            .starts_with("Ended 0 live sessions and 1 pending invoke.\n"),
        "{removed:?}"
    );
    let failed = person.answer(&asked).unwrap_err();
    assert_eq!(failed["details"]["code"], "COMMAND_WITHDRAWN");
    let pending = gateway
        .cli(&["nodes", "pending", "--json"])
        .success()
        .json();
    let id = pending[0]["requestId"].as_str().unwrap();
    assert!(
        removed
            .stderr
            .contains(&format!("openclaw nodes approve {id}")),
        "{removed:?}"
    );
    let error = person.call("node.invoke", which(&device)).unwrap_err();
    assert_eq!(error["details"]["code"], "NODE_PAIRING_REQUIRED");
    assert_eq!(error["details"]["requestId"], id);
    gateway.cli(&["nodes", "approve", id]).success();
    let asked = person.send("node.invoke", which(&device));
    host.answer_invoke(&json!({"bins": {}}));
    assert!(
        person.answer(&asked).is_ok(),
        "the same connection serves on"
    );
}

#[test]
fn rotating_and_revoking_say_what_ended_and_whom_they_told() {
    let gateway = Gateway::start();
    let mut person = Peer::operator(gateway.address, SECRET);
    let (device, mut host) = node(&gateway, &mut person);
    let rotate = [
        "devices", "rotate", "--device", &device.id, "--role", "node",
    ];
    let rotated = gateway.cli(&rotate).success();
    assert_eq!(
        (&rotated.json()["told"], &rotated.json()["sessionsEnded"]),
        (&json!(false), &json!(1)),
        "{rotated:?}"
    );
    assert!(
        rotated
            .stderr
            .contains("Ended 1 live session and 0 pending invokes.\n"),
        "{rotated:?}"
    );
    assert!(
        rotated
            .stderr
            .contains("The device was not told its new token"),
        "{rotated:?}"
    );
    assert_eq!(host.closed().0, 4001);

    // The pairing stands: the key and the shared secret are enough to come back.
    let mut host = Peer::node(gateway.address, SECRET, &device, &["system.which"]).unwrap();
    let asked = person.send("node.invoke", which(&device));
    host.answer_invoke(&json!({"bins": {}}));
    assert!(person.answer(&asked).is_ok());

    let asked = person.send("node.invoke", which(&device));
    host.event("node.invoke.request");
    let revoke = [
        "devices", "revoke", "--device", &device.id, "--role", "node", "--json",
    ];
    let revoked = gateway.cli(&revoke).success().json();
    assert_eq!(
        (&revoked["sessionsEnded"], &revoked["invokesEnded"]),
        (&json!(1), &json!(1))
    );
    assert!(person.answer(&asked).is_err());
    assert_eq!(host.closed().0, 4001);
    let refused = Peer::node(gateway.address, SECRET, &device, &["system.which"]);
    let error = refused.map(drop).unwrap_err().error;
    assert_eq!(
        error["details"]["reason"], "role-upgrade",
        "a revoked role needs a person"
    );
    person.event("device.pair.requested");
}
