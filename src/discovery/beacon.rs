//! The beacon: what a gateway says about itself to the networks around it, as plain data.
//!
//! Everything in it is public and nobody can prove it, so it never carries a secret, and no client decides by
//! it what to trust. How it is published, over multicast or in a zone, is others' business (discovery seed,
//! service beacon details).

use crate::config::word::MdnsMode;
use crate::identity::Fingerprint;

/// Bytes of one label of a name (RFC 1035, section 2.3.4).
pub const MAX_LABEL_BYTES: usize = 63;

/// Bytes of one string `key=value` of a TXT record (RFC 6763, section 6.1).
pub const MAX_STRING_BYTES: usize = 255;

/// The host label of a machine whose name gives none.
const NAMELESS: &str = "openclaw";

/// SSH's own port, advertised unless another one is named.
const SSH_PORT: u16 = 22;

/// What the beacon is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The path of this program, for who installs or calls it over SSH.
    pub cli_path: Option<String>,
    /// SHA-256 of the certificate, where TLS is on and it is known.
    pub fingerprint: Option<Fingerprint>,
    /// The host label to use instead of the machine's name; `.local` at its end does not count.
    pub hostname: Option<String>,
    /// How much to say. [`MdnsMode::Off`] says no more than [`MdnsMode::Minimal`]: whether anything is said at
    /// all is the publisher's to decide.
    pub mode: MdnsMode,
    /// What people call this gateway: the operator's name for it, else the machine's.
    pub name: String,
    /// The machine's host name.
    pub machine: String,
    /// The port of the gateway, WebSocket and HTTP.
    pub port: u16,
    /// The port of SSH, where it is another one than 22.
    pub ssh_port: Option<u16>,
    /// The MagicDNS name of this machine in its tailnet, without the dot at its end.
    pub tailnet_dns: Option<String>,
    /// Whether the port speaks TLS.
    pub tls: bool,
}

/// A beacon, ready to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beacon {
    /// The instance label, at most [`MAX_LABEL_BYTES`] bytes of UTF-8. It may hold dots.
    pub instance: String,
    /// The host label, without `.local`: letters, digits and hyphens, at most [`MAX_LABEL_BYTES`].
    pub host: String,
    /// The port of the SRV record.
    pub port: u16,
    /// The TXT record: keys and values in the order of the seed, each pair at most [`MAX_STRING_BYTES`] bytes.
    pub txt: Vec<(String, String)>,
}

/// The number behind a name that others have too; 1 is the name as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbers {
    /// Of the instance: `Pi (OpenClaw) (2)`.
    pub instance: u32,
    /// Of the host: `pi-2`.
    pub host: u32,
}

impl Numbers {
    /// Both names as they are.
    pub const FIRST: Numbers = Numbers {
        instance: 1,
        host: 1,
    };
}

impl Beacon {
    /// The beacon of these facts, under the names that follow from them.
    pub fn new(facts: &Facts) -> Beacon {
        Self::numbered(facts, Numbers::FIRST)
    }

    /// The same under other names, because somebody else has the first ones. The names are always made from
    /// the facts, so that no number is ever put behind another.
    ///
    /// `canvasPort` never appears: this gateway has no canvas host.
    pub fn numbered(facts: &Facts, numbers: Numbers) -> Beacon {
        let name = display_name(facts);
        let instance = numbered(&instance_label(&name), numbers.instance, |number| {
            format!(" ({number})")
        });
        let host = numbered(&host_label(facts), numbers.host, |number| {
            format!("-{number}")
        });
        let tls = facts.tls;
        let full = facts.mode == MdnsMode::Full;
        let fingerprint = facts.fingerprint.filter(|_| tls);
        let pairs = [
            ("role", Some("gateway".to_owned())),
            ("transport", Some("gateway".to_owned())),
            ("displayName", Some(name)),
            ("lanHost", Some(format!("{host}.local"))),
            ("gatewayPort", Some(facts.port.to_string())),
            ("gatewayTls", tls.then(|| "1".to_owned())),
            ("gatewayTlsSha256", fingerprint.map(|sha| sha.to_string())),
            ("tailnetDns", facts.tailnet_dns.clone()),
            (
                "sshPort",
                full.then(|| facts.ssh_port.unwrap_or(SSH_PORT).to_string()),
            ),
            ("cliPath", facts.cli_path.clone().filter(|_| full)),
        ];
        let fits = |(key, value): &(&str, String)| {
            !value.is_empty() && key.len() + 1 + value.len() <= MAX_STRING_BYTES
        };
        let said = pairs
            .into_iter()
            .filter_map(|(key, value)| Some((key, value?)));
        let txt = said
            .filter(fits)
            .map(|(key, value)| (key.to_owned(), value))
            .collect();
        Beacon {
            instance,
            host,
            port: facts.port,
            txt,
        }
    }
}

