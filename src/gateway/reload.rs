//! A changed configuration under a running gateway: noticed, judged, applied (cli.md §3.5).
//!
//! It owns the watch on the files, the quiet time before they are read, and the decision between "nothing",
//! "at once" and "restart". What a change means for live sessions is `transition`'s, the restart itself
//! `run`'s. A configuration that fails a check leaves everything as it is.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::config::diff::ChangedKey;
use crate::config::key::Effect;
use crate::config::watch::Watch;
use crate::config::word::ReloadMode;
use crate::gateway::changes::{changes, names, trail, with_effect};
use crate::gateway::context::Context;
use crate::gateway::setup::{MissingToken, Setup, SetupError, Source};
use crate::gateway::transition::{Transition, adopt};
use crate::net::file_events::LOOK_INTERVAL;
use crate::pairing::AuditEntry;

/// Longest quiet time, whatever is configured: a person who waits for an edit gives up before.
const MAX_DEBOUNCE: Duration = Duration::from_secs(60);

/// How many quiet times a file that never comes to rest is waited for before it is read all the same.
const MAX_POSTPONEMENTS: u32 = 10;

/// How often the set of files may turn out to be another one while they are read; each level of includes
/// needs one round, and they may change meanwhile.
const MAX_ROUNDS: usize = 8;

/// Longest wait for running invokes, whatever is configured.
const MAX_DEFERRAL: Duration = Duration::from_secs(60 * 60);

/// Pause between two looks at running invokes; only while a restart waits for them.
const RUNNING_INTERVAL: Duration = Duration::from_millis(200);

/// Why the configuration is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occasion {
    /// A file changed.
    File,
    /// SIGHUP: somebody asked for the configuration to be read.
    Reload,
    /// SIGUSR1: somebody asked for a restart.
    Restart,
}

impl Occasion {
    const fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Reload => "SIGHUP",
            Self::Restart => "SIGUSR1",
        }
    }
}

/// A restart that a changed configuration asks for.
#[derive(Debug)]
pub struct Wish {
    /// Why.
    pub occasion: Occasion,
    /// What to start with.
    pub setup: Setup,
    /// What to write into the trail once it runs.
    pub audit: Vec<AuditEntry>,
}

impl Wish {
    /// A restart with `setup`, for whose sake the trail will name these changes.
    fn new(occasion: Occasion, setup: Setup, changed: &[ChangedKey]) -> Self {
        let detail = |_: &ChangedKey| json!({"effect": "restart"});
        Self {
            audit: trail(changed, occasion.as_str(), &detail),
            occasion,
            setup,
        }
    }
}

/// Keeps a running gateway in step with its configuration.
pub struct Reloader<'a> {
    source: Source<'a>,
    context: Arc<Context>,
    /// What the gateway was started with; keys that need a restart stand as they are here.
    started: Setup,
    /// What holds now.
    applied: Setup,
    /// A document that a gateway could not be restarted with: not tried again before it changes.
    refused: Option<Value>,
    /// A restart that waits for running invokes.
    deferred: Option<Deferred>,
    watch: Watch,
    noticed: Option<Noticed>,
    next_look: Instant,
}

/// A restart that is not to cut off what runs.
#[derive(Debug)]
struct Deferred {
    wish: Wish,
    until: Instant,
}

/// A change that waits for its quiet time to pass.
#[derive(Clone, Copy, Debug)]
struct Noticed {
    due: Instant,
    latest: Instant,
}

impl<'a> Reloader<'a> {
    /// Begins to watch for a gateway that was started with `setup`. `refused` is a document that was
    /// tried before and failed.
    pub fn begin(
        source: Source<'a>,
        context: &Arc<Context>,
        setup: Setup,
        refused: Option<Value>,
    ) -> Self {
        let mut reloader = Self {
            source,
            context: Arc::clone(context),
            started: setup.clone(),
            applied: setup,
            refused,
            deferred: None,
            watch: Watch::default(),
            noticed: None,
            next_look: Instant::now(),
        };
        if reloader.is_watching() {
            // What changed between the reading for the start and now is noticed by reading once more.
            reloader.notice();
        }
        reloader
    }

    /// What holds now.
    pub fn applied(&self) -> &Setup {
        &self.applied
    }

