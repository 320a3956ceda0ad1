//! Why a command is not covered by the policy, in the words of a refusal, and what would cover it.

use std::fmt;
use std::path::{Path, PathBuf};

/// Why no rule covers a command; Display completes the sentence "denied because …".
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Miss {
    /// The program was not found, or is no executable file.
    NotFound(String),
    /// No rule names the program.
    NoRule {
        /// The program's path.
        path: PathBuf,
        /// Patterns of rules that are not evaluated.
        skipped: Vec<String>,
    },
    /// The typed path goes through `..`, whose meaning depends on links.
    ParentDirectory(String),
    /// A shell: what it would run is not analysed.
    Shell(String),
    /// A wrapper: what it would run is not analysed.
    Wrapper(String),
}

impl Miss {
    /// The pattern that would cover the command when it is added as a rule; `None` where none would, or
    /// none would for certain.
    pub fn pattern(&self) -> Option<String> {
        match self {
            Self::NoRule { path, .. } => literal(path),
            _ => None,
        }
    }
}

/// A path as a pattern that means this path and no other.
fn literal(path: &Path) -> Option<String> {
    let text = path.to_str()?;
    let means_itself = text.trim() == text
        && text.starts_with('/')
        && !text.contains(['*', '?', '\\'])
        && !text.contains(char::is_control);
    means_itself.then(|| text.to_owned())
}

impl fmt::Display for Miss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound(program) => write!(f, "{program} is no program on this node"),
            Self::NoRule { path, skipped } => {
                write!(f, "no allowlist rule names {}", path.display())?;
                if !skipped.is_empty() {
                    let skipped = skipped.join(", ");
                    write!(f, "; only exact paths and names count here, not: {skipped}")?;
                }
                Ok(())
            }
            Self::ParentDirectory(program) => {
                write!(
                    f,
                    "{program} goes through `..`; name the program by its plain path"
                )
            }
            Self::Shell(name) => write!(
                f,
                "{name} is a shell and its script is not matched against the allowlist; call the program itself"
            ),
            Self::Wrapper(name) => write!(
                f,
                "{name} starts another program, which is not matched against the allowlist; call that program itself"
            ),
        }
    }
}
