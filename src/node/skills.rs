//! The programs of the gateway's skills, which count as allowed where the policy says so (node-host
//! specification, section 3.8).
//!
//! The list is asked for only when a run needs it, by the thread of that run; the answer comes through the
//! thread that reads the session, which never waits here. An answer that does not come, or is an error,
//! leaves the list as it was.

use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::invoke::Uplink;
use crate::exec::which;
use crate::protocol::error::ErrorShape;

/// How long a list counts, and how often a gateway is asked at most.
const FRESH: Duration = Duration::from_secs(90);

/// How long a run waits for the answer before it goes on with the list as it is.
const PATIENCE: Duration = Duration::from_secs(5);

/// Programs taken from one answer.
const MAX_BINS: usize = 1_000;

/// Names and paths of the programs of skills.
#[derive(Default)]
pub struct Skills {
    state: Mutex<State>,
    answered: Condvar,
}

#[derive(Default)]
struct State {
    uplink: Option<Uplink>,
    /// The id of a request that is not answered yet.
    pending: Option<String>,
    asked: Option<Instant>,
    programs: Vec<(String, PathBuf)>,
}

impl Skills {
    /// The session that is to be asked from now on.
    pub fn attach(&self, uplink: &Uplink) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state
            .uplink
            .as_ref()
            .is_some_and(|it| Arc::ptr_eq(it, uplink))
        {
            return;
        }
        state.uplink = Some(Arc::clone(uplink));
        state.asked = None;
        state.pending = None;
        self.answered.notify_all();
    }

    /// The answer to one of the session's requests; others than the one about skills are ignored.
    /// `path` is the search path of this machine.
    pub fn answer(&self, id: &str, outcome: &Result<Value, ErrorShape>, path: &str) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.pending.as_deref() != Some(id) {
            return;
        }
        state.pending = None;
        let bins = outcome
            .as_ref()
            .ok()
            .and_then(|answer| answer.get("bins")?.as_array());
        if let Some(bins) = bins {
            let names = bins
                .iter()
                .filter_map(Value::as_str)
                .map(str::trim)
                .take(MAX_BINS);
            let found = |name: &str| Some((name.to_owned(), which::find(name, path).ok()?));
            state.programs = names.filter_map(found).collect();
        }
        self.answered.notify_all();
    }

    /// The list. Asks for it when it is old, and waits a while for the answer.
    pub fn programs(&self) -> Vec<(String, PathBuf)> {
        self.programs_within(PATIENCE)
    }

    fn programs_within(&self, patience: Duration) -> Vec<(String, PathBuf)> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if state
            .asked
            .is_none_or(|asked| now.saturating_duration_since(asked) >= FRESH)
        {
            if let Some(uplink) = state.uplink.clone() {
                // Under the lock: the answer finds the id it belongs to.
                state.pending = Some(uplink("skills.bins", json!({})));
                state.asked = Some(now);
            }
        }
        let deadline = state.asked.unwrap_or(now) + patience;
        while state.pending.is_some() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = self.answered.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.programs.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    /// A session that numbers its requests.
    fn session(name: &'static str) -> (Uplink, Receiver<String>) {
        let (sender, sent) = channel();
        let count = Mutex::new(0);
        let uplink: Uplink = Arc::new(move |method, params| {
            let mut count = count.lock().unwrap();
            *count += 1;
            let id = format!("{name}{count}");
            let _ = sender.send(format!("{id} {method} {params}"));
            id
        });
        (uplink, sent)
    }

    #[test]
    fn the_list_is_asked_for_once_and_kept() {
        let skills = Skills::default();
        assert!(
            skills.programs_within(LONG).is_empty(),
            "no session, no wait"
        );
        let (uplink, sent) = session("a");
        skills.attach(&uplink);
        std::thread::scope(|scope| {
            let runs = [(); 2].map(|()| scope.spawn(|| skills.programs_within(LONG)));
            assert_eq!(sent.recv().unwrap(), "a1 skills.bins {}");
            skills.answer("other", &Ok(json!({"bins": ["env"]})), "/usr/bin:/bin");
            let bins = json!({"bins": [" sh ", "no-such-program", 7, "/bin/ls"]});
            skills.answer("a1", &Ok(bins), "/usr/bin:/bin");
            for run in runs {
                let programs = run.join().unwrap();
                assert_eq!(programs.len(), 1, "{programs:?}");
                assert_eq!(programs[0].0, "sh");
            }
        });
        assert_eq!(skills.programs_within(LONG).len(), 1);
        assert!(
            sent.try_recv().is_err(),
            "a fresh list is not asked for again"
        );
    }

    #[test]
    fn failures_and_silence_keep_the_old_list() {
        let skills = Skills::default();
        let (uplink, _sent) = session("a");
        skills.attach(&uplink);
        assert!(skills.programs_within(Duration::ZERO).is_empty());
        skills.answer("a1", &Ok(json!({"bins": ["sh"]})), "/usr/bin:/bin");
        let (uplink, sent) = session("b");
        skills.attach(&uplink);
        assert_eq!(skills.programs_within(Duration::ZERO).len(), 1);
        assert_eq!(sent.try_recv().unwrap(), "b1 skills.bins {}");
        let refused = Err(ErrorShape::invalid("unknown method: skills.bins"));
        skills.answer("b1", &refused, "/usr/bin:/bin");
        assert_eq!(skills.programs_within(LONG).len(), 1);
        skills.answer("b1", &Ok(json!({"bins": []})), "/usr/bin:/bin");
        assert_eq!(skills.programs_within(LONG).len(), 1, "answered once");
    }
}
