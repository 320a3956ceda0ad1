//! Files into pages and out of them.

use serde_json::{Value, json};

use crate::node::Node;
use crate::site::Site;
use crate::snapshots::{reference, taken};

fn value(node: &mut Node, expression: &str) -> Value {
    node.post("/act", json!({"kind": "evaluate", "fn": expression}))
        .unwrap()["result"]
        .clone()
}

#[test]
fn files_of_the_uploads_directory_are_given_to_inputs() {
    let (mut node, site) = (Node::start(), Site::start());
    node.home.write("media/uploads/a.txt", b"alpha");
    node.home.write("media/uploads/b.txt", b"beta");
    node.home.write("secret.txt", b"secret");
    let body = "<input id=one type=file><input id=many type=file multiple>
        <button id=b onclick='many.click()'>choose</button><script>window.names = input =>
          Promise.all([...input.files].map(async file => file.name + ' ' + await file.text()))</script>";
    node.show(&site.page("/", "Upload", body));
    let given = json!({"ok": true});
    let choose = |body: Value| ("/hooks/file-chooser", body);
    let (path, body) = choose(json!({"paths": ["a.txt"], "element": "#one"}));
    assert_eq!(node.post(path, body), Ok(given.clone()));
    assert_eq!(value(&mut node, "names(one)"), json!(["a.txt alpha"]));
    // The next input that asks gets them, and the one after it does not.
    let (path, body) = choose(json!({"paths": ["a.txt", "b.txt"]}));
    assert_eq!(node.post(path, body), Ok(given));
    node.post("/act", json!({"kind": "click", "selector": "#b"}))
        .unwrap();
    let arrived = json!({"kind": "wait", "fn": "() => many.files.length === 2"});
    node.post("/act", arrived).unwrap();
    assert_eq!(
        value(&mut node, "names(many)"),
        json!(["a.txt alpha", "b.txt beta"])
    );
    // A button that is named is clicked for them.
    let snapshot = taken(&mut node, json!({}));
    let named = reference(&snapshot, "choose");
    value(&mut node, "() => { many.value = '' }");
    let (path, body) = choose(json!({"paths": ["b.txt"], "ref": named}));
    node.post(path, body).unwrap();
    let arrived = json!({"kind": "wait", "fn": "() => many.files.length === 1"});
    node.post("/act", arrived).unwrap();
    assert_eq!(value(&mut node, "names(many)"), json!(["b.txt beta"]));
    let uploads = node.home.state().join("media/uploads");
    let outside = format!(
        "Error: Invalid path: must stay within uploads directory ({})",
        uploads.display()
    );
    let absolute = node.home.state().join("secret.txt");
    std::os::unix::fs::symlink(&absolute, uploads.join("link")).unwrap();
    for (body, error) in [
        (json!({}), "Error: paths are required"),
        (json!({"paths": []}), "Error: paths are required"),
        (json!({"paths": ["a.txt", "../../secret.txt"]}), &*outside),
        (json!({"paths": [absolute]}), &*outside),
        (json!({"paths": ["link"]}), &*outside),
        (json!({"paths": ["c.txt"]}), "Error: file not found: c.txt"),
        (
            json!({"paths": ["a.txt"], "ref": "e9"}),
            "Error: Error: Unknown ref \"e9\". Run a new snapshot and use a ref from that snapshot.",
        ),
    ] {
        let (path, body) = choose(body);
        assert_eq!(node.post(path, body), Err(error.to_owned()));
    }
}

#[test]
fn a_download_arrives_where_it_is_wanted() {
    let (mut node, site) = (Node::start(), Site::start());
    let headers = "Content-Type: application/octet-stream\r\nContent-Disposition: attachment; filename=report.txt\r\n";
    let file = site.answer("/file", "200 OK", headers, "the report");
    let page = format!("<script>setTimeout(() => location = '{file}', 1500)</script>");
    for wanted in [json!({"path": "kept.txt"}), json!({})] {
        node.show(&site.page("/", "Download", &page));
        let request = json!({"method": "POST", "path": "/wait/download", "body": wanted, "timeoutMs": 60_000});
        let payload = node.ask(&request).unwrap();
        let download = &payload["result"]["download"];
        assert_eq!(
            (&download["url"], &download["suggestedFilename"]),
            (&json!(file), &json!("report.txt"))
        );
        let path = download["path"].as_str().unwrap();
        let downloads = node.home.state().join("media/downloads");
        let downloads = downloads.canonicalize().unwrap();
        let ending = wanted["path"].as_str().unwrap_or("-report.txt");
        assert!(
            path.starts_with(downloads.to_str().unwrap()) && path.ends_with(ending),
            "{path}"
        );
        assert_eq!(std::fs::read_to_string(path).unwrap(), "the report");
        assert_eq!(payload["files"][0]["path"], download["path"]);
        assert_eq!(payload["files"][0]["base64"], "dGhlIHJlcG9ydA==");
        let left = crate::downloads::files(&downloads);
        assert!(
            !left.iter().any(|name| name.contains("/.partial-")),
            "{left:?}"
        );
    }
    node.show(&site.page("/", "Link", "<a href='/file'>Report</a>"));
    let snapshot = taken(&mut node, json!({}));
    let wanted = json!({"ref": reference(&snapshot, "Report"), "path": "linked.txt"});
    let linked = node.post("/download", wanted).unwrap();
    let path = linked["download"]["path"].as_str().unwrap();
    assert_eq!(std::fs::read_to_string(path).unwrap(), "the report");
    let outside = format!(
        "Error: Invalid path: must stay within downloads directory ({})",
        node.home.state().join("media/downloads").display()
    );
    for (path, body, error) in [
        ("/download", json!({"path": "x"}), "Error: ref is required"),
        ("/download", json!({"ref": "e1"}), "Error: path is required"),
        ("/download", json!({"ref": "e1", "path": "../x"}), &*outside),
        ("/wait/download", json!({"path": "/etc/x"}), &*outside),
        (
            "/wait/download",
            json!({"timeoutMs": 500}),
            "Error: Error: waiting for a download took longer than 500ms",
        ),
    ] {
        assert_eq!(node.post(path, body), Err(error.to_owned()), "{path}");
    }
}
