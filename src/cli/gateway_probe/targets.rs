//! Which ways are tried, in their order, and with which secrets: none goes to a gateway that it is not for.

use std::path::PathBuf;

use crate::cli::error::{CliError, GatewayFailure};
use crate::cli::invocation::Invocation;
use crate::cli::reach;
use crate::client::sources::Typed;
use crate::client::ssh::SshTarget;
use crate::client::{
    ClientError, Endpoint, GatewayUrl, Purpose, ResolveError, Sources, Tunnel, UrlSource, resolve,
};
use crate::config::redact::without_login;
use crate::config::word::{GatewayMode, RemoteTransport};
use crate::config::{Loaded, Paths, Secret};
use crate::discovery::Found;
use crate::discovery::selection::offers;
use crate::service::Account;

/// One way. The order of the variants is the order of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `--url`, or `OPENCLAW_GATEWAY_URL`.
    Explicit,
    /// A login on the gateway's host.
    SshTunnel,
    /// `gateway.remote.url`.
    ConfigRemote,
    /// The gateway of this machine.
    LocalLoopback,
}

/// A way and where it leads.
#[derive(Debug)]
pub struct Target {
    /// Which way.
    pub kind: Kind,
    /// The URL, known even where it cannot be tried.
    pub url: String,
    /// Whether commands of this configuration would go there.
    pub active: bool,
    /// Where and with what, or why not.
    pub endpoint: Result<Endpoint, Unusable>,
}

/// Why a way cannot be tried.
#[derive(Debug)]
pub struct Unusable {
    /// The first line of the reason.
    pub text: String,
    /// A secret is configured and cannot be had.
    pub secret: bool,
}

impl Kind {
    /// The word in JSON; every way is tried once, so it names the target too.
    pub fn id(self) -> &'static str {
        match self {
            Kind::Explicit => "explicit",
            Kind::SshTunnel => "sshTunnel",
            Kind::ConfigRemote => "configRemote",
            Kind::LocalLoopback => "localLoopback",
        }
    }
}

impl Target {
    /// What people read before the URL.
    pub fn label(&self) -> &'static str {
        match (self.kind, self.active) {
            (Kind::Explicit, _) => "URL (explicit)",
            (Kind::SshTunnel, _) => "SSH tunnel",
            (Kind::ConfigRemote, true) => "Remote (configured)",
            (Kind::ConfigRemote, false) => "Remote (configured, inactive)",
            (Kind::LocalLoopback, _) => "Local loopback",
        }
    }

    /// The login of the way.
    pub fn tunnel(&self) -> Option<&Tunnel> {
        self.endpoint.as_ref().ok()?.via.as_ref()
    }
}

