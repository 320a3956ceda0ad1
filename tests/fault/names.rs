//! What names resolve to, in a mount namespace whose hosts file the test writes.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::report;
use crate::support::home::Home;
use crate::support::process::{Running, SECRET, command, program};
use crate::support::scripted::Scripted;
use crate::support::wait_for;

/// A node host whose hosts file is the test's own; `None` where the kernel refuses, which is said.
fn start(test: &str, home: &Home, hosts: &str, port: u16) -> Option<(Running, PathBuf)> {
    let refused = Command::new("unshare").args(["-m", "true"]).output();
    if !refused.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED {test}: no mount namespaces here");
        return None;
    }
    let file = home.path().join("hosts");
    std::fs::write(&file, hosts).unwrap();
    let mut line = command(Path::new("unshare"), home);
    let script = "mount --bind \"$1\" /etc/hosts && shift && exec \"$@\"";
    line.env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
        .env("OPENCLAW_GATEWAY_TOKEN", SECRET)
        .env("OPENCLAW_ALLOW_INSECURE_PRIVATE_WS", "1")
        .args(["-m", "sh", "-c", script, "sh"])
        .arg(&file)
        .arg(program())
        .args(["node", "run", "--host", "gateway.test", "--port"])
        .arg(port.to_string());
    Some((Running::start(line), file))
}

#[test]
fn a_name_with_one_public_address_is_refused() {
    let (home, gateway) = (Home::new(), Scripted::new());
    let hosts = "127.0.0.1 gateway.test\n203.0.113.7 gateway.test\n";
    let test = "a_name_with_one_public_address_is_refused";
    let Some((mut node, _)) = start(test, &home, hosts, gateway.port()) else {
        return;
    };
    assert_eq!(node.exit_code(), 1, "{}", node.output());
    let said = "SECURITY ERROR: Cannot connect to \"gateway.test\" over plaintext ws://.";
    assert!(node.output().contains(said), "{}", node.output());
    let nobody = gateway.socket_within(std::time::Duration::ZERO);
    assert!(nobody.is_none(), "not even the private one is connected to");
    let tried = "one of two addresses is public: refused before anything is sent";
    report::row("a name that leads elsewhere", tried, 0, 0);
}

#[test]
fn a_name_that_stops_resolving_is_asked_again() {
    let (home, gateway) = (Home::new(), Scripted::new());
    let known = "127.0.0.1 gateway.test\n";
    let test = "a_name_that_stops_resolving_is_asked_again";
    let Some((mut node, file)) = start(test, &home, known, gateway.port()) else {
        return;
    };
    let session = gateway.caller().welcome(None, 30_000);
    node.wait_for_output("node host connected to");
    // Written in place: the mount shows this very file.
    std::fs::write(&file, "").unwrap();
    session.close(1012, "service restart");
    wait_for("the name to be gone", || {
        node.output()
            .contains("gateway.test has no address")
            .then_some(())
    });
    assert!(node.alive());
    std::fs::write(&file, known).unwrap();
    drop(gateway.caller().welcome(None, 30_000));
    let tried = "the node host asks again and is back when it resolves";
    report::row("a name that stops resolving", tried, 0, 0);
}
