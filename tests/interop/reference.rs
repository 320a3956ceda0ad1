//! The reference program as a child process: its own Node, its own home, no mDNS, no plugins, no updates.
//!
//! Two releases are installed; what names none is the older one. A long-running one is the leader of a
//! process group, which ends with it: the reference starts children of its own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::home::Home;
use serde_json::Value;

use crate::support::process::{self, Outcome, Running, SECRET, command};

/// The reference needs seconds where this program needs milliseconds.
pub const REFERENCE_PATIENCE: Duration = Duration::from_secs(300);

fn install() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/interop")
}

/// The Node that runs the reference.
pub fn node_program() -> PathBuf {
    let node = install().join("node24/bin/node");
    assert!(
        node.exists(),
        "run `make interop`, which installs the reference first"
    );
    node
}

/// Keeps the reference to itself: its own Node first, no mDNS, no updates.
pub fn quiet(command: &mut Command) {
    let folder = install().join("node24/bin");
    let path = format!(
        "{}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
        folder.display()
    );
    command
        .env("PATH", path)
        .env("OPENCLAW_DISABLE_BONJOUR", "1")
        .env("OPENCLAW_NO_AUTO_UPDATE", "1");
}

/// A home for reference processes: plugins off, gateway on `port` (if any).
pub fn home(port: Option<u16>) -> Home {
    let home = Home::new();
    home.write_config(&config(port));
    home
}

/// The configuration that both programs read.
pub fn config(port: Option<u16>) -> String {
    let gateway = port.map_or(String::new(), |port| {
        format!(
            r#""gateway": {{ "mode": "local", "port": {port}, "bind": "loopback", "auth": {{ "mode": "token", "token": "{SECRET}" }} }},"#
        )
    });
    format!(r#"{{ {gateway} "plugins": {{ "enabled": false }} }}"#)
}

/// One installed release of the reference.
#[derive(Clone, Copy, Debug)]
pub struct Release(&'static str);

/// Protocol 3.
pub const OLDER: Release = Release("2026.4.29");
/// Protocol 4.
pub const NEWER: Release = Release("2026.9.6");

impl Release {
    /// A command line of this release at `home`; the shared secret comes from the configuration.
    pub fn bare_command(self, home: &Home) -> Command {
        let mut command = command(&node_program(), home);
        quiet(&mut command);
        command.arg(self.package());
        command
    }

    /// Where `install.sh` puts it, with a file `installed` once that is complete.
    pub fn folder(self) -> PathBuf {
        install().join(format!("openclaw-{}", self.0))
    }

    /// The program that its Node runs.
    pub fn package(self) -> PathBuf {
        let package = self.folder().join("node_modules/openclaw/openclaw.mjs");
        assert!(
            package.exists(),
            "run `make interop`, which installs the reference first"
        );
        package
    }

    /// Starts a gateway of this release and waits until it is ready. The newer one gives up on a busy machine
    /// and leaves the next start to its supervisor.
    #[track_caller]
    pub fn gateway(self, home: &Home) -> Running {
        ready(|| {
            let mut command = self.bare_command(home);
            command.args(["gateway", "run"]);
            Running::start_group(command)
        })
    }

    /// The same with the shared secret in the environment.
    pub fn command(self, home: &Home) -> Command {
        let mut command = self.bare_command(home);
        command.env("OPENCLAW_GATEWAY_TOKEN", SECRET);
        command
    }

    /// Runs one command.
    pub fn run(self, home: &Home, arguments: &[&str]) -> Outcome {
        finish(self.command(home), arguments)
    }

    /// Starts a long-running command.
    pub fn start(self, home: &Home, arguments: &[&str]) -> Running {
        let mut command = self.command(home);
        command.args(arguments);
        Running::start_group(command)
    }

    /// A node host.
    pub fn node_host(self, home: &Home, port: u16) -> Running {
        let port = port.to_string();
        let name = ["--display-name", "Reference Node"];
        self.start(
            home,
            &[&["node", "run", "--port", &port][..], &name].concat(),
        )
    }
}

/// Runs a prepared command to its end.
pub fn finish(mut command: Command, arguments: &[&str]) -> Outcome {
    command.args(arguments);
    process::finish(command)
}

/// stdout of a command whose text mode may print notes before the JSON.
pub fn document(outcome: &Outcome) -> Value {
    let start = outcome
        .stdout
        .find(['{', '['])
        .unwrap_or_else(|| panic!("no JSON: {outcome:?}"));
    serde_json::from_str(&outcome.stdout[start..])
        .unwrap_or_else(|error| panic!("{error}: {outcome:?}"))
}

/// Processes that still run with `home` as their `HOME`.
pub fn left_behind(home: &Home) -> Vec<String> {
    let wanted = format!("HOME={}", home.path().display());
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|process| {
            let read = |name: &str| std::fs::read(process.path().join(name));
            let environment = read("environ").ok()?;
            let mine = environment
                .split(|byte| *byte == 0)
                .any(|variable| variable == wanted.as_bytes());
            let line = String::from_utf8_lossy(&read("cmdline").ok()?).replace('\0', " ");
            (mine && !line.is_empty()).then_some(line)
        })
        .collect()
}

/// Waits until nothing runs at `home` any more.
#[track_caller]
pub fn nothing_left_behind(home: &Home) {
    wait_long("the reference's processes to be gone", || {
        left_behind(home).is_empty().then_some(())
    });
}

/// Runs one command of the older release.
pub fn run(home: &Home, arguments: &[&str]) -> Outcome {
    OLDER.run(home, arguments)
}

/// Starts its gateway and waits until it is ready.
#[track_caller]
pub fn gateway(home: &Home) -> Running {
    OLDER.gateway(home)
}

/// Starts a gateway until it says that it is ready, thrice at most.
#[track_caller]
pub fn ready(start: impl Fn() -> Running) -> Running {
    let mut ended = Vec::new();
    let mut process = start();
    wait_long("the reference gateway", || {
        if !process.alive() {
            ended.push(process.output());
            assert!(ended.len() < 3, "it ended:\n{}", ended.join("\n"));
            process = start();
        }
        process.output().contains("[gateway] ready").then_some(())
    });
    process
}

/// A node host of the older release.
pub fn node_host(home: &Home, port: u16) -> Running {
    OLDER.node_host(home, port)
}

/// Waits for a condition with the reference's patience.
#[track_caller]
pub fn wait_long<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + REFERENCE_PATIENCE;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Copies a state directory (without lock files) to another home.
pub fn copy_state(from: &Home, to: &Home) {
    for folder in ["devices", "nodes", "identity"] {
        std::fs::create_dir_all(to.state().join(folder)).unwrap();
        let Ok(entries) = std::fs::read_dir(from.state().join(folder)) else {
            continue;
        };
        for entry in entries {
            let entry = entry.unwrap();
            std::fs::copy(
                entry.path(),
                to.state().join(folder).join(entry.file_name()),
            )
            .unwrap();
        }
    }
}
