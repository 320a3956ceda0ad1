//! `system.execApprovals.get` and `.set`: the exec policy of this machine, told and edited from elsewhere
//! (node-host specification, section 2.7).
//!
//! What an edit may do is read anew from the machine's configuration each time.

use serde_json::{Map, Value, json};

use crate::config::word::RemoteEdits;
use crate::exec::{ApprovalsError, Content, Document, Snapshot};
use crate::node::audit::{NodeAuditEntry, bounded, policy_changes};
use crate::node::machine::Machine;
use crate::protocol::error::ErrorShape;

/// Tells the policy; creates the file if there is none.
pub fn approvals_get(machine: &Machine) -> Result<Value, ErrorShape> {
    answer(machine.approvals.get())
}

/// Replaces the policy if it is still the one the caller saw.
pub fn approvals_set(machine: &Machine, params: &Value) -> Result<Value, ErrorShape> {
    let before = machine.approvals.load();
    let result = set(machine, params);
    machine.audit.record(edit_line(before, &result));
    answer(result)
}

/// What the trail says about an edit of what stood there before.
pub(super) fn edit_line(
    before: Content,
    result: &Result<Snapshot, ApprovalsError>,
) -> NodeAuditEntry {
    let line = NodeAuditEntry {
        action: "policy.edit-refused",
        before: before.hash,
        ..NodeAuditEntry::default()
    };
    let snapshot = match result {
        Ok(snapshot) => snapshot,
        Err(error) => {
            let message = Some(bounded(&error.wire()));
            return NodeAuditEntry { message, ..line };
        }
    };
    // The edit was taken against this hash, so that nothing else changed in between.
    let value = |document: &Document| serde_json::to_value(document).unwrap_or_default();
    let former = before
        .document
        .map_or(Value::Null, |document| value(&document));
    NodeAuditEntry {
        action: "policy.edited",
        after: snapshot.hash.clone(),
        changes: policy_changes(&former, &value(&snapshot.document)),
        ..line
    }
}

fn set(machine: &Machine, params: &Value) -> Result<Snapshot, ApprovalsError> {
    let given = params.get("file").and_then(Value::as_object);
    let given = policy(given.ok_or(ApprovalsError::FileRequired)?.clone())?;
    let base = params.get("baseHash").and_then(Value::as_str);
    // A configuration that cannot be read denies every run, and gives no leave to widen.
    let edits = (machine.host_policy)(None)
        .map_or_else(|_| RemoteEdits::default(), |host| host.remote_edits);
    machine.approvals.replace(base, given, edits)
}

fn policy(mut file: Map<String, Value>) -> Result<Document, ApprovalsError> {
    file.entry("version").or_insert(json!(1));
    Document::from_value(Value::Object(file))
        .map_err(|error| ApprovalsError::Invalid(error.to_string()))
}

fn answer(result: Result<Snapshot, ApprovalsError>) -> Result<Value, ErrorShape> {
    match result {
        Ok(snapshot) => Ok(snapshot.answer()),
        Err(error) => Err(ErrorShape::invalid(error.wire())),
    }
}

#[cfg(test)]
#[path = "approvals_tests.rs"]
mod tests;
