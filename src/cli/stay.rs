//! A command that stays connected: connects again over restarts of the gateway, and says so.

use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cli::answer::Answer;
use crate::cli::complain;
use crate::cli::error::CliError;
use crate::cli::reach::Reach;
use crate::client::{Backoff, ClientError, Session};
use crate::protocol::error::ErrorCode;
use crate::protocol::scope::Scopes;

/// Why staying ended before its time.
pub enum Stop {
    /// For good: the error of the command.
    Failed(CliError),
    /// Stdout or stderr cannot be written.
    Output(io::Error),
}

/// How one connection ended.
pub enum Lost {
    /// With the command.
    For(Stop),
    /// The gateway's side; another try may help.
    Gateway(CliError),
}

impl From<io::Error> for Stop {
    fn from(fault: io::Error) -> Stop {
        Stop::Output(fault)
    }
}

impl From<Stop> for Lost {
    fn from(stop: Stop) -> Lost {
        Lost::For(stop)
    }
}

/// The way to a gateway that is kept open.
pub struct Line {
    /// How it is reached.
    pub reach: Reach,
    /// The budget of each connect and each request.
    pub budget: Duration,
    /// What the connection has to hold.
    pub scopes: Scopes,
    /// When to end; `None`: never.
    pub end: Option<Instant>,
    /// Whether the first answer was shown: errors before that end the command.
    pub opened: bool,
}

impl Line {
    /// Connects, lets `follow` work on the connection, and connects again until that returns without a loss or the time
    /// is over.
    ///
    /// # Errors
    /// The first connection fails, a later one is refused for good, or what `follow` stops for.
    pub fn keep(
        &mut self,
        mut follow: impl FnMut(&mut Line, Session) -> Result<(), Lost>,
    ) -> Result<(), Stop> {
        let mut backoff = Backoff::new();
        loop {
            self.reach.restart_budget(self.budget);
            let lost = match self.reach.connect(&self.scopes) {
                Ok(session) => {
                    if self.opened {
                        complain("Connected again.")?;
                    }
                    match follow(self, session) {
                        Ok(()) => return Ok(()),
                        Err(Lost::Gateway(error)) => {
                            backoff.reset();
                            error
                        }
                        Err(Lost::For(stop)) => return Err(stop),
                    }
                }
                Err(error) => error,
            };
            if !self.opened || !passes(&lost) {
                return Err(Stop::Failed(lost));
            }
            let wait = backoff.wait();
            let first = lost.to_string();
            let first = first.lines().next().unwrap_or_default();
            complain(&format!("{first}; connecting again in {}s", wait.as_secs()))?;
            let wait = self.end.map_or(wait, |end| {
                wait.min(end.saturating_duration_since(Instant::now()))
            });
            std::thread::sleep(wait);
            if self.is_over() {
                return Ok(());
            }
        }
    }

    /// One request.
    ///
    /// # Errors
    /// The gateway is lost, or refuses it.
    pub fn ask(
        &mut self,
        session: &mut Session,
        method: &str,
        params: &Value,
    ) -> Result<Value, Lost> {
        self.reach.restart_budget(self.budget);
        let answer = session.request(method, params, self.reach.budget());
        answer.map_err(|error| self.lost(error))
    }

    /// A client error with where it happened.
    pub fn lost(&self, error: ClientError) -> Lost {
        Lost::Gateway(self.reach.failure(error))
    }

    /// Whether the time is over.
    pub fn is_over(&self) -> bool {
        self.end.is_some_and(|end| Instant::now() >= end)
    }
}

/// The answer of a command that stayed. A reader that closed the pipe had what it wanted.
///
/// # Errors
/// What ended it.
pub fn answer(ended: Result<(), Stop>) -> Result<Answer, CliError> {
    match ended {
        Err(Stop::Failed(error)) => Err(error),
        Err(Stop::Output(fault)) if fault.kind() != ErrorKind::BrokenPipe => {
            Err(unavailable(&fault))
        }
        Ok(()) | Err(Stop::Output(_)) => Ok(Answer::silent()),
    }
}

/// The system does not let the command stay.
pub fn unavailable(fault: &io::Error) -> CliError {
    CliError::failed("UNAVAILABLE", fault.to_string())
}

/// Whether trying again may help: the gateway is away, or says itself that it is not ready.
fn passes(error: &CliError) -> bool {
    let CliError::Client(failure) = error else {
        return false;
    };
    match &failure.error {
        ClientError::Closed { .. }
        | ClientError::NoChallenge { .. }
        | ClientError::NotGateway(_)
        | ClientError::Timeout(_)
        | ClientError::Tunnel { .. }
        | ClientError::Unreachable { .. }
        | ClientError::Unresolvable { .. } => true,
        ClientError::Rejected(shape) => shape.code == ErrorCode::Unavailable,
        ClientError::PairingRequired(_)
        | ClientError::Plaintext { .. }
        | ClientError::Resolve(_)
        | ClientError::Tls { .. } => false,
    }
}
