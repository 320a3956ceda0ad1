//! One exec approval that waits, as a person reads it (protocol §8.3). Pure, over the rows of `exec.approval.list`
//! and the payloads of its events.

use serde_json::{Value, json};

use crate::cli::approvals::names::Names;
use crate::cli::output::text::quoted;
use crate::cli::output::time::left;
use crate::cli::row;
use crate::protocol::hidden::visible;

/// Shortest abbreviation of an id that is shown.
const SHORTEST_ID: usize = 8;

/// The decisions an approval knows, as typed and as sent.
pub const DECISIONS: [&str; 3] = ["allow-once", "allow-always", "deny"];

/// The approval's id.
pub fn id(entry: &Value) -> &str {
    row::text(entry, "id").unwrap_or_default()
}

/// The command line, every character of it visible.
pub fn command(entry: &Value) -> String {
    visible(row::text(&entry["request"], "command").unwrap_or("(no command)"))
}

/// The node it is for, or the host where it is for none.
pub fn node(entry: &Value, names: &Names) -> String {
    let request = &entry["request"];
    match row::text(request, "nodeId") {
        Some(id) => names.label(id),
        None => visible(row::text(request, "host").unwrap_or("gateway")),
    }
}

/// The member of the request, every character of it visible; `-` where there is none.
pub fn member(entry: &Value, name: &str) -> String {
    row::text(&entry["request"], name).map_or_else(|| "-".to_owned(), visible)
}

/// What else a person should know before deciding: the variables it sets (their values are not told), and the
/// warning of whoever asks. One sentence each.
pub fn remarks(entry: &Value) -> Vec<String> {
    let request = &entry["request"];
    let names = row::words(request, "envKeys").unwrap_or_default();
    let names: Vec<String> = names.into_iter().map(visible).collect();
    let sets = (!names.is_empty()).then(|| format!("sets {}", names.join(", ")));
    let warning = row::text(request, "warningText").map(str::trim);
    let warning = warning.filter(|text| !text.is_empty());
    let warning = warning.map(|text| format!("comes with a warning: {}", visible(text)));
    sets.into_iter().chain(warning).collect()
}

/// What may be decided; all three where the gateway does not say.
pub fn decisions(entry: &Value) -> Vec<&str> {
    row::words(&entry["request"], "allowedDecisions").unwrap_or_else(|| DECISIONS.to_vec())
}

/// How long it still waits.
pub fn expires(entry: &Value, now: u64) -> String {
    match row::number(entry, "expiresAtMs") {
        Some(end) if end > now => left(end - now),
        Some(_) => "now".to_owned(),
        None => "-".to_owned(),
    }
}

/// The shortest abbreviation of an id that no other of `all` shares; whole where it is short itself.
pub fn short(id: &str, all: &[&str]) -> String {
    let starts = |other: &str, start: &str| {
        let other = other.get(..start.len());
        other.is_some_and(|other| other.eq_ignore_ascii_case(start))
    };
    let shared = |start: &str| all.iter().any(|other| *other != id && starts(other, start));
    let lengths = id.char_indices().map(|(at, _)| at).skip(SHORTEST_ID);
    let mut abbreviations = lengths.filter_map(|at| id.get(..at));
    let found = abbreviations.find(|start| !shared(start)).unwrap_or(id);
    visible(found)
}

/// The line that decides it.
pub fn decide_with(entry: &Value, short: &str) -> String {
    let decisions = decisions(entry).join("|");
    format!("openclaw approvals resolve {} {decisions}", quoted(short))
}

/// The row for machines: as the gateway told it, with the name of the node.
pub fn named(entry: &Value, names: &Names) -> Value {
    let mut entry = entry.clone();
    let node = row::text(&entry["request"], "nodeId").map(str::to_owned);
    if let Some(node) = node.filter(|node| names.knows(node)) {
        entry["nodeName"] = json!(names.label(&node));
    }
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_as_short_as_they_stay_unique() {
        let all = [
            "3f2a91c0-1111",
            "3F2A91C0-2222",
            "3f2a91c1-3333",
            "run",
            "12345678",
        ];
        for (id, expected) in [
            ("3f2a91c0-1111", "3f2a91c0-1"),
            ("3f2a91c1-3333", "3f2a91c1"),
            ("run", "run"),
            ("12345678", "12345678"),
        ] {
            assert_eq!(short(id, &all), expected);
        }
    }

    #[test]
    fn variables_and_warnings_are_told() {
        let entry =
            json!({"request": {"envKeys": ["FOO", "B\u{202e}"], "warningText": " mind\nit "}});
        assert_eq!(
            remarks(&entry),
            ["sets FOO, B\\u{202E}", "comes with a warning: mind\\u{A}it"]
        );
        let entry = json!({"request": {"envKeys": null, "warningText": null}});
        assert!(remarks(&entry).is_empty());
    }

    #[test]
    fn nothing_in_a_command_hides() {
        let entry =
            json!({"id": "a", "request": {"command": "rm\u{202e} \u{1b}[2K-rf", "cwd": "/w\n"}});
        assert_eq!(command(&entry), "rm\\u{202E} \\u{1B}[2K-rf");
        assert_eq!(member(&entry, "cwd"), "/w\\u{A}");
        assert_eq!(member(&entry, "agentId"), "-");
        assert_eq!(
            decide_with(&entry, "a b"),
            "openclaw approvals resolve 'a b' allow-once|allow-always|deny"
        );
    }
}
