//! The budget, measured on the optimized program: medians with their range, every speed beside
//! something measured in the same run, and the reference OpenClaw beside it where it is installed.
//!
//! `make bench`, with `QUICK=1` for rough figures and `FILTER=name` for the sections whose name holds it.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

#[allow(dead_code)]
#[path = "../interop/reference.rs"]
mod reference;

mod approvals;
mod commands;
mod curves;
mod fan_out;
mod fleet;
mod idle;
mod memory;
mod other;
mod report;
mod round_trips;
mod stalled;
mod start;

use other::Other;
use report::Report;

/// What a section measures with.
pub struct Bench {
    /// Rough figures in a few minutes.
    pub quick: bool,
    pub report: Report,
    pub other: Other,
}

impl Bench {
    /// How many times something short is measured.
    pub fn runs(&self) -> usize {
        if self.quick { 7 } else { 31 }
    }
}

type Section = (&'static str, fn(&mut Bench));

const SECTIONS: [Section; 17] = [
    ("size", start::size),
    ("start", start::start),
    ("version", commands::version),
    ("list", commands::list),
    ("memory-gateway", memory::gateway),
    ("memory-advertising", memory::advertising),
    ("memory-plain", memory::plain),
    ("memory-tls", memory::tls),
    ("memory-host", memory::node_host),
    ("idle", idle::measure),
    ("round-trip", round_trips::measure),
    ("approvals", approvals::measure),
    ("stalled", stalled::measure),
    ("fan-out", fan_out::measure),
    ("curve-hundred", curves::hundred),
    ("curve-thousand", curves::thousand),
    ("curve-five-thousand", curves::five_thousand),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // `cargo test --benches` and `cargo clippy --all-targets` pass here; only a bench run measures.
    if !arguments.iter().any(|argument| argument == "--bench") {
        return;
    }
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let wanted: Vec<&String> = arguments
        .iter()
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let chosen: Vec<&Section> = SECTIONS
        .iter()
        .filter(|(name, _)| wanted.is_empty() || wanted.iter().any(|part| name.contains(*part)))
        .collect();
    if chosen.is_empty() {
        let names: Vec<&str> = SECTIONS.iter().map(|(name, _)| *name).collect();
        eprintln!(
            "no section holds {wanted:?} in its name: {}",
            names.join(" ")
        );
        std::process::exit(2);
    }
    support::flood::raise_nofile();
    let mut bench = Bench {
        quick,
        report: Report::new(),
        other: Other::look(),
    };
    if let Some(why) = bench.other.missing() {
        eprintln!("{why}");
    }
    for (name, measure) in &chosen {
        eprintln!("-- {name}");
        measure(&mut bench);
    }
    bench.report.print();
    let whole = !quick && chosen.len() == SECTIONS.len();
    println!("\nraw results: {}", bench.report.save(whole, quick));
}
