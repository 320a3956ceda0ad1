//! Two ends over loopback, one of them often written by hand.

use std::{io::Read, thread, time::Duration};

use proptest::prelude::*;

use super::*;
use crate::{
    net::stream::testing::{pair, read_to_end},
    protocol::limits::{MAX_BUFFERED_BYTES, MAX_FRAME_BYTES, MAX_PREAUTH_FRAME_BYTES},
};

mod lending;
mod restraint;

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

fn peer(stream: Stream, side: Side, limit: usize) -> Peer {
    Peer::new(
        stream,
        side,
        Vec::new(),
        limit,
        Outbox::new(MAX_BUFFERED_BYTES).unwrap(),
    )
}

/// A server peer and the raw other end.
fn server() -> (Peer, Stream) {
    let (near, far) = pair();
    (peer(near, Side::Server, MAX_PREAUTH_FRAME_BYTES), far)
}

/// A server peer and a client peer.
fn both(limit: usize) -> (Peer, Peer) {
    let (near, far) = pair();
    (
        peer(near, Side::Server, limit),
        peer(far, Side::Client, limit),
    )
}

fn text(step: Step) -> String {
    let Step::Text(text) = step else {
        panic!("no text: {step:?}")
    };
    text.to_string()
}

fn closed(step: Step) -> (u16, String, bool) {
    let Step::Closed(closed) = step else {
        panic!("not closed: {step:?}")
    };
    (closed.code, closed.reason, closed.by_us)
}

