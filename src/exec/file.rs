//! `exec-approvals.json` on disk: read anew for every decision, replaced atomically, edited by one at a
//! time and, from remote, only against the hash of what is there.
//!
//! A file that does not parse is never overwritten by this program's own doing, and means `deny`. The
//! socket's token never leaves this machine (node-host specification, sections 2.7 and 3.1).

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use super::document::{Document, Socket};
use super::error::ApprovalsError;
use super::narrow::{Before, widens};
use super::strict;
use super::usage::{RuleUse, Usage};
use crate::config::word::RemoteEdits;
use crate::identity::{Random, sha256_hex};
use crate::store::atomic;
use crate::store::turn::Turnstile;

/// The policy file's name in a state directory.
pub const NAME: &str = "exec-approvals.json";

/// Where programs that edit the file take turns, beside it. Readers need no turn.
const LOCK_NAME: &str = "exec-approvals.json.lock";

const SOCKET_NAME: &str = "exec-approvals.sock";

/// Random bytes of the companion app's secret.
const SOCKET_TOKEN_BYTES: usize = 24;

/// How long to wait for another program's edit, which takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is on disk now.
#[derive(Debug)]
pub struct Content {
    /// The policy, settled, or why the file does not give one (with path, line and column).
    pub document: Result<Document, String>,
    /// SHA-256 of the file's bytes in hex; `None` when there is no file.
    pub hash: Option<String>,
}

/// The policy as it is told to people and clients.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// The file.
    pub path: PathBuf,
    /// SHA-256 of its bytes in hex; `None` when there is no file.
    pub hash: Option<String>,
    /// The policy with what is known about the use of its rules; the empty one where the file gives none.
    pub document: Document,
    /// Why the file gives no policy (with path, line and column).
    pub fault: Option<String>,
}

impl Snapshot {
    /// `{"path","exists","hash","file","fault"?}` without the socket's token; the hash of a missing file is
    /// that of the empty text (cli.md §2.4). `fault` is ours: without it a broken file looks like an empty one.
    pub fn answer(&self) -> Value {
        let mut shown = self.document.clone();
        let path = shown.socket.and_then(|socket| socket.path);
        shown.socket = path.map(|path| Socket {
            path: Some(path),
            token: None,
        });
        let mut answer = json!({
            "path": self.path,
            "exists": self.hash.is_some(),
            "hash": self.hash.clone().unwrap_or_else(empty_hash),
            "file": shown,
        });
        if let Some(fault) = &self.fault {
            answer["fault"] = json!(fault);
        }
        answer
    }
}

/// The policy file of this machine.
#[derive(Debug)]
pub struct ApprovalsFile {
    path: PathBuf,
    home: Option<PathBuf>,
    usage: Usage,
    /// The fault that was logged last, so that each is logged once.
    logged: Mutex<Option<String>>,
}

