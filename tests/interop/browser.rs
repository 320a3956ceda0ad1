//! This node host's browser behind unmodified gateways of both releases, and behind this program's own: what it sends
//! arrives the same.

use std::path::Path;

use serde_json::{Value, json};

use crate::operator::{Operator, asker, gateway_home};
use crate::reference::{self, NEWER, OLDER, Release, wait_long};
use crate::support::home::Home;
use crate::support::peer::Peer;
use crate::support::process::{Gateway, Running, SECRET, free_port};
use crate::support::scripted;
use crate::support::site::Site;

fn node(home: &Home, port: u16) -> Running {
    let root = rustix::process::geteuid().is_root();
    let debugged = free_port();
    home.write_config(&format!(
        "{{ browser: {{ cdpPortRangeStart: {debugged}, headless: true, noSandbox: {root},
            ssrfPolicy: {{ dangerouslyAllowPrivateNetwork: true }} }} }}"
    ));
    let environment = [("OPENCLAW_GATEWAY_TOKEN", SECRET)];
    scripted::node_host(home, &environment, &["--port", &port.to_string()])
}

/// Who asks a node host for pages through its gateway.
struct Caller {
    peer: Peer,
    node: String,
    asked: u32,
}

impl Caller {
    fn ask(&mut self, request: Value) -> Result<Value, Value> {
        self.asked += 1;
        let params = json!({"nodeId": self.node, "command": "browser.proxy", "params": request, "timeoutMs": 60_000,
            "idempotencyKey": format!("k{}", self.asked)});
        let answer = self.peer.call("node.invoke", params)?;
        Ok(answer["payload"].clone())
    }

    #[track_caller]
    fn post(&mut self, path: &str, body: Value) -> Value {
        let request = json!({"method": "POST", "path": path, "body": body, "timeoutMs": 60_000});
        self.ask(request)
            .unwrap_or_else(|error| panic!("{path}: {error}"))
    }
}

/// The bytes of the only file of a payload: those that the node host wrote. What differs from one browser to the next
/// is taken out of the result.
#[track_caller]
fn taken(payload: &mut Value, place: &str, mime: &str) -> Vec<u8> {
    let files = payload["files"].as_array().unwrap();
    assert_eq!(
        (files.len(), &files[0]["mimeType"]),
        (1, &json!(mime)),
        "{}",
        payload["result"]
    );
    let base64 = files[0]["base64"].as_str().unwrap();
    let bytes = data_encoding::BASE64.decode(base64.as_bytes()).unwrap();
    let path = payload.pointer(&format!("/result{place}")).unwrap();
    assert_eq!(*path, files[0]["path"]);
    let written = std::fs::read(Path::new(path.as_str().unwrap())).unwrap();
    assert!(written == bytes, "{path} is not what arrived");
    *payload.pointer_mut(&format!("/result{place}")).unwrap() = Value::Null;
    payload["result"]["targetId"].take();
    bytes
}

