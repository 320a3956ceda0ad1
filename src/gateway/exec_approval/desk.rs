//! Carries out what the book says: answers who waits, tells approvers, sets timers, writes the trail.
//!
//! Called with no lock held; the book's lock is taken for the book alone and released before anything is
//! sent or written.

use std::sync::{Arc, Weak};
use std::time::Instant;

use serde_json::{Value, json};

use super::binding::Permit;
use super::book::{Approval, Due, GRACE, Settled};
use super::display::shown;
use crate::gateway::context::Context;
use crate::gateway::limits::Topic;
use crate::gateway::node_events::clean;
use crate::gateway::session::Session;
use crate::identity::ids::{ConnId, DeviceId, NodeId};
use crate::pairing::{AuditEntry, Caller};
use crate::protocol::params::ExecDecision;
use crate::protocol::scope::{Role, Scope};

/// The event that tells approvers of a request.
pub const REQUESTED_EVENT: &str = "exec.approval.requested";

/// The event that tells approvers of a decision.
pub const RESOLVED_EVENT: &str = "exec.approval.resolved";

/// Who decides when nobody did: what approvals rest on has ended.
const GATEWAY: &str = "gateway";

/// Characters of a command, or of a name that the requester gives, in the trail.
const AUDIT_CHARS: usize = 200;

/// What a request is in events and lists.
pub fn row(approval: &Approval) -> Value {
    json!({
        "id": approval.id,
        "request": approval.asked.request,
        "createdAtMs": approval.created_at_ms,
        "expiresAtMs": approval.expires_at_ms,
    })
}

/// The last answer to a requester, and the only one to whoever waits.
pub fn outcome(approval: &Approval, decision: Option<ExecDecision>) -> Value {
    json!({
        "id": approval.id,
        "decision": decision,
        "createdAtMs": approval.created_at_ms,
        "expiresAtMs": approval.expires_at_ms,
    })
}

/// Whether somebody other than the connection `conn` is there who could decide.
pub fn has_approver(context: &Context, conn: &ConnId) -> bool {
    context.hub.sessions().iter().any(|session| {
        session.conn != *conn
            && session.role == Role::Operator
            && session.scopes.allows(&Scope::APPROVALS)
    })
}

/// Sets the timer of an open request.
pub fn watch(context: &Arc<Context>, approval: &Arc<Approval>) {
    schedule(context, approval, approval.deadline);
}

fn schedule(context: &Arc<Context>, approval: &Arc<Approval>, at: Instant) {
    let (weak, watched) = (Arc::downgrade(context), Arc::clone(approval));
    let timer = context.timer.schedule(at, move || look(&weak, &watched));
    let stale = context.approvals().attach_timer(approval, timer);
    if let Some(stale) = stale {
        context.timer.cancel(stale);
    }
}

fn look(weak: &Weak<Context>, approval: &Arc<Approval>) {
    let Some(context) = weak.upgrade() else {
        return;
    };
    let due = context.approvals().due(approval, Instant::now());
    match due {
        Due::Expired(settled) => expired(&context, settled, "timer"),
        Due::Forgotten => {}
        Due::Later(at) => schedule(&context, approval, at),
    }
}

/// Ends a request that nobody can decide.
pub fn expire(context: &Arc<Context>, approval: &Arc<Approval>, via: &str) {
    let settled = context.approvals().expire(approval, Instant::now());
    if let Some(settled) = settled {
        expired(context, settled, via);
    }
}

/// Nothing is broadcast on expiry.
fn expired(context: &Arc<Context>, settled: Settled, via: &str) {
    if may_note(context) {
        let line = gateway_line("exec.approval.expire", via);
        write(context, line, &settled.approval, json!({}));
    }
    keep_a_while(context, settled);
}

/// Whether one more line may be written that its requester causes alone, as often as it likes: such lines must
/// not push decisions out of the trail.
fn may_note(context: &Context) -> bool {
    context.chatter.allows(Topic::ApprovalAudit, &context.timer)
}

/// Tells a decision of `session`: to approvers, to who waits, and to the trail.
pub fn resolved(context: &Arc<Context>, settled: Settled, session: &Session, caller: &Caller<'_>) {
    let by = session.client.label();
    let requester = &settled.approval.requester;
    let own = requester.conn == session.conn
        || (requester.device.is_some() && requester.device == session.device);
    let withdrawn = own && settled.decision == Some(ExecDecision::Deny);
    if !withdrawn || may_note(context) {
        let line = AuditEntry::by(caller, "exec.approval.resolve", &settled.approval.id);
        let detail = json!({"decision": settled.decision, "resolvedBy": clean(by, AUDIT_CHARS)});
        write(context, line, &settled.approval, detail);
    }
    announce(context, &settled, by);
    keep_a_while(context, settled);
}

