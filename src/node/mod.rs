//! The node host: the program that runs commands on this machine for a gateway.
//!
//! Owns the run loop, the dispatch of invokes, program lookup, running, the environment of runs and the
//! exec policy. It alone judges what may run here, by its own file. Must never know the gateway's inside.

pub mod approvals;
pub mod blocked_names;
pub mod command;
pub mod environment;
pub mod host;
pub mod invoke;
pub mod machine;
pub mod operand;
pub mod pause;
pub mod plan;
pub mod replays;
pub mod run;
pub mod settings;
pub mod shell;
pub mod system;
pub mod tokens;
pub mod which;
pub mod wrapper;

#[cfg(test)]
mod testing;
