//! Why credentials were refused, and how the client is told (protocol.md §4.3).
//!
//! One reason has one answer: code, word, next step, and a sentence that names the fix for the client at hand.
//! Nothing is decided here.

use serde_json::json;

use crate::gateway::credentials::{ClientName, Credentials};
use crate::protocol::error::ErrorShape;

/// Characters of a header name that a refusal repeats.
const SHOWN_NAME_BYTES: usize = 48;

/// Why credentials were refused (§4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthReason {
    /// A bootstrap token nobody issued, or an old one.
    BootstrapTokenInvalid,
    /// The device token is not this device's for this role and these scopes.
    DeviceTokenMismatch,
    /// The password is wrong.
    PasswordMismatch,
    /// The gateway asks for a password and none was sent.
    PasswordMissing,
    /// A password was sent to a gateway that has none.
    PasswordMissingConfig,
    /// Too many wrong ones came before: the credential was not looked at, and will not be for this
    /// many milliseconds.
    RateLimited(u64),
    /// The device token is right but does not cover the scopes; said at protocol 4 only.
    ScopeMismatch,
    /// A user is named, and it was not Tailscale Serve on this host that forwarded the request.
    TailscaleProxyMissing,
    /// The tailnet knows that address under another user.
    TailscaleUserMismatch,
    /// Tailscale Serve forwarded a request that belongs to no user.
    TailscaleUserMissing,
    /// The tailnet cannot be asked, or does not know the address.
    TailscaleWhoisFailed,
    /// The token is wrong.
    TokenMismatch,
    /// The gateway asks for a token and none was sent.
    TokenMissing,
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

/// The name of a header that is missing, as a refusal repeats it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderName {
    bytes: [u8; SHOWN_NAME_BYTES],
    length: usize,
}

impl HeaderName {
    /// The name, cut where it is longer than any that is in use.
    pub fn new(name: &str) -> Self {
        let mut bytes = [0; SHOWN_NAME_BYTES];
        let given = name.bytes().filter(u8::is_ascii_graphic);
        let mut length = 0;
        for (place, byte) in bytes.iter_mut().zip(given) {
            *place = byte.to_ascii_lowercase();
            length += 1;
        }
        Self { bytes, length }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        let bytes = self.bytes.get(..self.length).unwrap_or_default();
        // Only ASCII is put in.
        std::str::from_utf8(bytes).unwrap_or_default()
    }
}

