//! `exec-approvals.json`: its members, its normal form, and edits of its rules.
//!
//! What is accepted is decided in `strict`, the file itself is handled in `file`. Pure data (node-host
//! specification, section 3.1).

use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};

use super::strict;
use crate::identity::sha256_hex;

/// Agent key that applies to every agent.
pub const EVERY_AGENT: &str = "*";

/// Agent key of a run that names no agent.
pub const MAIN_AGENT: &str = "main";

/// What former versions called it.
pub const FORMER_MAIN_AGENT: &str = "default";

/// How a rule for one exact command text begins; what follows are hex digits of its SHA-256.
const FINGERPRINT: &str = "=command:";

/// Hex digits of the command text's SHA-256 in such a rule (node-host specification, section 3.10).
const FINGERPRINT_DIGITS: usize = 16;

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
    #[serde(deserialize_with = "strict::version_one")]
    pub version: u8,
    /// The companion app's socket; this program never opens it.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "strict::socket"
    )]
    pub socket: Option<Socket>,
    /// Values for agents that set none.
    #[serde(default, deserialize_with = "strict::defaults")]
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
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "strict::present"
    )]
    pub path: Option<String>,
    /// Its secret; never leaves this machine.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "strict::present"
    )]
    pub token: Option<String>,
}

/// The four values that defaults and agents have in common.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Scalars {
    /// How much may run.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "strict::present"
    )]
    pub security: Option<Security>,
    /// When to ask.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "strict::present"
    )]
    pub ask: Option<Ask>,
    /// What the gateway does when nobody can be asked; only stored and reported here.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "strict::present"
    )]
    pub ask_fallback: Option<Security>,
    /// Whether known skills count as allowed.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "strict::present"
    )]
    pub auto_allow_skills: Option<bool>,
}

/// The policy of one agent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct AgentPolicy {
    /// How much may run.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "strict::present"
    )]
    pub security: Option<Security>,
    /// When to ask.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "strict::present"
    )]
    pub ask: Option<Ask>,
    /// As in [`Scalars`].
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "strict::present"
    )]
    pub ask_fallback: Option<Security>,
    /// As in [`Scalars`].
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "strict::present"
    )]
    pub auto_allow_skills: Option<bool>,
    /// Rules; the first that matches counts.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "strict::entries"
    )]
    pub allowlist: Vec<Entry>,
}

/// What can make a rule besides a person's edit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// An approval that was to stick.
    AllowAlways,
}

/// One rule of an allowlist.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Entry {
    /// Stable name of the rule; given when the file is normalised.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "strict::present"
    )]
    pub id: Option<String>,
    /// What the rule allows: a path, a bare program name, or `*`.
    pub pattern: String,
    /// A regular expression over the arguments.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "strict::present"
    )]
    pub arg_pattern: Option<String>,
    /// What made the rule, if not a person's edit.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "strict::present"
    )]
    pub source: Option<Source>,
    /// Milliseconds since the epoch.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "strict::present"
    )]
    pub last_used_at: Option<Number>,
    /// The command line that used it last.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "strict::present"
    )]
    pub last_used_command: Option<String>,
    /// The program that command resolved to.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "strict::present"
    )]
    pub last_resolved_path: Option<String>,
    /// Of former versions: the one command text the rule was approved for. Read, never written.
    #[serde(default, skip_serializing, deserialize_with = "strict::present")]
    command_text: Option<String>,
}

impl AgentPolicy {
    /// The values without the rules.
    pub fn scalars(&self) -> Scalars {
        Scalars {
            security: self.security,
            ask: self.ask,
            ask_fallback: self.ask_fallback,
            auto_allow_skills: self.auto_allow_skills,
        }
    }

    /// Whether nothing is set and no rule stands here.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Entry {
    /// A rule for a pattern, without an id yet.
    pub fn new(pattern: &str) -> Self {
        Self {
            pattern: pattern.to_owned(),
            ..Self::default()
        }
    }

    /// The pattern that means this command text and no other: `=command:` and sixteen hex digits.
    pub fn fingerprint(command_text: &str) -> String {
        let digest = sha256_hex(command_text.as_bytes());
        format!("{FINGERPRINT}{}", &digest[..FINGERPRINT_DIGITS])
    }

    /// The pattern that means one command line with all it is bound to: `=command:` and 64 hex digits.
    pub fn line_pattern(digest: &str) -> String {
        format!("{FINGERPRINT}{digest}")
    }

