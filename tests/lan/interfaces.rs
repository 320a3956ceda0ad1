//! Several interfaces, both families, interfaces that come and go, and what is said on them.

use serde_json::{Value, json};

use crate::lan::{Gateway, Host, Lan};
use crate::peers::{Avahi, Zeroconf};
use crate::support::home::Home;
use crate::support::process::{finish, program};
use crate::support::wait_for;

const NAME: &str = "pi (OpenClaw)";

/// Our host at two switches, and one of them at each.
fn two_networks() -> (Lan, Host, [Host; 2]) {
    let lan = Lan::new();
    let (ours, theirs) = (lan.host(), [lan.host(), lan.host()]);
    for (number, interface) in [(0, "eth0"), (1, "eth1")] {
        let [v4, v6] = [format!("10.7{number}.0"), format!("fd7{number}:")];
        let own = [format!("{v4}.1/24"), format!("{v6}:1/64")];
        lan.plug(&ours, interface, number, &[&own[0], &own[1]]);
        let other = [format!("{v4}.2/24"), format!("{v6}:2/64")];
        let at = usize::try_from(number).unwrap();
        lan.plug(&theirs[at], "eth0", number, &[&other[0], &other[1]]);
    }
    (lan, ours, theirs)
}

#[test]
fn the_beacon_is_resolved_on_two_interfaces_with_both_families() {
    let (_lan, ours, [first, second]) = two_networks();
    let (watcher, avahi) = (
        Zeroconf::watch(&first),
        Avahi::start(&second, "theirs", "", None),
    );
    let mut gateway = Gateway::start(&ours, "pi");
    let has = |list: &[String], address: &str| list.iter().any(|it| it == address);
    let seen = watcher.wait_for(NAME, |seen| {
        has(&seen.addresses, "10.70.0.1") && has(&seen.addresses, "fd70::1")
    });
    assert_eq!(seen.host, "pi.local.");
    assert!(
        !has(&seen.addresses, "10.71.0.1"),
        "only what is reachable from here: {seen:?}"
    );
    let rows = avahi.wait_for(NAME, |rows| {
        let of = |family: &str| rows.iter().any(|row| row[2] == family);
        of("IPv4") && of("IPv6")
    });
    let addresses: Vec<&str> = rows.iter().map(|row| row[7].as_str()).collect();
    assert!(addresses.contains(&"10.71.0.1"), "{addresses:?}");
    let v6 = |address: &&str| address.starts_with("fd71::1") || address.starts_with("fe80:");
    assert!(addresses.iter().any(v6), "{addresses:?}");
    gateway.stop();
    watcher.wait_for_goodbye(NAME);
    avahi.wait_for_goodbye(NAME);
}

#[test]
fn an_interface_may_come_and_go_while_the_gateway_runs() {
    let lan = Lan::new();
    let (ours, first, late) = (lan.host(), lan.host(), lan.host());
    lan.plug(&ours, "eth0", 0, &["10.70.0.1/24"]);
    lan.plug(&first, "eth0", 0, &["10.70.0.2/24"]);
    lan.plug(&late, "eth0", 1, &["10.71.0.2/24"]);
    let watchers = [Zeroconf::watch(&first), Zeroconf::watch(&late)];
    let gateway = Gateway::start(&ours, "pi");
    watchers[0].wait_for(NAME, |_| true);
    assert_eq!(watchers[1].names(), Vec::<String>::new());
    lan.plug(&ours, "eth1", 1, &["10.71.0.1/24"]);
    let reached = |seen: &crate::peers::Seen| seen.addresses.iter().any(|it| it == "10.71.0.1");
    watchers[1].wait_for(NAME, reached);
    lan.unplug(&ours, "eth1");
    gateway.answers();
    lan.plug(&ours, "eth1", 1, &["10.71.0.3/24"]);
    // Who comes now learns the new address; the old one is nowhere any more.
    wait_for("the new address", || {
        let later = Avahi::start(&late, "later", "", None);
        let rows = later.rows(NAME);
        let all = !rows.is_empty() && rows.iter().all(|row| row[7] != "10.71.0.1");
        (all && rows.iter().any(|row| row[7] == "10.71.0.3")).then_some(())
    });
    assert_eq!(gateway.wait_for("advertising")["instance"], NAME);
    assert_eq!(watchers[0].names(), [NAME]);
}

