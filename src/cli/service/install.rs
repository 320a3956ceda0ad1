//! `gateway install` and `node install`: from what was typed and configured to a service that runs.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::cli::answer::Answer;
use crate::cli::error::CliError;
use crate::cli::invocation::Invocation;
use crate::cli::service::document::Action;
use crate::cli::service::place::{LAUNCHD, Place, unusable};
use crate::cli::service::{gateway, kind, node};
use crate::service::account::is_root;
use crate::service::definition::Origin;
use crate::service::systemd::Systemd;
use crate::service::{
    Account, Definition, Kind, Manager, Program, Scope, ServiceError, Written, environment_file,
};
use crate::store::StateDir;
use crate::store::atomic::create_private_directory;

/// What a kind of service adds to an install.
#[derive(Debug, Default)]
pub struct Parts {
    /// The arguments of the program.
    pub arguments: Vec<String>,
    /// The port a gateway listens on.
    pub port: Option<u16>,
    /// Secrets for the environment file.
    pub secrets: Vec<(String, String)>,
    /// What a person should know.
    pub warnings: Vec<String>,
}

/// Installs the service, or with `--print` only shows the unit or plist.
///
/// # Errors
/// Flags that contradict each other or the configuration, `--system` without root.
pub fn install(invocation: &Invocation) -> Result<Answer, CliError> {
    install_over(invocation, invocation.has("force"))
}

/// Installs the service with what is stored now, over one that is installed already.
///
/// # Errors
/// As [`install`].
pub fn install_anew(invocation: &Invocation) -> Result<Answer, CliError> {
    install_over(invocation, true)
}

fn install_over(invocation: &Invocation, force: bool) -> Result<Answer, CliError> {
    let kind = kind(invocation);
    let place = Place::of(invocation, kind)?;
    let action = Action {
        word: "install",
        place: &place,
    };
    let runtime = runtime_note(invocation)?;
    let print = invocation.has("print");
    let scope = scope(&place, print)?;
    if print {
        let parts = parts(invocation, &place, &action, false)?;
        let parts = match parts {
            Ok(parts) => parts,
            Err(refused) => return Ok(refused),
        };
        return show(
            &place,
            &definition(invocation, &place, scope, &parts)?,
            parts.warnings,
        );
    }
    if place.environment.nix_mode() {
        return Ok(action.nix());
    }
    match place.is_loaded() {
        Ok(true) if !force => return Ok(already(&action)),
        // Nothing is generated or stored for a service that cannot be.
        Ok(_) => {
            if let Err(fault) = place.manager().is_reached() {
                return Ok(action.failed(&fault));
            }
        }
        Err(fault) => return Ok(action.check_failed(&fault)),
    }
    let mut parts = match parts(invocation, &place, &action, true)? {
        Ok(parts) => parts,
        Err(refused) => return Ok(refused),
    };
    parts.warnings.extend(runtime);
    let definition = definition(invocation, &place, scope, &parts)?;
    // A unit that cannot be rendered must not leave a file behind.
    place.manager().render(&definition).map_err(unusable)?;
    let manager = place.manager();
    parts.warnings.extend(lingering(&manager, &place));
    parts.warnings.extend(beside_the_machines(&place));
    let secrets = keep(&definition, parts.secrets);
    let installed = prepare(&place)
        .and_then(|()| environment_file::save(&definition.environment_file(), &secrets))
        .and_then(|()| manager.install(&definition));
    match installed {
        Ok(written) => Ok(done(&action, &written, &definition, parts.warnings)),
        Err(fault) => Ok(action.failed(&fault)),
    }
}

fn parts(
    invocation: &Invocation,
    place: &Place,
    action: &Action<'_>,
    store: bool,
) -> Result<Result<Parts, Answer>, CliError> {
    match place.name.kind {
        Kind::Gateway => gateway::parts(invocation, place, action, store),
        Kind::Node => node::parts(invocation, place).map(Ok),
    }
}

/// Whose service it becomes. The machine's never silently becomes root's: whoever may run commands through
/// it would be root.
fn scope(place: &Place, print: bool) -> Result<Scope, CliError> {
    if !place.system {
        return Ok(Scope::User(place.account.clone()));
    }
    let command = place.command("install --system");
    if !is_root() && !print {
        return Err(CliError::failed(
            "USAGE",
            format!(
                "--system needs root, which alone may write /etc/systemd/system.\nFix: sudo {command}"
            ),
        ));
    }
    let own = || Account::own().filter(|_| !is_root());
    match place.account.clone().or_else(own) {
        Some(account) => Ok(Scope::System(account)),
        None => Err(CliError::failed(
            "USAGE",
            format!(
                "--system has to know whose service it becomes.\nFix: {command} --run-as <user>\n\
                 (--run-as root is possible; commands that are run here are then root's.)"
            ),
        )),
    }
}

fn runtime_note(invocation: &Invocation) -> Result<Option<String>, CliError> {
    match invocation.text("runtime") {
        None => Ok(None),
        Some(name @ ("node" | "bun")) => Ok(Some(format!(
            "Note: --runtime {name} has no effect; this build runs as a native executable."
        ))),
        Some(_) => Err(CliError::rule(
            "Invalid --runtime (use \"node\" or \"bun\")",
        )),
    }
}

fn definition(
    invocation: &Invocation,
    place: &Place,
    scope: Scope,
    parts: &Parts,
) -> Result<Definition, CliError> {
    let here = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
    let origin = Origin {
        environment: &place.environment,
        paths: &place.paths,
        home: &place.home,
        here: &here,
        launchd: LAUNCHD,
    };
    let program = program(invocation, place, &here, parts.arguments.clone())?;
    let made = Definition::new(place.name.kind, scope, program, parts.port, origin);
    made.map_err(unusable)
}

