//! Trails: one JSON line for every decision. The gateway keeps `audit.jsonl`, the node host
//! `node-audit.jsonl`.
//!
//! Lines are only ever appended, never changed, and chained (`chain`); a full file is moved aside and the
//! oldest one goes. No line holds a secret, nor a character that a reader does not see.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use crate::protocol::close::truncate;
use crate::protocol::hidden::escaped;
use crate::store::atomic::{PRIVATE_FILE, keep_owner_of_directory};
use crate::store::audit::chain::{Link, link_of, seal};
use crate::store::audit::files::{identity, numbered, open_existing};
use crate::store::turn;

pub mod chain;
pub mod explained;
pub mod files;

pub use files::AuditTrail;

/// Size in bytes from which the file is moved aside: some ten thousand decisions.
pub const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// How many files that were moved aside are kept: `audit.jsonl.1` is the newest of them.
pub const KEPT_FILES: u32 = 3;

/// Bytes of a line: a longer one would push thousands of others out.
const MAX_LINE_BYTES: usize = 32 * 1024;

/// Bytes of a member that stays whole in a line that is too long.
const MAX_MEMBER_BYTES: usize = 1024;

/// How long another process that writes the same trail is waited for; it needs microseconds, but may have
/// been stopped.
const TURN_PATIENCE: Duration = Duration::from_secs(1);

/// How much is read at first to find the last line; more only when it is longer.
const TAIL_BYTES: u64 = 16 * 1024;

/// How often a file that another process moves away meanwhile is opened again.
const ATTEMPTS: usize = 8;

/// The audit log of one state directory.
#[derive(Debug)]
pub struct AuditLog {
    path: PathBuf,
    max_bytes: u64,
    /// One append at a time, so that rotation and append do not cross.
    writer: Mutex<Writer>,
}

/// What is known from the last append.
#[derive(Debug, Default)]
struct Writer {
    open: Option<Open>,
    /// The newest line that this process knows of.
    link: Option<Link>,
}

/// The file that is written.
#[derive(Debug)]
struct Open {
    file: File,
    identity: (u64, u64),
    /// Its size when its end was looked at last; `None` before that.
    known_size: Option<u64>,
}

#[derive(Serialize)]
struct Line<'a, E> {
    /// Milliseconds since the Unix epoch.
    ts: u64,
    #[serde(flatten)]
    entry: &'a E,
}

/// The end of a trail on the disk.
#[derive(Debug, Default)]
struct End {
    link: Option<Link>,
    /// The bytes behind the line of `link`, its line break left out.
    behind: Vec<u8>,
    /// A crash tore the last line: it must not swallow the next one.
    is_torn: bool,
}

impl AuditLog {
    /// The log at `path`, which need not exist.
    pub fn new(path: PathBuf) -> Self {
        Self::with_max_bytes(path, MAX_BYTES)
    }

    pub(super) fn with_max_bytes(path: PathBuf, max_bytes: u64) -> Self {
        AuditLog {
            path,
            max_bytes,
            writer: Mutex::default(),
        }
    }

    /// Appends one line. Not synced: it survives the end of this process, not a power cut at once. Of a line above
    /// 32 KiB the long members are cut, or give way to a note of their size.
    ///
    /// # Errors
    /// It cannot be written; then nothing of it counts.
    pub fn append(&self, now_ms: u64, entry: &impl Serialize) -> io::Result<()> {
        let entry = serde_json::to_string(&Line { ts: now_ms, entry })?;
        let entry = escaped(bounded(entry));
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let written = self.append_line(&mut writer, &entry);
        if written.is_err() {
            // Whatever stands there now is looked at before the next line.
            writer.open = None;
        }
        written
    }

    /// The newest entries, oldest first, at most `limit`. Lines that are not JSON are left out.
    ///
    /// # Errors
    /// A file that exists cannot be read.
    pub fn newest(&self, limit: usize) -> io::Result<Vec<Value>> {
        let mut entries: Vec<Value> = Vec::new();
        AuditTrail::open(&self.path)?.each(|line| {
            entries.extend(serde_json::from_slice(&line.bytes).ok());
            Ok::<(), io::Error>(())
        })?;
        Ok(entries.split_off(entries.len().saturating_sub(limit)))
    }

