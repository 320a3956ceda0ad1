//! Shells and their inline scripts (node-host specification, section 3.6).
//!
//! Pure functions over an argv: is it a shell, and which text would it run. The text itself is not
//! parsed here.

use super::wrapper::base_name;

/// Names of shells whose inline script is understood as POSIX-like.
pub const POSIX: &[&str] = &["ash", "bash", "dash", "fish", "ksh", "sh", "zsh"];

const FOREIGN: &[&str] = &["cmd", "powershell", "pwsh"];

/// An inline script of a shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payload<'a> {
    /// The script text as given.
    pub script: &'a str,
    /// Non-blank arguments follow the script.
    pub has_arguments: bool,
    /// Other operands stand before the inline flag, so the shell may read a file instead.
    pub ambiguous: bool,
}

/// The inline script of an argv whose program is a shell.
pub fn payload(argv: &[String]) -> Option<Payload<'_>> {
    let (program, arguments) = argv.split_first()?;
    let name = base_name(program);
    if POSIX.contains(&name.as_str()) {
        return posix_payload(arguments);
    }
    if FOREIGN.contains(&name.as_str()) {
        return foreign_payload(&name, arguments);
    }
    None
}

/// True for every shell this program knows by name.
pub fn is_shell(name: &str) -> bool {
    POSIX.contains(&name) || FOREIGN.contains(&name)
}

fn posix_payload(arguments: &[String]) -> Option<Payload<'_>> {
    let mut ambiguous = false;
    for (index, token) in arguments.iter().enumerate() {
        if token == "--" {
            return None;
        }
        let cluster = token
            .strip_prefix('-')
            .filter(|rest| !rest.starts_with('-'));
        let inline = if token == "--command" {
            Some("")
        } else if let Some(script) = token.strip_prefix("--command=") {
            Some(script)
        } else {
            cluster
                .and_then(|letters| letters.split_once('c'))
                .map(|(_, script)| script)
        };
        let Some(joined) = inline else {
            ambiguous |= !token.starts_with(['-', '+']);
            continue;
        };
        let (script, rest) = if joined.is_empty() {
            (arguments.get(index + 1)?.as_str(), index + 2)
        } else {
            (joined, index + 1)
        };
        let has_arguments = arguments
            .get(rest..)
            .is_some_and(|rest| rest.iter().any(|word| !word.trim().is_empty()));
        return Some(Payload {
            script,
            has_arguments,
            ambiguous,
        });
    }
    None
}

fn foreign_payload<'a>(name: &str, arguments: &'a [String]) -> Option<Payload<'a>> {
    let inline: &[&str] = if name == "cmd" {
        &["/c", "/k"]
    } else {
        &[
            "-c",
            "-command",
            "--command",
            "-f",
            "-file",
            "-encodedcommand",
            "-enc",
            "-e",
        ]
    };
    let at = arguments
        .iter()
        .position(|token| inline.contains(&token.to_lowercase().as_str()))?;
    let script = arguments.get(at + 1)?;
    // The rest belongs to the script on these shells; it is shown as arguments, never as a preview.
    Some(Payload {
        script,
        has_arguments: arguments.len() > at + 2,
        ambiguous: at > 0,
    })
}

/// Letters of shell options that change nothing about which commands a script names.
const OPTION_LETTERS: &str = "eluvx";

/// Values of `-o` of which the same holds.
const OPTION_NAMES: &[&str] = &["errexit", "nounset", "pipefail", "xtrace"];

/// What a shell is certain to run. Where shells of one name could differ, it is `Unclear`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Invocation {
    /// The file at this index of the argv.
    File(usize),
    /// The script at this index of the argv.
    Inline {
        /// Its index.
        script: usize,
        /// The shell reads start-up files first, which may change the search path.
        startup: bool,
    },
    /// Anything else.
    Unclear,
}

/// Reads the argv of a POSIX-like shell. The text behind a `c` inside a cluster is no script here, as no
/// shell takes it for one: `bash -ce x` runs `x`.
pub fn invocation(argv: &[String]) -> Invocation {
    let Some((program, arguments)) = argv.split_first() else {
        return Invocation::Unclear;
    };
    let name = file_name(program);
    if !POSIX.contains(&name) {
        return Invocation::Unclear;
    }
    if name == "fish" {
        return fish_invocation(arguments);
    }
    let mut startup = name == "zsh";
    let mut index = 1;
    while let Some(token) = argv.get(index) {
        index += 1;
        let letters = match token.as_str() {
            "--norc" | "--noprofile" => continue,
            "--login" => {
                startup = true;
                continue;
            }
            "--" => return file_at(argv, index),
            token => match token.strip_prefix('-') {
                Some(letters) => letters,
                None => return file_at(argv, index - 1),
            },
        };
        let (letters, last) = match letters.char_indices().last() {
            Some((at, last @ ('c' | 'o'))) => (&letters[..at], Some(last)),
            Some(_) => (letters, None),
            None => return Invocation::Unclear,
        };
        if !letters
            .chars()
            .all(|letter| OPTION_LETTERS.contains(letter))
        {
            return Invocation::Unclear;
        }
        startup |= letters.contains('l');
        match last {
            Some('c') => return inline_at(argv, index, startup),
            Some(_)
                if argv
                    .get(index)
                    .is_some_and(|name| OPTION_NAMES.contains(&name.as_str())) =>
            {
                index += 1;
            }
            Some(_) => return Invocation::Unclear,
            None => {}
        }
    }
    Invocation::Unclear
}

