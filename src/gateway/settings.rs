//! What a gateway needs to know to run, and the checks that decide whether it may (cli.md §5.1).
//!
//! Configuration, flags and environment go in, [`GatewaySettings`] or one sentence come out. Nothing
//! is read or written here; whoever starts the gateway generates and stores what is missing. What this
//! version cannot enforce it refuses, it never starts weaker than it was told.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

use crate::config::environment::ServiceKind;
use crate::config::load::Loaded;
use crate::config::word::{AuthMode, Bind, GatewayMode, TailscaleMode};
use crate::config::{Config, Environment, Paths, Secret};
use crate::gateway::auth::SharedAuth;
use crate::gateway::locality::OriginPolicy;
use crate::identity::Token;
use crate::pairing::policy::CommandPolicy;
use crate::protocol::limits::{HANDSHAKE_TIMEOUT, MAX_PREAUTH_SOCKETS_PER_ADDRESS, TICK_INTERVAL};

/// Connections of one process, admitted or not; lowered at start when the process may not open that
/// many descriptors. The budget asks for 5,000 nodes.
pub const MAX_CONNECTIONS: usize = 8_192;

/// Secrets that stand as examples in published documentation; a gateway does not start with one.
const PLACEHOLDERS: [&str; 8] = [
    "change-me",
    "change-me-to-a-long-random-token",
    "change-me-to-a-strong-password",
    "changeme",
    "your-password-here",
    "your-secret-token",
    "your-token",
    "your-token-here",
];

/// Everything a running gateway was told.
#[derive(Clone, Debug)]
pub struct GatewaySettings {
    /// What every connection must prove.
    pub auth: SharedAuth,
    /// The bind mode, for messages.
    pub bind: Bind,
    /// Which node commands the platform lists are changed by.
    pub commands: CommandPolicy,
    /// The configuration file; need not exist.
    pub config_file: PathBuf,
    /// `gateway.controlUi.dangerouslyDisableDeviceAuth`.
    pub control_ui_break_glass: bool,
    /// `gateway.controlUi.allowInsecureAuth`.
    pub control_ui_insecure: bool,
    /// From accept to hello-ok.
    pub handshake_timeout: Duration,
    /// Where to listen; the first address must work, the others are tried.
    pub listen: Vec<IpAddr>,
    /// Connections at the same time.
    pub max_connections: usize,
    /// Connections of one source without hello at the same time.
    pub max_preauth: usize,
    /// Which browser origins may connect.
    pub origins: OriginPolicy,
    /// The port; 0 lets the system choose.
    pub port: u16,
    /// The state directory.
    pub state_dir: PathBuf,
    /// For temporary files and locks.
    pub temp_dir: PathBuf,
    /// Between two ticks.
    pub tick_interval: Duration,
}

impl GatewaySettings {
    /// A gateway on loopback with every default: for embedding and tests. The port is chosen by the
    /// system.
    pub fn local(state_dir: PathBuf, auth: SharedAuth) -> Self {
        Self {
            auth,
            bind: Bind::Loopback,
            commands: CommandPolicy::default(),
            config_file: state_dir.join("openclaw.json"),
            control_ui_break_glass: false,
            control_ui_insecure: false,
            handshake_timeout: HANDSHAKE_TIMEOUT,
            listen: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
            max_connections: MAX_CONNECTIONS,
            max_preauth: MAX_PREAUTH_SOCKETS_PER_ADDRESS,
            origins: OriginPolicy::default(),
            port: 0,
            temp_dir: state_dir.join("tmp"),
            state_dir,
            tick_interval: TICK_INTERVAL,
        }
    }
}

/// The flags of `gateway run` that change what the gateway is.
#[derive(Clone, Debug, Default)]
pub struct RunFlags {
    /// `--allow-unconfigured`.
    pub allow_unconfigured: bool,
    /// `--auth`.
    pub auth: Option<AuthMode>,
    /// `--bind`.
    pub bind: Option<Bind>,
    /// `--password` or the content of `--password-file`.
    pub password: Option<Token>,
    /// `--port`.
    pub port: Option<u16>,
    /// `--tailscale`.
    pub tailscale: Option<TailscaleMode>,
    /// `--token`.
    pub token: Option<Token>,
}

/// What the start still has to do about the shared secret.
#[derive(Clone, Debug)]
pub enum AuthPlan {
    /// No token anywhere: use the one generated earlier, or generate one.
    Generate {
        /// Store a new one in the configuration file rather than beside it.
        in_config: bool,
    },
    /// Everything is there.
    Ready(SharedAuth),
}

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
    /// Password mode without a password.
    PasswordMissing,
    /// A secret copied from documentation; names the key.
    Placeholder(&'static str),
    /// A secret whose source gives no value; the sentence says which.
    SecretUnavailable(String),
    /// Asked for something this version does not do; the key and what to do instead.
    Unsupported {
        /// The key or flag with its value.
        asked: String,
        /// What to do instead.
        instead: &'static str,
    },
}

