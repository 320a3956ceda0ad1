//! The run loop of the node host: what it sends, what it waits for, how it ends; against a gateway that the
//! test plays.

use std::io::Read;
use std::time::{Duration, Instant};

use ring::signature::{ED25519, UnparsedPublicKey};
use serde_json::{Value, json};

use crate::support::home::Home;
use crate::support::process::{Running, free_port, openclaw_with};
use crate::support::scripted::{
    Scripted, client_close, node_host, pairing_required, refusal, send_event,
};
use crate::support::wait_for;

const TICK_MS: u64 = 30_000;

/// A node host for `gateway`.
fn start(home: &Home, gateway: &Scripted, arguments: &[&str]) -> Running {
    start_with(home, gateway, &[], arguments)
}

fn start_with(
    home: &Home,
    gateway: &Scripted,
    environment: &[(&str, &str)],
    arguments: &[&str],
) -> Running {
    let port = gateway.port().to_string();
    let arguments = [&["--port", &port][..], arguments].concat();
    node_host(home, environment, &arguments)
}

#[test]
fn where_nothing_answers_it_says_how_to_name_another_gateway() {
    let home = Home::new();
    let nobody = free_port().to_string();
    let other = "pass --host or --ssh";
    for (options, said) in [
        (&["--port", &nobody][..], "No gateway was named"),
        (&[], "The host is the one in node.json"),
    ] {
        let mut node = node_host(&home, &[], options);
        node.wait_for_output(other);
        assert!(node.output().contains(said), "{}", node.output());
        stop(node);
    }
    let mut node = node_host(&home, &[], &["--host", "127.0.0.1"]);
    node.wait_for_output("ECONNREFUSED");
    node.signal("TERM");
    assert_eq!(node.exit_code(), 0);
    assert!(!node.output().contains(other), "{}", node.output());
}

/// Waits until the host has ended in order.
#[track_caller]
fn stop(mut node: Running) {
    node.signal("TERM");
    assert_eq!(node.exit_code(), 0, "{}", node.output());
}

fn mode(home: &Home, name: &str) -> u32 {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(home.state().join(name)).unwrap().mode() & 0o777
}

#[test]
fn what_was_decided_stands_in_node_json_before_anybody_answers() {
    let (home, gateway) = (Home::new(), Scripted::new());
    let port = gateway.port();
    let node = start(
        &home,
        &gateway,
        &[
            "--host",
            " localhost ",
            "--node-id",
            " n-1 ",
            "--display-name",
            " Attic ",
        ],
    );
    drop(gateway.socket());
    let expected = json!({"version": 1, "nodeId": "n-1", "displayName": "Attic",
        "gateway": {"host": "localhost", "port": port, "tls": false}});
    assert_eq!(home.json("node.json"), expected);
    assert_eq!(mode(&home, "node.json"), 0o600);
    assert_eq!(mode(&home, "identity/device.json"), 0o600);
    stop(node);

    // Without a flag everything is as it was.
    let node = node_host(&home, &[], &[]);
    drop(gateway.socket());
    assert_eq!(home.json("node.json"), expected);
    stop(node);
}

#[test]
fn a_fresh_node_makes_an_id_and_takes_the_machines_name() {
    let (home, gateway) = (Home::new(), Scripted::new());
    let node = start(&home, &gateway, &[]);
    let caller = gateway.caller();
    let file = home.json("node.json");
    let id = file["nodeId"].as_str().unwrap();
    assert_eq!(
        (id.len(), id.as_bytes()[14]),
        (36, b'4'),
        "a version 4 UUID: {id}"
    );
    assert!(!file["displayName"].as_str().unwrap().is_empty());
    assert_eq!(file["gateway"]["host"], "127.0.0.1");
    assert_eq!(caller.connect["client"]["instanceId"], json!(id));
    assert_ne!(
        caller.connect["device"]["id"],
        json!(id),
        "the device id is another thing"
    );
    drop(caller);
    stop(node);
}

