//! Random faults in random order against one gateway, real node hosts and operators, with a model of what was
//! acknowledged. After each fault nothing of that is lost; after each round nothing has grown.
//!
//! `SOAK_MINUTES` (2) and `SOAK_SEED` (the clock) say how long and which.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::json;

use super::disk::{Disk, Trouble};
use super::ledger::{Answer, Ledger, ask, operator, read};
use super::report;
use super::shim::Shim;
use crate::support::endurance::{Held, Way};
use crate::support::home::Home;
use crate::support::peer::Peer;
use crate::support::process::{Running, SECRET, command, free_port, program};
use crate::support::{wait_for, wait_within};

/// Node hosts.
const HOSTS: usize = 3;

/// Faults between two looks at what the processes hold.
const ROUND: usize = 12;

/// Growth of resident memory beside stacks over a round that is no leak, in KiB: code first used, pages that hold one
/// small thing still.
const SLACK_KIB: u64 = 3 * 1_024;

/// Approved nodes that a removal leaves: a list of thousands, made anew by each look, scatters the heap.
const KEPT: usize = 200;

/// Connections of a flood.
const FLOOD: usize = 300;

/// Growth of the gateway's heap over a round that is no leak: what was approved meanwhile, and what each thread keeps
/// for its next allocations.
const HEAP_SLACK: i64 = 1_024 * 1_024;

/// From a fault to everything running again.
const BACK_WITHIN: Duration = Duration::from_secs(90);

const FAULTS: [&str; 13] = [
    "kill -9 gateway",
    "kill -9 node host",
    "cut link",
    "disk full",
    "disk read-only",
    "fsync fails",
    "configuration edited",
    "SIGHUP",
    "approvals",
    "removals",
    "rotation",
    "flood",
    "clock set",
];

struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

struct Host {
    home: Home,
    way: Way,
    process: Running,
}

impl Host {
    fn start(gateway: SocketAddr) -> Host {
        let home = Home::new();
        home.write(
            "exec-approvals.json",
            br#"{"version":1,"defaults":{"security":"full","ask":"off"}}"#,
        );
        let way = Way::to(gateway);
        let process = Self::launch(&home, way.address.port());
        Host { home, way, process }
    }

    fn launch(home: &Home, port: u16) -> Running {
        let mut line = command(&program(), home);
        line.env("OPENCLAW_GATEWAY_TOKEN", SECRET).args([
            "node",
            "run",
            "--port",
            &port.to_string(),
        ]);
        Running::start(line)
    }
}

struct World {
    home: Home,
    disk: Disk,
    shim: Shim,
    gateway: Running,
    port: u16,
    hosts: Vec<Host>,
    ledger: Ledger,
    removed: BTreeSet<String>,
    counts: BTreeMap<&'static str, usize>,
    asked: usize,
}

impl World {
    fn start(test: &str) -> Option<World> {
        let (home, port) = (Home::new(), free_port());
        let disk = Disk::or_skip(test, &home, "16m")?;
        let shim = Shim::or_skip(test, &home)?;
        std::fs::write(disk.inside().join("openclaw.json"), configuration(port, 0)).unwrap();
        let gateway = Self::launch(&disk, &shim, &home);
        let mut world = World {
            home,
            disk,
            shim,
            gateway,
            port,
            hosts: Vec::new(),
            ledger: Ledger::default(),
            removed: BTreeSet::new(),
            counts: BTreeMap::new(),
            asked: 0,
        };
        for _ in 0..HOSTS {
            world.hosts.push(Host::start(world.address()));
        }
        world.settle();
        Some(world)
    }

    fn launch(disk: &Disk, shim: &Shim, home: &Home) -> Running {
        let mut line = disk.command(home);
        shim.load_into(&mut line);
        // As its units start it: of one arena per thread little comes back, which looks like a leak.
        line.env("MALLOC_ARENA_MAX", "2").args(["gateway", "run"]);
        let mut gateway = Running::start(line);
        gateway.wait_for_output("[gateway] ready");
        gateway
    }

    fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    fn operator(&self) -> Peer {
        wait_for("an operator to get in", || operator(self.address()))
    }

