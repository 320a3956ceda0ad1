//! `node join` as scripts use it: trust before anything is sent, nothing stored before trust, and what follows.

use std::io::Read;
use std::net::TcpListener;

use rustls::StreamOwned;
use serde_json::{Value, json};

use crate::support::home::Home;
use crate::support::process::{
    Gateway, Outcome, Running, SECRET, command, free_port, openclaw_with, program,
};
use crate::support::tls::{self, CERTIFICATE, KEY, fingerprint};
use crate::support::{PATIENCE, wait_for};

const TOKEN: (&str, &str) = ("OPENCLAW_GATEWAY_TOKEN", SECRET);

fn url(gateway: &Gateway) -> String {
    format!("wss://{}", gateway.address)
}

fn join(home: &Home, environment: &[(&str, &str)], options: &[&str]) -> Outcome {
    let line = [&["node", "join", "--json"], options].concat();
    openclaw_with(home, environment, &line)
}

#[track_caller]
fn refused(home: &Home, environment: &[(&str, &str)], options: &[&str]) -> Value {
    let before = home.read("node.json");
    let outcome = join(home, environment, options);
    assert_eq!(outcome.code, 1, "{outcome:?}");
    assert_eq!(
        home.read("node.json"),
        before,
        "a failed join changes nothing"
    );
    let document = outcome.json();
    assert_eq!(document["ok"], false);
    document["error"].clone()
}

#[test]
fn a_certificate_is_pinned_once_somebody_has_said_which() {
    let gateway = Gateway::start_tls();
    let (home, at, pin) = (Home::new(), url(&gateway), fingerprint(&gateway.home));

    let error = refused(&home, &[TOKEN], &["--url", &at]);
    assert_eq!(error["code"], "NOT_CONFIRMED");
    assert_eq!(error["details"]["presentedSha256"], json!(pin));
    assert!(
        !home.state().join("identity").exists(),
        "nothing is stored before trust"
    );

    let other = "00".repeat(32);
    let error = refused(
        &home,
        &[TOKEN],
        &["--url", &at, "--trust-fingerprint", &other],
    );
    let details = &error["details"];
    assert_eq!(
        (&details["expectedSha256"], &details["presentedSha256"]),
        (&json!(other), &json!(pin))
    );

    let colons = pin.to_ascii_uppercase();
    let joined = join(
        &home,
        &[TOKEN],
        &[
            "--url",
            &at,
            "--trust-fingerprint",
            &colons,
            "--display-name",
            "Attic",
        ],
    );
    let joined = joined.success().json();
    assert_eq!(
        (
            &joined["ok"],
            &joined["stored"],
            &joined["trust"],
            &joined["fingerprint"]
        ),
        (&json!(true), &json!(true), &json!("typed"), &json!(pin))
    );
    let port = gateway.address.port();
    assert_eq!(
        home.json("node.json")["gateway"],
        json!({"host": "127.0.0.1", "port": port, "tls": true, "tlsFingerprint": pin})
    );
    assert_eq!(home.json("node.json")["displayName"], "Attic");

    // Now it needs no confirmation and no secret any more: it was let in from the gateway's own machine.
    assert_eq!(joined["state"], "connected", "{joined}");
    let again = join(&home, &[], &["--url", &at]).success().json();
    assert_eq!(
        (&again["trust"], &again["state"]),
        (&json!("stored"), &json!("connected"))
    );
    let mut host = command(&program(), &home);
    host.args(["node", "run"]);
    let mut host = Running::start(host);
    host.wait_for_output("node host connected to ");
}

