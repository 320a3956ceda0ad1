//! Cookies and storage of pages.

use serde_json::{Value, json};

use crate::act::value;
use crate::node::Node;
use crate::site::Site;

/// The cookies of the browser by name.
fn cookies(node: &mut Node) -> Vec<Value> {
    let listed = node.get("/cookies").unwrap();
    let mut cookies = listed["cookies"].as_array().unwrap().clone();
    cookies.sort_by_key(|cookie| cookie["name"].to_string());
    cookies
}

#[test]
fn cookies_are_set_listed_and_cleared() {
    let (mut node, site) = (Node::start(), Site::start());
    let headers = "Content-Type: text/html\r\nSet-Cookie: own=1; HttpOnly; SameSite=Strict\r\n";
    let url = site.answer("/", "200 OK", headers, "<p>c</p>");
    site.page("/deep/page", "Deep", "");
    node.show(&url);
    let target = node.get("/console").unwrap()["targetId"].clone();
    let expires = 4_000_000_000_u64;
    for cookie in [
        json!({"name": "given", "value": "2", "url": url, "sameSite": "Lax"}),
        json!({"name": "deep", "value": "3", "domain": "127.0.0.1", "path": "/deep", "expires": expires, "httpOnly": true}),
        json!({"name": "lasting", "value": "a b", "domain": "127.0.0.1", "path": "/", "expires": -1, "sameSite": null}),
        json!({"name": "sub", "value": "4", "domain": ".a.example", "path": "/", "secure": true, "sameSite": "None"}),
    ] {
        let done = node.post("/cookies/set", json!({"cookie": cookie}));
        assert_eq!(
            done,
            Ok(json!({"ok": true, "targetId": target})),
            "{cookie}"
        );
    }
    let row = |name: &str, value: &str, domain: &str, path: &str, more: [Value; 4]| {
        let [expires, http_only, secure, same_site] = more;
        json!({"name": name, "value": value, "domain": domain, "path": path, "expires": expires,
            "httpOnly": http_only, "secure": secure, "sameSite": same_site})
    };
    let mut expected = vec![
        row(
            "deep",
            "3",
            "127.0.0.1",
            "/deep",
            [json!(expires), json!(true), json!(false), json!("Lax")],
        ),
        row(
            "given",
            "2",
            "127.0.0.1",
            "/",
            [json!(-1), json!(false), json!(false), json!("Lax")],
        ),
        row(
            "lasting",
            "a b",
            "127.0.0.1",
            "/",
            [json!(-1), json!(false), json!(false), json!("Lax")],
        ),
        row(
            "own",
            "1",
            "127.0.0.1",
            "/",
            [json!(-1), json!(true), json!(false), json!("Strict")],
        ),
        row(
            "sub",
            "4",
            ".a.example",
            "/",
            [json!(-1), json!(false), json!(true), json!("None")],
        ),
    ];
    let mut seen = cookies(&mut node);
    // Browsers keep none for ever.
    assert!(
        seen[0]["expires"].as_f64().unwrap() > 1_795_000_000.0,
        "{}",
        seen[0]
    );
    seen[0]["expires"].take();
    expected[0]["expires"].take();
    assert_eq!(seen, expected);
    assert_eq!(
        value(&mut node, "document.cookie.split('; ').sort()"),
        json!(["given=2", "lasting=a b"])
    );
    node.show(&site.url("/deep/page"));
    let heads = site.heads();
    let sent = heads.last().unwrap();
    for pair in ["deep=3", "given=2", "lasting=a b", "own=1"] {
        assert!(sent.contains(pair), "{pair}: {sent}");
    }
    // The same name and place again is the same cookie.
    let again = json!({"name": "given", "value": "22", "url": url});
    node.post("/cookies/set", json!({"cookie": again})).unwrap();
    assert_eq!(cookies(&mut node)[1]["value"], "22");
    for (cookie, error) in [
        (
            json!({"name": "a", "value": "b", "url": "nonsense"}),
            "Error: Invalid URL: nonsense",
        ),
        (
            json!({"name": "a", "value": "b", "domain": "a b", "path": "/"}),
            "Error: browser navigation blocked by policy",
        ),
        (
            json!({"name": "a", "value": "b", "url": url, "secure": "yes"}),
            "Error: Error: ",
        ),
    ] {
        let refused = node
            .post("/cookies/set", json!({"cookie": cookie}))
            .unwrap_err();
        assert!(refused.starts_with(error), "{refused}");
    }
    assert_eq!(cookies(&mut node).len(), 5);
    assert_eq!(
        node.post("/cookies/clear", json!({})),
        Ok(json!({"ok": true, "targetId": target}))
    );
    assert_eq!(cookies(&mut node), [Value::Null; 0]);
    node.show(&site.url("/deep/page"));
    assert!(
        !site
            .heads()
            .last()
            .unwrap()
            .to_lowercase()
            .contains("cookie:")
    );
}

