//! `gateway|node install|status|start|stop|restart|uninstall`: the commands around an installed service.
//!
//! Which place they mean is `place`'s, what is installed `install`'s, what is shown `document`'s and
//! `view`'s; how a manager is asked is the room `service`'s.

use crate::cli::answer::Answer;
use crate::cli::error::CliError;
use crate::cli::invocation::Invocation;
use crate::cli::service::document::Action;
use crate::config::ConfigError;
use crate::config::word::GatewayMode;
use crate::service::{Kind, ServiceError};

pub mod audit;
mod document;
mod gateway;
mod install;
mod node;
mod place;
mod runtime;
mod view;

pub use install::{install, install_anew, prepare_node};
pub use place::Place;
pub use view::{Seen, status};

/// Which service a command is about: its group says it.
fn kind(invocation: &Invocation) -> Kind {
    match invocation.name().starts_with("node") {
        true => Kind::Node,
        false => Kind::Gateway,
    }
}

/// The service of the node host that `node join` is about.
///
/// # Errors
/// As [`Place::of`].
pub fn place(invocation: &Invocation) -> Result<Place, CliError> {
    Place::of(invocation, Kind::Node)
}

/// Starts an installed service.
///
/// # Errors
/// Places that cannot be found, `--system` without root.
pub fn start(invocation: &Invocation) -> Result<Answer, CliError> {
    begin(invocation, "start")
}

/// Restarts an installed service.
///
/// # Errors
/// As [`start`].
pub fn restart(invocation: &Invocation) -> Result<Answer, CliError> {
    begin(invocation, "restart")
}

fn begin(invocation: &Invocation, word: &'static str) -> Result<Answer, CliError> {
    let place = Place::of(invocation, kind(invocation))?;
    let action = Action {
        word,
        place: &place,
    };
    match place.is_loaded() {
        Ok(true) => place.needs_root(word)?,
        Ok(false) => return Ok(action.not_loaded(true)),
        Err(fault) => return Ok(action.check_failed(&fault)),
    }
    if let Some(text) = invalid_configuration(invocation, &place) {
        return Ok(action.refused(text, Vec::new()));
    }
    let manager = place.manager();
    let done = match word {
        "start" => manager.start(),
        _ => manager.restart(),
    };
    match done {
        Ok(()) if word == "start" => Ok(action.done("started", action.verb("Started"))),
        Ok(()) => Ok(action.done("restarted", action.verb("Restarted"))),
        Err(fault) => Ok(action.failed(&fault)),
    }
}

/// A gateway does not start with a configuration that is not valid: better said here than in its log.
fn invalid_configuration(invocation: &Invocation, place: &Place) -> Option<String> {
    if place.name.kind != Kind::Gateway {
        return None;
    }
    // The one that the service reads, where it runs as somebody else.
    let loaded = match place.served() {
        Some((environment, paths)) if paths.config_file != place.paths.config_file => {
            invocation.load_in(&paths, &environment)
        }
        _ => place.load(invocation),
    };
    match loaded {
        Err(CliError::Config(ConfigError::Invalid { issues, .. })) => {
            let issues: String = issues
                .iter()
                .map(|issue| format!("\n  - {issue}"))
                .collect();
            Some(format!("Gateway aborted: config is invalid.{issues}"))
        }
        Err(error) => Some(format!("Gateway aborted: {error}")),
        Ok(loaded) if loaded.config.gateway.mode == Some(GatewayMode::Remote) => Some(
            "Gateway aborted: set gateway.mode=local (current: remote); the gateway of this configuration is \
             another machine's."
                .to_owned(),
        ),
        Ok(_) => None,
    }
}

/// Stops an installed service; one that is not installed is as good.
///
/// # Errors
/// As [`start`].
pub fn stop(invocation: &Invocation) -> Result<Answer, CliError> {
    let place = Place::of(invocation, kind(invocation))?;
    let action = Action {
        word: "stop",
        place: &place,
    };
    let runs = || place.manager().runtime().status == "running";
    match place.is_loaded().map(|loaded| loaded || runs()) {
        Ok(true) => place.needs_root("stop")?,
        Ok(false) => return Ok(action.not_loaded(false)),
        Err(fault) if place.is_absent(&fault) => return Ok(action.not_loaded(false)),
        Err(fault) => return Ok(action.check_failed(&fault)),
    }
    match place.manager().stop() {
        Ok(()) => Ok(action.done("stopped", action.verb("Stopped"))),
        Err(fault) => Ok(action.failed(&fault)),
    }
}

/// Stops a service and removes everything that the install made.
///
/// # Errors
/// As [`start`].
pub fn uninstall(invocation: &Invocation) -> Result<Answer, CliError> {
    let place = Place::of(invocation, kind(invocation))?;
    let action = Action {
        word: "uninstall",
        place: &place,
    };
    let source = place.source().filter(|it| !place.is_own(it));
    if let Some(source) = source.filter(|_| place.is_set_up()) {
        return Ok(action.not_ours(&source));
    }
    place.needs_root("uninstall")?;
    if place.environment.nix_mode() {
        return Ok(action.nix());
    }
    let removed = match place.manager().uninstall() {
        Err(fault) if place.is_absent(&fault) => Ok(false),
        other => other,
    };
    match removed {
        Ok(there_was) => Ok(action.done("uninstalled", action.removed(there_was))),
        Err(fault) => Ok(action.failed(&fault)),
    }
}

/// Whether a fault only says that there is no service manager here.
fn is_no_manager(fault: &ServiceError) -> bool {
    matches!(
        fault,
        ServiceError::ManagerMissing(_) | ServiceError::NoUserBus { .. }
    )
}
