//! Operations on the second layer that somebody asks for: request, list, approve, reject, remove,
//! verify, rename, and the signs of life of a node.
//!
//! It does not gate the handshake, it gates commands; what may run is computed in `surface`. A node's
//! token leaves this room in the answer to its approval and nowhere else (D8).

use std::cmp::Reverse;

use serde::Serialize;
use serde_json::{Value, json};

use super::{
    Caller, Entropy, State,
    change::{AuditEntry, Change, Changes, Part},
    digest, expiry,
    node_record::{NodeMetadata, NodeRecord, NodeRequest},
    policy::{self, CommandPolicy},
    refusal::Refusal,
    resolution::{self, Fate, Layer, Resolution},
    state::Entry,
    surface,
};
use crate::identity::{DeviceId, NodeId, RequestId, secret_eq};

/// The event of a new request.
pub const REQUESTED: &str = "node.pair.requested";

/// The event of a request or a pairing that is over.
pub const RESOLVED: &str = "node.pair.resolved";

/// The answer of `node.pair.request`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Requested {
    /// Always `pending`.
    pub status: &'static str,
    /// The request as lists show it.
    pub request: Value,
    /// Whether it is new.
    pub created: bool,
}

/// The answer of `node.pair.list`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NodeList {
    /// Waiting requests, newest first.
    pub pending: Vec<Value>,
    /// Approved nodes without secrets, newest approval first.
    pub paired: Vec<Value>,
}

/// The answer of `node.pair.approve`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Approved {
    /// Which request.
    pub request_id: RequestId,
    /// The resulting record **with its token**; without it when the request had been approved before.
    pub node: Value,
    /// Set when this request had been approved before, and nothing happened now.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub already_approved: bool,
}

/// The answer of `node.pair.reject`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rejected {
    /// Which request.
    pub request_id: RequestId,
    /// Whose.
    pub node_id: NodeId,
}

/// The answer of `node.pair.remove`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Removed {
    /// Which node.
    pub node_id: NodeId,
}

/// The answer of `node.rename`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Renamed {
    /// Which node.
    pub node_id: NodeId,
    /// Its name from now on.
    pub display_name: String,
}

/// Asks on behalf of a node; idempotent while its request is open. The commands are filtered by the
/// policy for the platform that is given, else the one already known (D21).
///
/// # Errors
/// `NodeIdRequired`, `RecordUnreadable`, `Crowded`.
pub fn request(
    state: &mut State,
    node: &NodeId,
    mut metadata: NodeMetadata,
    silent: bool,
    policy: &CommandPolicy,
    now: u64,
    entropy: &mut dyn Entropy,
) -> Result<(Requested, Changes), Refusal> {
    let node = NodeId::from(node.as_str().trim());
    if node.as_str().is_empty() {
        return Err(Refusal::NodeIdRequired);
    }
    if state.nodes.paired.is_unreadable(node.as_str()) {
        return Err(Refusal::RecordUnreadable);
    }
    let (platform, device_family) = known_platform(state, &node, &metadata, now);
    let allowlist = policy::allowlist(platform.as_deref(), device_family.as_deref(), policy);
    metadata.commands = metadata
        .commands
        .map(|commands| allowlist.filter(&commands));
    metadata.caps = metadata.caps.map(|caps| policy::words(&caps));
    let (request, created, changes) =
        surface::ask(state, &node, metadata, silent, now, entropy).map_err(Refusal::Crowded)?;
    let answer = Requested {
        status: "pending",
        request: request.shown(),
        created,
    };
    Ok((answer, changes))
}

/// What waits and who is approved.
pub fn list(state: &State, now: u64) -> NodeList {
    let pending = state.nodes.pending.records();
    let mut pending: Vec<&NodeRequest> = pending
        .filter(|request| !expiry::is_expired(request.ts, now))
        .collect();
    pending.sort_by_key(|request| Reverse(request.ts));
    let mut paired: Vec<&NodeRecord> = state.nodes.paired.records().collect();
    paired.sort_by_key(|record| Reverse(record.approved_at_ms));
    NodeList {
        pending: pending.into_iter().map(NodeRequest::shown).collect(),
        paired: paired.into_iter().map(NodeRecord::redacted).collect(),
    }
}

