//! `nodes invoke`: one command of one node.

use std::time::Duration;

use serde_json::{Value, json};

use crate::cli::answer::Answer;
use crate::cli::error::{CliError, Failed, unmarked};
use crate::cli::invocation::Invocation;
use crate::cli::reach::Reach;
use crate::cli::{row, selectors};
use crate::identity::Random;
use crate::protocol::nesting;
use crate::protocol::scope::{Scope, Scopes};

/// What the way there and back may take beyond the node's own time, in milliseconds.
const TRAVEL_MS: u64 = 5_000;

/// Commands that run programs: they go through the exec tool with its approvals, not through a raw invoke.
const RESERVED: &[&str] = &["system.run", "system.run.prepare"];

/// Runs the command and prints the node's answer; always JSON.
///
/// # Errors
/// Params that are no JSON object, a reserved command, unknown or ambiguous node, the gateway's refusal.
pub fn invoke(invocation: &Invocation) -> Result<Answer, CliError> {
    let query = invocation.text("node").unwrap_or_default();
    let command = invocation.text("command").unwrap_or_default();
    let params = object_option(invocation, "params")?;
    if RESERVED.contains(&command.to_ascii_lowercase().as_str()) {
        let message = format!(
            "command \"{command}\" is reserved for shell execution; use the exec tool with host=node instead"
        );
        return Err(Failed::new("INVALID_REQUEST", message).into());
    }
    let node_ms = invocation.milliseconds("invoke-timeout");
    let least = node_ms.saturating_add(TRAVEL_MS);
    let total = invocation.milliseconds("timeout").max(least);
    let paths = invocation.paths()?;
    let loaded = invocation.load(&paths)?;
    let reach = Reach::new(invocation, &paths, &loaded, Duration::from_millis(total))?;
    let scopes: Scopes = [Scope::READ, Scope::WRITE].into_iter().collect();
    let mut session = reach.connect(&scopes)?;
    let mut ask = |method: &str, params: &Value| {
        let answer = session.request(method, params, reach.budget());
        answer.map_err(|error| reach.failure(error))
    };
    let listed = ask("node.list", &json!({}))?;
    let node = row::id(selectors::node(query, row::rows(&listed, "nodes"))?);
    let key = invocation.text("idempotency-key").map(str::to_owned);
    let request = json!({
        "nodeId": node,
        "command": command,
        "params": params,
        "timeoutMs": node_ms,
        "idempotencyKey": key.unwrap_or_else(|| Random.uuid()),
    });
    let answer = ask("node.invoke", &request).map_err(|error| error.reworded(marked_once))?;
    Ok(Answer::json(answer))
}

/// A node's refusal with its code once in front of it: the gateway adds it to what nodes say themselves.
fn marked_once(text: &str) -> String {
    let sentence = unmarked(text);
    match text.split_once(": ") {
        Some((code @ ("INVALID_REQUEST" | "UNAVAILABLE"), _)) => format!("{code}: {sentence}"),
        _ => sentence.to_owned(),
    }
}

/// An option that holds a JSON object; its default when it was not given.
///
/// # Errors
/// `--params is not valid JSON: …`, `--params must be a JSON object`.
pub fn object_option(invocation: &Invocation, name: &str) -> Result<Value, CliError> {
    let text = invocation.value(name).unwrap_or("{}");
    let malformed = |why: &dyn std::fmt::Display| {
        CliError::failed("USAGE", format!("--{name} is not valid JSON: {why}"))
    };
    nesting::measure(text).map_err(|_| malformed(&"nested too deeply"))?;
    let value: Value = serde_json::from_str(text).map_err(|fault| malformed(&fault))?;
    if value.is_object() {
        Ok(value)
    } else {
        Err(CliError::failed(
            "USAGE",
            format!("--{name} must be a JSON object"),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_of_a_node_is_said_once() {
        for (text, expected) in [
            (
                "INVALID_REQUEST: Error: INVALID_REQUEST: bins required",
                "INVALID_REQUEST: bins required",
            ),
            (
                "INVALID_REQUEST: bins required",
                "INVALID_REQUEST: bins required",
            ),
            ("Error: broken", "broken"),
            (
                "TIMEOUT: node invoke timed out",
                "TIMEOUT: node invoke timed out",
            ),
        ] {
            assert_eq!(marked_once(text), expected);
        }
    }
}
