//! What an approval covers: normal forms and the algebra of a role's scope family.
//!
//! A live session's scopes are judged in `protocol::scope`; here is what a device was granted
//! (protocol §5.1). All functions treat an unknown word as itself: it is granted only literally.

use std::collections::BTreeSet;

use crate::protocol::scope::{Role, Scope, Scopes};

/// The normal form of tokens and baselines: trimmed, without repetition, admin with read and write,
/// write with read, sorted.
pub fn normalize(scopes: &Scopes) -> Scopes {
    let mut set: BTreeSet<Scope> = trimmed(scopes).collect();
    if set.contains(&Scope::ADMIN) {
        set.insert(Scope::WRITE);
    }
    if set.contains(&Scope::WRITE) {
        set.insert(Scope::READ);
    }
    set.into_iter().collect()
}

/// Whether a grant covers a request for this role. An empty request is always covered, a non-empty
/// one never by an empty grant.
pub fn grants(role: &str, granted: &Scopes, requested: &Scopes) -> bool {
    trimmed(requested).all(|scope| grants_one(role, granted, &scope))
}

/// The scopes of a list that a role's token carries, normalized: those whose name starts with the role.
pub fn family(role: &str, scopes: &Scopes) -> Scopes {
    normalize(
        &trimmed(scopes)
            .filter(|scope| belongs(role, scope))
            .collect(),
    )
}

/// Both lists in their order, without repetition.
pub fn union(first: &Scopes, second: &Scopes) -> Scopes {
    let mut all: Vec<Scope> = Vec::new();
    for scope in trimmed(first).chain(trimmed(second)) {
        if !all.contains(&scope) {
            all.push(scope);
        }
    }
    all.into_iter().collect()
}

/// The first scope that belongs to none of the roles.
pub fn misfit(roles: &[&str], scopes: &Scopes) -> Option<Scope> {
    trimmed(scopes).find(|scope| !roles.iter().any(|role| belongs(role, scope)))
}

fn belongs(role: &str, scope: &Scope) -> bool {
    scope
        .as_str()
        .strip_prefix(role)
        .is_some_and(|rest| rest.starts_with('.'))
}

fn grants_one(role: &str, granted: &Scopes, scope: &Scope) -> bool {
    if !belongs(role, scope) {
        return false;
    }
    if role == Role::Operator.as_str() {
        granted.allows(scope)
    } else {
        granted.contains(scope)
    }
}

fn trimmed(scopes: &Scopes) -> impl Iterator<Item = Scope> {
    let words = scopes.iter().map(|scope| scope.as_str().trim());
    words.filter(|word| !word.is_empty()).map(Scope::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(words: &[&str]) -> Scopes {
        words.iter().copied().collect()
    }

    #[test]
    fn normal_forms() {
        let table: &[(&[&str], &[&str])] = &[
            (&[], &[]),
            (
                &[" operator.read ", "operator.read", ""],
                &["operator.read"],
            ),
            (&["operator.write"], &["operator.read", "operator.write"]),
            (
                &["operator.admin"],
                &["operator.admin", "operator.read", "operator.write"],
            ),
            (
                &["operator.pairing", "operator.approvals"],
                &["operator.approvals", "operator.pairing"],
            ),
            (&["node.z", "node.a"], &["node.a", "node.z"]),
        ];
        for (given, expected) in table {
            assert_eq!(normalize(&list(given)), list(expected), "{given:?}");
        }
    }

    #[test]
    fn what_a_grant_covers() {
        let table: &[(&str, &[&str], &[&str], bool)] = &[
            ("operator", &[], &[], true),
            ("operator", &[], &["operator.read"], false),
            ("operator", &["operator.read"], &[], true),
            ("operator", &["operator.read"], &["operator.read"], true),
            ("operator", &["operator.write"], &["operator.read"], true),
            ("operator", &["operator.read"], &["operator.write"], false),
            (
                "operator",
                &["operator.admin"],
                &["operator.talk.secrets", "operator.x"],
                true,
            ),
            ("operator", &["operator.admin"], &["node.x"], false),
            ("operator", &["operator.admin"], &["operatorx"], false),
            (
                "operator",
                &["operator.pairing"],
                &["operator.pairing", "operator.read"],
                false,
            ),
            ("node", &["node.x"], &["node.x"], true),
            ("node", &["node.x"], &["node.y"], false),
            ("node", &["operator.admin"], &["node.x"], false),
            ("node", &["operator.read"], &["operator.read"], false),
            ("node", &[], &[], true),
        ];
        for (role, granted, requested, expected) in table {
            assert_eq!(
                grants(role, &list(granted), &list(requested)),
                *expected,
                "{role} {granted:?} {requested:?}"
            );
        }
    }

    #[test]
    fn a_token_carries_its_own_family() {
        let mixed = list(&["node.x", "operator.write"]);
        assert_eq!(
            family("operator", &mixed),
            list(&["operator.read", "operator.write"])
        );
        assert_eq!(family("node", &mixed), list(&["node.x"]));
    }

    #[test]
    fn a_union_keeps_the_order_of_asking() {
        let all = union(
            &list(&["operator.read", "a"]),
            &list(&[" a", "operator.admin"]),
        );
        assert_eq!(all, list(&["operator.read", "a", "operator.admin"]));
    }

    #[test]
    fn a_scope_must_fit_a_role() {
        assert_eq!(
            misfit(&["node"], &list(&["operator.read"])),
            Some(Scope::READ)
        );
        assert_eq!(
            misfit(&["node", "operator"], &list(&["operator.read", "node.x"])),
            None
        );
        assert_eq!(
            misfit(&["operator"], &list(&["operator"])),
            Some(Scope::from("operator"))
        );
        assert_eq!(misfit(&["node"], &list(&[])), None);
    }
}
