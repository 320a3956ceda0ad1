//! One live connection to a gateway: requests and their answers, events in order, silence noticed.
//!
//! A session has one owner that waits; it never prints and never reconnects.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::budget::Budget;
use crate::client::error::ClientError;
use crate::client::handshake::Challenge;
use crate::client::transport::{Carried, Transport};
use crate::identity::Random;
use crate::net::{Outbox, Remains};
use crate::protocol::close;
use crate::protocol::connect::ConnectParams;
use crate::protocol::error::ErrorShape;
use crate::protocol::frame::{self, Event, Frame};
use crate::protocol::hello::HelloReceived;
use crate::protocol::limits::{
    MAX_PROTOCOL, MIN_PROTOCOL, TICK_INTERVAL, TICK_INTERVALS_UNTIL_SILENCE,
};

/// Events kept while a request waits for its answer; the oldest go first and leave a gap.
const MAX_QUEUED_EVENTS: usize = 1_024;
/// The shortest and the longest tick interval that are believed.
const TICKS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3_600));
/// How long a closing message may take to leave.
const CLOSE_PATIENCE: Duration = Duration::from_millis(500);
/// The versions that a session may have.
const SPOKEN: RangeInclusive<u64> = MIN_PROTOCOL as u64..=MAX_PROTOCOL as u64;
/// Why a challenge is of no use.
const MISSING_NONCE: &str = "gateway connect challenge missing nonce";

/// What a session received.
#[derive(Debug, Clone, PartialEq)]
pub enum Received {
    /// An event.
    Event(Notice),
    /// The answer to a request sent with [`Session::send`].
    Response {
        /// The request's id.
        id: String,
        /// Its payload, or why it was refused.
        outcome: Result<Value, ErrorShape>,
    },
    /// Nothing until the deadline.
    TimedOut,
    /// Somebody woke the waiter.
    Woken,
}

/// An event and whether some before it were missed.
#[derive(Debug, Clone, PartialEq)]
pub struct Notice {
    /// The event.
    pub event: Event,
    /// Whether numbered events before it are missing: state that was built from events must be listed anew.
    pub gap: bool,
}

/// A connected session.
pub struct Session {
    transport: Box<dyn Transport>,
    hello: HelloReceived,
    hello_payload: Value,
    last_seq: u64,
    lost: bool,
    queued: VecDeque<Notice>,
    last_frame: Instant,
    remains: Option<Remains>,
}

impl Session {
    /// What the gateway said when it accepted the connection.
    pub fn hello(&self) -> &HelloReceived {
        &self.hello
    }

    /// The whole hello-ok payload.
    pub fn hello_payload(&self) -> &Value {
        &self.hello_payload
    }

    /// Sends a request without waiting; the answer arrives as [`Received::Response`] under the returned id.
    pub fn send(&mut self, method: &str, params: &Value) -> String {
        let id = Random.uuid();
        let request = frame::request(&id, method, Some(params));
        // A refused push means that the connection is over, which the next wait reports.
        self.transport.outbox().push_text(request);
        id
    }

    /// Sends a request and waits for its answer. Events that arrive meanwhile are kept.
    ///
    /// # Errors
    /// [`ClientError::Rejected`] with the gateway's error, [`ClientError::Timeout`], [`ClientError::Closed`].
    pub fn request(
        &mut self,
        method: &str,
        params: &Value,
        budget: &Budget,
    ) -> Result<Value, ClientError> {
        self.answer(method, params, budget, false)
    }

    /// The same for a method that first accepts and answers later: an answer with `status: "accepted"` is skipped.
    ///
    /// # Errors
    /// As [`Session::request`].
    pub fn request_final(
        &mut self,
        method: &str,
        params: &Value,
        budget: &Budget,
    ) -> Result<Value, ClientError> {
        self.answer(method, params, budget, true)
    }

    fn answer(
        &mut self,
        method: &str,
        params: &Value,
        budget: &Budget,
        until_final: bool,
    ) -> Result<Value, ClientError> {
        let expected = self.send(method, params);
        loop {
            match self.receive(budget.deadline())? {
                Received::Response { id, outcome } if id == expected => {
                    let payload = outcome.map_err(ClientError::refused)?;
                    let accepted =
                        payload.get("status").and_then(Value::as_str) == Some("accepted");
                    if !(until_final && accepted) {
                        return Ok(payload);
                    }
                }
                Received::Event(notice) => self.keep(notice),
                Received::TimedOut => return Err(budget.timeout()),
                Received::Response { .. } | Received::Woken => {}
            }
        }
    }

