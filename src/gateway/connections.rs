//! The threads that serve connections: each has a name, an owner and an end.
//!
//! It owns the set of open connections, bounds their number and joins their threads. What a
//! connection does is `connection`'s; here it can only be told to close.

use std::collections::HashMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Instant;

use crate::identity::ConnId;
use crate::net::Outbox;
use crate::protocol::close;

/// Stack of the thread of a session in bytes: JSON of the deepest allowed nesting is parsed on it. Code
/// without optimizations needs several times as much.
const SESSION_STACK_BYTES: usize = if cfg!(debug_assertions) {
    1024 * 1024
} else {
    256 * 1024
};

/// Stack of the thread that admits a connection. Smaller than that of a session on purpose: the C
/// library keeps the stacks of ended threads for later ones that fit, with the pages they touched, and
/// a session that may stay idle for months is to begin on fresh ones.
const FIRST_STACK_BYTES: usize = SESSION_STACK_BYTES / 4 * 3;

/// The open connections and their threads; clones share them.
#[derive(Clone, Default)]
pub struct Connections {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Default)]
struct State {
    open: HashMap<ConnId, Open>,
    /// Threads that have nothing left to do but to return.
    finished: Vec<JoinHandle<()>>,
}

struct Open {
    outbox: Outbox,
    thread: JoinHandle<()>,
}

/// What a connection does on one thread. A stage gives up its thread, and so the stack it touched and
/// what the allocator keeps for that thread, before a connection that may stay idle for months begins.
pub type Stage = Box<dyn FnOnce() + Send>;

impl Connections {
    /// How many are open.
    pub fn len(&self) -> usize {
        self.lock().open.len()
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.lock().open.is_empty()
    }

    /// Runs the first stage of a connection with `cargo` on a new thread named after it, and the stage that
    /// this returns on another one. A panic ends the connection only. Errors: the system gives no more
    /// threads; the cargo comes back.
    pub fn spawn<T: Send + 'static>(
        &self,
        conn: ConnId,
        outbox: Outbox,
        cargo: T,
        first: impl FnOnce(T) -> Option<Stage> + Send + 'static,
    ) -> Result<(), (io::Error, Option<T>)> {
        let cargo = Arc::new(Mutex::new(Some(cargo)));
        let handed = Arc::clone(&cargo);
        let stage = move || taken(&handed).and_then(first);
        // Held until the thread is entered, so that it cannot leave before.
        let mut state = self.lock();
        let finished = std::mem::take(&mut state.finished);
        let thread = launch(&self.shared, &conn, FIRST_STACK_BYTES, stage)
            .map_err(|error| (error, taken(&cargo)))?;
        state.open.insert(conn, Open { outbox, thread });
        drop(state);
        join(finished);
        Ok(())
    }

    /// Tells every connection to close, whatever phase it is in.
    pub fn close_all(&self, code: u16, reason: &str) {
        for open in self.lock().open.values() {
            open.outbox.close(code, reason);
        }
    }

    /// Waits until all threads are joined; `false` when some are still busy at the deadline.
    pub fn join_all(&self, deadline: Instant) -> bool {
        let mut state = self.lock();
        while !state.open.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.shared.ended.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let finished = std::mem::take(&mut state.finished);
        drop(state);
        join(finished);
        true
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.lock()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes on with a connection on a fresh thread. Where the system gives none, the connection is told to
    /// come again later, and its next stage does no more here than to say so.
    fn go_on(self: &Arc<Self>, conn: &ConnId, next: Stage) {
        let next = Arc::new(Mutex::new(Some(next)));
        let handed = Arc::clone(&next);
        let mut state = self.lock();
        let launched = launch(self, conn, SESSION_STACK_BYTES, move || {
            if let Some(next) = taken(&handed) {
                next();
            }
            None
        });
        match (launched, state.open.get_mut(conn)) {
            (Ok(thread), Some(open)) => {
                let previous = std::mem::replace(&mut open.thread, thread);
                state.finished.push(previous);
            }
            (Ok(thread), None) => state.finished.push(thread),
            (Err(error), open) => {
                if let Some(open) = open {
                    open.outbox.close(close::TRY_LATER, close::OUT_OF_THREADS);
                }
                // The end of a connection may take its time, and looks at the others.
                drop(state);
                log::error!(target: "gateway", "cannot go on with connection {conn}: {error}");
                if let Some(next) = taken(&next) {
                    if catch_unwind(AssertUnwindSafe(next)).is_err() {
                        log::error!(target: "gateway", "connection {conn} ended by an internal error");
                    }
                }
                self.leave(conn);
            }
        }
    }

    fn leave(&self, conn: &ConnId) {
        let mut state = self.lock();
        let thread = state.open.remove(conn).map(|open| open.thread);
        state.finished.extend(thread);
        self.ended.notify_all();
    }
}

