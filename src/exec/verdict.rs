//! Run or refuse: the decision table over security, ask, allowlist and approval (node-host
//! specification, section 3.3), and the texts of refusals.
//!
//! A refusal says which value or missing rule it comes from and what would change it; the leading words
//! are what gateways recognise and stay as they are.

use std::fmt;

use super::assessment::Assessment;
use super::document::{Ask, Security};
use super::policy::Effective;

/// Characters of a node's id in a suggested command; six would do to select it.
const NODE_PREFIX: usize = 12;

/// Why a run was refused, as events carry it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The allowlist does not cover it and nobody is to be asked.
    AllowlistMiss,
    /// It may run once somebody approves it.
    ApprovalRequired,
    /// Another program of this machine is to run commands and cannot be reached.
    CompanionUnavailable,
    /// The plan that was judged cannot be built.
    ExecutionPlanMiss,
    /// This host shows no screen.
    ScreenRecording,
    /// Nothing runs here.
    SecurityDeny,
}

impl Reason {
    /// The value of the event's `reason`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AllowlistMiss => "allowlist-miss",
            Self::ApprovalRequired => "approval-required",
            Self::CompanionUnavailable => "companion-unavailable",
            Self::ExecutionPlanMiss => "execution-plan-miss",
            Self::ScreenRecording => "permission:screenRecording",
            Self::SecurityDeny => "security=deny",
        }
    }
}

/// A refusal; Display is the wire message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// What the event says.
    pub reason: Reason,
    /// What the answer says.
    pub message: String,
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Denial {
    /// A refusal of the binding of an approved run, which needs a new approval.
    pub fn approval(message: impl Into<String>) -> Self {
        Self {
            reason: Reason::ApprovalRequired,
            message: message.into(),
        }
    }

    /// The policy file does not parse: everything is denied until it does.
    pub fn broken_policy(fault: &str) -> Self {
        let message = format!("SYSTEM_RUN_DISABLED: security=deny ({fault})");
        Self {
            reason: Reason::SecurityDeny,
            message,
        }
    }
}

/// The decision on one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It runs; `listed` says that only the allowlist permits it, so exactly the judged program must run.
    Run {
        /// The permission comes from the allowlist.
        listed: bool,
    },
    /// It does not.
    Refuse(Denial),
}

/// What the decision is about.
#[derive(Debug)]
pub struct Question<'a> {
    /// The policy of the run.
    pub policy: &'a Effective<'a>,
    /// What the command would run and what covers it.
    pub assessment: &'a Assessment<'a>,
    /// A gateway matched an approval record.
    pub approved: bool,
    /// This program as typed on the node, for the node's own policy file.
    pub program: &'a str,
    /// `tools.exec.strictInlineEval`: what evaluates text needs an approval whatever else says.
    pub strict_inline_eval: bool,
    /// The node's id for the command that would add the missing rule, where rules may be added from
    /// remote; `None` where only the node itself may.
    pub remote: Option<&'a str>,
}

impl Question<'_> {
    /// The lines for a shell that would add the rules that are missing, joined by `&&`; `None` where none
    /// is missing or no rule would do.
    pub fn allowing_lines(&self) -> Option<String> {
        let patterns = self.assessment.allowing_patterns()?;
        let add = match self.remote {
            Some(node) => {
                // A prefix names the node as well and leaves the line readable.
                let node = node.get(..NODE_PREFIX).unwrap_or(node);
                format!("openclaw approvals allowlist add --node {node}")
            }
            None => format!("{} approvals allowlist add", self.program),
        };
        let lines: Vec<String> = patterns
            .iter()
            .map(|pattern| shell_word(pattern))
            .map(|word| format!("{add} {word}"))
            .collect();
        Some(lines.join(" && "))
    }
}

/// Decides.
pub fn decide(question: &Question<'_>) -> Verdict {
    let policy = question.policy;
    let satisfied = question.assessment.satisfied();
    let inline = question.assessment.inline_evaluation.as_deref();
    if let Some(what) = inline.filter(|_| {
        question.strict_inline_eval && !question.approved && policy.security != Security::Deny
    }) {
        return Verdict::Refuse(Denial::approval(format!(
            "SYSTEM_RUN_DENIED: approval required ({what} requires explicit approval in strictInlineEval mode)"
        )));
    }
    match (policy.security, policy.ask) {
        (Security::Deny, _) => {
            let source = &policy.security_source;
            let message = format!("SYSTEM_RUN_DISABLED: security=deny (set by {source})");
            Verdict::Refuse(Denial {
                reason: Reason::SecurityDeny,
                message,
            })
        }
        (Security::Allowlist | Security::Full, _) if question.approved => {
            Verdict::Run { listed: false }
        }
        (Security::Full, Ask::Off | Ask::OnMiss) => Verdict::Run { listed: false },
        (Security::Allowlist, Ask::Off | Ask::OnMiss) if satisfied => listed(question),
        (Security::Allowlist, Ask::Off | Ask::OnMiss) if question.assessment.durable => {
            Verdict::Run { listed: false }
        }
        (Security::Allowlist, Ask::Off) => {
            let message = format!("SYSTEM_RUN_DENIED: allowlist miss ({})", missing(question));
            Verdict::Refuse(Denial {
                reason: Reason::AllowlistMiss,
                message,
            })
        }
        (Security::Allowlist, Ask::OnMiss) => {
            let why = missing(question);
            Verdict::Refuse(Denial::approval(format!(
                "SYSTEM_RUN_DENIED: approval required ({why})"
            )))
        }
        (Security::Allowlist | Security::Full, Ask::Always) => {
            let source = &policy.ask_source;
            Verdict::Refuse(Denial::approval(format!(
                "SYSTEM_RUN_DENIED: approval required (ask=always is set by {source})"
            )))
        }
    }
}

