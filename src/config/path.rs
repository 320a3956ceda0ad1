//! Paths into a configuration: `gateway.auth.token`, `agents.list[0].id`, `a["b.c"]` (cli.md §2.9).

use serde_json::Value;

/// A parsed path; each segment names an object key or, inside an array, an index.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConfigPath {
    segments: Vec<String>,
}

impl ConfigPath {
    /// Parses dots and brackets.
    ///
    /// # Errors
    /// The sentence to show: empty path, empty segment, unclosed bracket or quote.
    pub fn parse(text: &str) -> Result<Self, String> {
        let invalid = || format!("Invalid config path: {text}");
        let mut segments = Vec::new();
        let mut rest = text.trim();
        while !rest.is_empty() {
            let (segment, after) = match rest.strip_prefix('[') {
                Some(inside) => bracketed(inside).ok_or_else(invalid)?,
                None => {
                    let end = rest.find(['.', '[']).unwrap_or(rest.len());
                    (rest[..end].trim().to_owned(), &rest[end..])
                }
            };
            if segment.is_empty() {
                return Err(invalid());
            }
            segments.push(segment);
            rest = match after.strip_prefix('.') {
                Some("") => return Err(invalid()),
                Some(next) => next,
                None if after.is_empty() || after.starts_with('[') => after,
                None => return Err(invalid()),
            };
        }
        if segments.is_empty() {
            return Err("Config path is empty".to_owned());
        }
        Ok(Self { segments })
    }

    /// The segments, at least one.
    pub fn segments(&self) -> &[String] {
        &self.segments
    }

    /// The value at this path, if the document has one.
    pub fn find<'a>(&self, root: &'a Value) -> Option<&'a Value> {
        self.segments
            .iter()
            .try_fold(root, |value, segment| match value {
                Value::Object(members) => members.get(segment),
                Value::Array(items) => items.get(index(segment)?),
                _ => None,
            })
    }
}

impl std::fmt::Display for ConfigPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.segments.join("."))
    }
}

/// A segment as an array index: plain decimal digits.
pub fn index(segment: &str) -> Option<usize> {
    let digits = !segment.is_empty() && segment.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| segment.parse().ok()).flatten()
}

/// The path of a member or item, for issues: `parent.child`, or `child` at the root.
pub fn join(parent: &str, child: &str) -> String {
    if parent.is_empty() {
        child.to_owned()
    } else {
        format!("{parent}.{child}")
    }
}

/// What stands between brackets, and what follows the closing one.
fn bracketed(inside: &str) -> Option<(String, &str)> {
    let quote = inside
        .chars()
        .next()
        .filter(|first| matches!(first, '"' | '\''));
    match quote {
        Some(quote) => {
            let (name, after) = inside[1..].split_once(quote)?;
            Some((name.to_owned(), after.strip_prefix(']')?))
        }
        None => {
            let (name, after) = inside.split_once(']')?;
            Some((name.trim().to_owned(), after))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn dots_and_brackets() {
        let cases: [(&str, &[&str]); 7] = [
            ("gateway.auth.token", &["gateway", "auth", "token"]),
            ("agents.list[0].id", &["agents", "list", "0", "id"]),
            ("a[\"b.c\"]", &["a", "b.c"]),
            ("a['b]c'].d", &["a", "b]c", "d"]),
            ("a[0][1]", &["a", "0", "1"]),
            ("[\"x\"]", &["x"]),
            (" a . b ", &["a", "b"]),
        ];
        for (text, expected) in cases {
            assert_eq!(
                ConfigPath::parse(text).unwrap().segments(),
                expected,
                "{text}"
            );
        }
        for text in [
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            "a[",
            "a[]",
            "a[0]b",
            "a[\"b]",
            "a[\"b\"x]",
        ] {
            assert!(ConfigPath::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn finds_members_and_items() {
        let root = json!({"a": {"b.c": [10, 20]}});
        let cases = [
            ("a[\"b.c\"][1]", Some(json!(20))),
            ("a[\"b.c\"].0", Some(json!(10))),
            ("a[\"b.c\"][2]", None),
            ("a.b.c", None),
            ("a[\"b.c\"][0].x", None),
        ];
        for (path, expected) in cases {
            assert_eq!(
                ConfigPath::parse(path).unwrap().find(&root).cloned(),
                expected,
                "{path}"
            );
        }
    }
}
