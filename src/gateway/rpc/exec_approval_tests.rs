//! Approvals at a gateway without sockets: who is asked and answered, what a decision lets through, and what
//! ends it (protocol.md §8.3 to §8.5).

use serde_json::{Value, json};

use super::question::REQUEST_EVENT;
use crate::gateway::limits::chatter::MAX_AUDITED_REQUESTS;
use crate::gateway::testing::{Guest, House, device_record};
use crate::identity::ids::DeviceId;
use crate::pairing::Part;

const APPROVALS: &[&str] = &["operator.approvals"];
const RUN: &[&str] = &["system.run", "system.which"];

fn plan() -> Value {
    json!({"argv": ["/bin/echo", "hi"], "cwd": "/tmp", "commandText": "/bin/echo hi", "commandPreview": null,
        "agentId": "main", "sessionKey": "s"})
}

fn asking(id: &str) -> Value {
    json!({"id": id, "host": "node", "nodeId": "n", "systemRunPlan": plan(), "env": {"FOO": "bar"}, "twoPhase": true})
}

/// The same with other members.
fn with(mut value: Value, extra: Value) -> Value {
    let members = extra.as_object().unwrap().clone();
    value.as_object_mut().unwrap().extend(members);
    value
}

/// Params of a run that was approved as `id`.
fn approved(id: &str, extra: Value) -> Value {
    let run = json!({"command": ["/bin/echo", "hi"], "rawCommand": "/bin/echo hi", "cwd": "/tmp", "agentId": "main",
        "sessionKey": "s", "systemRunPlan": plan(), "env": {"FOO": "bar"}, "runId": id, "approved": true,
        "approvalDecision": "allow-once"});
    json!({"nodeId": "n", "command": "system.run", "params": with(run, extra), "idempotencyKey": "k"})
}

/// A requester that may run, an approver, and the node.
struct Scene<'a> {
    requester: Guest<'a>,
    approver: Guest<'a>,
    node: Guest<'a>,
}

impl<'a> Scene<'a> {
    fn new(house: &'a House) -> Self {
        Scene {
            requester: house.device_operator("d", &["operator.approvals", "operator.write"]),
            approver: house.operator(APPROVALS),
            node: house.paired_node("n", RUN),
        }
    }

    /// Asks for an approval and lets it be decided.
    fn decided(&self, id: &str, decision: &str) {
        let open = self.requester.start("exec.approval.request", asking(id));
        assert_eq!(
            self.requester.answer(&open)["payload"]["status"],
            "accepted"
        );
        self.resolve(id, decision);
        let last = self.requester.answer(&open)["payload"].clone();
        assert_eq!(last["decision"], decision);
    }

    fn resolve(&self, id: &str, decision: &str) {
        let params = json!({"id": id, "decision": decision});
        let answer = self.approver.ask("exec.approval.resolve", params);
        assert_eq!(answer, json!({"ok": true}));
    }

    fn refusal(&self, params: Value) -> Value {
        let error = self.requester.refused("node.invoke", params);
        assert_eq!(self.node.event_now(REQUEST_EVENT), None);
        error
    }
}

