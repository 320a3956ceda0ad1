use serde_json::json;

use super::*;
use crate::exec::{Ask, Entry, HostPolicy, Security};
use crate::node::system::prepare;
use crate::node::testing::{TempDir, machine, policy};

const FULL: &str = r#"{"version":1,"defaults":{"security":"full","ask":"off"}}"#;

fn message(reply: &Reply) -> &str {
    &reply.result.as_ref().unwrap_err().message
}

fn event(reply: &Reply) -> (&str, &Value) {
    let (name, payload) = reply.event.as_ref().unwrap();
    (name, payload)
}

#[test]
fn a_fresh_machine_asks_for_everything_and_says_how_to_allow_it() {
    let dir = TempDir::new();
    let params = json!({"command": ["uname", "-a"], "runId": "r1"});
    let reply = run(&machine(&dir), &params);
    assert_eq!(
        message(&reply),
        "SYSTEM_RUN_DENIED: approval required (no allowlist rule names /usr/bin/uname; to allow it, on \
         the node: openclaw approvals allowlist add /usr/bin/uname)"
    );
    let expected = json!({"sessionKey": "node", "runId": "r1", "host": "node", "command": "uname -a",
        "reason": "approval-required", "suppressNotifyOnExit": false});
    assert_eq!(event(&reply), ("exec.denied", &expected));
}

#[test]
fn a_listed_command_runs_and_is_reported() {
    let dir = TempDir::new();
    policy(
        &dir,
        r#"{"version":1,"agents":{"*":{"allowlist":["/usr/bin/env","echo"]}}}"#,
    );
    let params = json!({"command": ["echo", "a b"], "sessionKey": "s", "suppressNotifyOnExit": true,
        "env": {"LANG": "C", "N": 3}, "timeoutMs": 30000});
    let reply = run(&machine(&dir), &params);
    assert_eq!(reply.result.as_ref().unwrap()["stdout"], "a b\n");
    let (name, payload) = event(&reply);
    assert_eq!(name, "exec.finished");
    assert_eq!(
        (&payload["command"], &payload["output"]),
        (&json!("echo \"a b\""), &json!("a b"))
    );
    assert_eq!(
        (&payload["exitCode"], &payload["suppressNotifyOnExit"]),
        (&json!(0), &json!(true))
    );
    assert!(
        run(&machine(&dir), &json!({"command": ["printf", "x"]}))
            .result
            .is_err()
    );
}

#[test]
fn children_see_the_documented_environment() {
    let dir = TempDir::new();
    policy(&dir, FULL);
    let machine = machine(&dir);
    let params = json!({"command": ["env"], "env": {"X": "1", "LANG": "C"}});
    let output = run(&machine, &params).result.unwrap()["stdout"]
        .as_str()
        .unwrap()
        .to_owned();
    let mut lines: Vec<_> = output.lines().collect();
    lines.sort_unstable();
    let expected = [
        "LANG=C",
        "MARK=own",
        "OPENCLAW_CLI=1",
        "OPENCLAW_SHELL=exec",
        "PATH=/usr/bin:/bin",
        "X=1",
    ];
    assert_eq!(lines, expected);
    let params = json!({"command": ["sh", "-c", "echo $X-$LANG"], "env": {"X": "1", "LANG": "C"}});
    assert_eq!(run(&machine, &params).result.unwrap()["stdout"], "-C\n");
}

/// A program that a rule names may be told by a variable to run another: a rule covers it as this host starts it.
#[test]
fn a_rule_covers_no_variables_beyond_terminal_and_locale() {
    let dir = TempDir::new();
    let machine = machine(&dir);
    let list = |ask: &str| {
        let rules = json!([{"pattern": "env", "source": "allow-always"},
            {"pattern": Entry::fingerprint("uname -s"), "source": "allow-always"}]);
        let file = json!({"version": 1, "defaults": {"security": "allowlist", "ask": ask},
            "agents": {"main": {"allowlist": rules}}});
        policy(&dir, &file.to_string());
    };
    let asked =
        |program: Value, env: Value| run(&machine, &json!({"command": program, "env": env}));
    let steered =
        json!({"LANG": "C", "GIT_TRACE": "/f", "DBUS_SYSTEM_BUS_ADDRESS": "unixexec:path=/bin/sh"});
    list("on-miss");
    let harmless = json!({"LANG": "C", "LC_TIME": "C", "TERM": "dumb"});
    assert!(asked(json!(["env"]), harmless).result.is_ok());
    assert!(asked(json!(["uname", "-s"]), json!({})).result.is_ok());
    let why = "the caller sets DBUS_SYSTEM_BUS_ADDRESS, GIT_TRACE, which no rule covers; leave it out, or approve it once";
    for program in [
        json!(["env"]),
        json!(["uname", "-s"]),
        json!(["head", "-n", "1"]),
    ] {
        assert_eq!(
            message(&asked(program, steered.clone())),
            format!("SYSTEM_RUN_DENIED: approval required ({why})")
        );
    }
    // A shell never sees them.
    let shell = json!(["sh", "-c", "/usr/bin/env"]);
    policy(
        &dir,
        r#"{"version":1,"agents":{"main":{"allowlist":["/usr/bin/env"]}}}"#,
    );
    let seen = asked(shell, steered.clone()).result.unwrap();
    assert!(!seen.to_string().contains("GIT_TRACE"), "{seen}");
    list("off");
    assert_eq!(
        message(&asked(json!(["env"]), steered.clone())),
        format!("SYSTEM_RUN_DENIED: allowlist miss ({why})")
    );
    policy(&dir, FULL);
    assert!(asked(json!(["env"]), steered).result.is_ok());
}

