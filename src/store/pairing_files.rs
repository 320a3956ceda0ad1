//! The pairing files as documents of the commit engine: reading them strictly, noticing edits
//! of others, replacing them together.
//!
//! Everything that takes space is written and synced before anything becomes visible, so that a
//! full disk changes nothing. What happens between two renames is the matter of `write_order`.

use std::fs::{File, canonicalize, remove_file};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::pairing::{Part, State};
use crate::store::atomic::{
    PRIVATE_FILE, Prepared, create_private_directory, sync_directory_of, write,
};
use crate::store::commit::{Documents, SaveFault};
use crate::store::directory::StateDir;
use crate::store::error::StoreError;
use crate::store::turn::{Turn, Turnstile};
use crate::store::write_order::write_order;

/// The pairing files of one state directory.
#[derive(Debug)]
pub struct PairingFiles {
    dir: StateDir,
    turnstile: Turnstile,
    /// What each file looked like when it was last loaded or saved, in the order of [`Part::ALL`];
    /// `None` when that is not known and everything must be read again.
    prints: Option<Prints>,
}

type Prints = [Option<Print>; Part::ALL.len()];

/// What tells one version of a file from another without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Print {
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl PairingFiles {
    /// The files of `dir`; creates the directories they stand in.
    pub fn new(dir: StateDir) -> Result<Self, StoreError> {
        for part in Part::ALL {
            if let Some(parent) = file_of(&dir, part).parent() {
                create_private_directory(parent)
                    .map_err(|error| StoreError::unwritable(parent, &error))?;
            }
        }
        let turns = dir.write_turns();
        let turnstile =
            Turnstile::open(&turns).map_err(|error| StoreError::unwritable(&turns, &error))?;
        Ok(PairingFiles {
            dir,
            turnstile,
            prints: None,
        })
    }

    fn path(&self, part: Part) -> PathBuf {
        file_of(&self.dir, part)
    }

    fn is_changed(&self) -> bool {
        self.prints
            .is_none_or(|prints| prints != Part::ALL.map(|part| print_of(&self.path(part))))
    }

    /// The turn to compare and replace the files, or to read all of them as one.
    fn turn(&self) -> Result<Turn<'_>, StoreError> {
        let path = self.dir.write_turns();
        self.turnstile
            .take()
            .map_err(|error| StoreError::unwritable(&path, &error))
    }

    /// Reads all files as one version of the state.
    fn read(&self) -> Result<(State, Prints), StoreError> {
        let _turn = self.turn()?;
        let mut state = State::default();
        let mut prints = [None; Part::ALL.len()];
        for (part, print) in Part::ALL.into_iter().zip(&mut prints) {
            let path = self.path(part);
            let (text, found) = match read_with_print(&path) {
                Ok(Some(read)) => read,
                Ok(None) => continue,
                Err(fault) if part.is_invitation() => {
                    log::error!("{fault}");
                    state.close(part, &fault.to_string());
                    *print = print_of(&path);
                    continue;
                }
                Err(fault) => return Err(fault),
            };
            *print = Some(found);
            match read_part(&mut state, part, &path, &text) {
                Ok(()) => report_unreadable(&state, part, &path),
                // Nobody is invited by such a file; whoever is in already is served.
                Err(fault) if part.is_invitation() => {
                    log::error!("{fault}");
                    state.close(part, &fault.to_string());
                }
                Err(fault) => return Err(fault),
            }
        }
        Ok((state, prints))
    }

    /// Puts back what stood in `parts` before a save that failed half-way: `before` says which had a file.
    fn restore(&self, previous: &State, before: &Prints, parts: &[Part]) {
        for part in parts {
            let path = self.path(*part);
            let restored = match before[*part as usize] {
                None => canonicalize(&path).and_then(remove_file),
                Some(_) => previous
                    .render(*part)
                    .map_err(io::Error::from)
                    .and_then(|text| write(&path, text.as_bytes(), PRIVATE_FILE)),
            };
            if let Err(error) = restored {
                log::error!("cannot restore {}: {error}", path.display());
            }
        }
    }

    /// Renames step by step; on an error, tells which parts are already replaced.
    fn commit(&self, steps: Vec<Vec<(Part, Prepared)>>) -> Result<(), (Vec<Part>, StoreError)> {
        let mut replaced = Vec::new();
        for step in steps {
            let mut paths: Vec<PathBuf> = Vec::new();
            for (part, prepared) in step {
                let path = self.path(part);
                if let Err(error) = prepared.commit() {
                    return Err((replaced, StoreError::unwritable(&path, &error)));
                }
                replaced.push(part);
                if !paths.iter().any(|other| other.parent() == path.parent()) {
                    paths.push(path);
                }
            }
            for path in paths {
                if let Err(error) = sync_directory_of(&path) {
                    return Err((replaced, StoreError::unwritable(&path, &error)));
                }
            }
        }
        Ok(())
    }
}

