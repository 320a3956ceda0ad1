//! `gateway.mode=remote`: every command acts on the gateway elsewhere or says that it cannot; none falls back to the
//! files of this machine, where a gateway ran before.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::device::Device;
use crate::support::home::Home;
use crate::support::peer::Peer;
use crate::support::process::{Gateway, Outcome, SECRET, free_port, openclaw};

/// What a command is about.
#[derive(Clone, Copy, Debug, PartialEq)]
enum About {
    /// A gateway: it is asked, wherever it is.
    Gateway,
    /// The files of a gateway of this machine: refused.
    Host,
    /// This machine itself: its configuration, services, node host and own exec policy.
    Machine,
}

use About::{Gateway as G, Host as H, Machine as M};

/// Every command, with arguments that would do something if they found it.
const COMMANDS: &[(&str, About, &[&str])] = &[
    ("nodes pending", G, &[]),
    ("nodes list", G, &[]),
    ("nodes status", G, &[]),
    ("nodes describe", G, &["--node", "decoy"]),
    ("nodes approve", G, &["DECOY"]),
    ("nodes reject", G, &["DECOY"]),
    ("nodes remove", G, &["--node", "decoy"]),
    ("nodes prune", G, &["--not-seen", "1h", "--yes"]),
    ("nodes rename", G, &["--node", "decoy", "--name", "x"]),
    (
        "nodes invoke",
        G,
        &["--node", "decoy", "--command", "system.which"],
    ),
    ("devices list", G, &[]),
    ("devices approve", G, &["DECOY"]),
    ("devices reject", G, &["DECOY"]),
    ("devices remove", G, &["DEVICE"]),
    ("devices clear", G, &["--yes", "--pending"]),
    ("devices export", G, &[]),
    ("devices import", G, &["export.json"]),
    ("devices keys create", G, &[]),
    ("devices keys list", G, &[]),
    ("devices keys revoke", G, &["decoy-key"]),
    (
        "devices preapprove",
        G,
        &["11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"],
    ),
    (
        "devices rotate",
        G,
        &["--device", "DEVICE", "--role", "operator"],
    ),
    (
        "devices revoke",
        G,
        &["--device", "DEVICE", "--role", "operator"],
    ),
    ("approvals get", G, &["--gateway"]),
    ("approvals set", G, &["--gateway", "--file", "policy.json"]),
    ("approvals allowlist add", G, &["--gateway", "/bin/true"]),
    ("approvals allowlist remove", G, &["--gateway", "/bin/true"]),
    ("approvals check", G, &["--node", "decoy", "--", "true"]),
    ("approvals pending", G, &[]),
    ("approvals resolve", G, &["decoy-id", "deny"]),
    ("gateway health", G, &[]),
    ("gateway call", G, &["node.list"]),
    ("gateway limits list", G, &[]),
    ("gateway limits clear", G, &[]),
    ("gateway pairing status", G, &[]),
    ("gateway pairing open", G, &[]),
    ("gateway pairing close", G, &[]),
    ("health", G, &[]),
    ("audit tail", H, &[]),
    ("audit verify", H, &[]),
    ("qr", H, &["--url", "wss://gw.example.com"]),
    ("gateway fingerprint", H, &[]),
    ("gateway run", H, &[]),
    ("dns setup", H, &["--domain", "claw.example.", "--apply"]),
    // The rest shows or changes this machine alone, or shows both.
    ("status", M, &[]),
    ("doctor", M, &[]),
    ("gateway status", M, &[]),
    ("gateway probe", M, &[]),
    ("gateway discover", M, &[]),
    ("gateway install", M, &[]),
    ("gateway start", M, &[]),
    ("gateway stop", M, &[]),
    ("gateway restart", M, &[]),
    ("gateway uninstall", M, &[]),
    ("node identity", M, &[]),
    ("node run", M, &[]),
    ("node join", M, &[]),
    ("node install", M, &[]),
    ("node status", M, &[]),
    ("node start", M, &[]),
    ("node stop", M, &[]),
    ("node restart", M, &[]),
    ("node uninstall", M, &[]),
    ("config file", M, &[]),
    ("config get", M, &[]),
    ("config set", M, &[]),
    ("config unset", M, &[]),
    ("config validate", M, &[]),
    ("completion", M, &[]),
];

