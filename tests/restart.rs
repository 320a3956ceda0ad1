//! Restarts in the same process: by a changed configuration and by a signal, and those that cannot be.

use serde_json::json;

use crate::support::device::Device;
use crate::support::home::Home;
use crate::support::peer::Peer;
use crate::support::process::{
    Gateway, Running, SECRET, command, free_port, openclaw_with, program,
};
use crate::support::reloading::{applied, config, logged, replace, start};

#[test]
fn another_port_is_taken_by_a_restart_and_a_busy_one_changes_nothing() {
    let mut gateway = start("");
    let pid = gateway.process.pid();
    let mut operator = Peer::operator(gateway.address, SECRET);
    let busy = free_port();
    let taken = std::net::TcpListener::bind(("127.0.0.1", busy)).unwrap();
    let deny = "nodes: { denyCommands: ['a'] }";
    replace(&gateway, &config(busy, SECRET, deny));
    logged(&gateway, "[reload] gateway restart skipped: ", 1);
    logged(&gateway, &applied("gateway.nodes.denyCommands"), 1);
    let output = gateway.process.output();
    assert!(
        output.contains(&format!("Port {busy} is already in use.")),
        "{output}"
    );
    operator.call("health", json!({})).unwrap();
    drop(taken);

    let port = free_port();
    replace(&gateway, &config(port, SECRET, deny));
    let goodbye = operator.event("shutdown");
    assert_eq!(
        goodbye["payload"],
        json!({"reason": "gateway restarting", "restartExpectedMs": 1500})
    );
    assert_eq!(operator.closed(), (1012, "service restart".to_owned()));
    logged(
        &gateway,
        "[reload] config change requires gateway restart (gateway.port)",
        2,
    );
    logged(&gateway, "[gateway] ready", 2);
    gateway.address.set_port(port);
    Peer::operator(gateway.address, SECRET);
    assert_eq!(gateway.process.pid(), pid);
    assert!(gateway.process.alive());
    gateway.cli(&["gateway", "health"]).success();
    gateway.process.signal("TERM");
    assert_eq!(gateway.process.exit_code(), 0);
}

#[test]
fn a_restart_waits_for_running_invokes_and_a_denial_does_not() {
    let gateway = start("");
    let port = gateway.address.port();
    let device = Device::new();
    let mut operator = Peer::operator(gateway.address, SECRET);
    let commands = ["system.which", "system.notify"];
    let mut node = Peer::node(gateway.address, SECRET, &device, &commands).unwrap();
    let request = operator.event("node.pair.requested")["payload"]["requestId"].clone();
    operator
        .call("node.pair.approve", json!({"requestId": request}))
        .unwrap();
    let ask = |command: &str| json!({"nodeId": device.id, "command": command, "timeoutMs": 60_000, "idempotencyKey": "k"});
    let asked = operator.send("node.invoke", ask("system.which"));
    let running = node.event("node.invoke.request")["payload"].clone();

    let next = free_port();
    replace(
        &gateway,
        &config(next, SECRET, "nodes: { denyCommands: ['system.notify'] }"),
    );
    logged(
        &gateway,
        "[reload] gateway restart waits for 1 running invokes, at most 300 s",
        1,
    );
    logged(&gateway, &applied("gateway.nodes.denyCommands"), 1);
    let refused = operator
        .call("node.invoke", ask("system.notify"))
        .unwrap_err();
    assert_eq!(refused["details"]["reason"], "command not allowlisted");
    // Taking the port back takes the restart back.
    replace(
        &gateway,
        &config(port, SECRET, "nodes: { denyCommands: ['a'] }"),
    );
    logged(&gateway, &applied("gateway.nodes.denyCommands"), 2);
    replace(
        &gateway,
        &config(next, SECRET, "nodes: { denyCommands: ['a'] }"),
    );
    logged(
        &gateway,
        "[reload] gateway restart waits for 1 running invokes",
        2,
    );
    assert_eq!(
        gateway.process.output().matches("[gateway] ready").count(),
        1
    );
    let result = json!({"id": running["id"], "nodeId": device.id, "ok": true, "payloadJSON": "{}"});
    node.call("node.invoke.result", result).unwrap();
    operator.answer(&asked).unwrap();
    logged(&gateway, "[gateway] ready", 2);
    assert_eq!(operator.closed().0, 1012);
    Peer::operator(([127, 0, 0, 1], next).into(), SECRET);
}

