//! How a browser starts: what else may have its port or its directory, who may stop it meanwhile, what it is given and
//! where it keeps its things. Some of these browsers are scripts of the test's own.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::node::{Node, OPEN, config, kill, no_process_of, payload, processes_of};
use crate::site::Site;
use crate::support::home::Home;
use crate::support::process::free_port;
use crate::support::wait_for;

/// A home whose browser is a script: it leaves `started` beside itself, then does `more`.
struct Pretended {
    home: Home,
    port: u16,
    started: PathBuf,
}

impl Pretended {
    fn new(more: &str, browser: &str) -> Pretended {
        let (home, port) = (Home::new(), free_port());
        let started = home.path().join("started");
        let script = format!("#!/bin/sh\n: >{}\n{more}\n", started.display());
        let script = script.replace("PORT", &port.to_string());
        home.write("bin/browser", script.as_bytes());
        let program = home.state().join("bin/browser");
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
        let browser = format!("executablePath: {program:?}, {browser}");
        home.write_config(&config(port, &browser, ""));
        Pretended {
            home,
            port,
            started,
        }
    }
}

/// Waits until the browser has started, then answers at its port as a browser with another socket would; gives the
/// first lines of the requests.
fn take_the_port(started: PathBuf, port: u16) -> Arc<Mutex<Vec<String>>> {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&asked);
    // Ends with the process of the tests.
    std::thread::spawn(move || {
        wait_for("the browser to start", || started.exists().then_some(()));
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let body = json!({"webSocketDebuggerUrl": format!("ws://127.0.0.1:{port}/devtools/browser/stranger")});
        let body = body.to_string();
        for mut stream in listener.incoming().flatten() {
            let mut lines = BufReader::new(stream.try_clone().unwrap());
            let mut head = String::new();
            while lines.read_line(&mut head).is_ok_and(|read| read > 2) {}
            heard.lock().unwrap().push(head);
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    asked
}

#[test]
fn a_stranger_who_takes_the_port_is_never_attached_to() {
    let own =
        "echo 'DevTools listening on ws://127.0.0.1:PORT/devtools/browser/own' >&2; exec sleep 600";
    let portless =
        "sleep 1; echo 'ERROR: Cannot start http server for devtools.' >&2; exec sleep 600";
    for (more, told) in [
        (own, "another program has taken its port"),
        (portless, "another program has taken its port"),
        (
            "exec sleep 600",
            "it did not say within 2000ms that it listens there",
        ),
    ] {
        let pretended = Pretended::new(more, "localLaunchTimeoutMs: 2000");
        let asked = take_the_port(pretended.started, pretended.port);
        let mut node = Node::at(pretended.home, pretended.port);
        let error = node.post("/start", json!({})).unwrap_err();
        assert!(error.contains(told), "{error}");
        let asked = asked.lock().unwrap();
        assert!(
            !asked.iter().any(|head| head.contains("stranger")),
            "{asked:?}"
        );
        assert_eq!(no_process_of(&node.user_data()), Some(()));
    }
}

#[test]
fn a_start_can_be_stopped_and_counts_as_no_failure() {
    let pretended = Pretended::new("exec sleep 600", "");
    let started = pretended.started.clone();
    let mut node = Node::at(pretended.home, pretended.port);
    let user_data = node.user_data();
    let post = |path: &str| json!({"method": "POST", "path": path, "timeoutMs": 60_000});
    for _ in 0..4 {
        node.caller
            .start_invoke("start", "browser.proxy", &post("/start"));
        wait_for("the browser to start", || started.exists().then_some(()));
        std::fs::remove_file(&started).unwrap();
        node.caller
            .start_invoke("stop", "browser.proxy", &post("/stop"));
        let (start, stop) = both(&mut node, "start", "stop");
        let told = "Error: Error: the browser was stopped while it was starting; the next request starts it again";
        assert_eq!(start, Err(told.to_owned()));
        assert_eq!(stop.unwrap()["result"]["stopped"], true);
        assert_eq!(no_process_of(&user_data), Some(()));
    }
}

/// The results of two invokes, whichever comes first.
fn both(
    node: &mut Node,
    first: &str,
    second: &str,
) -> (Result<Value, String>, Result<Value, String>) {
    let mut results = std::collections::HashMap::new();
    while results.len() < 2 {
        let request = node.caller.request();
        if request["method"] == "node.invoke.result" {
            let id = request["params"]["id"].as_str().unwrap().to_owned();
            results.insert(id, payload(&request["params"]));
        }
    }
    let mut take = |id: &str| results.remove(id).unwrap();
    (take(first), take(second))
}

#[test]
fn a_stop_and_a_start_at_once_leave_a_browser_that_answers() {
    let mut node = Node::start();
    node.post("/start", json!({})).unwrap();
    let post = |path: &str| json!({"method": "POST", "path": path, "timeoutMs": 60_000});
    for _ in 0..3 {
        node.caller
            .start_invoke("stop", "browser.proxy", &post("/stop"));
        node.caller
            .start_invoke("start", "browser.proxy", &post("/start"));
        let (stop, start) = both(&mut node, "stop", "start");
        stop.unwrap();
        // A start that came first was stopped; the next one is not.
        if let Err(told) = start {
            assert!(told.contains("was stopped while it was starting"), "{told}");
        }
        assert_eq!(node.show("about:blank")["url"], "about:blank");
    }
}

#[test]
fn a_directory_that_another_browser_uses_is_told_with_the_key_to_change() {
    let (home, port, other) = (Home::new(), free_port(), free_port());
    let shared = home.path().join("shared");
    let profiles = format!(
        "{OPEN}, profiles: {{ openclaw: {{ cdpPort: {port}, userDataDir: {shared:?} }},
         work: {{ cdpPort: {other}, userDataDir: {shared:?} }}, same: {{ cdpPort: {port} }} }}"
    );
    home.write_config(&config(port, &profiles, ""));
    let mut node = Node::at(home, port);
    node.post("/start", json!({})).unwrap();
    let pid = node.pid();
    let told = node.post("/start", json!({"profile": "work"})).unwrap_err();
    let expected = format!(
        "process {pid} uses its directory {}; end that one, or set browser.profiles.work.userDataDir to another directory",
        shared.display()
    );
    assert!(told.contains(&expected), "{told}");
    assert_eq!(node.pid(), pid, "the other one goes on");
    let told = node.post("/start", json!({"profile": "same"})).unwrap_err();
    let expected = format!(
        "profiles \"openclaw\" and \"same\" have the same debugging port {port}; set browser.profiles.same.cdpPort to another one"
    );
    assert!(told.ends_with(&expected), "{told}");
    node.post("/stop", json!({})).unwrap();
    wait_for("the browser to end", || no_process_of(&shared));
}

