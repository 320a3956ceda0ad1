//! Join keys and pre-approvals from outside: the command line makes them, devices and node hosts use them.

use std::sync::Barrier;

use serde_json::{Value, json};

use crate::support::device::Device;
use crate::support::home::Home;
use crate::support::peer::{Peer, Refused, node_params};
use crate::support::process::{
    Gateway, Outcome, Running, SECRET, command, openclaw, openclaw_with, program,
};
use crate::support::wait_for;
use crate::support::websocket::WebSocket;

/// A header that makes a loopback connection a remote one.
const AFAR: [(&str, &str); 1] = [("X-Forwarded-For", "198.51.100.7")];

const WHICH: [&str; 2] = ["--command", "system.which"];

/// Makes a key with these options and returns the answer.
#[track_caller]
fn make(gateway: &Gateway, options: &[&str]) -> Value {
    let mut arguments = vec!["devices", "keys", "create", "--json"];
    arguments.extend(options);
    gateway.cli(&arguments).success().json()
}

fn secret(made: &Value) -> &str {
    made["key"].as_str().unwrap()
}

/// A node from afar that declares `system.which` and shows `key`.
fn join(gateway: &Gateway, device: &Device, key: &str) -> Result<Peer, Refused> {
    let mut params = node_params("", &["system.which"]);
    params["auth"] = json!({"bootstrapToken": key});
    let socket = WebSocket::connect_with(gateway.address, "/", &AFAR).unwrap();
    Peer::handshake(socket, params, Some(device))
}

#[track_caller]
fn refused(outcome: Result<Peer, Refused>) {
    let error = outcome.err().expect("refused").error;
    assert_eq!(
        error["details"]["code"], "AUTH_BOOTSTRAP_TOKEN_INVALID",
        "{error}"
    );
    assert_eq!(
        error["message"],
        "unauthorized: bootstrap token invalid or expired (scan a fresh setup code)"
    );
}

/// What an operator finds a node able to do, sorted.
fn commands(gateway: &Gateway, device: &str) -> Vec<String> {
    let mut operator = Peer::operator(gateway.address, SECRET);
    let listed = operator.call("node.list", json!({})).unwrap();
    let rows = listed["nodes"].as_array().unwrap();
    let row = rows.iter().find(|row| row["nodeId"] == device);
    let list = row.and_then(|row| row["commands"].as_array());
    let words = list.into_iter().flatten().filter_map(Value::as_str);
    let mut words: Vec<String> = words.map(str::to_owned).collect();
    words.sort_unstable();
    words
}

/// Everything that was written or printed, except the answer that holds the secret.
fn traces(gateway: &Gateway, more: &[&str]) -> String {
    let mut text = gateway.process.output();
    for name in [
        "audit.jsonl",
        "devices/join-keys.json",
        "devices/preapproved.json",
        "devices/paired.json",
    ] {
        text += &gateway.home.read(name);
    }
    for arguments in [
        &["devices", "keys", "list", "--json"][..],
        &["devices", "list"],
        &["devices", "keys", "list"],
    ] {
        let outcome = gateway.cli(arguments).success();
        text += &(outcome.stdout + &outcome.stderr);
    }
    more.iter().for_each(|piece| text += piece);
    text
}

#[test]
fn a_key_lets_its_number_of_new_nodes_work_at_once_and_then_nobody() {
    let gateway = Gateway::start();
    let made = make(
        &gateway,
        &["--uses", "2", "--name", "rack 3", WHICH[0], WHICH[1]],
    );
    let key = secret(&made);
    assert_eq!(
        (key.len(), &made["uses"], &made["status"]),
        (43, &json!(2), &json!("active"))
    );
    let (first, second, third) = (Device::new(), Device::new(), Device::new());
    let mut node = join(&gateway, &first, key).unwrap();
    let mut operator = Peer::operator(gateway.address, SECRET);
    let asked = operator.send(
        "node.invoke",
        json!({"nodeId": first.id, "command": "system.which", "params": {"bins": []}, "idempotencyKey": "k"}),
    );
    node.answer_invoke(&json!({"bins": {}}));
    operator.answer(&asked).unwrap();

    // Coming again by the key or by the token costs nothing.
    drop(join(&gateway, &first, key).unwrap());
    let mut params = node_params("", &["system.which"]);
    params["auth"] = json!({"deviceToken": node.hello["auth"]["deviceToken"]});
    let socket = WebSocket::connect_with(gateway.address, "/", &AFAR).unwrap();
    drop(Peer::handshake(socket, params, Some(&first)).unwrap());
    drop(join(&gateway, &second, key).unwrap());
    refused(join(&gateway, &third, key));

    // A device that was removed does not come back by it.
    gateway.cli(&["devices", "remove", &first.id]).success();
    refused(join(&gateway, &first, key));
    let listed = gateway
        .cli(&["devices", "keys", "list", "--json"])
        .success()
        .json();
    assert_eq!(
        (&listed["keys"][0]["usesLeft"], &listed["keys"][0]["status"]),
        (&json!(0), &json!("used-up"))
    );
    let text = traces(&gateway, &[]);
    assert!(!text.contains(key), "{text}");
    for reason in [
        "it is used up",
        "the device was removed since it joined by it",
        "\"rule\":\"join-key\"",
        "\"key.create\"",
    ] {
        assert!(text.contains(reason), "{reason}\n{text}");
    }
}

