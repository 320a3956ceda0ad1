//! Wrong input of every kind gets its specified answer, and the gateway goes on.

use serde_json::{Value, json};

use crate::support::device::Device;
use crate::support::peer::{ALL_SCOPES, Peer, challenge, finish, node_params, operator_params};
use crate::support::process::{Gateway, http};
use crate::support::websocket::{Message, WebSocket};

/// Sends one text as the first frame; the error of the response (or null) and the close.
fn first_frame(gateway: &Gateway, text: &str) -> (Value, Option<(u16, String)>) {
    let mut socket = WebSocket::connect(gateway.address);
    challenge(&mut socket);
    socket.send_text(text);
    match finish(socket) {
        Ok(_) => panic!("admitted by {text}"),
        Err(refused) => (refused.error, refused.close),
    }
}

fn connect_frame(params: Value) -> String {
    json!({"type": "req", "id": "c", "method": "connect", "params": params}).to_string()
}

/// The gateway still serves: one full handshake and a request.
#[track_caller]
fn still_works(gateway: &Gateway) {
    let mut operator = Peer::operator(gateway.address, &gateway.token);
    assert_eq!(operator.call("health", json!({})).unwrap()["ok"], true);
}

#[test]
fn broken_first_frames_end_the_handshake_as_specified() {
    let gateway = Gateway::start();
    let deep = format!(
        "{{\"type\":\"req\",\"id\":\"1\",\"method\":\"connect\",\"params\":{}",
        "[".repeat(30_000)
    );
    let cases: Vec<(String, Value, (u16, &str))> = vec![
        ("not json".into(), Value::Null, (1000, "")),
        (
            r#"{"type":"event"}"#.into(),
            Value::Null,
            (1008, "invalid request frame"),
        ),
        (
            r#"[1,2]"#.into(),
            Value::Null,
            (1008, "invalid request frame"),
        ),
        (
            r#"{"type":"req","id":"1","method":"connect","params":{},"x":1}"#.into(),
            Value::Null,
            (1008, "invalid request frame"),
        ),
        (
            r#"{"type":"req","id":"1","method":"health"}"#.into(),
            json!("invalid handshake: first request must be connect"),
            (1008, "invalid handshake: first request must be connect"),
        ),
        (
            r#"{"type":"req","id":"1","method":"connect"}"#.into(),
            json!("invalid connect params: must be object"),
            (1008, "invalid connect params: must be object"),
        ),
    ];
    for (text, message, (code, reason)) in cases {
        let (error, close) = first_frame(&gateway, &text);
        assert_eq!(error["message"], message, "{text}");
        assert_eq!(close, Some((code, reason.to_owned())), "{text}");
    }
    let (error, close) = first_frame(&gateway, &deep);
    assert!(error.is_null() && close.is_some(), "{error} {close:?}");
    still_works(&gateway);
}

#[test]
fn connect_params_are_checked_with_exact_texts() {
    let gateway = Gateway::start();
    let good = || operator_params(&gateway.token, &ALL_SCOPES);
    let edit = |change: &dyn Fn(&mut Value)| {
        let mut params = good();
        change(&mut params);
        params
    };
    let cases: Vec<(Value, &str)> = vec![
        (
            edit(&|p| p["client"]["id"] = json!("nope")),
            "at /client/id: must be equal to one of the allowed values",
        ),
        (
            edit(&|p| p["client"]["mode"] = json!("operator")),
            "at /client/mode: must be equal to one of the allowed values",
        ),
        (
            edit(&|p| {
                p["client"].as_object_mut().unwrap().remove("version");
            }),
            "at /client: must have required property 'version'",
        ),
        (
            edit(&|p| {
                p.as_object_mut().unwrap().remove("client");
            }),
            "must have required property 'client'",
        ),
        (
            edit(&|p| p["zzz"] = json!(1)),
            "at root: unexpected property 'zzz'",
        ),
        (
            edit(&|p| p["client"]["x"] = json!(1)),
            "at /client: unexpected property 'x'",
        ),
        (
            edit(&|p| p["minProtocol"] = json!(0)),
            "at /minProtocol: must be >= 1",
        ),
        (
            edit(&|p| p["scopes"] = json!("all")),
            "at /scopes: must be array",
        ),
        (
            edit(&|p| p["client"]["version"] = json!("")),
            "at /client/version: must NOT have fewer than 1 characters",
        ),
    ];
    for (params, item) in cases {
        let (error, close) = first_frame(&gateway, &connect_frame(params));
        assert_eq!(error["code"], "INVALID_REQUEST", "{item}");
        assert_eq!(error["message"], format!("invalid connect params: {item}"));
        assert_eq!(close.unwrap().0, 1008);
    }
    still_works(&gateway);
}