    /// Whether the pattern means one command text, not programs.
    pub fn is_fingerprint(&self) -> bool {
        self.pattern.trim().starts_with(FINGERPRINT)
    }

    /// Whether the rule comes from an approval that was to stick.
    pub fn is_durable(&self) -> bool {
        self.source == Some(Source::AllowAlways)
    }

    /// Whether an approval that was to stick was given for exactly this command text (node-host
    /// specification, section 3.10).
    pub fn trusts_text(&self, command_text: &str) -> bool {
        let former = self.command_text.as_deref().map(str::trim);
        self.is_durable()
            && (self.pattern.trim() == Self::fingerprint(command_text)
                || former == Some(command_text.trim()))
    }

    /// Whether two rules mean the same: pattern and argument pattern.
    pub fn same_rule(&self, other: &Self) -> bool {
        self.pattern.trim() == other.pattern.trim() && self.arg_pattern == other.arg_pattern
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

    /// The policy of one agent key to change it; an empty one is added where there is none.
    pub fn entry(&mut self, key: &str) -> &mut AgentPolicy {
        let at = match self.0.iter().position(|(name, _)| name == key) {
            Some(at) => at,
            None => {
                self.0.push((key.to_owned(), AgentPolicy::default()));
                self.0.len() - 1
            }
        };
        &mut self.0[at].1
    }

    /// The agent keys, in the order of the file.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(key, _)| key.as_str())
    }
}

impl Document {
    /// Parses the text of the file; the error says what is wrong, with line and column.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        strict::parse(text)
    }

    /// As [`Document::parse`] for a value that came over the wire; its errors name the member instead
    /// of a place.
    pub fn from_value(value: Value) -> Result<Self, serde_json::Error> {
        strict::from_value(value)
    }

    /// The text of the file: two spaces of indentation and a final newline.
    pub fn render(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self).map(|text| text + "\n")
    }

    /// Brings the policy into the form that is judged by: the former name of the main agent is replaced,
    /// blank rules go.
    pub fn settle(&mut self) {
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
        }
    }

    /// Brings the document into the form that is written: settled, every rule with an id from `id`, without
    /// what only former versions know.
    pub fn normalize(&mut self, mut id: impl FnMut() -> String) {
        self.settle();
        for entry in self
            .agents
            .0
            .iter_mut()
            .flat_map(|(_, agent)| &mut agent.allowlist)
        {
            entry.command_text = None;
            if entry.id.as_deref().is_none_or(|id| id.trim().is_empty()) {
                entry.id = Some(id());
            }
        }
    }

    /// Adds a rule for an agent; false, and nothing changes, when the agent has one with this pattern and no
    /// argument pattern. `now_ms`: milliseconds since the epoch.
    pub fn allow(&mut self, agent: &str, pattern: &str, now_ms: u64) -> bool {
        let rule = Entry {
            last_used_at: Some(now_ms.into()),
            ..Entry::new(pattern.trim())
        };
        let rules = &mut self.agents.entry(agent).allowlist;
        if rules.iter().any(|known| known.same_rule(&rule)) {
            return false;
        }
        rules.push(rule);
        true
    }

    /// Removes every rule of an agent with this pattern; an agent that becomes empty goes too. False when there
    /// is none.
    pub fn disallow(&mut self, agent: &str, pattern: &str) -> bool {
        let Some(at) = self.agents.0.iter().position(|(key, _)| key == agent) else {
            return false;
        };
        let policy = &mut self.agents.0[at].1;
        let before = policy.allowlist.len();
        policy
            .allowlist
            .retain(|rule| rule.pattern.trim() != pattern.trim());
        if policy.allowlist.len() == before {
            return false;
        }
        if policy.is_empty() {
            self.agents.0.remove(at);
        }
        true
    }

    /// Makes an approval stick: each pattern becomes a rule of the agent with the source `allow-always`, one
    /// that stands there already gets that source. False when nothing changed (node-host specification, 3.10).
    pub fn trust(&mut self, agent: &str, patterns: &[String], now_ms: u64) -> bool {
        let mut changed = false;
        for pattern in patterns {
            changed |= self.allow(agent, pattern, now_ms);
            let wanted = Entry::new(pattern);
            let rules = &mut self.agents.entry(agent).allowlist;
            for rule in rules.iter_mut().filter(|rule| rule.same_rule(&wanted)) {
                changed |= rule.source.replace(Source::AllowAlways).is_none();
            }
        }
        changed
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

#[cfg(test)]
#[path = "document_tests.rs"]
mod tests;
