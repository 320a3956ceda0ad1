//! Taking turns: two processes that may both write the pairing files (a gateway, and a command line beside it) hold
//! this for the moment in which they compare and replace them, so that no update is lost.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use crate::store::atomic::PRIVATE_FILE;

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
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(PRIVATE_FILE)
            .open(path)?;
        Ok(Turnstile { file })
    }

    /// Waits for the turn of whoever writes now. Writers hold it for a few renames, never longer.
    pub fn take(&self) -> io::Result<Turn<'_>> {
        loop {
            match flock(&self.file, FlockOperation::LockExclusive) {
                Ok(()) => return Ok(Turn { file: &self.file }),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
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
}
