//! The state directory as somebody looks at it who wants to know whether it is well kept: modes, owners, leftovers,
//! room. A look changes nothing; [`narrow`] only ever takes access away.

use std::fs::{self, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::{Access, OFlags, StatVfsMountFlags, access, statvfs};

use crate::store::atomic::{PRIVATE_DIRECTORY, PRIVATE_FILE, is_temporary_name};
use crate::store::directory::ABANDONED_AFTER;
use crate::store::error::StoreError;

/// Directories of this program in a state directory. Others belong to a browser, a name server or other programs
/// that share the directory.
const DIRECTORIES: [&str; 5] = ["devices", "gateway", "identity", "nodes", "ssh-proof"];

/// What the names of this program's files in a state directory begin with.
const FILES: [&str; 13] = [
    ".env",
    "audit.jsonl",
    "exec-approvals.json",
    "gateway-token",
    "gateway.lock",
    "gateway.systemd.env",
    "node-audit.jsonl",
    "node.json",
    "node.systemd.env",
    "openclaw.json",
    "pairing-switch.json",
    "pairing.lock",
    "secrets",
];

/// Files that hold no secret; every other one is taken to hold one.
const HARMLESS: [&str; 5] = [
    "audit",
    "gateway.lock",
    "node-audit",
    "pairing.lock",
    "pairing-switch",
];

/// Levels of directories that are looked at; the deepest file of ours is two below.
const DEEPEST: usize = 4;

/// Entries that are looked at; a healthy directory has some dozens.
const MOST: usize = 10_000;

/// Bits of everybody but the owner.
const OTHERS: u32 = 0o077;

/// One file or directory of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Where it is.
    pub path: PathBuf,
    /// Whether it is a directory.
    pub directory: bool,
    /// Permission bits.
    pub mode: u32,
    /// The owner's user id.
    pub owner: u32,
    /// A temporary file that no write in progress can have.
    pub leftover: bool,
}

impl Kept {
    /// A file or directory wherever it is; `None` for a link and for what is neither.
    ///
    /// # Errors
    /// It is not there, or may not be seen.
    pub fn look(path: &Path) -> io::Result<Option<Kept>> {
        let found = fs::symlink_metadata(path)?;
        Ok(Kept::of(path, &found, SystemTime::now()))
    }

    fn of(path: &Path, found: &Metadata, now: SystemTime) -> Option<Kept> {
        let directory = found.is_dir();
        if !directory && !found.is_file() {
            return None;
        }
        let name = path.file_name().and_then(|name| name.to_str());
        let age = found
            .modified()
            .ok()
            .and_then(|at| now.duration_since(at).ok());
        let old = age.is_some_and(|age| age >= ABANDONED_AFTER);
        Some(Kept {
            path: path.to_owned(),
            directory,
            mode: found.mode() & 0o7777,
            owner: found.uid(),
            leftover: old && !directory && name.is_some_and(is_temporary_name),
        })
    }

    /// Whether somebody else than the owner may do anything with it.
    pub fn is_open(&self) -> bool {
        self.mode & OTHERS != 0
    }

    /// Whether that gives a secret away, or lets somebody put something in its place.
    pub fn is_exposed(&self) -> bool {
        let name = self.path.file_name().and_then(|name| name.to_str());
        let harmless = |name: &str| HARMLESS.iter().any(|start| name.starts_with(start));
        let writable = self.mode & 0o022 != 0;
        let readable = self.mode & 0o044 != 0;
        writable || (!self.directory && readable && !name.is_some_and(harmless))
    }

    /// The mode that it should have: what it has, as far as it is the owner's.
    pub fn proper_mode(&self) -> u32 {
        let most = if self.directory {
            PRIVATE_DIRECTORY
        } else {
            PRIVATE_FILE
        };
        self.mode & most
    }
}

/// The state directory itself and everything of ours in it, links in it left out. Where the directory is a link, what
/// it leads to is meant, and named.
///
/// # Errors
/// The directory cannot be read.
pub fn kept(root: &Path) -> io::Result<Vec<Kept>> {
    let now = SystemTime::now();
    let root = &root.canonicalize()?;
    let mut found: Vec<Kept> = Kept::of(root, &fs::metadata(root)?, now)
        .into_iter()
        .collect();
    for entry in fs::read_dir(root)?.flatten() {
        let name = entry.file_name();
        let name = name.to_str().unwrap_or_default();
        let is_file = FILES.iter().any(|start| name.starts_with(start));
        if is_file || DIRECTORIES.contains(&name) {
            gather(&entry.path(), now, DEEPEST, &mut found);
        }
    }
    found.sort_by(|left, right| left.path.cmp(&right.path));
    Ok(found)
}

fn gather(path: &Path, now: SystemTime, levels: usize, found: &mut Vec<Kept>) {
    let kept = fs::symlink_metadata(path);
    let Some(kept) = kept.ok().and_then(|it| Kept::of(path, &it, now)) else {
        return;
    };
    let directory = kept.directory;
    found.push(kept);
    if !directory || levels == 0 {
        return;
    }
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if found.len() < MOST {
            gather(&entry.path(), now, levels - 1, found);
        }
    }
}

