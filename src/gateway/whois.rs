//! Asking the tailnet whose an address is: `tailscale whois --json <address>` (protocol.md §4.1).
//!
//! The program runs without a shell, with a deadline, a bound on what it may say and a bound on how many run
//! at once, on the thread of the connection that asks and outside every lock. What it said is remembered for
//! a short while.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, Read};
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;

use crate::net::readiness::{Interest, wait};
use crate::protocol::nesting;

/// How long one question may take: it goes to a daemon on this host, which answers from memory.
const DEADLINE: Duration = Duration::from_secs(3);

/// Bytes of an answer that are read; a node with every field is a few thousand.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Questions asked at the same time: each is a process, and who is asked about is up to the caller.
const MAX_RUNNING: usize = 4;

/// Answers that are remembered.
const MAX_KNOWN: usize = 256;

/// How long an answer holds: addresses of a tailnet hardly ever change hands.
const KNOWN_FOR: Duration = Duration::from_secs(60);

/// How long a failure holds: whoever repairs it does not want to wait.
const FAILED_FOR: Duration = Duration::from_secs(5);

/// How the program is found and run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Absolute directories separated by colons.
    pub search_path: String,
    /// Its `HOME`.
    pub home: PathBuf,
}

/// Why the tailnet did not say whose an address is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WhoisFault {
    /// Enough questions are open.
    Busy,
    /// It did not start, or could not be read.
    NotRun(String),
    /// It took too long.
    TimedOut,
    /// It said more than anybody needs.
    TooLong,
    /// It did not name a user.
    Unknown,
}

/// Asks, and remembers.
#[derive(Debug)]
pub struct Whois {
    program: Option<Program>,
    memory: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    known: HashMap<IpAddr, Known>,
    running: usize,
}

#[derive(Clone, Debug)]
struct Known {
    login: Result<String, WhoisFault>,
    until: Instant,
}

impl Whois {
    /// Without a program nobody is asked, and identities of a tailnet are not accepted.
    pub fn new(program: Option<Program>) -> Self {
        Self {
            program,
            memory: Mutex::default(),
        }
    }

    /// Whether identities of a tailnet are accepted at all.
    pub fn is_enabled(&self) -> bool {
        self.program.is_some()
    }

    /// The login name of the user whose address this is.
    pub fn login(&self, address: IpAddr) -> Result<String, WhoisFault> {
        let program = self.program.as_ref().ok_or(WhoisFault::Unknown)?;
        let seat = {
            let mut memory = self.memory();
            if let Some(known) = memory.recall(address, Instant::now()) {
                return known;
            }
            if memory.running >= MAX_RUNNING {
                return Err(WhoisFault::Busy);
            }
            memory.running += 1;
            Seat(self)
        };
        let login = program.ask(address, DEADLINE);
        drop(seat);
        if let Err(fault) = &login {
            log::warn!(target: "gateway", "tailscale whois {address}: {fault}");
        }
        self.memory().remember(address, &login, Instant::now());
        login
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of the questions that may be open, given back whatever happens.
struct Seat<'a>(&'a Whois);

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.0.memory().running -= 1;
    }
}

impl Memory {
    fn recall(&self, address: IpAddr, now: Instant) -> Option<Result<String, WhoisFault>> {
        let known = self.known.get(&address)?;
        (known.until > now).then(|| known.login.clone())
    }

    fn remember(&mut self, address: IpAddr, login: &Result<String, WhoisFault>, now: Instant) {
        self.known.retain(|_, known| known.until > now);
        if self.known.len() >= MAX_KNOWN {
            let soonest = self.known.iter().min_by_key(|(_, known)| known.until);
            if let Some(gone) = soonest.map(|(address, _)| *address) {
                self.known.remove(&gone);
            }
        }
        let holds = if login.is_ok() { KNOWN_FOR } else { FAILED_FOR };
        let known = Known {
            login: login.clone(),
            until: now + holds,
        };
        self.known.insert(address, known);
    }
}

impl Program {
    fn ask(&self, address: IpAddr, patience: Duration) -> Result<String, WhoisFault> {
        let deadline = Instant::now() + patience;
        let child = Command::new("tailscale")
            .args(["whois", "--json", &address.to_string()])
            .env_clear()
            .env("PATH", &self.search_path)
            .env("HOME", &self.home)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn();
        let mut running = Running(child.map_err(|error| WhoisFault::NotRun(error.to_string()))?);
        login_in(&running.answer(deadline)?).ok_or(WhoisFault::Unknown)
    }
}

/// A started program, gone with everything it started when this is dropped.
struct Running(Child);

