//! Why a service cannot be installed, controlled or asked about, as a person would put it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// A failure of this room. Display is the reason, without the command that failed.
#[derive(Debug)]
pub enum ServiceError {
    /// A file cannot be read, written or removed.
    File {
        /// The file.
        path: PathBuf,
        /// What was tried, an infinitive.
        action: &'static str,
        /// Why not.
        cause: io::Error,
    },
    /// A value cannot stand in a unit or environment file: it would become several lines.
    LineBreak {
        /// Whose value.
        what: String,
    },
    /// The service manager refused or failed.
    Manager {
        /// What was asked of it.
        command: String,
        /// Its own words.
        detail: String,
    },
    /// There is no program to ask the service manager with.
    ManagerMissing(&'static str),
    /// The service manager of the user cannot be reached.
    NoUserBus {
        /// In the words of `systemctl`.
        detail: String,
    },
    /// A path that is no text.
    NotText(PathBuf),
    /// No local account of that name.
    UnknownAccount(String),
}

impl ServiceError {
    /// A failed use of a file.
    pub fn file(path: &Path, action: &'static str, cause: io::Error) -> Self {
        Self::File {
            path: path.to_owned(),
            action,
            cause,
        }
    }
}

impl fmt::Display for ServiceError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File {
                path,
                action,
                cause,
            } => write!(out, "cannot {action} {}: {cause}", path.display()),
            Self::LineBreak { what } => write!(
                out,
                "{what} contains a line break, which no service file can hold; remove it"
            ),
            Self::Manager { command, detail } => write!(out, "{command} failed: {detail}"),
            Self::ManagerMissing("systemctl") => out
                .write_str("systemctl not available; systemd user services are required on Linux."),
            Self::ManagerMissing(program) => write!(out, "{program} not available."),
            Self::NoUserBus { detail } => {
                write!(out, "systemctl --user unavailable: {detail}")
            }
            Self::NotText(path) => write!(
                out,
                "{} is no UTF-8 text, which a service file needs; move it",
                path.display()
            ),
            Self::UnknownAccount(name) => write!(
                out,
                "there is no local account {name:?} with a home directory; create it first, for example with: \
                 useradd --system --create-home {name}"
            ),
        }
    }
}

impl std::error::Error for ServiceError {}