/// The files below a directory, without those of `left_out`.
fn files(directory: &Path, left_out: &[&str]) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap().flatten();
    let entries = entries.filter(|entry| !left_out.iter().any(|name| entry.file_name() == *name));
    entries
        .flat_map(|entry| {
            let path = entry.path();
            if path.is_dir() && !path.is_symlink() {
                let inside = files(&path, &[]);
                if !inside.is_empty() {
                    return inside;
                }
            }
            vec![path]
        })
        .collect()
}

#[test]
fn a_browser_leaves_nothing_in_the_home_directory() {
    let (mut node, site) = (Node::start(), Site::start());
    let file = "Content-Disposition: attachment; filename=kept.txt\r\nContent-Type: text/plain\r\n";
    site.answer("/file", "200 OK", file, "kept");
    node.show(&site.page("/", "Page", "<a href=/file>File</a><button>Go</button>"));
    node.post("/act", json!({"kind": "click", "selector": "a"}))
        .unwrap();
    wait_for("the file to be asked for", || {
        site.asked().contains(&"/file".to_owned()).then_some(())
    });
    // A renderer that crashes is reported about, if anything is.
    let crash = json!({"method": "POST", "path": "/navigate", "body": {"url": "about:blank"}, "timeoutMs": 60_000});
    node.ask(&crash).unwrap();
    let renderer = processes_of(&node.user_data()).into_iter().find(|pid| {
        let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&arguments).contains("--type=renderer")
    });
    if let Some(pid) = renderer {
        let segv = std::process::Command::new("kill")
            .args(["-SEGV", &pid.to_string()])
            .status();
        assert!(segv.unwrap().success());
    }
    node.get("/tabs").unwrap();
    node.post("/stop", json!({})).unwrap();
    wait_for("the browser to end", || no_process_of(&node.user_data()));
    let left = files(node.home.path(), &[".openclaw", "tmp"]);
    assert_eq!(left, Vec::<PathBuf>::new());
    // Nobody waited for the file.
    let downloads = node.home.state().join("browser/openclaw/downloads");
    assert!(!downloads.join("kept.txt").exists());
}