impl Running {
    fn answer(&mut self, deadline: Instant) -> Result<Vec<u8>, WhoisFault> {
        let not_run = |error: io::Error| WhoisFault::NotRun(error.to_string());
        let Some(mut output) = self.0.stdout.take() else {
            return Err(WhoisFault::Unknown);
        };
        let mut bytes = Vec::new();
        let mut chunk = [0_u8; 4096];
        loop {
            let ready = wait(Some(output.as_fd()), Interest::READ, None, Some(deadline));
            if ready.map_err(not_run)?.timed_out() {
                return Err(WhoisFault::TimedOut);
            }
            match output.read(&mut chunk).map_err(not_run)? {
                0 => return Ok(bytes),
                read => bytes.extend_from_slice(chunk.get(..read).unwrap_or_default()),
            }
            if bytes.len() > MAX_ANSWER_BYTES {
                return Err(WhoisFault::TooLong);
            }
            if Instant::now() >= deadline {
                return Err(WhoisFault::TimedOut);
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

/// `UserProfile.LoginName` of an answer.
fn login_in(answer: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(answer).ok()?;
    if nesting::measure(text).is_err() {
        return None;
    }
    let answer: Value = serde_json::from_str(text).ok()?;
    let login = answer.get("UserProfile")?.get("LoginName")?.as_str()?;
    let login = login.trim();
    (!login.is_empty()).then(|| login.to_owned())
}

impl fmt::Display for WhoisFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy => f.write_str("too many questions are open"),
            Self::NotRun(why) => write!(
                f,
                "the tailscale program cannot be run ({why}); install it in PATH, or set \
                 gateway.auth.allowTailscale to false"
            ),
            Self::TimedOut => write!(f, "no answer after {} ms", DEADLINE.as_millis()),
            Self::TooLong => write!(f, "an answer of more than {MAX_ANSWER_BYTES} bytes"),
            Self::Unknown => f.write_str("the tailnet names no user for this address"),
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
    use crate::store::testing::TempDir;

    const ADA: &str = r#"echo '{"Node":{"ID":1},"UserProfile":{"LoginName":" Ada@example.com "}}'"#;

    fn address() -> IpAddr {
        "100.64.1.2".parse().unwrap()
    }

    #[test]
    fn the_program_is_asked_once_and_remembered() {
        let fake = Fake::new(ADA);
        let whois = Whois::new(Some(fake.program()));
        for _ in 0..3 {
            assert_eq!(whois.login(address()), Ok("Ada@example.com".to_owned()));
        }
        let other = "fd7a:115c:a1e0::1".parse().unwrap();
        whois.login(other).unwrap();
        assert_eq!(
            fake.runs(),
            ["whois --json 100.64.1.2", "whois --json fd7a:115c:a1e0::1"]
        );
        assert_eq!(whois.memory().running, 0);
    }

    #[test]
    fn what_names_no_user_is_a_fault() {
        for (body, expected) in [
            ("echo 'peer not found' >&2; exit 1", WhoisFault::Unknown),
            ("echo '{}'", WhoisFault::Unknown),
            ("echo 'not json'", WhoisFault::Unknown),
            (
                r#"echo '{"UserProfile":{"LoginName":""}}'"#,
                WhoisFault::Unknown,
            ),
            (
                "head -c 200000 /dev/zero | tr '\\0' '['; sleep 1000",
                WhoisFault::TooLong,
            ),
            (
                "head -c 60000 /dev/zero | tr '\\0' '['",
                WhoisFault::Unknown,
            ),
        ] {
            let fake = Fake::new(body);
            let whois = Whois::new(Some(fake.program()));
            assert_eq!(whois.login(address()), Err(expected.clone()), "{body}");
            assert_eq!(whois.login(address()), Err(expected), "{body}");
            assert_eq!(fake.runs().len(), 1, "a failure is remembered too: {body}");
        }
    }

    #[test]
    fn a_missing_program_is_named() {
        let dir = TempDir::new();
        let program = Program {
            search_path: dir.path().display().to_string(),
            home: dir.path().to_owned(),
        };
        let Err(fault) = Whois::new(Some(program)).login(address()) else {
            panic!("nothing can have answered");
        };
        let text = fault.to_string();
        assert!(
            text.contains("cannot be run") && text.contains("allowTailscale"),
            "{text}"
        );
        assert_eq!(Whois::new(None).login(address()), Err(WhoisFault::Unknown));
    }

    #[test]
    fn a_program_that_says_nothing_is_ended_with_all_it_started() {
        let fake = Fake::new("sleep 1000 & echo $! >\"$HOME/child\"; wait");
        let asked = fake.program().ask(address(), Duration::from_millis(500));
        assert_eq!(asked, Err(WhoisFault::TimedOut));
        let Ok(child) = fs::read_to_string(fake.dir.path().join("child")) else {
            return; // It was ended before it could start anything.
        };
        let stat = format!("/proc/{}/stat", child.trim());
        let deadline = Instant::now() + Duration::from_secs(30);
        // Gone, or dead and waiting for whoever inherits it.
        while fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
            assert!(Instant::now() < deadline, "{stat} lives on");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn only_so_many_questions_are_open() {
        let fake = Fake::new(ADA);
        let whois = Whois::new(Some(fake.program()));
        whois.memory().running = MAX_RUNNING;
        assert_eq!(whois.login(address()), Err(WhoisFault::Busy));
        whois.memory().running = 0;
        assert!(whois.login(address()).is_ok(), "busy is not remembered");
    }

    #[test]
    fn memory_is_bounded_and_fades() {
        let mut memory = Memory::default();
        let now = Instant::now();
        let nth = |number: u32| IpAddr::from(number.to_be_bytes());
        for number in 0..2 * MAX_KNOWN as u32 {
            let moment = now + Duration::from_millis(number.into());
            memory.remember(nth(number), &Ok("a".to_owned()), moment);
        }
        assert_eq!(memory.known.len(), MAX_KNOWN);
        let last = nth(2 * MAX_KNOWN as u32 - 1);
        assert!(memory.recall(last, now).is_some() && memory.recall(nth(0), now).is_none());
        assert!(memory.recall(last, now + 2 * KNOWN_FOR).is_none());
        memory.remember(nth(7), &Err(WhoisFault::Unknown), now);
        assert!(memory.recall(nth(7), now + 2 * FAILED_FOR).is_none());
    }
}
