//! What pages are told about the world around them.

use serde_json::{Value, json};

use crate::act::value;
use crate::node::Node;
use crate::site::Site;

/// How a page sees what it is told.
const SEEN: &str = "[matchMedia('(prefers-color-scheme: dark)').matches, new Date(0).getHours(), (1.5).toLocaleString()]";

const PLACE: &str = "new Promise(done => navigator.geolocation.getCurrentPosition(
    ({ coords }) => done([coords.latitude, coords.longitude, coords.accuracy]), error => done(error.code)))";

#[track_caller]
fn set(node: &mut Node, what: &str, body: Value) {
    let done = node
        .post(&format!("/set/{what}"), body.clone())
        .unwrap_or_else(|error| panic!("{what} {body}: {error}"));
    assert_eq!(done["ok"], true);
    assert!(
        done["targetId"].is_string() && done.get("url").is_none(),
        "{done}"
    );
}

#[test]
fn a_page_believes_what_it_is_told_and_so_does_the_next_one() {
    let (mut node, site) = (Node::start(), Site::start());
    site.page("/frame", "Frame", "<p>frame</p>");
    let body = format!("<iframe src='{}'></iframe>", site.named("/frame"));
    site.page("/", "World", &body);
    site.page("/other", "Other", "<p>other</p>");
    node.show(&site.url("/"));
    assert_eq!(value(&mut node, SEEN)[0], false);
    set(&mut node, "media", json!({"colorScheme": "dark"}));
    set(&mut node, "timezone", json!({"timezoneId": "Asia/Tokyo"}));
    set(&mut node, "locale", json!({"locale": "de-DE"}));
    set(
        &mut node,
        "headers",
        json!({"headers": {"X-Own": "7", "X-Number": 8, "X-None": null}}),
    );
    let told = json!([true, 9, "1,5"]);
    assert_eq!(value(&mut node, SEEN), told);
    // The same site again, another page of it, and another site, which is another process.
    for url in [
        site.url("/"),
        site.url("/other"),
        site.named("/other"),
        site.url("/"),
    ] {
        node.show(&url);
        assert_eq!(value(&mut node, SEEN), told, "{url}");
        let heads = site.heads();
        let last = heads.last().unwrap().to_lowercase();
        assert!(
            last.contains("x-own: 7\r\n") && last.contains("x-number: 8\r\n"),
            "{last}"
        );
        assert!(!last.contains("x-none"), "{last}");
    }
    // Another tab is told nothing of it.
    node.post(
        "/tabs/open",
        json!({"url": site.url("/other"), "label": "plain"}),
    )
    .unwrap();
    assert_eq!(value(&mut node, SEEN)[0], false);
    assert!(
        !site
            .heads()
            .last()
            .unwrap()
            .to_lowercase()
            .contains("x-own")
    );
    node.delete("/tabs/plain").unwrap();
    node.post("/tabs/focus", json!({"targetId": "t1"})).unwrap();
    // Everything can be taken back or changed.
    set(&mut node, "media", json!({"colorScheme": "none"}));
    set(
        &mut node,
        "timezone",
        json!({"timezoneId": "America/New_York"}),
    );
    set(&mut node, "locale", json!({"locale": "en-US"}));
    set(&mut node, "headers", json!({"headers": {}}));
    assert_eq!(value(&mut node, SEEN), json!([false, 19, "1.5"]));
    node.show(&site.url("/other"));
    assert!(
        !site
            .heads()
            .last()
            .unwrap()
            .to_lowercase()
            .contains("x-own")
    );
    for (scheme, dark, light) in [
        ("light", false, true),
        ("dark", true, false),
        ("no-preference", false, true),
        ("none", false, true),
    ] {
        set(&mut node, "media", json!({"colorScheme": scheme}));
        let seen = value(
            &mut node,
            "['dark', 'light'].map(it => matchMedia(`(prefers-color-scheme: ${it})`).matches)",
        );
        assert_eq!(seen, json!([dark, light]), "{scheme}");
    }
    for (what, body, error) in [
        (
            "timezone",
            json!({"timezoneId": "Mars/Base"}),
            "Error: Error: Invalid timezone ID: Mars/Base",
        ),
        (
            "locale",
            json!({"locale": "not a locale"}),
            "Error: Error: Invalid locale name",
        ),
    ] {
        assert_eq!(
            node.post(&format!("/set/{what}"), body),
            Err(error.to_owned()),
            "{what}"
        );
    }
}

#[test]
fn a_page_is_where_it_is_told_to_be() {
    let (mut node, site) = (Node::start(), Site::start());
    let url = site.page("/", "Place", "");
    node.show(&url);
    set(
        &mut node,
        "geolocation",
        json!({"latitude": 52.5, "longitude": 13.25, "accuracy": 30}),
    );
    for _ in 0..2 {
        assert_eq!(value(&mut node, PLACE), json!([52.5, 13.25, 30]));
        node.show(&url);
    }
    set(
        &mut node,
        "geolocation",
        json!({"latitude": -33, "longitude": 18}),
    );
    assert_eq!(value(&mut node, PLACE), json!([-33, 18, 0]));
    let state = "navigator.permissions.query({ name: 'geolocation' }).then(it => it.state)";
    assert_eq!(value(&mut node, state), "granted");
    set(&mut node, "geolocation", json!({"clear": true}));
    assert_eq!(value(&mut node, state), "prompt");
    // Another origin than that of the page.
    let named = site.named("/");
    let origin = named.trim_end_matches('/');
    set(
        &mut node,
        "geolocation",
        json!({"latitude": 1, "longitude": 2, "origin": origin}),
    );
    assert_eq!(value(&mut node, state), "prompt");
    node.show(&named);
    assert_eq!(value(&mut node, PLACE), json!([1, 2, 0]));
}

#[test]
fn a_page_without_a_network_reaches_nobody() {
    let (mut node, site) = (Node::start(), Site::start());
    let url = site.page("/", "Here", "<p>here</p>");
    node.show(&url);
    let read = "fetch('/').then(() => 'there', () => 'nobody')";
    assert_eq!(value(&mut node, read), "there");
    set(&mut node, "offline", json!({"offline": true}));
    assert_eq!(value(&mut node, "[navigator.onLine]"), json!([false]));
    assert_eq!(value(&mut node, read), "nobody");
    let before = site.asked().len();
    let error = format!("Error: Error: net::ERR_INTERNET_DISCONNECTED at {url}");
    assert_eq!(node.post("/navigate", json!({"url": url})), Err(error));
    assert_eq!(site.asked().len(), before);
    set(&mut node, "offline", json!({"offline": false}));
    node.show(&url);
    assert_eq!(value(&mut node, read), "there");
}

#[test]
fn permissions_are_granted_to_an_origin() {
    let (mut node, site) = (Node::start(), Site::start());
    let url = site.page("/", "Permissions", "");
    node.show(&url);
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
    let state = |name: &str| {
        format!("navigator.permissions.query({{ name: '{name}' }}).then(it => it.state)")
    };
    for name in ["geolocation", "notifications"] {
        assert_eq!(value(&mut node, &state(name)), "granted", "{name}");
    }
    let needed = json!({"origin": origin, "permissions": ["telepathy"]});
    let error = node.post("/permissions/grant", needed).unwrap_err();
    assert!(
        error.starts_with("Error: Error: ") && error.contains("telepathy"),
        "{error}"
    );
    let nowhere = json!({"origin": "nonsense", "permissions": ["geolocation"]});
    let error = node.post("/permissions/grant", nowhere).unwrap_err();
    assert!(error.starts_with("Error: Error: "), "{error}");
}
