//! Which gateway and which credentials, decided by one table (cli.md §1.2, node-host §1.4).
//!
//! Pure: everything that could decide comes in as [`Sources`]. What cannot be resolved where it would win is an error;
//! nothing falls through to a weaker source.

use std::fmt;
use std::path::PathBuf;

use crate::client::resolve_error::ResolveError;
use crate::client::ssh::SshTarget;
use crate::client::target::{GatewayUrl, UrlSource};
use crate::client::tunnel::Tunnel;
use crate::config::Secret;
use crate::config::word::AuthMode;
use crate::identity::Fingerprint;
use crate::net::Trust;

/// Who asks, which changes the order of the sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A command of an operator.
    Command,
    /// A machine that joins a gateway: no secret of the configuration, which was written for another one.
    Join,
    /// The node host: never `gateway.remote.*` in local mode.
    NodeHost,
    /// A status probe: no local secret goes to a remote target.
    Probe,
}

/// Everything that may name a gateway or a credential.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// `--url`.
    pub flag_url: Option<String>,
    /// `--token`.
    pub flag_token: Option<String>,
    /// `--password`.
    pub flag_password: Option<String>,
    /// `--tls-fingerprint` of a command.
    pub flag_pin: Option<Fingerprint>,
    /// `--ssh`.
    pub flag_ssh: Option<SshTarget>,
    /// `OPENCLAW_GATEWAY_URL`.
    pub environment_url: Option<String>,
    /// `OPENCLAW_GATEWAY_TOKEN`.
    pub environment_token: Option<String>,
    /// `OPENCLAW_GATEWAY_PASSWORD`.
    pub environment_password: Option<String>,
    /// Host, port and TLS of the node host; replaces the URL sources.
    pub node_host: Option<GatewayUrl>,
    /// The node host joins with a setup code or join key: no secret of the configuration is for that gateway.
    pub invited: bool,
    /// `gateway.mode` is `remote`.
    pub remote: bool,
    /// Port of the local gateway after all overrides.
    pub local_port: u16,
    /// The local gateway speaks TLS.
    pub local_tls: bool,
    /// `gateway.remote.url`.
    pub remote_url: Option<String>,
    /// `gateway.remote.transport` is written down and is `ssh`.
    pub remote_over_ssh: bool,
    /// `gateway.remote.sshTarget`.
    pub remote_ssh_target: Option<String>,
    /// `gateway.remote.sshIdentity`.
    pub remote_ssh_identity: Option<PathBuf>,
    /// `gateway.remote.tlsFingerprint`, or the node host's pin.
    pub pin: Option<Fingerprint>,
    /// The certificate of the gateway of this state directory.
    pub local_pin: Option<Fingerprint>,
    /// `SSL_CERT_FILE`: the authorities to trust instead of the machine's.
    pub authorities: Option<PathBuf>,
    /// `gateway.auth.mode`, when set.
    pub auth_mode: Option<AuthMode>,
    /// `gateway.auth.token`.
    pub auth_token: Secret,
    /// `gateway.auth.password`.
    pub auth_password: Secret,
    /// `gateway.remote.token`.
    pub remote_token: Secret,
    /// `gateway.remote.password`.
    pub remote_password: Secret,
    /// Content of `<state>/gateway-token`: the token a gateway generated and may not write to the configuration.
    pub generated_token: Option<String>,
    /// This process was started as the gateway's service.
    pub gateway_service: bool,
    /// The configuration file, for messages.
    pub config_file: PathBuf,
}

/// Where one credential came from. Display is the word reported to people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CredentialSource {
    /// `gateway.auth.token` or `.password`.
    Auth(&'static str),
    /// `OPENCLAW_GATEWAY_TOKEN` or `_PASSWORD`.
    Environment(&'static str),
    /// `--token` or `--password`.
    Flag(&'static str),
    /// `<state>/gateway-token`.
    Generated,
    /// `gateway.remote.token` or `.password`.
    Remote(&'static str),
}

/// A secret and where it came from.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// The secret, trimmed, never empty.
    pub value: String,
    /// Who named it.
    pub source: CredentialSource,
}

/// The shared secrets to authenticate with; both absent when a device token has to do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// Shared token.
    pub token: Option<Credential>,
    /// Shared password.
    pub password: Option<Credential>,
}

/// Where to connect and with what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The gateway.
    pub url: GatewayUrl,
    /// Who named it.
    pub source: UrlSource,
    /// The login through which it is reached, instead of the addresses of the URL. Everything else is as the URL says.
    pub via: Option<Tunnel>,
    /// Shared secrets.
    pub credentials: Credentials,
    /// The one certificate to trust.
    pub pin: Option<Fingerprint>,
    /// Without a pin: a file of authorities to trust instead of the machine's.
    pub authorities: Option<PathBuf>,
}

