//! What browsers that the node host starts reach of the network: everything of theirs goes out through it.

use std::net::{TcpListener, UdpSocket};
use std::path::PathBuf;
use std::process::Command;

use serde_json::json;

use crate::act::value;
use crate::node::{Node, OPEN, kill, payload};
use crate::site::Site;
use crate::support::home::Home;
use crate::support::process::free_port;
use crate::support::wait_for;

const BLOCKED: &str = "Error: browser navigation blocked by policy";

/// An address of the Internet, which the namespace of the test has for its own.
const PUBLIC: [u8; 4] = [192, 88, 99, 7];

/// Runs a test of this file once more, in network and mount namespaces of its own with this hosts file; gives the file
/// inside, and nothing to the test that only waited for that.
fn in_own_network(test: &str, hosts: &str) -> Option<PathBuf> {
    const INSIDE: &str = "OPENCLAW_TEST_HOSTS";
    if let Some(file) = std::env::var_os(INSIDE) {
        return Some(file.into());
    }
    let refused = Command::new("unshare").args(["-nm", "true"]).output();
    if !refused.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED {test}: no namespaces here");
        return None;
    }
    let home = Home::new();
    let file = home.path().join("hosts");
    std::fs::write(&file, hosts).unwrap();
    let script = "ip link set lo up && ip address add \"$1\" dev lo && mount --bind \"$2\" /etc/hosts && shift 2 && exec \"$@\"";
    let [a, b, c, d] = PUBLIC;
    let outcome = Command::new("unshare")
        .args(["-nm", "sh", "-c", script, "sh"])
        .arg(format!("{a}.{b}.{c}.{d}/32"))
        .arg(&file)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", &format!("outlet::{test}")])
        .env(INSIDE, &file)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&outcome.stderr);
    let passed = String::from_utf8_lossy(&outcome.stdout).contains("1 passed");
    assert!(outcome.status.success() && passed, "{said}");
    None
}

/// Tries forever to read `/secret` in a way of its own, and says how that went first after the name led elsewhere.
fn trying(who: &str, once: &str) -> String {
    format!(
        "const sleep = () => new Promise(done => setTimeout(done, 100));
         (async () => {{ for (;;) {{
           let led = false; try {{ await fetch(`/flag?${{Math.random()}}`) }} catch {{ led = true }}
           const got = await (async () => {{ {once} }})().then(() => 'there', () => 'refused');
           if (led) await fetch('http://control.example:PORT/tried?{who}=' + got, {{ mode: 'no-cors' }}).catch(() => {{}});
           await sleep(); }} }})();"
    )
}

