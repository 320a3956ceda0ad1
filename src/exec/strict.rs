//! Strict reading of `exec-approvals.json`: an unknown or doubled member, a bad value, anything behind the
//! end is an error that names line and column, never a silent default.
//!
//! Derived records would also take their members from an array and `null` for a missing value; both are
//! refused here.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::document::{AgentPolicy, Agents, Document, Entry, Scalars, Socket};

/// Bytes of a policy file that are read at most; a larger one counts as broken.
pub const MAX_BYTES: usize = 1024 * 1024;

const BYTE_ORDER_MARK: char = '\u{feff}';

/// Reads the bytes of a file; the error is a sentence with line and column.
pub fn read(bytes: &[u8]) -> Result<Document, String> {
    if bytes.len() > MAX_BYTES {
        let place = place(bytes, MAX_BYTES);
        return Err(format!("larger than {MAX_BYTES} bytes{place}"));
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => parse(text).map_err(|error| error.to_string()),
        Err(fault) => Err(format!(
            "not valid UTF-8{}",
            place(bytes, fault.valid_up_to())
        )),
    }
}

/// Reads the text of a file.
pub fn parse(text: &str) -> Result<Document, serde_json::Error> {
    if text.starts_with(BYTE_ORDER_MARK) {
        // Other programs that read this file take it for broken, and some of them then replace it.
        let message =
            "starts with a byte order mark, save it as UTF-8 without one at line 1 column 1";
        return Err(serde_json::Error::custom(message));
    }
    serde_json::from_str(text).map(|Object(document)| document)
}

/// Reads a value.
pub fn from_value(value: Value) -> Result<Document, serde_json::Error> {
    serde_json::from_value(value).map(|Object(document)| document)
}

/// ` at line L column C`, counted as the parser does: lines from 1, columns in bytes from 1.
fn place(bytes: &[u8], offset: usize) -> String {
    let before = &bytes[..offset];
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let start = before
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1);
    format!(" at line {line} column {}", offset - start + 1)
}

/// Puts the member before what is wrong with it; line and column stay behind the sentence.
fn within<T, E: Error>(member: impl fmt::Display, result: Result<T, E>) -> Result<T, E> {
    result.map_err(|error| E::custom(format_args!("{member}: {error}")))
}

/// The member `version`.
pub fn version_one<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u8, D::Error> {
    match u64::deserialize(deserializer)? {
        1 => Ok(1),
        other => Err(D::Error::custom(format!(
            "version must be 1, found {other}"
        ))),
    }
}

/// A member that has a value where it stands.
pub fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// The member `defaults`.
pub fn defaults<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Scalars, D::Error> {
    within("defaults", object(deserializer))
}

/// The member `socket`.
pub fn socket<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Socket>, D::Error> {
    within("socket", object(deserializer)).map(Some)
}

/// The member `allowlist`.
pub fn entries<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Entry>, D::Error> {
    struct EntriesVisitor;
    impl<'de> Visitor<'de> for EntriesVisitor {
        type Value = Vec<Entry>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of rules")
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<Entry>, A::Error> {
            let mut entries = Vec::new();
            loop {
                let member = format!("allowlist[{}]", entries.len());
                match within(member, list.next_element())? {
                    Some(LooseEntry(entry)) => entries.push(entry),
                    None => return Ok(entries),
                }
            }
        }
    }
    deserializer.deserialize_seq(EntriesVisitor)
}

/// A record that must be a JSON object.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        object(deserializer).map(Object)
    }
}

fn object<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    struct ObjectVisitor<T>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
        type Value = T;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
            T::deserialize(serde::de::value::MapAccessDeserializer::new(map))
        }
    }
    deserializer.deserialize_map(ObjectVisitor(PhantomData))
}

/// A rule is an object or, in former versions, its bare pattern.
struct LooseEntry(Entry);

impl<'de> Deserialize<'de> for LooseEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntryVisitor;
        impl<'de> Visitor<'de> for EntryVisitor {
            type Value = Entry;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a rule: an object with a pattern, or the pattern itself")
            }
            fn visit_str<E: Error>(self, pattern: &str) -> Result<Entry, E> {
                Ok(Entry::new(pattern))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Entry, A::Error> {
                Entry::deserialize(serde::de::value::MapAccessDeserializer::new(map))
            }
        }
        deserializer.deserialize_any(EntryVisitor).map(LooseEntry)
    }
}

/// The value of one agent key, whose errors name it.
struct Agent<'a>(&'a str);

impl<'de> DeserializeSeed<'de> for Agent<'_> {
    type Value = AgentPolicy;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<AgentPolicy, D::Error> {
        within(format_args!("agents.{}", self.0), object(deserializer))
    }
}

impl Serialize for Agents {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, agent) in &self.0 {
            map.serialize_entry(key, agent)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Agents {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AgentsVisitor;
        impl<'de> Visitor<'de> for AgentsVisitor {
            type Value = Agents;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of agents")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Agents, A::Error> {
                let mut agents = Agents::default();
                while let Some(key) = map.next_key::<String>()? {
                    if agents.find(&key).is_some() {
                        return Err(A::Error::custom(format!("agent `{key}` stands twice")));
                    }
                    let policy = map.next_value_seed(Agent(&key))?;
                    agents.0.push((key, policy));
                }
                Ok(agents)
            }
        }
        deserializer.deserialize_map(AgentsVisitor)
    }
}