/// A machine whose own gateway ran before, with a node and a device that wait there, and the gateway it uses now.
struct Scene {
    here: Home,
    there: Gateway,
    /// What waits in the files here.
    decoy: String,
    device: String,
}

impl Scene {
    fn new() -> Scene {
        let mut old = Gateway::start();
        old.cli(&["devices", "list"]).success();
        let waiting = Device::new();
        let refused = Peer::node(old.address, SECRET, &waiting, &["system.which"]);
        let decoy = match refused {
            Err(refused) => refused.error["details"]["requestId"].clone(),
            // A node of this machine is let in and waits for its commands.
            Ok(_) => old.cli(&["nodes", "pending", "--json"]).json()[0]["requestId"].clone(),
        };
        let listed = old.cli(&["devices", "list", "--json"]).success().json();
        let device = listed["paired"][0]["deviceId"].as_str().unwrap().to_owned();
        old.process.signal("TERM");
        assert_eq!(old.process.exit_code(), 0);
        let there = Gateway::start();
        let scene = Scene {
            decoy: decoy.as_str().unwrap().to_owned(),
            here: old.home,
            device,
            there,
        };
        scene.point_at(scene.there.address.port());
        scene
    }

    fn point_at(&self, port: u16) {
        self.here.write_config(&format!(
            "{{ gateway: {{ mode: 'remote', port: {}, tls: {{enabled: true}}, \
             remote: {{ url: 'ws://127.0.0.1:{port}', token: '{SECRET}' }} }} }}",
            free_port()
        ));
    }

    fn run(&self, name: &str, more: &[&str]) -> Outcome {
        let mut line: Vec<&str> = name.split(' ').collect();
        line.extend(more.iter().map(|argument| match *argument {
            "DECOY" => self.decoy.as_str(),
            "DEVICE" => self.device.as_str(),
            other => other,
        }));
        openclaw(&self.here, &line)
    }

    /// The files of the gateway that ran here.
    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        for folder in ["devices", "nodes"] {
            read_into(&mut files, &self.here.state().join(folder));
        }
        read_into(&mut files, &self.here.state().join("exec-approvals.json"));
        files
    }
}

fn read_into(files: &mut BTreeMap<String, Vec<u8>>, path: &Path) {
    if let Ok(bytes) = std::fs::read(path) {
        files.insert(path.display().to_string(), bytes);
    }
    for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
        read_into(files, &entry.path());
    }
}

