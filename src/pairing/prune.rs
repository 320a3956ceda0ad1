//! Nodes that have been away for long: which they are, and removing them with their devices.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::json;

use super::{
    Caller, State,
    change::{Change, Changes},
    device,
    device_record::DeviceRecord,
    node,
    node_record::NodeRecord,
    refusal::Refusal,
};
use crate::identity::{DeviceId, NodeId};
use crate::protocol::params::NodePairPrune;
use crate::protocol::scope::Role;

/// What may go.
#[derive(Clone, Debug)]
pub struct Rule<'a> {
    /// For how long nothing was seen of a node, in milliseconds.
    pub not_seen_ms: u64,
    /// Only these nodes, when somebody was shown which; all when absent.
    pub among: Option<&'a [NodeId]>,
    /// Ids of devices that are connected now, in whatever role: these stay.
    pub connected: &'a BTreeSet<String>,
}

impl<'a> Rule<'a> {
    /// What somebody asked for, while these devices are connected.
    pub fn of(asked: &'a NodePairPrune, connected: &'a BTreeSet<String>) -> Rule<'a> {
        Rule {
            not_seen_ms: asked.not_seen_ms,
            among: asked.among.as_deref(),
            connected,
        }
    }
}

/// A paired node that was not seen for long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Idle {
    /// Which node.
    pub node_id: NodeId,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// Its last sign of life in any role, epoch milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_seen_at_ms: Option<u64>,
    /// The latest approval of either layer, epoch milliseconds.
    pub approved_at_ms: u64,
    /// All roles of its device, which go with it; none when only the node's record is there.
    pub roles: Vec<String>,
}

/// The answer of `node.pair.prune`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pruned {
    /// What went, or would go; away for longest first.
    pub nodes: Vec<Idle>,
}

/// The nodes that `rule` covers, away for longest first. A node that was never seen counts from its approval,
/// and a later approval counts as a sign of life. What cannot be read is left alone.
pub fn idle(state: &State, rule: &Rule<'_>, now: u64) -> Vec<Idle> {
    let devices = state.devices.paired.records();
    let devices = devices.filter(|device| device.effective_roles().contains(Role::Node.as_str()));
    let devices = devices.map(|device| device.device_id.as_str());
    let nodes = state.nodes.paired.records();
    let ids: BTreeSet<&str> = devices
        .chain(nodes.map(|node| node.node_id.as_str()))
        .collect();
    let named = |id: &str| {
        let among = rule.among;
        among.is_none_or(|among| among.iter().any(|node| node.as_str() == id))
    };
    let readable =
        |id: &str| !state.devices.paired.is_unreadable(id) && !state.nodes.paired.is_unreadable(id);
    let mut idle: Vec<Idle> = ids
        .into_iter()
        .filter(|id| named(id) && readable(id) && !rule.connected.contains(*id))
        .map(|id| {
            let device = state.devices.paired.record(id);
            describe(id, device, state.nodes.paired.record(id))
        })
        .filter(|idle| now.saturating_sub(idle.since()) >= rule.not_seen_ms)
        .collect();
    idle.sort_by_key(Idle::since);
    idle
}

/// Removes the nodes that `rule` covers, with their devices and everything else that is known of them.
///
/// # Errors
/// As [`device::remove`]; then nothing is removed.
pub fn prune(
    state: &mut State,
    rule: &Rule<'_>,
    caller: &Caller<'_>,
    now: u64,
) -> Result<(Pruned, Changes), Refusal> {
    let nodes = idle(state, rule, now);
    let mut changes = Changes::new();
    for gone in &nodes {
        let id = gone.node_id.as_str();
        let mut of_one = match state.devices.paired.record(id) {
            Some(_) => device::remove(state, &DeviceId::from(id), caller, now)?.1,
            None => node::remove(state, &gone.node_id, caller, now)?.1,
        };
        for change in &mut of_one {
            if let Change::Audit(line) = change {
                let detail = json!({"rule": "not-seen", "lastSeenAtMs": gone.last_seen_at_ms});
                line.detail.get_or_insert(detail);
            }
        }
        changes.append(&mut of_one);
    }
    Ok((Pruned { nodes }, changes))
}

impl Idle {
    /// Since when nothing is known of it, epoch milliseconds.
    pub fn since(&self) -> u64 {
        self.last_seen_at_ms
            .max(Some(self.approved_at_ms))
            .unwrap_or_default()
    }
}

