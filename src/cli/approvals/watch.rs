//! `approvals pending --watch`: approvals as they come and go, over restarts of the gateway.
//!
//! Writes as things happen: with `--json` one object a line. Ends by a signal, by `--until`, or when the gateway does
//! not let this command line in any more.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::cli::answer::Answer;
use crate::cli::approvals::board::{Board, Happening};
use crate::cli::approvals::names::Names;
use crate::cli::approvals::pending;
use crate::cli::error::CliError;
use crate::cli::invocation::Invocation;
use crate::cli::reach::Reach;
use crate::cli::{complain, emit, output};
use crate::client::{Backoff, ClientError, Received, Session};
use crate::protocol::error::ErrorCode;
use crate::protocol::scope::{Scope, Scopes};
use crate::store::{Clock, SystemClock};

/// How often a list is asked for at most while something should have expired: the clocks may differ.
const LIST_AGAIN: Duration = Duration::from_secs(5);
/// The longest wait without a look at the time.
const LONGEST_WAIT: Duration = Duration::from_secs(3_600);

/// Exit codes of a command that a signal ended.
const SIGNALS: [(i32, i32); 2] = [(SIGINT, 130), (SIGTERM, 143)];

/// Watches until `until` (milliseconds) is over, or for ever.
///
/// # Errors
/// The first connection fails, or a later one is refused for good.
pub fn watch(invocation: &Invocation, until: Option<u64>) -> Result<Answer, CliError> {
    end_on_signals().map_err(|error| CliError::failed("UNAVAILABLE", error.to_string()))?;
    let paths = invocation.paths()?;
    let loaded = invocation.load(&paths)?;
    let budget = Duration::from_millis(invocation.milliseconds("timeout"));
    let mut watcher = Watcher {
        invocation,
        reach: Reach::new(invocation, &paths, &loaded, budget)?.showing_approvals(),
        budget,
        scopes: [Scope::APPROVALS, Scope::READ].into_iter().collect(),
        end: until.and_then(|until| Instant::now().checked_add(Duration::from_millis(until))),
        names: Names::default(),
        board: Board::default(),
        opened: false,
    };
    match watcher.run() {
        Err(Stop::Failed(error)) => Err(error),
        // A reader that closed the pipe had what it wanted.
        Err(Stop::Output(fault)) if fault.kind() != ErrorKind::BrokenPipe => {
            Err(CliError::failed("UNAVAILABLE", fault.to_string()))
        }
        Ok(()) | Err(Stop::Output(_)) => Ok(Answer::silent()),
    }
}

/// Ctrl-C and SIGTERM end the command at once, with the codes of a command that waited.
fn end_on_signals() -> io::Result<()> {
    for (signal, code) in SIGNALS {
        let always = Arc::new(AtomicBool::new(true));
        signal_hook::flag::register_conditional_shutdown(signal, code, always)?;
    }
    Ok(())
}

/// Why watching ended before its time.
enum Stop {
    Failed(CliError),
    Output(io::Error),
}

impl From<io::Error> for Stop {
    fn from(fault: io::Error) -> Stop {
        Stop::Output(fault)
    }
}

struct Watcher<'a> {
    invocation: &'a Invocation,
    reach: Reach,
    budget: Duration,
    scopes: Scopes,
    end: Option<Instant>,
    names: Names,
    board: Board,
    /// Whether the first list was shown.
    opened: bool,
}

