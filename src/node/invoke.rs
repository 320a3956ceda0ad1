//! Invokes: from the gateway's event to the result, each in a thread of its own.
//!
//! Nothing here blocks the thread that reads the socket: a new invoke gets a thread or an answer at once.
//! How many run together is bounded; what a run answers goes to the session it came from, or nowhere when
//! that is gone (node-host specification, section 2.1).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::machine::Machine;
use super::replays::{Begin, Finished, Key, Replays};
use super::system::{self, Reply};
use crate::protocol::error::ErrorShape;
use crate::protocol::json_text;

/// The commands that every node host declares, in the order it declares them.
pub const COMMANDS: &[&str] = &[
    "system.run.prepare",
    "system.run",
    "system.which",
    "system.execApprovals.get",
    "system.execApprovals.set",
];

/// The command that a node host declares too where it offers a browser.
pub const BROWSER: &str = "browser.proxy";

/// Commands that may run at the same time; each costs two threads and three descriptors.
pub const MAX_RUNS: usize = 32;

/// Other invokes that may be answered at the same time: they only look at files.
pub const MAX_QUERIES: usize = 16;

/// Requests to browsers that may be under way at the same time; each waits for a page.
pub const MAX_BROWSER_REQUESTS: usize = 16;

/// Places beside these: one for whoever asks how a browser is, one more for whoever stops it.
const KEPT_FOR_STATUS: usize = 1;
const KEPT_FOR_STOP: usize = 2;

/// A thread of an invoke parses JSON of bounded depth and copies output.
const INVOKE_STACK: usize = 512 * 1024;

const RUN: &str = "system.run";

/// Where the requests and answers of one session go: method and params of a request to the gateway; gives
/// the request's id. Never waits.
pub type Uplink = Arc<dyn Fn(&'static str, Value) -> String + Send + Sync>;

/// How often a stopping host looks whether its runs are over.
const SETTLE_PAUSE: Duration = Duration::from_millis(5);

/// One invoke as the gateway asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invoke {
    /// The invoke's id.
    pub id: String,
    /// The node's id as the gateway wrote it; results echo it.
    pub node_id: String,
    /// The command.
    pub command: String,
    /// The params as JSON text.
    pub params_json: Option<String>,
    /// The caller's key against running twice.
    pub idempotency_key: Option<String>,
}

impl Invoke {
    /// Reads the payload of `node.invoke.request`; `None` when it is to be ignored.
    pub fn parse(payload: &Value) -> Option<Self> {
        let text = |name: &str| {
            let text = payload.get(name)?.as_str()?;
            (!text.trim().is_empty()).then(|| text.to_owned())
        };
        let params_json = match (payload.get("paramsJSON"), payload.get("params")) {
            (Some(Value::String(text)), _) => Some(text.clone()),
            (_, Some(params @ Value::Object(_))) => Some(params.to_string()),
            _ => None,
        };
        Some(Self {
            id: text("id")?,
            node_id: text("nodeId")?,
            command: text("command")?.trim().to_owned(),
            params_json,
            idempotency_key: text("idempotencyKey"),
        })
    }
}

/// What a node host says it can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Surface {
    /// Its capabilities.
    pub caps: Vec<String>,
    /// Its commands.
    pub commands: Vec<String>,
}

/// What a node host declares, with or without a browser.
pub fn surface(browser: bool) -> Surface {
    let owned = |names: &[&str], more: Option<&str>| {
        let names = names.iter().copied().chain(more);
        names.map(str::to_owned).collect()
    };
    Surface {
        caps: owned(&["system"], browser.then_some("browser")),
        commands: owned(COMMANDS, browser.then_some(BROWSER)),
    }
}

/// Takes invokes and sees to it that each is answered once.
pub struct Dispatcher {
    machine: Arc<Machine>,
    replays: Mutex<Replays<Waiter>>,
    runs: AtomicUsize,
    queries: AtomicUsize,
    browser_requests: AtomicUsize,
}

