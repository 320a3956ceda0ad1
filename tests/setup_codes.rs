//! Setup codes from the wire: who comes in with a bootstrap token, with what, and what is left of it.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::support::device::Device;
use crate::support::peer::{Peer, Refused, node_params};
use crate::support::process::{Gateway, SECRET};
use crate::support::wait_for;
use crate::support::websocket::WebSocket;

const CODE: &str = "bootstrap-secret-Zm9vYmFyYmF6cXV4cXV1eGNvcmdl";

/// A header that makes a loopback connection a remote one.
const AFAR: [(&str, &str); 1] = [("X-Forwarded-For", "198.51.100.7")];

fn now_ms() -> u64 {
    let age = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    age.as_millis().try_into().unwrap()
}

/// The file as the reference writes it.
fn write_code(gateway: &Gateway, issued_at_ms: u64) {
    let document = json!({CODE: {"token": CODE, "ts": issued_at_ms, "issuedAtMs": issued_at_ms,
        "profile": {"roles": ["node", "operator"],
                    "scopes": ["operator.approvals", "operator.read", "operator.talk.secrets", "operator.write"]}}});
    let text = serde_json::to_string_pretty(&document).unwrap();
    gateway
        .home
        .write("devices/bootstrap.json", text.as_bytes());
}

fn params(role: &str, scopes: &[&str], auth: Value) -> Value {
    let mut params = node_params("", &["system.which"]);
    params["role"] = json!(role);
    params["scopes"] = json!(scopes);
    params["auth"] = auth;
    params
}

fn from_afar(gateway: &Gateway, device: &Device, params: Value) -> Result<Peer, Refused> {
    let socket = WebSocket::connect_with(gateway.address, "/", &AFAR).unwrap();
    Peer::handshake(socket, params, Some(device))
}

fn code(role: &str, scopes: &[&str]) -> Value {
    params(role, scopes, json!({"bootstrapToken": CODE}))
}

#[track_caller]
fn refused_as_invalid(outcome: Result<Peer, Refused>) {
    let refused = outcome.err().expect("refused");
    assert_eq!(
        refused.error,
        json!({"code": "INVALID_REQUEST",
            "message": "unauthorized: bootstrap token invalid or expired (scan a fresh setup code)",
            "details": {"code": "AUTH_BOOTSTRAP_TOKEN_INVALID", "authReason": "bootstrap_token_invalid",
                "canRetryWithDeviceToken": false, "recommendedNextStep": "review_auth_configuration"}})
    );
    assert_eq!(refused.close.unwrap().0, 1008);
}

#[test]
fn a_phone_scans_a_code_and_has_both_roles_while_nobody_else_can_use_it() {
    let gateway = Gateway::start();
    write_code(&gateway, now_ms());
    let (phone, thief) = (Device::new(), Device::new());
    let node = from_afar(&gateway, &phone, code("node", &[])).unwrap();
    let auth = node.hello["auth"].clone();
    assert_eq!(
        (&auth["role"], &auth["scopes"]),
        (&json!("node"), &json!([]))
    );
    let handed = &auth["deviceTokens"][0];
    assert_eq!(
        (&handed["role"], &handed["scopes"]),
        (
            &json!("operator"),
            &json!([
                "operator.approvals",
                "operator.read",
                "operator.talk.secrets",
                "operator.write"
            ])
        )
    );
    wait_for("the code to be gone", || {
        (gateway.home.json("devices/bootstrap.json") == json!({})).then_some(())
    });
    refused_as_invalid(from_afar(&gateway, &thief, code("node", &[])));

    let token = handed["deviceToken"].clone();
    let reader = params(
        "operator",
        &["operator.read"],
        json!({"deviceToken": token}),
    );
    let mut reader = from_afar(&gateway, &phone, reader).unwrap();
    let listed = reader.call("node.list", json!({})).unwrap();
    assert_eq!(listed["nodes"][0]["nodeId"], json!(phone.id));
    let denied = reader.call("device.pair.list", json!({})).unwrap_err();
    assert_eq!(denied["message"], "missing scope: operator.pairing");

    let mut traces = gateway.process.output() + &gateway.home.read("audit.jsonl");
    traces += &gateway.cli(&["devices", "list", "--json"]).success().stdout;
    for secret in [
        CODE,
        token.as_str().unwrap(),
        auth["deviceToken"].as_str().unwrap(),
    ] {
        assert!(!traces.contains(secret), "{traces}");
    }
    assert!(traces.contains("\"rule\":\"bootstrap\""), "{traces}");
}

#[test]
fn what_a_code_does_not_offer_is_refused_in_one_word() {
    let gateway = Gateway::start();
    let device = Device::new();
    refused_as_invalid(from_afar(&gateway, &device, code("node", &[])));
    write_code(&gateway, now_ms() - 601_000);
    refused_as_invalid(from_afar(&gateway, &device, code("node", &[])));
    write_code(&gateway, now_ms());
    refused_as_invalid(from_afar(
        &gateway,
        &device,
        code("operator", &["operator.admin"]),
    ));
    refused_as_invalid(from_afar(
        &gateway,
        &device,
        code("operator", &["operator.pairing"]),
    ));
    // An operator waits for a person; the code is this device's from now on.
    let waiting = from_afar(&gateway, &device, code("operator", &["operator.read"]));
    let error = waiting.err().unwrap().error;
    assert_eq!(error["details"]["code"], "PAIRING_REQUIRED", "{error}");
    refused_as_invalid(from_afar(&gateway, &Device::new(), code("node", &[])));
    let trail = gateway.home.read("audit.jsonl");
    assert!(trail.contains("another device used it first"), "{trail}");
    assert!(trail.contains("it has expired") && !trail.contains(CODE));
}

#[test]
fn a_broken_file_of_codes_keeps_nobody_else_out_and_stays_as_it_is() {
    let gateway = Gateway::start();
    for text in ["{\"a\":", "[]", "\u{0}"] {
        gateway
            .home
            .write("devices/bootstrap.json", text.as_bytes());
        refused_as_invalid(from_afar(&gateway, &Device::new(), code("node", &[])));
        let mut operator = Peer::operator(gateway.address, SECRET);
        operator.call("device.pair.list", json!({})).unwrap();
        Peer::node(gateway.address, SECRET, &Device::new(), &["system.which"]).unwrap();
        assert_eq!(gateway.home.read("devices/bootstrap.json"), text);
    }
    let log = gateway.process.output();
    assert!(log.contains("bootstrap.json:1:"), "{log}");
    assert!(log.contains("The file is left as it is"), "{log}");
}
