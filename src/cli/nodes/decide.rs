//! Approving and rejecting: an id of either layer, or a unique prefix, from `nodes` and from `devices`
//! alike. Says what was approved and what still waits on the other layer, so that nobody is "pairing
//! required" for a reason that no list shows.

use serde_json::{Value, json};

use crate::cli::administration::{Administration, Fallback, open};
use crate::cli::answer::Answer;
use crate::cli::devices::access;
use crate::cli::error::{CliError, Failed};
use crate::cli::invocation::Invocation;
use crate::cli::nodes::explain::explained;
use crate::cli::nodes::{difference, ended, lists, silent, waiting, with_note};
use crate::cli::output::pretty;
use crate::cli::output::text::plain;
use crate::cli::output::time::minutes;
use crate::cli::{row, selectors};
use crate::client::ssh::SshTarget;
use crate::pairing::REQUEST_TTL_MS;
use crate::pairing::resolution::Layer;
use crate::pairing::truth::{View, rows};
use crate::protocol::scope::{Role, Scope, Scopes};
use crate::store::{Clock, SystemClock};

/// A request chosen by what was typed.
#[derive(Debug)]
pub struct Chosen {
    /// Full id.
    pub id: String,
    /// Its layer; where no list shows it, that of the command.
    pub layer: Layer,
    /// Its row, when a list shows it.
    pub row: Option<Value>,
    /// What is approved today for the same device or node.
    pub approved: Option<Value>,
}

/// What a decision led to.
#[derive(Debug)]
pub struct Decided {
    /// The gateway's answer with `changes`, what the approval added and took away; for a device that is a
    /// node also with `next`, what its other layer needs.
    pub answer: Value,
    /// What a person should know beyond it, one line each.
    pub notes: Vec<String>,
}

/// `nodes approve`: always JSON; the token only with `--json`.
///
/// # Errors
/// `unknown requestId`, `request changed …`, `missing scope: …`, and as every administration command.
pub fn approve(invocation: &Invocation) -> Result<Answer, CliError> {
    let silent_by = match invocation.text("silent-ssh") {
        Some(target) => Some(
            SshTarget::parse(target)
                .map_err(|fault| CliError::failed("USAGE", fault.to_string()))?,
        ),
        None => None,
    };
    let typed = match silent_by {
        Some(_) => invocation.argument(0),
        None => Some(invocation.required_argument(0)?),
    };
    let mut gateway = open(invocation, &[Scope::PAIRING], Fallback::Offline)?;
    let typed = match typed {
        Some(typed) => typed.to_owned(),
        None => silent::only_silent(&mut *gateway)?,
    };
    let chosen = choose(&mut *gateway, &typed, Layer::Node)?;
    if let Some(target) = silent_by {
        let shown = chosen
            .row
            .clone()
            .unwrap_or(json!({"requestId": chosen.id}));
        silent::prove(&mut *gateway, &target, &shown)?;
    }
    let decided = approve_chosen(&mut *gateway, &chosen, invocation.text("digest"))?;
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
    let (devices, nodes) = lists(gateway)?;
    let (of_devices, of_nodes) = (row::rows(&devices, "pending"), row::rows(&nodes, "pending"));
    let rows = rows(of_devices, of_nodes, View::Devices);
    let id = selectors::request(typed, &rows)?.to_owned();
    let is_it = |row: &Value| row::text(row, "requestId") == Some(id.as_str());
    let found = rows.into_iter().find(is_it);
    let layer = match found.as_ref().and_then(|row| row::text(row, "layer")) {
        Some("device") => Layer::Device,
        Some("node") => Layer::Node,
        _ => otherwise,
    };
    let paired = match layer {
        Layer::Device => row::rows(&devices, "paired"),
        Layer::Node => row::rows(&nodes, "paired"),
    };
    let subject = found.as_ref().map_or("", row::id);
    let approved = paired.iter().find(|record| row::id(record) == subject);
    Ok(Chosen {
        id,
        layer,
        approved: approved.cloned(),
        row: found,
    })
}

