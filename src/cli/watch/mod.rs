//! `--watch` of `nodes list|status|pending` and `devices list`: the whole picture first, then what changes, over
//! restarts of the gateway.
//!
//! The gateway numbers what happens (`gateway.events`); its live events only wake this command. What cannot be told from
//! where it was is told by a new picture that says so.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cli::answer::Answer;
use crate::cli::error::CliError;
use crate::cli::invocation::Invocation;
use crate::cli::reach::Reach;
use crate::cli::stay::{self, Line, Lost, Stop};
use crate::cli::stream::Stream;
use crate::cli::watch::condition::Condition;
use crate::cli::watch::picture::{Kind, Picture, Selection};
use crate::cli::{output, row};
use crate::client::{Received, Session};
use crate::protocol::scope::Scope;
use crate::store::{Clock, SystemClock};

mod condition;
mod picture;

pub use picture::Kind as What;

/// How long the longest silence is before the gateway is asked what happened: some changes send no event.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

const METHOD: &str = "gateway.events";

/// Options that mean something with `--watch` only.
const ONLY_WATCHING: [&str; 4] = ["until", "after", "node", "device"];

/// Options of the lists that only make sense once.
const FILTERS: [&str; 2] = ["connected", "last-connected"];

/// Watches when `--watch` is given; `None` leaves the command to list once.
///
/// # Errors
/// Options that need `--watch`, a condition that is none, a gateway without numbered events, a condition that did not
/// come true in time, and as every command that asks a gateway.
pub fn watching(invocation: &Invocation, what: Kind) -> Result<Option<Answer>, CliError> {
    if !invocation.has("watch") {
        return match ONLY_WATCHING.iter().find(|name| invocation.has(name)) {
            Some(name) => Err(CliError::rule(format!("error: --{name} needs --watch"))),
            None => Ok(None),
        };
    }
    if let Some(name) = FILTERS.iter().find(|name| invocation.has(name)) {
        let text = format!("error: --{name} does not go with --watch; use --node and --until");
        return Err(CliError::rule(text));
    }
    let until = invocation.text("until").map(Condition::parse).transpose();
    let until = until.map_err(|fault| CliError::rule(format!("Invalid --until: {fault}")))?;
    let stream = Stream::start().map_err(|fault| stay::unavailable(&fault))?;
    let paths = invocation.paths()?;
    let loaded = invocation.load(&paths)?;
    let budget = Duration::from_millis(invocation.milliseconds("timeout"));
    let limited = until.is_some() && invocation.has("timeout");
    let mut line = Line {
        reach: Reach::new(invocation, &paths, &loaded, budget)?,
        budget,
        scopes: [Scope::PAIRING, Scope::READ].into_iter().collect(),
        end: limited
            .then(|| Instant::now().checked_add(budget))
            .flatten(),
        opened: false,
    };
    let mut watcher = Watcher {
        invocation,
        stream,
        what,
        selection: Selection::read(invocation),
        until,
        last: invocation.text("after").map(str::to_owned),
        picture: Picture::default(),
        met: false,
    };
    let ended = line.keep(|line, session| watcher.follow(line, session));
    if ended.is_ok() && !watcher.met {
        let until = watcher.until.map_or("", |until| until.typed);
        let message = format!(
            "gateway timeout after {}ms: {until} did not come true",
            budget.as_millis()
        );
        return Err(CliError::failed("GATEWAY_TIMEOUT", message));
    }
    stay::answer(ended).map(Some)
}

struct Watcher<'a> {
    invocation: &'a Invocation,
    stream: Stream,
    what: Kind,
    selection: Selection<'a>,
    until: Option<Condition<'a>>,
    /// The newest event that was told, or where the picture stood.
    last: Option<String>,
    picture: Picture,
    /// The condition came true.
    met: bool,
}

