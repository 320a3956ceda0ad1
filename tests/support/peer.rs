//! Fake nodes and operators over [`WebSocket`]: they connect, ask and answer with hand-made frames.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::PATIENCE;
use super::device::Device;
use super::websocket::{Message, WebSocket};

/// Every operator scope.
pub const ALL_SCOPES: [&str; 5] = [
    "operator.admin",
    "operator.read",
    "operator.write",
    "operator.approvals",
    "operator.pairing",
];

/// How a handshake ended without a session.
#[derive(Debug)]
pub struct Refused {
    /// The `error` of the response; `null` when none came.
    pub error: Value,
    pub close: Option<(u16, String)>,
}

/// A peer past its handshake.
pub struct Peer {
    pub socket: WebSocket,
    pub hello: Value,
    /// Every frame since the hello, as it came.
    pub heard: Vec<String>,
    events: VecDeque<Value>,
    answers: VecDeque<Value>,
    next_id: u32,
}

/// Connect params of an operator with the shared `token` (a `gateway-client` backend by default).
pub fn operator_params(token: &str, scopes: &[&str]) -> Value {
    json!({
        "minProtocol": 3, "maxProtocol": 3, "role": "operator", "scopes": scopes,
        "client": {"id": "gateway-client", "mode": "backend", "version": "1", "platform": "linux"},
        "caps": [], "auth": {"token": token},
    })
}

/// Connect params of a command line that must be paired, with these credentials.
pub fn cli_params(auth: Value, scopes: &[&str]) -> Value {
    json!({
        "minProtocol": 3, "maxProtocol": 4, "role": "operator", "scopes": scopes, "caps": [], "auth": auth,
        "client": {"id": "cli", "mode": "cli", "version": "1", "platform": "linux"},
    })
}

/// Connect params of a node host.
pub fn node_params(token: &str, commands: &[&str]) -> Value {
    json!({
        "minProtocol": 3, "maxProtocol": 3, "role": "node", "scopes": [],
        "client": {"id": "node-host", "displayName": "Build Node", "mode": "node", "version": "1.0",
                   "platform": "linux", "instanceId": "25218f4c-cb10-4b0f-8e9d-8da214131cb9"},
        "caps": ["system"], "commands": commands, "pathEnv": "/usr/bin:/bin", "auth": {"token": token},
    })
}

impl Peer {
    /// An operator without a device and with every scope.
    #[track_caller]
    pub fn operator(address: SocketAddr, token: &str) -> Peer {
        Self::connect(address, operator_params(token, &ALL_SCOPES), None)
            .expect("operator connects")
    }

    /// A node with `device`, admitted or not.
    pub fn node(
        address: SocketAddr,
        token: &str,
        device: &Device,
        commands: &[&str],
    ) -> Result<Peer, Refused> {
        Self::connect(address, node_params(token, commands), Some(device))
    }

    pub fn connect(
        address: SocketAddr,
        params: Value,
        device: Option<&Device>,
    ) -> Result<Peer, Refused> {
        Self::handshake(WebSocket::connect(address), params, device)
    }

    /// Answers the challenge with `params`, proven by `device` when one is given.
    pub fn handshake(
        mut socket: WebSocket,
        mut params: Value,
        device: Option<&Device>,
    ) -> Result<Peer, Refused> {
        let (nonce, signed_at_ms) = challenge_or_end(&mut socket)?;
        if let Some(device) = device {
            device.prove(&mut params, &nonce, signed_at_ms);
        }
        let request = json!({"type": "req", "id": "c1", "method": "connect", "params": params});
        socket.send_text(&request.to_string());
        finish(socket)
    }

    /// The device token of its hello.
    #[track_caller]
    pub fn device_token(&self) -> String {
        let token = self.hello["auth"]["deviceToken"].as_str();
        token.expect("a device token").to_owned()
    }

    /// Sends a request and returns its id.
    pub fn send(&mut self, method: &str, params: Value) -> String {
        self.next_id += 1;
        let id = format!("r{}", self.next_id);
        let request = json!({"type": "req", "id": id, "method": method, "params": params});
        self.socket.send_text(&request.to_string());
        id
    }

