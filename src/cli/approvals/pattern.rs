//! What an allowlist pattern covers (node-host specification, section 3.4): refused where it can cover nothing,
//! explained where it covers more than one program. Pure.

use std::fmt;
use std::path::{Component, Path};

use crate::cli::output::text::quoted;
use crate::exec::which::normalize;
use crate::exec::{runs_what_it_is_told, shell, wrapper};
use crate::protocol::hidden::{is_hidden, visible};

/// Why a pattern can cover nothing; Display says what to type instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It names a directory.
    Directory(String),
    /// Nothing is left after trimming.
    Empty,
    /// A fingerprint, which counts only where an approval made it.
    Fingerprint,
    /// It holds a line break or another character that nobody sees.
    Hidden(String),
    /// A path that goes through `.` or `..`, and the plain one.
    NotPlain(String),
    /// A path that does not start at the root or at home.
    Relative(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Directory(path) => {
                let programs = quoted(&format!("{path}*"));
                let below = quoted(&format!("{path}**"));
                write!(
                    out,
                    "a directory covers nothing; for the programs in it type {programs}, for all below it {below}"
                )
            }
            Fault::Empty => write!(
                out,
                "the pattern is empty; type the path of a program, e.g. /usr/bin/uname"
            ),
            Fault::Fingerprint => write!(
                out,
                "a rule for one exact command line is made by approving it: openclaw approvals resolve <id> allow-always"
            ),
            Fault::Hidden(pattern) => write!(
                out,
                "the pattern holds a character that nobody sees: {pattern}; type it without"
            ),
            Fault::NotPlain(plain) => write!(
                out,
                "programs are known by their plain path; type {}",
                quoted(plain)
            ),
            Fault::Relative(pattern) => write!(
                out,
                "a path covers programs only from the root on or from ~; type {}, or the bare name {}",
                quoted(&format!("/path/to/{}", pattern.trim_start_matches("./"))),
                quoted(last(pattern))
            ),
        }
    }
}

/// What a person should know about a pattern that can cover something.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Meaning {
    /// What it covers, where that is not just the one program.
    pub covers: Option<String>,
    /// What is dangerous about it.
    pub warning: Option<String>,
}

/// Looks at a pattern as typed.
///
/// # Errors
/// [`Fault`] when it can never cover a command.
pub fn examine(typed: &str) -> Result<Meaning, Fault> {
    let pattern = typed.trim();
    if pattern.is_empty() {
        return Err(Fault::Empty);
    }
    if pattern.chars().any(is_hidden) {
        return Err(Fault::Hidden(visible(pattern)));
    }
    if pattern.starts_with("=command:") {
        return Err(Fault::Fingerprint);
    }
    if is_path(pattern) {
        fault_of_path(pattern)?;
    }
    Ok(Meaning {
        covers: covers(pattern),
        warning: warning(pattern),
    })
}

/// Whether it is the path of one program.
pub fn names_one(pattern: &str) -> bool {
    pattern.starts_with('/') && !is_glob(pattern)
}

/// A pattern that is matched against the program's path; others are bare names.
fn is_path(pattern: &str) -> bool {
    pattern.contains(['/', '\\', '~'])
}

fn is_glob(pattern: &str) -> bool {
    pattern.contains(['*', '?'])
}

fn fault_of_path(pattern: &str) -> Result<(), Fault> {
    let below_home = pattern == "~" || pattern.starts_with("~/");
    // `**/name` starts anywhere, and a drive letter is the root of other systems.
    let rooted = pattern.starts_with(['/', '*', '?']) || is_windows_path(pattern);
    if !below_home && !rooted {
        return Err(Fault::Relative(pattern.to_owned()));
    }
    if pattern.ends_with('/') || pattern == "~" {
        return Err(Fault::Directory(format!(
            "{}/",
            pattern.trim_end_matches('/')
        )));
    }
    let parts = Path::new(pattern).components();
    let through_parent = parts.clone().any(|part| part == Component::ParentDir);
    if through_parent || pattern.contains("/./") || pattern.contains("//") {
        return Err(Fault::NotPlain(
            normalize(Path::new(pattern)).display().to_string(),
        ));
    }
    Ok(())
}

fn is_windows_path(pattern: &str) -> bool {
    let mut letters = pattern.chars();
    let drive = letters
        .next()
        .is_some_and(|letter| letter.is_ascii_alphabetic());
    pattern.starts_with("\\\\") || (drive && letters.next() == Some(':'))
}

/// The last part of a path.
fn last(pattern: &str) -> &str {
    pattern.rsplit(['/', '\\']).next().unwrap_or(pattern)
}

