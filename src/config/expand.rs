//! `${NAME}` inside string values, replaced from the environment at load (cli.md §3.2).
//!
//! A name without a value never becomes an empty string: the text stays as written and the place is
//! reported, so that a credential fails closed and everything else counts as absent.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::config::environment::Environment;
use crate::config::path::join;

/// Places whose value needs a variable that has none: dotted path → variable name.
pub type Missing = BTreeMap<String, String>;

/// Replaces every `${NAME}` in the document and returns the places where that was impossible.
pub fn expand(document: &mut Value, environment: &Environment) -> Missing {
    let mut missing = Missing::new();
    walk(document, "", environment, &mut missing);
    missing
}

/// The warning for one missing variable.
pub fn warning(path: &str, name: &str) -> String {
    format!("missing env var \"{name}\" at {path} - feature using this value will be unavailable")
}

fn walk(value: &mut Value, path: &str, environment: &Environment, missing: &mut Missing) {
    match value {
        Value::String(text) if text.contains("${") => match replace(text, environment) {
            Ok(expanded) => *text = expanded,
            Err(name) => {
                missing.insert(path.to_owned(), name);
            }
        },
        Value::Array(items) => {
            for (at, item) in items.iter_mut().enumerate() {
                walk(item, &join(path, &at.to_string()), environment, missing);
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                walk(member, &join(path, name), environment, missing);
            }
        }
        _ => {}
    }
}

/// The expanded text, or the first name without a value.
fn replace(text: &str, environment: &Environment) -> Result<String, String> {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((piece, after)) = next_piece(rest) {
        match piece {
            Piece::Literal(literal) => expanded.push_str(literal),
            Piece::Variable { name } => expanded.push_str(environment.get(name).ok_or(name)?),
        }
        rest = after;
    }
    Ok(expanded)
}

enum Piece<'a> {
    Literal(&'a str),
    Variable { name: &'a str },
}

/// The first piece of a text and what follows it; `None` at the end.
fn next_piece(text: &str) -> Option<(Piece<'_>, &str)> {
    if text.is_empty() {
        return None;
    }
    // `$${NAME}` is the literal `${NAME}`: the first dollar goes.
    if let Some(length) = text.strip_prefix('$').and_then(reference_length) {
        return Some((Piece::Literal(&text[1..=length]), &text[1 + length..]));
    }
    if let Some(length) = reference_length(text) {
        return Some((
            Piece::Variable {
                name: &text[2..length - 1],
            },
            &text[length..],
        ));
    }
    let first = text.chars().next().map_or(0, char::len_utf8);
    let end = text[first..].find('$').map_or(text.len(), |at| first + at);
    Some((Piece::Literal(&text[..end]), &text[end..]))
}

/// Bytes of the `${NAME}` that the text starts with.
fn reference_length(text: &str) -> Option<usize> {
    let (name, _) = text.strip_prefix("${")?.split_once('}')?;
    let first = name.bytes().next()?;
    let valid = (first == b'_' || first.is_ascii_uppercase())
        && name
            .bytes()
            .all(|byte| byte == b'_' || byte.is_ascii_uppercase() || byte.is_ascii_digit());
    valid.then_some(name.len() + 3)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn replaces_upper_case_names_only() {
        let environment = Environment::from_pairs([("A", "1"), ("B_2", "two"), ("EMPTY", "")]);
        let cases = [
            ("${A}", Ok("1")),
            ("x${A}y${B_2}z", Ok("x1ytwoz")),
            ("$${A}", Ok("${A}")),
            ("$$${A}", Ok("$${A}")),
            ("${a}", Ok("${a}")),
            ("${1A}", Ok("${1A}")),
            ("${}", Ok("${}")),
            ("${A", Ok("${A")),
            ("ü${A}ü$", Ok("ü1ü$")),
            ("$ü", Ok("$ü")),
            ("${NO}", Err("NO")),
            ("${A}${EMPTY}", Err("EMPTY")),
        ];
        for (text, expected) in cases {
            let found = replace(text, &environment);
            assert_eq!(found.as_deref().map_err(String::as_str), expected, "{text}");
        }
    }

    #[test]
    fn reports_every_missing_place_and_keeps_its_text() {
        let environment = Environment::from_pairs([("A", "1")]);
        let mut document =
            json!({"gateway": {"auth": {"token": "${NO}"}}, "list": ["${A}", "${B}"]});
        let missing = expand(&mut document, &environment);
        assert_eq!(document["gateway"]["auth"]["token"], "${NO}");
        assert_eq!(document["list"][0], "1");
        let found: Vec<_> = missing
            .iter()
            .map(|(path, name)| (path.as_str(), name.as_str()))
            .collect();
        assert_eq!(found, [("gateway.auth.token", "NO"), ("list.1", "B")]);
        assert_eq!(
            warning("gateway.auth.token", "NO"),
            "missing env var \"NO\" at gateway.auth.token - feature using this value will be unavailable"
        );
    }
}
