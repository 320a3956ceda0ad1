//! Approvals of single commands with the built program: a node host, an operator that wants to run something,
//! another that decides, and what a decision is good for.

use serde_json::{Value, json};

use crate::support::device::Device;
use crate::support::home::Home;
use crate::support::peer::{Peer, cli_params};
use crate::support::process::{Gateway, Running, SECRET, command, program};
use crate::support::wait_for;

/// A gateway with an approved node host that asks about everything.
struct Scene {
    gateway: Gateway,
    node: String,
    requester: Peer,
    approver: Peer,
    device: Device,
    _host: Running,
    home: Home,
}

impl Scene {
    fn new(policy: &str) -> Scene {
        let gateway = Gateway::start();
        let home = Home::new();
        home.write("exec-approvals.json", policy.as_bytes());
        let mut host = command(&program(), &home);
        let port = gateway.address.port().to_string();
        host.env("OPENCLAW_GATEWAY_TOKEN", SECRET)
            .args(["node", "run", "--port", &port]);
        let mut approver = Peer::operator(gateway.address, SECRET);
        let host = Running::start(host);
        let asked = approver.event("node.pair.requested")["payload"].clone();
        approver
            .call(
                "node.pair.approve",
                json!({"requestId": asked["requestId"]}),
            )
            .unwrap();
        let device = Device::new();
        let requester = operator(&gateway, &device);
        Scene {
            node: asked["nodeId"].as_str().unwrap().to_owned(),
            gateway,
            requester,
            approver,
            device,
            _host: host,
            home,
        }
    }

    /// The plan that the node prepares for `argv`.
    fn plan(&mut self, argv: Value) -> Value {
        let params =
            json!({"command": argv, "cwd": self.home.path(), "agentId": "main", "sessionKey": "s"});
        let invoke = json!({"nodeId": self.node, "command": "system.run.prepare", "params": params, "idempotencyKey": "p"});
        let prepared = self.requester.call("node.invoke", invoke).unwrap();
        prepared["payload"]["plan"].clone()
    }

    /// Asks for an approval of `plan`; the frame id under which the decision will come.
    fn ask(&mut self, id: &str, plan: &Value, timeout_ms: u64) -> String {
        let params = json!({"id": id, "host": "node", "nodeId": self.node, "systemRunPlan": plan, "twoPhase": true,
            "timeoutMs": timeout_ms});
        let open = self.requester.send("exec.approval.request", params);
        let accepted = self.requester.answer(&open).unwrap();
        assert_eq!(
            (&accepted["status"], &accepted["id"]),
            (&json!("accepted"), &json!(id))
        );
        open
    }

    fn decided(&mut self, id: &str, plan: &Value, decision: &str) {
        let open = self.ask(id, plan, 60_000);
        self.approver
            .call(
                "exec.approval.resolve",
                json!({"id": id, "decision": decision}),
            )
            .unwrap();
        assert_eq!(self.requester.answer(&open).unwrap()["decision"], decision);
    }

    /// What an approved run of `plan` sends, with other members in their place.
    fn run(&self, id: &str, plan: &Value, edit: Value) -> Value {
        let mut params = json!({"command": plan["argv"], "rawCommand": plan["commandText"], "cwd": plan["cwd"],
            "agentId": plan["agentId"], "sessionKey": plan["sessionKey"], "systemRunPlan": plan, "runId": id,
            "approved": true, "approvalDecision": "allow-once"});
        params
            .as_object_mut()
            .unwrap()
            .extend(edit.as_object().unwrap().clone());
        json!({"nodeId": self.node, "command": "system.run", "params": params, "idempotencyKey": "r"})
    }

    fn code(&mut self, invoke: Value) -> Value {
        let error = self.requester.call("node.invoke", invoke).unwrap_err();
        error["details"]["code"].clone()
    }

    /// The actions in the gateway's trail that concern approvals, with whom they are about.
    fn trail(&self) -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        self.gateway
            .home
            .read("audit.jsonl")
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .map(|line| (text(&line["action"]), text(&line["subject"])))
            .filter(|(action, _)| action.starts_with("exec.approval."))
            .collect()
    }
}

