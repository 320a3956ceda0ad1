//! `node.invoke`, its results, and the relayed `exec.approvals.node.*` (protocol.md §7.3, §7.4, §8.2).
//!
//! Asking registers an open invoke, queues the event for the node and returns. The node's result, the
//! deadline or the end of its connection answers the asker through its own outbox, wherever that happens;
//! an asker that is gone is not missed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::call::{Call, Outcome, Reply};
use crate::gateway::context::Context;
use crate::gateway::gate;
use crate::gateway::invoke::{self, Ending, MAX_TIMEOUT, OpenInvoke, Origin};
use crate::gateway::registry::LiveNode;
use crate::gateway::run_params;
use crate::identity::Random;
use crate::identity::ids::{ConnId, NodeId};
use crate::protocol::error::ErrorShape;
use crate::protocol::limits::INVOKE_TIMEOUT;
use crate::protocol::params::{
    ExecApprovalsNodeGet, ExecApprovalsNodeSet, NodeInvoke, NodeInvokeResult,
};

/// The event that asks a node.
const REQUEST_EVENT: &str = "node.invoke.request";

/// First protocol version whose nodes are always told how long the asker waits (§2.5).
const TIMEOUT_ALWAYS_SENT: u8 = 4;

/// The command that runs programs; only some of its parameters pass (§8.5).
const RUN: &str = "system.run";

/// What is to be asked of a node.
struct Question {
    origin: Origin,
    node: NodeId,
    command: String,
    params: Option<Value>,
    timeout_ms: Option<u64>,
    idempotency_key: Option<String>,
}

/// `node.invoke`.
pub fn invoke(call: &Call<'_>, params: Option<Value>) -> Outcome {
    let asked = NodeInvoke::parse(params)?;
    gate::check_forbidden(&asked.command, asked.params.as_ref())?;
    let live = live(call, Origin::Invoke, &asked.node_id, &asked.command)?;
    let state = call.state()?;
    let policy = call.context.command_policy();
    gate::admit(
        &state,
        &live,
        &policy,
        call.context.now_ms(),
        &asked.command,
    )?;
    let params = match asked.command.as_str() {
        RUN => run_params::forwarded(asked.params)?,
        _ => asked.params,
    };
    let question = Question {
        origin: Origin::Invoke,
        node: asked.node_id,
        command: asked.command,
        params,
        timeout_ms: asked.timeout_ms,
        idempotency_key: Some(asked.idempotency_key),
    };
    ask(call, &live, question)
}

/// `exec.approvals.node.get`.
pub fn approvals_get(call: &Call<'_>, params: Option<Value>) -> Outcome {
    let asked = ExecApprovalsNodeGet::parse(params)?;
    relay(call, asked.node_id, gate::POLICY_GET, json!({}))
}

/// `exec.approvals.node.set`.
pub fn approvals_set(call: &Call<'_>, params: Option<Value>) -> Outcome {
    let asked = ExecApprovalsNodeSet::parse(params)?;
    let relayed = asked.relayed();
    relay(call, asked.node_id, gate::POLICY_SET, relayed)
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
    conclude(call.context, open, Ending::Answered(result));
    Ok(Reply::Now(json!({"ok": true})))
}

/// Answers the asker of an invoke that has been taken out of the registry. To be called with no lock held.
pub fn conclude(context: &Context, open: OpenInvoke, ending: Ending) {
    if let Some(timer) = open.timer {
        context.timer.cancel(timer);
    }
    let Some(asker) = context.hub.session(&open.asker) else {
        return;
    };
    let answer = invoke::answer(open.origin, &open.node, &open.command, ending);
    asker.answer(&open.request, &answer);
}

/// Asks for or replaces a node's own exec policy: no allowlist names these commands, but the node must be
/// paired [D19].
fn relay(call: &Call<'_>, node: NodeId, command: &str, params: Value) -> Outcome {
    let live = live(call, Origin::Relay, &node, command)?;
    let state = call.state()?;
    gate::require_pairing(&state, &node, call.context.now_ms(), command)?;
    let question = Question {
        origin: Origin::Relay,
        node,
        command: command.to_owned(),
        params: Some(params),
        timeout_ms: None,
        idempotency_key: None,
    };
    ask(call, &live, question)
}

