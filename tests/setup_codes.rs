//! Setup codes from the wire: who comes in with a bootstrap token, with what, and what is left of it.

use std::io::{Read, Write};
use std::process::Stdio;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::support::device::Device;
use crate::support::home::Home;
use crate::support::peer::{Peer, Refused, node_params};
use crate::support::process::{Gateway, Running, SECRET, command, free_port, openclaw, program};
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

/// The document inside a setup code.
fn inside(code: &str) -> Value {
    let bytes = data_encoding::BASE64URL_NOPAD
        .decode(code.as_bytes())
        .unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

#[test]
fn the_command_line_makes_codes_for_a_running_gateway() {
    let gateway = Gateway::start();
    let url = format!("ws://{}", gateway.address);
    let made = gateway
        .cli(&["qr", "--json", "--url", &url])
        .success()
        .json();
    let code = made["setupCode"].as_str().unwrap();
    let document = inside(code);
    let secret = document["bootstrapToken"].as_str().unwrap();
    assert_eq!(document, json!({"url": url, "bootstrapToken": secret}));
    assert_eq!(
        (&made["gatewayUrl"], &made["auth"], &made["urlSource"]),
        (&json!(url), &json!("token"), &json!("cli --url"))
    );
    let stored = gateway.home.json("devices/bootstrap.json");
    assert_eq!(
        stored[secret]["profile"]["roles"],
        json!(["node", "operator"])
    );
    let file = gateway.home.state().join("devices/bootstrap.json");
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(file).unwrap());
    assert_eq!(mode & 0o777, 0o600);

    let phone = Device::new();
    let auth = json!({"bootstrapToken": secret});
    let node = from_afar(&gateway, &phone, params("node", &[], auth.clone())).unwrap();
    assert_eq!(node.hello["auth"]["deviceTokens"][0]["role"], "operator");
    refused_as_invalid(from_afar(
        &gateway,
        &Device::new(),
        params("node", &[], auth),
    ));
    let traces = gateway.process.output() + &gateway.home.read("audit.jsonl");
    assert!(
        traces.contains("bootstrap.issue") && !traces.contains(secret),
        "{traces}"
    );

    let only = gateway
        .cli(&["qr", "--setup-code-only", "--url", &url])
        .success()
        .stdout;
    assert_eq!(inside(only.trim())["url"], url);
    let page = gateway.cli(&["qr", "--public-url", &url]).success().stdout;
    for part in [
        "Pairing QR\n",
        "█",
        "Setup code: ",
        "Auth: token\n",
        "Source: cli --url\n",
        "openclaw nodes approve <requestId>",
    ] {
        assert!(page.contains(part), "{part}\n{page}");
    }
    assert!(!page.contains(SECRET));
    let bare = gateway
        .cli(&["qr", "--no-ascii", "--url", &url])
        .success()
        .stdout;
    assert!(!bare.contains('█'), "{bare}");
    let svg = gateway
        .cli(&["qr", "--svg", "-", "--url", &url])
        .success()
        .stdout;
    assert!(
        svg.starts_with("<svg ") && svg.ends_with("</svg>\n"),
        "{svg}"
    );
    let path = gateway.home.path().join("code.svg");
    gateway
        .cli(&["qr", "--svg", path.to_str().unwrap(), "--url", &url])
        .success();
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&path).unwrap());
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn no_code_is_made_where_nobody_could_use_it() {
    let home = Home::with_gateway(free_port(), SECRET);
    let fails = |home: &Home, arguments: &[&str], message: &str| {
        let mut all = vec!["qr"];
        all.extend(arguments);
        let outcome = openclaw(home, &all);
        assert_eq!(
            (outcome.code, outcome.stdout.as_str()),
            (1, ""),
            "{outcome:?}"
        );
        assert!(outcome.stderr.contains(message), "{outcome:?}");
        all.push("--json");
        assert_eq!(openclaw(home, &all).json()["ok"], false);
        assert_eq!(home.json("devices/bootstrap.json"), Value::Null);
    };
    fails(
        &home,
        &[],
        "Gateway is only bound to loopback. Set gateway.bind=lan, enable tailscale serve, or configure plugins.entries.device-pair.config.publicUrl.",
    );
    fails(
        &home,
        &["--token", "a", "--password", "b"],
        "Use either --token or --password, not both.",
    );
    fails(
        &home,
        &["--remote"],
        "qr --remote requires gateway.remote.url (or gateway.tailscale.mode=serve/funnel).",
    );
    fails(&home, &["--url", "ws://203.0.113.5"], "plaintext ws://");
    let bare = Home::new();
    bare.write_config("{gateway: {mode: 'local', bind: 'custom', customBindHost: '10.1.2.3'}}");
    fails(
        &bare,
        &[],
        "Gateway auth is not configured (no token or password).",
    );
    let odd = Home::new();
    odd.write_config("{gateway: {auth: {token: 't'}}, plugins: {entries: {'device-pair': {config: {publicUrl: 'ftp://x'}}}}}");
    fails(&odd, &[], "Configured publicUrl is invalid.");

    let broken = Home::with_gateway(free_port(), SECRET);
    broken.write("devices/bootstrap.json", b"[");
    let outcome = openclaw(&broken, &["qr", "--url", "wss://gw.example.com"]);
    assert_eq!(outcome.code, 1);
    assert!(
        outcome.stderr.contains("devices/bootstrap.json:1:1"),
        "{outcome:?}"
    );
    assert_eq!(broken.read("devices/bootstrap.json"), "[");
}

