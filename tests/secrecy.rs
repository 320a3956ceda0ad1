//! A whole life of pairing at the most talkative level, and then a search for every secret in everything
//! that was written, printed, logged, broadcast or answered to somebody it does not belong to.

use std::path::Path;

use data_encoding::{BASE64, BASE64URL_NOPAD, HEXLOWER};
use serde_json::{Value, json};

use crate::support::device::Device;
use crate::support::home::Home;
use crate::support::peer::{ALL_SCOPES, Peer, cli_params, node_params, operator_params};
use crate::support::process::{
    Gateway, Outcome, Running, SECRET, command, free_port, http, openclaw, openclaw_with, program,
};
use crate::support::wait_for;
use crate::support::websocket::WebSocket;

/// Files that hold secrets because that is what they are for.
const STORES: [&str; 8] = [
    "openclaw.json",
    "devices/paired.json",
    "devices/bootstrap.json",
    "devices/join-keys.json",
    "nodes/paired.json",
    "identity/device.json",
    "identity/device-auth.json",
    "node.json",
];

/// What somebody typed wrongly is often the right secret of another place.
const MISTYPED: &str = "mistyped-secret-91c4e7";

/// What was said and written, and what must not be in it.
#[derive(Default)]
struct Search {
    secrets: Vec<(String, String)>,
    texts: Vec<(String, String)>,
}

impl Search {
    fn secret(&mut self, what: &str, value: &Value) {
        let value = value.as_str().unwrap_or_else(|| panic!("no {what}"));
        assert!(value.len() >= 12, "{what} is too short to search for");
        self.secrets.push((what.to_owned(), value.to_owned()));
    }

    fn text(&mut self, whence: &str, text: &str) {
        self.texts.push((whence.to_owned(), text.to_owned()));
    }

    fn said(&mut self, arguments: &[&str], outcome: &Outcome) {
        self.text(&format!("{arguments:?}"), &outcome.stdout);
        self.text(&format!("{arguments:?}"), &outcome.stderr);
    }

    /// Every file below `root` but the stores.
    fn files(&mut self, home: &Home) {
        let mut folders = vec![home.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).unwrap().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    folders.push(path);
                } else if !is_store(home, &path) {
                    let bytes = std::fs::read(&path).unwrap_or_default();
                    self.text(
                        &path.display().to_string(),
                        &String::from_utf8_lossy(&bytes),
                    );
                }
            }
        }
    }

    #[track_caller]
    fn nothing_found(&self) {
        for (what, secret) in &self.secrets {
            let bytes = secret.as_bytes();
            for form in [
                secret.clone(),
                // Without the last quantum, so that what follows in a longer text does not matter.
                BASE64.encode(&bytes[..bytes.len() / 3 * 3]),
                BASE64URL_NOPAD.encode(&bytes[..bytes.len() / 3 * 3]),
                HEXLOWER.encode(bytes),
                HEXLOWER.encode(bytes).to_uppercase(),
            ] {
                for (whence, text) in &self.texts {
                    let at = text.find(&form);
                    assert_eq!(at, None, "{what} is in {whence}:\n{text}");
                }
            }
        }
    }
}

fn is_store(home: &Home, path: &Path) -> bool {
    let name = path.strip_prefix(home.state()).unwrap_or(path);
    STORES.iter().any(|store| name == Path::new(store))
}

fn start(auth: &str) -> Gateway {
    let port = free_port();
    let home = Home::new();
    home.write_config(&format!(
        r#"{{ "gateway": {{ "mode": "local", "port": {port}, "auth": {auth} }},
              "logging": {{ "level": "trace", "consoleLevel": "trace" }} }}"#
    ));
    Gateway::start_at(home, port)
}

