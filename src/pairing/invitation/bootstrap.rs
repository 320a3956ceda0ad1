//! Bootstrap tokens: the secrets inside setup codes (protocol §5.8, §10.3).
//!
//! One lives ten minutes, belongs to the first device that shows it, and is gone once that device has what
//! its profile offers. The file is the reference's, so setup codes of both programs work with both.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Invitations, Visit, Why, terms::OPERATOR_SCOPES};
use crate::{
    identity::{DeviceId, Token, secret_eq, sha256_hex},
    pairing::{
        AuditEntry, Caller, Change, Changes, Entropy, Part, Refusal, State, scopes, state::Keyed,
    },
    protocol::scope::{Role, Scope, Scopes},
};

/// How long a bootstrap token lives after its `ts`, in milliseconds (protocol §5.8).
pub const TTL_MS: u64 = 600_000;

/// How many bootstrap tokens may be open at once; beyond it the oldest goes. More codes than anybody
/// scans within ten minutes, and a bound on what a connect compares.
pub const MAX_TOKENS: usize = 64;

/// Roles and scopes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// The roles.
    #[serde(default)]
    pub roles: Vec<String>,
    /// The scopes of all of them.
    #[serde(default)]
    pub scopes: Scopes,
}

/// One bootstrap token.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BootstrapToken {
    /// The secret, which is also the key of the record.
    pub token: Token,
    /// When its life began, epoch milliseconds.
    pub ts: u64,
    /// What it offers.
    #[serde(default)]
    pub profile: Profile,
    /// What was taken of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redeemed_profile: Option<Profile>,
    /// When it was issued, epoch milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issued_at_ms: Option<u64>,
    /// The device that used it first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_id: Option<DeviceId>,
    /// The key of that device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
    /// Last accepted use, epoch milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_at_ms: Option<u64>,
    /// Fields of other versions, kept and never shown.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// A token that was just made.
#[derive(Clone, Debug, PartialEq)]
pub struct Issued {
    /// The secret.
    pub token: Token,
    /// Until when it can be used, epoch milliseconds.
    pub expires_at_ms: u64,
}

impl Profile {
    /// What a setup code offers: to be a node, and an operator without power over pairing.
    pub fn usual() -> Profile {
        Profile {
            roles: [Role::Node, Role::Operator]
                .map(|role| role.as_str().to_owned())
                .into(),
            scopes: OPERATOR_SCOPES.into_iter().collect(),
        }
    }

    /// What of it is really offered: operator scopes beyond the four are not.
    pub fn offered(&self) -> Profile {
        let offered = |scope: &&Scope| {
            !scope.as_str().starts_with("operator.") || OPERATOR_SCOPES.contains(scope)
        };
        Profile {
            roles: self.roles.clone(),
            scopes: self.scopes.iter().filter(offered).cloned().collect(),
        }
    }

    fn names(&self, role: &str) -> bool {
        self.roles.iter().any(|known| known == role)
    }

    /// Both together.
    fn with(mut self, role: &str, scopes: &Scopes) -> Profile {
        if !self.names(role) {
            self.roles.push(role.to_owned());
        }
        self.scopes = scopes::union(&self.scopes, scopes);
        self
    }

    /// Whether nothing of `other` is missing here.
    fn contains(&self, other: &Profile) -> bool {
        other.roles.iter().all(|role| self.names(role))
            && other.scopes.iter().all(|scope| self.scopes.allows(scope))
    }
}

impl BootstrapToken {
    /// A name for the log that tells nothing about the secret.
    pub fn name(&self) -> String {
        let digest = sha256_hex(self.token.as_str().as_bytes());
        format!("bootstrap-{}", &digest[..8])
    }

    fn is_over(&self, now: u64) -> bool {
        now.abs_diff(self.ts) > TTL_MS
    }

    pub(super) fn check(&self, visit: &Visit<'_>, now: u64) -> Result<(), Why> {
        let offered = self.profile.offered();
        let other_device = self
            .device_id
            .as_ref()
            .is_some_and(|bound| bound != visit.device);
        let other_key = self
            .public_key
            .as_deref()
            .is_some_and(|bound| bound != visit.public_key);
        if self.is_over(now) {
            Err(Why::Expired)
        } else if other_device || other_key {
            Err(Why::OtherDevice)
        } else if !offered.names(visit.role.as_str()) {
            Err(Why::Role)
        } else if !scopes::grants(visit.role.as_str(), &offered.scopes, visit.scopes) {
            Err(Why::Scopes)
        } else {
            Ok(())
        }
    }

    /// Whether everything it offers was taken.
    fn is_spent(&self) -> bool {
        let redeemed = self.redeemed_profile.as_ref();
        redeemed.is_some_and(|redeemed| redeemed.contains(&self.profile.offered()))
    }
}

impl Keyed for BootstrapToken {
    type Key = Token;

    fn key(&self) -> &Token {
        &self.token
    }
}

