//! The gateway's trail while the disk does not take it: a line that cannot be written stops no decision and waits in
//! memory, and goes before the next one.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::pairing::AuditEntry;
use crate::store::audit::AuditLog;

/// Lines that may wait, below a megabyte of memory. Beyond it the newest are lost, which the program's own log
/// says line by line.
const MOST_OWED: usize = 1_000;

/// The audit log and what is not in it yet.
#[derive(Debug)]
pub struct Trail {
    log: AuditLog,
    owed: Mutex<VecDeque<(u64, AuditEntry)>>,
    written: AtomicU64,
    lost: AtomicU64,
}

/// How writing lines went so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lines {
    /// Those in the file.
    pub written: u64,
    /// Those that wait for the disk.
    pub waiting: u64,
    /// Those that are in no file and never will be.
    pub lost: u64,
}

impl Trail {
    /// The trail in the file `path`, which need not exist.
    pub fn new(path: PathBuf) -> Trail {
        Trail {
            log: AuditLog::new(path),
            owed: Mutex::default(),
            written: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        }
    }

    /// How writing went since this was made.
    pub fn figures(&self) -> Lines {
        Lines {
            written: self.written.load(Ordering::Relaxed),
            waiting: self.owed().len() as u64,
            lost: self.lost.load(Ordering::Relaxed),
        }
    }

    /// The file as it is.
    pub fn log(&self) -> &AuditLog {
        &self.log
    }

    /// Writes a line behind all that are owed. What cannot be written is owed, and said in the program's log.
    pub fn append(&self, now_ms: u64, entry: &AuditEntry) {
        let mut owed = self.owed();
        let mut outcome = self.write(&mut owed);
        let kept = owed.len() < MOST_OWED;
        if kept {
            owed.push_back((now_ms, entry.clone()));
            outcome = outcome.and_then(|()| self.write(&mut owed));
        } else {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        if let Err(error) = outcome {
            let fate = if kept {
                "it is kept for later"
            } else {
                "it is lost"
            };
            log::warn!(
                "cannot write the audit line of {} {}: {error}; {fate}",
                entry.action,
                entry.subject
            );
        }
    }

    /// Writes what is owed, if the disk takes it now.
    pub fn settle(&self) {
        let mut owed = self.owed();
        if owed.is_empty() {
            return;
        }
        match self.write(&mut owed) {
            Ok(()) => log::info!("the audit log is written again"),
            Err(error) => log::warn!("{} audit lines still wait: {error}", owed.len()),
        }
    }

    fn write(&self, owed: &mut VecDeque<(u64, AuditEntry)>) -> io::Result<()> {
        while let Some((at_ms, entry)) = owed.front() {
            self.log.append(*at_ms, entry)?;
            owed.pop_front();
            self.written.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    fn owed(&self) -> MutexGuard<'_, VecDeque<(u64, AuditEntry)>> {
        self.owed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::TempDir;

    fn entry(subject: usize) -> AuditEntry {
        AuditEntry {
            action: "device.approve",
            subject: subject.to_string(),
            ..AuditEntry::default()
        }
    }

    fn subjects(trail: &Trail) -> Vec<usize> {
        let lines = trail.log().newest(2 * MOST_OWED).unwrap();
        let subject = |line: &serde_json::Value| line["subject"].as_str().unwrap().parse().unwrap();
        lines.iter().map(subject).collect()
    }

    #[test]
    fn what_the_disk_refused_is_written_later_in_its_order_and_with_its_time() {
        let temp = TempDir::new();
        let path = temp.join("audit.jsonl");
        let trail = Trail::new(path.clone());
        trail.append(1, &entry(1));
        std::fs::rename(&path, temp.join("before")).unwrap();
        std::fs::create_dir(&path).unwrap();
        trail.append(2, &entry(2));
        trail.append(3, &entry(3));
        trail.settle();
        std::fs::remove_dir(&path).unwrap();
        std::fs::rename(temp.join("before"), &path).unwrap();
        trail.settle();
        assert_eq!(subjects(&trail), [1, 2, 3]);
        trail.append(4, &entry(4));
        assert_eq!(subjects(&trail), [1, 2, 3, 4]);
        assert_eq!(trail.log().newest(3).unwrap()[0]["ts"], 2);
    }

    #[test]
    fn what_waits_is_bounded_and_the_first_line_after_a_full_disk_is_not_lost() {
        let temp = TempDir::new();
        let path = temp.join("audit.jsonl");
        std::fs::create_dir(&path).unwrap();
        let trail = Trail::new(path.clone());
        for number in 0..MOST_OWED + 10 {
            trail.append(1, &entry(number));
        }
        std::fs::remove_dir(&path).unwrap();
        let figures = |written, waiting| Lines {
            written,
            waiting,
            lost: 10,
        };
        assert_eq!(trail.figures(), figures(0, MOST_OWED as u64));
        trail.append(2, &entry(MOST_OWED));
        assert_eq!(trail.figures(), figures(MOST_OWED as u64 + 1, 0));
        assert_eq!(subjects(&trail), (0..=MOST_OWED).collect::<Vec<_>>());
    }
}