fn live(
    call: &Call<'_>,
    origin: Origin,
    node: &NodeId,
    command: &str,
) -> Result<Arc<LiveNode>, ErrorShape> {
    let live = call.context.registry().owner(node).cloned();
    match live {
        Some(live) => Ok(live),
        None => Err(refusal(origin, node, command, Ending::NotConnected)),
    }
}

/// Opens the invoke, sets its deadline and queues the event.
fn ask(call: &Call<'_>, live: &LiveNode, question: Question) -> Outcome {
    let Some(node_session) = call.context.hub.session(&live.conn) else {
        return Err(refusal(
            question.origin,
            &question.node,
            &question.command,
            Ending::NotConnected,
        ));
    };
    let id = Random.uuid();
    let event = request_event(&id, live.protocol, &question);
    if question.timeout_ms == Some(0) {
        // The asker does not wait at all; the node is asked nevertheless and its result is late.
        let ending = if node_session.event(REQUEST_EVENT, &event) {
            Ending::TimedOut
        } else {
            Ending::SendFailed
        };
        return Err(refusal(
            question.origin,
            &question.node,
            &question.command,
            ending,
        ));
    }
    let open = OpenInvoke {
        id: id.clone(),
        asker: call.session.conn.clone(),
        request: call.id.to_owned(),
        node: question.node,
        owner: live.conn.clone(),
        command: question.command,
        origin: question.origin,
        timer: None,
    };
    call.context
        .registry()
        .invokes
        .open(open)
        .map_err(|full| full.error())?;
    set_deadline(call.context, &live.conn, &id, question.timeout_ms);
    if !node_session.event(REQUEST_EVENT, &event) {
        end(call.context, &live.conn, &id, Ending::SendFailed);
    } else if call.context.hub.session(&live.conn).is_none() {
        // The node's connection closed between the lookup and the registration.
        end(call.context, &live.conn, &id, Ending::Disconnected);
    }
    Ok(Reply::Later)
}

fn set_deadline(context: &Arc<Context>, owner: &ConnId, id: &str, timeout_ms: Option<u64>) {
    let wait = timeout_ms
        .map_or(INVOKE_TIMEOUT, Duration::from_millis)
        .min(MAX_TIMEOUT);
    let (weak, late_owner, late_id) = (Arc::downgrade(context), owner.clone(), id.to_owned());
    let timer = context.timer.schedule(Instant::now() + wait, move || {
        if let Some(context) = weak.upgrade() {
            end(&context, &late_owner, &late_id, Ending::TimedOut);
        }
    });
    if !context.registry().invokes.attach_timer(owner, id, timer) {
        context.timer.cancel(timer);
    }
}

/// Ends an invoke if it is still open.
fn end(context: &Context, owner: &ConnId, id: &str, ending: Ending) {
    let open = context.registry().invokes.take(owner, id);
    if let Some(open) = open {
        conclude(context, open, ending);
    }
}

fn request_event(id: &str, protocol: u8, question: &Question) -> Value {
    let mut event = Map::new();
    event.insert("id".into(), json!(id));
    event.insert("nodeId".into(), json!(question.node));
    event.insert("command".into(), json!(question.command));
    let params = question.params.as_ref().map(Value::to_string);
    event.insert("paramsJSON".into(), json!(params));
    let default = || (protocol >= TIMEOUT_ALWAYS_SENT).then_some(INVOKE_TIMEOUT.as_millis() as u64);
    if let Some(timeout_ms) = question.timeout_ms.or_else(default) {
        event.insert("timeoutMs".into(), json!(timeout_ms));
    }
    if let Some(key) = &question.idempotency_key {
        event.insert("idempotencyKey".into(), json!(key));
    }
    Value::Object(event)
}

fn refusal(origin: Origin, node: &NodeId, command: &str, ending: Ending) -> ErrorShape {
    match invoke::answer(origin, node, command, ending) {
        Err(error) => error,
        Ok(_) => ErrorShape::unavailable("node invoke failed"),
    }
}
