//! `node run`: the headless node host in the foreground.
//!
//! Puts the host together from flags, `node.json` and the configuration, then lives as long as the host
//! does. Lines for people go to stderr as they happen; stdout stays silent.

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::low_level::{pipe, unregister};

use crate::cli::answer::{Answer, FAILURE, SUCCESS};
use crate::cli::complain;
use crate::cli::error::{CliError, GatewayFailure};
use crate::cli::invocation::Invocation;
use crate::cli::node_setup;
use crate::cli::program;
use crate::cli::reach;
use crate::client::{
    ConnectIdentity, Connector, Device, DeviceTokens, Endpoint, Purpose, SetupCode, Sources,
    resolve,
};
use crate::config::environment::ServiceKind;
use crate::config::{self, Environment, Loaded, Paths, dotenv};
use crate::exec::which::search_path;
use crate::exec::{ApprovalsFile, HostPolicy, Misgivings};
use crate::identity::{DeviceId, DeviceKey, Fingerprint, Random};
use crate::net::{Supervisor, links, process};
use crate::node::audit::NodeAudit;
use crate::node::browser::BrowserProxy;
use crate::node::control::Control;
use crate::node::environment::without_secrets;
use crate::node::host::{Ending, Host};
use crate::node::invoke::{self, Dispatcher, Surface};
use crate::node::machine::Machine;
use crate::node::settings::{self, Flags, Settings};
use crate::node::skills::Skills;
use crate::node::tokens::NodeTokens;
use crate::protocol::limits::CHALLENGE_TIMEOUT;
use crate::service::{Kind, environment_file};
use crate::store::node_file::NodeFile;
use crate::store::{AuditLog, Clock, DeviceAuth, StateDir, SystemClock, load_or_create_key};

/// How long an orderly end may take after a signal, beyond what children get.
const STOP_PATIENCE: Duration = Duration::from_secs(1);

/// The exit code after a second signal: what a shell expects of Ctrl-C.
const FORCED: i32 = 130;

/// The shortest and the longest time a gateway may get to send its challenge.
const CHALLENGE_LIMITS: (Duration, Duration) =
    (Duration::from_millis(250), Duration::from_secs(600));

/// What a node host starts from.
pub struct Start {
    /// The places of this run.
    pub paths: Paths,
    /// The environment before the configuration's own variables, with what a `.env` file here adds.
    pub environment: Environment,
    /// The working directory.
    pub here: PathBuf,
    /// The configuration.
    pub loaded: Loaded,
}

impl Start {
    /// Reads what a node host of these places starts from; from here on log lines go to stderr.
    ///
    /// # Errors
    /// As [`crate::config::load()`].
    pub fn read(paths: Paths, mut environment: Environment) -> Result<Start, CliError> {
        let here = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
        dotenv::read(
            &mut environment,
            &here.join(".env"),
            dotenv::Origin::WorkingDirectory,
        );
        if environment.service_kind() == Some(ServiceKind::Node) {
            environment_file::take_over(
                &mut environment,
                &Kind::Node.environment_file(&paths.state_dir),
            );
        }
        let loaded = config::load(&paths, &environment)?;
        loaded.warnings.iter().for_each(|warning| report(warning));
        let level = loaded.config.logging.console_level.filter();
        crate::cli::output::log_to_stderr(level);
        Ok(Start {
            paths,
            environment,
            here,
            loaded,
        })
    }
}

/// Runs the node host until a signal or a refusal that only other credentials change.
pub fn run(invocation: &Invocation) -> Result<Answer, CliError> {
    let start = Start::read(invocation.paths()?, invocation.environment().clone())?;
    let code = node_setup::setup_code(invocation, &start.loaded.environment)?;
    run_from(invocation, start, code)
}

/// The same from what was read already, with the setup code or join key that was given.
pub fn run_from(
    invocation: &Invocation,
    start: Start,
    code: Option<SetupCode>,
) -> Result<Answer, CliError> {
    let Start {
        paths,
        environment,
        here,
        loaded,
    } = start;
    let dir = StateDir::open(&paths.state_dir)?;
    let key = load_or_create_key(&dir, SystemClock.now_ms())?;
    let typed_pin = reach::pin(invocation)?;
    let settings = settle(invocation, code.as_ref(), &dir, &key)?;
    if settings.tls_fingerprint.is_some() && !settings.url.secure {
        let text =
            "node host gateway connect failed: gateway tls fingerprint requires wss:// gateway url";
        return Err(CliError::failed("USAGE", text));
    }
    let pin = typed_pin.map_or_else(|| stored_pin(&settings, &dir), |pin| Ok(Some(pin)))?;
    let ssh = reach::ssh(invocation)?;
    let mut sources =
        Sources::for_node_host(settings.url.clone(), pin, ssh.as_ref(), &paths, &loaded)?;
    sources.invited = code.is_some();
    let endpoint = resolve(&sources, Purpose::NodeHost);
    let endpoint = endpoint.map_err(|error| GatewayFailure::nowhere(error.into()))?;
    let machine = Arc::new(machine(
        &key.device_id(),
        &dir,
        &endpoint.name(),
        &paths,
        &loaded,
        environment,
        here,
    ));
    // What is wrong with the policy is told now, not at the first command.
    machine.approvals.load();
    let tokens = DeviceTokens::new(dir.clone(), key.device_id(), &endpoint);
    let mut tokens = NodeTokens::new(dir.clone(), tokens, code.map(|code| code.secret));
    if endpoint.via.is_some() {
        tokens = tokens.without_mirror();
    }
    let answered = || {
        if let Err(fault) = settings::keep_pin(&settings, &dir) {
            log::warn!("cannot keep the certificate's fingerprint: {fault}");
        }
    };
    let ending = serve(
        &settings, &endpoint, &key, &tokens, &loaded, &machine, &answered,
    )?;
    let exit = if ending == Ending::Stopped {
        SUCCESS
    } else {
        FAILURE
    };
    Ok(Answer::silent().exit(exit))
}

