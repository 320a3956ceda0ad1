//! What a session needs from the thing that carries its frames, so that a test can carry them in memory.

use std::time::Instant;

/// What happened while waiting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Carried {
    /// The connection is over: close code and reason.
    Closed(u16, String),
    /// A text message.
    Text(String),
    /// The deadline passed.
    TimedOut,
    /// Somebody woke the waiter, for example to let it look at a stop flag.
    Woken,
}

/// A connection that carries text messages both ways.
pub trait Transport: Send {
    /// Queues a text message; it leaves during the next wait at the latest.
    fn send(&mut self, text: String);

    /// Sends what is queued and waits for the next thing to happen.
    fn wait(&mut self, deadline: Instant) -> Carried;

    /// Closes the connection, waiting at most until `deadline` for the message to leave.
    fn close(&mut self, code: u16, reason: &str, deadline: Instant);

    /// Accepts large messages from now on: the handshake is done.
    fn trust(&mut self);
}
