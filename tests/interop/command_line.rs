//! The reference's command line drives this gateway: all of `nodes` and `devices`.

use serde_json::json;

use crate::reference::{self, document};
use crate::support::device::Device;
use crate::support::peer::{Peer, node_params};
use crate::support::process::{Gateway, SECRET};
use crate::support::websocket::WebSocket;

/// A home for the reference's command line, paired with every scope it will ask for.
fn paired_command_line(gateway: &Gateway) -> crate::support::home::Home {
    let home = reference::home(Some(gateway.address.port()));
    // First contact pairs silently with the first method's scope only (its known lock-out) ...
    reference::run(&home, &["devices", "list", "--json"]).success();
    // ... and each wider one is an upgrade, never silent, that somebody who may approves.
    for arguments in [
        &["nodes", "status", "--json"][..],
        &["gateway", "call", "node.invoke", "--params", "{}"],
    ] {
        let refused = reference::run(&home, arguments);
        assert_ne!(refused.code, 0, "{refused:?}");
        let list = gateway.cli(&["devices", "list", "--json"]).success().json();
        let upgrade = list["pending"][0].clone();
        assert_eq!(upgrade["isRepair"], true, "{list}");
        let id = upgrade["requestId"].as_str().unwrap();
        gateway.cli(&["devices", "approve", id, "--json"]).success();
    }
    home
}

/// A first connect that is not local, so that it waits.
pub fn waiting_device(gateway: &Gateway) -> (Device, String) {
    let device = Device::new();
    let socket =
        WebSocket::connect_with(gateway.address, "/", &[("X-Forwarded-For", "203.0.113.9")])
            .unwrap();
    let refused = Peer::handshake(socket, node_params(SECRET, &[]), Some(&device))
        .err()
        .unwrap();
    (
        device,
        refused.error["details"]["requestId"]
            .as_str()
            .unwrap()
            .to_owned(),
    )
}

