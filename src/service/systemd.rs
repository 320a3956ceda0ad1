//! systemd: the unit of one service, written where its manager looks, and `systemctl` asked about it.
//!
//! A user's unit is in the user's home; root behind `sudo` works on the unit of the user it came from. A unit of a
//! package is started and stopped like one that was written here, and never changed or removed.
//! Nothing is done that was not asked for: lingering is looked at, never switched.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::net::child::Finished;
use crate::service::account::Account;
use crate::service::ask::{Asker, CHANGE, QUESTION, command_line, complaint};
use crate::service::environment_file;
use crate::service::error::ServiceError;
use crate::service::manager::{Runtime, Socket, Written};
use crate::service::unit::{self, Specifiers};
use crate::service::unit_file::{UnitDirectories, UnitFile, template};
use crate::service::unit_state::{runtime, socket};
use crate::store::atomic::{PRIVATE_FILE, create_private_directory, write};

/// Mode of a unit of the machine: everybody may read it, nothing in it is secret.
const PUBLIC_FILE: u32 = 0o644;

/// What `systemctl` says when the user's manager is not there.
const NO_BUS: [&str; 5] = [
    "failed to connect to bus",
    "failed to connect to user scope bus",
    "no medium found",
    "dbus_session_bus_address",
    "host is down",
];

/// One unit and its manager.
#[derive(Clone, Debug)]
pub struct Systemd {
    /// `<name>.service`.
    pub unit: String,
    /// The machine's manager instead of a user's.
    pub system: bool,
    /// Whose unit it is, where root works for somebody.
    pub account: Option<Account>,
    /// The home of the unit's owner.
    pub home: PathBuf,
    /// Where its manager looks for units.
    pub directories: UnitDirectories,
    /// Runs `systemctl`.
    pub asker: Asker,
}

impl Systemd {
    /// Looks at a unit. A session that does not name its runtime directory gets the usual one where it is.
    pub fn new(
        unit: String,
        system: bool,
        account: Option<Account>,
        home: PathBuf,
        asker: Asker,
    ) -> Self {
        let runtime = format!("/run/user/{}", rustix::process::geteuid().as_raw());
        let asker = match asker.has("XDG_RUNTIME_DIR") || !Path::new(&runtime).is_dir() {
            true => asker,
            false => asker.with("XDG_RUNTIME_DIR", runtime),
        };
        Self {
            unit,
            system,
            account,
            directories: UnitDirectories::new(Path::new("/"), &home, system),
            home,
            asker,
        }
    }

    /// The unit file that an install writes.
    pub fn file(&self) -> PathBuf {
        self.directories.first().join(&self.unit)
    }

    /// The unit file that counts.
    pub fn source(&self) -> Option<UnitFile> {
        self.directories.find(&self.unit)
    }

    /// What the specifiers of the unit stand for; the machine's manager is root's.
    pub fn specifiers(&self) -> Specifiers {
        let home = match self.system {
            true => Path::new("/root"),
            false => &self.home,
        };
        Specifiers {
            home: home.display().to_string(),
            instance: template(&self.unit).map_or(String::new(), |(_, it)| it.to_owned()),
        }
    }

    fn backup(&self) -> PathBuf {
        let mut name = self.file().into_os_string();
        name.push(".bak");
        name.into()
    }

    /// Whether the unit, or the socket that starts it, is enabled.
    ///
    /// # Errors
    /// `systemctl` is missing or does not reach the manager.
    pub fn is_loaded(&self) -> Result<bool, ServiceError> {
        let answer = self.systemctl(&["is-enabled", &self.unit], QUESTION)?;
        Ok(answer.status.success() || self.socket().is_some_and(|socket| socket.enabled))
    }

    /// Whether the manager itself answers: some questions `systemctl` answers from the disk.
    ///
    /// # Errors
    /// It does not.
    pub fn is_reached(&self) -> Result<(), ServiceError> {
        self.systemctl(&["show", "--property=Version"], QUESTION)
            .map(drop)
    }

    /// Whether a target starts the unit, or the socket that starts it; nobody is asked.
    pub fn is_wanted(&self) -> bool {
        self.directories.is_wanted(&self.unit) || self.wanted_socket().is_some()
    }

    /// The socket of the unit, where the disk says that a target opens it.
    pub fn wanted_socket(&self) -> Option<String> {
        self.socket_unit()
            .filter(|unit| self.directories.is_wanted(unit))
    }

    /// `<name>.socket`, where there is one.
    fn socket_unit(&self) -> Option<String> {
        let unit = format!("{}.socket", self.unit.strip_suffix(".service")?);
        self.directories.find(&unit).map(|_| unit)
    }

