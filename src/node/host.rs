//! The run loop of a node host: connect, serve, reconnect for ever.
//!
//! One thread owns the connection and sleeps in it; invokes answer through its uplink from their own
//! threads. It ends when it is told to stop, or when only other credentials could help.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::control::{Control, Patience, Waited};
use super::invoke::{Dispatcher, Invoke, Surface, Uplink};
use super::pause::{Failure, Next, after_close, after_failure, close_line};
use crate::client::{
    Backoff, Budget, ClientError, ConnectIdentity, Connector, Received, Session, Steps,
};
use crate::identity::Random;
use crate::net::{Remains, Supervisor};
use crate::protocol::frame::Event;
use crate::protocol::limits::CHALLENGE_TIMEOUT;
use crate::protocol::scope::Role;
use crate::protocol::{close, frame};

/// How long one connect may take at least: name, addresses, upgrade, challenge and hello.
const CONNECT_BUDGET: Duration = Duration::from_secs(30);

/// How long a name is looked up: the system's resolver asks a second server after 5 s.
const LOOKUP_LIMIT: Duration = Duration::from_secs(12);

/// How long one address may take to answer. The system repeats a lost SYN after 1 s and 3 s and would then
/// wait ever longer; a new attempt starts over.
const REACH_LIMIT: Duration = Duration::from_millis(3_500);

/// While nothing at all answers, attempts follow each other this fast: there is nobody to spare, and the
/// network may come back where this machine cannot see it.
const LOST_LONGEST: Duration = Duration::from_millis(2_000);

/// How long the gateway may take to answer a ping after the network changed. Within this it also repeats
/// what it sent while the network was away for less than that.
const PROBE_PATIENCE: Duration = Duration::from_secs(3);

/// The same failure again is told no more often than this.
const REPEAT_LINES: Duration = Duration::from_secs(60);

/// Without events the loop looks around this often; the session notices silence by itself.
const WAIT_SLICE: Duration = Duration::from_secs(3_600);

/// How the loop ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It was told to stop.
    Stopped,
    /// A supervisor is to start the program anew, with other credentials.
    GaveUp,
}

/// What a run loop works with.
pub struct Host<'a> {
    /// Where and as whom it connects.
    pub connector: Connector<'a>,
    /// Who carries out invokes.
    pub dispatcher: Arc<Dispatcher>,
    /// What is declared at the next connect.
    pub surface: &'a (dyn Fn() -> Surface + Sync),
    /// How long the gateway may take to send its challenge.
    pub challenge_limit: Duration,
    /// Called after each answer to a connect, a refusal too: what stands there is the gateway that was meant.
    pub answered: &'a (dyn Fn() + Sync),
    /// What else can be done where nothing answers.
    pub remedy: Option<&'a str>,
    /// Lines for people.
    pub report: &'a (dyn Fn(&str) + Sync),
    /// The service manager, told of the first attempt to connect and of every turn of the loop.
    pub supervisor: &'a Supervisor,
}