impl StartError {
    /// 78 keeps a service manager from trying again; 1 for what may pass by itself.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::SecretUnavailable(_) => 1,
            _ => 78,
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
                 SecretRefResolutionError: {why}"
            ),
            Self::Unsupported { asked, instead } => write!(
                f,
                "Gateway start blocked: {asked} is not supported by this version. {instead}"
            ),
        }
    }
}

impl std::error::Error for StartError {}

/// The mode guard: is this host meant to run a gateway at all (point 2)?
pub fn check_mode(loaded: &Loaded, flags: &RunFlags) -> Result<(), StartError> {
    if flags.allow_unconfigured {
        return Ok(());
    }
    match loaded.config.gateway.mode {
        Some(GatewayMode::Local) => Ok(()),
        Some(GatewayMode::Remote) => Err(StartError::ModeRemote),
        None if loaded.exists => Err(StartError::ModeMissing),
        None => Err(StartError::MissingConfig),
    }
}

/// Refuses what would need something this version does not have (TLS, trusted proxies, Tailscale).
pub fn check_supported(config: &Config, flags: &RunFlags) -> Result<(), StartError> {
    let refuse = |asked: String, instead| Err(StartError::Unsupported { asked, instead });
    let gateway = &config.gateway;
    if gateway.tls.enabled {
        return refuse(
            "gateway.tls.enabled=true".into(),
            "Set it to false and put a TLS proxy or tunnel in front.",
        );
    }
    if flags.auth.or(gateway.auth.mode) == Some(AuthMode::TrustedProxy) {
        return refuse(
            "gateway.auth.mode=trusted-proxy".into(),
            "Use token or password.",
        );
    }
    let tailscale = flags.tailscale.unwrap_or(gateway.tailscale.mode);
    if tailscale != TailscaleMode::Off {
        return refuse(
            format!("gateway.tailscale.mode={tailscale}"),
            "Set it to off and bind to the tailnet address instead.",
        );
    }
    if gateway.auth.allow_tailscale == Some(true) {
        return refuse(
            "gateway.auth.allowTailscale=true".into(),
            "Set it to false and use the shared secret.",
        );
    }
    Ok(())
}

/// Which secret guards the gateway (points 3, 4 and 6). Flags win; then the environment, then the
/// file, except for the token of a gateway that runs as a service, where the file wins.
pub fn plan_auth(loaded: &Loaded, flags: &RunFlags, bind: Bind) -> Result<AuthPlan, StartError> {
    let auth = &loaded.config.gateway.auth;
    let environment = &loaded.environment;
    let mode = resolve_mode(loaded, flags)?;
    match mode {
        AuthMode::None if !matches!(bind, Bind::Loopback | Bind::Auto) => {
            Err(StartError::BindWithoutAuth(bind))
        }
        AuthMode::None => Ok(AuthPlan::Ready(SharedAuth::None)),
        AuthMode::Password => {
            let password = pick(
                &flags.password,
                environment.gateway_password(),
                &auth.password,
                false,
            )?;
            let password = password.ok_or(StartError::PasswordMissing)?;
            checked(password, "gateway.auth.password").map(SharedAuth::Password)
        }
        .map(AuthPlan::Ready),
        AuthMode::Token => {
            let service = environment.service_kind() == Some(ServiceKind::Gateway);
            match pick(
                &flags.token,
                environment.gateway_token(),
                &auth.token,
                service,
            )? {
                Some(token) => checked(token, "gateway.auth.token")
                    .map(SharedAuth::Token)
                    .map(AuthPlan::Ready),
                None => Ok(AuthPlan::Generate {
                    in_config: loaded.exists && !flags.allow_unconfigured && flags.auth.is_none(),
                }),
            }
        }
        AuthMode::TrustedProxy => Err(StartError::Unsupported {
            asked: "gateway.auth.mode=trusted-proxy".into(),
            instead: "Use token or password.",
        }),
    }
}

/// Explicit mode, else what is configured says it.
fn resolve_mode(loaded: &Loaded, flags: &RunFlags) -> Result<AuthMode, StartError> {
    let auth = &loaded.config.gateway.auth;
    if let Some(mode) = flags.auth.or(auth.mode) {
        return Ok(mode);
    }
    if auth.token.is_configured() && auth.password.is_configured() {
        return Err(StartError::ModeAmbiguous);
    }
    let environment = &loaded.environment;
    // The closest source decides: a flag, then the file, then the environment.
    let sources = [
        (flags.token.is_some(), flags.password.is_some()),
        (auth.token.is_configured(), auth.password.is_configured()),
        (
            environment.gateway_token().is_some(),
            environment.gateway_password().is_some(),
        ),
    ];
    for (token, password) in sources {
        if token || password {
            return Ok(if token {
                AuthMode::Token
            } else {
                AuthMode::Password
            });
        }
    }
    Ok(AuthMode::Token)
}

