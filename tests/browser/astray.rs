//! Pages that lead where nobody may go by other ways than a navigation that a caller asks for: whatever shows there is
//! told to nobody.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::node::{Node, OPEN, config};
use crate::site::Site;
use crate::support::wait_for;

const BLOCKED: &str = "Error: browser navigation blocked by policy";

/// A public address that the browser takes for this machine: a name that led elsewhere when it was looked up.
const PUBLIC: &str = "192.88.99.7";

/// Pages open others without being asked by a person.
const POPUPS: &str = "--disable-popup-blocking";

/// What a script of any site may read.
const READABLE: &str = "Content-Type: text/html\r\nAccess-Control-Allow-Origin: *\r\n";

/// The policy of a node host whose pages may be on `localhost`.
const NAMED: &str = "ssrfPolicy: { allowedHostnames: [\"localhost\"] }";

/// A node host whose pages may be on `localhost`, with a browser of somebody else, which is led astray by [`PUBLIC`].
fn start() -> (Node, Site) {
    let rules = format!("--host-resolver-rules=MAP {PUBLIC} 127.0.0.1");
    (Node::attached(&[&rules, POPUPS], NAMED), Site::start())
}

/// The site's secret as the browser reaches it under the public address.
fn public(site: &Site) -> String {
    let secret = site.answer(
        "/secret",
        "200 OK",
        READABLE,
        "<title>Secret</title>treasure",
    );
    secret.replace("127.0.0.1", PUBLIC)
}

fn is_blocked<T: std::fmt::Debug>(answer: Result<T, String>) -> bool {
    matches!(&answer, Err(error) if error == BLOCKED)
}

/// Asks until the current tab may not be read any more.
fn wait_until_blocked(node: &mut Node) {
    wait_for("the tab to be led astray", || {
        is_blocked(node.get("/snapshot")).then_some(())
    });
}

/// Every route that tells of a tab, or acts on it, refuses.
fn assert_untold(node: &mut Node, tab: &Value) {
    for path in [
        "/snapshot",
        "/console",
        "/errors",
        "/requests",
        "/cookies",
        "/storage/local",
    ] {
        let answer = node.get_with(path, json!({"targetId": tab}));
        assert_eq!(answer, Err(BLOCKED.to_owned()), "{path}");
    }
    for (path, body) in [
        ("/screenshot", json!({})),
        ("/pdf", json!({})),
        (
            "/act",
            json!({"kind": "evaluate", "fn": "document.body.innerText"}),
        ),
        ("/act", json!({"kind": "press", "key": "a"})),
        ("/storage/local/set", json!({"key": "a", "value": "b"})),
    ] {
        let mut body = body;
        body["targetId"] = tab.clone();
        assert_eq!(node.post(path, body), Err(BLOCKED.to_owned()), "{path}");
    }
}

/// The tab with this title, as soon as there is one.
fn tab_called(node: &mut Node, title: &str) -> Value {
    wait_for(title, || {
        let listed = node.get("/tabs").unwrap();
        let tabs = listed["tabs"].as_array().unwrap();
        tabs.iter().find(|tab| tab["title"] == title).cloned()
    })
}

/// The tab whose title and address may not be told, as soon as there is one that may not be read.
fn untold_tab(node: &mut Node) -> Value {
    wait_for("a tab that is not told", || {
        let listed = node.get("/tabs").unwrap();
        let tabs = listed["tabs"].as_array().unwrap();
        let untold = |tab: &&Value| tab.get("title").is_none() && tab.get("url").is_none();
        let tab = tabs.iter().find(untold).cloned()?;
        let read = json!({"targetId": tab["targetId"]});
        is_blocked(node.get_with("/snapshot", read)).then_some(tab)
    })
}

/// Whether a request of a page was refused before it was made.
fn told_refused(request: &Value) -> bool {
    let text = request["failureText"].as_str().unwrap_or_default();
    text.starts_with("net::ERR_BLOCKED_BY_CLIENT")
}

