//! `approvals check`: what a machine would do with a command, without running it.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use crate::cli::administration::{Fallback, open};
use crate::cli::answer::{Answer, FAILURE, SUCCESS};
use crate::cli::approvals::verdict;
use crate::cli::error::CliError;
use crate::cli::invocation::Invocation;
use crate::cli::node::machine;
use crate::cli::nodes::select;
use crate::cli::row;
use crate::identity::{DeviceKey, Random};
use crate::node::system::prepare;
use crate::protocol::scope::Scope;
use crate::store::{StateDir, load_key};

/// `approvals check`: exit code 0 when the command would run, 1 when it would be refused or not start.
///
/// # Errors
/// A command that no machine takes, an unknown node, a node that does not tell, and as every command that asks a
/// gateway.
pub fn check(invocation: &Invocation) -> Result<Answer, CliError> {
    let command = invocation.arguments();
    let params = json!({
        "command": command,
        "cwd": invocation.text("cwd"),
        "agentId": invocation.text("agent"),
        "check": true,
    });
    let (target, prepared) = match invocation.text("node") {
        None => ("local".to_owned(), here(invocation, &params)?),
        Some(_) => there(invocation, &params)?,
    };
    let Some(policy) = prepared.get("policy").and_then(Value::as_object) else {
        return Err(CliError::failed(
            "UNAVAILABLE",
            "this node does not tell how it would judge a command: its version answers without a policy",
        ));
    };
    let mut document = json!({
        "target": target, "command": command, "cwd": params["cwd"], "agentId": params["agentId"],
    });
    if let Some(members) = document.as_object_mut() {
        members.extend(policy.clone());
        let plan_error = prepared.get("planError").cloned();
        members.extend(plan_error.map(|text| ("planError".to_owned(), text)));
    }
    let runs = row::text(&document, "verdict") == Some("run")
        && row::text(&document, "startFault").is_none();
    let text = verdict::told(&document, invocation.style());
    let exit = if runs { SUCCESS } else { FAILURE };
    Ok(Answer::new(document, text).exit(exit))
}

/// By this machine's own files, with the function of its node host.
fn here(invocation: &Invocation, params: &Value) -> Result<Value, CliError> {
    let paths = invocation.paths()?;
    let loaded = invocation.load(&paths)?;
    let here = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
    let dir = StateDir::open(&paths.state_dir)?;
    // A machine that never was a node has no key, and nobody knows it by one.
    let key = load_key(&dir)?.map_or_else(DeviceKey::generate, Ok);
    let key = key.map_err(|fault| CliError::failed("UNAVAILABLE", fault.to_string()))?;
    // Nothing is run, so nothing is written about any gateway.
    let environment = invocation.environment().clone();
    let machine = machine(
        &key.device_id(),
        &dir,
        "none",
        &paths,
        &loaded,
        environment,
        here,
    );
    let refused = |error: crate::protocol::error::ErrorShape| {
        CliError::failed(error.code.as_str(), error.message)
    };
    prepare(&machine, params).map_err(refused)
}

/// By the node's own answer.
fn there(invocation: &Invocation, params: &Value) -> Result<(String, Value), CliError> {
    let scopes = [Scope::READ, Scope::WRITE];
    let mut gateway = open(invocation, &scopes, Fallback::Never)?;
    let node = select(invocation, &mut *gateway)?;
    let budget = Duration::from_millis(invocation.milliseconds("timeout"));
    let request = json!({
        "nodeId": node,
        "command": "system.run.prepare",
        "params": params,
        "timeoutMs": u64::try_from(budget.as_millis()).unwrap_or(u64::MAX),
        "idempotencyKey": Random.uuid(),
    });
    let answer = gateway.call("node.invoke", &request)?;
    Ok((format!("node:{node}"), answer["payload"].clone()))
}
