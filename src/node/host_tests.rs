use std::io::Read as _;
use std::net::{TcpListener, TcpStream};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;

use serde_json::{Value, json};
use tungstenite::{Message, WebSocket};

use super::*;
use crate::client::{Credentials, Device, DeviceTokens, Endpoint, GatewayUrl, UrlSource};
use crate::identity::DeviceKey;
use crate::node::invoke::surface;
use crate::node::testing::{TempDir, machine};
use crate::node::tokens::NodeTokens;
use crate::protocol::error::ErrorShape;
use crate::store::{NodeFile, StateDir};

/// Long enough for any machine; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(60);

/// A gateway made of bytes by hand: each connection is one call of the test.
struct Gateway(TcpListener);

struct Connection {
    socket: WebSocket<TcpStream>,
    /// The params of the connect request.
    connect: Value,
    id: Value,
}

impl Gateway {
    fn new() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    /// Accepts a connection, sends the challenge and reads the connect request.
    fn accept(&self) -> Connection {
        self.0.set_nonblocking(true).unwrap();
        let deadline = Instant::now() + PATIENCE;
        let stream = loop {
            match self.0.accept() {
                Ok((stream, _)) => break stream,
                Err(error) => assert!(Instant::now() < deadline, "nobody connects: {error}"),
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut socket = tungstenite::accept(stream).unwrap();
        let challenge = json!({"type": "event", "event": "connect.challenge",
            "payload": {"nonce": "n", "ts": 1_795_220_955_933_u64}});
        socket.send(Message::text(challenge.to_string())).unwrap();
        let request = read(&mut socket);
        assert_eq!(request["method"], "connect");
        Connection {
            connect: request["params"].clone(),
            id: request["id"].clone(),
            socket,
        }
    }
}

impl Connection {
    fn send(&mut self, frame: &Value) {
        self.socket.send(Message::text(frame.to_string())).unwrap();
    }

    fn refuse(mut self, error: Value) {
        let id = self.id.clone();
        self.send(&json!({"type": "res", "id": id, "ok": false, "error": error}));
        self.finish(1008, "refused");
    }

    fn welcome(mut self, token: &str) -> Self {
        let id = self.id.clone();
        let payload = json!({"type": "hello-ok", "protocol": 3,
            "server": {"version": "t", "connId": "c"}, "features": {"methods": [], "events": []},
            "snapshot": {"presence": [], "health": {}, "stateVersion": {"presence": 0, "health": 0}, "uptimeMs": 0},
            "auth": {"role": "node", "scopes": [], "deviceToken": token, "issuedAtMs": 1},
            "policy": {"maxPayload": 26_214_400, "maxBufferedBytes": 52_428_800, "tickIntervalMs": 30_000}});
        self.send(&json!({"type": "res", "id": id, "ok": true, "payload": payload}));
        self
    }

    fn finish(mut self, code: u16, reason: &str) {
        let frame = tungstenite::protocol::CloseFrame {
            code: code.into(),
            reason: reason.to_owned().into(),
        };
        // The other end may have closed already.
        let _ = self.socket.close(Some(frame));
        while self.socket.read().is_ok() {}
    }
}

fn read(socket: &mut WebSocket<TcpStream>) -> Value {
    loop {
        if let Message::Text(text) = socket.read().unwrap() {
            return serde_json::from_str(text.as_str()).unwrap();
        }
    }
}

/// Runs a node host for the gateway in a thread of its own; gives its lines, its ending, and what stops it.
fn start(dir: &TempDir, gateway: &Gateway) -> (Receiver<String>, JoinHandle<Ending>, Arc<Control>) {
    let port = gateway.0.local_addr().unwrap().port();
    let state = StateDir::open(dir.path()).unwrap();
    let machine = Arc::new(machine(dir));
    let stop = Arc::new(Control::default());
    let stopper = Arc::clone(&stop);
    let (sender, lines) = channel();
    let sender = Mutex::new(sender);
    let run = move || {
        let endpoint = Endpoint {
            url: GatewayUrl::new("127.0.0.1", port, false),
            source: UrlSource::NodeHost,
            via: None,
            credentials: Credentials::default(),
            pin: None,
            authorities: None,
        };
        let key = DeviceKey::from_seed(&[7; 32]).unwrap();
        let tokens = DeviceTokens::new(state.clone(), key.device_id(), &endpoint);
        let tokens = NodeTokens::new(state, tokens, None);
        let identity = ConnectIdentity::node_host("N", "i", "/bin");
        let connector = Connector {
            endpoint: &endpoint,
            identity: &identity,
            device: Some(Device {
                key: &key,
                tokens: &tokens,
            }),
            plaintext_opt_in: false,
        };
        let report = move |line: &str| {
            let _ = sender.lock().unwrap().send(line.to_owned());
        };
        Host {
            supervisor: &Supervisor::none(),
            connector,
            dispatcher: Dispatcher::new(machine),
            surface: &|| surface(false),
            challenge_limit: PATIENCE,
            answered: &|| {},
            remedy: None,
            report: &report,
        }
        .run(&stop)
    };
    (lines, std::thread::spawn(run), stopper)
}

fn pairing(id: &str) -> Value {
    json!({"code": "NOT_PAIRED", "message": "pairing required",
        "details": {"code": "PAIRING_REQUIRED", "reason": "not-paired", "requestId": id}})
}

#[test]
fn it_waits_for_the_approval_then_serves_reconnects_and_stops() {
    let (dir, gateway) = (TempDir::new(), Gateway::new());
    let (lines, host, stop) = start(&dir, &gateway);
    gateway.accept().refuse(pairing("r-1"));

    let mut approved = gateway.accept().welcome("token-1");
    assert_eq!(approved.connect.get("auth"), None);
    assert_eq!(
        approved.connect["device"]["signedAt"],
        1_795_220_955_933_u64
    );
    let payload = json!({"id": "7", "nodeId": "abc", "command": "system.which",
        "paramsJSON": "{\"bins\":[\"sh\"]}"});
    approved.send(&json!({"type": "event", "event": "node.invoke.request", "payload": payload}));
    let answer = read(&mut approved.socket);
    assert_eq!(
        (&answer["method"], &answer["params"]["id"]),
        (&json!("node.invoke.result"), &json!("7"))
    );
    assert!(
        answer["params"]["payloadJSON"]
            .as_str()
            .unwrap()
            .starts_with("{\"bins\":{\"sh\":\"/")
    );
    approved.finish(1012, "service restart");

    let mut again = gateway.accept().welcome("token-2");
    assert_eq!(
        again.connect["auth"],
        json!({"token": "token-1", "deviceToken": "token-1"})
    );
    // An answered question shows that the host is past its hello.
    again.send(&json!({"type": "event", "event": "node.invoke.request",
        "payload": {"id": "8", "nodeId": "abc", "command": "x"}}));
    assert_eq!(read(&mut again.socket)["params"]["id"], "8");
    stop.stop();
    let closed = loop {
        if let Message::Close(frame) = again.socket.read().unwrap() {
            break frame.unwrap();
        }
    };
    assert_eq!(u16::from(closed.code), 1000);
    drop(again);
    assert_eq!(host.join().unwrap(), Ending::Stopped);

    let file = NodeFile::load(&StateDir::open(dir.path()).unwrap()).unwrap();
    assert_eq!(file.token.unwrap().as_str(), "token-2");
    let said: Vec<String> = lines.try_iter().collect();
    let url = format!("ws://{}", gateway.0.local_addr().unwrap());
    let expected = [
        "node host gateway connect failed: device pairing required (requestId: r-1)".to_owned(),
        "node host gateway reconnect paused after close (1008): device pairing required (requestId: \
         r-1) detail=PAIRING_REQUIRED; waiting for operator action"
            .to_owned(),
        "Approve with: openclaw devices approve r-1".to_owned(),
        format!("node host gateway connected: {url}"),
        format!("node host connected to {url} as abc"),
        "node host gateway closed (1012): service restart".to_owned(),
        format!("node host gateway connected: {url}"),
        format!("node host connected to {url} as abc"),
    ];
    assert_eq!(said, expected);
}

#[test]
fn a_request_that_still_waits_is_told_once() {
    let failure = |id: &str| {
        let error = serde_json::from_value::<Value>(pairing(id)).unwrap();
        ClientError::refused(
            ErrorShape::not_paired("pairing required").with_details(error["details"].clone()),
        )
    };
    let (mut memory, now) = (Memory::default(), Instant::now());
    let mut told = |error: &ClientError| memory.judge(error, now).1.len();
    let lines = [
        failure("1"),
        failure("1"),
        failure("2"),
        failure("2"),
        failure("1"),
    ];
    assert_eq!(lines.each_ref().map(&mut told), [3, 0, 3, 0, 3]);
    assert_eq!(told(&ClientError::NotGateway("x".to_owned())), 1);
    assert_eq!(told(&failure("1")), 3);
}

#[test]
fn a_token_that_a_close_calls_wrong_during_the_connect_is_not_shown_again() {
    let (dir, gateway) = (TempDir::new(), Gateway::new());
    let (_lines, host, control) = start(&dir, &gateway);
    gateway.accept().welcome("old").finish(1012, "restart");
    let again = gateway.accept();
    assert_eq!(again.connect["auth"]["token"], "old");
    again.finish(1008, "unauthorized: device token mismatch");
    let fresh = gateway.accept();
    assert_eq!(fresh.connect.get("auth"), None);
    control.stop();
    drop(fresh);
    assert_eq!(host.join().unwrap(), Ending::Stopped);
}

#[test]
fn a_failure_that_goes_on_is_told_once_a_minute() {
    let (mut memory, start) = (Memory::default(), Instant::now());
    let failure = |text: &str| ClientError::NotGateway(text.to_owned());
    let mut told = |text: &str, second| {
        let now = start + Duration::from_secs(second);
        memory.judge(&failure(text), now).1.len()
    };
    for (text, second, lines) in [
        ("x", 0, 1),
        ("x", 1, 0),
        ("x", 59, 0),
        ("x", 60, 1),
        ("x", 61, 0),
        ("y", 62, 1),
        ("x", 63, 1),
    ] {
        assert_eq!(told(text, second), lines, "{text} {second}");
    }
}

#[test]
fn a_change_of_the_network_is_survived_by_a_gateway_that_answers_and_ends_a_dead_session() {
    let (dir, gateway) = (TempDir::new(), Gateway::new());
    let (lines, host, control) = start(&dir, &gateway);
    let mut first = gateway.accept().welcome("t");
    let question = |id: &str| {
        json!({"type": "event", "event": "node.invoke.request",
            "payload": {"id": id, "nodeId": "abc", "command": "x"}})
    };
    first.send(&question("1"));
    assert_eq!(read(&mut first.socket)["params"]["id"], "1");
    control.network_changed();
    // Reading answers the ping; what is asked afterwards arrives in the same session.
    while !matches!(first.socket.read().unwrap(), Message::Ping(_)) {}
    // The pong stands behind the second question; what stands behind the pong tells that it has been read.
    for id in ["2", "3"] {
        first.send(&question(id));
        assert_eq!(read(&mut first.socket)["params"]["id"], id);
    }

    // Nobody reads here any more, so nothing is answered: a new connection comes without a wait for ticks.
    control.network_changed();
    let again = gateway.accept().welcome("t");
    // Where it was given up it is told so, before the new one is more than a connection.
    let mut chunk = [0_u8; 64];
    let over = loop {
        match first.socket.get_mut().read(&mut chunk) {
            Ok(0) => panic!("an orderly end of what nobody answered"),
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(over.kind(), std::io::ErrorKind::ConnectionReset);
    drop(first);
    control.stop();
    drop(again);
    assert_eq!(host.join().unwrap(), Ending::Stopped);
    let said: Vec<String> = lines.try_iter().collect();
    let dead = "node host gateway closed (4000): no answer after the network changed";
    assert_eq!(
        said.iter().filter(|line| *line == dead).count(),
        1,
        "{said:?}"
    );
}

#[test]
fn what_stood_unread_when_the_network_changed_is_no_answer_of_the_gateway() {
    let (dir, gateway) = (TempDir::new(), Gateway::new());
    let (lines, host, control) = start(&dir, &gateway);
    let mut first = gateway.accept().welcome("t");
    let question = json!({"type": "event", "event": "node.invoke.request",
        "payload": {"id": "1", "nodeId": "abc", "command": "x"}});
    first.send(&question);
    assert_eq!(read(&mut first.socket)["params"]["id"], "1");
    control.network_changed();
    // Everything but an answer: this end reads no ping, so it sends no pong of it.
    first.send(&question);
    first.socket.send(Message::Pong(Vec::new().into())).unwrap();
    first.socket.send(Message::Ping("x".into())).unwrap();
    let again = gateway.accept().welcome("t");
    drop(first);
    control.stop();
    drop(again);
    assert_eq!(host.join().unwrap(), Ending::Stopped);
    let dead = "node host gateway closed (4000): no answer after the network changed";
    assert!(lines.try_iter().any(|line| line == dead));
}

#[test]
fn a_gateway_that_lists_the_connected_node_as_gone_is_connected_to_anew() {
    let (dir, gateway) = (TempDir::new(), Gateway::new());
    let (lines, host, control) = start(&dir, &gateway);
    let mut first = gateway.accept().welcome("t");
    // As 2026.4.29 sends it: the instance is the device too.
    let presence = |device: &str, reason: &str| {
        json!({"type": "event", "event": "presence", "payload": {"presence": [
            {"deviceId": device, "instanceId": device, "reason": reason, "mode": "node"}]}})
    };
    // Another node that is gone, and this one's coming, are no news.
    first.send(&presence("other", "disconnect"));
    first.send(&presence("abc", "connect"));
    first.send(&json!({"type": "event", "event": "node.invoke.request",
        "payload": {"id": "1", "nodeId": "abc", "command": "x"}}));
    assert_eq!(read(&mut first.socket)["params"]["id"], "1");
    first.send(&presence("abc", "disconnect"));
    while !matches!(first.socket.read(), Ok(Message::Close(_)) | Err(_)) {}
    drop(first);
    let again = gateway.accept().welcome("t");
    control.stop();
    drop(again);
    assert_eq!(host.join().unwrap(), Ending::Stopped);
    let said: Vec<String> = lines.try_iter().collect();
    let gone = "node host gateway lists this node as gone; connecting anew";
    assert_eq!(
        said.iter().filter(|line| *line == gone).count(),
        1,
        "{said:?}"
    );
}

#[test]
fn a_change_of_the_network_ends_the_wait_for_a_gateway_that_was_away() {
    let (dir, gateway) = (TempDir::new(), Gateway::new());
    let (_lines, host, control) = start(&dir, &gateway);
    // The waits have grown beyond this test's patience: 1, 2, 4, 8, 16 and 30 s would be due.
    for _ in 0..6 {
        gateway
            .accept()
            .refuse(json!({"code": "UNAVAILABLE", "message": "x"}));
        control.network_changed();
    }
    control.stop();
    assert_eq!(host.join().unwrap(), Ending::Stopped);
}

#[test]
fn a_close_that_calls_the_device_token_wrong_drops_it() {
    let (dir, gateway) = (TempDir::new(), Gateway::new());
    let (_lines, host, control) = start(&dir, &gateway);
    let first = gateway.accept().welcome("token-1");
    first.finish(
        1008,
        "unauthorized: device token mismatch (rotate/reissue device token)",
    );
    let second = gateway.accept();
    assert_eq!(second.connect.get("auth"), None);
    control.stop();
    drop(second);
    assert_eq!(host.join().unwrap(), Ending::Stopped);
}

#[test]
fn it_gives_up_when_only_other_credentials_help() {
    let (dir, gateway) = (TempDir::new(), Gateway::new());
    let (lines, host, _stop) = start(&dir, &gateway);
    gateway.accept().refuse(
        json!({"code": "INVALID_REQUEST", "message": "unauthorized: x",
        "details": {"code": "AUTH_TOKEN_MISSING"}}),
    );
    assert_eq!(host.join().unwrap(), Ending::GaveUp);
    let last = "node host gateway reconnect paused after close (1008): unauthorized: x \
                detail=AUTH_TOKEN_MISSING; exiting for supervisor restart";
    assert_eq!(lines.try_iter().last().unwrap(), last);
}

#[test]
fn it_stops_while_it_waits() {
    let (dir, gateway) = (TempDir::new(), Gateway::new());
    let (lines, host, stop) = start(&dir, &gateway);
    gateway
        .accept()
        .refuse(json!({"code": "INVALID_REQUEST", "message": "x",
        "details": {"code": "AUTH_DEVICE_TOKEN_MISMATCH"}}));
    let paused = lines
        .iter()
        .find(|line| line.contains("waiting for operator action"));
    assert!(paused.is_some());
    stop.stop();
    assert_eq!(host.join().unwrap(), Ending::Stopped);
}
