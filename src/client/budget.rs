//! One deadline for a whole command: name lookup, connect, handshake and answer share it. Single steps may get
//! less than what is left.

use std::time::{Duration, Instant};

use crate::client::error::ClientError;
use crate::protocol::limits::CHALLENGE_TIMEOUT;

/// A span of time and the moment it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    total: Duration,
    deadline: Instant,
    steps: Steps,
}

/// How long the steps of a connect may take each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Steps {
    /// Finding the addresses of a name.
    pub lookup: Duration,
    /// A TCP connection to one address.
    pub reach: Duration,
    /// What the gateway says first: its side of TLS and of the upgrade, then its challenge.
    pub challenge: Duration,
}

impl Default for Steps {
    /// Only the challenge has a limit of its own (appendix A).
    fn default() -> Steps {
        Steps {
            lookup: Duration::MAX,
            reach: Duration::MAX,
            challenge: CHALLENGE_TIMEOUT,
        }
    }
}

impl Budget {
    /// A budget that starts now.
    pub fn new(total: Duration) -> Budget {
        Budget {
            total,
            deadline: Instant::now() + total,
            steps: Steps::default(),
        }
    }

    /// The same with other limits for the steps.
    pub fn with_steps(self, steps: Steps) -> Budget {
        Budget { steps, ..self }
    }

    /// When it ends.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// What the steps of a connect get.
    pub fn steps(&self) -> &Steps {
        &self.steps
    }

    /// The same end, but not later than `limit` from now.
    pub fn at_most(&self, limit: Duration) -> Instant {
        let sooner = Instant::now().checked_add(limit);
        sooner.map_or(self.deadline, |sooner| self.deadline.min(sooner))
    }

    /// The error of a budget that ended.
    pub fn timeout(&self) -> ClientError {
        ClientError::Timeout(self.total)
    }
}
