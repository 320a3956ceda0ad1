//! The environment as a value: captured once in `main`, handed to everything else.
//!
//! A setting that is empty or blank counts as absent (cli.md §4); `.env` files are read by `dotenv`.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::time::Duration;

use crate::config::word::{LogLevel, Word};

/// The search path when the environment has none.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Permits plaintext to private addresses.
const INSECURE_PRIVATE_WS: &str = "OPENCLAW_ALLOW_INSECURE_PRIVATE_WS";

/// All environment variables of this run.
#[derive(Clone, Default)]
pub struct Environment {
    vars: BTreeMap<OsString, OsString>,
}

/// What kind of service this process was started as (`OPENCLAW_SERVICE_KIND`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceKind {
    /// Started by the gateway's unit.
    Gateway,
    /// Started by the node host's unit.
    Node,
}

impl Environment {
    /// Reads the process environment. Called once, in `main`.
    pub fn capture() -> Self {
        Self {
            vars: std::env::vars_os().collect(),
        }
    }

    /// An environment of exactly these variables, for tests and for nested runs.
    pub fn from_pairs<K: Into<OsString>, V: Into<OsString>>(
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        Self {
            vars: pairs
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        }
    }

    /// The value as it stands; `None` when unset, empty or not UTF-8.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.vars
            .get(OsStr::new(name))?
            .to_str()
            .filter(|value| !value.is_empty())
    }

    /// The value trimmed; `None` when nothing remains. For settings, where blanks mean nothing.
    pub fn setting(&self, name: &str) -> Option<&str> {
        self.get(name)
            .map(str::trim)
            .filter(|value| !value.is_empty())
    }

    /// Whether the name is present at all, even empty.
    pub fn contains(&self, name: &str) -> bool {
        self.vars.contains_key(OsStr::new(name))
    }

    /// Every variable, in name order, for the environments of child processes.
    pub fn iter(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.vars
            .iter()
            .map(|(name, value)| (name.as_os_str(), value.as_os_str()))
    }

    /// Sets a variable for this run, as `gateway run --token` does.
    pub fn set(&mut self, name: &str, value: &str) {
        self.vars.insert(name.into(), value.into());
    }

    /// Forgets a variable for this run.
    pub fn remove(&mut self, name: &str) {
        self.vars.remove(OsStr::new(name));
    }

    /// Sets a variable that a file names, only where it is not present yet. The permission for plaintext is not
    /// taken from files: whoever starts the process gives it.
    pub fn set_missing(&mut self, name: &str, value: &str) {
        if name == INSECURE_PRIVATE_WS {
            return;
        }
        self.vars.entry(name.into()).or_insert_with(|| value.into());
    }
}

/// The variables that have a meaning of their own (cli.md §4).
impl Environment {
    /// `OPENCLAW_GATEWAY_URL`.
    pub fn gateway_url(&self) -> Option<&str> {
        self.setting("OPENCLAW_GATEWAY_URL")
    }

    /// `OPENCLAW_GATEWAY_TOKEN`; an unexpanded `${NAME}` counts as absent.
    pub fn gateway_token(&self) -> Option<&str> {
        self.credential("OPENCLAW_GATEWAY_TOKEN")
    }

    /// `OPENCLAW_GATEWAY_PASSWORD`; an unexpanded `${NAME}` counts as absent.
    pub fn gateway_password(&self) -> Option<&str> {
        self.credential("OPENCLAW_GATEWAY_PASSWORD")
    }

    /// `OPENCLAW_SETUP_CODE`: what a new node host joins with; an unexpanded `${NAME}` counts as absent.
    pub fn setup_code(&self) -> Option<&str> {
        self.credential("OPENCLAW_SETUP_CODE")
    }

    /// `OPENCLAW_GATEWAY_PORT` in any of its four forms.
    ///
    /// # Errors
    /// The warning to show when it is set and is no port; the value is then to be ignored.
    pub fn gateway_port(&self) -> Result<Option<u16>, String> {
        let Some(value) = self.setting("OPENCLAW_GATEWAY_PORT") else {
            return Ok(None);
        };
        parse_port(value)
            .map(Some)
            .ok_or_else(|| format!("ignoring OPENCLAW_GATEWAY_PORT={value}: not a port"))
    }

