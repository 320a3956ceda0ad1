//! What an approval adds and takes away, and what changed in a request since it was shown. Pure, over the
//! rows of the lists.

use serde_json::{Map, Value, json};

use crate::cli::devices::access;
use crate::cli::output::text::plain;
use crate::cli::row;
use crate::pairing::resolution::Layer;

/// What an approver looks at in a request, most telling first: member and the word for people.
const MEMBERS: &[(&str, &str)] = &[
    ("publicKey", "public key"),
    ("keyChanged", "other key than approved"),
    ("roles", "roles"),
    ("scopes", "scopes"),
    ("commands", "commands"),
    ("caps", "capabilities"),
    ("permissions", "permissions"),
    ("displayName", "name"),
    ("platform", "platform"),
    ("deviceFamily", "device family"),
    ("modelIdentifier", "model"),
    ("version", "version"),
    ("coreVersion", "core version"),
    ("uiVersion", "user interface version"),
    ("clientId", "client"),
    ("clientMode", "client mode"),
    ("remoteIp", "address"),
    ("role", "role"),
    ("isRepair", "repair"),
];

/// The members in which two versions of one request differ: `[{"field", "shown", "now"}]`.
pub fn since_shown(shown: &Value, now: &Value) -> Vec<Value> {
    let member = |row: &Value, name: &str| row.get(name).cloned().unwrap_or_default();
    let differing = MEMBERS.iter().filter_map(|(name, _)| {
        let (shown, now) = (member(shown, name), member(now, name));
        (sorted(&shown) != sorted(&now)).then(|| json!({"field": name, "shown": shown, "now": now}))
    });
    differing.collect()
}

/// `scopes: operator.read → operator.read, operator.write`.
pub fn line(change: &Value) -> String {
    let field = row::text(change, "field").unwrap_or_default();
    let word = MEMBERS.iter().find(|(name, _)| *name == field);
    let word = word.map_or(field, |(_, word)| word);
    format!(
        "{word}: {} → {}",
        worded(&change["shown"]),
        worded(&change["now"])
    )
}

/// What a request asks for, in a few words.
pub fn ask(layer: Layer, request: &Value) -> String {
    match layer {
        Layer::Device => access::described(request),
        Layer::Node => format!("commands: {}", worded(&request["commands"])),
    }
}

/// What approving `request` adds to and takes from what is approved today:
/// `{"<list>":{"added":[…],"removed":[…]}}`, only lists in which something changes.
pub fn of_approval(layer: Layer, request: &Value, approved: Option<&Value>) -> Map<String, Value> {
    let lists: &[&str] = match layer {
        Layer::Device => &["roles", "scopes"],
        Layer::Node => &["commands", "caps"],
    };
    // An approval of a device adds to what the same key has; any other one replaces.
    let same_key = |record: &Value| {
        layer == Layer::Device && row::text(record, "publicKey") == row::text(request, "publicKey")
    };
    let adds = approved.is_some_and(same_key);
    let mut changes = Map::new();
    for name in lists {
        let (old, new) = (
            words(approved.unwrap_or(&Value::Null), name),
            words(request, name),
        );
        let added: Vec<&str> = new
            .iter()
            .filter(|word| !old.contains(word))
            .copied()
            .collect();
        let removed = old.iter().filter(|word| !adds && !new.contains(word));
        let removed: Vec<&str> = removed.copied().collect();
        if !added.is_empty() || !removed.is_empty() {
            changes.insert(
                (*name).to_owned(),
                json!({"added": added, "removed": removed}),
            );
        }
    }
    changes
}

/// One line per word: `+ scope operator.write`, `- command system.run`.
pub fn lines(changes: &Map<String, Value>) -> Vec<String> {
    let mut lines = Vec::new();
    for (list, change) in changes {
        let noun = list.strip_suffix('s').unwrap_or(list);
        for (sign, name) in [('+', "added"), ('-', "removed")] {
            let words = row::words(change, name).unwrap_or_default();
            lines.extend(
                words
                    .iter()
                    .map(|word| format!("{sign} {noun} {}", plain(word))),
            );
        }
    }
    lines
}

fn words<'a>(row: &'a Value, name: &str) -> Vec<&'a str> {
    match name {
        "roles" => access::roles(row),
        _ => row::words(row, name).unwrap_or_default(),
    }
}

fn sorted(value: &Value) -> Value {
    let mut value = value.clone();
    if let Some(list) = value.as_array_mut() {
        list.sort_by(|left, right| left.as_str().cmp(&right.as_str()));
    }
    value
}

fn worded(value: &Value) -> String {
    let text = match value {
        Value::Null => "none".to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(list) if list.is_empty() => "none".to_owned(),
        Value::Array(list) => {
            let words: Vec<&str> = list.iter().filter_map(Value::as_str).collect();
            words.join(", ")
        }
        other => other.to_string(),
    };
    plain(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_since_it_was_shown_is_told_field_by_field() {
        let shown = json!({"publicKey": "k", "roles": ["operator"], "scopes": ["operator.read"], "ts": 1,
            "displayName": "Pi", "remoteIp": "10.0.0.1", "digest": "a", "isRepair": false});
        let now = json!({"publicKey": "k", "roles": ["operator"], "scopes": ["operator.read", "operator.admin"],
            "ts": 2, "displayName": "P\u{1b}[31mi2", "digest": "b", "isRepair": false, "keyChanged": true});
        let lines: Vec<String> = since_shown(&shown, &now).iter().map(line).collect();
        assert_eq!(
            lines,
            [
                "other key than approved: none → yes",
                "scopes: operator.read → operator.read, operator.admin",
                "name: Pi → Pi2",
                "address: 10.0.0.1 → none",
            ]
        );
        let turned = json!({"scopes": ["b", "a"]});
        assert!(since_shown(&json!({"scopes": ["a", "b"]}), &turned).is_empty());
    }

    #[test]
    fn what_an_approval_changes() {
        let device = |key: &str, roles: &[&str], scopes: &[&str]| json!({"publicKey": key, "roles": roles, "scopes": scopes});
        let node = |commands: &[&str]| json!({"commands": commands, "caps": ["system"]});
        type Row = (Layer, Value, Option<Value>, &'static [&'static str]);
        let table: &[Row] = &[
            (
                Layer::Device,
                device("k", &["node"], &[]),
                None,
                &["+ role node"],
            ),
            (
                Layer::Device,
                device("k", &["operator"], &["operator.write"]),
                Some(device("k", &["node", "operator"], &["operator.read"])),
                &["+ scope operator.write"],
            ),
            (
                Layer::Device,
                device("l", &["operator"], &["operator.write"]),
                Some(device("k", &["node", "operator"], &["operator.read"])),
                &[
                    "- role node",
                    "+ scope operator.write",
                    "- scope operator.read",
                ],
            ),
            (
                Layer::Device,
                device("k", &["node"], &[]),
                Some(device("k", &["node"], &[])),
                &[],
            ),
            (
                Layer::Node,
                node(&["system.run", "a\u{7}"]),
                Some(node(&["system.run", "system.which"])),
                &["+ command a", "- command system.which"],
            ),
            (Layer::Node, node(&[]), None, &["+ cap system"]),
        ];
        for (layer, request, approved, expected) in table {
            let changes = of_approval(*layer, request, approved.as_ref());
            assert_eq!(lines(&changes), *expected, "{request} {approved:?}");
        }
    }
}
