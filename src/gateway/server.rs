//! A running gateway as one value: started from settings, stopped within a bound.
//!
//! It owns the order of start (lock, key, state, socket, threads, discovery) and of stop (no new connections,
//! goodbye of the beacon, shutdown event, 1012 for everybody, all threads joined, state flushed, lock released).

use std::fmt;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle, sleep};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::gateway::advertising::Place;
use crate::gateway::connection::{Incoming, serve};
use crate::gateway::connections::Connections;
use crate::gateway::context::{Context, Phase};
use crate::gateway::host;
use crate::gateway::limits::arrivals::dice;
use crate::gateway::limits::{ArrivalLimits, Topic};
use crate::gateway::metrics::NoPlace;
use crate::gateway::presence::Presence;
use crate::gateway::settings::GatewaySettings;
use crate::gateway::timer::Timer;
use crate::gateway::tls::{TlsError, prepare};
use crate::gateway::upkeep;
use crate::identity::{ConnId, Random};
use crate::net::listener::raise_nofile;
use crate::net::{InheritedError, Listener, NetError, Outbox, ServerTls, Wake};
use crate::protocol::close;
use crate::protocol::limits::MAX_BUFFERED_BYTES;
use crate::store::{
    Clock, ConfigLock, Lock, Purpose, StateDir, SteadyClock, Store, StoreError, load_or_create_key,
    sweep_proofs,
};

/// How long stopping waits for connections to take their goodbye.
pub const STOP_BOUND: Duration = Duration::from_secs(20);

/// How long the end of a gateway waits for the thread that keeps the zone, which may wait for a disk.
const KEEPER_BOUND: Duration = Duration::from_millis(500);

/// Pause between two looks at a thread that is about to end; only while stopping.
const JOIN_INTERVAL: Duration = Duration::from_millis(1);

/// Milliseconds after which clients may expect a restarting gateway back (cli.md §3.5).
const RESTART_EXPECTED_MS: u64 = 1_500;

/// Descriptors kept for listeners, files, timers and the lock.
const RESERVED_DESCRIPTORS: u64 = 64;

/// Descriptors one connection needs: its socket and its wake.
const DESCRIPTORS_PER_CONNECTION: u64 = 2;

/// Stack of the listener thread in bytes; it only accepts.
const LISTENER_STACK_BYTES: usize = 128 * 1024;

/// What a socket over the connection limit is told before it is closed.
const FULL: &str = "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n\
    Content-Type: text/plain; charset=utf-8\r\nContent-Length: 20\r\n\r\nToo many connections";

/// Why a gateway did not come up.
#[derive(Debug)]
pub enum GatewayError {
    /// The sockets that the service manager passed on are no use.
    Inherited(InheritedError),
    /// An address cannot be bound.
    Listen(NetError),
    /// The state directory cannot be used.
    Store(StoreError),
    /// The system gives no thread or descriptor.
    System(std::io::Error),
    /// The certificate of a port that has to speak TLS cannot be used.
    Tls(TlsError),
}

impl fmt::Display for GatewayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inherited(error) => error.fmt(f),
            Self::Listen(error) => error.fmt(f),
            Self::Store(error) => error.fmt(f),
            Self::System(error) => write!(f, "cannot start: {error}"),
            Self::Tls(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for GatewayError {}

impl From<NetError> for GatewayError {
    fn from(error: NetError) -> Self {
        Self::Listen(error)
    }
}

impl From<InheritedError> for GatewayError {
    fn from(error: InheritedError) -> Self {
        match error {
            InheritedError::Bind(error) => Self::Listen(error),
            error => Self::Inherited(error),
        }
    }
}

impl From<StoreError> for GatewayError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<TlsError> for GatewayError {
    fn from(error: TlsError) -> Self {
        Self::Tls(error)
    }
}

impl From<std::io::Error> for GatewayError {
    fn from(error: std::io::Error) -> Self {
        Self::System(error)
    }
}

/// Why a gateway ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It comes back at once, in the same process.
    Restart,
    /// It stops.
    Stop,
}

impl Ending {
    /// The payload of the `shutdown` event.
    fn payload(self) -> Value {
        match self {
            Self::Restart => {
                json!({"reason": "gateway restarting", "restartExpectedMs": RESTART_EXPECTED_MS})
            }
            Self::Stop => json!({"reason": "gateway stopping", "restartExpectedMs": null}),
        }
    }
}

/// A running gateway. Dropping it stops it.
pub struct Gateway {
    addresses: Vec<SocketAddr>,
    connections: Connections,
    context: Arc<Context>,
    stop: Arc<Wake>,
    threads: Vec<JoinHandle<()>>,
}

