//! Administration of devices and nodes, written once for both ways: through a running gateway, or on the state
//! directory of a gateway that does not run. Commands call methods by name and cannot tell which.
//!
//! On the gateway's host, in its container too, the command line never needs a pairing of its own to administer:
//! nobody is locked out of the approval that would let them in.

use std::time::Duration;

use serde_json::Value;

use crate::cli::administration::local::Local;
use crate::cli::administration::remote::Remote;
use crate::cli::error::CliError;
use crate::cli::invocation::Invocation;
use crate::cli::reach::Reach;
use crate::client::{ClientError, ResolveError};
use crate::config::word::GatewayMode;
use crate::config::{Loaded, Paths};
use crate::identity::{DeviceId, Token};
use crate::protocol::scope::{Role, Scope, Scopes};

mod local;
mod remote;

/// Somebody who can answer administration methods.
pub trait Administration {
    /// Calls a method of the gateway's table with its params.
    ///
    /// # Errors
    /// The gateway's refusal in its own words, or why it could not be asked.
    fn call(&mut self, method: &'static str, params: &Value) -> Result<Value, CliError>;

    /// Makes sure that the following calls hold these scopes too.
    ///
    /// # Errors
    /// When the gateway does not grant them.
    fn raise(&mut self, scopes: &Scopes) -> Result<(), CliError>;

    /// Whether it has a method that not every gateway has.
    fn knows(&self, method: &str) -> bool;

    /// A line that tells a person which way was taken, when it is not the usual one.
    fn note(&self) -> Option<String>;

    /// The device this command line is, when it connects as one.
    fn own_device(&self) -> Option<DeviceId>;

    /// Keeps a token that was rotated for this very device.
    fn keep_token(&self, role: Role, token: &Token, scopes: &Scopes);

    /// This device was removed: its cached token is worth nothing.
    fn forget_token(&self);
}

/// When the pairing files of this machine may answer instead of the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fallback {
    /// Never: only a running gateway knows.
    Never,
    /// Only without a running gateway.
    Offline,
    /// Also when a running gateway refuses this command line for pairing reasons.
    Pairing,
}

/// Opens the way that works: the gateway, else its state directory.
///
/// # Errors
/// Why neither works; the gateway's error comes first.
pub fn open(
    invocation: &Invocation,
    scopes: &[Scope],
    fallback: Fallback,
) -> Result<Box<dyn Administration>, CliError> {
    let paths = invocation.paths()?;
    let loaded = invocation.load(&paths)?;
    let local = is_local(invocation, &loaded);
    let total = Duration::from_millis(invocation.milliseconds("timeout"));
    let scopes: Scopes = scopes.iter().cloned().collect();
    let reached = Reach::new(invocation, &paths, &loaded, total)
        .and_then(|reach| Remote::connect(reach, scopes));
    let error = match reached {
        Ok(remote) if local && fallback == Fallback::Pairing => {
            return Ok(Box::new(remote.with_files(&paths, &loaded)));
        }
        Ok(remote) => return Ok(Box::new(remote)),
        Err(error) if local && fallback != Fallback::Never => error,
        Err(error) => return Err(error),
    };
    if nobody_answers(&error) {
        return offline(error, &paths, &loaded);
    }
    if fallback == Fallback::Pairing && is_pairing_refusal(&error) {
        return Ok(Box::new(Local::beside(&paths, &loaded)?));
    }
    Err(error)
}

/// Whether the gateway meant is the one of this machine, named by nobody.
fn is_local(invocation: &Invocation, loaded: &Loaded) -> bool {
    invocation.text("url").is_none()
        && !invocation.has("ssh")
        && loaded.environment.gateway_url().is_none()
        && loaded.config.gateway.mode != Some(GatewayMode::Remote)
}

/// Nobody listens there, or the secret to ask with cannot be had: the files need neither.
fn nobody_answers(error: &CliError) -> bool {
    let CliError::Client(failure) = error else {
        return false;
    };
    match &failure.error {
        ClientError::Unreachable { cause, .. } => {
            cause.kind() == std::io::ErrorKind::ConnectionRefused
        }
        ClientError::Resolve(ResolveError::SecretUnavailable { .. }) => true,
        _ => false,
    }
}

fn is_pairing_refusal(error: &CliError) -> bool {
    matches!(error, CliError::Client(failure) if matches!(failure.error, ClientError::PairingRequired(_)))
}

/// The state directory under its lock, if a gateway ever ran on it or one is meant to; otherwise the error stands.
fn offline(
    error: CliError,
    paths: &Paths,
    loaded: &Loaded,
) -> Result<Box<dyn Administration>, CliError> {
    let meant = loaded.config.gateway.mode == Some(GatewayMode::Local);
    if !meant && !Local::has_state(paths) {
        return Err(error);
    }
    match Local::offline(paths, loaded) {
        Ok(local) => Ok(Box::new(local)),
        Err(CliError::Store(crate::store::StoreError::Locked { pid, .. })) => {
            Err(error.held_by(pid))
        }
        Err(other) => Err(other),
    }
}

#[cfg(test)]
mod tests;
