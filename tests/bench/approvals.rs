//! Approvals: many at once share the disk's time; single ones beside single writes.

use std::fs::File;
use std::io::Write;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::Bench;
use crate::report::{Row, Sample, milliseconds};
use crate::support::home::Home;
use crate::support::peer::Peer;
use crate::support::process::{Gateway, SECRET};

const CONCURRENT: usize = 1_000;
const OPERATORS: usize = 50;

/// 1,000 approvals asked at once beside single fsync'd writes of the same file.
pub fn measure(bench: &mut Bench) {
    let rounds = if bench.quick { 1 } else { 5 };
    let (mut took, mut writes, mut bytes) = (Vec::new(), Vec::new(), 0);
    for _ in 0..rounds {
        let gateway = Gateway::start();
        took.push(milliseconds(at_once(&gateway)));
        let paired = gateway.home.read("nodes/paired.json");
        bytes = paired.len();
        writes.extend((0..15).map(|_| durable_write(&gateway.home, paired.as_bytes())));
    }
    let write = Sample::of_durations(writes);
    let hundreds = (CONCURRENT / 100) as f64;
    let budget = 10.0 * hundreds;
    let in_writes = Sample::of(took.iter().map(|took| took / write.median()));
    let row = Row::new("1,000 concurrent approvals by one fsync'd write", "", in_writes)
        .limited(budget, &format!("≤ {budget:.0}: 10 × one write per 100"))
        .note(&format!(
            "{}; one write of {} KB: {}",
            Sample::of(took).text("ms"),
            bytes / 1000,
            write.text("ms")
        ))
        .command("node.pair.approve 20 times by each of 50 operators; write, fsync, rename, fsync of the directory");
    bench.report.row(row);
}

/// Asks 1,000 approvals at once; how long until the last was acknowledged.
fn at_once(gateway: &Gateway) -> Duration {
    let operator = |_| Peer::operator(gateway.address, SECRET);
    let mut operators: Vec<Peer> = (0..OPERATORS).map(operator).collect();
    let each = CONCURRENT / OPERATORS;
    let requests: Vec<Vec<Value>> = operators
        .iter_mut()
        .enumerate()
        .map(|(index, operator)| {
            let ask = |n| request(operator, &format!("n{index}-{n}"));
            (0..each).map(ask).collect()
        })
        .collect();
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for (operator, requests) in operators.iter_mut().zip(&requests) {
            scope.spawn(move || {
                let ask = |id| operator.send("node.pair.approve", json!({"requestId": id}));
                let asked: Vec<String> = requests.iter().map(ask).collect();
                for id in asked {
                    operator.answer(&id).unwrap();
                }
            });
        }
    });
    begun.elapsed()
}

/// Asks for a node with this id; the id of the request.
pub fn request(operator: &mut Peer, node: &str) -> Value {
    let asked = json!({"nodeId": node, "platform": "linux"});
    operator.call("node.pair.request", asked).unwrap()["request"]["requestId"].clone()
}

/// Temporary file, fsync, rename, fsync of the directory.
pub fn durable_write(home: &Home, bytes: &[u8]) -> Duration {
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
