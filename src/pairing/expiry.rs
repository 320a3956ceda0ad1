//! Requests do not wait for ever: both layers forget them five minutes after their `ts`.
//!
//! Everything that looks at a request asks `is_expired` first, so a request is dead on time even
//! when the timer is late.

use serde_json::json;

use super::{
    MAX_PENDING_REQUESTS, REQUEST_TTL_MS, State,
    change::{AuditEntry, Change, Changes, Part},
    crowd::{Crowded, Source},
    device,
    device_record::DeviceRequest,
    node,
    node_record::NodeRequest,
    resolution::{self, Fate, Resolution},
};
use crate::identity::{NodeId, RequestId};

/// Whether a request of this time is over. A time from further ahead than a request can live is
/// from a clock that was wrong, and over too.
pub(super) fn is_expired(ts: u64, now: u64) -> bool {
    now.abs_diff(ts) > REQUEST_TTL_MS
}

/// When a request that is over ended, epoch milliseconds, as far as its time can be trusted.
pub(super) fn end_of(ts: u64, now: u64) -> u64 {
    now.min(ts.saturating_add(REQUEST_TTL_MS))
}

/// When the next request expires, epoch milliseconds; None when nothing waits.
pub fn next_expiry(state: &State) -> Option<u64> {
    let devices = state.devices.pending.records().map(|request| request.ts);
    let nodes = state.nodes.pending.records().map(|request| request.ts);
    devices
        .chain(nodes)
        .min()
        .map(|ts| ts.saturating_add(REQUEST_TTL_MS + 1))
}

/// Forgets every request that is over and says so (D4). A node that is still connected asks again,
/// so that a node that waits is always on the list.
pub fn expire(state: &mut State, now: u64) -> Changes {
    let devices = state.devices.pending.records();
    let devices = devices
        .filter(|request| is_expired(request.ts, now))
        .cloned()
        .collect();
    let nodes = state.nodes.pending.records();
    let nodes = nodes
        .filter(|request| is_expired(request.ts, now))
        .cloned()
        .collect();
    let mut changes = forget_devices(state, devices, now);
    changes.extend(forget_nodes(state, nodes, now));
    changes
}

/// Forgets the requests of one node that are over; it is asking anew.
pub(super) fn forget_node(state: &mut State, node: &NodeId, now: u64) -> Changes {
    let requests = state
        .nodes
        .pending
        .records()
        .filter(|request| &request.node_id == node);
    let over = requests
        .filter(|request| is_expired(request.ts, now))
        .cloned()
        .collect();
    without_asking(forget_nodes(state, over, now))
}

/// Lets one device request give way to one of another source.
pub(super) fn displace_device(
    state: &mut State,
    (id, source): (RequestId, Source),
    now: u64,
) -> Changes {
    let request = state.devices.pending.record(id.as_str()).cloned();
    let mut changes = forget_devices(state, request.into_iter().collect(), now);
    changes.push(Change::Crowded {
        source,
        what: Crowded::Displaced,
    });
    changes
}

/// Lets the oldest node requests give way until one more fits.
pub(super) fn make_room_for_node(state: &mut State, now: u64) -> Changes {
    let excess = (state.nodes.pending.len() + 1).saturating_sub(MAX_PENDING_REQUESTS);
    if excess == 0 {
        return Changes::new();
    }
    let mut oldest: Vec<NodeRequest> = state.nodes.pending.records().cloned().collect();
    oldest.sort_by_key(|request| request.ts);
    oldest.truncate(excess);
    // Asking again would push out the next one, and so on for ever.
    without_asking(forget_nodes(state, oldest, now))
}

fn without_asking(mut changes: Changes) -> Changes {
    changes.retain(|change| !matches!(change, Change::Refilter { .. }));
    changes
}