#[test]
fn a_browser_is_given_no_secrets_and_no_loader_variables() {
    let (home, port) = (Home::new(), free_port());
    home.write_config(&config(port, OPEN, ""));
    let environment = [
        ("OPENCLAW_GATEWAY_TOKEN", "not for browsers"),
        ("LD_LIBRARY_PATH", "/nowhere"),
        ("NODE_OPTIONS", "--inspect"),
        ("HTTPS_PROXY", "http://127.0.0.1:9"),
        ("LANG", "C.UTF-8"),
    ];
    let mut node = Node::given(home, port, &environment);
    node.post("/start", json!({})).unwrap();
    let given = std::fs::read(format!("/proc/{}/environ", node.pid())).unwrap();
    let given = String::from_utf8_lossy(&given).into_owned();
    let value = |name: &str| {
        let mut pairs = given.split('\0').filter_map(|pair| pair.split_once('='));
        pairs
            .find(|pair| pair.0 == name)
            .map(|pair| pair.1.to_owned())
    };
    for name in [
        "OPENCLAW_GATEWAY_TOKEN",
        "LD_LIBRARY_PATH",
        "NODE_OPTIONS",
        "HTTPS_PROXY",
    ] {
        // Debian's launcher sets one of them to nothing.
        assert_eq!(
            value(name).filter(|value| !value.is_empty()),
            None,
            "{name}"
        );
    }
    assert_eq!(value("LANG").as_deref(), Some("C.UTF-8"));
    let folder = node.home.state().join("browser/openclaw");
    assert_eq!(
        value("XDG_CONFIG_HOME"),
        Some(folder.join("config").display().to_string())
    );
}

#[test]
fn a_request_that_waits_ends_at_once_with_its_browser_and_the_next_one_starts_another() {
    let mut node = Node::start();
    node.show("about:blank");
    let first = node.pid();
    let body =
        json!({"kind": "evaluate", "fn": "() => new Promise(() => {})", "timeoutMs": 60_000});
    let waiting = json!({"method": "POST", "path": "/act", "body": body, "timeoutMs": 60_000});
    node.caller
        .start_invoke("waiting", "browser.proxy", &waiting);
    let quick = json!({"path": "/tabs"});
    node.caller.start_invoke("quick", "browser.proxy", &quick);
    // Both are on their way once the later one is answered.
    let answered = node.caller.request();
    assert_eq!(answered["params"]["id"], "quick");
    kill(first);
    let told = loop {
        let request = node.caller.request();
        if request["method"] == "node.invoke.result" {
            break payload(&request["params"]).unwrap_err();
        }
    };
    let ended = "Error: Error: the browser has ended; the next request starts it again";
    assert_eq!(told, ended);
    assert_eq!(node.show("about:blank")["url"], "about:blank");
    assert_ne!(node.pid(), first);
}

