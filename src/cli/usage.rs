//! What was typed wrongly, and the complete text that says so.

use std::fmt;

use crate::cli::output::time::DurationFault;

/// What was typed wrongly. Display is the complete text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Usage {
    /// A value outside a closed list: option name and the list.
    BadChoice(&'static str, &'static [&'static str]),
    /// A duration that cannot be read: option name and fault.
    BadDuration(&'static str, DurationFault),
    /// Not whole milliseconds above zero: option as in help, and what was given.
    BadMilliseconds(String, String),
    /// Not a port: option name.
    BadPort(&'static str),
    /// An option that must not be empty was.
    Empty(&'static str),
    /// A required argument is missing.
    MissingArgument(&'static str),
    /// A required option is missing: option as in help.
    MissingOption(String),
    /// An option that needs a value got none: option as in help.
    MissingValue(String),
    /// An argument is not UTF-8.
    NotText,
    /// A rule of one command; the text is complete.
    Rule(String),
    /// More arguments than the command takes: command, expected, given.
    TooMany(&'static str, usize, usize),
    /// A subcommand that does not exist, and the nearest that does.
    UnknownCommand(String, Option<String>),
    /// An option that does not exist here, and the nearest that does.
    UnknownOption(String, Option<String>),
    /// An option behind the first word of a command that is looked at: the option, and what is typed before it.
    UnmarkedCommand(String, String),
    /// A switch was given a value.
    UnwantedValue(&'static str),
}

impl fmt::Display for Usage {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Usage::BadChoice(name, words) => {
                write!(out, "Invalid --{name} (use {})", listed(words))
            }
            Usage::BadDuration(name, fault) => write!(out, "Invalid --{name}: {fault}"),
            Usage::BadMilliseconds(option, value) => write!(
                out,
                "error: option '{option}' argument '{value}' is invalid. Expected whole milliseconds above 0."
            ),
            Usage::BadPort(name) => {
                write!(out, "Invalid port: --{name} takes a number from 1 to 65535")
            }
            Usage::Empty(name) => write!(out, "error: --{name} required"),
            Usage::MissingArgument(name) => {
                write!(out, "error: missing required argument '{name}'")?;
                match *name {
                    "requestId" => out.write_str("\n(openclaw nodes pending lists what waits)"),
                    _ => Ok(()),
                }
            }
            Usage::MissingOption(option) => {
                write!(out, "error: required option '{option}' not specified")
            }
            Usage::MissingValue(option) => write!(out, "error: option '{option}' argument missing"),
            Usage::NotText => write!(out, "error: an argument is not valid UTF-8"),
            Usage::Rule(text) => out.write_str(text),
            Usage::TooMany(command, expected, given) => write!(
                out,
                "error: too many arguments for '{command}'. Expected {expected} argument{} but got {given}.",
                if *expected == 1 { "" } else { "s" }
            ),
            Usage::UnknownCommand(word, near) => {
                write!(
                    out,
                    "error: unknown command '{word}'{}",
                    meant(near.as_deref())
                )
            }
            Usage::UnknownOption(option, near) => {
                write!(
                    out,
                    "error: unknown option '{option}'{}",
                    meant(near.as_deref())
                )
            }
            Usage::UnmarkedCommand(option, before) => write!(
                out,
                "error: unknown option '{option}'\n(To make it part of the command, put -- in front: {before})"
            ),
            Usage::UnwantedValue(name) => {
                write!(out, "error: option '--{name}' does not take a value")
            }
        }
    }
}

fn meant(near: Option<&str>) -> String {
    near.map_or_else(String::new, |word| format!("\n(Did you mean {word}?)"))
}

/// `"a", "b", or "c"`.
fn listed(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    match quoted.as_slice() {
        [] => String::new(),
        [only] => only.clone(),
        [first, second] => format!("{first} or {second}"),
        [first @ .., last] => format!("{}, or {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_texts() {
        for (usage, expected) in [
            (
                Usage::BadChoice("bind", &["loopback", "lan", "custom"]),
                "Invalid --bind (use \"loopback\", \"lan\", or \"custom\")",
            ),
            (
                Usage::BadChoice("runtime", &["node", "bun"]),
                "Invalid --runtime (use \"node\" or \"bun\")",
            ),
            (
                Usage::BadDuration("last-connected", DurationFault::Empty),
                "Invalid --last-connected: invalid duration (empty)",
            ),
            (
                Usage::TooMany("list", 0, 1),
                "error: too many arguments for 'list'. Expected 0 arguments but got 1.",
            ),
            (
                Usage::UnknownCommand("lst".to_owned(), Some("list".to_owned())),
                "error: unknown command 'lst'\n(Did you mean list?)",
            ),
            (
                Usage::UnknownOption("--bogus".to_owned(), None),
                "error: unknown option '--bogus'",
            ),
            (
                Usage::UnmarkedCommand(
                    "-a".to_owned(),
                    "openclaw approvals check -- uname -a".to_owned(),
                ),
                "error: unknown option '-a'\n\
                 (To make it part of the command, put -- in front: openclaw approvals check -- uname -a)",
            ),
        ] {
            assert_eq!(usage.to_string(), expected);
        }
    }
}