#[test]
fn keys_that_are_over_revoked_or_for_elsewhere_say_no_more_than_a_wrong_one() {
    let gateway = Gateway::start();
    refused(join(&gateway, &Device::new(), "a-key-that-nobody-made"));
    let short = make(&gateway, &["--ttl", "1ms"]);
    wait_for("the key to be over", || {
        let listed = gateway
            .cli(&["devices", "keys", "list", "--json"])
            .success()
            .json();
        (listed["keys"][0]["status"] == "expired").then_some(())
    });
    refused(join(&gateway, &Device::new(), secret(&short)));
    let elsewhere = make(&gateway, &["--cidr", "10.0.0.0/8", "192.0.2.1"]);
    refused(join(&gateway, &Device::new(), secret(&elsewhere)));
    let ended = make(&gateway, &["--uses", "5"]);
    let id = ended["id"].as_str().unwrap();
    let revoked = gateway
        .cli(&["devices", "keys", "revoke", &id[..8]])
        .success();
    assert_eq!(revoked.stdout, format!("Revoked join key {id}\n"));
    refused(join(&gateway, &Device::new(), secret(&ended)));
    let operators = make(
        &gateway,
        &["--role", "operator", "--scope", "operator.read"],
    );
    refused(join(&gateway, &Device::new(), secret(&operators)));
    let text = traces(&gateway, &[]);
    for reason in [
        "it has expired",
        "it does not invite from this address",
        "it was revoked",
        "it does not invite to this role",
    ] {
        assert!(text.contains(reason), "{reason}\n{text}");
    }
    for made in [&short, &elsewhere, &ended, &operators] {
        assert!(!text.contains(secret(made)));
    }
}

#[test]
fn of_two_devices_that_race_for_the_last_use_one_joins() {
    let gateway = Gateway::start();
    for _ in 0..5 {
        let made = make(&gateway, &WHICH);
        let devices = [Device::new(), Device::new(), Device::new(), Device::new()];
        let start = Barrier::new(devices.len());
        let joined: Vec<bool> = std::thread::scope(|scope| {
            let racers = devices.iter().map(|device| {
                let (gateway, start, key) = (&gateway, &start, secret(&made));
                scope.spawn(move || {
                    start.wait();
                    join(gateway, device, key).is_ok()
                })
            });
            let racers: Vec<_> = racers.collect();
            racers
                .into_iter()
                .map(|racer| racer.join().unwrap())
                .collect()
        });
        assert_eq!(
            joined.iter().filter(|joined| **joined).count(),
            1,
            "{joined:?}"
        );
    }
}

#[test]
fn a_killed_gateway_neither_doubles_nor_loses_a_use() {
    let mut gateway = Gateway::start();
    let made = make(&gateway, &["--uses", "3", WHICH[0], WHICH[1]]);
    let (first, second) = (Device::new(), Device::new());
    drop(join(&gateway, &first, secret(&made)).unwrap());
    let (keys, paired) = (
        gateway.home.read("devices/join-keys.json"),
        gateway.home.read("devices/paired.json"),
    );
    let nodes = gateway.home.read("nodes/paired.json");
    drop(join(&gateway, &second, secret(&made)).unwrap());
    // What a kill between the steps of the second join leaves: the key alone, then the node too.
    for nodes in [Some(&nodes), None] {
        gateway.process.kill();
        gateway.home.write("devices/paired.json", paired.as_bytes());
        if let Some(nodes) = nodes {
            gateway.home.write("nodes/paired.json", nodes.as_bytes());
        }
        gateway.crash_and_restart();
        drop(join(&gateway, &second, secret(&made)).unwrap());
        assert_eq!(commands(&gateway, &second.id), ["system.which"]);
    }
    assert!(keys.len() < gateway.home.read("devices/join-keys.json").len());
    let listed = gateway
        .cli(&["devices", "keys", "list", "--json"])
        .success()
        .json();
    assert_eq!(listed["keys"][0]["usesLeft"], 1);
}

fn host(gateway: &Gateway, home: &Home, environment: &[(&str, &str)], options: &[&str]) -> Running {
    let url = format!("ws://{}", gateway.address);
    let mut command = command(&program(), home);
    command.envs(environment.iter().copied());
    command.args(["node", "run", "--url", &url]).args(options);
    Running::start(command)
}