#[test]
fn a_request_is_announced_accepted_decided_and_answered() {
    let house = House::new();
    let scene = Scene::new(&house);
    let outsider = house.operator(&["operator.write", "operator.pairing"]);
    let open = scene
        .requester
        .start("exec.approval.request", asking("Abcdef-1"));
    let accepted = scene.requester.answer(&open)["payload"].clone();
    let (created, expires) = (1_700_000_000_000_u64, 1_700_001_800_000_u64);
    assert_eq!(
        accepted,
        json!({"status": "accepted", "id": "Abcdef-1", "createdAtMs": created, "expiresAtMs": expires})
    );
    let event = scene.approver.event("exec.approval.requested")["payload"].clone();
    assert_eq!(event["request"]["command"], "/bin/echo hi");
    assert_eq!(
        scene.approver.ask("exec.approval.list", json!([7])),
        json!([event])
    );
    assert_eq!(
        scene
            .approver
            .ask("exec.approval.get", json!({"id": "abc"})),
        json!({"id": "Abcdef-1", "commandText": "/bin/echo hi", "commandPreview": null, "host": "node", "nodeId": "n",
            "allowedDecisions": ["allow-once", "allow-always", "deny"], "agentId": "main", "expiresAtMs": expires})
    );
    let waiting = scene.approver.start(
        "exec.approval.waitDecision",
        json!({"id": " Abcdef-1 ", "more": 1}),
    );
    assert_eq!(scene.requester.event_now("exec.approval.resolved"), None);
    scene.resolve("ABCD", "allow-always");
    let outcome = json!({"id": "Abcdef-1", "decision": "allow-always", "createdAtMs": created, "expiresAtMs": expires});
    assert_eq!(scene.requester.answer(&open)["payload"], outcome);
    assert_eq!(scene.approver.answer(&waiting)["payload"], outcome);
    assert_eq!(
        scene
            .requester
            .ask("exec.approval.waitDecision", json!({"id": "Abcdef-1"})),
        outcome
    );
    let resolved = scene.requester.event("exec.approval.resolved")["payload"].clone();
    assert_eq!(
        resolved,
        json!({"id": "Abcdef-1", "decision": "allow-always", "resolvedBy": "cli", "ts": created, "request": event["request"]})
    );
    for name in ["exec.approval.requested", "exec.approval.resolved"] {
        assert_eq!(outsider.event_now(name), None);
        assert_eq!(scene.node.event_now(name), None);
    }
    assert_eq!(
        scene.approver.ask("exec.approval.list", json!({})),
        json!([])
    );
}

#[test]
fn refusals_are_worded_as_specified() {
    let house = House::new();
    let scene = Scene::new(&house);
    for id in ["same-1", "same-2"] {
        scene.requester.start("exec.approval.request", asking(id));
    }
    scene.requester.start(
        "exec.approval.request",
        with(asking("every-time"), json!({"ask": "always"})),
    );
    scene.resolve("same-2", "deny");
    scene.resolve("same-2", "deny");
    let unknown = json!({"reason": "APPROVAL_NOT_FOUND",
        "remediation": "Re-request the action; pending approvals are cleared after expiry or restart."});
    let cases = [
        (
            "exec.approval.request",
            asking("same-1"),
            "approval id already pending",
            Value::Null,
        ),
        (
            "exec.approval.request",
            asking("same-2"),
            "approval id already pending",
            Value::Null,
        ),
        (
            "exec.approval.get",
            json!({"id": "x"}),
            "unknown or expired approval id",
            unknown.clone(),
        ),
        (
            "exec.approval.get",
            json!({}),
            "invalid exec.approval.get params: must have required property 'id'",
            Value::Null,
        ),
        (
            "exec.approval.waitDecision",
            json!({"id": " "}),
            "id is required",
            Value::Null,
        ),
        (
            "exec.approval.waitDecision",
            json!({"id": "same"}),
            "approval expired or not found",
            Value::Null,
        ),
        (
            "exec.approval.resolve",
            json!({"id": "x", "decision": "allow"}),
            "invalid decision",
            Value::Null,
        ),
        (
            "exec.approval.resolve",
            json!({"id": "x", "decision": "deny"}),
            "unknown or expired approval id",
            unknown,
        ),
        (
            "exec.approval.resolve",
            json!({"id": "e", "decision": "allow-always"}),
            "allow-always is unavailable because the effective policy requires approval every time",
            json!({"reason": "APPROVAL_ALLOW_ALWAYS_UNAVAILABLE"}),
        ),
        (
            "exec.approval.resolve",
            json!({"id": "same-2", "decision": "allow-once"}),
            "approval already resolved",
            json!({"reason": "APPROVAL_ALREADY_RESOLVED"}),
        ),
    ];
    for (method, params, message, details) in cases {
        let error = scene.approver.refused(method, params);
        assert_eq!(error["message"], message);
        assert_eq!(error["details"], details, "{message}");
    }
    scene
        .requester
        .start("exec.approval.request", asking("same-3"));
    let error = scene
        .approver
        .refused("exec.approval.get", json!({"id": "SAME"}));
    assert_eq!(
        error["message"],
        "ambiguous approval id prefix; use the full id"
    );
    let own = json!({"id": "same-1", "decision": "allow-once"});
    let error = scene.requester.refused("exec.approval.resolve", own);
    assert_eq!(error["details"]["reason"], "APPROVAL_OWN_REQUEST");
    let error = scene.node.refused(
        "exec.approval.resolve",
        json!({"id": "same-1", "decision": "deny"}),
    );
    assert_eq!(error["message"], "unauthorized role: node");
    let error = house
        .operator(&["operator.write", "operator.pairing"])
        .refused("exec.approval.list", json!({}));
    assert_eq!(error["message"], "missing scope: operator.approvals");
}

