//! Inline evaluation: programs that run what their arguments say (node-host specification, 3.11).
//!
//! Strict on purpose: an option that could carry a program counts as one, even where it is the value of
//! another option.

use super::assessment::Segment;
use super::script::Word;
use super::wrapper::{Unwrapped, base_name};

/// How an interpreter is handed a program as text.
struct Evaluator {
    names: &'static [&'static str],
    /// Letters that, in a cluster of short options, announce a program.
    letters: &'static str,
    /// Options that do, exact or in front of `=`.
    options: &'static [&'static str],
    /// Operands that do.
    operands: Operands,
}

#[derive(PartialEq)]
enum Operands {
    /// Any operand is a command.
    Command,
    /// Operands are files.
    Files,
    /// The first is the program unless an option reads it from a file.
    Program,
    /// This word is a subcommand that does.
    Subcommand(&'static str),
}

const EVALUATORS: &[Evaluator] = &[
    Evaluator {
        names: &["python", "pypy"],
        letters: "c",
        options: &[],
        operands: Operands::Files,
    },
    Evaluator {
        names: &["node", "nodejs", "bun"],
        letters: "ep",
        options: &["--eval", "--print"],
        operands: Operands::Files,
    },
    Evaluator {
        names: &["deno"],
        letters: "ep",
        options: &["--eval", "--print"],
        operands: Operands::Subcommand("eval"),
    },
    Evaluator {
        names: &["ruby", "lua", "osascript"],
        letters: "e",
        options: &[],
        operands: Operands::Files,
    },
    Evaluator {
        names: &["perl"],
        letters: "eE",
        options: &[],
        operands: Operands::Files,
    },
    Evaluator {
        names: &["php"],
        letters: "rBRE",
        options: &[
            "--run",
            "--process-begin",
            "--process-code",
            "--process-end",
        ],
        operands: Operands::Files,
    },
    Evaluator {
        names: &["awk", "gawk", "mawk", "nawk"],
        letters: "e",
        options: &["--source"],
        operands: Operands::Program,
    },
    Evaluator {
        names: &["sed", "gsed"],
        letters: "e",
        options: &["--expression"],
        operands: Operands::Program,
    },
    Evaluator {
        names: &["make", "gmake"],
        letters: "fE",
        options: &["--file", "--makefile", "--eval"],
        operands: Operands::Files,
    },
    Evaluator {
        names: &["xargs"],
        letters: "",
        options: &[],
        operands: Operands::Command,
    },
];

/// `find` runs commands by words of its expression, which `--` does not end.
const FIND_ACTIONS: &[&str] = &["-exec", "-execdir", "-ok", "-okdir"];

/// What in a segment evaluates text, in the words of a refusal under `tools.exec.strictInlineEval`.
pub fn inline_evaluation(
    words: &[Word],
    unwrapped: &Unwrapped<'_>,
    segment: &Segment<'_>,
) -> Option<String> {
    let inner = &segment.inner;
    if let Some(inner) = inner
        .iter()
        .find_map(|inner| inner.inline_evaluation.clone())
    {
        return Some(inner);
    }
    let (program, arguments) = unwrapped.effective.split_first()?;
    let name = base_name(program);
    if unwrapped.is_shell() {
        // A script that could not be judged may hold anything.
        if unwrapped.opaque {
            return Some(format!("{name} -S"));
        }
        let hidden = inner.is_empty() && unwrapped.payload().is_some();
        return hidden.then(|| format!("{name} -c"));
    }
    // `sudo python3 -c …`: what a wrapper that is not stepped over would run is not looked at.
    if unwrapped.blocked && unwrapped.assignments.is_empty() {
        return Some(name);
    }
    if name == "find" {
        let action = arguments
            .iter()
            .find(|word| FIND_ACTIONS.contains(&word.as_str()));
        let filled_in = words.iter().any(|word| !word.plain);
        return match action {
            Some(action) => Some(format!("find {action}")),
            None => filled_in.then(|| "find -exec".to_owned()),
        };
    }
    // `python3.11` and `pypy3` are the same interpreters as their plain names.
    let family = name.trim_end_matches(|mark: char| mark.is_ascii_digit() || mark == '.');
    let evaluator = EVALUATORS.iter().find(|row| row.names.contains(&family))?;
    let filled_in = words.iter().any(|word| !word.plain);
    match evaluator.evaluates(arguments) {
        Some(what) => Some(format!("{name} {what}")),
        None => filled_in.then(|| format!("{name} inline program")),
    }
}

impl Evaluator {
    fn evaluates(&self, arguments: &[String]) -> Option<String> {
        let mut from_file = false;
        let mut operand = None;
        let mut words = arguments.iter();
        for word in words.by_ref().take_while(|word| *word != "--") {
            let option = word.split_once('=').map_or(word.as_str(), |(name, _)| name);
            if self.options.contains(&option) {
                return Some(option.to_owned());
            }
            if let Some(cluster) = word.strip_prefix('-').filter(|rest| !rest.starts_with('-')) {
                from_file |= cluster.contains('f');
                if let Some(letter) = cluster.chars().find(|c| self.letters.contains(*c)) {
                    return Some(format!("-{letter}"));
                }
            } else if word.starts_with("--") {
                from_file |= option == "--file";
            } else {
                operand = operand.or(Some(word));
            }
        }
        let operand = operand.or_else(|| words.next());
        match self.operands {
            Operands::Command if operand.is_some() => Some("inline command".to_owned()),
            Operands::Program if operand.is_some() && !from_file => {
                Some("inline program".to_owned())
            }
            Operands::Subcommand(word) if operand.is_some_and(|found| found == word) => {
                Some(word.to_owned())
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::miss::Miss;
    use crate::exec::wrapper::unwrap;

    #[test]
    fn what_evaluates_text_is_named() {
        for (line, expected) in [
            ("python3 -c x", Some("python3 -c")),
            ("/usr/bin/python3.11 -Ic x", Some("python3.11 -c")),
            ("python3 s.py", None),
            ("python3 -- -c", None),
            ("pypy3 -cx", Some("pypy3 -c")),
            ("node -e 1", Some("node -e")),
            ("node --eval=1", Some("node --eval")),
            ("node -pe 1", Some("node -p")),
            ("bun --print 1", Some("bun --print")),
            ("deno eval 1", Some("deno eval")),
            ("deno run s.ts", None),
            ("ruby -ne 1", Some("ruby -e")),
            ("lua -e 1", Some("lua -e")),
            ("nice -n 3 perl -E 1", Some("perl -E")),
            ("php -r 1", Some("php -r")),
            ("awk {print} f", Some("awk inline program")),
            ("awk -f p.awk f", None),
            ("gawk --source=x", Some("gawk --source")),
            ("awk -- x", Some("awk inline program")),
            ("sed s/a/b/", Some("sed inline program")),
            ("sed -ne p", Some("sed -e")),
            ("sed --file=s.sed f", None),
            ("find . -exec rm {} ;", Some("find -exec")),
            ("find -- . -okdir rm", Some("find -okdir")),
            ("find . -name x", None),
            ("make -fx", Some("make -f")),
            ("make --eval=x", Some("make --eval")),
            ("make all", None),
            ("xargs ls", Some("xargs inline command")),
            ("xargs", None),
            ("sh -c ls", Some("sh -c")),
            ("sh s.sh", None),
            ("env FOO=1 ls", None),
            ("env FOO=1 python3 -c x", Some("python3 -c")),
            ("env -S ls", Some("env -S")),
            ("sudo ls", Some("sudo")),
            ("uname -a", None),
            ("/usr/bin/git status -e", None),
        ] {
            let argv: Vec<String> = line.split(' ').map(str::to_owned).collect();
            let words: Vec<Word> = argv.iter().map(|word| Word::literal(word)).collect();
            let segment = Segment {
                argv: Vec::new(),
                path: None,
                blocked: false,
                cover: Err(Miss::Nul),
                inner: Vec::new(),
                inline_evaluation: None,
            };
            let found = inline_evaluation(&words, &unwrap(&argv), &segment);
            assert_eq!(found.as_deref(), expected, "{line}");
        }
    }
}
