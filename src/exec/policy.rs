//! Which policy applies to a run: the file's values by agent, the machine's own configuration, and the
//! stricter of both where the configuration is explicit (node-host specification, section 3.2).

use serde::Deserialize;
use serde_json::Value;

use super::document::{
    AgentPolicy, Ask, Document, EVERY_AGENT, Entry, MAIN_AGENT, Scalars, Security,
};
use super::file::NAME;
use super::safe_bins::SafeBins;
use crate::config::word::{RemoteEdits, Word};

/// What this machine's own configuration says about exec; under `tools.exec` what it sets explicitly.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostPolicy {
    /// `tools.exec.security`
    pub security: Option<Security>,
    /// `tools.exec.ask`
    pub ask: Option<Ask>,
    /// `tools.exec.strictInlineEval`, true where the agent or the global section says so.
    pub strict_inline_eval: bool,
    /// `nodeHost.execApprovals.remoteEdits`
    pub remote_edits: RemoteEdits,
    /// `tools.exec.safeBins`, `safeBinProfiles` and `safeBinTrustedDirs`
    pub safe_bins: SafeBins,
}

impl HostPolicy {
    /// Reads a configuration document: the entry of `agents.list` with the agent's id, then the
    /// global `tools.exec`. A value that is none counts as not set.
    pub fn read(document: &Value, agent: Option<&str>) -> Self {
        let own = agent_entry(document, agent_key(agent));
        let places = [own, Some(document)];
        let remote_edits = document
            .pointer("/nodeHost/execApprovals/remoteEdits")
            .and_then(Value::as_str);
        Self {
            security: first(&places, "security"),
            ask: first(&places, "ask"),
            strict_inline_eval: places.iter().flatten().any(|place| {
                place.pointer("/tools/exec/strictInlineEval") == Some(&Value::Bool(true))
            }),
            remote_edits: remote_edits
                .and_then(RemoteEdits::parse)
                .unwrap_or_default(),
            safe_bins: SafeBins::read(&places.into_iter().flatten().collect::<Vec<_>>()),
        }
    }
}

/// The entry of `agents.list` with an agent's id.
pub fn agent_entry<'a>(document: &'a Value, key: &str) -> Option<&'a Value> {
    let wanted = key.to_lowercase();
    let agents = document.pointer("/agents/list").and_then(Value::as_array);
    agents.into_iter().flatten().find(|entry| {
        let id = entry.get("id").and_then(Value::as_str);
        id.is_some_and(|id| id.trim().to_lowercase() == wanted)
    })
}

/// A member of `tools.exec` that is set in the whole configuration or in an agent's entry.
pub fn explicit<'a, T: Deserialize<'a>>(place: &'a Value, name: &str) -> Option<T> {
    T::deserialize(place.pointer("/tools/exec")?.get(name)?).ok()
}

fn first<'a, T: Deserialize<'a>>(places: &[Option<&'a Value>], name: &str) -> Option<T> {
    let mut places = places.iter().flatten();
    places.find_map(|place| explicit(place, name))
}

fn agent_key(agent: Option<&str>) -> &str {
    agent
        .map(str::trim)
        .filter(|key| !key.is_empty())
        .unwrap_or(MAIN_AGENT)
}

/// How much may run where neither file nor configuration says so.
pub const DEFAULT_SECURITY: Security = Security::Allowlist;

/// When to ask where neither file nor configuration says so.
pub const DEFAULT_ASK: Ask = Ask::OnMiss;

/// What a gateway does when nobody can be asked and the file does not say so.
pub const DEFAULT_ASK_FALLBACK: Security = Security::Full;

/// The policy of one run.
#[derive(Debug, Clone, PartialEq)]
pub struct Effective<'a> {
    /// The agent key the policy was looked up for.
    pub agent: String,
    /// How much may run.
    pub security: Security,
    /// Where that value stands, for messages.
    pub security_source: String,
    /// When to ask.
    pub ask: Ask,
    /// Where that value stands, for messages.
    pub ask_source: String,
    /// What a gateway does when nobody can be asked; not evaluated on a node.
    pub ask_fallback: Security,
    /// Where that value stands, for messages.
    pub ask_fallback_source: String,
    /// Whether known skills count as allowed.
    pub auto_allow_skills: bool,
    /// Rules for every agent, then those of the agent.
    pub allowlist: Vec<&'a Entry>,
    /// How many of them, from the first, are for every agent.
    pub shared_rules: usize,
}

