//! The mutable file operand: the one local script an interpreter will read, and its content's hash.
//!
//! An approval of `python3 s.py` is an approval of what `s.py` says now (node-host specification,
//! section 3.9). Where that file cannot be named for certain the answer is "cannot bind", never "none".

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde_json::{Value, json};

use super::plan::is_ours;
use super::shell;
use super::wrapper::{NEVER_UNWRAPPED, Unwrapped, base_name, unwrap};
use crate::identity::sha256_hex;

/// Bytes of a script that are hashed at most; a larger one is not bound.
const MAX_SCRIPT_BYTES: u64 = 16 * 1024 * 1024;

/// Interpreters whose first argument is their script when it is no option.
const SCRIPT_FIRST: &[&str] = &["node", "nodejs", "perl", "php", "python", "ruby"];

/// Interpreters that are bound only when exactly one argument is an existing file.
const ONE_FILE: &[&str] = &[
    "awk",
    "esno",
    "gawk",
    "gsed",
    "jiti",
    "lua",
    "mawk",
    "nawk",
    "osascript",
    "pypy",
    "sed",
    "ts-node",
    "ts-node-esm",
    "tsx",
    "vite-node",
];

/// Programs that find what they run by rules of their own.
const RUNNERS: &[&str] = &["bun", "bunx", "deno", "npm", "npx", "pnpm", "yarn"];

/// Shell words that read or run something the command line does not show.
const SHELL_BUILTINS: &[&str] = &[
    ".", "alias", "builtin", "command", "coproc", "eval", "exec", "fc", "source", "trap",
];

/// Options that load further code, by interpreter: exact, or as the start of a joined one.
const LOADERS: &[(&str, &[&str])] = &[
    (
        "node",
        &[
            "-r",
            "--require",
            "--import",
            "--loader",
            "--experimental-loader",
        ],
    ),
    (
        "nodejs",
        &[
            "-r",
            "--require",
            "--import",
            "--loader",
            "--experimental-loader",
        ],
    ),
    ("perl", &["-I", "-M", "-m"]),
    (
        "php",
        &[
            "-c",
            "-d",
            "-z",
            "--php-ini",
            "--define",
            "--zend-extension",
        ],
    ),
    ("python", &["-m"]),
    ("ruby", &["-I", "-r"]),
];

const BINARY_MAGIC: &[&[u8]] = &[
    b"\x7fELF",
    b"MZ",
    b"\xfe\xed\xfa\xce",
    b"\xfe\xed\xfa\xcf",
    b"\xce\xfa\xed\xfe",
    b"\xcf\xfa\xed\xfe",
    b"\xca\xfe\xba\xbe",
];

/// A bound script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operand {
    /// Its index in the argv.
    pub index: usize,
    /// Its canonical path.
    pub path: String,
    /// SHA-256 of its content in hex.
    pub sha256: String,
}

impl Operand {
    /// The wire form.
    pub fn to_value(&self) -> Value {
        json!({"argvIndex": self.index, "path": self.path, "sha256": self.sha256})
    }

    /// Reads the wire form.
    pub fn parse(value: &Value) -> Option<Self> {
        Some(Self {
            index: usize::try_from(value.get("argvIndex")?.as_u64()?).ok()?,
            path: value.get("path")?.as_str()?.to_owned(),
            sha256: value.get("sha256")?.as_str()?.to_owned(),
        })
    }

    /// True when the argument at the operand's place is still the same file with the same content.
    pub fn is_unchanged(&self, argv: &[String], cwd: &Path) -> bool {
        argv.get(self.index)
            .is_some_and(|token| bind(self.index, token, cwd).as_ref() == Ok(self))
    }
}

/// Why no operand can be named; Display is the wire message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BindFault {
    /// What the command reads cannot be told from its argv.
    CannotBind,
    /// The script does not exist.
    Missing,
    /// The script is no regular file.
    NotFile,
    /// The script changes while it is looked at, or cannot be read.
    Unstable,
}

impl fmt::Display for BindFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self {
            Self::CannotBind => "approval cannot safely bind this interpreter/runtime command",
            Self::Missing => "approval requires an existing script operand",
            Self::NotFile => "approval requires a file script operand",
            Self::Unstable => "approval requires a stable script operand",
        };
        write!(f, "SYSTEM_RUN_DENIED: {what}")
    }
}

impl std::error::Error for BindFault {}

/// Finds the operand of a command that would run in `cwd`.
pub fn find(unwrapped: &Unwrapped<'_>, cwd: &Path) -> Result<Option<Operand>, BindFault> {
    if unwrapped.multicall || unwrapped.opaque {
        return Err(BindFault::CannotBind);
    }
    if let Some(payload) = unwrapped.payload() {
        let bound = !payload.ambiguous && !payload.has_arguments;
        return if bound && is_harmless(payload.script, cwd) {
            Ok(None)
        } else {
            Err(BindFault::CannotBind)
        };
    }
    let Some((program, arguments)) = unwrapped.effective.split_first() else {
        return Ok(None);
    };
    let name = base_name(program);
    let interpreter = without_version(&name);
    let first = unwrapped.offset + 1;
    if shell::is_shell(&name) {
        return shell_operand(arguments, first, cwd);
    }
    if SCRIPT_FIRST.contains(&interpreter) {
        return match arguments.first().map(String::as_str) {
            None | Some("-") => Ok(None),
            Some(token) if !token.starts_with('-') => bind(first, token, cwd).map(Some),
            Some(_) => one_file(interpreter, arguments, first, cwd).map(Some),
        };
    }
    if ONE_FILE.contains(&interpreter) {
        return one_file(interpreter, arguments, first, cwd).map(Some);
    }
    let runs_interpreter = (unwrapped.blocked || NEVER_UNWRAPPED.contains(&interpreter))
        && arguments.iter().any(|token| reads_scripts(token));
    if runs_interpreter || RUNNERS.contains(&interpreter) || is_multicall(interpreter) {
        return Err(BindFault::CannotBind);
    }
    Ok(None)
}

