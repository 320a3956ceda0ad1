//! `approvals allowlist`: one rule more, or one less.

use std::path::Path;

use serde_json::{Value, json};

use crate::cli::answer::Answer;
use crate::cli::approvals::pattern::{Meaning, examine, names_one};
use crate::cli::approvals::place::Place;
use crate::cli::approvals::view;
use crate::cli::error::{CliError, Usage};
use crate::cli::invocation::Invocation;
use crate::cli::output::text::quoted;
use crate::exec::EVERY_AGENT;
use crate::store::{Clock, SystemClock};

/// `approvals allowlist add`. A rule that is there already changes nothing and is a success.
///
/// # Errors
/// A pattern that can never cover a command, as [`Place::open`] and [`Place::edit`].
pub fn add(invocation: &Invocation) -> Result<Answer, CliError> {
    let typed = pattern(invocation)?;
    let mut meaning = examine(typed)
        .map_err(|fault| CliError::rule(format!("error: no command would fit: {fault}")))?;
    let (pattern, agent, now) = (typed.trim(), agent(invocation), SystemClock.now_ms());
    let mut place = Place::open(invocation)?;
    if matches!(place, Place::Local(..)) && names_one(pattern) && !Path::new(pattern).exists() {
        let missing = || format!("nothing is at {} now", quoted(pattern));
        meaning.warning.get_or_insert_with(missing);
    }
    let (snapshot, changed) = place.edit(|policy| policy.allow(agent, pattern, now))?;
    let answer = match changed {
        true => view::written(&place, snapshot, now, invocation.style()),
        false => Answer::new(snapshot, "Already allowlisted.\n"),
    };
    Ok(explained(answer, &meaning))
}

/// `approvals allowlist remove`. A pattern that no rule has is a success.
///
/// # Errors
/// As [`Place::open`] and [`Place::edit`].
pub fn remove(invocation: &Invocation) -> Result<Answer, CliError> {
    let pattern = pattern(invocation)?.trim();
    let agent = agent(invocation);
    let mut place = Place::open(invocation)?;
    let (snapshot, changed) = place.edit(|policy| policy.disallow(agent, pattern))?;
    if changed {
        let now = SystemClock.now_ms();
        return Ok(view::written(&place, snapshot, now, invocation.style()));
    }
    let elsewhere = agents_with(&snapshot, pattern);
    let answer = Answer::new(snapshot, "Pattern not found.\n");
    Ok(match elsewhere.first() {
        Some(other) => answer.note(format!(
            "Agent {other} has it; remove it there with --agent {}",
            quoted(other)
        )),
        None => answer,
    })
}

/// The pattern as typed: blanks around it are nobody's to drop before they were looked at.
fn pattern(invocation: &Invocation) -> Result<&str, CliError> {
    let missing = || CliError::Usage(Usage::MissingArgument("pattern"));
    invocation
        .arguments()
        .first()
        .map(String::as_str)
        .ok_or_else(missing)
}

fn agent(invocation: &Invocation) -> &str {
    invocation.text("agent").unwrap_or(EVERY_AGENT)
}

/// The agents with a rule of this pattern.
fn agents_with(snapshot: &Value, pattern: &str) -> Vec<String> {
    let agents = snapshot["file"]["agents"].as_object().into_iter().flatten();
    let has = |agent: &Value| {
        let rules = agent["allowlist"].as_array().into_iter().flatten();
        rules
            .filter_map(|rule| rule["pattern"].as_str())
            .any(|known| known.trim() == pattern)
    };
    agents
        .filter(|(_, agent)| has(agent))
        .map(|(key, _)| key.clone())
        .collect()
}

/// Says what the rule covers; machines get it as `covers` and `warning`.
fn explained(mut answer: Answer, meaning: &Meaning) -> Answer {
    let texts = [
        ("covers", &meaning.covers, "Note"),
        ("warning", &meaning.warning, "Warning"),
    ];
    for (member, text, word) in texts {
        let Some(text) = text else { continue };
        if let Some(document) = &mut answer.document {
            document[member] = json!(text);
        }
        answer = answer.note(format!("{word}: {text}"));
    }
    answer
}
