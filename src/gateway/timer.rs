//! The one clock hand of the daemon: a named thread that sleeps until the next deadline and runs what
//! was scheduled for it.
//!
//! It owns the ordered deadlines and the thread. With nothing due it does not wake up at all. It never
//! knows what an action does; an action must be short and must not hold a lock while it waits. A panic
//! in an action is caught and logged, the thread goes on.

use std::collections::BTreeMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Instant;

/// Stack of the timer thread in bytes: its actions build and render small JSON documents, and debug
/// builds of `serde_json` need more than 128 KiB for the deepest allowed nesting.
const STACK_BYTES: usize = 512 * 1024;

type Action = Box<dyn FnOnce() + Send + 'static>;

/// Names one scheduled action, so that it can be cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimerId {
    deadline: Instant,
    serial: u64,
}

/// A handle to the timer thread; clones share it.
#[derive(Clone)]
pub struct Timer {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    pending: BTreeMap<TimerId, Action>,
    serial: u64,
    stopped: bool,
}

impl Timer {
    /// Starts the thread `timer`. Errors: the thread cannot be created.
    pub fn start() -> io::Result<(Self, JoinHandle<()>)> {
        let shared = Arc::new(Shared::default());
        let owned = Arc::clone(&shared);
        let thread = Builder::new()
            .name("timer".into())
            .stack_size(STACK_BYTES)
            .spawn(move || owned.run())?;
        Ok((Self { shared }, thread))
    }

    /// Runs `action` on the timer thread at `deadline` (at once when it has passed). After
    /// [`Timer::stop`] the action is dropped unrun.
    pub fn schedule(&self, deadline: Instant, action: impl FnOnce() + Send + 'static) -> TimerId {
        let mut state = self.shared.lock();
        state.serial += 1;
        let id = TimerId {
            deadline,
            serial: state.serial,
        };
        if state.stopped {
            return id;
        }
        let first = state.pending.keys().next().is_none_or(|next| id < *next);
        state.pending.insert(id, Box::new(action));
        drop(state);
        if first {
            self.shared.changed.notify_one();
        }
        id
    }

    /// Forgets a scheduled action; `true` when it had not started, so exactly one of "it ran" and
    /// "it was cancelled" holds.
    pub fn cancel(&self, id: TimerId) -> bool {
        self.shared.lock().pending.remove(&id).is_some()
    }

    /// Ends the thread after the action it is running; what is still pending is dropped unrun.
    pub fn stop(&self) {
        let dropped = {
            let mut state = self.shared.lock();
            state.stopped = true;
            std::mem::take(&mut state.pending)
        };
        self.shared.changed.notify_one();
        drop(dropped);
    }

    /// How many actions wait.
    pub fn pending(&self) -> usize {
        self.shared.lock().pending.len()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let mut state = self.lock();
        while !state.stopped {
            let Some(next) = state.pending.keys().next().copied() else {
                state = self
                    .changed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let now = Instant::now();
            if next.deadline > now {
                let (guard, _) = self
                    .changed
                    .wait_timeout(state, next.deadline - now)
                    .unwrap_or_else(PoisonError::into_inner);
                state = guard;
                continue;
            }
            let action = state.pending.remove(&next);
            drop(state);
            if let Some(action) = action {
                if catch_unwind(AssertUnwindSafe(action)).is_err() {
                    log::error!(target: "gateway", "a timer action failed");
                }
            }
            state = self.lock();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    const LONG: Duration = Duration::from_secs(3600);
    const PATIENCE: Duration = Duration::from_secs(30);

    #[test]
    fn actions_run_in_order_of_their_deadlines() {
        let (timer, thread) = Timer::start().unwrap();
        let (sender, receiver) = mpsc::channel();
        let start = Instant::now() + Duration::from_millis(30);
        for (offset, name) in [(20, "third"), (0, "first"), (10, "second")] {
            let sender = sender.clone();
            timer.schedule(start + Duration::from_millis(offset), move || {
                sender.send(name).unwrap()
            });
        }
        let seen: Vec<_> = (0..3)
            .map(|_| receiver.recv_timeout(PATIENCE).unwrap())
            .collect();
        assert_eq!(seen, ["first", "second", "third"]);
        timer.stop();
        thread.join().unwrap();
    }

    #[test]
    fn a_sooner_action_overtakes_the_sleep_for_a_later_one() {
        let (timer, thread) = Timer::start().unwrap();
        let (sender, receiver) = mpsc::channel();
        timer.schedule(Instant::now() + LONG, || {});
        timer.schedule(Instant::now(), move || sender.send(()).unwrap());
        receiver.recv_timeout(PATIENCE).unwrap();
        assert_eq!(timer.pending(), 1);
        timer.stop();
        thread.join().unwrap();
    }

    #[test]
    fn a_cancelled_action_never_runs_and_a_run_one_cannot_be_cancelled() {
        let (timer, thread) = Timer::start().unwrap();
        let (sender, receiver) = mpsc::channel();
        let cancelled = timer.schedule(Instant::now() + LONG, {
            let sender = sender.clone();
            move || sender.send("cancelled").unwrap()
        });
        assert!(timer.cancel(cancelled));
        assert!(!timer.cancel(cancelled));
        let ran = timer.schedule(Instant::now(), move || sender.send("ran").unwrap());
        assert_eq!(receiver.recv_timeout(PATIENCE).unwrap(), "ran");
        assert!(!timer.cancel(ran));
        assert!(receiver.recv_timeout(PATIENCE).is_err());
        timer.stop();
        thread.join().unwrap();
    }

    #[test]
    fn a_failing_action_does_not_end_the_thread() {
        let (timer, thread) = Timer::start().unwrap();
        let (sender, receiver) = mpsc::channel();
        timer.schedule(Instant::now(), || panic!("on purpose"));
        timer.schedule(Instant::now(), move || sender.send(()).unwrap());
        receiver.recv_timeout(PATIENCE).unwrap();
        timer.stop();
        thread.join().unwrap();
    }

    #[test]
    fn stopping_drops_what_is_pending_and_refuses_more() {
        let (timer, thread) = Timer::start().unwrap();
        let (sender, receiver) = mpsc::channel::<()>();
        let later = sender.clone();
        timer.schedule(Instant::now() + LONG, move || sender.send(()).unwrap());
        timer.stop();
        timer.schedule(Instant::now(), move || later.send(()).unwrap());
        thread.join().unwrap();
        assert_eq!(receiver.recv(), Err(mpsc::RecvError));
    }
}
