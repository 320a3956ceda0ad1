//! Directories that callers may name files in, and nowhere else: no way out through `..` or a link.

use std::path::{Component, Path, PathBuf};

use super::error::BrowserError;
use crate::store::atomic;

/// A directory and everything below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enclosure {
    /// What it is called in errors.
    name: &'static str,
    /// As it is known to callers.
    directory: PathBuf,
    /// The same without links on the way.
    real: PathBuf,
}

impl Enclosure {
    /// The directory, made if it is missing.
    ///
    /// # Errors
    /// [`BrowserError::Unexpected`] when it cannot be made.
    pub fn new(name: &'static str, directory: PathBuf) -> Result<Self, BrowserError> {
        let made = atomic::create_private_directory(&directory);
        let real = made.and_then(|()| directory.canonicalize());
        let real = real.map_err(|error| {
            BrowserError::Unexpected(format!("cannot use {}: {error}", directory.display()))
        })?;
        Ok(Self {
            name,
            directory,
            real,
        })
    }

    /// A file that is there.
    ///
    /// # Errors
    /// [`BrowserError::Invalid`] for one that is elsewhere, a link, or no file.
    pub fn file(&self, given: &str) -> Result<PathBuf, BrowserError> {
        let path = self.place(given)?;
        match path.canonicalize() {
            Ok(real) if real != path => Err(self.outside()),
            Ok(real) if real.is_file() => Ok(real),
            _ => Err(BrowserError::invalid(format!("file not found: {given}"))),
        }
    }

    /// Where a file may be written; its directory has to be there.
    ///
    /// # Errors
    /// [`BrowserError::Invalid`] for a place elsewhere, or one that a directory or a link has.
    pub fn writable(&self, given: &str) -> Result<PathBuf, BrowserError> {
        let path = self.place(given)?;
        let parent = path.parent().unwrap_or(&self.real);
        match parent.canonicalize() {
            Ok(real) if real == parent => {}
            Ok(_) => return Err(self.outside()),
            Err(_) => {
                let text = format!("directory not found: {}", parent.display());
                return Err(BrowserError::invalid(text));
            }
        }
        match path.symlink_metadata() {
            Ok(there) if !there.is_file() => Err(self.outside()),
            _ => Ok(path),
        }
    }

    /// The directory itself, without links on the way.
    pub fn root(&self) -> &Path {
        &self.real
    }

    /// Where a path lies if nothing on the way is a link.
    fn place(&self, given: &str) -> Result<PathBuf, BrowserError> {
        let path = Path::new(given);
        let inside = if path.is_absolute() {
            let known = [&self.directory, &self.real];
            let found = known.iter().find_map(|known| path.strip_prefix(known).ok());
            found.ok_or_else(|| self.outside())?
        } else {
            path
        };
        let plain = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
        if inside.as_os_str().is_empty() || !inside.components().all(plain) {
            return Err(self.outside());
        }
        Ok(self.real.join(inside))
    }

    fn outside(&self) -> BrowserError {
        BrowserError::invalid(format!(
            "Invalid path: must stay within {} directory ({})",
            self.name,
            self.directory.display()
        ))
    }
}

/// The last part of a name that a page gave, harmless in a directory.
pub fn file_name(given: &str) -> String {
    let last = given.rsplit(['/', '\\']).next().unwrap_or_default();
    let kept = last.chars().filter(|letter| !letter.is_control());
    let mut name: String = kept.collect();
    // Names of files are bounded in bytes.
    while name.len() > 200 {
        name.pop();
    }
    match name.trim_matches('.').trim() {
        "" => "download".to_owned(),
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::testing::TempDir;

    #[test]
    fn no_path_leads_out() {
        let dir = TempDir::new();
        let inner = dir.path().join("in");
        let enclosure = Enclosure::new("uploads", inner.clone()).unwrap();
        std::fs::create_dir(inner.join("sub")).unwrap();
        for file in ["in/a", "in/sub/b", "outside"] {
            std::fs::write(dir.path().join(file), "x").unwrap();
        }
        std::os::unix::fs::symlink(dir.path(), inner.join("up")).unwrap();
        std::os::unix::fs::symlink(dir.path().join("outside"), inner.join("link")).unwrap();
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let absolute = text(&inner.join("sub/b"));
        for given in ["a", "./sub/b", "sub//b", absolute.as_str()] {
            let plain = enclosure.file(given).is_ok() && enclosure.writable(given).is_ok();
            assert!(plain, "{given}");
        }
        let outside = text(&dir.path().join("outside"));
        let refused = format!(
            "Invalid path: must stay within uploads directory ({})",
            inner.display()
        );
        for given in [
            "../outside",
            "sub/../../outside",
            "sub/../a",
            "up/outside",
            "link",
            "",
            "/",
            "/etc/passwd",
            outside.as_str(),
        ] {
            for verdict in [enclosure.file(given), enclosure.writable(given)] {
                assert_eq!(verdict.unwrap_err().to_string(), refused, "{given}");
            }
        }
        assert_eq!(enclosure.writable("new"), Ok(enclosure.root().join("new")));
        assert_eq!(enclosure.writable("sub").unwrap_err().to_string(), refused);
        assert_eq!(
            enclosure.file("new").unwrap_err().to_string(),
            "file not found: new"
        );
        assert!(enclosure.writable("none/new").is_err());
    }

    #[test]
    fn a_name_that_a_page_gave_is_harmless() {
        for (given, expected) in [
            ("report.pdf", "report.pdf"),
            ("../../etc/passwd", "passwd"),
            ("a\\b\u{0}.txt", "b.txt"),
            ("..", "download"),
            ("", "download"),
            ("x/", "download"),
        ] {
            assert_eq!(file_name(given), expected);
        }
        assert_eq!(file_name(&"é".repeat(300)).len(), 200);
    }
}