/// Everything a command line is asked for in a day, right and wrong.
fn type_commands(search: &mut Search, gateway: &Gateway, credential: &str, device: &str) {
    let url = format!("ws://127.0.0.1:{}", gateway.address.port());
    let lines: Vec<Vec<&str>> = vec![
        vec!["devices", "list"],
        vec!["devices", "list", "--json"],
        vec!["nodes", "pending", "--json"],
        vec!["nodes", "list", "--json"],
        vec!["nodes", "status"],
        vec!["nodes", "describe", "--node", device, "--json"],
        vec!["status"],
        vec!["gateway", "status", "--json"],
        vec!["gateway", "health", "--json"],
        vec!["config", "get", "gateway"],
        vec!["config", "get", "gateway.auth", "--json"],
        vec!["config", "validate"],
        vec!["devices", "list", "--url", &url, credential, MISTYPED],
        vec![
            "devices", "list", "--url", &url, credential, MISTYPED, "--json",
        ],
        vec![
            "nodes",
            "status",
            "--url",
            &url,
            credential,
            MISTYPED,
            "--timeout",
            "x",
        ],
        vec![
            "--log-level",
            "trace",
            "gateway",
            "call",
            "device.pair.list",
            "--json",
        ],
        vec!["devices", "rotate", "--device", device, "--role", "node"],
        vec![
            "devices", "rotate", "--device", device, "--role", "operator", "--json",
        ],
        vec![
            "devices", "revoke", "--device", device, "--role", "node", "--json",
        ],
        vec!["devices", "remove", device, "--json"],
        vec!["devices", "clear", "--yes", "--pending", "--json"],
        vec!["devices", "list", "--json"],
    ];
    for line in lines {
        search.said(&line, &gateway.cli(&line));
    }
}

/// Connects that fail, each with its secrets in the wrong place.
fn fail_to_connect(search: &mut Search, gateway: &Gateway, device: &Device, old: &Value) {
    let broken = json!({"token": [SECRET], "password": {"is": MISTYPED}});
    let mut misplaced = node_params(SECRET, &[]);
    misplaced["client"]["id"] = json!(MISTYPED);
    for (params, key) in [
        (node_params(MISTYPED, &[]), Some(device)),
        (node_params(MISTYPED, &[]), None),
        (cli_params(json!({"password": MISTYPED}), &[]), None),
        (
            cli_params(json!({"deviceToken": old}), &["operator.admin"]),
            Some(device),
        ),
        (
            cli_params(json!({"bootstrapToken": MISTYPED}), &[]),
            Some(device),
        ),
        (cli_params(json!({"token": old}), &[]), None),
        (cli_params(broken, &[]), None),
        (misplaced, Some(device)),
    ] {
        let refused = Peer::connect(gateway.address, params, key).err().unwrap();
        search.text("a refusal", &format!("{refused:?}"));
    }
    // A secret in an address is a mistake that browsers make; it must not reach the log.
    let target = format!("/?token={SECRET}");
    drop(WebSocket::connect_with(gateway.address, &target, &[]));
    let request =
        format!("GET {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {MISTYPED}\r\n\r\n");
    search.text("http", &http(gateway.address, &request));
    let mut socket = WebSocket::connect(gateway.address);
    socket.send_text(&format!(
        r#"{{"type":"req","id":"x","method":"connect","token":"{SECRET}"}}"#
    ));
    search.text("a broken frame", &format!("{:?}", socket.next()));
    search.text("a broken frame", &format!("{:?}", socket.next()));
}

/// Every secret that the stores of `home` hold.
fn stored_secrets(search: &mut Search, home: &Home) {
    for name in STORES {
        let mut waiting = vec![(name.to_owned(), home.json(name))];
        while let Some((place, value)) = waiting.pop() {
            match value {
                Value::Object(members) => {
                    for (key, value) in members {
                        let secret = matches!(key.as_str(), "token" | "password" | "secret");
                        if secret && value.is_string() {
                            search.secret(&format!("{place}.{key}"), &value);
                        }
                        waiting.push((format!("{place}.{key}"), value));
                    }
                }
                Value::Array(items) => {
                    waiting.extend(items.into_iter().map(|item| (place.clone(), item)));
                }
                _ => {}
            }
        }
    }
    let identity = home.json("identity/device.json");
    if let Some(pem) = identity["privateKeyPem"].as_str() {
        let key = pem.lines().nth(1).unwrap();
        search.secret("a private key", &json!(key));
    }
}

