//! The key file `identity/device.json` and the generated shared token `gateway-token`: secrets of
//! this machine, made once and kept.
//!
//! A key file that exists and cannot be used is an error and stays; a new key would lose every
//! pairing of this device.

use std::fs;
use std::io;
use std::path::Path;

use crate::identity::{DeviceKey, IdentityError, KeyFile, Token};
use crate::store::atomic::{
    PRIVATE_FILE, Prepared, create_private_directory, sync_directory_of, write,
};
use crate::store::directory::{StateDir, read_optional};
use crate::store::error::StoreError;

/// The device key, `None` when there is no key file. A wrong `deviceId` in the file is corrected
/// where the file can be written.
pub fn load_key(dir: &StateDir) -> Result<Option<DeviceKey>, StoreError> {
    let path = dir.device_key();
    let Some(text) = read_optional(&path)? else {
        return Ok(None);
    };
    let file = KeyFile::parse(&text).map_err(|fault| unusable(&path, fault))?;
    if let Some(corrected) = &file.corrected {
        match write(&path, corrected.as_bytes(), PRIVATE_FILE) {
            Ok(()) => log::warn!("corrected the deviceId in {}", path.display()),
            Err(error) => log::warn!(
                "the deviceId in {} is wrong and cannot be corrected: {error}",
                path.display()
            ),
        }
    }
    Ok(Some(file.key))
}

/// The device key, made and stored at `now_ms` when there is none. Of several processes that
/// start at once on an empty directory, all get the same key.
pub fn load_or_create_key(dir: &StateDir, now_ms: u64) -> Result<DeviceKey, StoreError> {
    if let Some(key) = load_key(dir)? {
        return Ok(key);
    }
    let path = dir.device_key();
    let key = DeviceKey::generate().map_err(|fault| StoreError::Unwritable {
        path: path.clone(),
        cause: fault.to_string(),
    })?;
    if store_new(&path, &KeyFile::render(&key, now_ms), sync_directory_of)? {
        return Ok(key);
    }
    // Somebody else was faster; a file that is gone again is nobody's.
    Ok(load_key(dir)?.unwrap_or(key))
}

/// The generated shared token, `None` when none was generated. Surrounding white space is cut.
pub fn load_gateway_token(dir: &StateDir) -> Result<Option<Token>, StoreError> {
    let text = read_optional(&dir.gateway_token())?;
    let token = text.as_deref().map(str::trim).unwrap_or_default();
    Ok((!token.is_empty()).then(|| Token::from(token)))
}

/// Stores a generated shared token for the next run and for local clients.
pub fn store_gateway_token(dir: &StateDir, token: &Token) -> Result<(), StoreError> {
    let path = dir.gateway_token();
    let text = format!("{}\n", token.as_str());
    write(&path, text.as_bytes(), PRIVATE_FILE)
        .map_err(|error| StoreError::unwritable(&path, &error))
}

fn store_new(
    path: &Path,
    text: &str,
    sync: impl Fn(&Path) -> io::Result<()>,
) -> Result<bool, StoreError> {
    let attempt = || {
        if let Some(parent) = path.parent() {
            create_private_directory(parent)?;
        }
        let created = Prepared::new(path, text.as_bytes(), PRIVATE_FILE)?.commit_new()?;
        sync(path).inspect_err(|_| {
            // A key that may not last must not be used: whatever is paired with it would be lost.
            if created {
                let _ = fs::remove_file(path);
            }
        })?;
        Ok(created)
    };
    attempt().map_err(|error| StoreError::unwritable(path, &error))
}

fn unusable(path: &Path, fault: IdentityError) -> StoreError {
    StoreError::Key {
        path: path.to_owned(),
        fault,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;
    use std::thread;

    use super::*;
    use crate::store::testing::TempDir;

    #[test]
    fn a_key_is_made_once_private_and_kept() {
        let temp = TempDir::new();
        let dir = StateDir::open(temp.path()).unwrap();
        assert!(load_key(&dir).unwrap().is_none());
        let made = load_or_create_key(&dir, 7).unwrap();
        let loaded = load_or_create_key(&dir, 8).unwrap();
        assert_eq!(made.public(), loaded.public());
        let path = dir.device_key();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let parent = path.parent().unwrap();
        assert_eq!(fs::metadata(parent).unwrap().mode() & 0o777, 0o700);
        assert_eq!(fs::read_dir(parent).unwrap().count(), 1);
    }

    #[test]
    fn a_key_that_the_disk_does_not_keep_is_no_key() {
        let temp = TempDir::new();
        let path = temp.join("identity/device.json");
        let fails = |_: &Path| Err(io::Error::other("on purpose"));
        assert!(store_new(&path, "a key", fails).is_err());
        assert!(!path.exists());
        assert!(store_new(&path, "another", |_| Ok(())).unwrap());
        // Somebody else's stays.
        assert!(store_new(&path, "a third", fails).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "another");
    }

    #[test]
    fn all_who_start_at_once_get_the_same_key() {
        let temp = TempDir::new();
        let dir = StateDir::open(temp.path()).unwrap();
        let ids: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| load_or_create_key(&dir, 1).unwrap().device_id()))
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        assert!(ids.iter().all(|id| *id == ids[0]));
    }

    #[test]
    fn an_unusable_file_is_reported_and_left_alone() {
        for text in ["", "{", "[]", "{\"version\":1}", "{\"version\":2}"] {
            let temp = TempDir::new();
            let dir = StateDir::open(temp.path()).unwrap();
            let path = dir.device_key();
            fs::create_dir(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            let error = load_or_create_key(&dir, 1).unwrap_err();
            assert!(matches!(error, StoreError::Key { .. }), "{text}: {error:?}");
            assert!(error.to_string().contains(path.to_str().unwrap()));
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }

    #[test]
    fn a_wrong_device_id_is_corrected_on_the_disk() {
        let temp = TempDir::new();
        let dir = StateDir::open(temp.path()).unwrap();
        let key = load_or_create_key(&dir, 7).unwrap();
        let right = fs::read_to_string(dir.device_key()).unwrap();
        let wrong = right.replace(key.device_id().as_str(), "somebody else");
        fs::write(dir.device_key(), wrong).unwrap();
        assert_eq!(load_key(&dir).unwrap().unwrap().public(), key.public());
        assert_eq!(fs::read_to_string(dir.device_key()).unwrap(), right);
    }

    #[test]
    fn the_gateway_token_is_kept_private() {
        let temp = TempDir::new();
        let dir = StateDir::open(temp.path()).unwrap();
        assert_eq!(load_gateway_token(&dir).unwrap(), None);
        let token = Token::from("0123abcd");
        store_gateway_token(&dir, &token).unwrap();
        assert_eq!(load_gateway_token(&dir).unwrap(), Some(token));
        let mode = fs::metadata(dir.gateway_token()).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::write(dir.gateway_token(), " \n").unwrap();
        assert_eq!(load_gateway_token(&dir).unwrap(), None);
    }
}