/// The name that people read, on one line and short enough for its place in the TXT record.
fn display_name(facts: &Facts) -> String {
    let named = super::found::printable(facts.name.as_bytes());
    let name = if named.is_empty() {
        host_label(facts)
    } else {
        named
    };
    cut(&name, MAX_STRING_BYTES - "displayName=".len()).to_owned()
}

/// `<name> (OpenClaw)`, unless the name says so already.
fn instance_label(name: &str) -> String {
    const MARK: &str = " (OpenClaw)";
    if name.to_lowercase().contains("openclaw") {
        return cut(name, MAX_LABEL_BYTES).to_owned();
    }
    format!("{}{MARK}", cut(name, MAX_LABEL_BYTES - MARK.len()))
}

/// The first label of a host name, made of what a host name may have. Names are told apart without regard to
/// case, and some resolvers ask with regard to it, so it is in lower case.
fn host_label(facts: &Facts) -> String {
    let own = facts.hostname.iter().map(String::as_str);
    let labels = own.chain([facts.machine.as_str()]).map(|name| {
        let name = name.trim().trim_end_matches('.').to_lowercase();
        let name = name.strip_suffix(".local").unwrap_or(&name);
        let first = name.split('.').next().unwrap_or_default();
        let letters = first.chars().map(|letter| match letter {
            'a'..='z' | '0'..='9' => letter,
            _ => '-',
        });
        let label: String = letters.take(MAX_LABEL_BYTES).collect();
        label.trim_matches('-').to_owned()
    });
    let usable = |label: &String| !label.is_empty() && label != "localhost";
    labels
        .into_iter()
        .find(usable)
        .unwrap_or_else(|| NAMELESS.to_owned())
}

/// The name with its number, when it has one, in the room of one label.
fn numbered(name: &str, number: u32, suffix: impl Fn(u32) -> String) -> String {
    if number <= 1 {
        return name.to_owned();
    }
    let suffix = suffix(number);
    format!("{}{suffix}", cut(name, MAX_LABEL_BYTES - suffix.len()))
}

