//! The requests that wait, and the decisions that may still be used (protocol.md §8.3 to §8.5).
//!
//! Pure: it sends nothing, reads no clock and draws nothing; what has ended is returned, and the caller
//! tells it. Time is that of the steady clock, so that no step of the wall clock brings a decision back.
//! Everything is bounded: requests, their bytes, and who waits for them.
//!
//! A record is open until it is decided or its deadline passes; after that it is kept for [`GRACE`], in
//! which a requester that was allowed runs its command.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::asked::Asked;
use super::binding::{Claim, ClaimFault, Permit};
use crate::gateway::invoke::MAX_TIMEOUT;
use crate::gateway::timer::TimerId;
use crate::identity::ids::{ConnId, DeviceId, NodeId};
use crate::protocol::params::ExecDecision;

/// How long a decided or expired record can still be found and used (§8.3).
pub const GRACE: Duration = Duration::from_secs(15);

/// How long a requester waits that does not say so (§8.3).
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30 * 60);

/// Open requests of one device, or of one connection without a device: more than a person decides in the
/// time they wait.
pub const MAX_OPEN_PER_REQUESTER: usize = 64;

/// Records of the whole gateway.
pub const MAX_RECORDS: usize = 1_024;

/// Bytes of all stored requests together; every one of them is also kept parsed, about as large again.
pub const MAX_TOTAL_BYTES: usize = 8 * 1024 * 1024;

/// Answers one connection may wait for.
pub const MAX_WAITING_PER_CONNECTION: usize = 64;

/// Answers that all connections together may wait for.
pub const MAX_WAITING: usize = 4_096;

/// Who asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requester {
    /// Its connection.
    pub conn: ConnId,
    /// Its device, if it has one.
    pub device: Option<DeviceId>,
}

/// One request; never changes.
#[derive(Debug)]
pub struct Approval {
    /// Its id: the requester's, or a random one.
    pub id: String,
    /// Tells it from an earlier one with the same id.
    pub serial: u64,
    /// What is asked for.
    pub asked: Asked,
    /// Who asked.
    pub requester: Requester,
    /// When it was asked, epoch milliseconds.
    pub created_at_ms: u64,
    /// When it expires, epoch milliseconds; for people. What counts is `deadline`.
    pub expires_at_ms: u64,
    /// When it expires.
    pub deadline: Instant,
}

/// Somebody who is to be answered when a request is decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiter {
    /// Its connection.
    pub conn: ConnId,
    /// Frame id of its request.
    pub request: String,
}

/// A request that has just ended, for the caller to tell.
#[derive(Debug)]
pub struct Settled {
    /// Which request.
    pub approval: Arc<Approval>,
    /// What was decided; `None` when its time was over.
    pub decision: Option<ExecDecision>,
    /// Who is to be answered.
    pub waiters: Vec<Waiter>,
    /// The timer of its deadline, to be cancelled.
    pub timer: Option<TimerId>,
}

/// Why a request was not taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotOpened {
    /// The gateway keeps as many records, or bytes of them, as it may.
    GatewayFull,
    /// A record of this id is kept.
    Known,
    /// The requester has as many open requests as it may.
    RequesterFull,
}

/// Why no record was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotFound {
    /// The start of several ids.
    Ambiguous,
    /// No id, or one that is over.
    Unknown,
}

/// Why a request was not decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotResolved {
    /// The requester asks every time.
    AlwaysUnavailable,
    /// Something else was decided before.
    AlreadyResolved,
    /// See [`NotFound`].
    NotFound(NotFound),
    /// The connection that asked may not allow.
    OwnRequest,
}

/// What waiting for a decision came to.
#[derive(Debug, PartialEq)]
pub enum Awaited {
    /// It was decided, or its time was over, before.
    Ended(Option<ExecDecision>),
    /// Too many answers are waited for.
    Full,
    /// The waiter is answered when it is decided.
    Waiting,
}

/// What the timer found.
#[derive(Debug)]
pub enum Due {
    /// The record has been forgotten.
    Forgotten,
    /// Its time was over.
    Expired(Settled),
    /// Look again then.
    Later(Instant),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Open,
    Decided {
        decision: ExecDecision,
        used: bool,
        at: Instant,
    },
    Expired {
        at: Instant,
    },
}

