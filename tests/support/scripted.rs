//! A gateway that a test plays itself, one connection after the other, and node hosts that connect to it.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tungstenite::protocol::CloseFrame;
use tungstenite::{Message, WebSocket};

use super::PATIENCE;
use super::home::Home;
use super::process::{Running, command, program};

/// A listener whose connections the test accepts one by one.
pub struct Scripted(TcpListener);

/// A connection whose client sent its `connect`.
pub struct Caller {
    socket: WebSocket<TcpStream>,
    /// The params of the `connect`.
    pub connect: Value,
    id: Value,
}

impl Scripted {
    pub fn new() -> Scripted {
        Self::at(([127, 0, 0, 1], 0).into())
    }

    pub fn at(address: SocketAddr) -> Scripted {
        let listener = TcpListener::bind(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        Scripted(listener)
    }

    pub fn port(&self) -> u16 {
        self.0.local_addr().unwrap().port()
    }

    /// A connection that was just opened, nothing said on it.
    #[track_caller]
    pub fn socket(&self) -> TcpStream {
        self.socket_within(PATIENCE).expect("nobody connects")
    }

    /// The same, or nothing within `patience`.
    pub fn socket_within(&self, patience: Duration) -> Option<TcpStream> {
        let deadline = Instant::now() + patience;
        loop {
            match self.0.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(false).unwrap();
                    stream.set_read_timeout(Some(PATIENCE)).unwrap();
                    return Some(stream);
                }
                Err(_) if Instant::now() >= deadline => return None,
                Err(_) => std::thread::sleep(Duration::from_millis(2)),
            }
        }
    }

    /// An upgraded connection, nothing sent on it.
    #[track_caller]
    pub fn upgraded(&self) -> WebSocket<TcpStream> {
        tungstenite::accept(self.socket()).unwrap()
    }

    /// Sends a usual challenge and reads the `connect`.
    #[track_caller]
    pub fn caller(&self) -> Caller {
        self.challenged(&json!({"nonce": "n-1", "ts": 1_795_220_955_933_u64}))
    }

    /// The same with the given payload of the challenge.
    #[track_caller]
    pub fn challenged(&self, challenge: &Value) -> Caller {
        let mut socket = self.upgraded();
        send_event(&mut socket, "connect.challenge", challenge);
        let request = next_request(&mut socket).expect("a connect");
        assert_eq!(request["method"], "connect", "{request}");
        Caller {
            connect: request["params"].clone(),
            id: request["id"].clone(),
            socket,
        }
    }
}

impl Caller {
    /// Refuses with `error` and closes with 1008 and its message, as gateways do.
    pub fn refuse(mut self, error: &Value) {
        let frame = json!({"type": "res", "id": self.id, "ok": false, "error": error});
        self.send(&frame);
        let reason = error["message"].as_str().unwrap_or_default().to_owned();
        self.close(1008, &reason);
    }

    /// Admits it, with this device token and tick interval.
    pub fn welcome(mut self, token: Option<&str>, tick_ms: u64) -> Caller {
        let mut payload = json!({"type": "hello-ok", "protocol": 3,
            "server": {"version": "t", "connId": "c"}, "features": {"methods": [], "events": []},
            "snapshot": {"presence": [], "health": {}, "stateVersion": {"presence": 0, "health": 0}, "uptimeMs": 0},
            "auth": {"role": "node", "scopes": []},
            "policy": {"maxPayload": 26_214_400, "maxBufferedBytes": 52_428_800, "tickIntervalMs": tick_ms}});
        if let Some(token) = token {
            payload["auth"]["deviceToken"] = json!(token);
        }
        let frame = json!({"type": "res", "id": self.id, "ok": true, "payload": payload});
        self.send(&frame);
        self
    }

    pub fn event(&mut self, name: &str, payload: &Value) {
        send_event(&mut self.socket, name, payload);
    }

    /// The next request of the client.
    #[track_caller]
    pub fn request(&mut self) -> Value {
        next_request(&mut self.socket).expect("a request")
    }

    /// Invokes a command and gives the params of its result; events before it are dropped.
    #[track_caller]
    pub fn invoke(&mut self, command: &str, params: &Value) -> Value {
        self.start_invoke("i-1", command, params);
        loop {
            let request = self.request();
            if request["method"] == "node.invoke.result" {
                assert_eq!(request["params"]["id"], "i-1", "{request}");
                return request["params"].clone();
            }
        }
    }

    /// Invokes a command without waiting for its result.
    pub fn start_invoke(&mut self, id: &str, command: &str, params: &Value) {
        let node = self.connect["device"]["id"].clone();
        let payload = json!({"id": id, "nodeId": node, "command": command,
            "paramsJSON": params.to_string(), "timeoutMs": 30_000});
        self.event("node.invoke.request", &payload);
    }

    /// The close code and reason of the client; everything before it is dropped.
    #[track_caller]
    pub fn closed(mut self) -> (u16, String) {
        client_close(&mut self.socket)
    }

    /// Closes and waits until the client is gone.
    pub fn close(mut self, code: u16, reason: &str) {
        let frame = CloseFrame {
            code: code.into(),
            reason: reason.to_owned().into(),
        };
        // The client may have closed already.
        let _ = self.socket.close(Some(frame));
        while self.socket.read().is_ok() {}
    }

    fn send(&mut self, frame: &Value) {
        self.socket.send(Message::text(frame.to_string())).unwrap();
    }
}

/// An error of a refused connect.
pub fn refusal(detail: &str) -> Value {
    json!({"code": "INVALID_REQUEST", "message": "unauthorized: because", "details": {"code": detail}})
}

/// A refusal until somebody approves request `id`.
pub fn pairing_required(id: &str) -> Value {
    json!({"code": "NOT_PAIRED", "message": "pairing required: device is not approved yet",
        "details": {"code": "PAIRING_REQUIRED", "reason": "not-paired", "requestId": id}})
}

/// How the client of an upgraded connection closes it.
#[track_caller]
pub fn client_close(socket: &mut WebSocket<TcpStream>) -> (u16, String) {
    loop {
        match socket.read().expect("a close frame") {
            Message::Close(Some(frame)) => return (frame.code.into(), frame.reason.to_string()),
            Message::Close(None) => return (1005, String::new()),
            _ => {}
        }
    }
}

/// Sends an event.
pub fn send_event(socket: &mut WebSocket<TcpStream>, name: &str, payload: &Value) {
    let frame = json!({"type": "event", "event": name, "payload": payload});
    socket.send(Message::text(frame.to_string())).unwrap();
}

fn next_request(socket: &mut WebSocket<TcpStream>) -> Option<Value> {
    loop {
        if let Message::Text(text) = socket.read().ok()? {
            return serde_json::from_str(&text).ok();
        }
    }
}

/// A node host at `home` with these environment variables and further arguments.
pub fn node_host(home: &Home, environment: &[(&str, &str)], arguments: &[&str]) -> Running {
    let mut command = command(&program(), home);
    command
        .envs(environment.iter().copied())
        .args(["node", "run"])
        .args(arguments);
    Running::start(command)
}
