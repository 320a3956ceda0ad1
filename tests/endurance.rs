//! A short life of a node host and its gateway; `make endurance` lives a long one.

use crate::support::endurance::Life;

#[test]
fn a_short_life_leaves_nothing_behind() {
    Life {
        runs: 100,
        reconnects: 2,
        warm_up: 30,
    }
    .live();
}