    /// The next thing that arrives: kept events first.
    ///
    /// # Errors
    /// [`ClientError::Closed`]; also when the gateway was silent for two tick intervals.
    pub fn next(&mut self, deadline: Instant) -> Result<Received, ClientError> {
        match self.queued.pop_front() {
            Some(notice) => Ok(Received::Event(notice)),
            None => self.receive(deadline),
        }
    }

    /// Where other threads queue requests (`protocol::frame::request`) or poke the owner of this session.
    pub fn outbox(&self) -> &Outbox {
        self.transport.outbox()
    }

    /// The number of the last [`Outbox::ping`] that the gateway answered, 0 before the first.
    pub fn answered(&self) -> u64 {
        self.transport.answered()
    }

    /// Ends the session with a gateway that does not answer any more: nobody is waited for.
    pub fn abandon(mut self, code: u16, reason: &str) -> Option<Remains> {
        say_goodbye(&mut *self.transport, code, reason);
        self.transport.forsake()
    }

    /// What is left of a session that ended because its gateway was silent.
    pub fn remains(&mut self) -> Option<Remains> {
        self.remains.take()
    }

    /// Ends the session with a close code and reason instead of 1000.
    pub fn close(mut self, code: u16, reason: &str) {
        say_goodbye(&mut *self.transport, code, reason);
    }

    fn keep(&mut self, notice: Notice) {
        if self.queued.len() == MAX_QUEUED_EVENTS {
            self.queued.pop_front();
            if let Some(oldest) = self.queued.front_mut() {
                oldest.gap = true;
            }
        }
        self.queued.push_back(notice);
    }

    fn receive(&mut self, deadline: Instant) -> Result<Received, ClientError> {
        loop {
            let silence = self.last_frame + self.tick() * TICK_INTERVALS_UNTIL_SILENCE;
            match self.transport.wait(deadline.min(silence)) {
                Carried::Text(text) => {
                    self.last_frame = Instant::now();
                    if let Some(received) = self.read(&text) {
                        return Ok(received);
                    }
                }
                Carried::Woken => return Ok(Received::Woken),
                Carried::Closed(code, reason) => return Err(ClientError::Closed { code, reason }),
                Carried::TimedOut if Instant::now() >= silence => {
                    let (code, reason) = (close::TICK_TIMEOUT, close::TICK_TIMEOUT_REASON);
                    say_goodbye(&mut *self.transport, code, reason);
                    self.remains = self.transport.forsake();
                    return Err(ClientError::Closed {
                        code,
                        reason: reason.to_owned(),
                    });
                }
                Carried::TimedOut => return Ok(Received::TimedOut),
            }
        }
    }

    /// One frame; text that is none is ignored, as are requests, which a gateway never sends.
    fn read(&mut self, text: &str) -> Option<Received> {
        match Frame::parse(text)? {
            Frame::Event(event) => {
                let gap = self.note_seq(event.seq);
                Some(Received::Event(Notice { event, gap }))
            }
            Frame::Response(response) => Some(Received::Response {
                id: response.id,
                outcome: response.outcome,
            }),
            Frame::Request(_) => None,
        }
    }

    /// Whether numbers before this one are missing.
    fn note_seq(&mut self, seq: Option<u64>) -> bool {
        let Some(seq) = seq else { return false };
        let gap = self.lost || seq != self.last_seq + 1;
        self.last_seq = seq;
        self.lost = false;
        gap
    }

    fn tick(&self) -> Duration {
        let announced = self.hello.tick_interval_ms.map(Duration::from_millis);
        announced.unwrap_or(TICK_INTERVAL).clamp(TICKS.0, TICKS.1)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        say_goodbye(&mut *self.transport, close::NORMAL, "");
    }
}

/// Closes and lets the message leave; a connection that is over already stays as it is.
fn say_goodbye(transport: &mut dyn Transport, code: u16, reason: &str) {
    transport.outbox().close(code, reason);
    let deadline = Instant::now() + CLOSE_PATIENCE;
    while !matches!(
        transport.wait(deadline),
        Carried::Closed(..) | Carried::TimedOut
    ) {}
}

