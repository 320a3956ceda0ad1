use std::fs;
use std::thread;

use serde_json::{Value, json};

use super::*;
use crate::identity::{NodeId, Random};
use crate::pairing::node;
use crate::pairing::node_record::NodeMetadata;
use crate::pairing::policy::CommandPolicy;
use crate::pairing::{Caller, Refusal};
use crate::protocol::scope::{Scope, Scopes};
use crate::store::clock::ManualClock;
use crate::store::lock_owner::Purpose;
use crate::store::testing::TempDir;

struct Place {
    temp: TempDir,
    clock: Arc<ManualClock>,
}

const START_MS: u64 = 1_000_000;

impl Place {
    fn new() -> Self {
        Place {
            temp: TempDir::new(),
            clock: Arc::new(ManualClock::at(START_MS)),
        }
    }

    fn open(&self) -> Result<Store, StoreError> {
        let dir = StateDir::open(self.temp.path()).unwrap();
        let lock = Lock::acquire_state(&dir, Purpose::Gateway).unwrap();
        Store::with_clock(lock, self.clock.clone())
    }

    fn document(&self, part: Part) -> Value {
        let text = fs::read_to_string(self.temp.join(part.file())).unwrap();
        serde_json::from_str(&text).unwrap()
    }
}

fn request(store: &Store, name: &str) -> Result<String, TransactError<Refusal>> {
    let node = NodeId::from(name);
    let (answer, _) = store.transact(|state, now| {
        let metadata = NodeMetadata::default();
        let policy = CommandPolicy::default();
        node::request(state, &node, metadata, false, &policy, now, &mut Random)
    })?;
    Ok(answer.request["requestId"].as_str().unwrap().to_owned())
}

fn approve(store: &Store, request_id: &str) -> Result<Changes, TransactError<Refusal>> {
    let scopes = Scopes::from_iter([Scope::PAIRING]);
    let caller = Caller {
        scopes: &scopes,
        device_bound: None,
        own_device: None,
        label: "tester".to_owned(),
        via: "node.pair.approve".to_owned(),
        from: None,
    };
    let (_, changes) = store
        .transact(|state, now| node::approve(state, request_id, None, &caller, now, &mut Random))?;
    Ok(changes)
}

fn see(store: &Store, name: &str) {
    let node = NodeId::from(name);
    let seen: Result<_, TransactError<Refusal>> =
        store.transact(|state, now| Ok(((), node::connected(state, &node, None, now))));
    seen.unwrap();
}

#[test]
fn what_many_threads_approve_at_once_is_there_after_a_restart() {
    let place = Place::new();
    let store = place.open().unwrap();
    thread::scope(|scope| {
        for thread in 0..200 {
            let store = &store;
            scope.spawn(move || {
                let id = request(store, &format!("node {thread}")).unwrap();
                approve(store, &id).unwrap();
            });
        }
    });
    let saves = store.saves();
    assert!(saves < 400, "{saves}");
    store.flush().unwrap();
    let state = store.snapshot().unwrap();
    drop(store);
    let reopened = place.open().unwrap();
    assert_eq!(*reopened.snapshot().unwrap(), *state);
    assert_eq!(state.nodes.paired.len(), 200);
    assert!(state.nodes.pending.is_empty());
    assert_eq!(reopened.audit_log().newest(1000).unwrap().len(), 200);
}

#[test]
fn an_answer_comes_after_the_file_and_with_its_audit_line() {
    let place = Place::new();
    let store = place.open().unwrap();
    let id = request(&store, "n").unwrap();
    assert!(place.document(Part::NodesPending)[&id].is_object());
    let changes = approve(&store, &id).unwrap();
    assert!(
        changes
            .iter()
            .any(|change| matches!(change, Change::Emit { .. }))
    );
    assert_eq!(place.document(Part::NodesPending), json!({}));
    assert!(place.document(Part::NodesPaired)["n"].is_object());
    let lines = store.audit_log().newest(1).unwrap();
    assert_eq!(lines[0]["ts"], START_MS);
    assert_eq!(lines[0]["by"], "tester");
    let token = place.document(Part::NodesPaired)["n"]["token"].clone();
    let trail = fs::read_to_string(place.temp.join("audit.jsonl")).unwrap();
    assert!(!trail.contains(token.as_str().unwrap()));
}

#[test]
fn a_refusal_writes_nothing() {
    let place = Place::new();
    let store = place.open().unwrap();
    let refused = approve(&store, "nobody").unwrap_err();
    assert_eq!(refused, TransactError::Refused(Refusal::UnknownRequest));
    assert_eq!(store.saves(), 0);
}

