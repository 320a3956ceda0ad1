use super::*;

fn plain(value: &str) -> Secret {
    Secret::Plain(value.to_owned())
}

fn broken() -> Secret {
    Secret::Unavailable {
        path: "gateway.auth.token",
        why: "Environment variable \"X\" is missing or empty.".to_owned(),
    }
}

/// Every source filled, local mode.
fn full() -> Sources {
    let some = |text: &str| Some(text.to_owned());
    Sources {
        environment_token: some("env-t"),
        environment_password: some("env-p"),
        local_port: 18_789,
        remote_url: some("wss://gw.example"),
        pin: Some(Fingerprint::of(b"remote")),
        local_pin: Some(Fingerprint::of(b"local")),
        node_host: GatewayUrl::parse("wss://127.0.0.1:18789").ok(),
        auth_token: plain("auth-t"),
        auth_password: plain("auth-p"),
        remote_token: plain("remote-t"),
        remote_password: plain("remote-p"),
        generated_token: some("gen-t"),
        config_file: PathBuf::from("/c.json"),
        ..Sources::default()
    }
}

/// URL, source and both credentials in one line, or the first line of the error.
fn outcome(sources: &Sources, purpose: Purpose) -> String {
    match resolve(sources, purpose) {
        Ok(found) => {
            let show = |credential: &Option<Credential>| {
                credential
                    .as_ref()
                    .map_or("-".to_owned(), |found| found.value.clone())
            };
            let pins = [
                (Fingerprint::of(b"remote"), " pinned"),
                (Fingerprint::of(b"local"), " pinned-locally"),
                (Fingerprint::of(b"flag"), " pinned-by-flag"),
            ];
            let named = |wanted| pins.iter().find(|(pin, _)| *pin == wanted);
            let pin = found.pin.map_or("", |pin| named(pin).unwrap().1);
            let (token, password) = (&found.credentials.token, &found.credentials.password);
            format!(
                "{} ({}) {} {}{pin}",
                found.url,
                found.source,
                show(token),
                show(password)
            )
        }
        Err(error) => error
            .to_string()
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned(),
    }
}

type Row = (&'static str, fn(&mut Sources), Purpose, &'static str);

const LOCAL: &str = "ws://127.0.0.1:18789 (local loopback)";
const REMOTE: &str = "wss://gw.example:443 (config gateway.remote.url)";
const NODE: &str = "wss://127.0.0.1:18789 (node host settings)";
const JOIN: &str = "wss://127.0.0.1:18789 (node join)";
const UNAVAILABLE: &str = "gateway.auth.token is configured as a secret reference but is unavailable in this command path.";

/// Neither the environment nor `gateway.auth` has a secret.
fn no_shared(s: &mut Sources) {
    s.environment_token = None;
    s.environment_password = None;
    s.auth_token = Secret::Absent;
    s.auth_password = Secret::Absent;
}

