//! A state directory moves between both programs and keeps its devices and nodes.

use serde_json::{Value, json};

use crate::reference::{self, wait_long};
use crate::support::device::Device;
use crate::support::peer::Peer;
use crate::support::process::{Gateway, SECRET, free_port};

/// A node with `device` pairs at `address` and is approved on both layers; its device token.
fn pair(address: std::net::SocketAddr, device: &Device) -> String {
    let mut operator = Peer::operator(address, SECRET);
    let node = Peer::node(address, SECRET, device, &["system.which"]).unwrap();
    let request = wait_long("the node request", || {
        let list = operator.call("node.pair.list", json!({})).unwrap();
        list["pending"].get(0).map(|row| row["requestId"].clone())
    });
    operator
        .call("node.pair.approve", json!({"requestId": request}))
        .unwrap();
    node.hello["auth"]["deviceToken"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// The device's token alone connects it, and its command may be invoked.
#[track_caller]
fn still_paired(address: std::net::SocketAddr, device: &Device, token: &str) {
    let mut operator = Peer::operator(address, SECRET);
    let mut node = Peer::node(address, token, device, &["system.which"])
        .unwrap_or_else(|refused| panic!("not known any more: {refused:?}"));
    let asked = operator.send(
        "node.invoke",
        json!({"nodeId": device.id, "command": "system.which", "params": {"bins": []}, "idempotencyKey": "k"}),
    );
    node.answer_invoke(&json!({"bins": {}}));
    operator.answer(&asked).unwrap();
    let devices = operator.call("device.pair.list", json!({})).unwrap();
    let known = |list: &Value| {
        list["paired"]
            .as_array()
            .unwrap()
            .iter()
            .any(|row| row["deviceId"] == json!(device.id))
    };
    assert!(known(&devices), "{devices}");
    let nodes = operator.call("node.pair.list", json!({})).unwrap();
    assert_eq!(nodes["paired"][0]["nodeId"], json!(device.id), "{nodes}");
    assert_eq!(nodes["pending"], json!([]), "{nodes}");
}

#[test]
fn a_state_directory_written_by_the_reference_is_taken_over() {
    let port = free_port();
    let home = reference::home(Some(port));
    let device = Device::new();
    let mut process = reference::gateway(&home);
    let token = pair(([127, 0, 0, 1], port).into(), &device);
    process.kill();

    let our_port = free_port();
    let ours = reference::home(Some(our_port));
    reference::copy_state(&home, &ours);
    let gateway = Gateway::start_at(ours, our_port);
    still_paired(gateway.address, &device, &token);
}

#[test]
fn a_state_directory_written_here_is_taken_over_by_the_reference() {
    let device = Device::new();
    let mut gateway = Gateway::start();
    let token = pair(gateway.address, &device);
    gateway.process.signal("TERM");
    assert_eq!(gateway.process.exit_code(), 0);

    let port = free_port();
    let theirs = reference::home(Some(port));
    reference::copy_state(&gateway.home, &theirs);
    let _process = reference::gateway(&theirs);
    still_paired(([127, 0, 0, 1], port).into(), &device, &token);
}
