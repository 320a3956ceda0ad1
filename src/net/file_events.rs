//! A descriptor that becomes readable when a file or directory changes, for the one poll of its owner.
//!
//! inotify where the system has it: nothing wakes up while nothing changes. Elsewhere, and where the
//! system gives no more watches, there is no descriptor and the owner looks every [`LOOK_INTERVAL`].

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

/// How often somebody without a descriptor looks at the files: a person waits that long for an edit.
pub const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// What is watched; a new value is made when that changes.
#[derive(Debug, Default)]
pub struct FileEvents {
    descriptor: Option<OwnedFd>,
}

impl FileEvents {
    /// Watches the content of `files` and the names in `directories` (created, removed, renamed). What
    /// does not exist is left out.
    pub fn watch<'a>(
        directories: impl IntoIterator<Item = &'a Path>,
        files: impl IntoIterator<Item = &'a Path>,
    ) -> FileEvents {
        FileEvents {
            descriptor: descriptor(directories, files),
        }
    }

    /// The descriptor to poll for reading; `None`: look every [`LOOK_INTERVAL`].
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.descriptor.as_ref().map(AsFd::as_fd)
    }

    /// Takes what has happened so far, so that the descriptor tells of later events only.
    pub fn clear(&self) {
        let mut events = [0_u8; 4096];
        while let Some(descriptor) = &self.descriptor {
            // It does not block; an error here means that there is nothing left to read.
            if !matches!(rustix::io::read(descriptor, &mut events), Ok(read) if read > 0) {
                return;
            }
        }
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn descriptor<'a>(
    directories: impl IntoIterator<Item = &'a Path>,
    files: impl IntoIterator<Item = &'a Path>,
) -> Option<OwnedFd> {
    use rustix::fs::inotify::{CreateFlags, WatchFlags, add_watch, init};
    use rustix::io::Errno;

    const GONE: WatchFlags = WatchFlags::DELETE_SELF.union(WatchFlags::MOVE_SELF);
    const NAMES: WatchFlags = WatchFlags::CREATE
        .union(WatchFlags::DELETE)
        .union(WatchFlags::MOVED_FROM)
        .union(WatchFlags::MOVED_TO)
        .union(GONE);
    const CONTENT: WatchFlags = WatchFlags::MODIFY
        .union(WatchFlags::CLOSE_WRITE)
        .union(WatchFlags::ATTRIB)
        .union(GONE);

    let inotify = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok()?;
    let directories = directories.into_iter().map(|path| (path, NAMES));
    let files = files.into_iter().map(|path| (path, CONTENT));
    for (path, flags) in directories.chain(files) {
        match add_watch(&inotify, path, flags | WatchFlags::MASK_ADD) {
            // Its directory tells when it comes back, or lets nobody look into it either.
            Ok(_) | Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS) => {}
            Err(_) => return None,
        }
    }
    Some(inotify)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn descriptor<'a>(
    _directories: impl IntoIterator<Item = &'a Path>,
    _files: impl IntoIterator<Item = &'a Path>,
) -> Option<OwnedFd> {
    None
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::fs;
    use std::time::Instant;

    use rustix::event::PollFlags;

    use super::*;
    use crate::net::readiness::wait_all;
    use crate::store::testing::TempDir;

    fn is_readable(events: &FileEvents) -> bool {
        let polled = [(events.descriptor().unwrap(), PollFlags::IN)];
        !wait_all(&polled, Some(Instant::now())).unwrap()[0].is_empty()
    }

    #[test]
    fn content_of_files_and_names_in_directories_are_told_and_nothing_else() {
        let temp = TempDir::new();
        let (file, other) = (temp.join("file"), temp.join("other"));
        for path in [&file, &other] {
            fs::write(path, "a").unwrap();
        }
        let missing = temp.join("missing");
        let events = FileEvents::watch([temp.path()], [file.as_path(), missing.as_path()]);
        assert!(!is_readable(&events));
        let changes: [(&str, &dyn Fn(), bool); 5] = [
            (
                "another file's content",
                &|| fs::write(&other, "b").unwrap(),
                false,
            ),
            ("content", &|| fs::write(&file, "b").unwrap(), true),
            ("a new name", &|| fs::write(&missing, "b").unwrap(), true),
            (
                "a renamed file",
                &|| fs::rename(&other, &file).unwrap(),
                true,
            ),
            ("a removed file", &|| fs::remove_file(&file).unwrap(), true),
        ];
        for (what, change, told) in changes {
            change();
            assert_eq!(is_readable(&events), told, "{what}");
            events.clear();
            assert!(!is_readable(&events), "{what}");
        }
    }
}