impl Credentials {
    /// Whether `--token` or `--password` named them: then exactly those are used (cli.md §1.2).
    pub fn is_typed(&self) -> bool {
        [&self.token, &self.password]
            .into_iter()
            .flatten()
            .any(|credential| matches!(credential.source, CredentialSource::Flag(_)))
    }

    /// Whether there is any shared secret.
    pub fn any(&self) -> bool {
        self.token.is_some() || self.password.is_some()
    }
}

impl Endpoint {
    /// Whether this is the gateway of this machine, named by nobody: only then local rules apply.
    pub fn is_local(&self) -> bool {
        self.source == UrlSource::Local
    }

    /// Whether the configuration names it, rather than an option or variable of this run.
    pub fn is_configured(&self) -> bool {
        matches!(self.source, UrlSource::Local | UrlSource::Remote)
    }

    /// Whether the gateway sees a connection of its own machine.
    pub fn arrives_at_home(&self) -> bool {
        self.url.is_loopback() || self.via.is_some()
    }

    /// Whether a device token may be shown to it beside a refused secret: loopback, there or here, or pinned TLS.
    pub fn is_trusted(&self) -> bool {
        self.arrives_at_home() || (self.url.secure && self.pin.is_some())
    }

    /// What it is called: the URL, and the way when that is not the URL's own. Device tokens are kept by this name.
    pub fn name(&self) -> String {
        match &self.via {
            Some(tunnel) => format!("{} through {tunnel}", self.url),
            None => self.url.to_string(),
        }
    }

    /// Whose certificate is trusted: the pin's alone, else what the authorities vouch for.
    pub fn trust(&self) -> Trust {
        match self.pin {
            Some(pin) => Trust::Pin(pin),
            None => Trust::Authorities(self.authorities.clone()),
        }
    }
}

/// Applies the table.
///
/// # Errors
/// [`ResolveError`]; no connection is to be made then.
pub fn resolve(sources: &Sources, purpose: Purpose) -> Result<Endpoint, ResolveError> {
    let (url, source) = target(sources, purpose)?;
    let credentials = Credentials {
        token: pick(sources, purpose, source, &TOKEN)?,
        password: pick(sources, purpose, source, &PASSWORD)?,
    };
    let explicit = matches!(source, UrlSource::Flag | UrlSource::Environment);
    if explicit && !credentials.any() {
        return Err(ResolveError::CredentialsMissing {
            source,
            config: sources.config_file.clone(),
        });
    }
    let kept = match source {
        UrlSource::Join | UrlSource::NodeHost | UrlSource::Remote => sources.pin,
        UrlSource::Local => sources.local_pin.filter(|_| url.secure),
        UrlSource::Flag | UrlSource::Environment | UrlSource::Ssh => None,
    };
    let pin = sources.flag_pin.or(kept);
    if pin.is_some() && !url.secure {
        return Err(ResolveError::PinWithoutTls {
            url: url.to_string(),
            source,
        });
    }
    Ok(Endpoint {
        via: tunnel(sources, &url, source)?,
        url,
        source,
        credentials,
        pin,
        authorities: sources.authorities.clone(),
    })
}

