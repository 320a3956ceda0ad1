//! What can go wrong with the state directory, as situations of the person who runs it.
//!
//! Every text names the file. None holds the content of one, so none can hold a secret.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::identity::IdentityError;

/// A failed operation on the state directory. Cheap to clone: all waiters of one save get the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreError {
    /// The device key file exists and is not usable. It is left as it is.
    Key {
        /// The key file.
        path: PathBuf,
        /// What is wrong with it.
        fault: IdentityError,
    },
    /// Another process holds the state directory or the configuration.
    Locked {
        /// The owner, when the lock file names it.
        pid: Option<u32>,
        /// The lock file.
        path: PathBuf,
    },
    /// A state file is not JSON or not of the right type. It is left as it is.
    Malformed {
        /// The file.
        path: PathBuf,
        /// 1-based line of the fault.
        line: usize,
        /// 1-based column of the fault; 0 at the end of the file.
        column: usize,
        /// What was expected or found there.
        message: String,
    },
    /// A file or directory cannot be read.
    Unreadable {
        /// The file or directory.
        path: PathBuf,
        /// The operating system's words.
        cause: String,
    },
    /// A file or directory cannot be written: full disk, read-only file system, permissions.
    /// The operation had no effect.
    Unwritable {
        /// The file or directory.
        path: PathBuf,
        /// The operating system's words.
        cause: String,
    },
}

impl StoreError {
    /// The error for a failed read of `path`.
    pub fn unreadable(path: &Path, cause: &io::Error) -> Self {
        StoreError::Unreadable {
            path: path.to_owned(),
            cause: cause.to_string(),
        }
    }

    /// The error for a failed write of `path`.
    pub fn unwritable(path: &Path, cause: &io::Error) -> Self {
        StoreError::Unwritable {
            path: path.to_owned(),
            cause: cause.to_string(),
        }
    }

    /// The error for a text that did not parse as JSON.
    pub fn malformed(path: &Path, fault: &serde_json::Error) -> Self {
        let text = fault.to_string();
        // The position is told separately, once.
        let message = match text.rfind(" at line ") {
            Some(end) => text[..end].to_owned(),
            None => text,
        };
        StoreError::Malformed {
            path: path.to_owned(),
            line: fault.line(),
            column: fault.column(),
            message,
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::Key { path, fault } => write!(
                formatter,
                "unusable device key {}: {fault}. Restore it from a backup; a new key means pairing anew, and is made only when the file is gone",
                path.display()
            ),
            StoreError::Locked { pid: Some(pid), .. } => {
                write!(formatter, "gateway already running (pid {pid})")
            }
            StoreError::Locked { pid: None, path } => write!(
                formatter,
                "gateway already running ({} is locked)",
                path.display()
            ),
            StoreError::Malformed {
                path,
                line,
                column,
                message,
            } => write!(
                formatter,
                "malformed state file {}:{line}:{column}: {message}. The file is left as it is; repair it or move it away",
                path.display()
            ),
            StoreError::Unreadable { path, cause } => {
                write!(formatter, "cannot read {}: {cause}", path.display())
            }
            StoreError::Unwritable { path, cause } => write!(
                formatter,
                "cannot write {}: {cause}. Nothing was changed",
                path.display()
            ),
        }
    }
}

impl std::error::Error for StoreError {}

/// Why a transaction had no effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransactError<E> {
    /// The operation itself refused.
    Refused(E),
    /// The state could not be read or made durable.
    Store(StoreError),
}

impl<E: fmt::Display> fmt::Display for TransactError<E> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TransactError::Refused(refusal) => refusal.fmt(formatter),
            TransactError::Store(fault) => fault.fmt(formatter),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> std::error::Error for TransactError<E> {}

impl<E> From<StoreError> for TransactError<E> {
    fn from(fault: StoreError) -> Self {
        TransactError::Store(fault)
    }
}