#[test]
fn a_request_that_nobody_else_can_decide_ends_at_once() {
    let house = House::new();
    let requester = house.device_operator("d", &["operator.approvals", "operator.write"]);
    let node = house.paired_node("n", RUN);
    let _bystander = house.operator(&["operator.write"]);
    let answer = requester.ask("exec.approval.request", asking("x"));
    assert_eq!(
        (&answer["id"], &answer["decision"]),
        (&json!("x"), &Value::Null)
    );
    assert_eq!(
        requester.event("exec.approval.requested")["payload"]["id"],
        "x"
    );
    assert_eq!(requester.event_now("exec.approval.resolved"), None);
    let error = requester.refused("node.invoke", approved("x", json!({})));
    assert_eq!(error["details"]["code"], "APPROVAL_EXPIRED");
    assert_eq!(node.event_now(REQUEST_EVENT), None);
    let _admin = house.operator(&["operator.admin"]);
    let open = requester.start("exec.approval.request", asking("y"));
    assert_eq!(requester.answer(&open)["payload"]["status"], "accepted");
}

#[test]
fn without_two_phases_the_decision_is_the_only_answer() {
    let house = House::new();
    let scene = Scene::new(&house);
    let params = with(asking("x"), json!({"twoPhase": false}));
    let open = scene.requester.start("exec.approval.request", params);
    scene.resolve("x", "deny");
    assert_eq!(scene.requester.answer(&open)["payload"]["decision"], "deny");
    let id = scene.requester.start(
        "exec.approval.request",
        json!({"command": "ls", "timeoutMs": 1}),
    );
    assert_eq!(
        scene.requester.answer(&id)["payload"]["decision"],
        Value::Null
    );
}

#[test]
fn time_over_answers_null_and_lets_nothing_run() {
    let house = House::new();
    let scene = Scene::new(&house);
    let params = with(asking("x"), json!({"timeoutMs": 1}));
    let open = scene.requester.start("exec.approval.request", params);
    assert_eq!(
        scene.requester.answer(&open)["payload"]["status"],
        "accepted"
    );
    assert_eq!(
        scene.requester.answer(&open)["payload"]["decision"],
        Value::Null
    );
    let late = json!({"id": "x", "decision": "allow-once"});
    let error = scene.approver.refused("exec.approval.resolve", late);
    assert_eq!(error["message"], "unknown or expired approval id");
    assert_eq!(
        scene.refusal(approved("x", json!({})))["details"]["code"],
        "APPROVAL_EXPIRED"
    );
    assert_eq!(scene.approver.event_now("exec.approval.resolved"), None);
}

#[test]
fn the_requester_may_leave_and_the_approval_stays() {
    let house = House::new();
    let scene = Scene::new(&house);
    scene.requester.start("exec.approval.request", asking("x"));
    scene.requester.leave();
    let back = house.device_operator("d", &["operator.approvals", "operator.write"]);
    let open = back.start("exec.approval.waitDecision", json!({"id": "x"}));
    scene.resolve("x", "allow-once");
    assert_eq!(back.answer(&open)["payload"]["decision"], "allow-once");
    back.start("node.invoke", approved("x", json!({})));
    scene.node.event(REQUEST_EVENT);
}

