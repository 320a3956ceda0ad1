//! Profiles: several browsers side by side, and what `allowProfiles` leaves of them.

use serde_json::{Value, json};

use crate::node::{Node, OPEN, config, no_process_of};
use crate::site::Site;
use crate::support::wait_for;

fn names(listed: &Value) -> Vec<&str> {
    let rows = listed["profiles"].as_array().unwrap();
    rows.iter()
        .map(|row| row["name"].as_str().unwrap())
        .collect()
}

#[test]
fn a_profile_is_made_used_reset_and_removed() {
    let (mut node, site) = (Node::start(), Site::start());
    let page = site.page(
        "/",
        "Work",
        "<script>localStorage.setItem('mark', 'own')</script>",
    );
    let made = node
        .post(
            "/profiles/create",
            json!({"name": "work", "color": "#123456"}),
        )
        .unwrap();
    let port = node.port + 1;
    let expected = json!({"ok": true, "profile": "work", "transport": "cdp", "cdpPort": port,
        "cdpUrl": format!("http://127.0.0.1:{port}"), "userDataDir": null, "color": "#123456", "isRemote": false});
    assert_eq!(made, expected);
    let listed = node.get("/profiles").unwrap();
    assert_eq!(names(&listed), ["openclaw", "user", "work"]);
    for (body, error) in [
        (json!({}), "Error: name is required"),
        (
            json!({"name": "work"}),
            "Error: profile \"work\" already exists",
        ),
        (
            json!({"name": "A b"}),
            "Error: invalid profile name: use lowercase letters, numbers, and hyphens only",
        ),
    ] {
        assert_eq!(node.post("/profiles/create", body), Err(error.to_owned()));
    }

    // Two browsers, each with its own things.
    let shown = node
        .post("/navigate", json!({"url": page, "profile": "work"}))
        .unwrap();
    assert_eq!(shown["url"], json!(page));
    node.show("about:blank");
    let tabs = node.get_with("/tabs", json!({"profile": "work"})).unwrap();
    assert_eq!(tabs["tabs"][0]["url"], json!(page));
    let stored = node
        .get_with("/storage/local", json!({"profile": "work"}))
        .unwrap();
    assert_eq!(stored["values"], json!({"mark": "own"}));

    let data = node.home.state().join("browser/work/user-data");
    let reset = node
        .post("/reset-profile", json!({"profile": "work"}))
        .unwrap();
    assert_eq!(
        (&reset["moved"], &reset["from"]),
        (&json!(true), &json!(data))
    );
    assert!(!data.exists() && std::path::Path::new(reset["to"].as_str().unwrap()).exists());
    wait_for("its browser to end", || no_process_of(&data));

    let default = node.delete("/profiles/openclaw").unwrap_err();
    assert!(
        default.starts_with("Error: cannot delete the default profile \"openclaw\"; "),
        "{default}"
    );
    assert_eq!(
        node.delete("/profiles/work").unwrap(),
        json!({"ok": true, "profile": "work", "deleted": true})
    );
    assert!(!node.home.state().join("browser/work").exists());
    assert_eq!(names(&node.get("/profiles").unwrap()), ["openclaw", "user"]);
    let unknown = "Error: BrowserProfileNotFoundError: Profile \"work\" not found. Available profiles: openclaw, user";
    assert_eq!(
        node.get_with("/tabs", json!({"profile": "work"})),
        Err(unknown.to_owned())
    );
}

#[test]
fn only_named_profiles_are_reached_when_some_are_named() {
    let more = "nodeHost: { browserProxy: { allowProfiles: [\"user\"] } }";
    let mut node = Node::with(OPEN, more);
    let refused = Err("Error: INVALID_REQUEST: browser profile not allowed".to_owned());
    assert_eq!(node.get("/"), refused);
    assert_eq!(node.post("/start", json!({})), refused);
    assert_eq!(names(&node.get("/profiles").unwrap()), ["user"]);
    let lasting = "Error: INVALID_REQUEST: browser.proxy cannot mutate persistent browser profiles";
    assert_eq!(
        node.post("/profiles/create", json!({"name": "x", "profile": "user"})),
        Err(lasting.to_owned())
    );
    let personal = "Error: existing-session profiles are not supported by this node host";
    assert_eq!(
        node.post("/start", json!({"profile": "user"})),
        Err(personal.to_owned())
    );
}

#[test]
fn a_lock_of_another_machine_keeps_no_browser_from_its_profile() {
    let mut node = Node::start();
    let data = node.user_data();
    std::fs::create_dir_all(&data).unwrap();
    std::os::unix::fs::symlink("another-machine-4711", data.join("SingletonLock")).unwrap();
    assert_eq!(node.post("/start", json!({})).unwrap()["ok"], true);
}

