//! Roles and operator scopes, and what a session that holds some scopes may do with them.
//!
//! A scope list keeps the order in which it was sent, because signatures and records need that order.
//! What a *device* was approved for is decided in `pairing`; here is only the algebra of a live session.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Serialize};

/// The two roles a connection can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// A person or program that administers and uses the gateway.
    Operator,
    /// A device that offers commands.
    Node,
}

impl Role {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Role::Operator => "operator",
            Role::Node => "node",
        }
    }

    /// Reads the exact wire word; anything else is no role.
    pub fn parse(text: &str) -> Option<Role> {
        match text {
            "operator" => Some(Role::Operator),
            "node" => Some(Role::Node),
            _ => None,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// One scope as sent, for example `operator.read`; also words that this gateway does not know.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Scope(Cow<'static, str>);

impl Scope {
    /// Everything an operator can do.
    pub const ADMIN: Scope = Scope(Cow::Borrowed("operator.admin"));
    /// Decide exec approvals.
    pub const APPROVALS: Scope = Scope(Cow::Borrowed("operator.approvals"));
    /// Manage devices, nodes and their tokens.
    pub const PAIRING: Scope = Scope(Cow::Borrowed("operator.pairing"));
    /// Look at nodes and status.
    pub const READ: Scope = Scope(Cow::Borrowed("operator.read"));
    /// Exists on the wire and guards nothing here.
    pub const TALK_SECRETS: Scope = Scope(Cow::Borrowed("operator.talk.secrets"));
    /// Run commands on nodes; contains reading.
    pub const WRITE: Scope = Scope(Cow::Borrowed("operator.write"));

    /// Every scope that has a meaning.
    const ALL: [Scope; 6] = [
        Scope::ADMIN,
        Scope::APPROVALS,
        Scope::PAIRING,
        Scope::READ,
        Scope::TALK_SECRETS,
        Scope::WRITE,
    ];

    /// Whether this is a scope that has a meaning, not just a word.
    pub fn is_known(&self) -> bool {
        Scope::ALL.contains(self)
    }

    /// The scope as sent.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Scope {
    fn from(text: &str) -> Self {
        Scope(Cow::Owned(text.to_owned()))
    }
}

impl From<String> for Scope {
    fn from(text: String) -> Self {
        Scope(Cow::Owned(text))
    }
}

impl AsRef<str> for Scope {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Scopes in the order in which they were sent or stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Scopes(Vec<Scope>);

impl Scopes {
    /// No scope at all.
    pub const fn none() -> Scopes {
        Scopes(Vec::new())
    }

    /// Whether a session with these scopes may do what `needed` guards: admin passes everything,
    /// reading is also met by writing, everything else needs itself (protocol §1.3, §9.1).
    pub fn allows(&self, needed: &Scope) -> bool {
        self.0.iter().any(|held| {
            held == &Scope::ADMIN
                || held == needed
                || (needed == &Scope::READ && held == &Scope::WRITE)
        })
    }

    /// The first of `needed` that a session with these scopes may not do.
    pub fn missing<'a>(&self, needed: impl IntoIterator<Item = &'a Scope>) -> Option<Scope> {
        needed
            .into_iter()
            .find(|scope| !self.allows(scope))
            .cloned()
    }

    /// Whether exactly this scope is in the list.
    pub fn contains(&self, scope: &Scope) -> bool {
        self.0.contains(scope)
    }

    /// Whether the list is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many entries the list has, repetitions counted.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The scopes in their order.
    pub fn iter(&self) -> std::slice::Iter<'_, Scope> {
        self.0.iter()
    }

    /// The scopes joined with `separator`, as the signature payload (`,`) and tables (`, `) want them.
    pub fn join(&self, separator: &str) -> String {
        let words: Vec<&str> = self.0.iter().map(Scope::as_str).collect();
        words.join(separator)
    }
}

impl<T: Into<Scope>> FromIterator<T> for Scopes {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        Scopes(items.into_iter().map(Into::into).collect())
    }
}

impl<'a> IntoIterator for &'a Scopes {
    type Item = &'a Scope;
    type IntoIter = std::slice::Iter<'a, Scope>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_may_do_what_its_scopes_say() {
        let table: &[(&[&str], &str, bool)] = &[
            (&[], "operator.read", false),
            (&["operator.read"], "operator.read", true),
            (&["operator.write"], "operator.read", true),
            (&["operator.read"], "operator.write", false),
            (&["operator.write"], "operator.pairing", false),
            (&["operator.pairing"], "operator.pairing", true),
            (&["operator.pairing"], "operator.read", false),
            (&["operator.admin"], "operator.approvals", true),
            (&["operator.admin"], "operator.anything.new", true),
            (&["operator.Admin"], "operator.read", false),
        ];
        for (held, needed, expected) in table {
            let held: Scopes = held.iter().copied().collect();
            assert_eq!(
                held.allows(&Scope::from(*needed)),
                *expected,
                "{held:?} {needed}"
            );
        }
    }

    #[test]
    fn the_first_missing_scope_is_named() {
        let held: Scopes = ["operator.pairing"].into_iter().collect();
        let needed = [Scope::PAIRING, Scope::ADMIN, Scope::WRITE];
        assert_eq!(held.missing(&needed), Some(Scope::ADMIN));
        let admin: Scopes = ["operator.admin"].into_iter().collect();
        assert_eq!(admin.missing(&needed), None);
    }

    #[test]
    fn only_the_two_exact_words_are_roles() {
        assert_eq!(Role::parse("operator"), Some(Role::Operator));
        assert_eq!(Role::parse("node"), Some(Role::Node));
        for word in ["", "Node", "worker", " node"] {
            assert_eq!(Role::parse(word), None, "{word:?}");
        }
    }
}