/// This program, or the wrapper that was named now or at the last install.
fn program(
    invocation: &Invocation,
    place: &Place,
    here: &Path,
    arguments: Vec<String>,
) -> Result<Program, CliError> {
    let stored = || {
        let environment = place.manager().installed()?.environment;
        let known = environment
            .into_iter()
            .find(|(name, _)| name == "OPENCLAW_WRAPPER");
        known.map(|(_, path)| path)
    };
    let wrapper = match (invocation.text("wrapper"), place.environment.wrapper()) {
        (Some(typed), _) => Some(typed.to_owned()),
        (None, Some("")) => None,
        (None, Some(named)) => Some(named.to_owned()),
        (None, None) => stored(),
    };
    if let Some(wrapper) = wrapper {
        let path = here.join(wrapper);
        let executable = path
            .metadata()
            .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0);
        if !executable {
            let text = format!(
                "--wrapper (OPENCLAW_WRAPPER) {} is no executable file",
                path.display()
            );
            return Err(CliError::rule(text));
        }
        return Ok(Program {
            executable: path,
            wrapped: true,
            arguments,
        });
    }
    let own = std::env::current_exe();
    let own = own.map_err(|error| {
        CliError::failed("UNAVAILABLE", format!("cannot find this program: {error}"))
    })?;
    Ok(Program {
        executable: own,
        wrapped: false,
        arguments,
    })
}

/// Secrets that were kept at an earlier install stay, unless they are given anew.
fn keep(definition: &Definition, given: Vec<(String, String)>) -> Vec<(String, String)> {
    let mut secrets = environment_file::load(&definition.environment_file());
    secrets.retain(|(name, _)| given.iter().all(|(newer, _)| newer != name));
    secrets.extend(given);
    secrets
}

/// The state directory, which belongs to the owner of the service whoever makes it.
fn prepare(place: &Place) -> Result<(), crate::service::ServiceError> {
    let root = &place.paths.state_dir;
    let file = |cause| crate::service::ServiceError::file(root, "create", cause);
    let missing = !root.exists();
    StateDir::open(root).map_err(|error| file(std::io::Error::other(error.to_string())))?;
    match &place.account {
        Some(account) if missing => account.take_over(root).map_err(file),
        _ => Ok(()),
    }
}

/// Makes the state directory of a node host and the place of its key, both its owner's, whoever joins for it.
///
/// # Errors
/// The system refuses.
pub fn prepare_node(place: &Place) -> Result<(), CliError> {
    prepare(place).map_err(unusable)?;
    let Some(account) = &place.account else {
        return Ok(());
    };
    let key = StateDir::open(&place.paths.state_dir)?.device_key();
    let directory = key.parent().unwrap_or(&place.paths.state_dir);
    create_private_directory(directory)
        .and_then(|()| account.take_over(directory))
        .map_err(|cause| unusable(ServiceError::file(directory, "create", cause)))
}

fn already(action: &Action<'_>) -> Answer {
    let place = action.place;
    let message = format!("{} service already enabled.", place.name.kind.title());
    let flag = if place.system { " --system" } else { "" };
    let text = format!(
        "{message}\nReinstall with: {}{flag}",
        place.command("install --force")
    );
    action.success("already-installed", Some(&message), text)
}

fn done(
    action: &Action<'_>,
    written: &Written,
    definition: &Definition,
    warnings: Vec<String>,
) -> Answer {
    let file = written.file.display();
    let mut text = match LAUNCHD {
        true => {
            let [log, _] = crate::service::plist::log_files(definition);
            format!("\nInstalled LaunchAgent: {file}\nLogs: {}", log.display())
        }
        false => format!("\nInstalled systemd service: {file}"),
    };
    if let Some(backup) = &written.backup {
        text += &format!("\nPrevious unit backed up to: {}", backup.display());
    }
    warned(action.done("installed", text), warnings)
}

/// The answer with its warnings: members of the document, lines on stderr.
fn warned(mut answer: Answer, warnings: Vec<String>) -> Answer {
    if warnings.is_empty() {
        return answer;
    }
    if let Some(document) = answer.document.as_mut() {
        document["warnings"] = serde_json::json!(warnings);
    }
    answer.notes.extend(warnings);
    answer
}

fn show(place: &Place, definition: &Definition, warnings: Vec<String>) -> Result<Answer, CliError> {
    let manager = place.manager();
    let text = manager.render(definition).map_err(unusable)?;
    let document = serde_json::json!({"action": "install", "ok": true, "result": "printed", "path": manager.file(), "text": text});
    Ok(warned(Answer::new(document, text), warnings))
}

/// A user's gateway where the machine has one too.
fn beside_the_machines(place: &Place) -> Option<String> {
    let machine = place.of_the_machine();
    let two = place.name.kind == Kind::Gateway && !place.system && !LAUNCHD && machine.is_set_up();
    two.then(|| {
        format!(
            "warning: this machine has a gateway of its own ({}): the second one needs a gateway.port of its own.",
            machine.unit
        )
    })
}

/// A user's services end with the last session and do not start with the machine, unless the user lingers.
fn lingering(manager: &Manager, place: &Place) -> Option<String> {
    let Manager::Systemd(systemd @ Systemd { system: false, .. }) = manager else {
        return None;
    };
    let user = place.account.clone().or_else(Account::own)?.name;
    (systemd.lingers(&user) == Some(false)).then(|| {
        let noun = place.name.kind.noun();
        format!(
            "warning: lingering is off for {user}: the {noun} stops at logout and does not start with the machine. \
             Turn it on with:\n  sudo loginctl enable-linger {user}"
        )
    })
}
