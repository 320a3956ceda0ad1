//! `gateway run`: one process from its configuration to its end (cli.md §5).
//!
//! It owns the order of the start checks, the exit codes, the lines that scripts wait for, and the
//! signals. What a gateway does between start and stop is `server`'s. Texts go to stderr as they are;
//! everything after the checks is a log line.

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use data_encoding::HEXLOWER;
use rustix::event::PollFlags;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::{flag, low_level::pipe};

use crate::config::token::save as save_generated_token;
use crate::config::word::Bind;
use crate::config::{ConfigError, Environment, Loaded, Paths, load};
use crate::gateway::auth::SharedAuth;
use crate::gateway::console;
use crate::gateway::port_owner;
use crate::gateway::server::{Ending, Gateway, GatewayError};
use crate::gateway::settings::{GatewaySettings, RunFlags, build};
use crate::gateway::start_checks::{
    AuthPlan, StartError, advice, check_mode, check_supported, plan_auth,
};
use crate::identity::{Random, Token};
use crate::net::NetError;
use crate::net::readiness::wait_all;
use crate::store::keys::{load_gateway_token, store_gateway_token};
use crate::store::{StateDir, StoreError};

/// Exit code that keeps a service manager from restarting (`RestartPreventExitStatus`).
const REFUSED: u8 = 78;

/// Random bytes of a generated shared token, written as twice as many hex digits.
const TOKEN_BYTES: usize = 24;

/// An address inside the tailnet's range; nothing is ever sent to it.
const TAILNET_PROBE: (Ipv4Addr, u16) = (Ipv4Addr::new(100, 100, 100, 100), 53);

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
pub fn run(paths: &Paths, environment: &Environment, options: &RunOptions) -> u8 {
    // Registered once: a stop that arrives while the gateway comes up or restarts is acted on.
    let mut signals = None;
    loop {
        match run_once(paths, environment, options, &mut signals) {
            Ok(Outcome::Ended) => return 0,
            Ok(Outcome::LeftAlone) => return 0,
            Ok(Outcome::Restart) => {}
            Ok(Outcome::Stuck) => return 1,
            Err(failure) => {
                eprintln!("{}", failure.text);
                return failure.exit;
            }
        }
    }
}

enum Outcome {
    /// Stopped by a signal, everything in order.
    Ended,
    /// Another healthy gateway serves this state directory.
    LeftAlone,
    /// Start again in this process.
    Restart,
    /// Stopped, but not everything ended in time.
    Stuck,
}

