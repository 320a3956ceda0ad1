//! Commands and the node host through a login, with a stand-in for `ssh` that carries bytes without one. The real
//! `ssh` and `sshd` are in the suite of its own.

use std::path::Path;

use serde_json::json;

use crate::support::home::Home;
use crate::support::process::{
    Gateway, Outcome, Running, SECRET, command, free_port, openclaw_with, program,
};
use crate::support::ssh;
use crate::support::wait_for;

/// A gateway, and another machine with an `ssh` to its host.
struct Scene {
    gateway: Gateway,
    home: Home,
    path: String,
}

impl Scene {
    fn new() -> Scene {
        let home = Home::new();
        ssh::stand_in(home.path());
        Scene {
            gateway: Gateway::start(),
            path: ssh::path(home.path()),
            home,
        }
    }

    fn port(&self) -> String {
        self.gateway.address.port().to_string()
    }

    fn run(&self, line: &[&str]) -> Outcome {
        let port = self.port();
        let environment = [
            ("PATH", self.path.as_str()),
            ("OPENCLAW_GATEWAY_PORT", &port),
        ];
        openclaw_with(&self.home, &environment, line)
    }

    fn asked(&self) -> String {
        std::fs::read_to_string(self.home.path().join("ssh.log")).unwrap_or_default()
    }

    /// Every `ssh` that was started has ended.
    fn all_ended(&self) {
        let pids = std::fs::read_to_string(self.home.path().join("ssh.pid")).unwrap();
        assert!(!pids.is_empty());
        for pid in pids.lines() {
            wait_for("ssh to end", || (!is_running(pid)).then_some(()));
        }
    }
}

/// A process that only waits to be collected has ended.
fn is_running(pid: &str) -> bool {
    let status = std::fs::read_to_string(Path::new("/proc").join(pid).join("status"));
    status.is_ok_and(|status| !status.contains("State:\tZ"))
}

#[test]
fn a_command_asks_the_gateway_at_the_other_end_of_a_login() {
    let scene = Scene::new();
    let with = ["--ssh", "pi@gateway.lan:2222", "--token", SECRET, "--json"];
    let listed = [&["devices", "list"], &with[..]].concat();
    let done = scene.run(&listed).success();
    assert_eq!(done.json()["pending"], json!([]));
    let port = scene.port();
    for argument in [
        "BatchMode=yes",
        "StrictHostKeyChecking=yes",
        "ControlPath=none",
        "-p\n2222\n-l\npi\n",
        &format!("-W\n127.0.0.1:{port}\n--\ngateway.lan\n"),
    ] {
        assert!(
            scene.asked().contains(argument),
            "{argument}: {}",
            scene.asked()
        );
    }
    scene.all_ended();
    let status = [&["gateway", "status"], &with[..4]].concat();
    let shown = scene.run(&status).success().stdout;
    assert!(
        shown.contains("through ssh pi@gateway.lan:2222\nProbe note: cli --ssh\n")
            && shown.contains("Connectivity probe: ok\nCapability: admin-capable\n"),
        "{shown}"
    );
    // The device token of the first time is known by the way to its gateway, and only there.
    let again = scene.run(&["devices", "list", "--ssh", "pi@gateway.lan:2222", "--json"]);
    assert_eq!(
        again.success().json()["paired"].as_array().unwrap().len(),
        1
    );
    for elsewhere in ["pi@other.lan", "pi@gateway.lan"] {
        let refused = scene.run(&["devices", "list", "--ssh", elsewhere]);
        assert!(
            refused.code == 1
                && refused
                    .stderr
                    .contains("a gateway at the other end of --ssh requires explicit credentials"),
            "{refused:?}"
        );
    }
}

