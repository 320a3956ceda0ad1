//! A disk that cannot keep what it took: fsync fails. Then nothing is acknowledged, what is shown is what was
//! there before, and the next change writes everything anew instead of believing what the cache shows.

use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::AtomicBool;

use serde_json::json;

use super::ledger::{Answer, Ledger, Says, ask, operator, read};
use super::report;
use super::shim::Shim;
use crate::support::home::Home;
use crate::support::process::{Running, SECRET, finish, free_port};
use crate::support::wait_for;

/// A gateway whose syncs the test can make fail, and what it acknowledged.
struct Case {
    home: Home,
    shim: Shim,
    gateway: Running,
    address: SocketAddr,
    ledger: Ledger,
}

impl Case {
    fn or_skip(test: &str) -> Option<Case> {
        let port = free_port();
        let home = Home::with_gateway(port, SECRET);
        let shim = Shim::or_skip(test, &home)?;
        Some(Case {
            gateway: shim.gateway(&home),
            home,
            shim,
            address: ([127, 0, 0, 1], port).into(),
            ledger: Ledger::default(),
        })
    }

    /// What is lost after a kill -9.
    fn lost_after_kill(mut self) -> usize {
        self.gateway.kill();
        self.gateway = self.shim.gateway(&self.home);
        self.ledger.check(&self.home.state(), self.address)
    }
}

/// More syncs than one operation makes.
const MANY: i64 = 64;

#[test]
fn a_sync_that_fails_anywhere_in_an_operation_undoes_it() {
    let test = "a_sync_that_fails_anywhere_in_an_operation_undoes_it";
    let Some(case) = Case::or_skip(test) else {
        return;
    };
    let (shim, ledger) = (&case.shim, &case.ledger);
    let mut peer = operator(case.address).unwrap();
    let paired = case.home.state().join("nodes/paired.json");
    ledger.approve(&mut peer, "first");
    let mut failures = 0;
    for position in 0..MANY {
        let node = format!("node-{position}");
        let Answer::Done(requested) = ask(
            &mut peer,
            "node.pair.request",
            json!({"nodeId": node, "platform": "linux"}),
        ) else {
            panic!("the disk is well")
        };
        let approve = json!({"requestId": requested["request"]["requestId"]});
        let (failed, before) = (shim.failed(), read(&paired));
        shim.fail_sync(position, false);
        let answer = ask(&mut peer, "node.pair.approve", approve.clone());
        let hit = shim.failed() > failed;
        shim.sync_well();
        let approved = match answer {
            Answer::Refused(error) => {
                assert!(hit, "{error}");
                assert_eq!(error["code"], "UNAVAILABLE", "{error}");
                failures += 1;
                assert_eq!(read(&paired), before, "sync {position}: taken back");
                let (inode, syncs) = (inode(&paired), shim.syncs());
                let Answer::Done(approved) = ask(&mut peer, "node.pair.approve", approve) else {
                    panic!("the disk is well again")
                };
                assert_ne!(self::inode(&paired), inode, "written anew");
                assert!(shim.syncs() >= syncs + 2, "the file and its directory");
                approved
            }
            Answer::Done(approved) => {
                assert!(!hit, "sync {position} failed, and it was acknowledged");
                approved
            }
            Answer::Gone => panic!("a disk ends no session"),
        };
        ledger.note(&node, approved["node"]["token"].as_str().unwrap());
        if !hit {
            break;
        }
    }
    assert!(failures >= 3, "{failures}");
    let acknowledged = ledger.acknowledged();
    let lost = case.lost_after_kill();
    report::row(
        "fsync fails once",
        &format!("each of the {failures} syncs of an approval, then kill -9"),
        acknowledged,
        lost,
    );
}

fn inode(path: &std::path::Path) -> u64 {
    std::fs::metadata(path).unwrap().ino()
}

#[test]
fn nothing_is_acknowledged_while_every_sync_fails() {
    let test = "nothing_is_acknowledged_while_every_sync_fails";
    let Some(case) = Case::or_skip(test) else {
        return;
    };
    let (shim, ledger) = (&case.shim, &case.ledger);
    let enough = AtomicBool::new(false);
    const ROUNDS: usize = 10;
    std::thread::scope(|scope| {
        let _says = Says(&enough);
        for number in 0..3 {
            let (address, enough) = (case.address, &enough);
            scope.spawn(move || ledger.approve_many(address, &format!("node-{number}"), enough));
        }
        for round in 0..ROUNDS {
            let known = ledger.acknowledged();
            wait_for("an approval", || {
                (ledger.acknowledged() > known).then_some(())
            });
            shim.fail_sync(round as i64, true);
            // Whatever was on its way is refused; from the second refusal on all of it began after.
            let refused = ledger.refused();
            wait_for("refusals", || {
                (ledger.refused() > refused + 6).then_some(())
            });
            let known = ledger.acknowledged();
            let refused = ledger.refused();
            wait_for("refusals", || {
                (ledger.refused() > refused + 6).then_some(())
            });
            assert_eq!(ledger.acknowledged(), known);
            shim.sync_well();
        }
        let known = ledger.acknowledged();
        wait_for("an approval after all", || {
            (ledger.acknowledged() > known).then_some(())
        });
    });
    let (acknowledged, refused) = (ledger.acknowledged(), ledger.refused());
    let lost = case.lost_after_kill();
    report::row(
        "every fsync fails, for a while",
        &format!("{ROUNDS} times under 3 approving operators, {refused} refused, then kill -9"),
        acknowledged,
        lost,
    );
}

/// Command lines that write one file each, and the file.
const WRITES: [(&str, &[&str]); 4] = [
    (
        "openclaw.json",
        &["config", "set", "gateway.nodes.pairing.enabled", "false"],
    ),
    (
        "exec-approvals.json",
        &["approvals", "allowlist", "add", "/bin/true"],
    ),
    ("identity/device.json", &["node", "identity"]),
    (
        "devices/bootstrap.json",
        &["qr", "--url", "ws://10.1.2.3:18789"],
    ),
];

#[test]
fn a_command_whose_file_the_disk_does_not_keep_fails_and_changes_nothing() {
    let test = "a_command_whose_file_the_disk_does_not_keep_fails_and_changes_nothing";
    let mut failures = 0;
    for (file, arguments) in WRITES {
        for position in 0..MANY {
            let home = Home::with_gateway(free_port(), SECRET);
            let Some(shim) = Shim::or_skip(test, &home) else {
                return;
            };
            let before = home.read(file);
            shim.fail_sync(position, false);
            let outcome = finish(shim.command(&home, &[arguments, &["--json"]].concat()));
            if shim.failed() == 0 {
                assert_eq!(outcome.code, 0, "{file}: {outcome:?}");
                assert_ne!(home.read(file), before, "{file} is what it writes");
                assert!(position > 0, "{file}: it syncs nothing");
                break;
            }
            failures += 1;
            assert_ne!(outcome.code, 0, "{file}, sync {position}: {outcome:?}");
            assert_eq!(outcome.json()["ok"], false, "{outcome:?}");
            assert_eq!(home.read(file), before, "{file}, sync {position}");
        }
    }
    let tried = format!("each of the {failures} syncs of 4 commands that write a file");
    report::row("fsync fails once, commands", &tried, 0, 0);
}
