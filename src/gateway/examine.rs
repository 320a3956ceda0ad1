//! Looking at credentials within the limits on failed attempts (protocol.md §4.2 and §4.5).
//!
//! `auth` compares, `limits` counts; here they meet: what may be looked at, what a wrong credential counts
//! as, and when the answer must not tell right from wrong.

use crate::gateway::auth::{AuthMethod, SharedAuth, TokenCheck, decide_with_device};
use crate::gateway::auth_reason::AuthReason;
use crate::gateway::credentials::Credentials;
use crate::gateway::limits::{Claimant, Kind};
use crate::identity::{DeviceId, Token};

/// Step 1 of §4.2, which `check` decides. A credential of a caller that is locked out is not looked at.
pub fn shared(
    claimant: &Claimant<'_>,
    auth: &SharedAuth,
    sent: &Credentials,
    check: impl FnOnce() -> Result<AuthMethod, AuthReason>,
) -> Result<AuthMethod, AuthReason> {
    let is_compared = match auth {
        SharedAuth::None => false,
        SharedAuth::Password(_) => sent.password.is_some(),
        SharedAuth::Token(_) => sent.token.is_some(),
        // The password that stands in for the proxy on this host.
        SharedAuth::TrustedProxy(_) => claimant.is_direct() && sent.password.is_some(),
    };
    if !is_compared {
        return check();
    }
    if let Some(left) = claimant.locked(Kind::SharedSecret, None) {
        return Err(AuthReason::RateLimited(left));
    }
    check()
}

/// Notes that a connection is let in by `method`: only then does the counter of the shared secret start
/// afresh, so that no refusal on the way tells a right secret from a wrong one.
pub fn let_in(claimant: &Claimant<'_>, method: AuthMethod) -> Result<(), AuthReason> {
    if !method.is_shared_secret() {
        return Ok(());
    }
    let noted = claimant.succeeded(Kind::SharedSecret, None);
    noted.map_err(AuthReason::RateLimited)
}

/// Counts a wrong shared secret of a connection that is refused for another reason.
pub fn refused_otherwise(claimant: &Claimant<'_>, shared: Result<AuthMethod, AuthReason>) {
    if let Err(reason) = shared {
        // Whether it was locked out meanwhile changes nothing about the answer.
        let _ = count(claimant, reason, None);
    }
}

/// The reason that a connection without a device is told, once its credential is counted.
pub fn without_device(claimant: &Claimant<'_>, reason: AuthReason) -> AuthReason {
    let noted = count(claimant, reason, None);
    noted.err().map_or(reason, AuthReason::RateLimited)
}

/// Steps 2 to 4 of §4.2 for a proven device; `shared` is the verdict of [`shared`], `paired` the device when
/// it is paired. `invited` and `verify` look at a bootstrap token and at a device token, which they do only
/// when the claimant may have one looked at.
pub fn with_device(
    claimant: &Claimant<'_>,
    paired: Option<&DeviceId>,
    shared: Result<AuthMethod, AuthReason>,
    sent: &Credentials,
    invited: impl FnOnce(&Token) -> bool,
    verify: impl FnOnce(&Token) -> TokenCheck,
) -> Result<AuthMethod, AuthReason> {
    let shared = shared.and_then(|method| allowed_beside_token(claimant, paired, method, sent));
    let mut wrong = Wrong::default();
    let invited = |secret: &Token| match claimant.locked(Kind::BootstrapToken, None) {
        Some(left) => TokenCheck::Locked(left),
        None if invited(secret) => TokenCheck::Right,
        None => {
            wrong.invitation = true;
            TokenCheck::Wrong
        }
    };
    let verify = |token: &Token| match claimant.locked(Kind::DeviceToken, paired) {
        Some(left) => TokenCheck::Locked(left),
        None => {
            let check = verify(token);
            wrong.token = check == TokenCheck::Wrong;
            check
        }
    };
    match decide_with_device(shared, sent, invited, verify) {
        Ok(AuthMethod::BootstrapToken) => {
            refused_otherwise(claimant, shared);
            let noted = claimant.succeeded(Kind::BootstrapToken, None);
            noted
                .map(|()| AuthMethod::BootstrapToken)
                .map_err(AuthReason::RateLimited)
        }
        Ok(AuthMethod::DeviceToken) => proven_by_token(claimant, paired, shared, sent),
        Ok(method) => Ok(method),
        Err(reason) => Err(refused(claimant, paired, shared, reason, wrong, sent)),
    }
}