/// What whoever comes first gets.
fn taken<T>(place: &Mutex<Option<T>>) -> Option<T> {
    place.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// Starts the thread of one stage.
fn launch(
    shared: &Arc<Shared>,
    conn: &ConnId,
    stack_bytes: usize,
    stage: impl FnOnce() -> Option<Stage> + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let short: String = conn.as_str().chars().take(8).collect();
    let (shared, conn) = (Arc::clone(shared), conn.clone());
    Builder::new()
        .name(format!("conn-{short}"))
        .stack_size(stack_bytes)
        .spawn(move || match catch_unwind(AssertUnwindSafe(stage)) {
            Ok(Some(next)) => shared.go_on(&conn, next),
            Ok(None) => shared.leave(&conn),
            Err(_) => {
                log::error!(target: "gateway", "connection {conn} ended by an internal error");
                shared.leave(&conn);
            }
        })
}

/// Takes the ends of threads that are past their last statement.
fn join(threads: Vec<JoinHandle<()>>) {
    for thread in threads {
        // A panic was caught and logged inside.
        let _ = thread.join();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    fn outbox() -> Outbox {
        Outbox::new(1024).unwrap()
    }

    #[test]
    fn threads_are_counted_closed_and_joined() {
        let connections = Connections::default();
        let outboxes = [outbox(), outbox()];
        for (index, outbox) in outboxes.iter().enumerate() {
            let own = outbox.clone();
            let waits = move |()| {
                while own.is_open() {
                    std::thread::yield_now();
                }
                None
            };
            connections
                .spawn(ConnId::from(index.to_string()), outbox.clone(), (), waits)
                .unwrap();
        }
        assert_eq!(connections.len(), 2);
        assert!(!connections.join_all(Instant::now()));
        connections.close_all(1012, "service restart");
        assert!(connections.join_all(Instant::now() + PATIENCE));
        assert!(connections.is_empty());
    }

    #[test]
    fn a_panic_ends_its_own_thread_only() {
        let connections = Connections::default();
        let (sender, receiver) = mpsc::channel();
        connections
            .spawn(ConnId::from("a"), outbox(), (), |()| panic!("on purpose"))
            .unwrap();
        connections
            .spawn(ConnId::from("b"), outbox(), (), move |()| {
                sender.send(()).unwrap();
                None
            })
            .unwrap();
        receiver.recv_timeout(PATIENCE).unwrap();
        assert!(connections.join_all(Instant::now() + PATIENCE));
    }

    #[test]
    fn a_second_stage_runs_under_the_same_name_on_another_thread() {
        let connections = Connections::default();
        let (sender, receiver) = mpsc::channel();
        let here = || {
            let thread = std::thread::current();
            (thread.id(), thread.name().map(str::to_owned))
        };
        connections
            .spawn(ConnId::from("abc"), outbox(), (), move |()| {
                let first = here();
                Some(Box::new(move || sender.send((first, here())).unwrap()))
            })
            .unwrap();
        let (first, second) = receiver.recv_timeout(PATIENCE).unwrap();
        assert_ne!(first.0, second.0);
        assert_eq!(
            (first.1.as_deref(), &second.1),
            (Some("conn-abc"), &first.1)
        );
        assert!(connections.join_all(Instant::now() + PATIENCE));
    }
}
