//! A question to a node on its way: judged, opened, sent, and ended by whoever is first (protocol.md
//! §7.2, §7.3).
//!
//! Opening and judging are ordered so that neither the closing of the node's connection nor the end of its
//! approval can slip in between: whatever happens later finds the open invoke and ends it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::call::{Call, Outcome, Reply};
use crate::gateway::context::Context;
use crate::gateway::ending::{Ending, Fault, answer};
use crate::gateway::exec_approval::binding::{ClaimFault, Permit};
use crate::gateway::exec_approval::desk;
use crate::gateway::gate;
use crate::gateway::invoke::{Full, MAX_TIMEOUT, OpenInvoke, Origin};
use crate::gateway::metrics::InvokeEnd;
use crate::gateway::registry::{LiveNode, NotOpened};
use crate::gateway::session::Session;
use crate::identity::Random;
use crate::identity::ids::{ConnId, NodeId};
use crate::net::Outbox;
use crate::pairing::{AuditEntry, State};
use crate::protocol::error::ErrorShape;
use crate::protocol::limits::{FIRST_WITH_TIMEOUT_ALWAYS, INVOKE_TIMEOUT, MAX_HASH_CHARS};

/// The event that asks a node.
pub const REQUEST_EVENT: &str = "node.invoke.request";

/// Longest frame id that is kept until a node answers: real ones have about 40 bytes, and what one caller
/// can make the gateway remember must be bounded.
const MAX_REQUEST_ID_BYTES: usize = 1_024;

/// What is to be asked of a node.
pub struct Question {
    /// Which method asks.
    pub origin: Origin,
    /// Which node.
    pub node: NodeId,
    /// Which command.
    pub command: String,
    /// Its parameters; absent is not the same as `null`.
    pub params: Option<Value>,
    /// How long the asker waits, milliseconds.
    pub timeout_ms: Option<u64>,
    /// Forwarded to the node.
    pub idempotency_key: Option<String>,
    /// The decision that lets it run; used up when the event is queued for the node, and not before. A
    /// question that never gets so far (the node is gone, busy, or may not be asked) leaves it as it is; what
    /// was queued counts as run, whatever becomes of it then.
    pub permit: Option<Permit>,
    /// The line for the trail when the node has done it, without what holds then.
    pub audit: Option<Box<AuditEntry>>,
}

/// Bars what could not be answered later: what one caller can make the gateway remember must be bounded.
pub fn check_request_id(call: &Call<'_>, awaited: &str) -> Result<(), ErrorShape> {
    if call.id.len() <= MAX_REQUEST_ID_BYTES {
        return Ok(());
    }
    Err(ErrorShape::invalid(format!(
        "request id too long to wait for {awaited} (limit {MAX_REQUEST_ID_BYTES} bytes)"
    )))
}

/// Whether one more event would make the node count as a slow consumer, which would end its session for
/// something that its askers did.
fn too_much_waits(outbox: &Outbox, event: &Value) -> bool {
    // Quotes of JSON in JSON double at worst.
    !outbox.has_room(event["paramsJSON"].as_str().map_or(0, str::len) * 2)
}

impl Question {
    /// The connection that owns the node now.
    pub fn live(&self, call: &Call<'_>) -> Result<Arc<LiveNode>, ErrorShape> {
        let live = call.context.registry().owner(&self.node).cloned();
        live.ok_or_else(|| self.refusal(Fault::NotConnected))
    }

    /// Whether the node may be asked this now.
    pub fn judge(&self, call: &Call<'_>, live: &LiveNode) -> Result<(), ErrorShape> {
        self.judge_by(&*call.state()?, call, live)
    }

    fn judge_by(&self, state: &State, call: &Call<'_>, live: &LiveNode) -> Result<(), ErrorShape> {
        let now_ms = call.context.now_ms();
        match self.origin {
            Origin::Invoke => {
                let policy = call.context.command_policy();
                gate::admit(state, live, &policy, now_ms, &self.command)
            }
            Origin::Relay => gate::require_pairing(state, &self.node, now_ms, &self.command),
        }
    }

