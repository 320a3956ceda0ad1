//! Which requests there are, and what is said of all others and of what is wrong with one.

use serde_json::{Value, json};

use crate::node::{Node, payload};
use crate::site::Site;

/// Every route with a method; a name in brackets stands for any.
const ROUTES: &[(&str, &str)] = &[
    ("GET", "/"),
    ("GET", "/console"),
    ("GET", "/cookies"),
    ("GET", "/errors"),
    ("GET", "/profiles"),
    ("GET", "/requests"),
    ("GET", "/snapshot"),
    ("GET", "/storage/local"),
    ("GET", "/storage/session"),
    ("GET", "/tabs"),
    ("POST", "/act"),
    ("POST", "/cookies/clear"),
    ("POST", "/cookies/set"),
    ("POST", "/download"),
    ("POST", "/highlight"),
    ("POST", "/hooks/dialog"),
    ("POST", "/hooks/file-chooser"),
    ("POST", "/navigate"),
    ("POST", "/pdf"),
    ("POST", "/permissions/grant"),
    ("POST", "/profiles/create"),
    ("POST", "/reset-profile"),
    ("POST", "/screenshot"),
    ("POST", "/set/device"),
    ("POST", "/set/geolocation"),
    ("POST", "/set/headers"),
    ("POST", "/set/locale"),
    ("POST", "/set/media"),
    ("POST", "/set/offline"),
    ("POST", "/set/timezone"),
    ("POST", "/start"),
    ("POST", "/stop"),
    ("POST", "/storage/local/clear"),
    ("POST", "/storage/local/set"),
    ("POST", "/storage/session/clear"),
    ("POST", "/storage/session/set"),
    ("POST", "/tabs/action"),
    ("POST", "/tabs/focus"),
    ("POST", "/tabs/open"),
    ("POST", "/wait/download"),
];

/// Those that this program does not have.
const OUT_OF_SCOPE: &[(&str, &str)] = &[
    ("GET", "/doctor"),
    ("POST", "/response/body"),
    ("POST", "/set/credentials"),
    ("POST", "/trace/start"),
    ("POST", "/trace/stop"),
];

fn said(node: &mut Node, method: &str, path: &str, body: &Value) -> Result<Value, String> {
    node.ask(&json!({"method": method, "path": path, "body": body, "timeoutMs": 60_000}))
        .map(|payload| payload["result"].clone())
}

#[test]
fn what_is_no_route_or_out_of_scope_says_so_and_starts_no_browser() {
    let mut node = Node::start();
    let not_found = Err("Error: Not Found".to_owned());
    let every = [ROUTES, OUT_OF_SCOPE].concat();
    for (_, path) in &every {
        for method in ["GET", "POST", "DELETE"] {
            // What is not asked for elsewhere names a profile or a tab here.
            let named = method == "DELETE"
                && ["/profiles/", "/tabs/"]
                    .iter()
                    .any(|parent| path.starts_with(parent));
            let begun = |(other, begun): &(&str, &str)| *other == method && *begun == *path;
            if named || every.iter().any(begun) {
                continue;
            }
            assert_eq!(
                said(&mut node, method, path, &json!({})),
                not_found,
                "{method} {path}"
            );
        }
    }
    for (method, path) in OUT_OF_SCOPE {
        let told = format!("Error: {path} is not supported by this node host");
        assert_eq!(
            said(&mut node, method, path, &json!({})),
            Err(told),
            "{method} {path}"
        );
    }
    for path in [
        "/nowhere",
        "/TABS",
        "/tabs/open/x",
        "/storage",
        "/storage//set",
        "/storage/local/x",
        "/set",
        "/set/weather",
        "/hooks",
        "/act/click",
        "/../tabs",
        "/tabs?x=1",
        "/%74abs",
        "/\u{0}",
    ] {
        for method in ["GET", "POST", "DELETE"] {
            let told = said(&mut node, method, path, &json!({}));
            let named = Err("Error: browser not running".to_owned());
            assert!(
                told == not_found || (method == "DELETE" && told == named),
                "{method} {path}: {told:?}"
            );
        }
    }
    assert_eq!(node.get("/").unwrap()["running"], false);
    assert!(!node.home.state().join("browser").exists());
}

