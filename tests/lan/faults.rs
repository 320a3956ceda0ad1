//! Discovery that cannot do its work: the status says so, requests notice nothing.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::lan::{Gateway, Host, Lan, PORT, ip};
use crate::peers::{Avahi, Zeroconf, service_file};
use crate::support::home::Home;
use crate::support::process::{Running, SECRET, finish, program};
use crate::support::wait_within;

const NAME: &str = "pi (OpenClaw)";

/// Requests of one measurement.
const REQUESTS: usize = 15;

/// Somebody who has the port and does not share it.
fn hog(host: &Host, home: &Home) -> Running {
    let mut command = host.command(home, Path::new("python3"));
    let script = "import socket, time\n\
        kept = []\n\
        for family, any in ((socket.AF_INET, '0.0.0.0'), (socket.AF_INET6, '::')):\n\
        \x20   s = socket.socket(family, socket.SOCK_DGRAM)\n\
        \x20   if family == socket.AF_INET6: s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)\n\
        \x20   s.bind((any, 5353)); kept.append(s)\n\
        print('kept', flush=True); time.sleep(3600)";
    command.args(["-c", script]);
    let mut running = Running::start(command);
    running.wait_for_output("kept");
    running
}

/// The median times of a request to each of two gateways, from the start of the command to its end. They take
/// turns, so that what else the machine does falls on both.
fn round_trips(gateways: [&Gateway<'_>; 2]) -> [Duration; 2] {
    let mut times = [const { Vec::new() }; 2];
    for _ in 0..REQUESTS {
        for (gateway, times) in gateways.iter().zip(&mut times) {
            let begun = Instant::now();
            gateway.answers();
            times.push(begun.elapsed());
        }
    }
    times.map(|mut times| {
        times.sort();
        times[REQUESTS / 2]
    })
}

#[test]
fn requests_take_as_long_as_without_discovery_however_it_fails() {
    let lan = Lan::new();
    let host = lan.host();
    lan.plug(&host, "eth0", 0, &["10.70.0.1/24"]);
    let elsewhere = lan.host();
    let off = Gateway::start_with(&elsewhere, "off", "", &[("OPENCLAW_DISABLE_BONJOUR", "1")]);
    let compare = |what: &str, gateway: &Gateway<'_>| {
        let [with, without] = round_trips([gateway, &off]);
        println!("round trip of a command, {what}: {with:?}; without discovery: {without:?}");
        assert!(
            with < without * 2 + Duration::from_millis(50),
            "{what}: {with:?}, else {without:?}"
        );
    };
    let home = Home::new();
    let kept = hog(&host, &home);
    let gateway = Gateway::start(&host, "pi");
    let said = gateway.wait_for("degraded");
    assert!(said["reason"].as_str().unwrap().contains("5353"), "{said}");
    let status = gateway.cli(&["gateway", "status"]).success().stdout;
    assert!(
        status.contains("\nDiscovery: degraded (UDP port 5353"),
        "{status}"
    );
    compare("the port taken", &gateway);
    drop(kept);
    gateway.wait_for("advertising");
    compare("advertising", &gateway);
    lan.unplug(&host, "eth0");
    let said = gateway.wait_for("degraded");
    assert!(
        said["reason"].as_str().unwrap().contains("interface"),
        "{said}"
    );
    compare("the interface gone", &gateway);
    lan.plug(&host, "eth0", 0, &["10.70.0.1/24"]);
    gateway.wait_for("advertising");
    ip(&[
        "-n",
        &host.namespace,
        "link",
        "set",
        "eth0",
        "multicast",
        "off",
    ]);
    ip(&["-n", &host.namespace, "link", "set", "eth0", "down"]);
    ip(&["-n", &host.namespace, "link", "set", "eth0", "up"]);
    gateway.wait_for("degraded");
    compare("no multicast", &gateway);
    drop(gateway);
    let lonely = lan.host();
    let gateway = Gateway::start(&lonely, "pi");
    gateway.wait_for("degraded");
    compare("no network", &gateway);
    // And it comes to life by itself.
    lan.plug(&lonely, "eth0", 0, &["10.70.0.3/24"]);
    gateway.wait_for("advertising");
}

#[test]
fn doctor_names_who_keeps_the_port_of_multicast_dns() {
    let lan = Lan::new();
    let host = lan.host();
    lan.plug(&host, "eth0", 0, &["10.70.0.1/24"]);
    let home = Home::new();
    let kept = hog(&host, &home);
    let gateway = Gateway::start(&host, "pi");
    let check = || {
        let report = gateway.cli(&["doctor", "--json"]).json();
        let checks = report["checks"].as_array().unwrap().clone();
        let mut checks = checks.into_iter();
        checks.find(|it| it["id"] == "discovery.mdns").unwrap()
    };
    gateway.wait_for("degraded");
    let degraded = check();
    assert_eq!(degraded["state"], "warn", "{degraded}");
    let owner = degraded["items"][0].as_str().unwrap();
    assert!(
        owner.starts_with("pid ") && owner.contains("python3"),
        "{owner}"
    );
    assert!(
        degraded["fix"]
            .as_str()
            .unwrap()
            .contains("/etc/avahi/services"),
        "{degraded}"
    );
    drop(kept);
    gateway.wait_for("advertising");
    let announced = check();
    assert_eq!(announced["state"], "ok", "{announced}");
}