#[test]
fn remote_mode_goes_through_the_login_of_the_configuration() {
    let scene = Scene::new();
    let port = scene.port();
    let remote = |more: &str| {
        scene.home.write_config(&format!(
            "{{ gateway: {{ mode: 'remote', remote: {{ url: 'ws://gw.invalid:{port}', token: '{SECRET}', {more} }} }} }}"
        ));
    };
    remote("transport: 'ssh', sshTarget: 'pi@gateway.lan', sshIdentity: '~/key'");
    scene.run(&["health"]).success();
    let key = scene.home.path().join("key");
    let wanted = format!("-i\n{}\n-W\n127.0.0.1:{port}\n", key.display());
    assert!(scene.asked().contains(&wanted), "{}", scene.asked());
    let named = scene.run(&["devices", "list", "--json"]).success();
    assert_eq!(named.json()["paired"].as_array().unwrap().len(), 1);
    // Written down or not at all: nobody logs in anywhere by a default.
    remote("sshTarget: 'pi@gateway.lan'");
    let direct = scene.run(&["health"]);
    assert!(
        direct.code == 1 && direct.stderr.contains("gw.invalid"),
        "{direct:?}"
    );
    remote("transport: 'ssh'");
    let missing = scene.run(&["health", "--json"]);
    assert_eq!(missing.json()["error"]["code"], "CONFIG_INVALID");
    assert!(
        missing
            .stderr
            .contains("gateway.remote.sshTarget is missing"),
        "{missing:?}"
    );
}

#[test]
fn a_login_that_passes_nothing_back_ends_with_the_program() {
    let scene = Scene::new();
    let pid = scene.home.path().join("ssh.pid");
    let never_ends = format!("#!/bin/sh\necho $$ >>'{}'\nexec sleep 600\n", pid.display());
    ssh::program(scene.home.path(), "ssh", &never_ends);
    let asks = ["health", "--ssh", "pi@gateway.lan", "--token", SECRET];
    let mut asking = command(&program(), &scene.home);
    asking.args(asks).env("PATH", &scene.path);
    asking.args(["--timeout", "120000"]);
    let asking = Running::start(asking);
    wait_for("the login", || {
        let noted = std::fs::read_to_string(&pid).ok()?;
        noted.ends_with('\n').then_some(())
    });
    asking.signal("KILL");
    scene.all_ended();
    // With the command it ends too, even one that does not want to.
    let stubborn = never_ends.replace("exec sleep 600", "trap '' TERM; while :; do sleep 1; done");
    ssh::program(scene.home.path(), "ssh", &stubborn);
    let given_up = scene.run(&[&asks[..], &["--timeout", "1500"]].concat());
    assert_eq!(given_up.code, 1, "{given_up:?}");
    scene.all_ended();
}

#[test]
fn what_keeps_a_login_from_working_is_said_with_what_to_do() {
    let scene = Scene::new();
    let with = ["health", "--ssh", "pi@gateway.lan:2222", "--token", SECRET];
    let fails = |ssh: &str| {
        ssh::program(scene.home.path(), "ssh", &format!("#!/bin/sh\n{ssh}\n"));
        let outcome = scene.run(&with);
        assert_eq!(outcome.code, 1, "{outcome:?}");
        outcome.stderr
    };
    for (ssh, said, remedy) in [
        (
            "echo 'Host key verification failed.' >&2; exit 255",
            "gateway not reachable through ssh pi@gateway.lan:2222: the SSH login failed: Host key verification failed.",
            "ssh -p 2222 pi@gateway.lan",
        ),
        (
            "echo 'pi@gateway.lan: Permission denied (publickey).' >&2; exit 255",
            "Permission denied (publickey).",
            "ssh-copy-id -p 2222 pi@gateway.lan",
        ),
        (
            "echo 'ssh: connect to host gateway.lan port 2222: Connection refused' >&2; exit 255",
            "the SSH login failed: ssh: connect to host gateway.lan port 2222: Connection refused",
            "Through: ssh pi@gateway.lan:2222",
        ),
        ("exit 3", "no reason given", "Source: cli --ssh"),
    ] {
        let stderr = fails(ssh);
        assert!(stderr.contains(said) && stderr.contains(remedy), "{stderr}");
        assert!(!stderr.contains(SECRET));
    }
    ssh::stand_in(scene.home.path());
    let closed = format!("ws://127.0.0.1:{}", free_port());
    let nobody = scene.run(&[&with[..], &["--url", &closed]].concat());
    assert!(
        nobody.code == 1
            && nobody
                .stderr
                .contains("does not answer there: connect failed"),
        "{nobody:?}"
    );
    let empty = scene.home.path().join("empty");
    let missing = openclaw_with(&scene.home, &[("PATH", empty.to_str().unwrap())], &with);
    assert!(
        missing.code == 1
            && missing.stderr.contains("there is no ssh on this machine")
            && missing.stderr.contains("openssh-client"),
        "{missing:?}"
    );
    let json = openclaw_with(
        &scene.home,
        &[("PATH", empty.to_str().unwrap())],
        &[&with[..], &["--json"]].concat(),
    );
    let error = &json.json()["error"];
    assert_eq!(error["code"], "GATEWAY_UNREACHABLE");
    assert_eq!(error["details"]["via"], "ssh pi@gateway.lan:2222");
    for option in ["pi@-oProxyCommand=id", "gateway.lan", "pi@h;id"] {
        let line = ["health", &format!("--ssh={option}"), "--token", SECRET];
        let refused = scene.run(&line);
        assert!(
            refused.code == 1 && refused.stderr.contains("Invalid --ssh: not an SSH target"),
            "{refused:?}"
        );
    }
}

