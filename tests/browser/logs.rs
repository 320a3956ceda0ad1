//! What pages say, throw and ask for; dialogs; pages that misbehave.

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
fn dialogs_are_dismissed_unless_somebody_expects_them() {
    let (mut node, site) = (Node::start(), Site::start());
    let url = site.page(
        "/",
        "Asked",
        "<script>console.log('got ' + prompt('name?'))</script>",
    );
    node.show(&url);
    wait_until(&mut node, "/console", |answer| {
        answer["messages"][0]["text"] == "got null"
    });
    let armed = json!({"accept": true, "promptText": "Ada"});
    assert_eq!(node.post("/hooks/dialog", armed), Ok(json!({"ok": true})));
    node.show(&url);
    wait_until(&mut node, "/console", |answer| {
        answer["messages"][1]["text"] == "got Ada"
    });
    assert_eq!(
        node.post("/hooks/dialog", json!({})),
        Err("Error: accept is required".to_owned())
    );
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

#[test]
fn a_page_that_crashed_says_so_and_lives_on_elsewhere() {
    let (mut node, site) = (Node::start(), Site::start());
    let url = site.page("/", "Fine", "");
    node.show(&url);
    let crash = node.post("/navigate", json!({"url": url}));
    assert!(crash.is_ok());
    let renderer = crate::node::processes_of(&node.user_data());
    let renderers: Vec<u32> = renderer
        .into_iter()
        .filter(|pid| is_renderer(*pid))
        .collect();
    assert!(!renderers.is_empty());
    for pid in renderers {
        crate::node::kill(pid);
    }
    let crashed = "Error: Error: the page has crashed; navigate it to go on, or open another tab";
    wait_for("the crash to be noticed", || {
        let request = json!({"method": "POST", "path": "/storage/local/clear", "timeoutMs": 5_000});
        (node.ask(&request) == Err(crashed.to_owned())).then_some(())
    });
    assert_eq!(node.show(&url)["url"], json!(url));
}

pub fn is_renderer(pid: u32) -> bool {
    let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&arguments).contains("--type=renderer")
}
