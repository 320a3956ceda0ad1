//! Why an operation was refused, in the words of the wire.
//!
//! Token and removal denials say the same sentence whatever the reason was, so that they tell a
//! prober nothing; the precise reason is kept beside it for the log.

use std::fmt;

use serde_json::{Value, json};

use super::crowd::Full;
use super::resolution::Resolution;
use super::waiting::OPEN_COMMAND;
use crate::{identity::DeviceId, protocol::scope::Scope};

/// A refused operation. `Display` is the message on the wire (protocol §5.6, §6.3).
#[derive(Clone, Debug, PartialEq)]
pub enum Refusal {
    /// The key to be pre-approved belongs to a paired device.
    AlreadyPaired(DeviceId),
    /// A device-bound caller tried to approve a request that is not its own.
    ApprovalDenied,
    /// A request in the name of a stranger, while too many of those wait.
    Crowded(Full),
    /// A node was renamed to nothing.
    DisplayNameRequired,
    /// An invitation cannot be made as it was asked for; the text says why and what would do.
    InvitationInvalid(String),
    /// A device-bound caller tried to manage invitations, which let other devices in.
    InvitationsDenied,
    /// The caller would grant this scope without holding it.
    MissingScope(Scope),
    /// A node operation named no node.
    NodeIdRequired,
    /// A request in the name of a node, while the pairing switch is closed.
    PairingClosed,
    /// The stored record of this device or node cannot be read, so nothing is decided about it.
    RecordUnreadable,
    /// A device-bound caller tried to reject a request that is not its own.
    RejectionDenied,
    /// A device-bound caller tried to remove another device.
    RemovalDenied,
    /// The request asks for something else than the approver was shown; the row as it is now.
    RequestChanged(Box<Value>),
    /// The request is not open any more; how it ended.
    RequestResolved(Box<Resolution>),
    /// A token was not revoked.
    RevocationDenied(Denial),
    /// A token was not rotated.
    RotationDenied(Denial),
    /// The request asks for a scope that belongs to none of its roles.
    ScopeOutsideRoles(Scope),
    /// No such paired device.
    UnknownDevice,
    /// No such join key or pre-approval.
    UnknownInvitation,
    /// No such paired node.
    UnknownNode,
    /// No such request, as far as is remembered.
    UnknownRequest,
}

/// The precise reason of a denial: for the log, never for the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// The caller does not hold the scopes of the token it would replace or end.
    ExistingScopesBeyondCaller,
    /// A device-bound caller named another device.
    OtherDevice,
    /// The role is not approved for this device.
    RoleNotApproved,
    /// The scopes asked for are not approved for this device and role.
    ScopesNotApproved,
    /// The caller does not hold the scopes asked for.
    ScopesBeyondCaller,
    /// The device has no token for this role.
    UnknownToken,
    /// No such device.
    UnknownDevice,
}

impl Refusal {
    /// The precise reason behind a denial, for the log.
    pub fn denial(&self) -> Option<Denial> {
        match self {
            Refusal::ApprovalDenied
            | Refusal::InvitationsDenied
            | Refusal::RejectionDenied
            | Refusal::RemovalDenied => Some(Denial::OtherDevice),
            Refusal::RevocationDenied(denial) | Refusal::RotationDenied(denial) => Some(*denial),
            _ => None,
        }
    }

    /// What a client may act on, beyond the message.
    pub fn details(&self) -> Option<Value> {
        match self {
            Refusal::RequestChanged(row) => Some(json!({
                "code": "REQUEST_CHANGED",
                "digest": row["digest"],
                "request": row,
            })),
            Refusal::RequestResolved(end) => Some(end.details()),
            Refusal::Crowded(full) => Some(full.details()),
            _ => None,
        }
    }

    /// Whether it could work at another time (`UNAVAILABLE`), rather than the request being at fault
    /// (`INVALID_REQUEST`).
    pub fn is_unavailable(&self) -> bool {
        matches!(
            self,
            Refusal::Crowded(_) | Refusal::PairingClosed | Refusal::RecordUnreadable
        )
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::ApprovalDenied => formatter.write_str("device pairing approval denied"),
            Refusal::Crowded(full) => formatter.write_str(&full.message()),
            Refusal::DisplayNameRequired => formatter.write_str("displayName required"),
            Refusal::AlreadyPaired(device) => write!(
                formatter,
                "this key is paired already as device {device}: remove that device first to pair it anew"
            ),
            Refusal::InvitationInvalid(text) => formatter.write_str(text),
            Refusal::InvitationsDenied => formatter.write_str("invitations denied"),
            Refusal::MissingScope(scope) => write!(formatter, "missing scope: {scope}"),
            Refusal::NodeIdRequired => formatter.write_str("nodeId required"),
            Refusal::PairingClosed => write!(
                formatter,
                "pairing is closed on this gateway; open it with: {OPEN_COMMAND}"
            ),
            Refusal::RecordUnreadable => formatter.write_str("pairing store unavailable"),
            Refusal::RejectionDenied => formatter.write_str("device pairing rejection denied"),
            Refusal::RemovalDenied => formatter.write_str("device pairing removal denied"),
            Refusal::RequestChanged(_) => formatter.write_str(
                "request changed since it was shown; look at it again and approve what it asks for now",
            ),
            Refusal::RevocationDenied(_) => formatter.write_str("device token revocation denied"),
            Refusal::RotationDenied(_) => formatter.write_str("device token rotation denied"),
            Refusal::ScopeOutsideRoles(scope) => {
                write!(formatter, "invalid scope for requested roles: {scope}")
            }
            Refusal::UnknownDevice => formatter.write_str("unknown deviceId"),
            Refusal::UnknownInvitation => formatter.write_str("unknown join key or pre-approval"),
            Refusal::UnknownNode => formatter.write_str("unknown nodeId"),
            Refusal::RequestResolved(_) | Refusal::UnknownRequest => {
                formatter.write_str("unknown requestId")
            }
        }
    }
}

impl std::error::Error for Refusal {}

impl fmt::Display for Denial {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Denial::ExistingScopesBeyondCaller => "caller lacks scopes of the existing token",
            Denial::OtherDevice => "caller is bound to another device",
            Denial::RoleNotApproved => "role is not approved for this device",
            Denial::ScopesNotApproved => "scopes are not approved for this device and role",
            Denial::ScopesBeyondCaller => "caller lacks scopes it would grant",
            Denial::UnknownToken => "device has no token for this role",
            Denial::UnknownDevice => "device is not paired",
        })
    }
}