#[test]
fn faults_of_the_request_are_told_without_an_event() {
    let dir = TempDir::new();
    policy(&dir, FULL);
    let machine = machine(&dir);
    let cases = [
        (json!({"command": []}), "command required"),
        (
            json!({"command": ["ls"], "systemRunPlan": {"argv": []}}),
            "systemRunPlan invalid",
        ),
        (
            json!({"command": ["ls"], "env": {"A": "\u{0}"}}),
            "command must not contain NUL",
        ),
        (
            json!({"command": ["ls"], "env": {"PATH": "/x", "a-b": "1"}}),
            "SYSTEM_RUN_DENIED: environment override rejected (blocked override keys: PATH; \
             invalid non-portable override keys: a-b)",
        ),
        (
            json!({"command": ["nice", "env", "NODE_OPTIONS=x", "node"]}),
            "SYSTEM_RUN_DENIED: command env assignment rejected (blocked env assignment keys: NODE_OPTIONS)",
        ),
    ];
    for (params, text) in cases {
        let reply = run(&machine, &params);
        assert_eq!(reply.result, Err(ErrorShape::invalid(text)), "{params}");
        assert_eq!(reply.event, None, "{params}");
    }
}

#[test]
fn programs_and_directories_that_are_missing_are_outcomes() {
    let dir = TempDir::new();
    policy(&dir, FULL);
    let machine = machine(&dir);
    let reply = run(&machine, &json!({"command": ["no-such-program"]}));
    assert_eq!(
        reply.result.unwrap()["error"],
        "spawn no-such-program ENOENT"
    );
    let reply = run(&machine, &json!({"command": ["./x"], "cwd": "gone"}));
    let said = format!(
        "spawn ./x ENOENT (working directory does not exist: {}/gone)",
        dir.path().display()
    );
    assert_eq!(reply.result.unwrap()["error"], said);
}

#[test]
fn a_broken_policy_denies_and_says_where() {
    let dir = TempDir::new();
    policy(&dir, "{\"version\":1,\n \"default\":{}}");
    let reply = run(
        &machine(&dir),
        &json!({"command": ["true"], "approved": true}),
    );
    let path = dir.path().join("exec-approvals.json");
    let start = format!(
        "SYSTEM_RUN_DISABLED: security=deny ({}: unknown field `default`",
        path.display()
    );
    assert!(message(&reply).starts_with(&start), "{}", message(&reply));
    assert!(
        message(&reply).ends_with("at line 2 column 10)"),
        "{}",
        message(&reply)
    );
    assert_eq!(event(&reply).1["reason"], "security=deny");
}

#[test]
fn strict_inline_evaluation_needs_an_approval_under_every_policy() {
    let dir = TempDir::new();
    policy(&dir, FULL);
    let mut machine = machine(&dir);
    let strict = HostPolicy {
        strict_inline_eval: true,
        ..HostPolicy::default()
    };
    machine.host_policy = Box::new(move |_| Ok(strict.clone()));
    let find = json!(["find", ".", "-maxdepth", "0", "-exec", "true", ";"]);
    let reply = run(&machine, &json!({"command": find}));
    assert_eq!(
        message(&reply),
        "SYSTEM_RUN_DENIED: approval required (find -exec requires explicit approval in strictInlineEval mode)"
    );
    let approved = json!({"command": find, "approved": true});
    assert!(run(&machine, &approved).result.is_ok());
    // What no approval can be bound to is told another way out.
    let reply = run(&machine, &json!({"command": ["sed", "p"]}));
    assert_eq!(
        message(&reply),
        "SYSTEM_RUN_DENIED: approval required (sed inline program requires explicit approval in strictInlineEval \
         mode); no approval can be bound to it: put what it runs into a file of its own"
    );
    assert!(
        run(&machine, &json!({"command": ["sh", "-c", "true"]}))
            .result
            .is_ok()
    );
    assert!(run(&machine, &json!({"command": ["true"]})).result.is_ok());
}

