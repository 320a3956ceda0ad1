//! One request on its way through a handler: who asks, and how a change of the pairing state is carried
//! out and answered.

use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value, json};

use crate::gateway::apply::{Applied, apply};
use crate::gateway::context::Context;
use crate::gateway::refusal::store_unavailable;
use crate::gateway::session::Session;
use crate::identity::ids::NodeId;
use crate::pairing::{AuditEntry, Caller, Changes, Refusal, SessionEnd, State};
use crate::protocol::error::ErrorShape;
use crate::store::TransactError;

/// What a handler has to say.
pub type Outcome = Result<Reply, ErrorShape>;

/// When and how a request is answered.
#[derive(Debug, PartialEq)]
pub enum Reply {
    /// With this payload, after which the caller's own session ends.
    Last(Value, SessionEnd),
    /// By somebody else, when the node answers or does not.
    Later,
    /// With this payload.
    Now(Value),
}

/// One authorized request.
pub struct Call<'a> {
    /// The gateway.
    pub context: &'a Arc<Context>,
    /// Who asks.
    pub session: &'a Arc<Session>,
    /// Frame id of the request.
    pub id: &'a str,
    /// Name of the method.
    pub method: &'static str,
}

impl Call<'_> {
    /// On whose authority the pairing rules judge this request.
    pub fn caller(&self) -> Caller<'_> {
        Caller {
            scopes: &self.session.scopes,
            device_bound: self.session.device_bound(),
            own_device: self.session.own_device(),
            label: self.label(),
            via: self.method.to_owned(),
            from: self.session.reported_ip,
        }
    }

    /// The begin of a line in the trail about something this caller does.
    pub fn audit_line(&self, action: &'static str) -> AuditEntry {
        AuditEntry::by(&self.caller(), action, "")
    }

    /// The calling node's id; every session with role node has one.
    pub fn node(&self) -> Result<NodeId, ErrorShape> {
        self.session
            .node()
            .ok_or_else(|| ErrorShape::invalid("node identity required"))
    }

    /// Looks at the last durable pairing state.
    pub fn state(&self) -> Result<Arc<State>, ErrorShape> {
        self.context.store.snapshot().map_err(|fault| {
            log::error!(target: "gateway", "{}: {fault}", self.method);
            store_unavailable()
        })
    }

    /// Runs a pairing operation, waits until it is durable, and tells everybody what it changed. Other
    /// sessions that it ends are over when this returns, with their invokes; the caller's own is left to
    /// [`Reply::Last`].
    pub fn commit<T>(
        &self,
        operation: impl FnMut(&mut State, u64) -> Result<(T, Changes), Refusal>,
    ) -> Result<(T, Applied), ErrorShape> {
        let mut operation = operation;
        let (value, changes) = self
            .context
            .store
            .transact(|state, now| {
                // Whoever ended it meanwhile answers only after this look (`apply`).
                if self.session.has_ended() {
                    return Err(Barred::Ended);
                }
                operation(state, now).map_err(Barred::Refused)
            })
            .map_err(|error| self.refused(error))?;
        Ok((
            value,
            apply(self.context, changes, Some(&self.session.conn)),
        ))
    }

    /// [`Call::commit`] for an operation whose value is the answer.
    pub fn commit_and_answer<T: Serialize>(
        &self,
        operation: impl FnMut(&mut State, u64) -> Result<(T, Changes), Refusal>,
    ) -> Outcome {
        let (value, applied) = self.commit(operation)?;
        Ok(Reply::after(applied, payload(&value)?))
    }

    /// [`Call::commit`] for an operation that may end sessions, invokes and approvals; the answer says how
    /// many, and with which request a live node asks again.
    pub fn commit_and_count<T: Serialize>(
        &self,
        operation: impl FnMut(&mut State, u64) -> Result<(T, Changes), Refusal>,
    ) -> Outcome {
        let (value, applied) = self.commit(operation)?;
        let mut answer = payload(&value)?;
        answer["sessionsEnded"] = json!(applied.sessions);
        answer["invokesEnded"] = json!(applied.invokes);
        answer["approvalsEnded"] = json!(applied.approvals);
        if let Some(request) = &applied.asked {
            answer["pendingRequestId"] = json!(request);
        }
        Ok(Reply::after(applied, answer))
    }

    /// Bars what is left of a request whose session was ended while it ran. To be asked under the lock
    /// that guards the effect; whoever ends a session takes that lock before answering.
    pub fn still_here(&self) -> Result<(), ErrorShape> {
        match self.session.has_ended() {
            true => Err(session_ended()),
            false => Ok(()),
        }
    }

    fn label(&self) -> String {
        let client = &self.session.client;
        match &self.session.device {
            Some(device) => format!("{} device {device}", client.id),
            None => format!("{} {}", client.id, self.session.auth.as_str()),
        }
    }

    fn refused(&self, error: TransactError<Barred>) -> ErrorShape {
        match error {
            TransactError::Refused(Barred::Ended) => session_ended(),
            TransactError::Refused(Barred::Refused(refusal)) => {
                if let Some(denial) = refusal.denial() {
                    log::warn!(target: "gateway", "{} denied to {}: {denial}", self.method, self.label());
                }
                refusal_shape(&refusal)
            }
            TransactError::Store(fault) => {
                log::error!(target: "gateway", "{}: {fault}", self.method);
                store_unavailable()
            }
        }
    }
}

impl Reply {
    /// The answer `payload`, behind which the caller's own session ends if the change ended it too.
    pub fn after(applied: Applied, payload: Value) -> Reply {
        match applied.own {
            Some(end) => Reply::Last(payload, end),
            None => Reply::Now(payload),
        }
    }
}

/// Why an operation did not run or changed nothing.
enum Barred {
    /// The session of the caller was ended meanwhile.
    Ended,
    /// The pairing rules refuse it.
    Refused(Refusal),
}

/// Nobody is there to hear it.
fn session_ended() -> ErrorShape {
    ErrorShape::unavailable("session ended")
}

/// A refusal of the pairing rules as it goes over the wire.
pub fn refusal_shape(refusal: &Refusal) -> ErrorShape {
    let shape = match refusal.is_unavailable() {
        true => match refusal {
            Refusal::Crowded(full) => {
                ErrorShape::unavailable(refusal.to_string()).with_retry(full.retry_after_ms)
            }
            _ => ErrorShape::unavailable(refusal.to_string()),
        },
        false => ErrorShape::invalid(refusal.to_string()),
    };
    match refusal.details() {
        Some(details) => shape.with_details(details),
        None => shape,
    }
}

/// An answer as JSON.
pub fn payload<T: Serialize>(answer: &T) -> Result<Value, ErrorShape> {
    serde_json::to_value(answer).map_err(|fault| {
        log::error!(target: "gateway", "an answer cannot be written: {fault}");
        ErrorShape::unavailable("internal error")
    })
}
