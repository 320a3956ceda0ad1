//! The way to a gateway through a login on its host: the system's `ssh` carries one connection to the gateway's
//! port there (discovery seed, "Manual / SSH target").
//!
//! It is `ssh -W` at the other end of a socket pair: no port is opened on this machine that somebody else could
//! take or use. The end of its input it only passes on, so a small shell beside it holds the read end of a pipe
//! whose other end only this program has: however this program ends, the pipe closes and `ssh` is ended.

use std::fmt;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use crate::client::ssh::{SshError, SshTarget};
use crate::net::Stream;
use crate::net::child::{Output, collect, wait_until};

/// Where the gateway listens on its own host, whatever else it is bound to.
const THERE: &str = "127.0.0.1";

/// Options of a login that carries a connection: its own, whatever else is logged in there, and given up when the
/// other host is silent for 45 seconds.
const OPTIONS: [&str; 5] = [
    "ControlMaster=no",
    "ControlPath=none",
    "ExitOnForwardFailure=yes",
    "ServerAliveInterval=15",
    "ServerAliveCountMax=3",
];

/// Runs `ssh` on the connection that is its output, and ends as it does. A line of input asks `ssh` to end and what
/// follows kills it; the end of the input alone asks it. Nothing else keeps the connection or the complaints open.
const LIFELINE: &str = r#"trap "" INT
exec 3<&0 </dev/null
"$@" <&1 3<&- &
ssh=$!
exec >/dev/null 2>&1
( if read -r _ <&3; then kill -TERM $ssh; read -r _ <&3; kill -KILL $ssh; else kill -TERM $ssh; fi ) &
lifeline=$!
exec 3<&-
wait $ssh
status=$?
kill -KILL $lifeline
wait $lifeline
exit $status"#;

/// How that shell ends when there is no such program.
const NO_PROGRAM: i32 = 127;

/// How long `ssh` may take to end by itself once nobody uses it any more.
const GOODBYE: Duration = Duration::from_millis(500);

/// How long `ssh` may take to say why it ends after it has let go of the connection.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// A login and the port of a gateway there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tunnel {
    /// Where to log in.
    pub target: SshTarget,
    /// The key file to log in with, beside those of the SSH configuration.
    pub identity: Option<PathBuf>,
    /// The gateway's port on that host's loopback.
    pub port: u16,
}

/// The `ssh` that carries a connection. It ends with this value.
#[derive(Debug)]
pub struct Carrier {
    /// The shell that waits for it.
    ssh: Child,
    lifeline: Option<ChildStdin>,
    complaint: Output,
}

impl Tunnel {
    /// Starts to log in. What is written into the stream waits until the login is done; when that fails, the stream
    /// ends, and [`Carrier::fault`] tells why. `answer_within`: how long the host may take to answer at all.
    ///
    /// # Errors
    /// [`SshError::NoSsh`].
    pub fn open(&self, answer_within: Duration) -> Result<(Stream, Carrier), SshError> {
        let unstarted = |error: io::Error| SshError::unstarted(&error);
        let (near, far) = UnixStream::pair().map_err(unstarted)?;
        let mut ssh = self.target.command(answer_within, &OPTIONS);
        if let Some(identity) = &self.identity {
            ssh.arg("-i").arg(identity);
        }
        ssh.args(["-W", &format!("{THERE}:{}", self.port)]);
        ssh.args(["--", self.target.host()]);
        let mut command = lifelined(&ssh);
        command
            .stdin(Stdio::piped())
            .stdout(OwnedFd::from(far))
            .stderr(Stdio::piped());
        let mut child = command.spawn().map_err(unstarted)?;
        // The command holds this process's copy of the far end: with it the near one would never end.
        drop(command);
        let complaint = collect(child.stderr.take());
        let carrier = Carrier {
            lifeline: child.stdin.take(),
            ssh: child,
            complaint,
        };
        Ok((Stream::carried(near).map_err(unstarted)?, carrier))
    }
}

/// The same command, ended with this process.
fn lifelined(ssh: &Command) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", LIFELINE, "ssh"]).arg(ssh.get_program());
    command.args(ssh.get_args());
    for (name, value) in ssh.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

impl Carrier {
    /// Why the connection ended, when it was `ssh` that ended it.
    pub fn fault(&mut self) -> Option<SshError> {
        let until = Instant::now() + LAST_WORDS;
        let status = wait_until(&mut self.ssh, until).ok()??;
        match status.code() {
            Some(0) => None,
            Some(NO_PROGRAM) => Some(SshError::Missing),
            _ => Some(SshError::of(&self.complaint.said(until))),
        }
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        // Usually it has seen the end of its input and only says goodbye to the other host.
        let ended = |ssh: &mut Child| {
            let outcome = wait_until(ssh, Instant::now() + GOODBYE);
            !matches!(outcome, Ok(None))
        };
        if ended(&mut self.ssh) {
            return;
        }
        // Where the line cannot be written, the shell is about to end.
        let _ = self.lifeline.as_mut().map(|line| line.write_all(b"\n"));
        if !ended(&mut self.ssh) {
            drop(self.lifeline.take());
            let _ = self.ssh.wait();
        }
    }
}

impl fmt::Display for Tunnel {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "ssh {}", self.target)
    }
}