#[test]
fn a_browser_that_runs_already_is_attached_to_and_left_running() {
    let mut owner = Node::start();
    owner.post("/start", json!({})).unwrap();
    let pid = owner.pid();
    let url = format!("http://127.0.0.1:{}", owner.port);
    let mut guest = Node::with(&format!("{OPEN}, cdpUrl: \"{url}\""), "");
    assert_eq!(guest.show("about:blank")["url"], "about:blank");
    let status = guest.get("/").unwrap();
    assert_eq!(
        (&status["running"], &status["pid"], &status["cdpUrl"]),
        (&json!(true), &json!(null), &json!(url))
    );
    assert_eq!(guest.post("/stop", json!({})).unwrap()["stopped"], true);
    assert_eq!(owner.pid(), pid);
    // One that is gone is asked again at once, however often.
    owner.post("/stop", json!({})).unwrap();
    for _ in 0..4 {
        let error = guest.post("/start", json!({})).unwrap_err();
        assert!(
            error.contains("which this node host may not start itself"),
            "{error}"
        );
    }
    let port = guest.port;
    guest
        .home
        .write_config(&config(port, "cdpUrl: \"https://h\"", ""));
    let error = guest.post("/start", json!({})).unwrap_err();
    assert!(
        error.contains("cdpUrl of profile \"openclaw\" must be http://host:port"),
        "{error}"
    );
}

#[test]
fn root_is_told_what_its_browser_needs() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let mut node = Node::start();
    let text = config(node.port, OPEN, "").replace("noSandbox: true", "noSandbox: false");
    node.home.write_config(&text);
    let error = node.post("/start", json!({})).unwrap_err();
    assert!(error.contains("set browser.noSandbox to true"), "{error}");
    assert!(
        error.contains("Running as root without --no-sandbox"),
        "{error}"
    );
}

#[test]
fn an_endpoint_that_a_caller_gives_to_a_profile_is_judged_like_a_page() {
    let (mut node, site) = (Node::with("", ""), Site::start());
    let blocked = "Error: browser navigation blocked by policy";
    let form = "Error: cdpUrl must be http://host:port or ws://host:port/path";
    let named = "Error: cdpUrl must have an IP address for its host, or one that browser.ssrfPolicy of the node names";
    for (url, error) in [
        ("http://127.0.0.1:9222", blocked),
        ("ws://[::1]:9222/devtools/browser/x", blocked),
        ("http://169.254.169.254:80", blocked),
        ("http://0x7f.1:9222", blocked),
        ("http://8.8.8.8\\evil.example:9222", form),
        ("http://localhost:9222", named),
        ("http://debugger.example:9222", named),
        ("http://8.8.8.8:9222/${HOME}", form),
        ("https://8.8.8.8:9222", form),
        ("file:///etc/passwd", form),
    ] {
        let body = json!({"name": "far", "cdpUrl": url});
        let answer = node.post("/profiles/create", body);
        assert_eq!(answer, Err(error.to_owned()), "{url}");
    }
    let color = json!({"name": "far", "color": "${HOME}"});
    let error = node.post("/profiles/create", color).unwrap_err();
    assert!(error.starts_with("Error: color must be"), "{error}");
    assert_eq!(names(&node.get("/profiles").unwrap()), ["openclaw", "user"]);
    // Where it is allowed, what answers there is not repeated; nor does it lead to a browser of this node host.
    let port = node.port;
    node.home.write_config(&config(port, OPEN, ""));
    site.answer("/json/version", "403 Forbidden", "", "the treasure");
    let url = site.url("");
    let body = json!({"name": "far", "cdpUrl": url});
    assert_eq!(
        node.post("/profiles/create", body).unwrap()["isRemote"],
        true
    );
    let error = node.post("/start", json!({"profile": "far"})).unwrap_err();
    assert!(
        error.contains("HTTP 403") && !error.contains("treasure"),
        "{error}"
    );
    let other = Site::start();
    other.answer("/socket", "403 Forbidden", "", "the treasure");
    let socket = other.url("/socket").replace("http", "ws");
    let body = json!({"name": "socket", "cdpUrl": socket});
    node.post("/profiles/create", body).unwrap();
    let error = node
        .post("/start", json!({"profile": "socket"}))
        .unwrap_err();
    assert!(
        error.contains("HTTP 403") && !error.contains("treasure"),
        "{error}"
    );
    let own = json!({"name": "own", "cdpUrl": format!("http://127.0.0.1:{port}")});
    assert_eq!(node.post("/profiles/create", own), Err(blocked.to_owned()));
}
