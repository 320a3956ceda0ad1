//! What discovery costs a gateway that nobody asks.

use std::path::Path;
use std::time::Duration;

use crate::lan::{Gateway, Lan};

const WATCHED: Duration = Duration::from_secs(40);

/// Ticks of the gateway in that time, two threads each, and as much again where a wake-up is split.
const TICKS: u64 = 2 * 2 * 2;

/// Wake-ups by what a network says by itself: neighbours and routers are few in a namespace.
const NETWORK: u64 = 10;

fn context_switches(pid: u32) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let of = |path: &Path| -> u64 {
        let status = std::fs::read_to_string(path.join("status")).unwrap_or_default();
        let lines = status
            .lines()
            .filter(|line| line.contains("voluntary_ctxt_switches"));
        lines
            .filter_map(|line| line.rsplit('\t').next()?.trim().parse::<u64>().ok())
            .sum()
    };
    tasks.map(|task| of(&task.unwrap().path())).sum()
}

#[test]
fn a_beacon_that_nobody_asks_for_wakes_nobody() {
    let lan = Lan::new();
    let host = lan.host();
    lan.plug(&host, "eth0", 0, &["10.70.0.1/24", "fd70::1/64"]);
    let gateway = Gateway::start(&host, "pi");
    gateway.wait_for("advertising");
    // Behind the last announcement and the last look at the interfaces.
    std::thread::sleep(Duration::from_secs(10));
    let pid = gateway.process.pid();
    let before = context_switches(pid);
    std::thread::sleep(WATCHED);
    let woken = context_switches(pid) - before;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let memory = status
        .lines()
        .find(|line| line.starts_with("VmRSS"))
        .unwrap();
    println!("{woken} context switches of all threads in {WATCHED:?}; {memory}");
    assert!(
        woken <= TICKS + NETWORK,
        "{woken} context switches are more than ticks"
    );
}
