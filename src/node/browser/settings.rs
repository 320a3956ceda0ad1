//! What the configuration says about browsers: `browser.*` and `nodeHost.browserProxy.*` with their defaults
//! (node-host specification, section 4.1). Read anew for every request.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use super::endpoint::Endpoint;
use super::error::BrowserError;
use super::executable::{self, Executable};
use super::guard::{Policy, Site};
use super::launch::switch;
use crate::config::{Environment, Loaded, Paths};

/// The managed profile that every machine has.
pub const MANAGED: &str = "openclaw";

/// The profile of the browser that a person uses.
const PERSONAL: &str = "user";

const PERSONAL_COLOR: &str = "#00AA00";
const DEFAULT_COLOR: &str = "#FF4500";

/// The first debugging port lies this far above the gateway's.
const PORT_OFFSET: u16 = 11;

const LAUNCH_LIMIT: u64 = 15_000;
const READY_LIMIT: u64 = 8_000;
const LONGEST_START: u64 = 120_000;

/// Who drives a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    /// A browser that is attached to through a helper of another program.
    ExistingSession,
    /// This program.
    Openclaw,
}

impl Driver {
    /// The word of the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ExistingSession => "existing-session",
            Self::Openclaw => "openclaw",
        }
    }
}

/// Who decided whether a browser shows a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Headless {
    /// No window.
    pub on: bool,
    /// The word of the status: `request`, `env`, `profile`, `config`, `linux-display-fallback`, `default`.
    pub source: &'static str,
}

/// One profile with every default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Its name.
    pub name: String,
    /// Debugging port.
    pub port: u16,
    /// `cdpPort` says so; else it is the first one.
    pub port_is_named: bool,
    /// `cdpUrl`: a browser that somebody else runs.
    pub url: Option<String>,
    /// Who drives it.
    pub driver: Driver,
    /// Accent colour.
    pub color: String,
    /// Never start it.
    pub attach_only: bool,
    /// What the profile says about windows.
    pub headless: Option<bool>,
    /// A program of its own.
    pub executable: Option<PathBuf>,
    /// A user-data directory of its own.
    pub user_data: Option<PathBuf>,
}

impl Profile {
    /// Whether this program starts its browser; else it attaches to one that runs.
    pub fn is_launched(&self) -> bool {
        self.url.is_none() && !self.attach_only
    }

    /// Where its browser is debugged; `None` for a `cdpUrl` that cannot be used.
    pub fn endpoint(&self) -> Option<Endpoint> {
        match &self.url {
            None => Some(Endpoint::local(self.port)),
            Some(url) => Endpoint::parse(url),
        }
    }
}

/// Everything a request goes by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `browser.enabled`.
    pub enabled: bool,
    /// `nodeHost.browserProxy.enabled`.
    pub proxy_enabled: bool,
    /// `nodeHost.browserProxy.allowProfiles`; empty is no restriction.
    pub allow_profiles: Vec<String>,
    /// The profile of a request that names none.
    pub default_profile: String,
    /// Every profile, the implicit ones first.
    pub profiles: Vec<Profile>,
    /// `browser.executablePath`.
    pub executable: Option<PathBuf>,
    /// `browser.headless`.
    pub headless: Option<bool>,
    /// `OPENCLAW_BROWSER_HEADLESS`.
    pub headless_variable: Option<bool>,
    /// There is a display to show windows on, or the system needs none to be named.
    pub display: bool,
    /// `browser.noSandbox`.
    pub no_sandbox: bool,
    /// `browser.extraArgs`.
    pub extra_arguments: Vec<String>,
    /// `browser.evaluateEnabled`.
    pub evaluate: bool,
    /// `browser.localLaunchTimeoutMs`.
    pub launch_limit: Duration,
    /// `browser.localCdpReadyTimeoutMs`.
    pub ready_limit: Duration,
    /// `browser.ssrfPolicy`.
    pub policy: Policy,
    /// The first debugging port of new profiles.
    pub first_port: u16,
    /// Where the home directory is, for the usual places of programs.
    pub home: PathBuf,
}