/// A masked frame written by hand; the mask is zero so that the payload stays readable.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        length @ 0..126 => bytes.push(0x80 | length as u8),
        length @ 126..65_536 => {
            bytes.push(0x80 | 126);
            bytes.extend((length as u16).to_be_bytes());
        }
        length => {
            bytes.push(0x80 | 127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    bytes.extend([0; 4]);
    bytes.extend(payload);
    bytes
}

/// The unmasked frames a server sent: first byte and payload.
fn frames(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    while let [first, length, rest @ ..] = bytes {
        let (length, rest) = match *length {
            126 => (u16::from_be_bytes([rest[0], rest[1]]).into(), &rest[2..]),
            127 => (
                u64::from_be_bytes(rest[..8].try_into().unwrap()) as usize,
                &rest[8..],
            ),
            length => (length.into(), rest),
        };
        frames.push((*first, rest[..length].to_vec()));
        bytes = &rest[length..];
    }
    frames
}

#[test]
fn texts_of_any_size_go_both_ways() {
    let (mut near, mut far) = both(MAX_FRAME_BYTES);
    let echo = thread::spawn(move || {
        loop {
            match far.wait(Some(soon())) {
                Step::Text(text) => assert!(far.outbox().push_text(text.to_string())),
                step => return closed(step),
            }
        }
    });
    for size in [0, 1, 125, 126, 65_535, 65_536, 65_537, 3_000_000] {
        let sent = "é".repeat(size / 2) + &"x".repeat(size % 2);
        near.outbox().push_text(sent.clone());
        assert!(text(near.wait(Some(soon()))) == sent, "{size}");
    }
    near.outbox().close(1012, "service restart");
    assert_eq!(
        closed(near.wait(Some(soon()))),
        (1012, "service restart".into(), true)
    );
    drop(near);
    assert_eq!(
        echo.join().unwrap(),
        (1012, "service restart".into(), false)
    );
}

#[test]
fn the_buffer_of_a_large_message_is_given_back() {
    let (mut near, mut far) = server();
    let sender = thread::spawn(move || {
        let large = frame(0x81, &[b'x'; MAX_PREAUTH_FRAME_BYTES]);
        far.write_all_until(&large, soon()).unwrap();
        far.write_all_until(&frame(0x81, b"half")[..7], soon())
            .unwrap();
        far
    });
    assert_eq!(text(near.wait(Some(soon()))).len(), MAX_PREAUTH_FRAME_BYTES);
    let mut far = sender.join().unwrap();
    assert!(near.swollen);
    assert!(matches!(near.wait(Some(Instant::now())), Step::TimedOut));
    assert!(near.swollen, "half a message must not be thrown away");
    far.write_all_until(&frame(0x81, b"half")[7..], soon())
        .unwrap();
    assert_eq!(text(near.wait(Some(soon()))), "half");
    assert!(matches!(near.wait(Some(Instant::now())), Step::TimedOut));
    assert!(!near.swollen);
    far.write_all_until(&frame(0x81, b"after"), soon()).unwrap();
    assert_eq!(text(near.wait(Some(soon()))), "after");
}

#[test]
fn what_the_handshake_needed_in_buffers_is_given_back() {
    let (mut near, mut far) = server();
    near.set_limit(MAX_FRAME_BYTES);
    assert!(near.swollen);
    assert!(matches!(near.wait(Some(Instant::now())), Step::TimedOut));
    assert!(!near.swollen);
    let large = "x".repeat(MAX_PREAUTH_FRAME_BYTES + 1);
    let sender = thread::spawn(move || {
        let frame = frame(0x81, large.as_bytes());
        far.write_all_until(&frame, soon()).unwrap();
        far
    });
    let received = text(near.wait(Some(soon()))).len();
    assert_eq!(received, MAX_PREAUTH_FRAME_BYTES + 1, "the limit stays");
    drop(sender.join().unwrap());
}

#[test]
fn the_cap_is_exact_on_both_ends() {
    for (extra, fits) in [(0, true), (1, false)] {
        let (mut near, mut far) = both(MAX_PREAUTH_FRAME_BYTES);
        let sent = "x".repeat(MAX_PREAUTH_FRAME_BYTES + extra);
        far.outbox().push_text(sent);
        let far = thread::spawn(move || far.wait(Some(soon())));
        let step = near.wait(Some(soon()));
        if fits {
            assert_eq!(text(step).len(), MAX_PREAUTH_FRAME_BYTES);
            near.outbox().close(1000, "");
            near.wait(Some(soon()));
        } else {
            assert_eq!(closed(step), (1009, String::new(), true));
        }
        drop(near);
        let expected = if fits { 1000 } else { 1009 };
        assert_eq!(
            closed(far.join().unwrap()),
            (expected, String::new(), false)
        );
    }
}

#[test]
fn a_fragmented_message_counts_as_one() {
    let (mut near, mut far) = server();
    let half = vec![b'x'; MAX_PREAUTH_FRAME_BYTES / 2];
    let parts = [frame(0x01, &half), frame(0x89, b"ping"), frame(0x80, &half)].concat();
    far.write_all_until(&parts, soon()).unwrap();
    assert_eq!(text(near.wait(Some(soon()))).len(), MAX_PREAUTH_FRAME_BYTES);
    let parts = [frame(0x01, &half), frame(0x00, &half), frame(0x80, b"x")].concat();
    far.write_all_until(&parts, soon()).unwrap();
    assert_eq!(closed(near.wait(Some(soon()))).0, 1009);
}

#[test]
fn the_limit_can_be_raised() {
    let (mut near, mut far) = server();
    near.set_limit(MAX_FRAME_BYTES);
    let sender = thread::spawn(move || {
        far.write_all_until(&frame(0x81, &[b'x'; 100_000]), soon())
            .unwrap();
        far
    });
    assert_eq!(text(near.wait(Some(soon()))).len(), 100_000);
    drop(sender.join().unwrap());
}

#[test]
fn peers_that_break_the_rules_are_told_so() {
    let table: &[(&str, Vec<u8>, u16)] = &[
        ("invalid UTF-8", frame(0x81, b"\xff\xfe"), 1007),
        ("half a character", frame(0x81, b"\xc3"), 1007),
        (
            "invalid UTF-8 in pieces",
            [frame(0x01, b"\xc3"), frame(0x80, b"\xff")].concat(),
            1007,
        ),
        ("binary that is no text", frame(0x82, b"\xff"), 1007),
        ("unmasked", vec![0x81, 1, b'x'], 1002),
        ("reserved bits", frame(0xc1, b"x"), 1002),
        ("reserved opcode", frame(0x83, b"x"), 1002),
        ("continuation of nothing", frame(0x80, b"x"), 1002),
        ("fragmented ping", frame(0x09, b"x"), 1002),
        ("long ping", frame(0x89, &[0; 126]), 1002),
        (
            "long announcement",
            [&[0x81, 0xff, 0x7f][..], &[0xff; 7], &[0; 4]].concat(),
            1009,
        ),
    ];
    for (what, bytes, code) in table {
        let (mut near, mut far) = server();
        far.write_all_until(bytes, soon()).unwrap();
        assert_eq!(
            closed(near.wait(Some(soon()))),
            (*code, String::new(), true),
            "{what}"
        );
        let goodbye = thread::spawn(move || drop(near));
        let sent = frames(&read_to_end(&mut far, soon()));
        assert_eq!(sent, [(0x88, code.to_be_bytes().to_vec())], "{what}");
        drop(far);
        goodbye.join().unwrap();
    }
}

#[test]
fn the_other_end_may_close_or_vanish() {
    let table: &[(&str, Vec<u8>, (u16, &str))] = &[
        ("with a reason", frame(0x88, b"\x03\xe8bye"), (1000, "bye")),
        ("without a code", frame(0x88, b""), (1005, "")),
        (
            "with a private code",
            frame(0x88, b"\x0f\xa0tick timeout"),
            (4000, "tick timeout"),
        ),
        ("silently", Vec::new(), (1006, "")),
        (
            "in mid-frame",
            frame(0x81, b"hello")[..8].to_vec(),
            (1006, ""),
        ),
    ];
    for (what, bytes, (code, reason)) in table {
        let (mut near, mut far) = server();
        far.write_all_until(bytes, soon()).unwrap();
        drop(far);
        assert_eq!(
            closed(near.wait(Some(soon()))),
            (*code, (*reason).into(), false),
            "{what}"
        );
        assert_eq!(closed(near.wait(None)).0, *code, "{what}");
        assert!(!near.outbox().push_text("late".into()));
    }
}

#[test]
fn a_close_frame_is_answered_before_the_owner_cleans_up() {
    let (mut near, mut far) = server();
    far.write_all_until(&frame(0x88, b"\x03\xe8bye"), soon())
        .unwrap();
    assert_eq!(closed(near.wait(Some(soon()))).0, 1000);
    let ready = wait(Some(far.as_fd()), Interest::READ, None, Some(soon()));
    assert!(ready.unwrap().readable);
    let mut answer = [0; 7];
    far.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"\x88\x05\x03\xe8bye");
    drop(far);
    drop(near);
}