/// The ways that this machine knows. `found`: where `--ssh-auto` may log in.
///
/// # Errors
/// A URL without credentials, an SSH target that is none, an unusable state directory.
pub fn targets(
    invocation: &Invocation,
    paths: &Paths,
    loaded: &Loaded,
    found: &[Found],
) -> Result<Vec<Target>, CliError> {
    let typed_ssh = reach::ssh(invocation)?;
    let pin = reach::pin(invocation)?;
    let login = typed_ssh.is_some() || invocation.has("ssh-auto");
    let configured = loaded.config.gateway.remote.ssh_target.is_some();
    if invocation.has("ssh-identity") && !login && !configured {
        let text = "--ssh-identity is the key of a login: name it with --ssh, --ssh-auto or gateway.remote.sshTarget.";
        return Err(CliError::rule(text));
    }
    let mut targets = Vec::new();
    let remote = &loaded.config.gateway.remote;
    let remote_mode = loaded.config.gateway.mode == Some(GatewayMode::Remote);
    let all = Sources::gather(
        Typed {
            url: invocation.value("url"),
            token: invocation.value("token"),
            password: invocation.value("password"),
            pin,
            ssh: None,
        },
        paths,
        loaded,
    )?;
    let named = all.flag_url.is_some() || all.environment_url.is_some();
    if named {
        let endpoint = resolve(&all, Purpose::Probe);
        let endpoint =
            endpoint.map_err(|error| CliError::from(GatewayFailure::nowhere(error.into())))?;
        targets.push(made(Kind::Explicit, true, String::new(), Ok(endpoint)));
    }
    // What was typed is for the gateway that was named, and for every way where none was.
    let given = Sources {
        flag_url: None,
        environment_url: None,
        ..all
    };
    let others = match named || typed_ssh.is_some() {
        false => given.clone(),
        true => Sources {
            flag_token: None,
            flag_password: None,
            flag_pin: None,
            ..given.clone()
        },
    };
    let configured = remote.ssh_target.as_deref();
    let over_ssh = remote_mode && remote.transport == Some(RemoteTransport::Ssh);
    if let Some(typed) = typed_ssh {
        targets.push(tunnelled(invocation, loaded, (typed, true), given));
    } else if let Some(text) = configured {
        let sources = Sources {
            remote: true,
            ..others.clone()
        };
        targets.push(match SshTarget::parse(text) {
            Ok(target) => tunnelled(invocation, loaded, (target, over_ssh), sources),
            Err(fault) => {
                let text = format!("gateway.remote.sshTarget: {fault}");
                let secret = false;
                let url = String::new();
                made(
                    Kind::SshTunnel,
                    over_ssh,
                    url,
                    Err(Unusable { text, secret }),
                )
            }
        });
    } else if let Some((target, tls)) = automatic(invocation, found) {
        let mut made = tunnelled(
            invocation,
            loaded,
            (target, false),
            without_secrets(&others),
        );
        if let Ok(endpoint) = &mut made.endpoint {
            endpoint.url.secure |= tls;
            made.url = endpoint.url.to_string();
        }
        targets.push(made);
    }
    if let Some(url) = &remote.url {
        let sources = Sources {
            remote: true,
            remote_over_ssh: false,
            ..others.clone()
        };
        targets.push(tried(
            Kind::ConfigRemote,
            remote_mode,
            without_login(url).into_owned(),
            &sources,
        ));
    }
    // In remote mode no secret is for whoever listens here.
    let sources = match remote_mode {
        true => without_secrets(&others),
        false => others,
    };
    let url = GatewayUrl::new("127.0.0.1", sources.local_port, sources.local_tls).to_string();
    let mut local = tried(Kind::LocalLoopback, !remote_mode, url, &sources);
    if let (true, Ok(endpoint)) = (remote_mode, &mut local.endpoint) {
        // Nor is a device token that does not say whose it is: the configuration names another gateway.
        endpoint.source = UrlSource::Flag;
    }
    targets.push(local);
    Ok(targets)
}

/// The same way of local mode without a secret: nobody named that gateway.
fn without_secrets(sources: &Sources) -> Sources {
    Sources {
        flag_token: None,
        flag_password: None,
        environment_token: None,
        environment_password: None,
        auth_token: Secret::Absent,
        auth_password: Secret::Absent,
        remote_token: Secret::Absent,
        remote_password: Secret::Absent,
        generated_token: None,
        remote: false,
        ..sources.clone()
    }
}

/// The gateway at the other end of a login, and whether commands go there.
fn tunnelled(
    invocation: &Invocation,
    loaded: &Loaded,
    (target, active): (SshTarget, bool),
    sources: Sources,
) -> Target {
    let sources = Sources {
        flag_ssh: Some(target),
        ..sources
    };
    let mut made = tried(Kind::SshTunnel, active, String::new(), &sources);
    if let Ok(Endpoint {
        via: Some(tunnel), ..
    }) = &mut made.endpoint
    {
        let typed = invocation.text("ssh-identity").map(PathBuf::from);
        tunnel.identity = typed.or(loaded.config.gateway.remote.ssh_identity.clone());
    }
    made
}

