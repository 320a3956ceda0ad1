//! Reading one short text through the system's `ssh`: no questions, no new host keys, a deadline.
//!
//! The user's own SSH configuration, agent and known hosts count; nothing is written. What is typed can
//! never become an option or a further command.

use std::fmt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::net::child::finish;

/// Options of every login: never ask, never accept a new or changed host key, nothing but the command.
const OPTIONS: [&str; 7] = [
    "BatchMode=yes",
    "StrictHostKeyChecking=yes",
    "ConnectionAttempts=1",
    "ConnectTimeout=10",
    "ClearAllForwardings=yes",
    "ForwardAgent=no",
    "PermitLocalCommand=no",
];

/// `user@host` or `user@host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshTarget {
    user: String,
    host: String,
    port: Option<u16>,
}

/// Why nothing was read; Display is the sentence.
#[derive(Debug, PartialEq, Eq)]
pub enum SshError {
    /// The target is not of the right form.
    BadTarget(String),
    /// The login or the command failed, in the words of `ssh`.
    Failed(String),
    /// There is no `ssh`, or it cannot be started.
    NoSsh(String),
    /// It took too long.
    TimedOut(Duration),
}

impl fmt::Display for SshError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SshError::BadTarget(text) => {
                write!(
                    out,
                    "not an SSH target: {text} (use user@host or user@host:port)"
                )
            }
            SshError::Failed(why) => write!(out, "the SSH login failed: {why}"),
            SshError::NoSsh(why) => write!(out, "ssh cannot be started: {why}"),
            SshError::TimedOut(after) => {
                write!(out, "the SSH login took longer than {} s", after.as_secs())
            }
        }
    }
}

impl std::error::Error for SshError {}

impl SshTarget {
    /// Reads what was typed.
    ///
    /// # Errors
    /// [`SshError::BadTarget`] for anything that could be more than a user, a host and a port.
    pub fn parse(text: &str) -> Result<SshTarget, SshError> {
        let bad = || SshError::BadTarget(text.to_owned());
        let (user, place) = text.split_once('@').ok_or_else(bad)?;
        let (host, port) = match place
            .strip_prefix('[')
            .and_then(|rest| rest.split_once(']'))
        {
            Some((host, "")) => (host, None),
            Some((host, port)) => (host, Some(port.strip_prefix(':').ok_or_else(bad)?)),
            None => match place.split_once(':') {
                // Several colons are an address.
                Some((_, rest)) if rest.contains(':') => (place, None),
                Some((host, port)) => (host, Some(port)),
                None => (place, None),
            },
        };
        let port = port
            .map(|port| port.parse().map_err(|_| bad()))
            .transpose()?;
        let plain = |word: &str, more: &str| {
            let letter = |letter: char| letter.is_ascii_alphanumeric() || more.contains(letter);
            !word.is_empty() && !word.starts_with('-') && word.chars().all(letter)
        };
        if !plain(user, "._-") || !plain(host, "._-:") || port == Some(0) {
            return Err(bad());
        }
        Ok(SshTarget {
            user: user.to_owned(),
            host: host.to_owned(),
            port,
        })
    }

    /// What `command` prints there; it is run by the login's shell and must be quoted for one.
    ///
    /// # Errors
    /// [`SshError`]; a command that fails counts as a failed login.
    pub fn read(&self, command: &str, limit: Duration) -> Result<String, SshError> {
        let mut ssh = Command::new("ssh");
        ssh.arg("-T");
        for option in OPTIONS {
            ssh.args(["-o", option]);
        }
        if let Some(port) = self.port {
            ssh.args(["-p", &port.to_string()]);
        }
        ssh.args(["-l", &self.user, "--", &self.host, command]);
        ssh.stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let deadline = Instant::now() + limit;
        let ended = ssh.spawn().and_then(|child| finish(child, deadline));
        let Some(ended) = ended.map_err(|error| SshError::NoSsh(error.to_string()))? else {
            return Err(SshError::TimedOut(limit));
        };
        if ended.status.success() {
            return Ok(ended.stdout);
        }
        let mut complaint = ended
            .stderr
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty());
        let why = complaint
            .next_back()
            .unwrap_or("no reason given")
            .to_owned();
        Err(SshError::Failed(why))
    }
}

/// `text` as one word of a POSIX shell.
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_user_a_host_and_a_port_and_never_an_option() {
        let good = |text: &str| SshTarget::parse(text).map(|it| (it.user, it.host, it.port));
        let made = |user: &str, host: &str, port| Ok((user.to_owned(), host.to_owned(), port));
        assert_eq!(good("pi@gateway.lan"), made("pi", "gateway.lan", None));
        assert_eq!(
            good("pi@192.0.2.7:2222"),
            made("pi", "192.0.2.7", Some(2222))
        );
        assert_eq!(good("pi@fd00::7"), made("pi", "fd00::7", None));
        assert_eq!(good("pi@[fd00::7]:22"), made("pi", "fd00::7", Some(22)));
        for text in [
            "",
            "host",
            "@host",
            "pi@",
            "-oProxyCommand=x@host",
            "pi@-oProxyCommand=x",
            "pi@host:0",
            "pi@host:ssh",
            "pi@ho st",
            "pi@host;id",
            "pi@a@b",
            "pi@[fd00::7",
            "pi@[h]x",
            "p$i@h",
            "pi@h/x",
            "pi@host:70000",
            "pi@h\nx",
        ] {
            assert_eq!(
                good(text),
                Err(SshError::BadTarget(text.to_owned())),
                "{text:?}"
            );
        }
    }

    #[test]
    fn a_quoted_text_is_one_word() {
        assert_eq!(quoted("/a b/$(id)"), "'/a b/$(id)'");
        assert_eq!(quoted("it's"), "'it'\\''s'");
    }
}
