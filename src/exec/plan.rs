//! The plan of a run: which argv, in which directory, with which script, an approval is bound to.
//!
//! Building a plan and checking a run against it use the same hardening (node-host specification,
//! sections 2.4 and 3.9). Looks at the file system, never runs anything. What cannot be bound for certain
//! is refused.

use std::fmt;
use std::fs::Metadata;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, Mode, OFlags, access, fstat, open};
use serde_json::{Map, Value};

use super::command::preview;
use super::operand::Operand;
use super::which;
use super::wrapper::{Unwrapped, unwrap};
use crate::protocol::command_text::format_command;

/// What a command can be bound to; also the record a gateway stores and sends back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// The argv, with the program pinned where it can be.
    pub argv: Vec<String>,
    /// The canonical working directory.
    pub cwd: Option<String>,
    /// The argv as one line.
    pub command_text: String,
    /// The short text when it differs from the line.
    pub command_preview: Option<String>,
    /// The agent the plan is for.
    pub agent_id: Option<String>,
    /// The session the plan is for.
    pub session_key: Option<String>,
    /// The one local script an interpreter will read.
    pub operand: Option<Operand>,
}

impl Plan {
    /// The wire form; `mutableFileOperand` is left out when there is none.
    pub fn to_value(&self) -> Value {
        let text = |value: &Option<String>| value.clone().map_or(Value::Null, Value::String);
        let mut plan = Map::new();
        plan.insert("argv".to_owned(), self.argv.clone().into());
        plan.insert("cwd".to_owned(), text(&self.cwd));
        plan.insert("commandText".to_owned(), self.command_text.clone().into());
        plan.insert("commandPreview".to_owned(), text(&self.command_preview));
        plan.insert("agentId".to_owned(), text(&self.agent_id));
        plan.insert("sessionKey".to_owned(), text(&self.session_key));
        if let Some(operand) = &self.operand {
            plan.insert("mutableFileOperand".to_owned(), operand.to_value());
        }
        Value::Object(plan)
    }

    /// Reads a plan that came back; `None` when it is none, or when its text is not that of its argv.
    /// `rawCommand` may stand for `commandText`; the preview is what the argv says, not what was sent.
    pub fn parse(value: &Value) -> Option<Self> {
        let plan = value.as_object()?;
        let text = |name: &str| plan.get(name).and_then(Value::as_str).map(str::to_owned);
        let argv = plan.get("argv")?.as_array()?;
        let argv: Option<Vec<String>> = argv
            .iter()
            .map(|word| word.as_str().map(str::to_owned))
            .collect();
        let argv = argv.filter(|argv| !argv.is_empty())?;
        // What a person is shown and what would run are one thing, whoever wrote the plan.
        let command_text = text("commandText").or_else(|| text("rawCommand"))?;
        if command_text.trim() != format_command(&argv).trim() {
            return None;
        }
        let shorter = preview(&unwrap(&argv)).filter(|shorter| *shorter != command_text);
        let operand = match plan.get("mutableFileOperand") {
            None | Some(Value::Null) => None,
            Some(operand) => Some(Operand::parse(operand)?),
        };
        Some(Self {
            cwd: text("cwd"),
            command_text,
            command_preview: shorter,
            argv,
            agent_id: text("agentId"),
            session_key: text("sessionKey"),
            operand,
        })
    }
}

/// Why a command cannot be bound; Display is the wire message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HardeningFault {
    /// The working directory was replaced between judging and starting.
    CwdChanged,
    /// The working directory is not what its name resolves to.
    CwdIdentity,
    /// The working directory is itself a link.
    CwdIsLink,
    /// A link that we could replace leads to the working directory.
    CwdThroughLink,
    /// There is no such directory.
    NoCwd,
    /// The working directory is something else.
    NotDirectory,
    /// The program cannot be found.
    NoStableExecutable,
}

impl fmt::Display for HardeningFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self {
            Self::CwdChanged => "approval cwd changed before execution",
            Self::CwdIdentity => "approval cwd identity mismatch",
            Self::CwdIsLink => "approval requires canonical cwd (no symlink cwd)",
            Self::CwdThroughLink => "approval requires canonical cwd (no symlink path components)",
            Self::NoCwd => "approval requires an existing canonical cwd",
            Self::NotDirectory => "approval requires cwd to be a directory",
            Self::NoStableExecutable => "approval requires a stable executable path",
        };
        write!(f, "SYSTEM_RUN_DENIED: {what}")
    }
}

