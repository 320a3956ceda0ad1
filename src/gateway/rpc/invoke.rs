//! `node.invoke`, its results, and the relayed `exec.approvals.node.*` (protocol.md §7.3, §7.4, §8.2).
//!
//! Asking registers an open invoke, queues the event for the node and returns. The node's result, the
//! deadline or the end of its connection answers the asker through its own outbox, wherever that happens;
//! an asker that is gone is not missed.

use std::time::Instant;

use serde_json::{Map, Value, json};

use super::call::{Call, Outcome, Reply};
use super::question::{Question, conclude};
use crate::gateway::exec_approval::binding::Claim;
use crate::gateway::gate;
use crate::gateway::invoke::Origin;
use crate::gateway::run_params;
use crate::identity::ids::NodeId;
use crate::pairing::AuditEntry;
use crate::protocol::error::ErrorShape;
use crate::protocol::params::{
    ExecApprovalsNodeGet, ExecApprovalsNodeSet, NodeInvoke, NodeInvokeResult,
};

/// The command that runs programs; only some of its parameters pass (§8.5).
const RUN: &str = "system.run";

/// `node.invoke`.
pub fn invoke(call: &Call<'_>, params: Option<Value>) -> Outcome {
    let asked = NodeInvoke::parse(params)?;
    gate::check_forbidden(&asked.command, asked.params.as_ref())?;
    let mut question = Question {
        origin: Origin::Invoke,
        node: asked.node_id,
        command: asked.command,
        params: asked.params,
        timeout_ms: asked.timeout_ms,
        idempotency_key: Some(asked.idempotency_key),
        permit: None,
        audit: None,
    };
    let live = question.live(call)?;
    question.judge(call, &live)?;
    if question.command == RUN {
        let permit = |run_id: &str, params: &Map<String, Value>| {
            let claim = Claim {
                run_id,
                params,
                node: &question.node,
                device: call.session.device.as_ref(),
                conn: &call.session.conn,
            };
            call.context.approvals().permit(&claim, Instant::now())
        };
        (question.params, question.permit) = run_params::forwarded(question.params.take(), permit)?;
    }
    question.ask(call, &live)
}

/// `exec.approvals.node.get`.
pub fn approvals_get(call: &Call<'_>, params: Option<Value>) -> Outcome {
    let asked = ExecApprovalsNodeGet::parse(params)?;
    relay(call, asked.node_id, gate::POLICY_GET, json!({}), None)
}

/// `exec.approvals.node.set`.
pub fn approvals_set(call: &Call<'_>, params: Option<Value>) -> Outcome {
    let asked = ExecApprovalsNodeSet::parse(params)?;
    let relayed = asked.relayed();
    let line = AuditEntry {
        subject: asked.node_id.to_string(),
        before: Some(json!({"hash": asked.base_hash})),
        ..call.audit_line("exec.approvals.node.set")
    };
    relay(
        call,
        asked.node_id,
        gate::POLICY_SET,
        relayed,
        Some(Box::new(line)),
    )
}

/// `node.invoke.result`: late, unknown and foreign results are accepted and ignored.
pub fn result(call: &Call<'_>, params: Option<Value>) -> Outcome {
    let result = NodeInvokeResult::parse(params)?;
    if result.node_id != call.node()? {
        return Err(ErrorShape::invalid("nodeId mismatch"));
    }
    let open = call
        .context
        .registry()
        .invokes
        .take(&call.session.conn, &result.id);
    let Some(open) = open else {
        return Ok(Reply::Now(json!({"ok": true, "ignored": true})));
    };
    conclude(call.context, open, Ok(result));
    Ok(Reply::Now(json!({"ok": true})))
}

/// Asks for or replaces a node's own exec policy: no allowlist names these commands, but the node must be
/// paired (D19).
fn relay(
    call: &Call<'_>,
    node: NodeId,
    command: &str,
    params: Value,
    audit: Option<Box<AuditEntry>>,
) -> Outcome {
    let question = Question {
        origin: Origin::Relay,
        node,
        command: command.to_owned(),
        params: Some(params),
        timeout_ms: None,
        idempotency_key: None,
        permit: None,
        audit,
    };
    let live = question.live(call)?;
    question.judge(call, &live)?;
    question.ask(call, &live)
}