#[test]
fn the_port_of_a_debugger_is_out_of_reach_where_everything_else_is_open() {
    let (mut node, site) = (Node::start(), Site::start());
    let port = node.port;
    let debugger = format!("http://127.0.0.1:{port}/json/version");
    let around = format!("Location: {debugger}\r\n");
    let around = site.answer("/around", "302 Found", &around, "");
    for url in [
        debugger.clone(),
        format!("http://localhost:{port}/json"),
        format!("http://127.1:{port}/json/new?file:///etc/passwd"),
        format!("http://[::ffff:127.0.0.1]:{port}/json"),
        around,
    ] {
        let answer = node.post("/navigate", json!({"url": url}));
        assert_eq!(answer, Err(BLOCKED.to_owned()), "{url}");
    }
    let body = format!(
        "<iframe src='{debugger}'></iframe><img src='{debugger}?picture'><script>
         fetch('{debugger}?fetch', {{ mode: 'no-cors' }}).catch(() => {{}})</script>"
    );
    node.show(&site.page("/", "Page", &body));
    for name in ["version", "?picture", "?fetch"] {
        wait_for(name, || {
            let told = node.get_with("/requests", json!({"filter": name})).unwrap();
            let mut requests = told["requests"].as_array().unwrap().iter();
            requests.any(told_refused).then_some(())
        });
    }
    // One of another profile neither, whether its browser runs or not.
    node.post("/profiles/create", json!({"name": "other"}))
        .unwrap();
    let other = format!("http://127.0.0.1:{}/json/version", port + 1);
    assert!(is_blocked(node.post("/navigate", json!({"url": other}))));
}

#[test]
fn a_tab_that_shows_a_file_is_told_to_nobody_whoever_opened_it() {
    let mut node = Node::start();
    node.post("/start", json!({})).unwrap();
    // Another user of the machine reaches the debugger.
    let mut stream = TcpStream::connect(("127.0.0.1", node.port)).unwrap();
    let host = format!("127.0.0.1:{}", node.port);
    let request = format!(
        "PUT /json/new?file:///etc/hosts HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    // It has opened the tab when it answers; it does not hang up.
    stream.read_exact(&mut [0; 12]).unwrap();
    let tab = untold_tab(&mut node);
    assert_untold(&mut node, &tab["targetId"]);
    let away = json!({"url": "about:blank", "targetId": tab["targetId"]});
    assert_eq!(node.post("/navigate", away).unwrap()["url"], "about:blank");
}

#[test]
fn a_popup_that_was_led_astray_is_told_to_nobody() {
    let (mut node, site) = start();
    let secret = public(&site);
    site.page("/", "Opener", &format!("<script>open('{secret}')</script>"));
    node.show(&site.named("/"));
    let popup = untold_tab(&mut node);
    assert_untold(&mut node, &popup["targetId"]);
    let opener = tab_called(&mut node, "Opener");
    let read = json!({"targetId": opener["targetId"]});
    assert!(node.get_with("/snapshot", read).is_ok());
    let path = format!("/tabs/{}", popup["targetId"].as_str().unwrap());
    assert_eq!(node.delete(&path), Ok(json!({"ok": true})));
}

#[test]
fn what_fails_on_a_page_that_was_led_astray_meanwhile_tells_nothing() {
    let (mut node, site) = start();
    let secret = public(&site);
    let url = site
        .page("/", "Page", "<p>page</p>")
        .replace("127.0.0.1", "localhost");
    let thrown =
        format!("async () => {{ throw new Error(await (await fetch('{secret}')).text()) }}");
    let waited = format!(
        "async () => {{ const got = await fetch('{secret}'); document.title = 'x'; throw new Error(await got.text()) }}"
    );
    for body in [
        json!({"kind": "evaluate", "fn": thrown}),
        json!({"kind": "wait", "fn": waited, "timeoutMs": 20_000}),
    ] {
        node.show(&url);
        assert_eq!(
            node.post("/act", body.clone()),
            Err(BLOCKED.to_owned()),
            "{body}"
        );
    }
    // One that was not is told of as before.
    node.show(&url);
    let fine = json!({"kind": "evaluate", "fn": "() => { throw new Error('fine') }"});
    let told = node.post("/act", fine).unwrap_err();
    assert!(told.contains("fine"), "{told}");
}

#[test]
fn a_file_that_a_page_makes_of_an_answer_from_inside_is_not_kept() {
    let (mut node, site) = start();
    let secret = public(&site);
    let body = format!(
        "<p>page</p><script>setTimeout(async () => {{
           const got = await (await fetch('{secret}')).blob(), link = document.createElement('a');
           link.href = URL.createObjectURL(got); link.download = 'f.bin'; link.click() }}, 3000)</script>"
    );
    site.page("/", "Page", &body);
    node.show(&site.named("/"));
    let answer = node.post("/wait/download", json!({"timeoutMs": 30_000}));
    assert_eq!(answer, Err(BLOCKED.to_owned()));
    let kept = node.home.state().join("media/downloads");
    assert_eq!(crate::downloads::files(&kept), [""; 0]);
}

