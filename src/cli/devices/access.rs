//! What a device asks for beside what it is approved for, and what kind of approval that makes. Pure, over
//! the rows of `device.pair.list`.

use serde_json::{Value, json};

use crate::cli::output::text::plain;
use crate::cli::row;
use crate::pairing::scopes::grants;
use crate::protocol::scope::Scopes;

/// What approving a request means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A device nobody approved yet, or one with another key.
    NewPairing,
    /// The same access once more.
    ReApproval,
    /// A role it has not, or whose token was revoked.
    RoleUpgrade,
    /// Scopes beyond the approved ones.
    ScopeUpgrade,
}

impl Kind {
    /// What approving `request` means when `paired` are the approved devices.
    pub fn of(request: &Value, paired: &[Value]) -> Kind {
        let Some(record) = record_of(request, paired) else {
            return Kind::NewPairing;
        };
        let live = live_roles(record);
        let requested = roles(request);
        if requested.iter().any(|role| !live.contains(role)) {
            return Kind::RoleUpgrade;
        }
        let approved: Scopes = scopes(record).into_iter().collect();
        let wanted: Scopes = scopes(request).into_iter().collect();
        let granted = requested
            .iter()
            .any(|role| grants(role, &approved, &wanted));
        if granted || wanted.is_empty() {
            Kind::ReApproval
        } else {
            Kind::ScopeUpgrade
        }
    }

    /// The word in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::NewPairing => "new-pairing",
            Kind::ReApproval => "re-approval",
            Kind::RoleUpgrade => "role-upgrade",
            Kind::ScopeUpgrade => "scope-upgrade",
        }
    }

    /// The word in text.
    pub fn words(self) -> String {
        match self {
            Kind::ReApproval => self.as_str().to_owned(),
            _ => self.as_str().replace('-', " "),
        }
    }

    /// One sentence that tells what an approval would change.
    pub fn note(self) -> &'static str {
        match self {
            Kind::NewPairing => {
                "This device is not paired yet; approving lets it connect with the requested access."
            }
            Kind::ReApproval => {
                "This device is already approved for this access; approving issues new tokens."
            }
            Kind::RoleUpgrade => {
                "This device is paired and asks for a role it does not hold; approving adds the role."
            }
            Kind::ScopeUpgrade => {
                "This device is paired and asks for more scopes than it has; approving widens its access."
            }
        }
    }
}

/// The approved record of the same device with the same key.
pub fn record_of<'a>(request: &Value, paired: &'a [Value]) -> Option<&'a Value> {
    paired.iter().find(|record| {
        row::id(record) == row::id(request)
            && row::text(record, "publicKey") == row::text(request, "publicKey")
    })
}

/// `roles: operator; scopes: operator.read`.
pub fn described(row: &Value) -> String {
    let listed = |words: Vec<&str>| match words.is_empty() {
        true => "none".to_owned(),
        false => plain(&words.join(", ")),
    };
    format!(
        "roles: {}; scopes: {}",
        listed(roles(row)),
        listed(scopes(row))
    )
}

/// `{"roles":[…],"scopes":[…]}`.
pub fn document(row: &Value) -> Value {
    json!({"roles": roles(row), "scopes": scopes(row)})
}

/// Every role of a request or record.
pub fn roles(row: &Value) -> Vec<&str> {
    let mut roles = row::words(row, "roles").unwrap_or_default();
    if let Some(role) = row::text(row, "role").filter(|role| !roles.contains(role)) {
        roles.push(role);
    }
    roles
}

fn scopes(row: &Value) -> Vec<&str> {
    row::words(row, "scopes").unwrap_or_default()
}

/// Approved roles that have a token which was not revoked.
fn live_roles(record: &Value) -> Vec<&str> {
    let approved = roles(record);
    row::rows(record, "tokens")
        .iter()
        .filter(|token| row::number(token, "revokedAtMs").is_none())
        .filter_map(|token| row::text(token, "role"))
        .filter(|role| approved.contains(role))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(scopes: &[&str], tokens: &Value) -> Value {
        json!({"deviceId":"d","publicKey":"k","role":"operator","roles":["operator"],"scopes":scopes,"tokens":tokens})
    }

    #[test]
    fn kinds_of_approval() {
        let live = json!([{"role":"operator"}]);
        let revoked = json!([{"role":"operator","revokedAtMs":1}]);
        let ask = |key: &str, role: &str, scopes: &[&str]| json!({"deviceId":"d","publicKey":key,"role":role,"roles":[role],"scopes":scopes});
        for (request, paired, expected) in [
            (
                ask("k", "operator", &["operator.read"]),
                vec![],
                Kind::NewPairing,
            ),
            (
                ask("other", "operator", &[]),
                vec![record(&[], &live)],
                Kind::NewPairing,
            ),
            (
                ask("k", "node", &[]),
                vec![record(&[], &live)],
                Kind::RoleUpgrade,
            ),
            (
                ask("k", "operator", &[]),
                vec![record(&[], &revoked)],
                Kind::RoleUpgrade,
            ),
            (
                ask("k", "operator", &["operator.read"]),
                vec![record(&["operator.pairing"], &live)],
                Kind::ScopeUpgrade,
            ),
            (
                ask("k", "operator", &["operator.read"]),
                vec![record(&["operator.admin"], &live)],
                Kind::ReApproval,
            ),
            (
                ask("k", "operator", &[]),
                vec![record(&[], &live)],
                Kind::ReApproval,
            ),
        ] {
            assert_eq!(Kind::of(&request, &paired), expected, "{request}");
        }
        assert_eq!(Kind::ScopeUpgrade.words(), "scope upgrade");
        assert_eq!(Kind::ReApproval.words(), "re-approval");
    }

    #[test]
    fn access_in_words() {
        let row = json!({"role":"operator","scopes":["operator.read"]});
        assert_eq!(described(&row), "roles: operator; scopes: operator.read");
        assert_eq!(
            described(&json!({"roles":["node"],"scopes":[]})),
            "roles: node; scopes: none"
        );
        assert_eq!(
            document(&row),
            json!({"roles":["operator"],"scopes":["operator.read"]})
        );
    }
}
