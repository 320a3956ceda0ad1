//! `exec-approvals.json`: its members, what is accepted, and its normal form.
//!
//! Parsing is strict: an unknown member or a bad value is an error that names line and column, never a
//! silent default. Pure data; the file itself is handled in `file`.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Error, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Number, Value};

/// Agent key that applies to every agent.
pub const EVERY_AGENT: &str = "*";

/// Agent key of a run that names no agent.
pub const MAIN_AGENT: &str = "main";

const FORMER_MAIN_AGENT: &str = "default";

/// How much may run; ordered from strict to open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Security {
    /// Nothing runs.
    Deny,
    /// What the allowlist covers runs.
    Allowlist,
    /// Everything runs.
    Full,
}

impl Security {
    /// The value as files and messages spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deny => "deny",
            Self::Allowlist => "allowlist",
            Self::Full => "full",
        }
    }
}

/// When an approval is asked for; ordered from strict to open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ask {
    /// Before every run.
    Always,
    /// When the allowlist does not cover the run.
    OnMiss,
    /// Never.
    Off,
}

impl Ask {
    /// The value as files and messages spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::OnMiss => "on-miss",
            Self::Off => "off",
        }
    }
}

/// The whole file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// Always 1.
    #[serde(deserialize_with = "version_one")]
    pub version: u8,
    /// The companion app's socket; this program never opens it.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "socket"
    )]
    pub socket: Option<Socket>,
    /// Values for agents that set none.
    #[serde(default, deserialize_with = "object")]
    pub defaults: Scalars,
    /// Policies by agent key, `*` for every agent.
    #[serde(default)]
    pub agents: Agents,
}

impl Default for Document {
    fn default() -> Self {
        Self {
            version: 1,
            socket: None,
            defaults: Scalars::default(),
            agents: Agents::default(),
        }
    }
}

/// The socket member.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Socket {
    /// Where the companion app listens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Its secret; never leaves this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

/// The four values that defaults and agents have in common.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Scalars {
    /// How much may run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security: Option<Security>,
    /// When to ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ask: Option<Ask>,
    /// What the gateway does when nobody can be asked; only stored and reported here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ask_fallback: Option<Security>,
    /// Whether known skills count as allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_allow_skills: Option<bool>,
}

/// The policy of one agent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct AgentPolicy {
    /// How much may run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security: Option<Security>,
    /// When to ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ask: Option<Ask>,
    /// As in [`Scalars`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ask_fallback: Option<Security>,
    /// As in [`Scalars`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_allow_skills: Option<bool>,
    /// Rules; the first that matches counts.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "entries"
    )]
    pub allowlist: Vec<Entry>,
}

/// One rule of an allowlist.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Entry {
    /// Stable name of the rule; given when the file is normalised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What the rule allows: a path, a bare program name, or `*`.
    pub pattern: String,
    /// A regular expression over the arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arg_pattern: Option<String>,
    /// Who made the rule, `allow-always` for an approval that was to stick.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Milliseconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<Number>,
    /// The command line that used it last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_command: Option<String>,
    /// The program that command resolved to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_resolved_path: Option<String>,
    /// Of former versions; dropped when the file is normalised.
    #[serde(default, skip_serializing)]
    command_text: Option<String>,
}

impl Entry {
    /// A rule for a pattern, without an id yet.
    pub fn new(pattern: &str) -> Self {
        Self {
            pattern: pattern.to_owned(),
            ..Self::default()
        }
    }
}

/// Agents by key, in the order of the file; a key stands once.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Agents(pub Vec<(String, AgentPolicy)>);

impl Agents {
    /// The policy of one agent key.
    pub fn find(&self, key: &str) -> Option<&AgentPolicy> {
        self.0
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, policy)| policy)
    }
}

impl Document {
    /// Parses the text of the file; the error says what is wrong, with line and column.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text).map(|Object(document)| document)
    }

    /// As [`Document::parse`] for a value that came over the wire; its errors have no place.
    pub fn from_value(value: Value) -> Result<Self, serde_json::Error> {
        serde_json::from_value(value).map(|Object(document)| document)
    }

    /// The text of the file: two spaces of indentation and a final newline.
    pub fn render(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self).map(|text| text + "\n")
    }

    /// Brings the document into its normal form: the former name of the main agent is replaced,
    /// blank rules go, every rule gets an id from `id`.
    pub fn normalize(&mut self, mut id: impl FnMut() -> String) {
        if let Some(at) = self
            .agents
            .0
            .iter()
            .position(|(key, _)| key == FORMER_MAIN_AGENT)
        {
            let (_, former) = self.agents.0.remove(at);
            match self.agents.0.iter_mut().find(|(key, _)| key == MAIN_AGENT) {
                Some((_, main)) => merge(main, former),
                None => self.agents.0.insert(at, (MAIN_AGENT.to_owned(), former)),
            }
        }
        for (_, agent) in &mut self.agents.0 {
            agent
                .allowlist
                .retain(|entry| !entry.pattern.trim().is_empty());
            for entry in &mut agent.allowlist {
                entry.command_text = None;
                if entry.id.as_deref().is_none_or(|id| id.trim().is_empty()) {
                    entry.id = Some(id());
                }
            }
        }
    }
}

/// `main` wins; rules are joined without doubles.
fn merge(main: &mut AgentPolicy, former: AgentPolicy) {
    main.security = main.security.or(former.security);
    main.ask = main.ask.or(former.ask);
    main.ask_fallback = main.ask_fallback.or(former.ask_fallback);
    main.auto_allow_skills = main.auto_allow_skills.or(former.auto_allow_skills);
    for entry in former.allowlist {
        let key = |entry: &Entry| (entry.pattern.to_lowercase(), entry.arg_pattern.clone());
        if !main.allowlist.iter().any(|known| key(known) == key(&entry)) {
            main.allowlist.push(entry);
        }
    }
}

fn version_one<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u8, D::Error> {
    match u64::deserialize(deserializer)? {
        1 => Ok(1),
        other => Err(D::Error::custom(format!(
            "version must be 1, found {other}"
        ))),
    }
}

/// A record that must be a JSON object; derived records would take their members from an array too.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
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
        deserializer
            .deserialize_map(ObjectVisitor(PhantomData))
            .map(Object)
    }
}

fn object<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    Object::deserialize(deserializer).map(|Object(record)| record)
}

fn socket<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Socket>, D::Error> {
    object(deserializer).map(Some)
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

fn entries<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Entry>, D::Error> {
    let loose = Vec::<LooseEntry>::deserialize(deserializer)?;
    Ok(loose.into_iter().map(|LooseEntry(entry)| entry).collect())
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
                    let Object(policy) = map.next_value()?;
                    agents.0.push((key, policy));
                }
                Ok(agents)
            }
        }
        deserializer.deserialize_map(AgentsVisitor)
    }
}

#[cfg(test)]
#[path = "document_tests.rs"]
mod tests;