/// Approves the commands of a request and issues a fresh token; with `expected`, the digest of a row,
/// only if the request still shows that. A request that was approved before is a success that changes
/// nothing and tells no token.
///
/// # Errors
/// `UnknownRequest`, `RequestResolved` (also when it has expired), `RequestChanged`, `MissingScope`,
/// `RecordUnreadable`.
pub fn approve(
    state: &mut State,
    request_id: &str,
    expected: Option<&str>,
    caller: &Caller<'_>,
    now: u64,
    entropy: &mut dyn Entropy,
) -> Result<(Approved, Changes), Refusal> {
    let request = match open_request(state, request_id, now) {
        Err(Refusal::RequestResolved(end)) => return approved_before(state, end, expected),
        open => open?,
    };
    let shown = request.shown();
    digest::check(expected, &shown)?;
    let needed = policy::required_approve_scopes(request.requested_commands());
    if let Some(scope) = caller.scopes.missing(&needed) {
        return Err(Refusal::MissingScope(scope));
    }
    let existing = match state.nodes.paired.entry(request.node_id.as_str()) {
        Entry::Absent => None,
        Entry::Record(record) => Some(record.clone()),
        Entry::Unreadable => return Err(Refusal::RecordUnreadable),
    };
    let before = existing.as_ref().map(summary);
    let record = NodeRecord::approved(existing, &request, entropy.token(), now);
    let audit = AuditEntry::by(caller, "node.approve", request.node_id.as_str())
        .turning(before, Some(summary(&record)))
        .detailing(json!({"requestId": request.request_id}));
    let answer = Approved {
        request_id: request.request_id.clone(),
        node: record.with_token(),
        already_approved: false,
    };
    state.nodes.paired.put(record);
    state.nodes.pending.remove(request_id);
    let end = Resolution::of_node(&request, Fate::Approved, now).by(&caller.label);
    let changes = vec![
        Change::Save(Part::NodesPaired),
        Change::Save(Part::NodesPending),
        audit.into(),
        resolved(&request, "approved", now),
        resolution::note(state, end.of_shown(&shown)),
        Change::Refilter {
            node: request.node_id,
            ask: true,
        },
    ];
    Ok((answer, changes))
}

/// The answer to an approval that was given before; anything else that became of the request refuses it.
fn approved_before(
    state: &State,
    end: Box<Resolution>,
    expected: Option<&str>,
) -> Result<(Approved, Changes), Refusal> {
    let record = state.nodes.paired.record(&end.subject);
    match record.filter(|_| end.layer == Layer::Node && end.is_approval_of(expected)) {
        Some(record) => {
            let answer = Approved {
                request_id: end.request_id,
                node: record.redacted(),
                already_approved: true,
            };
            Ok((answer, Changes::new()))
        }
        None => Err(Refusal::RequestResolved(end)),
    }
}

/// Refuses a request; the node asks again at its next connect.
///
/// # Errors
/// `UnknownRequest`, `RequestResolved` (also when it has expired).
pub fn reject(
    state: &mut State,
    request_id: &str,
    caller: &Caller<'_>,
    now: u64,
) -> Result<(Rejected, Changes), Refusal> {
    let request = open_request(state, request_id, now)?;
    state.nodes.pending.remove(request_id);
    let audit = AuditEntry::by(caller, "node.reject", request.node_id.as_str())
        .detailing(json!({"requestId": request.request_id}));
    let end = Resolution::of_node(&request, Fate::Rejected, now).by(&caller.label);
    let changes = vec![
        Change::Save(Part::NodesPending),
        audit.into(),
        resolved(&request, "rejected", now),
        resolution::note(state, end),
    ];
    Ok((
        Rejected {
            request_id: request.request_id,
            node_id: request.node_id,
        },
        changes,
    ))
}

