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
