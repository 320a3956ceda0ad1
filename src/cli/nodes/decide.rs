//! Approving and rejecting: an id of either layer, or a unique prefix, from `nodes` and from `devices`
//! alike. Says what was approved and what still waits (users.md #2).

use serde_json::{Value, json};

use crate::cli::administration::{Administration, Fallback, open};
use crate::cli::answer::Answer;
use crate::cli::error::{CliError, Failed};
use crate::cli::invocation::Invocation;
use crate::cli::nodes::{waiting, with_note};
use crate::cli::output::pretty;
use crate::cli::output::text::plain;
use crate::cli::{row, selectors};
use crate::pairing::truth::View;
use crate::protocol::scope::{Role, Scope, Scopes};

/// Which of the two layers a request belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    /// The device may connect.
    Device,
    /// The node's commands may be used.
    Node,
}

/// A request chosen by what was typed.
#[derive(Debug)]
pub struct Chosen {
    /// Full id.
    pub id: String,
    /// Its layer; where no list shows it, that of the command.
    pub layer: Layer,
    /// Its row, when a list shows it.
    pub row: Option<Value>,
}

/// What a decision led to.
#[derive(Debug)]
pub struct Decided {
    /// The gateway's answer; for a device that is a node with `next`, what its other layer needs.
    pub answer: Value,
    /// What a person should know beyond it, one line each.
    pub notes: Vec<String>,
}

/// `nodes approve`: always JSON; the token only with `--json`.
///
/// # Errors
/// `unknown requestId`, `missing scope: …`, and as every administration command.
pub fn approve(invocation: &Invocation) -> Result<Answer, CliError> {
    let typed = invocation.required_argument(0)?;
    let mut gateway = open(invocation, &[Scope::PAIRING], Fallback::Offline)?;
    let chosen = choose(&mut *gateway, typed, Layer::Node)?;
    let decided = approve_chosen(&mut *gateway, &chosen)?;
    let mut shown = decided.answer.clone();
    if let Some(node) = shown.get_mut("node").and_then(Value::as_object_mut) {
        node.shift_remove("token");
    }
    let mut answer = Answer::new(decided.answer, pretty(&shown));
    answer.notes = decided.notes;
    Ok(with_note(answer, &*gateway))
}

/// `nodes reject`: always JSON.
///
/// # Errors
/// `unknown requestId`, and as every administration command.
pub fn reject(invocation: &Invocation) -> Result<Answer, CliError> {
    let typed = invocation.required_argument(0)?;
    let mut gateway = open(invocation, &[Scope::PAIRING], Fallback::Offline)?;
    let chosen = choose(&mut *gateway, typed, Layer::Node)?;
    let answer = reject_chosen(&mut *gateway, &chosen)?;
    Ok(with_note(Answer::json(answer), &*gateway))
}

/// The request that was meant, looked up in both layers right before the decision.
///
/// # Errors
/// `ambiguous request: …`, and the gateway's refusal to list.
pub fn choose(
    gateway: &mut dyn Administration,
    typed: &str,
    otherwise: Layer,
) -> Result<Chosen, CliError> {
    let rows = waiting(gateway, View::Devices)?;
    let id = selectors::request(typed, &rows)?.to_owned();
    let is_it = |row: &Value| row::text(row, "requestId") == Some(id.as_str());
    let found = rows.into_iter().find(is_it);
    let layer = match found.as_ref().and_then(|row| row::text(row, "layer")) {
        Some("device") => Layer::Device,
        Some("node") => Layer::Node,
        _ => otherwise,
    };
    Ok(Chosen {
        id,
        layer,
        row: found,
    })
}