#[test]
fn pings_are_answered_while_waiting_for_texts() {
    let (mut near, mut far) = server();
    far.write_all_until(&frame(0x89, b"are you there"), soon())
        .unwrap();
    assert!(matches!(
        near.wait(Some(Instant::now() + Duration::from_millis(20))),
        Step::TimedOut
    ));
    far.write_all_until(&frame(0x88, b""), soon()).unwrap();
    near.wait(Some(soon()));
    let goodbye = thread::spawn(move || drop(near));
    let sent = frames(&read_to_end(&mut far, soon()));
    assert_eq!(sent[0], (0x8a, b"are you there".to_vec()));
    drop(far);
    goodbye.join().unwrap();
}

#[test]
fn only_the_pong_of_the_last_ping_answers_it() {
    let (mut near, mut far) = server();
    // Waits until everything sent to it before has been read.
    let read = |near: &mut Peer, far: &mut Stream, bytes: &[u8]| {
        let behind = frame(0x81, b"behind");
        far.write_all_until(&[bytes, &behind].concat(), soon())
            .unwrap();
        assert_eq!(text(near.wait(Some(soon()))), "behind");
        near.answered()
    };
    let other = [frame(0x8a, &[0; 8]), frame(0x8a, b""), frame(0x89, b"x")].concat();
    assert_eq!(read(&mut near, &mut far, &other), 0);
    let first = near.outbox().ping();
    let stray = [frame(0x8a, &9_u64.to_be_bytes()), frame(0x8a, b"x")].concat();
    assert_eq!(read(&mut near, &mut far, &stray), 0);
    let pong = |number: u64| frame(0x8a, &number.to_be_bytes());
    assert_eq!(read(&mut near, &mut far, &pong(first)), first);
    // Of two that are due together only the last is sent.
    near.outbox().ping();
    let last = near.outbox().ping();
    assert_eq!(read(&mut near, &mut far, &pong(last - 1)), first);
    assert_eq!(read(&mut near, &mut far, &pong(last)), last);
    far.write_all_until(&frame(0x88, b""), soon()).unwrap();
    near.wait(Some(soon()));
    let goodbye = thread::spawn(move || drop(near));
    let sent = frames(&read_to_end(&mut far, soon()));
    let pings = sent.into_iter().filter(|(first, _)| *first == 0x89);
    let expected = [first, last].map(|number| (0x89, number.to_be_bytes().to_vec()));
    assert_eq!(pings.collect::<Vec<_>>(), expected);
    drop(far);
    goodbye.join().unwrap();
}

