//! How answers look: tables, ages, JSON, colour, and text from the network made safe for a terminal.

use std::io::IsTerminal;

use log::LevelFilter;
use serde_json::Value;

use crate::config::Environment;
use crate::protocol::hidden::escaped;

pub mod grid;
pub mod qr;
pub mod text;
pub mod time;

/// Width assumed when neither `COLUMNS` nor a terminal tells one.
const DEFAULT_WIDTH: usize = 120;
/// Narrowest width taken seriously; less is a broken `COLUMNS`.
const MINIMUM_WIDTH: usize = 20;

/// What the terminal can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// Whether ANSI colour may be written to stdout.
    pub color: bool,
    /// Columns available for tables.
    pub width: usize,
}

impl Style {
    /// The style for this process's stdout.
    pub fn detect(no_color: bool, environment: &Environment) -> Style {
        let terminal = std::io::stdout().is_terminal();
        Style {
            color: !no_color && color_wanted(environment, terminal),
            width: environment
                .columns()
                .or_else(terminal_width)
                .unwrap_or(DEFAULT_WIDTH)
                .max(MINIMUM_WIDTH),
        }
    }

    /// A section heading on its own line.
    pub fn heading(&self, text: &str) -> String {
        if self.color {
            format!("\u{1b}[1m{text}\u{1b}[0m\n")
        } else {
            format!("{text}\n")
        }
    }
}

/// `NO_COLOR` forbids, `FORCE_COLOR` forces, otherwise a terminal decides.
fn color_wanted(environment: &Environment, terminal: bool) -> bool {
    !environment.no_color() && (environment.force_color() || terminal)
}

fn terminal_width() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

/// JSON with two spaces per level, without a final newline; characters that a terminal would obey or hide
/// are escapes.
pub fn pretty(document: &Value) -> String {
    // A `Value` has string keys only, so writing it cannot fail.
    escaped(serde_json::to_string_pretty(document).unwrap_or_default())
}

/// The same on one line.
pub fn line(document: &Value) -> String {
    escaped(document.to_string())
}

/// Log lines of this program go to stderr from here on. Of the crates that it uses only warnings do: below
/// them some show whole frames, credentials included.
pub fn log_to_stderr(level: LevelFilter) {
    // Somebody who set a logger before keeps it.
    let _ = simple_logger::SimpleLogger::new()
        .with_level(level.min(LevelFilter::Warn))
        .with_module_level(env!("CARGO_CRATE_NAME"), level)
        .init();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn color_rules() {
        for (no_color, force, terminal, expected) in [
            (None, None, true, true),
            (None, None, false, false),
            (Some("1"), None, true, false),
            (Some(""), None, true, true),
            (None, Some("1"), false, true),
            (None, Some("0"), false, false),
            (None, Some("0"), true, true),
            (Some("x"), Some("1"), true, false),
        ] {
            let set =
                |name: &'static str, value: Option<&'static str>| value.map(|value| (name, value));
            let pairs = [set("NO_COLOR", no_color), set("FORCE_COLOR", force)];
            let environment = Environment::from_pairs(pairs.into_iter().flatten());
            assert_eq!(
                color_wanted(&environment, terminal),
                expected,
                "{no_color:?} {force:?} {terminal}"
            );
        }
    }

    #[test]
    fn columns_variable_sets_the_width() {
        for (columns, expected) in [("77", 77), ("3", MINIMUM_WIDTH)] {
            let environment = Environment::from_pairs([("COLUMNS", columns)]);
            let style = Style::detect(true, &environment);
            assert_eq!((style.width, style.color), (expected, false));
        }
    }
}
