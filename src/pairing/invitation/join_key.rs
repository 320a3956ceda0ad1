//! Join keys: secrets that let a number of new devices in until a time, with terms decided beforehand.
//!
//! The secret is shown once, when the key is made; only its hash is kept. One use is one device on both
//! layers: devices that joined are remembered in the key, so that coming again costs nothing and a device
//! that was removed stays out.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    Invitations, Visit, Why,
    record::{self, Shown},
    terms::{Terms, end_of_life, name, words},
};
use crate::{
    identity::{DeviceId, KeyId, Token, secret_eq, sha256_hex},
    pairing::{
        AuditEntry, Caller, Change, Changes, Entropy, Part, Refusal, State, networks::Networks,
        scopes, state::Keyed,
    },
    protocol::{limits::DAY_MS, params::DeviceKeysCreate},
};

/// How long a key lives when nobody says, in milliseconds: an hour is enough to set up machines.
pub const USUAL_TTL_MS: u64 = 3_600_000;

/// The most uses of one key: the largest fleet that one gateway serves.
pub const MAX_USES: u64 = 10_000;

/// How many keys are kept, dead ones included: a bound on what a connect compares.
pub const MAX_KEYS: usize = 512;

/// How long a dead key is still listed, in milliseconds: seven days.
const KEPT_MS: u64 = 7 * DAY_MS;

/// One join key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JoinKey {
    /// Its name in lists; no secret.
    pub id: KeyId,
    /// What its author calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// SHA-256 of the secret, hex.
    pub secret_hash: String,
    /// What it offers.
    #[serde(flatten)]
    pub terms: Terms,
    /// From where it can be used; anywhere when empty.
    #[serde(default)]
    pub cidrs: Vec<String>,
    /// How many devices may join by it in all.
    pub uses: u64,
    /// Which did.
    #[serde(default)]
    pub joined: Vec<Joined>,
    /// Who made it.
    pub created_by: String,
    /// When, epoch milliseconds.
    pub created_at_ms: u64,
    /// Until when it can be used, epoch milliseconds.
    pub expires_at_ms: u64,
    /// Set when it was revoked, epoch milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at_ms: Option<u64>,
    /// Fields of other versions, kept and never shown.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// A device that a key let in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Joined {
    /// Which.
    pub device_id: DeviceId,
    /// When, epoch milliseconds.
    pub at_ms: u64,
    /// When it was removed again, epoch milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed_at_ms: Option<u64>,
}

/// What a person asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct NewKey {
    /// What to call it.
    pub name: Option<String>,
    /// What it offers.
    pub terms: Terms,
    /// From where; anywhere when empty.
    pub cidrs: Vec<String>,
    /// For how many devices.
    pub uses: u64,
    /// For how long, in milliseconds.
    pub ttl_ms: u64,
}

/// A key that was just made: the only time that its secret is there.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Created {
    /// The secret.
    pub key: Token,
    /// The key as lists show it.
    #[serde(flatten)]
    pub shown: Value,
}

impl JoinKey {
    fn remaining(&self) -> u64 {
        self.uses.saturating_sub(self.joined.len() as u64)
    }

    fn status(&self, now: u64) -> &'static str {
        if self.revoked_at_ms.is_some() {
            "revoked"
        } else if now > self.expires_at_ms {
            "expired"
        } else if self.remaining() == 0 {
            "used-up"
        } else {
            "active"
        }
    }

    /// When it stopped inviting anybody new, as far as the clock knows.
    fn dead_since(&self) -> u64 {
        self.revoked_at_ms
            .unwrap_or(self.expires_at_ms)
            .min(self.expires_at_ms)
    }

    pub(super) fn check(&self, visit: &Visit<'_>, now: u64) -> Result<(), Why> {
        let role = self.terms.role;
        let scopes_fit = scopes::grants(role.as_str(), &self.terms.scopes, visit.scopes);
        if self.revoked_at_ms.is_some() {
            Err(Why::Revoked)
        } else if now > self.expires_at_ms {
            Err(Why::Expired)
        } else if visit.role != role {
            Err(Why::Role)
        } else if !scopes_fit {
            Err(Why::Scopes)
        } else if !self.is_in_reach(visit) {
            Err(Why::Address)
        } else {
            match self
                .joined
                .iter()
                .find(|joined| &joined.device_id == visit.device)
            {
                Some(joined) if joined.removed_at_ms.is_some() => Err(Why::Removed),
                Some(_) => Ok(()),
                None if self.remaining() == 0 => Err(Why::UsedUp),
                None => Ok(()),
            }
        }
    }

    fn is_in_reach(&self, visit: &Visit<'_>) -> bool {
        let networks = Networks::parse(&self.cidrs);
        let inside = |address| networks.matching(address).is_some();
        self.cidrs.is_empty() || visit.address.is_some_and(inside)
    }
}

impl Shown for JoinKey {
    fn created_at_ms(&self) -> u64 {
        self.created_at_ms
    }

    fn shown(&self, now: u64) -> Value {
        let mut shown = self.clone();
        shown.extra = Map::new();
        let mut row = serde_json::to_value(shown).unwrap_or_default();
        if let Some(members) = row.as_object_mut() {
            members.shift_remove("secretHash");
            members.insert("usesLeft".to_owned(), self.remaining().into());
            members.insert("status".to_owned(), self.status(now).into());
        }
        row
    }
}

