//! `--watch` of nodes and devices with the built program: what is told, in which order, over restarts, and how it ends.

use serde_json::{Value, json};

use crate::support::device::Device;
use crate::support::home::Home;
use crate::support::peer::{Peer, cli_params};
use crate::support::process::{Gateway, Running, SECRET, command, program};
use crate::support::wait_for;

fn watch(home: &Home, arguments: &[&str]) -> Running {
    let mut command = command(&program(), home);
    command.args(arguments);
    Running::start(command)
}

/// The JSON lines that were printed so far.
fn lines(running: &Running) -> Vec<Value> {
    let output = running.output();
    let lines = output.lines().filter(|line| line.starts_with('{'));
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[track_caller]
fn event(running: &Running, name: &str, id: &str) -> Value {
    wait_for(&format!("{name} of {id}"), || {
        let mut found = lines(running).into_iter();
        found.find(|line| {
            line["event"] == name
                && [&line["nodeId"], &line["deviceId"]]
                    .iter()
                    .any(|found| **found == id)
        })
    })
}

fn join(gateway: &Gateway, device: &Device) -> Peer {
    Peer::node(gateway.address, SECRET, device, &["system.which"]).unwrap()
}

fn approve(gateway: &Gateway, device: &Device) {
    let pending = gateway
        .cli(&["nodes", "pending", "--json"])
        .success()
        .json();
    let mut waiting = pending.as_array().unwrap().iter();
    let request = waiting.find(|row| row["nodeId"] == device.id).unwrap()["requestId"].clone();
    gateway
        .cli(&["nodes", "approve", request.as_str().unwrap()])
        .success();
}

fn number(line: &Value) -> (String, u64) {
    let (boot, number) = line["id"].as_str().unwrap().rsplit_once('-').unwrap();
    (boot.to_owned(), number.parse().unwrap())
}

#[test]
fn a_nodes_life_is_told_with_growing_ids_and_can_be_resumed() {
    let gateway = Gateway::start();
    let node = Device::new();
    let mut all = watch(&gateway.home, &["nodes", "list", "--watch", "--json"]);
    all.wait_for_output("\"event\":\"snapshot\"");
    let peer = join(&gateway, &node);
    event(&all, "node.connected", &node.id);
    let requested = event(&all, "node.pair.requested", &node.id);
    approve(&gateway, &node);
    let paired = event(&all, "node.paired", &node.id);
    drop(peer);
    event(&all, "node.disconnected", &node.id);
    gateway.cli(&["devices", "remove", &node.id]).success();
    event(&all, "device.removed", &node.id);
    let told = lines(&all);
    assert_eq!(
        (&told[0]["event"], &told[0]["paired"]),
        (&json!("snapshot"), &json!([]))
    );
    let numbers: Vec<u64> = told.iter().map(|line| number(line).1).collect();
    assert!(
        numbers.windows(2).all(|pair| pair[0] < pair[1]),
        "{numbers:?}"
    );
    assert_eq!(requested["commands"], json!(["system.which"]));

    // Resumed behind the approval: what came after it, once, and no snapshot.
    let after = paired["id"].as_str().unwrap();
    let rest = watch(
        &gateway.home,
        &["nodes", "list", "--watch", "--json", "--after", after],
    );
    event(&rest, "device.removed", &node.id);
    let rest = lines(&rest);
    let behind = told.iter().position(|line| line["id"] == after).unwrap() + 1;
    assert_eq!(rest[..], told[behind..]);
    let lost = watch(
        &gateway.home,
        &[
            "nodes",
            "status",
            "--watch",
            "--json",
            "--after",
            "ffffffff-1",
        ],
    );
    let first = wait_for("a snapshot", || lines(&lost).into_iter().next());
    assert_eq!(
        (&first["event"], &first["missed"]),
        (&json!("snapshot"), &json!(true))
    );
    all.signal("INT");
    assert_eq!(all.exit_code(), 130);
}

#[test]
fn a_condition_ends_it_and_a_time_limit_does_so_with_an_error() {
    let gateway = Gateway::start();
    let node = Device::new();
    let until = |more: &[&str]| {
        watch(
            &gateway.home,
            &[&["nodes", "status", "--watch", "--json"], more].concat(),
        )
    };
    let mut connected = until(&["--until", "connected", "--node", &node.id]);
    let mut paired = until(&["--until", "paired", "--node", &node.id, "--timeout", "60s"]);
    connected.wait_for_output("snapshot");
    paired.wait_for_output("snapshot");
    let _peer = join(&gateway, &node);
    assert_eq!(connected.exit_code(), 0);
    let last = lines(&connected).pop().unwrap();
    assert_eq!(
        (&last["event"], &last["condition"]),
        (&json!("until"), &json!("connected"))
    );
    assert!(paired.alive());
    let mut waits = watch(
        &gateway.home,
        &["nodes", "pending", "--watch", "--until", "pending=0"],
    );
    waits.wait_for_output("snapshot  Pending: 1 ");
    approve(&gateway, &node);
    assert_eq!((paired.exit_code(), waits.exit_code()), (0, 0));
    waits.wait_for_output("until  pending=0");
    let mut never = until(&["--until", "connected>=2", "--timeout", "300"]);
    assert_eq!(never.exit_code(), 1);
    assert_eq!(
        lines(&never).pop().unwrap()["error"]["code"],
        "GATEWAY_TIMEOUT"
    );
    for (arguments, said) in [
        (
            &["nodes", "list", "--until", "connected"][..],
            "error: --until needs --watch",
        ),
        (
            &["devices", "list", "--device", "abcdef"],
            "error: --device needs --watch",
        ),
        (
            &["nodes", "list", "--watch", "--connected"],
            "error: --connected does not go with --watch",
        ),
        (
            &["nodes", "list", "--watch", "--until", "up"],
            "Invalid --until: expected connected, disconnected, paired",
        ),
    ] {
        let refused = gateway.cli(arguments);
        assert!(
            refused.code == 1 && refused.stderr.contains(said),
            "{refused:?}"
        );
    }
}

#[test]
fn a_condition_of_an_operators_device_comes_true_too() {
    let gateway = Gateway::start();
    let device = Device::new();
    let until = |condition: &str| {
        let line = [
            "devices", "list", "--watch", "--until", condition, "--device", &device.id,
        ];
        let mut watching = watch(&gateway.home, &line);
        watching.wait_for_output("snapshot");
        watching
    };
    let mut connected = until("connected");
    let params = cli_params(json!({"token": SECRET}), &["operator.read"]);
    let peer = Peer::connect(gateway.address, params, Some(&device)).unwrap();
    assert_eq!(connected.exit_code(), 0);
    let mut disconnected = until("disconnected");
    assert!(disconnected.alive());
    drop(peer);
    assert_eq!(disconnected.exit_code(), 0);
}

#[test]
fn watching_stays_over_a_restart_and_says_what_it_missed() {
    let mut gateway = Gateway::start();
    let mut devices = watch(&gateway.home, &["devices", "list", "--watch", "--json"]);
    devices.wait_for_output("snapshot");
    let first = number(&lines(&devices)[0]).0;
    gateway.crash_and_restart();
    let again = wait_for("a second snapshot", || {
        let mut told = lines(&devices).into_iter().skip(1);
        told.find(|line| line["event"] == "snapshot")
    });
    assert_eq!(again["missed"], true);
    assert_ne!(number(&again).0, first, "another life");
    devices.wait_for_output("Connected again.");
    let device = Device::new();
    let _peer = join(&gateway, &device);
    event(&devices, "device.pair.resolved", &device.id);
    devices.signal("TERM");
    assert_eq!(devices.exit_code(), 143);
}

#[test]
fn a_reader_that_goes_away_ends_it_silently() {
    let gateway = Gateway::start();
    let mut shell = command("sh".as_ref(), &gateway.home);
    let program = program();
    let line = format!(
        "{} nodes list --watch --json | head -n 1; echo \"${{PIPESTATUS:-done}}\"",
        program.display()
    );
    shell.args(["-c", &line]);
    let mut shell = Running::start(shell);
    shell.wait_for_output("\"snapshot\"");
    let node = Device::new();
    let _peer = join(&gateway, &node);
    assert_eq!(shell.exit_code(), 0);
    let output = shell.output();
    assert!(
        output.ends_with("done\n") && output.lines().count() == 2,
        "{output}"
    );
}
