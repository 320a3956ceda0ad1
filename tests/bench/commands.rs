//! Single commands of the command line.

use std::path::Path;
use std::time::Instant;

use serde_json::json;

use crate::Bench;
use crate::report::{Row, Sample};
use crate::start::wall;
use crate::support::home::Home;
use crate::support::peer::Peer;
use crate::support::process::{Gateway, SECRET, command, program};

/// Wall time of one of our commands.
pub fn ours(runs: usize, home: &Home, arguments: &[&str]) -> Sample {
    wall(runs, || {
        let mut command = command(&program(), home);
        command.args(arguments);
        command
    })
}

pub fn version(bench: &mut Bench) {
    let home = Home::new();
    let nothing = wall(bench.runs(), || command(Path::new("/bin/true"), &home));
    let row = Row::new(
        "openclaw --version",
        "ms",
        ours(bench.runs(), &home, &["--version"]),
    )
    .at_most(5.0)
    .reference(bench.other.wall(&home, &["--version"]))
    .note(&format!("/bin/true: {}", nothing.text("ms")))
    .command("openclaw --version");
    bench.report.row(row);
}

pub fn list(bench: &mut Bench) {
    const LIST: [&str; 3] = ["nodes", "list", "--json"];
    let gateway = Gateway::start();
    let exchange = || {
        let begun = Instant::now();
        let mut operator = Peer::operator(gateway.address, SECRET);
        operator.call("node.list", json!({})).unwrap();
        begun.elapsed()
    };
    let network = Sample::of_durations((0..bench.runs()).map(|_| exchange()));
    let row = Row::new(
        "openclaw nodes list --json",
        "ms",
        ours(bench.runs(), &gateway.home, &LIST),
    )
    .limited(15.0 + network.median(), "≤ 15 ms plus network")
    .reference(bench.other.wall(&gateway.home, &LIST))
    .note(&format!(
        "both ask the same gateway; a bare handshake with one call: {}",
        network.text("ms")
    ))
    .command("openclaw nodes list --json");
    bench.report.row(row);
}
