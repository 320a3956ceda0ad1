//! Logins through the system's `ssh`: no questions, no new host keys, nothing but what was asked for.
//!
//! The user's own SSH configuration, agent and known hosts count; nothing is written. What is typed can
//! never become an option or a further command.

use std::fmt;
use std::io;
use std::net::Ipv6Addr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::net::child::finish;

/// Options of every login: never ask, never accept a new or changed host key, and say what is wrong
/// whatever the configuration says; why a port does not answer is only told at this level.
const OPTIONS: [&str; 8] = [
    "BatchMode=yes",
    "StrictHostKeyChecking=yes",
    "UpdateHostKeys=no",
    "ConnectionAttempts=1",
    "ForwardAgent=no",
    "ForwardX11=no",
    "PermitLocalCommand=no",
    "LogLevel=INFO",
];

/// Variables of this process that a login has no use for.
const SECRETS: [&str; 3] = [
    "OPENCLAW_GATEWAY_TOKEN",
    "OPENCLAW_GATEWAY_PASSWORD",
    "OPENCLAW_SETUP_CODE",
];

/// How long the other host may take to answer, at most.
pub const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// `user@host` or `user@host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshTarget {
    user: String,
    host: String,
    port: Option<u16>,
}

/// Why a login came to nothing; Display is the sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SshError {
    /// The target is not of the right form.
    BadTarget(String),
    /// The other host does not take this user's keys; the words of `ssh`.
    Denied(String),
    /// The login or the command failed, in the words of `ssh`.
    Failed(String),
    /// The key of the other host is not a known one.
    HostKey {
        /// Another one is known.
        changed: bool,
    },
    /// There is no `ssh`.
    Missing,
    /// `ssh` cannot be started.
    NoSsh(String),
    /// The login works, and the other host does not connect to the port; the words of `ssh`.
    NotForwarded(String),
    /// It took too long.
    TimedOut(Duration),
}

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
        let no_address = host.contains(':') && host.parse::<Ipv6Addr>().is_err();
        if no_address || !plain(user, "._-") || !plain(host, "._-:") || port == Some(0) {
            return Err(bad());
        }
        Ok(SshTarget {
            user: user.to_owned(),
            host: host.to_owned(),
            port,
        })
    }

    /// An `ssh` to there that asks nothing and starts nothing yet, with more options. The host has to follow after
    /// `--`, and a command may follow the host.
    pub fn command(&self, answer_within: Duration, options: &[&str]) -> Command {
        let mut ssh = Command::new("ssh");
        ssh.arg("-T");
        // A configuration may send variables on, and programs of its own run for it.
        for name in SECRETS {
            ssh.env_remove(name);
        }
        for option in OPTIONS.iter().chain(options) {
            ssh.args(["-o", option]);
        }
        let seconds = answer_within.min(CONNECT_LIMIT).as_secs().max(1);
        ssh.args(["-o", &format!("ConnectTimeout={seconds}")]);
        if let Some(port) = self.port {
            ssh.args(["-p", &port.to_string()]);
        }
        ssh.args(["-l", &self.user]);
        ssh
    }

    /// The host to log in to.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// What `command` prints there; it is run by the login's shell and must be quoted for one.
    ///
    /// # Errors
    /// [`SshError`]; a command that fails counts as a failed login.
    pub fn read(&self, command: &str, limit: Duration) -> Result<String, SshError> {
        let mut ssh = self.command(CONNECT_LIMIT, &["ClearAllForwardings=yes"]);
        ssh.args(["--", &self.host, command]);
        ssh.stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let deadline = Instant::now() + limit;
        let ended = ssh.spawn().and_then(|child| finish(child, deadline));
        let Some(ended) = ended.map_err(|error| SshError::unstarted(&error))? else {
            return Err(SshError::TimedOut(limit));
        };
        match ended.status.success() {
            true => Ok(ended.stdout),
            false => Err(SshError::of(&ended.stderr)),
        }
    }

    /// The command a person types to log in there.
    fn typed(&self) -> String {
        let port = self.port.map(|port| format!("-p {port} "));
        format!("{}{}@{}", port.unwrap_or_default(), self.user, self.host)
    }
}

impl SshError {
    /// What kept `ssh` from being started.
    pub fn unstarted(error: &io::Error) -> SshError {
        match error.kind() {
            io::ErrorKind::NotFound => SshError::Missing,
            _ => SshError::NoSsh(error.to_string()),
        }
    }

    /// What the complaints of an `ssh` that failed mean.
    pub fn of(complaint: &str) -> SshError {
        let says = |words: &str| complaint.contains(words);
        let mut lines = complaint.lines().map(str::trim);
        let refusal = lines.clone().find(|line| line.contains("open failed: "));
        let last = lines.rfind(|line| !line.is_empty());
        let last = last.unwrap_or("no reason given").to_owned();
        if says("Host key verification failed") {
            return SshError::HostKey {
                changed: says("has changed") || says("HAS CHANGED"),
            };
        }
        match refusal.and_then(|line| line.split_once("open failed: ")) {
            Some((_, why)) => SshError::NotForwarded(why.to_owned()),
            None if says("Permission denied (") => SshError::Denied(last),
            None if last == "stdio forwarding failed" => SshError::NotForwarded(last),
            None => SshError::Failed(last),
        }
    }

