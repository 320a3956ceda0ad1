//! Approving what was shown: the race between the look and the decision, ids that are over, and names that
//! pretend to be something else.

use serde_json::{Value, json};

use crate::support::device::Device;
use crate::support::peer::{Peer, Refused, operator_params};
use crate::support::process::{Gateway, SECRET};

/// An operator device that asks for these scopes; the first contact on this host is admitted silently.
fn ask(gateway: &Gateway, device: &Device, scopes: &[&str]) -> Result<Peer, Refused> {
    let mut params = operator_params(SECRET, scopes);
    params["client"]["id"] = json!("cli");
    params["client"]["mode"] = json!("cli");
    Peer::connect(gateway.address, params, Some(device))
}

/// The row of the only request that waits, as `nodes pending` or `devices list` shows it.
#[track_caller]
fn only_row(listed: &Value) -> Value {
    let rows = listed.get("pending").unwrap_or(listed).as_array().unwrap();
    assert_eq!(rows.len(), 1, "{listed}");
    rows[0].clone()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

#[test]
fn a_device_that_asks_for_more_between_list_and_approve_gets_nothing() {
    let gateway = Gateway::start();
    let device = Device::new();
    drop(ask(&gateway, &device, &["operator.read"]).unwrap());
    ask(&gateway, &device, &["operator.read", "operator.write"])
        .map(drop)
        .unwrap_err();
    let shown = only_row(&gateway.cli(&["devices", "list", "--json"]).success().json());
    ask(&gateway, &device, &["operator.admin"])
        .map(drop)
        .unwrap_err();

    let (old, digest) = (text(&shown["requestId"]), text(&shown["digest"]));
    let refused = gateway.cli(&["devices", "approve", old, "--digest", digest, "--json"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    let error = refused.json()["error"].clone();
    assert_eq!(
        (&error["message"], &error["details"]["state"]),
        (&json!("unknown requestId"), &json!("superseded"))
    );
    let new = text(&error["details"]["replacedBy"]).to_owned();
    let hint = text(&error["hint"]);
    assert!(
        hint.ends_with(&format!("openclaw devices approve {new}")),
        "{hint}"
    );

    // Even the new id is not approved in the name of the old row.
    let refused = gateway.cli(&["devices", "approve", &new, "--digest", digest, "--json"]);
    assert_eq!(
        refused.json()["error"]["details"]["code"],
        "REQUEST_CHANGED",
        "{refused:?}"
    );
    let listed = gateway.cli(&["devices", "list", "--json"]).success().json();
    let record = listed["paired"]
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["deviceId"] == device.id.as_str());
    assert_eq!(
        record.unwrap()["scopes"],
        json!(["operator.read"]),
        "nothing was approved"
    );
    assert_eq!(only_row(&listed)["requestId"], new.as_str());
}

#[test]
fn a_node_that_declares_more_between_list_and_approve_gets_nothing() {
    let gateway = Gateway::start();
    let device = Device::new();
    let _first = Peer::node(gateway.address, SECRET, &device, &["system.which"]).unwrap();
    let shown = only_row(
        &gateway
            .cli(&["nodes", "pending", "--json"])
            .success()
            .json(),
    );
    let wanted = ["system.which", "system.run"];
    let _second = Peer::node(gateway.address, SECRET, &device, &wanted).unwrap();

    let (id, digest) = (text(&shown["requestId"]), text(&shown["digest"]));
    let refused = gateway.cli(&["nodes", "approve", id, "--digest", digest, "--json"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    let error = refused.json()["error"].clone();
    assert_eq!(error["details"]["code"], "REQUEST_CHANGED", "{error}");
    assert_eq!(error["details"]["request"]["commands"], json!(wanted));
    assert!(
        refused
            .stderr
            .contains("request changed since it was shown"),
        "{refused:?}"
    );
    let status = gateway.cli(&["nodes", "status", "--json"]).success().json();
    assert_eq!(
        status["nodes"][0]["commands"],
        json!([]),
        "no command before its approval"
    );

    // The command that the refusal names approves what the refusal showed.
    let line = text(&error["hint"])
        .rsplit("with: openclaw ")
        .next()
        .unwrap()
        .to_owned();
    let words: Vec<&str> = line.split(' ').chain(["--json"]).collect();
    let approved = gateway.cli(&words).success().json();
    assert_eq!(approved["node"]["commands"], json!(wanted));
    let again = gateway.cli(&words).success().json();
    assert_eq!(
        (&again["alreadyApproved"], again["node"].get("token")),
        (&json!(true), None)
    );
}

#[test]
fn what_became_of_an_id_survives_a_restart_and_is_told_without_a_gateway() {
    let mut gateway = Gateway::start();
    let device = Device::new();
    let node = Peer::node(gateway.address, SECRET, &device, &["system.which"]).unwrap();
    let shown = only_row(
        &gateway
            .cli(&["nodes", "pending", "--json"])
            .success()
            .json(),
    );
    let id = text(&shown["requestId"]).to_owned();
    gateway.cli(&["nodes", "reject", &id]).success();
    drop(node);
    gateway.process.signal("TERM");
    assert_eq!(gateway.process.exit_code(), 0);
    let kept = gateway.home.json("devices/resolved.json");
    assert_eq!(kept[&id]["state"], "rejected");
    assert!(!kept.to_string().contains(SECRET));
    let late = gateway.cli(&["nodes", "approve", &id[..8]]);
    assert_eq!(late.code, 1);
    assert!(late.stderr.contains("unknown requestId"), "{late:?}");
    assert!(
        late.stderr.contains("It was rejected just now by "),
        "{late:?}"
    );
    gateway.crash_and_restart();
    let late = gateway.cli(&["nodes", "approve", &id, "--json"]);
    assert_eq!(late.json()["error"]["details"]["state"], "rejected");
}

#[test]
fn a_re_approval_says_what_it_adds_and_takes_away() {
    let gateway = Gateway::start();
    let device = Device::new();
    let approve = |commands: &[&str]| {
        let node = Peer::node(gateway.address, SECRET, &device, commands).unwrap();
        let shown = only_row(
            &gateway
                .cli(&["nodes", "pending", "--json"])
                .success()
                .json(),
        );
        let approved = gateway
            .cli(&["devices", "approve", text(&shown["requestId"])])
            .success();
        drop(node);
        approved
    };
    approve(&["system.run", "system.which"]);
    let approved = approve(&["system.which", "system.run.prepare"]);
    let lines: Vec<&str> = approved.stderr.lines().collect();
    assert_eq!(
        lines,
        [
            "Approved node Build Node with system.which, system.run.prepare.",
            "  + command system.run.prepare",
            "  - command system.run"
        ]
    );
    assert!(
        approved
            .stdout
            .starts_with(&format!("Approved {} (", device.id)),
        "{approved:?}"
    );
}

#[test]
fn names_neither_move_the_cursor_nor_pass_for_others() {
    let gateway = Gateway::start();
    let device = Device::new();
    let evil = "Pi\u{1b}[2J\u{7}\u{202e}lab\u{200b}";
    let mut params = crate::support::peer::node_params(SECRET, &["system.which"]);
    params["client"]["displayName"] = json!(evil);
    let _node = Peer::connect(gateway.address, params, Some(&device)).unwrap();
    let request = only_row(
        &gateway
            .cli(&["nodes", "pending", "--json"])
            .success()
            .json(),
    );
    let id = text(&request["requestId"]);
    for words in [
        &["nodes", "pending"][..],
        &["nodes", "list"],
        &["devices", "list"],
        &["nodes", "status"],
        &["nodes", "approve", id],
        &["nodes", "describe", "--node", "pilab"],
        &["nodes", "describe", "--node", "nobody"],
        &["nodes", "list", "--json"],
        &["nodes", "rename", "--node", "pilab", "--name", evil],
        &["devices", "list"],
        &["nodes", "remove", "--node", "pilab"],
    ] {
        let outcome = gateway.cli(words);
        for shown in [
            &outcome.stdout,
            &outcome.stderr,
            &gateway.home.read("audit.jsonl"),
            &gateway.process.output(),
        ] {
            let raw = shown.chars().find(|letter| {
                (letter.is_control() && *letter != '\n')
                    || ['\u{202e}', '\u{200b}'].contains(letter)
            });
            assert_eq!(raw, None, "{words:?}: {shown:?}");
        }
    }
    let long = "x".repeat(100_000);
    let mut operator = Peer::operator(gateway.address, SECRET);
    let refused = operator
        .call("node.pair.request", json!({"nodeId": long}))
        .unwrap_err();
    assert_eq!(
        refused["message"],
        "invalid node.pair.request params: at /nodeId: must NOT have more than 256 characters"
    );
}
