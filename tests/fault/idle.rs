//! An idle gateway with 100 nodes over a minute: it wakes for its ticks only and writes nothing.

use std::path::Path;
use std::time::{Duration, SystemTime};

use super::report;
use crate::support::counters::{wake_ups, written_bytes};
use crate::support::device::Device;
use crate::support::peer::Peer;
use crate::support::process::{Gateway, SECRET};
use crate::support::wait_for;

const NODES: u64 = 100;
const WATCHED: Duration = Duration::from_secs(60);
/// Two ticks of 30 s fall into a minute; a third may at its edges.
const TICKS: u64 = 3;

/// The newest modification below a directory.
fn newest(directory: &Path) -> SystemTime {
    let mut newest = SystemTime::UNIX_EPOCH;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let meta = std::fs::symlink_metadata(&path).unwrap();
        newest = newest.max(meta.modified().unwrap());
        if meta.is_dir() {
            newest = newest.max(self::newest(&path));
        }
    }
    newest
}

#[test]
fn an_idle_gateway_wakes_for_its_ticks_and_writes_nothing() {
    let gateway = Gateway::start();
    let nodes: Vec<Peer> = (0..NODES)
        .map(|_| Peer::node(gateway.address, SECRET, &Device::new(), &["system.which"]).unwrap())
        .collect();
    let pid = gateway.process.pid();
    // Coalesced last-seen times are due within a minute of the last connect: let them pass first.
    let settled = wait_for_quiet(&gateway);
    let (slept, written) = (wake_ups(pid), written_bytes(pid));
    std::thread::sleep(WATCHED);
    let (woken, wrote) = (wake_ups(pid) - slept, written_bytes(pid) - written);
    println!(
        "{woken} wake-ups of all threads in {WATCHED:?} with {NODES} nodes; {wrote} bytes written"
    );
    // A tick wakes the timer once and each connection once; scheduling may split a wake-up in two.
    assert!(
        woken <= TICKS * (NODES + 2) * 2,
        "{woken} wake-ups are more than ticks"
    );
    assert_eq!(wrote, 0, "an idle gateway writes nothing");
    assert_eq!(newest(&gateway.home.state()), settled, "no file changed");
    drop(nodes);
    let tried = format!("{NODES} nodes, {WATCHED:?}: {woken} wake-ups, {wrote} bytes written");
    report::row("nothing: an idle gateway", &tried, 0, 0);
}

/// Waits until no file below the state directory has changed for a while.
fn wait_for_quiet(gateway: &Gateway) -> SystemTime {
    let deadline = std::time::Instant::now() + Duration::from_secs(150);
    while std::time::Instant::now() < deadline {
        let newest = newest(&gateway.home.state());
        if newest.elapsed().unwrap_or_default() > Duration::from_secs(65) {
            return newest;
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    wait_for("a quiet state directory", || None)
}
