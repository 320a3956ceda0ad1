//! Asking nodes, at a gateway without sockets: what is forwarded, who may be asked, and every way in which
//! an invoke ends (protocol.md §7.3, §7.4, §8.2).

use serde_json::{Value, json};

use super::question::REQUEST_EVENT;
use crate::gateway::invoke::MAX_OPEN_PER_ASKER;
use crate::gateway::rpc::dispatch;
use crate::gateway::testing::{Guest, House};
use crate::pairing::Part;
use crate::protocol::frame::Request;

const WHICH: &[&str] = &["system.which", "system.run"];

fn ask_which(person: &Guest<'_>) -> String {
    let params = json!({"nodeId": "n", "command": "system.which", "params": {"bins": ["ls"]}, "idempotencyKey": "k"});
    person.start("node.invoke", params)
}

/// The request that `node` got: its payload.
fn received(node: &Guest<'_>) -> Value {
    let frame = node.event_now(REQUEST_EVENT).unwrap();
    assert_eq!(frame.get("seq"), None);
    frame["payload"].clone()
}

#[test]
fn the_answer_of_the_node_reaches_the_asker() {
    let house = House::new();
    let person = house.operator(&["operator.write"]);
    let node = house.paired_node("n", WHICH);
    let open = ask_which(&person);
    assert_eq!(person.next(), None, "not answered before the node does");
    let request = received(&node);
    let id = request["id"].as_str().unwrap().to_owned();
    assert_eq!(
        request,
        json!({"id": id, "nodeId": "n", "command": "system.which",
        "paramsJSON": "{\"bins\":[\"ls\"]}", "idempotencyKey": "k"})
    );
    let result = json!({"id": id, "nodeId": "n", "ok": true, "payloadJSON": "{\"bins\":{\"ls\":\"/bin/ls\"}}", "error": null});
    assert_eq!(
        node.ask("node.invoke.result", result.clone()),
        json!({"ok": true})
    );
    assert_eq!(
        person.answer(&open)["payload"],
        json!({"ok": true, "nodeId": "n", "command": "system.which",
        "payload": {"bins": {"ls": "/bin/ls"}}, "payloadJSON": "{\"bins\":{\"ls\":\"/bin/ls\"}}"})
    );
    assert_eq!(
        node.ask("node.invoke.result", result),
        json!({"ok": true, "ignored": true})
    );
    assert_eq!(house.context.timer.pending(), 0, "its deadline is gone");
}

#[test]
fn a_request_says_what_was_given() {
    let house = House::new();
    let person = house.operator(&["operator.write"]);
    let node = house.paired_node("n", WHICH);
    let base = |extra: Value| {
        let mut params = json!({"nodeId": "n", "command": "system.which", "idempotencyKey": "k"});
        params
            .as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        person.start("node.invoke", params);
        received(&node)
    };
    let bare = base(json!({}));
    assert_eq!(
        (&bare["paramsJSON"], bare.get("timeoutMs")),
        (&Value::Null, None)
    );
    let given = base(json!({"params": null, "timeoutMs": 8_000}));
    assert_eq!(
        (&given["paramsJSON"], &given["timeoutMs"]),
        (&json!("null"), &json!(8_000))
    );
    let newer = house.join(|session| {
        session.role = crate::protocol::scope::Role::Node;
        session.device = Some("n".into());
        session.declared = vec!["system.which".to_owned()];
        session.protocol = 4;
    });
    let params = json!({"nodeId": "n", "command": "system.which", "idempotencyKey": "k"});
    person.start("node.invoke", params);
    assert_eq!(received(&newer)["timeoutMs"], 30_000);
    assert!(
        node.event_now(REQUEST_EVENT).is_none(),
        "the newest connection owns the node"
    );
}

