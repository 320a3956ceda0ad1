//! Guesses, and peers that got in and ask for too much.

use std::io::Write;
use std::time::Duration;

use serde_json::{Value, json};

use super::Target;
use crate::support::device::Device;
use crate::support::peer::{ALL_SCOPES, Peer, Refused, node_params, operator_params};
use crate::support::process::SECRET;
use crate::support::wait_for;
use crate::support::websocket::{Message, WebSocket, frame};

/// `count` guesses at the shared secret and as many at device tokens with valid signatures, by `clients`
/// behind a trusted proxy.
pub fn guesses(count: usize, clients: usize) {
    let target = Target::start(r#"trustedProxies: ["127.0.0.1"]"#);
    let address = target.address();
    let guess = |client: usize, params: Value, device: Option<&Device>| -> Refused {
        let from = format!("203.0.113.{}", 1 + client);
        let socket = WebSocket::connect_with(address, "/", &[("X-Forwarded-For", &from)]).unwrap();
        Peer::handshake(socket, params, device)
            .err()
            .expect("nobody gets in by guessing")
    };
    let reason = |refused: &Refused| {
        refused.error["details"]["authReason"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let mut looked_at = std::collections::BTreeMap::new();
    for number in 0..count {
        let client = number % clients;
        let secret = guess(
            client,
            operator_params(&format!("guess-{number}"), &ALL_SCOPES),
            None,
        );
        let mut params = node_params("", &[]);
        params["auth"] = json!({"deviceToken": format!("guess-{number}")});
        let token = guess(client, params, Some(&Device::new()));
        for (kind, refused) in [("secret", secret), ("token", token)] {
            let reason = reason(&refused);
            if reason == "rate_limited" {
                assert!(refused.error["retryAfterMs"].as_u64().unwrap() > 0);
                assert_eq!(refused.error["retryable"], true);
            } else {
                *looked_at.entry((kind, client)).or_insert(0) += 1;
            }
        }
        if number % (count / 4).max(1) == 0 {
            target.withstands();
        }
    }
    assert!(
        looked_at.values().all(|looks| *looks <= 10),
        "{looked_at:?}"
    );
    // Locked out, even the right secret is not looked at; the owner on loopback sees who, and lets one in.
    let right = guess(0, operator_params(SECRET, &[]), None);
    assert_eq!(reason(&right), "rate_limited");
    let listed = target
        .gateway
        .cli(&["gateway", "limits", "list", "--json"])
        .success()
        .json();
    let rows = listed["attempts"].as_array().unwrap();
    let locked = |row: &&Value| row["client"] == "203.0.113.1" && row["locked"] == true;
    assert_eq!(rows.iter().filter(locked).count(), 2, "{listed}");
    let cleared = target.gateway.cli(&[
        "gateway",
        "limits",
        "clear",
        "--client",
        "203.0.113.1",
        "--kind",
        "shared-secret",
        "--json",
    ]);
    assert_eq!(cleared.success().json(), json!({"ok": true, "cleared": 1}));
    let headers = [("X-Forwarded-For", "203.0.113.1")];
    let socket = WebSocket::connect_with(address, "/", &headers).unwrap();
    drop(Peer::handshake(socket, operator_params(SECRET, &[]), None).expect("let in again"));
    target.recovers();
}

/// A node that calls what only operators may, `rounds` times until it is thrown out.
pub fn unauthorized_calls(rounds: usize) {
    let target = Target::start("");
    let device = Device::new();
    for _ in 0..rounds {
        let mut node = Peer::node(target.address(), SECRET, &device, &[]).unwrap();
        let asked: Vec<String> = (0..11).map(|_| node.send("node.list", json!({}))).collect();
        for id in &asked {
            let error = node.answer(id).unwrap_err();
            assert_eq!(error["message"], "unauthorized role: node");
        }
        assert_eq!(
            node.closed(),
            (1008, "repeated unauthorized calls".to_owned())
        );
    }
    target.withstands();
    let remove = ["devices", "remove", &device.id, "--json"];
    target.gateway.cli(&remove).success();
    target.recovers();
}

/// `count` invokes at a node that never answers.
pub fn invokes(count: usize) {
    let target = Target::start("");
    let silent = Device::new();
    let mut operator = Peer::operator(target.address(), SECRET);
    let node = Peer::node(target.address(), SECRET, &silent, &["system.which"]).unwrap();
    let request = operator.event("node.pair.requested")["payload"]["requestId"].clone();
    operator
        .call("node.pair.approve", json!({"requestId": request}))
        .unwrap();
    let ask = json!({"nodeId": silent.id, "command": "system.which", "params": {"bins": []},
        "timeoutMs": 600_000, "idempotencyKey": "k"});
    let asked: Vec<String> = (0..count)
        .map(|_| operator.send("node.invoke", ask.clone()))
        .collect();
    // Whatever is too much is answered at once, and says that it may be tried again.
    for id in asked.iter().skip(4_096) {
        let error = operator.answer(id).unwrap_err();
        assert_eq!(error["code"], "UNAVAILABLE");
        assert_eq!(error["details"]["code"], "TOO_MANY_INVOKES");
        assert_eq!(
            (&error["retryable"], &error["retryAfterMs"]),
            (&json!(true), &json!(1_000))
        );
    }
    target.withstands();
    assert_eq!(operator.call("health", json!({})).unwrap()["ok"], true);
    drop(operator);
    wait_for("the invokes to be forgotten", || {
        let listed = target
            .gateway
            .cli(&["gateway", "limits", "list", "--json"])
            .success()
            .json();
        let budgets = listed["budgets"].as_array().unwrap();
        let open = budgets
            .iter()
            .find(|row| row["name"] == "open-invokes")
            .unwrap();
        (open["used"] == 0).then_some(())
    });
    drop(node);
    let remove = ["devices", "remove", &silent.id, "--json"];
    target.gateway.cli(&remove).success();
    target.recovers();
}

/// `count` requests of an admitted operator, queued as fast as they are taken.
pub fn requests(count: usize) {
    let target = Target::start("");
    let mut flooder = Peer::operator(target.address(), SECRET);
    let mut writer = flooder.socket.stream().try_clone().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for number in 0..count {
                let request = json!({"type": "req", "id": number.to_string(), "method": "health"});
                writer
                    .write_all(&frame(0x1, request.to_string().as_bytes()))
                    .unwrap();
            }
        });
        let reader = scope.spawn(move || {
            let mut answered = 0;
            while answered < count {
                match flooder.socket.next() {
                    Message::Text(text) => answered += usize::from(text.contains("\"ok\":true")),
                    other => panic!("nobody is thrown out for asking: {other:?}"),
                }
            }
        });
        while !reader.is_finished() {
            target.withstands();
        }
        reader.join().unwrap();
    });
    target.recovers();
}

/// `count` requests of an operator that never reads an answer: it is not read any further in the end, and
/// costs what the limit on unsent answers says.
pub fn deaf_requests(count: usize) {
    let target = Target::start("");
    let mut deaf = Peer::operator(target.address(), SECRET);
    deaf.socket
        .stream()
        .set_write_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    let request = json!({"type": "req", "id": "x", "method": "health"}).to_string();
    let many = frame(0x1, request.as_bytes()).repeat(100);
    let stuck = (0..count / 100).any(|_| deaf.socket.send_raw(&many).is_err());
    target.withstands();
    println!("a deaf peer with {count} requests is held back: {stuck}");
    drop(deaf);
    target.recovers();
}
