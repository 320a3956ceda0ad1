//! All admitted connections, and what is said to many of them at once.
//!
//! It owns the set of live sessions and the two global version counters (protocol.md §1.3). A broadcast is
//! rendered once and handed to the outbox of each client, which numbers it; it may be written there and then, so
//! the set is not locked meanwhile.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use crate::gateway::session::Session;
use crate::identity::{ConnId, DeviceId};
use crate::protocol::event;
use crate::protocol::frame::EventText;
use crate::protocol::scope::Role;

/// How the names of events about the pairing of one device begin.
const DEVICE_PAIRING: &str = "device.pair.";

/// The live sessions.
#[derive(Debug)]
pub struct Hub {
    sessions: Mutex<HashMap<ConnId, Arc<Session>>>,
    /// Held while something is said to many: all hear the same order. Taken before the set.
    order: Mutex<()>,
    health_version: AtomicU64,
    presence_version: AtomicU64,
}

/// How many sessions are live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// With role node, counting each connection.
    pub nodes: usize,
    /// With role operator.
    pub operators: usize,
}

impl Default for Hub {
    fn default() -> Self {
        Self {
            sessions: Mutex::default(),
            order: Mutex::default(),
            health_version: AtomicU64::new(1),
            presence_version: AtomicU64::new(1),
        }
    }
}

impl Hub {
    /// Takes in an admitted session. `hello` is queued first, so no broadcast can come before it.
    /// `false` when the session could not even take its hello.
    pub fn register(&self, session: Arc<Session>, hello: String) -> bool {
        let _order = self.order();
        let taken = session.send(hello);
        if taken {
            self.lock().insert(session.conn.clone(), session);
        }
        taken
    }

    /// Forgets a connection; `None` when it is not, or no longer, one of the live sessions.
    pub fn remove(&self, conn: &ConnId) -> Option<Arc<Session>> {
        self.lock().remove(conn)
    }

    /// The live session of a connection.
    pub fn session(&self, conn: &ConnId) -> Option<Arc<Session>> {
        self.lock().get(conn).map(Arc::clone)
    }

    /// All live sessions, in no order.
    pub fn sessions(&self) -> Vec<Arc<Session>> {
        self.lock().values().map(Arc::clone).collect()
    }

    /// Says `event` to every session that may hear it: of a device's pairing, those that are bound to another
    /// device hear nothing. Each of those uses up one sequence number,
    /// even when the frame is dropped because the peer reads too slowly; events that may not be
    /// dropped close such a peer instead. An event that is in no table reaches nobody.
    pub fn broadcast(&self, name: &str, payload: &Value) {
        let Some(row) = event::lookup(name) else {
            return;
        };
        let text = if row.state_version {
            let (presence, health) = (self.presence_version(), self.health_version());
            EventText::with_state_version(name, payload, presence, health)
        } else {
            EventText::new(name, payload)
        };
        let about = payload["deviceId"]
            .as_str()
            .filter(|_| name.starts_with(DEVICE_PAIRING));
        let hears = |session: &&Arc<Session>| {
            let bound = session.device_bound().zip(about);
            event::may_receive(name, session.role, &session.scopes)
                && bound.is_none_or(|(own, device)| own.as_str() == device)
        };
        let _order = self.order();
        let audience: Vec<Arc<Session>> = self.lock().values().filter(hears).cloned().collect();
        for session in audience {
            session.outbox.broadcast(&text, row.drop_if_slow);
        }
    }

    /// Takes the live sessions of a device (only those with `role`, when given) out of the hub and
    /// returns them for ending. `keep` stays: the caller ends its own session behind its answer.
    pub fn take_sessions(
        &self,
        device: &DeviceId,
        role: Option<Role>,
        keep: Option<&ConnId>,
    ) -> Vec<Arc<Session>> {
        self.take_where(|session| session.is_of(device, role) && keep != Some(&session.conn))
    }

    /// Takes the live sessions that `chosen` selects out of the hub and returns them for ending.
    pub fn take_where(&self, chosen: impl Fn(&Session) -> bool) -> Vec<Arc<Session>> {
        let mut sessions = self.lock();
        let chosen: Vec<ConnId> = sessions
            .values()
            .filter(|session| chosen(session))
            .map(|session| session.conn.clone())
            .collect();
        chosen
            .iter()
            .filter_map(|conn| sessions.remove(conn))
            .collect()
    }

    /// How many sessions are live.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether no session is live.
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// How many sessions are live, by role.
    pub fn counts(&self) -> Counts {
        let sessions = self.lock();
        let nodes = sessions
            .values()
            .filter(|session| session.role == Role::Node)
            .count();
        Counts {
            nodes,
            operators: sessions.len() - nodes,
        }
    }

    /// Notes that presence changed; call it before broadcasting `presence`.
    pub fn presence_changed(&self) -> u64 {
        self.presence_version.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// `stateVersion.presence`.
    pub fn presence_version(&self) -> u64 {
        self.presence_version.load(Ordering::SeqCst)
    }

    /// Notes that the health payload changed; call it before broadcasting `health`.
    pub fn health_changed(&self) -> u64 {
        self.health_version.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// `stateVersion.health`.
    pub fn health_version(&self) -> u64 {
        self.health_version.load(Ordering::SeqCst)
    }

    fn order(&self) -> MutexGuard<'_, ()> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ConnId, Arc<Session>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
