//! Params of the approval files, the gateway's own and those that are relayed to a node, and the schema of such a file (specification
//! sections 8.1 and 8.2).

use serde_json::{Value, json};

use super::non_blank;
use crate::{
    identity::ids::NodeId,
    protocol::{
        error::ErrorShape,
        frame::object,
        limits::MAX_HASH_CHARS,
        schema::{COUNT, Kind, NAME, TEXT, optional, parse_params, required},
    },
};

/// `exec.approvals.set`: the policy of the gateway's own machine.
#[derive(Clone, Debug, PartialEq)]
pub struct ExecApprovalsSet {
    /// The new file, checked against the schema of section 8.1.
    pub file: Value,
    /// Hash of the file that is replaced.
    pub base_hash: Option<String>,
}

impl ExecApprovalsSet {
    /// Reads the params.
    pub fn parse(params: Option<Value>) -> Result<Self, ErrorShape> {
        const KIND: Kind =
            Kind::Object(&[required("file", APPROVALS_FILE), optional("baseHash", HASH)]);
        let mut fields = parse_params("exec.approvals.set", params, &KIND)?;
        Ok(Self {
            file: fields.value("file").unwrap_or_default(),
            base_hash: fields.text("baseHash"),
        })
    }
}

/// `exec.approvals.node.get`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecApprovalsNodeGet {
    /// The node that is asked, trimmed.
    pub node_id: NodeId,
}

impl ExecApprovalsNodeGet {
    /// Reads the params.
    pub fn parse(params: Option<Value>) -> Result<Self, ErrorShape> {
        const KIND: Kind = Kind::Object(&[required("nodeId", NAME)]);
        let mut fields = parse_params("exec.approvals.node.get", params, &KIND)?;
        Ok(Self {
            node_id: non_blank(&fields.required_text("nodeId"), "nodeId required")?.into(),
        })
    }
}

/// `exec.approvals.node.set`.
#[derive(Clone, Debug, PartialEq)]
pub struct ExecApprovalsNodeSet {
    /// The node that is changed, trimmed.
    pub node_id: NodeId,
    /// The new file, checked against the schema of section 8.1.
    pub file: Value,
    /// Hash of the file that is replaced.
    pub base_hash: Option<String>,
}

impl ExecApprovalsNodeSet {
    /// Reads the params.
    pub fn parse(params: Option<Value>) -> Result<Self, ErrorShape> {
        const KIND: Kind = Kind::Object(&[
            required("nodeId", NAME),
            required("file", APPROVALS_FILE),
            optional("baseHash", HASH),
        ]);
        let mut fields = parse_params("exec.approvals.node.set", params, &KIND)?;
        Ok(Self {
            node_id: non_blank(&fields.required_text("nodeId"), "nodeId required")?.into(),
            file: fields.value("file").unwrap_or_default(),
            base_hash: fields.text("baseHash"),
        })
    }

    /// The params of `system.execApprovals.set` on the node.
    pub fn relayed(&self) -> Value {
        object([
            ("file", Some(self.file.clone())),
            ("baseHash", self.base_hash.as_ref().map(|hash| json!(hash))),
        ])
    }
}

/// It goes into the trail.
const HASH: Kind = Kind::Bounded {
    of: &NAME,
    max: MAX_HASH_CHARS,
};

const ALLOWLIST_ENTRY: Kind = Kind::Object(&[
    optional("id", NAME),
    required("pattern", TEXT),
    optional("source", Kind::Constant("allow-always")),
    optional("commandText", TEXT),
    optional("argPattern", TEXT),
    optional("lastUsedAt", COUNT),
    optional("lastUsedCommand", TEXT),
    optional("lastResolvedPath", TEXT),
]);

const DEFAULTS: Kind = Kind::Object(&[
    optional("security", TEXT),
    optional("ask", TEXT),
    optional("askFallback", TEXT),
    optional("autoAllowSkills", Kind::Boolean),
]);

const AGENT: Kind = Kind::Object(&[
    optional("security", TEXT),
    optional("ask", TEXT),
    optional("askFallback", TEXT),
    optional("autoAllowSkills", Kind::Boolean),
    optional(
        "allowlist",
        Kind::List {
            of: &ALLOWLIST_ENTRY,
            min: 0,
        },
    ),
]);

/// The approvals file as it travels (section 8.1). `version` is the number 1.
pub const APPROVALS_FILE: Kind = Kind::Object(&[
    required("version", Kind::ConstantNumber(1)),
    optional(
        "socket",
        Kind::Object(&[optional("path", TEXT), optional("token", TEXT)]),
    ),
    optional("defaults", DEFAULTS),
    optional("agents", Kind::Map(&AGENT)),
]);
