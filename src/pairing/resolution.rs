//! What became of requests that are no longer open, so that a late answer can say it: an id
//! never goes stale without a word under the fingers of the person who types it.
//!
//! A bounded memory beside the pairing records: it decides nothing, grants nothing, holds no secret, and
//! may be lost in a crash. It is therefore touched and never waited for.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{
    Caller, State,
    change::{Change, Part},
    device_record::DeviceRequest,
    node_record::NodeRequest,
    state::Keyed,
};
use crate::{identity::RequestId, protocol::limits::DAY_MS};

/// How long it is remembered what became of a request, in milliseconds: a day, so that who comes back
/// to last evening's terminal still gets an answer.
pub const RESOLUTION_TTL_MS: u64 = DAY_MS;

/// How many such answers are kept, about 300 bytes each: a fleet of a thousand, approved on both layers.
pub const MAX_RESOLUTIONS: usize = 2_048;

/// How many of the oldest go when there are too many, so that making room is rare.
const ROOM: usize = MAX_RESOLUTIONS / 8;

/// Shortest prefix of a request id that may stand for it.
pub const SHORTEST_PREFIX: usize = 8;

/// Which of the two layers a request belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layer {
    /// The device may connect.
    Device,
    /// The node's commands may be used.
    Node,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fate {
    /// Somebody or a rule of silence approved it.
    Approved,
    /// Nobody decided in time, or newer requests needed the room.
    Expired,
    /// Somebody rejected it.
    Rejected,
    /// Its device or node was removed, with it or after its approval.
    Removed,
    /// The device asked for something else, under another id.
    Superseded,
}

/// The end of one request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Resolution {
    /// Which request.
    pub request_id: RequestId,
    /// Of which layer.
    pub layer: Layer,
    /// Of which device or node.
    pub subject: String,
    /// How it ended.
    pub state: Fate,
    /// When, epoch milliseconds.
    pub at_ms: u64,
    /// Who did it, in the words of the audit log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// The request that took its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaced_by: Option<RequestId>,
    /// The digest of what was approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Fields of other versions, kept and never shown.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Resolution {
    fn new(layer: Layer, request_id: &RequestId, subject: &str, state: Fate, now: u64) -> Self {
        Resolution {
            request_id: request_id.clone(),
            layer,
            subject: subject.to_owned(),
            state,
            at_ms: now,
            by: None,
            replaced_by: None,
            digest: None,
            extra: Map::new(),
        }
    }

    /// The end of a device's request.
    pub(super) fn of_device(request: &DeviceRequest, state: Fate, now: u64) -> Resolution {
        let subject = request.device_id.as_str();
        Resolution::new(Layer::Device, &request.request_id, subject, state, now)
    }

    /// The end of a node's request.
    pub(super) fn of_node(request: &NodeRequest, state: Fate, now: u64) -> Resolution {
        let subject = request.node_id.as_str();
        Resolution::new(Layer::Node, &request.request_id, subject, state, now)
    }

    /// The same, done by somebody.
    pub(super) fn by(self, who: &str) -> Resolution {
        Resolution {
            by: Some(who.to_owned()),
            ..self
        }
    }

    /// The same with what was approved.
    pub(super) fn of_shown(self, row: &Value) -> Resolution {
        Resolution {
            digest: row["digest"].as_str().map(str::to_owned),
            ..self
        }
    }

    /// The same with the request that took its place.
    pub(super) fn replaced_by(self, request: &RequestId) -> Resolution {
        Resolution {
            replaced_by: Some(request.clone()),
            ..self
        }
    }

    /// Whether it was approved, and what was approved is what `expected`, the digest of a row, shows.
    pub(super) fn is_approval_of(&self, expected: Option<&str>) -> bool {
        let same = |expected: &str| {
            let approved = self.digest.as_deref();
            approved.is_some_and(|digest| digest.eq_ignore_ascii_case(expected.trim()))
        };
        self.state == Fate::Approved && expected.is_none_or(same)
    }

    /// The details of the refusal `unknown requestId`.
    pub fn details(&self) -> Value {
        let name = match self.layer {
            Layer::Device => "deviceId",
            Layer::Node => "nodeId",
        };
        let mut details = json!({
            "code": "REQUEST_RESOLVED",
            "state": self.state,
            "requestId": self.request_id,
            "layer": self.layer,
            name: self.subject,
            "atMs": self.at_ms,
        });
        if let Some(by) = &self.by {
            details["by"] = json!(by);
        }
        if let Some(replacement) = &self.replaced_by {
            details["replacedBy"] = json!(replacement);
        }
        details
    }
}

impl Keyed for Resolution {
    type Key = RequestId;

    fn key(&self) -> &RequestId {
        &self.request_id
    }
}

/// Remembers how a request ended; what is to be done about it later.
#[must_use]
pub(super) fn note(state: &mut State, resolution: Resolution) -> Change {
    if state.resolved.len() >= MAX_RESOLUTIONS {
        make_room(state);
    }
    state.resolved.put(resolution);
    Change::Touch(Part::Resolved)
}

fn make_room(state: &mut State) {
    let mut ends: Vec<(u64, RequestId)> = state
        .resolved
        .records()
        .map(|end| (end.at_ms, end.request_id.clone()))
        .collect();
    ends.sort();
    for (_, id) in ends.iter().take(ROOM) {
        state.resolved.remove(id.as_str());
    }
}

