//! Broken on purpose: each test says what was tried and that nothing acknowledged was lost.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

mod clocks;
mod crash;
mod cuts;
mod disk;
mod disks;
mod exhaustion;
mod fleet;
mod forks;
mod half_open;
mod idle;
mod joins;
mod ledger;
mod names;
mod report;
mod shim;
mod side_files;
mod slow;
mod soak;
mod syncs;
