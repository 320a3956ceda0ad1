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

const TEXT: &str = "sh -c \"echo $(date)\"";
const FINGERPRINT: &str = "=command:27de7c1b9fae1985";

fn patterns(segments: Vec<Segment<'static>>) -> Vec<String> {
    lasting_patterns(&assessment(segments, None), TEXT, &Links)
}

#[test]
fn programs_are_named_by_their_path() {
    assert_eq!(patterns(vec![segment("/usr/bin/echo")]), ["/usr/bin/echo"]);
    assert_eq!(patterns(vec![segment("/bin/ls")]), ["/bin/ls"]);
    let several = vec![
        segment("/usr/bin/git"),
        segment("/usr/bin/wc"),
        segment("/usr/bin/git"),
    ];
    assert_eq!(patterns(several), ["/usr/bin/git", "/usr/bin/wc"]);
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
        "/usr/bin/env",
        "/usr/bin/sudo",
        "/usr/bin/timeout",
        "/bin/busybox",
        "/usr/bin/link",
        "/opt/a*b",
        "",
    ] {
        assert_eq!(patterns(vec![segment(path)]), [FINGERPRINT], "{path}");
        let beside = vec![segment(path), segment("/usr/bin/git")];
        assert_eq!(patterns(beside), ["/usr/bin/git"], "{path}");
    }
}

#[test]
fn a_shell_gives_the_commands_of_its_script() {
    let shell = Segment {
        inner: vec![segment("/usr/bin/git"), segment("/usr/bin/python3")],
        ..segment("/bin/sh")
    };
    assert_eq!(patterns(vec![shell]), ["/usr/bin/git"]);
    // A shell that is handed a script file is judged by that file.
    assert_eq!(patterns(vec![segment("/w/s.sh")]), ["/w/s.sh"]);
}

#[test]
fn what_cannot_be_said_by_paths_is_said_by_the_text() {
    let blocked = Segment {
        blocked: true,
        ..segment("/usr/bin/git")
    };
    assert_eq!(patterns(vec![blocked]), [FINGERPRINT]);
    assert_eq!(patterns(Vec::new()), [FINGERPRINT]);
    let fault = Some(Miss::NotFound("x".to_owned()));
    let unread = assessment(vec![segment("/usr/bin/git")], fault);
    assert_eq!(lasting_patterns(&unread, TEXT, &Links), [FINGERPRINT]);
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
