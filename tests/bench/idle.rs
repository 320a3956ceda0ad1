//! What an idle gateway does: it wakes for its ticks and writes nothing.

use std::time::Duration;

use crate::Bench;
use crate::fleet::Fleet;
use crate::report::Row;
use crate::support::counters::{wake_ups, written_bytes};
use crate::support::peer::Peer;

/// Behind this, what was coalesced at the last connect is saved.
const SETTLING: Duration = Duration::from_secs(70);

pub fn measure(bench: &mut Bench) {
    // Without nodes there is nothing that waits to be saved.
    let (nodes, watched) = match bench.quick {
        true => (1, Duration::from_secs(20)),
        false => (10, Duration::from_secs(60)),
    };
    let fleet = Fleet::paired(nodes, false);
    let mut peers = fleet.connect();
    let pid = fleet.gateway.process.pid();
    std::thread::sleep(if bench.quick {
        Duration::from_secs(2)
    } else {
        SETTLING
    });
    let ticks = |peers: &mut [Peer]| {
        let peer = peers.first_mut().unwrap();
        peer.events_until_now("tick").len() as u64
    };
    ticks(&mut peers);
    // So that who answered that sleeps again.
    std::thread::sleep(Duration::from_millis(500));
    let (slept, written) = (wake_ups(pid), written_bytes(pid));
    std::thread::sleep(watched);
    let (slept, written) = (wake_ups(pid) - slept, written_bytes(pid) - written);
    // A tick wakes the timer, which writes for every connection.
    let ticks = ticks(&mut peers);
    let seconds = watched.as_secs();
    let row = Row::new(
        "wake-ups of an idle gateway besides ticks",
        "",
        slept.saturating_sub(ticks) as f64,
    )
    .limited(0.0, "0")
    .note(&format!(
        "in {seconds} s with {nodes} connected nodes: {slept} wake-ups, {ticks} ticks"
    ))
    .command("voluntary_ctxt_switches of /proc/PID/task/*/status");
    bench.report.row(row);
    if bench.quick {
        let row = Row::missing(
            "bytes that an idle gateway writes",
            "the last connect is saved within a minute",
        );
        bench.report.row(row);
        return;
    }
    let row = Row::new("bytes that an idle gateway writes", "B", written as f64)
        .limited(0.0, "0 B")
        .note(&format!("in {seconds} s"))
        .command("write_bytes of /proc/PID/io");
    bench.report.row(row);
}
