//! What a command would run, and which rule covers each part of it (node-host specification, 3.4–3.8).
//!
//! Pure but for the looks behind [`Programs`]: command, policy and context in, an [`Assessment`] out. It
//! decides nothing; [`decide`](super::decide) does, from this and the policy's values.

use std::path::{Path, PathBuf};

use super::bound_line::BoundLine;
use super::document::Entry;
use super::judge::{Judge, Opened};
use super::miss::Miss;
use super::policy::Effective;
use super::programs::Programs;
use super::safe_bins::SafeBins;
use super::script::Word;
use super::which::Unresolved;
use super::wrapper::{Unwrapped, base_name, unwrap};
use crate::protocol::command_text::format_command;
use crate::protocol::hidden::visible;

/// What the meaning of a command depends on besides its words and the policy.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// Where the command would run, absolute.
    pub cwd: &'a Path,
    /// What `~` means in a rule.
    pub home: Option<&'a Path>,
    /// Where programs are looked up.
    pub programs: &'a dyn Programs,
    /// Programs of skills by name and path; empty unless the policy lets skills count.
    pub skills: &'a [(String, PathBuf)],
    /// Filters that may run without a rule.
    pub safe_bins: &'a SafeBins,
    /// What the command is bound to, for rules that mean one line.
    pub line: &'a BoundLine,
    /// Names of variables that its caller sets and that may change what it does: what is covered without them is
    /// not with them.
    pub variables: &'a [&'a str],
}

/// What covers a segment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cover<'a> {
    /// Every command of the shell script it runs is covered.
    Inner,
    /// A rule.
    Rule {
        /// The rule.
        entry: &'a Entry,
        /// Its place in the effective allowlist, from 0.
        index: usize,
    },
    /// A filter that reads its input only.
    SafeBin,
    /// A skill's program.
    Skill,
}

/// One program a command would start.
#[derive(Debug, Clone, PartialEq)]
pub struct Segment<'a> {
    /// Its words, with quotes taken off.
    pub argv: Vec<String>,
    /// What a rule has to name: the program as it was found, or the script or the program that a shell
    /// is handed. `None` when there is no such file, or when its parts are judged instead.
    pub path: Option<PathBuf>,
    /// No rule, filter or skill can cover it, whatever it says.
    pub blocked: bool,
    /// What covers it, or why nothing does.
    pub cover: Result<Cover<'a>, Miss>,
    /// The commands of the script it runs, when it is a shell with one.
    pub inner: Vec<Segment<'a>>,
    /// What in it evaluates text as a program, as `tools.exec.strictInlineEval` names it (section 3.11).
    pub inline_evaluation: Option<String>,
}

impl<'a> Segment<'a> {
    /// The rules it uses, its inner commands' included.
    pub fn rules(&self) -> Vec<&'a Entry> {
        let own = match self.cover {
            Ok(Cover::Rule { entry, .. }) => Some(entry),
            _ => None,
        };
        let inner = self.inner.iter().flat_map(Segment::rules);
        own.into_iter().chain(inner).collect()
    }
}

impl Segment<'_> {
    /// Why it is not covered, each of its inner commands by itself.
    fn misses(&self) -> Vec<&Miss> {
        if self.inner.is_empty() {
            return self.cover.as_ref().err().into_iter().collect();
        }
        self.inner.iter().flat_map(Segment::misses).collect()
    }
}

/// What exactly a command runs that only the allowlist permits (section 3.12).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Execution {
    /// The words, without wrappers.
    pub argv: Vec<String>,
    /// The file to execute, links followed; or why there is none.
    pub program: Result<PathBuf, Unresolved>,
}

/// What a command would run and what covers it.
#[derive(Debug, Clone, PartialEq)]
pub struct Assessment<'a> {
    /// The command is a shell with an inline script, whose commands are the segments.
    pub payload: bool,
    /// Why the command could not be read to its end, or nothing covers it as a whole; `None` when neither is so.
    pub fault: Option<Miss>,
    /// The programs it would start, in order; empty when it could not be read.
    pub segments: Vec<Segment<'a>>,
    /// An approval that was to stick covers it whatever the analysis says (section 3.10).
    pub durable: bool,
    /// What in it evaluates text as a program, as `tools.exec.strictInlineEval` names it
    /// (section 3.11); `None` when nothing does.
    pub inline_evaluation: Option<String>,
    /// What to execute when the allowlist permits it; `None` when that cannot be said for certain.
    pub execution: Option<Execution>,
}

impl<'a> Assessment<'a> {
    /// The command was read to its end, and its parts say what it does.
    pub fn analysis_ok(&self) -> bool {
        self.fault.is_none() && !self.segments.is_empty()
    }

    /// Every program it would start is covered.
    pub fn satisfied(&self) -> bool {
        self.analysis_ok() && self.segments.iter().all(|segment| segment.cover.is_ok())
    }

