use serde_json::json;

use super::*;
use crate::exec::HostPolicy;
use crate::node::testing::{TempDir, machine, policy};

fn refusal(result: Result<Value, ErrorShape>) -> String {
    result.unwrap_err().message
}

#[test]
fn set_says_what_is_missing_in_the_words_of_the_wire() {
    let dir = TempDir::new();
    let machine = machine(&dir);
    let seen = approvals_get(&machine).unwrap();
    let empty = json!({"version": 1});
    let cases = [
        (json!({}), "exec approvals file required"),
        (json!({"file": []}), "exec approvals file required"),
        (
            json!({"file": empty}),
            "exec approvals base hash required; reload and retry",
        ),
        (
            json!({"file": empty, "baseHash": "0"}),
            "exec approvals changed; reload and retry",
        ),
        (
            json!({"file": {"agents": {"a": {"securty": "deny"}}}, "baseHash": seen["hash"]}),
            "exec approvals file invalid: agents.a: unknown field `securty`, expected one of `security`, `ask`, \
             `askFallback`, `autoAllowSkills`, `allowlist`",
        ),
        (
            json!({"file": {"version": 2}, "baseHash": seen["hash"]}),
            "exec approvals file invalid: version must be 1, found 2",
        ),
    ];
    for (params, text) in cases {
        let expected = format!("Error: INVALID_REQUEST: {text}");
        assert_eq!(
            refusal(approvals_set(&machine, &params)),
            expected,
            "{params}"
        );
    }
    assert_eq!(approvals_get(&machine).unwrap(), seen);
}

#[test]
fn whether_edits_may_widen_is_read_anew_for_each() {
    let dir = TempDir::new();
    policy(&dir, r#"{"version":1,"defaults":{"security":"deny"}}"#);
    let mut machine = machine(&dir);
    let wider =
        |seen: Value| json!({"file": {"defaults": {"security": "full"}}, "baseHash": seen["hash"]});
    for host in [
        Ok(HostPolicy::default()),
        Err("openclaw.json is broken".to_owned()),
    ] {
        machine.host_policy = Box::new(move |_| host.clone());
        let seen = approvals_get(&machine).unwrap();
        let text = refusal(approvals_set(&machine, &wider(seen)));
        assert!(
            text.starts_with("Error: INVALID_REQUEST: exec approvals edit refused: security of every agent would go from deny to full")
                && text.contains("nodeHost.execApprovals.remoteEdits widen"),
            "{text}"
        );
    }
    machine.host_policy = Box::new(|_| {
        Ok(HostPolicy {
            remote_edits: RemoteEdits::Widen,
            ..HostPolicy::default()
        })
    });
    let seen = approvals_get(&machine).unwrap();
    let answer = approvals_set(&machine, &wider(seen)).unwrap();
    assert_eq!(answer["file"]["defaults"]["security"], "full");
    assert!(answer["file"]["socket"].get("token").is_none());
}
