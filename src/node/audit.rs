//! The node's own trail: one line in `node-audit.jsonl` for every run, every refused run and every edit of
//! the exec policy from elsewhere.
//!
//! Who asked is what the gateway says about it. No line holds a value of an environment, nor output. A
//! trail that cannot be written stops no run: that is told once, and the next line that can be written
//! says how many are missing.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use serde_json::{Map, Value};

use crate::store::{AuditLog, Clock, SystemClock};

/// Characters of a command, a message or a name that a line carries.
const MAX_TEXT: usize = 2_000;

/// Differences of two policies that a line names.
const MAX_CHANGES: usize = 50;

/// One line. Absent members are not known or do not apply.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeAuditEntry {
    /// `run.finished`, `run.denied`, `policy.edited`, `policy.edit-refused` or `lines.lost`.
    pub action: &'static str,
    /// The gateway that asked.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub gateway: String,
    /// The session in whose name it asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_key: Option<String>,
    /// The run's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    /// The agent in whose name it asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
    /// The command line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// Where it ran or was to run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// `approved`, `allow-once` or `allow-always` when the gateway says that somebody approved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approval: Option<&'static str>,
    /// What permitted a run: rules by their patterns, or the policy's value.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub grounds: Vec<String>,
    /// Why it was refused, as events carry it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// Why it was refused or did not start, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The exit code; absent after a signal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// It reached its limit and was ended.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub timed_out: bool,
    /// Not all of its output was kept.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
    /// Milliseconds from the request to the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// SHA-256 of the policy file before an edit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// The same after it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// What an edit changed, one text for each difference.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<String>,
    /// Lines that could not be written before this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost: Option<u64>,
}

/// The trail of one node host.
#[derive(Debug)]
pub struct NodeAudit {
    log: AuditLog,
    gateway: String,
    /// Lines that could not be written since the last one that could.
    lost: Mutex<u64>,
}

impl NodeAudit {
    /// A trail in `log`, of what `gateway` asks for.
    pub fn new(log: AuditLog, gateway: String) -> Self {
        Self {
            log,
            gateway,
            lost: Mutex::new(0),
        }
    }

    /// Writes one line.
    pub fn record(&self, entry: NodeAuditEntry) {
        let entry = NodeAuditEntry {
            gateway: self.gateway.clone(),
            ..entry
        };
        let now = SystemClock.now_ms();
        let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        let written = match *lost {
            0 => Ok(()),
            count => self.log.append(
                now,
                &NodeAuditEntry {
                    action: "lines.lost",
                    lost: Some(count),
                    ..NodeAuditEntry::default()
                },
            ),
        };
        match written.and_then(|()| self.log.append(now, &entry)) {
            Ok(()) if *lost > 0 => {
                log::warn!("node audit: written again, {lost} lines are missing");
                *lost = 0;
            }
            Ok(()) => {}
            Err(error) => {
                if *lost == 0 {
                    log::warn!(
                        "node audit: {error}; runs go on, their lines are missing until it can be written"
                    );
                }
                *lost += 1;
            }
        }
    }
}

/// A text no longer than a line carries.
pub fn bounded(text: &str) -> String {
    match text.char_indices().nth(MAX_TEXT) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}… ({} bytes)", &text[..end], text.len()),
    }
}

/// What differs between two policies in their file's form, one text for each difference. Only what says
/// who may run what is compared: not ids, nor when a rule was used.
pub fn policy_changes(before: &Value, after: &Value) -> Vec<String> {
    let mut changes = Vec::new();
    compare_scalars(
        "defaults",
        before.get("defaults"),
        after.get("defaults"),
        &mut changes,
    );
    for name in keys(before.get("agents"), after.get("agents")) {
        let agent = |policy: &'_ Value| {
            policy
                .pointer(&format!("/agents/{}", pointer(&name)))
                .cloned()
        };
        let (before, after) = (agent(before), agent(after));
        let label = format!("agents.{name}");
        compare_scalars(&label, before.as_ref(), after.as_ref(), &mut changes);
        let (before, after) = (rules(before.as_ref()), rules(after.as_ref()));
        let gone = before
            .difference(&after)
            .map(|rule| format!("{label}.allowlist: - {rule}"));
        let new = after
            .difference(&before)
            .map(|rule| format!("{label}.allowlist: + {rule}"));
        changes.extend(gone.chain(new));
    }
    if changes.len() > MAX_CHANGES {
        let more = changes.len() - MAX_CHANGES;
        changes.truncate(MAX_CHANGES);
        changes.push(format!("and {more} more"));
    }
    changes.iter().map(|change| bounded(change)).collect()
}

