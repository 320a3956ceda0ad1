//! Elements by ref and by selector: every action reaches them, and says what keeps it from that.

use serde_json::{Value, json};

use crate::act::{act, at, fails, value};
use crate::node::Node;
use crate::snapshots::{reference, taken};

const NOT_FOUND: &str =
    "not found or not visible. Run a new snapshot to see current page elements.";

/// Everything that an action can be done to.
const PARTS: &str = "<style>div { width: 60px; height: 40px; margin: 10px; background: #ccc }</style>
    <button id=go>Go</button> <input id=name aria-label=Name>
    <select id=list aria-label=List><option value=a>A<option value=b>B</select>
    <div id=from role=button tabindex=0>From</div><div id=to role=button tabindex=0>To</div>
    <button id=low style='margin-top:3000px'>Low</button>
    <script>window.log = [];
      for (const kind of ['click', 'mouseover', 'mousedown', 'mouseup', 'keydown', 'change'])
        addEventListener(kind, e => log.push(kind + ' ' + (e.target.id || e.target.localName))) </script>";

/// Every kind that names elements, with these names for them.
fn kinds(name: impl Fn(&str) -> Value) -> Vec<Value> {
    let named = |kind: &str, part: &str, more: Value| {
        let mut body = name(part);
        body["kind"] = kind.into();
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        body
    };
    let mut drag = json!({"kind": "drag"});
    for (side, part) in [("start", "From"), ("end", "To")] {
        for (member, text) in name(part).as_object().unwrap() {
            let (first, rest) = member.split_at(1);
            drag[format!("{side}{}{rest}", first.to_uppercase())] = text.clone();
        }
    }
    vec![
        named("click", "Go", json!({})),
        named("hover", "To", json!({})),
        named("scrollIntoView", "Low", json!({})),
        named("type", "Name", json!({"text": "Ada"})),
        named("select", "List", json!({"values": ["b"]})),
        drag,
    ]
}

/// What the page shows of each of those kinds.
const DONE: [&str; 6] = [
    "log.includes('click go')",
    "log.includes('mouseover to')",
    "low.getBoundingClientRect().bottom <= innerHeight",
    "document.querySelector('#name').value === 'Ada'",
    "list.value === 'b' && log.includes('change list')",
    "log.indexOf('mousedown from') < log.lastIndexOf('mouseup to')",
];

fn do_all(node: &mut Node, name: impl Fn(&str) -> Value) {
    for (body, done) in kinds(name).into_iter().zip(DONE) {
        let reset = "() => { log = []; scrollTo(0, 0); list.value = 'a'; document.querySelector('#name').value = '' }";
        value(node, reset);
        assert_eq!(value(node, &format!("!!({done})")), false, "{body}");
        act(node, body.clone());
        assert_eq!(value(node, done), true, "{body}");
    }
}

#[test]
fn every_action_reaches_elements_by_selector_and_by_ref() {
    let (mut node, site) = at(PARTS);
    let by_selector = |part: &str| json!({"selector": format!("#{}", part.to_lowercase())});
    do_all(&mut node, by_selector);
    let snapshot = taken(&mut node, json!({}));
    let by_ref = |part: &str| json!({"ref": reference(&snapshot, part)});
    do_all(&mut node, by_ref);
    // Refs stay good for as long as the document is there.
    do_all(&mut node, by_ref);
    let filled = json!({"kind": "fill", "fields": [{"ref": reference(&snapshot, "Name"), "value": "Grace"}]});
    act(&mut node, filled);
    let evaluated =
        json!({"kind": "evaluate", "fn": "it => it.value", "ref": reference(&snapshot, "Name")});
    assert_eq!(act(&mut node, evaluated.clone())["result"], "Grace");

    let mut others = kinds(by_ref);
    others.push(evaluated);
    others.push(
        json!({"kind": "fill", "fields": [{"ref": reference(&snapshot, "Name"), "value": "x"}]}),
    );
    let text = |body: &Value| {
        let place = ["/ref", "/fields/0/ref", "/endRef"];
        let name = place.iter().find_map(|place| body.pointer(place));
        name.unwrap().as_str().unwrap().to_owned()
    };
    // An element that is gone from its document.
    value(&mut node, "() => { document.body.innerHTML = '' }");
    for body in &others {
        let mut body = body.clone();
        body["timeoutMs"] = 500.into();
        fails(
            &mut node,
            body.clone(),
            &format!("Error: Error: Element \"{}\" {NOT_FOUND}", text(&body)),
        );
    }
    // A document that is gone; then names that no snapshot gave.
    node.show(&site.page("/other", "Other", PARTS));
    for body in &others {
        let error = format!(
            "Error: Error: Unknown ref \"{}\". Run a new snapshot and use a ref from that snapshot.",
            text(body)
        );
        fails(&mut node, body.clone(), &error);
    }
    taken(&mut node, json!({}));
    for body in kinds(|_| json!({"ref": "@e99"})) {
        fails(
            &mut node,
            body,
            "Error: Error: Unknown ref \"e99\". Run a new snapshot and use a ref from that snapshot.",
        );
    }
}

