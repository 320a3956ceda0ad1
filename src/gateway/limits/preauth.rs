//! The budget of connections that have not said hello: how many one source may hold open at a time.
//!
//! A slot is taken when the upgrade is asked for and given back at hello-ok or close, whatever the
//! reason (protocol.md §1.4). Loopback is not exempt. Every slot belongs to an
//! open socket, so the counts are as bounded as those.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::gateway::limits::source::Source;

/// Counts open connections without hello per source, those of browsers apart: a page that somebody opened must
/// not keep the programs beside it out.
#[derive(Debug)]
pub struct Preauth {
    limit: usize,
    counts: Mutex<HashMap<(Source, bool), usize>>,
}

/// One slot of the budget, given back when dropped.
#[derive(Debug)]
pub struct Slot {
    budget: Arc<Preauth>,
    key: (Source, bool),
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

    /// A slot for one more connection of `address` (`None`: hidden by a proxy), of a browser or not, or `None`
    /// when its budget is used up.
    pub fn enter(self: &Arc<Self>, address: Option<IpAddr>, browser: bool) -> Option<Slot> {
        let key = (Source::of(address), browser);
        let mut counts = self.counts();
        let count = counts.entry(key).or_default();
        if *count >= self.limit {
            return None;
        }
        *count += 1;
        drop(counts);
        Some(Slot {
            budget: Arc::clone(self),
            key,
        })
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<(Source, bool), usize>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut counts = self.budget.counts();
        if let Some(count) = counts.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.key);
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
        let held = (budget.enter(first, false), budget.enter(first, false));
        assert!(held.0.is_some() && held.1.is_some());
        assert!(budget.enter(first, false).is_none());
        assert!(
            budget
                .enter(Some("192.0.2.2".parse().unwrap()), false)
                .is_some()
        );
        let unknown = (budget.enter(None, false), budget.enter(None, false));
        assert!(unknown.1.is_some() && budget.enter(None, false).is_none());
        let page = (budget.enter(first, true), budget.enter(first, true));
        assert!(page.1.is_some() && budget.enter(first, true).is_none());
        drop(page);
        drop(held.0);
        assert!(budget.enter(first, false).is_some());
        let v6 = |last: u16| Some(format!("2001:db8::{last:x}").parse().unwrap());
        let whole_host = (budget.enter(v6(1), false), budget.enter(v6(2), false));
        assert!(whole_host.1.is_some() && budget.enter(v6(3), false).is_none());
        drop((held.1, unknown, whole_host));
        assert!(budget.counts().is_empty());
    }
}
