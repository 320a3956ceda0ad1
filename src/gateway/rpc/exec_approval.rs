//! `exec.approval.*`: asking for the approval of a command and deciding it (protocol.md §8.3, §8.4).
//!
//! A requester is answered when its request is decided, or its time is over, by whoever finds that out; no
//! handler waits. With `twoPhase` it is told first that the request was accepted.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::call::{Call, Outcome, Reply};
use super::question::check_request_id;
use crate::gateway::exec_approval::book::{
    Approval, Awaited, DEFAULT_TIMEOUT, MAX_OPEN_PER_REQUESTER, MAX_RECORDS, NotFound, NotOpened,
    NotResolved, Requester, Waiter,
};
use crate::gateway::exec_approval::{Asked, desk};
use crate::identity::Random;
use crate::protocol::error::ErrorShape;
use crate::protocol::params::{
    ExecApprovalRequest, ExecApprovalResolve, parse_approval_id, parse_awaited_id,
};

/// Milliseconds after which a caller that hit a bound may ask again.
const RETRY_MS: u64 = 5_000;

/// `exec.approval.request`.
pub fn request(call: &Call<'_>, params: Option<Value>) -> Outcome {
    let params = ExecApprovalRequest::parse(params)?;
    check_request_id(call, "a decision")?;
    let timeout = params
        .timeout_ms
        .map_or(DEFAULT_TIMEOUT, Duration::from_millis);
    let two_phase = params.two_phase;
    let asked = Asked::read(params)?;
    let requester = Requester {
        conn: call.session.conn.clone(),
        device: call.session.device.clone(),
    };
    let approval = {
        // Under the book's lock: the end of a requester ends what it asked for before, and bars the rest.
        let mut book = call.context.approvals();
        call.still_here()?;
        let now = (Instant::now(), call.context.now_ms());
        book.open(asked, requester, timeout, || Random.uuid(), now)
            .map_err(not_opened)?
    };
    desk::note_request(call.context, &approval, &call.caller());
    call.context
        .hub
        .broadcast(desk::REQUESTED_EVENT, &desk::row(&approval));
    if !desk::has_approver(call.context, &call.session.conn) {
        desk::expire(call.context, &approval, "no approver");
        return Ok(Reply::Now(desk::outcome(&approval, None)));
    }
    desk::watch(call.context, &approval);
    if two_phase {
        // Before anybody waits for the decision: the answers keep their order.
        call.session.respond(call.id, &accepted(&approval));
    }
    wait(call, &approval.id)
}

/// `exec.approval.list`: whatever its params are.
pub fn list(call: &Call<'_>) -> Outcome {
    let pending = call.context.approvals().pending(Instant::now());
    let rows = pending.iter().map(|approval| desk::row(approval)).collect();
    Ok(Reply::Now(Value::Array(rows)))
}

/// `exec.approval.get`: what an approver needs to decide.
pub fn get(call: &Call<'_>, params: Option<Value>) -> Outcome {
    let id = parse_approval_id(params)?;
    let approval = call.context.approvals().find(&id, Instant::now());
    let approval = approval.map_err(not_found)?;
    let asked = &approval.asked;
    Ok(Reply::Now(json!({
        "id": approval.id,
        "commandText": asked.command(),
        "commandPreview": asked.preview(),
        "allowedDecisions": asked.allowed(),
        "host": asked.request["host"],
        "nodeId": asked.request["nodeId"],
        "agentId": asked.request["agentId"],
        "expiresAtMs": approval.expires_at_ms,
    })))
}

/// `exec.approval.waitDecision`: answered when it is decided.
pub fn wait_decision(call: &Call<'_>, params: Option<Value>) -> Outcome {
    let id = parse_awaited_id(params)?;
    check_request_id(call, "a decision")?;
    wait(call, &id)
}

/// `exec.approval.resolve`.
pub fn resolve(call: &Call<'_>, params: Option<Value>) -> Outcome {
    let ExecApprovalResolve { id, decision } = ExecApprovalResolve::parse(params)?;
    let settled = {
        let mut book = call.context.approvals();
        call.still_here()?;
        book.resolve(&id, decision, &call.session.conn, Instant::now())
    };
    if let Some(settled) = settled.map_err(not_resolved)? {
        desk::resolved(call.context, settled, call.session, &call.caller());
    }
    Ok(Reply::Now(json!({"ok": true})))
}

/// Lets the caller wait for the decision about the request with exactly this id.
fn wait(call: &Call<'_>, id: &str) -> Outcome {
    let waiter = Waiter {
        conn: call.session.conn.clone(),
        request: call.id.to_owned(),
    };
    let awaited = {
        let mut book = call.context.approvals();
        call.still_here()?;
        book.wait(id, waiter, Instant::now())
    };
    let Some((approval, awaited)) = awaited else {
        return Err(ErrorShape::invalid("approval expired or not found"));
    };
    match awaited {
        Awaited::Ended(decision) => Ok(Reply::Now(desk::outcome(&approval, decision))),
        Awaited::Full => Err(too_many(
            "too many answers to exec approvals are waited for; wait for some of them",
        )),
        Awaited::Waiting => Ok(Reply::Later),
    }
}

fn accepted(approval: &Approval) -> Value {
    json!({
        "status": "accepted",
        "id": approval.id,
        "createdAtMs": approval.created_at_ms,
        "expiresAtMs": approval.expires_at_ms,
    })
}

fn not_opened(refused: NotOpened) -> ErrorShape {
    match refused {
        NotOpened::GatewayFull => too_many(&format!(
            "too many exec approvals wait on this gateway (limit {MAX_RECORDS}, 8 MiB together); resolve some of them"
        )),
        NotOpened::Known => ErrorShape::invalid("approval id already pending"),
        NotOpened::RequesterFull => too_many(&format!(
            "too many exec approvals of this requester wait (limit {MAX_OPEN_PER_REQUESTER}); resolve some of them"
        )),
    }
}

fn too_many(message: &str) -> ErrorShape {
    ErrorShape::unavailable(message)
        .with_details(json!({"code": "TOO_MANY_APPROVALS"}))
        .with_retry(RETRY_MS)
}

fn not_found(refused: NotFound) -> ErrorShape {
    match refused {
        NotFound::Ambiguous => {
            ErrorShape::invalid("ambiguous approval id prefix; use the full id")
        }
        NotFound::Unknown => {
            ErrorShape::invalid("unknown or expired approval id").with_details(json!({
                "reason": "APPROVAL_NOT_FOUND",
                "remediation": "Re-request the action; pending approvals are cleared after expiry or restart.",
            }))
        }
    }
}

fn not_resolved(refused: NotResolved) -> ErrorShape {
    let (message, reason) = match refused {
        NotResolved::NotFound(why) => return not_found(why),
        NotResolved::AlwaysUnavailable => (
            "allow-always is unavailable because the effective policy requires approval every time",
            "APPROVAL_ALLOW_ALWAYS_UNAVAILABLE",
        ),
        NotResolved::AlreadyResolved => ("approval already resolved", "APPROVAL_ALREADY_RESOLVED"),
        NotResolved::OwnRequest => (
            "the connection that asked for an approval cannot allow it; decide it from another client",
            "APPROVAL_OWN_REQUEST",
        ),
    };
    ErrorShape::invalid(message).with_details(json!({"reason": reason}))
}
