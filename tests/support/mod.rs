//! The harness of the integration tests: temporary homes, the program as a child process, and peers
//! whose frames are made by hand, independent of the program's own encoder.
//!
//! Nothing here sleeps for luck: every wait has a condition and a generous deadline, and every child
//! process ends with the value that owns it.

#![allow(dead_code)]

pub mod counters;
pub mod device;
pub mod endurance;
pub mod flood;
pub mod home;
pub mod job;
pub mod network;
pub mod peer;
pub mod process;
pub mod reloading;
pub mod scripted;
pub mod site;
pub mod ssh;
pub mod stand_in;
pub mod tls;
pub mod websocket;

use std::time::{Duration, Instant};

/// Guards against hanging only; nothing is measured with it.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Polls `condition` until it yields a value; panics with `what` when patience ends.
#[track_caller]
pub fn wait_for<T>(what: &str, condition: impl FnMut() -> Option<T>) -> T {
    wait_within(PATIENCE, what, condition)
}

/// The same with another patience.
#[track_caller]
pub fn wait_within<T>(
    patience: Duration,
    what: &str,
    mut condition: impl FnMut() -> Option<T>,
) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