#[test]
fn a_request_that_is_none_is_told_what_it_needs() {
    let mut node = Node::start();
    for (params, error) in [
        (json!({}), "Error: INVALID_REQUEST: path required"),
        (
            json!({"path": " "}),
            "Error: INVALID_REQUEST: path required",
        ),
        (json!({"path": 7}), "Error: INVALID_REQUEST: path required"),
        (
            json!({"path": ["/"]}),
            "Error: INVALID_REQUEST: path required",
        ),
        (json!([]), "Error: INVALID_REQUEST: path required"),
        (json!("/"), "Error: INVALID_REQUEST: path required"),
        (
            json!({"path": "/", "profile": "nobody"}),
            "Error: BrowserProfileNotFoundError: Profile \"nobody\" not found. Available profiles: openclaw, user",
        ),
    ] {
        assert_eq!(node.ask(&params), Err(error.to_owned()), "{params}");
    }
    // Members of other types count as none, as do methods that nobody has.
    for params in [
        json!({"path": "/"}),
        json!({"path": "//"}),
        json!({"path": "/", "method": "PATCH"}),
        json!({"path": "/", "method": 7, "query": [], "body": "x", "timeoutMs": "1", "profile": {}}),
        json!({"path": "/", "method": null, "query": null, "body": null, "timeoutMs": null, "profile": null}),
    ] {
        let status = node.ask(&params).unwrap();
        assert_eq!(status["result"]["profile"], "openclaw", "{params}");
    }
    for text in ["", "{", "{\"path\":", "nonsense", "{\"path\":\"/\"} x"] {
        let id = node.caller.connect["device"]["id"].clone();
        let invoke = json!({"id": "i-2", "nodeId": id, "command": "browser.proxy", "paramsJSON": text, "timeoutMs": 30_000});
        node.caller.event("node.invoke.request", &invoke);
        let answer = loop {
            let request = node.caller.request();
            if request["method"] == "node.invoke.result" {
                break request["params"].clone();
            }
        };
        let error = payload(&answer).unwrap_err();
        let begin = if text.is_empty() {
            "Error: INVALID_REQUEST: paramsJSON required"
        } else {
            "SyntaxError: "
        };
        assert!(error.starts_with(begin), "{text:?}: {error}");
    }
    assert_eq!(node.get("/").unwrap()["running"], false);
}