#[derive(Debug)]
struct Entry {
    approval: Arc<Approval>,
    state: State,
    waiters: Vec<Waiter>,
    timer: Option<TimerId>,
}

impl Entry {
    /// What holds at `now`, whether its timer has run or not.
    fn state(&self, now: Instant) -> State {
        match self.state {
            State::Open if now > self.approval.deadline => State::Expired {
                at: self.approval.deadline,
            },
            state => state,
        }
    }

    /// When it is forgotten, if nothing is decided.
    fn ends(&self, now: Instant) -> Option<Instant> {
        match self.state(now) {
            State::Open => None,
            State::Decided { at, .. } | State::Expired { at } => Some(at + GRACE),
        }
    }

    fn is_kept(&self, now: Instant) -> bool {
        self.ends(now).is_none_or(|end| now < end)
    }

    fn settle(&mut self, decision: Option<ExecDecision>, at: Instant) -> Settled {
        self.state = match decision {
            Some(decision) => State::Decided {
                decision,
                used: false,
                at,
            },
            None => State::Expired { at },
        };
        Settled {
            approval: Arc::clone(&self.approval),
            decision,
            waiters: std::mem::take(&mut self.waiters),
            timer: self.timer.take(),
        }
    }
}

/// All records, by id.
#[derive(Debug, Default)]
pub struct Book {
    entries: HashMap<String, Entry>,
    serial: u64,
    bytes: usize,
    waiting: usize,
}