    /// How that socket stands; `None` where there is none or the manager cannot be asked.
    pub fn socket(&self) -> Option<Socket> {
        let unit = self.socket_unit()?;
        let properties = "ActiveState,UnitFileState,Listen";
        let question = ["show", &unit, "--property", properties];
        let answer = self.systemctl(&question, QUESTION).ok()?;
        answer
            .status
            .success()
            .then(|| socket(unit, &answer.stdout))
    }

    /// How the unit runs.
    pub fn runtime(&self) -> Runtime {
        let properties = "ActiveState,SubState,MainPID,ExecMainStatus,ExecMainCode,LoadState";
        let question = ["show", &self.unit, "--no-page", "--property", properties];
        match self.systemctl(&question, QUESTION) {
            Ok(answer) if answer.status.success() => runtime(&answer.stdout),
            Ok(answer) => Runtime::unknown(complaint(&answer)),
            Err(error) => Runtime::unknown(error.to_string()),
        }
    }

    /// Writes the unit and has it started now and at every start of its manager.
    ///
    /// # Errors
    /// The file cannot be written, or `systemctl` fails.
    pub fn install(&self, text: &str) -> Result<Written, ServiceError> {
        let file = self.file();
        let fresh = read(&file)?.is_none();
        let backup = self.put(&file, text)?;
        if let Err(unreached) = self.change(&["daemon-reload"]) {
            // Where no manager can be asked, nothing is installed; a former unit stays with its new text.
            if fresh {
                remove(&file)?;
            }
            return Err(unreached);
        }
        self.change(&["enable", &self.unit])?;
        self.change(&["restart", &self.unit])?;
        Ok(Written { file, backup })
    }

    /// Starts the unit.
    ///
    /// # Errors
    /// `systemctl` fails.
    pub fn start(&self) -> Result<(), ServiceError> {
        match self.shut_socket() {
            // A socket that is opened behind a running service is refused.
            Some(socket) if self.runtime().status != "running" => {
                self.change(&["start", &socket, &self.unit])
            }
            _ => self.change(&["start", &self.unit]),
        }
    }

    /// Stops the unit, and the socket that would start it again.
    ///
    /// # Errors
    /// `systemctl` fails.
    pub fn stop(&self) -> Result<(), ServiceError> {
        match self.socket().filter(|socket| socket.listening) {
            Some(socket) => self.change(&["stop", &socket.unit, &self.unit]),
            None => self.change(&["stop", &self.unit]),
        }
    }

    /// Restarts the unit.
    ///
    /// # Errors
    /// `systemctl` fails.
    pub fn restart(&self) -> Result<(), ServiceError> {
        match self.shut_socket() {
            Some(socket) => {
                self.change(&["stop", &self.unit])?;
                self.change(&["start", &socket, &self.unit])
            }
            None => self.change(&["restart", &self.unit]),
        }
    }

    /// The socket that should be open and is not.
    fn shut_socket(&self) -> Option<String> {
        let socket = self.socket()?;
        (socket.enabled && !socket.listening).then_some(socket.unit)
    }

    /// Stops and disables the unit and removes it with its backup and its secrets.
    ///
    /// # Errors
    /// `systemctl` fails where there is something to stop, or a file cannot be removed.
    pub fn uninstall(&self) -> Result<bool, ServiceError> {
        let file = self.file();
        let Some(text) = read(&file)? else {
            remove(&self.backup())?;
            return Ok(false);
        };
        self.change(&["disable", "--now", &self.unit])?;
        // A unit may be somebody else's to write: only a file of such a service goes with it.
        let named = unit::read(&text, &self.specifiers()).environment_file;
        if let Some(secrets) = named.filter(|path| environment_file::is_named(path)) {
            environment_file::remove(&secrets)?;
        }
        remove(&file)?;
        remove(&self.backup())?;
        self.change(&["daemon-reload"])?;
        // A unit that had failed is remembered as such until it is forgotten; one that had not is unknown.
        let _ = self.systemctl(&["reset-failed", &self.unit], QUESTION);
        Ok(true)
    }

    /// Whether the user's manager stays when the user has logged out: `loginctl` says so or nothing.
    pub fn lingers(&self, user: &str) -> Option<bool> {
        let question = ["show-user", user, "--property=Linger"];
        let answer = self.asker.ask("loginctl", &question, QUESTION).ok()?;
        match answer.stdout.trim() {
            "Linger=yes" => Some(true),
            "Linger=no" => Some(false),
            // Somebody without a session who does not linger is unknown to it.
            _ if answer.stderr.contains("not logged in") => Some(false),
            _ => None,
        }
    }

