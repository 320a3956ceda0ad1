//! `gateway health`, `health` and `gateway call`: one question to a running gateway.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cli::answer::Answer;
use crate::cli::error::CliError;
use crate::cli::invocation::Invocation;
use crate::cli::nodes::object_option;
use crate::cli::output::pretty;
use crate::cli::reach::Reach;
use crate::cli::row;
use crate::client::identity::full_operator;
use crate::protocol::method::{least_scopes, lookup};
use crate::protocol::scope::{Scope, Scopes};

/// `gateway health` and `health`.
///
/// # Errors
/// As every command that asks a gateway.
pub fn health(invocation: &Invocation) -> Result<Answer, CliError> {
    let started = Instant::now();
    let reach = reach(invocation)?;
    let scopes: Scopes = [Scope::READ].into_iter().collect();
    let live = invocation.has("verbose") || invocation.has("debug");
    let params = if live {
        json!({"probe": true})
    } else {
        json!({})
    };
    let health = ask(&reach, &scopes, "health", &params, false)?;
    let took = started.elapsed().as_millis();
    let well = health.get("ok").and_then(Value::as_bool) != Some(false);
    let verdict = if well { "OK" } else { "Not well" };
    let mut text = String::new();
    if live {
        let endpoint = reach.endpoint();
        text += &format!(
            "Gateway target: {}\nSource: {}\n\n",
            endpoint.name(),
            endpoint.source
        );
    }
    text += &invocation.style().heading("Gateway Health");
    text += &format!("{verdict} ({took}ms)\n");
    if let Some(nodes) = health.get("nodes") {
        let count = |name: &str| row::number(nodes, name).unwrap_or_default();
        text += &format!(
            "Nodes: {} known · {} connected\n",
            count("known"),
            count("connected")
        );
    }
    Ok(Answer::new(health, text))
}

/// `gateway call`.
///
/// # Errors
/// Params that are no JSON object, the gateway's refusal, and as every command that asks a gateway.
pub fn call(invocation: &Invocation) -> Result<Answer, CliError> {
    let method = invocation.required_argument(0)?;
    let params = object_option(invocation, "params")?;
    let scopes = match lookup(method) {
        Some(_) => least_scopes(method),
        // A method of a newer gateway: whatever it needs.
        None => full_operator(),
    };
    let reach = reach(invocation)?;
    let payload = ask(
        &reach,
        &scopes,
        method,
        &params,
        invocation.has("expect-final"),
    )?;
    let text = format!("Gateway call: {method}\n{}\n", pretty(&payload));
    Ok(Answer::new(payload, text))
}

/// How the gateway of a command is reached, with `--timeout` as budget.
///
/// # Errors
/// As every command that asks a gateway.
pub fn reach(invocation: &Invocation) -> Result<Reach, CliError> {
    let paths = invocation.paths()?;
    let loaded = invocation.load(&paths)?;
    let total = Duration::from_millis(invocation.milliseconds("timeout"));
    Reach::new(invocation, &paths, &loaded, total)
}

/// One question in a session of its own.
///
/// # Errors
/// As every command that asks a gateway.
pub fn ask(
    reach: &Reach,
    scopes: &Scopes,
    method: &str,
    params: &Value,
    until_final: bool,
) -> Result<Value, CliError> {
    let mut session = reach.connect(scopes)?;
    let answer = match until_final {
        true => session.request_final(method, params, reach.budget()),
        false => session.request(method, params, reach.budget()),
    };
    answer.map_err(|error| reach.failure(error))
}
