//! When and by what each rule was used last: `exec-approvals-usage.json`, beside the policy.
//!
//! Beside it and not in it, because clients edit the policy against the hash of its bytes: a run must not
//! make an edit fail that was prepared while it ran. Cheap knowledge: kept in memory, written at most once a
//! minute and at the end, merged with what other programs wrote, and shown with the policy (node-host
//! specification, section 3.10).

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::document::Document;
use crate::store::atomic;

const NAME: &str = "exec-approvals-usage.json";

/// Shortest time between two writes, in milliseconds.
const INTERVAL_MS: u64 = 60_000;

/// Characters of a command line that are kept.
const MAX_COMMAND: usize = 1000;

/// A run that rules of an agent let through.
#[derive(Debug, Clone, Copy)]
pub struct RuleUse<'a> {
    /// The agent key under which the rules stand.
    pub agent: &'a str,
    /// Their patterns.
    pub patterns: &'a [&'a str],
    /// The command as one line.
    pub command: &'a str,
    /// The first program it starts.
    pub resolved: Option<&'a Path>,
    /// When, in milliseconds since the epoch.
    pub now_ms: u64,
}

/// The last use of one rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Use {
    last_used_at: u64,
    last_used_command: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_resolved_path: Option<String>,
}

/// Uses by agent key and pattern.
type Uses = BTreeMap<String, BTreeMap<String, Use>>;

#[derive(Debug, Default, Serialize, Deserialize)]
struct Record {
    version: u8,
    agents: Uses,
}

/// What is known about the use of rules.
#[derive(Debug)]
pub struct Usage {
    path: PathBuf,
    memory: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    unwritten: Uses,
    written_at_ms: Option<u64>,
}

impl Usage {
    /// The record in a state directory. Nothing is read yet.
    pub fn new(state_dir: &Path) -> Self {
        Self {
            path: state_dir.join(NAME),
            memory: Mutex::default(),
        }
    }

    /// Where it is written.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Notes a use; true when it is time to write.
    pub fn note(&self, run: &RuleUse<'_>) -> bool {
        if run.patterns.is_empty() {
            return false;
        }
        let now_ms = run.now_ms;
        let used = Use {
            last_used_at: now_ms,
            last_used_command: run.command.chars().take(MAX_COMMAND).collect(),
            last_resolved_path: run.resolved.map(|path| path.display().to_string()),
        };
        let mut memory = self.lock();
        let rules = memory.unwritten.entry(run.agent.to_owned()).or_default();
        for pattern in run.patterns {
            rules.insert(pattern.trim().to_owned(), used.clone());
        }
        // A clock that was set back must not silence the record.
        let due = memory
            .written_at_ms
            .is_none_or(|at| now_ms < at || now_ms - at >= INTERVAL_MS);
        if due {
            memory.written_at_ms = Some(now_ms);
        }
        due
    }

    /// Writes what is not yet written, together with what stands in the file; rules that the policy no longer
    /// has go. The caller holds the turn of the policy file.
    pub fn write(&self, policy: Option<&Document>) -> io::Result<()> {
        let mut memory = self.lock();
        if memory.unwritten.is_empty() {
            return Ok(());
        }
        let mut uses = self.read()?;
        merge(&mut uses, &memory.unwritten);
        if let Some(policy) = policy {
            for (agent, rules) in &mut uses {
                let agent = policy.agents.find(agent);
                rules.retain(|pattern, _| {
                    agent.is_some_and(|agent| {
                        agent
                            .allowlist
                            .iter()
                            .any(|rule| rule.pattern.trim() == pattern)
                    })
                });
            }
            uses.retain(|_, rules| !rules.is_empty());
        }
        let record = Record {
            version: 1,
            agents: uses,
        };
        let text = serde_json::to_string_pretty(&record)? + "\n";
        atomic::write(&self.path, text.as_bytes(), atomic::PRIVATE_FILE)?;
        memory.unwritten.clear();
        Ok(())
    }

    /// Puts what is known into the members `lastUsedAt`, `lastUsedCommand` and `lastResolvedPath` of rules, where
    /// it is newer than what stands there.
    pub fn merge_into(&self, document: &mut Document) {
        let mut uses = self.read().unwrap_or_else(|error| {
            log::warn!("{}: {error}", self.path.display());
            Uses::new()
        });
        merge(&mut uses, &self.lock().unwritten);
        for (key, agent) in &mut document.agents.0 {
            let Some(rules) = uses.get(key) else { continue };
            for rule in &mut agent.allowlist {
                let Some(used) = rules.get(rule.pattern.trim()) else {
                    continue;
                };
                let known = rule
                    .last_used_at
                    .as_ref()
                    .and_then(serde_json::Number::as_f64);
                if known.is_none_or(|known| known < used.last_used_at as f64) {
                    rule.last_used_at = Some(used.last_used_at.into());
                    rule.last_used_command = Some(used.last_used_command.clone());
                    rule.last_resolved_path.clone_from(&used.last_resolved_path);
                }
            }
        }
    }

    /// A file that cannot be understood is an error, so that it is not overwritten.
    fn read(&self) -> io::Result<Uses> {
        match fs::read(&self.path) {
            Ok(bytes) => Ok(serde_json::from_slice::<Record>(&bytes)?.agents),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Uses::new()),
            Err(error) => Err(error),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The newer use of each rule.
fn merge(into: &mut Uses, from: &Uses) {
    for (agent, rules) in from {
        let known = into.entry(agent.clone()).or_default();
        for (pattern, used) in rules {
            match known.get(pattern) {
                Some(other) if other.last_used_at > used.last_used_at => {}
                _ => {
                    known.insert(pattern.clone(), used.clone());
                }
            }
        }
    }
}
