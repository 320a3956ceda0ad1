//! The first pairing of a device that was invited: what a person would have approved, and nothing else.

use serde_json::json;

use super::{Presented, bootstrap};
use crate::{
    pairing::{
        Entropy, State, approval,
        change::{Change, Changes, Part},
        connect::{ConnectClaim, audit},
        device,
        device_record::DeviceRequest,
        request,
        state::Entry,
    },
    protocol::scope::{Role, Scopes},
};

/// What an invitation gives to the device that came with it.
struct Grant {
    roles: Vec<String>,
    scopes: Scopes,
    /// The rule and the invitation, for the audit log.
    rule: &'static str,
    name: String,
    /// The invitation as it was used: saved before the pairing.
    used: Changes,
}

/// Pairs a device that was never here, if it is invited. The changes begin with the invitation, which is
/// then this device's; None changes nothing.
pub(in crate::pairing) fn join(
    state: &mut State,
    claim: &ConnectClaim,
    presented: Option<&Presented>,
    now: u64,
    entropy: &mut dyn Entropy,
) -> Option<Changes> {
    if state.devices.paired.entry(claim.device.as_str()) != Entry::Absent {
        return None;
    }
    // On a copy: whoever is refused half-way has used nothing.
    let mut next = state.clone();
    let grant = use_up(&mut next, claim, presented)?;
    let old: Vec<DeviceRequest> = device::requests_of(&next, &claim.device).cloned().collect();
    let id = match old.first() {
        Some(open) => open.request_id.clone(),
        None => entropy.request_id(),
    };
    // What else the device asked for earlier is no part of it: the invitation covers what it says.
    let mut asked = request::merge(&[], claim, true, false, id, now);
    asked.roles = grant.roles;
    asked.scopes = grant.scopes.clone();
    let record = approval::grant(&next.devices.paired, &asked, &grant.scopes, now, entropy).ok()?;
    request::forget(&mut next, &old);
    let audit = audit(claim, "device.approve").detailing(json!({
        "requestId": asked.request_id, "role": asked.role, "rule": grant.rule, "invitation": grant.name,
    }));
    let mut changes = grant.used;
    changes.extend(device::settle(&mut next, &asked, record, audit, now));
    if !old.is_empty() {
        changes.push(Change::Save(Part::DevicesPending));
    }
    *state = next;
    Some(changes)
}

fn use_up(state: &mut State, claim: &ConnectClaim, presented: Option<&Presented>) -> Option<Grant> {
    match presented? {
        // Any other first connect with a setup code waits for a person (protocol §5.4).
        Presented::Bootstrap(token) => {
            (claim.role == Role::Node && claim.scopes.is_empty()).then_some(())?;
            let offered = bootstrap::offer(state, token)?;
            let name = bootstrap::find(&state.invitations, token.as_str())?.name();
            let (_, used) = bootstrap::redeem(state, token, None);
            Some(Grant {
                roles: offered.roles,
                scopes: offered.scopes,
                rule: "bootstrap",
                name,
                used,
            })
        }
    }
}
