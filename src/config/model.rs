//! The typed configuration that gateway, client and node read: every default filled in.
//!
//! Environment variables that override a key (`OPENCLAW_GATEWAY_PORT`, `OPENCLAW_HANDSHAKE_TIMEOUT_MS`,
//! `OPENCLAW_LOG_LEVEL`, `OPENCLAW_WIDE_AREA_DOMAIN`) are already applied. Credentials are not merged
//! with the environment here, because their order depends on who asks (cli.md §1.2).

use std::path::{Path, PathBuf};

use crate::config::secret::Secret;
use crate::config::word::{
    AuthMode, Bind, ConsoleStyle, ExecAsk, ExecHost, ExecSecurity, GatewayMode, LogLevel, MdnsMode,
    NodeBrowserMode, Redaction, ReloadMode, RemoteEdits, RemoteTransport, TailscaleMode,
};
use crate::identity::Fingerprint;
use crate::store::tls_files::TlsPaths;

/// The whole configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// `gateway.*`.
    pub gateway: Gateway,
    /// `discovery.*`.
    pub discovery: Discovery,
    /// `nodeHost.*`.
    pub node_host: NodeHost,
    /// `browser.*`.
    pub browser: Browser,
    /// `tools.*`.
    pub tools: Tools,
    /// `logging.*`.
    pub logging: Logging,
    /// `commands.restart`: SIGUSR1 from outside restarts the gateway.
    pub restart_allowed: bool,
    /// `plugins.entries.device-pair.config.publicUrl`: the URL of setup codes.
    pub public_url: Option<String>,
}

/// `gateway.*`.
#[derive(Debug, Clone, PartialEq)]
pub struct Gateway {
    /// Unset refuses to start a gateway (cli.md §5.1).
    pub mode: Option<GatewayMode>,
    /// Effective port: environment, file, default; the `--port` flag is the caller's.
    pub port: u16,
    /// Addresses to listen on.
    pub bind: Bind,
    /// IPv4 address for [`Bind::Custom`].
    pub custom_bind_host: Option<String>,
    /// What clients have to prove.
    pub auth: Auth,
    /// Addresses and CIDR blocks whose forwarding headers count.
    pub trusted_proxies: Vec<String>,
    /// Use X-Real-IP when X-Forwarded-For is absent.
    pub allow_real_ip_fallback: bool,
    /// TLS on the same port.
    pub tls: Tls,
    /// The other gateway, for clients.
    pub remote: Remote,
    /// Nodes and their commands.
    pub nodes: Nodes,
    /// Browser origins.
    pub control_ui: ControlUi,
    /// What a changed file does.
    pub reload: Reload,
    /// `metrics.enabled`: figures at `/metrics`.
    pub metrics_enabled: bool,
    /// Milliseconds from socket open to accepted connect, ≥ 1.
    pub handshake_timeout_ms: u64,
    /// Publication through Tailscale.
    pub tailscale: Tailscale,
}

/// `gateway.auth.*`.
#[derive(Debug, Clone, PartialEq)]
pub struct Auth {
    /// As configured; `None` is inferred from what is configured.
    pub mode: Option<AuthMode>,
    /// Shared token.
    pub token: Secret,
    /// Shared password.
    pub password: Secret,
    /// `None`: on when Tailscale serves.
    pub allow_tailscale: Option<bool>,
    /// Limits on failed attempts.
    pub rate_limit: RateLimit,
    /// The trusted proxy; `None` when not configured.
    pub trusted_proxy: Option<TrustedProxy>,
}

/// `gateway.auth.rateLimit.*`.
#[derive(Debug, Clone, PartialEq)]
pub struct RateLimit {
    /// Failures per window.
    pub max_attempts: u64,
    /// Milliseconds.
    pub window_ms: u64,
    /// Milliseconds.
    pub lockout_ms: u64,
    /// Loopback is never locked out.
    pub exempt_loopback: bool,
}

/// `gateway.auth.trustedProxy.*`.
#[derive(Debug, Clone, PartialEq)]
pub struct TrustedProxy {
    /// Header that names the user, not empty.
    pub user_header: String,
    /// Headers every request must carry.
    pub required_headers: Vec<String>,
    /// Users the proxy may name; empty allows all.
    pub allow_users: Vec<String>,
    /// Accept a proxy on this machine.
    pub allow_loopback: bool,
}

/// `gateway.tls.*`.
#[derive(Debug, Clone, PartialEq)]
pub struct Tls {
    /// WSS and HTTPS.
    pub enabled: bool,
    /// Make a certificate when none exists.
    pub auto_generate: bool,
    /// Certificate; default below the state directory.
    pub cert_path: Option<PathBuf>,
    /// Private key; default below the state directory.
    pub key_path: Option<PathBuf>,
    /// Certificate authority.
    pub ca_path: Option<PathBuf>,
}

impl Tls {
    /// Where certificate and key stand, given the state directory.
    pub fn files(&self, state_dir: &Path) -> TlsPaths {
        TlsPaths::new(
            state_dir,
            self.cert_path.as_deref(),
            self.key_path.as_deref(),
            self.ca_path.as_deref(),
        )
    }
}

