//! The sockets that are not admitted yet: how many may wait, and who gives way when there are too many.
//!
//! [`decide`] is the whole policy, a pure function in the manner of `MaxStartups start:rate:full`. A slot
//! is taken when a socket is accepted and given back when it is admitted or its thread is over, goodbye
//! included. This host's own sockets wait in a pool of their own, so that strangers never keep the owner
//! out; admitted sessions are in no pool and give way to nobody.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::gateway::limits::source::Source;
use crate::identity::Random;
use crate::net::Outbox;
use crate::protocol::close;

/// Sockets of one pool that may wait before some are dropped at random.
pub const START: usize = 256;

/// Percentage of new sockets that cost somebody a slot at [`START`]; it grows to 100 at [`FULL`].
pub const RATE_PERCENT: usize = 30;

/// Sockets of one pool that may wait at all. Each may hold 64 KiB of an unfinished frame and a thread:
/// two full pools are below 100 MiB, which a host with 512 MB survives.
pub const FULL: usize = 512;

/// Sockets of one source that may wait: well above those that may be upgraded, so that health probes get
/// through.
pub const PER_SOURCE: usize = 256;

/// Strangers wait in one pool, this host's own sockets in another.
const POOLS: usize = 2;

/// Connections that only this host may open when all others are taken.
pub const LOCAL_RESERVE: usize = 16;

/// How long a socket may wait before it can be made to give way: an honest handshake over a slow line is
/// over by then, so a crowd that comes at once is turned away at the door instead of in the middle.
pub const GRACE: Duration = Duration::from_secs(1);

/// How many times the sockets of a newcomer's source another must have for the newcomer to be served first,
/// whatever the grace: one client that comes once is never kept out by one that comes all the time.
pub const GREEDY: usize = 8;

/// The numbers that [`decide`] goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArrivalLimits {
    /// Connections at the same time, admitted or not.
    pub connections: usize,
    /// How long a socket is safe in its slot.
    pub grace: Duration,
    /// Sockets of one source at the same time.
    pub per_source: usize,
    /// Sockets of one pool at the same time.
    pub full: usize,
    /// Sockets of one pool from which on some are dropped.
    pub start: usize,
}

/// What there is when a socket comes.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Whether the socket is this host's own.
    pub local: bool,
    /// Connections, admitted or not.
    pub open: usize,
    /// Waiting sockets of its pool.
    pub pool: usize,
    /// Waiting sockets of its source.
    pub source: usize,
}

/// What becomes of a new socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It gets a slot.
    Admit,
    /// It gets the slot of the longest waiting one of the source that has the most, if that one has
    /// waited long enough or its source has taken far more than its share; else none.
    Displace,
    /// The same, but only of its own source.
    DisplaceOwn,
    /// It gets no slot.
    Refuse,
}

/// Decides about a new socket; `dice` is a random number below 100.
pub fn decide(load: &Load, limits: &ArrivalLimits, dice: usize) -> Fate {
    let reserve = if load.local { 0 } else { limits.reserve() };
    if load.open + reserve >= limits.connections {
        return Fate::Refuse;
    }
    if load.source >= limits.per_source {
        return Fate::DisplaceOwn;
    }
    if load.pool < limits.start {
        return Fate::Admit;
    }
    let range = limits.full.saturating_sub(limits.start).max(1);
    let chance = RATE_PERCENT + (100 - RATE_PERCENT) * (load.pool - limits.start) / range;
    if dice < chance {
        Fate::Displace
    } else {
        Fate::Admit
    }
}

/// A random number for [`decide`].
pub fn dice() -> usize {
    usize::from(u16::from_le_bytes(Random.bytes())) % 100
}

impl ArrivalLimits {
    /// The limits of a gateway that may open `connections` connections.
    pub fn new(connections: usize) -> Self {
        let full = FULL.min(connections / 2).max(1);
        Self {
            connections,
            grace: GRACE,
            per_source: PER_SOURCE.min(full),
            full,
            start: START.min(full),
        }
    }

    /// Sockets of all pools at the same time.
    pub fn all_pools(&self) -> usize {
        POOLS * self.full
    }

    /// Connections that only this host may open.
    pub fn reserve(&self) -> usize {
        LOCAL_RESERVE.min(self.connections / 8)
    }
}

/// The waiting sockets of one gateway.
#[derive(Debug)]
pub struct Arrivals {
    limits: ArrivalLimits,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Of strangers, of this host.
    pools: [Pool; POOLS],
    serial: u64,
}

#[derive(Debug, Default)]
struct Pool {
    count: usize,
    sources: HashMap<Source, Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    /// Slots, those that cannot be displaced included.
    count: usize,
    /// Those that can, the longest waiting first.
    waiting: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    id: u64,
    since: Instant,
    outbox: Outbox,
}

/// One slot, given back when dropped.
#[derive(Debug)]
pub struct Slot {
    arrivals: Arc<Arrivals>,
    id: u64,
    pool: usize,
    source: Source,
}

/// How many sockets wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Of this host.
    pub local: usize,
    /// Of everybody else.
    pub remote: usize,
}

