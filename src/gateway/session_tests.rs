//! Admitted sessions over real connections: broadcasts, ends, limits and the stop of the gateway.

use std::io::{Read, Write};
use std::time::Duration;

use serde_json::{Value, json};

use crate::gateway::limits::ArrivalLimits;
use crate::gateway::loopback::{
    Client, PATIENCE, Rig, TOKEN, bare, key, node, now_ms, operator, signed, wait_until,
};

#[test]
fn broadcasts_are_numbered_per_session_and_guarded() {
    let rig = Rig::start();
    let mut pairing = rig.session(|_| operator(&["operator.pairing"]));
    let mut reading = rig.session(|_| operator(&["operator.read"]));
    let hub = &rig.gateway().context().hub;
    hub.broadcast("device.pair.requested", &json!({"requestId": "r"}));
    hub.broadcast("nobody.knows", &json!({}));
    hub.broadcast("tick", &json!({"ts": 1}));
    hub.presence_changed();
    hub.broadcast("presence", &json!({"presence": []}));
    let (presence, health) = (hub.presence_version(), hub.health_version());
    for (client, expected) in [
        (
            &mut pairing,
            &["device.pair.requested", "tick", "presence"][..],
        ),
        (&mut reading, &["tick", "presence"]),
    ] {
        for (index, name) in expected.iter().enumerate() {
            let event = client.receive();
            assert_eq!(
                (event["event"].as_str(), event["seq"].as_u64()),
                (Some(*name), Some(index as u64 + 1))
            );
            let version =
                (*name == "presence").then(|| json!({"presence": presence, "health": health}));
            assert_eq!(event.get("stateVersion"), version.as_ref());
        }
    }
}

#[test]
fn ticks_come_by_themselves() {
    let rig = Rig::with(|settings| settings.tick_interval = Duration::from_millis(20));
    let mut client = rig.session(|_| operator(&[]));
    let ticks: Vec<Value> = (0..3).map(|_| client.receive()).collect();
    for (index, tick) in ticks.iter().enumerate() {
        assert_eq!(
            (tick["event"].as_str(), tick["seq"].as_u64()),
            (Some("tick"), Some(index as u64 + 1))
        );
        assert!(tick["payload"]["ts"].is_u64());
    }
}

#[test]
fn stopping_says_goodbye_in_every_phase_and_joins() {
    let mut rig = Rig::start();
    let mut admitted = rig.session(|_| operator(&[]));
    let mut challenged = rig.client();
    let mut silent = rig.tcp();
    let mut half = rig.tcp();
    half.write_all(b"GET / HT").unwrap();
    wait_until("all are accepted", || rig.gateway().connections() == 4);
    let stopping = std::thread::spawn(move || (rig.stop(), rig));
    let (frames, code, reason) = admitted.closing();
    assert_eq!(frames[0]["event"], "shutdown");
    assert_eq!(
        frames[0]["payload"],
        json!({"reason": "gateway stopping", "restartExpectedMs": null})
    );
    assert_eq!((code, reason.as_str()), (1012, "service restart"));
    let (frames, code, reason) = challenged.closing();
    assert_eq!(
        (frames.len(), code, reason.as_str()),
        (0, 1012, "service restart")
    );
    for stream in [&mut silent, &mut half] {
        assert_eq!(stream.read(&mut [0; 16]).unwrap_or(0), 0);
    }
    admitted.leave();
    challenged.leave();
    let (joined, _rig) = stopping.join().unwrap();
    assert!(joined);
}

#[test]
fn removing_a_device_ends_its_sessions_before_the_answer() {
    let rig = Rig::start();
    let device = key(10).device_id();
    let mut first = rig.session(|nonce| node(&key(10), nonce, &[]));
    let mut second = rig.session(|nonce| node(&key(10), nonce, &[]));
    let mut admin = rig.session(|_| operator(&["operator.pairing"]));
    let answer = admin.call("device.pair.remove", json!({"deviceId": device}));
    assert_eq!(
        (&answer["ok"], &answer["payload"]["sessionsEnded"]),
        (&json!(true), &json!(2))
    );
    assert_eq!(rig.gateway().context().hub.counts().nodes, 0);
    for client in [&mut first, &mut second] {
        let (_, code, reason) = client.closing();
        assert_eq!((code, reason.as_str()), (4001, "device removed"));
    }
}

#[test]
#[rustfmt::skip]
fn a_session_that_removes_itself_gets_its_answer_first() {
    let rig = Rig::start();
    let mut own = rig.session(|nonce| {
        signed(
            bare("cli", "cli", &["operator.pairing"], json!({"token": TOKEN})),
            &key(11),
            nonce,
            now_ms(),
        )
    });
    own.send(json!({"type": "req", "id": "x", "method": "device.pair.remove", "params": {"deviceId": key(11).device_id()}}).to_string());
    own.send(json!({"type": "req", "id": "y", "method": "health"}).to_string());
    let (frames, code, reason) = own.closing();
    let answers: Vec<&Value> = frames
        .iter()
        .filter(|frame| frame["type"] == "res")
        .collect();
    assert_eq!(
        answers.len(),
        1,
        "nothing is executed after the end: {answers:?}"
    );
    assert_eq!(
        (
            answers[0]["id"].as_str(),
            &answers[0]["payload"]["sessionsEnded"]
        ),
        (Some("x"), &json!(1))
    );
    assert_eq!((code, reason.as_str()), (4001, "device removed"));
}

