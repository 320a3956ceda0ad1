//! From an endpoint to a session: addresses, sockets, handshake, and the few retries that are allowed.
//!
//! The one connect function for the command line, the node host and probes.

use crate::client::budget::Budget;
use crate::client::credentials::Endpoint;
use crate::client::error::ClientError;
use crate::client::handshake::{Attempt, Next, Situation, StoredToken, connect_params};
use crate::client::identity::ConnectIdentity;
use crate::client::session::{Session, handshake};
use crate::client::transport::{self, Transport};
use crate::identity::{DeviceKey, Token};
use crate::protocol::error::ErrorShape;
use crate::protocol::scope::{Role, Scope, Scopes};
use crate::store::{Clock, SystemClock};

/// Where device tokens of earlier connects are kept. Failures to write are the keeper's to report: a connection does not
/// fail because its token could not be kept.
pub trait TokenKeeper {
    /// The token of this gateway and role.
    fn load(&self, role: Role) -> Option<StoredToken>;
    /// Keeps the token of a hello.
    fn store(&self, role: Role, token: &Token, scopes: &Scopes);
    /// The secret to get a first token with: of a setup code, or a join key. It is worth nothing once a token
    /// was stored.
    fn bootstrap(&self) -> Option<Token> {
        None
    }
    /// Drops the token: the gateway does not know it any more.
    fn forget(&self, role: Role);
}

/// The device that connects: its key and its tokens.
#[derive(Clone, Copy)]
pub struct Device<'a> {
    /// Private key.
    pub key: &'a DeviceKey,
    /// Its tokens for this gateway.
    pub tokens: &'a dyn TokenKeeper,
}

/// Makes one fresh connection, upgraded to a WebSocket, within the budget.
type Opener<'a> = dyn Fn(&Budget) -> Result<Box<dyn Transport>, ClientError> + 'a;

/// Everything a connect needs besides time.
#[derive(Clone, Copy)]
pub struct Connector<'a> {
    /// Where, and with which shared secrets.
    pub endpoint: &'a Endpoint,
    /// As whom.
    pub identity: &'a ConnectIdentity,
    /// With which device; `None` connects without a proof.
    pub device: Option<Device<'a>>,
    /// `OPENCLAW_ALLOW_INSECURE_PRIVATE_WS=1`.
    pub plaintext_opt_in: bool,
}

