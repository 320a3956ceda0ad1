//! Which service a command means: whose, on which manager, on which state directory.

use std::path::PathBuf;

use crate::cli::error::{CliError, Failed};
use crate::cli::invocation::Invocation;
use crate::cli::service::is_no_manager;
use crate::config::paths::home_of_the_system;
use crate::config::{Environment, Loaded, Paths};
use crate::service::account::is_root;
use crate::service::ask::Asker;
use crate::service::launchd::Launchd;
use crate::service::systemd::Systemd;
use crate::service::{Account, Kind, Manager, Name, ServiceError};

/// Whether launchd is the service manager of this machine.
pub const LAUNCHD: bool = cfg!(target_os = "macos");

/// One service as a command sees it.
#[derive(Clone)]
pub struct Place {
    /// Its name.
    pub name: Name,
    /// The machine's service instead of a user's.
    pub system: bool,
    /// Whose it is, where it is not simply this process's user.
    pub account: Option<Account>,
    /// `HOME` of the service.
    pub home: PathBuf,
    /// Its places.
    pub paths: Paths,
    /// The environment of this command as the owner of the service would have it.
    pub environment: Environment,
}

impl Place {
    /// The service that the command means. Without `--system` it is the user's, unless only the machine has one.
    ///
    /// # Errors
    /// `--run-as` without `--system`, an unknown account, places that cannot be found.
    pub fn of(invocation: &Invocation, kind: Kind) -> Result<Place, CliError> {
        let asked = invocation.has("system");
        if asked && LAUNCHD {
            return Err(CliError::rule(
                "--system is for systemd. On macOS leave it out: the service becomes a LaunchAgent of the user.",
            ));
        }
        let run_as = invocation.text("run-as");
        if run_as.is_some() && !asked {
            return Err(CliError::rule(
                "--run-as goes with --system: a user's service always runs as the user.",
            ));
        }
        let account = match run_as.or_else(|| behind_sudo(invocation.environment())) {
            Some(name) => Some(Account::named(name).map_err(unusable)?),
            None => None,
        };
        let mut place = Place::at(invocation, kind, asked, account)?;
        let installs = matches!(invocation.command().name, "install" | "join");
        if !asked && !installs && !LAUNCHD && !place.manager().file().exists() {
            place.system = true;
            place.system = place.manager().file().exists();
        }
        Ok(place)
    }

    fn at(
        invocation: &Invocation,
        kind: Kind,
        system: bool,
        account: Option<Account>,
    ) -> Result<Place, CliError> {
        let mut environment = invocation.environment().clone();
        if let Some(home) = account.as_ref().and_then(|account| account.home.to_str()) {
            environment.set("HOME", home);
        }
        let paths = invocation.paths_in(&environment)?;
        let name = Name {
            kind,
            profile: paths.profile.clone(),
        };
        Ok(Place {
            name,
            system,
            account,
            home: home_of_the_system(&environment)?,
            paths,
            environment,
        })
    }

    /// The service manager, looking at this service.
    pub fn manager(&self) -> Manager {
        let asker = Asker::new(&self.environment);
        if LAUNCHD {
            let own = self.account.clone().or_else(Account::own);
            return Manager::Launchd(Launchd {
                label: self.name.label(),
                uid: own.map_or(0, |account| account.uid),
                home: self.home.clone(),
                secrets: self.name.kind.environment_file(&self.paths.state_dir),
                asker,
            });
        }
        Manager::Systemd(Systemd::new(
            self.name.unit(),
            self.system,
            self.account.clone(),
            self.home.clone(),
            asker,
        ))
    }

    /// The units or plists of this kind of service in the directory of the user's or the machine's.
    pub fn beside(&self, system: bool) -> Vec<PathBuf> {
        let stem = match LAUNCHD {
            true => "ai.openclaw.".to_owned(),
            false => format!("openclaw-{}", self.name.kind.word()),
        };
        let place = Place {
            system,
            ..self.clone()
        };
        let file = place.manager().file();
        let entries = file
            .parent()
            .and_then(|directory| std::fs::read_dir(directory).ok());
        let entries = entries.into_iter().flatten().flatten();
        let ours = |path: &PathBuf| {
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            name.starts_with(&stem) && (name.ends_with(".service") || name.ends_with(".plist"))
        };
        let mut found: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(ours).collect();
        found.sort();
        found
    }

    /// Whether the service starts by itself.
    ///
    /// # Errors
    /// Its manager cannot be asked.
    pub fn is_loaded(&self) -> Result<bool, ServiceError> {
        self.manager().is_loaded()
    }

    /// Whether nothing is installed and this fault only says that nothing could be.
    pub fn is_absent(&self, fault: &ServiceError) -> bool {
        is_no_manager(fault) && !self.manager().file().exists()
    }

    /// The configuration of the service.
    ///
    /// # Errors
    /// As [`Invocation::load_in`].
    pub fn load(&self, invocation: &Invocation) -> Result<Loaded, CliError> {
        invocation.load_in(&self.paths, &self.environment)
    }

    /// The machine's services are root's to change.
    ///
    /// # Errors
    /// The command to type instead.
    pub fn needs_root(&self) -> Result<(), CliError> {
        if !self.system || is_root() {
            return Ok(());
        }
        Err(CliError::failed(
            "USAGE",
            format!(
                "a service of the machine is changed by root only.\nFix: sudo {} --system",
                self.command("…").replace(" …", "")
            ),
        ))
    }

    /// The command line of this program for a command of this service's group, profile included.
    pub fn command(&self, words: &str) -> String {
        let kind = self.name.kind.word();
        match &self.name.profile {
            Some(profile) => format!("openclaw --profile {profile} {kind} {words}"),
            None => format!("openclaw {kind} {words}"),
        }
    }
}

/// Whom root works for.
fn behind_sudo(environment: &Environment) -> Option<&str> {
    let user = environment.sudo_user()?;
    (is_root() && user != "root").then_some(user)
}

/// A failure of the room `service` before anything was tried.
pub fn unusable(fault: ServiceError) -> CliError {
    Failed::new("UNAVAILABLE", fault.to_string()).into()
}
