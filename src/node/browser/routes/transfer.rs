//! `/hooks/file-chooser`, `/wait/download`, `/download`: files into pages and out of them.

use std::fs::DirEntry;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::super::act::action::{Named, Press};
use super::super::act::perform::{click, find_in_time};
use super::super::cdp::CdpError;
use super::super::context::{Context, Tab};
use super::super::downloads::{Download, End, refuse_all};
use super::super::enclosure::{Enclosure, file_name};
use super::super::error::BrowserError;
use crate::identity::Random;
use crate::store::atomic;

/// How long files wait for an input, and a caller for a download.
const PATIENCE: Duration = Duration::from_secs(120);

/// How often what is left of downloads is tried to be removed.
const CLEARING: Duration = Duration::from_millis(20);

/// How long the browser may take to be told that nobody waits any more.
const FAREWELL: Duration = Duration::from_secs(2);

/// `POST /hooks/file-chooser`.
pub fn choose(context: &Context<'_>) -> Result<Value, BrowserError> {
    let request = context.request;
    let paths = request.body.get("paths").and_then(Value::as_array);
    let paths: Vec<&str> = paths
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    if paths.is_empty() {
        return Err(BrowserError::invalid("paths are required"));
    }
    let uploads = enclosure(context, "uploads")?;
    let mut files = Vec::new();
    for path in paths {
        files.push(uploads.file(path)?.display().to_string());
    }
    let (button, input) = (request.body("ref"), request.body("inputRef"));
    let selector = request.body("element");
    if button.is_some() && (input.is_some() || selector.is_some()) {
        let text = "ref cannot be combined with inputRef or element";
        return Err(BrowserError::invalid(text));
    }
    let patience = request.milliseconds("timeoutMs").unwrap_or(PATIENCE);
    let tab = context.tab()?;
    let field = match (input, selector) {
        (Some(name), _) => Some(Named::Ref(name.to_owned())),
        (None, selector) => selector.map(|selector| Named::Selector(selector.to_owned())),
    };
    if let Some(field) = field {
        let handle = find_in_time(context, &tab, &field, patience)?;
        let params = json!({"files": files, "objectId": handle.object});
        let frame = handle.frame.as_deref();
        tab.page
            .call_in(frame, "DOM.setFileInputFiles", params, context.deadline)?;
        return Ok(json!({"ok": true}));
    }
    tab.page.choose_next(files, patience, context.deadline)?;
    if let Some(name) = button {
        click_on(context, &tab, name, patience)?;
    }
    Ok(json!({"ok": true}))
}

/// `POST /wait/download`.
pub fn wait(context: &Context<'_>) -> Result<Value, BrowserError> {
    let downloads = enclosure(context, "downloads")?;
    let path = context
        .request
        .body("path")
        .map(|path| downloads.writable(path));
    receive(context, &downloads, path.transpose()?, None)
}

/// `POST /download`.
pub fn download(context: &Context<'_>) -> Result<Value, BrowserError> {
    let name = context.request.body("ref");
    let name = name.ok_or_else(|| BrowserError::invalid("ref is required"))?;
    let path = context.request.body("path");
    let path = path.ok_or_else(|| BrowserError::invalid("path is required"))?;
    let downloads = enclosure(context, "downloads")?;
    let path = downloads.writable(path)?;
    receive(context, &downloads, Some(path), Some(name))
}

/// The directory of this name that callers may use.
fn enclosure(context: &Context<'_>, name: &'static str) -> Result<Enclosure, BrowserError> {
    let directory = context.proxy.paths.state_dir.join("media").join(name);
    Enclosure::new(name, directory)
}

fn click_on(
    context: &Context<'_>,
    tab: &Tab,
    name: &str,
    limit: Duration,
) -> Result<(), BrowserError> {
    click(
        context,
        tab,
        Named::Ref(name.to_owned()),
        Press::plain(),
        limit,
    )
}

