//! Cookies and storage of pages.

use serde_json::json;

use crate::node::Node;
use crate::site::Site;

#[test]
fn cookies_are_set_listed_and_cleared() {
    let (mut node, site) = (Node::start(), Site::start());
    let url = site.answer(
        "/",
        "200 OK",
        "Content-Type: text/html\r\nSet-Cookie: own=1; HttpOnly\r\n",
        "<p>c</p>",
    );
    node.show(&url);
    let cookie = json!({"name": "given", "value": "2", "url": url, "sameSite": "Lax"});
    let target = node
        .post("/cookies/set", json!({"cookie": cookie}))
        .unwrap()["targetId"]
        .clone();
    let listed = node.get("/cookies").unwrap();
    assert_eq!(listed["targetId"], target);
    let mut cookies = listed["cookies"].as_array().unwrap().clone();
    cookies.sort_by_key(|cookie| cookie["name"].to_string());
    let expected = json!({"name": "given", "value": "2", "domain": "127.0.0.1", "path": "/", "expires": -1,
        "httpOnly": false, "secure": false, "sameSite": "Lax"});
    assert_eq!(cookies[0], expected);
    assert_eq!(
        (&cookies[1]["name"], &cookies[1]["httpOnly"]),
        (&json!("own"), &json!(true))
    );
    node.post("/cookies/clear", json!({})).unwrap();
    assert_eq!(node.get("/cookies").unwrap()["cookies"], json!([]));
    assert_eq!(
        node.post("/cookies/set", json!({})),
        Err("Error: cookie is required".to_owned())
    );
}

#[test]
fn storage_is_set_read_and_cleared_per_kind() {
    let (mut node, site) = (Node::start(), Site::start());
    node.show(&site.page(
        "/",
        "Stored",
        "<script>localStorage.setItem('own', '1')</script>",
    ));
    node.post(
        "/storage/local/set",
        json!({"key": "k'\"", "value": "v\u{2028}"}),
    )
    .unwrap();
    node.post("/storage/session/set", json!({"key": "s", "value": 7}))
        .unwrap();
    let local = node.get("/storage/local").unwrap();
    assert_eq!(local["values"], json!({"own": "1", "k'\"": "v\u{2028}"}));
    let one = node
        .get_with("/storage/local", json!({"key": "own"}))
        .unwrap();
    assert_eq!(one["values"], json!({"own": "1"}));
    assert_eq!(
        node.get("/storage/session").unwrap()["values"],
        json!({"s": "7"})
    );
    node.post("/storage/local/clear", json!({})).unwrap();
    assert_eq!(node.get("/storage/local").unwrap()["values"], json!({}));
    assert_eq!(
        node.get("/storage/session").unwrap()["values"],
        json!({"s": "7"})
    );
    assert_eq!(
        node.get("/storage/disk"),
        Err("Error: kind must be local|session".to_owned())
    );
    assert_eq!(
        node.post("/storage/local/set", json!({})),
        Err("Error: key is required".to_owned())
    );
}
