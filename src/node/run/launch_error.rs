//! The texts of commands that did not start: `spawn <argv0> <ERRNO>` and, for a bad working directory,
//! what is wrong with it.

use std::io;
use std::path::Path;

use rustix::io::Errno;

use super::Launch;

const NAMES: &[(Errno, &str)] = &[
    (Errno::TOOBIG, "E2BIG"),
    (Errno::ACCESS, "EACCES"),
    (Errno::AGAIN, "EAGAIN"),
    (Errno::IO, "EIO"),
    (Errno::ISDIR, "EISDIR"),
    (Errno::LOOP, "ELOOP"),
    (Errno::MFILE, "EMFILE"),
    (Errno::NAMETOOLONG, "ENAMETOOLONG"),
    (Errno::NFILE, "ENFILE"),
    (Errno::NOENT, "ENOENT"),
    (Errno::NOEXEC, "ENOEXEC"),
    (Errno::NOMEM, "ENOMEM"),
    (Errno::NOTDIR, "ENOTDIR"),
    (Errno::PERM, "EPERM"),
    (Errno::TXTBSY, "ETXTBSY"),
];

/// The symbolic name of an operating system error, or what it says itself.
pub fn errno_name(error: &io::Error) -> String {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    match errno.and_then(|errno| NAMES.iter().find(|(known, _)| *known == errno)) {
        Some((_, name)) => (*name).to_owned(),
        None => error.to_string(),
    }
}

/// The error text of a failed start.
pub fn describe(launch: &Launch, error: &io::Error) -> String {
    format!("spawn {} {}", program_name(launch), errno_name(error))
}

/// The error text when the working directory is the reason, so that nobody searches for the program.
pub fn working_directory(launch: &Launch) -> Option<String> {
    let cwd = launch.cwd.as_deref()?;
    let (error, said) = directory_fault(cwd)?;
    let name = errno_name(&error);
    Some(format!(
        "spawn {} {name} ({said}: {})",
        program_name(launch),
        cwd.display()
    ))
}

fn directory_fault(cwd: &Path) -> Option<(io::Error, &'static str)> {
    match std::fs::metadata(cwd) {
        Ok(metadata) if !metadata.is_dir() => {
            Some((Errno::NOTDIR.into(), "working directory is not a directory"))
        }
        Ok(_) => {
            let error = rustix::fs::access(cwd, rustix::fs::Access::EXEC_OK).err()?;
            Some((error.into(), "working directory cannot be entered"))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Some((error, "working directory does not exist"))
        }
        Err(error) => Some((error, "working directory cannot be entered")),
    }
}

fn program_name(launch: &Launch) -> &str {
    launch.argv.first().map_or("", String::as_str)
}
