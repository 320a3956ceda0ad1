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
use crate::support::wait_for;

const CONCURRENT: usize = 1_000;
const OPERATORS: usize = 50;

/// How the pairing files were saved, as `/metrics` tells it.
struct Saves {
    count: f64,
    milliseconds: f64,
}

impl Saves {
    fn so_far(gateway: &Gateway) -> Saves {
        let page = gateway.get("/metrics");
        let value = |name: &str| {
            let line = page.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_else(|| panic!("{name}: {page}"))
                .trim()
                .parse::<f64>()
                .unwrap()
        };
        Saves {
            count: value("openclaw_save_duration_seconds_count "),
            milliseconds: 1e3 * value("openclaw_save_duration_seconds_sum "),
        }
    }

    fn since(self, before: &Saves) -> Saves {
        Saves {
            count: self.count - before.count,
            milliseconds: self.milliseconds - before.milliseconds,
        }
    }
}

/// 1,000 approvals asked at once beside single fsync'd writes of the same file.
pub fn measure(bench: &mut Bench) {
    let rounds = if bench.quick { 1 } else { 5 };
    let (mut took, mut saves, mut writes, mut bytes) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for _ in 0..rounds {
        let gateway = Gateway::start();
        let on = ["config", "set", "gateway.metrics.enabled", "true"];
        gateway.cli(&on).success();
        wait_for("the figures", || {
            gateway.get("/metrics").contains(" 200 ").then_some(())
        });
        let (all, saved) = at_once(&gateway);
        took.push(milliseconds(all));
        saves.push(saved);
        let paired = gateway.home.read("nodes/paired.json");
        bytes = paired.len();
        writes.extend((0..15).map(|_| durable_write(&gateway.home, paired.as_bytes())));
    }
    let write = Sample::of_durations(writes);
    let budget = 10.0 * (CONCURRENT / 100) as f64;
    let words = format!("≤ {budget:.0}: 10 × one write per 100");
    let counts = Sample::of(saves.iter().map(|saves| saves.count));
    let on_disk = saves
        .iter()
        .map(|saves| saves.milliseconds / write.median());
    let row = Row::new(
        "the saves of 1,000 concurrent approvals by one fsync'd write",
        "",
        Sample::of(on_disk),
    )
    .limited(budget, &words)
    .note(&format!(
        "{} of three files each; one write of {} KB: {}",
        counts.text("saves"),
        bytes / 1000,
        write.text("ms")
    ))
    .command(
        "openclaw_save_duration_seconds of /metrics; write, fsync, rename, fsync of the directory",
    );
    bench.report.row(row);
    let in_writes = took.iter().map(|took| took / write.median());
    let row = Row::new("1,000 concurrent approvals by one fsync'd write", "", Sample::of(in_writes))
        .limited(budget, &words)
        .note(&format!(
            "{}: beside the saves, all {OPERATORS} operators are told of each, {} events; where a write is fast, that is most of it",
            Sample::of(took).text("ms"),
            CONCURRENT * OPERATORS
        ))
        .command("node.pair.approve 20 times by each of 50 operators");
    bench.report.row(row);
}

/// Asks 1,000 approvals at once; how long until the last was acknowledged, and what was saved for them.
fn at_once(gateway: &Gateway) -> (Duration, Saves) {
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
    let before = Saves::so_far(gateway);
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
    let took = begun.elapsed();
    (took, Saves::so_far(gateway).since(&before))
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
