use std::sync::{Arc, Mutex};

use serde_json::json;

use super::*;
use crate::client::testing::{FakeTransport, accept, event, hello, refuse};

type Log = Arc<Mutex<Vec<String>>>;

fn budget() -> Budget {
    Budget::new(Duration::from_secs(20))
}

/// A session whose requests other than `connect` are answered by `answer`.
fn session(mut answer: impl FnMut(&Value) -> Vec<Carried> + Send + 'static) -> (Session, Log) {
    let log = Log::default();
    let transport = FakeTransport::new(
        &log,
        Box::new(move |frame| match frame["method"].as_str() {
            Some("connect") => vec![accept(frame, &hello("operator", None, &[]))],
            _ => answer(frame),
        }),
    );
    let session = handshake(Box::new(transport), |_| ConnectParams::default(), &budget());
    (session.unwrap(), log)
}

#[test]
fn an_answer_is_found_among_events_and_foreign_answers() {
    let (mut session, _) = session(|frame| {
        let foreign = accept(&json!({"id":"other"}), &json!({"x":0}));
        vec![
            event("tick", 1),
            Carried::Woken,
            foreign,
            event("tick", 2),
            accept(frame, &json!({"x":1})),
        ]
    });
    let payload = session.request("status", &json!({}), &budget()).unwrap();
    assert_eq!(payload, json!({"x":1}));
    for _ in 0..2 {
        let received = session.next(Instant::now()).unwrap();
        assert!(
            matches!(received, Received::Event(Notice { gap: false, .. })),
            "{received:?}"
        );
    }
    assert_eq!(session.next(Instant::now()).unwrap(), Received::TimedOut);
}

#[test]
fn refusals_closes_and_deadlines() {
    let (mut refused, _) = session(|frame| {
        vec![refuse(
            frame,
            &json!({"code":"INVALID_REQUEST","message":"unknown requestId"}),
        )]
    });
    let error = refused.request("m", &json!({}), &budget()).unwrap_err();
    assert_eq!(error.to_string(), "unknown requestId");
    let (mut closed, _) = session(|_| vec![Carried::Closed(1012, "service restart".to_owned())]);
    let error = closed.request("m", &json!({}), &budget()).unwrap_err();
    assert_eq!(error.to_string(), "gateway closed (1012): service restart");
    let (mut silent, _) = session(|_| Vec::new());
    let error = silent
        .request("m", &json!({}), &Budget::new(Duration::from_millis(5)))
        .unwrap_err();
    assert_eq!(error.to_string(), "gateway timeout after 5ms");
}

#[test]
fn a_final_answer_is_waited_for() {
    let (mut session, _) = session(|frame| {
        vec![
            accept(frame, &json!({"status":"accepted"})),
            accept(frame, &json!({"status":"done"})),
        ]
    });
    let payload = session.request_final("m", &json!({}), &budget()).unwrap();
    assert_eq!(payload, json!({"status":"done"}));
}

#[test]
fn gaps_are_noticed() {
    let (mut session, _) =
        session(|_| vec![event("a", 1), event("b", 2), event("c", 5), event("d", 6)]);
    session.send("m", &json!({}));
    let mut gaps = Vec::new();
    for _ in 0..4 {
        match session.next(Instant::now()).unwrap() {
            Received::Event(notice) => gaps.push((notice.event.name, notice.gap)),
            other => panic!("{other:?}"),
        }
    }
    let expected = [("a", false), ("b", false), ("c", true), ("d", false)];
    assert_eq!(gaps, expected.map(|(name, gap)| (name.to_owned(), gap)));
}

#[test]
fn kept_events_are_bounded_and_the_loss_is_a_gap() {
    let (mut session, _) = session(|frame| {
        let mut all: Vec<Carried> = (1..=MAX_QUEUED_EVENTS as u64 + 3)
            .map(|seq| event("e", seq))
            .collect();
        all.push(accept(frame, &json!({})));
        all
    });
    session.request("m", &json!({}), &budget()).unwrap();
    assert_eq!(session.queued.len(), MAX_QUEUED_EVENTS);
    let Received::Event(oldest) = session.next(Instant::now()).unwrap() else {
        panic!()
    };
    assert_eq!((oldest.event.seq, oldest.gap), (Some(4), true));
}

#[test]
fn silence_ends_the_session() {
    let (mut session, log) = session(|_| Vec::new());
    let interval = session.tick() * TICK_INTERVALS_UNTIL_SILENCE;
    session.last_frame = Instant::now().checked_sub(interval).unwrap();
    let error = session
        .next(Instant::now() + Duration::from_secs(20))
        .unwrap_err();
    assert_eq!(error.to_string(), "gateway closed (4000): tick timeout");
    assert_eq!(
        log.lock().unwrap().last().unwrap(),
        "close 4000 tick timeout"
    );
}

#[test]
fn what_is_no_gateway_is_told_apart() {
    for (connect_answer, expected) in [
        (
            json!({"type":"other"}),
            "not a gateway: its hello is not understood",
        ),
        (json!(null), "not a gateway: its hello is not understood"),
        (
            json!({"type":"hello-ok","protocol":5}),
            "protocol mismatch: this program speaks 3 to 4, the gateway expects 5",
        ),
    ] {
        let log = Log::default();
        let transport = FakeTransport::new(
            &log,
            Box::new(move |frame| vec![accept(frame, &connect_answer)]),
        );
        let error =
            handshake(Box::new(transport), |_| ConnectParams::default(), &budget()).unwrap_err();
        assert_eq!(error.to_string(), expected);
        assert_eq!(
            log.lock().unwrap().last().unwrap(),
            "close 1008 connect failed"
        );
    }
}
