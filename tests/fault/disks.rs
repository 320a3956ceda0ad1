//! A disk that fills up or turns read-only under the running gateway, in the middle of its writes: operations
//! fail with their error, what failed did not happen, nothing that was acknowledged is lost, and when the disk
//! is well again it goes on without a restart.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use serde_json::json;

use super::disk::{Disk, Trouble};
use super::ledger::{Ledger, Says, operator, read};
use super::report;
use crate::support::device::Device;
use crate::support::home::Home;
use crate::support::peer::Peer;
use crate::support::process::{Running, SECRET, command, free_port, http};
use crate::support::wait_for;

const ROUNDS: usize = 20;
const OPERATORS: usize = 3;

fn configuration(port: u16) -> String {
    format!(
        r#"{{ gateway: {{ mode: "local", port: {port}, auth: {{ mode: "token", token: "{SECRET}" }} }} }}"#
    )
}

fn start(disk: &Disk, home: &Home) -> Running {
    let mut line = disk.command(home);
    line.args(["gateway", "run"]);
    let mut gateway = Running::start(line);
    gateway.wait_for_output("[gateway] ready");
    gateway
}

/// Trouble again and again under operators that approve all the time.
fn trouble_mid_write(test: &str, trouble: Trouble) {
    let (home, port) = (Home::new(), free_port());
    // Room for the records of all that is approved, twice while a file is replaced.
    let Some(disk) = Disk::or_skip(test, &home, "24m") else {
        return;
    };
    std::fs::write(disk.inside().join("openclaw.json"), configuration(port)).unwrap();
    let mut gateway = start(&disk, &home);
    let address = ([127, 0, 0, 1], port).into();
    let (ledger, enough) = (Ledger::default(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let _says = Says(&enough);
        for number in 0..OPERATORS {
            let (ledger, enough) = (&ledger, &enough);
            scope.spawn(move || ledger.approve_many(address, &format!("node-{number}"), enough));
        }
        for _ in 0..ROUNDS {
            let mut chance = [0u8; 1];
            getrandom::fill(&mut chance).unwrap();
            let acknowledged = ledger.acknowledged();
            wait_for("an approval", || {
                (ledger.acknowledged() > acknowledged).then_some(())
            });
            std::thread::sleep(Duration::from_micros(u64::from(chance[0]) * 200));
            let refused = ledger.refused();
            disk.begin(trouble);
            wait_for("a refusal", || (ledger.refused() > refused).then_some(()));
            let error = ledger.last_refusal();
            assert_eq!(error["code"], "UNAVAILABLE", "{error}");
            let message = error["message"].as_str().unwrap();
            assert!(!message.contains('/'), "no path in {message}");
            let health = http(address, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
            assert!(health.contains("live"), "{health}");
            disk.end(trouble);
        }
        let acknowledged = ledger.acknowledged();
        wait_for("an approval after all", || {
            (ledger.acknowledged() > acknowledged).then_some(())
        });
    });
    gateway.kill();
    let mut gateway = start(&disk, &home);
    let lost = ledger.check(&disk.inside(), address);
    let trail = std::fs::read_to_string(disk.inside().join("audit.jsonl")).unwrap();
    let approvals = trail.lines().filter(|line| line.contains("node.approve"));
    assert!(
        approvals.count() >= ledger.acknowledged(),
        "a line for each"
    );
    let left = leftovers(&disk.inside());
    assert!(left.is_empty(), "{left:?}");
    report::row(
        &format!("disk {trouble:?}, mid-write"),
        &format!(
            "{ROUNDS} times under {OPERATORS} approving operators, {} refused, then kill -9",
            ledger.refused()
        ),
        ledger.acknowledged(),
        lost,
    );
    gateway.signal("TERM");
    assert_eq!(gateway.exit_code(), 0, "{}", gateway.output());
}

/// Temporary files below a directory.
pub fn leftovers(directory: &std::path::Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(leftovers(&path));
        } else if path.extension().is_some_and(|end| end == "tmp") {
            found.push(path);
        }
    }
    found
}

#[test]
fn a_disk_that_fills_up_mid_write_loses_nothing() {
    trouble_mid_write(
        "a_disk_that_fills_up_mid_write_loses_nothing",
        Trouble::Full,
    );
}