    /// To be polled for reading; then comes [`Reloader::look`].
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.watch.descriptor()
    }

    /// When to come back although nothing happened; then comes [`Reloader::look`], too.
    pub fn deadline(&self) -> Option<Instant> {
        let look =
            (self.is_watching() && self.watch.descriptor().is_none()).then_some(self.next_look);
        let due = self.noticed.map(|noticed| noticed.due);
        let running = self.deferred.as_ref();
        let running = running.map(|deferred| deferred.until.min(Instant::now() + RUNNING_INTERVAL));
        look.into_iter().chain(due).chain(running).min()
    }

    /// Looks at the files, and reads them once they have been quiet for long enough.
    pub fn look(&mut self) -> Option<Wish> {
        let now = Instant::now();
        self.next_look = now + LOOK_INTERVAL;
        if self.is_watching() && self.watch.look() {
            self.notice();
        }
        if self.noticed.is_some_and(|noticed| noticed.due <= now) {
            return self.evaluate(Occasion::File);
        }
        let idle = self.noticed.is_none() && self.running() == 0;
        let over = |deferred: &mut Deferred| idle || deferred.until <= now;
        self.deferred.take_if(over).map(|deferred| deferred.wish)
    }

    /// Invokes that wait for their nodes.
    fn running(&self) -> usize {
        self.context.registry().invokes.len()
    }

    /// Reads the configuration and does what its changes ask for, except a restart, which is returned.
    pub fn evaluate(&mut self, occasion: Occasion) -> Option<Wish> {
        self.noticed = None;
        let next = match self.read(MissingToken::Refuse) {
            Ok(next) => next,
            Err(error) => {
                log::warn!(target: "reload", "config reload skipped: {}", error.on_one_line());
                return None;
            }
        };
        // The file as it is now decides anew.
        self.deferred = None;
        let refused = self.refused.take();
        let may_restart =
            occasion != Occasion::File || refused.as_ref() != Some(&next.loaded.document);
        let changed = changes(&self.applied, &next, self.source.flags);
        if changed.is_empty() {
            if occasion != Occasion::File {
                log::info!(target: "reload", "config unchanged");
            }
            return None;
        }
        log::info!(target: "reload", "config change detected; evaluating reload ({})", names(&changed));
        for warning in &next.loaded.warnings {
            log::warn!(target: "reload", "{warning}");
        }
        self.act(next, &changed, occasion, may_restart)
    }

    /// Goes on without a restart that turned out to be impossible: what needs none is applied.
    pub fn go_on_without(&mut self, wish: Wish) {
        let changed = changes(&self.applied, &wish.setup, self.source.flags);
        self.settle(wish.setup, &changed, wish.occasion);
    }

    /// The setup of a restart that somebody asked for.
    pub fn fresh(&mut self) -> Result<Wish, SetupError> {
        let setup = self.read(MissingToken::Generate)?;
        let changed = changes(&self.started, &setup, self.source.flags);
        Ok(Wish::new(Occasion::Restart, setup, &changed))
    }

    fn act(
        &mut self,
        next: Setup,
        changed: &[ChangedKey],
        occasion: Occasion,
        may_restart: bool,
    ) -> Option<Wish> {
        let mode = next.loaded.config.gateway.reload.mode;
        let mode = match (mode, occasion) {
            (ReloadMode::Off, Occasion::File) => {
                log::info!(
                    target: "reload",
                    "gateway.reload.mode is off: changes wait for SIGHUP or a restart"
                );
                self.applied.loaded.config.gateway.reload = next.loaded.config.gateway.reload;
                self.watch = Watch::default();
                return None;
            }
            // Somebody who sends the signal asks for more than the file says.
            (ReloadMode::Off, Occasion::Reload | Occasion::Restart) => ReloadMode::Hybrid,
            (mode, _) => mode,
        };
        let since_start = changes(&self.started, &next, self.source.flags);
        let needs_restart = with_effect(&since_start, Effect::Restart);
        let has_effect = changed.iter().any(|key| key.effect != Effect::None);
        let restarts = match mode {
            ReloadMode::Hybrid => !needs_restart.is_empty(),
            ReloadMode::Restart => has_effect || !needs_restart.is_empty(),
            ReloadMode::Hot | ReloadMode::Off => false,
        };
        if restarts && may_restart {
            let asking = if needs_restart.is_empty() {
                changed
            } else {
                &needs_restart
            };
            log::info!(target: "reload", "config change requires gateway restart ({})", names(asking));
            return self.restart_or_wait(next, changed, occasion);
        }
        self.settle(next, changed, occasion);
        None
    }

    /// The wish for a restart; where invokes are running, only after them, or when patience ends. What
    /// needs no restart does not wait.
    fn restart_or_wait(
        &mut self,
        next: Setup,
        changed: &[ChangedKey],
        occasion: Occasion,
    ) -> Option<Wish> {
        let configured = next.loaded.config.gateway.reload.deferral_timeout_ms;
        let patience = Duration::from_millis(configured).min(MAX_DEFERRAL);
        let running = self.running();
        // Else whoever is to lose access decides when, by keeping an invoke open.
        let urgent = changed.iter().any(|key| decides_who_comes_in(&key.path));
        if running == 0 || patience.is_zero() || urgent {
            return Some(Wish::new(occasion, next, changed));
        }
        log::info!(
            target: "reload",
            "gateway restart waits for {running} running invokes, at most {} s", patience.as_secs()
        );
        self.deferred = Some(Deferred {
            wish: Wish::new(
                occasion,
                next.clone(),
                &with_effect(changed, Effect::Restart),
            ),
            until: Instant::now() + patience,
        });
        self.settle_hot(next, changed, occasion);
        None
    }

    /// Applies what needs no restart and says what waits for one.
    fn settle(&mut self, next: Setup, changed: &[ChangedKey], occasion: Occasion) {
        let waiting = with_effect(changed, Effect::Restart);
        if !waiting.is_empty() {
            log::warn!(target: "reload", "config change requires gateway restart ({})", names(&waiting));
        }
        self.settle_hot(next, changed, occasion);
    }

    fn settle_hot(&mut self, next: Setup, changed: &[ChangedKey], occasion: Occasion) {
        let loaded = next
            .loaded
            .without_restart(&self.started.loaded, self.source.paths);
        let effective = loaded
            .map_err(SetupError::from)
            .and_then(|loaded| self.source.check(loaded, MissingToken::Refuse));
        match effective {
            Ok(effective) => self.apply(next, &effective, changed, occasion),
            Err(error) => {
                log::warn!(target: "reload", "config reload skipped: {}", error.on_one_line());
            }
        }
    }

    /// Puts what needs no restart in force.
    fn apply(
        &mut self,
        next: Setup,
        effective: &Setup,
        changed: &[ChangedKey],
        occasion: Occasion,
    ) {
        let applied: Vec<ChangedKey> = changed
            .iter()
            .filter(|key| key.effect != Effect::Restart)
            .cloned()
            .collect();
        let hot = applied.iter().any(|key| key.effect == Effect::Hot);
        let transition = if hot {
            adopt(&self.context, effective.settings.rules.clone())
        } else {
            Transition::default()
        };
        self.applied = Setup {
            loaded: next.loaded,
            settings: effective.settings.clone(),
            advice: next.advice,
        };
        let detail = |_: &ChangedKey| {
            let mut detail = json!({"effect": "hot"});
            if transition.ended > 0 {
                detail["sessionsEnded"] = json!(transition.ended);
            }
            detail
        };
        for entry in trail(&applied, occasion.as_str(), &detail) {
            self.context.store.audit(&entry);
        }
        if !applied.is_empty() {
            log::info!(
                target: "reload",
                "config change applied ({}): {} sessions ended, {} nodes re-filtered",
                names(&applied), transition.ended, transition.refiltered
            );
        }
        // The next line is written as configured: `logging.*` needs no restart.
        self.source.configure_log(&self.applied.loaded);
        if !self.is_watching() {
            self.watch = Watch::default();
        } else if self.watch.is_empty() {
            // Reading sets the watch.
            self.notice();
        }
    }

    /// Reads and checks. The watch follows every file that had a part in it, and is set before the last
    /// reading, so that no later change is missed.
    fn read(&mut self, missing: MissingToken) -> Result<Setup, SetupError> {
        let mut rounds = 0;
        loop {
            rounds += 1;
            let mut files = Vec::new();
            let found = self.source.read(&mut files, missing);
            let moved = self.is_watching() && self.watch.follow(files);
            if !moved || rounds == MAX_ROUNDS {
                return found;
            }
        }
    }

    /// Starts the quiet time anew.
    fn notice(&mut self) {
        let configured = self.applied.loaded.config.gateway.reload.debounce_ms;
        let quiet = Duration::from_millis(configured).min(MAX_DEBOUNCE);
        let now = Instant::now();
        let latest = match self.noticed {
            Some(noticed) => noticed.latest,
            None => now + quiet * MAX_POSTPONEMENTS,
        };
        self.noticed = Some(Noticed {
            due: latest.min(now + quiet),
            latest,
        });
    }

    fn is_watching(&self) -> bool {
        self.applied.loaded.config.gateway.reload.mode != ReloadMode::Off
    }
}

/// Whether a restart for this key is about who may be here.
fn decides_who_comes_in(path: &str) -> bool {
    const KEYS: [&str; 4] = [
        "gateway.auth",
        "gateway.controlUi.allowInsecureAuth",
        "gateway.controlUi.dangerously",
        "gateway.tls",
    ];
    KEYS.iter().any(|start| path.starts_with(start))
}
