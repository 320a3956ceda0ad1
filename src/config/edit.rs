//! Editing one place of a JSON5 text: comments, key order, `${NAME}` and every other byte stay.
//!
//! Pure text in, text out. Whether the result is a valid configuration is decided elsewhere.

use serde_json::Value;

use crate::config::error::ConfigError;
use crate::config::path::{ConfigPath, index};
use crate::config::scan::{Body, Child, Node, last_comment_end, scan};
use crate::config::source;

/// Indentation of a document that has none to follow.
const DEFAULT_INDENT: &str = "  ";

/// The text with `path` set to `value`: replaced in place, or added at the end of the nearest object
/// that exists, with the objects in between. A blank text counts as `{}`.
///
/// # Errors
/// [`ConfigError::Unreadable`] when the text is no JSON5 object, [`ConfigError::Through`] when the
/// path leads through a value that is neither object nor list, [`ConfigError::BeyondEnd`] when it
/// leaves a gap in a list.
pub fn set(text: &str, path: &ConfigPath, value: &Value) -> Result<String, ConfigError> {
    let text = if text.trim().is_empty() { "{}\n" } else { text };
    let root = root(text)?;
    let style = Style::of(text, &root);
    let mut node = &root;
    let segments = path.segments();
    for (at, segment) in segments.iter().enumerate() {
        let here = || segments[..at].join(".");
        let child = match &node.body {
            Body::Object(children) => children.iter().rfind(|child| child.key == *segment),
            Body::Array(children) => {
                let place = index(segment).filter(|&place| place <= children.len());
                let Some(place) = place else {
                    return Err(ConfigError::BeyondEnd {
                        path: here(),
                        length: children.len(),
                    });
                };
                children.get(place)
            }
            Body::Scalar => return Err(ConfigError::Through(here())),
        };
        match child {
            Some(child) => node = &child.value,
            None => {
                return Ok(style.insert(text, node, segment, &nested(&segments[at + 1..], value)));
            }
        }
    }
    let rendered = style.render(value, &style.line_indent(text, node.start));
    Ok(replace(text, node.start, node.end, &rendered))
}

/// The text without `path`, and without the objects that this leaves empty; `None` when it has none.
///
/// # Errors
/// [`ConfigError::Unreadable`] when the text is no JSON5 object.
pub fn unset(text: &str, path: &ConfigPath) -> Result<Option<String>, ConfigError> {
    let mut current = text.to_owned();
    let mut removed = false;
    // A name that stands twice in an object is removed twice.
    while !current.trim().is_empty() {
        let root = root(&current)?;
        let Some(shorter) = remove(&current, &root, path.segments()) else {
            break;
        };
        current = shorter;
        removed = true;
        if path
            .segments()
            .last()
            .is_some_and(|last| index(last).is_some())
        {
            break;
        }
    }
    Ok(removed.then_some(current))
}

fn root(text: &str) -> Result<Node, ConfigError> {
    source::parse(text).map_err(ConfigError::Unreadable)?;
    scan(text).ok_or_else(|| {
        ConfigError::Unreadable(crate::config::error::Issue::root(
            "cannot be edited in place",
        ))
    })
}

/// `value` inside the containers that the remaining segments name.
fn nested(segments: &[String], value: &Value) -> Value {
    segments.iter().rev().fold(value.clone(), |inner, segment| {
        if index(segment) == Some(0) {
            Value::Array(vec![inner])
        } else {
            Value::Object([(segment.clone(), inner)].into_iter().collect())
        }
    })
}

fn replace(text: &str, start: usize, end: usize, with: &str) -> String {
    [&text[..start], with, &text[end..]].concat()
}

/// How the document is written, so that an addition looks like its surroundings.
struct Style {
    unit: String,
    newline: &'static str,
    bare_keys: bool,
}

