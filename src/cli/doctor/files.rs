//! The state directory: modes, owners, leftovers, content, room on the disk.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::cli::doctor::check::{Check, edit};
use crate::cli::doctor::scene::Scene;
use crate::cli::output::text::counted;
use crate::exec::ApprovalsFile;
use crate::identity::KeyFile;
use crate::pairing::Part;
use crate::store::care::{Kept, Room, kept, room};
use crate::store::directory::read_optional;
use crate::store::pairing_files::look_at;
use crate::store::{StateDir, StoreError};

/// Bytes below which nothing can be kept any more.
const TOO_LITTLE: u64 = 1024 * 1024;

/// Bytes below which somebody should know: logs and the trail fill them in days.
const LITTLE: u64 = 64 * 1024 * 1024;

/// Files below which somebody should know.
const FEW_FILES: u64 = 128;

/// Places that are named of one kind of trouble.
const MOST_ITEMS: usize = 20;

const MEND: &str = "openclaw doctor --fix";

/// `state.*`.
pub fn checks(scene: &Scene) -> Vec<Check> {
    let root = &scene.paths.state_dir;
    let Some(directory) = scene.directory() else {
        let why = format!("there is no state directory {} yet", root.display());
        return vec![Check::skipped("state.directory", why)];
    };
    let mut found = match kept(root) {
        Ok(found) => found,
        Err(cause) => return vec![unreadable(root, &cause)],
    };
    found.extend(outside(scene));
    // The directory stands first.
    let owner = found.first().map_or(0, |root| root.owner);
    let mut checks = vec![
        modes(&found),
        owners(&found),
        leftovers(&found, scene.holder, scene.restart_gateway()),
        contents(&directory, owner),
    ];
    checks.push(match room(root) {
        Ok(room) => disk(root, &room),
        Err(cause) => Check::skipped("state.disk", format!("the disk cannot be asked: {cause}")),
    });
    checks
}

/// Files of ours that the configuration puts elsewhere.
pub fn outside(scene: &Scene) -> Vec<Kept> {
    let root = &scene.paths.state_dir;
    let mut paths = vec![scene.paths.config_file.clone()];
    if let Ok(loaded) = &scene.loaded {
        let tls = &loaded.config.gateway.tls;
        if tls.enabled {
            paths.push(tls.files(root).key);
        }
    }
    paths
        .iter()
        .filter(|path| !path.starts_with(root))
        .filter_map(|path| Kept::look(path).ok().flatten())
        .collect()
}

fn unreadable(root: &Path, cause: &io::Error) -> Check {
    let what = format!("{} cannot be read: {cause}", root.display());
    let fix = format!("sudo chown -R \"$(id -un)\" {}", root.display());
    Check::fail("state.directory", what, fix)
}

fn modes(found: &[Kept]) -> Check {
    const ID: &str = "state.modes";
    let open: Vec<&Kept> = found.iter().filter(|kept| kept.is_open()).collect();
    if open.is_empty() {
        return Check::ok(ID, "nobody else may read or change anything of the state");
    }
    let exposed = open.iter().filter(|kept| kept.is_exposed()).count();
    let what = match exposed {
        0 => "others may look at what holds no secret".to_owned(),
        _ => format!(
            "others may read or replace {}",
            counted(exposed as u64, "private file")
        ),
    };
    let named = |kept: &&Kept| format!("{} ({:04o})", kept.path.display(), kept.mode);
    let items = open.iter().map(named).take(MOST_ITEMS).collect();
    Check::bad(ID, exposed > 0, what, MEND).items(items)
}

fn owners(found: &[Kept]) -> Check {
    const ID: &str = "state.owner";
    // The directory stands first.
    let Some(root) = found.first() else {
        return Check::skipped(ID, "there is nothing to own");
    };
    let inside = found
        .iter()
        .filter(|kept| kept.path.starts_with(&root.path));
    let foreign: Vec<&Kept> = inside.filter(|kept| kept.owner != root.owner).collect();
    if foreign.is_empty() {
        return Check::ok(ID, format!("all files belong to user {}", root.owner));
    }
    let what = format!(
        "{} of another user than the directory's ({}): a program that runs as that user cannot change them",
        counted(foreign.len() as u64, "file"),
        root.owner
    );
    let fix = give_to(root.owner, &root.path);
    let named = |kept: &&Kept| format!("{} (user {})", kept.path.display(), kept.owner);
    let items = foreign.iter().map(named).take(MOST_ITEMS).collect();
    Check::fail(ID, what, fix).items(items)
}

