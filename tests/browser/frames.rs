//! Elements in frames: of the same site, of another one, in each other, scrolled, replaced and removed.

use serde_json::json;

use crate::act::{act, value};
use crate::node::Node;
use crate::picture::Picture;
use crate::site::Site;
use crate::snapshots::{reference, taken};

/// What a frame has to work with; it tells the page above what happens.
const PARTS: &str = "<style>body { margin: 0 } button, input, select, div { display: block; margin: 4px; height: 20px; width: 80px }</style>
    <button aria-label='NAME go' style='border:0;background:#008000'></button><input aria-label='NAME text'>
    <input type=checkbox aria-label='NAME box'><select aria-label='NAME list'><option>1<option>2</select>
    <div role=button tabindex=0 aria-label='NAME from' style='background:#ccc'></div>
    <div role=button tabindex=0 aria-label='NAME to' style='background:#999'></div>
    <script>const tell = event => top.postMessage(['NAME', event.type, event.target.value || ''].join(' ').trim(), '*');
      for (const kind of ['click', 'input', 'change', 'mouseover', 'mousedown', 'mouseup']) addEventListener(kind, tell)
    </script>";

/// A page with a frame of its own site, which has one of another site, which has one of the first again; all of them
/// lie below what is seen, one in the other.
fn nested(site: &Site) -> String {
    let frame = |name: &str, inner: &str| {
        let parts = PARTS.replace("NAME", name);
        let inner = (!inner.is_empty()).then(|| {
            format!("<p style='height:700px'>far down</p><iframe src='{inner}' width=300 height=250 style='border:3px solid'></iframe>")
        });
        format!("{parts}{}", inner.unwrap_or_default())
    };
    let deep = site.page("/deep", "Deep", &frame("Deep", ""));
    site.page("/far", "Far", &frame("Far", &deep));
    let near = site.page("/near", "Near", &frame("Near", &site.named("/far")));
    let body = format!(
        "<script>window.heard = []; addEventListener('message', e => heard.push(e.data))</script>
         <p style='height:900px'>far down</p><iframe id=near src='{near}' width=400 height=300></iframe>"
    );
    site.page("/", "Top", &body)
}

#[test]
fn every_action_reaches_into_frames_however_deep_they_are() {
    let (mut node, site) = (Node::start(), Site::start());
    let url = nested(&site);
    node.show(&url);
    let snapshot = taken(&mut node, json!({}));
    for name in ["Near", "Far", "Deep"] {
        let part = |part: &str| reference(&snapshot, &format!("{name} {part}"));
        let steps = [
            (json!({"kind": "click", "ref": part("go")}), "click"),
            (json!({"kind": "hover", "ref": part("to")}), "mouseover"),
            (
                json!({"kind": "type", "ref": part("text"), "text": "Ada"}),
                "input Ada",
            ),
            (
                json!({"kind": "type", "ref": part("text"), "text": "Bo", "slowly": true}),
                "input Bo",
            ),
            (
                json!({"kind": "fill", "fields": [{"ref": part("text"), "value": "Cy"},
                {"ref": part("box"), "type": "checkbox", "value": true}]}),
                "change on",
            ),
            (
                json!({"kind": "select", "ref": part("list"), "values": ["2"]}),
                "change 2",
            ),
            (
                json!({"kind": "drag", "startRef": part("from"), "endRef": part("to")}),
                "mouseup",
            ),
        ];
        for (body, heard) in steps {
            value(&mut node, "() => { heard = [] }");
            let done = act(&mut node, body.clone());
            assert_eq!(done["url"], json!(url));
            let expected = json!(format!("{name} {heard}"));
            act(
                &mut node,
                json!({"kind": "wait", "fn": format!("heard.includes({expected})")}),
            );
        }
        let title = json!({"kind": "evaluate", "fn": "it => it.ownerDocument.title + ' ' + it.value", "ref": part("text")});
        assert_eq!(act(&mut node, title)["result"], format!("{name} Cy"));
        act(
            &mut node,
            json!({"kind": "scrollIntoView", "ref": part("to")}),
        );
        let shot = node
            .whole("/screenshot", json!({"ref": part("go")}))
            .unwrap();
        let picture = Picture::of(&shot);
        assert_eq!(picture.size(), (80, 20), "{name}");
        picture.is_filled((0, 0, 80, 20), [0, 128, 0]);
        let highlighted = node.post("/highlight", json!({"ref": part("go")})).unwrap();
        assert_eq!(highlighted["ok"], true);
    }
}

#[test]
fn a_frame_that_was_replaced_or_removed_leaves_no_element_behind() {
    let (mut node, site) = (Node::start(), Site::start());
    let button = |name: &str| format!("<button onclick='top.pressed = \"{name}\"'>{name}</button>");
    let near = site.page("/near", "Near", &button("Near"));
    site.page("/far", "Far", &button("Far"));
    site.page("/next", "Next", &button("Next"));
    let frame = |id: &str, src: &str| format!("<iframe id={id} src='{src}'></iframe>");
    let body = format!(
        "{}<button>Top</button>{}",
        frame("a", &near),
        frame("b", &site.named("/far"))
    );
    node.show(&site.page("/", "Top", &body));
    let snapshot = taken(&mut node, json!({}));
    let (near, far, top) = (
        reference(&snapshot, "Near"),
        reference(&snapshot, "Far"),
        reference(&snapshot, "Top"),
    );
    let brief = |name: &str| json!({"kind": "click", "ref": name, "timeoutMs": 800});
    let gone = |node: &mut Node, name: &str| {
        let error = node.post("/act", brief(name)).unwrap_err();
        assert!(
            error.contains("un a new snapshot") || error.contains("the frame is gone"),
            "{name}: {error}"
        );
    };
    // Sent elsewhere by the page.
    value(
        &mut node,
        "() => { a.src = b.src = '/next'; return new Promise(done => { let left = 2;
        a.onload = b.onload = () => --left || done() }) }",
    );
    gone(&mut node, &near);
    gone(&mut node, &far);
    act(&mut node, json!({"kind": "click", "ref": top}));
    assert_eq!(value(&mut node, "[window.pressed ?? null]"), json!([null]));
    let again = taken(&mut node, json!({}));
    let expected = "- iframe\n  - button \"Next\" [ref=e1]\n- button \"Top\" [ref=e2]\n- iframe\n  - button \"Next\" [ref=e3] [nth=1]";
    assert_eq!(again["snapshot"], expected);
    act(&mut node, json!({"kind": "click", "ref": "e3"}));
    assert_eq!(value(&mut node, "pressed"), "Next");
    // Removed.
    value(&mut node, "() => { a.remove(); b.remove() }");
    gone(&mut node, "e1");
    gone(&mut node, "e3");
    assert_eq!(
        taken(&mut node, json!({}))["snapshot"],
        "- button \"Top\" [ref=e1]"
    );
    for (query, error) in [
        (
            json!({"frame": "#a"}),
            "Element \"#a\" not found or not visible. Run a new snapshot to see current page elements.",
        ),
        (
            json!({"frame": "button"}),
            "Element \"button\" is not a frame.",
        ),
        (json!({"frame": "<"}), "\"<\" is not a valid selector"),
        (json!({"selector": "<"}), "\"<\" is not a valid selector"),
    ] {
        let told = node.get_with("/snapshot", query.clone()).unwrap_err();
        assert!(
            told.starts_with(&format!("Error: Error: {error}")),
            "{query}: {told}"
        );
    }
}