/// Makes a token for a setup code; tokens that are over go.
///
/// # Errors
/// `MissingScope` when the caller could not approve what it offers, `RecordUnreadable`.
pub fn issue(
    state: &mut State,
    profile: &Profile,
    caller: &Caller<'_>,
    now: u64,
    entropy: &mut dyn Entropy,
) -> Result<(Issued, Changes), Refusal> {
    let profile = profile.offered();
    let needed = [Scope::PAIRING];
    if let Some(scope) = caller.scopes.missing(needed.iter().chain(&profile.scopes)) {
        return Err(Refusal::MissingScope(scope));
    }
    let table = state.invitations.bootstrap.table_mut()?;
    let mut open: Vec<(u64, Token)> = Vec::new();
    for token in table.records().cloned().collect::<Vec<_>>() {
        if token.is_over(now) {
            table.remove(token.token.as_str());
        } else {
            open.push((token.ts, token.token));
        }
    }
    open.sort_by_key(|(ts, _)| *ts);
    let excess = (open.len() + 1).saturating_sub(MAX_TOKENS);
    for (_, token) in open.into_iter().take(excess) {
        table.remove(token.as_str());
    }
    let token = BootstrapToken {
        token: entropy.token(),
        ts: now,
        profile,
        redeemed_profile: Some(Profile::default()),
        issued_at_ms: Some(now),
        device_id: None,
        public_key: None,
        last_used_at_ms: None,
        extra: Map::new(),
    };
    let audit = AuditEntry::by(caller, "bootstrap.issue", &token.name())
        .turning(None, Some(json!({"profile": token.profile})));
    let issued = Issued {
        token: token.token.clone(),
        expires_at_ms: now.saturating_add(TTL_MS),
    };
    table.put(token);
    Ok((issued, vec![Change::Save(Part::Bootstrap), audit.into()]))
}

/// Forgets a token whose device has what it came for.
pub fn discard(state: &mut State, token: &Token) -> Changes {
    let table = state.invitations.bootstrap.table_mut();
    let removed = table.is_ok_and(|table| table.remove(token.as_str()));
    let save = removed.then_some(Change::Save(Part::Bootstrap));
    save.into_iter().collect()
}

/// Forgets the tokens of a device that was removed; true when there were any.
pub(super) fn forget(state: &mut State, device: &DeviceId) -> bool {
    let Ok(table) = state.invitations.bootstrap.table_mut() else {
        return false;
    };
    let own: Vec<Token> = table
        .records()
        .filter(|record| record.device_id.as_ref() == Some(device))
        .map(|record| record.token.clone())
        .collect();
    for token in &own {
        table.remove(token.as_str());
    }
    !own.is_empty()
}

/// The record of a secret. Every record is compared, each in constant time.
pub(super) fn find<'a>(invitations: &'a Invitations, secret: &str) -> Option<&'a BootstrapToken> {
    let mut found = None;
    for token in invitations.bootstrap.records() {
        if secret_eq(token.token.as_str(), secret) {
            found = Some(token);
        }
    }
    found
}

/// From now on the token is this device's.
pub(super) fn bind(state: &mut State, token: &Token, visit: &Visit<'_>, now: u64) -> Changes {
    let mut fresh = false;
    let updated = update(state, token, |record| {
        fresh = record.device_id.is_none() || record.public_key.is_none();
        record.device_id = Some(visit.device.clone());
        record.public_key = Some(visit.public_key.to_owned());
        record.last_used_at_ms = Some(now);
    });
    match (updated, fresh) {
        (false, _) => Changes::new(),
        (true, true) => vec![Change::Save(Part::Bootstrap)],
        (true, false) => vec![Change::Touch(Part::Bootstrap)],
    }
}

/// Notes what the device has taken of its token: a role with scopes, or with None everything that is
/// offered. True when nothing is left.
pub(in crate::pairing) fn redeem(
    state: &mut State,
    token: &Token,
    taken: Option<(&str, &Scopes)>,
) -> (bool, Changes) {
    let mut changed = false;
    let mut spent = false;
    update(state, token, |record| {
        let before = record.redeemed_profile.clone();
        let redeemed = before.clone().unwrap_or_default();
        record.redeemed_profile = Some(match taken {
            Some((role, scopes)) => redeemed.with(role, scopes),
            None => record.profile.offered(),
        });
        changed = record.redeemed_profile != before;
        spent = record.is_spent();
    });
    let save = changed.then_some(Change::Save(Part::Bootstrap));
    (spent, save.into_iter().collect())
}

/// What the token offers.
pub(in crate::pairing) fn offer(state: &State, token: &Token) -> Option<Profile> {
    let record = state
        .invitations
        .bootstrap
        .table()
        .ok()?
        .record(token.as_str())?;
    Some(record.profile.offered())
}

/// Whether everything the token offers was given to its device at once.
pub(in crate::pairing) fn is_spent(state: &State, token: &Token) -> bool {
    let table = state.invitations.bootstrap.table();
    let record = table.ok().and_then(|table| table.record(token.as_str()));
    record.is_some_and(BootstrapToken::is_spent)
}

fn update(state: &mut State, token: &Token, change: impl FnOnce(&mut BootstrapToken)) -> bool {
    match state.invitations.bootstrap.table_mut() {
        Ok(table) => table.update(token.as_str(), change),
        Err(_) => false,
    }
}