#[test]
fn the_connect_says_who_it_is_and_proves_it_with_the_gateways_clock() {
    let (home, gateway) = (Home::new(), Scripted::new());
    // What it offers does not depend on the programs of the machine that tests it.
    home.write_config("{ browser: { enabled: false } }");
    let node = start_with(
        &home,
        &gateway,
        &[("OPENCLAW_GATEWAY_TOKEN", "s")],
        &["--node-id", "n-1", "--display-name", "Attic"],
    );
    // A clock that is ten years behind, and one that is far ahead: what is signed is what it says.
    for ts in [1_480_000_000_000_u64, 4_000_000_000_000] {
        let caller = gateway.challenged(&json!({"nonce": " n-7 ", "ts": ts, "capabilities": []}));
        let connect = &caller.connect;
        assert_eq!(
            (&connect["minProtocol"], &connect["maxProtocol"]),
            (&json!(3), &json!(4))
        );
        assert_eq!(
            connect["client"],
            json!({"id": "node-host", "displayName": "Attic", "version": env!("CARGO_PKG_VERSION"),
                "platform": "linux", "mode": "node", "instanceId": "n-1"})
        );
        let members = ["caps", "role", "scopes", "auth"].map(|name| connect[name].clone());
        assert_eq!(
            members,
            [
                json!(["system"]),
                json!("node"),
                json!([]),
                json!({"token": "s"})
            ]
        );
        assert_eq!(
            connect["commands"],
            json!([
                "system.run.prepare",
                "system.run",
                "system.which",
                "system.execApprovals.get",
                "system.execApprovals.set"
            ])
        );
        let path = connect["pathEnv"].as_str().unwrap();
        assert!(
            path.starts_with("/usr/local/bin:/usr/bin:/bin"),
            "the user's order first: {path}"
        );
        assert!(connect.get("permissions").is_none(), "{connect}");

        let device = &connect["device"];
        assert_eq!(
            (&device["nonce"], &device["signedAt"]),
            (&json!("n-7"), &json!(ts))
        );
        let payload = format!(
            "v3|{}|node-host|node|node||{ts}|s|n-7|linux|",
            device["id"].as_str().unwrap()
        );
        let decode = |name: &str| {
            let text = device[name].as_str().unwrap();
            data_encoding::BASE64URL_NOPAD
                .decode(text.as_bytes())
                .unwrap()
        };
        UnparsedPublicKey::new(&ED25519, decode("publicKey"))
            .verify(payload.as_bytes(), &decode("signature"))
            .expect("the signature covers exactly this");
        caller.close(1012, "service restart");
    }
    stop(node);
}

#[test]
fn another_node_id_clears_the_tokens_of_this_role_alone() {
    let (home, gateway) = (Home::new(), Scripted::new());
    let node = start(&home, &gateway, &[]);
    let caller = gateway.caller().welcome(Some("node-token"), TICK_MS);
    wait_for("the token", || {
        home.read("node.json").contains("node-token").then_some(())
    });
    drop(caller);
    stop(node);
    let mut tokens = home.json("identity/device-auth.json");
    tokens["tokens"]["operator"] = json!({"token": "operator-token", "role": "operator",
        "scopes": ["operator.read"], "updatedAtMs": 1});
    home.write("identity/device-auth.json", tokens.to_string().as_bytes());

    let node = start(&home, &gateway, &["--node-id", "another"]);
    let caller = gateway.caller();
    assert_eq!(caller.connect.get("auth"), None, "{}", caller.connect);
    assert_eq!(caller.connect["client"]["instanceId"], "another");
    let file = home.json("node.json");
    assert_eq!(
        (&file["nodeId"], file.get("token")),
        (&json!("another"), None)
    );
    let tokens = home.read("identity/device-auth.json");
    assert!(
        tokens.contains("operator-token") && !tokens.contains("node-token"),
        "{tokens}"
    );
    drop(caller);
    stop(node);
}

