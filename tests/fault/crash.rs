//! SIGKILL at random moments while operators approve: whatever was acknowledged is there afterwards,
//! and every file reads.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::peer::{Peer, operator_params};
use crate::support::process::{Gateway, SECRET};
use crate::support::websocket::{Message, WebSocket};

const APPROVALS: usize = 1_000;
const OPERATORS: usize = 4;

/// Requests and approves until the gateway dies or `enough` says stop; what was acknowledged.
fn approve_until_death(
    address: std::net::SocketAddr,
    prefix: &str,
    enough: &AtomicBool,
    acknowledged: &Mutex<Vec<(String, String)>>,
) {
    let socket = WebSocket::connect_with(address, "/", &[]);
    let Ok(socket) = socket else { return };
    let params = operator_params(SECRET, &["operator.admin", "operator.pairing"]);
    let Ok(mut peer) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        Peer::handshake(socket, params, None)
    })) else {
        return;
    };
    let Ok(peer) = peer.as_mut() else { return };
    for index in 0.. {
        if enough.load(Ordering::Relaxed) {
            return;
        }
        let node = format!("{prefix}-{index}");
        let Some(requested) = ask(
            peer,
            "node.pair.request",
            json!({"nodeId": node, "platform": "linux"}),
        ) else {
            return;
        };
        let id = requested["request"]["requestId"].clone();
        let Some(approved) = ask(peer, "node.pair.approve", json!({"requestId": id})) else {
            return;
        };
        let token = approved["node"]["token"]
            .as_str()
            .expect("an approval carries its token")
            .to_owned();
        acknowledged.lock().unwrap().push((node, token));
    }
}

/// One call; nothing when the connection ended first.
fn ask(peer: &mut Peer, method: &str, params: Value) -> Option<Value> {
    let id = peer.send(method, params);
    loop {
        match peer.socket.next_within(Duration::from_secs(30))? {
            Message::Text(text) => {
                let frame: Value = serde_json::from_str(&text).unwrap();
                if frame["type"] == "res" && frame["id"] == json!(id) {
                    assert_eq!(frame["ok"], true, "{method}: {frame}");
                    return Some(frame["payload"].clone());
                }
            }
            Message::Close(..) | Message::Gone => return None,
            Message::Ping(_) | Message::Pong(_) => {}
        }
    }
}

/// Every acknowledged approval of this round verifies with its token.
fn verify(gateway: &Gateway, acknowledged: &[(String, String)]) {
    for file in [
        "devices/paired.json",
        "devices/pending.json",
        "nodes/paired.json",
        "nodes/pending.json",
    ] {
        gateway.home.json(file);
    }
    let paired = gateway.home.json("nodes/paired.json");
    for (node, token) in acknowledged {
        assert_eq!(
            paired[node]["token"],
            json!(token),
            "acknowledged and lost: {node}"
        );
    }
    let mut operator = Peer::operator(gateway.address, SECRET);
    for (node, token) in acknowledged.iter().rev().take(20) {
        let verified = operator
            .call("node.pair.verify", json!({"nodeId": node, "token": token}))
            .unwrap();
        assert_eq!(verified["ok"], true, "{node}");
    }
}

#[test]
fn a_killed_gateway_loses_no_acknowledged_approval() {
    let mut gateway = Gateway::start();
    let mut seed = [0u8; 1];
    let mut acknowledged: Vec<(String, String)> = Vec::new();
    let mut kills = 0;
    while acknowledged.len() < APPROVALS {
        let fresh = Mutex::new(Vec::new());
        let enough = AtomicBool::new(false);
        let address = gateway.address;
        std::thread::scope(|scope| {
            for operator in 0..OPERATORS {
                let prefix = format!("node-{kills}-{operator}");
                let (fresh, enough) = (&fresh, &enough);
                scope.spawn(move || approve_until_death(address, &prefix, enough, fresh));
            }
            getrandom::fill(&mut seed).unwrap();
            std::thread::sleep(Duration::from_millis(20 + u64::from(seed[0])));
            gateway.process.kill();
            enough.store(true, Ordering::Relaxed);
        });
        kills += 1;
        acknowledged.append(&mut fresh.into_inner().unwrap());
        gateway.crash_and_restart();
        verify(&gateway, &acknowledged);
    }
    println!(
        "{} acknowledged approvals, {kills} times killed, nothing lost",
        acknowledged.len()
    );
}
