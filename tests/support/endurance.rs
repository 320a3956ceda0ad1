//! A long life in short: many runs and many reconnects of one node host at one gateway, and what both
//! processes hold before and after.

use std::fmt;
use std::io::copy;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use serde_json::{Value, json};

use super::counters::{resident_kib, stacks_kib};
use super::home::Home;
use super::peer::Peer;
use super::process::{Gateway, Running, SECRET, command, program};
use super::wait_for;

/// What a life consists of; the first part of each warms up and is not compared.
#[derive(Clone, Copy, Debug)]
pub struct Life {
    pub runs: usize,
    pub reconnects: usize,
    pub warm_up: usize,
}

/// Growth that is no leak: an allocator's slack and the pages of code first used, in KiB.
const RESIDENT_SLACK_KIB: u64 = 1_024;

/// Files that come and go with rotation, per state directory.
const FILE_SLACK: usize = 8;

/// What a process holds.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    pub resident_kib: u64,
    /// Part of it.
    pub stacks_kib: u64,
    pub descriptors: usize,
    pub threads: usize,
    pub children: usize,
    files: usize,
    file_kib: u64,
}

impl fmt::Display for Held {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{} KiB resident ({} stacks), {} descriptors, {} threads, {} children, {} files of {} KiB",
            self.resident_kib,
            self.stacks_kib,
            self.descriptors,
            self.threads,
            self.children,
            self.files,
            self.file_kib
        )
    }
}

impl Held {
    pub fn by(process: &Running, home: &Home) -> Held {
        let folder = format!("/proc/{}", process.pid());
        let count = |name: &str| {
            std::fs::read_dir(format!("{folder}/{name}"))
                .unwrap()
                .count()
        };
        let (files, bytes) = files(&home.state());
        Held {
            resident_kib: resident_kib(process.pid()),
            stacks_kib: stacks_kib(process.pid()),
            descriptors: count("fd"),
            threads: count("task"),
            children: children(process.pid()),
            files,
            file_kib: bytes / 1024,
        }
    }

    #[track_caller]
    fn has_not_grown(&self, before: &Held, who: &str) {
        assert!(
            self.descriptors <= before.descriptors,
            "{who}: {before} -> {self}"
        );
        assert!(self.threads <= before.threads, "{who}: {before} -> {self}");
        assert_eq!(self.children, 0, "{who}: {self}");
        assert!(
            self.files <= before.files + FILE_SLACK,
            "{who}: {before} -> {self}"
        );
        assert!(
            self.resident_kib <= before.resident_kib + RESIDENT_SLACK_KIB,
            "{who}: {before} -> {self}"
        );
    }
}

/// Processes whose parent is `parent`.
fn children(parent: u32) -> usize {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let parents = processes.filter_map(|process| {
        let stat = std::fs::read_to_string(process.path().join("stat")).ok()?;
        // The name before may hold anything, even brackets.
        stat.rsplit(')')
            .next()?
            .split_whitespace()
            .nth(1)?
            .parse::<u32>()
            .ok()
    });
    parents.filter(|found| *found == parent).count()
}

/// Number and bytes of the files below a folder.
fn files(folder: &Path) -> (usize, u64) {
    let mut total = (0, 0);
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        // A temporary file may be gone already.
        let Ok(meta) = entry.metadata() else { continue };
        let (count, bytes) = if meta.is_dir() {
            files(&entry.path())
        } else {
            (1, meta.len())
        };
        total = (total.0 + count, total.1 + bytes);
    }
    total
}

/// A way to the gateway that can be cut.
pub struct Way {
    pub address: SocketAddr,
    streams: Arc<Mutex<Vec<TcpStream>>>,
    stopping: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

impl Way {
    pub fn to(gateway: SocketAddr) -> Way {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let streams = Arc::<Mutex<Vec<TcpStream>>>::default();
        let stopping = Arc::<AtomicBool>::default();
        let (held, stop) = (Arc::clone(&streams), Arc::clone(&stopping));
        let acceptor = std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                // Nobody there: the near end is told by its end.
                let Ok(far) = TcpStream::connect(gateway) else {
                    continue;
                };
                for (from, to) in [(&near, &far), (&far, &near)] {
                    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    std::thread::spawn(move || {
                        let _ = copy(&mut from, &mut to);
                        let _ = to.shutdown(Shutdown::Both);
                    });
                }
                held.lock().unwrap().extend([near, far]);
            }
        });
        Way {
            address,
            streams,
            stopping,
            acceptor: Some(acceptor),
        }
    }

    pub fn cut(&self) {
        for stream in self.streams.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            acceptor.join().unwrap();
        }
        self.cut();
    }
}

