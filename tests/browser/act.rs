//! Doing things on pages: every kind of action, and what keeps one from being done.

use serde_json::{Value, json};

use crate::node::{Node, payload};
use crate::site::Site;
use crate::snapshots::{reference, taken};

/// A node host whose tab shows a page with this body, and the site.
pub fn at(body: &str) -> (Node, Site) {
    let (mut node, site) = (Node::start(), Site::start());
    let url = site.page("/", "Act", body);
    node.show(&url);
    (node, site)
}

#[track_caller]
pub fn act(node: &mut Node, body: Value) -> Value {
    node.post("/act", body.clone())
        .unwrap_or_else(|error| panic!("{body}: {error}"))
}

#[track_caller]
pub fn fails(node: &mut Node, body: Value, error: &str) {
    assert_eq!(
        node.post("/act", body.clone()),
        Err(error.to_owned()),
        "{body}"
    );
}

/// The value of an expression in the page.
#[track_caller]
pub fn value(node: &mut Node, expression: &str) -> Value {
    act(node, json!({"kind": "evaluate", "fn": expression}))["result"].clone()
}

#[test]
fn the_mouse_clicks_with_every_button_and_modifier() {
    let (mut node, site) = at("<button id=b style='margin-top:3000px'>b</button><script>
        window.heard = [];
        for (const kind of ['click', 'dblclick', 'auxclick', 'contextmenu', 'mouseover'])
          b.addEventListener(kind, e => { e.preventDefault(); heard.push([kind, e.button, e.detail, e.isTrusted,
            [e.altKey, e.ctrlKey, e.metaKey, e.shiftKey].map(Number).join('')].join(' ')) })</script>");
    let mut heard = |body: Value| {
        act(
            &mut node,
            json!({"kind": "evaluate", "fn": "() => { heard = [] }"}),
        );
        let done = act(&mut node, body);
        assert_eq!(
            (&done["ok"], &done["url"]),
            (&json!(true), &json!(site.url("/")))
        );
        let all = value(
            &mut node,
            "heard.filter(line => !line.startsWith('mouseover'))",
        );
        all.as_array()
            .unwrap()
            .iter()
            .map(|line| line.as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        heard(json!({"kind": "click", "selector": "#b"})),
        ["click 0 1 true 0000"]
    );
    assert_eq!(
        heard(json!({"kind": "click", "selector": "#b", "doubleClick": true})),
        [
            "click 0 1 true 0000",
            "click 0 2 true 0000",
            "dblclick 0 2 true 0000"
        ]
    );
    assert_eq!(
        heard(json!({"kind": "click", "selector": "#b", "button": "middle", "delayMs": 20})),
        ["auxclick 1 1 true 0000"]
    );
    assert_eq!(
        heard(json!({"kind": "click", "selector": "#b", "modifiers": ["Shift", "Alt"]})),
        ["click 0 1 true 1001"]
    );
    let right = heard(json!({"kind": "click", "selector": "#b", "button": "right"}));
    assert!(
        right.contains(&"contextmenu 2 0 true 0000".to_owned()),
        "{right:?}"
    );
    let place = value(
        &mut node,
        "(({x, y}) => [x + 3, y + 3])(b.getBoundingClientRect())",
    );
    act(
        &mut node,
        json!({"kind": "evaluate", "fn": "() => { heard = [] }"}),
    );
    act(
        &mut node,
        json!({"kind": "clickCoords", "x": place[0], "y": place[1]}),
    );
    assert_eq!(value(&mut node, "heard.at(-1)"), "click 0 1 true 0000");
    act(&mut node, json!({"kind": "clickCoords", "x": 1, "y": 1}));
    act(
        &mut node,
        json!({"kind": "evaluate", "fn": "() => { heard = [] }"}),
    );
    act(&mut node, json!({"kind": "hover", "selector": "#b"}));
    assert_eq!(
        value(&mut node, "heard.map(line => line.split(' ')[0])"),
        json!(["mouseover"])
    );
}

#[test]
fn an_element_is_waited_for_until_it_can_be_clicked() {
    let (mut node, _site) = at("<div id=cover style='position:fixed;inset:0;z-index:9'></div>
        <button id=under>u</button><button id=off disabled>o</button><button id=hidden style='display:none'>h</button>
        <script>document.addEventListener('click', e => { window.clicked = e.target.id });
          window.later = () => { setTimeout(() => { cover.remove(); off.disabled = false;
            const late = document.createElement('button'); late.id = 'late'; late.textContent = 'late';
            document.body.append(late) }, 900) }</script>");
    let brief = |selector: &str| json!({"kind": "click", "selector": selector, "timeoutMs": 1500});
    fails(
        &mut node,
        brief("#under"),
        "Error: Error: Element \"#under\" is covered by <div id=\"cover\">. Close what lies over it, or run a new \
         snapshot.",
    );
    fails(
        &mut node,
        brief("#off"),
        "Error: Error: Element \"#off\" is disabled.",
    );
    for missing in ["#hidden", "#late", "zzz"] {
        let error = format!(
            "Error: Error: Element \"{missing}\" not found or not visible. Run a new snapshot to see current page \
             elements."
        );
        fails(&mut node, brief(missing), &error);
    }
    fails(
        &mut node,
        json!({"kind": "click", "ref": "7"}),
        "Error: Error: Unknown ref \"e7\". Run a new snapshot and use a ref from that snapshot.",
    );
    value(&mut node, "later");
    for selector in ["#late", "#under", "#off"] {
        act(&mut node, json!({"kind": "click", "selector": selector}));
        assert_eq!(value(&mut node, "clicked"), selector[1..]);
    }
    // One that moves is clicked when it has come to rest.
    value(
        &mut node,
        "() => { late.style.cssText = 'position:absolute;top:300px;transition:left 700ms linear;left:0'; \
        late.getBoundingClientRect(); late.style.left = '500px'; clicked = '' }",
    );
    act(&mut node, json!({"kind": "click", "selector": "#late"}));
    assert_eq!(
        value(&mut node, "[clicked, late.getBoundingClientRect().left]"),
        json!(["late", 500])
    );
}

#[test]
fn texts_are_written_and_keys_pressed() {
    let (mut node, site) = at("<form action=/sent><input id=i name=q value=old></form><textarea id=t>old</textarea>
        <div id=e contenteditable>old <b>text</b></div><input id=d type=date><input id=ro readonly><p id=p>p</p>
        <script>window.keys = []; addEventListener('keydown', e => keys.push(e.key + ' ' + e.code))</script>");
    site.page("/sent", "Sent", "<h1>sent</h1>");
    for (selector, text, read) in [
        ("#i", "Grüße ✓", "i.value"),
        ("#t", "two\nlines", "t.value"),
        ("#e", "new", "e.textContent"),
        ("#d", "2026-11-30", "d.value"),
        ("#t", "", "t.value"),
    ] {
        act(
            &mut node,
            json!({"kind": "type", "selector": selector, "text": text}),
        );
        assert_eq!(value(&mut node, read), text, "{selector}");
    }
    act(
        &mut node,
        json!({"kind": "evaluate", "fn": "() => { keys = [] }"}),
    );
    act(
        &mut node,
        json!({"kind": "type", "selector": "#i", "text": "aÉ!", "slowly": true}),
    );
    assert_eq!(
        value(&mut node, "[i.value, keys.join()]"),
        json!(["aÉ!", "Delete Delete,a KeyA,! Digit1"])
    );
    act(&mut node, json!({"kind": "press", "key": "Control+A"}));
    act(&mut node, json!({"kind": "press", "key": "Shift+z"}));
    assert_eq!(value(&mut node, "i.value"), "Z");
    act(&mut node, json!({"kind": "press", "key": "Backspace"}));
    assert_eq!(value(&mut node, "i.value"), "");
    fails(
        &mut node,
        json!({"kind": "press", "key": "Foo"}),
        "Error: Error: Unknown key: \"Foo\"",
    );
    for (selector, why) in [
        ("#ro", "is read-only."),
        ("#p", "takes no text: it is no text field and not editable."),
        ("#d", "does not take this value: malformed."),
    ] {
        let error = format!("Error: Error: Element \"{selector}\" {why}");
        fails(
            &mut node,
            json!({"kind": "type", "selector": selector, "text": "x"}),
            &error,
        );
    }
    let sent = act(
        &mut node,
        json!({"kind": "type", "selector": "#i", "text": "x y", "submit": true}),
    );
    assert_eq!(sent["url"], site.url("/sent?q=x+y"));
}

#[test]
fn options_are_chosen_by_value_or_label() {
    let (mut node, _site) = at(
        "<select id=one><option value=a>Alpha<option value=b>Beta</select>
        <select id=many multiple><option>1<option selected>2<option>3</select><p id=p>p</p>
        <script>window.changes = 0; addEventListener('change', () => changes++)</script>",
    );
    act(
        &mut node,
        json!({"kind": "select", "selector": "#one", "values": ["Beta"]}),
    );
    act(
        &mut node,
        json!({"kind": "select", "selector": "#many", "values": ["1", 3]}),
    );
    assert_eq!(
        value(
            &mut node,
            "[one.value, [...many.selectedOptions].map(o => o.value).join(), changes]"
        ),
        json!(["b", "1,3", 2])
    );
    fails(
        &mut node,
        json!({"kind": "select", "selector": "#one", "values": ["c"], "timeoutMs": 1500}),
        "Error: Error: Element \"#one\" has no option \"c\".",
    );
    fails(
        &mut node,
        json!({"kind": "select", "selector": "#p", "values": ["c"]}),
        "Error: Error: Element \"#p\" is no <select>.",
    );
}

#[test]
fn things_are_dragged_with_and_without_the_page_s_own_dragging() {
    let (mut node, _site) = at("<style>div{width:80px;height:80px;margin:20px;background:#ccc}</style>
        <div id=from draggable=true>from</div><div id=to>to</div><div id=knob>knob</div>
        <script>window.log = [];
          from.ondragstart = e => e.dataTransfer.setData('text/plain', 'cargo');
          to.ondragover = e => e.preventDefault();
          to.ondrop = e => { e.preventDefault(); log.push('drop ' + e.dataTransfer.getData('text/plain')) };
          knob.onmousedown = () => log.push('down');
          to.onmouseup = () => log.push('up')</script>");
    act(
        &mut node,
        json!({"kind": "drag", "startSelector": "#from", "endSelector": "#to"}),
    );
    assert_eq!(
        value(&mut node, "log.filter(line => line !== 'up')"),
        json!(["drop cargo"])
    );
    act(
        &mut node,
        json!({"kind": "evaluate", "fn": "() => { log = [] }"}),
    );
    act(
        &mut node,
        json!({"kind": "drag", "startSelector": "#knob", "endSelector": "#to"}),
    );
    assert_eq!(value(&mut node, "log"), json!(["down", "up"]));
}

#[test]
fn a_page_is_waited_for() {
    let (mut node, site) = at("<p id=p>Loading   it</p><script>window.go = () => setTimeout(() => {
        p.textContent = 'All Done'; p.className = 'ready'; history.pushState(0, '', '/there'); window.flag = 7 }, 700)
        </script>");
    site.page("/there", "There", "");
    for condition in [
        json!({"text": "loading it"}),
        json!({"loadState": "load"}),
        json!({"loadState": "networkidle"}),
        json!({"timeMs": 10}),
        json!({"url": "**/"}),
        json!({"textGone": "nowhere"}),
    ] {
        let mut body = condition;
        body["kind"] = "wait".into();
        act(&mut node, body);
    }
    for (condition, error) in [
        (
            json!({"text": "all done"}),
            "waiting for text \"all done\" took longer than 500ms",
        ),
        (
            json!({"fn": "() => window.flag"}),
            "waiting for fn took longer than 500ms",
        ),
        (
            json!({"selector": ".ready"}),
            "Element \".ready\" not found or not visible. Run a new snapshot to see current page elements.",
        ),
    ] {
        let mut body = condition;
        body["kind"] = "wait".into();
        body["timeoutMs"] = 1.into();
        fails(&mut node, body, &format!("Error: Error: {error}"));
    }
    value(&mut node, "go");
    let all = json!({"kind": "wait", "text": "all done", "textGone": "loading", "selector": ".ready", "url": "**/there",
        "fn": "async () => window.flag === 7"});
    assert_eq!(act(&mut node, all)["url"], site.url("/there"));
}

#[test]
fn functions_of_the_caller_are_evaluated_when_that_is_allowed() {
    let (mut node, _site) = at("<p id=p>text</p>");
    for (source, result) in [
        ("1 + 1", json!(2)),
        ("() => document.title", json!("Act")),
        ("async () => ({a: [1, null]})", json!({"a": [1, null]})),
        ("function () { return 'x' }", json!("x")),
        ("null", json!(null)),
        ("0 / 0", json!("NaN")),
    ] {
        let answer = act(&mut node, json!({"kind": "evaluate", "fn": source}));
        assert_eq!(answer.get("result"), Some(&result), "{source}");
    }
    let nothing = act(&mut node, json!({"kind": "evaluate", "fn": "() => {}"}));
    assert_eq!(nothing.get("result"), None);
    let error = node.post(
        "/act",
        json!({"kind": "evaluate", "fn": "() => { throw new Error('own') }"}),
    );
    assert!(error.unwrap_err().starts_with("Error: Error: Error: own"));
    // One that never ends costs its own request, not the page.
    fails(
        &mut node,
        json!({"kind": "evaluate", "fn": "() => { for (;;); }", "timeoutMs": 500}),
        "Error: Error: evaluate took longer than 500ms",
    );
    assert_eq!(value(&mut node, "p.textContent"), "text");
    let port = node.port;
    let browser = format!("evaluateEnabled: false, {}", crate::node::OPEN);
    node.home
        .write_config(&crate::node::config(port, &browser, ""));
    let off = "Error: act:evaluate is disabled by config (browser.evaluateEnabled=false).";
    fails(&mut node, json!({"kind": "evaluate", "fn": "1"}), off);
    fails(&mut node, json!({"kind": "wait", "fn": "1"}), off);
}

#[test]
fn several_actions_run_as_one_and_tell_of_each() {
    let (mut node, _site) = at("<input id=i><p id=p>p</p>");
    let actions = json!([{"kind": "type", "selector": "#i", "text": "x"}, {"kind": "type", "selector": "#p", "text": "x"},
        {"kind": "evaluate", "fn": "i.value"}]);
    let failed = json!({"ok": false, "error": "Element \"#p\" takes no text: it is no text field and not editable."});
    let stopped = act(&mut node, json!({"kind": "batch", "actions": actions}));
    assert_eq!(stopped["results"], json!([{"ok": true}, failed]));
    let all = act(
        &mut node,
        json!({"kind": "batch", "actions": actions, "stopOnError": false}),
    );
    assert_eq!(
        all["results"],
        json!([{"ok": true}, failed, {"ok": true, "result": "x"}])
    );
    fails(
        &mut node,
        json!({"kind": "batch"}),
        "Error: actions are required",
    );
}

#[test]
fn a_page_gets_another_size_and_is_closed() {
    let (mut node, _site) = at("");
    act(
        &mut node,
        json!({"kind": "resize", "width": 640, "height": 480}),
    );
    assert_eq!(
        value(&mut node, "[innerWidth, innerHeight]"),
        json!([640, 480])
    );
    let closed = act(&mut node, json!({"kind": "close"}));
    assert_eq!(closed.get("url"), None);
    let tabs = node.get("/tabs").unwrap();
    let open = tabs["tabs"].as_array().unwrap();
    assert!(
        open.iter().all(|tab| tab["targetId"] != closed["targetId"]),
        "{tabs}"
    );
}

#[test]
fn dialogs_that_an_action_opens_do_not_hold_it_up() {
    let (mut node, _site) =
        at("<button id=b onclick='alert(1); window.said = confirm(2)'>b</button>");
    act(&mut node, json!({"kind": "click", "selector": "#b"}));
    assert_eq!(value(&mut node, "said"), false);
    node.post("/hooks/dialog", json!({"accept": true})).unwrap();
    act(&mut node, json!({"kind": "click", "selector": "#b"}));
    // The first of the two took the answer.
    assert_eq!(value(&mut node, "said"), false);
}

#[test]
fn a_click_tells_where_it_led() {
    let (mut node, site) = at("<a id=a href=/next>next</a> <a id=f href='#part'>part</a>
        <a id=w href=/next target=_blank>window</a> <button id=c onclick='window.close()'>close</button>
        <button id=s onclick=\"setTimeout(() => location = '/next')\">script</button>");
    site.page("/next", "Next", "<h1>next</h1>");
    let there = site.url("/next");
    let fragment = site.url("/#part");
    for (selector, url) in [("#a", &there), ("#f", &fragment), ("#s", &there)] {
        node.show(&site.url("/"));
        let done = act(&mut node, json!({"kind": "click", "selector": selector}));
        assert_eq!(done["url"], json!(url), "{selector}");
    }
    node.show(&site.url("/"));
    let own = act(&mut node, json!({"kind": "click", "selector": "#w"}));
    assert_eq!(own["url"], site.url("/"));
    crate::support::wait_for("the new window", || {
        let tabs = node.get("/tabs").unwrap();
        let mut open = tabs["tabs"].as_array().unwrap().iter();
        open.any(|tab| tab["url"] == json!(there)).then_some(())
    });
    // The page acts the same when another one is in front of it.
    let behind = json!({"kind": "click", "selector": "#f", "targetId": own["targetId"]});
    assert_eq!(act(&mut node, behind)["url"], json!(fragment));
}

#[test]
fn a_click_that_leads_where_nobody_may_go_is_refused() {
    let site = Site::start();
    let mut node = Node::with("ssrfPolicy: { allowedHostnames: [\"127.0.0.1\"] }", "");
    site.page("/next", "Next", "next");
    let url = site.page(
        "/",
        "Here",
        &format!("<a id=a href='{}'>away</a>", site.named("/next")),
    );
    node.show(&url);
    fails(
        &mut node,
        json!({"kind": "click", "selector": "#a"}),
        "Error: browser navigation blocked by policy",
    );
    assert!(!site.asked().contains(&"/next".to_owned()));
}

#[test]
fn two_actions_at_once_on_a_tab_follow_each_other() {
    let (mut node, _site) = at("<input id=i>");
    let body = |text: &str| {
        json!({"method": "POST", "path": "/act", "timeoutMs": 60_000, "body":
            {"kind": "type", "selector": "#i", "text": text, "slowly": true, "timeoutMs": 30_000}})
    };
    node.caller
        .start_invoke("first", "browser.proxy", &body("aaaaaaaa"));
    node.caller
        .start_invoke("second", "browser.proxy", &body("bbbbbbbb"));
    let mut results = 0;
    while results < 2 {
        let request = node.caller.request();
        if request["method"] == "node.invoke.result" {
            payload(&request["params"]).unwrap();
            results += 1;
        }
    }
    let written = value(&mut node, "i.value");
    assert!(written == "aaaaaaaa" || written == "bbbbbbbb", "{written}");
}

#[test]
fn a_page_that_crashes_ends_the_action_that_waits_for_it() {
    let (mut node, site) = at("<p>p</p>");
    let waiting = json!({"method": "POST", "path": "/act", "timeoutMs": 60_000, "body":
        {"kind": "evaluate", "fn": "() => new Promise(() => {})", "timeoutMs": 60_000}});
    node.caller
        .start_invoke("waiting", "browser.proxy", &waiting);
    // Killed once the renderer shows what it was asked to do: a page that does not answer the next question in time.
    crate::crashes::kill_renderers(&node);
    let ended = loop {
        let request = node.caller.request();
        if request["method"] == "node.invoke.result" {
            break payload(&request["params"]);
        }
    };
    let crashed = "Error: Error: the page has crashed; navigate it to go on, or open another tab";
    assert_eq!(ended, Err(crashed.to_owned()));
    node.show(&site.url("/"));
}

#[test]
fn a_form_is_filled_by_the_refs_of_a_snapshot() {
    let (mut node, site) = at(
        "<input id=i aria-label=Name> <label><input id=c type=checkbox> Box</label>
        <label><input id=on type=checkbox checked> Ticked</label>
        <label><input type=radio name=r id=a checked> A</label> <label><input type=radio name=r id=b> B</label>",
    );
    let snapshot = taken(&mut node, json!({}));
    let named = |name: &str| reference(&snapshot, name);
    let fields = json!([{"ref": named("Name"), "value": "Ada"}, {"ref": named("Box"), "type": "checkbox", "value": true},
        {"ref": named("Ticked"), "type": "checkbox", "value": false},
        {"ref": named("B"), "type": "radio", "value": "1"}]);
    act(&mut node, json!({"kind": "fill", "fields": fields}));
    assert_eq!(
        value(
            &mut node,
            "[i.value, c.checked, on.checked, a.checked, b.checked]"
        ),
        json!(["Ada", true, false, false, true])
    );
    let tick = json!([{"ref": named("Name"), "type": "checkbox", "value": true}]);
    let error = format!(
        "Error: Error: Element \"{}\" is no checkbox and no radio button.",
        named("Name")
    );
    fails(&mut node, json!({"kind": "fill", "fields": tick}), &error);
    let given = json!({"kind": "evaluate", "fn": "element => element.id", "ref": named("Name")});
    assert_eq!(act(&mut node, given)["result"], "i");
    // A ref of a document that is gone names nothing.
    node.show(&site.page("/other", "Other", "<input>"));
    let stale = json!({"kind": "click", "ref": named("Name"), "timeoutMs": 1500});
    assert!(
        node.post("/act", stale)
            .unwrap_err()
            .contains("Run a new snapshot")
    );
}
