//! How a JSON5 text is written: indentation, line ends, quoting, and additions in the same manner.

use serde_json::Value;

use crate::config::scan::{Body, LINE_ENDS, Node, last_comment_end};

/// Indentation of a document that has none to follow.
const DEFAULT_INDENT: &str = "  ";

/// How the document is written, so that an addition looks like its surroundings.
pub struct Layout {
    unit: String,
    newline: &'static str,
    bare_keys: bool,
}

impl Layout {
    /// The layout of a document.
    pub fn of(text: &str, root: &Node) -> Self {
        let first = root.children().first();
        let unit = first
            .map(|child| indent_before(text, child.start))
            .filter(|unit| !unit.is_empty());
        Self {
            unit: unit.unwrap_or(DEFAULT_INDENT).to_owned(),
            newline: if text.contains("\r\n") { "\r\n" } else { "\n" },
            bare_keys: first.is_some_and(|child| child.bare),
        }
    }

    /// White space at the beginning of the line that holds `at`.
    pub fn line_indent(&self, text: &str, at: usize) -> String {
        let line = &text[line_start(text, at)..at];
        line.chars()
            .take_while(|&blank| matches!(blank, ' ' | '\t'))
            .collect()
    }

    /// The text with a member or item added at the end of `container`; `key` is ignored for lists.
    pub fn insert(&self, text: &str, container: &Node, key: &str, value: &Value) -> String {
        let outer = self.line_indent(text, container.start);
        let close = container.end - 1;
        let last = container.children().last();
        let indent = match container.children().first() {
            Some(first) if is_first_on_line(text, first.start) => {
                self.line_indent(text, first.start)
            }
            _ => format!("{outer}{}", self.unit),
        };
        let after = last.map_or(container.start + 1, |child| {
            child.comma.map_or(child.value.end, |comma| comma + 1)
        });
        let content_end = last_comment_end(text, after, close);
        let spread = last.is_none() || text[container.start..container.end].contains(LINE_ENDS);
        let mut entry = match container.body {
            Body::Object(_) => format!("{}: ", self.name(key)),
            _ => String::new(),
        };
        entry.push_str(&self.render(value, if spread { &indent } else { &outer }));
        if last.is_some_and(|child| child.comma.is_some()) {
            entry.push(',');
        }
        let mut addition = if spread {
            format!("{}{indent}{entry}", self.newline)
        } else {
            format!(" {entry}")
        };
        if spread && !text[content_end..close].contains(LINE_ENDS) {
            addition.push_str(&format!("{}{outer}", self.newline));
        }
        let comma = last
            .filter(|child| child.comma.is_none())
            .map(|child| child.value.end);
        match comma {
            Some(at) => [
                &text[..at],
                ",",
                &text[at..content_end],
                &addition,
                &text[content_end..],
            ]
            .concat(),
            None => replace(text, content_end, content_end, &addition),
        }
    }

    fn name(&self, key: &str) -> String {
        let mut letters = key.chars();
        let plain = letters
            .next()
            .is_some_and(|first| first == '_' || first == '$' || first.is_ascii_alphabetic())
            && letters
                .all(|letter| letter == '_' || letter == '$' || letter.is_ascii_alphanumeric());
        if self.bare_keys && plain {
            key.to_owned()
        } else {
            Value::from(key).to_string()
        }
    }

    /// The value as JSON, its further lines indented below `indent`.
    pub fn render(&self, value: &Value, indent: &str) -> String {
        let inner = format!("{indent}{}", self.unit);
        let entries: Vec<String> = match value {
            Value::Array(items) => items.iter().map(|item| self.render(item, &inner)).collect(),
            Value::Object(members) => members
                .iter()
                .map(|(name, member)| {
                    format!("{}: {}", self.name(name), self.render(member, &inner))
                })
                .collect(),
            scalar => return scalar.to_string(),
        };
        let (open, close) = if value.is_array() {
            ('[', ']')
        } else {
            ('{', '}')
        };
        if entries.is_empty() {
            return format!("{open}{close}");
        }
        let newline = self.newline;
        let body = entries.join(&format!(",{newline}{inner}"));
        format!("{open}{newline}{inner}{body}{newline}{indent}{close}")
    }
}

/// The first byte of the line that holds `at`.
pub fn line_start(text: &str, at: usize) -> usize {
    text[..at].rfind('\n').map_or(0, |newline| newline + 1)
}

/// The blanks between the beginning of the line and `at`; empty when something else stands there.
fn indent_before(text: &str, at: usize) -> &str {
    let line = &text[line_start(text, at)..at];
    if is_first_on_line(text, at) { line } else { "" }
}

/// Whether only blanks stand before `at` on its line; never so on the first line.
pub fn is_first_on_line(text: &str, at: usize) -> bool {
    let start = line_start(text, at);
    start > 0
        && text[start..at]
            .chars()
            .all(|blank| matches!(blank, ' ' | '\t'))
}

/// The text with one span exchanged.
pub fn replace(text: &str, start: usize, end: usize, with: &str) -> String {
    [&text[..start], with, &text[end..]].concat()
}
