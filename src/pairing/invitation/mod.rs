//! Invitations: what lets a device in without a person at the moment it asks, because a person decided
//! before.
//!
//! A bootstrap token is the secret inside a setup code (protocol §5.8). A join key lets several devices in,
//! on both layers. A pre-approval names one device by its key. An invitation is bound to the device it
//! lets in before that device is written anywhere, so that an interruption neither lets two in for one
//! nor loses the one. Why one was refused is for the log; on the wire all refusals are alike.

pub mod bootstrap;
mod join;
pub mod join_key;
pub mod preapproval;
mod record;
pub mod terms;

use std::{fmt, net::IpAddr};

use serde::Serialize;
use serde_json::{Value, json};

use self::{bootstrap::BootstrapToken, join_key::JoinKey, preapproval::Preapproval};
use super::{AuditEntry, Caller, Change, Changes, Part, Refusal, State, state::Shelf};
use crate::{
    identity::{DeviceId, KeyId, Token},
    protocol::scope::{Role, Scopes},
};

pub use join::JoinedBy;
pub(super) use join::join;

/// Everybody who is invited.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Invitations {
    /// Setup codes that may still be used.
    pub bootstrap: Shelf<Token, BootstrapToken>,
    /// Join keys, dead ones for a while.
    pub join_keys: Shelf<KeyId, JoinKey>,
    /// Devices that are expected.
    pub preapproved: Shelf<DeviceId, Preapproval>,
}

impl Invitations {
    /// Why the file of an invitation part cannot be used, if it cannot.
    pub fn fault(&self, part: Part) -> Option<&str> {
        match part {
            Part::Bootstrap => self.bootstrap.fault(),
            Part::JoinKeys => self.join_keys.fault(),
            Part::Preapproved => self.preapproved.fault(),
            Part::DevicesPaired
            | Part::DevicesPending
            | Part::NodesPaired
            | Part::NodesPending
            | Part::Resolved
            | Part::Switch => None,
        }
    }
}

/// Who shows an invitation: a device that has proven its key.
#[derive(Clone, Copy, Debug)]
pub struct Visit<'a> {
    /// The proven device.
    pub device: &'a DeviceId,
    /// Its key in the canonical form.
    pub public_key: &'a str,
    /// The role it takes.
    pub role: Role,
    /// The scopes it asks for.
    pub scopes: &'a Scopes,
    /// Where it comes from, as far as that can be believed.
    pub address: Option<IpAddr>,
}

/// What a secret that was accepted is.
#[derive(Clone, Debug, PartialEq)]
pub enum Presented {
    /// A bootstrap token.
    Bootstrap(Token),
    /// A join key.
    JoinKey(KeyId),
}

/// Why an invitation was not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    /// Which invitation, by a name that is no secret; None when there is no such invitation.
    pub invitation: Option<String>,
    /// The precise reason: for log and audit, never for the wire.
    pub why: Why,
}

/// The precise reason of a refused invitation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It is for other networks.
    Address,
    /// It is over.
    Expired,
    /// Another device used it first.
    OtherDevice,
    /// The device joined by it and was removed since.
    Removed,
    /// It was revoked.
    Revoked,
    /// It is not for this role.
    Role,
    /// It is not for these scopes.
    Scopes,
    /// Nobody issued it, or it was used up and is gone.
    Unknown,
    /// It may be known, but the file cannot be read.
    Unreadable,
    /// As many devices joined by it as it is for.
    UsedUp,
}

impl Denied {
    /// The line for the audit log: only an invitation that exists has one.
    pub fn audit(&self, device: &DeviceId, from: Option<IpAddr>) -> Option<AuditEntry> {
        Some(AuditEntry {
            action: "invitation.refuse",
            subject: self.invitation.clone()?,
            by: device.to_string(),
            via: "connect".to_owned(),
            from: from.map(|address| address.to_string()),
            detail: Some(json!({"reason": self.why.to_string()})),
            ..AuditEntry::default()
        })
    }
}

impl fmt::Display for Why {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Why::Address => "it does not invite from this address",
            Why::Expired => "it has expired",
            Why::OtherDevice => "another device used it first",
            Why::Removed => "the device was removed since it joined by it",
            Why::Revoked => "it was revoked",
            Why::Role => "it does not invite to this role",
            Why::Scopes => "it does not invite to these scopes",
            Why::Unknown => "there is no such invitation",
            Why::UsedUp => "it is used up",
            Why::Unreadable => "the file of invitations cannot be read",
        })
    }
}

