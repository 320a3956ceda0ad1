//! Running one command: started directly, watched, cut off at its limits, reported.
//!
//! Owns the child's process group, its two pipes and its exit (node-host specification, section 2.5,
//! "Execution"). It decides nothing: the caller has judged the command and built its environment.
//! Must never add a shell, and never wait for a background grandchild that holds a pipe.

mod capture;
mod children;
mod launch_error;
mod orphans;

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use serde_json::{Map, Value};

use self::capture::{Capture, Stream};
pub use self::children::{Children, TERM_GRACE};
pub use self::launch_error::errno_name;
use crate::exec::which::Unresolved;
use crate::node::environment::ChildEnvironment;

/// How long pipes are read on after the child's exit so that trailing output is not lost.
pub const DRAIN: Duration = Duration::from_millis(250);

/// How long a killed child may take to vanish before its result is sent without it.
const KILL_PATIENCE: Duration = Duration::from_secs(5);

/// Bytes taken from a pipe at once: a Linux pipe's default capacity.
const READ_CHUNK: usize = 64 * 1024;

/// The exit watcher only sits in one system call.
const WATCHER_STACK: usize = 64 * 1024;

/// A command that has been judged and is ready to start.
#[derive(Debug)]
pub struct Launch {
    /// The file to execute, absolute; or why there is none, which the outcome then says.
    pub program: Result<PathBuf, Unresolved>,
    /// What the program is told it is called, first, and its arguments.
    pub argv: Vec<String>,
    /// Working directory; `None` is the host's own.
    pub cwd: Option<PathBuf>,
    /// The working directory held open since it was checked: the child enters this one, whatever stands
    /// at the path by then. `None` enters by the path.
    pub held: Option<OwnedFd>,
    /// The child's whole environment.
    pub environment: ChildEnvironment,
    /// Wall time after which the whole process group is ended; `None` is no limit.
    pub timeout: Option<Duration>,
}

impl Launch {
    /// How the child gets into its working directory.
    fn entrance(&self) -> Option<PathBuf> {
        let by_path = self.cwd.as_ref()?;
        let held = self
            .held
            .as_ref()
            .map(|held| PathBuf::from(format!("/proc/self/fd/{}", held.as_raw_fd())));
        // Without /proc the path has to do.
        let held = held.filter(|entrance| entrance.exists());
        Some(held.unwrap_or_else(|| by_path.clone()))
    }
}

/// How a command ended. A command that did not start is an outcome too, with `error`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Absent when the child was killed by a signal, timed out or did not start.
    pub exit_code: Option<i32>,
    /// The limit was reached and the group was killed.
    pub timed_out: bool,
    /// Captured output; both streams share one budget.
    pub stdout: String,
    /// Captured diagnostics.
    pub stderr: String,
    /// More was written than is kept; the text says so too.
    pub truncated: bool,
    /// Why the command did not start.
    pub error: Option<String>,
}

impl Outcome {
    /// The outcome of a command that did not start.
    pub fn failed(error: String) -> Self {
        Self {
            error: Some(error),
            ..Self::default()
        }
    }

    /// Exit code 0, in time, started.
    pub fn success(&self) -> bool {
        self.exit_code == Some(0) && !self.timed_out && self.error.is_none()
    }

    /// The result payload of `system.run`.
    pub fn payload(&self) -> Value {
        let mut payload = Map::new();
        if let Some(code) = self.exit_code {
            payload.insert("exitCode".to_owned(), code.into());
        }
        payload.insert("timedOut".to_owned(), self.timed_out.into());
        payload.insert("success".to_owned(), self.success().into());
        payload.insert("stdout".to_owned(), self.stdout.as_str().into());
        payload.insert("stderr".to_owned(), self.stderr.as_str().into());
        payload.insert("error".to_owned(), self.error.clone().into());
        Value::Object(payload)
    }
}

/// Runs a command to its end, its limit or the host's stop, and reports it.
///
/// Blocks the calling thread for that long. The child leads its own process group, gets no input and
/// is registered in `children` while it lives.
pub fn run(launch: &Launch, children: &Children) -> Outcome {
    if let Some(error) = launch_error::working_directory(launch) {
        return Outcome::failed(error);
    }
    let program = match &launch.program {
        Ok(program) => program,
        Err(Unresolved::NotExecutable) => {
            return Outcome::failed(launch_error::describe(launch, &Errno::ACCESS.into()));
        }
        Err(Unresolved::NotFound) => {
            return Outcome::failed(launch_error::describe(launch, &Errno::NOENT.into()));
        }
    };
    match start(launch, program, children) {
        Ok(running) => running.supervise(launch.timeout, children),
        Err(error) => Outcome::failed(launch_error::describe(launch, &error)),
    }
}

