//! The pairing data in memory: tables that share their records when cloned.
//!
//! A table keeps what it cannot read: such an entry counts as present and unreadable, so that
//! whoever it belongs to is refused, and it is written back word for word.

use std::{borrow::Borrow, fmt, sync::Arc};

use serde::{Serialize, Serializer, de::DeserializeOwned};
use serde_json::Value;

use super::{
    change::Part,
    chunks::Chunks,
    device_record::{DeviceRecord, DeviceRequest},
    invitation::Invitations,
    node_record::{NodeRecord, NodeRequest},
    refusal::Refusal,
    resolution::Resolution,
    switch::{self, Decision},
};
use crate::identity::{DeviceId, NodeId, RequestId};

/// Everything this room knows. Cloning copies one pointer per part.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// The first layer: who may connect.
    pub devices: Devices,
    /// The second layer: whose commands may run.
    pub nodes: Nodes,
    /// What lets a device in without a person at the moment it asks.
    pub invitations: Invitations,
    /// What became of requests of both layers.
    pub resolved: Table<RequestId, Resolution>,
    /// What was decided about new pairings by command; None leaves it to the configuration.
    pub switch: Option<Decision>,
}

/// Devices by id and their requests by request id.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Devices {
    /// Approved devices.
    pub paired: Table<DeviceId, DeviceRecord>,
    /// Waiting requests.
    pub pending: Table<RequestId, DeviceRequest>,
}

/// Nodes by id and their requests by request id.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Nodes {
    /// Approved nodes.
    pub paired: Table<NodeId, NodeRecord>,
    /// Waiting requests.
    pub pending: Table<RequestId, NodeRequest>,
}

impl State {
    /// Replaces one part by the content of its file.
    ///
    /// # Errors
    /// When the document is not an object, or not a decision where one belongs; the part is then unchanged.
    pub fn read(&mut self, part: Part, document: Value) -> Result<(), Misshapen> {
        match part {
            Part::DevicesPaired => self.devices.paired = Table::from_document(document)?,
            Part::DevicesPending => self.devices.pending = Table::from_document(document)?,
            Part::NodesPaired => self.nodes.paired = Table::from_document(document)?,
            Part::NodesPending => self.nodes.pending = Table::from_document(document)?,
            Part::Bootstrap => self.invitations.bootstrap = Shelf::from_document(document)?,
            Part::Resolved => self.resolved = Table::from_document(document)?,
            Part::JoinKeys => self.invitations.join_keys = Shelf::from_document(document)?,
            Part::Preapproved => {
                self.invitations.preapproved = Shelf::from_document(document)?;
            }
            Part::Switch => self.switch = switch::from_document(document)?,
        }
        Ok(())
    }

    /// Takes note that the file of an invitation part cannot be read, and why: nobody is invited by it,
    /// and it is never written. The parts that hold approvals have no such state.
    pub fn close(&mut self, part: Part, why: &str) {
        match part {
            Part::Bootstrap => self.invitations.bootstrap = Shelf::Closed(why.into()),
            Part::JoinKeys => self.invitations.join_keys = Shelf::Closed(why.into()),
            Part::Preapproved => self.invitations.preapproved = Shelf::Closed(why.into()),
            Part::DevicesPaired
            | Part::DevicesPending
            | Part::NodesPaired
            | Part::NodesPending
            | Part::Resolved
            | Part::Switch => {}
        }
    }

    /// The text of one part's file: JSON with two spaces and no newline at the end (protocol §10).
    ///
    /// # Errors
    /// For a part that was closed; else never for data that came through this room.
    pub fn render(&self, part: Part) -> Result<String, serde_json::Error> {
        match part {
            Part::DevicesPaired => serde_json::to_string_pretty(&self.devices.paired),
            Part::DevicesPending => serde_json::to_string_pretty(&self.devices.pending),
            Part::NodesPaired => serde_json::to_string_pretty(&self.nodes.paired),
            Part::NodesPending => serde_json::to_string_pretty(&self.nodes.pending),
            Part::Bootstrap => self.invitations.bootstrap.render(),
            Part::Resolved => serde_json::to_string_pretty(&self.resolved),
            Part::JoinKeys => self.invitations.join_keys.render(),
            Part::Preapproved => self.invitations.preapproved.render(),
            Part::Switch => switch::render(self.switch.as_ref()),
        }
    }