impl From<DeviceKeysCreate> for NewKey {
    fn from(asked: DeviceKeysCreate) -> NewKey {
        NewKey {
            ttl_ms: asked.offer.ttl_ms.unwrap_or(USUAL_TTL_MS),
            name: asked.offer.name.clone(),
            terms: asked.offer.into(),
            cidrs: asked.cidrs,
            uses: asked.uses.unwrap_or(1),
        }
    }
}

impl Keyed for JoinKey {
    type Key = KeyId;

    fn key(&self) -> &KeyId {
        &self.id
    }
}

/// Makes a key. Nobody makes one for what he could not approve himself.
///
/// # Errors
/// `InvitationsDenied`, `InvitationInvalid`, `MissingScope`, `RecordUnreadable`.
pub fn create(
    state: &mut State,
    wanted: NewKey,
    caller: &Caller<'_>,
    now: u64,
    entropy: &mut dyn Entropy,
) -> Result<(Created, Changes), Refusal> {
    let terms = wanted.terms.authorized(caller)?;
    let name = name(wanted.name.as_deref())?;
    check(&wanted.cidrs, wanted.uses)?;
    let expires_at_ms = end_of_life(wanted.ttl_ms, now)?;
    let table = state.invitations.join_keys.table_mut()?;
    record::prune(table, |key| now >= key.dead_since().saturating_add(KEPT_MS));
    if table.len() >= MAX_KEYS {
        let text = format!(
            "there are {MAX_KEYS} join keys already: revoke some and wait, or use one longer"
        );
        return Err(Refusal::InvitationInvalid(text));
    }
    let secret = entropy.token();
    let key = JoinKey {
        id: KeyId::from(entropy.request_id().as_str()),
        name,
        secret_hash: sha256_hex(secret.as_str().as_bytes()),
        terms,
        cidrs: wanted.cidrs,
        uses: wanted.uses,
        joined: Vec::new(),
        created_by: caller.label.clone(),
        created_at_ms: now,
        expires_at_ms,
        revoked_at_ms: None,
        extra: Map::new(),
    };
    let shown = key.shown(now);
    let audit =
        AuditEntry::by(caller, "key.create", key.id.as_str()).turning(None, Some(shown.clone()));
    table.put(key);
    let changes = vec![Change::Save(Part::JoinKeys), audit.into()];
    Ok((Created { key: secret, shown }, changes))
}

/// All keys, newest first.
pub(super) fn list(state: &State, now: u64) -> Vec<Value> {
    record::rows(state.invitations.join_keys.records(), now)
}

/// Ends a key; devices that joined by it stay. None when there is no such key.
///
/// # Errors
/// `RecordUnreadable`.
pub(super) fn revoke(
    state: &mut State,
    id: &str,
    caller: &Caller<'_>,
    now: u64,
) -> Result<Option<Changes>, Refusal> {
    let table = state.invitations.join_keys.table_mut()?;
    let audit = AuditEntry::by(caller, "key.revoke", id);
    Ok(record::revoke(
        (Part::JoinKeys, table),
        id,
        now,
        audit,
        |table| {
            table.update(id, |key| {
                key.revoked_at_ms.get_or_insert(now);
            });
        },
    ))
}

/// The key of a secret. Every key is compared, each in constant time.
pub(super) fn find<'a>(invitations: &'a Invitations, secret: &str) -> Option<&'a JoinKey> {
    let hash = sha256_hex(secret.as_bytes());
    let mut found = None;
    for key in invitations.join_keys.records() {
        if secret_eq(&key.secret_hash, &hash) {
            found = Some(key);
        }
    }
    found
}

/// Notes that a device joins: one use less, unless it is on its list already after an interruption.
pub(super) fn note_joined(state: &mut State, id: &KeyId, device: &DeviceId, now: u64) -> Changes {
    let joined = Joined {
        device_id: device.clone(),
        at_ms: now,
        removed_at_ms: None,
    };
    update(state, id.as_str(), |key| {
        if !key.joined.iter().any(|known| &known.device_id == device) {
            key.joined.push(joined);
        }
    });
    vec![Change::Save(Part::JoinKeys)]
}

/// Notes in every key that a device was removed, so that no key brings it back; true when one knew it.
pub(super) fn note_removed(state: &mut State, device: &DeviceId, now: u64) -> bool {
    let known = |joined: &Joined| &joined.device_id == device && joined.removed_at_ms.is_none();
    let keys = state.invitations.join_keys.records();
    let affected: Vec<KeyId> = keys
        .filter(|key| key.joined.iter().any(known))
        .map(|key| key.id.clone())
        .collect();
    for id in &affected {
        update(state, id.as_str(), |key| {
            for joined in key
                .joined
                .iter_mut()
                .filter(|joined| &joined.device_id == device)
            {
                joined.removed_at_ms.get_or_insert(now);
            }
        });
    }
    !affected.is_empty()
}

fn update(state: &mut State, id: &str, change: impl FnOnce(&mut JoinKey)) {
    if let Ok(table) = state.invitations.join_keys.table_mut() {
        table.update(id, change);
    }
}

fn check(cidrs: &[String], uses: u64) -> Result<(), Refusal> {
    words("cidrs", cidrs)?;
    if uses == 0 || uses > MAX_USES {
        let text = format!("uses must be between 1 and {MAX_USES}");
        return Err(Refusal::InvitationInvalid(text));
    }
    // A network that nobody can be in would be a key that nobody can use, noticed too late.
    match cidrs.iter().find(|cidr| !Networks::is_network(cidr)) {
        Some(cidr) => Err(Refusal::InvitationInvalid(format!(
            "not an IP address or CIDR block: {cidr}"
        ))),
        None => Ok(()),
    }
}