impl Settings {
    /// The settings of a configuration.
    pub fn read(loaded: &Loaded, paths: &Paths) -> Self {
        let section = &loaded.config.browser.section;
        let environment = &loaded.environment;
        let first_port = port(section.get("cdpPortRangeStart")).unwrap_or_else(|| {
            let gateway = loaded.config.gateway.port;
            gateway.checked_add(PORT_OFFSET).unwrap_or(gateway)
        });
        let file = |value: Option<&Value>| text(value).map(|text| below_home(&text, paths));
        let profiles = profiles(section, first_port, file);
        Self {
            enabled: loaded.config.browser.enabled,
            proxy_enabled: loaded.config.node_host.browser_proxy_enabled,
            allow_profiles: loaded
                .config
                .node_host
                .allow_profiles
                .clone()
                .unwrap_or_default(),
            default_profile: text(section.get("defaultProfile"))
                .unwrap_or_else(|| MANAGED.to_owned()),
            executable: file(section.get("executablePath")),
            headless: flag(section.get("headless")),
            headless_variable: headless_variable(environment),
            display: !cfg!(target_os = "linux")
                || ["DISPLAY", "WAYLAND_DISPLAY"]
                    .iter()
                    .any(|name| environment.setting(name).is_some()),
            no_sandbox: flag(section.get("noSandbox")).unwrap_or(false),
            extra_arguments: texts(section.get("extraArgs")),
            evaluate: flag(section.get("evaluateEnabled")).unwrap_or(true),
            launch_limit: limit(section.get("localLaunchTimeoutMs"), LAUNCH_LIMIT),
            ready_limit: limit(section.get("localCdpReadyTimeoutMs"), READY_LIMIT),
            policy: policy(section.get("ssrfPolicy"), &profiles),
            profiles,
            first_port,
            home: paths.home.clone(),
        }
    }

    /// Whether the node offers its browser at all: switched on, and there is a program.
    pub fn is_offered(&self) -> bool {
        self.enabled && self.proxy_enabled && self.program(None).is_some()
    }

    /// The program of a profile, or of none in particular.
    pub fn program(&self, profile: Option<&Profile>) -> Option<Executable> {
        let own = profile.and_then(|profile| profile.executable.as_ref());
        match own.or(self.executable.as_ref()) {
            Some(path) => is_executable(path).then(|| executable::configured(path)),
            None => {
                let places = executable::places(std::env::consts::OS, &self.home);
                executable::first(places, is_executable)
            }
        }
    }

    /// Whether `browser.extraArgs` have browsers reach the network through a proxy of their owner.
    pub fn has_proxy(&self) -> bool {
        let flags = || self.extra_arguments.iter().filter_map(|flag| switch(flag));
        let value = |wanted: &str| {
            let own = flags().rev().find(|(name, _)| *name == wanted);
            own.map(|(_, value)| value.trim())
        };
        let server = value("proxy-server");
        let configured = server.is_some_and(|server| !server.is_empty() && server != "direct://")
            || value("proxy-pac-url").is_some_and(|script| !script.is_empty())
            || value("proxy-auto-detect").is_some();
        configured && value("no-proxy-server").is_none()
    }

    /// The profile of this name.
    ///
    /// # Errors
    /// [`BrowserError::UnknownProfile`].
    pub fn profile(&self, name: &str) -> Result<&Profile, BrowserError> {
        let found = self.profiles.iter().find(|profile| profile.name == name);
        found.ok_or_else(|| {
            let known = self.profiles.iter().map(|profile| profile.name.clone());
            BrowserError::UnknownProfile(name.to_owned(), known.collect())
        })
    }

    /// Refuses to start the browser of a profile whose port another one has: of two, the one that names it keeps it,
    /// else the one that comes first.
    ///
    /// # Errors
    /// [`BrowserError::Launch`] with the key to change.
    pub fn check_port(&self, profile: &Profile) -> Result<(), BrowserError> {
        let rank = |other: &Profile| {
            let at = self.profiles.iter().position(|it| it.name == other.name);
            (!other.port_is_named, at)
        };
        let mut others = self.profiles.iter().filter(|other| {
            other.port == profile.port && other.is_launched() && other.driver == Driver::Openclaw
        });
        let Some(owner) = others.find(|other| rank(other) < rank(profile)) else {
            return Ok(());
        };
        let (port, name) = (profile.port, &profile.name);
        Err(BrowserError::Launch(format!(
            "profiles \"{}\" and \"{name}\" have the same debugging port {port}; set browser.profiles.{name}.cdpPort \
             to another one",
            owner.name
        )))
    }