#[test]
fn a_restart_about_who_may_be_here_waits_for_nobody() {
    let gateway = start("");
    let port = gateway.address.port();
    let device = Device::new();
    let mut operator = Peer::operator(gateway.address, SECRET);
    let mut node = Peer::node(gateway.address, SECRET, &device, &["system.which"]).unwrap();
    let request = operator.event("node.pair.requested")["payload"]["requestId"].clone();
    operator
        .call("node.pair.approve", json!({"requestId": request}))
        .unwrap();
    let ask = json!({"nodeId": device.id, "command": "system.which", "timeoutMs": 600_000, "idempotencyKey": "k"});
    operator.send("node.invoke", ask);
    node.event("node.invoke.request");
    let stricter = "controlUi: { dangerouslyDisableDeviceAuth: true }";
    replace(&gateway, &config(port, SECRET, stricter));
    logged(&gateway, "[gateway] ready", 2);
    assert!(!gateway.process.output().contains("restart waits for"));
}

#[test]
fn commands_say_where_the_gateway_is_when_it_waits_for_its_restart() {
    let gateway = start("");
    let port = gateway.address.port();
    let hot = |port: u16| config(port, SECRET, "").replace("debounceMs", "mode: 'hot', debounceMs");
    replace(&gateway, &hot(port));
    logged(&gateway, &applied("gateway.reload.mode"), 1);
    replace(&gateway, &hot(free_port()));
    logged(
        &gateway,
        "[reload] config change requires gateway restart (gateway.port)",
        1,
    );
    let expected = format!(
        "listens on port {port}, not on the configured one: restart it, or ask it with OPENCLAW_GATEWAY_PORT={port}."
    );
    let health = gateway.cli(&["gateway", "health"]);
    assert!(
        health.code == 1 && health.stderr.contains(&expected),
        "{health:?}"
    );
    let status = gateway
        .cli(&["gateway", "status", "--json"])
        .success()
        .json();
    let hint = status["port"]["hints"][0].as_str().unwrap_or_default();
    assert!(hint.contains(&expected), "{status}");
    let told = ("OPENCLAW_GATEWAY_PORT", port.to_string());
    openclaw_with(&gateway.home, &[(told.0, &told.1)], &["gateway", "health"]).success();
}

#[test]
fn an_address_that_this_host_does_not_have_keeps_the_gateway() {
    let gateway = start("");
    let port = gateway.address.port();
    let mut operator = Peer::operator(gateway.address, SECRET);
    replace(
        &gateway,
        &config(port, SECRET, "bind: 'custom', customBindHost: '192.0.2.77'"),
    );
    logged(&gateway, "[reload] gateway restart skipped: ", 1);
    operator.call("health", json!({})).unwrap();
}

#[test]
fn a_restart_that_fails_goes_back_to_what_was_before() {
    let gateway = start("");
    let port = gateway.address.port();
    let mut operator = Peer::operator(gateway.address, SECRET);
    // All addresses at once cannot be had while somebody has one of them; that shows only afterwards.
    let _other = std::net::TcpListener::bind(("127.0.0.2", port)).unwrap();
    replace(
        &gateway,
        &config(port, SECRET, "bind: 'lan', nodes: { denyCommands: ['a'] }"),
    );
    assert_eq!(operator.closed().0, 1012);
    logged(&gateway, "the changed configuration does not start: ", 1);
    logged(&gateway, "[gateway] ready", 2);
    logged(
        &gateway,
        "[reload] config change requires gateway restart (gateway.bind)",
        2,
    );
    logged(&gateway, &applied("gateway.nodes.denyCommands"), 1);
    Peer::operator(gateway.address, SECRET)
        .call("health", json!({}))
        .unwrap();
    assert_eq!(
        gateway.process.output().matches("[gateway] ready").count(),
        2
    );
}