    /// `OPENCLAW_ALLOW_INSECURE_PRIVATE_WS=1`: plaintext to private addresses is permitted.
    pub fn allow_insecure_private_ws(&self) -> bool {
        self.setting(INSECURE_PRIVATE_WS) == Some("1")
    }

    /// `OPENCLAW_ALLOW_MULTI_GATEWAY=1`: several gateways may use one configuration file.
    pub fn allow_multi_gateway(&self) -> bool {
        self.setting("OPENCLAW_ALLOW_MULTI_GATEWAY") == Some("1")
    }

    /// `SSL_CERT_FILE`: a file of certificate authorities to trust instead of the machine's list.
    pub fn authorities(&self) -> Option<&str> {
        self.setting("SSL_CERT_FILE")
    }

    /// `OPENCLAW_HANDSHAKE_TIMEOUT_MS` in milliseconds, when it is a positive integer.
    pub fn handshake_timeout_ms(&self) -> Option<u64> {
        self.milliseconds("OPENCLAW_HANDSHAKE_TIMEOUT_MS")
    }

    /// `OPENCLAW_CONNECT_CHALLENGE_TIMEOUT_MS` in milliseconds, when it is a positive integer: how long a client
    /// waits for the gateway's challenge.
    pub fn challenge_timeout_ms(&self) -> Option<u64> {
        self.milliseconds("OPENCLAW_CONNECT_CHALLENGE_TIMEOUT_MS")
    }

    fn milliseconds(&self, name: &str) -> Option<u64> {
        let milliseconds = self.setting(name)?.parse().ok()?;
        (milliseconds > 0).then_some(milliseconds)
    }

    /// `OPENCLAW_MAX_PREAUTH_CONNECTIONS_PER_IP`, when it is a positive integer.
    pub fn max_preauth_per_ip(&self) -> Option<usize> {
        let limit = self.setting("OPENCLAW_MAX_PREAUTH_CONNECTIONS_PER_IP")?;
        limit.parse().ok().filter(|&limit| limit > 0)
    }

    /// `OPENCLAW_LOG_LEVEL`.
    ///
    /// # Errors
    /// The warning to show when it is set and is no level; the value is then to be ignored.
    pub fn log_level(&self) -> Result<Option<LogLevel>, String> {
        let Some(value) = self.setting("OPENCLAW_LOG_LEVEL") else {
            return Ok(None);
        };
        LogLevel::parse(value)
            .map(Some)
            .ok_or_else(|| format!("ignoring OPENCLAW_LOG_LEVEL={value}: not a level"))
    }

    /// `OPENCLAW_SERVICE_KIND`.
    pub fn service_kind(&self) -> Option<ServiceKind> {
        match self.setting("OPENCLAW_SERVICE_KIND")? {
            "gateway" => Some(ServiceKind::Gateway),
            "node" => Some(ServiceKind::Node),
            _ => None,
        }
    }

    /// `NOTIFY_SOCKET`: where the service manager wants to be told how this process is.
    pub fn notify_socket(&self) -> Option<&OsStr> {
        let name = self.vars.get(OsStr::new("NOTIFY_SOCKET"))?;
        (!name.is_empty()).then_some(name)
    }

    /// `LISTEN_FDS`: whether the service manager passed sockets on.
    pub fn passes_sockets(&self) -> bool {
        self.setting("LISTEN_FDS").is_some()
    }

    /// `WATCHDOG_USEC`: how long the service manager waits for a sign of life of the process `pid`; `None`
    /// when it wants none, or wants them of another process (`WATCHDOG_PID`).
    pub fn watchdog(&self, pid: u32) -> Option<Duration> {
        let meant = match self.get("WATCHDOG_PID") {
            Some(named) => named.parse() == Ok(pid),
            None => true,
        };
        let limit: u64 = self.get("WATCHDOG_USEC")?.parse().ok()?;
        (meant && limit > 0).then(|| Duration::from_micros(limit))
    }