#[test]
fn versions_roles_and_credentials_are_refused_with_details() {
    let gateway = Gateway::start();
    let mut newer = operator_params(&gateway.token, &ALL_SCOPES);
    newer["minProtocol"] = json!(5);
    newer["maxProtocol"] = json!(6);
    let (error, close) = first_frame(&gateway, &connect_frame(newer));
    assert_eq!(error["details"]["code"], "PROTOCOL_MISMATCH", "{error}");
    assert_eq!(error["details"]["expectedProtocol"], 4);
    assert_eq!(close, Some((1002, "protocol mismatch".to_owned())));

    let mut worker = operator_params(&gateway.token, &ALL_SCOPES);
    worker["role"] = json!("worker");
    let (error, close) = first_frame(&gateway, &connect_frame(worker));
    assert_eq!(error["message"], "invalid role");
    assert_eq!(close, Some((1008, "invalid role".to_owned())));

    let (error, _) = first_frame(
        &gateway,
        &connect_frame(operator_params("wrong", &ALL_SCOPES)),
    );
    assert_eq!(
        error["message"],
        "unauthorized: gateway token mismatch (provide gateway auth token)"
    );
    assert_eq!(error["details"]["code"], "AUTH_TOKEN_MISMATCH");
    assert_eq!(
        error["details"]["recommendedNextStep"],
        "update_auth_credentials"
    );

    let mut silent = operator_params("", &ALL_SCOPES);
    silent.as_object_mut().unwrap().remove("auth");
    let (error, _) = first_frame(&gateway, &connect_frame(silent));
    assert_eq!(
        error["details"]["code"], "DEVICE_IDENTITY_REQUIRED",
        "{error}"
    );
    let (error, _) = first_frame(&gateway, &connect_frame(node_params(&gateway.token, &[])));
    assert_eq!(error["message"], "device identity required");
    still_works(&gateway);
}

#[test]
fn a_device_proof_is_checked_in_every_part() {
    let gateway = Gateway::start();
    let device = Device::new();
    let other = Device::new();
    type Spoil<'a> = Box<dyn Fn(&mut Value) + 'a>;
    let cases: Vec<(&str, &str, Spoil)> = vec![
        (
            "device identity mismatch",
            "DEVICE_AUTH_DEVICE_ID_MISMATCH",
            Box::new(|p| p["device"]["id"] = json!(other.id)),
        ),
        (
            "device signature expired",
            "DEVICE_AUTH_SIGNATURE_EXPIRED",
            Box::new(|p| {
                p["device"]["signedAt"] =
                    json!(p["device"]["signedAt"].as_u64().unwrap() - 130_000);
            }),
        ),
        (
            "device nonce required",
            "DEVICE_AUTH_NONCE_REQUIRED",
            Box::new(|p| p["device"]["nonce"] = json!("  ")),
        ),
        (
            "device nonce mismatch",
            "DEVICE_AUTH_NONCE_MISMATCH",
            Box::new(|p| p["device"]["nonce"] = json!("n")),
        ),
        (
            "device signature invalid",
            "DEVICE_AUTH_SIGNATURE_INVALID",
            Box::new(|p| p["scopes"] = json!(["operator.admin"])),
        ),
        (
            "device signature invalid",
            "DEVICE_AUTH_SIGNATURE_INVALID",
            Box::new(|p| p["device"]["signature"] = json!(other.sign("x"))),
        ),
    ];
    for (message, code, spoil) in cases {
        let mut socket = WebSocket::connect(gateway.address);
        let (nonce, ts) = challenge(&mut socket);
        let mut params = node_params(&gateway.token, &[]);
        device.prove(&mut params, &nonce, ts);
        spoil(&mut params);
        socket.send_text(&connect_frame(params));
        let refused = finish(socket).err().unwrap();
        assert_eq!(refused.error["message"], message);
        assert_eq!(refused.error["details"]["code"], code);
        assert_eq!(refused.close, Some((1008, message.to_owned())));
    }
    still_works(&gateway);
}