#[test]
fn pairing_is_waited_for_in_the_foreground_and_told_once() {
    let (home, gateway) = (Home::new(), Scripted::new());
    let mut node = start(&home, &gateway, &[]);
    gateway.caller().refuse(&pairing_required("r-1"));
    gateway.caller().refuse(&pairing_required("r-1"));
    let caller = gateway.caller().welcome(Some("t"), TICK_MS);
    node.wait_for_output("node host connected to");
    assert_eq!(
        home.json("node.json")["token"],
        "t",
        "the file keeps the token"
    );
    let output = node.output();
    let told = "node host gateway connect failed: device pairing required (requestId: r-1)\n\
        node host gateway reconnect paused after close (1008): device pairing required (requestId: r-1) \
        detail=PAIRING_REQUIRED; waiting for operator action\n\
        Approve with: openclaw devices approve r-1\n";
    assert!(output.starts_with(told), "{output}");
    assert_eq!(output.matches("r-1").count(), 3, "told once: {output}");
    drop(caller);
    stop(node);
}

#[test]
fn answers_that_only_other_credentials_change_end_it_with_the_detail() {
    for detail in [
        "AUTH_TOKEN_MISSING",
        "AUTH_TOKEN_MISMATCH",
        "AUTH_PASSWORD_MISSING",
        "AUTH_PASSWORD_MISMATCH",
        "AUTH_BOOTSTRAP_TOKEN_INVALID",
    ] {
        let (home, gateway) = (Home::new(), Scripted::new());
        let mut node = start(&home, &gateway, &[]);
        gateway.caller().refuse(&refusal(detail));
        assert_eq!(node.exit_code(), 1, "{detail}: {}", node.output());
        let line = format!(
            "node host gateway reconnect paused after close (1008): unauthorized: because detail={detail}; \
             exiting for supervisor restart\n"
        );
        assert!(node.output().ends_with(&line), "{}", node.output());
    }
}

#[test]
fn a_stale_shared_token_gets_one_retry_with_the_devices_own() {
    let (home, gateway) = (Home::new(), Scripted::new());
    let secret = [("OPENCLAW_GATEWAY_TOKEN", "shared")];
    let mut node = start_with(&home, &gateway, &secret, &[]);
    let caller = gateway.caller().welcome(Some("own"), TICK_MS);
    wait_for("the token", || {
        home.read("node.json").contains("own").then_some(())
    });
    caller.close(1012, "service restart");
    let shown = |gateway: &Scripted| {
        let caller = gateway.caller();
        let auth = caller.connect["auth"].clone();
        caller.refuse(&refusal("AUTH_TOKEN_MISMATCH"));
        auth
    };
    assert_eq!(shown(&gateway), json!({"token": "shared"}));
    assert_eq!(
        shown(&gateway),
        json!({"token": "shared", "deviceToken": "own"})
    );
    assert_eq!(node.exit_code(), 1, "{}", node.output());
    assert!(
        gateway.socket_within(Duration::ZERO).is_none(),
        "one retry, no more"
    );
}

#[test]
fn a_refused_device_token_is_dropped_alone() {
    let (home, gateway) = (Home::new(), Scripted::new());
    let node = start(&home, &gateway, &[]);
    gateway
        .caller()
        .welcome(Some("stale"), TICK_MS)
        .close(1012, "");
    let caller = gateway.caller();
    assert_eq!(
        caller.connect["auth"],
        json!({"token": "stale", "deviceToken": "stale"})
    );
    let key = home.read("identity/device.json");
    let mut tokens = home.json("identity/device-auth.json");
    tokens["tokens"]["operator"] =
        json!({"token": "other", "role": "operator", "scopes": [], "updatedAtMs": 1});
    home.write("identity/device-auth.json", tokens.to_string().as_bytes());
    caller.refuse(&refusal("AUTH_DEVICE_TOKEN_MISMATCH"));
    wait_for("the token to be gone", || {
        let tokens = home.read("identity/device-auth.json");
        (!tokens.contains("stale") && !home.read("node.json").contains("stale")).then_some(())
    });
    assert!(home.read("identity/device-auth.json").contains("other"));
    assert_eq!(home.read("identity/device.json"), key, "the key stays");
    stop(node);
}

