//! TLS on the gateway's port and at every client: certificates, pins, and no way back to plaintext.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::sync::mpsc;

use rustls::StreamOwned;
use serde_json::{Value, json};

use crate::support::device::Device;
use crate::support::home::Home;
use crate::support::process::{
    Gateway, Outcome, Running, SECRET, command, free_port, http, openclaw, openclaw_with, program,
};
use crate::support::tls::{self, CERTIFICATE, KEY, Wire, fingerprint};
use crate::support::{PATIENCE, wait_for};

/// `nodes list` at an explicit URL.
fn list(home: &Home, url: &str, more: &[&str]) -> Outcome {
    let line = ["nodes", "list", "--json", "--url", url, "--token", SECRET];
    openclaw(home, &[&line, more].concat())
}

#[test]
fn a_certificate_is_made_once_and_kept() {
    let mut gateway = Gateway::start_tls();
    let home = &gateway.home;
    let files = || [home.read(CERTIFICATE), home.read(KEY)];
    let first = files();
    assert!(first[0].starts_with("-----BEGIN CERTIFICATE-----\n"));
    for (name, mode) in [(CERTIFICATE, 0o600), (KEY, 0o600), ("gateway/tls", 0o700)] {
        let metadata = std::fs::metadata(home.state().join(name)).unwrap();
        assert_eq!(metadata.mode() & 0o777, mode, "{name}");
    }
    let output = gateway.process.output();
    assert!(!output.contains("PRIVATE KEY"), "{output}");
    let pinned = fingerprint(home);
    gateway.crash_and_restart();
    let home = &gateway.home;
    assert_eq!([home.read(CERTIFICATE), home.read(KEY)], first);

    let shown = gateway.cli(&["gateway", "fingerprint"]).success();
    assert_eq!(shown.stdout, format!("{pinned}\n"));
    let document = gateway.cli(&["gateway", "fingerprint", "--json"]).json();
    assert_eq!(document["fingerprintSha256"], json!(pinned));
    assert_eq!(document["expired"], json!(false));
    let status = gateway.cli(&["gateway", "status", "--json"]).success();
    let tls = &status.json()["gateway"]["tls"];
    assert_eq!(*tls, document);
    let path = home.state().join(CERTIFICATE);
    assert_eq!(tls["certPath"], json!(path));
    let text = gateway.cli(&["gateway", "status"]).success().stdout;
    for part in [
        &pinned,
        "Connectivity probe: ok",
        "Probe target: wss://127.0.0.1:",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
}

#[test]
fn another_tool_reads_the_certificate_and_trusts_the_port() {
    let gateway = Gateway::start_tls();
    let path = gateway.home.state().join(CERTIFICATE);
    let openssl = |arguments: &[&str]| {
        let output = Command::new("openssl").args(arguments).output().ok()?;
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        Some(String::from_utf8(output.stdout).unwrap())
    };
    let path = path.to_str().unwrap();
    let read = [
        "x509",
        "-noout",
        "-text",
        "-sha256",
        "-fingerprint",
        "-in",
        path,
    ];
    let Some(text) = openssl(&read) else {
        eprintln!("skipped: there is no openssl on this machine");
        return;
    };
    for part in [
        "CN = openclaw-gateway",
        "NIST CURVE: P-256",
        "Signature Algorithm: ecdsa-with-SHA256",
        "DNS:localhost",
        "IP Address:127.0.0.1",
        "CA:FALSE",
    ] {
        assert!(
            text.replace("CN=", "CN = ").contains(part),
            "{part}\n{text}"
        );
    }
    let printed = text.lines().find_map(|line| {
        line.to_ascii_lowercase()
            .strip_prefix("sha256 fingerprint=")
            .map(str::to_owned)
    });
    let printed = printed.unwrap().replace(':', "");
    assert_eq!(printed, fingerprint(&gateway.home));
    openssl(&["verify", "-x509_strict", "-CAfile", path, path]);
    let port = gateway.address.port().to_string();
    let connect = format!("localhost:{port}");
    for version in ["-tls1_3", "-tls1_2"] {
        let output = Command::new("openssl")
            .args([
                "s_client",
                "-verify_return_error",
                "-verify_hostname",
                "localhost",
            ])
            .args(["-CAfile", path, "-connect", &connect, version])
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap();
        assert_eq!(output.status.success(), version == "-tls1_3", "{output:?}");
    }
}

#[test]
fn a_pin_is_accepted_in_every_notation() {
    let gateway = Gateway::start_tls();
    let home = Home::new();
    let url = format!("wss://{}", gateway.address);
    let hex = fingerprint(&gateway.home);
    let upper = hex.to_ascii_uppercase();
    let pairs: Vec<&str> = (0..64).step_by(2).map(|at| &upper[at..at + 2]).collect();
    let colons = pairs.join(":");
    for pin in [
        hex.clone(),
        upper.clone(),
        colons.clone(),
        format!("sha256:{hex}"),
        format!("sha256 Fingerprint={colons}"),
    ] {
        let outcome = list(&home, &url, &["--tls-fingerprint", &pin]);
        assert_eq!(outcome.code, 0, "{pin}: {outcome:?}");
    }
    let usage = list(&home, &url, &["--tls-fingerprint", "abc"]);
    assert_eq!(usage.json()["error"]["code"], "USAGE", "{usage:?}");
    let plain = format!("ws://{}", gateway.address);
    let refused = list(&home, &plain, &["--tls-fingerprint", &hex]);
    assert!(
        refused
            .stderr
            .contains("gateway tls fingerprint requires wss:// gateway url"),
        "{refused:?}"
    );
}

/// A TLS server that reports what it received once its handshake was done, or nothing of it.
fn listening_ear(home: &Home) -> (u16, mpsc::Receiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, heard) = mpsc::channel();
    let certificate = [home.read(CERTIFICATE), home.read(KEY)];
    std::thread::spawn(move || {
        let copy = Home::new();
        copy.write(CERTIFICATE, certificate[0].as_bytes());
        copy.write(KEY, certificate[1].as_bytes());
        while let Ok((socket, _)) = listener.accept() {
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut stream = StreamOwned::new(tls::server(&copy), socket);
            let mut bytes = Vec::new();
            let _ = stream.read_to_end(&mut bytes);
            if sender.send(bytes).is_err() {
                return;
            }
        }
    });
    (port, heard)
}