#[test]
fn what_is_missing_or_of_another_type_is_told_before_a_browser_starts() {
    let mut node = Node::start();
    let uploads = node.home.state().join("media/uploads");
    let downloads = node.home.state().join("media/downloads");
    let outside = |name: &str, at: &std::path::Path| {
        format!(
            "Invalid path: must stay within {name} directory ({})",
            at.display()
        )
    };
    let (outside_uploads, outside_downloads) = (
        outside("uploads", &uploads),
        outside("downloads", &downloads),
    );
    for (path, body, error) in [
        ("/tabs/open", json!({}), "url is required"),
        ("/tabs/open", json!({"url": 7}), "url is required"),
        ("/tabs/open", json!({"url": " "}), "url is required"),
        (
            "/tabs/open",
            json!({"url": "nonsense"}),
            "Invalid URL: nonsense",
        ),
        (
            "/tabs/open",
            json!({"url": "javascript:1"}),
            "Navigation blocked: unsupported protocol \"javascript:\"",
        ),
        (
            "/tabs/open",
            json!({"url": "data:text/html,x"}),
            "Navigation blocked: unsupported protocol \"data:\"",
        ),
        (
            "/tabs/open",
            json!({"url": "about:config"}),
            "Navigation blocked: unsupported protocol \"about:\"",
        ),
        (
            "/tabs/open",
            json!({"url": "about:blank", "label": "a b"}),
            "tab label must be 1-64 letters, digits, \"_\", \".\", \":\" or \"-\"",
        ),
        ("/tabs/focus", json!({}), "browser not running"),
        ("/tabs/action", json!({}), "unknown tab action"),
        ("/tabs/action", json!({"action": 1}), "unknown tab action"),
        (
            "/tabs/action",
            json!({"action": "fly"}),
            "unknown tab action",
        ),
        (
            "/tabs/action",
            json!({"action": "new", "label": "ü"}),
            "tab label must be 1-64 letters, digits, \"_\", \".\", \":\" or \"-\"",
        ),
        (
            "/tabs/action",
            json!({"action": "label"}),
            "targetId is required",
        ),
        (
            "/tabs/action",
            json!({"action": "label", "targetId": "t1", "label": "x"}),
            "browser not running",
        ),
        (
            "/tabs/action",
            json!({"action": "close"}),
            "browser not running",
        ),
        (
            "/tabs/action",
            json!({"action": "close", "index": 0}),
            "browser not running",
        ),
        (
            "/tabs/action",
            json!({"action": "select"}),
            "index is required",
        ),
        (
            "/tabs/action",
            json!({"action": "select", "index": "0"}),
            "index is required",
        ),
        (
            "/tabs/action",
            json!({"action": "select", "index": -1}),
            "index is required",
        ),
        (
            "/tabs/action",
            json!({"action": "select", "index": 0}),
            "browser not running",
        ),
        ("/navigate", json!({}), "url is required"),
        ("/navigate", json!({"url": {}}), "url is required"),
        (
            "/navigate",
            json!({"url": "http://"}),
            "Invalid URL: http://",
        ),
        (
            "/navigate",
            json!({"url": "ftp://h/"}),
            "Navigation blocked: unsupported protocol \"ftp:\"",
        ),
        (
            "/screenshot",
            json!({"fullPage": true, "ref": "e1"}),
            "fullPage is not supported for element screenshots",
        ),
        (
            "/screenshot",
            json!({"type": "webp"}),
            "type must be png|jpeg",
        ),
        ("/act", json!({}), "kind is required"),
        ("/act", json!({"kind": "fly"}), "kind is required"),
        ("/cookies/set", json!({}), "cookie is required"),
        (
            "/cookies/set",
            json!({"cookie": "a=b"}),
            "cookie is required",
        ),
        (
            "/cookies/set",
            json!({"cookie": {}}),
            "cookie name and value are required",
        ),
        (
            "/cookies/set",
            json!({"cookie": {"name": "a", "value": 1, "url": "http://h"}}),
            "cookie name and value are required",
        ),
        (
            "/cookies/set",
            json!({"cookie": {"name": "a", "value": "b"}}),
            "cookie requires url, or domain and path",
        ),
        (
            "/cookies/set",
            json!({"cookie": {"name": "a", "value": "b", "domain": "h"}}),
            "cookie requires url, or domain and path",
        ),
        (
            "/storage/disk/set",
            json!({"key": "a"}),
            "kind must be local|session",
        ),
        (
            "/storage/disk/clear",
            json!({}),
            "kind must be local|session",
        ),
        ("/storage/local/set", json!({}), "key is required"),
        ("/storage/session/set", json!({"key": 7}), "key is required"),
        ("/hooks/dialog", json!({}), "accept is required"),
        (
            "/hooks/dialog",
            json!({"accept": "true"}),
            "accept is required",
        ),
        ("/hooks/file-chooser", json!({}), "paths are required"),
        (
            "/hooks/file-chooser",
            json!({"paths": "a"}),
            "paths are required",
        ),
        (
            "/hooks/file-chooser",
            json!({"paths": [7]}),
            "paths are required",
        ),
        (
            "/hooks/file-chooser",
            json!({"paths": ["/etc/passwd"]}),
            &outside_uploads,
        ),
        ("/download", json!({"path": "a"}), "ref is required"),
        ("/download", json!({"ref": "e1"}), "path is required"),
        (
            "/download",
            json!({"ref": "e1", "path": "../a"}),
            &outside_downloads,
        ),
        (
            "/wait/download",
            json!({"path": "/etc/a"}),
            &outside_downloads,
        ),
        ("/set/offline", json!({}), "offline is required"),
        (
            "/set/offline",
            json!({"offline": "yes"}),
            "offline is required",
        ),
        ("/set/headers", json!({}), "headers is required"),
        (
            "/set/headers",
            json!({"headers": ["a"]}),
            "headers is required",
        ),
        (
            "/set/geolocation",
            json!({}),
            "latitude and longitude are required (or set clear=true)",
        ),
        (
            "/set/geolocation",
            json!({"latitude": 1}),
            "latitude and longitude are required (or set clear=true)",
        ),
        (
            "/set/geolocation",
            json!({"latitude": 91, "longitude": 1}),
            "latitude and longitude are required (or set clear=true)",
        ),
        (
            "/set/media",
            json!({}),
            "colorScheme must be dark|light|no-preference|none",
        ),
        (
            "/set/media",
            json!({"colorScheme": "blue"}),
            "colorScheme must be dark|light|no-preference|none",
        ),
        ("/set/timezone", json!({}), "timezoneId is required"),
        ("/set/locale", json!({"locale": 1}), "locale is required"),
        ("/set/device", json!({}), "name is required"),
        (
            "/set/device",
            json!({"name": "iPhone 14"}),
            "/set/device is not supported by this node host",
        ),
        ("/highlight", json!({}), "ref is required"),
        ("/permissions/grant", json!({}), "origin is required"),
        (
            "/permissions/grant",
            json!({"origin": "http://h"}),
            "permissions are required",
        ),
        (
            "/permissions/grant",
            json!({"origin": "http://h", "permissions": "x"}),
            "permissions are required",
        ),
        ("/profiles/create", json!({}), "name is required"),
        ("/profiles/create", json!({"name": 7}), "name is required"),
    ] {
        assert_eq!(
            node.post(path, body.clone()),
            Err(format!("Error: {error}")),
            "{path} {body}"
        );
    }
    for (path, query, error) in [
        (
            "/snapshot",
            json!({"format": "html"}),
            "format must be ai|aria",
        ),
        (
            "/snapshot",
            json!({"format": "aria", "labels": true}),
            "labels/mode=efficient require format=ai",
        ),
        (
            "/snapshot",
            json!({"format": "aria", "mode": "efficient"}),
            "labels/mode=efficient require format=ai",
        ),
        ("/storage/disk", json!({}), "kind must be local|session"),
        (
            "/",
            json!({"profile": "x"}),
            "BrowserProfileNotFoundError: Profile \"x\" not found. Available profiles: openclaw, user",
        ),
    ] {
        assert_eq!(
            node.get_with(path, query.clone()),
            Err(format!("Error: {error}")),
            "{path} {query}"
        );
    }
    for headless in ["yes", "1", "TRUE"] {
        let request = json!({"method": "POST", "path": "/start", "query": {"headless": headless}});
        let told = "Error: Invalid headless value. Use \"true\" or \"false\".";
        assert_eq!(node.ask(&request), Err(told.to_owned()), "{headless}");
    }
    let personal =
        Err("Error: existing-session profiles are not supported by this node host".to_owned());
    for (method, path) in ROUTES {
        // Those say something of any profile.
        if ["/", "/profiles", "/profiles/create"].contains(path) {
            continue;
        }
        let body = json!({"profile": "user", "name": "x"});
        assert_eq!(
            said(&mut node, method, path, &body),
            personal,
            "{method} {path}"
        );
    }
    assert_eq!(node.get("/").unwrap()["running"], false);
    assert!(!node.home.state().join("browser").exists());
}