#[test]
fn no_secret_leaves_its_store() {
    let mut search = Search::default();
    search.secret("the shared token", &json!(SECRET));
    search.secret("a mistyped secret", &json!(MISTYPED));
    let gateway = start(&format!(r#"{{ "mode": "token", "token": "{SECRET}" }}"#));
    let mut watcher = Peer::operator(gateway.address, SECRET);
    let mut admin = Peer::operator(gateway.address, SECRET);

    // A real node host, at its most talkative, is approved by a command line.
    let node_home = Home::new();
    let mut start_node = command(&program(), &node_home);
    let port = gateway.address.port().to_string();
    start_node.env("OPENCLAW_GATEWAY_TOKEN", SECRET).args([
        "--log-level",
        "trace",
        "node",
        "run",
        "--port",
        &port,
    ]);
    let node_host = Running::start(start_node);
    let request = watcher.event("node.pair.requested")["payload"]["requestId"].clone();
    let approve = ["nodes", "approve", request.as_str().unwrap()];
    search.said(&approve, &gateway.cli(&approve).success());

    // A hand-made node and an operator live through rotation, re-pairing and revocation.
    let (device, person) = (Device::new(), Device::new());
    let node = Peer::node(gateway.address, SECRET, &device, &["system.which"]).unwrap();
    search.secret("a device token", &json!(node.device_token()));
    let request = watcher.event("node.pair.requested")["payload"]["requestId"].clone();
    let approved = admin
        .call("node.pair.approve", json!({"requestId": request}))
        .unwrap();
    search.secret("a node token", &approved["node"]["token"]);
    let scopes = ["operator.pairing", "operator.read"];
    let first = Peer::connect(
        gateway.address,
        cli_params(json!({"token": SECRET}), &scopes),
        Some(&person),
    )
    .unwrap();
    let old = json!(first.device_token());
    search.secret("an operator's token", &old);
    let own = cli_params(json!({"deviceToken": old}), &scopes);
    let mut own = Peer::connect(gateway.address, own, Some(&person)).unwrap();
    let target = json!({"deviceId": person.id, "role": "operator"});
    let rotated = own.call("device.token.rotate", target).unwrap();
    search.secret("a rotated token", &rotated["token"]);
    let key = admin
        .call("device.keys.create", json!({"uses": 1}))
        .unwrap();
    search.secret("a join key", &key["key"]);
    stored_secrets(&mut search, &gateway.home);
    stored_secrets(&mut search, &node_home);

    fail_to_connect(&mut search, &gateway, &person, &old);
    for (method, params) in [
        ("device.pair.list", json!({})),
        ("device.keys.list", json!({})),
        ("node.pair.list", json!({})),
        ("node.list", json!({})),
        (
            "node.pair.verify",
            json!({"nodeId": device.id, "token": MISTYPED}),
        ),
        (
            "node.pair.verify",
            json!({"nodeId": device.id, "token": [SECRET]}),
        ),
        ("node.pair.approve", json!({"requestId": MISTYPED.len()})),
        (
            "device.token.rotate",
            json!({"deviceId": device.id, "role": "node"}),
        ),
        (
            "device.token.revoke",
            json!({"deviceId": device.id, "role": "node"}),
        ),
        ("status", json!({})),
        ("health", json!({})),
        ("system-presence", json!({})),
    ] {
        let answer = format!("{:?}", watcher.call(method, params));
        search.text(method, &answer);
    }
    stored_secrets(&mut search, &gateway.home);
    let id = device.id.clone();
    type_commands(&mut search, &gateway, "--token", &id);
    // What everybody was told; the approver's own answer is the one place for a node's token.
    watcher.call("health", json!({})).unwrap();
    let heard = watcher.heard.join("\n");
    assert!(
        heard.contains("node.pair.resolved") && heard.contains("device.pair"),
        "{heard}"
    );
    search.text("broadcasts and answers", &heard);
    drop(node_host);
    finish(search, gateway, &node_home);
}

#[test]
fn no_password_leaves_its_configuration() {
    const PASSWORD: &str = "house-password-5d2f88";
    let mut search = Search::default();
    search.secret("the password", &json!(PASSWORD));
    search.secret("a mistyped secret", &json!(MISTYPED));
    let gateway = start(&format!(
        r#"{{ "mode": "password", "password": "{PASSWORD}" }}"#
    ));
    let mut params = operator_params("", &ALL_SCOPES);
    params["auth"] = json!({"password": PASSWORD});
    let mut watcher = Peer::connect(gateway.address, params, None).unwrap();
    let device = Device::new();
    let mut asked = node_params("", &[]);
    asked["auth"] = json!({"password": PASSWORD});
    let node = Peer::connect(gateway.address, asked, Some(&device)).unwrap();
    let old = json!(node.device_token());
    search.secret("a device token", &old);
    fail_to_connect(&mut search, &gateway, &device, &old);
    type_commands(&mut search, &gateway, "--password", &device.id);
    watcher.call("health", json!({})).unwrap();
    search.text("broadcasts and answers", &watcher.heard.join("\n"));
    let home = Home::new();
    let line = ["devices", "list", "--json"];
    let environment = [("OPENCLAW_GATEWAY_PASSWORD", MISTYPED)];
    search.said(&line, &openclaw_with(&home, &environment, &line));
    finish(search, gateway, &home);
}

/// Stops the gateway and looks through everything.
fn finish(mut search: Search, mut gateway: Gateway, other: &Home) {
    let offline = ["devices", "list", "--json"];
    gateway.process.signal("TERM");
    assert_eq!(gateway.process.exit_code(), 0);
    search.said(&offline, &openclaw(&gateway.home, &offline));
    let log = gateway.process.output();
    assert!(log.contains("[ws]"), "{log}");
    search.text("the gateway's console", &log);
    wait_for("the trail", || {
        let trail = gateway.home.read("audit.jsonl");
        (!trail.is_empty()).then_some(())
    });
    for home in [&gateway.home, other] {
        stored_secrets(&mut search, home);
        search.files(home);
    }
    assert!(search.texts.len() > 40 && search.secrets.len() > 3);
    search.nothing_found();
}

#[test]
fn the_search_finds_what_is_there() {
    let mut search = Search::default();
    search.secret("x", &json!("0123456789abcdef"));
    search.text("clean", "0123456789abcde");
    search.nothing_found();
    for form in [
        "0123456789abcdef".to_owned(),
        BASE64.encode(b"0123456789abcdef"),
        BASE64URL_NOPAD.encode(b"0123456789abcdef-and-more"),
        HEXLOWER.encode(b"0123456789abcdef"),
    ] {
        search.texts = vec![("there".to_owned(), format!("a {form} b"))];
        let found =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| search.nothing_found()));
        assert!(found.is_err(), "{form}");
    }
}

