//! What pages say, throw and ask for, however much of it.

use serde_json::{Value, json};

use crate::node::Node;
use crate::site::Site;
use crate::support::wait_for;

/// Asks until the answer has what is waited for.
fn wait_until(node: &mut Node, path: &str, reached: impl Fn(&Value) -> bool) -> Value {
    wait_for(path, || {
        let answer = node.get(path).unwrap();
        reached(&answer).then_some(answer)
    })
}

fn count(answer: &Value, name: &str) -> usize {
    answer[name].as_array().unwrap().len()
}

#[test]
fn the_console_the_errors_and_the_requests_of_a_page() {
    let (mut node, site) = (Node::start(), Site::start());
    let script =
        "<script>console.log('clicked', 7); console.warn('careful'); console.error('broken');
        fetch('/data?x=1'); fetch('/missing'); null.x</script>";
    site.answer("/data", "200 OK", "", "d");
    let url = site.page("/", "Said", script);
    let shown = node.show(&url);

    let said = wait_until(&mut node, "/console", |answer| {
        count(answer, "messages") == 3
    });
    assert_eq!(
        (&said["targetId"], &said["url"]),
        (&shown["targetId"], &json!(url))
    );
    let first = &said["messages"][0];
    assert_eq!(
        (&first["type"], &first["text"]),
        (&json!("log"), &json!("clicked 7"))
    );
    assert_eq!(
        (&first["location"]["url"], &first["location"]["lineNumber"]),
        (&json!(url), &json!(0))
    );
    let severe = node
        .get_with("/console", json!({"level": "warning"}))
        .unwrap();
    assert_eq!(count(&severe, "messages"), 2);

    let thrown = wait_until(&mut node, "/errors", |answer| count(answer, "errors") == 1);
    assert_eq!(thrown["errors"][0]["name"], "TypeError");
    assert!(
        thrown["errors"][0]["message"]
            .as_str()
            .unwrap()
            .contains("null"),
        "{thrown}"
    );
    node.get_with("/errors", json!({"clear": true})).unwrap();
    assert_eq!(count(&node.get("/errors").unwrap(), "errors"), 0);

    let asked = wait_until(&mut node, "/requests", |answer| {
        answer["requests"]
            .as_array()
            .unwrap()
            .iter()
            .any(|it| it["status"] == 404)
    });
    let document = &asked["requests"][0];
    assert_eq!(
        (&document["method"], &document["url"]),
        (&json!("GET"), &json!(url))
    );
    assert_eq!(
        (
            &document["resourceType"],
            &document["status"],
            &document["ok"]
        ),
        (&json!("document"), &json!(200), &json!(true))
    );
    let some = node
        .get_with("/requests", json!({"filter": "data?", "clear": "true"}))
        .unwrap();
    assert_eq!(some["requests"][0]["resourceType"], "fetch");
    assert_eq!(count(&some, "requests"), 1);
    assert_eq!(count(&node.get("/requests").unwrap(), "requests"), 0);
    assert!(site.asked().contains(&"/data?x=1".to_owned()));
}

#[test]
fn a_page_that_floods_its_console_costs_the_node_host_little() {
    let (mut node, site) = (Node::start(), Site::start());
    let flood = "<script>const long = 'x'.repeat(10000); let at = 0;
        setInterval(() => { for (let i = 0; i < 500; i++) console.log(at++, long) }, 1)</script>";
    let url = site.page("/", "Flood", flood);
    node.show(&url);
    let said = wait_until(&mut node, "/console", |answer| {
        let newest = answer["messages"]
            .as_array()
            .unwrap()
            .last()
            .cloned()
            .unwrap_or_default();
        let number = newest["text"]
            .as_str()
            .and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
        number.is_some_and(|number| number > 5_000)
    });
    assert!(count(&said, "messages") <= 500);
    let status = std::fs::read_to_string(format!("/proc/{}/status", node.host.pid())).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    let peak: u64 = line.trim().trim_end_matches(" kB").trim().parse().unwrap();
    assert!(peak < 100_000, "{peak} kB");
    node.post("/stop", json!({})).unwrap();
}

/// Shows a page that does something and waits until it has said that it is done.
fn until_done(node: &mut Node, url: &str) {
    node.show(url);
    wait_until(node, "/console", |answer| {
        let messages = answer["messages"].as_array().unwrap();
        messages
            .last()
            .is_some_and(|last| last["text"] == "done" && last["location"]["url"] == url)
    });
}