#[test]
fn a_changed_mode_is_said_at_once_and_without_a_restart() {
    let lan = Lan::new();
    let (ours, theirs) = (lan.host(), lan.host());
    lan.plug(&ours, "eth0", 0, &["10.70.0.1/24"]);
    lan.plug(&theirs, "eth0", 0, &["10.70.0.2/24"]);
    let watcher = Zeroconf::watch(&theirs);
    let variables = [
        ("OPENCLAW_CLI_PATH", "/opt/openclaw"),
        ("OPENCLAW_MDNS_HOSTNAME", "attic.local"),
        ("OPENCLAW_SSH_PORT", "2222"),
        ("OPENCLAW_TAILNET_DNS", "pi.tail1.ts.net"),
    ];
    let gateway = Gateway::start_with(&ours, "pi", "", &variables);
    let seen = watcher.wait_for(NAME, |_| true);
    assert_eq!(
        (seen.host.as_str(), seen.text("tailnetDns")),
        ("attic.local.", "pi.tail1.ts.net")
    );
    assert_eq!((seen.text("sshPort"), seen.text("cliPath")), ("", ""));
    let pid = gateway.process.pid();
    gateway.configure("discovery: { mdns: { mode: 'full' } }");
    let seen = watcher.wait_for(NAME, |seen| !seen.text("sshPort").is_empty());
    assert_eq!(
        (seen.text("sshPort"), seen.text("cliPath")),
        ("2222", "/opt/openclaw")
    );
    gateway.configure("discovery: { mdns: { mode: 'off' } }");
    watcher.wait_for_goodbye(NAME);
    assert_eq!(
        gateway.wait_for("off")["reason"],
        "discovery.mdns.mode is off"
    );
    gateway.configure("");
    watcher.wait_for(NAME, |seen| seen.text("sshPort").is_empty());
    assert_eq!(watcher.names(), [NAME], "no change took another name");
    assert_eq!(gateway.process.pid(), pid);
}

#[test]
fn tls_is_said_with_the_fingerprint_after_the_restart_that_brings_it() {
    let lan = Lan::new();
    let (ours, theirs) = (lan.host(), lan.host());
    lan.plug(&ours, "eth0", 0, &["10.70.0.1/24"]);
    lan.plug(&theirs, "eth0", 0, &["10.70.0.2/24"]);
    let watcher = Zeroconf::watch(&theirs);
    let gateway = Gateway::start(&ours, "pi");
    assert_eq!(watcher.wait_for(NAME, |_| true).text("gatewayTls"), "");
    let set = ["config", "set", "gateway.tls.enabled", "true"];
    gateway.cli(&set).success();
    let seen = watcher.wait_for(NAME, |seen| seen.text("gatewayTls") == "1");
    let pin = gateway.cli(&["gateway", "fingerprint"]).success().stdout;
    assert!(
        pin.contains(seen.text("gatewayTlsSha256")),
        "{seen:?} {pin}"
    );
    assert_eq!(seen.text("gatewayTlsSha256").len(), 64);
    assert_eq!(watcher.names(), [NAME]);
}

#[test]
fn the_name_in_the_tailnet_is_asked_of_its_program() {
    use std::os::unix::fs::PermissionsExt;

    let lan = Lan::new();
    let (ours, theirs) = (lan.host(), lan.host());
    lan.plug(&ours, "eth0", 0, &["10.70.0.1/24"]);
    lan.plug(&theirs, "eth0", 0, &["10.70.0.2/24"]);
    let watcher = Zeroconf::watch(&theirs);
    let programs = Home::new();
    let tailscale = programs.path().join("tailscale");
    let script = "#!/bin/sh\n[ \"$*\" = 'status --json' ] && echo '{\"Self\":{\"DNSName\":\"pi.tail1.ts.net.\"}}'\n";
    std::fs::write(&tailscale, script).unwrap();
    std::fs::set_permissions(&tailscale, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!(
        "{}:/usr/bin:/bin:/usr/sbin:/sbin",
        programs.path().display()
    );
    let _gateway = Gateway::start_with(&ours, "pi", "", &[("PATH", &path)]);
    let seen = watcher.wait_for(NAME, |_| true);
    assert_eq!(seen.text("tailnetDns"), "pi.tail1.ts.net");
}

#[test]
fn our_browser_sees_theirs() {
    let (_lan, ours, [first, second]) = two_networks();
    let _python = Zeroconf::publish(&first, "Py.thon (OpenClaw)", "python", "10.70.0.2");
    let avahi = Avahi::start(&second, "theirs", "", None);
    let _published = avahi.publish("Ava hi");
    let home = Home::new();
    let discover = || {
        let mut command = ours.command(&home, &program());
        command.env("OPENCLAW_DISABLE_BONJOUR", "0");
        command.args(["gateway", "discover", "--json", "--timeout", "3000"]);
        finish(command).success().json()
    };
    let found = wait_for("both", || {
        let found = discover();
        (found["count"] == 2).then_some(found)
    });
    let row = |name: &str| -> Value {
        let rows = found["beacons"].as_array().unwrap().iter();
        let mut named = rows.filter(|row| row["instanceName"] == name);
        named
            .next()
            .cloned()
            .unwrap_or_else(|| panic!("{name} in {found}"))
    };
    let python = row("Py.thon (OpenClaw)");
    assert_eq!(
        (&python["host"], &python["port"]),
        (&json!("python.local"), &json!(4711))
    );
    assert_eq!(python["wsUrl"], "ws://10.70.0.2:4711");
    let theirs = row("Ava hi");
    assert_eq!(
        (&theirs["host"], &theirs["port"]),
        (&json!("theirs.local"), &json!(4712))
    );
    assert_eq!(theirs["displayName"], "Avahi");
}
