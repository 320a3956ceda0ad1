//! A gateway made of frames by hand: each connection and each answer is one call of the test.

use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tungstenite::{Message, WebSocket};

use super::home::Home;
use super::process::{Outcome, openclaw};
use super::{PATIENCE, wait_for};

/// The listener; nothing is answered by itself.
pub struct StandIn(TcpListener);

/// One client past its handshake.
pub struct Visitor {
    socket: WebSocket<TcpStream>,
    /// The params of its connect request.
    pub connect: Value,
}

/// Runs one command line while the test plays the gateway.
pub fn with_gateway(gateway: &StandIn, arguments: &[&str], play: impl FnOnce(&StandIn)) -> Outcome {
    let home = gateway.home();
    std::thread::scope(|scope| {
        let run = scope.spawn(|| openclaw(&home, arguments));
        play(gateway);
        run.join().unwrap()
    })
}

impl StandIn {
    pub fn new() -> StandIn {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        StandIn(listener)
    }

    /// A home whose configured remote gateway this is.
    pub fn home(&self) -> Home {
        let home = Home::new();
        let address = self.0.local_addr().unwrap();
        home.write_config(&format!(
            "{{ gateway: {{ mode: 'remote', remote: {{ url: 'ws://{address}', token: 't' }} }} }}"
        ));
        home
    }

    /// Ends it; nobody gets through to its port any more when this returns.
    #[track_caller]
    pub fn end(self) {
        let address = self.0.local_addr().unwrap();
        drop(self);
        // A program that another test is just starting may hold the listener for a moment.
        wait_for("the closed port", || {
            TcpStream::connect(address).is_err().then_some(())
        });
    }

    /// The next connection, welcomed with every scope it asks for.
    #[track_caller]
    pub fn welcome(&self) -> Visitor {
        let deadline = Instant::now() + PATIENCE;
        let stream = loop {
            match self.0.accept() {
                Ok((stream, _)) => break stream,
                Err(error) => assert!(Instant::now() < deadline, "nobody connects: {error}"),
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut socket = tungstenite::accept(stream).unwrap();
        let challenge = json!({"type": "event", "event": "connect.challenge",
            "payload": {"nonce": "n", "ts": 1_795_220_955_933_u64}});
        socket.send(Message::text(challenge.to_string())).unwrap();
        let mut visitor = Visitor {
            socket,
            connect: Value::Null,
        };
        let request = visitor.read();
        visitor.connect = request["params"].clone();
        let hello = json!({"type": "hello-ok", "protocol": 3,
            "server": {"version": "t", "connId": "c"}, "features": {"methods": ["config.get"], "events": []},
            "snapshot": {"presence": [], "health": {}, "stateVersion": {"presence": 0, "health": 0}, "uptimeMs": 0},
            "auth": {"role": "operator", "scopes": visitor.connect["scopes"]},
            "policy": {"maxPayload": 26_214_400, "maxBufferedBytes": 52_428_800, "tickIntervalMs": 30_000}});
        visitor.send(&json!({"type": "res", "id": request["id"], "ok": true, "payload": hello}));
        visitor
    }
}

impl Visitor {
    fn send(&mut self, frame: &Value) {
        self.socket.send(Message::text(frame.to_string())).unwrap();
    }

    #[track_caller]
    fn read(&mut self) -> Value {
        loop {
            if let Message::Text(text) = self.socket.read().expect("it asks something") {
                return serde_json::from_str(text.as_str()).unwrap();
            }
        }
    }

    /// Reads the next request, which must be for `method`, answers it, and returns its params.
    #[track_caller]
    pub fn answer(&mut self, method: &str, payload: Value) -> Value {
        self.respond(method, json!({"ok": true, "payload": payload}))
    }

    /// The same with an error.
    #[track_caller]
    pub fn refuse(&mut self, method: &str, error: Value) -> Value {
        self.respond(method, json!({"ok": false, "error": error}))
    }

    #[track_caller]
    fn respond(&mut self, method: &str, mut response: Value) -> Value {
        let request = self.read();
        assert_eq!(request["method"], method, "{request}");
        response["type"] = json!("res");
        response["id"] = request["id"].clone();
        self.send(&response);
        request["params"].clone()
    }

    pub fn event(&mut self, name: &str, payload: Value) {
        self.send(&json!({"type": "event", "event": name, "payload": payload}));
    }

    /// Closes the connection as a gateway that starts anew does.
    pub fn close(mut self, code: u16, reason: &str) {
        let frame = tungstenite::protocol::CloseFrame {
            code: code.into(),
            reason: reason.to_owned().into(),
        };
        // The other end may have closed already.
        let _ = self.socket.close(Some(frame));
        while self.socket.read().is_ok() {}
    }
}