    /// What a person does about it at this machine, for a login at `target`; `None` where the sentence says it.
    pub fn remedy(&self, target: &SshTarget) -> Option<String> {
        let login = target.typed();
        Some(match self {
            SshError::HostKey { changed: false } => {
                format!("Log in once by hand and compare the key before you accept it: ssh {login}")
            }
            SshError::HostKey { changed: true } => format!(
                "The host was installed anew, or something else answers there. Look with: ssh {login}"
            ),
            SshError::Denied(_) => format!(
                "The login has to work without a question (a key in ssh-agent or in the SSH configuration): try ssh {login}, \
                 or ssh-copy-id {login}"
            ),
            SshError::Missing => {
                "Install the OpenSSH client, e.g. apt-get install openssh-client".to_owned()
            }
            SshError::NotForwarded(why) if why.contains("refused") => {
                "Start the gateway there, or name its port: --url ws://127.0.0.1:<port>".to_owned()
            }
            SshError::NotForwarded(why) if why.contains("prohibited") => {
                "Its sshd has to permit it: AllowTcpForwarding yes (or local)".to_owned()
            }
            _ => return None,
        })
    }
}

impl fmt::Display for SshTarget {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) if self.host.contains(':') => {
                write!(out, "{}@[{}]:{port}", self.user, self.host)
            }
            Some(port) => write!(out, "{}@{}:{port}", self.user, self.host),
            None => write!(out, "{}@{}", self.user, self.host),
        }
    }
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
            SshError::Denied(why) | SshError::Failed(why) => {
                write!(out, "the SSH login failed: {why}")
            }
            SshError::HostKey { changed: false } => out.write_str(
                "the SSH login failed: Host key verification failed. This machine does not know the host's key",
            ),
            SshError::HostKey { changed: true } => out.write_str(
                "the SSH login failed: Host key verification failed. The host's key is not the known one",
            ),
            SshError::Missing => out.write_str("there is no ssh on this machine"),
            SshError::NoSsh(why) => write!(out, "ssh cannot be started: {why}"),
            SshError::NotForwarded(why) => {
                write!(
                    out,
                    "the SSH login works, but the gateway's port does not answer there: {why}"
                )
            }
            SshError::TimedOut(after) => {
                write!(out, "the SSH login took longer than {} s", after.as_secs())
            }
        }
    }
}

impl std::error::Error for SshError {}

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
            "pi@[h:22]",
            "pi@a:b:c",
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
    fn complaints_of_ssh_are_understood() {
        let unknown = "No ED25519 host key is known for gw and you have requested strict checking.\r\n\
            Host key verification failed.\r\n";
        let changed = "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\r\nHost key for gw has changed and you have \
            requested strict checking.\r\nHost key verification failed.\r\n";
        let refused = "channel 0: open failed: connect failed: Connection refused\r\nstdio forwarding failed\r\n";
        let denied = "pi@gw: Permission denied (publickey,password).\r\n";
        let unresolved = "ssh: Could not resolve hostname gw: Name or service not known\r\n";
        let target = SshTarget::parse("pi@gw:2222").unwrap();
        for (complaint, expected, remedy) in [
            (
                unknown,
                SshError::HostKey { changed: false },
                Some("ssh -p 2222 pi@gw"),
            ),
            (
                changed,
                SshError::HostKey { changed: true },
                Some("something else answers"),
            ),
            (
                refused,
                SshError::NotForwarded("connect failed: Connection refused".to_owned()),
                Some("Start the gateway there"),
            ),
            (
                "channel 0: open failed: administratively prohibited: open failed\n",
                SshError::NotForwarded("administratively prohibited: open failed".to_owned()),
                Some("AllowTcpForwarding"),
            ),
            (
                denied,
                SshError::Denied(denied.trim().to_owned()),
                Some("ssh-copy-id -p 2222 pi@gw"),
            ),
            (
                unresolved,
                SshError::Failed(unresolved.trim().to_owned()),
                None,
            ),
            ("", SshError::Failed("no reason given".to_owned()), None),
        ] {
            let error = SshError::of(complaint);
            assert_eq!(error, expected);
            let found = error.remedy(&target);
            assert_eq!(found.is_some(), remedy.is_some(), "{found:?}");
            let said = remedy.is_none_or(|words| found.as_deref().unwrap().contains(words));
            assert!(said, "{found:?}");
        }
    }

    #[test]
    fn a_quoted_text_is_one_word() {
        assert_eq!(quoted("/a b/$(id)"), "'/a b/$(id)'");
        assert_eq!(quoted("it's"), "'it'\\''s'");
    }
}