    /// Puts the text in place of what is there, which is kept beside it.
    fn put(&self, file: &Path, text: &str) -> Result<Option<PathBuf>, ServiceError> {
        if fs::symlink_metadata(file).is_ok_and(|found| found.is_symlink()) {
            let cause = io::Error::other(
                "it is a link to somewhere else (a masked unit is one); remove the link, or: systemctl unmask",
            );
            return Err(ServiceError::file(file, "write", cause));
        }
        let directory = file.parent().unwrap_or(Path::new("/"));
        let unwritable = |path: &Path| {
            let path = path.to_owned();
            move |cause| ServiceError::file(&path, "write", cause)
        };
        if !self.system {
            if let Some(link) = self.account.as_ref().and_then(|_| self.link_above(file)) {
                let cause = io::Error::other(
                    "it is a link, which root does not follow in somebody's home; run this as that user",
                );
                return Err(ServiceError::file(&link, "write below", cause));
            }
            self.make(directory).map_err(unwritable(directory))?;
        }
        let mode = if self.system {
            PUBLIC_FILE
        } else {
            PRIVATE_FILE
        };
        let former = read(file)?.filter(|former| former != text);
        let backup = self.backup();
        if let Some(former) = &former {
            write(&backup, former.as_bytes(), PRIVATE_FILE).map_err(unwritable(&backup))?;
        }
        write(file, text.as_bytes(), mode).map_err(unwritable(file))?;
        if let Some(account) = self.account.as_ref().filter(|_| !self.system) {
            for path in former.iter().map(|_| backup.as_path()).chain([file]) {
                account.take_over(path).map_err(unwritable(path))?;
            }
        }
        Ok(former.map(|_| backup))
    }

    /// The first link between the home and a file.
    fn link_above(&self, file: &Path) -> Option<PathBuf> {
        let inside = file
            .ancestors()
            .skip(1)
            .take_while(|path| *path != self.home);
        let is_link =
            |path: &&Path| fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink());
        inside
            .filter(|path| path.starts_with(&self.home))
            .find(is_link)
            .map(Path::to_owned)
    }

    /// Makes the directories of the unit; what root makes belongs to the unit's owner.
    fn make(&self, directory: &Path) -> io::Result<()> {
        let missing: Vec<&Path> = directory
            .ancestors()
            .take_while(|it| !it.exists())
            .collect();
        create_private_directory(directory)?;
        let Some(account) = &self.account else {
            return Ok(());
        };
        missing
            .into_iter()
            .try_for_each(|made| account.take_over(made))
    }

    /// Something that has to succeed.
    fn change(&self, arguments: &[&str]) -> Result<(), ServiceError> {
        let answer = self.systemctl(arguments, CHANGE)?;
        if answer.status.success() {
            return Ok(());
        }
        let scope: &[&str] = if self.system { &[] } else { &["--user"] };
        Err(ServiceError::Manager {
            command: command_line("systemctl", &[scope, arguments].concat()),
            detail: complaint(&answer),
        })
    }

    /// Asks `systemctl` in the right scope. A user's manager that is not reached directly is asked for through
    /// the machine's, when it is known whose it is.
    fn systemctl(&self, arguments: &[&str], limit: Duration) -> Result<Finished, ServiceError> {
        let quiet = ["--no-ask-password"];
        let ask = |scope: &[&str]| {
            self.asker
                .ask("systemctl", &[scope, &quiet, arguments].concat(), limit)
        };
        if self.system {
            return ask(&[]);
        }
        let through = |name: &str| format!("{name}@");
        if let Some(account) = &self.account {
            let answer = ask(&["--machine", &through(&account.name), "--user"])?;
            return reached(answer);
        }
        let direct = match reached(ask(&["--user"])?) {
            Err(unreached @ ServiceError::NoUserBus { .. }) => unreached,
            other => return other,
        };
        let Some(own) = Account::own() else {
            return Err(direct);
        };
        let answer = ask(&["--machine", &through(&own.name), "--user"])?;
        reached(answer).map_err(|_| direct)
    }
}

/// An answer of the manager, not of a `systemctl` that did not reach it.
fn reached(answer: Finished) -> Result<Finished, ServiceError> {
    let said = answer.stderr.to_lowercase();
    if !answer.status.success() && NO_BUS.iter().any(|words| said.contains(words)) {
        return Err(ServiceError::NoUserBus {
            detail: complaint(&answer),
        });
    }
    Ok(answer)
}

fn read(file: &Path) -> Result<Option<String>, ServiceError> {
    match fs::read_to_string(file) {
        Ok(text) => Ok(Some(text)),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(ServiceError::file(file, "read", cause)),
    }
}

fn remove(file: &Path) -> Result<(), ServiceError> {
    environment_file::remove(file)
}

#[cfg(test)]
#[path = "systemd_tests.rs"]
mod tests;
