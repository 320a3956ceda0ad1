//! Silent approval by proof of an SSH login, with a stand-in for `ssh` that shows what it was asked.

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::support::peer::Peer;
use crate::support::process::{Gateway, Outcome, SECRET, openclaw_with};
use crate::support::wait_for;

/// Runs the command as a login of the gateway's own user would.
const WORKS: &str = r#"for last; do :; done; exec sh -c "$last""#;

struct Scene {
    gateway: Gateway,
    operator: Peer,
}

impl Scene {
    /// A gateway, and an `ssh` that does this after noting its arguments.
    fn new(ssh: &str) -> Scene {
        let gateway = Gateway::start();
        let bin = gateway.home.path().join("bin");
        std::fs::create_dir_all(&bin).unwrap();
        let log = gateway.home.path().join("ssh.log");
        let script = format!(
            "#!/bin/sh\nprintf '%s\\n' \"$@\" >>'{}'\n{ssh}\n",
            log.display()
        );
        std::fs::write(bin.join("ssh"), script).unwrap();
        std::fs::set_permissions(bin.join("ssh"), std::fs::Permissions::from_mode(0o755)).unwrap();
        let operator = Peer::operator(gateway.address, SECRET);
        Scene { gateway, operator }
    }

    /// A waiting node request.
    fn request(&mut self, node: &str, silent: bool) -> String {
        let params = json!({"nodeId": node, "platform": "linux", "silent": silent,
            "commands": ["system.which"]});
        let asked = self.operator.call("node.pair.request", params).unwrap();
        asked["request"]["requestId"].as_str().unwrap().to_owned()
    }

    fn approve(&self, arguments: &[&str]) -> Outcome {
        let bin = self.gateway.home.path().join("bin");
        let path = format!("{}:/usr/bin:/bin", bin.display());
        let mut line = vec!["nodes", "approve"];
        line.extend(arguments);
        openclaw_with(&self.gateway.home, &[("PATH", &path)], &line)
    }

    /// What `ssh` was asked, one argument a line; empty when it never ran.
    fn asked(&self) -> String {
        std::fs::read_to_string(self.gateway.home.path().join("ssh.log")).unwrap_or_default()
    }

    fn paired(&mut self) -> usize {
        let listed = self.operator.call("node.pair.list", json!({})).unwrap();
        listed["paired"].as_array().unwrap().len()
    }

    /// Waits until no secret is left on the disk.
    fn is_clean(&self) {
        wait_for("the secret to be removed", || {
            let folder = std::fs::read_dir(self.gateway.home.state().join("ssh-proof"));
            (folder.map_or(0, Iterator::count) == 0).then_some(())
        });
    }
}

/// Refused, with the request and the command for a person, and nothing approved.
#[track_caller]
fn falls_back(scene: &mut Scene, outcome: &Outcome, id: &str, why: &str) {
    assert_eq!(outcome.code, 1, "{outcome:?}");
    assert!(outcome.stderr.contains(why), "{outcome:?}");
    assert!(
        outcome
            .stderr
            .contains(&format!("openclaw nodes approve {id}")),
        "{outcome:?}"
    );
    assert_eq!(scene.paired(), 0);
    scene.is_clean();
}

#[test]
fn a_silent_request_is_approved_once_the_login_proves_the_gateways_user() {
    let mut scene = Scene::new(WORKS);
    let id = scene.request("n", true);
    scene.request("loud", false);
    let done = scene
        .approve(&["--silent-ssh", "pi@gateway.lan:2222", "--json"])
        .success();
    assert_eq!((&done.json()["requestId"], scene.paired()), (&json!(id), 1));
    let asked = scene.asked();
    for argument in [
        "BatchMode=yes",
        "StrictHostKeyChecking=yes",
        "-p\n2222",
        "-l\npi\n--\ngateway.lan\nid -u",
    ] {
        assert!(asked.contains(argument), "{argument}: {asked}");
    }
    let trail = scene.gateway.home.read("audit.jsonl");
    assert!(
        trail.contains("\"pairing.ssh-proof\"") && trail.contains(&id),
        "{trail}"
    );
    scene.is_clean();
    let none = scene.approve(&["--silent-ssh", "pi@gateway.lan"]);
    assert!(
        none.code == 1 && none.stderr.contains("no waiting request is marked silent"),
        "{none:?}"
    );
}

