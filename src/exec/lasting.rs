//! What an approval that is to stick allows from then on (node-host specification, section 3.10).
//!
//! Rules name programs by their path, never an interpreter, a shell or a program that starts others: such a
//! rule would allow whatever they can be told to run. What cannot be said by paths is said by the one command
//! text that was approved.

use std::path::Path;

use super::assessment::{Assessment, Segment};
use super::document::{EVERY_AGENT, Entry, FORMER_MAIN_AGENT};
use super::programs::Programs;
use super::shell;
use super::wrapper::{base_name, is_wrapper};

/// Programs that run what their arguments or input say; versions behind the name do not matter.
const INTERPRETERS: [&str; 38] = [
    "awk",
    "bun",
    "bunx",
    "deno",
    "esno",
    "expect",
    "find",
    "gawk",
    "gmake",
    "gsed",
    "irb",
    "jiti",
    "julia",
    "lua",
    "luajit",
    "make",
    "mawk",
    "nawk",
    "node",
    "nodejs",
    "npm",
    "npx",
    "osascript",
    "perl",
    "php",
    "pnpm",
    "pypy",
    "python",
    "rscript",
    "ruby",
    "sed",
    "tclsh",
    "ts-node",
    "ts-node-esm",
    "tsx",
    "vite-node",
    "xargs",
    "yarn",
];

/// The patterns of the rules that an approval of this command adds: a path for each program it would start
/// that may be named, else the fingerprint of its text. `text`: the command as one line.
pub fn lasting_patterns(
    assessment: &Assessment<'_>,
    text: &str,
    programs: &dyn Programs,
) -> Vec<String> {
    let mut patterns = Vec::new();
    if assessment.analysis_ok() {
        for segment in &assessment.segments {
            collect(segment, programs, &mut patterns);
        }
    }
    if patterns.is_empty() {
        patterns.push(Entry::fingerprint(text));
    }
    patterns
}

/// Whether rules may be added under an agent key that a run names: not under the key of every agent, nor under
/// a name that means another agent.
pub fn holds_lasting_rules(agent: &str) -> bool {
    agent != EVERY_AGENT && agent != FORMER_MAIN_AGENT
}

fn collect(segment: &Segment<'_>, programs: &dyn Programs, patterns: &mut Vec<String>) {
    if segment.blocked {
        return;
    }
    if !segment.inner.is_empty() {
        return segment
            .inner
            .iter()
            .for_each(|inner| collect(inner, programs, patterns));
    }
    let Some(path) = &segment.path else { return };
    // A link of another name to an interpreter is one too; a wrapper behind a link is not (a program of
    // busybox's collection is what its own name says).
    let canonical = programs.canonical(path);
    let evaluates = |path: &Path| is_named(path, &[is_interpreter, shell::is_shell]);
    if is_named(path, &[is_wrapper])
        || evaluates(path)
        || canonical.as_deref().is_some_and(evaluates)
    {
        return;
    }
    let Some(pattern) = path.to_str() else { return };
    // A path with such a character would mean other programs too.
    let plain = !pattern.contains(['*', '?']);
    if plain && !patterns.iter().any(|known| known == pattern) {
        patterns.push(pattern.to_owned());
    }
}

fn is_interpreter(name: &str) -> bool {
    INTERPRETERS.contains(&name)
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