#[test]
fn half_a_frame_and_a_flood_of_pings_hit_the_deadline() {
    let (mut near, mut far) = server();
    far.write_all_until(&frame(0x81, b"hello")[..8], soon())
        .unwrap();
    let late = Some(Instant::now() + Duration::from_millis(20));
    assert!(matches!(near.wait(late), Step::TimedOut));
    far.write_all_until(&frame(0x81, b"hello")[8..], soon())
        .unwrap();
    assert_eq!(text(near.wait(Some(soon()))), "hello");
    let flood = thread::spawn(move || {
        let pings = frame(0x89, b"x").repeat(1_000);
        let empty = frame(0x00, b"").repeat(1_000);
        let mut next = frame(0x01, b"");
        // Ends when the other side has gone, not when that side was slow for a moment.
        while far.write_all_until(&next, soon()).is_ok() {
            next = if next.len() == pings.len() {
                empty.clone()
            } else {
                pings.clone()
            };
        }
    });
    assert!(matches!(
        near.wait(Some(Instant::now() + Duration::from_millis(50))),
        Step::TimedOut
    ));
    drop(near);
    flood.join().unwrap();
}

#[test]
fn bytes_behind_the_head_are_the_first_frames() {
    let (near, mut far) = pair();
    let rest = [
        frame(0x81, b"one"),
        frame(0x81, b"two"),
        frame(0x81, b"three")[..4].to_vec(),
    ]
    .concat();
    let outbox = Outbox::new(MAX_BUFFERED_BYTES).unwrap();
    let mut near = Peer::new(near, Side::Server, rest, MAX_PREAUTH_FRAME_BYTES, outbox);
    assert_eq!(text(near.wait(Some(soon()))), "one");
    assert_eq!(text(near.wait(Some(soon()))), "two");
    far.write_all_until(&frame(0x81, b"three")[4..], soon())
        .unwrap();
    assert_eq!(text(near.wait(Some(soon()))), "three");
}

#[test]
fn binary_that_is_text_is_read_as_text() {
    let (mut near, mut far) = server();
    far.write_all_until(&frame(0x82, b"{}"), soon()).unwrap();
    assert_eq!(text(near.wait(Some(soon()))), "{}");
}

