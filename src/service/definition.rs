//! What is to be run, as which service, with which environment: everything a unit or plist says that is
//! not the same for all.

use std::path::{Path, PathBuf};

use crate::config::{Environment, Paths};
use crate::service::account::Account;
use crate::service::error::ServiceError;
use crate::service::name::{Kind, Name};
use crate::service::search_path::search_path;

/// Variables that are taken over from the environment of the install where they are set, by kind.
const PERSISTED: &[&str] = &[
    "NODE_EXTRA_CA_CERTS",
    "OPENCLAW_ALLOW_INSECURE_PRIVATE_WS",
    "OPENCLAW_CONFIG_PATH",
    "OPENCLAW_HOME",
    "OPENCLAW_PROXY_URL",
    "OPENCLAW_STATE_DIR",
    "SSL_CERT_FILE",
];

/// The same for the gateway alone: what it advertises, and the proxies that its own programs may need.
const PERSISTED_FOR_GATEWAYS: &[&str] = &[
    "OPENCLAW_CLI_PATH",
    "OPENCLAW_DISABLE_BONJOUR",
    "OPENCLAW_MDNS_HOSTNAME",
    "OPENCLAW_SSH_PORT",
    "OPENCLAW_TAILNET_DNS",
    "OPENCLAW_WIDE_AREA_DOMAIN",
    "ALL_PROXY",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    "all_proxy",
    "http_proxy",
    "https_proxy",
    "no_proxy",
];

/// Variables that are secrets: never in a unit or plist, always in the environment file.
pub const SECRETS: &[&str] = &["OPENCLAW_GATEWAY_PASSWORD", "OPENCLAW_GATEWAY_TOKEN"];

/// Ports below this need a capability.
const FIRST_UNPRIVILEGED_PORT: u16 = 1024;

/// Whose service manager runs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The machine's, as this account.
    System(Account),
    /// The one of the user: this process's own, or the account behind `sudo`.
    User(Option<Account>),
}

impl Scope {
    /// The account, where it is not simply the one of this process.
    pub fn account(&self) -> Option<&Account> {
        match self {
            Self::System(account) => Some(account),
            Self::User(account) => account.as_ref(),
        }
    }

    /// Whether the machine's service manager runs it.
    pub fn is_system(&self) -> bool {
        matches!(self, Self::System(_))
    }
}

/// What is executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// This program, or the wrapper that starts it.
    pub executable: PathBuf,
    /// Whether it is a wrapper: the process that the manager sees may not be ours.
    pub wrapped: bool,
    /// The arguments.
    pub arguments: Vec<String>,
}

/// One service.
#[derive(Clone, Debug)]
pub struct Definition {
    /// Its name.
    pub name: Name,
    /// Whose it is.
    pub scope: Scope,
    /// What it executes.
    pub program: Program,
    /// Its environment in the order of the file, without secrets and without empty values.
    pub environment: Vec<(String, String)>,
    /// The state directory.
    pub state_dir: PathBuf,
    /// What a gateway writes beside the state directory: the configuration's directory, the temporary one.
    pub writable: Vec<PathBuf>,
    /// The port it listens on, for a gateway.
    pub port: Option<u16>,
}

/// Where a definition takes its values from.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// The environment of the install.
    pub environment: &'a Environment,
    /// The places of the service.
    pub paths: &'a Paths,
    /// `HOME` of the service.
    pub home: &'a Path,
    /// The directory of the install; directories below it are no place for a service's programs.
    pub here: &'a Path,
    /// Whether launchd runs it.
    pub launchd: bool,
}

impl Definition {
    /// Puts a service together. `port` is the one a gateway listens on.
    ///
    /// # Errors
    /// [`ServiceError::NotText`] for paths that are no text.
    pub fn new(
        kind: Kind,
        scope: Scope,
        program: Program,
        port: Option<u16>,
        origin: Origin<'_>,
    ) -> Result<Self, ServiceError> {
        let paths = origin.paths;
        let name = Name {
            kind,
            profile: paths.profile.clone(),
        };
        let environment = environment(&name, &program, port, origin)?;
        let config = paths.config_file.parent().map(Path::to_owned);
        Ok(Self {
            name,
            scope,
            program,
            environment,
            state_dir: paths.state_dir.clone(),
            writable: config
                .into_iter()
                .filter(|directory| !directory.starts_with(&paths.state_dir))
                .chain([paths.temp_dir.clone()])
                .collect(),
            port,
        })
    }

