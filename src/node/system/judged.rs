//! The judgement of one command by this machine's policy, as a run acts on it and as a check shows it.
//!
//! Everything is read anew: an edit of the policy or the configuration counts from the next command on.

use super::params::CommandParams;
use super::prepare::{Unbound, bind};
use crate::config::word::RemoteEdits;
use crate::exec::operand::BindFault;
use crate::exec::wrapper::unwrap;
use crate::exec::{
    BoundLine, Content, Context, Denial, Disk, Question, Reason, Verdict, assess, decide, effective,
};
use crate::node::environment::{Variables, steering};
use crate::node::machine::Machine;

/// Judges a command and hands question and verdict to `then`. The error is a policy or configuration that
/// cannot be read, which denies everything.
pub fn judged<T>(
    machine: &Machine,
    command: &CommandParams,
    overrides: &Variables,
    approved: bool,
    then: impl FnOnce(&Question<'_>, Verdict) -> T,
) -> Result<T, Denial> {
    let Content { document, .. } = machine.approvals.load();
    let document = document.map_err(|fault| Denial::broken_policy(&fault))?;
    let agent = command.agent_id.as_deref();
    let host = (machine.host_policy)(agent).map_err(|fault| Denial::broken_policy(&fault))?;
    let policy = effective(&document, agent, &host);
    let skills = if policy.auto_allow_skills {
        machine.skills.programs()
    } else {
        Vec::new()
    };
    let home = machine.home.as_deref();
    let line = match policy.allowlist.iter().any(|entry| entry.is_fingerprint()) {
        true => bound_line(machine, command, overrides),
        false => BoundLine::default(),
    };
    let context = Context {
        cwd: &command.directory(&machine.cwd),
        home,
        programs: &Disk {
            path: &machine.path,
            home,
        },
        skills: &skills,
        safe_bins: &host.safe_bins,
        line: &line,
        variables: &steering(overrides, unwrap(&command.argv).is_shell()),
    };
    let assessment = assess(&command.argv, &policy, &context);
    let question = Question {
        policy: &policy,
        assessment: &assessment,
        approved,
        program: &machine.program,
        strict_inline_eval: host.strict_inline_eval,
        remote: (host.remote_edits == RemoteEdits::Widen).then_some(machine.node_id.as_str()),
    };
    let verdict = match decide(&question) {
        Verdict::Refuse(denial) if denial.reason == Reason::ApprovalRequired => {
            Verdict::Refuse(approvable(machine, command, denial))
        }
        verdict => verdict,
    };
    Ok(then(&question, verdict))
}

/// A refusal that asks for an approval, and says so where none could be bound to the command.
fn approvable(machine: &Machine, command: &CommandParams, denial: Denial) -> Denial {
    let way_out = match bind(machine, command) {
        Err(Unbound::Script(BindFault::CannotBind)) => ": put what it runs into a file of its own",
        Err(Unbound::Script(BindFault::Applet)) => "",
        _ => return denial,
    };
    Denial {
        message: format!(
            "{}; no approval can be bound to it{way_out}",
            denial.message
        ),
        ..denial
    }
}

/// What a command is bound to now, on this machine.
pub fn bound_line(machine: &Machine, command: &CommandParams, overrides: &Variables) -> BoundLine {
    let pairs = overrides
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    BoundLine::look(
        &command.argv,
        &command.directory(&machine.cwd),
        &machine.path,
        machine.home.as_deref(),
        pairs,
    )
}
