//! Multicast DNS from somebody who means no good: what he sends changes nothing for the gateway, and nothing
//! that a person who looks around could not judge.

use std::path::Path;

use crate::lan::{Gateway, Host, Lan, PORT};
use crate::support::home::Home;
use crate::support::process::{Outcome, finish, program};
use crate::support::wait_for;

/// Packets of one attack.
const PACKETS: &str = "4000";

fn attack(host: &Host, seed: &str, instance: &str) {
    let home = Home::new();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lan/hostile.py");
    let mut command = host.command(&home, Path::new("python3"));
    command
        .arg(script)
        .args(["10.70.0.66", seed, PACKETS, instance]);
    let sent = finish(command).success();
    assert_eq!(sent.stdout, format!("sent {PACKETS}\n"));
}

fn discover(host: &Host, timeout: &str) -> Outcome {
    let home = Home::new();
    let mut command = host.command(&home, &program());
    command.args(["gateway", "discover", "--json", "--timeout", timeout]);
    command.env_remove("OPENCLAW_DISABLE_BONJOUR");
    finish(command).success()
}

#[test]
fn hostile_packets_change_nothing() {
    let lan = Lan::new();
    let (ours, theirs, evil) = (lan.host(), lan.host(), lan.host());
    lan.plug(&ours, "eth0", 0, &["10.70.0.1/24"]);
    lan.plug(&theirs, "eth0", 0, &["10.70.0.2/24"]);
    lan.plug(&evil, "eth0", 0, &["10.70.0.66/24"]);
    let gateway = Gateway::start(&ours, "pi");
    let before = gateway.wait_for("advertising");
    let instance = before["instance"].as_str().unwrap().to_owned();
    for seed in ["1", "2", "3"] {
        attack(&evil, seed, &instance);
        gateway.answers();
    }
    // He may contest the name, which ends with a number at most; it is advertised again in any case.
    gateway.wait_for("advertising");
    let url = format!("ws://10.70.0.1:{PORT}");
    let list = wait_for("the gateway to be found", || {
        let list = discover(&theirs, "2000").json();
        let beacons = list["beacons"].as_array().unwrap().clone();
        let ours = |beacon: &serde_json::Value| beacon["wsUrl"] == url.as_str();
        beacons.iter().any(ours).then_some(list)
    });
    assert!(!list.to_string().contains(char::is_control), "{list}");
    // Under fire a look around ends as it should, and shows nothing that moves a terminal.
    let list = std::thread::scope(|scope| {
        scope.spawn(|| attack(&evil, "4", &instance));
        discover(&theirs, "1500").json()
    });
    for beacon in list["beacons"].as_array().unwrap() {
        for text in beacon["txt"]
            .as_object()
            .unwrap()
            .values()
            .chain([&beacon["instanceName"], &beacon["host"]])
        {
            assert!(
                !text.as_str().unwrap().contains(char::is_control),
                "{beacon}"
            );
        }
    }
    gateway.answers();
}
