//! The limiter over real connections: what counts, what is answered, who stays free.

use std::io::{Read, Write};

use serde_json::{Value, json};

use crate::gateway::handshake_tests::refused;
use crate::gateway::limits::{AttemptPolicy, Kind};
use crate::gateway::loopback::{Rig, TOKEN, bare, key, node, now_ms, operator, signed, wait_until};
use crate::identity::DeviceKey;

const PROXIED: &[(&str, &str)] = &[("X-Forwarded-For", "203.0.113.9")];

/// A gateway that counts loopback like any other address.
fn strict() -> Rig {
    Rig::with(|settings| settings.rules.attempts.exempt_loopback = false)
}

fn guess(token: &str) -> Value {
    let mut params = operator(&[]);
    params["auth"] = json!({"token": token});
    params
}

fn code(rig: &Rig, headers: &[(&'static str, &str)], params: Value) -> Value {
    refused(rig, headers, |_| params).0["details"]["code"].clone()
}

/// Locks whoever comes with these headers out by guessing at the shared secret.
fn lock_out(rig: &Rig, headers: &[(&'static str, &str)]) {
    for _ in 0..10 {
        assert_eq!(code(rig, headers, guess("wrong")), "AUTH_TOKEN_MISMATCH");
    }
}

/// Even the right secret is not looked at. Waits for the answer alone: one that lets it in closes nothing.
fn assert_locked(rig: &Rig, headers: &[(&'static str, &str)]) {
    let answer = rig.client_with(headers).call("connect", guess(TOKEN));
    assert_eq!(
        answer["error"]["details"]["code"], "AUTH_RATE_LIMITED",
        "{answer}"
    );
}

#[test]
fn the_eleventh_guess_is_not_looked_at_even_when_it_is_right() {
    let rig = strict();
    lock_out(&rig, &[]);
    for token in ["wrong", TOKEN] {
        let (error, close, reason) = refused(&rig, &[], |_| guess(token));
        let left = error["retryAfterMs"].as_u64().unwrap();
        assert!((290_000..=300_000).contains(&left), "{error}");
        let message = "unauthorized: too many failed authentication attempts (retry later)";
        assert_eq!(
            error,
            json!({"code": "INVALID_REQUEST", "message": message, "retryable": true, "retryAfterMs": left,
                "details": {"code": "AUTH_RATE_LIMITED", "authReason": "rate_limited",
                    "canRetryWithDeviceToken": false, "recommendedNextStep": "wait_then_retry"}})
        );
        assert_eq!((close, reason.as_str()), (1008, message));
    }
    let trail = rig
        .gateway()
        .context()
        .store
        .audit_log()
        .newest(10)
        .unwrap();
    let lockouts: Vec<&Value> = trail
        .iter()
        .filter(|line| line["action"] == "auth.lockout")
        .collect();
    assert_eq!(lockouts.len(), 1, "{trail:?}");
    assert_eq!(lockouts[0]["subject"], "127.0.0.1");
    assert_eq!(lockouts[0]["after"]["kind"], "shared-secret");
    assert!(
        !lockouts[0].to_string().contains("wrong"),
        "no secret in the trail"
    );
}

#[test]
fn missing_credentials_do_not_count_and_right_ones_reset() {
    let rig = strict();
    for _ in 0..12 {
        let mut params = operator(&[]);
        params["auth"] = json!({"token": "  "});
        assert_eq!(code(&rig, &[], params), "DEVICE_IDENTITY_REQUIRED");
    }
    for _ in 0..2 {
        for _ in 0..9 {
            assert_eq!(code(&rig, &[], guess("wrong")), "AUTH_TOKEN_MISMATCH");
        }
        rig.session(|_| operator(&[]));
    }
}

#[test]
fn loopback_is_exempt_but_neither_its_proxies_nor_its_browsers_are() {
    let rig = Rig::with(|settings| {
        settings.rules.origins.allowed = vec!["http://a.example".into(), "http://b.example".into()];
    });
    for _ in 0..12 {
        assert_eq!(code(&rig, &[], guess("wrong")), "AUTH_TOKEN_MISMATCH");
    }
    for headers in [PROXIED, &[("Origin", "http://a.example")][..]] {
        lock_out(&rig, headers);
        assert_eq!(code(&rig, headers, guess(TOKEN)), "AUTH_RATE_LIMITED");
    }
    // Another page, and the owner without one, are free.
    let other = &[("Origin", "http://b.example")];
    assert_eq!(code(&rig, other, guess("wrong")), "AUTH_TOKEN_MISMATCH");
    rig.session(|_| operator(&[]));
}

#[test]
fn guessing_at_the_secret_does_not_lock_a_paired_device_out() {
    let rig = strict();
    let device = key(1);
    let token = paired(&rig, &device);
    lock_out(&rig, &[]);
    // Wrong device tokens of strangers are counted under their address, not under the device.
    for number in 0..12 {
        let expected = if number < 10 {
            "AUTH_DEVICE_TOKEN_MISMATCH"
        } else {
            "AUTH_RATE_LIMITED"
        };
        let (error, ..) = refused(&rig, &[], |nonce| {
            with_auth(&key(100 + number), nonce, json!({"deviceToken": "guess"}))
        });
        assert_eq!(error["details"]["code"], expected, "{number}");
    }
    for auth in [json!({"deviceToken": token}), json!({"token": token})] {
        rig.session(|nonce| with_auth(&device, nonce, auth.clone()));
    }
    // Its own wrong tokens lock only itself.
    for number in 0..11 {
        let expected = if number < 10 {
            "AUTH_DEVICE_TOKEN_MISMATCH"
        } else {
            "AUTH_RATE_LIMITED"
        };
        let (error, ..) = refused(&rig, &[], |nonce| {
            with_auth(&device, nonce, json!({"deviceToken": "old"}))
        });
        assert_eq!(error["details"]["code"], expected, "{number}");
    }
    let context = rig.gateway().context();
    let rows = context.guard.rows(&context.rules().attempts);
    let locked: Vec<String> = rows
        .iter()
        .filter(|row| row.locked_for.is_some())
        .map(|row| format!("{} {}", row.key.kind.as_str(), row.key.client))
        .collect();
    let own = format!("device-token device:{}", device.device_id());
    assert_eq!(
        locked,
        [
            "device-token 127.0.0.1".to_owned(),
            own,
            "shared-secret 127.0.0.1".to_owned()
        ]
    );
}

#[test]
fn a_paired_device_cannot_guess_at_the_secret_beside_its_token() {
    let rig = strict();
    let device = key(2);
    let token = paired(&rig, &device);
    let hub = &rig.gateway().context().hub;
    let method = |secret: &str| {
        let auth = json!({"token": secret, "deviceToken": token});
        let client = rig.session(|nonce| with_auth(&device, nonce, auth));
        let method = hub.sessions()[0].auth.as_str();
        client.leave();
        wait_until("it is gone", || hub.is_empty());
        method
    };
    assert_eq!(method(TOKEN), "token");
    for _ in 0..10 {
        assert_eq!(method("wrong"), "device-token");
    }
    // It comes in as before, but learns nothing more about the secret.
    assert_eq!(method(TOKEN), "device-token");
    // Others on its address may still prove the secret.
    rig.session(|_| operator(&[]));
}

#[test]
fn a_device_token_in_both_fields_is_no_guess() {
    let rig = strict();
    let device = key(3);
    let token = paired(&rig, &device);
    for _ in 0..3 {
        let auth = json!({"token": token, "deviceToken": token});
        rig.session(|nonce| with_auth(&device, nonce, auth)).leave();
    }
    let context = rig.gateway().context();
    let counted = || context.guard.rows(&context.rules().attempts);
    assert_eq!(counted().len(), 0);
    let auth = json!({"token": "wrong", "deviceToken": token});
    rig.session(|nonce| with_auth(&device, nonce, auth)).leave();
    assert_eq!(counted().len(), 1);
}

#[test]
fn a_guess_counts_whatever_else_the_connect_is_refused_for() {
    let forged = |secret: &str, nonce: &str| {
        let mut params = with_auth(&key(4), nonce, json!({"token": secret}));
        params["device"]["signature"] = json!("A".repeat(86));
        params
    };
    let page =
        |secret: &str, _: &str| bare("openclaw-control-ui", "ui", &[], json!({"token": secret}));
    let own: &[(&str, &str)] = &[("Origin", "http://a.example")];
    type Case<'a> = (
        &'a dyn Fn(&str, &str) -> Value,
        &'a [(&'static str, &'a str)],
        &'a str,
    );
    let cases: [Case<'_>; 2] = [
        (&forged, &[], "DEVICE_AUTH_SIGNATURE_INVALID"),
        (&page, own, "CONTROL_UI_DEVICE_IDENTITY_REQUIRED"),
    ];
    for (connect, headers, expected) in cases {
        let rig = Rig::with(|settings| {
            settings.rules.attempts.exempt_loopback = false;
            settings.rules.origins.allowed = vec!["http://a.example".into()];
        });
        // A right secret among the refused ones starts nothing afresh, and then all are answered alike.
        for secret in [["wrong"; 9].as_slice(), &[TOKEN, "wrong", "wrong", TOKEN]].concat() {
            let (error, ..) = refused(&rig, headers, |nonce| connect(secret, nonce));
            assert_eq!(error["details"]["code"], expected, "{secret}");
        }
        assert_locked(&rig, headers);
    }
}

#[test]
fn a_device_token_forgives_no_guesses_of_its_address() {
    let rig = strict();
    let device = key(5);
    let token = paired(&rig, &device);
    for _ in 0..9 {
        assert_eq!(code(&rig, &[], guess("wrong")), "AUTH_TOKEN_MISMATCH");
    }
    let auth = json!({"token": "wrong", "deviceToken": token});
    rig.session(|nonce| with_auth(&device, nonce, auth));
    assert_eq!(code(&rig, &[], guess("wrong")), "AUTH_TOKEN_MISMATCH");
    assert_locked(&rig, &[]);
}

#[test]
fn bootstrap_tokens_are_counted_for_themselves() {
    let rig = strict();
    for number in 0..11 {
        let expected = if number < 10 {
            "AUTH_BOOTSTRAP_TOKEN_INVALID"
        } else {
            "AUTH_RATE_LIMITED"
        };
        let (error, ..) = refused(&rig, &[], |nonce| {
            with_auth(&key(3), nonce, json!({"bootstrapToken": "guess"}))
        });
        assert_eq!(error["details"]["code"], expected, "{number}");
    }
    rig.session(|_| operator(&[]));
}

#[test]
fn a_wrong_bearer_counts_and_a_locked_right_one_opens_nothing() {
    let rig = strict();
    let ask = |headers: &str| {
        let head = "GET /ready HTTP/1.1\r\nHost: x\r\nX-Real-IP: 1.2.3.4\r\n";
        http(&rig, &format!("{head}{headers}\r\n"))
    };
    let right = format!("Authorization: Bearer {TOKEN}\r\n");
    assert!(ask(&right).contains("uptimeMs"));
    for _ in 0..10 {
        assert!(!ask("Authorization: Bearer wrong\r\n").contains("uptimeMs"));
    }
    assert!(!ask(&right).contains("uptimeMs"));
    assert_eq!(code(&rig, PROXIED, guess(TOKEN)), "AUTH_RATE_LIMITED");
    rig.session(|_| operator(&[]));
}

#[test]
fn a_changed_policy_counts_at_once_and_an_empty_limiter_sets_no_timer() {
    let rig = strict();
    let context = rig.gateway().context();
    let before = context.timer.pending();
    assert_eq!(code(&rig, &[], guess("wrong")), "AUTH_TOKEN_MISMATCH");
    assert_eq!(
        context.timer.pending(),
        before + 1,
        "one sweep for all counters"
    );
    let mut rules = (*context.rules()).clone();
    rules.attempts = AttemptPolicy {
        max_attempts: 2,
        ..rules.attempts
    };
    context.replace_rules(rules);
    assert_eq!(code(&rig, &[], guess("wrong")), "AUTH_TOKEN_MISMATCH");
    assert_eq!(code(&rig, &[], guess("wrong")), "AUTH_RATE_LIMITED");
    assert_eq!(context.timer.pending(), before + 1);
    assert_eq!(context.guard.clear(|key| key.kind == Kind::SharedSecret), 1);
    rig.session(|_| operator(&[]));
}

/// Pairs a device and returns its token.
fn paired(rig: &Rig, device: &DeviceKey) -> String {
    let mut client = rig.client();
    let params = node(device, &client.nonce, &[]);
    let answer = client.call("connect", params);
    let token = answer["payload"]["auth"]["deviceToken"]
        .as_str()
        .unwrap()
        .to_owned();
    client.leave();
    wait_until("it is gone", || rig.gateway().context().hub.is_empty());
    token
}

/// A node's connect with these credentials.
fn with_auth(device: &DeviceKey, nonce: &str, auth: Value) -> Value {
    let mut params = bare("node-host", "node", &[], auth);
    params["role"] = json!("node");
    signed(params, device, nonce, now_ms())
}

/// One HTTP request.
fn http(rig: &Rig, request: &str) -> String {
    let mut stream = rig.tcp();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
