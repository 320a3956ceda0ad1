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

#[cfg(test)]
mod tests {
    use super::*;

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
