//! `approvals resolve`: a person decides about one command.

use serde_json::{Value, json};

use crate::cli::administration::{Administration, Fallback, open};
use crate::cli::answer::Answer;
use crate::cli::approvals::names::Names;
use crate::cli::approvals::request::{self, DECISIONS};
use crate::cli::error::CliError;
use crate::cli::invocation::Invocation;
use crate::cli::row;
use crate::protocol::hidden::visible;
use crate::protocol::scope::Scope;

/// `approvals resolve`: an id or a unique prefix, and the decision.
///
/// # Errors
/// A word that is no decision, the gateway's refusal, and as every command that asks a gateway.
pub fn resolve(invocation: &Invocation) -> Result<Answer, CliError> {
    let typed = invocation.required_argument(0)?;
    let decision = invocation.required_argument(1)?;
    if !DECISIONS.contains(&decision) {
        let known = DECISIONS.join(", ");
        return Err(CliError::rule(format!(
            "error: invalid decision '{decision}' (use one of: {known})"
        )));
    }
    let scopes = [Scope::APPROVALS, Scope::READ];
    let mut gateway = open(invocation, &scopes, Fallback::Never)?;
    // What is not found here may still be known to the decision itself, which then has the last word.
    let found = gateway.call("exec.approval.get", &json!({"id": typed}));
    let found = found.unwrap_or(Value::Null);
    let id = row::text(&found, "id").unwrap_or(typed);
    let remarks = remarks(&mut *gateway, id);
    gateway.call(
        "exec.approval.resolve",
        &json!({"id": id, "decision": decision}),
    )?;
    let node = row::text(&found, "nodeId").map(|node| (node, name(&mut *gateway, node)));
    let mut document = json!({
        "ok": true, "id": id, "decision": decision, "command": found.get("commandText"), "host": found.get("host"),
        "nodeId": node.as_ref().map(|(id, _)| id), "agentId": found.get("agentId"),
    });
    if let Some((_, name)) = &node {
        document["nodeName"] = json!(name);
    }
    let mut text = told(&found, decision, id, node.map(|(_, name)| name));
    for remark in &remarks {
        text += &format!("\nIt {remark}");
    }
    if !remarks.is_empty() {
        document["remarks"] = json!(remarks);
    }
    Ok(Answer::new(document, text))
}

/// What else there is to know about a command that waits; only the list tells it.
fn remarks(gateway: &mut dyn Administration, id: &str) -> Vec<String> {
    let listed = gateway.call("exec.approval.list", &json!({}));
    let listed = listed.unwrap_or(Value::Null);
    let mut rows = listed.as_array().into_iter().flatten();
    let found = rows.find(|row| request::id(row) == id);
    found.map_or_else(Vec::new, request::remarks)
}

/// The name of a node; its id where the list cannot be had: the decision stands either way.
fn name(gateway: &mut dyn Administration, id: &str) -> String {
    let listed = gateway.call("node.list", &json!({}));
    listed.map_or_else(
        |_| Names::default().label(id),
        |listed| Names::of(&listed).label(id),
    )
}

/// `Allowed once: uname -a on Build Node (3f2a…)`.
fn told(found: &Value, decision: &str, id: &str, node: Option<String>) -> String {
    let verb = match decision {
        "allow-always" => "Allowed always",
        "allow-once" => "Allowed once",
        _ => "Denied",
    };
    let id = visible(id);
    let Some(command) = row::text(found, "commandText").map(visible) else {
        return format!("{verb}: {id}");
    };
    let host = row::text(found, "host").map(visible);
    let place = node
        .or(host)
        .map_or_else(String::new, |place| format!(" on {place}"));
    format!("{verb}: {command}{place} ({id})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_says_what_was_decided_for_which_command_where() {
        let found = json!({"id": "a", "commandText": "uname -a\u{202e}", "host": "node"});
        for (decision, node, expected) in [
            (
                "allow-once",
                Some("Pi"),
                "Allowed once: uname -a\\u{202E} on Pi (a)",
            ),
            (
                "allow-always",
                None,
                "Allowed always: uname -a\\u{202E} on node (a)",
            ),
            ("deny", Some("Pi"), "Denied: uname -a\\u{202E} on Pi (a)"),
        ] {
            assert_eq!(
                told(&found, decision, "a", node.map(str::to_owned)),
                expected
            );
        }
        assert_eq!(told(&Value::Null, "deny", "a", None), "Denied: a");
    }
}