impl Book {
    /// Takes in a request, or says which bound or which older record forbids it. `id` is used when the
    /// requester gave none; `wall_ms` is the time of day at `now`.
    pub fn open(
        &mut self,
        asked: Asked,
        requester: Requester,
        timeout: Duration,
        id: impl FnOnce() -> String,
        (now, wall_ms): (Instant, u64),
    ) -> Result<Arc<Approval>, NotOpened> {
        let id = asked.id.clone().unwrap_or_else(id);
        if self.kept(&id, now).is_some() {
            return Err(NotOpened::Known);
        }
        self.forget(&id);
        let same = |entry: &&Entry| {
            let other = &entry.approval.requester;
            entry.state(now) == State::Open
                && match &requester.device {
                    Some(device) => other.device.as_ref() == Some(device),
                    None => other.device.is_none() && other.conn == requester.conn,
                }
        };
        if self.entries.values().filter(same).count() >= MAX_OPEN_PER_REQUESTER {
            return Err(NotOpened::RequesterFull);
        }
        if self.entries.len() >= MAX_RECORDS || self.bytes + asked.bytes > MAX_TOTAL_BYTES {
            return Err(NotOpened::GatewayFull);
        }
        let timeout = timeout.min(MAX_TIMEOUT);
        self.serial += 1;
        self.bytes += asked.bytes;
        let approval = Arc::new(Approval {
            id: id.clone(),
            serial: self.serial,
            asked,
            requester,
            created_at_ms: wall_ms,
            expires_at_ms: wall_ms
                .saturating_add(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX)),
            deadline: now + timeout,
        });
        let entry = Entry {
            approval: Arc::clone(&approval),
            state: State::Open,
            waiters: Vec::new(),
            timer: None,
        };
        self.entries.insert(id, entry);
        Ok(approval)
    }

    /// The open requests, in the order in which they came.
    pub fn pending(&self, now: Instant) -> Vec<Arc<Approval>> {
        let open = |entry: &&Entry| entry.state(now) == State::Open;
        let mut pending: Vec<_> = self
            .entries
            .values()
            .filter(open)
            .map(|entry| Arc::clone(&entry.approval))
            .collect();
        pending.sort_by_key(|approval| approval.serial);
        pending
    }

    /// The record with this id, or the only open one whose id starts so in any case.
    pub fn find(&self, given: &str, now: Instant) -> Result<Arc<Approval>, NotFound> {
        let given = given.trim();
        if let Some(entry) = self.kept(given, now) {
            return Ok(Arc::clone(&entry.approval));
        }
        let start = given.to_lowercase();
        if start.is_empty() {
            return Err(NotFound::Unknown);
        }
        let mut found = self.entries.values().filter(|entry| {
            entry.state(now) == State::Open && entry.approval.id.to_lowercase().starts_with(&start)
        });
        match (found.next(), found.next()) {
            (Some(entry), None) => Ok(Arc::clone(&entry.approval)),
            (Some(_), Some(_)) => Err(NotFound::Ambiguous),
            (None, _) => Err(NotFound::Unknown),
        }
    }

    /// Lets `waiter` wait for the record with exactly this id; `None` when there is none.
    pub fn wait(
        &mut self,
        id: &str,
        waiter: Waiter,
        now: Instant,
    ) -> Option<(Arc<Approval>, Awaited)> {
        let entry = self.kept(id, now)?;
        let approval = Arc::clone(&entry.approval);
        let awaited = match entry.state(now) {
            State::Decided { decision, .. } => Awaited::Ended(Some(decision)),
            State::Expired { .. } => Awaited::Ended(None),
            State::Open if self.may_wait(&waiter.conn) => {
                self.waiting += 1;
                self.entries.get_mut(id)?.waiters.push(waiter);
                Awaited::Waiting
            }
            State::Open => Awaited::Full,
        };
        Some((approval, awaited))
    }

    fn may_wait(&self, conn: &ConnId) -> bool {
        let waiters = self.entries.values().flat_map(|entry| &entry.waiters);
        self.waiting < MAX_WAITING
            && waiters.filter(|waiter| waiter.conn == *conn).count() < MAX_WAITING_PER_CONNECTION
    }

    /// Decides a request. `Ok(None)` when the same was decided before.
    pub fn resolve(
        &mut self,
        given: &str,
        decision: ExecDecision,
        resolver: &ConnId,
        now: Instant,
    ) -> Result<Option<Settled>, NotResolved> {
        let approval = self.find(given, now).map_err(NotResolved::NotFound)?;
        let Some(entry) = self.entries.get_mut(&approval.id) else {
            return Err(NotResolved::NotFound(NotFound::Unknown));
        };
        match entry.state(now) {
            State::Decided { decision: old, .. } if old == decision => return Ok(None),
            State::Decided { .. } => return Err(NotResolved::AlreadyResolved),
            State::Expired { .. } => return Err(NotResolved::NotFound(NotFound::Unknown)),
            State::Open => {}
        }
        if !approval.asked.allowed().contains(&decision) {
            return Err(NotResolved::AlwaysUnavailable);
        }
        if decision != ExecDecision::Deny && approval.requester.conn == *resolver {
            return Err(NotResolved::OwnRequest);
        }
        let settled = entry.settle(Some(decision), now);
        Ok(Some(self.told(settled)))
    }

    /// Ends an open request as if its time were over.
    pub fn expire(&mut self, approval: &Approval, now: Instant) -> Option<Settled> {
        let entry = self.entry(approval)?;
        if entry.state != State::Open {
            return None;
        }
        let settled = entry.settle(None, now);
        Some(self.told(settled))
    }

    /// What the timer is to do about a record at `now`.
    pub fn due(&mut self, approval: &Approval, now: Instant) -> Due {
        let Some(entry) = self.entry(approval) else {
            return Due::Forgotten;
        };
        if entry.state == State::Open {
            if now < approval.deadline {
                return Due::Later(approval.deadline);
            }
            let settled = entry.settle(None, now);
            return Due::Expired(self.told(settled));
        }
        match entry.ends(now) {
            Some(end) if now < end => Due::Later(end),
            _ => {
                self.forget(&approval.id);
                Due::Forgotten
            }
        }
    }

    /// Notes the timer of a record. What comes back is to be cancelled: the timer that was noted before, or
    /// this one when the record is gone.
    pub fn attach_timer(&mut self, approval: &Approval, timer: TimerId) -> Option<TimerId> {
        match self.entry(approval) {
            Some(entry) => entry.timer.replace(timer),
            None => Some(timer),
        }
    }

    /// Ends and forgets everything that `chosen` selects, with whether it was open until now: then it counts
    /// as denied.
    pub fn revoke(
        &mut self,
        chosen: impl Fn(&Approval) -> bool,
        now: Instant,
    ) -> Vec<(Settled, bool)> {
        let mut approvals: Vec<_> = self
            .entries
            .values()
            .filter(|entry| chosen(&entry.approval))
            .map(|entry| Arc::clone(&entry.approval))
            .collect();
        approvals.sort_by_key(|approval| approval.serial);
        let mut ended = Vec::new();
        for approval in approvals {
            let Some(mut entry) = self.forget(&approval.id) else {
                continue;
            };
            let (decision, was_open) = match entry.state {
                State::Open => (Some(ExecDecision::Deny), true),
                State::Decided { decision, .. } => (Some(decision), false),
                State::Expired { .. } => (None, false),
            };
            ended.push((entry.settle(decision, now), was_open));
        }
        ended
    }

    /// Forgets who waits on a closed connection.
    pub fn drop_waiters(&mut self, conn: &ConnId) {
        for entry in self.entries.values_mut() {
            let before = entry.waiters.len();
            entry.waiters.retain(|waiter| waiter.conn != *conn);
            self.waiting -= before - entry.waiters.len();
        }
    }

    /// Whether a claim fits a decision now; the checks in the order of §8.5. Nothing is used up.
    pub fn permit(&self, claim: &Claim<'_>, now: Instant) -> Result<Permit, ClaimFault> {
        let entry = self.kept(claim.run_id, now).ok_or(ClaimFault::Unknown)?;
        let approval = &entry.approval;
        if now > approval.deadline || matches!(entry.state, State::Expired { .. }) {
            return Err(ClaimFault::Expired);
        }
        let node: &NodeId = approval
            .asked
            .node
            .as_ref()
            .ok_or(ClaimFault::NodeMissing)?;
        if node != claim.node {
            return Err(ClaimFault::NodeMismatch);
        }
        match &approval.requester.device {
            Some(device) if Some(device) != claim.device => {
                return Err(ClaimFault::DeviceMismatch);
            }
            None if approval.requester.conn != *claim.conn => {
                return Err(ClaimFault::ClientMismatch);
            }
            _ => {}
        }
        let binding = approval.asked.binding.as_ref();
        let binding = binding.ok_or(ClaimFault::RequestMismatch)?;
        let environment = binding.covers(claim)?;
        let decision = usable(entry.state)?;
        let key = (approval.id.as_str(), approval.serial);
        Ok(Permit::new(key, decision, &binding.plan, environment))
    }

    /// Uses a permit up, at the moment at which its run is forwarded: a decision for one run is given to
    /// one of those who claim it.
    pub fn spend(&mut self, permit: &Permit, now: Instant) -> Result<(), ClaimFault> {
        let entry = self.kept_mut(permit, now).ok_or(ClaimFault::Unknown)?;
        if now > entry.approval.deadline {
            return Err(ClaimFault::Expired);
        }
        usable(entry.state)?;
        entry.set_used(true);
        Ok(())
    }

    /// Takes a use back that came to nothing: the run never reached the node.
    pub fn unspend(&mut self, permit: &Permit, now: Instant) {
        if let Some(entry) = self.kept_mut(permit, now) {
            entry.set_used(false);
        }
    }

    /// How many records are kept.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn kept(&self, id: &str, now: Instant) -> Option<&Entry> {
        self.entries.get(id).filter(|entry| entry.is_kept(now))
    }

    fn kept_mut(&mut self, permit: &Permit, now: Instant) -> Option<&mut Entry> {
        self.entries
            .get_mut(&permit.id)
            .filter(|entry| entry.approval.serial == permit.serial && entry.is_kept(now))
    }

    fn entry(&mut self, approval: &Approval) -> Option<&mut Entry> {
        self.entries
            .get_mut(&approval.id)
            .filter(|entry| entry.approval.serial == approval.serial)
    }

    fn forget(&mut self, id: &str) -> Option<Entry> {
        let entry = self.entries.remove(id)?;
        self.bytes -= entry.approval.asked.bytes;
        self.waiting -= entry.waiters.len();
        Some(entry)
    }

    fn told(&mut self, settled: Settled) -> Settled {
        self.waiting -= settled.waiters.len();
        settled
    }
}

impl Entry {
    fn set_used(&mut self, now_used: bool) {
        if let State::Decided { used, decision, .. } = &mut self.state {
            *used = now_used && *decision == ExecDecision::AllowOnce;
        }
    }
}

/// The decision that a run may still use.
fn usable(state: State) -> Result<ExecDecision, ClaimFault> {
    match state {
        State::Decided {
            decision: decision @ (ExecDecision::AllowOnce | ExecDecision::AllowAlways),
            used: false,
            ..
        } => Ok(decision),
        _ => Err(ClaimFault::Required),
    }
}

#[cfg(test)]
#[path = "book_tests.rs"]
mod tests;
