//! Asking the `tailscale` program of this machine.
//!
//! It runs without a shell and without this process's environment, with a deadline and a bound on what it
//! may say, and is gone with everything it started when the question is over. What an answer means is the
//! asker's business; only what the machine itself is in its tailnet is read here.

use std::fmt;
use std::io::{self, Read};
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;

use crate::discovery::domain::is_host_label;
use crate::net::Wake;
use crate::net::address::is_tailnet;
use crate::net::readiness::{Interest, wait};
use crate::protocol::nesting;

/// How long one question may take: it goes to a daemon on this host, which answers from memory.
pub const DEADLINE: Duration = Duration::from_secs(3);

/// Bytes of an answer that are read. One machine with every field is a few thousand; the status names every
/// machine of the tailnet.
pub const MAX_ANSWER_BYTES: usize = 4 * 1024 * 1024;

/// Bytes of a host name.
const MAX_NAME_BYTES: usize = 253;

/// How the program is found and run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Absolute directories separated by colons.
    pub search_path: String,
    /// Its `HOME`.
    pub home: PathBuf,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It did not start, or could not be read.
    NotRun(String),
    /// It took longer than [`DEADLINE`].
    TimedOut,
    /// It said more than [`MAX_ANSWER_BYTES`].
    TooLong,
    /// Nobody wants to know any more.
    Interrupted,
}

impl Program {
    /// What the program says to these arguments, as JSON; `None` when it said no JSON object, as it does to
    /// say no.
    ///
    /// # Errors
    /// It could not be asked, or did not answer in time or within bounds.
    pub fn ask(&self, arguments: &[&str], patience: Duration) -> Result<Option<Value>, Fault> {
        self.ask_until(arguments, patience, None)
    }

    /// The same, for as long as `wake` is not notified.
    fn ask_until(
        &self,
        arguments: &[&str],
        patience: Duration,
        wake: Option<&Wake>,
    ) -> Result<Option<Value>, Fault> {
        let deadline = Instant::now() + patience;
        let child = Command::new("tailscale")
            .args(arguments)
            .env_clear()
            .env("PATH", &self.search_path)
            .env("HOME", &self.home)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn();
        let mut running = Running(child.map_err(|error| Fault::NotRun(error.to_string()))?);
        Ok(object_in(&running.answer(deadline, wake)?))
    }

    /// The MagicDNS name of this machine, without the dot at its end; `None` when it has none or the program
    /// does not answer.
    pub fn own_name(&self) -> Option<String> {
        self.own_machine(None).ok()?.name
    }

    /// What the program says about this machine before `wake` is notified.
    ///
    /// # Errors
    /// As [`Program::ask`].
    pub fn own_machine(&self, wake: Option<&Wake>) -> Result<Machine, Fault> {
        let status = self.ask_until(&["status", "--json"], DEADLINE, wake)?;
        Ok(status.as_ref().map(Machine::of).unwrap_or_default())
    }
}

/// This machine in its tailnet; nothing in it when it is in none, or not connected to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// The MagicDNS name, without the dot at its end.
    pub name: Option<String>,
    /// The addresses it was given, those of a tailnet's ranges only, IPv4 first.
    pub addresses: Vec<IpAddr>,
}

impl Machine {
    fn of(status: &Value) -> Machine {
        let own = &status["Self"];
        let name = own["DNSName"].as_str().unwrap_or_default();
        let name = name.trim_end_matches('.');
        let is_name =
            (1..=MAX_NAME_BYTES).contains(&name.len()) && name.split('.').all(is_host_label);
        // A machine that has left keeps its last addresses in here.
        let connected = matches!(status["BackendState"].as_str(), None | Some("Running"));
        let addresses = own["TailscaleIPs"].as_array().into_iter().flatten();
        let addresses = addresses.filter_map(|address| address.as_str()?.parse().ok());
        let mut addresses: Vec<IpAddr> = addresses
            .filter(|it| connected && is_tailnet(*it))
            .collect();
        addresses.sort_unstable();
        addresses.dedup();
        Machine {
            name: is_name.then(|| name.to_owned()),
            addresses,
        }
    }
}

/// A started program, gone with everything it started when this is dropped.
struct Running(Child);

