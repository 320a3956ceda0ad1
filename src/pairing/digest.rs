//! The digest of a waiting request: what an approver was shown, in 64 hex digits.
//!
//! Whoever approves may name the digest of the row they looked at; a request that asks for something
//! else by then is refused instead of approved: nothing but what was shown is ever approved.

use serde_json::Value;

use super::refusal::Refusal;
use crate::identity::sha256_hex;

/// What makes this digest different from one of another kind over the same text, now and in later forms.
const DOMAIN: &str = "openclaw.pairing-request.1\n";

/// Members of a row on which no decision rests: when it asked last, the hint for silence, and what
/// follows from the other members.
const IRRELEVANT: [&str; 4] = ["digest", "requiredApproveScopes", "silent", "ts"];

/// The digest of a row as lists and events show it.
///
/// Everything that an approver sees or grants counts: request id, device or node id, public key and
/// whether it differs from the paired one, roles, scopes, commands, capabilities, permissions, name,
/// client, platform, versions, model, address, and whether it is a repair. The order of words in a list
/// does not count, nor does a repetition.
pub(super) fn of(row: &Value) -> String {
    let mut canonical = row.clone();
    if let Some(members) = canonical.as_object_mut() {
        for name in IRRELEVANT {
            members.shift_remove(name);
        }
        for list in members.values_mut().filter_map(Value::as_array_mut) {
            list.sort_by(|left, right| left.as_str().cmp(&right.as_str()));
            list.dedup();
        }
    }
    canonical.sort_all_objects();
    sha256_hex(format!("{DOMAIN}{canonical}").as_bytes())
}

/// A row with its digest as the last member.
pub(super) fn stamped(mut row: Value) -> Value {
    let digest = of(&row);
    row["digest"] = Value::String(digest);
    row
}

/// Whether an approver who was shown `expected` may be taken to mean `row`; without an expectation
/// everybody may.
///
/// # Errors
/// `RequestChanged` with the row as it is now.
pub(super) fn check(expected: Option<&str>, row: &Value) -> Result<(), Refusal> {
    let is_it = |expected: &str| row["digest"].as_str() == Some(&expected.to_ascii_lowercase());
    match expected.map(str::trim) {
        Some(expected) if !is_it(expected) => Err(Refusal::RequestChanged(Box::new(row.clone()))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn row() -> Value {
        json!({"requestId": "r", "deviceId": "d", "publicKey": "k", "displayName": "Pi", "platform": "linux",
            "deviceFamily": "Pi 5", "clientId": "cli", "clientMode": "cli", "role": "node",
            "roles": ["node", "operator"], "scopes": ["operator.read", "operator.write"],
            "commands": ["a", "b"], "caps": ["c"], "permissions": {"x": true, "y": false},
            "remoteIp": "10.0.0.1", "version": "1", "silent": false, "isRepair": false, "ts": 1})
    }

    #[test]
    fn what_a_decision_rests_on_changes_the_digest_and_nothing_else_does() {
        let base = of(&row());
        assert_eq!(base.len(), 64);
        let table: &[(&str, Value, bool)] = &[
            ("requestId", json!("s"), true),
            ("deviceId", json!("e"), true),
            ("publicKey", json!("l"), true),
            ("keyChanged", json!(true), true),
            ("displayName", json!("Pi "), true),
            ("platform", json!("darwin"), true),
            ("deviceFamily", json!(null), true),
            ("clientId", json!("ui"), true),
            ("clientMode", json!("ui"), true),
            ("role", json!("operator"), true),
            ("roles", json!(["node"]), true),
            ("roles", json!(["operator", "node", "node"]), false),
            ("scopes", json!(["operator.read", "operator.admin"]), true),
            ("scopes", json!(["operator.write", "operator.read"]), false),
            ("commands", json!(["a", "b", "system.run"]), true),
            ("commands", json!(["b", "a"]), false),
            ("caps", json!([]), true),
            ("permissions", json!({"x": true, "y": true}), true),
            ("permissions", json!({"y": false, "x": true}), false),
            ("remoteIp", json!("10.0.0.2"), true),
            ("version", json!("2"), true),
            ("isRepair", json!(true), true),
            ("silent", json!(true), false),
            ("ts", json!(2), false),
            ("requiredApproveScopes", json!(["operator.admin"]), false),
            ("digest", json!("x"), false),
        ];
        for (name, value, changes) in table {
            let mut other = row();
            other[*name] = value.clone();
            assert_eq!(of(&other) != base, *changes, "{name} {value}");
        }
    }

    #[test]
    fn members_cannot_be_shifted_into_each_other() {
        let pair = |one: &str, other: &str| of(&json!({"displayName": one, "platform": other}));
        assert_ne!(
            pair("a\",\"platform\":\"b", "c"),
            pair("a", "b\",\"platform\":\"c")
        );
        assert_ne!(
            of(&json!({"roles": ["a,b"]})),
            of(&json!({"roles": ["a", "b"]}))
        );
    }

    #[test]
    fn only_the_digest_of_what_is_there_passes() {
        let row = stamped(row());
        let digest = row["digest"].as_str().unwrap().to_owned();
        for expected in [
            None,
            Some(digest.clone()),
            Some(format!(" {} ", digest.to_uppercase())),
        ] {
            assert_eq!(check(expected.as_deref(), &row), Ok(()), "{expected:?}");
        }
        for expected in ["", "0", &digest[..63]] {
            let refused = check(Some(expected), &row);
            assert_eq!(
                refused,
                Err(Refusal::RequestChanged(Box::new(row.clone()))),
                "{expected:?}"
            );
        }
    }
}