#[test]
fn refusals_come_in_the_order_of_the_table() {
    let house = House::new();
    let person = house.operator(&["operator.write"]);
    let _paired = house.paired_node("n", WHICH);
    let _bare = house.node("bare", WHICH);
    let ask = |node: &str, command: &str, params: Value| {
        let asked =
            json!({"nodeId": node, "command": command, "params": params, "idempotencyKey": "k"});
        let error = person.refused("node.invoke", asked);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (text(&error["code"]), text(&error["message"]))
    };
    let invalid = |message: &str| ("INVALID_REQUEST".to_owned(), message.to_owned());
    let unavailable = |message: &str| ("UNAVAILABLE".to_owned(), message.to_owned());
    let claim = json!({"approved": true, "runId": "r"});
    let cases = [
        (
            ask(" ", "x", json!({})),
            invalid("nodeId and command required"),
        ),
        (
            ask("gone", "system.execApprovals.get", json!({})),
            invalid("node.invoke does not allow system.execApprovals.*; use exec.approvals.node.*"),
        ),
        (
            ask(
                "gone",
                "browser.proxy",
                json!({"method": "POST", "path": "/profiles/create"}),
            ),
            invalid("node.invoke cannot mutate persistent browser profiles via browser.proxy"),
        ),
        (
            ask("gone", "x", json!({})),
            unavailable("node not connected"),
        ),
        (
            ask("bare", "x", json!({})),
            invalid("node command not allowed: node pairing is not approved"),
        ),
        (
            ask("n", "x", json!({})),
            invalid(
                "node command not allowed: \"x\" is not in the allowlist for platform \"linux\"",
            ),
        ),
        (
            ask("n", "system.notify", json!({})),
            invalid(
                "node command not allowed: the node (platform: linux) does not support \"system.notify\"",
            ),
        ),
        (
            ask("n", "system.run", claim.clone()),
            invalid("unknown or expired approval id"),
        ),
        (
            ask("bare", "system.run", claim),
            invalid("node command not allowed: node pairing is not approved"),
        ),
    ];
    for (got, expected) in cases {
        assert_eq!(got, expected);
    }
}

#[test]
fn what_a_caller_can_make_the_gateway_remember_is_bounded() {
    let house = House::new();
    let person = house.operator(&["operator.write"]);
    let _node = house.paired_node("n", WHICH);
    let params = json!({"nodeId": "n", "command": "system.which", "idempotencyKey": "k"});
    let request = |id: String| Request {
        id,
        method: "node.invoke".to_owned(),
        params: Some(params.clone()),
    };
    dispatch(&house.context, &person.session, request("x".repeat(1_025)));
    let error = person.next().unwrap()["error"].clone();
    assert_eq!(
        error["message"],
        "request id too long to wait for a node (limit 1024 bytes)"
    );
    for number in 0..MAX_OPEN_PER_ASKER {
        dispatch(&house.context, &person.session, request(number.to_string()));
    }
    assert_eq!(person.next(), None);
    dispatch(
        &house.context,
        &person.session,
        request("one more".to_owned()),
    );
    let error = person.next().unwrap()["error"].clone();
    assert_eq!(
        (&error["details"]["code"], &error["retryable"]),
        (&json!("TOO_MANY_INVOKES"), &json!(true))
    );
    person.leave();
    assert!(house.context.registry().invokes.is_empty());
    assert_eq!(house.context.timer.pending(), 0);
}

#[test]
fn claims_of_an_approval_never_reach_the_node() {
    let house = House::new();
    let person = house.operator(&["operator.admin"]);
    let node = house.paired_node("n", WHICH);
    let params =
        json!({"command": ["ls"], "approved": false, "approvalDecision": "deny", "elevated": true});
    person.start(
        "node.invoke",
        json!({"nodeId": "n", "command": "system.run", "params": params, "idempotencyKey": "k"}),
    );
    assert_eq!(received(&node)["paramsJSON"], "{\"command\":[\"ls\"]}");
}

