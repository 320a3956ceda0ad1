//! What an approval that is to stick allows from then on (node-host specification, section 3.10).
//!
//! Rules name programs by their path, never an interpreter, a shell or a program that starts others, be it by an
//! option: such a rule would allow whatever they can be told to run. What cannot be said by paths is said by the one command
//! line that was approved, in its directory and with its script.

use std::path::Path;

use super::assessment::{Assessment, Segment};
use super::bound_line::BoundLine;
use super::document::{EVERY_AGENT, FORMER_MAIN_AGENT};
use super::programs::Programs;
use super::shell;
use super::starters::{FAMILIES, INTERPRETERS, STARTERS, STARTERS_BY_OPTION};
use super::wrapper::{base_name, is_wrapper};

/// The patterns of the rules that an approval of this command adds: a path for each program it would start
/// that may be named, and that of its line where they are not all, so that what was to stick does; none where
/// neither says for certain what was approved.
pub fn lasting_patterns(
    assessment: &Assessment<'_>,
    line: &BoundLine,
    programs: &dyn Programs,
) -> Vec<String> {
    let mut patterns = Vec::new();
    let mut all_named = assessment.analysis_ok();
    if all_named {
        for segment in &assessment.segments {
            all_named &= collect(segment, programs, &mut patterns);
        }
    }
    if !all_named {
        patterns.extend(line.pattern());
    }
    patterns
}

/// Whether rules may be added under an agent key that a run names: not under the key of every agent, nor under
/// a name that means another agent.
pub fn holds_lasting_rules(agent: &str) -> bool {
    agent != EVERY_AGENT && agent != FORMER_MAIN_AGENT
}

/// Adds the paths of a segment's programs; whether all of them may be named.
fn collect(segment: &Segment<'_>, programs: &dyn Programs, patterns: &mut Vec<String>) -> bool {
    if segment.blocked {
        return false;
    }
    if !segment.inner.is_empty() {
        let inner = segment.inner.iter();
        let unnamed = inner.filter(|inner| !collect(inner, programs, patterns));
        return unnamed.count() == 0;
    }
    let path = segment.path.as_deref();
    let named = |path: &&Path| {
        !starts_others(path, programs) && !leads_to(path, programs, &[starts_by_option])
    };
    let path = path.filter(named);
    // A path with such a character would mean other programs too.
    let pattern = path.and_then(Path::to_str);
    let Some(pattern) = pattern.filter(|pattern| !pattern.contains(['*', '?'])) else {
        return false;
    };
    if !patterns.iter().any(|known| known == pattern) {
        patterns.push(pattern.to_owned());
    }
    true
}

/// Whether this program is there to run what it is told: an interpreter, a shell or a wrapper. A link of another
/// name to an interpreter is one too; a wrapper behind a link is not (a program of busybox's collection is what its
/// own name says).
pub fn starts_others(path: &Path, programs: &dyn Programs) -> bool {
    is_named(path, &[is_wrapper])
        || leads_to(
            path,
            programs,
            &[is_interpreter, is_starter, shell::is_shell],
        )
}

/// Whether a program of this name runs what its arguments or its input say: a shell, an interpreter, or one that
/// starts others. A rule for it allows whatever it can be told.
pub fn runs_what_it_is_told(name: &str) -> bool {
    is_named(
        Path::new(name),
        &[
            is_wrapper,
            is_interpreter,
            is_starter,
            starts_by_option,
            shell::is_shell,
        ],
    )
}

/// Whether a program of this name runs what a file says.
pub fn interprets(program: &Path) -> bool {
    is_named(program, &[is_interpreter])
}

fn is_interpreter(name: &str) -> bool {
    INTERPRETERS.contains(&name) || FAMILIES.iter().any(|family| name.starts_with(family))
}

fn is_starter(name: &str) -> bool {
    STARTERS.contains(&name)
}

fn starts_by_option(name: &str) -> bool {
    STARTERS_BY_OPTION.contains(&name)
}

/// Whether a program, or what it is a link to, is of one of these kinds.
fn leads_to(path: &Path, programs: &dyn Programs, kinds: &[fn(&str) -> bool]) -> bool {
    let canonical = programs.canonical(path);
    is_named(path, kinds) || canonical.is_some_and(|path| is_named(&path, kinds))
}

/// Whether a file's name, with or without the version behind it, is of one of these kinds. What has no readable
/// name is of every kind.
fn is_named(path: &Path, kinds: &[fn(&str) -> bool]) -> bool {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
        return true;
    };
    let name = base_name(name);
    let version = |mark: char| mark.is_ascii_digit() || matches!(mark, '.' | '-');
    let family = name.trim_end_matches(version);
    kinds.iter().any(|is| is(&name) || is(family))
}

#[cfg(test)]
#[path = "lasting_tests.rs"]
mod tests;
