//! Resident memory: idle, per connected node, and of the node host.

use serde_json::json;

use crate::report::Report;
use crate::support::device::Device;
use crate::support::home::Home;
use crate::support::peer::Peer;
use crate::support::process::{Gateway, Running, SECRET, command, program};
use crate::support::wait_for;

const NODES: usize = 1_000;

pub fn measure(report: &mut Report) {
    let gateway = Gateway::start();
    let pid = gateway.process.pid();
    let idle = resident_kib(pid);
    report.row(
        "idle gateway RSS",
        "≤ 5 MB",
        format!("{:.2} MB", idle / 1024.0),
        idle <= 5.0 * 1024.0,
    );
    let nodes: Vec<(Device, Peer)> = (0..NODES).map(|_| join(&gateway)).collect();
    let mut operator = Peer::operator(gateway.address, SECRET);
    approve_all(&mut operator);
    // The tree of records grows with pairing; what a connection costs is what its end gives back
    // plus what a fresh process with the same records does not need.
    let full = resident_kib(pid);
    let (devices, peers): (Vec<Device>, Vec<Peer>) = nodes.into_iter().unzip();
    drop(peers);
    let mut gateway = gateway;
    gateway.crash_and_restart();
    let pid = gateway.process.pid();
    let records = resident_kib(pid);
    let peers: Vec<Peer> = devices
        .iter()
        .map(|device| Peer::node(gateway.address, SECRET, device, &["system.which"]).unwrap())
        .collect();
    let connected = resident_kib(pid);
    let each = (connected - records) / NODES as f64;
    report.row(
        "RSS per connected, paired, idle node at 1,000",
        "≤ 24 KiB",
        format!(
            "{each:.1} KiB (whole gateway {:.1} MB, after pairing them all {:.1} MB)",
            connected / 1024.0,
            full / 1024.0
        ),
        each <= 24.0,
    );
    drop(peers);
    node_host(report);
}

fn join(gateway: &Gateway) -> (Device, Peer) {
    let device = Device::new();
    let peer = Peer::node(gateway.address, SECRET, &device, &["system.which"]).unwrap();
    (device, peer)
}

fn approve_all(operator: &mut Peer) {
    let list = operator.call("node.pair.list", json!({})).unwrap();
    let ids: Vec<String> = list["pending"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| operator.send("node.pair.approve", json!({"requestId": row["requestId"]})))
        .collect();
    assert_eq!(ids.len(), NODES);
    for id in ids {
        operator.answer(&id).unwrap();
    }
}

fn node_host(report: &mut Report) {
    let gateway = Gateway::start();
    let home = Home::new();
    let mut command = command(&program(), &home);
    command.env("OPENCLAW_GATEWAY_TOKEN", SECRET).args([
        "node",
        "run",
        "--port",
        &gateway.address.port().to_string(),
    ]);
    let node = Running::start(command);
    wait_for("the node host", || {
        let status = gateway
            .cli(&["nodes", "status", "--connected", "--json"])
            .json();
        status["nodes"].get(0).map(|_| ())
    });
    let idle = resident_kib(node.pid());
    report.row(
        "node host idle RSS",
        "≤ 5 MB",
        format!("{:.2} MB", idle / 1024.0),
        idle <= 5.0 * 1024.0,
    );
}

/// VmRSS in KiB.
fn resident_kib(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
