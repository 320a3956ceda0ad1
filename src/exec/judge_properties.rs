//! No command is covered by what nobody listed, whatever its words are.

use std::path::Path;

use proptest::prelude::*;

use super::super::assessment::{Assessment, assess};
use super::super::bound_line::BoundLine;
use super::super::testing::MapOfPrograms;
use super::*;

/// What commands are made of.
const WORDS: [&str; 44] = [
    "git",
    "echo",
    "/usr/bin/git",
    "rm",
    "/usr/bin/rm",
    "sh",
    "bash",
    "zsh",
    "fish",
    "/t/sh",
    "busybox",
    "env",
    "nice",
    "timeout",
    "5",
    "sudo",
    "-c",
    "-lc",
    "-ce",
    "--",
    "-",
    "-S",
    "A=1",
    "$X",
    "~/x",
    "*",
    "",
    " ",
    "|",
    ";",
    "&&",
    "s.sh",
    "./s.sh",
    "../t/x",
    "$0 \"$@\"",
    "exec \"$0\"",
    "eval",
    "xargs",
    "find",
    "-exec",
    "head",
    "-n",
    "python3",
    "\u{ff47}it",
];

fn argv() -> impl Strategy<Value = Vec<String>> {
    let word = || prop::sample::select(&WORDS[..]).prop_map(str::to_owned);
    let script = prop::collection::vec(word(), 1..7).prop_map(|words| words.join(" "));
    let anything = "[ -~\u{e9}\u{4f60}\n]{0,12}";
    let quoted = script
        .clone()
        .prop_map(|script| format!("sh -c '{script}'"));
    prop::collection::vec(
        prop_oneof![4 => word(), 2 => script, 1 => quoted, 1 => anything],
        1..7,
    )
}

fn disk() -> MapOfPrograms {
    let mut disk = MapOfPrograms::new("/usr/bin");
    for name in [
        "git", "echo", "rm", "sh", "bash", "zsh", "fish", "busybox", "env", "nice", "timeout",
        "sudo", "xargs", "find", "head", "python3",
    ] {
        disk.add(&format!("/usr/bin/{name}"));
    }
    for path in ["/t/sh", "/t/x", "/w/s.sh", "/w/git", "/home/u/x"] {
        disk.add(path);
    }
    disk
}

/// Judges by rules without pattern characters and without any safe filter.
fn assessed<'a>(argv: &[String], rules: &'a [Entry]) -> Assessment<'a> {
    let policy = Effective {
        allowlist: rules.iter().collect(),
        ..Effective::default()
    };
    let context = Context {
        cwd: Path::new("/w"),
        home: Some(Path::new("/home/u")),
        programs: &disk(),
        skills: &[],
        safe_bins: &safe_bins::SafeBins {
            names: Vec::new(),
            ..safe_bins::SafeBins::default()
        },
        line: &BoundLine::default(),
        variables: &[],
    };
    assess(argv, &policy, &context)
}

/// The programs of a satisfied command, with the last word of their paths.
fn programs<'s, 'a>(segments: &'s [Segment<'a>], found: &mut Vec<&'s Segment<'a>>) {
    for segment in segments {
        match segment.inner.is_empty() {
            true => found.push(segment),
            false => programs(&segment.inner, found),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn without_a_rule_nothing_is_satisfied(argv in argv()) {
        prop_assert!(!assessed(&argv, &[]).satisfied());
    }

    #[test]
    fn every_program_of_a_satisfied_command_is_in_a_rule(argv in argv()) {
        let rules = ["/usr/bin/git", "echo", "/w/s.sh"].map(Entry::new);
        let assessment = assessed(&argv, &rules);
        let mut segments = Vec::new();
        if assessment.satisfied() {
            programs(&assessment.segments, &mut segments);
            prop_assert!(!segments.is_empty());
        }
        for segment in segments {
            let path = segment.path.as_deref().unwrap().to_str().unwrap();
            let listed = ["/usr/bin/git", "/usr/bin/echo", "/w/s.sh"].contains(&path);
            let named = segment.argv.iter().any(|word| path.ends_with(word.trim_start_matches("./")));
            prop_assert!(listed && named && !segment.blocked, "{segment:?}");
        }
    }
}
