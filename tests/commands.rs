//! What a person or a script types: exit codes, one JSON document, texts that name the next step.

use serde_json::json;

use crate::support::device::Device;
use crate::support::home::Home;
use crate::support::peer::{Peer, node_params};
use crate::support::process::{
    Gateway, SECRET, command, finish, free_port, openclaw, openclaw_with, program,
};
use crate::support::stand_in::{StandIn, with_gateway};
use crate::support::websocket::WebSocket;

#[test]
fn help_and_version_need_nothing() {
    let home = Home::new();
    home.write_config("{ this is not a configuration");
    let version = openclaw(&home, &["--version"]).success();
    assert!(
        version.stdout.starts_with("OpenClaw ") && version.stdout.lines().count() == 1,
        "{version:?}"
    );
    for arguments in [
        &["--help"][..],
        &["nodes"],
        &["devices", "--help"],
        &["nodes", "approve", "--help"],
        &["gateway", "--help"],
        &["config"],
        &["node"],
        &["node", "run", "-h"],
    ] {
        let help = openclaw(&home, arguments).success();
        assert!(help.stdout.contains("Usage:"), "{arguments:?}: {help:?}");
        assert!(help.stderr.is_empty(), "{arguments:?}: {help:?}");
    }
}

#[test]
fn usage_errors_name_what_is_wrong_before_anything_happens() {
    let home = Home::new();
    for (arguments, text) in [
        (&["bogus"][..], "error: unknown command 'bogus'"),
        (
            &["nodes", "list", "--bogus"],
            "error: unknown option '--bogus'",
        ),
        (
            &["nodes", "approve"],
            "error: missing required argument 'requestId'",
        ),
        (
            &["nodes", "describe"],
            "error: required option '--node <idOrNameOrIp>' not specified",
        ),
        (&["nodes", "describe", "--node", "--json"], "--node"),
        (&["nodes", "list", "--timeout", "abc"], "--timeout"),
        (
            &["nodes", "list", "--last-connected", "5parsecs"],
            "Invalid --last-connected: invalid duration: 5parsecs",
        ),
        (
            &["nodes", "list", "--last-connected", ""],
            "Invalid --last-connected: invalid duration (empty)",
        ),
        (
            &["--dev", "--profile", "x", "nodes", "list"],
            "Cannot combine --dev with --profile",
        ),
        (
            &["--profile", "x", "gateway", "run", "--dev"],
            "Cannot combine --dev with --profile",
        ),
        (&["node", "run", "--port", "abc"], "Invalid port"),
        (
            &["gateway", "run", "--bind", "everywhere"],
            "Invalid --bind (use \"loopback\", \"lan\", \"tailnet\", \"auto\", or \"custom\")",
        ),
        (
            &["devices", "rotate", "--role", "node"],
            "error: required option '--device <id>' not specified",
        ),
        (
            &["devices", "clear"],
            "Refusing to clear pairing table without --yes",
        ),
        (
            &["nodes", "invoke", "--node", "x", "--command", "system.run"],
            "is reserved for shell execution",
        ),
        (
            &[
                "nodes",
                "invoke",
                "--node",
                "x",
                "--command",
                "y",
                "--params",
                "{",
            ],
            "--params is not valid JSON",
        ),
        (
            &[
                "nodes",
                "invoke",
                "--node",
                "x",
                "--command",
                "y",
                "--params",
                "[]",
            ],
            "--params must be a JSON object",
        ),
    ] {
        let outcome = openclaw(&home, arguments);
        assert_eq!(outcome.code, 1, "{arguments:?}: {outcome:?}");
        assert!(outcome.stderr.contains(text), "{arguments:?}: {outcome:?}");
        let json = arguments.contains(&"--json");
        assert_eq!(
            outcome.stdout.is_empty(),
            !json,
            "{arguments:?}: {outcome:?}"
        );
    }
    assert!(!home.state().exists(), "nothing was created");
}