#[test]
fn a_selector_names_one_element_or_none() {
    let (mut node, _site) = at(PARTS);
    let brief = |body: &Value| {
        let mut body = body.clone();
        body["timeoutMs"] = 500.into();
        body
    };
    for body in kinds(|_| json!({"selector": "#none"})) {
        fails(
            &mut node,
            brief(&body),
            &format!("Error: Error: Element \"#none\" {NOT_FOUND}"),
        );
    }
    for body in kinds(|_| json!({"selector": "div, button"})) {
        fails(
            &mut node,
            body,
            "Error: Error: Selector \"div, button\" matched 4 elements. Name one of them by its ref from a new \
             snapshot, or use a selector that only one matches.",
        );
    }
    for body in kinds(|_| json!({"selector": "<"})) {
        let error = node.post("/act", body).unwrap_err();
        assert!(
            error.starts_with("Error: Error: SyntaxError: ")
                && error.ends_with("'<' is not a valid selector."),
            "{error}"
        );
    }
    assert_eq!(value(&mut node, "log.length"), 0);
}

#[test]
fn what_keeps_an_element_from_being_used_is_told() {
    let (mut node, _site) = at(
        "<style>@keyframes shake { to { transform: translateX(30px) } }</style>
        <button id=unseen style='visibility:hidden'>u</button><button id=flat style='all:unset'></button>
        <button id=away style='position:absolute;left:-500px'>a</button>
        <button id=shaking style='animation:shake 50ms infinite alternate'>s</button>
        <fieldset disabled><input id=off><select id=offlist><option>1</select></fieldset>
        <button id=aria aria-disabled=true>a</button><input id=ro readonly>
        <p id=p>p</p><input id=stubborn type=checkbox aria-label=Stubborn onclick='return false'>
        <label style='position:relative'>Covered<input id=covered type=checkbox aria-label=Covered>
        <span id=veil style='position:absolute;inset:0'></span></label>
        <div id=wall style='position:absolute;left:0;top:400px;width:100px;height:100px'></div>
        <input id=behind style='position:absolute;left:0;top:410px;z-index:-1' aria-label=Behind>
        <input id=box aria-label=Box type=checkbox style='position:absolute;left:0;top:440px;z-index:-1'>",
    );
    let click = |selector: &str| json!({"kind": "click", "selector": selector, "timeoutMs": 1_000});
    for selector in ["#unseen", "#flat", "#away"] {
        fails(
            &mut node,
            click(selector),
            &format!("Error: Error: Element \"{selector}\" {NOT_FOUND}"),
        );
    }
    let covered =
        "is covered by <div id=\"wall\">. Close what lies over it, or run a new snapshot.";
    let snapshot = taken(&mut node, json!({}));
    let (stubborn, behind, hidden_box) = (
        reference(&snapshot, "Stubborn"),
        reference(&snapshot, "Behind"),
        reference(&snapshot, "Box"),
    );
    let tick = |name: &str| json!({"kind": "fill", "fields": [{"ref": name, "type": "checkbox", "value": true}]});
    for (body, error) in [
        (
            click("#shaking"),
            "Element \"#shaking\" does not hold still.".to_owned(),
        ),
        (click("#off"), "Element \"#off\" is disabled.".to_owned()),
        (click("#aria"), "Element \"#aria\" is disabled.".to_owned()),
        (click("#behind"), format!("Element \"#behind\" {covered}")),
        (
            json!({"kind": "type", "selector": "#off", "text": "x"}),
            "Element \"#off\" is disabled.".to_owned(),
        ),
        (
            json!({"kind": "type", "selector": "#ro", "text": "x"}),
            "Element \"#ro\" is read-only.".to_owned(),
        ),
        (
            json!({"kind": "select", "selector": "#offlist", "values": ["1"]}),
            "Element \"#offlist\" is disabled.".to_owned(),
        ),
        (
            json!({"kind": "drag", "startSelector": "#behind", "endSelector": "#p"}),
            format!("Element \"#behind\" {covered}"),
        ),
        (
            json!({"kind": "drag", "startSelector": "#p", "endSelector": "#unseen"}),
            format!("Element \"#unseen\" {NOT_FOUND}"),
        ),
        (
            json!({"kind": "hover", "selector": "#unseen"}),
            format!("Element \"#unseen\" {NOT_FOUND}"),
        ),
        (
            json!({"kind": "scrollIntoView", "selector": "#flat"}),
            format!("Element \"#flat\" {NOT_FOUND}"),
        ),
        (
            tick(&stubborn),
            format!("Element \"{stubborn}\" did not change when it was clicked."),
        ),
        (
            tick(&hidden_box),
            format!("Element \"{hidden_box}\" {covered}"),
        ),
    ] {
        let mut body = body;
        body["timeoutMs"] = 1_000.into();
        fails(&mut node, body, &format!("Error: Error: {error}"));
    }
    // What lies over an element keeps nobody from pointing at it or writing into it, nor does its own label.
    act(&mut node, json!({"kind": "hover", "selector": "#behind"}));
    let fields = json!([{"ref": behind, "value": "x"}, {"ref": reference(&snapshot, "Covered"), "type": "checkbox", "value": "true"}]);
    act(&mut node, json!({"kind": "fill", "fields": fields}));
    assert_eq!(
        value(
            &mut node,
            "[behind.value, covered.checked, stubborn.checked, box.checked]"
        ),
        json!(["x", true, false, false])
    );
}
