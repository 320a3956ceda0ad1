//! The job of an honest client from beginning to end, to be done while something else goes on.

use serde_json::json;

use super::device::Device;
use super::peer::Peer;
use super::process::Gateway;

/// A client's whole job: a node joins, is approved, is invoked, is removed.
pub fn whole_job(gateway: &Gateway) {
    let device = Device::new();
    let operator = Peer::operator(gateway.address, &gateway.token);
    let node = Peer::node(gateway.address, &gateway.token, &device, &["system.which"]).unwrap();
    whole_job_of(operator, node, &device);
}

/// The same over connections that are there already; the operator's is the older one.
pub fn whole_job_of(mut operator: Peer, mut node: Peer, device: &Device) {
    let request = operator.event("node.pair.requested")["payload"]["requestId"].clone();
    operator
        .call("node.pair.approve", json!({"requestId": request}))
        .unwrap();
    let asked = operator.send(
        "node.invoke",
        json!({"nodeId": device.id, "command": "system.which", "params": {"bins": []}, "idempotencyKey": "k"}),
    );
    node.answer_invoke(&json!({"bins": {}}));
    operator.answer(&asked).unwrap();
    operator
        .call("device.pair.remove", json!({"deviceId": device.id}))
        .unwrap();
    assert_eq!(node.closed(), (4001, "device removed".to_owned()));
}
