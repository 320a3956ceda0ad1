//! Failed attempts to prove something, counted per kind of credential and client (protocol.md §4.5).
//!
//! Pure: the time is an argument. Memory is bounded: when there is no room for another address, its
//! network shares one counter, and in the end everybody does. No counter is thrown away before it has
//! run out, so that nobody frees himself by failing from many places.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::config::model::RateLimit;
use crate::gateway::limits::client::Client;
use crate::gateway::limits::source::Source;

/// Addresses that have counters of their own at a time: some 1 MiB with the default policy.
pub const MAX_ADDRESSES: usize = 4_096;

/// Networks that have counters at a time when addresses have no room.
pub const MAX_NETWORKS: usize = 1_024;

/// Origins that have counters at a time: browsers on this host show few.
pub const MAX_ORIGINS: usize = 256;

/// Failures that are remembered per counter; a larger `maxAttempts` acts like this number.
pub const MAX_COUNTED: usize = 100;

/// The longest lockout and window; a larger setting acts like this.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Between two searches for room when there is none; a search looks at every counter.
const SEARCH_PAUSE: Duration = Duration::from_secs(1);

/// `gateway.auth.rateLimit.*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttemptPolicy {
    /// Whether clients on this host, without browser and proxy, are never counted.
    pub exempt_loopback: bool,
    /// How long a client is locked out.
    pub lockout: Duration,
    /// Failures within the window that lock out, at least 1.
    pub max_attempts: usize,
    /// How long a failure counts.
    pub window: Duration,
}

/// What was proven wrongly. Each kind is counted for itself: guessing at one never locks the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Bootstrap tokens and join keys.
    BootstrapToken,
    /// Tokens of devices.
    DeviceToken,
    /// The gateway's token or password.
    SharedSecret,
}

/// One counter's name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// What is proven.
    pub kind: Kind,
    /// Requests of browsers are counted apart from all others.
    pub browser: bool,
    /// Who proves it.
    pub client: Client,
}

/// What a failure led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It is the given number in the window; the counter's name may be wider than the client's own.
    Counted {
        /// Whose counter it is.
        client: Client,
        /// Failures in the window, this one included.
        failures: usize,
    },
    /// It was the one too many: locked from now on.
    Locks {
        /// Whose counter it is.
        client: Client,
        /// Failures in the window, this one included.
        failures: usize,
    },
    /// The counter was locked already, for this much longer; not counted.
    Locked(Duration),
}

/// One counter as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its name.
    pub key: Key,
    /// Failures in the window, or those that locked it.
    pub failures: usize,
    /// How long it stays locked, if it is.
    pub locked_for: Option<Duration>,
}

/// All counters.
#[derive(Debug, Default)]
pub struct Attempts {
    counters: HashMap<Key, Counter>,
    /// How many counters of each bounded class there are.
    addresses: usize,
    networks: usize,
    origins: usize,
    searched: Option<Instant>,
}

#[derive(Debug, Default)]
struct Counter {
    /// Oldest first.
    failures: Vec<Instant>,
    locked_until: Option<Instant>,
    /// When nothing of it counts any more.
    forget_at: Option<Instant>,
}

impl Default for AttemptPolicy {
    /// The numbers of §4.5.
    fn default() -> Self {
        Self {
            exempt_loopback: true,
            lockout: Duration::from_secs(300),
            max_attempts: 10,
            window: Duration::from_secs(60),
        }
    }
}

impl AttemptPolicy {
    /// The policy of a configuration.
    pub fn of(configured: &RateLimit) -> Self {
        Self {
            exempt_loopback: configured.exempt_loopback,
            lockout: Duration::from_millis(configured.lockout_ms).min(LONGEST),
            max_attempts: usize::try_from(configured.max_attempts).unwrap_or(usize::MAX),
            window: Duration::from_millis(configured.window_ms).min(LONGEST),
        }
    }

    /// Failures within the window that lock out, as they are counted.
    pub fn limit(&self) -> usize {
        self.max_attempts.clamp(1, MAX_COUNTED)
    }
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 3] = [Kind::BootstrapToken, Kind::DeviceToken, Kind::SharedSecret];

    /// Its name in lists and log lines.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BootstrapToken => "bootstrap-token",
            Self::DeviceToken => "device-token",
            Self::SharedSecret => "shared-secret",
        }
    }

    /// The kind of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

impl Attempts {
    /// How long `key` stays locked; `None` when its credential may be looked at.
    pub fn locked(&self, key: &Key, now: Instant) -> Option<Duration> {
        let key = self.present(key)?;
        self.counters.get(&key)?.locked(now)
    }

    /// Notes a wrong credential.
    pub fn fail(&mut self, key: &Key, policy: &AttemptPolicy, now: Instant) -> Failure {
        let key = self.place(key, now);
        let client = key.client.clone();
        let counter = self.counters.entry(key).or_default();
        if let Some(left) = counter.locked(now) {
            return Failure::Locked(left);
        }
        let failures = counter.note(policy, now);
        if failures < policy.limit() {
            return Failure::Counted { client, failures };
        }
        counter.locked_until = Some(now + policy.lockout);
        counter.forget_at = counter.locked_until;
        Failure::Locks { client, failures }
    }

    /// Notes a right credential: its counter starts afresh, unless strangers share it. While it is
    /// locked even a right credential changes nothing; the result is how long that lasts.
    pub fn succeed(&mut self, key: &Key, now: Instant) -> Result<(), Duration> {
        if let Some(left) = self.locked(key, now) {
            return Err(left);
        }
        if !key.client.is_shared() {
            self.remove(key);
        }
        Ok(())
    }