impl Default for Effective<'_> {
    /// The policy of a machine on which nothing is set.
    fn default() -> Self {
        Self {
            agent: MAIN_AGENT.to_owned(),
            security: DEFAULT_SECURITY,
            security_source: NOT_SET.to_owned(),
            ask: DEFAULT_ASK,
            ask_source: NOT_SET.to_owned(),
            ask_fallback: DEFAULT_ASK_FALLBACK,
            ask_fallback_source: NOT_SET.to_owned(),
            auto_allow_skills: false,
            allowlist: Vec::new(),
            shared_rules: 0,
        }
    }
}

impl Effective<'_> {
    /// Whether a rule of the allowlist stands under the agent's own key, not under that of every agent.
    pub fn is_own(&self, rule: &Entry) -> bool {
        let own = self.allowlist.iter().skip(self.shared_rules);
        own.into_iter().any(|entry| std::ptr::eq(*entry, rule))
    }

    /// The agent key under which the rule at `index` of the allowlist stands.
    pub fn agent_of(&self, index: usize) -> &str {
        if index < self.shared_rules {
            EVERY_AGENT
        } else {
            &self.agent
        }
    }
}

const NOT_SET: &str = "the default, nothing is set";

/// What the file says for one agent, from the agent's own section to the defaults.
#[derive(Debug, Clone, Copy)]
pub struct Layers<'a> {
    own: Option<(&'a str, &'a AgentPolicy)>,
    every: Option<(&'a str, &'a AgentPolicy)>,
    defaults: Scalars,
}

/// The layers of an agent key.
pub fn layers<'a>(document: &'a Document, key: &str) -> Layers<'a> {
    let find = |wanted: &str| {
        let mut agents = document.agents.0.iter();
        let found = agents.find(|(key, _)| key == wanted)?;
        Some((found.0.as_str(), &found.1))
    };
    Layers {
        // With the agent `*` itself the same section would stand twice.
        own: find(key).filter(|_| key != EVERY_AGENT),
        every: find(EVERY_AGENT),
        defaults: document.defaults,
    }
}

impl<'a> Layers<'a> {
    /// The first value that is set, and the section it stands in.
    pub fn value<T>(&self, member: impl Fn(&Scalars) -> Option<T>) -> Option<(T, String)> {
        let agents = [self.own, self.every].into_iter().flatten();
        let mut sections = agents.map(|(key, agent)| (format!("agents.{key}"), agent.scalars()));
        let found = sections.find_map(|(section, scalars)| Some((member(&scalars)?, section)));
        found.or_else(|| Some((member(&self.defaults)?, "defaults".to_owned())))
    }

    /// The rules with their agent keys, those for every agent first.
    pub fn rules(&self) -> impl Iterator<Item = (&'a str, &'a Entry)> {
        let agents = self.every.into_iter().chain(self.own);
        agents.flat_map(|(key, agent)| agent.allowlist.iter().map(move |rule| (key, rule)))
    }
}

/// The policy for a run of `agent` (absent: `main`).
pub fn effective<'a>(
    document: &'a Document,
    agent: Option<&str>,
    host: &HostPolicy,
) -> Effective<'a> {
    let key = agent_key(agent);
    let layers = layers(document, key);
    let security = layers.value(|scalars| scalars.security);
    let (security, security_source) =
        sourced("security", security, host.security, DEFAULT_SECURITY);
    let ask = layers.value(|scalars| scalars.ask);
    let (ask, ask_source) = sourced("ask", ask, host.ask, DEFAULT_ASK);
    let (ask_fallback, ask_fallback_source) = layers.value(|scalars| scalars.ask_fallback).map_or(
        (DEFAULT_ASK_FALLBACK, NOT_SET.to_owned()),
        |(value, section)| (value, in_file("askFallback", &section)),
    );
    let auto_allow_skills = layers.value(|scalars| scalars.auto_allow_skills);
    Effective {
        agent: key.to_owned(),
        security,
        security_source,
        ask,
        ask_source,
        ask_fallback,
        ask_fallback_source,
        auto_allow_skills: auto_allow_skills.is_some_and(|(value, _)| value),
        allowlist: layers.rules().map(|(_, rule)| rule).collect(),
        shared_rules: layers.every.map_or(0, |(_, agent)| agent.allowlist.len()),
    }
}

/// What a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decider {
    /// The machine's configuration.
    Config,
    /// Neither says anything.
    Default,
    /// The policy file; also where both say the same.
    File,
}