impl std::fmt::Debug for Session {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Session")
            .field("hello", &self.hello)
            .finish_non_exhaustive()
    }
}

/// Carries the handshake over a fresh connection: waits for the challenge, sends what `params` makes of it, waits for
/// hello-ok.
///
/// # Errors
/// The gateway's refusal, [`ClientError::Closed`], [`ClientError::Timeout`], or [`ClientError::NotGateway`].
pub(super) fn handshake(
    mut transport: Box<dyn Transport>,
    params: impl FnOnce(&Challenge) -> ConnectParams,
    budget: &Budget,
) -> Result<Session, ClientError> {
    match shake(&mut *transport, params, budget) {
        Ok((hello, hello_payload)) => {
            transport.trust();
            Ok(Session {
                transport,
                hello,
                hello_payload,
                last_seq: 0,
                lost: false,
                queued: VecDeque::new(),
                last_frame: Instant::now(),
                remains: None,
            })
        }
        Err(error) => {
            let reason = match &error {
                ClientError::NoChallenge { .. } => close::CHALLENGE_TIMEOUT,
                ClientError::NotGateway(what) if what == MISSING_NONCE => close::MISSING_NONCE,
                _ => close::CONNECT_FAILED,
            };
            say_goodbye(&mut *transport, close::POLICY, reason);
            Err(error)
        }
    }
}

fn shake(
    transport: &mut dyn Transport,
    params: impl FnOnce(&Challenge) -> ConnectParams,
    budget: &Budget,
) -> Result<(HelloReceived, Value), ClientError> {
    let challenge = challenge(transport, budget)?;
    let id = Random.uuid();
    let params = params(&challenge).to_value();
    transport
        .outbox()
        .push_text(frame::request(&id, "connect", Some(&params)));
    loop {
        match next_frame(transport, budget.deadline(), budget)? {
            Frame::Response(response) if response.id == id => {
                let payload = response.outcome.map_err(ClientError::refused)?;
                let hello = HelloReceived::parse(&payload);
                let no_hello = || ClientError::NotGateway("its hello is not understood".to_owned());
                let hello = hello.ok_or_else(no_hello)?;
                if !SPOKEN.contains(&hello.protocol) {
                    let refusal = ErrorShape::invalid(close::PROTOCOL_MISMATCH).with_details(
                        json!({"code": "PROTOCOL_MISMATCH", "expectedProtocol": hello.protocol}),
                    );
                    return Err(ClientError::refused(refusal));
                }
                return Ok((hello, payload));
            }
            _ => {}
        }
    }
}

fn challenge(transport: &mut dyn Transport, budget: &Budget) -> Result<Challenge, ClientError> {
    let (started, limit) = (Instant::now(), budget.steps().challenge);
    let deadline = budget.at_most(limit);
    loop {
        let frame = next_frame(transport, deadline, budget).map_err(|error| match error {
            ClientError::Timeout(_) if Instant::now() < budget.deadline() => {
                ClientError::NoChallenge {
                    waited: started.elapsed(),
                    limit,
                }
            }
            error => error,
        })?;
        let Frame::Event(event) = frame else {
            continue;
        };
        if event.name != "connect.challenge" {
            continue;
        }
        let nonce = event
            .payload
            .get("nonce")
            .and_then(Value::as_str)
            .map_or("", str::trim);
        if nonce.is_empty() {
            return Err(ClientError::NotGateway(MISSING_NONCE.to_owned()));
        }
        return Ok(Challenge {
            nonce: nonce.to_owned(),
            timestamp_ms: event.payload.get("ts").and_then(Value::as_u64),
        });
    }
}

/// The next frame before hello-ok; anything that is no frame is skipped.
fn next_frame(
    transport: &mut dyn Transport,
    deadline: Instant,
    budget: &Budget,
) -> Result<Frame, ClientError> {
    loop {
        match transport.wait(deadline) {
            Carried::Text(text) => {
                if let Some(frame) = Frame::parse(&text) {
                    return Ok(frame);
                }
            }
            Carried::Closed(code, reason) => return Err(ClientError::Closed { code, reason }),
            Carried::TimedOut => return Err(budget.timeout()),
            Carried::Woken => {}
        }
    }
}

#[cfg(test)]
mod tests;
