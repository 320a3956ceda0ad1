//! What nodes report on their own: presence to keep and untrusted text to log (protocol.md §7.5).
//!
//! Pure data with bounds: who reported its presence when, which finished runs were already logged, and how
//! a node's words are made safe for a log line. Nothing a node says is ever interpreted.

use std::collections::HashMap;
use std::hash::Hash;

use serde_json::{Map, Value};

use crate::identity::ids::DeviceId;
use crate::protocol::hidden::is_hidden;

/// Milliseconds between two stored presence reports of one device (§7.5).
pub const PRESENCE_INTERVAL_MS: u64 = 60_000;

/// Devices whose last report is remembered (§7.5).
pub const MAX_THROTTLED: usize = 1_024;

/// Milliseconds during which a second `exec.finished` of the same run is not logged again (§7.5).
pub const FINISHED_MEMORY_MS: u64 = 10 * 60 * 1_000;

/// Finished runs remembered at once.
pub const MAX_FINISHED: usize = 1_024;

/// Characters of a command's output that reach the log (§7.5).
const OUTPUT_CHARS: usize = 180;

/// Characters of any other field of a node's report that reach the log.
const FIELD_CHARS: usize = 120;

/// Why a node says it is alive; other words count as `background`.
const TRIGGERS: &[&str] = &[
    "background",
    "silent_push",
    "bg_app_refresh",
    "significant_location",
    "manual",
    "connect",
];

/// The fields of an `exec.*` report that are worth a log line, in its order.
const EXEC_FIELDS: &[&str] = &[
    "runId",
    "sessionKey",
    "host",
    "command",
    "exitCode",
    "timedOut",
    "reason",
    "output",
];

/// What is remembered about the reports of nodes.
#[derive(Debug)]
pub struct NodeEvents {
    presence: Recent<DeviceId>,
    finished: Recent<(DeviceId, String, String)>,
}

impl Default for NodeEvents {
    fn default() -> NodeEvents {
        NodeEvents {
            presence: Recent::new(MAX_THROTTLED, PRESENCE_INTERVAL_MS),
            finished: Recent::new(MAX_FINISHED, FINISHED_MEMORY_MS),
        }
    }
}

impl NodeEvents {
    /// Whether the presence of `device` was stored less than [`PRESENCE_INTERVAL_MS`] before `now_ms`.
    pub fn throttled(&self, device: &DeviceId, now_ms: u64) -> bool {
        self.presence.holds(device, now_ms)
    }

    /// Notes that the presence of `device` was stored at `now_ms`.
    pub fn stored(&mut self, device: DeviceId, now_ms: u64) {
        self.presence.note(device, now_ms);
    }

    /// Whether an `exec.*` report of `device` is news: a repeated `exec.finished` of the same run is not.
    pub fn is_news(
        &mut self,
        device: &DeviceId,
        event: &str,
        payload: &Map<String, Value>,
        now_ms: u64,
    ) -> bool {
        let text = |key: &str| {
            payload
                .get(key)
                .and_then(Value::as_str)
                .map(|text| clean(text, FIELD_CHARS))
        };
        let (Some(run), true) = (text("runId"), event == "exec.finished") else {
            return true;
        };
        let key = (device.clone(), text("sessionKey").unwrap_or_default(), run);
        if self.finished.holds(&key, now_ms) {
            return false;
        }
        self.finished.note(key, now_ms);
        true
    }
}

/// The trigger of a presence report, one of the known words.
pub fn presence_trigger(payload: &Map<String, Value>) -> &'static str {
    let said = payload
        .get("trigger")
        .and_then(Value::as_str)
        .unwrap_or_default();
    TRIGGERS
        .iter()
        .copied()
        .find(|known| *known == said.trim())
        .unwrap_or("background")
}

/// One log line for an `exec.*` report: `exec.finished runId=.. exitCode=0 output="..."`.
pub fn exec_line(event: &str, payload: &Map<String, Value>) -> String {
    let mut line = event.to_owned();
    for key in EXEC_FIELDS {
        let limit = if *key == "output" {
            OUTPUT_CHARS
        } else {
            FIELD_CHARS
        };
        let shown = match payload.get(*key) {
            Some(Value::String(text)) if !text.is_empty() => format!("{:?}", clean(text, limit)),
            Some(Value::Number(number)) => number.to_string(),
            Some(Value::Bool(value)) => value.to_string(),
            _ => continue,
        };
        line.push_str(&format!(" {key}={shown}"));
    }
    line
}

/// `text` on one line without hidden characters, at most `limit` characters long.
pub fn clean(text: &str, limit: usize) -> String {
    let spaced = text.chars().map(|character| {
        if character.is_whitespace() {
            ' '
        } else {
            character
        }
    });
    let mut kept = spaced.filter(|character| !is_hidden(*character));
    let mut cleaned: String = kept.by_ref().take(limit).collect();
    if kept.next().is_some() {
        cleaned.push('…');
    }
    cleaned
}