#[test]
fn a_pin_gives_way_only_to_somebody_who_says_so_twice() {
    let gateway = Gateway::start_tls();
    let (home, at, pin) = (Home::new(), url(&gateway), fingerprint(&gateway.home));
    let former = "ab".repeat(32);
    let port = gateway.address.port();
    let stored = json!({"version": 1, "nodeId": "n-1", "gateway":
        {"host": "127.0.0.1", "port": port, "tls": true, "tlsFingerprint": former}});
    home.write("node.json", stored.to_string().as_bytes());
    for options in [&[][..], &["--force"], &["--trust-fingerprint", &pin]] {
        let error = refused(&home, &[TOKEN], &[&["--url", &at], options].concat());
        let message = error["message"].as_str().unwrap();
        assert!(
            message.contains(&former) && message.contains(&pin),
            "{error}"
        );
        assert!(
            error["hint"]
                .as_str()
                .unwrap()
                .contains("--force --trust-fingerprint")
        );
    }
    // Plaintext to the same place is no way around it.
    let plain = format!("ws://{}", gateway.address);
    let error = refused(&home, &[TOKEN], &["--url", &plain]);
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .contains("joined 127.0.0.1"),
        "{error}"
    );
    let options = ["--url", &at, "--force", "--trust-fingerprint", &pin];
    join(&home, &[TOKEN], &options).success();
    assert_eq!(
        home.json("node.json")["gateway"]["tlsFingerprint"],
        json!(pin)
    );
}

#[test]
fn another_gateway_than_before_needs_force() {
    let gateway = Gateway::start();
    let home = Home::new();
    home.write(
        "node.json",
        br#"{"version":1,"nodeId":"n-1","token":"of-the-former","gateway":{"host":"10.0.0.7","port":18789,"tls":false}}"#,
    );
    let at = format!("ws://{}", gateway.address);
    let error = refused(&home, &[TOKEN], &["--url", &at]);
    assert_eq!(
        error["message"],
        "this machine belongs to ws://10.0.0.7:18789 already"
    );
    join(&home, &[TOKEN], &["--url", &at, "--force"]).success();
    let file = home.json("node.json");
    assert_eq!(file["gateway"]["host"], "127.0.0.1");
    assert_eq!(file["nodeId"], "n-1");
    assert_ne!(file["token"], "of-the-former");
}

#[test]
fn a_printed_join_command_works_with_join_too_and_asks_nothing() {
    let gateway = Gateway::start_tls();
    let (home, at, pin) = (Home::new(), url(&gateway), fingerprint(&gateway.home));
    let options = [
        "--print-join-command",
        "--public-url",
        &at,
        "--command",
        "system.which",
        "--json",
    ];
    let made = gateway.cli(&[&["devices", "keys", "create"][..], &options].concat());
    let made = made.success().json();
    let line = made["joinCommand"]
        .as_str()
        .unwrap()
        .replace("node run", "node join");
    let mut shell = command(std::path::Path::new("/bin/sh"), &home);
    let directory = program().parent().unwrap().display().to_string();
    shell.env("PATH", format!("{directory}:/usr/bin:/bin"));
    shell.args(["-c", &format!("exec env {} --json", line.trim())]);
    let joined = crate::support::process::finish(shell).success().json();
    assert_eq!(
        (&joined["state"], &joined["fingerprint"]),
        (&json!("connected"), &json!(pin))
    );
    // The key is used up, and the token it was good for is kept.
    let mut host = command(&program(), &home);
    host.args(["node", "run"]);
    let mut host = Running::start(host);
    host.wait_for_output("node host connected to ");
    let node = joined["deviceId"].clone();
    wait_for("the node to be usable", || {
        let listed = gateway.cli(&["nodes", "status", "--json"]).json();
        let rows = listed["nodes"].as_array()?.clone();
        rows.into_iter()
            .find(|row| row["nodeId"] == node && row["connected"] == true)
    });
}

#[test]
fn a_gateway_that_moved_is_known_by_its_certificate_and_knows_this_machine() {
    let gateway = Gateway::start_tls();
    let (home, at, pin) = (Home::new(), url(&gateway), fingerprint(&gateway.home));
    join(
        &home,
        &[TOKEN],
        &["--url", &at, "--trust-fingerprint", &pin],
    )
    .success();
    let elsewhere = at.replace("127.0.0.1", "localhost");
    let joined = join(&home, &[], &["--url", &elsewhere]).success().json();
    assert_eq!(
        (&joined["trust"], &joined["state"]),
        (&json!("stored"), &json!("connected"))
    );
    assert_eq!(home.json("node.json")["gateway"]["host"], "localhost");
}

#[test]
fn join_with_run_goes_on_as_the_node_host() {
    let gateway = Gateway::start();
    let home = Home::new();
    let at = format!("ws://{}", gateway.address);
    let mut host = command(&program(), &home);
    host.env(TOKEN.0, TOKEN.1);
    host.args(["node", "join", "--run", "--url", &at]);
    let mut host = Running::start(host);
    host.wait_for_output(&format!("This machine belongs to {at} now."));
    host.wait_for_output("node host connected to ");
    host.signal("TERM");
    assert_eq!(host.exit_code(), 0, "{}", host.output());
}

