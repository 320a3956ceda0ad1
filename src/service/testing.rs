//! Help for the tests of this room: services with awkward values.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::config::{Environment, Paths};
use crate::service::account::Account;
use crate::service::ask::Asker;
use crate::service::definition::{Definition, Origin, Program, Scope};
use crate::service::name::Kind;
use crate::store::testing::TempDir;

/// A service of a user whose home has a name that every quoting rule has an opinion on.
pub const HOME: &str = "/home/u v/a%b[1]";

/// What the node is called.
pub const NAME: &str = "M\"y\\ $HOME 100% 'Node' <&>;";

/// An account that exists on no machine.
pub fn account() -> Account {
    Account {
        name: "openclaw-test".to_owned(),
        uid: 4_711,
        gid: 4_711,
        home: PathBuf::from(HOME),
    }
}

/// A service with `variables` set at its install; `launchd` says who runs it.
pub fn define(kind: Kind, scope: Scope, variables: &[(&str, &str)], launchd: bool) -> Definition {
    let variables = variables.iter().copied().chain([("HOME", HOME)]);
    let environment = Environment::from_pairs(variables);
    let paths = Paths::resolve(&environment, None).unwrap();
    let words: &[&str] = match kind {
        Kind::Gateway => &["gateway", "--port", "18789"],
        Kind::Node => &[
            "node",
            "run",
            "--host",
            "gw.lan",
            "--port",
            "19000",
            "--display-name",
            NAME,
        ],
    };
    let program = Program {
        executable: PathBuf::from("/usr/bin/true"),
        wrapped: environment.get("OPENCLAW_WRAPPER").is_some(),
        arguments: words.iter().map(|it| (*it).to_owned()).collect(),
    };
    let port = (kind == Kind::Gateway).then_some(18_789);
    let origin = Origin {
        environment: &environment,
        paths: &paths,
        home: Path::new(HOME),
        here: Path::new("/"),
        launchd,
    };
    Definition::new(kind, scope, program, port, origin).unwrap()
}

/// A directory with programs that write down what they are asked and answer as they are told.
pub struct Programs {
    directory: TempDir,
}

impl Programs {
    /// None yet.
    pub fn new() -> Self {
        Self {
            directory: TempDir::new(),
        }
    }

    /// A program: `answers` are the branches of a shell `case` over all arguments in one word.
    pub fn add(self, name: &str, answers: &str) -> Self {
        let path = self.directory.join(name);
        let asked = self.directory.join("asked");
        let script = format!(
            "#!/bin/sh\necho \"{name} $*\" >> '{}'\ncase \"$*\" in\n{answers}\nesac\n",
            asked.display()
        );
        // Another thread that starts a program meanwhile would inherit a file open for writing, and the
        // script could not be executed: the copy is made by a process of its own.
        std::fs::write(path.with_extension("source"), script).unwrap();
        let source = path.with_extension("source");
        let done = Command::new("install")
            .args(["-m", "755"])
            .args([&source, &path])
            .status();
        assert!(done.unwrap().success());
        self
    }

    /// Asks these programs and the system's.
    pub fn asker(&self) -> Asker {
        let path = format!("{}:/usr/bin:/bin", self.directory.path().display());
        Asker::new(&Environment::from_pairs([("PATH", path.as_str())]))
    }

    /// What was asked, in order.
    pub fn asked(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.directory.join("asked")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}
