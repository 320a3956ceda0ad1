//! Attacks on where a connection comes from: forwarding headers on loopback, foreign web pages.

use serde_json::{Value, json};

use super::{Scene, code, node_with, not_admitted};
use crate::support::device::Device;
use crate::support::peer::{ALL_SCOPES, cli_params, operator_params};
use crate::support::process::SECRET;

/// Headers by which proxies make themselves known; whoever sends one is not direct.
const FORWARDING: [(&str, &str); 9] = [
    ("Forwarded", "for=127.0.0.1;host=localhost;proto=http"),
    ("X-Forwarded-For", "127.0.0.1"),
    ("X-Forwarded-For", "203.0.113.9"),
    ("X-Forwarded-For", "::1, localhost"),
    ("X-Forwarded-Host", "localhost"),
    ("X-Forwarded-Proto", "http"),
    ("X-Real-IP", "127.0.0.1"),
    ("x-FORWARDED-for", "nonsense"),
    ("X-Real-IP", "10.0.0.7"),
];

#[test]
fn a_forwarding_header_takes_locality_away_whatever_it_says() {
    let mut scene = Scene::new();
    for header in FORWARDING {
        // No silent approval of a first pairing ...
        for params in [
            node_with(json!({"token": SECRET})),
            cli_params(json!({"token": SECRET}), &["operator.read"]),
        ] {
            let stranger = Device::new();
            let error = not_admitted(scene.connect_with(&[header], params, Some(&stranger)));
            assert_eq!(error["code"], "NOT_PAIRED", "{header:?}");
            assert_eq!(error["details"]["reason"], "not-paired", "{header:?}");
        }
        // ... nor of a member's changed metadata ...
        let mut params = node_with(json!({"token": SECRET}));
        params["client"]["platform"] = json!("darwin");
        let error = not_admitted(scene.connect_with(&[header], params, Some(&scene.node_key)));
        assert_eq!(error["details"]["reason"], "metadata-upgrade", "{header:?}");
        // ... and none of the exceptions that keep scopes without a device.
        let command_line = cli_params(json!({"token": SECRET}), &ALL_SCOPES);
        for params in [operator_params(SECRET, &ALL_SCOPES), command_line] {
            let mut session = scene.connect_with(&[header], params, None).unwrap();
            assert_eq!(session.hello["auth"]["scopes"], json!([]), "{header:?}");
            let error = session.call("device.pair.list", json!({})).unwrap_err();
            assert_eq!(error["message"], "missing scope: operator.pairing");
        }
    }
    scene.only_a_request_waits();
}

#[test]
fn the_back_end_exception_is_lost_for_a_device_behind_a_header() {
    let mut scene = Scene::new();
    let stranger = Device::new();
    let params = operator_params(SECRET, &ALL_SCOPES);
    let error = not_admitted(scene.connect_with(&[FORWARDING[1]], params, Some(&stranger)));
    assert_eq!(error["details"]["reason"], "not-paired", "{error}");
    scene.only_a_request_waits();
}

#[test]
fn a_page_of_another_origin_gets_no_session() {
    let mut scene = Scene::new();
    let not_allowed = "origin not allowed";
    let invalid = "origin missing or invalid";
    let rebound = format!("http://attacker.example:{}", scene.gateway.address.port());
    let rebound_host = rebound.trim_start_matches("http://").to_owned();
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[("Origin", "https://evil.example")], not_allowed),
        (&[("Origin", "null")], invalid),
        (&[("Origin", "")], invalid),
        (&[("Origin", "file://")], invalid),
        // A name that an attacker lets point to 127.0.0.1 is still his.
        (
            &[("Origin", &rebound), ("Host", &rebound_host)],
            not_allowed,
        ),
        (&[("Origin", "http://localhost.evil.example")], not_allowed),
        (&[("Origin", "http://127.0.0.1.evil.example")], not_allowed),
        (&[("Origin", "http://evil.example/localhost")], invalid),
        (&[("Origin", "http://localhost@evil.example")], invalid),
        // A local page behind a proxy is not local.
        (
            &[("Origin", "http://localhost"), FORWARDING[1]],
            not_allowed,
        ),
        (
            &[
                ("Origin", "http://localhost"),
                ("Origin", "https://evil.example"),
            ],
            invalid,
        ),
    ];
    let scopes = ["operator.admin"];
    for (headers, reason) in cases {
        for (params, key) in [
            (operator_params(SECRET, &scopes), None),
            (cli_params(json!({"token": SECRET}), &scopes), None),
            (
                cli_params(json!({"token": SECRET}), &scopes),
                Some(&scene.operator_key),
            ),
            (
                node_with(json!({"deviceToken": scene.node_token})),
                Some(&scene.node_key),
            ),
        ] {
            let error = not_admitted(scene.connect_with(headers, params, key));
            assert_eq!(code(&error), "CONTROL_UI_ORIGIN_NOT_ALLOWED", "{headers:?}");
            assert_eq!(error["details"]["reason"], *reason, "{headers:?}");
        }
    }
    scene.unharmed();
}

#[test]
fn a_page_of_this_host_is_never_paired_in_silence_and_keeps_no_scope() {
    let mut scene = Scene::new();
    let local = [("Origin", "http://localhost:8080")];
    let scopes = ["operator.admin"];
    for params in [
        operator_params(SECRET, &scopes),
        cli_params(json!({"token": SECRET}), &scopes),
    ] {
        let session = scene.connect_with(&local, params.clone(), None).unwrap();
        assert_eq!(session.hello["auth"]["scopes"], json!([]));
        let stranger = Device::new();
        let error = not_admitted(scene.connect_with(&local, params, Some(&stranger)));
        assert_eq!(error["details"]["reason"], "not-paired", "{error}");
    }
    let mut params = node_with(json!({"token": SECRET}));
    params["client"]["platform"] = json!("darwin");
    let error = not_admitted(scene.connect_with(&local, params, Some(&scene.node_key)));
    assert_eq!(error["details"]["reason"], "metadata-upgrade");
    scene.only_a_request_waits();
}

#[test]
fn a_client_that_says_it_is_a_browser_must_name_its_origin() {
    let mut scene = Scene::new();
    for (id, mode) in [
        ("openclaw-control-ui", "ui"),
        ("webchat-ui", "webchat"),
        ("webchat", "webchat"),
        ("cli", "webchat"),
    ] {
        let mut params = cli_params(json!({"token": SECRET}), &["operator.admin"]);
        params["client"] = json!({"id": id, "mode": mode, "version": "1", "platform": "linux"});
        let keys: [Option<&Device>; 2] = [None, Some(&scene.operator_key)];
        for key in keys {
            let error: Value = scene.refused(params.clone(), key);
            assert_eq!(code(&error), "CONTROL_UI_ORIGIN_NOT_ALLOWED", "{id} {mode}");
            assert_eq!(error["details"]["reason"], "origin missing or invalid");
        }
    }
    scene.unharmed();
}
