//! Services: what a service manager is given so that it runs the gateway or the node host, and how it is
//! asked about them. systemd units (of a user and of the system) and launchd plists.
//!
//! A unit or plist never contains a secret; those stand in an environment file that only its owner reads.
//! Rendering is pure; [`systemd`] and [`launchd`] write the file and ask the manager's own program. Only
//! `hardening` knows what a gateway and a node host need of the machine, and nothing here prints.

pub mod account;
pub mod ask;
pub mod clock;
pub mod coredns;
pub mod definition;
pub mod environment_file;
pub mod error;
pub mod hardening;
pub mod launchd;
pub mod manager;
pub mod name;
pub mod plist;
pub mod quote;
pub mod search_path;
pub mod systemd;
#[cfg(test)]
pub(crate) mod testing;
pub mod unit;
pub mod unit_file;
mod unit_state;

pub use account::Account;
pub use definition::{Definition, Program, Scope};
pub use error::ServiceError;
pub use manager::{Manager, Runtime, Socket, Written};
pub use name::{Kind, Name};
pub use unit_file::{Supplier, UnitFile};