#[test]
fn what_was_approved_is_what_the_node_gets() {
    let house = House::new();
    let scene = Scene::new(&house);
    scene.decided("x", "allow-once");
    let params = approved(
        "x",
        json!({"approvalDecision": "allow-always", "timeoutMs": 5, "security": "full",
            "env": {"FOO": "bar", "bad-name": "x"}}),
    );
    scene.requester.start("node.invoke", params);
    let event = scene.node.event(REQUEST_EVENT)["payload"].clone();
    let sent: Value = serde_json::from_str(event["paramsJSON"].as_str().unwrap()).unwrap();
    assert_eq!(
        sent,
        json!({"command": ["/bin/echo", "hi"], "rawCommand": "/bin/echo hi", "cwd": "/tmp", "agentId": "main",
            "sessionKey": "s", "systemRunPlan": plan(), "env": {"FOO": "bar"}, "runId": "x", "approved": true,
            "approvalDecision": "allow-once", "timeoutMs": 5})
    );
    let again = scene.refusal(approved("x", json!({})));
    assert_eq!(
        (&again["message"], &again["details"]),
        (
            &json!("approval required"),
            &json!({"code": "APPROVAL_REQUIRED", "runId": "x"})
        )
    );
    scene.decided("y", "allow-always");
    for _ in 0..2 {
        scene
            .requester
            .start("node.invoke", approved("y", json!({})));
        scene.node.event(REQUEST_EVENT);
    }
}

#[test]
fn edits_and_strangers_are_refused_and_use_nothing_up() {
    let house = House::new();
    let scene = Scene::new(&house);
    scene.decided("x", "allow-once");
    let edits = [
        json!({"command": ["/bin/echo", "ho"]}),
        json!({"rawCommand": "/bin/echo ho"}),
        json!({"cwd": "/"}),
        json!({"agentId": "other"}),
        json!({"sessionKey": "t"}),
        json!({"systemRunPlan": with(plan(), json!({"argv": ["/bin/rm"]}))}),
    ];
    for edit in edits {
        let error = scene.refusal(approved("x", edit.clone()));
        assert_eq!(
            error["details"]["code"], "APPROVAL_REQUEST_MISMATCH",
            "{edit}"
        );
    }
    let error = scene.refusal(approved("x", json!({"env": {"FOO": "baz"}})));
    assert_eq!(error["details"]["code"], "APPROVAL_ENV_MISMATCH");
    let stranger = house.device_operator("e", &["operator.write"]);
    let error = stranger.refused("node.invoke", approved("x", json!({})));
    assert_eq!(error["details"]["code"], "APPROVAL_DEVICE_MISMATCH");
    house.seed(
        Part::NodesPaired,
        json!({"n": crate::gateway::testing::node_record("n", RUN), "m": crate::gateway::testing::node_record("m", RUN)}),
    );
    let other = house.node("m", RUN);
    let elsewhere = with(approved("x", json!({})), json!({"nodeId": "m"}));
    let error = scene.refusal(elsewhere);
    assert_eq!(error["details"]["code"], "APPROVAL_NODE_MISMATCH");
    assert_eq!(other.event_now(REQUEST_EVENT), None);
    scene
        .requester
        .start("node.invoke", approved("x", json!({})));
    scene.node.event(REQUEST_EVENT);
}

#[test]
fn a_run_that_never_reached_the_node_leaves_its_approval_unused() {
    let house = House::new();
    let scene = Scene::new(&house);
    scene.decided("x", "allow-once");
    scene.node.leave();
    let error = scene
        .requester
        .refused("node.invoke", approved("x", json!({})));
    assert_eq!(error["details"]["code"], "NOT_CONNECTED");
    let narrow = house.join(|session| {
        session.role = crate::protocol::scope::Role::Node;
        session.device = Some("n".into());
        session.declared = vec!["system.run".to_owned()];
        session.outbox = crate::net::Outbox::new(60).unwrap();
    });
    for timeout_ms in [0, 30_000] {
        let params = with(approved("x", json!({})), json!({"timeoutMs": timeout_ms}));
        let open = scene.requester.start("node.invoke", params);
        assert_eq!(scene.requester.answer(&open)["ok"], false);
    }
    narrow.leave();
    let back = house.node("n", RUN);
    let unawaited = with(approved("x", json!({})), json!({"timeoutMs": 0}));
    let error = scene.requester.refused("node.invoke", unawaited);
    assert_eq!(error["message"], "TIMEOUT: node invoke timed out");
    back.event(REQUEST_EVENT);
    let error = scene
        .requester
        .refused("node.invoke", approved("x", json!({})));
    assert_eq!(
        error["details"]["code"], "APPROVAL_REQUIRED",
        "it was sent: used"
    );
}

