//! Bodies of `/act`, good and bad.

use serde_json::json;

use super::*;

const ALL: Rules<'static> = Rules {
    evaluate: true,
    target: None,
};

fn parsed(body: &Value) -> Result<Action, String> {
    Action::parse(body.as_object().unwrap(), ALL).map_err(|error| error.to_string())
}

#[test]
fn a_wrong_action_is_refused_in_the_specified_words() {
    let selector = "'selector' is not supported. Use 'ref' from snapshot instead. Take a snapshot, then name the \
                    element by its ref, such as \"e12\".";
    for (body, text) in [
        (json!({}), "kind is required"),
        (json!({"kind": "fly"}), "kind is required"),
        (json!({"kind": 7}), "kind is required"),
        (json!({"kind": "click"}), "click requires ref or selector"),
        (
            json!({"kind": "click", "ref": " "}),
            "click requires ref or selector",
        ),
        (
            json!({"kind": "click", "ref": "e1", "button": "none"}),
            "click button must be left|right|middle",
        ),
        (
            json!({"kind": "click", "ref": "e1", "modifiers": ["Shift", "Hyper"]}),
            "modifiers must be Alt|Control|ControlOrMeta|Meta|Shift",
        ),
        (
            json!({"kind": "click", "ref": "e1", "delayMs": 5001}),
            "click delayMs exceeds maximum of 5000ms",
        ),
        (
            json!({"kind": "clickCoords", "x": 1}),
            "clickCoords requires non-negative x and y",
        ),
        (
            json!({"kind": "clickCoords", "x": 1, "y": -0.5}),
            "clickCoords requires non-negative x and y",
        ),
        (
            json!({"kind": "type", "text": "x"}),
            "type requires ref or selector",
        ),
        (json!({"kind": "type", "ref": "e1"}), "type requires text"),
        (
            json!({"kind": "type", "ref": "e1", "text": 7}),
            "type requires text",
        ),
        (json!({"kind": "press"}), "press requires key"),
        (json!({"kind": "hover"}), "hover requires ref or selector"),
        (
            json!({"kind": "scrollIntoView"}),
            "scrollIntoView requires ref or selector",
        ),
        (
            json!({"kind": "drag", "endRef": "e1"}),
            "drag requires startRef or startSelector",
        ),
        (
            json!({"kind": "drag", "startRef": "e1"}),
            "drag requires endRef or endSelector",
        ),
        (
            json!({"kind": "select", "ref": "e1"}),
            "select requires ref/selector and values",
        ),
        (
            json!({"kind": "select", "values": ["a"]}),
            "select requires ref/selector and values",
        ),
        (
            json!({"kind": "select", "ref": "e1", "values": []}),
            "select requires ref/selector and values",
        ),
        (json!({"kind": "fill"}), "fill requires fields"),
        (
            json!({"kind": "fill", "fields": [{"value": "x"}]}),
            "fill requires fields",
        ),
        (
            json!({"kind": "resize", "width": 0, "height": 9}),
            "resize requires positive width and height",
        ),
        (
            json!({"kind": "wait"}),
            "wait requires at least one of: timeMs, text, textGone, selector, url, loadState, fn",
        ),
        (
            json!({"kind": "wait", "loadState": "someday"}),
            "wait requires at least one of: timeMs, text, textGone, selector, url, loadState, fn",
        ),
        (
            json!({"kind": "wait", "timeMs": 30001}),
            "wait timeMs exceeds maximum of 30000ms",
        ),
        (json!({"kind": "evaluate"}), "evaluate requires fn"),
        (json!({"kind": "batch"}), "actions are required"),
        (
            json!({"kind": "batch", "actions": []}),
            "actions are required",
        ),
        (
            json!({"kind": "batch", "actions": [{"kind": "press"}]}),
            "press requires key",
        ),
        (
            json!({"kind": "batch", "actions": ["x"]}),
            "kind is required",
        ),
        (
            json!({"kind": "batch", "actions": [{"kind": "close", "targetId": "t2"}]}),
            "batched actions must have the targetId of the batch",
        ),
        (
            json!({"kind": "press", "key": "a", "selector": "p"}),
            selector,
        ),
        (
            json!({"kind": "evaluate", "fn": "1", "selector": "p"}),
            selector,
        ),
    ] {
        assert_eq!(parsed(&body), Err(text.to_owned()), "{body}");
    }
}

