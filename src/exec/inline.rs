//! Inline evaluation: programs that run what their arguments say (node-host specification, 3.11).
//!
//! Which flags of which interpreter evaluate a text is not judged here; whoever asks for strictness
//! gets it for every program that could. Never the other way round.

use crate::exec::wrapper::{Unwrapped, base_name};

/// Programs that can be handed a program as text (node-host specification, 3.10 and 3.11).
const EVALUATORS: [&str; 22] = [
    "awk",
    "bun",
    "deno",
    "find",
    "gawk",
    "gmake",
    "gsed",
    "lua",
    "make",
    "mawk",
    "nawk",
    "node",
    "nodejs",
    "osascript",
    "perl",
    "php",
    "pypy",
    "python",
    "ruby",
    "sed",
    "tclsh",
    "xargs",
];

/// What in a command could evaluate text, in the words of a refusal under
/// `tools.exec.strictInlineEval`; `None` when nothing could.
pub fn inline_evaluation(unwrapped: &Unwrapped<'_>) -> Option<String> {
    let program = unwrapped.effective.first().map_or("", String::as_str);
    let name = base_name(program);
    // `python3.11` and `pypy3` are the same interpreters as their plain names.
    let family = name.trim_end_matches(|mark: char| mark.is_ascii_digit() || mark == '.');
    let evaluates = unwrapped.blocked || unwrapped.is_shell() || EVALUATORS.contains(&family);
    evaluates.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::wrapper::unwrap;

    #[test]
    fn whatever_can_evaluate_text_needs_an_approval() {
        for (line, refused) in [
            ("python3.11 -c print(1)", true),
            ("/usr/bin/node -e 1", true),
            ("nice -n 3 perl -e 1", true),
            ("sh -c ls", true),
            ("env FOO=1 ls", true),
            ("sudo ls", true),
            ("xargs ls", true),
            ("uname -a", false),
            ("/usr/bin/git status", false),
        ] {
            let argv: Vec<String> = line.split(' ').map(str::to_owned).collect();
            assert_eq!(
                inline_evaluation(&unwrap(&argv)).is_some(),
                refused,
                "{line}"
            );
        }
    }
}