#[test]
fn a_result_that_cannot_be_written_is_told() {
    let home = Home::new();
    let mut full = command(&program(), &home);
    let device = std::fs::File::options().write(true).open("/dev/full");
    full.args(["config", "file"]).stdout(device.unwrap());
    let outcome = finish(full);
    assert_eq!(outcome.code, 1, "{outcome:?}");
    let said = &outcome.stderr;
    assert!(said.starts_with("cannot write the result: "), "{outcome:?}");
}

#[test]
fn advice_names_commands_of_the_same_profile() {
    let home = Home::new();
    home.write("../.openclaw-lab/openclaw.json", b"{ wat: 1 }");
    for (arguments, command) in [
        (
            &["--profile", "new", "gateway", "run"][..],
            "`openclaw --profile new config set gateway.mode local`",
        ),
        (
            &["--dev", "gateway", "run"],
            "`openclaw --dev config set gateway.mode local`",
        ),
        (
            &["--profile", "lab", "nodes", "list", "--json"],
            "Run: openclaw --profile lab config validate",
        ),
        (
            &["gateway", "run"],
            "`openclaw config set gateway.mode local`",
        ),
    ] {
        let outcome = openclaw(&home, arguments);
        assert!(outcome.stderr.contains(command), "{outcome:?}");
        if arguments.contains(&"--json") {
            let message = outcome.json()["error"]["message"].clone();
            assert!(message.as_str().unwrap().contains(command), "{message}");
        }
    }
}

#[test]
fn a_file_that_is_not_there_is_told_alike_by_every_command() {
    let home = Home::new();
    for arguments in [
        &["config", "set", "--batch-file", "/none", "--json"][..],
        &["approvals", "set", "--file", "/none", "--json"],
    ] {
        let error = openclaw(&home, arguments).json()["error"].clone();
        assert_eq!(
            (&error["code"], &error["message"]),
            (
                &json!("USAGE"),
                &json!("ENOENT: no such file or directory, open '/none'")
            ),
            "{arguments:?}"
        );
    }
}

#[test]
fn every_failure_with_json_is_one_document() {
    let home = Home::with_gateway(free_port(), SECRET);
    for arguments in [
        &["approvals", "get", "--gateway", "--json"][..],
        &["nodes", "invoke", "--json", "--node", "x", "--command", "y"],
        &["gateway", "call", "health", "--json"],
        &["health", "--json"],
        &["nodes", "describe", "--json"],
        &["bogus", "--json"],
        &["devices", "clear", "--json"],
        &["nodes", "approve", "no-such-request", "--json"],
        &["nodes", "list", "--json", "--url", "ws://127.0.0.1:9"],
    ] {
        let outcome = openclaw(&home, arguments);
        assert_eq!(outcome.code, 1, "{arguments:?}: {outcome:?}");
        let document = outcome.json();
        assert_eq!(document["ok"], false, "{arguments:?}");
        assert!(
            document["error"]["code"].is_string() && document["error"]["message"].is_string(),
            "{document}"
        );
    }
}

#[test]
fn an_explicit_url_needs_explicit_credentials() {
    let gateway = Gateway::start();
    let url = format!("ws://{}", gateway.address);
    let refused = gateway.cli(&["nodes", "status", "--url", &url]);
    assert_eq!(refused.code, 1);
    assert!(
        refused
            .stderr
            .contains("gateway url override requires explicit credentials"),
        "{refused:?}"
    );
    assert!(
        refused.stderr.contains("Fix: pass --token or --password."),
        "{refused:?}"
    );
    let refused = gateway.cli(&["nodes", "status", "--json", "--url", &url]);
    let error = refused.json()["error"].clone();
    assert_eq!(error["code"], "CREDENTIALS_MISSING");
    assert_eq!(error["hint"], "pass --token or --password.");
    gateway
        .cli(&["nodes", "status", "--url", &url, "--token", SECRET])
        .success();
    // This home's device is known to the gateway, but what was typed is what counts.
    gateway.cli(&["nodes", "status"]).success();
    let typed = gateway.cli(&["nodes", "status", "--url", &url, "--token", "wrong"]);
    assert_eq!(typed.code, 1, "{typed:?}");
    let by_environment = openclaw_with(
        &gateway.home,
        &[("OPENCLAW_GATEWAY_URL", &url)],
        &["nodes", "status"],
    );
    assert_eq!(by_environment.code, 1, "{by_environment:?}");
    openclaw_with(
        &gateway.home,
        &[
            ("OPENCLAW_GATEWAY_URL", &url),
            ("OPENCLAW_GATEWAY_TOKEN", SECRET),
        ],
        &["nodes", "status", "--json"],
    )
    .success();
}

