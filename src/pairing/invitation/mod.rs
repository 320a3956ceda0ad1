//! Invitations: what lets a device in without a person at the moment it asks, because a person decided
//! before.
//!
//! A bootstrap token is the secret inside a setup code (protocol §5.8). An invitation is bound to the
//! device it lets in before that device is written anywhere, so that an interruption neither lets two in
//! for one nor loses the one. Why one was refused is for the log; on the wire all refusals are alike.

pub mod bootstrap;
mod join;

use std::{fmt, net::IpAddr};

use serde_json::json;

use self::bootstrap::BootstrapToken;
use super::{AuditEntry, Changes, Part, State, state::Shelf};
use crate::{
    identity::{DeviceId, Token},
    protocol::scope::{Role, Scopes},
};

pub(super) use join::join;

/// Everybody who is invited.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Invitations {
    /// Setup codes that may still be used.
    pub bootstrap: Shelf<Token, BootstrapToken>,
}

impl Invitations {
    /// Why the file of an invitation part cannot be used, if it cannot.
    pub fn fault(&self, part: Part) -> Option<&str> {
        match part {
            Part::Bootstrap => self.bootstrap.fault(),
            Part::DevicesPaired
            | Part::DevicesPending
            | Part::NodesPaired
            | Part::NodesPending
            | Part::Resolved => None,
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
}

/// What a secret that was accepted is.
#[derive(Clone, Debug, PartialEq)]
pub enum Presented {
    /// A bootstrap token.
    Bootstrap(Token),
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
    /// It is over.
    Expired,
    /// Another device used it first.
    OtherDevice,
    /// It is not for this role.
    Role,
    /// It is not for these scopes.
    Scopes,
    /// Nobody issued it, or it was used up and is gone.
    Unknown,
    /// It may be known, but the file cannot be read.
    Unreadable,
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
            Why::Expired => "it has expired",
            Why::OtherDevice => "another device used it first",
            Why::Role => "it does not invite to this role",
            Why::Scopes => "it does not invite to these scopes",
            Why::Unknown => "there is no such invitation",
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
    };
    Ok((presented, changes))
}

#[cfg(test)]
mod tests;
