//! The first pairing of a device that was invited: what a person would have approved, and nothing else.

use serde_json::json;

use super::{Presented, bootstrap, join_key, preapproval, terms::Terms};
use crate::{
    pairing::{
        Entropy, State, approval,
        change::Changes,
        connect::{ConnectClaim, audit, settle},
        device,
        device_record::DeviceRequest,
        request,
        state::Entry,
    },
    protocol::scope::{Role, Scopes},
};

/// The invitation that paired a device, for the layer of its commands.
#[derive(Clone, Debug, PartialEq)]
pub struct JoinedBy {
    /// The kind of invitation, for the audit log.
    pub rule: &'static str,
    /// Which, by a name that is no secret.
    pub invitation: String,
    /// The commands that were approved with it.
    pub commands: Vec<String>,
    /// The operator's name for the device.
    pub name: Option<String>,
}

/// What an invitation gives to the device that came with it.
struct Grant {
    roles: Vec<String>,
    scopes: Scopes,
    by: JoinedBy,
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
) -> Option<(JoinedBy, Changes)> {
    let browser = claim.has_origin || claim.browser_client;
    let paired = state.devices.paired.entry(claim.device.as_str());
    if paired != Entry::Absent || browser {
        return None;
    }
    // On a copy: whoever is refused half-way has used nothing.
    let mut next = state.clone();
    let grant = match presented {
        Some(shown) => by_secret(&mut next, claim, shown, now),
        None => None,
    };
    let grant = grant.or_else(|| by_key(&mut next, claim, now))?;
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
    let audit = audit(claim, "device.approve").detailing(json!({
        "requestId": asked.request_id, "role": asked.role,
        "rule": grant.by.rule, "invitation": grant.by.invitation,
    }));
    let mut changes = grant.used;
    changes.extend(settle(&mut next, &old, &asked, record, audit, now));
    *state = next;
    Some((grant.by, changes))
}

/// What the secret gives that the device showed.
fn by_secret(
    state: &mut State,
    claim: &ConnectClaim,
    presented: &Presented,
    now: u64,
) -> Option<Grant> {
    match presented {
        // Any other first connect with a setup code waits for a person (protocol §5.4).
        Presented::Bootstrap(token) => {
            (claim.role == Role::Node && claim.scopes.is_empty()).then_some(())?;
            let offered = bootstrap::offer(state, token)?;
            let invitation = bootstrap::find(&state.invitations, token.as_str())?.name();
            let (_, used) = bootstrap::redeem(state, token, None);
            Some(Grant {
                roles: offered.roles,
                scopes: offered.scopes,
                by: JoinedBy {
                    rule: "bootstrap",
                    invitation,
                    commands: Vec::new(),
                    name: None,
                },
                used,
            })
        }
        Presented::JoinKey(id) => {
            let key = state
                .invitations
                .join_keys
                .table()
                .ok()?
                .record(id.as_str())?;
            let terms = key.terms.clone();
            let used = join_key::note_joined(state, id, &claim.device, now);
            Some(Grant::of(terms, "join-key", id.to_string(), None, used))
        }
    }
}

/// What was decided about this very key before.
fn by_key(state: &mut State, claim: &ConnectClaim, now: u64) -> Option<Grant> {
    let expected = preapproval::covering(state, claim, now)?;
    let (terms, name) = (expected.terms.clone(), expected.name.clone());
    let used = preapproval::note_used(state, &claim.device, now);
    let invitation = claim.device.to_string();
    Some(Grant::of(terms, "preapproval", invitation, name, used))
}

impl Grant {
    fn of(
        terms: Terms,
        rule: &'static str,
        invitation: String,
        name: Option<String>,
        used: Changes,
    ) -> Grant {
        Grant {
            roles: vec![terms.role.as_str().to_owned()],
            scopes: terms.scopes,
            by: JoinedBy {
                rule,
                invitation,
                commands: terms.commands,
                name,
            },
            used,
        }
    }
}