/// A node host through the login.
fn node_host(scene: &Scene, more: &[&str]) -> Running {
    let port = scene.port();
    let mut host = command(&program(), &scene.home);
    host.args(["node", "run", "--ssh", "pi@gateway.lan", "--port", &port])
        .args(more)
        .env("PATH", &scene.path)
        .env("OPENCLAW_GATEWAY_TOKEN", SECRET);
    Running::start(host)
}

#[test]
fn a_node_host_comes_through_a_login_and_back_when_it_breaks() {
    let scene = Scene::new();
    let mut host = node_host(&scene, &[]);
    let connected = format!(
        "connected to ws://127.0.0.1:{} through ssh pi@gateway.lan",
        scene.port()
    );
    host.wait_for_output(&connected);
    let given = std::fs::read_to_string(scene.home.path().join("ssh.env")).unwrap();
    assert!(
        given.contains("PATH=") && !given.contains(SECRET),
        "{given}"
    );
    let pid = std::fs::read_to_string(scene.home.path().join("ssh.pid")).unwrap();
    let ended = std::process::Command::new("kill").arg(pid.trim()).status();
    assert!(ended.unwrap().success());
    wait_for("a second login", || {
        (host.output().matches(&connected).count() == 2).then_some(())
    });
    let file = scene.home.json("node.json");
    assert_eq!(file["gateway"]["host"], "127.0.0.1");
    assert_eq!(file.get("token"), None, "the file cannot say whose it is");
    // Ended without a chance to say goodbye, it leaves no login behind.
    host.signal("KILL");
    scene.all_ended();
    let mut host = node_host(&scene, &[]);
    host.wait_for_output(&connected);
    host.signal("TERM");
    assert_eq!(host.exit_code(), 0);
    scene.all_ended();
}

#[test]
fn a_node_host_says_what_is_wrong_with_a_login_and_tries_for_ever() {
    let scene = Scene::new();
    ssh::program(
        scene.home.path(),
        "ssh",
        "#!/bin/sh\necho 'Host key verification failed.' >&2\nexit 255\n",
    );
    let mut host = node_host(&scene, &[]);
    host.wait_for_output(
        "node host gateway connect failed: gateway not reachable through ssh pi@gateway.lan: the SSH login failed: \
         Host key verification failed.",
    );
    host.wait_for_output("ssh pi@gateway.lan");
    ssh::stand_in(scene.home.path());
    host.wait_for_output("node host gateway connected: ");
}

#[test]
fn a_service_keeps_the_login() {
    let home = Home::new();
    let line = ["node", "install", "--print", "--ssh", "pi@gateway.lan:2222"];
    let unit = openclaw_with(&home, &[], &line).success();
    assert!(
        unit.stdout.contains("--ssh pi@gateway.lan:2222"),
        "{unit:?}"
    );
    let line = ["node", "install", "--print", "--ssh", "-oProxyCommand=id@h"];
    let refused = openclaw_with(&home, &[], &line);
    assert!(
        refused.code == 1 && !refused.stdout.contains("ProxyCommand"),
        "{refused:?}"
    );
}