/// `gateway.remote.*`.
#[derive(Debug, Clone, PartialEq)]
pub struct Remote {
    /// `ws://` or `wss://`.
    pub url: Option<String>,
    /// How it is reached, when that is written down; otherwise directly.
    pub transport: Option<RemoteTransport>,
    /// Client token.
    pub token: Secret,
    /// Client password.
    pub password: Secret,
    /// The certificate to trust.
    pub tls_fingerprint: Option<Fingerprint>,
    /// `user@host[:port]`, for the transport ssh and for `gateway probe`.
    pub ssh_target: Option<String>,
    /// The key file to log in there with.
    pub ssh_identity: Option<PathBuf>,
}

/// `gateway.nodes.*`.
#[derive(Debug, Clone, PartialEq)]
pub struct Nodes {
    /// Exact command names beyond the platform's defaults.
    pub allow_commands: Vec<String>,
    /// Exact command names that are never allowed.
    pub deny_commands: Vec<String>,
    /// `pairing.autoApproveCidrs`; empty is off.
    pub auto_approve_cidrs: Vec<String>,
    /// `pairing.enabled`: whether anybody new may ask to join.
    pub pairing_enabled: bool,
    /// `browser.mode`.
    pub browser_mode: NodeBrowserMode,
    /// `browser.node`.
    pub browser_node: Option<String>,
}

/// `gateway.controlUi.*`, as far as it has an effect.
#[derive(Debug, Clone, PartialEq)]
pub struct ControlUi {
    /// Browser origins that may connect.
    pub allowed_origins: Vec<String>,
    /// `dangerouslyDisableDeviceAuth`: a Control UI needs no device identity at all.
    pub device_auth_disabled: bool,
    /// Accept an origin that equals the Host header.
    pub host_header_origin_fallback: bool,
    /// `allowInsecureAuth`: a Control UI on this host needs no device identity.
    pub insecure_auth_allowed: bool,
}

/// `gateway.reload.*`.
#[derive(Debug, Clone, PartialEq)]
pub struct Reload {
    /// What a changed file does.
    pub mode: ReloadMode,
    /// Milliseconds.
    pub debounce_ms: u64,
    /// Milliseconds.
    pub deferral_timeout_ms: u64,
}

/// `gateway.tailscale.*`.
#[derive(Debug, Clone, PartialEq)]
pub struct Tailscale {
    /// How it is published.
    pub mode: TailscaleMode,
    /// Take the publication back at stop.
    pub reset_on_exit: bool,
}

/// `discovery.*`.
#[derive(Debug, Clone, PartialEq)]
pub struct Discovery {
    /// How much the beacon says.
    pub mdns_mode: MdnsMode,
    /// Write the wide-area zone.
    pub wide_area_enabled: bool,
    /// Domain of the zone, or the environment's.
    pub wide_area_domain: Option<String>,
}

/// `nodeHost.*`.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeHost {
    /// Offer this machine's browser.
    pub browser_proxy_enabled: bool,
    /// Only these profiles; `None` or empty is no restriction.
    pub allow_profiles: Option<Vec<String>>,
    /// What edits of the exec policy from elsewhere may do.
    pub remote_edits: RemoteEdits,
}

/// `browser.*`, as far as this program uses it.
#[derive(Debug, Clone, PartialEq)]
pub struct Browser {
    /// `false` also stops advertising the proxy.
    pub enabled: bool,
    /// The whole section as written, for the browser proxy; `Null` when absent.
    pub section: serde_json::Value,
}

/// `tools.*`.
#[derive(Debug, Clone, PartialEq)]
pub struct Tools {
    /// `tools.exec.*`.
    pub exec: Exec,
}

/// `tools.exec.*`.
#[derive(Debug, Clone, PartialEq)]
pub struct Exec {
    /// Where commands run.
    pub host: ExecHost,
    /// As configured; unset, `exec-approvals.json` decides alone.
    pub security: Option<ExecSecurity>,
    /// As configured; unset, `exec-approvals.json` decides alone.
    pub ask: Option<ExecAsk>,
    /// Default node selector.
    pub node: Option<String>,
    /// Directories before PATH.
    pub path_prepend: Vec<String>,
    /// `None`: the built-in names.
    pub safe_bins: Option<Vec<String>>,
    /// Further directories of safe programs.
    pub safe_bin_trusted_dirs: Vec<String>,
    /// Argument rules by program name as written; `Null` when absent.
    pub safe_bin_profiles: serde_json::Value,
    /// Milliseconds.
    pub background_ms: Option<u64>,
    /// Seconds.
    pub timeout_sec: Option<u64>,
    /// Milliseconds.
    pub cleanup_ms: Option<u64>,
    /// Inline programs always need approval.
    pub strict_inline_eval: bool,
    /// Report finished background commands.
    pub notify_on_exit: Option<bool>,
    /// Also when they printed nothing.
    pub notify_on_exit_empty_success: Option<bool>,
}

/// `logging.*`.
#[derive(Debug, Clone, PartialEq)]
pub struct Logging {
    /// Level of the file.
    pub level: LogLevel,
    /// Level of the console; the file's when unset.
    pub console_level: LogLevel,
    /// Form of console lines.
    pub console_style: ConsoleStyle,
    /// Log file.
    pub file: Option<PathBuf>,
    /// Largest log file, bytes.
    pub max_file_bytes: u64,
    /// What is hidden.
    pub redact_sensitive: Redaction,
    /// Further patterns to hide.
    pub redact_patterns: Vec<String>,
}