fn is_multicall(name: &str) -> bool {
    matches!(name, "busybox" | "toybox")
}

/// `python3.11` is `python`, `ruby3.1` is `ruby`.
fn without_version(name: &str) -> &str {
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-');
    if stem.is_empty() { name } else { stem }
}

fn reads_scripts(token: &str) -> bool {
    let name = base_name(token);
    let interpreter = without_version(&name);
    shell::is_shell(&name)
        || [SCRIPT_FIRST, ONE_FILE, RUNNERS]
            .iter()
            .any(|table| table.contains(&interpreter))
        || is_multicall(interpreter)
}

fn shell_operand(
    arguments: &[String],
    first: usize,
    cwd: &Path,
) -> Result<Option<Operand>, BindFault> {
    const VALUES: &[&str] = &["-o", "+o", "--rcfile", "--init-file", "--startup-script"];
    let mut index = 0;
    while let Some(token) = arguments.get(index) {
        let token = token.as_str();
        match token {
            "-" | "-s" => return Ok(None),
            // Files that are read before or instead of the script are not bound by it.
            "--rcfile" | "--init-file" | "--startup-script" => return Err(BindFault::CannotBind),
            "--" => index += 1,
            _ if VALUES.contains(&token) => {
                index += 2;
                continue;
            }
            _ if token.starts_with(['-', '+']) => {
                index += 1;
                continue;
            }
            _ => {}
        }
        return match arguments.get(index) {
            Some(script) => bind(first + index, script, cwd).map(Some),
            None => Ok(None),
        };
    }
    Ok(None)
}

/// Exactly one argument is an existing file, and no option loads another.
fn one_file(
    interpreter: &str,
    arguments: &[String],
    first: usize,
    cwd: &Path,
) -> Result<Operand, BindFault> {
    let loaders = LOADERS
        .iter()
        .find(|(name, _)| *name == interpreter)
        .map_or(&[][..], |row| row.1);
    let mut found = None;
    for (index, token) in arguments.iter().enumerate() {
        if token.starts_with('-') && token.len() > 1 {
            let loads = loaders.iter().any(|option| token.starts_with(option));
            let tail = token
                .split_once('=')
                .map(|(_, value)| value)
                .or_else(|| token.get(2..));
            let names_file = tail.is_some_and(|tail| !tail.is_empty() && cwd.join(tail).is_file());
            let clustered = interpreter == "perl" && token.contains(['I', 'M', 'm']);
            if loads || names_file || clustered {
                return Err(BindFault::CannotBind);
            }
        } else if cwd.join(token).is_file() && found.replace(index).is_some() {
            return Err(BindFault::CannotBind);
        }
    }
    let index = found.ok_or(BindFault::CannotBind)?;
    bind(first + index, &arguments[index], cwd)
}

fn bind(index: usize, token: &str, cwd: &Path) -> Result<Operand, BindFault> {
    let path = cwd.join(token);
    let seen = path.metadata().map_err(|_| BindFault::Missing)?;
    if !seen.is_file() {
        return Err(BindFault::NotFile);
    }
    let canonical = path.canonicalize().map_err(|_| BindFault::Unstable)?;
    let mut file = File::open(&canonical).map_err(|_| BindFault::Unstable)?;
    let opened = file.metadata().map_err(|_| BindFault::Unstable)?;
    let same = (seen.dev(), seen.ino()) == (opened.dev(), opened.ino());
    if !same || opened.len() > MAX_SCRIPT_BYTES {
        return Err(BindFault::Unstable);
    }
    let mut content = Vec::new();
    let read = file
        .by_ref()
        .take(MAX_SCRIPT_BYTES + 1)
        .read_to_end(&mut content);
    if read.is_err() || content.len() as u64 != opened.len() {
        return Err(BindFault::Unstable);
    }
    let path = canonical
        .into_os_string()
        .into_string()
        .map_err(|_| BindFault::Unstable)?;
    Ok(Operand {
        index,
        path,
        sha256: sha256_hex(&content),
    })
}

/// An inline script that is one plain command and reads no script: nothing to bind. Anything with shell
/// syntax in it is not judged here.
fn is_harmless(script: &str, cwd: &Path) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || " /._-+@:,=%".contains(c);
    let words: Vec<String> = script.split_whitespace().map(str::to_owned).collect();
    let Some(first) = words.first() else {
        return false;
    };
    if !script.trim().chars().all(plain)
        || first.contains('=')
        || SHELL_BUILTINS.contains(&first.as_str())
    {
        return false;
    }
    let inner = unwrap(&words);
    if inner.is_shell() || inner.blocked || !matches!(find(&inner, cwd), Ok(None)) {
        return false;
    }
    let Some(program) = inner.effective.first() else {
        return false;
    };
    if !program.contains('/') {
        return !cwd.join(program).exists();
    }
    let path = Path::new(program);
    path.is_absolute() && !could_change(path) && is_binary(path)
}

fn could_change(path: &Path) -> bool {
    let chain = |path: &Path| is_ours(path) || path.parent().is_some_and(is_ours);
    chain(path)
        || path
            .canonicalize()
            .map_or(true, |canonical| chain(&canonical))
}

fn is_binary(path: &Path) -> bool {
    let mut head = Vec::new();
    let read = File::open(path).and_then(|file| file.take(4).read_to_end(&mut head));
    read.is_ok() && BINARY_MAGIC.iter().any(|magic| head.starts_with(magic))
}

#[cfg(test)]
#[path = "operand_tests.rs"]
mod tests;
