//! The daemon: it listens, admits connections, keeps the live sessions and answers their requests.
//!
//! This room owns threads, sessions and the order in which things happen. It decides no pairing rule
//! (`pairing` does) and formats no file (`store` does). Lock order: pairing state, then the registry,
//! then the hub; no lock is held across a socket write, an fsync or a wait.

pub mod admission;
pub mod advertising;
pub mod announcer;
pub mod apply;
pub mod attendance;
pub mod auth;
pub mod auth_reason;
pub mod changes;
pub mod connection;
pub mod connections;
pub mod console;
pub mod context;
pub mod credentials;
pub mod crowd;
pub mod ending;
pub mod endpoints;
pub mod examine;
pub mod exec_approval;
pub mod forwarded;
pub mod gate;
pub mod grounds;
pub mod handshake;
pub mod hello;
pub mod host;
pub mod hub;
pub mod invoke;
pub mod journal;
pub mod limits;
pub mod locality;
pub mod metrics;
pub mod node_claim;
pub mod node_events;
pub mod node_row;
pub mod origin;
pub mod pending_work;
pub mod port_owner;
pub mod presence;
pub mod proof;
pub mod proxy_auth;
pub mod pulse;
pub mod refilter;
pub mod refusal;
pub mod registry;
pub mod reload;
pub mod roster;
pub mod rpc;
pub mod rules;
pub mod run;
pub mod run_params;
pub mod server;
pub mod session;
pub mod settings;
pub mod setup;
pub mod shared_secret;
pub mod signals;
pub mod ssh_proof;
pub mod start_advice;
pub mod start_checks;
pub mod start_error;
pub mod tailscale;
pub mod timer;
pub mod tls;
pub mod transition;
pub mod upkeep;
pub mod visitor;
pub mod whois;

#[cfg(test)]
mod handshake_tests;
#[cfg(test)]
mod loopback;
#[cfg(test)]
mod proxied_tests;
#[cfg(test)]
mod session_tests;
#[cfg(test)]
pub(crate) mod testing;
