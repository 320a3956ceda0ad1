//! Files that are written beside what was asked for, on a disk that takes nothing: the tokens of a device and the
//! zone of a wide-area domain. What was asked for is done, the old file stays whole, and it is said.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::disk::{Disk, Trouble};
use super::disks::leftovers;
use super::ledger::read;
use super::report;
use crate::support::home::Home;
use crate::support::process::{Gateway, Running, SECRET, finish, free_port};
use crate::support::wait_for;

fn cause(trouble: Trouble) -> &'static str {
    match trouble {
        Trouble::Full => "No space left on device",
        Trouble::ReadOnly => "Read-only file system",
    }
}

/// The tokens per gateway in a file of device tokens.
fn gateways(document: &Value) -> Vec<String> {
    let known = document["gateways"].as_object();
    known.map_or_else(Vec::new, |known| known.keys().cloned().collect())
}

#[test]
fn a_token_that_the_disk_does_not_take_keeps_no_command_from_its_work() {
    let test = "a_token_that_the_disk_does_not_take_keeps_no_command_from_its_work";
    let (first, second) = (Gateway::start(), Gateway::start());
    for trouble in [Trouble::Full, Trouble::ReadOnly] {
        let home = Home::new();
        let Some(disk) = Disk::or_skip(test, &home, "512k") else {
            return;
        };
        let list = |gateway: &Gateway| {
            let url = format!("ws://{}", gateway.address);
            let words = ["nodes", "list", "--url", &url, "--token", SECRET, "--json"];
            let outcome = disk.openclaw(&home, &words).success();
            outcome.json();
            outcome.stderr
        };
        assert_eq!(list(&first), "");
        let file = disk.inside().join("identity/device-auth.json");
        let before = std::fs::read(&file).unwrap();
        assert_eq!(gateways(&read(&file)).len(), 1);
        disk.begin(trouble);
        let said = list(&second);
        assert!(said.contains("cannot keep the device token"), "{said}");
        assert!(said.contains(cause(trouble)), "{said}");
        // A node host, which has to keep what it is, does not begin.
        let port = second.address.port().to_string();
        let mut line = disk.command(&home);
        line.env("OPENCLAW_GATEWAY_TOKEN", SECRET);
        line.args(["node", "run", "--host", "127.0.0.1", "--port", &port]);
        let refused = finish(line);
        assert_ne!(refused.code, 0, "{refused:?}");
        assert!(refused.stderr.contains(cause(trouble)), "{refused:?}");
        assert_eq!(std::fs::read(&file).unwrap(), before, "{trouble:?}");
        assert!(!disk.inside().join("node.json").exists());
        disk.end(trouble);
        assert_eq!(list(&second), "");
        assert_eq!(gateways(&read(&file)).len(), 2, "the first one is kept");
        assert!(leftovers(&disk.inside()).is_empty());
        report::row(
            &format!("disk {trouble:?}, device tokens"),
            "a second gateway's: the command works and says so, the first one's stays",
            1,
            0,
        );
    }
}

/// A machine in a tailnet, whose CoreDNS starts whenever it is told to.
const PROGRAMS: [(&str, &str); 3] = [
    (
        "tailscale",
        r#"echo '{"Self":{"TailscaleIPs":["100.64.0.9"]}}'"#,
    ),
    ("coredns", ":"),
    ("systemctl", ":"),
];

fn install(home: &Home) -> String {
    let folder = home.path().join("bin");
    std::fs::create_dir_all(&folder).unwrap();
    for (name, body) in PROGRAMS {
        let source = home.path().join("script");
        std::fs::write(&source, format!("#!/bin/sh\n{body}\n")).unwrap();
        std::fs::set_permissions(&source, std::fs::Permissions::from_mode(0o755)).unwrap();
        // A file that this process has written may be held open by a child of another test.
        let copied = Command::new("cp")
            .args([&source, &folder.join(name)])
            .status();
        assert!(copied.unwrap().success());
    }
    format!("{}:/usr/bin:/bin", folder.display())
}