/// The stricter of file and configuration where both set a value; where one does, that one.
pub fn stricter<T: Ord>(file: Option<T>, config: Option<T>, default: T) -> (T, Decider) {
    match (file, config) {
        (Some(file), Some(config)) if config < file => (config, Decider::Config),
        (Some(file), _) => (file, Decider::File),
        (None, Some(config)) => (config, Decider::Config),
        (None, None) => (default, Decider::Default),
    }
}

/// How messages name a member of the policy file.
pub fn in_file(name: &str, section: &str) -> String {
    format!("{section}.{name} in {NAME}")
}

fn sourced<T: Ord>(
    name: &str,
    file: Option<(T, String)>,
    config: Option<T>,
    default: T,
) -> (T, String) {
    let (file, section) = file.unzip();
    let (value, decider) = stricter(file, config, default);
    let source = match decider {
        Decider::Config => format!("tools.exec.{name} in openclaw.json"),
        Decider::Default => NOT_SET.to_owned(),
        Decider::File => in_file(name, section.as_deref().unwrap_or_default()),
    };
    (value, source)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_is_read_by_agent() {
        let document = serde_json::json!({
            "tools": {"exec": {"security": "full", "ask": "off"}},
            "agents": {"list": [
                {"id": " Ops ", "tools": {"exec": {"security": "deny", "ask": "never"}}},
                {"id": "main"},
            ]},
        });
        let cases = [
            (Some("ops"), Some(Security::Deny), Some(Ask::Off)),
            (None, Some(Security::Full), Some(Ask::Off)),
            (Some("other"), Some(Security::Full), Some(Ask::Off)),
        ];
        for (agent, security, ask) in cases {
            assert_eq!(
                HostPolicy::read(&document, agent),
                HostPolicy {
                    security,
                    ask,
                    ..HostPolicy::default()
                },
                "{agent:?}"
            );
        }
        assert_eq!(
            HostPolicy::read(&serde_json::json!({}), None),
            HostPolicy::default()
        );
    }

    #[test]
    fn values_come_from_agent_wildcard_defaults_and_the_stricter_configuration() {
        let text = r#"{"version":1,"defaults":{"security":"full","ask":"off"},"agents":{
            "*":{"security":"allowlist","allowlist":["every"]},
            "a":{"security":"deny","ask":"always","allowlist":["own"]},"b":{}}}"#;
        let document = Document::parse(text).unwrap();
        let empty = Document::default();
        let none = HostPolicy::default();
        let host = |security, ask| HostPolicy {
            security: Some(security),
            ask: Some(ask),
            ..HostPolicy::default()
        };
        use Security::{Allowlist, Deny, Full};
        let cases = [
            (
                &document,
                Some("a"),
                none.clone(),
                Deny,
                Ask::Always,
                "every own",
            ),
            (
                &document,
                Some("b"),
                none.clone(),
                Allowlist,
                Ask::Off,
                "every",
            ),
            (&document, None, none.clone(), Allowlist, Ask::Off, "every"),
            (
                &document,
                Some("*"),
                none.clone(),
                Allowlist,
                Ask::Off,
                "every",
            ),
            (
                &document,
                Some("b"),
                host(Full, Ask::Off),
                Allowlist,
                Ask::Off,
                "every",
            ),
            (
                &document,
                Some("b"),
                host(Deny, Ask::OnMiss),
                Deny,
                Ask::OnMiss,
                "every",
            ),
            (&empty, None, none.clone(), Allowlist, Ask::OnMiss, ""),
            (&empty, None, host(Full, Ask::Off), Full, Ask::Off, ""),
        ];
        for (document, agent, host, security, ask, rules) in cases {
            let found = effective(document, agent, &host);
            assert_eq!(
                (found.security, found.ask),
                (security, ask),
                "{agent:?} {host:?}"
            );
            let patterns: Vec<_> = found.allowlist.iter().map(|e| e.pattern.as_str()).collect();
            assert_eq!(patterns.join(" "), rules, "{agent:?}");
        }
        let found = effective(&document, Some("b"), &host(Deny, Ask::OnMiss));
        assert_eq!(
            found.security_source,
            "tools.exec.security in openclaw.json"
        );
        assert_eq!(found.ask_source, "tools.exec.ask in openclaw.json");
        let found = effective(&document, Some("b"), &none);
        assert_eq!(
            found.security_source,
            "agents.*.security in exec-approvals.json"
        );
    }
}