#[test]
fn a_disk_that_refuses_changes_nothing_and_may_recover() {
    let place = Place::new();
    let store = place.open().unwrap();
    let id = request(&store, "n").unwrap();
    let paired = place.temp.join("nodes/paired.json");
    std::os::unix::fs::symlink("paired.json", &paired).unwrap();
    let before = store.snapshot().unwrap();
    let failed = approve(&store, &id).unwrap_err();
    let TransactError::Store(StoreError::Unwritable { path, .. }) = failed else {
        panic!("{failed:?}");
    };
    assert_eq!(path, paired);
    assert_eq!(*store.snapshot().unwrap(), *before);
    fs::remove_file(paired).unwrap();
    approve(&store, &id).unwrap();
}

#[test]
fn an_edit_from_outside_holds_and_a_malformed_one_stops_until_it_is_repaired() {
    let place = Place::new();
    let store = place.open().unwrap();
    let id = request(&store, "n").unwrap();
    approve(&store, &id).unwrap();
    let path = place.temp.join("nodes/paired.json");
    let good = fs::read_to_string(&path).unwrap();

    let renamed = good.replace("\"n\"", "\"other\"");
    fs::write(&path, &renamed).unwrap();
    assert!(
        store
            .read(|state| state.nodes.paired.record("other").is_some())
            .unwrap()
    );
    request(&store, "second").unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), renamed);

    fs::write(&path, "{\"torn").unwrap();
    assert!(matches!(
        store.snapshot(),
        Err(StoreError::Malformed { .. })
    ));
    let failed = request(&store, "third").unwrap_err();
    assert!(matches!(
        failed,
        TransactError::Store(StoreError::Malformed { .. })
    ));
    assert_eq!(fs::read_to_string(&path).unwrap(), "{\"torn");

    fs::write(&path, good).unwrap();
    request(&store, "third").unwrap();
    assert!(
        store
            .read(|state| state.nodes.paired.record("n").is_some())
            .unwrap()
    );
}

#[test]
fn a_malformed_file_or_a_leftover_is_met_at_the_start() {
    let place = Place::new();
    drop(place.open().unwrap());
    let leftover = "devices/paired.json.512ee102-5650-4eca-a99d-d5fac275d8fa.tmp";
    fs::write(place.temp.join(leftover), "{\"torn").unwrap();
    drop(place.open().unwrap());
    assert!(!place.temp.join(leftover).exists());
    fs::write(place.temp.join("devices/pending.json"), "[]").unwrap();
    assert!(matches!(
        place.open(),
        Err(StoreError::Malformed {
            line: 1,
            column: 1,
            ..
        })
    ));
}

#[test]
fn unknown_members_and_malformed_records_survive_a_change() {
    let place = Place::new();
    fs::create_dir(place.temp.join("nodes")).unwrap();
    let document = json!({
        "bad": {"nodeId": 7},
        "n": {"nodeId": "n", "token": "t", "createdAtMs": 1, "approvedAtMs": 2, "later": {"x": [1]}},
    });
    fs::write(place.temp.join("nodes/paired.json"), document.to_string()).unwrap();
    let store = place.open().unwrap();
    let id = request(&store, "second").unwrap();
    approve(&store, &id).unwrap();
    let written = place.document(Part::NodesPaired);
    assert_eq!(written["bad"], document["bad"]);
    assert_eq!(written["n"], document["n"]);
    assert!(written["second"].is_object());
}

#[test]
fn being_seen_is_written_once_a_minute_and_an_idle_store_never_writes() {
    let place = Place::new();
    let store = place.open().unwrap();
    let id = request(&store, "n").unwrap();
    approve(&store, &id).unwrap();
    // What became of the request is written as late as the rest of this.
    assert!(!place.temp.join(Part::Resolved.file()).exists());
    store.flush().unwrap();
    assert_eq!(place.document(Part::Resolved)[&id]["state"], "approved");
    let saves = store.saves();
    let seen_on_disk = || place.document(Part::NodesPaired)["n"]["lastConnectedAtMs"].clone();

    store.flush_due(u64::MAX).unwrap();
    assert_eq!((store.saves(), store.next_flush()), (saves, None));

    place.clock.advance(1000);
    see(&store, "n");
    see(&store, "n");
    let seen = store
        .read(|state| {
            state
                .nodes
                .paired
                .record("n")
                .and_then(|node| node.last_connected_at_ms)
        })
        .unwrap();
    assert_eq!(seen, Some(START_MS + 1000));
    assert_eq!(seen_on_disk(), Value::Null);
    let due = store.next_flush().unwrap();
    store.flush_due(due - 1).unwrap();
    assert_eq!((store.saves(), seen_on_disk()), (saves, Value::Null));
    store.flush_due(due).unwrap();
    assert_eq!(
        (store.saves(), seen_on_disk()),
        (saves + 1, json!(START_MS + 1000))
    );

    see(&store, "n");
    assert!(store.next_flush().unwrap() >= due + FLUSH_INTERVAL_MS);
    store.flush().unwrap();
    store.flush().unwrap();
    assert_eq!(store.saves(), saves + 2);
}

