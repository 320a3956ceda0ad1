//! The records of the first layer: a paired device with its tokens, and a device that waits.
//!
//! Field names and their order are those of the files (protocol §5.1, §10.1). What the record does
//! not know is kept in `extra` and written back, but never shown.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    digest, scopes,
    state::{Keyed, Table},
};
use crate::{
    identity::{DeviceId, RequestId, Token},
    protocol::scope::Scopes,
};

/// An approved device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceRecord {
    /// The key of the record.
    pub device_id: DeviceId,
    /// The raw public key, base64url.
    pub public_key: String,
    /// The name the device gives itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// The pinned platform; pins nothing when absent or empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// The pinned device family; pins nothing when absent or empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_family: Option<String>,
    /// The program that connected last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// Its mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_mode: Option<String>,
    /// The role of the latest approval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// All roles ever approved.
    #[serde(default)]
    pub roles: Vec<String>,
    /// The approved scopes in the order of approval; kept equal to `approved_scopes`.
    #[serde(default)]
    pub scopes: Scopes,
    /// The approved scopes; older files have only `scopes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved_scopes: Option<Scopes>,
    /// The last reported client address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_ip: Option<String>,
    /// One token per role.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tokens: BTreeMap<String, TokenEntry>,
    /// First approval, epoch milliseconds.
    pub created_at_ms: u64,
    /// Latest approval, epoch milliseconds.
    pub approved_at_ms: u64,
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

/// The token of one device for one role.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenEntry {
    /// The secret.
    pub token: Token,
    /// The role, again.
    pub role: String,
    /// Normalized scopes.
    #[serde(default)]
    pub scopes: Scopes,
    /// First issue, epoch milliseconds.
    pub created_at_ms: u64,
    /// Latest replacement, epoch milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotated_at_ms: Option<u64>,
    /// Set when the token is dead, epoch milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at_ms: Option<u64>,
    /// Last successful use, epoch milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_at_ms: Option<u64>,
    /// Fields of other versions, kept and never shown.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// A device that waits for approval.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceRequest {
    /// The key of the request.
    pub request_id: RequestId,
    /// Who asks.
    pub device_id: DeviceId,
    /// With which key, base64url.
    pub public_key: String,
    /// The name the device gives itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// The claimed platform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// The claimed device family.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_family: Option<String>,
    /// The program that asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// Its mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_mode: Option<String>,
    /// The role of the latest attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// The roles of all merged attempts.
    #[serde(default)]
    pub roles: Vec<String>,
    /// The scopes of all merged attempts.
    #[serde(default)]
    pub scopes: Scopes,
    /// The reported client address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_ip: Option<String>,
    /// Whether every merged attempt was eligible for silent approval.
    #[serde(default)]
    pub silent: bool,
    /// Whether a paired record of this device existed.
    #[serde(default)]
    pub is_repair: bool,
    /// When it was asked, epoch milliseconds.
    pub ts: u64,
    /// Fields of other versions, kept and never shown.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl DeviceRecord {
    /// Every role that was ever approved, sorted.
    pub fn approved_roles(&self) -> BTreeSet<&str> {
        self.roles
            .iter()
            .chain(&self.role)
            .map(String::as_str)
            .collect()
    }

    /// The approved roles whose token is alive, sorted.
    pub fn effective_roles(&self) -> BTreeSet<&str> {
        let mut roles = self.approved_roles();
        roles.retain(|role| {
            self.tokens
                .get(*role)
                .is_some_and(|entry| entry.revoked_at_ms.is_none())
        });
        roles
    }

    /// What this device was approved for.
    pub fn approved_scopes(&self) -> &Scopes {
        self.approved_scopes.as_ref().unwrap_or(&self.scopes)
    }

    /// Whether the approval covers these scopes for this role.
    pub fn approves(&self, role: &str, scopes: &Scopes) -> bool {
        self.approved_roles().contains(role) && scopes::grants(role, self.approved_scopes(), scopes)
    }

    /// The record as lists and answers show it: tokens without their values as an array sorted by
    /// role, no `approvedScopes`, no unknown fields (protocol §5.1).
    pub fn redacted(&self) -> Value {
        let mut shown = self.clone();
        shown.approved_scopes = None;
        shown.extra = Map::new();
        let tokens: Vec<Value> = shown.tokens.values().map(TokenEntry::redacted).collect();
        shown.tokens = BTreeMap::new();
        let mut row = serde_json::to_value(shown).unwrap_or_default();
        if !tokens.is_empty() {
            row["tokens"] = Value::Array(tokens);
        }
        row
    }
}

impl TokenEntry {
    /// When this value of the token came into being, epoch milliseconds.
    pub fn issued_at_ms(&self) -> u64 {
        self.rotated_at_ms.unwrap_or(self.created_at_ms)
    }

    fn redacted(&self) -> Value {
        let mut shown = self.clone();
        shown.extra = Map::new();
        let mut row = serde_json::to_value(shown).unwrap_or_default();
        if let Some(members) = row.as_object_mut() {
            members.shift_remove("token");
        }
        row
    }
}

