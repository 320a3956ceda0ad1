//! Names that others have too, and names that only seem to be somebody else's.

use crate::lan::{Gateway, Host, Lan};
use crate::peers::{Avahi, Zeroconf};

const NAME: &str = "pi (OpenClaw)";
const SECOND: &str = "pi (OpenClaw) (2)";

fn one_network() -> (Lan, Host, Host, Host) {
    let lan = Lan::new();
    let hosts = [lan.host(), lan.host(), lan.host()];
    for (host, number) in hosts.iter().zip(1..) {
        lan.plug(
            host,
            "eth0",
            0,
            &[
                &format!("10.70.0.{number}/24"),
                &format!("fd70::{number}/64"),
            ],
        );
    }
    let [first, second, watching] = hosts;
    (lan, first, second, watching)
}

#[test]
fn a_second_gateway_of_the_same_name_takes_the_next_one() {
    let (_lan, first, second, watching) = one_network();
    let watcher = Zeroconf::watch(&watching);
    let mut one = Gateway::start(&first, "pi");
    watcher.wait_for(NAME, |_| true);
    one.wait_for("advertising");
    let two = Gateway::start(&second, "pi");
    let seen = watcher.wait_for(SECOND, |seen| seen.text("lanHost") == "pi-2.local");
    assert!(
        seen.addresses.iter().any(|it| it == "10.70.0.2"),
        "{seen:?}"
    );
    assert_eq!(
        (seen.host.as_str(), seen.text("lanHost")),
        ("pi-2.local.", "pi-2.local")
    );
    assert!(
        !seen.addresses.iter().any(|it| it == "10.70.0.1"),
        "{seen:?}"
    );
    let said = crate::support::wait_for("the second name in the status", || {
        let said = two.discovery();
        (said["instance"] == SECOND).then_some(said)
    });
    assert_eq!(said["state"], "advertising");
    // The first one is where it was, untouched.
    let kept = watcher.wait_for(NAME, |seen| {
        seen.addresses.iter().any(|it| it == "10.70.0.1")
    });
    assert_eq!(kept.host, "pi.local.");
    assert_eq!(watcher.removals(NAME), 0);
    let avahi = Avahi::start(&watching, "watching", "", None);
    avahi.wait_for(SECOND, |rows| {
        rows.iter()
            .any(|row| row[6] == "pi-2.local" && row[7] == "10.70.0.2")
    });
    avahi.wait_for(NAME, |rows| {
        rows.iter()
            .any(|row| row[6] == "pi.local" && row[7] == "10.70.0.1")
    });
    one.stop();
    watcher.wait_for_goodbye(NAME);
    assert!(
        watcher.seen(SECOND).is_some(),
        "the goodbye was one gateway's alone"
    );
}

#[test]
fn two_gateways_that_start_together_end_up_with_two_names() {
    let (_lan, first, second, watching) = one_network();
    let watcher = Zeroconf::watch(&watching);
    let (one, two) = (Gateway::start(&first, "pi"), Gateway::start(&second, "pi"));
    crate::support::wait_for("two names", || {
        let names = [one.discovery(), two.discovery()].map(|said| said["instance"].clone());
        let both = names.contains(&NAME.into()) && names.contains(&SECOND.into());
        both.then_some(())
    });
    watcher.wait_for(NAME, |_| true);
    watcher.wait_for(SECOND, |_| true);
}

#[test]
fn two_gateways_of_one_machine_are_both_found() {
    let (_lan, first, _second, watching) = one_network();
    let watcher = Zeroconf::watch(&watching);
    let one = Gateway::start(&first, "pi");
    watcher.wait_for(NAME, |_| true);
    one.wait_for("advertising");
    let two = Gateway::start_at(&first, "pi", 18_800);
    let seen = watcher.wait_for(SECOND, |_| true);
    assert_eq!(seen.text("gatewayPort"), "18800");
    // The machine itself has one name only.
    let kept = watcher.wait_for(NAME, |_| true);
    assert_eq!(
        (kept.host.as_str(), seen.host.as_str()),
        ("pi.local.", "pi.local.")
    );
    assert_ne!(kept.text("gatewayPort"), seen.text("gatewayPort"));
    drop(two);
}

