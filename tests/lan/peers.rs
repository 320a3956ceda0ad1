//! Who else speaks multicast DNS: Avahi and python-zeroconf, unmodified.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::lan::Host;
use crate::support::home::Home;
use crate::support::process::{Outcome, Running, finish};
use crate::support::wait_for;

/// A gateway as a peer resolved it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub name: String,
    pub host: String,
    pub port: u16,
    pub addresses: Vec<String>,
    pub txt: Vec<(String, String)>,
}

impl Seen {
    #[track_caller]
    pub fn text(&self, key: &str) -> &str {
        let found = self.txt.iter().find(|(name, _)| name == key);
        found.map_or("", |(_, value)| value)
    }
}

/// python-zeroconf on a host, watching or publishing.
pub struct Zeroconf {
    process: Running,
    _home: Home,
}

impl Zeroconf {
    pub fn watch(host: &Host) -> Zeroconf {
        Self::start(host, &["watch"])
    }

    pub fn publish(host: &Host, name: &str, label: &str, address: &str) -> Zeroconf {
        let txt = ["role=gateway", "displayName=Python", "gatewayPort=4711"];
        Self::start(
            host,
            &[&["publish", name, label, "4711", address][..], &txt].concat(),
        )
    }

    /// Somebody who claims every name that is asked for.
    pub fn claim(host: &Host, address: &str) -> Zeroconf {
        Self::start(host, &["claim", address])
    }

    /// A thousand broken packets, half of them to the group, half to one host.
    pub fn noise(host: &Host, seed: &str, address: &str, target: &str) -> Zeroconf {
        let mut noise = Self::start(host, &["noise", seed, address, target]);
        noise.process.wait_for_output("\"done\"");
        noise
    }

    fn start(host: &Host, arguments: &[&str]) -> Zeroconf {
        let home = Home::new();
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let python = root.join("target/lan/bin/python");
        assert!(python.exists(), "python-zeroconf is missing: make lan");
        let mut command = host.command(&home, &python);
        command
            .arg(root.join("tests/lan/zeroconf_peer.py"))
            .args(arguments);
        let mut process = Running::start_group(command);
        process.wait_for_output("\"ready\"");
        Zeroconf {
            process,
            _home: home,
        }
    }

    fn events(&self) -> Vec<Value> {
        let output = self.process.output();
        let lines = output.lines();
        lines
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// A service with a text record of the caller's; what stands in it need not be true.
    pub fn publish_as(
        host: &Host,
        name: &str,
        label: &str,
        address: &str,
        txt: &[&str],
    ) -> Zeroconf {
        let service = ["publish", name, label, "4711", address];
        Self::start(host, &[&service[..], txt].concat())
    }

    /// How often a service of this name went.
    pub fn removals(&self, name: &str) -> usize {
        let gone = |event: &&Value| event["event"] == "removed" && event["name"] == name;
        self.events().iter().filter(gone).count()
    }

    /// Every name that was ever seen, once.
    pub fn names(&self) -> Vec<String> {
        let events = self.events();
        let names = events.iter().filter(|event| event["event"] == "added");
        let mut names: Vec<String> = names
            .filter_map(|event| event["name"].as_str().map(str::to_owned))
            .collect();
        names.sort();
        names.dedup();
        names
    }

    /// What is known of this name now; `None` when it went.
    pub fn seen(&self, name: &str) -> Option<Seen> {
        let events = self.events();
        let last = events.iter().rfind(|event| event["name"] == name)?;
        if !matches!(last["event"].as_str(), Some("added" | "updated")) {
            return None;
        }
        let addresses = last["addresses"].as_array()?.iter();
        let txt = last["txt"].as_object()?.iter();
        Some(Seen {
            name: name.to_owned(),
            host: last["host"].as_str()?.to_owned(),
            port: u16::try_from(last["port"].as_u64()?).ok()?,
            addresses: addresses
                .filter_map(|a| a.as_str().map(str::to_owned))
                .collect(),
            txt: txt
                .map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned()))
                .collect(),
        })
    }

    /// Waits until this name is resolved in a way that fits.
    #[track_caller]
    pub fn wait_for(&self, name: &str, fits: impl Fn(&Seen) -> bool) -> Seen {
        let found = wait_quietly(|| self.seen(name).filter(&fits));
        found.unwrap_or_else(|| panic!("no {name:?} as expected in:\n{}", self.process.output()))
    }

    #[track_caller]
    pub fn wait_for_goodbye(&self, name: &str) {
        let gone = wait_quietly(|| self.seen(name).is_none().then_some(()));
        assert!(
            gone.is_some(),
            "{name:?} never went in:\n{}",
            self.process.output()
        );
    }
}

