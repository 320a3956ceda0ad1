//! Attacks on the proof of a key: replayed, exchanged, and signed for something else.

use serde_json::{Value, json};

use super::{Scene, code, node_with, not_admitted};
use crate::support::device::Device;
use crate::support::peer::{Peer, challenge, cli_params, finish};
use crate::support::process::SECRET;
use crate::support::websocket::{Message, WebSocket};

fn frame(params: &Value) -> String {
    json!({"type": "req", "id": "c1", "method": "connect", "params": params}).to_string()
}

#[test]
fn a_recorded_connect_is_worth_nothing_on_another_connection() {
    let mut scene = Scene::new();
    // Somebody records the whole frame with which a member came in ...
    let mut socket = WebSocket::connect(scene.gateway.address);
    let (nonce, ts) = challenge(&mut socket);
    let mut params = node_with(json!({"token": SECRET}));
    scene.node_key.prove(&mut params, &nonce, ts);
    let recorded = frame(&params);
    socket.send_text(&recorded);
    let member = finish(socket).unwrap();
    // ... and sends it on a connection of his own, while the member is there and afterwards.
    let replay = |text: &str| {
        let mut socket = WebSocket::connect(scene.gateway.address);
        let (fresh, _) = challenge(&mut socket);
        assert_ne!(fresh, nonce, "a challenge is never given twice");
        socket.send_text(text);
        not_admitted(finish(socket))
    };
    let error = replay(&recorded);
    assert_eq!(error["message"], "device nonce mismatch");
    assert_eq!(code(&error), "DEVICE_AUTH_NONCE_MISMATCH");
    drop(member);
    assert_eq!(code(&replay(&recorded)), "DEVICE_AUTH_NONCE_MISMATCH");
    // With the new nonce in place of the signed one the signature does not fit.
    let mut socket = WebSocket::connect(scene.gateway.address);
    let (fresh, _) = challenge(&mut socket);
    params["device"]["nonce"] = json!(fresh);
    socket.send_text(&frame(&params));
    let error = not_admitted(finish(socket));
    assert_eq!(code(&error), "DEVICE_AUTH_SIGNATURE_INVALID");
    scene.unharmed();
}

#[test]
fn a_session_cannot_become_another_one() {
    let mut scene = Scene::new();
    let mut socket = WebSocket::connect(scene.gateway.address);
    let (nonce, ts) = challenge(&mut socket);
    let mut params = node_with(json!({"token": SECRET}));
    scene.node_key.prove(&mut params, &nonce, ts);
    let recorded = frame(&params);
    let mut wider = cli_params(json!({"token": SECRET}), &["operator.admin"]);
    scene.operator_key.prove(&mut wider, &nonce, ts);
    socket.send_text(&recorded);
    let mut member = finish(socket).unwrap();
    for again in [params, wider] {
        let error = member.call("connect", again).unwrap_err();
        assert_eq!(error["message"], "unauthorized role: node");
    }
    let error = scene.admin().call("connect", json!({})).unwrap_err();
    let only = "connect is only valid as the first request";
    assert_eq!(error["message"], only);
    drop(member);
    scene.unharmed();
}

