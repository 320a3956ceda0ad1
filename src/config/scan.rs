//! Where things stand in a JSON5 text: byte spans of members, values, commas and comments.
//!
//! The scanner reads only texts that the parser accepted; it understands just enough of them to edit
//! one place and leave every other byte alone. It gives `None` instead of guessing.

/// What ends a line, and with it a line comment.
pub const LINE_ENDS: [char; 4] = ['\n', '\r', '\u{2028}', '\u{2029}'];

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
    /// What is inside.
    pub body: Body,
}

/// What a value is, as far as an edit cares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// `[…]`.
    Array(Vec<Child>),
    /// `{…}`.
    Object(Vec<Child>),
    /// Anything else.
    Scalar,
}

/// A member of an object or an item of an array.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Child {
    /// Name of a member, unescaped; empty for items.
    pub key: String,
    /// Whether the name was written without quotes.
    pub bare: bool,
    /// First byte of the name, or of the item.
    pub start: usize,
    /// The value.
    pub value: Node,
    /// The comma after the value.
    pub comma: Option<usize>,
}

impl Node {
    /// The members or items; none for a scalar.
    pub fn children(&self) -> &[Child] {
        match &self.body {
            Body::Array(children) | Body::Object(children) => children,
            Body::Scalar => &[],
        }
    }
}

/// The root value of a text that the parser accepted.
pub fn scan(text: &str) -> Option<Node> {
    let start = skip_blank(text, 0);
    value(text, start)
}

/// The first position at or after `at` that is neither white space nor inside a comment.
pub fn skip_blank(text: &str, mut at: usize) -> usize {
    while let Some(rest) = text.get(at..) {
        let comment = comment_length(rest);
        let Some(first) = rest.chars().next() else {
            break;
        };
        if comment > 0 {
            at += comment;
        } else if first.is_whitespace() || first == '\u{feff}' {
            at += first.len_utf8();
        } else {
            break;
        }
    }
    at
}

/// Where the last comment between two positions ends; `from` when there is none. Between them stand
/// only white space, comments and commas.
pub fn last_comment_end(text: &str, from: usize, to: usize) -> usize {
    let mut found = from;
    let mut at = from;
    while at < to {
        let comment = comment_length(&text[at..]);
        if comment > 0 {
            at += comment;
            found = at;
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    found
}

/// Bytes of the comment the text starts with, without the line's end; 0 when it starts with none.
fn comment_length(text: &str) -> usize {
    if text.starts_with("//") {
        text.find(LINE_ENDS).unwrap_or(text.len())
    } else if let Some(inside) = text.strip_prefix("/*") {
        inside.find("*/").map_or(text.len(), |at| at + 4)
    } else {
        0
    }
}

fn value(text: &str, start: usize) -> Option<Node> {
    let (end, body) = match text.as_bytes().get(start)? {
        b'{' => {
            let (children, end) = children(text, start, b'}')?;
            (end, Body::Object(children))
        }
        b'[' => {
            let (children, end) = children(text, start, b']')?;
            (end, Body::Array(children))
        }
        b'"' | b'\'' => (string_end(text, start)?, Body::Scalar),
        _ => (word_end(text, start)?, Body::Scalar),
    };
    Some(Node { start, end, body })
}

/// The children between brackets, and one past the closing one.
fn children(text: &str, open: usize, close: u8) -> Option<(Vec<Child>, usize)> {
    let mut children = Vec::new();
    let mut at = skip_blank(text, open + 1);
    loop {
        if *text.as_bytes().get(at)? == close {
            return Some((children, at + 1));
        }
        let mut child = if close == b'}' {
            member(text, at)?
        } else {
            item(text, at)?
        };
        at = skip_blank(text, child.value.end);
        if text.as_bytes().get(at) == Some(&b',') {
            child.comma = Some(at);
            at = skip_blank(text, at + 1);
        } else if text.as_bytes().get(at) != Some(&close) {
            return None;
        }
        children.push(child);
    }
}

fn item(text: &str, start: usize) -> Option<Child> {
    Some(Child {
        key: String::new(),
        bare: false,
        start,
        value: value(text, start)?,
        comma: None,
    })
}

fn member(text: &str, start: usize) -> Option<Child> {
    let bare = !matches!(text.as_bytes().get(start)?, b'"' | b'\'');
    let end = if bare {
        word_end(text, start)?
    } else {
        string_end(text, start)?
    };
    let colon = skip_blank(text, end);
    if text.as_bytes().get(colon) != Some(&b':') {
        return None;
    }
    Some(Child {
        key: unescape(&text[start..end])?,
        bare,
        start,
        value: value(text, skip_blank(text, colon + 1))?,
        comma: None,
    })
}

/// The name as the parser reads it.
fn unescape(written: &str) -> Option<String> {
    let document: serde_json::Value = json5::from_str(&format!("{{{written}:0}}")).ok()?;
    document.as_object()?.keys().next().cloned()
}

fn string_end(text: &str, start: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let quote = *bytes.get(start)?;
    let mut at = start + 1;
    loop {
        match *bytes.get(at)? {
            b'\\' => at += 2,
            byte if byte == quote => return Some(at + 1),
            _ => at += 1,
        }
    }
}

/// The end of a number, a literal or an unquoted name.
fn word_end(text: &str, start: usize) -> Option<usize> {
    let rest = text.get(start..)?;
    let ends = |found: char| found.is_whitespace() || "{}[],:/'\"\u{feff}".contains(found);
    let length = rest.find(ends).unwrap_or(rest.len());
    (length > 0).then_some(start + length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_spans_between_comments() {
        let text = "// h\n{ a /*k*/ : 'x\\'}' , \"b\\u0063\": [1, /*]*/ {}, ], \u{feff} ü: -0x1F // end\n}";
        let root = scan(text).unwrap();
        let spans: Vec<_> = root
            .children()
            .iter()
            .map(|child| {
                (
                    child.key.as_str(),
                    &text[child.value.start..child.value.end],
                    child.comma.is_some(),
                )
            })
            .collect();
        assert_eq!(
            spans,
            [
                ("a", "'x\\'}'", true),
                ("bc", "[1, /*]*/ {}, ]", true),
                ("ü", "-0x1F", false)
            ]
        );
        assert_eq!(root.children()[1].value.children().len(), 2);
        assert_eq!(&text[root.end..], "");
    }

    #[test]
    fn never_guesses() {
        for text in [
            "",
            "{",
            "{a}",
            "{a:}",
            "[1 2]",
            "{'a",
            "[1",
            "{a:1 b:2}",
            "/*",
        ] {
            assert_eq!(scan(text), None, "{text}");
        }
    }
}
