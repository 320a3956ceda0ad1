//! Commands on the state directory of a gateway that does not run, through the same handlers as over RPC.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SocketType, bind, getsockname, socket};
use serde_json::{Value, json};

use crate::cli::answer::Answer;
use crate::cli::error::CliError;
use crate::cli::testing::run;
use crate::config::testing::Home;
use crate::gateway::auth::SharedAuth;
use crate::gateway::server::Gateway;
use crate::gateway::settings::GatewaySettings;
use crate::identity::Token;
use crate::store::{Clock, SystemClock};

mod online;

/// A state directory whose gateway is down: its port is taken, but nobody listens. Or one whose gateway runs.
struct Place {
    home: Home,
    gateway: Option<Gateway>,
    _port: OwnedFd,
}

const SECRET: &str = "the shared secret";
const OPERATOR: &str = "aaaa000000000000000000000000000000000000000000000000000000000000";
const NODE: &str = "bbbb000000000000000000000000000000000000000000000000000000000000";

impl Place {
    fn new(config: &str) -> Place {
        let port = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        bind(&port, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = SocketAddrV4::try_from(getsockname(&port).unwrap()).unwrap();
        let number = address.port().to_string();
        let mut home = Home::with_environment(config, &[("OPENCLAW_GATEWAY_PORT", &number)]);
        let temp = home.paths.state_dir.join("tmp").display().to_string();
        home.environment.set("TMPDIR", &temp);
        Place {
            home,
            gateway: None,
            _port: port,
        }
    }

    /// A paired operator, a node whose device waits, and another request of that node for its commands.
    fn with_state() -> Place {
        let place = Place::new("{}");
        let now = SystemClock.now_ms();
        let operator = json!({"deviceId": OPERATOR, "publicKey": "k", "displayName": "Desk", "role": "operator",
            "roles": ["operator"], "scopes": ["operator.admin"], "approvedScopes": ["operator.admin"],
            "tokens": {"operator": {"token": "t", "role": "operator", "scopes": ["operator.admin"], "createdAtMs": 1}},
            "createdAtMs": 1, "approvedAtMs": 2});
        let device = json!({"requestId": "11111111-aaaa", "deviceId": NODE, "publicKey": "n", "displayName": "Pi",
            "role": "node", "roles": ["node"], "scopes": [], "silent": false, "isRepair": false, "ts": now});
        let node = json!({"requestId": "22222222-bbbb", "nodeId": NODE, "displayName": "Pi", "platform": "linux",
            "caps": ["system"], "commands": ["system.run"], "silent": false, "ts": now - 1});
        let files = [
            ("devices/paired.json", json!({ OPERATOR: operator })),
            ("devices/pending.json", json!({ "11111111-aaaa": device })),
            ("nodes/pending.json", json!({ "22222222-bbbb": node })),
        ];
        for (name, document) in files {
            place.home.write(name, &document.to_string());
        }
        place
    }

    /// The same with its gateway running, which wants the shared secret that everybody here knows.
    fn serving(mut self) -> Place {
        self.home.environment.set("OPENCLAW_GATEWAY_TOKEN", SECRET);
        self.serving_with(SharedAuth::Token(Token::from(SECRET)))
    }

    fn serving_with(mut self, auth: SharedAuth) -> Place {
        let settings = GatewaySettings::local(self.home.paths.state_dir.clone(), auth);
        let gateway = Gateway::start(settings).unwrap();
        let port = gateway.local_addr().port().to_string();
        self.home.environment.set("OPENCLAW_GATEWAY_PORT", &port);
        self.gateway = Some(gateway);
        self
    }

    fn run(&self, line: &str) -> Result<Answer, CliError> {
        run(&self.home, line)
    }

    fn document(&self, line: &str) -> Value {
        self.run(line).unwrap().document.unwrap()
    }

    fn refusal(&self, line: &str) -> String {
        self.run(line).unwrap_err().to_string()
    }
}

#[test]
fn lists_tell_the_whole_truth() {
    let place = Place::with_state();
    for line in ["nodes pending --json", "devices list --json"] {
        let document = place.document(line);
        let rows = document.get("pending").unwrap_or(&document);
        let shown: Vec<(&str, &str)> = rows
            .as_array()
            .unwrap()
            .iter()
            .map(|row| {
                (
                    row["requestId"].as_str().unwrap(),
                    row["layer"].as_str().unwrap(),
                )
            })
            .collect();
        let expected = [("11111111-aaaa", "device"), ("22222222-bbbb", "node")];
        assert_eq!(shown, expected, "{line}");
    }
    let pending = place.document("nodes pending");
    assert_eq!(pending[0]["nodeId"], NODE);
    assert_eq!(pending[0]["commands"], json!([]));
    let answer = place.run("devices list").unwrap();
    assert!(
        answer.notes[0].starts_with("No gateway runs here; working on "),
        "{:?}",
        answer.notes
    );
    assert!(
        !answer.document.unwrap().to_string().contains("\"token\":"),
        "no token value"
    );
}

#[test]
fn either_command_approves_either_layer_and_says_what_still_waits() {
    let place = Place::with_state();
    let answer = place.run("nodes approve 11111111").unwrap();
    let document = answer.document.unwrap();
    assert_eq!(document["device"]["deviceId"], NODE);
    assert_eq!(
        document["next"]["command"],
        "openclaw nodes approve 22222222-bbbb"
    );
    assert!(
        answer.notes[2]
            .contains("node commands still wait: run openclaw nodes approve 22222222-bbbb")
    );
    let answer = place.run("devices approve 22222222-bbbb").unwrap();
    assert_eq!(answer.text, format!("Approved {NODE} (22222222-bbbb)"));
    let document = answer.document.unwrap();
    assert_eq!(document["node"]["commands"], json!(["system.run"]));
    assert_eq!(document["node"]["token"].as_str().map(str::len), Some(43));
    assert_eq!(place.document("nodes pending"), json!([]));
    let listed = place.document("nodes list");
    assert_eq!(listed["paired"][0]["nodeId"], NODE);
    assert!(listed["paired"][0].get("token").is_none());
}

#[test]
fn the_plain_answer_of_an_approval_has_no_token() {
    let place = Place::with_state();
    let answer = place.run("nodes approve 22222222").unwrap();
    assert!(!answer.text.contains("\"token\""), "{}", answer.text);
    assert!(answer.document.unwrap()["node"]["token"].is_string());
}

#[test]
fn a_preview_approves_nothing() {
    let place = Place::with_state();
    for line in [
        "devices approve",
        "devices approve --latest",
        "devices approve 22222222 --latest",
    ] {
        let answer = place.run(line).unwrap();
        assert_eq!(answer.exit, 1, "{line}");
        assert!(
            answer
                .text
                .starts_with("Selected pending device request 11111111-aaaa\n"),
            "{}",
            answer.text
        );
        let command = "openclaw devices approve 11111111-aaaa";
        assert_eq!(
            answer.notes[1],
            format!("Approve this exact request with: {command}")
        );
        let document = answer.document.unwrap();
        assert_eq!(document["approvalState"]["kind"], "new-pairing");
        assert_eq!(document["approvalState"]["approved"], Value::Null);
        assert_eq!(
            document["requiresAuthFlags"],
            json!({"token": false, "password": false})
        );
    }
    assert_eq!(place.document("nodes pending").as_array().unwrap().len(), 2);
    let answer = place.run("devices approve --timeout 500 --json").unwrap();
    let command = answer.document.unwrap()["approveCommand"].clone();
    assert_eq!(
        command,
        "openclaw devices approve 11111111-aaaa --timeout 500 --json"
    );
}

#[test]
fn a_decision_names_what_was_looked_at_and_a_change_is_shown() {
    let place = Place::with_state();
    let listed = place.document("nodes pending --json");
    let digest = |row: usize| listed[row]["digest"].as_str().unwrap().to_owned();
    let changed = place
        .run(&format!("devices approve 22222222 --digest {}", digest(0)))
        .unwrap_err();
    assert!(
        changed
            .to_string()
            .starts_with("request changed since it was shown"),
        "{changed}"
    );
    let hint = changed.hint().unwrap();
    let command = format!(
        "openclaw nodes approve 22222222-bbbb --digest {}",
        digest(1)
    );
    assert!(
        hint.ends_with(&format!("Approve what it asks for now with: {command}")),
        "{hint}"
    );
    assert_eq!(
        changed.document()["error"]["details"]["code"],
        "REQUEST_CHANGED"
    );
    assert_eq!(
        place.document("nodes pending").as_array().unwrap().len(),
        2,
        "nothing was approved"
    );

    let line = command.strip_prefix("openclaw ").unwrap();
    let approved = place.run(line).unwrap();
    assert_eq!(approved.notes[1], "Approved node Pi with system.run.");
    let changes = json!({"commands": {"added": ["system.run"], "removed": []},
        "caps": {"added": ["system"], "removed": []}});
    assert_eq!(approved.document.unwrap()["changes"], changes);
    let again = place.run(line).unwrap();
    assert_eq!(
        again.notes[1],
        "This request was approved before; nothing changed."
    );
    assert_eq!(again.document.unwrap()["alreadyApproved"], true);
    let again = place.run("devices approve 22222222").unwrap();
    assert_eq!(
        again.text,
        format!("Approved {NODE} (22222222)"),
        "a prefix still finds it"
    );
}

#[test]
fn an_id_that_is_over_answers_what_happened_even_to_the_next_command() {
    let place = Place::with_state();
    place.run("devices reject 11111111").unwrap();
    place.run("nodes reject 22222222").unwrap();
    assert!(
        place
            .home
            .paths
            .state_dir
            .join("devices/resolved.json")
            .exists()
    );
    for (line, by) in [
        ("devices approve 11111111-aaaa", "openclaw devices list"),
        ("nodes approve 22222222", "openclaw nodes pending"),
        ("devices reject 22222222-bbbb", "openclaw nodes pending"),
    ] {
        let refused = place.run(line).unwrap_err();
        assert_eq!(refused.to_string(), "unknown requestId", "{line}");
        let hint = refused.hint().unwrap();
        assert!(
            hint.starts_with("It was rejected just now by command line; nothing was approved.")
                && hint.ends_with(by),
            "{line}: {hint}"
        );
        assert_eq!(refused.document()["error"]["details"]["state"], "rejected");
    }
    let never = place.run("nodes approve 99999999").unwrap_err();
    assert!(never.hint().unwrap().starts_with("Nothing waits."));
}

#[test]
fn a_re_approval_prints_what_it_adds_and_takes_away() {
    let place = Place::with_state();
    place.run("nodes approve 22222222").unwrap();
    let again = json!({"33333333-cccc": {"requestId": "33333333-cccc", "nodeId": NODE, "platform": "linux",
        "caps": ["system"], "commands": ["system.which"], "silent": false, "ts": SystemClock.now_ms()}});
    place.home.write("nodes/pending.json", &again.to_string());
    let approved = place.run("nodes approve 33333333").unwrap();
    assert_eq!(
        approved.notes[1..4],
        [
            "Approved node Pi with system.which.",
            "  + command system.which",
            "  - command system.run"
        ]
    );
}

#[test]
fn rejecting_renaming_removing() {
    let place = Place::with_state();
    assert_eq!(place.document("nodes reject 11111111")["deviceId"], NODE);
    let answer = place.run("devices reject 22222222").unwrap();
    assert_eq!(answer.text, format!("Rejected {NODE}"));
    let place = Place::with_state();
    place.run("nodes approve 22222222").unwrap();
    let answer = place.run("nodes rename --node pi --name Workshop").unwrap();
    assert_eq!(answer.text, format!("node rename ok: {NODE} -> Workshop"));
    assert_eq!(
        place.document("nodes list")["paired"][0]["displayName"],
        "Workshop"
    );
    let described = place.document("nodes describe --node workshop");
    assert_eq!(
        (&described["nodeId"], &described["displayName"]),
        (&json!(NODE), &json!("Workshop"))
    );
    assert!(described["ts"].is_number(), "{described}");
    assert_eq!(
        place.refusal("nodes remove --node pi"),
        "unknown node: pi (known: Workshop)"
    );
    let answer = place.run("nodes remove --node workshop").unwrap();
    assert_eq!(answer.text, format!("Removed paired node {NODE}"));
}

#[test]
fn tokens_and_devices() {
    let place = Place::with_state();
    let rotated =
        place.document("devices rotate --device aaaa00 --role operator --scope operator.read");
    assert_eq!(rotated["scopes"], json!(["operator.read"]));
    assert!(
        rotated.get("token").is_none(),
        "only a device learns its own token"
    );
    let revoked = place.document("devices revoke --device aaaa00 --role operator");
    assert_eq!(revoked["deviceId"], OPERATOR);
    let denied = place.refusal("devices rotate --device aaaa00 --role node");
    assert_eq!(denied, "device token rotation denied");
    let answer = place.run("devices remove aaaa00").unwrap();
    assert_eq!(answer.text, format!("Removed {OPERATOR}"));
    assert_eq!(place.refusal("devices remove aaaa00"), "unknown deviceId");
}

#[test]
fn clearing_needs_a_word_and_tells_what_it_did() {
    let place = Place::with_state();
    let refused = place.run("devices clear").unwrap_err();
    assert_eq!(refused.document()["error"]["code"], "NOT_CONFIRMED");
    let answer = place.run("devices clear --yes --pending").unwrap();
    assert_eq!(
        answer.text,
        "Cleared 1 paired device\nRejected 1 pending request\n"
    );
    let expected = json!({"removedDevices": [OPERATOR], "rejectedPending": ["11111111-aaaa"]});
    assert_eq!(answer.document.unwrap(), expected);
}

#[test]
fn an_unknown_id_is_told_what_waits() {
    let place = Place::with_state();
    for line in [
        "nodes approve 99999999",
        "devices approve 99999999",
        "nodes reject 99999999",
    ] {
        let error = place.run(line).unwrap_err();
        assert_eq!(error.to_string(), "unknown requestId", "{line}");
        assert_eq!(
            error.hint().unwrap(),
            "Waiting now: 11111111-aaaa, 22222222-bbbb"
        );
    }
}

#[test]
fn offline_work_is_for_the_gateways_own_machine() {
    let remote = "{gateway: {mode: 'remote', remote: {url: 'ws://127.0.0.1:1', token: 't'}}}";
    let place = Place::new(remote);
    place.home.write("devices/paired.json", "{}");
    assert!(
        place
            .refusal("devices list")
            .starts_with("gateway not reachable: ")
    );
    let never = Place::new("{}");
    let text = never.refusal("devices list");
    assert!(
        text.starts_with("gateway not reachable: connect ECONNREFUSED 127.0.0.1:"),
        "{text}"
    );
    assert!(
        text.contains("\nSource: local loopback\n") && text.ends_with("\nBind: loopback"),
        "{text}"
    );
    let place = Place::with_state();
    let text = place.refusal("devices list --url ws://127.0.0.1:1 --token t");
    assert!(text.starts_with("gateway not reachable: "), "{text}");
    let text = place.refusal("devices list --url ws://127.0.0.1:1");
    assert!(
        text.starts_with("gateway url override requires explicit credentials\n"),
        "{text}"
    );
}

#[test]
fn a_gateway_that_is_to_run_here_can_be_prepared_before_its_first_start() {
    let place = Place::new("{gateway: {mode: 'local'}}");
    let key = place.document("devices keys create --command system.run");
    assert_eq!(key["commands"], json!(["system.run"]), "{key}");
    let listed = place.document("devices keys list");
    assert_eq!(listed["keys"].as_array().unwrap().len(), 1, "{listed}");
}

#[test]
fn a_secret_that_cannot_be_had_does_not_lock_the_owner_out() {
    let place = Place::new(
        "{gateway: {auth: {token: {source: 'env', provider: 'default', id: 'NOT_SET'}}}}",
    );
    let refused = place.run("devices list").unwrap_err();
    assert_eq!(refused.document()["error"]["code"], "CREDENTIALS_MISSING");
    place.home.write("devices/paired.json", "{}");
    assert_eq!(
        place.document("devices list"),
        json!({"pending": [], "paired": []})
    );
}
