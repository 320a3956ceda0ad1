//! What may be run here: the exec policy, its file, and what a command line means.
//!
//! Owns `exec-approvals.json` (schema, edits by hash), the reading of commands (wrappers, shells, scripts,
//! programs on the search path), the judgement of one command by the policy, and what binds an approval
//! to what will run. The node host judges by it, the gateway keeps its own file with it, the command line
//! edits it. Must never start a program and knows no frame.
//!
//! What is not understood is never allowed: a file that does not parse means `deny`, a rule or command
//! form that is not evaluated here satisfies nothing (node-host specification, section 3).

pub mod command;
pub mod operand;
pub mod plan;
pub mod script;
pub mod shell;
pub mod which;
pub mod wrapper;

mod assessment;
mod bound_line;
mod document;
mod error;
mod file;
mod inline;
mod judge;
mod lasting;
mod miss;
mod narrow;
mod pattern;
mod policy;
mod programs;
mod runner;
mod safe_bins;
mod scopes;
mod shell_words;
mod shown;
mod simple_commands;
mod starters;
mod strict;
#[cfg(test)]
pub(crate) mod testing;
mod usage;
mod verdict;

pub use self::assessment::{Assessment, Context, Cover, Execution, Segment, assess};
pub use self::bound_line::BoundLine;
pub use self::document::{
    AgentPolicy, Agents, Ask, Document, EVERY_AGENT, Entry, MAIN_AGENT, Scalars, Security, Socket,
    Source,
};
pub use self::error::ApprovalsError;
pub use self::file::{ApprovalsFile, Content, Snapshot};
pub use self::lasting::{holds_lasting_rules, lasting_patterns, runs_what_it_is_told};
pub use self::miss::Miss;
pub use self::narrow::{Before, Widening, widens};
pub use self::policy::{Effective, HostPolicy, effective};
pub use self::programs::{Disk, Programs};
pub use self::safe_bins::{Misgivings, SafeBins};
pub use self::scopes::{
    Combined, EffectivePolicy, Place, Requested, Scope, Sourced, effective_policy,
};
pub use self::shown::{grounds, shown, shown_broken};
pub use self::usage::RuleUse;
pub use self::verdict::{Denial, Question, Reason, Verdict, decide};