fn listed(question: &Question<'_>) -> Verdict {
    if question.assessment.execution.is_some() {
        return Verdict::Run { listed: true };
    }
    Verdict::Refuse(Denial {
        reason: Reason::ExecutionPlanMiss,
        message: "SYSTEM_RUN_DENIED: execution plan mismatch".to_owned(),
    })
}

/// Why the allowlist does not cover the command, and the lines that would make it.
fn missing(question: &Question<'_>) -> String {
    let Some(miss) = question.assessment.miss() else {
        return String::new();
    };
    let Some(lines) = question.allowing_lines() else {
        return miss.to_string();
    };
    let place = match question.remote {
        Some(_) => "",
        None => ", on the node",
    };
    format!("{miss}; to allow it{place}: {lines}")
}

/// One word of a command line that a person can paste.
pub fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@:,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::assessment::{Cover, Execution, Segment};
    use super::super::document::Entry;
    use super::super::miss::Miss;
    use super::super::which::Unresolved;
    use super::*;

    #[test]
    fn decision_table() {
        use Ask::{Always, Off, OnMiss};
        use Security::{Allowlist, Deny, Full};
        const DENY: &str = "SYSTEM_RUN_DISABLED: security=deny";
        const ASKED: &str = "SYSTEM_RUN_DENIED: approval required";
        const MISS: &str = "SYSTEM_RUN_DENIED: allowlist miss";
        // security, ask, satisfied, approved, expected
        let cases = [
            (Deny, Off, true, false, DENY),
            (Deny, Always, true, true, DENY),
            (Full, Off, false, false, "run"),
            (Full, OnMiss, false, false, "run"),
            (Full, Always, true, false, ASKED),
            (Full, Always, false, true, "run"),
            (Allowlist, Off, true, false, "listed"),
            (Allowlist, Off, false, false, MISS),
            (Allowlist, Off, false, true, "run"),
            (Allowlist, OnMiss, true, false, "listed"),
            (Allowlist, OnMiss, false, false, ASKED),
            (Allowlist, OnMiss, false, true, "run"),
            (Allowlist, Always, true, false, ASKED),
            (Allowlist, Always, true, true, "run"),
        ];
        let rule = Entry::new("ls");
        for (security, ask, satisfied, approved, expected) in cases {
            let policy = policy(security, ask);
            let assessment = assessment(match satisfied {
                true => Ok(Cover::Rule {
                    entry: &rule,
                    index: 0,
                }),
                false => Err(no_rule("/usr/bin/ls")),
            });
            let question = Question {
                policy: &policy,
                assessment: &assessment,
                approved,
                program: "openclaw",
                strict_inline_eval: false,
                remote: None,
            };
            let found = match decide(&question) {
                Verdict::Run { listed: true } => "listed".to_owned(),
                Verdict::Run { listed: false } => "run".to_owned(),
                Verdict::Refuse(denial) => denial.to_string(),
            };
            assert!(
                found.starts_with(expected),
                "{security:?} {ask:?} {satisfied} {approved}: {found}"
            );
        }
    }

    #[test]
    fn a_miss_names_the_rule_and_the_command_that_adds_it() {
        let cases = [
            (
                no_rule("/opt/my tool"),
                None,
                "no allowlist rule names /opt/my tool; to allow it, on the node: openclaw --profile px \
                 approvals allowlist add '/opt/my tool'",
            ),
            (
                no_rule("/usr/bin/ls"),
                Some("0123456789abcdef"),
                "no allowlist rule names /usr/bin/ls; to allow it: openclaw approvals allowlist add \
                 --node 0123456789ab /usr/bin/ls",
            ),
            (
                Miss::Shell("sh".to_owned()),
                None,
                "sh is a shell that would run something the command line does not show for certain; \
                 call the program itself, or approve it once",
            ),
            (
                Miss::NotFound("nope".to_owned()),
                None,
                "nope is no program on this node",
            ),
        ];
        let policy = policy(Security::Allowlist, Ask::OnMiss);
        for (miss, remote, text) in cases {
            let assessment = assessment(Err(miss));
            let question = Question {
                policy: &policy,
                assessment: &assessment,
                approved: false,
                program: "openclaw --profile px",
                strict_inline_eval: false,
                remote,
            };
            let text = format!("SYSTEM_RUN_DENIED: approval required ({text})");
            assert_eq!(decide(&question), Verdict::Refuse(Denial::approval(text)));
        }
    }

    fn assessment<'a>(cover: Result<Cover<'a>, Miss>) -> Assessment<'a> {
        Assessment {
            payload: false,
            fault: None,
            segments: vec![Segment {
                argv: vec!["ls".to_owned()],
                path: None,
                blocked: false,
                cover,
                inner: Vec::new(),
                inline_evaluation: None,
            }],
            durable: false,
            inline_evaluation: None,
            execution: Some(Execution {
                argv: vec!["ls".to_owned()],
                program: Err(Unresolved::NotFound),
            }),
        }
    }

    fn policy(security: Security, ask: Ask) -> Effective<'static> {
        Effective {
            security,
            security_source: "a".to_owned(),
            ask,
            ask_source: "b".to_owned(),
            ..Effective::default()
        }
    }

    fn no_rule(path: &str) -> Miss {
        Miss::NoRule {
            path: PathBuf::from(path),
            name: None,
        }
    }
}
