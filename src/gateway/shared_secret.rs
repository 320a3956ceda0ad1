//! One shared secret against what a connect sent for it (protocol.md §4.2, step 1), and its name.
//!
//! Each secret is compared in constant time, and in its own field only.

use crate::gateway::auth_reason::AuthReason;
use crate::gateway::credentials::Credentials;
use crate::identity::{Token, secret_eq, sha256};
use crate::pairing::connect::AuthMethod;

/// `auth.password` against the gateway's.
pub fn prove_password(expected: &Token, sent: &Credentials) -> Result<AuthMethod, AuthReason> {
    match compare(expected, sent.password.as_ref()) {
        Compared::Right => Ok(AuthMethod::Password),
        Compared::Missing => Err(AuthReason::PasswordMissing),
        Compared::Unset => Err(AuthReason::PasswordMissingConfig),
        Compared::Wrong => Err(AuthReason::PasswordMismatch),
    }
}

/// `auth.token` against the gateway's.
pub fn prove_token(expected: &Token, sent: &Credentials) -> Result<AuthMethod, AuthReason> {
    match compare(expected, sent.token.as_ref()) {
        Compared::Right => Ok(AuthMethod::Token),
        Compared::Missing => Err(AuthReason::TokenMissing),
        Compared::Unset => Err(AuthReason::TokenMissingConfig),
        Compared::Wrong => Err(AuthReason::TokenMismatch),
    }
}

enum Compared {
    Missing,
    Right,
    /// The gateway's own is empty; nothing that was sent is, and an empty one would be no secret.
    Unset,
    Wrong,
}

fn compare(expected: &Token, given: Option<&Token>) -> Compared {
    match given {
        _ if expected.as_str().is_empty() => Compared::Unset,
        None => Compared::Missing,
        Some(given) if secret_eq(expected.as_str(), given.as_str()) => Compared::Right,
        Some(_) => Compared::Wrong,
    }
}

/// Names one shared secret without being one: SHA-256 of `mode NUL secret` (protocol.md §4.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generation([u8; 32]);

impl Generation {
    /// The name of `secret`, as far as it is asked for by `method`.
    pub fn of(method: AuthMethod, secret: &Token) -> Self {
        let named = format!("{}\0{}", method.as_str(), secret.as_str());
        Self(sha256(named.as_bytes()))
    }
}
