//! A gateway on loopback and a client that speaks raw frames, for the tests of this room.

use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest;
use tungstenite::{Message, WebSocket};

use crate::gateway::auth::SharedAuth;
use crate::gateway::server::Gateway;
use crate::gateway::settings::GatewaySettings;
use crate::identity::{DeviceKey, ProofInput, Token, payload_v3};
use crate::store::{Clock, SystemClock};

/// The shared token of test gateways.
pub const TOKEN: &str = "correct-horse";

/// How long anything may take before a test fails.
pub const PATIENCE: Duration = Duration::from_secs(30);

static NEXT: AtomicUsize = AtomicUsize::new(0);

/// A gateway with a state directory of its own, both gone when dropped.
pub struct Rig {
    gateway: Option<Gateway>,
    directory: PathBuf,
}

impl Rig {
    /// Mode token with [`TOKEN`].
    pub fn start() -> Self {
        Self::with(|_| {})
    }

    /// Like [`Rig::start`], with changed settings.
    pub fn with(change: impl FnOnce(&mut GatewaySettings)) -> Self {
        Self::with_clock(Arc::new(SystemClock), change)
    }

    /// Like [`Rig::with`], with a clock.
    pub fn with_clock(clock: Arc<dyn Clock>, change: impl FnOnce(&mut GatewaySettings)) -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("openclaw-gateway-{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        let auth = SharedAuth::Token(Token::from(TOKEN));
        let mut settings = GatewaySettings::local(directory.clone(), auth);
        change(&mut settings);
        let gateway = Gateway::start_with_clock(settings, clock).unwrap();
        Self {
            gateway: Some(gateway),
            directory,
        }
    }

    /// The running gateway.
    pub fn gateway(&self) -> &Gateway {
        self.gateway.as_ref().unwrap()
    }

    /// Stops it; whether all threads ended.
    pub fn stop(&mut self) -> bool {
        self.gateway.take().unwrap().stop()
    }

    /// The state directory.
    pub fn directory(&self) -> &PathBuf {
        &self.directory
    }

