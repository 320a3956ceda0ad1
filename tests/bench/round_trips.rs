//! Operator → node → operator beside two raw echoes.

use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::Bench;
use crate::fleet::approve;
use crate::reference::wait_long;
use crate::report::{Row, Sample};
use crate::support::device::Device;
use crate::support::peer::Peer;
use crate::support::process::{Gateway, SECRET};
use crate::support::websocket::{Message, WebSocket};

/// Round trips before those that count.
const WARM_UP: usize = 100;

pub fn measure(bench: &mut Bench) {
    let rounds = if bench.quick { 500 } else { 2_000 };
    let gateway = Gateway::start();
    let (trips, echoes) = beside_echoes(gateway.address, rounds);
    let ratios = Sample::from(trips.median() / echoes.median());
    let reference = bench.other.gateway().map(|other| {
        let (trips, echoes) = beside_echoes(other.address, rounds / 4);
        (trips.median() / echoes.median(), trips)
    });
    let theirs = reference.as_ref().map_or(String::new(), |(_, trips)| {
        format!(", the reference's p50 {:.3} ms", trips.median())
    });
    let row = Row::new("operator → node → operator by two raw echoes", "", ratios)
        .limited(1.5, "≤ 1.5 × two raw echoes")
        .reference(reference.as_ref().map(|(ratio, _)| *ratio))
        .note(&format!(
            "p50 {:.3} ms, p99 {:.3} ms; two echoes p50 {:.3} ms{theirs}; both wake four threads, these in three processes: `taskset -c 0 make bench FILTER=round-trip` shows it without the waking of idle processors; the rest is JSON at each end, the policy, and a look at the files of the state",
            trips.median(),
            trips.quantile(0.99),
            echoes.median(),
        ))
        .command("node.invoke of an operator, answered at once by a node; echoes of the same text, in turn with it");
    bench.report.row(row);
}

/// Round trips through the gateway at `address` and pairs of echoes, in turn.
fn beside_echoes(address: SocketAddr, rounds: usize) -> (Sample, Sample) {
    let mut operator = Peer::operator(address, SECRET);
    let node = answering_node(address, &mut operator);
    let mut echo = echo_peer();
    let text = asked(&node).to_string();
    let (mut trips, mut echoes) = (Vec::new(), Vec::new());
    for round in 0..rounds + WARM_UP {
        let trip = trip(&mut operator, &node);
        let begun = Instant::now();
        for _ in 0..2 {
            echo.send_text(&text);
            echo.next();
        }
        let pair = begun.elapsed();
        if round >= WARM_UP {
            trips.push(trip);
            echoes.push(pair);
        }
    }
    (Sample::of_durations(trips), Sample::of_durations(echoes))
}

/// How long one invoke takes.
pub fn trip(operator: &mut Peer, node: &str) -> Duration {
    let begun = Instant::now();
    operator.call("node.invoke", asked(node)).unwrap();
    begun.elapsed()
}

fn asked(node: &str) -> Value {
    static KEY: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let key = KEY.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    json!({"nodeId": node, "command": "system.which", "params": {"bins": []}, "idempotencyKey": key.to_string()})
}

/// A connected, approved node that answers every invoke on a thread of its own until its end; its id.
pub fn answering_node(address: SocketAddr, operator: &mut Peer) -> String {
    let device = Device::new();
    let mut node = Peer::node(address, SECRET, &device, &["system.which"]).unwrap();
    wait_long("the node request", || {
        let list = operator.call("node.pair.list", json!({})).unwrap();
        list["pending"].get(0).map(|_| ())
    });
    approve(operator);
    std::thread::spawn(move || {
        while let Some(message) = node.socket.next_within(Duration::from_secs(600)) {
            let Message::Text(text) = message else { return };
            let frame: Value = serde_json::from_str(&text).unwrap();
            if frame["event"] == "node.invoke.request" {
                let ask = &frame["payload"];
                let answer = json!({"id": ask["id"], "nodeId": ask["nodeId"], "ok": true, "payloadJSON": "{\"bins\":{}}"});
                node.send("node.invoke.result", answer);
            }
        }
    });
    device.id
}

/// A client of a bare tungstenite echo server on loopback.
fn echo_peer() -> WebSocket {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        stream.set_nodelay(true).unwrap();
        let mut socket = tungstenite::accept(stream).unwrap();
        while let Ok(message) = socket.read() {
            if message.is_text() && socket.send(message).is_err() {
                return;
            }
        }
    });
    WebSocket::connect(address)
}
