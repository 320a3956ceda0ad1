//! Programs that start other programs: dispatch wrappers (`env`, `nice`, …) and multi-call binaries
//! (node-host specification, section 3.6).
//!
//! Pure functions over an argv. What is not recognised for certain is reported as `blocked` or
//! `opaque`: a caller may refuse such a command, never trust it.

use super::shell;

/// Wrappers stepped over at most; a further one blocks the command.
pub const MAX_WRAPPERS: usize = 4;

/// Wrappers that change who or how a program runs; they are never stepped over.
pub const NEVER_UNWRAPPED: &[&str] = &["chrt", "doas", "ionice", "setsid", "sudo", "taskset"];

const MULTICALL: &[&str] = &["busybox", "toybox"];

/// Wrappers of other systems: here they are known by name only and block the command.
const FOREIGN_WRAPPERS: &[&str] = &["arch", "script", "xcrun"];

struct Dispatch {
    name: &'static str,
    flags: &'static [&'static str],
    /// Options that take a value: the next argument, or after `=` for long ones.
    values: &'static [&'static str],
    /// Short value options whose value may be joined (`-n5`, `-oL`).
    joined: &'static [&'static str],
    /// Operands that stand before the command (`timeout 5 cmd`).
    operands: usize,
}

const DISPATCH: &[Dispatch] = &[
    Dispatch {
        name: "nice",
        flags: &[],
        values: &["-n", "--adjustment", "--priority"],
        joined: &["-n"],
        operands: 0,
    },
    Dispatch {
        name: "nohup",
        flags: &["--help", "--version"],
        values: &[],
        joined: &[],
        operands: 0,
    },
    Dispatch {
        name: "stdbuf",
        flags: &[],
        values: &["-i", "-o", "-e", "--input", "--output", "--error"],
        joined: &["-i", "-o", "-e"],
        operands: 0,
    },
    Dispatch {
        name: "timeout",
        flags: &["--foreground", "--preserve-status", "-v", "--verbose"],
        values: &["-k", "--kill-after", "-s", "--signal"],
        joined: &[],
        operands: 1,
    },
    Dispatch {
        name: "time",
        flags: &[
            "-h",
            "-l",
            "-p",
            "-q",
            "-v",
            "-V",
            "--help",
            "--portability",
            "--quiet",
            "--verbose",
            "--version",
        ],
        // Not `-o` and `-f`: together they write any text to any file.
        values: &[],
        joined: &[],
        operands: 0,
    },
    Dispatch {
        name: "caffeinate",
        flags: &["-d", "-i", "-m", "-s", "-u"],
        values: &["-t", "-w"],
        joined: &[],
        operands: 0,
    },
    Dispatch {
        name: "sandbox-exec",
        flags: &[],
        values: &["-f", "-p", "-d"],
        joined: &[],
        operands: 0,
    },
];

/// What an argv runs after its wrappers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unwrapped<'a> {
    /// The argv behind the wrappers; the whole argv when there are none.
    pub effective: &'a [String],
    /// Index of `effective[0]` in the whole argv.
    pub offset: usize,
    /// Wrappers and multi-call binaries stepped over.
    pub wrappers: usize,
    /// Can never be satisfied by an allowlist ("policy-blocked").
    pub blocked: bool,
    /// The command behind the wrapper is not visible in the argv (`env -S`).
    pub opaque: bool,
    /// An `env` in front sets, removes or changes something.
    pub environment_modified: bool,
    /// Names that `env NAME=value` prefixes assign, in order.
    pub assignments: Vec<&'a str>,
    /// `busybox` or `toybox` was stepped over.
    pub multicall: bool,
    /// Indexes of the wrappers stepped over in the whole argv.
    pub launchers: Vec<usize>,
}

impl<'a> Unwrapped<'a> {
    /// The effective program is a shell, with or without an inline script.
    pub fn is_shell(&self) -> bool {
        self.opaque
            || self
                .effective
                .first()
                .is_some_and(|program| shell::is_shell(&base_name(program)))
    }

    /// The inline script when the effective program is a shell that got one.
    pub fn payload(&self) -> Option<shell::Payload<'a>> {
        if self.opaque {
            return None;
        }
        shell::payload(self.effective)
    }
}

/// The name a program is known by: last path component (both slash kinds), lower-case, without
/// `.exe`, `.cmd`, `.bat` or `.com`.
pub fn base_name(program: &str) -> String {
    let name = program
        .rsplit(['/', '\\'])
        .next()
        .unwrap_or(program)
        .to_lowercase();
    for suffix in [".exe", ".cmd", ".bat", ".com"] {
        if let Some(stem) = name.strip_suffix(suffix) {
            return stem.to_owned();
        }
    }
    name
}