impl Host<'_> {
    /// Runs until told to stop, or until it gives up.
    pub fn run(&self, control: &Control) -> Ending {
        let mut backoff = Backoff::new();
        let mut memory = Memory::default();
        let lost: RefCell<Option<Remains>> = RefCell::new(None);
        // The gateway hears of the end of a lost session before the next one comes: one of 2026.4.29 would
        // take that one off its list with it.
        let reached = || {
            if let Some(lost) = lost.take() {
                lost.bury();
            }
        };
        let url = self.connector.endpoint.name();
        // A gateway that is down is no failed start of the node host.
        self.supervisor.ready(&format!("connecting to {url}"));
        while !control.is_stopped() {
            self.supervisor.beat_if_due();
            let outcome = self.connect(&reached);
            if outcome.as_ref().err().is_none_or(ClientError::is_rejection) {
                (self.answered)();
            }
            let next = match outcome {
                Ok(session) => {
                    backoff.reset();
                    memory = Memory::default();
                    self.announce(&session, &url);
                    match self.serve(session, control, &lost) {
                        Some(next) => next,
                        None => break,
                    }
                }
                Err(error) => {
                    if let ClientError::Closed { code, reason } = &error {
                        self.forget_refused_token(*code, reason);
                    }
                    let (next, lines) = memory.judge(&error, Instant::now());
                    lines.iter().for_each(|line| (self.report)(line));
                    if !lines.is_empty() && error.nobody_answered() {
                        self.remedy.into_iter().for_each(self.report);
                    }
                    if let Some(line) = lines.first() {
                        self.supervisor.status(line);
                    }
                    next
                }
            };
            let (wait, patience) = match next {
                Next::Exit => return Ending::GaveUp,
                Next::Pause(wait) => (wait, Patience::Steady),
                Next::BackOff => (backoff.wait(), Patience::Hasty),
                Next::Lost => (backoff.wait_at_most(LOST_LONGEST), Patience::Hasty),
            };
            match self.rest(wait, patience, control) {
                Waited::NetworkChanged => backoff.reset(),
                Waited::Passed => {}
                Waited::Stopped => break,
            }
        }
        Ending::Stopped
    }

    /// Says where it is connected now, and what its commands wait for.
    fn announce(&self, session: &Session, url: &str) {
        (self.report)(&format!("node host gateway connected: {url}"));
        let connected = format!("connected to {url} as {}", self.dispatcher.node_id());
        (self.report)(&format!("node host {connected}"));
        if let Some(request) = &session.hello().pending_node_request {
            let approve = format!("openclaw nodes approve {request}");
            (self.report)(&format!("Commands wait for an approval: {approve}"));
        }
        self.supervisor.status(&connected);
    }

    /// Connects, declaring what this host offers now.
    fn connect(&self, reached: &dyn Fn()) -> Result<Session, ClientError> {
        let Surface { caps, commands } = (self.surface)();
        let identity = ConnectIdentity {
            caps,
            commands,
            ..self.connector.identity.clone()
        };
        let connector = Connector {
            identity: &identity,
            ..self.connector
        };
        connector.connect_once_reached(&self.budget(), reached)
    }

    /// What one connect may take; less where the service manager would miss a sign of life meanwhile.
    fn budget(&self) -> Budget {
        let steps = Steps {
            lookup: LOOKUP_LIMIT,
            reach: REACH_LIMIT,
            challenge: self.challenge_limit,
        };
        let extra = self.challenge_limit.saturating_sub(CHALLENGE_TIMEOUT);
        let whole = CONNECT_BUDGET.saturating_add(extra);
        let interval = self.supervisor.interval();
        Budget::new(interval.map_or(whole, |interval| whole.min(interval))).with_steps(steps)
    }

    /// Waits before the next attempt, awake enough for signs of life.
    fn rest(&self, time: Duration, patience: Patience, control: &Control) -> Waited {
        let deadline = Instant::now() + time;
        loop {
            self.supervisor.beat_if_due();
            let left = deadline.saturating_duration_since(Instant::now());
            let slice = self.supervisor.interval().map_or(left, |it| it.min(left));
            let waited = control.wait(slice, patience);
            if waited != Waited::Passed || slice == left {
                return waited;
            }
        }
    }

    /// Serves a session until it ends; `None` when the loop has to stop.
    fn serve(
        &self,
        mut session: Session,
        control: &Control,
        lost: &RefCell<Option<Remains>>,
    ) -> Option<Next> {
        let outbox = session.outbox().clone();
        control.watch(Some(outbox.clone()));
        // What changed while it was connected has not hurt.
        control.take_network_change();
        let uplink: Uplink = {
            let outbox = outbox.clone();
            Arc::new(move |method, params| {
                // A session that is gone takes nothing, and nobody waits for an answer.
                let id = Random.uuid();
                outbox.push_text(frame::request(&id, method, Some(&params)));
                id
            })
        };
        let mut probed: Option<(u64, Instant)> = None;
        let ended = loop {
            if control.is_stopped() {
                break None;
            }
            // A change during a probe waits for the next one: the answer may be older than the change.
            if probed.is_none() && control.take_network_change() {
                probed = Some((outbox.ping(), Instant::now() + PROBE_PATIENCE));
            }
            self.supervisor.beat_if_due();
            let deadline = probed.map(|(_, deadline)| deadline);
            let wakes = [deadline, self.supervisor.next_beat()];
            let slice = Instant::now() + WAIT_SLICE;
            match session.next(wakes.into_iter().flatten().fold(slice, Instant::min)) {
                Ok(Received::Event(notice)) if notice.event.name == "node.invoke.request" => {
                    if let Some(invoke) = Invoke::parse(&notice.event.payload) {
                        self.dispatcher.dispatch(invoke, &uplink);
                    }
                }
                Ok(Received::Event(notice)) if self.was_taken_off(&notice.event) => {
                    control.watch(None);
                    return Some(self.come_again(session));
                }
                Ok(Received::Response { id, outcome }) => self.dispatcher.answered(&id, &outcome),
                Ok(_) => {}
                Err(error) => break Some(error),
            }
            if probed.is_some_and(|(ping, _)| session.answered() >= ping) {
                probed = None;
            } else if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                control.watch(None);
                return Some(self.give_up(session, lost));
            }
        };
        control.watch(None);
        match ended {
            None => {
                session.close(close::NORMAL, "");
                None
            }
            Some(ClientError::Closed { code, reason }) => {
                (self.report)(&close_line(code, &reason));
                lost.replace(session.remains());
                self.forget_refused_token(code, &reason);
                Some(after_close(code, &reason))
            }
            Some(error) => {
                (self.report)(&format!("node host gateway closed: {error}"));
                Some(Next::BackOff)
            }
        }
    }

    /// Whether the gateway shows this host as gone although it is connected. Gateways of 2026.4.29 do so when an
    /// earlier connection of a node ends after a newer one has come, as after a cut of the network, and then
    /// send the node nothing any more. A row names a device by its id, whatever else it is called.
    fn was_taken_off(&self, event: &Event) -> bool {
        let own = Some(self.dispatcher.node_id());
        let rows = event.payload.get("presence").and_then(Value::as_array);
        event.name == "presence"
            && rows.into_iter().flatten().any(|row| {
                let word = |name: &str| row.get(name).and_then(Value::as_str);
                word("reason") == Some("disconnect") && word("deviceId") == own
            })
    }

    /// Leaves in order, to be put on the gateway's list anew.
    fn come_again(&self, session: Session) -> Next {
        let line = "node host gateway lists this node as gone; connecting anew";
        (self.report)(line);
        session.close(close::NORMAL, "");
        Next::BackOff
    }

    /// Ends a session that did not survive a change of the network.
    fn give_up(&self, session: Session, lost: &RefCell<Option<Remains>>) -> Next {
        let reason = "no answer after the network changed";
        (self.report)(&close_line(close::TICK_TIMEOUT, reason));
        lost.replace(session.abandon(close::TICK_TIMEOUT, reason));
        Next::Pause(Duration::ZERO)
    }

    /// Drops the device token that a close calls wrong, unless a shared secret was shown instead (section 1.8).
    fn forget_refused_token(&self, code: u16, reason: &str) {
        let refused = code == close::POLICY && reason.contains("device token mismatch");
        if refused && !self.connector.endpoint.credentials.any() {
            if let Some(device) = self.connector.device {
                device.tokens.forget(Role::Node);
            }
        }
    }
}

/// The last failure, so that one that goes on is not told at every attempt.
#[derive(Default)]
struct Memory {
    last: Option<(Failure, Instant)>,
}

impl Memory {
    /// What follows a failed connect, and what is to be said about it: nothing about a request that still waits
    /// for its approval, and the rest at most once a minute.
    fn judge(&mut self, error: &ClientError, now: Instant) -> (Next, Vec<String>) {
        let failure = after_failure(error);
        let (next, lines) = (failure.next, failure.lines.clone());
        match &self.last {
            Some((last, told))
                if *last == failure
                    && (failure.request_id.is_some() || now < *told + REPEAT_LINES) =>
            {
                (next, Vec::new())
            }
            _ => {
                self.last = Some((failure, now));
                (next, lines)
            }
        }
    }
}

#[cfg(test)]
#[path = "host_tests.rs"]
mod tests;
