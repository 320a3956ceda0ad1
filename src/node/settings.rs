//! What a node host is called and which gateway it belongs to: flags over `node.json` over defaults
//! (node-host specification, sections 1.1 and 1.2).
//!
//! Pure over a loaded file, except for the machine's own name. The caller saves the file before it
//! connects.

use std::fs;

use crate::client::GatewayUrl;
use crate::store::node_file::{NodeFile, NodeGateway};
use crate::store::{StateDir, StoreError};

const DEFAULT_HOST: &str = "127.0.0.1";
const DEFAULT_PORT: u16 = 18_789;
const DEFAULT_NAME: &str = "openclaw";

/// What was typed; texts are trimmed and not empty.
#[derive(Debug, Clone, Copy, Default)]
pub struct Flags<'a> {
    /// `--host`
    pub host: Option<&'a str>,
    /// `--port`
    pub port: Option<u16>,
    /// `--tls`
    pub tls: bool,
    /// `--tls-fingerprint`; means `--tls` too.
    pub tls_fingerprint: Option<&'a str>,
    /// `--node-id`
    pub node_id: Option<&'a str>,
    /// `--display-name`
    pub display_name: Option<&'a str>,
}

/// Who named the host of the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostSource {
    /// Nobody: it is this machine.
    Default,
    /// `node.json`.
    File,
    /// An option of this run, or the setup code.
    Typed,
}

impl HostSource {
    /// What else can be done where nothing answers.
    pub fn remedy(self) -> Option<&'static str> {
        match self {
            Self::Default => Some(
                "No gateway was named, so it is looked for on this machine: pass --host or --ssh, or run openclaw node join.",
            ),
            Self::File => Some(
                "The host is the one in node.json: pass --host or --ssh for another, or run openclaw node join.",
            ),
            Self::Typed => None,
        }
    }
}

/// What a node host starts with; all of it also stands in the file, but a pin that was typed over another: see
/// [`keep_pin`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The gateway.
    pub url: GatewayUrl,
    /// Who named its host.
    pub host_source: HostSource,
    /// SHA-256 of its certificate.
    pub tls_fingerprint: Option<String>,
    /// Sent as `client.instanceId`.
    pub node_id: String,
    /// Sent as `client.displayName`.
    pub display_name: String,
    /// Another node id was asked for: the device tokens of the role `node` have to go.
    pub forget_tokens: bool,
    /// The gateway of the file as it was found: a token that does not say whose it is is that one's.
    pub former_url: GatewayUrl,
}

/// Where a gateway of `node.json` is.
pub fn url(stored: &NodeGateway) -> GatewayUrl {
    let host = stored.host.as_deref().unwrap_or(DEFAULT_HOST);
    GatewayUrl::new(host, stored.port.unwrap_or(DEFAULT_PORT), stored.tls)
}

/// Decides every value and writes it into the file's members. `fresh_id` makes a node id, `machine_name`
/// is the name of a node that has none.
pub fn resolve(
    file: &mut NodeFile,
    flags: &Flags<'_>,
    fresh_id: impl FnOnce() -> String,
    machine_name: impl FnOnce() -> String,
) -> Settings {
    let stored = file.gateway.take().unwrap_or_default();
    let stored_host = stored.host.as_deref().unwrap_or(DEFAULT_HOST);
    let stored_port = stored.port.unwrap_or(DEFAULT_PORT);
    let host = flags.host.unwrap_or(stored_host).to_owned();
    let host_source = match (flags.host, &stored.host) {
        (Some(_), _) => HostSource::Typed,
        (None, Some(_)) => HostSource::File,
        (None, None) => HostSource::Default,
    };
    let port = flags.port.unwrap_or(stored_port);
    // TLS settings belong to an endpoint: another one starts without them.
    let same_endpoint = host == stored_host && port == stored_port;
    let kept = stored.tls_fingerprint.clone().filter(|_| same_endpoint);
    let typed = flags.tls_fingerprint.map(str::to_owned);
    // Where nothing was trusted before, a typed pin replaces nothing that a wrong one could lock out.
    let first = typed.clone().filter(|_| !(same_endpoint && stored.tls));
    let tls = flags.tls || flags.tls_fingerprint.is_some() || (same_endpoint && stored.tls);
    let forget_tokens = flags
        .node_id
        .is_some_and(|wanted| file.node_id.as_deref() != Some(wanted));
    let url = GatewayUrl::new(&host, port, tls);
    let former_url = self::url(&stored);
    if forget_tokens || url != former_url {
        file.token = None;
    }
    let node_id = flags
        .node_id
        .map(str::to_owned)
        .or_else(|| file.node_id.take())
        .unwrap_or_else(fresh_id);
    let display_name = flags
        .display_name
        .map(str::to_owned)
        .or_else(|| file.display_name.take())
        .unwrap_or_else(machine_name);
    file.node_id = Some(node_id.clone());
    file.display_name = Some(display_name.clone());
    file.gateway = Some(NodeGateway {
        host: Some(host.clone()),
        port: Some(port),
        tls,
        tls_fingerprint: kept.clone().or(first),
    });
    Settings {
        url,
        host_source,
        tls_fingerprint: typed.or(kept),
        node_id,
        display_name,
        forget_tokens,
        former_url,
    }
}

