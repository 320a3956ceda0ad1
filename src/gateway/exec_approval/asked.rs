//! A request for an approval, checked and in the form in which it is stored, shown and bound
//! (protocol.md §8.3).

use serde_json::{Map, Value, json};

use super::binding::{Binding, environment, environment_hash, normalized};
use super::display::{shown, shown_lines};
use crate::exec::plan::Plan;
use crate::identity::ids::NodeId;
use crate::protocol::command_text::format_command;
use crate::protocol::error::ErrorShape;
use crate::protocol::params::{ExecApprovalRequest, ExecDecision};

/// The host whose runs can be approved here.
const NODE: &str = "node";

/// Ids that start like this belong to somebody else.
const RESERVED: &str = "plugin:";

/// Bytes of a stored request: an inline script of a few hundred lines, not a book. With the record around
/// it, it must fit a frame many times.
pub const MAX_BYTES: usize = 256 * 1024;

/// What is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// What the requester called it.
    pub id: Option<String>,
    /// What a decision is bound to; absent for hosts other than `node`.
    pub binding: Option<Binding>,
    /// The node that would run it; absent for other hosts.
    pub node: Option<NodeId>,
    /// Whether a decision may hold for later runs too.
    pub may_last: bool,
    /// `request` as events and lists tell it.
    pub request: Value,
    /// How many bytes `request` has as text.
    pub bytes: usize,
}

impl Asked {
    /// Reads a request, or says what is wrong with it; the checks in the order of the specification.
    pub fn read(params: ExecApprovalRequest) -> Result<Self, ErrorShape> {
        let for_node = params.host.as_deref() == Some(NODE);
        if for_node && params.node_id.is_none() {
            return Err(ErrorShape::invalid("nodeId is required for host=node"));
        }
        let plan = params.system_run_plan.as_ref().and_then(|plan| {
            let plan = Plan::parse(plan).map(normalized);
            plan.filter(|plan| !plan.command_text.is_empty())
        });
        let plan = plan.filter(|_| for_node);
        if for_node && plan.is_none() {
            return Err(ErrorShape::invalid(
                "systemRunPlan is required for host=node",
            ));
        }
        let argv = params.command_argv.as_ref().filter(|argv| !argv.is_empty());
        let text = match &plan {
            Some(plan) => Some(plan.command_text.clone()),
            None => params
                .command
                .clone()
                .or_else(|| argv.map(|argv| format_command(argv))),
        };
        let Some(text) = text else {
            return Err(ErrorShape::invalid("command is required"));
        };
        if params
            .id
            .as_ref()
            .is_some_and(|id| id.starts_with(RESERVED))
        {
            return Err(ErrorShape::invalid(
                "approval ids starting with plugin: are reserved",
            ));
        }
        let pairs = environment(
            params
                .env
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str())),
        );
        let binding = plan.map(|plan| Binding {
            plan,
            environment: environment_hash(&pairs),
        });
        let keys: Vec<&String> = pairs.keys().collect();
        let request = stored(&params, &text, &keys, binding.as_ref());
        let bytes = request.to_string().len();
        if bytes > MAX_BYTES {
            return Err(ErrorShape::invalid(format!(
                "approval request too large (limit {MAX_BYTES} bytes); put a long script into a file on the node"
            )));
        }
        Ok(Self {
            may_last: may_last(&params),
            node: params
                .node_id
                .filter(|_| for_node)
                .map(|node| NodeId::from(node.as_str())),
            id: params.id,
            binding,
            request,
            bytes,
        })
    }

    /// The decisions that may be taken.
    pub fn allowed(&self) -> Vec<ExecDecision> {
        allowed(self.may_last)
    }

    /// The command as it is shown.
    pub fn command(&self) -> &str {
        self.request["command"].as_str().unwrap_or_default()
    }

    /// The shorter text of the command, as it is shown, when there is one that differs.
    pub fn preview(&self) -> Option<String> {
        let preview = self.binding.as_ref()?.plan.command_preview.as_deref()?;
        Some(shown(preview)).filter(|preview| preview != self.command())
    }
}

/// A requester that must ask every time gets no lasting decision.
fn may_last(params: &ExecApprovalRequest) -> bool {
    params.ask.as_deref() != Some("always")
}

fn allowed(may_last: bool) -> Vec<ExecDecision> {
    match may_last {
        true => vec![
            ExecDecision::AllowOnce,
            ExecDecision::AllowAlways,
            ExecDecision::Deny,
        ],
        false => vec![ExecDecision::AllowOnce, ExecDecision::Deny],
    }
}