impl Running {
    fn answer(&mut self, deadline: Instant, wake: Option<&Wake>) -> Result<Vec<u8>, Fault> {
        let not_run = |error: io::Error| Fault::NotRun(error.to_string());
        let Some(mut output) = self.0.stdout.take() else {
            return Err(Fault::NotRun("it has no output".to_owned()));
        };
        let mut bytes = Vec::new();
        let mut chunk = [0_u8; 4096];
        loop {
            let ready = wait(Some(output.as_fd()), Interest::READ, wake, Some(deadline));
            let ready = ready.map_err(not_run)?;
            if ready.woken {
                return Err(Fault::Interrupted);
            }
            if ready.timed_out() {
                return Err(Fault::TimedOut);
            }
            match output.read(&mut chunk).map_err(not_run)? {
                0 => return Ok(bytes),
                read => bytes.extend_from_slice(chunk.get(..read).unwrap_or_default()),
            }
            if bytes.len() > MAX_ANSWER_BYTES {
                return Err(Fault::TooLong);
            }
            if Instant::now() >= deadline {
                return Err(Fault::TimedOut);
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has said what it had to say, or too much, or too late. Its id is its own until it is waited
        // for, so that nobody else is hit.
        if let Some(group) = Pid::from_raw(i32::try_from(self.0.id()).unwrap_or_default()) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.0.wait();
    }
}

fn object_in(answer: &[u8]) -> Option<Value> {
    let text = std::str::from_utf8(answer).ok()?;
    if nesting::measure(text).is_err() {
        return None;
    }
    serde_json::from_str(text).ok().filter(Value::is_object)
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRun(why) => write!(f, "the tailscale program cannot be run ({why})"),
            Self::TimedOut => write!(f, "no answer after {} ms", DEADLINE.as_millis()),
            Self::Interrupted => f.write_str("it was not waited for"),
            Self::TooLong => write!(f, "an answer of more than {MAX_ANSWER_BYTES} bytes"),
        }
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    use super::Program;
    use crate::store::testing::TempDir;

    /// A directory with a `tailscale` of this body, and how often it was run.
    pub struct FakeTailscale {
        pub dir: TempDir,
    }

    impl FakeTailscale {
        pub fn new(body: &str) -> Self {
            let dir = TempDir::new();
            let program = dir.path().join("tailscale");
            let runs = dir.path().join("runs");
            let script = format!("#!/bin/sh\necho \"$*\" >>'{}'\n{body}\n", runs.display());
            // A file that this process has ever written may be held open for writing by a child that
            // another test is starting, and cannot be run then.
            let source = dir.path().join("source");
            fs::write(&source, script).unwrap();
            fs::set_permissions(&source, fs::Permissions::from_mode(0o755)).unwrap();
            let copied = Command::new("cp").args([&source, &program]).status();
            assert!(copied.unwrap().success());
            Self { dir }
        }

        pub fn program(&self) -> Program {
            Program {
                search_path: format!("{}:/usr/bin:/bin", self.dir.path().display()),
                home: self.dir.path().to_owned(),
            }
        }

        pub fn runs(&self) -> Vec<String> {
            let text = fs::read_to_string(self.dir.path().join("runs")).unwrap_or_default();
            text.lines().map(str::to_owned).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::testing::FakeTailscale as Fake;
    use super::*;

    #[test]
    fn the_name_of_this_machine_is_read_from_the_status() {
        for (body, expected) in [
            (
                r#"echo '{"Self":{"DNSName":"pi.tail1.ts.net."}}'"#,
                Some("pi.tail1.ts.net"),
            ),
            (r#"echo '{"Self":{"DNSName":""}}'"#, None),
            (r#"echo '{"Self":{}}'"#, None),
            ("echo 'not running' >&2; exit 1", None),
            ("echo '[]'", None),
        ] {
            let fake = Fake::new(body);
            assert_eq!(fake.program().own_name().as_deref(), expected, "{body}");
            assert_eq!(fake.runs(), ["status --json"]);
        }
    }

    #[test]
    fn the_addresses_of_this_machine_are_those_of_a_tailnet_while_it_is_connected() {
        let own = |text: &str| Machine::of(&serde_json::from_str(text).unwrap());
        let addresses = r#"["fd7a:115c:a1e0::9","100.64.0.9","100.64.0.9","10.0.0.1","x",7]"#;
        let body = |state: &str| {
            format!(
                r#"{{{state}"Self":{{"DNSName":"pi.tail1.ts.net.","TailscaleIPs":{addresses}}}}}"#
            )
        };
        let expected: [IpAddr; 2] =
            ["100.64.0.9", "fd7a:115c:a1e0::9"].map(|text| text.parse().unwrap());
        for state in ["", r#""BackendState":"Running","#] {
            let machine = own(&body(state));
            assert_eq!(machine.addresses, expected);
            assert_eq!(machine.name.as_deref(), Some("pi.tail1.ts.net"));
        }
        assert_eq!(
            own(&body(r#""BackendState":"Stopped","#)).addresses,
            Vec::<IpAddr>::new()
        );
        for strange in [
            r#"{}"#,
            r#"{"Self":7}"#,
            r#"{"Self":{"DNSName":7,"TailscaleIPs":{}}}"#,
            r#"{"Self":{"DNSName":"pi .evil\n."}}"#,
            r#"{"Self":{"DNSName":"..."}}"#,
        ] {
            assert_eq!(own(strange), Machine::default(), "{strange}");
        }
    }

    #[test]
    fn nothing_of_this_process_reaches_the_program() {
        let fake = Fake::new("env >\"$HOME/env\"; echo '{}'");
        assert_eq!(
            fake.program().ask(&["x"], DEADLINE),
            Ok(Some(serde_json::json!({})))
        );
        let seen = fs::read_to_string(fake.dir.path().join("env")).unwrap();
        let mut names: Vec<&str> = seen
            .lines()
            .filter_map(|line| line.split('=').next())
            .collect();
        names.retain(|name| !matches!(*name, "PWD" | "OLDPWD" | "SHLVL" | "_"));
        names.sort_unstable();
        assert_eq!(names, ["HOME", "PATH"]);
    }

    #[test]
    fn a_program_that_says_nothing_is_ended_with_all_it_started() {
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut patience = Duration::from_millis(250);
        let child = loop {
            assert!(Instant::now() < deadline, "it never came to start anything");
            let fake = Fake::new("sleep 1000 & echo $! >\"$HOME/child\"; wait");
            assert_eq!(fake.program().ask(&[], patience), Err(Fault::TimedOut));
            // On a busy machine it may be ended before it has started anything.
            match fs::read_to_string(fake.dir.path().join("child")) {
                Ok(child) if !child.trim().is_empty() => break child,
                _ => patience *= 2,
            }
        };
        let stat = format!("/proc/{}/stat", child.trim());
        // Gone, or dead and waiting for whoever inherits it.
        while fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
            assert!(Instant::now() < deadline, "{stat} lives on");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
