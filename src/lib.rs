//! Gateway-owned pairing in one small program: the gateway that decides which devices and nodes may
//! join, the command line that runs it, and the headless node host that executes on other machines.
//!
//! The rooms stand on floors; a room uses rooms on its own or lower floors, never higher ones.

pub mod cli;
pub mod client;
pub mod config;
pub mod discovery;
pub mod exec;
pub mod gateway;
pub mod identity;
pub mod net;
pub mod node;
pub mod pairing;
pub mod protocol;
pub mod service;
pub mod store;
