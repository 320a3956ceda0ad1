//! What 100, 1,000 and 5,000 paired and connected nodes cost.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::Bench;
use crate::approvals::{durable_write, request};
use crate::commands;
use crate::fan_out::to_operators;
use crate::fleet::Fleet;
use crate::report::{Point, Row, Sample, milliseconds};
use crate::support::counters::{resident_kib, status};
use crate::support::peer::Peer;
use crate::support::websocket::Message;

/// Approvals that are measured one by one.
const APPROVALS: usize = 15;

pub fn hundred(bench: &mut Bench) {
    point(bench, 100);
}

pub fn thousand(bench: &mut Bench) {
    point(bench, 1_000);
}

pub fn five_thousand(bench: &mut Bench) {
    point(bench, 5_000);
    let row = Row::new("connected nodes in one process", "", 5_000.0)
        .note("all of them paired and approved, see the curve");
    bench.report.row(row);
}

fn point(bench: &mut Bench, nodes: usize) {
    let mut point = Point::new(nodes);
    let fleet = Fleet::paired(nodes, false);
    let pid = fleet.gateway.process.pid();
    let records = resident_kib(pid);
    let begun = Instant::now();
    let peers = fleet.connect();
    point.cost(
        "connecting a node",
        "ms",
        milliseconds(begun.elapsed()) / nodes as f64,
    );
    let connected = resident_kib(pid);
    let per_node = |kib: u64| kib as f64 / nodes as f64;
    point.cost(
        "RSS per node, connected",
        "KiB",
        per_node(connected - records),
    );
    point.cost("RSS with the records", "MB", records as f64 / 1024.0);
    point.cost("RSS with all connected", "MB", connected as f64 / 1024.0);
    point.cost("threads", "", status(pid, "Threads:") as f64);
    let mut operator = fleet.operator();
    let (took, bytes): (Vec<Duration>, Vec<usize>) = (0..bench.runs())
        .map(|_| list(&mut operator, nodes))
        .unzip();
    point.cost("node.list", "ms", Sample::of_durations(took));
    point.cost("node.list per node", "B", bytes[0] as f64 / nodes as f64);
    let arguments = ["nodes", "list", "--json"];
    let runs = bench.runs().min(7);
    point.cost(
        "openclaw nodes list --json",
        "ms",
        commands::ours(runs, &fleet.gateway.home, &arguments),
    );
    let (approvals, writes) = approvals(&fleet, &mut operator);
    point.cost("one approval", "ms", approvals);
    point.cost("one fsync'd write of the records", "ms", writes);
    let (ours, raw) = to_operators(&fleet, bench.runs().min(15));
    point.cost("one event to 500 operators", "ms", ours);
    point.cost("the same by a raw loop", "ms", raw);
    drop(peers);
    bench.report.point(point);
}

/// Time and bytes of one answer to `node.list`; it names all the nodes.
fn list(operator: &mut Peer, nodes: usize) -> (Duration, usize) {
    let begun = Instant::now();
    let id = operator.send("node.list", json!({}));
    let needle = format!("\"id\":\"{id}\"");
    loop {
        let Message::Text(text) = operator.socket.next() else {
            panic!("the connection ended")
        };
        if text.contains(&needle) {
            let took = begun.elapsed();
            let connected = text.matches("\"connected\":true").count();
            assert_eq!(connected, nodes, "all nodes are listed as connected");
            return (took, text.len());
        }
    }
}

/// Single approvals, and single writes of the file that grows with the number of nodes.
fn approvals(fleet: &Fleet, operator: &mut Peer) -> (Sample, Sample) {
    let (mut approvals, mut writes) = (Vec::new(), Vec::new());
    for number in 0..APPROVALS {
        let id = request(operator, &format!("more-{number}"));
        let begun = Instant::now();
        operator
            .call("node.pair.approve", json!({"requestId": id}))
            .unwrap();
        approvals.push(begun.elapsed());
        let records = fleet.gateway.home.read("nodes/paired.json");
        writes.push(durable_write(&fleet.gateway.home, records.as_bytes()));
    }
    (
        Sample::of_durations(approvals),
        Sample::of_durations(writes),
    )
}
