//! What pages cost the node host: memory for large ones, and one request, not the browser, for what is too large.

use serde_json::json;

use crate::node::Node;
use crate::site::Site;

/// A member of the host's status in kB: `VmRSS`, or `VmHWM` for the most that it ever was.
fn kilobytes(node: &Node, member: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", node.host.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(member));
    let number = line.unwrap().trim_start_matches(':').trim();
    number.trim_end_matches(" kB").parse().unwrap()
}

/// A page that makes so many buttons.
fn buttons(count: usize) -> String {
    format!(
        "<script>for (let i = 0; i < {count}; i++) {{ const b = document.createElement('button');
         b.textContent = 'b' + i; document.body.append(b) }}</script>"
    )
}

#[test]
fn a_snapshot_of_a_large_page_costs_a_small_multiple_of_what_it_says() {
    let (mut node, site) = (Node::start(), Site::start());
    node.show(&site.page("/", "Large", &buttons(10_000)));
    let before = kilobytes(&node, "VmHWM");
    let snapshot = node
        .get_with("/snapshot", json!({"maxChars": 1_000_000}))
        .unwrap();
    assert_eq!(snapshot["refs"].as_object().unwrap().len(), 10_000);
    let after = kilobytes(&node, "VmHWM");
    println!("most memory before a snapshot of 20,000 nodes: {before} kB, after it: {after} kB");
    assert!(after < before + 64 * 1024, "{before} kB, then {after} kB");
}

#[test]
fn a_page_with_too_many_nodes_is_cut_and_says_so() {
    let (mut node, site) = (Node::start(), Site::start());
    let whole = json!({"interactive": true, "maxChars": 1_000_000});
    site.page("/part", "Part", &buttons(6_000));
    let frames = "<iframe src='/part'></iframe>".repeat(3);
    let pages = [
        site.page("/one", "One", &buttons(20_000)),
        site.page("/frames", "Frames", &frames),
    ];
    for url in pages {
        node.show(&url);
        let snapshot = node.get_with("/snapshot", whole.clone()).unwrap();
        let text = snapshot["snapshot"].as_str().unwrap();
        assert!(text.ends_with("\n\n[...TRUNCATED - page too large]"));
        assert_eq!(snapshot["truncated"], true);
        let refs = snapshot["refs"].as_object().unwrap().len();
        assert!((12_000..=12_500).contains(&refs), "{refs}");
        let clicked = json!({"kind": "click", "ref": "e1"});
        assert_eq!(node.post("/act", clicked).unwrap()["ok"], true);
    }
}

#[test]
fn what_is_too_long_costs_its_own_request_alone() {
    let (mut node, site) = (Node::start(), Site::start());
    let quiet = site.page("/quiet", "Quiet", "<button>Go</button>");
    node.show(&quiet);
    let pid = node.pid();
    let huge = site.page("/huge", "Huge", "<button id=huge>Huge</button>");
    let opened = node.post("/tabs/open", json!({"url": huge})).unwrap();
    let run = |function: &str, node: &mut Node| {
        node.post(
            "/act",
            json!({"kind": "evaluate", "fn": function, "timeoutMs": 60_000}),
        )
    };
    let make = "() => { window.long = 'x'.repeat(40 * 1024 * 1024);
        document.querySelector('#huge').setAttribute('data-long', long) }";
    run(make, &mut node).unwrap();
    let before = kilobytes(&node, "VmHWM");
    let told = run("() => long", &mut node).unwrap_err();
    let expected = "Error: Error: the browser's answer is larger than 32 MiB; ask for a smaller part of the page";
    assert_eq!(told, expected);
    let snapshot = node.get_with("/snapshot", json!({})).unwrap();
    assert_eq!(snapshot["snapshot"], "- button \"Huge\" [ref=e1]");
    run("() => { console.log(long) }", &mut node).unwrap();
    let after = kilobytes(&node, "VmHWM");
    println!("most memory before answers of 40 MiB: {before} kB, after them: {after} kB");
    // Both tabs are as they were.
    assert_eq!(node.pid(), pid);
    let click = json!({"kind": "click", "ref": "e1", "targetId": opened["targetId"]});
    assert_eq!(node.post("/act", click).unwrap()["ok"], true);
    let other = node
        .get_with("/snapshot", json!({"targetId": "t1"}))
        .unwrap();
    assert_eq!(other["snapshot"], "- button \"Go\" [ref=e1]");
}

/// What a node host needs that has been asked for something else than its browser, and nothing it started or wrote.
fn idle(more: &str) -> u64 {
    let mut node = Node::with("", more);
    let which = node.caller.invoke("system.which", &json!({"bins": ["sh"]}));
    assert_eq!(which["ok"], true);
    let tasks = std::fs::read_dir(format!("/proc/{}/task", node.host.pid())).unwrap();
    for task in tasks.flatten() {
        let children = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
        assert_eq!(children, "", "{more}");
    }
    for name in ["browser", "media"] {
        assert!(!node.home.state().join(name).exists(), "{name} {more}");
    }
    kilobytes(&node, "VmRSS")
}

#[test]
fn a_browser_that_is_offered_but_not_used_costs_nothing() {
    // The least of several: what the system lends for a moment is not the node host's.
    let least = |more: &str| (0..4).map(|_| idle(more)).min().unwrap();
    let without = least("nodeHost: { browserProxy: { enabled: false } }");
    let with = least("");
    let ratio = with as f64 / without as f64;
    println!(
        "resident without a browser: {without} kB, with one offered: {with} kB, ratio {ratio:.3}"
    );
    assert!(ratio < 1.03, "{with} kB, {without} kB without");
}
