//! The process groups that are alive, so that a stopping host can end them, and what their members left
//! behind.
//!
//! A group is registered before anyone could miss it and released before its leader is reaped; a signal
//! is only sent to registered groups and to children of this process, so it can never reach a process
//! that reused the number.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use signal_hook::consts::SIGCHLD;

use super::orphans;

/// How long a process may take between SIGTERM and SIGKILL, at its limit and at the host's stop.
pub const TERM_GRACE: Duration = Duration::from_secs(2);

/// How long a stopping host goes on killing what killed processes leave behind.
const SWEEP_PATIENCE: Duration = Duration::from_secs(2);

/// How often a stopping host looks for processes it was given.
const SWEEP_PAUSE: Duration = Duration::from_millis(20);

/// The collector only sits in one read and reads small files.
const COLLECTOR_STACK: usize = 128 * 1024;

/// The live process groups of a host.
#[derive(Debug, Default)]
pub struct Children {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    running: Vec<Pid>,
    /// Leaders that have ended and that their runner is about to collect: nobody else may, or the exit
    /// code would be lost.
    leaving: Vec<Pid>,
    /// Groups whose leader has exited while the host stops; they wait for the final signal.
    finished: Vec<Pid>,
    /// This process is given what its runs leave behind.
    adopting: bool,
    stopping: bool,
    killed: bool,
}

impl State {
    fn adopted(&self) -> Vec<Pid> {
        if !self.adopting {
            return Vec::new();
        }
        orphans::adopted(|pid| self.is_led(pid))
    }

    /// A runner takes care of this process.
    fn is_led(&self, pid: Pid) -> bool {
        [&self.running, &self.leaving, &self.finished]
            .iter()
            .any(|leaders| leaders.contains(&pid))
    }
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

    /// From now on what runs leave behind belongs to this process: it is collected when it ends and ended
    /// with the host. For the program, not for a library: it concerns all children of the process.
    ///
    /// # Errors
    /// The system cannot do that (no Linux, no `/proc`), or gives no descriptors or thread.
    pub fn adopt_orphans(self: &Arc<Self>) -> io::Result<()> {
        let (mut ended, signal) = UnixStream::pair()?;
        let registered = signal_hook::low_level::pipe::register(SIGCHLD, signal)?;
        let children = Arc::clone(self);
        let collect = move || {
            let mut bytes = [0; 64];
            while ended.read(&mut bytes).is_ok_and(|count| count > 0) {
                let state = children.lock();
                state.adopted().into_iter().for_each(|pid| {
                    orphans::collect(pid);
                });
            }
        };
        let builder = std::thread::Builder::new().name("collector".to_owned());
        let adopted = orphans::adopt().and_then(|()| {
            builder.stack_size(COLLECTOR_STACK).spawn(collect)?;
            Ok(())
        });
        match adopted {
            Ok(()) => self.lock().adopting = true,
            Err(_) => {
                signal_hook::low_level::unregister(registered);
            }
        }
        adopted
    }

    /// Takes a group whose leader has ended out of those that get signals; [`Children::forget`] follows.
    /// While the host stops this waits until the group's remaining members have been signalled.
    pub fn release(&self, group: Pid) {
        let mut state = self.lock();
        state.running.retain(|running| *running != group);
        state.leaving.push(group);
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

    /// The runner has collected the leader, or leaves that to whoever sees its end.
    pub fn forget(&self, group: Pid) {
        self.lock().leaving.retain(|leaving| *leaving != group);
    }

    /// Ends every group and every process that left its group: SIGTERM, [`TERM_GRACE`], SIGKILL. Returns
    /// when nothing is left or the last signal is sent; nothing can be started afterwards.
    pub fn stop(&self) {
        let mut state = self.lock();
        state.stopping = true;
        signal_all(&state.running, Signal::TERM);
        let deadline = Instant::now() + TERM_GRACE;
        let mut asked = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let orphans = state.adopted();
            if (state.running.is_empty() && orphans.is_empty()) || left.is_zero() {
                break;
            }
            let orphans = orphans.into_iter().filter(|pid| !orphans::collect(*pid));
            for orphan in orphans
                .filter(|pid| !asked.contains(pid))
                .collect::<Vec<_>>()
            {
                let _ = kill_process(orphan, Signal::TERM);
                asked.push(orphan);
            }
            let pause = if state.adopting { SWEEP_PAUSE } else { left };
            let waited = self.changed.wait_timeout(state, left.min(pause));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(state);
        self.kill();
    }

    /// Ends every group at once; nothing can be started afterwards.
    pub fn kill(&self) {
        let mut state = self.lock();
        state.stopping = true;
        signal_all(&state.running, Signal::KILL);
        signal_all(&state.finished, Signal::KILL);
        state = self.sweep(state);
        state.killed = true;
        self.changed.notify_all();
    }

    /// Kills what this process is given until nothing comes any more: the end of one orphan hands over
    /// its children.
    fn sweep<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let deadline = Instant::now() + SWEEP_PATIENCE;
        loop {
            let orphans = state.adopted();
            if orphans.is_empty() || Instant::now() >= deadline {
                return state;
            }
            for orphan in orphans {
                if !orphans::collect(orphan) {
                    let _ = kill_process(orphan, Signal::KILL);
                }
            }
            let waited = self.changed.wait_timeout(state, SWEEP_PAUSE);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leader_is_left_to_its_runner_until_it_is_collected() {
        let children = Children::default();
        let mut child = children.spawn(&mut Command::new("true")).unwrap();
        let leader = Pid::from_child(&child);
        let led = || children.lock().is_led(leader);
        assert!(led());
        children.release(leader);
        assert!(led(), "it has ended, its exit code is not read yet");
        assert_eq!(child.wait().unwrap().code(), Some(0));
        children.forget(leader);
        assert!(!led());
    }
}
