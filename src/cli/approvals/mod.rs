//! `openclaw approvals`: which commands may run on which machine, what waits for a person, and the decision.
//!
//! One file per subject. The exec policy itself, its file and its judgement are `exec`'s; here stands what a person
//! types and reads.

pub mod allowlist;
mod board;
mod check;
mod effective;
mod get;
mod names;
mod pattern;
mod pending;
pub mod place;
mod request;
mod resolve;
mod set;
mod verdict;
mod view;
mod watch;

pub use check::check;
pub use get::get;
pub use pending::pending;
pub use resolve::resolve;
pub use set::set;