    /// Every node host is connected, approved, and runs a command.
    fn settle(&mut self) {
        let mut owner = self.operator();
        let mut ready = BTreeSet::new();
        wait_within(BACK_WITHIN, "every node host to run a command", || {
            let Answer::Done(pending) = ask(&mut owner, "node.pair.list", json!({})) else {
                owner = self.operator();
                return None;
            };
            for row in pending["pending"].as_array().unwrap() {
                if row["commands"].to_string().contains("system.run") {
                    ask(
                        &mut owner,
                        "node.pair.approve",
                        json!({"requestId": row["requestId"]}),
                    );
                }
            }
            let Answer::Done(listed) = ask(&mut owner, "node.list", json!({})) else {
                return None;
            };
            let nodes = listed["nodes"].as_array().unwrap().iter();
            for node in nodes.filter(|node| node["connected"] == true) {
                let id = node["nodeId"].as_str().unwrap().to_owned();
                if ready.contains(&id) {
                    continue;
                }
                self.asked += 1;
                let run = json!({"nodeId": id, "command": "system.run", "timeoutMs": 5_000, "idempotencyKey": format!("s{}", self.asked),
                    "params": {"command": ["/bin/echo", "hi"]}});
                if let Answer::Done(answer) = ask(&mut owner, "node.invoke", run) {
                    if answer["payload"]["stdout"] == "hi\n" {
                        ready.insert(id);
                    }
                }
            }
            (ready.len() == HOSTS).then_some(())
        });
    }

    /// What was acknowledged is there, and what was removed is not.
    fn check(&mut self) {
        let (state, address) = (self.disk.inside(), self.address());
        let lost = self.ledger.check(&state, address);
        if lost > 0 {
            let kept = self.ledger.acknowledged() + self.removed.len();
            report::row("soak", "ended by a loss", kept, lost);
        }
        let paired = read(&state.join("nodes/paired.json"));
        let back: Vec<&String> = self
            .removed
            .iter()
            .filter(|node| paired.get(node.as_str()).is_some())
            .collect();
        assert!(back.is_empty(), "removed and back: {back:?}");
    }

    fn held(&self) -> Vec<Held> {
        let mut held = vec![Held::by(&self.gateway, &self.home)];
        held.extend(
            self.hosts
                .iter()
                .map(|host| Held::by(&host.process, &host.home)),
        );
        held
    }

    /// The bytes that the gateway has in use; what it does not use it has given back after this.
    fn heap(&self) -> i64 {
        let mut owner = self.operator();
        let number = self.shim.ask_heap();
        wait_for("the gateway to tell its heap", || {
            // A small request: what it allocates comes after what is given back.
            ask(&mut owner, "health", json!({}));
            self.shim.heap(number)
        })
    }

    /// How much heap in bytes and resident memory in KiB the gateway holds more than before a round, once nothing of it
    /// is a leak.
    fn given_back(&self, heap: i64, before: &[Held], restarted: &BTreeSet<usize>) -> (i64, u64) {
        let deadline = Instant::now() + BACK_WITHIN;
        loop {
            let (grown, now) = (self.heap() - heap, self.held());
            let Some(complaint) = leak(grown, before, &now, restarted) else {
                let resident = beside_stacks(&now[0]).saturating_sub(beside_stacks(&before[0]));
                return (grown, resident);
            };
            assert!(Instant::now() < deadline, "not given back: {complaint}");
            // Who ended a moment ago may still hold something, and each look is one more who ends.
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    fn trouble(&mut self, begin: impl Fn(&World), end: impl Fn(&World)) {
        let mut owner = self.operator();
        begin(self);
        for number in 0..5 {
            let node = format!("trouble-{}-{number}", self.asked);
            self.ledger.approve(&mut owner, &node);
        }
        end(self);
        self.asked += 1;
    }

    fn fault(&mut self, fault: &'static str, dice: &mut Dice) {
        *self.counts.entry(fault).or_default() += 1;
        match fault {
            "kill -9 gateway" => {
                let mut owner = self.operator();
                for number in 0..dice.below(4) {
                    self.ledger
                        .approve(&mut owner, &format!("kill-{}-{number}", self.asked));
                }
                self.asked += 1;
                self.gateway.kill();
                self.gateway = Self::launch(&self.disk, &self.shim, &self.home);
            }
            "kill -9 node host" => {
                let host = &mut self.hosts[dice.below(HOSTS as u64) as usize];
                host.process.kill();
                host.process = Host::launch(&host.home, host.way.address.port());
            }
            "cut link" => self.hosts[dice.below(HOSTS as u64) as usize].way.cut(),
            "disk full" => self.trouble(
                |it| it.disk.begin(Trouble::Full),
                |it| it.disk.end(Trouble::Full),
            ),
            "disk read-only" => self.trouble(
                |it| it.disk.begin(Trouble::ReadOnly),
                |it| it.disk.end(Trouble::ReadOnly),
            ),
            "fsync fails" => {
                let after = dice.below(6) as i64;
                self.trouble(
                    |it| it.shim.fail_sync(after, true),
                    |it| it.shim.sync_well(),
                );
            }
            "configuration edited" => {
                let text = configuration(self.port, dice.below(1_000));
                std::fs::write(self.disk.inside().join("openclaw.json"), text).unwrap();
            }
            "SIGHUP" => self.gateway.signal("HUP"),
            "approvals" => {
                let mut owner = self.operator();
                for number in 0..10 {
                    let approved = self
                        .ledger
                        .approve(&mut owner, &format!("plain-{}-{number}", self.asked));
                    assert!(matches!(approved, Answer::Done(_)), "{approved:?}");
                }
                self.asked += 1;
            }
            "removals" => {
                let mut owner = self.operator();
                let count = self.ledger.acknowledged().saturating_sub(KEPT).max(3);
                for node in self.ledger.some(count) {
                    let removed = ask(&mut owner, "node.pair.remove", json!({"nodeId": node}));
                    assert!(matches!(removed, Answer::Done(_)), "{removed:?}");
                    self.ledger.forget(&node);
                    self.removed.insert(node);
                }
            }
            "rotation" => {
                let mut owner = self.operator();
                let listed = owner.call("node.list", json!({})).unwrap();
                let id = &listed["nodes"][0]["nodeId"];
                // One that is not there just now may have no device either.
                ask(
                    &mut owner,
                    "device.token.rotate",
                    json!({"deviceId": id, "role": "node"}),
                );
            }
            "flood" => {
                let address = self.address();
                let held = (0..FLOOD).map(|_| TcpStream::connect(address));
                drop(held.flatten().collect::<Vec<_>>());
            }
            _ => {
                let day = 86_400_000;
                let steps = [0, day, -day, -3_650 * day, 3_600_000];
                self.shim
                    .set_clock(steps[dice.below(steps.len() as u64) as usize]);
            }
        }
    }
}

fn configuration(port: u16, edit: u64) -> String {
    format!(
        r#"{{ // edit {edit}
  gateway: {{ mode: "local", port: {port}, auth: {{ mode: "token", token: "{SECRET}" }},
    nodes: {{ pairing: {{ autoApproveCidrs: ["10.{}.0.0/16"] }} }} }} }}"#,
        edit % 256
    )
}

