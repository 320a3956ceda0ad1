//! The life of this node host at unmodified gateways of both releases: everything it is asked, and everything
//! that happens to a gateway and a network over the years.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::operator::{Operator, asker, gateway_home, write_config};
use crate::reference::{self, NEWER, OLDER, Release, wait_long};
use crate::support::home::Home;
use crate::support::network::{GATEWAY, Network, Place};
use crate::support::process::{Running, SECRET, free_port, openclaw};
use crate::support::scripted;

const OTHER_SECRET: &str = "rotated-secret-77aa";

/// The node's policy: one program, and the rest after asking.
const POLICY: &str = r#"{"version":1,"defaults":{"security":"allowlist","ask":"on-miss","askFallback":"deny"},
    "agents":{"*":{"allowlist":[{"pattern":"/usr/bin/echo"},{"pattern":"/bin/echo"},{"pattern":"/usr/bin/uname"}]}}}"#;

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

/// Edits from elsewhere widen the node's policy when its own configuration lets them.
fn a_wider_policy(operator: &Operator<'_>, node: &str, home: &Home) {
    let seen = operator.call("exec.approvals.node.get", &json!({"nodeId": node}));
    let mut wider = seen["file"].clone();
    let rules = wider["agents"]["*"]["allowlist"].as_array_mut().unwrap();
    rules.push(json!({"pattern": "/usr/bin/hostname"}));
    let asked = json!({"nodeId": node, "file": wider, "baseHash": seen["hash"]});
    let add = [
        "approvals",
        "allowlist",
        "add",
        "/usr/bin/nproc",
        "--node",
        node,
    ];
    let why = "every agent would get the rule /usr/bin/";
    let way = "openclaw config set nodeHost.execApprovals.remoteEdits widen there";
    for refused in [
        operator.try_call("exec.approvals.node.set", &asked),
        operator.run(&add),
    ] {
        let told = refused.json()["error"]["message"].to_string();
        assert!(
            refused.code == 1 && told.contains(why) && told.contains(way),
            "{refused:?}"
        );
    }
    assert_eq!(
        home.json("exec-approvals.json")["agents"]["*"],
        seen["file"]["agents"]["*"]
    );

    let way = "config set nodeHost.execApprovals.remoteEdits widen";
    openclaw(home, &way.split(' ').collect::<Vec<_>>()).success();
    operator.call("exec.approvals.node.set", &asked);
    operator.run(&add).success();
    let policy = home.read("exec-approvals.json");
    assert!(
        policy.contains("/usr/bin/hostname") && policy.contains("/usr/bin/nproc"),
        "{policy}"
    );
    let ran = operator.invoke(node, "system.run", &json!({"command": ["/usr/bin/nproc"]}));
    assert_eq!(ran.success().json()["payload"]["success"], true);
}

/// A command that no rule names runs once a person has approved exactly it, at a terminal.
fn an_approved_run(port: u16, operator: &Operator<'_>, node: &str) {
    let prepared = operator.invoke(
        node,
        "system.run.prepare",
        &json!({"command": ["id", "-u"]}),
    );
    let plan = prepared.success().json()["payload"]["plan"].clone();
    let mut terminal = operator.watch_approvals();
    terminal.wait_for_output("No commands wait for approval.");
    let mut asker = asker(port);
    let asked = asker.send(
        "exec.approval.request",
        json!({"host": "node", "nodeId": node, "systemRunPlan": plan, "command": plan["commandText"],
            "security": "allowlist", "ask": "on-miss", "twoPhase": true, "timeoutMs": 60_000}),
    );
    let accepted = asker.answer(&asked).unwrap();
    assert_eq!(accepted["status"], "accepted", "{accepted}");
    let id = accepted["id"].as_str().unwrap();
    let short = &id[..8];
    terminal.wait_for_output(&format!("Waiting   {short}  Small: /usr/bin/id -u  ("));
    let listed = operator.run(&["approvals", "pending"]).success().json();
    assert_eq!(listed[0]["id"], id, "{listed}");
    assert_eq!(listed[0]["nodeName"], "Small", "{listed}");
    let resolved = operator.run(&["approvals", "resolve", short, "allow-once"]);
    assert_eq!(resolved.success().json()["command"], "/usr/bin/id -u");
    terminal.wait_for_output(&format!(
        "Resolved  {short}  Small: /usr/bin/id -u  (allow-once"
    ));
    terminal.signal("TERM");
    assert_eq!(terminal.exit_code(), 143, "{}", terminal.output());
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
    a_wider_policy(&operator, &id, &home);
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
