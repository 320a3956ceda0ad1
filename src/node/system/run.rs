//! `system.run`: parse, check the environment, judge, bind, start (node-host specification, 2.5 and 3).
//!
//! In this order and with nothing in between: what was judged is what is started. A command that was
//! judged and refused is told as `exec.denied`, one that ran as `exec.finished`.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::judged::judged;
use super::params::{CommandParams, nul, text};
use super::prepare::{Bound, Unbound, bind};
use super::record::{Permitted, record};
use super::{Reply, RunLabel};
use crate::exec::operand::Operand;
use crate::exec::plan::{Directory, Plan};
use crate::exec::which;
use crate::exec::wrapper::unwrap;
use crate::exec::{Denial, Execution, Question, Reason, Verdict, grounds};
use crate::identity::Random;
use crate::node::audit::{NodeAuditEntry, bounded};
use crate::node::environment::{Variables, check_assignments, check_overrides, child_environment};
use crate::node::machine::Machine;
use crate::node::run::{self as runner, Launch, Outcome};
use crate::protocol::command_text::format_command;
use crate::protocol::error::ErrorShape;

const OPERAND_CHANGED: &str = "SYSTEM_RUN_DENIED: approval script operand changed before execution";

/// The session of a run that names none.
const DEFAULT_SESSION: &str = "node";

/// Runs a command if this machine's policy lets it; blocks until it has ended.
pub fn run(machine: &Machine, params: &Value) -> Reply {
    let begun = Instant::now();
    let request = match Request::parse(params) {
        Ok(request) => request,
        Err(error) => return Reply::plain(Err(error)),
    };
    let unwrapped = unwrap(&request.command.argv);
    let line = request.audit_entry();
    let accepted = check_overrides(&request.overrides).and_then(|accepted| {
        check_assignments(unwrapped.assignments.iter().copied())?;
        Ok(accepted)
    });
    let overrides = match accepted {
        Ok(accepted) => accepted,
        Err(refusal) => {
            let message = refusal.to_string();
            note_denial(machine, line, "environment", &message);
            return Reply::plain(Err(ErrorShape::invalid(message)));
        }
    };
    let command = match &request.plan {
        Some(plan) => plan.command_text.clone(),
        None => format_command(&request.command.argv),
    };
    let label = RunLabel {
        session_key: request
            .command
            .session_key
            .as_deref()
            .unwrap_or(DEFAULT_SESSION),
        run_id: &request.run_id,
        command: &command,
        suppress_notify: request.suppress_notify,
    };
    let ended = admit(machine, &request, &overrides).and_then(|admitted| {
        let grounds = admitted.grounds.clone();
        let outcome = admitted.start(machine, &request, &overrides, unwrapped.is_shell())?;
        Ok((grounds, outcome))
    });
    let line = NodeAuditEntry {
        duration_ms: u64::try_from(begun.elapsed().as_millis()).ok(),
        ..line
    };
    match ended {
        Err(denial) => {
            note_denial(machine, line, denial.reason.as_str(), &denial.message);
            Reply {
                event: Some(label.denied(denial.reason)),
                result: Err(ErrorShape::unavailable(denial.message)),
            }
        }
        Ok((grounds, outcome)) => {
            note_end(machine, line, grounds, &outcome);
            Reply {
                event: Some(label.finished(&outcome)),
                result: Ok(outcome.payload()),
            }
        }
    }
}

fn note_denial(machine: &Machine, line: NodeAuditEntry, reason: &'static str, message: &str) {
    machine.audit.record(NodeAuditEntry {
        action: "run.denied",
        reason: Some(reason),
        message: Some(bounded(message)),
        ..line
    });
}

fn note_end(machine: &Machine, line: NodeAuditEntry, grounds: Vec<String>, outcome: &Outcome) {
    machine.audit.record(NodeAuditEntry {
        action: "run.finished",
        grounds,
        message: outcome.error.as_deref().map(bounded),
        exit_code: outcome.exit_code,
        timed_out: outcome.timed_out,
        truncated: outcome.truncated,
        ..line
    });
}

/// On macOS the environment may say that the companion app is to run commands; this host cannot reach it
/// and must not run them in its place (node-host specification, section 3.12).
fn refuse_companion(machine: &Machine, system: &str) -> Result<(), Denial> {
    let app = |(name, value): (&OsStr, &OsStr)| {
        let value = value.to_string_lossy();
        name == "OPENCLAW_NODE_EXEC_HOST" && value.trim().eq_ignore_ascii_case("app")
    };
    if system == "macos" && machine.variables().any(app) {
        return Err(Denial {
            reason: Reason::CompanionUnavailable,
            message: "COMPANION_APP_UNAVAILABLE: macOS app exec host unreachable".to_owned(),
        });
    }
    Ok(())
}

