//! Group commit: many threads change one state, few saves make the changes durable.
//!
//! One mutex guards the state in memory and is never held across an fsync. Whoever finds changes
//! waiting and no save running becomes the leader, takes the writer out, and saves the newest state
//! for everybody who waits; whoever comes meanwhile joins the next batch. Changes are acknowledged
//! only when durable. Threads that change one thing after the other share their saves: the leader gives those
//! that were just served a moment to come back. A failed save fails every operation that is in it or built on it, and the
//! state goes back to the last durable one: nothing acknowledged is lost, nothing else stays.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crate::store::error::{StoreError, TransactError};

/// The longest moment that a save waits for others to join it.
const LONGEST_GATHERING: Duration = Duration::from_millis(5);

/// Something that can be loaded and saved. Only one thread at a time ever holds it.
pub trait Documents: Send {
    /// The state in memory; cloned once per operation.
    type State: Clone + Send + Sync;

    /// A piece of the state that is saved on its own.
    type Part: Copy + Ord + Send;

    /// True when what is on the disk is not what was last loaded or saved here.
    fn changed(&mut self) -> bool;

    /// Reads everything.
    fn load(&mut self) -> Result<Self::State, StoreError>;

    /// Makes `next` durable. `operations` lists per operation the parts it changed, in the order in
    /// which they must reach the disk. On an error the disk holds `previous`.
    fn save(
        &mut self,
        previous: &Self::State,
        next: &Self::State,
        operations: &[Vec<Self::Part>],
    ) -> Result<(), SaveFault>;
}

/// Why a save had no effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SaveFault {
    /// The disk refused.
    Failed(StoreError),
    /// Somebody else changed the files since they were loaded: the operations run again on what
    /// is there now.
    Stale,
}

/// How saving went so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Saves {
    /// Saves that are durable.
    pub succeeded: u64,
    /// Saves that the disk refused.
    pub failed: u64,
    /// All of them, those too that came too late because somebody else changed the files.
    pub attempts: u64,
    /// Time that all of them took.
    pub time: Duration,
}

/// What one operation changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effects<P> {
    /// Parts that must be durable before the operation is acknowledged, in the order in which they
    /// must reach the disk.
    pub save: Vec<P>,
    /// Parts changed only in what may be lost in a crash; saved with something else or by
    /// [`Engine::flush`].
    pub touch: Vec<P>,
}

/// Changes a state and says what of it is to be saved; nothing when it refuses.
type Operation<'a, D> =
    dyn FnMut(&mut <D as Documents>::State) -> Option<Effects<<D as Documents>::Part>> + 'a;

/// A state in memory whose changes are acknowledged only when durable.
pub struct Engine<D: Documents> {
    inner: Mutex<Inner<D>>,
    settled: Condvar,
    /// An operation has joined the open batch while another thread leads.
    joined: Condvar,
}

struct Inner<D: Documents> {
    /// Absent while a save is running.
    documents: Option<D>,
    durable: Arc<D::State>,
    /// The durable state plus every operation that waits for a save.
    working: Arc<D::State>,
    open: Batch<D::Part>,
    running: Option<Arc<Outcome>>,
    touched: BTreeSet<D::Part>,
    /// Touched while a save was running, hence not in it.
    touched_late: BTreeSet<D::Part>,
    saves: Saves,
    crowd: Crowd,
}

/// Who changed the state lately.
#[derive(Default)]
struct Crowd {
    /// Operations that were in the last save or waited when it ended.
    size: usize,
    /// How long the next save may wait for as many.
    patience: Duration,
}

/// What became of a batch; all its operations share one.
type Outcome = OnceLock<Result<(), SaveFault>>;

struct Batch<P> {
    operations: Vec<Vec<P>>,
    outcome: Arc<Outcome>,
}

impl<P> Batch<P> {
    fn new() -> Self {
        Batch {
            operations: Vec::new(),
            outcome: Arc::default(),
        }
    }
}

impl<D: Documents> Engine<D> {
    /// Loads the documents.
    pub fn open(mut documents: D) -> Result<Self, StoreError> {
        let state = Arc::new(documents.load()?);
        Ok(Engine {
            inner: Mutex::new(Inner {
                documents: Some(documents),
                durable: Arc::clone(&state),
                working: state,
                open: Batch::new(),
                running: None,
                touched: BTreeSet::new(),
                touched_late: BTreeSet::new(),
                saves: Saves::default(),
                crowd: Crowd::default(),
            }),
            settled: Condvar::new(),
            joined: Condvar::new(),
        })
    }

