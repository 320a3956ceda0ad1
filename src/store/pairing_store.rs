//! The store as the rest of the program uses it: reading the pairing state, changing it durably,
//! writing the trail.
//!
//! It decides nothing: operations come from `pairing`, and what they want emitted or ended is
//! handed back to the caller once it is on the disk.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::pairing::{AuditEntry, Change, Changes, Part, State, clock_step};
use crate::store::audit::AuditLog;
use crate::store::clock::{Clock, SystemClock};
use crate::store::commit::{Effects, Engine, Saves};
use crate::store::directory::StateDir;
use crate::store::error::{StoreError, TransactError};
use crate::store::lock::Lock;
use crate::store::pairing_files::PairingFiles;
use crate::store::trail::{Lines, Trail};

/// Shortest time between two writes of things that may be lost (last seen, last used), in
/// milliseconds.
pub const FLUSH_INTERVAL_MS: u64 = 60_000;

/// Differences between the clock and the steady time that are an ordinary correction, in milliseconds.
const LEAST_STEP_MS: u64 = 1_000;

/// The pairing state of one state directory, owned by this process.
pub struct Store {
    dir: StateDir,
    engine: Engine<PairingFiles>,
    trail: Trail,
    clock: Arc<dyn Clock>,
    /// When touched things were last written, or the store opened.
    flushed_at_ms: AtomicU64,
    /// Absent beside a gateway that holds it.
    _lock: Option<Lock>,
}

impl Store {
    /// Opens the state directory that `lock` covers: sweeps what a crash left and loads the pairing
    /// files. Fails with [`StoreError::Malformed`] when one of them is not what it should be.
    pub fn open(lock: Lock) -> Result<Self, StoreError> {
        Self::with_clock(lock, Arc::new(SystemClock))
    }

    /// [`Store::open`] with another clock.
    pub fn with_clock(lock: Lock, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        let dir = lock.dir().clone();
        let swept = dir.sweep();
        if swept > 0 {
            log::info!("removed {swept} temporary files of an interrupted run");
        }
        Self::load(dir, Some(lock), clock)
    }

    /// Opens the pairing files of a gateway that runs, for a short change beside it: both take turns,
    /// and the gateway reads the files again before its next change. Nothing is swept.
    pub fn open_beside(dir: StateDir) -> Result<Self, StoreError> {
        Self::load(dir, None, Arc::new(SystemClock))
    }

    fn load(dir: StateDir, lock: Option<Lock>, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        let engine = Engine::open(PairingFiles::new(dir.clone())?)?;
        Ok(Store {
            trail: Trail::new(dir.audit_log()),
            flushed_at_ms: AtomicU64::new(clock.now_ms()),
            engine,
            clock,
            dir,
            _lock: lock,
        })
    }

    /// The state directory.
    pub fn dir(&self) -> &StateDir {
        &self.dir
    }

    /// The clock that operations get their time from.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Where somebody set the time of day, lets the clock follow it and all that ends by itself with it;
    /// returns by how many milliseconds. An ordinary correction moves nothing. Costs nothing otherwise.
    pub fn follow_clock(&self) -> Option<i64> {
        if self.clock.step_ms().unsigned_abs() < LEAST_STEP_MS {
            self.clock.follow(self.clock.step_ms());
            return None;
        }
        let mut followed = None;
        let moved = self.engine.transact::<_, Infallible>(|state| {
            // It may run again, on a state that was not moved.
            let step_ms = *followed.get_or_insert_with(|| {
                let step_ms = self.clock.step_ms();
                self.clock.follow(step_ms);
                step_ms
            });
            let changes = clock_step::follow(state, step_ms);
            Ok(((), effects_of(&changes)))
        });
        let written = match moved {
            Ok(()) => self.flush(),
            Err(TransactError::Store(fault)) => Err(fault),
            Err(TransactError::Refused(never)) => match never {},
        };
        if let Err(fault) = written {
            log::warn!("the clock was set, which cannot be written down now: {fault}");
        }
        // Somebody else may have followed it meanwhile.
        followed.filter(|step_ms| step_ms.unsigned_abs() >= LEAST_STEP_MS)
    }

