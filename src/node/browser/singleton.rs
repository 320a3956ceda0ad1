//! The lock that a browser has on its user-data directory: a link that names the machine and the process.

use std::io;
use std::path::Path;

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

/// What browsers leave in a user-data directory that they hold.
const FILES: [&str; 3] = ["SingletonLock", "SingletonCookie", "SingletonSocket"];

/// Who holds a user-data directory.
#[derive(Debug, PartialEq, Eq)]
pub enum Holder {
    /// Nobody.
    Nobody,
    /// A process that is gone, or one of another machine: it is nobody's.
    Gone,
    /// A process of this machine, whoever's it is.
    Process(i32),
    /// The lock cannot be read, for this reason.
    Unknown(String),
}

impl Holder {
    /// The holder of a user-data directory.
    pub fn of(user_data: &Path) -> Self {
        let owner = match std::fs::read_link(user_data.join(FILES[0])) {
            Ok(owner) => owner,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Self::Nobody,
            // Whatever lies there is no lock.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => return Self::Gone,
            Err(error) => return Self::Unknown(error.to_string()),
        };
        let owner = owner.to_string_lossy();
        let Some((machine, pid)) = owner.rsplit_once('-') else {
            return Self::Gone;
        };
        let local = this_machine().is_none_or(|name| name == machine);
        match pid.parse().ok().and_then(Pid::from_raw) {
            Some(pid) if local && is_alive(test_kill_process(pid)) => {
                Self::Process(pid.as_raw_nonzero().get())
            }
            _ => Self::Gone,
        }
    }
}

/// Removes a lock that is nobody's.
pub fn remove(user_data: &Path) {
    for name in FILES {
        // Where there is none, there is nothing to remove.
        let _ = std::fs::remove_file(user_data.join(name));
    }
}

/// What a signal that is none says of a process: one that may not be signalled is alive all the same.
fn is_alive(outcome: Result<(), Errno>) -> bool {
    outcome != Err(Errno::SRCH)
}

fn this_machine() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::testing::TempDir;

    #[test]
    fn a_directory_is_held_by_a_process_that_is_alive_here_and_by_nobody_else() {
        let dir = TempDir::new();
        assert_eq!(Holder::of(dir.path()), Holder::Nobody);
        let here = this_machine().unwrap_or_default();
        let own = std::process::id();
        let link = dir.path().join(FILES[0]);
        for (owner, holder) in [
            (format!("{here}-{own}"), Holder::Process(own as i32)),
            (format!("{here}-1"), Holder::Process(1)),
            (format!("{here}-999999999"), Holder::Gone),
            (format!("elsewhere-{own}"), Holder::Gone),
            ("nonsense".to_owned(), Holder::Gone),
        ] {
            let _ = std::fs::remove_file(&link);
            std::os::unix::fs::symlink(&owner, &link).unwrap();
            assert_eq!(Holder::of(dir.path()), holder, "{owner}");
        }
        remove(dir.path());
        assert_eq!(Holder::of(dir.path()), Holder::Nobody);
        std::fs::write(&link, "").unwrap();
        assert_eq!(Holder::of(dir.path()), Holder::Gone);
        // A directory that is a file cannot be looked into.
        assert!(matches!(Holder::of(&link), Holder::Unknown(_)));
    }

    #[test]
    fn a_process_that_may_not_be_signalled_is_alive() {
        for (outcome, alive) in [
            (Ok(()), true),
            (Err(Errno::PERM), true),
            (Err(Errno::SRCH), false),
        ] {
            assert_eq!(is_alive(outcome), alive, "{outcome:?}");
        }
    }
}
