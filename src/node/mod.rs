//! The node host: the program that runs commands on this machine for a gateway.
//!
//! Owns the run loop, the dispatch of invokes, running and the environment of runs. It alone judges what
//! may run here, by the exec policy of this machine. Must never know the gateway's inside.

pub mod audit;
pub mod blocked_names;
pub mod browser;
pub mod control;
pub mod environment;
pub mod host;
pub mod invoke;
pub mod machine;
pub mod pause;
pub mod replays;
pub mod run;
pub mod settings;
pub mod skills;
pub mod system;
pub mod tokens;

#[cfg(test)]
mod testing;
