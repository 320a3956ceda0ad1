//! The records of the second layer: a paired node with its approved commands, and a node that waits.
//!
//! Field names are those of the files (protocol §6.1). What the record does not know is kept in
//! `extra` and written back, but never shown.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{digest, policy, state::Keyed};
use crate::identity::{NodeId, RequestId, Token};

/// What a node says about itself; the same fields in requests and records.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeMetadata {
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// Its operating system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// The version of the program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The version of its core.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub core_version: Option<String>,
    /// The version of its user interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ui_version: Option<String>,
    /// Its kind of device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_family: Option<String>,
    /// Its model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_identifier: Option<String>,
    /// The program that connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// Its mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_mode: Option<String>,
    /// Its capabilities, trimmed, in declared order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caps: Option<Vec<String>>,
    /// Its commands, trimmed, in declared order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commands: Option<Vec<String>>,
    /// Permissions of its operating system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permissions: Option<Map<String, Value>>,
    /// The reported address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_ip: Option<String>,
}

/// An approved node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeRecord {
    /// The key of the record.
    pub node_id: NodeId,
    /// The secret of the latest approval.
    pub token: Token,
    /// What it said when it was approved; `commands` are the approved ones.
    #[serde(flatten)]
    pub metadata: NodeMetadata,
    /// Whether `display_name` was given by an operator and therefore stays.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub name_override: bool,
    /// First approval, epoch milliseconds.
    pub created_at_ms: u64,
    /// Latest approval, epoch milliseconds.
    pub approved_at_ms: u64,
    /// Last connect, epoch milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_connected_at_ms: Option<u64>,
    /// Last sign of life, epoch milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen_at_ms: Option<u64>,
    /// What that sign was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen_reason: Option<String>,
    /// Fields of other versions, kept and never shown.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// A node that waits for approval.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeRequest {
    /// The key of the request.
    pub request_id: RequestId,
    /// Who asks.
    pub node_id: NodeId,
    /// What it says about itself; `commands` are those it asks for.
    #[serde(flatten)]
    pub metadata: NodeMetadata,
    /// A hint for approval without a question.
    #[serde(default)]
    pub silent: bool,
    /// When it was asked last, epoch milliseconds.
    pub ts: u64,
    /// Fields of other versions, kept and never shown.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl NodeMetadata {
    /// Takes over every value that `newer` gives and keeps the others.
    pub(super) fn take(&mut self, newer: NodeMetadata) {
        fn take<T>(old: &mut Option<T>, new: Option<T>) {
            if new.is_some() {
                *old = new;
            }
        }
        take(&mut self.display_name, newer.display_name);
        take(&mut self.platform, newer.platform);
        take(&mut self.version, newer.version);
        take(&mut self.core_version, newer.core_version);
        take(&mut self.ui_version, newer.ui_version);
        take(&mut self.device_family, newer.device_family);
        take(&mut self.model_identifier, newer.model_identifier);
        take(&mut self.client_id, newer.client_id);
        take(&mut self.client_mode, newer.client_mode);
        take(&mut self.caps, newer.caps);
        take(&mut self.commands, newer.commands);
        take(&mut self.permissions, newer.permissions);
        take(&mut self.remote_ip, newer.remote_ip);
    }
}

impl NodeRecord {
    /// The name that an operator gave the node, not its own.
    pub fn label(&self) -> Option<&str> {
        let name = self.metadata.display_name.as_deref();
        name.filter(|_| self.name_override)
    }

    /// The commands that were approved.
    pub fn approved_commands(&self) -> &[String] {
        self.metadata.commands.as_deref().unwrap_or_default()
    }

