//! A way to the gateway that is not direct: a forwarder on loopback that adds request headers, and one
//! that plays an older gateway for the first caller.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use serde_json::{Value, json};
use tungstenite::Message;

/// What happens to a connection.
#[derive(Clone, Copy)]
pub enum Manner {
    /// Every connection is passed on with this header line added to its request.
    Adding(&'static str),
    /// The first connection is refused as by a gateway of protocol 3, the others are passed on.
    OutdatedAtFirst,
}

/// A listener on loopback in front of a gateway; everything it holds ends with it.
pub struct Forwarder {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

struct Shared {
    target: SocketAddr,
    manner: Manner,
    stopping: AtomicBool,
    /// What the first caller of [`Manner::OutdatedAtFirst`] asked for.
    turned_away: Mutex<Option<Value>>,
    streams: Mutex<Vec<TcpStream>>,
}

impl Forwarder {
    pub fn start(target: SocketAddr, manner: Manner) -> Forwarder {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            target,
            manner,
            stopping: AtomicBool::new(false),
            turned_away: Mutex::default(),
            streams: Mutex::default(),
        });
        let own = Arc::clone(&shared);
        let acceptor = std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if own.stopping.load(Ordering::SeqCst) {
                    return;
                }
                let shared = Arc::clone(&own);
                std::thread::spawn(move || shared.serve(stream));
            }
        });
        Forwarder {
            address,
            shared,
            acceptor: Some(acceptor),
        }
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The `connect` params of the caller that was turned away.
    pub fn turned_away(&self) -> Option<Value> {
        self.shared.turned_away.lock().unwrap().clone()
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            acceptor.join().unwrap();
        }
        for stream in self.shared.streams.lock().unwrap().iter() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Shared {
    fn serve(&self, stream: TcpStream) {
        let outdated = matches!(self.manner, Manner::OutdatedAtFirst)
            && self.turned_away.lock().unwrap().is_none();
        if outdated {
            let asked = refuse_as_older(stream);
            *self.turned_away.lock().unwrap() = Some(asked);
        } else {
            self.pass_on(stream);
        }
    }

    fn pass_on(&self, mut caller: TcpStream) {
        let Ok(mut gateway) = TcpStream::connect(self.target) else {
            return;
        };
        let mut streams = self.streams.lock().unwrap();
        streams.extend([caller.try_clone().unwrap(), gateway.try_clone().unwrap()]);
        drop(streams);
        let mut head = Vec::new();
        let mut byte = [0u8; 1];
        while !head.ends_with(b"\r\n\r\n") {
            match caller.read(&mut byte) {
                Ok(1) => head.push(byte[0]),
                _ => return,
            }
        }
        if let Manner::Adding(line) = self.manner {
            head.truncate(head.len() - 2);
            head.extend_from_slice(format!("{line}\r\n\r\n").as_bytes());
        }
        if gateway.write_all(&head).is_err() {
            return;
        }
        let (from, to) = (gateway.try_clone().unwrap(), caller.try_clone().unwrap());
        let back = std::thread::spawn(move || pipe(from, to));
        pipe(caller, gateway);
        back.join().unwrap();
    }
}

fn pipe(mut from: TcpStream, mut to: TcpStream) {
    let _ = std::io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Both);
}

/// Answers a `connect` as a gateway that speaks protocol 3 alone; its params.
fn refuse_as_older(stream: TcpStream) -> Value {
    let mut socket = tungstenite::accept(stream).unwrap();
    let challenge = json!({"type": "event", "event": "connect.challenge",
        "payload": {"nonce": "00000000-0000-4000-8000-000000000000", "ts": 1}});
    socket.send(Message::text(challenge.to_string())).unwrap();
    let request: Value = loop {
        if let Message::Text(text) = socket.read().unwrap() {
            break serde_json::from_str(&text).unwrap();
        }
    };
    let refusal = json!({"type": "res", "id": request["id"], "ok": false, "error": {
        "code": "INVALID_REQUEST", "message": "protocol mismatch", "details": {"expectedProtocol": 3}}});
    socket.send(Message::text(refusal.to_string())).unwrap();
    let frame = tungstenite::protocol::CloseFrame {
        code: 1002.into(),
        reason: "protocol mismatch".into(),
    };
    socket.close(Some(frame)).unwrap();
    while socket.read().is_ok() {}
    request["params"].clone()
}
