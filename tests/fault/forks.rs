//! A node host whose system gives it no further thread or process: whoever asks is told so, at whatever step of
//! a run it is, nothing is left behind, the node stays, and it runs commands again when it may.

use serde_json::{Value, json};

use super::exhaustion::{as_nobody, count, limit};
use super::ledger::operator;
use super::report;
use crate::support::home::Home;
use crate::support::peer::Peer;
use crate::support::process::{Gateway, Running, SECRET};
use crate::support::wait_for;

/// More than a node host has and needs.
const THREADS: u64 = 64;

/// Threads and processes that one run takes: one that waits, the command, and one that watches it.
const STEPS: u64 = 3;

/// Looks in a row at a host at rest.
const RESTS: usize = 50;

/// Processes that a process has started and that are there.
fn children(pid: u32) -> usize {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let stats = processes.filter_map(|process| {
        // One that ends while it is looked at is none.
        std::fs::read_to_string(process.path().join("stat")).ok()
    });
    let parent = |stat: &String| {
        let after_name = stat.rsplit(')').next()?;
        after_name.split_whitespace().nth(1)?.parse::<u32>().ok()
    };
    stats.filter(|stat| parent(stat) == Some(pid)).count()
}

/// Threads of a host that is at rest.
fn threads_at_rest(node: &Running) -> u64 {
    let (mut looks, mut known) = (0, 0);
    wait_for("the host to be at rest", || {
        let now = count(node.pid(), "task") + children(node.pid());
        looks = if now == known { looks + 1 } else { 0 };
        known = now;
        (looks == RESTS && children(node.pid()) == 0).then_some(known as u64)
    })
}

fn echo(owner: &mut Peer, node: &Value, key: &str) -> Result<Value, Value> {
    let asked = owner.send(
        "node.invoke",
        json!({"nodeId": node, "command": "system.run", "timeoutMs": 20_000, "idempotencyKey": key,
            "params": {"command": ["/bin/echo", "hi"]}}),
    );
    owner.answer(&asked)
}

/// Whether a node says that it cannot even begin, and that this passes.
fn is_busy(answer: &Result<Value, Value>) -> bool {
    answer.as_ref().is_err_and(|error| {
        let said = error["message"].as_str().unwrap_or_default();
        error["code"] == "UNAVAILABLE"
            && said.contains("the system gives no further thread; retry later")
    })
}

fn start(gateway: &Gateway, home: &Home) -> Running {
    home.write(
        "exec-approvals.json",
        br#"{"version":1,"defaults":{"security":"full","ask":"off"}}"#,
    );
    let mut line = as_nobody(home, 54_322, THREADS);
    line.env("OPENCLAW_GATEWAY_TOKEN", SECRET)
        .args(["node", "run", "--host", "127.0.0.1", "--port"])
        .arg(gateway.address.port().to_string());
    Running::start(line)
}

#[test]
fn a_node_that_cannot_start_processes_says_so_and_goes_on() {
    if !rustix::process::geteuid().is_root() {
        eprintln!(
            "SKIPPED a_node_that_cannot_start_processes_says_so_and_goes_on: limits of another user need root"
        );
        return;
    }
    // Not through a control group: those of a machine belong to who runs it. Root itself has no such limit.
    let (gateway, home) = (Gateway::start(), Home::new());
    let mut owner = operator(gateway.address).unwrap();
    let mut node = start(&gateway, &home);
    let request = owner.event("node.pair.requested")["payload"].clone();
    owner
        .call(
            "node.pair.approve",
            json!({"requestId": request["requestId"]}),
        )
        .unwrap();
    let id = &request["nodeId"];
    wait_for("a command to run", || {
        echo(&mut owner, id, "first")
            .ok()
            .filter(|ran| ran["payload"]["stdout"] == "hi\n")
    });
    for room in 0..STEPS {
        let rest = threads_at_rest(&node);
        limit(node.pid(), "nproc", rest + room);
        let answer = echo(&mut owner, id, &format!("room-{room}"));
        match room {
            0 => assert!(is_busy(&answer), "{answer:?}"),
            _ => assert_eq!(
                answer.unwrap()["payload"]["error"],
                "spawn /bin/echo EAGAIN",
                "room for {room}"
            ),
        }
        limit(node.pid(), "nproc", THREADS);
        assert_eq!(threads_at_rest(&node), rest, "nothing is left behind");
    }
    let ran = echo(&mut owner, id, "last").unwrap();
    assert_eq!(ran["payload"]["stdout"], "hi\n");
    assert!(node.alive());
    let sessions = node.output().matches("node host connected").count();
    assert_eq!(sessions, 1, "{}", node.output());
    report::row(
        "a node host without processes",
        &format!(
            "as another user, room for 0 to {} more: runs refused in words, then one runs",
            STEPS - 1
        ),
        STEPS as usize,
        0,
    );
}
