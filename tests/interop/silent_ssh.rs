//! Silent approval through a real `sshd` on loopback, with keys, configuration and port of its own.

use std::path::Path;

use serde_json::json;

use crate::support::peer::Peer;
use crate::support::process::{Gateway, Outcome, SECRET, openclaw_with};
use crate::support::ssh::{SSHD, ssh_server, user};
use crate::support::wait_for;

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
