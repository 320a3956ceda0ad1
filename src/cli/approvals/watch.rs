//! `approvals pending --watch`: approvals as they come and go, over restarts of the gateway.
//!
//! Writes as things happen: with `--json` one object a line. Ends by a signal, by `--until`, or when the gateway does
//! not let this command line in any more.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cli::answer::Answer;
use crate::cli::approvals::board::{Board, Happening};
use crate::cli::approvals::names::Names;
use crate::cli::approvals::pending;
use crate::cli::error::CliError;
use crate::cli::invocation::Invocation;
use crate::cli::output;
use crate::cli::reach::Reach;
use crate::cli::stay::{self, Line, Lost, Stop};
use crate::cli::stream::Stream;
use crate::client::{Received, Session};
use crate::protocol::scope::Scope;
use crate::store::{Clock, SystemClock};

/// How often a list is asked for at most while something should have expired: the clocks may differ.
const LIST_AGAIN: Duration = Duration::from_secs(5);
/// The longest wait without a look at the time.
const LONGEST_WAIT: Duration = Duration::from_secs(3_600);

/// Watches until `until` (milliseconds) is over, or for ever.
///
/// # Errors
/// The first connection fails, or a later one is refused for good.
pub fn watch(invocation: &Invocation, until: Option<u64>) -> Result<Answer, CliError> {
    let stream = Stream::start().map_err(|fault| stay::unavailable(&fault))?;
    let paths = invocation.paths()?;
    let loaded = invocation.load(&paths)?;
    let budget = Duration::from_millis(invocation.milliseconds("timeout"));
    let mut line = Line {
        reach: Reach::new(invocation, &paths, &loaded, budget)?.showing_approvals(),
        budget,
        scopes: [Scope::APPROVALS, Scope::READ].into_iter().collect(),
        end: until.and_then(|until| Instant::now().checked_add(Duration::from_millis(until))),
        opened: false,
    };
    let mut watcher = Watcher {
        invocation,
        stream,
        names: Names::default(),
        board: Board::default(),
    };
    stay::answer(line.keep(|line, session| watcher.follow(line, session)))
}

struct Watcher<'a> {
    invocation: &'a Invocation,
    stream: Stream,
    names: Names,
    board: Board,
}

impl Watcher<'_> {
    /// One connection, until it or the time is over.
    fn follow(&mut self, line: &mut Line, mut session: Session) -> Result<(), Lost> {
        self.list(line, &mut session)?;
        let mut listed = Instant::now();
        while !line.is_over() {
            let deadline = self.deadline(line, listed);
            match session.next(deadline).map_err(|error| line.lost(error))? {
                Received::Event(notice) if notice.gap => {
                    self.take(line, &mut session, &notice.event.name, notice.event.payload)?;
                    self.list(line, &mut session)?;
                    listed = Instant::now();
                }
                Received::Event(notice) => {
                    self.take(line, &mut session, &notice.event.name, notice.event.payload)?;
                }
                Received::TimedOut if !line.is_over() => {
                    self.list(line, &mut session)?;
                    listed = Instant::now();
                }
                Received::Response { .. } | Received::TimedOut | Received::Woken => {}
            }
        }
        Ok(())
    }

    fn take(
        &mut self,
        line: &mut Line,
        session: &mut Session,
        name: &str,
        payload: Value,
    ) -> Result<(), Lost> {
        let happened = match name {
            "exec.approval.requested" => self.board.requested(payload),
            "exec.approval.resolved" => Some(self.board.resolved(payload)),
            _ => None,
        };
        self.tell(line, session, happened.into_iter().collect())
    }

    /// Asks for the list and tells what changed since the last one.
    fn list(&mut self, line: &mut Line, session: &mut Session) -> Result<(), Lost> {
        let listed = line.ask(session, "exec.approval.list", &json!({}))?;
        let now = SystemClock.now_ms();
        let happened = self.board.listed(&listed, now);
        if !std::mem::replace(&mut line.opened, true) && !self.invocation.json() {
            self.learn(line, session, &happened)?;
            let waiting = listed.as_array().map_or(&[][..], Vec::as_slice);
            let table = pending::table(waiting, &self.names, now, self.invocation.style());
            self.stream.write(&table).map_err(Stop::from)?;
            return Ok(());
        }
        self.tell(line, session, happened)
    }

    fn tell(
        &mut self,
        line: &mut Line,
        session: &mut Session,
        happened: Vec<Happening>,
    ) -> Result<(), Lost> {
        self.learn(line, session, &happened)?;
        for happening in happened {
            let text = match self.invocation.json() {
                true => output::line(&happening.document(&self.names)),
                false => happening.line(&self.names, SystemClock.now_ms()),
            };
            self.stream
                .write(&format!("{text}\n"))
                .map_err(Stop::from)?;
        }
        Ok(())
    }

    /// Asks for the names of nodes that are not known yet.
    fn learn(
        &mut self,
        line: &mut Line,
        session: &mut Session,
        happened: &[Happening],
    ) -> Result<(), Lost> {
        let mut nodes = happened.iter().filter_map(Happening::node);
        if nodes.any(|node| !self.names.knows(node)) {
            self.names = Names::of(&line.ask(session, "node.list", &json!({}))?);
        }
        Ok(())
    }

    /// When to look next without an event: at the end, or when something expires.
    fn deadline(&self, line: &Line, listed: Instant) -> Instant {
        let now = SystemClock.now_ms();
        let expiry = self.board.next_end().map(|end| {
            let left = Duration::from_millis(end.saturating_sub(now));
            (Instant::now() + left.min(LONGEST_WAIT)).max(listed + LIST_AGAIN)
        });
        let longest = Instant::now() + LONGEST_WAIT;
        [expiry, line.end]
            .into_iter()
            .flatten()
            .fold(longest, Instant::min)
    }
}