/// What arrived of one visit: results, and files by their kind.
#[derive(PartialEq)]
struct Visit {
    results: Vec<Value>,
    files: Vec<(&'static str, Vec<u8>)>,
    errors: Vec<String>,
}

fn visit(caller: &mut Caller, site: &Site) -> Visit {
    let page = site.page(
        "/",
        "Forwarded",
        "<style>body { margin: 0 }</style><div style='width:200px;height:100px;background:#008000'></div>
        <button>Go</button> <a href='/file'>Report</a>",
    );
    // Every byte there is, several times.
    let bytes: String = (0..2_000).map(|at| char::from(at as u8 & 0x7f)).collect();
    let headers = "Content-Type: application/octet-stream\r\nContent-Disposition: attachment; filename=report.bin\r\n";
    site.answer("/file", "200 OK", headers, &bytes);
    let opened = wait_long("a tab", || {
        let action = json!({"method": "POST", "path": "/tabs/action", "body": {"action": "new", "label": "mine"}});
        caller
            .ask(action)
            .ok()
            .map(|answer| answer["result"]["tab"].clone())
    });
    assert_eq!(
        (&opened["url"], &opened["label"]),
        (&json!("about:blank"), &json!("mine"))
    );
    caller.post("/navigate", json!({"url": page}));
    caller.post(
        "/act",
        json!({"kind": "resize", "width": 800, "height": 600}),
    );

    let mut visit = Visit {
        results: Vec::new(),
        files: Vec::new(),
        errors: Vec::new(),
    };
    let mut keep = |mut payload: Value, place: &str, mime: &'static str| {
        let bytes = taken(&mut payload, place, mime);
        visit.results.push(payload["result"].take());
        visit.files.push((mime, bytes));
    };
    keep(caller.post("/screenshot", json!({})), "/path", "image/png");
    keep(
        caller.post("/screenshot", json!({"fullPage": true, "type": "jpeg"})),
        "/path",
        "image/jpeg",
    );
    let request = json!({"path": "/snapshot", "query": {"labels": true, "interactive": true}, "timeoutMs": 60_000});
    let snapshot = caller.ask(request).unwrap();
    assert_eq!(
        snapshot["result"]["labelsCount"], 2,
        "{}",
        snapshot["result"]
    );
    let refs = snapshot["result"]["refs"].as_object().unwrap();
    let link = refs
        .iter()
        .find(|(_, named)| named["name"] == "Report")
        .unwrap()
        .0
        .clone();
    keep(snapshot, "/imagePath", "image/png");
    let download = caller.post("/download", json!({"ref": link, "path": "kept.bin"}));
    assert_eq!(
        download["result"]["download"]["suggestedFilename"],
        "report.bin"
    );
    keep(download, "/download/path", "application/octet-stream");
    assert!(visit.files[3].1 == bytes.as_bytes());
    let mut printed = caller.post("/pdf", json!({}));
    // Its time of creation differs.
    assert!(taken(&mut printed, "/path", "application/pdf").starts_with(b"%PDF-"));
    visit.results.push(printed["result"].take());
    for request in [
        json!({"path": "/nowhere"}),
        json!({"method": "POST", "path": "/trace/start"}),
        json!({"method": "POST", "path": "/navigate", "body": {"url": "file:///etc/passwd"}}),
        json!({"method": "POST", "path": "/act", "body": {"kind": "click", "ref": "e99"}}),
        json!({"method": "POST", "path": "/act", "body": {"kind": "fly"}}),
        json!({"path": "/snapshot", "query": {"format": "aria", "labels": "true"}}),
        json!({"path": "/console", "query": {"targetId": "zz"}}),
        json!({"path": "/tabs", "profile": "nobody"}),
        json!({"path": ""}),
    ] {
        let error = caller.ask(request).unwrap_err();
        visit
            .errors
            .push(error["message"].as_str().unwrap().to_owned());
    }
    let expected = [
        "Error: Not Found",
        "/trace/start is not supported",
        "unsupported protocol \"file:\"",
        "Unknown ref \"e99\"",
        "kind is required",
        "require format=ai",
        "browser tab \"zz\" not found",
        "Profile \"nobody\" not found",
        "path required",
    ];
    for (error, expected) in visit.errors.iter().zip(expected) {
        assert!(error.contains(expected), "{error}");
    }
    visit
}

/// The same visit behind this program's own gateway.
fn behind_our_own(site: &Site) -> Visit {
    let gateway = Gateway::start();
    let home = Home::new();
    let port = gateway.address.port();
    let mut host = node(&home, port);
    let node = Operator::new(port).approve();
    let peer = Peer::operator(gateway.address, &gateway.token);
    let visit = visit(
        &mut Caller {
            peer,
            node,
            asked: 0,
        },
        site,
    );
    host.signal("TERM");
    assert_eq!(host.exit_code(), 0, "{}", host.output());
    visit
}

fn a_browser_works_behind(release: Release) {
    let site = Site::start();
    let port = free_port();
    let gateway_home = gateway_home(port);
    let gateway = release.gateway(&gateway_home);
    let home = Home::new();
    let mut host = node(&home, port);
    let node = Operator::new(port).approve();
    // The newer release asks for an administrator here.
    let peer = asker(port);
    let theirs = visit(
        &mut Caller {
            peer,
            node,
            asked: 0,
        },
        &site,
    );
    host.signal("TERM");
    assert_eq!(host.exit_code(), 0, "{}", host.output());
    drop(gateway);
    reference::nothing_left_behind(&gateway_home);

    let ours = behind_our_own(&site);
    assert_eq!(ours.results, theirs.results);
    for ((mime, ours), (_, theirs)) in ours.files.iter().zip(&theirs.files) {
        assert!(
            ours == theirs,
            "{mime}: {} and {} bytes differ",
            ours.len(),
            theirs.len()
        );
    }
    assert_eq!(ours.errors, theirs.errors);
}

#[test]
fn the_older_reference_gateway_forwards_requests_to_browsers_and_their_files() {
    a_browser_works_behind(OLDER);
}

#[test]
fn the_newer_reference_gateway_forwards_requests_to_browsers_and_their_files() {
    a_browser_works_behind(NEWER);
}
