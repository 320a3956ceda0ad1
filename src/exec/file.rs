//! `exec-approvals.json` on disk: read anew for every decision, replaced atomically, edited from remote
//! only against the hash of what is there.
//!
//! A file that does not parse is never overwritten by this program's own doing, and means `deny`. The
//! socket's token never leaves this machine (node-host specification, sections 2.7 and 3.1).

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

use super::document::{Document, Socket};
use crate::identity::{Random, sha256_hex};
use crate::store::atomic;

/// Bytes of a policy file that are read at most; a larger one counts as broken.
const MAX_BYTES: u64 = 1024 * 1024;

/// Random bytes of the companion app's secret.
const SOCKET_TOKEN_BYTES: usize = 24;

const NAME: &str = "exec-approvals.json";
const SOCKET_NAME: &str = "exec-approvals.sock";

/// What is on disk now.
#[derive(Debug)]
pub struct Content {
    /// The policy, or why the file does not give one (with path, line and column).
    pub document: Result<Document, String>,
    /// SHA-256 of the file's bytes in hex; `None` when there is no file.
    pub hash: Option<String>,
}

/// Why an answer to `system.execApprovals.*` is an error; Display is the wire message.
#[derive(Debug)]
pub enum ApprovalsError {
    /// `set` without the hash of what it replaces.
    BaseHashRequired,
    /// The file is not the one the caller saw.
    Changed,
    /// `set` without a file.
    FileRequired,
    /// The file to set does not hold a policy.
    Invalid(String),
    /// The file cannot be read or written.
    Io(PathBuf, io::Error),
    /// The file or a directory above it is a symbolic link.
    SymbolicLink(PathBuf),
}

impl fmt::Display for ApprovalsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self {
            Self::BaseHashRequired => "exec approvals base hash required; reload and retry",
            Self::Changed => "exec approvals changed; reload and retry",
            Self::FileRequired => "exec approvals file required",
            Self::Invalid(why) => {
                return write!(
                    f,
                    "Error: INVALID_REQUEST: exec approvals file invalid: {why}"
                );
            }
            Self::Io(path, error) => return write!(f, "Error: {}: {error}", path.display()),
            Self::SymbolicLink(path) => {
                let path = path.display();
                return write!(
                    f,
                    "Error: refusing to write exec approvals through the symbolic link {path}"
                );
            }
        };
        write!(f, "Error: INVALID_REQUEST: {what}")
    }
}

impl std::error::Error for ApprovalsError {}

/// The policy file of this machine.
#[derive(Debug)]
pub struct ApprovalsFile {
    path: PathBuf,
    home: Option<PathBuf>,
    /// Held over every read-modify-write, so that two edits never mix.
    edit: Mutex<()>,
}

impl ApprovalsFile {
    /// The file in a state directory. Nothing is read yet.
    pub fn new(state_dir: &Path, home: Option<&Path>) -> Self {
        Self {
            path: state_dir.join(NAME),
            home: home.map(Path::to_owned),
            edit: Mutex::new(()),
        }
    }