#[test]
fn the_table() {
    use Purpose::{Command, Join, NodeHost, Probe};
    let clear_environment: fn(&mut Sources) = |s| {
        s.environment_token = None;
        s.environment_password = Some("  ".to_owned());
    };
    let rows: &[Row] = &[
        (
            "local: environment first",
            |_| {},
            Command,
            "LOCAL env-t env-p",
        ),
        (
            "local: then auth",
            clear_environment,
            Command,
            "LOCAL auth-t auth-p",
        ),
        (
            "local: then remote, when auth is absent",
            |s| {
                s.environment_token = None;
                s.environment_password = None;
                s.auth_token = Secret::Absent;
                s.auth_password = Secret::Absent;
            },
            Command,
            "LOCAL remote-t remote-p",
        ),
        (
            "local: the generated token last",
            |s| {
                *s = Sources {
                    generated_token: s.generated_token.clone(),
                    local_port: 18_789,
                    ..Sources::default()
                };
            },
            Command,
            "LOCAL gen-t -",
        ),
        (
            "local: no remote password behind a trusted proxy",
            |s| {
                s.environment_password = None;
                s.auth_password = Secret::Absent;
                s.auth_mode = Some(AuthMode::TrustedProxy);
            },
            Command,
            "LOCAL env-t -",
        ),
        (
            "local: the gateway's own service prefers its configuration",
            |s| {
                s.gateway_service = true;
            },
            Command,
            "LOCAL auth-t env-p",
        ),
        (
            "local: TLS and port",
            |s| {
                s.local_tls = true;
                s.local_port = 19_001;
            },
            Command,
            "wss://127.0.0.1:19001 (local loopback) env-t env-p pinned-locally",
        ),
        (
            "a pin on the command line comes first",
            |s| {
                s.local_tls = true;
                s.flag_pin = Some(Fingerprint::of(b"flag"));
            },
            Command,
            "wss://127.0.0.1:18789 (local loopback) env-t env-p pinned-by-flag",
        ),
        (
            "a pin on the command line counts for every url",
            |s| {
                s.flag_url = Some("wss://x:1".to_owned());
                s.flag_token = Some("flag-t".to_owned());
                s.flag_pin = Some(Fingerprint::of(b"flag"));
            },
            Command,
            "wss://x:1 (cli --url) flag-t - pinned-by-flag",
        ),
        (
            "a typed url has no other pin",
            |s| {
                s.flag_url = Some("wss://127.0.0.1:18789".to_owned());
                s.flag_token = Some("flag-t".to_owned());
                s.remote = true;
                s.local_tls = true;
            },
            Command,
            "wss://127.0.0.1:18789 (cli --url) flag-t -",
        ),
        (
            "a pin needs tls",
            |s| s.flag_pin = Some(Fingerprint::of(b"flag")),
            Command,
            "gateway tls fingerprint requires wss:// gateway url (it is ws://127.0.0.1:18789)",
        ),
        (
            "a configured pin needs tls too",
            |s| {
                s.remote = true;
                s.remote_url = Some("ws://127.0.0.1:9".to_owned());
            },
            Command,
            "gateway tls fingerprint requires wss:// gateway url (it is ws://127.0.0.1:9)",
        ),
        (
            "flags: exactly those",
            |s| s.flag_token = Some("flag-t".to_owned()),
            Command,
            "LOCAL flag-t -",
        ),
        (
            "flags: the other one too",
            |s| s.flag_password = Some(" flag-p ".to_owned()),
            Command,
            "LOCAL - flag-p",
        ),
        (
            "url without credentials",
            |s| s.flag_url = Some("ws://127.0.0.1:1".to_owned()),
            Command,
            "gateway url override requires explicit credentials",
        ),
        (
            "url with an empty token",
            |s| {
                s.flag_url = Some("ws://127.0.0.1:1".to_owned());
                s.flag_token = Some(String::new());
            },
            Command,
            "gateway url override requires explicit credentials",
        ),
        (
            "url with credentials beats everything",
            |s| {
                s.flag_url = Some("ws://127.0.0.1:1".to_owned());
                s.environment_url = Some("ws://127.0.0.1:2".to_owned());
                s.remote = true;
                s.flag_token = Some("flag-t".to_owned());
            },
            Command,
            "ws://127.0.0.1:1 (cli --url) flag-t -",
        ),
        (
            "environment url: environment only",
            |s| {
                s.environment_url = Some("ws://127.0.0.1:2".to_owned());
            },
            Command,
            "ws://127.0.0.1:2 (env OPENCLAW_GATEWAY_URL) env-t env-p",
        ),
        (
            "environment url without credentials",
            |s| {
                s.environment_url = Some("ws://127.0.0.1:2".to_owned());
                s.environment_token = None;
                s.environment_password = None;
            },
            Command,
            "gateway url override requires explicit credentials",
        ),
        (
            "remote: token config first, password environment first",
            |s| s.remote = true,
            Command,
            "REMOTE remote-t env-p pinned",
        ),
        (
            "remote: then environment and remote",
            |s| {
                s.remote = true;
                s.remote_token = Secret::Absent;
                s.environment_password = None;
            },
            Command,
            "REMOTE env-t remote-p pinned",
        ),
        (
            "remote: auth last",
            |s| {
                s.remote = true;
                s.remote_token = Secret::Absent;
                s.remote_password = Secret::Absent;
                s.environment_token = None;
                s.environment_password = None;
            },
            Command,
            "REMOTE auth-t auth-p pinned",
        ),
        (
            "remote without url",
            |s| {
                s.remote = true;
                s.remote_url = None;
            },
            Command,
            "gateway remote mode misconfigured: gateway.remote.url missing",
        ),
        (
            "probe of a remote: no local secret",
            |s| {
                s.remote = true;
                s.remote_token = Secret::Absent;
            },
            Probe,
            "REMOTE - remote-p pinned",
        ),
        (
            "probe of the local gateway",
            |_| {},
            Probe,
            "LOCAL env-t env-p",
        ),
        (
            "node: environment first",
            |_| {},
            NodeHost,
            "NODE env-t env-p pinned",
        ),
        (
            "node: local mode never asks remote",
            |s| {
                s.environment_token = None;
                s.environment_password = None;
                s.auth_token = Secret::Absent;
                s.auth_password = Secret::Absent;
                s.generated_token = None;
            },
            NodeHost,
            "NODE - - pinned",
        ),
        (
            "node: remote mode asks remote, then auth",
            |s| {
                s.remote = true;
                s.environment_token = None;
                s.environment_password = None;
                s.remote_password = Secret::Absent;
            },
            NodeHost,
            "NODE remote-t auth-p pinned",
        ),
        (
            "node: the generated token stays on this machine",
            |s| {
                no_shared(s);
                s.node_host = GatewayUrl::parse("wss://gw.example").ok();
            },
            NodeHost,
            "wss://gw.example:443 (node host settings) - - pinned",
        ),
        (
            "node: and is for the gateway there",
            no_shared,
            NodeHost,
            "NODE gen-t - pinned",
        ),
        (
            "node: invited, it shows no secret of the configuration",
            |s| {
                s.invited = true;
                s.environment_token = None;
                s.environment_password = None;
            },
            NodeHost,
            "NODE - - pinned",
        ),
        (
            "node: invited in remote mode",
            |s| {
                s.invited = true;
                s.remote = true;
                s.environment_token = None;
            },
            NodeHost,
            "NODE - env-p pinned",
        ),
        (
            "join: the environment",
            |_| {},
            Join,
            "JOIN env-t env-p pinned",
        ),
        (
            "join: no secret of another gateway",
            clear_environment,
            Join,
            "JOIN - - pinned",
        ),
        (
            "join: nor in remote mode",
            |s| {
                s.remote = true;
                s.environment_token = None;
                s.environment_password = None;
            },
            Join,
            "JOIN - - pinned",
        ),
        (
            "node: no flags, url sources do not count",
            |s| {
                s.environment_url = Some("ws://127.0.0.1:2".to_owned());
            },
            NodeHost,
            "NODE env-t env-p pinned",
        ),
        (
            "an unavailable secret that would win",
            |s| {
                s.environment_token = None;
                s.auth_token = broken();
            },
            Command,
            UNAVAILABLE,
        ),
        (
            "an unavailable secret behind the environment",
            |s| s.auth_token = broken(),
            Command,
            "LOCAL env-t env-p",
        ),
        (
            "an unavailable secret in a mode that does not use it",
            |s| {
                s.environment_token = None;
                s.environment_password = None;
                s.auth_token = broken();
                s.auth_mode = Some(AuthMode::Password);
                s.remote_token = Secret::Absent;
                s.generated_token = None;
            },
            Command,
            "LOCAL - auth-p",
        ),
        (
            "an unavailable secret for the node",
            |s| {
                s.environment_token = None;
                s.auth_token = broken();
            },
            NodeHost,
            UNAVAILABLE,
        ),
        (
            "a url that is none",
            |s| {
                s.flag_url = Some("http://x".to_owned());
                s.flag_token = Some("t".to_owned());
            },
            Command,
            "invalid gateway url \"http://x\": it must start with ws:// or wss://",
        ),
    ];
    for (name, change, purpose, expected) in rows {
        let mut sources = full();
        change(&mut sources);
        let expected = expected
            .replace("LOCAL", LOCAL)
            .replace("REMOTE", REMOTE)
            .replace("NODE", NODE)
            .replace("JOIN", JOIN);
        assert_eq!(outcome(&sources, *purpose), expected, "{name}");
    }
}