/// A clock that somebody set.
struct SetClock {
    shown: ManualClock,
    step: std::sync::atomic::AtomicI64,
}

impl Clock for SetClock {
    fn now_ms(&self) -> u64 {
        self.shown.now_ms()
    }

    fn step_ms(&self) -> i64 {
        self.step.load(Ordering::SeqCst)
    }

    fn follow(&self, step_ms: i64) {
        self.step.fetch_sub(step_ms, Ordering::SeqCst);
        self.shown
            .set(self.shown.now_ms().saturating_add_signed(step_ms));
    }
}

/// A clock that another thread lets follow whenever somebody has looked at it.
struct Contended(SetClock);

impl Clock for Contended {
    fn now_ms(&self) -> u64 {
        self.0.now_ms()
    }

    fn step_ms(&self) -> i64 {
        let step_ms = self.0.step_ms();
        self.0.follow(step_ms);
        step_ms
    }

    fn follow(&self, step_ms: i64) {
        self.0.follow(step_ms);
    }
}

#[test]
fn a_step_that_another_thread_followed_is_none() {
    let place = Place::new();
    let clock = Contended(SetClock {
        shown: ManualClock::at(START_MS),
        step: 5_000.into(),
    });
    let dir = StateDir::open(place.temp.path()).unwrap();
    let lock = Lock::acquire_state(&dir, Purpose::Gateway).unwrap();
    let store = Store::with_clock(lock, Arc::new(clock)).unwrap();
    assert_eq!(store.follow_clock(), None);
    assert_eq!(store.clock().now_ms(), START_MS + 5_000);
}

#[test]
fn a_clock_that_is_set_takes_along_what_waits() {
    const DAY: i64 = 86_400_000;
    let place = Place::new();
    let clock = Arc::new(SetClock {
        shown: ManualClock::at(START_MS * 1_000_000),
        step: 0.into(),
    });
    let dir = StateDir::open(place.temp.path()).unwrap();
    let lock = Lock::acquire_state(&dir, Purpose::Gateway).unwrap();
    let store = Store::with_clock(lock, clock.clone()).unwrap();
    let id = request(&store, "n").unwrap();
    for step in [DAY, -10 * DAY] {
        clock.step.store(step, Ordering::SeqCst);
        assert_eq!(store.follow_clock(), Some(step));
        assert_eq!(store.follow_clock(), None);
        let written = place.document(Part::NodesPending)[&id]["ts"].clone();
        assert_eq!(written, clock.now_ms());
        // Late saves are as near as before.
        assert!(store.flushed_at_ms.load(Ordering::SeqCst) <= clock.now_ms());
    }
    clock.step.store(999, Ordering::SeqCst);
    assert_eq!((store.follow_clock(), clock.step_ms()), (None, 0));
    approve(&store, &id).unwrap();
}

#[test]
fn an_audit_line_that_cannot_be_written_stops_nobody() {
    let place = Place::new();
    let store = place.open().unwrap();
    fs::create_dir(place.temp.join("audit.jsonl")).unwrap();
    let id = request(&store, "n").unwrap();
    approve(&store, &id).unwrap();
    assert!(place.document(Part::NodesPaired)["n"].is_object());
    fs::remove_dir(place.temp.join("audit.jsonl")).unwrap();
    store.flush_due(START_MS).unwrap();
    let lines = store.audit_log().newest(10).unwrap();
    assert_eq!(lines.last().unwrap()["action"], "node.approve");
}

#[test]
fn two_writers_of_the_same_files_lose_nothing() {
    let place = Place::new();
    let gateway = place.open().unwrap();
    let beside = Store::open_beside(StateDir::open(place.temp.path()).unwrap()).unwrap();
    const EACH: usize = 40;
    thread::scope(|scope| {
        for (writer, store) in [("gateway", &gateway), ("beside", &beside)] {
            scope.spawn(move || {
                for number in 0..EACH {
                    request(store, &format!("{writer} {number}")).unwrap();
                }
            });
        }
    });
    for store in [&gateway, &beside] {
        assert_eq!(store.snapshot().unwrap().nodes.pending.len(), 2 * EACH);
    }
}
