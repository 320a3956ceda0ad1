//! Runs on a node host of the program, asked for by a gateway made of bytes by hand.

use std::net::{TcpListener, TcpStream};
use std::path::Path;

use serde_json::{Value, json};
use tungstenite::{Message, WebSocket};

use crate::support::home::Home;
use crate::support::process::{Running, command, program};
use crate::support::{PATIENCE, wait_for};

const FULL: &str = r#"{"version":1,"defaults":{"security":"full","ask":"off"}}"#;

/// A node host and the one connection it made.
struct Node {
    home: Home,
    process: Running,
    socket: WebSocket<TcpStream>,
}

impl Node {
    #[track_caller]
    fn start(policy: &str, variables: &[(&str, &str)]) -> Node {
        let home = Home::new();
        home.write("exec-approvals.json", policy.as_bytes());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port().to_string();
        let mut command = command(&program(), &home);
        command.args(["node", "run", "--port", &port]);
        command.env("OPENCLAW_GATEWAY_TOKEN", "a-shared-secret");
        command.envs(variables.iter().copied());
        let process = Running::start(command);
        listener.set_nonblocking(true).unwrap();
        let (stream, _) = wait_for("the node host to connect", || listener.accept().ok());
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let socket = tungstenite::accept(stream).unwrap();
        let mut node = Node {
            home,
            process,
            socket,
        };
        node.send(&json!({"type": "event", "event": "connect.challenge", "payload": {"nonce": "n", "ts": 1}}));
        let connect = node.read();
        node.send(
            &json!({"type": "res", "id": connect["id"], "ok": true, "payload": {"type": "hello-ok",
            "protocol": 3, "server": {"version": "t", "connId": "c"},
            "features": {"methods": [], "events": []},
            "snapshot": {"presence": [], "health": {}, "stateVersion": {"presence": 0, "health": 0},
                "uptimeMs": 0},
            "auth": {"role": "node", "scopes": []},
            "policy": {"maxPayload": 26_214_400, "maxBufferedBytes": 52_428_800, "tickIntervalMs": 30_000}}}),
        );
        node
    }

    fn send(&mut self, frame: &Value) {
        self.socket.send(Message::text(frame.to_string())).unwrap();
    }

    fn read(&mut self) -> Value {
        loop {
            if let Message::Text(text) = self.socket.read().unwrap() {
                return serde_json::from_str(text.as_str()).unwrap();
            }
        }
    }

    fn ask(&mut self, id: &str, command: &str, params: &Value) {
        self.send(
            &json!({"type": "event", "event": "node.invoke.request", "payload": {"id": id,
            "nodeId": "n", "command": command, "paramsJSON": params.to_string()}}),
        );
    }

    /// The next result, past events; its payload as JSON.
    fn result(&mut self) -> Value {
        loop {
            let mut params = self.read()["params"].take();
            if params.get("event").is_some() {
                continue;
            }
            if let Some(payload) = params["payloadJSON"].as_str() {
                params["payload"] = serde_json::from_str(payload).unwrap();
            }
            return params;
        }
    }

    fn run(&mut self, script: &str) -> Value {
        let params = json!({"command": ["sh", "-c", script]});
        self.ask("1", "system.run", &params);
        self.result()["payload"].take()
    }
}

fn pid(path: &Path) -> String {
    wait_for("a pid", || {
        let text = std::fs::read_to_string(path).ok()?;
        text.ends_with('\n').then(|| text.trim().to_owned())
    })
}

/// Neither running nor waiting to be collected.
fn gone(pid: &str) -> Option<()> {
    (!Path::new("/proc").join(pid).exists()).then_some(())
}

