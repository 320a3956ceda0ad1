//! Readers at the byte budget. Who reads too slowly loses droppable events first and its connection at the next
//! tick; an answer that finds no room ends it at once. Everybody else hears everything, and memory stays far
//! below a budget for each of them.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::ledger::{Says, operator};
use super::report;
use crate::support::device::Device;
use crate::support::flood::{Usage, raise_nofile};
use crate::support::home::Home;
use crate::support::job::whole_job;
use crate::support::peer::Peer;
use crate::support::process::{Gateway, SECRET, free_port};
use crate::support::websocket::Message;
use crate::support::{wait_for, wait_within};

/// Operators that read nothing at all.
const DEAF: usize = 10;

/// Operators that read a little now and then.
const SLOW: usize = 5;

/// How long they rest after each event or part of one: several come in between. Shorter than a goodbye takes.
const SIP: Duration = Duration::from_millis(1_500);

/// Bytes that may wait for one of them.
const BUDGET: usize = 52_428_800;

/// Rows that make every notice of a change long.
const ROWS: usize = 180;

/// Several ticks: at one of them a slow reader may just have taken an event.
const SEVERAL_TICKS: Duration = Duration::from_secs(150);

fn start() -> Gateway {
    let (home, port) = (Home::new(), free_port());
    home.write_config(&format!(
        r#"{{ gateway: {{ mode: "local", port: {port}, metrics: {{ enabled: true }},
             auth: {{ mode: "token", token: "{SECRET}" }} }} }}"#
    ));
    Gateway::start_at(home, port)
}

/// One figure of the gateway.
fn figure(gateway: &Gateway, name: &str) -> usize {
    let page = gateway.get("/metrics");
    let line = page.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_else(|| panic!("no {name} in {page}"))
        .trim()
        .parse()
        .unwrap()
}

fn dropped(gateway: &Gateway) -> usize {
    figure(gateway, "openclaw_events_dropped_total ")
}

fn closed(gateway: &Gateway) -> usize {
    figure(gateway, "openclaw_slow_readers_closed_total ")
}

/// Somebody changes a row of those who are around, which everybody is told.
fn change(owner: &mut Peer, row: usize) {
    // Every fact is cut to 256 characters, of four bytes here.
    let long = "\u{1d54f}".repeat(256);
    let report = json!({"deviceId": format!("device-{row}"), "instanceId": long, "text": long, "host": long,
        "ip": long, "version": long, "platform": long, "deviceFamily": long, "modelIdentifier": long,
        "mode": long, "reason": long});
    owner.call("system-event", report).unwrap();
    owner.events_until_now("presence");
    owner.heard.clear();
}

/// Reads one event after the other; the numbers of all broadcasts are in order.
struct Witness {
    peer: Peer,
    seq: u64,
    /// Broadcasts that did not come.
    missed: u64,
}

impl Witness {
    fn new(gateway: &Gateway) -> Witness {
        let peer = operator(gateway.address).unwrap();
        Witness {
            peer,
            seq: 0,
            missed: 0,
        }
    }

    /// The next text, nothing when none comes in time, or how it was closed.
    fn hear(&mut self, patience: Duration) -> Result<Option<String>, Message> {
        match self.peer.socket.next_within(patience) {
            Some(Message::Text(text)) => {
                let frame: Value = serde_json::from_str(&text).unwrap();
                if let Some(seq) = frame["seq"].as_u64() {
                    assert!(seq > self.seq, "{} after {}", seq, self.seq);
                    self.missed += seq - self.seq - 1;
                    self.seq = seq;
                }
                Ok(Some(text))
            }
            Some(Message::Ping(_) | Message::Pong(_)) | None => Ok(None),
            Some(end) => Err(end),
        }
    }

    /// Reads until it is told that it is enough, and what was sent before its own last question.
    fn hear_all(mut self, heard: &AtomicUsize, enough: &AtomicBool) {
        let mut asked = None;
        loop {
            if asked.is_none() && enough.load(Ordering::SeqCst) {
                let id = self.peer.send("health", json!({}));
                asked = Some(json!(id).to_string());
            }
            let text = self.hear(Duration::from_millis(100));
            let text = text.unwrap_or_else(|end| panic!("who reads stays: {end:?}"));
            let text = text.unwrap_or_default();
            heard.fetch_add(text.len(), Ordering::SeqCst);
            let is_answer =
                |id: &String| text.starts_with("{\"type\":\"res\"") && text.contains(id);
            if asked.as_ref().is_some_and(is_answer) {
                break;
            }
        }
        assert_eq!(self.missed, 0, "of {} broadcasts", self.seq);
    }

    /// Reads a little now and then until it is closed, and how that was said.
    fn sip(mut self, enough: &AtomicBool) -> Option<Message> {
        while !enough.load(Ordering::SeqCst) {
            match self.hear(Duration::from_millis(1)) {
                Ok(_) => std::thread::sleep(SIP),
                Err(end) => return Some(end),
            }
        }
        None
    }
}

