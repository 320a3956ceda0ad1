//! A system that gives no more: descriptors, threads, memory. Who comes is told, who is there stays, nothing spins,
//! and when there is room again nobody has to restart anything.

use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use super::half_open::sockets;
use super::ledger::{Answer, Ledger, operator};
use super::report;
use crate::support::home::Home;
use crate::support::process::{Gateway, Running, SECRET, command, free_port, program};
use crate::support::wait_for;
use crate::support::websocket::Message;

/// Connections that come while there is no room.
const COMERS: usize = 100;

/// Looks in a row at a process at rest.
const RESTS: usize = 50;

/// Sets the soft limit of a running process.
pub fn limit(pid: u32, what: &str, soft: u64) {
    // As its own user: root may lack the right to limit others.
    let owner = std::fs::metadata(format!("/proc/{pid}")).unwrap();
    let (user, group) = (owner.uid(), owner.gid());
    let status = Command::new("setpriv")
        .args([format!("--reuid={user}"), format!("--regid={group}")])
        .args(["--clear-groups", "prlimit", "--pid"])
        .args([&pid.to_string(), &format!("--{what}={soft}:")])
        .status();
    assert!(status.unwrap().success());
}

/// Entries of a directory of a process.
pub fn count(pid: u32, what: &str) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/{what}"))
        .unwrap()
        .count()
}

/// The number that the next descriptor of a process would get.
fn lowest_free(pid: u32) -> u64 {
    let used = |number: &u64| Path::new(&format!("/proc/{pid}/fd/{number}")).is_symlink();
    (0..).find(|number| !used(number)).unwrap()
}

/// Threads of a process that are running, which the one of a loop that has nothing to do always is.
fn running(pid: u32) -> usize {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let stats = tasks.flatten().filter_map(|task| {
        // One that ends while it is looked at does not run.
        std::fs::read_to_string(task.path().join("stat")).ok()
    });
    stats
        .filter(|stat| stat.rsplit(')').next().unwrap().starts_with(" R"))
        .count()
}

/// What a connection hears before it is closed; the connection itself when it stays open and silent.
fn told(address: SocketAddr) -> Result<String, TcpStream> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    let mut said = Vec::new();
    match stream.read_to_end(&mut said) {
        Err(error) if said.is_empty() && error.kind() == std::io::ErrorKind::WouldBlock => {
            Err(stream)
        }
        _ => Ok(String::from_utf8_lossy(&said).into_owned()),
    }
}

#[test]
fn out_of_descriptors_who_comes_is_told_and_who_is_there_stays() {
    let gateway = Gateway::start();
    let (address, pid) = (gateway.address, gateway.process.pid());
    let ledger = Ledger::default();
    let mut owner = operator(address).unwrap();
    ledger.approve(&mut owner, "before");
    let before = sockets(pid);
    limit(pid, "nofile", lowest_free(pid));
    for _ in 0..COMERS {
        let said = told(address).expect("nobody is left to wait");
        assert!(said.starts_with("HTTP/1.1 503 "), "{said:?}");
    }
    let during = ledger.approve(&mut owner, "during");
    assert!(matches!(during, Answer::Refused(_)), "{during:?}");
    // Looked at from outside: a process that spins is never at rest so many times in a row.
    let mut rests = 0;
    wait_for("the gateway to be at rest", || {
        rests = if running(pid) == 0 { rests + 1 } else { 0 };
        (rests == RESTS).then_some(())
    });
    let words = gateway.process.output();
    let complaints = words.matches("cannot accept connections at the moment");
    assert!(complaints.count() <= 2 + COMERS / 10, "{words}");
    limit(pid, "nofile", 4_096);
    wait_for("room again", || {
        matches!(ledger.approve(&mut owner, "after"), Answer::Done(_)).then_some(())
    });
    let lost = ledger.check(&gateway.home.state(), address);
    wait_for("everything to be closed", || {
        (sockets(pid) <= before).then_some(())
    });
    report::row(
        "out of descriptors",
        &format!("{COMERS} connections told 503, an approval refused, then at rest"),
        ledger.acknowledged(),
        lost,
    );
}

/// The program as a user of this machine that nobody else is, who may have so many threads; it is a copy in a
/// home of its own.
pub fn as_nobody(home: &Home, user: u32, threads: u64) -> Command {
    let own: PathBuf = home.path().join("openclaw");
    std::fs::copy(program(), &own).unwrap();
    std::fs::set_permissions(&own, std::fs::Permissions::from_mode(0o755)).unwrap();
    let owned = Command::new("chown")
        .args(["-R", &format!("{user}:{user}")])
        .arg(home.path())
        .status();
    assert!(owned.unwrap().success());
    let mut line = command(Path::new("/usr/bin/setpriv"), home);
    line.args([
        &format!("--reuid={user}"),
        &format!("--regid={user}"),
        "--clear-groups",
        "prlimit",
        &format!("--nproc={threads}"),
    ]);
    line.arg(own);
    line
}

