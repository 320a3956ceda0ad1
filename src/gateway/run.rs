//! `gateway run`: one process from its configuration to its end (cli.md §5).
//!
//! It owns the order of start, restart and stop, the exit codes and the lines that scripts wait for. What a
//! gateway does between start and stop is `server`'s, what its configuration means `setup`'s and
//! `reload`'s. Why it does not run is for its caller to print; everything after the checks is a log line.

use std::net::{Ipv4Addr, SocketAddr};

use serde_json::Value;

use crate::config::{Environment, Paths};
use crate::gateway::console::LogSettings;
use crate::gateway::port_owner;
use crate::gateway::pulse::Pulse;
use crate::gateway::reload::{Occasion, Reloader, Wish};
use crate::gateway::server::{Ending, Gateway, GatewayError, wanted_addresses};
use crate::gateway::settings::{GatewaySettings, RunFlags};
use crate::gateway::setup::{MissingToken, Setup, SetupError, Source};
use crate::gateway::signals::Signals;
use crate::gateway::start_error::REFUSED;
use crate::gateway::tls;
use crate::identity::Fingerprint;
use crate::net::{Inherited, Listener, NetError, Supervisor};
use crate::pairing::AuditEntry;
use crate::store::StoreError;

/// What the process was told on its command line.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// The flags that change the gateway.
    pub flags: RunFlags,
    /// `--force`: end the gateway that holds the port first.
    pub force: bool,
    /// `--verbose`.
    pub verbose: bool,
}

/// Runs a gateway until a signal ends it; the value is the exit code.
///
/// # Errors
/// Why there is no gateway, or none any more.
pub fn run(paths: &Paths, environment: &Environment, options: &RunOptions) -> Result<u8, Failure> {
    let source = Source {
        paths,
        environment,
        flags: &options.flags,
        verbose: options.verbose,
    };
    serve(source, options)
}

/// Exit code of a gateway that stopped, but not with everything in order.
const STUCK: u8 = 1;

/// Why a gateway does not run.
#[derive(Debug)]
pub struct Failure {
    /// The whole text for stderr.
    pub text: String,
    /// The exit code.
    pub exit: u8,
}

impl From<SetupError> for Failure {
    fn from(error: SetupError) -> Self {
        Self {
            exit: error.exit_code(),
            text: error.to_string(),
        }
    }
}

fn failed(text: impl std::fmt::Display) -> Failure {
    Failure {
        text: format!("Gateway failed to start: {text}"),
        exit: 1,
    }
}

fn serve(source: Source<'_>, options: &RunOptions) -> Result<u8, Failure> {
    let mut setup = first_setup(source)?;
    if options.force {
        port_owner::evict(setup.settings.port).map_err(|text| Failure { text, exit: 1 })?;
    }
    log::info!(target: "gateway", "starting...");
    let supervisor = supervisor(source.environment);
    // Registered once: a stop that arrives while the gateway comes up or restarts is acted on.
    let signals = Signals::register().map_err(failed)?;
    let sockets = match source.environment.passes_sockets() {
        true => Inherited::take().map_err(failed)?,
        false => Inherited::default(),
    };
    let mut gateway = match start(&setup.settings, None, &sockets) {
        Ok(gateway) => gateway,
        Err(error) => return not_started(&error, &setup),
    };
    let mut refused = None;
    loop {
        let log = source.configure_log(&setup.loaded);
        announce(&gateway, &log, &supervisor);
        let pulse = Pulse::begin(&supervisor, gateway.context());
        let (end, running) = supervise(
            source,
            &gateway,
            setup,
            refused,
            (&signals, &sockets),
            pulse,
        )?;
        let reason = match &end {
            End::Restart(_) => {
                supervisor.reloading("restarting");
                Ending::Restart
            }
            End::Stop => {
                supervisor.stopping("stopping");
                Ending::Stop
            }
        };
        let stopped = gateway.stop_for(reason);
        log::info!(target: "shutdown", "stopped");
        match end {
            _ if !stopped => return Ok(STUCK),
            End::Stop => return Ok(0),
            End::Restart(next) => {
                (gateway, setup, refused) = start_again(*next, running, &sockets)?;
            }
        }
    }
}

/// Starts a gateway on what is bound already, else on the sockets of the service manager, else on its own.
fn start(
    settings: &GatewaySettings,
    bound: Option<Listener>,
    sockets: &Inherited,
) -> Result<Gateway, GatewayError> {
    let listener = match bound {
        Some(listener) => Some(listener),
        None => sockets.listener(&wanted_addresses(settings))?,
    };
    Gateway::start_on(settings.clone(), listener)
}