    /// The last durable state. Reads the documents again when somebody else changed them.
    pub fn read(&self) -> Result<Arc<D::State>, StoreError> {
        let mut inner = self.lock();
        inner.refresh()?;
        Ok(Arc::clone(&inner.durable))
    }

    /// The last durable state as far as this process knows: what somebody else changed since the documents were
    /// last looked at is not in it.
    pub fn known(&self) -> Arc<D::State> {
        Arc::clone(&self.lock().durable)
    }

    /// Runs `operation` on the newest state and returns when the changes it wants saved are durable.
    /// Without any [`Effects`] its changes are dropped. It runs again, on a fresh state, when
    /// somebody else changed the documents meanwhile, so it must not act on anything outside the
    /// state.
    pub fn transact<T, E>(
        &self,
        mut operation: impl FnMut(&mut D::State) -> Result<(T, Effects<D::Part>), E>,
    ) -> Result<T, TransactError<E>> {
        let mut last = None;
        self.run(&mut |state| match operation(state) {
            Ok((value, effects)) => {
                last = Some(Ok(value));
                Some(effects)
            }
            Err(refusal) => {
                last = Some(Err(refusal));
                None
            }
        })?;
        match last {
            Some(outcome) => outcome.map_err(TransactError::Refused),
            // It ran at least once.
            None => Err(TransactError::Store(writer_died())),
        }
    }

    /// [`Engine::transact`] for operations that keep their outcome themselves; one that is refused has no
    /// effects. There are dozens of operations: what they share is compiled once.
    fn run(&self, operation: &mut Operation<'_, D>) -> Result<(), StoreError> {
        loop {
            let mut inner = self.lock();
            inner.refresh()?;
            let mut state = D::State::clone(&inner.working);
            let Some(effects) = operation(&mut state) else {
                return Ok(());
            };
            let Some(outcome) = inner.accept(state, effects) else {
                return Ok(());
            };
            match self.wait(inner, &outcome) {
                Ok(()) => return Ok(()),
                Err(SaveFault::Failed(fault)) => return Err(fault),
                Err(SaveFault::Stale) => {}
            }
        }
    }

    /// True when something was touched and not yet saved.
    pub fn is_touched(&self) -> bool {
        !self.lock().touched.is_empty()
    }

    /// Saves what was touched; writes nothing when nothing was. What could not be saved stays
    /// touched.
    pub fn flush(&self) -> Result<(), StoreError> {
        loop {
            let mut inner = self.lock();
            inner.refresh()?;
            if inner.touched.is_empty() {
                return Ok(());
            }
            let parts = inner.touched.iter().copied().collect();
            inner.open.operations.push(parts);
            let outcome = Arc::clone(&inner.open.outcome);
            match self.wait(inner, &outcome) {
                Ok(()) => return Ok(()),
                Err(SaveFault::Failed(fault)) => return Err(fault),
                Err(SaveFault::Stale) => {}
            }
        }
    }

    /// How many saves have succeeded since the engine was opened.
    pub fn saves(&self) -> u64 {
        self.figures().succeeded
    }

    /// How saving went since the engine was opened.
    pub fn figures(&self) -> Saves {
        self.lock().saves
    }

