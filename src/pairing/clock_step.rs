//! The time of day was set: whatever ends by itself ends that much earlier or later, so that it lives as long as it
//! was promised, and nothing seems to come from the future.
//!
//! Only what still counts is moved. When a pairing was approved or a device last seen stays as it was written.

use super::{
    State,
    change::{Change, Changes, Part},
    state::{Keyed, Table},
};

/// Moves all that ends by itself by `step_ms`. What is returned may be lost in a crash: the clock of the next
/// start judges anyway.
pub fn follow(state: &mut State, step_ms: i64) -> Changes {
    let by = |at_ms: u64| at_ms.saturating_add_signed(step_ms);
    let mut moved = Vec::new();
    let mut note = |part, any: bool| moved.extend(any.then_some(Change::Touch(part)));
    let requests = each(&mut state.devices.pending, |it| it.ts = by(it.ts));
    note(Part::DevicesPending, requests);
    let requests = each(&mut state.nodes.pending, |it| it.ts = by(it.ts));
    note(Part::NodesPending, requests);
    if let Ok(table) = state.invitations.bootstrap.table_mut() {
        let tokens = each(table, |it| {
            it.ts = by(it.ts);
            it.issued_at_ms = it.issued_at_ms.map(by);
        });
        note(Part::Bootstrap, tokens);
    }
    if let Ok(table) = state.invitations.join_keys.table_mut() {
        let keys = each(table, |it| {
            it.created_at_ms = by(it.created_at_ms);
            it.expires_at_ms = by(it.expires_at_ms);
        });
        note(Part::JoinKeys, keys);
    }
    if let Ok(table) = state.invitations.preapproved.table_mut() {
        let approvals = each(table, |it| {
            it.created_at_ms = by(it.created_at_ms);
            it.expires_at_ms = by(it.expires_at_ms);
        });
        note(Part::Preapproved, approvals);
    }
    let ends = each(&mut state.resolved, |it| it.at_ms = by(it.at_ms));
    note(Part::Resolved, ends);
    if let Some(decision) = &mut state.switch {
        decision.since_ms = by(decision.since_ms);
        decision.until_ms = decision.until_ms.map(by);
        note(Part::Switch, true);
    }
    moved
}

/// Lets `change` work on every record; false when there is none.
fn each<T>(table: &mut Table<T::Key, T>, change: impl Fn(&mut T)) -> bool
where
    T: Clone + Keyed,
{
    let keys: Vec<T::Key> = table.records().map(|record| record.key().clone()).collect();
    for key in &keys {
        table.update(key.as_ref(), &change);
    }
    !keys.is_empty()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::pairing::{REQUEST_TTL_MS, expire, next_expiry, switch::Switch};

    const NOW: u64 = 1_800_000_000_000;
    const DAY: i64 = 86_400_000;
    const TEN_YEARS: i64 = 3_653 * DAY;

    fn state() -> State {
        let mut state = State::default();
        let device =
            json!({"requestId": "d", "deviceId": "a", "publicKey": "k", "scopes": [], "ts": NOW});
        let node = json!({"requestId": "n", "nodeId": "b", "ts": NOW});
        let window = json!({"open": true, "sinceMs": NOW, "untilMs": NOW + 60_000});
        for (part, document) in [
            (Part::DevicesPending, json!({"d": device})),
            (Part::NodesPending, json!({"n": node})),
            (Part::Switch, window),
        ] {
            state.read(part, document).unwrap();
            assert!(state.unreadable(part).is_empty());
        }
        state
    }

    #[test]
    fn a_clock_that_is_set_neither_ends_nor_prolongs_what_waits() {
        for step in [DAY, -TEN_YEARS, 5_000, -5_000] {
            let mut state = state();
            let parts = follow(&mut state, step);
            assert_eq!(parts.len(), 3);
            let now = NOW.saturating_add_signed(step);
            let end = now + REQUEST_TTL_MS + 1;
            assert_eq!(next_expiry(&state), Some(end), "{step}");
            assert!(expire(&mut state, end - 1).is_empty(), "{step}");
            assert!(!expire(&mut state, end).is_empty(), "{step}");
            let switch = Switch::of(&state, false);
            assert!(switch.is_open(now + 59_999), "{step}");
            assert!(!switch.is_open(now + 60_000), "{step}");
        }
    }

    #[test]
    fn no_time_is_before_the_first_or_behind_the_last() {
        let mut state = state();
        follow(&mut state, i64::MIN);
        assert_eq!(state.switch.unwrap().since_ms, 0);
        follow(&mut state, i64::MAX);
        follow(&mut state, i64::MAX);
        follow(&mut state, i64::MAX);
        assert_eq!(state.switch.unwrap().until_ms, Some(u64::MAX));
        assert!(follow(&mut State::default(), DAY).is_empty());
    }
}