    /// Why it is not satisfied: the first reason that no rule could remove, else the first.
    pub fn miss(&self) -> Option<&Miss> {
        let misses: Vec<&Miss> = self.segments.iter().flat_map(Segment::misses).collect();
        let lasting = misses.iter().find(|miss| miss.pattern().is_none());
        let miss = lasting.or_else(|| misses.first()).copied();
        self.fault.as_ref().or(miss)
    }

    /// Why its program would not start, where that is known.
    pub fn start_fault(&self) -> Option<String> {
        let execution = self.execution.as_ref()?;
        let program = visible(execution.argv.first()?);
        match execution.program {
            Ok(_) => None,
            Err(Unresolved::NotExecutable) => Some(format!("{program} is no executable file")),
            Err(Unresolved::NotFound) => Some(format!("there is no program {program}")),
        }
    }

    /// The rules that cover it, in order, each as often as it is used.
    pub fn rules(&self) -> Vec<&'a Entry> {
        self.segments.iter().flat_map(Segment::rules).collect()
    }

    /// The patterns that would make it satisfied when they are added as rules; `None` where no rule can.
    pub fn allowing_patterns(&self) -> Option<Vec<String>> {
        if self.fault.is_some() {
            return None;
        }
        let misses = self.segments.iter().flat_map(Segment::misses);
        let patterns: Option<Vec<String>> = misses.map(Miss::pattern).collect();
        let mut patterns = patterns.filter(|patterns| !patterns.is_empty())?;
        patterns.sort_unstable();
        patterns.dedup();
        Some(patterns)
    }
}

/// Looks at what a command would run and what covers it.
pub fn assess<'a>(
    command: &[String],
    policy: &Effective<'a>,
    context: &Context<'_>,
) -> Assessment<'a> {
    let unwrapped = unwrap(command);
    let words: Vec<Word> = command.iter().map(|word| Word::literal(word)).collect();
    let judge = Judge { policy, context };
    let payload = unwrapped.payload().is_some();
    let (fault, segments) = if command.iter().any(|word| word.contains('\0')) {
        (Some(Miss::Nul), Vec::new())
    } else if payload {
        let opened = judge
            .starts_for_certain(&words, &unwrapped, None)
            .and_then(|()| judge.open(&words, &unwrapped, None));
        match opened {
            Ok(Opened::Script(segments)) => (None, segments),
            Ok(Opened::Path(_)) => (None, vec![judge.segment(&words, None)]),
            Err(miss) => (Some(miss), Vec::new()),
        }
    } else {
        (None, vec![judge.segment(&words, None)])
    };
    let hidden = fault.is_some().then(|| {
        let program = unwrapped.effective.first().map_or("", String::as_str);
        format!("{} -c", base_name(program))
    });
    let steered =
        || (!context.variables.is_empty()).then(|| Miss::Variables(context.variables.join(", ")));
    let mut inline = segments.iter();
    Assessment {
        payload,
        durable: is_durable(command, policy, context, &segments),
        inline_evaluation: inline
            .find_map(|segment| segment.inline_evaluation.clone())
            .or(hidden),
        execution: execution(command, &unwrapped, payload, context),
        fault: fault.or_else(steered),
        segments,
    }
}

/// The command line itself, or every program in it, was approved for good.
fn is_durable(
    command: &[String],
    policy: &Effective<'_>,
    context: &Context<'_>,
    segments: &[Segment<'_>],
) -> bool {
    let steered = !context.variables.is_empty();
    let text = (!steered).then(|| format_command(command));
    fn programs(segments: &[Segment<'_>]) -> bool {
        !segments.is_empty()
            && segments.iter().all(|segment| match segment.cover {
                Ok(Cover::Rule { entry, .. }) => entry.is_durable(),
                Ok(Cover::Inner) => programs(&segment.inner),
                Ok(Cover::SafeBin | Cover::Skill) | Err(_) => false,
            })
    }
    let line = policy
        .allowlist
        .iter()
        .any(|entry| context.line.is_trusted_by(entry, text.as_deref()));
    line || (!steered && programs(segments))
}

/// A shell with a script is executed as it was received; otherwise the program behind the wrappers is.
/// Its name stays the path it was found by: a program with many names goes by that, not by the file.
fn execution(
    command: &[String],
    unwrapped: &Unwrapped<'_>,
    payload: bool,
    context: &Context<'_>,
) -> Option<Execution> {
    let argv = if payload {
        command
    } else {
        unwrapped.effective
    };
    let typed = argv.first().map_or("", String::as_str);
    let mut argv = argv.to_vec();
    let program = match context.programs.resolve(typed, context.cwd) {
        Ok(path) => {
            let named = argv.first_mut().filter(|_| !payload);
            if let (Some(name), Some(path)) = (named, path.to_str()) {
                *name = path.to_owned();
            }
            Ok(context.programs.canonical(&path)?)
        }
        Err(unresolved) => Err(unresolved),
    };
    Some(Execution { argv, program })
}

#[cfg(test)]
#[path = "verdicts_tests.rs"]
mod tests;
