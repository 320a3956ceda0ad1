//! The unmodified OpenClaw 2026.4.29 and 2026.9.6 against this program, both ways. `install.sh` puts it below
//! `target/interop`; every process here is bound to loopback and ends with its test.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

mod reference;

mod forwarder;

mod browser;
mod command_line;
mod newer_command_line;
mod newer_node_host;
mod node_host;
mod node_life;
mod operator;
mod proxy;
mod silent_ssh;
mod state_directory;
mod tls;
