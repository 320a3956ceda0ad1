//! Whether anybody new may ask to join at all: the pairing switch.
//!
//! The configuration says how it rests (`gateway.nodes.pairing.enabled`). A command that closes it or opens a
//! window wins over that until the next command, and so does one that opens what the configuration closes;
//! opening what the configuration opens too leaves it to the configuration, whose later word then counts. A window closes by itself, by the time it carries, so
//! it needs nobody to be awake and survives a restart. While the switch is closed nothing new is recorded
//! or approved by itself, on either layer and for every role; who belongs here already keeps working.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Caller, State,
    change::{AuditEntry, Change, Changes, Part},
    state::Misshapen,
};
use crate::protocol::limits::MAX_PAIRING_WINDOW_MS;

/// How far the clock may have been set back since a window was opened, in milliseconds: an ordinary
/// correction. A clock further back is not the one that the window was measured with, and the window is over.
const CLOCK_TOLERANCE_MS: u64 = 60_000;

/// What an operator decided by command, as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    /// Open, or closed.
    pub open: bool,
    /// When it was decided, epoch milliseconds.
    pub since_ms: u64,
    /// When an open window closes, epoch milliseconds; absent: not by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_ms: Option<u64>,
}

/// The switch with everything that decides about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Switch {
    /// `gateway.nodes.pairing.enabled`.
    enabled: bool,
    /// The last decision by command, if one stands.
    decision: Option<Decision>,
}

/// How the switch stands, for lists and answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Standing {
    /// Whether anybody new may ask.
    pub open: bool,
    /// When it closes by itself, epoch milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until_ms: Option<u64>,
    /// `command` or `configuration`.
    pub decided_by: &'static str,
    /// When it was decided by command, epoch milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since_ms: Option<u64>,
}

impl Decision {
    fn is_open(&self, now: u64) -> bool {
        self.open
            && self.until_ms.is_none_or(|until| {
                now < until && now.saturating_add(CLOCK_TOLERANCE_MS) >= self.since_ms
            })
    }
}

impl Switch {
    /// The switch of this state under a configuration that says `enabled`.
    pub fn of(state: &State, enabled: bool) -> Switch {
        Switch {
            enabled,
            decision: state.switch,
        }
    }

    /// Whether anybody new may ask now.
    pub fn is_open(&self, now: u64) -> bool {
        self.decision
            .map_or(self.enabled, |decision| decision.is_open(now))
    }

    /// How it stands now.
    pub fn standing(&self, now: u64) -> Standing {
        let open = self.is_open(now);
        let decision = self.decision;
        Standing {
            open,
            until_ms: decision
                .and_then(|decision| decision.until_ms)
                .filter(|_| open),
            decided_by: match decision {
                Some(_) => "command",
                None => "configuration",
            },
            since_ms: decision.map(|decision| decision.since_ms),
        }
    }

    /// Adds to what a list shows how the switch stands, where it is not simply open.
    pub fn mention(&self, now: u64, listed: &mut Value) {
        let standing = self.standing(now);
        if !standing.open || standing.until_ms.is_some() {
            listed["pairing"] = json!(standing);
        }
    }
}

/// Opens it, for `window_ms` (at most [`MAX_PAIRING_WINDOW_MS`]) or without a limit. Without a limit it is left
/// to a configuration that opens it anyway. A window ends closed, whatever was before it.
pub fn open(
    state: &mut State,
    enabled: bool,
    window_ms: Option<u64>,
    caller: &Caller<'_>,
    now: u64,
) -> (Standing, Changes) {
    let until_ms = window_ms.map(|window| now.saturating_add(window.min(MAX_PAIRING_WINDOW_MS)));
    let decision = Decision {
        open: true,
        since_ms: now,
        until_ms,
    };
    let decision = (!enabled || until_ms.is_some()).then_some(decision);
    let at = (enabled, now);
    decide(
        state,
        at,
        decision,
        AuditEntry::by(caller, "pairing.open", "gateway"),
    )
}

/// Closes it until somebody opens it, whatever the configuration says now or later.
pub fn close(
    state: &mut State,
    enabled: bool,
    caller: &Caller<'_>,
    now: u64,
) -> (Standing, Changes) {
    let decision = Decision {
        open: false,
        since_ms: now,
        until_ms: None,
    };
    let at = (enabled, now);
    decide(
        state,
        at,
        Some(decision),
        AuditEntry::by(caller, "pairing.close", "gateway"),
    )
}

fn decide(
    state: &mut State,
    (enabled, now): (bool, u64),
    decision: Option<Decision>,
    audit: AuditEntry,
) -> (Standing, Changes) {
    let before = Switch::of(state, enabled).standing(now);
    state.switch = decision;
    let after = Switch::of(state, enabled).standing(now);
    let audit = audit.turning(Some(json!(before)), Some(json!(after)));
    (after, vec![Change::Save(Part::Switch), audit.into()])
}

/// What the file says: a decision, or nothing in `{}`.
pub(super) fn from_document(document: Value) -> Result<Option<Decision>, Misshapen> {
    match document.as_object() {
        None => Err(Misshapen::NotAnObject),
        Some(members) if members.is_empty() => Ok(None),
        Some(_) => serde_json::from_value(document)
            .map(Some)
            .map_err(|_| Misshapen::NotADecision),
    }
}

