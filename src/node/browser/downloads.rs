//! The download of a browser that somebody waits for; one at a time.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde_json::Value;

use super::cdp::CdpError;
use super::turns::Turns;

/// What a page has given to the browser to keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Download {
    /// The browser's name for it, and of the file while nobody has given it another.
    pub id: String,
    /// Where it comes from.
    pub url: String,
    /// What the page calls it.
    pub suggested: String,
}

/// The downloads of one browser.
#[derive(Debug, Default)]
pub struct Downloads {
    /// One after the other waits for one.
    pub turns: Turns,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    wanted: bool,
    begun: Option<Download>,
    /// Whether all of it came, once that is known.
    complete: Option<bool>,
    over: bool,
}

impl Downloads {
    /// The next download is waited for.
    pub fn want(&self) {
        *self.lock() = State {
            wanted: true,
            ..State::default()
        };
    }

    /// Nobody waits any more.
    pub fn stop(&self) {
        self.lock().wanted = false;
    }

    /// Waits for the end of the next download; whether all of it came.
    ///
    /// # Errors
    /// [`CdpError::TimedOut`], [`CdpError::Closed`].
    pub fn wait(&self, deadline: Instant) -> Result<(Download, bool), CdpError> {
        let mut state = self.lock();
        loop {
            if let (Some(download), Some(complete)) = (&state.begun, state.complete) {
                return Ok((download.clone(), complete));
            }
            if state.over {
                return Err(CdpError::Closed);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(CdpError::TimedOut);
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Takes an event of the browser.
    pub fn event(&self, method: &str, params: &Value) {
        let text = |name: &str| params.get(name).and_then(Value::as_str).unwrap_or_default();
        let mut state = self.lock();
        match method {
            "Browser.downloadWillBegin" if state.wanted && state.begun.is_none() => {
                state.begun = Some(Download {
                    id: text("guid").to_owned(),
                    url: text("url").to_owned(),
                    suggested: text("suggestedFilename").to_owned(),
                });
            }
            "Browser.downloadProgress" => {
                let own = state
                    .begun
                    .as_ref()
                    .is_some_and(|begun| begun.id == text("guid"));
                if own {
                    state.complete = match text("state") {
                        "completed" => Some(true),
                        "canceled" => Some(false),
                        _ => state.complete,
                    };
                }
            }
            _ => return,
        }
        drop(state);
        self.changed.notify_all();
    }

    /// The browser has ended.
    pub fn closed(&self) {
        self.lock().over = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_first_download_that_begins_while_one_is_waited_for_is_the_one() {
        let downloads = Downloads::default();
        let begin = |id: &str| {
            let params = json!({"guid": id, "url": "http://h/f", "suggestedFilename": "f"});
            downloads.event("Browser.downloadWillBegin", &params);
        };
        let progress = |id: &str, state: &str| {
            let params = json!({"guid": id, "state": state});
            downloads.event("Browser.downloadProgress", &params);
        };
        begin("early");
        downloads.want();
        begin("own");
        begin("other");
        progress("other", "completed");
        progress("own", "inProgress");
        assert_eq!(downloads.wait(Instant::now()), Err(CdpError::TimedOut));
        progress("own", "canceled");
        let own = Download {
            id: "own".to_owned(),
            url: "http://h/f".to_owned(),
            suggested: "f".to_owned(),
        };
        assert_eq!(downloads.wait(Instant::now()), Ok((own, false)));
        downloads.want();
        downloads.closed();
        assert_eq!(downloads.wait(Instant::now()), Err(CdpError::Closed));
    }
}