/// Takes away what others than the owner may do, and nothing from the owner. What became a link or another kind
/// of thing meanwhile is left alone.
///
/// # Errors
/// The system refuses.
pub fn narrow(kept: &Kept) -> Result<(), StoreError> {
    let only_this = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let flags = i32::try_from(only_this.bits()).unwrap_or_default();
    let change = || {
        let mut options = OpenOptions::new();
        let file = options.read(true).custom_flags(flags).open(&kept.path)?;
        if file.metadata()?.is_dir() != kept.directory {
            return Err(io::Error::other("it is something else now"));
        }
        file.set_permissions(Permissions::from_mode(kept.proper_mode()))
    };
    change().map_err(|cause| StoreError::unwritable(&kept.path, &cause))
}

/// The room on the disk of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Bytes that this user may still write.
    pub free_bytes: u64,
    /// Files that may still be made; `None` where that has no limit.
    pub free_files: Option<u64>,
    /// Nothing may be written at all.
    pub read_only: bool,
}

/// The room for what is written to `directory`.
///
/// # Errors
/// It cannot be asked.
pub fn room(directory: &Path) -> io::Result<Room> {
    let found = statvfs(directory)?;
    let read_only = found.f_flag.contains(StatVfsMountFlags::RDONLY);
    Ok(Room {
        free_bytes: found.f_bavail.saturating_mul(found.f_frsize),
        free_files: (found.f_files > 0).then_some(found.f_favail),
        read_only: read_only || access(directory, Access::WRITE_OK).is_err(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::TempDir;

    fn put(path: &Path, mode: u32) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "x").unwrap();
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn only_what_is_ours_is_looked_at_and_no_link_is_followed() {
        let temp = TempDir::new();
        for name in [
            "devices/paired.json",
            "browser/Default/Cookies",
            "node.json",
            "mine.txt",
        ] {
            put(&temp.join(name), 0o644);
        }
        std::os::unix::fs::symlink("/etc/passwd", temp.join("openclaw.json")).unwrap();
        let names: Vec<String> = kept(temp.path())
            .unwrap()
            .iter()
            .map(|kept| {
                kept.path
                    .strip_prefix(temp.path())
                    .unwrap()
                    .display()
                    .to_string()
            })
            .collect();
        assert_eq!(names, ["", "devices", "devices/paired.json", "node.json"]);
    }

    #[test]
    fn a_directory_behind_a_link_is_looked_at_and_narrowed_where_it_is() {
        let temp = TempDir::new();
        let (real, link) = (temp.join("real"), temp.join("link"));
        put(&real.join("node.json"), 0o644);
        fs::set_permissions(&real, Permissions::from_mode(0o755)).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let found = kept(&link).unwrap();
        assert_eq!(found.iter().filter(|kept| kept.is_open()).count(), 2);
        for kept in &found {
            narrow(kept).unwrap();
        }
        assert!(kept(&link).unwrap().iter().all(|kept| !kept.is_open()));
    }

    #[test]
    #[rustfmt::skip]
    fn access_is_judged_by_what_it_gives_away_and_only_narrowed() {
        let temp = TempDir::new();
        for (name, mode, open, exposed, proper) in [
            ("node.json", 0o600, false, false, 0o600),
            ("node.json", 0o640, true, true, 0o600),
            ("node.json", 0o604, true, true, 0o600),
            ("node.json", 0o444, true, true, 0o400),
            ("audit.jsonl", 0o644, true, false, 0o600),
            ("audit.jsonl", 0o622, true, true, 0o600),
            ("gateway.lock", 0o644, true, false, 0o600),
            ("identity/device.json", 0o755, true, true, 0o600),
        ] {
            let path = temp.join(name);
            let _ = fs::remove_file(&path);
            put(&path, mode);
            let found = Kept::look(&path).unwrap().unwrap();
            assert_eq!((found.is_open(), found.is_exposed()), (open, exposed), "{name} {mode:o}");
            narrow(&found).unwrap();
            let after = Kept::look(&path).unwrap().unwrap();
            assert_eq!((after.mode, after.is_open()), (proper, false), "{name} {mode:o}");
        }
        let directory = temp.join("identity");
        fs::set_permissions(&directory, Permissions::from_mode(0o755)).unwrap();
        let found = Kept::look(&directory).unwrap().unwrap();
        assert!(found.is_open() && !found.is_exposed());
        narrow(&found).unwrap();
        assert_eq!(Kept::look(&directory).unwrap().unwrap().mode, 0o700);
    }

    #[test]
    fn a_link_in_the_place_of_a_file_is_not_narrowed() {
        let temp = TempDir::new();
        let (file, other) = (temp.join("node.json"), temp.join("other"));
        put(&file, 0o644);
        put(&other, 0o644);
        let found = Kept::look(&file).unwrap().unwrap();
        fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink(&other, &file).unwrap();
        assert!(narrow(&found).is_err());
        assert_eq!(Kept::look(&other).unwrap().unwrap().mode, 0o644);
        assert_eq!(Kept::look(&file).unwrap(), None);
    }

    #[test]
    fn the_room_of_a_directory_is_told() {
        let temp = TempDir::new();
        let found = room(temp.path()).unwrap();
        assert!(found.free_bytes > 0 && !found.read_only, "{found:?}");
        assert!(room(&temp.join("missing")).is_err());
    }
}
