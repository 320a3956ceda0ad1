//! A configuration that changes under a running gateway: what bites at once, what restarts, what is refused.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::device::Device;
use crate::support::home::Home;
use crate::support::peer::{ALL_SCOPES, Peer, Refused, node_params, operator_params};
use crate::support::process::{Gateway, SECRET, free_port};
use crate::support::reloading::{applied, config, logged, replace, start};
use crate::support::wait_for;
use crate::support::websocket::{Message, WebSocket};

const ROTATED: &str = "rotated-secret-77aa";

/// The device token that a first connect with the shared secret brings.
fn device_token(gateway: &Gateway, params: Value, device: &Device) -> String {
    let peer = Peer::connect(gateway.address, params, Some(device)).unwrap();
    peer.hello["auth"]["deviceToken"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// An operator with every scope that authenticated with its device token.
fn token_operator(gateway: &Gateway, device: &Device) -> Peer {
    let mut params = operator_params(SECRET, &ALL_SCOPES);
    params["client"]["id"] = json!("cli");
    params["client"]["mode"] = json!("cli");
    let token = device_token(gateway, params.clone(), device);
    params["auth"] = json!({"deviceToken": token});
    Peer::connect(gateway.address, params, Some(device)).unwrap()
}

/// An approved node that authenticated with its device token.
fn token_node(gateway: &Gateway, operator: &mut Peer, device: &Device) -> Peer {
    let commands = ["system.which"];
    let token = device_token(gateway, node_params(SECRET, &commands), device);
    let request = operator.event("node.pair.requested")["payload"]["requestId"].clone();
    operator
        .call("node.pair.approve", json!({"requestId": request}))
        .unwrap();
    let mut params = node_params("", &commands);
    params["auth"] = json!({"deviceToken": token});
    Peer::connect(gateway.address, params, Some(device)).unwrap()
}

fn which(node: &Device) -> Value {
    json!({"nodeId": node.id, "command": "system.which", "params": {"bins": []}, "timeoutMs": 60_000, "idempotencyKey": "k"})
}

fn commands_of(operator: &mut Peer, node: &Device) -> Value {
    operator
        .call("node.describe", json!({"nodeId": node.id}))
        .unwrap()["commands"]
        .clone()
}

fn from_browser(gateway: &Gateway, origin: &str) -> Result<Peer, Refused> {
    let socket = WebSocket::connect_with(gateway.address, "/", &[("Origin", origin)]).unwrap();
    let device = Device::new();
    let params = node_params(SECRET, &[]);
    Peer::handshake(socket, params, Some(&device))
}

#[test]
fn a_denied_command_is_withdrawn_at_once_and_comes_back_without_a_reconnect() {
    let gateway = start("");
    let port = gateway.address.port();
    let (owner, device) = (Device::new(), Device::new());
    let mut operator = token_operator(&gateway, &owner);
    let mut node = token_node(&gateway, &mut operator, &device);
    assert_eq!(commands_of(&mut operator, &device), json!(["system.which"]));
    let asked = operator.send("node.invoke", which(&device));
    node.event("node.invoke.request");

    replace(
        &gateway,
        &config(port, SECRET, "nodes: { denyCommands: ['system.which'] }"),
    );
    let withdrawn = operator.answer(&asked).unwrap_err();
    assert_eq!(withdrawn["details"]["code"], "COMMAND_WITHDRAWN");
    logged(&gateway, &applied("gateway.nodes.denyCommands"), 1);
    assert_eq!(commands_of(&mut operator, &device), json!([]));
    let refused = operator.call("node.invoke", which(&device)).unwrap_err();
    assert_eq!(refused["details"]["reason"], "command not allowlisted");

    gateway.home.write_config(&config(port, SECRET, ""));
    logged(&gateway, &applied("gateway.nodes.denyCommands"), 2);
    assert_eq!(commands_of(&mut operator, &device), json!(["system.which"]));
    let asked = operator.send("node.invoke", which(&device));
    node.answer_invoke(&json!({"bins": {}}));
    operator.answer(&asked).unwrap();
    let trail = gateway.home.read("audit.jsonl");
    let line: Value = trail
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .find(|line| line["action"] == "config.change")
        .expect("the trail holds it");
    assert_eq!(line["subject"], "gateway.nodes.denyCommands");
    assert_eq!(
        (&line["via"], &line["after"]),
        (&json!("file"), &json!(["system.which"]))
    );
}

#[test]
fn a_rotated_secret_closes_who_proved_the_old_one_and_nobody_else() {
    let gateway = start("");
    let (owner, device) = (Device::new(), Device::new());
    let mut stays = token_operator(&gateway, &owner);
    let mut node = token_node(&gateway, &mut stays, &device);
    let mut goes = Peer::operator(gateway.address, SECRET);
    goes.send("node.invoke", which(&device));
    let orphan = node.event("node.invoke.request")["payload"].clone();
    let kept = stays.send("node.invoke", which(&device));

    let set = gateway.cli(&["config", "set", "gateway.auth.token", ROTATED]);
    let text = set.success().stdout;
    assert!(
        text.contains("A running gateway applies it at once."),
        "{text}"
    );
    assert_eq!(goes.closed(), (4001, "gateway auth changed".to_owned()));
    let late = json!({"id": orphan["id"], "nodeId": device.id, "ok": true});
    let ignored = node.call("node.invoke.result", late).unwrap();
    assert_eq!(ignored["ignored"], true, "nobody waits for it");
    node.answer_invoke(&json!({"bins": {}}));
    stays.answer(&kept).unwrap();

    logged(&gateway, &applied("gateway.auth.token"), 1);
    let refused = Peer::connect(gateway.address, operator_params(SECRET, &ALL_SCOPES), None);
    let refused = refused.err().expect("the old secret is over");
    assert_eq!(refused.error["details"]["code"], "AUTH_TOKEN_MISMATCH");
    let mut back = Peer::operator(gateway.address, ROTATED);
    back.call("health", json!({})).unwrap();
    gateway.cli(&["gateway", "health"]).success();
    for text in [gateway.home.read("audit.jsonl"), gateway.process.output()] {
        assert!(!text.contains(ROTATED) && !text.contains(SECRET), "{text}");
        assert!(text.contains("gateway.auth.token"), "{text}");
    }
}

#[test]
fn browser_origins_and_handshake_times_count_from_the_edit_on() {
    let long = "handshakeTimeoutMs: 120000,";
    let gateway = start(long);
    let port = gateway.address.port();
    let mut stays = token_operator(&gateway, &Device::new());
    let refused = from_browser(&gateway, "https://ui.example").err().unwrap();
    assert_eq!(
        refused.error["details"]["code"],
        "CONTROL_UI_ORIGIN_NOT_ALLOWED"
    );

    let listed = |origins: &str| format!("{long} controlUi: {{ allowedOrigins: [{origins}] }}");
    let both = listed("'https://ui.example', 'https://other.example'");
    gateway.home.write_config(&config(port, SECRET, &both));
    logged(&gateway, &applied("gateway.controlUi.allowedOrigins"), 1);
    // A remote browser has to be paired first: the origin is not what stops it.
    let page = from_browser(&gateway, "https://ui.example");
    let page = page.err().map(|refused| refused.error["code"].clone());
    assert_eq!(page, Some(json!("NOT_PAIRED")));
    let mut own = open_page(&gateway, "https://ui.example");
    let mut other = open_page(&gateway, "https://other.example");
    gateway
        .home
        .write_config(&config(port, SECRET, &listed("'https://other.example'")));
    assert_eq!(own.closed(), (1008, "origin not allowed".to_owned()));
    logged(&gateway, &applied("gateway.controlUi.allowedOrigins"), 2);
    other.call("health", json!({})).unwrap();

    gateway
        .home
        .write_config(&config(port, SECRET, "handshakeTimeoutMs: 30,"));
    logged(&gateway, "gateway.handshakeTimeoutMs", 1);
    logged(&gateway, "[reload] config change applied", 3);
    let mut silent = WebSocket::connect(gateway.address);
    while !matches!(silent.next(), Message::Close(1000, _)) {}
    stays.call("health", json!({})).unwrap();
}

/// A live session of a page at `origin` whose device is approved.
fn open_page(gateway: &Gateway, origin: &str) -> Peer {
    let device = Device::new();
    let connect = || {
        let socket = WebSocket::connect_with(gateway.address, "/", &[("Origin", origin)]).unwrap();
        let params = operator_params(SECRET, &["operator.read"]);
        Peer::handshake(socket, params, Some(&device))
    };
    match connect() {
        Ok(peer) => peer,
        Err(refused) => {
            let id = refused.error["details"]["requestId"]
                .as_str()
                .unwrap()
                .to_owned();
            gateway.cli(&["devices", "approve", &id]).success();
            connect().unwrap()
        }
    }
}

#[test]
fn an_invalid_file_changes_nothing_and_every_kind_of_edit_is_noticed() {
    let gateway = start("");
    let port = gateway.address.port();
    let state = gateway.home.state();
    let file = state.join("openclaw.json");
    let mut stays = token_operator(&gateway, &Device::new());
    let skipped = "[reload] config reload skipped: ";
    let deny = |word: &str| {
        config(
            port,
            SECRET,
            &format!("nodes: {{ denyCommands: ['{word}'] }}"),
        )
    };
    let done = applied("gateway.nodes.denyCommands");

    replace(&gateway, "{ gateway: { port: 'x', bogus: 1 } }");
    logged(&gateway, &format!("{skipped}gateway"), 1);
    let output = gateway.process.output();
    assert!(
        output.contains("gateway.port: Invalid input: expected number, received string"),
        "{output}"
    );
    assert!(
        output.contains("gateway: Unrecognized key: \"bogus\""),
        "{output}"
    );
    replace(&gateway, "{ gateway:");
    logged(&gateway, &format!("{skipped}<root>: JSON5 parse failed"), 1);
    std::fs::remove_file(&file).unwrap();
    logged(&gateway, &format!("{skipped}Missing config."), 1);
    stays.call("health", json!({})).unwrap();

    let write = |text: String| std::fs::write(&file, text).unwrap();
    write(deny("a"));
    logged(&gateway, &done, 1);
    write(deny("b"));
    logged(&gateway, &done, 2);
    replace(&gateway, &deny("c"));
    logged(&gateway, &done, 3);
    // The file becomes a link, and the target of the link is edited.
    std::fs::create_dir(gateway.home.path().join("dotfiles")).unwrap();
    let target = gateway.home.path().join("dotfiles/openclaw.json");
    std::fs::write(&target, deny("d")).unwrap();
    std::fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink(&target, &file).unwrap();
    logged(&gateway, &done, 4);
    std::fs::write(&target, deny("e")).unwrap();
    logged(&gateway, &done, 5);
    // It includes a file, and that one is edited.
    let including = "nodes: { $include: 'nodes.json' }";
    gateway.home.write("nodes.json", b"{ denyCommands: ['f'] }");
    std::fs::write(&target, config(port, SECRET, including)).unwrap();
    logged(&gateway, &done, 6);
    gateway.home.write("nodes.json", b"{ denyCommands: ['g'] }");
    logged(&gateway, &done, 7);
    std::fs::remove_file(state.join("nodes.json")).unwrap();
    logged(&gateway, "cannot read included file", 1);
    gateway.home.write("nodes.json", b"{ denyCommands: ['h'] }");
    logged(&gateway, &done, 8);
    stays.call("health", json!({})).unwrap();
}

#[test]
fn secrets_that_come_from_elsewhere_are_read_again() {
    let home = Home::new();
    let port = free_port();
    home.write_config(&config(port, "${TOK}", ""));
    home.write(".env", format!("TOK={SECRET}\n").as_bytes());
    let gateway = Gateway::start_at(home, port);
    let mut goes = Peer::operator(gateway.address, SECRET);
    gateway
        .home
        .write(".env", format!("TOK={ROTATED}\n").as_bytes());
    assert_eq!(goes.closed(), (4001, "gateway auth changed".to_owned()));
    // A secret that cannot be found keeps the one before.
    gateway.home.write(".env", b"");
    logged(
        &gateway,
        "config reload skipped: a secret is unavailable: Environment variable \"TOK\" is missing or empty.",
        1,
    );
    Peer::operator(gateway.address, ROTATED);

    let file = gateway.home.path().join("secret");
    let put = |secret: &str| {
        let beside = file.with_extension("new");
        std::fs::write(&beside, secret).unwrap();
        private(&beside);
        std::fs::rename(&beside, &file).unwrap();
    };
    put(SECRET);
    let reference = format!(
        "{{ secrets: {{ providers: {{ f: {{ source: 'file', path: '{}', mode: 'singleValue' }} }} }},
            gateway: {{ mode: 'local', port: {port}, reload: {{ debounceMs: 10 }},
              auth: {{ mode: 'token', token: {{ source: 'file', provider: 'f', id: 'value' }} }} }} }}",
        file.display()
    );
    gateway.home.write_config(&reference);
    logged(&gateway, "[reload] config change applied", 2);
    let mut goes = Peer::operator(gateway.address, SECRET);
    put(ROTATED);
    assert_eq!(goes.closed(), (4001, "gateway auth changed".to_owned()));
    Peer::operator(gateway.address, ROTATED);
}