#[test]
fn a_busy_gateway_says_how_long_to_wait_and_is_obeyed() {
    let (home, gateway) = (Home::new(), Scripted::new());
    let node = start(&home, &gateway, &[]);
    let mut limited = refusal("AUTH_RATE_LIMITED");
    limited["retryAfterMs"] = json!(1_500);
    gateway.caller().refuse(&limited);
    let refused = Instant::now();
    // It starts: soon, and as often as it takes.
    let mut starting = json!({"code": "UNAVAILABLE", "message": "gateway starting", "retryable": true,
        "retryAfterMs": 100, "details": {"reason": "startup-sidecars"}});
    let caller = gateway.caller();
    assert!(
        refused.elapsed() >= Duration::from_millis(1_400),
        "{:?}",
        refused.elapsed()
    );
    caller.refuse(&starting);
    for _ in 0..5 {
        gateway.caller().refuse(&starting);
    }
    // An absurd wait is cut, or this would never come back.
    starting["retryAfterMs"] = json!(u64::MAX);
    gateway.caller().refuse(&starting);
    gateway
        .caller()
        .welcome(None, TICK_MS)
        .close(1013, "gateway starting");
    let caller = gateway.caller().welcome(None, TICK_MS);
    drop(caller);
    stop(node);
}

#[test]
fn a_gateway_that_says_nothing_is_left_and_tried_again() {
    let (home, gateway) = (Home::new(), Scripted::new());
    let limit = [("OPENCLAW_CONNECT_CHALLENGE_TIMEOUT_MS", "1")];
    let mut node = start_with(&home, &gateway, &limit, &[]);
    // The floor is 250 ms. Silent before the upgrade, silent after it, and a challenge with nothing to sign.
    let mut silent = gateway.socket();
    let mut heard = Vec::new();
    silent.read_to_end(&mut heard).unwrap();
    assert!(heard.starts_with(b"GET / HTTP/1.1\r\n"));
    node.wait_for_output(
        "node host gateway connect failed: gateway connect challenge timeout (waited ",
    );
    assert!(
        node.output().contains("ms, limit 250ms)"),
        "{}",
        node.output()
    );
    drop(silent);
    let mut silent = gateway.upgraded();
    assert_eq!(
        client_close(&mut silent),
        (1008, "connect challenge timeout".to_owned())
    );
    drop(silent);
    let mut blank = gateway.upgraded();
    send_event(
        &mut blank,
        "connect.challenge",
        &json!({"nonce": "  ", "ts": 1}),
    );
    assert_eq!(
        client_close(&mut blank),
        (1008, "connect challenge missing nonce".to_owned())
    );
    node.wait_for_output("gateway connect challenge missing nonce");
    stop(node);
}

#[test]
fn a_silent_gateway_is_noticed_by_its_missing_ticks() {
    let (home, gateway) = (Home::new(), Scripted::new());
    let mut node = start(&home, &gateway, &[]);
    // No tick comes, and the socket stays open: half-open, or a gateway that hangs.
    let caller = gateway.caller().welcome(None, 1_000);
    assert_eq!(caller.closed(), (4000, "tick timeout".to_owned()));
    node.wait_for_output("node host gateway closed (4000): tick timeout");
    // Any event counts as a sign of life, and a session that shows some stays.
    let mut caller = gateway.caller().welcome(None, 1_000);
    let until = Instant::now() + Duration::from_millis(2_500);
    while Instant::now() < until {
        caller.event("tick", &json!({"ts": 1}));
        std::thread::sleep(Duration::from_millis(100));
    }
    let answer = caller.invoke("system.which", &json!({"bins": ["sh"]}));
    assert_eq!(answer["ok"], true, "{answer}");
    drop(caller);
    stop(node);
}