#[test]
fn a_disk_that_turns_read_only_mid_write_loses_nothing() {
    let test = "a_disk_that_turns_read_only_mid_write_loses_nothing";
    trouble_mid_write(test, Trouble::ReadOnly);
}

/// Who writes a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writer {
    /// The command itself.
    Command,
    /// The gateway, at its start.
    Start,
    /// A gateway that runs, asked by the command.
    Gateway,
}

/// Files, who writes them, and the command line that makes them do it.
const WRITES: [(&str, Writer, &[&str]); 8] = [
    (
        "openclaw.json",
        Writer::Command,
        &["config", "set", "gateway.nodes.pairing.enabled", "false"],
    ),
    (
        "exec-approvals.json",
        Writer::Command,
        &["approvals", "allowlist", "add", "/bin/true"],
    ),
    (
        "devices/bootstrap.json",
        Writer::Command,
        &["qr", "--url", "ws://10.1.2.3:18789"],
    ),
    (
        "identity/device.json",
        Writer::Command,
        &["node", "identity"],
    ),
    (
        "pairing-switch.json",
        Writer::Gateway,
        &["gateway", "pairing", "close"],
    ),
    (
        "devices/join-keys.json",
        Writer::Gateway,
        &["devices", "keys", "create"],
    ),
    ("openclaw.json", Writer::Start, &["gateway", "run"]),
    (
        "gateway/tls/gateway-cert.pem",
        Writer::Start,
        &["gateway", "run"],
    ),
];

/// Every file below a directory with its content.
fn content(directory: &std::path::Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        // Locks say who had them last, logs and the trail what happened.
        let name = entry.file_name().to_string_lossy().into_owned();
        if path.is_dir() {
            found.extend(content(&path));
        } else if !name.ends_with(".lock") && name != "filler" && !name.ends_with(".jsonl") {
            found.push((path.clone(), std::fs::read(path).unwrap()));
        }
    }
    found.sort();
    found
}

#[test]
fn every_file_keeps_its_content_when_the_disk_refuses_the_next() {
    let mut refused = 0;
    for trouble in [Trouble::Full, Trouble::ReadOnly] {
        for (file, writer, arguments) in WRITES {
            if !refused_and_repeated(trouble, file, writer, arguments) {
                return;
            }
            refused += 1;
        }
    }
    report::row(
        "disk Full and ReadOnly, every file",
        &format!("{refused} commands and starts refused, each file as before, then repeated"),
        0,
        0,
    );
}

