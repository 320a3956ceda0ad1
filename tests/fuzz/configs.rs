//! Texts of the configuration file: read, judged, and edited in one place.

use openclaw::config::expand::Missing;
use openclaw::config::path::ConfigPath;
use openclaw::config::{edit, source, validate::validate};
use serde_json::{Value, json};

use super::mutate::{Dice, vary_bytes};

/// What a person writes between values, and what stands in wrong places.
const PIECES: [&str; 24] = [
    "// a word\n",
    "/* a word */",
    "/*",
    "*/",
    ",",
    "{",
    "}",
    "[",
    "]",
    ":",
    "'",
    "\"",
    "\\\n",
    "\\u00",
    "\u{2028}",
    "\u{feff}",
    "NaN",
    "+.5",
    "0x1F",
    "${HOME}",
    "gateway",
    "__proto__: 1,",
    "\n",
    "\t",
];

/// A text of the corpus with pieces put in, doubled or cut off.
pub fn vary(corpus: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    let mut text = dice.pick(corpus).clone();
    for _ in 0..=dice.below(3) {
        let at = dice.below(text.len() + 1);
        match dice.below(8) {
            0 => vary_bytes(&mut text, dice),
            1 => text.truncate(at),
            2 => {
                let piece = dice.pick::<Vec<u8>>(corpus).clone();
                text.splice(at..at, piece);
            }
            3 => {
                let open = if dice.once_in(2) { "[" } else { "{a:" };
                text.splice(at..at, open.repeat(dice.below(300)).into_bytes());
            }
            _ => {
                text.splice(at..at, dice.pick::<&str>(&PIECES).bytes());
            }
        }
    }
    text.truncate(super::mutate::LONGEST / 8);
    text
}

/// Whether it is a document.
pub fn accepts(input: &[u8]) -> bool {
    source::decode(input).is_ok_and(|text| source::parse(text).is_ok())
}

/// What is no document is said with its place; of one that is, an edit changes one value and nothing else.
pub fn check(input: &[u8]) -> Result<(), String> {
    let Ok(text) = source::decode(input) else {
        return Ok(());
    };
    let document = match source::parse(text) {
        Ok(document) => document,
        Err(issue) if issue.message.is_empty() => return Err("refused without a word".to_owned()),
        Err(_) => return refused(text),
    };
    for issue in validate(&document, &Missing::default()) {
        if issue.message.is_empty() || issue.path.is_empty() {
            return Err(format!("an issue without a word: {issue:?}"));
        }
    }
    for (path, value) in [
        ("gateway.port", json!(4_711)),
        ("gateway.auth.token", json!("a \"secret\" // word")),
        ("gateway.trustedProxies[0]", json!("10.0.0.0/8")),
        ("discovery.mdns", json!({"mode": "off", "list": [1, null]})),
        ("new[\"odd.name\"]", json!([])),
    ] {
        set(text, &document, path, &value)?;
    }
    unset(text, &document)
}

fn refused(text: &str) -> Result<(), String> {
    let path = ConfigPath::parse("gateway.port")?;
    let blank = text.trim().is_empty();
    match edit::set(text, &path, &json!(1)) {
        Ok(edited) if !blank => Err(format!("edited what cannot be read: {edited:?}")),
        _ => Ok(()),
    }
}

fn set(text: &str, document: &Value, path: &str, value: &Value) -> Result<(), String> {
    let path = ConfigPath::parse(path)?;
    let Ok(edited) = edit::set(text, &path, value) else {
        return Ok(());
    };
    let found = source::parse(&edited).map_err(|issue| format!("{issue:?} in {edited:?}"))?;
    if path.find(&found) != Some(value) {
        return Err(format!("{path} is not what was set in {edited:?}"));
    }
    let mut wanted = document.clone();
    put(&mut wanted, path.segments(), value);
    if found != wanted {
        return Err(format!("more than {path} changed: {edited:?}"));
    }
    if path.find(document).is_none() && !is_within(text, &edited) {
        return Err(format!("something of {text:?} is gone in {edited:?}"));
    }
    Ok(())
}

fn unset(text: &str, document: &Value) -> Result<(), String> {
    let Some(members) = document.as_object() else {
        return Ok(());
    };
    for name in members.keys().take(4) {
        let quoted = format!("[{}]", Value::from(name.as_str()));
        let Ok(path) = ConfigPath::parse(&quoted) else {
            continue;
        };
        if path.segments() != [name.as_str()] {
            continue;
        }
        let Some(edited) = edit::unset(text, &path).map_err(|error| format!("{name}: {error}"))?
        else {
            return Err(format!("{name:?} is there and was not found in {text:?}"));
        };
        let found = source::parse(&edited).map_err(|issue| format!("{issue:?} in {edited:?}"))?;
        let mut wanted = members.clone();
        wanted.shift_remove(name);
        if found != Value::Object(wanted) {
            return Err(format!("more than {name:?} went: {edited:?}"));
        }
    }
    Ok(())
}

/// The document with the value at the path, as an edit of the text is to have it.
fn put(document: &mut Value, segments: &[String], value: &Value) {
    let Some((first, rest)) = segments.split_first() else {
        *document = value.clone();
        return;
    };
    match document {
        Value::Array(items) => {
            let Ok(place) = first.parse::<usize>() else {
                return;
            };
            if place >= items.len() {
                items.push(Value::Null);
            }
            if let Some(item) = items.get_mut(place) {
                put(item, rest, value);
            }
        }
        Value::Object(members) => {
            // What is missing on the way is made: a list where a number follows.
            let list = rest
                .first()
                .is_some_and(|next| next.parse::<usize>().is_ok());
            let missing = if list { json!([]) } else { json!({}) };
            put(
                members.entry(first.as_str()).or_insert(missing),
                rest,
                value,
            );
        }
        _ => {}
    }
}

/// Whether all characters of `part` are in `whole`, in their order.
fn is_within(part: &str, whole: &str) -> bool {
    let mut whole = whole.chars();
    part.chars()
        .all(|wanted| whole.by_ref().any(|found| found == wanted))
}