fn private(file: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn a_withdrawal_that_races_with_invokes_leaves_none_unanswered_and_none_behind() {
    const ROUNDS: usize = 100;
    let gateway = start("");
    let port = gateway.address.port();
    let (owner, device) = (Device::new(), Device::new());
    let mut operator = token_operator(&gateway, &owner);
    let mut node = token_node(&gateway, &mut operator, &device);
    let mut asked = Vec::new();
    for round in 0..ROUNDS {
        asked.push(operator.send("node.invoke", which(&device)));
        if round == ROUNDS / 2 {
            gateway.home.write_config(&config(
                port,
                SECRET,
                "nodes: { denyCommands: ['system.which'] }",
            ));
        }
    }
    wait_for("the last of them", || {
        asked.push(operator.send("node.invoke", which(&device)));
        gateway
            .process
            .output()
            .contains(&applied("gateway.nodes.denyCommands"))
            .then_some(())
    });
    // Whatever the node was asked before, nobody waits for it any more.
    for id in &asked {
        let error = operator.answer(id).unwrap_err();
        let reason = error["details"]["code"]
            .as_str()
            .or(error["details"]["reason"].as_str());
        assert!(
            matches!(
                reason,
                Some("COMMAND_WITHDRAWN" | "command not allowlisted")
            ),
            "{error}"
        );
    }
    node.events_until_now("node.invoke.request");
    operator.call("node.invoke", which(&device)).unwrap_err();
    assert!(node.has_not_heard("node.invoke.request"));
}

#[test]
fn connections_that_race_with_a_rotation_do_not_survive_it() {
    const THREADS: usize = 6;
    const CONNECTS: usize = 60;
    let gateway = start("");
    let (port, address) = (gateway.address.port(), gateway.address);
    let connect = move || Peer::connect(address, operator_params(SECRET, &ALL_SCOPES), None);
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            std::thread::spawn(move || {
                let admitted = std::iter::repeat_with(connect).map_while(Result::ok);
                admitted.take(CONNECTS).collect::<Vec<Peer>>()
            })
        })
        .collect();
    gateway.home.write_config(&config(port, ROTATED, ""));
    logged(&gateway, &applied("gateway.auth.token"), 1);
    let deadline = std::time::Instant::now() + crate::support::PATIENCE;
    for mut peer in threads
        .into_iter()
        .flat_map(|thread| thread.join().unwrap())
    {
        let close = loop {
            let left = deadline.saturating_duration_since(std::time::Instant::now());
            match peer.socket.next_within(left) {
                Some(Message::Text(_)) => {}
                other => break other.expect("a session survived the rotation"),
            }
        };
        assert_eq!(
            close,
            Message::Close(4001, "gateway auth changed".to_owned())
        );
    }
}
