//! How a command reaches its gateway: endpoint, device key, cached tokens and one time budget, put together from what
//! was typed and configured.

use std::time::Duration;

use crate::cli::error::{CliError, Failed, GatewayFailure, Target};
use crate::cli::invocation::Invocation;
use crate::client::sources::Typed;
use crate::client::ssh::SshTarget;
use crate::client::{
    Budget, ClientError, ConnectIdentity, Connector, Device, DeviceTokens, Endpoint, Purpose,
    ResolveError, Session, Sources, TokenKeeper, UrlSource, connect_without_device, resolve,
};
use crate::config::word::{GatewayMode, Word};
use crate::config::{Loaded, Paths};
use crate::identity::{DeviceId, DeviceKey, Fingerprint, Token};
use crate::protocol::scope::{Role, Scope, Scopes};
use crate::store::lock::state_owner;
use crate::store::{Clock, StateDir, SystemClock, load_or_create_key};

/// Everything needed to connect, as often as the command has to, within one budget.
pub struct Reach {
    endpoint: Endpoint,
    target: Target,
    state: StateDir,
    key: DeviceKey,
    tokens: DeviceTokens,
    plaintext_opt_in: bool,
    budget: Budget,
    shows_approvals: bool,
}

impl Reach {
    /// Resolves target and credentials of a command; makes the device key when there is none.
    ///
    /// # Errors
    /// What the credential table says, or an unusable key file.
    pub fn new(
        invocation: &Invocation,
        paths: &Paths,
        loaded: &Loaded,
        total: Duration,
    ) -> Result<Reach, CliError> {
        let endpoint = endpoint(invocation, paths, loaded, Purpose::Command)?;
        let target = target(&endpoint, paths, loaded);
        let dir = StateDir::open(&paths.state_dir)?;
        let key = load_or_create_key(&dir, SystemClock.now_ms())?;
        let tokens = DeviceTokens::new(dir.clone(), key.device_id(), &endpoint);
        let nameless = !endpoint.credentials.any() && tokens.load(Role::Operator).is_none();
        if endpoint.source == UrlSource::Ssh && nameless {
            let config = paths.config_file.clone();
            let source = endpoint.source;
            let missing = ResolveError::CredentialsMissing { source, config };
            return Err(GatewayFailure::nowhere(missing.into()).into());
        }
        Ok(Reach {
            endpoint,
            target,
            state: dir,
            key,
            tokens,
            plaintext_opt_in: invocation.environment().allow_insecure_private_ws(),
            budget: Budget::new(total),
            shows_approvals: false,
        })
    }

    /// The same for a command that shows a person the commands that wait, as they come.
    pub fn showing_approvals(mut self) -> Reach {
        self.shows_approvals = true;
        self
    }

    /// The budget of the whole command.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Starts the budget anew: a command that stays connected connects again later.
    pub fn restart_budget(&mut self, total: Duration) {
        self.budget = Budget::new(total);
    }

    /// Where it connects.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The device this command line is.
    pub fn own_device(&self) -> DeviceId {
        self.key.device_id()
    }

    /// Connects as an operator that needs `scopes`.
    ///
    /// On the gateway's own machine the shared secret is enough to administer, so a device whose approval is narrower
    /// than the command does not stand in the way: the connection is then made without the device (protocol §5.7).
    ///
    /// # Errors
    /// [`CliError::Client`].
    pub fn connect(&self, scopes: &Scopes) -> Result<Session, CliError> {
        let stored = self.tokens.load(Role::Operator);
        let secret = self.endpoint.credentials.any();
        let local_secret = self.endpoint.arrives_at_home() && secret;
        let held = stored.as_ref().map(|stored| &stored.scopes);
        let scopes = scopes_to_ask(scopes, held, secret, local_secret);
        if local_secret && held.is_some_and(|held| held.missing(&scopes).is_some()) {
            let outcome = self.attempt_without_device(&scopes);
            return outcome.map_err(|error| self.failure(error));
        }
        let refused = match self.attempt(&scopes) {
            Err(error @ ClientError::PairingRequired(_)) if local_secret => error,
            outcome => return outcome.map_err(|error| self.failure(error)),
        };
        let without_device = self.attempt_without_device(&scopes);
        without_device.map_err(|_| self.failure(refused))
    }