    /// Whether systemd started this process: it then wants exit code 78 instead of a restart loop.
    pub fn under_systemd(&self) -> bool {
        self.get("INVOCATION_ID").is_some() || self.get("OPENCLAW_SYSTEMD_UNIT").is_some()
    }

    /// The absolute directories of `PATH` in their order, separated by colons; the usual ones when there
    /// are none. A relative entry would let whoever chose the working directory choose the program.
    pub fn search_path(&self) -> String {
        let entries = self.get("PATH").unwrap_or_default().split(':');
        let absolute: Vec<&str> = entries.filter(|entry| entry.starts_with('/')).collect();
        if absolute.is_empty() {
            DEFAULT_PATH.to_owned()
        } else {
            absolute.join(":")
        }
    }

    /// `SUDO_USER`: whom root works for.
    pub fn sudo_user(&self) -> Option<&str> {
        self.setting("SUDO_USER")
    }

    /// `OPENCLAW_WRAPPER`: the program that a service starts instead of this one; set and empty, none.
    pub fn wrapper(&self) -> Option<&str> {
        self.vars
            .get(OsStr::new("OPENCLAW_WRAPPER"))?
            .to_str()
            .map(str::trim)
    }

    /// `OPENCLAW_NIX_MODE=1`: the machine is configured by Nix, no command installs anything.
    pub fn nix_mode(&self) -> bool {
        self.setting("OPENCLAW_NIX_MODE") == Some("1")
    }

    /// `OPENCLAW_CONTAINER` or `OPENCLAW_CONTAINER_HINT`: who runs this in a container knows it already.
    pub fn in_container(&self) -> bool {
        ["OPENCLAW_CONTAINER", "OPENCLAW_CONTAINER_HINT"]
            .iter()
            .any(|name| self.setting(name).is_some())
    }

    /// `OPENCLAW_DISABLE_BONJOUR`: `1` keeps the gateway from advertising itself, `0` lets it also inside a
    /// container; unset, it depends on where it runs.
    ///
    /// # Errors
    /// The warning to show when it is set and says neither; nothing is advertised then, as whoever set it
    /// wanted it less rather than more.
    pub fn disable_bonjour(&self) -> Result<Option<bool>, String> {
        match self.bonjour_setting() {
            None => Ok(None),
            Some("0" | "false") => Ok(Some(false)),
            Some("1" | "true") => Ok(Some(true)),
            Some(other) => Err(format!(
                "OPENCLAW_DISABLE_BONJOUR={other} is neither 0 nor 1; nothing is advertised"
            )),
        }
    }

    /// `OPENCLAW_DISABLE_BONJOUR` as it is set, for messages.
    pub fn bonjour_setting(&self) -> Option<&str> {
        self.setting("OPENCLAW_DISABLE_BONJOUR")
    }

    /// `OPENCLAW_MDNS_HOSTNAME`: the host label to advertise instead of the machine's name.
    pub fn mdns_hostname(&self) -> Option<&str> {
        self.setting("OPENCLAW_MDNS_HOSTNAME")
    }

    /// `OPENCLAW_SSH_PORT`: the SSH port to advertise.
    ///
    /// # Errors
    /// The warning to show when it is set and is no port; the value is then to be ignored.
    pub fn ssh_port(&self) -> Result<Option<u16>, String> {
        let Some(value) = self.setting("OPENCLAW_SSH_PORT") else {
            return Ok(None);
        };
        let port = value.parse().ok().filter(|&port: &u16| port > 0);
        port.map(Some)
            .ok_or_else(|| format!("ignoring OPENCLAW_SSH_PORT={value}: not a port"))
    }

