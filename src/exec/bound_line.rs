//! One command line as an approval that is to stick is bound to it: program, words, working directory,
//! environment overrides and the content of its script (node-host specification, section 3.10).
//!
//! OpenClaw's own rules of this kind know the words alone; they count where no script is read.

use std::path::Path;

use super::document::Entry;
use super::operand;
use super::which;
use super::wrapper::unwrap;
use crate::identity::sha256_hex;
use crate::protocol::command_text::format_command;

/// What a command line is bound to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BoundLine {
    /// SHA-256 over everything it is bound to, in hex; `None` when that cannot be said for certain.
    digest: Option<String>,
    /// It reads a script, or may read one: the words alone do not say what it runs.
    reads_script: bool,
}

impl BoundLine {
    /// Looks at what a command would run now. `path`: the search path; `overrides`: names and values, sorted.
    pub fn look<'a>(
        argv: &[String],
        cwd: &Path,
        path: &str,
        home: Option<&Path>,
        overrides: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Self {
        let unwrapped = unwrap(argv);
        let typed = argv.first().map_or("", String::as_str);
        let program = which::resolve(typed, cwd, path, home)
            .ok()
            .and_then(|program| program.canonicalize().ok());
        let (Ok(script), Some(program), Ok(cwd)) =
            (operand::find(&unwrapped, cwd), program, cwd.canonicalize())
        else {
            return Self {
                digest: None,
                reads_script: true,
            };
        };
        let mut bound = vec![
            program.display().to_string(),
            format_command(argv),
            cwd.display().to_string(),
            script
                .as_ref()
                .map_or_else(String::new, |script| script.sha256.clone()),
        ];
        bound.extend(overrides.map(|(name, value)| format!("{name}={value}")));
        Self {
            digest: Some(sha256_hex(bound.join("\0").as_bytes())),
            reads_script: script.is_some(),
        }
    }

    /// The pattern of a rule for exactly this line.
    pub fn pattern(&self) -> Option<String> {
        self.digest.as_deref().map(Entry::line_pattern)
    }

    /// Whether a rule was made by an approval of exactly this line. `text`: its words, where they may be enough.
    pub fn is_trusted_by(&self, entry: &Entry, text: Option<&str>) -> bool {
        let bound = entry.is_durable() && self.pattern().as_deref() == Some(entry.pattern.trim());
        bound || (!self.reads_script && text.is_some_and(|text| entry.trusts_text(text)))
    }
}
