use std::path::PathBuf;

use super::*;
use crate::exec::Miss;
use crate::exec::which::Unresolved;

/// A machine on which `/usr/bin/link` leads to an interpreter and `/bin/ls` to busybox.
struct Links;

impl Programs for Links {
    fn resolve(&self, _: &str, _: &Path) -> Result<PathBuf, Unresolved> {
        Err(Unresolved::NotFound)
    }

    fn canonical(&self, path: &Path) -> Option<PathBuf> {
        match path.to_str()? {
            "/usr/bin/link" => Some(PathBuf::from("/usr/bin/python3.12")),
            "/bin/ls" => Some(PathBuf::from("/bin/busybox")),
            _ => Some(path.to_owned()),
        }
    }

    fn is_file(&self, _: &Path) -> bool {
        true
    }

    fn is_link(&self, _: &Path) -> bool {
        false
    }
}

fn segment(path: &str) -> Segment<'static> {
    Segment {
        argv: vec![path.to_owned()],
        path: (!path.is_empty()).then(|| PathBuf::from(path)),
        blocked: false,
        cover: Err(Miss::NotFound(path.to_owned())),
        inner: Vec::new(),
        inline_evaluation: None,
    }
}

fn assessment(segments: Vec<Segment<'static>>, fault: Option<Miss>) -> Assessment<'static> {
    Assessment {
        payload: false,
        fault,
        segments,
        durable: false,
        inline_evaluation: None,
        execution: None,
    }
}

/// What stands for the command line in the patterns, whatever its digest is.
const LINE: &str = "the line";

fn patterns(segments: Vec<Segment<'static>>) -> Vec<String> {
    patterns_of(&assessment(segments, None))
}

fn patterns_of(assessment: &Assessment<'_>) -> Vec<String> {
    let argv = ["/bin/sh".to_owned(), "-c".to_owned(), "true".to_owned()];
    let line = BoundLine::look(&argv, Path::new("/"), "/bin", None, std::iter::empty());
    let own = line.pattern().unwrap();
    let patterns = lasting_patterns(assessment, &line, &Links).into_iter();
    patterns
        .map(|pattern| {
            if pattern == own {
                LINE.to_owned()
            } else {
                pattern
            }
        })
        .collect()
}

#[test]
fn programs_are_named_by_their_path() {
    assert_eq!(patterns(vec![segment("/usr/bin/echo")]), ["/usr/bin/echo"]);
    assert_eq!(patterns(vec![segment("/bin/ls")]), ["/bin/ls"]);
    let several = vec![
        segment("/usr/bin/cat"),
        segment("/usr/bin/wc"),
        segment("/usr/bin/cat"),
    ];
    assert_eq!(patterns(several), ["/usr/bin/cat", "/usr/bin/wc"]);
}

#[test]
fn what_runs_other_programs_is_never_named() {
    for path in [
        "/bin/sh",
        "/bin/bash",
        "/usr/bin/zsh",
        "/usr/bin/pwsh",
        "/usr/bin/python3",
        "/usr/bin/python3.12",
        "/usr/bin/node",
        "/usr/bin/nodejs",
        "/opt/bin/NODE",
        "/usr/bin/perl5.36",
        "/usr/bin/awk",
        "/usr/bin/find",
        "/usr/bin/xargs",
        "/usr/bin/make",
        "/usr/bin/sed",
        "/usr/bin/lua5.4",
        "/usr/bin/npx",
        "/usr/bin/flock",
        "/usr/bin/perl5.36-x86_64-linux-gnu",
        "/lib/ld-linux-aarch64.so.1",
        "/bin/csh",
        "/usr/bin/systemd-run",
        "/usr/bin/ssh",
        "/usr/bin/env",
        "/usr/bin/sudo",
        "/usr/bin/timeout",
        "/bin/busybox",
        "/usr/bin/link",
        // Programs of which few know what their options run: `split --filter`, `sort --compress-program`.
        "/usr/bin/split",
        "/usr/bin/sort",
        "/usr/bin/gcc-14",
        "/usr/bin/rg",
        "/usr/sbin/ip",
        "/usr/bin/sqlite3",
        "/usr/bin/vim.basic",
        "/usr/bin/nc.openbsd",
        "/bin/bash-static",
        "/usr/bin/ssh-agent",
        // Programs with a purpose of their own that an option makes start others.
        "/usr/bin/git",
        "/usr/bin/dpkg",
        "/usr/bin/wget",
        "/usr/bin/curl",
        "/usr/bin/systemctl",
        "/usr/bin/gpg",
        "/usr/bin/openssl",
        "/opt/a*b",
        "",
    ] {
        assert_eq!(patterns(vec![segment(path)]), [LINE], "{path}");
        let beside = vec![segment(path), segment("/usr/bin/cat")];
        assert_eq!(patterns(beside), ["/usr/bin/cat", LINE], "{path}");
    }
}

/// The gateway vouches for the programs of skills, and `git` is one of them; an interpreter is nobody's.
#[test]
fn what_an_option_makes_start_others_may_be_a_skills_program() {
    for (path, starts) in [
        ("/usr/bin/git", false),
        ("/usr/bin/curl", false),
        ("/usr/bin/xargs", true),
        ("/usr/bin/link", true),
    ] {
        assert_eq!(starts_others(Path::new(path), &Links), starts, "{path}");
    }
    assert!(runs_what_it_is_told("git"));
}

#[test]
fn a_shell_gives_the_commands_of_its_script() {
    let shell = Segment {
        inner: vec![segment("/usr/bin/cat"), segment("/usr/bin/python3")],
        ..segment("/bin/sh")
    };
    assert_eq!(patterns(vec![shell]), ["/usr/bin/cat", LINE]);
    // A shell that is handed a script file is judged by that file.
    assert_eq!(patterns(vec![segment("/w/s.sh")]), ["/w/s.sh"]);
}

#[test]
fn what_cannot_be_said_by_paths_is_said_by_the_line() {
    let blocked = Segment {
        blocked: true,
        ..segment("/usr/bin/cat")
    };
    assert_eq!(patterns(vec![blocked]), [LINE]);
    assert_eq!(patterns(Vec::new()), [LINE]);
    let fault = Some(Miss::NotFound("x".to_owned()));
    let unread = assessment(vec![segment("/usr/bin/cat")], fault);
    assert_eq!(patterns_of(&unread), [LINE]);
}

#[test]
fn no_rule_is_added_for_every_agent() {
    for (agent, held) in [
        ("*", false),
        ("default", false),
        ("main", true),
        ("ops", true),
    ] {
        assert_eq!(holds_lasting_rules(agent), held, "{agent}");
    }
}

#[test]
fn names_are_in_order_and_stand_in_one_table() {
    let tables = [INTERPRETERS, STARTERS, STARTERS_BY_OPTION].map(<[_]>::to_vec);
    for table in &tables {
        assert!(table.is_sorted(), "{table:?}");
    }
    let mut all = tables.concat();
    let names = all.len();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), names);
}