#[test]
fn a_name_that_leads_elsewhere_later_leads_nobody_there() {
    let test = "a_name_that_leads_elsewhere_later_leads_nobody_there";
    let names = "192.88.99.7 control.example\n";
    let public = format!("192.88.99.7 led.example\n{names}");
    let Some(hosts) = in_own_network(test, &public) else {
        return;
    };
    let outside = Site::at((PUBLIC, 0).into());
    let inside = Site::at(([127, 0, 0, 1], outside.port).into());
    let port = outside.port.to_string();
    let secret = "Access-Control-Allow-Origin: *\r\n";
    for site in [&outside, &inside] {
        site.answer("/secret", "200 OK", secret, "treasure");
        site.answer("/flag", "200 OK", secret, "");
    }
    outside.answer("/tried", "200 OK", secret, "");
    let read = |who: &str| format!("return await fetch('/secret?{who}')");
    let script = "Content-Type: text/javascript\r\n";
    for (path, who) in [
        ("/worker.js", "worker"),
        ("/shared.js", "shared"),
        ("/service.js", "service"),
    ] {
        let body = trying(who, &read(who)).replace("PORT", &port);
        outside.answer(path, "200 OK", script, &body);
    }
    let loading = |who: &str, element: &str| {
        let once = format!(
            "return await new Promise((done, fail) => {{ const it = document.createElement('{element}');
             it.onload = done; it.onerror = fail; it.src = '/secret?{who}&' + Math.random(); document.body.append(it) }})"
        );
        format!("<script>{{ {} }}</script>", trying(who, &once))
    };
    let socket = "return await new Promise((done, fail) => { const it = new WebSocket('ws://led.example:PORT/secret?socket');
         it.onopen = done; it.onerror = fail })";
    let events =
        "return await new Promise((done, fail) => { const it = new EventSource('/secret?events');
         it.onopen = done; it.onerror = () => { it.close(); fail() } })";
    let blind = "navigator.sendBeacon('/secret?beacon'); open('/secret?popup');
         const frame = document.createElement('iframe'); frame.src = '/secret?frame'; document.body.append(frame);
         const ahead = document.createElement('link'); ahead.rel = 'prefetch'; ahead.href = '/secret?ahead&' + Math.random();
         document.head.append(ahead); throw 0";
    let rules = json!({"prefetch": [{"source": "list", "urls": ["/secret?speculated"], "eagerness": "immediate"}]});
    let mut body = format!("<p>page</p><script type=speculationrules>{rules}</script>");
    body += "<script>new Worker('/worker.js'); new SharedWorker('/shared.js');</script>";
    for (who, once) in [
        ("fetch", read("fetch")),
        ("socket", socket.to_owned()),
        ("events", events.to_owned()),
        ("blind", blind.to_owned()),
    ] {
        body += &format!("<script>{{ {} }}</script>", trying(who, &once));
    }
    body += &loading("picture", "img");
    body += &loading("script", "script");
    outside.page("/", "Page", &body.replace("PORT", &port));
    let popups = "ssrfPolicy: {}, extraArgs: [\"--disable-popup-blocking\"]";
    let mut node = Node::with(popups, "");
    node.show(&format!("http://led.example:{port}/"));
    for who in ["fetch", "worker", "shared", "picture", "script"] {
        let asked = format!("/secret?{who}");
        wait_for(&asked, || {
            outside
                .asked()
                .iter()
                .any(|path| path.starts_with(&asked))
                .then_some(())
        });
    }
    let snapshot = node.get("/snapshot").unwrap();
    assert!(snapshot["snapshot"].as_str().unwrap().contains("page"));
    // Written in place: the mount shows this very file.
    std::fs::write(&hosts, format!("127.0.0.1 led.example\n{names}")).unwrap();
    for who in [
        "fetch", "worker", "shared", "picture", "script", "socket", "events", "blind",
    ] {
        let tried = format!("/tried?{who}=refused");
        wait_for(&tried, || outside.asked().contains(&tried).then_some(()));
    }
    assert!(
        !outside
            .asked()
            .iter()
            .any(|path| path.starts_with("/tried") && path.ends_with("there"))
    );
    assert_eq!(node.get("/snapshot"), Err(BLOCKED.to_owned()));
    let again = json!({"url": format!("http://led.example:{port}/")});
    assert_eq!(node.post("/navigate", again), Err(BLOCKED.to_owned()));
    assert_eq!(inside.asked(), [""; 0]);
}

#[test]
fn nothing_goes_around_the_way_out() {
    let named = "ssrfPolicy: { allowedHostnames: [\"localhost\"] }";
    let (mut node, site) = (Node::with(named, ""), Site::start());
    let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
    let streams = TcpListener::bind("127.0.0.1:0").unwrap();
    datagrams.set_nonblocking(true).unwrap();
    streams.set_nonblocking(true).unwrap();
    let udp = datagrams.local_addr().unwrap().port();
    let tcp = streams.local_addr().unwrap().port();
    site.page("/", "Page", "");
    node.show(&site.named("/"));
    let candidates = format!(
        "new Promise(done => {{ const tried = [], peer = new RTCPeerConnection({{ iceServers: [
           {{ urls: 'stun:127.0.0.1:{udp}' }},
           {{ urls: 'turn:127.0.0.1:{tcp}?transport=tcp', username: 'u', credential: 'c' }}] }});
         peer.onicecandidateerror = event => tried.push(event.url);
         peer.onicecandidate = event => event.candidate ? tried.push(event.candidate.candidate) : done(tried);
         peer.createDataChannel('d'); peer.createOffer().then(offer => peer.setLocalDescription(offer)) }})"
    );
    let turn = format!("turn:127.0.0.1:{tcp}?transport=tcp");
    assert_eq!(value(&mut node, &candidates), json!([turn]));
    let transport = format!(
        "new WebTransport('https://127.0.0.1:{udp}/').ready.then(() => 'there', () => 'refused')"
    );
    assert_eq!(value(&mut node, &transport), "refused");
    for heard in [
        datagrams.recv(&mut [0; 2_000]).map(drop),
        streams.accept().map(drop),
    ] {
        assert_eq!(heard.unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    }
}

