//! What of a `system.run` call reaches the node (protocol.md §8.5).
//!
//! Only listed parameters pass; `approved` and `approvalDecision` never do. A call that claims an approval is
//! forwarded as what was approved, with what was decided, or not at all.

use serde_json::{Map, Value, json};

use crate::gateway::exec_approval::binding::{ClaimFault, Permit};
use crate::protocol::command_text::{format_command, inline_script};
use crate::protocol::error::ErrorShape;

/// Parameters of `system.run` that a caller may set.
const PASSED: &[&str] = &[
    "command",
    "rawCommand",
    "systemRunPlan",
    "cwd",
    "env",
    "timeoutMs",
    "needsScreenRecording",
    "agentId",
    "sessionKey",
    "runId",
    "suppressNotifyOnExit",
];

/// The parameters to forward for `params`, with the permit that they claim, or the refusal. `permit` says
/// whether the approval a call names covers it. A value that is not an object is forwarded as it is: the node
/// refuses it in its own words.
pub fn forwarded(
    params: Option<Value>,
    permit: impl FnOnce(&str, &Map<String, Value>) -> Result<Permit, ClaimFault>,
) -> Result<(Option<Value>, Option<Permit>), ErrorShape> {
    let Some(Value::Object(given)) = params else {
        return Ok((params, None));
    };
    let permit = match claims_approval(&given) {
        true => Some(claimed(&given, permit)?),
        false => {
            check_display_text(&given)?;
            None
        }
    };
    let passed = given
        .into_iter()
        .filter(|(key, _)| PASSED.contains(&key.as_str()));
    let mut passed: Map<String, Value> = passed.collect();
    if let Some(permit) = &permit {
        permit.fill(&mut passed);
    }
    Ok((Some(Value::Object(passed)), permit))
}

fn claims_approval(params: &Map<String, Value>) -> bool {
    let decision = params
        .get("approvalDecision")
        .and_then(Value::as_str)
        .map(str::trim);
    params.get("approved") == Some(&Value::Bool(true))
        || matches!(decision, Some("allow-once" | "allow-always"))
}

/// The permit of the approval that `params` name.
fn claimed(
    params: &Map<String, Value>,
    permit: impl FnOnce(&str, &Map<String, Value>) -> Result<Permit, ClaimFault>,
) -> Result<Permit, ErrorShape> {
    let run_id = params.get("runId").and_then(Value::as_str).map(str::trim);
    let Some(run_id) = run_id.filter(|id| !id.is_empty()) else {
        return Err(ClaimFault::MissingRunId.error(""));
    };
    permit(run_id, params).map_err(|fault| fault.error(run_id))
}

/// A display text must say what the argument list says.
fn check_display_text(params: &Map<String, Value>) -> Result<(), ErrorShape> {
    let raw = params
        .get("rawCommand")
        .and_then(Value::as_str)
        .map(str::trim)
        .filter(|raw| !raw.is_empty());
    let Some(raw) = raw else {
        return Ok(());
    };
    let arguments = arguments(params.get("command"));
    if arguments.is_empty() {
        return Err(ErrorShape::invalid("rawCommand requires params.command")
            .with_details(json!({"code": "MISSING_COMMAND"})));
    }
    let formatted = format_command(&arguments);
    let script = inline_script(&arguments);
    if raw == formatted || script.as_deref() == Some(raw) {
        return Ok(());
    }
    let inferred = script.unwrap_or_else(|| formatted.clone());
    Err(
        ErrorShape::invalid("INVALID_REQUEST: rawCommand does not match command").with_details(
            json!({
                "code": "RAW_COMMAND_MISMATCH",
                "rawCommand": raw,
                "inferred": inferred,
                "formattedArgv": formatted,
            }),
        ),
    )
}

