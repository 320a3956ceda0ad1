//! The daemon: it listens, admits connections, keeps the live sessions and answers their requests.
//!
//! This room owns threads, sessions and the order in which things happen. It decides no pairing rule
//! (`pairing` does) and formats no file (`store` does). Lock order: pairing state, then the registry,
//! then the hub; no lock is held across a socket write, an fsync or a wait.

pub mod apply;
pub mod attendance;
pub mod auth;
pub mod console;
pub mod context;
pub mod ending;
pub mod gate;
pub mod hub;
pub mod invoke;
pub mod locality;
pub mod node_events;
pub mod node_row;
pub mod pending_work;
pub mod preauth;
pub mod presence;
pub mod proof;
pub mod refilter;
pub mod registry;
pub mod roster;
pub mod rpc;
pub mod run_params;
pub mod session;
pub mod settings;
#[cfg(test)]
pub(crate) mod testing;
pub mod timer;
pub mod upkeep;