/// Forgets the pairing of a node; its commands stop at once, its device stays. While it is connected it
/// waits for an approval again at once, so that no list loses it. This is also the way out for a record
/// that cannot be read.
///
/// # Errors
/// `UnknownNode`.
pub fn remove(
    state: &mut State,
    node: &NodeId,
    caller: &Caller<'_>,
    now: u64,
) -> Result<(Removed, Changes), Refusal> {
    let node = NodeId::from(node.as_str().trim());
    let before = state.nodes.paired.record(node.as_str()).map(summary);
    if !state.nodes.paired.remove(node.as_str()) {
        return Err(Refusal::UnknownNode);
    }
    let audit = AuditEntry::by(caller, "node.remove", node.as_str()).turning(before, None);
    let mut changes = vec![
        Change::Save(Part::NodesPaired),
        audit.into(),
        removed(&node, now),
        Change::Refilter {
            node: node.clone(),
            ask: true,
        },
    ];
    changes.extend(resolution::withdraw(
        state,
        Layer::Node,
        node.as_str(),
        caller,
        now,
    ));
    Ok((Removed { node_id: node }, changes))
}

/// The record of a node, without its token, if this is its token. Compares in constant time.
pub fn verify(state: &State, node: &NodeId, token: &str) -> Option<Value> {
    let record = state.nodes.paired.record(node.as_str().trim())?;
    secret_eq(record.token.as_str(), token).then(|| record.redacted())
}

/// Gives a node the operator's name, which from then on wins over its own (D10).
///
/// # Errors
/// `DisplayNameRequired`, `UnknownNode`, `RecordUnreadable`.
pub fn rename(
    state: &mut State,
    node: &NodeId,
    display_name: &str,
    caller: &Caller<'_>,
) -> Result<(Renamed, Changes), Refusal> {
    let node = NodeId::from(node.as_str().trim());
    let name = display_name.trim();
    if name.is_empty() {
        return Err(Refusal::DisplayNameRequired);
    }
    let before = match state.nodes.paired.entry(node.as_str()) {
        Entry::Absent => return Err(Refusal::UnknownNode),
        Entry::Unreadable => return Err(Refusal::RecordUnreadable),
        Entry::Record(record) => json!({"displayName": record.metadata.display_name}),
    };
    state.nodes.paired.update(node.as_str(), |record| {
        record.metadata.display_name = Some(name.to_owned());
        record.name_override = true;
    });
    let audit = AuditEntry::by(caller, "node.rename", node.as_str())
        .turning(Some(before), Some(json!({"displayName": name})));
    let changes = vec![Change::Save(Part::NodesPaired), audit.into()];
    Ok((
        Renamed {
            node_id: node,
            display_name: name.to_owned(),
        },
        changes,
    ))
}

/// Notes that a node connected, in its device's record and in the node records of its device id and of its
/// instance id, if there are such records. An instance id is a mere claim: it never reaches the record of a device.
pub fn connected(state: &mut State, node: &NodeId, instance_id: Option<&str>, now: u64) -> Changes {
    let mut noted = false;
    let devices = &state.devices.paired;
    let unowned = |id: &&str| devices.record(id).is_none() && !devices.is_unreadable(id);
    let claimed = instance_id.filter(unowned);
    for id in [Some(node.as_str()), claimed].into_iter().flatten() {
        noted |= state
            .nodes
            .paired
            .update(id, |record| record.last_connected_at_ms = Some(now));
    }
    // All that is left of a node whose commands wait, once it is away.
    let of_device = state.devices.paired.update(node.as_str(), |record| {
        if record.last_seen_at_ms.is_none_or(|seen| seen <= now) {
            record.last_seen_at_ms = Some(now);
            record.last_seen_reason = Some("connect".to_owned());
        }
    });
    let touched = [(noted, Part::NodesPaired), (of_device, Part::DevicesPaired)];
    let touched = touched.into_iter().filter(|(any, _)| *any);
    touched.map(|(_, part)| Change::Touch(part)).collect()
}

