//! Pages whose renderer crashes, and browsers that are killed: who works with them is told, everybody else goes on.

use serde_json::json;

use crate::act::{at, value};
use crate::node::{Node, kill, payload, processes_of};
use crate::site::Site;
use crate::snapshots::{reference, taken};
use crate::support::wait_for;

const CRASHED: &str =
    "Error: Error: the page has crashed; navigate it to go on, or open another tab";

/// Kills every process that draws a page of a node host's browser.
pub fn kill_renderers(node: &Node) {
    let renderers = processes_of(&node.user_data()).into_iter().filter(|pid| {
        let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&arguments).contains("--type=renderer")
    });
    let renderers: Vec<u32> = renderers.collect();
    assert!(!renderers.is_empty());
    renderers.into_iter().for_each(kill);
}

#[test]
fn a_page_that_crashed_says_so_and_lives_on_elsewhere() {
    let (mut node, site) = at("<button>Go</button><script>console.log('before')</script>");
    let old = reference(&taken(&mut node, json!({})), "Go");
    kill_renderers(&node);
    wait_for("the crash to be noticed", || {
        let request = json!({"method": "POST", "path": "/storage/local/clear", "timeoutMs": 5_000});
        (node.ask(&request) == Err(CRASHED.to_owned())).then_some(())
    });
    let crashed = Err(CRASHED.to_owned());
    for path in ["/snapshot", "/storage/local"] {
        assert_eq!(node.get(path), crashed, "{path}");
    }
    assert_eq!(
        node.get_with("/snapshot", json!({"format": "aria"})),
        crashed
    );
    for (path, body) in [
        ("/screenshot", json!({})),
        ("/screenshot", json!({"fullPage": true, "labels": true})),
        ("/pdf", json!({})),
        ("/act", json!({"kind": "evaluate", "fn": "1"})),
        ("/act", json!({"kind": "click", "ref": old})),
        ("/act", json!({"kind": "wait", "text": "x"})),
        ("/act", json!({"kind": "press", "key": "a"})),
        ("/act", json!({"kind": "resize", "width": 9, "height": 9})),
        (
            "/act",
            json!({"kind": "batch", "actions": [{"kind": "press", "key": "a"}]}),
        ),
        ("/highlight", json!({"ref": old})),
        ("/set/offline", json!({"offline": false})),
        ("/set/media", json!({"colorScheme": "dark"})),
        ("/storage/local/set", json!({"key": "a"})),
    ] {
        let told = node.post(path, body.clone());
        let batch = told
            .as_ref()
            .is_ok_and(|it| it["results"][0]["error"] == CRASHED["Error: Error: ".len()..]);
        assert!(told == crashed || batch, "{path} {body}: {told:?}");
    }
    // What needs no renderer works on.
    assert_eq!(
        node.get("/console").unwrap()["messages"][0]["text"],
        "before"
    );
    assert_eq!(node.get("/cookies").unwrap()["ok"], true);
    assert_eq!(
        node.get("/tabs").unwrap()["tabs"].as_array().unwrap().len(),
        1
    );
    let other = node
        .post(
            "/tabs/open",
            json!({"url": site.named("/"), "label": "other"}),
        )
        .unwrap();
    assert_eq!(value(&mut node, "document.title"), "Act");
    assert_eq!(
        node.get_with("/snapshot", json!({"targetId": "t1"})),
        crashed
    );
    let back = node
        .post("/navigate", json!({"url": site.url("/"), "targetId": "t1"}))
        .unwrap();
    assert_eq!(back["url"], site.url("/"));
    assert_ne!(back["targetId"], other["targetId"]);
    let unknown = format!(
        "Error: Error: Unknown ref \"{old}\". Run a new snapshot and use a ref from that snapshot."
    );
    assert_eq!(
        node.post("/act", json!({"kind": "click", "ref": old})),
        Err(unknown)
    );
    assert!(
        taken(&mut node, json!({}))["snapshot"]
            .as_str()
            .unwrap()
            .contains("button \"Go\"")
    );
    // One that crashed can also be closed.
    node.show(&site.url("/"));
    kill_renderers(&node);
    wait_for("the crash to be noticed", || {
        (node.get("/snapshot") == crashed).then_some(())
    });
    assert_eq!(node.delete("/tabs/t1"), Ok(json!({"ok": true})));
    assert_eq!(node.delete("/tabs/other"), Ok(json!({"ok": true})));
    assert_eq!(node.show(&site.url("/"))["url"], site.url("/"));
}

