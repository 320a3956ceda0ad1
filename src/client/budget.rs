//! One deadline for a whole command: name lookup, connect, handshake and answer share it.

use std::time::{Duration, Instant};

use crate::client::error::ClientError;

/// A span of time and the moment it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    total: Duration,
    deadline: Instant,
}

impl Budget {
    /// A budget that starts now.
    pub fn new(total: Duration) -> Budget {
        Budget {
            total,
            deadline: Instant::now() + total,
        }
    }

    /// When it ends.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// The same end, but not later than `limit` from now.
    pub fn at_most(&self, limit: Duration) -> Instant {
        self.deadline.min(Instant::now() + limit)
    }

    /// The error of a budget that ended.
    pub fn timeout(&self) -> ClientError {
        ClientError::Timeout(self.total)
    }
}