fn forget_devices(state: &mut State, requests: Vec<DeviceRequest>, now: u64) -> Changes {
    let mut changes = Changes::new();
    if !requests.is_empty() {
        changes.push(Change::Save(Part::DevicesPending));
    }
    for request in requests {
        state.devices.pending.remove(request.request_id.as_str());
        let subject = request.device_id.as_str();
        changes.push(forgotten("device.expire", subject, &request.request_id).into());
        let end = Resolution::of_device(&request, Fate::Expired, now);
        changes.push(resolution::note(state, end));
        changes.push(device::resolved(&request, "expired", now));
    }
    changes
}

fn forget_nodes(state: &mut State, requests: Vec<NodeRequest>, now: u64) -> Changes {
    let mut changes = Changes::new();
    if !requests.is_empty() {
        changes.push(Change::Save(Part::NodesPending));
    }
    for request in requests {
        state.nodes.pending.remove(request.request_id.as_str());
        let subject = request.node_id.as_str();
        changes.push(forgotten("node.expire", subject, &request.request_id).into());
        let end = Resolution::of_node(&request, Fate::Expired, now);
        changes.push(resolution::note(state, end));
        changes.push(node::resolved(&request, "expired", now));
        changes.push(Change::Refilter {
            node: request.node_id,
            ask: true,
        });
    }
    changes
}

fn forgotten(action: &'static str, subject: &str, request_id: &RequestId) -> AuditEntry {
    AuditEntry {
        action,
        subject: subject.to_owned(),
        by: "gateway".to_owned(),
        via: "timer".to_owned(),
        ..AuditEntry::default()
    }
    .detailing(json!({"requestId": request_id}))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        pairing::{
            surface,
            testing::{
                Counter, NOW, caller, events, fate, node_claim, records, remote, saves, scopes,
                waits,
            },
        },
        protocol::scope::Role,
    };

    #[test]
    fn a_request_lives_five_minutes_inclusive() {
        let table = [
            (NOW, false),
            (NOW + 300_000, false),
            (NOW + 300_001, true),
            (NOW - 300_000, false),
            (NOW - 300_001, true),
            (0, true),
            (u64::MAX, true),
        ];
        for (now, over) in table {
            assert_eq!(is_expired(NOW, now), over, "{now}");
        }
    }

    #[test]
    fn both_layers_forget_and_tell_and_a_live_node_asks_again() {
        let (mut state, mut entropy) = (State::default(), Counter::default());
        assert_eq!(next_expiry(&state), None);
        waits(&mut state, &remote(Role::Node, &[]), NOW, &mut entropy);
        surface::reconcile(
            &mut state,
            &node_claim(&[]),
            &Default::default(),
            NOW + 7,
            &mut entropy,
        );
        assert_eq!(next_expiry(&state), Some(NOW + 300_001));
        assert_eq!(expire(&mut state, NOW + 300_000), []);

        let changes = expire(&mut state, NOW + 300_001);
        assert_eq!(saves(&changes), [Part::DevicesPending]);
        let payload =
            json!({"requestId": "r1", "deviceId": "d", "decision": "expired", "ts": NOW + 300_001});
        assert_eq!(events(&changes), [(device::RESOLVED, payload)]);

        assert_eq!(next_expiry(&state), Some(NOW + 300_008));
        let changes = expire(&mut state, NOW + 300_008);
        assert_eq!(saves(&changes), [Part::NodesPending]);
        let payload =
            json!({"requestId": "r2", "nodeId": "d", "decision": "expired", "ts": NOW + 300_008});
        assert_eq!(events(&changes), [(node::RESOLVED, payload)]);
        assert_eq!(
            changes.last(),
            Some(&Change::Refilter {
                node: "d".into(),
                ask: true
            })
        );
        assert_eq!(
            (next_expiry(&state), records(&state)),
            (None, State::default())
        );
        let admin = scopes(&["operator.admin"]);
        let late = device::reject(&mut state, "r1", &caller(&admin), NOW + 400_000).err();
        assert_eq!(fate(late).0, "expired");
        let late = node::reject(&mut state, "r2", &caller(&admin), NOW + 400_000).err();
        assert_eq!(fate(late).0, "expired");
    }
}
