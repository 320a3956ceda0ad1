//! `openclaw approvals`: what a person reads and decides about commands, on this machine, a gateway and a node.

use serde_json::{Value, json};

use crate::support::peer::Peer;
use crate::support::process::{Gateway, Running, command, openclaw, program};
use crate::support::stand_in::{StandIn, with_gateway};

/// Far enough in the future that nothing expires by itself.
const LATE: u64 = 4_000_000_000_000;

fn entry(id: &str, command: &str) -> Value {
    json!({"id": id, "createdAtMs": 1, "expiresAtMs": LATE, "request": {
        "command": command, "nodeId": "n-1", "host": "node", "cwd": "/w", "agentId": "main",
        "allowedDecisions": ["allow-once", "allow-always", "deny"]}})
}

fn nodes() -> Value {
    json!({"ts": 1, "nodes": [{"nodeId": "n-1", "displayName": "Build\u{202e} Node", "connected": true}]})
}

#[test]
fn pending_shows_what_waits_where_and_asks_for_the_scope_of_approvers() {
    let gateway = StandIn::new();
    let waiting = json!([
        entry("3f2a91c0-aaaa", "uname -a\u{202e}"),
        entry("77777777-bbbb", "id")
    ]);
    let play = |gateway: &StandIn| {
        let mut visitor = gateway.welcome();
        let scopes = visitor.connect["scopes"].to_string();
        assert!(scopes.contains("operator.approvals"), "{scopes}");
        // It ends before anything new could be shown.
        assert_eq!(visitor.connect["caps"], json!([]));
        visitor.answer("exec.approval.list", waiting.clone());
        visitor.answer("node.list", nodes());
    };
    let shown = with_gateway(&gateway, &["approvals", "pending"], play).success();
    for part in [
        "Waiting for approval (2)",
        "│ 3f2a91c0 │ Build Node │ uname -a\\u{202E} │ /w",
        "openclaw approvals resolve <id> allow-once|allow-always|deny",
    ] {
        assert!(shown.stdout.contains(part), "{part}: {}", shown.stdout);
    }
    let rows = with_gateway(&gateway, &["exec-approvals", "pending", "--json"], play).success();
    assert_eq!(rows.json()[0]["nodeName"], "Build Node", "{rows:?}");
    assert_eq!(rows.json()[1]["request"]["command"], "id");
    assert!(!rows.stdout.contains('\u{202e}'));
}

#[test]
fn watching_goes_on_over_a_restart_of_the_gateway_and_ends_by_a_signal() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let gateway = StandIn::new();
        let home = gateway.home();
        let mut watch = command(&program(), &home);
        watch.args(["approvals", "pending", "--watch", "--json"]);
        let mut watch = Running::start(watch);
        let mut visitor = gateway.welcome();
        // Gateways of 2026.9 offer approvals to those alone who say that they show them.
        assert_eq!(visitor.connect["caps"], json!(["exec-approvals"]));
        visitor.answer("exec.approval.list", json!([entry("a", "first")]));
        visitor.answer("node.list", nodes());
        visitor.event("exec.approval.requested", entry("b", "second"));
        watch.wait_for_output("second");
        let mut decided = entry("a", "first");
        decided["decision"] = json!("deny");
        decided["resolvedBy"] = json!("Desk");
        visitor.event("exec.approval.resolved", decided);
        watch.wait_for_output("Desk");
        visitor.close(1012, "service restart");
        watch.wait_for_output("gateway closed (1012): service restart; connecting again in 1s");
        let mut visitor = gateway.welcome();
        assert_eq!(visitor.connect["caps"], json!(["exec-approvals"]));
        visitor.answer("exec.approval.list", json!([entry("c", "third")]));
        watch.wait_for_output("third");
        // On the other stream, so in no order with the rows.
        watch.wait_for_output("Connected again.");
        watch.signal(signal);
        assert_eq!(watch.exit_code(), code);
        let output = watch.output();
        let lines = output.lines().filter(|line| line.starts_with('{'));
        let told: Vec<String> = lines
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .map(|line| {
                format!(
                    "{} {}",
                    line["type"].as_str().unwrap(),
                    line["id"].as_str().unwrap()
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                "waiting a",
                "waiting b",
                "resolved a",
                "gone b",
                "waiting c"
            ]
        );
    }
}

