//! Why a command is not covered by the policy, in the words of a refusal, and what would cover it.

use std::fmt;
use std::path::{Path, PathBuf};

use super::script::Unread;
use crate::protocol::hidden::visible;

/// Why no rule covers a command; Display completes the sentence "denied because …".
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Miss {
    /// A script's command begins with an assignment, which changes what runs after it.
    Assignment(String),
    /// A wrapper that changes who runs a program or how, or one that is not understood.
    Blocked(String),
    /// A script's command is a word of the shell, not a program.
    Builtin(String),
    /// Where a script's command leads is only known when the shell has filled in this word.
    Expands(String),
    /// No rule names the program, or the script that a shell is handed.
    NoRule {
        /// Its path.
        path: PathBuf,
        /// The name to allow instead, where the search path is not known for certain.
        name: Option<String>,
    },
    /// There is no such program, or it is no executable file.
    NotFound(String),
    /// A byte that ends every argument.
    Nul,
    /// The typed path goes through `..` behind a link.
    ParentDirectory(String),
    /// The script is not understood.
    Script(Unread),
    /// A shell without a script that could be judged.
    Shell(String),
    /// Shells in shells, deeper than is looked at.
    TooDeep,
    /// A shell or wrapper that is not the system's own.
    Untrusted {
        /// How it was typed.
        typed: String,
        /// Where it was found.
        path: Option<PathBuf>,
    },
    /// The caller sets these variables, which may change what the command does.
    Variables(String),
}

impl Miss {
    /// The pattern that covers the command when it is added as a rule; `None` where none does, or none
    /// does for certain.
    pub fn pattern(&self) -> Option<String> {
        match self {
            Self::NoRule {
                name: Some(name), ..
            } => literal(name).then(|| name.clone()),
            Self::NoRule { path, name: None } => path_pattern(path),
            _ => None,
        }
    }
}

fn path_pattern(path: &Path) -> Option<String> {
    let text = path.to_str()?;
    (text.starts_with('/') && literal(text)).then(|| text.to_owned())
}

/// True for a text that means itself as a pattern and nothing else.
fn literal(text: &str) -> bool {
    text.trim() == text && !text.contains(['*', '?', '\\']) && !text.contains(char::is_control)
}

/// Characters of a word that are shown; a script's words may be as long as the script.
const SHOWN: usize = 200;

/// A word as a person can read it: hidden characters spelled out, a long one cut.
fn shown(word: &str) -> String {
    match word.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", visible(&word[..end])),
        None => visible(word),
    }
}

impl fmt::Display for Miss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path_shown = |path: &Path| shown(&path.to_string_lossy());
        match self {
            Self::Assignment(word) => write!(
                f,
                "the script sets a variable in front of a command ({}); call the program without it, or approve it once",
                shown(word)
            ),
            Self::Blocked(name) => write!(
                f,
                "{} changes how another program runs, which no rule covers; call that program itself, or approve it once",
                shown(name)
            ),
            Self::Builtin(name) => write!(
                f,
                "{} is a word of the shell, which no rule covers; name the program by its path, or approve it once",
                shown(name)
            ),
            Self::Expands(word) => write!(
                f,
                "what {} stands for is only known to the shell; write it out, or approve it once",
                shown(word)
            ),
            Self::NoRule {
                name: Some(name), ..
            } => write!(
                f,
                "no allowlist rule names {} by its name, and the shell's start-up files may change where it is found",
                shown(name)
            ),
            Self::NoRule { path, name: None } => {
                write!(f, "no allowlist rule names {}", path_shown(path))?;
                match self.pattern() {
                    Some(_) => Ok(()),
                    None => f.write_str(", whose name no rule can say; approve it once"),
                }
            }
            Self::NotFound(program) => write!(f, "{} is no program on this node", shown(program)),
            Self::Nul => f.write_str("it holds a NUL byte"),
            Self::ParentDirectory(program) => write!(
                f,
                "{} goes through `..` behind a link; name it by its plain path",
                shown(program)
            ),
            Self::Script(unread) => write!(
                f,
                "the script {unread}, which no rule covers; put it into a file and allow the file, or approve it once"
            ),
            Self::Shell(name) => write!(
                f,
                "{} is a shell that would run something the command line does not show for certain; \
                 call the program itself, or approve it once",
                shown(name)
            ),
            Self::TooDeep => f.write_str(
                "it has shells in shells deeper than is looked at; call the program itself, or approve it once",
            ),
            Self::Untrusted {
                typed,
                path: Some(path),
            } => write!(
                f,
                "{} is {}, not the system's own; name its directory in tools.exec.safeBinTrustedDirs, \
                 or use the one in /usr/bin",
                shown(typed),
                path_shown(path)
            ),
            Self::Untrusted { typed, path: None } => {
                write!(f, "{} is no program on this node", shown(typed))
            }
            Self::Variables(names) => write!(
                f,
                "the caller sets {}, which no rule covers; leave it out, or approve it once",
                shown(names)
            ),
        }
    }
}