fn target(sources: &Sources, purpose: Purpose) -> Result<(GatewayUrl, UrlSource), ResolveError> {
    let parse = |text: &str, source| {
        GatewayUrl::parse(text)
            .map(|url| (url, source))
            .map_err(|fault| ResolveError::Url {
                url: text.to_owned(),
                source,
                fault,
            })
    };
    let node_source = match purpose {
        Purpose::Join => Some(UrlSource::Join),
        Purpose::NodeHost => Some(UrlSource::NodeHost),
        Purpose::Command | Purpose::Probe => None,
    };
    if let Some(source) = node_source {
        let local = || GatewayUrl::new("127.0.0.1", sources.local_port, sources.local_tls);
        return Ok((sources.node_host.clone().unwrap_or_else(local), source));
    }
    if let Some(url) = given(&sources.flag_url) {
        return parse(url, UrlSource::Flag);
    }
    if let Some(url) = given(&sources.environment_url) {
        return parse(url, UrlSource::Environment);
    }
    // At the other end of a login the gateway is where it is on its own machine; only a pin tells of TLS there.
    let there = |pin: Option<Fingerprint>| {
        let tls = pin.or(sources.flag_pin).is_some();
        GatewayUrl::new("127.0.0.1", sources.local_port, tls)
    };
    if sources.remote {
        return match given(&sources.remote_url) {
            Some(url) => parse(url, UrlSource::Remote),
            None if sources.remote_over_ssh || sources.flag_ssh.is_some() => {
                Ok((there(sources.pin), UrlSource::Remote))
            }
            None => Err(ResolveError::RemoteUrlMissing {
                config: sources.config_file.clone(),
            }),
        };
    }
    if sources.flag_ssh.is_some() {
        return Ok((there(None), UrlSource::Ssh));
    }
    let url = GatewayUrl::new("127.0.0.1", sources.local_port, sources.local_tls);
    Ok((url, UrlSource::Local))
}

/// The login through which the gateway is reached: the one that was typed, else the one of the configuration for
/// the gateway that the configuration means.
fn tunnel(
    sources: &Sources,
    url: &GatewayUrl,
    source: UrlSource,
) -> Result<Option<Tunnel>, ResolveError> {
    let meant = match source {
        UrlSource::Remote => true,
        // A node host that was given no other address: here there is no gateway.
        UrlSource::NodeHost => sources.remote && url.is_loopback(),
        UrlSource::Environment
        | UrlSource::Flag
        | UrlSource::Join
        | UrlSource::Local
        | UrlSource::Ssh => false,
    };
    let configured = || {
        let text = given(&sources.remote_ssh_target);
        let target = text.and_then(|text| SshTarget::parse(text).ok());
        target.ok_or_else(|| ResolveError::SshTarget {
            text: text.map(str::to_owned),
            config: sources.config_file.clone(),
        })
    };
    let target = match &sources.flag_ssh {
        Some(typed) => typed.clone(),
        None if meant && sources.remote_over_ssh => configured()?,
        None => return Ok(None),
    };
    Ok(Some(Tunnel {
        target,
        identity: sources.remote_ssh_identity.clone().filter(|_| meant),
        port: url.port,
    }))
}

/// The names and sources of one of the two credentials.
struct Kind {
    flag: fn(&Sources) -> &Option<String>,
    environment: fn(&Sources) -> &Option<String>,
    auth: fn(&Sources) -> &Secret,
    remote: fn(&Sources) -> &Secret,
    names: [&'static str; 4],
    /// Modes in which an unavailable secret of this kind could not have been used anyway.
    irrelevant: &'static [AuthMode],
    token: bool,
}

const TOKEN: Kind = Kind {
    flag: |sources| &sources.flag_token,
    environment: |sources| &sources.environment_token,
    auth: |sources| &sources.auth_token,
    remote: |sources| &sources.remote_token,
    names: [
        "--token",
        "OPENCLAW_GATEWAY_TOKEN",
        "gateway.auth.token",
        "gateway.remote.token",
    ],
    irrelevant: &[AuthMode::None, AuthMode::Password, AuthMode::TrustedProxy],
    token: true,
};

const PASSWORD: Kind = Kind {
    flag: |sources| &sources.flag_password,
    environment: |sources| &sources.environment_password,
    auth: |sources| &sources.auth_password,
    remote: |sources| &sources.remote_password,
    names: [
        "--password",
        "OPENCLAW_GATEWAY_PASSWORD",
        "gateway.auth.password",
        "gateway.remote.password",
    ],
    irrelevant: &[AuthMode::None, AuthMode::Token],
    token: false,
};

/// One step of an order of sources.
#[derive(Clone, Copy)]
enum Step {
    Auth,
    Environment,
    Generated,
    Remote,
}

/// The order of sources for one credential; the rows of the table.
fn order(sources: &Sources, purpose: Purpose, source: UrlSource, kind: &Kind) -> &'static [Step] {
    use Step::{Auth, Environment, Generated, Remote};
    let proxied = sources.auth_mode == Some(AuthMode::TrustedProxy);
    let elsewhere = sources.invited || sources.flag_ssh.is_some();
    // What the gateway of this machine made for itself goes no further than this machine.
    let here = sources.node_host.as_ref();
    let here = here.is_none_or(GatewayUrl::is_loopback);
    match (purpose, source) {
        (_, UrlSource::Flag | UrlSource::Ssh) => &[],
        (_, UrlSource::Environment) => &[Environment],
        (Purpose::Join, _) => &[Environment],
        (Purpose::NodeHost, _) if elsewhere => &[Environment],
        (Purpose::NodeHost, _) if sources.remote => &[Environment, Remote, Auth],
        (Purpose::NodeHost, _) if kind.token && here => &[Environment, Auth, Generated],
        (Purpose::NodeHost, _) => &[Environment, Auth],
        (Purpose::Probe, UrlSource::Remote) => &[Remote],
        (_, UrlSource::Remote) if kind.token => &[Remote, Environment, Auth],
        (_, UrlSource::Remote) => &[Environment, Remote, Auth],
        (_, _) if kind.token && sources.gateway_service => &[Auth, Environment, Remote, Generated],
        (_, _) if kind.token => &[Environment, Auth, Remote, Generated],
        (_, _) if proxied => &[Environment, Auth],
        (_, _) => &[Environment, Auth, Remote],
    }
}

