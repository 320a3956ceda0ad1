//! How answers look: tables, ages, JSON, colour, and text from the network made safe for a terminal.

use std::io::IsTerminal;

use serde_json::Value;

pub mod grid;
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
    /// The style for this process's stdout; `variable` reads the environment.
    pub fn detect<'a>(no_color: bool, variable: impl Fn(&str) -> Option<&'a str>) -> Style {
        let terminal = std::io::stdout().is_terminal();
        let columns = variable("COLUMNS").and_then(|text| text.trim().parse().ok());
        Style {
            color: !no_color && color_wanted(&variable, terminal),
            width: columns
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

/// `NO_COLOR` (any text) forbids, `FORCE_COLOR` (any text but `0`) forces, otherwise a terminal decides.
fn color_wanted<'a>(variable: &impl Fn(&str) -> Option<&'a str>, terminal: bool) -> bool {
    if variable("NO_COLOR").is_some_and(|text| !text.is_empty()) {
        return false;
    }
    if variable("FORCE_COLOR").is_some_and(|text| !text.is_empty() && text != "0") {
        return true;
    }
    terminal
}

fn terminal_width() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

/// JSON with two spaces per level, without a final newline.
pub fn pretty(document: &Value) -> String {
    // A `Value` has string keys only, so writing it cannot fail.
    serde_json::to_string_pretty(document).unwrap_or_default()
}

/// A path with the home directory shortened to `~`, for human text only.
pub fn shortened(path: &std::path::Path, home: &std::path::Path) -> String {
    match path.strip_prefix(home) {
        Ok(rest) if rest.as_os_str().is_empty() => "~".to_owned(),
        Ok(rest) => format!("~/{}", rest.display()),
        Err(_) => path.display().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

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
            let variable = |name: &str| match name {
                "NO_COLOR" => no_color,
                "FORCE_COLOR" => force,
                _ => None,
            };
            assert_eq!(
                color_wanted(&variable, terminal),
                expected,
                "{no_color:?} {force:?} {terminal}"
            );
        }
    }

    #[test]
    fn columns_variable_sets_the_width() {
        let style = Style::detect(true, |name| (name == "COLUMNS").then_some("77"));
        assert_eq!((style.width, style.color), (77, false));
        let style = Style::detect(true, |name| (name == "COLUMNS").then_some("3"));
        assert_eq!(style.width, MINIMUM_WIDTH);
    }

    #[test]
    fn paths_are_shortened_under_home_only() {
        let home = Path::new("/home/u");
        assert_eq!(
            shortened(Path::new("/home/u/.openclaw/x"), home),
            "~/.openclaw/x"
        );
        assert_eq!(shortened(Path::new("/home/u"), home), "~");
        assert_eq!(shortened(Path::new("/srv/x"), home), "/srv/x");
    }
}