#[test]
fn frames_that_are_no_requests_do_not_end_a_session() {
    let rig = Rig::start();
    let mut client = rig.session(|_| operator(&[]));
    client.send("not json");
    client.send(r#"{"type":"res","id":7}"#);
    let answer = client.receive();
    assert_eq!((&answer["id"], &answer["ok"]), (&json!(7), &json!(false)));
    assert!(
        answer["error"]["message"]
            .as_str()
            .unwrap()
            .starts_with("invalid request frame: ")
    );
    let again = client.call("connect", json!({}));
    assert_eq!(again["error"]["message"], "missing scope: operator.admin");
    assert_eq!(client.call("health", json!({}))["ok"], true);
}

#[test]
fn the_eleventh_call_of_the_wrong_role_is_answered_and_the_last() {
    let rig = Rig::start();
    let mut client = rig.session(|nonce| node(&key(12), nonce, &[]));
    let refused =
        |client: &mut Client| client.call("node.list", json!({}))["error"]["message"].clone();
    for _ in 0..10 {
        assert_eq!(refused(&mut client), "unauthorized role: node");
    }
    assert_eq!(
        client.call("health", json!({}))["ok"],
        true,
        "anything else starts the count anew"
    );
    for _ in 0..11 {
        assert_eq!(refused(&mut client), "unauthorized role: node");
    }
    let (_, code, reason) = client.closing();
    assert_eq!(
        (code, reason.as_str()),
        (1008, "repeated unauthorized calls")
    );
}

#[test]
#[rustfmt::skip]
fn a_source_has_a_budget_of_connections_without_hello() {
    let rig = Rig::with(|settings| settings.max_preauth = 2);
    let held = (rig.client(), rig.client());
    let mut stream = rig.tcp();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n"),
        "{answer}"
    );
    assert!(
        answer.contains("Connection: close\r\n")
            && answer.contains("Content-Type: text/plain; charset=utf-8\r\n")
    );
    assert!(
        answer.ends_with("\r\n\r\nToo many unauthenticated sockets"),
        "{answer}"
    );
    held.0.leave();
    wait_until("the place is free again", || {
        rig.gateway().connections() == 1
    });
    let _admitted = [
        rig.session(|_| operator(&[])),
        rig.session(|_| operator(&[])),
    ];
}

#[test]
fn too_many_connections_are_turned_away() {
    let rig = Rig::with(|settings| settings.arrivals = ArrivalLimits::new(1));
    let _held = rig.client();
    let mut answer = String::new();
    rig.tcp().read_to_string(&mut answer).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 503 ") && answer.ends_with("Too many connections"),
        "{answer}"
    );
}

#[test]
fn silent_sockets_of_one_address_are_bounded_and_admitted_ones_do_not_count() {
    let rig = Rig::with(|settings| {
        settings.arrivals.per_source = 2;
        settings.arrivals.grace = PATIENCE;
    });
    let _admitted: Vec<Client> = (0..3).map(|_| rig.session(|_| operator(&[]))).collect();
    let held = (rig.tcp(), rig.tcp());
    wait_until("both are accepted", || rig.gateway().connections() == 5);
    let mut answer = String::new();
    rig.tcp().read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    drop(held);
    wait_until("both are gone", || rig.gateway().connections() == 3);
    rig.session(|_| operator(&[]));
}

#[test]
fn health_is_answered_over_plain_http() {
    let rig = Rig::start();
    let ask = |head: &str| {
        let mut stream = rig.tcp();
        stream
            .write_all(format!("{head}\r\nHost: localhost\r\n\r\n").as_bytes())
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    assert!(ask("GET /healthz HTTP/1.1").ends_with("\r\n\r\n{\"ok\":true,\"status\":\"live\"}"));
    assert!(ask("HEAD /health HTTP/1.1").ends_with("\r\n\r\n"));
    assert!(
        ask("GET /ready HTTP/1.1").contains("\"uptimeMs\":"),
        "this host sees the details"
    );
    assert!(
        ask("GET /ready HTTP/1.1\r\nX-Forwarded-For: 127.0.0.1")
            .ends_with("\r\n\r\n{\"ready\":true}")
    );
    assert!(ask("DELETE /ready HTTP/1.1").starts_with("HTTP/1.1 405 "));
    assert!(ask("GET / HTTP/1.1").starts_with("HTTP/1.1 404 "));
    assert!(ask("nonsense").starts_with("HTTP/1.1 400 "));
}

#[test]
fn a_peer_that_does_not_read_delays_nobody() {
    let rig = Rig::start();
    let stuck = rig.session(|_| operator(&[]));
    let mut reader = rig.session(|_| operator(&["operator.read"]));
    let payload = json!({"ts": 1, "padding": "x".repeat(4_000_000)});
    let hub = &rig.gateway().context().hub;
    // More than a socket's buffers and the outbox hold together.
    for _ in 0..20 {
        hub.broadcast("tick", &payload);
        reader.event("tick");
    }
    assert_eq!(reader.call("node.list", json!({}))["ok"], true);
    wait_until("the slow consumer is gone", || hub.counts().operators == 1);
    drop(stuck);
}

#[test]
fn presence_ends_with_the_last_connection() {
    let rig = Rig::start();
    let mut watcher = rig.session(|_| operator(&["operator.read"]));
    let first = rig.session(|nonce| node(&key(13), nonce, &[]));
    let second = rig.session(|nonce| node(&key(13), nonce, &[]));
    second.leave();
    wait_until("the second is gone", || {
        rig.gateway().context().hub.counts().nodes == 1
    });
    first.leave();
    let event = watcher.event("presence");
    let rows = event["payload"]["presence"].as_array().unwrap();
    let row = rows
        .iter()
        .find(|row| row["deviceId"] == json!(key(13).device_id()))
        .unwrap();
    assert_eq!(row["reason"], "disconnect");
    assert!(event["stateVersion"]["presence"].as_u64().unwrap() > 1);
}