impl Watcher<'_> {
    /// Connects, watches, and connects again until the time is over.
    fn run(&mut self) -> Result<(), Stop> {
        let mut backoff = Backoff::new();
        loop {
            self.reach.restart_budget(self.budget);
            let connected = self.reach.connect(&self.scopes);
            let lost = match connected {
                Ok(session) => {
                    if self.opened {
                        complain("Connected again.")?;
                    }
                    match self.follow(session) {
                        Ok(()) => return Ok(()),
                        Err(Lost::Gateway(error)) => {
                            backoff.reset();
                            error
                        }
                        Err(Lost::For(stop)) => return Err(stop),
                    }
                }
                Err(error) => error,
            };
            if !self.opened || !passes(&lost) {
                return Err(Stop::Failed(lost));
            }
            let wait = backoff.wait();
            let first = lost.to_string();
            let first = first.lines().next().unwrap_or_default();
            complain(&format!("{first}; connecting again in {}s", wait.as_secs()))?;
            let wait = self.end.map_or(wait, |end| {
                wait.min(end.saturating_duration_since(Instant::now()))
            });
            std::thread::sleep(wait);
            if self.is_over() {
                return Ok(());
            }
        }
    }

    /// One connection, until it or the time is over.
    fn follow(&mut self, mut session: Session) -> Result<(), Lost> {
        self.list(&mut session)?;
        let mut listed = Instant::now();
        while !self.is_over() {
            let deadline = self.deadline(listed);
            match session.next(deadline).map_err(|error| self.lost(error))? {
                Received::Event(notice) if notice.gap => {
                    self.take(&mut session, &notice.event.name, notice.event.payload)?;
                    self.list(&mut session)?;
                    listed = Instant::now();
                }
                Received::Event(notice) => {
                    self.take(&mut session, &notice.event.name, notice.event.payload)?;
                }
                Received::TimedOut if !self.is_over() => {
                    self.list(&mut session)?;
                    listed = Instant::now();
                }
                Received::Response { .. } | Received::TimedOut | Received::Woken => {}
            }
        }
        Ok(())
    }

    fn take(&mut self, session: &mut Session, name: &str, payload: Value) -> Result<(), Lost> {
        let happened = match name {
            "exec.approval.requested" => self.board.requested(payload),
            "exec.approval.resolved" => Some(self.board.resolved(payload)),
            _ => None,
        };
        self.tell(session, happened.into_iter().collect())
    }

    /// Asks for the list and tells what changed since the last one.
    fn list(&mut self, session: &mut Session) -> Result<(), Lost> {
        let listed = self.ask(session, "exec.approval.list")?;
        let now = SystemClock.now_ms();
        let happened = self.board.listed(&listed, now);
        if !std::mem::replace(&mut self.opened, true) && !self.invocation.json() {
            self.learn(session, &happened)?;
            let waiting = listed.as_array().map_or(&[][..], Vec::as_slice);
            let table = pending::table(waiting, &self.names, now, self.invocation.style());
            emit(&table).map_err(Stop::from)?;
            return Ok(());
        }
        self.tell(session, happened)
    }

    fn tell(&mut self, session: &mut Session, happened: Vec<Happening>) -> Result<(), Lost> {
        self.learn(session, &happened)?;
        for happening in happened {
            let line = match self.invocation.json() {
                true => output::line(&happening.document(&self.names)),
                false => happening.line(&self.names, SystemClock.now_ms()),
            };
            emit(&format!("{line}\n")).map_err(Stop::from)?;
        }
        Ok(())
    }

    /// Asks for the names of nodes that are not known yet.
    fn learn(&mut self, session: &mut Session, happened: &[Happening]) -> Result<(), Lost> {
        let mut nodes = happened.iter().filter_map(Happening::node);
        if nodes.any(|node| !self.names.knows(node)) {
            self.names = Names::of(&self.ask(session, "node.list")?);
        }
        Ok(())
    }

    fn ask(&mut self, session: &mut Session, method: &str) -> Result<Value, Lost> {
        self.reach.restart_budget(self.budget);
        let answer = session.request(method, &json!({}), self.reach.budget());
        answer.map_err(|error| self.lost(error))
    }

    fn lost(&self, error: ClientError) -> Lost {
        Lost::Gateway(self.reach.failure(error))
    }

    fn is_over(&self) -> bool {
        self.end.is_some_and(|end| Instant::now() >= end)
    }

    /// When to look next without an event: at the end, or when something expires.
    fn deadline(&self, listed: Instant) -> Instant {
        let now = SystemClock.now_ms();
        let expiry = self.board.next_end().map(|end| {
            let left = Duration::from_millis(end.saturating_sub(now));
            (Instant::now() + left.min(LONGEST_WAIT)).max(listed + LIST_AGAIN)
        });
        let longest = Instant::now() + LONGEST_WAIT;
        [expiry, self.end]
            .into_iter()
            .flatten()
            .fold(longest, Instant::min)
    }
}

/// How one connection ended.
enum Lost {
    For(Stop),
    Gateway(CliError),
}

impl From<Stop> for Lost {
    fn from(stop: Stop) -> Lost {
        Lost::For(stop)
    }
}

/// Whether trying again may help: the gateway is away, or says itself that it is not ready.
fn passes(error: &CliError) -> bool {
    let CliError::Client(failure) = error else {
        return false;
    };
    match &failure.error {
        ClientError::Closed { .. }
        | ClientError::NoChallenge { .. }
        | ClientError::NotGateway(_)
        | ClientError::Timeout(_)
        | ClientError::Tunnel { .. }
        | ClientError::Unreachable { .. }
        | ClientError::Unresolvable { .. } => true,
        ClientError::Rejected(shape) => shape.code == ErrorCode::Unavailable,
        ClientError::PairingRequired(_)
        | ClientError::Plaintext { .. }
        | ClientError::Resolve(_)
        | ClientError::Tls { .. } => false,
    }
}
