use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use super::*;
use crate::node::testing::{TempDir, machine, policy};

/// Long enough for any machine; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(30);

const FULL: &str = r#"{"version":1,"defaults":{"security":"full","ask":"off"}}"#;

type Sent = Receiver<(&'static str, Value)>;

fn host(dir: &TempDir) -> (Arc<Dispatcher>, Uplink, Sent) {
    policy(dir, FULL);
    let (sender, sent) = channel();
    let uplink: Uplink = Arc::new(move |method, params| {
        let _ = sender.send((method, params));
        String::new()
    });
    (Dispatcher::new(Arc::new(machine(dir))), uplink, sent)
}

fn invoke(id: &str, command: &str, params: Value) -> Invoke {
    Invoke {
        id: id.to_owned(),
        node_id: "abc".to_owned(),
        command: command.to_owned(),
        params_json: Some(params.to_string()),
        idempotency_key: None,
    }
}

fn run(id: &str, script: &str) -> Invoke {
    invoke(id, "system.run", json!({"command": ["sh", "-c", script]}))
}

fn next(sent: &Sent) -> (&'static str, Value) {
    sent.recv_timeout(PATIENCE).unwrap()
}

/// The next result, past events.
fn result(sent: &Sent) -> Value {
    loop {
        let (method, params) = next(sent);
        if method == "node.invoke.result" {
            return params;
        }
    }
}

#[test]
fn invokes_are_read_leniently() {
    let full = json!({"id": "1", "nodeId": "n", "command": " c ", "paramsJSON": "{}", "timeoutMs": 1,
        "idempotencyKey": "k"});
    let read = Invoke::parse(&full).unwrap();
    assert_eq!(
        (read.command.as_str(), read.params_json.as_deref()),
        ("c", Some("{}"))
    );
    assert_eq!(read.idempotency_key.as_deref(), Some("k"));
    let loose =
        json!({"id": "1", "nodeId": "n", "command": "c", "paramsJSON": null, "params": {"a": 1}});
    assert_eq!(
        Invoke::parse(&loose).unwrap().params_json.as_deref(),
        Some("{\"a\":1}")
    );
    for bad in [
        json!({"nodeId": "n", "command": "c"}),
        json!({"id": " ", "nodeId": "n", "command": "c"}),
        json!({"id": "1", "nodeId": 2, "command": "c"}),
        json!(null),
    ] {
        assert_eq!(Invoke::parse(&bad), None);
    }
}

#[test]
fn faults_have_the_specified_words() {
    let dir = TempDir::new();
    let (dispatcher, uplink, sent) = host(&dir);
    let with = |command: &str, params: Option<&str>| {
        let mut invoke = invoke("1", command, json!({}));
        invoke.params_json = params.map(str::to_owned);
        invoke
    };
    let required = "Error: INVALID_REQUEST: paramsJSON required";
    let cases = [
        (
            with("camera.snap", None),
            "UNAVAILABLE",
            "command not supported",
        ),
        (with("system.which", None), "INVALID_REQUEST", required),
        (with("system.run", Some("")), "INVALID_REQUEST", required),
        (
            with("system.run", Some("{")),
            "INVALID_REQUEST",
            "SyntaxError: EOF while parsing",
        ),
        (
            with("system.run", Some("[]")),
            "INVALID_REQUEST",
            "command required",
        ),
        (
            with("system.execApprovals.set", Some("{}")),
            "INVALID_REQUEST",
            "Error: INVALID_REQUEST: exec approvals file required",
        ),
    ];
    for (invoke, code, message) in cases {
        dispatcher.dispatch(invoke, &uplink);
        let params = result(&sent);
        assert_eq!(
            (&params["ok"], &params["error"]["code"]),
            (&json!(false), &json!(code))
        );
        let said = params["error"]["message"].as_str().unwrap();
        assert!(said.starts_with(message), "{said}");
    }
    dispatcher.dispatch(with("system.execApprovals.get", None), &uplink);
    let payload: Value =
        serde_json::from_str(result(&sent)["payloadJSON"].as_str().unwrap()).unwrap();
    assert_eq!(payload["exists"], true);
}

#[test]
fn the_event_goes_before_the_result_and_nobody_waits_for_an_answer() {
    let dir = TempDir::new();
    let (dispatcher, uplink, sent) = host(&dir);
    dispatcher.dispatch(run("1", "echo hi"), &uplink);
    let (method, params) = next(&sent);
    assert_eq!(
        (method, &params["event"]),
        ("node.event", &json!("exec.finished"))
    );
    let payload: Value = serde_json::from_str(params["payloadJSON"].as_str().unwrap()).unwrap();
    assert_eq!(payload["output"], "hi");
    let (method, params) = next(&sent);
    assert_eq!(
        (method, &params["id"], &params["nodeId"]),
        ("node.invoke.result", &json!("1"), &json!("abc"))
    );
    let payload: Value = serde_json::from_str(params["payloadJSON"].as_str().unwrap()).unwrap();
    assert_eq!(payload["stdout"], "hi\n");
}

#[test]
fn a_long_run_delays_nothing_and_runs_are_bounded() {
    let dir = TempDir::new();
    let (dispatcher, uplink, sent) = host(&dir);
    let gate = dir.path().join("gate");
    let script = format!("until [ -e '{}' ]; do sleep 0.02; done", gate.display());
    for index in 0..MAX_RUNS {
        dispatcher.dispatch(run(&index.to_string(), &script), &uplink);
    }
    dispatcher.dispatch(
        invoke("which", "system.which", json!({"bins": ["sh"]})),
        &uplink,
    );
    assert_eq!(result(&sent)["id"], "which");
    let keyed = |id: &str| Invoke {
        idempotency_key: Some("k".to_owned()),
        ..run(id, "true")
    };
    dispatcher.dispatch(keyed("one more"), &uplink);
    let refused = result(&sent);
    assert_eq!(
        (&refused["id"], &refused["error"]["code"]),
        (&json!("one more"), &json!("UNAVAILABLE"))
    );
    assert!(
        refused["error"]["message"]
            .as_str()
            .unwrap()
            .starts_with("node busy: 32 ")
    );
    std::fs::write(&gate, "").unwrap();
    for _ in 0..MAX_RUNS {
        assert_eq!(result(&sent)["ok"], true);
    }
    // The refusal was no run: the same key is tried anew.
    dispatcher.dispatch(keyed("after"), &uplink);
    let after = result(&sent);
    assert_eq!(
        (
            &after["id"],
            &after["ok"],
            dispatcher.runs.load(Ordering::Acquire)
        ),
        (&json!("after"), &json!(true), 0)
    );
}

#[test]
fn a_repeated_key_joins_and_replays() {
    let dir = TempDir::new();
    let (dispatcher, uplink, sent) = host(&dir);
    let (gate, log) = (dir.path().join("gate"), dir.path().join("log"));
    let script = format!(
        "echo run >> '{}'; until [ -e '{}' ]; do sleep 0.02; done",
        log.display(),
        gate.display()
    );
    let keyed = |id: &str| Invoke {
        idempotency_key: Some("k".to_owned()),
        ..run(id, &script)
    };
    dispatcher.dispatch(keyed("1"), &uplink);
    dispatcher.dispatch(keyed("2"), &uplink);
    std::fs::write(&gate, "").unwrap();
    let ids =
        [result(&sent), result(&sent)].map(|params| params["id"].as_str().unwrap().to_owned());
    assert_eq!(ids, ["1", "2"]);
    dispatcher.dispatch(keyed("3"), &uplink);
    let replayed = result(&sent);
    assert_eq!(
        (&replayed["id"], &replayed["ok"]),
        (&json!("3"), &json!(true))
    );
    assert_eq!(std::fs::read_to_string(&log).unwrap(), "run\n");
}

#[test]
fn a_session_that_is_gone_loses_its_answer_only() {
    let dir = TempDir::new();
    let (dispatcher, uplink, sent) = host(&dir);
    drop(sent);
    let log = dir.path().join("log");
    let script = format!("echo run >> '{}'", log.display());
    dispatcher.dispatch(run("1", &script), &uplink);
    let deadline = Instant::now() + PATIENCE;
    while dispatcher.runs.load(Ordering::Acquire) > 0 {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(std::fs::read_to_string(&log).unwrap(), "run\n");
}
