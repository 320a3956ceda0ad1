//! Commands that advice names, so that they mean the same files as the command that gives it.

use crate::cli::table::ROOT;

/// The advice with `option` (`--profile work`) behind every `openclaw` that begins a command; where `group` is
/// given, only a command of that group: others are for another machine.
pub fn addressed(advice: &str, option: &str, group: Option<&str>) -> String {
    const PROGRAM: &str = "openclaw ";
    let mut out = String::with_capacity(advice.len());
    let mut rest = advice;
    while let Some(at) = rest.find(PROGRAM) {
        let (before, command) = rest.split_at(at + PROGRAM.len());
        out += before;
        if begins_word(&before[..at]) && is_command(command, group) {
            out += option;
            out.push(' ');
        }
        rest = command;
    }
    out + rest
}

/// Whether a command may begin behind this text: not within a path or a name.
fn begins_word(before: &str) -> bool {
    let opens = |last: char| last.is_whitespace() || "`'\"(".contains(last);
    before.chars().next_back().is_none_or(opens)
}

/// Whether the words name a command of the table, not just this program (`an openclaw gateway`).
fn is_command(words: &str, group: Option<&str>) -> bool {
    let mut words = words.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-');
    let Some(command) = words.next().and_then(|word| ROOT.child(word)) else {
        return false;
    };
    let complete = command.children.is_empty()
        || words
            .next()
            .is_some_and(|word| command.child(word).is_some());
    complete && group.is_none_or(|group| group == command.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_get_the_profile_and_other_words_do_not() {
        for (advice, expected) in [
            (
                "Run: openclaw config validate",
                "Run: openclaw --profile w config validate",
            ),
            (
                "Run `openclaw node run` or (openclaw devices list), then openclaw doctor.",
                "Run `openclaw --profile w node run` or (openclaw --profile w devices list), then openclaw --profile w doctor.",
            ),
            (
                "openclaw --profile x node run",
                "openclaw --profile x node run",
            ),
            ("not an openclaw gateway", "not an openclaw gateway"),
            ("/opt/openclaw gateway run", "/opt/openclaw gateway run"),
            ("openclaw bogus", "openclaw bogus"),
        ] {
            assert_eq!(addressed(advice, "--profile w", None), expected);
        }
        let two = "openclaw node run, and there openclaw nodes pending";
        assert_eq!(
            addressed(two, "--dev", Some("node")),
            "openclaw --dev node run, and there openclaw nodes pending"
        );
    }
}
