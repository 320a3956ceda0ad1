//! Commands and a node host through the real `ssh` and a real `sshd` on loopback, with keys, configuration and port
//! of their own.

use std::path::PathBuf;
use std::process::Command;

use serde_json::json;

use crate::support::home::Home;
use crate::support::process::{
    Gateway, Outcome, Running, SECRET, command, free_port, openclaw_with, program,
};
use crate::support::ssh::{path, ssh_server, user};
use crate::support::wait_for;

struct Scene {
    gateway: Gateway,
    /// Another machine, as far as its home goes.
    home: Home,
    /// Keys and configuration of both ends.
    place: PathBuf,
    sshd: Running,
    target: String,
}

impl Scene {
    fn new() -> Scene {
        let home = Home::new();
        let place = home.path().join("ssh");
        let (sshd, port) = ssh_server(&place);
        Scene {
            gateway: Gateway::start(),
            target: format!("{}@127.0.0.1:{port}", user()),
            home,
            place,
            sshd,
        }
    }

    fn environment(&self) -> [(&'static str, String); 2] {
        [
            ("PATH", path(&self.place)),
            (
                "OPENCLAW_GATEWAY_PORT",
                self.gateway.address.port().to_string(),
            ),
        ]
    }

    fn run(&self, line: &[&str]) -> Outcome {
        let environment = self.environment();
        let environment = environment
            .each_ref()
            .map(|(name, value)| (*name, value.as_str()));
        openclaw_with(&self.home, &environment, line)
    }

    fn health(&self) -> Outcome {
        self.run(&["health", "--ssh", &self.target, "--token", SECRET])
    }

    fn node_host(&self) -> Running {
        let mut host = command(&program(), &self.home);
        let port = self.gateway.address.port().to_string();
        host.args(["node", "run", "--ssh", &self.target, "--port", &port])
            .envs(self.environment())
            .env("OPENCLAW_GATEWAY_TOKEN", SECRET);
        Running::start(host)
    }

    /// The `ssh` of this scene that run now: who reads its configuration.
    fn logins(&self) -> Vec<u32> {
        let configuration = self.place.join("ssh_config");
        let configuration = configuration.to_str().unwrap();
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        processes
            .filter_map(|entry| {
                let id: u32 = entry.file_name().to_str()?.parse().ok()?;
                let line = std::fs::read(entry.path().join("cmdline")).ok()?;
                String::from_utf8_lossy(&line)
                    .contains(configuration)
                    .then_some(id)
            })
            .collect()
    }

    fn nobody_is_left(&self) {
        wait_for("the logins to end", || {
            self.logins().is_empty().then_some(())
        });
    }
}

#[test]
fn commands_and_remote_mode_reach_the_gateway_and_leave_no_login_behind() {
    let scene = Scene::new();
    scene.health().success();
    scene.nobody_is_left();
    scene.home.write_config(&format!(
        "{{ gateway: {{ mode: 'remote', remote: {{ transport: 'ssh', sshTarget: '{}', token: '{SECRET}' }} }} }}",
        scene.target
    ));
    let listed = scene.run(&["devices", "list", "--json"]).success().json();
    assert_eq!(listed["paired"].as_array().unwrap().len(), 1);
    let probed = scene.run(&["gateway", "probe", "--json"]);
    let report = probed.json();
    assert_eq!(report["primaryTargetId"], "sshTunnel", "{report}");
    let target = &report["targets"][0];
    assert_eq!(target["connect"]["rpcOk"], true, "{target}");
    assert_eq!(target["tunnel"]["target"], scene.target.as_str());
    assert_eq!(probed.code, 0);
    scene.nobody_is_left();
}

#[test]
fn what_the_other_host_refuses_is_said_with_what_to_do_and_nothing_is_learned() {
    let scene = Scene::new();
    let (login, port) = scene
        .target
        .split_once('@')
        .map(|(user, place)| {
            (
                user.to_owned(),
                place.rsplit(':').next().unwrap().to_owned(),
            )
        })
        .unwrap();
    let by_hand = format!("ssh -p {port} {login}@127.0.0.1");
    let known = std::fs::read(scene.place.join("known_hosts")).unwrap();
    std::fs::write(scene.place.join("known_hosts"), "").unwrap();
    let stranger = scene.health();
    assert!(
        stranger.code == 1
            && stranger.stderr.contains("does not know the host's key")
            && stranger.stderr.contains(&by_hand),
        "{stranger:?}"
    );
    assert_eq!(std::fs::read(scene.place.join("known_hosts")).unwrap(), b"");
    // Another key than the known one.
    let other = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(scene.place.join("other"))
        .status();
    assert!(other.unwrap().success());
    let other = std::fs::read_to_string(scene.place.join("other.pub")).unwrap();
    std::fs::write(
        scene.place.join("known_hosts"),
        format!("[127.0.0.1]:{port} {other}"),
    )
    .unwrap();
    let changed = scene.health();
    assert!(
        changed.code == 1 && changed.stderr.contains("is not the known one"),
        "{changed:?}"
    );
    std::fs::write(scene.place.join("known_hosts"), known).unwrap();
    let denied = scene.run(&[
        "health",
        "--ssh",
        &format!("nobody-here@127.0.0.1:{port}"),
        "--token",
        SECRET,
    ]);
    assert!(
        denied.code == 1
            && denied.stderr.contains("Permission denied")
            && denied.stderr.contains("ssh-copy-id"),
        "{denied:?}"
    );
    let closed = format!("ws://127.0.0.1:{}", free_port());
    let nobody = scene.run(&[
        "health",
        "--ssh",
        &scene.target,
        "--url",
        &closed,
        "--token",
        SECRET,
    ]);
    assert!(
        nobody.code == 1 && nobody.stderr.contains("does not answer there: "),
        "{nobody:?}"
    );
    let absent = scene.run(&[
        "health",
        "--ssh",
        &format!("{login}@127.0.0.1:{}", free_port()),
        "--token",
        SECRET,
        "--json",
    ]);
    assert_eq!(absent.json()["error"]["code"], "GATEWAY_UNREACHABLE");
    assert!(absent.stderr.contains("Connection refused"), "{absent:?}");
    scene.nobody_is_left();
}

#[test]
fn a_node_host_survives_a_broken_login_and_takes_its_login_with_it() {
    let mut scene = Scene::new();
    let mut host = scene.node_host();
    host.wait_for_output("node host gateway connected: ");
    let approved = wait_for("the node's request", || {
        let pending = scene.gateway.cli(&["nodes", "pending", "--json"]).json();
        Some(pending[0]["requestId"].as_str()?.to_owned())
    });
    scene
        .gateway
        .cli(&["nodes", "approve", &approved])
        .success();
    let which = |scene: &Scene| {
        let nodes = scene.gateway.cli(&["nodes", "status", "--json"]).json();
        let node = nodes["nodes"][0]["nodeId"].as_str().unwrap().to_owned();
        scene.gateway.cli(&[
            "nodes",
            "invoke",
            "--node",
            &node,
            "--command",
            "system.which",
            "--params",
            r#"{"bins":["sh"]}"#,
        ])
    };
    assert!(which(&scene).success().json()["payload"]["bins"]["sh"].is_string());
    let [login] = scene.logins()[..] else {
        panic!("{:?}", scene.logins())
    };
    let ended = Command::new("kill").arg(login.to_string()).status();
    assert!(ended.unwrap().success());
    wait_for("the node to come back", || {
        let output = host.output();
        (output.matches("node host gateway connected: ").count() == 2).then_some(())
    });
    which(&scene).success();
    // No sshd: the host says so, and waits for it.
    scene.sshd.kill();
    let [login] = scene.logins()[..] else {
        panic!("{:?}", scene.logins())
    };
    assert!(
        Command::new("kill")
            .arg(login.to_string())
            .status()
            .unwrap()
            .success()
    );
    host.wait_for_output("node host gateway connect failed: gateway not reachable through ssh ");
    host.signal("KILL");
    scene.nobody_is_left();
    let file = scene.home.json("node.json");
    assert_eq!(file["gateway"]["host"], json!("127.0.0.1"));
}
