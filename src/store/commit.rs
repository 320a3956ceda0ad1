//! Group commit: many threads change one state, few saves make the changes durable.
//!
//! One mutex guards the state in memory and is never held across an fsync. Whoever finds changes
//! waiting and no save running becomes the leader, takes the writer out, and saves the newest state
//! for everybody who waits; whoever comes meanwhile joins the next batch. Changes are acknowledged
//! only when durable. A failed save fails every operation that is in it or built on it, and the
//! state goes back to the last durable one: nothing acknowledged is lost, nothing else stays.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::store::error::{StoreError, TransactError};

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

/// A state in memory whose changes are acknowledged only when durable.
pub struct Engine<D: Documents> {
    inner: Mutex<Inner<D>>,
    settled: Condvar,
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
    saves: u64,
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
                saves: 0,
            }),
            settled: Condvar::new(),
        })
    }

    /// The last durable state. Reads the documents again when somebody else changed them.
    pub fn read(&self) -> Result<Arc<D::State>, StoreError> {
        let mut inner = self.lock();
        inner.refresh()?;
        Ok(Arc::clone(&inner.durable))
    }

    /// Runs `operation` on the newest state and returns when the changes it wants saved are durable.
    /// Without any [`Effects`] its changes are dropped. It runs again, on a fresh state, when
    /// somebody else changed the documents meanwhile, so it must not act on anything outside the
    /// state.
    pub fn transact<T, E>(
        &self,
        mut operation: impl FnMut(&mut D::State) -> Result<(T, Effects<D::Part>), E>,
    ) -> Result<T, TransactError<E>> {
        loop {
            let mut inner = self.lock();
            inner.refresh()?;
            let mut state = D::State::clone(&inner.working);
            let (value, effects) = operation(&mut state).map_err(TransactError::Refused)?;
            let Some(outcome) = inner.accept(state, effects) else {
                return Ok(value);
            };
            match self.wait(inner, &outcome) {
                Ok(()) => return Ok(value),
                Err(SaveFault::Failed(fault)) => return Err(TransactError::Store(fault)),
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
                None => self
                    .settled
                    .wait(inner)
                    .unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// Saves the open batch with the mutex released, then settles it.
    fn lead<'a>(
        &'a self,
        mut inner: MutexGuard<'a, Inner<D>>,
        mut documents: D,
    ) -> MutexGuard<'a, Inner<D>> {
        let batch = std::mem::replace(&mut inner.open, Batch::new());
        let previous = Arc::clone(&inner.durable);
        let next = Arc::clone(&inner.working);
        inner.running = Some(Arc::clone(&batch.outcome));
        drop(inner);
        let result = catch_unwind(AssertUnwindSafe(|| {
            documents.save(&previous, &next, &batch.operations)
        }))
        // A writer that panics must not leave everybody waiting for ever.
        .unwrap_or_else(|_| Err(SaveFault::Failed(writer_died())));
        let mut inner = self.lock();
        inner.documents = Some(documents);
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
                self.saves += 1;
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
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::thread;

    use super::*;

    /// Numbers in one part of the state each.
    #[derive(Debug, Clone, Default, PartialEq)]
    struct Numbers {
        left: Vec<u64>,
        right: Vec<u64>,
    }

    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
    enum Part {
        Left,
        Right,
    }

    /// What a test tells the writer to do with one save, after it was told that the save began.
    enum Command {
        Succeed,
        Fail,
        Stale,
        Panic,
    }

    /// The disk of a test. With a script, each save announces itself and obeys one command.
    #[derive(Default)]
    struct Disk {
        content: Mutex<Numbers>,
        version: AtomicU64,
        operations: Mutex<Vec<usize>>,
    }

    struct Writer {
        disk: Arc<Disk>,
        seen: u64,
        script: Option<(Sender<()>, Receiver<Command>)>,
    }

    impl Disk {
        /// A change by somebody else.
        fn edit(&self, change: impl Fn(&mut Numbers)) {
            change(&mut self.content.lock().unwrap());
            self.version.fetch_add(1, Ordering::SeqCst);
        }

        fn content(&self) -> Numbers {
            self.content.lock().unwrap().clone()
        }
    }

    impl Documents for Writer {
        type State = Numbers;
        type Part = Part;

        fn changed(&mut self) -> bool {
            self.disk.version.load(Ordering::SeqCst) != self.seen
        }

        fn load(&mut self) -> Result<Numbers, StoreError> {
            self.seen = self.disk.version.load(Ordering::SeqCst);
            Ok(self.disk.content())
        }

        fn save(
            &mut self,
            _previous: &Numbers,
            next: &Numbers,
            operations: &[Vec<Part>],
        ) -> Result<(), SaveFault> {
            if let Some((begun, commands)) = &self.script {
                begun.send(()).unwrap();
                match commands.recv().unwrap() {
                    Command::Succeed => {}
                    Command::Fail => return Err(SaveFault::Failed(disk_full())),
                    Command::Stale => return Err(SaveFault::Stale),
                    Command::Panic => panic!("writer of a test"),
                }
            }
            if self.changed() {
                return Err(SaveFault::Stale);
            }
            let mut content = self.disk.content.lock().unwrap();
            for part in operations.iter().flatten() {
                match part {
                    Part::Left => content.left.clone_from(&next.left),
                    Part::Right => content.right.clone_from(&next.right),
                }
            }
            self.disk.operations.lock().unwrap().push(operations.len());
            Ok(())
        }
    }

    fn disk_full() -> StoreError {
        StoreError::Unwritable {
            path: PathBuf::from("disk"),
            cause: "full".to_owned(),
        }
    }

    fn engine(disk: &Arc<Disk>) -> Engine<Writer> {
        let disk = Arc::clone(disk);
        Engine::open(Writer {
            disk,
            seen: 0,
            script: None,
        })
        .unwrap()
    }

    fn scripted(disk: &Arc<Disk>) -> (Arc<Engine<Writer>>, Receiver<()>, Sender<Command>) {
        let (begun, began) = channel();
        let (command, commands) = channel();
        let engine = Engine::open(Writer {
            disk: Arc::clone(disk),
            seen: 0,
            script: Some((begun, commands)),
        });
        (Arc::new(engine.unwrap()), began, command)
    }

    fn push(engine: &Engine<Writer>, number: u64) -> Result<usize, TransactError<()>> {
        engine.transact(|state| {
            state.left.push(number);
            Ok((state.left.len(), saving(&[Part::Left])))
        })
    }

    fn saving(parts: &[Part]) -> Effects<Part> {
        Effects {
            save: parts.to_vec(),
            touch: Vec::new(),
        }
    }

    fn touch(engine: &Engine<Writer>, number: u64) -> Result<(), TransactError<()>> {
        engine.transact(|state| {
            state.right.push(number);
            let touch = vec![Part::Right];
            let save = Vec::new();
            Ok(((), Effects { save, touch }))
        })
    }

    fn push_in_thread(
        engine: &Arc<Engine<Writer>>,
        number: u64,
    ) -> thread::JoinHandle<Result<usize, TransactError<()>>> {
        let engine = Arc::clone(engine);
        thread::spawn(move || push(&engine, number))
    }

    /// Waits until `count` operations stand in the open batch.
    fn wait_for_open(engine: &Engine<Writer>, count: usize) {
        while engine.lock().open.operations.len() < count {
            thread::yield_now();
        }
    }

    #[test]
    fn concurrent_operations_are_all_durable_and_share_saves() {
        let disk = Arc::new(Disk::default());
        let (engine, began, command) = scripted(&disk);
        let first = push_in_thread(&engine, 0);
        began.recv().unwrap();
        let others: Vec<_> = (1..200).map(|n| push_in_thread(&engine, n)).collect();
        wait_for_open(&engine, 199);
        command.send(Command::Succeed).unwrap();
        began.recv().unwrap();
        command.send(Command::Succeed).unwrap();
        first.join().unwrap().unwrap();
        for other in others {
            other.join().unwrap().unwrap();
        }
        let mut left = disk.content().left;
        left.sort_unstable();
        assert_eq!(left, (0..200).collect::<Vec<_>>());
        assert_eq!(*disk.operations.lock().unwrap(), [1, 199]);
        assert_eq!(engine.saves(), 2);
    }

    #[test]
    fn threads_in_a_race_lose_nothing() {
        let disk = Arc::new(Disk::default());
        let engine = engine(&disk);
        thread::scope(|scope| {
            for thread in 0..50 {
                let engine = &engine;
                scope.spawn(move || {
                    for round in 0..20 {
                        push(engine, thread * 100 + round).unwrap();
                    }
                });
            }
        });
        let left = disk.content().left;
        assert_eq!(left.len(), 1000);
        assert_eq!(engine.read().unwrap().left, left);
        let operations: usize = disk.operations.lock().unwrap().iter().sum();
        assert_eq!(operations, 1000);
    }

    #[test]
    fn nobody_sees_a_change_before_it_is_durable() {
        let disk = Arc::new(Disk::default());
        let (engine, began, command) = scripted(&disk);
        let waiting = push_in_thread(&engine, 7);
        began.recv().unwrap();
        assert!(engine.read().unwrap().left.is_empty());
        assert!(!waiting.is_finished());
        command.send(Command::Succeed).unwrap();
        assert_eq!(waiting.join().unwrap(), Ok(1));
        assert_eq!(engine.read().unwrap().left, [7]);
    }

    #[test]
    fn a_failed_save_fails_its_batch_and_what_was_built_on_it() {
        for command_sent in [Command::Fail, Command::Panic] {
            let disk = Arc::new(Disk::default());
            let (engine, began, command) = scripted(&disk);
            let acknowledged = push_in_thread(&engine, 1);
            began.recv().unwrap();
            command.send(Command::Succeed).unwrap();
            acknowledged.join().unwrap().unwrap();

            let failing = push_in_thread(&engine, 2);
            began.recv().unwrap();
            let built_on_it = push_in_thread(&engine, 3);
            wait_for_open(&engine, 1);
            command.send(command_sent).unwrap();
            for thread in [failing, built_on_it] {
                let result = thread.join().unwrap();
                assert!(matches!(result, Err(TransactError::Store(_))), "{result:?}");
            }
            assert_eq!(engine.read().unwrap().left, [1]);
            assert_eq!(disk.content().left, [1]);

            let later = push_in_thread(&engine, 4);
            began.recv().unwrap();
            command.send(Command::Succeed).unwrap();
            assert_eq!(later.join().unwrap(), Ok(2));
            assert_eq!(disk.content().left, [1, 4]);
        }
    }

    #[test]
    fn a_refusal_changes_nothing_and_saves_nothing() {
        let disk = Arc::new(Disk::default());
        let engine = engine(&disk);
        let refused: Result<(), _> = engine.transact(|state| {
            state.left.push(1);
            Err("no")
        });
        assert_eq!(refused, Err(TransactError::Refused("no")));
        let unchanged: Result<u64, TransactError<()>> = engine.transact(|state| {
            state.left.push(1);
            Ok((5, saving(&[])))
        });
        assert_eq!(unchanged, Ok(5));
        assert_eq!(*engine.read().unwrap(), Numbers::default());
        assert_eq!(engine.saves(), 0);
    }

    #[test]
    fn an_answer_that_rests_on_an_undurable_change_waits_for_it() {
        let disk = Arc::new(Disk::default());
        let (engine, began, command) = scripted(&disk);
        let writing = push_in_thread(&engine, 1);
        began.recv().unwrap();
        let (asked, was_asked) = channel();
        let asking = {
            let engine = Arc::clone(&engine);
            thread::spawn(move || {
                engine.transact::<_, ()>(|state| {
                    asked.send(()).unwrap();
                    Ok((state.left.clone(), saving(&[])))
                })
            })
        };
        was_asked.recv().unwrap();
        command.send(Command::Fail).unwrap();
        assert!(writing.join().unwrap().is_err());
        assert!(asking.join().unwrap().is_err());
    }

    #[test]
    fn an_edit_by_somebody_else_is_seen_before_the_next_operation() {
        let disk = Arc::new(Disk::default());
        let engine = engine(&disk);
        push(&engine, 1).unwrap();
        disk.edit(|numbers| numbers.right.push(9));
        assert_eq!(engine.read().unwrap().right, [9]);
        disk.edit(|numbers| numbers.left.clear());
        assert_eq!(push(&engine, 2), Ok(1));
        assert_eq!(disk.content().left, [2]);
        assert_eq!(disk.content().right, [9]);
    }

    #[test]
    fn an_edit_during_a_save_makes_the_operations_run_again() {
        let disk = Arc::new(Disk::default());
        let (engine, began, command) = scripted(&disk);
        let first = push_in_thread(&engine, 1);
        began.recv().unwrap();
        let second = push_in_thread(&engine, 2);
        wait_for_open(&engine, 1);
        disk.edit(|numbers| numbers.left.push(100));
        command.send(Command::Stale).unwrap();
        // Both run again; they may share a save or need two.
        began.recv().unwrap();
        command.send(Command::Succeed).unwrap();
        command.send(Command::Succeed).unwrap();
        first.join().unwrap().unwrap();
        second.join().unwrap().unwrap();
        let mut left = disk.content().left;
        left.sort_unstable();
        assert_eq!(left, [1, 2, 100]);
    }

    #[test]
    fn touches_are_in_memory_at_once_and_on_the_disk_when_flushed() {
        let disk = Arc::new(Disk::default());
        let engine = engine(&disk);
        engine.flush().unwrap();
        assert_eq!(engine.saves(), 0);
        for number in [1, 2, 3] {
            touch(&engine, number).unwrap();
        }
        assert_eq!(engine.read().unwrap().right, [1, 2, 3]);
        assert!(disk.content().right.is_empty());
        assert!(engine.is_touched());
        engine.flush().unwrap();
        engine.flush().unwrap();
        assert_eq!(disk.content().right, [1, 2, 3]);
        assert!(!engine.is_touched());
        assert_eq!(engine.saves(), 1);
    }

    #[test]
    fn a_save_of_the_same_part_takes_the_touches_along() {
        let disk = Arc::new(Disk::default());
        let engine = engine(&disk);
        touch(&engine, 1).unwrap();
        push(&engine, 2).unwrap();
        assert!(engine.is_touched());
        engine
            .transact::<_, ()>(|_| Ok(((), saving(&[Part::Right]))))
            .unwrap();
        assert_eq!(disk.content().right, [1]);
        assert!(!engine.is_touched());
    }

    #[test]
    fn a_touch_during_a_save_is_not_taken_for_saved() {
        let disk = Arc::new(Disk::default());
        let (engine, began, command) = scripted(&disk);
        let both = {
            let engine = Arc::clone(&engine);
            thread::spawn(move || {
                engine.transact::<_, ()>(|state| {
                    state.right.push(1);
                    Ok(((), saving(&[Part::Left, Part::Right])))
                })
            })
        };
        began.recv().unwrap();
        let touching = {
            let engine = Arc::clone(&engine);
            thread::spawn(move || touch(&engine, 2))
        };
        while engine.lock().touched_late.is_empty() {
            thread::yield_now();
        }
        command.send(Command::Succeed).unwrap();
        both.join().unwrap().unwrap();
        touching.join().unwrap().unwrap();
        assert_eq!(engine.read().unwrap().right, [1, 2]);
        assert_eq!(disk.content().right, [1]);
        command.send(Command::Succeed).unwrap();
        engine.flush().unwrap();
        assert_eq!(disk.content().right, [1, 2]);
    }

    #[test]
    fn a_flush_that_fails_keeps_what_was_touched_for_the_next() {
        let disk = Arc::new(Disk::default());
        let (engine, _began, command) = scripted(&disk);
        touch(&engine, 1).unwrap();
        command.send(Command::Fail).unwrap();
        assert_eq!(engine.flush(), Err(disk_full()));
        assert_eq!(engine.read().unwrap().right, [1]);
        command.send(Command::Succeed).unwrap();
        engine.flush().unwrap();
        assert_eq!(disk.content().right, [1]);
    }

    #[test]
    fn an_operation_that_panics_leaves_the_state_as_it_was() {
        let disk = Arc::new(Disk::default());
        let engine = engine(&disk);
        let died = catch_unwind(AssertUnwindSafe(|| {
            engine.transact::<(), ()>(|state| {
                state.left.push(1);
                panic!("operation of a test")
            })
        }));
        assert!(died.is_err());
        assert_eq!(push(&engine, 2), Ok(1));
    }
}
