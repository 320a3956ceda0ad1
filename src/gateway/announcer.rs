//! How often presence is broadcast: at once when it is quiet, in one go when many come and leave together.
//!
//! A broadcast of all rows to all sessions for each of thousands of closing connections would keep the
//! gateway and its network busy with nothing else. Pure data: the caller broadcasts and sets the timer.

use std::time::{Duration, Instant};

/// Shortest time between two presence broadcasts.
const PAUSE: Duration = Duration::from_millis(200);

/// What each session adds to that time, so that the cost per second stays the same in a large fleet.
const PAUSE_PER_SESSION: Duration = Duration::from_millis(2);

/// When presence was broadcast, and whether the next broadcast is already set.
#[derive(Debug, Default)]
pub struct Announcer {
    last: Option<Instant>,
    is_set: bool,
}

/// What to do about a change of presence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Broadcast at this moment.
    At(Instant),
    /// Nothing: a broadcast that is already set will show it.
    Covered,
    /// Broadcast now.
    Now,
}

impl Announcer {
    /// Presence changed at `now`, for `sessions` to hear.
    pub fn changed(&mut self, now: Instant, sessions: usize) -> Turn {
        if self.is_set {
            return Turn::Covered;
        }
        let sessions = u32::try_from(sessions).unwrap_or(u32::MAX);
        let pause = PAUSE.saturating_add(PAUSE_PER_SESSION.saturating_mul(sessions));
        match self.last {
            Some(last) if now < last + pause => {
                self.is_set = true;
                Turn::At(last + pause)
            }
            _ => {
                self.last = Some(now);
                Turn::Now
            }
        }
    }

    /// The broadcast that was set happens now.
    pub fn fired(&mut self, now: Instant) {
        self.is_set = false;
        self.last = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_change_is_told_at_once_and_a_rush_in_one_go() {
        let start = Instant::now();
        let after = |milliseconds| start + Duration::from_millis(milliseconds);
        let mut announcer = Announcer::default();
        assert_eq!(announcer.changed(start, 50), Turn::Now);
        assert_eq!(announcer.changed(after(1), 50), Turn::At(after(300)));
        assert_eq!(announcer.changed(after(2), 50), Turn::Covered);
        announcer.fired(after(300));
        assert_eq!(announcer.changed(after(599), 50), Turn::At(after(600)));
        announcer.fired(after(600));
        assert_eq!(announcer.changed(after(2_000), 0), Turn::Now);
        assert_eq!(announcer.changed(after(2_200), 0), Turn::Now);
    }
}