struct Failure {
    text: String,
    exit: u8,
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
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

fn run_once(
    paths: &Paths,
    environment: &Environment,
    options: &RunOptions,
    signals: &mut Option<Signals>,
) -> Result<Outcome, Failure> {
    let loaded = load(paths, environment).map_err(unusable)?;
    console::install(level(&loaded, options));
    log::info!(target: "gateway", "loading configuration…");
    for warning in &loaded.warnings {
        log::warn!(target: "gateway", "{warning}");
    }
    let settings = settings(paths, &loaded, &options.flags)?;
    warn(&loaded, &settings, &options.flags);
    if options.force {
        port_owner::evict(settings.port).map_err(|text| Failure { text, exit: 1 })?;
    }
    log::info!(target: "gateway", "starting...");
    let under_systemd = loaded.environment.under_systemd();
    let signals = match signals {
        Some(signals) => signals,
        None => signals.insert(Signals::register().map_err(failed)?),
    };
    let gateway = match Gateway::start(settings.clone()) {
        Ok(gateway) => gateway,
        Err(error) => return not_started(error, &settings, under_systemd),
    };
    let addresses: Vec<String> = gateway
        .addresses()
        .iter()
        .map(|at| format!("ws://{at}"))
        .collect();
    log::info!(target: "gateway", "http server listening {}", addresses.join(" "));
    log::info!(target: "gateway", "ready");
    let ending = signals
        .wait(loaded.config.restart_allowed)
        .map_err(failed)?;
    let stopped = gateway.stop_for(ending);
    log::info!(target: "shutdown", "stopped");
    Ok(match (stopped, ending) {
        (false, _) => Outcome::Stuck,
        (true, Ending::Restart) => Outcome::Restart,
        (true, Ending::Stop) => Outcome::Ended,
    })
}

fn unusable(error: ConfigError) -> Failure {
    let exit = if matches!(error, ConfigError::Invalid { .. }) {
        REFUSED
    } else {
        1
    };
    Failure {
        text: error.to_string(),
        exit,
    }
}

fn level(loaded: &Loaded, options: &RunOptions) -> log::LevelFilter {
    let configured = loaded.config.logging.console_level.filter();
    if options.verbose {
        configured.max(log::LevelFilter::Debug)
    } else {
        configured
    }
}

/// Points 2 to 7 of the start checks.
fn settings(paths: &Paths, loaded: &Loaded, flags: &RunFlags) -> Result<GatewaySettings, Failure> {
    check_mode(loaded, flags)?;
    check_supported(&loaded.config)?;
    let bind = flags.bind.unwrap_or(loaded.config.gateway.bind);
    let auth = match plan_auth(loaded, flags, bind)? {
        AuthPlan::Ready(auth) => auth,
        AuthPlan::Generate { in_config } => {
            SharedAuth::Token(generated_token(paths, loaded, in_config)?)
        }
    };
    let tailnet = if bind == Bind::Tailnet {
        tailnet_address()
    } else {
        None
    };
    Ok(build(loaded, paths, flags, auth, tailnet)?)
}

fn warn(loaded: &Loaded, settings: &GatewaySettings, flags: &RunFlags) {
    let auth = &settings.rules.auth;
    for line in advice(&loaded.config, flags, auth, settings.bind, settings.port) {
        log::warn!(target: "gateway", "{line}");
    }
    let former = loaded.environment.former_names();
    if !former.is_empty() {
        log::warn!(target: "gateway", "ignored variables of former names: {}", former.join(", "));
    }
}

/// The token of an earlier run, else a new one, stored where this run may write.
fn generated_token(paths: &Paths, loaded: &Loaded, in_config: bool) -> Result<Token, Failure> {
    let directory = StateDir::open(&paths.state_dir).map_err(failed)?;
    if let Some(token) = load_gateway_token(&directory).map_err(failed)? {
        return Ok(token);
    }
    let token = Token::from(HEXLOWER.encode(&Random.bytes::<TOKEN_BYTES>()));
    if in_config {
        save_generated_token(paths, &loaded.environment, token.as_str()).map_err(failed)?;
        log::info!(
            target: "gateway",
            "auth token was missing. Generated a new token and saved it to config (gateway.auth.token)."
        );
    } else {
        store_gateway_token(&directory, &token).map_err(failed)?;
        log::info!(
            target: "gateway",
            "auth token was missing. Generated a new token and saved it to {}.",
            paths.gateway_token_file().display()
        );
    }
    Ok(token)
}

/// This host's address in the tailnet range, found by asking the system which source address it would
/// use; no packet is sent.
fn tailnet_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect(TAILNET_PROBE).ok()?;
    match socket.local_addr().ok()?.ip() {
        IpAddr::V4(address) if is_tailnet(address) => Some(IpAddr::V4(address)),
        _ => None,
    }
}

/// 100.64.0.0/10.
fn is_tailnet(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    first == 100 && second & 0xc0 == 64
}