/// Whether this secret invites this device now. Changes nothing.
///
/// # Errors
/// The precise reason.
pub fn verify(
    state: &State,
    secret: &str,
    visit: &Visit<'_>,
    now: u64,
) -> Result<Presented, Denied> {
    let invitations = &state.invitations;
    if let Some(token) = bootstrap::find(invitations, secret) {
        return match token.check(visit, now) {
            Ok(()) => Ok(Presented::Bootstrap(token.token.clone())),
            Err(why) => Err(Denied {
                invitation: Some(token.name()),
                why,
            }),
        };
    }
    if let Some(key) = join_key::find(invitations, secret) {
        return match key.check(visit, now) {
            Ok(()) => Ok(Presented::JoinKey(key.id.clone())),
            Err(why) => Err(Denied {
                invitation: Some(key.id.to_string()),
                why,
            }),
        };
    }
    let closed = Part::INVITATIONS
        .iter()
        .any(|part| invitations.fault(*part).is_some());
    Err(Denied {
        invitation: None,
        why: if closed {
            Why::Unreadable
        } else {
            Why::Unknown
        },
    })
}

/// [`verify`], and from now on the invitation is this device's.
///
/// # Errors
/// The precise reason; nothing is changed then.
pub(super) fn accept(
    state: &mut State,
    secret: &str,
    visit: &Visit<'_>,
    now: u64,
) -> Result<(Presented, Changes), Denied> {
    let presented = verify(state, secret, visit, now)?;
    let changes = match &presented {
        Presented::Bootstrap(token) => bootstrap::bind(state, token, visit, now),
        // One that only comes again uses nothing up.
        Presented::JoinKey(_) => Changes::new(),
    };
    Ok((presented, changes))
}

/// All join keys and pre-approvals, without secrets.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Listed {
    /// Join keys, newest first.
    pub keys: Vec<Value>,
    /// Pre-approvals, newest first.
    pub preapproved: Vec<Value>,
}

/// The answer of `device.keys.revoke`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Revoked {
    /// The join key or the device.
    pub id: String,
    /// `join-key` or `preapproval`.
    pub kind: &'static str,
}

/// Which join keys and pre-approvals there are.
///
/// # Errors
/// `InvitationsDenied`; `RecordUnreadable` when a file of them cannot be read.
pub fn list(state: &State, caller: &Caller<'_>, now: u64) -> Result<Listed, Refusal> {
    if caller.device_bound.is_some() {
        return Err(Refusal::InvitationsDenied);
    }
    state.invitations.join_keys.table()?;
    state.invitations.preapproved.table()?;
    Ok(Listed {
        keys: join_key::list(state, now),
        preapproved: preapproval::list(state, now),
    })
}

/// Ends a join key, or takes a pre-approval back. Whoever came by it stays.
///
/// # Errors
/// `InvitationsDenied`, `UnknownInvitation`, `RecordUnreadable`.
pub fn revoke(
    state: &mut State,
    id: &str,
    caller: &Caller<'_>,
    now: u64,
) -> Result<(Revoked, Changes), Refusal> {
    if caller.device_bound.is_some() {
        return Err(Refusal::InvitationsDenied);
    }
    let done = |kind| Revoked {
        id: id.to_owned(),
        kind,
    };
    if let Some(changes) = join_key::revoke(state, id, caller, now)? {
        return Ok((done("join-key"), changes));
    }
    match preapproval::revoke(state, id, caller, now)? {
        Some(changes) => Ok((done("preapproval"), changes)),
        None => Err(Refusal::UnknownInvitation),
    }
}

/// A device was removed: nothing that let it in does so again. The parts to save.
pub(super) fn forget_device(state: &mut State, device: &DeviceId, now: u64) -> Changes {
    let changed = [
        (Part::Bootstrap, bootstrap::forget(state, device)),
        (Part::JoinKeys, join_key::note_removed(state, device, now)),
        (Part::Preapproved, preapproval::forget(state, device)),
    ];
    let changed = changed.into_iter().filter(|(_, changed)| *changed);
    changed.map(|(part, _)| Change::Save(part)).collect()
}

#[cfg(test)]
mod tests;
