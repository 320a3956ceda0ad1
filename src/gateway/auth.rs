//! May this connection in? The decisions of protocol.md §4 about shared secrets, device tokens and
//! connections without a device, as pure functions over what was sent and what is configured.
//!
//! It never touches the socket, the stores or the clock: whether a device token is right is asked
//! through a closure, and so is an invitation. Rate limits, trusted proxies and Tailscale identities belong
//! here too, as further reasons and methods.

use serde_json::json;

use crate::config::word::AuthMode;
use crate::gateway::proxy_auth::{HeaderName, ProxyAuth};
use crate::identity::{Token, secret_eq, sha256};
pub use crate::pairing::connect::{AuthMethod, Pairing};
use crate::protocol::connect::{ClientInfo, ConnectAuth};
use crate::protocol::error::ErrorShape;

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
}

/// Names one shared secret without being one: SHA-256 of `mode NUL secret` (protocol.md §4.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generation([u8; 32]);

impl SharedAuth {
    /// The generation of the secret; `None` when there is none.
    pub fn generation(&self) -> Option<Generation> {
        let (mode, secret) = match self {
            Self::None => return None,
            Self::Password(secret) => (AuthMethod::Password, secret),
            Self::Token(secret) => (AuthMethod::Token, secret),
            // A proxy that names users is no secret; the password of programs on this host is.
            Self::TrustedProxy(proxy) => (AuthMethod::Password, proxy.password.as_ref()?),
        };
        let named = format!("{}\0{}", mode.as_str(), secret.as_str());
        Some(Generation(sha256(named.as_bytes())))
    }
}

/// The `auth` object of a connect, trimmed; empty values are absent.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// `auth.bootstrapToken`.
    pub bootstrap_token: Option<Token>,
    /// `auth.deviceToken`.
    pub device_token: Option<Token>,
    /// `auth.password`.
    pub password: Option<Token>,
    /// `auth.token`.
    pub token: Option<Token>,
}

impl Credentials {
    /// The credentials of a connect.
    pub fn of(auth: &ConnectAuth) -> Self {
        Self {
            bootstrap_token: Self::clean(auth.bootstrap_token.as_deref()),
            device_token: Self::clean(auth.device_token.as_deref()),
            password: Self::clean(auth.password.as_deref()),
            token: Self::clean(auth.token.as_deref()),
        }
    }

    /// What may be a device token: a stored one may travel in either field.
    pub fn device_token_candidate(&self) -> Option<&Token> {
        self.device_token.as_ref().or(self.token.as_ref())
    }

    /// Trims a value as sent; blank is absent.
    pub fn clean(value: Option<&str>) -> Option<Token> {
        value
            .map(str::trim)
            .filter(|text| !text.is_empty())
            .map(Token::from)
    }

    /// Whether a shared credential was sent, right or wrong.
    pub fn names_shared_secret(&self) -> bool {
        self.token.is_some() || self.password.is_some()
    }
}

/// Names a client as its connect does; both values come from closed enumerations.
#[derive(Clone, Copy, Debug)]
pub struct ClientName<'a> {
    /// `client.id`.
    pub id: &'a str,
    /// `client.mode`.
    pub mode: &'a str,
}

impl<'a> ClientName<'a> {
    /// The name in a connect.
    pub fn of(client: &'a ClientInfo) -> Self {
        Self {
            id: &client.id,
            mode: &client.mode,
        }
    }
}

impl ClientName<'_> {
    /// The gateway's own back-end helper.
    pub fn is_backend(&self) -> bool {
        self.id == "gateway-client" && self.mode == "backend"
    }

    /// The command line.
    pub fn is_cli(&self) -> bool {
        self.id == "cli" && self.mode == "cli"
    }

    /// A Control UI, in a browser or a terminal.
    pub fn is_control_ui(&self) -> bool {
        matches!(self.id, "openclaw-control-ui" | "openclaw-tui")
    }

    /// A webchat client.
    pub fn is_webchat(&self) -> bool {
        self.mode == "webchat" || self.id == "webchat-ui"
    }

    /// Clients that must name their origin (§4.6).
    pub fn needs_origin(&self) -> bool {
        self.id == "openclaw-control-ui" || self.is_webchat()
    }
}

