//! Which keys differ between two documents, and what that means for a running gateway (cli.md §3.5).

use serde_json::{Map, Value};

use crate::config::key::{self, Effect};

/// One path whose value differs.
#[derive(Debug, Clone, PartialEq)]
pub struct ChangedKey {
    /// Dotted path of the smallest differing part; lists count as a whole.
    pub path: String,
    /// What the change does to a running gateway.
    pub effect: Effect,
    /// The value before; secrets in it are not hidden.
    pub before: Option<Value>,
    /// The value now; secrets in it are not hidden.
    pub after: Option<Value>,
}

/// The keys that differ between two expanded documents, in the order of the old one, added ones last.
pub fn diff(old: &Value, new: &Value) -> Vec<ChangedKey> {
    let mut changed = Vec::new();
    compare(Some(old), Some(new), &mut Vec::new(), &mut changed);
    changed
}

fn compare<'a>(
    old: Option<&'a Value>,
    new: Option<&'a Value>,
    segments: &mut Vec<&'a str>,
    changed: &mut Vec<ChangedKey>,
) {
    if old == new {
        return;
    }
    let members = |value: Option<&'a Value>| value.and_then(Value::as_object);
    let (before, after) = (members(old), members(new));
    // A section that appears or goes is the sum of its keys, so that its effect is no stronger.
    let sections = (before.is_some() || old.is_none()) && (after.is_some() || new.is_none());
    if !sections || !key::is_section(segments) {
        changed.push(ChangedKey {
            path: segments.join("."),
            effect: key::effect(segments),
            before: old.cloned(),
            after: new.cloned(),
        });
        return;
    }
    let added = after
        .into_iter()
        .flatten()
        .filter(|(name, _)| before.is_none_or(|old| !old.contains_key(*name)));
    for (name, _) in before.into_iter().flatten().chain(added) {
        segments.push(name);
        compare(
            before.and_then(|old| old.get(name)),
            after.and_then(|new| new.get(name)),
            segments,
            changed,
        );
        segments.pop();
    }
}

/// `new`, but with every key whose change would need a restart as it is in `old`: what a gateway that
/// does not restart may go by.
pub fn without_restart(old: &Value, new: &Value) -> Value {
    settled(Some(old), Some(new), &mut Vec::new()).unwrap_or_else(|| new.clone())
}

fn settled<'a>(
    old: Option<&'a Value>,
    new: Option<&'a Value>,
    segments: &mut Vec<&'a str>,
) -> Option<Value> {
    if old == new {
        return new.cloned();
    }
    let members = |value: Option<&'a Value>| value.and_then(Value::as_object);
    let (before, after) = (members(old), members(new));
    let sections = (before.is_some() || old.is_none()) && (after.is_some() || new.is_none());
    if !sections || !key::is_section(segments) {
        let stays = key::effect(segments) == Effect::Restart;
        return if stays { old } else { new }.cloned();
    }
    let mut merged = Map::new();
    let names = before.into_iter().chain(after).flat_map(Map::keys);
    for name in names {
        segments.push(name);
        let value = settled(
            before.and_then(|old| old.get(name)),
            after.and_then(|new| new.get(name)),
            segments,
        );
        segments.pop();
        if let Some(value) = value {
            merged.insert(name.clone(), value);
        }
    }
    (new.is_some() || !merged.is_empty()).then_some(Value::Object(merged))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_the_smallest_keys_and_their_effect() {
        let old = json!({"gateway": {"port": 1, "nodes": {"allowCommands": ["a"]}, "auth": {"token": "x"}}, "agents": {"a": 1}});
        let cases = [
            (
                json!({}),
                "gateway.port Restart|gateway.nodes.allowCommands Hot|gateway.auth.token Hot|agents None",
            ),
            (old.clone(), ""),
            (
                json!({"gateway": {"port": 2, "nodes": {"allowCommands": ["a", "b"]}, "auth": {"token": {"source": "env"}}}, "agents": {"a": 2}}),
                "gateway.port Restart|gateway.nodes.allowCommands Hot|gateway.auth.token Hot|agents None",
            ),
            (
                json!({"gateway": {"port": 1, "nodes": {"allowCommands": ["a"], "denyCommands": []}, "auth": {"token": "x"}}, "agents": {"a": 1}, "discovery": {"mdns": {"mode": "off"}}}),
                "gateway.nodes.denyCommands Hot|discovery.mdns.mode Hot",
            ),
            (json!({"gateway": 5, "agents": {"a": 1}}), "gateway Restart"),
        ];
        for (new, expected) in cases {
            let found: Vec<String> = diff(&old, &new)
                .iter()
                .map(|key| format!("{} {:?}", key.path, key.effect))
                .collect();
            assert_eq!(found.join("|"), expected);
        }
    }

    #[test]
    fn a_gateway_that_may_not_restart_goes_by_the_rest() {
        let old = json!({"gateway": {"port": 1, "auth": {"mode": "token", "token": "x"}}, "agents": {"a": 1}});
        for (new, expected) in [
            (old.clone(), old.clone()),
            (
                json!({"gateway": {"port": 2, "auth": {"mode": "none", "token": "y"}, "nodes": {"denyCommands": ["a"]}}}),
                json!({"gateway": {"port": 1, "auth": {"mode": "token", "token": "y"}, "nodes": {"denyCommands": ["a"]}}}),
            ),
            (
                json!({"gateway": {"bind": "lan"}, "agents": {"a": 2}}),
                json!({"gateway": {"port": 1, "auth": {"mode": "token"}}, "agents": {"a": 2}}),
            ),
            (
                json!({}),
                json!({"gateway": {"port": 1, "auth": {"mode": "token"}}}),
            ),
        ] {
            let found = without_restart(&old, &new);
            assert_eq!(found, expected, "{new}");
            let left = diff(&old, &found);
            assert!(
                left.iter().all(|key| key.effect != Effect::Restart),
                "{left:?}"
            );
        }
    }
}
