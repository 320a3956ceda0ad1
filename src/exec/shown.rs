//! A judgement told to people and programs: what permits a run, and what a check answers.
//!
//! Pure: question and verdict in, values out.

use serde_json::{Map, Value, json};

use super::assessment::{Assessment, Cover, Segment};
use super::document::{Ask, Security};
use super::policy::Effective;
use super::verdict::{Denial, Question, Verdict};

/// What permits a command that runs: what covers its parts, or the value that asks for no cover.
pub fn grounds(question: &Question<'_>, listed: bool) -> Vec<String> {
    if !listed {
        let security = question.policy.security.as_str();
        return vec![match (question.approved, question.assessment.durable) {
            (true, _) => "approval".to_owned(),
            (false, true) => "allow-always".to_owned(),
            (false, false) => format!("security={security}"),
        }];
    }
    let mut grounds = Vec::new();
    for cover in question.assessment.segments.iter().flat_map(covers) {
        let ground = match cover {
            Cover::Rule { entry, .. } => entry.pattern.clone(),
            Cover::SafeBin => "safe bin".to_owned(),
            Cover::Skill => "skill".to_owned(),
            Cover::Inner => continue,
        };
        if !grounds.contains(&ground) {
            grounds.push(ground);
        }
    }
    grounds
}

/// What covers a segment and the commands inside it.
fn covers<'a>(segment: &Segment<'a>) -> Vec<Cover<'a>> {
    let inner = segment.inner.iter().flat_map(covers);
    segment.cover.iter().copied().chain(inner).collect()
}

/// The judgement as a check shows it:
/// `{"verdict":"run"|"refuse","reason"?,"message"?,"security","securitySource","ask","askSource",`
/// `"analysisOk","segments":[{"argv","path","by","pattern"?,"agent"?,"miss"?}],"allowWith"?,"startFault"?}`.
/// `startFault`: why a command that may run would not start.
pub fn shown(question: &Question<'_>, verdict: &Verdict) -> Value {
    let policy = question.policy;
    let mut shown = Map::new();
    let mut put = |key: &str, value: Value| shown.insert(key.to_owned(), value);
    match verdict {
        Verdict::Run { .. } => {
            put("verdict", "run".into());
        }
        Verdict::Refuse(denial) => {
            put("verdict", "refuse".into());
            put("reason", denial.reason.as_str().into());
            put("message", denial.message.clone().into());
        }
    }
    put("security", policy.security.as_str().into());
    put("securitySource", policy.security_source.clone().into());
    put("ask", policy.ask.as_str().into());
    put("askSource", policy.ask_source.clone().into());
    put("analysisOk", question.assessment.analysis_ok().into());
    put("segments", segments(question.assessment, policy).into());
    if let (Verdict::Run { .. }, Some(fault)) = (verdict, question.assessment.start_fault()) {
        put("startFault", fault.into());
    }
    // A rule helps only where nothing but its absence refuses.
    let by_rule = policy.security == Security::Allowlist
        && policy.ask != Ask::Always
        && !(question.strict_inline_eval && question.assessment.inline_evaluation.is_some());
    if let (Verdict::Refuse(_), true, Some(lines)) = (verdict, by_rule, question.allowing_lines()) {
        put("allowWith", lines.into());
    }
    Value::Object(shown)
}

/// A policy that cannot be read, in the same form.
pub fn shown_broken(denial: &Denial) -> Value {
    json!({"verdict": "refuse", "reason": denial.reason.as_str(), "message": denial.message,
        "security": "deny", "securitySource": "the policy cannot be read",
        "ask": "always", "askSource": "the policy cannot be read", "analysisOk": false, "segments": []})
}

fn segments(assessment: &Assessment<'_>, policy: &Effective<'_>) -> Vec<Value> {
    let shown = |segment: &Segment<'_>| {
        let mut value = json!({"argv": segment.argv, "path": segment.path});
        match &segment.cover {
            Ok(cover) => {
                value["by"] = match cover {
                    Cover::Inner => "inner",
                    Cover::Rule { .. } => "allowlist",
                    Cover::SafeBin => "safe-bin",
                    Cover::Skill => "skill",
                }
                .into();
                if let Cover::Rule { entry, index } = cover {
                    value["pattern"] = entry.pattern.clone().into();
                    value["agent"] = policy.agent_of(*index).into();
                }
            }
            Err(miss) => {
                value["by"] = Value::Null;
                value["miss"] = miss.to_string().into();
            }
        }
        value
    };
    let mut all = Vec::new();
    for segment in &assessment.segments {
        all.push(shown(segment));
        all.extend(segment.inner.iter().map(shown));
    }
    all
}
