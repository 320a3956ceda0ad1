//! The run loop of a node host: connect, serve, reconnect for ever.
//!
//! One thread owns the connection and sleeps in it; invokes answer through its uplink from their own
//! threads. It ends when it is told to stop, or when only other credentials could help.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::invoke::{Dispatcher, Invoke, Uplink};
use super::pause::{Failure, Next, after_close, after_failure, close_line};
use crate::client::{Backoff, Budget, ClientError, Connector, Received, Session};
use crate::identity::Random;
use crate::net::{Outbox, Supervisor};
use crate::protocol::frame;

/// How long one connect may take: name, addresses, upgrade, challenge and hello.
const CONNECT_BUDGET: Duration = Duration::from_secs(30);

/// Without events the loop looks around this often; the session notices silence by itself.
const WAIT_SLICE: Duration = Duration::from_secs(3_600);

const NORMAL_CLOSE: u16 = 1000;

/// How the loop ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It was told to stop.
    Stopped,
    /// A supervisor is to start the program anew, with other credentials.
    GaveUp,
}

/// Tells a run loop to stop, from any thread, whatever it is doing.
#[derive(Default)]
pub struct Stop {
    state: Mutex<StopState>,
    requested: Condvar,
}

#[derive(Default)]
struct StopState {
    requested: bool,
    /// What wakes the loop out of its session.
    session: Option<Outbox>,
}

impl Stop {
    /// Asks the loop to end.
    pub fn request(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.requested = true;
        if let Some(session) = &state.session {
            session.poke();
        }
        self.requested.notify_all();
    }

    fn is_requested(&self) -> bool {
        self.state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .requested
    }

    fn watch(&self, session: Option<Outbox>) {
        self.state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .session = session;
    }

    /// Sleeps; true when the loop has to end.
    fn sleep(&self, time: Duration) -> bool {
        let deadline = Instant::now() + time;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while !state.requested {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.requested.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

/// What a run loop works with.
pub struct Host<'a> {
    /// Where and as whom it connects.
    pub connector: Connector<'a>,
    /// Who carries out invokes.
    pub dispatcher: Arc<Dispatcher>,
    /// Lines for people.
    pub report: &'a (dyn Fn(&str) + Sync),
    /// The service manager, told of the first attempt to connect and of every turn of the loop.
    pub supervisor: &'a Supervisor,
}

impl Host<'_> {
    /// Runs until told to stop, or until it gives up.
    pub fn run(&self, stop: &Stop) -> Ending {
        let mut backoff = Backoff::new();
        let mut memory = Memory::default();
        let url = &self.connector.endpoint.url;
        // A gateway that is down is no failed start of the node host.
        self.supervisor.ready(&format!("connecting to {url}"));
        while !stop.is_requested() {
            self.supervisor.beat_if_due();
            let next = match self.connector.connect(&Budget::new(self.connect_budget())) {
                Ok(session) => {
                    backoff.reset();
                    memory = Memory::default();
                    (self.report)(&format!("node host gateway connected: {url}"));
                    let node = self.dispatcher.node_id();
                    let connected = format!("connected to {url} as {node}");
                    (self.report)(&format!("node host {connected}"));
                    self.supervisor.status(&connected);
                    match self.serve(session, stop) {
                        Some(next) => next,
                        None => break,
                    }
                }
                Err(error) => {
                    let (next, lines) = memory.judge(&error);
                    lines.iter().for_each(|line| (self.report)(line));
                    if let Some(line) = lines.first() {
                        self.supervisor.status(line);
                    }
                    next
                }
            };
            let wait = match next {
                Next::Exit => return Ending::GaveUp,
                Next::Pause(wait) => wait,
                Next::BackOff => backoff.wait(),
            };
            if self.rest(wait, stop) {
                break;
            }
        }
        Ending::Stopped
    }

    /// What one connect may take; less where the service manager would miss a sign of life meanwhile.
    fn connect_budget(&self) -> Duration {
        let interval = self.supervisor.interval();
        interval.map_or(CONNECT_BUDGET, |interval| CONNECT_BUDGET.min(interval))
    }

    /// Sleeps, awake enough for signs of life; true when the loop has to end.
    fn rest(&self, time: Duration, stop: &Stop) -> bool {
        let deadline = Instant::now() + time;
        loop {
            self.supervisor.beat_if_due();
            let left = deadline.saturating_duration_since(Instant::now());
            let slice = self.supervisor.interval().map_or(left, |it| it.min(left));
            if stop.sleep(slice) {
                return true;
            }
            if slice == left {
                return false;
            }
        }
    }

    /// Serves a session until it ends; `None` when the loop has to stop.
    fn serve(&self, mut session: Session, stop: &Stop) -> Option<Next> {
        let outbox = session.outbox().clone();
        stop.watch(Some(outbox.clone()));
        let uplink: Uplink = Arc::new(move |method, params| {
            // A session that is gone takes nothing, and nobody waits for an answer.
            let id = Random.uuid();
            outbox.push_text(frame::request(&id, method, Some(&params)));
            id
        });
        let ended = loop {
            if stop.is_requested() {
                break None;
            }
            self.supervisor.beat_if_due();
            let slice = Instant::now() + WAIT_SLICE;
            let deadline = self.supervisor.next_beat();
            match session.next(deadline.map_or(slice, |beat| beat.min(slice))) {
                Ok(Received::Event(notice)) if notice.event.name == "node.invoke.request" => {
                    if let Some(invoke) = Invoke::parse(&notice.event.payload) {
                        self.dispatcher.dispatch(invoke, &uplink);
                    }
                }
                Ok(Received::Response { id, outcome }) => self.dispatcher.answered(&id, &outcome),
                Ok(_) => {}
                Err(error) => break Some(error),
            }
        };
        stop.watch(None);
        match ended {
            None => {
                session.close(NORMAL_CLOSE, "");
                None
            }
            Some(ClientError::Closed { code, reason }) => {
                (self.report)(&close_line(code, &reason));
                Some(after_close(code, &reason))
            }
            Some(error) => {
                (self.report)(&format!("node host gateway closed: {error}"));
                Some(Next::BackOff)
            }
        }
    }
}

/// The last failure, so that a request that still waits for its approval is told once.
#[derive(Default)]
struct Memory {
    waiting: Option<Failure>,
}

impl Memory {
    /// What follows a failed connect, and what is to be said about it.
    fn judge(&mut self, error: &ClientError) -> (Next, Vec<String>) {
        let failure = after_failure(error);
        if self.waiting.as_ref() == Some(&failure) {
            return (failure.next, Vec::new());
        }
        let (next, lines) = (failure.next, failure.lines.clone());
        self.waiting = failure.request_id.is_some().then_some(failure);
        (next, lines)
    }
}

#[cfg(test)]
#[path = "host_tests.rs"]
mod tests;