    /// The last durable state; files changed by somebody else are read again first. Costs one
    /// `stat` call per file and no copy.
    pub fn snapshot(&self) -> Result<Arc<State>, StoreError> {
        self.engine.read()
    }

    /// The last durable state without a look at the files: for whoever looked a moment ago and has to notice only
    /// what this process did since.
    pub fn known(&self) -> Arc<State> {
        self.engine.known()
    }

    /// Looks at the last durable state; see [`Store::snapshot`].
    pub fn read<R>(&self, look: impl FnOnce(&State) -> R) -> Result<R, StoreError> {
        self.snapshot().map(|state| look(&state))
    }

    /// Runs `operation` on the newest state, at the present time in milliseconds since the epoch,
    /// and returns when the parts it wants saved are durable and its audit lines are written. The
    /// caller then does the rest of the changes. `operation` may run more than once, when a file is
    /// edited by somebody else meanwhile; only the last run counts.
    pub fn transact<T, E>(
        &self,
        mut operation: impl FnMut(&mut State, u64) -> Result<(T, Changes), E>,
    ) -> Result<(T, Changes), TransactError<E>> {
        let (value, changes, now_ms) = self.engine.transact(|state| {
            let now_ms = self.clock.now_ms();
            let (value, changes) = operation(state, now_ms)?;
            let effects = effects_of(&changes);
            Ok(((value, changes, now_ms), effects))
        })?;
        for change in &changes {
            if let Change::Audit(entry) = change {
                self.trail.append(now_ms, entry);
            }
        }
        Ok((value, changes))
    }

    /// Records a decision that changed nothing in the pairing state. A line that cannot be written
    /// stops nobody and is written later.
    pub fn audit(&self, entry: &AuditEntry) {
        self.trail.append(self.clock.now_ms(), entry);
    }

    /// The trail.
    pub fn audit_log(&self) -> &AuditLog {
        self.trail.log()
    }

    /// When [`Store::flush_due`] next has something to write, in milliseconds since the epoch;
    /// `None` while nothing was touched.
    pub fn next_flush(&self) -> Option<u64> {
        self.engine
            .is_touched()
            .then(|| self.flushed_at_ms.load(Ordering::SeqCst) + FLUSH_INTERVAL_MS)
    }

    /// Writes what was touched if the last such write is a minute ago, and the audit lines that are owed. For
    /// the timer.
    pub fn flush_due(&self, now_ms: u64) -> Result<(), StoreError> {
        self.trail.settle();
        match self.next_flush() {
            Some(due) if due <= now_ms => {
                // A disk that refuses is asked again in a minute, not at once.
                self.flushed_at_ms.store(now_ms, Ordering::SeqCst);
                self.engine.flush()
            }
            _ => Ok(()),
        }
    }

    /// Writes what was touched, now. For the end of the process. Writes nothing when nothing was.
    pub fn flush(&self) -> Result<(), StoreError> {
        self.trail.settle();
        self.flushed_at_ms
            .store(self.clock.now_ms(), Ordering::SeqCst);
        self.engine.flush()
    }

    /// How many saves there were since the store was opened; concurrent operations share them.
    pub fn saves(&self) -> u64 {
        self.engine.saves()
    }

    /// How saving went since the store was opened.
    pub fn figures(&self) -> Saves {
        self.engine.figures()
    }

    /// How writing the trail went since the store was opened.
    pub fn trail_figures(&self) -> Lines {
        self.trail.figures()
    }
}

fn effects_of(changes: &Changes) -> Effects<Part> {
    let mut effects = Effects {
        save: Vec::new(),
        touch: Vec::new(),
    };
    for change in changes {
        match change {
            Change::Save(part) => effects.save.push(*part),
            Change::Touch(part) => effects.touch.push(*part),
            Change::Emit { .. }
            | Change::EndSessions { .. }
            | Change::Refilter { .. }
            | Change::Crowded { .. }
            | Change::Audit(_) => {}
        }
    }
    effects
}

#[cfg(test)]
mod tests;