/// The text of the file.
pub(super) fn render(decision: Option<&Decision>) -> Result<String, serde_json::Error> {
    match decision {
        Some(decision) => serde_json::to_string_pretty(decision),
        None => Ok("{}".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        pairing::testing::{NOW, caller, saves},
        protocol::scope::Scopes,
    };

    const MINUTE: u64 = 60_000;

    fn switch(enabled: bool, decision: Option<(bool, Option<u64>)>) -> Switch {
        let decision = decision.map(|(open, until_ms)| Decision {
            open,
            since_ms: NOW,
            until_ms,
        });
        Switch { enabled, decision }
    }

    #[test]
    fn the_last_word_counts_and_a_window_is_over_by_itself() {
        let window = Some((true, Some(NOW + 3 * MINUTE)));
        // configured, decided, at, open
        let table = [
            (true, None, NOW, true),
            (false, None, NOW, false),
            (true, Some((false, None)), NOW + 9_000 * MINUTE, false),
            (false, Some((true, None)), NOW + 9_000 * MINUTE, true),
            (true, window, NOW, true),
            (false, window, NOW, true),
            (true, window, NOW + 3 * MINUTE - 1, true),
            (true, window, NOW + 3 * MINUTE, false),
            (false, window, NOW + 3 * MINUTE, false),
            // A clock that was corrected, and one that starts in the past after a restart.
            (true, window, NOW - MINUTE, true),
            (true, window, NOW - MINUTE - 1, false),
            (true, window, 0, false),
        ];
        for (enabled, decided, at, open) in table {
            let switch = switch(enabled, decided);
            assert_eq!(switch.is_open(at), open, "{enabled} {decided:?} {at}");
            assert_eq!(switch.standing(at).open, open);
            assert_eq!(
                switch.standing(at).until_ms.is_some(),
                open && decided == window
            );
        }
    }

    #[test]
    fn a_close_stands_whatever_the_configuration_says_later() {
        let scopes = Scopes::none();
        let caller = caller(&scopes);
        for enabled in [true, false] {
            let mut state = decided(!enabled);
            let (standing, changes) = close(&mut state, enabled, &caller, NOW);
            assert_eq!((standing.open, standing.decided_by), (false, "command"));
            for later in [true, false] {
                assert!(!Switch::of(&state, later).is_open(NOW + MINUTE));
            }
            let audit = audited(&changes);
            assert_eq!(
                (audit.action, audit.by.as_str()),
                ("pairing.close", "tester")
            );
            assert_eq!(audit.before.as_ref().unwrap()["open"], json!(!enabled));
            assert_eq!(audit.after.as_ref().unwrap()["open"], json!(false));
        }
    }

    #[test]
    fn a_window_ends_closed_and_opening_what_is_open_anyway_is_left_to_the_configuration() {
        let scopes = Scopes::none();
        let caller = caller(&scopes);
        for enabled in [true, false] {
            let mut state = decided(!enabled);
            let (standing, changes) = open(&mut state, enabled, None, &caller, NOW);
            assert!(standing.open);
            assert_eq!(saves(&changes), [Part::Switch]);
            assert_eq!(audited(&changes).action, "pairing.open");
            assert_eq!(state.switch.is_none(), enabled);
            assert_eq!(Switch::of(&state, false).is_open(NOW), !enabled);
            let (_, changes) = open(&mut state, enabled, Some(MINUTE), &caller, NOW);
            assert_eq!(state.switch.unwrap().until_ms, Some(NOW + MINUTE));
            let after = audited(&changes).after.as_ref().unwrap();
            assert_eq!(after["untilMs"], json!(NOW + MINUTE));
            assert!(!Switch::of(&state, enabled).is_open(NOW + MINUTE));
        }
        let mut state = State::default();
        open(&mut state, true, Some(u64::MAX), &caller, NOW);
        let until = state.switch.unwrap().until_ms;
        assert_eq!(until, Some(NOW + MAX_PAIRING_WINDOW_MS));
    }

    #[test]
    fn the_file_gives_back_what_was_decided_and_anything_else_is_refused() {
        let mut state = State::default();
        assert_eq!(state.render(Part::Switch).unwrap(), "{}");
        let files = [
            (json!({}), None),
            (json!({"open": false, "sinceMs": 1}), Some((false, None))),
            (
                json!({"open": true, "sinceMs": 1, "untilMs": 2}),
                Some((true, Some(2))),
            ),
        ];
        for (document, decision) in files {
            state.read(Part::Switch, document.clone()).unwrap();
            let decision = decision.map(|(open, until_ms)| Decision {
                open,
                since_ms: 1,
                until_ms,
            });
            assert_eq!(state.switch, decision);
            let text = state.render(Part::Switch).unwrap();
            assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), document);
        }
        let before = state.clone();
        for document in [
            json!({"open": 1, "sinceMs": 1}),
            json!({"open": true}),
            json!({"sinceMs": 1}),
            json!({"open": true, "sinceMs": -1}),
        ] {
            let read = state.read(Part::Switch, document);
            assert_eq!(read, Err(Misshapen::NotADecision));
        }
        let read = state.read(Part::Switch, json!([]));
        assert_eq!(read, Err(Misshapen::NotAnObject));
        assert_eq!(state, before);
    }

    fn decided(open: bool) -> State {
        State {
            switch: Some(Decision {
                open,
                since_ms: NOW,
                until_ms: None,
            }),
            ..State::default()
        }
    }

    fn audited(changes: &Changes) -> &AuditEntry {
        changes
            .iter()
            .find_map(|change| match change {
                Change::Audit(entry) => Some(&**entry),
                _ => None,
            })
            .unwrap()
    }
}