#[test]
fn who_reads_too_slowly_is_closed_and_costs_nobody_anything() {
    raise_nofile();
    let gateway = start();
    let mut owner = operator(gateway.address).unwrap();
    // Before there is anything to tell: a hello carries it too.
    let (witness, late) = (Witness::new(&gateway), Witness::new(&gateway));
    let slow: Vec<Witness> = (0..SLOW).map(|_| Witness::new(&gateway)).collect();
    let deaf: Vec<Peer> = (0..DEAF)
        .map(|_| operator(gateway.address).unwrap())
        .collect();
    for row in 0..ROWS {
        change(&mut owner, row);
    }
    let before = Usage::of(&gateway);
    let (heard, ignored) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let (half, enough) = (AtomicBool::new(false), AtomicBool::new(false));
    let (peak, first_dropped_at, ends) = std::thread::scope(|scope| {
        scope.spawn(|| witness.hear_all(&heard, &enough));
        // Reads nothing at first, and everything before it is too much.
        scope.spawn(|| {
            wait_within(SEVERAL_TICKS, "half the budget", || {
                let over = half.load(Ordering::SeqCst) || enough.load(Ordering::SeqCst);
                over.then_some(())
            });
            late.hear_all(&ignored, &enough);
        });
        let slow: Vec<_> = slow
            .into_iter()
            .map(|slow| scope.spawn(|| slow.sip(&enough)))
            .collect();
        let says = Says(&enough);
        let mut first_dropped_at = None;
        let mut peak = before.rss_kb;
        let mut number = 0;
        wait_within(SEVERAL_TICKS, "every slow reader to be closed", || {
            change(&mut owner, number % ROWS);
            number += 1;
            peak = peak.max(Usage::of(&gateway).rss_kb);
            let sent = heard.load(Ordering::SeqCst);
            half.fetch_or(sent > BUDGET / 2, Ordering::SeqCst);
            if first_dropped_at.is_none() && dropped(&gateway) > 0 {
                first_dropped_at = Some(sent);
                whole_job(&gateway);
            }
            slow.iter().all(|slow| slow.is_finished()).then_some(())
        });
        drop(says);
        let ends: Vec<_> = slow.into_iter().map(|slow| slow.join().unwrap()).collect();
        (peak, first_dropped_at.unwrap(), ends)
    });
    // What the witness was just hearing is not in its books yet.
    assert!(first_dropped_at >= BUDGET / 10 * 9, "{first_dropped_at}");
    // The word is for who takes what was sent before it, within the time of a goodbye.
    let word = Some(Message::Close(1008, "slow consumer".to_owned()));
    let told = ends.iter().filter(|end| **end == word).count();
    assert!(told > 0, "{ends:?}");
    assert!(closed(&gateway) >= SLOW && dropped(&gateway) >= SLOW);
    // What all of them wait for is the same few copies; one for each would be a budget each.
    let more = peak.saturating_sub(before.rss_kb);
    let bound = (DEAF + SLOW) * BUDGET / 1_024 / 3;
    assert!(more <= bound as u64, "{before:?} -> {peak} KiB");
    wait_for("the deaf to be gone", || {
        (figure(
            &gateway,
            "openclaw_sessions{role=\"operator\",mode=\"backend\"} ",
        ) <= 2)
            .then_some(())
    });
    whole_job(&gateway);
    drop(deaf);
    report::row(
        "slow readers at the byte budget",
        &format!(
            "{SLOW} slow, {DEAF} deaf: closed after {} MiB, others missed nothing, {} MiB more",
            first_dropped_at / 1_024 / 1_024,
            more / 1_024
        ),
        0,
        0,
    );
}

/// Bytes of a result, which its answer carries twice: two answers fit into the budget, three do not.
const RESULT: usize = 10 * 1_024 * 1_024;

#[test]
fn who_does_not_take_its_answers_is_closed_and_its_node_is_not() {
    let gateway = start();
    let device = Device::new();
    let mut owner = operator(gateway.address).unwrap();
    let mut node = Peer::node(gateway.address, SECRET, &device, &["system.which"]).unwrap();
    let id = owner.event("node.pair.requested")["payload"]["requestId"].clone();
    owner
        .call("node.pair.approve", json!({"requestId": id}))
        .unwrap();
    let mut deaf = operator(gateway.address).unwrap();
    for key in ["a", "b", "c"] {
        deaf.send(
            "node.invoke",
            json!({"nodeId": device.id, "command": "system.which", "params": {"bins": []}, "idempotencyKey": key}),
        );
    }
    let long = json!({"bins": {"x": "x".repeat(RESULT)}});
    for answer in 1..=3 {
        node.answer_invoke(&long);
        assert_eq!(closed(&gateway), answer / 3, "after answer {answer}");
    }
    let mut told = 0;
    loop {
        match deaf.socket.next() {
            Message::Text(text) => told += usize::from(text.len() > RESULT),
            Message::Ping(_) | Message::Pong(_) => {}
            // It may be too late for the word.
            end => {
                let word = Message::Close(1008, "slow consumer".to_owned());
                assert!([word, Message::Gone].contains(&end), "{end:?}");
                break;
            }
        }
    }
    assert!(told < 3, "{told}");
    let asked = owner.send(
        "node.invoke",
        json!({"nodeId": device.id, "command": "system.which", "params": {"bins": []}, "idempotencyKey": "d"}),
    );
    node.answer_invoke(&json!({"bins": {}}));
    owner.answer(&asked).unwrap();
    whole_job(&gateway);
    report::row(
        "answers that nobody takes",
        "3 of 20 MiB at a budget of 50: their asker is closed, the node is asked on",
        0,
        0,
    );
}
