//! Changing the configuration file: judged as a whole first, then replaced atomically with backups
//! (cli.md §2.9).
//!
//! The text is edited, never regenerated, so comments and `${NAME}` survive. Changes of several
//! processes follow each other under a lock on the directory.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{FlockOperation, flock};
use serde_json::Value;

use crate::config::edit;
use crate::config::environment::Environment;
use crate::config::error::{ConfigError, Issue};
use crate::config::load::{Draft, draft};
use crate::config::path::ConfigPath;
use crate::config::paths::Paths;
use crate::config::redact::REDACTED;
use crate::config::source;
use crate::store::atomic::{self, Prepared};

/// How many numbered backups stand behind `.bak`.
const NUMBERED_BACKUPS: u32 = 4;

/// What stands between the file's name and the time of a refused text.
const REJECTED: &str = ".rejected.";

/// How many refused texts are kept; a script that tries the same for ever must not fill the disk.
const KEPT_REJECTED: usize = 5;

/// One change of the file.
#[derive(Debug, Clone, PartialEq)]
pub enum Operation {
    /// Set a path to a value.
    Set(ConfigPath, Value),
    /// Remove a path and the objects that this leaves empty.
    Unset(ConfigPath),
}

impl Operation {
    /// The path that is changed.
    pub fn path(&self) -> &ConfigPath {
        match self {
            Self::Set(path, _) | Self::Unset(path) => path,
        }
    }
}

/// The file's text after `operations`, and its draft; nothing is written or validated.
///
/// # Errors
/// As [`edit::set`] and [`edit::unset`], but [`ConfigError::Invalid`] for a file that is no JSON5 object;
/// [`ConfigError::Missing`] when a path to remove is not there;
/// [`ConfigError::Rejected`] when the result is no document (an include that fails), or when a value
/// is the placeholder that `config get` shows instead of a secret.
pub fn preview(
    paths: &Paths,
    environment: &Environment,
    operations: &[Operation],
) -> Result<(String, Draft), ConfigError> {
    let text = edited(&current(paths)?, operations).map_err(|fault| match fault {
        ConfigError::Unreadable(issue) => unreadable(paths, issue),
        other => other,
    })?;
    let draft = draft(Some(&text), paths, environment).map_err(ConfigError::Rejected)?;
    Ok((text, draft))
}

/// Applies `operations` in one write. Nothing is written unless the whole result is valid; a refused
/// text is kept beside the file as `<file>.rejected.<ms since 1970>`.
///
/// # Errors
/// As [`preview`], [`ConfigError::Rejected`] with every issue, [`ConfigError::File`] when writing fails.
pub fn apply(
    paths: &Paths,
    environment: &Environment,
    operations: &[Operation],
) -> Result<Draft, ConfigError> {
    let directory = paths.config_file.parent().unwrap_or(Path::new("/"));
    atomic::create_private_directory(directory)
        .map_err(|cause| failed(directory, "create", cause))?;
    // Where the file system has no locks, two writers at once are the operator's to avoid.
    let lock = File::open(directory).ok();
    if let Some(lock) = &lock {
        let _ = flock(lock, FlockOperation::LockExclusive);
    }
    let (text, draft) = preview(paths, environment, operations)?;
    let issues = draft.issues();
    if !issues.is_empty() {
        keep_rejected(&paths.config_file, &text);
        return Err(ConfigError::Rejected(issues));
    }
    let old = source::read(&paths.config_file)?;
    if old.as_deref() != Some(text.as_bytes()) {
        replace(&paths.config_file, old.as_deref(), text.as_bytes())?;
    }
    Ok(draft)
}

/// The new text is on the disk before a backup moves, so that a full disk costs none.
fn replace(file: &Path, old: Option<&[u8]>, new: &[u8]) -> Result<(), ConfigError> {
    let unwritable = |cause| failed(file, "write", cause);
    let new = Prepared::new(file, new, atomic::PRIVATE_FILE).map_err(unwritable)?;
    if let Some(old) = old {
        back_up(file, old)?;
    }
    new.replace().map_err(unwritable)
}

/// The text as it stands; empty when there is no file.
fn current(paths: &Paths) -> Result<String, ConfigError> {
    let bytes = source::read(&paths.config_file)?.unwrap_or_default();
    source::decode(&bytes)
        .map(str::to_owned)
        .map_err(|issue| unreadable(paths, issue))
}