    /// Reads what is on disk now; an absent file is an empty policy.
    pub fn load(&self) -> Content {
        let bytes = match read_bounded(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Content {
                    document: Ok(Document::default()),
                    hash: None,
                };
            }
            Err(error) => {
                let why = format!("{}: {error}", self.path.display());
                return Content {
                    document: Err(why),
                    hash: Some(sha256_hex(b"")),
                };
            }
        };
        let hash = Some(sha256_hex(&bytes));
        let path = self.path.display();
        let document = match std::str::from_utf8(&bytes) {
            Ok(text) => Document::parse(text).map_err(|error| format!("{path}: {error}")),
            Err(error) => Err(format!("{path}: {error}")),
        };
        Content { document, hash }
    }

    /// Answers `system.execApprovals.get`: creates the file if there is none, brings it into its normal
    /// form, and tells it without its secret. A broken file is told as empty and left as it is.
    pub fn answer_get(&self) -> Result<Value, ApprovalsError> {
        let _edit = self.edit.lock().unwrap_or_else(PoisonError::into_inner);
        let content = self.load();
        let Ok(mut document) = content.document else {
            return Ok(self.answer(&Document::default(), content.hash.as_deref()));
        };
        let stored = document.clone();
        document.normalize(|| Random.uuid());
        if content.hash.is_none() {
            let token =
                data_encoding::BASE64URL_NOPAD.encode(&Random.bytes::<SOCKET_TOKEN_BYTES>());
            document.socket = Some(Socket {
                path: Some(self.socket_path()),
                token: Some(token),
            });
        }
        if content.hash.is_some() && document == stored {
            return Ok(self.answer(&document, content.hash.as_deref()));
        }
        let hash = self.save(&document)?;
        Ok(self.answer(&document, Some(&hash)))
    }

    /// Answers `system.execApprovals.set`: replaces the file if it is still the one the caller saw.
    pub fn answer_set(&self, params: &Value) -> Result<Value, ApprovalsError> {
        let mut given = match params.get("file") {
            Some(Value::Object(file)) => file.clone(),
            _ => return Err(ApprovalsError::FileRequired),
        };
        let base = params
            .get("baseHash")
            .and_then(Value::as_str)
            .map(str::trim);
        let _edit = self.edit.lock().unwrap_or_else(PoisonError::into_inner);
        let content = self.load();
        if let Some(hash) = &content.hash {
            let base = base.filter(|base| !base.is_empty());
            if base.ok_or(ApprovalsError::BaseHashRequired)? != hash {
                return Err(ApprovalsError::Changed);
            }
        }
        given.entry("version").or_insert(json!(1));
        let mut document = Document::from_value(Value::Object(given))
            .map_err(|error| ApprovalsError::Invalid(error.to_string()))?;
        document.normalize(|| Random.uuid());
        let stored = content
            .document
            .ok()
            .and_then(|stored| stored.socket)
            .unwrap_or_default();
        let socket = document.socket.take().unwrap_or_default();
        document.socket = Some(Socket {
            path: socket
                .path
                .or(stored.path)
                .or_else(|| Some(self.socket_path())),
            token: socket
                .token
                .or(stored.token)
                .or_else(|| Some(String::new())),
        });
        let hash = self.save(&document)?;
        Ok(self.answer(&document, Some(&hash)))
    }

    fn answer(&self, document: &Document, hash: Option<&str>) -> Value {
        let mut shown = document.clone();
        shown.socket = shown
            .socket
            .and_then(|socket| socket.path)
            .map(|path| Socket {
                path: Some(path),
                token: None,
            });
        json!({
            "path": self.path,
            "exists": hash.is_some(),
            "hash": hash.map_or_else(|| sha256_hex(b""), str::to_owned),
            "file": shown,
        })
    }

    fn save(&self, document: &Document) -> Result<String, ApprovalsError> {
        let io = |error| ApprovalsError::Io(self.path.clone(), error);
        self.refuse_links()?;
        let text = document.render().map_err(|error| io(error.into()))?;
        if let Some(directory) = self.path.parent() {
            atomic::create_private_directory(directory).map_err(io)?;
        }
        atomic::write(&self.path, text.as_bytes(), atomic::PRIVATE_FILE).map_err(io)?;
        Ok(sha256_hex(text.as_bytes()))
    }

    fn refuse_links(&self) -> Result<(), ApprovalsError> {
        let below_home = |path: &&Path| {
            self.home
                .as_deref()
                .is_some_and(|home| *path != home && path.starts_with(home))
        };
        let directories = self.path.ancestors().skip(1).filter(below_home);
        for path in std::iter::once(self.path.as_path()).chain(directories) {
            if path
                .symlink_metadata()
                .is_ok_and(|metadata| metadata.is_symlink())
            {
                return Err(ApprovalsError::SymbolicLink(path.to_owned()));
            }
        }
        Ok(())
    }

    fn socket_path(&self) -> String {
        self.path.with_file_name(SOCKET_NAME).display().to_string()
    }
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let metadata = std::fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "is not a regular file",
        ));
    }
    if metadata.len() > MAX_BYTES {
        let text = format!("is larger than {MAX_BYTES} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    std::fs::read(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::exec::testing::TempDir;

    fn file(dir: &TempDir) -> ApprovalsFile {
        ApprovalsFile::new(dir.path(), Some(dir.path()))
    }

    #[test]
    fn get_creates_the_file_and_hides_the_secret() {
        let dir = TempDir::new();
        let file = file(&dir);
        assert!(file.load().hash.is_none());
        let answer = file.answer_get().unwrap();
        let path = dir.path().join("exec-approvals.json");
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(answer["hash"], sha256_hex(&bytes));
        assert_eq!(answer["exists"], true);
        assert_eq!(answer["file"]["socket"].as_object().unwrap().len(), 1);
        let stored: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(stored["socket"]["token"].as_str().unwrap().len(), 32);
        assert_eq!(
            file.answer_get().unwrap(),
            answer,
            "a second look changes nothing"
        );
    }

    #[test]
    fn set_compares_the_hash_and_keeps_the_secret() {
        let dir = TempDir::new();
        let file = file(&dir);
        let seen = file.answer_get().unwrap();
        let token = file.load().document.unwrap().socket.unwrap().token;
        let policy = json!({"version":1,"agents":{"*":{"allowlist":[{"pattern":"/bin/ls"}]}}});
        let cases = [
            (
                json!({}),
                "Error: INVALID_REQUEST: exec approvals file required",
            ),
            (
                json!({"file": policy}),
                "Error: INVALID_REQUEST: exec approvals base hash required; reload and retry",
            ),
            (
                json!({"file": policy, "baseHash": "0"}),
                "Error: INVALID_REQUEST: exec approvals changed; reload and retry",
            ),
        ];
        for (params, text) in cases {
            assert_eq!(file.answer_set(&params).unwrap_err().to_string(), text);
        }
        let bad = json!({"file": {"defaults": {"security": "open"}}, "baseHash": seen["hash"]});
        let error = file.answer_set(&bad).unwrap_err().to_string();
        assert!(error.contains("unknown variant `open`"), "{error}");
        let answer = file
            .answer_set(&json!({"file": policy, "baseHash": seen["hash"]}))
            .unwrap();
        assert!(answer["file"]["agents"]["*"]["allowlist"][0]["id"].is_string());
        assert_eq!(answer["hash"].as_str(), file.load().hash.as_deref());
        let socket = file.load().document.unwrap().socket.unwrap();
        assert_eq!(socket.token, token);
        assert_eq!(
            socket.path.as_deref(),
            seen["file"]["socket"]["path"].as_str()
        );
    }

    #[test]
    fn a_broken_file_is_kept_until_it_is_repaired_knowingly() {
        let dir = TempDir::new();
        let file = file(&dir);
        let path = dir.path().join("exec-approvals.json");
        std::fs::write(
            &path,
            "{\"version\":1,\n\"defaults\":{\"securty\":\"deny\"}}",
        )
        .unwrap();
        let before = std::fs::read(&path).unwrap();
        let fault = file.load().document.unwrap_err();
        assert!(
            fault.contains("exec-approvals.json: unknown field `securty`"),
            "{fault}"
        );
        assert!(fault.contains("line 2 column"), "{fault}");
        let answer = file.answer_get().unwrap();
        assert_eq!(
            answer["file"],
            json!({"version":1,"defaults":{},"agents":{}})
        );
        assert_eq!(answer["hash"], sha256_hex(&before));
        assert_eq!(std::fs::read(&path).unwrap(), before);
        file.answer_set(&json!({"file": {}, "baseHash": answer["hash"]}))
            .unwrap();
        assert!(file.load().document.is_ok());
    }

    #[test]
    fn links_are_not_written_through() {
        let dir = TempDir::new();
        let target = dir.path().join("elsewhere");
        std::fs::create_dir(&target).unwrap();
        std::os::unix::fs::symlink(&target, dir.path().join("state")).unwrap();
        let through_directory = ApprovalsFile::new(&dir.path().join("state"), Some(dir.path()));
        assert!(matches!(
            through_directory.answer_get(),
            Err(ApprovalsError::SymbolicLink(_))
        ));
        std::os::unix::fs::symlink("nowhere", dir.path().join("exec-approvals.json")).unwrap();
        assert!(matches!(
            file(&dir).answer_get(),
            Err(ApprovalsError::SymbolicLink(_))
        ));
        assert_eq!(std::fs::read_dir(&target).unwrap().count(), 0);
    }
}
