//! Tabs and pages: opening, going somewhere, pictures, documents.

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

/// Width and height of a PNG.
fn png_size(bytes: &[u8]) -> (u32, u32) {
    assert_eq!(&bytes[..8], b"\x89PNG\r\n\x1a\n");
    let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
    (number(16), number(20))
}

/// The one file of a payload and its bytes.
fn file(payload: &serde_json::Value) -> (&serde_json::Value, Vec<u8>) {
    let file = &payload["files"][0];
    assert_eq!(file["path"], payload["result"]["path"]);
    let base64 = file["base64"].as_str().unwrap();
    (
        file,
        data_encoding::BASE64.decode(base64.as_bytes()).unwrap(),
    )
}

#[test]
fn pictures_of_what_is_seen_of_the_whole_page_and_of_one_element() {
    let (mut node, site) = (Node::start(), Site::start());
    let box_ =
        "<div id=box style='width:120px;height:80px;background:#0a0;margin-top:2500px'></div>";
    let url = site.page(
        "/long",
        "Long",
        &format!("<style>body{{margin:0}}</style>{box_}"),
    );
    node.show(&url);
    let mut shoot = |body: serde_json::Value| {
        node.ask(
            &json!({"method": "POST", "path": "/screenshot", "body": body, "timeoutMs": 60_000}),
        )
    };
    let seen = shoot(json!({})).unwrap();
    let (seen_file, bytes) = file(&seen);
    let (width, height) = png_size(&bytes);
    assert!(
        width > 300 && height > 300 && height < 2_000,
        "{width}x{height}"
    );
    assert_eq!(seen_file["mimeType"], "image/png");

    let full = shoot(json!({"fullPage": true})).unwrap();
    let (_, full_height) = png_size(&file(&full).1);
    assert_eq!(full_height, 2_000, "2580 pixels made to fit");

    let element = shoot(json!({"element": "#box"})).unwrap();
    assert_eq!(png_size(&file(&element).1), (120, 80));
    let jpeg = shoot(json!({"type": "jpeg"})).unwrap();
    let (jpeg_file, bytes) = file(&jpeg);
    assert_eq!(
        (&jpeg_file["mimeType"], &bytes[..2]),
        (&json!("image/jpeg"), &[0xff, 0xd8][..])
    );

    for (body, error) in [
        (
            json!({"fullPage": true, "element": "#box"}),
            "Error: fullPage is not supported for element screenshots",
        ),
        (
            json!({"element": "#none", "timeoutMs": 300}),
            "Error: Error: Element \"#none\" not found or not visible. Run a new snapshot to see current page elements.",
        ),
        (
            json!({"ref": "e7"}),
            "Error: Error: Unknown ref \"e7\". Run a new snapshot and use a ref from that snapshot.",
        ),
        (json!({"type": "gif"}), "Error: type must be png|jpeg"),
    ] {
        assert_eq!(shoot(body), Err(error.to_owned()));
    }
}

#[test]
fn a_document_of_a_page() {
    let (mut node, site) = (Node::start(), Site::start());
    let url = site.page("/", "Print", "<p>printed</p>");
    node.show(&url);
    let printed = node
        .ask(&json!({"method": "POST", "path": "/pdf", "timeoutMs": 60_000}))
        .unwrap();
    let (printed_file, bytes) = file(&printed);
    assert_eq!(
        (&printed_file["mimeType"], &bytes[..5]),
        (&json!("application/pdf"), &b"%PDF-"[..])
    );
    assert_eq!(printed["result"]["url"], json!(url));
}

#[test]
fn a_page_whose_script_never_ends_costs_its_requests_their_time_alone() {
    let (mut node, site) = (Node::start(), Site::start());
    let fine = site.page("/fine", "Fine", "");
    let busy = site.page(
        "/busy",
        "Busy",
        "<script>setTimeout(() => { for (;;); }, 50)</script>",
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
