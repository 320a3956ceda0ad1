//! CoreDNS on this machine: told to serve one more zone, and started anew.
//!
//! Only what is missing is written; what stood in the Corefile before stays in it and beside it.

use std::fmt;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::config::Environment;
use crate::discovery::corefile::{CorefileError, SERVERS_DIRECTORY, server_block, with_import};
use crate::discovery::domain::Domain;
use crate::service::ask::{Asker, CHANGE, QUESTION, complaint};
use crate::service::error::ServiceError;
use crate::store::atomic;

/// Where packages of CoreDNS have their configuration.
pub const COREFILE: &str = "/etc/coredns/Corefile";

/// The unit of such packages.
const UNIT: &str = "coredns.service";

/// Modes of what everybody may read.
const PUBLIC_FILE: u32 = 0o644;
const PUBLIC_DIRECTORY: u32 = 0o755;

/// CoreDNS, by the file that configures it.
#[derive(Debug)]
pub struct Coredns {
    corefile: PathBuf,
    asker: Asker,
}

/// Why CoreDNS does not serve the zone.
#[derive(Debug)]
pub enum CorednsError {
    /// The Corefile is not to be changed.
    Corefile(PathBuf, CorefileError),
    /// A file cannot be read or written.
    File(ServiceError),
    /// No program `coredns` in the search path.
    Missing,
    /// This system has no systemd.
    NoSystemd,
    /// Not run by root.
    NotRoot,
    /// Everything is written, and CoreDNS did not start anew.
    NotRestarted {
        /// In the manager's words.
        detail: String,
        /// The Corefile as it was, if it was changed.
        backup: Option<PathBuf>,
    },
    /// Not Linux.
    OtherSystem,
}

/// What was changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changed {
    /// The server block of the zone.
    pub server: bool,
    /// The Corefile as it was before it gained its line.
    pub backup: Option<PathBuf>,
}

impl Coredns {
    /// CoreDNS with this Corefile; programs are found by the environment.
    pub fn new(corefile: PathBuf, environment: &Environment) -> Coredns {
        Coredns {
            corefile,
            asker: Asker::new(environment),
        }
    }

    /// Whether it can be told anything at all; nothing is changed.
    ///
    /// # Errors
    /// Another system than Linux, not root, no `coredns` or no systemd.
    pub fn check(&self) -> Result<(), CorednsError> {
        if !cfg!(target_os = "linux") {
            return Err(CorednsError::OtherSystem);
        }
        if !rustix::process::geteuid().is_root() {
            return Err(CorednsError::NotRoot);
        }
        let is_there = |program: &'static str, question: &str, error| match self.asker.ask(
            program,
            &[question],
            QUESTION,
        ) {
            Err(ServiceError::ManagerMissing(_)) => Err(error),
            _ => Ok(()),
        };
        is_there("coredns", "-version", CorednsError::Missing)?;
        is_there("systemctl", "--version", CorednsError::NoSystemd)
    }

    /// Has it serve a zone from its file at these addresses, from now on and after every start.
    ///
    /// # Errors
    /// As [`Coredns::check`]; the Corefile is not to be changed, a file cannot be written, or the service does
    /// not start anew.
    pub fn serve(
        &self,
        domain: &Domain,
        zone: &Path,
        bind: &[IpAddr],
    ) -> Result<Changed, CorednsError> {
        self.check()?;
        let refused = |error| CorednsError::Corefile(self.corefile.clone(), error);
        let block = server_block(domain, zone, bind).map_err(refused)?;
        let corefile = read(&self.corefile)?;
        let imported =
            with_import(corefile.as_deref().unwrap_or_default(), domain).map_err(refused)?;
        let mut changed = Changed {
            server: self.write_server(domain, &block)?,
            backup: None,
        };
        if let Some(text) = imported {
            changed.backup = self.replace_corefile(corefile.as_deref(), &text)?;
        }
        self.restart(changed.backup.as_deref())?;
        Ok(changed)
    }

    /// Writes the server block where it says something else; true when it was written.
    fn write_server(&self, domain: &Domain, block: &str) -> Result<bool, CorednsError> {
        let directory = self.corefile.with_file_name(SERVERS_DIRECTORY);
        let file = directory.join(format!("{}.server", domain.bare()));
        if read(&file)?.as_deref() == Some(block) {
            return Ok(false);
        }
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(PUBLIC_DIRECTORY);
        builder
            .create(&directory)
            .map_err(|error| unwritable(&directory, error))?;
        write(&file, block, PUBLIC_FILE)?;
        Ok(true)
    }

    /// The value is where the former text is kept.
    fn replace_corefile(
        &self,
        before: Option<&str>,
        after: &str,
    ) -> Result<Option<PathBuf>, CorednsError> {
        let mode = fs::metadata(&self.corefile).map_or(PUBLIC_FILE, |it| it.mode() & 0o7777);
        let backup = before.map(|before| {
            let mut name = self.corefile.clone().into_os_string();
            name.push(".bak");
            let backup = PathBuf::from(name);
            write(&backup, before, mode).map(|()| backup)
        });
        let backup = backup.transpose()?;
        write(&self.corefile, after, mode)?;
        Ok(backup)
    }

    fn restart(&self, backup: Option<&Path>) -> Result<(), CorednsError> {
        let failed = |detail| CorednsError::NotRestarted {
            detail,
            backup: backup.map(Path::to_owned),
        };
        match self.asker.ask("systemctl", &["restart", UNIT], CHANGE) {
            Ok(ended) if ended.status.success() => Ok(()),
            Ok(ended) => Err(failed(complaint(&ended))),
            Err(error) => Err(failed(error.to_string())),
        }
    }
}

fn read(path: &Path) -> Result<Option<String>, CorednsError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(CorednsError::File(ServiceError::file(path, "read", error))),
    }
}

fn write(path: &Path, text: &str, mode: u32) -> Result<(), CorednsError> {
    atomic::write(path, text.as_bytes(), mode).map_err(|error| unwritable(path, error))
}

fn unwritable(path: &Path, error: io::Error) -> CorednsError {
    CorednsError::File(ServiceError::file(path, "write", error))
}

impl fmt::Display for CorednsError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Corefile(path, error) => write!(out, "{} {error}", path.display()),
            Self::File(error) => error.fmt(out),
            Self::Missing => out.write_str(
                "there is no program coredns in the search path; install CoreDNS, or serve the zone file with \
                 another server (contrib/bind shows BIND)",
            ),
            Self::NoSystemd => out.write_str(
                "systemctl is not available, so CoreDNS cannot be restarted; --apply needs systemd",
            ),
            Self::NotRoot => out.write_str("--apply needs root"),
            Self::NotRestarted { detail, backup } => {
                write!(out, "everything is written, but CoreDNS does not restart: {detail}")?;
                match backup {
                    Some(backup) => write!(out, " (the Corefile as it was: {})", backup.display()),
                    None => Ok(()),
                }
            }
            Self::OtherSystem => out.write_str(
                "--apply works on Linux with systemd only; elsewhere add the zone to CoreDNS yourself",
            ),
        }
    }
}

impl std::error::Error for CorednsError {}
