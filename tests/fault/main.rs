//! Broken on purpose: each test says what was tried and that nothing acknowledged was lost.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

mod crash;
mod cuts;
mod full_disk;
mod idle;
mod joins;
mod names;