#[test]
fn out_of_threads_who_comes_is_told_and_who_is_there_stays() {
    let test = "out_of_threads_who_comes_is_told_and_who_is_there_stays";
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED {test}: limits of another user need root");
        return;
    }
    const THREADS: usize = 24;
    let port = free_port();
    let home = Home::with_gateway(port, SECRET);
    let mut line = as_nobody(&home, 54_321, THREADS as u64);
    line.args(["gateway", "run"]);
    let mut gateway = Running::start(line);
    gateway.wait_for_output("[gateway] ready");
    let (address, pid) = (SocketAddr::from(([127, 0, 0, 1], port)), gateway.pid());
    let ledger = Ledger::default();
    let mut owner = operator(address).unwrap();
    ledger.approve(&mut owner, "before");
    // Silent ones take every thread.
    let mut silent = Vec::new();
    wait_for("the last thread", || {
        silent.push(TcpStream::connect(address).unwrap());
        (count(pid, "task") >= THREADS).then_some(())
    });
    let mut turned_away = 0;
    while turned_away < COMERS {
        match told(address) {
            Ok(said) => {
                assert!(said.starts_with("HTTP/1.1 503 "), "{said:?}");
                turned_away += 1;
            }
            // A thread had ended: what it did was over, or a silent one was out of time. Now it is taken too.
            Err(waits) => silent.push(waits),
        }
        assert!(silent.len() <= 4 * THREADS, "{turned_away} turned away");
    }
    ledger.approve(&mut owner, "during");
    drop(silent);
    wait_for("room again", || operator(address).map(drop));
    // One thread more: enough to be admitted, not enough for the session as well.
    wait_for("the session of somebody to find no thread", || {
        let tasks = count(pid, "task") as u64;
        limit(pid, "nproc", tasks + 1);
        let late = operator(address);
        limit(pid, "nproc", THREADS as u64);
        let mut late = late?;
        // Served after all, where a thread ended meanwhile.
        match late.socket.next_within(Duration::from_millis(500)) {
            Some(Message::Close(code, reason)) => Some((code, reason)),
            _ => None,
        }
        .map(|closed| assert_eq!(closed, (1013, "gateway out of threads".to_owned())))
    });
    ledger.approve(&mut owner, "after");
    let lost = ledger.check(&home.state(), address);
    assert_eq!((ledger.acknowledged(), ledger.refused()), (3, 0));
    assert!(gateway.alive());
    report::row(
        "out of threads",
        &format!("{COMERS} connections told 503, a session told 1013; approvals go on"),
        3,
        lost,
    );
}

#[test]
fn out_of_memory_loses_nothing() {
    let mut gateway = Gateway::start();
    let (address, pid) = (gateway.address, gateway.process.pid());
    let ledger = Ledger::default();
    let mut owner = operator(address).unwrap();
    ledger.approve(&mut owner, "before");
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).unwrap();
    let pages: u64 = statm.split_whitespace().next().unwrap().parse().unwrap();
    // Two megabytes more than it has.
    limit(pid, "as", pages * 4_096 + (2 << 20));
    let (mut held, mut tried) = (Vec::new(), 0);
    for number in 0..COMERS {
        let Ok(stream) = TcpStream::connect(address) else {
            break;
        };
        held.push(stream);
        if number % 10 == 0 {
            tried += 1;
            let answer = ledger.approve(&mut owner, &format!("during-{number}"));
            if matches!(answer, Answer::Gone) {
                break;
            }
        }
    }
    drop(held);
    let during = ledger.acknowledged() - 1;
    if gateway.process.alive() {
        limit(pid, "as", 1 << 40);
    }
    // Both ends are allowed: serving on, and the end of a program that gets no memory. Nothing between them.
    let served = wait_for("an operator to be served, or the end", || {
        let gone = !gateway.process.alive();
        if gone {
            Some(None)
        } else {
            operator(address).map(Some)
        }
    });
    let end = if let Some(mut owner) = served {
        let after = ledger.approve(&mut owner, "after");
        assert!(matches!(after, Answer::Done(_)), "{after:?}");
        "it lived and served on, then kill -9"
    } else {
        let said = gateway.process.output();
        assert!(said.contains("memory allocation of"), "{said}");
        "it ended for want of memory"
    };
    gateway.crash_and_restart();
    let lost = ledger.check(&gateway.home.state(), address);
    let health = operator(address).unwrap().call("health", json!({}));
    assert_eq!(health.unwrap()["ok"], true);
    report::row(
        "out of memory",
        &format!("2 MiB left, {COMERS} connections: {end}; {during} of {tried} approvals done"),
        ledger.acknowledged(),
        lost,
    );
}