#[test]
fn a_signal_ends_it_in_order_and_a_second_one_at_once() {
    let (home, gateway) = (Home::new(), Scripted::new());
    home.write(
        "exec-approvals.json",
        br#"{"version":1,"defaults":{"security":"full","ask":"off"}}"#,
    );
    let node = start(&home, &gateway, &[]);
    let caller = gateway.caller().welcome(None, TICK_MS);
    node.signal("TERM");
    assert_eq!(caller.closed(), (1000, String::new()));
    stop_quietly(node);

    let mut node = start(&home, &gateway, &[]);
    let mut caller = gateway.caller().welcome(None, TICK_MS);
    let stubborn = "trap '' TERM; echo $$ > pid; while :; do sleep 0.1; done";
    caller.start_invoke(
        "i",
        "system.run",
        &json!({"command": ["sh", "-c", stubborn]}),
    );
    let pid = wait_for("the child", || {
        let text = std::fs::read_to_string(home.path().join("pid")).ok()?;
        text.trim().parse::<u32>().ok()
    });
    node.signal("INT");
    // The close shows that the first signal was taken.
    assert_eq!(caller.closed(), (1000, String::new()));
    node.signal("INT");
    assert_eq!(node.exit_code(), 130, "{}", node.output());
    wait_for("the child's end", || {
        (!std::path::Path::new(&format!("/proc/{pid}")).exists()).then_some(())
    });
}

/// Waits for an end that was asked for already.
#[track_caller]
fn stop_quietly(mut node: Running) {
    assert_eq!(node.exit_code(), 0, "{}", node.output());
}

#[test]
fn it_prints_nothing_to_stdout() {
    let (home, gateway) = (Home::new(), Scripted::new());
    let port = gateway.port().to_string();
    std::thread::scope(|scope| {
        let run = scope.spawn(|| openclaw_with(&home, &[], &["node", "run", "--port", &port]));
        gateway.caller().refuse(&pairing_required("r-1"));
        gateway
            .caller()
            .welcome(None, TICK_MS)
            .close(1012, "service restart");
        gateway.caller().refuse(&refusal("AUTH_TOKEN_MISSING"));
        let outcome = run.join().unwrap();
        assert_eq!(
            (outcome.code, outcome.stdout.as_str()),
            (1, ""),
            "{outcome:?}"
        );
        assert!(
            outcome.stderr.contains("closed (1012): service restart"),
            "{outcome:?}"
        );
    });
}

#[test]
fn a_protocol_of_another_time_names_both_ranges() {
    let (home, gateway) = (Home::new(), Scripted::new());
    let mut node = start(&home, &gateway, &[]);
    let error = json!({"code": "INVALID_REQUEST", "message": "protocol mismatch",
        "details": {"code": "PROTOCOL_MISMATCH", "expectedProtocol": 7}});
    gateway.caller().refuse(&error);
    node.wait_for_output("protocol mismatch: this program speaks 3 to 4, the gateway expects 7");
    // An upgrade of the gateway may end this without a hand.
    drop(gateway.caller());
    stop(node);
}

/// What the host shows of its credentials, with this configuration and environment; `Err` with its words when
/// it does not connect at all.
fn shown(config: &str, environment: &[(&str, &str)]) -> Result<Value, String> {
    let (home, gateway) = (Home::new(), Scripted::new());
    home.write_config(config);
    let mut node = start_with(&home, &gateway, environment, &[]);
    let deadline = Instant::now() + crate::support::PATIENCE;
    while node.alive() {
        assert!(Instant::now() < deadline, "{}", node.output());
        if let Some(socket) = gateway.socket_within(Duration::from_millis(20)) {
            let mut socket = tungstenite::accept(socket).unwrap();
            send_event(
                &mut socket,
                "connect.challenge",
                &json!({"nonce": "n", "ts": 1}),
            );
            let text = socket.read().unwrap().into_text().unwrap();
            let request: Value = serde_json::from_str(&text).unwrap();
            return Ok(request["params"]["auth"].clone());
        }
    }
    assert_eq!(node.exit_code(), 1);
    Err(node.output())
}

const TOKEN: &str = "OPENCLAW_GATEWAY_TOKEN";
const PASSWORD: &str = "OPENCLAW_GATEWAY_PASSWORD";