#[test]
fn secrets_do_not_show_themselves() {
    let found = resolve(&full(), Purpose::Command).unwrap();
    let text = format!("{found:?}");
    assert!(
        !text.contains("env-t") && text.contains("env OPENCLAW_GATEWAY_TOKEN"),
        "{text}"
    );
}

type Changed<'a> = (&'a str, &'a [fn(&mut Sources)], Purpose, &'a str);

#[test]
fn a_login_leads_to_the_gateway_that_is_meant() {
    use Purpose::{Command, NodeHost};
    let typed: fn(&mut Sources) = |s| s.flag_ssh = SshTarget::parse("pi@gw:2222").ok();
    let configured: fn(&mut Sources) = |s| {
        s.remote = true;
        s.remote_over_ssh = true;
        s.remote_ssh_target = Some("pi@far".to_owned());
        s.remote_ssh_identity = Some(PathBuf::from("/key"));
    };
    // Name and port there, secret, key file.
    let rows: &[Changed<'_>] = &[
        (
            "nothing of the local gateway goes there",
            &[typed],
            Command,
            "ws://127.0.0.1:18789 through ssh pi@gw:2222 (cli --ssh) to 18789, - with -",
        ),
        (
            "but what was typed",
            &[typed, |s| s.flag_token = Some("flag-t".to_owned())],
            Command,
            "ws://127.0.0.1:18789 through ssh pi@gw:2222 (cli --ssh) to 18789, flag-t with -",
        ),
        (
            "a pin speaks TLS there",
            &[typed, |s| s.flag_pin = Some(Fingerprint::of(b"flag"))],
            Command,
            "wss://127.0.0.1:18789 through ssh pi@gw:2222 (cli --ssh) to 18789, - with -",
        ),
        (
            "a URL says what is there, and its port",
            &[typed, |s| {
                s.flag_url = Some("ws://gw.lan:19000".to_owned());
                s.flag_token = Some("flag-t".to_owned());
            }],
            Command,
            "ws://gw.lan:19000 through ssh pi@gw:2222 (cli --url) to 19000, flag-t with -",
        ),
        (
            "a URL without credentials",
            &[typed, |s| s.flag_url = Some("ws://gw.lan:1".to_owned())],
            Command,
            "gateway url override requires explicit credentials",
        ),
        (
            "remote mode, by the configuration",
            &[configured],
            Command,
            "wss://gw.example:443 through ssh pi@far (config gateway.remote.url) to 443, remote-t with /key",
        ),
        (
            "remote mode needs no URL then",
            &[configured, |s| {
                s.remote_url = None;
                s.pin = None;
            }],
            Command,
            "ws://127.0.0.1:18789 through ssh pi@far (config gateway.remote.url) to 18789, remote-t with /key",
        ),
        (
            "remote mode, by another login",
            &[configured, typed],
            Command,
            "wss://gw.example:443 through ssh pi@gw:2222 (config gateway.remote.url) to 443, remote-t with /key",
        ),
        (
            "what is named for this run goes directly",
            &[configured, |s| {
                s.flag_url = Some("wss://other:1".to_owned());
                s.flag_token = Some("flag-t".to_owned());
            }],
            Command,
            "wss://other:1 (cli --url), flag-t",
        ),
        (
            "in local mode the remote gateway is not meant",
            &[configured, |s| s.remote = false],
            Command,
            "ws://127.0.0.1:18789 (local loopback), env-t",
        ),
        (
            "no target",
            &[configured, |s| s.remote_ssh_target = None],
            Command,
            "gateway.remote.transport is ssh, but gateway.remote.sshTarget is missing",
        ),
        (
            "a target that is none",
            &[configured, |s| {
                s.remote_ssh_target = Some("pi@-oProxyCommand=x".to_owned());
            }],
            Command,
            "gateway.remote.sshTarget is not an SSH target: pi@-oProxyCommand=x",
        ),
        (
            "node host",
            &[typed],
            NodeHost,
            "wss://127.0.0.1:18789 through ssh pi@gw:2222 (node host settings) to 18789, env-t with -",
        ),
        (
            "node host, with no secret of the configuration",
            &[typed, |s| s.environment_token = None],
            NodeHost,
            "wss://127.0.0.1:18789 through ssh pi@gw:2222 (node host settings) to 18789, - with -",
        ),
        (
            "nor in remote mode, which means another gateway",
            &[configured, typed, |s| s.environment_token = None],
            NodeHost,
            "wss://127.0.0.1:18789 through ssh pi@gw:2222 (node host settings) to 18789, - with /key",
        ),
        (
            "node host in remote mode, told no address",
            &[configured],
            NodeHost,
            "wss://127.0.0.1:18789 through ssh pi@far (node host settings) to 18789, env-t with /key",
        ),
        (
            "node host in remote mode, told an address",
            &[configured, |s| {
                s.node_host = GatewayUrl::parse("wss://gw.lan:18789").ok();
            }],
            NodeHost,
            "wss://gw.lan:18789 (node host settings), env-t",
        ),
    ];
    for (name, changes, purpose, expected) in rows {
        let mut sources = full();
        changes.iter().for_each(|change| change(&mut sources));
        let found = resolve(&sources, *purpose).map(|found| {
            let token = found.credentials.token.as_ref();
            let token = token.map_or("-", |token| &token.value);
            match &found.via {
                None => format!("{} ({}), {token}", found.name(), found.source),
                Some(tunnel) => {
                    let key = tunnel
                        .identity
                        .as_ref()
                        .map(|key| key.display().to_string());
                    let key = key.unwrap_or("-".to_owned());
                    let (name, source, port) = (found.name(), found.source, tunnel.port);
                    format!("{name} ({source}) to {port}, {token} with {key}")
                }
            }
        });
        let found = found.unwrap_or_else(|error| error.to_string());
        assert_eq!(found.lines().next().unwrap(), *expected, "{name}");
    }
}