impl Documents for PairingFiles {
    type State = State;
    type Part = Part;

    fn changed(&mut self) -> bool {
        self.is_changed()
    }

    fn load(&mut self) -> Result<State, StoreError> {
        let (state, prints) = self.read()?;
        self.prints = Some(prints);
        Ok(state)
    }

    fn save(
        &mut self,
        previous: &State,
        next: &State,
        operations: &[Vec<Part>],
    ) -> Result<(), SaveFault> {
        let before = self.prints.ok_or(SaveFault::Stale)?;
        let mut prints = before;
        let mut steps = Vec::new();
        // Everything that takes space is written before anything becomes visible.
        for step in write_order(operations) {
            let mut prepared_step = Vec::new();
            for part in step {
                let prepared = next
                    .render(part)
                    .map_err(io::Error::from)
                    .and_then(|text| Prepared::new(&self.path(part), text.as_bytes(), PRIVATE_FILE))
                    .map_err(|error| {
                        SaveFault::Failed(StoreError::unwritable(&self.path(part), &error))
                    })?;
                prints[part as usize] = Some(Print::of(prepared.metadata()));
                prepared_step.push((part, prepared));
            }
            steps.push(prepared_step);
        }
        let turn = self.turn().map_err(SaveFault::Failed)?;
        if self.is_changed() {
            return Err(SaveFault::Stale);
        }
        let committed = self.commit(steps);
        if let Err((replaced, _)) = &committed {
            self.restore(previous, &before, replaced);
        }
        drop(turn);
        self.prints = committed.is_ok().then_some(prints);
        committed.map_err(|(_, fault)| SaveFault::Failed(fault))
    }
}

impl Print {
    fn of(metadata: &std::fs::Metadata) -> Self {
        Print {
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

/// One part as it stands on the disk, the others empty; for whoever only looks.
///
/// # Errors
/// A file that cannot be read or is malformed.
pub fn look_at(dir: &StateDir, part: Part) -> Result<State, StoreError> {
    let path = file_of(dir, part);
    let mut state = State::default();
    if let Some((text, _)) = read_with_print(&path)? {
        read_part(&mut state, part, &path, &text)?;
    }
    Ok(state)
}

fn file_of(dir: &StateDir, part: Part) -> PathBuf {
    dir.root().join(part.file())
}

fn read_part(state: &mut State, part: Part, path: &Path, text: &str) -> Result<(), StoreError> {
    let document: Value =
        serde_json::from_str(text).map_err(|fault| StoreError::malformed(path, &fault))?;
    state.read(part, document).map_err(|fault| {
        let (line, column) = start_of_content(text);
        StoreError::Malformed {
            path: path.to_owned(),
            line,
            column,
            message: fault.to_string(),
        }
    })
}

fn report_unreadable(state: &State, part: Part, path: &Path) {
    for (number, (key, why)) in state.unreadable(part).into_iter().enumerate() {
        // What is wrong with an entry may repeat a piece of it.
        let entry = if part.has_secret_keys() {
            format!("malformed entry number {}", number + 1)
        } else {
            format!("entry {key:?} is malformed ({why})")
        };
        log::warn!(
            "{}: {entry}; it is kept, and whoever it belongs to is refused",
            path.display()
        );
    }
}

fn print_of(path: &Path) -> Option<Print> {
    std::fs::metadata(path)
        .ok()
        .map(|metadata| Print::of(&metadata))
}

/// Text and print of the same open file, so that they belong together. `None` when it is missing.
fn read_with_print(path: &Path) -> Result<Option<(String, Print)>, StoreError> {
    let unreadable = |error: io::Error| StoreError::unreadable(path, &error);
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    };
    let print = Print::of(&file.metadata().map_err(unreadable)?);
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(unreadable)?;
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Some((text, print))),
        Err(error) => {
            let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = 1 + valid.iter().filter(|byte| **byte == b'\n').count();
            let column = 1 + valid
                .iter()
                .rev()
                .take_while(|byte| **byte != b'\n')
                .count();
            Err(StoreError::Malformed {
                path: path.to_owned(),
                line,
                column,
                message: "invalid UTF-8".to_owned(),
            })
        }
    }
}

