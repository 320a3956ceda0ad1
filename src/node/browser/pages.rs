//! The pages of one browser that are attached to, by session; the listener of its connection.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde_json::{Value, json};

use super::cdp::{CdpError, Connection, Listener};
use super::downloads::Downloads;
use super::guard::Policy;
use super::interception::Interception;
use super::page::Page;

/// Every page of a connection.
#[derive(Debug)]
pub struct Pages {
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
    over: bool,
}

impl Pages {
    /// No pages yet; where they may go is judged by `policy`.
    pub fn new(policy: Policy) -> Self {
        Self {
            state: Mutex::default(),
            changed: Condvar::new(),
            interception: Arc::new(Interception::new(policy)),
            downloads: Downloads::default(),
        }
    }

    /// From now on where pages may go is judged by `policy`.
    pub fn guard(&self, connection: &Connection, policy: &Policy) {
        if self.interception.change(policy) {
            for session in self.lock().sessions.keys() {
                self.interception.switch(connection, session);
            }
        }
    }

    /// From now on every page of the browser is attached to when it opens.
    ///
    /// # Errors
    /// As [`Connection::call`].
    pub fn attach(connection: &Connection, deadline: Instant) -> Result<(), CdpError> {
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
            if let Some(page) = state.sessions.values().find(|page| page.target == target) {
                return Ok(Arc::clone(page));
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

    fn attached(&self, connection: &Arc<Connection>, parent: Option<&str>, params: &Value) {
        let text = |pointer: &str| params.pointer(pointer).and_then(Value::as_str);
        let (Some(session), Some(target)) = (text("/sessionId"), text("/targetInfo/targetId"))
        else {
            return;
        };
        let mut state = self.lock();
        let page = match text("/targetInfo/type") {
            Some("page") => Some(Arc::new(Page::new(target, session, connection))),
            Some("iframe") => {
                let page = parent
                    .and_then(|parent| state.sessions.get(parent))
                    .cloned();
                page.inspect(|page| page.add_frame(target, session))
            }
            _ => None,
        };
        if let Some(page) = page {
            self.interception.switch(connection, session);
            state.sessions.insert(session.to_owned(), page);
            self.changed.notify_all();
        }
        // It was held until everything above is in force.
        connection.tell(Some(session), "Runtime.runIfWaitingForDebugger", json!({}));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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
                let page = self.lock().sessions.remove(session);
                if let Some(page) = page {
                    page.detached(session);
                }
            }
            "Fetch.requestPaused" => {
                self.interception
                    .judge(connection, session.unwrap_or_default(), &params);
            }
            _ => {
                let Some(session) = session else {
                    self.downloads.event(method, &params);
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