/// The command that makes a user the owner of everything.
fn give_to(owner: u32, root: &Path) -> String {
    format!("sudo chown -R {owner} {}", root.display())
}

fn leftovers(found: &[Kept], holder: Option<u32>, restart: String) -> Check {
    const ID: &str = "state.leftovers";
    let left: Vec<&Kept> = found.iter().filter(|kept| kept.leftover).collect();
    if left.is_empty() {
        return Check::ok(ID, "no temporary file was left behind");
    }
    let what = format!(
        "{} left behind by an interrupted write",
        counted(left.len() as u64, "temporary file")
    );
    let fix = match holder {
        Some(_) => restart,
        None => MEND.to_owned(),
    };
    let items = left.iter().map(|kept| kept.path.display().to_string());
    Check::warn(ID, what, fix).items(items.take(MOST_ITEMS).collect())
}

/// A file that cannot be used, or not all of it.
struct Fault {
    path: PathBuf,
    text: String,
    /// Who runs this may not read it.
    denied: bool,
}

impl Fault {
    fn new(path: impl Into<PathBuf>, text: impl ToString) -> Fault {
        let (path, text) = (path.into(), text.to_string());
        let opened = File::open(&path);
        let denied = opened.is_err_and(|cause| cause.kind() == io::ErrorKind::PermissionDenied);
        Fault { path, text, denied }
    }
}

/// Reads every file as the program would. `owner`: whose the directory is.
fn contents(directory: &StateDir, owner: u32) -> Check {
    let mut faults = Vec::new();
    let mut odd = Vec::new();
    for part in Part::ALL {
        let path = directory.root().join(part.file());
        match look_at(directory, part) {
            Ok(state) => {
                let number = state.unreadable(part).len() as u64;
                if number > 0 {
                    let records = counted(number, "malformed record");
                    let text = format!("{}: {records}, whose owners are refused", part.file());
                    odd.push(Fault::new(path, text));
                }
            }
            Err(fault) => faults.push(Fault::new(path, fault)),
        }
    }
    faults.extend(key(&directory.device_key()));
    for path in [directory.device_auth(), directory.node_file()] {
        faults.extend(object(&path));
    }
    let policy = ApprovalsFile::new(directory.root(), None);
    let fault = policy.look().document.err();
    faults.extend(fault.map(|text| Fault::new(policy.path(), text)));
    judge_contents(&faults, &odd, &give_to(owner, directory.root()))
}

fn key(path: &Path) -> Option<Fault> {
    match read_optional(path) {
        Ok(None) => None,
        Ok(Some(text)) => KeyFile::parse(&text).err().map(|fault| {
            let path = path.to_owned();
            Fault::new(path.clone(), StoreError::Key { path, fault })
        }),
        Err(fault) => Some(Fault::new(path, fault)),
    }
}

fn object(path: &Path) -> Option<Fault> {
    let text = match read_optional(path) {
        Ok(text) => text?,
        Err(fault) => return Some(Fault::new(path, fault)),
    };
    let fault = serde_json::from_str::<Map<String, Value>>(&text).err()?;
    Some(Fault::new(path, StoreError::malformed(path, &fault)))
}

/// `give`: the command after which the files may be read.
fn judge_contents(faults: &[Fault], odd: &[Fault], give: &str) -> Check {
    const ID: &str = "state.files";
    let fails = !faults.is_empty();
    if !fails && odd.is_empty() {
        return Check::ok(ID, "every file can be read");
    }
    let all = || faults.iter().chain(odd);
    let items = all().map(|fault| fault.text.clone()).collect();
    let denied = faults.iter().filter(|fault| fault.denied).count() as u64;
    if denied > 0 {
        let what = format!("{} that this user may not read", counted(denied, "file"));
        return Check::fail(ID, what, give).items(items);
    }
    let what = match fails {
        true => format!(
            "{} that cannot be used",
            counted(faults.len() as u64, "file")
        ),
        false => "entries that cannot be used".to_owned(),
    };
    let what = format!("{what}; repair the place, or take the file from a backup");
    let paths: Vec<_> = all().map(|fault| fault.path.to_string_lossy()).collect();
    let fix = edit(paths.iter().map(AsRef::as_ref));
    Check::bad(ID, fails, what, fix).items(items)
}

