//! `devices export` and `devices import` with the built program: a node host that keeps its key works at another gateway
//! without a new approval, and nothing is taken over that is not whole.

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::support::home::Home;
use crate::support::process::{Gateway, Running, SECRET, command, openclaw, program};
use crate::support::wait_for;

fn host(home: &Home, port: u16) -> Running {
    let mut host = command(&program(), home);
    host.env("OPENCLAW_GATEWAY_TOKEN", SECRET);
    host.args(["node", "run", "--port", &port.to_string()]);
    Running::start(host)
}

fn connected(gateway: &Gateway) -> Option<Value> {
    let listed = gateway.cli(&["nodes", "status", "--json"]).success().json();
    let nodes = listed["nodes"].as_array().unwrap();
    nodes.iter().find(|node| node["connected"] == true).cloned()
}

/// A gateway with an approved node host of `home`, ended; its home.
fn old_gateway(home: &Home) -> (Home, u16) {
    let mut gateway = Gateway::start();
    let port = gateway.address.port();
    let _host = host(home, port);
    let waiting = wait_for("the node's request", || {
        let pending = gateway
            .cli(&["nodes", "pending", "--json"])
            .success()
            .json();
        pending[0]["requestId"].as_str().map(str::to_owned)
    });
    gateway.cli(&["nodes", "approve", &waiting]).success();
    wait_for("the approved node", || {
        connected(&gateway).filter(|node| node["commands"] != json!([]))
    });
    gateway.process.signal("TERM");
    assert_eq!(gateway.process.exit_code(), 0);
    (gateway.home, port)
}

#[test]
fn a_node_that_keeps_its_key_works_at_another_gateway_without_an_approval() {
    let home = Home::new();
    let (old, port) = old_gateway(&home);
    let file = old.path().join("pairings.json");
    let path = file.to_str().unwrap();
    let exported = openclaw(&old, &["devices", "export", "--output", path, "--json"])
        .success()
        .json();
    assert_eq!(exported["nodes"], 1);
    let text = std::fs::read_to_string(&file).unwrap();
    assert_eq!(
        std::fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let records = old.json("devices/paired.json");
    for record in records.as_object().unwrap().values() {
        for token in record["tokens"].as_object().unwrap().values() {
            assert!(!text.contains(token["token"].as_str().unwrap()));
        }
    }
    // The new gateway has the old one's address, so that the node host comes with the old one's token.
    let gateway = Gateway::start_at(Home::with_gateway(port, SECRET), port);
    let before = gateway.home.state().join("nodes/paired.json");
    let shown = gateway
        .cli(&["devices", "import", path, "--dry-run"])
        .success()
        .stdout;
    assert!(
        shown.contains("added     node") && shown.ends_with("Nothing was changed.\n"),
        "{shown}"
    );
    assert!(
        !std::fs::read_to_string(&before)
            .unwrap_or_default()
            .contains("nodeId")
    );
    let imported = gateway
        .cli(&["devices", "import", path, "--json"])
        .success()
        .json();
    assert_eq!(imported["nodes"][0]["outcome"], "added");
    let again = gateway
        .cli(&["devices", "import", path, "--json"])
        .success()
        .json();
    assert_eq!(again["nodes"][0]["outcome"], "same");
    let _host = host(&home, port);
    let node = wait_for("the imported node", || connected(&gateway));
    assert_ne!(node["commands"], json!([]), "{node}");
    let invoke = [
        "nodes",
        "invoke",
        "--node",
        node["nodeId"].as_str().unwrap(),
        "--command",
        "system.which",
    ];
    let answer = gateway
        .cli(&[&invoke[..], &["--params", "{\"bins\":[\"sh\"]}"]].concat())
        .success()
        .json();
    assert_eq!(answer["ok"], true);
    let pending = gateway
        .cli(&["nodes", "pending", "--json"])
        .success()
        .json();
    assert_eq!(pending, json!([]));
    let trail = gateway
        .cli(&["audit", "tail", "--kind", "node.import", "--json"])
        .success()
        .json();
    assert_eq!(trail["entries"][0]["subject"], node["nodeId"]);
    let checked = gateway.cli(&["audit", "verify", "--json"]).success().json();
    assert_eq!(checked["unexplained"], json!([]));
}

#[test]
fn what_is_not_whole_is_refused_with_and_without_a_gateway() {
    let (old, _) = old_gateway(&Home::new());
    let export = openclaw(&old, &["devices", "export"]).success().json();
    let mut edited = export.clone();
    edited["nodes"][0]["commands"] = json!(["system.run", "camera.snap"]);
    let mut newer = export.clone();
    newer["version"] = json!(2);
    let files = [
        ("edited.json", edited.to_string(), "its digest does not fit"),
        (
            "newer.json",
            newer.to_string(),
            "the export is of version 2",
        ),
        (
            "cut.json",
            export.to_string()[..40].to_owned(),
            "cut.json:1:40",
        ),
        (
            "other.json",
            "{}".to_owned(),
            "this is no export of pairings",
        ),
    ];
    let before = old.read("nodes/paired.json");
    for (name, text, said) in files {
        let path = old.path().join(name);
        std::fs::write(&path, text).unwrap();
        let refused = openclaw(&old, &["devices", "import", path.to_str().unwrap()]);
        assert!(
            refused.code == 1 && refused.stderr.contains(said),
            "{refused:?}"
        );
    }
    assert_eq!(old.read("nodes/paired.json"), before);
    // Without a gateway too: into an empty state directory that had one.
    let mut empty = Gateway::start();
    empty.process.signal("TERM");
    assert_eq!(empty.process.exit_code(), 0);
    let path = old.path().join("whole.json");
    std::fs::write(&path, export.to_string()).unwrap();
    let imported = empty
        .cli(&["devices", "import", path.to_str().unwrap()])
        .success();
    assert!(
        imported.stderr.contains("No gateway runs here"),
        "{imported:?}"
    );
    let (ours, theirs) = (
        empty.home.json("nodes/paired.json"),
        old.json("nodes/paired.json"),
    );
    let names = |records: &Value| {
        records
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&ours), names(&theirs));
}