/// What a failed start means: somebody else's port, somebody else's state directory, or a real fault
/// (cli.md §5.2).
fn not_started(
    error: GatewayError,
    settings: &GatewaySettings,
    under_systemd: bool,
) -> Result<Outcome, Failure> {
    let local = SocketAddr::from((Ipv4Addr::LOCALHOST, settings.port));
    let duplicate = if under_systemd { REFUSED } else { 1 };
    match &error {
        GatewayError::Store(StoreError::Locked { .. }) => {
            // The lock says that it serves the same state, the probe that it is well.
            if !under_systemd && port_owner::answers_like_gateway(local) {
                println!("{error} on ws://{local}; leaving it in control");
                return Ok(Outcome::LeftAlone);
            }
            Err(Failure {
                exit: duplicate,
                ..failed(error)
            })
        }
        GatewayError::Listen(NetError::Bind { address, source })
            if source.kind() == std::io::ErrorKind::AddrInUse =>
        {
            Err(Failure {
                text: port_busy(*address),
                exit: duplicate,
            })
        }
        GatewayError::Listen(NetError::Bind { address, source }) => Err(failed(format!(
            "failed to bind gateway socket on ws://{address}: {source}"
        ))),
        _ => Err(failed(error)),
    }
}

fn port_busy(address: SocketAddr) -> String {
    let port = address.port();
    let who = if port_owner::answers_like_gateway(SocketAddr::from((Ipv4Addr::LOCALHOST, port))) {
        "another gateway instance is already listening"
    } else {
        "another program is already listening"
    };
    let mut text =
        format!("Gateway failed to start: {who} on ws://{address}\nPort {port} is already in use.");
    for owner in port_owner::owners(port) {
        text.push_str(&format!("\n- {owner}"));
    }
    text.push_str("\nStop it first, or choose another port with --port.");
    text
}

/// The signals a gateway listens to, as bytes in pipes that the main thread polls.
struct Signals {
    reload: UnixStream,
    restart: UnixStream,
    stop: UnixStream,
    registered: Vec<signal_hook::SigId>,
}

impl Signals {
    fn register() -> std::io::Result<Self> {
        let stopping = Arc::new(AtomicBool::new(false));
        let mut registered = Vec::new();
        for signal in [SIGINT, SIGTERM] {
            // The second of them finds the flag set and exits at once (cli.md §5.3).
            registered.push(flag::register_conditional_shutdown(
                signal,
                1,
                Arc::clone(&stopping),
            )?);
            registered.push(flag::register(signal, Arc::clone(&stopping))?);
        }
        let mut channel = |signals: &[i32]| -> std::io::Result<UnixStream> {
            let (reader, writer) = UnixStream::pair()?;
            for signal in signals {
                registered.push(pipe::register(*signal, writer.try_clone()?)?);
            }
            Ok(reader)
        };
        Ok(Self {
            stop: channel(&[SIGINT, SIGTERM])?,
            restart: channel(&[SIGUSR1])?,
            reload: channel(&[SIGHUP])?,
            registered,
        })
    }

    /// Sleeps until a signal ends the gateway.
    fn wait(&self, restart_allowed: bool) -> std::io::Result<Ending> {
        loop {
            let pipes = [&self.stop, &self.restart, &self.reload];
            let polled = pipes.map(|pipe| (pipe.as_fd(), PollFlags::IN));
            let ready = wait_all(&polled, None)?;
            let fired: Vec<bool> = ready.iter().map(|flags| !flags.is_empty()).collect();
            if fired.first() == Some(&true) {
                return Ok(Ending::Stop);
            }
            if fired.get(1) == Some(&true) {
                drain(&self.restart);
                if restart_allowed {
                    return Ok(Ending::Restart);
                }
                log::warn!(target: "gateway", "SIGUSR1 ignored: commands.restart is false");
            }
            if fired.get(2) == Some(&true) {
                drain(&self.reload);
                log::warn!(target: "reload", "SIGHUP: this version reads its configuration at start only; restart to apply changes");
            }
        }
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        for id in self.registered.drain(..) {
            signal_hook::low_level::unregister(id);
        }
    }
}

fn drain(mut pipe: &UnixStream) {
    // One read takes more signals than anybody sends between two polls; what is left polls again.
    let _ = pipe.read(&mut [0_u8; 64]);
}
