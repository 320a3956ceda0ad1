//! Taking turns: processes that may write the same file (a daemon, and a command line beside it) hold this for the
//! moment in which they compare and replace it, so that no update is lost.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::store::atomic::{self, PRIVATE_FILE};

/// Pause between two looks of one who does not wait for ever.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// The place where turns are taken.
#[derive(Debug)]
pub struct Turnstile {
    file: File,
}

/// A turn; ends when dropped.
#[derive(Debug)]
pub struct Turn<'a> {
    file: &'a File,
}

impl Turnstile {
    /// Opens the file, creating it empty (0600).
    pub fn open(path: &Path) -> io::Result<Turnstile> {
        let file = open_to_lock(path)?;
        atomic::keep_owner_of_directory(&file, path);
        Ok(Turnstile { file })
    }

    /// Waits for the turn of whoever writes now. Writers hold it for a few renames, never longer.
    pub fn take(&self) -> io::Result<Turn<'_>> {
        loop {
            match flock(&self.file, FlockOperation::LockExclusive) {
                Ok(()) => return Ok(Turn { file: &self.file }),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// As [`Turnstile::take`], but gives up after `patience` with `None`: whoever holds the turn may have been
    /// stopped.
    pub fn take_within(&self, patience: Duration) -> io::Result<Option<Turn<'_>>> {
        within(&self.file, patience)
    }
}

/// A turn on a file that is itself what is written; `None` when somebody else has it for longer than `patience`.
pub(super) fn within(file: &File, patience: Duration) -> io::Result<Option<Turn<'_>>> {
    let deadline = Instant::now() + patience;
    loop {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(Some(Turn { file })),
            Err(Errno::INTR) => {}
            Err(Errno::WOULDBLOCK) if Instant::now() < deadline => {
                thread::sleep(POLL_INTERVAL);
            }
            Err(Errno::WOULDBLOCK) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Opens a file to lock it, creating it empty (0600). On a disk that is read-only one that is there does as well.
pub(super) fn open_to_lock(path: &Path) -> io::Result<File> {
    let opened = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(PRIVATE_FILE)
        .open(path);
    match opened {
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => {
            File::open(path).map_err(|_| error)
        }
        other => other,
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // It ends with the process at the latest.
        let _ = flock(self.file, FlockOperation::Unlock);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use super::*;
    use crate::store::testing::TempDir;

    #[test]
    fn only_one_has_the_turn() {
        let temp = TempDir::new();
        let path = temp.join("turn");
        let inside = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let turnstile = Turnstile::open(&path).unwrap();
                    for _ in 0..50 {
                        let turn = turnstile.take().unwrap();
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        thread::yield_now();
                        inside.fetch_sub(1, Ordering::SeqCst);
                        drop(turn);
                    }
                });
            }
        });
    }

    #[test]
    fn one_with_bounded_patience_gives_up() {
        let temp = TempDir::new();
        let path = temp.join("turn");
        let (holder, other) = (
            Turnstile::open(&path).unwrap(),
            Turnstile::open(&path).unwrap(),
        );
        let turn = holder.take().unwrap();
        assert!(
            other
                .take_within(Duration::from_millis(20))
                .unwrap()
                .is_none()
        );
        drop(turn);
        assert!(other.take_within(Duration::ZERO).unwrap().is_some());
    }
}