#[test]
fn nothing_is_said_to_a_certificate_that_the_pin_does_not_name() {
    let pair = Gateway::start_tls();
    let (port, heard) = listening_ear(&pair.home);
    let right = fingerprint(&pair.home);
    let wrong = "ab".repeat(32);
    let home = Home::new();
    let url = format!("wss://127.0.0.1:{port}");
    let silence = |who: &str| {
        let bytes = heard.recv_timeout(PATIENCE).unwrap();
        assert!(
            bytes.is_empty(),
            "{who} said {}",
            String::from_utf8_lossy(&bytes)
        );
    };

    let refused = list(&home, &url, &["--tls-fingerprint", &wrong]);
    let error = &refused.json()["error"];
    assert_eq!(error["code"], "GATEWAY_UNREACHABLE");
    assert_eq!(error["details"]["expectedSha256"], json!(wrong));
    assert_eq!(error["details"]["presentedSha256"], json!(right));
    for part in [
        &wrong,
        &right,
        "gateway tls fingerprint mismatch",
        "openclaw gateway fingerprint",
    ] {
        assert!(refused.stderr.contains(part), "{part}: {refused:?}");
    }
    silence("the command line");

    let status = [
        "gateway",
        "status",
        "--url",
        &url,
        "--token",
        SECRET,
        "--tls-fingerprint",
        &wrong,
    ];
    let probed = openclaw(&home, &status).success().stdout;
    assert!(
        probed.contains("gateway tls fingerprint mismatch"),
        "{probed}"
    );
    silence("the probe");

    let unpinned = list(&home, &url, &[]);
    for part in ["is not signed by an authority", &right, "--tls-fingerprint"] {
        assert!(unpinned.stderr.contains(part), "{part}: {unpinned:?}");
    }
    silence("a client without a pin");

    let mut node = node_host(&home, port, &["--tls-fingerprint", &wrong]);
    node.wait_for_output("gateway tls fingerprint mismatch");
    silence("the node host");
    assert!(node.alive(), "it keeps trying: {}", node.output());
    drop(node);

    // The ear does hear who is right.
    let right = list(
        &home,
        &url,
        &["--tls-fingerprint", &right, "--timeout", "1000"],
    );
    assert_eq!(right.code, 1);
    let bytes = heard.recv_timeout(PATIENCE).unwrap();
    assert!(bytes.starts_with(b"GET / HTTP/1.1\r\n"), "{bytes:?}");
}

