//! One connect as the node host to be, before anything of the new gateway is stored: it proves the certificate,
//! uses up a join key, and tells what still has to be approved.

use std::cell::RefCell;

use crate::cli::error::{CliError, Failed, GatewayFailure, Target};
use crate::cli::node::{self, Start};
use crate::client::{
    Budget, ClientError, Connector, Device, DeviceTokens, PairingRefusal, Purpose, Sources,
    StoredToken, TokenKeeper, UrlSource, resolve,
};
use crate::identity::{DeviceKey, Fingerprint, Token};
use crate::node::machine::Machine;
use crate::node::pause::credentials_hint;
use crate::node::settings::Settings;
use crate::protocol::scope::{Role, Scopes};
use crate::store::StateDir;

/// What the gateway says to this machine.
#[derive(Debug)]
pub enum Admission {
    /// It lets the device in.
    Connected,
    /// Somebody has to approve the device.
    Waiting(Box<PairingRefusal>),
}

/// The gateway wants a secret, and there is none to show.
#[derive(Debug)]
pub struct Secretless {
    /// Its words.
    pub words: String,
    /// Its detail code.
    pub code: String,
}

impl Secretless {
    /// The same gateway, and why what was typed is not the secret.
    pub fn because(&self, words: String) -> CliError {
        let code = self.code.clone();
        Secretless { words, code }.into()
    }
}

impl From<Secretless> for CliError {
    fn from(secretless: Secretless) -> CliError {
        let failed = Failed::new("CREDENTIALS_MISSING", secretless.words);
        with_credentials_hint(failed, &secretless.code)
    }
}

/// What to do about a refused or missing secret.
fn with_credentials_hint(mut failed: Failed, code: &str) -> CliError {
    if let Some(hint) = credentials_hint(code) {
        failed.hint = Some(format!("Nothing was stored. {hint}"));
    }
    failed.into()
}

/// A machine that wants to join.
pub struct Applicant<'a> {
    /// Where it starts from.
    pub start: &'a Start,
    /// Its state directory.
    pub dir: &'a StateDir,
    /// Its key.
    pub key: &'a DeviceKey,
    /// What it is to be called, and where it connects.
    pub settings: &'a Settings,
    /// The one certificate to trust.
    pub pin: Option<Fingerprint>,
    /// A setup code's secret or a join key.
    pub secret: Option<Token>,
    /// The token that this very gateway gave, where none is kept for its URL.
    pub kept: Option<Token>,
}

impl Applicant<'_> {
    /// Connects, and goes again. Also returns the device token that was handed out; it is kept for the gateway's URL,
    /// not yet in `node.json`.
    ///
    /// # Errors
    /// Everything but a missing secret and a missing approval.
    pub fn apply(
        &self,
        budget: &Budget,
    ) -> Result<Result<(Admission, Option<Token>), Secretless>, CliError> {
        let Start { paths, loaded, .. } = self.start;
        let sources =
            Sources::for_node_host(self.settings.url.clone(), self.pin, None, paths, loaded)?;
        let resolved = resolve(&sources, Purpose::Join);
        let endpoint = resolved.map_err(|error| GatewayFailure::nowhere(error.into()))?;
        let tokens = Keeper {
            tokens: DeviceTokens::new(self.dir.clone(), self.key.device_id(), &endpoint),
            secrets: RefCell::new(Secrets {
                handed: None,
                kept: self.kept.clone(),
                unused: self.secret.clone(),
            }),
        };
        let identity = node::identity(self.settings, &self.machine());
        let connector = Connector {
            endpoint: &endpoint,
            identity: &identity,
            device: Some(Device {
                key: self.key,
                tokens: &tokens,
            }),
            plaintext_opt_in: loaded.environment.allow_insecure_private_ws(),
        };
        let admission = match connector.connect(budget) {
            Ok(_) => Admission::Connected,
            Err(ClientError::PairingRequired(refusal)) => Admission::Waiting(refusal),
            Err(error) if wants_secret(&error) => {
                return Ok(Err(Secretless {
                    words: error.to_string(),
                    code: error.detail_code().unwrap_or_default().to_owned(),
                }));
            }
            Err(error) => {
                let target = target(&endpoint.url.to_string(), self.start);
                let code = error.detail_code().unwrap_or_default().to_owned();
                let error = CliError::from(GatewayFailure::at(error, &target));
                return Err(match credentials_hint(&code) {
                    Some(_) => with_credentials_hint(error.into(), &code),
                    None => error,
                });
            }
        };
        Ok(Ok((admission, tokens.secrets.into_inner().handed)))
    }

    /// This machine as its node host will see it.
    fn machine(&self) -> Machine {
        let start = self.start;
        node::machine(
            &self.key.device_id(),
            self.dir,
            &self.settings.url.to_string(),
            &start.paths,
            &start.loaded,
            start.environment.clone(),
            start.here.clone(),
        )
    }
}

/// Where a join tried to connect, for its message.
pub fn target(url: &str, start: &Start) -> Target {
    Target {
        url: url.to_owned(),
        source: UrlSource::Join,
        via: None,
        config: start.paths.config_file.clone(),
        bind: None,
    }
}

fn wants_secret(error: &ClientError) -> bool {
    matches!(
        error.detail_code(),
        Some("AUTH_TOKEN_MISSING" | "AUTH_PASSWORD_MISSING")
    )
}

/// The secrets of one try. `node.json` still holds those of the former gateway, which the new one must not see.
struct Keeper {
    tokens: DeviceTokens,
    secrets: RefCell<Secrets>,
}

struct Secrets {
    handed: Option<Token>,
    kept: Option<Token>,
    unused: Option<Token>,
}

impl TokenKeeper for Keeper {
    fn load(&self, role: Role) -> Option<StoredToken> {
        self.tokens.load(role).or_else(|| {
            let token = self.secrets.borrow().kept.clone()?;
            Some(StoredToken {
                token,
                scopes: Scopes::none(),
            })
        })
    }

    fn store(&self, role: Role, token: &Token, scopes: &Scopes) {
        self.tokens.store(role, token, scopes);
        let mut secrets = self.secrets.borrow_mut();
        secrets.handed = Some(token.clone());
        secrets.unused = None;
    }

    fn bootstrap(&self) -> Option<Token> {
        self.secrets.borrow().unused.clone()
    }

    fn forget(&self, role: Role) {
        self.tokens.forget(role);
        self.secrets.borrow_mut().kept = None;
    }
}