/// The names of all commands that do something, from the help texts.
fn commands(home: &Home, path: &str, found: &mut Vec<String>) {
    let mut line: Vec<&str> = path.split_whitespace().collect();
    line.push("--help");
    let help = openclaw(home, &line).success().stdout;
    let children = help.split("\nCommands:\n").nth(1).unwrap_or_default();
    let children = children.lines().take_while(|line| line.starts_with("  "));
    let names: Vec<&str> = children
        .filter(|line| !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    if names.is_empty() {
        found.push(path.to_owned());
    }
    for name in names {
        let name = name.split(['|', ',']).next().unwrap();
        commands(home, format!("{path} {name}").trim(), found);
    }
}

#[test]
fn every_command_is_known_to_act_there_or_here() {
    let home = Home::new();
    let mut found = Vec::new();
    commands(&home, "", &mut found);
    assert!(found.len() > 50, "{found:?}");
    let unknown = |name: &&String| !COMMANDS.iter().any(|(known, ..)| known == name);
    let unknown: Vec<&String> = found.iter().filter(unknown).collect();
    assert!(
        unknown.is_empty(),
        "say in COMMANDS what these do in remote mode: {unknown:?}"
    );
}

#[test]
fn no_command_works_on_the_files_here_when_the_gateway_cannot_be_reached() {
    let scene = Scene::new();
    std::fs::write(scene.here.path().join("policy.json"), "{\"version\": 1}").unwrap();
    let export = scene.there.cli(&["devices", "export"]).success().stdout;
    std::fs::write(scene.here.path().join("export.json"), export).unwrap();
    scene.point_at(free_port());
    let before = scene.files();
    assert!(before.len() >= 2, "{:?}", before.keys());
    for (name, about, more) in COMMANDS {
        let known = openclaw(
            &scene.here,
            &[&name.split(' ').collect::<Vec<_>>()[..], &["--help"]].concat(),
        );
        if *about == M || known.code != 0 {
            continue;
        }
        let outcome = scene.run(name, more);
        let said = match about {
            G => "gateway not reachable: connect ECONNREFUSED",
            _ if *name == "gateway run" => "set gateway.mode=local (current: remote)",
            _ => "works on the gateway's host, and here gateway.mode is remote",
        };
        assert!(outcome.stderr.contains(said), "{name}: {outcome:?}");
        assert_ne!(outcome.code, 0, "{name}: {outcome:?}");
        assert!(
            !outcome.stdout.contains(&scene.decoy),
            "{name}: {outcome:?}"
        );
        assert!(
            scene.files() == before,
            "{name} changed files of this machine"
        );
    }
    let status = scene.run("status", &["--json"]).success().json();
    assert_eq!(
        (&status["gateway"]["reachable"], &status["nodes"]),
        (&json!(false), &Value::Null)
    );
    let status = scene.run("gateway status", &["--json"]).success().json();
    assert_eq!(status["gateway"]["pairing"], Value::Null);
    assert_eq!(status["rpc"]["ok"], false);
}

#[test]
fn pairing_is_done_at_the_gateway_elsewhere() {
    let scene = Scene::new();
    let before = scene.files();
    let node = Device::new();
    let _node = Peer::node(scene.there.address, SECRET, &node, &["system.which"]).unwrap();
    let pending = scene.run("nodes pending", &["--json"]).success().json();
    let request = pending[0]["requestId"].as_str().unwrap().to_owned();
    assert_ne!(request, scene.decoy);
    let unknown = scene.run("nodes approve", &["DECOY"]);
    assert!(
        unknown.code == 1 && unknown.stderr.contains("unknown requestId"),
        "{unknown:?}"
    );
    scene.run("nodes approve", &[&request]).success();
    let node = node.id;
    let described = scene.run("nodes describe", &["--node", &node, "--json"]);
    assert_eq!(
        described.success().json()["commands"],
        json!(["system.which"])
    );
    let made = scene.run("devices keys create", &["--json"]).success();
    let id = made.json()["id"].as_str().unwrap().to_owned();
    let keys = scene.there.cli(&["devices", "keys", "list", "--json"]);
    assert_eq!(keys.success().json()["keys"][0]["id"], id);
    scene.run("gateway pairing close", &[]).success();
    let switch = scene.there.cli(&["gateway", "pairing", "status", "--json"]);
    assert_eq!(switch.success().json()["open"], false);
    let shown = scene.run("gateway status", &["--json"]).success().json();
    assert_eq!(shown["rpc"]["ok"], true, "{shown}");
    let whole = scene.run("status", &["--json"]).success().json();
    assert_eq!(
        (&whole["gateway"]["mode"], &whole["nodes"]["connected"]),
        (&json!("remote"), &json!(1)),
        "{whole}"
    );
    assert!(scene.files() == before);
}

#[test]
fn a_join_command_names_the_gateway_elsewhere_or_asks_for_its_url() {
    let scene = Scene::new();
    let join = ["--print-join-command"];
    let vague = scene.run("devices keys create", &join);
    assert!(
        vague.code == 1 && vague.stderr.contains("pass --public-url"),
        "{vague:?}"
    );
    let named = [&join[..], &["--public-url", "wss://gw.example.com"]].concat();
    let line = scene.run("devices keys create", &named).success().stdout;
    assert!(line.contains("--url wss://gw.example.com"), "{line}");
    let through = [&join[..], &["--ssh", "pi@gw", "--token", SECRET]].concat();
    let unnamed = scene.run("devices keys create", &through);
    assert!(
        unnamed.code == 1 && unnamed.stderr.contains("needs --public-url"),
        "{unnamed:?}"
    );
}
