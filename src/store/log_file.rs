//! The log file: where it stands, and appending to it within bounds (cli.md §5.4).
//!
//! One file per day in a directory that belongs to this user alone, or the one file that is configured. A
//! full file is moved aside once, files of earlier days go after a day. What cannot be written is an error
//! for the caller to mention once; it is tried again a minute later and stops nobody.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::OFlags;

use crate::protocol::limits::DAY_MS;
use crate::store::atomic::{PRIVATE_FILE, create_private_directory};
use crate::store::clock::rfc3339;

/// Age from which a file of an earlier day is removed.
const KEPT_FOR: Duration = Duration::from_millis(DAY_MS);

/// How long a file that could not be written is left alone, in milliseconds.
const RETRY_MS: u64 = 60_000;

/// Bytes of `YYYY-MM-DD`.
const DATE_BYTES: usize = 10;

/// What every dated file begins with.
const PREFIX: &str = "openclaw-";

/// What every dated file ends with.
const SUFFIX: &str = ".log";

/// Permission bits of group and others.
const FOREIGN_ACCESS: u32 = 0o077;

/// Where log lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogPlace {
    /// One file per day in this directory.
    Daily(PathBuf),
    /// One file, as configured.
    Fixed(PathBuf),
}

/// An open log file.
#[derive(Debug)]
pub struct LogFile {
    place: LogPlace,
    max_bytes: u64,
    open: Option<(PathBuf, File)>,
    /// Epoch milliseconds before which a failed file is not tried again.
    retry_at_ms: u64,
}

impl LogPlace {
    /// The configured file, else `<tmp>/openclaw`, else `<tmp>/openclaw-<uid>` when somebody else may use
    /// the first. `None` when neither can be trusted: in a shared place anybody can take a name first.
    pub fn find(configured: Option<&Path>, temp_dir: &Path) -> Option<LogPlace> {
        if let Some(file) = configured {
            return Some(LogPlace::Fixed(file.to_owned()));
        }
        let uid = rustix::process::getuid().as_raw();
        ["openclaw".to_owned(), format!("openclaw-{uid}")]
            .into_iter()
            .map(|name| temp_dir.join(name))
            .find(|directory| is_private_or_absent(directory, uid))
            .map(LogPlace::Daily)
    }

    /// The file of a moment, epoch milliseconds; days change in UTC.
    pub fn file(&self, now_ms: u64) -> PathBuf {
        match self {
            Self::Daily(directory) => {
                let date: String = rfc3339(now_ms).chars().take(DATE_BYTES).collect();
                directory.join(format!("{PREFIX}{date}{SUFFIX}"))
            }
            Self::Fixed(file) => file.clone(),
        }
    }
}

impl LogFile {
    /// A log at `place` whose files hold at most `max_bytes`; nothing is opened yet.
    pub fn new(place: LogPlace, max_bytes: u64) -> Self {
        Self {
            place,
            max_bytes,
            open: None,
            retry_at_ms: 0,
        }
    }

    /// Whether it writes to `place` within `max_bytes`.
    pub fn is_at(&self, place: &LogPlace, max_bytes: u64) -> bool {
        self.place == *place && self.max_bytes == max_bytes
    }

    /// Appends one line, which ends with a newline. After an error the lines of the next minute are
    /// dropped.
    pub fn append(&mut self, now_ms: u64, line: &str) -> io::Result<()> {
        if now_ms < self.retry_at_ms {
            return Ok(());
        }
        let written = self.try_append(now_ms, line);
        if written.is_err() {
            self.open = None;
            self.retry_at_ms = now_ms + RETRY_MS;
        }
        written
    }

    fn try_append(&mut self, now_ms: u64, line: &str) -> io::Result<()> {
        let path = self.place.file(now_ms);
        let (mut file, mut found) = match self.open.take().filter(|(open, _)| *open == path) {
            Some((_, file)) => {
                let found = file.metadata()?;
                (file, found)
            }
            None => self.begin(&path)?,
        };
        if found.nlink() == 0 {
            // Somebody tidied up.
            (file, found) = self.begin(&path)?;
        }
        if found.is_file() && found.len() > 0 && found.len() + line.len() as u64 > self.max_bytes {
            fs::rename(&path, aside(&path))?;
            (file, _) = self.begin(&path)?;
        }
        file.write_all(line.as_bytes())?;
        self.open = Some((path, file));
        Ok(())
    }

    /// Opens the file of a new day, and removes those of days before.
    fn begin(&self, path: &Path) -> io::Result<(File, fs::Metadata)> {
        let mut flags = OFlags::NONBLOCK;
        if let LogPlace::Daily(directory) = &self.place {
            create_private_directory(directory)?;
            let uid = rustix::process::getuid().as_raw();
            if !is_private_or_absent(directory, uid) {
                let text = format!("{} is not this user's alone", directory.display());
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
            }
            remove_old(directory);
            flags |= OFlags::NOFOLLOW;
        } else if let Some(parent) = path.parent() {
            create_private_directory(parent)?;
        }
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(PRIVATE_FILE)
            .custom_flags(flags.bits() as i32)
            .open(path)?;
        let found = file.metadata()?;
        Ok((file, found))
    }
}

