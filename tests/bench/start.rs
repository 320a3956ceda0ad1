//! Size and start.

use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::Bench;
use crate::report::{Row, Sample};
use crate::support::PATIENCE;
use crate::support::home::Home;
use crate::support::process::{Running, SECRET, command, free_port, program};

pub fn size(bench: &mut Bench) {
    let bytes = std::fs::metadata(program()).unwrap().len();
    let row = Row::new("stripped binary", "MB", bytes as f64 / 1e6)
        .at_most(4.0)
        .reference(bench.other.size_mb())
        .note("three quarters are machine code: gateway, node host, browser proxy, discovery, TLS; with opt-level z it is 8 % smaller and a round trip takes 11 % longer; the reference: its Node and its package, as installed")
        .command("ls -l target/release/openclaw");
    bench.report.row(row);
}

pub fn start(bench: &mut Bench) {
    let ours = Sample::of_durations((0..bench.runs()).map(|_| start_once()));
    let row = Row::new("start to first accepted connection", "ms", ours)
        .at_most(20.0)
        .reference(bench.other.gateway().map(|gateway| gateway.starts.clone()))
        .command("openclaw gateway run, then connect until it is accepted");
    bench.report.row(row);
}

/// From spawning the gateway on prepared state to the first connection it accepts.
fn start_once() -> Duration {
    let port = free_port();
    let home = Home::with_gateway(port, SECRET);
    let mut command = command(&program(), &home);
    command.args(["gateway", "run"]);
    reachable_after(command, port, PATIENCE).1
}

/// Starts a process and waits until it accepts a connection on `port`; how long that took.
pub fn reachable_after(command: Command, port: u16, patience: Duration) -> (Running, Duration) {
    let begun = Instant::now();
    let process = Running::start_group(command);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(begun.elapsed() < patience, "{}", process.output());
        std::thread::sleep(Duration::from_micros(200));
    }
    (process, begun.elapsed())
}

/// Wall time of whole command runs after one warm-up.
pub fn wall(runs: usize, prepared: impl Fn() -> Command) -> Sample {
    let once = || {
        let mut command = prepared();
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let begun = Instant::now();
        assert!(command.status().unwrap().success(), "{command:?}");
        begun.elapsed()
    };
    once();
    Sample::of_durations((0..runs).map(|_| once()))
}