#[test]
fn a_setup_code_names_the_gateway_and_a_wrong_secret_stores_nothing() {
    let gateway = Gateway::start();
    let at = format!("ws://{}", gateway.address);
    let code = gateway
        .cli(&["qr", "--url", &at, "--setup-code-only"])
        .success()
        .stdout;
    let home = Home::new();
    home.write("code", code.as_bytes());
    let file = home.state().join("code").display().to_string();
    let error = refused(&home, &[], &["--setup-code-file", &file, "--gateway", "x"]);
    assert_eq!(error["code"], "USAGE");
    let joined = join(&home, &[], &["--setup-code-file", &file])
        .success()
        .json();
    assert_eq!(
        (&joined["state"], &joined["gateway"]["url"]),
        (&json!("connected"), &json!(at))
    );

    // Own secrets of this machine are no secrets of the gateway that it joins.
    let code = gateway
        .cli(&["qr", "--url", &at, "--setup-code-only"])
        .success()
        .stdout;
    let home = Home::new();
    home.write_config("{gateway: {auth: {token: 'own'}}}");
    home.write("gateway-token", b"own-too");
    home.write("code", code.as_bytes());
    let file = home.state().join("code").display().to_string();
    let own = ("OPENCLAW_GATEWAY_TOKEN", "own");
    let joined = join(&home, &[own], &["--setup-code-file", &file]);
    assert_eq!(joined.success().json()["state"], "connected");
    let home = Home::new();
    home.write_config("{gateway: {auth: {token: 'own'}}}");
    let error = refused(&home, &[], &["--url", &at]);
    assert_eq!(error["code"], "CREDENTIALS_MISSING");

    let home = Home::new();
    let wrong = ("OPENCLAW_GATEWAY_TOKEN", "wrong");
    let error = refused(&home, &[wrong], &["--url", &at]);
    assert_eq!(error["details"]["code"], "AUTH_TOKEN_MISMATCH", "{error}");
    let hint = error["hint"].as_str().unwrap();
    assert!(hint.contains("Set OPENCLAW_GATEWAY_TOKEN"), "{hint}");
    // What looks like a key and is none of this gateway's.
    home.write("key", "k".repeat(43).as_bytes());
    let key = home.state().join("key").display().to_string();
    let error = refused(&home, &[], &["--url", &at, "--setup-code-file", &key]);
    assert_eq!(error["details"]["code"], "AUTH_BOOTSTRAP_TOKEN_INVALID");
    let hint = error["hint"].as_str().unwrap();
    assert!(hint.contains("`openclaw devices keys create`"), "{hint}");
    assert!(hint.contains("OPENCLAW_GATEWAY_TOKEN"), "{hint}");
    // A damaged code is no key to look for a gateway with, and a key alone names none.
    home.write("code", &code.trim().as_bytes()[4..]);
    let file = home.state().join("code").display().to_string();
    let error = refused(&home, &[], &["--setup-code-file", &file]);
    let message = error["message"].as_str().unwrap();
    assert!(message.starts_with("This is no setup code"), "{message}");
    let error = refused(&home, &[], &["--setup-code-file", &key, "--timeout", "100"]);
    let hint = error["hint"].as_str().unwrap();
    assert!(
        hint.starts_with("A join key names no gateway. Add: --url"),
        "{hint}"
    );
    for options in [&["--url", &at][..], &["--url", &at, "--install"]] {
        let error = refused(&home, &[], options);
        assert_eq!(error["code"], "CREDENTIALS_MISSING");
        assert!(!home.state().join("node.json").exists());
    }
    // A machine that belongs somewhere stays there.
    let there = Gateway::start();
    let there = format!("ws://{}", there.address);
    join(&home, &[TOKEN], &["--url", &at]).success();
    let before = home.json("node.json");
    let error = refused(&home, &[], &["--url", &there, "--force"]);
    assert_eq!(error["code"], "CREDENTIALS_MISSING");
    assert_eq!(home.json("node.json"), before);
}

