//! The one text form of a command line, which callers show, sign and compare (protocol §8.5, node-host
//! §2.3).
//!
//! A caller may send a display text next to the argument list; it must say the same as the list, or
//! people would approve one command and run another. Nothing here parses shell syntax.

/// Shells whose inline script may stand for the whole command line.
const SHELLS: &[&str] = &["ash", "bash", "dash", "fish", "ksh", "sh", "zsh"];

/// Windows names end in these; they do not change which program is meant.
const PROGRAM_SUFFIXES: &[&str] = &[".exe", ".cmd", ".bat", ".com"];

/// Joins arguments with one space: an empty argument prints as `""`, one with white space or `"` is
/// wrapped in `"` with inner `"` written `\"`, nothing else is escaped.
pub fn format_command<T: AsRef<str>>(arguments: &[T]) -> String {
    let words: Vec<String> = arguments
        .iter()
        .map(|argument| quote(argument.as_ref()))
        .collect();
    words.join(" ")
}

/// The trimmed script of a plain shell call (`sh -c <script>`, nothing before the shell and nothing but
/// blank arguments after the script); `None` for every other command line and for a blank script.
pub fn inline_script<T: AsRef<str>>(arguments: &[T]) -> Option<String> {
    let (program, rest) = arguments.split_first()?;
    let name = program_name(program.as_ref());
    let script = match name.as_str() {
        "cmd" => {
            let (flag, words) = rest.split_first()?;
            let flag = flag.as_ref();
            if !flag.eq_ignore_ascii_case("/c") && !flag.eq_ignore_ascii_case("/k") {
                return None;
            }
            words
                .iter()
                .map(AsRef::as_ref)
                .collect::<Vec<_>>()
                .join(" ")
        }
        "powershell" | "pwsh" => flagged_script(rest, |flag| {
            flag.eq_ignore_ascii_case("-c") || flag.eq_ignore_ascii_case("-command")
        })?,
        shell if SHELLS.contains(&shell) => flagged_script(rest, |flag| {
            flag == "--command"
                || (flag.starts_with('-') && !flag.starts_with("--") && flag.ends_with('c'))
        })?,
        _ => return None,
    };
    let script = script.trim();
    (!script.is_empty()).then(|| script.to_owned())
}

fn flagged_script<T: AsRef<str>>(rest: &[T], is_flag: impl Fn(&str) -> bool) -> Option<String> {
    let [flag, script, extra @ ..] = rest else {
        return None;
    };
    let plain = is_flag(flag.as_ref()) && extra.iter().all(|word| word.as_ref().trim().is_empty());
    plain.then(|| script.as_ref().to_owned())
}

/// The base name of a program path of either system, lower-cased, without a Windows suffix.
fn program_name(path: &str) -> String {
    let base = path
        .rsplit(['/', '\\'])
        .next()
        .unwrap_or(path)
        .to_lowercase();
    PROGRAM_SUFFIXES
        .iter()
        .find_map(|suffix| base.strip_suffix(suffix))
        .unwrap_or(&base)
        .to_owned()
}

fn quote(argument: &str) -> String {
    if argument.is_empty() {
        return "\"\"".to_owned();
    }
    if argument.contains(|character: char| character == '"' || character.is_whitespace()) {
        return format!("\"{}\"", argument.replace('"', "\\\""));
    }
    argument.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_quoted_as_specified() {
        let cases: [(&[&str], &str); 5] = [
            (&["ls", "-la"], "ls -la"),
            (&["echo", ""], "echo \"\""),
            (&["echo", "a b", "tab\there"], "echo \"a b\" \"tab\there\""),
            (&["echo", "say \"hi\""], "echo \"say \\\"hi\\\"\""),
            (&["echo", "$HOME", "'x'", "a\\b"], "echo $HOME 'x' a\\b"),
        ];
        for (arguments, expected) in cases {
            assert_eq!(format_command(arguments), expected);
        }
    }

    #[test]
    fn only_plain_shell_calls_have_an_inline_script() {
        let cases: [(&[&str], Option<&str>); 13] = [
            (&["sh", "-c", " ls | wc "], Some("ls | wc")),
            (&["/bin/bash", "-lc", "ls"], Some("ls")),
            (&["C:\\Windows\\cmd.exe", "/C", "dir", "x"], Some("dir x")),
            (&["pwsh", "-Command", "Get-Item x"], Some("Get-Item x")),
            (&["sh", "-c", "ls", "", " "], Some("ls")),
            (&["sh", "-c", "ls $1", "arg"], None),
            (&["env", "A=1", "sh", "-c", "ls"], None),
            (&["sh", "script.sh"], None),
            (&["sh", "-c", "  "], None),
            (&["sh", "-c"], None),
            (&["python3", "-c", "print()"], None),
            (&["bash", "--rcfile", "x"], None),
            (&[], None),
        ];
        for (arguments, expected) in cases {
            assert_eq!(
                inline_script(arguments).as_deref(),
                expected,
                "{arguments:?}"
            );
        }
    }
}
