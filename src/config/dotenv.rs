//! `.env` files: an earlier source is never overridden, and a `.env` of the working directory can
//! neither redirect the program nor change what it executes (cli.md §4).

use std::path::Path;

use crate::config::environment::Environment;

/// Prefixes of names that a working directory's `.env` may never set, because they decide which
/// gateway, which secrets and which code this program uses.
const GUARDED_PREFIXES: [&str; 4] = ["DYLD_", "LD_", "NODE_", "OPENCLAW_GATEWAY_"];

/// Whole names guarded like [`GUARDED_PREFIXES`].
const GUARDED_NAMES: [&str; 12] = [
    "BASH_ENV",
    "ENV",
    "HOME",
    "OPENCLAW_CONFIG_PATH",
    "OPENCLAW_HOME",
    "OPENCLAW_PROFILE",
    "OPENCLAW_SETUP_CODE",
    "OPENCLAW_STATE_DIR",
    "OPENCLAW_WRAPPER",
    "PATH",
    "Path",
    "TMPDIR",
];

/// Largest `.env` file that is read, in bytes.
const MAX_DOTENV_BYTES: u64 = 256 * 1024;

/// Who wrote a `.env` file, and so what it may say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// `<state>/.env`: the operator's own; may set everything that is not set yet.
    StateDir,
    /// `./.env`: any directory's; guarded names are skipped.
    WorkingDirectory,
}

/// Takes over what a `.env` file says, without overriding anything. A missing or unreadable file
/// says nothing; a line that is not an assignment is skipped.
pub fn read(environment: &mut Environment, file: &Path, origin: Origin) {
    let small = std::fs::metadata(file)
        .is_ok_and(|found| found.is_file() && found.len() <= MAX_DOTENV_BYTES);
    let Some(text) = small.then(|| std::fs::read_to_string(file).ok()).flatten() else {
        return;
    };
    for (name, value) in text.lines().filter_map(assignment) {
        if origin == Origin::StateDir || !is_guarded(name) {
            environment.set_missing(name, &value);
        }
    }
}

fn is_guarded(name: &str) -> bool {
    GUARDED_NAMES.contains(&name)
        || GUARDED_PREFIXES
            .iter()
            .any(|prefix| name.starts_with(prefix))
}

/// `NAME=value`, optionally after `export `; quotes are taken off, ` #` ends an unquoted value.
fn assignment(line: &str) -> Option<(&str, String)> {
    let line = line.trim();
    let (name, value) = line
        .strip_prefix("export ")
        .unwrap_or(line)
        .split_once('=')?;
    let name = name.trim();
    let valid = !name.is_empty()
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && name
            .bytes()
            .all(|byte| byte == b'_' || byte.is_ascii_alphanumeric());
    valid.then(|| (name, unquoted(value.trim())))
}

fn unquoted(value: &str) -> String {
    for quote in ['"', '\'', '`'] {
        let inner = value
            .strip_prefix(quote)
            .and_then(|rest| rest.split_once(quote));
        if let Some((inner, _)) = inner {
            return if quote == '"' {
                inner.replace("\\n", "\n")
            } else {
                inner.to_owned()
            };
        }
    }
    let comment = value.find(" #").unwrap_or(value.len());
    value[..comment].trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dotenv_never_overrides_and_a_foreign_one_never_redirects() {
        let lines = [
            ("A=1", Some(("A", "1"))),
            ("export B = \"two words\" # note", Some(("B", "two words"))),
            ("C='x#y'", Some(("C", "x#y"))),
            ("D=x # note", Some(("D", "x"))),
            ("E=\"a\\nb\"", Some(("E", "a\nb"))),
            ("# F=1", None),
            ("9=1", None),
            ("nothing", None),
        ];
        for (line, expected) in lines {
            let found = assignment(line);
            assert_eq!(
                found.as_ref().map(|(name, value)| (*name, value.as_str())),
                expected,
                "{line}"
            );
        }
        for name in [
            "OPENCLAW_GATEWAY_URL",
            "OPENCLAW_SETUP_CODE",
            "OPENCLAW_STATE_DIR",
            "PATH",
            "LD_PRELOAD",
            "OPENCLAW_CONFIG_PATH",
        ] {
            assert!(is_guarded(name), "{name}");
        }
        assert!(!is_guarded("OPENCLAW_LOG_LEVEL"));
    }
}
