//! Editing one place of a JSON5 text: comments, key order, `${NAME}` and every other byte stay.
//!
//! Pure text in, text out. Whether the result is a valid configuration is decided elsewhere.

use serde_json::Value;

use crate::config::error::{ConfigError, Issue};
use crate::config::layout::{Layout, is_first_on_line, line_start, replace};
use crate::config::path::{ConfigPath, index};
use crate::config::scan::{Body, Child, Node, scan};
use crate::config::source;

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
    let layout = Layout::of(text, &root);
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
                return Ok(layout.insert(text, node, segment, &nested(&segments[at + 1..], value)));
            }
        }
    }
    let rendered = layout.render(value, &layout.line_indent(text, node.start));
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
    scan(text).ok_or_else(|| ConfigError::Unreadable(Issue::root("cannot be edited in place")))
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

#[cfg(test)]
mod tests {
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
}
