//! `pairing-switch.json`: what an operator last decided about the pairing switch by command.
//!
//! There is a file only while that says something else than the configuration. It is read at the start of
//! the gateway and by the command line; whoever writes it holds the lock of the state directory.

use std::fs;
use std::io;

use crate::pairing::switch::Decision;
use crate::store::atomic::{PRIVATE_FILE, sync_directory_of, write};
use crate::store::directory::{StateDir, read_optional};
use crate::store::error::StoreError;

/// The decision that stands, if there is one.
///
/// # Errors
/// A file that cannot be read or is not what it should be; it is left as it is.
pub fn load_decision(dir: &StateDir) -> Result<Option<Decision>, StoreError> {
    let path = dir.pairing_switch();
    let Some(text) = read_optional(&path)? else {
        return Ok(None);
    };
    serde_json::from_str(&text)
        .map(Some)
        .map_err(|fault| StoreError::malformed(&path, &fault))
}

/// Makes this decision stand, durably; None leaves it to the configuration.
///
/// # Errors
/// When the disk refuses; what stood before then stands.
pub fn save_decision(dir: &StateDir, decision: Option<&Decision>) -> Result<(), StoreError> {
    let path = dir.pairing_switch();
    let done = match decision {
        Some(decision) => serde_json::to_vec_pretty(decision)
            .map_err(io::Error::from)
            .and_then(|bytes| write(&path, &bytes, PRIVATE_FILE)),
        None => match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => sync_directory_of(&path),
        },
    };
    done.map_err(|error| StoreError::unwritable(&path, &error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::TempDir;

    #[test]
    fn a_decision_survives_and_an_unreadable_one_is_never_overwritten_unseen() {
        let temp = TempDir::new();
        let dir = StateDir::open(temp.path()).unwrap();
        assert_eq!(load_decision(&dir), Ok(None));
        save_decision(&dir, None).unwrap();
        let decision = Decision {
            open: true,
            since_ms: 1,
            until_ms: Some(2),
        };
        save_decision(&dir, Some(&decision)).unwrap();
        assert_eq!(load_decision(&dir), Ok(Some(decision)));
        for text in ["", "{\"open\": 1}", "[]", "{\"open\": true}"] {
            fs::write(dir.pairing_switch(), text).unwrap();
            let error = load_decision(&dir).unwrap_err();
            assert!(
                matches!(error, StoreError::Malformed { line: _, .. }),
                "{text:?}"
            );
            assert!(error.to_string().contains("pairing-switch.json:"));
        }
        save_decision(&dir, None).unwrap();
        assert_eq!(load_decision(&dir), Ok(None));
    }
}