/// Somebody who gets the result under an id of its own.
struct Waiter {
    id: String,
    node_id: String,
    uplink: Uplink,
}

impl Waiter {
    fn answer(&self, result: &Result<String, ErrorShape>) {
        let params = match result {
            Ok(payload) => {
                json!({"id": self.id, "nodeId": self.node_id, "ok": true, "payloadJSON": payload})
            }
            Err(error) => json!({"id": self.id, "nodeId": self.node_id, "ok": false,
                "error": {"code": error.code.as_str(), "message": error.message}}),
        };
        (self.uplink)("node.invoke.result", params);
    }
}

impl Dispatcher {
    /// A dispatcher without invokes.
    pub fn new(machine: Arc<Machine>) -> Arc<Self> {
        Arc::new(Self {
            machine,
            replays: Mutex::default(),
            runs: AtomicUsize::new(0),
            queries: AtomicUsize::new(0),
            browser_requests: AtomicUsize::new(0),
        })
    }

    /// The node's id on the wire.
    pub fn node_id(&self) -> &str {
        &self.machine.node_id
    }

    /// Takes the answer to a request of the session; returns at once.
    pub fn answered(&self, id: &str, outcome: &Result<Value, ErrorShape>) {
        let machine = &self.machine;
        machine.skills.answer(id, outcome, &machine.path);
    }

    /// Waits until no run is left, but no longer than `patience`.
    pub fn settle(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        while self.runs.load(Ordering::Acquire) > 0 && Instant::now() < deadline {
            std::thread::sleep(SETTLE_PAUSE);
        }
    }

    /// Starts an invoke, joins it to a running one or answers it; returns at once.
    pub fn dispatch(self: &Arc<Self>, invoke: Invoke, uplink: &Uplink) {
        let Invoke {
            id,
            node_id,
            command,
            params_json,
            idempotency_key,
        } = invoke;
        self.machine.skills.attach(uplink);
        let waiter = Waiter {
            id,
            node_id,
            uplink: Arc::clone(uplink),
        };
        let (key, waiter) = match idempotency_key {
            None => (None, waiter),
            Some(key) => {
                let key = Key::of(&key);
                let params = params_json.as_deref().unwrap_or("");
                let mut replays = self.replays.lock().unwrap_or_else(PoisonError::into_inner);
                match replays.begin(key, &command, params, waiter, Instant::now()) {
                    Begin::Joined => return,
                    Begin::Replay(waiter, Some(result)) => return waiter.answer(&result),
                    Begin::Replay(waiter, None) => return waiter.answer(&Err(not_kept())),
                    Begin::Independent(waiter) => (None, waiter),
                    Begin::New(waiter) => (Some(key), waiter),
                }
            }
        };
        let work = Work {
            dispatcher: Arc::clone(self),
            waiter,
            key,
            slot: None,
            begun: false,
            done: false,
        };
        work.start(command, params_json);
    }

    fn slots(&self, command: &str) -> (&AtomicUsize, usize) {
        match command {
            RUN => (&self.runs, MAX_RUNS),
            BROWSER => (&self.browser_requests, MAX_BROWSER_REQUESTS),
            _ => (&self.queries, MAX_QUERIES),
        }
    }
}

/// The places that are kept for a request to a browser, which must get through when all others hang.
fn kept_for(params_json: Option<&str>) -> usize {
    let params: Option<Value> = params_json.and_then(|text| json_text::read(text.as_bytes()).ok());
    let path = params
        .as_ref()
        .and_then(|params| params.get("path")?.as_str());
    match path.map(|path| path.trim().trim_matches('/')) {
        Some("") => KEPT_FOR_STATUS,
        Some("stop") => KEPT_FOR_STOP,
        _ => 0,
    }
}

