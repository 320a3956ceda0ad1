//! One service on one manager: installed, controlled and asked about in the same way, whichever it is.

use std::path::PathBuf;

use crate::service::definition::Definition;
use crate::service::error::ServiceError;
use crate::service::launchd::Launchd;
use crate::service::systemd::Systemd;
use crate::service::unit::Installed;
use crate::service::unit_file::{Supplier, UnitFile};

/// A service manager, looking at one service.
#[derive(Debug)]
pub enum Manager {
    /// macOS.
    Launchd(Launchd),
    /// Linux.
    Systemd(Systemd),
}

/// How a service runs at the moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Runtime {
    /// `running`, `stopped` or `unknown`.
    pub status: &'static str,
    /// Why it is unknown.
    pub detail: Option<String>,
    /// The manager's own word.
    pub state: Option<String>,
    /// A finer one.
    pub sub_state: Option<String>,
    /// The main process.
    pub pid: Option<u32>,
    /// Exit code or signal of the last main process.
    pub last_exit_status: Option<i64>,
    /// How it ended, as the manager counts.
    pub last_exit_reason: Option<String>,
    /// The manager knows no such service.
    pub missing_unit: bool,
}

impl Runtime {
    /// A service that cannot be asked about.
    pub fn unknown(detail: impl Into<String>) -> Self {
        Self {
            status: "unknown",
            detail: Some(detail.into()),
            ..Self::default()
        }
    }
}

/// A socket of systemd that starts a service with its first connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Socket {
    /// `<name>.socket`.
    pub unit: String,
    /// It is opened by itself.
    pub enabled: bool,
    /// It is open.
    pub listening: bool,
    /// Where it listens, or would: addresses with ports, or paths.
    pub addresses: Vec<String>,
}

impl Socket {
    /// Whether it listens, or would, on a port.
    pub fn has_port(&self, port: u16) -> bool {
        let ending = format!(":{port}");
        self.addresses.iter().any(|it| it.ends_with(&ending))
    }
}

/// What an install left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The unit or plist.
    pub file: PathBuf,
    /// The one before.
    pub backup: Option<PathBuf>,
}

impl Manager {
    /// What the manager calls its services.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Launchd(_) => "LaunchAgent",
            Self::Systemd(_) => "systemd",
        }
    }

    /// The word for a loaded service, and for one that is not.
    pub fn loaded_words(&self) -> (&'static str, &'static str) {
        match self {
            Self::Launchd(_) => ("loaded", "not loaded"),
            Self::Systemd(_) => ("enabled", "disabled"),
        }
    }

    /// The unit or plist that an install writes and an uninstall removes, whether it is there or not.
    pub fn file(&self) -> PathBuf {
        match self {
            Self::Launchd(launchd) => launchd.file(),
            Self::Systemd(systemd) => systemd.file(),
        }
    }

    /// The unit or plist that counts: that one, or else one that somebody else put there.
    pub fn source(&self) -> Option<UnitFile> {
        match self {
            Self::Launchd(launchd) => {
                let path = launchd.file();
                path.exists().then_some(UnitFile {
                    path,
                    supplier: Supplier::User,
                    is_packaged: false,
                    drop_ins: Vec::new(),
                })
            }
            Self::Systemd(systemd) => systemd.source(),
        }
    }

    /// Whether the disk says that the service, or the socket that starts it, starts by itself.
    pub fn is_wanted(&self) -> bool {
        match self {
            Self::Launchd(launchd) => launchd.file().exists(),
            Self::Systemd(systemd) => systemd.is_wanted(),
        }
    }

    /// What the unit or plist that counts says; `None` where there is none that can be read.
    pub fn installed(&self) -> Option<Installed> {
        let text = std::fs::read_to_string(self.source()?.path).ok()?;
        Some(match self {
            Self::Launchd(_) => crate::service::plist::read(&text),
            Self::Systemd(systemd) => crate::service::unit::read(&text, &systemd.specifiers()),
        })
    }

    /// The socket that starts the service with its first connection, where there is a unit of one and the manager
    /// can be asked.
    pub fn socket(&self) -> Option<Socket> {
        match self {
            Self::Launchd(_) => None,
            Self::Systemd(systemd) => systemd.socket(),
        }
    }

    /// Whether the service starts by itself.
    ///
    /// # Errors
    /// The manager cannot be asked.
    pub fn is_loaded(&self) -> Result<bool, ServiceError> {
        match self {
            Self::Launchd(launchd) => launchd.is_loaded(),
            Self::Systemd(systemd) => systemd.is_loaded(),
        }
    }

    /// Whether the manager can be told to change something.
    ///
    /// # Errors
    /// It does not answer.
    pub fn is_reached(&self) -> Result<(), ServiceError> {
        match self {
            Self::Launchd(_) => Ok(()),
            Self::Systemd(systemd) => systemd.is_reached(),
        }
    }

    /// How the service runs; unknown when the manager cannot be asked.
    pub fn runtime(&self) -> Runtime {
        match self {
            Self::Launchd(launchd) => launchd.runtime(),
            Self::Systemd(systemd) => systemd.runtime(),
        }
    }

    /// The unit or plist of a definition.
    ///
    /// # Errors
    /// A value that cannot stand in it.
    pub fn render(&self, definition: &Definition) -> Result<String, ServiceError> {
        match self {
            Self::Launchd(_) => crate::service::plist::render(definition),
            Self::Systemd(_) => crate::service::unit::render(definition),
        }
    }

    /// Writes the file, makes the service start by itself, and starts it anew.
    ///
    /// # Errors
    /// The file cannot be written, or the manager refuses.
    pub fn install(&self, definition: &Definition) -> Result<Written, ServiceError> {
        let text = self.render(definition)?;
        match self {
            Self::Launchd(launchd) => launchd.install(definition, &text),
            Self::Systemd(systemd) => systemd.install(&text),
        }
    }

    /// Starts the service where it does not run.
    ///
    /// # Errors
    /// The manager refuses.
    pub fn start(&self) -> Result<(), ServiceError> {
        match self {
            Self::Launchd(launchd) => launchd.start(),
            Self::Systemd(systemd) => systemd.start(),
        }
    }

    /// Stops the service; it stays installed.
    ///
    /// # Errors
    /// The manager refuses.
    pub fn stop(&self) -> Result<(), ServiceError> {
        match self {
            Self::Launchd(launchd) => launchd.stop(),
            Self::Systemd(systemd) => systemd.stop(),
        }
    }

    /// Stops and starts the service.
    ///
    /// # Errors
    /// The manager refuses.
    pub fn restart(&self) -> Result<(), ServiceError> {
        match self {
            Self::Launchd(launchd) => launchd.restart(),
            Self::Systemd(systemd) => systemd.restart(),
        }
    }

    /// Stops the service and removes every trace of it; true when there was a file.
    ///
    /// # Errors
    /// The manager refuses, or a file cannot be removed.
    pub fn uninstall(&self) -> Result<bool, ServiceError> {
        match self {
            Self::Launchd(launchd) => launchd.uninstall(),
            Self::Systemd(systemd) => systemd.uninstall(),
        }
    }
}
