//! Processes of a run that left its group: they become children of the host when their parent ends, so
//! that a stopping host finds them and none stays behind as a zombie.
//!
//! Linux only, and only where `/proc` lists a process's children: elsewhere the system's first process
//! takes them over, as it does for every program.

use std::io;

use rustix::process::{Pid, WaitId, WaitIdOptions, getpgid, waitid};

/// Makes this process the parent of what its runs leave behind. Errors: the system cannot do that.
#[cfg(target_os = "linux")]
pub fn adopt() -> io::Result<()> {
    if list().is_empty() && !children_files().any(|file| file.is_file()) {
        return Err(io::Error::from(io::ErrorKind::Unsupported));
    }
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    Ok(())
}

#[cfg(not(target_os = "linux"))]
pub fn adopt() -> io::Result<()> {
    Err(io::Error::from(io::ErrorKind::Unsupported))
}

/// The children of this process that no run leads, as far as the system tells. What this process started
/// for itself shares its process group and is none of them.
pub fn adopted(leaders: impl Fn(Pid) -> bool) -> Vec<Pid> {
    let own = getpgid(None).ok();
    list()
        .into_iter()
        .filter(|pid| !leaders(*pid))
        .filter(|pid| getpgid(Some(*pid)).is_ok_and(|group| Some(group) != own))
        .collect()
}

/// Collects an adopted process if it has ended.
pub fn collect(pid: Pid) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    matches!(waitid(WaitId::Pid(pid), options), Ok(Some(_)))
}

#[cfg(target_os = "linux")]
fn list() -> Vec<Pid> {
    let text: String = children_files()
        .filter_map(|file| std::fs::read_to_string(file).ok())
        .collect();
    text.split_ascii_whitespace()
        .filter_map(|pid| Pid::from_raw(pid.parse().ok()?))
        .collect()
}

/// One file per thread, with the children that it started or was given.
#[cfg(target_os = "linux")]
fn children_files() -> impl Iterator<Item = std::path::PathBuf> {
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten();
    threads
        .flatten()
        .map(|thread| thread.path().join("children"))
}

#[cfg(not(target_os = "linux"))]
fn list() -> Vec<Pid> {
    Vec::new()
}
