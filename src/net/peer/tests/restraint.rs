//! Reading less than the other end would send: bounded bytes, unheard answers, rests.

use super::*;

#[test]
fn bytes_beyond_the_allowance_end_the_connection_whatever_they_are() {
    let mut first = frame(0x01, b"{");
    let empty_fragment = frame(0x00, b"");
    for filler in [frame(0x89, &[b'p'; 125]), empty_fragment] {
        let (mut near, mut far) = server();
        near.set_allowance(4_000);
        let writer = thread::spawn(move || {
            let opening = std::mem::take(&mut first);
            let endless = opening
                .into_iter()
                .chain(filler.repeat(2_000))
                .collect::<Vec<u8>>();
            // The other end stops reading before all of it is written.
            let _ = far.write_all_until(&endless, soon());
            far
        });
        let end = closed(near.wait(Some(soon())));
        assert_eq!(end, (1009, String::new(), true));
        drop(near);
        drop(writer.join().unwrap());
        first = frame(0x01, b"{");
    }
}

#[test]
fn an_allowance_that_suffices_is_not_noticed_and_can_be_lifted() {
    let (mut near, mut far) = server();
    near.set_allowance(200);
    far.write_all_until(&frame(0x81, &[b'a'; 100]), soon())
        .unwrap();
    assert_eq!(text(near.wait(Some(soon()))).len(), 100);
    near.set_allowance(usize::MAX);
    far.write_all_until(&frame(0x81, &[b'a'; 4_000]), soon())
        .unwrap();
    assert_eq!(text(near.wait(Some(soon()))).len(), 4_000);
}

#[test]
fn nothing_is_read_while_too_many_answers_wait() {
    let (mut near, mut far) = server();
    near.set_backlog(1_000);
    // Far more than the sockets hold, so that much of it stays queued.
    for _ in 0..40 {
        near.outbox().push_text("x".repeat(1 << 20));
    }
    assert!(matches!(near.wait(Some(Instant::now())), Step::TimedOut));
    far.write_all_until(&frame(0x81, b"one more"), soon())
        .unwrap();
    let short = Instant::now() + Duration::from_millis(50);
    assert!(matches!(near.wait(Some(short)), Step::TimedOut));
    let reader = thread::spawn(move || read_to_end(&mut far, soon()));
    assert_eq!(text(near.wait(Some(soon()))), "one more");
    drop(near);
    reader.join().unwrap();
}

#[test]
fn a_rest_ends_by_itself_and_sends_meanwhile() {
    let (mut near, mut far) = server();
    far.write_all_until(&frame(0x81, b"later"), soon()).unwrap();
    let until = Instant::now() + Duration::from_millis(100);
    near.rest_until(until);
    near.outbox().push_text("now".to_owned());
    assert!(matches!(near.wait(Some(Instant::now())), Step::TimedOut));
    let mut sent = [0; 5];
    while far.read(&mut sent).is_err() {
        thread::yield_now();
    }
    assert_eq!(&sent, b"\x81\x03now");
    assert_eq!(text(near.wait(Some(soon()))), "later");
    assert!(Instant::now() >= until);
}