#[test]
fn cookies_of_hosts_where_pages_may_not_be_are_neither_told_nor_set() {
    let both = "ssrfPolicy: { allowedHostnames: [\"localhost\", \"127.0.0.1\"] }";
    let (mut node, site) = (Node::with(both, ""), Site::start());
    site.page("/", "Page", "");
    node.show(&site.named("/"));
    let cookie = |host: &str| json!({"cookie": {"name": "c", "value": host, "url": site.url("/").replace("127.0.0.1", host)}});
    for host in ["localhost", "127.0.0.1"] {
        node.post("/cookies/set", cookie(host)).unwrap();
    }
    let told = |node: &mut Node| {
        let listed = node.get("/cookies").unwrap();
        listed["cookies"].as_array().unwrap().len()
    };
    assert_eq!(told(&mut node), 2);
    let one = "ssrfPolicy: { allowedHostnames: [\"localhost\"] }";
    node.home.write_config(&config(node.port, one, ""));
    assert_eq!(told(&mut node), 1);
    let refused = node.post("/cookies/set", cookie("127.0.0.1"));
    assert_eq!(refused, Err(BLOCKED.to_owned()));
}

#[test]
fn a_frame_or_an_answer_from_inside_takes_the_whole_page_along() {
    let (mut node, site) = start();
    let secret = public(&site);
    site.page(
        "/frame",
        "Frame",
        &format!("<iframe src='{secret}'></iframe>"),
    );
    let fetch = format!(
        "<p id=p></p><script>fetch('{secret}').then(got => got.text()).then(text => {{ p.textContent = text }})</script>"
    );
    site.page("/fetch", "Fetch", &fetch);
    site.page("/fine", "Fine", "<p>fine</p>");
    for path in ["/frame", "/fetch"] {
        // The frame may be there before the page has loaded.
        let shown = node.post("/navigate", json!({"url": site.named(path)}));
        assert!(shown.is_ok() || is_blocked(shown.clone()), "{shown:?}");
        if shown.is_ok() {
            wait_until_blocked(&mut node);
        }
        node.show(&site.named("/fine"));
        let snapshot = node.get("/snapshot").unwrap();
        assert!(snapshot["snapshot"].as_str().unwrap().contains("fine"));
    }
}

#[test]
fn a_frame_of_a_host_that_is_allowed_no_more_does_not_show() {
    let both = "ssrfPolicy: { allowedHostnames: [\"localhost\", \"127.0.0.1\"] }";
    let (mut node, site) = (Node::with(both, ""), Site::start());
    let secret = site.page("/secret", "Secret", "<p>treasure</p>");
    site.page(
        "/",
        "Page",
        &format!("<p>page</p><iframe src='{secret}'></iframe>"),
    );
    node.show(&site.named("/"));
    let text = |node: &mut Node| {
        let snapshot = node.get("/snapshot");
        snapshot.map(|snapshot| snapshot["snapshot"].as_str().unwrap().to_owned())
    };
    let seen = text(&mut node).unwrap();
    assert!(seen.contains("treasure"), "{seen}");
    let one = "ssrfPolicy: { allowedHostnames: [\"localhost\"] }";
    node.home.write_config(&config(node.port, one, ""));
    assert!(is_blocked(text(&mut node)));
    // Shown anew, the page is without its frame.
    node.show(&site.named("/"));
    let seen = text(&mut node).unwrap();
    assert!(
        seen.contains("page") && !seen.contains("treasure"),
        "{seen}"
    );
}

#[test]
fn nothing_that_a_page_loads_comes_from_where_it_may_not_go() {
    // Where the node host is the only way out, and where it holds each request.
    loads_nothing_from_inside(Node::with(NAMED, ""), &Site::start());
    let (node, site) = start();
    loads_nothing_from_inside(node, &site);
}