/// Reads and checks the configuration of a start. The console speaks from the first line on.
fn first_setup(source: Source<'_>) -> Result<Setup, Failure> {
    let loaded = source
        .load(&mut Vec::new())
        .map_err(|error| Failure::from(SetupError::Config(error)))?;
    source.configure_log(&loaded);
    log::info!(target: "gateway", "loading configuration…");
    for warning in &loaded.warnings {
        log::warn!(target: "gateway", "{warning}");
    }
    let setup = source.check(loaded, MissingToken::Generate)?;
    setup.warn();
    Ok(setup)
}

/// How a gateway with these settings is spoken to.
fn scheme(settings: &GatewaySettings) -> &'static str {
    if settings.tls.is_some() { "wss" } else { "ws" }
}

/// The certificate that another gateway on this state directory would show.
fn own_pin(settings: &GatewaySettings) -> Option<Fingerprint> {
    let certificate = settings.tls.as_ref()?.paths.certificate();
    certificate.ok().map(|own| own.fingerprint)
}

/// The service manager of this process; one that cannot be reached is said and does without.
fn supervisor(environment: &Environment) -> Supervisor {
    let watchdog = environment.watchdog(std::process::id());
    Supervisor::new(environment.notify_socket(), watchdog).unwrap_or_else(|error| {
        log::warn!(target: "gateway", "the service manager is not told: {error}");
        Supervisor::none()
    })
}

fn announce(gateway: &Gateway, log: &LogSettings, supervisor: &Supervisor) {
    let scheme = scheme(&gateway.context().settings);
    let addresses: Vec<String> = gateway
        .addresses()
        .iter()
        .map(|at| format!("{scheme}://{at}"))
        .collect();
    let addresses = addresses.join(" ");
    log::info!(target: "gateway", "http server listening {addresses}");
    match log.file() {
        Some(file) => log::info!(target: "gateway", "log file: {}", file.display()),
        None => {
            log::warn!(target: "gateway", "no log file: the directories for it belong to somebody else")
        }
    }
    log::info!(target: "gateway", "ready");
    supervisor.ready(&format!("listening on {addresses}"));
}

/// Why a gateway ends.
enum End {
    Restart(Box<Next>),
    Stop,
}

/// What a gateway is started again with.
struct Next {
    setup: Setup,
    /// Bound already, where that is possible beside the gateway that still runs.
    listener: Option<Listener>,
    audit: Vec<AuditEntry>,
}

/// Waits for signals and changes of the configuration until one of them ends the gateway. Also returns
/// what it went by in the end.
fn supervise(
    source: Source<'_>,
    gateway: &Gateway,
    setup: Setup,
    refused: Option<Value>,
    (signals, sockets): (&Signals, &Inherited),
    mut pulse: Pulse<'_>,
) -> Result<(End, Setup), Failure> {
    let mut reloader = Reloader::begin(source, gateway.context(), setup, refused);
    loop {
        let deadline = [reloader.deadline(), pulse.due()]
            .into_iter()
            .flatten()
            .min();
        let woken = signals
            .wait(reloader.descriptor(), deadline)
            .map_err(failed)?;
        pulse.beat();
        if woken.stop {
            return Ok((End::Stop, reloader.applied().clone()));
        }
        let wish = if woken.restart {
            asked_for(&mut reloader)
        } else if woken.reload {
            reloader.evaluate(Occasion::Reload)
        } else {
            reloader.look()
        };
        let Some(wish) = wish else { continue };
        match bound(gateway, &wish.setup.settings, sockets) {
            Ok(listener) => {
                let next = Next {
                    setup: wish.setup,
                    listener,
                    audit: wish.audit,
                };
                return Ok((End::Restart(Box::new(next)), reloader.applied().clone()));
            }
            Err(why) => {
                log::error!(target: "reload", "gateway restart skipped: {why}; it goes on as it is");
                reloader.go_on_without(wish);
            }
        }
    }
}

/// SIGUSR1: a restart, unless it is forbidden or could only fail.
fn asked_for(reloader: &mut Reloader<'_>) -> Option<Wish> {
    if !reloader.applied().loaded.config.restart_allowed {
        log::warn!(target: "gateway", "SIGUSR1 ignored: commands.restart is false");
        return None;
    }
    match reloader.fresh() {
        Ok(wish) => Some(wish),
        Err(error) => {
            log::error!(target: "reload", "gateway restart skipped: {}; it goes on as it is", error.on_one_line());
            None
        }
    }
}

