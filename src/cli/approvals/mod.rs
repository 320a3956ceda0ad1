//! `openclaw approvals`: which commands may run on which machine, what waits for a person, and the decision.
//!
//! One file per subject. The exec policy itself, its file and its judgement are `exec`'s; here stands what a person
//! types and reads.

mod board;
mod names;
mod pending;
mod request;
mod resolve;
mod watch;

pub use pending::pending;
pub use resolve::resolve;
