//! The pairing switch, seen from outside: closed means nobody new, and nobody known notices.

use serde_json::{Value, json};

use crate::support::device::Device;
use crate::support::home::Home;
use crate::support::peer::{Peer, Refused, operator_params};
use crate::support::process::{Gateway, SECRET, free_port, openclaw};
use crate::support::wait_for;

const HINT: &str = "openclaw gateway pairing open --for 3m";

fn closed_by_configuration() -> Gateway {
    let port = free_port();
    let home = Home::new();
    home.write_config(&format!(
        r#"{{ gateway: {{ mode: "local", port: {port}, nodes: {{ pairing: {{ enabled: false }} }},
            auth: {{ mode: "token", token: "{SECRET}" }} }} }}"#
    ));
    Gateway::start_at(home, port)
}

/// The refusal of a closed gateway, which leaves no trace.
#[track_caller]
fn closed(outcome: Result<Peer, Refused>) -> Value {
    let refused = outcome.err().expect("pairing is closed");
    let details = &refused.error["details"];
    assert_eq!(refused.error["code"], "NOT_PAIRED", "{refused:?}");
    assert_eq!(details["code"], "PAIRING_REQUIRED");
    assert_eq!(details["reason"], "pairing-disabled");
    assert!(details["remediationHint"].as_str().unwrap().contains(HINT));
    let (code, reason) = refused.close.unwrap();
    assert_eq!(code, 1008);
    assert!(
        reason.starts_with("pairing required: ") && reason.ends_with(HINT),
        "{reason}"
    );
    refused.error
}

fn node(gateway: &Gateway, device: &Device) -> Result<Peer, Refused> {
    Peer::node(gateway.address, SECRET, device, &["system.which"])
}

#[test]
fn a_closed_gateway_records_nobody_and_serves_its_owner() {
    let gateway = closed_by_configuration();
    closed(node(&gateway, &Device::new()));
    let mut cli = operator_params(SECRET, &["operator.read"]);
    cli["client"] = json!({"id": "cli", "mode": "cli", "version": "1", "platform": "linux"});
    closed(Peer::connect(gateway.address, cli, Some(&Device::new())));
    assert_eq!(gateway.home.json("devices/pending.json"), Value::Null);
    assert_eq!(gateway.home.json("devices/paired.json"), Value::Null);

    // The command line of the gateway's owner was never paired and needs no pairing.
    let listed = gateway.cli(&["devices", "list", "--json"]).success().json();
    assert_eq!(
        (&listed["pending"], &listed["paired"]),
        (&json!([]), &json!([]))
    );
    assert_eq!(listed["pairing"]["open"], false);
    for command in [&["devices", "list"][..], &["nodes", "pending"]] {
        let shown = gateway.cli(command).success();
        assert!(
            shown.stderr.contains("Pairing is closed") && shown.stderr.contains(HINT),
            "{shown:?}"
        );
    }
    let status = gateway.cli(&["gateway", "status"]);
    assert!(status.stdout.contains("Pairing is closed"), "{status:?}");
    let mut operator = Peer::operator(gateway.address, SECRET);
    let refused = operator
        .call("node.pair.request", json!({"nodeId": "n"}))
        .unwrap_err();
    assert_eq!(refused["code"], "UNAVAILABLE");
    assert!(
        refused["message"].as_str().unwrap().contains(HINT),
        "{refused}"
    );
    assert_eq!(gateway.home.json("nodes/pending.json"), Value::Null);
}

#[test]
fn a_window_lets_new_machines_in_and_closes_by_itself() {
    let gateway = closed_by_configuration();
    let opened = gateway
        .cli(&["gateway", "pairing", "open", "--for", "3m", "--json"])
        .success()
        .json();
    assert_eq!(
        (&opened["open"], &opened["decidedBy"]),
        (&json!(true), &json!("command"))
    );
    assert!(opened["untilMs"].is_u64());
    let shown = gateway.cli(&["devices", "list"]).success();
    assert!(shown.stderr.contains("Pairing is open until "), "{shown:?}");
    let first = Device::new();
    node(&gateway, &first).expect("the window is open");

    gateway
        .cli(&["gateway", "pairing", "open", "--for", "1s"])
        .success();
    wait_for("the window to close", || {
        node(&gateway, &Device::new()).err()
    });
    closed(node(&gateway, &Device::new()));
    node(&gateway, &first).expect("who is known comes in again");
    let status = gateway
        .cli(&["gateway", "pairing", "status", "--json"])
        .success()
        .json();
    assert_eq!(status["open"], false);

    let trail = gateway.home.read("audit.jsonl");
    let opened = trail
        .lines()
        .filter(|line| line.contains("\"pairing.open\""))
        .count();
    assert_eq!(opened, 2, "{trail}");
    for (wrong, text) in [
        ("25h", "Invalid --for: at most 24h"),
        ("soon", "Invalid --for: invalid duration: soon"),
        ("3", "Invalid --for: name a unit, e.g. 3m"),
        ("0s", "forMs"),
    ] {
        let refused = gateway.cli(&["gateway", "pairing", "open", "--for", wrong]);
        assert!(
            refused.code == 1 && refused.stderr.contains(text),
            "{refused:?}"
        );
    }
}

