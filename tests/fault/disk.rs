//! A small disk of its own for a state directory, in a mount namespace: it can be filled to the last byte and
//! turned read-only under whoever writes on it.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::home::Home;
use crate::support::process::{Outcome, Running, command, finish, program};
use crate::support::wait_for;

/// Mounted for as long as it lives.
pub struct Disk {
    keeper: Running,
    state: PathBuf,
}

/// What can be wrong with a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    Full,
    ReadOnly,
}

/// The files that stay open for writing are mounts of their own: else nothing could turn read-only under them.
const MOUNT: &str = r#"
    mount -t tmpfs -o size="$2" tmpfs "$1" || exit 1
    for lock in gateway.lock pairing.lock audit.jsonl; do
        : > "$1/$lock" && chmod 600 "$1/$lock" && mount --bind "$1/$lock" "$1/$lock" || exit 1
    done
    echo mounted
    exec sleep 100000
"#;

impl Disk {
    /// Mounts `size` (in words of mount) below the state directory of `home`; `None`, and a word why, where
    /// the kernel refuses.
    pub fn or_skip(test: &str, home: &Home, size: &str) -> Option<Disk> {
        std::fs::create_dir_all(home.state()).unwrap();
        let mut line = command(Path::new("/usr/bin/unshare"), home);
        line.args(["-m", "sh", "-c", MOUNT, "sh"])
            .arg(home.state())
            .arg(size)
            .env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin");
        let mut keeper = Running::start(line);
        let mounted = wait_for("the mount", || {
            let done = keeper.output().contains("mounted");
            (done || !keeper.alive()).then_some(done)
        });
        if !mounted {
            eprintln!("SKIPPED {test}: no mounts here: {}", keeper.output());
            return None;
        }
        Some(Disk {
            keeper,
            state: home.state(),
        })
    }

    /// The state directory as this process can see it.
    pub fn inside(&self) -> PathBuf {
        let root = format!("/proc/{}/root", self.keeper.pid());
        PathBuf::from(format!("{root}{}", self.state.display()))
    }

    /// A command of the program that sees the disk.
    pub fn command(&self, home: &Home) -> Command {
        let mut line = command(Path::new("/usr/bin/nsenter"), home);
        line.args(["-m", "-t", &self.keeper.pid().to_string(), "--"])
            .arg(program());
        line
    }

    /// Runs one command line to its end.
    pub fn openclaw(&self, home: &Home, arguments: &[&str]) -> Outcome {
        let mut line = self.command(home);
        line.args(arguments);
        finish(line)
    }

    pub fn begin(&self, trouble: Trouble) {
        match trouble {
            Trouble::Full => self.fill(),
            // Refused while somebody is in the middle of a write.
            Trouble::ReadOnly => wait_for("a moment to turn read-only", || {
                self.remount("remount,bind,ro").then_some(())
            }),
        }
    }

    pub fn end(&self, trouble: Trouble) {
        match trouble {
            Trouble::Full => {
                let _ = std::fs::remove_file(self.inside().join("filler"));
            }
            Trouble::ReadOnly => assert!(self.remount("remount,bind,rw")),
        }
    }

    /// Takes every byte that is left.
    fn fill(&self) {
        let filler = self.inside().join("filler");
        let mut length = 1 << 20;
        let mut block = Vec::new();
        while length > 0 {
            block.resize(block.len() + length, 0u8);
            if std::fs::write(&filler, &block).is_err() {
                block.truncate(block.len() - length);
                length /= 2;
            }
        }
    }

    fn remount(&self, options: &str) -> bool {
        let pid = self.keeper.pid().to_string();
        let output = Command::new("/usr/bin/nsenter")
            .args(["-m", "-t", &pid, "--", "mount", "-o", options])
            .arg(&self.state)
            .output();
        output.unwrap().status.success()
    }
}
