//! The process groups that are alive, so that a stopping host can end them.
//!
//! A group is registered before anyone could miss it and released before its leader is reaped; a signal
//! is only sent to registered groups, so it can never reach a process that reused the number.

use std::io;
use std::process::{Child, Command};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

/// How long children of a stopping host may take between SIGTERM and SIGKILL.
pub const STOP_GRACE: Duration = Duration::from_secs(2);

/// The live process groups of a host.
#[derive(Debug, Default)]
pub struct Children {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    running: Vec<Pid>,
    /// Groups whose leader has exited while the host stops; they wait for the final signal.
    finished: Vec<Pid>,
    stopping: bool,
    killed: bool,
}

impl Children {
    /// Starts a command and registers its group; refused once the host is stopping.
    pub fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        let mut state = self.lock();
        if state.stopping {
            return Err(io::Error::new(
                io::ErrorKind::Interrupted,
                "the node host is stopping",
            ));
        }
        let child = command.spawn()?;
        state.running.push(Pid::from_child(&child));
        Ok(child)
    }

    /// Forgets a group whose leader has ended. While the host stops this waits until the group's
    /// remaining members have been signalled.
    pub fn release(&self, group: Pid) {
        let mut state = self.lock();
        state.running.retain(|running| *running != group);
        if state.stopping && !state.killed {
            state.finished.push(group);
            self.changed.notify_all();
            while !state.killed {
                state = self
                    .changed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    /// Ends every group: SIGTERM, `STOP_GRACE`, SIGKILL. Returns when the last signal is sent;
    /// nothing can be started afterwards.
    pub fn stop(&self) {
        let mut state = self.lock();
        state.stopping = true;
        signal_all(&state.running, Signal::TERM);
        let deadline = Instant::now() + STOP_GRACE;
        while !state.running.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        signal_all(&state.running, Signal::KILL);
        signal_all(&state.finished, Signal::KILL);
        state.killed = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn signal_all(groups: &[Pid], signal: Signal) {
    for group in groups {
        // A group that is already gone needs no signal.
        let _ = kill_process_group(*group, signal);
    }
}
