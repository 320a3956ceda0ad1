//! Joining what multicast finds, beside somebody who answers to the same name.

use serde_json::{Value, json};

use crate::lan::{Gateway, Host, Lan, PORT};
use crate::peers::Zeroconf;
use crate::support::home::Home;
use crate::support::process::{Outcome, SECRET, finish, program};
use crate::support::wait_for;

const REAL: &str = "10.70.0.1";
const LIAR: &str = "10.70.0.2";

fn join(host: &Host, home: &Home, options: &[&str]) -> Outcome {
    let mut command = host.command_as("cellar", home, &program());
    command.env("OPENCLAW_GATEWAY_TOKEN", SECRET);
    command.env("OPENCLAW_DISABLE_BONJOUR", "0");
    command.args(["node", "join", "--json", "--timeout", "2000"]);
    command.args(options);
    finish(command)
}

#[test]
fn somebody_who_answers_to_the_name_of_a_gateway_gets_nothing() {
    let lan = Lan::new();
    let hosts = [lan.host(), lan.host(), lan.host()];
    for (host, number) in hosts.iter().zip(1..) {
        lan.plug(host, "eth0", 0, &[&format!("10.70.0.{number}/24")]);
    }
    let [real, liar, cellar] = hosts;
    let gateway = Gateway::start_tls(&real, "attic");
    let fingerprint = gateway.cli(&["gateway", "fingerprint"]).success().stdout;
    let fingerprint = fingerprint.trim();
    let claimed = format!("gatewayTlsSha256={fingerprint}");
    let txt = [
        "displayName=\u{1b}attic",
        "gatewayTls=1",
        &claimed,
        "gatewayPort=18789",
        "lanHost=attic.local",
    ];
    let _liar = Zeroconf::publish_as(&liar, "attic again", "liar", LIAR, &txt);

    let home = Home::new();
    let error = wait_for("both to be found", || {
        let error = join(&cellar, &home, &["--gateway", "attic"]).json()["error"].clone();
        (error["details"]["count"] == 2).then_some(error)
    });
    assert_eq!(error["code"], "GATEWAY_AMBIGUOUS", "{error}");
    let message = error["message"].as_str().unwrap();
    assert!(
        message.contains(&format!("attic at {REAL}:{PORT}")),
        "{message}"
    );
    assert!(
        message.contains(&format!("attic at {LIAR}:4711")),
        "{message}"
    );

    // Its address, nothing there, and what its announcement says does not help.
    for options in [
        &["--gateway", LIAR][..],
        &["--gateway", LIAR, "--trust-fingerprint", fingerprint],
    ] {
        let outcome = join(&cellar, &home, options);
        assert_eq!(outcome.json()["ok"], false, "{outcome:?}");
        assert!(!outcome.stderr.contains('\u{1b}') && !outcome.stdout.contains('\u{1b}'));
        assert_eq!(home.json("node.json"), Value::Null);
    }
    let joined = join(
        &cellar,
        &home,
        &["--gateway", REAL, "--trust-fingerprint", fingerprint],
    );
    let joined = joined.success().json();
    assert_eq!(
        (&joined["state"], &joined["fingerprint"]),
        (&json!("waiting"), &json!(fingerprint))
    );
    assert_eq!(home.json("node.json")["gateway"]["host"], REAL);
}