    fn attempt(&self, scopes: &Scopes) -> Result<Session, ClientError> {
        let connector = Connector {
            endpoint: &self.endpoint,
            identity: &self.identity(scopes),
            device: Some(Device {
                key: &self.key,
                tokens: &self.tokens,
            }),
            plaintext_opt_in: self.plaintext_opt_in,
        };
        connector.connect(&self.budget)
    }

    fn attempt_without_device(&self, scopes: &Scopes) -> Result<Session, ClientError> {
        let identity = self.identity(scopes);
        connect_without_device(
            &self.endpoint,
            &identity,
            self.plaintext_opt_in,
            &self.budget,
        )
    }

    fn identity(&self, scopes: &Scopes) -> ConnectIdentity {
        let identity = ConnectIdentity::command_line(scopes.clone());
        match self.shows_approvals {
            true => identity.showing_approvals(),
            false => identity,
        }
    }

    /// Keeps a token that was rotated for this very device.
    pub fn keep_token(&self, role: Role, token: &Token, scopes: &Scopes) {
        self.tokens.store(role, token, scopes);
    }

    /// Drops the cached token: this device is no longer approved.
    pub fn forget_token(&self) {
        self.tokens.forget(Role::Operator);
    }

    /// A client error with where it happened.
    pub fn failure(&self, error: ClientError) -> CliError {
        let mut failure = GatewayFailure::at(error, &self.target);
        if failure.is_refused() && self.endpoint.is_local() {
            failure.holder = state_owner(&self.state);
        }
        failure.into()
    }
}

/// The scopes a command asks for that needs `scopes`: an administrator's too where they cost nothing and show more.
/// A session of a device token sees no other device otherwise, and gateways of 2026.9 show an approval that another
/// device asked for to nobody else.
fn scopes_to_ask(
    scopes: &Scopes,
    held: Option<&Scopes>,
    secret: bool,
    local_secret: bool,
) -> Scopes {
    let shows_more = !secret || scopes.contains(&Scope::APPROVALS);
    let free = local_secret || held.is_some_and(|held| held.contains(&Scope::ADMIN));
    match shows_more && free {
        true => with(scopes, &Scope::ADMIN),
        false => scopes.clone(),
    }
}

/// The endpoint of a command for one purpose.
///
/// # Errors
/// What the credential table says.
pub fn endpoint(
    invocation: &Invocation,
    paths: &Paths,
    loaded: &Loaded,
    purpose: Purpose,
) -> Result<Endpoint, CliError> {
    let ssh = ssh(invocation)?;
    let typed = Typed {
        ssh: ssh.as_ref(),
        url: invocation.value("url"),
        token: invocation.value("token"),
        password: invocation.value("password"),
        pin: pin(invocation)?,
    };
    let sources = Sources::gather(typed, paths, loaded)?;
    resolve(&sources, purpose).map_err(|error| GatewayFailure::nowhere(error.into()).into())
}

/// Refuses a command that works on the files of a gateway of this machine where the gateway is another machine's:
/// nobody would ever look at what it did here.
///
/// # Errors
/// `gateway.mode` is remote.
pub fn has_its_gateway_here(invocation: &Invocation) -> Result<(), CliError> {
    match invocation.command().gateway_host {
        Some(elsewhere) => refuse_elsewhere(invocation, elsewhere),
        None => Ok(()),
    }
}

