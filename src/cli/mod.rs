//! What a person types and reads: the command table, one file per command group, selectors and output.
//!
//! Never talks to sockets itself (that is `client`) and knows no file formats (`store`, `config`). Handlers take an
//! [`invocation::Invocation`] and return one [`answer::Answer`]; only this file writes to stdout and stderr.

use std::ffi::OsString;
use std::io::{self, ErrorKind, Write};

use serde_json::Value;

use crate::cli::answer::{Answer, FAILURE, SUCCESS};
use crate::cli::error::CliError;
use crate::cli::invocation::Invocation;
use crate::cli::output::Style;
use crate::cli::output::text::plain_lines;
use crate::cli::parse::Parsed;
use crate::config::Environment;

pub mod administration;
pub mod advertise;
pub mod advice;
pub mod answer;
pub mod approvals;
pub mod audit;
pub mod command;
pub mod completion;
pub mod config;
pub mod config_dry_run;
pub mod config_request;
pub mod config_set;
pub mod devices;
pub mod discover;
pub mod dns;
pub mod doctor;
pub mod error;
pub mod gateway_failure;
pub mod gateway_limits;
pub mod gateway_probe;
pub mod gateway_query;
pub mod gateway_run;
pub mod gateway_status;
pub mod gateway_tls;
pub mod generated;
pub mod help;
pub mod invocation;
pub mod manual;
pub mod node;
pub mod node_join;
pub mod node_setup;
pub mod nodes;
pub mod output;
pub mod overview;
pub mod pairing;
pub mod parse;
pub mod probe;
pub mod program;
pub mod qr;
pub mod reach;
pub mod row;
pub mod secret_print;
pub mod selectors;
pub mod service;
pub mod stay;
pub mod stream;
pub mod table;
#[cfg(test)]
mod testing;
pub mod usage;
pub mod walk;
pub mod watch;

/// Options with which a command stays and writes as things happen.
const STAYING: [&str; 2] = ["follow", "watch"];

/// The version line, without a line break.
pub fn version() -> String {
    format!("OpenClaw {}", env!("CARGO_PKG_VERSION"))
}

/// Runs one command line (without the program's name) and returns the exit code.
pub fn run(arguments: impl IntoIterator<Item = OsString>, environment: Environment) -> u8 {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    // What follows `--` belongs to somebody else.
    let own = arguments.iter().take_while(|argument| *argument != "--");
    let own: Vec<&OsString> = own.collect();
    let has = |name: &str| own.iter().any(|argument| *argument == name);
    let stays = STAYING.iter().any(|name| has(&format!("--{name}")));
    let form = Form::of(has("--json"), stays);
    let outcome = match parse::parse(&table::ROOT, arguments) {
        Ok(Parsed::Help(path)) => print(&help::render(&path)),
        Ok(Parsed::Version) => print(&format!("{}\n", version())),
        Ok(Parsed::Run(typed)) => {
            let no_color = invocation::global(&typed, "no-color").is_some();
            let style = Style::detect(no_color, &environment);
            execute(&Invocation::new(typed, style, environment))
        }
        Err(usage) => report(&CliError::Usage(usage), "", form, str::to_owned),
    };
    exit_code(outcome)
}

/// Runs the handler of a command and prints what it answered.
fn execute(invocation: &Invocation) -> io::Result<u8> {
    let Some(handler) = invocation.command().handler else {
        return Ok(FAILURE);
    };
    let stays = STAYING.iter().any(|name| invocation.has(name));
    let form = Form::of(invocation.json(), stays);
    match reach::has_its_gateway_here(invocation).and_then(|()| handler(invocation)) {
        Ok(mut answer) => {
            for note in &mut answer.notes {
                *note = invocation.addressed(note);
            }
            deliver(&answer, form)
        }
        Err(error) => {
            let prefix = match invocation.command().failure {
                Some(prefix) => prefix.to_owned(),
                None => format!("{} failed: ", invocation.name()),
            };
            report(&error, &prefix, form, |advice| invocation.addressed(advice))
        }
    }
}

/// What stdout is to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// One JSON document over several lines.
    Document,
    /// One JSON document a line, as many as there are.
    Lines,
    /// Text for people.
    Text,
}

impl Form {
    fn of(json: bool, stays: bool) -> Form {
        match (json, stays) {
            (false, _) => Form::Text,
            (true, false) => Form::Document,
            (true, true) => Form::Lines,
        }
    }

    /// The document in this form, without a final newline; nothing where people read.
    fn rendered(self, document: &Value) -> Option<String> {
        match self {
            Form::Document => Some(output::pretty(document)),
            Form::Lines => Some(output::line(document)),
            Form::Text => None,
        }
    }
}

/// Prints an answer: for machines the document alone, else notes to stderr and the text to stdout.
fn deliver(answer: &Answer, form: Form) -> io::Result<u8> {
    for note in answer.notes.iter().filter(|_| form == Form::Text) {
        complain(note)?;
    }
    let document = answer.document.as_ref();
    match document.and_then(|document| form.rendered(document)) {
        Some(document) => print(&format!("{document}\n"))?,
        _ if answer.text.is_empty() => SUCCESS,
        _ if answer.text.ends_with('\n') => print(&answer.text)?,
        _ => print(&format!("{}\n", answer.text))?,
    };
    Ok(answer.exit)
}

/// Prints a failure: text to stderr, for machines also the error document to stdout. `addressed` makes the commands
/// in it those of this command's profile; what a gateway says stays as it is.
fn report(
    error: &CliError,
    prefix: &str,
    form: Form,
    addressed: impl Fn(&str) -> String,
) -> io::Result<u8> {
    let prefix = if error.stands_alone() { "" } else { prefix };
    let mut document = error.document();
    let mut text = format!("{prefix}{error}");
    if !matches!(error, CliError::Client(_)) {
        text = addressed(&text);
        let message = document["error"]["message"].as_str().map(&addressed);
        document["error"]["message"] = message.into();
    }
    complain(&text)?;
    if let Some(mut hint) = error.hint() {
        if !error.is_elsewhere() {
            hint = addressed(&hint);
        }
        complain(&hint)?;
        document["error"]["hint"] = hint.into();
    }
    if let Some(document) = form.rendered(&document) {
        print(&format!("{document}\n"))?;
    }
    Ok(error.exit())
}

fn print(text: &str) -> io::Result<u8> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(SUCCESS)
}

/// Part of the result of a command that writes while it runs, at once on stdout.
pub(crate) fn emit(text: &str) -> io::Result<()> {
    print(text).map(drop)
}

/// One message on stderr, safe for a terminal whoever worded it; a reader that went away is no failure of
/// the command.
pub(crate) fn complain(text: &str) -> io::Result<()> {
    match writeln!(io::stderr().lock(), "{}", plain_lines(text)) {
        Err(fault) if fault.kind() != ErrorKind::BrokenPipe => Err(fault),
        _ => Ok(()),
    }
}

/// A question on stderr, made safe like every message; the answer stands on the same line.
pub(crate) fn prompt(text: &str) -> io::Result<()> {
    let mut out = io::stderr().lock();
    out.write_all(plain_lines(text).as_bytes())?;
    out.flush()
}

/// The exit code; a reader that closed the pipe had what it wanted.
fn exit_code(outcome: io::Result<u8>) -> u8 {
    match outcome {
        Ok(code) => code,
        Err(fault) if fault.kind() == ErrorKind::BrokenPipe => SUCCESS,
        Err(fault) => {
            // Nothing is left to do about a stderr that takes nothing either.
            let _ = complain(&format!("cannot write the result: {fault}"));
            FAILURE
        }
    }
}