/// Where a full file is moved: `<stem>.1.log`.
fn aside(path: &Path) -> PathBuf {
    path.with_extension("1.log")
}

fn is_private_or_absent(directory: &Path, uid: u32) -> bool {
    match fs::symlink_metadata(directory) {
        Ok(found) => {
            found.is_dir() && found.uid() == uid && found.permissions().mode() & FOREIGN_ACCESS == 0
        }
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

fn remove_old(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    let now = SystemTime::now();
    for entry in entries.flatten() {
        let dated = entry.file_name().to_str().is_some_and(is_dated);
        let old = entry.metadata().is_ok_and(|found| {
            let age = found
                .modified()
                .ok()
                .and_then(|at| now.duration_since(at).ok());
            found.is_file() && age.is_some_and(|age| age > KEPT_FOR)
        });
        if dated && old {
            // What cannot be removed is tried again tomorrow.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// `openclaw-YYYY-MM-DD.log` or `openclaw-YYYY-MM-DD.1.log`.
fn is_dated(name: &str) -> bool {
    let middle = name
        .strip_prefix(PREFIX)
        .and_then(|rest| rest.strip_suffix(SUFFIX));
    let date = middle.map(|middle| middle.strip_suffix(".1").unwrap_or(middle));
    date.is_some_and(|date| {
        date.len() == DATE_BYTES
            && date
                .bytes()
                .all(|byte| byte.is_ascii_digit() || byte == b'-')
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::{TempDir, names};

    #[test]
    fn the_directory_is_this_users_alone() {
        let temp = TempDir::new();
        let uid = rustix::process::getuid().as_raw();
        let (shared, own) = (temp.join("openclaw"), temp.join(&format!("openclaw-{uid}")));
        let find = || LogPlace::find(None, temp.path());
        assert_eq!(find(), Some(LogPlace::Daily(shared.clone())));
        fs::create_dir(&shared).unwrap();
        fs::set_permissions(&shared, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(find(), Some(LogPlace::Daily(own.clone())));
        std::os::unix::fs::symlink(temp.path(), &own).unwrap();
        assert_eq!(find(), None);
        let fixed = LogPlace::find(Some(Path::new("/x/y")), temp.path());
        assert_eq!(fixed, Some(LogPlace::Fixed("/x/y".into())));
    }

    #[test]
    fn every_day_has_its_file_and_old_ones_go() {
        let temp = TempDir::new();
        let directory = temp.join("openclaw");
        let mut log = LogFile::new(LogPlace::Daily(directory.clone()), 1000);
        log.append(0, "first\n").unwrap();
        log.append(1, "second\n").unwrap();
        let old = directory.join("openclaw-1970-01-01.log");
        assert_eq!(fs::read_to_string(&old).unwrap(), "first\nsecond\n");
        assert_eq!(fs::metadata(&old).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(&directory).unwrap().mode() & 0o777, 0o700);
        for name in [
            "openclaw-1970-01-01.1.log",
            "openclaw-notes.log",
            "other.log",
        ] {
            fs::write(directory.join(name), "x").unwrap();
        }
        for name in names(&directory) {
            let aged = SystemTime::now() - KEPT_FOR - Duration::from_secs(60);
            let file = File::options()
                .write(true)
                .open(directory.join(name))
                .unwrap();
            file.set_modified(aged).unwrap();
        }
        log.append(DAY_MS, "third\n").unwrap();
        let expected = ["openclaw-1970-01-02.log", "openclaw-notes.log", "other.log"];
        assert_eq!(names(&directory), expected);
    }

    #[test]
    fn a_full_file_moves_aside_and_a_removed_one_is_made_again() {
        let temp = TempDir::new();
        let path = temp.join("logs/gateway.log");
        let mut log = LogFile::new(LogPlace::Fixed(path.clone()), 8);
        for line in ["one\n", "two\n", "three\n", "four\n"] {
            log.append(0, line).unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "four\n");
        assert_eq!(fs::read_to_string(aside(&path)).unwrap(), "three\n");
        fs::remove_file(&path).unwrap();
        log.append(0, "five\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "five\n");
    }

    #[test]
    fn what_cannot_be_written_is_said_once_and_tried_again_later() {
        let temp = TempDir::new();
        let blocked = temp.join("logs");
        fs::write(&blocked, "a file").unwrap();
        let mut log = LogFile::new(LogPlace::Fixed(blocked.join("gateway.log")), 100);
        assert!(log.append(0, "lost\n").is_err());
        assert!(log.append(1, "lost\n").is_ok(), "nobody is bothered again");
        fs::remove_file(&blocked).unwrap();
        log.append(RETRY_MS, "kept\n").unwrap();
        let text = fs::read_to_string(blocked.join("gateway.log")).unwrap();
        assert_eq!(text, "kept\n");
    }
}
