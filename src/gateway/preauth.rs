//! The budget of connections that have not said hello: how many one source may hold open at a time.
//!
//! A ticket is taken when the upgrade is asked for and given back at hello-ok or close, whatever the
//! reason (protocol.md §1.4). Loopback is not exempt. Only counts live here.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Counts open connections without hello per source; `None` is the one shared source of all
/// connections whose address cannot be told.
#[derive(Debug)]
pub struct Preauth {
    limit: usize,
    counts: Mutex<HashMap<Option<IpAddr>, usize>>,
}

/// One place in the budget, given back when dropped.
#[derive(Debug)]
pub struct Ticket {
    budget: Arc<Preauth>,
    source: Option<IpAddr>,
}

impl Preauth {
    /// A budget of `limit` connections per source.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit,
            counts: Mutex::default(),
        })
    }

    /// A place for one more connection of `source`, or `None` when its budget is used up.
    pub fn enter(self: &Arc<Self>, source: Option<IpAddr>) -> Option<Ticket> {
        let mut counts = self.counts();
        let count = counts.entry(source).or_default();
        if *count >= self.limit {
            return None;
        }
        *count += 1;
        drop(counts);
        Some(Ticket {
            budget: Arc::clone(self),
            source,
        })
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<Option<IpAddr>, usize>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Ticket {
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
    fn each_source_has_its_own_budget_and_gets_places_back() {
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
        drop((held.1, unknown));
        assert!(budget.counts().is_empty());
    }
}
