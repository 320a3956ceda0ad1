//! What one peer, one address and all strangers together may cost the gateway.
//!
//! The decisions are pure types that get the time as an argument (`attempts`, `throttle`); what stands
//! beside them holds the lock, logs, audits and asks the timer to forget what is over. Nobody waits here.

pub mod arrivals;
pub mod attempts;
pub mod chatter;
pub mod client;
pub mod guard;
pub mod pace;
pub mod phases;
pub mod preauth;
pub mod source;
pub mod throttle;

#[cfg(test)]
mod attempts_tests;
#[cfg(test)]
mod guard_tests;

pub use arrivals::{ArrivalLimits, Arrivals};
pub use attempts::{AttemptPolicy, Kind};
pub use chatter::{Chatter, Topic};
pub use guard::{Claimant, Guard};
pub use pace::Pace;
pub use phases::Phases;
pub use preauth::Preauth;
pub use source::Source;
