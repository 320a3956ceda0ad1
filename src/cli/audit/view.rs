//! One line of a trail for people: when, what, to whom, by whom, which way, and what changed.

use serde_json::{Map, Value};

use crate::cli::output::text::plain;
use crate::cli::output::time::age;
use crate::cli::row;
use crate::store::clock::rfc3339;

/// How many lines are shown when nothing else is said; the table says the same.
pub const DEFAULT_LINES: usize = 20;

/// Characters of an id that are shown: commands take a unique prefix.
const SHOWN_OF_ID: usize = 12;

/// Members with a place of their own in a line, or of no interest there.
const PLACED: &[&str] = &[
    "ts", "action", "subject", "by", "via", "from", "before", "after", "detail", "changes", "seq",
    "prev", "chain",
];

/// How long ago an entry was written.
pub fn aged(entry: &Value, now: u64) -> String {
    age(now, row::number(entry, "ts"))
}

/// When an entry was written, in UTC.
pub fn dated(entry: &Value) -> String {
    rfc3339(row::number(entry, "ts").unwrap_or_default())
}

/// The line, with its line break, behind `when`.
pub fn line(entry: &Value, when: String) -> String {
    let named = |name: &str| row::text(entry, name).map(|text| short(&plain(text)));
    let mut line = format!("{when:<9}  {}", named("action").unwrap_or_default());
    if let Some(subject) = named("subject") {
        line += &format!("  {subject}");
    }
    for (word, member) in [("by", "by"), ("via", "via"), ("from", "from")] {
        if let Some(text) = named(member) {
            line += &format!("  {word} {text}");
        }
    }
    let others = entry.as_object().into_iter().flatten();
    for (name, value) in others.filter(|(name, _)| !PLACED.contains(&name.as_str())) {
        line += &format!("  {}: {}", plain(name), shown(value));
    }
    let changes = changes(entry.get("before"), entry.get("after"));
    let told = entry["changes"].as_array().into_iter().flatten().map(shown);
    for change in changes.into_iter().chain(told) {
        line += &format!("  {change}");
    }
    if let Some(detail) = entry.get("detail") {
        line += &format!("  ({})", bare(detail));
    }
    line + "\n"
}

/// What differs between before and after.
fn changes(before: Option<&Value>, after: Option<&Value>) -> Vec<String> {
    match (before, after) {
        (Some(Value::Object(before)), Some(Value::Object(after))) => differences(before, after),
        (None, None) => Vec::new(),
        (None, Some(after)) => vec![format!("→ {}", bare(after))],
        (Some(before), None) => vec![format!("{} → none", bare(before))],
        (Some(before), Some(after)) => vec![format!("{} → {}", shown(before), shown(after))],
    }
}

fn differences(before: &Map<String, Value>, after: &Map<String, Value>) -> Vec<String> {
    let mut names: Vec<&String> = before.keys().collect();
    names.extend(after.keys().filter(|name| !before.contains_key(*name)));
    let told = |value: Option<&Value>| value.map_or("none".to_owned(), shown);
    names
        .into_iter()
        .filter(|name| before.get(*name) != after.get(*name))
        .map(|name| {
            let (before, after) = (told(before.get(name)), told(after.get(name)));
            format!("{}: {before} → {after}", plain(name))
        })
        .collect()
}

/// A value without the braces of an object.
fn bare(value: &Value) -> String {
    let Some(members) = value.as_object() else {
        return shown(value);
    };
    let members = members.iter();
    let members = members.map(|(name, value)| format!("{}: {}", plain(name), shown(value)));
    members.collect::<Vec<String>>().join(", ")
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => short(&plain(text)),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(shown).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(_) => format!("{{{}}}", bare(value)),
        other => other.to_string(),
    }
}

/// An id of a key is cut to what tells it apart.
fn short(text: &str) -> String {
    let is_id = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_id {
        text[..SHOWN_OF_ID].to_owned()
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lines_say_who_did_what_to_whom_and_what_changed() {
        let id = "ab".repeat(32);
        for (entry, expected) in [
            (
                json!({"ts": 1, "action": "device.approve", "subject": id, "by": "operator",
                    "via": "device.pair.approve", "from": "127.0.0.1",
                    "before": {"roles": ["node"], "scopes": []},
                    "after": {"roles": ["node", "operator"], "scopes": [], "tokens": ["node"]},
                    "detail": {"requestId": "r-1"}, "seq": 3, "chain": "c"}),
                "2m ago     device.approve  abababababab  by operator  via device.pair.approve  from 127.0.0.1  \
                 roles: [node] → [node, operator]  tokens: none → [node]  (requestId: r-1)\n",
            ),
            (
                json!({"ts": 1, "action": "node.remove", "subject": "n\u{1b}[2J", "by": "cli", "via": "offline",
                    "before": {"commands": ["system.run"]}}),
                "2m ago     node.remove  n  by cli  via offline  commands: [system.run] → none\n",
            ),
            (
                json!({"ts": 1, "action": "run.denied", "gateway": "ws://g", "command": "rm -r x",
                    "reason": "allowlist-miss", "changes": ["a: b -> c"]}),
                "2m ago     run.denied  gateway: ws://g  command: rm -r x  reason: allowlist-miss  a: b -> c\n",
            ),
            (
                json!({"ts": 1, "action": "key.create", "subject": "k", "after": {"uses": 1}}),
                "2m ago     key.create  k  → uses: 1\n",
            ),
        ] {
            assert_eq!(line(&entry, aged(&entry, 120_001)), expected);
        }
        assert_eq!(dated(&json!({"ts": 0})), "1970-01-01T00:00:00.000Z");
    }
}
