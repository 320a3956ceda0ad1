//! The request of a device: refreshed while it asks for nothing new, superseded by a merged one when it
//! does (protocol §5.3).

use serde_json::Map;

use super::{
    State,
    connect::{ConnectClaim, given},
    device_record::{DeviceRequest, address_text},
    scopes,
};
use crate::{identity::RequestId, protocol::scope::Scopes};

/// The one open request of this device with newer metadata, if the claim asks for nothing that it
/// does not ask for already; its id then stays the same however often the device tries.
pub(super) fn refresh(
    old: &[DeviceRequest],
    claim: &ConnectClaim,
    silent: bool,
    is_repair: bool,
) -> Option<DeviceRequest> {
    let [only] = old else {
        return None;
    };
    let role = claim.role.as_str();
    let asked = scopes::normalize(&only.scopes);
    let nothing_new = only.public_key == claim.public_key
        && only.role.as_deref() == Some(role)
        && scopes::normalize(&claim.scopes)
            .iter()
            .all(|scope| asked.contains(scope));
    nothing_new.then(|| {
        let mut request = only.clone();
        describe(&mut request, claim);
        request.silent &= silent;
        request.is_repair |= is_repair;
        request
    })
}

/// A new request that asks for everything this device asked for so far, old first.
pub(super) fn merge(
    old: &[DeviceRequest],
    claim: &ConnectClaim,
    silent: bool,
    is_repair: bool,
    request_id: RequestId,
    now: u64,
) -> DeviceRequest {
    // A request of another key says nothing about what this key asks for.
    let same_key = || {
        old.iter()
            .filter(|request| request.public_key == claim.public_key)
    };
    let role = claim.role.as_str();
    let mut roles: Vec<String> = Vec::new();
    for asked in same_key()
        .flat_map(DeviceRequest::requested_roles)
        .chain([role])
    {
        if !roles.iter().any(|known| known == asked) {
            roles.push(asked.to_owned());
        }
    }
    let asked = same_key().fold(Scopes::none(), |all, request| {
        scopes::union(&all, &request.scopes)
    });
    let mut request = DeviceRequest {
        request_id,
        device_id: claim.device.clone(),
        public_key: claim.public_key.clone(),
        display_name: None,
        platform: None,
        device_family: None,
        client_id: None,
        client_mode: None,
        role: Some(role.to_owned()),
        roles,
        scopes: scopes::union(&asked, &claim.scopes),
        remote_ip: None,
        silent: silent && old.iter().all(|request| request.silent),
        is_repair,
        ts: now,
        extra: Map::new(),
    };
    describe(&mut request, claim);
    request
}

fn describe(request: &mut DeviceRequest, claim: &ConnectClaim) {
    fn take(old: &mut Option<String>, new: Option<String>) {
        if new.is_some() {
            *old = new;
        }
    }
    take(&mut request.display_name, given(&claim.display_name));
    take(&mut request.platform, given(&claim.platform));
    take(&mut request.device_family, given(&claim.device_family));
    take(&mut request.client_id, Some(claim.client_id.clone()));
    take(&mut request.client_mode, Some(claim.client_mode.clone()));
    take(&mut request.remote_ip, address_text(claim.reported_ip));
}

