//! One connection to a browser over the DevTools protocol: calls with a deadline, events as they come.
//!
//! A thread of its own reads the WebSocket; answers find their callers by id, events go to the listener of
//! the connection. Nothing in that thread ever waits for an answer. What an answer says is read by its caller; a long
//! one comes in pieces, so that one that is too long ends no connection.

use std::collections::HashMap;
use std::fmt;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::answers::{Answer, piecewise};
use crate::net::diversion::Taker;
use crate::net::{NetError, Outbox, Peer, Side, Step, Text, dial, upgrade};
use crate::protocol::json_text;

/// Bytes of the largest event, and of the largest answer that is kept whole: a file of 10 MiB as base64 fits twice. A
/// page that logs more in one piece is not heard; an answer of more is refused.
const MAX_MESSAGE_BYTES: usize = 32 * 1024 * 1024;

/// Bytes of the largest answer that is read for a small part of it: about 100,000 nodes of a page.
const MAX_ANSWER_BYTES: usize = 128 * 1024 * 1024;

/// Bytes of an answer above which its caller reads it as it comes.
const LONG_BYTES: usize = 256 * 1024;

/// Bytes of calls that may wait for a browser that does not read.
const MAX_QUEUED_BYTES: usize = 8 * 1024 * 1024;

/// The reader parses JSON of bounded depth and hands events on.
const READER_STACK: usize = 512 * 1024;

/// Why a call has no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CdpError {
    /// The connection to the browser is over.
    Closed,
    /// The page crashed, or was closed, while it was asked.
    Gone(&'static str),
    /// The browser refused: its message.
    Refused(String),
    /// No answer before the deadline.
    TimedOut,
    /// The answer has more bytes than one may have.
    TooLong,
}

impl fmt::Display for CdpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the browser has ended; the next request starts it again"),
            Self::Gone(why) => f.write_str(why),
            Self::Refused(message) => f.write_str(message),
            Self::TimedOut => f.write_str("the browser did not answer in time"),
            Self::TooLong => write!(
                f,
                "the browser's answer is larger than {} MiB; ask for a smaller part of the page",
                MAX_MESSAGE_BYTES / (1024 * 1024)
            ),
        }
    }
}

impl std::error::Error for CdpError {}

/// Where the events of a connection go; called by its reader, so it must not wait.
pub trait Listener: Send + Sync {
    /// An event of the browser itself or of the page behind `session`.
    fn event(
        &self,
        connection: &Arc<Connection>,
        session: Option<&str>,
        method: &str,
        params: Value,
    );

    /// The connection is over.
    fn closed(&self);
}

/// Calls to one browser; any thread may call.
#[derive(Debug)]
pub struct Connection {
    outbox: Outbox,
    calls: Mutex<Calls>,
}

#[derive(Debug, Default)]
struct Calls {
    last: u64,
    open: HashMap<u64, Open>,
    closed: bool,
}

#[derive(Debug)]
struct Open {
    session: Option<String>,
    answer: SyncSender<Result<Answer, CdpError>>,
}

/// A message of the browser: an answer when it has an id, an event when it has a method.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Incoming {
    id: Option<u64>,
    method: Option<String>,
    #[serde(default)]
    params: Value,
    session_id: Option<String>,
}

/// Where a browser listens for its debugger: host, port and path of a `ws://` URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Socket {
    /// Name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Path of the upgrade.
    pub path: String,
}

impl Connection {
    /// Connects and starts the reader.
    ///
    /// # Errors
    /// [`NetError`] when nobody answers at the socket, or no WebSocket.
    pub fn open(
        socket: &Socket,
        deadline: Instant,
        listener: Arc<dyn Listener>,
    ) -> Result<Arc<Self>, NetError> {
        let mut stream = dial::connect(&socket.host, socket.port, deadline)?;
        let host = format!("{}:{}", socket.host, socket.port);
        let rest = upgrade::request(&mut stream, &host, &socket.path, deadline);
        // What a server that is no browser says is not for whom it is told to.
        let rest = rest.map_err(NetError::without_body)?;
        let outbox = Outbox::new(MAX_QUEUED_BYTES)?;
        let mut peer = Peer::new(
            stream,
            Side::Client,
            rest,
            MAX_MESSAGE_BYTES,
            outbox.clone(),
        );
        let connection = Arc::new(Self {
            outbox,
            calls: Mutex::default(),
        });
        let long = Long {
            connection: Arc::clone(&connection),
            caller: None,
        };
        peer.divert(LONG_BYTES, Box::new(long));
        let own = Arc::clone(&connection);
        std::thread::Builder::new()
            .name("browser".to_owned())
            .stack_size(READER_STACK)
            .spawn(move || own.read(peer, &*listener))?;
        Ok(connection)
    }

    /// Calls a method of the browser, or of the page behind `session`, and waits for the answer.
    ///
    /// # Errors
    /// [`CdpError`]; a call that timed out may still be carried out.
    pub fn call(
        &self,
        session: Option<&str>,
        method: &str,
        params: Value,
        deadline: Instant,
    ) -> Result<Value, CdpError> {
        let answer = self.ask(session, method, params, deadline)?;
        answer.read(MAX_MESSAGE_BYTES, deadline)
    }

