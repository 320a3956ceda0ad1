//! Operators that never read while notices of a state flow: what no longer fits is dropped for them, nobody else
//! notices, and memory stays within what one copy of the events takes.

use serde_json::json;

use super::ledger::operator;
use super::report;
use crate::support::flood::{Usage, raise_nofile};
use crate::support::job::whole_job;
use crate::support::peer::Peer;
use crate::support::process::Gateway;

/// Operators that do not read.
const DEAF: usize = 100;

/// Bytes that may wait for one of them.
const BUDGET: usize = 52_428_800;

/// Memory that all of it may take beyond one budget, in KiB: what each connection is just sending.
const MORE_KIB: u64 = 128 * 1_024;

fn sessions(owner: &mut Peer) -> usize {
    let listed = owner.call("system-presence", json!({})).unwrap();
    listed.as_array().map_or(0, Vec::len)
}

#[test]
fn operators_that_never_read_cost_nobody_anything() {
    raise_nofile();
    let gateway = Gateway::start();
    let mut owner = operator(gateway.address).unwrap();
    // Rows that make every notice of a change long.
    let long = "x".repeat(4_000);
    let event = |owner: &mut Peer, number: usize| {
        let text = format!("{number} {long}");
        let report = json!({"text": text, "deviceId": format!("d{}", number % 190), "instanceId": format!("i{}", number % 190),
            "host": &text[..200], "reason": &text[..200]});
        owner.call("system-event", report).unwrap();
        owner.heard.clear();
        owner.events_until_now("presence").pop()
    };
    let mut length = 0;
    for number in 0..190 {
        let notice = event(&mut owner, number);
        length = notice.map_or(length, |notice| notice.to_string().len());
    }
    owner.heard.clear();
    let rows = sessions(&mut owner);
    let deaf: Vec<Peer> = (0..DEAF)
        .map(|_| operator(gateway.address).unwrap())
        .collect();
    let before = Usage::of(&gateway);
    // What the sockets take by themselves comes on top.
    let needed = (BUDGET + 16 * 1024 * 1024) / length.max(1) + 1;
    for number in 0..needed {
        event(&mut owner, number);
        if number % (needed / 4).max(1) == 0 {
            whole_job(&gateway);
        }
    }
    let during = Usage::of(&gateway);
    assert!(
        during.rss_kb <= before.rss_kb + BUDGET as u64 / 1_024 + MORE_KIB,
        "{before:?} -> {during:?}"
    );
    whole_job(&gateway);
    assert!(sessions(&mut owner) >= rows);
    drop(deaf);
    report::row(
        "readers that never read",
        &format!(
            "{DEAF} operators, {needed} events of {} KiB: jobs go on, {} MiB more",
            length / 1_024,
            during.rss_kb.saturating_sub(before.rss_kb) / 1_024
        ),
        0,
        0,
    );
}