#[test]
fn plaintext_goes_nowhere_that_others_could_read_along_without_a_word() {
    let home = Home::new();
    let opted_in = ("OPENCLAW_ALLOW_INSECURE_PRIVATE_WS", "1");
    let error = refused(&home, &[TOKEN], &["--url", "ws://10.255.255.1:9"]);
    let message = error["message"].as_str().unwrap();
    assert!(
        message.contains("set OPENCLAW_ALLOW_INSECURE_PRIVATE_WS=1")
            && message.contains("Others on that network can then read along"),
        "{message}"
    );
    for (url, why) in [
        ("ws://100.64.0.7:9", "an address of a tailnet"),
        ("ws://[fd7a:115c:a1e0::7]:9", "an address of a tailnet"),
        ("ws://203.0.113.9:9", "a public address"),
    ] {
        for environment in [&[TOKEN][..], &[TOKEN, opted_in]] {
            let error = refused(&home, environment, &["--url", url]);
            let message = error["message"].as_str().unwrap();
            assert!(message.contains(why), "{message}");
            assert!(!message.contains("OPENCLAW_ALLOW"), "{message}");
        }
    }
}

#[test]
fn what_is_pinned_is_what_was_shown_even_if_another_answers_the_second_time() {
    let (real, impostor) = (Gateway::start_tls(), Gateway::start_tls());
    let pin = fingerprint(&real.home);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = format!("wss://{}", listener.local_addr().unwrap());
    let home = Home::new();
    let heard = std::thread::scope(|scope| {
        let first_one_then_the_other = scope.spawn(|| {
            let mut heard = Vec::new();
            for certificate in [&real.home, &impostor.home] {
                let (socket, _) = listener.accept().unwrap();
                socket.set_read_timeout(Some(PATIENCE)).unwrap();
                let mut stream = StreamOwned::new(tls::server(certificate), socket);
                // The client breaks the handshake off; nothing may have come before.
                let _ = stream.read_to_end(&mut heard);
            }
            heard
        });
        let error = refused(
            &home,
            &[TOKEN],
            &["--url", &at, "--trust-fingerprint", &pin],
        );
        assert_eq!(error["details"]["tls"], "fingerprint-mismatch", "{error}");
        first_one_then_the_other.join().unwrap()
    });
    assert_eq!(heard, b"", "no byte of the program goes to an impostor");
}

#[test]
fn a_certificate_that_an_authority_vouches_for_needs_no_pin() {
    let gateway = Gateway::start_tls();
    let (home, at) = (Home::new(), url(&gateway));
    let authorities = gateway.home.state().join(CERTIFICATE).display().to_string();
    assert!(gateway.home.state().join(KEY).exists());
    let environment = [TOKEN, ("SSL_CERT_FILE", authorities.as_str())];
    let joined = join(&home, &environment, &["--url", &at]).success().json();
    assert_eq!(
        (&joined["trust"], &joined["fingerprint"]),
        (&json!("authorities"), &Value::Null)
    );
    assert!(
        home.json("node.json")["gateway"]
            .get("tlsFingerprint")
            .is_none()
    );
}

#[test]
fn wrong_ports_and_contradictions_are_one_clear_error() {
    let home = Home::new();
    let nobody = format!("wss://127.0.0.1:{}", free_port());
    let error = refused(&home, &[TOKEN], &["--url", &nobody]);
    assert_eq!(error["code"], "GATEWAY_UNREACHABLE");
    let gateway = Gateway::start();
    let plain = format!("wss://{}", gateway.address);
    let error = refused(&home, &[TOKEN], &["--url", &plain]);
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .contains("does not speak TLS"),
        "{error}"
    );
    for (options, said) in [
        (&["--run"][..], "--json prints one answer"),
        (&["--run", "--install"], "not both"),
        (&["--system"], "go with --install"),
        (
            &["--trust-fingerprint", "abc"],
            "Invalid --trust-fingerprint",
        ),
        (
            &["--url", "wss://x", "--gateway", "y"],
            "Leave one of them out",
        ),
    ] {
        let error = refused(&home, &[], options);
        assert_eq!(error["code"], "USAGE", "{error}");
        assert!(error["message"].as_str().unwrap().contains(said), "{error}");
    }
}
