//! The table of command lines: the real assessment and the real decision on each, over a made-up disk.

use std::path::{Path, PathBuf};

use super::super::document::{Ask, Entry, Security, Source};
use super::super::policy::Effective;
use super::super::safe_bins::SafeBins;
use super::super::testing::MapOfPrograms;
use super::super::verdict::{Question, Verdict, decide};
use super::*;

const TABLE: &str = include_str!("verdicts.tsv");

/// A policy of the table by its name.
struct Named {
    rules: Vec<Entry>,
    safe_bins: SafeBins,
    skills: Vec<(String, PathBuf)>,
    strict: bool,
}

impl Named {
    fn find(name: &str) -> Self {
        let rules =
            |patterns: &[&str]| patterns.iter().map(|pattern| Entry::new(pattern)).collect();
        let listed = |patterns: &[&str]| Self {
            rules: rules(patterns),
            safe_bins: SafeBins::default(),
            skills: Vec::new(),
            strict: false,
        };
        let vectors = ["/usr/bin/git", "echo", "/w/**"];
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        match name {
            "vectors" => listed(&vectors),
            "star" => listed(&["*"]),
            "home" => listed(&["~/bin/*"]),
            "globs" => listed(&["/usr/bin/git*", "/opt/**/tool", "pyt?on3", "/w/[ab]"]),
            "evaluators" => listed(&["/usr/bin/find", "/usr/bin/python3"]),
            "shells" => listed(&["/usr/bin/bash", "bash", "/usr/bin/sh"]),
            "trusted" => Self {
                safe_bins: SafeBins {
                    trusted_directories: vec![PathBuf::from("/opt/brew/")],
                    ..SafeBins::default()
                },
                ..listed(&vectors)
            },
            "filters" => Self {
                safe_bins: SafeBins {
                    names: names(&["sort", "grep", "jq", "awk"]),
                    ..SafeBins::default()
                },
                ..listed(&[])
            },
            "skills" => Self {
                skills: vec![("deploy".to_owned(), PathBuf::from("/opt/skills/deploy"))],
                ..listed(&vectors)
            },
            "lasting" => {
                let mut policy = listed(&[
                    "=command:27de7c1b9fae1985",
                    "/usr/bin/git",
                    // The fingerprint of `sudo ls`, not made by an approval.
                    "=command:7c7f0f4dd0ff1d59",
                ]);
                for entry in &mut policy.rules[..2] {
                    entry.source = Some(Source::AllowAlways);
                }
                policy
            }
            "strict" => Self {
                strict: true,
                ..listed(&["*"])
            },
            "empty" => Self {
                safe_bins: SafeBins {
                    names: Vec::new(),
                    ..SafeBins::default()
                },
                ..listed(&[])
            },
            other => panic!("no policy {other}"),
        }
    }
}

fn effective(rules: &[Entry], ask: Ask) -> Effective<'_> {
    Effective {
        security: Security::Allowlist,
        ask,
        allowlist: rules.iter().collect(),
        ..Effective::default()
    }
}

fn disk() -> MapOfPrograms {
    let mut programs = MapOfPrograms::new("/opt/skills:/usr/bin:/bin");
    for name in [
        "awk", "bash", "busybox", "cat", "cut", "date", "echo", "env", "eval", "find", "fish",
        "git", "git-lfs", "gitk", "grep", "head", "jq", "ls", "make", "nice", "node", "nohup",
        "printf", "python3", "rm", "sed", "setsid", "sh", "sort", "stdbuf", "sudo", "tail", "test",
        "time", "timeout", "toybox", "tr", "true", "uniq", "wc", "xargs", "zsh",
    ] {
        if name != "eval" {
            programs.add(&format!("/usr/bin/{name}"));
        }
    }
    for path in [
        "/bin/echo",
        "/bin/sh",
        "/w/s.sh",
        "/w/x y",
        "/w/[a]",
        "/w/link/../s.sh",
        "/t/tool",
        "/t/nice",
        "/t/sh",
        "/t/head",
        "/opt/a/b/tool",
        "/opt/a/b/tool2",
        "/opt/brew/bash",
        "/opt/skills/deploy",
        "/home/u/bin/tool",
    ] {
        programs.add(path);
    }
    programs.link("/w/link");
    programs
}

/// A row of the table, and what is needed to judge it.
struct Row<'t> {
    line: &'t str,
    argv: Vec<String>,
    cwd: &'t str,
    policy: &'t str,
    verdict: &'t str,
    because: &'t str,
}

impl Row<'_> {
    fn context<'a>(
        &'a self,
        named: &'a Named,
        disk: &'a MapOfPrograms,
        line: &'a BoundLine,
    ) -> Context<'a> {
        Context {
            cwd: Path::new(self.cwd),
            home: Some(Path::new("/home/u")),
            programs: disk,
            skills: &named.skills,
            safe_bins: &named.safe_bins,
            line,
            variables: &[],
        }
    }
}

fn rows() -> impl Iterator<Item = Row<'static>> {
    let lines = TABLE.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| {
        let columns: Vec<&str> = line.split('\t').collect();
        let [argv, cwd, policy, verdict, because, why] = columns[..] else {
            panic!("six columns: {line}")
        };
        assert!(why.starts_with("3."), "a rule of the specification: {line}");
        let argv: Vec<String> = serde_json::from_str(argv).unwrap();
        let long = |word: String| match word.as_str() {
            "%LONG%" => format!("echo {}", "x".repeat(20_000)),
            "%CHAIN%" => vec!["echo x"; 100].join(" && "),
            _ => word,
        };
        Row {
            line,
            argv: argv.into_iter().map(long).collect(),
            cwd,
            policy,
            verdict,
            because,
        }
    })
}