/// The first source that has this credential.
fn pick(
    sources: &Sources,
    purpose: Purpose,
    source: UrlSource,
    kind: &Kind,
) -> Result<Option<Credential>, ResolveError> {
    let [flag_name, environment_name, auth_name, remote_name] = kind.names;
    let credential = |value: &str, source| {
        Some(Credential {
            value: value.to_owned(),
            source,
        })
    };
    if given(&sources.flag_token).is_some() || given(&sources.flag_password).is_some() {
        let value = given((kind.flag)(sources));
        return Ok(value.and_then(|value| credential(value, CredentialSource::Flag(flag_name))));
    }
    for step in order(sources, purpose, source, kind) {
        let (secret, from) = match step {
            Step::Environment => {
                let from = CredentialSource::Environment(environment_name);
                (known(given((kind.environment)(sources))), from)
            }
            Step::Generated => (
                known(given(&sources.generated_token)),
                CredentialSource::Generated,
            ),
            Step::Auth => (
                (kind.auth)(sources).clone(),
                CredentialSource::Auth(auth_name),
            ),
            Step::Remote => (
                (kind.remote)(sources).clone(),
                CredentialSource::Remote(remote_name),
            ),
        };
        match secret {
            Secret::Absent => {}
            Secret::Plain(value) => return Ok(credential(&value, from)),
            Secret::Unavailable { .. } if irrelevant(sources, *step, kind) => {}
            Secret::Unavailable { path, why } => {
                return Err(ResolveError::SecretUnavailable {
                    path,
                    why,
                    variable: environment_name,
                });
            }
        }
    }
    Ok(None)
}

/// Whether `gateway.auth.mode` says that a secret of this kind is not used at all.
fn irrelevant(sources: &Sources, step: Step, kind: &Kind) -> bool {
    matches!(step, Step::Auth)
        && sources
            .auth_mode
            .is_some_and(|mode| kind.irrelevant.contains(&mode))
}

fn known(value: Option<&str>) -> Secret {
    value.map_or(Secret::Absent, |value| Secret::Plain(value.to_owned()))
}

/// A value that is really there: trimmed, not empty.
fn given(value: &Option<String>) -> Option<&str> {
    value
        .as_deref()
        .map(str::trim)
        .filter(|value| !value.is_empty())
}

impl fmt::Debug for Credential {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Credential(*** from {})", self.source)
    }
}

impl fmt::Display for CredentialSource {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CredentialSource::Auth(name) | CredentialSource::Remote(name) => {
                write!(out, "config {name}")
            }
            CredentialSource::Environment(name) => write!(out, "env {name}"),
            CredentialSource::Flag(name) => write!(out, "cli {name}"),
            CredentialSource::Generated => write!(out, "state directory gateway-token"),
        }
    }
}

#[cfg(test)]
mod tests;