/// Approves exactly the chosen request, with the scopes it takes to do so.
///
/// # Errors
/// The gateway's refusal.
pub fn approve_chosen(
    gateway: &mut dyn Administration,
    chosen: &Chosen,
) -> Result<Decided, CliError> {
    gateway.raise(&needed(chosen))?;
    match chosen.layer {
        Layer::Node => {
            let answer = decide(gateway, "node.pair.approve", chosen)?;
            let notes = approved_node(&answer).into_iter().collect();
            Ok(Decided { answer, notes })
        }
        Layer::Device => {
            let mut answer = decide(gateway, "device.pair.approve", chosen)?;
            let device = answer.get("device").cloned().unwrap_or_default();
            let mut notes = Vec::new();
            if is_node(&device) {
                let (line, next) = next_step(gateway, row::id(&device));
                notes.push(line);
                answer["next"] = next;
            }
            Ok(Decided { answer, notes })
        }
    }
}

/// Rejects the chosen request.
///
/// # Errors
/// The gateway's refusal.
pub fn reject_chosen(gateway: &mut dyn Administration, chosen: &Chosen) -> Result<Value, CliError> {
    let method = match chosen.layer {
        Layer::Device => "device.pair.reject",
        Layer::Node => "node.pair.reject",
    };
    decide(gateway, method, chosen)
}

/// Calls the method; an id that no list shows is answered with what waits instead.
fn decide(
    gateway: &mut dyn Administration,
    method: &'static str,
    chosen: &Chosen,
) -> Result<Value, CliError> {
    let error = match gateway.call(method, &json!({"requestId": chosen.id})) {
        Err(error) if chosen.row.is_none() => error,
        answer => return answer,
    };
    let waiting = waiting(gateway, View::Devices)?;
    let ids: Vec<&str> = waiting
        .iter()
        .filter_map(|row| row::text(row, "requestId"))
        .collect();
    let mut failed = Failed::from(error);
    failed.hint.get_or_insert_with(|| match ids.as_slice() {
        [] => {
            "Nothing waits. Requests expire after 5 minutes; a connected node asks again by itself."
                .to_owned()
        }
        ids => format!("Waiting now: {}", ids.join(", ")),
    });
    Err(failed.into())
}

/// The scopes that the approval takes: what the node's commands require, or what the device will be
/// granted.
fn needed(chosen: &Chosen) -> Scopes {
    let listed = chosen.row.as_ref().and_then(|row| match chosen.layer {
        Layer::Node => row::words(row, "requiredApproveScopes"),
        Layer::Device => row::words(row, "scopes"),
    });
    let listed = listed.unwrap_or_default().into_iter();
    listed
        .filter(|scope| scope.starts_with("operator."))
        .collect()
}

/// One line about what was approved: the commands that can be used from now on.
fn approved_node(answer: &Value) -> Option<String> {
    let node = answer.get("node")?;
    let commands = row::words(node, "commands").unwrap_or_default();
    let commands = match commands.is_empty() {
        true => "no commands".to_owned(),
        false => plain(&commands.join(", ")),
    };
    Some(format!(
        "Approved node {} with {commands}.",
        row::label(node)
    ))
}

/// What a node still needs after its device was approved: a line for people, and the same as JSON.
fn next_step(gateway: &mut dyn Administration, node: &str) -> (String, Value) {
    // The approval stands whatever becomes of this look.
    let listed = gateway
        .call("node.pair.list", &json!({}))
        .unwrap_or_default();
    let of_node = |name: &str| {
        let mut rows = row::rows(&listed, name).iter();
        rows.find(|row| row::id(row) == node)
    };
    if let Some(request) = of_node("pending").and_then(|row| row::text(row, "requestId")) {
        let command = format!("openclaw nodes approve {request}");
        return (
            format!("Device approved; node commands still wait: run {command}"),
            json!({"layer": "node", "requestId": request, "command": command}),
        );
    }
    if of_node("paired").is_some() {
        let line = "Device approved; its node commands were approved before.";
        return (line.to_owned(), Value::Null);
    }
    let command = "openclaw nodes pending";
    (
        format!(
            "Device approved; its commands need a second approval once it connects: run {command}"
        ),
        json!({"layer": "node", "requestId": null, "command": command}),
    )
}

fn is_node(device: &Value) -> bool {
    let role = Role::Node.as_str();
    let roles = row::words(device, "roles").unwrap_or_default();
    roles.contains(&role) || row::text(device, "role") == Some(role)
}
