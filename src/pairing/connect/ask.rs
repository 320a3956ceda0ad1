//! What a device that lacks something asks for, and how far it gets: approved at once by a rule of silence,
//! on the list for a person, or turned away without a trace.

use serde_json::json;

use super::{ConnectClaim, NotAdmitted, audit, own_record};
use crate::{
    identity::RequestId,
    pairing::{
        Entropy, State, approval,
        change::{AuditEntry, Change, Changes, Part},
        crowd::{self, Crowded, MAX_REQUEST_BYTES, Source},
        device,
        device_record::{DeviceRecord, DeviceRequest},
        expiry, request,
        resolution::{self, Fate, Resolution},
        silence::Silence,
        waiting::{PairingClosed, PairingRequired, Reason},
    },
};

/// What a device that lacks something would ask for, and how far it gets.
pub(super) struct Ask<'a> {
    /// What it lacks.
    pub(super) reason: Reason,
    /// The rule that approves it without a person.
    pub(super) silence: Option<Silence<'a>>,
    /// Whether it may ask a person.
    pub(super) open: bool,
}

/// Approves the request at once, or puts it on the list and says what the device waits for.
pub(super) fn pursue(
    state: &mut State,
    claim: &ConnectClaim,
    ask: &Ask<'_>,
    now: u64,
    entropy: &mut dyn Entropy,
    changes: &mut Changes,
) -> Option<NotAdmitted> {
    let old: Vec<DeviceRequest> = device::requests_of(state, &claim.device).cloned().collect();
    let silent = ask.silence.is_some();
    let is_repair = state.devices.paired.record(claim.device.as_str()).is_some();
    let refreshed = request::refresh(&old, claim, silent, is_repair);
    let created = refreshed.is_none();
    let request = refreshed.unwrap_or_else(|| {
        request::merge(&old, claim, silent, is_repair, entropy.request_id(), now)
    });

    if let Some(rule) = ask.silence.filter(|_| request.silent) {
        let granted = approval::grant(&state.devices.paired, &request, &claim.scopes, now, entropy);
        if let Ok(record) = granted {
            let audit = audit(claim, "device.approve");
            let mut detail = json!({
                "requestId": request.request_id, "role": request.role, "rule": rule.as_str(),
            });
            if let Some(network) = rule.network() {
                detail["network"] = json!(network);
            }
            let audit = audit.detailing(detail);
            changes.extend(settle(state, &old, &request, record, audit, now));
            return None;
        }
    }

    if !ask.open {
        // A request from before can still be approved, so it is named; nothing about it changes.
        let known = (!created).then_some(request.request_id);
        return Some(NotAdmitted::PairingClosed(Box::new(closed(claim, known))));
    }
    if own_record(state, claim).is_none() && request.text_bytes() > MAX_REQUEST_BYTES {
        return Some(NotAdmitted::RequestTooLong);
    }
    let waiting = refusal(state, claim, ask.reason, request.request_id.clone());
    if created {
        let given_up = match make_room(state, claim, &old, now) {
            Ok(given_up) => given_up,
            Err((refused, crowded)) => {
                changes.extend(crowded);
                return Some(refused);
            }
        };
        request::forget(state, &old);
        for old in &old {
            changes.push(resolution::note(state, superseded(old, &request, now)));
        }
        if let Some(given_up) = given_up {
            changes.extend(expiry::displace_device(state, given_up, now));
        }
        changes.push(Change::Save(Part::DevicesPending));
        changes.push(Change::Emit {
            event: device::REQUESTED,
            payload: request.shown(&state.devices.paired),
        });
        state.devices.pending.put(request);
    } else if old.first() != Some(&request) {
        changes.push(Change::Touch(Part::DevicesPending));
        state.devices.pending.put(request);
    }
    Some(NotAdmitted::PairingRequired(Box::new(waiting)))
}

/// Looks for a place for a new request; with what has to give way to it, where something has to. A paired
/// device always has one.
fn make_room(
    state: &State,
    claim: &ConnectClaim,
    old: &[DeviceRequest],
    now: u64,
) -> Result<Option<(RequestId, Source)>, (NotAdmitted, Changes)> {
    if own_record(state, claim).is_some() {
        return Ok(None);
    }
    let superseded = |id: &RequestId| old.iter().any(|old| &old.request_id == id);
    let others = crowd::devices(state).filter(|waiting| !superseded(waiting.request_id()));
    let source = Source::of(claim.reported_ip);
    crowd::place(others, source, now).map_err(|full| {
        let counted = Change::Crowded {
            source,
            what: Crowded::Refused,
        };
        (NotAdmitted::Crowded(full), vec![counted])
    })
}

/// Puts the record of a silent approval in the place of everything the device asked for so far.
pub(in crate::pairing) fn settle(
    state: &mut State,
    old: &[DeviceRequest],
    request: &DeviceRequest,
    record: DeviceRecord,
    audit: AuditEntry,
    now: u64,
) -> Changes {
    request::forget(state, old);
    let ended = old
        .iter()
        .map(|old| match old.request_id == request.request_id {
            true => Resolution::of_device(old, Fate::Approved, now).by("gateway"),
            false => superseded(old, request, now),
        });
    let mut changes: Changes = ended.map(|end| resolution::note(state, end)).collect();
    changes.extend(device::settle(state, request, record, audit, now));
    if !old.is_empty() {
        changes.push(Change::Save(Part::DevicesPending));
    }
    changes
}

fn superseded(old: &DeviceRequest, by: &DeviceRequest, now: u64) -> Resolution {
    Resolution::of_device(old, Fate::Superseded, now).replaced_by(&by.request_id)
}

fn closed(claim: &ConnectClaim, request_id: Option<RequestId>) -> PairingClosed {
    PairingClosed {
        request_id,
        device: claim.device.clone(),
        role: claim.role,
        scopes: claim.scopes.clone(),
    }
}

fn refusal(
    state: &State,
    claim: &ConnectClaim,
    reason: Reason,
    request_id: RequestId,
) -> PairingRequired {
    let record = own_record(state, claim);
    let roles = record.map(DeviceRecord::approved_roles).unwrap_or_default();
    PairingRequired {
        reason,
        request_id,
        device: claim.device.clone(),
        role: claim.role,
        scopes: claim.scopes.clone(),
        approved_roles: roles.into_iter().map(str::to_owned).collect(),
        approved_scopes: record
            .map(DeviceRecord::approved_scopes)
            .cloned()
            .unwrap_or_default(),
    }
}
