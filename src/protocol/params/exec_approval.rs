//! Params of `exec.approval.*`: asking for the approval of one command, and deciding it (specification
//! sections 8.3 and 8.4).

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use serde_json::Value;

use super::non_blank;
use crate::protocol::{
    error::ErrorShape,
    limits::MAX_GIVEN_CHARS,
    schema::{COUNT, Fields, Kind, NAME, NULLABLE_TEXT, TEXT, optional, parse_params, required},
};

/// `exec.approval.request`. Blank texts count as absent; what they mean together is the gateway's to check.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ExecApprovalRequest {
    /// The id to use, of at most 256 characters; drawn by the gateway when absent.
    pub id: Option<String>,
    /// The command as text.
    pub command: Option<String>,
    /// The command as arguments.
    pub command_argv: Option<Vec<String>>,
    /// The prepared plan, checked against its schema.
    pub system_run_plan: Option<Value>,
    /// Environment of the run.
    pub env: BTreeMap<String, String>,
    /// Working directory.
    pub cwd: Option<String>,
    /// The node that would run it.
    pub node_id: Option<String>,
    /// Which kind of host would run it; only `node` can be used here.
    pub host: Option<String>,
    /// The security setting that asks, as the requester says.
    pub security: Option<String>,
    /// The ask setting that asks, as the requester says.
    pub ask: Option<String>,
    /// A warning for whoever decides.
    pub warning_text: Option<String>,
    /// The agent that would run it.
    pub agent_id: Option<String>,
    /// The program, as the requester resolved it.
    pub resolved_path: Option<String>,
    /// The session that would run it.
    pub session_key: Option<String>,
    /// Where the conversation came from that led to it: channel.
    pub turn_source_channel: Option<String>,
    /// See [`Self::turn_source_channel`]: recipient.
    pub turn_source_to: Option<String>,
    /// See [`Self::turn_source_channel`]: account.
    pub turn_source_account_id: Option<String>,
    /// See [`Self::turn_source_channel`]: thread, a text or a number.
    pub turn_source_thread_id: Option<Value>,
    /// How long to wait for a decision, milliseconds, at least 1.
    pub timeout_ms: Option<u64>,
    /// Whether the request is answered twice: when it is accepted, and when it is decided.
    pub two_phase: bool,
}

/// `{argvIndex, path, sha256}`: the one script file that an interpreter will read.
const OPERAND: Kind = Kind::Object(&[
    required("argvIndex", COUNT),
    required("path", TEXT),
    required("sha256", TEXT),
]);

const PLAN: Kind = Kind::Object(&[
    required("argv", Kind::List { of: &TEXT, min: 0 }),
    required("cwd", NULLABLE_TEXT),
    required("commandText", TEXT),
    optional("commandPreview", NULLABLE_TEXT),
    required("agentId", NULLABLE_TEXT),
    required("sessionKey", NULLABLE_TEXT),
    optional("mutableFileOperand", Kind::AnyOf(&[OPERAND, Kind::Null])),
]);

const REQUEST: Kind = Kind::Object(&[
    optional(
        "id",
        Kind::Bounded {
            of: &NAME,
            max: MAX_GIVEN_CHARS,
        },
    ),
    optional("command", NAME),
    optional("commandArgv", Kind::List { of: &TEXT, min: 0 }),
    optional("systemRunPlan", Kind::AnyOf(&[PLAN, Kind::Null])),
    optional("env", Kind::Map(&TEXT)),
    optional("cwd", NULLABLE_TEXT),
    optional("nodeId", NULLABLE_TEXT),
    optional("host", NULLABLE_TEXT),
    optional("security", NULLABLE_TEXT),
    optional("ask", NULLABLE_TEXT),
    optional("warningText", NULLABLE_TEXT),
    optional("agentId", NULLABLE_TEXT),
    optional("resolvedPath", NULLABLE_TEXT),
    optional("sessionKey", NULLABLE_TEXT),
    optional("turnSourceChannel", NULLABLE_TEXT),
    optional("turnSourceTo", NULLABLE_TEXT),
    optional("turnSourceAccountId", NULLABLE_TEXT),
    optional(
        "turnSourceThreadId",
        Kind::AnyOf(&[TEXT, Kind::Number, Kind::Null]),
    ),
    optional(
        "timeoutMs",
        Kind::Integer {
            min: 1,
            max: i64::MAX,
        },
    ),
    optional("twoPhase", Kind::Boolean),
]);