#[test]
fn the_reference_command_line_administers_nodes() {
    let gateway = Gateway::start();
    let home = paired_command_line(&gateway);
    let run = |arguments: &[&str]| reference::run(&home, arguments);
    let device = Device::new();
    let mut operator = Peer::operator(gateway.address, SECRET);
    // A node without commands needs operator.pairing alone, the only scope its `nodes approve` asks for.
    let mut node = Peer::node(gateway.address, SECRET, &device, &[]).unwrap();
    let waiting = document(&run(&["nodes", "pending", "--json"]).success());
    let row = waiting
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["nodeId"] == json!(device.id))
        .unwrap()
        .clone();
    assert_eq!(
        row["requiredApproveScopes"],
        json!(["operator.pairing"]),
        "{row}"
    );
    let id = row["requestId"].as_str().unwrap();
    let approved = document(&run(&["nodes", "approve", id]).success());
    assert_eq!(approved["node"]["nodeId"], json!(device.id));
    let again = document(&run(&["nodes", "approve", id]).success());
    assert_eq!(again["alreadyApproved"], true, "approving is idempotent");
    assert_eq!(again["node"].get("token"), None, "{again}");
    let never = run(&["nodes", "approve", "00000000-0000-4000-8000-000000000000"]);
    assert!(
        never.code != 0 && (never.stderr.clone() + &never.stdout).contains("unknown requestId"),
        "{never:?}"
    );

    let list = document(&run(&["nodes", "list", "--json"]).success());
    assert_eq!(list["paired"][0]["nodeId"], json!(device.id), "{list}");
    let status = document(&run(&["nodes", "status", "--json"]).success());
    assert_eq!(status["nodes"][0]["connected"], true, "{status}");
    let described =
        document(&run(&["nodes", "describe", "--node", &device.id, "--json"]).success());
    assert_eq!(described["displayName"], "Build Node");
    run(&["nodes", "rename", "--node", &device.id, "--name", "Cellar"]).success();
    let described = document(&run(&["nodes", "describe", "--node", "Cellar", "--json"]).success());
    assert_eq!(
        described["nodeId"],
        json!(device.id),
        "the new name resolves"
    );

    // The node comes back with a command; approved by an admin, the reference invokes it.
    drop(node);
    node = Peer::node(gateway.address, SECRET, &device, &["system.which"]).unwrap();
    let request =
        operator.call("node.pair.list", json!({})).unwrap()["pending"][0]["requestId"].clone();
    operator
        .call("node.pair.approve", json!({"requestId": request}))
        .unwrap();
    let invoke = std::thread::scope(|scope| {
        let asked = scope.spawn(|| {
            run(&[
                "nodes",
                "invoke",
                "--node",
                "Cellar",
                "--command",
                "system.which",
                "--params",
                r#"{"bins":["ls"]}"#,
            ])
        });
        let forwarded = crate::reference::wait_long("the invoke", || {
            node.event_within("node.invoke.request", std::time::Duration::from_millis(200))
        })["payload"]
            .clone();
        let result = json!({"id": forwarded["id"], "nodeId": forwarded["nodeId"], "ok": true, "payloadJSON": r#"{"bins":{"ls":"/usr/bin/ls"}}"#});
        node.call("node.invoke.result", result).unwrap();
        asked.join().unwrap()
    });
    assert_eq!(
        document(&invoke.success())["payload"]["bins"]["ls"],
        "/usr/bin/ls"
    );

    run(&["nodes", "remove", "--node", "Cellar"]).success();
    let list = operator.call("node.pair.list", json!({})).unwrap();
    assert_eq!(list["paired"], json!([]), "{list}");
    let request = list["pending"][0]["requestId"].clone();
    if let Some(id) = request.as_str() {
        run(&["nodes", "reject", id]).success();
    } else {
        drop(node);
        let other = Device::new();
        let _node = Peer::node(gateway.address, SECRET, &other, &[]).unwrap();
        let waiting = document(&run(&["nodes", "pending", "--json"]).success());
        let id = waiting[0]["requestId"].as_str().unwrap().to_owned();
        run(&["nodes", "reject", &id]).success();
    }
}

#[test]
fn the_reference_command_line_administers_devices() {
    let gateway = Gateway::start();
    let home = paired_command_line(&gateway);
    let run = |arguments: &[&str]| reference::run(&home, arguments);
    let (device, id) = waiting_device(&gateway);
    let list = document(&run(&["devices", "list", "--json"]).success());
    assert_eq!(list["pending"][0]["requestId"], json!(id), "{list}");
    assert!(list["paired"][0].get("approvedScopes").is_none(), "{list}");
    let approved = document(&run(&["devices", "approve", &id, "--json"]).success());
    assert_eq!(approved["device"]["deviceId"], json!(device.id));
    let rotated = document(
        &run(&[
            "devices", "rotate", "--device", &device.id, "--role", "node", "--json",
        ])
        .success(),
    );
    assert_eq!(rotated["role"], "node");
    assert!(
        rotated.get("token").is_none(),
        "no bearer token for somebody else's device"
    );
    let revoked = document(
        &run(&[
            "devices", "revoke", "--device", &device.id, "--role", "node", "--json",
        ])
        .success(),
    );
    assert!(revoked["revokedAtMs"].as_u64().is_some(), "{revoked}");
    let denied = run(&[
        "devices", "rotate", "--device", &device.id, "--role", "operator",
    ]);
    assert!(
        (denied.stderr.clone() + &denied.stdout).contains("device token rotation denied"),
        "{denied:?}"
    );
    document(&run(&["devices", "remove", &device.id, "--json"]).success());
    let (other, id) = waiting_device(&gateway);
    let rejected = document(&run(&["devices", "reject", &id, "--json"]).success());
    assert_eq!(rejected["deviceId"], json!(other.id));
    let unknown = run(&["devices", "remove", &other.id]);
    assert!(
        (unknown.stderr.clone() + &unknown.stdout).contains("unknown deviceId"),
        "{unknown:?}"
    );
}
