//! This node host's browser behind unmodified gateways of both releases.

use serde_json::{Value, json};

use crate::operator::{Operator, asker, gateway_home};
use crate::reference::{self, NEWER, OLDER, Release, wait_long};
use crate::support::home::Home;
use crate::support::process::{Running, SECRET, free_port};
use crate::support::scripted;

fn node(home: &Home, port: u16) -> Running {
    let root = rustix::process::geteuid().is_root();
    let debugged = free_port();
    home.write_config(&format!(
        "{{ browser: {{ cdpPortRangeStart: {debugged}, headless: true, noSandbox: {root} }} }}"
    ));
    let environment = [("OPENCLAW_GATEWAY_TOKEN", SECRET)];
    scripted::node_host(home, &environment, &["--port", &port.to_string()])
}

fn a_browser_works_behind(release: Release) {
    let port = free_port();
    let gateway_home = gateway_home(port);
    let gateway = release.gateway(&gateway_home);
    let home = Home::new();
    let mut host = node(&home, port);
    let id = Operator::new(port).approve();
    let mut asked = 0;
    // The newer release asks for an administrator here.
    let mut administrator = asker(port);
    let mut ask = |request: Value| {
        asked += 1;
        let params = json!({"nodeId": id, "command": "browser.proxy", "params": request, "timeoutMs": 60_000,
            "idempotencyKey": format!("k{asked}")});
        administrator.call("node.invoke", params)
    };
    let opened = wait_long("a tab", || {
        let action = json!({"method": "POST", "path": "/tabs/action", "body": {"action": "new", "label": "mine"}});
        ask(action)
            .ok()
            .map(|answer| answer["payload"]["result"]["tab"].clone())
    });
    assert_eq!(
        (&opened["url"], &opened["label"]),
        (&json!("about:blank"), &json!("mine"))
    );
    let shot = ask(json!({"method": "POST", "path": "/screenshot", "timeoutMs": 20_000})).unwrap();
    let (result, file) = (&shot["payload"]["result"], &shot["payload"]["files"][0]);
    assert_eq!(file["path"], result["path"]);
    assert_eq!(file["mimeType"], "image/png");
    let wrong = ask(json!({"path": "/nowhere"})).unwrap_err();
    assert!(
        wrong["message"]
            .as_str()
            .unwrap()
            .contains("Error: Not Found"),
        "{wrong}"
    );

    host.signal("TERM");
    assert_eq!(host.exit_code(), 0, "{}", host.output());
    drop(gateway);
    reference::nothing_left_behind(&gateway_home);
}

#[test]
fn the_older_reference_gateway_forwards_requests_to_browsers() {
    a_browser_works_behind(OLDER);
}

#[test]
fn the_newer_reference_gateway_forwards_requests_to_browsers() {
    a_browser_works_behind(NEWER);
}
