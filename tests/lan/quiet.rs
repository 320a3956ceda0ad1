//! What discovery costs a gateway that nobody asks.

use std::time::Duration;

use crate::lan::{Gateway, Lan};
use crate::support::counters::{resident_kib, wake_ups};

const WATCHED: Duration = Duration::from_secs(40);

/// Ticks of the gateway in that time, two threads each, and as much again where a wake-up is split.
const TICKS: u64 = 2 * 2 * 2;

/// Wake-ups by what a network says by itself: neighbours and routers are few in a namespace.
const NETWORK: u64 = 10;

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
    let before = wake_ups(pid);
    std::thread::sleep(WATCHED);
    let woken = wake_ups(pid) - before;
    let memory = resident_kib(pid);
    println!("{woken} wake-ups of all threads in {WATCHED:?}; {memory} KiB resident");
    assert!(
        woken <= TICKS + NETWORK,
        "{woken} wake-ups are more than ticks"
    );
}