/// The same for one use of a command; `elsewhere`: what to do here instead, a sentence or nothing.
///
/// # Errors
/// `gateway.mode` is remote.
pub fn refuse_elsewhere(invocation: &Invocation, elsewhere: &str) -> Result<(), CliError> {
    let paths = invocation.paths()?;
    // What is wrong with a configuration is the command's to say.
    let loaded = crate::config::load(&paths, invocation.environment());
    let remote = |loaded: &Loaded| loaded.config.gateway.mode == Some(GatewayMode::Remote);
    if !loaded.is_ok_and(|loaded| remote(&loaded)) {
        return Ok(());
    }
    let name = invocation.name();
    let mut failed = Failed::new(
        "UNAVAILABLE",
        format!(
            "openclaw {name} works on the gateway's host, and here gateway.mode is remote: this machine has no gateway"
        ),
    );
    let there = "Run it there";
    failed.hint = Some(match elsewhere {
        "" => format!("{there}."),
        elsewhere => format!("{there}. {elsewhere}"),
    });
    Err(failed.into())
}

/// `--ssh`.
///
/// # Errors
/// A usage error when it is no target.
pub fn ssh(invocation: &Invocation) -> Result<Option<SshTarget>, CliError> {
    let typed = invocation.value("ssh").map(SshTarget::parse).transpose();
    typed.map_err(|fault| CliError::rule(format!("Invalid --ssh: {fault}")))
}

/// `--tls-fingerprint`.
///
/// # Errors
/// A usage error when it is no fingerprint.
pub fn pin(invocation: &Invocation) -> Result<Option<Fingerprint>, CliError> {
    let Some(text) = invocation.value("tls-fingerprint") else {
        return Ok(None);
    };
    let pin = Fingerprint::parse(text);
    let invalid = "Invalid --tls-fingerprint: expected the SHA-256 of a certificate, 64 hex digits";
    pin.map(Some).ok_or_else(|| CliError::rule(invalid))
}

/// Where a failed connect tried, for its message.
pub fn target(endpoint: &Endpoint, paths: &Paths, loaded: &Loaded) -> Target {
    let bind = loaded.config.gateway.bind.as_str().to_owned();
    Target {
        url: endpoint.url.to_string(),
        source: endpoint.source,
        via: endpoint.via.as_ref().map(ToString::to_string),
        config: paths.config_file.clone(),
        bind: endpoint.is_local().then_some(bind),
    }
}

/// A scope list with one more scope, unless it is there.
pub fn with(scopes: &Scopes, added: &Scope) -> Scopes {
    let missing = (!scopes.contains(added)).then(|| added.clone());
    scopes.iter().cloned().chain(missing).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_administrators_scope_is_asked_for_where_it_shows_more_and_is_had_already() {
        const FULL: &[&str] = &["operator.admin", "operator.approvals"];
        const NARROW: &[&str] = &["operator.approvals"];
        // scopes needed, scopes held, a secret is shown, on the gateway's machine, whether it asks for more
        type Case = (
            &'static str,
            Option<&'static [&'static str]>,
            bool,
            bool,
            bool,
        );
        let cases: &[Case] = &[
            ("operator.read", Some(FULL), false, false, true),
            ("operator.read", Some(NARROW), false, false, false),
            ("operator.read", Some(FULL), true, true, false),
            ("operator.read", None, true, true, false),
            ("operator.approvals", Some(FULL), false, false, true),
            ("operator.approvals", Some(FULL), true, false, true),
            ("operator.approvals", Some(NARROW), true, false, false),
            ("operator.approvals", Some(NARROW), false, false, false),
            ("operator.approvals", Some(NARROW), true, true, true),
            ("operator.approvals", None, true, true, true),
            ("operator.approvals", None, true, false, false),
        ];
        for (needed, held, secret, local, more) in cases {
            let needed: Scopes = [*needed].into_iter().collect();
            let held = held.map(|held| held.iter().copied().collect::<Scopes>());
            let asked = scopes_to_ask(&needed, held.as_ref(), *secret, *local);
            assert_eq!(
                asked.contains(&Scope::ADMIN),
                *more,
                "{needed:?} {held:?} {secret} {local}"
            );
            assert_eq!(asked.missing(&needed), None);
        }
    }
}
