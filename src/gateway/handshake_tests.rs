//! Every row of the handshake's tables over a real connection: texts, details, close codes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::gateway::auth::SharedAuth;
use crate::gateway::context::Phase;
use crate::gateway::loopback::{Rig, TOKEN, bare, key, node, now_ms, operator, signed, wait_until};
use crate::gateway::upkeep;
use crate::identity::Token;
use crate::pairing::networks::Networks;
use crate::store::ManualClock;

/// Sends a first frame and returns the answers, the close code and the close reason.
fn attempt(
    rig: &Rig,
    headers: &[(&'static str, &str)],
    frame: impl FnOnce(&str) -> String,
) -> (Vec<Value>, u16, String) {
    let mut client = rig.client_with(headers);
    let frame = frame(&client.nonce);
    client.send(frame);
    client.closing()
}

fn connect(params: Value) -> String {
    json!({"type": "req", "id": "c1", "method": "connect", "params": params}).to_string()
}

/// The error of a refused connect, after checking that it is the only answer.
pub fn refused(
    rig: &Rig,
    headers: &[(&'static str, &str)],
    params: impl FnOnce(&str) -> Value,
) -> (Value, u16, String) {
    let (frames, code, reason) = attempt(rig, headers, |nonce| connect(params(nonce)));
    assert_eq!(frames.len(), 1, "{frames:?}");
    assert_eq!(
        (frames[0]["id"].as_str(), &frames[0]["ok"]),
        (Some("c1"), &json!(false))
    );
    (frames[0]["error"].clone(), code, reason)
}

#[test]
#[rustfmt::skip]
fn first_frames_that_are_no_connect() {
    let rig = Rig::start();
    let bad_id =
        "invalid connect params: at /client/id: must be equal to one of the allowed values";
    let deep = format!(
        "{{\"type\":\"req\",\"id\":\"c1\",\"method\":\"connect\",\"params\":{}{}}}",
        "[".repeat(5000),
        "]".repeat(5000)
    );
    let mut wrong = operator(&[]);
    wrong["client"]["id"] = json!("nobody");
    for (frame, answer, code, reason) in [
        ("hello".to_owned(), None, 1000, ""),
        ("{}".to_owned(), None, 1008, "invalid request frame"),
        ("[1]".to_owned(), None, 1008, "invalid request frame"),
        (deep, None, 1008, "invalid request frame"),
        (json!({"type": "req", "id": "c1", "method": "health"}).to_string(), Some("invalid handshake: first request must be connect"), 1008, "invalid handshake: first request must be connect"),
        (json!({"type": "req", "id": "c1", "method": "connect"}).to_string(), Some("invalid connect params: must be object"), 1008, "invalid connect params: must be object"),
        (connect(wrong), Some(bad_id), 1008, bad_id),
    ] {
        let (frames, got_code, got_reason) = attempt(&rig, &[], |_| frame.clone());
        let shown: String = frame.chars().take(80).collect();
        assert_eq!((got_code, got_reason.as_str()), (code, reason), "{shown}");
        let messages: Vec<&str> = frames
            .iter()
            .map(|frame| frame["error"]["message"].as_str().unwrap())
            .collect();
        assert_eq!(messages, answer.into_iter().collect::<Vec<_>>(), "{shown}");
        assert!(
            frames
                .iter()
                .all(|frame| frame["error"]["code"] == "INVALID_REQUEST")
        );
    }
}

#[test]
fn long_reasons_are_cut_and_long_messages_are_not() {
    let rig = Rig::start();
    let mut params = operator(&[]);
    for index in 0..10 {
        params[format!("unexpected{index}")] = json!(1);
    }
    let (error, code, reason) = refused(&rig, &[], |_| params);
    let message = error["message"].as_str().unwrap();
    assert!(
        message.len() > 120 && message.contains("unexpected property 'unexpected9'"),
        "{message}"
    );
    assert_eq!((code, reason.as_str()), (1008, &message[..120]));
}

#[test]
#[rustfmt::skip]
fn versions_roles_and_origins_are_checked_in_this_order() {
    let rig = Rig::start();
    let versions = |min: u64, max: u64, role: &str| {
        let mut params = operator(&[]);
        params["minProtocol"] = json!(min);
        params["maxProtocol"] = json!(max);
        params["role"] = json!(role);
        params["auth"] = json!({"token": "wrong"});
        params
    };
    for (min, max, expected) in [(5, 5, 4), (1, 2, 3), (1, 1, 3)] {
        let (error, code, reason) = refused(&rig, &[], |_| versions(min, max, "worker"));
        assert_eq!(
            error,
            json!({"code": "INVALID_REQUEST", "message": "protocol mismatch", "details": {
            "code": "PROTOCOL_MISMATCH", "clientMinProtocol": min, "clientMaxProtocol": max, "expectedProtocol": expected}})
        );
        assert_eq!((code, reason.as_str()), (1002, "protocol mismatch"));
    }
    let origin = [("origin", "https://evil.example")];
    let (error, code, reason) = refused(&rig, &origin, |_| versions(3, 4, "worker"));
    assert_eq!(
        (error["message"].as_str(), code, reason.as_str()),
        (Some("invalid role"), 1008, "invalid role")
    );
    let (error, code, _) = refused(&rig, &origin, |_| versions(3, 4, "operator"));
    assert_eq!(
        error,
        json!({"code": "INVALID_REQUEST",
        "message": "origin not allowed (open the Control UI from the gateway host or allow it in gateway.controlUi.allowedOrigins)",
        "details": {"code": "CONTROL_UI_ORIGIN_NOT_ALLOWED", "reason": "origin not allowed"}})
    );
    assert_eq!(code, 1008);
    let (error, ..) = refused(&rig, &[], |_| {
        bare("webchat-ui", "webchat", &[], json!({"token": TOKEN}))
    });
    assert_eq!(error["details"]["reason"], "origin missing or invalid");
}

#[test]
#[rustfmt::skip]
fn wrong_credentials_have_their_reasons() {
    let token = Rig::start();
    let password = Rig::with(|settings| settings.rules.auth = SharedAuth::Password(Token::from("open")));
    for (rig, auth, device, detail, message) in [
        (&token, json!({}), true, "AUTH_TOKEN_MISSING", "unauthorized: gateway token missing (set gateway.remote.token to match gateway.auth.token)"),
        (&token, json!({"token": "wrong"}), true, "AUTH_TOKEN_MISMATCH", "unauthorized: gateway token mismatch (set gateway.remote.token to match gateway.auth.token)"),
        (&token, json!({"token": "wrong"}), false, "AUTH_TOKEN_MISMATCH", "unauthorized: gateway token mismatch (set gateway.remote.token to match gateway.auth.token)"),
        (&token, json!({"password": TOKEN}), false, "AUTH_TOKEN_MISSING", "unauthorized: gateway token missing (set gateway.remote.token to match gateway.auth.token)"),
        (&token, json!({"deviceToken": "wrong"}), true, "AUTH_DEVICE_TOKEN_MISMATCH", "unauthorized: device token mismatch (rotate/reissue device token)"),
        (&token, json!({"bootstrapToken": "wrong"}), true, "AUTH_BOOTSTRAP_TOKEN_INVALID", "unauthorized: bootstrap token invalid or expired (scan a fresh setup code)"),
        (&password, json!({}), true, "AUTH_PASSWORD_MISSING", "unauthorized: gateway password missing (set gateway.remote.password to match gateway.auth.password)"),
        (&password, json!({"password": "wrong"}), false, "AUTH_PASSWORD_MISMATCH", "unauthorized: gateway password mismatch (set gateway.remote.password to match gateway.auth.password)"),
        (&password, json!({"token": "open"}), false, "AUTH_PASSWORD_MISSING", "unauthorized: gateway password missing (set gateway.remote.password to match gateway.auth.password)"),
    ] {
        let (error, code, reason) = refused(rig, &[], |nonce| {
            let params = bare("cli", "cli", &["operator.read"], auth.clone());
            if device {
                signed(params, &key(1), nonce, now_ms())
            } else {
                params
            }
        });
        assert_eq!(error["code"], "INVALID_REQUEST", "{auth}");
        assert_eq!(
            (error["message"].as_str(), error["details"]["code"].as_str()),
            (Some(message), Some(detail)),
            "{auth}"
        );
        let retry = detail == "AUTH_TOKEN_MISMATCH" && device;
        assert_eq!(error["details"]["canRetryWithDeviceToken"], retry, "{auth}");
        assert_eq!(
            (code, reason.as_str()),
            (1008, &message[..message.len().min(120)])
        );
    }
}

#[test]
#[rustfmt::skip]
fn connections_without_a_device() {
    let token = Rig::start();
    let open = Rig::with(|settings| settings.rules.auth = SharedAuth::None);
    let shared = json!({"token": TOKEN});
    let mut node_without = bare("node-host", "node", &[], shared.clone());
    node_without["role"] = json!("node");
    for (rig, params) in [
        (&token, node_without),
        (&token, bare("cli", "cli", &[], json!({}))),
        (&open, bare("cli", "cli", &[], json!({"token": "x"}))),
    ] {
        let (error, code, reason) = refused(rig, &[], |_| params);
        assert_eq!(
            error,
            json!({"code": "NOT_PAIRED", "message": "device identity required", "details": {"code": "DEVICE_IDENTITY_REQUIRED"}})
        );
        assert_eq!((code, reason.as_str()), (1008, "device identity required"));
    }
    let (error, code, reason) = refused(&token, &[("origin", "http://localhost")], |_| {
        bare("openclaw-control-ui", "ui", &[], shared.clone())
    });
    let message = "control ui requires device identity (use HTTPS or localhost secure context)";
    assert_eq!(
        error,
        json!({"code": "INVALID_REQUEST", "message": message, "details": {"code": "CONTROL_UI_DEVICE_IDENTITY_REQUIRED"}})
    );
    assert_eq!((code, reason.as_str()), (1008, message));
    for (id, mode, headers, kept) in [
        ("cli", "cli", &[][..], true),
        ("gateway-client", "backend", &[], true),
        ("cli", "probe", &[], false),
        ("test", "test", &[], false),
        ("cli", "cli", &[("x-forwarded-for", "127.0.0.1")], false),
        ("cli", "cli", &[("origin", "http://localhost:1")], false),
    ] {
        let mut client = token.client_with(headers);
        let answer = client.call(
            "connect",
            bare(id, mode, &["operator.read"], shared.clone()),
        );
        let scopes = if kept {
            json!(["operator.read"])
        } else {
            json!([])
        };
        assert_eq!(
            answer["payload"]["auth"]["scopes"], scopes,
            "{id} {mode} {headers:?}"
        );
        assert!(answer["payload"]["auth"].get("deviceToken").is_none());
        let listed = client.call("node.list", json!({}));
        assert_eq!(listed["ok"], kept, "{listed}");
        assert_eq!(client.call("health", json!({}))["ok"], true);
    }
}

#[test]
#[rustfmt::skip]
fn a_trusted_proxy_names_the_client_and_nobody_else_does() {
    const HOPS: &str = "127.0.0.1, 203.0.113.9, 198.51.100.7";
    // What a proxy on this host says lets nobody in: any local program could say it.
    let trusting = Rig::with(|settings| {
        settings.rules.proxies.networks = Networks::parse(&["127.0.0.1".to_owned()]);
        settings.rules.admission.auto_approve = Networks::parse(&["0.0.0.0/0".to_owned()]);
    });
    let plain = Rig::start();
    for (rig, headers, remote_ip) in [
        (&trusting, &[("x-forwarded-for", HOPS)][..], json!("198.51.100.7")),
        (&trusting, &[("x-forwarded-for", "127.0.0.1")], Value::Null),
        (&trusting, &[("x-real-ip", "203.0.113.9")], Value::Null),
        (&plain, &[("x-forwarded-for", HOPS)], Value::Null),
    ] {
        let (error, ..) = refused(rig, headers, |nonce| node(&key(9), nonce, &[]));
        assert_eq!(error["details"]["code"], "PAIRING_REQUIRED", "{headers:?}");
        let mut admin = rig.session(|_| operator(&["operator.pairing"]));
        let waiting = admin.call("device.pair.list", json!({}))["payload"]["pending"].clone();
        assert_eq!(waiting[0]["remoteIp"], remote_ip, "{headers:?}");
        let id = json!({"requestId": waiting[0]["requestId"]});
        assert_eq!(admin.call("device.pair.reject", id)["ok"], true);
    }
}

#[test]
fn device_proofs_fail_before_credentials_do() {
    let rig = Rig::start();
    let wrong_auth = || bare("cli", "cli", &["operator.read"], json!({"token": "wrong"}));
    type Spoil = fn(&mut Value);
    let cases: [(Spoil, i64, &str, &str, &str); 5] = [
        (
            |params| params["device"]["id"] = json!("00"),
            0,
            "device identity mismatch",
            "DEVICE_AUTH_DEVICE_ID_MISMATCH",
            "device-id-mismatch",
        ),
        (
            |_| {},
            -200_000,
            "device signature expired",
            "DEVICE_AUTH_SIGNATURE_EXPIRED",
            "device-signature-stale",
        ),
        (
            |params| params["device"]["nonce"] = json!(" "),
            0,
            "device nonce required",
            "DEVICE_AUTH_NONCE_REQUIRED",
            "device-nonce-missing",
        ),
        (
            |params| params["device"]["nonce"] = json!("other"),
            0,
            "device nonce mismatch",
            "DEVICE_AUTH_NONCE_MISMATCH",
            "device-nonce-mismatch",
        ),
        (
            |params| params["client"]["platform"] = json!("other"),
            0,
            "device signature invalid",
            "DEVICE_AUTH_SIGNATURE_INVALID",
            "device-signature",
        ),
    ];
    for (spoil, shift, message, detail, reason) in cases {
        let (error, code, close) = refused(&rig, &[], |nonce| {
            let at = now_ms().checked_add_signed(shift).unwrap();
            let mut params = signed(wrong_auth(), &key(2), nonce, at);
            spoil(&mut params);
            params
        });
        assert_eq!(
            (
                error["message"].as_str(),
                error["details"]["code"].as_str(),
                error["details"]["reason"].as_str()
            ),
            (Some(message), Some(detail), Some(reason))
        );
        assert_eq!((code, close.as_str()), (1008, message));
        if shift != 0 {
            let difference = error["details"]["differenceMs"].as_u64().unwrap();
            assert!((200_000..230_000).contains(&difference), "{error}");
        }
    }
}

#[test]
fn a_local_device_is_paired_at_once_and_gets_its_token() {
    let rig = Rig::start();
    let scopes = ["operator.write", "operator.pairing"];
    let mut first = rig.client();
    let params = signed(
        bare("cli", "cli", &scopes, json!({"token": TOKEN})),
        &key(3),
        &first.nonce,
        now_ms(),
    );
    let answer = first.call("connect", params);
    let hello = &answer["payload"];
    assert_eq!(
        (hello["protocol"].as_u64(), hello["auth"]["method"].as_str()),
        (Some(4), Some("token"))
    );
    assert_eq!(
        hello["auth"]["scopes"],
        json!(scopes),
        "a version 4 session sees its own scopes"
    );
    let token = hello["auth"]["deviceToken"].as_str().unwrap().to_owned();
    assert_eq!(token.len(), 43);
    let mut second = rig.client();
    let mut params = bare(
        "cli",
        "cli",
        &["operator.read"],
        json!({"deviceToken": token}),
    );
    params["maxProtocol"] = json!(3);
    let params = signed(params, &key(3), &second.nonce, now_ms());
    let answer = second.call("connect", params);
    let hello = &answer["payload"];
    assert_eq!(hello["protocol"], 3);
    assert_eq!(
        hello["auth"]["scopes"],
        json!(["operator.pairing", "operator.read", "operator.write"]),
        "a version 3 client sees the scopes of its token"
    );
    assert_eq!(hello["auth"]["deviceToken"], json!(token));
    assert!(
        hello["auth"].get("method").is_none(),
        "the object is closed at version 3"
    );
}

#[test]
fn a_remote_device_waits_and_its_request_is_told() {
    let rig = Rig::start();
    let mut watcher = rig.session(|_| operator(&["operator.pairing"]));
    let forwarded = [("x-forwarded-for", "203.0.113.9")];
    let (error, code, reason) = refused(&rig, &forwarded, |nonce| {
        node(&key(4), nonce, &["system.which"])
    });
    let requested = watcher.event("device.pair.requested");
    let request = requested["payload"]["requestId"].as_str().unwrap();
    assert_eq!(requested["seq"], 1);
    assert_eq!(error["code"], "NOT_PAIRED");
    assert_eq!(
        error["message"],
        "pairing required: device is not approved yet"
    );
    assert_eq!(error["details"]["code"], "PAIRING_REQUIRED");
    assert_eq!(error["details"]["requestId"], request);
    assert_eq!(
        error["details"]["remediationHint"],
        "Approve this device from the pending pairing requests."
    );
    let full = format!("pairing required: device is not approved yet (requestId: {request})");
    assert_eq!(
        (code, reason.as_str()),
        (1008, &full[..full.len().min(120)])
    );
    let (again, ..) = refused(&rig, &forwarded, |nonce| {
        node(&key(4), nonce, &["system.which"])
    });
    assert_eq!(again["details"]["requestId"], request, "the id is stable");
}

#[test]
fn a_waiting_node_of_version_4_is_told_to_go_on_trying() {
    let rig = Rig::start();
    let forwarded = [("x-forwarded-for", "203.0.113.9")];
    let patience = |error: &Value| {
        let details = &error["details"];
        assert_eq!(details["code"], "PAIRING_REQUIRED");
        ["recommendedNextStep", "retryable", "pauseReconnect"].map(|name| details[name].clone())
    };
    let waits = [json!("wait_then_retry"), json!(true), json!(false)];
    let nothing = [Value::Null, Value::Null, Value::Null];
    let (error, ..) = refused(&rig, &forwarded, |nonce| node(&key(7), nonce, &[]));
    assert_eq!(patience(&error), waits);
    let (error, ..) = refused(&rig, &forwarded, |nonce| {
        let mut params = node(&key(7), nonce, &[]);
        params["maxProtocol"] = json!(3);
        params
    });
    assert_eq!(
        patience(&error),
        nothing,
        "the older client has no such words"
    );
    let (error, ..) = refused(&rig, &forwarded, |nonce| {
        let asked = bare("cli", "cli", &["operator.read"], json!({"token": TOKEN}));
        signed(asked, &key(8), nonce, now_ms())
    });
    assert_eq!(patience(&error), nothing, "a person is told at once");
}

#[test]
fn a_right_token_that_is_too_narrow_is_called_so_at_version_4() {
    let rig = Rig::start();
    let mut first = rig.client();
    let asked = bare("cli", "cli", &["operator.read"], json!({"token": TOKEN}));
    let params = signed(asked, &key(9), &first.nonce, now_ms());
    let answer = first.call("connect", params);
    let token = answer["payload"]["auth"]["deviceToken"].clone();
    for (version, field, sent, code) in [
        (4, "deviceToken", &token, "AUTH_SCOPE_MISMATCH"),
        (4, "token", &token, "AUTH_SCOPE_MISMATCH"),
        (3, "deviceToken", &token, "AUTH_DEVICE_TOKEN_MISMATCH"),
        (3, "token", &token, "AUTH_TOKEN_MISMATCH"),
        (
            4,
            "deviceToken",
            &json!("wrong"),
            "AUTH_DEVICE_TOKEN_MISMATCH",
        ),
    ] {
        let (error, close, _) = refused(&rig, &[], |nonce| {
            let mut asked = bare("cli", "cli", &["operator.admin"], json!({ field: sent }));
            asked["maxProtocol"] = json!(version);
            signed(asked, &key(9), nonce, now_ms())
        });
        assert_eq!(error["details"]["code"], code, "{version} {field}: {error}");
        assert_eq!(close, 1008);
    }
}

#[test]
fn an_early_client_is_told_to_come_back() {
    let rig = Rig::start();
    rig.gateway().context().enter(Phase::Starting);
    let (error, code, reason) = refused(&rig, &[], |_| operator(&[]));
    assert_eq!(
        error,
        json!({"code": "UNAVAILABLE", "message": "gateway starting; retry shortly",
        "details": {"reason": "startup-sidecars"}, "retryable": true, "retryAfterMs": 500})
    );
    assert_eq!((code, reason.as_str()), (1013, "gateway starting"));
}

#[test]
fn an_unreadable_store_refuses_devices_and_keeps_the_gateway() {
    let rig = Rig::start();
    let paired = rig.directory().join("devices/paired.json");
    std::fs::create_dir_all(paired.parent().unwrap()).unwrap();
    std::fs::write(&paired, "[]").unwrap();
    let (error, code, reason) = refused(&rig, &[], |nonce| {
        signed(
            bare("cli", "cli", &[], json!({"token": TOKEN})),
            &key(5),
            nonce,
            now_ms(),
        )
    });
    assert_eq!(
        (&error["code"], &error["message"]),
        (&json!("UNAVAILABLE"), &json!("pairing store unavailable"))
    );
    let way = error["details"]["remediation"].as_str().unwrap();
    assert!(way.contains("openclaw doctor"), "{error}");
    assert_eq!((code, reason.as_str()), (1011, "pairing store unavailable"));
    assert_eq!(
        std::fs::read_to_string(&paired).unwrap(),
        "[]",
        "the file is left as it is"
    );
    let mut client = rig.session(|_| operator(&["operator.pairing"]));
    let listed = client.call("device.pair.list", json!({}));
    assert_eq!(listed["error"]["message"], "pairing store unavailable");
}

#[test]
fn silence_ends_with_the_deadline() {
    let timeout = Duration::from_millis(300);
    let rig = Rig::with(|settings| settings.rules.handshake_timeout = timeout);
    let before = Instant::now();
    let mut client = rig.client();
    let (frames, code, reason) = client.closing();
    assert_eq!((frames.len(), code, reason.as_str()), (0, 1000, ""));
    assert!(before.elapsed() >= timeout, "the whole time is the peer's");
    let _half_open = rig.tcp();
    wait_until("stalled sockets are gone", || {
        rig.gateway().connections() == 0
    });
}

#[test]
fn frames_over_the_limit_close_without_a_word() {
    let rig = Rig::start();
    let mut client = rig.client();
    client.send(" ".repeat(65_537));
    let (frames, code, reason) = client.closing();
    assert_eq!((frames.len(), code, reason.as_str()), (0, 1009, ""));
    let mut client = rig.client();
    let mut params = operator(&[]);
    params["userAgent"] = json!("");
    let room = 65_536 - connect(params.clone()).len();
    params["userAgent"] = json!("x".repeat(room));
    assert_eq!(connect(params.clone()).len(), 65_536);
    client.send(connect(params));
    assert_eq!(client.receive()["ok"], true);
    // After hello-ok much larger frames are welcome.
    let answer = client.call("health", json!({"padding": "x".repeat(1_000_000)}));
    assert_eq!(answer["ok"], true);
}

#[test]
fn a_waiting_node_is_on_the_list_again_after_its_request_expired() {
    let clock = Arc::new(ManualClock::at(now_ms()));
    let rig = Rig::with_clock(clock.clone(), |_| {});
    let mut watcher = rig.session(|_| operator(&["operator.pairing"]));
    let _node = rig.session(|nonce| node(&key(6), nonce, &["system.which"]));
    let first = watcher.event("node.pair.requested")["payload"]["requestId"].clone();
    clock.advance(300_001);
    // What the timer does when it is due; its steady clock did not move with ours.
    upkeep::expire_now(rig.gateway().context());
    let resolved = watcher.event("node.pair.resolved");
    assert_eq!(
        (
            &resolved["payload"]["requestId"],
            &resolved["payload"]["decision"]
        ),
        (&first, &json!("expired"))
    );
    let second = watcher.event("node.pair.requested")["payload"]["requestId"].clone();
    assert_ne!(first, second);
}
