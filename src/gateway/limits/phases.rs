//! How long each phase of a handshake may take, inside the one bound of `gateway.handshakeTimeoutMs`.
//!
//! Pure. Every deadline is fixed when its phase begins: bytes that trickle in never move it.

use std::time::{Duration, Instant};

/// What a phase may take of the whole handshake, in thirds: 10 s of the usual 15 s. A person's slow line
/// needs one or two; who needs all of it in one phase is holding a place.
const PHASE_THIRDS: u32 = 2;

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
        self.accepted + self.share()
    }

    /// Until when the first frame must be complete, for a connection that was upgraded at `upgraded`.
    pub fn connect(&self, upgraded: Instant) -> Instant {
        self.end().min(upgraded + self.share())
    }

    /// Until when everything must be over, goodbye apart.
    pub fn end(&self) -> Instant {
        self.accepted + self.timeout
    }

    fn share(&self) -> Duration {
        self.timeout / 3 * PHASE_THIRDS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_phase_ends_inside_the_whole() {
        let accepted = Instant::now();
        let seconds = Duration::from_secs;
        let phases = Phases::new(accepted, seconds(15));
        assert_eq!(phases.head(), accepted + seconds(10));
        assert_eq!(
            phases.connect(accepted + seconds(1)),
            accepted + seconds(11)
        );
        assert_eq!(
            phases.connect(accepted + seconds(9)),
            accepted + seconds(15)
        );
        assert_eq!(phases.end(), accepted + seconds(15));
    }
}
