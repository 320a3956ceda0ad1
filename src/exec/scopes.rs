//! The effective policy as people read it: for every scope of the configuration what is asked for, what
//! the file says, what comes of both, and where each value stands (cli.md §2.4, node-host specification,
//! section 3.2).
//!
//! Pure; the rule that combines both is the one that judges runs.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::document::{Ask, Document, EVERY_AGENT, Security};
use super::policy::{
    DEFAULT_ASK, DEFAULT_ASK_FALLBACK, DEFAULT_SECURITY, Decider, agent_entry, explicit, in_file,
    layers, stricter,
};

/// Where a policy applies; decides what counts where the configuration is silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The gateway's own host: everything runs, nobody is asked.
    Gateway,
    /// A node: only what is listed runs, and a miss is asked about.
    Node,
}

/// What the whole policy comes to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EffectivePolicy {
    /// `tools.exec` first, then each agent that the configuration or the file treats on its own.
    pub scopes: Vec<Scope>,
    /// How the values come about.
    pub note: String,
}

/// The policy of one scope.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Scope {
    /// `tools.exec` or `agent:<id>`.
    pub scope_label: String,
    /// The configuration key.
    pub config_path: String,
    /// Where commands are asked to run.
    pub host: Requested,
    /// How much may run.
    pub security: Combined,
    /// When to ask.
    pub ask: Combined,
    /// What happens when nobody can be asked.
    pub ask_fallback: Sourced,
    /// What an approver may answer.
    pub allowed_decisions: &'static [&'static str],
}

/// A value of the configuration.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Requested {
    /// The value.
    pub requested: String,
    /// Where it stands.
    pub requested_source: String,
}

/// A value of configuration and file together.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Combined {
    /// What the configuration asks for.
    pub requested: &'static str,
    /// Where that stands.
    pub requested_source: String,
    /// What the file says.
    pub host: &'static str,
    /// Where that stands.
    pub host_source: String,
    /// What counts.
    pub effective: &'static str,
    /// Why.
    pub note: &'static str,
}

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sourced {
    /// The value.
    pub effective: &'static str,
    /// Where it stands.
    pub source: String,
}

const GLOBAL: &str = "tools.exec";

const DEFAULT: &str = "default";

const NOTE: &str = "The stricter of exec-approvals.json and tools.exec counts where both set a value; where one sets it, that one.";

/// Answers where every run is asked about: an approval cannot stick there.
const ONCE: &[&str] = &["allow-once", "deny"];

const ALWAYS: &[&str] = &["allow-once", "allow-always", "deny"];

/// What a policy and the configuration of the same machine come to. `config`: the configuration document
/// as authored.
pub fn effective_policy(document: &Document, config: &Value, place: Place) -> EffectivePolicy {
    let mut agents: BTreeSet<&str> = document.agents.keys().collect();
    agents.extend(config_agents(config));
    let agents = agents.into_iter().filter(|key| *key != EVERY_AGENT);
    let mut scopes = vec![scope(document, config, place, None)];
    scopes.extend(agents.map(|agent| scope(document, config, place, Some(agent))));
    EffectivePolicy {
        scopes,
        note: NOTE.to_owned(),
    }
}

/// Ids of `agents.list` with a `tools.exec` of their own.
fn config_agents(config: &Value) -> impl Iterator<Item = &str> {
    let agents = config.pointer("/agents/list").and_then(Value::as_array);
    agents.into_iter().flatten().filter_map(|agent| {
        agent
            .pointer("/tools/exec")
            .filter(|exec| exec.is_object())?;
        agent.get("id")?.as_str().map(str::trim)
    })
}