#[test]
fn plaintext_to_another_machine_is_refused_before_connecting() {
    let home = Home::new();
    let outcome = openclaw(
        &home,
        &[
            "nodes",
            "status",
            "--url",
            "ws://203.0.113.7:18789",
            "--token",
            "t",
        ],
    );
    assert_eq!(outcome.code, 1);
    assert!(outcome.stderr.contains("SECURITY ERROR"), "{outcome:?}");
}

#[test]
fn selectors_and_renames_follow_the_operators_words() {
    let gateway = Gateway::start();
    let (one, two) = (Device::new(), Device::new());
    let mut operator = Peer::operator(gateway.address, SECRET);
    let mut nodes = Vec::new();
    for device in [&one, &two] {
        nodes.push(Peer::node(gateway.address, SECRET, device, &["system.which"]).unwrap());
        let request = operator.event("node.pair.requested")["payload"]["requestId"].clone();
        operator
            .call("node.pair.approve", json!({"requestId": request}))
            .unwrap();
    }
    let ambiguous = gateway.cli(&["nodes", "describe", "--node", "build node"]);
    assert_eq!(ambiguous.code, 1);
    assert!(
        ambiguous
            .stderr
            .contains("ambiguous node: build node (matches: Build Node [node="),
        "{ambiguous:?}"
    );
    gateway
        .cli(&["nodes", "rename", "--node", &one.id, "--name", "Cellar"])
        .success();
    let described = gateway
        .cli(&["nodes", "describe", "--node", "cellar", "--json"])
        .success()
        .json();
    assert_eq!(described["nodeId"], json!(one.id));
    assert_eq!(
        described["displayName"], "Cellar",
        "the operator's name wins while connected"
    );
    let list = gateway.cli(&["nodes", "list", "--json"]).success().json();
    assert!(
        list["paired"]
            .as_array()
            .unwrap()
            .iter()
            .any(|row| row["displayName"] == "Cellar"),
        "{list}"
    );
    let unknown = gateway.cli(&["nodes", "describe", "--node", "zzz"]);
    assert!(
        unknown.stderr.contains("unknown node: zzz (known: "),
        "{unknown:?}"
    );
    let by_prefix = gateway
        .cli(&["nodes", "describe", "--node", &two.id[..8], "--json"])
        .success()
        .json();
    assert_eq!(by_prefix["nodeId"], json!(two.id));
    gateway
        .cli(&["nodes", "remove", "--node", "cellar"])
        .success();
    let gone = gateway.cli(&["nodes", "remove", "--node", &one.id]);
    assert!(
        gone.code == 1 && gone.stderr.contains("unknown nodeId"),
        "{gone:?}"
    );
}

