//! What can be wrong with paths, the configuration file or a value in it, in the user's words.

use std::fmt;
use std::path::PathBuf;

/// One problem of a configuration, path first: `gateway.port: Invalid input: …` (cli.md §3.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    /// Dotted path of the offending value; `<root>` for the document itself.
    pub path: String,
    /// What is wrong, without the path.
    pub message: String,
    /// The words that would have been accepted, for enumerations.
    pub allowed: Vec<&'static str>,
}

/// The path under which problems of the whole document are reported.
pub const ROOT: &str = "<root>";

impl Issue {
    /// An issue at `path` (empty means the root).
    pub fn new(path: &str, message: impl Into<String>) -> Self {
        let path = if path.is_empty() { ROOT } else { path };
        Self {
            path: path.to_owned(),
            message: message.into(),
            allowed: Vec::new(),
        }
    }

    /// An issue of the document itself.
    pub fn root(message: impl Into<String>) -> Self {
        Self::new("", message)
    }
}

impl fmt::Display for Issue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// Why configuration could not be found, read, understood, changed or written.
#[derive(Debug)]
pub enum ConfigError {
    /// A path leaves a gap in a list.
    BeyondEnd {
        /// The list.
        path: String,
        /// How many items it has.
        length: usize,
    },
    /// A file could not be read or written; the text is the operating system's.
    File {
        /// The file that was meant.
        path: PathBuf,
        /// What was tried: `read`, `write`, …
        action: &'static str,
        /// The operating system's reason.
        cause: std::io::Error,
    },
    /// The file exists and is not acceptable; every issue is listed.
    Invalid {
        /// The configuration file.
        path: PathBuf,
        /// All issues, in document order of the checks.
        issues: Vec<Issue>,
    },
    /// The path names nothing in the file.
    Missing(String),
    /// There is neither `OPENCLAW_HOME` nor `HOME` nor a passwd entry.
    NoHome,
    /// `--profile` or `OPENCLAW_PROFILE` is not a usable name.
    Profile(String),
    /// An edit whose result would not be a valid configuration; nothing was written.
    Rejected(Vec<Issue>),
    /// A path leads through a value that is neither object nor list; the path of that value.
    Through(String),
    /// A text that cannot be edited because it is no JSON5 object.
    Unreadable(Issue),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BeyondEnd { path, length } => {
                write!(f, "{path} has {length} items: the next index is {length}")
            }
            Self::File {
                path,
                action,
                cause,
            } => {
                write!(f, "cannot {action} {}: {cause}", path.display())?;
                match *action {
                    "write" => f.write_str(". Nothing was changed"),
                    _ => Ok(()),
                }
            }
            Self::Invalid { path, issues } => {
                write!(f, "Config invalid\nFile: {}\nProblem:", path.display())?;
                for issue in issues {
                    write!(f, "\n  - {issue}")?;
                }
                write!(f, "\nRun: openclaw config validate")
            }
            Self::Missing(path) => write!(f, "Config path not found: {path}"),
            Self::NoHome => f.write_str("no home directory: set HOME or OPENCLAW_HOME"),
            Self::Profile(name) => write!(
                f,
                "Invalid --profile {name:?} (use 1 to 64 letters, digits, \"_\" or \"-\", beginning with a letter or digit)"
            ),
            Self::Rejected(issues) => {
                let list: Vec<String> = issues.iter().map(Issue::to_string).collect();
                write!(f, "Config validation failed: {}", list.join("; "))
            }
            Self::Through(path) => write!(f, "{path} is neither an object nor a list"),
            Self::Unreadable(issue) => write!(f, "{issue}"),
        }
    }
}

impl std::error::Error for ConfigError {}