    /// A TCP connection without a word said.
    pub fn tcp(&self) -> TcpStream {
        let stream = TcpStream::connect(self.gateway().local_addr()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// An upgraded connection that read its challenge.
    pub fn client(&self) -> Client {
        self.client_with(&[])
    }

    /// An upgraded connection with more request headers.
    pub fn client_with(&self, headers: &[(&'static str, &str)]) -> Client {
        let address = self.gateway().local_addr();
        let mut request = format!("ws://{address}/any/path?x=1")
            .into_client_request()
            .unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let (socket, _) = tungstenite::client(request, self.tcp()).unwrap();
        let mut client = Client {
            socket,
            nonce: String::new(),
        };
        let challenge = client.receive();
        assert_eq!(challenge["event"], "connect.challenge");
        assert!(challenge.get("seq").is_none() && challenge["payload"]["ts"].is_u64());
        client.nonce = challenge["payload"]["nonce"].as_str().unwrap().to_owned();
        client
    }

    /// A session admitted with these params.
    pub fn session(&self, params: impl FnOnce(&str) -> Value) -> Client {
        let mut client = self.client();
        let params = params(&client.nonce);
        let answer = client.call("connect", params);
        assert_eq!(answer["ok"], true, "{answer}");
        assert_eq!(answer["payload"]["type"], "hello-ok");
        client
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        drop(self.gateway.take());
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// The client end of a connection.
pub struct Client {
    socket: WebSocket<TcpStream>,
    /// The challenge.
    pub nonce: String,
}

impl Client {
    /// Sends any text.
    pub fn send(&mut self, text: impl Into<String>) {
        self.socket.send(Message::text(text.into())).unwrap();
    }

    /// Sends a request and returns its response, skipping events.
    pub fn call(&mut self, method: &str, params: Value) -> Value {
        self.send(
            json!({"type": "req", "id": method, "method": method, "params": params}).to_string(),
        );
        self.until(|frame| frame["type"] == "res" && frame["id"] == method)
    }

    /// The next frame.
    pub fn receive(&mut self) -> Value {
        loop {
            match self.socket.read().unwrap() {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Close(frame) => panic!("closed: {frame:?}"),
                _ => {}
            }
        }
    }

    /// The next frame that is wanted.
    pub fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let frame = self.receive();
            if wanted(&frame) {
                return frame;
            }
        }
    }

    /// The next broadcast of this name.
    pub fn event(&mut self, name: &str) -> Value {
        self.until(|frame| frame["event"] == name)
    }

    /// The frames that still come, and the close frame behind them.
    pub fn closing(&mut self) -> (Vec<Value>, u16, String) {
        let mut frames = Vec::new();
        loop {
            match self.socket.read().unwrap() {
                Message::Text(text) => frames.push(serde_json::from_str(&text).unwrap()),
                Message::Close(Some(frame)) => {
                    return (frames, frame.code.into(), frame.reason.as_str().to_owned());
                }
                Message::Close(None) => return (frames, 1005, String::new()),
                _ => {}
            }
        }
    }

    /// Says goodbye and waits until the other end did too.
    pub fn leave(mut self) {
        let _ = self.socket.close(None);
        while self.socket.read().is_ok() {}
    }
}

/// The key of device `number`.
pub fn key(number: u8) -> DeviceKey {
    DeviceKey::from_seed(&[number; 32]).unwrap()
}

/// A connect of a program without a device.
pub fn bare(id: &str, mode: &str, scopes: &[&str], auth: Value) -> Value {
    json!({
        "minProtocol": 3, "maxProtocol": 4,
        "client": {"id": id, "version": "1.0", "platform": "linux", "mode": mode},
        "scopes": scopes, "auth": auth,
    })
}

/// The same connect with a device proof over its own fields.
pub fn signed(mut params: Value, key: &DeviceKey, nonce: &str, signed_at_ms: u64) -> Value {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let scopes: Vec<String> = params["scopes"]
        .as_array()
        .into_iter()
        .flatten()
        .map(text)
        .collect();
    let auth = &params["auth"];
    let tokens = ["token", "deviceToken", "bootstrapToken"];
    let token = tokens
        .iter()
        .find_map(|name| auth[name].as_str())
        .unwrap_or_default()
        .to_owned();
    let device_id = key.device_id();
    let client = &params["client"];
    let input = ProofInput {
        device_id: device_id.as_str(),
        client_id: &text(&client["id"]),
        client_mode: &text(&client["mode"]),
        role: params["role"].as_str().unwrap_or("operator"),
        scopes: &scopes,
        signed_at_ms,
        token: &token,
        nonce,
        platform: Some(&text(&client["platform"])),
        device_family: client["deviceFamily"].as_str(),
    };
    let signature = key.sign(&payload_v3(&input));
    params["device"] = json!({
        "id": device_id, "publicKey": key.public().encode(), "signature": signature,
        "signedAt": signed_at_ms, "nonce": nonce,
    });
    params
}

/// Now, epoch milliseconds.
pub fn now_ms() -> u64 {
    SystemClock.now_ms()
}

/// An operator on this host with the shared token and no device: the command line.
pub fn operator(scopes: &[&str]) -> Value {
    bare("cli", "cli", scopes, json!({"token": TOKEN}))
}

/// A node host with this key, authenticated by the shared token.
pub fn node(key: &DeviceKey, nonce: &str, commands: &[&str]) -> Value {
    let mut params = bare("node-host", "node", &[], json!({"token": TOKEN}));
    params["role"] = json!("node");
    params["caps"] = json!(["system"]);
    params["commands"] = json!(commands);
    signed(params, key, nonce, now_ms())
}

/// Waits until `done`; fails when it never is.
pub fn wait_until(what: &str, done: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::yield_now();
    }
}