#[test]
fn nothing_that_a_run_started_outlives_the_host() {
    let mut node = Node::start(FULL, &[]);
    let file = |name: &str| node.home.temp().join(name);
    let (left, stubborn, running) = (file("left"), file("stubborn"), file("running"));
    // One left its group and heeds the first signal, one does not and has a child of its own.
    let script = format!(
        "setsid sh -c 'echo $$ > {}; exec sleep 600' >/dev/null 2>&1 & \
         setsid sh -c 'trap \"\" TERM; sleep 600 & echo $! > {}; wait; sleep 600' >/dev/null 2>&1 & echo done",
        left.display(),
        stubborn.display()
    );
    assert_eq!(node.run(&script)["stdout"], "done\n");
    let (left, stubborn) = (pid(&left), pid(&stubborn));
    let params = json!({"command": ["sh", "-c", format!("echo $$ > {}; exec sleep 600", running.display())]});
    node.ask("2", "system.run", &params);
    let running = pid(&running);
    node.process.signal("TERM");
    assert_eq!(node.process.exit_code(), 0, "{}", node.process.output());
    for pid in [left, stubborn, running] {
        wait_for("the process to be gone", || gone(&pid));
    }
}

#[test]
fn a_terminal_that_is_closed_ends_the_host_and_its_runs() {
    for signal in ["HUP", "QUIT"] {
        let mut node = Node::start(FULL, &[]);
        let file = node.home.temp().join("pid");
        let script = format!("echo $$ > {}; exec sleep 600", file.display());
        let params = json!({"command": ["sh", "-c", script]});
        node.ask("1", "system.run", &params);
        let pid = pid(&file);
        node.process.signal(signal);
        if signal == "HUP" {
            // The shell and the kernel each say it.
            node.process.signal(signal);
        }
        assert_eq!(
            node.process.exit_code(),
            0,
            "{signal}: {}",
            node.process.output()
        );
        wait_for("the run to be gone", || gone(&pid));
    }
}

#[test]
fn what_a_run_leaves_behind_is_collected_when_it_ends() {
    let mut node = Node::start(FULL, &[]);
    let file = node.home.temp().join("pid");
    let script = format!(
        "setsid sh -c 'echo $$ > {0}; until [ -e {0}.go ]; do sleep 0.02; done' >/dev/null 2>&1 & echo on",
        file.display()
    );
    assert_eq!(node.run(&script)["stdout"], "on\n");
    let pid = pid(&file);
    assert!(gone(&pid).is_none(), "a finished run ends nothing else");
    std::fs::write(file.with_extension("go"), "").unwrap();
    wait_for("no zombie", || gone(&pid));
}

#[test]
fn children_know_no_secret_of_the_host() {
    let config = r#"{ gateway: { remote: { token: "${MY_OWN_NAME}" } } }"#;
    let home = Home::new();
    home.write_config(config);
    let variables = [
        ("OPENCLAW_CONFIG_PATH", "openclaw.json"),
        ("MY_OWN_NAME", "another-secret"),
        ("OPENCLAW_SETUP_CODE", ""),
        ("NOTIFY_SOCKET", "/nowhere"),
        ("EDITOR", "vi"),
        ("HARMLESS", "1"),
    ];
    let path = home.state().join("openclaw.json");
    let mut variables = variables;
    variables[0].1 = path.to_str().unwrap();
    let mut node = Node::start(FULL, &variables);
    let params = json!({"command": ["env"], "env": {"OPENCLAW_GATEWAY_TOKEN": "x"}});
    node.ask("1", "system.run", &params);
    let answer = node.result();
    let seen = answer["payload"]["stdout"].as_str().unwrap();
    assert!(
        seen.contains("HARMLESS=1\n") && seen.contains("OPENCLAW_CLI=1\n"),
        "{seen}"
    );
    for word in ["TOKEN", "secret", "SETUP_CODE", "NOTIFY_SOCKET", "EDITOR"] {
        assert!(!seen.contains(word), "{word}: {seen}");
    }
}

