//! `ssh-proof/<id>`: short secrets that only the gateway's own user can read, so that reading one over SSH
//! proves whose login it was.
//!
//! A file lives for one attempt. What a crash leaves is removed with the next one.

use std::fs;
use std::path::PathBuf;

use crate::identity::Token;
use crate::store::atomic::{PRIVATE_FILE, create_private_directory, write};
use crate::store::directory::StateDir;
use crate::store::error::StoreError;

/// Writes `secret` (mode 0600) under the name `id`, and returns the absolute path.
///
/// # Errors
/// When the disk refuses.
pub fn place_proof(dir: &StateDir, id: &str, secret: &Token) -> Result<PathBuf, StoreError> {
    let folder = dir.ssh_proofs();
    let path = folder.join(id);
    let placed = create_private_directory(&folder)
        .and_then(|()| write(&path, secret.as_str().as_bytes(), PRIVATE_FILE))
        .and_then(|()| fs::canonicalize(&path));
    placed.map_err(|error| StoreError::unwritable(&path, &error))
}

/// Removes the file of this name; one that is not there is no fault.
pub fn remove_proof(dir: &StateDir, id: &str) {
    // Worthless by itself: the gateway has forgotten it already.
    let _ = fs::remove_file(dir.ssh_proofs().join(id));
}

/// Removes every such file; for the start of the gateway.
pub fn sweep_proofs(dir: &StateDir) {
    let entries = fs::read_dir(dir.ssh_proofs()).into_iter().flatten();
    for entry in entries.flatten() {
        let _ = fs::remove_file(entry.path());
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::store::testing::TempDir;

    #[test]
    fn only_the_owner_reads_it_and_nothing_stays() {
        let temp = TempDir::new();
        let dir = StateDir::open(temp.path()).unwrap();
        let path = place_proof(&dir, "one", &Token::from("SECRET")).unwrap();
        assert!(path.is_absolute());
        assert_eq!(fs::read_to_string(&path).unwrap(), "SECRET");
        let mode =
            |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        place_proof(&dir, "two", &Token::from("SECRET")).unwrap();
        remove_proof(&dir, "one");
        remove_proof(&dir, "one");
        sweep_proofs(&dir);
        assert_eq!(fs::read_dir(dir.ssh_proofs()).unwrap().count(), 0);
    }
}
