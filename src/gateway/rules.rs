//! The part of the settings that may change while the gateway runs (cli.md §3.5, "hot").
//!
//! The value is replaced as a whole, and readers take it once per step, so that no step sees half of a
//! change. A connection comes in by several steps, and each takes the newest, so that what was withdrawn
//! meanwhile lets nobody in: where it comes from is settled when its head was read, what it proves at its
//! first frame, whether it belongs here after that. What admitted a session is asked once more when it can be
//! found (`Grounds::lost`). Whoever replaces the value carries out what the difference means for the live
//! sessions.

use std::time::Duration;

use crate::config::Config;
use crate::config::word::RemoteEdits;
use crate::gateway::advertising::Advertising;
use crate::gateway::auth::SharedAuth;
use crate::gateway::forwarded::ProxyTrust;
use crate::gateway::limits::AttemptPolicy;
use crate::gateway::origin::OriginPolicy;
use crate::gateway::shared_secret::Generation;
use crate::pairing::connect::AdmissionPolicy;
use crate::pairing::networks::Networks;
use crate::pairing::policy::CommandPolicy;
use crate::protocol::limits::HANDSHAKE_TIMEOUT;

/// What the gateway judges by at one moment.
#[derive(Clone, Debug)]
pub struct Rules {
    /// What was decided about joining in advance.
    pub admission: AdmissionPolicy,
    /// What the networks around are told; the gateway that begins fills in what only it knows.
    pub advertising: Advertising,
    /// When failed attempts lock out.
    pub attempts: AttemptPolicy,
    /// What every connection must prove.
    pub auth: SharedAuth,
    /// Which node commands the platform lists are changed by.
    pub commands: CommandPolicy,
    /// From accept to hello-ok.
    pub handshake_timeout: Duration,
    /// Whether figures are shown at `/metrics`.
    pub metrics: bool,
    /// Which browser origins may connect.
    pub origins: OriginPolicy,
    /// Whose forwarding headers count.
    pub proxies: ProxyTrust,
    /// What edits of this machine's exec policy may do that do not come from this machine.
    pub remote_edits: RemoteEdits,
    /// Of `auth`, kept because every request asks for it; [`Rules::sealed`] brings it up to date.
    generation: Option<Generation>,
}

impl Rules {
    /// Every default, with this secret.
    pub fn local(auth: SharedAuth) -> Self {
        Self {
            admission: AdmissionPolicy::default(),
            advertising: Advertising::none(),
            attempts: AttemptPolicy::default(),
            auth,
            commands: CommandPolicy::default(),
            handshake_timeout: HANDSHAKE_TIMEOUT,
            metrics: false,
            origins: OriginPolicy::default(),
            proxies: ProxyTrust::default(),
            remote_edits: RemoteEdits::default(),
            generation: None,
        }
        .sealed()
    }

    /// The rules of a configuration, once the shared secret is known.
    pub fn of(config: &Config, auth: SharedAuth, advertising: Advertising) -> Self {
        let gateway = &config.gateway;
        let proxies = ProxyTrust {
            identity_header: identity_header(&auth),
            networks: Networks::parse(&gateway.trusted_proxies),
            real_ip_fallback: gateway.allow_real_ip_fallback,
        };
        Self {
            admission: AdmissionPolicy {
                auto_approve: Networks::parse(&gateway.nodes.auto_approve_cidrs),
                pairing_enabled: gateway.nodes.pairing_enabled,
            },
            advertising,
            attempts: AttemptPolicy::of(&gateway.auth.rate_limit),
            auth,
            commands: CommandPolicy {
                allow: gateway.nodes.allow_commands.clone(),
                deny: gateway.nodes.deny_commands.clone(),
            },
            handshake_timeout: Duration::from_millis(gateway.handshake_timeout_ms),
            metrics: gateway.metrics_enabled,
            origins: OriginPolicy {
                allowed: gateway.control_ui.allowed_origins.clone(),
                host_header_fallback: gateway.control_ui.host_header_origin_fallback,
            },
            proxies,
            remote_edits: config.node_host.remote_edits,
            generation: None,
        }
        .sealed()
    }

    /// The same rules, fit to judge by: whoever puts them in force calls this, so that what follows from
    /// other parts cannot be stale.
    pub fn sealed(mut self) -> Self {
        self.generation = self.auth.generation();
        self
    }

    /// The generation of the shared secret (protocol.md §4.8).
    pub fn generation(&self) -> Option<Generation> {
        self.generation
    }
}

/// The header by which a proxy names its user, in the mode that has one.
fn identity_header(auth: &SharedAuth) -> Option<String> {
    match auth {
        SharedAuth::TrustedProxy(proxy) => Some(proxy.rule.user_header.trim().to_owned()),
        SharedAuth::None | SharedAuth::Password(_) | SharedAuth::Token(_) => None,
    }
}
