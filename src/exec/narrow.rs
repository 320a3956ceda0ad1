//! Whether one policy allows more than another, in words (node-host specification, section 2.7).
//!
//! Pure, and on the safe side: what is called narrower allows no agent any command that was refused
//! before, whatever the machine's own configuration says now or later. The other way round there is no
//! promise: that `/usr/bin/*` covers `/usr/bin/git` is not worked out.

use std::fmt;

use super::document::{Ask, Document, EVERY_AGENT, Entry, MAIN_AGENT, Scalars, Security};
use super::policy::{DEFAULT_ASK, DEFAULT_ASK_FALLBACK, DEFAULT_SECURITY, layers};

/// The first thing that would be allowed more; Display completes the sentence "refused: …".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Widening(String);

impl fmt::Display for Widening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What stands before an edit.
#[derive(Debug, Clone, Copy)]
pub enum Before<'a> {
    /// A file that gives no policy, and why: nothing is allowed.
    Broken(&'a str),
    /// A policy; a missing file is the empty one.
    Policy(&'a Document),
}

/// What `after` would allow more than `before`; `None` when it only narrows. Both settled.
pub fn widens(before: Before<'_>, after: &Document) -> Option<Widening> {
    match before {
        Before::Policy(before) => compare(before, after).map(Widening),
        Before::Broken(fault) => {
            let nothing = Document {
                defaults: Scalars {
                    security: Some(Security::Deny),
                    ..Scalars::default()
                },
                ..Document::default()
            };
            compare(&nothing, after).map(|found| {
                Widening(format!(
                    "the file that stands there is broken ({fault}), so everything is denied, and {found}. \
                     Repair the file on the node, or set a policy that denies everything"
                ))
            })
        }
    }
}

fn compare(before: &Document, after: &Document) -> Option<String> {
    if let Some(socket) = &after.socket {
        let stored = before.socket.clone().unwrap_or_default();
        if socket.token.is_some() && socket.token != stored.token {
            return Some("socket.token would be replaced".to_owned());
        }
        if socket.path.is_some() && stored.path.is_some() && socket.path != stored.path {
            return Some("socket.path would be replaced".to_owned());
        }
    }
    // The wildcard also stands for every agent that neither document names.
    let mut agents = vec![EVERY_AGENT, MAIN_AGENT];
    for key in before.agents.keys().chain(after.agents.keys()) {
        if !agents.contains(&key) {
            agents.push(key);
        }
    }
    agents
        .into_iter()
        .find_map(|agent| compare_agent(agent, before, after))
}

fn compare_agent(agent: &str, before: &Document, after: &Document) -> Option<String> {
    let whom = match agent {
        EVERY_AGENT => "every agent".to_owned(),
        _ => format!("agent {agent}"),
    };
    let (was, is) = (Layered::of(before, agent), Layered::of(after, agent));
    if let Some((name, was, is)) = loosened(&was, &is) {
        return Some(format!("{name} of {whom} would go from {was} to {is}"));
    }
    if is.auto_allow_skills && !was.auto_allow_skills {
        return Some(format!("autoAllowSkills of {whom} would be switched on"));
    }
    is.rules.iter().find_map(|rule| {
        let added = |what: String| Some(format!("{whom} would get the rule {what}"));
        let shown = shown(rule);
        let Some(known) = was.rules.iter().find(|known| covers(known, rule)) else {
            return added(shown);
        };
        let durable = |known: &&&Entry| covers(known, rule) && known.is_durable();
        if rule.is_durable()
            && !known.is_durable()
            && !was.rules.iter().any(|known| durable(&known))
        {
            return added(format!("{shown} as an approval that sticks (allow-always)"));
        }
        None
    })
}

/// The first value that would allow more, and what it would go from and to.
fn loosened(
    was: &Layered<'_>,
    is: &Layered<'_>,
) -> Option<(&'static str, &'static str, &'static str)> {
    if is.security == Some(Security::Deny) {
        // The stricter of file and configuration holds, so nothing runs, whomever the rest would ask.
        return None;
    }
    let fallback = |value: Option<Security>| value.unwrap_or(DEFAULT_ASK_FALLBACK);
    if opened(was.security, is.security, DEFAULT_SECURITY, Security::Full) {
        let word = |value| word(value, Security::as_str);
        return Some(("security", word(was.security), word(is.security)));
    }
    if opened(was.ask, is.ask, DEFAULT_ASK, Ask::Off) {
        let word = |value| word(value, Ask::as_str);
        return Some(("ask", word(was.ask), word(is.ask)));
    }
    (fallback(is.ask_fallback) > fallback(was.ask_fallback)).then(|| {
        let word = |value| word(value, Security::as_str);
        ("askFallback", word(was.ask_fallback), word(is.ask_fallback))
    })
}

/// What the file says for one agent; what it leaves open is open.
struct Layered<'a> {
    security: Option<Security>,
    ask: Option<Ask>,
    ask_fallback: Option<Security>,
    auto_allow_skills: bool,
    rules: Vec<&'a Entry>,
}

impl<'a> Layered<'a> {
    fn of(document: &'a Document, agent: &str) -> Self {
        let layers = layers(document, agent);
        Self {
            security: layers
                .value(|scalars| scalars.security)
                .map(|(value, _)| value),
            ask: layers.value(|scalars| scalars.ask).map(|(value, _)| value),
            ask_fallback: layers
                .value(|scalars| scalars.ask_fallback)
                .map(|(value, _)| value),
            auto_allow_skills: layers
                .value(|scalars| scalars.auto_allow_skills)
                .is_some_and(|(value, _)| value),
            rules: layers.rules().map(|(_, rule)| rule).collect(),
        }
    }
}

/// Whether a value allows more for some configuration. Where the file is silent, the configuration decides
/// alone, from the strictest to `widest`, and the default where that is silent too; where both speak, the
/// stricter does.
fn opened<T: Ord + Copy>(was: Option<T>, is: Option<T>, default: T, widest: T) -> bool {
    match (was, is) {
        (None, None) => false,
        (None, Some(is)) => is > default,
        (Some(was), None) => was < widest,
        (Some(was), Some(is)) => is > was,
    }
}

fn word<T>(value: Option<T>, text: fn(T) -> &'static str) -> &'static str {
    value.map_or("not set", text)
}

/// Whether everything the rule allows was allowed by the known one.
fn covers(known: &Entry, rule: &Entry) -> bool {
    let same_arguments = known.arg_pattern.is_none() || known.arg_pattern == rule.arg_pattern;
    known.pattern.trim() == rule.pattern.trim() && same_arguments
}

fn shown(rule: &Entry) -> String {
    let pattern = rule.pattern.trim();
    match &rule.arg_pattern {
        Some(arguments) => format!("{pattern} with the arguments {arguments}"),
        None => pattern.to_owned(),
    }
}

#[cfg(test)]
#[path = "narrow_tests.rs"]
mod tests;