fn node_host(home: &Home, port: u16, more: &[&str]) -> Running {
    let mut command = command(&program(), home);
    let port = port.to_string();
    command
        .env("OPENCLAW_GATEWAY_TOKEN", SECRET)
        .args(["node", "run", "--port", &port, "--display-name", "Far Node"])
        .args(more);
    Running::start(command)
}

#[test]
fn a_node_host_pairs_and_works_through_tls_and_keeps_its_pin() {
    let gateway = Gateway::start_tls();
    let home = Home::new();
    let port = gateway.address.port();
    let pin = fingerprint(&gateway.home);
    let mut node = node_host(&home, port, &["--tls-fingerprint", &pin]);
    node.wait_for_output(&format!("node host connected to wss://127.0.0.1:{port}"));
    let waiting = wait_for("the pending node", || {
        let rows = gateway
            .cli(&["nodes", "pending", "--json"])
            .success()
            .json();
        rows.get(0).cloned()
    });
    let id = waiting["requestId"].as_str().unwrap();
    gateway.cli(&["nodes", "approve", id]).success();
    let which = || {
        let ask = [
            "nodes",
            "invoke",
            "--node",
            "Far Node",
            "--command",
            "system.which",
        ];
        let outcome = gateway.cli(&[&ask[..], &["--params", r#"{"bins":["sh"]}"#]].concat());
        (outcome.code == 0).then(|| outcome.json())
    };
    let answer = wait_for("an answer", which);
    assert!(answer["payload"]["bins"]["sh"].is_string(), "{answer}");
    assert_eq!(home.json("node.json")["gateway"]["tls"], json!(true));
    assert_eq!(
        home.json("node.json")["gateway"]["tlsFingerprint"],
        json!(pin)
    );
    node.signal("TERM");
    assert_eq!(node.exit_code(), 0, "{}", node.output());

    // A gateway that refuses the secret has still shown the certificate that was typed.
    let stranger = Home::new();
    let wrong = [("OPENCLAW_GATEWAY_TOKEN", "wrong")];
    let at = port.to_string();
    let line = ["node", "run", "--port", &at, "--tls-fingerprint", &pin];
    let refused = openclaw_with(&stranger, &wrong, &line);
    assert_eq!(refused.code, 1, "{refused:?}");
    let kept = &stranger.json("node.json")["gateway"]["tlsFingerprint"];
    assert_eq!(kept, &json!(pin));

    // A wrong pin for one run is believed by that run alone.
    let mut node = node_host(&home, port, &["--tls-fingerprint", &"0".repeat(64)]);
    node.wait_for_output("gateway tls fingerprint mismatch");
    drop(node);
    let mut node = node_host(&home, port, &[]);
    node.wait_for_output(&format!("node host connected to wss://127.0.0.1:{port}"));
    wait_for("another answer", which);
    drop(node);

    let mut spoilt = home.json("node.json");
    spoilt["gateway"]["tlsFingerprint"] = json!("AB");
    home.write("node.json", spoilt.to_string().as_bytes());
    let mut node = node_host(&home, port, &[]);
    assert_eq!(node.exit_code(), 1, "an unusable pin is never no pin");
    assert!(
        node.output().contains("gateway tls fingerprint missing"),
        "{}",
        node.output()
    );
}

#[test]
fn the_port_says_nothing_in_plaintext_but_that_it_speaks_tls() {
    let gateway = Gateway::start_tls();
    for path in ["/healthz", "/readyz", "/"] {
        let answer = http(
            gateway.address,
            &format!("GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {SECRET}\r\n\r\n"),
        );
        assert!(
            answer.starts_with("HTTP/1.1 400 Bad Request\r\n"),
            "{answer}"
        );
        assert!(
            answer.ends_with("\r\n\r\nThis port speaks TLS: use wss:// or https://"),
            "{answer}"
        );
        assert!(
            !answer.contains("live") && !answer.contains("ready"),
            "{answer}"
        );
    }
    let upgrade = "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    assert!(http(gateway.address, upgrade).starts_with("HTTP/1.1 400 "));
    // Whatever is neither HTTP nor TLS gets an alert at most.
    let answer = http(gateway.address, "\u{1}\u{2}\u{3}\r\n\r\n");
    assert!(!answer.contains("HTTP"), "{answer:?}");

    for path in ["/healthz", "/readyz"] {
        let answer = tls::get(&gateway, path);
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    }
    assert!(tls::get(&gateway, "/x").starts_with("HTTP/1.1 404 "));

    let plain = list(&gateway.home, &format!("ws://{}", gateway.address), &[]);
    assert!(plain.stderr.contains("This port speaks TLS"), "{plain:?}");
}

#[test]
fn a_tls_client_at_a_plain_port_is_told_at_once() {
    let gateway = Gateway::start();
    let url = format!("wss://{}", gateway.address);
    let outcome = list(&gateway.home, &url, &["--timeout", "25000"]);
    let text = format!(
        "gateway not reachable: {} does not speak TLS",
        gateway.address
    );
    assert!(outcome.stderr.contains(&text), "{outcome:?}");
}

#[test]
fn wss_is_never_tried_in_plaintext() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let home = Home::with_tls_gateway(port, SECRET, "");
    let (sender, first_bytes) = mpsc::channel();
    std::thread::spawn(move || {
        while let Ok((mut socket, _)) = listener.accept() {
            let mut bytes = [0; 256];
            let count = socket.read(&mut bytes).unwrap_or(0);
            // What a plain gateway answers to an upgrade.
            let _ = socket.write_all(b"HTTP/1.1 101 Switching Protocols\r\n\r\n");
            if sender.send(bytes[..count].to_vec()).is_err() {
                return;
            }
        }
    });
    let outcome = openclaw(&home, &["health", "--json"]);
    assert_eq!(outcome.json()["error"]["code"], "GATEWAY_UNREACHABLE");
    let mut seen = 0;
    while let Ok(bytes) = first_bytes.try_recv() {
        assert_eq!(bytes[0], 0x16, "a TLS handshake record: {bytes:?}");
        seen += 1;
    }
    assert!(seen > 0);
}

#[test]
fn the_local_command_line_pins_the_certificate_of_its_own_gateway() {
    let gateway = Gateway::start_tls();
    gateway.cli(&["nodes", "list"]).success();
    gateway.cli(&["health"]).success();
    // Somebody else's certificate in the place of the gateway's.
    let other = Gateway::start_tls();
    let theirs = other.home.read(CERTIFICATE);
    gateway.home.write(CERTIFICATE, theirs.as_bytes());
    let refused = gateway.cli(&["health", "--json"]);
    let details = refused.json()["error"]["details"].clone();
    assert_eq!(
        details["expectedSha256"],
        json!(fingerprint(&other.home)),
        "{details}"
    );
}

#[test]
fn a_remote_pin_and_trusted_authorities_open_the_way() {
    let gateway = Gateway::start_tls();
    let port = gateway.address.port();
    let remote = |pin: &str| {
        let home = Home::new();
        home.write_config(&format!(
            r#"{{ gateway: {{ mode: "remote", remote: {{ url: "wss://127.0.0.1:{port}", token: "{SECRET}", tlsFingerprint: "{pin}" }} }} }}"#
        ));
        openclaw(&home, &["nodes", "list", "--json"])
    };
    remote(&fingerprint(&gateway.home)).success();
    let refused = remote(&"0".repeat(64));
    assert!(
        refused.stderr.contains("gateway tls fingerprint mismatch"),
        "{refused:?}"
    );

    // Without a pin authorities, names and dates decide.
    let home = Home::new();
    let authorities = gateway.home.state().join(CERTIFICATE);
    let ask = |host: &str, authorities: &str| {
        let url = format!("wss://{host}:{port}");
        let line = ["nodes", "list", "--json", "--url", &url, "--token", SECRET];
        openclaw_with(&home, &[("SSL_CERT_FILE", authorities)], &line)
    };
    let authorities = authorities.to_str().unwrap();
    ask("localhost", authorities).success();
    ask("127.0.0.1", authorities).success();
    let elsewhere = ask("127.0.0.2", authorities);
    assert_ne!(elsewhere.code, 0);
    let other = Gateway::start_tls();
    let others = other.home.state().join(CERTIFICATE);
    let untrusted = ask("localhost", others.to_str().unwrap());
    assert!(
        untrusted.stderr.contains("untrusted certificate"),
        "{untrusted:?}"
    );
}

#[test]
fn a_pair_that_cannot_be_used_stops_the_start() {
    let pair = Gateway::start_tls();
    let other = Gateway::start_tls();
    let folder = pair.home.path().to_str().unwrap().to_owned();
    let file = |name: &str, text: &str| {
        let path = format!("{folder}/{name}");
        std::fs::write(&path, text).unwrap();
        path
    };
    let certificate = file("cert.pem", &pair.home.read(CERTIFICATE));
    let key = file("key.pem", &pair.home.read(KEY));
    let foreign = file("foreign.pem", &other.home.read(KEY));
    let junk = file(
        "junk.pem",
        "-----BEGIN PRIVATE KEY-----\n####\n-----END PRIVATE KEY-----\n",
    );
    let absent = format!("{folder}/absent.pem");
    let members = |cert: &str, key: &str| format!(r#"certPath: "{cert}", keyPath: "{key}""#);
    for (tls, expected) in [
        (
            members(&certificate, &foreign),
            "does not belong to the certificate",
        ),
        (members(&certificate, &absent), "absent.pem is not"),
        (members(&absent, &key), "absent.pem is not"),
        (
            members(&certificate, &junk),
            "junk.pem holds no private key",
        ),
        (members(&junk, &key), "junk.pem holds no certificate"),
        // A directory cannot be read as a file, even by root.
        (members(&certificate, &folder), "cannot read "),
        (
            "autoGenerate: false".to_owned(),
            "gateway tls: cert/key missing",
        ),
    ] {
        let port = free_port();
        let home = Home::with_tls_gateway(port, SECRET, &tls);
        let outcome = openclaw(&home, &["gateway", "run"]);
        assert_eq!(outcome.code, 78, "{tls}: {outcome:?}");
        let line = outcome.stderr.lines().last().unwrap();
        assert!(
            line.starts_with("Gateway failed to start: gateway tls: "),
            "{outcome:?}"
        );
        assert!(line.contains(expected), "{expected}: {line}");
        assert!(
            TcpStream::connect(("127.0.0.1", port)).is_err(),
            "never in plaintext"
        );
        assert_eq!(home.read(CERTIFICATE), "", "nothing is made in its place");
    }
    let home = Home::with_tls_gateway(free_port(), SECRET, &members(&certificate, &key));
    let shown = openclaw(&home, &["gateway", "fingerprint"]).success();
    assert_eq!(shown.stdout.trim(), fingerprint(&pair.home));
}

#[test]
fn there_is_no_fingerprint_without_tls_or_before_the_first_start() {
    let plain = Home::with_gateway(free_port(), SECRET);
    let off = openclaw(&plain, &["gateway", "fingerprint", "--json"]);
    assert_eq!(off.code, 1);
    let error = &off.json()["error"];
    assert!(
        error["hint"]
            .as_str()
            .unwrap()
            .contains("gateway.tls.enabled true"),
        "{error}"
    );
    let unborn = Home::with_tls_gateway(free_port(), SECRET, "");
    let early = openclaw(&unborn, &["gateway", "fingerprint"]);
    assert_eq!(early.code, 1);
    assert!(
        early.stderr.contains("There is no certificate yet"),
        "{early:?}"
    );
    assert_eq!(unborn.read(KEY), "", "looking makes nothing");
    let status = openclaw(&plain, &["gateway", "status", "--json"])
        .success()
        .json();
    assert_eq!(status["gateway"]["tls"], json!({"enabled": false}));
}

#[test]
fn a_second_gateway_recognizes_the_first_through_tls() {
    let gateway = Gateway::start_tls();
    let second = gateway.cli(&["gateway", "run"]);
    assert_eq!(second.code, 0, "{second:?}");
    assert!(
        second.stdout.contains("leaving it in control"),
        "{second:?}"
    );
}

#[test]
fn messages_of_several_megabytes_pass_both_ways() {
    let gateway = Gateway::start_tls();
    let device = Device::new();
    let mut operator = tls::operator(&gateway);
    let mut node = tls::node(&gateway, &device, &["system.which"]).unwrap();
    let request = operator.event("node.pair.requested")["payload"]["requestId"].clone();
    operator
        .call("node.pair.approve", json!({"requestId": request}))
        .unwrap();
    for megabytes in [1, 5, 9] {
        let large: String = "0123456789abcdef".repeat(megabytes * 65_536);
        let asked = operator.send(
            "node.invoke",
            json!({"nodeId": device.id, "command": "system.which", "params": {"bins": [], "x": large},
                   "idempotencyKey": megabytes.to_string()}),
        );
        let received = node.answer_invoke(&json!({"bins": {}, "x": large}));
        let params: Value = serde_json::from_str(received["paramsJSON"].as_str().unwrap()).unwrap();
        assert!(params["x"] == json!(large), "on the way there");
        let answer = operator.answer(&asked).unwrap();
        assert!(answer["payload"]["x"] == json!(large), "on the way back");
    }
}

#[test]
fn a_client_that_stalls_in_the_tls_handshake_is_ended_by_its_deadline() {
    let port = free_port();
    let home = Home::new();
    home.write_config(&format!(
        r#"{{ gateway: {{ mode: "local", port: {port}, handshakeTimeoutMs: 1500, tls: {{ enabled: true }},
             auth: {{ mode: "token", token: "{SECRET}" }} }} }}"#
    ));
    let gateway = Gateway::start_at(home, port);
    let silent = TcpStream::connect(gateway.address).unwrap();
    let mut half = TcpStream::connect(gateway.address).unwrap();
    let mut hello = Vec::new();
    let mut client = tls::client(gateway.address, &gateway.home);
    client.conn.write_tls(&mut hello).unwrap();
    half.write_all(&hello[..hello.len() / 2]).unwrap();
    let mut quiet = Wire::tls(gateway.address, &gateway.home);
    let is_ended = |mut stalled: &TcpStream| {
        stalled.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut rest = Vec::new();
        stalled
            .read_to_end(&mut rest)
            .expect("the gateway ends the connection");
        assert!(rest.is_empty(), "{rest:?}");
    };
    for stalled in [&silent, &half, &client.sock] {
        is_ended(stalled);
    }
    let mut rest = Vec::new();
    quiet.read_to_end(&mut rest).expect("a goodbye in TLS");
    assert!(rest.is_empty());
    // Whoever finished the handshake stays, longer than one who came later and did not.
    let mut operator = tls::operator(&gateway);
    is_ended(&TcpStream::connect(gateway.address).unwrap());
    assert_eq!(operator.call("health", json!({})).unwrap()["ok"], true);
}

#[test]
fn whoever_joins_by_a_printed_line_or_code_gets_the_pin_of_the_gateways_own_port() {
    let gateway = Gateway::start_tls();
    let pinned = fingerprint(&gateway.home);
    let own = format!("wss://127.0.0.1:{}", gateway.address.port());
    let create = |url: &str| {
        let line = ["devices", "keys", "create", "--print-join-command"];
        gateway
            .cli(&[&line[..], &["--public-url", url]].concat())
            .success()
            .stdout
    };
    let line = create(&own);
    assert!(
        line.contains(&format!("--url {own} --tls-fingerprint {pinned}")),
        "{line}"
    );
    let elsewhere = create("wss://gateway.example");
    assert!(!elsewhere.contains("--tls-fingerprint"), "{elsewhere}");
    let code = gateway.cli(&["qr", "--json", "--url", &own]).json();
    assert_eq!(code["tlsFingerprint"], json!(pinned));
}