/// Stores the pin that the gateway at `settings.url` was found to match. One that was only typed replaces no trust
/// before: a wrong one would keep every later run from a gateway that an earlier pin still matches.
///
/// # Errors
/// When the file cannot be read or written.
pub fn keep_pin(settings: &Settings, dir: &StateDir) -> Result<(), StoreError> {
    let mut file = NodeFile::load(dir)?;
    let url = &settings.url;
    // Another run may have chosen another gateway meanwhile.
    let Some(gateway) = file.gateway.as_mut().filter(|gateway| {
        gateway.host.as_deref() == Some(&url.host)
            && gateway.port == Some(url.port)
            && gateway.tls == url.secure
    }) else {
        return Ok(());
    };
    if gateway.tls_fingerprint == settings.tls_fingerprint {
        return Ok(());
    }
    gateway.tls_fingerprint = settings.tls_fingerprint.clone();
    file.save(dir)
}

/// This machine's name for people: the host name without a trailing `.local`.
pub fn machine_name() -> String {
    let name = computer_name().or_else(|| {
        let read = |path| fs::read_to_string(path).ok();
        let text = read("/proc/sys/kernel/hostname").or_else(|| read("/etc/hostname"))?;
        text.lines().next().map(str::to_owned)
    });
    let name = name.unwrap_or_default();
    let name = name.trim();
    match name.strip_suffix(".local").unwrap_or(name) {
        "" => DEFAULT_NAME.to_owned(),
        name => name.to_owned(),
    }
}

