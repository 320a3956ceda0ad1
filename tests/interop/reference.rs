//! The reference program as a child process: its own Node, its own home, no mDNS, no plugins.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::home::Home;
use crate::support::process::{Outcome, Running, SECRET, command};

/// The reference needs seconds where this program needs milliseconds.
pub const REFERENCE_PATIENCE: Duration = Duration::from_secs(120);

fn install() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/interop")
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

/// A command line of the reference at `home`.
pub fn openclaw_js(home: &Home) -> Command {
    let node = install().join("node24/bin/node");
    assert!(
        node.exists(),
        "run `make interop`, which installs the reference first"
    );
    let mut command = command(&node, home);
    command
        .env(
            "PATH",
            format!(
                "{}:/usr/local/bin:/usr/bin:/bin",
                install().join("node24/bin").display()
            ),
        )
        .env("OPENCLAW_DISABLE_BONJOUR", "1")
        .env("OPENCLAW_GATEWAY_TOKEN", SECRET)
        .arg(install().join("packages/node_modules/openclaw/openclaw.mjs"));
    command
}

/// Runs one command of the reference.
pub fn run(home: &Home, arguments: &[&str]) -> Outcome {
    let output = openclaw_js(home)
        .args(arguments)
        .output()
        .expect("node starts");
    Outcome {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Starts a long-running command of the reference.
pub fn start(home: &Home, arguments: &[&str]) -> Running {
    let mut command = openclaw_js(home);
    command.args(arguments);
    Running::start(command)
}

/// Starts its gateway and waits until it is ready.
#[track_caller]
pub fn gateway(home: &Home) -> Running {
    let mut process = start(home, &["gateway", "run"]);
    wait_long("the reference gateway", || {
        assert!(process.alive(), "it ended:\n{}", process.output());
        process.output().contains("[gateway] ready").then_some(())
    });
    process
}

/// A node host of the reference.
pub fn node_host(home: &Home, port: u16) -> Running {
    start(
        home,
        &[
            "node",
            "run",
            "--port",
            &port.to_string(),
            "--display-name",
            "Reference Node",
        ],
    )
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