/// Decides the host's settings and stores them, before any connection.
fn settle(
    invocation: &Invocation,
    code: Option<&SetupCode>,
    dir: &StateDir,
    key: &DeviceKey,
) -> Result<Settings, CliError> {
    let url = node_setup::gateway(invocation, code)?;
    let flags = Flags {
        host: url
            .as_ref()
            .map_or(invocation.text("host"), |url| Some(&url.host)),
        port: url
            .as_ref()
            .map_or(invocation.port("port"), |url| Some(url.port)),
        tls: url.as_ref().map_or(invocation.has("tls"), |url| url.secure),
        tls_fingerprint: invocation.text("tls-fingerprint"),
        node_id: invocation.text("node-id"),
        display_name: invocation.text("display-name"),
    };
    let mut file = NodeFile::load(dir)?;
    let before = file.gateway.clone();
    let settings = settings::resolve(&mut file, &flags, || Random.uuid(), settings::machine_name);
    let mut tokens = DeviceAuth::load(dir, &key.device_id())?;
    if settings.forget_tokens {
        tokens.forget_role("node")?;
    } else {
        tokens.claim(&settings.former_url.to_string(), "node")?;
    }
    if code.is_some() && before.is_some() && file.gateway != before {
        // The token of the former gateway is nothing that a new one should see.
        file.token = None;
    }
    file.save(dir)?;
    Ok(settings)
}

/// The pin of an earlier run; one that is unusable is an error, never no pin.
fn stored_pin(settings: &Settings, dir: &StateDir) -> Result<Option<Fingerprint>, CliError> {
    let Some(text) = &settings.tls_fingerprint else {
        return Ok(None);
    };
    Fingerprint::parse(text).map(Some).ok_or_else(|| {
        let file = dir.node_file();
        let text = format!(
            "node host gateway connect failed: gateway tls fingerprint missing: {} holds none that is usable. \
             Pass --tls-fingerprint <sha256>",
            file.display()
        );
        CliError::failed("CONFIG_INVALID", text)
    })
}

/// This machine as commands of its node host see it. `device`: its id on the wire; `captured`: the environment before
/// the configuration's own; `here`: the working directory; `gateway`: what its gateway is called in the trail.
pub fn machine(
    device: &DeviceId,
    dir: &StateDir,
    gateway: &str,
    paths: &Paths,
    loaded: &Loaded,
    captured: Environment,
    here: PathBuf,
) -> Machine {
    let environment = &loaded.environment;
    let own_directory = std::env::current_exe()
        .ok()
        .and_then(|path| path.parent().map(PathBuf::from));
    let homebrew = [
        "/opt/homebrew/bin",
        "/opt/homebrew/sbin",
        "/home/linuxbrew/.linuxbrew/bin",
    ];
    let usual: Vec<PathBuf> = own_directory
        .into_iter()
        .chain(homebrew.map(PathBuf::from))
        .chain(environment.setting("XDG_BIN_HOME").map(PathBuf::from))
        .collect();
    let configured = &loaded.config.gateway;
    let secrets: Vec<&str> = [
        &configured.auth.token,
        &configured.auth.password,
        &configured.remote.token,
        &configured.remote.password,
    ]
    .into_iter()
    .filter_map(|secret| secret.plain())
    .collect();
    let (config_paths, misgivings) = (paths.clone(), Misgivings::default());
    let browser = BrowserProxy::new(paths.clone(), captured.clone());
    Machine {
        node_id: device.as_str().to_owned(),
        program: program::of_state(paths, &captured),
        path: search_path(environment.get("PATH"), Some(&paths.home), &usual),
        home: Some(paths.home.clone()),
        cwd: here,
        environment: without_secrets(environment.iter(), &secrets),
        approvals: ApprovalsFile::new(&paths.state_dir, Some(&paths.home)),
        host_policy: Box::new(move |agent| match config::load(&config_paths, &captured) {
            Ok(loaded) => {
                let policy = HostPolicy::read(&loaded.document, agent);
                misgivings.tell(&policy.safe_bins, Some(&config_paths.home));
                Ok(policy)
            }
            Err(error) => Err(error.to_string().replace('\n', " ")),
        }),
        children: Arc::default(),
        audit: NodeAudit::new(AuditLog::new(dir.node_audit_log()), gateway.to_owned()),
        browser,
        skills: Skills::default(),
    }
}