fn compare_scalars(
    label: &str,
    before: Option<&Value>,
    after: Option<&Value>,
    changes: &mut Vec<String>,
) {
    let shown = |section: Option<&Value>, key: &str| match section.and_then(|it| it.get(key)) {
        None | Some(Value::Null) => "not set".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    for key in keys(before, after)
        .into_iter()
        .filter(|key| key != "allowlist")
    {
        let (before, after) = (shown(before, &key), shown(after, &key));
        if before != after {
            changes.push(format!("{label}.{key}: {before} -> {after}"));
        }
    }
}

fn keys(before: Option<&Value>, after: Option<&Value>) -> BTreeSet<String> {
    let members = [before, after]
        .into_iter()
        .flatten()
        .filter_map(Value::as_object);
    members.flat_map(Map::keys).cloned().collect()
}

/// One key as a part of a JSON pointer.
fn pointer(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// The rules of an agent as texts.
fn rules(agent: Option<&Value>) -> BTreeSet<String> {
    let list = agent.and_then(|agent| agent.get("allowlist")?.as_array());
    let rule = |entry: &Value| {
        let text = |key: &str| entry.get(key).and_then(Value::as_str);
        let mut shown = text("pattern").or(entry.as_str())?.to_owned();
        for key in ["argPattern", "source"] {
            if let Some(value) = text(key) {
                shown.push_str(&format!(" ({key} {value})"));
            }
        }
        Some(shown)
    };
    list.into_iter().flatten().filter_map(rule).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::node::testing::TempDir;

    #[test]
    fn a_trail_that_cannot_be_written_says_later_what_is_missing() {
        let dir = TempDir::new();
        let place = dir.path().join("sub");
        let audit = NodeAudit::new(AuditLog::new(place.join("a.jsonl")), "ws://g".to_owned());
        let line = |run: &str| NodeAuditEntry {
            action: "run.finished",
            run_id: Some(run.to_owned()),
            ..NodeAuditEntry::default()
        };
        audit.record(line("1"));
        audit.record(line("2"));
        std::fs::create_dir(&place).unwrap();
        audit.record(line("3"));
        audit.record(line("4"));
        let mut lines = AuditLog::new(place.join("a.jsonl")).newest(10).unwrap();
        for line in &mut lines {
            for member in ["ts", "seq", "chain"] {
                line.as_object_mut().unwrap().remove(member).unwrap();
            }
        }
        assert_eq!(
            lines,
            [
                json!({"action": "lines.lost", "lost": 2}),
                json!({"action": "run.finished", "gateway": "ws://g", "runId": "3"}),
                json!({"action": "run.finished", "gateway": "ws://g", "runId": "4"}),
            ]
        );
    }

    #[test]
    fn edits_are_told_by_their_differences() {
        let before = json!({"version": 1, "socket": {"token": "secret"},
            "defaults": {"security": "full", "ask": "off"},
            "agents": {"main": {"allowlist": [{"id": "1", "pattern": "/a", "lastUsedAt": 1}, {"pattern": "/b"}]},
                "x": {"security": "deny"}}});
        let after = json!({"version": 1, "socket": {"token": "other"},
            "defaults": {"security": "allowlist", "ask": "off", "autoAllowSkills": true},
            "agents": {"main": {"allowlist": [{"id": "2", "pattern": "/a"}, {"pattern": "/c", "argPattern": "-l"}]},
                "a/b": {"allowlist": ["d"]}}});
        let expected = [
            "defaults.autoAllowSkills: not set -> true",
            "defaults.security: full -> allowlist",
            "agents.a/b.allowlist: + d",
            "agents.main.allowlist: - /b",
            "agents.main.allowlist: + /c (argPattern -l)",
            "agents.x.security: deny -> not set",
        ];
        assert_eq!(policy_changes(&before, &after), expected);
        assert!(policy_changes(&before, &before).is_empty());
        let many: Vec<_> = (0..60).map(|n| n.to_string()).collect();
        let many = json!({"agents": {"main": {"allowlist": many}}});
        let told = policy_changes(&json!({}), &many);
        assert_eq!(
            (told.len(), told[MAX_CHANGES].as_str()),
            (51, "and 10 more")
        );
    }

    #[test]
    fn long_texts_are_cut_and_say_so() {
        assert_eq!(bounded("ls"), "ls");
        let long = "é".repeat(MAX_TEXT + 1);
        let cut = format!("{}… (4002 bytes)", "é".repeat(MAX_TEXT));
        assert_eq!(bounded(&long), cut);
    }
}
