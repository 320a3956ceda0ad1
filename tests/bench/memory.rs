//! Resident memory: idle, per connected node, and of the node host.

use std::path::Path;

use crate::Bench;
use crate::fleet::Fleet;
use crate::report::{Row, Sample};
use crate::support::counters::{resident_kib, status};
use crate::support::home::Home;
use crate::support::process::{Gateway, Running, SECRET, command, finish, free_port, program};
use crate::support::wait_for;

/// Times that an idle process is started for its memory.
const STARTS: usize = 5;

pub fn megabytes(pid: u32) -> f64 {
    resident_kib(pid) as f64 / 1024.0
}

pub fn gateway(bench: &mut Bench) {
    let started = |_| {
        let gateway = Gateway::start();
        let pid = gateway.process.pid();
        let own = status(pid, "RssAnon:") as f64 / 1024.0;
        (megabytes(pid), own)
    };
    let (whole, own): (Vec<f64>, Vec<f64>) = (0..STARTS).map(started).unzip();
    let row = Row::new(
        "idle gateway RSS, without discovery",
        "MB",
        Sample::of(whole),
    )
    .at_most(5.0)
    .reference(bench.other.gateway().map(|gateway| gateway.idle_mb))
    .note(&format!(
        "{:.1} MB are its own; the rest are pages of the program and of libc, which the system maps 16 at a time and shares among processes; the reference: without discovery and plugins",
        Sample::of(own).median()
    ))
    .command("VmRSS of /proc/PID/status, OPENCLAW_DISABLE_BONJOUR=1 openclaw gateway run");
    bench.report.row(row);
}

/// A network of its own with one other end, so that the beacon goes nowhere else.
const ALONE: &str = "ip link set lo up && ip link add eth0 type veth peer name other && \
    ip addr add 10.0.0.1/24 dev eth0 && ip link set eth0 up && ip link set other up && exec \"$@\"";

/// An idle gateway that advertises itself.
pub fn advertising(bench: &mut Bench) {
    const WHAT: &str = "idle gateway RSS, advertising itself";
    let line = |home: &Home| {
        let isolated = ["--map-root-user", "--net", "--", "sh", "-c", ALONE, "sh"];
        let mut line = command(Path::new("unshare"), home);
        line.env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
            .args(isolated);
        line
    };
    let home = Home::new();
    let mut tried = line(&home);
    tried.arg("true");
    if finish(tried).code != 0 {
        bench
            .report
            .row(Row::missing(WHAT, "no network namespaces here"));
        return;
    }
    let started = || {
        let home = Home::with_gateway(free_port(), SECRET);
        let mut start = line(&home);
        start
            .env("OPENCLAW_DISABLE_BONJOUR", "0")
            .arg(program())
            .args(["gateway", "run"]);
        let mut gateway = Running::start(start);
        gateway.wait_for_output("[discovery] advertising as");
        megabytes(gateway.pid())
    };
    let row = Row::new(WHAT, "MB", Sample::of((0..STARTS).map(|_| started())))
        .at_most(5.0)
        .command("VmRSS of /proc/PID/status, openclaw gateway run in a network namespace");
    bench.report.row(row);
}

pub fn plain(bench: &mut Bench) {
    per_node(bench, false, "RSS per connected, paired, idle node", 24.0);
}

pub fn tls(bench: &mut Bench) {
    per_node(
        bench,
        true,
        "RSS per connected, paired, idle node, TLS",
        50.0,
    );
}

fn per_node(bench: &mut Bench, through_tls: bool, what: &str, budget: f64) {
    let nodes = if bench.quick { 200 } else { 1_000 };
    let fleet = Fleet::paired(nodes, through_tls);
    let pid = fleet.gateway.process.pid();
    let records = resident_kib(pid);
    let peers = fleet.connect();
    let connected = resident_kib(pid);
    drop(peers);
    let each = (connected - records) as f64 / nodes as f64;
    let row = Row::new(what, "KiB", each)
        .at_most(budget)
        .note(&format!(
            "{nodes} nodes: {:.1} MB with their records, {:.1} MB with all connected",
            records as f64 / 1024.0,
            connected as f64 / 1024.0
        ))
        .command("VmRSS after they connected less VmRSS before, by their number; MALLOC_ARENA_MAX=2, as in the units");
    bench.report.row(row);
}

pub fn node_host(bench: &mut Bench) {
    let gateway = Gateway::start();
    let connected = |gateway: &Gateway| {
        let status = gateway.cli(&["nodes", "status", "--connected", "--json"]);
        status.json()["nodes"].get(0).is_some()
    };
    let started = || {
        let home = Home::new();
        let mut command = command(&program(), &home);
        let port = gateway.address.port().to_string();
        command
            .env("OPENCLAW_GATEWAY_TOKEN", SECRET)
            .args(["node", "run", "--port", &port]);
        let node = Running::start(command);
        wait_for("the node host", || connected(&gateway).then_some(()));
        let idle = megabytes(node.pid());
        drop(node);
        wait_for("the node host to be gone", || {
            (!connected(&gateway)).then_some(())
        });
        idle
    };
    let ours = Sample::of((0..STARTS).map(|_| started()));
    let port = gateway.address.port();
    let reference = bench.other.node_host_mb(port, || connected(&gateway));
    let row = Row::new("node host idle RSS", "MB", ours)
        .at_most(5.0)
        .reference(reference)
        .command("VmRSS of /proc/PID/status, openclaw node run --port PORT");
    bench.report.row(row);
}
