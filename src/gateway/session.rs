//! One admitted connection: who it is, what it may do, and the way to answer it.
//!
//! Everything a session is was fixed at its handshake and never changes; what it may do is narrowed
//! only by ending it. Answers go through its outbox from any thread.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

use crate::gateway::auth::AuthMethod;
use crate::gateway::grounds::Grounds;
use crate::gateway::locality::Locality;
use crate::identity::{ConnId, DeviceId, NodeId};
use crate::net::Outbox;
use crate::protocol::close;
use crate::protocol::connect::ClientInfo;
use crate::protocol::error::{ErrorCode, ErrorShape};
use crate::protocol::frame::{self, EventText};
use crate::protocol::limits::MAX_UNAUTHORIZED_CALLS;
use crate::protocol::scope::{Role, Scope, Scopes};

/// Start of the refusals that the flood guard counts (protocol.md §4.5).
const UNAUTHORIZED_ROLE: &str = "unauthorized role:";

/// One live session.
#[derive(Debug)]
pub struct Session {
    /// How it proved itself.
    pub auth: AuthMethod,
    /// Capabilities as claimed.
    pub caps: Vec<String>,
    /// Which program it is, as claimed.
    pub client: ClientInfo,
    /// Its connection.
    pub conn: ConnId,
    /// Epoch milliseconds of hello-ok.
    pub connected_at_ms: u64,
    /// Commands as claimed: trimmed, without repetition, in declared order, not filtered by any policy.
    pub declared: Vec<String>,
    /// The device that proved its key; `None` for the device-less exceptions.
    pub device: Option<DeviceId>,
    /// Device family as pinned at pairing, else as claimed.
    pub device_family: Option<String>,
    /// What of the rules admitted it.
    pub grounds: Grounds,
    /// Where it comes from.
    pub locality: Locality,
    /// The way to it.
    pub outbox: Outbox,
    /// `PATH` as claimed.
    pub path_env: Option<String>,
    /// Permissions as claimed.
    pub permissions: Option<BTreeMap<String, bool>>,
    /// Platform as pinned at pairing, else as claimed.
    pub platform: String,
    /// Negotiated protocol version.
    pub protocol: u8,
    /// The address it is shown under; absent when local or hidden by a proxy.
    pub reported_ip: Option<IpAddr>,
    /// Its role.
    pub role: Role,
    /// The scopes it is authorized with, in the order sent.
    pub scopes: Scopes,
    /// Refusals for the wrong role in a row.
    pub unauthorized: AtomicU32,
}

impl Session {
    /// The node id of a session with role node; such a session always has a device.
    pub fn node(&self) -> Option<NodeId> {
        match self.role {
            Role::Node => self.device.as_ref().map(NodeId::from),
            Role::Operator => None,
        }
    }

    /// The device a caller is bound to: a device-token session without `operator.admin` sees and
    /// manages only itself (protocol.md §5.6).
    pub fn device_bound(&self) -> Option<&DeviceId> {
        self.own_device()
            .filter(|_| !self.scopes.contains(&Scope::ADMIN))
    }

    /// The device whose token authenticated this session, admin or not.
    pub fn own_device(&self) -> Option<&DeviceId> {
        self.device
            .as_ref()
            .filter(|_| self.auth == AuthMethod::DeviceToken)
    }

    /// Answers request `id`.
    pub fn answer(&self, id: &str, outcome: &Result<Value, ErrorShape>) {
        match outcome {
            Ok(payload) => self.respond(id, payload),
            Err(error) => self.refuse(id, error),
        }
    }

    /// Answers request `id` with a payload.
    pub fn respond(&self, id: &str, payload: &Value) {
        self.unauthorized.store(0, Ordering::Relaxed);
        self.send(frame::ok(id, payload));
    }

    /// Answers request `id` with an error. After too many refusals for the wrong role in a row the
    /// connection is closed behind the answer (protocol.md §4.5).
    pub fn refuse(&self, id: &str, error: &ErrorShape) {
        let wrong_role =
            error.code == ErrorCode::InvalidRequest && error.message.starts_with(UNAUTHORIZED_ROLE);
        self.send(frame::error(id, error));
        if !wrong_role {
            self.unauthorized.store(0, Ordering::Relaxed);
        } else if self.unauthorized.fetch_add(1, Ordering::Relaxed) >= MAX_UNAUTHORIZED_CALLS {
            self.end(close::POLICY, close::REPEATED_UNAUTHORIZED);
        }
    }

    /// Sends an event meant for this session alone, without `seq`; `false` when it takes no more.
    pub fn event(&self, name: &str, payload: &Value) -> bool {
        self.outbox.push_event(&EventText::new(name, payload))
    }

    /// Sends one finished frame; `false` when it will not arrive because the session ends, or ends
    /// now as a slow consumer.
    pub fn send(&self, text: String) -> bool {
        self.outbox.push_text(text)
    }

    /// Whether it belongs to `device`, with `role` when one is given.
    pub fn is_of(&self, device: &DeviceId, role: Option<Role>) -> bool {
        self.device.as_ref() == Some(device) && role.is_none_or(|role| self.role == role)
    }

    /// Ends the session: nothing more of it is executed or sent, what is queued still goes out before
    /// the close frame. Only the first call decides code and reason.
    pub fn end(&self, code: u16, reason: &str) {
        self.outbox.close(code, reason);
    }

    /// Whether the session was ended: requests that arrive later must not be executed.
    pub fn has_ended(&self) -> bool {
        !self.outbox.is_open()
    }
}
