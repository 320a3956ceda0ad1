//! The life of a device's token: issue, reuse, verify, rotate, revoke.
//!
//! There is one token per device and role. It never carries more than the device was approved for,
//! and nobody replaces or ends a token that carries more than they hold themselves.

use serde::Serialize;
use serde_json::{Map, json};

use super::{
    Caller, Entropy, State,
    change::{AuditEntry, Change, Changes, Part, SessionEnd},
    device_record::{DeviceRecord, TokenEntry},
    refusal::{Denial, Refusal},
    scopes,
};
use crate::{
    identity::{DeviceId, Token, secret_eq},
    protocol::scope::{Role, Scope, Scopes},
};

/// A token as hello-ok hands it out.
#[derive(Clone, Debug, PartialEq)]
pub struct IssuedToken {
    /// The secret.
    pub token: Token,
    /// Its scopes, normalized; they may be wider than those of the session.
    pub scopes: Scopes,
    /// When this value came into being, epoch milliseconds.
    pub issued_at_ms: u64,
}

impl IssuedToken {
    /// The token of an entry.
    pub(super) fn of(entry: &TokenEntry) -> IssuedToken {
        IssuedToken {
            token: entry.token.clone(),
            scopes: entry.scopes.clone(),
            issued_at_ms: entry.issued_at_ms(),
        }
    }
}

/// The answer of `device.token.rotate`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rotated {
    /// Whose token.
    pub device_id: DeviceId,
    /// For which role.
    pub role: String,
    /// The new value: only for the device that owns it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<Token>,
    /// Its scopes, normalized.
    pub scopes: Scopes,
    /// When, epoch milliseconds.
    pub rotated_at_ms: u64,
    /// Whether the device was told: its own live session gets the value with this answer. Every other
    /// device has to prove its key and the shared secret at its next connect.
    pub told: bool,
}

/// The answer of `device.token.revoke`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Revoked {
    /// Whose token.
    pub device_id: DeviceId,
    /// For which role.
    pub role: String,
    /// When, epoch milliseconds.
    pub revoked_at_ms: u64,
}

/// Whether this is the live token of the device for this role and covers the scopes asked for
/// (protocol §5.5). Compares in constant time.
pub fn verify(
    state: &State,
    device: &DeviceId,
    role: &str,
    token: &str,
    requested: &Scopes,
) -> bool {
    let Some(record) = state.devices.paired.record(device.as_str()) else {
        return false;
    };
    let Some(entry) = record.tokens.get(role) else {
        return false;
    };
    let same = secret_eq(entry.token.as_str(), token);
    same && entry.revoked_at_ms.is_none()
        && record.approves(role, &entry.scopes)
        && scopes::grants(role, &entry.scopes, requested)
}

/// Whether this is the live token of the device for this role, only that it does not cover the scopes
/// asked for: its holder must ask for less or be approved for more, not throw the token away.
pub fn is_too_narrow(
    state: &State,
    device: &DeviceId,
    role: &str,
    token: &str,
    requested: &Scopes,
) -> bool {
    verify(state, device, role, token, &Scopes::none())
        && !verify(state, device, role, token, requested)
}

/// Replaces the token of a role, optionally with other scopes; creates it when the approved role has
/// none, and brings a revoked one back (protocol §5.6).
///
/// # Errors
/// `RotationDenied` with its reason.
pub fn rotate(
    state: &mut State,
    device: &DeviceId,
    role: &str,
    wanted: Option<&Scopes>,
    caller: &Caller<'_>,
    now: u64,
    entropy: &mut dyn Entropy,
) -> Result<(Rotated, Changes), Refusal> {
    let record = target(state, device, role, caller).map_err(Refusal::RotationDenied)?;
    let existing = record.tokens.get(role);
    let scopes = match (wanted, existing) {
        (Some(wanted), _) => scopes::normalize(wanted),
        (None, Some(entry)) => scopes::normalize(&entry.scopes),
        (None, None) => scopes::family(role, record.approved_scopes()),
    };
    // An admin's approval covers every word, a slip of the pen too; nobody is to be given one as a token.
    let approved = record.approved_scopes();
    let unknown = |scope: &Scope| !scope.is_known() && !approved.contains(scope);
    let invented = wanted.is_some() && scopes.iter().any(unknown);
    if invented || !scopes::grants(role, approved, &scopes) {
        return Err(Refusal::RotationDenied(Denial::ScopesNotApproved));
    }
    if caller.scopes.missing(&scopes).is_some() {
        return Err(Refusal::RotationDenied(Denial::ScopesBeyondCaller));
    }
    if existing.is_some_and(|entry| caller.scopes.missing(&entry.scopes).is_some()) {
        return Err(Refusal::RotationDenied(Denial::ExistingScopesBeyondCaller));
    }
    let before = existing
        .map(|entry| json!({"scopes": entry.scopes, "revoked": entry.revoked_at_ms.is_some()}));
    let entry = replace(existing, role, scopes, now, entropy);
    let rotated = Rotated {
        device_id: device.clone(),
        role: role.to_owned(),
        token: (caller.own_device == Some(device)).then(|| entry.token.clone()),
        scopes: entry.scopes.clone(),
        rotated_at_ms: entry.issued_at_ms(),
        told: caller.own_device == Some(device),
    };
    let after = json!({"scopes": entry.scopes});
    store(state, device, role, entry);
    let audit = AuditEntry::by(caller, "device.token.rotate", device.as_str());
    let audit = audit
        .turning(before, Some(after))
        .detailing(json!({"role": role}));
    Ok((rotated, consequences(device, role, audit)))
}