#[test]
fn every_run_denial_and_edit_is_one_line_of_the_trail() {
    let policy = r#"{"version":1,"defaults":{"security":"allowlist","ask":"off"},
        "agents":{"*":{"allowlist":[{"pattern":"/usr/bin/printf"}]}}}"#;
    let mut node = Node::start(policy, &[]);
    let ran = json!({"command": ["printf", "\u{1b}[31mout%s", "put"], "sessionKey": "s", "runId": "r1",
        "agentId": "a", "cwd": "/", "env": {"LC_PLAIN": "sekret-value"}});
    node.ask("1", "system.run", &ran);
    assert_eq!(node.result()["ok"], true);
    node.ask(
        "2",
        "system.run",
        &json!({"command": ["id"], "runId": "r2"}),
    );
    assert_eq!(node.result()["ok"], false);
    let blocked = json!({"command": ["printf"], "env": {"LD_PRELOAD": "sekret-value"}});
    node.ask("3", "system.run", &blocked);
    assert_eq!(node.result()["ok"], false);
    node.ask("4", "system.execApprovals.get", &json!({}));
    let hash = node.result()["payload"]["hash"].clone();
    let edit = json!({"baseHash": hash, "file": {"version": 1, "defaults": {"security": "deny"}}});
    node.ask("5", "system.execApprovals.set", &edit);
    let after = node.result()["payload"]["hash"].clone();
    node.ask("6", "system.execApprovals.set", &edit);
    assert_eq!(node.result()["ok"], false);

    let text = node.home.read("node-audit.jsonl");
    for word in ["sekret", "output", "\u{1b}"] {
        assert!(!text.contains(word), "{word:?}: {text}");
    }
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let actions: Vec<_> = lines.iter().map(|line| line["action"].clone()).collect();
    assert_eq!(
        actions,
        [
            "run.finished",
            "run.denied",
            "run.denied",
            "policy.edited",
            "policy.edit-refused"
        ]
    );
    let ran = &lines[0];
    assert_eq!(
        json!([
            ran["sessionKey"],
            ran["runId"],
            ran["agentId"],
            ran["cwd"],
            ran["exitCode"],
            ran["grounds"]
        ]),
        json!(["s", "r1", "a", "/", 0, ["/usr/bin/printf"]]),
        "{ran}"
    );
    assert_eq!(ran["command"], "printf \u{1b}[31mout%s put");
    assert!(ran["ts"].is_u64() && ran["durationMs"].is_u64(), "{ran}");
    assert!(
        ran["gateway"]
            .as_str()
            .unwrap()
            .starts_with("ws://127.0.0.1:"),
        "{ran}"
    );
    assert_eq!(lines[1]["reason"], "allowlist-miss");
    assert_eq!(lines[2]["reason"], "environment");
    assert_eq!((&lines[3]["before"], &lines[3]["after"]), (&hash, &after));
    let changes = json!([
        "defaults.ask: off -> not set",
        "defaults.security: allowlist -> deny",
        "agents.*.allowlist: - /usr/bin/printf",
    ]);
    assert_eq!(lines[3]["changes"], changes);
}

#[test]
fn a_run_that_asks_for_skills_keeps_nobody_else_waiting() {
    let policy =
        r#"{"version":1,"defaults":{"security":"allowlist","ask":"off","autoAllowSkills":true}}"#;
    let mut node = Node::start(policy, &[]);
    node.ask("run", "system.run", &json!({"command": ["printf", "x"]}));
    let asked = node.read();
    assert_eq!(
        (&asked["method"], &asked["params"]),
        (&json!("skills.bins"), &json!({}))
    );
    node.ask("which", "system.which", &json!({"bins": ["sh"]}));
    assert_eq!(node.result()["id"], "which");
    let refused = json!({"code": "INVALID_REQUEST", "message": "unknown method: skills.bins"});
    node.send(&json!({"type": "res", "id": asked["id"], "ok": false, "error": refused}));
    let result = node.result();
    assert_eq!(
        (&result["id"], &result["ok"]),
        (&json!("run"), &json!(false))
    );
    // The list counts for a while, even an absent one.
    node.ask("again", "system.run", &json!({"command": ["printf", "x"]}));
    assert_eq!(node.result()["id"], "again");
}
