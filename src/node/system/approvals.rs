//! `system.execApprovals.get` and `.set`: the exec policy of this machine, told and edited from elsewhere
//! (node-host specification, section 2.7).
//!
//! What an edit may do is read anew from the machine's configuration each time.

use serde_json::{Map, Value, json};

use crate::config::word::RemoteEdits;
use crate::exec::{ApprovalsError, Document, Snapshot};
use crate::node::machine::Machine;
use crate::protocol::error::ErrorShape;

/// Tells the policy; creates the file if there is none.
pub fn approvals_get(machine: &Machine) -> Result<Value, ErrorShape> {
    answer(machine.approvals.get())
}

/// Replaces the policy if it is still the one the caller saw.
pub fn approvals_set(machine: &Machine, params: &Value) -> Result<Value, ErrorShape> {
    answer(set(machine, params))
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
