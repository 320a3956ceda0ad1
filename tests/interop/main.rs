//! The unmodified OpenClaw 2026.4.29 against this program, both ways. `install.sh` puts it below
//! `target/interop`; every process here is bound to loopback and ends with its test.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

mod reference;

mod command_line;
mod node_host;
mod state_directory;