#[test]
fn a_frame_that_crashed_costs_the_page_that_frame_alone() {
    let (mut node, site) = (Node::start(), Site::start());
    site.page("/far", "Far", "<button>Far</button>");
    let body = format!(
        "<button>Top</button><iframe src='{}'></iframe>",
        site.named("/far")
    );
    let url = site.page("/", "Top", &body);
    node.show(&url);
    let before = taken(&mut node, json!({}));
    let (top, far) = (reference(&before, "Top"), reference(&before, "Far"));
    crash(&node, &site.named("/far"));
    let gone = format!("Element \"{far}\" not found");
    wait_for("the crash to be noticed", || {
        let click = json!({"kind": "click", "ref": far, "timeoutMs": 500});
        let told = node.post("/act", click).err();
        told.filter(|told| {
            told.contains(&gone)
                || told.contains("the frame is gone")
                || told.contains("Unknown ref")
        })
    });
    let click = json!({"kind": "click", "ref": top});
    assert_eq!(node.post("/act", click).unwrap()["url"], json!(url));
    let shown = taken(&mut node, json!({}));
    assert_eq!(shown["snapshot"], "- button \"Top\" [ref=e1]\n- iframe");
    let labelled = node.post("/screenshot", json!({"labels": true})).unwrap();
    assert_eq!(labelled["labelsCount"], 1);
    assert_eq!(
        node.get_with("/snapshot", json!({"frame": "iframe"})),
        Err("Error: Error: the frame is gone".to_owned())
    );
    // It shows something again when it is sent somewhere.
    let again = "() => { const it = document.querySelector('iframe'); it.src = it.src }";
    value(&mut node, again);
    let shown = wait_for("the frame to come back", || {
        let shown = taken(&mut node, json!({}));
        shown.to_string().contains("Far").then_some(shown)
    });
    let click = json!({"kind": "click", "ref": reference(&shown, "Far")});
    assert_eq!(node.post("/act", click).unwrap()["ok"], true);
}

/// Crashes what a browser has at this address, over its debugger.
fn crash(node: &Node, url: &str) {
    let address = ([127, 0, 0, 1], node.port).into();
    let request = format!(
        "GET /json/list HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: close\r\n\r\n",
        node.port
    );
    let answer = crate::support::process::http(address, &request);
    let (_, list) = answer.split_once("\r\n\r\n").unwrap();
    let list: serde_json::Value = serde_json::from_str(list).unwrap();
    let targets = list.as_array().unwrap();
    let target = targets
        .iter()
        .find(|target| target["url"] == url)
        .expect("a target");
    let socket = target["webSocketDebuggerUrl"].as_str().unwrap();
    let stream = std::net::TcpStream::connect(address).unwrap();
    let (mut socket, _) = tungstenite::client(socket, stream).unwrap();
    let order = json!({"id": 1, "method": "Page.crash"}).to_string();
    socket.send(tungstenite::Message::text(order)).unwrap();
    // Closed once it was obeyed, or told so.
    let _ = socket.read();
}

#[test]
fn what_a_killed_browser_was_asked_ends_and_the_next_request_starts_another() {
    let (mut node, site) = at("<button>Go</button>");
    let old = reference(&taken(&mut node, json!({})), "Go");
    node.post("/storage/local/set", json!({"key": "kept", "value": "1"}))
        .unwrap();
    let first = node.pid();
    let endless =
        json!({"kind": "evaluate", "fn": "() => new Promise(() => {})", "timeoutMs": 60_000});
    let wait = json!({"kind": "wait", "text": "never", "timeoutMs": 60_000});
    for (id, body) in [("evaluate", endless), ("wait", wait)] {
        let request = json!({"method": "POST", "path": "/act", "body": body, "timeoutMs": 60_000});
        node.caller.start_invoke(id, "browser.proxy", &request);
    }
    let navigate = json!({"method": "POST", "path": "/tabs/open", "body": {"url": site.silent("/silent")}, "timeoutMs": 60_000});
    node.caller.start_invoke("open", "browser.proxy", &navigate);
    wait_for("the page to be asked for", || {
        site.asked().contains(&"/silent".to_owned()).then_some(())
    });
    kill(first);
    for _ in 0..3 {
        let answer = loop {
            let request = node.caller.request();
            if request["method"] == "node.invoke.result" {
                break request["params"].clone();
            }
        };
        let ended = "Error: Error: the browser has ended; the next request starts it again";
        assert_eq!(payload(&answer), Err(ended.to_owned()), "{}", answer["id"]);
    }
    // Another browser, with other tabs and without the refs of those before.
    let again = node.show(&site.url("/"));
    assert_ne!(node.pid(), first);
    let tabs = node.get("/tabs").unwrap();
    assert_eq!(tabs["tabs"].as_array().unwrap().len(), 1, "{tabs}");
    assert_eq!(tabs["tabs"][0]["targetId"], again["targetId"]);
    let unknown = format!(
        "Error: Error: Unknown ref \"{old}\". Run a new snapshot and use a ref from that snapshot."
    );
    assert_eq!(
        node.post("/act", json!({"kind": "click", "ref": old})),
        Err(unknown)
    );
    assert_eq!(count_of(&node.get("/console").unwrap()), 0);
}

fn count_of(console: &serde_json::Value) -> usize {
    console["messages"].as_array().unwrap().len()
}