#[test]
fn closing_survives_a_crash_and_opening_lets_waiting_nodes_ask() {
    let mut gateway = Gateway::start();
    let device = Device::new();
    drop(node(&gateway, &device).expect("approved on this host"));
    let mut operator = Peer::operator(gateway.address, SECRET);
    let waiting = operator.call("node.pair.list", json!({})).unwrap();
    let request = json!({"requestId": waiting["pending"][0]["requestId"]});
    operator.call("node.pair.reject", request).unwrap();

    gateway.cli(&["gateway", "pairing", "close"]).success();
    gateway.crash_and_restart();
    closed(node(&gateway, &Device::new()));
    let live = node(&gateway, &device).expect("a known device");
    let mut operator = Peer::operator(gateway.address, SECRET);
    let listed = operator.call("node.pair.list", json!({})).unwrap();
    assert_eq!(
        listed["pending"],
        json!([]),
        "no new request on the second layer either"
    );
    assert_eq!(listed["pairing"]["open"], false);

    operator.call("gateway.pairing.open", json!({})).unwrap();
    let asked = operator.event("node.pair.requested");
    assert_eq!(asked["payload"]["nodeId"], device.id.as_str());
    assert_eq!(
        gateway.home.json("pairing-switch.json"),
        json!({}),
        "as configured again"
    );
    drop(live);
}

#[test]
fn the_switch_is_turned_without_a_gateway_too() {
    let mut gateway = Gateway::start();
    gateway.process.signal("TERM");
    assert_eq!(gateway.process.exit_code(), 0);
    let closed_now = openclaw(&gateway.home, &["gateway", "pairing", "close", "--json"]).success();
    assert_eq!(closed_now.json()["open"], false);
    let listed = openclaw(&gateway.home, &["devices", "list", "--json"])
        .success()
        .json();
    assert_eq!(listed["pairing"]["open"], false);
    gateway.crash_and_restart();
    closed(node(&gateway, &Device::new()));
    gateway
        .home
        .write("pairing-switch.json", b"{\"open\": maybe}");
    gateway.process.kill();
    let refused = openclaw(&gateway.home, &["gateway", "run"]);
    assert!(
        refused.code != 0 && refused.stderr.contains("pairing-switch.json:1:"),
        "{refused:?}"
    );
}

#[test]
fn only_an_administrator_turns_the_switch() {
    let gateway = Gateway::start();
    let params = operator_params(SECRET, &["operator.pairing", "operator.write"]);
    let mut operator = Peer::connect(gateway.address, params, None).unwrap();
    for method in ["gateway.pairing.open", "gateway.pairing.close"] {
        let refused = operator.call(method, json!({})).unwrap_err();
        assert_eq!(
            refused["message"], "missing scope: operator.admin",
            "{method}"
        );
    }
    let standing = operator.call("gateway.pairing.status", json!({})).unwrap();
    assert_eq!(
        standing,
        json!({"open": true, "decidedBy": "configuration"})
    );
}

#[test]
fn a_decision_written_by_somebody_else_counts_at_once() {
    let gateway = Gateway::start();
    let edit = |text: &str| gateway.home.write("pairing-switch.json", text.as_bytes());
    edit(r#"{"open": false, "sinceMs": 1}"#);
    closed(node(&gateway, &Device::new()));
    edit(r#"{"open": true, "sinceMs": 1}"#);
    node(&gateway, &Device::new()).expect("pairing is open");
    edit(r#"{"open": false, "sinceMs": 1}"#);
    closed(node(&gateway, &Device::new()));
    let file = gateway.home.state().join("pairing-switch.json");
    std::fs::remove_file(file).unwrap();
    node(&gateway, &Device::new()).expect("as configured");
}

#[test]
fn a_close_outlives_an_edit_of_the_configuration_and_is_audited() {
    let gateway = closed_by_configuration();
    gateway.cli(&["gateway", "pairing", "close"]).success();
    gateway
        .cli(&["config", "set", "gateway.nodes.pairing.enabled", "true"])
        .success();
    let mut operator = Peer::operator(gateway.address, SECRET);
    wait_for("the new configuration", || {
        let read = operator.call("gateway.pairing.status", json!({})).unwrap();
        let log = gateway.process.output();
        log.contains("config change applied").then_some(read)
    });
    closed(node(&gateway, &Device::new()));
    let trail = gateway.home.read("audit.jsonl");
    let closes: Vec<Value> = trail
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|entry| entry["action"] == "pairing.close")
        .collect();
    assert_eq!(closes.len(), 1, "{trail}");
    assert_eq!(closes[0]["via"], "gateway.pairing.close");
    assert_eq!(closes[0]["after"]["open"], false);
}
