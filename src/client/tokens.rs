//! Device tokens of earlier connects, kept in the state directory per gateway URL.

use crate::client::connect::TokenKeeper;
use crate::client::credentials::Endpoint;
use crate::client::handshake::StoredToken;
use crate::identity::{DeviceId, Token};
use crate::protocol::scope::{Role, Scopes};
use crate::store::{Clock, DeviceAuth, StateDir, StoreError, SystemClock};

/// The tokens of one device for one gateway.
#[derive(Debug, Clone)]
pub struct DeviceTokens {
    dir: StateDir,
    device: DeviceId,
    gateway_url: String,
    adopt: bool,
}

impl DeviceTokens {
    /// The tokens of `device` in `dir` for the gateway at `endpoint`. A token whose gateway is not on record
    /// is shown to the gateway of the configuration only, never to one that was named for this run.
    pub fn new(dir: StateDir, device: DeviceId, endpoint: &Endpoint) -> DeviceTokens {
        DeviceTokens {
            dir,
            device,
            gateway_url: endpoint.name(),
            adopt: endpoint.is_configured(),
        }
    }

    fn update(&self, change: impl FnOnce(&mut DeviceAuth) -> Result<(), StoreError>) {
        let outcome =
            DeviceAuth::load(&self.dir, &self.device).and_then(|mut auth| change(&mut auth));
        if let Err(fault) = outcome {
            log::warn!("cannot keep the device token: {fault}");
        }
    }
}

impl TokenKeeper for DeviceTokens {
    fn load(&self, role: Role) -> Option<StoredToken> {
        let auth = DeviceAuth::load(&self.dir, &self.device)
            .map_err(|fault| log::warn!("cannot read the device token: {fault}"))
            .ok()?;
        let stored = auth.token(&self.gateway_url, role.as_str(), self.adopt)?;
        Some(StoredToken {
            token: stored.token,
            scopes: stored.scopes.into_iter().collect(),
        })
    }

    fn store(&self, role: Role, token: &Token, scopes: &Scopes) {
        let words: Vec<String> = scopes
            .iter()
            .map(|scope| scope.as_str().to_owned())
            .collect();
        let now = SystemClock.now_ms();
        self.update(|auth| {
            // An adopted token is written down: from now on it is known whose it is.
            let kept = auth.token(&self.gateway_url, role.as_str(), false);
            let same = kept.is_some_and(|kept| &kept.token == token && kept.scopes == words);
            if same {
                return Ok(());
            }
            auth.store(&self.gateway_url, role.as_str(), token, &words, now)
        });
    }

    fn forget(&self, role: Role) {
        self.update(|auth| auth.forget(&self.gateway_url, role.as_str(), self.adopt));
    }
}