/// The name that the system settings of macOS show.
fn computer_name() -> Option<String> {
    if !cfg!(target_os = "macos") {
        return None;
    }
    ["ComputerName", "LocalHostName"]
        .into_iter()
        .find_map(|key| {
            let output = std::process::Command::new("scutil")
                .args(["--get", key])
                .output()
                .ok()?;
            let name = String::from_utf8(output.stdout).ok()?.trim().to_owned();
            (output.status.success() && !name.is_empty()).then_some(name)
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Token;
    use crate::node::testing::TempDir;

    fn stored() -> NodeFile {
        let mut file = NodeFile::default();
        file.node_id = Some("id-1".to_owned());
        file.token = Some(Token::from("t"));
        file.display_name = Some("Old".to_owned());
        file.gateway = Some(NodeGateway {
            host: Some("gw.lan".to_owned()),
            port: Some(19_000),
            tls: true,
            tls_fingerprint: Some("AB".to_owned()),
        });
        file
    }

    fn settle(
        mut file: NodeFile,
        flags: Flags<'_>,
    ) -> (String, Option<String>, Settings, NodeFile) {
        let settings = resolve(
            &mut file,
            &flags,
            || "fresh".to_owned(),
            || "machine".to_owned(),
        );
        let gateway = file.gateway.clone().unwrap();
        assert_eq!(
            gateway.tls, settings.url.secure,
            "what is used is what is stored"
        );
        if flags.tls_fingerprint.is_none() {
            assert_eq!(gateway.tls_fingerprint, settings.tls_fingerprint);
        }
        (
            settings.url.to_string(),
            settings.tls_fingerprint.clone(),
            settings,
            file,
        )
    }

    #[test]
    fn endpoints() {
        let flags = Flags::default();
        let cases = [
            (NodeFile::default(), flags, "ws://127.0.0.1:18789", None),
            (stored(), flags, "wss://gw.lan:19000", Some("AB")),
            (
                stored(),
                Flags {
                    host: Some("gw.lan"),
                    ..flags
                },
                "wss://gw.lan:19000",
                Some("AB"),
            ),
            (
                stored(),
                Flags {
                    host: Some("other"),
                    ..flags
                },
                "ws://other:19000",
                None,
            ),
            (
                stored(),
                Flags {
                    port: Some(1),
                    ..flags
                },
                "ws://gw.lan:1",
                None,
            ),
            (
                stored(),
                Flags {
                    port: Some(1),
                    tls: true,
                    ..flags
                },
                "wss://gw.lan:1",
                None,
            ),
            (
                NodeFile::default(),
                Flags {
                    tls_fingerprint: Some("CD"),
                    ..flags
                },
                "wss://127.0.0.1:18789",
                Some("CD"),
            ),
            (
                stored(),
                Flags {
                    tls_fingerprint: Some("CD"),
                    ..flags
                },
                "wss://gw.lan:19000",
                Some("CD"),
            ),
        ];
        for (file, flags, url, pin) in cases {
            let (found, found_pin, ..) = settle(file, flags);
            assert_eq!(
                (found.as_str(), found_pin.as_deref()),
                (url, pin),
                "{flags:?}"
            );
        }
    }

    #[test]
    fn a_typed_pin_is_stored_at_first_and_later_once_it_has_worked() {
        let dir = TempDir::new();
        let dir = StateDir::open(dir.path()).unwrap();
        let typed = Flags {
            tls_fingerprint: Some("CD"),
            ..Flags::default()
        };
        let pin = |file: &NodeFile| file.gateway.clone().unwrap().tls_fingerprint;
        let (_, used, _, file) = settle(NodeFile::default(), typed);
        assert_eq!(used, pin(&file));
        // A gateway that was trusted without a pin stays so.
        let mut public = stored();
        public.gateway.as_mut().unwrap().tls_fingerprint = None;
        assert_eq!(pin(&settle(public, typed).3), None);
        let (_, used, settings, mut file) = settle(stored(), typed);
        assert_eq!(
            (used.as_deref(), pin(&file).as_deref()),
            (Some("CD"), Some("AB"))
        );
        file.save(&dir).unwrap();
        keep_pin(&settings, &dir).unwrap();
        let mut file = NodeFile::load(&dir).unwrap();
        assert_eq!(pin(&file).as_deref(), Some("CD"));
        // What another run chose meanwhile stays.
        file.gateway.as_mut().unwrap().port = Some(1);
        file.gateway.as_mut().unwrap().tls_fingerprint = None;
        file.save(&dir).unwrap();
        keep_pin(&settings, &dir).unwrap();
        assert_eq!(pin(&NodeFile::load(&dir).unwrap()), None);
    }

    #[test]
    fn names_and_the_token_of_another_id() {
        let (_, _, settings, file) = settle(NodeFile::default(), Flags::default());
        assert_eq!(
            (settings.node_id.as_str(), settings.display_name.as_str()),
            ("fresh", "machine")
        );
        assert!(!settings.forget_tokens && file.token.is_none());

        let same = Flags {
            node_id: Some("id-1"),
            ..Flags::default()
        };
        let (_, _, settings, file) = settle(stored(), same);
        assert!(!settings.forget_tokens && file.token.is_some());

        let other = Flags {
            node_id: Some("x"),
            display_name: Some("New"),
            ..Flags::default()
        };
        let (_, _, settings, file) = settle(stored(), other);
        assert!(settings.forget_tokens && file.token.is_none());
        assert_eq!(
            (settings.node_id.as_str(), settings.display_name.as_str()),
            ("x", "New")
        );
        assert_eq!(file.node_id.as_deref(), Some("x"));
    }

    #[test]
    fn a_token_stays_with_its_gateway() {
        let flags = Flags::default();
        let with = |host, port, tls, pin| Flags {
            host,
            port,
            tls,
            tls_fingerprint: pin,
            ..flags
        };
        let plain = || {
            let mut file = stored();
            file.gateway = Some(NodeGateway {
                host: Some("gw.lan".to_owned()),
                port: Some(19_000),
                ..NodeGateway::default()
            });
            file
        };
        for (file, flags, same) in [
            (stored(), flags, true),
            (
                stored(),
                with(Some("gw.lan"), Some(19_000), true, None),
                true,
            ),
            (stored(), with(None, None, false, Some("CD")), true),
            (stored(), with(Some("evil.lan"), None, true, None), false),
            (stored(), with(None, Some(1), true, None), false),
            (plain(), flags, true),
            (plain(), with(None, None, true, None), false),
        ] {
            let (url, _, settings, file) = settle(file, flags);
            assert_eq!(settings.former_url == settings.url, same, "{url} {flags:?}");
            assert_eq!(file.token.is_some(), same, "{url} {flags:?}");
        }
        // A file that names no gateway keeps its token for the default one.
        for (host, same) in [(None, true), (Some("evil.lan"), false)] {
            let mut file = stored();
            file.gateway = None;
            let (_, _, settings, file) = settle(file, Flags { host, ..flags });
            assert_eq!(settings.former_url.to_string(), "ws://127.0.0.1:18789");
            assert_eq!(file.token.is_some(), same);
        }
    }

    #[test]
    fn this_machine_has_a_name() {
        assert!(!machine_name().is_empty());
    }
}
