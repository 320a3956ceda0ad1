//! Gathers what may name a gateway and its credentials: options, environment, configuration, the generated token.

use crate::client::credentials::Sources;
use crate::client::ssh::SshTarget;
use crate::client::target::GatewayUrl;
use crate::config::environment::ServiceKind;
use crate::config::word::{GatewayMode, RemoteTransport};
use crate::config::{Loaded, Paths};
use crate::identity::Fingerprint;
use crate::store::directory::read_optional;
use crate::store::error::StoreError;
use crate::store::tls_files::TlsFileError;

/// What was typed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Typed<'a> {
    /// `--url`.
    pub url: Option<&'a str>,
    /// `--token`.
    pub token: Option<&'a str>,
    /// `--password`.
    pub password: Option<&'a str>,
    /// `--tls-fingerprint`.
    pub pin: Option<Fingerprint>,
    /// `--ssh`.
    pub ssh: Option<&'a SshTarget>,
}

impl Sources {
    /// Everything for an operator's command.
    ///
    /// # Errors
    /// When `<state>/gateway-token` or the gateway's own certificate exists and cannot be read.
    pub fn gather(typed: Typed<'_>, paths: &Paths, loaded: &Loaded) -> Result<Sources, StoreError> {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let gateway = &loaded.config.gateway;
        let environment = &loaded.environment;
        Ok(Sources {
            flag_url: owned(typed.url),
            flag_token: owned(typed.token),
            flag_password: owned(typed.password),
            flag_pin: typed.pin,
            flag_ssh: typed.ssh.cloned(),
            environment_url: owned(environment.gateway_url()),
            environment_token: owned(environment.gateway_token()),
            environment_password: owned(environment.gateway_password()),
            node_host: None,
            invited: false,
            remote: gateway.mode == Some(GatewayMode::Remote),
            local_port: gateway.port,
            local_tls: gateway.tls.enabled,
            remote_url: gateway.remote.url.clone(),
            remote_over_ssh: gateway.remote.transport == Some(RemoteTransport::Ssh),
            remote_ssh_target: gateway.remote.ssh_target.clone(),
            remote_ssh_identity: gateway.remote.ssh_identity.clone(),
            pin: gateway.remote.tls_fingerprint,
            local_pin: local_pin(paths, loaded)?,
            authorities: environment.authorities().map(Into::into),
            auth_mode: gateway.auth.mode,
            auth_token: gateway.auth.token.clone(),
            auth_password: gateway.auth.password.clone(),
            remote_token: gateway.remote.token.clone(),
            remote_password: gateway.remote.password.clone(),
            generated_token: read_optional(&paths.gateway_token_file())?,
            gateway_service: environment.service_kind() == Some(ServiceKind::Gateway),
            config_file: paths.config_file.clone(),
        })
    }

    /// Everything for a node host that connects to `url`, with its own certificate pin, through `ssh` when that
    /// was typed.
    ///
    /// # Errors
    /// As [`Sources::gather`].
    pub fn for_node_host(
        url: GatewayUrl,
        pin: Option<Fingerprint>,
        ssh: Option<&SshTarget>,
        paths: &Paths,
        loaded: &Loaded,
    ) -> Result<Sources, StoreError> {
        let typed = Typed {
            ssh,
            ..Typed::default()
        };
        let mut sources = Sources::gather(typed, paths, loaded)?;
        sources.node_host = Some(url);
        sources.pin = pin;
        Ok(sources)
    }
}

/// The certificate of the gateway of this machine; `None` without TLS, and while there is none to pin.
fn local_pin(paths: &Paths, loaded: &Loaded) -> Result<Option<Fingerprint>, StoreError> {
    let gateway = &loaded.config.gateway;
    if !gateway.tls.enabled || gateway.mode == Some(GatewayMode::Remote) {
        return Ok(None);
    }
    match gateway.tls.files(&paths.state_dir).certificate() {
        Ok(own) => Ok(Some(own.fingerprint)),
        Err(TlsFileError::Store(fault)) => Err(fault),
        Err(_) => Ok(None),
    }
}
