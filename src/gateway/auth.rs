//! May this connection in? The decisions of protocol.md §4.2 about shared secrets, invitations and device
//! tokens, as pure functions over what was sent and what is configured.
//!
//! It never touches the socket, the stores or the clock: whether a device token is right is asked
//! through a closure, and so is an invitation. What belongs to the way beside them has files of its own:
//! limits on guesses `examine`, users named by a proxy `proxy_auth`, by the tailnet `tailscale`.

use crate::config::word::AuthMode;
use crate::gateway::auth_reason::AuthReason;
use crate::gateway::credentials::Credentials;
use crate::gateway::proxy_auth::ProxyAuth;
use crate::gateway::shared_secret::{Generation, prove_password, prove_token};
use crate::identity::Token;
pub use crate::pairing::connect::{AuthMethod, Pairing};

/// What the gateway asks every connection for (`gateway.auth`). A mode that needs a secret has one:
/// a gateway without it does not start.
#[derive(Clone, Debug)]
pub enum SharedAuth {
    /// No shared secret at all; devices must still be paired.
    None,
    /// `auth.password` must equal this.
    Password(Token),
    /// `auth.token` must equal this.
    Token(Token),
    /// A trusted proxy names the user.
    TrustedProxy(Box<ProxyAuth>),
}

impl SharedAuth {
    /// `gateway.auth.mode`.
    pub fn mode(&self) -> AuthMode {
        match self {
            Self::None => AuthMode::None,
            Self::Password(_) => AuthMode::Password,
            Self::Token(_) => AuthMode::Token,
            Self::TrustedProxy(_) => AuthMode::TrustedProxy,
        }
    }

    /// The generation of the secret; `None` when there is none.
    pub fn generation(&self) -> Option<Generation> {
        let (method, secret) = match self {
            Self::None => return None,
            Self::Password(secret) => (AuthMethod::Password, secret),
            Self::Token(secret) => (AuthMethod::Token, secret),
            // A proxy that names users is no secret; the password of programs on this host is.
            Self::TrustedProxy(proxy) => (AuthMethod::Password, proxy.password.as_ref()?),
        };
        Some(Generation::of(method, secret))
    }
}

/// What looking at a token found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenCheck {
    /// It was not looked at and will not be for this many milliseconds.
    Locked(u64),
    /// It holds.
    Right,
    /// It is the device's own, but does not cover what is asked for.
    TooNarrow,
    /// It does not hold.
    Wrong,
}

/// Step 1 of §4.2: the configured mode against the shared credentials.
pub fn check_shared(auth: &SharedAuth, sent: &Credentials) -> Result<AuthMethod, AuthReason> {
    match auth {
        SharedAuth::None => Ok(AuthMethod::None),
        SharedAuth::Password(expected) => prove_password(expected, sent),
        SharedAuth::Token(expected) => prove_token(expected, sent),
        // No credential stands for what only the connection can show.
        SharedAuth::TrustedProxy(_) => Err(AuthReason::TrustedProxyUntrustedSource),
    }
}

/// Steps 2 and 3 of §4.2 for a connection with a proven device: an invitation counts even beside a right
/// shared secret; without either a device token is tried. `invited` looks at a bootstrap token, `verify` at a
/// device token for the device's role and the requested scopes.
pub fn decide_with_device(
    shared: Result<AuthMethod, AuthReason>,
    sent: &Credentials,
    invited: impl FnOnce(&Token) -> TokenCheck,
    verify: impl FnOnce(&Token) -> TokenCheck,
) -> Result<AuthMethod, AuthReason> {
    let invitation = sent.bootstrap_token.as_ref().map(invited);
    if invitation == Some(TokenCheck::Right) {
        return Ok(AuthMethod::BootstrapToken);
    }
    let mut reason = match shared {
        Ok(method) => return Ok(method),
        Err(reason) => reason,
    };
    match invitation {
        Some(TokenCheck::Locked(left)) => reason = AuthReason::RateLimited(left),
        Some(_) => reason = AuthReason::BootstrapTokenInvalid,
        None => {}
    }
    let Some(candidate) = sent.device_token_candidate() else {
        return Err(reason);
    };
    let own_field = sent.device_token.is_some();
    match verify(candidate) {
        TokenCheck::Right => Ok(AuthMethod::DeviceToken),
        TokenCheck::Locked(left) if own_field => Err(AuthReason::RateLimited(left)),
        TokenCheck::Wrong if own_field => Err(AuthReason::DeviceTokenMismatch),
        // Beside a lockout nothing is said about the value that both were tried with.
        TokenCheck::TooNarrow if own_field || !matches!(reason, AuthReason::RateLimited(_)) => {
            Err(AuthReason::ScopeMismatch)
        }
        TokenCheck::Locked(_) | TokenCheck::TooNarrow | TokenCheck::Wrong => Err(reason),
    }
}

