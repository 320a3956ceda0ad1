//! When a browser is declared, started and ended, however that comes about.

use serde_json::json;

use crate::node::{Node, config, kill, no_process_of, payload, processes_of};
use crate::site::Site;
use crate::support::home::Home;
use crate::support::process::free_port;
use crate::support::scripted::{Scripted, node_host};
use crate::support::wait_for;

#[test]
fn a_browser_is_declared_where_there_is_one_and_it_is_switched_on() {
    for (browser, more, declared) in [
        ("", "", true),
        ("enabled: false", "", false),
        ("", "nodeHost: { browserProxy: { enabled: false } }", false),
        ("executablePath: \"/nowhere/chromium\"", "", false),
    ] {
        let (home, gateway) = (Home::new(), Scripted::new());
        home.write_config(&config(free_port(), browser, more));
        let host = node_host(&home, &[], &["--port", &gateway.port().to_string()]);
        let caller = gateway.caller();
        let caps = if declared {
            json!(["system", "browser"])
        } else {
            json!(["system"])
        };
        assert_eq!(caller.connect["caps"], caps, "{browser} {more}");
        let commands = caller.connect["commands"].as_array().unwrap();
        assert_eq!(
            commands.contains(&json!("browser.proxy")),
            declared,
            "{browser} {more}"
        );
        drop(host);
    }
}

#[test]
fn nothing_is_started_before_it_is_needed_and_nothing_is_left_after_a_stop() {
    let mut node = Node::start();
    let user_data = node.user_data();
    let status = node.get("/").unwrap();
    for (name, value) in [
        ("running", json!(false)),
        ("cdpReady", json!(false)),
        ("pid", json!(null)),
        ("userDataDir", json!(null)),
        ("profile", json!("openclaw")),
        ("cdpPort", json!(node.port)),
        ("headlessSource", json!("config")),
    ] {
        assert_eq!(status[name], value, "{name}");
    }
    assert_eq!(
        node.get("/tabs").unwrap(),
        json!({"running": false, "tabs": []})
    );
    let profiles = node.get("/profiles").unwrap();
    assert_eq!(profiles["profiles"][0]["name"], "openclaw");
    assert_eq!(profiles["profiles"][1]["driver"], "existing-session");
    let not_running = Err("Error: browser not running".to_owned());
    assert_eq!(
        node.post("/tabs/focus", json!({"targetId": "t1"})),
        not_running
    );
    assert_eq!(node.delete("/tabs/t1"), not_running);
    assert_eq!(node.post("/stop", json!({})).unwrap()["stopped"], false);
    assert!(!node.home.state().join("browser").exists());

    let started = node.post("/start", json!({})).unwrap();
    assert_eq!(started, json!({"ok": true, "profile": "openclaw"}));
    let status = node.get("/").unwrap();
    for name in ["running", "cdpReady", "cdpHttp", "headless"] {
        assert_eq!(status[name], true, "{name}");
    }
    assert_eq!(status["userDataDir"], json!(user_data));
    let pid = node.pid();
    assert!(processes_of(&user_data).contains(&pid));

    let stopped = node.post("/stop", json!({})).unwrap();
    assert_eq!(
        stopped,
        json!({"ok": true, "stopped": true, "profile": "openclaw"})
    );
    wait_for("the browser to end", || no_process_of(&user_data));
    assert_eq!(node.get("/").unwrap()["running"], false);
}

#[test]
fn a_browser_that_was_killed_is_started_again_by_the_next_request() {
    let mut node = Node::start();
    node.post("/start", json!({})).unwrap();
    let first = node.pid();
    kill(first);
    wait_for("the end to be noticed", || {
        (node.get("/").unwrap()["running"] == false).then_some(())
    });
    let tabs = node.post("/tabs/action", json!({"action": "new"})).unwrap();
    assert_eq!(tabs["tab"]["url"], "about:blank");
    assert_ne!(node.pid(), first);
}

#[test]
fn a_browser_ends_with_its_node_host_however_that_ends() {
    for signal in ["TERM", "KILL"] {
        let mut node = Node::start();
        let user_data = node.user_data();
        node.post("/start", json!({})).unwrap();
        assert!(!processes_of(&user_data).is_empty());
        node.host.signal(signal);
        wait_for("the node host to end", || {
            (!node.host.alive()).then_some(())
        });
        wait_for("the browser to end", || no_process_of(&user_data));
    }
}

