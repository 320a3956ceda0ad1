//! `system.run`: parse, check the environment, judge, bind, start (node-host specification, 2.5 and 3).
//!
//! In this order and with nothing in between: what was judged is what is started. A command that was
//! judged and refused is told as `exec.denied`, one that ran as `exec.finished`.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use super::params::{CommandParams, nul, text};
use super::prepare::{Bound, bind};
use super::{Reply, RunLabel};
use crate::exec::plan::Plan;
use crate::exec::which;
use crate::exec::wrapper::{Unwrapped, unwrap};
use crate::exec::{
    Content, Context, Denial, Disk, Effective, Execution, Question, Reason, SafeBins, Verdict,
    assess, decide, effective,
};
use crate::identity::Random;
use crate::node::environment::{Variables, check_assignments, check_overrides, child_environment};
use crate::node::machine::Machine;
use crate::node::run::{self as runner, Launch, Outcome};
use crate::protocol::command_text::format_command;
use crate::protocol::error::ErrorShape;

/// The session of a run that names none.
const DEFAULT_SESSION: &str = "node";

/// Runs a command if this machine's policy lets it; blocks until it has ended.
pub fn run(machine: &Machine, params: &Value) -> Reply {
    let request = match Request::parse(params) {
        Ok(request) => request,
        Err(error) => return Reply::plain(Err(error)),
    };
    let unwrapped = unwrap(&request.command.argv);
    if let Err(refusal) = check_assignments(unwrapped.assignments.iter().copied()) {
        return Reply::plain(Err(ErrorShape::invalid(refusal.to_string())));
    }
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
    match admit(machine, &request) {
        Err(denial) => Reply {
            event: Some(label.denied(denial.reason)),
            result: Err(ErrorShape::unavailable(denial.message)),
        },
        Ok(admitted) => {
            let outcome = admitted.start(machine, &request, &unwrapped);
            Reply {
                event: Some(label.finished(&outcome)),
                result: Ok(outcome.payload()),
            }
        }
    }
}

struct Request {
    command: CommandParams,
    plan: Option<Plan>,
    overrides: Variables,
    timeout: Option<Duration>,
    screen_recording: bool,
    run_id: String,
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
        Ok(Self {
            command,
            plan,
            overrides: overrides(params)?,
            timeout: timeout(params),
            screen_recording: flag("needsScreenRecording"),
            run_id: text(params, "runId").unwrap_or_else(|| Random.uuid()),
            approved: flag("approved") || matches!(decision, Some("allow-once" | "allow-always")),
            suppress_notify: flag("suppressNotifyOnExit"),
        })
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
    check_overrides(&given).map_err(|refusal| ErrorShape::invalid(refusal.to_string()))
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
}

fn admit(machine: &Machine, request: &Request) -> Result<Admitted, Denial> {
    let Content { document, .. } = machine.approvals.load();
    let document = document.map_err(|fault| Denial::broken_policy(&fault))?;
    let agent = request.command.agent_id.as_deref();
    let host = (machine.host_policy)(agent).map_err(|fault| Denial::broken_policy(&fault))?;
    let policy = effective(&document, agent, &host);
    let admitted = match judge_command(machine, request, &policy, host.strict_inline_eval)? {
        _ if request.approved || request.plan.is_some() => bound(machine, request)?,
        None => received(machine, request),
        Some(Execution { argv, program }) => Admitted {
            argv,
            program,
            ..received(machine, request)
        },
    };
    if request.screen_recording {
        let message = "PERMISSION_MISSING: screenRecording".to_owned();
        return Err(Denial {
            reason: Reason::ScreenRecording,
            message,
        });
    }
    Ok(admitted)
}

/// `None` when policy or approval lets the command run as received; else only the allowlist does, and
/// exactly what it judged must be executed.
fn judge_command(
    machine: &Machine,
    request: &Request,
    policy: &Effective<'_>,
    strict_inline_eval: bool,
) -> Result<Option<Execution>, Denial> {
    let home = machine.home.as_deref();
    let context = Context {
        cwd: &request.command.directory(&machine.cwd),
        home,
        programs: &Disk {
            path: &machine.path,
            home,
        },
        skills: &[],
        safe_bins: &SafeBins::default(),
    };
    let assessment = assess(&request.command.argv, policy, &context);
    let question = Question {
        policy,
        assessment: &assessment,
        approved: request.approved,
        strict_inline_eval,
        remote: None,
    };
    match decide(&question) {
        Verdict::Refuse(denial) => Err(denial),
        Verdict::Run { listed: false } => Ok(None),
        Verdict::Run { listed: true } => Ok(assessment.execution),
    }
}

fn received(machine: &Machine, request: &Request) -> Admitted {
    let command = &request.command;
    let directory = command.directory(&machine.cwd);
    let program = command.argv.first().map_or("", String::as_str);
    Admitted {
        argv: command.argv.clone(),
        program: which::resolve(program, &directory, &machine.path, machine.home.as_deref()),
        cwd: command.cwd.as_ref().map(|_| directory),
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
        operand,
    } = bind(machine, &request.command).map_err(Denial::approval)?;
    if let Some(plan) = &request.plan {
        let cwd = directory
            .as_ref()
            .map_or(machine.cwd.as_path(), |directory| &directory.path);
        match (&plan.operand, operand) {
            (None, None) => {}
            (None, Some(_)) => {
                let message = "SYSTEM_RUN_DENIED: approval missing script operand binding";
                return Err(Denial::approval(message));
            }
            (Some(planned), _) if planned.is_unchanged(&argv, cwd) => {}
            (Some(_), _) => {
                let message = "SYSTEM_RUN_DENIED: approval script operand changed before execution";
                return Err(Denial::approval(message));
            }
        }
    }
    let program = argv.first().map_or("", String::as_str);
    let cwd = directory.as_ref().map(|directory| directory.path.clone());
    let from = cwd.as_deref().unwrap_or(&machine.cwd);
    let program = which::resolve(program, from, &machine.path, machine.home.as_deref());
    if let Some(directory) = &directory {
        directory
            .recheck()
            .map_err(|fault| Denial::approval(fault.to_string()))?;
    }
    Ok(Admitted { argv, program, cwd })
}

impl Admitted {
    fn start(self, machine: &Machine, request: &Request, unwrapped: &Unwrapped<'_>) -> Outcome {
        let environment = child_environment(
            machine.variables(),
            &request.overrides,
            unwrapped.is_shell(),
            &machine.path,
        );
        let launch = Launch {
            program: self.program,
            argv: self.argv,
            cwd: self.cwd,
            environment,
            timeout: request.timeout,
        };
        runner::run(&launch, &machine.children)
    }
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