fn scope(document: &Document, config: &Value, place: Place, agent: Option<&str>) -> Scope {
    // No agent of the configuration is called so: what is left is the global section.
    let key = agent.unwrap_or(EVERY_AGENT);
    let wanted = Asked {
        own: agent_entry(config, key),
        global: config,
        path: match agent {
            Some(agent) => format!("agents.list.{agent}.tools.exec"),
            None => GLOBAL.to_owned(),
        },
    };
    let layers = layers(document, key);
    let (security, ask) = match place {
        Place::Gateway => (Security::Full, Ask::Off),
        Place::Node => (DEFAULT_SECURITY, DEFAULT_ASK),
    };
    let ask = Combined::new(
        "ask",
        wanted.value("ask"),
        layers.value(|scalars| scalars.ask),
        (ask, Ask::as_str),
    );
    let fallback = layers.value(|scalars| scalars.ask_fallback);
    Scope {
        scope_label: agent.map_or_else(|| GLOBAL.to_owned(), |agent| format!("agent:{agent}")),
        host: match wanted.value("host") {
            Some((host, source)) => Requested {
                requested: host,
                requested_source: source,
            },
            None => Requested {
                requested: "auto".to_owned(),
                requested_source: DEFAULT.to_owned(),
            },
        },
        security: Combined::new(
            "security",
            wanted.value("security"),
            layers.value(|scalars| scalars.security),
            (security, Security::as_str),
        ),
        allowed_decisions: if ask.effective == Ask::Always.as_str() {
            ONCE
        } else {
            ALWAYS
        },
        ask,
        ask_fallback: match fallback {
            Some((value, section)) => Sourced {
                effective: value.as_str(),
                source: in_file("askFallback", &section),
            },
            None => Sourced {
                effective: DEFAULT_ASK_FALLBACK.as_str(),
                source: DEFAULT.to_owned(),
            },
        },
        config_path: wanted.path,
    }
}

/// What the configuration asks for in one scope.
struct Asked<'a> {
    own: Option<&'a Value>,
    global: &'a Value,
    path: String,
}

impl<'a> Asked<'a> {
    /// A valid value of `tools.exec`, the agent's before the global one, and its key.
    fn value<T: Deserialize<'a>>(&self, name: &str) -> Option<(T, String)> {
        let own = self.own.and_then(|own| explicit(own, name));
        own.map(|value| (value, format!("{}.{name}", self.path)))
            .or_else(|| Some((explicit(self.global, name)?, format!("{GLOBAL}.{name}"))))
    }
}

