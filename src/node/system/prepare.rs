//! `system.run.prepare`: the plan that an approval will be bound to (node-host specification, 2.4).
//!
//! Runs nothing, tells nobody. With `"check": true`, which is ours, it also says what the policy would do
//! with the command, and a command that cannot be bound is no error.

use std::fmt;

use serde_json::{Value, json};

use super::judged::judged;
use super::params::CommandParams;
use crate::exec::command::preview;
use crate::exec::operand::{self, BindFault, Operand};
use crate::exec::plan::{Directory, HardeningFault, Plan, pin};
use crate::exec::wrapper::unwrap;
use crate::exec::{shown, shown_broken};
use crate::node::environment::Variables;
use crate::node::machine::Machine;
use crate::protocol::command_text::format_command;
use crate::protocol::error::ErrorShape;
use crate::protocol::hidden::visible;

/// Answers `system.run.prepare`.
pub fn prepare(machine: &Machine, params: &Value) -> Result<Value, ErrorShape> {
    let check = params.get("check") == Some(&Value::Bool(true));
    let params = CommandParams::parse(params)?;
    if !check {
        let plan = plan(machine, params).map_err(ErrorShape::invalid)?;
        return Ok(json!({ "plan": plan.to_value() }));
    }
    let policy = judged(
        machine,
        &params,
        &Variables::new(),
        false,
        |question, verdict| shown(question, &verdict),
    );
    let mut policy = policy.unwrap_or_else(|denial| shown_broken(&denial));
    let directory = params.directory(&machine.cwd);
    if policy["verdict"] == "run" && !directory.is_dir() {
        let shown = visible(&directory.to_string_lossy());
        policy["startFault"] = format!("there is no directory {shown}").into();
    }
    Ok(match plan(machine, params) {
        Ok(plan) => json!({"plan": plan.to_value(), "policy": policy}),
        Err(fault) => json!({"plan": null, "planError": fault, "policy": policy}),
    })
}

/// The plan of a command; the error is the wire message.
fn plan(machine: &Machine, params: CommandParams) -> Result<Plan, String> {
    let bound = bind(machine, &params).map_err(|fault| fault.to_string())?;
    let command_text = format_command(&bound.argv);
    let command_preview = preview(&unwrap(&bound.argv)).filter(|text| *text != command_text);
    Ok(Plan {
        command_text,
        command_preview,
        cwd: bound
            .directory
            .map(|directory| directory.path.to_string_lossy().into_owned()),
        argv: bound.argv,
        agent_id: params.agent_id,
        session_key: params.session_key,
        operand: bound.operand,
    })
}

/// A command bound to what it would run now.
#[derive(Debug)]
pub struct Bound {
    /// The argv with its program pinned where it can be.
    pub argv: Vec<String>,
    /// The working directory, if one was asked for.
    pub directory: Option<Directory>,
    /// The script an interpreter will read.
    pub operand: Option<Operand>,
}

/// Why a command cannot be bound; Display is the wire message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unbound {
    /// Its directory or program.
    Place(HardeningFault),
    /// Its script.
    Script(BindFault),
}

impl From<HardeningFault> for Unbound {
    fn from(fault: HardeningFault) -> Self {
        Self::Place(fault)
    }
}

impl From<BindFault> for Unbound {
    fn from(fault: BindFault) -> Self {
        Self::Script(fault)
    }
}

impl fmt::Display for Unbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Place(fault) => fault.fmt(f),
            Self::Script(fault) => fault.fmt(f),
        }
    }
}