#[test]
fn storage_is_set_read_and_cleared_per_kind() {
    let (mut node, site) = (Node::start(), Site::start());
    let url = site.page("/", "Stored", "");
    let target = node.show(&url)["targetId"].clone();
    for (kind, other) in [("local", "session"), ("session", "local")] {
        let at = |what: &str| format!("/storage/{kind}{what}");
        let done = Ok(json!({"ok": true, "targetId": target}));
        // Names that mean something to scripts, or are hard to write in one.
        for (key, given, stored) in [
            ("own", json!("1"), "1"),
            ("k'\"\\", json!("v\u{2028}</script>"), "v\u{2028}</script>"),
            ("__proto__", json!("p"), "p"),
            ("length", json!(7), "7"),
            ("getItem", json!(true), "true"),
            ("empty", json!(null), ""),
            ("object", json!({"a": [1]}), "{\"a\":[1]}"),
        ] {
            assert_eq!(
                node.post(&at("/set"), json!({"key": key, "value": given})),
                done,
                "{key}"
            );
            let one = node.get_with(&at(""), json!({"key": key})).unwrap();
            assert_eq!(one["values"], json!({key: stored}), "{key}");
            assert_eq!((&one["targetId"], &one["url"]), (&target, &json!(url)));
        }
        let all = node.get(&at("")).unwrap();
        assert_eq!(all["values"].as_object().unwrap().len(), 7, "{all}");
        let missing = node.get_with(&at(""), json!({"key": "none"})).unwrap();
        assert_eq!(missing["values"], json!({}));
        node.post(&at("/set"), json!({"key": "own", "value": "2"}))
            .unwrap();
        assert_eq!(
            node.get_with(&at(""), json!({"key": "own"})).unwrap()["values"],
            json!({"own": "2"})
        );
        assert_eq!(value(&mut node, &format!("{kind}Storage.own")), "2");
        assert_eq!(node.post(&at("/clear"), json!({})), done);
        assert_eq!(node.get(&at("")).unwrap()["values"], json!({}));
        // The other kind is another one.
        node.post(&at("/set"), json!({"key": "mine", "value": kind}))
            .unwrap();
        let there = node.get(&format!("/storage/{other}")).unwrap();
        assert_ne!(there["values"]["mine"], json!(kind), "{there}");
    }
    // What is full, and a page that has no storage, say so.
    let large = json!({"key": "large", "value": "x".repeat(6_000_000)});
    let full = node.post("/storage/local/set", large).unwrap_err();
    assert!(
        full.starts_with("Error: Error: ") && full.contains("exceeded the quota"),
        "{full}"
    );
    node.show("about:blank");
    let denied = node.get("/storage/local").unwrap_err();
    assert!(
        denied.starts_with("Error: Error: SecurityError: ") || denied.contains("Access is denied"),
        "{denied}"
    );
    // Another site has its own.
    node.show(&site.named("/"));
    assert_eq!(node.get("/storage/local").unwrap()["values"], json!({}));
}
