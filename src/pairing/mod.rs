//! The heart: who may join and what they may do.
//!
//! Devices and nodes, their requests, tokens, scopes and commands, as plain functions over plain data.
//! Every operation takes the state, its input, the caller and the time in milliseconds since the epoch, and
//! returns what changed; the caller of this room saves first, then emits and answers. An operation
//! that refuses leaves the state as it was. Nothing here does I/O, reads a clock or draws randomness.

mod approval;
pub mod change;
mod chunks;
pub mod clock_step;
pub mod connect;
pub mod crowd;
pub mod device;
pub mod device_record;
mod digest;
pub mod expiry;
pub mod invitation;
pub mod networks;
pub mod node;
pub mod node_record;
pub mod policy;
pub mod prune;
pub mod refusal;
mod request;
pub mod resolution;
pub mod scopes;
mod silence;
pub mod state;
pub mod surface;
pub mod switch;
pub mod token;
pub mod transfer;
pub mod truth;
pub mod waiting;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod testing;

pub use change::{AuditEntry, Change, Changes, Part, SessionEnd};
pub use expiry::{expire, next_expiry};
pub use refusal::{Denial, Refusal};
pub use state::{Devices, Nodes, Shelf, State, Table};

use std::net::IpAddr;

use crate::{
    identity::{DeviceId, Random, RequestId, Token},
    protocol::scope::Scopes,
};

/// How long a pending request of either layer lives after its `ts`, in milliseconds (protocol §5.3, §6.2).
pub const REQUEST_TTL_MS: u64 = 300_000;

/// How many node requests may wait at once; beyond it the oldest gives way. Enough for the largest fleet
/// that one gateway serves to ask all at once: such a node's device is approved already. Strangers have
/// bounds of their own (`crowd`).
pub const MAX_PENDING_REQUESTS: usize = 8_192;

/// Where fresh ids and secrets come from, so that this room draws none itself.
pub trait Entropy {
    /// A request id nobody has used: a random v4 UUID.
    fn request_id(&mut self) -> RequestId;

    /// A bearer secret of 32 random bytes.
    fn token(&mut self) -> Token;
}

impl Entropy for Random {
    fn request_id(&mut self) -> RequestId {
        RequestId::from(self.uuid())
    }

    fn token(&mut self) -> Token {
        Random::token(self)
    }
}

/// On whose authority an operation runs.
#[derive(Clone, Debug)]
pub struct Caller<'a> {
    /// The scopes of the session.
    pub scopes: &'a Scopes,
    /// Set when the session was authenticated by a device token and lacks `operator.admin`: it sees and
    /// manages this device alone (protocol §5.6).
    pub device_bound: Option<&'a DeviceId>,
    /// The device whose token authenticated the session, admin or not: it alone is told its new token.
    pub own_device: Option<&'a DeviceId>,
    /// Who it was, for the audit log.
    pub label: String,
    /// Which way it came, for the audit log: a method name or `offline`.
    pub via: String,
    /// From which address, for the audit log.
    pub from: Option<IpAddr>,
}