    /// What an approval makes of the old record: the commands are those of the request and no
    /// others, an operator's name stays, and so does everything the request does not say.
    pub(super) fn approved(
        old: Option<NodeRecord>,
        request: &NodeRequest,
        token: Token,
        now: u64,
    ) -> NodeRecord {
        let mut record = old.unwrap_or_else(|| NodeRecord {
            node_id: request.node_id.clone(),
            token: token.clone(),
            metadata: NodeMetadata::default(),
            name_override: false,
            created_at_ms: now,
            approved_at_ms: now,
            last_connected_at_ms: None,
            last_seen_at_ms: None,
            last_seen_reason: None,
            extra: Map::new(),
        });
        let name = record.metadata.display_name.clone();
        record.metadata.take(request.metadata.clone());
        record.metadata.commands = Some(request.requested_commands().to_vec());
        if record.name_override {
            record.metadata.display_name = name;
        }
        record.token = token;
        record.approved_at_ms = now;
        record
    }

    /// The record as lists and answers show it: without token and unknown fields (D8).
    pub fn redacted(&self) -> Value {
        let mut row = self.with_token();
        if let Some(members) = row.as_object_mut() {
            members.shift_remove("token");
        }
        row
    }

    /// The record with its token: for the answer to the approval, and for nothing else.
    pub(super) fn with_token(&self) -> Value {
        let mut shown = self.clone();
        shown.extra = Map::new();
        serde_json::to_value(shown).unwrap_or_default()
    }
}

impl NodeRequest {
    /// The commands it asks for.
    pub fn requested_commands(&self) -> &[String] {
        self.metadata.commands.as_deref().unwrap_or_default()
    }

    /// The request as events and lists show it, with the scopes its approval needs and its digest.
    pub fn shown(&self) -> Value {
        let mut shown = self.clone();
        shown.extra = Map::new();
        let mut row = serde_json::to_value(shown).unwrap_or_default();
        let needed = policy::required_approve_scopes(self.requested_commands());
        row["requiredApproveScopes"] = serde_json::to_value(needed).unwrap_or_default();
        digest::stamped(row)
    }
}

impl Keyed for NodeRecord {
    type Key = NodeId;

    fn key(&self) -> &NodeId {
        &self.node_id
    }
}

impl Keyed for NodeRequest {
    type Key = RequestId;

    fn key(&self) -> &RequestId {
        &self.request_id
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_file_record_survives_and_its_shown_form_has_no_secret() {
        let document = json!({"nodeId": "n", "token": "SECRET-1", "displayName": "Renamed",
            "platform": "linux", "version": "1.0", "caps": ["system"],
            "commands": ["system.run", "system.which"], "createdAtMs": 1, "approvedAtMs": 2,
            "lastConnectedAtMs": 3, "lastSeenAtMs": 4, "lastSeenReason": "background",
            "bins": ["git"], "vault": "SECRET-2"});
        let record: NodeRecord = serde_json::from_value(document.clone()).unwrap();
        assert_eq!(serde_json::to_value(&record).unwrap(), document);
        let shown = record.redacted();
        assert!(!shown.to_string().contains("SECRET"), "{shown}");
        assert_eq!(shown["commands"], document["commands"]);
    }

    #[test]
    fn a_shown_request_says_what_its_approval_needs() {
        let document = json!({"requestId": "r", "nodeId": "n", "displayName": "Build Node",
            "commands": ["system.which"], "permissions": {}, "silent": false, "ts": 7, "odd": 1});
        let request: NodeRequest = serde_json::from_value(document.clone()).unwrap();
        assert_eq!(serde_json::to_value(&request).unwrap(), document);
        let shown = request.shown();
        assert_eq!(
            shown["requiredApproveScopes"],
            json!(["operator.pairing", "operator.admin"])
        );
        assert!(shown.get("odd").is_none());
    }

    #[test]
    fn given_values_replace_and_absent_ones_stay() {
        let mut old = NodeMetadata {
            display_name: Some("old".into()),
            commands: Some(vec!["a".into()]),
            ..NodeMetadata::default()
        };
        old.take(NodeMetadata {
            commands: Some(Vec::new()),
            ..NodeMetadata::default()
        });
        assert_eq!(old.display_name.as_deref(), Some("old"));
        assert_eq!(old.commands, Some(Vec::new()));
    }
}
