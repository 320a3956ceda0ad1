//! What an operation changed: what to save, whom to tell, whose sessions to end, what to record.
//!
//! The order inside `Changes` is meant: parts are saved in the order in which they are named, and
//! everything else happens after the save.

use serde::Serialize;
use serde_json::Value;

use super::{
    Caller,
    crowd::{Crowded, Source},
};
use crate::{
    identity::{DeviceId, NodeId},
    protocol::scope::Role,
};

/// One of the pairing files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// Approved devices and their tokens.
    DevicesPaired,
    /// Devices that wait.
    DevicesPending,
    /// Approved nodes and their commands.
    NodesPaired,
    /// Nodes that wait.
    NodesPending,
    /// Bootstrap tokens of setup codes.
    Bootstrap,
    /// What became of requests of both layers; ours alone, the reference knows nothing of it.
    Resolved,
    /// Join keys, by their hash.
    JoinKeys,
    /// Devices that are expected.
    Preapproved,
    /// What was decided about new pairings by command; ours alone.
    Switch,
}

impl Part {
    /// All parts.
    pub const ALL: [Part; 9] = [
        Part::DevicesPaired,
        Part::DevicesPending,
        Part::NodesPaired,
        Part::NodesPending,
        Part::Bootstrap,
        Part::Resolved,
        Part::JoinKeys,
        Part::Preapproved,
        Part::Switch,
    ];

    /// The invitations. A file of them that cannot be read invites nobody and keeps nobody else out;
    /// one of the others stops everything.
    pub const INVITATIONS: [Part; 3] = [Part::Bootstrap, Part::JoinKeys, Part::Preapproved];

    /// The file, relative to the state directory (protocol §10).
    pub const fn file(self) -> &'static str {
        match self {
            Part::DevicesPaired => "devices/paired.json",
            Part::DevicesPending => "devices/pending.json",
            Part::NodesPaired => "nodes/paired.json",
            Part::NodesPending => "nodes/pending.json",
            Part::Bootstrap => "devices/bootstrap.json",
            Part::Resolved => "devices/resolved.json",
            Part::JoinKeys => "devices/join-keys.json",
            Part::Preapproved => "devices/preapproved.json",
            Part::Switch => "pairing-switch.json",
        }
    }

    /// Whether it holds invitations.
    pub fn is_invitation(self) -> bool {
        Part::INVITATIONS.contains(&self)
    }

    /// Whether the keys in the file are secrets themselves, which no message may show.
    pub const fn has_secret_keys(self) -> bool {
        matches!(self, Part::Bootstrap)
    }
}

/// Why live sessions end. The close code is 4001 for all of them (protocol §1.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionEnd {
    /// The device was removed, or its token for this role was rotated or revoked.
    DeviceRemoved,
}

impl SessionEnd {
    /// The close reason on the wire.
    pub const fn reason(self) -> &'static str {
        match self {
            SessionEnd::DeviceRemoved => "device removed",
        }
    }
}

/// One consequence of an operation.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// This part must be on disk before anybody is answered.
    Save(Part),
    /// This part changed only in things that may be lost (last seen, last used): write it some time.
    Touch(Part),
    /// Broadcast this event. Payloads never contain a token.
    Emit {
        /// The event name.
        event: &'static str,
        /// Its complete payload.
        payload: Value,
    },
    /// End the live sessions of a device and their pending invokes.
    EndSessions {
        /// Whose sessions.
        device: DeviceId,
        /// Only those with this role; all when absent.
        role: Option<Role>,
        /// What they are told.
        reason: SessionEnd,
    },
    /// The commands of this node may have changed: recompute them for its live session, if any.
    Refilter {
        /// Which node.
        node: NodeId,
        /// Whether the live session also asks for what it still lacks (`node::reconcile`) rather than
        /// only being recomputed (`node::surface`).
        ask: bool,
    },
    /// A stranger's request found no place, or gave way: to be counted.
    Crowded {
        /// Of which source.
        source: Source,
        /// Which of both.
        what: Crowded,
    },
    /// Append this line to the audit log.
    Audit(Box<AuditEntry>),
}

/// Consequences in the order in which they are to happen.
pub type Changes = Vec<Change>;

/// One line of the audit log; whoever writes it adds the time. Never contains a token.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditEntry {
    /// What was done, for example `device.approve`.
    pub action: &'static str,
    /// To which device, node or request.
    pub subject: String,
    /// Who did it.
    pub by: String,
    /// Which way: a method name, `offline`, `connect` or `timer`.
    pub via: String,
    /// From which address, where one is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// What held before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// What holds now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
    /// Anything else worth keeping.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<Value>,
}

impl From<AuditEntry> for Change {
    fn from(entry: AuditEntry) -> Self {
        Change::Audit(Box::new(entry))
    }
}

impl AuditEntry {
    /// A line about what `caller` did to `subject`: a device, a node, a request or a command's approval.
    pub fn by(caller: &Caller<'_>, action: &'static str, subject: &str) -> AuditEntry {
        AuditEntry {
            action,
            subject: subject.to_owned(),
            by: caller.label.clone(),
            via: caller.via.clone(),
            from: caller.from.map(|address| address.to_string()),
            ..AuditEntry::default()
        }
    }

    /// The same line with what held before and what holds now.
    pub(super) fn turning(self, before: Option<Value>, after: Option<Value>) -> AuditEntry {
        AuditEntry {
            before,
            after,
            ..self
        }
    }

    /// The same line with a detail.
    pub(super) fn detailing(self, detail: Value) -> AuditEntry {
        AuditEntry {
            detail: Some(detail),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_has_its_own_file() {
        let mut files: Vec<_> = Part::ALL.iter().map(|part| part.file()).collect();
        files.dedup();
        assert_eq!(
            files,
            [
                "devices/paired.json",
                "devices/pending.json",
                "nodes/paired.json",
                "nodes/pending.json",
                "devices/bootstrap.json",
                "devices/resolved.json",
                "devices/join-keys.json",
                "devices/preapproved.json",
                "pairing-switch.json",
            ]
        );
    }
}