fn texts(answer: &Value, list: &str, member: &str) -> Vec<String> {
    let rows = answer[list].as_array().unwrap().iter();
    rows.map(|row| row[member].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn every_kind_of_message_has_its_text_and_its_level() {
    let (mut node, site) = (Node::start(), Site::start());
    let script = "<script>console.debug('d'); console.info('i'); console.log('l'); console.warn('w'); console.error('e');
        console.assert(false, 'a'); console.dir({a: 1}); console.table([1]); console.trace('t'); console.count('c');
        console.log(1, -0, NaN, 10n, null, undefined, true, Symbol('s'), 'x y', [1, 2], {a: 1}, new Date(NaN), /r/);
        console.log(new TypeError('own')); console.log(document); console.log(() => 1); console.log('done')
        </script>";
    until_done(&mut node, &site.page("/", "Said", script));
    let all = node.get("/console").unwrap();
    let said = all["messages"].as_array().unwrap();
    let kinds: Vec<_> = said
        .iter()
        .map(|it| (it["type"].as_str().unwrap(), it["text"].as_str().unwrap()))
        .collect();
    assert_eq!(
        kinds[..11],
        [
            ("debug", "d"),
            ("info", "i"),
            ("log", "l"),
            ("warning", "w"),
            ("error", "e"),
            ("assert", "a"),
            ("dir", "Object"),
            ("table", "Array(1)"),
            ("trace", "t"),
            ("count", "c: 1"),
            (
                "log",
                "1 -0 NaN 10n null undefined true Symbol(s) x y Array(2) Object Invalid Date /r/"
            ),
        ]
    );
    assert!(
        kinds[11].1.starts_with("TypeError: own\n    at "),
        "{:?}",
        kinds[11]
    );
    assert_eq!(
        kinds[12..],
        [("log", "#document"), ("log", "() => 1"), ("log", "done")]
    );
    for message in said {
        let timestamp = message["timestamp"].as_str().unwrap();
        assert!(
            timestamp.starts_with("20") && timestamp.ends_with('Z'),
            "{message}"
        );
        assert_eq!(message["location"]["url"], site.url("/"));
    }
    for (level, expected) in [
        ("error", vec!["e", "a"]),
        ("warning", vec!["w", "e", "a"]),
        ("warn", vec!["w", "e", "a"]),
    ] {
        let some = node.get_with("/console", json!({"level": level})).unwrap();
        assert_eq!(texts(&some, "messages", "text"), expected, "{level}");
    }
    for (level, count) in [("info", 14), ("log", 14), ("debug", 15), ("", 15)] {
        let some = node.get_with("/console", json!({"level": level})).unwrap();
        assert_eq!(some["messages"].as_array().unwrap().len(), count, "{level}");
    }
    // Another tab has said nothing.
    node.post("/tabs/open", json!({"url": "about:blank"}))
        .unwrap();
    assert_eq!(count(&node.get("/console").unwrap(), "messages"), 0);
}

#[test]
fn whatever_is_thrown_has_a_name_and_a_message() {
    let (mut node, site) = (Node::start(), Site::start());
    let script = "<script>class Own extends Error { constructor(text) { super(text); this.name = 'Own' } }
        const later = value => setTimeout(() => { throw value });
        later(new RangeError('r')); later(new Own('o')); later('text'); later(7); later(null); later({a: 1});
        setTimeout(() => Promise.reject(new Error('promise'))); setTimeout(() => Promise.reject('bare'));
        setTimeout(() => console.log('done'), 50)</script><script>syntax error</script>";
    until_done(&mut node, &site.page("/", "Thrown", script));
    let thrown = wait_until(&mut node, "/errors", |answer| count(answer, "errors") == 9);
    let rows: Vec<_> = thrown["errors"].as_array().unwrap().clone();
    let messages = texts(&thrown, "errors", "message");
    for (message, name) in [
        ("Unexpected identifier 'error'", "SyntaxError"),
        ("r", "RangeError"),
        ("o", "Own"),
        ("text", "Error"),
        ("7", "Error"),
        ("null", "Error"),
        ("promise", "Error"),
        ("bare", "Error"),
    ] {
        let at = messages.iter().position(|it| it == message);
        let at = at.unwrap_or_else(|| panic!("{message}: {messages:?}"));
        assert_eq!(rows[at]["name"], name, "{message}");
    }
    let ranged = rows.iter().find(|row| row["message"] == "r").unwrap();
    let stack = ranged["stack"].as_str().unwrap();
    assert!(
        stack.starts_with("RangeError: r\n    at ") && stack.contains(&site.url("/")),
        "{stack}"
    );
    // What is asked for with `clear` is told once.
    let last = node.get_with("/errors", json!({"clear": "1"})).unwrap();
    assert_eq!(count(&last, "errors"), 9);
    assert_eq!(count(&node.get("/errors").unwrap(), "errors"), 0);
}

#[test]
fn of_a_flood_the_newest_is_kept_in_its_order() {
    let (mut node, site) = (Node::start(), Site::start());
    let long = "<script>for (let at = 0; at < 700; at++) console.log('m' + at);
        console.log('x'.repeat(1000000)); console.log('done')</script>";
    until_done(&mut node, &site.page("/said", "Said", long));
    let said = texts(&node.get("/console").unwrap(), "messages", "text");
    assert_eq!(said.len(), 500);
    let expected: Vec<String> = (202..700).map(|at| format!("m{at}")).collect();
    assert_eq!(said[..498], expected);
    assert_eq!(said[498], "x".repeat(4096));

    let throw =
        "<script>for (let at = 0; at < 500; at++) setTimeout(() => { throw new Error('t' + at) });
        setTimeout(() => console.log('done'), 10)</script>";
    until_done(&mut node, &site.page("/thrown", "Thrown", throw));
    let thrown = wait_until(&mut node, "/errors", |answer| {
        texts(answer, "errors", "message")
            .last()
            .is_some_and(|last| last == "t499")
    });
    let expected: Vec<String> = (300..500).map(|at| format!("t{at}")).collect();
    assert_eq!(texts(&thrown, "errors", "message"), expected);

    site.answer("/data", "204 No Content", "", "");
    let ask = "<script>(async () => { for (let at = 0; at < 600; at += 20)
        await Promise.all([...Array(20).keys()].map(more => fetch('/data?' + (at + more))));
        console.log('done') })()</script>";
    until_done(&mut node, &site.page("/asked", "Asked", ask));
    let asked = node.get("/requests").unwrap();
    let rows = asked["requests"].as_array().unwrap();
    assert_eq!(rows.len(), 500);
    let numbers: Vec<u64> = rows
        .iter()
        .map(|row| row["id"].as_str().unwrap()[1..].parse().unwrap())
        .collect();
    assert!(
        numbers.windows(2).all(|pair| pair[1] == pair[0] + 1),
        "{numbers:?}"
    );
    assert_eq!(rows[499]["status"], 204);
    let data = node
        .get_with("/requests", json!({"filter": "/data?599"}))
        .unwrap();
    assert_eq!(count(&data, "requests"), 1);
    let early = node
        .get_with("/requests", json!({"filter": "/data?7&"}))
        .unwrap();
    assert_eq!(count(&early, "requests"), 0);
}

