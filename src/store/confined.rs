//! Files of one directory that is held open: no link leads a read or a write out of it, and nobody can put
//! another directory in its place meanwhile.
//!
//! For what others may prepare, like a directory that a DNS server shares.

use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, mkdirat, open, openat, renameat, unlinkat};
use rustix::io::Errno;

use crate::store::atomic::{PRIVATE_FILE, temporary_name};

/// A directory that is held open.
#[derive(Debug)]
pub struct Directory(OwnedFd);

impl Directory {
    /// Opens the directory `name` in `parent`, made with `mode` where it is missing. A link in its place is
    /// an error.
    pub fn open(parent: &Path, name: &str, mode: u32) -> io::Result<Directory> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let parent = open(parent, flags, Mode::empty())?;
        let enter = || openat(&parent, name, flags | OFlags::NOFOLLOW, Mode::empty());
        let entered = match enter() {
            Err(Errno::NOENT) => {
                match mkdirat(&parent, name, Mode::from_bits_truncate(bits(mode))) {
                    Ok(()) | Err(Errno::EXIST) => enter(),
                    Err(error) => Err(error),
                }
            }
            other => other,
        };
        match entered {
            Ok(directory) => Ok(Directory(directory)),
            Err(Errno::NOTDIR | Errno::LOOP) => Err(io::Error::other(format!(
                "{name} is no directory, and a link is not followed there"
            ))),
            Err(error) => Err(error.into()),
        }
    }

    /// A regular file of at most `limit` bytes; `None` when there is nothing. Never waits for another program.
    pub fn read(&self, name: &str, limit: u64) -> io::Result<Option<Vec<u8>>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match openat(&self.0, name, flags | OFlags::NOCTTY, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP) => {
                let text = "it is a symbolic link, which is not followed there";
                return Err(io::Error::other(text));
            }
            Err(error) => return Err(error.into()),
        };
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        let mut bytes = Vec::new();
        file.take(limit + 1).read_to_end(&mut bytes)?;
        match u64::try_from(bytes.len()) {
            Ok(length) if length <= limit => Ok(Some(bytes)),
            _ => Err(io::ErrorKind::FileTooLarge.into()),
        }
    }

    /// Writes and fsyncs `bytes` under a temporary name. [`Prepared::commit`] makes them the file `name`.
    pub fn prepare(&self, name: &str, bytes: &[u8], mode: u32) -> io::Result<Prepared<'_>> {
        let temporary = temporary_name(Path::new(name));
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let private = Mode::from_bits_truncate(bits(PRIVATE_FILE));
        let file = openat(&self.0, &temporary, flags | OFlags::CLOEXEC, private)?;
        let prepared = Prepared {
            directory: self,
            temporary,
            name: name.to_owned(),
        };
        let mut file = File::from(file);
        file.write_all(bytes)?;
        file.set_permissions(Permissions::from_mode(mode))?;
        file.sync_all()?;
        Ok(prepared)
    }
}

fn bits(mode: u32) -> rustix::fs::RawMode {
    rustix::fs::RawMode::try_from(mode).unwrap_or_default()
}

/// A content that is on the disk and not yet visible. Dropped without [`Prepared::commit`], it leaves no trace.
#[derive(Debug)]
pub struct Prepared<'a> {
    directory: &'a Directory,
    temporary: PathBuf,
    name: String,
}

impl Prepared<'_> {
    /// Makes it visible in the place of whatever has the name, a link too, durably.
    pub fn commit(self) -> io::Result<()> {
        let directory = &self.directory.0;
        renameat(directory, &self.temporary, directory, &self.name)?;
        match rustix::fs::fsync(directory) {
            // Some file systems cannot sync a directory and say so.
            Ok(()) | Err(Errno::INVAL) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl Drop for Prepared<'_> {
    fn drop(&mut self) {
        // After a commit there is nothing of that name.
        let _ = unlinkat(&self.directory.0, &self.temporary, AtFlags::empty());
    }
}

/// What on the way to `path` belongs to another account than root, while this process acts as root: its owner
/// could lead root anywhere. The owner's id comes with it. `None` for everybody else.
pub fn foreign_to_root(path: &Path) -> Option<(PathBuf, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let real = fs::canonicalize(path).ok();
    let ways = [Some(path), real.as_deref()];
    let steps = ways.into_iter().flatten().flat_map(Path::ancestors);
    let foreign = |step: &Path| {
        let owner = fs::symlink_metadata(step).ok()?.uid();
        (owner != 0).then(|| (step.to_owned(), owner))
    };
    steps.into_iter().find_map(foreign)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::store::testing::{TempDir, names};

    #[test]
    fn a_content_becomes_visible_whole_or_not_at_all() {
        let home = TempDir::new();
        let directory = Directory::open(home.path(), "dns", 0o755).unwrap();
        assert_eq!(directory.read("zone", 10).unwrap(), None);
        drop(directory.prepare("zone", b"lost", 0o644).unwrap());
        assert!(names(&home.join("dns")).is_empty());
        for content in [b"first".as_slice(), b"second"] {
            let prepared = directory.prepare("zone", content, 0o644).unwrap();
            prepared.commit().unwrap();
            assert_eq!(directory.read("zone", 10).unwrap().unwrap(), content);
        }
        assert!(directory.read("zone", 5).is_err());
        assert_eq!(names(&home.join("dns")), ["zone"]);
        let mode = fs::metadata(home.join("dns/zone")).unwrap().mode();
        assert_eq!(mode & 0o7777, 0o644);
    }

    #[test]
    fn no_link_is_followed_and_the_directory_stays_the_one_that_was_opened() {
        let home = TempDir::new();
        fs::create_dir(home.join("elsewhere")).unwrap();
        symlink("elsewhere", home.join("dns")).unwrap();
        let refused = Directory::open(home.path(), "dns", 0o755).unwrap_err();
        assert!(refused.to_string().contains("not followed"), "{refused}");
        fs::remove_file(home.join("dns")).unwrap();
        let directory = Directory::open(home.path(), "dns", 0o755).unwrap();
        symlink("../elsewhere/zone", home.join("dns/zone")).unwrap();
        assert!(directory.read("zone", 10).is_err());
        // Swapped under our hands.
        fs::rename(home.join("dns"), home.join("moved")).unwrap();
        symlink("elsewhere", home.join("dns")).unwrap();
        let prepared = directory.prepare("zone", b"zone", 0o644).unwrap();
        prepared.commit().unwrap();
        assert!(names(&home.join("elsewhere")).is_empty());
        assert_eq!(fs::read(home.join("moved/zone")).unwrap(), b"zone");
        assert!(!home.join("moved/zone").is_symlink());
    }

    #[test]
    fn what_is_no_regular_file_is_refused_and_not_waited_for() {
        let home = TempDir::new();
        let directory = Directory::open(home.path(), "dns", 0o755).unwrap();
        rustix::fs::mkfifoat(&directory.0, "zone", Mode::RUSR | Mode::WUSR).unwrap();
        assert!(directory.read("zone", 10).is_err());
        fs::create_dir(home.join("dns/folder")).unwrap();
        assert!(directory.read("folder", 10).is_err());
    }
}
