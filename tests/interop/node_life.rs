//! The life of this node host at unmodified gateways of both releases: everything it is asked, and everything
//! that happens to a gateway and a network over the years.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::reference::{self, NEWER, OLDER, Release, wait_long};
use crate::support::device::Device;
use crate::support::home::Home;
use crate::support::network::{GATEWAY, Network, Place};
use crate::support::peer::{ALL_SCOPES, Peer, cli_params, operator_params};
use crate::support::process::{Outcome, Running, SECRET, free_port};
use crate::support::scripted;

const OTHER_SECRET: &str = "rotated-secret-77aa";

/// The node's policy: one program, and the rest after asking.
const POLICY: &str = r#"{"version":1,"defaults":{"security":"allowlist","ask":"on-miss","askFallback":"deny"},
    "agents":{"*":{"allowlist":[{"pattern":"/usr/bin/echo"},{"pattern":"/bin/echo"},{"pattern":"/usr/bin/uname"}]}}}"#;

/// An operator's machine, for this program's command line.
struct Operator<'a> {
    home: Home,
    port: u16,
    secret: &'static str,
    /// Where the gateway lives, when it is not on this host.
    network: Option<&'a Network>,
}

impl Operator<'_> {
    fn new(port: u16) -> Operator<'static> {
        Operator {
            home: Home::new(),
            port,
            secret: SECRET,
            network: None,
        }
    }

    fn run(&self, arguments: &[&str]) -> Outcome {
        let url = format!("ws://127.0.0.1:{}", self.port);
        let gateway = [
            "--url",
            &url,
            "--token",
            self.secret,
            "--json",
            "--timeout",
            "30000",
        ];
        let arguments = [arguments, &gateway].concat();
        match self.network {
            Some(network) => network.openclaw(Place::Gateway, &self.home, &arguments),
            None => crate::support::process::openclaw(&self.home, &arguments),
        }
    }

    #[track_caller]
    fn call(&self, method: &str, params: &Value) -> Value {
        self.try_call(method, params).success().json()
    }

    fn try_call(&self, method: &str, params: &Value) -> Outcome {
        self.run(&["gateway", "call", method, "--params", &params.to_string()])
    }

    /// Approves the node once it asks; its id.
    #[track_caller]
    fn approve(&self) -> String {
        // On one host the device layer is silent; what a slow start left waiting there is nobody's to approve.
        let waiting = wait_long("the pending node", || {
            let pending = self.run(&["nodes", "pending"]);
            let rows = (pending.code == 0).then(|| pending.json())?;
            let mut rows = rows.as_array()?.iter();
            rows.find(|row| row["layer"] == "node").cloned()
        });
        self.run(&["nodes", "approve", waiting["requestId"].as_str().unwrap()])
            .success();
        waiting["nodeId"].as_str().unwrap().to_owned()
    }

    fn echo(&self, node: &str) -> Outcome {
        // A gateway that still believes in a dead connection is not waited for.
        let patience = Some(1_000);
        self.invoke_within(
            patience,
            node,
            "system.run",
            &json!({"command": ["/bin/echo", "hi"]}),
        )
    }

    fn invoke(&self, node: &str, command: &str, params: &Value) -> Outcome {
        self.invoke_within(None, node, command, params)
    }

    /// The same with the gateway's patience in milliseconds.
    fn invoke_within(
        &self,
        patience: Option<u32>,
        node: &str,
        command: &str,
        params: &Value,
    ) -> Outcome {
        static KEY: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let key = KEY
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed)
            .to_string();
        let mut asked =
            json!({"nodeId": node, "command": command, "params": params, "idempotencyKey": key});
        if let Some(patience) = patience {
            asked["timeoutMs"] = json!(patience);
        }
        self.try_call("node.invoke", &asked)
    }

    #[track_caller]
    fn until_it_runs(&self, node: &str) {
        wait_long("a command to run", || {
            let outcome = self.echo(node);
            let ran = outcome.code == 0 && outcome.json()["payload"]["stdout"] == "hi\n";
            ran.then_some(())
        });
    }
}

/// A home of a reference gateway whose agent sleeps: told of a run, it would wake and hear nobody for minutes.
fn gateway_home(port: u16) -> Home {
    let home = Home::new();
    write_config(&home, port, SECRET);
    home
}

fn write_config(home: &Home, port: u16, secret: &str) {
    let asleep = r#"{ "agents": { "defaults": { "heartbeat": { "every": "0m" } } },"#;
    let config = reference::config(Some(port)).replacen('{', asleep, 1);
    home.write_config(&config.replace(SECRET, secret));
}

fn node_home() -> Home {
    let home = Home::new();
    home.write("exec-approvals.json", POLICY.as_bytes());
    home
}

