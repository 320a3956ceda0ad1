//! One writer per state directory: `<state>/gateway.lock`, held with flock for the owner's life, and
//! beside it the lock file of the reference, named after the configuration (cli §5.2), so that a
//! gateway of either kind sees the other.
//!
//! An owner is dead only when its process is: no port, no age of a readable file says so. A lock
//! ends with its process, whatever kills it.

use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;

use crate::identity::sha256_hex;
use crate::store::atomic::create_private_directory;
use crate::store::directory::StateDir;
use crate::store::error::StoreError;
use crate::store::lock_owner::{Owner, Purpose, holder_by_kernel};
use crate::store::turn::open_to_lock;

/// How long to wait for an owner that will be done in a moment (a command line that works on the
/// state directory, a lock file that is just being written). A gateway is never waited for.
const PATIENCE: Duration = Duration::from_millis(5000);

/// Pause between two looks at the lock of such an owner.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Age after which a lock file that names no owner is a leftover.
const UNREADABLE_STALE_AFTER: Duration = Duration::from_secs(30);

/// Hex digits of the configuration path's SHA-256 in the lock file's name.
const CONFIG_HASH_DIGITS: usize = 8;

/// What the second lock file is named after and where it stands.
#[derive(Debug, Clone, Copy)]
pub struct ConfigLock<'a> {
    /// The directory for temporary files; the lock is in `openclaw-<uid>` below it.
    pub temp_dir: &'a Path,
    /// The configuration file, which need not exist.
    pub config_file: &'a Path,
}

/// The right to write the pairing files of one state directory. Ends when dropped.
#[derive(Debug)]
pub struct Lock {
    dir: StateDir,
    config_lock: Option<HeldFile>,
    _state_lock: HeldFile,
}

impl Lock {
    /// Takes both locks. Fails at once with [`StoreError::Locked`] when a live gateway holds one of
    /// them; waits up to 5 seconds for a command that holds one.
    pub fn acquire(
        dir: &StateDir,
        config: ConfigLock<'_>,
        purpose: Purpose,
    ) -> Result<Self, StoreError> {
        let owner = Owner::myself(config.config_file, purpose);
        let deadline = Instant::now() + PATIENCE;
        let state_lock = hold(&dir.gateway_lock(), &owner, Judge::Flock, deadline)?;
        let directory = config_lock_directory(config.temp_dir);
        let config_lock = if is_usable(&directory)? {
            let path = directory.join(config_lock_name(config.config_file));
            Some(hold(&path, &owner, Judge::FlockAndContent, deadline)?)
        } else {
            log::warn!(
                "{} belongs to somebody else; no lock against other gateways with this configuration",
                directory.display()
            );
            None
        };
        Ok(Lock {
            dir: dir.clone(),
            config_lock,
            _state_lock: state_lock,
        })
    }

    /// Takes the state directory's lock alone, for one who has no configuration.
    pub fn acquire_state(dir: &StateDir, purpose: Purpose) -> Result<Self, StoreError> {
        let owner = Owner::myself(Path::new(""), purpose);
        let deadline = Instant::now() + PATIENCE;
        let state_lock = hold(&dir.gateway_lock(), &owner, Judge::Flock, deadline)?;
        Ok(Lock {
            dir: dir.clone(),
            config_lock: None,
            _state_lock: state_lock,
        })
    }

    /// The state directory that is locked.
    pub fn dir(&self) -> &StateDir {
        &self.dir
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // The reference leaves none behind either. Removed before it is released: whoever opened it
        // meanwhile sees that the name leads elsewhere and looks again.
        if let Some(held) = &self.config_lock {
            let _ = fs::remove_file(&held.path);
        }
    }
}

/// The process that holds the lock on `<state>/gateway.lock`, `None` when nobody does. Only a look:
/// by the time the caller acts on it, it may be over.
pub fn state_owner(dir: &StateDir) -> Option<u32> {
    let path = dir.gateway_lock();
    let file = File::open(&path).ok()?;
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => None,
        Err(_) => Owner::read(&file)
            .filter(Owner::is_alive)
            .map(|owner| owner.pid)
            .or_else(|| holder_by_kernel(&file)),
    }
}

fn config_lock_directory(temp_dir: &Path) -> PathBuf {
    let uid = rustix::process::getuid().as_raw();
    temp_dir.join(format!("openclaw-{uid}"))
}

fn config_lock_name(config_file: &Path) -> String {
    let hash = sha256_hex(config_file.as_os_str().as_encoded_bytes());
    format!("gateway.{}.lock", &hash[..CONFIG_HASH_DIGITS])
}