fn stored(
    params: &ExecApprovalRequest,
    text: &str,
    env_keys: &[&String],
    binding: Option<&Binding>,
) -> Value {
    let plan = binding.map(|binding| &binding.plan);
    let planned = |said: &Option<String>, of: fn(&Plan) -> &Option<String>| match plan {
        Some(plan) => json!(of(plan)),
        None => json!(said),
    };
    let argv = params.command_argv.as_ref().filter(|_| plan.is_none());
    let node = params.node_id.as_ref().filter(|_| plan.is_some());
    let keys = Some(env_keys).filter(|keys| !keys.is_empty());
    let members = [
        ("command", Some(json!(shown(text)))),
        ("commandArgv", argv.map(|argv| json!(argv))),
        ("envKeys", keys.map(|keys| json!(keys))),
        (
            "systemRunBinding",
            Some(binding.map_or(Value::Null, Binding::to_value)),
        ),
        (
            "systemRunPlan",
            Some(plan.map_or(Value::Null, Plan::to_value)),
        ),
        ("cwd", Some(planned(&params.cwd, |plan| &plan.cwd))),
        ("nodeId", Some(json!(node))),
        ("host", Some(json!(params.host))),
        ("security", Some(json!(params.security))),
        ("ask", Some(json!(params.ask))),
        (
            "warningText",
            Some(json!(params.warning_text.as_deref().map(shown_lines))),
        ),
        ("allowedDecisions", Some(json!(allowed(may_last(params))))),
        (
            "agentId",
            Some(planned(&params.agent_id, |plan| &plan.agent_id)),
        ),
        ("resolvedPath", Some(json!(params.resolved_path))),
        (
            "sessionKey",
            Some(planned(&params.session_key, |plan| &plan.session_key)),
        ),
        ("turnSourceChannel", Some(json!(params.turn_source_channel))),
        ("turnSourceTo", Some(json!(params.turn_source_to))),
        (
            "turnSourceAccountId",
            Some(json!(params.turn_source_account_id)),
        ),
        (
            "turnSourceThreadId",
            Some(json!(params.turn_source_thread_id)),
        ),
    ];
    let given = members
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(given.collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(params: Value) -> Result<Asked, String> {
        ExecApprovalRequest::parse(Some(params))
            .and_then(Asked::read)
            .map_err(|error| error.message)
    }

    fn plan() -> Value {
        json!({"argv": ["echo", "hi"], "cwd": "/tmp", "commandText": "echo hi", "commandPreview": null,
            "agentId": "main", "sessionKey": "agent:main:main"})
    }

    #[test]
    fn the_stored_request_is_that_of_the_specification() {
        let asked = read(json!({
            "host": "node", "nodeId": " n ", "systemRunPlan": plan(), "env": {"FOO": "bar"}, "command": "something else",
            "commandArgv": ["x"], "cwd": "/elsewhere", "agentId": "other", "security": "allowlist", "ask": "on-miss",
        }))
        .unwrap();
        assert_eq!(
            asked.request,
            json!({
                "command": "echo hi", "envKeys": ["FOO"],
                "systemRunBinding": {"argv": ["echo", "hi"], "cwd": "/tmp", "agentId": "main", "sessionKey": "agent:main:main",
                    "envHash": "c0a99ace5269b1fa63a9e666bee583d2f5298354494a23dbb42b06abce494159"},
                "systemRunPlan": plan(), "cwd": "/tmp", "nodeId": "n", "host": "node", "security": "allowlist", "ask": "on-miss",
                "warningText": null, "allowedDecisions": ["allow-once", "allow-always", "deny"], "agentId": "main",
                "resolvedPath": null, "sessionKey": "agent:main:main", "turnSourceChannel": null, "turnSourceTo": null,
                "turnSourceAccountId": null, "turnSourceThreadId": null,
            })
        );
        assert_eq!(asked.node, Some(NodeId::from("n")));
    }

    #[test]
    fn other_hosts_have_no_plan_and_no_node() {
        let asked = read(json!({"host": "gateway", "nodeId": "n", "systemRunPlan": plan(), "command": " ls\u{202e} ",
            "commandArgv": ["ls"], "ask": "always", "cwd": "/"}))
        .unwrap();
        let request = &asked.request;
        assert_eq!(
            (
                &request["command"],
                &request["commandArgv"],
                &request["cwd"]
            ),
            (&json!("ls\\u{202E}"), &json!(["ls"]), &json!("/"))
        );
        for name in ["systemRunPlan", "systemRunBinding", "nodeId"] {
            assert_eq!(request[name], Value::Null, "{name}");
        }
        assert_eq!(request["allowedDecisions"], json!(["allow-once", "deny"]));
        assert_eq!(request.get("envKeys"), None);
        assert_eq!((asked.node, asked.binding), (None, None));
    }

    #[test]
    fn what_is_missing_is_told_in_order() {
        let with = |name: &str, value: Value| {
            let mut plan = plan();
            plan[name] = value;
            plan
        };
        let cases = [
            (
                json!({"host": "node", "id": "plugin:x"}),
                "nodeId is required for host=node",
            ),
            (
                json!({"host": "node", "nodeId": "n", "command": "ls"}),
                "systemRunPlan is required for host=node",
            ),
            (
                json!({"host": "node", "nodeId": "n", "systemRunPlan": with("argv", json!([]))}),
                "systemRunPlan is required for host=node",
            ),
            (
                json!({"host": "node", "nodeId": "n", "systemRunPlan": with("commandText", json!(" "))}),
                "systemRunPlan is required for host=node",
            ),
            (json!({"id": "plugin:x"}), "command is required"),
            (json!({"command": "  "}), "command is required"),
            (
                json!({"id": "plugin:x", "command": "ls"}),
                "approval ids starting with plugin: are reserved",
            ),
            (
                json!({"command": "ls", "resolvedPath": "x".repeat(MAX_BYTES)}),
                "approval request too large (limit 262144 bytes); put a long script into a file on the node",
            ),
            (
                json!({"command": "ls", "twoPhase": 1, "timeoutMs": 0, "cwd": 7, "x": 1}),
                "invalid exec.approval.request params: at root: unexpected property 'x'; at /cwd: must be string; \
                 at /cwd: must be null; at /cwd: must match a schema in anyOf; at /timeoutMs: must be >= 1; \
                 at /twoPhase: must be boolean",
            ),
        ];
        for (params, message) in cases {
            assert_eq!(read(params).unwrap_err(), message);
        }
    }
}