fn start(home: &Home, port: u16, secret: Option<&str>) -> Running {
    let environment: Vec<(&str, &str)> = secret
        .map(|secret| ("OPENCLAW_GATEWAY_TOKEN", secret))
        .into_iter()
        .collect();
    scripted::node_host(
        home,
        &environment,
        &["--port", &port.to_string(), "--display-name", "Small"],
    )
}

/// A backend that asks for approvals, as an agent does.
fn asker(port: u16) -> Peer {
    let mut params = operator_params(SECRET, &ALL_SCOPES);
    params["maxProtocol"] = json!(4);
    connect(port, params, None)
}

/// A person's connection that hears of what waits.
fn approver(port: u16) -> Peer {
    let mut params = cli_params(json!({"token": SECRET}), &ALL_SCOPES);
    // The newer gateway asks those alone who say that they can answer.
    params["caps"] = json!(["exec-approvals"]);
    connect(port, params, Some(&Device::new()))
}

fn connect(port: u16, params: Value, device: Option<&Device>) -> Peer {
    let address: SocketAddr = ([127, 0, 0, 1], port).into();
    Peer::connect(address, params, device).expect("an operator of the reference")
}

/// What a node is asked every day.
fn every_command(operator: &Operator<'_>, node: &str, home: &Home) {
    let which = operator.invoke(node, "system.which", &json!({"bins": ["uname", "no-such"]}));
    let bins = &which.success().json()["payload"]["bins"];
    assert_eq!(bins, &json!({"uname": "/usr/bin/uname"}));
    let prepared = operator.invoke(
        node,
        "system.run.prepare",
        &json!({"command": ["uname", "-s"]}),
    );
    let plan = &prepared.success().json()["payload"]["plan"];
    assert_eq!(plan["commandText"], "/usr/bin/uname -s", "{plan}");
    let ran = operator.invoke(node, "system.run", &json!({"command": ["uname", "-s"]}));
    assert_eq!(ran.success().json()["payload"]["stdout"], "Linux\n");

    let policy = operator.call("exec.approvals.node.get", &json!({"nodeId": node}));
    assert_eq!(
        policy["file"]["defaults"]["security"], "allowlist",
        "{policy}"
    );
    // One program less: that is narrower.
    let mut narrower = policy["file"].clone();
    narrower["agents"]["*"]["allowlist"]
        .as_array_mut()
        .unwrap()
        .retain(|rule| rule["pattern"] != "/usr/bin/uname");
    let set = |file: &Value, hash: &Value| {
        operator.try_call(
            "exec.approvals.node.set",
            &json!({"nodeId": node, "file": file, "baseHash": hash}),
        )
    };
    let stale = set(&narrower, &json!("0".repeat(64)));
    assert!(
        stale.code != 0 && stale.stdout.contains("exec approvals changed"),
        "{stale:?}"
    );
    let after = set(&narrower, &policy["hash"]).success().json();
    assert!(!after["file"].to_string().contains("uname"), "{after}");
    assert!(!home.read("exec-approvals.json").contains("uname"));
}

/// A command that no rule names runs once a person has approved exactly it.
fn an_approved_run(port: u16, operator: &Operator<'_>, node: &str) {
    let prepared = operator.invoke(
        node,
        "system.run.prepare",
        &json!({"command": ["id", "-u"]}),
    );
    let plan = prepared.success().json()["payload"]["plan"].clone();
    let (mut asker, mut approver) = (asker(port), approver(port));
    let asked = asker.send(
        "exec.approval.request",
        json!({"host": "node", "nodeId": node, "systemRunPlan": plan, "command": plan["commandText"],
            "security": "allowlist", "ask": "on-miss", "twoPhase": true, "timeoutMs": 60_000}),
    );
    let accepted = asker.answer(&asked).unwrap();
    assert_eq!(accepted["status"], "accepted", "{accepted}");
    let id = accepted["id"].clone();
    let requested = approver.event("exec.approval.requested")["payload"].clone();
    assert_eq!(requested["id"], id, "{requested}");
    approver
        .call(
            "exec.approval.resolve",
            json!({"id": id, "decision": "allow-once"}),
        )
        .unwrap();
    let decided = asker.answer(&asked).unwrap();
    assert_eq!(decided["decision"], "allow-once", "{decided}");
    let run = json!({"nodeId": node, "command": "system.run", "idempotencyKey": "approved",
        "params": {"command": plan["argv"], "rawCommand": plan["commandText"], "systemRunPlan": plan,
            "runId": id, "approved": true, "approvalDecision": "allow-once"}});
    let ran = asker.call("node.invoke", run.clone()).unwrap();
    assert_eq!(ran["payload"]["success"], true, "{ran}");
    // Once was once.
    let mut again = run;
    again["idempotencyKey"] = json!("again");
    let refused = asker.call("node.invoke", again).unwrap_err();
    assert!(refused.to_string().contains("approval"), "{refused}");
}

