//! The node's device token: in `device-auth.json`, mirrored into `node.json` (node-host specification,
//! section 1.2).
//!
//! The mirror is only read where the other has no token for the role `node`.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::client::{DeviceTokens, StoredToken, TokenKeeper};
use crate::identity::Token;
use crate::protocol::scope::{Role, Scopes};
use crate::store::StateDir;
use crate::store::node_file::NodeFile;

/// Keeps the token of one node host.
#[derive(Debug)]
pub struct NodeTokens {
    dir: StateDir,
    tokens: DeviceTokens,
    /// The token in `node.json` is this gateway's too.
    mirrored: bool,
    /// What this node joins with, until it has a token.
    bootstrap: Mutex<Option<Token>>,
}

impl NodeTokens {
    /// Over the tokens of the device at its gateway, with the secret to get the first one.
    pub fn new(dir: StateDir, tokens: DeviceTokens, bootstrap: Option<Token>) -> Self {
        Self {
            dir,
            tokens,
            mirrored: true,
            bootstrap: Mutex::new(bootstrap),
        }
    }

    /// The same for a gateway that `node.json` cannot name: the token there is another one's.
    pub fn without_mirror(self) -> Self {
        Self {
            mirrored: false,
            ..self
        }
    }

    fn bootstrap_slot(&self) -> MutexGuard<'_, Option<Token>> {
        self.bootstrap
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn mirror(&self, token: Option<&Token>) {
        if !self.mirrored {
            return;
        }
        let outcome = NodeFile::load(&self.dir).and_then(|mut file| {
            if file.token.as_ref() == token {
                return Ok(());
            }
            file.token = token.cloned();
            file.save(&self.dir)
        });
        if let Err(fault) = outcome {
            log::warn!("cannot keep the node token: {fault}");
        }
    }
}

impl TokenKeeper for NodeTokens {
    fn load(&self, role: Role) -> Option<StoredToken> {
        self.tokens.load(role).or_else(|| {
            if !self.mirrored || role != Role::Node {
                return None;
            }
            let token = NodeFile::load(&self.dir).ok()?.token?;
            Some(StoredToken {
                token,
                scopes: Scopes::none(),
            })
        })
    }

    fn store(&self, role: Role, token: &Token, scopes: &Scopes) {
        self.tokens.store(role, token, scopes);
        if role == Role::Node {
            self.mirror(Some(token));
        }
        *self.bootstrap_slot() = None;
    }

    fn bootstrap(&self) -> Option<Token> {
        self.bootstrap_slot().clone()
    }

    fn forget(&self, role: Role) {
        self.tokens.forget(role);
        if role == Role::Node {
            self.mirror(None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{Credentials, Endpoint, GatewayUrl, UrlSource};
    use crate::identity::DeviceKey;
    use crate::node::testing::TempDir;

    #[test]
    fn the_mirror_holds_the_token_of_the_node_alone() {
        let dir = TempDir::new();
        let state = StateDir::open(dir.path()).unwrap();
        let endpoint = Endpoint {
            url: GatewayUrl::new("127.0.0.1", 1, false),
            source: UrlSource::NodeHost,
            via: None,
            credentials: Credentials::default(),
            pin: None,
            authorities: None,
        };
        let device = DeviceKey::from_seed(&[7; 32]).unwrap().device_id();
        let tokens = DeviceTokens::new(state.clone(), device, &endpoint);
        let tokens = NodeTokens::new(state.clone(), tokens, None);
        let mirrored = || NodeFile::load(&state).unwrap().token;
        tokens.store(Role::Operator, &Token::from("o"), &Scopes::none());
        assert_eq!(mirrored(), None);
        tokens.store(Role::Node, &Token::from("n"), &Scopes::none());
        tokens.forget(Role::Operator);
        assert_eq!(mirrored(), Some(Token::from("n")));
        assert!(tokens.load(Role::Operator).is_none());
        tokens.forget(Role::Node);
        assert_eq!(mirrored(), None);
    }
}