fn describe(id: &str, device: Option<&DeviceRecord>, node: Option<&NodeRecord>) -> Idle {
    let of_node = node.map(|node| node.last_seen_at_ms.max(node.last_connected_at_ms));
    let of_device = device.map(|device| {
        let used = device.tokens.values().map(|token| token.last_used_at_ms);
        used.max().flatten().max(device.last_seen_at_ms)
    });
    let approved = [
        node.map(|node| node.approved_at_ms),
        device.map(|device| device.approved_at_ms),
    ];
    let name = node.and_then(|node| node.metadata.display_name.clone());
    let roles = device
        .map(DeviceRecord::effective_roles)
        .unwrap_or_default();
    Idle {
        node_id: NodeId::from(id),
        display_name: name.or_else(|| device?.display_name.clone()),
        last_seen_at_ms: of_node.flatten().max(of_device.flatten()),
        approved_at_ms: approved.into_iter().flatten().max().unwrap_or_default(),
        roles: roles.into_iter().map(str::to_owned).collect(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::pairing::change::Part;
    use crate::pairing::testing::{NOW, caller, scopes};

    const DAY: u64 = crate::protocol::limits::DAY_MS;

    fn device(id: &str, roles: &[&str], approved_at: u64, more: Value) -> (String, Value) {
        let token = |role: &&str| {
            let token = json!({"token": "t", "role": role, "scopes": [], "createdAtMs": 1});
            ((*role).to_owned(), token)
        };
        let tokens: serde_json::Map<String, Value> = roles.iter().map(token).collect();
        let mut record = json!({"deviceId": id, "publicKey": "k", "roles": roles, "scopes": [], "tokens": tokens,
            "createdAtMs": 1, "approvedAtMs": approved_at});
        for (name, value) in more.as_object().into_iter().flatten() {
            record[name] = value.clone();
        }
        (id.to_owned(), record)
    }

    fn node(id: &str, approved_at: u64, more: Value) -> (String, Value) {
        let mut record =
            json!({"nodeId": id, "token": "t", "createdAtMs": 1, "approvedAtMs": approved_at});
        for (name, value) in more.as_object().into_iter().flatten() {
            record[name] = value.clone();
        }
        (id.to_owned(), record)
    }

    fn state(devices: Vec<(String, Value)>, nodes: Vec<(String, Value)>) -> State {
        let mut state = State::default();
        state
            .read(Part::DevicesPaired, devices.into_iter().collect())
            .unwrap();
        state
            .read(Part::NodesPaired, nodes.into_iter().collect())
            .unwrap();
        state
    }

    fn world() -> State {
        let old = NOW - 100 * DAY;
        let used = |at: u64| json!({"tokens": {"node": {"token": "t", "role": "node", "scopes": [], "createdAtMs": 1, "lastUsedAtMs": at}}});
        state(
            vec![
                device("never", &["node"], old, json!({"displayName": "Attic"})),
                device("never-young", &["node"], NOW - 80 * DAY, json!({})),
                device(
                    "seen-old",
                    &["node"],
                    old,
                    json!({"lastSeenAtMs": NOW - 95 * DAY}),
                ),
                device(
                    "seen-young",
                    &["node"],
                    old,
                    json!({"lastSeenAtMs": NOW - 10}),
                ),
                device("token-young", &["node"], old, used(NOW - DAY)),
                device("connected", &["node"], old, json!({})),
                device("operator", &["operator"], old, json!({})),
                device("both", &["node", "operator"], old, json!({})),
                device("node-young", &["node"], old, json!({})),
                device("future", &["node"], NOW + DAY, json!({})),
                ("broken".to_owned(), json!({"deviceId": "broken"})),
            ],
            vec![
                node("alone", old, json!({"lastConnectedAtMs": NOW - 91 * DAY})),
                node("node-young", old, json!({"lastConnectedAtMs": NOW - DAY})),
                node("seen-old", NOW - 96 * DAY, json!({})),
                node("broken", old, json!({})),
            ],
        )
    }

    fn ids(idle: &[Idle]) -> Vec<&str> {
        idle.iter().map(|idle| idle.node_id.as_str()).collect()
    }

    #[test]
    fn who_goes_is_who_was_neither_seen_nor_approved_for_so_long() {
        let state = world();
        let connected = BTreeSet::from(["connected".to_owned()]);
        let rule = |not_seen_ms| Rule {
            not_seen_ms,
            among: None,
            connected: &connected,
        };
        let found = idle(&state, &rule(90 * DAY), NOW);
        assert_eq!(ids(&found), ["both", "never", "seen-old", "alone"]);
        assert_eq!(found[0].roles, ["node", "operator"]);
        assert_eq!(found[1].display_name.as_deref(), Some("Attic"));
        assert_eq!(
            (found[1].last_seen_at_ms, found[1].approved_at_ms),
            (None, NOW - 100 * DAY)
        );
        assert_eq!(found[2].last_seen_at_ms, Some(NOW - 95 * DAY));
        assert!(found[3].roles.is_empty());
        assert_eq!(ids(&idle(&state, &rule(96 * DAY), NOW)), ["both", "never"]);
        assert_eq!(ids(&idle(&state, &rule(101 * DAY), NOW)), [""; 0]);
        let young = idle(&state, &rule(80 * DAY), NOW);
        assert_eq!(ids(&young).last(), Some(&"never-young"));
        let among = [NodeId::from("alone"), NodeId::from("seen-young")];
        let named = Rule {
            among: Some(&among),
            ..rule(90 * DAY)
        };
        assert_eq!(ids(&idle(&state, &named, NOW)), ["alone"]);
    }

    #[test]
    fn what_goes_goes_with_its_device_and_a_line_each() {
        let mut state = world();
        let connected = BTreeSet::new();
        let rule = Rule {
            not_seen_ms: 95 * DAY,
            among: None,
            connected: &connected,
        };
        let operator = scopes(&["operator.pairing"]);
        let (pruned, changes) = prune(&mut state, &rule, &caller(&operator), NOW).unwrap();
        assert_eq!(
            ids(&pruned.nodes),
            ["both", "connected", "never", "seen-old"]
        );
        for id in ids(&pruned.nodes) {
            assert!(
                state.devices.paired.record(id).is_none()
                    && state.nodes.paired.record(id).is_none()
            );
        }
        let lines = changes.iter().filter_map(|change| match change {
            Change::Audit(line) => Some((line.action, line.subject.as_str())),
            _ => None,
        });
        let removed = lines.filter(|(action, _)| *action == "device.remove");
        assert_eq!(
            removed.map(|(_, id)| id).collect::<Vec<_>>(),
            ids(&pruned.nodes)
        );
        let ended = changes
            .iter()
            .filter(|change| matches!(change, Change::EndSessions { .. }));
        assert_eq!(ended.count(), 4);
        assert!(state.devices.paired.record("seen-young").is_some());
        assert!(state.devices.paired.is_unreadable("broken"));
    }
}
