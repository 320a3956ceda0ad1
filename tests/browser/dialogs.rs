//! Dialogs: every one is answered, the next one as the caller wants it.

use serde_json::{Value, json};

use crate::act::{act, at, value};
use crate::node::Node;
use crate::site::Site;

#[track_caller]
fn arm(node: &mut Node, body: Value) {
    assert_eq!(node.post("/hooks/dialog", body), Ok(json!({"ok": true})));
}

#[test]
fn the_next_dialog_is_answered_as_it_was_wanted_and_every_other_one_dismissed() {
    let (mut node, _site) = at("");
    for (armed, dialog, expected) in [
        (None, "[alert('a')]", json!([null])),
        (None, "confirm('c')", json!(false)),
        (None, "prompt('p', 'usual')", json!(null)),
        (Some(json!({"accept": true})), "[alert('a')]", json!([null])),
        (Some(json!({"accept": true})), "confirm('c')", json!(true)),
        (Some(json!({"accept": false})), "confirm('c')", json!(false)),
        (
            Some(json!({"accept": true, "promptText": "x"})),
            "confirm('c')",
            json!(true),
        ),
        (
            Some(json!({"accept": true, "promptText": "Ada"})),
            "prompt('p', 'usual')",
            json!("Ada"),
        ),
        (
            Some(json!({"accept": true, "promptText": ""})),
            "prompt('p', 'usual')",
            json!(""),
        ),
        (
            Some(json!({"accept": true, "promptText": " \u{fc}\n"})),
            "prompt('p')",
            json!(" \u{fc}\n"),
        ),
        (
            Some(json!({"accept": true, "promptText": 7})),
            "prompt('p')",
            json!(""),
        ),
        (
            Some(json!({"accept": false, "promptText": "x"})),
            "prompt('p', 'usual')",
            json!(null),
        ),
        // Nobody asked while it was wanted.
        (
            Some(json!({"accept": true, "timeoutMs": 0})),
            "confirm('c')",
            json!(false),
        ),
        // One answer is for one dialog.
        (
            Some(json!({"accept": true})),
            "[confirm(1), confirm(2)]",
            json!([true, false]),
        ),
        (
            Some(json!({"accept": true})),
            "[alert(1), confirm(2)]",
            json!([null, false]),
        ),
    ] {
        if let Some(body) = &armed {
            arm(&mut node, body.clone());
        }
        let expression = format!("() => {dialog}");
        assert_eq!(
            value(&mut node, &expression),
            expected,
            "{armed:?} {dialog}"
        );
    }
    // The last word counts.
    arm(&mut node, json!({"accept": true}));
    arm(&mut node, json!({"accept": false}));
    assert_eq!(value(&mut node, "() => confirm('c')"), false);
    // It waits for its dialog over documents, and for no other tab's.
    arm(&mut node, json!({"accept": true}));
    let blank = node
        .post("/tabs/open", json!({"url": "about:blank"}))
        .unwrap();
    assert_eq!(value(&mut node, "() => confirm('c')"), false);
    node.delete(&format!("/tabs/{}", blank["targetId"].as_str().unwrap()))
        .unwrap();
    node.post("/tabs/focus", json!({"targetId": "t1"})).unwrap();
    assert_eq!(value(&mut node, "() => confirm('c')"), true);
}

#[test]
fn frames_ask_through_their_page() {
    let (mut node, site) = (Node::start(), Site::start());
    site.page(
        "/near",
        "Near",
        "<script>top.postMessage('near ' + confirm('n'), '*')</script>",
    );
    site.page(
        "/far",
        "Far",
        "<script>top.postMessage('far ' + confirm('f'), '*')</script>",
    );
    let body = format!(
        "<script>window.heard = []; addEventListener('message', e => heard.push(e.data));
         window.show = src => {{ const frame = document.createElement('iframe'); frame.src = src; document.body.append(frame) }}
         </script><p data-far='{}'>p</p>",
        site.named("/far")
    );
    let url = site.page("/", "Top", &body);
    node.show(&url);
    for (source, name) in [(site.url("/near"), "near"), (site.named("/far"), "far")] {
        for accept in [true, false] {
            arm(&mut node, json!({"accept": accept}));
            value(
                &mut node,
                &format!("() => {{ heard = []; show('{source}') }}"),
            );
            act(&mut node, json!({"kind": "wait", "fn": "heard.length > 0"}));
            assert_eq!(
                value(&mut node, "heard"),
                json!([format!("{name} {accept}")])
            );
        }
    }
}

#[test]
fn a_page_that_asks_whether_it_may_be_left_is_left_unless_somebody_wants_it_to_stay() {
    let (mut node, site) = at("<button id=b>b</button><script>
        addEventListener('beforeunload', event => { event.preventDefault(); event.returnValue = 'stay' })</script>");
    let (here, there) = (site.url("/"), site.page("/there", "There", ""));
    // Only a page that was used may ask.
    act(&mut node, json!({"kind": "click", "selector": "#b"}));
    arm(&mut node, json!({"accept": false}));
    let stayed = node.post("/navigate", json!({"url": there}));
    assert_eq!(
        stayed,
        Err(format!("Error: Error: net::ERR_ABORTED at {there}"))
    );
    assert_eq!(value(&mut node, "document.URL"), json!(here));
    assert_eq!(node.show(&there)["url"], json!(there));
    // A tab is closed without a question.
    node.show(&here);
    act(&mut node, json!({"kind": "click", "selector": "#b"}));
    arm(&mut node, json!({"accept": false}));
    assert_eq!(node.delete("/tabs/t1"), Ok(json!({"ok": true})));
    assert!(!node.get("/tabs").unwrap().to_string().contains(&here));
}
