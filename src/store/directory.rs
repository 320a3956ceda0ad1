//! The state directory: where each file of it stands (protocol §10, cli §5.6), created private, and
//! rid of what a crash left behind.
//!
//! Holding a [`StateDir`] is not owning it: only a `Lock` is.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::store::atomic::{create_private_directory, is_temporary_name};
use crate::store::error::StoreError;

/// Age after which a temporary file cannot belong to a write in progress. Only files that somebody
/// may write without the lock (configuration, cached tokens) need this patience.
pub(super) const ABANDONED_AFTER: Duration = Duration::from_secs(60);

/// An existing state directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateDir {
    root: PathBuf,
}

impl StateDir {
    /// Opens the directory, creating it (0700) when it is missing.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        create_private_directory(root).map_err(|error| StoreError::unwritable(root, &error))?;
        Ok(StateDir::at(root))
    }

    /// The directory for somebody who only looks: it may be missing, and stays so.
    pub fn at(root: &Path) -> Self {
        StateDir {
            root: root.to_owned(),
        }
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// `identity/device.json`, the device key.
    pub fn device_key(&self) -> PathBuf {
        self.root.join("identity/device.json")
    }

    /// `identity/device-auth.json`, the tokens that gateways issued to this device.
    pub fn device_auth(&self) -> PathBuf {
        self.root.join("identity/device-auth.json")
    }

    /// `node.json`, the node host's settings.
    pub fn node_file(&self) -> PathBuf {
        self.root.join("node.json")
    }

    /// `gateway-token`, the generated shared token where the configuration may not be written.
    pub fn gateway_token(&self) -> PathBuf {
        self.root.join("gateway-token")
    }

    /// `gateway.lock`, held by the one process that may write the pairing files.
    pub fn gateway_lock(&self) -> PathBuf {
        self.root.join("gateway.lock")
    }

    /// `pairing.lock`, where writers of the pairing files take turns.
    pub fn write_turns(&self) -> PathBuf {
        self.root.join("pairing.lock")
    }

    /// `ssh-proof/`, secrets that prove an SSH login as the gateway's user.
    pub fn ssh_proofs(&self) -> PathBuf {
        self.root.join("ssh-proof")
    }

    /// `node-audit.jsonl`, the trail of the node host.
    pub fn node_audit_log(&self) -> PathBuf {
        self.root.join("node-audit.jsonl")
    }

    /// `audit.jsonl`, the trail of decisions.
    pub fn audit_log(&self) -> PathBuf {
        self.root.join("audit.jsonl")
    }

    /// Removes temporary files that a crash left: in `devices/` and `nodes/` all of them (the caller
    /// holds the lock, so nobody is writing there), elsewhere those older than a minute. Returns
    /// how many went; what cannot be removed is logged and stays.
    pub fn sweep(&self) -> usize {
        let now = SystemTime::now();
        let own = ["devices", "nodes"].map(|name| (self.root.join(name), Duration::ZERO));
        let shared = [
            self.root.clone(),
            self.root.join("dns"),
            self.root.join("identity"),
        ];
        own.into_iter()
            .chain(shared.map(|directory| (directory, ABANDONED_AFTER)))
            .map(|(directory, patience)| sweep_directory(&directory, patience, now))
            .sum()
    }
}

/// The text of a file, `None` when there is no such file.
pub fn read_optional(path: &Path) -> Result<Option<String>, StoreError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StoreError::unreadable(path, &error)),
    }
}

fn sweep_directory(directory: &Path, patience: Duration, now: SystemTime) -> usize {
    let Ok(entries) = fs::read_dir(directory) else {
        return 0;
    };
    let mut swept = 0;
    for entry in entries.flatten() {
        let ours = entry.file_name().to_str().is_some_and(is_temporary_name);
        let Ok(metadata) = entry.metadata() else {
            continue;
        };
        let age = metadata
            .modified()
            .ok()
            .and_then(|modified| now.duration_since(modified).ok())
            .unwrap_or_default();
        if !ours || !metadata.is_file() || age < patience {
            continue;
        }
        match fs::remove_file(entry.path()) {
            Ok(()) => swept += 1,
            Err(error) => log::warn!("cannot remove {}: {error}", entry.path().display()),
        }
    }
    swept
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;
    use crate::store::testing::TempDir;

    #[test]
    fn a_missing_directory_is_created_private() {
        let temp = TempDir::new();
        let root = temp.join("a/state");
        StateDir::open(&root).unwrap();
        for path in [temp.join("a"), root] {
            assert_eq!(fs::metadata(path).unwrap().mode() & 0o777, 0o700);
        }
    }

    #[test]
    fn a_file_in_its_place_is_an_error_that_names_it() {
        let temp = TempDir::new();
        let root = temp.join("state");
        fs::write(&root, "").unwrap();
        let error = StateDir::open(&root).unwrap_err();
        assert!(error.to_string().contains(root.to_str().unwrap()));
    }

    #[test]
    fn leftovers_go_and_everything_else_stays() {
        let temp = TempDir::new();
        let dir = StateDir::open(temp.path()).unwrap();
        let uuid = "512ee102-5650-4eca-a99d-d5fac275d8fa";
        let old = SystemTime::now() - Duration::from_secs(120);
        let cases = [
            (format!("devices/paired.json.{uuid}.tmp"), None, false),
            (format!("nodes/pending.json.{uuid}.tmp"), None, false),
            ("devices/paired.json".to_owned(), None, true),
            ("devices/notes.tmp".to_owned(), None, true),
            (format!("openclaw.json.{uuid}.tmp"), None, true),
            (format!("openclaw.json.{uuid}.tmp2"), Some(old), true),
            (format!("node.json.{uuid}.tmp"), Some(old), false),
            (
                format!("identity/device-auth.json.{uuid}.tmp"),
                Some(old),
                false,
            ),
            (format!("other/file.{uuid}.tmp"), Some(old), true),
        ];
        for (name, modified, _) in &cases {
            let path = temp.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let file = fs::File::create(&path).unwrap();
            if let Some(modified) = modified {
                file.set_modified(*modified).unwrap();
            }
        }
        fs::create_dir(temp.join(&format!("devices/d.{uuid}.tmp"))).unwrap();
        assert_eq!(dir.sweep(), 4);
        for (name, _, stays) in &cases {
            assert_eq!(temp.join(name).exists(), *stays, "{name}");
        }
        assert_eq!(dir.sweep(), 0);
    }
}