fn a_life_at(release: Release) {
    let port = free_port();
    let gateway_home = gateway_home(port);
    let mut gateway = release.gateway(&gateway_home);
    let home = node_home();
    let mut node = start(&home, port, Some(SECRET));
    let mut operator = Operator::new(port);
    let id = operator.approve();
    operator.until_it_runs(&id);
    every_command(&operator, &id, &home);
    an_approved_run(port, &operator, &id);

    // The gateway is restarted.
    gateway.kill();
    gateway = release.gateway(&gateway_home);
    operator.until_it_runs(&id);

    // Its device token is rotated: the next connect brings the new one.
    let token = |home: &Home| home.json("node.json")["token"].clone();
    let before = token(&home);
    assert!(before.is_string(), "the node keeps its token");
    // The newer gateway lets no command line with a device of its own do that.
    asker(port)
        .call(
            "device.token.rotate",
            json!({"deviceId": id, "role": "node"}),
        )
        .unwrap();
    gateway.kill();
    gateway = release.gateway(&gateway_home);
    operator.until_it_runs(&id);
    assert_ne!(token(&home), before);

    // The shared secret is rotated under it: on loopback its own token still lets it in.
    gateway.kill();
    write_config(&gateway_home, port, OTHER_SECRET);
    gateway = release.gateway(&gateway_home);
    operator.secret = OTHER_SECRET;
    operator.until_it_runs(&id);
    assert!(node.alive(), "{}", node.output());
    node.signal("TERM");
    assert_eq!(node.exit_code(), 0, "{}", node.output());
    // Without one there is nothing to recover with.
    let stranger = Home::new();
    let mut node = start(&stranger, port, Some(SECRET));
    assert_eq!(node.exit_code(), 1);
    let told = "detail=AUTH_TOKEN_MISMATCH; exiting for supervisor restart";
    assert!(node.output().contains(told), "{}", node.output());

    drop(gateway);
    reference::nothing_left_behind(&gateway_home);
}

#[test]
fn this_node_host_lives_at_the_older_gateway() {
    a_life_at(OLDER);
}

#[test]
fn this_node_host_lives_at_the_newer_gateway() {
    a_life_at(NEWER);
}

/// A program on the gateway's host that passes on what the node's network brings: the reference listens on
/// loopback alone.
const FORWARD: &str = "const net = require('net');
net.createServer(near => {
  const far = net.connect(Number(process.argv[2]), '127.0.0.1');
  for (const [a, b] of [[near, far], [far, near]]) { a.pipe(b); a.on('error', () => b.destroy()); }
}).listen(Number(process.argv[2]), process.argv[1], () => console.log('listening'));";

fn back_after_a_cut(release: Release) -> Option<Duration> {
    let network = Network::or_skip("this_node_host_is_back_at_both_within_5_s_of_its_link")?;
    let port = free_port();
    let gateway_home = gateway_home(port);
    let node_program = reference::node_program();
    let gateway = reference::ready(|| {
        let mut command = network.command_of(Place::Gateway, &gateway_home, &node_program);
        reference::quiet(&mut command);
        command.arg(release.package()).args(["gateway", "run"]);
        Running::start_group(command)
    });
    let mut command = network.command_of(Place::Gateway, &gateway_home, &node_program);
    command.args(["-e", FORWARD, GATEWAY, &port.to_string()]);
    let mut forward = Running::start(command);
    forward.wait_for_output("listening");

    let home = node_home();
    let node = network.node_host(&home, port, SECRET);
    let operator = Operator {
        network: Some(&network),
        ..Operator::new(port)
    };
    let id = operator.approve();
    operator.until_it_runs(&id);
    network.pull();
    std::thread::sleep(Duration::from_secs(180));
    network.plug();
    let plugged = Instant::now();
    operator.until_it_runs(&id);
    let back = plugged.elapsed();
    println!("{release:?}: a command ran {back:.1?} after a cut of 3 minutes");
    assert!(
        node.output().contains("closed (4000): tick timeout"),
        "{}",
        node.output()
    );
    // The end of the connection that was cut, when the gateway hears of it, does not take the new one along.
    wait_long("the cut connection's end", || {
        (plugged.elapsed() > Duration::from_secs(15)).then_some(())
    });
    operator.until_it_runs(&id);
    drop((gateway, forward));
    reference::nothing_left_behind(&gateway_home);
    Some(back)
}

#[test]
fn this_node_host_is_back_at_both_within_5_s_of_its_link() {
    std::thread::scope(|scope| {
        for running in [OLDER, NEWER].map(|release| scope.spawn(move || back_after_a_cut(release)))
        {
            let Some(back) = running.join().unwrap() else {
                return;
            };
            assert!(back <= Duration::from_secs(5), "{back:?}");
        }
    });
}
