//! Where a program is: the one resolver behind `system.which`, `system.run` and the exec policy.
//!
//! It looks at the file system and at nothing else; the search path comes in as an argument
//! (node-host specification, sections 1.7, 2.2 and 3.5).

use std::path::{Component, Path, PathBuf};

use rustix::fs::{Access, access};

use crate::config::environment::DEFAULT_PATH;

/// Why a program cannot be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unresolved {
    /// Something by that name exists but is no executable file.
    NotExecutable,
    /// Nothing by that name exists.
    NotFound,
}

/// The search path of the host and its children: the user's entries in order, then those of the
/// usual places that exist and are missing. An empty path becomes [`DEFAULT_PATH`].
pub fn search_path(path: Option<&str>, home: Option<&Path>, usual: &[PathBuf]) -> String {
    let path = path.map(str::trim).filter(|path| !path.is_empty());
    let mut entries: Vec<String> = path
        .unwrap_or(DEFAULT_PATH)
        .split(':')
        .filter(|entry| Path::new(entry).is_absolute())
        .map(str::to_owned)
        .collect();
    if path.is_none() {
        return entries.join(":");
    }
    let below_home = home.into_iter().flat_map(|home| {
        [".local/bin", ".local/share/pnpm", ".bun/bin", ".yarn/bin"].map(|tail| home.join(tail))
    });
    let system = ["/usr/bin", "/bin"].map(PathBuf::from).into_iter();
    for extra in system.chain(usual.iter().cloned()).chain(below_home) {
        let Some(text) = extra.to_str() else { continue };
        if !entries.iter().any(|entry| entry == text) && extra.is_dir() {
            entries.push(text.to_owned());
        }
    }
    entries.join(":")
}

/// Finds a bare program name in a search path: the first entry that is an executable file.
/// Names with a path separator are not searched for.
pub fn find(name: &str, path: &str) -> Result<PathBuf, Unresolved> {
    if name.is_empty() || name.contains(['/', '\\']) {
        return Err(Unresolved::NotFound);
    }
    let mut failure = Unresolved::NotFound;
    for directory in path
        .split(':')
        .filter(|entry| Path::new(entry).is_absolute())
    {
        let candidate = Path::new(directory).join(name);
        match executable(&candidate) {
            Ok(()) => return Ok(candidate),
            Err(Unresolved::NotExecutable) => failure = Unresolved::NotExecutable,
            Err(Unresolved::NotFound) => {}
        }
    }
    Err(failure)
}

/// Resolves `argv[0]` the way a run starts it: `~` means `home`, a name with a separator is taken
/// from `cwd`, anything else is searched for in `path`. The result is absolute but not canonical.
pub fn resolve(
    program: &str,
    cwd: &Path,
    path: &str,
    home: Option<&Path>,
) -> Result<PathBuf, Unresolved> {
    let typed = expand_home(program, home);
    if !typed.to_string_lossy().contains('/') {
        return find(program, path);
    }
    let candidate = cwd.join(typed);
    executable(&candidate).map(|()| candidate)
}

/// `~` and `~/…` with the home directory put in; anything else unchanged.
pub fn expand_home(text: &str, home: Option<&Path>) -> PathBuf {
    match (home, text.strip_prefix('~')) {
        (Some(home), Some("")) => home.to_owned(),
        (Some(home), Some(rest)) if rest.starts_with('/') => {
            home.join(rest.trim_start_matches('/'))
        }
        _ => PathBuf::from(text),
    }
}

/// A path without `.` and `..`, removed as text: no link is followed.
pub fn normalize(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                clean.pop();
            }
            other => clean.push(other),
        }
    }
    clean
}

fn executable(path: &Path) -> Result<(), Unresolved> {
    let Ok(metadata) = std::fs::metadata(path) else {
        return Err(Unresolved::NotFound);
    };
    if metadata.is_file() && access(path, Access::EXEC_OK).is_ok() {
        return Ok(());
    }
    Err(Unresolved::NotExecutable)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::exec::testing::TempDir;

    fn program(path: &Path, mode: u32) {
        std::fs::write(path, "#!/bin/sh\n").unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn first_executable_file_wins() {
        let dir = TempDir::new();
        for name in ["a", "b", "c"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        std::fs::create_dir(dir.path().join("a/tool")).unwrap();
        program(&dir.path().join("b/tool"), 0o644);
        program(&dir.path().join("b/plain"), 0o644);
        program(&dir.path().join("c/tool"), 0o755);
        let at = |name: &str| dir.path().join(name).display().to_string();
        let path = format!("relative:{}:{}:{}", at("a"), at("b"), at("c"));
        assert_eq!(find("tool", &path), Ok(dir.path().join("c/tool")));
        assert_eq!(find("plain", &path), Err(Unresolved::NotExecutable));
        assert_eq!(find("absent", &path), Err(Unresolved::NotFound));
        assert_eq!(find("../c/tool", &path), Err(Unresolved::NotFound));
        assert_eq!(find("c\\tool", &path), Err(Unresolved::NotFound));
        assert_eq!(find("", &path), Err(Unresolved::NotFound));
    }

    #[test]
    fn typed_paths_are_taken_from_the_working_directory() {
        let dir = TempDir::new();
        program(&dir.path().join("tool"), 0o755);
        let home = Some(dir.path());
        let tool = dir.path().join("tool");
        assert_eq!(
            resolve("./tool", dir.path(), "", home),
            Ok(dir.path().join("./tool"))
        );
        assert_eq!(
            resolve("~/tool", Path::new("/"), "", home),
            Ok(tool.clone())
        );
        assert_eq!(
            resolve(&tool.display().to_string(), Path::new("/"), "", None),
            Ok(tool)
        );
        assert_eq!(
            resolve("tool", dir.path(), "/nowhere", home),
            Err(Unresolved::NotFound)
        );
        assert_eq!(
            resolve("./other", dir.path(), "", home),
            Err(Unresolved::NotFound)
        );
    }

    #[test]
    fn the_search_path_keeps_the_users_order() {
        let dir = TempDir::new();
        std::fs::create_dir_all(dir.path().join(".local/bin")).unwrap();
        let local = dir.path().join(".local/bin").display().to_string();
        let usual = [dir.path().to_owned(), dir.path().join("missing")];
        let found = search_path(Some("/opt/x:/bin:.:"), Some(dir.path()), &usual);
        assert_eq!(
            found,
            format!("/opt/x:/bin:/usr/bin:{}:{local}", dir.path().display())
        );
        assert_eq!(search_path(Some(" "), None, &[]), DEFAULT_PATH);
        assert_eq!(search_path(None, None, &[]), DEFAULT_PATH);
    }

    #[test]
    fn normalizing_is_textual() {
        for (path, clean) in [("/w/../t/./x", "/t/x"), ("/a//b/", "/a/b"), ("/../x", "/x")] {
            assert_eq!(normalize(Path::new(path)), PathBuf::from(clean));
        }
    }
}
