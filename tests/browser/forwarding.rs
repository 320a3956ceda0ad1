//! Requests that an operator sends through this program's own gateway.

use serde_json::json;

use crate::node::{OPEN, config, no_process_of};
use crate::site::Site;
use crate::support::home::Home;
use crate::support::process::{Gateway, free_port};
use crate::support::scripted::node_host;
use crate::support::wait_for;

#[test]
fn the_gateway_forwards_requests_and_their_files() {
    let gateway = Gateway::start();
    let site = Site::start();
    let page = site.page("/", "Forwarded", "<h1>hello</h1>");
    let home = Home::new();
    home.write_config(&config(free_port(), OPEN, ""));
    let port = gateway.address.port().to_string();
    let environment = [("OPENCLAW_GATEWAY_TOKEN", gateway.token.as_str())];
    let name = ["--port", &port, "--display-name", "Shop Window"];
    let mut host = node_host(&home, &environment, &name);
    let waiting = wait_for("the node's request", || {
        let pending = gateway
            .cli(&["nodes", "pending", "--json"])
            .success()
            .json();
        pending
            .as_array()
            .unwrap()
            .iter()
            .find(|row| row["layer"] == "node")
            .cloned()
    });
    let commands = waiting["commands"].as_array().unwrap();
    assert!(commands.contains(&json!("browser.proxy")), "{waiting}");
    let request = waiting["requestId"].as_str().unwrap();
    gateway
        .cli(&["nodes", "approve", request, "--json"])
        .success();

    let ask = |params: serde_json::Value| {
        let params = params.to_string();
        let node = [
            "nodes",
            "invoke",
            "--node",
            "Shop Window",
            "--command",
            "browser.proxy",
        ];
        let line = [
            &node[..],
            &[
                "--invoke-timeout",
                "60000",
                "--timeout",
                "90000",
                "--json",
                "--params",
                &params,
            ],
        ];
        gateway.cli(&line.concat())
    };
    let shown = ask(
        json!({"method": "POST", "path": "/navigate", "body": {"url": page}, "timeoutMs": 60_000}),
    );
    assert_eq!(
        shown.success().json()["payload"]["result"]["url"],
        json!(page)
    );
    let shot = ask(json!({"method": "POST", "path": "/screenshot", "timeoutMs": 60_000}))
        .success()
        .json();
    let file = &shot["payload"]["files"][0];
    assert_eq!(file["path"], shot["payload"]["result"]["path"]);
    assert!(file["base64"].as_str().unwrap().starts_with("iVBORw0KGgo"));
    let wrong = ask(json!({"path": "/nowhere"}));
    assert!(
        wrong.stdout.contains("INVALID_REQUEST: Error: Not Found"),
        "{wrong:?}"
    );
    let lasting = ask(json!({"method": "DELETE", "path": "/profiles/work"}));
    let refused = "node.invoke cannot mutate persistent browser profiles via browser.proxy";
    assert!(lasting.stdout.contains(refused), "{lasting:?}");

    host.signal("TERM");
    assert_eq!(host.exit_code(), 0, "{}", host.output());
    let user_data = home.state().join("browser/openclaw/user-data");
    wait_for("the browser to end", || no_process_of(&user_data));
}
