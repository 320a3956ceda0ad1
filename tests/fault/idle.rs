//! An idle gateway with 100 nodes over a minute: it wakes for its ticks only and writes nothing.

use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::support::device::Device;
use crate::support::peer::Peer;
use crate::support::process::{Gateway, SECRET};
use crate::support::wait_for;

const NODES: u64 = 100;
const WATCHED: Duration = Duration::from_secs(60);
/// Two ticks of 30 s fall into a minute; a third may at its edges.
const TICKS: u64 = 3;

/// Context switches of all threads of a process so far.
fn context_switches(pid: u32) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    tasks
        .filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("status")).ok())
        .flat_map(|status| {
            status
                .lines()
                .filter(|line| line.contains("ctxt_switches"))
                .map(|line| line.rsplit('\t').next().unwrap().parse::<u64>().unwrap())
                .collect::<Vec<_>>()
        })
        .sum()
}

/// Bytes handed to write calls that reached a file system.
fn bytes_written(pid: u32) -> u64 {
    let io = std::fs::read_to_string(format!("/proc/{pid}/io")).unwrap();
    io.lines()
        .find_map(|line| line.strip_prefix("write_bytes: "))
        .unwrap()
        .parse()
        .unwrap()
}

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
    let (switches, written) = (context_switches(pid), bytes_written(pid));
    std::thread::sleep(WATCHED);
    let (woken, wrote) = (
        context_switches(pid) - switches,
        bytes_written(pid) - written,
    );
    println!(
        "{woken} context switches of all threads in {WATCHED:?} with {NODES} nodes; {wrote} bytes written"
    );
    // A tick wakes the timer once and each connection once; scheduling may split a wake-up in two.
    assert!(
        woken <= TICKS * (NODES + 2) * 2,
        "{woken} context switches are more than ticks"
    );
    assert_eq!(wrote, 0, "an idle gateway writes nothing");
    assert_eq!(newest(&gateway.home.state()), settled, "no file changed");
    drop(nodes);
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