/// One writer of one file; false where there are no mounts.
fn refused_and_repeated(trouble: Trouble, file: &str, writer: Writer, arguments: &[&str]) -> bool {
    let (home, port) = (Home::new(), free_port());
    let test = "every_file_keeps_its_content_when_the_disk_refuses_the_next";
    let Some(disk) = Disk::or_skip(test, &home, "512k") else {
        return false;
    };
    let mut config = configuration(port);
    if (file, writer) == ("openclaw.json", Writer::Start) {
        config = format!(r#"{{ gateway: {{ mode: "local", port: {port} }} }}"#);
    } else if file.contains("tls") {
        config = config.replace("gateway: {", "gateway: { tls: { enabled: true },");
    }
    std::fs::write(disk.inside().join("openclaw.json"), config).unwrap();
    if file != "identity/device.json" {
        disk.openclaw(&home, &["node", "identity"]).success();
    }
    let gateway = (writer == Writer::Gateway).then(|| start(&disk, &home));
    let before = content(&disk.inside());
    disk.begin(trouble);
    let json = &["--json"][..usize::from(writer != Writer::Start)];
    let outcome = disk.openclaw(&home, &[arguments, json].concat());
    assert_ne!(outcome.code, 0, "{trouble:?} {file}: {outcome:?}");
    let said = match writer {
        Writer::Start => outcome.stderr.clone() + &outcome.stdout,
        _ => outcome.json()["error"].to_string(),
    };
    let cause = match (writer, trouble) {
        (Writer::Gateway, _) => "UNAVAILABLE",
        (_, Trouble::Full) => "No space left on device",
        (_, Trouble::ReadOnly) => "Read-only file system",
    };
    assert!(said.contains(cause), "{trouble:?} {file}: {outcome:?}");
    assert_eq!(content(&disk.inside()), before, "{trouble:?} {file}");
    disk.end(trouble);
    if writer == Writer::Start {
        let mut gateway = start(&disk, &home);
        gateway.signal("TERM");
        assert_eq!(gateway.exit_code(), 0, "{}", gateway.output());
    } else {
        let outcome = disk.openclaw(&home, arguments);
        assert_eq!(outcome.code, 0, "{trouble:?} {file}: {outcome:?}");
    }
    let written = disk.inside().join(file);
    assert!(written.exists(), "{file} is what it writes");
    assert!(leftovers(&disk.inside()).is_empty());
    drop(gateway);
    true
}

#[test]
fn a_gateway_comes_back_on_a_disk_that_takes_nothing() {
    let test = "a_gateway_comes_back_on_a_disk_that_takes_nothing";
    for trouble in [Trouble::Full, Trouble::ReadOnly] {
        let (home, port) = (Home::new(), free_port());
        let Some(disk) = Disk::or_skip(test, &home, "512k") else {
            return;
        };
        std::fs::write(disk.inside().join("openclaw.json"), configuration(port)).unwrap();
        let (address, device) = (([127, 0, 0, 1], port).into(), Device::new());
        let gateway = start(&disk, &home);
        let mut owner = operator(address).unwrap();
        let node = Peer::node(address, SECRET, &device, &["system.which"]).unwrap();
        let id = owner.event("node.pair.requested")["payload"]["requestId"].clone();
        owner
            .call("node.pair.approve", json!({"requestId": id}))
            .unwrap();
        drop((owner, node));
        disk.begin(trouble);
        drop(gateway);
        let gateway = start(&disk, &home);
        let mut node = Peer::node(address, SECRET, &device, &["system.which"]).unwrap();
        let mut owner = operator(address).unwrap();
        let ask = json!({"nodeId": device.id, "command": "system.which", "params": {"bins": []},
            "idempotencyKey": "k"});
        let asked = owner.send("node.invoke", ask);
        node.answer_invoke(&json!({"bins": {}}));
        owner.answer(&asked).unwrap();
        let refused = owner.call("device.pair.remove", json!({"deviceId": device.id}));
        assert_eq!(refused.unwrap_err()["code"], "UNAVAILABLE");
        disk.end(trouble);
        owner
            .call("device.pair.remove", json!({"deviceId": device.id}))
            .unwrap();
        drop(gateway);
        let tried = "restart; its paired node connects and runs a command";
        report::row(&format!("disk {trouble:?} at the start"), tried, 1, 0);
    }
}

#[test]
fn a_trail_that_cannot_be_written_stops_nobody_and_is_written_later() {
    let (home, port) = (Home::new(), free_port());
    let test = "a_trail_that_cannot_be_written_stops_nobody_and_is_written_later";
    let Some(disk) = Disk::or_skip(test, &home, "4m") else {
        return;
    };
    std::fs::write(disk.inside().join("openclaw.json"), configuration(port)).unwrap();
    let gateway = start(&disk, &home);
    let address = ([127, 0, 0, 1], port).into();
    let trail = disk.inside().join("audit.jsonl");
    let ledger = Ledger::default();
    let mut peer = operator(address).unwrap();
    ledger.approve(&mut peer, "before");
    // Every write into it says that the disk is full.
    let mount = |arguments: &[&str]| {
        let mut line = command(std::path::Path::new("/usr/bin/nsenter"), &home);
        line.env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin");
        let outside = home.state().join("audit.jsonl");
        line.args(["-m", "-t", &gateway.pid().to_string(), "--"]);
        assert!(
            line.args(arguments)
                .arg(outside)
                .status()
                .unwrap()
                .success()
        );
    };
    mount(&["mount", "--bind", "/dev/full"]);
    ledger.approve(&mut peer, "during");
    wait_for("a word about it", || {
        gateway
            .output()
            .contains("it is kept for later")
            .then_some(())
    });
    mount(&["umount"]);
    ledger.approve(&mut peer, "after");
    assert_eq!((ledger.acknowledged(), ledger.refused()), (3, 0));
    let text = std::fs::read_to_string(trail).unwrap();
    let subjects: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .filter(|line| line["action"] == "node.approve")
        .map(|line| line["subject"].clone())
        .collect();
    assert_eq!(subjects, ["before", "during", "after"]);
    assert!(read(&disk.inside().join("nodes/paired.json"))["during"].is_object());
    report::row(
        "audit log unwritable",
        "an approval meanwhile; its line comes with the next",
        3,
        0,
    );
}