/// One gateway, one node host, one operator.
struct World {
    gateway: Gateway,
    home: Home,
    node: Running,
    operator: Peer,
    node_id: Value,
    way: Way,
    asked: usize,
}

impl World {
    fn new() -> World {
        let (gateway, home) = (Gateway::start(), Home::new());
        home.write(
            "exec-approvals.json",
            br#"{"version":1,"defaults":{"security":"allowlist","ask":"off"},"agents":{"*":{"allowlist":[{"pattern":"/bin/true"},{"pattern":"/usr/bin/true"}]}}}"#,
        );
        let way = Way::to(gateway.address);
        let mut start = command(&program(), &home);
        let port = way.address.port().to_string();
        start
            .env("OPENCLAW_GATEWAY_TOKEN", SECRET)
            .args(["node", "run", "--port", &port]);
        let node = Running::start(start);
        let mut operator = Peer::operator(gateway.address, SECRET);
        let request = operator.event("node.pair.requested")["payload"].clone();
        let approval = json!({"requestId": request["requestId"]});
        operator.call("node.pair.approve", approval).unwrap();
        World {
            gateway,
            home,
            node,
            operator,
            node_id: request["nodeId"].clone(),
            way,
            asked: 0,
        }
    }

    fn held(&self) -> (Held, Held) {
        (
            Held::by(&self.gateway.process, &self.gateway.home),
            Held::by(&self.node, &self.home),
        )
    }

    /// Both at rest: no child and no thread of a run is left.
    fn settled(&self, threads: usize) -> (Held, Held) {
        wait_for("the last run to be over", || {
            let held = self.held();
            (held.1.children == 0 && held.1.threads <= threads).then_some(held)
        })
    }

    fn run(&mut self) {
        self.asked += 1;
        let params = json!({"nodeId": self.node_id, "command": "system.run",
            "params": {"command": ["true"]}, "idempotencyKey": self.asked.to_string()});
        let answer = self.operator.call("node.invoke", params).unwrap();
        assert_eq!(answer["payload"]["success"], true, "{answer}");
        // What was heard is not wanted: this process must not grow either.
        self.operator.events_until_now("exec.finished");
        self.operator.heard.clear();
    }

    fn reconnect(&mut self, before: usize) {
        self.way.cut();
        wait_for("the node to be back", || {
            (self.sessions() > before).then_some(())
        });
    }

    fn sessions(&self) -> usize {
        self.node.output().matches("node host connected to").count()
    }
}

impl Life {
    /// Lives it and compares.
    pub fn live(self) {
        let mut world = World::new();
        let idle = wait_for("a quiet node", || Some(world.held())).1.threads;
        for _ in 0..self.warm_up {
            world.run();
        }
        let before = world.settled(idle);
        for _ in self.warm_up..self.runs {
            world.run();
        }
        let after = world.settled(idle);
        compare(&format!("{} runs", self.runs - self.warm_up), before, after);

        let start = world.sessions();
        for count in 0..self.warm_up.min(self.reconnects / 10) {
            world.reconnect(start + count);
        }
        let before = world.settled(idle);
        let start = world.sessions();
        for count in 0..self.reconnects {
            world.reconnect(start + count);
        }
        // It still works.
        world.run();
        let after = world.settled(idle);
        compare(&format!("{} reconnects", self.reconnects), before, after);
    }
}

#[track_caller]
fn compare(what: &str, before: (Held, Held), after: (Held, Held)) {
    println!(
        "{what}\n  gateway   before: {}\n            after:  {}",
        before.0, after.0
    );
    println!(
        "  node host before: {}\n            after:  {}",
        before.1, after.1
    );
    after.0.has_not_grown(&before.0, "the gateway");
    after.1.has_not_grown(&before.1, "the node host");
}
