//! Tabs and pages: opening, going somewhere, pages that do not load.

use serde_json::json;

use crate::node::Node;
use crate::site::Site;
use crate::support::wait_for;

#[test]
fn tabs_are_opened_found_focused_and_closed() {
    let (mut node, site) = (Node::start(), Site::start());
    let one = site.page("/one", "One", "<p>1</p>");
    let two = site.page("/two", "Two", "<p>2</p>");
    let tab = node
        .post("/tabs/open", json!({"url": one, "label": "first"}))
        .unwrap();
    assert_eq!(
        (&tab["title"], &tab["url"], &tab["type"]),
        (&json!("One"), &json!(one), &json!("page"))
    );
    assert_eq!(
        (&tab["suggestedTargetId"], &tab["label"]),
        (&json!("first"), &json!("first"))
    );
    let id = tab["targetId"].as_str().unwrap().to_owned();
    assert_eq!(
        tab["wsUrl"],
        format!("ws://127.0.0.1:{}/devtools/page/{id}", node.port)
    );
    let other = node.post("/tabs/open", json!({"url": two})).unwrap();
    assert_eq!(other["suggestedTargetId"], other["tabId"]);

    // The tab that was used last is the current one.
    let shown = node.post("/navigate", json!({"url": one})).unwrap();
    assert_eq!(shown["targetId"], other["targetId"]);
    for name in [
        "first",
        &id,
        &id.to_lowercase()[..12],
        tab["tabId"].as_str().unwrap(),
    ] {
        assert_eq!(
            node.post("/tabs/focus", json!({"targetId": name})),
            Ok(json!({"ok": true})),
            "{name}"
        );
    }
    let shown = node.show(&two);
    assert_eq!(
        (&shown["targetId"], &shown["url"]),
        (&json!(id), &json!(two))
    );

    let labelled = json!({"action": "label", "targetId": other["tabId"], "label": "second"});
    assert_eq!(
        node.post("/tabs/action", labelled).unwrap()["tab"]["label"],
        "second"
    );
    let selected = node
        .post("/tabs/action", json!({"action": "select", "index": 0}))
        .unwrap();
    assert_eq!(selected["ok"], true);
    assert_eq!(node.delete("/tabs/second"), Ok(json!({"ok": true})));
    let error = "Error: tab not found: browser tab \"second\" not found. Use action=tabs and pass suggestedTargetId, \
                 tabId, label, or raw targetId.";
    assert_eq!(
        node.post("/navigate", json!({"url": one, "targetId": "second"})),
        Err(error.to_owned())
    );
    for (path, body, error) in [
        ("/tabs/open", json!({}), "Error: url is required"),
        ("/tabs/focus", json!({}), "Error: targetId is required"),
        (
            "/tabs/action",
            json!({"action": "fly"}),
            "Error: unknown tab action",
        ),
    ] {
        assert_eq!(node.post(path, body), Err(error.to_owned()));
    }
}

#[test]
fn no_more_than_eight_tabs_stay_open() {
    let (mut node, site) = (Node::start(), Site::start());
    let url = site.page("/", "Many", "");
    for _ in 0..10 {
        node.post("/tabs/open", json!({"url": url})).unwrap();
    }
    let last = node.post("/tabs/open", json!({"url": url})).unwrap();
    let listed = node.get("/tabs").unwrap();
    let tabs = listed["tabs"].as_array().unwrap();
    assert_eq!(tabs.len(), 8, "{listed}");
    assert_eq!(tabs[7]["targetId"], last["targetId"]);
}

#[test]
fn a_page_is_where_it_was_sent_when_the_answer_comes() {
    let (mut node, site) = (Node::start(), Site::start());
    let end = site.page("/end", "End", "<h1>end</h1>");
    let start = site.answer("/start", "302 Found", "Location: /end\r\n", "");
    assert_eq!(node.show(&start)["url"], json!(end));
    // Pages lead on by scripts too, before they have loaded: that of this one waits for a picture.
    let picture = site.silent("/picture");
    let on = site.page(
        "/on",
        "On",
        &format!("<img src='{picture}'><script>location = '/end'</script>"),
    );
    assert_eq!(node.show(&on)["url"], json!(end));
    let fragment = format!("{end}#part");
    assert_eq!(node.show(&fragment)["url"], json!(fragment));
    assert_eq!(node.show("about:blank")["url"], "about:blank");
    for (url, error) in [
        (
            "file:///etc/passwd",
            "Error: Navigation blocked: unsupported protocol \"file:\"",
        ),
        (
            "chrome://version",
            "Error: Navigation blocked: unsupported protocol \"chrome:\"",
        ),
        ("nonsense", "Error: Invalid URL: nonsense"),
    ] {
        assert_eq!(
            node.post("/navigate", json!({"url": url})),
            Err(error.to_owned())
        );
    }
    let port = crate::support::process::free_port();
    let nobody = format!("http://127.0.0.1:{port}/");
    let error = format!("Error: Error: net::ERR_CONNECTION_REFUSED at {nobody}");
    assert_eq!(node.post("/navigate", json!({"url": nobody})), Err(error));
}

#[test]
fn a_page_that_does_not_load_costs_its_request_its_time() {
    let (mut node, site) = (Node::start(), Site::start());
    node.post("/start", json!({})).unwrap();
    let silent = site.silent("/silent");
    let request =
        json!({"method": "POST", "path": "/navigate", "body": {"url": silent}, "timeoutMs": 500});
    let port = node.port;
    let expected = format!(
        "Error: browser proxy timed out for POST /navigate after 500ms; ws-backed browser action; profile=openclaw; \
         status(running=true, cdpHttp=true, cdpReady=true, transport=cdp, cdpUrl=http://127.0.0.1:{port})"
    );
    assert_eq!(node.ask(&request), Err(expected));
    let fine = site.page("/fine", "Fine", "");
    assert_eq!(node.show(&fine)["url"], json!(fine));
}

#[test]
fn a_page_whose_script_never_ends_costs_its_requests_their_time_alone() {
    let (mut node, site) = (Node::start(), Site::start());
    let fine = site.page("/fine", "Fine", "");
    let busy = site.page(
        "/busy",
        "Busy",
        "<script>setTimeout(() => { for (;;); }, 2_000)</script>",
    );
    node.post("/tabs/open", json!({"url": fine, "label": "fine"}))
        .unwrap();
    node.post("/tabs/open", json!({"url": busy, "label": "busy"}))
        .unwrap();
    let clear = |target: &str| json!({"method": "POST", "path": "/storage/local/clear", "body": {"targetId": target}, "timeoutMs": 2_000});
    // It begins a moment after the page has loaded.
    let error = wait_for("the script to begin", || node.ask(&clear("busy")).err());
    assert!(error.starts_with("Error: browser proxy timed out for POST /storage/local/clear after 2000ms; browser action; "), "{error}");
    assert!(node.ask(&clear("fine")).is_ok());
    assert_eq!(node.delete("/tabs/busy"), Ok(json!({"ok": true})));
    assert_eq!(
        node.get("/tabs").unwrap()["tabs"].as_array().unwrap().len(),
        2
    );
}