#[test]
fn a_program_that_is_no_browser_is_told_with_its_last_words_and_not_tried_for_ever() {
    let home = Home::new();
    home.write(
        "bin/browser",
        b"#!/bin/sh\necho no display here >&2\nexit 3\n",
    );
    let program = home.state().join("bin/browser");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&program, mode).unwrap();
    let port = free_port();
    home.write_config(&config(port, &format!("executablePath: {program:?}"), ""));
    let mut node = Node::at(home, port);
    for _ in 0..3 {
        let error = node.post("/start", json!({})).unwrap_err();
        assert!(error.starts_with("Error: Error: cannot start "), "{error}");
        assert!(error.contains("it ended before it answered"), "{error}");
        assert!(error.ends_with("It said: no display here"), "{error}");
    }
    let error = node.post("/start", json!({})).unwrap_err();
    assert!(
        error.contains("failed to start 3 times; the next try is possible in "),
        "{error}"
    );
}

#[test]
fn a_port_that_somebody_else_has_is_told() {
    let port = free_port();
    let listener = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    let home = Home::new();
    home.write_config(&config(port, "", ""));
    let mut node = Node::at(home, port);
    let error = node.post("/start", json!({})).unwrap_err();
    let expected = format!("port {port} of profile \"openclaw\" is in use by another program");
    assert!(error.contains(&expected), "{error}");
    drop(listener);
}

#[test]
fn switches_are_obeyed_at_the_next_request() {
    let mut node = Node::start();
    let port = node.port;
    for (browser, more, error) in [
        ("enabled: false", "", "Error: browser control disabled"),
        (
            "",
            "nodeHost: { browserProxy: { enabled: false } }",
            "Error: UNAVAILABLE: node browser proxy disabled",
        ),
        (
            "",
            "nodeHost: { browserProxy: { allowProfiles: [\"work\"] } }",
            "Error: INVALID_REQUEST: browser profile not allowed",
        ),
    ] {
        node.home.write_config(&config(port, browser, more));
        assert_eq!(node.get("/"), Err(error.to_owned()));
    }
    node.home.write_config(&config(port, "", ""));
    assert_eq!(node.get("/").unwrap()["enabled"], true);
}

#[test]
fn several_requests_run_at_once_and_a_slow_one_delays_nobody() {
    let mut node = Node::start();
    let site = Site::start();
    let silent = site.silent("/silent");
    node.post("/start", json!({})).unwrap();
    let slow = json!({"method": "POST", "path": "/navigate", "body": {"url": silent}, "timeoutMs": 60_000});
    node.caller.start_invoke("slow", "browser.proxy", &slow);
    let quick = json!({"path": "/tabs"});
    let answered = payload(&node.caller.invoke("browser.proxy", &quick)).unwrap();
    assert_eq!(answered["result"]["running"], true);
    let which = node.caller.invoke("system.which", &json!({"bins": ["sh"]}));
    assert_eq!(which["ok"], true);
    // Ending the browser ends the request that still waits for it, before its own answer or after.
    let stop = json!({"method": "POST", "path": "/stop"});
    node.caller.start_invoke("stop", "browser.proxy", &stop);
    let mut answers: Vec<String> = Vec::new();
    while answers.len() < 2 {
        let request = node.caller.request();
        if request["method"] == "node.invoke.result" {
            answers.push(request["params"]["id"].as_str().unwrap().to_owned());
        }
    }
    answers.sort();
    assert_eq!(answers, ["slow", "stop"]);
}

#[test]
fn a_browser_whose_requests_all_hang_can_be_looked_at_and_stopped() {
    let (mut node, site) = (Node::start(), Site::start());
    node.show(&site.page("/", "Page", ""));
    let endless = json!({"kind": "wait", "text": "never", "timeoutMs": 60_000});
    let endless = json!({"method": "POST", "path": "/act", "body": endless, "timeoutMs": 60_000});
    for number in 0..16 {
        let id = format!("w{number}");
        node.caller.start_invoke(&id, "browser.proxy", &endless);
    }
    let result = node
        .caller
        .invoke("browser.proxy", &json!({"path": "/tabs"}));
    let busy =
        "node busy: 16 invokes of this kind are running already; retry when one has finished";
    assert_eq!(result["error"]["message"], busy);
    assert_eq!(node.get("/").unwrap()["running"], true);
    let stop = json!({"method": "POST", "path": "/stop"});
    node.caller.start_invoke("stop", "browser.proxy", &stop);
    let mut ended = 0;
    while ended < 17 {
        let request = node.caller.request();
        ended += usize::from(request["method"] == "node.invoke.result");
    }
}