/// Notes a sign of life of an authenticated device in the records of both layers; it is told that this
/// is stored, so it is. No change at all means that neither layer has a record (`unpaired`, protocol §7.5).
pub fn presence_alive(state: &mut State, device: &DeviceId, reason: &str, now: u64) -> Changes {
    let mut changes = Changes::new();
    let of_device = state.devices.paired.update(device.as_str(), |record| {
        record.last_seen_at_ms = Some(now);
        record.last_seen_reason = Some(reason.to_owned());
    });
    if of_device {
        changes.push(Change::Save(Part::DevicesPaired));
    }
    let of_node = state.nodes.paired.update(device.as_str(), |record| {
        record.last_seen_at_ms = Some(now);
        record.last_seen_reason = Some(reason.to_owned());
    });
    if of_node {
        changes.push(Change::Save(Part::NodesPaired));
    }
    changes
}

/// The open request of a node.
pub fn request_of<'a>(state: &'a State, node: &NodeId, now: u64) -> Option<&'a NodeRequest> {
    let mut requests = state.nodes.pending.records();
    requests.find(|request| &request.node_id == node && !expiry::is_expired(request.ts, now))
}

/// Forgets everything this layer holds about a node whose device was removed: the parts to save,
/// requests first, and the events.
pub(super) fn sweep(
    state: &mut State,
    node: &NodeId,
    caller: &Caller<'_>,
    now: u64,
) -> (Vec<Part>, Vec<Change>) {
    let (mut parts, mut events) = (Vec::new(), Vec::new());
    let requests = state
        .nodes
        .pending
        .records()
        .filter(|request| &request.node_id == node);
    let requests: Vec<NodeRequest> = requests.cloned().collect();
    for request in &requests {
        state.nodes.pending.remove(request.request_id.as_str());
        events.push(resolved(request, "removed", now));
        let end = Resolution::of_node(request, Fate::Removed, now).by(&caller.label);
        events.push(resolution::note(state, end));
    }
    events.extend(resolution::withdraw(
        state,
        Layer::Node,
        node.as_str(),
        caller,
        now,
    ));
    if !requests.is_empty() {
        parts.push(Part::NodesPending);
    }
    if state.nodes.paired.remove(node.as_str()) {
        parts.push(Part::NodesPaired);
        events.push(removed(node, now));
    }
    (parts, events)
}

/// The event that ends a request.
pub(super) fn resolved(request: &NodeRequest, decision: &str, now: u64) -> Change {
    Change::Emit {
        event: RESOLVED,
        payload: json!({
            "requestId": request.request_id,
            "nodeId": request.node_id,
            "decision": decision,
            "ts": now,
        }),
    }
}

fn removed(node: &NodeId, now: u64) -> Change {
    Change::Emit {
        event: RESOLVED,
        payload: json!({"requestId": "", "nodeId": node, "decision": "removed", "ts": now}),
    }
}

fn open_request(state: &State, request_id: &str, now: u64) -> Result<NodeRequest, Refusal> {
    let end = match state.nodes.pending.record(request_id) {
        Some(request) if !expiry::is_expired(request.ts, now) => return Ok(request.clone()),
        Some(request) => {
            let over = expiry::end_of(request.ts, now);
            Some(Resolution::of_node(request, Fate::Expired, over))
        }
        None => resolution::find(state, request_id, now),
    };
    let end = end.ok_or(Refusal::UnknownRequest)?;
    Err(Refusal::RequestResolved(Box::new(end)))
}

fn known_platform(
    state: &State,
    node: &NodeId,
    given: &NodeMetadata,
    now: u64,
) -> (Option<String>, Option<String>) {
    let open = request_of(state, node, now).map(|open| &open.metadata);
    let paired = state
        .nodes
        .paired
        .record(node.as_str())
        .map(|record| &record.metadata);
    let device = state.devices.paired.record(node.as_str());
    let mut platform = [Some(given), open, paired].into_iter().flatten();
    let platform = platform.find_map(|known| known.platform.clone());
    let mut family = [Some(given), open, paired].into_iter().flatten();
    let family = family.find_map(|known| known.device_family.clone());
    (
        platform.or_else(|| device.and_then(|device| device.platform.clone())),
        family.or_else(|| device.and_then(|device| device.device_family.clone())),
    )
}

/// What a line of the trail says about a record.
pub(super) fn summary(record: &NodeRecord) -> Value {
    json!({"commands": record.approved_commands(), "displayName": record.metadata.display_name})
}

#[cfg(test)]
mod tests;