    /// Whether a browser of `profile` shows a window; `requested` is the request's own wish.
    pub fn headless(&self, profile: &Profile, requested: Option<bool>) -> Headless {
        let fallback = (!self.display).then_some(true);
        let sources = [
            (requested, "request"),
            (self.headless_variable, "env"),
            (profile.headless, "profile"),
            (self.headless, "config"),
            (fallback, "linux-display-fallback"),
        ];
        let decided = sources
            .into_iter()
            .find_map(|(on, source)| Some(Headless { on: on?, source }));
        decided.unwrap_or(Headless {
            on: false,
            source: "default",
        })
    }
}

fn profiles(
    section: &Value,
    first_port: u16,
    file: impl Fn(Option<&Value>) -> Option<PathBuf>,
) -> Vec<Profile> {
    let color = text(section.get("color")).unwrap_or_else(|| DEFAULT_COLOR.to_owned());
    let attach_only = flag(section.get("attachOnly")).unwrap_or(false);
    let profile = |name: &str, own: &Value| Profile {
        name: name.to_owned(),
        port: port(own.get("cdpPort")).unwrap_or(first_port),
        port_is_named: port(own.get("cdpPort")).is_some(),
        url: text(own.get("cdpUrl")),
        driver: match own.get("driver").and_then(Value::as_str) {
            Some("existing-session") => Driver::ExistingSession,
            _ => Driver::Openclaw,
        },
        color: text(own.get("color")).unwrap_or_else(|| color.clone()),
        attach_only: flag(own.get("attachOnly")).unwrap_or(attach_only),
        headless: flag(own.get("headless")),
        executable: file(own.get("executablePath")),
        user_data: file(own.get("userDataDir")),
    };
    let written = section.get("profiles").and_then(Value::as_object);
    let named = |name: &str| {
        written
            .and_then(|written| written.get(name))
            .unwrap_or(&Value::Null)
    };
    let mut managed = profile(MANAGED, named(MANAGED));
    managed.url = managed.url.or_else(|| text(section.get("cdpUrl")));
    let mut personal = profile(PERSONAL, named(PERSONAL));
    if named(PERSONAL).is_null() {
        personal.driver = Driver::ExistingSession;
        personal.color = PERSONAL_COLOR.to_owned();
    }
    let others = written.into_iter().flatten();
    let others = others.filter(|(name, _)| *name != MANAGED && *name != PERSONAL);
    [managed, personal]
        .into_iter()
        .chain(others.map(|(name, own)| profile(name, own)))
        .collect()
}

fn policy(section: Option<&Value>, profiles: &[Profile]) -> Policy {
    let list = |name| texts(section.and_then(|section| section.get(name)));
    let hosts = [list("allowedHostnames"), list("hostnameAllowlist")].concat();
    let open = section.and_then(|section| section.get("dangerouslyAllowPrivateNetwork"));
    Policy {
        private_network: flag(open).unwrap_or(false),
        hosts: hosts.iter().map(|host| host.to_ascii_lowercase()).collect(),
        debuggers: profiles
            .iter()
            .filter_map(|profile| profile.endpoint().map(|endpoint| Site::of(&endpoint)))
            .collect(),
    }
}

fn headless_variable(environment: &Environment) -> Option<bool> {
    let value = environment.setting("OPENCLAW_BROWSER_HEADLESS")?;
    match value.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Some(true),
        "0" | "false" | "no" | "off" => Some(false),
        _ => None,
    }
}

fn below_home(text: &str, paths: &Paths) -> PathBuf {
    match text.strip_prefix("~/") {
        Some(rest) => paths.home.join(rest),
        None => PathBuf::from(text),
    }
}

