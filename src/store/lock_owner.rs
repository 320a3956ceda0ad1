//! Who a lock file says its owner is, and whether that process still lives.
//!
//! The members are the reference's (cli §5.2) and one of ours.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
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
