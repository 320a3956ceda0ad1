//! A device token is shown to the gateway that issued it, and to nobody else.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Instant;

use serde_json::{Value, json};
use tungstenite::{Message, WebSocket};

use crate::support::PATIENCE;
use crate::support::home::Home;
use crate::support::process::{Running, command, openclaw_with, program};

const TOKEN: &str = "issued-by-the-first-gateway";

/// A gateway that writes down what it is shown.
struct Listener(TcpListener);

impl Listener {
    fn new() -> Listener {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Listener(listener)
    }

    fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    /// Answers every connect with `answer` until `done`; the params of each.
    fn serve(&self, answer: &Value, mut done: impl FnMut(usize) -> bool) -> Vec<Value> {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = Vec::new();
        while !done(seen.len()) {
            assert!(Instant::now() < deadline, "it goes on and on: {seen:?}");
            match self.0.accept() {
                Ok((stream, _)) => seen.extend(connect(stream, answer)),
                Err(_) => std::thread::sleep(std::time::Duration::from_millis(2)),
            }
        }
        seen
    }
}

fn connect(stream: TcpStream, answer: &Value) -> Option<Value> {
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut socket = tungstenite::accept(stream).ok()?;
    let challenge = json!({"type": "event", "event": "connect.challenge",
        "payload": {"nonce": "n", "ts": 1_795_220_955_933_u64}});
    socket.send(Message::text(challenge.to_string())).ok()?;
    let request = read(&mut socket)?;
    let mut response = answer.clone();
    response["id"] = request["id"].clone();
    response["payload"]["auth"]["role"] = request["params"]["role"].clone();
    socket.send(Message::text(response.to_string())).ok()?;
    let _ = socket.close(None);
    while socket.read().is_ok() {}
    Some(request["params"].clone())
}

fn read(socket: &mut WebSocket<TcpStream>) -> Option<Value> {
    loop {
        if let Message::Text(text) = socket.read().ok()? {
            return serde_json::from_str(&text).ok();
        }
    }
}

fn welcome() -> Value {
    json!({"type": "res", "ok": true, "payload": {"type": "hello-ok", "protocol": 3,
        "server": {"version": "t", "connId": "c"}, "features": {"methods": [], "events": []},
        "snapshot": {"presence": [], "health": {}, "stateVersion": {"presence": 0, "health": 0}, "uptimeMs": 0},
        "auth": {"scopes": ["operator.admin", "operator.read"], "deviceToken": TOKEN, "issuedAtMs": 1},
        "policy": {"maxPayload": 26_214_400, "maxBufferedBytes": 52_428_800, "tickIntervalMs": 30_000}}})
}

/// Refuses as a gateway would that wants to be shown a device token.
fn tempt() -> Value {
    json!({"type": "res", "ok": false, "payload": {}, "error": {"code": "INVALID_REQUEST", "message": "unauthorized",
        "details": {"code": "AUTH_TOKEN_MISMATCH", "canRetryWithDeviceToken": true,
            "recommendedNextStep": "retry_with_device_token"}}})
}

/// What `gateway` is shown by one command line.
#[track_caller]
fn shown(
    home: &Home,
    gateway: &Listener,
    answer: &Value,
    environment: &[(&str, &str)],
    arguments: &[&str],
) -> String {
    let seen = std::thread::scope(|scope| {
        let run = scope.spawn(|| openclaw_with(home, environment, arguments));
        let seen = gateway.serve(answer, |_| run.is_finished());
        let outcome = run.join().unwrap();
        assert!(!seen.is_empty(), "it did not connect: {outcome:?}");
        seen
    });
    json!(seen).to_string()
}

fn remote(home: &Home, gateway: &Listener, token: Option<&str>) {
    let url = format!("ws://{}", gateway.address());
    let token = token.map_or(String::new(), |token| format!(", token: '{token}'"));
    home.write_config(&format!(
        "{{ gateway: {{ mode: 'remote', remote: {{ url: '{url}'{token} }} }} }}"
    ));
}

