//! What a stalled peer costs another client.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;

use crate::Bench;
use crate::report::{Row, Sample};
use crate::round_trips::{answering_node, trip};
use crate::support::counters::wake_ups;
use crate::support::peer::{Peer, challenge};
use crate::support::process::{Gateway, SECRET};
use crate::support::wait_for;
use crate::support::websocket::WebSocket;

/// Another client's p99 while one peer is held in each phase, as a ratio to without it.
pub fn measure(bench: &mut Bench) {
    let blocks = if bench.quick { 3 } else { 10 };
    let gateway = Gateway::start();
    let (address, pid) = (gateway.address, gateway.process.pid());
    let mut operator = Peer::operator(address, SECRET);
    let node = answering_node(address, &mut operator);
    let mut p99 = |held: &dyn Fn() -> Box<dyn std::any::Any>| {
        // Alternating blocks, so that a slow moment of the machine falls on both sides.
        let (mut with, mut without) = (Vec::new(), Vec::new());
        for _ in 0..blocks {
            without.extend((0..100).map(|_| trip(&mut operator, &node)));
            let peer = held();
            with.extend((0..100).map(|_| trip(&mut operator, &node)));
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
                // What it asks costs time for its own sake; what it does not read is measured.
                wait_for("the gateway to rest", || {
                    let before = wake_ups(pid);
                    std::thread::sleep(Duration::from_millis(50));
                    (wake_ups(pid) == before).then_some(())
                });
                Box::new(peer)
            }),
        ),
    ];
    for (phase, hold) in phases {
        let (with, without) = p99(&*hold);
        let row = Row::new(
            &format!("another client's p99, a peer stalled: {phase}"),
            "",
            with / without,
        )
        .limited(2.0, "≤ 2 × without")
        .note(&format!("{with:.3} ms with, {without:.3} ms without"));
        bench.report.row(row);
    }
}
