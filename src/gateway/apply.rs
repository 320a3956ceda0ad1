//! Carries out what a pairing operation changed, once it is durable: tells, ends, recomputes.
//!
//! Called with the changes that `Store::transact` returned, with no lock held, and before the caller is
//! answered, so that whoever gets the answer finds the change in force. Saving and the audit log are the
//! store's and already done.

use std::sync::Arc;

use crate::gateway::attendance;
use crate::gateway::context::Context;
use crate::gateway::crowd;
use crate::gateway::exec_approval::desk;
use crate::gateway::refilter::refilter;
use crate::identity::{ConnId, DeviceId, NodeId, RequestId};
use crate::pairing::{Change, Changes, Part, SessionEnd};
use crate::protocol::close;
use crate::protocol::scope::Role;

/// What carrying out changes did to live sessions and their invokes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Approvals of single commands that ended, decided ones included.
    pub approvals: usize,
    /// The request with which a live node asks for what it lacks now.
    pub asked: Option<RequestId>,
    /// Invokes that ended without an answer of their node.
    pub invokes: usize,
    /// Set when the caller's own session is among the ended ones: the caller ends it behind the answer.
    pub own: Option<SessionEnd>,
    /// Sessions that were or will be ended, the caller's own included.
    pub sessions: usize,
}

/// Carries out `changes` in their order. `caller` is the connection that will be answered: its own
/// session is not ended here.
pub fn apply(context: &Arc<Context>, changes: Changes, caller: Option<&ConnId>) -> Applied {
    let mut applied = Applied::default();
    let mut requests_moved = false;
    for change in changes {
        match change {
            Change::Emit { event, payload } => {
                context.journal.note(context.now_ms(), event, &payload);
                context.hub.broadcast(event, &payload);
            }
            Change::EndSessions {
                device,
                role,
                reason,
            } => {
                end_sessions(context, &device, role, reason, caller, &mut applied);
            }
            Change::Refilter { node, ask } => {
                applied.approvals += desk::revoke_unpaired(context, &node);
                forget_unpaired(context, &node);
                let found = refilter(context, &node, ask);
                applied.invokes += found.withdrawn;
                applied.asked = found.request.or(applied.asked);
            }
            Change::Save(part) | Change::Touch(part) => {
                requests_moved |= matches!(part, Part::DevicesPending | Part::NodesPending);
            }
            Change::Crowded { source, what } => crowd::note(context, source, what),
            Change::Audit(line) => context.journal.note_line(context.now_ms(), &line),
        }
    }
    if requests_moved {
        context.upkeep.reschedule(context);
    }
    applied
}

/// Ends the live sessions of a device with everything that waits for them.
fn end_sessions(
    context: &Arc<Context>,
    device: &DeviceId,
    role: Option<Role>,
    reason: SessionEnd,
    caller: Option<&ConnId>,
    applied: &mut Applied,
) {
    let why = (close::AUTH_CHANGED, reason.reason());
    let others = context.hub.take_sessions(device, role, caller);
    let ended = attendance::end_all(context, others.into_iter().map(|session| (session, why)));
    applied.invokes += ended.invokes;
    applied.sessions += ended.sessions;
    let own = caller.and_then(|conn| context.hub.session(conn));
    if own.is_some_and(|session| session.is_of(device, role)) && applied.own.is_none() {
        applied.sessions += 1;
        applied.own = Some(reason);
        // Nobody will be there to hear their answers.
        applied.invokes += caller.map_or(0, |conn| attendance::fail_invokes(context, conn));
        attendance::wait_for_what_runs(context);
    }
    // Behind the end of the sessions: what they asked for until then is found, and nothing comes after it.
    applied.approvals += desk::revoke_device(context, device, role);
    if role != Some(Role::Operator) {
        context.pending_work().forget(&NodeId::from(device));
    }
}

/// Drops the errands of `node`, if it is not paired any more: a later approval starts with none (§6.4).
fn forget_unpaired(context: &Context, node: &NodeId) {
    let paired = context
        .store
        .read(|state| state.nodes.paired.record(node.as_str()).is_some());
    if !paired.unwrap_or(false) {
        context.pending_work().forget(node);
    }
}
