//! Notices that a file which the configuration is made of is not what it was.
//!
//! Followed are names, not files: a file may be written in place, replaced by a rename, be reached
//! through links whose targets change, vanish and come back. What happened in between does not matter,
//! only that a look shows something else than the look before.

use std::collections::BTreeSet;
use std::fs::{self, Metadata};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use crate::net::FileEvents;

/// Symbolic links followed before a chain counts as a loop; the kernel's own limit.
const MAX_LINKS: usize = 40;

/// How often the files may change while the watches are being set; then the next event sets them again.
const MAX_ROUNDS: usize = 8;

/// Several files under watch.
#[derive(Debug, Default)]
pub struct Watch {
    names: BTreeSet<PathBuf>,
    seen: Vec<Sight>,
    events: FileEvents,
}

/// What stands behind one name.
#[derive(Debug, PartialEq, Eq)]
struct Sight {
    trail: Trail,
    /// `None` when there is no such file.
    file: Option<Mark>,
    /// The directories of the trail, so that a replaced one is noticed.
    directories: Vec<Option<(u64, u64)>>,
}

/// The way from a name to its file.
#[derive(Debug, PartialEq, Eq)]
struct Trail {
    /// Directories in which a changed name leads elsewhere: those of links and of the file.
    directories: BTreeSet<PathBuf>,
    /// Where it ends.
    file: PathBuf,
}

/// Tells one content of a file from another.
#[derive(Debug, PartialEq, Eq)]
struct Mark {
    device: u64,
    inode: u64,
    size: u64,
    /// Seconds and nanoseconds of the last change of content, and of content or attributes.
    times: [(i64, i64); 2],
}

impl Watch {
    /// Watches exactly these names from now on; true when they are others than before.
    pub fn follow(&mut self, names: impl IntoIterator<Item = PathBuf>) -> bool {
        let names: BTreeSet<PathBuf> = names.into_iter().collect();
        if names == self.names {
            return false;
        }
        self.names = names;
        self.arm();
        true
    }

    /// Whether it watches nothing.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The descriptor that is readable when it is time for a look; `None` when the system has no such
    /// thing: look from time to time.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.events.descriptor()
    }

    /// Whether anything is different from the look before.
    pub fn look(&mut self) -> bool {
        self.events.clear();
        let found = self.sights();
        if found == self.seen {
            return false;
        }
        self.arm();
        true
    }

    /// Sets the watches anew, on the files that stand there now.
    fn arm(&mut self) {
        self.seen = self.sights();
        for _ in 0..MAX_ROUNDS {
            let directories = self.seen.iter().flat_map(|sight| &sight.trail.directories);
            let files = self.seen.iter().map(|sight| sight.trail.file.as_path());
            self.events = FileEvents::watch(directories.map(PathBuf::as_path), files);
            // Armed before looked at: what comes between is either seen here or told later.
            let found = self.sights();
            let settled = found == self.seen;
            self.seen = found;
            if settled {
                return;
            }
        }
    }

    fn sights(&self) -> Vec<Sight> {
        self.names.iter().map(|name| sight(name)).collect()
    }
}

fn sight(name: &Path) -> Sight {
    let trail = trail(name);
    let directory = |path: &PathBuf| {
        let found = fs::metadata(path).ok()?;
        Some((found.dev(), found.ino()))
    };
    Sight {
        file: fs::metadata(&trail.file).ok().map(|found| mark(&found)),
        directories: trail.directories.iter().map(directory).collect(),
        trail,
    }
}

fn mark(found: &Metadata) -> Mark {
    Mark {
        device: found.dev(),
        inode: found.ino(),
        size: found.len(),
        times: [
            (found.mtime(), found.mtime_nsec()),
            (found.ctime(), found.ctime_nsec()),
        ],
    }
}

/// Follows the links in every part of an absolute path. A part that does not exist ends the trail: the
/// directory before it tells when it comes.
fn trail(name: &Path) -> Trail {
    let mut directories = BTreeSet::new();
    let mut path = name.to_owned();
    for _ in 0..MAX_LINKS {
        match first_link(&path) {
            Step::End(directory) => {
                directories.insert(directory);
                return Trail {
                    directories,
                    file: path,
                };
            }
            Step::Link { directory, target } => {
                directories.insert(directory);
                path = target;
            }
        }
    }
    Trail {
        directories,
        file: path,
    }
}

/// What the walk along a path meets first.
enum Step {
    /// No link; the directory of the last part, or of the first one that is missing.
    End(PathBuf),
    /// A link in `directory`; with it followed, the path is `target`.
    Link { directory: PathBuf, target: PathBuf },
}