impl DeviceRequest {
    /// The request as events and lists show it (protocol §5.1), with its digest; `keyChanged` when the
    /// paired record of the device has another key, which the approval would replace.
    pub fn shown(&self, paired: &Table<DeviceId, DeviceRecord>) -> Value {
        let mut shown = self.clone();
        shown.extra = Map::new();
        let mut row = serde_json::to_value(shown).unwrap_or_default();
        let record = paired.record(self.device_id.as_str());
        if record.is_some_and(|record| record.public_key != self.public_key) {
            row["keyChanged"] = Value::Bool(true);
        }
        digest::stamped(row)
    }

    /// Bytes of everything in it that its device chose.
    pub(super) fn text_bytes(&self) -> usize {
        let texts = [
            &self.display_name,
            &self.platform,
            &self.device_family,
            &self.client_id,
            &self.client_mode,
        ];
        let texts = texts.into_iter().flatten().map(String::len);
        let scopes = self.scopes.iter().map(|scope| scope.as_str().len());
        texts.chain(scopes).sum()
    }

    /// Every role it asks for, in the order of asking.
    pub fn requested_roles(&self) -> Vec<&str> {
        let mut roles: Vec<&str> = Vec::new();
        for role in self.roles.iter().chain(&self.role) {
            if !roles.contains(&role.as_str()) {
                roles.push(role);
            }
        }
        roles
    }
}

impl Keyed for DeviceRecord {
    type Key = DeviceId;

    fn key(&self) -> &DeviceId {
        &self.device_id
    }
}

impl Keyed for DeviceRequest {
    type Key = RequestId;

    fn key(&self) -> &RequestId {
        &self.request_id
    }
}

/// An address as records keep it.
pub(super) fn address_text(address: Option<IpAddr>) -> Option<String> {
    address.map(|address| address.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn paired() -> Value {
        json!({"deviceId": "d", "publicKey": "k", "displayName": "Build Node", "platform": "linux",
            "deviceFamily": "Linux", "clientId": "node-host", "clientMode": "node", "role": "node",
            "roles": ["node"], "scopes": [], "approvedScopes": [], "remoteIp": "203.0.113.9",
            "tokens": {
                "operator": {"token": "SECRET-2", "role": "operator", "scopes": ["operator.read"],
                    "createdAtMs": 5, "revokedAtMs": 6},
                "node": {"token": "SECRET-1", "role": "node", "scopes": [], "createdAtMs": 1,
                    "rotatedAtMs": 2, "lastUsedAtMs": 4, "shadow": "SECRET-3"}},
            "createdAtMs": 1, "approvedAtMs": 2, "lastSeenAtMs": 3, "lastSeenReason": "background",
            "vault": "SECRET-4"})
    }

    #[test]
    fn a_file_record_survives_and_its_shown_form_has_no_secret() {
        let record: DeviceRecord = serde_json::from_value(paired()).unwrap();
        assert_eq!(serde_json::to_value(&record).unwrap(), paired());
        let shown = record.redacted();
        assert_eq!(
            shown["tokens"],
            json!([{"role": "node", "scopes": [], "createdAtMs": 1, "rotatedAtMs": 2, "lastUsedAtMs": 4},
                   {"role": "operator", "scopes": ["operator.read"], "createdAtMs": 5, "revokedAtMs": 6}])
        );
        assert!(shown.get("approvedScopes").is_none());
        assert!(!shown.to_string().contains("SECRET"), "{shown}");
    }

    #[test]
    fn a_device_without_tokens_shows_none() {
        let mut document = paired();
        document.as_object_mut().unwrap().remove("tokens");
        let record: DeviceRecord = serde_json::from_value(document).unwrap();
        assert!(record.redacted().get("tokens").is_none());
    }

    #[test]
    fn roles_are_effective_while_approved_and_alive() {
        let mut record: DeviceRecord = serde_json::from_value(paired()).unwrap();
        assert_eq!(record.effective_roles(), BTreeSet::from(["node"]));
        record.roles.push("operator".into());
        assert_eq!(
            record.approved_roles(),
            BTreeSet::from(["node", "operator"])
        );
        assert_eq!(
            record.effective_roles(),
            BTreeSet::from(["node"]),
            "operator is revoked"
        );
        record.tokens.get_mut("operator").unwrap().revoked_at_ms = None;
        assert_eq!(
            record.effective_roles(),
            BTreeSet::from(["node", "operator"])
        );
    }

    #[test]
    fn scopes_stand_in_for_missing_approved_scopes() {
        let mut document = paired();
        document["scopes"] = json!(["operator.read"]);
        document["roles"] = json!(["operator"]);
        let record: DeviceRecord = serde_json::from_value(document.clone()).unwrap();
        assert!(!record.approves("operator", &["operator.read"].into_iter().collect()));
        document.as_object_mut().unwrap().remove("approvedScopes");
        let record: DeviceRecord = serde_json::from_value(document).unwrap();
        assert!(record.approves("operator", &["operator.read"].into_iter().collect()));
    }
}