fn pick(
    flag: &Option<Token>,
    environment: Option<&str>,
    configured: &Secret,
    config_first: bool,
) -> Result<Option<Token>, StartError> {
    if let Some(secret) = flag {
        return Ok(Some(secret.clone()));
    }
    let from_environment = environment.map(Token::from);
    if from_environment.is_some() && !(config_first && configured.is_configured()) {
        return Ok(from_environment);
    }
    match configured {
        Secret::Absent => Ok(None),
        Secret::Plain(value) => Ok(Some(Token::from(value.as_str()))),
        Secret::Unavailable { why, .. } => Err(StartError::SecretUnavailable(why.clone())),
    }
}

fn checked(secret: Token, key: &'static str) -> Result<Token, StartError> {
    if PLACEHOLDERS
        .iter()
        .any(|known| secret.as_str().eq_ignore_ascii_case(known))
    {
        return Err(StartError::Placeholder(key));
    }
    Ok(secret)
}

/// The addresses of a bind mode. `tailnet` is this host's tailnet address, if it has one. A mode that
/// does not cover loopback gets it too, because everything on this host talks to loopback.
pub fn addresses(
    bind: Bind,
    custom: Option<&str>,
    tailnet: Option<IpAddr>,
) -> Result<Vec<IpAddr>, StartError> {
    let loopback = [
        IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::LOCALHOST),
    ];
    Ok(match bind {
        Bind::Auto | Bind::Loopback => loopback.to_vec(),
        Bind::Lan => vec![IpAddr::V4(Ipv4Addr::UNSPECIFIED)],
        Bind::Tailnet => tailnet.into_iter().chain(loopback).collect(),
        Bind::Custom => {
            let host: Ipv4Addr = custom
                .and_then(|host| host.trim().parse().ok())
                .ok_or(StartError::CustomHostMissing)?;
            let also = (!host.is_loopback() && !host.is_unspecified()).then_some(loopback[0]);
            std::iter::once(IpAddr::V4(host)).chain(also).collect()
        }
    })
}

/// Builds the settings once the shared secret is known.
pub fn build(
    loaded: &Loaded,
    paths: &Paths,
    flags: &RunFlags,
    auth: SharedAuth,
    tailnet: Option<IpAddr>,
) -> Result<GatewaySettings, StartError> {
    let gateway = &loaded.config.gateway;
    let bind = flags.bind.unwrap_or(gateway.bind);
    Ok(GatewaySettings {
        auth,
        bind,
        commands: CommandPolicy {
            allow: gateway.nodes.allow_commands.clone(),
            deny: gateway.nodes.deny_commands.clone(),
        },
        config_file: paths.config_file.clone(),
        control_ui_break_glass: gateway.control_ui.device_auth_disabled,
        control_ui_insecure: gateway.control_ui.insecure_auth_allowed,
        handshake_timeout: Duration::from_millis(gateway.handshake_timeout_ms),
        listen: addresses(bind, gateway.custom_bind_host.as_deref(), tailnet)?,
        max_connections: MAX_CONNECTIONS,
        max_preauth: max_preauth(&loaded.environment),
        origins: OriginPolicy {
            allowed: gateway.control_ui.allowed_origins.clone(),
            host_header_fallback: gateway.control_ui.host_header_origin_fallback,
        },
        port: flags.port.unwrap_or(gateway.port),
        state_dir: paths.state_dir.clone(),
        temp_dir: paths.temp_dir.clone(),
        tick_interval: TICK_INTERVAL,
    })
}

/// Keys that are configured and have no effect in this version; each is one warning. All of them only
/// make the gateway stricter than configured.
pub fn ignored_keys(config: &Config) -> Vec<&'static str> {
    let gateway = &config.gateway;
    let mut keys = Vec::new();
    if !gateway.trusted_proxies.is_empty() {
        keys.push("gateway.trustedProxies (every proxied client counts as remote)");
    }
    if !gateway.nodes.auto_approve_cidrs.is_empty() {
        keys.push("gateway.nodes.pairing.autoApproveCidrs (every node is approved by hand)");
    }
    keys
}

fn max_preauth(environment: &Environment) -> usize {
    environment
        .max_preauth_per_ip()
        .unwrap_or(MAX_PREAUTH_SOCKETS_PER_ADDRESS)
}