#[test]
fn of_many_claims_at_once_one_runs() {
    let house = House::new();
    let scene = Scene::new(&house);
    scene.decided("x", "allow-once");
    let sessions: Vec<_> = (0..8)
        .map(|_| {
            house
                .device_operator("d", &["operator.write"])
                .session
                .clone()
        })
        .collect();
    let start = std::sync::Barrier::new(sessions.len());
    std::thread::scope(|scope| {
        for session in &sessions {
            let (context, start) = (&house.context, &start);
            scope.spawn(move || {
                start.wait();
                let request = crate::protocol::frame::Request {
                    id: "1".to_owned(),
                    method: "node.invoke".to_owned(),
                    params: Some(approved("x", json!({}))),
                };
                super::dispatch(context, session, request);
            });
        }
    });
    scene.node.event(REQUEST_EVENT);
    assert_eq!(scene.node.event_now(REQUEST_EVENT), None);
    assert_eq!(house.context.registry().invokes.len(), 1);
}

/// Removes `what` as an administrator; the answer.
fn removed(house: &House, method: &str, params: Value) -> Value {
    house
        .operator(&["operator.admin", "operator.pairing"])
        .ask(method, params)
}

#[test]
fn the_end_of_a_device_ends_what_it_asked_for() {
    let house = House::new();
    house.seed(
        Part::DevicesPaired,
        json!({"d": device_record("d", &[("operator", &["operator.approvals", "operator.write"])])}),
    );
    let scene = Scene::new(&house);
    scene.decided("decided", "allow-always");
    scene
        .requester
        .start("exec.approval.request", asking("open"));
    let waiting = scene
        .approver
        .start("exec.approval.waitDecision", json!({"id": "open"}));
    let answer = removed(&house, "device.pair.remove", json!({"deviceId": "d"}));
    assert_eq!(answer["approvalsEnded"], 2);
    assert_eq!(
        scene.approver.answer(&waiting)["payload"]["decision"],
        "deny"
    );
    let _decided = scene.approver.event("exec.approval.resolved");
    let told = scene.approver.event("exec.approval.resolved")["payload"].clone();
    assert_eq!(
        (&told["id"], &told["decision"], &told["resolvedBy"]),
        (&json!("open"), &json!("deny"), &json!("gateway"))
    );
    let back = house.device_operator("d", &["operator.write"]);
    for id in ["open", "decided"] {
        let error = back.refused("node.invoke", approved(id, json!({})));
        assert_eq!(error["details"]["code"], "UNKNOWN_APPROVAL_ID");
    }
    assert!(house.context.approvals().is_empty());
}

#[test]
fn a_rotated_token_and_a_node_that_is_not_paired_any_more_end_approvals_too() {
    let house = House::new();
    house.seed(
        Part::DevicesPaired,
        json!({"d": device_record("d", &[("operator", &["operator.approvals", "operator.write"])])}),
    );
    let scene = Scene::new(&house);
    scene.decided("x", "allow-once");
    let rotate = json!({"deviceId": "d", "role": "operator"});
    let answer = removed(&house, "device.token.rotate", rotate);
    assert_eq!(answer["approvalsEnded"], 1);
    let scene = Scene {
        requester: house.device_operator("d", &["operator.approvals", "operator.write"]),
        ..scene
    };
    scene.decided("y", "allow-once");
    scene.node.leave();
    let answer = removed(&house, "node.pair.remove", json!({"nodeId": "n"}));
    assert_eq!(answer["approvalsEnded"], 1, "connected or not");
    let back = house.paired_node("n", RUN);
    let error = scene
        .requester
        .refused("node.invoke", approved("y", json!({})));
    assert_eq!(error["details"]["code"], "UNKNOWN_APPROVAL_ID");
    assert_eq!(back.event_now(REQUEST_EVENT), None);
    let untouched = crate::gateway::exec_approval::desk::revoke_device(
        &house.context,
        &DeviceId::from("d"),
        Some(crate::protocol::scope::Role::Node),
    );
    assert_eq!(untouched, 0);
}