    /// Whether the gateway needs the capability to listen on a low port.
    pub fn has_low_port(&self) -> bool {
        self.port.is_some_and(|port| port < FIRST_UNPRIVILEGED_PORT)
    }

    /// The environment file with the secrets.
    pub fn environment_file(&self) -> PathBuf {
        self.name.kind.environment_file(&self.state_dir)
    }

    /// The executable and its arguments.
    ///
    /// # Errors
    /// [`ServiceError::NotText`].
    pub fn argv(&self) -> Result<Vec<String>, ServiceError> {
        let executable = text(&self.program.executable)?;
        Ok([executable]
            .into_iter()
            .chain(self.program.arguments.clone())
            .collect())
    }
}

/// A path as text.
///
/// # Errors
/// [`ServiceError::NotText`].
pub fn text(path: &Path) -> Result<String, ServiceError> {
    let text = path.to_str().map(str::to_owned);
    text.ok_or_else(|| ServiceError::NotText(path.to_owned()))
}

fn environment(
    name: &Name,
    program: &Program,
    port: Option<u16>,
    origin: Origin<'_>,
) -> Result<Vec<(String, String)>, ServiceError> {
    let (kind, given) = (name.kind, origin.environment);
    let mut pairs: Vec<(&str, String)> = vec![("HOME", text(origin.home)?)];
    let temporary = match (origin.launchd, kind) {
        // launchd's own TMPDIR is not the one of a terminal.
        (true, Kind::Node) => origin.paths.state_dir.join("tmp"),
        _ => origin.paths.temp_dir.clone(),
    };
    pairs.push(("TMPDIR", text(&temporary)?));
    let own_directory = program.executable.parent().filter(|_| !program.wrapped);
    pairs.push((
        "PATH",
        search_path(own_directory, origin.home, origin.here, origin.launchd),
    ));
    let proxies = match kind {
        Kind::Gateway => PERSISTED_FOR_GATEWAYS,
        Kind::Node => &[],
    };
    for variable in PERSISTED.iter().chain(proxies) {
        pairs.push((
            variable,
            given.setting(variable).unwrap_or_default().to_owned(),
        ));
    }
    if let Some(profile) = &name.profile {
        pairs.push(("OPENCLAW_PROFILE", profile.clone()));
    }
    if program.wrapped {
        pairs.push(("OPENCLAW_WRAPPER", text(&program.executable)?));
    }
    if let Some(port) = port {
        pairs.push(("OPENCLAW_GATEWAY_PORT", port.to_string()));
    }
    if kind == Kind::Gateway {
        // A thread per connection: with glibc's usual number of arenas each of them costs nearly twice as much memory.
        pairs.push(("MALLOC_ARENA_MAX", "2".to_owned()));
    }
    pairs.push(("OPENCLAW_LAUNCHD_LABEL", name.label()));
    pairs.push((
        "OPENCLAW_SYSTEMD_UNIT",
        match kind {
            Kind::Gateway => name.unit(),
            Kind::Node => name.stem(),
        },
    ));
    if kind == Kind::Node {
        pairs.push(("OPENCLAW_WINDOWS_TASK_NAME", "OpenClaw Node".to_owned()));
        pairs.push(("OPENCLAW_TASK_SCRIPT_NAME", "node.cmd".to_owned()));
        pairs.push(("OPENCLAW_LOG_PREFIX", "node".to_owned()));
    }
    pairs.push(("OPENCLAW_SERVICE_MARKER", "openclaw".to_owned()));
    pairs.push(("OPENCLAW_SERVICE_KIND", kind.word().to_owned()));
    pairs.push((
        "OPENCLAW_SERVICE_VERSION",
        env!("CARGO_PKG_VERSION").to_owned(),
    ));
    let owned = pairs.into_iter().filter(|(_, value)| !value.is_empty());
    Ok(owned
        .map(|(name, value)| (name.to_owned(), value))
        .collect())
}
