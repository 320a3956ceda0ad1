//! Operations on the first layer that somebody asks for: list, approve, reject, remove.
//!
//! Requests themselves come from connecting devices (`connect`), tokens have their own file (`token`).
//! A device-bound caller sees and manages its own device alone (protocol §5.6).

use std::{cmp::Reverse, collections::BTreeSet};

use serde::Serialize;
use serde_json::{Value, json};

use super::{
    Caller, Entropy, State, approval,
    change::{AuditEntry, Change, Changes, Part, SessionEnd},
    device_record::{DeviceRecord, DeviceRequest},
    digest, expiry, invitation, node,
    node_record::NodeRecord,
    refusal::Refusal,
    resolution::{self, Fate, Layer, Resolution},
};
use crate::identity::{DeviceId, NodeId, RequestId};

/// The event of a new request.
pub const REQUESTED: &str = "device.pair.requested";

/// The event of a request that is over.
pub const RESOLVED: &str = "device.pair.resolved";

/// The answer of `device.pair.list`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DeviceList {
    /// Waiting requests, newest first.
    pub pending: Vec<Value>,
    /// Approved devices without secrets, newest approval first.
    pub paired: Vec<Value>,
}

/// The answer of `device.pair.approve`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Approved {
    /// Which request.
    pub request_id: RequestId,
    /// The resulting record without secrets.
    pub device: Value,
    /// Set when this request had been approved before, and nothing happened now.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub already_approved: bool,
}

/// The answer of `device.pair.reject`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rejected {
    /// Which request.
    pub request_id: RequestId,
    /// Whose.
    pub device_id: DeviceId,
}

/// The answer of `device.pair.remove`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Removed {
    /// Which device.
    pub device_id: DeviceId,
}

/// What waits and who is approved, as this caller may see it.
pub fn list(state: &State, caller: &Caller<'_>, now: u64) -> DeviceList {
    let visible = |device: &DeviceId| caller.device_bound.is_none_or(|own| own == device);
    let pending = state.devices.pending.records();
    let mut pending: Vec<&DeviceRequest> = pending
        .filter(|request| visible(&request.device_id) && !expiry::is_expired(request.ts, now))
        .collect();
    pending.sort_by_key(|request| Reverse(request.ts));
    let paired = state.devices.paired.records();
    let mut paired: Vec<&DeviceRecord> =
        paired.filter(|record| visible(&record.device_id)).collect();
    paired.sort_by_key(|record| Reverse(record.approved_at_ms));
    DeviceList {
        pending: pending
            .into_iter()
            .map(|request| request.shown(&state.devices.paired))
            .collect(),
        paired: paired
            .into_iter()
            .map(|record| listed(state, record))
            .collect(),
    }
}

/// The record as a list shows it, under the operator's name for the node that the device is.
fn listed(state: &State, record: &DeviceRecord) -> Value {
    let mut row = record.redacted();
    let node = state.nodes.paired.record(record.device_id.as_str());
    if let Some(label) = node.and_then(NodeRecord::label) {
        row["displayName"] = label.into();
    }
    row
}

/// Approves exactly what the request shows; with `expected`, the digest of a row, only if it still
/// shows that. A request that was approved before is a success that changes nothing.
///
/// # Errors
/// `UnknownRequest`, `RequestResolved` (also when it has expired), `RequestChanged`, `ApprovalDenied`,
/// `ScopeOutsideRoles`, `MissingScope`, `RecordUnreadable`.
pub fn approve(
    state: &mut State,
    request_id: &str,
    expected: Option<&str>,
    caller: &Caller<'_>,
    now: u64,
    entropy: &mut dyn Entropy,
) -> Result<(Approved, Changes), Refusal> {
    let request = match open_request(state, request_id, caller, now, Refusal::ApprovalDenied) {
        Err(Refusal::RequestResolved(end)) => return approved_before(state, end, expected),
        open => open?,
    };
    let shown = request.shown(&state.devices.paired);
    digest::check(expected, &shown)?;
    let record = approval::grant(&state.devices.paired, &request, caller.scopes, now, entropy)?;
    let audit = AuditEntry::by(caller, "device.approve", request.device_id.as_str())
        .detailing(json!({"requestId": request.request_id, "role": request.role}));
    let answer = Approved {
        request_id: request.request_id.clone(),
        device: record.redacted(),
        already_approved: false,
    };
    let mut changes = settle(state, &request, record, audit, now);
    changes.insert(1, Change::Save(Part::DevicesPending));
    let end = Resolution::of_device(&request, Fate::Approved, now).by(&caller.label);
    changes.push(resolution::note(state, end.of_shown(&shown)));
    Ok((answer, changes))
}

/// The answer to an approval that was given before; anything else that became of the request refuses it.
fn approved_before(
    state: &State,
    end: Box<Resolution>,
    expected: Option<&str>,
) -> Result<(Approved, Changes), Refusal> {
    let record = state.devices.paired.record(&end.subject);
    match record.filter(|_| end.layer == Layer::Device && end.is_approval_of(expected)) {
        Some(record) => {
            let answer = Approved {
                request_id: end.request_id,
                device: record.redacted(),
                already_approved: true,
            };
            Ok((answer, Changes::new()))
        }
        None => Err(Refusal::RequestResolved(end)),
    }
}