/// One invoke on its way. Dropped without an answer, it answers that it failed: nobody waits for nothing.
struct Work {
    dispatcher: Arc<Dispatcher>,
    waiter: Waiter,
    key: Option<Key>,
    /// The command whose slot is held.
    slot: Option<String>,
    /// Its thread runs: from here on a repeat gets this result instead of another try.
    begun: bool,
    done: bool,
}

impl Work {
    fn start(mut self, command: String, params_json: Option<String>) {
        if command != BROWSER && !COMMANDS.contains(&command.as_str()) {
            return self.finish(Err(ErrorShape::unavailable("command not supported")));
        }
        let (used, mut limit) = self.dispatcher.slots(&command);
        if command == BROWSER {
            limit += kept_for(params_json.as_deref());
        }
        let free = |used: usize| (used < limit).then_some(used + 1);
        if used
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, free)
            .is_err()
        {
            return self.finish(Err(busy(limit)));
        }
        self.slot = Some(command.clone());
        let builder = std::thread::Builder::new().name("invoke".to_owned());
        // A thread that cannot start drops the work, which answers.
        let _ = builder.stack_size(INVOKE_STACK).spawn(move || {
            self.begun = true;
            let Reply { event, result } = execute(&self.dispatcher.machine, &command, params_json);
            if let Some((name, payload)) = event {
                let params = json!({"event": name, "payloadJSON": payload.to_string()});
                (self.waiter.uplink)("node.event", params);
            }
            self.finish(result.map(|payload| payload.to_string()));
        });
    }

    fn finish(mut self, result: Result<String, ErrorShape>) {
        self.answer(result);
    }

    fn answer(&mut self, result: Result<String, ErrorShape>) {
        self.done = true;
        if let Some(command) = self.slot.take() {
            self.dispatcher
                .slots(&command)
                .0
                .fetch_sub(1, Ordering::AcqRel);
        }
        let result: Finished = Arc::new(result);
        self.waiter.answer(&result);
        let Some(key) = self.key else { return };
        let mut replays = self
            .dispatcher
            .replays
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let waiting = if self.begun {
            replays.finish(key, &result, Instant::now())
        } else {
            replays.forget(key)
        };
        drop(replays);
        for waiter in waiting {
            waiter.answer(&result);
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if !self.done {
            let message = if self.begun {
                "the node could not carry out the command"
            } else {
                "node busy: the system gives no further thread; retry later"
            };
            self.answer(Err(ErrorShape::unavailable(message)));
        }
    }
}

fn busy(limit: usize) -> ErrorShape {
    ErrorShape::unavailable(format!(
        "node busy: {limit} invokes of this kind are running already; retry when one has finished"
    ))
}

fn not_kept() -> ErrorShape {
    ErrorShape::unavailable(
        "this idempotency key was used before and its result is not kept; the command was not run again",
    )
}

fn execute(machine: &Machine, command: &str, params_json: Option<String>) -> Reply {
    if command == "system.execApprovals.get" {
        return Reply::plain(system::approvals_get(machine));
    }
    let params = match parse_params(params_json.as_deref()) {
        Ok(params) => params,
        Err(error) => return Reply::plain(Err(error)),
    };
    match command {
        "system.execApprovals.set" => Reply::plain(system::approvals_set(machine, &params)),
        "system.which" => Reply::plain(system::which(machine, &params)),
        BROWSER => Reply::plain(machine.browser.answer(machine, &params)),
        "system.run.prepare" => Reply::plain(system::prepare(machine, &params)),
        _ => system::run(machine, &params),
    }
}

fn parse_params(text: Option<&str>) -> Result<Value, ErrorShape> {
    let text = text.filter(|text| !text.is_empty());
    let text =
        text.ok_or_else(|| ErrorShape::invalid("Error: INVALID_REQUEST: paramsJSON required"))?;
    json_text::read(text.as_bytes())
        .map_err(|error| ErrorShape::invalid(format!("SyntaxError: {error}")))
}

#[cfg(test)]
#[path = "invoke_tests.rs"]
mod tests;