    /// The keys of entries in this part that could not be read, each with what is wrong with it.
    pub fn unreadable(&self, part: Part) -> Vec<(String, String)> {
        match part {
            Part::DevicesPaired => self.devices.paired.unreadable(),
            Part::DevicesPending => self.devices.pending.unreadable(),
            Part::NodesPaired => self.nodes.paired.unreadable(),
            Part::NodesPending => self.nodes.pending.unreadable(),
            Part::Bootstrap => self.invitations.bootstrap.unreadable(),
            Part::Resolved => self.resolved.unreadable(),
            Part::JoinKeys => self.invitations.join_keys.unreadable(),
            Part::Preapproved => self.invitations.preapproved.unreadable(),
            // Readable as a whole, or not at all.
            Part::Switch => Vec::new(),
        }
    }
}

/// A document is not what its part consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misshapen {
    /// It is an object, but says nothing that can be followed about new pairings.
    NotADecision,
    /// It is no object.
    NotAnObject,
}

impl fmt::Display for Misshapen {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Misshapen::NotADecision => {
                "must be {} or hold \"open\" (true or false), \"sinceMs\" and, for a window, \"untilMs\""
            }
            Misshapen::NotAnObject => "must be a JSON object",
        })
    }
}

impl std::error::Error for Misshapen {}

/// A record that repeats the key under which it is stored.
pub trait Keyed {
    /// The type of the key.
    type Key: Clone + Ord + From<String> + AsRef<str> + Borrow<str>;

    /// The key inside the record.
    fn key(&self) -> &Self::Key;
}

/// Records by key. An entry that is no valid record, or stands under another key than its own, is
/// kept as it was and counts as unreadable.
#[derive(Clone, Debug, PartialEq)]
pub struct Table<K: Ord, T> {
    entries: Chunks<K, Slot<T>>,
}

#[derive(Clone, Debug, PartialEq)]
enum Slot<T> {
    Record(Arc<T>),
    Unreadable { document: Arc<Value>, why: Arc<str> },
}

/// A table whose file may be unusable as a whole. Whoever needs it is refused then, everybody else is
/// served, and the file is left as it is.
#[derive(Clone, Debug, PartialEq)]
pub enum Shelf<K: Ord, T> {
    /// The file is missing or was read.
    Open(Table<K, T>),
    /// The file cannot be read, for this reason.
    Closed(Arc<str>),
}

/// What stands under a key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Entry<'a, T> {
    /// Nothing.
    Absent,
    /// A record.
    Record(&'a T),
    /// Something that is not a record; nothing may be decided about its owner.
    Unreadable,
}

impl<K: Ord, T> Default for Table<K, T> {
    fn default() -> Self {
        Table {
            entries: Chunks::default(),
        }
    }
}

impl<K: Ord, T> Default for Shelf<K, T> {
    fn default() -> Self {
        Shelf::Open(Table::default())
    }
}

impl<K: Ord, T> Shelf<K, T> {
    /// Why the file cannot be used, if it cannot.
    pub fn fault(&self) -> Option<&str> {
        match self {
            Shelf::Open(_) => None,
            Shelf::Closed(why) => Some(why),
        }
    }

    /// The table.
    ///
    /// # Errors
    /// `RecordUnreadable` when the file cannot be used.
    pub fn table(&self) -> Result<&Table<K, T>, Refusal> {
        match self {
            Shelf::Open(table) => Ok(table),
            Shelf::Closed(_) => Err(Refusal::RecordUnreadable),
        }
    }