const EXEC: [&str; 4] = [
    "--command",
    "system.run",
    "system.run.prepare",
    "system.which",
];

#[test]
fn a_node_host_joins_by_a_key_from_its_environment_and_needs_it_once() {
    let gateway = Gateway::start();
    let url = format!("ws://{}", gateway.address);
    let mut options = vec!["--print-join-command", "--public-url", &url];
    options.extend(EXEC);
    let made = make(&gateway, &options);
    let line = made["joinCommand"].as_str().unwrap();
    let expected = format!(
        " OPENCLAW_SETUP_CODE={} openclaw node run --url {url}",
        secret(&made)
    );
    assert_eq!(line, expected);

    let plain = [
        "--print-join-command",
        "--public-url",
        "http://10.0.0.9:18789",
    ];
    let arguments = [&["devices", "keys", "create"][..], &plain].concat();
    let shown = gateway.cli(&arguments).success();
    assert!(
        shown
            .stdout
            .starts_with(" OPENCLAW_ALLOW_INSECURE_PRIVATE_WS=1 OPENCLAW_SETUP_CODE="),
        "{shown:?}"
    );
    assert!(
        shown
            .stdout
            .ends_with(" openclaw node run --url ws://10.0.0.9:18789\n"),
        "{shown:?}"
    );
    assert!(shown.stderr.contains("speaks plaintext"), "{shown:?}");

    // The line itself, in a shell.
    let home = Home::new();
    let directory = program().parent().unwrap().display().to_string();
    let mut shell = command(std::path::Path::new("/bin/sh"), &home);
    shell.env("PATH", format!("{directory}:/usr/bin:/bin"));
    shell.args(["-c", &format!("exec env {}", line.trim())]);
    let mut node = Running::start(shell);
    node.wait_for_output("node host connected to");
    let arguments = std::fs::read_to_string(format!("/proc/{}/cmdline", node.pid())).unwrap();
    assert!(
        arguments.contains("node") && !arguments.contains(secret(&made)),
        "{arguments}"
    );
    let identity = openclaw(&home, &["node", "identity", "--json"])
        .success()
        .json();
    let id = identity["deviceId"].as_str().unwrap();
    let usable = ["system.run", "system.run.prepare", "system.which"];
    wait_for("the commands", || {
        (commands(&gateway, id) == usable).then_some(())
    });
    let output = node.output();
    node.kill();

    // The key is used up; the token it got is enough.
    let mut again = host(
        &gateway,
        &home,
        &[("OPENCLAW_SETUP_CODE", secret(&made))],
        &[],
    );
    again.wait_for_output("node host connected to");
    let text = traces(
        &gateway,
        &[
            &output,
            &again.output(),
            &home.read("node.json"),
            &home.read("identity/device-auth.json"),
        ],
    );
    assert!(!text.contains(secret(&made)), "{text}");
    again.kill();

    let stranger = Home::new();
    let mut late = host(
        &gateway,
        &stranger,
        &[("OPENCLAW_SETUP_CODE", secret(&made))],
        &[],
    );
    assert_eq!(late.exit_code(), 1);
    assert!(
        late.output()
            .contains("detail=AUTH_BOOTSTRAP_TOKEN_INVALID; exiting"),
        "{}",
        late.output()
    );
}

#[test]
fn a_key_comes_from_a_file_or_stdin_and_bad_ones_are_named_without_being_repeated() {
    let gateway = Gateway::start();
    let made = make(&gateway, &WHICH);
    let home = Home::new();
    home.write("key", format!("{}\n", secret(&made)).as_bytes());
    let path = home.state().join("key");
    let mut node = host(
        &gateway,
        &home,
        &[],
        &["--setup-code-file", path.to_str().unwrap()],
    );
    node.wait_for_output("node host connected to");
    assert!(
        node.output().contains("can be read by others"),
        "{}",
        node.output()
    );
    node.kill();

    let fails = |outcome: Outcome, text: &str| {
        assert_eq!(outcome.code, 1, "{outcome:?}");
        assert!(outcome.stderr.contains(text), "{outcome:?}");
        assert!(!outcome.stderr.contains("two words"), "{outcome:?}");
        assert_eq!(outcome.stdout, "");
    };
    let other = Home::new();
    let both = ["node", "run", "--setup-code", "a", "--setup-code-file", "b"];
    fails(
        openclaw(&other, &both),
        "Use either --setup-code or --setup-code-file, not both.",
    );
    fails(
        openclaw(&other, &["node", "run", "--url", "ws://a", "--host", "b"]),
        "Use either --url or --host, --port and --tls, not both.",
    );
    fails(
        openclaw(&other, &["node", "run", "--url", "http://a"]),
        "Invalid --url",
    );
    fails(
        openclaw(&other, &["node", "run", "--setup-code-file", "/no/such"]),
        "cannot read the setup code from /no/such",
    );
    let env = [("OPENCLAW_SETUP_CODE", "two words")];
    fails(
        openclaw_with(&other, &env, &["node", "run"]),
        "This is no setup code and no join key.",
    );
}

