//! `openclaw nodes`: what waits, what is known, approving, renaming, using.

use serde_json::{Value, json};

use crate::cli::administration::{Administration, Fallback, open};
use crate::cli::answer::Answer;
use crate::cli::error::{CliError, Failed};
use crate::cli::invocation::Invocation;
use crate::cli::output::text::{counted, plain};
use crate::cli::watch::{self, What};
use crate::cli::{pairing, row, selectors};
use crate::pairing::truth::{View, rows};
use crate::protocol::scope::Scope;
use crate::store::{Clock, SystemClock};

pub mod decide;
pub mod difference;
mod explain;
mod invoke;
mod listing;
mod prune;
mod silent;
mod view;

pub use decide::{approve, reject};
pub use invoke::{invoke, object_option};
pub(in crate::cli) use listing::merged as with_live;
pub use listing::{list, status};
pub use prune::prune;

/// `nodes pending`: everything of a node that waits, of both layers.
///
/// # Errors
/// As every administration command.
pub fn pending(invocation: &Invocation) -> Result<Answer, CliError> {
    if let Some(watched) = watch::watching(invocation, What::Pending)? {
        return Ok(watched);
    }
    let mut gateway = open(invocation, &[Scope::PAIRING], Fallback::Offline)?;
    let (devices, nodes) = lists(&mut *gateway)?;
    let waiting = waiting_in(&devices, &nodes, View::Nodes);
    let text = view::pending(&waiting, SystemClock.now_ms(), invocation.style());
    let mut answer = Answer::new(json!(waiting), text);
    answer.notes.extend(pairing::notes(&nodes));
    Ok(with_note(answer, &*gateway))
}

/// `nodes describe`.
///
/// # Errors
/// Unknown or ambiguous node, and as every command that asks a gateway.
pub fn describe(invocation: &Invocation) -> Result<Answer, CliError> {
    let mut gateway = open(invocation, &[Scope::READ], Fallback::Offline)?;
    let id = select(invocation, &mut *gateway)?;
    let node = gateway.call("node.describe", &json!({"nodeId": id}))?;
    let text = view::description(&node, SystemClock.now_ms(), invocation.style());
    let text = invocation.addressed(&text);
    Ok(with_note(Answer::new(node, text), &*gateway))
}

/// `nodes remove`.
///
/// # Errors
/// Unknown or ambiguous node, and as every administration command.
pub fn remove(invocation: &Invocation) -> Result<Answer, CliError> {
    let scopes = [Scope::PAIRING, Scope::READ];
    let mut gateway = open(invocation, &scopes, Fallback::Offline)?;
    let id = select_paired(invocation, &mut *gateway)?;
    let removed = gateway
        .call("node.pair.remove", &json!({"nodeId": id}))
        .map_err(|error| without_record(error, &id))?;
    let id = plain(row::id(&removed));
    let again = row::text(&removed, "pendingRequestId").map(|request| {
        format!(
            "It is still connected and waits for approval again: openclaw nodes approve {}\n\
             To end its connection too: openclaw devices remove {id}",
            plain(request)
        )
    });
    let again = again.or_else(|| stays(&mut *gateway, row::id(&removed)));
    let ended = ended(&removed);
    let mut answer = Answer::new(removed, format!("Removed paired node {id}"));
    answer.notes.extend(ended.into_iter().chain(again));
    Ok(with_note(answer, &*gateway))
}

/// What is left of a node that was removed, where a list still shows it.
fn stays(gateway: &mut dyn Administration, id: &str) -> Option<String> {
    // The removal stands whatever becomes of this look.
    let listed = gateway.call("node.list", &json!({})).ok()?;
    let mut nodes = row::rows(&listed, "nodes").iter();
    let device = nodes.any(|node| row::id(node) == id);
    device.then(|| {
        format!(
            "Its device stays paired: openclaw devices remove {}",
            plain(id)
        )
    })
}

/// A node that a list shows and the gateway has no record of: of such a one only the device is paired.
fn without_record(error: CliError, id: &str) -> CliError {
    let mut failed = Failed::from(error);
    if failed.message == "unknown nodeId" {
        failed.hint.get_or_insert_with(|| {
            format!(
                "Only its device is paired: approve its commands (openclaw nodes pending), \
                 or remove it: openclaw devices remove {}",
                plain(id)
            )
        });
    }
    failed.into()
}

