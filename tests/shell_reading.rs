//! What the policy lets a shell run, and what real shells then run: every program that starts must be one
//! that a rule names.
//!
//! Random scripts around allowed ones are judged; those that are allowed are run, with a search path that
//! leads to stubs which write down their names. `OPENCLAW_TEST_SHELLS` adds shells, as paths separated by
//! `:`, and `PROPTEST_CASES` scripts.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use openclaw::exec::{BoundLine, Context, Disk, Effective, Entry, SafeBins, assess};
use proptest::prelude::*;

use crate::support::home::Home;

/// Programs that rules name: the first by its path, the second by its name.
const LISTED: [&str; 2] = ["listed", "named"];

/// Programs that no rule names; none that the start-up files of a machine may use.
const UNLISTED: [&str; 9] = [
    "evil", "rm9", "ls9", "x", "5", "c", "listedx", "xlisted", "namedx",
];

/// Programs that rules name by their names too, though to a shell these words are something else.
const SHELL_WORDS: [&str; 14] = [
    "alias", "builtin", "cd", "command", "coproc", "eval", "exec", "export", "hash", "noglob",
    "printf", "test", "time", "trap",
];

/// Shells that are looked for where the system keeps its own.
const SHELLS: [&str; 7] = ["sh", "ash", "bash", "dash", "fish", "ksh", "zsh"];

/// Scripts that are allowed, to be changed.
const ALLOWED: [&str; 22] = [
    "listed x",
    "named x",
    "listed a && named b",
    "listed a || named b; listed c",
    "listed a | named",
    "listed 'a b' \"c d\" e\\ f",
    "listed $LC_X ${LC_Y} \"$LC_Z\"",
    "'list'ed x",
    "./listed x # comment",
    "nice -n 3 listed x",
    "timeout 5 listed x",
    "env named x",
    "sh -c 'listed x; named y'",
    "sh -c \"listed x\"",
    "nice sh -c 'named x'",
    "listed * ?x {a,b} ~",
    "head -n 1 | listed",
    "tr a b | named x",
    "listed 'two\nlines'",
    "listed a#b",
    "listed -x --y=z 100%",
    "sh -c '$0 \"$@\"' ./listed x",
];

/// Scripts that would run what no rule names, in one shell or another.
const HOSTILE: [&str; 36] = [
    "eval evil",
    "exec evil",
    "command evil",
    "builtin eval evil",
    "noglob evil",
    "coproc evil",
    "time evil",
    "alias listed=evil; listed",
    "alias named=evil\nnamed",
    "trap evil EXIT",
    "hash -p ./evil named; named",
    "export PATH=/; named",
    "cd ..; ./evil",
    "printf -v 'a[$(evil)]' x",
    "test -v 'a[$(evil)]'",
    "A=1 evil",
    "PATH=. named; evil",
    "$LC_Y",
    "timeout $LC_Z listed x",
    "timeout $LC_Z",
    "nice $LC_Y listed",
    "env $LC_Y",
    "sh -c \"$LC_Y\"",
    "sh $LC_W listed",
    "listed `evil`",
    "listed $(evil)",
    "listed \"$(evil)\"",
    "listed <(evil)",
    "listed & evil",
    "listed $'\\' ' ; evil ; named ' '",
    "listed ${LC_X@P}",
    "listed $[LC_V]",
    "listed() { evil; }; listed",
    "{ evil; }",
    "! evil",
    "if listed; then evil; fi",
];

/// What is put into them, and what other scripts are made of.
const PIECES: [&str; 76] = [
    " ", "\t", "\n", "\r", "\u{b}", "\\", "\\\n", "'", "\"", "`", "$", "$(", ")", "(", "{", "}",
    "[", "]", "<", ">", "<<", "|", "||", "|&", "&", "&&", "&!", ";", ";;", "#", "!", "!!", "^",
    "%", "*", "?", "~", "=", "+", "-", "--", ":", ".", ",", "@", "$'", "$\"", "${", "$[", "$((",
    "))", "evil", " evil", "evil ", ";evil;", "listed", " named ", "x", "5", "-c", "rm9", "ls9",
    "$LC_X", "$LC_Y", "${LC_Z}", "$IFS", "$0", "$@", "A=1 ", "eval ", "exec ", ". ", "command ",
    "\u{4f60}", "\u{a0}", "\u{e9}",
];

