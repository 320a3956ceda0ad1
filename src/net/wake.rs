//! A file descriptor that any thread can make readable, to wake one thread out of `poll`.
//!
//! An eventfd where the system has one, a pipe elsewhere. Notifications are counted as one until the
//! owner clears them.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::atomic::{AtomicBool, Ordering},
};

/// Wakes its owner; every other thread notifies.
#[derive(Debug)]
pub struct Wake {
    readable: OwnedFd,
    /// The other end of a pipe; an eventfd has only one.
    writable: Option<OwnedFd>,
    /// Whether a notification is under way, to spare the system call of the next one.
    notified: AtomicBool,
}

impl Wake {
    /// A wake that nobody has notified yet; fails when descriptors run out.
    pub fn new() -> io::Result<Wake> {
        let (readable, writable) = descriptors()?;
        Ok(Wake {
            readable,
            writable,
            notified: AtomicBool::new(false),
        })
    }

    /// Makes the owner's `poll` return; any number before the owner clears are one.
    pub fn notify(&self) {
        if self.notified.swap(true, Ordering::SeqCst) {
            return;
        }
        let target = self.writable.as_ref().unwrap_or(&self.readable);
        // Only a full counter or pipe can refuse, and then the owner is being woken already.
        let _ = rustix::io::write(target, &1_u64.to_ne_bytes());
    }

    /// Takes all notifications back. What was made known before a notification must be looked at
    /// after this, never before.
    pub fn clear(&self) {
        let mut sink = [0_u8; 8];
        while matches!(rustix::io::read(&self.readable, &mut sink), Ok(read) if read > 0) {
            if self.writable.is_none() {
                break;
            }
        }
        self.notified.store(false, Ordering::SeqCst);
    }
}

impl AsFd for Wake {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.readable.as_fd()
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn descriptors() -> io::Result<(OwnedFd, Option<OwnedFd>)> {
    use rustix::event::{EventfdFlags, eventfd};
    Ok((
        eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        None,
    ))
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn descriptors() -> io::Result<(OwnedFd, Option<OwnedFd>)> {
    let (readable, writable) = rustix::pipe::pipe()?;
    for end in [&readable, &writable] {
        rustix::io::fcntl_setfd(end, rustix::io::FdFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(end, true)?;
    }
    Ok((readable, Some(writable)))
}

#[cfg(test)]
mod tests {
    use std::{
        sync::Arc,
        thread,
        time::{Duration, Instant},
    };

    use super::*;
    use crate::net::readiness::{Interest, wait};

    #[test]
    fn a_notification_wakes_once_until_cleared() {
        let wake = Wake::new().unwrap();
        let peek = || {
            wait(None, Interest::READ, Some(&wake), Some(Instant::now()))
                .unwrap()
                .woken
        };
        assert!(!peek());
        wake.notify();
        wake.notify();
        assert!(peek() && peek());
        wake.clear();
        assert!(!peek());
        wake.notify();
        assert!(peek());
    }

    #[test]
    fn no_notification_is_lost_between_two_threads() {
        const ROUNDS: usize = 2_000;
        let wake = Arc::new(Wake::new().unwrap());
        let (sender, receiver) = std::sync::mpsc::channel();
        let notifier = {
            let wake = Arc::clone(&wake);
            thread::spawn(move || {
                for round in 0..ROUNDS {
                    sender.send(round).unwrap();
                    wake.notify();
                }
            })
        };
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut seen = 0;
        while seen < ROUNDS {
            let ready = wait(None, Interest::READ, Some(&wake), Some(deadline)).unwrap();
            assert!(ready.woken, "a notification was lost after {seen}");
            wake.clear();
            seen += receiver.try_iter().count();
        }
        notifier.join().unwrap();
    }
}