/// What a person at a terminal sees, up to the last of `turns`: each is what is waited for and what is typed then.
fn at_a_terminal(home: &Home, arguments: &str, turns: &[(&str, &str)]) -> (String, Option<i32>) {
    let mut line = command(std::path::Path::new("/usr/bin/timeout"), home);
    let words = format!("{} {arguments}", program().display());
    line.args(["30", "script", "-qec", &words, "/dev/null"]);
    line.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut terminal = line.spawn().unwrap();
    let (mut keys, mut screen) = (
        terminal.stdin.take().unwrap(),
        terminal.stdout.take().unwrap(),
    );
    let mut shown = Vec::new();
    for (expected, typed) in turns {
        let from = shown.len();
        while !String::from_utf8_lossy(&shown[from..]).contains(expected) {
            let mut byte = [0];
            let more = screen.read(&mut byte).is_ok_and(|read| read == 1);
            assert!(
                more,
                "no {expected:?} in:\n{}",
                String::from_utf8_lossy(&shown)
            );
            shown.extend(byte);
        }
        keys.write_all(typed.as_bytes()).unwrap();
    }
    let ends = turns.last().is_some_and(|(_, typed)| !typed.is_empty());
    if !ends {
        kill_process(Pid::from_child(&terminal), Signal::TERM).unwrap();
    }
    let code = terminal.wait().unwrap().code();
    (String::from_utf8_lossy(&shown).into_owned(), code)
}

#[test]
fn a_person_is_asked_for_a_code_that_nobody_sees() {
    const QUESTION: &str = "Setup code or join key (not shown): ";
    let gateway = Gateway::start();
    let url = format!("ws://{}", gateway.address);
    let made = gateway.cli(&["qr", "--setup-code-only", "--url", &url]);
    let code = made.success().stdout;
    let (home, line) = (Home::new(), "node run --setup-code-file -");
    let pasted = format!("{}\r", code.trim());
    let turns = [(QUESTION, pasted.as_str()), ("node host connected to", "")];
    let (shown, _) = at_a_terminal(&home, line, &turns);
    assert!(!shown.contains(code.trim()), "{shown}");
    // Whoever leaves with Ctrl-C has ended the program by that signal.
    let (_, left) = at_a_terminal(&Home::new(), line, &[(QUESTION, "\u{3}")]);
    assert_eq!(left, Some(130));
}

#[test]
fn a_node_host_joins_by_a_code_on_its_stdin() {
    let gateway = Gateway::start();
    let url = format!("ws://{}", gateway.address);
    let code = gateway
        .cli(&["qr", "--setup-code-only", "--url", &url])
        .success()
        .stdout;
    let home = Home::new();
    home.write("code", code.as_bytes());
    let start = |stdin: Stdio| {
        let mut command = command(&program(), &home);
        command
            .args(["node", "run", "--setup-code-file", "-"])
            .stdin(stdin);
        Running::start(command)
    };
    let file = std::fs::File::open(home.state().join("code")).unwrap();
    let mut node = start(file.into());
    node.wait_for_output("node host connected to");
    assert_eq!(
        home.json("node.json")["gateway"]["port"],
        gateway.address.port()
    );
    wait_for("the code to be gone", || {
        (gateway.home.json("devices/bootstrap.json") == json!({})).then_some(())
    });
    let output = node.output();
    let secret = inside(code.trim())["bootstrapToken"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        !output.contains(code.trim()) && !output.contains(&secret),
        "{output}"
    );
    node.kill();
    // From now on it needs no code.
    let mut command = command(&program(), &home);
    command.args(["node", "run"]);
    let mut again = Running::start(command);
    again.wait_for_output("node host connected to");
}