#[test]
fn other_threads_wake_the_owner() {
    let (mut near, mut far) = both(MAX_FRAME_BYTES);
    let outbox = near.outbox().clone();
    let owner = thread::spawn(move || {
        let step = near.wait(Some(soon()));
        (matches!(step, Step::Woken), near)
    });
    outbox.push_text("pushed".into());
    assert_eq!(text(far.wait(Some(soon()))), "pushed");
    outbox.poke();
    let (woken, mut near) = owner.join().unwrap();
    assert!(woken);
    assert!(matches!(near.wait(Some(Instant::now())), Step::TimedOut));
}

#[test]
fn a_close_flushes_what_was_queued_before_it_and_nothing_is_read_after_it() {
    let (mut near, mut far) = both(MAX_FRAME_BYTES);
    far.outbox().push_text("too late".into());
    assert!(matches!(far.wait(Some(Instant::now())), Step::TimedOut));
    let count = 200;
    for number in 0..count {
        assert!(
            near.outbox()
                .push_text(format!("{number}:{}", "x".repeat(10_000)))
        );
    }
    near.outbox().close(1008, &"é".repeat(100));
    let near = thread::spawn(move || {
        let step = near.wait(Some(soon()));
        drop(near);
        step
    });
    for number in 0..count {
        assert!(text(far.wait(Some(soon()))).starts_with(&format!("{number}:")));
    }
    let (code, reason, _) = closed(far.wait(Some(soon())));
    assert_eq!((code, reason.len()), (1008, 120));
    drop(far);
    assert_eq!(closed(near.join().unwrap()).0, 1008);
}

#[test]
fn a_peer_that_does_not_read_is_given_up() {
    let (near, far) = pair();
    let outbox = Outbox::new(1 << 20).unwrap();
    let mut near = Peer::new(near, Side::Server, Vec::new(), 1_000, outbox.clone());
    let large = "x".repeat(100_000);
    while outbox.push_text(large.clone()) {
        assert!(matches!(near.wait(Some(Instant::now())), Step::TimedOut));
    }
    assert_eq!(
        closed(near.wait(Some(soon()))),
        (1008, "slow consumer".into(), true)
    );
    drop(near);
    drop(far);
}

#[test]
fn a_slow_reader_still_learns_why_it_was_closed() {
    let (near, mut far) = pair();
    let outbox = Outbox::new(1 << 20).unwrap();
    let mut near = Peer::new(near, Side::Server, Vec::new(), 1_000, outbox.clone());
    while outbox.push_text("x".repeat(100_000)) {
        near.wait(Some(Instant::now()));
    }
    near.wait(Some(soon()));
    let goodbye = thread::spawn(move || drop(near));
    let sent = frames(&read_to_end(&mut far, soon()));
    assert_eq!(
        sent.last().unwrap(),
        &(0x88, b"\x03\xf0slow consumer".to_vec())
    );
    drop(far);
    goodbye.join().unwrap();
}

#[test]
fn a_goodbye_does_not_wait_for_ever_behind_what_a_stalled_peer_does_not_read() {
    let (mut near, far) = both(1_000);
    near.outbox().push_text("x".repeat(30 << 20));
    near.outbox().close(1012, "service restart");
    assert_eq!(
        closed(near.wait(None)),
        (1012, "service restart".into(), true)
    );
    drop(near);
    drop(far);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_bytes_upset_a_peer(bytes in prop::collection::vec(any::<u8>(), 0..200), masked in any::<bool>()) {
        let (near, far) = pair();
        let rest = if masked { frame(0x81 ^ (bytes.len() as u8 & 0x7), &bytes) } else { bytes };
        let outbox = Outbox::new(1_000).unwrap();
        let mut near = Peer::new(near, Side::Server, rest, 1_000, outbox);
        drop(far);
        while !matches!(near.wait(Some(soon())), Step::Closed(_)) {}
    }
}