#[test]
fn what_the_configuration_switches_off_is_refused_however_it_is_asked_for() {
    let rules = Rules {
        evaluate: false,
        ..ALL
    };
    let evaluate = json!({"kind": "evaluate", "fn": "1"});
    for body in [
        evaluate.clone(),
        json!({"kind": "wait", "fn": "true"}),
        json!({"kind": "batch", "actions": [evaluate]}),
    ] {
        let error = Action::parse(body.as_object().unwrap(), rules).unwrap_err();
        assert_eq!(
            error.to_string(),
            "act:evaluate is disabled by config (browser.evaluateEnabled=false)."
        );
    }
}

#[test]
fn times_are_held_within_their_bounds() {
    let click = json!({"kind": "click", "ref": "e1"});
    let wait = json!({"kind": "wait", "text": "x"});
    for (base, given, expected) in [
        (&click, json!(null), 8_000),
        (&click, json!(1), 500),
        (&click, json!("900"), 900),
        (&click, json!(1e9), 60_000),
        (&wait, json!(null), 20_000),
        (&wait, json!(-4), 500),
        (&wait, json!(119_999.9), 119_999),
        (&wait, json!(1e9), 120_000),
    ] {
        let mut body = base.clone();
        body["timeoutMs"] = given;
        assert_eq!(parsed(&body).unwrap().limit.as_millis(), expected, "{body}");
    }
}

#[test]
fn actions_of_batches_in_batches_count() {
    let close = || json!({"kind": "close"});
    let batch = |actions: Vec<Value>| json!({"kind": "batch", "actions": actions});
    let many = |count: usize| batch((0..count).map(|_| close()).collect());
    assert!(parsed(&many(100)).is_ok());
    let too_many = Err("batch exceeds maximum of 100 actions".to_owned());
    assert_eq!(parsed(&many(101)), too_many);
    assert!(parsed(&batch(vec![many(49), many(49)])).is_ok());
    assert_eq!(parsed(&batch(vec![many(49), many(50)])), too_many);
    let nested = |depth: usize| (1..depth).fold(many(1), |inner, _| batch(vec![inner]));
    assert!(parsed(&nested(5)).is_ok());
    assert_eq!(
        parsed(&nested(6)),
        Err("batch exceeds maximum depth of 5".to_owned())
    );
}

#[test]
fn members_are_read_as_they_are_meant() {
    let body = json!({"kind": "fill", "fields": [
        {"ref": "e1", "type": "checkbox", "value": true}, {"ref": "e2", "type": "radio", "value": 1},
        {"ref": "e3", "type": "checkbox", "value": "1"}, {"ref": "e4", "type": "checkbox", "value": "yes"},
        {"ref": "e5", "value": 7.5}, {"ref": "e6", "type": "text"}, {"value": "nowhere"}]});
    let Kind::Fill(fields) = parsed(&body).unwrap().kind else {
        panic!("{body}")
    };
    let contents: Vec<Content> = fields.into_iter().map(|field| field.content).collect();
    let text = |text: &str| Content::Text(text.to_owned());
    let checked = Content::Checked;
    assert_eq!(
        contents,
        [
            checked(true),
            checked(true),
            checked(true),
            checked(false),
            text("7.5"),
            text("")
        ]
    );
    let body = json!({"kind": "wait", "timeMs": 5, "url": "**/end", "loadState": "networkidle"});
    let expected = [
        Condition::Pause(Duration::from_millis(5)),
        Condition::Url("**/end".to_owned()),
        Condition::Loaded(LoadState::NetworkIdle),
    ];
    assert_eq!(parsed(&body).unwrap().kind, Kind::Wait(expected.into()));
    let both = json!({"kind": "hover", "ref": "e1", "selector": "p"});
    assert_eq!(parsed(&both).unwrap().kind, Kind::Hover(by_ref("e1")));
}
