//! What both advertisers do alike, on a host with one interface.

use crate::lan::{Gateway, Lan, PORT, ip};
use crate::peers::{Avahi, Zeroconf};

#[test]
fn a_beacon_is_seen_and_resolved_and_says_goodbye() {
    let lan = Lan::new();
    let (ours, theirs) = (lan.host(), lan.host());
    lan.plug(&ours, "eth0", 0, &["10.70.0.1/24"]);
    lan.plug(&theirs, "eth0", 0, &["10.70.0.2/24"]);
    ip(&[
        "-n",
        &ours.namespace,
        "route",
        "add",
        "default",
        "via",
        "10.70.0.2",
    ]);
    let avahi = Avahi::start(&theirs, "theirs", "", None);
    let watcher = Zeroconf::watch(&theirs);
    let mut gateway = Gateway::start(&ours, "pi");
    let seen = watcher.wait_for("pi (OpenClaw)", |seen| {
        seen.addresses.contains(&"10.70.0.1".to_owned())
    });
    assert_eq!((seen.host.as_str(), seen.port), ("pi.local.", PORT));
    let mut keys: Vec<&str> = seen.txt.iter().map(|(key, _)| key.as_str()).collect();
    keys.sort_unstable();
    assert_eq!(
        keys,
        ["displayName", "gatewayPort", "lanHost", "role", "transport"]
    );
    for (key, value) in [
        ("displayName", "pi"),
        ("gatewayPort", "18789"),
        ("lanHost", "pi.local"),
        ("role", "gateway"),
        ("transport", "gateway"),
    ] {
        assert_eq!(seen.text(key), value);
    }
    let rows = avahi.wait_for("pi (OpenClaw)", |rows| {
        rows.iter().any(|row| row[7] == "10.70.0.1")
    });
    assert!(
        rows.iter()
            .all(|row| row[6] == "pi.local" && row[8] == PORT.to_string()),
        "{rows:?}"
    );
    let said = gateway.wait_for("advertising");
    assert_eq!(
        (&said["instance"], &said["mode"]),
        (&"pi (OpenClaw)".into(), &"minimal".into())
    );
    let status = gateway.cli(&["gateway", "status"]).success().stdout;
    let line = "\nDiscovery: advertising as \"pi (OpenClaw)\" (minimal)\n";
    assert!(status.contains(line), "{status}");
    gateway.stop();
    watcher.wait_for_goodbye("pi (OpenClaw)");
    avahi.wait_for_goodbye("pi (OpenClaw)");
}
