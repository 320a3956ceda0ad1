//! Silent approval through a real `sshd` on loopback, with keys, configuration and port of its own.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::support::peer::Peer;
use crate::support::process::{Gateway, Outcome, Running, SECRET, free_port, openclaw_with};
use crate::support::wait_for;

const SSHD: &str = "/usr/sbin/sshd";

fn key(path: &Path) -> String {
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(path)
        .status();
    assert!(made.unwrap().success());
    std::fs::read_to_string(path.with_extension("pub")).unwrap()
}

/// The user whose login it is: the one who runs these tests, and the gateway.
fn user() -> String {
    let id = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(id.stdout).unwrap().trim().to_owned()
}

/// An `sshd` that knows one key, and an `ssh` first in the PATH that has this key and knows its host key.
fn ssh_server(place: &Path) -> (Running, u16) {
    std::fs::create_dir_all(place.join("bin")).unwrap();
    if rustix::process::geteuid().is_root() {
        // Where Debian's sshd separates its privileges.
        std::fs::create_dir_all("/run/sshd").unwrap();
    }
    let host_key = key(&place.join("host"));
    std::fs::write(place.join("authorized"), key(&place.join("login"))).unwrap();
    let port = free_port();
    std::fs::write(
        place.join("known_hosts"),
        format!("[127.0.0.1]:{port} {host_key}"),
    )
    .unwrap();
    let shown = place.display();
    std::fs::write(
        place.join("sshd_config"),
        format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {shown}/host\nAuthorizedKeysFile {shown}/authorized\n\
             PidFile none\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n\
             KbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\n"
        ),
    )
    .unwrap();
    std::fs::write(
        place.join("ssh_config"),
        format!(
            "IdentityFile {shown}/login\nIdentitiesOnly yes\nUserKnownHostsFile {shown}/known_hosts\n\
             GlobalKnownHostsFile /dev/null\n"
        ),
    )
    .unwrap();
    let ssh = place.join("bin/ssh");
    std::fs::write(
        &ssh,
        format!("#!/bin/sh\nexec /usr/bin/ssh -F '{shown}/ssh_config' \"$@\"\n"),
    )
    .unwrap();
    std::fs::set_permissions(&ssh, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new(SSHD);
    command
        .args(["-D", "-e", "-f"])
        .arg(place.join("sshd_config"));
    let mut server = Running::start(command);
    server.wait_for_output("Server listening");
    (server, port)
}

#[test]
fn a_login_as_the_gateways_user_approves_and_any_other_does_not() {
    if !Path::new(SSHD).exists() {
        println!("skipped: no {SSHD}");
        return;
    }
    let gateway = Gateway::start();
    let place = gateway.home.path().join("ssh");
    let (_server, port) = ssh_server(&place);
    let mut operator = Peer::operator(gateway.address, SECRET);
    let asked =
        json!({"nodeId": "n", "platform": "linux", "silent": true, "commands": ["system.which"]});
    let asked = operator.call("node.pair.request", asked).unwrap();
    let id = asked["request"]["requestId"].as_str().unwrap().to_owned();
    let approve = |target: &str| -> Outcome {
        let path = format!("{}:/usr/bin:/bin", place.join("bin").display());
        openclaw_with(
            &gateway.home,
            &[("PATH", &path)],
            &["nodes", "approve", "--silent-ssh", target],
        )
    };
    let mine = format!("{}@127.0.0.1:{port}", user());

    let known = std::fs::read(place.join("known_hosts")).unwrap();
    std::fs::write(place.join("known_hosts"), "").unwrap();
    let stranger = approve(&mine);
    assert!(
        stranger.code == 1 && stranger.stderr.contains("Host key verification failed"),
        "{stranger:?}"
    );
    assert_eq!(
        std::fs::read(place.join("known_hosts")).unwrap(),
        b"",
        "no host key is learned"
    );
    std::fs::write(place.join("known_hosts"), known).unwrap();

    let nobody = approve(&format!("nobody-here@127.0.0.1:{port}"));
    assert!(
        nobody.code == 1 && nobody.stderr.contains("Permission denied"),
        "{nobody:?}"
    );
    assert!(
        nobody
            .stderr
            .contains(&format!("openclaw nodes approve {id}"))
    );

    let done = approve(&mine).success();
    assert!(done.stdout.contains(&id), "{done:?}");
    let listed = operator.call("node.pair.list", json!({})).unwrap();
    assert_eq!(listed["paired"][0]["nodeId"], "n");
    wait_for("the secret to be removed", || {
        let folder = std::fs::read_dir(gateway.home.state().join("ssh-proof"));
        (folder.map_or(0, Iterator::count) == 0).then_some(())
    });
}
