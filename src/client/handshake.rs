//! The words of the handshake from the client's side: what is sent for a challenge, and which credentials next after a
//! refusal (protocol §2, §4.2, Appendix A). Pure; the sockets are in `connect`.

use crate::client::credentials::Credentials;
use crate::client::identity::ConnectIdentity;
use crate::identity::{DeviceKey, ProofInput, Token, payload_v3};
use crate::protocol::connect::{ConnectAuth, ConnectParams, DeviceProof};
use crate::protocol::scope::Scopes;

/// A device token kept from an earlier hello.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredToken {
    /// The secret.
    pub token: Token,
    /// What it was issued for.
    pub scopes: Scopes,
}

/// What the gateway sent first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// To be signed, trimmed, never empty.
    pub nonce: String,
    /// The gateway's clock, epoch milliseconds; older gateways do not send it.
    pub timestamp_ms: Option<u64>,
}

/// Which credentials one attempt shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// The bootstrap token or join key alone.
    Bootstrap,
    /// The stored device token alone.
    Device,
    /// The shared secret alone; without any secret, nothing.
    Shared,
    /// The shared token and the stored device token together: the one bounded retry.
    Both,
}

/// What decides the next attempt.
#[derive(Debug, Clone, Copy)]
pub struct Situation<'a> {
    /// Shared secrets.
    pub shared: &'a Credentials,
    /// The device token, as long as it is believed.
    pub stored: Option<&'a StoredToken>,
    /// The secret to get a first device token with.
    pub bootstrap: Option<&'a Token>,
    /// Whether the endpoint may see a device token beside a refused secret.
    pub trusted: bool,
}

/// What follows a refused attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Give up with the refusal.
    GiveUp,
    /// Try again like this.
    Retry(Attempt),
    /// Drop the stored device token, then try again like this, if at all.
    Forget(Option<Attempt>),
}

impl Attempt {
    /// The first attempt: a shared secret wins over the stored token, and that over a bootstrap token
    /// (appendix A). At first contact the bootstrap token alone is shown: it was given for this gateway, and a
    /// shared secret beside it is another one's.
    pub fn first(situation: &Situation<'_>) -> Attempt {
        if situation.stored.is_none() && situation.bootstrap.is_some() {
            Attempt::Bootstrap
        } else if situation.shared.any() || situation.stored.is_none() {
            Attempt::Shared
        } else {
            Attempt::Device
        }
    }

    /// The attempt after a refusal with `detail` as `error.details.code`; `tried` are all attempts so far, this one last.
    pub fn after(
        tried: &[Attempt],
        detail: &str,
        can_retry: bool,
        situation: &Situation<'_>,
    ) -> Next {
        let last = tried.last().copied();
        let mismatch = can_retry || detail == "AUTH_TOKEN_MISMATCH";
        let retry_both = mismatch
            && last == Some(Attempt::Shared)
            && !tried.contains(&Attempt::Both)
            && situation.shared.token.is_some()
            && situation.stored.is_some()
            && situation.trusted;
        if retry_both {
            return Next::Retry(Attempt::Both);
        }
        if detail == "AUTH_DEVICE_TOKEN_MISMATCH"
            && matches!(last, Some(Attempt::Device | Attempt::Both))
        {
            let shared_left = situation.shared.any() && !tried.contains(&Attempt::Shared);
            return Next::Forget(shared_left.then_some(Attempt::Shared));
        }
        Next::GiveUp
    }

    /// The `auth` object of this attempt.
    fn auth(self, situation: &Situation<'_>) -> ConnectAuth {
        let value = |credential: &Option<crate::client::credentials::Credential>| {
            credential.as_ref().map(|found| found.value.clone())
        };
        let stored = || {
            situation
                .stored
                .map(|stored| stored.token.as_str().to_owned())
        };
        let shared = value(&situation.shared.token);
        let password = value(&situation.shared.password);
        let (token, device_token) = match self {
            Attempt::Bootstrap => (None, None),
            Attempt::Device => (stored(), stored()),
            Attempt::Shared => (shared, None),
            Attempt::Both => (shared, stored()),
        };
        let secret = situation.bootstrap.map(|secret| secret.as_str().to_owned());
        let bootstrap = secret.filter(|_| self == Attempt::Bootstrap);
        ConnectAuth {
            token,
            device_token,
            password,
            bootstrap_token: bootstrap,
        }
    }

    /// The scopes to ask for: with the stored token never beyond it, because that would look like a wrong token;
    /// without any known token everything that a first approval should cover.
    fn scopes(
        self,
        identity: &ConnectIdentity,
        situation: &Situation<'_>,
        has_device: bool,
    ) -> Scopes {
        match situation.stored {
            Some(stored)
                if self == Attempt::Device && stored.scopes.missing(&identity.scopes).is_some() =>
            {
                stored.scopes.clone()
            }
            None if has_device => identity.first_scopes.clone(),
            _ => identity.scopes.clone(),
        }
    }
}

/// The params of `connect` for one attempt, signed with the challenge's own timestamp (`now_ms` only where it has none).
pub fn connect_params(
    identity: &ConnectIdentity,
    key: Option<&DeviceKey>,
    attempt: Attempt,
    situation: &Situation<'_>,
    challenge: &Challenge,
    now_ms: u64,
) -> ConnectParams {
    let mut params = identity.params(&attempt.scopes(identity, situation, key.is_some()));
    params.auth = attempt.auth(situation);
    let Some(key) = key else { return params };
    let signed_at = challenge.timestamp_ms.unwrap_or(now_ms);
    let scopes: Vec<String> = params
        .scopes
        .iter()
        .map(|scope| scope.as_str().to_owned())
        .collect();
    let device_id = key.device_id();
    let payload = payload_v3(&ProofInput {
        device_id: device_id.as_str(),
        client_id: &params.client.id,
        client_mode: &params.client.mode,
        role: identity.role.as_str(),
        scopes: &scopes,
        signed_at_ms: signed_at,
        token: params.auth.signed_token(),
        nonce: &challenge.nonce,
        platform: Some(&params.client.platform),
        device_family: params.client.device_family.as_deref(),
    });
    params.device = Some(DeviceProof {
        id: device_id.as_str().to_owned(),
        public_key: key.public().encode(),
        signature: key.sign(&payload),
        signed_at,
        nonce: challenge.nonce.clone(),
    });
    params
}
