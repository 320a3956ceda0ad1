//! The pages of one browser that are attached to, by session; the listener of its connection.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde_json::{Value, json};

use super::cdp::{CdpError, Connection, Listener};
use super::downloads::{self, Downloads};
use super::guard::Policy;
use super::interception::Interception;
use super::page::Page;
use super::shown::Way;
use super::tabs::MAX_TABS;

/// Every page of a connection.
#[derive(Debug)]
pub struct Pages {
    /// How the browser reaches the network.
    pub way: Way,
    state: Mutex<State>,
    changed: Condvar,
    interception: Arc<Interception>,
    /// What pages give to the browser to keep.
    pub downloads: Downloads,
}

#[derive(Debug, Default)]
struct State {
    /// Pages by the sessions of their own and of their frames.
    sessions: HashMap<String, Arc<Page>>,
    /// The pages themselves, the oldest first.
    opened: Vec<Opened>,
    over: bool,
}

/// A page and the one that opened it, if one did.
#[derive(Debug)]
struct Opened {
    target: String,
    opener: Option<String>,
}

impl Pages {
    /// No pages yet; where they may go is judged by `policy`.
    pub fn new(way: Way, policy: Policy) -> Self {
        Self {
            way,
            state: Mutex::default(),
            changed: Condvar::new(),
            interception: Arc::new(Interception::new(way, policy)),
            downloads: Downloads::default(),
        }
    }

    /// From now on where pages may go is judged by `policy`.
    pub fn guard(&self, policy: &Policy) {
        self.interception.change(policy);
    }

    /// From now on every page of the browser is attached to when it opens, and none leaves a file behind.
    ///
    /// # Errors
    /// As [`Connection::call`].
    pub fn attach(connection: &Connection, deadline: Instant) -> Result<(), CdpError> {
        let refuse = downloads::refuse_all();
        connection.tell(None, "Browser.setDownloadBehavior", refuse);
        connection.call(None, "Target.setAutoAttach", auto_attach(), deadline)?;
        Ok(())
    }