/// `nodes rename`.
///
/// # Errors
/// Unknown or ambiguous node, and as every administration command.
pub fn rename(invocation: &Invocation) -> Result<Answer, CliError> {
    let name = invocation.text("name").unwrap_or_default();
    let scopes = [Scope::PAIRING, Scope::READ];
    let mut gateway = open(invocation, &scopes, Fallback::Offline)?;
    let id = select_paired(invocation, &mut *gateway)?;
    let params = json!({"nodeId": id, "displayName": name});
    let renamed = gateway
        .call("node.rename", &params)
        .map_err(|error| without_record(error, &id))?;
    let shown = row::text(&renamed, "displayName").unwrap_or(name);
    let text = format!(
        "node rename ok: {} -> {}",
        plain(row::id(&renamed)),
        plain(shown)
    );
    Ok(with_note(Answer::new(renamed, text), &*gateway))
}

/// The answers of `device.pair.list` and `node.pair.list`. A gateway that refuses one of them is an
/// error: half the truth is none.
///
/// # Errors
/// The gateway's refusal.
pub fn lists(gateway: &mut dyn Administration) -> Result<(Value, Value), CliError> {
    let nodes = gateway.call("node.pair.list", &json!({}))?;
    let devices = gateway.call("device.pair.list", &json!({}))?;
    Ok((devices, nodes))
}

/// The rows of both layers that wait.
///
/// # Errors
/// The gateway's refusal.
pub fn waiting(gateway: &mut dyn Administration, view: View) -> Result<Vec<Value>, CliError> {
    let (devices, nodes) = lists(gateway)?;
    Ok(waiting_in(&devices, &nodes, view))
}

/// The same from answers that are there already.
pub fn waiting_in(devices: &Value, nodes: &Value, view: View) -> Vec<Value> {
    let (devices, nodes) = (row::rows(devices, "pending"), row::rows(nodes, "pending"));
    rows(devices, nodes, view)
}

/// How many live sessions and invokes a change ended, for people; nothing where the gateway does not say.
pub fn ended(answer: &Value) -> Option<String> {
    let sessions = row::number(answer, "sessionsEnded")?;
    let invokes = row::number(answer, "invokesEnded")?;
    Some(format!(
        "Ended {} and {}.",
        counted(sessions, "live session"),
        counted(invokes, "pending invoke")
    ))
}

/// The answer with the line that tells which way was taken.
pub fn with_note(answer: Answer, gateway: &dyn Administration) -> Answer {
    match gateway.note() {
        Some(note) => answer.note_first(note),
        None => answer,
    }
}

/// The id of the node that `--node` means. When the list cannot be had, the paired records have to do;
/// the first error is the one reported.
///
/// # Errors
/// Unknown or ambiguous node, and why the nodes cannot be listed.
pub fn select(
    invocation: &Invocation,
    gateway: &mut dyn Administration,
) -> Result<String, CliError> {
    let query = invocation.text("node").unwrap_or_default();
    let nodes = match gateway.call("node.list", &json!({})) {
        Ok(listed) => row::rows(&listed, "nodes").to_vec(),
        Err(error) => match gateway.call("node.pair.list", &json!({})) {
            Ok(listed) => row::rows(&listed, "paired").to_vec(),
            Err(_) => return Err(error),
        },
    };
    Ok(row::id(selectors::node(query, &nodes)?).to_owned())
}

/// The same, where an exact id of a record that no list of nodes shows counts too.
fn select_paired(
    invocation: &Invocation,
    gateway: &mut dyn Administration,
) -> Result<String, CliError> {
    let error = match select(invocation, gateway) {
        Err(error) => error,
        found => return found,
    };
    let query = invocation.text("node").unwrap_or_default();
    let listed = gateway.call("node.pair.list", &json!({}))?;
    let mut records = row::rows(&listed, "paired").iter();
    if records.any(|record| row::id(record) == query) {
        Ok(query.to_owned())
    } else {
        Err(error)
    }
}