struct Request {
    command: CommandParams,
    plan: Option<Plan>,
    /// The `env` parameter as given.
    overrides: Variables,
    timeout: Option<Duration>,
    screen_recording: bool,
    run_id: String,
    /// What the gateway says about an approval.
    approval: Option<&'static str>,
    approved: bool,
    suppress_notify: bool,
}

impl Request {
    fn parse(params: &Value) -> Result<Self, ErrorShape> {
        let command = CommandParams::parse(params)?;
        let plan = match params.get("systemRunPlan") {
            None | Some(Value::Null) => None,
            Some(plan) => Some(
                Plan::parse(plan).ok_or_else(|| ErrorShape::invalid("systemRunPlan invalid"))?,
            ),
        };
        let flag = |name: &str| params.get(name) == Some(&Value::Bool(true));
        let decision = params.get("approvalDecision").and_then(Value::as_str);
        let approval = match decision {
            Some("allow-once") => Some("allow-once"),
            Some("allow-always") => Some("allow-always"),
            _ => flag("approved").then_some("approved"),
        };
        Ok(Self {
            command,
            plan,
            overrides: overrides(params)?,
            timeout: timeout(params),
            screen_recording: flag("needsScreenRecording"),
            run_id: text(params, "runId").unwrap_or_else(|| Random.uuid()),
            approval,
            approved: approval.is_some(),
            suppress_notify: flag("suppressNotifyOnExit"),
        })
    }

    /// What the trail says about the request, whatever comes of it.
    fn audit_entry(&self) -> NodeAuditEntry {
        let text = |text: &Option<String>| text.as_deref().map(bounded);
        NodeAuditEntry {
            session_key: text(&self.command.session_key),
            run_id: Some(bounded(&self.run_id)),
            agent_id: text(&self.command.agent_id),
            command: Some(bounded(&format_command(&self.command.argv))),
            cwd: text(&self.command.cwd),
            approval: self.approval,
            ..NodeAuditEntry::default()
        }
    }
}

fn overrides(params: &Value) -> Result<Variables, ErrorShape> {
    let Some(given) = params.get("env").and_then(Value::as_object) else {
        return Ok(Variables::new());
    };
    let texts = given
        .iter()
        .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())));
    let given: Variables = texts.collect();
    if given
        .iter()
        .any(|(name, value)| name.contains('\0') || value.contains('\0'))
    {
        return Err(nul());
    }
    Ok(given)
}

/// Positive milliseconds; anything else is no limit.
fn timeout(params: &Value) -> Option<Duration> {
    let milliseconds = params.get("timeoutMs").and_then(Value::as_f64)?;
    if milliseconds <= 0.0 {
        return None;
    }
    Duration::try_from_secs_f64(milliseconds / 1000.0).ok()
}

/// A command that may start, exactly as it was judged.
struct Admitted {
    argv: Vec<String>,
    program: Result<PathBuf, which::Unresolved>,
    cwd: Option<PathBuf>,
    /// What permits it, for the trail.
    grounds: Vec<String>,
    /// What an approval was bound to; looked at again right before the start.
    bound: Option<Binding>,
}

/// What must still be so when an approved command starts.
struct Binding {
    directory: Option<Directory>,
    operand: Option<Operand>,
}

fn admit(machine: &Machine, request: &Request, overrides: &Variables) -> Result<Admitted, Denial> {
    judged(
        machine,
        &request.command,
        overrides,
        request.approved,
        |question, verdict| permitted(machine, request, overrides, question, verdict),
    )?
}

/// Binds a run that the policy permits and records what the permission leaves behind.
fn permitted(
    machine: &Machine,
    request: &Request,
    overrides: &Variables,
    question: &Question<'_>,
    verdict: Verdict,
) -> Result<Admitted, Denial> {
    let listed = match verdict {
        Verdict::Refuse(denial) => return Err(denial),
        Verdict::Run { listed } => listed,
    };
    // Where only the allowlist permits the run, exactly what it judged must be executed.
    let execution = question.assessment.execution.clone();
    let mut admitted = match request.approved || request.plan.is_some() {
        true => bound(machine, request)?,
        false => received(machine, request),
    };
    if let Some(Execution { argv, program }) = execution.filter(|_| listed) {
        // The wrappers of a listed command were not judged; without them a script stands elsewhere.
        let moved = argv.len() != admitted.argv.len();
        if let Some(bound) = admitted.bound.as_mut().filter(|_| moved) {
            bound.operand = None;
        }
        admitted.argv = argv;
        admitted.program = program;
    }
    if request.screen_recording {
        let message = "PERMISSION_MISSING: screenRecording".to_owned();
        return Err(Denial {
            reason: Reason::ScreenRecording,
            message,
        });
    }
    refuse_companion(machine, std::env::consts::OS)?;
    record(
        machine,
        &Permitted {
            command: &request.command,
            overrides,
            policy: question.policy,
            assessment: question.assessment,
            allow_always: request.approval == Some("allow-always"),
            strict_inline_eval: question.strict_inline_eval,
        },
    );
    Ok(Admitted {
        grounds: grounds(question, listed),
        ..admitted
    })
}

