//! What the approval of a device grants, whether a person or a rule of silence gives it.
//!
//! The approver hands on only what the request shows and what they hold themselves.

use std::collections::BTreeMap;

use serde_json::Map;

use super::{
    Entropy,
    device_record::{DeviceRecord, DeviceRequest, TokenEntry},
    refusal::Refusal,
    scopes,
    state::{Entry, Table},
    token,
};
use crate::{
    identity::DeviceId,
    protocol::scope::{Role, Scopes},
};

/// The record that results when somebody with these scopes approves this request (protocol §5.5).
/// A record with another key grants nothing to the new one.
///
/// # Errors
/// `ScopeOutsideRoles`, `MissingScope` or `RecordUnreadable`; no secret is drawn then.
pub(super) fn grant(
    paired: &Table<DeviceId, DeviceRecord>,
    request: &DeviceRequest,
    approver: &Scopes,
    now: u64,
    entropy: &mut dyn Entropy,
) -> Result<DeviceRecord, Refusal> {
    let present = match paired.entry(request.device_id.as_str()) {
        Entry::Absent => None,
        Entry::Record(record) => Some(record),
        Entry::Unreadable => return Err(Refusal::RecordUnreadable),
    };
    let existing = present.filter(|record| record.public_key == request.public_key);
    let roles = request.requested_roles();
    if let Some(scope) = scopes::misfit(&roles, &request.scopes) {
        return Err(Refusal::ScopeOutsideRoles(scope));
    }
    let mut granted: Vec<(&str, Scopes)> = Vec::new();
    for role in &roles {
        let scopes = token_scopes(role, request, existing);
        if *role == Role::Operator.as_str() {
            if let Some(scope) = approver.missing(&scopes) {
                return Err(Refusal::MissingScope(scope));
            }
        }
        granted.push((role, scopes));
    }

    let mut tokens = existing.map_or_else(BTreeMap::new, |record| record.tokens.clone());
    for (role, scopes) in granted {
        let entry = token::replace(tokens.get(role), role, scopes, now, entropy);
        tokens.insert(role.to_owned(), entry);
    }
    Ok(merge(existing, request, tokens, now))
}

fn token_scopes(role: &str, request: &DeviceRequest, existing: Option<&DeviceRecord>) -> Scopes {
    let asked = scopes::family(role, &request.scopes);
    let Some(record) = existing.filter(|_| asked.is_empty()) else {
        return asked;
    };
    let approved = scopes::family(role, record.approved_scopes());
    match record.tokens.get(role) {
        Some(entry) if scopes::grants(role, &approved, &entry.scopes) => {
            scopes::normalize(&entry.scopes)
        }
        Some(_) | None => approved,
    }
}

fn merge(
    existing: Option<&DeviceRecord>,
    request: &DeviceRequest,
    tokens: BTreeMap<String, TokenEntry>,
    now: u64,
) -> DeviceRecord {
    let mut record = existing
        .cloned()
        .unwrap_or_else(|| empty_record(request, now));
    take(&mut record.display_name, &request.display_name);
    take(&mut record.platform, &request.platform);
    take(&mut record.device_family, &request.device_family);
    take(&mut record.client_id, &request.client_id);
    take(&mut record.client_mode, &request.client_mode);
    take(&mut record.remote_ip, &request.remote_ip);
    let old_role = record.role.clone();
    for role in old_role
        .as_deref()
        .into_iter()
        .chain(request.requested_roles())
    {
        if !record.roles.iter().any(|known| known == role) {
            record.roles.push(role.to_owned());
        }
    }
    take(&mut record.role, &request.role);
    record.scopes = scopes::union(record.approved_scopes(), &request.scopes);
    record.approved_scopes = Some(record.scopes.clone());
    record.tokens = tokens;
    record.approved_at_ms = now;
    record
}

/// Absent metadata of a request keeps what the record has (D14).
fn take(old: &mut Option<String>, new: &Option<String>) {
    if new.is_some() {
        old.clone_from(new);
    }
}

fn empty_record(request: &DeviceRequest, now: u64) -> DeviceRecord {
    DeviceRecord {
        device_id: request.device_id.clone(),
        public_key: request.public_key.clone(),
        display_name: None,
        platform: None,
        device_family: None,
        client_id: None,
        client_mode: None,
        role: None,
        roles: Vec::new(),
        scopes: Scopes::none(),
        approved_scopes: None,
        remote_ip: None,
        tokens: BTreeMap::new(),
        created_at_ms: now,
        approved_at_ms: now,
        last_seen_at_ms: None,
        last_seen_reason: None,
        extra: Map::new(),
    }
}
