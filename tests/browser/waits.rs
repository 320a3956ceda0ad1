//! Waiting for a page: every condition, and what is said when it does not come about.

use serde_json::{Value, json};

use crate::act::{act, at, fails, value};
use crate::node::{Node, payload};
use crate::site::Site;

fn waiting(condition: &Value) -> Value {
    let mut body = condition.clone();
    body["kind"] = "wait".into();
    body
}

#[test]
fn what_does_not_come_about_in_time_is_named() {
    let (mut node, site) = at("<p id=p>Here</p><p style='display:none' id=no>Hidden</p>");
    let silent = site.silent("/silent");
    for (condition, error) in [
        (
            json!({"text": "nowhere"}),
            "waiting for text \"nowhere\" took longer than 500ms",
        ),
        (
            json!({"text": "hidden"}),
            "waiting for text \"hidden\" took longer than 500ms",
        ),
        (
            json!({"textGone": "here"}),
            "waiting for text \"here\" to go took longer than 500ms",
        ),
        (
            json!({"url": "**/there"}),
            "waiting for url \"**/there\" took longer than 500ms",
        ),
        (
            json!({"fn": "false"}),
            "waiting for fn took longer than 500ms",
        ),
        (
            json!({"fn": "() => new Promise(() => {})"}),
            "waiting for fn took longer than 500ms",
        ),
        (
            json!({"selector": "#none"}),
            "Element \"#none\" not found or not visible. Run a new snapshot to see current page elements.",
        ),
        (
            json!({"selector": "#no"}),
            "Element \"#no\" not found or not visible. Run a new snapshot to see current page elements.",
        ),
        // The first that does not hold is named, whatever else does.
        (
            json!({"text": "here", "url": "x"}),
            "waiting for url \"x\" took longer than 500ms",
        ),
        (json!({"timeMs": 5_000}), "wait took longer than 500ms"),
    ] {
        for limit in [json!(500), json!(-7), json!("1")] {
            let mut body = waiting(&condition);
            body["timeoutMs"] = limit;
            fails(&mut node, body, &format!("Error: Error: {error}"));
        }
    }
    for (condition, begin) in [
        (
            json!({"fn": "() => { throw new Error('own') }"}),
            "Error: Error: Error: own",
        ),
        (json!({"fn": "("}), "Error: Error: SyntaxError: "),
        (json!({"selector": "<"}), "Error: Error: SyntaxError: "),
    ] {
        let error = node.post("/act", waiting(&condition)).unwrap_err();
        assert!(error.starts_with(begin), "{error}");
    }
    // A request that never ends keeps the network from coming to rest, and only that.
    value(
        &mut node,
        &format!("() => {{ fetch('{silent}').catch(() => 0) }}"),
    );
    act(&mut node, waiting(&json!({"loadState": "load"})));
    let busy = format!("<p>Here</p><script>fetch('{silent}').catch(() => 0)</script>");
    node.show(&site.page("/busy", "Busy", &busy));
    let mut rest = waiting(&json!({"loadState": "networkidle"}));
    rest["timeoutMs"] = 1_500.into();
    fails(
        &mut node,
        rest,
        "Error: Error: wait took longer than 1500ms",
    );
    // The request's own time counts too.
    let request = json!({"method": "POST", "path": "/act", "body": waiting(&json!({"text": "nowhere"})), "timeoutMs": 300});
    let error = node.ask(&request).unwrap_err();
    assert!(
        error.starts_with(
            "Error: browser proxy timed out for POST /act after 300ms; ws-backed browser action; "
        ),
        "{error}"
    );
}

#[test]
fn a_page_that_never_loads_is_used_as_far_as_it_is_there() {
    let (mut node, site) = (Node::start(), Site::start());
    let silent = site.silent("/silent");
    let slow = site.page("/slow", "Slow", &format!("<p id=p>Here</p><button id=b onclick='b.textContent = 1'>0</button><img src='{silent}'>"));
    node.show(&site.page("/", "Fine", "<p>fine</p>"));
    // Both at once: each has 20 seconds.
    for (id, path) in [("navigate", "/navigate"), ("open", "/tabs/open")] {
        let request =
            json!({"method": "POST", "path": path, "body": {"url": slow}, "timeoutMs": 60_000});
        node.caller.start_invoke(id, "browser.proxy", &request);
    }
    let expected = format!("Error: Error: navigation to {slow} took longer than 20000ms");
    for _ in 0..2 {
        let answer = loop {
            let request = node.caller.request();
            if request["method"] == "node.invoke.result" {
                break request["params"].clone();
            }
        };
        assert_eq!(payload(&answer), Err(expected.clone()), "{}", answer["id"]);
    }
    // The tab that was opened for it is gone, the other one shows what has come.
    let tabs = node.get("/tabs").unwrap();
    assert_eq!(tabs["tabs"].as_array().unwrap().len(), 1, "{tabs}");
    assert_eq!(tabs["tabs"][0]["url"], json!(slow));
    for condition in [
        json!({"loadState": "domcontentloaded"}),
        json!({"text": "here"}),
        json!({"selector": "#p"}),
        json!({"url": slow}),
    ] {
        act(&mut node, waiting(&condition));
    }
    for state in ["load", "networkidle"] {
        let mut body = waiting(&json!({"loadState": state}));
        body["timeoutMs"] = 500.into();
        let error = node.post("/act", body).unwrap_err();
        assert!(error.ends_with("took longer than 500ms"), "{error}");
    }
    act(&mut node, json!({"kind": "click", "selector": "#b"}));
    assert_eq!(value(&mut node, "b.textContent"), "1");
    let snapshot = node.get("/snapshot").unwrap();
    assert!(
        snapshot["snapshot"]
            .as_str()
            .unwrap()
            .contains("button \"1\""),
        "{snapshot}"
    );
    assert_eq!(
        node.post("/screenshot", json!({})).unwrap()["url"],
        json!(slow)
    );
    assert_eq!(node.post("/pdf", json!({})).unwrap()["url"], json!(slow));
}

#[test]
fn a_wait_goes_on_over_documents_and_holds_up_no_other_action() {
    let (mut node, site) = at("<p>first</p>");
    site.page("/then", "Then", "<p id=second>second</p>");
    let request = |condition: Value| json!({"method": "POST", "path": "/act", "body": waiting(&condition), "timeoutMs": 60_000});
    let conditions = [
        json!({"text": "second", "textGone": "first", "timeoutMs": 60_000}),
        json!({"url": "**/then", "timeoutMs": 60_000}),
        json!({"selector": "#second", "timeoutMs": 60_000}),
        json!({"fn": "() => document.title === 'Then'", "timeoutMs": 60_000}),
    ];
    for (number, condition) in conditions.into_iter().enumerate() {
        node.caller
            .start_invoke(&format!("w{number}"), "browser.proxy", &request(condition));
    }
    let leave = json!({"method": "POST", "path": "/act", "timeoutMs": 60_000,
        "body": {"kind": "evaluate", "fn": "() => { location = '/then' }"}});
    node.caller.start_invoke("leave", "browser.proxy", &leave);
    let mut answered = Vec::new();
    while answered.len() < 5 {
        let request = node.caller.request();
        if request["method"] == "node.invoke.result" {
            let result = payload(&request["params"]).unwrap();
            assert_eq!(
                result["result"]["url"],
                site.url("/then"),
                "{}",
                request["params"]["id"]
            );
            answered.push(request["params"]["id"].as_str().unwrap().to_owned());
        }
    }
    answered.sort();
    assert_eq!(answered, ["leave", "w0", "w1", "w2", "w3"]);
}
