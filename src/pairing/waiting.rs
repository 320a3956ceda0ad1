//! The refusal of a device that has to wait, in the words of the wire (protocol §5.4).

use serde_json::{Value, json};

use crate::{
    identity::{DeviceId, RequestId},
    protocol::scope::{Role, Scopes},
};

/// What is missing. The kinds of protocol §5.2, in the order in which they are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// No record, or one of another key.
    NotPaired,
    /// Another platform or device family than the pinned one.
    MetadataUpgrade,
    /// A role that is not approved, or whose token was revoked.
    RoleUpgrade,
    /// Scopes beyond the approved ones.
    ScopeUpgrade,
}

/// The refusal of a device that waits: error code `NOT_PAIRED`.
#[derive(Clone, Debug, PartialEq)]
pub struct PairingRequired {
    /// What is missing.
    pub reason: Reason,
    /// The request to approve.
    pub request_id: RequestId,
    /// Who asks.
    pub device: DeviceId,
    /// The role it asks for.
    pub role: Role,
    /// The scopes it asks for.
    pub scopes: Scopes,
    /// The roles it has; empty unless the record has the same key.
    pub approved_roles: Vec<String>,
    /// The scopes it has; empty unless the record has the same key.
    pub approved_scopes: Scopes,
}

impl Reason {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Reason::NotPaired => "not-paired",
            Reason::MetadataUpgrade => "metadata-upgrade",
            Reason::RoleUpgrade => "role-upgrade",
            Reason::ScopeUpgrade => "scope-upgrade",
        }
    }
}

impl PairingRequired {
    /// The error message.
    pub const fn message(&self) -> &'static str {
        match self.reason {
            Reason::NotPaired => "pairing required: device is not approved yet",
            Reason::MetadataUpgrade => {
                "pairing required: device identity changed and must be re-approved"
            }
            Reason::RoleUpgrade => {
                "pairing required: device is asking for a higher role than currently approved"
            }
            Reason::ScopeUpgrade => {
                "pairing required: device is asking for more scopes than currently approved"
            }
        }
    }

    /// What a person can do about it.
    pub const fn hint(&self) -> &'static str {
        match self.reason {
            Reason::NotPaired => "Approve this device from the pending pairing requests.",
            Reason::MetadataUpgrade => {
                "Review the refreshed device details, then approve the pending request."
            }
            Reason::RoleUpgrade => {
                "Review the requested role upgrade, then approve the pending request."
            }
            Reason::ScopeUpgrade => {
                "Review the requested scopes, then approve the pending upgrade."
            }
        }
    }

    /// The close reason before it is cut to the limit of a close frame; code 1008.
    pub fn close_reason(&self) -> String {
        format!("{} (requestId: {})", self.message(), self.request_id)
    }

    /// The error details (protocol §5.4).
    pub fn details(&self) -> Value {
        let mut details = json!({
            "code": "PAIRING_REQUIRED",
            "reason": self.reason.as_str(),
            "requestId": self.request_id,
            "remediationHint": self.hint(),
            "deviceId": self.device,
            "requestedRole": self.role.as_str(),
            "requestedScopes": self.scopes,
        });
        if !self.approved_roles.is_empty() {
            details["approvedRoles"] = json!(self.approved_roles);
        }
        if !self.approved_scopes.is_empty() {
            details["approvedScopes"] = json!(self.approved_scopes);
        }
        details
    }
}

/// The details of either refusal for a client of protocol 4 that should go on trying by itself until
/// somebody decides: without them its node host stays away for ever (protocol §5.4).
pub fn patient(mut details: Value) -> Value {
    details["recommendedNextStep"] = json!("wait_then_retry");
    details["retryable"] = json!(true);
    details["pauseReconnect"] = json!(false);
    details
}

/// The refusal of a device that would have to ask while the pairing switch is closed: error code
/// `NOT_PAIRED`, like that of a device that waits, so that a client stays and tries again.
#[derive(Clone, Debug, PartialEq)]
pub struct PairingClosed {
    /// Its request from before, which an operator can still approve.
    pub request_id: Option<RequestId>,
    /// Who asks.
    pub device: DeviceId,
    /// The role it asks for.
    pub role: Role,
    /// The scopes it asks for.
    pub scopes: Scopes,
}

/// What opens the switch long enough for one machine.
pub const OPEN_COMMAND: &str = "openclaw gateway pairing open --for 3m";

impl PairingClosed {
    /// The error message.
    pub const MESSAGE: &'static str = "pairing required: pairing is closed on this gateway";

    /// The close reason; code 1008. Short enough for a close frame.
    pub fn close_reason(&self) -> String {
        format!("{}; {OPEN_COMMAND}", Self::MESSAGE)
    }

    /// The error details: those of a device that waits, with the reason `pairing-disabled`.
    pub fn details(&self) -> Value {
        let mut details = json!({
            "code": "PAIRING_REQUIRED",
            "reason": "pairing-disabled",
            "remediationHint":
                format!("Open pairing on the gateway host with: {OPEN_COMMAND}"),
            "deviceId": self.device,
            "requestedRole": self.role.as_str(),
            "requestedScopes": self.scopes,
        });
        if let Some(id) = &self.request_id {
            details["requestId"] = json!(id);
        }
        details
    }
}
