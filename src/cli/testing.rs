//! Running one command line in a test, without a process.

use std::ffi::OsString;

use crate::cli::answer::Answer;
use crate::cli::error::CliError;
use crate::cli::invocation::Invocation;
use crate::cli::output::Style;
use crate::cli::parse::{Parsed, parse};
use crate::cli::table::ROOT;
use crate::config::testing::Home;

/// The answer of a line whose words are separated by blanks; `''` is an empty word.
pub fn run(home: &Home, line: &str) -> Result<Answer, CliError> {
    let words: Vec<&str> = line
        .split_whitespace()
        .map(|word| if word == "''" { "" } else { word })
        .collect();
    run_words(home, &words)
}

/// The answer of a command of these words.
pub fn run_words(home: &Home, words: &[&str]) -> Result<Answer, CliError> {
    let invocation = invocation(home, words)?;
    let handler = invocation.command().handler.unwrap();
    handler(&invocation)
}

/// The command of these words before it runs.
pub fn invocation(home: &Home, words: &[&str]) -> Result<Invocation, CliError> {
    let Parsed::Run(typed) = parse(&ROOT, words.iter().map(OsString::from))? else {
        panic!("{words:?} is no command to run");
    };
    let style = Style {
        color: false,
        width: 80,
    };
    Ok(Invocation::new(typed, style, home.environment.clone()))
}
