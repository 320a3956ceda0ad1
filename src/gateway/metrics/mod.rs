//! Figures for whoever operates the gateway, as Prometheus reads them.
//!
//! `counters` remember what happened, `page` reads everything else at the moment it is asked, `exposition`
//! writes the format. No figure names a device, a person, an address or a secret.

pub mod counters;
pub mod exposition;
pub mod page;

pub use counters::{Counters, Endpoint, Handshake, InvokeEnd, NoPlace, Served, place_of};