/// What a right but too narrow token is called where `ScopeMismatch` is not known yet: the credential that
/// came in its field is wrong. `shared` is the verdict of step 1.
pub fn unless_scopes_are_told(
    shared: Result<AuthMethod, AuthReason>,
    sent: &Credentials,
) -> AuthReason {
    match shared {
        Err(_) if sent.device_token.is_none() && sent.bootstrap_token.is_some() => {
            AuthReason::BootstrapTokenInvalid
        }
        Err(reason) if sent.device_token.is_none() => reason,
        _ => AuthReason::DeviceTokenMismatch,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(token: &str, password: &str, device: &str, bootstrap: &str) -> Credentials {
        Credentials {
            bootstrap_token: Credentials::clean(Some(bootstrap)),
            device_token: Credentials::clean(Some(device)),
            password: Credentials::clean(Some(password)),
            token: Credentials::clean(Some(token)),
        }
    }

    #[test]
    fn shared_secrets_are_compared_in_their_own_field_only() {
        let token = SharedAuth::Token(Token::from("right"));
        let password = SharedAuth::Password(Token::from("right"));
        for (auth, credentials, expected) in [
            (
                &SharedAuth::None,
                sent("", "", "", ""),
                Ok(AuthMethod::None),
            ),
            (
                &SharedAuth::None,
                sent("x", "y", "", ""),
                Ok(AuthMethod::None),
            ),
            (&token, sent("right", "", "", ""), Ok(AuthMethod::Token)),
            (&token, sent("  right ", "", "", ""), Ok(AuthMethod::Token)),
            (
                &token,
                sent("wrong", "", "", ""),
                Err(AuthReason::TokenMismatch),
            ),
            (
                &token,
                sent("", "right", "", ""),
                Err(AuthReason::TokenMissing),
            ),
            (
                &token,
                sent("   ", "", "", ""),
                Err(AuthReason::TokenMissing),
            ),
            (
                &password,
                sent("", "right", "", ""),
                Ok(AuthMethod::Password),
            ),
            (
                &password,
                sent("", "wrong", "", ""),
                Err(AuthReason::PasswordMismatch),
            ),
            (
                &password,
                sent("right", "", "", ""),
                Err(AuthReason::PasswordMissing),
            ),
            (
                &SharedAuth::Token(Token::from("")),
                sent("x", "", "", ""),
                Err(AuthReason::TokenMissingConfig),
            ),
            (
                &SharedAuth::Password(Token::from("")),
                sent("", "", "", ""),
                Err(AuthReason::PasswordMissingConfig),
            ),
        ] {
            assert_eq!(
                check_shared(auth, &credentials),
                expected,
                "{auth:?} {credentials:?}"
            );
        }
    }

    #[test]
    fn a_device_token_is_tried_after_the_shared_secret() {
        use AuthReason::{
            BootstrapTokenInvalid, DeviceTokenMismatch, PasswordMissing, TokenMismatch,
            TokenMissing,
        };
        for (shared, credentials, right, expected) in [
            (
                Ok(AuthMethod::Token),
                sent("s", "", "d", ""),
                "d",
                Ok(AuthMethod::Token),
            ),
            (
                Err(TokenMismatch),
                sent("d", "", "", ""),
                "d",
                Ok(AuthMethod::DeviceToken),
            ),
            (
                Err(TokenMismatch),
                sent("s", "", "d", ""),
                "d",
                Ok(AuthMethod::DeviceToken),
            ),
            (
                Err(TokenMissing),
                sent("", "", "d", ""),
                "d",
                Ok(AuthMethod::DeviceToken),
            ),
            (
                Err(TokenMismatch),
                sent("d", "", "old", ""),
                "d",
                Err(DeviceTokenMismatch),
            ),
            (
                Err(TokenMismatch),
                sent("wrong", "", "", ""),
                "d",
                Err(TokenMismatch),
            ),
            (
                Err(PasswordMissing),
                sent("wrong", "", "", ""),
                "d",
                Err(PasswordMissing),
            ),
            (
                Err(TokenMissing),
                sent("", "", "wrong", ""),
                "d",
                Err(DeviceTokenMismatch),
            ),
            (
                Err(TokenMissing),
                sent("", "", "", ""),
                "d",
                Err(TokenMissing),
            ),
            (
                Err(TokenMissing),
                sent("", "", "", "b"),
                "d",
                Err(BootstrapTokenInvalid),
            ),
            (
                Err(TokenMissing),
                sent("", "", "d", "b"),
                "d",
                Ok(AuthMethod::DeviceToken),
            ),
            (
                Ok(AuthMethod::Token),
                sent("s", "", "", "b"),
                "d",
                Ok(AuthMethod::Token),
            ),
            (
                Ok(AuthMethod::Token),
                sent("s", "", "", "i"),
                "d",
                Ok(AuthMethod::BootstrapToken),
            ),
            (
                Err(TokenMismatch),
                sent("wrong", "", "d", "i"),
                "d",
                Ok(AuthMethod::BootstrapToken),
            ),
            (
                Err(TokenMismatch),
                sent("wrong", "", "", "b"),
                "d",
                Err(BootstrapTokenInvalid),
            ),
        ] {
            let look = |found| {
                if found {
                    TokenCheck::Right
                } else {
                    TokenCheck::Wrong
                }
            };
            let verdict = decide_with_device(
                shared,
                &credentials,
                |secret| look(secret.as_str() == "i"),
                |token| look(token.as_str() == right),
            );
            assert_eq!(verdict, expected, "{shared:?} {credentials:?}");
        }
    }
    #[test]
    fn a_too_narrow_token_is_told_apart_unless_its_value_is_locked_out() {
        use AuthReason::{
            BootstrapTokenInvalid, DeviceTokenMismatch, RateLimited, ScopeMismatch, TokenMismatch,
        };
        let locked = RateLimited(9);
        for (shared, credentials, told, before) in [
            (
                TokenMismatch,
                sent("t", "", "", ""),
                ScopeMismatch,
                TokenMismatch,
            ),
            (
                TokenMismatch,
                sent("t", "", "d", ""),
                ScopeMismatch,
                DeviceTokenMismatch,
            ),
            (
                TokenMismatch,
                sent("t", "", "", "b"),
                ScopeMismatch,
                BootstrapTokenInvalid,
            ),
            (
                locked,
                sent("t", "", "d", ""),
                ScopeMismatch,
                DeviceTokenMismatch,
            ),
            (locked, sent("t", "", "", ""), locked, locked),
        ] {
            let wrong = |_: &Token| TokenCheck::Wrong;
            let narrow = |_: &Token| TokenCheck::TooNarrow;
            let verdict = decide_with_device(Err(shared), &credentials, wrong, narrow);
            assert_eq!(verdict, Err(told), "{shared:?} {credentials:?}");
            let older = unless_scopes_are_told(Err(shared), &credentials);
            assert_eq!(older, before, "{shared:?} {credentials:?}");
        }
    }
}