#[test]
fn watching_ends_in_time_with_success_and_fails_at_once_without_a_gateway() {
    let gateway = StandIn::new();
    let home = gateway.home();
    let mut watch = command(&program(), &home);
    watch.args(["approvals", "pending", "--watch", "--until", "3s"]);
    let mut watch = Running::start(watch);
    let mut visitor = gateway.welcome();
    visitor.answer("exec.approval.list", json!([]));
    assert_eq!(watch.exit_code(), 0, "{}", watch.output());
    assert!(watch.output().contains("No commands wait for approval."));
    gateway.end();
    let failed = openclaw(&home, &["approvals", "pending", "--watch", "--json"]);
    assert_eq!(failed.code, 1);
    assert_eq!(
        failed.stdout.lines().count(),
        1,
        "one object a line: {failed:?}"
    );
    assert_eq!(failed.json()["error"]["code"], "GATEWAY_UNREACHABLE");
}

#[test]
fn resolving_says_what_was_decided_for_which_command_on_which_node() {
    let gateway = StandIn::new();
    let found = json!({"id": "3f2a91c0-aaaa", "commandText": "uname -a\u{202e}", "commandPreview": null,
        "allowedDecisions": ["allow-once", "deny"], "host": "node", "nodeId": "n-1", "agentId": "main",
        "expiresAtMs": LATE});
    let play = |gateway: &StandIn| {
        let mut visitor = gateway.welcome();
        let asked = visitor.answer("exec.approval.get", found.clone());
        assert_eq!(asked, json!({"id": "3f2a"}));
        let mut waiting = entry("3f2a91c0-aaaa", "uname -a");
        waiting["request"]["envKeys"] = json!(["FOO"]);
        waiting["request"]["warningText"] = json!("it deletes");
        visitor.answer("exec.approval.list", json!([waiting]));
        let decided = visitor.answer("exec.approval.resolve", json!({"ok": true}));
        assert_eq!(
            decided,
            json!({"id": "3f2a91c0-aaaa", "decision": "allow-once"}),
            "the whole id"
        );
        visitor.answer("node.list", nodes());
    };
    let line = ["approvals", "resolve", "3f2a", "allow-once"];
    let told = with_gateway(&gateway, &line, play).success();
    assert_eq!(
        told.stdout,
        "Allowed once: uname -a\\u{202E} on Build Node (3f2a91c0-aaaa)\n\
         It sets FOO\nIt comes with a warning: it deletes\n"
    );
    let told = with_gateway(&gateway, &[&line[..], &["--json"]].concat(), play).success();
    assert_eq!(told.json()["nodeName"], "Build Node");
    assert_eq!(told.json()["decision"], "allow-once");
}

#[test]
fn a_refused_decision_says_why_and_what_to_do() {
    let gateway = StandIn::new();
    let unknown = json!({"code": "INVALID_REQUEST", "message": "unknown or expired approval id", "details": {
        "reason": "APPROVAL_NOT_FOUND",
        "remediation": "Re-request the action; pending approvals are cleared after expiry or restart."}});
    let play = |gateway: &StandIn| {
        let mut visitor = gateway.welcome();
        visitor.refuse("exec.approval.get", unknown.clone());
        visitor.answer("exec.approval.list", json!([]));
        visitor.refuse("exec.approval.resolve", unknown.clone());
    };
    let line = ["approvals", "resolve", "nope", "deny", "--json"];
    let refused = with_gateway(&gateway, &line, play);
    assert_eq!(refused.code, 1);
    assert_eq!(
        refused.stderr,
        "approvals resolve failed: unknown or expired approval id\n\
         Re-request the action; pending approvals are cleared after expiry or restart.\n"
    );
    let document = refused.json();
    assert_eq!(document["error"]["details"]["reason"], "APPROVAL_NOT_FOUND");
    let home = gateway.home();
    for (line, text) in [
        (
            &["approvals", "resolve", "a", "maybe"][..],
            "error: invalid decision 'maybe'",
        ),
        (
            &["approvals", "resolve", "a"],
            "error: missing required argument 'decision'",
        ),
        (
            &["approvals", "pending", "--until", "1s"],
            "error: --until needs --watch",
        ),
        (
            &["approvals", "pending", "--watch", "--until", "soon"],
            "Invalid --until: invalid duration: soon",
        ),
    ] {
        let refused = openclaw(&home, line);
        assert!(
            refused.code == 1 && refused.stderr.contains(text),
            "{line:?}: {refused:?}"
        );
    }
}

