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
use super::runner;
use super::shell;
use super::simple_commands::{Word, simple_commands};
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

/// Programs that run what a package or a project names.
const RUNNERS: &[&str] = &["bun", "bunx", "deno", "npx"];

/// Package runners that may stand before each other.
const MAX_RUNNERS: usize = 4;

/// Filters whose program stands on the command line; in a pipe they may have no file.
const FILTERS: &[&str] = &["awk", "gawk", "gsed", "mawk", "nawk", "sed"];

/// Shell words that read or run something the command line does not show, or change what a name means.
const SHELL_BUILTINS: &[&str] = &[
    ".",
    "alias",
    "builtin",
    "command",
    "coproc",
    "enable",
    "eval",
    "exec",
    "fc",
    "hash",
    "mapfile",
    "readarray",
    "source",
    "trap",
];

/// Shell words that assign.
const DECLARATIONS: &[&str] = &["declare", "export", "local", "readonly", "typeset"];

/// Shell words in front of a command, or in place of one.
const KEYWORDS: &[&str] = &[
    "!", "do", "done", "elif", "else", "esac", "fi", "if", "then", "until", "while", "{", "}",
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
    /// The program is one of many in one file.
    Applet,
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
            Self::Applet => {
                "approval cannot safely bind this interpreter/runtime command (it is an applet of busybox or \
                 toybox: call it by its own name, and allow it by a rule)"
            }
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
    if unwrapped.multicall {
        return Err(BindFault::Applet);
    }
    if unwrapped.opaque {
        return Err(BindFault::CannotBind);
    }
    if let Some(payload) = unwrapped.payload() {
        let program = unwrapped
            .effective
            .first()
            .map(|program| base_name(program));
        let posix = program.is_some_and(|name| shell::POSIX.contains(&name.as_str()));
        return if posix && !payload.ambiguous && is_harmless(payload.script, cwd) {
            Ok(None)
        } else {
            Err(BindFault::CannotBind)
        };
    }
    behind_runners(unwrapped, unwrapped.offset, MAX_RUNNERS, cwd)
}

/// Steps over package runners and what wraps the program behind them.
fn behind_runners(
    unwrapped: &Unwrapped<'_>,
    offset: usize,
    left: usize,
    cwd: &Path,
) -> Result<Option<Operand>, BindFault> {
    let at = match runner::step(unwrapped.effective) {
        runner::Step::None => return of_program(unwrapped, offset, cwd),
        runner::Step::Unclear => return Err(BindFault::CannotBind),
        runner::Step::Command(_) if left == 0 => return Err(BindFault::CannotBind),
        runner::Step::Command(at) => at,
    };
    let inner = unwrap(&unwrapped.effective[at..]);
    let program = inner.effective.first().map_or("", String::as_str);
    // What a runner is handed by a path is a file of the project, not a tool of a package.
    if inner.multicall || inner.opaque || inner.payload().is_some() || program.contains('/') {
        return Err(BindFault::CannotBind);
    }
    behind_runners(&inner, offset + at + inner.offset, left - 1, cwd)
}

