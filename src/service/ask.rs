//! Running the program of a service manager: its own variables only, no terminal, a deadline.

use std::ffi::OsString;
use std::io;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::config::Environment;
use crate::net::child::{Finished, finish};
use crate::service::error::ServiceError;

/// Variables that the manager's program needs to find its manager.
const PASSED: &[&str] = &[
    "DBUS_SESSION_BUS_ADDRESS",
    "DBUS_SYSTEM_BUS_ADDRESS",
    "HOME",
    "LOGNAME",
    "USER",
    "XDG_CONFIG_HOME",
    "XDG_RUNTIME_DIR",
];

/// How long a question may take.
pub const QUESTION: Duration = Duration::from_secs(20);

/// How long starting and stopping may take: a unit's own timeouts, both of them, and a reserve.
pub const CHANGE: Duration = Duration::from_secs(90);

/// Runs programs of the system in the name of one user.
#[derive(Clone, Debug)]
pub struct Asker {
    variables: Vec<(OsString, OsString)>,
}

impl Asker {
    /// With the search path and the session of `environment`.
    pub fn new(environment: &Environment) -> Self {
        let mut variables: Vec<(OsString, OsString)> = environment
            .iter()
            .filter(|(name, _)| PASSED.iter().any(|passed| name == passed))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        variables.push(("PATH".into(), environment.search_path().into()));
        variables.push(("LC_ALL".into(), "C".into()));
        Self { variables }
    }

    /// The same with one more variable.
    pub fn with(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// Whether a variable is passed.
    pub fn has(&self, name: &str) -> bool {
        self.variables.iter().any(|(known, _)| known == name)
    }

    /// What `program` says; how it ends is part of the answer.
    ///
    /// # Errors
    /// [`ServiceError::ManagerMissing`] when there is no such program, [`ServiceError::Manager`] when it cannot be
    /// run or takes longer than `limit`.
    pub fn ask(
        &self,
        program: &'static str,
        arguments: &[&str],
        limit: Duration,
    ) -> Result<Finished, ServiceError> {
        let child = Command::new(program)
            .args(arguments)
            .env_clear()
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let failed = |detail: String| ServiceError::Manager {
            command: command_line(program, arguments),
            detail,
        };
        let ended = match child {
            Ok(child) => finish(child, Instant::now() + limit),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(ServiceError::ManagerMissing(program));
            }
            Err(error) => Err(error),
        };
        match ended {
            Ok(Some(finished)) => Ok(finished),
            Ok(None) => Err(failed(format!("no answer within {} s", limit.as_secs()))),
            Err(error) => Err(failed(error.to_string())),
        }
    }
}

/// The command as a person would type it.
pub fn command_line(program: &str, arguments: &[&str]) -> String {
    [&[program], arguments].concat().join(" ")
}

/// The last line in which a program complained, else how it ended.
pub fn complaint(finished: &Finished) -> String {
    let lines = finished.stderr.lines().chain(finished.stdout.lines());
    let lines = lines.map(str::trim).filter(|line| !line.is_empty());
    let said: Vec<&str> = lines.take(4).collect();
    match said.is_empty() {
        true => finished.status.to_string(),
        false => said.join("; "),
    }
}