#[test]
fn a_machine_that_was_pre_approved_by_its_key_works_without_a_person() {
    let gateway = Gateway::start();
    let home = Home::new();
    let identity = openclaw(&home, &["node", "identity", "--json"])
        .success()
        .json();
    let text = openclaw(&home, &["node", "identity"]).success().stdout;
    let (id, public) = (
        identity["deviceId"].as_str().unwrap(),
        identity["publicKey"].as_str().unwrap(),
    );
    assert_eq!(text, format!("Device id:   {id}\nPublic key:  {public}\n"));

    let mut arguments = vec!["devices", "preapprove", public, "--name", "Attic"];
    arguments.extend(EXEC);
    let said = gateway.cli(&arguments).success().stdout;
    assert!(
        said.starts_with(&format!("Expecting device {id} (Attic)")),
        "{said}"
    );
    let listed = gateway.cli(&["devices", "list", "--json"]).success().json();
    assert_eq!(listed["preapproved"][0]["deviceId"], id);
    let shown = gateway.cli(&["devices", "list"]).success().stdout;
    assert!(shown.contains("Pre-approved (1)"), "{shown}");

    // Without the right credentials the key alone opens nothing.
    let mut node = host(&gateway, &home, &[("OPENCLAW_GATEWAY_TOKEN", "wrong")], &[]);
    assert_eq!(node.exit_code(), 1);
    let mut node = host(&gateway, &home, &[("OPENCLAW_GATEWAY_TOKEN", SECRET)], &[]);
    node.wait_for_output("node host connected to");
    let usable = ["system.run", "system.run.prepare", "system.which"];
    wait_for("the commands", || {
        (commands(&gateway, id) == usable).then_some(())
    });
    let listed = gateway.cli(&["devices", "list", "--json"]).success().json();
    assert!(listed.get("preapproved").is_none(), "{listed}");
    let again = gateway.cli(&["devices", "preapprove", public]);
    assert_eq!(again.code, 1);
    assert!(
        again
            .stderr
            .contains("this key is paired already as device"),
        "{again:?}"
    );
    let bad = gateway.cli(&["devices", "preapprove", "short", "--json"]);
    assert_eq!(bad.json()["ok"], false);
}

#[test]
fn keys_are_made_and_ended_without_a_running_gateway_too() {
    let mut gateway = Gateway::start();
    gateway.process.signal("TERM");
    assert_eq!(gateway.process.exit_code(), 0);
    let made = make(&gateway, &WHICH);
    let ended = make(&gateway, &WHICH);
    gateway
        .cli(&["devices", "keys", "revoke", ended["id"].as_str().unwrap()])
        .success();
    let listed = gateway
        .cli(&["devices", "keys", "list", "--json"])
        .success()
        .json();
    assert_eq!(listed["keys"].as_array().unwrap().len(), 2);
    let typo = gateway.cli(&["devices", "keys", "create", "--command", "system.rum"]);
    let typo = typo.success().stderr;
    assert!(typo.contains("did you mean system.run?"), "{typo}");
    let exclusive = gateway.cli(&[
        "devices",
        "keys",
        "create",
        "--scope",
        "operator.admin",
        "--role",
        "operator",
        "--json",
    ]);
    assert_eq!(exclusive.code, 1);
    assert!(
        exclusive.json()["error"]["message"]
            .as_str()
            .unwrap()
            .starts_with("an invitation cannot hand out operator.admin")
    );
    gateway.crash_and_restart();
    drop(join(&gateway, &Device::new(), secret(&made)).unwrap());
    refused(join(&gateway, &Device::new(), secret(&ended)));
}

#[test]
fn a_stranger_with_an_old_key_does_not_push_others_out_of_the_trail() {
    let gateway = Gateway::start();
    let made = make(&gateway, &WHICH);
    let id = made["id"].as_str().unwrap();
    gateway.cli(&["devices", "keys", "revoke", id]).success();
    for _ in 0..80 {
        let mut params = node_params("", &["system.which"]);
        params["auth"] = json!({"bootstrapToken": secret(&made)});
        // This host is never locked out.
        let socket = WebSocket::connect(gateway.address);
        refused(Peer::handshake(socket, params, Some(&Device::new())));
    }
    let trail = gateway.home.read("audit.jsonl");
    assert_eq!(trail.matches("invitation.refuse").count(), 60);
}