/// A bounded memory of when something last happened.
#[derive(Debug)]
struct Recent<K> {
    at_ms: HashMap<K, u64>,
    limit: usize,
    lifetime_ms: u64,
}

impl<K: Clone + Eq + Hash> Recent<K> {
    fn new(limit: usize, lifetime_ms: u64) -> Recent<K> {
        Recent {
            at_ms: HashMap::new(),
            limit,
            lifetime_ms,
        }
    }

    fn holds(&self, key: &K, now_ms: u64) -> bool {
        self.at_ms
            .get(key)
            .is_some_and(|at| now_ms.saturating_sub(*at) < self.lifetime_ms)
    }

    fn note(&mut self, key: K, now_ms: u64) {
        if self.at_ms.len() >= self.limit && !self.at_ms.contains_key(&key) {
            let lifetime_ms = self.lifetime_ms;
            self.at_ms
                .retain(|_, at| now_ms.saturating_sub(*at) < lifetime_ms);
        }
        if self.at_ms.len() >= self.limit && !self.at_ms.contains_key(&key) {
            let oldest = self
                .at_ms
                .iter()
                .min_by_key(|(_, at)| **at)
                .map(|(key, _)| key.clone());
            if let Some(oldest) = oldest {
                self.at_ms.remove(&oldest);
            }
        }
        self.at_ms.insert(key, now_ms);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn presence_is_throttled_for_a_minute_per_device() {
        let mut events = NodeEvents::default();
        let (one, two) = (DeviceId::from("1"), DeviceId::from("2"));
        assert!(!events.throttled(&one, 1_000));
        events.stored(one.clone(), 1_000);
        assert!(events.throttled(&one, 60_999));
        assert!(!events.throttled(&one, 61_000));
        assert!(!events.throttled(&two, 1_001));
    }

    #[test]
    fn the_memory_is_bounded_and_forgets_the_oldest() {
        let mut events = NodeEvents::default();
        for number in 0..=MAX_THROTTLED as u64 {
            events.stored(DeviceId::from(number.to_string()), 1_000 + number);
        }
        assert_eq!(events.presence.at_ms.len(), MAX_THROTTLED);
        assert!(
            !events.throttled(&DeviceId::from("0"), 3_000),
            "the oldest made room"
        );
        assert!(events.throttled(&DeviceId::from("1"), 3_000));
        events.stored(DeviceId::from("late"), 10_000_000);
        assert_eq!(
            events.presence.at_ms.len(),
            1,
            "what is over is swept first"
        );
    }

    #[test]
    fn triggers_outside_the_list_count_as_background() {
        let cases = [
            (json!({"trigger": "connect"}), "connect"),
            (json!({"trigger": " manual "}), "manual"),
            (json!({"trigger": "Connect"}), "background"),
            (json!({"trigger": 7}), "background"),
            (json!({}), "background"),
        ];
        for (payload, expected) in cases {
            assert_eq!(presence_trigger(&object(payload)), expected);
        }
    }

    #[test]
    fn a_finished_run_is_news_once() {
        let mut events = NodeEvents::default();
        let (node, stranger) = (DeviceId::from("n"), DeviceId::from("m"));
        let run = object(json!({"sessionKey": "s", "runId": "r"}));
        let other = object(json!({"sessionKey": "t", "runId": "r"}));
        let nameless = object(json!({"sessionKey": "s"}));
        let steps = [
            (&node, "exec.finished", &run, 0, true),
            (&node, "exec.finished", &run, 599_999, false),
            (&stranger, "exec.finished", &run, 1, true),
            (&node, "exec.started", &run, 2, true),
            (&node, "exec.finished", &other, 3, true),
            (&node, "exec.finished", &run, 600_000, true),
            (&node, "exec.finished", &nameless, 4, true),
            (&node, "exec.finished", &nameless, 5, true),
        ];
        for (device, event, payload, now_ms, expected) in steps {
            assert_eq!(
                events.is_news(device, event, payload, now_ms),
                expected,
                "{event} {now_ms}"
            );
        }
    }

    #[test]
    fn log_lines_hold_no_control_characters_and_are_bounded() {
        let payload = object(json!({
            "runId": "r", "command": "ls\u{1b}[31m\nrm \u{202e}x", "exitCode": 0, "timedOut": false,
            "output": "o".repeat(500), "secret": "not shown", "reason": ["x"],
        }));
        let expected = format!(
            "exec.finished runId=\"r\" command=\"ls[31m rm x\" exitCode=0 timedOut=false output=\"{}…\"",
            "o".repeat(180)
        );
        assert_eq!(exec_line("exec.finished", &payload), expected);
    }
}
