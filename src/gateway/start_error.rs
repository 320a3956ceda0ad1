//! Why a gateway does not start: one sentence and one exit code for each reason (cli.md §5.1).

use std::fmt;

use crate::config::word::{Bind, TailscaleMode};

/// Exit code that keeps a service manager from restarting (`RestartPreventExitStatus`).
pub const REFUSED: u8 = 78;

/// Why a gateway does not start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartError {
    /// A bind beyond loopback without a shared secret.
    BindWithoutAuth(Bind),
    /// `gateway.bind=custom` without a usable address.
    CustomHostMissing,
    /// Token and password configured, no mode.
    ModeAmbiguous,
    /// No configuration file.
    MissingConfig,
    /// A configuration file without `gateway.mode`.
    ModeMissing,
    /// `gateway.mode=remote`.
    ModeRemote,
    /// `gateway.tailscale.mode=funnel` without a password.
    FunnelWithoutPassword,
    /// Published through Tailscale while nothing is asked for.
    TailscaleWithoutAuth(TailscaleMode),
    /// Password mode without a password.
    PasswordMissing,
    /// A secret copied from documentation; names the key.
    Placeholder(&'static str),
    /// A secret whose source gives no value; the sentence says which.
    SecretUnavailable(String),
    /// Tailscale is to publish a gateway that listens elsewhere than on loopback.
    TailscaleBind(TailscaleMode),
    /// Trusted-proxy mode without a trusted proxy.
    TrustedProxyAbsent,
    /// Trusted-proxy mode with a shared token.
    TrustedProxyToken,
    /// Trusted-proxy mode that does not say which header names the user.
    TrustedProxyUnset,
}

impl StartError {
    /// [`REFUSED`], or 1 for what may pass by itself.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::SecretUnavailable(_) => 1,
            _ => REFUSED,
        }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BindWithoutAuth(bind) => write!(
                f,
                "Refusing to bind gateway to {bind} without auth.\n\
                 Fix: openclaw config set gateway.auth.mode token (or use --bind loopback)"
            ),
            Self::CustomHostMissing => {
                f.write_str("gateway.bind=custom requires gateway.customBindHost")
            }
            Self::ModeAmbiguous => f.write_str(
                "gateway.auth.token and gateway.auth.password are both configured, but \
                 gateway.auth.mode is unset. Set gateway.auth.mode to token or password.",
            ),
            Self::MissingConfig => f.write_str(
                "Missing config. Run `openclaw config set gateway.mode local` or set \
                 gateway.mode=local (or pass --allow-unconfigured).",
            ),
            Self::ModeMissing => f.write_str(
                "Gateway start blocked: existing config is missing gateway.mode. \
                 Run `openclaw config set gateway.mode local` (or pass --allow-unconfigured).",
            ),
            Self::ModeRemote => f.write_str(
                "Gateway start blocked: set gateway.mode=local (current: remote) or pass \
                 --allow-unconfigured.",
            ),
            Self::FunnelWithoutPassword => f.write_str(
                "gateway.tailscale.mode=funnel publishes the gateway to the internet and needs \
                 gateway.auth.mode=password.\n\
                 Fix: set gateway.auth.mode to password, and gateway.auth.password or \
                 OPENCLAW_GATEWAY_PASSWORD",
            ),
            Self::TailscaleWithoutAuth(mode) => write!(
                f,
                "gateway.tailscale.mode={mode} publishes the gateway, and gateway.auth.mode=none asks nobody for \
                 anything.\n\
                 Fix: set gateway.auth.mode to token or password",
            ),
            Self::PasswordMissing => f.write_str(
                "Gateway auth is set to password, but no password is configured.\n\
                 Fix: set gateway.auth.password, OPENCLAW_GATEWAY_PASSWORD or --password-file",
            ),
            Self::Placeholder(key) => write!(
                f,
                "{key} is a placeholder from documentation; set a secret of your own."
            ),
            Self::SecretUnavailable(why) => write!(
                f,
                "Gateway failed to start: Error: Startup failed: required secrets are unavailable. \
                 SecretRefResolutionError: {why}\n\
                 Fix: give it to this process (a service reads gateway.systemd.env in its state directory), \
                 or set gateway.auth.token or gateway.auth.password to another secret"
            ),
            Self::TailscaleBind(mode) => write!(
                f,
                "gateway.tailscale.mode={mode} needs gateway.bind=loopback: Tailscale forwards to this \
                 host, and nobody may get around it.\n\
                 Fix: openclaw config set gateway.bind loopback (or --bind loopback)"
            ),
            Self::TrustedProxyAbsent => f.write_str(
                "gateway.auth.mode is trusted-proxy, but gateway.trustedProxies is empty, so that nobody \
                 could get in.\n\
                 Fix: set gateway.trustedProxies to the addresses of the proxy",
            ),
            Self::TrustedProxyToken => f.write_str(
                "gateway.auth.mode is trusted-proxy, but a shared token is configured too, and only one of \
                 them can decide.\n\
                 Fix: remove gateway.auth.token, OPENCLAW_GATEWAY_TOKEN and --token, or set \
                 gateway.auth.mode to token",
            ),
            Self::TrustedProxyUnset => f.write_str(
                "gateway.auth.mode is trusted-proxy, but gateway.auth.trustedProxy is not configured.\n\
                 Fix: openclaw config set gateway.auth.trustedProxy.userHeader <header that names the user>",
            ),
        }
    }
}

impl std::error::Error for StartError {}
