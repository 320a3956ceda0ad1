//! One WebSocket connection over a non-blocking stream, as a server or as a client.
//!
//! The owner calls `wait` in a loop: it sends what the outbox holds, asks and answers pings, and returns when a
//! text arrived, the connection ended, somebody poked, or the deadline passed. Large texts are sent in
//! fragments, so that the encoder's buffer stays small; the decoder is replaced after a large message,
//! because it never gives its buffer back.

use std::{net::TcpStream, ops::Deref, os::fd::AsFd, sync::Arc, time::Instant};

use tungstenite::{
    Bytes, Error, Message, Utf8Bytes,
    protocol::{
        CloseFrame, Role, WebSocketContext,
        frame::{
            Frame,
            coding::{Data, OpCode},
        },
    },
};

use crate::{
    net::{
        boundary::Boundary,
        diversion::{Diversion, Taker},
        error::CLOSE_LINGER,
        outbox::{Errand, Farewell, Outbox},
        readiness::{Interest, wait},
        remains::Remains,
        stream::{Stream, is_would_block},
        wire::{FRAGMENT_BYTES, Fault, Wire, complete, config},
    },
    protocol::close::{ABNORMAL, INVALID_TEXT, NO_STATUS},
};

/// Which end of the connection this is; a client masks what it sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// This end connected.
    Client,
    /// This end accepted.
    Server,
}

/// What ended a wait.
#[derive(Debug)]
pub enum Step {
    /// The connection is over; every later wait returns the same. Dropping the `Peer` says goodbye.
    Closed(Closed),
    /// A message arrived.
    Text(Text),
    /// The deadline passed.
    TimedOut,
    /// Somebody called [`Outbox::poke`].
    Woken,
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// Close code; 1005 when a close frame had none, 1006 when there was no close frame.
    pub code: u16,
    /// Close reason, often empty.
    pub reason: String,
    /// Whether this end closed.
    pub by_us: bool,
}

/// The text of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text(Utf8Bytes);

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        self.0.as_str()
    }
}

/// Bytes read or written before the other direction and the deadline get their turn.
const TURN_BYTES: usize = 256 * 1024;

/// A received message above this size makes the decoder be replaced.
const LARGE_MESSAGE_BYTES: usize = 4 * 1024;

/// One connection; it belongs to the thread that waits on it. Dropping it after it ended sends the close
/// frame and gives the other end [`CLOSE_LINGER`] to take it.
#[derive(Debug)]
pub struct Peer {
    wire: Wire,
    context: WebSocketContext,
    role: Role,
    outbox: Outbox,
    /// A text that is being handed to the encoder.
    sending: Option<Sending>,
    /// Cost of the text whose rest goes ahead of everything else.
    ahead_cost: usize,
    /// The encoder holds bytes that the stream did not take yet.
    unflushed: bool,
    /// A buffer of the decoder or the encoder has grown.
    swollen: bool,
    /// When a goodbye that waits for queued texts is said anyway.
    cutoff: Option<Instant>,
    /// Unsent bytes above which nothing is read.
    backlog: usize,
    /// Until when nothing is read.
    resting: Option<Instant>,
    ended: Option<Closed>,
    /// The other end is there to hear a goodbye.
    reachable: bool,
    /// Number of the last ping that was sent, 0 before the first.
    pinged: u64,
    /// Number of the last ping that was answered, 0 before the first.
    answered: u64,
}

#[derive(Debug)]
struct Sending {
    text: Bytes,
    sent: usize,
    cost: usize,
}

impl Peer {
    /// Takes over a stream after the upgrade. `rest` are bytes that were read behind the HTTP head,
    /// `limit` is the largest message accepted, in bytes; `outbox` is what others push to.
    pub fn new(stream: Stream, side: Side, rest: Vec<u8>, limit: usize, outbox: Outbox) -> Peer {
        let role = match side {
            Side::Client => Role::Client,
            Side::Server => Role::Server,
        };
        Peer {
            wire: Wire {
                stream,
                ahead: Vec::new(),
                rest,
                boundary: Boundary::default(),
                quota: 0,
                allowance: usize::MAX,
                traffic: outbox.traffic().cloned(),
                diversion: None,
                sorted: Vec::new(),
            },
            context: WebSocketContext::new(role, Some(config(limit))),
            role,
            outbox,
            sending: None,
            ahead_cost: 0,
            unflushed: false,
            swollen: false,
            cutoff: None,
            backlog: usize::MAX,
            resting: None,
            ended: None,
            reachable: true,
            pinged: 0,
            answered: 0,
        }
    }

    /// The handle others push to.
    pub fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// The stream underneath, for its addresses.
    pub fn stream(&self) -> &Stream {
        &self.wire.stream
    }

    /// Changes the largest accepted message, in bytes (section 1.4: larger after hello-ok). What the
    /// handshake needed in buffers is given back as soon as nothing is in them.
    pub fn set_limit(&mut self, limit: usize) {
        self.context.set_config(|current| *current = config(limit));
        self.swollen = true;
    }