#[test]
fn a_command_line_shows_its_token_to_its_own_gateway_only() {
    let (home, own, other) = (Home::new(), Listener::new(), Listener::new());
    let list = &["nodes", "list", "--json"][..];
    remote(&home, &own, Some("shared"));
    shown(&home, &own, &welcome(), &[], list);
    remote(&home, &own, None);
    assert!(
        shown(&home, &own, &welcome(), &[], list).contains(TOKEN),
        "its own gateway is shown it"
    );
    let elsewhere = format!("ws://{}", other.address());
    let environment = [
        ("OPENCLAW_GATEWAY_URL", elsewhere.as_str()),
        ("OPENCLAW_GATEWAY_TOKEN", "shared"),
    ];
    let typed = [list, &["--url", &elsewhere, "--token", "shared"]].concat();
    let own_url = format!("ws://{}", own.address());
    let to_own = [
        ("OPENCLAW_GATEWAY_URL", own_url.as_str()),
        ("OPENCLAW_GATEWAY_TOKEN", "shared"),
    ];
    // As this program keeps it, and as the reference leaves it: without the gateway's name.
    for named in [true, false] {
        if !named {
            let mut file = home.json("identity/device-auth.json");
            assert!(file.as_object_mut().unwrap().remove("gateways").is_some());
            home.write("identity/device-auth.json", file.to_string().as_bytes());
        }
        remote(&home, &own, None);
        for (environment, arguments) in [(&environment[..], list), (&[], &typed)] {
            let seen = shown(&home, &other, &tempt(), environment, arguments);
            assert!(
                !seen.contains(TOKEN) && seen.contains("shared"),
                "named={named}: {seen}"
            );
        }
        let again = shown(&home, &own, &tempt(), &to_own, list);
        assert_eq!(
            again.contains(TOKEN),
            named,
            "one retry with its own: {again}"
        );
    }
    // The gateway of the configuration is the one that the reference was set up for.
    assert!(shown(&home, &own, &welcome(), &[], list).contains(TOKEN));
    remote(&home, &other, None);
    assert!(
        !shown(&home, &other, &tempt(), &[], list).contains(TOKEN),
        "another one is configured now"
    );
}

/// What a gateway is shown by the first connect of a node host.
#[track_caller]
fn shown_by_node(home: &Home, gateway: &Listener, answer: &Value) -> String {
    let port = gateway.address().port().to_string();
    let mut node = command(&program(), home);
    node.args(["node", "run", "--host", "127.0.0.1", "--port", &port]);
    let mut node = Running::start(node);
    let seen = gateway.serve(answer, |count| count > 0 || !node.alive());
    json!(seen).to_string()
}

#[test]
fn a_node_host_shows_its_token_to_its_own_gateway_only() {
    let (home, own, other) = (Home::new(), Listener::new(), Listener::new());
    home.write_config("{ gateway: { auth: { token: 'shared' } } }");
    shown_by_node(&home, &own, &welcome());
    crate::support::wait_for("the token to be kept", || {
        let file = home.read("node.json");
        file.contains(TOKEN).then_some(())
    });
    home.write_config("{}");
    for named in [true, false] {
        assert!(shown_by_node(&home, &own, &welcome()).contains(TOKEN));
        if !named {
            // As the reference leaves it: only `node.json` says which gateway it was.
            let mut file = home.json("identity/device-auth.json");
            assert!(file.as_object_mut().unwrap().remove("gateways").is_some());
            home.write("identity/device-auth.json", file.to_string().as_bytes());
        }
        for _ in 0..2 {
            let seen = shown_by_node(&home, &other, &tempt());
            assert!(
                seen.contains("node-host") && !seen.contains(TOKEN),
                "named={named}: {seen}"
            );
        }
    }
}