fn said(verdict: &Verdict, assessment: &Assessment<'_>) -> String {
    match verdict {
        Verdict::Refuse(denial) => denial.to_string(),
        Verdict::Run { listed: false } => "durable".to_owned(),
        Verdict::Run { listed: true } => {
            let covers = assessment
                .segments
                .iter()
                .map(|segment| match &segment.cover {
                    Ok(Cover::Rule { entry, .. }) => format!("rule {}", entry.pattern),
                    Ok(Cover::Inner) => "inner".to_owned(),
                    Ok(Cover::SafeBin) => "safe-bin".to_owned(),
                    Ok(Cover::Skill) => "skill".to_owned(),
                    Err(miss) => format!("not covered: {miss}"),
                });
            covers.collect::<Vec<_>>().join(", ")
        }
    }
}

#[test]
fn every_line_of_the_table_gets_its_verdict() {
    let disk = disk();
    let mut count = 0;
    let mut wrong = Vec::new();
    for row in rows() {
        count += 1;
        let named = Named::find(row.policy);
        let line = BoundLine::default();
        let context = row.context(&named, &disk, &line);
        let verdict = |ask, approved| {
            let policy = effective(&named.rules, ask);
            let assessment = assess(&row.argv, &policy, &context);
            let question = Question {
                policy: &policy,
                assessment: &assessment,
                approved,
                program: "openclaw",
                strict_inline_eval: named.strict,
                remote: None,
            };
            let verdict = decide(&question);
            let said = said(&verdict, &assessment);
            (verdict, said)
        };
        let (found, said) = verdict(Ask::OnMiss, false);
        let runs = matches!(found, Verdict::Run { .. });
        if runs != (row.verdict == "run") || !said.contains(row.because) {
            wrong.push(format!("{}\n    found: {said}", row.line));
        }
        let refused_with = |text: &str| said.starts_with(&format!("SYSTEM_RUN_DENIED: {text}"));
        assert!(runs || refused_with("approval required ("), "{said}");
        let (off, said) = verdict(Ask::Off, false);
        assert_eq!(runs, matches!(off, Verdict::Run { .. }), "{said}");
        if !runs && !named.strict {
            assert!(
                said.starts_with("SYSTEM_RUN_DENIED: allowlist miss ("),
                "{said}"
            );
        }
        let (always, _) = verdict(Ask::Always, false);
        assert!(matches!(always, Verdict::Refuse(_)), "{}", row.line);
        let (approved, _) = verdict(Ask::Always, true);
        assert_eq!(approved, Verdict::Run { listed: false }, "{}", row.line);
    }
    assert!(
        wrong.is_empty(),
        "{} of {count}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(count >= 150, "{count}");
}

#[test]
fn a_suggested_rule_allows_the_command() {
    let disk = disk();
    let mut suggested = 0;
    for row in rows().filter(|row| row.verdict == "miss") {
        let named = Named::find(row.policy);
        let line = BoundLine::default();
        let context = row.context(&named, &disk, &line);
        let before = effective(&named.rules, Ask::OnMiss);
        let Some(patterns) = assess(&row.argv, &before, &context).allowing_patterns() else {
            continue;
        };
        suggested += 1;
        let added: Vec<Entry> = patterns.iter().map(|pattern| Entry::new(pattern)).collect();
        let rules: Vec<Entry> = named.rules.iter().cloned().chain(added).collect();
        let after = effective(&rules, Ask::OnMiss);
        let found = assess(&row.argv, &after, &context);
        assert!(
            found.satisfied(),
            "{} {patterns:?}: {:?}",
            row.line,
            found.miss()
        );
        for pattern in &patterns {
            let word = super::super::verdict::shell_word(pattern);
            let read = super::super::script::split(&word, false).unwrap();
            assert_eq!(&read[0][0].text, pattern, "quoted for a shell: {word}");
        }
    }
    assert!(suggested > 50, "{suggested}");
}

#[test]
fn what_runs_is_what_was_judged() {
    let disk = disk();
    // argv, executed argv, executed file
    for (line, executed, file) in [
        ("git|x", "/usr/bin/git|x", "/real/usr/bin/git"),
        ("nice|-n|3|git|x", "/usr/bin/git|x", "/real/usr/bin/git"),
        ("/t/nice|git|x", "/usr/bin/git|x", "/real/usr/bin/git"),
        ("./s.sh", "/w/./s.sh", "/real/w/s.sh"),
        ("sh|s.sh", "/usr/bin/sh|s.sh", "/real/usr/bin/sh"),
        ("sh|-c|echo x", "sh|-c|echo x", "/real/usr/bin/sh"),
        (
            "nice|sh|-c|echo x",
            "nice|sh|-c|echo x",
            "/real/usr/bin/nice",
        ),
    ] {
        let argv: Vec<String> = line.split('|').map(str::to_owned).collect();
        let named = Named::find("vectors");
        let policy = effective(&named.rules, Ask::OnMiss);
        let context = Context {
            cwd: Path::new("/w"),
            home: None,
            programs: &disk,
            skills: &[],
            safe_bins: &named.safe_bins,
            line: &BoundLine::default(),
            variables: &[],
        };
        let found = assess(&argv, &policy, &context);
        assert!(found.satisfied(), "{line}: {:?}", found.miss());
        let execution = found.execution.unwrap();
        assert_eq!(execution.argv.join("|"), executed, "{line}");
        assert_eq!(execution.program, Ok(PathBuf::from(file)), "{line}");
    }
}