/// Binds a command.
pub fn bind(machine: &Machine, params: &CommandParams) -> Result<Bound, Unbound> {
    let directory = match &params.cwd {
        Some(_) => {
            let path = params.directory(&machine.cwd);
            Some(Directory::bind(&path)?)
        }
        None => None,
    };
    let cwd = directory
        .as_ref()
        .map_or(machine.cwd.as_path(), |directory| &directory.path);
    let unwrapped = unwrap(&params.argv);
    let argv = pin(
        &params.argv,
        &unwrapped,
        cwd,
        &machine.path,
        machine.home.as_deref(),
    )?;
    // A name and what it resolves to may differ (`py` and `python3.11`): either may be an interpreter.
    let as_typed = operand::find(&unwrapped, cwd)?;
    let as_pinned = operand::find(&unwrap(&argv), cwd)?;
    Ok(Bound {
        operand: as_typed.or(as_pinned),
        argv,
        directory,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::sha256_hex;
    use crate::node::testing::{TempDir, machine, policy};

    #[test]
    fn plans_pin_program_directory_and_script() {
        let dir = TempDir::new();
        std::fs::write(dir.path().join("s.sh"), "echo hi").unwrap();
        let machine = machine(&dir);
        let cwd = dir.path().to_str().unwrap();
        let shell = std::fs::canonicalize("/bin/sh")
            .unwrap()
            .display()
            .to_string();
        let params = json!({"command": ["/bin/sh", "s.sh"], "cwd": cwd, "agentId": "a"});
        assert_eq!(
            prepare(&machine, &params).unwrap(),
            json!({"plan": {
                "argv": [shell, "s.sh"], "cwd": cwd, "commandText": format!("{shell} s.sh"),
                "commandPreview": null, "agentId": "a", "sessionKey": null,
                "mutableFileOperand": {
                    "argvIndex": 1, "path": dir.path().join("s.sh"), "sha256": sha256_hex(b"echo hi"),
                },
            }})
        );
        let params = json!({"command": ["sh", "-c", "echo  hi"]});
        let plan = prepare(&machine, &params).unwrap();
        assert_eq!(plan["plan"]["commandPreview"], "echo  hi");
        assert_eq!(plan["plan"]["cwd"], Value::Null);
        assert!(plan["plan"].get("mutableFileOperand").is_none());
    }

    #[test]
    fn a_check_says_what_the_policy_would_do() {
        let dir = TempDir::new();
        let machine = machine(&dir);
        policy(
            &dir,
            r#"{"version":1,"agents":{"*":{"allowlist":[{"pattern":"echo"}]}}}"#,
        );
        let check = |command: Value| prepare(&machine, &json!({"command": command, "check": true}));
        let allowed = check(json!(["echo", "x"])).unwrap();
        assert_eq!(
            allowed["policy"],
            json!({"verdict": "run", "security": "allowlist", "securitySource": "the default, nothing is set",
                "ask": "on-miss", "askSource": "the default, nothing is set", "analysisOk": true,
                "segments": [{"argv": ["echo", "x"], "path": "/usr/bin/echo", "by": "allowlist",
                    "pattern": "echo", "agent": "*"}]})
        );
        assert_eq!(allowed["plan"]["argv"][1], "x");
        policy(&dir, r#"{"version":1,"defaults":{"security":"full"}}"#);
        let fault =
            |params: Value| prepare(&machine, &params).unwrap()["policy"]["startFault"].clone();
        for (params, expected) in [
            (json!({"command": ["echo"], "check": true}), Value::Null),
            (
                json!({"command": ["no-such"], "check": true}),
                json!("there is no program no-such"),
            ),
            (
                json!({"command": ["/etc/passwd"], "check": true}),
                json!("/etc/passwd is no executable file"),
            ),
            (
                json!({"command": ["echo"], "cwd": "/no/such", "check": true}),
                json!("there is no directory /no/such"),
            ),
        ] {
            assert_eq!(fault(params.clone()), expected, "{params}");
        }
        policy(
            &dir,
            r#"{"version":1,"agents":{"*":{"allowlist":[{"pattern":"echo"}]}}}"#,
        );
        let refused = check(json!(["python3", "-c", "1"])).unwrap();
        assert_eq!(refused["plan"], Value::Null);
        assert!(
            refused["planError"]
                .as_str()
                .unwrap()
                .starts_with("SYSTEM_RUN_DENIED: approval ")
        );
        let told = &refused["policy"];
        assert_eq!(
            (&told["verdict"], &told["reason"]),
            (&json!("refuse"), &json!("approval-required"))
        );
        assert_eq!(told["segments"][0]["by"], Value::Null);
        assert!(told["segments"][0]["miss"].is_string() && told["message"].is_string());
        let refused = check(json!(["/usr/bin/env"])).unwrap();
        assert_eq!(
            refused["policy"]["allowWith"],
            "openclaw approvals allowlist add /usr/bin/env"
        );
        policy(&dir, "{");
        let broken = check(json!(["echo"])).unwrap();
        assert_eq!(broken["policy"]["reason"], "security=deny");
        assert!(check(json!([])).is_err());
    }

    #[test]
    fn an_applet_that_no_approval_can_bind_is_allowed_by_a_rule() {
        let dir = TempDir::new();
        let mut machine = machine(&dir);
        machine.path = dir.path().display().to_string();
        std::fs::copy("/bin/true", dir.path().join("busybox")).unwrap();
        std::os::unix::fs::symlink("busybox", dir.path().join("ls")).unwrap();
        let params = json!({"command": ["ls"], "check": true});
        let checked = prepare(&machine, &params).unwrap();
        let fault = "SYSTEM_RUN_DENIED: approval cannot safely bind this interpreter/runtime command (it is an applet \
             of busybox or toybox: call it by its own name, and allow it by a rule)";
        assert_eq!(checked["planError"], fault);
        let rule = dir.path().join("ls").display().to_string();
        let line = format!("openclaw approvals allowlist add {rule}");
        assert_eq!(checked["policy"]["allowWith"], line);
        let message = checked["policy"]["message"].as_str().unwrap();
        assert!(
            message.ends_with("; no approval can be bound to it"),
            "{message}"
        );
        policy(
            &dir,
            &json!({"version": 1, "agents": {"*": {"allowlist": [rule]}}}).to_string(),
        );
        assert_eq!(
            prepare(&machine, &params).unwrap()["policy"]["verdict"],
            "run"
        );
    }

    #[test]
    fn what_cannot_be_bound_is_refused() {
        let dir = TempDir::new();
        let machine = machine(&dir);
        let cases = [
            (json!({"command": []}), "command required"),
            (
                json!({"command": ["ls"], "cwd": "/no/such/place"}),
                "SYSTEM_RUN_DENIED: approval requires an existing canonical cwd",
            ),
            (
                json!({"command": ["no-such-program"]}),
                "SYSTEM_RUN_DENIED: approval requires a stable executable path",
            ),
            (
                json!({"command": ["sh", "-c", "./s.sh"]}),
                "SYSTEM_RUN_DENIED: approval cannot safely bind this interpreter/runtime command",
            ),
            (
                json!({"command": ["sh", "gone.sh"]}),
                "SYSTEM_RUN_DENIED: approval requires an existing script operand",
            ),
        ];
        for (params, message) in cases {
            assert_eq!(
                prepare(&machine, &params),
                Err(ErrorShape::invalid(message)),
                "{params}"
            );
        }
    }
}