fn first_link(path: &Path) -> Step {
    let mut walked = PathBuf::new();
    let mut parts = path.components();
    while let Some(part) = parts.next() {
        let directory = walked.clone();
        match part {
            Component::ParentDir => {
                walked.pop();
                continue;
            }
            part => walked.push(part),
        }
        let Ok(found) = fs::symlink_metadata(&walked) else {
            return Step::End(directory);
        };
        if found.is_symlink() {
            let Ok(link) = fs::read_link(&walked) else {
                return Step::End(directory);
            };
            // Collected: joining nothing would leave a trailing slash.
            let target = directory.join(link).components().chain(parts).collect();
            return Step::Link { directory, target };
        }
    }
    Step::End(walked.parent().unwrap_or(Path::new("/")).to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::store::testing::TempDir;

    fn put(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Writes beside `path` and renames over it, as editors do.
    fn replace(path: &Path, text: &str) {
        let beside = path.with_extension("new");
        put(&beside, text);
        fs::rename(beside, path).unwrap();
    }

    /// Whether the descriptor announces a change, and a look finds one; both must agree.
    fn noticed(watch: &mut Watch) -> bool {
        let announced = watch.descriptor().is_none_or(|descriptor| {
            let polled = [(descriptor, rustix::event::PollFlags::IN)];
            let now = Some(std::time::Instant::now());
            !crate::net::readiness::wait_all(&polled, now).unwrap()[0].is_empty()
        });
        watch.look() && announced
    }

    #[test]
    fn every_way_of_changing_a_file_is_noticed_once() {
        let temp = TempDir::new();
        let file = temp.join("a/b/openclaw.json");
        let mut watch = Watch::default();
        assert!(watch.follow([file.clone()]));
        assert!(!watch.follow([file.clone()]));
        let moved = temp.join("moved");
        let steps: [(&str, &dyn Fn()); 9] = [
            ("its directory appears", &|| {
                fs::create_dir_all(temp.join("a")).unwrap()
            }),
            ("it appears", &|| put(&file, "1")),
            ("it is written in place", &|| {
                fs::write(&file, "22").unwrap()
            }),
            ("it is replaced", &|| replace(&file, "33")),
            ("it is written after that", &|| {
                fs::write(&file, "444").unwrap()
            }),
            ("it goes", &|| fs::remove_file(&file).unwrap()),
            ("it comes back", &|| put(&file, "5")),
            ("its directory is moved away", &|| {
                fs::rename(temp.join("a/b"), &moved).unwrap()
            }),
            ("another one takes its place", &|| put(&file, "6")),
        ];
        for (what, change) in steps {
            change();
            assert!(noticed(&mut watch), "{what}");
            let rounds = (0..10).take_while(|_| watch.look()).count();
            assert!(rounds < 10, "{what}: it comes to rest");
            assert!(!noticed(&mut watch), "{what}: once");
        }
        put(&temp.join("a/b/other"), "x");
        assert!(!watch.look(), "a neighbour is nobody's business");
    }

    #[test]
    fn links_are_followed_in_every_part_of_the_path() {
        let temp = TempDir::new();
        // As volumes of container platforms are laid out: file → link → directory that is swapped.
        for version in ["one", "two"] {
            put(&temp.join(&format!("{version}/openclaw.json")), version);
        }
        symlink("one", temp.join("current")).unwrap();
        symlink("current/openclaw.json", temp.join("openclaw.json")).unwrap();
        let mut watch = Watch::default();
        watch.follow([temp.join("openclaw.json")]);
        let steps: [(&str, &dyn Fn()); 5] = [
            ("the target is written", &|| {
                put(&temp.join("one/openclaw.json"), "more")
            }),
            ("a link in the middle leads elsewhere", &|| {
                symlink("two", temp.join("next")).unwrap();
                fs::rename(temp.join("next"), temp.join("current")).unwrap();
            }),
            ("the new target is written", &|| {
                put(&temp.join("two/openclaw.json"), "more")
            }),
            ("the file is a link to the target itself", &|| {
                symlink("one/openclaw.json", temp.join("next")).unwrap();
                fs::rename(temp.join("next"), temp.join("openclaw.json")).unwrap();
            }),
            ("its target is written", &|| {
                put(&temp.join("one/openclaw.json"), "again")
            }),
        ];
        for (what, change) in steps {
            change();
            assert!(noticed(&mut watch), "{what}");
            let rounds = (0..10).take_while(|_| watch.look()).count();
            assert!(rounds < 10, "{what}: it comes to rest");
        }
        symlink("loop", temp.join("loop")).unwrap();
        watch.follow([temp.join("loop")]);
        assert!(!watch.look(), "a loop of links is a missing file");
    }
}
