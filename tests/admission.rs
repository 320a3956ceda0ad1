//! Who may ask and who comes in without being asked about: trusted networks, seen from outside.

use serde_json::{Value, json};

use crate::support::device::Device;
use crate::support::home::Home;
use crate::support::peer::{Peer, node_params, operator_params};
use crate::support::process::{Gateway, SECRET, free_port, outer_address};
use crate::support::websocket::WebSocket;

/// A gateway on every IPv4 address of this machine, and the one of them that is not loopback.
fn open_gateway(settings: &str) -> Option<(Gateway, std::net::SocketAddr)> {
    let Some(outer) = outer_address() else {
        println!("skipped: this machine has no address besides loopback");
        return None;
    };
    let port = free_port();
    let home = Home::new();
    let settings = settings.replace("{outer}", &outer.to_string());
    home.write_config(&format!(
        r#"{{ gateway: {{ mode: "local", port: {port}, bind: "lan", {settings},
            auth: {{ mode: "token", token: "{SECRET}" }} }} }}"#
    ));
    Some((Gateway::start_at(home, port), (outer, port).into()))
}

fn audited(gateway: &Gateway) -> Vec<Value> {
    let text = gateway.home.read("audit.jsonl");
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    lines.collect()
}

#[test]
fn a_node_of_a_trusted_network_comes_in_at_once_and_its_commands_wait() {
    let Some((mut gateway, outer)) =
        open_gateway(r#"nodes: { pairing: { autoApproveCidrs: ["{outer}/32"] } }"#)
    else {
        return;
    };
    let device = Device::new();
    let node = Peer::node(outer, SECRET, &device, &["system.which"]).expect("no person is asked");
    assert!(node.hello["auth"]["deviceToken"].is_string());
    let line = format!(
        "device pairing auto-approved device={} role=node",
        device.id
    );
    gateway.process.wait_for_output(&line);
    let lines = audited(&gateway);
    let approval = lines
        .iter()
        .find(|line| line["action"] == "device.approve")
        .unwrap();
    assert_eq!(approval["detail"]["rule"], "network");
    assert_eq!(approval["detail"]["network"], format!("{}/32", outer.ip()));

    let mut operator = Peer::operator(gateway.address, SECRET);
    let invoke = json!({"nodeId": device.id, "command": "system.which", "params": {"bins": ["sh"]},
        "idempotencyKey": "1"});
    let refused = operator.call("node.invoke", invoke).unwrap_err();
    assert_eq!(refused["details"]["reason"], "node pairing not approved");
    let waiting = gateway
        .cli(&["nodes", "pending", "--json"])
        .success()
        .json();
    assert_eq!(
        (&waiting[0]["layer"], &waiting[1]),
        (&json!("node"), &Value::Null)
    );
    assert_eq!(waiting[0]["nodeId"], device.id.as_str());
}

#[test]
fn nobody_else_of_a_trusted_network_comes_in_unseen() {
    let Some((gateway, outer)) =
        open_gateway(r#"nodes: { pairing: { autoApproveCidrs: ["{outer}"] } }"#)
    else {
        return;
    };
    let operator = operator_params(SECRET, &["operator.read"]);
    let mut cli = operator.clone();
    cli["client"] = json!({"id": "cli", "mode": "cli", "version": "1", "platform": "linux"});
    let mut scoped = node_params(SECRET, &[]);
    scoped["scopes"] = json!(["node.x"]);
    for params in [cli, scoped] {
        let refused = Peer::connect(outer, params, Some(&Device::new()))
            .err()
            .unwrap();
        assert_eq!(
            refused.error["details"]["reason"], "not-paired",
            "{refused:?}"
        );
    }
    // A key that the gateway does not know, in the name of nobody: a wrong secret gets nowhere near.
    let refused = Peer::node(outer, "wrong", &Device::new(), &[])
        .err()
        .unwrap();
    assert_eq!(refused.error["details"]["code"], "AUTH_TOKEN_MISMATCH");
    assert!(
        audited(&gateway)
            .iter()
            .all(|line| line["action"] != "device.approve")
    );
}

#[test]
fn without_a_trusted_network_every_node_waits() {
    for pairing in [
        "{}",
        r#"{ autoApproveCidrs: [] }"#,
        r#"{ autoApproveCidrs: ["203.0.113.0/24"] }"#,
    ] {
        let Some((_gateway, outer)) = open_gateway(&format!("nodes: {{ pairing: {pairing} }}"))
        else {
            return;
        };
        let refused = Peer::node(outer, SECRET, &Device::new(), &[])
            .err()
            .unwrap();
        assert_eq!(
            refused.error["details"]["code"], "PAIRING_REQUIRED",
            "{pairing}"
        );
    }
}

#[test]
fn an_address_that_a_proxy_on_this_host_reports_is_never_trusted() {
    let Some((gateway, outer)) = open_gateway(
        r#"nodes: { pairing: { autoApproveCidrs: ["203.0.113.0/24"] } }, trustedProxies: ["127.0.0.1", "{outer}"]"#,
    ) else {
        return;
    };
    let join = |address: std::net::SocketAddr| {
        let headers = [("X-Forwarded-For", "203.0.113.9")];
        let socket = WebSocket::connect_with(address, "/", &headers).unwrap();
        Peer::handshake(socket, node_params(SECRET, &[]), Some(&Device::new()))
    };
    let refused = join(gateway.address)
        .err()
        .expect("any local program can say so");
    assert_eq!(
        refused.error["details"]["reason"], "not-paired",
        "{refused:?}"
    );
    let listed = gateway.cli(&["devices", "list", "--json"]).success().json();
    assert_eq!(listed["pending"][0]["remoteIp"], "203.0.113.9");
    join(outer).expect("a proxy elsewhere is believed");
}