#[test]
fn deadlines_answer_without_the_node() {
    let house = House::new();
    let person = house.operator(&["operator.write"]);
    let node = house.paired_node("n", WHICH);
    // Long enough that the node is asked before it is over.
    for timeout_ms in [0, 100] {
        let open = person.start("node.invoke",
            json!({"nodeId": "n", "command": "system.which", "timeoutMs": timeout_ms, "idempotencyKey": "k"}));
        let error = person.answer(&open)["error"].clone();
        assert_eq!(
            error,
            json!({"code": "UNAVAILABLE", "message": "TIMEOUT: node invoke timed out",
            "details": {"nodeError": {"code": "TIMEOUT", "message": "node invoke timed out"}}})
        );
        let request = node.event(REQUEST_EVENT)["payload"].clone();
        assert_eq!(request["timeoutMs"], timeout_ms);
        let late = json!({"id": request["id"], "nodeId": "n", "ok": true});
        assert_eq!(
            node.ask("node.invoke.result", late),
            json!({"ok": true, "ignored": true})
        );
        assert_eq!(person.next(), None);
    }
}

#[test]
fn a_closing_node_fails_its_invokes_and_a_closing_asker_is_not_missed() {
    let house = House::new();
    let (person, leaver) = (
        house.operator(&["operator.write"]),
        house.operator(&["operator.write"]),
    );
    let node = house.paired_node("n", WHICH);
    let (open, _) = (ask_which(&person), ask_which(&leaver));
    let (_, second) = (received(&node), received(&node));
    leaver.leave();
    let result = json!({"id": second["id"], "nodeId": "n", "ok": true});
    assert_eq!(
        node.ask("node.invoke.result", result),
        json!({"ok": true, "ignored": true})
    );
    node.leave();
    assert_eq!(
        person.answer(&open)["error"],
        json!({"code": "UNAVAILABLE",
        "message": "node disconnected (system.which)", "details": {"code": "NODE_DISCONNECTED"}})
    );
    assert_eq!(house.context.timer.pending(), 0);
    assert!(house.context.registry().invokes.is_empty());
}

#[test]
fn results_count_from_the_asked_connection_alone() {
    let house = House::new();
    let person = house.operator(&["operator.write"]);
    let old = house.paired_node("n", WHICH);
    let open = ask_which(&person);
    let id = received(&old)["id"].clone();
    let new = house.node("n", WHICH);
    let thief = house.node("thief", WHICH);
    let result = |ok: bool, node: &str| json!({"id": id, "nodeId": node, "ok": ok});
    assert_eq!(
        new.ask("node.invoke.result", result(true, "n")),
        json!({"ok": true, "ignored": true})
    );
    assert_eq!(
        thief.ask("node.invoke.result", result(true, "thief")),
        json!({"ok": true, "ignored": true})
    );
    let error = thief.refused("node.invoke.result", result(true, "n"));
    assert_eq!(
        error,
        json!({"code": "INVALID_REQUEST", "message": "nodeId mismatch"})
    );
    assert_eq!(
        old.ask("node.invoke.result", result(false, "n")),
        json!({"ok": true})
    );
    assert_eq!(
        person.answer(&open)["error"]["message"],
        "node invoke failed"
    );
}

#[test]
fn when_the_owner_closes_the_older_connection_is_asked() {
    let house = House::new();
    let person = house.operator(&["operator.write"]);
    let old = house.paired_node("n", WHICH);
    let new = house.node("n", WHICH);
    ask_which(&person);
    received(&new);
    new.leave();
    ask_which(&person);
    received(&old);
    assert!(!old.session.has_ended());
}