/// As whom a node host on this machine connects, with what it offers now.
pub fn identity(settings: &Settings, machine: &Machine) -> ConnectIdentity {
    let Surface { caps, commands } = invoke::surface(machine.browser.is_offered());
    let bare = ConnectIdentity::node_host(&settings.display_name, &settings.node_id, &machine.path);
    ConnectIdentity {
        caps,
        commands,
        ..bare
    }
}

fn serve(
    settings: &Settings,
    endpoint: &Endpoint,
    key: &DeviceKey,
    tokens: &NodeTokens,
    loaded: &Loaded,
    machine: &Arc<Machine>,
    answered: &(dyn Fn() + Sync),
) -> Result<Ending, CliError> {
    let identity = identity(settings, machine);
    let surface = || invoke::surface(machine.browser.is_offered());
    let connector = Connector {
        endpoint,
        identity: &identity,
        device: Some(Device { key, tokens }),
        plaintext_opt_in: loaded.environment.allow_insecure_private_ws(),
    };
    let control = Arc::new(Control::default());
    let supervisor = Arc::new(supervisor(&loaded.environment));
    stop_on_signals(&control, machine, &supervisor)
        .map_err(|error| CliError::failed("UNAVAILABLE", error.to_string()))?;
    if let Err(error) = machine.children.adopt_orphans() {
        log::info!("processes that leave the group of their run outlive this host: {error}");
    }
    let watcher = Arc::clone(&control);
    if let Err(error) = links::watch(move || watcher.network_changed()) {
        log::warn!("changes of the network go unnoticed: {error}");
    }
    let dispatcher = Dispatcher::new(Arc::clone(machine));
    let ending = Host {
        connector,
        dispatcher: Arc::clone(&dispatcher),
        surface: &surface,
        challenge_limit: challenge_limit(loaded),
        answered,
        remedy: settings.host_source.remedy(),
        report: &report,
        supervisor: &supervisor,
    }
    .run(&control);
    machine.children.stop();
    machine.approvals.write_usage();
    // What has been run is in the trail before the program ends.
    dispatcher.settle(STOP_PATIENCE);
    Ok(ending)
}

/// How long the gateway may take to send its challenge (section 1.7): the handshake's limit may lengthen it, a
/// variable of its own decides.
fn challenge_limit(loaded: &Loaded) -> Duration {
    let handshake = Duration::from_millis(loaded.config.gateway.handshake_timeout_ms);
    let own = loaded.environment.challenge_timeout_ms();
    let limit = own.map_or(handshake.max(CHALLENGE_TIMEOUT), Duration::from_millis);
    limit.clamp(CHALLENGE_LIMITS.0, CHALLENGE_LIMITS.1)
}

/// SIGINT, SIGTERM, SIGQUIT and the end of its terminal end the host in order: the connection is closed, children are
/// ended. A connect that cannot be interrupted does not hold up the end, and a second signal ends everything at once.
fn stop_on_signals(
    control: &Arc<Control>,
    machine: &Arc<Machine>,
    supervisor: &Arc<Supervisor>,
) -> std::io::Result<()> {
    let (mut received, signalled) = UnixStream::pair()?;
    // Under nohup the host is to outlive its terminal.
    let hang_up = match process::ignores(SIGHUP) {
        true => None,
        false => Some(pipe::register(SIGHUP, signalled.try_clone()?)?),
    };
    for signal in [SIGINT, SIGTERM, SIGQUIT] {
        pipe::register(signal, signalled.try_clone()?)?;
    }
    let (control, machine) = (Arc::clone(control), Arc::clone(machine));
    let supervisor = Arc::clone(supervisor);
    let wait = move || {
        let mut byte = [0];
        if received.read_exact(&mut byte).is_err() {
            return;
        }
        // Shell and kernel both tell of one closed terminal; the second is no demand to hurry.
        if let Some(handler) = hang_up {
            unregister(handler);
        }
        supervisor.stopping("stopping");
        control.stop();
        let children = Arc::clone(&machine);
        let in_order = move || {
            children.children.stop();
            std::thread::sleep(STOP_PATIENCE);
            std::process::exit(SUCCESS.into());
        };
        let ending = std::thread::Builder::new().spawn(in_order);
        if ending.is_err() || received.read_exact(&mut byte).is_ok() {
            machine.children.kill();
            std::process::exit(FORCED);
        }
    };
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(wait)
        .map(drop)
}

/// The service manager of this process; one that cannot be reached is said and does without.
fn supervisor(environment: &Environment) -> Supervisor {
    let watchdog = environment.watchdog(std::process::id());
    Supervisor::new(environment.notify_socket(), watchdog).unwrap_or_else(|error| {
        report(&format!(
            "warning: the service manager is not told: {error}"
        ));
        Supervisor::none()
    })
}

fn report(line: &str) {
    // A reader that went away is no reason to stop working.
    let _ = complain(line);
}