/// What stands around a script in an argv.
const ARGUMENTS: [&str; 16] = [
    "-c", "-ec", "-lc", "-ce", "-cx", "--", "-", "-x", "+x", "-s", "-o", "pipefail", "x", "./evil",
    "--norc", "-ic",
];

/// A directory with the stubs, which is also the working directory.
struct Stage {
    home: Home,
    log: PathBuf,
    entries: usize,
}

impl Stage {
    fn new() -> Self {
        let home = Home::new();
        let log = home.path().join("tmp/log");
        let stage = home.path().join("stage");
        std::fs::create_dir(&stage).unwrap();
        for name in LISTED.iter().chain(&UNLISTED).chain(&SHELL_WORDS) {
            let script = format!("#!/bin/sh\necho \"${{0##*/}}\" >>'{}'\n", log.display());
            let path = stage.join(name);
            std::fs::write(&path, script).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        for tool in ["nice", "timeout", "env", "head", "tr", "sh"] {
            symlink(Path::new("/usr/bin").join(tool), stage.join(tool)).unwrap();
        }
        let entries = std::fs::read_dir(&stage).unwrap().count();
        Self { home, log, entries }
    }

    fn path(&self) -> PathBuf {
        self.home.path().join("stage")
    }

    fn rules(&self) -> Vec<Entry> {
        let listed = self.path().join(LISTED[0]);
        let names = [LISTED[1]].into_iter().chain(SHELL_WORDS);
        let rules = std::iter::once(listed.to_str().unwrap()).chain(names);
        rules.map(Entry::new).collect()
    }

    fn is_allowed(&self, argv: &[String]) -> bool {
        let rules = self.rules();
        let policy = Effective {
            allowlist: rules.iter().collect(),
            ..Effective::default()
        };
        let path = self.path();
        let mut directories = vec![path.clone()];
        directories.extend(
            shells()
                .iter()
                .filter_map(|shell| shell.parent().map(Path::to_owned)),
        );
        let context = Context {
            cwd: &path,
            home: Some(self.home.path()),
            programs: &Disk {
                path: path.to_str().unwrap(),
                home: Some(self.home.path()),
            },
            skills: &[],
            safe_bins: &SafeBins {
                trusted_directories: directories,
                ..SafeBins::default()
            },
            line: &BoundLine::default(),
            variables: &[],
        };
        assess(argv, &policy, &context).satisfied()
    }

    /// Runs an argv and gives the names of the programs that started.
    fn run(&self, argv: &[String]) -> Vec<String> {
        let _ = std::fs::remove_file(&self.log);
        let mut command = Command::new(&argv[0]);
        command
            .args(&argv[1..])
            .current_dir(self.path())
            .env_clear()
            .env("PATH", self.path())
            .env("HOME", self.home.path())
            .env("LC_X", "$(evil) `evil` a[$(evil)] ;evil")
            .env("LC_Y", "evil")
            .env("LC_Z", "5 evil")
            .env("LC_W", "-c evil")
            .env("LC_V", "a[$(evil)]")
            .stdin(Stdio::null());
        if let Some(libraries) = std::env::var_os("LD_LIBRARY_PATH") {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        command.output().unwrap();
        let entries = std::fs::read_dir(self.path()).unwrap().count();
        assert_eq!(entries, self.entries, "a file was made by {argv:?}");
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        log.lines().map(str::to_owned).collect()
    }

    /// Judges and, if allowed, runs; fails on a program that no rule names.
    fn check(&self, argv: &[String]) -> Result<bool, TestCaseError> {
        if !self.is_allowed(argv) {
            return Ok(false);
        }
        let ran = self.run(argv);
        let named = |name: &str| LISTED.contains(&name) || SHELL_WORDS.contains(&name);
        let unnamed = ran.iter().find(|name| !named(name));
        prop_assert!(unnamed.is_none(), "{argv:?} ran {ran:?}");
        Ok(true)
    }
}

/// Each shell once, though several names may lead to it.
fn shells() -> Vec<PathBuf> {
    let places = ["/usr/bin", "/bin"].iter();
    let system = SHELLS
        .iter()
        .flat_map(|name| places.clone().map(move |place| Path::new(place).join(name)));
    let mut shells: Vec<PathBuf> = Vec::new();
    for shell in system.filter(|path| path.exists()) {
        let same = |known: &PathBuf| known.canonicalize().ok() == shell.canonicalize().ok();
        if !shells.iter().any(same) {
            shells.push(shell);
        }
    }
    let more = std::env::var_os("OPENCLAW_TEST_SHELLS").unwrap_or_default();
    shells.extend(std::env::split_paths(&more).filter(|path| path.is_absolute()));
    shells
}

fn cases() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|text| text.parse().ok());
    ProptestConfig {
        cases: cases.unwrap_or(40),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// An allowed script with a few pieces put in, or pieces alone.
fn script() -> impl Strategy<Value = String> {
    let piece = || prop::sample::select(&PIECES[..]);
    let changed = (
        prop::sample::select([&ALLOWED[..], &HOSTILE[..]].concat()),
        prop::collection::vec((any::<prop::sample::Index>(), piece()), 0..4),
    );
    let changed = changed.prop_map(|(script, changes)| {
        let mut script = script.to_owned();
        for (at, piece) in changes {
            let places: Vec<usize> = (0..=script.len())
                .filter(|at| script.is_char_boundary(*at))
                .collect();
            script.insert_str(places[at.index(places.len())], piece);
        }
        script
    });
    let made = prop::collection::vec(piece(), 1..10)
        .prop_map(|pieces| format!("listed {}", pieces.concat()));
    prop_oneof![4 => changed, 1 => made]
}

fn argv_around(shell: &Path, before: &[&str], script: &str, after: &[&str]) -> Vec<String> {
    let mut argv = vec![shell.display().to_string()];
    argv.extend(before.iter().map(|word| (*word).to_owned()));
    argv.push(script.to_owned());
    argv.extend(after.iter().map(|word| (*word).to_owned()));
    argv
}

#[test]
fn allowed_scripts_run_in_every_shell_what_they_say() {
    let stage = Stage::new();
    for shell in shells() {
        let zsh_or_fish = ["zsh", "fish"].iter().any(|name| shell.ends_with(name));
        for script in ALLOWED {
            let argv = argv_around(&shell, &["-c"], script, &[]);
            let allowed = stage.check(&argv).unwrap();
            assert!(allowed || zsh_or_fish, "{argv:?}");
        }
    }
    let argv = |words: &[&str]| {
        words
            .iter()
            .map(|word| (*word).to_owned())
            .collect::<Vec<_>>()
    };
    let ran = stage.run(&argv(&["/bin/sh", "-c", "listed x | named; evil"]));
    assert!(
        ran.contains(&"evil".to_owned()),
        "the stubs write down their names: {ran:?}"
    );
}

#[test]
fn hostile_scripts_are_not_allowed_and_do_run_something_else() {
    let stage = Stage::new();
    let mut bite = 0;
    for script in HOSTILE {
        let mut ran = Vec::new();
        for shell in shells() {
            let argv = argv_around(&shell, &["-c"], script, &[]);
            assert!(!stage.is_allowed(&argv), "{argv:?}");
            ran.extend(stage.run(&argv));
        }
        bite += usize::from(ran.contains(&"evil".to_owned()));
    }
    // Which of them work depends on the shells that are there; in dash and bash most do.
    assert!(bite > HOSTILE.len() / 2, "{bite}");
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn what_really_runs_is_named_by_a_rule(scripts in prop::collection::vec(script(), 4)) {
        let stage = Stage::new();
        for shell in shells() {
            for script in &scripts {
                stage.check(&argv_around(&shell, &["-c"], script, &[]))?;
            }
        }
    }

    #[test]
    fn options_around_a_script_hide_no_program(
        before in prop::collection::vec(prop::sample::select(&ARGUMENTS[..]), 0..4),
        script in prop::sample::select(&["listed x", "named x", "evil", "$0 \"$@\"", "./listed", "./evil"][..]),
        after in prop::collection::vec(prop::sample::select(&ARGUMENTS[..]), 0..3),
        tail in prop::sample::select(&["listed x", "evil", "./listed", "./evil", "-c"][..]),
    ) {
        let stage = Stage::new();
        for shell in shells() {
            let after = [&after[..], &[tail]].concat();
            stage.check(&argv_around(&shell, &before, script, &after))?;
            stage.check(&argv_around(&shell, &["-c"], script, &after))?;
        }
    }
}
