//! The queue without an owner: order, numbers, budget.

use serde_json::json;

use super::*;

fn drain(outbox: &Outbox) -> Vec<String> {
    let mut texts = Vec::new();
    while let Errand::Send { text, cost } = outbox.next() {
        outbox.release(cost);
        texts.push(text);
    }
    texts
}

fn seqs(texts: &[String]) -> Vec<Option<u64>> {
    let seq =
        |text: &String| serde_json::from_str::<serde_json::Value>(text).unwrap()["seq"].as_u64();
    texts.iter().map(seq).collect()
}

#[test]
fn order_is_kept_and_only_broadcasts_are_numbered() {
    let outbox = Outbox::new(1 << 20).unwrap();
    let event = EventText::new("tick", &json!({}));
    assert!(outbox.broadcast(&event, false));
    assert!(outbox.push_event(&event));
    assert!(outbox.push_text("{}".into()));
    assert!(outbox.broadcast(&event, true));
    assert_eq!(seqs(&drain(&outbox)), [Some(1), None, None, Some(2)]);
    assert_eq!(outbox.queued_bytes(), 0);
}

#[test]
fn a_dropped_broadcast_uses_up_its_number() {
    let event = EventText::new("presence", &json!({"fill": "x".repeat(100)}));
    let outbox = Outbox::new(event.max_len() * 2).unwrap();
    let queued: Vec<bool> = (0..4).map(|_| outbox.broadcast(&event, true)).collect();
    assert_eq!(queued, [true, true, false, false]);
    assert_eq!(seqs(&drain(&outbox)), [Some(1), Some(2)]);
    assert!(outbox.broadcast(&event, true));
    assert_eq!(seqs(&drain(&outbox)), [Some(5)]);
    assert!(outbox.is_open());
}

#[test]
fn anything_else_over_the_budget_ends_the_connection() {
    let event = EventText::new("tick", &json!({}));
    let pushes: [&dyn Fn(&Outbox) -> bool; 3] = [
        &|outbox| outbox.push_text("x".repeat(8)),
        &|outbox| outbox.push_event(&event),
        &|outbox| outbox.broadcast(&event, false),
    ];
    for push in pushes {
        let outbox = Outbox::new(10).unwrap();
        assert!(outbox.push_text("x".repeat(8)));
        assert!(!push(&outbox));
        assert!(!outbox.is_open() && outbox.gave_up());
        assert!(!outbox.push_text(String::new()));
        let farewell = outbox.farewell().unwrap();
        assert_eq!(
            (farewell.code, farewell.reason.as_str()),
            (1008, "slow consumer")
        );
    }
}

#[test]
fn a_used_up_budget_ends_the_connection_at_the_next_tick_unless_something_was_sent() {
    let large = EventText::new("presence", &json!({"fill": "x".repeat(1_000)}));
    let tick = EventText::new("tick", &json!({}));
    for reads in [false, true] {
        // Far more than a tick is free when the second large one is dropped.
        let outbox = Outbox::new(large.max_len() * 3 / 2).unwrap();
        assert!(outbox.broadcast(&large, true));
        assert!(outbox.has_room(tick.max_len()));
        assert!(!outbox.broadcast(&large, true));
        assert!(!outbox.has_room(tick.max_len()));
        assert!(!outbox.broadcast(&tick, true), "no room for what may go");
        if reads {
            assert_eq!(seqs(&drain(&outbox)), [Some(1)]);
        }
        assert_eq!(outbox.broadcast(&tick, false), reads);
        assert_eq!((outbox.is_open(), outbox.gave_up()), (reads, !reads));
        if reads {
            assert_eq!(seqs(&drain(&outbox)), [Some(4)]);
        }
    }
}

#[test]
fn what_is_being_sent_still_counts_and_a_lone_giant_passes() {
    let outbox = Outbox::new(10).unwrap();
    assert!(outbox.push_text("x".repeat(50)));
    let Errand::Send { cost, .. } = outbox.next() else {
        panic!("nothing to send")
    };
    assert_eq!(outbox.queued_bytes(), 50);
    outbox.release(cost);
    assert!(outbox.push_text("x".repeat(50)));
}

#[test]
fn a_close_comes_after_what_was_queued_and_the_first_counts() {
    let outbox = Outbox::new(1 << 20).unwrap();
    outbox.push_text("last".into());
    outbox.close(1012, &"é".repeat(100));
    outbox.close(1000, "");
    assert!(!outbox.push_text("late".into()));
    assert_eq!(drain(&outbox), ["last"]);
    let farewell = outbox.farewell().unwrap();
    assert_eq!((farewell.code, farewell.reason.len()), (1012, 120));
    assert!(!outbox.gave_up());
}

#[test]
fn a_poke_is_seen_once() {
    let outbox = Outbox::new(10).unwrap();
    outbox.poke();
    assert!(outbox.take_poke());
    assert!(!outbox.take_poke());
    assert!(matches!(outbox.next(), Errand::Rest));
}