#[test]
fn credentials_come_in_the_documented_order() {
    let local = "{gateway: {auth: {token: 'a-tok', password: 'a-pw'}, remote: {token: 'r-tok', password: 'r-pw'}}}";
    let remote = "{gateway: {mode: 'remote', remote: {url: 'ws://127.0.0.1:1', token: 'r-tok', password: 'r-pw'},
        auth: {token: 'a-tok', password: 'a-pw'}}}";
    let remote_token_alone = "{gateway: {mode: 'remote', remote: {url: 'ws://127.0.0.1:1', token: 'r-tok'}, auth: {password: 'a-pw'}}}";
    for (config, environment, expected) in [
        // The environment first, each of the two by itself, trimmed.
        (
            local,
            &[(TOKEN, " e-tok "), (PASSWORD, "e-pw")][..],
            json!({"token": "e-tok", "password": "e-pw"}),
        ),
        (
            local,
            &[(TOKEN, "e-tok")],
            json!({"token": "e-tok", "password": "a-pw"}),
        ),
        (
            local,
            &[(PASSWORD, "e-pw")],
            json!({"token": "a-tok", "password": "e-pw"}),
        ),
        (
            local,
            &[(TOKEN, "  ")],
            json!({"token": "a-tok", "password": "a-pw"}),
        ),
        // No other names, no other places.
        (
            "{}",
            &[
                ("CLAWDBOT_GATEWAY_TOKEN", "x"),
                ("OPENCLAW_TOKEN", "x"),
                ("GATEWAY_TOKEN", "x"),
            ],
            Value::Null,
        ),
        (
            "{gateway: {auth: {password: 'a-pw'}}}",
            &[],
            json!({"password": "a-pw"}),
        ),
        // Locally the remote ones are nobody's.
        (
            "{gateway: {mode: 'local', remote: {token: 'r-tok', password: 'r-pw'}}}",
            &[],
            Value::Null,
        ),
        ("{gateway: {remote: {token: 'r-tok'}}}", &[], Value::Null),
        // Remote: the environment still first, then the remote ones, then the local ones.
        (remote, &[], json!({"token": "r-tok", "password": "r-pw"})),
        (
            remote,
            &[(TOKEN, "e-tok")],
            json!({"token": "e-tok", "password": "r-pw"}),
        ),
        (
            remote_token_alone,
            &[],
            json!({"token": "r-tok", "password": "a-pw"}),
        ),
    ] {
        assert_eq!(
            shown(config, environment),
            Ok(expected),
            "{config} {environment:?}"
        );
    }
}

#[test]
fn a_secret_that_cannot_be_resolved_fails_closed() {
    let reference = "{source: 'env', provider: 'default', id: 'NOT_THERE'}";
    let words = "is configured as a secret reference but is unavailable in this command path.";
    for (gateway, environment, fails) in [
        (format!("auth: {{token: {reference}}}"), &[][..], true),
        (format!("auth: {{password: {reference}}}"), &[], true),
        // Nothing masks it: neither the remote secret nor an empty value.
        (
            format!("auth: {{token: {reference}}}, remote: {{token: 'r'}}"),
            &[],
            true,
        ),
        (
            format!("auth: {{token: {reference}}}"),
            &[("NOT_THERE", " ")],
            true,
        ),
        (
            format!("auth: {{token: {reference}}}"),
            &[(PASSWORD, "p")],
            true,
        ),
        (
            format!(
                "mode: 'remote', remote: {{url: 'ws://127.0.0.1:1', token: {reference}}}, auth: {{token: 'a'}}"
            ),
            &[],
            true,
        ),
        // What cannot be used by the mode does not matter, and what is given wins.
        (
            format!("auth: {{mode: 'password', token: {reference}, password: 'p'}}"),
            &[],
            false,
        ),
        (
            format!("auth: {{token: {reference}}}"),
            &[(TOKEN, "e")],
            false,
        ),
        (
            format!("auth: {{token: {reference}}}"),
            &[("NOT_THERE", "now it is")],
            false,
        ),
    ] {
        let outcome = shown(&format!("{{gateway: {{{gateway}}}}}"), environment);
        match (outcome, fails) {
            (Err(output), true) => {
                // The other variable would not help: the reference is still there.
                let (helps, not) = match gateway.starts_with("auth: {password") {
                    true => (PASSWORD, TOKEN),
                    false => (TOKEN, PASSWORD),
                };
                assert!(
                    output.contains(words) && output.contains(&format!("or set {helps}.")),
                    "{gateway}: {output}"
                );
                assert!(!output.contains(not), "{gateway}: {output}");
            }
            (Ok(_), false) => {}
            (outcome, _) => panic!("{gateway} {environment:?}: {outcome:?}"),
        }
    }
}

