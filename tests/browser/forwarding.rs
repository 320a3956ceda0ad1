//! Requests that an operator sends through this program's own gateway.

use serde_json::json;

use crate::node::{OPEN, config, no_process_of};
use crate::site::Site;
use crate::support::home::Home;
use crate::support::peer::Peer;
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
        wrong.stdout.contains("INVALID_REQUEST: Not Found"),
        "{wrong:?}"
    );
    // The words of a failure come through as they are, and files wherever the result names them.
    let mut operator = Peer::operator(gateway.address, &gateway.token);
    let node = waiting["nodeId"].clone();
    let mut asked = 0;
    let mut ask_as_operator = |params: serde_json::Value| {
        asked += 1;
        let params = json!({"nodeId": node, "command": "browser.proxy", "params": params, "timeoutMs": 60_000,
            "idempotencyKey": format!("k{asked}")});
        let answer = operator.call("node.invoke", params);
        answer
            .map(|answer| answer["payload"].clone())
            .map_err(|error| error["message"].as_str().unwrap().to_owned())
    };
    for (query, error) in [
        (json!({"format": "html"}), "Error: format must be ai|aria"),
        (
            json!({"format": "aria", "labels": true}),
            "Error: labels/mode=efficient require format=ai",
        ),
        (
            json!({"format": "aria", "mode": "efficient"}),
            "Error: labels/mode=efficient require format=ai",
        ),
        (
            json!({"selector": "#none"}),
            "Error: Error: Element \"#none\" not found or not visible. Run a new snapshot to see current page elements.",
        ),
        (
            json!({"selector": "<"}),
            "Error: Error: \"<\" is not a valid selector",
        ),
        (
            json!({"frame": "h1"}),
            "Error: Error: Element \"h1\" is not a frame.",
        ),
        (
            json!({"targetId": "zz"}),
            "Error: tab not found: browser tab \"zz\" not found. Use action=tabs and pass suggestedTargetId, tabId, \
             label, or raw targetId.",
        ),
        (
            json!({"profile": "nobody"}),
            "Error: BrowserProfileNotFoundError: Profile \"nobody\" not found. Available profiles: openclaw, user",
        ),
    ] {
        let told = ask_as_operator(json!({"path": "/snapshot", "query": query})).unwrap_err();
        assert!(told.ends_with(error), "{query}: {told}");
    }
    let labelled = ask_as_operator(
        json!({"path": "/snapshot", "query": {"labels": true}, "timeoutMs": 60_000}),
    );
    let labelled = labelled.unwrap();
    assert_eq!(
        labelled["result"]["snapshot"],
        "- heading \"hello\" [ref=e1] [level=1]"
    );
    let (mime, bytes) = crate::picture::file(&labelled);
    assert_eq!(
        (&*mime, crate::picture::Picture::decode(&bytes).jpeg),
        ("image/png", false)
    );
    let lasting = ask(json!({"method": "DELETE", "path": "/profiles/work"}));
    let refused = "node.invoke cannot mutate persistent browser profiles via browser.proxy";
    assert!(lasting.stdout.contains(refused), "{lasting:?}");

    host.signal("TERM");
    assert_eq!(host.exit_code(), 0, "{}", host.output());
    let user_data = home.state().join("browser/openclaw/user-data");
    wait_for("the browser to end", || no_process_of(&user_data));
}