/// Line and column of the first character that is not white space.
fn start_of_content(text: &str) -> (usize, usize) {
    let blank = text.len() - text.trim_start().len();
    let before = &text[..blank];
    let line = 1 + before.matches('\n').count();
    let column = 1 + before.chars().rev().take_while(|c| *c != '\n').count();
    (line, column)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

    use super::*;
    use crate::store::testing::TempDir;

    use Part::{DevicesPaired, DevicesPending, NodesPaired, NodesPending};

    fn files(temp: &TempDir) -> PairingFiles {
        PairingFiles::new(StateDir::open(temp.path()).unwrap()).unwrap()
    }

    fn state(part: Part, key: &str) -> State {
        let mut state = State::default();
        state
            .read(part, json!({ key: "unreadable, hence kept as it is" }))
            .unwrap();
        state
    }

    #[test]
    fn what_is_saved_is_loaded_and_known() {
        let temp = TempDir::new();
        let mut files = files(&temp);
        assert!(files.changed());
        let empty = files.load().unwrap();
        assert!(!files.changed());
        let next = state(NodesPaired, "a");
        files.save(&empty, &next, &[vec![NodesPaired]]).unwrap();
        assert!(!files.changed());
        assert_eq!(files.load().unwrap(), next);
        assert!(!temp.join("nodes/pending.json").exists());
        let mode = fs::metadata(temp.join("nodes/paired.json")).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600);
        let mode = fs::metadata(temp.join("nodes")).unwrap().mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[test]
    fn edits_of_others_are_noticed_and_not_overwritten() {
        let temp = TempDir::new();
        let mut files = files(&temp);
        let path = temp.join("devices/paired.json");
        let edits: [fn(&Path); 4] = [
            |path| fs::write(path, "{}").unwrap(),
            |path| fs::write(path, "{ }").unwrap(),
            |path| {
                let copy = path.with_extension("new");
                fs::write(&copy, "{ }").unwrap();
                fs::rename(copy, path).unwrap();
            },
            |path| fs::remove_file(path).unwrap(),
        ];
        for edit in edits {
            let known = files.load().unwrap();
            edit(&path);
            assert!(files.changed());
            let found = fs::read(&path).ok();
            let next = state(DevicesPaired, "a");
            let saved = files.save(&known, &next, &[vec![DevicesPaired]]);
            assert_eq!(saved, Err(SaveFault::Stale));
            assert_eq!(fs::read(&path).ok(), found);
            assert!(fs::read_dir(temp.join("devices")).unwrap().count() <= 1);
        }
    }

    #[test]
    fn malformed_files_are_reported_with_their_place_and_kept() {
        let cases: [(&[u8], usize, usize, &str); 9] = [
            (b"", 1, 0, "EOF"),
            (b"{\n  \"a\": }", 2, 8, "expected value"),
            (b"{} x", 1, 4, "trailing"),
            (b"[]", 1, 1, "must be a JSON object"),
            (b"null", 1, 1, "must be a JSON object"),
            (b"\n\n  \"x\"", 3, 3, "must be a JSON object"),
            (b"7", 1, 1, "must be a JSON object"),
            (b"{\n \"\xff\"}", 2, 3, "invalid UTF-8"),
            (b"{\"a\":1", 1, 6, "EOF"),
        ];
        for (bytes, line, column, message) in cases {
            for part in Part::ALL {
                let temp = TempDir::new();
                let mut files = files(&temp);
                let path = files.path(part);
                fs::write(&path, bytes).unwrap();
                let text = match files.load() {
                    Err(error) => error.to_string(),
                    // Nobody is invited by it, everything else works.
                    Ok(state) => {
                        assert!(part.is_invitation(), "{part:?}");
                        assert!(!files.changed());
                        assert!(state.render(part).is_err());
                        state.invitations.fault(part).unwrap().to_owned()
                    }
                };
                let place = format!("{}:{line}:{column}: ", path.display());
                assert!(text.contains(&place), "{bytes:?}: {text}");
                assert!(text.contains(message), "{bytes:?}: {text}");
                assert_eq!(fs::read(&path).unwrap(), bytes);
            }
        }
    }

    #[test]
    fn deep_nesting_is_malformed_and_no_danger() {
        let temp = TempDir::new();
        let mut files = files(&temp);
        fs::write(temp.join("nodes/paired.json"), "[".repeat(100_000)).unwrap();
        let error = files.load().unwrap_err();
        assert!(matches!(error, StoreError::Malformed { .. }), "{error:?}");
    }

    #[test]
    fn a_write_that_fails_leaves_everything_as_it_was() {
        let temp = TempDir::new();
        let mut files = files(&temp);
        let before = files.load().unwrap();
        // The second file cannot be written: its name leads round in a circle.
        let broken = temp.join("nodes/pending.json");
        std::os::unix::fs::symlink("pending.json", &broken).unwrap();
        let next = state(NodesPaired, "a");
        let saved = files.save(&before, &next, &[vec![NodesPaired, NodesPending]]);
        assert!(matches!(saved, Err(SaveFault::Failed(_))), "{saved:?}");
        assert!(!temp.join("nodes/paired.json").exists());
        assert_eq!(fs::read_dir(temp.join("nodes")).unwrap().count(), 1);
        fs::remove_file(broken).unwrap();
        files
            .save(&before, &next, &[vec![NodesPaired, NodesPending]])
            .unwrap();
        assert_eq!(files.load().unwrap(), next);
    }

    #[test]
    fn a_rename_that_fails_half_way_is_taken_back() {
        let temp = TempDir::new();
        let mut files = files(&temp);
        let empty = files.load().unwrap();
        let before = state(DevicesPaired, "before");
        files.save(&empty, &before, &[vec![DevicesPaired]]).unwrap();
        let next = state(DevicesPaired, "next");
        let prepare = |part| {
            let text = next.render(part).unwrap();
            Prepared::new(&files.path(part), text.as_bytes(), PRIVATE_FILE).unwrap()
        };
        let steps = vec![
            vec![
                (DevicesPaired, prepare(DevicesPaired)),
                (NodesPaired, prepare(NodesPaired)),
            ],
            vec![(DevicesPending, prepare(DevicesPending))],
        ];
        for entry in fs::read_dir(temp.join("devices")).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if name.starts_with("pending.json.") {
                fs::remove_file(path).unwrap();
            }
        }
        let (replaced, _) = files.commit(steps).unwrap_err();
        assert_eq!(replaced, [DevicesPaired, NodesPaired]);
        files.restore(&before, &files.prints.unwrap(), &replaced);
        assert_eq!(files.load().unwrap(), before);
        assert!(!files.path(NodesPaired).exists(), "as it was");
    }
}
