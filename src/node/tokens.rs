//! The node's device token: in `device-auth.json`, mirrored into `node.json` (node-host specification,
//! section 1.2).
//!
//! The mirror is only read where the other has no token for the role `node`.

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
}

impl NodeTokens {
    /// Over the tokens of the device at its gateway.
    pub fn new(dir: StateDir, tokens: DeviceTokens) -> Self {
        Self { dir, tokens }
    }

    fn mirror(&self, token: Option<&Token>) {
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
            let token = NodeFile::load(&self.dir).ok()?.token?;
            Some(StoredToken {
                token,
                scopes: Scopes::none(),
            })
        })
    }

    fn store(&self, role: Role, token: &Token, scopes: &Scopes) {
        self.tokens.store(role, token, scopes);
        self.mirror(Some(token));
    }

    fn forget(&self, role: Role) {
        self.tokens.forget(role);
        self.mirror(None);
    }
}
