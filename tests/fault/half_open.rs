//! Peers that vanish without a word, in every phase of a connection: the gateway lets go of each within its
//! deadlines, answers who waited for them, and serves everybody else meanwhile.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::report;
use crate::support::home::Home;
use crate::support::network::{GATEWAY, Network, Place};
use crate::support::process::{Running, SECRET, finish, free_port};
use crate::support::{wait_for, wait_within};

/// What a peer says before it is silent, for printf.
const PHASES: [(&str, &str); 4] = [
    ("accepted", ""),
    ("in the head", r"GET / HTTP/1.1\r\nHost: x\r\nUpgr"),
    (
        "upgraded, before connect",
        r"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    ),
    (
        "in its first frame",
        r"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n\201\376\100\000abcd",
    ),
];

/// What a TLS client says first: a record that is never complete.
const IN_TLS: &str = r"\026\003\001\002\000\001\000\001\374";

/// Two tick intervals and what a busy machine adds, for those that were admitted.
const LET_GO_WITHIN: Duration = Duration::from_secs(100);

/// Sockets of a process; its files come and go for other reasons.
pub fn sockets(pid: u32) -> usize {
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let links = descriptors.flatten().filter_map(|descriptor| {
        // One that is closed while it is looked at is none.
        std::fs::read_link(descriptor.path()).ok()
    });
    links
        .filter(|link| link.to_string_lossy().starts_with("socket:"))
        .count()
}

fn gateway(network: &Network, more: &str) -> (Home, u16, Running) {
    let (home, port) = (Home::new(), free_port());
    home.write_config(&format!(
        r#"{{ gateway: {{ mode: "local", port: {port}, bind: "lan", {more} auth: {{ mode: "token", token: "{SECRET}" }} }} }}"#
    ));
    let mut start = network.command(Place::Gateway, &home);
    start.args(["gateway", "run"]);
    let mut gateway = Running::start(start);
    gateway.wait_for_output("[gateway] ready");
    (home, port, gateway)
}

/// A shell on the node's machine that connects, says this and holds the connection.
fn silent(network: &Network, home: &Home, port: u16, words: &str) -> Running {
    let mut line: Command = network.command_of(Place::Node, home, Path::new("/bin/bash"));
    let script = format!(
        "exec 3<>/dev/tcp/{GATEWAY}/{port} && printf '{words}' >&3 && echo there && sleep 10000"
    );
    line.args(["-c", &script]);
    let mut shell = Running::start_group(line);
    shell.wait_for_output("there");
    shell
}

/// A node host on the node's machine that may run commands, and its id.
fn runner(network: &Network, home: &Home, elsewhere: &Home, port: u16) -> (Running, String) {
    let cli = |arguments: &[&str]| {
        let outcome = network.openclaw(Place::Gateway, home, arguments);
        outcome.success().json()
    };
    elsewhere.write(
        "exec-approvals.json",
        br#"{"version":1,"defaults":{"security":"full","ask":"off"}}"#,
    );
    let node = network.node_host(elsewhere, port, SECRET);
    let id = wait_for("the node to be approved", || {
        for row in cli(&["nodes", "pending", "--json"]).as_array().unwrap() {
            let id = row["requestId"].as_str().unwrap();
            cli(&["nodes", "approve", id, "--json"]);
        }
        let status = cli(&["nodes", "status", "--connected", "--json"]);
        let row = &status["nodes"][0];
        let ready = row["commands"].to_string().contains("system.run");
        ready.then(|| row["nodeId"].as_str().unwrap().to_owned())
    });
    (node, id)
}

/// A call that waits for a node.
fn call(network: &Network, home: &Home, params: &Value) -> Running {
    let mut call = network.command(Place::Gateway, home);
    call.args(["gateway", "call", "node.invoke", "--timeout", "300000"])
        .args(["--json", "--params", &params.to_string()]);
    Running::start(call)
}

#[test]
fn a_peer_that_vanishes_in_any_phase_is_let_go() {
    let test = "a_peer_that_vanishes_in_any_phase_is_let_go";
    let Some(network) = Network::or_skip(test) else {
        return;
    };
    let elsewhere = Home::new();
    let (home, port, plain) = gateway(&network, "");
    let (_tls_home, tls_port, tls) = gateway(&network, "tls: { enabled: true },");
    let cli = |arguments: &[&str]| network.openclaw(Place::Gateway, &home, arguments);
    // The first commands of this machine are part of what it is like at rest.
    cli(&["nodes", "list", "--json"]).success();
    let rest = [sockets(plain.pid()), sockets(tls.pid())];
    let mut peers: Vec<Running> = PHASES
        .iter()
        .map(|(_, words)| silent(&network, &elsewhere, port, words))
        .collect();
    peers.push(silent(&network, &elsewhere, tls_port, IN_TLS));
    peers.push(silent(&network, &elsewhere, tls_port, ""));
    // Admitted ones: a node in the middle of a run, which is idle to the gateway.
    let (node, id) = runner(&network, &home, &elsewhere, port);
    let params = json!({"nodeId": id, "command": "system.run", "timeoutMs": 600_000, "idempotencyKey": "k",
        "params": {"command": ["/bin/sleep", "500"], "timeoutMs": 600_000}});
    let mut call = call(&network, &home, &params);
    wait_for("the run", || {
        let listed = cli(&["gateway", "limits", "list", "--json"])
            .success()
            .json();
        let budgets = listed["budgets"].as_array().unwrap();
        let open = budgets.iter().find(|row| row["name"] == "open-invokes");
        (open.unwrap()["used"] == 1).then_some(())
    });
    network.mute();
    let muted = Instant::now();
    wait_within(LET_GO_WITHIN, "the invoke to be answered", || {
        (!call.alive()).then_some(())
    });
    let answered = muted.elapsed();
    assert_eq!(call.exit_code(), 1, "{}", call.output());
    wait_within(LET_GO_WITHIN, "every peer to be let go", || {
        cli(&["nodes", "list", "--json"]).success();
        (sockets(plain.pid()) <= rest[0] && sockets(tls.pid()) <= rest[1]).then_some(())
    });
    let let_go = muted.elapsed();
    drop((node, peers));
    report::row(
        "half-open peers",
        &format!(
            "{} phases, TLS, an invoke: answered after {answered:.0?}, all let go after {let_go:.0?}",
            PHASES.len() + 3
        ),
        1,
        0,
    );
}

/// Invokes of so many bytes: far more than the sockets of both ends take.
const WRITTEN: (usize, usize) = (40, 100_000);

#[test]
fn a_peer_that_vanishes_in_the_middle_of_a_slow_write_is_let_go() {
    let test = "a_peer_that_vanishes_in_the_middle_of_a_slow_write_is_let_go";
    let Some(network) = Network::or_skip(test) else {
        return;
    };
    let elsewhere = Home::new();
    let metrics = "metrics: { enabled: true },";
    let (home, port, gateway) = gateway(&network, metrics);
    let cli = |arguments: &[&str]| network.openclaw(Place::Gateway, &home, arguments);
    let queued = || {
        let mut line = network.command_of(Place::Gateway, &home, Path::new("/bin/bash"));
        let ask = format!(
            "exec 3<>/dev/tcp/127.0.0.1/{port} && printf 'GET /metrics HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n' >&3 && cat <&3"
        );
        line.args(["-c", &ask]);
        let page = finish(line).success().stdout;
        let figure = page
            .lines()
            .find_map(|line| line.strip_prefix("openclaw_queued_bytes "));
        figure
            .unwrap_or_else(|| panic!("{page}"))
            .parse::<usize>()
            .unwrap()
    };
    cli(&["nodes", "list", "--json"]).success();
    let rest = sockets(gateway.pid());
    let (node, id) = runner(&network, &home, &elsewhere, port);
    // It takes nothing any more, as its window says; what it was sent before is acknowledged.
    node.signal("STOP");
    let (count, bytes) = WRITTEN;
    let mut calls: Vec<Running> = (0..count)
        .map(|number| {
            let params = json!({"nodeId": id, "command": "system.which", "timeoutMs": 600_000,
                "params": {"bins": ["x".repeat(bytes)]}, "idempotencyKey": number.to_string()});
            call(&network, &home, &params)
        })
        .collect();
    wait_for("the write to be stuck in its middle", || {
        let waiting = queued();
        (waiting > bytes && waiting < (count - 1) * bytes).then_some(())
    });
    network.mute();
    let muted = Instant::now();
    wait_within(LET_GO_WITHIN, "every invoke to be answered", || {
        calls.iter_mut().all(|call| !call.alive()).then_some(())
    });
    for call in &mut calls {
        assert_eq!(call.exit_code(), 1, "{}", call.output());
        assert!(
            call.output().contains("node disconnected"),
            "{}",
            call.output()
        );
    }
    wait_within(LET_GO_WITHIN, "the peer to be let go", || {
        cli(&["nodes", "list", "--json"]).success();
        (sockets(gateway.pid()) <= rest && queued() == 0).then_some(())
    });
    let let_go = muted.elapsed();
    drop(node);
    report::row(
        "half-open in a slow write",
        &format!(
            "a node gone with {count} invokes of 100 KB on their way: let go after {let_go:.0?}"
        ),
        count,
        0,
    );
}