/// Whether a program of this name starts the program that its arguments name.
pub fn is_wrapper(name: &str) -> bool {
    name == "env"
        || [MULTICALL, NEVER_UNWRAPPED, FOREIGN_WRAPPERS]
            .iter()
            .any(|names| names.contains(&name))
        || DISPATCH.iter().any(|row| row.name == name)
}

/// Steps over the wrappers of an argv.
pub fn unwrap(argv: &[String]) -> Unwrapped<'_> {
    let mut found = Unwrapped {
        effective: argv,
        offset: 0,
        wrappers: 0,
        blocked: false,
        opaque: false,
        environment_modified: false,
        assignments: Vec::new(),
        multicall: false,
        launchers: Vec::new(),
    };
    while let Some(program) = found.effective.first() {
        let name = base_name(program);
        let step = match name.as_str() {
            "env" => step_over_env(found.effective, &mut found),
            name if MULTICALL.contains(&name) => step_over_multicall(found.effective, &mut found),
            name if NEVER_UNWRAPPED.contains(&name) || FOREIGN_WRAPPERS.contains(&name) => {
                Step::Blocked
            }
            name => match DISPATCH.iter().find(|row| row.name == name) {
                Some(row) => step_over(row, found.effective),
                None => Step::Program,
            },
        };
        match step {
            Step::Program => break,
            Step::Blocked => {
                found.blocked = true;
                break;
            }
            Step::Command(_) if found.wrappers == MAX_WRAPPERS => {
                found.blocked = true;
                break;
            }
            Step::Command(index) => {
                found.wrappers += 1;
                found.launchers.push(found.offset);
                found.offset += index;
                found.effective = &found.effective[index..];
            }
        }
    }
    found
}

enum Step {
    /// A plain program, or a wrapper without a command: nothing to step over.
    Program,
    /// A wrapper that cannot be stepped over.
    Blocked,
    /// The wrapped command starts at this index.
    Command(usize),
}

fn command_at(argv: &[String], index: usize) -> Step {
    if index < argv.len() {
        Step::Command(index)
    } else {
        Step::Program
    }
}

fn step_over(row: &Dispatch, argv: &[String]) -> Step {
    let mut index = 1;
    while let Some(token) = argv.get(index) {
        let token = token.as_str();
        if token == "--" {
            index += 1;
            break;
        }
        if !token.starts_with('-') || token == "-" {
            break;
        }
        let long = token.split_once('=').map(|(name, _)| name);
        let joined = row
            .joined
            .iter()
            .any(|flag| token.len() > 2 && token.starts_with(flag));
        let adjustment = row.name == "nice" && token[1..].bytes().all(|b| b.is_ascii_digit());
        if row.values.contains(&token) {
            index += 2;
        } else if row.flags.contains(&token)
            || long.is_some_and(|name| name.starts_with("--") && row.values.contains(&name))
            || joined
            || adjustment
        {
            index += 1;
        } else {
            return Step::Blocked;
        }
    }
    command_at(argv, index + row.operands)
}

fn step_over_env<'a>(argv: &'a [String], found: &mut Unwrapped<'a>) -> Step {
    const FLAGS: &[&str] = &["-", "-i", "--ignore-environment", "-0", "--null"];
    const VALUES: &[&str] = &["-u", "--unset", "-C", "--chdir"];
    const SIGNALS: &[&str] = &["--default-signal", "--ignore-signal", "--block-signal"];
    let mut index = 1;
    let mut options = true;
    while let Some(token) = argv.get(index) {
        let name = token
            .split_once('=')
            .map_or(token.as_str(), |(name, _)| name);
        if options && token == "--" {
            options = false;
            index += 1;
            continue;
        }
        let is_option = options && token.starts_with('-');
        if !is_option && name.len() == token.len() {
            break;
        }
        found.environment_modified = true;
        found.blocked = true;
        if !is_option {
            found.assignments.push(name);
            index += 1;
        } else if VALUES.contains(&token.as_str()) {
            index += 2;
        } else if FLAGS.contains(&token.as_str())
            || SIGNALS.contains(&name)
            || (name.starts_with("--") && VALUES.contains(&name))
        {
            index += 1;
        } else {
            found.opaque = true;
            collect_split_assignments(&argv[index..], found);
            return Step::Blocked;
        }
    }
    command_at(argv, index)
}

