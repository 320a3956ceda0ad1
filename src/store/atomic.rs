//! Replacing a file so that a reader, a crash or a full disk never sees half of it: temporary file
//! beside the target, fsync, rename, fsync of the directory.
//!
//! Nothing else in the program writes a file that already exists.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::identity::Random;

/// Mode of every file that may hold a secret.
pub const PRIVATE_FILE: u32 = 0o600;

/// Mode of every directory that we create.
pub const PRIVATE_DIRECTORY: u32 = 0o700;

/// What every temporary file of ours ends with, after a uuid.
pub const TEMPORARY_SUFFIX: &str = ".tmp";

/// Symbolic links followed before a chain counts as a loop; the kernel's own limit.
const MAX_LINKS: usize = 40;

/// Replaces `path` by `bytes`, durably: when this returns `Ok`, the new content survives a power
/// cut; on `Err`, the old content stands. A symbolic link stays one, its target is replaced.
/// `mode` is the permission of the new file.
pub fn write(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    Prepared::new(path, bytes, mode)?.replace()
}

/// Creates `path` and its missing parents, each with mode 0700. An existing directory is left as it is.
pub fn create_private_directory(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(PRIVATE_DIRECTORY)
        .create(path)
}

/// A new content that is on the disk under a temporary name and not yet visible. Dropped without
/// [`Prepared::commit`], it leaves no trace.
#[derive(Debug)]
pub struct Prepared {
    temporary: Temporary,
    target: PathBuf,
    metadata: fs::Metadata,
}

impl Prepared {
    /// Writes and fsyncs `bytes` under a temporary name beside the target of `path`.
    pub fn new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<Self> {
        let target = follow_links(path)?;
        let temporary = Temporary(temporary_name(&target));
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(PRIVATE_FILE)
            .open(&temporary.0)?;
        file.write_all(bytes)?;
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        keep_owner(&file, &target);
        file.sync_all()?;
        let metadata = file.metadata()?;
        Ok(Prepared {
            temporary,
            target,
            metadata,
        })
    }

    /// What the new file is: inode, size and time of modification stay as they are here.
    pub fn metadata(&self) -> &fs::Metadata {
        &self.metadata
    }

    /// Makes the new content visible. Durable only after [`sync_directory_of`] the path.
    pub fn commit(self) -> io::Result<()> {
        fs::rename(&self.temporary.0, &self.target)
    }

    /// Makes the new content visible and durable; on `Err`, the old content stands.
    pub fn replace(self) -> io::Result<()> {
        self.replace_with(sync_directory_of)
    }

    fn replace_with(self, sync: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
        let target = self.target.clone();
        let old = Temporary(temporary_name(&target));
        let is_new = match fs::hard_link(&target, &old.0) {
            Ok(()) => false,
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        };
        self.commit()?;
        sync(&target).inspect_err(|_| {
            // A change that may not last is none; what a file system without hard links shows now is the new one.
            let _ = match is_new {
                true => fs::remove_file(&target),
                false => fs::rename(&old.0, &target),
            };
        })
    }

    /// Makes the new content visible only where there is no file yet; false, and nothing happens,
    /// where there is one. Of several processes that try at once, one succeeds.
    pub fn commit_new(self) -> io::Result<bool> {
        match fs::hard_link(&self.temporary.0, &self.target) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            // File systems without hard links.
            Err(_) if !self.target.exists() => self.commit().map(|()| true),
            Err(error) => Err(error),
        }
    }
}

/// A temporary file that goes when dropped, if it is still there under its name.
#[derive(Debug)]
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // A leftover is harmless and swept at the next start.
        let _ = fs::remove_file(&self.0);
    }
}

/// Makes the renames in the directory that really holds `path` durable.
pub fn sync_directory_of(path: &Path) -> io::Result<()> {
    let target = follow_links(path)?;
    let directory = File::open(parent_of(&target))?;
    match directory.sync_all() {
        // Some network and user-space file systems cannot sync a directory and say so.
        Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => Ok(()),
        other => other,
    }
}

/// True for the file names that [`Prepared`] makes: `<name>.<uuid>.tmp`.
pub fn is_temporary_name(name: &str) -> bool {
    let Some((target, uuid)) = name
        .strip_suffix(TEMPORARY_SUFFIX)
        .and_then(|rest| rest.rsplit_once('.'))
    else {
        return false;
    };
    let dashes = [8, 13, 18, 23];
    !target.is_empty()
        && uuid.len() == 36
        && uuid.bytes().enumerate().all(|(index, byte)| {
            if dashes.contains(&index) {
                byte == b'-'
            } else {
                byte.is_ascii_hexdigit()
            }
        })
}

/// A name beside `target` that nothing has: see [`is_temporary_name`].
pub fn temporary_name(target: &Path) -> PathBuf {
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}{TEMPORARY_SUFFIX}", Random.uuid()));
    target.with_file_name(name)
}