fn operator(gateway: &Gateway, device: &Device) -> Peer {
    let scopes = ["operator.write", "operator.approvals"];
    let params = cli_params(json!({"token": SECRET}), &scopes);
    Peer::connect(gateway.address, params, Some(device)).unwrap()
}

const ASKS: &str =
    r#"{"version":1,"defaults":{"security":"allowlist","ask":"on-miss"},"agents":{}}"#;

#[test]
fn an_approved_command_runs_once_and_exactly_as_it_was_shown() {
    let mut scene = Scene::new(ASKS);
    let plan = scene.plan(json!(["echo", "hello there"]));
    let unasked = scene.run(
        "none",
        &plan,
        json!({"approved": false, "approvalDecision": null}),
    );
    let denied = scene.requester.call("node.invoke", unasked).unwrap_err();
    let text = denied["message"].as_str().unwrap();
    assert!(
        text.contains("SYSTEM_RUN_DENIED: approval required"),
        "{text}"
    );

    let open = scene.ask("run-1", &plan, 60_000);
    let shown = scene.approver.event("exec.approval.requested")["payload"].clone();
    assert_eq!(shown["request"]["systemRunPlan"], plan);
    let listed = scene
        .approver
        .call("exec.approval.list", json!({}))
        .unwrap();
    assert_eq!(listed, json!([shown]));
    let got = scene
        .approver
        .call("exec.approval.get", json!({"id": "RUN"}))
        .unwrap();
    assert_eq!(
        (&got["id"], &got["commandText"]),
        (&json!("run-1"), &plan["commandText"])
    );
    assert_eq!(
        scene.code(scene.run("run-1", &plan, json!({}))),
        "APPROVAL_REQUIRED"
    );

    // The decision is a person's, at a terminal.
    let typed = scene
        .gateway
        .cli(&["approvals", "resolve", "run-1", "allow-once", "--json"])
        .success()
        .json();
    assert_eq!(typed["decision"], "allow-once");
    assert_eq!(
        scene.requester.answer(&open).unwrap()["decision"],
        "allow-once"
    );
    let resolved = scene.approver.event("exec.approval.resolved")["payload"].clone();
    assert_eq!(resolved["request"], shown["request"]);

    for edit in [
        json!({"command": ["/bin/echo", "something else"]}),
        json!({"rawCommand": "echo something else"}),
        json!({"cwd": "/"}),
        json!({"agentId": "other"}),
        json!({"sessionKey": "t"}),
    ] {
        let edited = scene.run("run-1", &plan, edit.clone());
        assert_eq!(scene.code(edited), "APPROVAL_REQUEST_MISMATCH", "{edit}");
    }
    let with_environment = scene.run("run-1", &plan, json!({"env": {"A": "1"}}));
    assert_eq!(scene.code(with_environment), "APPROVAL_ENV_BINDING_MISSING");
    let (gateway, stranger) = (&scene.gateway, Device::new());
    let error = operator(gateway, &stranger)
        .call("node.invoke", scene.run("run-1", &plan, json!({})))
        .unwrap_err();
    assert_eq!(error["details"]["code"], "APPROVAL_DEVICE_MISMATCH");

    // The same device on another connection may run it.
    let mut again = operator(&scene.gateway, &scene.device);
    let ran = again
        .call("node.invoke", scene.run("run-1", &plan, json!({})))
        .unwrap();
    assert_eq!(ran["payload"]["stdout"], "hello there\n", "{ran}");
    assert_eq!(
        scene.code(scene.run("run-1", &plan, json!({}))),
        "APPROVAL_REQUIRED"
    );
    assert_eq!(
        scene.code(scene.run("run-2", &plan, json!({}))),
        "UNKNOWN_APPROVAL_ID"
    );
    let line = |action: &str| (format!("exec.approval.{action}"), "run-1".to_owned());
    assert_eq!(
        scene.trail(),
        [line("request"), line("resolve"), line("use")]
    );
}