    fn append_line(&self, writer: &mut Writer, entry: &str) -> io::Result<()> {
        for _ in 0..ATTEMPTS {
            let mut open = match writer.open.take() {
                Some(open) => open,
                None => self.open()?,
            };
            // A file system without such locks has one writer.
            let turn = turn::within(&open.file, TURN_PATIENCE);
            if matches!(turn, Ok(None)) {
                return Err(ErrorKind::TimedOut.into());
            }
            let size = match fs::metadata(&self.path) {
                Ok(found) if identity(&found) == open.identity => found.len(),
                // Another process has moved it, or a person removed it.
                Ok(_) => continue,
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let end = match open.known_size == Some(size) {
                true => End::after(writer.link.take()),
                false => self.end(&open.file, size)?.or_newer(writer.link.take()),
            };
            let (line, link) = seal(end.link.as_ref(), &end.behind, entry, size == 0);
            let line = format!("{}{line}\n", if end.is_torn { "\n" } else { "" });
            if size > 0 && size + line.len() as u64 > self.max_bytes {
                writer.link = end.link;
                self.rotate()?;
                continue;
            }
            (&open.file).write_all(line.as_bytes())?;
            drop(turn);
            open.known_size = Some(size + line.len() as u64);
            *writer = Writer {
                open: Some(open),
                link: Some(link),
            };
            return Ok(());
        }
        Err(ErrorKind::ResourceBusy.into())
    }

    fn open(&self) -> io::Result<Open> {
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(PRIVATE_FILE)
            .open(&self.path)?;
        let found = file.metadata()?;
        if found.len() == 0 {
            keep_owner_of_directory(&file, &self.path);
        }
        Ok(Open {
            identity: identity(&found),
            file,
            known_size: None,
        })
    }

    /// The end of the trail whose written file is `file`.
    fn end(&self, file: &File, size: u64) -> io::Result<End> {
        let mut end = end_of(file, size)?;
        if end.is_torn && !end.behind.is_empty() {
            end.behind.push(b'\n');
        }
        for number in 1..=KEPT_FILES {
            if end.link.is_some() {
                break;
            }
            let Some(older) = open_existing(&numbered(&self.path, number))? else {
                continue;
            };
            let size = older.metadata()?.len();
            let older = end_of(&older, size)?;
            end.behind = [older.behind, end.behind].concat();
            end.link = older.link;
        }
        if end.link.is_none() {
            // What came before the chain is not in it.
            end.behind.clear();
        }
        Ok(end)
    }

    fn rotate(&self) -> io::Result<()> {
        for number in (0..KEPT_FILES).rev() {
            match fs::rename(self.numbered(number), self.numbered(number + 1)) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    fn numbered(&self, number: u32) -> PathBuf {
        numbered(&self.path, number)
    }
}

impl End {
    /// The end behind a line that this process wrote.
    fn after(link: Option<Link>) -> End {
        End {
            link,
            ..End::default()
        }
    }

    /// The same, unless this process knows of a newer line: then lines were taken away, and the next one shows it.
    fn or_newer(self, known: Option<Link>) -> End {
        let found = self.link.as_ref().map_or(0, |link| link.seq);
        match known {
            Some(known) if known.seq > found => End {
                link: Some(known),
                behind: Vec::new(),
                is_torn: self.is_torn,
            },
            _ => self,
        }
    }
}

/// The line, or what is left of one that is too long.
fn bounded(line: String) -> String {
    if line.len() <= MAX_LINE_BYTES {
        return line;
    }
    let Ok(Value::Object(mut members)) = serde_json::from_str(&line) else {
        return line;
    };
    for value in members.values_mut() {
        let bytes = value.to_string().len();
        if bytes > MAX_MEMBER_BYTES {
            *value = match value.as_str() {
                Some(text) => json!(format!("{}…", truncate(text, MAX_MEMBER_BYTES))),
                None => json!({"bytesLeftOut": bytes}),
            };
        }
    }
    Value::Object(members).to_string()
}

/// The end of one file: its last chained line, and what is behind that; everything when it has none.
fn end_of(mut file: &File, size: u64) -> io::Result<End> {
    let mut window = TAIL_BYTES;
    loop {
        let start = size.saturating_sub(window);
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        file.take(size - start).read_to_end(&mut bytes)?;
        let is_torn = bytes.last().is_some_and(|last| *last != b'\n');
        let mut behind = bytes.len();
        for line in bytes.split_inclusive(|byte| *byte == b'\n').rev() {
            let begins = behind - line.len();
            let whole = begins > 0 || start == 0;
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            let link = Some(line).filter(|_| whole).and_then(link_of);
            if link.is_some() {
                return Ok(End {
                    link,
                    behind: bytes[behind..].to_vec(),
                    is_torn,
                });
            }
            behind = begins;
        }
        if start == 0 {
            return Ok(End {
                link: None,
                behind: bytes,
                is_torn,
            });
        }
        window *= 8;
    }
}

#[cfg(test)]
mod tests;