/// What became of the request with this id, or with the only id that begins with it; a chain of
/// replacements is followed to its end.
pub(super) fn find(state: &State, id: &str, now: u64) -> Option<Resolution> {
    let fresh = |end: &&Resolution| now.abs_diff(end.at_ms) <= RESOLUTION_TTL_MS;
    let exact = state.resolved.record(id).filter(fresh);
    let found = exact.or_else(|| {
        let begins = |end: &&Resolution| end.request_id.as_str().starts_with(id);
        let mut similar = state.resolved.records().filter(fresh).filter(begins);
        let only = similar.next().filter(|_| id.len() >= SHORTEST_PREFIX);
        only.filter(|_| similar.next().is_none())
    })?;
    let mut end = found.clone();
    // A chain cannot be longer than the memory, whatever a file says.
    for _ in 0..MAX_RESOLUTIONS {
        let next = end.replaced_by.as_ref();
        let Some(next) =
            next.and_then(|id| state.resolved.record(id.as_str())?.replaced_by.clone())
        else {
            break;
        };
        end.replaced_by = Some(next);
    }
    Some(end)
}

/// Notes that what was approved for `subject` is gone: those approvals are no success to repeat.
pub(super) fn withdraw(
    state: &mut State,
    layer: Layer,
    subject: &str,
    caller: &Caller<'_>,
    now: u64,
) -> Option<Change> {
    let approved = state
        .resolved
        .records()
        .filter(|end| end.layer == layer && end.subject == subject && end.state == Fate::Approved);
    let approved: Vec<RequestId> = approved.map(|end| end.request_id.clone()).collect();
    for id in &approved {
        state.resolved.update(id.as_str(), |end| {
            end.state = Fate::Removed;
            end.at_ms = now;
            end.by = Some(caller.label.clone());
        });
    }
    (!approved.is_empty()).then_some(Change::Touch(Part::Resolved))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pairing::testing::{NOW, caller, scopes};

    fn end(id: &str, state: Fate, at_ms: u64) -> Resolution {
        Resolution::new(Layer::Device, &id.into(), "d", state, at_ms)
    }

    fn noted(ends: impl IntoIterator<Item = Resolution>) -> State {
        let mut state = State::default();
        for end in ends {
            assert_eq!(note(&mut state, end), Change::Touch(Part::Resolved));
        }
        state
    }

    #[test]
    fn an_end_is_found_by_id_or_unique_prefix_for_a_day() {
        let state = noted([
            end("11111111-a", Fate::Rejected, NOW),
            end("11111111-b", Fate::Expired, NOW),
            end("22222222-a", Fate::Expired, NOW),
        ]);
        let table = [
            ("11111111-a", NOW, Some(Fate::Rejected)),
            ("11111111-b", NOW, Some(Fate::Expired)),
            ("11111111", NOW, None),
            ("22222222", NOW, Some(Fate::Expired)),
            ("2222222", NOW, None),
            ("", NOW, None),
            ("22222222-a", NOW + RESOLUTION_TTL_MS, Some(Fate::Expired)),
            ("22222222-a", NOW + RESOLUTION_TTL_MS + 1, None),
            ("22222222-a", NOW - RESOLUTION_TTL_MS - 1, None),
        ];
        for (id, now, expected) in table {
            let found = find(&state, id, now).map(|end| end.state);
            assert_eq!(found, expected, "{id:?} {now}");
        }
    }

    #[test]
    fn a_chain_of_replacements_leads_to_its_end_and_a_circle_nowhere() {
        let replaced = |id: &str, by: &str| end(id, Fate::Superseded, NOW).replaced_by(&by.into());
        let state = noted([
            replaced("a", "b"),
            replaced("b", "c"),
            replaced("x", "y"),
            replaced("y", "x"),
        ]);
        let leads = |id: &str| find(&state, id, NOW).unwrap().replaced_by;
        assert_eq!(leads("a"), Some("c".into()));
        assert_eq!(leads("b"), Some("c".into()));
        assert!(leads("x").is_some());
    }

    #[test]
    fn the_memory_is_bounded_and_the_oldest_go() {
        let ends =
            (0..MAX_RESOLUTIONS + 1).map(|n| end(&format!("r{n}"), Fate::Expired, NOW + n as u64));
        let state = noted(ends);
        assert_eq!(state.resolved.len(), MAX_RESOLUTIONS + 1 - ROOM);
        let newest = format!("r{MAX_RESOLUTIONS}");
        assert!(find(&state, "r0", NOW).is_none() && find(&state, &newest, NOW).is_some());
    }

    #[test]
    fn a_removal_takes_back_what_was_approved() {
        let mut state = noted([
            end("a", Fate::Approved, NOW).by("one"),
            end("b", Fate::Rejected, NOW).by("one"),
            Resolution::new(Layer::Node, &"n".into(), "d", Fate::Approved, NOW),
        ]);
        let held = scopes(&[]);
        let changed = withdraw(&mut state, Layer::Device, "d", &caller(&held), NOW + 5);
        assert_eq!(changed, Some(Change::Touch(Part::Resolved)));
        let told = |id: &str| find(&state, id, NOW).unwrap().details();
        assert_eq!(
            told("a"),
            json!({"code": "REQUEST_RESOLVED", "state": "removed", "requestId": "a", "layer": "device",
                "deviceId": "d", "atMs": NOW + 5, "by": "tester"})
        );
        assert_eq!(
            (&told("b")["state"], &told("n")["state"]),
            (&json!("rejected"), &json!("approved"))
        );
        assert_eq!(
            withdraw(&mut state, Layer::Device, "d", &caller(&held), NOW),
            None
        );
    }
}
