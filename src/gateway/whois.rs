//! Asking the tailnet whose an address is: `tailscale whois --json <address>` (protocol.md §4.1).
//!
//! The program runs on the thread of the connection that asks and outside every lock, and only so many run at
//! once. What it said is remembered for a short while.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::discovery::tailscale::{DEADLINE, Fault, Program};

/// Questions asked at the same time: each is a process, and who is asked about is up to the caller.
const MAX_RUNNING: usize = 4;

/// Answers that are remembered.
const MAX_KNOWN: usize = 256;

/// How long an answer holds: addresses of a tailnet hardly ever change hands.
const KNOWN_FOR: Duration = Duration::from_secs(60);

/// How long a failure holds: whoever repairs it does not want to wait.
const FAILED_FOR: Duration = Duration::from_secs(5);

/// Why the tailnet did not say whose an address is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WhoisFault {
    /// Enough questions are open.
    Busy,
    /// The program could not be asked.
    NotAsked(Fault),
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
        let slot = {
            let mut memory = self.memory();
            if let Some(known) = memory.recall(address, Instant::now()) {
                return known;
            }
            if memory.running >= MAX_RUNNING {
                return Err(WhoisFault::Busy);
            }
            memory.running += 1;
            Slot(self)
        };
        let login = asked(program, address);
        drop(slot);
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
struct Slot<'a>(&'a Whois);

impl Drop for Slot<'_> {
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

/// Who that is, by the word of the program.
fn asked(program: &Program, address: IpAddr) -> Result<String, WhoisFault> {
    let answer = program.ask(&["whois", "--json", &address.to_string()], DEADLINE)?;
    answer
        .as_ref()
        .and_then(login_in)
        .ok_or(WhoisFault::Unknown)
}

/// `UserProfile.LoginName` of an answer.
fn login_in(answer: &Value) -> Option<String> {
    let login = answer.get("UserProfile")?.get("LoginName")?.as_str()?;
    let login = login.trim();
    (!login.is_empty()).then(|| login.to_owned())
}

impl From<Fault> for WhoisFault {
    fn from(fault: Fault) -> Self {
        Self::NotAsked(fault)
    }
}

impl fmt::Display for WhoisFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy => f.write_str("too many questions are open"),
            Self::NotAsked(fault @ Fault::NotRun(_)) => write!(
                f,
                "{fault}; install it in PATH, or set gateway.auth.allowTailscale to false"
            ),
            Self::NotAsked(fault) => fault.fmt(f),
            Self::Unknown => f.write_str("the tailnet names no user for this address"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::tailscale::testing::FakeTailscale as Fake;
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
                "head -c 5000000 /dev/zero | tr '\\0' '['; sleep 1000",
                WhoisFault::NotAsked(Fault::TooLong),
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
