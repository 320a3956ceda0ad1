//! The check of a caller's display text against the command it stands beside.
//!
//! Pure functions (node-host specification, section 2.3). The text is for people and for comparing
//! with approvals; nothing is ever executed from it.

use super::wrapper::Unwrapped;
use crate::protocol::command_text::format_command;

/// The short text shown for a shell command: its trimmed inline script, unless `env` changes the
/// environment in front of the shell or arguments follow the script.
pub fn preview(unwrapped: &Unwrapped<'_>) -> Option<String> {
    let payload = unwrapped.payload()?;
    let script = payload.script.trim();
    if unwrapped.environment_modified || payload.has_arguments || script.is_empty() {
        return None;
    }
    Some(script.to_owned())
}

/// True when a caller's `rawCommand` says what `argv` does: blank, the canonical line or the preview.
pub fn raw_matches(raw: &str, argv: &[String], unwrapped: &Unwrapped<'_>) -> bool {
    let raw = raw.trim();
    raw.is_empty() || raw == format_command(argv) || preview(unwrapped).as_deref() == Some(raw)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::wrapper::unwrap;

    fn argv(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn raw_text_must_be_the_line_or_the_preview() {
        let cases: &[(&[&str], &str, bool)] = &[
            (&["ls", "-l"], " ls -l ", true),
            (&["ls", "-l"], "  ", true),
            (&["ls", "-l"], "ls", false),
            (&["sh", "-c", " echo a "], "echo a", true),
            (&["sh", "-c", "echo a"], "sh -c \"echo a\"", true),
            (&["sh", "-c", "echo a", "b"], "echo a", false),
            (&["sh", "-c", "echo a", " "], "echo a", true),
            (&["env", "A=1", "sh", "-c", "echo a"], "echo a", false),
            (&["env", "sh", "-c", "echo a"], "echo a", true),
            (
                &["nice", "-n", "3", "bash", "-lc", "echo a"],
                "echo a",
                true,
            ),
        ];
        for (words, raw, expected) in cases {
            let argv = argv(words);
            assert_eq!(
                raw_matches(raw, &argv, &unwrap(&argv)),
                *expected,
                "{words:?} {raw:?}"
            );
        }
    }
}