    /// The answer to request `id`: its payload, or its error.
    #[track_caller]
    pub fn answer(&mut self, id: &str) -> Result<Value, Value> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(index) = self.answers.iter().position(|answer| answer["id"] == id) {
                let answer = self.answers.remove(index).unwrap();
                return if answer["ok"] == true {
                    Ok(answer["payload"].clone())
                } else {
                    Err(answer["error"].clone())
                };
            }
            assert!(Instant::now() < deadline, "no answer to {id}");
            self.pump();
        }
    }

    /// Asks and waits for the answer.
    #[track_caller]
    pub fn call(&mut self, method: &str, params: Value) -> Result<Value, Value> {
        let id = self.send(method, params);
        self.answer(&id)
    }

    /// The next event with this name; others stay queued.
    #[track_caller]
    pub fn event(&mut self, name: &str) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(index) = self.events.iter().position(|event| event["event"] == name) {
                return self.events.remove(index).unwrap();
            }
            assert!(Instant::now() < deadline, "no event {name}");
            self.pump();
        }
    }

    /// Takes every event with this name that the gateway sent before it answered a call made now: frames of
    /// one connection stay in order.
    #[track_caller]
    pub fn events_until_now(&mut self, name: &str) -> Vec<Value> {
        let method = match self.hello["auth"]["role"].as_str() {
            Some("node") => "skills.bins",
            _ => "health",
        };
        // A refusal is an answer too.
        let _ = self.call(method, json!({}));
        let (found, others) = std::mem::take(&mut self.events)
            .into_iter()
            .partition::<Vec<Value>, _>(|event| event["event"] == name);
        self.events = others.into();
        found
    }

    /// Whether the gateway has sent no event with this name before it answered a call made now.
    #[track_caller]
    pub fn has_not_heard(&mut self, name: &str) -> bool {
        self.events_until_now(name).is_empty()
    }

    /// An already arrived or soon arriving event, if any. That one stays away is not to be seen so: see
    /// [`Peer::has_not_heard`].
    pub fn event_within(&mut self, name: &str, patience: Duration) -> Option<Value> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(index) = self.events.iter().position(|event| event["event"] == name) {
                return self.events.remove(index);
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            match self.socket.next_within(left)? {
                Message::Text(text) => self.sort(&text),
                _ => return None,
            }
        }
    }

    /// Answers one `node.invoke.request` with `payload`.
    #[track_caller]
    pub fn answer_invoke(&mut self, payload: &Value) -> Value {
        let request = self.event("node.invoke.request")["payload"].clone();
        let result = json!({"id": request["id"], "nodeId": request["nodeId"], "ok": true,
                            "payloadJSON": payload.to_string()});
        self.call("node.invoke.result", result).unwrap();
        request
    }

    /// The close code and reason; everything before it is dropped.
    #[track_caller]
    pub fn closed(&mut self) -> (u16, String) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            assert!(Instant::now() < deadline, "the connection stays open");
            match self.socket.next() {
                Message::Close(code, reason) => return (code, reason),
                Message::Gone => return (1006, String::new()),
                _ => {}
            }
        }
    }

    #[track_caller]
    fn pump(&mut self) {
        match self.socket.next() {
            Message::Text(text) => self.sort(&text),
            Message::Ping(_) | Message::Pong(_) => {}
            other => panic!("the connection ended: {other:?}"),
        }
    }

    fn sort(&mut self, text: &str) {
        self.heard.push(text.to_owned());
        let frame: Value = serde_json::from_str(text).unwrap();
        match frame["type"].as_str() {
            Some("event") => self.events.push_back(frame),
            Some("res") => self.answers.push_back(frame),
            _ => panic!("neither an event nor a response: {text}"),
        }
    }
}

/// Reads the challenge: its nonce and timestamp.
#[track_caller]
pub fn challenge(socket: &mut WebSocket) -> (String, u64) {
    challenge_or_end(socket).expect("no challenge")
}

/// The same, where the gateway may end the connection instead.
#[track_caller]
fn challenge_or_end(socket: &mut WebSocket) -> Result<(String, u64), Refused> {
    let close = match socket.next() {
        Message::Text(text) => {
            let frame: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(frame["event"], "connect.challenge", "{text}");
            let nonce = frame["payload"]["nonce"].as_str().unwrap().to_owned();
            return Ok((nonce, frame["payload"]["ts"].as_u64().unwrap()));
        }
        Message::Close(code, reason) => Some((code, reason)),
        Message::Gone => None,
        Message::Ping(_) | Message::Pong(_) => panic!("no challenge"),
    };
    let error = Value::Null;
    Err(Refused { error, close })
}

/// Reads what follows a sent `connect`.
pub fn finish(mut socket: WebSocket) -> Result<Peer, Refused> {
    let mut error = Value::Null;
    let mut early = VecDeque::new();
    loop {
        match socket.next() {
            Message::Text(text) => {
                let frame: Value = serde_json::from_str(&text).unwrap();
                if frame["type"] == "event" {
                    early.push_back(frame);
                } else if frame["ok"] == true {
                    let hello = frame["payload"].clone();
                    return Ok(Peer {
                        socket,
                        hello,
                        heard: Vec::new(),
                        events: early,
                        answers: VecDeque::new(),
                        next_id: 0,
                    });
                } else {
                    error = frame["error"].clone();
                }
            }
            Message::Close(code, reason) => {
                return Err(Refused {
                    error,
                    close: Some((code, reason)),
                });
            }
            Message::Gone => return Err(Refused { error, close: None }),
            Message::Ping(_) | Message::Pong(_) => {}
        }
    }
}