#[test]
fn requests_tell_how_they_ended() {
    let (mut node, site) = (Node::start(), Site::start());
    site.answer("/moved", "302 Found", "Location: /end\r\n", "");
    site.answer("/end", "200 OK", "Content-Type: text/css\r\n", "");
    let silent = site.silent("/silent");
    let gone = format!(
        "http://127.0.0.1:{}/gone",
        crate::support::process::free_port()
    );
    let script = format!(
        "<link rel=stylesheet href=/moved><img src=/none.png><script>
         const stop = new AbortController();
         Promise.allSettled([fetch('/posted', {{method: 'POST', body: 'x'}}), fetch('{gone}'),
           fetch('{silent}', {{signal: stop.signal}}), new Promise(done => setTimeout(() => {{ stop.abort(); done() }}, 200))])
           .then(() => console.log('done'))</script>"
    );
    until_done(&mut node, &site.page("/", "Asked", &script));
    let find = |node: &mut Node, filter: &str| {
        let some = node
            .get_with("/requests", json!({"filter": filter}))
            .unwrap();
        let rows = some["requests"].as_array().unwrap().clone();
        assert_eq!(rows.len(), 1, "{filter}: {some}");
        rows[0].clone()
    };
    for (filter, method, kind, status, ok) in [
        ("/moved", "GET", "stylesheet", json!(302), true),
        ("/end", "GET", "stylesheet", json!(200), true),
        ("/none.png", "GET", "image", json!(404), false),
        ("/posted", "POST", "fetch", json!(404), false),
        ("/gone", "GET", "fetch", json!(null), false),
        ("/silent", "GET", "fetch", json!(null), false),
    ] {
        let row = find(&mut node, filter);
        let seen = (
            &row["method"],
            &row["resourceType"],
            &row["status"],
            &row["ok"],
        );
        assert_eq!(
            seen,
            (&json!(method), &json!(kind), &status, &json!(ok)),
            "{row}"
        );
    }
    assert_eq!(
        find(&mut node, "/gone")["failureText"],
        "net::ERR_CONNECTION_REFUSED"
    );
    assert_eq!(
        find(&mut node, "/silent")["failureText"],
        "net::ERR_ABORTED"
    );
}
