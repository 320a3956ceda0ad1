//! The way to a gateway through a login on its host: the system's `ssh` carries one connection to the gateway's
//! port there (discovery seed, "Manual / SSH target").
//!
//! It is `ssh -W` at the other end of a socket pair: no port is opened on this machine that somebody else could
//! take or use, and when this process ends, however it ends, `ssh` reads the end of its input and ends too.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Stdio};
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
    ssh: Child,
    complaint: Output,
}

impl Tunnel {
    /// Starts to log in. What is written into the stream waits until the login is done; when that fails, the stream
    /// ends, and [`Carrier::fault`] tells why. `answer_within`: how long the host may take to answer at all.
    ///
    /// # Errors
    /// [`SshError::Missing`] and [`SshError::NoSsh`].
    pub fn open(&self, answer_within: Duration) -> Result<(Stream, Carrier), SshError> {
        let unstarted = |error: io::Error| SshError::unstarted(&error);
        let (near, far) = UnixStream::pair().map_err(unstarted)?;
        let input = far.try_clone().map_err(unstarted)?;
        let mut ssh = self.target.command(answer_within, &OPTIONS);
        if let Some(identity) = &self.identity {
            ssh.arg("-i").arg(identity);
        }
        ssh.args(["-W", &format!("{THERE}:{}", self.port)]);
        ssh.args(["--", self.target.host()]);
        ssh.stdin(OwnedFd::from(input))
            .stdout(OwnedFd::from(far))
            .stderr(Stdio::piped());
        let mut child = ssh.spawn().map_err(unstarted)?;
        // The command holds this process's copies of the far end: with them the near one would never end.
        drop(ssh);
        let complaint = collect(child.stderr.take());
        let carrier = Carrier {
            ssh: child,
            complaint,
        };
        Ok((Stream::carried(near).map_err(unstarted)?, carrier))
    }
}

impl Carrier {
    /// Why the connection ended, when it was `ssh` that ended it.
    pub fn fault(&mut self) -> Option<SshError> {
        let until = Instant::now() + LAST_WORDS;
        let status = wait_until(&mut self.ssh, until).ok()??;
        (!status.success()).then(|| SshError::of(&self.complaint.said(until)))
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        // Usually it has seen the end of its input and only says goodbye to the other host.
        if let Ok(None) = wait_until(&mut self.ssh, Instant::now() + GOODBYE) {
            let _ = self.ssh.kill();
            let _ = self.ssh.wait();
        }
    }
}

impl fmt::Display for Tunnel {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "ssh {}", self.target)
    }
}
