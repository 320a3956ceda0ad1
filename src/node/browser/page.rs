//! One page of a browser: calls to it, what it has said, whether it still answers.
//!
//! A page's state is fed by the connection's reader and read by requests. A page that crashed answers nothing
//! until it is sent somewhere, so calls to it fail at once.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::cdp::{CdpError, Connection};
use super::chooser::Chooser;
use super::dialogs::Dialogs;
use super::error::BrowserError;
use super::logs::Logs;
use super::pages::auto_attach;
use super::shown::{Shown, Way};
use super::turns::Turns;

/// Documents a page is remembered to have shown: one that leads on more often has not arrived anyway.
const MAX_DOCUMENTS: usize = 16;

/// What a caller hears of a page whose renderer crashed.
const CRASHED: &str = "the page has crashed; navigate it to go on, or open another tab";

/// What a caller hears of a page that is closed meanwhile.
const CLOSED: &str = "the tab was closed";

/// What a caller hears of a frame that is gone meanwhile.
const FRAME_GONE: &str = "the frame is gone";

/// A page that is attached to.
#[derive(Debug)]
pub struct Page {
    /// The browser's id of the page.
    pub target: String,
    session: String,
    connection: Arc<Connection>,
    state: Mutex<State>,
    changed: Condvar,
    /// Its events are known to be on.
    heard: AtomicBool,
    /// One after the other acts on it.
    pub turns: Turns,
}

#[derive(Debug, Default)]
struct State {
    logs: Logs,
    dialogs: Dialogs,
    chooser: Chooser,
    crashed: bool,
    closed: bool,
    /// The last documents that were shown, the present one last, and whether that has loaded.
    documents: VecDeque<String>,
    loaded: bool,
    /// What it shows, its frames included, and where that came from.
    shown: Shown,
    /// The origin that it shows, if that is one of the web.
    origin: Option<String>,
    /// The origin whose dialogs and inputs are answered as armed; `None` is the first that it goes to.
    armed_for: Option<String>,
    /// It has loaded, and nothing is on its way any more.
    idle: bool,
    /// It is about to be replaced by another one.
    leaving: bool,
    /// What the page wants dragged, since that was last asked for.
    dragged: Option<Value>,
    /// Frames that live in processes of their own.
    frames: HashMap<String, Frame>,
}

/// A frame in a process of its own.
#[derive(Debug)]
struct Frame {
    session: String,
    /// The document that is shown.
    document: String,
    /// Its process is gone, and nothing was shown in its place so far.
    crashed: bool,
}

impl Page {
    /// A page that was attached to as `session`. Its events are asked for; nothing is waited for.
    pub fn new(target: &str, session: &str, connection: &Arc<Connection>, way: Way) -> Self {
        let state = State {
            shown: Shown::new(way),
            ..State::default()
        };
        let page = Self {
            target: target.to_owned(),
            session: session.to_owned(),
            connection: Arc::clone(connection),
            state: Mutex::new(state),
            changed: Condvar::new(),
            heard: AtomicBool::new(false),
            turns: Turns::default(),
        };
        let tell = |method, params| connection.tell(Some(session), method, params);
        tell("Page.enable", json!({}));
        tell("Inspector.enable", json!({}));
        tell("Runtime.enable", json!({}));
        // Bodies are never asked for.
        tell(
            "Network.enable",
            json!({"maxTotalBufferSize": 0, "maxResourceBufferSize": 0}),
        );
        tell("Page.setLifecycleEventsEnabled", json!({"enabled": true}));
        tell("Target.setAutoAttach", auto_attach());
        page
    }

