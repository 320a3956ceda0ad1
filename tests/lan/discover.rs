//! `gateway discover` and `gateway probe` on a network with a gateway, a liar and nobody.

use serde_json::{Value, json};

use crate::lan::{Gateway, Host, Lan, PORT};
use crate::support::home::Home;
use crate::support::process::{Outcome, finish, program};

fn run(host: &Host, line: &[&str]) -> Outcome {
    let home = Home::new();
    let mut command = host.command(&home, &program());
    command.args(line).env_remove("OPENCLAW_DISABLE_BONJOUR");
    finish(command)
}

#[test]
fn a_gateway_of_the_network_is_listed_where_it_was_resolved_to() {
    let lan = Lan::new();
    let (ours, theirs, alone) = (lan.host(), lan.host(), lan.host());
    lan.plug(&ours, "eth0", 0, &["10.70.0.1/24", "fd70::1/64"]);
    lan.plug(&theirs, "eth0", 0, &["10.70.0.2/24", "fd70::2/64"]);
    let gateway = Gateway::start(&ours, "pi");
    gateway.wait_for("advertising");
    let line = ["gateway", "discover", "--timeout", "3000"];
    let scan = run(&theirs, &[&line[..], &["--json"]].concat()).success();
    let document = scan.json();
    assert_eq!(
        (
            &document["domains"],
            &document["count"],
            &document["timeoutMs"]
        ),
        (&json!(["local."]), &json!(1), &json!(3000))
    );
    let found = &document["beacons"][0];
    let url = format!("ws://10.70.0.1:{PORT}");
    assert_eq!(
        (&found["instanceName"], &found["wsUrl"]),
        (&json!("pi (OpenClaw)"), &json!(url))
    );
    assert_eq!(
        (&found["host"], &found["txt"]["displayName"]),
        (&json!("pi.local"), &json!("pi"))
    );
    let text = run(&theirs, &line).success().stdout;
    assert!(
        text.starts_with(
            "Gateway Discovery\nFound 1 gateway(s) · domains: local.\n\npi (local.)\n"
        ) && text.contains(&format!("  URL: {url}\n")),
        "{text}"
    );
    let report = run(&theirs, &["gateway", "probe", "--json"]);
    assert_eq!(report.code, 1);
    assert_eq!(
        (&report.json()["ok"], &report.json()["discovery"]["count"]),
        (&Value::Bool(false), &json!(1))
    );
    let own = gateway.cli(&["gateway", "probe", "--json"]).success();
    assert_eq!(own.json()["primaryTargetId"], "localLoopback");
    // A host without a network looks in vain, and says so without an error.
    let nothing = run(
        &alone,
        &["gateway", "discover", "--json", "--timeout", "300"],
    );
    assert_eq!(nothing.success().json()["count"], 0);
}