fn edited(text: &str, operations: &[Operation]) -> Result<String, ConfigError> {
    operations
        .iter()
        .try_fold(text.to_owned(), |text, operation| match operation {
            Operation::Set(path, value) if value.as_str() == Some(REDACTED) => {
                Err(ConfigError::Rejected(vec![Issue::new(
                    &path.to_string(),
                    "is the placeholder of a hidden secret, not a value",
                )]))
            }
            Operation::Set(path, value) => edit::set(&text, path, value),
            Operation::Unset(path) => {
                edit::unset(&text, path)?.ok_or_else(|| ConfigError::Missing(path.to_string()))
            }
        })
}

/// The file that stands there is no document that could be edited.
fn unreadable(paths: &Paths, issue: Issue) -> ConfigError {
    ConfigError::Invalid {
        path: paths.config_file.clone(),
        issues: vec![issue],
    }
}

/// Moves `.bak.3` to `.bak.4` and so on, then makes `bytes`, the file's content, `.bak`; nothing where it is already.
fn back_up(file: &Path, bytes: &[u8]) -> Result<(), ConfigError> {
    let newest = beside(file, ".bak");
    if std::fs::read(&newest).is_ok_and(|kept| kept == bytes) {
        return Ok(());
    }
    let unwritable = |cause| failed(&newest, "write", cause);
    let backup = Prepared::new(&newest, bytes, atomic::PRIVATE_FILE).map_err(unwritable)?;
    let numbered = |number: u32| match number {
        0 => newest.clone(),
        _ => beside(file, &format!(".bak.{number}")),
    };
    for number in (0..NUMBERED_BACKUPS).rev() {
        // A backup that is not there leaves a gap, which is no reason to refuse the change.
        let _ = std::fs::rename(numbered(number), numbered(number + 1));
    }
    backup.replace().map_err(unwritable)
}

/// Keeps what was refused; failing to keep it must not hide why it was refused.
fn keep_rejected(file: &Path, text: &str) {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let kept = beside(file, &format!("{REJECTED}{}", now.as_millis()));
    let _ = atomic::write(&kept, text.as_bytes(), atomic::PRIVATE_FILE);
    let start = beside(file, REJECTED);
    let names = file
        .parent()
        .and_then(|directory| std::fs::read_dir(directory).ok());
    let mut kept: Vec<(u128, PathBuf)> = names
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let stamp = path.to_str()?.strip_prefix(start.to_str()?)?.parse().ok()?;
            Some((stamp, path))
        })
        .collect();
    kept.sort();
    let surplus = kept.len().saturating_sub(KEPT_REJECTED);
    for (_, path) in kept.into_iter().take(surplus) {
        let _ = std::fs::remove_file(path);
    }
}

fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    file.with_file_name(name)
}

