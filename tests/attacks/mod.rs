//! What somebody would try who wants in, or wants more than he was given. Every attempt is refused with
//! its own error, changes nothing in the state files, and everybody else keeps working.

mod credentials;
mod places;
mod proofs;
mod sessions;

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::device::Device;
use crate::support::peer::{Peer, Refused, cli_params, node_params};
use crate::support::process::{Gateway, SECRET};
use crate::support::wait_for;
use crate::support::websocket::WebSocket;

/// The state files that say who belongs here.
const STATE_FILES: [&str; 4] = [
    "devices/paired.json",
    "devices/pending.json",
    "nodes/paired.json",
    "nodes/pending.json",
];

/// What is noted without being a decision.
const SIGNS_OF_LIFE: [&str; 4] = [
    "lastSeenAtMs",
    "lastSeenReason",
    "lastConnectedAtMs",
    "lastUsedAtMs",
];

/// A gateway with members: an approved node at work, and a paired operator who may read and pair.
pub struct Scene {
    pub gateway: Gateway,
    pub node_key: Device,
    pub node: Peer,
    pub node_token: String,
    pub operator_key: Device,
    pub operator_token: String,
    admin: Peer,
    before: Value,
}

/// The scopes of the paired operator.
pub const OPERATOR_SCOPES: [&str; 2] = ["operator.pairing", "operator.read"];

impl Scene {
    pub fn new() -> Scene {
        let gateway = Gateway::start();
        let (node_key, operator_key) = (Device::new(), Device::new());
        let mut admin = Peer::operator(gateway.address, SECRET);
        let node = Peer::node(gateway.address, SECRET, &node_key, &["system.which"]).unwrap();
        let request = admin.event("node.pair.requested")["payload"]["requestId"].clone();
        admin
            .call("node.pair.approve", json!({"requestId": request}))
            .unwrap();
        let params = cli_params(json!({"token": SECRET}), &OPERATOR_SCOPES);
        let operator = Peer::connect(gateway.address, params, Some(&operator_key)).unwrap();
        let mut scene = Scene {
            node_token: node.device_token(),
            operator_token: operator.device_token(),
            before: Value::Null,
            gateway,
            node_key,
            node,
            operator_key,
            admin,
        };
        scene.before = scene.state();
        scene
    }

    /// Connects with these headers; the params are signed when a key is given.
    pub fn connect_with(
        &self,
        headers: &[(&str, &str)],
        params: Value,
        key: Option<&Device>,
    ) -> Result<Peer, Refused> {
        let socket = WebSocket::connect_with(self.gateway.address, "/", headers).unwrap();
        Peer::handshake(socket, params, key)
    }

    /// The error of an attempt that must not get in.
    #[track_caller]
    pub fn refused(&self, params: Value, key: Option<&Device>) -> Value {
        not_admitted(self.connect_with(&[], params, key))
    }

    /// The shared secret's own operator.
    pub fn admin(&mut self) -> &mut Peer {
        &mut self.admin
    }

    /// Everything that was decided, without signs of life.
    pub fn state(&self) -> Value {
        STATE_FILES
            .iter()
            .map(|name| {
                let mut file = self.gateway.home.json(name);
                strip(&mut file);
                ((*name).to_owned(), file)
            })
            .collect()
    }

    /// Nothing was decided since the beginning, and the others still work.
    #[track_caller]
    pub fn unharmed(&mut self) {
        assert_eq!(self.state(), self.before);
        self.at_work();
    }

    /// Only a request waits that did not before; nobody was given anything.
    #[track_caller]
    pub fn only_a_request_waits(&mut self) {
        let now = self.state();
        for file in ["devices/paired.json", "nodes/paired.json"] {
            assert_eq!(now[file], self.before[file], "{file}");
        }
        self.at_work();
    }

    #[track_caller]
    fn at_work(&mut self) {
        // A second connection of the node that has just left may still own it: then this one is asked
        // again.
        let done = wait_for("the node at work", || {
            let invoke = json!({"nodeId": self.node_key.id, "command": "system.which",
                "params": {"bins": []}, "timeoutMs": 1_000, "idempotencyKey": "k"});
            let asked = self.admin.send("node.invoke", invoke);
            let soon = Duration::from_millis(1_000);
            while let Some(request) = self.node.event_within("node.invoke.request", soon) {
                let request = &request["payload"];
                let result = json!({"id": request["id"], "nodeId": request["nodeId"], "ok": true,
                    "payloadJSON": r#"{"bins":{}}"#});
                let taken = self.node.call("node.invoke.result", result).unwrap();
                if taken == json!({"ok": true}) {
                    break;
                }
            }
            self.admin.answer(&asked).ok()
        });
        assert_eq!(done["payload"], json!({"bins": {}}));
    }
}

fn strip(value: &mut Value) {
    match value {
        Value::Object(members) => {
            SIGNS_OF_LIFE.iter().for_each(|name| {
                members.shift_remove(*name);
            });
            members.values_mut().for_each(strip);
        }
        Value::Array(items) => items.iter_mut().for_each(strip),
        _ => {}
    }
}

/// The error of an attempt that must not get in, after its close with 1008.
#[track_caller]
pub fn not_admitted(outcome: Result<Peer, Refused>) -> Value {
    let refused = match outcome {
        Ok(peer) => panic!("it got in: {}", peer.hello),
        Err(refused) => refused,
    };
    assert_eq!(
        refused.close.as_ref().map(|(code, _)| *code),
        Some(1008),
        "{refused:?}"
    );
    refused.error
}

/// Connect params of a node with these credentials.
pub fn node_with(auth: Value) -> Value {
    let mut params = node_params("", &["system.which"]);
    params["auth"] = auth;
    params["maxProtocol"] = json!(4);
    params
}

#[track_caller]
pub fn code(error: &Value) -> &str {
    error["details"]["code"].as_str().unwrap_or_default()
}