impl std::error::Error for HardeningFault {}

/// What is needed to enter a directory: on Linux not even the permission to list it.
#[cfg(target_os = "linux")]
const ENTER: OFlags = OFlags::PATH;
#[cfg(not(target_os = "linux"))]
const ENTER: OFlags = OFlags::RDONLY;

/// A working directory and which directory it was when it was judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directory {
    /// The canonical path.
    pub path: PathBuf,
    identity: (u64, u64),
}

impl Directory {
    /// Accepts an absolute path that leads to a directory without links somebody like us could replace.
    pub fn bind(path: &Path) -> Result<Self, HardeningFault> {
        // `lstat` follows a link that is written with a slash behind it, so the path goes without.
        let path = &path.components().collect::<PathBuf>();
        let target = path.metadata().map_err(|_| HardeningFault::NoCwd)?;
        if !target.is_dir() {
            return Err(HardeningFault::NotDirectory);
        }
        for component in path.ancestors() {
            let Ok(metadata) = component.symlink_metadata() else {
                continue;
            };
            if metadata.is_symlink() && component.parent().is_some_and(is_ours) {
                return Err(HardeningFault::CwdThroughLink);
            }
        }
        let itself = path.symlink_metadata().map_err(|_| HardeningFault::NoCwd)?;
        if itself.is_symlink() {
            return Err(HardeningFault::CwdIsLink);
        }
        let canonical = path.canonicalize().map_err(|_| HardeningFault::NoCwd)?;
        let resolved = canonical.metadata().map_err(|_| HardeningFault::NoCwd)?;
        let identity = identity(&itself);
        if identity != self::identity(&target) || identity != self::identity(&resolved) {
            return Err(HardeningFault::CwdIdentity);
        }
        Ok(Self {
            path: canonical,
            identity,
        })
    }

    /// Opens the directory right before a start, if the path still leads to the same one. Who enters
    /// through the descriptor is in the directory that was judged, whatever happens to the path.
    pub fn hold(&self) -> Result<OwnedFd, HardeningFault> {
        let flags = ENTER | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let held = open(&self.path, flags, Mode::empty());
        let held = held.map_err(|_| HardeningFault::CwdChanged)?;
        let found = fstat(&held).map_err(|_| HardeningFault::CwdChanged)?;
        // The fields' types differ between systems; the numbers are those of the metadata.
        #[allow(clippy::unnecessary_cast)]
        let found = (found.st_dev as u64, found.st_ino as u64);
        if found == self.identity {
            Ok(held)
        } else {
            Err(HardeningFault::CwdChanged)
        }
    }
}

/// The argv with its program replaced by the canonical path of what it resolves to. A shell with an
/// inline script and a wrapped command are left as they are.
pub fn pin(
    argv: &[String],
    unwrapped: &Unwrapped<'_>,
    cwd: &Path,
    path: &str,
    home: Option<&Path>,
) -> Result<Vec<String>, HardeningFault> {
    let mut pinned = argv.to_vec();
    if unwrapped.payload().is_some() || unwrapped.wrappers > 0 {
        return Ok(pinned);
    }
    let program = pinned
        .first_mut()
        .ok_or(HardeningFault::NoStableExecutable)?;
    let resolved = which::resolve(program, cwd, path, home)
        .ok()
        .and_then(|resolved| resolved.canonicalize().ok())
        .and_then(|resolved| resolved.into_os_string().into_string().ok());
    *program = resolved.ok_or(HardeningFault::NoStableExecutable)?;
    Ok(pinned)
}

