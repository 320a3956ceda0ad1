//! Help for the tests of this room and of the node host.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::programs::Programs;
use super::which::{self, Unresolved};

static COUNTER: AtomicU64 = AtomicU64::new(0);

/// A temporary directory by its canonical path, removed when dropped.
pub struct TempDir(PathBuf);

impl TempDir {
    pub fn new() -> Self {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let name = format!("openclaw-exec-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path.canonicalize().unwrap())
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Programs by path, on no disk; every path is its own file below `/real`.
#[derive(Debug)]
pub struct MapOfPrograms {
    path: &'static str,
    files: Vec<PathBuf>,
    links: Vec<PathBuf>,
}

impl MapOfPrograms {
    pub fn new(path: &'static str) -> Self {
        Self {
            path,
            files: Vec::new(),
            links: Vec::new(),
        }
    }

    pub fn add(&mut self, path: &str) {
        self.files.push(which::normalize(Path::new(path)));
    }

    pub fn link(&mut self, path: &str) {
        self.links.push(PathBuf::from(path));
    }
}

impl Programs for MapOfPrograms {
    fn resolve(&self, program: &str, cwd: &Path) -> Result<PathBuf, Unresolved> {
        let typed = which::expand_home(program, Some(Path::new("/home/u")));
        if typed.to_string_lossy().contains('/') {
            let path = cwd.join(typed);
            return self
                .is_file(&path)
                .then_some(path)
                .ok_or(Unresolved::NotFound);
        }
        let mut places = self
            .path
            .split(':')
            .map(|place| Path::new(place).join(program));
        let found = places.find(|path| !program.is_empty() && self.is_file(path));
        found.ok_or(Unresolved::NotFound)
    }

    fn canonical(&self, path: &Path) -> Option<PathBuf> {
        let path = which::normalize(path);
        Some(Path::new("/real").join(path.strip_prefix("/").ok()?))
    }

    fn is_file(&self, path: &Path) -> bool {
        self.files.contains(&which::normalize(path))
    }

    fn is_link(&self, path: &Path) -> bool {
        self.links.iter().any(|link| link == path)
    }
}