#[test]
fn a_lasting_approval_lets_the_same_program_run_without_another() {
    let mut scene = Scene::new(ASKS);
    let plan = scene.plan(json!(["uname", "-s"]));
    let bare = json!({"approved": false, "approvalDecision": null, "runId": "later"});
    let mut unasked = scene.run("none", &plan, bare);
    let denied = scene.requester.call("node.invoke", unasked.clone());
    assert!(denied.is_err(), "{denied:?}");
    scene.decided("always", &plan, "allow-always");
    let approved = scene.run("always", &plan, json!({"approvalDecision": "allow-always"}));
    let ran = scene.requester.call("node.invoke", approved).unwrap();
    assert_eq!(ran["payload"]["stdout"], "Linux\n", "{ran}");
    // A node answers a question it has answered before without asking itself again.
    unasked["idempotencyKey"] = json!("again");
    let ran = scene.requester.call("node.invoke", unasked).unwrap();
    assert_eq!(ran["payload"]["stdout"], "Linux\n", "{ran}");
    let other = json!({"approved": false, "approvalDecision": null, "command": ["/usr/bin/id"],
        "rawCommand": "/usr/bin/id", "systemRunPlan": null});
    let other = scene.run("other", &plan, other);
    let denied = scene.requester.call("node.invoke", other).unwrap_err();
    assert!(denied.to_string().contains("approval required"), "{denied}");
}

#[test]
fn what_was_denied_or_is_too_late_or_forgotten_does_not_run() {
    let mut scene = Scene::new(ASKS);
    let plan = scene.plan(json!(["echo", "hi"]));
    scene.decided("denied", &plan, "deny");
    assert_eq!(
        scene.code(scene.run("denied", &plan, json!({}))),
        "APPROVAL_REQUIRED"
    );
    let open = scene.ask("late", &plan, 1);
    assert_eq!(
        scene.requester.answer(&open).unwrap()["decision"],
        Value::Null
    );
    assert_eq!(
        scene.code(scene.run("late", &plan, json!({}))),
        "APPROVAL_EXPIRED"
    );

    scene.decided("kept", &plan, "allow-always");
    scene.gateway.crash_and_restart();
    scene.approver = Peer::operator(scene.gateway.address, SECRET);
    scene.requester = operator(&scene.gateway, &scene.device);
    wait_for("the node to be back", || {
        let listed = scene.approver.call("node.list", json!({})).unwrap();
        (listed["nodes"][0]["connected"] == true).then_some(())
    });
    assert_eq!(
        scene.code(scene.run("kept", &plan, json!({}))),
        "UNKNOWN_APPROVAL_ID"
    );
    let error = scene
        .approver
        .call("exec.approval.get", json!({"id": "kept"}))
        .unwrap_err();
    assert_eq!(error["details"]["reason"], "APPROVAL_NOT_FOUND");
}

#[test]
fn removing_the_requester_or_the_node_ends_its_approvals_before_the_answer() {
    let mut scene = Scene::new(ASKS);
    let plan = scene.plan(json!(["echo", "hi"]));
    scene.decided("x", &plan, "allow-once");
    let removed = scene
        .gateway
        .cli(&["devices", "remove", &scene.device.id, "--json"])
        .success()
        .json();
    assert_eq!(removed["approvalsEnded"], 1, "{removed}");
    scene.requester = operator(&scene.gateway, &scene.device);
    assert_eq!(
        scene.code(scene.run("x", &plan, json!({}))),
        "UNKNOWN_APPROVAL_ID"
    );

    scene.decided("y", &plan, "allow-once");
    let open = scene.ask("z", &plan, 60_000);
    let removed = scene
        .approver
        .call("node.pair.remove", json!({"nodeId": scene.node}))
        .unwrap();
    assert_eq!(removed["approvalsEnded"], 2, "{removed}");
    assert_eq!(scene.requester.answer(&open).unwrap()["decision"], "deny");
    assert_eq!(
        scene.code(scene.run("y", &plan, json!({}))),
        "NODE_PAIRING_REQUIRED"
    );
}