#[test]
fn a_tab_that_is_not_there_is_told_by_every_route_that_works_on_one() {
    let (mut node, site) = (Node::start(), Site::start());
    node.show(&site.page("/", "Here", ""));
    let unknown = Err("Error: tab not found: browser tab \"zz\" not found. Use action=tabs and pass suggestedTargetId, \
                       tabId, label, or raw targetId."
        .to_owned());
    for path in [
        "/snapshot",
        "/console",
        "/errors",
        "/requests",
        "/cookies",
        "/storage/local",
    ] {
        let query = json!({"targetId": "zz"});
        assert_eq!(node.get_with(path, query), unknown, "{path}");
    }
    for (path, body) in [
        ("/navigate", json!({"url": "about:blank"})),
        ("/screenshot", json!({})),
        ("/pdf", json!({})),
        ("/act", json!({"kind": "close"})),
        ("/act", json!({"kind": "wait", "timeMs": 1})),
        (
            "/cookies/set",
            json!({"cookie": {"name": "a", "value": "b", "url": "http://127.0.0.1"}}),
        ),
        ("/cookies/clear", json!({})),
        ("/storage/local/set", json!({"key": "a"})),
        ("/storage/session/clear", json!({})),
        ("/hooks/dialog", json!({"accept": true})),
        ("/wait/download", json!({})),
        ("/download", json!({"ref": "e1", "path": "a"})),
        ("/set/offline", json!({"offline": true})),
        ("/set/headers", json!({"headers": {}})),
        ("/set/geolocation", json!({"clear": true})),
        ("/set/media", json!({"colorScheme": "dark"})),
        ("/set/timezone", json!({"timezoneId": "UTC"})),
        ("/set/locale", json!({"locale": "de"})),
        ("/highlight", json!({"ref": "e1"})),
        ("/tabs/focus", json!({})),
        ("/tabs/action", json!({"action": "label", "label": "x"})),
    ] {
        let mut body = body;
        body["targetId"] = "zz".into();
        assert_eq!(node.post(path, body.clone()), unknown, "{path} {body}");
    }
    assert_eq!(node.delete("/tabs/zz"), unknown);
    let nowhere = |name: &str| {
        Err(format!(
            "Error: tab not found: browser tab \"{name}\" not found. Use action=tabs and pass \
                     suggestedTargetId, tabId, label, or raw targetId."
        ))
    };
    for action in ["close", "select"] {
        let body = json!({"action": action, "index": 7});
        assert_eq!(node.post("/tabs/action", body), nowhere("7"));
    }
    // All of it left the tab as it was.
    assert_eq!(node.get("/tabs").unwrap()["tabs"][0]["title"], "Here");
}