/// Takes these requests off the list.
pub(super) fn forget(state: &mut State, requests: &[DeviceRequest]) {
    for request in requests {
        state.devices.pending.remove(request.request_id.as_str());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        pairing::{
            Change, Part, REQUEST_TTL_MS,
            testing::{Counter, NOW, events, local, remote, saves, scopes, waits},
        },
        protocol::scope::Role::{Node, Operator},
    };

    #[test]
    fn the_id_stays_while_nothing_new_is_asked() {
        let (mut state, mut entropy) = (State::default(), Counter::default());
        let first = remote(Operator, &["operator.write", "operator.pairing"]);
        waits(&mut state, &first, NOW, &mut entropy);
        let table: [&[&str]; 5] = [
            &["operator.write", "operator.pairing"],
            &["operator.pairing", "operator.write"],
            &[
                "operator.pairing",
                "operator.read",
                "operator.write",
                "operator.write",
            ],
            &["operator.read"],
            &[],
        ];
        for asked in table {
            let claim = remote(Operator, asked);
            let (waiting, changes) = waits(&mut state, &claim, NOW + 1_000, &mut entropy);
            assert_eq!(waiting.request_id.as_str(), "r1", "{asked:?}");
            assert_eq!(changes, [], "{asked:?}");
        }
        let request = state.devices.pending.record("r1").unwrap();
        assert_eq!((request.ts, state.devices.pending.len()), (NOW, 1));
        assert_eq!(request.scopes, first.scopes);
    }

    #[test]
    fn a_refresh_takes_new_metadata_and_keeps_what_was_not_said() {
        let (mut state, mut entropy) = (State::default(), Counter::default());
        waits(&mut state, &remote(Node, &[]), NOW, &mut entropy);
        let claim = ConnectClaim {
            display_name: None,
            device_family: Some("Pi".into()),
            reported_ip: Some([198, 51, 100, 1].into()),
            ..remote(Node, &[])
        };
        let (_, changes) = waits(&mut state, &claim, NOW + 1, &mut entropy);
        assert_eq!(changes, [Change::Touch(Part::DevicesPending)]);
        let request = state.devices.pending.record("r1").unwrap();
        assert_eq!(request.display_name.as_deref(), Some("Build Node"));
        assert_eq!(request.device_family.as_deref(), Some("Pi"));
        assert_eq!(request.remote_ip.as_deref(), Some("198.51.100.1"));
        assert_eq!(request.ts, NOW);
    }

    #[test]
    fn a_new_ask_supersedes_and_shows_everything_asked_so_far() {
        let (mut state, mut entropy) = (State::default(), Counter::default());
        waits(
            &mut state,
            &remote(Operator, &["operator.write"]),
            NOW,
            &mut entropy,
        );
        let claim = remote(Operator, &["operator.admin", "operator.write"]);
        let (waiting, changes) = waits(&mut state, &claim, NOW + 5, &mut entropy);
        assert_eq!(waiting.request_id.as_str(), "r2");
        assert_eq!(saves(&changes), [Part::DevicesPending]);
        let (event, payload) = events(&changes).remove(0);
        assert_eq!(
            (event, events(&changes).len()),
            ("device.pair.requested", 1)
        );
        assert_eq!(
            payload["scopes"],
            json!(["operator.write", "operator.admin"])
        );
        assert_eq!(payload["ts"], json!(NOW + 5));
        assert_eq!(state.devices.pending.len(), 1);
    }

    #[test]
    fn another_role_supersedes_and_both_roles_are_asked_for() {
        let (mut state, mut entropy) = (State::default(), Counter::default());
        waits(
            &mut state,
            &remote(Operator, &["operator.read"]),
            NOW,
            &mut entropy,
        );
        for at in 1..4 {
            let (waiting, _) = waits(&mut state, &remote(Node, &[]), NOW + at, &mut entropy);
            assert_eq!(waiting.request_id.as_str(), "r2", "stable once merged");
        }
        let request = state.devices.pending.record("r2").unwrap();
        assert_eq!(request.role.as_deref(), Some("node"));
        assert_eq!(request.roles, ["operator", "node"]);
        assert_eq!(request.scopes, scopes(&["operator.read"]));
    }

    #[test]
    fn another_key_supersedes_and_takes_nothing_over() {
        let (mut state, mut entropy) = (State::default(), Counter::default());
        waits(
            &mut state,
            &remote(Operator, &["operator.admin"]),
            NOW,
            &mut entropy,
        );
        let claim = ConnectClaim {
            public_key: "other".into(),
            ..remote(Operator, &[])
        };
        waits(&mut state, &claim, NOW, &mut entropy);
        assert_eq!(state.devices.pending.len(), 1);
        let request = state.devices.pending.record("r2").unwrap();
        assert_eq!(
            (request.public_key.as_str(), &request.scopes),
            ("other", &Scopes::none())
        );
    }

    #[test]
    fn only_what_was_silent_all_along_is_silent() {
        // A node that asks for an operator's scope is never approved, so its request stays.
        let (here, afar) = (
            local(Node, &["operator.read"]),
            remote(Node, &["operator.read"]),
        );
        let wider = |claim: &ConnectClaim| ConnectClaim {
            scopes: scopes(&["operator.write"]),
            ..claim.clone()
        };
        let table = [
            (here.clone(), here.clone(), true),
            (here.clone(), afar.clone(), false),
            (afar.clone(), here.clone(), false),
            (here.clone(), wider(&here), true),
            (here.clone(), wider(&afar), false),
            (afar, wider(&here), false),
        ];
        for (first, second, silent) in table {
            let (mut state, mut entropy) = (State::default(), Counter::default());
            waits(&mut state, &first, NOW, &mut entropy);
            waits(&mut state, &second, NOW, &mut entropy);
            let request = state.devices.pending.records().next().unwrap();
            assert_eq!(request.silent, silent, "{first:?} {second:?}");
        }
    }

    #[test]
    fn a_refresh_does_not_lengthen_the_wait() {
        let (mut state, mut entropy) = (State::default(), Counter::default());
        let claim = remote(Node, &[]);
        waits(&mut state, &claim, NOW, &mut entropy);
        let (waiting, _) = waits(&mut state, &claim, NOW + REQUEST_TTL_MS, &mut entropy);
        assert_eq!(waiting.request_id.as_str(), "r1");
        let (waiting, changes) = waits(&mut state, &claim, NOW + REQUEST_TTL_MS + 1, &mut entropy);
        assert_eq!(waiting.request_id.as_str(), "r2");
        let names: Vec<_> = events(&changes)
            .into_iter()
            .map(|(event, payload)| {
                (
                    event,
                    payload["requestId"].clone(),
                    payload["decision"].clone(),
                )
            })
            .collect();
        assert_eq!(
            names,
            [
                ("device.pair.resolved", json!("r1"), json!("expired")),
                ("device.pair.requested", json!("r2"), json!(null)),
            ]
        );
    }
}