impl Gateway {
    /// Takes the state directory, binds and serves; ready when this returns.
    pub fn start(settings: GatewaySettings) -> Result<Self, GatewayError> {
        Self::start_on(settings, None)
    }

    /// [`Gateway::start`] with another clock, for tests of expiry.
    pub fn start_with_clock(
        settings: GatewaySettings,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, GatewayError> {
        Self::start_with(settings, clock, None)
    }

    /// [`Gateway::start`] with addresses that were bound before.
    pub fn start_on(
        settings: GatewaySettings,
        bound: Option<Listener>,
    ) -> Result<Self, GatewayError> {
        Self::start_with(settings, Arc::new(SteadyClock::start()), bound)
    }

    fn start_with(
        mut settings: GatewaySettings,
        clock: Arc<dyn Clock>,
        bound: Option<Listener>,
    ) -> Result<Self, GatewayError> {
        let directory = StateDir::open(&settings.state_dir)?;
        let lock = if settings.multi_gateway {
            Lock::acquire_state(&directory, Purpose::Gateway)?
        } else {
            let config_lock = ConfigLock {
                temp_dir: &settings.temp_dir,
                config_file: &settings.config_file,
            };
            Lock::acquire(&directory, config_lock, Purpose::Gateway)?
        };
        settings.arrivals = affordable(settings.arrivals);
        let identity = load_or_create_key(lock.dir(), clock.now_ms())?;
        let now_ms = clock.now_ms();
        let store = Store::with_clock(lock, clock)?;
        let tls = settings.tls.as_ref().map(|tls| prepare(tls, now_ms));
        let tls = tls.transpose()?;
        let listener = match bound {
            Some(listener) => listener,
            None => Listener::bind(&wanted_addresses(&settings))?,
        };
        let addresses = listener.addresses();
        let stop = Arc::new(Wake::new()?);
        let (timer, timer_thread) = Timer::start()?;
        let presence = Presence::new(host::row());
        let context = Context::new(settings, store, identity, timer, presence, tls);
        sweep_proofs(context.store.dir());
        let mut gateway = Self {
            addresses,
            connections: context.connections.clone(),
            context,
            stop,
            threads: vec![timer_thread],
        };
        let listener_thread = gateway.listen(listener)?;
        gateway.threads.push(listener_thread);
        upkeep::begin(&gateway.context);
        gateway.context.enter(Phase::Ready);
        gateway.be_found();
        Ok(gateway)
    }

    /// The first address it listens on, with the port that was chosen.
    pub fn local_addr(&self) -> SocketAddr {
        self.addresses
            .first()
            .copied()
            .unwrap_or_else(|| ([0, 0, 0, 0], 0).into())
    }

    /// Every address it listens on.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The shared parts, for tests and embedding.
    pub fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// Open connections, admitted or not.
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// Ends every connection with 1012 and waits for all threads; `false` when some did not end in
    /// time.
    pub fn stop(self) -> bool {
        self.stop_for(Ending::Stop)
    }

    /// [`Gateway::stop`] with the reason that clients are told.
    pub fn stop_for(mut self, ending: Ending) -> bool {
        self.shut_down(ending)
    }

    /// Lets the networks around know, in a thread that nothing here waits for before the end.
    fn be_found(&mut self) {
        let place = Place {
            listen: self.context.settings.listen.clone(),
            port: self.local_addr().port(),
            fingerprint: self.context.tls.as_ref().map(ServerTls::fingerprint),
        };
        let advertising = &self.context.rules().advertising;
        self.threads
            .extend(self.context.publicity.begin(advertising, place));
    }

    fn listen(&self, listener: Listener) -> std::io::Result<JoinHandle<()>> {
        let context = Arc::clone(&self.context);
        let connections = self.connections.clone();
        let stop = Arc::clone(&self.stop);
        Builder::new().name("listener".into()).stack_size(LISTENER_STACK_BYTES).spawn(move || {
            let accepted = |socket, address, spare: Option<&std::io::Error>| match spare {
                None => accept(&context, &connections, socket, address),
                Some(error) => turn_away(&context, socket, address, Some(error)),
            };
            let paused = |error: &std::io::Error| {
                log::error!(target: "gateway", "cannot accept connections at the moment: {error}");
            };
            if let Err(error) = listener.run(&stop, accepted, paused) {
                log::error!(target: "gateway", "listening ended: {error}");
            }
        })
    }

    fn shut_down(&mut self, ending: Ending) -> bool {
        if self.threads.is_empty() {
            return true;
        }
        let deadline = Instant::now() + STOP_BOUND;
        self.context.enter(Phase::Stopping);
        self.context.publicity.end();
        let keeper_deadline = Instant::now() + KEEPER_BOUND;
        self.stop.notify();
        self.context.hub.broadcast("shutdown", &ending.payload());
        self.connections
            .close_all(close::RESTART, close::SERVICE_RESTART);
        let ended = self.connections.join_all(deadline);
        self.context.timer.stop();
        let mut joined = true;
        for thread in self.threads.drain(..) {
            joined &= join_until(thread, deadline);
        }
        if let Some(thread) = self.context.publicity.take_keeper() {
            // Left behind it changes nothing, so the end is none the worse for it.
            join_until(thread, keeper_deadline);
        }
        // A connection that was accepted while the listener stopped.
        self.connections
            .close_all(close::RESTART, close::SERVICE_RESTART);
        let ended = ended & joined & self.connections.join_all(deadline);
        if let Err(fault) = self.context.store.flush() {
            log::error!(target: "shutdown", "last-seen times are not saved: {fault}");
        }
        ended
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.shut_down(Ending::Stop);
    }
}

/// Starts the thread of an accepted socket, or turns it away; never blocks.
fn accept(
    context: &Arc<Context>,
    connections: &Connections,
    socket: TcpStream,
    address: SocketAddr,
) {
    let counters = &context.counters;
    counters.accepted.note();
    let outbox = match Outbox::counted(MAX_BUFFERED_BYTES, Arc::clone(&counters.traffic)) {
        Ok(outbox) => outbox,
        Err(error) => return turn_away(context, socket, address, Some(&error)),
    };
    let open = connections.len();
    let dice = dice();
    let Some(slot) = context
        .arrivals
        .enter(Some(address.ip()), &outbox, open, dice)
    else {
        return turn_away(context, socket, address, None);
    };
    let conn = ConnId::from(Random.uuid());
    let incoming = Incoming {
        accepted: Instant::now(),
        address,
        conn: conn.clone(),
        outbox: outbox.clone(),
        slot,
        socket,
    };
    let serving = Arc::clone(context);
    let first = move |incoming| serve(&serving, incoming);
    if let Err((error, Some(incoming))) = connections.spawn(conn, outbox, incoming, first) {
        turn_away(context, incoming.socket, address, Some(&error));
    }
}

/// Says in one line of HTTP that there is no room, and closes; `cause` is what the system refused.
fn turn_away(
    context: &Context,
    mut socket: TcpStream,
    address: SocketAddr,
    cause: Option<&std::io::Error>,
) {
    let full = cause.map_or(NoPlace::Connections, |_| NoPlace::System);
    context.counters.turned_away.note(full as usize);
    if context.chatter.allows(Topic::TurnedAway, &context.timer) {
        match cause {
            Some(error) => log::error!(target: "gateway", "cannot serve {address}: {error}"),
            None => log::warn!(target: "ws", "too many connections; turned away {address}"),
        }
    }
    // One small write into an empty buffer; a peer that cannot take it gets nothing. Under TLS there is
    // nothing to say without a handshake.
    if context.tls.is_none() {
        let _ = socket
            .set_nonblocking(true)
            .and_then(|()| socket.write_all(FULL.as_bytes()));
    }
}

/// Joins a thread that was told to end; `false`, and it is left alone, when it does not in time.
fn join_until(thread: JoinHandle<()>, deadline: Instant) -> bool {
    while !thread.is_finished() {
        if Instant::now() >= deadline {
            let name = thread.thread().name().unwrap_or("unnamed").to_owned();
            log::error!(target: "shutdown", "the thread {name} does not end");
            return false;
        }
        sleep(JOIN_INTERVAL);
    }
    // A panic in it was logged when it happened.
    let _ = thread.join();
    true
}

/// Where a gateway with these settings listens.
pub fn wanted_addresses(settings: &GatewaySettings) -> Vec<SocketAddr> {
    let listen = settings.listen.iter();
    listen
        .map(|address| SocketAddr::new(*address, settings.port))
        .collect()
}

/// The limits lowered to what the process may have descriptors for.
fn affordable(wanted: ArrivalLimits) -> ArrivalLimits {
    let Some(descriptors) = raise_nofile() else {
        return wanted;
    };
    let room = descriptors.saturating_sub(RESERVED_DESCRIPTORS) / DESCRIPTORS_PER_CONNECTION;
    let room = usize::try_from(room).unwrap_or(usize::MAX);
    if wanted.connections <= room {
        return wanted;
    }
    ArrivalLimits::new(room)
}