fn wait_quietly<T>(mut condition: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = std::time::Instant::now() + crate::support::PATIENCE;
    while std::time::Instant::now() < deadline {
        if let Some(value) = condition() {
            return Some(value);
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    None
}

/// Avahi on a host, with a bus of its own.
pub struct Avahi<'a> {
    host: &'a Host,
    home: Home,
    daemon: Running,
}

impl<'a> Avahi<'a> {
    /// `server` are more lines of its section `[server]`; `services` a service file to publish.
    pub fn start(host: &'a Host, name: &str, server: &str, service: Option<&Path>) -> Avahi<'a> {
        let home = Home::new();
        let config = home.path().join("avahi-daemon.conf");
        let text = format!(
            "[server]\nhost-name={name}\nuse-ipv4=yes\nuse-ipv6=yes\n{server}\n[publish]\npublish-workstation=no\npublish-hinfo=no\n"
        );
        std::fs::write(&config, text).unwrap();
        let services = home.path().join("services");
        std::fs::create_dir(&services).unwrap();
        if let Some(file) = service {
            std::fs::copy(file, services.join("openclaw-gateway.service")).unwrap();
        }
        let script = "mount -t tmpfs tmpfs /run && mkdir /run/dbus /run/avahi-daemon && \
            mount --bind \"$1\" /etc/avahi/services && dbus-daemon --system --fork --nopidfile && \
            exec avahi-daemon -f \"$0\" --no-drop-root --no-chroot --no-rlimits";
        let mut command = host.command(&home, Path::new("unshare"));
        command
            .args(["--mount", "--propagation", "private", "sh", "-c", script])
            .arg(&config)
            .arg(&services);
        let mut daemon = Running::start_group(command);
        daemon.wait_for_output("Server startup complete");
        Avahi { host, home, daemon }
    }

    fn tool(&self, program: &str) -> Command {
        let mut command = self.host.command(&self.home, Path::new("nsenter"));
        command.args(["-t", &self.daemon.pid().to_string(), "-m", program]);
        command
    }

    /// What `avahi-browse` finds and resolves: one row per interface and family.
    pub fn browse(&self) -> Outcome {
        let mut command = self.tool("avahi-browse");
        command.args([
            "--parsable",
            "--resolve",
            "--terminate",
            "--no-db-lookup",
            "_openclaw-gw._tcp",
        ]);
        finish(command)
    }

    /// The rows of one name: interface, family, host, address, port, text.
    pub fn rows(&self, name: &str) -> Vec<Vec<String>> {
        let output = self.browse().stdout;
        let rows = output.lines().filter(|line| line.starts_with("=;"));
        let rows = rows.map(|line| line.split(';').map(unescape).collect::<Vec<_>>());
        rows.filter(|row| row.get(3).is_some_and(|it| it == name))
            .collect()
    }

    #[track_caller]
    pub fn wait_for(&self, name: &str, fits: impl Fn(&[Vec<String>]) -> bool) -> Vec<Vec<String>> {
        wait_for(&format!("avahi-browse to show {name:?}"), || {
            let rows = self.rows(name);
            (!rows.is_empty() && fits(&rows)).then_some(rows)
        })
    }

    #[track_caller]
    pub fn wait_for_goodbye(&self, name: &str) {
        wait_for(&format!("avahi-browse to lose {name:?}"), || {
            let output = self.browse().stdout;
            let mut rows = output.lines().map(|line| line.split(';').map(unescape));
            (!rows.any(|mut row| row.any(|field| field == name))).then_some(())
        });
    }

    /// Publishes a gateway under this name.
    pub fn publish(&self, name: &str) -> Running {
        let mut command = self.tool("avahi-publish-service");
        command.args([
            name,
            "_openclaw-gw._tcp",
            "4712",
            "role=gateway",
            "displayName=Avahi",
        ]);
        let mut running = Running::start_group(command);
        running.wait_for_output("Established under name");
        running
    }

    /// What Avahi itself logged.
    pub fn log(&self) -> String {
        self.daemon.output()
    }
}

/// `\032` is a blank: three decimal digits behind a backslash are a byte, anything else stands for itself.
fn unescape(field: &str) -> String {
    let (mut bytes, raw) = (Vec::new(), field.as_bytes());
    let mut at = 0;
    while let Some(&byte) = raw.get(at) {
        let digits = raw
            .get(at + 1..at + 4)
            .and_then(|digits| std::str::from_utf8(digits).ok());
        match (byte, digits.and_then(|digits| digits.parse().ok())) {
            (b'\\', Some(code)) => {
                bytes.push(code);
                at += 4;
            }
            (b'\\', None) => {
                bytes.extend(raw.get(at + 1));
                at += 2;
            }
            _ => {
                bytes.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The file for hosts whose Avahi keeps the port.
pub fn service_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/avahi/openclaw-gateway.service")
}
