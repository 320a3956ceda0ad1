//! The download of a browser that somebody waits for; one at a time. Every other one is refused: before somebody waits
//! and afterwards by the browser itself, in between when it begins.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde_json::{Value, json};

use super::cdp::CdpError;
use super::files::MAX_FILE_BYTES;
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

/// How a download ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Somebody broke it off.
    BrokenOff,
    /// All of it came.
    Complete,
    /// It is broken off because no larger file goes to the gateway.
    TooLarge,
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
    /// The page whose downloads are waited for.
    wanted: Option<String>,
    begun: Option<Download>,
    end: Option<End>,
    over: bool,
}

/// Params of `Browser.setDownloadBehavior` while nobody waits: nothing is kept.
pub fn refuse_all() -> Value {
    json!({"behavior": "deny", "eventsEnabled": true})
}

impl Downloads {
    /// The next download of this page is waited for.
    pub fn want(&self, page: &str) {
        *self.lock() = State {
            wanted: Some(page.to_owned()),
            ..State::default()
        };
    }

    /// Nobody waits any more; the download that is to be broken off, if one has begun and not ended.
    pub fn stop(&self) -> Option<String> {
        let mut state = self.lock();
        state.wanted = None;
        let unfinished = state.begun.take().filter(|_| state.end.is_none());
        unfinished.map(|begun| begun.id)
    }

    /// Waits for the end of the next download.
    ///
    /// # Errors
    /// [`CdpError::TimedOut`], [`CdpError::Closed`].
    pub fn wait(&self, deadline: Instant) -> Result<(Download, End), CdpError> {
        let mut state = self.lock();
        loop {
            if let (Some(download), Some(end)) = (&state.begun, state.end) {
                return Ok((download.clone(), end));
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

    /// Takes an event of the browser; `page` is whose frame it is about. Gives the download that is to be broken off.
    pub fn event(&self, method: &str, params: &Value, page: Option<&str>) -> Option<String> {
        let text = |name: &str| params.get(name).and_then(Value::as_str).unwrap_or_default();
        let mut state = self.lock();
        let refused = match method {
            "Browser.downloadWillBegin" => state.begins(text, page),
            "Browser.downloadProgress" => {
                let begun = state.begun.as_ref();
                let own = begun.is_some_and(|begun| begun.id == text("guid"));
                own.then(|| state.goes_on(text("guid"), params)).flatten()
            }
            _ => return None,
        };
        drop(state);
        self.changed.notify_all();
        refused
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

impl State {
    fn begins<'a>(&mut self, text: impl Fn(&str) -> &'a str, page: Option<&str>) -> Option<String> {
        let wanted = self.wanted.as_deref()?;
        if page != Some(wanted) || self.begun.is_some() {
            return Some(text("guid").to_owned());
        }
        self.begun = Some(Download {
            id: text("guid").to_owned(),
            url: text("url").to_owned(),
            suggested: text("suggestedFilename").to_owned(),
        });
        None
    }

    fn goes_on(&mut self, id: &str, params: &Value) -> Option<String> {
        if self.end.is_some() {
            return None;
        }
        let bytes = |name: &str| params.get(name).and_then(Value::as_f64).unwrap_or_default();
        let limit = MAX_FILE_BYTES as f64;
        if bytes("receivedBytes") > limit || bytes("totalBytes") > limit {
            self.end = Some(End::TooLarge);
            return Some(id.to_owned());
        }
        self.end = match params.get("state").and_then(Value::as_str) {
            Some("completed") => Some(End::Complete),
            Some("canceled") => Some(End::BrokenOff),
            _ => None,
        };
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(downloads: &Downloads, id: &str, page: &str) -> Option<String> {
        let params = json!({"guid": id, "url": "http://h/f", "suggestedFilename": "f"});
        downloads.event("Browser.downloadWillBegin", &params, Some(page))
    }

    fn progress(downloads: &Downloads, id: &str, state: &str, bytes: u64) -> Option<String> {
        let params = json!({"guid": id, "state": state, "receivedBytes": bytes, "totalBytes": 0});
        downloads.event("Browser.downloadProgress", &params, None)
    }

    #[test]
    fn the_first_download_that_the_page_begins_while_one_is_waited_for_is_the_one() {
        let downloads = Downloads::default();
        // The browser refuses it itself.
        assert_eq!(begin(&downloads, "early", "A"), None);
        downloads.want("A");
        assert_eq!(
            begin(&downloads, "foreign", "B"),
            Some("foreign".to_owned())
        );
        assert_eq!(begin(&downloads, "own", "A"), None);
        assert_eq!(begin(&downloads, "second", "A"), Some("second".to_owned()));
        progress(&downloads, "foreign", "completed", 1);
        progress(&downloads, "own", "inProgress", 1);
        assert_eq!(downloads.wait(Instant::now()), Err(CdpError::TimedOut));
        progress(&downloads, "own", "canceled", 1);
        let own = Download {
            id: "own".to_owned(),
            url: "http://h/f".to_owned(),
            suggested: "f".to_owned(),
        };
        let ended = downloads.wait(Instant::now());
        assert_eq!(ended, Ok((own, End::BrokenOff)));
        assert_eq!(downloads.stop(), None);
        downloads.want("A");
        downloads.closed();
        assert_eq!(downloads.wait(Instant::now()), Err(CdpError::Closed));
    }

    #[test]
    fn who_gives_up_breaks_the_download_off() {
        let downloads = Downloads::default();
        downloads.want("A");
        begin(&downloads, "slow", "A");
        assert_eq!(downloads.stop(), Some("slow".to_owned()));
        assert_eq!(downloads.stop(), None);
    }

    #[test]
    fn a_download_that_no_gateway_takes_is_broken_off() {
        let downloads = Downloads::default();
        downloads.want("A");
        begin(&downloads, "large", "A");
        assert_eq!(
            progress(&downloads, "large", "inProgress", MAX_FILE_BYTES),
            None
        );
        let refused = progress(&downloads, "large", "inProgress", MAX_FILE_BYTES + 1);
        assert_eq!(refused, Some("large".to_owned()));
        // What the browser says of it afterwards changes nothing.
        assert_eq!(progress(&downloads, "large", "canceled", 0), None);
        assert_eq!(
            downloads.wait(Instant::now()).map(|(_, end)| end),
            Ok(End::TooLarge)
        );
        downloads.want("A");
        begin(&downloads, "announced", "A");
        let params = json!({"guid": "announced", "state": "inProgress", "totalBytes": 1e12});
        let refused = downloads.event("Browser.downloadProgress", &params, None);
        assert_eq!(refused, Some("announced".to_owned()));
    }
}
