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
fn a_save_waits_a_moment_for_those_who_were_just_served() {
    let disk = Arc::new(Disk::default());
    let (engine, began, command) = scripted(&disk);
    let crowd = |size, patience| engine.lock().crowd = Crowd { size, patience };
    crowd(3, Duration::from_secs(600));
    let mut pushed: Vec<_> = (0..2).map(|n| push_in_thread(&engine, n)).collect();
    wait_for_open(&engine, 2);
    assert!(engine.lock().running.is_none());
    pushed.push(push_in_thread(&engine, 2));
    began.recv().unwrap();
    let late = push_in_thread(&engine, 3);
    wait_for_open(&engine, 1);
    command.send(Command::Succeed).unwrap();
    // Four came lately; nobody waits for them longer than for the last save.
    began.recv().unwrap();
    command.send(Command::Succeed).unwrap();
    for thread in pushed.into_iter().chain([late]) {
        thread.join().unwrap().unwrap();
    }
    assert_eq!(*disk.operations.lock().unwrap(), [3, 1]);
    assert_eq!(engine.lock().crowd.size, 1);
    crowd(3, Duration::ZERO);
    let alone = push_in_thread(&engine, 4);
    began.recv().unwrap();
    command.send(Command::Succeed).unwrap();
    alone.join().unwrap().unwrap();
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
