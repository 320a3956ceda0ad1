//! What a gateway acknowledged, in the test's own books, and whether it is still there.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::peer::{ALL_SCOPES, Peer, operator_params};
use crate::support::process::SECRET;
use crate::support::websocket::{Message, WebSocket};

/// How a call ended.
#[derive(Debug)]
pub enum Answer {
    /// With its payload.
    Done(Value),
    /// The connection ended first: nobody knows whether it was done.
    Gone,
    /// With its error.
    Refused(Value),
}

/// Approved nodes with their tokens, and what was refused meanwhile.
#[derive(Default)]
pub struct Ledger {
    acknowledged: Mutex<BTreeMap<String, String>>,
    refused: AtomicUsize,
    last_refusal: Mutex<Value>,
}

impl Ledger {
    pub fn acknowledged(&self) -> usize {
        self.acknowledged.lock().unwrap().len()
    }

    pub fn refused(&self) -> usize {
        self.refused.load(Ordering::SeqCst)
    }

    pub fn last_refusal(&self) -> Value {
        self.last_refusal.lock().unwrap().clone()
    }

    pub fn note(&self, node: &str, token: &str) {
        let mut acknowledged = self.acknowledged.lock().unwrap();
        acknowledged.insert(node.to_owned(), token.to_owned());
    }

    /// Some of what is in it.
    pub fn some(&self, count: usize) -> Vec<String> {
        let acknowledged = self.acknowledged.lock().unwrap();
        acknowledged.keys().take(count).cloned().collect()
    }

    /// It was removed, which was acknowledged.
    pub fn forget(&self, node: &str) {
        self.acknowledged.lock().unwrap().remove(node);
    }

    /// Requests and approves one node; whether that was acknowledged.
    pub fn approve(&self, peer: &mut Peer, node: &str) -> Answer {
        let wanted = json!({"nodeId": node, "platform": "linux"});
        let answer = match ask(peer, "node.pair.request", wanted) {
            Answer::Done(requested) => {
                let id = requested["request"]["requestId"].clone();
                ask(peer, "node.pair.approve", json!({"requestId": id}))
            }
            other => other,
        };
        match &answer {
            Answer::Done(approved) => {
                let token = approved["node"]["token"].as_str();
                self.note(node, token.expect("an approval carries its token"));
            }
            Answer::Refused(error) => {
                *self.last_refusal.lock().unwrap() = error.clone();
                self.refused.fetch_add(1, Ordering::SeqCst);
            }
            Answer::Gone => {}
        }
        answer
    }

    /// Approves one node after the other, until the gateway dies or `enough` says stop.
    pub fn approve_many(&self, address: SocketAddr, prefix: &str, enough: &AtomicBool) {
        let Some(mut peer) = operator(address) else {
            return;
        };
        for index in 0.. {
            let stop = enough.load(Ordering::Relaxed);
            if stop
                || matches!(
                    self.approve(&mut peer, &format!("{prefix}-{index}")),
                    Answer::Gone
                )
            {
                return;
            }
        }
    }

    /// How many acknowledged approvals are lost: not in the files of this state directory, whole and with their
    /// token, or, of the newest, not verified by the gateway. A test writes its row with it, which judges it.
    #[track_caller]
    pub fn check(&self, state: &Path, address: SocketAddr) -> usize {
        let files = ["devices/paired", "devices/pending", "nodes/pending"];
        for file in files {
            read(&state.join(format!("{file}.json")));
        }
        let paired = read(&state.join("nodes/paired.json"));
        let acknowledged = self.acknowledged.lock().unwrap();
        let mut lost: BTreeSet<&String> = acknowledged
            .iter()
            .filter(|(node, token)| paired[node.as_str()]["token"] != json!(token))
            .map(|(node, _)| node)
            .collect();
        let mut peer = Peer::operator(address, SECRET);
        for (node, token) in acknowledged.iter().rev().take(20) {
            let asked = json!({"nodeId": node, "token": token});
            let verified = peer.call("node.pair.verify", asked);
            if !verified.is_ok_and(|verified| verified["ok"] == true) {
                lost.insert(node);
            }
        }
        if !lost.is_empty() {
            eprintln!("acknowledged and lost: {lost:?}");
        }
        lost.len()
    }
}

/// Says at its end that it is enough, even where that is a panic.
pub struct Says<'a>(pub &'a AtomicBool);

impl Drop for Says<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A file of the state directory; `null` when it is missing.
#[track_caller]
pub fn read(path: &Path) -> Value {
    match std::fs::read_to_string(path) {
        Ok(text) => serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("{}: {error}\n{text}", path.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Value::Null,
        Err(error) => panic!("{}: {error}", path.display()),
    }
}

/// An operator with every scope; `None` when the gateway is not there.
pub fn operator(address: SocketAddr) -> Option<Peer> {
    let socket = WebSocket::connect_with(address, "/", &[]).ok()?;
    let params = operator_params(SECRET, &ALL_SCOPES);
    Peer::handshake(socket, params, None).ok()
}

/// One call.
pub fn ask(peer: &mut Peer, method: &str, params: Value) -> Answer {
    let id = peer.send(method, params);
    loop {
        match peer.socket.next_within(Duration::from_secs(60)) {
            Some(Message::Text(text)) => {
                let frame: Value = serde_json::from_str(&text).unwrap();
                if frame["type"] == "res" && frame["id"] == json!(id) {
                    return match frame["ok"] == true {
                        true => Answer::Done(frame["payload"].clone()),
                        false => Answer::Refused(frame["error"].clone()),
                    };
                }
            }
            Some(Message::Ping(_) | Message::Pong(_)) => {}
            Some(Message::Close(..) | Message::Gone) => return Answer::Gone,
            None => panic!("no answer to {method}"),
        }
    }
}
