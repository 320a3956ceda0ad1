//! One row of `node.list`, which is also the answer of `node.describe` (protocol.md §7.1): the shape
//! alone, `roster` fills it.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::identity::ids::{NodeId, RequestId};

/// The answer of `node.describe`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Described {
    /// When it was so, epoch milliseconds.
    pub ts: u64,
    /// The node.
    #[serde(flatten)]
    pub row: NodeRow,
}

/// One node as listed. Absent values are left out of the JSON.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeRow {
    /// Node id.
    pub node_id: NodeId,
    /// The operator's name for the node, else the node's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// Operating system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// Version of the node's program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Version of its core.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub core_version: Option<String>,
    /// Version of its user interface.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ui_version: Option<String>,
    /// `client.id` of its connect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// `client.mode` of its connect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_mode: Option<String>,
    /// Reported address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote_ip: Option<String>,
    /// Device family.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_family: Option<String>,
    /// Hardware model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_identifier: Option<String>,
    /// `PATH` of the connected node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_env: Option<String>,
    /// Permissions as claimed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permissions: Option<Map<String, Value>>,
    /// Capabilities, sorted.
    pub caps: Vec<String>,
    /// What may be invoked now (connected) or was approved (not connected), sorted.
    pub commands: Vec<String>,
    /// What the node declares and the policy allows but no approval covers yet, sorted.
    pub pending_commands: Vec<String>,
    /// What the connected node declares and the policy allows, sorted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub declared_commands: Option<Vec<String>>,
    /// What the approval covers, sorted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approved_commands: Option<Vec<String>>,
    /// First pairing of either layer, epoch milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at_ms: Option<u64>,
    /// Latest approval, epoch milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approved_at_ms: Option<u64>,
    /// Begin of the live connection, epoch milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connected_at_ms: Option<u64>,
    /// Latest connect, epoch milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_connected_at_ms: Option<u64>,
    /// Latest sign of life, epoch milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_seen_at_ms: Option<u64>,
    /// What that sign was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_seen_reason: Option<String>,
    /// Whether a record of either layer exists.
    pub paired: bool,
    /// Whether the node is connected.
    pub connected: bool,
    /// Where the node's pairing stands.
    pub pairing: Pairing,
    /// The same in the newer protocol's words.
    pub approval_state: &'static str,
    /// The pending node-pairing request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending_request_id: Option<RequestId>,
    /// Capabilities behind that request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending_declared_caps: Option<Vec<String>>,
    /// Commands behind that request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending_declared_commands: Option<Vec<String>>,
}

/// Where the pairing of a node stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Pairing {
    /// It has a node-pairing record.
    Approved,
    /// It has none, and none waits.
    None,
    /// It has none, and a request waits.
    Pending,
}
