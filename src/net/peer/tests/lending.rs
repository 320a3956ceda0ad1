//! Whoever pushes writes for an owner that sleeps.

use super::*;
use crate::protocol::frame::EventText;

/// Puts the owner to sleep without a thread for it.
fn asleep(near: &mut Peer) {
    near.outbox.begin_turn();
    assert!(near.outbox.fall_asleep(near.lendable()));
}

fn is_woken(outbox: &Outbox) -> bool {
    let now = Some(Instant::now());
    wait(None, Interest::READ, Some(outbox.wake()), now)
        .unwrap()
        .woken
}

#[test]
fn what_the_socket_takes_wakes_no_sleeping_owner() {
    let (mut near, mut far) = both(MAX_FRAME_BYTES);
    asleep(&mut near);
    for size in [0, 125, 126, FRAGMENT_BYTES] {
        let sent = "x".repeat(size);
        assert!(near.outbox().push_text(sent.clone()));
        assert_eq!(text(far.wait(Some(soon()))), sent);
    }
    let event = EventText::new("tick", &serde_json::json!({}));
    assert!(near.outbox().broadcast(&event, false));
    assert!(text(far.wait(Some(soon()))).ends_with(",\"seq\":1}"));
    assert_eq!(near.outbox().queued_bytes(), 0);
    assert!(!is_woken(near.outbox()));
    // More than one frame is the owner's to send.
    near.outbox().push_text("x".repeat(FRAGMENT_BYTES + 1));
    assert!(is_woken(near.outbox()));
}

#[test]
fn a_client_whose_frames_are_masked_lends_nothing() {
    let (mut near, mut far) = both(MAX_FRAME_BYTES);
    asleep(&mut far);
    far.outbox().push_text("masked".to_owned());
    assert!(is_woken(far.outbox()));
    assert!(matches!(far.wait(Some(Instant::now())), Step::TimedOut));
    assert_eq!(text(near.wait(Some(soon()))), "masked");
}

#[test]
fn a_lent_socket_closes_with_its_owner_whoever_still_has_a_handle() {
    let (mut near, mut far) = server();
    asleep(&mut near);
    let handle = near.outbox().clone();
    drop(near);
    assert!(read_to_end(&mut far, soon()).is_empty());
    assert!(!handle.push_text("late".to_owned()));
}

#[test]
fn nothing_is_slept_over_that_came_while_the_owner_was_awake() {
    let (near, _far) = server();
    let pushes: [&dyn Fn(&Outbox); 4] = [
        &|outbox| assert!(outbox.push_text("{}".to_owned())),
        &|outbox| outbox.poke(),
        &|outbox| assert!(outbox.ping() > 0),
        &|outbox| outbox.close(1000, ""),
    ];
    for push in pushes {
        near.outbox.begin_turn();
        push(&near.outbox);
        assert!(!is_woken(&near.outbox), "nobody has to be woken");
        assert!(!near.outbox.fall_asleep(None));
        near.outbox.begin_turn();
        assert!(near.outbox.fall_asleep(None));
    }
}

#[test]
fn the_rest_of_a_frame_that_was_begun_for_the_owner_goes_before_everything_else() {
    let (mut near, mut far) = server();
    asleep(&mut near);
    let mut sent = 0;
    while !is_woken(near.outbox()) {
        sent += 1;
        near.outbox()
            .push_text(format!("{sent:>0$}", FRAGMENT_BYTES));
    }
    near.outbox().ping();
    near.outbox().push_text("last".to_owned());
    near.outbox().close(1012, "service restart");
    let owner = thread::spawn(move || drop(near.wait(Some(soon()))));
    let got = frames(&read_to_end(&mut far, soon()));
    drop(far);
    owner.join().unwrap();
    let texts: Vec<&[u8]> = got
        .iter()
        .filter(|(first, _)| *first == 0x81)
        .map(|(_, payload)| payload.as_slice())
        .collect();
    assert_eq!(texts.len(), sent + 1);
    for (number, payload) in (1..=sent).zip(&texts) {
        assert_eq!(
            **payload,
            *format!("{number:>0$}", FRAGMENT_BYTES).as_bytes()
        );
    }
    assert_eq!(texts[sent], b"last");
    let kinds: Vec<u8> = got.iter().map(|(first, _)| *first).collect();
    assert!(kinds.contains(&0x89) && kinds.ends_with(&[0x88]));
}

#[test]
fn a_peer_given_up_in_the_middle_of_a_frame_still_learns_why() {
    let (near, mut far) = pair();
    let outbox = Outbox::new(64 * 1024).unwrap();
    let mut near = Peer::new(near, Side::Server, Vec::new(), 1_000, outbox.clone());
    asleep(&mut near);
    while outbox.push_text("x".repeat(FRAGMENT_BYTES)) {}
    let goodbye = thread::spawn(move || {
        let step = near.wait(Some(soon()));
        drop(near);
        closed(step)
    });
    let got = frames(&read_to_end(&mut far, soon()));
    assert_eq!(got.last().unwrap().1, b"\x03\xf0slow consumer".to_vec());
    assert!(got[..got.len() - 1].iter().all(|(first, _)| *first == 0x81));
    drop(far);
    assert_eq!(
        goodbye.join().unwrap(),
        (1008, "slow consumer".into(), true)
    );
}

#[test]
fn texts_of_many_threads_arrive_whole_and_in_order_while_the_owner_sleeps_and_wakes() {
    const PUSHERS: usize = 4;
    const TEXTS: usize = 400;
    let (mut near, mut far) = both(MAX_FRAME_BYTES);
    let outbox = near.outbox().clone();
    let pushers: Vec<_> = (0..PUSHERS)
        .map(|pusher| {
            let outbox = outbox.clone();
            thread::spawn(move || {
                for number in 0..TEXTS {
                    let fill = "x".repeat(number * 37 % (FRAGMENT_BYTES + 500));
                    let payload = serde_json::json!([pusher, number, fill]);
                    assert!(outbox.broadcast(&EventText::new("test", &payload), false));
                    if number % 50 == 0 {
                        outbox.ping();
                    }
                }
            })
        })
        .collect();
    let owner = thread::spawn(move || {
        for _ in 0..PUSHERS * TEXTS / 10 {
            text(near.wait(Some(soon())));
        }
        near.answered()
    });
    let mut next = [0; PUSHERS];
    for count in 1..=PUSHERS * TEXTS {
        let frame: serde_json::Value = serde_json::from_str(&text(far.wait(Some(soon())))).unwrap();
        assert_eq!(frame["seq"], count);
        let pusher = frame["payload"][0].as_u64().unwrap() as usize;
        assert_eq!(frame["payload"][1], next[pusher]);
        next[pusher] += 1;
        if count % 10 == 0 {
            far.outbox().push_text("{}".to_owned());
        }
    }
    for pusher in pushers {
        pusher.join().unwrap();
    }
    // Sends the last answer; the other end may be gone when it has that.
    far.wait(Some(Instant::now()));
    assert!(owner.join().unwrap() > 0, "pings were answered meanwhile");
    assert_eq!(outbox.queued_bytes(), 0);
}