    /// Waits until the page's events are on: nothing that happens from then on goes unheard, and what it shows already
    /// is known.
    ///
    /// # Errors
    /// [`CdpError::TimedOut`], [`CdpError::Closed`].
    pub fn listen(&self, deadline: Instant) -> Result<(), CdpError> {
        if self.heard.load(Ordering::Acquire) {
            return Ok(());
        }
        let own = std::iter::once(None);
        for frame in own.chain(self.frames_apart().into_iter().map(Some)) {
            match self.call_in(frame.as_deref(), "Page.getFrameTree", json!({}), deadline) {
                Ok(answer) => {
                    let mut state = self.lock();
                    state.shown.found_all(&answer);
                    if frame.is_none() && state.origin.is_none() {
                        state.origin = web_origin(answer.pointer("/frameTree/frame"));
                    }
                }
                Err(error @ (CdpError::TimedOut | CdpError::Closed)) => return Err(error),
                // One that crashed is told of when it is used.
                Err(CdpError::Gone(_) | CdpError::Refused(_) | CdpError::TooLong)
                    if frame.is_none() =>
                {
                    return Ok(());
                }
                Err(CdpError::Gone(_) | CdpError::Refused(_) | CdpError::TooLong) => {}
            }
        }
        self.heard.store(true, Ordering::Release);
        Ok(())
    }

    /// Calls a method of the page.
    ///
    /// # Errors
    /// [`CdpError::Gone`] for a page that crashed or is closed, else as [`Connection::call`].
    pub fn call(&self, method: &str, params: Value, deadline: Instant) -> Result<Value, CdpError> {
        self.call_in(None, method, params, deadline)
    }

    /// Calls a method in a frame that lives in a process of its own; `None` is the page's own.
    ///
    /// # Errors
    /// As [`Page::call`]; [`CdpError::Gone`] for a frame that is not there any more.
    pub fn call_in(
        &self,
        frame: Option<&str>,
        method: &str,
        params: Value,
        deadline: Instant,
    ) -> Result<Value, CdpError> {
        let session = self.session_of(frame, method)?;
        self.connection
            .call(Some(&session), method, params, deadline)
    }

    /// The same for an answer of which `T` keeps a part.
    ///
    /// # Errors
    /// As [`Page::call_in`].
    pub fn call_for<T: DeserializeOwned>(
        &self,
        frame: Option<&str>,
        method: &str,
        params: Value,
        deadline: Instant,
    ) -> Result<T, CdpError> {
        let session = self.session_of(frame, method)?;
        self.connection
            .call_for(Some(&session), method, params, deadline)
    }

    fn session_of(&self, frame: Option<&str>, method: &str) -> Result<String, CdpError> {
        let state = self.lock();
        if state.closed {
            return Err(self.over());
        }
        // Only being sent somewhere revives it.
        if state.crashed && method != "Page.navigate" {
            return Err(CdpError::Gone(CRASHED));
        }
        match frame {
            None => Ok(self.session.clone()),
            Some(frame) => match state.frames.get(frame) {
                Some(frame) if !frame.crashed => Ok(frame.session.clone()),
                _ => Err(CdpError::Gone(FRAME_GONE)),
            },
        }
    }

    /// The frames that live in processes of their own, but for those that crashed.
    pub fn frames_apart(&self) -> Vec<String> {
        let state = self.lock();
        let frames = state.frames.iter().filter(|(_, frame)| !frame.crashed);
        frames.map(|(frame, _)| frame.clone()).collect()
    }

    /// Why a page that is closed answers nobody: its browser may have ended with it.
    fn over(&self) -> CdpError {
        if self.connection.is_open() {
            CdpError::Gone(CLOSED)
        } else {
            CdpError::Closed
        }
    }

    /// The document that the page shows, or a frame that lives in a process of its own; empty for one that is gone.
    pub fn document(&self, frame: Option<&str>) -> String {
        let state = self.lock();
        match frame {
            None => state.documents.back().cloned().unwrap_or_default(),
            Some(frame) => {
                let frame = state.frames.get(frame);
                frame.map_or(String::new(), |frame| frame.document.clone())
            }
        }
    }

    /// The value of an expression in the page, as JSON.
    ///
    /// # Errors
    /// [`BrowserError::Unexpected`] with what the page threw, else as [`Page::call`].
    pub fn evaluate(&self, expression: &str, deadline: Instant) -> Result<Value, BrowserError> {
        let params = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let answer = self.call("Runtime.evaluate", params, deadline)?;
        value_of(answer)
    }

