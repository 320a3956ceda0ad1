//! What can go wrong with the policy file.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::narrow::Widening;

/// Why the policy was not told or changed; Display is the sentence for people.
#[derive(Debug)]
pub enum ApprovalsError {
    /// The file exists and the caller does not say which content the edit replaces.
    BaseHashRequired,
    /// The file does not give a policy (with path, line and column); it stays as it is.
    Broken(String),
    /// Another program has been editing the file for longer than an edit takes.
    Busy(PathBuf),
    /// The file is not the one the caller saw.
    Changed,
    /// A `set` without a file.
    FileRequired,
    /// What was to be written is no policy.
    Invalid(String),
    /// The file cannot be read or written.
    Io(PathBuf, io::Error),
    /// The file or a directory above it is a symbolic link.
    SymbolicLink(PathBuf),
    /// An edit from elsewhere would allow more than the file does.
    Widens(Widening),
}

impl ApprovalsError {
    /// The message of a node's answer: refusals that more of the same request cannot change begin with the
    /// words the reference throws (node-host specification, section 2.7).
    pub fn wire(&self) -> String {
        match self {
            Self::Busy(_) | Self::Io(..) | Self::SymbolicLink(_) => format!("Error: {self}"),
            _ => format!("Error: INVALID_REQUEST: {self}"),
        }
    }
}

impl fmt::Display for ApprovalsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BaseHashRequired => {
                f.write_str("exec approvals base hash required; reload and retry")
            }
            Self::Broken(fault) => write!(
                f,
                "exec approvals file is broken and was left as it is: {fault}. Until it is repaired everything is denied"
            ),
            Self::Busy(path) => write!(
                f,
                "{} is being edited by another program; try again",
                path.display()
            ),
            Self::Changed => f.write_str("exec approvals changed; reload and retry"),
            Self::FileRequired => f.write_str("exec approvals file required"),
            Self::Invalid(why) => write!(f, "exec approvals file invalid: {why}"),
            Self::Io(path, error) => write!(f, "{}: {error}", path.display()),
            Self::SymbolicLink(path) => write!(
                f,
                "refusing to write exec approvals through the symbolic link {}",
                path.display()
            ),
            Self::Widens(widening) => write!(
                f,
                "exec approvals edit refused: {widening}. Edits from elsewhere may only narrow this policy. \
                 Make the edit on the node itself with openclaw approvals, or let it be made from elsewhere: run \
                 openclaw config set nodeHost.execApprovals.remoteEdits widen there"
            ),
        }
    }
}

impl std::error::Error for ApprovalsError {}
