//! Which policy applies to a run: the file's values by agent, the machine's own configuration, and the
//! stricter of both where the configuration is explicit (node-host specification, section 3.2).

use serde::Deserialize;
use serde_json::Value;

use super::document::{Ask, Document, EVERY_AGENT, Entry, MAIN_AGENT, Security};

/// What this machine's own configuration sets explicitly under `tools.exec`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HostPolicy {
    /// `tools.exec.security`
    pub security: Option<Security>,
    /// `tools.exec.ask`
    pub ask: Option<Ask>,
    /// `tools.exec.strictInlineEval`, true where the agent or the global section says so.
    pub strict_inline_eval: bool,
}

impl HostPolicy {
    /// Reads a configuration document: the entry of `agents.list` with the agent's id, then the
    /// global `tools.exec`. A value that is none counts as not set.
    pub fn read(document: &Value, agent: Option<&str>) -> Self {
        let wanted = agent_key(agent).to_lowercase();
        let agents = document.pointer("/agents/list").and_then(Value::as_array);
        let own = agents.into_iter().flatten().find(|entry| {
            let id = entry.get("id").and_then(Value::as_str);
            id.is_some_and(|id| id.trim().to_lowercase() == wanted)
        });
        let places = [own, Some(document)];
        Self {
            security: first(&places, "security"),
            ask: first(&places, "ask"),
            strict_inline_eval: places.iter().flatten().any(|place| {
                place.pointer("/tools/exec/strictInlineEval") == Some(&Value::Bool(true))
            }),
        }
    }
}

fn first<'a, T: Deserialize<'a>>(places: &[Option<&'a Value>], key: &str) -> Option<T> {
    places.iter().flatten().find_map(|place| {
        let value = place.pointer("/tools/exec")?.get(key)?;
        T::deserialize(value).ok()
    })
}

fn agent_key(agent: Option<&str>) -> &str {
    agent
        .map(str::trim)
        .filter(|key| !key.is_empty())
        .unwrap_or(MAIN_AGENT)
}

/// The policy of one run.
#[derive(Debug, Clone, PartialEq)]
pub struct Effective<'a> {
    /// How much may run.
    pub security: Security,
    /// Where that value stands, for messages.
    pub security_source: String,
    /// When to ask.
    pub ask: Ask,
    /// Where that value stands, for messages.
    pub ask_source: String,
    /// Rules for every agent, then those of the agent.
    pub allowlist: Vec<&'a Entry>,
}

const NOT_SET: &str = "the default, nothing is set";

/// The policy for a run of `agent` (absent: `main`).
pub fn effective<'a>(
    document: &'a Document,
    agent: Option<&str>,
    host: &HostPolicy,
) -> Effective<'a> {
    let key = agent_key(agent);
    let own = document.agents.find(key);
    let every = document.agents.find(EVERY_AGENT);
    let sourced = |name: &str| {
        [
            format!("agents.{key}.{name} in exec-approvals.json"),
            format!("agents.*.{name} in exec-approvals.json"),
            format!("defaults.{name} in exec-approvals.json"),
        ]
    };
    let security = pick(
        [
            own.and_then(|agent| agent.security),
            every.and_then(|agent| agent.security),
            document.defaults.security,
        ],
        sourced("security"),
    );
    let ask = pick(
        [
            own.and_then(|agent| agent.ask),
            every.and_then(|agent| agent.ask),
            document.defaults.ask,
        ],
        sourced("ask"),
    );
    let (security, security_source) = stricter(
        security,
        host.security,
        "tools.exec.security",
        Security::Allowlist,
    );
    let (ask, ask_source) = stricter(ask, host.ask, "tools.exec.ask", Ask::OnMiss);
    // With the agent `*` itself the same policy would stand twice.
    let agents = every.into_iter().chain(own.filter(|_| key != EVERY_AGENT));
    let allowlist = agents.flat_map(|agent| &agent.allowlist).collect();
    Effective {
        security,
        security_source,
        ask,
        ask_source,
        allowlist,
    }
}

fn pick<T>(values: [Option<T>; 3], sources: [String; 3]) -> Option<(T, String)> {
    values
        .into_iter()
        .zip(sources)
        .find_map(|(value, source)| value.map(|value| (value, source)))
}

fn stricter<T: Ord>(
    file: Option<(T, String)>,
    config: Option<T>,
    key: &str,
    default: T,
) -> (T, String) {
    let config = config.map(|value| (value, format!("{key} in openclaw.json")));
    match (file, config) {
        (Some(file), Some(config)) => {
            if config.0 < file.0 {
                config
            } else {
                file
            }
        }
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => (default, NOT_SET.to_owned()),
    }
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
                    strict_inline_eval: false
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
            strict_inline_eval: false,
        };
        use Security::{Allowlist, Deny, Full};
        let cases = [
            (&document, Some("a"), none, Deny, Ask::Always, "every own"),
            (&document, Some("b"), none, Allowlist, Ask::Off, "every"),
            (&document, None, none, Allowlist, Ask::Off, "every"),
            (&document, Some("*"), none, Allowlist, Ask::Off, "every"),
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
            (&empty, None, none, Allowlist, Ask::OnMiss, ""),
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