fn configure(state: &Path, port: u16) {
    let text = format!(
        r#"{{ gateway: {{ mode: "local", port: {port}, auth: {{ token: "{SECRET}" }} }},
             discovery: {{ wideArea: {{ enabled: true, domain: "openclaw.internal" }} }} }}"#
    );
    std::fs::write(state.join("openclaw.json"), text).unwrap();
}

/// A gateway that says how its zone is.
fn start(disk: &Disk, home: &Home, path: &str, state: &str) -> (Running, Value) {
    let mut line = disk.command(home);
    line.args(["gateway", "run"]).env("PATH", path);
    let mut gateway = Running::start(line);
    gateway.wait_for_output("[gateway] ready");
    let zone = wait_for(&format!("the zone to be {state}"), || {
        let health = disk.openclaw(home, &["gateway", "health", "--json"]);
        let zone = health.success().json()["discovery"]["wideArea"].clone();
        (zone["state"] == state).then_some(zone)
    });
    (gateway, zone)
}

#[test]
fn a_zone_that_the_disk_does_not_take_stays_as_it_was() {
    let test = "a_zone_that_the_disk_does_not_take_stays_as_it_was";
    for trouble in [Trouble::Full, Trouble::ReadOnly] {
        let home = Home::new();
        let Some(disk) = Disk::or_skip(test, &home, "512k") else {
            return;
        };
        let path = install(&home);
        let corefile = home.path().join("Corefile");
        std::fs::write(&corefile, ".:53 {\n}\n").unwrap();
        let zone = disk.inside().join("dns/openclaw.internal.db");
        let ports = [free_port(), free_port()];
        configure(&disk.inside(), ports[0]);
        let serve = || {
            let mut line = disk.command(&home);
            line.args(["dns", "setup", "--apply", "--json", "--corefile"])
                .arg(&corefile)
                .env("PATH", &path);
            finish(line)
        };
        // No zone yet: who sets it up is told, and CoreDNS is not.
        disk.openclaw(&home, &["node", "identity"]).success();
        disk.begin(trouble);
        let refused = serve();
        assert_ne!(refused.code, 0, "{refused:?}");
        let error = refused.json()["error"].to_string();
        assert!(error.contains(cause(trouble)), "{error}");
        assert!(!zone.exists() && leftovers(&disk.inside()).is_empty());
        assert_eq!(std::fs::read_to_string(&corefile).unwrap(), ".:53 {\n}\n");
        disk.end(trouble);
        assert_eq!(serve().success().json()["applied"], true);
        drop(start(&disk, &home, &path, "published"));
        let before = std::fs::read_to_string(&zone).unwrap();
        assert!(before.contains(&format!(" SRV 0 0 {} ", ports[0])));
        // Another port: the zone would have to change.
        configure(&disk.inside(), ports[1]);
        disk.begin(trouble);
        let (gateway, standing) = start(&disk, &home, &path, "degraded");
        let reason = standing["reason"].to_string();
        assert!(reason.contains(cause(trouble)), "{reason}");
        let warned = "nothing is published in the wide-area domain: ";
        assert!(gateway.output().contains(warned), "{}", gateway.output());
        assert_eq!(std::fs::read_to_string(&zone).unwrap(), before);
        assert!(leftovers(&disk.inside()).is_empty());
        disk.end(trouble);
        drop(gateway);
        drop(start(&disk, &home, &path, "published"));
        let after = std::fs::read_to_string(&zone).unwrap();
        assert!(
            after.contains(&format!(" SRV 0 0 {} ", ports[1])),
            "{after}"
        );
        report::row(
            &format!("disk {trouble:?}, DNS zone"),
            "setup refused; a gateway on another port keeps the old zone and says so",
            1,
            0,
        );
    }
}