#[test]
fn an_avahi_that_keeps_the_port_publishes_the_service_file() {
    let lan = Lan::new();
    let (ours, theirs) = (lan.host(), lan.host());
    lan.plug(&ours, "eth0", 0, &["10.70.0.1/24"]);
    lan.plug(&theirs, "eth0", 0, &["10.70.0.2/24"]);
    let avahi = Avahi::start(
        &ours,
        "pi",
        "disallow-other-stacks=yes",
        Some(&service_file()),
    );
    let watcher = Zeroconf::watch(&theirs);
    let gateway = Gateway::start(&ours, "pi");
    let said = gateway.wait_for("degraded");
    assert!(
        said["reason"].as_str().unwrap().contains("contrib/avahi"),
        "{said}"
    );
    gateway.answers();
    let seen = watcher.wait_for(NAME, |_| true);
    assert_eq!(
        (seen.port, seen.text("role"), seen.text("gatewayPort")),
        (18_789, "gateway", "18789")
    );
    assert!(
        seen.addresses.iter().any(|it| it == "10.70.0.1"),
        "{seen:?}"
    );
    drop(avahi);
    gateway.wait_for("advertising");
}

#[test]
fn a_gateway_that_is_told_to_be_quiet_has_no_socket_for_it() {
    let lan = Lan::new();
    let host = lan.host();
    lan.plug(&host, "eth0", 0, &["10.70.0.1/24"]);
    let home = Home::new();
    let sockets = || {
        let mut command = host.command(&home, Path::new("cat"));
        command.args(["/proc/net/udp", "/proc/net/udp6"]);
        finish(command).success().stdout.matches(":14E9 ").count()
    };
    for (config, value, reason) in [
        ("", "1", "OPENCLAW_DISABLE_BONJOUR is 1"),
        (
            "discovery: { mdns: { mode: 'off' } }",
            "0",
            "discovery.mdns.mode is off",
        ),
        (
            "",
            "perhaps",
            "OPENCLAW_DISABLE_BONJOUR=perhaps is neither 0 nor 1; nothing is advertised",
        ),
    ] {
        let gateway =
            Gateway::start_with(&host, "pi", config, &[("OPENCLAW_DISABLE_BONJOUR", value)]);
        assert_eq!(gateway.wait_for("off")["reason"], reason);
        assert_eq!(sockets(), 0, "{value}");
    }
    let gateway = Gateway::start(&host, "pi");
    gateway.wait_for("advertising");
    assert!(sockets() > 0);
}

#[test]
fn in_a_container_nothing_is_said_unless_it_is_asked_for() {
    let lan = Lan::new();
    let host = lan.host();
    lan.plug(&host, "eth0", 0, &["10.70.0.1/24"]);
    let home = Home::with_gateway(PORT, SECRET);
    let start = |variable: Option<&str>| {
        let mut command = host.command(&home, Path::new("unshare"));
        command.env_remove("OPENCLAW_DISABLE_BONJOUR");
        command.envs(variable.map(|value| ("OPENCLAW_DISABLE_BONJOUR", value)));
        let script = "mount -t tmpfs tmpfs /run && touch /run/.containerenv && exec \"$@\"";
        command.args([
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-c",
            script,
            "sh",
        ]);
        command.arg(program()).args(["gateway", "run"]);
        Running::start(command)
    };
    let mut silent = start(None);
    silent
        .wait_for_output("nothing is advertised: this is a container; OPENCLAW_DISABLE_BONJOUR=0");
    drop(silent);
    start(Some("0")).wait_for_output("[discovery] advertising as");
}

#[test]
fn somebody_who_claims_every_name_is_given_up_on() {
    let lan = Lan::new();
    let (ours, theirs) = (lan.host(), lan.host());
    lan.plug(&ours, "eth0", 0, &["10.70.0.1/24"]);
    lan.plug(&theirs, "eth0", 0, &["10.70.0.66/24"]);
    let thief = Zeroconf::claim(&theirs, "10.70.0.66");
    let gateway = Gateway::start(&ours, "pi");
    let reason = wait_within(Duration::from_secs(120), "it to give up", || {
        let said = gateway.discovery();
        (said["state"] == "degraded").then(|| said["reason"].to_string())
    });
    assert!(reason.contains("claims each of 12 names"), "{reason}");
    gateway.answers();
    drop(thief);
    // The next attempt begins with its own name.
    let said = wait_within(Duration::from_secs(60), "its own name", || {
        let said = gateway.discovery();
        (said["state"] == "advertising").then_some(said)
    });
    assert_eq!(said["instance"], NAME);
}

#[test]
fn broken_packets_change_nothing() {
    let lan = Lan::new();
    let (ours, theirs) = (lan.host(), lan.host());
    lan.plug(&ours, "eth0", 0, &["10.70.0.1/24"]);
    lan.plug(&theirs, "eth0", 0, &["10.70.0.2/24"]);
    let gateway = Gateway::start(&ours, "pi");
    let before = gateway.wait_for("advertising");
    for seed in ["1", "2", "3"] {
        Zeroconf::noise(&theirs, seed, "10.70.0.2", "10.70.0.1");
        gateway.answers();
    }
    assert_eq!(gateway.discovery(), before, "{}", gateway.process.output());
    let watcher = Zeroconf::watch(&theirs);
    watcher.wait_for(NAME, |_| true);
    assert!(!gateway.process.output().contains("panicked"));
}
