//! Size, start and single commands.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::report::{Report, Sample};
use crate::support::home::Home;
use crate::support::process::{Gateway, Running, SECRET, command, free_port, program};

const RUNS: usize = 21;

pub fn measure(report: &mut Report) {
    let size = std::fs::metadata(program()).unwrap().len() as f64 / 1e6;
    report.row(
        "stripped binary",
        "≤ 4 MB",
        format!("{size:.2} MB"),
        size <= 4.0,
    );
    let starts = Sample::of_durations((0..RUNS).map(|_| start_once()));
    report.row(
        "start to first accepted connection",
        "≤ 20 ms",
        starts.text("ms"),
        starts.median() <= 20.0,
    );
    let gateway = Gateway::start();
    let version = wall(&gateway.home, &program(), &["--version"]);
    report.row(
        "openclaw --version",
        "≤ 5 ms",
        version.text("ms"),
        version.median() <= 5.0,
    );
    let list = wall(&gateway.home, &program(), &["nodes", "list", "--json"]);
    report.row(
        "openclaw nodes list --json",
        "≤ 15 ms",
        list.text("ms"),
        list.median() <= 15.0,
    );
    if let Some((node, script)) = reference() {
        let home = Home::with_gateway(gateway.address.port(), SECRET);
        let arguments = [script.to_str().unwrap(), "nodes", "list", "--json"];
        let reference = wall_runs(&home, &node, &arguments, 3);
        report.row(
            "… the reference's, same gateway",
            "for comparison",
            format!(
                "{}, {:.0} times ours",
                reference.text("ms"),
                reference.median() / list.median()
            ),
            true,
        );
    }
}

/// The installed reference, when `make interop` put it there.
fn reference() -> Option<(PathBuf, PathBuf)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/interop");
    let node = root.join("node24/bin/node");
    let script = root.join("openclaw-2026.4.29/node_modules/openclaw/openclaw.mjs");
    (node.exists() && script.exists()).then_some((node, script))
}

/// From spawning the gateway on prepared state to the first connection it accepts.
fn start_once() -> Duration {
    let port = free_port();
    let home = Home::with_gateway(port, SECRET);
    let mut command = command(&program(), &home);
    command.args(["gateway", "run"]);
    let begun = Instant::now();
    let process = Running::start(command);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "{}",
            process.output()
        );
        std::thread::sleep(Duration::from_micros(200));
    }
    begun.elapsed()
}

fn wall(home: &Home, program: &Path, arguments: &[&str]) -> Sample {
    wall_runs(home, program, arguments, RUNS)
}

/// Wall time of whole command runs after one warm-up.
fn wall_runs(home: &Home, program: &Path, arguments: &[&str], runs: usize) -> Sample {
    let once = || {
        let mut command = command(program, home);
        command
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let begun = Instant::now();
        assert!(command.status().unwrap().success(), "{arguments:?}");
        begun.elapsed()
    };
    once();
    Sample::of_durations((0..runs).map(|_| once()))
}
