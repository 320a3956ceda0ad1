//! Finding a gateway and being found: what the networks around this machine say about it.
//!
//! It may fail in every way without anybody else noticing more than its absence.

pub mod beacon;
pub mod domain;
pub mod found;
pub mod tailscale;
pub mod unicast;
pub mod zone;

pub use beacon::{Beacon, Facts};
pub use found::Found;