/// Creates the directory when it is missing. False when it is not a directory of this user: in a
/// shared place for temporary files, anybody can take the name first.
fn is_usable(directory: &Path) -> Result<bool, StoreError> {
    if let Err(error) = create_private_directory(directory) {
        if error.kind() != io::ErrorKind::AlreadyExists {
            return Err(StoreError::unwritable(directory, &error));
        }
    }
    let metadata = fs::symlink_metadata(directory)
        .map_err(|error| StoreError::unreadable(directory, &error))?;
    Ok(metadata.is_dir() && metadata.uid() == rustix::process::getuid().as_raw())
}

/// What decides whether a lock file is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Judge {
    /// Only the advisory lock: every program that uses this file takes it.
    Flock,
    /// Also the process named in the file: the reference takes no advisory lock.
    FlockAndContent,
}

#[derive(Debug)]
struct HeldFile {
    path: PathBuf,
    _file: File,
}

/// What one look at a lock file showed.
enum Look {
    Held(HeldFile),
    /// The owner lives; true when it will be done in a moment.
    Taken(Option<u32>, bool),
    /// The file was replaced while we looked.
    Again,
}

fn hold(
    path: &Path,
    owner: &Owner,
    judge: Judge,
    deadline: Instant,
) -> Result<HeldFile, StoreError> {
    loop {
        let look =
            look(path, owner, judge).map_err(|error| StoreError::unwritable(path, &error))?;
        match look {
            Look::Held(held) => return Ok(held),
            Look::Again => {}
            Look::Taken(_, true) if Instant::now() < deadline => thread::sleep(POLL_INTERVAL),
            Look::Taken(pid, _) => {
                return Err(StoreError::Locked {
                    pid,
                    path: path.to_owned(),
                });
            }
        }
    }
}

fn look(path: &Path, myself: &Owner, judge: Judge) -> io::Result<Look> {
    let file = open_to_lock(path)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => {
            let owner = Owner::read(&file);
            // A file that names nobody, or a dead one, is held by one about to write its name.
            let brief = owner.as_ref().is_none_or(|owner| {
                owner.purpose == Some(Purpose::Administration) || !owner.is_alive()
            });
            return Ok(Look::Taken(owner.map(|owner| owner.pid), brief));
        }
        Err(error) => return Err(error.into()),
    }
    // Somebody may have removed or replaced the file between opening and locking it.
    let locked = file.metadata()?;
    match fs::metadata(path) {
        Ok(current) if current.ino() == locked.ino() && current.dev() == locked.dev() => {}
        _ => return Ok(Look::Again),
    }
    if judge == Judge::FlockAndContent {
        match Owner::read(&file) {
            // Ours hold the advisory lock as long as they live, and we have it now.
            Some(owner) if owner.purpose.is_none() && owner.is_alive() => {
                return Ok(Look::Taken(Some(owner.pid), false));
            }
            None if locked.len() > 0 && !is_older_than(&locked, UNREADABLE_STALE_AFTER) => {
                return Ok(Look::Taken(None, true));
            }
            _ => {}
        }
    }
    // The name is for others to read. A disk that does not take it keeps nobody from what he can do without.
    if let Err(error) = write_owner(&file, myself) {
        let why = match opened_to_read(&file) {
            true => "the file system is read-only; nothing of the state can be changed (openclaw doctor)".to_owned(),
            false => error.to_string(),
        };
        log::warn!("{} does not name its owner: {why}", path.display());
    }
    Ok(Look::Held(HeldFile {
        path: path.to_owned(),
        _file: file,
    }))
}

/// Whether the disk let the file be opened for reading alone.
fn opened_to_read(file: &File) -> bool {
    rustix::fs::fcntl_getfl(file).is_ok_and(|flags| flags & OFlags::ACCMODE == OFlags::RDONLY)
}

fn write_owner(mut file: &File, owner: &Owner) -> io::Result<()> {
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(serde_json::to_string(owner)?.as_bytes())
}