    /// Sends the page to `url` and waits until that has loaded.
    ///
    /// # Errors
    /// [`BrowserError::NotLoaded`] when the browser cannot load it, [`BrowserError::Unexpected`] when `limit` passes.
    pub fn navigate(
        &self,
        url: &str,
        limit: Duration,
        deadline: Instant,
    ) -> Result<(), BrowserError> {
        let until = deadline.min(Instant::now() + limit);
        let slow = |error| match error {
            CdpError::TimedOut if Instant::now() < deadline => {
                BrowserError::slow(&format!("navigation to {url}"), limit)
            }
            error => error.into(),
        };
        let answer = self
            .call("Page.navigate", json!({"url": url}), until)
            .map_err(slow)?;
        if let Some(reason) = answer.get("errorText").and_then(Value::as_str) {
            return Err(BrowserError::NotLoaded(reason.to_owned(), url.to_owned()));
        }
        // Without one the document stayed: the URL differs in its fragment only.
        let Some(document) = answer.get("loaderId").and_then(Value::as_str) else {
            return Ok(());
        };
        // A page may lead on before it has loaded: then it is where it leads that has to.
        self.wait_until(until, |state| {
            state.loaded && state.documents.iter().any(|shown| shown == document)
        })
        .map_err(slow)
    }

    /// Waits for a document that is on its way, if there is one.
    ///
    /// # Errors
    /// [`CdpError::TimedOut`], [`CdpError::Gone`].
    pub fn settle(&self, deadline: Instant) -> Result<(), CdpError> {
        self.wait_until(deadline, |state| !state.leaving)
    }

    /// Waits until nothing that the document needs is on its way any more.
    ///
    /// # Errors
    /// As [`Page::settle`].
    pub fn rest(&self, deadline: Instant) -> Result<(), CdpError> {
        self.wait_until(deadline, |state| state.idle && !state.leaving)
    }

    /// What was to be dragged before is of no interest any more.
    pub fn forget_drag(&self) {
        self.lock().dragged = None;
    }

    /// Waits for what the page wants dragged, as the browser describes it.
    ///
    /// # Errors
    /// As [`Page::settle`].
    pub fn dragged(&self, deadline: Instant) -> Result<Value, CdpError> {
        self.wait_until(deadline, |state| state.dragged.is_some())?;
        Ok(self.lock().dragged.take().unwrap_or_default())
    }

    /// Whether the tab was closed.
    pub fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Whether a frame lives in a process of its own.
    pub fn is_apart(&self, frame: &str) -> bool {
        self.lock().frames.contains_key(frame)
    }