fn announce(context: &Context, settled: &Settled, by: &str) {
    let approval = &settled.approval;
    let event = json!({
        "id": approval.id,
        "decision": settled.decision,
        "resolvedBy": by,
        "ts": context.now_ms(),
        "request": approval.asked.request,
    });
    context.hub.broadcast(RESOLVED_EVENT, &event);
}

/// Answers who waits; the record can be found for some seconds more.
fn keep_a_while(context: &Arc<Context>, settled: Settled) {
    let approval = Arc::clone(&settled.approval);
    answer(context, settled);
    schedule(context, &approval, Instant::now() + GRACE);
}

fn answer(context: &Context, settled: Settled) {
    if let Some(timer) = settled.timer {
        context.timer.cancel(timer);
    }
    let answer = outcome(&settled.approval, settled.decision);
    for waiter in settled.waiters {
        if let Some(session) = context.hub.session(&waiter.conn) {
            session.respond(&waiter.request, &answer);
        }
    }
}

/// Ends what rests on a device whose sessions with `role` (all when absent) were ended: what it asked for as
/// an operator, and what it was to run as a node. Returns how many requests and decisions ended.
pub fn revoke_device(context: &Arc<Context>, device: &DeviceId, role: Option<Role>) -> usize {
    let node = NodeId::from(device);
    revoke(context, |approval| {
        let asked = role != Some(Role::Node) && approval.requester.device.as_ref() == Some(device);
        let runs = role != Some(Role::Operator) && approval.asked.node.as_ref() == Some(&node);
        asked || runs
    })
}

/// Ends what `node` was to run, if the node is not paired any more. Returns how many requests and decisions
/// ended.
pub fn revoke_unpaired(context: &Arc<Context>, node: &NodeId) -> usize {
    let paired = context
        .store
        .read(|state| state.nodes.paired.record(node.as_str()).is_some());
    // Nothing may run on records that cannot be read.
    if paired.unwrap_or(false) {
        return 0;
    }
    revoke(context, |approval| {
        approval.asked.node.as_ref() == Some(node)
    })
}

fn revoke(context: &Arc<Context>, chosen: impl Fn(&Approval) -> bool) -> usize {
    let ended = context.approvals().revoke(chosen, Instant::now());
    let count = ended.len();
    for (settled, was_open) in ended {
        let line = gateway_line("exec.approval.revoke", "revocation");
        write(context, line, &settled.approval, json!({"open": was_open}));
        if was_open {
            announce(context, &settled, GATEWAY);
        }
        answer(context, settled);
    }
    count
}

/// Notes a request in the trail, within bounds: a decision about it names its command again.
pub fn note_request(context: &Context, approval: &Approval, caller: &Caller<'_>) {
    if !may_note(context) {
        return;
    }
    let line = AuditEntry::by(caller, "exec.approval.request", &approval.id);
    let detail = json!({"expiresAtMs": approval.expires_at_ms});
    write(context, line, approval, detail);
}

/// Notes in the trail that a decision was used.
pub fn note_use(context: &Context, permit: &Permit, node: &NodeId, caller: &Caller<'_>) {
    let command = shown(permit.command());
    context.store.audit(&AuditEntry {
        detail: Some(json!({
            "decision": permit.decision,
            "command": clean(&command, AUDIT_CHARS),
            "nodeId": node,
        })),
        ..AuditEntry::by(caller, "exec.approval.use", &permit.id)
    });
}

fn gateway_line(action: &'static str, via: &str) -> AuditEntry {
    AuditEntry {
        action,
        by: GATEWAY.to_owned(),
        via: via.to_owned(),
        ..AuditEntry::default()
    }
}

/// Appends a line about `approval`: which command for which node, and `detail`.
fn write(context: &Context, line: AuditEntry, approval: &Approval, mut detail: Value) {
    let request = &approval.asked.request;
    detail["command"] = json!(clean(approval.asked.command(), AUDIT_CHARS));
    for name in ["nodeId", "host", "agentId"] {
        if let Some(text) = request[name].as_str() {
            detail[name] = json!(clean(text, AUDIT_CHARS));
        }
    }
    context.store.audit(&AuditEntry {
        subject: approval.id.clone(),
        detail: Some(detail),
        ..line
    });
}