#[test]
fn the_mode_decides_what_a_changed_file_does() {
    let deny = "nodes: { denyCommands: ['a'] }, bind: 'auto'";
    // hot: what can be applied is, the rest waits.
    let gateway = start("");
    let port = gateway.address.port();
    let mode = |mode: &str, more: &str| {
        config(port, SECRET, more).replace("debounceMs", &format!("mode: '{mode}', debounceMs"))
    };
    replace(&gateway, &mode("hot", ""));
    logged(&gateway, &applied("gateway.reload.mode"), 1);
    replace(&gateway, &mode("hot", deny));
    logged(
        &gateway,
        "[reload] config change requires gateway restart (gateway.bind)",
        1,
    );
    logged(&gateway, &applied("gateway.nodes.denyCommands"), 1);
    assert_eq!(
        gateway.process.output().matches("[gateway] ready").count(),
        1
    );
    // hybrid: what waited is caught up on.
    replace(&gateway, &mode("hybrid", deny));
    logged(&gateway, "[gateway] ready", 2);
    // restart: even what could be applied.
    replace(&gateway, &mode("restart", "bind: 'auto'"));
    logged(&gateway, "[gateway] ready", 3);
    replace(&gateway, &mode("restart", deny));
    logged(&gateway, "[gateway] ready", 4);
    // off: nothing but the signal.
    replace(&gateway, &mode("off", ""));
    logged(&gateway, "[reload] gateway.reload.mode is off", 1);
    let node = Device::new();
    let mut peer = Peer::node(gateway.address, SECRET, &node, &["a"]).unwrap();
    gateway.process.signal("HUP");
    logged(&gateway, "[gateway] ready", 5);
    assert_eq!(peer.closed().0, 1012);
    replace(&gateway, &mode("off", "nodes: { denyCommands: ['b'] }"));
    gateway.process.signal("HUP");
    logged(&gateway, &applied("gateway.nodes.denyCommands"), 2);
    gateway.process.signal("HUP");
    logged(&gateway, "[reload] config unchanged", 1);
    assert!(
        gateway
            .home
            .read("audit.jsonl")
            .contains("\"via\":\"SIGHUP\"")
    );
}

#[test]
fn flags_win_over_every_later_file() {
    let port = free_port();
    let home = Home::new();
    home.write_config(&config(port, "from-file", ""));
    let mut command = command(&program(), &home);
    command.args([
        "gateway",
        "run",
        "--token",
        SECRET,
        "--port",
        &port.to_string(),
    ]);
    let mut process = Running::start(command);
    process.wait_for_output("[gateway] ready");
    let address = ([127, 0, 0, 1], port).into();
    let gateway = Gateway {
        home,
        address,
        token: SECRET.to_owned(),
        process,
    };
    let mut operator = Peer::operator(address, SECRET);
    replace(
        &gateway,
        &config(
            free_port(),
            "from-another-file",
            "nodes: { denyCommands: ['a'] }",
        ),
    );
    logged(&gateway, "gateway.nodes.denyCommands): 0 sessions ended", 1);
    operator.call("health", json!({})).unwrap();
    Peer::operator(address, SECRET);
    assert_eq!(
        gateway.process.output().matches("[gateway] ready").count(),
        1
    );
}

#[test]
fn a_stop_that_meets_a_restart_is_a_stop() {
    for _ in 0..3 {
        let mut gateway = start("");
        let mut operator = Peer::operator(gateway.address, SECRET);
        gateway.process.signal("USR1");
        gateway.process.signal("TERM");
        assert_eq!(
            gateway.process.exit_code(),
            0,
            "{}",
            gateway.process.output()
        );
        assert_eq!(operator.closed().0, 1012);
    }
}

#[test]
fn a_restart_that_could_only_fail_is_not_begun() {
    let gateway = start("");
    let mut operator = Peer::operator(gateway.address, SECRET);
    gateway
        .home
        .write_config("{ gateway: { mode: 'nowhere' } }");
    gateway.process.signal("USR1");
    logged(
        &gateway,
        "[reload] gateway restart skipped: gateway.mode: Invalid input",
        1,
    );
    operator.call("health", json!({})).unwrap();
}
