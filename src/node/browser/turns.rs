//! Turns at something that one at a time may use.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Who may go on, and who waits.
#[derive(Debug, Default)]
pub struct Turns {
    taken: Mutex<bool>,
    free: Condvar,
}

/// A turn; it ends when this is dropped.
#[derive(Debug)]
pub struct Turn<'a> {
    turns: &'a Turns,
}

impl Turns {
    /// Waits for a turn; `None` when the deadline comes first.
    pub fn take(&self, deadline: Instant) -> Option<Turn<'_>> {
        let mut taken = self.lock();
        while *taken {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            let waited = self.free.wait_timeout(taken, left);
            taken = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        *taken = true;
        Some(Turn { turns: self })
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *self.turns.lock() = false;
        self.turns.free.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn nobody_has_a_turn_while_another_has_one() {
        let turns = Turns::default();
        let patient = Instant::now() + Duration::from_secs(60);
        let first = turns.take(patient);
        assert!(first.is_some());
        assert!(turns.take(Instant::now()).is_none());
        std::thread::scope(|scope| {
            let second = scope.spawn(|| turns.take(patient).is_some());
            drop(first);
            assert!(second.join().unwrap());
        });
        assert!(turns.take(Instant::now()).is_some());
    }
}
