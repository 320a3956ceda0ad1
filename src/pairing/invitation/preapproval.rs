//! Pre-approvals: a device is approved by its public key before it ever connects.
//!
//! The first connect of exactly this key, with credentials that are right, needs no person. It serves one
//! pairing: when the device is removed, so is what would bring it back.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    record::{self, Shown},
    terms::{Terms, end_of_life, name},
};
use crate::{
    identity::{DeviceId, PublicKey},
    pairing::{
        AuditEntry, Caller, Change, Changes, Part, Refusal, State,
        connect::ConnectClaim,
        scopes,
        state::{Entry, Keyed},
    },
    protocol::{limits::DAY_MS, params::DeviceKeysPreapprove},
};

/// How long a pre-approval waits when nobody says, in milliseconds: a day, for a machine being set up.
pub const USUAL_TTL_MS: u64 = DAY_MS;

/// How many devices may be expected at once: the largest fleet that one gateway serves.
pub const MAX_EXPECTED: usize = 10_000;

/// A device that is expected.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Preapproval {
    /// Which: the hash of its key.
    pub device_id: DeviceId,
    /// Its key in the canonical form.
    pub public_key: String,
    /// The operator's name for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What is approved.
    #[serde(flatten)]
    pub terms: Terms,
    /// Who approved it.
    pub created_by: String,
    /// When, epoch milliseconds.
    pub created_at_ms: u64,
    /// Until when it is expected, epoch milliseconds.
    pub expires_at_ms: u64,
    /// When it came, epoch milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_at_ms: Option<u64>,
    /// Fields of other versions, kept and never shown.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// What a person asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct NewPreapproval {
    /// The key as typed.
    pub public_key: String,
    /// What to call the device.
    pub name: Option<String>,
    /// What is approved.
    pub terms: Terms,
    /// For how long it waits, in milliseconds.
    pub ttl_ms: u64,
}

impl Preapproval {
    fn is_over(&self, now: u64) -> bool {
        now > self.expires_at_ms
    }

    fn status(&self, now: u64) -> &'static str {
        if self.used_at_ms.is_some() {
            "used"
        } else if self.is_over(now) {
            "expired"
        } else {
            "waiting"
        }
    }
}

impl Shown for Preapproval {
    fn created_at_ms(&self) -> u64 {
        self.created_at_ms
    }

    fn shown(&self, now: u64) -> Value {
        let mut shown = self.clone();
        shown.extra = Map::new();
        let mut row = serde_json::to_value(shown).unwrap_or_default();
        row["status"] = self.status(now).into();
        row
    }
}

impl From<DeviceKeysPreapprove> for NewPreapproval {
    fn from(asked: DeviceKeysPreapprove) -> NewPreapproval {
        NewPreapproval {
            public_key: asked.public_key,
            name: asked.offer.name.clone(),
            ttl_ms: asked.offer.ttl_ms.unwrap_or(USUAL_TTL_MS),
            terms: asked.offer.into(),
        }
    }
}

impl Keyed for Preapproval {
    type Key = DeviceId;

    fn key(&self) -> &DeviceId {
        &self.device_id
    }
}

/// Approves a device that will come; replaces what was decided about the same key before.
///
/// # Errors
/// `InvitationsDenied`, `InvitationInvalid`, `MissingScope`, `AlreadyPaired`, `RecordUnreadable`.
pub fn preapprove(
    state: &mut State,
    wanted: NewPreapproval,
    caller: &Caller<'_>,
    now: u64,
) -> Result<(Value, Changes), Refusal> {
    let terms = wanted.terms.authorized(caller)?;
    let name = name(wanted.name.as_deref())?;
    let expires_at_ms = end_of_life(wanted.ttl_ms, now)?;
    let Some(key) = PublicKey::decode(wanted.public_key.trim()) else {
        let text = "not an Ed25519 public key: give the 43 characters that `openclaw node identity` prints";
        return Err(Refusal::InvitationInvalid(text.into()));
    };
    let device_id = key.device_id();
    match state.devices.paired.entry(device_id.as_str()) {
        Entry::Absent => {}
        Entry::Record(_) => return Err(Refusal::AlreadyPaired(device_id)),
        Entry::Unreadable => return Err(Refusal::RecordUnreadable),
    }
    let table = state.invitations.preapproved.table_mut()?;
    record::prune(table, |known| known.is_over(now));
    if table.len() >= MAX_EXPECTED {
        let text = format!("{MAX_EXPECTED} devices are expected already");
        return Err(Refusal::InvitationInvalid(text));
    }
    let before = table
        .record(device_id.as_str())
        .map(|known| known.shown(now));
    let record = Preapproval {
        device_id,
        public_key: key.encode(),
        name,
        terms,
        created_by: caller.label.clone(),
        created_at_ms: now,
        expires_at_ms,
        used_at_ms: None,
        extra: Map::new(),
    };
    let shown = record.shown(now);
    let audit = AuditEntry::by(caller, "device.preapprove", record.device_id.as_str())
        .turning(before, Some(shown.clone()));
    table.put(record);
    Ok((shown, vec![Change::Save(Part::Preapproved), audit.into()]))
}

/// All pre-approvals, newest first.
pub(super) fn list(state: &State, now: u64) -> Vec<Value> {
    record::rows(state.invitations.preapproved.records(), now)
}

/// Takes a pre-approval back; a device that came by it stays. None when there is none.
///
/// # Errors
/// `RecordUnreadable`.
pub(super) fn revoke(
    state: &mut State,
    id: &str,
    caller: &Caller<'_>,
    now: u64,
) -> Result<Option<Changes>, Refusal> {
    let table = state.invitations.preapproved.table_mut()?;
    let audit = AuditEntry::by(caller, "preapproval.revoke", id);
    Ok(record::revoke(
        (Part::Preapproved, table),
        id,
        now,
        audit,
        |table| {
            table.remove(id);
        },
    ))
}

/// The pre-approval that covers this claim now. One that was used serves a pairing that was interrupted.
pub(super) fn covering<'a>(
    state: &'a State,
    claim: &ConnectClaim,
    now: u64,
) -> Option<&'a Preapproval> {
    let table = state.invitations.preapproved.table().ok()?;
    let record = table.record(claim.device.as_str())?;
    let fits = !record.is_over(now)
        && record.public_key == claim.public_key
        && record.terms.role == claim.role
        && scopes::grants(claim.role.as_str(), &record.terms.scopes, &claim.scopes);
    fits.then_some(record)
}

/// Notes that the device came.
pub(super) fn note_used(state: &mut State, device: &DeviceId, now: u64) -> Changes {
    if let Ok(table) = state.invitations.preapproved.table_mut() {
        table.update(device.as_str(), |record| {
            record.used_at_ms.get_or_insert(now);
        });
    }
    vec![Change::Save(Part::Preapproved)]
}

/// Forgets the pre-approval of a device that was removed; true when there was one.
pub(super) fn forget(state: &mut State, device: &DeviceId) -> bool {
    let table = state.invitations.preapproved.table_mut();
    table.is_ok_and(|table| table.remove(device.as_str()))
}
