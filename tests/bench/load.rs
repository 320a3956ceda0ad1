//! Under load: round trips beside raw echoes, group commit beside single writes, and what a stalled
//! peer costs another client.

use std::fs::File;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::report::{Report, Sample};
use crate::support::device::Device;
use crate::support::home::Home;
use crate::support::peer::{Peer, challenge};
use crate::support::process::{Gateway, SECRET};
use crate::support::websocket::{Message, WebSocket};

const ROUND_TRIPS: usize = 2_000;
const CONCURRENT_APPROVALS: usize = 1_000;
const OPERATORS: usize = 50;

/// A connected, approved node that answers every invoke on a thread of its own until its end.
fn answering_node(gateway: &Gateway, operator: &mut Peer) -> String {
    let device = Device::new();
    let mut node = Peer::node(gateway.address, SECRET, &device, &["system.which"]).unwrap();
    let request = operator.event("node.pair.requested")["payload"]["requestId"].clone();
    operator
        .call("node.pair.approve", json!({"requestId": request}))
        .unwrap();
    std::thread::spawn(move || {
        while let Some(message) = node.socket.next_within(Duration::from_secs(60)) {
            let Message::Text(text) = message else { return };
            let frame: Value = serde_json::from_str(&text).unwrap();
            if frame["event"] == "node.invoke.request" {
                let ask = &frame["payload"];
                node.send("node.invoke.result", json!({"id": ask["id"], "nodeId": ask["nodeId"], "ok": true, "payloadJSON": "{\"bins\":{}}"}));
            }
        }
    });
    device.id
}

fn invoke(node: &str) -> Value {
    json!({"nodeId": node, "command": "system.which", "params": {"bins": []}, "idempotencyKey": "k"})
}

/// Operator → node → operator beside two raw WebSocket echoes, interleaved.
pub fn round_trips(report: &mut Report) {
    let gateway = Gateway::start();
    let mut operator = Peer::operator(gateway.address, SECRET);
    let node = answering_node(&gateway, &mut operator);
    let mut echo = echo_peer();
    let text = invoke(&node).to_string();
    let (mut trips, mut echoes) = (Vec::new(), Vec::new());
    for round in 0..ROUND_TRIPS + 100 {
        let begun = Instant::now();
        operator.call("node.invoke", invoke(&node)).unwrap();
        let trip = begun.elapsed();
        let begun = Instant::now();
        for _ in 0..2 {
            echo.send_text(&text);
            echo.next();
        }
        let pair = begun.elapsed();
        if round >= 100 {
            trips.push(trip);
            echoes.push(pair);
        }
    }
    let (trips, echoes) = (Sample::of_durations(trips), Sample::of_durations(echoes));
    let ratio = trips.median() / echoes.median();
    report.row(
        "operator → node → operator",
        "≤ 1.5 × two raw echoes",
        format!(
            "{ratio:.2} × (p50 {:.3} ms, p99 {:.3} ms; two echoes p50 {:.3} ms)",
            trips.median(),
            trips.quantile(0.99),
            echoes.median()
        ),
        ratio <= 1.5,
    );
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

/// 1,000 approvals asked at once beside single fsync'd writes of the same file.
pub fn approvals(report: &mut Report) {
    let gateway = Gateway::start();
    let mut operators: Vec<Peer> = (0..OPERATORS)
        .map(|_| Peer::operator(gateway.address, SECRET))
        .collect();
    let each = CONCURRENT_APPROVALS / OPERATORS;
    let requests: Vec<Vec<Value>> = operators
        .iter_mut()
        .enumerate()
        .map(|(index, operator)| {
            let asked: Vec<String> = (0..each)
                .map(|n| {
                    operator.send(
                        "node.pair.request",
                        json!({"nodeId": format!("n{index}-{n}"), "platform": "linux"}),
                    )
                })
                .collect();
            asked
                .iter()
                .map(|id| operator.answer(id).unwrap()["request"]["requestId"].clone())
                .collect()
        })
        .collect();
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for (operator, requests) in operators.iter_mut().zip(&requests) {
            scope.spawn(move || {
                let asked: Vec<String> = requests
                    .iter()
                    .map(|id| operator.send("node.pair.approve", json!({"requestId": id})))
                    .collect();
                for id in asked {
                    operator.answer(&id).unwrap();
                }
            });
        }
    });
    let all = begun.elapsed();
    let paired = gateway.home.read("nodes/paired.json");
    let single =
        Sample::of_durations((0..15).map(|_| durable_write(&gateway.home, paired.as_bytes())));
    let budget = 10.0 * single.median() * (CONCURRENT_APPROVALS / 100) as f64;
    let took = all.as_secs_f64() * 1e3;
    report.row(
        "1,000 concurrent approvals",
        "≤ 10 × one fsync'd write per 100",
        format!(
            "{:.2} × that many writes ({took:.0} ms; one write of {} KB {})",
            took / (budget / 10.0),
            paired.len() / 1000,
            single.text("ms")
        ),
        took <= budget,
    );
}