/// Why credentials were refused (§4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthReason {
    /// A bootstrap token nobody issued, or an old one.
    BootstrapTokenInvalid,
    /// The device token is not this device's for this role and these scopes.
    DeviceTokenMismatch,
    /// The device token is right but does not cover the scopes; said at protocol 4 only.
    ScopeMismatch,
    /// The gateway asks for a password and none was sent.
    PasswordMissing,
    /// The password is wrong.
    PasswordMismatch,
    /// A password was sent to a gateway that has none.
    PasswordMissingConfig,
    /// Tailscale Serve forwarded a request that belongs to no user.
    TailscaleUserMissing,
    /// The tailnet knows that address under another user.
    TailscaleUserMismatch,
    /// A user is named, and it was not Tailscale Serve on this host that forwarded the request.
    TailscaleProxyMissing,
    /// The tailnet cannot be asked, or does not know the address.
    TailscaleWhoisFailed,
    /// Too many wrong ones came before: the credential was not looked at, and will not be for this
    /// many milliseconds.
    RateLimited(u64),
    /// The gateway asks for a token and none was sent.
    TokenMissing,
    /// The token is wrong.
    TokenMismatch,
    /// The gateway asks for a token and has none.
    TokenMissingConfig,
    /// The proxy is on this host, which `allowLoopback` does not accept.
    TrustedProxyLoopbackSource,
    /// The proxy did not send a header that every request must carry.
    TrustedProxyMissingHeader(HeaderName),
    /// The gateway trusts no proxy at all.
    TrustedProxyNoProxiesConfigured,
    /// The request does not come from a trusted proxy.
    TrustedProxyUntrustedSource,
    /// The proxy names no user, or more than one.
    TrustedProxyUserMissing,
    /// The proxy names a user who is not on the list.
    TrustedProxyUserNotAllowed,
}

impl AuthReason {
    /// `details.authReason`.
    pub fn as_str(self) -> &'static str {
        describe(self).1
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
    // Nothing that was sent is empty; were the secret, it would be no secret.
    let is_set = |secret: &Token| !secret.as_str().is_empty();
    let compare = |expected: &Token, given: &Option<Token>, missing, mismatch, method| match given {
        None => Err(missing),
        Some(given) if secret_eq(expected.as_str(), given.as_str()) => Ok(method),
        Some(_) => Err(mismatch),
    };
    match auth {
        SharedAuth::None => Ok(AuthMethod::None),
        SharedAuth::Password(expected) if !is_set(expected) => {
            Err(AuthReason::PasswordMissingConfig)
        }
        SharedAuth::Token(expected) if !is_set(expected) => Err(AuthReason::TokenMissingConfig),
        // No credential stands for what only the connection can show.
        SharedAuth::TrustedProxy(_) => Err(AuthReason::TrustedProxyUntrustedSource),
        SharedAuth::Password(expected) => compare(
            expected,
            &sent.password,
            AuthReason::PasswordMissing,
            AuthReason::PasswordMismatch,
            AuthMethod::Password,
        ),
        SharedAuth::Token(expected) => compare(
            expected,
            &sent.token,
            AuthReason::TokenMissing,
            AuthReason::TokenMismatch,
            AuthMethod::Token,
        ),
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
        TokenCheck::Wrong | TokenCheck::TooNarrow if own_field => {
            Err(AuthReason::DeviceTokenMismatch)
        }
        _ => Err(reason),
    }
}

