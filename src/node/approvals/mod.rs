//! The exec policy of this machine: its file and the judgement of one command by it.
//!
//! The node alone judges, by its own file, with one evaluator (node-host specification, section 3).
//! What is not understood is never allowed: a file that does not parse means `deny`, a rule or command
//! form that is not evaluated here satisfies nothing.

mod allowlist;
mod document;
mod file;
mod inline;
mod policy;
mod verdict;

pub use self::allowlist::{Candidate, Judgement, Miss, judge};
pub use self::document::{AgentPolicy, Agents, Ask, Document, Entry, Scalars, Security, Socket};
pub use self::file::{ApprovalsError, ApprovalsFile, Content};
pub use self::inline::refuse_inline;
pub use self::policy::{Effective, HostPolicy, effective};
pub use self::verdict::{Denial, Question, Reason, Verdict, decide};
