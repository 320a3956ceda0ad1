//! The looks at the file system that the judgement of a command needs, behind one seam.
//!
//! Tables of command lines are judged in tests without a disk; the node host and the command line look
//! at the real one. Nothing here reads a file's content or starts anything.

use std::fmt;
use std::path::{Path, PathBuf};

use super::which::{self, Unresolved};

/// What a judgement asks about programs and files.
pub trait Programs {
    /// Where `argv[0]` leads from `cwd`: absolute, an executable file, links not followed
    /// (node-host specification, section 3.5).
    fn resolve(&self, program: &str, cwd: &Path) -> Result<PathBuf, Unresolved>;

    /// The path with every link followed; `None` when it leads nowhere.
    fn canonical(&self, path: &Path) -> Option<PathBuf>;

    /// A regular file, after links.
    fn is_file(&self, path: &Path) -> bool;

    /// Itself a symbolic link.
    fn is_link(&self, path: &Path) -> bool;
}

/// This machine's file system with one search path.
#[derive(Debug, Clone, Copy)]
pub struct Disk<'a> {
    /// Directories of programs, separated by `:`.
    pub path: &'a str,
    /// What `~` means in front of a program.
    pub home: Option<&'a Path>,
}

impl Programs for Disk<'_> {
    fn resolve(&self, program: &str, cwd: &Path) -> Result<PathBuf, Unresolved> {
        which::resolve(program, cwd, self.path, self.home)
    }

    fn canonical(&self, path: &Path) -> Option<PathBuf> {
        path.canonicalize().ok()
    }

    fn is_file(&self, path: &Path) -> bool {
        path.is_file()
    }

    fn is_link(&self, path: &Path) -> bool {
        path.is_symlink()
    }
}

impl fmt::Debug for dyn Programs + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Programs")
    }
}
