//! Whether anybody new may ask to join at all: the pairing switch.
//!
//! The configuration says how it rests (`gateway.nodes.pairing.enabled`); what an operator decided last by
//! command wins over that until the next decision. A window closes by itself, by the time it carries, so
//! it needs nobody to be awake and survives a restart. While the switch is closed nothing new is recorded
//! or approved by itself, on either layer and for every role; who belongs here already keeps working.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Caller, change::AuditEntry};
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
    pub enabled: bool,
    /// The last decision by command, if one stands.
    pub decision: Option<Decision>,
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

impl Default for Switch {
    fn default() -> Self {
        Switch {
            enabled: true,
            decision: None,
        }
    }
}

impl Standing {
    /// The same, unless it is open without a limit: what a list has to mention.
    pub fn unusual(self) -> Option<Standing> {
        (!self.open || self.until_ms.is_some()).then_some(self)
    }
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

    /// What stands after somebody opens it, for `window_ms` (at most [`MAX_PAIRING_WINDOW_MS`]) or without a
    /// limit; None when that is what the configuration says anyway. A window ends closed, whatever was
    /// before it.
    pub fn open(
        &self,
        window_ms: Option<u64>,
        caller: &Caller<'_>,
        now: u64,
    ) -> (Option<Decision>, AuditEntry) {
        let until_ms = window_ms
            .map(|window| now.saturating_add(window.min(MAX_PAIRING_WINDOW_MS.unsigned_abs())));
        let decision = Decision {
            open: true,
            since_ms: now,
            until_ms,
        };
        let next = (!self.enabled || until_ms.is_some()).then_some(decision);
        (next, self.audit("pairing.open", next, caller, now))
    }

    /// What stands after somebody closes it; None when that is what the configuration says anyway.
    pub fn close(&self, caller: &Caller<'_>, now: u64) -> (Option<Decision>, AuditEntry) {
        let decision = Decision {
            open: false,
            since_ms: now,
            until_ms: None,
        };
        let next = self.enabled.then_some(decision);
        (next, self.audit("pairing.close", next, caller, now))
    }

    fn audit(
        &self,
        action: &'static str,
        next: Option<Decision>,
        caller: &Caller<'_>,
        now: u64,
    ) -> AuditEntry {
        let after = Switch {
            decision: next,
            ..*self
        };
        AuditEntry::by(caller, action, "gateway").turning(
            Some(json!(self.standing(now))),
            Some(json!(after.standing(now))),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        pairing::testing::{NOW, caller},
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
    fn what_the_configuration_says_anyway_is_not_decided_again() {
        let scopes = Scopes::none();
        let caller = caller(&scopes);
        // configured → after open, after a window, after close
        for enabled in [true, false] {
            let before = switch(enabled, Some((!enabled, None)));
            let (open, _) = before.open(None, &caller, NOW);
            assert_eq!(open.is_none(), enabled);
            assert!(switch_with(enabled, open).is_open(NOW));
            let (window, audit) = before.open(Some(MINUTE), &caller, NOW);
            assert_eq!(window.unwrap().until_ms, Some(NOW + MINUTE));
            assert_eq!(audit.after.unwrap()["untilMs"], json!(NOW + MINUTE));
            assert!(!switch_with(enabled, window).is_open(NOW + MINUTE));
            let (closed, audit) = before.close(&caller, NOW);
            assert_eq!(closed.is_none(), !enabled);
            assert!(!switch_with(enabled, closed).is_open(NOW));
            assert_eq!(
                (audit.action, audit.by.as_str()),
                ("pairing.close", "tester")
            );
            assert_eq!(audit.before.unwrap()["open"], json!(!enabled));
        }
        let (longest, _) = switch(true, None).open(Some(u64::MAX), &caller, NOW);
        assert_eq!(
            longest.unwrap().until_ms,
            Some(NOW + MAX_PAIRING_WINDOW_MS.unsigned_abs())
        );
    }

    fn switch_with(enabled: bool, decision: Option<Decision>) -> Switch {
        Switch { enabled, decision }
    }
}