fn failed(path: &Path, action: &'static str, cause: std::io::Error) -> ConfigError {
    ConfigError::File {
        path: path.to_owned(),
        action,
        cause,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use serde_json::json;

    use super::*;
    use crate::config::testing::Home;

    fn set(path: &str, value: Value) -> Operation {
        Operation::Set(ConfigPath::parse(path).unwrap(), value)
    }

    #[test]
    fn a_change_keeps_the_text_and_rotates_backups() {
        let home = Home::new("{\n  // mine\n  gateway: {auth: {token: '${TOK}'}},\n}\n");
        for port in 1..=7 {
            home.apply(&[set("gateway.port", json!(port))]).unwrap();
        }
        assert_eq!(
            home.text(),
            "{\n  // mine\n  gateway: {auth: {token: '${TOK}'}, port: 7},\n}\n"
        );
        let backup =
            |suffix| std::fs::read_to_string(beside(&home.paths.config_file, suffix)).unwrap();
        for (suffix, port) in [
            (".bak", 6),
            (".bak.1", 5),
            (".bak.2", 4),
            (".bak.3", 3),
            (".bak.4", 2),
        ] {
            assert!(
                backup(suffix).contains(&format!("port: {port}")),
                "{suffix}"
            );
        }
        for suffix in ["", ".bak", ".bak.4"] {
            let mode = std::fs::metadata(beside(&home.paths.config_file, suffix))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600, "{suffix}");
        }
        assert!(!beside(&home.paths.config_file, ".bak.5").exists());
    }

    #[test]
    fn what_is_backed_up_already_displaces_no_older_backup() {
        let home = Home::new("{gateway: {port: 5}}");
        home.write("openclaw.json.bak", "{gateway: {port: 5}}");
        home.write("openclaw.json.bak.1", "{gateway: {port: 4}}");
        home.apply(&[set("gateway.port", json!(6))]).unwrap();
        let names = home.names();
        assert_eq!(
            names,
            ["openclaw.json", "openclaw.json.bak", "openclaw.json.bak.1"]
        );
    }

    #[test]
    fn an_unchanged_text_is_not_written() {
        let home = Home::new("{gateway: {port: 5}}");
        home.apply(&[set("gateway.port", json!(5))]).unwrap();
        assert!(!beside(&home.paths.config_file, ".bak").exists());
    }

    #[test]
    fn an_invalid_result_is_refused_as_a_whole_and_kept_aside() {
        let text = "{gateway: {port: 5}}";
        let home = Home::new(text);
        let refused = home
            .apply(&[
                set("gateway.port", json!(6)),
                set("gateway.bind", json!("x")),
                set("wat", json!(1)),
            ])
            .unwrap_err();
        assert_eq!(
            refused.to_string(),
            "Config validation failed: gateway.bind: Invalid input (allowed: \"auto\", \"lan\", \"loopback\", \
             \"custom\", \"tailnet\"); <root>: Unrecognized key: \"wat\""
        );
        assert_eq!(home.text(), text);
        let kept = home
            .names()
            .into_iter()
            .find(|name| name.starts_with("openclaw.json.rejected."))
            .unwrap();
        assert!(
            std::fs::read_to_string(home.paths.state_dir.join(kept))
                .unwrap()
                .contains("port: 6")
        );
    }

    #[test]
    fn refused_texts_do_not_pile_up() {
        let home = Home::new("{}");
        for stamp in 1..=9 {
            home.write(&format!("openclaw.json.rejected.{stamp}"), "old");
        }
        home.write("openclaw.json.rejected.mine", "kept");
        home.apply(&[set("wat", json!(1))]).unwrap_err();
        let names = home.names();
        assert_eq!(
            names.iter().filter(|name| name.contains(REJECTED)).count(),
            KEPT_REJECTED + 1
        );
        assert!(names.contains(&"openclaw.json.rejected.mine".to_owned()));
        assert!(names.contains(&"openclaw.json.rejected.9".to_owned()));
    }

    #[test]
    fn a_first_write_makes_file_and_directory() {
        let home = Home::new("");
        std::fs::remove_dir_all(&home.paths.state_dir).unwrap();
        home.apply(&[set("gateway.mode", json!("local"))]).unwrap();
        assert_eq!(
            home.text(),
            "{\n  \"gateway\": {\n    \"mode\": \"local\"\n  }\n}\n"
        );
        let mode = std::fs::metadata(&home.paths.state_dir)
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[test]
    fn a_linked_file_is_written_through_the_link() {
        let home = Home::new("");
        let real = home.paths.home.join("real.json");
        std::fs::write(&real, "{}").unwrap();
        std::fs::remove_file(&home.paths.config_file).unwrap();
        std::os::unix::fs::symlink(&real, &home.paths.config_file).unwrap();
        home.apply(&[set("gateway.port", json!(7))]).unwrap();
        assert!(
            std::fs::read_to_string(&real)
                .unwrap()
                .contains("\"port\": 7")
        );
        assert!(
            std::fs::symlink_metadata(&home.paths.config_file)
                .unwrap()
                .is_symlink()
        );
    }

    #[test]
    fn what_cannot_be_done_says_why_and_changes_nothing() {
        let home = Home::new("{gateway: {port: 5}}");
        let unset = |path| Operation::Unset(ConfigPath::parse(path).unwrap());
        let cases = [
            (unset("nope.x"), "Config path not found: nope.x"),
            (
                set("gateway.port.x", json!(1)),
                "gateway.port is neither an object nor a list",
            ),
            (
                set("gateway.auth.token", json!(REDACTED)),
                "Config validation failed: gateway.auth.token: is the placeholder of a hidden secret, not a value",
            ),
        ];
        for (operation, expected) in cases {
            assert_eq!(home.apply(&[operation]).unwrap_err().to_string(), expected);
        }
        assert_eq!(home.names(), ["openclaw.json"]);
    }

    #[test]
    fn a_file_that_cannot_be_read_is_left_alone() {
        for bytes in [&b"{gateway: "[..], b"[]", b"{\xff}"] {
            let home = Home::new("");
            std::fs::write(&home.paths.config_file, bytes).unwrap();
            let error = home.apply(&[set("gateway.port", json!(1))]).unwrap_err();
            assert!(
                error.to_string().starts_with("Config invalid\nFile: "),
                "{error}"
            );
            assert_eq!(std::fs::read(&home.paths.config_file).unwrap(), bytes);
        }
    }

    #[test]
    fn writers_at_once_lose_nothing() {
        let home = Home::new("{}");
        std::thread::scope(|scope| {
            for at in 0..8 {
                let home = &home;
                scope.spawn(move || {
                    home.apply(&[set(&format!("env.vars.V{at}"), json!("x"))])
                        .unwrap()
                });
            }
        });
        let document = source::parse(&home.text()).unwrap();
        assert_eq!(document["env"]["vars"].as_object().unwrap().len(), 8);
    }
}