/// Kills the token of a role; the role then needs a new approval.
///
/// # Errors
/// `RevocationDenied` with its reason.
pub fn revoke(
    state: &mut State,
    device: &DeviceId,
    role: &str,
    caller: &Caller<'_>,
    now: u64,
) -> Result<(Revoked, Changes), Refusal> {
    let record = target(state, device, role, caller).map_err(Refusal::RevocationDenied)?;
    let Some(entry) = record.tokens.get(role) else {
        return Err(Refusal::RevocationDenied(Denial::UnknownToken));
    };
    if caller.scopes.missing(&entry.scopes).is_some() {
        return Err(Refusal::RevocationDenied(
            Denial::ExistingScopesBeyondCaller,
        ));
    }
    let before = json!({"scopes": entry.scopes});
    let entry = TokenEntry {
        revoked_at_ms: Some(now),
        ..entry.clone()
    };
    store(state, device, role, entry);
    let audit = AuditEntry::by(caller, "device.token.revoke", device.as_str());
    let audit = audit
        .turning(Some(before), None)
        .detailing(json!({"role": role}));
    let revoked = Revoked {
        device_id: device.clone(),
        role: role.to_owned(),
        revoked_at_ms: now,
    };
    Ok((revoked, consequences(device, role, audit)))
}

/// The token that a device holds after a successful connect, and whether it had to be made: the
/// present one when it is within the approval and covers the request, else one with exactly the
/// scopes asked for. None when the role or the scopes are not approved, or the token was revoked:
/// a revoked role comes back by approval or rotation alone.
pub(super) fn ensure(
    state: &mut State,
    device: &DeviceId,
    role: &str,
    requested: &Scopes,
    now: u64,
    entropy: &mut dyn Entropy,
) -> Option<(IssuedToken, bool)> {
    let record = state.devices.paired.record(device.as_str())?;
    if !record.approves(role, requested) {
        return None;
    }
    let existing = record.tokens.get(role);
    if existing.is_some_and(|entry| entry.revoked_at_ms.is_some()) {
        return None;
    }
    let fits = |entry: &&TokenEntry| {
        record.approves(role, &entry.scopes) && scopes::grants(role, &entry.scopes, requested)
    };
    let (entry, made) = match existing.filter(fits) {
        Some(entry) => (entry.clone(), false),
        None => (
            replace(
                existing,
                role,
                scopes::family(role, requested),
                now,
                entropy,
            ),
            true,
        ),
    };
    let issued = IssuedToken::of(&entry);
    if made {
        store(state, device, role, entry);
    }
    Some((issued, made))
}

/// A fresh value for a role: the creation time of the old entry stays, everything else is new.
pub(super) fn replace(
    existing: Option<&TokenEntry>,
    role: &str,
    scopes: Scopes,
    now: u64,
    entropy: &mut dyn Entropy,
) -> TokenEntry {
    TokenEntry {
        token: entropy.token(),
        role: role.to_owned(),
        scopes,
        created_at_ms: existing.map_or(now, |entry| entry.created_at_ms),
        rotated_at_ms: existing.map(|_| now),
        revoked_at_ms: None,
        last_used_at_ms: None,
        extra: existing.map_or_else(Map::new, |entry| entry.extra.clone()),
    }
}

fn target<'a>(
    state: &'a State,
    device: &DeviceId,
    role: &str,
    caller: &Caller<'_>,
) -> Result<&'a DeviceRecord, Denial> {
    if caller.device_bound.is_some_and(|own| own != device) {
        return Err(Denial::OtherDevice);
    }
    let record = state
        .devices
        .paired
        .record(device.as_str())
        .ok_or(Denial::UnknownDevice)?;
    if !record.approved_roles().contains(role) {
        return Err(Denial::RoleNotApproved);
    }
    Ok(record)
}

fn store(state: &mut State, device: &DeviceId, role: &str, entry: TokenEntry) {
    state.devices.paired.update(device.as_str(), |record| {
        record.tokens.insert(role.to_owned(), entry);
    });
}

fn consequences(device: &DeviceId, role: &str, audit: AuditEntry) -> Changes {
    let mut changes = vec![Change::Save(Part::DevicesPaired), audit.into()];
    // A role this program does not know has no sessions.
    if let Some(role) = Role::parse(role) {
        changes.push(Change::EndSessions {
            device: device.clone(),
            role: Some(role),
            reason: SessionEnd::DeviceRemoved,
        });
    }
    changes
}

#[cfg(test)]
mod tests;