fn received(machine: &Machine, request: &Request) -> Admitted {
    let command = &request.command;
    let directory = command.directory(&machine.cwd);
    let program = command.argv.first().map_or("", String::as_str);
    Admitted {
        argv: command.argv.clone(),
        program: which::resolve(program, &directory, &machine.path, machine.home.as_deref()),
        cwd: command.cwd.as_ref().map(|_| directory),
        grounds: Vec::new(),
        bound: None,
    }
}

/// An approved or planned run: hardened like its plan, and equal to it.
fn bound(machine: &Machine, request: &Request) -> Result<Admitted, Denial> {
    if let Some(plan) = &request.plan {
        let command = &request.command;
        let same = plan.argv == command.argv
            && plan.cwd == command.cwd
            && plan.agent_id == command.agent_id
            && plan.session_key == command.session_key;
        if !same {
            return Err(Denial::approval(
                "SYSTEM_RUN_DENIED: approval plan mismatch",
            ));
        }
    }
    let Bound {
        argv,
        directory,
        mut operand,
    } = bind(machine, &request.command).map_err(|fault| {
        let planned = request.plan.as_ref().and_then(|plan| plan.operand.as_ref());
        let cwd = request.command.directory(&machine.cwd);
        let stands = |planned: &Operand| planned.is_unchanged(&request.command.argv, &cwd);
        Denial::approval(match (fault, planned) {
            // The script that was approved is gone, or something else stands there.
            (Unbound::Script(_), Some(planned)) if !stands(planned) => OPERAND_CHANGED.to_owned(),
            (fault, _) => fault.to_string(),
        })
    })?;
    if let Some(plan) = &request.plan {
        let cwd = directory
            .as_ref()
            .map_or(machine.cwd.as_path(), |directory| &directory.path);
        match (&plan.operand, &operand) {
            (None, None) => {}
            (None, Some(_)) => {
                let message = "SYSTEM_RUN_DENIED: approval missing script operand binding";
                return Err(Denial::approval(message));
            }
            (Some(planned), _) if planned.is_unchanged(&argv, cwd) => {
                operand = Some(planned.clone());
            }
            (Some(_), _) => return Err(Denial::approval(OPERAND_CHANGED)),
        }
    }
    let program = argv.first().map_or("", String::as_str);
    let cwd = directory.as_ref().map(|directory| directory.path.clone());
    let from = cwd.as_deref().unwrap_or(&machine.cwd);
    let program = which::resolve(program, from, &machine.path, machine.home.as_deref());
    Ok(Admitted {
        argv,
        program,
        cwd,
        grounds: Vec::new(),
        bound: Some(Binding { directory, operand }),
    })
}

impl Binding {
    /// Looks once more: the script has the approved content, the directory is the approved one and is
    /// held from here on. What is read after this, by the interpreter itself, nobody outside it can bind.
    fn recheck(&self, argv: &[String], machine: &Machine) -> Result<Option<OwnedFd>, Denial> {
        let own = machine.cwd.as_path();
        let cwd = self.directory.as_ref().map_or(own, |bound| &bound.path);
        if let Some(operand) = &self.operand {
            if !operand.is_unchanged(argv, cwd) {
                return Err(Denial::approval(OPERAND_CHANGED));
            }
        }
        let held = self.directory.as_ref().map(Directory::hold).transpose();
        held.map_err(|fault| Denial::approval(fault.to_string()))
    }
}

impl Admitted {
    fn start(
        self,
        machine: &Machine,
        request: &Request,
        overrides: &Variables,
        shell: bool,
    ) -> Result<Outcome, Denial> {
        let environment = child_environment(machine.variables(), overrides, shell, &machine.path);
        let held = match &self.bound {
            Some(bound) => bound.recheck(&self.argv, machine)?,
            None => None,
        };
        let launch = Launch {
            program: self.program,
            argv: self.argv,
            cwd: self.cwd,
            held,
            environment,
            timeout: request.timeout,
        };
        Ok(runner::run(&launch, &machine.children))
    }
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