fn is_older_than(metadata: &fs::Metadata, age: Duration) -> bool {
    metadata
        .modified()
        .ok()
        .and_then(|modified| modified.elapsed().ok())
        .is_some_and(|elapsed| elapsed >= age)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::lock_owner::start_time;
    use crate::store::testing::TempDir;

    struct Place {
        temp: TempDir,
        dir: StateDir,
    }

    impl Place {
        fn new() -> Self {
            let temp = TempDir::new();
            let dir = StateDir::open(&temp.join("state")).unwrap();
            Place { temp, dir }
        }

        fn acquire(&self) -> Result<Lock, StoreError> {
            let config_file = self.temp.join("openclaw.json");
            let config = ConfigLock {
                temp_dir: self.temp.path(),
                config_file: &config_file,
            };
            Lock::acquire(&self.dir, config, Purpose::Gateway)
        }

        fn config_lock(&self) -> PathBuf {
            config_lock_directory(self.temp.path())
                .join(config_lock_name(&self.temp.join("openclaw.json")))
        }

        fn write_config_lock(&self, text: &str) {
            let path = self.config_lock();
            create_private_directory(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    #[test]
    fn a_live_gateway_is_told_by_its_pid_and_released_by_its_end() {
        let place = Place::new();
        assert_eq!(state_owner(&place.dir), None);
        let lock = place.acquire().unwrap();
        assert_eq!(lock.dir(), &place.dir);
        let error = place.acquire().unwrap_err();
        assert_eq!(
            error,
            StoreError::Locked {
                pid: Some(std::process::id()),
                path: place.dir.gateway_lock()
            }
        );
        assert_eq!(state_owner(&place.dir), Some(std::process::id()));
        drop(lock);
        assert!(!place.config_lock().exists());
        assert_eq!(state_owner(&place.dir), None);
        place.acquire().unwrap();
    }

    #[test]
    fn a_lock_whose_file_names_a_dead_process_is_the_kernels_to_tell() {
        let place = Place::new();
        let _lock = place.acquire().unwrap();
        // As on a disk that became read-only after the owner before had written its name.
        fs::write(place.dir.gateway_lock(), r#"{"pid":4194305,"startTime":1}"#).unwrap();
        let owner = state_owner(&place.dir);
        assert!(
            owner.is_none_or(|pid| pid == std::process::id()),
            "{owner:?}"
        );
    }

    #[test]
    fn the_lock_file_names_its_owner_as_the_reference_does() {
        let place = Place::new();
        let _lock = place.acquire().unwrap();
        for path in [place.config_lock(), place.dir.gateway_lock()] {
            let text = fs::read_to_string(&path).unwrap();
            let owner: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(owner["pid"], std::process::id());
            assert!(owner["createdAt"].as_str().unwrap().ends_with('Z'));
            let config_path = owner["configPath"].as_str().unwrap();
            assert!(config_path.ends_with("openclaw.json"));
            assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        }
        let name = place.config_lock();
        let name = name.file_name().unwrap().to_str().unwrap();
        assert_eq!(name.len(), "gateway.12345678.lock".len());
    }

    #[test]
    fn another_configuration_on_the_same_state_directory_is_kept_out() {
        let place = Place::new();
        let _lock = place.acquire().unwrap();
        let other_config = place.temp.join("other.json");
        let config = ConfigLock {
            temp_dir: place.temp.path(),
            config_file: &other_config,
        };
        let error = Lock::acquire(&place.dir, config, Purpose::Gateway).unwrap_err();
        assert!(matches!(error, StoreError::Locked { .. }), "{error:?}");
    }

    #[test]
    fn a_file_of_the_reference_counts_while_its_process_lives() {
        let own_parent = std::os::unix::process::parent_id();
        let parent_start = start_time(own_parent).unwrap();
        let cases = [
            (
                format!(r#"{{"pid":{own_parent},"purpose":"gateway"}}"#),
                false,
            ),
            (
                format!(
                    r#"{{"pid":{own_parent},"createdAt":"x","configPath":"y","startTime":{parent_start}}}"#
                ),
                true,
            ),
            (format!(r#"{{"pid":{own_parent}}}"#), true),
            (
                format!(r#"{{"pid":{own_parent},"startTime":{}}}"#, parent_start + 1),
                false,
            ),
            (r#"{"pid":4194305,"startTime":1}"#.to_owned(), false),
            (r#"{"pid":0}"#.to_owned(), false),
            (r#"{"pid":4294967295}"#.to_owned(), false),
            (String::new(), false),
        ];
        for (text, taken) in cases {
            let place = Place::new();
            place.write_config_lock(&text);
            assert_eq!(place.acquire().is_err(), taken, "{text}");
            if taken {
                assert_eq!(fs::read_to_string(place.config_lock()).unwrap(), text);
            }
        }
    }

    #[test]
    fn a_file_that_names_nobody_is_a_leftover_when_it_is_old() {
        let place = Place::new();
        place.write_config_lock("{\"pid\":");
        let old = std::time::SystemTime::now() - UNREADABLE_STALE_AFTER;
        let file = File::options()
            .write(true)
            .open(place.config_lock())
            .unwrap();
        file.set_modified(old).unwrap();
        place.acquire().unwrap();
    }

    #[test]
    fn a_gateway_waits_for_a_command_and_takes_over_when_it_is_done() {
        let place = Place::new();
        let command = Lock::acquire_state(&place.dir, Purpose::Administration).unwrap();
        thread::scope(|scope| {
            let gateway = scope.spawn(|| place.acquire());
            assert!(state_owner(&place.dir).is_some());
            drop(command);
            gateway.join().unwrap().unwrap();
        });
    }
}