#[test]
fn a_command_that_asks_is_seen_and_decided_from_terminals() {
    let gateway = Gateway::start();
    let mut watch = command(&program(), &gateway.home);
    watch.args(["approvals", "pending", "--watch"]);
    let mut watch = Running::start(watch);
    watch.wait_for_output("No commands wait for approval.");
    let mut asking = Peer::operator(gateway.address, &gateway.token);
    let ask = |asking: &mut Peer, id: &str| {
        let plan = json!({"argv": ["/bin/echo", "hi"], "cwd": "/tmp", "commandText": "/bin/echo hi",
            "commandPreview": null, "agentId": "main", "sessionKey": "s"});
        let params = json!({"id": id, "host": "node", "nodeId": "n-1", "systemRunPlan": plan, "twoPhase": true});
        let request = asking.send("exec.approval.request", params);
        assert_eq!(asking.answer(&request).unwrap()["status"], "accepted");
        request
    };
    let first = ask(&mut asking, "3f2a91c0-aaaa");
    watch.wait_for_output(
        "Waiting   3f2a91c0  n-1: /bin/echo hi  (cwd /tmp, agent main, expires in ",
    );
    let second = ask(&mut asking, "77777777-bbbb");

    let rows = gateway
        .cli(&["approvals", "pending", "--json"])
        .success()
        .json();
    assert_eq!(rows.as_array().unwrap().len(), 2);
    let told = gateway
        .cli(&["approvals", "resolve", "3f2a", "allow-once"])
        .success();
    assert_eq!(
        told.stdout,
        "Allowed once: /bin/echo hi on n-1 (3f2a91c0-aaaa)\n"
    );
    assert_eq!(asking.answer(&first).unwrap()["decision"], "allow-once");
    let denied = gateway.cli(&["approvals", "resolve", "77777777-bbbb", "deny", "--json"]);
    assert_eq!(denied.success().json()["command"], "/bin/echo hi");
    assert_eq!(asking.answer(&second).unwrap()["decision"], "deny");
    watch.wait_for_output("Resolved  77777777  n-1: /bin/echo hi  (deny by ");

    let again = gateway
        .cli(&["approvals", "resolve", "77777777-bbbb", "deny"])
        .success();
    assert!(
        again.stdout.starts_with("Denied: "),
        "the same again is a success: {again:?}"
    );
    let other = gateway.cli(&[
        "approvals",
        "resolve",
        "77777777-bbbb",
        "allow-once",
        "--json",
    ]);
    assert_eq!(other.code, 1);
    assert_eq!(
        other.json()["error"]["message"],
        "approval already resolved"
    );
    let unknown = gateway.cli(&["approvals", "resolve", "zzzz", "deny"]);
    assert!(
        unknown.stderr.contains("unknown or expired approval id"),
        "{unknown:?}"
    );
    assert!(
        unknown.stderr.contains("Re-request the action"),
        "{unknown:?}"
    );
    let empty = gateway.cli(&["approvals", "pending"]).success();
    assert_eq!(empty.stdout, "No commands wait for approval.\n");
}