/// A host gets a second interface on the network that it is in already, with these addresses, and hears itself on
/// it. The value is how often it looked into who has its names.
fn with_a_second_interface(addresses: &[&str]) -> usize {
    let lan = Lan::new();
    let (ours, watching) = (lan.host(), lan.host());
    lan.plug(&watching, "eth0", 0, &["10.70.0.9/24", "fd70::9/64"]);
    lan.hear_oneself(&ours);
    lan.plug(&ours, "eth0", 0, &["10.70.0.1/24", "fd70::1/64"]);
    let watcher = Zeroconf::watch(&watching);
    let mut gateway = Gateway::start(&ours, "pi");
    gateway.wait_for("advertising");
    // The second one asks for the names that the first one has.
    lan.plug(&ours, "eth1", 0, addresses);
    // Longer than every probe, contest and settling takes: then it is as it stays.
    std::thread::sleep(std::time::Duration::from_secs(12));
    gateway_keeps_its_name(&gateway);
    let contests = gateway.process.output().matches("in one network").count();
    let seen = watcher.wait_for(NAME, |seen| seen.text("lanHost") == "pi.local");
    assert_eq!(seen.host, "pi.local.");
    // Both from the beginning are no different.
    gateway.crash_and_restart();
    std::thread::sleep(std::time::Duration::from_secs(12));
    gateway_keeps_its_name(&gateway);
    gateway.stop();
    watcher.wait_for_goodbye(NAME);
    contests
}

#[track_caller]
fn gateway_keeps_its_name(gateway: &Gateway<'_>) {
    let said = gateway.wait_for("advertising");
    assert_eq!(said["instance"], NAME, "{}", gateway.process.output());
}

#[test]
fn a_host_with_two_interfaces_in_one_subnet_is_not_its_own_rival() {
    assert_eq!(with_a_second_interface(&["10.70.0.2/24", "fd70::2/64"]), 0);
}

#[test]
fn a_host_with_two_subnets_on_one_wire_is_not_its_own_rival() {
    assert_eq!(with_a_second_interface(&["10.71.0.1/24", "fd71::1/64"]), 1);
}

#[test]
fn a_gateway_that_was_killed_comes_back_under_its_own_name() {
    let (_lan, first, _second, watching) = one_network();
    let watcher = Zeroconf::watch(&watching);
    let mut gateway = Gateway::start(&first, "pi");
    for _ in 0..4 {
        assert_eq!(gateway.wait_for("advertising")["instance"], NAME);
        watcher.wait_for(NAME, |_| true);
        gateway.crash_and_restart();
    }
    assert_eq!(gateway.wait_for("advertising")["instance"], NAME);
    assert_eq!(watcher.names(), [NAME]);
}

#[test]
fn a_restart_within_the_process_puts_no_number_behind_the_name() {
    let (_lan, first, _second, watching) = one_network();
    let watcher = Zeroconf::watch(&watching);
    let gateway = Gateway::start(&first, "pi");
    let ready = |times: usize| {
        crate::support::wait_for("the restart", || {
            let output = gateway.process.output();
            (output.matches("[gateway] ready").count() == times).then_some(())
        });
    };
    for times in 2..6 {
        assert_eq!(gateway.wait_for("advertising")["instance"], NAME);
        watcher.wait_for(NAME, |_| true);
        gateway.process.signal("USR1");
        ready(times);
    }
    assert_eq!(gateway.wait_for("advertising")["instance"], NAME);
    assert_eq!(watcher.names(), [NAME]);
}

#[test]
fn avahi_on_the_same_host_shares_port_and_host_name() {
    let (_lan, first, _second, watching) = one_network();
    let avahi = Avahi::start(&first, "pi", "", None);
    let watcher = Zeroconf::watch(&watching);
    let mut gateway = Gateway::start(&first, "pi");
    let seen = watcher.wait_for(NAME, |seen| {
        seen.addresses.iter().any(|it| it == "10.70.0.1")
    });
    assert_eq!(seen.host, "pi.local.");
    assert_eq!(gateway.wait_for("advertising")["instance"], NAME);
    // It sees its neighbour of the same host too.
    avahi.wait_for(NAME, |_| true);
    assert!(!avahi.log().contains("conflict"), "{}", avahi.log());
    gateway.stop();
    watcher.wait_for_goodbye(NAME);
    avahi.wait_for_goodbye(NAME);
}