    /// `OPENCLAW_TAILNET_DNS`: the MagicDNS name to advertise, without the dot at its end.
    pub fn tailnet_dns(&self) -> Option<&str> {
        let name = self.setting("OPENCLAW_TAILNET_DNS")?;
        Some(name.trim_end_matches('.')).filter(|name| !name.is_empty())
    }

    /// `OPENCLAW_CLI_PATH`: the path of this program to advertise.
    pub fn cli_path(&self) -> Option<&str> {
        self.setting("OPENCLAW_CLI_PATH")
    }

    /// `ZDOTDIR`: where zsh reads its start-up files instead of the home directory.
    pub fn zsh_directory(&self) -> Option<&str> {
        self.get("ZDOTDIR")
    }

    /// `fish` below `XDG_CONFIG_HOME`: where fish reads its configuration instead of `~/.config/fish`.
    pub fn fish_directory(&self) -> Option<String> {
        let directory = self.get("XDG_CONFIG_HOME")?;
        directory
            .starts_with('/')
            .then(|| format!("{directory}/fish"))
    }

    /// `NO_COLOR`: any non-empty value.
    pub fn no_color(&self) -> bool {
        self.get("NO_COLOR").is_some()
    }

    /// `FORCE_COLOR`: non-empty and not `0`.
    pub fn force_color(&self) -> bool {
        self.get("FORCE_COLOR").is_some_and(|value| value != "0")
    }

    /// `COLUMNS`: the terminal's width, when it is a positive number.
    pub fn columns(&self) -> Option<usize> {
        self.setting("COLUMNS")?
            .parse()
            .ok()
            .filter(|&columns| columns > 0)
    }

    /// Names of variables of the program's former names, which are ignored and deserve one warning.
    pub fn former_names(&self) -> Vec<&str> {
        self.vars
            .keys()
            .filter_map(|name| name.to_str())
            .filter(|name| name.starts_with("CLAWDBOT_") || name.starts_with("MOLTBOT_"))
            .collect()
    }

    /// A secret, trimmed; an unexpanded `${NAME}` counts as absent.
    pub fn credential(&self, name: &str) -> Option<&str> {
        self.setting(name).filter(|value| !is_unexpanded(value))
    }
}

impl std::fmt::Debug for Environment {
    /// Names only: values may be secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.vars.keys()).finish()
    }
}

/// A value that is still the text `${NAME}`: somebody's template was never filled in.
pub fn is_unexpanded(value: &str) -> bool {
    value
        .strip_prefix("${")
        .and_then(|rest| rest.strip_suffix('}'))
        .is_some_and(|name| {
            !name.is_empty()
                && name
                    .bytes()
                    .all(|byte| byte == b'_' || byte.is_ascii_alphanumeric())
        })
}