    /// Opens the invoke, sets its deadline and queues the event.
    pub fn ask(&self, call: &Call<'_>, live: &LiveNode) -> Outcome {
        check_request_id(call, "a node")?;
        let Some(node_session) = call.context.hub.session(&live.conn) else {
            return Err(self.refusal(Fault::NotConnected));
        };
        let id = Random.uuid();
        let event = self.event(&id, live.protocol);
        if too_much_waits(&node_session.outbox, &event) {
            return Err(Full::Node.error());
        }
        if self.timeout_ms == Some(0) {
            return Err(self.unawaited(call, &node_session, &event)?);
        }
        let open = OpenInvoke {
            id: id.clone(),
            asker: call.session.conn.clone(),
            request: call.id.to_owned(),
            node: self.node.clone(),
            owner: live.conn.clone(),
            command: self.command.clone(),
            origin: self.origin,
            asked_at: Instant::now(),
            timer: None,
            audit: self.audit.clone(),
        };
        let opened = {
            // Under the registry's lock: the end of an asker ends what it opened before, and bars the rest.
            let mut registry = call.context.registry();
            call.still_here()?;
            registry.open(open)
        };
        opened.map_err(|refused| match refused {
            NotOpened::Full(full) => full.error(),
            NotOpened::Gone => self.refusal(Fault::NotConnected),
        })?;
        // A removal that came between the judgement and the opening found nothing to withdraw.
        if let Err(refusal) = self.judge_by(&call.context.store.known(), call, live) {
            let taken = call.context.registry().invokes.take(&live.conn, &id);
            // Whoever withdrew it meanwhile has answered it.
            return taken.map_or(Ok(Reply::Later), |open| {
                count(call.context, &open, InvokeEnd::Withdrawn);
                Err(refusal)
            });
        }
        set_deadline(call.context, &live.conn, &id, self.timeout_ms);
        // Under the registry's lock: no withdrawal falls between the look and the queueing.
        let sent = {
            let registry = call.context.registry();
            if !registry.invokes.is_open(&live.conn, &id) {
                return Ok(Reply::Later);
            }
            self.send(call, &node_session, &event)
        };
        match sent {
            Ok(true) => self.note_use(call),
            Ok(false) => end(call.context, &live.conn, &id, Fault::SendFailed),
            Err(fault) => return self.withdraw(call, live, &id, &fault),
        }
        Ok(Reply::Later)
    }

    /// Uses the permit up and queues the event; `false` when the node takes no more. To be called under the
    /// registry's lock.
    fn send(&self, call: &Call<'_>, node: &Session, event: &Value) -> Result<bool, ClaimFault> {
        let Some(permit) = &self.permit else {
            return Ok(node.event(REQUEST_EVENT, event));
        };
        let now = Instant::now();
        call.context.approvals().spend(permit, now)?;
        let sent = node.event(REQUEST_EVENT, event);
        if !sent {
            call.context.approvals().unspend(permit, now);
        }
        Ok(sent)
    }

    fn note_use(&self, call: &Call<'_>) {
        if let Some(permit) = &self.permit {
            desk::note_use(call.context, permit, &self.node, &call.caller());
        }
    }

    /// Takes an invoke back whose permit was used up, or ended, meanwhile.
    fn withdraw(&self, call: &Call<'_>, live: &LiveNode, id: &str, fault: &ClaimFault) -> Outcome {
        let taken = call.context.registry().invokes.take(&live.conn, id);
        // Whoever withdrew it meanwhile has answered it.
        let Some(open) = taken else {
            return Ok(Reply::Later);
        };
        count(call.context, &open, InvokeEnd::Withdrawn);
        if let Some(timer) = open.timer {
            call.context.timer.cancel(timer);
        }
        Err(self.claim_refusal(fault))
    }

    fn claim_refusal(&self, fault: &ClaimFault) -> ErrorShape {
        fault.error(self.permit.as_ref().map_or("", |permit| &permit.id))
    }

