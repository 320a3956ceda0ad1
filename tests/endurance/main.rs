//! What a node host and its gateway do in a day, in minutes: 10,000 runs and 1,000 reconnects.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

use support::endurance::Life;

#[test]
fn a_long_life_leaves_nothing_behind() {
    Life {
        runs: 10_000,
        reconnects: 1_000,
        warm_up: 500,
    }
    .live();
}