impl Arrivals {
    /// No socket waits.
    pub fn new(limits: ArrivalLimits) -> Arc<Self> {
        Arc::new(Self {
            limits,
            state: Mutex::default(),
        })
    }

    /// The numbers it goes by.
    pub fn limits(&self) -> &ArrivalLimits {
        &self.limits
    }

    /// How many wait now.
    pub fn usage(&self) -> Usage {
        let state = self.lock();
        let [remote, local] = &state.pools;
        Usage {
            local: local.count,
            remote: remote.count,
        }
    }

    /// A slot for a socket from `from` (`None`: hidden by a proxy) while `open` connections are open; `None`
    /// when it is turned away. Whoever gives way for it is closed through its outbox.
    pub fn enter(
        self: &Arc<Self>,
        from: Option<IpAddr>,
        outbox: &Outbox,
        open: usize,
        dice: usize,
    ) -> Option<Slot> {
        self.enter_at(from, outbox, open, dice, Instant::now())
    }

    fn enter_at(
        self: &Arc<Self>,
        from: Option<IpAddr>,
        outbox: &Outbox,
        open: usize,
        dice: usize,
        now: Instant,
    ) -> Option<Slot> {
        let source = Source::of(from);
        let local = source.is_local();
        let mut state = self.lock();
        let state = &mut *state;
        let pool = &mut state.pools[usize::from(local)];
        let load = Load {
            local,
            open,
            pool: pool.count,
            source: pool.sources.get(&source).map_or(0, |queue| queue.count),
        };
        let displaced = match decide(&load, &self.limits, dice) {
            Fate::Refuse => return None,
            Fate::Admit => None,
            Fate::Displace => Some(pool.displace(load.source, &self.limits, now)?),
            Fate::DisplaceOwn => Some(pool.displace_own(source, &self.limits, now)?),
        };
        state.serial += 1;
        let id = state.serial;
        pool.count += 1;
        let queue = pool.sources.entry(source).or_default();
        queue.count += 1;
        queue.waiting.push_back(Waiting {
            id,
            since: now,
            outbox: outbox.clone(),
        });
        if let Some(displaced) = displaced {
            displaced.close(close::TRY_LATER, close::TOO_MANY_CONNECTIONS);
        }
        Some(Slot {
            arrivals: Arc::clone(self),
            id,
            pool: usize::from(local),
            source,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pool {
    /// Takes the longest waiting socket out of the source that has the most of those that give way to a
    /// source with `held` sockets.
    fn displace(&mut self, held: usize, limits: &ArrivalLimits, now: Instant) -> Option<Outbox> {
        // Those that give way already hold their slots until their threads are over.
        if self.count >= with_leaving(limits.full) {
            return None;
        }
        let queues = self.sources.values_mut();
        let yielding = queues.filter(|queue| queue.yields_to(held, limits, now));
        let queue = yielding.max_by_key(|queue| queue.count)?;
        Some(queue.waiting.pop_front()?.outbox)
    }

    /// Takes the longest waiting socket of `source` out.
    fn displace_own(
        &mut self,
        source: Source,
        limits: &ArrivalLimits,
        now: Instant,
    ) -> Option<Outbox> {
        let queue = self.sources.get_mut(&source)?;
        let full = self.count >= with_leaving(limits.full)
            || queue.count >= with_leaving(limits.per_source);
        if full || !queue.is_ripe(limits, now) {
            return None;
        }
        Some(queue.waiting.pop_front()?.outbox)
    }
}

/// How many sockets there may be at a limit, together with those that are giving way.
fn with_leaving(limit: usize) -> usize {
    limit + limit.div_ceil(4)
}

impl Queue {
    fn is_ripe(&self, limits: &ArrivalLimits, now: Instant) -> bool {
        self.waiting
            .front()
            .is_some_and(|first| now >= first.since + limits.grace)
    }

    /// Whether a socket gives way to one of a source with `held` sockets: it has waited long enough, or its
    /// own source has taken far more than its share.
    fn yields_to(&self, held: usize, limits: &ArrivalLimits, now: Instant) -> bool {
        let greedy = self.count > GREEDY * (held + 1) && !self.waiting.is_empty();
        greedy || self.is_ripe(limits, now)
    }
}

impl Slot {
    /// From now on nobody displaces this socket: what it asked for is being decided.
    pub fn hold(&self) {
        self.withdraw(&mut self.arrivals.lock());
    }

    fn withdraw(&self, state: &mut State) {
        if let Some(queue) = state.pools[self.pool].sources.get_mut(&self.source) {
            queue.waiting.retain(|waiting| waiting.id != self.id);
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut state = self.arrivals.lock();
        self.withdraw(&mut state);
        let pool = &mut state.pools[self.pool];
        pool.count -= 1;
        if let Some(queue) = pool.sources.get_mut(&self.source) {
            queue.count -= 1;
            if queue.count == 0 {
                pool.sources.remove(&self.source);
            }
        }
    }
}

#[cfg(test)]
mod tests;