    /// Asks for an asker that does not wait at all, and says how that ends: the node is asked nevertheless
    /// and its result is late.
    fn unawaited(
        &self,
        call: &Call<'_>,
        node: &Session,
        event: &Value,
    ) -> Result<ErrorShape, ErrorShape> {
        let sent = {
            let _registry = call.context.registry();
            call.still_here()?;
            self.send(call, node, event)
        };
        match sent {
            Ok(true) => {
                self.note_use(call);
                Ok(self.refusal(Fault::TimedOut))
            }
            Ok(false) => Ok(self.refusal(Fault::SendFailed)),
            Err(fault) => Err(self.claim_refusal(&fault)),
        }
    }

    fn event(&self, id: &str, protocol: u8) -> Value {
        let mut event = Map::new();
        event.insert("id".into(), json!(id));
        event.insert("nodeId".into(), json!(self.node));
        event.insert("command".into(), json!(self.command));
        let params = self.params.as_ref().map(Value::to_string);
        event.insert("paramsJSON".into(), json!(params));
        let always =
            || (protocol >= FIRST_WITH_TIMEOUT_ALWAYS).then_some(INVOKE_TIMEOUT.as_millis() as u64);
        if let Some(timeout_ms) = self.timeout_ms.or_else(always) {
            event.insert("timeoutMs".into(), json!(timeout_ms));
        }
        if let Some(key) = &self.idempotency_key {
            event.insert("idempotencyKey".into(), json!(key));
        }
        Value::Object(event)
    }

    fn refusal(&self, fault: Fault) -> ErrorShape {
        fault.error(self.origin, &self.command)
    }
}

/// Answers the asker of an invoke that has been taken out of the registry. To be called with no lock held.
pub fn conclude(context: &Context, open: OpenInvoke, ending: Ending) {
    if let Some(timer) = open.timer {
        context.timer.cancel(timer);
    }
    let how = match &ending {
        Ok(result) if result.ok => InvokeEnd::Ok,
        Ok(_) => InvokeEnd::NodeError,
        Err(fault) => InvokeEnd::from(*fault),
    };
    count(context, &open, how);
    let done = match &ending {
        Ok(result) => result.ok.then_some(true),
        Err(_) => Some(false),
    };
    let outcome = answer(open.origin, &open.node, &open.command, ending);
    if let (Some(line), Some(known)) = (open.audit, done) {
        note_edit(context, *line, outcome.as_ref().ok().filter(|_| known));
    }
    if let Some(asker) = context.hub.session(&open.asker) {
        asker.answer(&open.request, &outcome);
    }
}

/// Counts an invoke that is over.
pub fn count(context: &Context, open: &OpenInvoke, how: InvokeEnd) {
    context.counters.invokes.note(how as usize);
    context.counters.invoke_time.note(open.asked_at.elapsed());
}

/// Notes an edit of a node's policy in the trail: with the hash that the node told, if it is one, or as one
/// whose outcome is not known.
pub fn note_edit(context: &Context, line: AuditEntry, answer: Option<&Value>) {
    let told = |answer: &Value| {
        let hash = answer["hash"].as_str()?;
        (hash.chars().count() <= MAX_HASH_CHARS).then(|| hash.to_owned())
    };
    context.store.audit(&match answer {
        Some(answer) => AuditEntry {
            after: Some(json!({"hash": told(answer)})),
            ..line
        },
        None => AuditEntry {
            detail: Some(json!({"outcome": "unknown"})),
            ..line
        },
    });
}

fn set_deadline(context: &Arc<Context>, owner: &ConnId, id: &str, timeout_ms: Option<u64>) {
    let wait = timeout_ms
        .map_or(INVOKE_TIMEOUT, Duration::from_millis)
        .min(MAX_TIMEOUT);
    let (weak, late_owner, late_id) = (Arc::downgrade(context), owner.clone(), id.to_owned());
    let timer = context.timer.schedule(Instant::now() + wait, move || {
        if let Some(context) = weak.upgrade() {
            end(&context, &late_owner, &late_id, Fault::TimedOut);
        }
    });
    if !context.registry().invokes.attach_timer(owner, id, timer) {
        context.timer.cancel(timer);
    }
}

/// Ends an invoke if it is still open.
fn end(context: &Context, owner: &ConnId, id: &str, fault: Fault) {
    let open = context.registry().invokes.take(owner, id);
    if let Some(open) = open {
        conclude(context, open, Err(fault));
    }
}