/// fish goes on reading options behind its script.
fn fish_invocation(arguments: &[String]) -> Invocation {
    match arguments {
        [flag, script]
            if ["-c", "-lc", "--command"].contains(&flag.as_str()) && !script.starts_with('-') =>
        {
            Invocation::Inline {
                script: 2,
                startup: true,
            }
        }
        [file, ..] if !file.is_empty() && !file.starts_with('-') => Invocation::File(1),
        _ => Invocation::Unclear,
    }
}

/// A script that looks like an option is one.
fn inline_at(argv: &[String], script: usize, startup: bool) -> Invocation {
    match argv.get(script) {
        Some(text) if !text.starts_with(['-', '+']) => Invocation::Inline { script, startup },
        _ => Invocation::Unclear,
    }
}

fn file_at(argv: &[String], index: usize) -> Invocation {
    match argv.get(index) {
        Some(file) if !file.is_empty() && !file.starts_with(['-', '+']) => Invocation::File(index),
        _ => Invocation::Unclear,
    }
}

/// The last component of a path, as it stands.
pub fn file_name(program: &str) -> &str {
    program.rsplit('/').next().unwrap_or(program)
}

/// True for a script that only starts the program in `$0`, with the arguments behind it.
pub fn is_carrier(script: &str) -> bool {
    let mut words = script.split(' ').filter(|word| !word.is_empty()).peekable();
    if words.peek() == Some(&"exec") {
        words.next();
    }
    let argument = |word: &str| {
        let number = word
            .strip_prefix("\"$")
            .and_then(|rest| rest.strip_suffix('"'));
        number.is_some_and(|number| {
            number == "@" || (number.len() == 1 && ("1"..="9").contains(&number))
        })
    };
    matches!(words.next(), Some("$0" | "\"$0\"")) && words.all(argument)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_certain_invocations_are_read() {
        use Invocation::{File, Unclear};
        let inline = |script| Invocation::Inline {
            script,
            startup: false,
        };
        let startup = |script| Invocation::Inline {
            script,
            startup: true,
        };
        let cases = [
            ("sh|-c|x", inline(2)),
            ("/bin/sh|-c|x|y", inline(2)),
            ("bash|-ec|x", inline(2)),
            ("bash|-lc|x", startup(2)),
            ("bash|--login|-c|x", startup(3)),
            ("bash|-euo|pipefail|-c|x", inline(4)),
            ("bash|-o|posix|-c|x", Unclear),
            ("bash|--norc|-c|x", inline(3)),
            ("zsh|-c|x", startup(2)),
            ("fish|-c|x", startup(2)),
            ("fish|--command|x", startup(2)),
            ("fish|-c|x|-c|y", Unclear),
            ("fish|-C|y|-c|x", Unclear),
            ("fish|--init-command=y|-c|x", Unclear),
            ("bash|-ce|x", Unclear),
            ("bash|-cx", Unclear),
            ("bash|-ic|x", Unclear),
            ("bash|-c|-x|y", Unclear),
            ("bash|-c|--|y", Unclear),
            ("bash|-c|+x|y", Unclear),
            ("bash|+x|-c|y", Unclear),
            ("bash|--rcfile|f|-ic|x", Unclear),
            ("bash|--rcfile|f|s.sh", Unclear),
            ("sh|-|-c|x", Unclear),
            ("sh|-s", Unclear),
            ("sh", Unclear),
            ("sh|-c", Unclear),
            ("sh|s.sh|-c|x", File(1)),
            ("sh|-e|s.sh", File(2)),
            ("sh|--|s.sh", File(2)),
            ("sh|", Unclear),
            ("SH|-c|x", Unclear),
            ("sh.exe|-c|x", Unclear),
            ("python3|-c|x", Unclear),
        ];
        for (line, expected) in cases {
            let argv: Vec<String> = line.split('|').map(str::to_owned).collect();
            assert_eq!(invocation(&argv), expected, "{line}");
        }
    }

    #[test]
    fn carriers_start_what_they_are_handed_and_nothing_else() {
        for (script, carries) in [
            ("$0 \"$@\"", true),
            ("exec \"$0\" \"$@\"", true),
            ("exec \"$0\" \"$1\" \"$2\"", true),
            ("\"$0\"", true),
            ("$0 $@", false),
            ("exec $1", false),
            ("$0 \"$@\"; ls", false),
            ("$0 x", false),
            ("exec", false),
        ] {
            assert_eq!(is_carrier(script), carries, "{script}");
        }
    }

    type Expected = Option<(&'static str, bool, bool)>;

    #[test]
    fn inline_scripts_are_found() {
        let cases: &[(&str, Expected)] = &[
            ("sh|-c|echo a", Some(("echo a", false, false))),
            ("/bin/BASH|-lc|echo a|x", Some(("echo a", true, false))),
            ("bash|-cecho", Some(("echo", false, false))),
            ("sh|-e|-c|x", Some(("x", false, false))),
            ("sh|s.sh|-c|x", Some(("x", false, true))),
            ("fish|--command|x", Some(("x", false, false))),
            ("fish|--command=x", Some(("x", false, false))),
            ("sh|s.sh", None),
            ("sh|--|-c|x", None),
            ("sh|-c", None),
            ("echo|-c|x", None),
            ("cmd.exe|/C|dir|x", Some(("dir", true, false))),
            ("pwsh|-Command|ls", Some(("ls", false, false))),
        ];
        for (line, expected) in cases {
            let argv: Vec<String> = line.split('|').map(str::to_owned).collect();
            let found = payload(&argv).map(|p| (p.script, p.has_arguments, p.ambiguous));
            assert_eq!(found, *expected, "{line}");
        }
    }
}