/// What can be known about the next addresses while the present ones are in use: another port is bound at
/// once, other addresses at the same port are tried at a port of the system's choice.
fn bound(
    gateway: &Gateway,
    next: &GatewaySettings,
    sockets: &Inherited,
) -> Result<Option<Listener>, String> {
    if let Some(tls) = &next.tls {
        tls::check(tls).map_err(|error| error.to_string())?;
    }
    let wanted = wanted_addresses(next);
    sockets
        .check(&wanted)
        .map_err(|error| error.to_string().replace('\n', " "))?;
    let present = gateway.addresses();
    if present.iter().all(|address| address.port() != next.port) {
        return Listener::bind(&wanted)
            .map(Some)
            .map_err(|error| match &error {
                NetError::Bind { address, source } if is_in_use(source) => {
                    port_busy(*address, next).replace('\n', " ")
                }
                _ => error.to_string(),
            });
    }
    let tried: Vec<SocketAddr> = wanted
        .iter()
        .map(|address| SocketAddr::new(address.ip(), 0))
        .collect();
    match Listener::bind(&tried) {
        Ok(_) => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

/// Starts the next gateway; where that fails, the one before once more. The third value is the document
/// that failed.
fn start_again(
    next: Next,
    before: Setup,
    sockets: &Inherited,
) -> Result<(Gateway, Setup, Option<Value>), Failure> {
    log::info!(target: "gateway", "starting...");
    let error = match start(&next.setup.settings, next.listener, sockets) {
        Ok(gateway) => {
            next.setup.warn();
            for entry in &next.audit {
                gateway.context().store.audit(entry);
            }
            return Ok((gateway, next.setup, None));
        }
        Err(error) => error,
    };
    log::error!(target: "reload", "the changed configuration does not start: {error}; going back to the one before");
    let refused = Some(next.setup.loaded.document);
    match start(&before.settings, None, sockets) {
        Ok(gateway) => Ok((gateway, before, refused)),
        Err(error) => Err(failure_of(&error, &before)),
    }
}

/// A failed first start. That another healthy gateway serves the same state directory is none.
fn not_started(error: &GatewayError, setup: &Setup) -> Result<u8, Failure> {
    let local = SocketAddr::from((Ipv4Addr::LOCALHOST, setup.settings.port));
    let locked = matches!(error, GatewayError::Store(StoreError::Locked { .. }));
    // The lock says that it serves the same state, the probe that it is well.
    if locked
        && !setup.loaded.environment.under_systemd()
        && port_owner::answers_like_gateway(local, own_pin(&setup.settings))
    {
        let scheme = scheme(&setup.settings);
        println!("{error} on {scheme}://{local}; leaving it in control");
        return Ok(0);
    }
    Err(failure_of(error, setup))
}

/// What a failed start means: somebody else's port, somebody else's state directory, or a real fault
/// (cli.md §5.2).
fn failure_of(error: &GatewayError, setup: &Setup) -> Failure {
    let under_systemd = setup.loaded.environment.under_systemd();
    let duplicate = if under_systemd { REFUSED } else { 1 };
    match error {
        GatewayError::Store(StoreError::Locked { .. }) => Failure {
            exit: duplicate,
            ..failed(error)
        },
        GatewayError::Listen(NetError::Bind { address, source }) if is_in_use(source) => Failure {
            text: port_busy(*address, &setup.settings),
            exit: duplicate,
        },
        GatewayError::Listen(NetError::Bind { address, source }) => failed(format!(
            "failed to bind gateway socket on {}://{address}: {source}",
            scheme(&setup.settings)
        )),
        // Started again it would find the same.
        GatewayError::Inherited(_) => Failure {
            exit: REFUSED,
            ..failed(error)
        },
        GatewayError::Tls(fault) => Failure {
            exit: fault.exit_code(),
            ..failed(error)
        },
        _ => failed(error),
    }
}

fn is_in_use(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::AddrInUse
}

fn port_busy(address: SocketAddr, settings: &GatewaySettings) -> String {
    let port = address.port();
    let scheme = scheme(settings);
    let local = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let who = if port_owner::answers_like_gateway(local, own_pin(settings)) {
        "another gateway instance is already listening"
    } else {
        "another program is already listening"
    };
    let mut text = format!(
        "Gateway failed to start: {who} on {scheme}://{address}\nPort {port} is already in use."
    );
    for owner in port_owner::owners(port) {
        text.push_str(&format!("\n- {owner}"));
    }
    text.push_str("\nStop it first, or choose another port with --port.");
    text
}
