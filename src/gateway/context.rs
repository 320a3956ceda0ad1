//! What every part of the daemon shares: the store, the live sessions, the registry, the clock hand.
//!
//! One value per gateway, in an `Arc`; threads and timers hold it, nothing else is global. It owns no
//! behaviour beyond handing out its parts. Lock order: pairing state, registry, approvals, hub; presence
//! and the smaller tables are taken alone and never while another lock is waited for.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Instant;

use crate::exec::ApprovalsFile;
use crate::gateway::advertising::Publicity;
use crate::gateway::connections::Connections;
use crate::gateway::crowd::Crowd;
use crate::gateway::exec_approval::Book;
use crate::gateway::hub::Hub;
use crate::gateway::journal::Journal;
use crate::gateway::limits::preauth::Preauth;
use crate::gateway::limits::{Arrivals, Chatter, Guard};
use crate::gateway::metrics::Counters;
use crate::gateway::node_events::NodeEvents;
use crate::gateway::pending_work::PendingWork;
use crate::gateway::presence::Presence;
use crate::gateway::registry::Registry;
use crate::gateway::rules::Rules;
use crate::gateway::settings::GatewaySettings;
use crate::gateway::ssh_proof::SshProofs;
use crate::gateway::timer::Timer;
use crate::gateway::upkeep::Upkeep;
use crate::gateway::whois::Whois;
use crate::identity::DeviceKey;
use crate::net::ServerTls;
use crate::pairing::policy::CommandPolicy;
use crate::store::Store;

/// Where a gateway is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// It listens, but is not ready to admit anybody.
    Starting = 0,
    /// It serves.
    Ready = 1,
    /// It is ending its sessions.
    Stopping = 2,
}

/// The shared parts of one running gateway.
pub struct Context {
    /// The sockets that are not admitted, whether they asked for an upgrade or not.
    pub arrivals: Arc<Arrivals>,
    /// Log lines that strangers can cause.
    pub chatter: Arc<Chatter>,
    /// The open connections, admitted or not.
    pub connections: Connections,
    /// What happened since it started.
    pub counters: Counters,
    /// Failed attempts to prove something.
    pub guard: Arc<Guard>,
    /// The live sessions.
    pub hub: Hub,
    /// The gateway's own key.
    pub identity: DeviceKey,
    /// What happened to nodes and devices lately.
    pub journal: Journal,
    /// Who asked to join in vain lately.
    pub crowd: Crowd,
    /// The budget of connections without hello.
    pub preauth: Arc<Preauth>,
    /// What the networks around are told.
    pub publicity: Publicity,
    /// What it was told.
    pub settings: GatewaySettings,
    /// Open attempts to prove an SSH login.
    pub ssh_proofs: SshProofs,
    /// When it started.
    pub started: Instant,
    /// When it started, epoch milliseconds.
    pub started_at_ms: u64,
    /// The pairing state and its files.
    pub store: Store,
    /// Deadlines.
    pub timer: Timer,
    /// What connections are accepted with; `None` is plaintext.
    pub tls: Option<ServerTls>,
    /// This machine's exec policy.
    pub exec_policy: ApprovalsFile,
    /// What the timer does about pairing requests and unsaved trifles.
    pub upkeep: Upkeep,
    /// Version of this program.
    pub version: &'static str,
    /// Whom the tailnet knows.
    pub whois: Whois,
    approvals: Mutex<Book>,
    node_events: Mutex<NodeEvents>,
    pending_work: Mutex<PendingWork>,
    phase: AtomicU8,
    presence: Mutex<Presence>,
    registry: Mutex<Registry>,
    rules: RwLock<Arc<Rules>>,
}

impl Context {
    /// Puts the parts together; the phase is [`Phase::Starting`].
    pub fn new(
        settings: GatewaySettings,
        store: Store,
        identity: DeviceKey,
        timer: Timer,
        presence: Presence,
        tls: Option<ServerTls>,
    ) -> Arc<Self> {
        let whois = Whois::new(settings.tailscale.clone());
        let exec_policy = ApprovalsFile::new(&settings.state_dir, settings.home.as_deref());
        Arc::new(Self {
            arrivals: Arrivals::new(settings.arrivals),
            chatter: Arc::default(),
            connections: Connections::default(),
            counters: Counters::default(),
            guard: Arc::default(),
            hub: Hub::default(),
            identity,
            journal: Journal::default(),
            crowd: Crowd::default(),
            preauth: Preauth::new(settings.max_preauth),
            publicity: Publicity::default(),
            rules: RwLock::new(Arc::new(settings.rules.clone().sealed())),
            settings,
            ssh_proofs: SshProofs::default(),
            started: Instant::now(),
            started_at_ms: store.clock().now_ms(),
            store,
            timer,
            tls,
            exec_policy,
            upkeep: Upkeep::default(),
            version: env!("CARGO_PKG_VERSION"),
            whois,
            approvals: Mutex::default(),
            node_events: Mutex::default(),
            pending_work: Mutex::default(),
            phase: AtomicU8::new(Phase::Starting as u8),
            presence: Mutex::new(presence),
            registry: Mutex::default(),
        })
    }

    /// Now, epoch milliseconds, from the store's clock.
    pub fn now_ms(&self) -> u64 {
        self.store.clock().now_ms()
    }

    /// Age of the gateway in milliseconds.
    pub fn uptime_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// What the gateway judges by now. A step of a decision takes it once and keeps to it; the next step takes
    /// it anew (`rules`).
    pub fn rules(&self) -> Arc<Rules> {
        let rules = self.rules.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&rules)
    }

    /// Judges by other rules from now on; what held before is returned. For `transition`, which also
    /// carries out what the difference means.
    pub fn replace_rules(&self, rules: Rules) -> Arc<Rules> {
        let mut current = self.rules.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *current, Arc::new(rules.sealed()))
    }

    /// The policy that node commands are filtered by.
    pub fn command_policy(&self) -> CommandPolicy {
        self.rules().commands.clone()
    }

    /// Where the gateway is in its life.
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::SeqCst) {
            0 => Phase::Starting,
            1 => Phase::Ready,
            _ => Phase::Stopping,
        }
    }

    /// Moves on to another phase.
    pub fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::SeqCst);
    }

    /// The live nodes and open invokes.
    pub fn registry(&self) -> MutexGuard<'_, Registry> {
        lock(&self.registry)
    }

    /// The presence rows.
    pub fn presence(&self) -> MutexGuard<'_, Presence> {
        lock(&self.presence)
    }

    /// Approvals of single commands. May be taken while the registry is held, never the other way round.
    pub fn approvals(&self) -> MutexGuard<'_, Book> {
        lock(&self.approvals)
    }

    /// What nodes reported lately.
    pub fn node_events(&self) -> MutexGuard<'_, NodeEvents> {
        lock(&self.node_events)
    }

    /// Errands that wait for nodes.
    pub fn pending_work(&self) -> MutexGuard<'_, PendingWork> {
        lock(&self.pending_work)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