impl Style {
    fn of(text: &str, root: &Node) -> Self {
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
    fn line_indent(&self, text: &str, at: usize) -> String {
        let line = &text[line_start(text, at)..at];
        line.chars()
            .take_while(|&blank| matches!(blank, ' ' | '\t'))
            .collect()
    }

    fn insert(&self, text: &str, container: &Node, key: &str, value: &Value) -> String {
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
        let spread = last.is_none() || text[container.start..container.end].contains(['\n', '\r']);
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
        if spread && !text[content_end..close].contains(['\n', '\r']) {
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
    fn render(&self, value: &Value, indent: &str) -> String {
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

fn remove(text: &str, root: &Node, segments: &[String]) -> Option<String> {
    let mut chain: Vec<(&Node, usize)> = Vec::new();
    let mut node = root;
    for segment in segments {
        let place = match &node.body {
            Body::Object(children) => children.iter().rposition(|child| child.key == *segment)?,
            Body::Array(children) => index(segment).filter(|&place| place < children.len())?,
            Body::Scalar => return None,
        };
        chain.push((node, place));
        node = &node.children()[place].value;
    }
    let mut target = chain.pop()?;
    while let Some(&(outer, place)) = chain.last() {
        let inside_object = matches!(outer.body, Body::Object(_));
        if !inside_object || !only_holds(text, target.0, target.1) {
            break;
        }
        target = (outer, place);
        chain.pop();
    }
    Some(cut(text, target.0, target.1))
}

/// Whether an object holds this member and nothing else, not even a comment.
fn only_holds(text: &str, container: &Node, place: usize) -> bool {
    let Body::Object(children) = &container.body else {
        return false;
    };
    let child = &children[place];
    let blank = |from: usize, to: usize| {
        text[from..to]
            .chars()
            .all(|found| found.is_whitespace() || found == ',')
    };
    children.len() == 1
        && blank(container.start + 1, child.start)
        && blank(child.value.end, container.end - 1)
}

/// The text without one child, its comma, and its line when nothing else is on it.
fn cut(text: &str, container: &Node, place: usize) -> String {
    let children = container.children();
    let child = &children[place];
    let Some(comma) = child.comma else {
        return cut_last(
            text,
            place.checked_sub(1).map(|before| &children[before]),
            child,
        );
    };
    let (start, mut end) = (child.start, comma + 1);
    if is_first_on_line(text, start) {
        let (start, end) = whole_lines(text, start, end);
        return replace(text, start, end, "");
    }
    end += text[end..].len() - text[end..].trim_start_matches([' ', '\t']).len();
    replace(text, start, end, "")
}

/// A last child without a comma takes the comma before it along.
fn cut_last(text: &str, before: Option<&Child>, child: &Child) -> String {
    let (start, end) = (child.start, child.value.end);
    let comma = before.and_then(|before| before.comma);
    match comma {
        Some(comma) if text[comma + 1..start].trim().is_empty() => replace(text, comma, end, ""),
        _ => {
            let (start, end) = if is_first_on_line(text, start) {
                whole_lines(text, start, end)
            } else {
                (start, end)
            };
            let without = replace(text, start, end, "");
            match comma {
                Some(comma) => replace(&without, comma, comma + 1, ""),
                None => without,
            }
        }
    }
}

/// Widens a span to whole lines when only blanks surround it on them.
fn whole_lines(text: &str, start: usize, end: usize) -> (usize, usize) {
    let rest = &text[end..];
    let after = rest.trim_start_matches([' ', '\t']);
    let newline = ["\r\n", "\n"]
        .into_iter()
        .find(|newline| after.starts_with(newline));
    match newline {
        Some(newline) => (
            line_start(text, start),
            text.len() - after.len() + newline.len(),
        ),
        None => (start, end),
    }
}

fn line_start(text: &str, at: usize) -> usize {
    text[..at].rfind('\n').map_or(0, |newline| newline + 1)
}

/// The blanks between the beginning of the line and `at`; empty when something else stands there.
fn indent_before(text: &str, at: usize) -> &str {
    let line = &text[line_start(text, at)..at];
    if is_first_on_line(text, at) { line } else { "" }
}

fn is_first_on_line(text: &str, at: usize) -> bool {
    let start = line_start(text, at);
    start > 0
        && text[start..at]
            .chars()
            .all(|blank| matches!(blank, ' ' | '\t'))
}

#[cfg(test)]
mod tests {
    use proptest::collection::{btree_map, vec};
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn path(text: &str) -> ConfigPath {
        ConfigPath::parse(text).unwrap()
    }

    #[test]
    fn set_changes_one_place() {
        let cases = [
            (
                "",
                "gateway.port",
                json!(1),
                "{\n  \"gateway\": {\n    \"port\": 1\n  }\n}\n",
            ),
            ("{}", "a", json!("x"), "{\n  \"a\": \"x\"\n}"),
            ("{a:1}", "a", json!(2), "{a:2}"),
            ("{a:1}", "b", json!(2), "{a:1, b: 2}"),
            ("{a:1,}", "b", json!(2), "{a:1, b: 2,}"),
            (
                "{\"a\": 1 /* x */}",
                "b",
                json!(2),
                "{\"a\": 1, /* x */ \"b\": 2}",
            ),
            (
                "{\n  a: 1 // one\n}",
                "b",
                json!(2),
                "{\n  a: 1, // one\n  b: 2\n}",
            ),
            (
                "{\n\ta: 1, // one\n\t// end\n}",
                "b",
                json!({"c": []}),
                "{\n\ta: 1, // one\n\t// end\n\tb: {\n\t\tc: []\n\t},\n}",
            ),
            (
                "{\r\n  a: 1\r\n}\r\n",
                "b-c",
                json!(2),
                "{\r\n  a: 1,\r\n  \"b-c\": 2\r\n}\r\n",
            ),
            ("{ // only\n}", "a", json!(1), "{ // only\n  \"a\": 1\n}"),
            (
                "{\n    g: {\n        a: '${X}', /* keep */\n    },\n}",
                "g.b",
                json!(true),
                "{\n    g: {\n        a: '${X}', /* keep */\n        b: true,\n    },\n}",
            ),
            (
                "{a: {}}",
                "a.b.c",
                json!(1),
                "{a: {\n  b: {\n    c: 1\n  }\n}}",
            ),
            ("{a: [1, 2]}", "a[2]", json!(3), "{a: [1, 2, 3]}"),
            ("{a: [1, 2]}", "a[0]", json!("z"), "{a: [\"z\", 2]}"),
            ("{a: 1, a: 2}", "a", json!(3), "{a: 1, a: 3}"),
            (
                "{b: 1}",
                "l[0].id",
                json!(3),
                "{b: 1, l: [\n  {\n    id: 3\n  }\n]}",
            ),
            (
                "// head\n{a: /* v */ 'old' /* w */, }// tail",
                "a",
                json!("new"),
                "// head\n{a: /* v */ \"new\" /* w */, }// tail",
            ),
        ];
        for (text, at, value, expected) in cases {
            assert_eq!(
                set(text, &path(at), &value).unwrap(),
                expected,
                "{text} {at}"
            );
        }
    }

    #[test]
    fn set_refuses_paths_that_lead_nowhere() {
        let cases = [
            ("{a: 1}", "a.b", "a is neither an object nor a list"),
            ("{a: null}", "a.b", "a is neither an object nor a list"),
            ("{a: [1]}", "a[2]", "a has 1 items: the next index is 1"),
            ("{a: [1]}", "a.b", "a has 1 items: the next index is 1"),
            (
                "{a: ",
                "a",
                "<root>: JSON5 parse failed: EOF parsing value at 1:5",
            ),
        ];
        for (text, at, expected) in cases {
            assert_eq!(
                set(text, &path(at), &json!(1)).unwrap_err().to_string(),
                expected
            );
        }
    }

    #[test]
    fn unset_removes_lines_commas_and_emptied_parents() {
        let cases = [
            ("{a: 1}", "a", Some("{}")),
            ("{a: 1, b: 2, c: 3}", "b", Some("{a: 1, c: 3}")),
            ("{a: 1, b: 2}", "b", Some("{a: 1}")),
            ("{a: 1, b: 2}", "a", Some("{b: 2}")),
            ("{\n  a: 1,\n  b: 2\n}", "b", Some("{\n  a: 1\n}")),
            ("{\n  a: 1,\n  b: 2,\n}", "b", Some("{\n  a: 1,\n}")),
            ("{\n  a: 1,\n  b: 2,\n}", "a", Some("{\n  b: 2,\n}")),
            (
                "{\n  a: 1, // one\n  b: 2 // two\n}",
                "b",
                Some("{\n  a: 1 // one\n   // two\n}"),
            ),
            (
                "{\n  a: 1,\n  // about b\n  b: 2\n}",
                "b",
                Some("{\n  a: 1\n  // about b\n}"),
            ),
            ("{g: {x: {y: 1}}, h: 2}", "g.x.y", Some("{h: 2}")),
            (
                "{g: {x: {y: 1} /* why */}, h: 2}",
                "g.x.y",
                Some("{g: { /* why */}, h: 2}"),
            ),
            ("{g: [1]}", "g[0]", Some("{g: []}")),
            ("{g: [{a: 1}, 2]}", "g[0].a", Some("{g: [{}, 2]}")),
            ("{a: 1, b: 3, a: 2}", "a", Some("{b: 3}")),
            ("{a: 1}", "b", None),
            ("{a: 1}", "a.b", None),
            ("", "a", None),
        ];
        for (text, at, expected) in cases {
            assert_eq!(
                unset(text, &path(at)).unwrap().as_deref(),
                expected,
                "{text} {at}"
            );
        }
    }

    /// One way of writing a document; comments carry numbers so that a lost one is seen.
    struct Writer {
        choices: Vec<u8>,
        at: usize,
        comments: usize,
    }

    impl Writer {
        fn choose(&mut self) -> u8 {
            self.at += 1;
            self.choices
                .get(self.at % self.choices.len().max(1))
                .copied()
                .unwrap_or(0)
        }

        fn blank(&mut self) -> String {
            self.comments += 1;
            match self.choose() % 8 {
                0 => format!("/* {{c{} }}*/", self.comments),
                1 => format!(" // ['c{}\n\t", self.comments),
                2 => "\n   ".to_owned(),
                3 => "\r\n".to_owned(),
                4 | 5 => " ".to_owned(),
                _ => String::new(),
            }
        }

        fn write(&mut self, value: &Value) -> String {
            let (open, close, entries): (_, _, Vec<String>) = match value {
                Value::Array(items) => (
                    '[',
                    ']',
                    items.iter().map(|item| self.write(item)).collect(),
                ),
                Value::Object(members) => {
                    let entries = members.iter().map(|(name, member)| {
                        let name = match self.choose() % 3 {
                            0 => name.clone(),
                            1 => format!("'{name}'"),
                            _ => format!("\"{name}\""),
                        };
                        format!(
                            "{name}{}:{}{}",
                            self.blank(),
                            self.blank(),
                            self.write(member)
                        )
                    });
                    ('{', '}', entries.collect())
                }
                scalar => return scalar.to_string(),
            };
            let mut text = open.to_string();
            let count = entries.len();
            for (at, entry) in entries.into_iter().enumerate() {
                text.push_str(&format!("{}{entry}{}", self.blank(), self.blank()));
                if at + 1 < count || self.choose() % 2 == 0 {
                    text.push(',');
                }
            }
            text.push_str(&self.blank());
            text.push(close);
            text
        }
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let scalar = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            r"[ -Z\\a-zäß☃]{0,6}".prop_map(Value::from),
        ];
        scalar.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                vec(inner.clone(), 0..4).prop_map(Value::from),
                btree_map("[a-d]", inner, 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    fn any_document() -> impl Strategy<Value = (Value, String)> {
        (
            btree_map("[a-d]", any_value(), 0..4),
            vec(any::<u8>(), 1..60),
        )
            .prop_map(|(members, choices)| {
                let document = Value::Object(members.into_iter().collect());
                let mut writer = Writer {
                    choices,
                    at: 0,
                    comments: 0,
                };
                let text = format!(
                    "{}{}{}",
                    writer.blank(),
                    writer.write(&document),
                    writer.blank()
                );
                (document, text)
            })
    }

    fn any_path() -> impl Strategy<Value = ConfigPath> {
        vec("[a-e0-3]", 1..4).prop_map(|segments| path(&segments.join(".")))
    }

    /// Every comment of a text in order; the generated ones are recognizable by their numbers.
    fn comments(text: &str) -> Vec<String> {
        let marks = text.match_indices("{c").chain(text.match_indices("['c"));
        let mut found: Vec<(usize, String)> = marks
            .map(|(at, mark)| {
                (
                    at,
                    text[at + mark.len()..]
                        .chars()
                        .take_while(char::is_ascii_digit)
                        .collect(),
                )
            })
            .collect();
        found.sort();
        found.into_iter().map(|(_, number)| number).collect()
    }

    /// Where the value of an existing path stands.
    fn locate(text: &str, at: &ConfigPath) -> std::ops::Range<usize> {
        let mut node = scan(text).unwrap();
        for segment in at.segments() {
            let children = match node.body {
                Body::Array(children) | Body::Object(children) => children,
                Body::Scalar => Vec::new(),
            };
            let named = |child: &Child| child.key == *segment;
            let place = children.iter().position(named).or(index(segment)).unwrap();
            node = children.into_iter().nth(place).unwrap().value;
        }
        node.start..node.end
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn set_then_read_gives_the_value_and_touches_one_span(
            (document, text) in any_document(), at in any_path(), value in any_value(),
        ) {
            prop_assert_eq!(source::parse(&text).unwrap(), document.clone());
            let Ok(changed) = set(&text, &at, &value) else {
                return Ok(());
            };
            let reread = source::parse(&changed).unwrap();
            prop_assert_eq!(at.find(&reread), Some(&value));
            match at.find(&document) {
                // A replaced value: the text before and after it is the same, byte for byte.
                Some(old) => {
                    let span = locate(&text, &at);
                    prop_assert!(changed.starts_with(&text[..span.start]));
                    prop_assert!(changed.ends_with(&text[span.end..]));
                    let back = set(&changed, &at, old).unwrap();
                    prop_assert_eq!(source::parse(&back).unwrap(), document);
                }
                // An added value: the old text is still there, in order, with additions only.
                None => {
                    let mut rest = changed.chars();
                    prop_assert!(text.chars().all(|letter| rest.any(|other| other == letter)));
                    prop_assert_eq!(comments(&changed), comments(&text));
                }
            }
        }

        #[test]
        fn unset_removes_the_value_and_only_text(
            (document, text) in any_document(), at in any_path(),
        ) {
            let removed = unset(&text, &at).unwrap();
            prop_assert_eq!(removed.is_some(), at.find(&document).is_some());
            let Some(shorter) = removed else {
                return Ok(());
            };
            let mut rest = text.chars();
            prop_assert!(shorter.chars().all(|letter| rest.any(|other| other == letter)));
            let reread = source::parse(&shorter).unwrap();
            let last_is_index = at.segments().last().is_some_and(|last| index(last).is_some());
            prop_assert!(last_is_index || at.find(&reread).is_none());
        }
    }
}
