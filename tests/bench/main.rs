//! The budget, measured on the optimized program: medians with their range, every speed beside
//! something measured in the same run. `cargo bench --bench budget` or `make bench`.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

mod load;
mod memory;
mod report;
mod start;

use report::Report;

fn main() {
    // `cargo test --benches` and `cargo clippy --all-targets` pass here; only a bench run measures.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let mut report = Report::new();
    start::measure(&mut report);
    memory::measure(&mut report);
    load::round_trips(&mut report);
    load::approvals(&mut report);
    load::stalled_peers(&mut report);
    report.print();
}
