//! A gateway in memory for tests: each frame the client sends is answered by a function.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use serde_json::{Value, json};

use crate::client::transport::{Carried, Transport};
use crate::net::outbox::Errand;
use crate::net::{Outbox, Remains};

/// What the fake does with one request frame.
pub type Answer = dyn FnMut(&Value) -> Vec<Carried> + Send;

/// A connection whose other end is a function.
pub struct FakeTransport {
    inbox: VecDeque<Carried>,
    answer: Box<Answer>,
    log: Arc<Mutex<Vec<String>>>,
    outbox: Outbox,
    closed: bool,
}

impl FakeTransport {
    /// Starts with a challenge; `log` receives every frame and close of the client.
    pub fn new(log: &Arc<Mutex<Vec<String>>>, answer: Box<Answer>) -> FakeTransport {
        let challenge = json!({"type":"event","event":"connect.challenge",
            "payload":{"nonce":"n-1","ts":1_737_264_000_000_u64}});
        FakeTransport {
            inbox: VecDeque::from([Carried::Text(challenge.to_string())]),
            answer,
            log: Arc::clone(log),
            outbox: Outbox::new(1 << 20).unwrap(),
            closed: false,
        }
    }

    /// Takes everything the client queued; the close it asked for, if any.
    fn drain(&mut self) -> Option<Carried> {
        while let Errand::Send { text, cost } = self.outbox.next() {
            self.outbox.release(cost);
            let frame: Value = serde_json::from_str(&text).unwrap();
            self.log.lock().unwrap().push(text);
            let replies = (self.answer)(&frame);
            self.inbox.extend(replies);
        }
        if self.outbox.take_poke() {
            return Some(Carried::Woken);
        }
        let farewell = self.outbox.farewell()?;
        if !self.closed {
            let line = format!("close {} {}", farewell.code, farewell.reason);
            self.log.lock().unwrap().push(line);
            self.closed = true;
        }
        Some(Carried::Closed(farewell.code, farewell.reason))
    }
}

impl Transport for FakeTransport {
    fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    fn wait(&mut self, deadline: Instant) -> Carried {
        if let Some(errand) = self.drain() {
            return errand;
        }
        if let Some(next) = self.inbox.pop_front() {
            return next;
        }
        std::thread::sleep(deadline.saturating_duration_since(Instant::now()));
        Carried::TimedOut
    }

    fn trust(&mut self) {}

    fn answered(&self) -> u64 {
        0
    }

    fn forsake(&mut self) -> Option<Remains> {
        None
    }
}

/// A successful response to `frame`.
pub fn accept(frame: &Value, payload: &Value) -> Carried {
    Carried::Text(json!({"type":"res","id":frame["id"],"ok":true,"payload":payload}).to_string())
}

/// A refusal of `frame`.
pub fn refuse(frame: &Value, error: &Value) -> Carried {
    Carried::Text(json!({"type":"res","id":frame["id"],"ok":false,"error":error}).to_string())
}

/// A broadcast.
pub fn event(name: &str, seq: u64) -> Carried {
    Carried::Text(json!({"type":"event","event":name,"payload":{},"seq":seq}).to_string())
}

/// A minimal hello-ok payload.
pub fn hello(role: &str, token: Option<&str>, scopes: &[&str]) -> Value {
    let mut hello = json!({"type":"hello-ok","protocol":3,"server":{"version":"9","connId":"c"},
        "features":{"methods":[],"events":[]},"snapshot":{},"auth":{"role":role,"scopes":scopes},
        "policy":{"maxPayload":1,"maxBufferedBytes":1,"tickIntervalMs":30_000}});
    if let Some(token) = token {
        hello["auth"]["deviceToken"] = json!(token);
    }
    hello
}