#[test]
fn requests_of_a_session_are_checked_and_the_session_goes_on() {
    let gateway = Gateway::start();
    let mut operator = Peer::operator(gateway.address, &gateway.token);
    let cases: Vec<(&str, Value, &str)> = vec![
        ("nope.method", json!({}), "unknown method: nope.method"),
        (
            "node.describe",
            json!({}),
            "invalid node.describe params: must have required property 'nodeId'",
        ),
        ("node.describe", json!({"nodeId": "x"}), "unknown nodeId"),
        (
            "node.describe",
            json!({"nodeId": 5}),
            "invalid node.describe params: at /nodeId: must be string",
        ),
        (
            "node.describe",
            json!({"nodeId": "x", "zzz": 1}),
            "invalid node.describe params: at root: unexpected property 'zzz'",
        ),
        (
            "node.describe",
            json!([]),
            "invalid node.describe params: must be object",
        ),
        (
            "node.invoke",
            json!({"nodeId": "x", "command": "y"}),
            "invalid node.invoke params: must have required property 'idempotencyKey'",
        ),
        (
            "device.pair.approve",
            json!({"requestId": "x"}),
            "unknown requestId",
        ),
        (
            "device.pair.remove",
            json!({"deviceId": "x"}),
            "unknown deviceId",
        ),
        (
            "device.token.rotate",
            json!({"deviceId": "x", "role": "node"}),
            "device token rotation denied",
        ),
        (
            "device.token.revoke",
            json!({"deviceId": "x", "role": "node"}),
            "device token revocation denied",
        ),
        ("node.pair.remove", json!({"nodeId": "x"}), "unknown nodeId"),
        (
            "node.rename",
            json!({"nodeId": "x", "displayName": "y"}),
            "unknown nodeId",
        ),
        (
            "connect",
            json!({}),
            "connect is only valid as the first request",
        ),
        (
            "node.invoke.result",
            json!({}),
            "unauthorized role: operator",
        ),
    ];
    for (method, params, message) in cases {
        let error = operator.call(method, params).unwrap_err();
        assert_eq!(error["message"], message, "{method}");
        assert_eq!(error["code"], "INVALID_REQUEST", "{method}");
    }
    let unknown = operator
        .call(
            "node.invoke",
            json!({"nodeId": "x", "command": "y", "idempotencyKey": "k"}),
        )
        .unwrap_err();
    assert_eq!(unknown["code"], "UNAVAILABLE");
    assert_eq!(unknown["details"]["code"], "NOT_CONNECTED");

    // Not a request at all: answered with its id, and the socket stays open.
    operator
        .socket
        .send_text(r#"{"type":"req","id":"odd","method":""}"#);
    let error = operator.answer("odd").unwrap_err();
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .starts_with("invalid request frame: "),
        "{error}"
    );
    operator.socket.send_text("this is not JSON");
    operator.socket.send_text(&"[".repeat(100_000));
    assert_eq!(operator.call("health", json!({})).unwrap()["ok"], true);
}

#[test]
fn scopes_and_roles_guard_every_method() {
    let gateway = Gateway::start();
    let mut reader = Peer::connect(
        gateway.address,
        operator_params(&gateway.token, &["operator.read"]),
        None,
    )
    .unwrap();
    for (method, scope) in [
        ("node.invoke", "operator.write"),
        ("device.pair.list", "operator.pairing"),
        ("exec.approvals.node.get", "operator.admin"),
        ("no.such.method", "operator.admin"),
    ] {
        let error = reader.call(method, json!({})).unwrap_err();
        assert_eq!(
            error["message"],
            format!("missing scope: {scope}"),
            "{method}"
        );
    }
    assert!(reader.call("node.list", json!({})).is_ok());
    let device = Device::new();
    let mut node = Peer::node(gateway.address, &gateway.token, &device, &[]).unwrap();
    let error = node.call("node.pair.list", json!({})).unwrap_err();
    assert_eq!(error["message"], "unauthorized role: node");
    assert_eq!(node.call("health", json!({})).unwrap()["ok"], true);
}

