//! Frames in and out.

use proptest::prelude::*;

use super::*;

#[test]
fn requests_are_read() {
    let request = parse_request(r#"{"type":"req","id":"1:u","method":"m","params":{"a":1}}"#);
    let expected = Request {
        id: "1:u".into(),
        method: "m".into(),
        params: Some(json!({"a":1})),
    };
    assert_eq!(request, Ok(expected.clone()));
    let text = super::request("1:u", "m", expected.params.as_ref());
    assert_eq!(parse_request(&text), Ok(expected));
    let bare = parse_request(r#"{"type":"req","id":"1","method":"m"}"#).unwrap();
    assert_eq!(bare.params, None);
    assert_eq!(
        super::request("1", "m", None),
        r#"{"type":"req","id":"1","method":"m"}"#
    );
}

#[test]
fn what_is_no_request_is_answered_under_its_id() {
    let table = [
        ("", None),
        ("hello", None),
        ("{\"type\":", None),
        ("[]", Some((json!("invalid"), "must be object"))),
        ("null", Some((json!("invalid"), "must be object"))),
        (
            r#"{"type":"req","id":"7"}"#,
            Some((json!("7"), "must have required property 'method'")),
        ),
        (
            r#"{"type":"req","id":7,"method":"m"}"#,
            Some((json!(7), "at /id: must be string")),
        ),
        (
            r#"{"type":"req","id":null,"method":"m"}"#,
            Some((json!("invalid"), "at /id: must be string")),
        ),
        (
            r#"{"type":"res","id":"a","method":"m"}"#,
            Some((json!("a"), "at /type: must be equal to constant")),
        ),
        (
            r#"{"type":"req","id":"","method":"","extra":1}"#,
            Some((
                json!(""),
                "at root: unexpected property 'extra'; \
                 at /id: must NOT have fewer than 1 characters; \
                 at /method: must NOT have fewer than 1 characters",
            )),
        ),
    ];
    for (text, answer) in table {
        let fault = parse_request(text).unwrap_err();
        let expected = answer.map(|(id, list)| {
            error_for(
                &id,
                &ErrorShape::invalid(format!("invalid request frame: {list}")),
            )
        });
        assert_eq!(fault.response(), expected, "{text}");
    }
}

#[test]
fn a_frame_that_is_not_read_whole_is_answered_under_its_id() {
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let framed =
        |params: &str| format!(r#"{{"type":"req","id":"1:a","method":"m","params":{params}}}"#);
    let deep = "nested deeper than 64 levels";
    let table = [
        (framed(&nested(nesting::MAX_NESTING)), "1:a", deep),
        (framed(&nested(1_000_000)), "1:a", deep),
        (nested(1_000_000), "invalid", deep),
        (format!(r#"{{"id":{}}}"#, nested(100)), "invalid", deep),
        (framed("[1e400]"), "1:a", "a number is out of range"),
    ];
    for (text, id, list) in table {
        assert_eq!(
            parse_request(&text),
            Err(FrameFault::NotRequest {
                id: id.into(),
                list: list.to_owned()
            })
        );
    }
    for text in [framed("[1e400"), framed("nonsense"), "1e".to_owned()] {
        assert_eq!(parse_request(&text), Err(FrameFault::NotJson), "{text}");
    }
}

#[test]
fn half_a_surrogate_pair_in_a_frame_costs_only_itself() {
    let cut = r#"{"type":"req","id":"1","method":"m","params":{"stdout":"abc\ud83d"}}"#;
    let params = Some(json!({"stdout": "abc\u{fffd}"}));
    assert_eq!(parse_request(cut).unwrap().params, params);
    let cut = r#"{"type":"event","event":"e","payload":"\udc00"}"#;
    assert!(matches!(Frame::parse(cut), Some(Frame::Event(event)) if event.payload == "\u{fffd}"));
}

#[test]
fn the_deepest_allowed_nesting_fits_a_connection_thread() {
    const CONNECTION_STACK: usize = 256 * 1024;
    let depth = nesting::MAX_NESTING - 1;
    let nested = format!(
        "{}{}",
        r#"{"a":"#.repeat(depth - 1) + "[",
        "]".to_owned() + &"}".repeat(depth - 1)
    );
    let text = format!(r#"{{"type":"req","id":"1","method":"m","params":{nested}}}"#);
    assert_eq!(nesting::measure(&text), Ok(nesting::MAX_NESTING));
    let work = move || {
        let request = parse_request(&text).unwrap();
        let params = request.params.clone().unwrap();
        assert!(ok("1", &params).contains(&nested));
        assert!(crate::protocol::connect::ConnectParams::parse(Some(&params)).is_err());
    };
    std::thread::Builder::new()
        .stack_size(CONNECTION_STACK)
        .spawn(work)
        .unwrap()
        .join()
        .unwrap();
}

#[test]
fn responses_and_events_have_their_shape() {
    assert_eq!(
        ok("a\"b", &json!({"x":1})),
        r#"{"type":"res","id":"a\"b","ok":true,"payload":{"x":1}}"#
    );
    assert_eq!(
        error("1", &ErrorShape::invalid("no")),
        r#"{"type":"res","id":"1","ok":false,"error":{"code":"INVALID_REQUEST","message":"no"}}"#
    );
    let event = EventText::new("tick", &json!({"ts":1}));
    assert_eq!(
        event.render(None),
        r#"{"type":"event","event":"tick","payload":{"ts":1}}"#
    );
    assert_eq!(
        event.render(Some(7)),
        r#"{"type":"event","event":"tick","payload":{"ts":1},"seq":7}"#
    );
    let event = EventText::with_state_version("presence", &json!([]), 3, 9);
    let text = event.render(Some(u64::MAX));
    assert_eq!(
        text,
        r#"{"type":"event","event":"presence","payload":[],"stateVersion":{"presence":3,"health":9},"seq":18446744073709551615}"#
    );
    assert!(text.len() <= event.max_len());
}

#[test]
fn clients_read_every_frame() {
    let event = EventText::with_state_version("health", &json!({"ok":true}), 1, 2).render(Some(4));
    assert_eq!(
        Frame::parse(&event),
        Some(Frame::Event(Event {
            name: "health".into(),
            payload: json!({"ok":true}),
            seq: Some(4),
            state_version: Some(json!({"presence":1,"health":2})),
        }))
    );
    let shape = ErrorShape::unavailable("later").with_retry(5);
    let responses = [
        (ok("1", &json!(null)), Ok(json!(null))),
        (
            r#"{"type":"res","id":"1","ok":true,"new":1}"#.to_owned(),
            Ok(json!(null)),
        ),
        (error("1", &shape), Err(shape)),
    ];
    for (text, outcome) in responses {
        let response = Response {
            id: "1".into(),
            outcome,
        };
        assert_eq!(
            Frame::parse(&text),
            Some(Frame::Response(response)),
            "{text}"
        );
    }
    assert!(matches!(
        Frame::parse(&request("1", "m", None)),
        Some(Frame::Request(_))
    ));
    for text in [
        "",
        "[]",
        "{}",
        r#"{"type":"x"}"#,
        r#"{"type":"res","id":1,"ok":true}"#,
    ] {
        assert_eq!(Frame::parse(text), None, "{text}");
    }
}

#[test]
fn objects_leave_out_what_is_absent() {
    assert_eq!(object([("a", Some(json!(1))), ("b", None)]), json!({"a":1}));
}

proptest! {
    #[test]
    fn no_text_upsets_the_reader(text in r#"[\[\]{}":,a-z0-9\\ntfeil. é-]{0,200}"#) {
        let _ = Frame::parse(&text);
        if let Err(fault) = parse_request(&text) {
            prop_assert!(fault.response().is_none_or(|answer| answer.len() < 8_192));
        }
    }

    #[test]
    fn every_request_survives_its_text(id in ".{1,40}", method in ".{1,40}", word in ".*") {
        let params = json!({"a":[word]});
        let read = parse_request(&request(&id, &method, Some(&params))).unwrap();
        prop_assert_eq!(read, Request { id, method, params: Some(params) });
    }
}