    /// The table, to be changed.
    ///
    /// # Errors
    /// As [`Shelf::table`].
    pub(super) fn table_mut(&mut self) -> Result<&mut Table<K, T>, Refusal> {
        match self {
            Shelf::Open(table) => Ok(table),
            Shelf::Closed(_) => Err(Refusal::RecordUnreadable),
        }
    }
}

impl<K, T> Shelf<K, T>
where
    K: Clone + Ord + From<String> + AsRef<str> + Borrow<str>,
    T: Clone + Keyed<Key = K> + Serialize + DeserializeOwned,
{
    fn from_document(document: Value) -> Result<Self, Misshapen> {
        Table::from_document(document).map(Shelf::Open)
    }

    fn render(&self) -> Result<String, serde_json::Error> {
        match self {
            Shelf::Open(table) => serde_json::to_string_pretty(table),
            Shelf::Closed(_) => Err(serde::ser::Error::custom("its content could not be read")),
        }
    }

    /// The readable records; none when the file cannot be used.
    pub fn records(&self) -> impl Iterator<Item = &T> {
        self.table().ok().into_iter().flat_map(Table::records)
    }

    fn unreadable(&self) -> Vec<(String, String)> {
        self.table().map(Table::unreadable).unwrap_or_default()
    }
}

impl<K, T> Table<K, T>
where
    K: Clone + Ord + From<String> + AsRef<str> + Borrow<str>,
    T: Clone + Keyed<Key = K>,
{
    /// What stands under `key`.
    pub fn entry(&self, key: &str) -> Entry<'_, T> {
        match self.entries.get(key) {
            None => Entry::Absent,
            Some(Slot::Record(record)) => Entry::Record(record),
            Some(Slot::Unreadable { .. }) => Entry::Unreadable,
        }
    }

    /// The record under `key`, if there is a readable one.
    pub fn record(&self, key: &str) -> Option<&T> {
        match self.entry(key) {
            Entry::Record(record) => Some(record),
            Entry::Absent | Entry::Unreadable => None,
        }
    }

    /// Whether something unreadable stands under `key`.
    pub fn is_unreadable(&self, key: &str) -> bool {
        matches!(self.entries.get(key), Some(Slot::Unreadable { .. }))
    }

    /// All readable records in the order of their keys.
    pub fn records(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().filter_map(|(_, slot)| match slot {
            Slot::Record(record) => Some(record.as_ref()),
            Slot::Unreadable { .. } => None,
        })
    }

    /// How many readable records there are.
    pub fn len(&self) -> usize {
        self.records().count()
    }

    /// Whether there is no readable record.
    pub fn is_empty(&self) -> bool {
        self.records().next().is_none()
    }

    /// Stores a record under its own key, replacing what was there.
    pub(super) fn put(&mut self, record: T) {
        let key = record.key().clone();
        self.entries.insert(key, Slot::Record(Arc::new(record)));
    }

    /// Lets `change` work on the record under `key`; false when there is no readable one.
    pub(super) fn update(&mut self, key: &str, change: impl FnOnce(&mut T)) -> bool {
        if self.record(key).is_none() {
            return false;
        }
        match self.entries.get_mut(key) {
            Some(Slot::Record(record)) => {
                change(Arc::make_mut(record));
                true
            }
            Some(Slot::Unreadable { .. }) | None => false,
        }
    }

    /// Removes whatever stands under `key`, readable or not; false when nothing did.
    pub(super) fn remove(&mut self, key: &str) -> bool {
        self.entries.remove(key)
    }

    fn unreadable(&self) -> Vec<(String, String)> {
        let faults = self.entries.iter().filter_map(|(key, slot)| match slot {
            Slot::Record(_) => None,
            Slot::Unreadable { why, .. } => Some((key.as_ref().to_owned(), why.to_string())),
        });
        faults.collect()
    }
}

impl<K, T> Table<K, T>
where
    K: Clone + Ord + From<String> + AsRef<str> + Borrow<str>,
    T: Clone + Keyed<Key = K> + DeserializeOwned,
{
    fn from_document(document: Value) -> Result<Self, Misshapen> {
        let Value::Object(members) = document else {
            return Err(Misshapen::NotAnObject);
        };
        let entries = members.into_iter().map(|(key, value)| {
            let slot = read_slot::<T>(&key, value);
            (K::from(key), slot)
        });
        Ok(Table {
            entries: entries.collect(),
        })
    }
}