/// `--ssh-auto`: this user at the first gateway that was found, and whether that says it speaks TLS. Only a host whose
/// key is known lets anybody in.
fn automatic(invocation: &Invocation, found: &[Found]) -> Option<(SshTarget, bool)> {
    let offer = offers(found)
        .next()
        .filter(|_| invocation.has("ssh-auto"))?;
    let user = Account::own()?.name;
    let host = match offer.url.host.contains(':') {
        true => format!("[{}]", offer.url.host),
        false => offer.url.host.clone(),
    };
    let port = offer.found.hint("sshPort").unwrap_or("22");
    let target = SshTarget::parse(&format!("{user}@{host}:{port}")).ok()?;
    Some((target, offer.found.says_tls()))
}

fn tried(kind: Kind, active: bool, url: String, sources: &Sources) -> Target {
    let endpoint = resolve(sources, Purpose::Probe).map_err(|error| Unusable {
        secret: matches!(error, ResolveError::SecretUnavailable { .. }),
        text: first_line(error),
    });
    made(kind, active, url, endpoint)
}

fn made(kind: Kind, active: bool, url: String, endpoint: Result<Endpoint, Unusable>) -> Target {
    Target {
        url: match &endpoint {
            Ok(endpoint) => endpoint.url.to_string(),
            Err(_) => url,
        },
        kind,
        active,
        endpoint,
    }
}