    fn wait_until(
        &self,
        deadline: Instant,
        reached: impl Fn(&State) -> bool,
    ) -> Result<(), CdpError> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return Err(self.over());
            }
            if state.crashed {
                return Err(CdpError::Gone(CRASHED));
            }
            if reached(&state) {
                return Ok(());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(CdpError::TimedOut);
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The origin that it shows, if that is one of the web; its scripts have no say in that.
    pub fn origin(&self) -> Option<String> {
        self.lock().origin.clone()
    }

    /// What is known of what it shows.
    pub fn shown<T>(&self, read: impl FnOnce(&Shown) -> T) -> T {
        read(&self.lock().shown)
    }

    /// What the page has said so far.
    pub fn logs<T>(&self, read: impl FnOnce(&mut Logs) -> T) -> T {
        read(&mut self.lock().logs)
    }

    /// Changes how dialogs of the origin that is shown are answered.
    pub fn dialogs<T>(&self, change: impl FnOnce(&mut Dialogs) -> T) -> T {
        let mut state = self.lock();
        state.armed_for = state.origin.clone();
        change(&mut state.dialogs)
    }

    /// Gives files to the next input of the origin that is shown which asks for some within `patience`.
    ///
    /// # Errors
    /// As [`Page::call`].
    pub fn choose_next(
        &self,
        files: Vec<String>,
        patience: Duration,
        deadline: Instant,
    ) -> Result<(), CdpError> {
        let mut state = self.lock();
        state.armed_for = state.origin.clone();
        state.chooser.arm(files, patience);
        drop(state);
        let params = json!({"enabled": true});
        self.call("Page.setInterceptFileChooserDialog", params, deadline)?;
        Ok(())
    }

    /// Takes an event of the page, or of one of its frames.
    pub fn event(&self, session: &str, method: &str, params: &Value) {
        let text = |name: &str| params.get(name).and_then(Value::as_str);
        let mut state = self.lock();
        match method {
            "Network.responseReceived" => state.shown.answered(params),
            "Page.frameDetached" => state.shown.detached(params),
            "Page.frameNavigated" => {
                let frame = params.get("frame").unwrap_or(&Value::Null);
                let page = session == self.session && frame.get("parentId").is_none();
                state.shown.navigated(frame, page);
            }
            _ => {}
        }
        match method {
            "Inspector.targetCrashed" => {
                let gone = state.crash(session, session == self.session, true);
                drop(state);
                self.connection.give_up(session, gone);
            }
            "Inspector.targetReloadedAfterCrash" => {
                state.crash(session, session == self.session, false);
            }
            "Page.frameNavigated" if session == self.session => {
                let frame = params.get("frame").unwrap_or(&Value::Null);
                if frame.get("parentId").is_none() {
                    let document = frame.get("loaderId").and_then(Value::as_str);
                    state.begin(document.unwrap_or_default());
                    if state.arrive_at(web_origin(Some(frame))) {
                        self.connection.tell(
                            Some(session),
                            "Page.setInterceptFileChooserDialog",
                            json!({"enabled": false}),
                        );
                    }
                }
            }
            "Page.frameNavigated" => {
                let text = |name: &str| params.get("frame")?.get(name)?.as_str();
                let own = text("id").and_then(|id| state.frames.get_mut(id));
                if let Some(own) = own.filter(|own| own.session == session) {
                    text("loaderId")
                        .unwrap_or_default()
                        .clone_into(&mut own.document);
                }
            }
            "Page.javascriptDialogOpening" => {
                let answer = state.dialogs.answer(params);
                self.connection
                    .tell(Some(session), "Page.handleJavaScriptDialog", answer);
            }
            "Page.fileChooserOpened" => {
                let tell = |method, params| self.connection.tell(Some(session), method, params);
                if let Some(files) = state.chooser.answer(params) {
                    tell("DOM.setFileInputFiles", files);
                }
                tell(
                    "Page.setInterceptFileChooserDialog",
                    json!({"enabled": false}),
                );
            }
            "Input.dragIntercepted" => state.dragged = params.get("data").cloned(),
            // A page's own frame is called like the page.
            _ if session == self.session && text("frameId") == Some(self.target.as_str()) => {
                state.course(method, params);
            }
            _ => state.logs.event(method, params),
        }
        self.changed.notify_all();
    }

    /// A frame that lives in a process of its own was attached to when it was at `url`.
    pub fn add_frame(&self, frame: &str, url: &str, session: &str) {
        let mut state = self.lock();
        state.shown.found(frame, url);
        let own = Frame {
            session: session.to_owned(),
            document: String::new(),
            crashed: false,
        };
        state.frames.insert(frame.to_owned(), own);
        let tell = |method, params| self.connection.tell(Some(session), method, params);
        tell("Page.enable", json!({}));
        tell("Inspector.enable", json!({}));
        tell("Runtime.enable", json!({}));
        tell(
            "Network.enable",
            json!({"maxTotalBufferSize": 0, "maxResourceBufferSize": 0}),
        );
        tell("Target.setAutoAttach", auto_attach());
    }

    /// A session is over: a frame's, or the page's own, which ends the page; whether that ended.
    pub fn detached(&self, session: &str) -> bool {
        let mut state = self.lock();
        state.frames.retain(|_, own| own.session != session);
        let own = session == self.session;
        state.closed |= own;
        drop(state);
        self.connection.give_up(session, CLOSED);
        self.changed.notify_all();
        own
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The process of the page's `own` session, or of one of its frames, has crashed or been replaced; what callers of
    /// that session hear when it has crashed.
    fn crash(&mut self, session: &str, own: bool, crashed: bool) -> &'static str {
        if own {
            self.crashed = crashed;
            return CRASHED;
        }
        let mut frames = self.frames.values_mut();
        if let Some(frame) = frames.find(|frame| frame.session == session) {
            frame.crashed = crashed;
        }
        FRAME_GONE
    }

    /// Another document is shown.
    fn begin(&mut self, document: &str) {
        if self.documents.back().is_none_or(|shown| shown != document) {
            self.documents.push_back(document.to_owned());
            if self.documents.len() > MAX_DOCUMENTS {
                self.documents.pop_front();
            }
            self.loaded = false;
            self.idle = false;
        }
    }

    /// Another document of this origin is shown; whether what was armed for another one is disarmed by that.
    fn arrive_at(&mut self, origin: Option<String>) -> bool {
        self.origin = origin;
        if self.origin.is_none() {
            return false;
        }
        let other = self.armed_for.is_some() && self.armed_for != self.origin;
        self.armed_for.clone_from(&self.origin);
        if other {
            self.dialogs = Dialogs::default();
            self.chooser = Chooser::default();
        }
        other
    }

    /// Takes an event about how far the page's own frame has come.
    fn course(&mut self, method: &str, params: &Value) {
        let text = |name: &str| params.get(name).and_then(Value::as_str);
        match method {
            "Page.lifecycleEvent" => {
                let document = text("loaderId").unwrap_or_default();
                match text("name") {
                    Some("DOMContentLoaded") => {
                        self.leaving &= self.documents.back().is_none_or(|shown| shown != document)
                    }
                    Some("load") => {
                        self.begin(document);
                        self.loaded = true;
                        self.leaving = false;
                    }
                    Some("networkIdle") => {
                        self.begin(document);
                        self.idle = true;
                    }
                    _ => {}
                }
            }
            // One that opens elsewhere, or becomes a file, leaves the page as it is.
            "Page.frameRequestedNavigation" => {
                self.leaving |= text("disposition").is_none_or(|where_to| where_to == "currentTab");
            }
            "Page.frameStartedNavigating" => {
                self.leaving |= text("navigationType") != Some("sameDocument");
            }
            "Page.frameStoppedLoading"
            | "Page.navigatedWithinDocument"
            | "Page.downloadWillBegin" => {
                self.leaving = false;
            }
            _ => self.logs.event(method, params),
        }
    }
}

