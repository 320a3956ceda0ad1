//! A clock that somebody sets while everything runs: a day ahead, ten years back, and to the beginning of time.
//! What waits keeps the time it has left, what is locked stays locked, and no age is negative.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::ledger::{Ledger, operator};
use super::report;
use super::shim::Shim;
use crate::support::device::Device;
use crate::support::home::Home;
use crate::support::peer::{
    ALL_SCOPES, Peer, Refused, challenge, finish, node_params, operator_params,
};
use crate::support::process::{self, SECRET, free_port};
use crate::support::websocket::WebSocket;

const DAY_MS: i64 = 86_400_000;
const TEN_YEARS_MS: i64 = 3_653 * DAY_MS;

fn now_ms() -> i64 {
    let now = std::time::SystemTime::now();
    let age = now.duration_since(std::time::UNIX_EPOCH).unwrap();
    age.as_millis() as i64
}

fn from_afar(address: SocketAddr, params: Value, device: &Device) -> Result<Peer, Refused> {
    let afar = [("X-Forwarded-For", "198.51.100.7")];
    let socket = WebSocket::connect_with(address, "/", &afar).unwrap();
    Peer::handshake(socket, params, Some(device))
}

/// A node that signs with its own clock.
fn with_own_clock(address: SocketAddr, device: &Device, shown_ms: i64) -> Result<Peer, Refused> {
    let mut socket = WebSocket::connect(address);
    let (nonce, _) = challenge(&mut socket);
    let mut params = node_params(SECRET, &["system.which"]);
    device.prove(&mut params, &nonce, shown_ms as u64);
    let request = json!({"type": "req", "id": "c1", "method": "connect", "params": params});
    socket.send_text(&request.to_string());
    finish(socket)
}

fn invoke(owner: &mut Peer, node: &mut Peer, device: &Device, key: &str) {
    let asked = owner.send(
        "node.invoke",
        json!({"nodeId": device.id, "command": "system.which", "params": {"bins": []}, "idempotencyKey": key}),
    );
    node.answer_invoke(&json!({"bins": {}}));
    owner.answer(&asked).unwrap();
}

#[test]
fn a_clock_that_is_set_ends_nothing_early_and_nothing_late() {
    let test = "a_clock_that_is_set_ends_nothing_early_and_nothing_late";
    let port = free_port();
    let home = Home::new();
    home.write_config(&format!(
        r#"{{ gateway: {{ mode: "local", port: {port}, trustedProxies: ["127.0.0.1"],
             auth: {{ mode: "token", token: "{SECRET}" }} }} }}"#
    ));
    let Some(shim) = Shim::or_skip(test, &home) else {
        return;
    };
    let mut gateway = shim.gateway(&home);
    let address = ([127, 0, 0, 1], port).into();
    let ledger = Ledger::default();
    let mut owner = operator(address).unwrap();
    let device = Device::new();
    let mut node = Peer::node(address, SECRET, &device, &["system.which"]).unwrap();
    let id = owner.event("node.pair.requested")["payload"]["requestId"].clone();
    owner
        .call("node.pair.approve", json!({"requestId": id}))
        .unwrap();
    owner
        .call("gateway.pairing.open", json!({"windowMs": 3_600_000}))
        .ok();
    // Somebody who guessed too often is locked out for minutes.
    let guess = || {
        let params = operator_params("wrong", &ALL_SCOPES);
        let refused = from_afar(address, params, &Device::new()).err().unwrap();
        refused.error["details"]["code"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    while guess() != "AUTH_RATE_LIMITED" {}

    let steps = [
        ("a day ahead", DAY_MS),
        ("as it was", 0),
        ("ten years back", -TEN_YEARS_MS),
        ("the beginning of time", -now_ms()),
        ("a day ahead again", DAY_MS),
    ];
    for (number, (name, step)) in steps.into_iter().enumerate() {
        let wanted = json!({"nodeId": format!("waiting-{number}"), "platform": "linux"});
        let waiting = owner.call("node.pair.request", wanted).unwrap();
        let key = owner
            .call(
                "device.keys.create",
                json!({"uses": 1, "commands": ["system.which"]}),
            )
            .unwrap();
        shim.set_clock(step);
        // Both ends that were there go on; a new one connects, whosever clock it signs with.
        invoke(&mut owner, &mut node, &device, &format!("k{number}"));
        let mut second = operator(address).unwrap();
        let own = with_own_clock(address, &device, now_ms() + step);
        node = own.unwrap_or_else(|refused| panic!("{name}: {refused:?}"));
        invoke(&mut second, &mut node, &device, &format!("l{number}"));
        // What waits still does, and the key still opens.
        let listed = second.call("node.pair.list", json!({})).unwrap();
        let id = &waiting["request"]["requestId"];
        let row = listed["pending"].as_array().unwrap().iter();
        let row = row.clone().find(|row| row["requestId"] == *id);
        let age = now_ms() + step
            - row.unwrap_or_else(|| panic!("{name}: {listed}"))["ts"]
                .as_i64()
                .unwrap();
        assert!(
            (-1_000..120_000).contains(&age),
            "{name}: it is {age} ms old"
        );
        let approved = second
            .call("node.pair.approve", json!({"requestId": id}))
            .unwrap();
        ledger.note(
            &format!("waiting-{number}"),
            approved["node"]["token"].as_str().unwrap(),
        );
        let mut params = node_params("", &["system.which"]);
        params["auth"] = json!({"bootstrapToken": key["key"]});
        let joined = from_afar(address, params, &Device::new());
        assert!(joined.is_ok(), "{name}: {:?}", joined.err());
        assert_eq!(guess(), "AUTH_RATE_LIMITED", "{name}");
        for command in [
            &["nodes", "list"][..],
            &["nodes", "status"],
            &["devices", "list"],
            &["devices", "keys", "list"],
            &["status"],
        ] {
            let outcome = process::finish(shim.command(&home, command));
            assert_eq!(outcome.code, 0, "{name}: {command:?}: {outcome:?}");
            let negative = outcome.stdout.split_whitespace().any(|word| {
                let rest = word.strip_prefix('-').unwrap_or_default();
                rest.starts_with(|first: char| first.is_ascii_digit())
                    && rest.ends_with(char::is_alphabetic)
            });
            assert!(!negative, "{name}: {command:?}:\n{}", outcome.stdout);
        }
    }
    assert!(
        owner
            .event_within("tick", std::time::Duration::from_secs(40))
            .is_some()
    );
    assert!(
        gateway
            .output()
            .contains("the clock of this machine was set by")
    );
    gateway.kill();
    let gateway = shim.gateway(&home);
    let lost = ledger.check(&home.state(), address);
    assert!(!gateway.output().contains("panic"));
    report::row(
        "clock set, both ways",
        "1 day ahead, 10 years back, 1970: requests, keys, lockout, invokes, lists",
        ledger.acknowledged(),
        lost,
    );
}
