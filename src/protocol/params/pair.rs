//! Params of `node.pair.*` and `node.rename` (specification section 6.3). Approving takes `PairApprove`,
//! rejecting `parse_request_id`.

use serde_json::Value;

use super::non_blank;
use crate::{
    identity::ids::{NodeId, Token},
    protocol::{
        error::ErrorShape,
        limits::{MAX_GIVEN_CHARS, MAX_GIVEN_WORDS, MIN_NOT_SEEN_MS},
        schema::{Kind, NAME, NAMES, optional, parse_params, required},
    },
};

/// An id or a name that is stored and shown to everybody.
const GIVEN: Kind = Kind::Bounded {
    of: &NAME,
    max: MAX_GIVEN_CHARS,
};

/// A list of such words.
const GIVEN_WORDS: Kind = Kind::Bounded {
    of: &Kind::List { of: &GIVEN, min: 0 },
    max: MAX_GIVEN_WORDS,
};

/// `node.pair.request`: an operator asks in the name of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodePairRequest {
    /// The node, trimmed.
    pub node_id: NodeId,
    /// Name for people.
    pub display_name: Option<String>,
    /// Operating system.
    pub platform: Option<String>,
    /// Version of the node program.
    pub version: Option<String>,
    /// Version of its core.
    pub core_version: Option<String>,
    /// Version of its user interface.
    pub ui_version: Option<String>,
    /// Kind of machine.
    pub device_family: Option<String>,
    /// Model of the machine.
    pub model_identifier: Option<String>,
    /// Capabilities, when given.
    pub caps: Option<Vec<String>>,
    /// Commands, when given; unfiltered.
    pub commands: Option<Vec<String>>,
    /// Address the node was seen at.
    pub remote_ip: Option<String>,
    /// Whether people should be bothered.
    pub silent: bool,
}

impl NodePairRequest {
    /// Reads the params.
    pub fn parse(params: Option<Value>) -> Result<Self, ErrorShape> {
        const KIND: Kind = Kind::Object(&[
            required("nodeId", GIVEN),
            optional("displayName", GIVEN),
            optional("platform", GIVEN),
            optional("version", GIVEN),
            optional("coreVersion", GIVEN),
            optional("uiVersion", GIVEN),
            optional("deviceFamily", GIVEN),
            optional("modelIdentifier", GIVEN),
            optional("caps", GIVEN_WORDS),
            optional("commands", GIVEN_WORDS),
            optional("remoteIp", GIVEN),
            optional("silent", Kind::Boolean),
        ]);
        let mut fields = parse_params("node.pair.request", params, &KIND)?;
        Ok(Self {
            node_id: non_blank(&fields.required_text("nodeId"), "nodeId required")?.into(),
            display_name: fields.text("displayName"),
            platform: fields.text("platform"),
            version: fields.text("version"),
            core_version: fields.text("coreVersion"),
            ui_version: fields.text("uiVersion"),
            device_family: fields.text("deviceFamily"),
            model_identifier: fields.text("modelIdentifier"),
            caps: fields.texts("caps"),
            commands: fields.texts("commands"),
            remote_ip: fields.text("remoteIp"),
            silent: fields.boolean("silent").unwrap_or(false),
        })
    }
}

/// `node.pair.remove`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodePairRemove {
    /// The node to remove.
    pub node_id: NodeId,
}

impl NodePairRemove {
    /// Reads the params.
    pub fn parse(params: Option<Value>) -> Result<Self, ErrorShape> {
        const KIND: Kind = Kind::Object(&[required("nodeId", NAME)]);
        let mut fields = parse_params("node.pair.remove", params, &KIND)?;
        Ok(Self {
            node_id: fields.required_text("nodeId").into(),
        })
    }
}

/// `node.pair.prune`, a method of our own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodePairPrune {
    /// For how long nothing was seen of a node, in milliseconds.
    pub not_seen_ms: u64,
    /// Only these nodes; all when absent.
    pub among: Option<Vec<NodeId>>,
    /// Only say which nodes would go.
    pub dry_run: bool,
}

impl NodePairPrune {
    /// Reads the params.
    pub fn parse(params: Option<Value>) -> Result<Self, ErrorShape> {
        const SPAN: Kind = Kind::Integer {
            min: MIN_NOT_SEEN_MS as i64,
            max: i64::MAX,
        };
        const KIND: Kind = Kind::Object(&[
            required("notSeenMs", SPAN),
            optional("nodeIds", NAMES),
            optional("dryRun", Kind::Boolean),
        ]);
        let mut fields = parse_params("node.pair.prune", params, &KIND)?;
        let among = fields.texts("nodeIds");
        Ok(Self {
            not_seen_ms: fields.count("notSeenMs").unwrap_or(u64::MAX),
            among: among.map(|ids| ids.into_iter().map(NodeId::from).collect()),
            dry_run: fields.boolean("dryRun").unwrap_or(false),
        })
    }
}

/// `node.pair.verify`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodePairVerify {
    /// The node that presents the token.
    pub node_id: NodeId,
    /// The token it presents.
    pub token: Token,
}

impl NodePairVerify {
    /// Reads the params.
    pub fn parse(params: Option<Value>) -> Result<Self, ErrorShape> {
        const KIND: Kind = Kind::Object(&[required("nodeId", NAME), required("token", NAME)]);
        let mut fields = parse_params("node.pair.verify", params, &KIND)?;
        Ok(Self {
            node_id: fields.required_text("nodeId").into(),
            token: fields.required_text("token").into(),
        })
    }
}

/// `node.rename`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRename {
    /// The node to rename.
    pub node_id: NodeId,
    /// Its new name, trimmed and not empty.
    pub display_name: String,
}

impl NodeRename {
    /// Reads the params.
    pub fn parse(params: Option<Value>) -> Result<Self, ErrorShape> {
        const KIND: Kind =
            Kind::Object(&[required("nodeId", NAME), required("displayName", GIVEN)]);
        let mut fields = parse_params("node.rename", params, &KIND)?;
        Ok(Self {
            node_id: fields.required_text("nodeId").into(),
            display_name: non_blank(&fields.required_text("displayName"), "displayName required")?,
        })
    }
}