#[test]
fn the_password_in_a_gateway_url_is_not_repeated() {
    const URL: &str = "wss://user:p4ss-of-mine@gateway.example";
    let home = Home::new();
    home.write_config(&format!(
        "{{ gateway: {{ mode: 'remote', remote: {{ url: '{URL}' }} }} }}"
    ));
    let plain = Home::new();
    let variables = [
        ("OPENCLAW_GATEWAY_URL", URL),
        ("OPENCLAW_GATEWAY_TOKEN", "t"),
    ];
    for (home, variables, arguments) in [
        (&home, &[][..], &["gateway", "status"][..]),
        (&home, &[], &["status", "--json"]),
        (&home, &[], &["nodes", "list"]),
        (&home, &[], &["doctor"]),
        (&home, &[], &["config", "validate"]),
        (&home, &[], &["config", "get", "gateway.remote"]),
        (&plain, &variables, &["nodes", "list", "--json"]),
        (&plain, &variables, &["gateway", "probe"]),
        (
            &plain,
            &[],
            &["nodes", "list", "--url", URL, "--token", "t"],
        ),
        (&plain, &[], &["config", "set", "gateway.remote.url", URL]),
    ] {
        let outcome = openclaw_with(home, variables, arguments);
        let said = format!("{}{}", outcome.stdout, outcome.stderr);
        assert!(!said.contains("p4ss-of-mine"), "{arguments:?}: {said}");
    }
}
