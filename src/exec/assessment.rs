//! What a command would run, and which rule covers each part of it (node-host specification, 3.4–3.8).
//!
//! Pure but for the looks behind [`Programs`]: command, policy and context in, an [`Assessment`] out. It
//! decides nothing; [`decide`](super::decide) does, from this and the policy's values.

use std::path::{Path, PathBuf};

use super::allowlist::{Candidate, Judgement, judge};
use super::document::Entry;
use super::inline::inline_evaluation;
use super::miss::Miss;
use super::policy::Effective;
use super::programs::Programs;
use super::safe_bins::SafeBins;
use super::which::Unresolved;
use super::wrapper::unwrap;

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
    /// Why the command could not be read to its end; `None` when it could.
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
    /// The command was read to its end.
    pub fn analysis_ok(&self) -> bool {
        self.fault.is_none() && !self.segments.is_empty()
    }

    /// Every program it would start is covered.
    pub fn satisfied(&self) -> bool {
        self.analysis_ok() && self.segments.iter().all(|segment| segment.cover.is_ok())
    }

    /// The first reason why it is not satisfied.
    pub fn miss(&self) -> Option<&Miss> {
        let missed = |segment: &'_ Segment<'a>| segment.cover.is_err();
        let first = self.segments.iter().find(|segment| missed(segment));
        self.fault
            .as_ref()
            .or_else(|| first.and_then(|segment| segment.cover.as_ref().err()))
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
        let misses = self.segments.iter().filter_map(|s| s.cover.as_ref().err());
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
    let program = unwrapped.effective.first().map_or("", String::as_str);
    let resolved = context.programs.resolve(program, context.cwd);
    let candidate = Candidate {
        unwrapped: &unwrapped,
        resolved: resolved.clone(),
        home: context.home,
    };
    let cover = match judge(&candidate, &policy.allowlist) {
        Judgement::Allowed { entry, index } => Ok(Cover::Rule { entry, index }),
        Judgement::Missed(miss) => Err(miss),
    };
    let program = match &resolved {
        Ok(path) => context.programs.canonical(path).map(Ok),
        Err(unresolved) => Some(Err(*unresolved)),
    };
    Assessment {
        payload: unwrapped.payload().is_some(),
        fault: None,
        segments: vec![Segment {
            argv: unwrapped.effective.to_vec(),
            path: resolved.ok(),
            blocked: unwrapped.blocked,
            cover,
            inner: Vec::new(),
        }],
        durable: false,
        inline_evaluation: inline_evaluation(&unwrapped),
        execution: program.map(|program| Execution {
            argv: unwrapped.effective.to_vec(),
            program,
        }),
    }
}
