//! Trails: one JSON line for every decision. The gateway keeps `audit.jsonl`, the node host
//! `node-audit.jsonl`.
//!
//! Lines are only ever appended, never changed; a full file is moved aside and the oldest one goes.
//! No line holds a secret, nor a character that a reader does not see.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use serde_json::Value;

use crate::protocol::hidden::escaped;
use crate::store::atomic::PRIVATE_FILE;

/// Size in bytes from which the file is moved aside: some ten thousand decisions.
pub const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// How many files that were moved aside are kept: `audit.jsonl.1` is the newest of them.
pub const KEPT_FILES: u32 = 3;

/// The audit log of one state directory.
#[derive(Debug)]
pub struct AuditLog {
    path: PathBuf,
    max_bytes: u64,
    /// One append at a time, so that rotation and append do not cross.
    turn: Mutex<()>,
}

#[derive(Serialize)]
struct Line<'a, E> {
    /// Milliseconds since the Unix epoch.
    ts: u64,
    #[serde(flatten)]
    entry: &'a E,
}

impl AuditLog {
    /// The log at `path`, which need not exist.
    pub fn new(path: PathBuf) -> Self {
        AuditLog {
            path,
            max_bytes: MAX_BYTES,
            turn: Mutex::new(()),
        }
    }

    /// Appends one line. Not synced: it survives the end of this process, not a power cut at once.
    pub fn append(&self, now_ms: u64, entry: &impl Serialize) -> io::Result<()> {
        let mut line = escaped(serde_json::to_string(&Line { ts: now_ms, entry })?);
        line.push('\n');
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut file = self.open()?;
        let size = file.metadata()?.len();
        if size > 0 && size + line.len() as u64 > self.max_bytes {
            self.rotate()?;
            file = self.open()?;
        } else if size > 0 && !ends_with_newline(&mut file)? {
            // A crash tore the last line; it must not swallow this one.
            line.insert(0, '\n');
        }
        file.write_all(line.as_bytes())
    }

    /// The newest entries, oldest first, at most `limit`. Lines that are not JSON are left out.
    pub fn newest(&self, limit: usize) -> io::Result<Vec<Value>> {
        let mut entries: Vec<Value> = Vec::new();
        for number in 0..=KEPT_FILES {
            if entries.len() >= limit {
                break;
            }
            let text = match fs::read(self.numbered(number)) {
                Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let mut older: Vec<Value> = text
                .lines()
                .rev()
                .filter_map(|line| serde_json::from_str(line).ok())
                .take(limit - entries.len())
                .collect();
            older.reverse();
            older.append(&mut entries);
            entries = older;
        }
        Ok(entries)
    }

    fn open(&self) -> io::Result<File> {
        OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(PRIVATE_FILE)
            .open(&self.path)
    }

    fn rotate(&self) -> io::Result<()> {
        for number in (0..KEPT_FILES).rev() {
            match fs::rename(self.numbered(number), self.numbered(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    fn numbered(&self, number: u32) -> PathBuf {
        numbered(&self.path, number)
    }
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    if number == 0 {
        return path.to_owned();
    }
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    PathBuf::from(name)
}

fn ends_with_newline(file: &mut File) -> io::Result<bool> {
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use serde_json::json;

    use super::*;
    use crate::pairing::AuditEntry;
    use crate::store::testing::TempDir;

    fn entry(subject: &str) -> AuditEntry {
        AuditEntry {
            action: "device.approve",
            subject: subject.to_owned(),
            by: "operator".to_owned(),
            via: "device.pair.approve".to_owned(),
            from: Some("127.0.0.1".to_owned()),
            after: Some(json!({"roles": ["node"]})),
            ..AuditEntry::default()
        }
    }

    #[test]
    fn a_decision_is_one_private_line() {
        let temp = TempDir::new();
        let path = temp.join("audit.jsonl");
        let log = AuditLog::new(path.clone());
        assert!(log.newest(10).unwrap().is_empty());
        log.append(7, &entry("line\nbreak")).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 1);
        assert_eq!(
            serde_json::from_str::<Value>(&text).unwrap(),
            json!({"ts": 7, "action": "device.approve", "subject": "line\nbreak", "by": "operator",
                   "via": "device.pair.approve", "from": "127.0.0.1", "after": {"roles": ["node"]}})
        );
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_torn_line_costs_only_itself() {
        let temp = TempDir::new();
        let path = temp.join("audit.jsonl");
        let log = AuditLog::new(path.clone());
        log.append(1, &entry("a")).unwrap();
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"{\"ts\":2,\"acti").unwrap();
        log.append(3, &entry("c")).unwrap();
        let newest = log.newest(10).unwrap();
        assert_eq!(newest.len(), 2);
        assert_eq!(newest[1]["subject"], "c");
    }

    #[test]
    fn full_files_move_aside_and_the_oldest_goes() {
        let temp = TempDir::new();
        let path = temp.join("audit.jsonl");
        let mut log = AuditLog::new(path.clone());
        log.append(0, &entry("0")).unwrap();
        let line = fs::metadata(&path).unwrap().len();
        log.max_bytes = 2 * line;
        for ts in 1..9 {
            log.append(ts, &entry(&ts.to_string())).unwrap();
        }
        let subjects = |limit| -> Vec<u64> {
            let newest = log.newest(limit).unwrap();
            newest
                .iter()
                .map(|entry| entry["ts"].as_u64().unwrap())
                .collect()
        };
        assert_eq!(subjects(100), [2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(subjects(3), [6, 7, 8]);
        assert!(numbered(&path, KEPT_FILES).exists());
        assert!(!numbered(&path, KEPT_FILES + 1).exists());
    }

    #[test]
    fn what_cannot_be_written_is_an_error() {
        let temp = TempDir::new();
        let log = AuditLog::new(temp.join("missing/audit.jsonl"));
        assert!(log.append(1, &entry("a")).is_err());
    }

    #[test]
    fn no_name_hides_in_a_line() {
        let temp = TempDir::new();
        let path = temp.join("audit.jsonl");
        let name = "Pi\u{1b}[2J\u{202e}\u{9b}";
        AuditLog::new(path.clone()).append(7, &entry(name)).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains("Pi\\u001b[2J\\u202e\\u009b"), "{text}");
        assert_eq!(
            serde_json::from_str::<Value>(&text).unwrap()["subject"],
            name
        );
    }
}
