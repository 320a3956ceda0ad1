//! The budget of connections that have not said hello: how many one source may hold open at a time.
//!
//! A slot is taken when the upgrade is asked for and given back at hello-ok or close, whatever the
//! reason (protocol.md §1.4). Loopback is not exempt. Every slot belongs to an
//! open socket, so the counts are as bounded as those.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::gateway::limits::source::Source;

/// Counts open connections without hello per source.
#[derive(Debug)]
pub struct Preauth {
    limit: usize,
    counts: Mutex<HashMap<Source, usize>>,
}

/// One slot of the budget, given back when dropped.
#[derive(Debug)]
pub struct Slot {
    budget: Arc<Preauth>,
    source: Source,
}

impl Preauth {
    /// A budget of `limit` connections per source.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit,
            counts: Mutex::default(),
        })
    }

    /// How many slots one source has.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// How many slots are taken.
    pub fn used(&self) -> usize {
        self.counts().values().sum()
    }

    /// A slot for one more connection of `address` (`None`: hidden by a proxy), or `None` when its budget is used up.
    pub fn enter(self: &Arc<Self>, address: Option<IpAddr>) -> Option<Slot> {
        let source = Source::of(address);
        let mut counts = self.counts();
        let count = counts.entry(source).or_default();
        if *count >= self.limit {
            return None;
        }
        *count += 1;
        drop(counts);
        Some(Slot {
            budget: Arc::clone(self),
            source,
        })
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<Source, usize>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut counts = self.budget.counts();
        if let Some(count) = counts.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_source_has_its_own_budget_and_gets_slots_back() {
        let budget = Preauth::new(2);
        let first: Option<IpAddr> = Some("192.0.2.1".parse().unwrap());
        let held = (budget.enter(first), budget.enter(first));
        assert!(held.0.is_some() && held.1.is_some());
        assert!(budget.enter(first).is_none());
        assert!(budget.enter(Some("192.0.2.2".parse().unwrap())).is_some());
        let unknown = (budget.enter(None), budget.enter(None));
        assert!(unknown.1.is_some() && budget.enter(None).is_none());
        drop(held.0);
        assert!(budget.enter(first).is_some());
        let v6 = |last: u16| Some(format!("2001:db8::{last:x}").parse().unwrap());
        let whole_host = (budget.enter(v6(1)), budget.enter(v6(2)));
        assert!(whole_host.1.is_some() && budget.enter(v6(3)).is_none());
        drop((held.1, unknown, whole_host));
        assert!(budget.counts().is_empty());
    }
}
