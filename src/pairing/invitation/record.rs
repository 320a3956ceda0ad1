//! What the records of join keys and pre-approvals share: how they are listed, taken back and forgotten.

use std::cmp::Reverse;

use serde_json::Value;

use crate::pairing::{
    AuditEntry, Change, Changes, Part,
    state::{Keyed, Table},
};

/// A record that lists show.
pub(super) trait Shown: Keyed {
    /// When it was made, epoch milliseconds.
    fn created_at_ms(&self) -> u64;

    /// The row of a list; no secret and nothing of other versions.
    fn shown(&self, now: u64) -> Value;
}

/// All of them, newest first.
pub(super) fn rows<'a, T: Shown + 'a>(
    records: impl Iterator<Item = &'a T>,
    now: u64,
) -> Vec<Value> {
    let mut records: Vec<&T> = records.collect();
    records.sort_by_key(|record| Reverse(record.created_at_ms()));
    records
        .into_iter()
        .map(|record| record.shown(now))
        .collect()
}

/// Ends the record under `id` by `end`, and completes `audit` with what it was; the changes to carry out, None
/// when there is no such record.
pub(super) fn revoke<T: Clone + Shown>(
    (part, table): (Part, &mut Table<T::Key, T>),
    id: &str,
    now: u64,
    audit: AuditEntry,
    end: impl FnOnce(&mut Table<T::Key, T>),
) -> Option<Changes> {
    let before = table.record(id)?.shown(now);
    end(table);
    let audit = audit.turning(Some(before), None);
    Some(vec![Change::Save(part), audit.into()])
}

/// Forgets the records that are `over`.
pub(super) fn prune<T: Clone + Keyed>(table: &mut Table<T::Key, T>, over: impl Fn(&T) -> bool) {
    let old = table.records().filter(|record| over(record));
    let old: Vec<T::Key> = old.map(|record| record.key().clone()).collect();
    for key in old {
        table.remove(key.as_ref());
    }
}