#[test]
fn frames_over_the_cap_close_with_1009() {
    let gateway = Gateway::start();
    let mut socket = WebSocket::connect(gateway.address);
    challenge(&mut socket);
    let _ = socket.try_send(0x1, &vec![b'x'; 65_537]);
    assert_eq!(socket.next(), Message::Close(1009, String::new()));

    // Exactly the cap is read: it is not JSON, so the handshake ends with 1000.
    let mut socket = WebSocket::connect(gateway.address);
    challenge(&mut socket);
    socket.try_send(0x1, &vec![b'x'; 65_536]).unwrap();
    assert_eq!(socket.next(), Message::Close(1000, String::new()));

    let mut operator = Peer::operator(gateway.address, &gateway.token);
    let padding = " ".repeat(200_000);
    let big = format!(r#"{{"type":"req","id":"big","method":"health"{padding}}}"#);
    operator.socket.send_text(&big);
    assert_eq!(operator.answer("big").unwrap()["ok"], true);
    // A declared length over 25 MiB is refused from its header alone.
    let mut header = vec![0x81, 0x80 | 127];
    header.extend_from_slice(&26_214_401u64.to_be_bytes());
    header.extend_from_slice(&[0, 0, 0, 0]);
    operator.socket.send_raw(&header).unwrap();
    assert_eq!(operator.closed(), (1009, String::new()));
    still_works(&gateway);
}

#[test]
fn invalid_utf8_and_broken_frames_end_only_their_connection() {
    let gateway = Gateway::start();
    let mut operator = Peer::operator(gateway.address, &gateway.token);
    let _ = operator.socket.try_send(0x1, &[0xff, 0xfe, 0xfd]);
    assert_eq!(operator.closed().0, 1007);
    for broken in [
        &[0x81, 0x02, b'h', b'i'][..],
        &[0x83, 0x80, 0, 0, 0, 0],
        &[0xf1, 0x80, 0, 0, 0, 0],
    ] {
        let mut operator = Peer::operator(gateway.address, &gateway.token);
        operator.socket.send_raw(broken).unwrap();
        let (code, _) = operator.closed();
        assert!(code == 1002 || code == 1006, "{code} for {broken:?}");
    }
    still_works(&gateway);
}

#[test]
fn http_on_the_same_port_answers_health_and_nothing_else() {
    let gateway = Gateway::start();
    for path in ["/health", "/healthz"] {
        let answer = gateway.get(path);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(
            answer.ends_with(r#"{"ok":true,"status":"live"}"#),
            "{answer}"
        );
        for header in [
            "X-Content-Type-Options: nosniff",
            "Referrer-Policy: no-referrer",
            "Cache-Control: no-store",
        ] {
            assert!(answer.contains(header), "{header} missing in {answer}");
        }
    }
    let ready = gateway.get("/readyz");
    assert!(
        ready.contains(r#""ready":true"#) && ready.contains("uptimeMs"),
        "{ready}"
    );
    let far = http(
        gateway.address,
        "GET /readyz HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n",
    );
    assert!(
        far.ends_with(r#"{"ready":true}"#),
        "details only for local callers: {far}"
    );
    let post = http(
        gateway.address,
        "POST /health HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
    );
    assert!(
        post.starts_with("HTTP/1.1 405 ") && post.contains("Allow: GET, HEAD"),
        "{post}"
    );
    let head = http(gateway.address, "HEAD /health HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(
        head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"),
        "{head}"
    );
    for path in ["/", "/api/x", "/../../etc/passwd"] {
        let answer = gateway.get(path);
        assert!(
            answer.starts_with("HTTP/1.1 404 ") && answer.ends_with("Not Found"),
            "{answer}"
        );
    }
    for garbage in ["\r\n\r\n", "GARBAGE\r\n\r\n", "GET / HTTP/9.9\r\n\r\n"] {
        let answer = http(gateway.address, garbage);
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
            "{garbage:?}: {answer}"
        );
    }
    still_works(&gateway);
}

#[test]
fn a_web_page_of_another_origin_gets_no_session() {
    let gateway = Gateway::start();
    let socket =
        WebSocket::connect_with(gateway.address, "/", &[("Origin", "https://evil.example")])
            .unwrap();
    let refused = Peer::handshake(socket, operator_params(&gateway.token, &ALL_SCOPES), None)
        .err()
        .unwrap();
    assert_eq!(
        refused.error["details"]["code"],
        "CONTROL_UI_ORIGIN_NOT_ALLOWED"
    );
    // A page of the same host may come in, but without a device it keeps no scope.
    let socket =
        WebSocket::connect_with(gateway.address, "/", &[("Origin", "http://localhost:1")]).unwrap();
    let session =
        Peer::handshake(socket, operator_params(&gateway.token, &ALL_SCOPES), None).unwrap();
    assert_eq!(session.hello["auth"]["scopes"], json!([]));
}