#[test]
fn approve_without_an_id_only_shows() {
    let gateway = Gateway::start();
    let nothing = gateway.cli(&["devices", "approve"]);
    assert_eq!(nothing.code, 1);
    assert!(
        (nothing.stderr.clone() + &nothing.stdout)
            .contains("No pending device pairing requests to approve"),
        "{nothing:?}"
    );
    let socket = crate::support::websocket::WebSocket::connect_with(
        gateway.address,
        "/",
        &[("X-Forwarded-For", "203.0.113.9")],
    )
    .unwrap();
    let device = Device::new();
    let params = crate::support::peer::node_params(SECRET, &[]);
    Peer::handshake(socket, params, Some(&device))
        .err()
        .expect("waits");
    for arguments in [
        &["devices", "approve", "--json"][..],
        &["devices", "approve", "--latest", "--json"],
    ] {
        let shown = gateway.cli(arguments);
        assert_eq!(shown.code, 1, "{shown:?}");
        let document = shown.json();
        assert_eq!(
            document["selected"]["deviceId"],
            json!(device.id),
            "{document}"
        );
        assert_eq!(document["approvalState"]["kind"], "new-pairing");
    }
    let list = gateway.cli(&["devices", "list", "--json"]).success().json();
    assert_eq!(
        list["pending"].as_array().unwrap().len(),
        1,
        "nothing was approved: {list}"
    );
    let id = list["pending"][0]["requestId"].as_str().unwrap();
    let approved = gateway.cli(&["devices", "approve", id]).success();
    assert!(
        approved
            .stdout
            .contains(&format!("Approved {} ({id})", device.id)),
        "{approved:?}"
    );
}

#[test]
fn the_configuration_keeps_its_comments_and_is_checked_as_a_whole() {
    let home = Home::new();
    home.write_config("{\n  // the cellar\n  gateway: {\n    mode: 'local', // here\n    auth: { token: '${CELLAR_TOKEN}' },\n  },\n}\n");
    openclaw(&home, &["config", "set", "gateway.port", "18999"]).success();
    let text = home.read("openclaw.json");
    for kept in ["// the cellar", "// here", "${CELLAR_TOKEN}", "18999"] {
        assert!(text.contains(kept), "{kept} is gone:\n{text}");
    }
    assert_eq!(
        openclaw(&home, &["config", "get", "gateway.port"])
            .success()
            .stdout
            .trim(),
        "18999"
    );
    let refused = openclaw(&home, &["config", "set", "gateway.bind", "everywhere"]);
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("gateway.bind"), "{refused:?}");
    assert_eq!(
        home.read("openclaw.json"),
        text,
        "a refused write changes nothing"
    );
    home.write_config("{ gateway: { port: 'x', bogus: 1, bind: 'no' } }");
    let invalid = openclaw(&home, &["config", "validate", "--json"]);
    assert_eq!(invalid.code, 1);
    assert_eq!(
        invalid.json()["issues"].as_array().unwrap().len(),
        3,
        "{invalid:?}"
    );
    let run = openclaw(&home, &["gateway", "run"]);
    assert_eq!(run.code, 78, "{run:?}");
    assert!(run.stderr.contains("gateway.port"), "{run:?}");
    home.write_config(&"[".repeat(200_000));
    let deep = openclaw(&home, &["config", "validate"]);
    assert_eq!(deep.code, 1, "{}", deep.code);
}

#[test]
fn a_gateway_refuses_to_start_with_a_clear_reason() {
    let home = Home::new();
    let missing = openclaw(&home, &["gateway", "run"]);
    assert_eq!(missing.code, 78, "{missing:?}");
    assert!(
        missing.stderr.contains("Missing config") && missing.stderr.contains("gateway.mode local"),
        "{missing:?}"
    );
    for (config, text) in [
        (
            "{ gateway: { auth: { token: 't0ken-of-the-cellar' } } }",
            "missing gateway.mode",
        ),
        (
            "{ gateway: { mode: 'local', auth: { mode: 'password' } } }",
            "no password is configured",
        ),
        (
            "{ gateway: { mode: 'local', bind: 'lan', auth: { mode: 'none' } } }",
            "Refusing to bind gateway to lan without auth.",
        ),
        (
            "{ gateway: { mode: 'local', auth: { token: 'aaaaaaaaaaaa', password: 'bbbbbbbbbbbb' } } }",
            "gateway.auth.mode is unset",
        ),
    ] {
        home.write_config(config);
        let outcome = openclaw(&home, &["gateway", "run"]);
        assert_eq!(outcome.code, 78, "{config}: {outcome:?}");
        assert!(outcome.stderr.contains(text), "{config}: {outcome:?}");
    }
}