    /// Forgets what is over and says when the next counter will be; `None` when none is left.
    pub fn prune(&mut self, now: Instant) -> Option<Instant> {
        let over = |counter: &Counter| counter.forget_at.is_none_or(|at| at <= now);
        let gone: Vec<Key> = self
            .counters
            .iter()
            .filter(|(_, counter)| over(counter))
            .map(|(key, _)| key.clone())
            .collect();
        for key in &gone {
            self.remove(key);
        }
        if self.counters.is_empty() {
            self.counters = HashMap::new();
        }
        self.counters
            .values()
            .filter_map(|counter| counter.forget_at)
            .min()
    }

    /// Removes the counters that `chosen` selects; how many there were.
    pub fn clear(&mut self, chosen: impl Fn(&Key) -> bool) -> usize {
        let keys: Vec<Key> = self
            .counters
            .keys()
            .filter(|key| chosen(key))
            .cloned()
            .collect();
        for key in &keys {
            self.remove(key);
        }
        keys.len()
    }

    /// Every counter that still counts, the locked ones first, then by name.
    pub fn rows(&self, policy: &AttemptPolicy, now: Instant) -> Vec<Row> {
        let mut rows: Vec<Row> = self
            .counters
            .iter()
            .filter(|(_, counter)| counter.forget_at.is_some_and(|at| at > now))
            .map(|(key, counter)| Row {
                key: key.clone(),
                failures: counter.failures_at(policy, now),
                locked_for: counter.locked(now),
            })
            .collect();
        rows.sort_by(|left, right| {
            let rank = |row: &Row| (row.locked_for.is_none(), row.key.clone());
            rank(left).cmp(&rank(right))
        });
        rows
    }

    /// How many counters there are.
    pub fn len(&self) -> usize {
        self.counters.len()
    }

    /// Whether there is no counter.
    pub fn is_empty(&self) -> bool {
        self.counters.is_empty()
    }

    /// The counter that `key` is counted in already: its own, or a wider one that it was put into.
    fn present(&self, key: &Key) -> Option<Key> {
        candidates(key)
            .into_iter()
            .find(|candidate| self.counters.contains_key(candidate))
    }

    /// The counter for `key`: the one it is in already, else the narrowest that there is room for.
    fn place(&mut self, key: &Key, now: Instant) -> Key {
        if let Some(present) = self.present(key) {
            return present;
        }
        if !self.has_room(&key.client) && self.searched.is_none_or(|at| now >= at + SEARCH_PAUSE) {
            self.searched = Some(now);
            self.prune(now);
        }
        let fits = |candidate: &Key| self.has_room(&candidate.client);
        // The last candidate always has room.
        let chosen = candidates(key)
            .into_iter()
            .find(fits)
            .unwrap_or_else(|| key.clone());
        if let Some(count) = self.count(&chosen.client) {
            *count += 1;
        }
        self.counters.insert(chosen.clone(), Counter::default());
        chosen
    }

    fn has_room(&self, client: &Client) -> bool {
        match client {
            Client::Source(Source::Address(_)) => self.addresses < MAX_ADDRESSES,
            Client::Network(_) => self.networks < MAX_NETWORKS,
            Client::Origin(_) => self.origins < MAX_ORIGINS,
            // As many as there are paired devices, which somebody approved.
            Client::Device(_) => true,
            // One per kind.
            Client::Rest | Client::Source(Source::Hidden) => true,
        }
    }

    fn count(&mut self, client: &Client) -> Option<&mut usize> {
        match client {
            Client::Source(Source::Address(_)) => Some(&mut self.addresses),
            Client::Network(_) => Some(&mut self.networks),
            Client::Origin(_) => Some(&mut self.origins),
            Client::Device(_) | Client::Rest | Client::Source(Source::Hidden) => None,
        }
    }

    fn remove(&mut self, key: &Key) {
        if self.counters.remove(key).is_some() {
            if let Some(count) = self.count(&key.client) {
                *count -= 1;
            }
        }
    }
}

/// The key itself, then the wider ones. The last of an address and of an origin always has room.
fn candidates(key: &Key) -> Vec<Key> {
    let wider = key.client.wider().into_iter().map(|client| Key {
        client,
        ..key.clone()
    });
    std::iter::once(key.clone()).chain(wider).collect()
}

impl Counter {
    fn locked(&self, now: Instant) -> Option<Duration> {
        let left = self.locked_until?.saturating_duration_since(now);
        (!left.is_zero()).then_some(left)
    }

    /// Counts one more failure; how many there are in the window.
    fn note(&mut self, policy: &AttemptPolicy, now: Instant) -> usize {
        if self.locked_until.take().is_some() {
            // The lockout is over and with it what led to it.
            self.failures.clear();
        }
        self.failures
            .retain(|at| now.saturating_duration_since(*at) < policy.window);
        if self.failures.len() >= MAX_COUNTED {
            self.failures.remove(0);
        }
        self.failures.push(now);
        self.forget_at = Some(now + policy.window);
        self.failures.len()
    }

    fn failures_at(&self, policy: &AttemptPolicy, now: Instant) -> usize {
        if self.locked(now).is_some() {
            return self.failures.len();
        }
        let fresh = |at: &&Instant| now.saturating_duration_since(**at) < policy.window;
        self.failures.iter().filter(fresh).count()
    }
}
