//! `nodes prune` with the built program, through a gateway and on its state directory.

use serde_json::{Value, json};

use crate::support::device::Device;
use crate::support::home::Home;
use crate::support::peer::Peer;
use crate::support::process::{Gateway, Outcome, SECRET, openclaw};

const DAY: u64 = 86_400_000;

fn now() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.unwrap().as_millis() as u64
}

/// Sets when a device was approved, and forgets everything that was seen of it.
fn age(home: &Home, id: &str, days: u64) {
    let at = now() - days * DAY;
    for file in ["devices/paired.json", "nodes/paired.json"] {
        if !home.state().join(file).exists() {
            continue;
        }
        let mut records = home.json(file);
        let Some(record) = records.get_mut(id) else {
            continue;
        };
        let record = record.as_object_mut().unwrap();
        record.insert("approvedAtMs".to_owned(), json!(at));
        for seen in ["lastSeenAtMs", "lastConnectedAtMs"] {
            record.shift_remove(seen);
        }
        for token in record
            .get_mut("tokens")
            .and_then(Value::as_object_mut)
            .into_iter()
            .flatten()
        {
            token
                .1
                .as_object_mut()
                .unwrap()
                .shift_remove("lastUsedAtMs");
        }
        home.write(file, records.to_string().as_bytes());
    }
}

fn pair(gateway: &Gateway, device: &Device) -> Peer {
    let node = Peer::node(gateway.address, SECRET, device, &["system.which"]).unwrap();
    let pending = gateway
        .cli(&["nodes", "pending", "--json"])
        .success()
        .json();
    let waiting = pending
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["nodeId"] == device.id)
        .unwrap();
    gateway
        .cli(&["nodes", "approve", waiting["requestId"].as_str().unwrap()])
        .success();
    node
}

fn ids(outcome: Outcome) -> Vec<String> {
    let document = outcome.success().json();
    let nodes = document["nodes"].as_array().unwrap().iter();
    nodes
        .map(|node| node["nodeId"].as_str().unwrap().to_owned())
        .collect()
}

fn known(gateway: &Gateway) -> String {
    gateway.home.read("devices/paired.json") + &gateway.home.read("nodes/paired.json")
}

#[test]
fn nodes_away_for_long_go_with_their_devices_and_connected_ones_stay() {
    let mut gateway = Gateway::start();
    let [here, away, young] = [Device::new(), Device::new(), Device::new()];
    let _here = pair(&gateway, &here);
    drop(pair(&gateway, &away));
    drop(pair(&gateway, &young));
    // What is only remembered is written at the end.
    gateway.process.signal("TERM");
    assert_eq!(gateway.process.exit_code(), 0);
    for (device, days) in [(&here, 200), (&away, 100), (&young, 80)] {
        age(&gateway.home, &device.id, days);
    }
    let prune = ["nodes", "prune", "--not-seen", "90d", "--json"];
    let offline = ids(gateway.cli(&[&prune[..], &["--dry-run"]].concat()));
    assert_eq!(offline, [here.id.clone(), away.id.clone()], "longest first");

    let port = gateway.address.port();
    let gateway = Gateway::start_at(gateway.home, port);
    let _here = Peer::node(gateway.address, SECRET, &here, &["system.which"]).unwrap();
    let before = known(&gateway);
    for (more, said) in [
        (
            &["--not-seen", "90d"][..],
            "Refusing to remove nodes without --yes; openclaw nodes prune --not-seen 90d --dry-run shows",
        ),
        (
            &["--not-seen", "0d", "--yes"],
            "Invalid --not-seen: at least an hour",
        ),
        (
            &["--not-seen", "59m", "--yes"],
            "Invalid --not-seen: at least an hour",
        ),
        (
            &["--not-seen", "90", "--yes"],
            "Invalid --not-seen: name a unit, e.g. 90m",
        ),
        (
            &["--yes"],
            "required option '--not-seen <duration>' not specified",
        ),
    ] {
        let refused = gateway.cli(&[&["nodes", "prune"], more].concat());
        assert!(
            refused.code == 1 && refused.stderr.contains(said),
            "{refused:?}"
        );
    }
    let shown = gateway
        .cli(&["nodes", "prune", "--not-seen", "90d", "--dry-run"])
        .success()
        .stdout;
    assert!(
        shown.contains("Away for long (1)") && shown.contains("never"),
        "{shown}"
    );
    assert_eq!(known(&gateway), before);
    let gone = ids(gateway.cli(&[&prune[..], &["--yes"]].concat()));
    assert_eq!(gone.join(","), away.id);
    let after = known(&gateway);
    assert!(!after.contains(&away.id) && after.contains(&here.id) && after.contains(&young.id));
    let trail = gateway
        .cli(&["audit", "tail", "--kind", "device.remove", "--json"])
        .success()
        .json();
    let line = &trail["entries"][0];
    assert_eq!(
        (&line["subject"], &line["detail"]["rule"]),
        (&json!(away.id), &json!("not-seen"))
    );
    let again = gateway
        .cli(&["nodes", "prune", "--not-seen", "90d", "--yes"])
        .success();
    assert_eq!(again.stdout, "No paired node was away for so long.\n");
}

#[test]
fn without_a_gateway_pruning_works_on_its_files_and_elsewhere_it_needs_the_gateway() {
    let mut gateway = Gateway::start();
    let away = Device::new();
    drop(pair(&gateway, &away));
    gateway.process.signal("TERM");
    assert_eq!(gateway.process.exit_code(), 0);
    age(&gateway.home, &away.id, 100);
    let done = gateway
        .cli(&["nodes", "prune", "--not-seen", "90d", "--yes"])
        .success();
    assert!(
        done.stdout.contains("Removed (1)") && done.stderr.contains("No gateway runs here"),
        "{done:?}"
    );
    assert!(!known(&gateway).contains(&away.id));
    let nowhere = openclaw(
        &Home::new(),
        &["nodes", "prune", "--not-seen", "90d", "--yes", "--json"],
    );
    assert_eq!((nowhere.code, &nowhere.json()["ok"]), (1, &json!(false)));
}
