//! Files that go along with a result: those it names by path, read and encoded (node-host specification, section 4.2).

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::error::BrowserError;
use crate::identity::Random;
use crate::store::atomic;

/// Bytes of the largest file.
pub const MAX_FILE_BYTES: u64 = 10 * 1024 * 1024;

/// Bytes of a result and of all its files as base64, so that the frame around them stays below 25 MiB.
pub const MAX_TOTAL_BYTES: usize = 24 * 1024 * 1024;

/// Where a result names files, in this order.
const PLACES: [&str; 3] = ["/path", "/imagePath", "/download/path"];

/// How long a screenshot stays here after it went to the gateway, which keeps its own copy.
const KEPT_FOR: Duration = Duration::from_secs(600);

/// The files of a result as they go over the wire; none is an empty list.
///
/// # Errors
/// [`BrowserError::Invalid`] for a file that is missing or too large.
pub fn collect(result: &Value) -> Result<Vec<Value>, BrowserError> {
    let named = PLACES
        .iter()
        .filter_map(|place| result.pointer(place)?.as_str());
    let mut paths: Vec<&str> = Vec::new();
    for path in named {
        if !paths.contains(&path) {
            paths.push(path);
        }
    }
    let mut total = 0;
    let mut files = Vec::new();
    for path in paths {
        let failed = |reason: &str| {
            let text = format!("browser proxy file read failed for {path}: Error: {reason}");
            BrowserError::invalid(text)
        };
        let bytes = read(Path::new(path)).map_err(|reason| failed(&reason))?;
        let base64 = data_encoding::BASE64.encode(&bytes);
        total += base64.len();
        if total > MAX_TOTAL_BYTES {
            return Err(failed(
                "browser proxy files exceed the gateway's payload limit",
            ));
        }
        files.push(json!({"path": path, "base64": base64, "mimeType": mime(path)}));
    }
    Ok(files)
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let metadata = path.metadata().map_err(|_| "file not found")?;
    if !metadata.is_file() {
        return Err("file not found".to_owned());
    }
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    // One that grows meanwhile is too large as well.
    let read = file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes);
    match read {
        Ok(count) if count as u64 <= MAX_FILE_BYTES => Ok(bytes),
        Ok(_) => Err("browser proxy file exceeds 10MB".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn mime(path: &str) -> &'static str {
    let ending = path
        .rsplit_once('.')
        .map(|(_, ending)| ending.to_ascii_lowercase());
    match ending.as_deref() {
        Some("png") => "image/png",
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("gif") => "image/gif",
        Some("webp") => "image/webp",
        Some("svg") => "image/svg+xml",
        Some("pdf") => "application/pdf",
        Some("json") => "application/json",
        Some("html" | "htm") => "text/html",
        Some("txt" | "md" | "csv" | "log") => "text/plain",
        Some("zip") => "application/zip",
        _ => "application/octet-stream",
    }
}

/// Writes a file of a result below the state directory and gives its path; older ones are removed.
///
/// # Errors
/// [`BrowserError::Unexpected`] when it cannot be written.
pub fn keep(state_dir: &Path, ending: &str, bytes: &[u8]) -> Result<String, BrowserError> {
    let directory = state_dir.join("media").join("browser");
    let path = directory.join(format!("{}.{ending}", Random.uuid()));
    let written = atomic::create_private_directory(&directory)
        .and_then(|()| atomic::write(&path, bytes, atomic::PRIVATE_FILE));
    written.map_err(|error| {
        BrowserError::Unexpected(format!("cannot write {}: {error}", path.display()))
    })?;
    for old in outdated(&directory, SystemTime::now()) {
        // Somebody else may have removed it.
        let _ = std::fs::remove_file(old);
    }
    Ok(path.display().to_string())
}

fn outdated(directory: &Path, now: SystemTime) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter(|entry| {
            let written = entry.metadata().and_then(|metadata| metadata.modified());
            let age = written
                .ok()
                .and_then(|written| now.duration_since(written).ok());
            age.is_some_and(|age| age > KEPT_FOR)
        })
        .map(|entry| entry.path())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::testing::TempDir;

    #[test]
    fn files_of_a_result_are_read_once_in_their_order() {
        let dir = TempDir::new();
        let shot = keep(dir.path(), "png", b"png").unwrap();
        let page = dir.path().join("a.pdf");
        std::fs::write(&page, "pdf").unwrap();
        let page = page.to_str().unwrap();
        let result = json!({"download": {"path": page}, "path": shot, "imagePath": shot});
        let files = collect(&result).unwrap();
        let expected = [
            json!({"path": shot, "base64": "cG5n", "mimeType": "image/png"}),
            json!({"path": page, "base64": "cGRm", "mimeType": "application/pdf"}),
        ];
        assert_eq!(files, expected);
        assert!(collect(&json!({"ok": true})).unwrap().is_empty());
    }

    #[test]
    fn what_cannot_go_along_is_an_error() {
        let dir = TempDir::new();
        let large = dir.path().join("large");
        let file = std::fs::File::create(&large).unwrap();
        let error = |path: &Path| {
            let path = path.to_str().unwrap();
            let text = collect(&json!({"path": path})).unwrap_err().to_string();
            text.replace(path, "P")
        };
        file.set_len(MAX_FILE_BYTES).unwrap();
        assert_eq!(collect(&json!({"path": large})).unwrap().len(), 1);
        file.set_len(MAX_FILE_BYTES + 1).unwrap();
        let too_large =
            "browser proxy file read failed for P: Error: browser proxy file exceeds 10MB";
        assert_eq!(error(&large), too_large);
        let missing = "browser proxy file read failed for P: Error: file not found";
        assert_eq!(error(&dir.path().join("none")), missing);
        assert_eq!(error(dir.path()), missing);
        // Two that fit alone do not fit together.
        file.set_len(MAX_FILE_BYTES).unwrap();
        let second = dir.path().join("second");
        std::fs::copy(&large, &second).unwrap();
        let both = collect(&json!({"path": large, "imagePath": second})).unwrap_err();
        assert!(both.to_string().contains("payload limit"), "{both}");
    }

    #[test]
    fn old_files_go_when_a_new_one_comes() {
        let dir = TempDir::new();
        let first = keep(dir.path(), "png", b"1").unwrap();
        let directory = dir.path().join("media/browser");
        assert!(outdated(&directory, SystemTime::now()).is_empty());
        let later = SystemTime::now() + KEPT_FOR + Duration::from_secs(1);
        assert_eq!(outdated(&directory, later), [PathBuf::from(first)]);
    }
}
