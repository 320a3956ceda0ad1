//! Which service a command means: whose, on which manager, on which state directory.

use std::path::PathBuf;

use crate::cli::error::{CliError, Failed};
use crate::cli::invocation::Invocation;
use crate::cli::program;
use crate::cli::service::is_no_manager;
use crate::config::paths::home_of_the_system;
use crate::config::{Environment, Loaded, Paths};
use crate::service::account::is_root;
use crate::service::ask::Asker;
use crate::service::launchd::Launchd;
use crate::service::systemd::Systemd;
use crate::service::unit::Installed;
use crate::service::{Account, Kind, Manager, Name, ServiceError, Supplier, UnitFile};

/// Whether launchd is the service manager of this machine.
pub const LAUNCHD: bool = cfg!(target_os = "macos");

/// One service as a command sees it.
#[derive(Clone)]
pub struct Place {
    /// Its name.
    pub name: Name,
    /// Its unit: of that name, or the instance for its user of a package's.
    pub unit: String,
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

/// What stands on the disk of a service in one scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Nothing.
    Absent,
    /// A unit of a package, for whoever enables it.
    Offered,
    /// A unit that was written for this service, or one that is enabled.
    SetUp,
}

/// Whether a command without `--system` means the machine's service. `as_us`: it runs as the account of the command.
fn is_the_machines(user: Standing, machine: Standing, as_us: bool) -> bool {
    match (user, machine) {
        (Standing::SetUp, _) | (_, Standing::Absent) => false,
        (_, Standing::SetUp) | (Standing::Absent, _) => true,
        (Standing::Offered, Standing::Offered) => as_us,
    }
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
        let place = Place::at(invocation, kind, asked, account)?;
        let installs = matches!(invocation.command().name, "install" | "join");
        if installs || LAUNCHD {
            return Ok(place);
        }
        let machine = place.of_the_machine();
        let as_us = machine.unit == machine.name.unit() && machine.runs_as_us();
        let chosen = asked || is_the_machines(place.standing(), machine.standing(), as_us);
        Ok(if chosen { machine } else { place })
    }

    /// The machine's service instead of the user's.
    pub fn of_the_machine(&self) -> Place {
        let place = Place {
            system: true,
            unit: self.name.unit(),
            ..self.clone()
        };
        let user = self.account.clone().or_else(Account::own);
        let unit = user.and_then(|user| self.name.instance(&user.name));
        let instance = unit.map(|unit| Place {
            unit,
            ..place.clone()
        });
        match instance.filter(|it| place.source().is_none() && it.source().is_some()) {
            Some(instance) => instance,
            None => place,
        }
    }

    /// The unit or plist that counts, where there is one.
    pub fn source(&self) -> Option<UnitFile> {
        self.manager().source()
    }

    /// Whether a unit was written for this service, or one for everybody is enabled.
    pub fn is_set_up(&self) -> bool {
        self.standing() == Standing::SetUp
    }

    /// Whether there is only a unit that nobody has enabled.
    pub fn is_offered(&self) -> bool {
        self.standing() == Standing::Offered
    }

    fn standing(&self) -> Standing {
        let manager = self.manager();
        match manager.source() {
            None => Standing::Absent,
            Some(source) if self.is_own(&source) || manager.is_wanted() => Standing::SetUp,
            Some(_) => Standing::Offered,
        }
    }

    /// Whether a unit file was written for this service and no other.
    pub fn is_own(&self, source: &UnitFile) -> bool {
        match self.system {
            true => source.supplier == Supplier::Administrator,
            false => source.supplier == Supplier::User,
        }
    }

    fn runs_as_us(&self) -> bool {
        let user = self.manager().installed().and_then(|unit| unit.user);
        user.is_some() && user == Account::own().map(|own| own.name)
    }

    /// Who runs the service; `None` where it is not known.
    pub fn runner(&self, unit: &Installed) -> Option<String> {
        match self.system {
            true => Some(unit.user.clone().unwrap_or("root".to_owned())),
            false => Some(self.account.clone().or_else(Account::own)?.name),
        }
    }

    /// The variables of the service: those of its unit, and the home that its manager gives it.
    pub fn variables(&self, unit: &Installed) -> Vec<(String, String)> {
        let mut variables = unit.environment.clone();
        let home = || match self.system {
            true => Account::named(&self.runner(unit)?).ok().map(|it| it.home),
            false => Some(self.home.clone()),
        };
        if variables.iter().all(|(name, _)| name != "HOME") {
            let home = home().map(|home| ("HOME".to_owned(), home.display().to_string()));
            variables.extend(home);
        }
        variables
    }

    /// The environment and the places of the installed service; `None` without one.
    pub fn served(&self) -> Option<(Environment, Paths)> {
        let environment = Environment::from_pairs(self.variables(&self.manager().installed()?));
        let paths = Paths::resolve(&environment, None).ok()?;
        Some((environment, paths))
    }

    /// Whether the installed service works on these places.
    pub fn serves(&self, paths: &Paths) -> bool {
        self.served().is_some_and(|(_, own)| {
            own.config_file == paths.config_file && own.state_dir == paths.state_dir
        })
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
            unit: name.unit(),
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
            self.unit.clone(),
            self.system,
            self.account.clone(),
            self.home.clone(),
            asker,
        ))
    }

    /// The units or plists of this kind of service in the directory of the user's or the machine's, and the one of a
    /// package that is enabled there.
    pub fn beside(&self, system: bool) -> Vec<PathBuf> {
        let stem = match LAUNCHD {
            true => "ai.openclaw.".to_owned(),
            false => format!("openclaw-{}", self.name.kind.word()),
        };
        let place = match system {
            true => self.of_the_machine(),
            false => Place {
                system: false,
                unit: self.name.unit(),
                ..self.clone()
            },
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
        let enabled = place.source().filter(|_| place.is_set_up());
        found.extend(enabled.map(|source| source.path));
        found.sort();
        found.dedup();
        found
    }

    /// Whether the service starts by itself.
    ///
    /// # Errors
    /// Its manager cannot be asked.
    pub fn is_loaded(&self) -> Result<bool, ServiceError> {
        self.manager().is_loaded()
    }

    /// Whether nothing is set up and this fault only says that nothing could be.
    pub fn is_absent(&self, fault: &ServiceError) -> bool {
        is_no_manager(fault) && !self.is_set_up()
    }

    /// The configuration of the service.
    ///
    /// # Errors
    /// As [`Invocation::load_in`].
    pub fn load(&self, invocation: &Invocation) -> Result<Loaded, CliError> {
        invocation.load_in(&self.paths, &self.environment)
    }

    /// The machine's services are root's to change. `word`: what is to be done.
    ///
    /// # Errors
    /// The command to type instead.
    pub fn needs_root(&self, word: &str) -> Result<(), CliError> {
        if !self.system || is_root() {
            return Ok(());
        }
        let command = self.command_as_owner(word);
        Err(CliError::failed(
            "USAGE",
            format!("a service of the machine is changed by root only.\nFix: {command}"),
        ))
    }

    /// The command line that works on this service, whoever types it.
    pub fn command_as_owner(&self, words: &str) -> String {
        let command = self.command(words);
        match self.system {
            true => format!("sudo {command} --system"),
            false => command,
        }
    }

    /// The command line that ends an enabled service, with the socket that would start it again.
    pub fn disable(&self) -> String {
        let command = self.systemctl("disable --now");
        match self.manager() {
            Manager::Systemd(systemd) => match systemd.wanted_socket() {
                Some(socket) => format!("{command} {socket}"),
                None => command,
            },
            Manager::Launchd(_) => command,
        }
    }

    /// A command line of `systemctl` for this service's unit.
    pub fn systemctl(&self, words: &str) -> String {
        self.systemctl_on(words, &self.unit)
    }

    /// The same for a unit beside it.
    pub fn systemctl_on(&self, words: &str, unit: &str) -> String {
        match self.system {
            true => format!("sudo systemctl {words} {unit}"),
            false => format!("systemctl --user {words} {unit}"),
        }
    }

    /// The command line of this program for a command of this service's group, profile included.
    pub fn command(&self, words: &str) -> String {
        let kind = self.name.kind.word();
        let program = program::of_profile(self.name.profile.as_deref());
        format!("{program} {kind} {words}")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_means_the_users_service_unless_only_the_machine_has_one_that_is_set_up() {
        use Standing::{Absent, Offered, SetUp};
        for (user, machine, as_us, expected) in [
            (Absent, Absent, false, false),
            (Absent, Offered, false, true),
            (Absent, SetUp, false, true),
            (Offered, Absent, true, false),
            (Offered, Offered, false, false),
            (Offered, Offered, true, true),
            (Offered, SetUp, false, true),
            (SetUp, Absent, true, false),
            (SetUp, Offered, true, false),
            (SetUp, SetUp, true, false),
        ] {
            let found = is_the_machines(user, machine, as_us);
            assert_eq!(found, expected, "{user:?} {machine:?} {as_us}");
        }
    }
}