/// The operand of a program without anything in front of it; `offset` is its place in the whole argv.
fn of_program(
    unwrapped: &Unwrapped<'_>,
    offset: usize,
    cwd: &Path,
) -> Result<Option<Operand>, BindFault> {
    let Some((program, arguments)) = unwrapped.effective.split_first() else {
        return Ok(None);
    };
    let name = base_name(program);
    let interpreter = without_version(&name);
    let first = offset + 1;
    if shell::is_shell(&name) {
        return shell_operand(arguments, first, cwd);
    }
    let script = match interpreter {
        "bun" => runner::bun_script(unwrapped.effective),
        "deno" => runner::deno_script(unwrapped.effective),
        _ => runner::Script::None,
    };
    match script {
        runner::Script::None => {}
        runner::Script::Unclear => return Err(BindFault::CannotBind),
        runner::Script::At(at) if cwd.join(&unwrapped.effective[at]).is_file() => {
            return bind(offset + at, &unwrapped.effective[at], cwd).map(Some);
        }
        runner::Script::At(_) => return Err(BindFault::CannotBind),
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
    if is_multicall(interpreter) {
        return Err(BindFault::Applet);
    }
    let runs_interpreter = (unwrapped.blocked || NEVER_UNWRAPPED.contains(&interpreter))
        && arguments.iter().any(|token| reads_scripts(token));
    if runs_interpreter {
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

/// Binds the file that a word at this place of an argv names.
pub fn bind(index: usize, token: &str, cwd: &Path) -> Result<Operand, BindFault> {
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

/// An inline script none of whose commands reads a script or runs a file that could change: nothing to bind.
fn is_harmless(script: &str, cwd: &Path) -> bool {
    let Some(commands) = simple_commands(script) else {
        return false;
    };
    // Behind a `cd` a relative name means something else.
    let mut moved = false;
    let mut harmless = |(index, words): (usize, &Vec<Word>)| {
        is_harmless_command(words, index > 0, &mut moved, cwd)
    };
    !commands.is_empty() && commands.iter().enumerate().all(&mut harmless)
}

fn is_harmless_command(words: &[Word], later: bool, moved: &mut bool, cwd: &Path) -> bool {
    let mut words = words;
    let first = loop {
        let Some((first, rest)) = words.split_first() else {
            return true;
        };
        match first.text.as_str() {
            _ if first.quoted => break first,
            "for" | "select" => return true,
            "case" | "function" => return false,
            text if KEYWORDS.contains(&text) => words = rest,
            text => match text.split_once('=') {
                Some((name, _)) if is_name(name) && !redirects_reading(name) => words = rest,
                Some((name, _)) if is_name(name) => return false,
                _ => break first,
            },
        }
    };
    if first.expands {
        return matches!(first.text.as_str(), "[" | "[[");
    }
    let name = first.text.as_str();
    if matches!(name, "cd" | "pushd" | "popd") {
        *moved = true;
        return true;
    }
    let assigns = |word: &Word| {
        let name = word.text.split_once('=').map(|(name, _)| name);
        name.is_some_and(redirects_reading)
    };
    if SHELL_BUILTINS.contains(&name) || (DECLARATIONS.contains(&name) && words.iter().any(assigns))
    {
        return false;
    }
    let argv: Vec<String> = words.iter().map(|word| word.text.clone()).collect();
    let inner = unwrap(&argv);
    let Some(program) = inner.effective.first() else {
        return true;
    };
    let base = base_name(program);
    let filter = later && FILTERS.contains(&base.as_str());
    let harmless = if filter {
        // It reads what the command before it wrote.
        !inner.blocked && !names_a_file(&words[1..], cwd)
    } else {
        !inner.blocked && !reads_scripts(program) && matches!(find(&inner, cwd), Ok(None))
    };
    if !harmless {
        return false;
    }
    if !program.contains('/') {
        return *moved || !cwd.join(program).exists();
    }
    let path = Path::new(program);
    path.is_absolute() && !could_change(path) && is_binary(path)
}

/// An option that reads a program from a file, or an argument that is one or may become one.
fn names_a_file(arguments: &[Word], cwd: &Path) -> bool {
    arguments.iter().any(|word| {
        let option = word.text.starts_with('-');
        (option && word.text.contains('f'))
            || (word.expands && !word.quoted)
            || cwd.join(&word.text).is_file()
    })
}

fn is_name(text: &str) -> bool {
    let starts = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    starts && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Variables by which a shell, a loader or an interpreter finds what it runs.
fn redirects_reading(name: &str) -> bool {
    const NAMES: &[&str] = &["CDPATH", "ENV", "IFS", "PATH", "PS4", "SHELLOPTS"];
    const PREFIXES: &[&str] = &[
        "BASH_", "DYLD_", "GIT_", "LD_", "NODE_", "PERL", "PYTHON", "RUBY",
    ];
    NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
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
