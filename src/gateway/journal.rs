//! What happened to nodes and devices lately, numbered within this gateway's life, for whoever watches: live events
//! only wake, this tells. A bounded ring in memory; what fell out of it is seen by listing again.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use serde_json::{Map, Value, json};

use crate::identity::Random;
use crate::pairing::AuditEntry;

/// How many events are kept.
const KEPT: usize = 1_024;

/// Bytes of events that are kept, as they are told; what devices say of themselves is in some of them.
const KEPT_BYTES: usize = 256 * 1_024;

/// Characters of a name that an event carries.
const BOOT_CHARS: usize = 8;

/// Lines of the trail that are events too, with the member that names their subject. The others are told by the events
/// of requests, or concern no list.
const TOLD: &[(&str, &str, &str)] = &[
    ("device.approve", "device.paired", "deviceId"),
    ("device.import", "device.paired", "deviceId"),
    ("device.remove", "device.removed", "deviceId"),
    ("device.token.revoke", "device.token.revoked", "deviceId"),
    ("device.token.rotate", "device.token.rotated", "deviceId"),
    ("node.approve", "node.paired", "nodeId"),
    ("node.import", "node.paired", "nodeId"),
    ("node.remove", "node.removed", "nodeId"),
    ("node.rename", "node.renamed", "nodeId"),
];

/// The events of one gateway's life.
#[derive(Debug)]
pub struct Journal {
    /// Tells this life from others.
    boot: String,
    ring: Mutex<Ring>,
}

#[derive(Debug, Default)]
struct Ring {
    /// Number of the newest event.
    last: u64,
    /// As they are told: a tree of each would take six times the memory.
    events: VecDeque<Box<str>>,
    /// Together.
    bytes: usize,
}

impl Default for Journal {
    fn default() -> Self {
        Journal {
            boot: Random.uuid().chars().take(BOOT_CHARS).collect(),
            ring: Mutex::default(),
        }
    }
}

impl Journal {
    /// Takes note of an event that happened at `ts` (epoch milliseconds), with the members of `about`.
    pub fn note(&self, ts: u64, event: &str, about: &Value) {
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        ring.last += 1;
        let mut entry = Map::new();
        entry.insert("id".to_owned(), json!(self.id(ring.last)));
        entry.insert("ts".to_owned(), json!(ts));
        entry.insert("event".to_owned(), json!(event));
        for (name, value) in about.as_object().into_iter().flatten() {
            entry.entry(name.clone()).or_insert_with(|| value.clone());
        }
        let text = json!(entry).to_string().into_boxed_str();
        ring.bytes += text.len();
        ring.events.push_back(text);
        while ring.events.len() > KEPT || ring.bytes > KEPT_BYTES {
            let Some(gone) = ring.events.pop_front() else {
                break;
            };
            ring.bytes -= gone.len();
        }
    }

    /// Takes note of a line of the trail, if it is an event.
    pub fn note_line(&self, ts: u64, line: &AuditEntry) {
        if let Some((_, event, member)) = TOLD.iter().find(|(action, ..)| *action == line.action) {
            self.note(
                ts,
                event,
                &json!({*member: line.subject, "by": line.by, "via": line.via}),
            );
        }
    }

    /// What happened after the event with the id `after`, as far as `visible` lets it be seen: `{boot, last, complete,
    /// events}`. `complete` is false when that event is of another life or too old; then nothing is told, and without
    /// an id nothing either, but where the end is.
    pub fn after(
        &self,
        after: Option<&str>,
        visible: impl Fn(&Map<String, Value>) -> bool,
    ) -> Value {
        let (last, seen, texts) = self.told(after);
        // Behind the lock: whoever has news shall not wait for a reader's parsing.
        let events: Vec<Map<String, Value>> = texts
            .iter()
            .filter_map(|text| serde_json::from_str(text).ok())
            .filter(|event| visible(event))
            .collect();
        json!({"boot": self.boot, "last": self.id(last), "complete": seen, "events": events})
    }

    /// The newest number, whether `after` is known here, and what came after it.
    fn told(&self, after: Option<&str>) -> (u64, bool, Vec<Box<str>>) {
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = ring.last - ring.events.len() as u64;
        let seen = match after {
            None => Some(ring.last),
            Some(id) => self
                .number(id)
                .filter(|seen| (oldest..=ring.last).contains(seen)),
        };
        let told = seen.map_or(ring.events.len(), |seen| (seen - oldest) as usize);
        let texts = ring.events.iter().skip(told).cloned().collect();
        (ring.last, seen.is_some(), texts)
    }

    fn id(&self, number: u64) -> String {
        format!("{}-{number}", self.boot)
    }

    fn number(&self, id: &str) -> Option<u64> {
        let (boot, number) = id.rsplit_once('-')?;
        (boot == self.boot).then(|| number.parse().ok())?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(answer: &Value) -> Vec<&str> {
        let events = answer["events"].as_array().unwrap().iter();
        events.map(|event| event["id"].as_str().unwrap()).collect()
    }

    #[test]
    fn a_reader_goes_on_where_it_was_and_learns_when_it_cannot() {
        let journal = Journal::default();
        let all = |_: &Map<String, Value>| true;
        let start = journal.after(None, all);
        let id = |number: u64| journal.id(number);
        assert_eq!(
            (&start["last"], &start["complete"]),
            (&json!(id(0)), &json!(true))
        );
        for number in 1..=3 {
            journal.note(
                number,
                "node.connected",
                &json!({"nodeId": number.to_string(), "ts": 99}),
            );
        }
        let answer = journal.after(Some(&id(1)), all);
        assert_eq!(ids(&answer), [id(2), id(3)]);
        assert_eq!(
            answer["events"][0],
            json!({"id": id(2), "ts": 2, "event": "node.connected", "nodeId": "2"})
        );
        let own = journal.after(Some(&id(0)), |event| event["nodeId"] == "3");
        assert_eq!(ids(&own), [id(3)]);
        for lost in ["0000-2", &id(4), "x", ""] {
            let answer = journal.after(Some(lost), all);
            assert_eq!(
                (&answer["complete"], ids(&answer).len()),
                (&json!(false), 0),
                "{lost}"
            );
        }
        for number in 0..KEPT as u64 {
            journal.note(number, "node.connected", &json!({}));
        }
        assert_eq!(journal.after(Some(&id(2)), all)["complete"], false);
        let kept = journal.after(Some(&id(3)), all);
        assert_eq!((&kept["complete"], ids(&kept).len()), (&json!(true), KEPT));
    }

    #[test]
    fn large_events_take_the_room_of_many_and_one_too_large_is_not_kept() {
        let journal = Journal::default();
        let all = |_: &Map<String, Value>| true;
        let note = |bytes: usize| {
            let about = json!({"displayName": "x".repeat(bytes)});
            journal.note(1, "device.pair.requested", &about);
        };
        for _ in 0..100 {
            note(KEPT_BYTES / 10);
        }
        let answer = journal.after(Some(&journal.id(91)), all);
        assert_eq!(
            (&answer["complete"], ids(&answer).len()),
            (&json!(true), 9),
            "nine and what is around their names"
        );
        assert_eq!(journal.after(Some(&journal.id(90)), all)["complete"], false);
        note(KEPT_BYTES);
        assert_eq!(
            journal.after(Some(&journal.id(100)), all)["complete"],
            false
        );
        note(1);
        assert_eq!(
            ids(&journal.after(Some(&journal.id(101)), all)),
            [journal.id(102)]
        );
    }
}