/// `env -S` hides its words in one string; whatever could be an assignment in it counts as one.
fn collect_split_assignments<'a>(rest: &'a [String], found: &mut Unwrapped<'a>) {
    let edges = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
    for word in rest.iter().flat_map(|text| text.split_whitespace()) {
        let Some((before, _)) = word.rsplit_once('=') else {
            continue;
        };
        for part in before.split('=') {
            found
                .assignments
                .push(part.rsplit(edges).next().unwrap_or(part));
        }
        // A cluster such as `-vSNAME=value` joins the option letters to the name.
        let joined = word
            .strip_prefix('-')
            .and_then(|cluster| cluster.split_once(['S', '=']));
        if let Some((name, _)) = joined.and_then(|(_, rest)| rest.split_once('=')) {
            found.assignments.push(name);
        }
    }
}

fn step_over_multicall<'a>(argv: &'a [String], found: &mut Unwrapped<'a>) -> Step {
    let index = if argv.get(1).is_some_and(|token| token == "--") {
        2
    } else {
        1
    };
    let Some(applet) = argv.get(index) else {
        return Step::Program;
    };
    if !shell::POSIX.contains(&applet.as_str()) {
        return Step::Blocked;
    }
    found.multicall = true;
    Step::Command(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argv(line: &str) -> Vec<String> {
        line.split('|').map(str::to_owned).collect()
    }

    #[test]
    fn wrappers_are_stepped_over_or_block() {
        // argv, effective argv, wrappers, blocked
        let cases: &[(&str, &str, usize, bool)] = &[
            ("ls|-l", "ls|-l", 0, false),
            ("env|ls", "ls", 1, false),
            ("env|--|ls", "ls", 1, false),
            ("/usr/bin/env|A=1|ls", "ls", 1, true),
            ("env|-i|-u|X|ls", "ls", 1, true),
            ("env", "env", 0, false),
            ("env|-S|ls -l", "env|-S|ls -l", 0, true),
            ("nice|-n|3|make", "make", 1, false),
            ("nice|-5|make", "make", 1, false),
            ("nice|--adjustment=5|make", "make", 1, false),
            ("nice|--bogus|make", "nice|--bogus|make", 0, true),
            ("nice", "nice", 0, false),
            ("timeout|5|echo|x", "echo|x", 1, false),
            ("timeout|-s|KILL|--foreground|5|echo", "echo", 1, false),
            ("timeout|5", "timeout|5", 0, false),
            ("stdbuf|-oL|echo", "echo", 1, false),
            ("stdbuf|-o|L|echo", "echo", 1, false),
            ("nohup|echo", "echo", 1, false),
            ("time|-p|echo", "echo", 1, false),
            ("sudo|ls", "sudo|ls", 0, true),
            ("nice|sudo|ls", "sudo|ls", 1, true),
            ("busybox|sh|-c|echo x", "sh|-c|echo x", 1, false),
            ("busybox|ls", "busybox|ls", 0, true),
            ("nice|nice|nice|nice|ls", "ls", 4, false),
            ("nice|nice|nice|nice|nice|ls", "nice|ls", 4, true),
        ];
        for (line, effective, wrappers, blocked) in cases {
            let argv = argv(line);
            let found = unwrap(&argv);
            assert_eq!(found.effective.join("|"), *effective, "{line}");
            assert_eq!(
                (found.wrappers, found.blocked),
                (*wrappers, *blocked),
                "{line}"
            );
            assert_eq!(argv[found.offset..].join("|"), *effective, "{line}");
        }
    }

    #[test]
    fn assignments_are_found_even_where_they_hide() {
        let cases: &[(&str, &[&str])] = &[
            ("env|A=1|B=2|ls|C=3", &["A", "B"]),
            ("env|-vSLD_PRELOAD=x ls", &["LD_PRELOAD"]),
            ("env|-S|A=1 B=2 ls", &["A", "B"]),
            ("nice|env|A=1|timeout|3|env|B=2|ls", &["A", "B"]),
            ("env|-S|'NODE_OPTIONS=x' node", &["NODE_OPTIONS"]),
            ("env|-SLD_PRELOAD=x ls", &["LD_PRELOAD"]),
            ("env|--split-string=LD_PRELOAD=x ls", &["LD_PRELOAD"]),
            ("env|--|A=1|ls", &["A"]),
        ];
        for (line, names) in cases {
            let argv = argv(line);
            let found = unwrap(&argv).assignments;
            assert!(
                names
                    .iter()
                    .filter(|n| **n != "string")
                    .all(|n| found.contains(n)),
                "{line} {found:?}"
            );
        }
    }
}