/// The origin of a frame if it is one of the web, as the browser names it.
fn web_origin(frame: Option<&Value>) -> Option<String> {
    let origin = frame?.get("securityOrigin")?.as_str()?;
    origin.starts_with("http").then(|| origin.to_owned())
}

/// The value of an answer of `Runtime.evaluate` or `Runtime.callFunctionOn`; `Null` when undefined.
///
/// # Errors
/// [`BrowserError::Unexpected`] with what the page threw.
pub fn value_of(answer: Value) -> Result<Value, BrowserError> {
    if let Some(thrown) = answer.get("exceptionDetails") {
        let text = thrown
            .pointer("/exception/description")
            .or_else(|| thrown.pointer("/exception/value"))
            .or_else(|| thrown.get("text"));
        let text = text.map_or(String::new(), |text| {
            text.as_str()
                .map_or_else(|| text.to_string(), str::to_owned)
        });
        return Err(BrowserError::Unexpected(text));
    }
    Ok(answer.pointer("/result/value").cloned().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_armed_is_for_one_origin() {
        let alert = json!({"type": "confirm"});
        let origin = |name: &str| web_origin(Some(&json!({"securityOrigin": name})));
        let armed = |shown: &str, visited: &[&str]| {
            let mut state = State {
                origin: origin(shown),
                ..State::default()
            };
            state.armed_for = state.origin.clone();
            state.dialogs.arm(true, None, Duration::from_secs(600));
            state
                .chooser
                .arm(vec!["/a".to_owned()], Duration::from_secs(600));
            for name in visited {
                state.arrive_at(origin(name));
            }
            let files = state.chooser.answer(&json!({"backendNodeId": 1}));
            let accepted = state.dialogs.answer(&alert)["accept"] == true;
            assert_eq!(files.is_some(), accepted);
            accepted
        };
        for (shown, visited, expected) in [
            ("http://a", &["http://a"][..], true),
            ("http://a", &["http://b"], false),
            ("http://a", &["://", "http://b"], false),
            ("http://a", &["http://b", "http://a"], false),
            ("http://a", &["http://a:81"], false),
            // A tab that shows nothing is armed for where it goes first.
            ("://", &["http://a"], true),
            ("://", &["http://a", "http://b"], false),
        ] {
            assert_eq!(armed(shown, visited), expected, "{shown} {visited:?}");
        }
    }
}