/// Temporary file, fsync, rename, fsync of the directory.
fn durable_write(home: &Home, bytes: &[u8]) -> Duration {
    let begun = Instant::now();
    let path = home.path().join("probe.json");
    let temporary = home.path().join("probe.json.tmp");
    let mut file = File::create(&temporary).unwrap();
    file.write_all(bytes).unwrap();
    file.sync_all().unwrap();
    std::fs::rename(&temporary, &path).unwrap();
    File::open(home.path()).unwrap().sync_all().unwrap();
    begun.elapsed()
}

/// Another client's p99 while one peer is held in each phase, as a ratio to without it.
pub fn stalled_peers(report: &mut Report) {
    let gateway = Gateway::start();
    let address = gateway.address;
    let mut operator = Peer::operator(address, SECRET);
    let node = answering_node(&gateway, &mut operator);
    let mut p99 = |held: &dyn Fn() -> Box<dyn std::any::Any>| {
        // Alternating blocks, so that a slow moment of the machine falls on both sides.
        let (mut with, mut without) = (Vec::new(), Vec::new());
        for _ in 0..10 {
            without.extend((0..100).map(|_| timed(&mut operator, &node)));
            let peer = held();
            with.extend((0..100).map(|_| timed(&mut operator, &node)));
            drop(peer);
        }
        (
            Sample::of_durations(with).quantile(0.99),
            Sample::of_durations(without).quantile(0.99),
        )
    };
    type Phase<'a> = (&'a str, Box<dyn Fn() -> Box<dyn std::any::Any> + 'a>);
    let phases: Vec<Phase> = vec![
        (
            "TCP open",
            Box::new(move || Box::new(TcpStream::connect(address).unwrap())),
        ),
        (
            "half a request line",
            Box::new(move || {
                let mut stream = TcpStream::connect(address).unwrap();
                stream.write_all(b"GET / HT").unwrap();
                Box::new(stream)
            }),
        ),
        (
            "upgrade sent",
            Box::new(move || Box::new(WebSocket::connect(address))),
        ),
        (
            "challenge unanswered",
            Box::new(move || {
                let mut socket = WebSocket::connect(address);
                challenge(&mut socket);
                Box::new(socket)
            }),
        ),
        (
            "half a frame",
            Box::new(move || {
                let mut peer = Peer::operator(address, SECRET);
                peer.socket
                    .send_raw(&[0x81, 0x80 | 126, 0x40, 0x00, 1, 2, 3])
                    .unwrap();
                Box::new(peer)
            }),
        ),
        (
            "not reading",
            Box::new(move || {
                let mut peer = Peer::operator(address, SECRET);
                for _ in 0..2_000 {
                    peer.send("health", json!({}));
                }
                Box::new(peer)
            }),
        ),
    ];
    for (phase, hold) in phases {
        let (with, without) = p99(&*hold);
        report.row(
            &format!("another client's p99, a peer stalled: {phase}"),
            "a ratio, no delay",
            format!(
                "{:.2} × ({with:.3} ms with, {without:.3} ms without)",
                with / without
            ),
            with / without <= 2.0,
        );
    }
}

fn timed(operator: &mut Peer, node: &str) -> Duration {
    let begun = Instant::now();
    operator.call("node.invoke", invoke(node)).unwrap();
    begun.elapsed()
}