#[test]
fn a_node_that_reads_nothing_fails_the_invoke() {
    let house = House::new();
    let person = house.operator(&["operator.write"]);
    house.seed(
        Part::NodesPaired,
        json!({"n": crate::gateway::testing::node_record("n", WHICH)}),
    );
    let node = house.join(|session| {
        session.role = crate::protocol::scope::Role::Node;
        session.device = Some("n".into());
        session.declared = vec!["system.which".to_owned()];
        // Room for one question and the words of a second, not for what goes around them.
        session.outbox = crate::net::Outbox::new(400).unwrap();
    });
    let small = ask_which(&person);
    let large = json!({"nodeId": "n", "command": "system.which", "params": "x".repeat(2_000), "idempotencyKey": "k"});
    let large = person.start("node.invoke", large);
    let error = &person.answer(&large)["error"];
    assert_eq!(error["details"]["code"], "TOO_MANY_INVOKES", "{error}");
    assert!(!node.session.has_ended(), "no asker ends its session");
    let second = ask_which(&person);
    assert_eq!(
        person.answer(&second)["error"],
        json!({"code": "UNAVAILABLE",
        "message": "UNAVAILABLE: failed to send invoke to node",
        "details": {"nodeError": {"code": "UNAVAILABLE", "message": "failed to send invoke to node"}}})
    );
    assert!(node.session.has_ended());
    node.leave();
    assert_eq!(
        person.answer(&small)["error"]["details"]["code"],
        "NODE_DISCONNECTED"
    );
}

#[test]
fn policies_of_nodes_are_relayed_only_to_paired_ones() {
    let house = House::new();
    let person = house.operator(&["operator.admin"]);
    let node = house.paired_node("n", &[]);
    let _bare = house.node("bare", &[]);
    let cases = [
        ("gone", "UNAVAILABLE", "NOT_CONNECTED: node not connected"),
        (
            "bare",
            "INVALID_REQUEST",
            "node command not allowed: node pairing is not approved",
        ),
        (" ", "INVALID_REQUEST", "nodeId required"),
    ];
    for (id, code, message) in cases {
        let error = person.refused("exec.approvals.node.get", json!({"nodeId": id}));
        assert_eq!(
            (&error["code"], &error["message"]),
            (&json!(code), &json!(message))
        );
    }
    let open = person.start(
        "exec.approvals.node.set",
        json!({"nodeId": "n", "file": {"version": 1}, "baseHash": "h"}),
    );
    let request = received(&node);
    assert_eq!(request["command"], "system.execApprovals.set");
    assert_eq!(
        request["paramsJSON"],
        "{\"file\":{\"version\":1},\"baseHash\":\"h\"}"
    );
    assert_eq!(request.get("idempotencyKey"), None);
    node.ask(
        "node.invoke.result",
        json!({"id": request["id"], "nodeId": "n", "ok": true, "payloadJSON": "{\"hash\":\"x\"}"}),
    );
    assert_eq!(person.answer(&open)["payload"], json!({"hash": "x"}));
    let edit = json!({"nodeId": "n", "file": {"version": 1}, "baseHash": "x"});
    person.start("exec.approvals.node.set", edit);
    received(&node);
    person.leave();
    let trail = house.context.store.audit_log().newest(2).unwrap();
    let told = |line: &Value| {
        let names = ["action", "subject", "before", "after", "detail"];
        names.map(|name| line[name].clone())
    };
    let line = |before: &str, after: Value, detail: Value| {
        let before = json!({"hash": before});
        [
            json!("exec.approvals.node.set"),
            json!("n"),
            before,
            after,
            detail,
        ]
    };
    assert_eq!(
        [told(&trail[0]), told(&trail[1])],
        [
            line("h", json!({"hash": "x"}), Value::Null),
            line("x", Value::Null, json!({"outcome": "unknown"})),
        ]
    );
}

#[test]
fn a_node_writes_no_more_than_a_hash_into_the_trail() {
    let house = House::new();
    let node = house.paired_node("n", &["system.run"]);
    let person = house.operator(&["operator.admin"]);
    for hash in [json!("h".repeat(129)), json!({"a": "b"})] {
        let edit = json!({"nodeId": "n", "file": {"version": 1}, "baseHash": "x"});
        let open = person.start("exec.approvals.node.set", edit);
        let id = received(&node)["id"].clone();
        let result = json!({"id": id, "nodeId": "n", "ok": true, "payload": {"hash": hash}});
        node.ask("node.invoke.result", result);
        assert_eq!(person.answer(&open)["payload"]["hash"], hash);
        let trail = house.context.store.audit_log().newest(1).unwrap();
        assert_eq!(trail[0]["after"], json!({"hash": null}));
    }
}