#[test]
fn a_browser_that_is_starting_ends_with_its_node_host() {
    for signal in ["TERM", "KILL"] {
        let pretended = Pretended::new("trap '' TERM; sleep 600 & wait; wait", "");
        let started = pretended.started.clone();
        let mut node = Node::at(pretended.home, pretended.port);
        let start = json!({"method": "POST", "path": "/start", "timeoutMs": 60_000});
        node.caller.start_invoke("start", "browser.proxy", &start);
        wait_for("the browser to start", || started.exists().then_some(()));
        assert!(!processes_of(&node.user_data()).is_empty());
        node.host.signal(signal);
        wait_for("the node host to end", || {
            (!node.host.alive()).then_some(())
        });
        wait_for("the browser to end", || no_process_of(&node.user_data()));
    }
}

#[test]
fn profiles_run_side_by_side_as_they_are_set_and_end_with_the_node_host() {
    let (home, port, other, site) = (Home::new(), free_port(), free_port(), Site::start());
    let data = home.path().join("work data");
    // Whoever asks for a page of any host asks the proxy.
    site.answer(
        "http://far.example/",
        "200 OK",
        "Content-Type: text/html\r\n",
        "<title>Far</title>",
    );
    let proxy = site.url("").trim_end_matches('/').to_owned();
    let browser = format!(
        "{OPEN}, extraArgs: [\"--user-agent=Probe/1\", \"--proxy-server={proxy}\"],
         profiles: {{ work: {{ cdpPort: {other}, userDataDir: {data:?}, headless: true, color: \"#123456\" }} }}"
    );
    let more = "nodeHost: { browserProxy: { allowProfiles: [\"work\", \"openclaw\"] } }";
    home.write_config(&config(port, &browser, more));
    let mut node = Node::given(home, port, &[]);
    let start = json!({"method": "POST", "path": "/start", "query": {"headless": "true"}, "timeoutMs": 60_000});
    node.ask(&start).unwrap();
    let far = json!({"url": "http://far.example/", "profile": "work"});
    assert_eq!(
        node.post("/navigate", far).unwrap()["url"],
        "http://far.example/"
    );
    assert!(site.heads().iter().any(|head| head.contains("Probe/1")));
    let status = node.get("/").unwrap();
    let given = (&status["headless"], &status["headlessSource"]);
    assert_eq!(given, (&json!(true), &json!("request")));
    let status = node.get_with("/", json!({"profile": "work"})).unwrap();
    for (name, value) in [
        ("headlessSource", json!("profile")),
        ("userDataDir", json!(data)),
        ("cdpPort", json!(other)),
        ("color", json!("#123456")),
    ] {
        assert_eq!(status[name], value, "{name}");
    }
    let bad = json!({"method": "POST", "path": "/start", "query": {"headless": "perhaps"}});
    let told = "Error: Invalid headless value. Use \"true\" or \"false\".";
    assert_eq!(node.ask(&bad), Err(told.to_owned()));
    let listed = node.get("/profiles").unwrap();
    let rows = listed["profiles"].as_array().unwrap();
    let rows: Vec<_> = rows
        .iter()
        .map(|row| (&row["name"], &row["running"], &row["tabCount"]))
        .collect();
    let expected = (json!("openclaw"), json!(true), json!(1));
    assert_eq!(rows[0], (&expected.0, &expected.1, &expected.2));
    assert_eq!(
        (rows.len(), rows[1].0, rows[1].1),
        (2, &json!("work"), &json!(true))
    );
    let refused = node.post(
        "/tabs/open",
        json!({"url": "about:blank", "profile": "user"}),
    );
    assert_eq!(
        refused,
        Err("Error: INVALID_REQUEST: browser profile not allowed".to_owned())
    );

    node.host.signal("KILL");
    wait_for("the node host to end", || {
        (!node.host.alive()).then_some(())
    });
    for directory in [node.user_data(), data] {
        wait_for("the browsers to end", || no_process_of(&directory));
    }
}