impl AuthReason {
    /// `details.authReason`.
    pub fn as_str(self) -> &'static str {
        self.told().word
    }

    /// Code, word, next step and sentence of one reason, each in one place.
    #[rustfmt::skip]
    fn told(self) -> Told {
        let told = |code, word, next_step, text| Told { code, word, next_step, text };
        // A proxy's user learns nothing about what the proxy has to send: the sentence stays bare.
        let bare = |word| told("AUTH_UNAUTHORIZED", word, REVIEW_CONFIGURATION, "");
        match self {
            Self::BootstrapTokenInvalid => told("AUTH_BOOTSTRAP_TOKEN_INVALID", "bootstrap_token_invalid", REVIEW_CONFIGURATION, "bootstrap token invalid or expired"),
            Self::DeviceTokenMismatch => told("AUTH_DEVICE_TOKEN_MISMATCH", "device_token_mismatch", UPDATE_CREDENTIALS, "device token mismatch"),
            Self::PasswordMismatch => told("AUTH_PASSWORD_MISMATCH", "password_mismatch", UPDATE_CREDENTIALS, "gateway password mismatch"),
            Self::PasswordMissing => told("AUTH_PASSWORD_MISSING", "password_missing", UPDATE_CONFIGURATION, "gateway password missing"),
            Self::PasswordMissingConfig => told("AUTH_PASSWORD_NOT_CONFIGURED", "password_missing_config", UPDATE_CONFIGURATION, "gateway password not configured on gateway"),
            Self::RateLimited(_) => told("AUTH_RATE_LIMITED", "rate_limited", "wait_then_retry", "too many failed authentication attempts"),
            Self::ScopeMismatch => told("AUTH_SCOPE_MISMATCH", "scope_mismatch", REVIEW_CONFIGURATION, "device token scope mismatch"),
            Self::TailscaleProxyMissing => told("AUTH_TAILSCALE_PROXY_MISSING", "tailscale_proxy_missing", REVIEW_CONFIGURATION, "tailscale proxy headers missing"),
            Self::TailscaleUserMismatch => told("AUTH_TAILSCALE_IDENTITY_MISMATCH", "tailscale_user_mismatch", REVIEW_CONFIGURATION, "tailscale identity mismatch"),
            Self::TailscaleUserMissing => told("AUTH_TAILSCALE_IDENTITY_MISSING", "tailscale_user_missing", REVIEW_CONFIGURATION, "tailscale identity missing"),
            Self::TailscaleWhoisFailed => told("AUTH_TAILSCALE_WHOIS_FAILED", "tailscale_whois_failed", REVIEW_CONFIGURATION, "tailscale identity check failed"),
            Self::TokenMismatch => told("AUTH_TOKEN_MISMATCH", "token_mismatch", UPDATE_CREDENTIALS, "gateway token mismatch"),
            Self::TokenMissing => told("AUTH_TOKEN_MISSING", "token_missing", UPDATE_CONFIGURATION, "gateway token missing"),
            Self::TokenMissingConfig => told("AUTH_TOKEN_NOT_CONFIGURED", "token_missing_config", UPDATE_CONFIGURATION, "gateway token not configured on gateway"),
            Self::TrustedProxyLoopbackSource => bare("trusted_proxy_loopback_source"),
            Self::TrustedProxyMissingHeader(_) => bare("trusted_proxy_missing_header"),
            Self::TrustedProxyNoProxiesConfigured => bare("trusted_proxy_no_proxies_configured"),
            Self::TrustedProxyUntrustedSource => bare("trusted_proxy_untrusted_source"),
            Self::TrustedProxyUserMissing => bare("trusted_proxy_user_missing"),
            Self::TrustedProxyUserNotAllowed => bare("trusted_proxy_user_not_allowed"),
        }
    }

    /// What to do about it, for the client at hand; empty where the sentence is bare.
    fn hint(self, client: &ClientName<'_>) -> &'static str {
        match self {
            Self::BootstrapTokenInvalid => "scan a fresh setup code",
            Self::DeviceTokenMismatch => "rotate/reissue device token",
            Self::PasswordMismatch | Self::PasswordMissing => password_hint(client),
            Self::PasswordMissingConfig => "set gateway.auth.password",
            Self::RateLimited(_) => "retry later",
            Self::ScopeMismatch => "re-pair or approve scope upgrade",
            Self::TailscaleProxyMissing
            | Self::TailscaleUserMismatch
            | Self::TailscaleUserMissing
            | Self::TailscaleWhoisFailed => "use Tailscale Serve or the gateway token/password",
            Self::TokenMismatch | Self::TokenMissing => token_hint(client),
            Self::TokenMissingConfig => "set gateway.auth.token",
            Self::TrustedProxyLoopbackSource
            | Self::TrustedProxyMissingHeader(_)
            | Self::TrustedProxyNoProxiesConfigured
            | Self::TrustedProxyUntrustedSource
            | Self::TrustedProxyUserMissing
            | Self::TrustedProxyUserNotAllowed => "",
        }
    }
}

/// What a client is told about one reason.
struct Told {
    /// `details.code`.
    code: &'static str,
    /// `details.authReason`.
    word: &'static str,
    /// `details.recommendedNextStep`.
    next_step: &'static str,
    /// The middle part of the message; empty for a message that says "unauthorized" only.
    text: &'static str,
}

/// The next step of whoever cannot do anything about it from where he is.
const REVIEW_CONFIGURATION: &str = "review_auth_configuration";
/// The next step when nothing was sent, or the gateway has nothing to compare with.
const UPDATE_CONFIGURATION: &str = "update_auth_configuration";
/// The next step when what was sent is wrong.
const UPDATE_CREDENTIALS: &str = "update_auth_credentials";

/// The answer of §4.3 to refused credentials.
pub fn rejection(
    reason: AuthReason,
    client: &ClientName<'_>,
    sent: &Credentials,
    has_device: bool,
) -> ErrorShape {
    let told = reason.told();
    let can_retry = reason == AuthReason::TokenMismatch
        && has_device
        && sent.password.is_none()
        && sent.token.is_some()
        && sent.device_token.is_none();
    let next_step = if can_retry {
        "retry_with_device_token"
    } else {
        told.next_step
    };
    let word = match &reason {
        AuthReason::TrustedProxyMissingHeader(name) => format!("{}_{}", told.word, name.as_str()),
        _ => told.word.to_owned(),
    };
    let message = match told.text {
        "" => "unauthorized".to_owned(),
        text => format!("unauthorized: {text} ({})", reason.hint(client)),
    };
    let error = ErrorShape::invalid(message).with_details(json!({
        "code": told.code,
        "authReason": word,
        "canRetryWithDeviceToken": can_retry,
        "recommendedNextStep": next_step,
    }));
    match reason {
        AuthReason::RateLimited(left) => error.with_retry(left),
        _ => error,
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