fn disk(root: &Path, room: &Room) -> Check {
    const ID: &str = "state.disk";
    let place = root.display();
    if room.read_only {
        let what = format!("nothing can be written to {place}");
        return Check::fail(
            ID,
            what,
            format!("mount -o remount,rw \"$(findmnt -nT {place} -o TARGET)\""),
        );
    }
    let free = room.free_bytes / (1024 * 1024);
    let no_files = room.free_files.is_some_and(|files| files < FEW_FILES);
    if room.free_bytes >= LITTLE && !no_files {
        return Check::ok(ID, format!("{free} MiB are free"));
    }
    let what = match no_files {
        true => format!("the disk of {place} can hold hardly any more files"),
        false => format!("only {free} MiB are free on the disk of {place}"),
    };
    let fails = room.free_bytes < TOO_LITTLE || room.free_files == Some(0);
    Check::bad(ID, fails, what, format!("df -h {place}; df -i {place}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::check::State;

    fn file(name: &str, mode: u32, owner: u32, leftover: bool) -> Kept {
        Kept {
            path: format!("/s{name}").into(),
            directory: name.is_empty(),
            mode,
            owner,
            leftover,
        }
    }

    #[test]
    #[rustfmt::skip]
    fn modes_fail_where_they_give_a_secret_away() {
        for (kept, state) in [
            (file("/node.json", 0o600, 1, false), State::Ok),
            (file("/node.json", 0o644, 1, false), State::Fail),
            (file("/audit.jsonl", 0o644, 1, false), State::Warn),
            (file("", 0o755, 1, false), State::Warn),
            (file("", 0o777, 1, false), State::Fail),
        ] {
            let check = modes(std::slice::from_ref(&kept));
            assert_eq!(check.state, state, "{kept:?}");
            assert_eq!(check.fix.as_deref(), (state != State::Ok).then_some(MEND));
        }
    }

    #[test]
    fn owners_and_leftovers_are_named() {
        let own = [file("", 0o700, 7, false), file("/a", 0o600, 7, true)];
        assert_eq!(owners(&own).state, State::Ok);
        let foreign = [file("", 0o700, 7, false), file("/a", 0o600, 0, false)];
        let check = owners(&foreign);
        assert_eq!(check.state, State::Fail);
        assert_eq!(check.fix.as_deref(), Some("sudo chown -R 7 /s"));
        assert_eq!(check.items, ["/s/a (user 0)"]);
        assert_eq!(leftovers(&foreign, None, String::new()).state, State::Ok);
        for (holder, fix) in [(None, MEND), (Some(1), "restart")] {
            let check = leftovers(&own, holder, "restart".to_owned());
            assert_eq!(
                (check.state, check.fix.as_deref()),
                (State::Warn, Some(fix))
            );
        }
    }

    #[test]
    #[rustfmt::skip]
    fn a_disk_is_judged_by_its_room() {
        const MIB: u64 = 1024 * 1024;
        for (free_bytes, free_files, read_only, state) in [
            (MIB * 100, Some(1_000), false, State::Ok),
            (MIB * 100, None, false, State::Ok),
            (MIB * 10, Some(1_000), false, State::Warn),
            (MIB * 100, Some(3), false, State::Warn),
            (MIB * 100, Some(0), false, State::Fail),
            (MIB - 1, Some(1_000), false, State::Fail),
            (MIB * 100, Some(1_000), true, State::Fail),
        ] {
            let room = Room { free_bytes, free_files, read_only };
            assert_eq!(disk(Path::new("/s"), &room).state, state, "{room:?}");
        }
    }

    #[test]
    fn files_that_cannot_be_used_fail_and_odd_entries_warn() {
        let fault = || vec![Fault::new("/s/a", "malformed state file /s/a:3:4: x")];
        for (faults, odd, state, items) in [
            (vec![], vec![], State::Ok, 0),
            (vec![], fault(), State::Warn, 1),
            (fault(), fault(), State::Fail, 2),
        ] {
            let check = judge_contents(&faults, &odd, "chown");
            assert_eq!((check.state, check.items.len()), (state, items));
            let command = ["\"${EDITOR:-vi}\"", " /s/a".repeat(items).as_str()].concat();
            assert_eq!(check.fix, (items > 0).then_some(command));
        }
    }

    #[test]
    fn files_that_may_not_be_read_are_given_to_the_owner_of_the_directory_and_not_edited() {
        let mut fault = Fault::new("/s/a", "cannot read /s/a: Permission denied");
        fault.denied = true;
        let check = judge_contents(&[fault], &[], "sudo chown -R 7 /s");
        assert_eq!(check.what, "1 file that this user may not read");
        assert_eq!(check.fix.as_deref(), Some("sudo chown -R 7 /s"));
    }
}