fn read_slot<T: Keyed + DeserializeOwned>(key: &str, value: Value) -> Slot<T> {
    match T::deserialize(&value) {
        Ok(record) if record.key().as_ref() == key => Slot::Record(Arc::new(record)),
        Ok(_) => Slot::Unreadable {
            document: Arc::new(value),
            why: "the id inside the record is not the key it stands under".into(),
        },
        Err(error) => Slot::Unreadable {
            document: Arc::new(value),
            why: error.to_string().into(),
        },
    }
}

impl<K: Ord + AsRef<str>, T: Serialize> Serialize for Table<K, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.entries.iter().map(|(key, slot)| (key.as_ref(), slot)))
    }
}

impl<T: Serialize> Serialize for Slot<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Slot::Record(record) => record.serialize(serializer),
            Slot::Unreadable { document, .. } => document.serialize(serializer),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn device(id: &str) -> Value {
        json!({"deviceId": id, "publicKey": "k", "scopes": [], "roles": ["node"],
               "createdAtMs": 1, "approvedAtMs": 2, "fromTheFuture": {"deep": [1, null]}})
    }

    #[test]
    fn unknown_fields_and_unreadable_entries_survive_a_round_trip() {
        let document = json!({
            "a": device("a"),
            "b": device("under another key"),
            "c": {"deviceId": "c", "publicKey": 7},
            "d": null,
        });
        let mut state = State::default();
        state.read(Part::DevicesPaired, document.clone()).unwrap();
        assert!(state.devices.paired.record("a").is_some());
        for key in ["b", "c", "d"] {
            assert_eq!(state.devices.paired.entry(key), Entry::Unreadable, "{key}");
        }
        assert_eq!(state.unreadable(Part::DevicesPaired).len(), 3);

        let text = state.render(Part::DevicesPaired).unwrap();
        let written: Value = serde_json::from_str(&text).unwrap();
        for key in ["b", "c", "d"] {
            assert_eq!(written[key], document[key], "{key}");
        }
        assert_eq!(
            written["a"]["fromTheFuture"],
            document["a"]["fromTheFuture"]
        );
    }

    #[test]
    fn another_shape_is_refused_and_changes_nothing() {
        let mut state = State::default();
        state
            .read(Part::DevicesPaired, json!({"a": device("a")}))
            .unwrap();
        let before = state.clone();
        for document in [json!([]), json!(null), json!("x"), json!(1)] {
            assert_eq!(
                state.read(Part::DevicesPaired, document),
                Err(Misshapen::NotAnObject)
            );
        }
        assert_eq!(state, before);
    }

    #[test]
    fn a_clone_does_not_see_later_changes() {
        let mut state = State::default();
        state
            .read(Part::DevicesPaired, json!({"a": device("a")}))
            .unwrap();
        let before = state.clone();
        assert!(
            state
                .devices
                .paired
                .update("a", |record| record.approved_at_ms = 9)
        );
        assert_eq!(before.devices.paired.record("a").unwrap().approved_at_ms, 2);
        assert!(state.devices.paired.remove("a"));
        assert!(!state.devices.paired.remove("a"));
        assert!(before.devices.paired.record("a").is_some());
    }

    #[test]
    fn files_have_two_spaces_and_no_final_newline() {
        let mut state = State::default();
        state.read(Part::NodesPending, json!({})).unwrap();
        assert_eq!(state.render(Part::NodesPending).unwrap(), "{}");
        state
            .read(Part::DevicesPaired, json!({"a": device("a")}))
            .unwrap();
        let text = state.render(Part::DevicesPaired).unwrap();
        assert!(
            text.starts_with("{\n  \"a\": {\n    \"deviceId\""),
            "{text}"
        );
        assert!(text.ends_with('}'));
    }
}