fn first_line(error: ResolveError) -> String {
    let text = ClientError::from(error).to_string();
    text.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::invocation;
    use crate::config::testing::Home;

    /// Kind, label, URL, way and token of each target.
    fn listed(config: &str, typed: &[&str], found: &[Found]) -> Vec<String> {
        let home = Home::new(config);
        let loaded = home.load().unwrap();
        let line = [&["gateway", "probe"], typed].concat();
        let invocation = invocation(&home, &line).unwrap();
        let targets = targets(&invocation, &home.paths, &loaded, found);
        let shown = targets
            .unwrap()
            .into_iter()
            .map(|target| match &target.endpoint {
                Ok(endpoint) => {
                    let token = endpoint.credentials.token.as_ref();
                    let token = token.map_or("-", |token| &token.value);
                    let configured = target.kind == Kind::LocalLoopback && endpoint.is_local();
                    let whose = if configured { " of its own" } else { "" };
                    format!(
                        "{}: {} with {token}{whose}",
                        target.label(),
                        endpoint.name()
                    )
                }
                Err(why) => format!("{}: {}", target.label(), why.text),
            });
        shown.collect()
    }

    const REMOTE: &str =
        "remote: {url: 'wss://far.example:9', token: 'remote-t', sshTarget: 'pi@far'}";

    #[test]
    fn targets_come_in_their_order_and_no_secret_goes_astray() {
        let local = "gateway: {mode: 'local', port: 19000, auth: {token: 'auth-t'}";
        let both = format!("{{{local}, {REMOTE}}}}}");
        let remote =
            format!("{{gateway: {{mode: 'remote', {REMOTE}, auth: {{token: 'auth-t'}}}}}}");
        let config = format!("{{{local}}}}}");
        let cases: &[(&str, &[&str], &[&str])] = &[
            (
                &config,
                &[],
                &["Local loopback: ws://127.0.0.1:19000 with auth-t of its own"],
            ),
            (
                &config,
                &["--token", "typed"],
                &["Local loopback: ws://127.0.0.1:19000 with typed of its own"],
            ),
            (
                &config,
                &["--url", "wss://x:1", "--token", "typed"],
                &[
                    "URL (explicit): wss://x:1 with typed",
                    "Local loopback: ws://127.0.0.1:19000 with auth-t of its own",
                ],
            ),
            (
                &config,
                &["--ssh", "pi@gw", "--token", "typed"],
                &[
                    "SSH tunnel: ws://127.0.0.1:19000 through ssh pi@gw with typed",
                    "Local loopback: ws://127.0.0.1:19000 with auth-t of its own",
                ],
            ),
            (
                &config,
                &["--ssh", "pi@gw"],
                &[
                    "SSH tunnel: ws://127.0.0.1:19000 through ssh pi@gw with -",
                    "Local loopback: ws://127.0.0.1:19000 with auth-t of its own",
                ],
            ),
            (
                &both,
                &["--url", "wss://x:1", "--token", "typed"],
                &[
                    "URL (explicit): wss://x:1 with typed",
                    "SSH tunnel: wss://far.example:9 through ssh pi@far with remote-t",
                    "Remote (configured, inactive): wss://far.example:9 with remote-t",
                    "Local loopback: ws://127.0.0.1:19000 with auth-t of its own",
                ],
            ),
            (
                &remote,
                &[],
                &[
                    "SSH tunnel: wss://far.example:9 through ssh pi@far with remote-t",
                    "Remote (configured): wss://far.example:9 with remote-t",
                    "Local loopback: ws://127.0.0.1:18789 with -",
                ],
            ),
            (
                &remote,
                &["--token", "typed"],
                &[
                    "SSH tunnel: wss://far.example:9 through ssh pi@far with typed",
                    "Remote (configured): wss://far.example:9 with typed",
                    "Local loopback: ws://127.0.0.1:18789 with -",
                ],
            ),
        ];
        for (config, typed, expected) in cases {
            assert_eq!(listed(config, typed, &[]), *expected, "{config} {typed:?}");
        }
    }

    #[test]
    fn a_login_of_its_own_goes_to_the_first_gateway_that_can_be_reached() {
        let found = [
            Found::new(
                b"A",
                "local.",
                "a.local.",
                1,
                ["8.8.8.8:1".parse().unwrap()],
                [],
            ),
            Found::new(
                b"B",
                "local.",
                "b.local.",
                1,
                ["192.168.1.7:1".parse().unwrap()],
                [("sshPort", &b"2222"[..]), ("lanHost", b"evil.local")],
            ),
        ];
        let user = Account::own().unwrap().name;
        let expected =
            format!("SSH tunnel: ws://127.0.0.1:18789 through ssh {user}@192.168.1.7:2222 with -");
        let remote =
            "{gateway: {mode: 'remote', remote: {url: 'wss://far.example:9', token: 'remote-t'}}}";
        for (config, typed) in [
            ("{}", &["--ssh-auto"][..]),
            (remote, &["--ssh-auto"]),
            (remote, &["--ssh-auto", "--token", "typed"]),
        ] {
            assert_eq!(listed(config, typed, &found)[0], expected, "{config}");
        }
        assert_eq!(listed("{}", &[], &found).len(), 1);
        let tls = Found::new(
            b"C",
            "local.",
            "c.local.",
            1,
            ["192.168.1.8:1".parse().unwrap()],
            [("gatewayTls", &b"1"[..])],
        );
        let expected =
            format!("SSH tunnel: wss://127.0.0.1:18789 through ssh {user}@192.168.1.8:22 with -");
        assert_eq!(listed("{}", &["--ssh-auto"], &[tls])[0], expected);
        assert_eq!(listed("{}", &["--ssh-auto"], &[]).len(), 1);
    }

    #[test]
    fn a_key_file_without_a_login_is_refused() {
        let refused = |config: &str, typed: &[&str]| {
            let home = Home::new(config);
            let line = [&["gateway", "probe", "--ssh-identity", "/k"], typed].concat();
            let invocation = invocation(&home, &line).unwrap();
            targets(&invocation, &home.paths, &home.load().unwrap(), &[]).err()
        };
        let error = refused("{}", &[]).unwrap();
        assert!(matches!(error, CliError::Usage(_)), "{error}");
        assert!(refused("{}", &["--ssh", "pi@gw"]).is_none());
        assert!(refused("{}", &["--ssh-auto"]).is_none());
        assert!(refused("{gateway: {remote: {sshTarget: 'pi@far'}}}", &[]).is_none());
    }
}
