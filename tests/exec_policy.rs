//! `openclaw approvals get|set|allowlist|check`: the exec policy of this machine, a gateway and a node, edited and asked
//! from the command line.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::main_job::{approve_all, start_node};
use crate::support::home::Home;
use crate::support::process::{Gateway, Outcome, command, openclaw, openclaw_with, program};
use crate::support::stand_in::{StandIn, with_gateway};

const FILE: &str = "exec-approvals.json";
const EMPTY_HASH: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn approvals(home: &Home, arguments: &[&str]) -> Outcome {
    openclaw(home, &[&["approvals"], arguments].concat())
}

/// Runs a line as a person pastes it.
fn paste(home: &Home, line: &str) -> Outcome {
    let line = line.replacen("openclaw", &format!("'{}'", program().display()), 1);
    let mut shell = command("/bin/sh".as_ref(), home);
    let output = shell.args(["-c", &line]).output().unwrap();
    Outcome {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

fn patterns(document: &Value, agent: &str) -> Vec<String> {
    let rules = document["file"]["agents"][agent]["allowlist"].as_array();
    let rules = rules.into_iter().flatten();
    rules
        .map(|rule| rule["pattern"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn this_machines_policy_is_edited_without_a_gateway() {
    let home = Home::new();
    let empty = approvals(&home, &["get", "--json"]).success().json();
    assert_eq!(empty["exists"], false);
    assert_eq!(empty["hash"], EMPTY_HASH);
    assert_eq!(
        empty["file"],
        json!({"version": 1, "socket": {}, "defaults": {}, "agents": {}})
    );
    assert_eq!(
        empty["effectivePolicy"]["scopes"][0]["security"]["effective"],
        "allowlist"
    );
    assert!(!home.state().join(FILE).exists(), "a look writes nothing");

    let added = approvals(&home, &["allowlist", "add", "/usr/bin/uname"]).success();
    assert!(
        added.stdout.starts_with("Writing local approvals.\n"),
        "{added:?}"
    );
    assert_eq!(added.stderr, "");
    let mode = home
        .state()
        .join(FILE)
        .metadata()
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let written = home.read(FILE);
    let again = approvals(&home, &["allowlist", "add", "/usr/bin/uname"]).success();
    assert_eq!(again.stdout, "Already allowlisted.\n");
    let again = approvals(&home, &["allowlist", "add", "/usr/bin/uname", "--json"])
        .success()
        .json();
    assert_eq!(patterns(&again, "*"), ["/usr/bin/uname"]);
    assert_eq!(home.read(FILE), written, "nothing was changed");
    let typo = approvals(&home, &["allowlist", "add", "/usr/bin/unmae"]).success();
    let warning = "nothing is at /usr/bin/unmae now";
    assert!(typo.stderr.contains(warning), "{typo:?}");
    assert!(!typo.stdout.contains("just now"), "none was used: {typo:?}");
    approvals(&home, &["allowlist", "remove", "/usr/bin/unmae"]).success();

    approvals(&home, &["allowlist", "add", "git", "--agent", "ci"]).success();
    let shown = approvals(&home, &["get"]).success();
    for part in [
        "Showing local approvals.",
        "│ Target    │ local ",
        "│ Path      │ ~/.openclaw/exec-approvals.json",
        "│ local  │ ci    │ git ",
        "Effective Policy",
        "Precedence: ",
    ] {
        assert!(shown.stdout.contains(part), "{part}\n{}", shown.stdout);
    }
    let token = home.json(FILE)["socket"]["token"]
        .as_str()
        .unwrap()
        .to_owned();
    let document = approvals(&home, &["get", "--json"]).success();
    assert!(!shown.stdout.contains(&token) && !document.stdout.contains(&token));

    let missing = approvals(&home, &["allowlist", "remove", "git"]).success();
    assert_eq!(missing.stdout, "Pattern not found.\n");
    assert!(missing.stderr.contains("--agent ci"), "{missing:?}");
    let removed = approvals(
        &home,
        &["allowlist", "remove", "git", "--agent", "ci", "--json"],
    );
    assert_eq!(
        removed.success().json()["file"]["agents"].get("ci"),
        None,
        "an empty agent goes"
    );
    let elsewhere = home.path().join("other");
    let variable = [("OPENCLAW_STATE_DIR", elsewhere.to_str().unwrap())];
    openclaw_with(
        &home,
        &variable,
        &["approvals", "allowlist", "add", "/usr/bin/id"],
    )
    .success();
    assert!(elsewhere.join(FILE).exists());
}

#[test]
fn a_policy_is_read_whole_before_it_replaces_another() {
    let home = Home::new();
    let set = |text: &str, more: &[&str]| {
        home.write("new.json5", text.as_bytes());
        let path = home.state().join("new.json5");
        approvals(
            &home,
            &[&["set", "--file", path.to_str().unwrap()], more].concat(),
        )
    };
    let good = "{ version: 1, /* so */ defaults: { security: 'allowlist', ask: 'off', }, }";
    let first = set(good, &["--json"]).success().json();
    assert_eq!(
        first["file"]["defaults"],
        json!({"security": "allowlist", "ask": "off"})
    );
    let written = home.read(FILE);
    for (text, parts) in [
        (
            "{\n version: 1,\n defaults: { securty: 'deny' } }",
            &["unknown field `securty`", "line 3 column"][..],
        ),
        (
            "{\"version\": 1, \"defaults\": {\"ask\": \"sometimes\"}}",
            &["unknown variant `sometimes`", "line 1 column"],
        ),
        (
            "{ version: 1,",
            &["Failed to parse approvals JSON: ", "at 1:"],
        ),
    ] {
        let refused = set(text, &["--json"]);
        assert_eq!(refused.code, 1);
        let message = refused.json()["error"]["message"]
            .as_str()
            .unwrap()
            .to_owned();
        for part in parts {
            assert!(message.contains(part), "{message}");
        }
    }
    for (arguments, text) in [
        (&["set"][..], "Provide --file or --stdin."),
        (
            &["set", "--file", "x", "--stdin"],
            "Use either --file or --stdin (not both).",
        ),
        (
            &["set", "--file", "/nope"],
            "ENOENT: no such file or directory, open '/nope'",
        ),
        (
            &["set", "--file", "x", "--gateway", "--node", "y"],
            "ENOENT",
        ),
        (
            &["get", "--gateway", "--node", "y"],
            "error: --gateway and --node cannot be used together",
        ),
    ] {
        let refused = approvals(&home, arguments);
        assert!(
            refused.code == 1 && refused.stderr.contains(text),
            "{arguments:?}: {refused:?}"
        );
        assert_eq!(refused.stdout, "", "nothing is announced");
    }
    assert_eq!(home.read(FILE), written);

    let base = first["hash"].as_str().unwrap();
    approvals(&home, &["allowlist", "add", "/usr/bin/id"]).success();
    let stale = set(good, &["--base-hash", base, "--json"]);
    assert_eq!(stale.code, 1);
    let error = &stale.json()["error"];
    assert_eq!(error["message"], "exec approvals changed; reload and retry");
    assert_eq!(error["code"], "INVALID_REQUEST");

    let token = home.json(FILE)["socket"]["token"].clone();
    let mut from_stdin = command(&program(), &home);
    from_stdin.args(["approvals", "set", "--stdin", "--json"]);
    from_stdin.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = from_stdin.spawn().unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(b"{ version: 1 }")
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(
        home.json(FILE)["socket"]["token"],
        token,
        "the secret stays"
    );
}

#[test]
fn a_broken_policy_is_kept_and_named_with_line_and_column() {
    let home = Home::new();
    let broken = "{ \"version\": 1,\n  \"defaults\": { \"securty\": \"deny\" } }\n";
    home.write(FILE, broken.as_bytes());
    for arguments in [
        &["get"][..],
        &["allowlist", "add", "/usr/bin/id"],
        &["allowlist", "remove", "/usr/bin/id"],
    ] {
        let refused = approvals(&home, &[arguments, &["--json"]].concat());
        assert_eq!(refused.code, 1);
        let error = &refused.json()["error"];
        let message = error["message"].as_str().unwrap();
        assert!(message.contains("exec-approvals.json: "), "{message}");
        assert!(
            message.contains("unknown field `securty`") && message.contains("line 2 column"),
            "{message}"
        );
        assert!(
            error["hint"]
                .as_str()
                .unwrap()
                .contains("approvals set --file"),
            "{error}"
        );
        assert_eq!(home.read(FILE), broken);
    }
    let gateway = Gateway::start();
    let _node = start_node(&home, &gateway);
    approve_all(&gateway);
    let add = [
        "allowlist",
        "add",
        "/usr/bin/id",
        "--node",
        "lab node",
        "--json",
    ];
    let refused = gateway.cli(&[&["approvals"], &add[..]].concat());
    assert_eq!(refused.code, 1);
    let message = refused.json()["error"]["message"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        message.contains("line 2 column"),
        "no rule is added to an empty policy: {message}"
    );
    assert_eq!(home.read(FILE), broken);
    let shown = gateway
        .cli(&["approvals", "get", "--node", "lab node"])
        .success();
    assert!(shown.stdout.contains("│ Broken "), "{shown:?}");
    let judged = approvals(&home, &["check", "--json", "--", "/bin/true"]);
    assert_eq!(judged.code, 1);
    assert!(
        judged.json()["message"]
            .as_str()
            .unwrap()
            .contains("line 2 column"),
        "{judged:?}"
    );
}

#[test]
fn a_pattern_that_covers_nothing_is_refused_and_a_wide_one_explained() {
    let home = Home::new();
    for (pattern, text) in [
        ("bin/tool", "type /path/to/bin/tool"),
        ("", "the pattern is empty"),
        ("/usr/bin/l\ns", "a character that nobody sees"),
        ("/usr/bin/", "'/usr/bin/*'"),
    ] {
        let refused = approvals(&home, &["allowlist", "add", pattern]);
        assert!(
            refused.code == 1 && refused.stderr.contains(text),
            "{pattern:?}: {refused:?}"
        );
        assert!(!home.state().join(FILE).exists());
    }
    let bare = approvals(&home, &["allowlist", "add", "uname"]).success();
    assert!(
        bare.stderr.contains("Note: uname covers whichever program"),
        "{bare:?}"
    );
    let shell = approvals(&home, &["allowlist", "add", "/bin/sh"]).success();
    assert!(
        shell.stderr.starts_with("Warning: sh is a shell"),
        "{shell:?}"
    );
    let told = approvals(&home, &["allowlist", "add", "/usr/bin/python3", "--json"]).success();
    assert!(told.json()["warning"].is_string(), "{told:?}");
}

#[test]
fn check_says_whether_it_would_run_and_its_line_makes_it_run() {
    let home = Home::new();
    let program = home.path().join("my tool");
    std::fs::write(&program, "#!/bin/sh\n").unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let program = program.to_str().unwrap();
    let check = |more: &[&str]| approvals(&home, &[&["check", "--json"], more].concat());
    let refused = check(&["--", program, "--json", "--help"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    let document = refused.json();
    assert_eq!(document["verdict"], "refuse");
    assert_eq!(
        document["command"],
        json!([program, "--json", "--help"]),
        "flags behind -- are the command's"
    );
    assert_eq!(document["segments"][0]["by"], Value::Null);
    let line = document["allowWith"].as_str().unwrap();
    assert!(
        line.starts_with("openclaw approvals allowlist add '"),
        "{line}"
    );
    paste(&home, line).success();
    let allowed = check(&["--agent", "ops", "--", program]).success().json();
    assert_eq!(allowed["verdict"], "run");
    assert_eq!(allowed["segments"][0]["pattern"], program);
    assert_eq!(allowed["segments"][0]["agent"], "*");
    assert_eq!(allowed.get("allowWith"), None);
    let shown = approvals(&home, &["check", program]).success();
    assert!(shown.stdout.starts_with("Would run: "), "{shown:?}");
    assert!(
        shown
            .stdout
            .contains("Security: allowlist (the default, nothing is set)"),
        "{shown:?}"
    );
    home.write_config("{ tools: { exec: { security: 'deny' } } }");
    let denied = approvals(&home, &["check", "--", program]);
    assert_eq!(denied.code, 1);
    assert!(
        denied
            .stdout
            .contains("tools.exec.security in openclaw.json"),
        "{denied:?}"
    );
    let usage = approvals(&home, &["check", "--json"]);
    assert_eq!(usage.code, 1);
    assert_eq!(usage.json()["error"]["code"], "USAGE");
}

#[test]
fn an_edit_that_crosses_another_is_made_anew_and_a_replacement_is_refused() {
    let gateway = StandIn::new();
    let snapshot = |hash: &str, rule: &str| {
        json!({"path": "/g/exec-approvals.json", "exists": true, "hash": hash, "file": {
            "version": 1, "socket": {"path": "/s", "token": "never-shown"},
            "agents": {"*": {"allowlist": [{"id": "i", "pattern": rule}]}}}})
    };
    let conflict = json!({"code": "INVALID_REQUEST",
        "message": "exec approvals changed since last load; re-run exec.approvals.get and retry"});
    let line = [
        "approvals",
        "allowlist",
        "add",
        "/usr/bin/id",
        "--gateway",
        "--json",
    ];
    let added = with_gateway(&gateway, &line, |gateway| {
        let mut visitor = gateway.welcome();
        assert!(
            visitor.connect["scopes"]
                .to_string()
                .contains("operator.admin")
        );
        visitor.answer("exec.approvals.get", snapshot("one", "/usr/bin/a"));
        let first = visitor.refuse("exec.approvals.set", conflict.clone());
        assert_eq!(first["baseHash"], "one");
        visitor.answer("exec.approvals.get", snapshot("two", "/usr/bin/b"));
        let second = visitor.answer("exec.approvals.set", snapshot("three", "/usr/bin/b"));
        assert_eq!(second["baseHash"], "two");
        assert_eq!(
            patterns(&second, "*"),
            ["/usr/bin/b", "/usr/bin/id"],
            "nothing of the other edit is lost"
        );
        assert_eq!(second["file"]["socket"], json!({"path": "/s"}));
    });
    let added = added.success();
    assert!(!added.stdout.contains("never-shown"), "{added:?}");

    let home = gateway.home();
    home.write("new.json", b"{\"version\":1}");
    let path = home.state().join("new.json");
    let line = [
        "approvals",
        "set",
        "--file",
        path.to_str().unwrap(),
        "--gateway",
        "--json",
    ];
    let refused = with_gateway(&gateway, &line, |gateway| {
        let mut visitor = gateway.welcome();
        visitor.answer("exec.approvals.get", snapshot("one", "/usr/bin/a"));
        visitor.refuse("exec.approvals.set", conflict.clone());
    });
    assert_eq!(refused.code, 1);
    assert_eq!(refused.json()["error"]["message"], conflict["message"]);

    let shown = with_gateway(
        &gateway,
        &["approvals", "get", "--gateway", "--json"],
        |gateway| {
            let mut visitor = gateway.welcome();
            visitor.answer("exec.approvals.get", snapshot("one", "/usr/bin/a"));
            let unknown =
                json!({"code": "INVALID_REQUEST", "message": "unknown method: config.get"});
            visitor.refuse("config.get", unknown);
        },
    );
    let policy = shown.success().json()["effectivePolicy"].clone();
    assert_eq!(policy["scopes"], json!([]));
    assert!(
        policy["note"]
            .as_str()
            .unwrap()
            .contains("unknown method: config.get"),
        "{policy}"
    );

    let configured = with_gateway(
        &gateway,
        &["approvals", "get", "--gateway", "--json"],
        |gateway| {
            let mut visitor = gateway.welcome();
            visitor.answer("exec.approvals.get", snapshot("one", "/usr/bin/a"));
            let configuration = json!({"tools": {"exec": {"ask": "always"}}});
            visitor.answer(
                "config.get",
                json!({"path": "/g/openclaw.json", "config": configuration}),
            );
        },
    );
    let policy = configured.success().json()["effectivePolicy"].clone();
    assert_eq!(
        policy["scopes"][0]["ask"]["requestedSource"], "tools.exec.ask",
        "{policy}"
    );
    assert_eq!(
        policy["scopes"][0]["allowedDecisions"],
        json!(["allow-once", "deny"])
    );
}

#[test]
fn a_nodes_policy_is_asked_and_narrowed_from_elsewhere_and_widened_where_it_says_so() {
    let gateway = Gateway::start();
    let home = Home::new();
    approvals(&home, &["allowlist", "add", "/usr/bin/uname"]).success();
    let _node = start_node(&home, &gateway);
    approve_all(&gateway);
    let ask = |arguments: &[&str]| {
        gateway.cli(&[&["approvals"], arguments, &["--node", "lab node"]].concat())
    };

    let shown = ask(&["get", "--json"]).success().json();
    assert_eq!(patterns(&shown, "*"), ["/usr/bin/uname"]);
    assert_eq!(shown["file"]["socket"].get("token"), None);
    // A gateway that lists no such method is not asked for its configuration.
    let note = shown["effectivePolicy"]["note"].as_str().unwrap();
    assert!(note.contains("openclaw approvals check"), "{note}");
    let log = gateway.process.output();
    assert!(!log.contains("config.get"), "{log}");
    let check = |argv: &[&str]| {
        gateway.cli(
            &[
                &["approvals", "check", "--node", "lab node", "--json", "--"],
                argv,
            ]
            .concat(),
        )
    };
    let run = check(&["uname", "-a"]).success().json();
    assert_eq!(run["segments"][0]["pattern"], "/usr/bin/uname", "{run}");
    let refused = check(&["/usr/bin/id"]);
    assert_eq!(refused.code, 1);
    let line = refused.json()["allowWith"].as_str().unwrap().to_owned();
    assert_eq!(
        line, "openclaw approvals allowlist add /usr/bin/id",
        "for the node itself"
    );

    let widened = ask(&["allowlist", "add", "/usr/bin/id", "--json"]);
    assert_eq!(widened.code, 1, "{widened:?}");
    let message = widened.json()["error"]["message"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        message.contains("nodeHost.execApprovals.remoteEdits"),
        "{message}"
    );
    let same = ask(&["allowlist", "add", "/usr/bin/uname"]).success();
    assert_eq!(same.stdout, "Already allowlisted.\n");

    // The way that the refusal names, on the node itself; no restart.
    openclaw(
        &home,
        &[
            "config",
            "set",
            "nodeHost.execApprovals.remoteEdits",
            "widen",
        ],
    )
    .success();
    let refused = check(&["/usr/bin/id"]);
    let line = refused.json()["allowWith"].as_str().unwrap().to_owned();
    assert!(line.contains(" --node "), "{line}");
    paste(&gateway.home, &line).success();
    let run = check(&["/usr/bin/id"]).success().json();
    assert_eq!(run["verdict"], "run");
    let taken = ask(&["allowlist", "remove", "/usr/bin/id", "--json"])
        .success()
        .json();
    assert_eq!(patterns(&taken, "*"), ["/usr/bin/uname"]);
    // The gateway's own machine has a policy of its own.
    let line = [
        "approvals",
        "allowlist",
        "add",
        "/usr/bin/tail",
        "--gateway",
        "--json",
    ];
    let own = gateway.cli(&line).success().json();
    assert_eq!(patterns(&own, "*"), ["/usr/bin/tail"]);
    assert!(gateway.home.read(FILE).contains("/usr/bin/tail"));
    let unknown = gateway.cli(&["approvals", "get", "--node", "zzz", "--json"]);
    assert_eq!(unknown.json()["error"]["code"], "NODE_UNKNOWN");
}
