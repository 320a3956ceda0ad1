//! `audit tail`: the newest lines, and with `--follow` those that come, over rotations.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::Instant;

use rustix::event::PollFlags;
use serde_json::{Value, json};

use crate::cli::answer::Answer;
use crate::cli::audit::{Place, view};
use crate::cli::error::CliError;
use crate::cli::invocation::Invocation;
use crate::cli::stream::Stream;
use crate::cli::{output, row};
use crate::net::FileEvents;
use crate::net::file_events::LOOK_INTERVAL;
use crate::net::readiness::wait_all;
use crate::store::audit::files::Follower;
use crate::store::{AuditTrail, Clock, SystemClock};

/// Which lines are wanted.
#[derive(Debug, Default)]
struct Query {
    /// At most this many of those that are there; `None`: all.
    lines: Option<usize>,
    /// Epoch milliseconds before which none is wanted.
    since: u64,
    /// Kinds of lines; none: every kind.
    kinds: Vec<String>,
}

impl Query {
    fn read(invocation: &Invocation, now: u64) -> Result<Query, CliError> {
        let since = invocation.duration("since")?;
        let typed = invocation.value("lines").map(str::trim);
        let invalid = || CliError::rule("Invalid --lines: expected a whole number");
        let lines = match typed {
            Some(text) => Some(text.parse().map_err(|_| invalid())?),
            // Who names a time wants everything since.
            None if since.is_some() => None,
            None => Some(view::DEFAULT_LINES),
        };
        Ok(Query {
            lines,
            since: since.map_or(0, |span| now.saturating_sub(span)),
            kinds: invocation
                .values("kind")
                .into_iter()
                .map(str::to_owned)
                .collect(),
        })
    }

    fn wants(&self, entry: &Value) -> bool {
        let action = row::text(entry, "action").unwrap_or_default();
        let is_kind = |kind: &String| {
            let rest = action.strip_prefix(kind.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        row::number(entry, "ts").unwrap_or_default() >= self.since
            && (self.kinds.is_empty() || self.kinds.iter().any(is_kind))
    }

    /// The wanted line, if it is one.
    fn select(&self, line: &[u8]) -> Option<Value> {
        let entry = serde_json::from_slice(line).ok();
        entry.filter(|entry: &Value| entry.is_object() && self.wants(entry))
    }

    /// What is wanted of the whole lines of a trail, the oldest first.
    fn newest(&self, trail: &AuditTrail) -> io::Result<VecDeque<Value>> {
        let mut found = VecDeque::new();
        trail.each(|line| {
            found.extend(self.select(&line.bytes).filter(|_| line.ended));
            while self.lines.is_some_and(|lines| found.len() > lines) {
                found.pop_front();
            }
            Ok::<(), io::Error>(())
        })?;
        Ok(found)
    }
}

/// `audit tail`.
///
/// # Errors
/// Another machine's gateway is meant, a wrong option, or a trail that cannot be read.
pub fn tail(invocation: &Invocation) -> Result<Answer, CliError> {
    let now = SystemClock.now_ms();
    let query = Query::read(invocation, now)?;
    let place = Place::of(invocation)?;
    let read = || {
        let trail = AuditTrail::open(&place.file)?;
        Ok((query.newest(&trail)?, trail.follow()?))
    };
    let (found, follower) = read().map_err(|fault: io::Error| place.unreadable(&fault))?;
    if invocation.has("follow") {
        return match stay(invocation, &place.file, &query, &found, follower) {
            // A reader that closed the pipe had what it wanted.
            Err(fault) if fault.kind() != ErrorKind::BrokenPipe => Err(place.unreadable(&fault)),
            _ => Ok(Answer::silent()),
        };
    }
    let text = match found.is_empty() {
        true => format!("No lines in {}.\n", place.shown()),
        false => found
            .iter()
            .map(|entry| view::line(entry, view::aged(entry, now)))
            .collect(),
    };
    Ok(Answer::new(
        json!({"path": place.file, "entries": found}),
        text,
    ))
}

/// Writes what is there, then what comes, until a signal or the reader ends it.
fn stay(
    invocation: &Invocation,
    path: &Path,
    query: &Query,
    found: &VecDeque<Value>,
    mut follower: Follower,
) -> io::Result<()> {
    let stream = Stream::start()?;
    let write = |entry: &Value| {
        stream.write(&match invocation.json() {
            true => format!("{}\n", output::line(entry)),
            // An age would be wrong a moment later.
            false => view::line(entry, view::dated(entry)),
        })
    };
    found.iter().try_for_each(write)?;
    let directory = path.parent().unwrap_or(path);
    loop {
        // Watched before looking, so that nothing comes in between.
        let events = FileEvents::watch([directory], [path]);
        for line in follower.read()? {
            if let Some(entry) = query.select(&line) {
                write(&entry)?;
            }
        }
        match events.descriptor().filter(|_| directory.is_dir()) {
            Some(descriptor) => drop(wait_all(&[(descriptor, PollFlags::IN)], None::<Instant>)?),
            None => std::thread::sleep(LOOK_INTERVAL),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_wanted_by_kind_and_time() {
        let entry = |ts: u64, action: &str| json!({"ts": ts, "action": action});
        let query = |since: u64, kinds: &[&str]| Query {
            lines: None,
            since,
            kinds: kinds.iter().map(|kind| (*kind).to_owned()).collect(),
        };
        for (since, kinds, entry, wanted) in [
            (0, &[][..], entry(5, "device.approve"), true),
            (6, &[], entry(5, "device.approve"), false),
            (5, &[], entry(5, "device.approve"), true),
            (0, &["device"], entry(5, "device.approve"), true),
            (0, &["device.approve"], entry(5, "device.approve"), true),
            (0, &["dev"], entry(5, "device.approve"), false),
            (0, &["device.app"], entry(5, "device.approve"), false),
            (0, &["node", "device"], entry(5, "device.approve"), true),
            (0, &["node"], entry(5, "device.approve"), false),
        ] {
            assert_eq!(
                query(since, kinds).wants(&entry),
                wanted,
                "{since} {kinds:?} {entry}"
            );
        }
        let all = query(0, &[]);
        assert_eq!(all.select(b"{\"ts\":1,\"acti"), None);
        assert_eq!(all.select(b"[]"), None);
    }
}