/// What was looked at and does not hold.
#[derive(Clone, Copy, Debug, Default)]
struct Wrong {
    invitation: bool,
    token: bool,
}

/// A paired device may guess at the shared secret beside its own token and comes in either way: those
/// guesses are bounded under its own name.
fn allowed_beside_token(
    claimant: &Claimant<'_>,
    paired: Option<&DeviceId>,
    method: AuthMethod,
    sent: &Credentials,
) -> Result<AuthMethod, AuthReason> {
    let guesses = paired.is_some() && sent.device_token.is_some() && method.is_shared_secret();
    match claimant.locked(Kind::SharedSecret, paired) {
        Some(left) if guesses => Err(AuthReason::RateLimited(left)),
        _ => Ok(method),
    }
}

/// The device token is right: its counter starts afresh. A stale secret beside it counts under the device;
/// the counter of its address stays as it is, or whoever owns a device could go on guessing without one.
fn proven_by_token(
    claimant: &Claimant<'_>,
    paired: Option<&DeviceId>,
    shared: Result<AuthMethod, AuthReason>,
    sent: &Credentials,
) -> Result<AuthMethod, AuthReason> {
    claimant
        .succeeded(Kind::DeviceToken, paired)
        .map_err(AuthReason::RateLimited)?;
    // The token itself in both fields, as clients show it that have nothing else, is no secret at all.
    let beside = sent.device_token.is_some() && sent.token != sent.device_token;
    if let (Err(reason), true) = (shared, beside) {
        // It comes in by its token, whatever becomes of the guess.
        let _ = count(claimant, reason, paired);
    }
    Ok(AuthMethod::DeviceToken)
}

/// Counts every credential that was looked at and wrong; the reason that the caller is told.
fn refused(
    claimant: &Claimant<'_>,
    paired: Option<&DeviceId>,
    shared: Result<AuthMethod, AuthReason>,
    reason: AuthReason,
    wrong: Wrong,
    sent: &Credentials,
) -> AuthReason {
    let mut noted = Ok(());
    let secret = shared.err().filter(|reason| counts_as(*reason).is_some());
    if let Some(secret) = secret {
        noted = noted.and(count(claimant, secret, None));
    }
    // One value that is neither the secret nor the token is one guess.
    if wrong.token && (sent.device_token.is_some() || secret.is_none()) {
        noted = noted.and(count(claimant, AuthReason::DeviceTokenMismatch, paired));
    }
    if wrong.invitation {
        noted = noted.and(count(claimant, AuthReason::BootstrapTokenInvalid, None));
    }
    noted.err().map_or(reason, AuthReason::RateLimited)
}

/// Counts a refused credential; missing ones do not count.
fn count(
    claimant: &Claimant<'_>,
    reason: AuthReason,
    device: Option<&DeviceId>,
) -> Result<(), u64> {
    match counts_as(reason) {
        Some(kind) => claimant.failed(kind, device, reason.as_str()),
        None => Ok(()),
    }
}

fn counts_as(reason: AuthReason) -> Option<Kind> {
    match reason {
        AuthReason::BootstrapTokenInvalid => Some(Kind::BootstrapToken),
        AuthReason::DeviceTokenMismatch => Some(Kind::DeviceToken),
        AuthReason::PasswordMismatch | AuthReason::TokenMismatch => Some(Kind::SharedSecret),
        // Something is missing, or right and not enough: no guess.
        _ => None,
    }
}
