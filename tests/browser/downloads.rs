//! Downloads that nobody waits for, that break off, that are too large, and two at once.

use serde_json::{Value, json};

use crate::node::Node;
use crate::site::Site;
use crate::support::wait_for;

const FILE: &str =
    "Content-Type: application/octet-stream\r\nContent-Disposition: attachment; filename=f.bin\r\n";

fn start() -> (Node, Site) {
    (Node::start(), Site::start())
}

/// A page that leads to a file a moment after it has loaded.
fn leading_to(site: &Site, path: &str, file: &str, after: u32) -> String {
    let body = format!("<script>setTimeout(() => location = '{file}', {after})</script>");
    site.page(path, "Leads", &body)
}

fn open(node: &mut Node, url: &str) -> Value {
    node.post("/tabs/open", json!({"url": url})).unwrap()["targetId"].clone()
}

/// Waits for a download of a tab; its name there, or the error.
fn wait(node: &mut Node, tab: &Value, milliseconds: u32) -> Result<Value, String> {
    let body = json!({"targetId": tab, "timeoutMs": milliseconds});
    let done = node.post("/wait/download", body)?;
    Ok(done["download"].clone())
}

/// The files below a directory, hidden ones and those in hidden directories included.
pub fn files(directory: &std::path::Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let below = entries.flat_map(|entry| match entry.path() {
        path if path.is_dir() => files(&path),
        path => vec![path.display().to_string()],
    });
    below.collect()
}

#[test]
fn each_tab_gets_its_own_download_and_others_leave_nothing() {
    let (mut node, site) = start();
    let own = site.answer("/own", "200 OK", FILE, "own");
    let other = site.answer("/other", "200 OK", FILE, "other");
    open(&mut node, &leading_to(&site, "/b", &other, 2_000));
    let tab = open(&mut node, &leading_to(&site, "/a", &own, 6_000));
    let download = wait(&mut node, &tab, 60_000).unwrap();
    assert_eq!(download["url"], json!(own));
    let path = download["path"].as_str().unwrap();
    assert_eq!(std::fs::read_to_string(path).unwrap(), "own");
    assert!(site.asked().contains(&"/other".to_owned()));
    assert_eq!(files(&node.home.state().join("media/downloads")).len(), 1);
}

#[test]
fn a_download_that_nobody_waits_for_is_refused() {
    let (mut node, site) = start();
    let file = site.answer("/file", "200 OK", FILE, "the file");
    open(&mut node, &leading_to(&site, "/a", &file, 1_000));
    wait_for("the file to be asked for", || {
        site.asked().contains(&"/file".to_owned()).then_some(())
    });
    // When another one has come, this one has ended.
    let own = site.answer("/own", "200 OK", FILE, "own");
    let tab = open(&mut node, &leading_to(&site, "/b", &own, 2_000));
    let download = wait(&mut node, &tab, 60_000).unwrap();
    assert_eq!(download["url"], json!(own));
    std::fs::remove_file(download["path"].as_str().unwrap()).unwrap();
    let left = files(node.home.path());
    let any = left
        .iter()
        .any(|name| name.contains("f.bin") || name.ends_with("crdownload"));
    assert!(!any, "{left:?}");
    assert_eq!(files(&node.home.state().join("media/downloads")), [""; 0]);
}

#[test]
fn a_download_that_breaks_off_or_is_too_large_is_told_and_leaves_nothing() {
    let (mut node, site) = start();
    let large = site.answer("/large", "200 OK", FILE, &"x".repeat(11 * 1024 * 1024));
    let torn = site.torn("/torn", FILE, "only the beginning");
    for (file, fault) in [(large, "exceeds 10MB"), (torn, "was broken off")] {
        let tab = open(&mut node, &leading_to(&site, "/a", &file, 1_000));
        let error = format!("Error: Error: the download of {file} {fault}");
        assert_eq!(wait(&mut node, &tab, 60_000), Err(error));
        assert_eq!(files(&node.home.state().join("media/downloads")), [""; 0]);
    }
}

#[test]
fn a_link_that_opens_another_tab_for_its_file_gives_it_to_the_tab_it_is_on() {
    let (mut node, site) = start();
    site.answer("/file", "200 OK", FILE, "the file");
    node.show(&site.page("/", "Link", "<a href='/file' target=_blank>Report</a>"));
    let snapshot = crate::snapshots::taken(&mut node, json!({}));
    let name = crate::snapshots::reference(&snapshot, "Report");
    let wanted = json!({"ref": name, "path": "kept.bin"});
    let done = node.post("/download", wanted).unwrap();
    let path = done["download"]["path"].as_str().unwrap();
    assert_eq!(std::fs::read_to_string(path).unwrap(), "the file");
}