/// Refuses a request; the device may ask again.
///
/// # Errors
/// `UnknownRequest`, `RequestResolved` (also when it has expired), `RejectionDenied`.
pub fn reject(
    state: &mut State,
    request_id: &str,
    caller: &Caller<'_>,
    now: u64,
) -> Result<(Rejected, Changes), Refusal> {
    let request = open_request(state, request_id, caller, now, Refusal::RejectionDenied)?;
    state.devices.pending.remove(request_id);
    let audit = AuditEntry::by(caller, "device.reject", request.device_id.as_str());
    let audit = audit.detailing(json!({"requestId": request.request_id}));
    let end = Resolution::of_device(&request, Fate::Rejected, now).by(&caller.label);
    let changes = vec![
        Change::Save(Part::DevicesPending),
        audit.into(),
        resolved(&request, "rejected", now),
        resolution::note(state, end),
    ];
    let answer = Rejected {
        request_id: request.request_id,
        device_id: request.device_id,
    };
    Ok((answer, changes))
}

/// Forgets a device: its record with all tokens, its requests, and everything the second layer holds
/// about it (D5). This is also the way out for a record that cannot be read.
///
/// # Errors
/// `RemovalDenied`, `UnknownDevice`.
pub fn remove(
    state: &mut State,
    device: &DeviceId,
    caller: &Caller<'_>,
    now: u64,
) -> Result<(Removed, Changes), Refusal> {
    if caller.device_bound.is_some_and(|own| own != device) {
        return Err(Refusal::RemovalDenied);
    }
    let before = state.devices.paired.record(device.as_str()).map(summary);
    if !state.devices.paired.remove(device.as_str()) {
        return Err(Refusal::UnknownDevice);
    }
    let swept: Vec<DeviceRequest> = requests_of(state, device).cloned().collect();
    for request in &swept {
        state.devices.pending.remove(request.request_id.as_str());
    }
    let (node_parts, node_events) = node::sweep(state, &NodeId::from(device), caller, now);

    // What let it in goes first, then requests: a crash in between must not leave either without its removal.
    let mut changes: Changes = invitation::forget_device(state, device, now);
    if !swept.is_empty() {
        changes.push(Change::Save(Part::DevicesPending));
    }
    changes.extend(node_parts.into_iter().map(Change::Save));
    changes.push(Change::Save(Part::DevicesPaired));
    let audit = AuditEntry::by(caller, "device.remove", device.as_str()).turning(before, None);
    changes.push(audit.into());
    changes.extend(
        swept
            .iter()
            .map(|request| resolved(request, "rejected", now)),
    );
    changes.extend(node_events);
    for request in &swept {
        let end = Resolution::of_device(request, Fate::Removed, now).by(&caller.label);
        changes.push(resolution::note(state, end));
    }
    changes.extend(resolution::withdraw(
        state,
        Layer::Device,
        device.as_str(),
        caller,
        now,
    ));
    changes.push(Change::EndSessions {
        device: device.clone(),
        role: None,
        reason: SessionEnd::DeviceRemoved,
    });
    Ok((
        Removed {
            device_id: device.clone(),
        },
        changes,
    ))
}

/// Puts an approved record in the place of its request. The first change saves the record, so that a
/// crash between two files leaves a stale request and never an approval without a record.
pub(super) fn settle(
    state: &mut State,
    request: &DeviceRequest,
    record: DeviceRecord,
    audit: AuditEntry,
    now: u64,
) -> Changes {
    let old = state.devices.paired.record(request.device_id.as_str());
    let another_key = old.is_some_and(|old| old.public_key != record.public_key);
    let audit = audit.turning(old.map(summary), Some(summary(&record)));
    state.devices.paired.put(record);
    state.devices.pending.remove(request.request_id.as_str());
    let mut changes = vec![
        Change::Save(Part::DevicesPaired),
        audit.into(),
        resolved(request, "approved", now),
    ];
    if another_key {
        changes.push(Change::EndSessions {
            device: request.device_id.clone(),
            role: None,
            reason: SessionEnd::DeviceRemoved,
        });
    }
    changes
}

/// The requests of one device.
pub(super) fn requests_of<'a>(
    state: &'a State,
    device: &'a DeviceId,
) -> impl Iterator<Item = &'a DeviceRequest> {
    state
        .devices
        .pending
        .records()
        .filter(move |request| &request.device_id == device)
}

/// The event that ends a request.
pub(super) fn resolved(request: &DeviceRequest, decision: &str, now: u64) -> Change {
    Change::Emit {
        event: RESOLVED,
        payload: json!({
            "requestId": request.request_id,
            "deviceId": request.device_id,
            "decision": decision,
            "ts": now,
        }),
    }
}

fn open_request(
    state: &State,
    request_id: &str,
    caller: &Caller<'_>,
    now: u64,
    denied: Refusal,
) -> Result<DeviceRequest, Refusal> {
    // A device-bound caller must not learn which requests exist.
    let hidden = |device: &str| {
        caller
            .device_bound
            .is_some_and(|own| own.as_str() != device)
    };
    if let Some(request) = state.devices.pending.record(request_id) {
        if hidden(request.device_id.as_str()) {
            return Err(denied);
        }
        if !expiry::is_expired(request.ts, now) {
            return Ok(request.clone());
        }
        let end = Resolution::of_device(request, Fate::Expired, expiry::end_of(request.ts, now));
        return Err(Refusal::RequestResolved(Box::new(end)));
    }
    match resolution::find(state, request_id, now) {
        Some(end) if !hidden(&end.subject) => Err(Refusal::RequestResolved(Box::new(end))),
        _ if caller.device_bound.is_some() => Err(denied),
        _ => Err(Refusal::UnknownRequest),
    }
}

/// What a line of the trail says about a record.
pub(super) fn summary(record: &DeviceRecord) -> Value {
    let tokens: BTreeSet<&str> = record.effective_roles();
    json!({"roles": record.roles, "scopes": record.approved_scopes(), "tokens": tokens})
}

#[cfg(test)]
mod tests;
