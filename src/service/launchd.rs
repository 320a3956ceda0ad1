//! launchd: the property list of one agent, written where its manager looks, and `launchctl` asked about it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::net::child::Finished;
use crate::service::ask::{Asker, CHANGE, QUESTION, command_line, complaint};
use crate::service::definition::Definition;
use crate::service::environment_file;
use crate::service::error::ServiceError;
use crate::service::manager::{Runtime, Written};
use crate::service::plist::log_files;
use crate::store::atomic::{PRIVATE_FILE, create_private_directory, write};

/// One agent and its manager.
#[derive(Clone, Debug)]
pub struct Launchd {
    /// `ai.openclaw.…`.
    pub label: String,
    /// The user's number: agents are started in its session.
    pub uid: u32,
    /// The home of the agent's owner.
    pub home: PathBuf,
    /// The secrets of the agent.
    pub secrets: PathBuf,
    /// Runs `launchctl`.
    pub asker: Asker,
}

impl Launchd {
    /// The property list.
    pub fn file(&self) -> PathBuf {
        let name = format!("{}.plist", self.label);
        self.home.join("Library/LaunchAgents").join(name)
    }

    /// Whether the agent is loaded.
    ///
    /// # Errors
    /// `launchctl` is missing.
    pub fn is_loaded(&self) -> Result<bool, ServiceError> {
        let answer = self.launchctl(&["print", &self.target()])?;
        Ok(answer.status.success())
    }

    /// How the agent runs.
    pub fn runtime(&self) -> Runtime {
        match self.launchctl(&["print", &self.target()]) {
            Ok(answer) if answer.status.success() => runtime(&answer.stdout),
            Ok(_) => Runtime {
                status: "stopped",
                missing_unit: !self.file().exists(),
                ..Runtime::default()
            },
            Err(error) => Runtime::unknown(error.to_string()),
        }
    }

    /// Writes the list and loads the agent, which starts it.
    ///
    /// # Errors
    /// The file cannot be written, or `launchctl` fails.
    pub fn install(&self, definition: &Definition, text: &str) -> Result<Written, ServiceError> {
        let file = self.file();
        let [log, _] = log_files(definition);
        let temporary = definition.state_dir.join("tmp");
        let directories = [file.parent(), log.parent(), Some(&temporary)];
        for directory in directories.into_iter().flatten() {
            create_private_directory(directory)
                .map_err(|cause| ServiceError::file(directory, "create", cause))?;
        }
        write(&file, text.as_bytes(), PRIVATE_FILE)
            .map_err(|cause| ServiceError::file(&file, "write", cause))?;
        self.unload()?;
        self.load()?;
        Ok(Written { file, backup: None })
    }

    /// Loads the agent where it is not, and starts it.
    ///
    /// # Errors
    /// `launchctl` fails.
    pub fn start(&self) -> Result<(), ServiceError> {
        match self.is_loaded()? {
            true => self.change(&["kickstart", &self.target()]),
            false => self.load(),
        }
    }

    /// Unloads the agent. It is disabled first: launchd would start it again at once.
    ///
    /// # Errors
    /// `launchctl` fails.
    pub fn stop(&self) -> Result<(), ServiceError> {
        self.change(&["disable", &self.target()])?;
        self.change(&["bootout", &self.target()])
    }

    /// Ends and starts the agent.
    ///
    /// # Errors
    /// `launchctl` fails.
    pub fn restart(&self) -> Result<(), ServiceError> {
        match self.is_loaded()? {
            true => self.change(&["kickstart", "-k", &self.target()]),
            false => self.load(),
        }
    }

    /// Unloads the agent and removes its list and secrets.
    ///
    /// # Errors
    /// `launchctl` is missing, or a file cannot be removed.
    pub fn uninstall(&self) -> Result<bool, ServiceError> {
        let file = self.file();
        if !file.exists() {
            return Ok(false);
        }
        self.unload()?;
        environment_file::remove(&self.secrets)?;
        discard(&file, &self.home.join(".Trash"))?;
        Ok(true)
    }

    /// `gui/<uid>/<label>`.
    fn target(&self) -> String {
        format!("{}/{}", self.domain(), self.label)
    }

    fn domain(&self) -> String {
        format!("gui/{}", self.uid)
    }

    fn load(&self) -> Result<(), ServiceError> {
        let file = self.file();
        self.change(&["enable", &self.target()])?;
        self.change(&["bootstrap", &self.domain(), &file.to_string_lossy()])
    }

    /// An agent that is not loaded cannot be unloaded, which is as good.
    fn unload(&self) -> Result<(), ServiceError> {
        let file = self.file();
        self.launchctl(&["bootout", &self.domain(), &file.to_string_lossy()])
            .map(drop)
    }

    fn change(&self, arguments: &[&str]) -> Result<(), ServiceError> {
        let answer = self.asker.ask("launchctl", arguments, CHANGE)?;
        if answer.status.success() {
            return Ok(());
        }
        Err(ServiceError::Manager {
            command: command_line("launchctl", arguments),
            detail: complaint(&answer),
        })
    }

    fn launchctl(&self, arguments: &[&str]) -> Result<Finished, ServiceError> {
        self.asker.ask("launchctl", arguments, QUESTION)
    }
}

/// Moves a file to the trash; where that does not work, it is deleted.
fn discard(file: &Path, trash: &Path) -> Result<(), ServiceError> {
    let moved = match file.file_name() {
        Some(name) => fs::rename(file, trash.join(name)),
        None => Err(io::ErrorKind::NotFound.into()),
    };
    moved.or_else(|_| environment_file::remove(file))
}

/// The answer of `launchctl print`.
fn runtime(text: &str) -> Runtime {
    let value = |name: &str| {
        let lines = text.lines().filter_map(|line| line.split_once(" = "));
        let mut values = lines
            .filter(|(key, _)| key.trim() == name)
            .map(|(_, value)| value);
        values.next().map(|value| value.trim().to_owned())
    };
    let state = value("state");
    let status = match state.as_deref() {
        Some("running") => "running",
        _ => "stopped",
    };
    Runtime {
        status,
        state,
        pid: value("pid").and_then(|pid| pid.parse().ok()),
        last_exit_status: value("last exit code").and_then(|code| code.parse().ok()),
        ..Runtime::default()
    }
}

#[cfg(test)]
#[path = "launchd_tests.rs"]
mod tests;
