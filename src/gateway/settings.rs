//! What a gateway needs to know to run, as one value.
//!
//! Configuration, flags and environment go in, [`GatewaySettings`] come out. Nothing is read or written
//! here, and whether the gateway may start is decided in `start_checks`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

use crate::config::load::Loaded;
use crate::config::word::{AuthMode, Bind, TailscaleMode};
use crate::config::{Environment, Paths};
use crate::discovery::tailscale::Program;
use crate::gateway::advertising::Advertising;
use crate::gateway::auth::SharedAuth;
use crate::gateway::limits::ArrivalLimits;
use crate::gateway::rules::Rules;
use crate::gateway::start_checks::tailscale_mode;
use crate::gateway::start_error::StartError;
use crate::gateway::tls::TlsSettings;
use crate::identity::Token;
use crate::protocol::limits::{MAX_PREAUTH_SOCKETS_PER_ADDRESS, TICK_INTERVAL};

/// Connections of one process, admitted or not; lowered at start when the process may not open that
/// many descriptors. The budget asks for 5,000 nodes.
pub const MAX_CONNECTIONS: usize = 8_192;

/// Everything a running gateway was told.
#[derive(Clone, Debug)]
pub struct GatewaySettings {
    /// The bind mode, for messages.
    pub bind: Bind,
    /// The configuration file; need not exist.
    pub config_file: PathBuf,
    /// `gateway.controlUi.dangerouslyDisableDeviceAuth`.
    pub control_ui_break_glass: bool,
    /// `gateway.controlUi.allowInsecureAuth`.
    pub control_ui_insecure: bool,
    /// The home of who runs it; below it no link is written through.
    pub home: Option<PathBuf>,
    /// Where to listen; the first address must work, the others are tried.
    pub listen: Vec<IpAddr>,
    /// Sockets that are not admitted.
    pub arrivals: ArrivalLimits,
    /// Connections of one source without hello at the same time.
    pub max_preauth: usize,
    /// `OPENCLAW_ALLOW_MULTI_GATEWAY`: no lock on the configuration file, only on the state directory.
    pub multi_gateway: bool,
    /// The port; 0 lets the system choose.
    pub port: u16,
    /// What may change while it runs, as it is at the start.
    pub rules: Rules,
    /// The state directory.
    pub state_dir: PathBuf,
    /// The program that confirms Tailscale identities; absent when they are not accepted.
    pub tailscale: Option<Program>,
    /// For temporary files and locks.
    pub temp_dir: PathBuf,
    /// Between two ticks.
    pub tick_interval: Duration,
    /// TLS on the port; `None` is plaintext.
    pub tls: Option<TlsSettings>,
}

impl GatewaySettings {
    /// A gateway on loopback with every default: for embedding and tests. The port is chosen by the
    /// system.
    pub fn local(state_dir: PathBuf, auth: SharedAuth) -> Self {
        Self {
            arrivals: ArrivalLimits::new(MAX_CONNECTIONS),
            bind: Bind::Loopback,
            config_file: state_dir.join("openclaw.json"),
            control_ui_break_glass: false,
            control_ui_insecure: false,
            home: None,
            listen: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
            max_preauth: MAX_PREAUTH_SOCKETS_PER_ADDRESS,
            multi_gateway: false,
            port: 0,
            rules: Rules::local(auth),
            tailscale: None,
            temp_dir: state_dir.join("tmp"),
            state_dir,
            tick_interval: TICK_INTERVAL,
            tls: None,
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

/// The addresses of a bind mode. `tailnet` are this host's tailnet addresses, if it has any. A mode that
/// does not cover loopback gets it too, because everything on this host talks to loopback.
pub fn addresses(
    bind: Bind,
    custom: Option<&str>,
    tailnet: impl IntoIterator<Item = IpAddr>,
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
    tailnet: Vec<IpAddr>,
) -> Result<GatewaySettings, StartError> {
    let gateway = &loaded.config.gateway;
    let bind = flags.bind.unwrap_or(gateway.bind);
    Ok(GatewaySettings {
        arrivals: ArrivalLimits::new(MAX_CONNECTIONS),
        bind,
        config_file: paths.config_file.clone(),
        control_ui_break_glass: gateway.control_ui.device_auth_disabled,
        control_ui_insecure: gateway.control_ui.insecure_auth_allowed,
        home: Some(paths.home.clone()),
        listen: addresses(bind, gateway.custom_bind_host.as_deref(), tailnet)?,
        max_preauth: max_preauth(&loaded.environment),
        multi_gateway: loaded.environment.allow_multi_gateway(),
        port: flags.port.unwrap_or(gateway.port),
        rules: Rules::of(&loaded.config, auth, Advertising::of(loaded, paths)),
        state_dir: paths.state_dir.clone(),
        tailscale: tailscale(loaded, paths, flags),
        temp_dir: paths.temp_dir.clone(),
        tick_interval: TICK_INTERVAL,
        tls: gateway.tls.enabled.then(|| TlsSettings {
            auto_generate: gateway.tls.auto_generate,
            paths: gateway.tls.files(&paths.state_dir),
        }),
    })
}

/// How Tailscale identities are confirmed, where they are accepted: on demand, and where Tailscale serves.
fn tailscale(loaded: &Loaded, paths: &Paths, flags: &RunFlags) -> Option<Program> {
    let serves = || tailscale_mode(&loaded.config, flags) == TailscaleMode::Serve;
    let allowed = loaded.config.gateway.auth.allow_tailscale;
    allowed.unwrap_or_else(serves).then(|| Program {
        search_path: loaded.environment.search_path(),
        home: paths.home.clone(),
    })
}

fn max_preauth(environment: &Environment) -> usize {
    environment
        .max_preauth_per_ip()
        .unwrap_or(MAX_PREAUTH_SOCKETS_PER_ADDRESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bind_mode_covers_loopback() {
        let tailnet: IpAddr = "100.64.1.2".parse().unwrap();
        for (bind, custom, tailnet, expected) in [
            (Bind::Loopback, None, None, &["127.0.0.1", "::1"][..]),
            (Bind::Auto, None, Some(tailnet), &["127.0.0.1", "::1"]),
            (Bind::Lan, None, None, &["0.0.0.0"]),
            (
                Bind::Tailnet,
                None,
                Some(tailnet),
                &["100.64.1.2", "127.0.0.1", "::1"],
            ),
            (Bind::Tailnet, None, None, &["127.0.0.1", "::1"]),
            (
                Bind::Custom,
                Some("192.0.2.7"),
                None,
                &["192.0.2.7", "127.0.0.1"],
            ),
            (Bind::Custom, Some("127.0.0.9"), None, &["127.0.0.9"]),
            (Bind::Custom, Some("0.0.0.0"), None, &["0.0.0.0"]),
        ] {
            let found = addresses(bind, custom, tailnet).unwrap();
            let found: Vec<String> = found.iter().map(ToString::to_string).collect();
            assert_eq!(found, expected, "{bind} {custom:?}");
        }
        for custom in [None, Some(""), Some("localhost"), Some("::1")] {
            assert_eq!(
                addresses(Bind::Custom, custom, None),
                Err(StartError::CustomHostMissing)
            );
        }
    }
}
