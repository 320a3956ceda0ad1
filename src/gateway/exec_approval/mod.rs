//! Approvals of single commands: who asked for what, what was decided, and what a decision is good for
//! (protocol.md §8.3 to §8.5).
//!
//! `asked` reads a request, `book` keeps requests and decisions, `binding` holds a later run against its
//! approval, `display` shows a command without anything hidden in it: these are pure, time comes in as an
//! argument. `desk` carries out what they say: answers, timers, the trail. Approvals live in memory alone;
//! a restart forgets them all.
//!
//! Who may decide: every operator with `operator.approvals`, on any connection but the one that asked. That
//! one may only withdraw (`deny`): a request that nobody else could see is not decided at all. This holds
//! connections apart, not people; whoever has the credentials of an approver is one.

pub mod asked;
pub mod binding;
pub mod book;
pub mod desk;
pub mod display;

pub use asked::Asked;
pub use book::Book;
