//! What pages are told about the world around them.

use serde_json::{Value, json};

use crate::node::Node;
use crate::site::Site;

fn value(node: &mut Node, expression: &str) -> Value {
    node.post("/act", json!({"kind": "evaluate", "fn": expression}))
        .unwrap()["result"]
        .clone()
}

#[test]
fn a_page_believes_what_it_is_told() {
    let (mut node, site) = (Node::start(), Site::start());
    let url = site.page("/", "World", "<p>p</p>");
    node.show(&url);
    let read = "fetch('/').then(() => 'there', () => 'nobody')";
    for (path, body, expression, expected) in [
        (
            "/set/offline",
            json!({"offline": true}),
            read,
            json!("nobody"),
        ),
        (
            "/set/offline",
            json!({"offline": false}),
            read,
            json!("there"),
        ),
        (
            "/set/media",
            json!({"colorScheme": "dark"}),
            "matchMedia('(prefers-color-scheme: dark)').matches",
            json!(true),
        ),
        (
            "/set/media",
            json!({"colorScheme": "light"}),
            "matchMedia('(prefers-color-scheme: dark)').matches",
            json!(false),
        ),
        (
            "/set/timezone",
            json!({"timezoneId": "Asia/Tokyo"}),
            "new Date(0).getHours()",
            json!(9),
        ),
        (
            "/set/locale",
            json!({"locale": "de-DE"}),
            "(1.5).toLocaleString()",
            json!("1,5"),
        ),
    ] {
        let done = node.post(path, body).unwrap();
        assert_eq!(done["ok"], true, "{path}");
        assert_eq!(value(&mut node, expression), expected, "{path}");
    }
    let origin = url.trim_end_matches('/');
    let granted = json!({"origin": origin, "permissions": ["geolocation"],
        "optionalPermissions": ["notifications", "telepathy"]});
    assert_eq!(
        node.post("/permissions/grant", granted),
        Ok(
            json!({"ok": true, "origin": origin, "grantedPermissions": ["geolocation", "notifications"],
            "unsupportedPermissions": ["telepathy"]})
        )
    );
    node.post(
        "/set/geolocation",
        json!({"latitude": 52.5, "longitude": 13.25}),
    )
    .unwrap();
    let place = "new Promise((done, failed) => navigator.geolocation.getCurrentPosition(
        ({ coords }) => done([coords.latitude, coords.longitude]), failed))";
    assert_eq!(value(&mut node, place), json!([52.5, 13.25]));
}

#[test]
fn headers_go_along_with_what_a_page_asks_for() {
    let (mut node, site) = (Node::start(), Site::start());
    let url = site.page("/", "Headers", "");
    node.show(&url);
    node.post(
        "/set/headers",
        json!({"headers": {"X-Own": "7", "X-Number": 8}}),
    )
    .unwrap();
    node.show(&url);
    let heads = site.heads();
    let last = heads.last().unwrap().to_lowercase();
    assert!(
        last.contains("x-own: 7") && last.contains("x-number: 8"),
        "{last}"
    );
}

#[test]
fn what_is_missing_or_not_done_is_told() {
    let mut node = Node::start();
    for (path, body, error) in [
        ("/set/offline", json!({}), "offline is required"),
        (
            "/set/headers",
            json!({"headers": "x"}),
            "headers is required",
        ),
        (
            "/set/geolocation",
            json!({}),
            "latitude and longitude are required (or set clear=true)",
        ),
        (
            "/set/media",
            json!({"colorScheme": "blue"}),
            "colorScheme must be dark|light|no-preference|none",
        ),
        ("/set/timezone", json!({}), "timezoneId is required"),
        ("/set/locale", json!({}), "locale is required"),
        ("/set/device", json!({}), "name is required"),
        (
            "/set/device",
            json!({"name": "iPhone 14"}),
            "/set/device is not supported by this node host",
        ),
        (
            "/set/credentials",
            json!({"username": "u"}),
            "/set/credentials is not supported by this node host",
        ),
        ("/permissions/grant", json!({}), "origin is required"),
        (
            "/permissions/grant",
            json!({"origin": "http://h"}),
            "permissions are required",
        ),
    ] {
        assert_eq!(
            node.post(path, body),
            Err(format!("Error: {error}")),
            "{path}"
        );
    }
}