impl ExecApprovalRequest {
    /// Reads the params.
    pub fn parse(params: Option<Value>) -> Result<Self, ErrorShape> {
        let mut fields = parse_params("exec.approval.request", params, &REQUEST)?;
        let given = |fields: &mut Fields, name: &str| {
            let text = fields.text(name)?;
            Some(text.trim().to_owned()).filter(|text| !text.is_empty())
        };
        let present = |value: Option<Value>| value.filter(|value| !value.is_null());
        let env = match fields.value("env") {
            Some(Value::Object(env)) => env,
            _ => serde_json::Map::new(),
        };
        let env = env
            .into_iter()
            .filter_map(|(name, value)| Some((name, value.as_str()?.to_owned())));
        Ok(Self {
            id: given(&mut fields, "id"),
            command: given(&mut fields, "command"),
            command_argv: fields.texts("commandArgv"),
            system_run_plan: present(fields.value("systemRunPlan")),
            env: env.collect(),
            cwd: given(&mut fields, "cwd"),
            node_id: given(&mut fields, "nodeId"),
            host: given(&mut fields, "host"),
            security: given(&mut fields, "security"),
            ask: given(&mut fields, "ask"),
            warning_text: given(&mut fields, "warningText"),
            agent_id: given(&mut fields, "agentId"),
            resolved_path: given(&mut fields, "resolvedPath"),
            session_key: given(&mut fields, "sessionKey"),
            turn_source_channel: given(&mut fields, "turnSourceChannel"),
            turn_source_to: given(&mut fields, "turnSourceTo"),
            turn_source_account_id: given(&mut fields, "turnSourceAccountId"),
            turn_source_thread_id: present(fields.value("turnSourceThreadId")),
            timeout_ms: fields.count("timeoutMs"),
            two_phase: fields.boolean("twoPhase").unwrap_or(false),
        })
    }
}

/// What was decided about a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExecDecision {
    /// It may run once.
    AllowOnce,
    /// It may run, and the node remembers its rule.
    AllowAlways,
    /// It may not run.
    Deny,
}

impl ExecDecision {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AllowOnce => "allow-once",
            Self::AllowAlways => "allow-always",
            Self::Deny => "deny",
        }
    }

    /// The decision a word stands for.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::AllowOnce, Self::AllowAlways, Self::Deny]
            .into_iter()
            .find(|decision| decision.as_str() == word)
    }
}

impl fmt::Display for ExecDecision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// `exec.approval.resolve`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecApprovalResolve {
    /// The full id, or the start of one.
    pub id: String,
    /// What is decided.
    pub decision: ExecDecision,
}

impl ExecApprovalResolve {
    /// Reads the params.
    pub fn parse(params: Option<Value>) -> Result<Self, ErrorShape> {
        const KIND: Kind = Kind::Object(&[required("id", NAME), required("decision", NAME)]);
        let mut fields = parse_params("exec.approval.resolve", params, &KIND)?;
        let decision = ExecDecision::parse(&fields.required_text("decision"));
        Ok(Self {
            id: fields.required_text("id"),
            decision: decision.ok_or_else(|| ErrorShape::invalid("invalid decision"))?,
        })
    }
}

/// `exec.approval.get`: the full id, or the start of one.
pub fn parse_approval_id(params: Option<Value>) -> Result<String, ErrorShape> {
    const KIND: Kind = Kind::Object(&[required("id", NAME)]);
    let mut fields = parse_params("exec.approval.get", params, &KIND)?;
    Ok(fields.required_text("id"))
}

/// `exec.approval.waitDecision`: the full id; everything else is ignored.
pub fn parse_awaited_id(params: Option<Value>) -> Result<String, ErrorShape> {
    let id = params
        .as_ref()
        .and_then(|params| params.get("id")?.as_str());
    non_blank(id.unwrap_or_default(), "id is required")
}