    /// Bounds the bytes that are read from now on, whatever they are; one more ends the connection with
    /// 1009. `usize::MAX` is no bound.
    pub fn set_allowance(&mut self, bytes: usize) {
        self.wire.allowance = bytes;
    }

    /// Offers messages of more than `above` bytes to `taker` as they come, before they are gathered. Only what the other
    /// end sends unmasked and in one frame is offered, as servers do.
    pub fn divert(&mut self, above: usize, taker: Box<dyn Taker>) {
        self.wire.diversion = Some(Diversion::new(above, taker));
    }

    /// Reads nothing while more than `bytes` wait to be sent: whoever asks must listen. Only one end of a
    /// connection may do so.
    pub fn set_backlog(&mut self, bytes: usize) {
        self.backlog = bytes;
    }

    /// Reads nothing until then; what is queued is sent as always.
    pub fn rest_until(&mut self, until: Instant) {
        self.resting = Some(until);
    }

    /// Gives the other end no time for a goodbye. What is left can tell it when it is back.
    pub fn forsake(&mut self) -> Option<Remains> {
        self.reachable = false;
        self.wire.stream.remains().ok()
    }

    /// The number of the last [`Outbox::ping`] that was answered, 0 before the first. Nothing else that arrives
    /// counts: it may have been on its way before the ping.
    pub fn answered(&self) -> u64 {
        self.answered
    }

    /// Sends, answers pings and sleeps until there is something for the owner. A deadline in the past
    /// still sends and reads what is possible at once. Without a deadline it waits as long as it takes.
    pub fn wait(&mut self, deadline: Option<Instant>) -> Step {
        loop {
            if let Some(closed) = &self.ended {
                return Step::Closed(closed.clone());
            }
            match self.turn(deadline) {
                Ok(None) => {}
                Ok(Some(step)) => return step,
                Err(Fault::Broken(code)) => self.end_by_us(&Farewell {
                    code,
                    reason: String::new(),
                }),
                Err(Fault::Gone) => self.end(ABNORMAL, String::new(), false, false),
            }
        }
    }

    /// One round of writing, reading and sleeping.
    fn turn(&mut self, deadline: Option<Instant>) -> Result<Option<Step>, Fault> {
        self.wire.quota = TURN_BYTES;
        let turn = self.outbox.begin_turn();
        if let Some((rest, cost)) = turn.begun {
            self.wire.ahead = rest;
            self.ahead_cost = cost;
        }
        if let Some(number) = turn.ping {
            self.pinged = number;
            let payload = Bytes::copy_from_slice(&number.to_be_bytes());
            let written = self.context.write(&mut self.wire, Message::Ping(payload));
            self.unflushed |= !complete(written)?;
        }
        let emptied = self.pump()?;
        // Asked once: a sleep that waits for input must come after a look at what was received already.
        let holds_back = self.holds_back();
        if let Some(farewell) = self.outbox.farewell() {
            let cutoff = *self
                .cutoff
                .get_or_insert_with(|| Instant::now() + CLOSE_LINGER);
            if emptied || Instant::now() >= cutoff {
                self.end_by_us(&farewell);
                return Ok(None);
            }
        } else {
            if self.outbox.take_poke() {
                return Ok(Some(Step::Woken));
            }
            if !holds_back {
                if let Some(step) = self.read()? {
                    return Ok(Some(step));
                }
            }
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Ok(Some(Step::TimedOut));
        }
        let more_to_send = !emptied && !self.unflushed;
        if self.ended.is_none() && self.wire.quota > 0 && !more_to_send {
            self.sleep(deadline, holds_back)?;
        }
        Ok(None)
    }

    /// Hands queued texts to the stream while it takes them; true when nothing is left.
    fn pump(&mut self) -> Result<bool, Fault> {
        let mut written = 0;
        while written < TURN_BYTES {
            if self.outbox.gave_up() {
                self.sending = None;
                return Ok(true);
            }
            if !self.flush()? {
                return Ok(false);
            }
            if self.sending.is_none() {
                match self.outbox.next() {
                    Errand::Send { text, cost } => {
                        self.sending = Some(Sending {
                            text: text.into(),
                            sent: 0,
                            cost,
                        });
                    }
                    Errand::Rest => return Ok(true),
                }
            }
            written += self.send_fragment()?;
        }
        Ok(false)
    }

    /// Hands the next fragment of the current text to the encoder and returns its length.
    fn send_fragment(&mut self) -> Result<usize, Fault> {
        let Some(sending) = &mut self.sending else {
            return Ok(0);
        };
        let start = sending.sent;
        let end = sending.text.len().min(start + FRAGMENT_BYTES);
        let last = end == sending.text.len();
        let kind = if start == 0 {
            Data::Text
        } else {
            Data::Continue
        };
        let frame = Frame::message(sending.text.slice(start..end), OpCode::Data(kind), last);
        sending.sent = end;
        if last {
            self.outbox.release(sending.cost);
            self.sending = None;
        }
        let written = self.context.write(&mut self.wire, Message::Frame(frame));
        self.unflushed = !complete(written)?;
        Ok(end - start)
    }