impl Combined {
    fn new<T: Ord + Copy>(
        name: &str,
        config: Option<(T, String)>,
        file: Option<(T, String)>,
        (default, word): (T, fn(T) -> &'static str),
    ) -> Self {
        let (requested, requested_source) = match config {
            Some((value, source)) => (Some(value), source),
            None => (None, DEFAULT.to_owned()),
        };
        let (host, host_source) = match file {
            Some((value, section)) => (Some(value), in_file(name, &section)),
            None => (None, "not set, the requested value".to_owned()),
        };
        let (effective, decider) = stricter(host, requested, default);
        let asked = requested.unwrap_or(default);
        Self {
            requested: word(asked),
            requested_source,
            host: word(host.unwrap_or(asked)),
            host_source,
            effective: word(effective),
            note: match decider {
                Decider::Config if host.is_some() => "the stricter tools.exec value counts",
                Decider::Config => "the requested value counts",
                Decider::Default => "the default counts, nothing is set",
                Decider::File if requested.is_none() => {
                    "the file's value counts, tools.exec sets none"
                }
                Decider::File if host == requested => "both say the same",
                Decider::File => "the stricter value of the file counts",
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::policy::{HostPolicy, effective};
    use super::*;

    #[test]
    fn every_value_says_where_it_stands() {
        let document = Document::parse(
            r#"{"version":1,"defaults":{"ask":"always","askFallback":"deny"},"agents":{"*":{"security":"allowlist"},
                "ops":{"security":"full","ask":"off","askFallback":"full"}}}"#,
        )
        .unwrap();
        let config = json!({
            "tools": {"exec": {"host": "node", "security": "full"}},
            "agents": {"list": [
                {"id": "dev", "tools": {"exec": {"security": "deny", "ask": "sometimes"}}},
                {"id": "quiet"},
            ]},
        });
        let shown = effective_policy(&document, &config, Place::Node);
        let labels: Vec<_> = shown
            .scopes
            .iter()
            .map(|s| s.scope_label.as_str())
            .collect();
        assert_eq!(labels, ["tools.exec", "agent:dev", "agent:ops"]);
        let shown = serde_json::to_value(shown).unwrap();
        assert_eq!(
            shown["scopes"][0],
            json!({
                "scopeLabel": "tools.exec",
                "configPath": "tools.exec",
                "host": {"requested": "node", "requestedSource": "tools.exec.host"},
                "security": {"requested": "full", "requestedSource": "tools.exec.security", "host": "allowlist",
                    "hostSource": "agents.*.security in exec-approvals.json", "effective": "allowlist",
                    "note": "the stricter value of the file counts"},
                "ask": {"requested": "on-miss", "requestedSource": "default", "host": "always",
                    "hostSource": "defaults.ask in exec-approvals.json", "effective": "always",
                    "note": "the file's value counts, tools.exec sets none"},
                "askFallback": {"effective": "deny", "source": "defaults.askFallback in exec-approvals.json"},
                "allowedDecisions": ["allow-once", "deny"],
            })
        );
        let dev = &shown["scopes"][1];
        assert_eq!(dev["configPath"], "agents.list.dev.tools.exec");
        assert_eq!(
            dev["security"]["requestedSource"],
            "agents.list.dev.tools.exec.security"
        );
        assert_eq!(dev["security"]["effective"], "deny");
        assert_eq!(
            dev["security"]["note"],
            "the stricter tools.exec value counts"
        );
        assert_eq!(
            dev["ask"]["requestedSource"], "default",
            "a value that is none counts as not set"
        );
        let ops = &shown["scopes"][2];
        assert_eq!(ops["security"]["note"], "both say the same");
        assert_eq!(ops["ask"]["effective"], "off");
        assert_eq!(
            ops["allowedDecisions"],
            json!(["allow-once", "allow-always", "deny"])
        );
    }

    #[test]
    fn where_nothing_is_set_the_place_decides() {
        for (place, security, ask) in [
            (Place::Gateway, "full", "off"),
            (Place::Node, "allowlist", "on-miss"),
        ] {
            let shown = effective_policy(&Document::default(), &json!({}), place);
            let scope = &shown.scopes[0];
            assert_eq!(
                (scope.security.effective, scope.ask.effective),
                (security, ask)
            );
            assert_eq!(scope.security.note, "the default counts, nothing is set");
            assert_eq!(
                (scope.ask_fallback.effective, shown.scopes.len()),
                ("full", 1)
            );
        }
    }

    #[test]
    fn what_is_shown_for_a_node_is_what_judges_there() {
        let words = [
            "",
            r#""security":"deny","#,
            r#""security":"allowlist","#,
            r#""security":"full","#,
        ];
        for (file, config) in words.iter().flat_map(|f| words.iter().map(move |c| (f, c))) {
            for ask in ["on-miss", "off", "always"] {
                let text = format!(r#"{{"version":1,"agents":{{"a":{{{file}"ask":"{ask}"}}}}}}"#);
                let document = Document::parse(&text).unwrap();
                let text = format!(r#"{{"tools":{{"exec":{{{config}"ask":"on-miss"}}}}}}"#);
                let config: Value = serde_json::from_str(&text).unwrap();
                let judged = effective(&document, Some("a"), &HostPolicy::read(&config, Some("a")));
                let shown = effective_policy(&document, &config, Place::Node);
                let scope = shown
                    .scopes
                    .iter()
                    .find(|scope| scope.scope_label == "agent:a")
                    .unwrap();
                assert_eq!(scope.security.effective, judged.security.as_str(), "{text}");
                assert_eq!(scope.ask.effective, judged.ask.as_str(), "{text}");
            }
        }
    }
}