/// Approves exactly the chosen request as it was looked at, with the scopes it takes to do so. `digest`
/// stands for what somebody looked at before this command.
///
/// # Errors
/// The gateway's refusal; a request that asks for something else by now, with the difference.
pub fn approve_chosen(
    gateway: &mut dyn Administration,
    chosen: &Chosen,
    digest: Option<&str>,
) -> Result<Decided, CliError> {
    let shown = chosen.row.as_ref().map(|row| row::text(row, "digest"));
    if digest.is_some() && shown == Some(None) {
        let message = "this gateway shows no digests; approve without --digest";
        return Err(CliError::failed("INVALID_REQUEST", message));
    }
    gateway.raise(&needed(chosen))?;
    let mut layer = chosen.layer;
    let mut params = json!({"requestId": chosen.id});
    if let Some(expected) = digest.or(shown.flatten()) {
        params["expectedDigest"] = json!(expected);
    }
    let mut outcome = decide(gateway, approval(layer), &params, chosen);
    // An id that no list shows may have been approved on the other layer.
    if let Some(other) = outcome
        .as_ref()
        .err()
        .and_then(approved_layer)
        .filter(|it| *it != layer)
    {
        layer = other;
        outcome = decide(gateway, approval(layer), &params, chosen);
    }
    let mut answer = outcome?;
    let subject = match layer {
        Layer::Device => "device",
        Layer::Node => "node",
    };
    let record = answer.get(subject).cloned().unwrap_or_default();
    let mut notes = Vec::new();
    if row::flag(&answer, "alreadyApproved") {
        notes.push("This request was approved before; nothing changed.".to_owned());
    } else {
        notes.push(approved_line(layer, &record));
        notes.extend(changes(&mut answer, chosen));
    }
    if row::number(&answer, "sessionsEnded") > Some(0)
        || row::number(&answer, "invokesEnded") > Some(0)
    {
        notes.extend(ended(&answer));
    }
    if layer == Layer::Device && is_node(&record) {
        let (line, next) = next_step(gateway, row::id(&record));
        notes.push(line);
        answer["next"] = next;
    }
    Ok(Decided { answer, notes })
}

fn approval(layer: Layer) -> &'static str {
    match layer {
        Layer::Device => "device.pair.approve",
        Layer::Node => "node.pair.approve",
    }
}

/// The layer on which the request of a refusal was approved before.
fn approved_layer(error: &CliError) -> Option<Layer> {
    let details = error.details();
    match (row::text(&details, "state")?, row::text(&details, "layer")?) {
        ("approved", "device") => Some(Layer::Device),
        ("approved", "node") => Some(Layer::Node),
        _ => None,
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
    decide(gateway, method, &json!({"requestId": chosen.id}), chosen)
}

/// Calls the method; a request that is not open any more, or asks for something else, is explained, and an
/// id that nobody knows is answered with what waits instead.
fn decide(
    gateway: &mut dyn Administration,
    method: &'static str,
    params: &Value,
    chosen: &Chosen,
) -> Result<Value, CliError> {
    let error = match gateway.call(method, params) {
        Err(error) => error,
        answer => return answer,
    };
    if row::text(&error.details(), "code").is_some() {
        return Err(explained(Failed::from(error), chosen, SystemClock.now_ms()).into());
    }
    if chosen.row.is_some() {
        return Err(error);
    }
    let waiting = waiting(gateway, View::Devices)?;
    let ids: Vec<&str> = waiting
        .iter()
        .filter_map(|row| row::text(row, "requestId"))
        .collect();
    let mut failed = Failed::from(error);
    failed.hint.get_or_insert_with(|| match ids.as_slice() {
        [] => {
            let life = minutes(REQUEST_TTL_MS);
            format!("Nothing waits. Requests expire after {life}; a connected node asks again by itself.")
        }
        ids => format!("Waiting now: {}", plain(&ids.join(", "))),
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

/// One line about what is approved from now on.
fn approved_line(layer: Layer, record: &Value) -> String {
    let label = row::label(record);
    match layer {
        Layer::Device => format!("Approved device {label} for {}.", access::described(record)),
        Layer::Node => {
            let commands = row::words(record, "commands").unwrap_or_default();
            let commands = match commands.is_empty() {
                true => "no commands".to_owned(),
                false => plain(&commands.join(", ")),
            };
            format!("Approved node {label} with {commands}.")
        }
    }
}

/// What the approval added to and took from what was approved before, as lines; the answer gets it too.
fn changes(answer: &mut Value, chosen: &Chosen) -> Vec<String> {
    let Some(request) = &chosen.row else {
        return Vec::new();
    };
    let changes = difference::of_approval(chosen.layer, request, chosen.approved.as_ref());
    let lines = match (&chosen.approved, changes.is_empty()) {
        (None, _) => Vec::new(),
        (Some(_), true) => vec!["  the same access as before".to_owned()],
        (Some(_), false) => difference::lines(&changes)
            .iter()
            .map(|line| format!("  {line}"))
            .collect(),
    };
    answer["changes"] = Value::Object(changes);
    lines
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