/// The argument list with its elements as text, as the node reads it.
fn arguments(command: Option<&Value>) -> Vec<String> {
    let Some(Value::Array(items)) = command else {
        return Vec::new();
    };
    items
        .iter()
        .map(|item| match item {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is forwarded at a gateway that knows no approval.
    fn forwarded(params: Option<Value>) -> Result<Option<Value>, ErrorShape> {
        super::forwarded(params, |_, _| Err(ClaimFault::Unknown)).map(|(params, _)| params)
    }

    #[test]
    fn only_listed_parameters_pass() {
        let given = json!({
            "command": ["ls"], "rawCommand": "ls", "systemRunPlan": {}, "cwd": "/", "env": {"A": "1"}, "timeoutMs": 5,
            "needsScreenRecording": false, "agentId": "a", "sessionKey": "s", "runId": "r", "suppressNotifyOnExit": true,
            "approved": false, "approvalDecision": "deny", "security": "full", "ask": "off", "elevated": true,
        });
        let mut expected = given.clone();
        for key in [
            "approved",
            "approvalDecision",
            "security",
            "ask",
            "elevated",
        ] {
            expected.as_object_mut().unwrap().remove(key);
        }
        assert_eq!(forwarded(Some(given)).unwrap(), Some(expected));
    }

    #[test]
    fn values_that_are_no_objects_pass_unchanged() {
        for value in [None, Some(json!(null)), Some(json!([1])), Some(json!("ls"))] {
            assert_eq!(forwarded(value.clone()).unwrap(), value);
        }
    }

    #[test]
    fn claims_and_contradictions_are_refused() {
        let cases = [
            (
                json!({"approved": true}),
                "approval override requires params.runId",
                json!({"code":"MISSING_RUN_ID"}),
            ),
            (
                json!({"approved": true, "runId": "  "}),
                "approval override requires params.runId",
                json!({"code":"MISSING_RUN_ID"}),
            ),
            (
                json!({"approvalDecision": "allow-once", "runId": "r"}),
                "unknown or expired approval id",
                json!({"code":"UNKNOWN_APPROVAL_ID","runId":"r"}),
            ),
            (
                json!({"approved": false, "approvalDecision": " allow-always ", "runId": "r"}),
                "unknown or expired approval id",
                json!({"code":"UNKNOWN_APPROVAL_ID","runId":"r"}),
            ),
            (
                json!({"rawCommand": "ls"}),
                "rawCommand requires params.command",
                json!({"code":"MISSING_COMMAND"}),
            ),
            (
                json!({"rawCommand": "ls", "command": []}),
                "rawCommand requires params.command",
                json!({"code":"MISSING_COMMAND"}),
            ),
            (
                json!({"rawCommand": "ls", "command": ["rm", "-rf", "a b"]}),
                "INVALID_REQUEST: rawCommand does not match command",
                json!({"code":"RAW_COMMAND_MISMATCH","rawCommand":"ls","inferred":"rm -rf \"a b\"","formattedArgv":"rm -rf \"a b\""}),
            ),
            (
                json!({"rawCommand": "ls", "command": ["sh", "-c", "rm x"]}),
                "INVALID_REQUEST: rawCommand does not match command",
                json!({"code":"RAW_COMMAND_MISMATCH","rawCommand":"ls","inferred":"rm x","formattedArgv":"sh -c \"rm x\""}),
            ),
        ];
        for (params, message, details) in cases {
            let error = forwarded(Some(params)).unwrap_err();
            assert_eq!(
                (error.code.as_str(), error.message.as_str()),
                ("INVALID_REQUEST", message)
            );
            assert_eq!(error.details.as_deref(), Some(&details));
        }
    }

    #[test]
    fn a_matching_display_text_passes() {
        let cases = [
            json!({"command": ["echo", "a b"], "rawCommand": " echo \"a b\" "}),
            json!({"command": ["sh", "-lc", "ls | wc"], "rawCommand": "ls | wc"}),
            json!({"command": ["sleep", 1], "rawCommand": "sleep 1"}),
            json!({"command": "not a list", "rawCommand": "  "}),
            json!({"command": ["ls"], "rawCommand": null}),
        ];
        for params in cases {
            assert_eq!(forwarded(Some(params.clone())).unwrap(), Some(params));
        }
    }
}
