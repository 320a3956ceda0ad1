//! Resident memory: idle, per connected node, and of the node host.

use std::path::Path;

use serde_json::json;

use crate::report::Report;
use crate::support::device::Device;
use crate::support::home::Home;
use crate::support::peer::{ALL_SCOPES, Peer, node_params, operator_params};
use crate::support::process::{Gateway, Running, SECRET, command, finish, free_port, program};
use crate::support::tls;
use crate::support::wait_for;
use crate::support::websocket::WebSocket;

const NODES: usize = 1_000;

pub fn measure(report: &mut Report) {
    let plain = Gateway::start();
    let idle = resident_kib(plain.process.pid());
    report.row(
        "idle gateway RSS",
        "≤ 5 MB",
        format!("{:.2} MB", idle / 1024.0),
        idle <= 5.0 * 1024.0,
    );
    found(report);
    per_node(
        report,
        plain,
        "RSS per connected, paired, idle node at 1,000",
        24.0,
    );
    per_node(
        report,
        Gateway::start_tls(),
        "RSS per connected, paired, idle node at 1,000, TLS",
        50.0,
    );
    node_host(report);
}

/// A network of its own with one other end, so that the beacon goes nowhere else.
const ALONE: &str = "ip link set lo up && ip link add eth0 type veth peer name other && \
    ip addr add 10.0.0.1/24 dev eth0 && ip link set eth0 up && ip link set other up && exec \"$@\"";

/// An idle gateway that advertises itself.
fn found(report: &mut Report) {
    const WHAT: &str = "idle gateway RSS, advertising itself";
    let isolated = ["--map-root-user", "--net", "--", "sh", "-c", ALONE, "sh"];
    let line = |home: &Home| {
        let mut line = command(Path::new("unshare"), home);
        line.env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
            .args(isolated);
        line
    };
    let home = Home::with_gateway(free_port(), SECRET);
    let mut tried = line(&home);
    tried.arg("true");
    if finish(tried).code != 0 {
        report.row(
            WHAT,
            "≤ 5 MB",
            "not measured: no network namespaces here".to_owned(),
            true,
        );
        return;
    }
    let mut start = line(&home);
    start
        .env("OPENCLAW_DISABLE_BONJOUR", "0")
        .arg(program())
        .args(["gateway", "run"]);
    let mut gateway = Running::start(start);
    gateway.wait_for_output("[discovery] advertising as");
    let idle = resident_kib(gateway.pid());
    report.row(
        WHAT,
        "≤ 5 MB",
        format!("{:.2} MB", idle / 1024.0),
        idle <= 5.0 * 1024.0,
    );
}

/// What a connection costs in `gateway`, in KiB, against `budget`.
fn per_node(report: &mut Report, mut gateway: Gateway, what: &str, budget: f64) {
    let devices: Vec<Device> = (0..NODES).map(|_| Device::new()).collect();
    let peers = connect_all(&gateway, &devices);
    let params = operator_params(SECRET, &ALL_SCOPES);
    let mut operator = Peer::handshake(socket(&gateway), params, None).unwrap();
    approve_all(&mut operator);
    // The tree of records grows with pairing; what a connection costs is what a fresh process with the
    // same records does not need.
    let full = resident_kib(gateway.process.pid());
    drop((peers, operator));
    gateway.crash_and_restart();
    let pid = gateway.process.pid();
    let records = resident_kib(pid);
    let peers = connect_all(&gateway, &devices);
    let connected = resident_kib(pid);
    let each = (connected - records) / NODES as f64;
    report.row(
        what,
        &format!("≤ {budget:.0} KiB"),
        format!(
            "{each:.1} KiB (whole gateway {:.1} MB, after pairing them all {:.1} MB)",
            connected / 1024.0,
            full / 1024.0
        ),
        each <= budget,
    );
    drop(peers);
}

fn connect_all(gateway: &Gateway, devices: &[Device]) -> Vec<Peer> {
    let join = |device| {
        let params = node_params(SECRET, &["system.which"]);
        Peer::handshake(socket(gateway), params, Some(device)).unwrap()
    };
    devices.iter().map(join).collect()
}

/// A WebSocket to the gateway, through TLS where that is what it speaks.
fn socket(gateway: &Gateway) -> WebSocket {
    if gateway.home.read(tls::CERTIFICATE).is_empty() {
        WebSocket::connect(gateway.address)
    } else {
        tls::socket(gateway)
    }
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