#[test]
fn plaintext_goes_to_nobody_else_by_default() {
    let home = Home::new();
    let opt_in = [("OPENCLAW_ALLOW_INSECURE_PRIVATE_WS", "1")];
    let almost = [("OPENCLAW_ALLOW_INSECURE_PRIVATE_WS", "true")];
    let break_glass = "set OPENCLAW_ALLOW_INSECURE_PRIVATE_WS=1. Run";
    for (host, environment, mentions) in [
        ("10.255.255.1", &[][..], true),
        ("10.255.255.1", &almost, true),
        ("gateway.example", &[], true),
        ("192.0.2.1", &[], true),
        ("192.0.2.1", &opt_in, false),
        ("2001:db8::1", &opt_in, false),
        ("::", &opt_in, false),
        ("224.0.0.1", &opt_in, false),
    ] {
        let outcome = openclaw_with(&home, environment, &["node", "run", "--host", host]);
        let start = format!(
            "node host gateway connect failed: SECURITY ERROR: Cannot connect to \"{host}\" over plaintext ws://."
        );
        assert_eq!(outcome.code, 1, "{host}: {outcome:?}");
        assert!(outcome.stderr.starts_with(&start), "{host}: {outcome:?}");
        assert_eq!(outcome.stderr.lines().count(), 1, "{host}: {outcome:?}");
        assert_eq!(
            outcome.stderr.contains(break_glass),
            mentions,
            "{host}: {outcome:?}"
        );
        assert!(outcome.stderr.contains("wss://") && outcome.stderr.contains("SSH tunnel"));
        assert!(outcome.stderr.contains("Tailscale"), "{outcome:?}");
    }
}

#[test]
fn a_host_that_is_more_than_one_is_an_error_of_usage_and_not_kept() {
    let home = Home::new();
    for host in ["127.0.0.1:99", "ws://127.0.0.1", "gw.lan/x", "me@gw.lan"] {
        for command in [&["node", "run"][..], &["node", "install", "--print"]] {
            let outcome = openclaw_with(&home, &[], &[command, &["--host", host]].concat());
            assert_eq!(outcome.code, 1, "{host}: {outcome:?}");
            let said = "Invalid --host: it takes a name or an address alone; a port goes into --port, a URL into --url.";
            assert!(outcome.stderr.contains(said), "{host}: {outcome:?}");
        }
        assert_eq!(home.read("node.json"), "");
    }
}

#[test]
fn plaintext_is_permitted_by_the_environment_of_the_process_alone() {
    let home = Home::new();
    let name = "OPENCLAW_ALLOW_INSECURE_PRIVATE_WS";
    let block = format!("{{env: {{vars: {{{name}: '1'}}, {name}: '1'}}}}");
    for (file, text) in [("openclaw.json", block), (".env", format!("{name}=1\n"))] {
        home.write(file, text.as_bytes());
        let outcome = openclaw_with(&home, &[], &["node", "run", "--host", "10.255.255.1"]);
        assert_eq!(outcome.code, 1, "{file}: {outcome:?}");
        assert!(
            outcome.stderr.contains("SECURITY ERROR"),
            "{file}: {outcome:?}"
        );
        std::fs::remove_file(home.state().join(file)).unwrap();
    }
}
