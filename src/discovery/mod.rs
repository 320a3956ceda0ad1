//! Finding a gateway and being found: what the networks around this machine say about it.
//!
//! It may fail in every way without anybody else noticing more than its absence.

pub mod advertiser;
pub mod beacon;
pub mod container;
pub mod domain;
pub mod found;
#[cfg(feature = "libmdns")]
pub mod libmdns;
pub mod mdns;
pub mod tailscale;
pub mod unicast;
pub mod zone;

pub use advertiser::{Advertiser, Standing, Wanted};
pub use beacon::{Beacon, Facts};
pub use found::Found;