impl Watcher<'_> {
    /// One connection, until it or the time is over, or the condition is true.
    fn follow(&mut self, line: &mut Line, mut session: Session) -> Result<(), Lost> {
        if !session.hello().methods.iter().any(|name| name == METHOD) {
            return Err(Stop::Failed(CliError::unknown_method(METHOD)).into());
        }
        self.begin(line, &mut session)?;
        while !self.is_met() {
            if line.is_over() {
                return Ok(());
            }
            let look_again = Instant::now() + LOOK_AGAIN;
            let deadline = line.end.map_or(look_again, |end| end.min(look_again));
            match session.next(deadline).map_err(|error| line.lost(error))? {
                Received::Event(notice) if !is_wake(&notice.event.name) && !notice.gap => {}
                Received::Response { .. } | Received::Woken => {}
                Received::Event(_) | Received::TimedOut => self.go_on(line, &mut session)?,
            }
        }
        self.met = true;
        let ended = json!({"id": self.last, "ts": SystemClock.now_ms(), "event": "until",
            "condition": self.until.as_ref().map(|until| until.typed)});
        self.write(&ended)
    }

    /// The picture, unless everything since the last event can be told.
    fn begin(&mut self, line: &mut Line, session: &mut Session) -> Result<(), Lost> {
        let asked = std::mem::replace(&mut line.opened, true) || self.last.is_some();
        if asked {
            let told = self.events(line, session)?;
            if row::flag(&told, "complete") {
                self.look(line, session)?;
                return self.tell(&told);
            }
        }
        self.show(line, session, asked)
    }

    /// What happened since the last look.
    fn go_on(&mut self, line: &mut Line, session: &mut Session) -> Result<(), Lost> {
        let told = self.events(line, session)?;
        if !row::flag(&told, "complete") {
            return self.show(line, session, true);
        }
        // That an operator's device comes and goes is no event of its own.
        let is_silent = self.until.is_some() && self.what == Kind::Devices;
        if is_silent || !row::rows(&told, "events").is_empty() {
            self.picture = Picture::ask(line, session)?;
        }
        self.tell(&told)
    }

    /// The picture that a connection begins with, in which a name means one node at most.
    fn look(&mut self, line: &mut Line, session: &mut Session) -> Result<(), Lost> {
        self.picture = Picture::ask(line, session)?;
        Ok(self.selection.check(&self.picture).map_err(Stop::Failed)?)
    }

    fn events(&self, line: &mut Line, session: &mut Session) -> Result<Value, Lost> {
        let params = match &self.last {
            Some(last) => json!({"after": last}),
            None => json!({}),
        };
        line.ask(session, METHOD, &params)
    }

    /// A whole picture; `missed`: events before it could not be told.
    fn show(&mut self, line: &mut Line, session: &mut Session, missed: bool) -> Result<(), Lost> {
        // Looked at first: what happens while the lists are asked for is told once more, and nothing is lost.
        let position = line.ask(session, METHOD, &json!({}))?;
        self.last = row::text(&position, "last").map(str::to_owned);
        self.look(line, session)?;
        let mut document =
            json!({"id": self.last, "ts": SystemClock.now_ms(), "event": "snapshot"});
        if missed {
            document["missed"] = json!(true);
        }
        if let Some(query) = self.selection.unmet(&self.picture) {
            document["unknown"] = json!(query);
        }
        let lists = self.picture.document(self.what, &self.selection);
        for (name, value) in lists.as_object().into_iter().flatten() {
            document[name] = value.clone();
        }
        self.write(&document)
    }

    fn tell(&mut self, told: &Value) -> Result<(), Lost> {
        for event in row::rows(told, "events") {
            if self.what.tells(event) && self.selection.covers(&self.picture, row::id(event)) {
                self.write(event)?;
            }
        }
        if let Some(last) = row::text(told, "last") {
            self.last = Some(last.to_owned());
        }
        Ok(())
    }

    fn write(&self, document: &Value) -> Result<(), Lost> {
        let text = match self.invocation.json() {
            true => output::line(document),
            false => self.picture.line(document, self.what, &self.selection),
        };
        let written = self.stream.write(&format!("{text}\n"));
        Ok(written.map_err(Stop::from)?)
    }

    fn is_met(&self) -> bool {
        let counts = self.picture.counts(self.what, &self.selection);
        self.until
            .as_ref()
            .is_some_and(|until| until.holds(&counts))
    }
}

/// Whether a live event says that something happened that `gateway.events` tells.
fn is_wake(name: &str) -> bool {
    name == "presence" || name.starts_with("node.pair.") || name.starts_with("device.pair.")
}