fn start(launch: &Launch, program: &Path, children: &Children) -> std::io::Result<Running> {
    let (exit, exit_signal) = UnixStream::pair()?;
    let mut command = Command::new(program);
    if let Some((name, arguments)) = launch.argv.split_first() {
        command.arg0(name).args(arguments);
    }
    if let Some(entrance) = launch.entrance() {
        command.current_dir(entrance);
    }
    command
        .env_clear()
        .envs(&launch.environment)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    let mut child = children.spawn(&mut command)?;
    let group = Pid::from_child(&child);
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let late = Late::default();
    if let Err(error) = watch_exit(group, exit_signal, Arc::clone(&late)) {
        let _ = kill_process_group(group, Signal::KILL);
        children.release(group);
        // Killed before it did anything: it goes at once.
        let _ = child.wait();
        children.forget(group);
        return Err(error);
    }
    Ok(Running {
        child,
        group,
        stdout,
        stderr,
        exit,
        late,
    })
}

/// A child that outlived the patience of its runner; the watcher collects it when it ends at last.
type Late = Arc<Mutex<Option<Child>>>;

/// Closes `signal` when the child has exited, without reaping it: its group id stays ours until the
/// runner is done with it.
fn watch_exit(group: Pid, signal: UnixStream, late: Late) -> std::io::Result<()> {
    let wait = move || {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while waitid(WaitId::Pid(group), options).is_err_and(|error| error == Errno::INTR) {}
        drop(signal);
        let left = late.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut child) = left {
            let _ = child.wait();
        }
    };
    let builder = std::thread::Builder::new().name("exit-watch".to_owned());
    builder.stack_size(WATCHER_STACK).spawn(wait).map(drop)
}

struct Running {
    child: Child,
    group: Pid,
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    exit: UnixStream,
    late: Late,
}

/// How far the end of a run that took too long has come.
#[derive(PartialEq, Eq)]
enum Limit {
    Ahead,
    Asked,
    Killed,
}

/// What the poll found: bytes or an end on each stream, and the child's exit.
struct Ready {
    stdout: bool,
    stderr: bool,
    exit: bool,
}

impl Running {
    fn supervise(mut self, timeout: Option<Duration>, children: &Children) -> Outcome {
        let mut capture = Capture::default();
        let mut exited = false;
        // A limit beyond the clock's range is no limit.
        let mut deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut limit = Limit::Ahead;
        let mut buffer = vec![0; READ_CHUNK];
        while self.stdout.is_some() || self.stderr.is_some() || !exited {
            let Some(ready) = self.wait(exited, deadline) else {
                if exited || limit == Limit::Killed {
                    break;
                }
                let (signal, patience) = match limit {
                    Limit::Ahead => (Signal::TERM, TERM_GRACE),
                    Limit::Asked | Limit::Killed => (Signal::KILL, KILL_PATIENCE),
                };
                limit = match limit {
                    Limit::Ahead => Limit::Asked,
                    Limit::Asked | Limit::Killed => Limit::Killed,
                };
                let _ = kill_process_group(self.group, signal);
                deadline = Some(Instant::now() + patience);
                continue;
            };
            if ready.stdout {
                capture.read(Stream::Stdout, &mut self.stdout, &mut buffer);
            }
            if ready.stderr {
                capture.read(Stream::Stderr, &mut self.stderr, &mut buffer);
            }
            if ready.exit {
                exited = true;
                deadline = Some(Instant::now() + DRAIN);
            }
        }
        let timed_out = limit != Limit::Ahead;
        if timed_out {
            // Members that heard the first signal and stayed, when the leader went.
            let _ = kill_process_group(self.group, Signal::KILL);
        }
        let exit_code = self.reap(children);
        let truncated = capture.is_truncated();
        let (stdout, stderr) = capture.finish();
        let exit_code = exit_code.filter(|_| !timed_out);
        Outcome {
            exit_code,
            timed_out,
            stdout,
            stderr,
            truncated,
            error: None,
        }
    }

    /// Sleeps until something is ready; `None` when the deadline has passed.
    fn wait(&self, exited: bool, deadline: Option<Instant>) -> Option<Ready> {
        let sources = [
            self.stdout.as_ref().map(AsFd::as_fd),
            self.stderr.as_ref().map(AsFd::as_fd),
            (!exited).then(|| self.exit.as_fd()),
        ];
        loop {
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                return None;
            }
            let timeout = left.and_then(|left| Timespec::try_from(left).ok());
            let mut polled: Vec<PollFd<'_>> = sources
                .iter()
                .flatten()
                .map(|source| PollFd::new(source, PollFlags::IN))
                .collect();
            // An interrupted poll is asked again; the deadline is computed anew.
            if !poll(&mut polled, timeout.as_ref()).is_ok_and(|ready| ready > 0) {
                continue;
            }
            let mut results = polled.iter().map(|fd| !fd.revents().is_empty());
            let [stdout, stderr, exit] =
                sources.map(|source| source.is_some() && results.next().unwrap_or(false));
            return Some(Ready {
                stdout,
                stderr,
                exit,
            });
        }
    }

    fn reap(mut self, children: &Children) -> Option<i32> {
        // Until here the child is at most a zombie, so that its group id cannot be anyone else's.
        children.release(self.group);
        // Under this lock the watcher either sees the child that is left to it or has seen its end.
        let mut late = self.late.lock().unwrap_or_else(PoisonError::into_inner);
        let status = self.child.try_wait();
        if matches!(status, Ok(None)) {
            *late = Some(self.child);
        }
        drop(late);
        children.forget(self.group);
        status.ok().flatten().and_then(|status| status.code())
    }
}

#[cfg(test)]
mod tests;
