//! What a permitted run leaves behind in the exec policy: the rules of an approval that is to stick, and when
//! the rules that covered the run were used last (node-host specification, section 3.10).
//!
//! What fails here is logged; the run was permitted and does not depend on it.

use super::approvals::edit_line;
use super::judged::bound_line;
use super::params::CommandParams;
use crate::exec::{Assessment, Disk, Effective, RuleUse, holds_lasting_rules, lasting_patterns};
use crate::node::audit::{NodeAuditEntry, bounded};
use crate::node::environment::Variables;
use crate::node::machine::Machine;
use crate::protocol::command_text::format_command;
use crate::store::{Clock, SystemClock};

/// A run that is about to start.
#[derive(Debug)]
pub struct Permitted<'a> {
    /// Its words as they were received: what the approver may call them does not count.
    pub command: &'a CommandParams,
    /// The environment it gets from its caller.
    pub overrides: &'a Variables,
    /// The policy it was judged by.
    pub policy: &'a Effective<'a>,
    /// What it would run and what covers it.
    pub assessment: &'a Assessment<'a>,
    /// Its approver wants to be asked no more.
    pub allow_always: bool,
    /// `tools.exec.strictInlineEval`: what evaluates text is approved once, never for good.
    pub strict_inline_eval: bool,
}

/// Adds the rules of the approval and notes the use of others.
pub fn record(machine: &Machine, run: &Permitted<'_>) {
    let Permitted {
        policy, assessment, ..
    } = run;
    let text = format_command(&run.command.argv);
    let now_ms = SystemClock.now_ms();
    let inline = run.strict_inline_eval && assessment.inline_evaluation.is_some();
    if run.allow_always && !inline && holds_lasting_rules(&policy.agent) {
        let disk = Disk {
            path: &machine.path,
            home: machine.home.as_deref(),
        };
        let line = bound_line(machine, run.command, run.overrides);
        let patterns = lasting_patterns(assessment, &line, &disk);
        let before = machine.approvals.load();
        let added = machine.approvals.edit(None, |document| {
            document.trust(&policy.agent, &patterns, now_ms)
        });
        match &added {
            Ok(snapshot) if snapshot.hash == before.hash => {}
            Ok(_) => machine.audit.record(NodeAuditEntry {
                command: Some(bounded(&text)),
                approval: Some("allow-always"),
                ..edit_line(before, &added)
            }),
            Err(error) => log::warn!("the approval of {text} does not stick: {error}"),
        }
    }
    let used = assessment.rules();
    let own = used.iter().filter(|rule| policy.is_own(rule));
    let own: Vec<&str> = own.map(|rule| rule.pattern.as_str()).collect();
    let first = assessment.segments.first();
    machine.approvals.note_use(&RuleUse {
        agent: &policy.agent,
        patterns: &own,
        command: &text,
        resolved: first.and_then(|segment| segment.path.as_deref()),
        now_ms,
    });
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
