//! Who asked to join in vain lately: counts per source, for the operator's lists.
//!
//! Requests that found no place leave no trace but these counts, which live in memory, are bounded, and are
//! forgotten once a source has been quiet for as long as a request lives.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use serde_json::json;

use crate::gateway::context::Context;
use crate::gateway::limits::Topic;
use crate::pairing::crowd::{Crowded, Source};
use crate::pairing::{AuditEntry, REQUEST_TTL_MS};

/// Sources that are counted by name; what others did is counted together.
const MAX_NAMED: usize = 64;

/// The counts of one gateway.
#[derive(Debug, Default)]
pub struct Crowd {
    counts: Mutex<BTreeMap<Option<Source>, Count>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    refused: u64,
    displaced: u64,
    since_ms: u64,
    last_ms: u64,
}

/// What one source lost lately.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// Address, /64, `unknown`, or `others` for all that found no row of their own.
    pub source: String,
    /// Requests that were not recorded.
    pub refused: u64,
    /// Requests that gave way to those of another source.
    pub displaced: u64,
    /// Since when they are counted, epoch milliseconds.
    pub since_ms: u64,
}

impl Crowd {
    /// Counts one; says whether this is the first of its source in a while.
    fn count(&self, source: Source, what: Crowded, now: u64) -> bool {
        let mut counts = self.counts();
        forget_quiet(&mut counts, now);
        let named = counts.contains_key(&Some(source)) || counts.len() < MAX_NAMED;
        let key = named.then_some(source);
        let fresh = !counts.contains_key(&key);
        let count = counts.entry(key).or_insert(Count {
            since_ms: now,
            ..Count::default()
        });
        count.last_ms = now;
        match what {
            Crowded::Displaced => count.displaced += 1,
            Crowded::Refused => count.refused += 1,
        }
        fresh
    }

    /// What there is to tell, the largest first.
    pub fn rows(&self, now: u64) -> Vec<Row> {
        let mut counts = self.counts();
        forget_quiet(&mut counts, now);
        let mut rows: Vec<Row> = counts
            .iter()
            .map(|(source, count)| Row {
                source: source.map_or_else(|| "others".to_owned(), |source| source.to_string()),
                refused: count.refused,
                displaced: count.displaced,
                since_ms: count.since_ms,
            })
            .collect();
        rows.sort_by_key(|row| std::cmp::Reverse(row.refused + row.displaced));
        rows
    }

    fn counts(&self) -> MutexGuard<'_, BTreeMap<Option<Source>, Count>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn forget_quiet(counts: &mut BTreeMap<Option<Source>, Count>, now: u64) {
    counts.retain(|_, count| now.abs_diff(count.last_ms) <= REQUEST_TTL_MS);
}

/// Counts a request that found no place or lost it. The first of a source is audited and logged, within the
/// bounds of what strangers may write there.
pub fn note(context: &Context, source: Source, what: Crowded) {
    let first = context.crowd.count(source, what, context.now_ms());
    if !first || !context.chatter.allows(Topic::CrowdAudit, &context.timer) {
        return;
    }
    log::warn!(
        target: "gateway",
        "too many pairing requests of {source} wait; further ones of this source are only counted"
    );
    context.store.audit(&AuditEntry {
        action: "pairing.crowded",
        subject: source.to_string(),
        by: "gateway".to_owned(),
        via: "connect".to_owned(),
        detail: Some(json!({"displaced": what == Crowded::Displaced})),
        ..AuditEntry::default()
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(last: u8) -> Source {
        Source::of(Some([203, 0, 113, last].into()))
    }

    #[test]
    fn each_source_has_one_row_for_a_while_and_rows_are_bounded() {
        let crowd = Crowd::default();
        assert!(crowd.count(source(1), Crowded::Refused, 1_000));
        for _ in 0..9_999 {
            assert!(!crowd.count(source(1), Crowded::Refused, 2_000));
        }
        assert!(crowd.count(source(2), Crowded::Displaced, 2_000));
        let rows = crowd.rows(3_000);
        assert_eq!(
            (rows[0].source.as_str(), rows[0].refused),
            ("203.0.113.1", 10_000)
        );
        assert_eq!((rows[1].displaced, rows[1].since_ms), (1, 2_000));
        for last in 0..=255 {
            crowd.count(source(last), Crowded::Refused, 4_000);
        }
        let rows = crowd.rows(4_000);
        assert_eq!(rows.len(), MAX_NAMED + 1);
        let others = rows.iter().find(|row| row.source == "others").unwrap();
        assert_eq!(others.refused as usize, 256 - MAX_NAMED);
        assert_eq!(crowd.rows(4_000 + REQUEST_TTL_MS + 1), []);
    }
}