fn is_executable(path: &std::path::Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata()
        .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

fn text(value: Option<&Value>) -> Option<String> {
    let text = value?.as_str()?.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

fn texts(value: Option<&Value>) -> Vec<String> {
    let items = value.and_then(Value::as_array).into_iter().flatten();
    items.filter_map(|item| text(Some(item))).collect()
}

fn flag(value: Option<&Value>) -> Option<bool> {
    value?.as_bool()
}

fn port(value: Option<&Value>) -> Option<u16> {
    let port = u16::try_from(value?.as_u64()?).ok()?;
    (port > 0).then_some(port)
}

fn limit(value: Option<&Value>, otherwise: u64) -> Duration {
    let wanted = value.and_then(Value::as_u64).filter(|&wanted| wanted > 0);
    Duration::from_millis(wanted.unwrap_or(otherwise).min(LONGEST_START))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::config;
    use crate::node::testing::TempDir;

    /// The settings of this text, with these variables.
    pub fn settings(text: &str, variables: &[(&str, &str)]) -> Settings {
        let dir = TempDir::new();
        let home = dir.path().to_str().unwrap();
        let pairs = variables.iter().copied().chain([("HOME", home)]);
        let environment = Environment::from_pairs(pairs);
        let paths = Paths::resolve(&environment, None).unwrap();
        std::fs::create_dir_all(&paths.state_dir).unwrap();
        std::fs::write(&paths.config_file, text).unwrap();
        Settings::read(&config::load(&paths, &environment).unwrap(), &paths)
    }

    #[test]
    fn there_are_two_profiles_without_any_configuration() {
        let settings = settings("{}", &[]);
        let [managed, personal] = &settings.profiles[..] else {
            panic!("{:?}", settings.profiles)
        };
        assert_eq!(
            (managed.name.as_str(), managed.port, managed.driver),
            (MANAGED, 18_800, Driver::Openclaw)
        );
        assert_eq!(managed.color, "#FF4500");
        assert_eq!(
            (personal.name.as_str(), personal.driver),
            ("user", Driver::ExistingSession)
        );
        assert_eq!(personal.color, "#00AA00");
        assert!(settings.enabled && settings.proxy_enabled && settings.evaluate);
        assert_eq!(settings.default_profile, MANAGED);
        assert_eq!(settings.launch_limit, Duration::from_secs(15));
    }

    #[test]
    fn what_is_written_is_taken_over() {
        let settings = settings(
            r##"{ gateway: { port: 19000 }, nodeHost: { browserProxy: { enabled: false, allowProfiles: ["work"] } },
                 browser: { color: "#112233", defaultProfile: "work", evaluateEnabled: false, noSandbox: true,
                   localLaunchTimeoutMs: 999999, extraArgs: ["--x"], executablePath: "~/bin/chromium",
                   ssrfPolicy: { dangerouslyAllowPrivateNetwork: true, allowedHostnames: ["A.lan"], hostnameAllowlist: ["b"] },
                   profiles: { openclaw: { cdpPort: 5 }, work: { cdpPort: 7, headless: true, userDataDir: "/d" },
                     far: { cdpUrl: "http://10.0.0.1:9222" } } } }"##,
            &[],
        );
        let ports: Vec<_> = settings
            .profiles
            .iter()
            .map(|it| (it.name.as_str(), it.port))
            .collect();
        assert_eq!(
            ports,
            [
                ("openclaw", 5),
                ("user", 19_011),
                ("work", 7),
                ("far", 19_011)
            ]
        );
        assert_eq!(
            settings.profile("work").unwrap().user_data,
            Some("/d".into())
        );
        assert_eq!(
            settings.profile("far").unwrap().url.as_deref(),
            Some("http://10.0.0.1:9222")
        );
        assert!(!settings.proxy_enabled && !settings.evaluate && settings.no_sandbox);
        assert_eq!(settings.launch_limit, Duration::from_secs(120));
        assert_eq!(settings.policy.hosts, ["a.lan", "b"]);
        let debuggers = settings.policy.debuggers.iter();
        let debuggers: Vec<_> = debuggers.map(|it| (it.host.as_str(), it.port)).collect();
        assert_eq!(
            debuggers,
            [
                ("10.0.0.1", 9222),
                ("127.0.0.1", 5),
                ("127.0.0.1", 7),
                ("127.0.0.1", 19_011)
            ]
        );
        assert_eq!(
            settings.executable,
            Some(settings.home.join("bin/chromium"))
        );
        let unknown = settings.profile("x").unwrap_err().to_string();
        assert_eq!(
            unknown,
            "BrowserProfileNotFoundError: Profile \"x\" not found. Available profiles: openclaw, user, work, far"
        );
    }

    #[test]
    fn of_two_profiles_with_one_port_the_one_that_has_it_by_chance_gives_way() {
        let settings = settings(
            r#"{ browser: { profiles: { b: { cdpPort: 18800 }, c: { cdpPort: 18800 }, d: { cdpPort: 7 },
                 e: { cdpPort: 7, attachOnly: true }, f: { cdpUrl: "http://h:1" } } } }"#,
            &[],
        );
        let verdict = |name: &str| {
            let checked = settings.check_port(settings.profile(name).unwrap());
            checked.map_err(|error| error.to_string())
        };
        let refused = |other: &str, name: &str| {
            Err(format!(
                "Error: profiles \"{other}\" and \"{name}\" have the same debugging port 18800; \
                 set browser.profiles.{name}.cdpPort to another one"
            ))
        };
        for (name, expected) in [
            ("openclaw", refused("b", "openclaw")),
            ("b", Ok(())),
            ("c", refused("b", "c")),
            ("d", Ok(())),
        ] {
            assert_eq!(verdict(name), expected, "{name}");
        }
    }

    #[test]
    fn a_browser_is_proxied_when_a_proxy_is_named() {
        let proxied = |flags: &[&str]| {
            let text = format!("{{ browser: {{ extraArgs: {flags:?} }} }}");
            settings(&text, &[]).has_proxy()
        };
        for (flags, expected) in [
            (&["--proxy-server=10.0.0.1:3128"][..], true),
            (&["--proxy-pac-url=http://h/p.pac"], true),
            (&["--proxy-auto-detect"], true),
            (
                &["--proxy-server=x:1", "--proxy-bypass-list=<-loopback>"],
                true,
            ),
            (&["--proxy-bypass-list=*"], false),
            (&["--proxy-server="], false),
            (&["--proxy-server=direct://"], false),
            (&["--proxy-server"], false),
            (&["--proxy-server=x:1", "--no-proxy-server"], false),
            (&["--proxy-server=x:1", "-no-proxy-server=1"], false),
            (&["-proxy-server=x:1"], true),
            (&["--proxy-serverx=1"], false),
            (&[], false),
        ] {
            assert_eq!(proxied(flags), expected, "{flags:?}");
        }
    }

    #[test]
    fn who_decides_about_windows() {
        let decided = |text: &str, variables: &[(&str, &str)], requested| {
            let settings = settings(text, variables);
            let headless = settings.headless(settings.profile("p").unwrap(), requested);
            (headless.on, headless.source)
        };
        let with = |own: &str, all: &str| {
            format!("{{ browser: {{ {all} profiles: {{ p: {{ cdpPort: 1, {own} }} }} }} }}")
        };
        let own = with("headless: false", "headless: true,");
        let all = with("", "headless: false,");
        let none = with("", "");
        let display = ("DISPLAY", ":0");
        let variable = ("OPENCLAW_BROWSER_HEADLESS", "1");
        assert_eq!(decided(&own, &[variable], Some(false)), (false, "request"));
        assert_eq!(decided(&own, &[variable], None), (true, "env"));
        assert_eq!(decided(&own, &[], None), (false, "profile"));
        assert_eq!(decided(&all, &[], None), (false, "config"));
        assert_eq!(decided(&none, &[display], None), (false, "default"));
        if cfg!(target_os = "linux") {
            assert_eq!(decided(&none, &[], None), (true, "linux-display-fallback"));
        }
    }

    #[test]
    fn a_browser_is_offered_when_it_is_switched_on_and_there() {
        let there = std::env::current_exe().unwrap();
        let with = |more: &str, path: &str| {
            format!("{{ browser: {{ executablePath: {path:?} }}, {more} }}")
        };
        let path = there.to_str().unwrap();
        assert!(settings(&with("", path), &[]).is_offered());
        assert!(!settings(&with("", "/nowhere/chromium"), &[]).is_offered());
        assert!(
            !settings(
                &with("nodeHost: { browserProxy: { enabled: false } }", path),
                &[]
            )
            .is_offered()
        );
        let off = format!("{{ browser: {{ enabled: false, executablePath: {path:?} }} }}");
        assert!(!settings(&off, &[]).is_offered());
    }
}