fn loads_nothing_from_inside(mut node: Node, site: &Site) {
    let ask = |base: &str, who: &str| format!("fetch('{base}{who}').then(() => {{}}, () => {{}})");
    let secret = site.page("/secret", "Secret", "");
    let fine = site.named("/fine");
    site.page("/fine", "Fine", "");
    let script = |who: &str, after: &str| {
        let (first, second) = (ask(&secret, who), ask(&fine, who));
        format!("({first}).then(() => {second}){after}")
    };
    let headers = "Content-Type: text/javascript\r\n";
    site.answer("/worker.js", "200 OK", headers, &script("?worker", ""));
    site.answer("/shared.js", "200 OK", headers, &script("?shared", ""));
    let service = format!(
        "self.addEventListener('install', event => event.waitUntil({}))",
        script("?service", "")
    );
    site.answer("/service.js", "200 OK", headers, &service);
    let body = format!(
        "<img src='{secret}?picture' onerror=\"{picture}\"><script>
         {fetch}; new Worker('/worker.js'); new SharedWorker('/shared.js');
         navigator.serviceWorker.register('/service.js');
         navigator.sendBeacon('{secret}?beacon'); navigator.sendBeacon('{fine}?beacon');
         new EventSource('{secret}?events').onerror = () => {{ {events} }}</script>",
        picture = ask(&fine, "?picture"),
        fetch = script("?fetch", ""),
        events = ask(&fine, "?events"),
    );
    site.page("/", "Page", &body);
    node.show(&site.named("/"));
    for who in [
        "picture", "fetch", "worker", "shared", "service", "beacon", "events",
    ] {
        let second = format!("/fine?{who}");
        wait_for(&second, || site.asked().contains(&second).then_some(()));
    }
    let leaked = site
        .asked()
        .into_iter()
        .filter(|path| path.starts_with("/secret"));
    assert_eq!(leaked.collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn pages_that_a_page_opens_do_not_pile_up_and_push_nobody_out() {
    let browser = format!("{OPEN}, extraArgs: [{POPUPS:?}]");
    let (mut node, site) = (Node::with(&browser, ""), Site::start());
    let kept = site.page("/kept", "Kept", "");
    node.post("/tabs/open", json!({"url": kept})).unwrap();
    site.page("/popup", "Popup", "");
    let flood =
        "<script>onload = () => { for (let at = 0; at < 12; at++) open('/popup?' + at) }</script>";
    let url = site.page("/", "Flood", flood);
    node.post("/tabs/open", json!({"url": url})).unwrap();
    wait_for("the last one to open", || {
        site.asked().contains(&"/popup?11".to_owned()).then_some(())
    });
    let count = |node: &mut Node, title: &str| {
        let listed = node.get("/tabs").unwrap();
        let tabs = listed["tabs"].as_array().unwrap();
        let titled = tabs
            .iter()
            .filter(|tab| title.is_empty() || tab["title"] == title);
        titled.count()
    };
    wait_for("the surplus to close", || {
        (count(&mut node, "") <= 8).then_some(())
    });
    assert_eq!(
        (count(&mut node, "Kept"), count(&mut node, "Flood")),
        (1, 1)
    );
    wait_for("the last one to load", || {
        (count(&mut node, "Popup") > 0).then_some(())
    });
}

#[test]
fn what_a_page_makes_of_the_language_deceives_nobody() {
    let (mut node, site) = (Node::start(), Site::start());
    let lies = "<button id=b onclick='document.title = \"pressed\"'>b</button><script>
        Object.defineProperty(document, 'URL', { value: 'http://10.0.0.1/' });
        document.querySelector = () => { throw new Error('nothing here') };
        window.setTimeout = () => 0; window.Promise = class {};</script>";
    let url = site.page("/", "Liar", lies);
    let policy = "ssrfPolicy: { allowedHostnames: [\"127.0.0.1\"] }";
    node.home.write_config(&config(node.port, policy, ""));
    assert_eq!(node.show(&url)["url"], json!(url));
    node.post("/act", json!({"kind": "click", "selector": "#b"}))
        .unwrap();
    assert_eq!(tab_called(&mut node, "pressed")["url"], json!(url));
}