#[test]
fn sockets_of_pages_go_through_it_and_end_when_they_are_allowed_no_more() {
    let (mut node, site) = (Node::with(OPEN, ""), Site::start());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let echo = std::thread::spawn(move || {
        let mut socket = tungstenite::accept(listener.accept().unwrap().0).unwrap();
        while let Ok(message) = socket.read() {
            let _ = socket.send(message);
        }
    });
    node.show(&site.page("/", "Page", ""));
    let said = format!(
        "new Promise((done, fail) => {{ const own = window.own = new WebSocket('ws://127.0.0.1:{port}/'); own.onerror = fail;
         own.onmessage = event => done(event.data); own.onopen = () => own.send('hello') }})"
    );
    assert_eq!(value(&mut node, &said), "hello");
    node.home
        .write_config(&crate::node::config(node.port, "ssrfPolicy: {}", ""));
    // The next request, whatever it is, brings the new policy into force.
    node.get("/").unwrap();
    echo.join().unwrap();
}

#[test]
fn who_cannot_be_reached_is_told_by_the_usual_name() {
    let (mut node, site) = (Node::start(), Site::start());
    let port = free_port();
    let nobody = format!("http://127.0.0.1:{port}/");
    let error = node.post("/navigate", json!({"url": nobody}));
    let expected = format!("Error: Error: net::ERR_CONNECTION_REFUSED at {nobody}");
    assert_eq!(error, Err(expected));
    let body = format!("<img src='{nobody}picture'>");
    node.show(&site.page("/", "Page", &body));
    wait_for("the picture to be missed", || {
        let told = node
            .get_with("/requests", json!({"filter": "picture"}))
            .unwrap();
        let mut requests = told["requests"].as_array().unwrap().iter();
        requests
            .any(|it| it["failureText"] == "net::ERR_CONNECTION_REFUSED")
            .then_some(())
    });
}

#[test]
fn what_is_kept_of_another_browsers_life_is_shown_again() {
    let named = "ssrfPolicy: { allowedHostnames: [\"localhost\"] }";
    let (mut node, site) = (Node::with(named, ""), Site::start());
    let kept = "Content-Type: text/html\r\nETag: \"1\"\r\nCache-Control: ";
    for (path, how) in [("/kept", "max-age=1000"), ("/asked", "no-cache")] {
        let headers = format!("{kept}{how}\r\n");
        site.answer(path, "200 OK", &headers, "<p>page</p>");
        node.show(&site.named(path));
    }
    node.post("/stop", json!({})).unwrap();
    site.answer("/asked", "304 Not Modified", "ETag: \"1\"\r\n", "");
    for path in ["/kept", "/asked"] {
        node.show(&site.named(path));
        let snapshot = node.get("/snapshot").unwrap();
        assert_eq!(snapshot["snapshot"], "- paragraph: page", "{path}");
    }
    let visits = |path: &str| site.asked().iter().filter(|asked| *asked == path).count();
    assert_eq!((visits("/kept"), visits("/asked")), (1, 2));
}

#[test]
fn a_browser_that_ends_at_a_public_place_is_told_as_one() {
    let test = "a_browser_that_ends_at_a_public_place_is_told_as_one";
    if in_own_network(test, "192.88.99.7 there.example\n").is_none() {
        return;
    }
    let (mut node, site) = (
        Node::with("ssrfPolicy: {}", ""),
        Site::at((PUBLIC, 0).into()),
    );
    site.page("/", "Page", "<p>page</p>");
    let url = format!("http://there.example:{}/", site.port);
    let wait = json!({"kind": "wait", "text": "never", "timeoutMs": 60_000});
    let wait = json!({"method": "POST", "path": "/act", "body": wait, "timeoutMs": 60_000});
    let stop = json!({"method": "POST", "path": "/stop"});
    for killed in [true, false] {
        assert_eq!(node.show(&url)["url"], json!(url));
        node.caller.start_invoke("wait", "browser.proxy", &wait);
        // Both are on their way once the later one is answered.
        node.get("/tabs").unwrap();
        if killed {
            kill(node.pid());
        } else {
            node.caller.start_invoke("stop", "browser.proxy", &stop);
        }
        // Which of them is answered first is not said.
        let mut open = vec!["wait"];
        open.extend((!killed).then_some("stop"));
        let mut told = Ok(json!(null));
        while !open.is_empty() {
            let params = node.caller.request()["params"].clone();
            if params["id"] == "wait" {
                told = payload(&params);
            }
            open.retain(|id| params["id"] != *id);
        }
        let ended = "Error: Error: the browser has ended; the next request starts it again";
        assert_eq!(told.unwrap_err(), ended);
    }
}