    /// Writes what the encoder holds; false when the stream does not take it all now.
    fn flush(&mut self) -> Result<bool, Fault> {
        let flushed = complete(self.context.flush(&mut self.wire))?;
        self.unflushed = !flushed;
        if flushed && self.ahead_cost > 0 {
            self.outbox.release(std::mem::take(&mut self.ahead_cost));
        }
        Ok(flushed)
    }

    /// Reads one message, or notices that there is nothing more to read now.
    fn read(&mut self) -> Result<Option<Step>, Fault> {
        let message = match self.context.read(&mut self.wire) {
            Ok(message) => message,
            Err(Error::Io(error)) if is_would_block(&error) => {
                // Answers to pings were queued while reading.
                if self.flush()? {
                    self.shed();
                }
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        self.swollen |= message.len() > LARGE_MESSAGE_BYTES;
        match message {
            Message::Text(text) => Ok(Some(Step::Text(Text(text)))),
            // Other implementations accept their JSON as binary too.
            Message::Binary(bytes) => match Utf8Bytes::try_from(bytes) {
                Ok(text) => Ok(Some(Step::Text(Text(text)))),
                Err(_) => Err(Fault::Broken(INVALID_TEXT)),
            },
            Message::Close(frame) => {
                let (code, reason) = frame.map_or((NO_STATUS, String::new()), |frame| {
                    (frame.code.into(), frame.reason.as_str().to_owned())
                });
                // The decoder queued the answer; what does not leave now leaves when this is dropped.
                let _ = self.flush();
                self.end(code, reason, false, true);
                Ok(None)
            }
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {
                // A pong that carries anything else was not asked for.
                if matches!(message, Message::Pong(payload) if *payload == self.pinged.to_be_bytes())
                {
                    self.answered = self.pinged;
                }
                // The decoder may hold more: come back before sleeping.
                self.wire.quota = 0;
                Ok(None)
            }
        }
    }

    /// Replaces decoder and encoder when their buffers have grown, at a moment when they hold nothing.
    fn shed(&mut self) {
        if self.swollen && self.wire.rest.is_empty() && self.wire.boundary.at_rest() {
            let config = *self.context.get_config();
            self.context = WebSocketContext::new(self.role, Some(config));
            self.swollen = false;
        }
    }

    /// Whether nothing is read at the moment.
    fn holds_back(&mut self) -> bool {
        if self.resting.is_some_and(|until| Instant::now() >= until) {
            self.resting = None;
        }
        self.resting.is_some()
            || (self.backlog != usize::MAX && self.outbox.queued_bytes() > self.backlog)
    }

    fn sleep(&mut self, deadline: Option<Instant>, holds_back: bool) -> Result<(), Fault> {
        let interest = Interest {
            read: self.cutoff.is_none() && !holds_back,
            // Under TLS, reading may also leave something to send.
            write: self.unflushed || self.wire.stream.wants_write(),
        };
        if !self.outbox.fall_asleep(self.lendable()) {
            return Ok(());
        }
        let wakes = [deadline, self.cutoff, self.resting];
        let until = wakes.into_iter().flatten().min();
        let wake = self.outbox.wake();
        let ready = wait(Some(self.wire.stream.as_fd()), interest, Some(wake), until);
        if ready.map_err(|_| Fault::Gone)?.woken {
            wake.clear();
        }
        Ok(())
    }

    /// The socket, if a whole frame of another thread may go out by it now.
    fn lendable(&self) -> Option<&Arc<TcpStream>> {
        // Only what a server sends goes unmasked.
        let lends = self.role == Role::Server
            && self.sending.is_none()
            && !self.unflushed
            && self.cutoff.is_none();
        self.wire.stream.lendable().filter(|_| lends)
    }

    fn end_by_us(&mut self, farewell: &Farewell) {
        let frame = CloseFrame {
            code: farewell.code.into(),
            reason: farewell.reason.as_str().into(),
        };
        let sent = complete(self.context.close(&mut self.wire, Some(frame)));
        self.end(farewell.code, farewell.reason.clone(), true, sent.is_ok());
    }

    fn end(&mut self, code: u16, reason: String, by_us: bool, reachable: bool) {
        self.outbox.abandon();
        self.sending = None;
        self.reachable = reachable;
        self.ended = Some(Closed {
            code,
            reason,
            by_us,
        });
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.outbox.abandon();
        if self.ended.is_none() || !self.reachable {
            return;
        }
        let deadline = Instant::now() + CLOSE_LINGER;
        self.wire.quota = usize::MAX;
        while let Ok(false) = self.flush() {
            match wait(
                Some(self.wire.stream.as_fd()),
                Interest::WRITE,
                None,
                Some(deadline),
            ) {
                Ok(ready) if ready.writable => {}
                _ => return,
            }
        }
        self.wire.stream.linger(deadline);
    }
}

#[cfg(test)]
mod tests;