    /// The page of a target, as soon as it is attached to.
    ///
    /// # Errors
    /// [`CdpError::TimedOut`], or [`CdpError::Closed`] when the browser has ended.
    pub fn page(&self, target: &str, deadline: Instant) -> Result<Arc<Page>, CdpError> {
        let mut state = self.lock();
        loop {
            if let Some(page) = state.page(target) {
                return Ok(page);
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

    /// The page of a target, if it is attached to.
    pub fn known(&self, target: &str) -> Option<Arc<Page>> {
        self.lock().page(target)
    }

    fn attached(&self, connection: &Arc<Connection>, parent: Option<&str>, params: &Value) {
        let text = |pointer: &str| params.pointer(pointer).and_then(Value::as_str);
        let (Some(session), Some(target)) = (text("/sessionId"), text("/targetInfo/targetId"))
        else {
            return;
        };
        let kind = text("/targetInfo/type").unwrap_or_default();
        self.interception.hold(connection, session, kind);
        let mut state = self.lock();
        let page = match kind {
            "page" => {
                for surplus in state.opens(target, text("/targetInfo/openerId")) {
                    let params = json!({"targetId": surplus});
                    connection.tell(None, "Target.closeTarget", params);
                }
                Some(Arc::new(Page::new(target, session, connection, self.way)))
            }
            "iframe" => {
                let page = parent
                    .and_then(|parent| state.sessions.get(parent))
                    .cloned();
                let url = text("/targetInfo/url").unwrap_or_default();
                page.inspect(|page| page.add_frame(target, url, session))
            }
            _ => None,
        };
        if let Some(page) = page {
            state.sessions.insert(session.to_owned(), page);
            self.changed.notify_all();
        }
        // It was held until everything above is in force.
        connection.tell(Some(session), "Runtime.runIfWaitingForDebugger", json!({}));
    }

    /// The page that a frame is of; one that another page opened to get a file is that page's.
    fn owner(&self, frame: &str) -> Option<String> {
        let state = self.lock();
        let mut pages = state.sessions.values();
        let own =
            pages.find(|page| page.target == frame || page.shown(|shown| shown.has(frame)))?;
        Some(state.first_opener(&own.target).to_owned())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn page(&self, target: &str) -> Option<Arc<Page>> {
        let mut pages = self.sessions.values();
        pages.find(|page| page.target == target).cloned()
    }

    /// A page opens; the pages that are too many now. Those that callers opened stay: only what pages opened makes
    /// room for more of that.
    fn opens(&mut self, target: &str, opener: Option<&str>) -> Vec<String> {
        let others = self.opened.iter().filter(|page| page.opener.is_some());
        let count = (self.opened.len() + 1).saturating_sub(MAX_TABS);
        let surplus = others.take(count).map(|page| page.target.clone());
        let surplus = match opener {
            Some(_) => surplus.collect(),
            None => Vec::new(),
        };
        self.opened.push(Opened {
            target: target.to_owned(),
            opener: opener.map(str::to_owned),
        });
        surplus
    }

    /// The page from which others led to this one; itself where none did.
    fn first_opener<'a>(&'a self, target: &'a str) -> &'a str {
        let mut first = target;
        // An opener is older than what it opens.
        for page in self.opened.iter().rev() {
            if page.target == first {
                first = page.opener.as_deref().unwrap_or(first);
            }
        }
        first
    }
}

/// Everything that opens is attached to, and held until it is told to go on.
pub fn auto_attach() -> Value {
    json!({"autoAttach": true, "waitForDebuggerOnStart": true, "flatten": true})
}

impl Listener for Pages {
    fn event(
        &self,
        connection: &Arc<Connection>,
        session: Option<&str>,
        method: &str,
        params: Value,
    ) {
        match method {
            "Target.attachedToTarget" => self.attached(connection, session, &params),
            "Target.detachedFromTarget" => {
                let session = params
                    .get("sessionId")
                    .and_then(Value::as_str)
                    .unwrap_or_default();
                let mut state = self.lock();
                let page = state.sessions.remove(session);
                if let Some(page) = page.filter(|page| page.detached(session)) {
                    state.opened.retain(|opened| opened.target != page.target);
                }
            }
            "Fetch.requestPaused" => {
                self.interception
                    .judge(connection, session.unwrap_or_default(), &params);
            }
            _ => {
                let Some(session) = session else {
                    let frame = params.get("frameId").and_then(Value::as_str);
                    let page = frame.and_then(|frame| self.owner(frame));
                    if let Some(id) = self.downloads.event(method, &params, page.as_deref()) {
                        let params = json!({"guid": id});
                        connection.tell(None, "Browser.cancelDownload", params);
                    }
                    return;
                };
                let page = self.lock().sessions.get(session).cloned();
                if let Some(page) = page {
                    page.event(session, method, &params);
                }
            }
        }
    }

    fn closed(&self) {
        let mut state = self.lock();
        state.over = true;
        let sessions = std::mem::take(&mut state.sessions);
        drop(state);
        for (session, page) in sessions {
            page.detached(&session);
        }
        self.changed.notify_all();
        self.downloads.closed();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_that_pages_open_make_room_for_each_other_and_for_nobody_else() {
        let mut state = State::default();
        for number in 0..MAX_TABS {
            assert_eq!(state.opens(&format!("own{number}"), None), [""; 0]);
        }
        // One more is let in beside those of callers; then each takes the place of the last.
        assert_eq!(state.opens("p1", Some("own0")), [""; 0]);
        assert_eq!(state.opens("p2", Some("own0")), ["p1"]);
        state.opened.retain(|page| page.target != "p1");
        assert_eq!(state.opens("p3", Some("p2")), ["p2"]);
        // What callers open is counted elsewhere.
        assert_eq!(state.opens("own8", None), [""; 0]);
        assert_eq!(state.opened.len(), MAX_TABS + 3);
    }

    #[test]
    fn what_a_page_opened_is_that_pages() {
        let mut state = State::default();
        state.opens("a", None);
        state.opens("b", Some("a"));
        state.opens("c", Some("b"));
        state.opens("d", Some("gone"));
        for (target, first) in [
            ("a", "a"),
            ("b", "a"),
            ("c", "a"),
            ("d", "gone"),
            ("x", "x"),
        ] {
            assert_eq!(state.first_opener(target), first);
        }
    }
}