/// The answer of §4.3 to refused credentials.
pub fn rejection(
    reason: AuthReason,
    client: &ClientName<'_>,
    sent: &Credentials,
    has_device: bool,
) -> ErrorShape {
    let (code, word, next_step, text) = describe(reason);
    let hint = match reason {
        AuthReason::TokenMissing | AuthReason::TokenMismatch => token_hint(client),
        AuthReason::PasswordMissing | AuthReason::PasswordMismatch => password_hint(client),
        AuthReason::BootstrapTokenInvalid => "scan a fresh setup code",
        AuthReason::DeviceTokenMismatch => "rotate/reissue device token",
        AuthReason::ScopeMismatch => "re-pair or approve scope upgrade",
        AuthReason::PasswordMissingConfig => "set gateway.auth.password",
        AuthReason::TokenMissingConfig => "set gateway.auth.token",
        AuthReason::TailscaleUserMissing
        | AuthReason::TailscaleUserMismatch
        | AuthReason::TailscaleProxyMissing
        | AuthReason::TailscaleWhoisFailed => "use Tailscale Serve or the gateway token/password",
        AuthReason::TrustedProxyLoopbackSource
        | AuthReason::TrustedProxyMissingHeader(_)
        | AuthReason::TrustedProxyNoProxiesConfigured
        | AuthReason::TrustedProxyUntrustedSource
        | AuthReason::TrustedProxyUserMissing
        | AuthReason::TrustedProxyUserNotAllowed => "",
        AuthReason::RateLimited(_) => "retry later",
    };
    let can_retry = reason == AuthReason::TokenMismatch
        && has_device
        && sent.password.is_none()
        && sent.token.is_some()
        && sent.device_token.is_none();
    let next_step = if can_retry {
        "retry_with_device_token"
    } else {
        next_step
    };
    let word = match &reason {
        AuthReason::TrustedProxyMissingHeader(name) => format!("{word}_{}", name.as_str()),
        _ => word.to_owned(),
    };
    // A proxy's user learns nothing about what the proxy has to send.
    let message = match text {
        "" => "unauthorized".to_owned(),
        text => format!("unauthorized: {text} ({hint})"),
    };
    let error = ErrorShape::invalid(message).with_details(json!({
        "code": code,
        "authReason": word,
        "canRetryWithDeviceToken": can_retry,
        "recommendedNextStep": next_step,
    }));
    match reason {
        AuthReason::RateLimited(left) => error.with_retry(left),
        _ => error,
    }
}

/// The next step of whoever cannot do anything about it from where he is.
const REVIEW: &str = "review_auth_configuration";

/// A reason that is told in its one word only.
fn unauthorized(word: &'static str) -> (&'static str, &'static str, &'static str, &'static str) {
    ("AUTH_UNAUTHORIZED", word, REVIEW, "")
}

/// `details.code`, `details.authReason`, the next step and the message's middle part.
fn describe(reason: AuthReason) -> (&'static str, &'static str, &'static str, &'static str) {
    match reason {
        AuthReason::BootstrapTokenInvalid => (
            "AUTH_BOOTSTRAP_TOKEN_INVALID",
            "bootstrap_token_invalid",
            "review_auth_configuration",
            "bootstrap token invalid or expired",
        ),
        AuthReason::DeviceTokenMismatch => (
            "AUTH_DEVICE_TOKEN_MISMATCH",
            "device_token_mismatch",
            "update_auth_credentials",
            "device token mismatch",
        ),
        AuthReason::PasswordMissing => (
            "AUTH_PASSWORD_MISSING",
            "password_missing",
            "update_auth_configuration",
            "gateway password missing",
        ),
        AuthReason::PasswordMismatch => (
            "AUTH_PASSWORD_MISMATCH",
            "password_mismatch",
            "update_auth_credentials",
            "gateway password mismatch",
        ),
        AuthReason::ScopeMismatch => (
            "AUTH_SCOPE_MISMATCH",
            "scope_mismatch",
            "review_auth_configuration",
            "device token scope mismatch",
        ),
        AuthReason::PasswordMissingConfig => (
            "AUTH_PASSWORD_NOT_CONFIGURED",
            "password_missing_config",
            "update_auth_configuration",
            "gateway password not configured on gateway",
        ),
        AuthReason::TailscaleUserMissing => (
            "AUTH_TAILSCALE_IDENTITY_MISSING",
            "tailscale_user_missing",
            REVIEW,
            "tailscale identity missing",
        ),
        AuthReason::TailscaleUserMismatch => (
            "AUTH_TAILSCALE_IDENTITY_MISMATCH",
            "tailscale_user_mismatch",
            REVIEW,
            "tailscale identity mismatch",
        ),
        AuthReason::TailscaleProxyMissing => (
            "AUTH_TAILSCALE_PROXY_MISSING",
            "tailscale_proxy_missing",
            REVIEW,
            "tailscale proxy headers missing",
        ),
        AuthReason::TailscaleWhoisFailed => (
            "AUTH_TAILSCALE_WHOIS_FAILED",
            "tailscale_whois_failed",
            REVIEW,
            "tailscale identity check failed",
        ),
        AuthReason::TrustedProxyLoopbackSource => unauthorized("trusted_proxy_loopback_source"),
        AuthReason::TrustedProxyMissingHeader(_) => unauthorized("trusted_proxy_missing_header"),
        AuthReason::TrustedProxyNoProxiesConfigured => {
            unauthorized("trusted_proxy_no_proxies_configured")
        }
        AuthReason::TrustedProxyUntrustedSource => unauthorized("trusted_proxy_untrusted_source"),
        AuthReason::TrustedProxyUserMissing => unauthorized("trusted_proxy_user_missing"),
        AuthReason::TrustedProxyUserNotAllowed => unauthorized("trusted_proxy_user_not_allowed"),
        AuthReason::TokenMissingConfig => (
            "AUTH_TOKEN_NOT_CONFIGURED",
            "token_missing_config",
            "update_auth_configuration",
            "gateway token not configured on gateway",
        ),
        AuthReason::RateLimited(_) => (
            "AUTH_RATE_LIMITED",
            "rate_limited",
            "wait_then_retry",
            "too many failed authentication attempts",
        ),
        AuthReason::TokenMissing => (
            "AUTH_TOKEN_MISSING",
            "token_missing",
            "update_auth_configuration",
            "gateway token missing",
        ),
        AuthReason::TokenMismatch => (
            "AUTH_TOKEN_MISMATCH",
            "token_mismatch",
            "update_auth_credentials",
            "gateway token mismatch",
        ),
    }
}