impl Connector<'_> {
    /// Connects within the budget, and keeps the device token the gateway hands out.
    ///
    /// After `AUTH_TOKEN_MISMATCH` one more attempt shows a trusted endpoint the stored device token too; after
    /// `AUTH_DEVICE_TOKEN_MISMATCH` that token is dropped and the shared secret gets its turn.
    ///
    /// # Errors
    /// [`ClientError`] of the last attempt.
    pub fn connect(&self, budget: &Budget) -> Result<Session, ClientError> {
        self.connect_once_reached(budget, &|| {})
    }

    /// [`Connector::connect`], with a call as soon as the gateway is reached and before it is told anything.
    ///
    /// # Errors
    /// As [`Connector::connect`].
    pub fn connect_once_reached(
        &self,
        budget: &Budget,
        reached: &dyn Fn(),
    ) -> Result<Session, ClientError> {
        self.connect_with(budget, &|budget| {
            transport::open(self.endpoint, self.plaintext_opt_in, budget, reached)
        })
    }

    fn connect_with(&self, budget: &Budget, open: &Opener<'_>) -> Result<Session, ClientError> {
        let role = self.identity.role;
        let mut stored = self.device.and_then(|device| device.tokens.load(role));
        let bootstrap = self.device.and_then(|device| device.tokens.bootstrap());
        let bootstrap = bootstrap.as_ref();
        let mut tried = vec![Attempt::first(&self.situation(stored.as_ref(), bootstrap))];
        loop {
            let attempt = tried.last().copied().unwrap_or(Attempt::Shared);
            let situation = self.situation(stored.as_ref(), bootstrap);
            let refusal = match self.once(attempt, &situation, budget, open) {
                Ok(session) => {
                    self.keep_token(&session);
                    return Ok(session);
                }
                Err(ClientError::Rejected(refusal)) => refusal,
                Err(error) => return Err(error),
            };
            let detail = refusal.detail_code().unwrap_or_default();
            let next = Attempt::after(&tried, detail, retry_offered(&refusal), &situation);
            let again = match next {
                Next::GiveUp => None,
                Next::Retry(attempt) => {
                    log::warn!(
                        target: "client",
                        "the shared token is refused; using this device's own token instead. Correct \
                         OPENCLAW_GATEWAY_TOKEN or the token of the configuration"
                    );
                    Some(attempt)
                }
                Next::Forget(attempt) => {
                    stored = None;
                    if let Some(device) = self.device {
                        device.tokens.forget(role);
                    }
                    attempt
                }
            };
            match again {
                Some(attempt) => tried.push(attempt),
                None => return Err(ClientError::Rejected(refusal)),
            }
        }
    }

    fn situation<'a>(
        &'a self,
        stored: Option<&'a StoredToken>,
        bootstrap: Option<&'a Token>,
    ) -> Situation<'a> {
        Situation {
            shared: &self.endpoint.credentials,
            stored,
            bootstrap,
            // What was typed is used as typed: no other credential stands in for a wrong one.
            trusted: self.endpoint.is_trusted() && !self.endpoint.credentials.is_typed(),
        }
    }

    fn once(
        &self,
        attempt: Attempt,
        situation: &Situation<'_>,
        budget: &Budget,
        open: &Opener<'_>,
    ) -> Result<Session, ClientError> {
        let key = self.device.map(|device| device.key);
        let mut identity = self.identity.clone();
        // Without the secret it is a session of one device, which sees no other unless it is an administrator's.
        let admin = situation
            .stored
            .is_some_and(|stored| stored.scopes.contains(&Scope::ADMIN));
        if attempt == Attempt::Both && admin {
            identity.scopes = identity
                .scopes
                .iter()
                .chain([&Scope::ADMIN])
                .cloned()
                .collect();
        }
        handshake(
            open(budget)?,
            |challenge| {
                let now = SystemClock.now_ms();
                connect_params(&identity, key, attempt, situation, challenge, now)
            },
            budget,
        )
    }

    /// Keeps the token of a hello. A version 4 hello reports the scopes of the session, which may be fewer than the
    /// token's: what is known of a token only grows while the token stays the same.
    fn keep_token(&self, session: &Session) {
        let hello = session.hello();
        let (Some(device), Some(token)) = (self.device, &hello.device_token) else {
            return;
        };
        let role = hello.role.as_deref().and_then(Role::parse);
        let role = role.unwrap_or(self.identity.role);
        let kept = device
            .tokens
            .load(role)
            .filter(|kept| kept.token.as_str() == token);
        let known = kept.map_or_else(Scopes::none, |kept| kept.scopes);
        let new = hello.scopes.iter().filter(|scope| !known.contains(scope));
        let scopes: Scopes = known.iter().chain(new).cloned().collect();
        device
            .tokens
            .store(role, &Token::from(token.as_str()), &scopes);
    }
}

/// Connects to the gateway of this machine with the shared secret alone: no device, no pairing, no trace in its lists.
/// It comes as `identity`, and where an older gateway grants that no scopes, as its backend (protocol §4.4, D2).
///
/// # Errors
/// [`ClientError`] of the last attempt.
pub fn connect_without_device(
    endpoint: &Endpoint,
    identity: &ConnectIdentity,
    plaintext_opt_in: bool,
    budget: &Budget,
) -> Result<Session, ClientError> {
    let as_client = |identity: &ConnectIdentity| {
        let connector = Connector {
            endpoint,
            identity,
            device: None,
            plaintext_opt_in,
        };
        connector.connect(budget)
    };
    let scopes = &identity.scopes;
    match as_client(identity) {
        Ok(session) if session.hello().scopes.missing(scopes).is_some() => {
            drop(session);
            as_client(&ConnectIdentity {
                caps: identity.caps.clone(),
                ..ConnectIdentity::backend(scopes.clone())
            })
        }
        outcome => outcome,
    }
}

/// Whether the gateway itself proposes to show the device token.
fn retry_offered(refusal: &ErrorShape) -> bool {
    let detail = |name: &str| {
        refusal
            .details
            .as_ref()
            .and_then(|details| details.get(name))
    };
    detail("canRetryWithDeviceToken").and_then(serde_json::Value::as_bool) == Some(true)
        || detail("recommendedNextStep").and_then(serde_json::Value::as_str)
            == Some("retry_with_device_token")
}

#[cfg(test)]
mod tests;