#[test]
fn a_wrong_action_is_told_before_a_browser_starts() {
    let mut node = Node::start();
    let wait =
        "wait requires at least one of: timeMs, text, textGone, selector, url, loadState, fn";
    let selector = "'selector' is not supported. Use 'ref' from snapshot instead. Take a snapshot, then name the element \
                    by its ref, such as \"e12\".";
    let nested = (0..6).fold(
        json!({"kind": "press", "key": "a"}),
        |inner, _| json!({"kind": "batch", "actions": [inner]}),
    );
    let many = vec![json!({"kind": "press", "key": "a"}); 101];
    for (body, error) in [
        (json!({"kind": 7}), "kind is required"),
        (json!({"kind": "Click"}), "kind is required"),
        (json!({"kind": "click"}), "click requires ref or selector"),
        (
            json!({"kind": "click", "ref": 7}),
            "click requires ref or selector",
        ),
        (
            json!({"kind": "click", "ref": "e1", "button": "side"}),
            "click button must be left|right|middle",
        ),
        (
            json!({"kind": "click", "ref": "e1", "modifiers": ["Hyper"]}),
            "modifiers must be Alt|Control|ControlOrMeta|Meta|Shift",
        ),
        (
            json!({"kind": "click", "ref": "e1", "modifiers": [7]}),
            "modifiers must be Alt|Control|ControlOrMeta|Meta|Shift",
        ),
        (
            json!({"kind": "click", "ref": "e1", "delayMs": 5_001}),
            "click delayMs exceeds maximum of 5000ms",
        ),
        (
            json!({"kind": "clickCoords"}),
            "clickCoords requires non-negative x and y",
        ),
        (
            json!({"kind": "clickCoords", "x": 1, "y": -1}),
            "clickCoords requires non-negative x and y",
        ),
        (
            json!({"kind": "clickCoords", "x": 1, "y": 1, "button": "no"}),
            "clickCoords button must be left|right|middle",
        ),
        (
            json!({"kind": "type", "text": "x"}),
            "type requires ref or selector",
        ),
        (json!({"kind": "type", "ref": "e1"}), "type requires text"),
        (
            json!({"kind": "type", "ref": "e1", "text": 7}),
            "type requires text",
        ),
        (json!({"kind": "press"}), "press requires key"),
        (
            json!({"kind": "press", "key": "a", "delayMs": 9_999}),
            "press delayMs exceeds maximum of 5000ms",
        ),
        (json!({"kind": "hover"}), "hover requires ref or selector"),
        (
            json!({"kind": "scrollIntoView"}),
            "scrollIntoView requires ref or selector",
        ),
        (
            json!({"kind": "drag", "endRef": "e1"}),
            "drag requires startRef or startSelector",
        ),
        (
            json!({"kind": "drag", "startRef": "e1"}),
            "drag requires endRef or endSelector",
        ),
        (
            json!({"kind": "select", "ref": "e1"}),
            "select requires ref/selector and values",
        ),
        (
            json!({"kind": "select", "values": ["a"]}),
            "select requires ref/selector and values",
        ),
        (
            json!({"kind": "select", "ref": "e1", "values": []}),
            "select requires ref/selector and values",
        ),
        (json!({"kind": "fill"}), "fill requires fields"),
        (
            json!({"kind": "fill", "fields": {}}),
            "fill requires fields",
        ),
        (
            json!({"kind": "fill", "fields": [{"value": "x"}]}),
            "fill requires fields",
        ),
        (
            json!({"kind": "resize"}),
            "resize requires positive width and height",
        ),
        (
            json!({"kind": "resize", "width": 0, "height": 9}),
            "resize requires positive width and height",
        ),
        (
            json!({"kind": "resize", "width": "wide", "height": 9}),
            "resize requires positive width and height",
        ),
        (json!({"kind": "wait"}), wait),
        (json!({"kind": "wait", "loadState": "ready"}), wait),
        (
            json!({"kind": "wait", "timeMs": 30_001}),
            "wait timeMs exceeds maximum of 30000ms",
        ),
        (json!({"kind": "evaluate"}), "evaluate requires fn"),
        (
            json!({"kind": "evaluate", "fn": " "}),
            "evaluate requires fn",
        ),
        (json!({"kind": "batch"}), "actions are required"),
        (
            json!({"kind": "batch", "actions": []}),
            "actions are required",
        ),
        (
            json!({"kind": "batch", "actions": ["press"]}),
            "kind is required",
        ),
        (
            json!({"kind": "batch", "actions": [{"kind": "press"}]}),
            "press requires key",
        ),
        (
            json!({"kind": "batch", "actions": many}),
            "batch exceeds maximum of 100 actions",
        ),
        (nested, "batch exceeds maximum depth of 5"),
        (
            json!({"kind": "batch", "actions": [{"kind": "close", "targetId": "t2"}]}),
            "batched actions must have the targetId of the batch",
        ),
        (
            json!({"kind": "press", "key": "a", "selector": "p"}),
            selector,
        ),
        (
            json!({"kind": "evaluate", "fn": "1", "selector": "p"}),
            selector,
        ),
        (json!({"kind": "close", "selector": "p"}), selector),
    ] {
        assert_eq!(
            node.post("/act", body.clone()),
            Err(format!("Error: {error}")),
            "{body}"
        );
    }
    assert_eq!(node.get("/").unwrap()["running"], false);
}
