//! Tabs as callers name them: lists, indexes, prefixes, labels, and which one is meant when none is named.

use serde_json::{Value, json};

use crate::node::Node;
use crate::site::Site;
use crate::support::wait_for;

fn ids(node: &mut Node) -> Vec<String> {
    let listed = node.get("/tabs").unwrap();
    let tabs = listed["tabs"].as_array().unwrap().iter();
    tabs.map(|tab| tab["targetId"].as_str().unwrap().to_owned())
        .collect()
}

fn open(node: &mut Node, url: &str) -> String {
    let tab = node.post("/tabs/open", json!({"url": url})).unwrap();
    tab["targetId"].as_str().unwrap().to_owned()
}

fn action(node: &mut Node, body: Value) -> Value {
    node.post("/tabs/action", body.clone())
        .unwrap_or_else(|error| panic!("{body}: {error}"))
}

#[test]
fn tabs_are_listed_selected_and_closed_by_index() {
    let (mut node, site) = (Node::start(), Site::start());
    assert_eq!(
        action(&mut node, json!({"action": "list"})),
        json!({"ok": true, "tabs": []})
    );
    assert_eq!(node.get("/").unwrap()["running"], false);
    let made = action(&mut node, json!({"action": "new", "label": "own"}));
    let own = made["tab"]["targetId"].clone();
    assert_eq!(
        (&made["tab"]["label"], &made["tab"]["url"]),
        (&json!("own"), &json!("about:blank"))
    );
    let first = open(&mut node, &site.page("/1", "One", ""));
    let second = open(&mut node, &site.page("/2", "Two", ""));
    // What the browser had when it started comes first.
    let all = ids(&mut node);
    let at = |id: &str| all.iter().position(|other| other == id).unwrap();
    assert!(at(own.as_str().unwrap()) < at(&first) && at(&first) < at(&second));
    let listed = action(&mut node, json!({"action": "list"}));
    assert_eq!(
        (&listed["ok"], &listed["tabs"]),
        (&json!(true), &node.get("/tabs").unwrap()["tabs"])
    );

    let selected = action(&mut node, json!({"action": "select", "index": at(&first)}));
    assert_eq!(selected, json!({"ok": true, "targetId": first}));
    let console = node.get("/console").unwrap();
    assert_eq!(
        console["targetId"],
        json!(first),
        "the tab that was selected is meant"
    );
    // Without an index it is the tab that was used last; then the first one is.
    assert_eq!(
        action(&mut node, json!({"action": "close"})),
        json!({"ok": true, "targetId": first})
    );
    assert!(!ids(&mut node).contains(&first));
    let remaining = ids(&mut node);
    assert_eq!(
        node.get("/console").unwrap()["targetId"],
        json!(remaining[0])
    );
    let index = remaining.iter().position(|id| *id == second).unwrap();
    assert_eq!(
        action(&mut node, json!({"action": "close", "index": index})),
        json!({"ok": true, "targetId": second})
    );
    assert!(!ids(&mut node).contains(&second));

    let labelled = action(
        &mut node,
        json!({"action": "label", "targetId": "own", "label": "new.1"}),
    );
    assert_eq!(
        (&labelled["tab"]["label"], &labelled["tab"]["targetId"]),
        (&json!("new.1"), &own)
    );
    let wrong = json!({"action": "label", "targetId": "new.1", "label": "a b"});
    assert_eq!(
        node.post("/tabs/action", wrong),
        Err(
            "Error: tab label must be 1-64 letters, digits, \"_\", \".\", \":\" or \"-\""
                .to_owned()
        )
    );
    // The last one may go too: the next request opens another.
    while let Some(id) = ids(&mut node).first() {
        assert_eq!(node.delete(&format!("/tabs/{id}")), Ok(json!({"ok": true})));
    }
    let again = node.show(&site.url("/1"));
    assert_eq!(ids(&mut node), [again["targetId"].as_str().unwrap()]);
}

#[test]
fn the_beginning_of_an_id_names_a_tab_when_it_is_the_only_one() {
    let (mut node, site) = (Node::start(), Site::start());
    let url = site.page("/", "Page", "");
    // Ids are random: some two begin alike sooner or later.
    let (first, pair) = wait_for("two tabs with the same first letter", || {
        open(&mut node, &url);
        let all = ids(&mut node);
        let alike = |id: &String| all.iter().filter(|other| other[..1] == id[..1]).count() > 1;
        let first = all.iter().find(|id| alike(id))?.clone();
        let second = all.iter().rfind(|id| id[..1] == first[..1])?.clone();
        Some((first.clone(), [first, second]))
    });
    let focus = |node: &mut Node, name: &str| node.post("/tabs/focus", json!({"targetId": name}));
    let ambiguous = Err("Error: ambiguous target id prefix".to_owned());
    for name in [first[..1].to_owned(), first[..1].to_lowercase()] {
        assert_eq!(focus(&mut node, &name), ambiguous);
        assert_eq!(
            node.get_with("/console", json!({"targetId": name})),
            ambiguous
        );
        assert_eq!(
            node.post("/navigate", json!({"url": url, "targetId": name})),
            ambiguous
        );
        assert_eq!(node.delete(&format!("/tabs/{name}")), ambiguous);
    }
    // As many letters as tell the two apart are enough.
    let [one, other] = &pair;
    let common = one
        .bytes()
        .zip(other.bytes())
        .take_while(|(a, b)| a == b)
        .count();
    for id in &pair {
        assert_eq!(focus(&mut node, &id[..=common]), Ok(json!({"ok": true})));
        assert_eq!(node.get("/console").unwrap()["targetId"], json!(id));
    }
    let nobody = format!("{first}0");
    let error = focus(&mut node, &nobody).unwrap_err();
    assert!(
        error.starts_with(&format!(
            "Error: tab not found: browser tab \"{nobody}\" not found."
        )),
        "{error}"
    );
}

#[test]
fn a_window_that_a_page_opens_is_a_tab_and_does_not_become_the_current_one() {
    let (mut node, site) = (Node::start(), Site::start());
    site.page("/popup", "Popup", "<p>popup</p>");
    let own = node.show(&site.page(
        "/",
        "Opener",
        "<button onclick=\"window.open('/popup')\">Open</button>",
    ));
    node.post("/act", json!({"kind": "click", "selector": "button"}))
        .unwrap();
    let popup = wait_for("the window", || {
        let tabs = node.get("/tabs").unwrap();
        let tabs = tabs["tabs"].as_array().unwrap();
        tabs.iter().find(|tab| tab["title"] == "Popup").cloned()
    });
    assert_eq!(node.get("/console").unwrap()["targetId"], own["targetId"]);
    let query = json!({"targetId": popup["tabId"]});
    let snapshot = node.get_with("/snapshot", query).unwrap();
    assert_eq!(snapshot["snapshot"], "- paragraph: popup");
    // One that closes itself is none any more.
    let close = json!({"kind": "evaluate", "fn": "() => { setTimeout(close) }", "targetId": popup["tabId"]});
    node.post("/act", close).unwrap();
    wait_for("the window to close", || {
        let tabs = node.get("/tabs").unwrap()["tabs"].to_string();
        (!tabs.contains("Popup")).then_some(())
    });
}