#[test]
fn every_signed_field_is_bound_by_the_signature() {
    let mut scene = Scene::new();
    let stranger = Device::new();
    let of_stranger = [
        ("id", json!(stranger.id)),
        ("publicKey", json!(stranger.public_key)),
    ];
    let invalid = "DEVICE_AUTH_SIGNATURE_INVALID";
    type Spoil<'a> = &'a dyn Fn(&mut Value);
    let cases: &[(&str, Spoil<'_>, &str)] = &[
        (
            "another id",
            &|params| params["device"]["id"] = of_stranger[0].1.clone(),
            "DEVICE_AUTH_DEVICE_ID_MISMATCH",
        ),
        (
            "another key",
            &|params| params["device"]["publicKey"] = of_stranger[1].1.clone(),
            "DEVICE_AUTH_DEVICE_ID_MISMATCH",
        ),
        (
            "another device altogether",
            &|params| {
                for (name, value) in &of_stranger {
                    params["device"][*name] = value.clone();
                }
            },
            invalid,
        ),
        (
            "client.id",
            &|params| params["client"]["id"] = json!("gateway-client"),
            invalid,
        ),
        (
            "client.mode",
            &|params| params["client"]["mode"] = json!("backend"),
            invalid,
        ),
        ("role", &|params| params["role"] = json!("node"), invalid),
        (
            "one scope more",
            &|params| {
                params["scopes"] = json!(["operator.read", "operator.write", "operator.admin"])
            },
            invalid,
        ),
        (
            "one scope less",
            &|params| params["scopes"] = json!(["operator.read"]),
            invalid,
        ),
        (
            "the order of scopes",
            &|params| params["scopes"] = json!(["operator.write", "operator.read"]),
            invalid,
        ),
        (
            "two scopes in one",
            &|params| params["scopes"] = json!(["operator.read,operator.write"]),
            // The same text is signed: what counts is that it is no scope anybody has.
            "PAIRING_REQUIRED",
        ),
        (
            "signedAt",
            &|params| {
                let at = params["device"]["signedAt"].as_u64().unwrap();
                params["device"]["signedAt"] = json!(at + 1);
            },
            invalid,
        ),
        (
            "auth.token",
            &|params| params["auth"]["token"] = json!("another"),
            invalid,
        ),
        (
            "auth.token with a blank",
            &|params| params["auth"]["token"] = json!(format!("{SECRET} ")),
            invalid,
        ),
        (
            "auth.deviceToken in its place",
            &|params| params["auth"] = json!({"deviceToken": "another"}),
            invalid,
        ),
        (
            "auth.bootstrapToken in its place",
            &|params| params["auth"] = json!({"bootstrapToken": "another"}),
            invalid,
        ),
        (
            "no token at all",
            &|params| params["auth"] = json!({}),
            invalid,
        ),
        (
            "client.platform",
            &|params| params["client"]["platform"] = json!("darwin"),
            invalid,
        ),
        (
            "client.deviceFamily",
            &|params| params["client"]["deviceFamily"] = json!("iPhone"),
            invalid,
        ),
        (
            "a field moved into its neighbour",
            &|params| {
                params["client"]["platform"] = json!("linux|x");
            },
            invalid,
        ),
    ];
    for (what, spoil, expected) in cases {
        let mut socket = WebSocket::connect(scene.gateway.address);
        let (nonce, ts) = challenge(&mut socket);
        let scopes = ["operator.read", "operator.write"];
        let mut params = cli_params(json!({"token": SECRET}), &scopes);
        scene.operator_key.prove(&mut params, &nonce, ts);
        spoil(&mut params);
        socket.send_text(&frame(&params));
        let error = not_admitted(finish(socket));
        assert_eq!(&code(&error), expected, "{what}: {error}");
    }
    scene.only_a_request_waits();
}

#[test]
fn another_keys_signature_is_refused() {
    let mut scene = Scene::new();
    let stranger = Device::new();
    let mut socket = WebSocket::connect(scene.gateway.address);
    let (nonce, ts) = challenge(&mut socket);
    let mut params = node_with(json!({"token": SECRET}));
    stranger.prove(&mut params, &nonce, ts);
    let signature = params["device"]["signature"].clone();
    scene.node_key.prove(&mut params, &nonce, ts);
    params["device"]["signature"] = signature;
    socket.send_text(&frame(&params));
    let error = not_admitted(finish(socket));
    assert_eq!(code(&error), "DEVICE_AUTH_SIGNATURE_INVALID");
    scene.unharmed();
}

#[test]
fn a_challenge_is_answered_once() {
    let mut scene = Scene::new();
    let mut socket = WebSocket::connect(scene.gateway.address);
    let (nonce, ts) = challenge(&mut socket);
    let mut wrong = node_with(json!({"token": "wrong"}));
    scene.node_key.prove(&mut wrong, &nonce, ts);
    let mut right = node_with(json!({"token": SECRET}));
    scene.node_key.prove(&mut right, &nonce, ts);
    socket.send_text(&frame(&wrong));
    socket.send_text(&frame(&right));
    let mut answers = Vec::new();
    loop {
        match socket.next() {
            Message::Text(text) => answers.push(serde_json::from_str::<Value>(&text).unwrap()),
            Message::Close(code, _) => {
                assert_eq!(code, 1008);
                break;
            }
            Message::Gone => break,
            _ => {}
        }
    }
    assert!(
        answers.iter().all(|answer| answer["ok"] == false),
        "{answers:?}"
    );
    assert_eq!(answers.len(), 1);
    drop(Peer::operator(scene.gateway.address, SECRET));
    scene.unharmed();
}
