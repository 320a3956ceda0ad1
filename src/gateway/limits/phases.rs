//! How long a handshake may take, and its first part, inside the one bound of `gateway.handshakeTimeoutMs`.
//!
//! Pure. Both deadlines count from accept: bytes that trickle in never move them.

use std::time::{Duration, Instant};

/// What the request head may take of the whole handshake, in thirds: 10 s of the usual 15 s. A person's slow
/// line needs one or two; who needs all of it for the head has no time for the rest.
const HEAD_THIRDS: u32 = 2;

/// The deadlines of one connection on its way in.
#[derive(Clone, Copy, Debug)]
pub struct Phases {
    accepted: Instant,
    timeout: Duration,
}

impl Phases {
    /// A connection that was accepted at `accepted` and has `timeout` until its hello.
    pub fn new(accepted: Instant, timeout: Duration) -> Self {
        Self { accepted, timeout }
    }

    /// Until when the request head must be complete, and before it a TLS handshake.
    pub fn head(&self) -> Instant {
        self.accepted + self.timeout / 3 * HEAD_THIRDS
    }

    /// Until when everything must be over, goodbye apart: the first frame is complete.
    pub fn end(&self) -> Instant {
        self.accepted + self.timeout
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_ends_inside_the_whole() {
        let accepted = Instant::now();
        let seconds = Duration::from_secs;
        let phases = Phases::new(accepted, seconds(15));
        assert_eq!(phases.head(), accepted + seconds(10));
        assert_eq!(phases.end(), accepted + seconds(15));
    }
}