#[test]
fn the_trail_has_a_line_for_each_request_decision_expiry_and_use() {
    let house = House::new();
    let scene = Scene::new(&house);
    scene.decided("x", "allow-once");
    scene
        .requester
        .start("node.invoke", approved("x", json!({})));
    scene.node.event(REQUEST_EVENT);
    let open = scene.requester.start(
        "exec.approval.request",
        with(asking("y"), json!({"timeoutMs": 1})),
    );
    scene.requester.answer(&open);
    scene.requester.answer(&open);
    let lines = house.context.store.audit_log().newest(20).unwrap();
    let told: Vec<_> = lines
        .iter()
        .map(|line| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            (
                text(&line["action"]),
                text(&line["subject"]),
                text(&line["by"]),
            )
        })
        .collect();
    let line = |action: &str, subject: &str, by: &str| {
        (
            format!("exec.approval.{action}"),
            subject.to_owned(),
            by.to_owned(),
        )
    };
    assert_eq!(
        told,
        [
            line("request", "x", "cli device d"),
            line("resolve", "x", "cli token"),
            line("use", "x", "cli device d"),
            line("request", "y", "cli device d"),
            line("expire", "y", "gateway"),
        ]
    );
    assert_eq!(
        lines[1]["detail"],
        json!({"decision": "allow-once", "resolvedBy": "cli", "command": "/bin/echo hi", "nodeId": "n", "host": "node",
            "agentId": "main"})
    );
    assert_eq!(
        lines[2]["detail"],
        json!({"decision": "allow-once", "command": "/bin/echo hi", "nodeId": "n"})
    );
}

#[test]
fn a_flood_of_requests_leaves_the_decisions_in_the_trail() {
    let house = House::new();
    let scene = Scene::new(&house);
    let actions = |action: &str| {
        let lines = house.context.store.audit_log().newest(10_000).unwrap();
        let action = format!("exec.approval.{action}");
        lines.iter().filter(|line| line["action"] == action).count()
    };
    for number in 0..MAX_AUDITED_REQUESTS {
        let id = format!("w{number}");
        let open = scene.requester.start("exec.approval.request", asking(&id));
        scene.requester.answer(&open);
        let withdrawal = json!({"id": id, "decision": "deny"});
        scene.requester.ask("exec.approval.resolve", withdrawal);
        scene.requester.answer(&open);
    }
    let lines = actions("request") + actions("resolve");
    assert_eq!(lines, MAX_AUDITED_REQUESTS as usize);
    scene.decided("x", "deny");
    scene.decided("y", "allow-once");
    scene
        .requester
        .start("node.invoke", approved("y", json!({})));
    scene.node.event(REQUEST_EVENT);
    let newest = house.context.store.audit_log().newest(3).unwrap();
    let told: Vec<_> = newest
        .iter()
        .map(|line| (line["action"].clone(), line["subject"].clone()))
        .collect();
    let line = |action: &str, subject: &str| (json!(action), json!(subject));
    assert_eq!(
        told,
        [
            line("exec.approval.resolve", "x"),
            line("exec.approval.resolve", "y"),
            line("exec.approval.use", "y")
        ]
    );
}

#[test]
fn a_requester_writes_only_so_much_into_a_line_of_the_trail() {
    let house = House::new();
    let scene = Scene::new(&house);
    let long = "x".repeat(20_000);
    let asked = json!({"command": long, "host": long, "agentId": long});
    scene.requester.start("exec.approval.request", asked);
    let lines = house.context.store.audit_log().newest(1).unwrap();
    assert!(lines[0].to_string().len() < 1_500, "{}", lines[0]);
}

#[test]
fn one_connection_makes_the_gateway_remember_only_so_much() {
    let house = House::new();
    let scene = Scene::new(&house);
    let limit = crate::gateway::exec_approval::book::MAX_OPEN_PER_REQUESTER;
    for number in 0..limit {
        scene
            .requester
            .start("exec.approval.request", asking(&number.to_string()));
    }
    let error = scene
        .requester
        .refused("exec.approval.request", asking("x"));
    assert_eq!(
        (&error["details"]["code"], &error["retryable"]),
        (&json!("TOO_MANY_APPROVALS"), &json!(true))
    );
    let huge = with(asking("x"), json!({"resolvedPath": "x".repeat(300_000)}));
    let error = scene.requester.refused("exec.approval.request", huge);
    assert_eq!(error["code"], "INVALID_REQUEST");
    scene.requester.leave();
    assert_eq!(house.context.timer.pending(), limit, "the approvals stay");
}