    /// The same for a longer answer of which `T` keeps a small part.
    ///
    /// # Errors
    /// As [`Connection::call`].
    pub fn call_for<T: DeserializeOwned>(
        &self,
        session: Option<&str>,
        method: &str,
        params: Value,
        deadline: Instant,
    ) -> Result<T, CdpError> {
        let answer = self.ask(session, method, params, deadline)?;
        answer.read(MAX_ANSWER_BYTES, deadline)
    }

    fn ask(
        &self,
        session: Option<&str>,
        method: &str,
        params: Value,
        deadline: Instant,
    ) -> Result<Answer, CdpError> {
        let (answer, answered) = sync_channel(1);
        let mut calls = self.lock();
        if calls.closed {
            return Err(CdpError::Closed);
        }
        calls.last += 1;
        let id = calls.last;
        let session_name = session.map(str::to_owned);
        calls.open.insert(
            id,
            Open {
                session: session_name,
                answer,
            },
        );
        drop(calls);
        self.send(id, session, method, params);
        let patience = deadline.saturating_duration_since(Instant::now());
        match answered.recv_timeout(patience) {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Timeout) => {
                self.lock().open.remove(&id);
                Err(CdpError::TimedOut)
            }
            Err(RecvTimeoutError::Disconnected) => Err(CdpError::Closed),
        }
    }

    /// Calls a method whose answer nobody needs; returns at once.
    pub fn tell(&self, session: Option<&str>, method: &str, params: Value) {
        let mut calls = self.lock();
        calls.last += 1;
        let id = calls.last;
        drop(calls);
        self.send(id, session, method, params);
    }

    /// Ends every open call to a page that will not answer.
    pub fn give_up(&self, session: &str, why: &'static str) {
        let mut calls = self.lock();
        let lost: Vec<u64> = calls
            .open
            .iter()
            .filter(|(_, open)| open.session.as_deref() == Some(session))
            .map(|(id, _)| *id)
            .collect();
        for id in lost {
            if let Some(open) = calls.open.remove(&id) {
                // Whoever asked may have stopped waiting.
                let _ = open.answer.try_send(Err(CdpError::Gone(why)));
            }
        }
    }

    /// Whether calls can still be answered.
    pub fn is_open(&self) -> bool {
        !self.lock().closed
    }

    /// Ends the connection; the browser goes on.
    pub fn close(&self) {
        self.outbox.close(1000, "");
    }

    fn send(&self, id: u64, session: Option<&str>, method: &str, params: Value) {
        let mut message = json!({"id": id, "method": method, "params": params});
        if let Some(session) = session {
            message["sessionId"] = session.into();
        }
        self.outbox.push_text(message.to_string());
    }

    fn read(self: &Arc<Self>, mut peer: Peer, listener: &dyn Listener) {
        loop {
            match peer.wait(None) {
                Step::Text(text) => self.take(text, listener),
                Step::Closed(_) => break,
                Step::TimedOut | Step::Woken => {}
            }
        }
        let mut calls = self.lock();
        calls.closed = true;
        // Their callers find the channel closed.
        calls.open.clear();
        drop(calls);
        listener.closed();
    }

    fn take(self: &Arc<Self>, text: Text, listener: &dyn Listener) {
        if let Some(id) = id_of(text.as_bytes()) {
            return self.answered(id, Answer::Whole(text));
        }
        // What a browser says that is no message of the protocol concerns nobody.
        let Ok(message) = json_text::read::<Incoming>(text.as_bytes()) else {
            return;
        };
        if let Some(id) = message.id {
            self.answered(id, Answer::Whole(text));
        } else if let Some(method) = message.method {
            listener.event(self, message.session_id.as_deref(), &method, message.params);
        }
    }

    fn answered(&self, id: u64, answer: Answer) {
        if let Some(open) = self.lock().open.remove(&id) {
            // Whoever asked may have stopped waiting.
            let _ = open.answer.try_send(Ok(answer));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Long messages: answers go to their callers piece by piece, events that are too long to nobody.
struct Long {
    connection: Arc<Connection>,
    /// Who reads the present one.
    caller: Option<SyncSender<Vec<u8>>>,
}

impl Taker for Long {
    fn takes(&mut self, start: &[u8], length: u64) -> bool {
        let Some(id) = id_of(start) else {
            return length > MAX_MESSAGE_BYTES as u64;
        };
        let (caller, answer) = piecewise();
        self.caller = Some(caller);
        self.connection.answered(id, answer);
        true
    }

    fn piece(&mut self, bytes: &[u8]) {
        // One that has heard enough is not waited for.
        let gone = |caller: &SyncSender<Vec<u8>>| caller.send(bytes.to_vec()).is_err();
        if self.caller.as_ref().is_some_and(gone) {
            self.caller = None;
        }
    }

    fn end(&mut self) {
        self.caller = None;
    }
}

/// The id with which an answer begins.
fn id_of(start: &[u8]) -> Option<u64> {
    let rest = start.strip_prefix(b"{\"id\":")?;
    let end = rest.iter().position(|byte| !byte.is_ascii_digit())?;
    std::str::from_utf8(&rest[..end]).ok()?.parse().ok()
}
