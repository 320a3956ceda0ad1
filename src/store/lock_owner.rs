//! Who a lock file says its owner is, and whether that process still lives.
//!
//! The members are the reference's (cli §5.2) and one of ours.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
#[cfg(target_os = "linux")]
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};
use serde::{Deserialize, Serialize};

use crate::store::clock::{Clock, SystemClock, rfc3339};

/// Who wants the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// A command that works on the state directory and is done in a moment.
    Administration,
    /// A gateway, which holds it for its life.
    Gateway,
}

/// The content of a lock file: the reference's members and one of ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Owner {
    pub(super) pid: u32,
    #[serde(default)]
    created_at: String,
    #[serde(default)]
    config_path: String,
    /// Field 22 of `/proc/<pid>/stat`, clock ticks since boot; tells a process from a later one
    /// with the same number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    start_time: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) purpose: Option<Purpose>,
}

impl Owner {
    /// The owner that an open lock file names.
    pub(super) fn read(mut file: &File) -> Option<Self> {
        let mut text = String::new();
        file.seek(SeekFrom::Start(0)).ok()?;
        file.read_to_string(&mut text).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// This process.
    pub(super) fn myself(config_file: &Path, purpose: Purpose) -> Self {
        let pid = std::process::id();
        Owner {
            pid,
            created_at: rfc3339(SystemClock.now_ms()),
            config_path: config_file.to_string_lossy().into_owned(),
            start_time: start_time(pid),
            purpose: Some(purpose),
        }
    }

    /// Whether the process still runs. One with the same number that started at another time is another.
    pub(super) fn is_alive(&self) -> bool {
        let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) else {
            return false;
        };
        // Not permitted to signal it: then it exists.
        let exists = !matches!(test_kill_process(pid), Err(Errno::SRCH));
        exists
            && match (self.start_time, start_time(self.pid)) {
                (Some(recorded), Some(actual)) => recorded == actual,
                _ => true,
            }
    }
}

/// `None` where there is no `/proc` or no such process.
pub(super) fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in parentheses and may hold anything; field 22 is the
    // 20th after it.
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// Who holds the lock on an open file. A disk that is read-only takes no name: there the file names nobody, or who held
/// it before.
#[cfg(target_os = "linux")]
pub(super) fn holder_by_kernel(file: &File) -> Option<u32> {
    let metadata = file.metadata().ok()?;
    let device = metadata.dev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let place = format!("{major:02x}:{minor:02x}:{}", metadata.ino());
    let locks = fs::read_to_string("/proc/locks").ok()?;
    locks.lines().find_map(|line| holder_in(line, &place))
}

#[cfg(not(target_os = "linux"))]
pub(super) fn holder_by_kernel(_: &File) -> Option<u32> {
    None
}

/// Reads `1: FLOCK  ADVISORY  WRITE 4711 00:1f:1234 0 EOF`.
#[cfg(target_os = "linux")]
fn holder_in(line: &str, wanted: &str) -> Option<u32> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    match words[..] {
        [_, "FLOCK", "ADVISORY", "WRITE", pid, place, ..] if place == wanted => {
            // 0: a process of a container that this one does not see.
            pid.parse().ok().filter(|pid| *pid > 0)
        }
        _ => None,
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_kernels_locks_names_who_holds_one() {
        for (line, holder) in [
            ("4: FLOCK  ADVISORY  WRITE 8 00:1f:12 0 EOF", Some(8)),
            ("4: FLOCK  ADVISORY  WRITE 8 00:1f:123 0 EOF", None),
            ("4: FLOCK  ADVISORY  READ 8 00:1f:12 0 EOF", None),
            ("4: POSIX  ADVISORY  WRITE 8 00:1f:12 0 EOF", None),
            // One who waits.
            ("4: -> FLOCK  ADVISORY  WRITE 8 00:1f:12 0 EOF", None),
        ] {
            assert_eq!(holder_in(line, "00:1f:12"), holder, "{line}");
        }
    }
}