#[test]
fn the_configuration_may_only_tighten() {
    let dir = TempDir::new();
    policy(&dir, FULL);
    let mut machine = machine(&dir);
    let strict = HostPolicy {
        security: Some(Security::Deny),
        ask: Some(Ask::Off),
        ..HostPolicy::default()
    };
    machine.host_policy = Box::new(move |_| Ok(strict.clone()));
    let reply = run(&machine, &json!({"command": ["true"]}));
    assert_eq!(
        message(&reply),
        "SYSTEM_RUN_DISABLED: security=deny (set by tools.exec.security in openclaw.json)"
    );
    machine.host_policy = Box::new(|_| Err("openclaw.json: broken".to_owned()));
    let reply = run(&machine, &json!({"command": ["true"]}));
    assert_eq!(
        message(&reply),
        "SYSTEM_RUN_DISABLED: security=deny (openclaw.json: broken)"
    );
}

#[test]
fn screens_are_refused_after_the_policy() {
    let dir = TempDir::new();
    let params = json!({"command": ["true"], "needsScreenRecording": true});
    assert_eq!(
        event(&run(&machine(&dir), &params)).1["reason"],
        "approval-required"
    );
    policy(&dir, FULL);
    let reply = run(&machine(&dir), &params);
    assert_eq!(message(&reply), "PERMISSION_MISSING: screenRecording");
    assert_eq!(event(&reply).1["reason"], "permission:screenRecording");
}

#[test]
fn the_companion_app_is_not_replaced() {
    let dir = TempDir::new();
    let mut machine = machine(&dir);
    assert_eq!(refuse_companion(&machine, "macos"), Ok(()));
    let variable = ("OPENCLAW_NODE_EXEC_HOST".into(), "App".into());
    machine.environment.push(variable);
    assert_eq!(refuse_companion(&machine, "linux"), Ok(()));
    let denial = refuse_companion(&machine, "macos").unwrap_err();
    assert_eq!(
        denial.message,
        "COMPANION_APP_UNAVAILABLE: macOS app exec host unreachable"
    );
    assert_eq!(denial.reason.as_str(), "companion-unavailable");
}

#[test]
fn approved_runs_are_exactly_their_plan() {
    let dir = TempDir::new();
    let script = dir.path().join("s.sh");
    std::fs::write(&script, "echo one").unwrap();
    let machine = machine(&dir);
    let cwd = dir.path().to_str().unwrap();
    let plan =
        prepare(&machine, &json!({"command": ["sh", "s.sh"], "cwd": cwd})).unwrap()["plan"].take();
    let request = json!({"command": plan["argv"], "rawCommand": plan["commandText"], "cwd": cwd,
        "systemRunPlan": plan, "approved": true, "approvalDecision": "allow-once", "runId": "r"});
    assert_eq!(run(&machine, &request).result.unwrap()["stdout"], "one\n");

    let changed = |name: &str, value: Value| {
        let mut request = request.clone();
        request[name] = value;
        request
    };
    let mut unbound = plan.clone();
    unbound
        .as_object_mut()
        .unwrap()
        .remove("mutableFileOperand");
    let argv = plan["argv"].as_array().unwrap();
    let longer: Vec<Value> = argv.iter().cloned().chain([json!("x")]).collect();
    let mut other_command = changed("command", longer.into());
    other_command["rawCommand"] = Value::Null;
    let mismatch = "SYSTEM_RUN_DENIED: approval plan mismatch";
    let cases = [
        (changed("agentId", json!("a")), mismatch),
        (changed("sessionKey", json!("s")), mismatch),
        (changed("cwd", Value::Null), mismatch),
        (other_command, mismatch),
        (
            changed("systemRunPlan", unbound),
            "SYSTEM_RUN_DENIED: approval missing script operand binding",
        ),
    ];
    for (params, text) in cases {
        let reply = run(&machine, &params);
        assert_eq!(message(&reply), text, "{params}");
        assert_eq!(event(&reply).1["reason"], "approval-required");
    }
    std::fs::write(&script, "echo two").unwrap();
    let text = "SYSTEM_RUN_DENIED: approval script operand changed before execution";
    assert_eq!(message(&run(&machine, &request)), text);
    std::fs::remove_file(&script).unwrap();
    assert_eq!(message(&run(&machine, &request)), text);
}

#[test]
fn an_approval_without_a_plan_is_hardened_too() {
    let dir = TempDir::new();
    let machine = machine(&dir);
    let approved = |command: Value| json!({"command": command, "approvalDecision": "allow-always"});
    let reply = run(&machine, &approved(json!(["echo", "hi"])));
    assert_eq!(reply.result.unwrap()["stdout"], "hi\n");
    let reply = run(&machine, &approved(json!(["python3", "-c", "print(1)"])));
    assert!(
        message(&reply).starts_with("SYSTEM_RUN_DENIED: approval "),
        "{}",
        message(&reply)
    );
    let ignored = json!({"command": ["uname"], "approvalDecision": "deny", "approved": "true"});
    assert!(message(&run(&machine, &ignored)).starts_with("SYSTEM_RUN_DENIED: approval required"));
}
