//! The limiter of failed attempts as the daemon uses it: locked, logged, audited, pruned.
//!
//! The counting is `attempts`'. A [`Claimant`] is one request with its caller: it knows whether the caller is
//! exempt and under which name it is counted. An empty limiter wakes nobody up.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::gateway::context::Context;
use crate::gateway::limits::attempts::{AttemptPolicy, Attempts, Failure, Key, Kind, Row};
use crate::gateway::limits::chatter::Topic;
use crate::gateway::limits::client::{Caller, Client};
use crate::gateway::locality::{Place, RequestHeaders};
use crate::gateway::timer::Timer;
use crate::identity::DeviceId;
use crate::pairing::AuditEntry;

/// Between two sweeps at least; counters that ran out meanwhile count for nothing.
const SWEEP_PAUSE: Duration = Duration::from_secs(60);

/// The limiter of one gateway.
#[derive(Debug, Default)]
pub struct Guard {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    attempts: Attempts,
    /// A sweep is scheduled.
    sweeping: bool,
}

/// One request whose credentials are judged.
pub struct Claimant<'a> {
    context: &'a Context,
    policy: AttemptPolicy,
    caller: Caller,
    /// The raw address of the socket.
    peer: IpAddr,
    /// `connect` or the path of an HTTP request.
    via: &'a str,
}

impl Guard {
    /// Every counter that still counts.
    pub fn rows(&self, policy: &AttemptPolicy) -> Vec<Row> {
        self.lock().attempts.rows(policy, Instant::now())
    }

    /// Removes the counters that `chosen` selects; how many there were.
    pub fn clear(&self, chosen: impl Fn(&Key) -> bool) -> usize {
        self.lock().attempts.clear(chosen)
    }

    fn fail(self: &Arc<Self>, key: &Key, policy: &AttemptPolicy, timer: &Timer) -> Failure {
        let mut state = self.lock();
        let failure = state.attempts.fail(key, policy, Instant::now());
        if !std::mem::replace(&mut state.sweeping, true) {
            drop(state);
            schedule(
                Arc::downgrade(self),
                Instant::now() + SWEEP_PAUSE,
                timer.clone(),
            );
        }
        failure
    }

    fn sweep(self: &Arc<Self>, timer: Timer) {
        let mut state = self.lock();
        let next = state.attempts.prune(Instant::now());
        state.sweeping = next.is_some();
        drop(state);
        if let Some(next) = next {
            let next = next.max(Instant::now() + SWEEP_PAUSE);
            schedule(Arc::downgrade(self), next, timer);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn schedule(guard: Weak<Guard>, at: Instant, timer: Timer) {
    let again = timer.clone();
    timer.schedule(at, move || {
        if let Some(guard) = guard.upgrade() {
            guard.sweep(again);
        }
    });
}

impl<'a> Claimant<'a> {
    /// A request from `peer`, as it is judged by the rules of now.
    pub fn new(
        context: &'a Context,
        policy: AttemptPolicy,
        peer: IpAddr,
        place: &Place,
        headers: &RequestHeaders,
        via: &'a str,
    ) -> Self {
        Self {
            context,
            policy,
            caller: Caller::of(place, headers),
            peer,
            via,
        }
    }

    /// Whether it comes from this host without a proxy.
    pub fn is_direct(&self) -> bool {
        self.caller.direct
    }

    /// Milliseconds for which credentials of `kind` are not looked at. A paired `device` that proved its
    /// key is counted under its own id: no stranger locks it out.
    pub fn locked(&self, kind: Kind, device: Option<&DeviceId>) -> Option<u64> {
        let key = self.key(kind, device)?;
        let left = self
            .context
            .guard
            .lock()
            .attempts
            .locked(&key, Instant::now());
        left.map(milliseconds)
    }

    /// Notes a right credential. The error says for how many milliseconds nothing counts as right.
    pub fn succeeded(&self, kind: Kind, device: Option<&DeviceId>) -> Result<(), u64> {
        let Some(key) = self.key(kind, device) else {
            return Ok(());
        };
        let noted = self
            .context
            .guard
            .lock()
            .attempts
            .succeed(&key, Instant::now());
        noted.map_err(milliseconds)
    }

    /// Notes a wrong credential, with the `reason` of §4.3 for the log. The error says for how many
    /// milliseconds the caller was locked out meanwhile: then the answer must not tell right from wrong.
    pub fn failed(&self, kind: Kind, device: Option<&DeviceId>, reason: &str) -> Result<(), u64> {
        let context = self.context;
        context.counters.wrong.note(kind as usize);
        let Some(key) = self.key(kind, device) else {
            return Ok(());
        };
        match context.guard.fail(&key, &self.policy, &context.timer) {
            Failure::Locked(left) => return Err(milliseconds(left)),
            Failure::Counted { client, failures } => {
                self.log(&key, &client, failures, reason, "counted");
            }
            Failure::Locks { client, failures } => {
                context.counters.lockouts.note(kind as usize);
                self.log(&key, &client, failures, reason, "locked out");
                self.audit(&key, &client, failures);
            }
        }
        Ok(())
    }

    fn key(&self, kind: Kind, device: Option<&DeviceId>) -> Option<Key> {
        if self.caller.local && self.policy.exempt_loopback {
            return None;
        }
        let client = device.cloned().map(Client::Device);
        Some(Key {
            kind,
            browser: self.caller.browser,
            client: client.unwrap_or_else(|| self.caller.client.clone()),
        })
    }

    fn log(&self, key: &Key, client: &Client, failures: usize, reason: &str, outcome: &str) {
        if self
            .context
            .chatter
            .allows(Topic::Failure, &self.context.timer)
        {
            log::warn!(
                target: "gateway",
                "failed attempt {outcome}: kind={} client={client} from={} via={} reason={reason} failures={failures}/{}",
                key.kind.as_str(), self.peer, self.via, self.policy.max_attempts
            );
        }
    }

    fn audit(&self, key: &Key, client: &Client, failures: usize) {
        if !self
            .context
            .chatter
            .allows(Topic::LockoutAudit, &self.context.timer)
        {
            return;
        }
        self.context.store.audit(&AuditEntry {
            action: "auth.lockout",
            subject: client.to_string(),
            by: "gateway".to_owned(),
            via: self.via.to_owned(),
            from: Some(self.peer.to_string()),
            after: Some(json!({
                "kind": key.kind.as_str(),
                "failures": failures,
                "lockoutMs": milliseconds(self.policy.lockout),
            })),
            ..AuditEntry::default()
        });
    }
}

/// Whole milliseconds, at least 1: whoever waits that long finds the lock open.
pub fn milliseconds(left: Duration) -> u64 {
    u64::try_from(left.as_nanos().div_ceil(1_000_000))
        .unwrap_or(u64::MAX)
        .max(1)
}
