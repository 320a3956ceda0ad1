//! Where pages may not go: `localhost` is allowed here, the same site under its address is not.

use serde_json::json;

use crate::node::Node;
use crate::site::Site;
use crate::support::wait_for;

const BLOCKED: &str = "Error: browser navigation blocked by policy";

fn start() -> (Node, Site) {
    let named = "ssrfPolicy: { allowedHostnames: [\"LOCALHOST\"] }";
    (Node::with(named, ""), Site::start())
}

#[test]
fn private_addresses_are_refused_before_anything_is_asked() {
    let (mut node, site) = (Node::with("", ""), Site::start());
    let secret = site.page("/secret", "Secret", "");
    let (_, port) = secret.rsplit_once(':').unwrap();
    for url in [
        secret.clone(),
        site.named("/secret"),
        format!("http://127.1:{port}"),
        format!("http://0x7f000001:{port}"),
        format!("http://[::ffff:127.0.0.1]:{port}"),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
    ] {
        assert_eq!(
            node.post("/navigate", json!({"url": url})),
            Err(BLOCKED.to_owned()),
            "{url}"
        );
        assert_eq!(
            node.post("/tabs/open", json!({"url": url})),
            Err(BLOCKED.to_owned()),
            "{url}"
        );
    }
    assert_eq!(site.asked(), [""; 0]);
    // Nobody needed a browser for that.
    assert_eq!(node.get("/").unwrap()["running"], false);
}

#[test]
fn a_redirect_does_not_lead_around_the_guard() {
    let (mut node, site) = start();
    let secret = site.page("/secret", "Secret", "");
    site.answer(
        "/around",
        "302 Found",
        &format!("Location: {secret}\r\n"),
        "",
    );
    let around = site.named("/around");
    assert_eq!(
        node.post("/navigate", json!({"url": around})),
        Err(BLOCKED.to_owned())
    );
    assert_eq!(
        node.post("/tabs/open", json!({"url": around})),
        Err(BLOCKED.to_owned())
    );
    assert!(
        !site.asked().contains(&"/secret".to_owned()),
        "{:?}",
        site.asked()
    );
}

#[test]
fn links_scripts_frames_and_windows_of_a_page_do_not_either() {
    let (mut node, site) = start();
    let secret = site.page("/secret", "Secret", "");
    site.page("/fine", "Fine", "");
    let body = format!(
        "<iframe src='{secret}?frame'></iframe><iframe src='/fine?frame'></iframe>
         <script>open('{secret}?window'); setTimeout(() => location = '{secret}?script', 500)</script>"
    );
    site.page("/start", "Start", &body);
    // On a busy machine the page leads on before it has loaded.
    let shown = node.post("/navigate", json!({"url": site.named("/start")}));
    assert!(
        shown.is_ok() || shown == Err(BLOCKED.to_owned()),
        "{shown:?}"
    );
    wait_for("the page to be led astray", || {
        let tabs = node.get("/tabs").unwrap();
        let tabs = tabs["tabs"].as_array().unwrap().clone();
        // What it shows now is an error page, whose address is not told.
        tabs.iter().all(|tab| tab["title"] != "Start").then_some(())
    });
    assert!(site.asked().contains(&"/fine?frame".to_owned()));
    let leaked: Vec<_> = site
        .asked()
        .into_iter()
        .filter(|path| path.starts_with("/secret"))
        .collect();
    assert_eq!(leaked, [""; 0]);
}

#[test]
fn a_policy_that_changes_counts_at_the_next_request() {
    let (mut node, site) = start();
    let page = site.page("/page", "Page", "");
    node.show(&site.named("/page"));
    assert_eq!(
        node.post("/navigate", json!({"url": page})),
        Err(BLOCKED.to_owned())
    );
    let port = node.port;
    node.home
        .write_config(&crate::node::config(port, crate::node::OPEN, ""));
    assert_eq!(node.show(&page)["url"], json!(page));
    node.home.write_config(&crate::node::config(port, "", ""));
    assert_eq!(
        node.post("/navigate", json!({"url": page})),
        Err(BLOCKED.to_owned())
    );
    // What the tab shows and has said may not be told any more, nor where it is.
    for path in ["/console", "/snapshot", "/storage/local", "/requests"] {
        assert_eq!(node.get(path), Err(BLOCKED.to_owned()), "{path}");
    }
    for path in ["/screenshot", "/pdf"] {
        assert_eq!(
            node.post(path, json!({})),
            Err(BLOCKED.to_owned()),
            "{path}"
        );
    }
    let read = json!({"kind": "evaluate", "fn": "document.title"});
    assert_eq!(node.post("/act", read), Err(BLOCKED.to_owned()));
    let tabs = node.get("/tabs").unwrap();
    assert_eq!(tabs["tabs"][0].get("url"), None);
    assert_eq!(tabs["tabs"][0].get("title"), None);
    // It can be sent elsewhere, and closed.
    assert_eq!(node.show("about:blank")["url"], "about:blank");
    assert_eq!(
        node.post("/act", json!({"kind": "close"})).unwrap()["ok"],
        true
    );
}

#[test]
fn a_name_that_leads_the_browser_elsewhere_than_it_leads_here_is_refused() {
    let site = Site::start();
    let secret = site.page("/secret", "Secret", "");
    // Nothing leaves the machine: the browser takes this address for that of the site.
    let rules = "--host-resolver-rules=MAP 192.88.99.7 127.0.0.1";
    let mut node = Node::attached(&[rules], "ssrfPolicy: {}");
    let public = secret.replace("127.0.0.1", "192.88.99.7");
    assert_eq!(
        node.post("/navigate", json!({"url": public})),
        Err(BLOCKED.to_owned())
    );
    assert_eq!(site.asked().first().map(String::as_str), Some("/secret"));
    assert_eq!(node.get("/tabs").unwrap()["tabs"][0]["url"], "about:blank");
}