fn token_hint(client: &ClientName<'_>) -> &'static str {
    if client.mode == "cli" {
        "set gateway.remote.token to match gateway.auth.token"
    } else if client.is_control_ui() || client.is_webchat() {
        "open the dashboard URL and paste the token in Control UI settings"
    } else {
        "provide gateway auth token"
    }
}

fn password_hint(client: &ClientName<'_>) -> &'static str {
    if client.mode == "cli" {
        "set gateway.remote.password to match gateway.auth.password"
    } else if client.is_control_ui() || client.is_webchat() {
        "enter the password in Control UI settings"
    } else {
        "provide gateway auth password"
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

    fn cli() -> ClientName<'static> {
        ClientName {
            id: "cli",
            mode: "cli",
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
    #[rustfmt::skip]
    fn rejections_carry_text_code_and_next_step() {
        let node = ClientName {
            id: "node-host",
            mode: "node",
        };
        let ui = ClientName {
            id: "openclaw-control-ui",
            mode: "ui",
        };
        let chat = ClientName {
            id: "webchat",
            mode: "webchat",
        };
        for (reason, client, credentials, device, message, code, word, retry, next) in [
            (AuthReason::TokenMissing, node, sent("", "", "", ""), true, "unauthorized: gateway token missing (provide gateway auth token)", "AUTH_TOKEN_MISSING", "token_missing", false, "update_auth_configuration"),
            (AuthReason::TokenMismatch, node, sent("x", "", "", ""), true, "unauthorized: gateway token mismatch (provide gateway auth token)", "AUTH_TOKEN_MISMATCH", "token_mismatch", true, "retry_with_device_token"),
            (AuthReason::TokenMismatch, cli(), sent("x", "", "", ""), false, "unauthorized: gateway token mismatch (set gateway.remote.token to match gateway.auth.token)", "AUTH_TOKEN_MISMATCH", "token_mismatch", false, "update_auth_credentials"),
            (AuthReason::TokenMismatch, ui, sent("x", "", "d", ""), true, "unauthorized: gateway token mismatch (open the dashboard URL and paste the token in Control UI settings)", "AUTH_TOKEN_MISMATCH", "token_mismatch", false, "update_auth_credentials"),
            (AuthReason::TokenMismatch, chat, sent("x", "p", "", ""), true, "unauthorized: gateway token mismatch (open the dashboard URL and paste the token in Control UI settings)", "AUTH_TOKEN_MISMATCH", "token_mismatch", false, "update_auth_credentials"),
            (AuthReason::PasswordMissing, cli(), sent("", "", "", ""), false, "unauthorized: gateway password missing (set gateway.remote.password to match gateway.auth.password)", "AUTH_PASSWORD_MISSING", "password_missing", false, "update_auth_configuration"),
            (AuthReason::PasswordMismatch, ui, sent("", "x", "", ""), true, "unauthorized: gateway password mismatch (enter the password in Control UI settings)", "AUTH_PASSWORD_MISMATCH", "password_mismatch", false, "update_auth_credentials"),
            (AuthReason::PasswordMismatch, node, sent("", "x", "", ""), true, "unauthorized: gateway password mismatch (provide gateway auth password)", "AUTH_PASSWORD_MISMATCH", "password_mismatch", false, "update_auth_credentials"),
            (AuthReason::BootstrapTokenInvalid, node, sent("", "", "", "b"), true, "unauthorized: bootstrap token invalid or expired (scan a fresh setup code)", "AUTH_BOOTSTRAP_TOKEN_INVALID", "bootstrap_token_invalid", false, "review_auth_configuration"),
            (AuthReason::TokenMissingConfig, cli(), sent("x", "", "", ""), true, "unauthorized: gateway token not configured on gateway (set gateway.auth.token)", "AUTH_TOKEN_NOT_CONFIGURED", "token_missing_config", false, "update_auth_configuration"),
            (AuthReason::PasswordMissingConfig, ui, sent("", "x", "", ""), true, "unauthorized: gateway password not configured on gateway (set gateway.auth.password)", "AUTH_PASSWORD_NOT_CONFIGURED", "password_missing_config", false, "update_auth_configuration"),
            (AuthReason::TailscaleUserMissing, ui, sent("", "", "", ""), true, "unauthorized: tailscale identity missing (use Tailscale Serve or the gateway token/password)", "AUTH_TAILSCALE_IDENTITY_MISSING", "tailscale_user_missing", false, "review_auth_configuration"),
            (AuthReason::TailscaleUserMismatch, ui, sent("", "", "", ""), true, "unauthorized: tailscale identity mismatch (use Tailscale Serve or the gateway token/password)", "AUTH_TAILSCALE_IDENTITY_MISMATCH", "tailscale_user_mismatch", false, "review_auth_configuration"),
            (AuthReason::TailscaleProxyMissing, ui, sent("", "", "", ""), true, "unauthorized: tailscale proxy headers missing (use Tailscale Serve or the gateway token/password)", "AUTH_TAILSCALE_PROXY_MISSING", "tailscale_proxy_missing", false, "review_auth_configuration"),
            (AuthReason::TailscaleWhoisFailed, node, sent("", "", "", ""), true, "unauthorized: tailscale identity check failed (use Tailscale Serve or the gateway token/password)", "AUTH_TAILSCALE_WHOIS_FAILED", "tailscale_whois_failed", false, "review_auth_configuration"),
            (AuthReason::TrustedProxyLoopbackSource, ui, sent("", "", "", ""), true, "unauthorized", "AUTH_UNAUTHORIZED", "trusted_proxy_loopback_source", false, "review_auth_configuration"),
            (AuthReason::TrustedProxyMissingHeader(HeaderName::new("X-Team")), ui, sent("", "", "", ""), true, "unauthorized", "AUTH_UNAUTHORIZED", "trusted_proxy_missing_header_x-team", false, "review_auth_configuration"),
            (AuthReason::TrustedProxyNoProxiesConfigured, ui, sent("", "", "", ""), true, "unauthorized", "AUTH_UNAUTHORIZED", "trusted_proxy_no_proxies_configured", false, "review_auth_configuration"),
            (AuthReason::TrustedProxyUntrustedSource, cli(), sent("t", "", "", ""), true, "unauthorized", "AUTH_UNAUTHORIZED", "trusted_proxy_untrusted_source", false, "review_auth_configuration"),
            (AuthReason::TrustedProxyUserMissing, ui, sent("", "", "", ""), true, "unauthorized", "AUTH_UNAUTHORIZED", "trusted_proxy_user_missing", false, "review_auth_configuration"),
            (AuthReason::TrustedProxyUserNotAllowed, ui, sent("", "", "", ""), true, "unauthorized", "AUTH_UNAUTHORIZED", "trusted_proxy_user_not_allowed", false, "review_auth_configuration"),
            (AuthReason::DeviceTokenMismatch, node, sent("", "", "d", ""), true, "unauthorized: device token mismatch (rotate/reissue device token)", "AUTH_DEVICE_TOKEN_MISMATCH", "device_token_mismatch", false, "update_auth_credentials"),
            (AuthReason::ScopeMismatch, cli(), sent("", "", "d", ""), true, "unauthorized: device token scope mismatch (re-pair or approve scope upgrade)", "AUTH_SCOPE_MISMATCH", "scope_mismatch", false, "review_auth_configuration"),
        ] {
            let error = rejection(reason, &client, &credentials, device);
            assert_eq!(error.message, message);
            assert_eq!(
                *error.details.unwrap(),
                json!({"code": code, "authReason": word, "canRetryWithDeviceToken": retry, "recommendedNextStep": next}),
                "{message}"
            );
        }
    }
}