#[test]
fn what_is_not_proven_is_left_to_a_person() {
    // What `ssh` does, and what is said about it.
    let table = [
        (
            "echo 'Permission denied (publickey).' >&2; exit 255",
            "Permission denied (publickey).",
        ),
        (
            "echo 'Host key verification failed.' >&2; exit 255",
            "Host key verification failed.",
        ),
        (
            "echo 4294967294; for last; do :; done; sh -c \"${last#id -u && }\"",
            "does not prove",
        ),
        (
            "id -u; printf %s AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "does not prove",
        ),
        ("echo Welcome", "did not answer as a proof"),
    ];
    for (ssh, why) in table {
        let mut scene = Scene::new(ssh);
        let id = scene.request("n", true);
        let outcome = scene.approve(&["--silent-ssh", "pi@gateway.lan", &id]);
        falls_back(&mut scene, &outcome, &id, why);
        let outcome = scene.approve(&["--silent-ssh", "pi@gateway.lan", &id, "--json"]);
        let document = outcome.json();
        assert_eq!(
            (&document["ok"], &document["error"]["code"]),
            (&json!(false), &json!("NOT_CONFIRMED"))
        );
        assert_eq!(
            document["error"]["details"]["request"]["requestId"],
            id.as_str()
        );
    }
}

#[test]
fn nobody_logs_in_for_a_request_that_is_not_silent_or_a_target_that_is_none() {
    let mut scene = Scene::new(WORKS);
    let id = scene.request("n", false);
    let outcome = scene.approve(&["--silent-ssh", "pi@gateway.lan", &id]);
    falls_back(
        &mut scene,
        &outcome,
        &id,
        "the request is not marked silent",
    );
    for target in [
        "-oProxyCommand=id@h",
        "pi@-oProxyCommand=id",
        "pi@host;id",
        "host",
    ] {
        let outcome = scene.approve(&[&format!("--silent-ssh={target}"), &id]);
        assert!(
            outcome.code == 1 && outcome.stderr.contains("not an SSH target"),
            "{outcome:?}"
        );
    }
    assert_eq!(scene.asked(), "");
    let missing = scene.approve(&[]);
    assert!(
        missing.code == 1 && missing.stderr.contains("missing required argument"),
        "{missing:?}"
    );
}

#[test]
fn a_proof_is_for_one_session_and_one_try() {
    let mut scene = Scene::new(WORKS);
    let id = scene.request("n", true);
    let begin = |scene: &mut Scene| {
        let begun = scene
            .operator
            .call("gateway.pairing.ssh.begin", json!({"requestId": id}))
            .unwrap();
        let secret = std::fs::read_to_string(begun["path"].as_str().unwrap()).unwrap();
        let uid = rustix::process::geteuid().as_raw();
        json!({"proofId": begun["proofId"], "uid": uid, "secret": secret})
    };
    let params = begin(&mut scene);
    let mut other = Peer::operator(scene.gateway.address, SECRET);
    let refused = other
        .call("gateway.pairing.ssh.check", params.clone())
        .unwrap_err();
    assert!(
        refused["message"]
            .as_str()
            .unwrap()
            .contains("does not prove")
    );
    let refused = scene.operator.call("gateway.pairing.ssh.check", params);
    assert!(refused.is_err(), "the attempt is over");
    let params = begin(&mut scene);
    let proven = scene
        .operator
        .call("gateway.pairing.ssh.check", params.clone())
        .unwrap();
    assert_eq!(proven, json!({"ok": true, "requestId": id}));
    assert!(
        scene
            .operator
            .call("gateway.pairing.ssh.check", params)
            .is_err()
    );
    for _ in 0..16 {
        scene
            .operator
            .call("gateway.pairing.ssh.begin", json!({"requestId": id}))
            .unwrap();
    }
    let full = scene
        .operator
        .call("gateway.pairing.ssh.begin", json!({"requestId": id}))
        .unwrap_err();
    assert_eq!(full["code"], "UNAVAILABLE");
    let unknown = scene
        .operator
        .call("gateway.pairing.ssh.begin", json!({"requestId": "none"}));
    assert_eq!(
        unknown.unwrap_err()["message"],
        Value::from("unknown requestId")
    );
}