    fn lock(&self) -> MutexGuard<'_, Inner<D>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for `outcome`, saving the open batch whenever nobody else is at it.
    fn wait<'a>(
        &'a self,
        mut inner: MutexGuard<'a, Inner<D>>,
        outcome: &Outcome,
    ) -> Result<(), SaveFault> {
        loop {
            if let Some(result) = outcome.get() {
                return result.clone();
            }
            let writer = if inner.open.operations.is_empty() {
                None
            } else {
                inner.documents.take()
            };
            inner = match writer {
                Some(documents) => self.lead(inner, documents),
                None => {
                    self.joined.notify_one();
                    let waited = self.settled.wait(inner);
                    waited.unwrap_or_else(PoisonError::into_inner)
                }
            };
        }
    }

    /// Waits until as many have joined the open batch as changed the state lately, or for a moment.
    fn gather<'a>(&'a self, mut inner: MutexGuard<'a, Inner<D>>) -> MutexGuard<'a, Inner<D>> {
        let until = Instant::now() + inner.crowd.patience;
        while inner.open.operations.len() < inner.crowd.size {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = self.joined.wait_timeout(inner, left);
            inner = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        inner
    }

    /// Saves the open batch with the mutex released, then settles it.
    fn lead<'a>(
        &'a self,
        inner: MutexGuard<'a, Inner<D>>,
        mut documents: D,
    ) -> MutexGuard<'a, Inner<D>> {
        let mut inner = self.gather(inner);
        let batch = std::mem::replace(&mut inner.open, Batch::new());
        let previous = Arc::clone(&inner.durable);
        let next = Arc::clone(&inner.working);
        inner.running = Some(Arc::clone(&batch.outcome));
        drop(inner);
        let begun = Instant::now();
        let result = catch_unwind(AssertUnwindSafe(|| {
            documents.save(&previous, &next, &batch.operations)
        }))
        // A writer that panics must not leave everybody waiting for ever.
        .unwrap_or_else(|_| Err(SaveFault::Failed(writer_died())));
        let took = begun.elapsed();
        let mut inner = self.lock();
        inner.saves.attempts += 1;
        inner.saves.time += took;
        inner.documents = Some(documents);
        inner.crowd = Crowd {
            size: batch.operations.len() + inner.open.operations.len(),
            // Nobody waits longer for others than they would for him.
            patience: (took / 2).min(LONGEST_GATHERING),
        };
        inner.settle(batch, next, result);
        self.settled.notify_all();
        inner
    }
}

impl<D: Documents> Inner<D> {
    /// Reads the documents again when they were changed by somebody else and nothing of ours is on
    /// the way; otherwise the leader of the next save notices.
    fn refresh(&mut self) -> Result<(), StoreError> {
        if !self.open.operations.is_empty() {
            return Ok(());
        }
        let Some(documents) = self.documents.as_mut() else {
            return Ok(());
        };
        if documents.changed() {
            let state = Arc::new(documents.load()?);
            self.durable = Arc::clone(&state);
            self.working = state;
            self.touched.clear();
        }
        Ok(())
    }

    /// Takes over what an operation did to `state`, a clone of the working state. Returns what to
    /// wait for before acknowledging it, `None` when all that it rests on is durable.
    fn accept(&mut self, state: D::State, effects: Effects<D::Part>) -> Option<Arc<Outcome>> {
        if !effects.save.is_empty() {
            self.working = Arc::new(state);
            self.open.operations.push(effects.save);
            self.touch(effects.touch);
            return Some(Arc::clone(&self.open.outcome));
        }
        let newest = self.newest_undurable();
        if !effects.touch.is_empty() {
            self.working = Arc::new(state);
            self.touch(effects.touch);
            if newest.is_none() {
                self.durable = Arc::clone(&self.working);
            }
        }
        newest
    }

    fn touch(&mut self, parts: Vec<D::Part>) {
        match self.running {
            Some(_) => self.touched_late.extend(parts),
            None => self.touched.extend(parts),
        }
    }

    fn newest_undurable(&self) -> Option<Arc<Outcome>> {
        if self.open.operations.is_empty() {
            self.running.clone()
        } else {
            Some(Arc::clone(&self.open.outcome))
        }
    }

    fn settle(
        &mut self,
        batch: Batch<D::Part>,
        next: Arc<D::State>,
        result: Result<(), SaveFault>,
    ) {
        self.running = None;
        let late = std::mem::take(&mut self.touched_late);
        match &result {
            Ok(()) => {
                self.saves.succeeded += 1;
                for part in batch.operations.iter().flatten() {
                    self.touched.remove(part);
                }
                self.touched.extend(late);
                // With nothing open, the working state has at most been touched since.
                self.durable = match self.open.operations.is_empty() {
                    true => Arc::clone(&self.working),
                    false => next,
                };
            }
            Err(fault) => {
                self.saves.failed += u64::from(*fault != SaveFault::Stale);
                // What came meanwhile was built on what failed.
                let built_on_it = std::mem::replace(&mut self.open, Batch::new());
                let _ = built_on_it.outcome.set(Err(fault.clone()));
                self.working = Arc::clone(&self.durable);
            }
        }
        let _ = batch.outcome.set(result);
    }
}

fn writer_died() -> StoreError {
    StoreError::Unwritable {
        path: PathBuf::from("the state directory"),
        cause: "internal error while writing".to_owned(),
    }
}

#[cfg(test)]
mod tests;