/// The file behind a chain of links. A link to nothing leads to the name where the file would be.
fn follow_links(path: &Path) -> io::Result<PathBuf> {
    let mut target = path.to_owned();
    for _ in 0..MAX_LINKS {
        match fs::symlink_metadata(&target) {
            Ok(metadata) if metadata.is_symlink() => {
                target = parent_of(&target).join(fs::read_link(&target)?);
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => return Ok(target),
        }
    }
    Err(io::Error::from(Errno::LOOP))
}

fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Root working on somebody's state directory must not take the files away from their owner.
fn keep_owner(file: &File, target: &Path) {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    if let Ok(owner) = fs::metadata(target).or_else(|_| fs::metadata(parent_of(target))) {
        give_to(&owner, file);
    }
}

/// Root creating a file in somebody's state directory makes it theirs.
pub fn keep_owner_of_directory(file: &File, path: &Path) {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    if let Ok(owner) = fs::metadata(parent_of(path)) {
        give_to(&owner, file);
    }
}

fn give_to(owner: &fs::Metadata, file: &File) {
    if owner.uid() != 0 {
        let _ = std::os::unix::fs::fchown(file, Some(owner.uid()), Some(owner.gid()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::TempDir;

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn content_and_mode_are_replaced_and_nothing_is_left_behind() {
        let directory = TempDir::new();
        let path = directory.join("file.json");
        for (content, mode) in [("one", 0o644), ("two, longer", 0o600), ("", 0o600)] {
            write(&path, content.as_bytes(), mode).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
            assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, mode);
        }
        assert_eq!(names(directory.path()), ["file.json"]);
    }

    #[test]
    fn a_link_stays_a_link_and_its_target_is_replaced() {
        let directory = TempDir::new();
        fs::create_dir(directory.join("real")).unwrap();
        fs::create_dir(directory.join("links")).unwrap();
        let first = directory.join("links/first");
        std::os::unix::fs::symlink("second", &first).unwrap();
        std::os::unix::fs::symlink("../real/file", directory.join("links/second")).unwrap();
        for content in ["created through a link to nothing", "replaced"] {
            write(&first, content.as_bytes(), PRIVATE_FILE).unwrap();
            let real = directory.join("real/file");
            assert_eq!(fs::read_to_string(real).unwrap(), content);
            assert!(fs::symlink_metadata(&first).unwrap().is_symlink());
        }
        assert_eq!(names(&directory.join("links")), ["first", "second"]);
        assert_eq!(names(&directory.join("real")), ["file"]);
    }

    #[test]
    fn a_loop_of_links_is_an_error() {
        let directory = TempDir::new();
        let path = directory.join("loop");
        std::os::unix::fs::symlink("loop", &path).unwrap();
        assert!(write(&path, b"x", PRIVATE_FILE).is_err());
    }

    #[test]
    fn what_is_not_committed_vanishes_and_the_old_content_stands() {
        let directory = TempDir::new();
        let path = directory.join("file");
        write(&path, b"old", PRIVATE_FILE).unwrap();
        let prepared = Prepared::new(&path, b"new", PRIVATE_FILE).unwrap();
        assert_eq!(names(directory.path()).len(), 2);
        drop(prepared);
        assert_eq!(names(directory.path()), ["file"]);
        assert_eq!(fs::read(&path).unwrap(), b"old");
    }

    #[test]
    fn a_new_file_never_replaces_another() {
        let directory = TempDir::new();
        let path = directory.join("file");
        let first = Prepared::new(&path, b"first", PRIVATE_FILE).unwrap();
        let second = Prepared::new(&path, b"second", PRIVATE_FILE).unwrap();
        assert!(first.commit_new().unwrap());
        assert!(!second.commit_new().unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"first");
        assert_eq!(names(directory.path()), ["file"]);
    }

    #[test]
    fn what_the_disk_does_not_keep_is_taken_back() {
        let directory = TempDir::new();
        let path = directory.join("file");
        let fails = |_: &Path| Err(io::Error::from(Errno::IO));
        let lost = || Prepared::new(&path, b"lost", PRIVATE_FILE).unwrap();
        assert!(lost().replace_with(fails).is_err());
        assert!(names(directory.path()).is_empty());
        write(&path, b"old", PRIVATE_FILE).unwrap();
        assert!(lost().replace_with(fails).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(names(directory.path()), ["file"]);
    }

    #[test]
    fn a_missing_directory_is_an_error_and_makes_nothing() {
        let directory = TempDir::new();
        assert!(write(&directory.join("none/file"), b"x", PRIVATE_FILE).is_err());
        assert!(names(directory.path()).is_empty());
    }

    #[test]
    fn only_our_own_temporary_names_are_recognized() {
        for (name, expected) in [
            ("paired.json.512ee102-5650-4eca-a99d-d5fac275d8fa.tmp", true),
            ("x.512ee102-5650-4eca-a99d-d5fac275d8fa.tmp", true),
            (".512ee102-5650-4eca-a99d-d5fac275d8fa.tmp", false),
            ("512ee102-5650-4eca-a99d-d5fac275d8fa.tmp", false),
            ("paired.json", false),
            ("paired.json.tmp", false),
            ("paired.json.512ee102-5650-4eca-a99d-d5fac275d8fa", false),
            (
                "paired.json.512ee102-5650-4eca-a99d-d5fac275d8fg.tmp",
                false,
            ),
            (
                "paired.json.512ee102+5650-4eca-a99d-d5fac275d8fa.tmp",
                false,
            ),
        ] {
            assert_eq!(is_temporary_name(name), expected, "{name}");
        }
        let made = temporary_name(Path::new("/a/paired.json"));
        assert!(is_temporary_name(
            made.file_name().unwrap().to_str().unwrap()
        ));
    }
}