/// As much of the text as fits into this many bytes, whole characters, no blank at the end.
fn cut(text: &str, bytes: usize) -> &str {
    let mut end = bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().trim_end()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts {
            cli_path: Some("/usr/bin/openclaw".to_owned()),
            fingerprint: None,
            hostname: None,
            mode: MdnsMode::Minimal,
            name: "Pi".to_owned(),
            machine: "pi".to_owned(),
            port: 18_789,
            ssh_port: None,
            tailnet_dns: None,
            tls: false,
        }
    }

    fn txt(change: impl FnOnce(&mut Facts)) -> String {
        let mut facts = facts();
        change(&mut facts);
        let pairs = Beacon::new(&facts).txt;
        let lines: Vec<String> = pairs
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        lines.join(" ")
    }

    #[test]
    #[rustfmt::skip]
    fn every_key_appears_under_its_condition_and_no_other() {
        const BASE: &str = "role=gateway transport=gateway displayName=Pi lanHost=pi.local gatewayPort=18789";
        let sha = Fingerprint::of(b"certificate");
        let full = |facts: &mut Facts| facts.mode = MdnsMode::Full;
        assert_eq!(txt(|_| {}), BASE);
        assert_eq!(txt(|facts| facts.mode = MdnsMode::Off), BASE);
        assert_eq!(txt(|facts| facts.ssh_port = Some(2222)), BASE, "full mode only");
        assert_eq!(txt(|facts| facts.fingerprint = Some(sha)), BASE, "with TLS only");
        assert_eq!(txt(|facts| facts.tls = true), format!("{BASE} gatewayTls=1"));
        assert_eq!(
            txt(|facts| { facts.tls = true; facts.fingerprint = Some(sha) }),
            format!("{BASE} gatewayTls=1 gatewayTlsSha256={sha}")
        );
        assert_eq!(
            txt(|facts| facts.tailnet_dns = Some("pi.tail1.ts.net".to_owned())),
            format!("{BASE} tailnetDns=pi.tail1.ts.net")
        );
        assert_eq!(txt(full), format!("{BASE} sshPort=22 cliPath=/usr/bin/openclaw"));
        assert_eq!(
            txt(|facts| { full(facts); facts.ssh_port = Some(2222); facts.cli_path = None }),
            format!("{BASE} sshPort=2222")
        );
        assert_eq!(
            txt(|facts| { full(facts); facts.cli_path = Some("x".repeat(248)) }),
            format!("{BASE} sshPort=22"),
            "a path that does not fit is left out, not cut"
        );
        assert!(txt(|facts| { full(facts); facts.cli_path = Some("x".repeat(247)) }).ends_with("xxx"));
    }

    #[test]
    #[rustfmt::skip]
    fn the_instance_is_the_name_with_the_program_behind_it() {
        let long = "ä".repeat(40);
        for (name, instance) in [
            ("Pi", "Pi (OpenClaw)".to_owned()),
            ("Ada's Pi v1.2", "Ada's Pi v1.2 (OpenClaw)".to_owned()),
            ("OpenClaw on the Pi", "OpenClaw on the Pi".to_owned()),
            ("my-openclaw", "my-openclaw".to_owned()),
            (" \tPi\n ", "Pi (OpenClaw)".to_owned()),
            ("", "pi (OpenClaw)".to_owned()),
            (&long, format!("{} (OpenClaw)", "ä".repeat(26))),
            (&format!("openclaw {long}"), format!("openclaw {}", "ä".repeat(27))),
        ] {
            let facts = Facts { name: name.to_owned(), ..facts() };
            let beacon = Beacon::new(&facts);
            assert_eq!(beacon.instance, instance, "{name:?}");
            assert!(beacon.instance.len() <= MAX_LABEL_BYTES);
        }
    }

    #[test]
    fn the_host_is_a_label_that_every_resolver_takes() {
        let long = "a".repeat(80);
        for (named, machine, host) in [
            (None, "pi", "pi"),
            (None, "Pi.home.example", "pi"),
            (None, "my_pi", "my-pi"),
            (None, "-pi-", "pi"),
            (None, "", "openclaw"),
            (None, "localhost", "openclaw"),
            (None, "Küche", "k-che"),
            (None, &long, &long[..63]),
            (Some("attic"), "pi", "attic"),
            (Some("attic.local"), "pi", "attic"),
            (Some("Attic.local."), "pi", "attic"),
            (Some("attic.example"), "pi", "attic"),
            (Some("???"), "pi", "pi"),
        ] {
            let facts = Facts {
                hostname: named.map(str::to_owned),
                machine: machine.to_owned(),
                ..facts()
            };
            let beacon = Beacon::new(&facts);
            assert_eq!(beacon.host, host, "{named:?} {machine:?}");
            let said = beacon.txt.iter().find(|(key, _)| key == "lanHost");
            assert_eq!(said.unwrap().1, format!("{host}.local"));
        }
    }

    #[test]
    fn a_number_goes_behind_the_name_and_never_behind_another_number() {
        let facts = Facts {
            name: "n".repeat(70),
            machine: "h".repeat(70),
            ..facts()
        };
        for number in [2, 3, 10] {
            let numbers = Numbers {
                instance: number,
                host: number,
            };
            let beacon = Beacon::numbered(&facts, numbers);
            assert!(beacon.instance.ends_with(&format!(" ({number})")));
            assert!(beacon.host.ends_with(&format!("h-{number}")));
            assert_eq!((beacon.instance.len(), beacon.host.len()), (63, 63));
        }
        let facts = Facts {
            name: "Pi".to_owned(),
            machine: "pi".to_owned(),
            ..facts
        };
        let numbers = Numbers {
            instance: 2,
            host: 1,
        };
        let beacon = Beacon::numbered(&facts, numbers);
        assert_eq!(
            (beacon.instance.as_str(), beacon.host.as_str()),
            ("Pi (OpenClaw) (2)", "pi")
        );
        assert_eq!(
            Beacon::numbered(&facts, Numbers::FIRST),
            Beacon::new(&facts)
        );
    }
}