#[test]
fn a_second_gateway_on_the_same_state_is_refused() {
    let gateway = Gateway::start();
    let other_port = free_port().to_string();
    let second = gateway.cli(&["gateway", "run", "--port", &other_port]);
    assert_ne!(second.code, 0, "{second:?}");
    assert!(
        second
            .stderr
            .contains(&format!("pid {}", gateway.process.pid())),
        "{second:?}"
    );
    gateway.cli(&["nodes", "status"]).success();
}

#[test]
fn an_owner_with_a_stale_token_in_the_shell_is_told_and_still_sees_everybody() {
    let gateway = Gateway::start();
    // Pairs the command line as an administrator.
    gateway.cli(&["devices", "list"]).success();
    let device = Device::new();
    let afar = [("X-Forwarded-For", "198.51.100.7")];
    let socket = WebSocket::connect_with(gateway.address, "/", &afar).unwrap();
    let params = node_params(SECRET, &["system.which"]);
    assert!(
        Peer::handshake(socket, params, Some(&device)).is_err(),
        "it waits"
    );
    let stale = [("OPENCLAW_GATEWAY_TOKEN", "stale")];
    let pending = openclaw_with(&gateway.home, &stale, &["nodes", "pending", "--json"]);
    assert!(
        pending.stderr.contains("the shared token is refused"),
        "{pending:?}"
    );
    let rows = pending.success().json();
    assert_eq!(rows[0]["deviceId"], json!(device.id), "{rows}");
}

#[test]
fn a_list_of_nodes_hides_no_refusal_behind_the_half_it_has() {
    let records = json!({"pending": [], "paired": [{"nodeId": "n-1", "token": "secret"}]});
    let refusal = json!({"code": "INVALID_REQUEST", "message": "missing scope: operator.read"});
    let busy = json!({"code": "UNAVAILABLE", "message": "not now"});
    for (error, code) in [(refusal, 1), (busy, 0)] {
        let outcome = with_gateway(&StandIn::new(), &["nodes", "list", "--json"], |gateway| {
            let mut visitor = gateway.welcome();
            visitor.answer("node.pair.list", records.clone());
            visitor.refuse("node.list", error.clone());
            if code == 0 {
                visitor.answer("device.pair.list", json!({"pending": [], "paired": []}));
            }
        });
        assert_eq!(outcome.code, code, "{outcome:?}");
        let document = outcome.json();
        if code == 0 {
            assert_eq!(document["paired"][0]["nodeId"], "n-1", "{document}");
            continue;
        }
        assert_eq!(document["error"]["message"], error["message"]);
        assert_eq!(document["paired"], json!(null), "{document}");
    }
}

#[test]
fn clearing_the_devices_removes_the_own_one_last() {
    let gateway = StandIn::new();
    let arguments = ["devices", "clear", "--yes", "--json"];
    let outcome = with_gateway(&gateway, &arguments, |gateway| {
        let mut visitor = gateway.welcome();
        let own = visitor.connect["device"]["id"].clone();
        let paired = json!([{"deviceId": own}, {"deviceId": "b"}, {"deviceId": "c"}]);
        visitor.answer("device.pair.list", json!({"pending": [], "paired": paired}));
        for id in [json!("b"), json!("c"), own] {
            let asked = visitor.answer("device.pair.remove", json!({"deviceId": id}));
            assert_eq!(asked, json!({"deviceId": id}));
        }
    });
    let removed = outcome.success().json()["removedDevices"].clone();
    assert_eq!(removed.as_array().unwrap()[..2], [json!("b"), json!("c")]);
}