/// Takes the next download, after a click on the element that is named, and gives it its place.
fn receive(
    context: &Context<'_>,
    downloads: &Enclosure,
    path: Option<PathBuf>,
    name: Option<&str>,
) -> Result<Value, BrowserError> {
    let limit = context
        .request
        .milliseconds("timeoutMs")
        .unwrap_or(PATIENCE);
    let until = context.deadline.min(Instant::now() + limit.min(PATIENCE));
    let tab = context.tab()?;
    let own = &tab.browser.pages.downloads;
    let _turn = own.turns.take(until).ok_or(BrowserError::TimedOut)?;
    // Kept when it is empty: the browser makes it anew whenever it pleases, also for what was broken off.
    let partial = downloads
        .root()
        .join(format!(".partial-{}", context.profile.name));
    let failed = |error: std::io::Error| {
        BrowserError::Unexpected(format!("cannot write {}: {error}", partial.display()))
    };
    atomic::create_private_directory(&partial).map_err(failed)?;
    clear(&partial, until);
    let behave = |params: Value, deadline| {
        let connection = &tab.browser.connection;
        connection.call(None, "Browser.setDownloadBehavior", params, deadline)
    };
    let received = (|| {
        own.want(&tab.target.id);
        let params =
            json!({"behavior": "allowAndName", "downloadPath": partial, "eventsEnabled": true});
        behave(params, until)?;
        if let Some(name) = name {
            click_on(context, &tab, name, limit)?;
        }
        let (download, end) = own.wait(until).map_err(|error| match error {
            CdpError::TimedOut if Instant::now() < context.deadline => {
                BrowserError::slow("waiting for a download", limit)
            }
            error => error.into(),
        })?;
        // What is refused goes with everything that was not taken.
        context.check_download(&tab, &download.url)?;
        let fault = match end {
            End::BrokenOff => Some("was broken off"),
            End::Complete => None,
            End::TooLarge => Some("exceeds 10MB"),
        };
        if let Some(fault) = fault {
            let text = format!("the download of {} {fault}", download.url);
            return Err(BrowserError::Unexpected(text));
        }
        let path = path.unwrap_or_else(|| free_place(downloads, &download));
        std::fs::rename(partial.join(&download.id), &path).map_err(|error| {
            BrowserError::Unexpected(format!("cannot write {}: {error}", path.display()))
        })?;
        Ok(told(&download, &path))
    })();
    let farewell = Instant::now() + FAREWELL;
    // A browser that has ended keeps nothing.
    let _ = behave(refuse_all(), farewell);
    if let Some(id) = own.stop() {
        let params = json!({"guid": id});
        let connection = &tab.browser.connection;
        let _ = connection.call(None, "Browser.cancelDownload", params, farewell);
    }
    clear(&partial, farewell);
    Ok(json!({"ok": true, "targetId": tab.target.id, "download": received?}))
}

/// Removes what is left of downloads that nobody waited for; one that was broken off may be written for a moment yet.
fn clear(partial: &Path, deadline: Instant) {
    let is_left = |entry: std::io::Result<DirEntry>| {
        let removed = entry.and_then(|entry| std::fs::remove_file(entry.path()));
        removed.is_err_and(|error| error.kind() != ErrorKind::NotFound)
    };
    let mut tried = false;
    while let Ok(entries) = std::fs::read_dir(partial) {
        let left = entries.map(is_left).filter(|left| *left).count();
        if left == 0 || (tried && Instant::now() >= deadline) {
            return;
        }
        tried = true;
        std::thread::sleep(CLEARING);
    }
}

fn free_place(downloads: &Enclosure, download: &Download) -> PathBuf {
    let name = format!("{}-{}", Random.uuid(), file_name(&download.suggested));
    downloads.root().join(name)
}

fn told(download: &Download, path: &Path) -> Value {
    json!({"url": download.url, "suggestedFilename": download.suggested, "path": path})
}