/// `18789`, `:18789`, `127.0.0.1:18789` or `[::1]:18789`.
fn parse_port(value: &str) -> Option<u16> {
    let (host, port) = value.rsplit_once(':').unwrap_or(("", value));
    let bare_ipv6 = host.contains(':') && !(host.starts_with('[') && host.ends_with(']'));
    if bare_ipv6 || !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    port.parse().ok().filter(|&port| port > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_has_four_forms() {
        let cases = [
            ("18789", Some(18_789)),
            (":18789", Some(18_789)),
            ("127.0.0.1:18789", Some(18_789)),
            ("[::1]:18789", Some(18_789)),
            (" 19001 ", Some(19_001)),
            ("0", None),
            ("65536", None),
            ("+1", None),
            ("::1:18789", None),
            ("18789:", None),
            ("abc", None),
        ];
        for (value, port) in cases {
            let found = Environment::from_pairs([("OPENCLAW_GATEWAY_PORT", value)]).gateway_port();
            assert_eq!(found.clone().ok().flatten(), port, "{value}");
            assert_eq!(found.is_err(), port.is_none(), "{value} must warn");
        }
        assert_eq!(Environment::default().gateway_port(), Ok(None));
    }

    #[test]
    fn programs_are_searched_in_absolute_directories() {
        for (path, expected) in [
            (Some("/a:/b/c"), "/a:/b/c"),
            (Some(".:/a::bin:/b"), "/a:/b"),
            (Some(".:bin"), DEFAULT_PATH),
            (Some(""), DEFAULT_PATH),
            (None, DEFAULT_PATH),
        ] {
            let environment = Environment::from_pairs(path.map(|path| ("PATH", path)));
            assert_eq!(environment.search_path(), expected, "{path:?}");
        }
    }

    #[test]
    fn a_watchdog_is_obeyed_by_the_process_it_is_meant_for() {
        for (limit, pid, expected) in [
            ("60000000", Some("7"), Some(60)),
            ("60000000", None, Some(60)),
            ("60000000", Some("8"), None),
            ("60000000", Some("x"), None),
            ("0", Some("7"), None),
            ("soon", Some("7"), None),
        ] {
            let pairs = [("WATCHDOG_USEC", limit)].into_iter();
            let pairs = pairs.chain(pid.map(|pid| ("WATCHDOG_PID", pid)));
            let found = Environment::from_pairs(pairs).watchdog(7);
            assert_eq!(found, expected.map(Duration::from_secs), "{limit} {pid:?}");
        }
    }

    #[test]
    fn credentials_are_trimmed_and_templates_are_absent() {
        for (value, expected) in [
            (" tok ", Some("tok")),
            ("  ", None),
            ("${TOK}", None),
            ("a${TOK}", Some("a${TOK}")),
        ] {
            let environment = Environment::from_pairs([("OPENCLAW_GATEWAY_TOKEN", value)]);
            assert_eq!(environment.gateway_token(), expected, "{value}");
        }
    }

    #[test]
    fn the_beacon_is_steered_by_its_variables() {
        let environment = |name, value| Environment::from_pairs([(name, value)]);
        for (value, expected) in [
            ("1", Ok(Some(true))),
            (" 0 ", Ok(Some(false))),
            ("true", Ok(Some(true))),
            ("", Ok(None)),
        ] {
            let found = environment("OPENCLAW_DISABLE_BONJOUR", value).disable_bonjour();
            assert_eq!(found, expected, "{value}");
        }
        assert!(
            environment("OPENCLAW_DISABLE_BONJOUR", "yes")
                .disable_bonjour()
                .is_err()
        );
        assert_eq!(
            environment("OPENCLAW_SSH_PORT", "2222").ssh_port(),
            Ok(Some(2222))
        );
        for value in ["0", "ssh", "65536"] {
            assert!(
                environment("OPENCLAW_SSH_PORT", value).ssh_port().is_err(),
                "{value}"
            );
        }
        let named = environment("OPENCLAW_TAILNET_DNS", "pi.tail1.ts.net.");
        assert_eq!(named.tailnet_dns(), Some("pi.tail1.ts.net"));
        assert_eq!(environment("OPENCLAW_TAILNET_DNS", ".").tailnet_dns(), None);
    }

    #[test]
    fn levels_and_flags() {
        let environment = Environment::from_pairs([
            ("OPENCLAW_LOG_LEVEL", "loud"),
            ("OPENCLAW_HANDSHAKE_TIMEOUT_MS", "250"),
            ("OPENCLAW_CONNECT_CHALLENGE_TIMEOUT_MS", "0"),
            ("OPENCLAW_SERVICE_KIND", "gateway"),
            ("FORCE_COLOR", "0"),
            ("NO_COLOR", ""),
            ("COLUMNS", "80"),
            ("CLAWDBOT_TOKEN", "x"),
        ]);
        assert!(environment.log_level().is_err());
        assert_eq!(environment.handshake_timeout_ms(), Some(250));
        assert_eq!(environment.challenge_timeout_ms(), None);
        assert_eq!(environment.service_kind(), Some(ServiceKind::Gateway));
        assert!(!environment.force_color() && !environment.no_color());
        assert_eq!(environment.columns(), Some(80));
        assert_eq!(environment.former_names(), ["CLAWDBOT_TOKEN"]);
        assert!(!format!("{environment:?}").contains("gateway"));
    }
}
