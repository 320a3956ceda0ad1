//! Finding a gateway and being found: what the networks around this machine say about it.
//!
//! It may fail in every way without anybody else noticing more than its absence.

pub mod advertiser;
pub mod beacon;
pub mod browse;
pub mod container;
pub mod corefile;
pub mod domain;
pub mod found;
#[cfg(feature = "libmdns")]
pub mod libmdns;
pub mod mdns;
pub mod selection;
pub mod tailscale;
pub mod unicast;
pub mod wide_area;
pub mod zone;
pub mod zone_keeper;

pub use advertiser::{Advertiser, Standing, Wanted};
pub use beacon::{Beacon, Facts};
pub use found::Found;
pub use wide_area::WideArea;
pub use zone_keeper::{ZoneKeeper, ZoneStanding};
