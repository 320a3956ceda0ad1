//! What is armed for the next dialog or input: for one origin, and not for ever.

use serde_json::{Value, json};

use crate::node::Node;
use crate::site::Site;
use crate::snapshots::{reference, taken};

fn value(node: &mut Node, expression: &str) -> Value {
    node.post("/act", json!({"kind": "evaluate", "fn": expression}))
        .unwrap()["result"]
        .clone()
}

fn press(node: &mut Node) {
    node.post("/act", json!({"kind": "click", "selector": "#b"}))
        .unwrap();
}

fn start() -> (Node, Site) {
    let (node, site) = (Node::start(), Site::start());
    node.home.write("media/uploads/a.txt", b"alpha");
    (node, site)
}

const CHOOSE: &str = "<input id=i type=file><button id=b onclick='i.click()'>choose</button>";

#[test]
fn files_are_given_to_the_origin_that_they_were_meant_for() {
    let (mut node, site) = start();
    let url = site.page("/", "Upload", CHOOSE);
    let arm = |node: &mut Node| {
        node.post("/hooks/file-chooser", json!({"paths": ["a.txt"]}))
            .unwrap();
    };
    node.show(&url);
    arm(&mut node);
    // The same page under another name is another origin.
    node.show(&site.named("/"));
    press(&mut node);
    assert_eq!(value(&mut node, "i.files.length"), 0);
    node.show(&url);
    arm(&mut node);
    node.show(&url);
    press(&mut node);
    let arrived = json!({"kind": "wait", "fn": "() => i.files.length === 1"});
    node.post("/act", arrived).unwrap();
}

#[test]
fn files_wait_for_an_input_no_longer_than_they_are_told() {
    let (mut node, site) = start();
    node.show(&site.page("/", "Upload", CHOOSE));
    let brief = json!({"paths": ["a.txt"], "timeoutMs": 1});
    node.post("/hooks/file-chooser", brief).unwrap();
    press(&mut node);
    assert_eq!(value(&mut node, "i.files.length"), 0);
}

#[test]
fn an_input_of_the_snapshot_is_given_files_by_its_ref() {
    let (mut node, site) = start();
    let url = site.page("/", "Upload", "<input id=i type=file aria-label=Report>");
    node.show(&url);
    let snapshot = taken(&mut node, json!({}));
    let input = reference(&snapshot, "Report");
    let given = json!({"paths": ["a.txt"], "inputRef": input});
    assert_eq!(
        node.post("/hooks/file-chooser", given.clone()),
        Ok(json!({"ok": true}))
    );
    assert_eq!(value(&mut node, "i.files[0].text()"), "alpha");
    // Another document, another input.
    node.show(&url);
    let error = node.post("/hooks/file-chooser", given).unwrap_err();
    assert!(error.starts_with("Error: Error: Unknown ref"), "{error}");
}

#[test]
fn a_dialog_of_another_origin_is_dismissed() {
    let (mut node, site) = start();
    let ask = "<script>window.said = confirm('really?')</script>";
    let quiet = site.page("/quiet", "Quiet", "");
    let asking = site.page("/ask", "Ask", ask);
    for (url, expected) in [(site.named("/ask"), false), (asking, true)] {
        node.show(&quiet);
        node.post("/hooks/dialog", json!({"accept": true})).unwrap();
        node.show(&url);
        assert_eq!(value(&mut node, "window.said"), json!(expected), "{url}");
    }
}
