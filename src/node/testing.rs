//! What the tests of this room share: temporary directories, removed when dropped, and a machine in one.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::approvals::{ApprovalsFile, HostPolicy};
use super::machine::Machine;
use super::run::Children;

static COUNTER: AtomicU64 = AtomicU64::new(0);

pub struct TempDir(PathBuf);

impl TempDir {
    pub fn new() -> Self {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let name = format!("openclaw-node-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path.canonicalize().unwrap())
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A machine whose state, home and working directory are `dir`, with an empty policy.
pub fn machine(dir: &TempDir) -> Machine {
    Machine {
        node_id: "abc".to_owned(),
        path: "/usr/bin:/bin".to_owned(),
        home: Some(dir.path().to_owned()),
        cwd: dir.path().to_owned(),
        environment: vec![
            ("MARK".into(), "own".into()),
            ("LD_PRELOAD".into(), "x.so".into()),
        ],
        approvals: ApprovalsFile::new(dir.path(), Some(dir.path())),
        host_policy: Box::new(|_| Ok(HostPolicy::default())),
        children: Children::default(),
    }
}

/// Writes the policy file of [`machine`].
pub fn policy(dir: &TempDir, text: &str) {
    std::fs::write(dir.path().join("exec-approvals.json"), text).unwrap();
}