fn covers(pattern: &str) -> Option<String> {
    let shown = quoted(pattern);
    if pattern == "*" {
        return Some(format!("{shown} covers every command"));
    }
    if is_path(pattern) {
        let what = match is_glob(pattern) {
            true => {
                "every program whose path fits: * and ? stand for anything but /, ** for anything"
            }
            false if pattern.starts_with('~') => {
                "that program in the home of the user who runs the node host"
            }
            false => return None,
        };
        return Some(format!("{shown} covers {what}"));
    }
    let what = match is_glob(pattern) {
        true => "every program whose name fits, wherever it is found",
        false => "whichever program of this name comes first on the search path",
    };
    let mut text = format!("{shown} covers {what}, typed without a path");
    if let Some((program, _)) = pattern.split_once(char::is_whitespace) {
        text += &format!(
            "; the whole text is the name of one program, arguments are not matched (to cover {program} with all \
             arguments, type {})",
            quoted(program)
        );
    }
    Some(text)
}

/// A rule for a shell or an interpreter is a rule for everything it can be told to do.
fn warning(pattern: &str) -> Option<String> {
    if pattern == "*" {
        return Some("this allows everything; approvals are not asked for any more".to_owned());
    }
    if pattern.chars().all(|letter| "*?/".contains(letter)) {
        let text =
            "nothing in it names a program: this allows all that fit, shells and interpreters too";
        return Some(text.to_owned());
    }
    let name = wrapper::base_name(last(pattern));
    if shell::is_shell(&name) {
        return Some(format!(
            "{name} is a shell: this allows whatever script it is given as a program"
        ));
    }
    if runs_what_it_is_told(&name) {
        return Some(format!(
            "{name} runs what its arguments say: this allows more than one program"
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_that_cover_nothing_are_refused_with_what_to_type() {
        for (pattern, text) in [
            (
                "",
                "the pattern is empty; type the path of a program, e.g. /usr/bin/uname",
            ),
            (
                "  ",
                "the pattern is empty; type the path of a program, e.g. /usr/bin/uname",
            ),
            ("bin/tool", "type /path/to/bin/tool, or the bare name tool"),
            (
                "./my tool",
                "type '/path/to/my tool', or the bare name 'my tool'",
            ),
            ("~bob/bin/tool", "the bare name tool"),
            ("a\\b", "the bare name b"),
            (
                "/usr/bin/",
                "type '/usr/bin/*', for all below it '/usr/bin/**'",
            ),
            ("~", "type '~/*', for all below it '~/**'"),
            ("/", "type '/*', for all below it '/**'"),
            ("/usr/../bin/ls", "type /bin/ls"),
            ("/usr/./bin//ls", "type /usr/bin/ls"),
            ("/usr/bin/ls\n/bin/sh", "/usr/bin/ls\\u{A}/bin/sh"),
            ("/usr/bin/l\u{200b}s", "/usr/bin/l\\u{200B}s"),
            (
                "=command:27de7c1b9fae1985",
                "openclaw approvals resolve <id> allow-always",
            ),
        ] {
            let fault = examine(pattern).unwrap_err().to_string();
            assert!(fault.contains(text), "{pattern:?}: {fault}");
        }
    }

    #[test]
    fn patterns_that_cover_more_than_one_program_say_what() {
        for (pattern, covered) in [
            ("/usr/bin/uname", None),
            ("/opt/my tool", None),
            ("C:\\Tools\\x.exe", None),
            ("*", Some("'*' covers every command")),
            ("/w/**", Some("every program whose path fits")),
            ("**/rg", Some("every program whose path fits")),
            (
                "~/bin/rg",
                Some("in the home of the user who runs the node host"),
            ),
            (
                "uname",
                Some("uname covers whichever program of this name comes first"),
            ),
            ("py*", Some("every program whose name fits")),
            ("git status", Some("type git)")),
        ] {
            let meaning = examine(pattern).unwrap();
            match covered {
                None => assert_eq!(meaning.covers, None, "{pattern}"),
                Some(text) => {
                    let covers = meaning.covers.unwrap();
                    assert!(covers.contains(text), "{pattern}: {covers}");
                }
            }
        }
    }

    #[test]
    fn shells_and_interpreters_are_warned_of() {
        for (pattern, warned) in [
            ("*", true),
            ("**", true),
            ("/**", true),
            ("????", true),
            ("/bin/sh", true),
            ("bash", true),
            ("/usr/bin/python3.11", true),
            ("/usr/bin/env", true),
            ("sudo", true),
            ("find", true),
            ("xargs", true),
            ("/usr/bin/uname", false),
            ("git", true),
            ("cat", false),
            ("/w/**", false),
        ] {
            assert_eq!(
                examine(pattern).unwrap().warning.is_some(),
                warned,
                "{pattern}"
            );
        }
    }
}
