//! From arguments as typed to a command of the table with its values: no I/O, no environment.
//!
//! An option that needs a value never takes a following `--flag` as one; `--name=value` says it when a value does
//! start with dashes. Options may stand before or after the subcommand they belong to.

use std::ffi::OsString;

use lexopt::{Arg, Parser};

use crate::cli::command::{Command, Flag, Takes};
use crate::cli::error::Usage;
use crate::cli::output::time::{DurationFault, milliseconds};
use crate::config::suggest::nearest;

/// What was asked for.
#[derive(Debug)]
pub enum Parsed {
    /// The help of the command at the end of this path.
    Help(Vec<&'static Command>),
    /// Run this.
    Run(Typed),
    /// The version line.
    Version,
}

/// A command with everything typed for it, checked against the table.
#[derive(Debug)]
pub struct Typed {
    /// From the root to the command.
    pub path: Vec<&'static Command>,
    /// Options in the order typed.
    pub options: Vec<TypedOption>,
    /// Positional arguments.
    pub arguments: Vec<String>,
}

/// One option as typed.
#[derive(Debug)]
pub struct TypedOption {
    /// Its row.
    pub flag: &'static Flag,
    /// Its value; empty for a switch.
    pub value: String,
    /// Whether it is a global option of the root rather than the command's own.
    pub global: bool,
}

/// Reads arguments (without the program's name) against the table under `root`.
///
/// # Errors
/// [`Usage`] with the complete text to print; nothing else was looked at before.
pub fn parse(
    root: &'static Command,
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<Parsed, Usage> {
    let mut typed = Typed {
        path: vec![root],
        options: Vec::new(),
        arguments: Vec::new(),
    };
    let mut parser = Parser::from_args(arguments);
    let mut asks_for_help = false;
    loop {
        if let Some(word) = dashed_value(&mut parser, &typed) {
            read_word(word, &mut typed)?;
            continue;
        }
        let Some(argument) = parser.next().map_err(|fault| unwanted(&fault))? else {
            return match asks_for_help {
                true => Ok(Parsed::Help(typed.path)),
                false => finish(typed),
            };
        };
        match argument {
            Arg::Short('h') | Arg::Long("help") => return Ok(Parsed::Help(typed.path)),
            Arg::Short('V') | Arg::Long("version") if typed.path.len() == 1 => {
                return Ok(Parsed::Version);
            }
            Arg::Short(letter) => {
                let found = find(&typed.path, |flag| flag.short == Some(letter));
                let (flag, global) =
                    found.ok_or_else(|| unmarked(&typed, &format!("-{letter}")))?;
                read_option(&mut parser, flag, global, &mut typed.options)?;
            }
            Arg::Long(name) => {
                let found = find(&typed.path, |flag| names(flag, name));
                let (flag, global) = found.ok_or_else(|| unmarked(&typed, &format!("--{name}")))?;
                read_option(&mut parser, flag, global, &mut typed.options)?;
            }
            Arg::Value(word) if word == "help" && is_group(&typed) => asks_for_help = true,
            Arg::Value(word) => read_word(word, &mut typed)?,
        }
    }
}

/// Whether the next word is a subcommand.
fn is_group(typed: &Typed) -> bool {
    let command = typed.path.last();
    command.is_some_and(|command| !command.children.is_empty()) && typed.arguments.is_empty()
}

/// The next argument when it stands where a positional one belongs and is too long for letters of options:
/// one public key in 64 starts with a dash.
fn dashed_value(parser: &mut Parser, typed: &Typed) -> Option<OsString> {
    const LETTERS: usize = 20;
    let wanted = typed.path.last()?.arguments.len() > typed.arguments.len();
    let mut rest = parser.try_raw_args()?;
    let word = rest.peek()?.to_str()?;
    let letters = word
        .strip_prefix('-')
        .filter(|rest| !rest.starts_with('-'))?;
    (wanted && letters.len() > LETTERS && !letters.contains('='))
        .then(|| rest.next())
        .flatten()
}

fn names(flag: &Flag, name: &str) -> bool {
    flag.long == name || flag.alias == Some(name)
}

/// The row of an option for the command reached so far: its own, a global one, or one of a subcommand still to come.
fn find(
    path: &[&'static Command],
    wanted: impl Fn(&Flag) -> bool,
) -> Option<(&'static Flag, bool)> {
    let root = *path.first()?;
    let command = *path.last()?;
    if path.len() > 1 {
        if let Some(flag) = command.own_flags().find(|flag| wanted(flag)) {
            return Some((flag, false));
        }
    }
    if let Some(flag) = root.own_flags().find(|flag| wanted(flag)) {
        return Some((flag, true));
    }
    descendant(command, &wanted).map(|flag| (flag, false))
}

fn descendant(command: &'static Command, wanted: &impl Fn(&Flag) -> bool) -> Option<&'static Flag> {
    command.children.iter().find_map(|child| {
        let own = child.own_flags().find(|flag| wanted(flag));
        own.or_else(|| descendant(child, wanted))
    })
}

/// Adds an option with the value or values that follow it.
fn read_option(
    parser: &mut Parser,
    flag: &'static Flag,
    global: bool,
    options: &mut Vec<TypedOption>,
) -> Result<(), Usage> {
    let mut push = |value: String| {
        options.push(TypedOption {
            flag,
            value,
            global,
        });
    };
    if flag.takes == Takes::Nothing {
        if parser.optional_value().is_some() {
            return Err(Usage::UnwantedValue(flag.long));
        }
        push(String::new());
        return Ok(());
    }
    if let Some(attached) = parser.optional_value() {
        push(checked(flag, text(attached)?)?);
        return Ok(());
    }
    let mut given = 0;
    while given == 0 || flag.many {
        let following = parser
            .try_raw_args()
            .and_then(|mut rest| rest.next_if(|next| !looks_like_option(next)));
        let Some(value) = following else { break };
        push(checked(flag, text(value)?)?);
        given += 1;
    }
    if given == 0 {
        return Err(Usage::MissingValue(flag.usage()));
    }
    Ok(())
}

/// `--anything` and `-h`; a single dash alone or before other text may well be a value (tokens start that way).
fn looks_like_option(word: &std::ffi::OsStr) -> bool {
    word == "-h" || word.as_encoded_bytes().starts_with(b"--")
}

/// A value that fits its option.
fn checked(flag: &'static Flag, value: String) -> Result<String, Usage> {
    let fits = match flag.takes {
        Takes::Choice(_, words) => words.contains(&value.as_str()),
        Takes::Milliseconds => milliseconds(&value).is_some_and(|milliseconds| milliseconds > 0),
        Takes::Port => value.trim().parse().is_ok_and(|port: u16| port > 0),
        Takes::Nothing | Takes::Text(_) => true,
    };
    match flag.takes {
        Takes::Text("duration") if value.trim().is_empty() => {
            Err(Usage::BadDuration(flag.long, DurationFault::Empty))
        }
        // A script's empty variable must not drop what the option was to restrict.
        _ if value.trim().is_empty() => Err(Usage::Empty(flag.long)),
        _ if fits => Ok(value),
        Takes::Choice(_, words) => Err(Usage::BadChoice(flag.long, words)),
        Takes::Port => Err(Usage::BadPort(flag.long)),
        _ => Err(Usage::BadMilliseconds(flag.usage(), value)),
    }
}

/// A word that is no option: a subcommand as long as none of this level's arguments could be meant, else an argument.
fn read_word(word: OsString, typed: &mut Typed) -> Result<(), Usage> {
    let word = text(word)?;
    let Some(command) = typed.path.last().copied() else {
        return Ok(());
    };
    if is_group(typed) {
        let Some(child) = command.child(&word) else {
            let visible = command.children.iter().map(|child| child.name);
            let near = nearest(&word, visible).map(str::to_owned);
            return Err(Usage::UnknownCommand(word, near));
        };
        typed.path.push(child);
        return Ok(());
    }
    typed.arguments.push(word);
    Ok(())
}

/// Checks what was typed against the command it ended up at.
fn finish(typed: Typed) -> Result<Parsed, Usage> {
    let Some(command) = typed.path.last().copied() else {
        return Ok(Parsed::Help(typed.path));
    };
    if command.handler.is_none() {
        return Ok(Parsed::Help(typed.path));
    }
    for option in typed.options.iter().filter(|option| !option.global) {
        if !command
            .own_flags()
            .any(|flag| flag.long == option.flag.long)
        {
            let name = format!("--{}", option.flag.long);
            return Err(unknown_option(&typed.path, &name));
        }
    }
    for flag in command.own_flags().filter(|flag| flag.required) {
        if !typed
            .options
            .iter()
            .any(|option| option.flag.long == flag.long)
        {
            return Err(Usage::MissingOption(flag.usage()));
        }
    }
    let given = typed.arguments.len();
    if let Some(missing) = command.arguments.get(given).filter(|next| next.required) {
        return Err(Usage::MissingArgument(missing.name));
    }
    let unbounded = command.arguments.last().is_some_and(|last| last.many);
    if given > command.arguments.len() && !unbounded {
        return Err(Usage::TooMany(command.name, command.arguments.len(), given));
    }
    Ok(Parsed::Run(typed))
}

/// An option that is unknown here; behind words of a command it may be meant for that.
fn unmarked(typed: &Typed, option: &str) -> Usage {
    let takes_command = |command: &&Command| command.arguments.last().is_some_and(|last| last.many);
    if typed.arguments.is_empty() || !typed.path.last().is_some_and(takes_command) {
        return unknown_option(&typed.path, option);
    }
    let names: Vec<&str> = typed.path.iter().map(|command| command.name).collect();
    let words = typed.arguments.join(" ");
    let line = format!("{} -- {words} {option}", names.join(" "));
    Usage::UnmarkedCommand(option.to_owned(), line)
}

fn unknown_option(path: &[&'static Command], typed: &str) -> Usage {
    let known: Vec<String> = path
        .iter()
        .rev()
        .take(1)
        .chain(path.first())
        .flat_map(|command| command.own_flags())
        .filter(|flag| !flag.hidden)
        .map(|flag| format!("--{}", flag.long))
        .collect();
    let near = nearest(typed, known.iter().map(String::as_str)).map(str::to_owned);
    Usage::UnknownOption(typed.to_owned(), near)
}

fn unwanted(fault: &lexopt::Error) -> Usage {
    match fault {
        lexopt::Error::UnexpectedValue { option, .. } => {
            Usage::Rule(format!("error: option '{option}' does not take a value"))
        }
        _ => Usage::NotText,
    }
}

fn text(word: OsString) -> Result<String, Usage> {
    word.into_string().map_err(|_| Usage::NotText)
}

#[cfg(test)]
mod tests;