/// Threads are counted; the C library keeps the stacks of as many as were there at once for the next ones.
fn beside_stacks(held: &Held) -> u64 {
    held.resident_kib.saturating_sub(held.stacks_kib)
}

/// What has grown over a round that is no slack; processes that were started meanwhile do not count.
fn leak(heap: i64, before: &[Held], now: &[Held], restarted: &BTreeSet<usize>) -> Option<String> {
    if heap > HEAP_SLACK {
        return Some(format!("{heap} bytes of the gateway's heap"));
    }
    let mut both = before.iter().zip(now).enumerate();
    let (place, (before, now)) = both.find(|(place, (before, now))| {
        !restarted.contains(place)
            && (now.descriptors > before.descriptors + 1
                || now.threads > before.threads + 1
                || now.children > 0
                || beside_stacks(now) > beside_stacks(before) + SLACK_KIB)
    })?;
    Some(format!("{place}: {before} -> {now}"))
}

#[test]
fn random_faults_lose_nothing_and_leave_nothing() {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
    };
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let seed = number("SOAK_SEED").unwrap_or(clock.as_nanos() as u64) | 1;
    let length = Duration::from_secs(60 * number("SOAK_MINUTES").unwrap_or(2));
    let Some(mut world) = World::start("random_faults_lose_nothing_and_leave_nothing") else {
        return;
    };
    println!("soak of {length:?}, SOAK_SEED={seed} repeats it");
    let (mut dice, begun) = (Dice(seed), Instant::now());
    let (mut rounds, mut most, mut most_kib) = (0, 0, 0);
    while begun.elapsed() < length {
        // A fresh gateway, so that a round of its life can be compared.
        world.fault("kill -9 gateway", &mut dice);
        world.settle();
        let heap = world.heap();
        let before = world.held();
        let mut restarted = BTreeSet::new();
        for _ in 0..ROUND {
            let fault = FAULTS[1 + dice.below(FAULTS.len() as u64 - 1) as usize];
            let pids: Vec<u32> = world.hosts.iter().map(|host| host.process.pid()).collect();
            world.fault(fault, &mut dice);
            for (place, host) in world.hosts.iter().enumerate() {
                if host.process.pid() != pids[place] {
                    restarted.insert(place + 1);
                }
            }
            world.settle();
            world.check();
        }
        let (bytes, kib) = world.given_back(heap, &before, &restarted);
        (most, most_kib) = (most.max(bytes), most_kib.max(kib));
        rounds += 1;
    }
    let left = super::disks::leftovers(&world.disk.inside());
    assert!(left.is_empty(), "{left:?}");
    assert!(!world.gateway.output().contains("internal error"));
    for (fault, count) in &world.counts {
        println!("{fault:<24} {count:>6}");
    }
    report::row(
        "soak",
        &format!(
            "{} faults of {} kinds in {:.0?}, {rounds} rounds without a leak (at most {} KiB of heap and {most_kib} KiB of resident memory more after one), seed {seed}",
            world.counts.values().sum::<usize>(),
            world.counts.len(),
            begun.elapsed(),
            most / 1_024
        ),
        world.ledger.acknowledged() + world.removed.len(),
        0,
    );
}
