//! The same commands through a gateway that runs.

use serde_json::{Value, json};

use super::Place;
use crate::cli::answer::Answer;
use crate::cli::error::CliError;
use crate::gateway::auth::SharedAuth;

/// What a command answered, without what differs from run to run.
fn shown(outcome: Result<Answer, CliError>) -> String {
    let mut document = match outcome {
        Ok(answer) => answer.document.unwrap(),
        Err(error) => error.document(),
    };
    forget_moments(&mut document);
    let by = document
        .pointer("/error/details/by")
        .and_then(Value::as_str);
    let by = by.unwrap_or("nobody").to_owned();
    document.to_string().replace(&by, "somebody")
}

fn forget_moments(value: &mut Value) {
    const MOMENTS: &[&str] = &[
        "approvedAtMs",
        "atMs",
        "createdAtMs",
        "rotatedAtMs",
        "revokedAtMs",
        "ts",
        "token",
    ];
    match value {
        Value::Object(members) => {
            for (name, member) in members.iter_mut() {
                if MOMENTS.contains(&name.as_str()) {
                    *member = Value::Null;
                } else {
                    forget_moments(member);
                }
            }
        }
        Value::Array(elements) => elements.iter_mut().for_each(forget_moments),
        _ => {}
    }
}

#[test]
fn both_ways_answer_alike() {
    let offline = Place::with_state();
    let online = Place::with_state().serving();
    // The first contact of a command line pairs it, which the other way knows nothing of.
    let own = online.document("devices list")["paired"][0]["deviceId"].clone();
    online
        .run(&format!("devices remove {}", own.as_str().unwrap()))
        .unwrap();
    for line in [
        "nodes pending",
        "nodes approve 99999999",
        "nodes rename --node pi --name X",
        "nodes approve 11111111",
        "nodes approve 22222222",
        "nodes approve 22222222",
        "nodes list",
        "nodes list --connected",
        "nodes status",
        "nodes rename --node pi --name Workshop",
        "nodes remove --node pi",
        "nodes remove --node workshop",
        "devices rotate --device aaaa00 --role operator --scope operator.read operator.pairing",
        "devices rotate --device aaaa00 --role node",
        "devices revoke --device aaaa00 --role operator",
        "devices revoke --device zzzz --role operator",
        "devices remove zzzz",
        "devices remove bbbb00",
        "devices remove aaaa00",
        "devices reject 11111111",
    ] {
        let (offline, online) = (offline.run(line), online.run(line));
        assert_eq!(shown(offline), shown(online), "{line}");
    }
}

#[test]
fn a_command_line_never_locks_itself_out_of_its_own_gateway() {
    let every_need = [
        "nodes status",
        "nodes pending",
        "devices list",
        "health",
        "nodes list",
        "gateway call status",
    ];
    for first in every_need {
        let place = Place::new("{}").serving();
        for line in [first].iter().chain(&every_need) {
            place
                .run(line)
                .unwrap_or_else(|error| panic!("{first}, then {line}: {error}"));
        }
        let listed = place.document("devices list");
        assert_eq!(listed["pending"], json!([]), "{first}: no upgrade arises");
        assert_eq!(listed["paired"].as_array().map(Vec::len), Some(1));
    }
}

#[test]
fn a_narrow_approval_does_not_stand_in_the_way_of_the_shared_secret() {
    for keep_token in [true, false] {
        let place = Place::new("{}").serving();
        let own = place.document("devices list")["paired"][0]["deviceId"].clone();
        let own = own.as_str().unwrap();
        place
            .run(&format!(
                "devices rotate --device {own} --role operator --scope operator.pairing"
            ))
            .unwrap();
        narrow(&place, own);
        if !keep_token {
            std::fs::remove_file(place.home.paths.state_dir.join("identity/device-auth.json"))
                .unwrap();
        }
        for line in ["nodes status", "devices list", "health", "nodes list"] {
            place
                .run(line)
                .unwrap_or_else(|error| panic!("{keep_token}, {line}: {error}"));
        }
    }
}

/// Takes every scope but pairing from the record of a device, as an older command line would have left it.
fn narrow(place: &Place, device: &str) {
    let path = place.home.paths.state_dir.join("devices/paired.json");
    let mut records: Value =
        serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    for name in ["scopes", "approvedScopes"] {
        records[device][name] = json!(["operator.pairing"]);
    }
    std::fs::write(&path, records.to_string()).unwrap();
}

#[test]
fn a_pairing_refusal_is_answered_from_the_files_beside_the_gateway() {
    let place = Place::new("{}").serving_with(SharedAuth::None);
    let own = place.document("devices list")["paired"][0]["deviceId"].clone();
    narrow(&place, own.as_str().unwrap());
    let tokens = place.home.paths.state_dir.join("identity/device-auth.json");
    std::fs::remove_file(tokens).unwrap();
    let listed = place.run("devices list").unwrap();
    assert_eq!(
        listed.notes,
        ["Direct scope access failed; using local fallback."]
    );
    let waiting = listed.document.unwrap()["pending"][0]["requestId"].clone();
    let refused = place.run("nodes status").unwrap_err();
    let approve = format!(
        "Approve with: openclaw devices approve {}",
        waiting.as_str().unwrap()
    );
    assert_eq!(refused.hint(), Some(approve));
    place
        .run(&format!("devices approve {}", waiting.as_str().unwrap()))
        .unwrap();
    place.run("nodes status").unwrap();
    assert!(
        place.run("devices list").unwrap().notes.is_empty(),
        "the gateway noticed"
    );
}

#[test]
fn a_gateway_that_runs_is_asked_and_not_its_files() {
    let mut place = Place::with_state().serving();
    assert!(place.run("devices list").unwrap().notes.is_empty());
    // The same state directory under another port: the lock names the process.
    place.home.environment.set("OPENCLAW_GATEWAY_PORT", "1");
    let error = place.run("devices list").unwrap_err();
    assert!(
        error.to_string().starts_with("gateway not reachable: "),
        "{error}"
    );
    let held = format!("Process {} holds the state directory", std::process::id());
    assert!(
        error.hint().unwrap().starts_with(&held),
        "{:?}",
        error.hint()
    );
}

#[test]
fn the_status_page_never_fails_and_leaves_no_trace() {
    let place = Place::new("{gateway: {port: 'x'}}");
    let document = place.document("gateway status");
    assert_eq!(document["config"]["cli"]["valid"], false);
    assert_eq!(document["port"]["status"], "free");
    assert_eq!(document["rpc"]["ok"], false);
    assert!(
        !place.home.paths.state_dir.join("identity").exists(),
        "no key was made"
    );
    let refused = place
        .run("gateway status --no-probe --require-rpc")
        .unwrap_err();
    assert_eq!(
        refused.to_string(),
        "--require-rpc cannot be used with --no-probe."
    );

    let place = Place::new("{}").serving();
    let document = place.document("gateway status --require-rpc");
    assert_eq!(document["rpc"]["ok"], true, "{document}");
    assert_eq!(document["rpc"]["capability"], "admin_capable");
    assert_eq!(
        document["gateway"]["credentials"]["token"],
        "env OPENCLAW_GATEWAY_TOKEN"
    );
    let page = place.document("status");
    assert_eq!(page["gateway"]["reachable"], true);
    assert_eq!(
        page["devices"],
        json!({"paired": 0, "pending": 0}),
        "the probes paired nothing"
    );
    let down = Place::new("{}").document("status");
    assert_eq!(down["gateway"]["reachable"], false);
    assert_eq!(down["nodes"], Value::Null);
}