/// True for a file or directory that this user could change or make changeable.
pub fn is_ours(path: &Path) -> bool {
    let owner = path.metadata().map(|metadata| metadata.uid());
    access(path, Access::WRITE_OK).is_ok()
        || owner.is_ok_and(|owner| owner == rustix::process::geteuid().as_raw())
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use serde_json::json;

    use super::*;
    use crate::exec::testing::TempDir;
    use crate::exec::wrapper::unwrap;

    #[test]
    fn working_directories_are_bound_to_what_they_are() {
        let dir = TempDir::new();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir_all(at("real/inner")).unwrap();
        std::fs::write(at("file"), "").unwrap();
        symlink(at("real"), at("link")).unwrap();
        let cases = [
            ("real/inner", None),
            ("gone", Some(HardeningFault::NoCwd)),
            ("file", Some(HardeningFault::NotDirectory)),
            ("link", Some(HardeningFault::CwdThroughLink)),
            ("link/inner", Some(HardeningFault::CwdThroughLink)),
            ("link/", Some(HardeningFault::CwdThroughLink)),
            ("link/.", Some(HardeningFault::CwdThroughLink)),
            ("link//", Some(HardeningFault::CwdThroughLink)),
            ("link/inner/..", Some(HardeningFault::CwdThroughLink)),
            ("real/", None),
        ];
        for (name, fault) in cases {
            assert_eq!(Directory::bind(&at(name)).err(), fault, "{name}");
        }
        let bound = Directory::bind(&at("real/inner")).unwrap();
        assert!(bound.hold().is_ok());
        std::fs::rename(at("real/inner"), at("real/old")).unwrap();
        assert_eq!(bound.hold().err(), Some(HardeningFault::CwdChanged));
        std::fs::create_dir(at("real/inner")).unwrap();
        assert_eq!(bound.hold().err(), Some(HardeningFault::CwdChanged));
        std::fs::remove_dir(at("real/inner")).unwrap();
        symlink("old", at("real/inner")).unwrap();
        assert_eq!(bound.hold().err(), Some(HardeningFault::CwdChanged));
        assert_eq!(
            HardeningFault::CwdIsLink.to_string(),
            "SYSTEM_RUN_DENIED: approval requires canonical cwd (no symlink cwd)"
        );
    }

    #[test]
    fn programs_are_pinned_unless_a_shell_or_wrapper_runs_them() {
        let dir = TempDir::new();
        let real = dir.path().join("tool-1.2");
        std::fs::copy("/bin/true", &real).unwrap();
        symlink("tool-1.2", dir.path().join("tool")).unwrap();
        let path = dir.path().display().to_string();
        let real = real.display().to_string();
        let cases = [
            (vec!["tool", "x"], Ok(vec![real.as_str(), "x"])),
            (vec!["./tool"], Ok(vec![real.as_str()])),
            (vec!["absent"], Err(HardeningFault::NoStableExecutable)),
            (vec!["sh", "-c", "x"], Ok(vec!["sh", "-c", "x"])),
            (vec!["nice", "absent"], Ok(vec!["nice", "absent"])),
        ];
        for (argv, expected) in cases {
            let argv: Vec<String> = argv.into_iter().map(str::to_owned).collect();
            let pinned = pin(&argv, &unwrap(&argv), dir.path(), &path, None);
            let expected = expected.map(|argv| argv.into_iter().map(str::to_owned).collect());
            assert_eq!(pinned, expected, "{argv:?}");
        }
    }

    #[test]
    fn plans_survive_the_wire() {
        let plan = json!({"argv":["/usr/bin/python3.11","s.py"],"cwd":"/w",
            "commandText":"/usr/bin/python3.11 s.py","commandPreview":null,"agentId":null,"sessionKey":"k",
            "mutableFileOperand":{"argvIndex":1,"path":"/w/s.py","sha256":"ab"}});
        assert_eq!(Plan::parse(&plan).unwrap().to_value(), plan);
        let raw = json!({"argv":["ls"],"rawCommand":"ls"});
        assert_eq!(Plan::parse(&raw).unwrap().command_text, "ls");
        for bad in [
            json!({"argv":[],"commandText":""}),
            json!({"argv":["ls"]}),
            json!({"argv":[1],"commandText":"1"}),
            json!({"argv":["sh","s"],"commandText":"sh s","mutableFileOperand":{"argvIndex":1}}),
            json!([]),
        ] {
            assert_eq!(Plan::parse(&bad), None, "{bad}");
        }
    }

    #[test]
    fn a_plan_whose_text_is_not_its_argv_is_none() {
        let plan = |argv: serde_json::Value, text: &str| {
            let value = serde_json::json!({"argv": argv, "cwd": null, "commandText": text,
                "commandPreview": "something harmless"});
            Plan::parse(&value).map(|plan| (plan.command_text, plan.command_preview))
        };
        let evil = serde_json::json!(["/tmp/evil/sh", "-c", "echo hi"]);
        assert_eq!(plan(evil.clone(), "echo hi"), None);
        let text = "/tmp/evil/sh -c \"echo hi\"";
        let shown = (text.to_owned(), Some("echo hi".to_owned()));
        assert_eq!(plan(evil, text), Some(shown));
        let shown = ("ls -l".to_owned(), None);
        assert_eq!(plan(serde_json::json!(["ls", "-l"]), "ls -l"), Some(shown));
    }
}