impl ApprovalsFile {
    /// The file in a state directory. Nothing is read yet.
    pub fn new(state_dir: &Path, home: Option<&Path>) -> Self {
        Self {
            path: state_dir.join(NAME),
            home: home.map(Path::to_owned),
            usage: Usage::new(state_dir),
            logged: Mutex::default(),
        }
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads what is on disk now; an absent file is an empty policy. Takes no turn. A file that gives no policy
    /// is logged when it is first seen.
    pub fn load(&self) -> Content {
        let mut content = self.load_as_written();
        if let Ok(document) = &mut content.document {
            document.settle();
        }
        if self.is_news(content.document.as_ref().err()) {
            if let Err(fault) = &content.document {
                log::warn!("{fault}; until this is repaired, no command runs here");
            }
        }
        content
    }

    /// Reads what is on disk now like [`ApprovalsFile::load`], and logs nothing: for whoever only looks.
    pub fn look(&self) -> Content {
        self.load_as_written()
    }

    fn is_news(&self, fault: Option<&String>) -> bool {
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.as_ref() == fault {
            return false;
        }
        *logged = fault.cloned();
        true
    }

    fn load_as_written(&self) -> Content {
        let fault = |what: String| Err(format!("{}: {what}", self.path.display()));
        match read_bounded(&self.path) {
            Ok(bytes) => Content {
                document: strict::read(&bytes).or_else(fault),
                hash: Some(sha256_hex(&bytes)),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Content {
                document: Ok(Document::default()),
                hash: None,
            },
            Err(error) => Content {
                document: fault(error.to_string()),
                hash: Some(empty_hash()),
            },
        }
    }

    /// The policy to show, without touching the file: for the command line on this machine.
    ///
    /// # Errors
    /// [`ApprovalsError::Broken`] when the file gives none.
    pub fn snapshot(&self) -> Result<Snapshot, ApprovalsError> {
        let Content { document, hash } = self.load();
        Ok(self.shown(document.map_err(ApprovalsError::Broken)?, hash))
    }

    /// The policy to answer `get` with: the file is created if there is none, and brought into its normal
    /// form. One that is broken, or must not or cannot be written, is told as it is and left so.
    pub fn get(&self) -> Result<Snapshot, ApprovalsError> {
        match self.get_in_turn() {
            Err(ApprovalsError::SymbolicLink(_) | ApprovalsError::Io(..)) => {
                Ok(self.told(self.load()))
            }
            result => result,
        }
    }

    /// A broken file is told as an empty policy with its real hash.
    fn told(&self, Content { document, hash }: Content) -> Snapshot {
        let (document, fault) = match document {
            Ok(document) => (document, None),
            Err(fault) => (Document::default(), Some(fault)),
        };
        Snapshot {
            fault,
            ..self.shown(document, hash)
        }
    }

    fn get_in_turn(&self) -> Result<Snapshot, ApprovalsError> {
        self.in_turn(|| {
            let content = self.load_as_written();
            let hash = content.hash.clone();
            let Ok(stored) = &content.document else {
                return Ok(self.told(content));
            };
            let mut document = stored.clone();
            document.normalize(|| Random.uuid());
            if hash.is_some() && document == *stored {
                return Ok(self.shown(document, hash));
            }
            self.save(document, hash.is_none())
        })
    }

    /// Edits the policy. `expected`: the hash of the content the caller saw, as [`Snapshot::answer`] tells it;
    /// `None` edits whatever stands there. `change` says whether it changed anything; if not, the file stays
    /// untouched.
    ///
    /// # Errors
    /// [`ApprovalsError::Changed`] for another content, [`ApprovalsError::Broken`] for a file that gives no
    /// policy, and what goes wrong with the disk.
    pub fn edit(
        &self,
        expected: Option<&str>,
        change: impl FnOnce(&mut Document) -> bool,
    ) -> Result<Snapshot, ApprovalsError> {
        self.in_turn(|| {
            let Content { document, hash } = self.load();
            if expected.is_some_and(|expected| !is_hash_of(expected, hash.as_deref())) {
                return Err(ApprovalsError::Changed);
            }
            let mut document = document.map_err(ApprovalsError::Broken)?;
            if !change(&mut document) {
                return Ok(self.shown(document, hash));
            }
            document.normalize(|| Random.uuid());
            self.save(document, hash.is_none())
        })
    }

    /// Replaces the policy by `given`, which takes over the stored socket where it names none. `base`: the hash
    /// of what is replaced, needed when there is a file; this also repairs a broken one. With
    /// [`RemoteEdits::Narrow`], only what allows no more than the file does is taken.
    ///
    /// # Errors
    /// [`ApprovalsError::BaseHashRequired`], [`ApprovalsError::Changed`], [`ApprovalsError::Widens`], and what
    /// goes wrong with the disk.
    pub fn replace(
        &self,
        base: Option<&str>,
        given: Document,
        edits: RemoteEdits,
    ) -> Result<Snapshot, ApprovalsError> {
        let base = base.map(str::trim).filter(|base| !base.is_empty());
        self.in_turn(|| {
            let content = self.load();
            match base {
                None if content.hash.is_some() => return Err(ApprovalsError::BaseHashRequired),
                Some(base) if !is_hash_of(base, content.hash.as_deref()) => {
                    return Err(ApprovalsError::Changed);
                }
                _ => {}
            }
            let mut document = given;
            document.normalize(|| Random.uuid());
            if edits == RemoteEdits::Narrow {
                let before = match &content.document {
                    Ok(document) => Before::Policy(document),
                    Err(fault) => Before::Broken(fault),
                };
                if let Some(widening) = widens(before, &document) {
                    return Err(ApprovalsError::Widens(widening));
                }
            }
            let stored = content.document.ok().and_then(|stored| stored.socket);
            let stored = stored.unwrap_or_default();
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
            self.save(document, false)
        })
    }

    /// Notes that rules of an agent let a command run. Kept in memory and beside the policy, never in it: its
    /// hash stays what clients saw.
    pub fn note_use(&self, run: &RuleUse<'_>) {
        if self.usage.note(run) {
            self.write_usage();
        }
    }

    /// Writes what is not yet written about the use of rules; for the end of the program. What fails is logged,
    /// it stops nobody.
    pub fn write_usage(&self) {
        let rules = self.load().document.ok();
        let written = self.in_turn(|| {
            self.usage
                .write(rules.as_ref())
                .map_err(|error| ApprovalsError::Io(self.usage.path().to_owned(), error))
        });
        if let Err(error) = written {
            log::warn!("the use of exec rules is not written: {error}");
        }
    }

    /// Runs an edit while no other program edits.
    fn in_turn<T>(
        &self,
        edit: impl FnOnce() -> Result<T, ApprovalsError>,
    ) -> Result<T, ApprovalsError> {
        let lock = self.path.with_file_name(LOCK_NAME);
        let io = |error| ApprovalsError::Io(lock.clone(), error);
        self.refuse_links()?;
        if let Some(directory) = self.path.parent() {
            atomic::create_private_directory(directory).map_err(io)?;
        }
        let turnstile = Turnstile::open(&lock).map_err(io)?;
        let turn = turnstile.take_within(PATIENCE).map_err(io)?;
        let _turn = turn.ok_or_else(|| ApprovalsError::Busy(self.path.clone()))?;
        edit()
    }

    /// Only in turn. `new`: there was no file, so the companion app gets a secret.
    fn save(&self, mut document: Document, new: bool) -> Result<Snapshot, ApprovalsError> {
        let io = |error| ApprovalsError::Io(self.path.clone(), error);
        self.refuse_links()?;
        if new && document.socket.is_none() {
            let token = Random.bytes::<SOCKET_TOKEN_BYTES>();
            document.socket = Some(Socket {
                path: Some(self.socket_path()),
                token: Some(data_encoding::BASE64URL_NOPAD.encode(&token)),
            });
        }
        let text = document.render().map_err(|error| io(error.into()))?;
        // What is written must be readable again.
        strict::read(text.as_bytes()).map_err(ApprovalsError::Invalid)?;
        atomic::write(&self.path, text.as_bytes(), atomic::PRIVATE_FILE).map_err(io)?;
        Ok(self.shown(document, Some(sha256_hex(text.as_bytes()))))
    }

    fn shown(&self, mut document: Document, hash: Option<String>) -> Snapshot {
        self.usage.merge_into(&mut document);
        Snapshot {
            path: self.path.clone(),
            hash,
            document,
            fault: None,
        }
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

fn empty_hash() -> String {
    sha256_hex(b"")
}

fn is_hash_of(given: &str, hash: Option<&str>) -> bool {
    match hash {
        Some(hash) => given == hash,
        None => given == empty_hash(),
    }
}

/// The bytes of a regular file, one more than are accepted at most.
fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "is not a regular file",
        ));
    }
    let mut bytes = Vec::new();
    let limit = strict::MAX_BYTES as u64 + 1;
    File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
