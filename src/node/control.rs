//! What other threads tell a run loop: that it has to stop, and that the network has changed.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::net::Outbox;

/// How long the network may settle after it came up before it is tried.
const SETTLE: Duration = Duration::from_millis(250);

/// However often the network changes, this much lies between two attempts.
const SHORTEST_WAIT: Duration = Duration::from_millis(1_000);

/// Reaches a run loop from any thread, whatever it is doing.
#[derive(Debug, Default)]
pub struct Control {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    stopped: bool,
    network_changed: bool,
    /// What wakes the loop out of its session.
    session: Option<Outbox>,
}

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waited {
    /// The network came up meanwhile: what failed before may work now.
    NetworkChanged,
    /// The time passed.
    Passed,
    /// The loop has to end.
    Stopped,
}

/// What may end a wait early, beside a stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// A change of the network.
    Hasty,
    /// Nothing.
    Steady,
}

impl Control {
    /// Asks the loop to end.
    pub fn stop(&self) {
        self.tell(|state| state.stopped = true);
    }

    /// The network came up: a connection may have become possible, or be dead.
    pub fn network_changed(&self) {
        self.tell(|state| state.network_changed = true);
    }

    fn tell(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        change(&mut state);
        if let Some(session) = &state.session {
            session.poke();
        }
        self.changed.notify_all();
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.lock().stopped
    }

    /// Whether the network changed since this was last asked.
    pub(super) fn take_network_change(&self) -> bool {
        std::mem::take(&mut self.lock().network_changed)
    }

    pub(super) fn watch(&self, session: Option<Outbox>) {
        self.lock().session = session;
    }

    /// Waits before the next attempt. A hasty wait is cut short when the network changes, or has changed since
    /// the last wait.
    pub(super) fn wait(&self, time: Duration, patience: Patience) -> Waited {
        let started = Instant::now();
        let mut deadline = started + time;
        let mut outcome = Waited::Passed;
        let mut state = self.lock();
        while !state.stopped {
            let hurried = std::mem::take(&mut state.network_changed);
            if hurried && patience == Patience::Hasty {
                outcome = Waited::NetworkChanged;
                let soon = (Instant::now() + SETTLE).max(started + SHORTEST_WAIT);
                deadline = deadline.min(soon);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return outcome;
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        Waited::Stopped
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Far longer than any test: a wait that is not cut short would hang.
    const LONG: Duration = Duration::from_secs(600);

    #[test]
    fn news_from_before_the_wait_count_once() {
        let control = Control::default();
        control.network_changed();
        assert_eq!(control.wait(LONG, Patience::Hasty), Waited::NetworkChanged);
        let short = Duration::from_millis(5);
        assert_eq!(control.wait(short, Patience::Hasty), Waited::Passed);
    }

    #[test]
    fn only_a_stop_cuts_a_steady_wait_short() {
        let control = Control::default();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| control.wait(LONG, Patience::Steady));
            control.network_changed();
            control.stop();
            assert_eq!(waiting.join().unwrap(), Waited::Stopped);
        });
    }
}
