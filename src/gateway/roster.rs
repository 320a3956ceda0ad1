//! What `node.list` and `node.describe` say about a node, built in this one place from the device
//! records, the node records and the live sessions (protocol.md §7.1).

use std::collections::BTreeSet;

use crate::gateway::node_row::{Described, NodeRow, Pairing};
use crate::gateway::registry::{LiveNode, Registry};
use crate::identity::ids::NodeId;
use crate::pairing::State;
use crate::pairing::device_record::DeviceRecord;
use crate::pairing::node;
use crate::pairing::node_record::{NodeMetadata, NodeRecord, NodeRequest};
use crate::pairing::policy::CommandPolicy;
use crate::pairing::surface::{Surface, surface};
use crate::pairing::truth::{ApprovalState, approval_state};
use crate::protocol::error::ErrorShape;
use crate::protocol::scope::Role;

/// Everything known about the nodes at one moment.
pub struct Roster<'a> {
    state: &'a State,
    registry: &'a Registry,
    policy: &'a CommandPolicy,
    now: u64,
}

/// What is known about one node.
struct Sources<'a> {
    live: Option<&'a LiveNode>,
    record: Option<&'a NodeRecord>,
    device: Option<&'a DeviceRecord>,
    request: Option<&'a NodeRequest>,
    surface: Option<Surface>,
    approval: ApprovalState,
}

impl<'a> Roster<'a> {
    /// Looks at the three sources at `now` (epoch milliseconds).
    pub fn new(
        state: &'a State,
        registry: &'a Registry,
        policy: &'a CommandPolicy,
        now: u64,
    ) -> Roster<'a> {
        Roster {
            state,
            registry,
            policy,
            now,
        }
    }

    /// Ids of devices paired as nodes, of node-paired records and of connected nodes.
    pub fn known(&self) -> BTreeSet<NodeId> {
        let devices = self.state.devices.paired.records();
        let devices = devices
            .filter(|device| is_node(device))
            .map(|device| NodeId::from(&device.device_id));
        let records = self
            .state
            .nodes
            .paired
            .records()
            .map(|record| record.node_id.clone());
        let live = self.registry.owners().map(|live| live.node().clone());
        devices.chain(records).chain(live).collect()
    }

    /// All rows: connected nodes first, then by lower-cased name, then by id.
    pub fn rows(&self) -> Vec<NodeRow> {
        let mut rows: Vec<NodeRow> = self
            .known()
            .into_iter()
            .map(|node| self.build(node))
            .collect();
        rows.sort_by_cached_key(|row| {
            let name = row
                .display_name
                .as_deref()
                .unwrap_or(row.node_id.as_str())
                .to_lowercase();
            (!row.connected, name, row.node_id.clone())
        });
        rows
    }

    /// The row of one node; `None` when the id is not [`Self::known`].
    pub fn row(&self, node: &NodeId) -> Option<NodeRow> {
        let known = self.registry.owner(node).is_some()
            || self.state.nodes.paired.record(node.as_str()).is_some()
            || self
                .state
                .devices
                .paired
                .record(node.as_str())
                .is_some_and(is_node);
        known.then(|| self.build(node.clone()))
    }

    /// What `node.describe` answers.
    ///
    /// # Errors
    /// An id that is not [`Self::known`].
    pub fn described(&self, node: &NodeId) -> Result<Described, ErrorShape> {
        let row = self.row(node);
        let row = row.ok_or_else(|| ErrorShape::invalid("unknown nodeId"))?;
        Ok(Described { ts: self.now, row })
    }

    fn build(&self, node: NodeId) -> NodeRow {
        let live = self.registry.owner(&node).map(AsRef::as_ref);
        let sources = Sources {
            live,
            record: self.state.nodes.paired.record(node.as_str()),
            device: self.state.devices.paired.record(node.as_str()),
            request: node::request_of(self.state, &node, self.now),
            surface: live.map(|live| surface(self.state, &live.claim, self.policy, self.now)),
            approval: approval_state(self.state, &node, self.now),
        };
        sources.row(node)
    }
}

impl Sources<'_> {
    fn row(&self, node_id: NodeId) -> NodeRow {
        let (seen_at, seen_reason) = self.last_seen().unzip();
        let live = self.live.map(|live| &live.claim.metadata);
        let approved = self.record.map(|record| sorted(record.approved_commands()));
        NodeRow {
            node_id,
            display_name: self.display_name(),
            platform: self
                .first(|said| &said.platform)
                .or_else(|| self.device?.platform.clone()),
            version: self.first(|said| &said.version),
            core_version: self.first(|said| &said.core_version),
            ui_version: self.first(|said| &said.ui_version),
            client_id: live
                .and_then(|said| said.client_id.clone())
                .or_else(|| self.device?.client_id.clone()),
            client_mode: live
                .and_then(|said| said.client_mode.clone())
                .or_else(|| self.device?.client_mode.clone()),
            remote_ip: self
                .first(|said| &said.remote_ip)
                .or_else(|| self.device?.remote_ip.clone()),
            device_family: self.first(|said| &said.device_family),
            model_identifier: self.first(|said| &said.model_identifier),
            path_env: self.live.and_then(|live| live.path_env.clone()),
            permissions: self.first(|said| &said.permissions),
            caps: sorted(self.first(|said| &said.caps).iter().flatten()),
            commands: match &self.surface {
                Some(surface) => sorted(&surface.effective),
                None => approved.clone().unwrap_or_default(),
            },
            pending_commands: self.pending_commands(),
            declared_commands: self
                .surface
                .as_ref()
                .map(|surface| sorted(&surface.declared)),
            approved_commands: approved,
            created_at_ms: self.created_at_ms(),
            approved_at_ms: self
                .record
                .map(|record| record.approved_at_ms)
                .or(self.device.map(|device| device.approved_at_ms)),
            connected_at_ms: self.live.map(|live| live.connected_at_ms),
            last_connected_at_ms: self
                .live
                .map(|live| live.connected_at_ms)
                .max(self.record.and_then(|record| record.last_connected_at_ms))
                // Of a node whose commands wait nothing else is left; a sign of life is one of a connection.
                .or_else(|| self.device?.last_seen_at_ms),
            last_seen_at_ms: seen_at,
            last_seen_reason: seen_reason.flatten(),
            paired: self.device.is_some() || self.record.is_some(),
            connected: self.live.is_some(),
            pairing: match self.approval {
                ApprovalState::Approved | ApprovalState::PendingReapproval => Pairing::Approved,
                ApprovalState::PendingApproval => Pairing::Pending,
                ApprovalState::Unapproved => Pairing::None,
            },
            approval_state: self.approval.as_str(),
            pending_request_id: self.request.map(|request| request.request_id.clone()),
            pending_declared_caps: self
                .request
                .map(|request| request.metadata.caps.clone().unwrap_or_default()),
            pending_declared_commands: self
                .request
                .map(|request| request.requested_commands().to_vec()),
        }
    }

    /// What the live session says, else the node record.
    fn first<T: Clone>(&self, field: impl Fn(&NodeMetadata) -> &Option<T>) -> Option<T> {
        let live = self
            .live
            .and_then(|live| field(&live.claim.metadata).clone());
        live.or_else(|| field(&self.record?.metadata).clone())
    }

    /// The operator's label wins over the node's own name.
    fn display_name(&self) -> Option<String> {
        let label = self.record.and_then(NodeRecord::label);
        label
            .map(str::to_owned)
            .or_else(|| self.first(|said| &said.display_name))
            .or_else(|| self.device?.display_name.clone())
    }

    /// Declared and allowed, but not usable before an approval; for a node that is away, what its waiting
    /// request would add.
    fn pending_commands(&self) -> Vec<String> {
        if let Some(surface) = &self.surface {
            return sorted(
                surface
                    .declared
                    .iter()
                    .filter(|command| !surface.effective.contains(command)),
            );
        }
        let Some(request) = self.request else {
            return Vec::new();
        };
        let approved = self
            .record
            .map(NodeRecord::approved_commands)
            .unwrap_or_default();
        sorted(
            request
                .requested_commands()
                .iter()
                .filter(|command| !approved.contains(command)),
        )
    }

    fn created_at_ms(&self) -> Option<u64> {
        let record = self.record.map(|record| record.created_at_ms);
        let device = self.device.map(|device| device.created_at_ms);
        record.into_iter().chain(device).min()
    }

    /// The newest sign of life; of two at the same moment the one listed first in §7.1.
    fn last_seen(&self) -> Option<(u64, Option<String>)> {
        let connect = || Some("connect".to_owned());
        let live = self.live.map(|live| (live.connected_at_ms, connect()));
        let seen = self.record.and_then(|record| {
            record
                .last_seen_at_ms
                .map(|at| (at, record.last_seen_reason.clone()))
        });
        let connected = self
            .record
            .and_then(|record| record.last_connected_at_ms.map(|at| (at, connect())));
        let device = self.device.and_then(|device| {
            device
                .last_seen_at_ms
                .map(|at| (at, device.last_seen_reason.clone()))
        });
        let signs = [live, seen, connected, device].into_iter().flatten();
        signs.reduce(|newest, sign| if sign.0 > newest.0 { sign } else { newest })
    }
}

fn is_node(device: &DeviceRecord) -> bool {
    device.effective_roles().contains(Role::Node.as_str())
}

/// Trimmed, without repetition and blanks, sorted.
fn sorted<'a>(items: impl IntoIterator<Item = &'a String>) -> Vec<String> {
    let items: BTreeSet<&str> = items
        .into_iter()
        .map(|item| item.trim())
        .filter(|item| !item.is_empty())
        .collect();
    items.into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::gateway::registry::tests::live;
    use crate::pairing::Part;

    const NOW: u64 = 50_000;

    fn state(devices: Value, nodes: Value, pending: Value) -> State {
        let mut state = State::default();
        state.read(Part::DevicesPaired, devices).unwrap();
        state.read(Part::NodesPaired, nodes).unwrap();
        state.read(Part::NodesPending, pending).unwrap();
        state
    }

    fn device(id: &str, revoked: bool) -> Value {
        let mut token = json!({"token": "SECRET", "role": "node", "scopes": [], "createdAtMs": 1});
        if revoked {
            token["revokedAtMs"] = json!(2);
        }
        json!({"deviceId": id, "publicKey": "k", "displayName": "device name", "platform": "linux",
            "deviceFamily": "device family", "clientId": "device client", "clientMode": "device mode",
            "role": "node", "roles": ["node"], "scopes": [], "remoteIp": "10.0.0.1", "tokens": {"node": token},
            "createdAtMs": 7, "approvedAtMs": 11, "lastSeenAtMs": 40_000, "lastSeenReason": "manual"})
    }

    fn record(id: &str, commands: &[&str]) -> Value {
        json!({"nodeId": id, "token": "SECRET", "displayName": "record name", "platform": "linux record",
            "version": "2.0", "coreVersion": "c", "uiVersion": "u", "deviceFamily": "record family",
            "modelIdentifier": "model", "clientId": "record client", "caps": ["b", "a", "b"], "commands": commands,
            "permissions": {"camera": true}, "remoteIp": "10.0.0.2", "createdAtMs": 5, "approvedAtMs": 12,
            "lastConnectedAtMs": 20_000, "lastSeenAtMs": 30_000, "lastSeenReason": "background"})
    }

    fn request(id: &str, commands: &[&str]) -> Value {
        json!({"requestId": "r", "nodeId": id, "caps": ["system"], "commands": commands, "silent": false, "ts": NOW})
    }

    fn row(state: &State, registry: &Registry, id: &str) -> Value {
        let policy = CommandPolicy::default();
        let row = Roster::new(state, registry, &policy, NOW)
            .row(&NodeId::from(id))
            .unwrap();
        serde_json::to_value(row).unwrap()
    }

    fn check(row: &Value, expected: Value) {
        for (key, value) in expected.as_object().unwrap() {
            assert_eq!(
                row.get(key).unwrap_or(&Value::Null),
                value,
                "{key} of {row}"
            );
        }
        assert!(!row.to_string().contains("SECRET"));
    }

    #[test]
    fn a_device_alone_is_listed_with_what_it_knows() {
        let state = state(json!({"n": device("n", false)}), json!({}), json!({}));
        check(
            &row(&state, &Registry::default(), "n"),
            json!({
            "displayName": "device name", "platform": "linux", "version": null, "deviceFamily": null,
            "clientId": "device client", "clientMode": "device mode", "remoteIp": "10.0.0.1", "caps": [], "commands": [],
            "pendingCommands": [], "approvedAtMs": 11, "createdAtMs": 7, "lastSeenAtMs": 40_000, "lastSeenReason": "manual",
            "lastConnectedAtMs": 40_000, "paired": true, "connected": false, "pairing": "none", "approvalState": "unapproved"}),
        );
    }

    #[test]
    fn a_record_comes_before_the_device() {
        let state = state(
            json!({"n": device("n", false)}),
            json!({"n": record("n", &["system.which", "system.run", "system.which"])}),
            json!({"r": request("n", &["system.which", "browser.proxy"])}),
        );
        check(
            &row(&state, &Registry::default(), "n"),
            json!({
            "displayName": "record name", "platform": "linux record", "version": "2.0", "coreVersion": "c", "uiVersion": "u",
            "deviceFamily": "record family", "modelIdentifier": "model", "clientId": "device client", "remoteIp": "10.0.0.2",
            "caps": ["a", "b"], "commands": ["system.run", "system.which"], "permissions": {"camera": true},
            "pendingCommands": ["browser.proxy"], "declaredCommands": null, "approvedAtMs": 12, "createdAtMs": 5,
            "lastConnectedAtMs": 20_000, "lastSeenAtMs": 40_000, "lastSeenReason": "manual",
            "pairing": "approved", "approvalState": "pending-reapproval", "pendingRequestId": "r",
            "pendingDeclaredCaps": ["system"], "pendingDeclaredCommands": ["system.which", "browser.proxy"]}),
        );
    }

    #[test]
    fn the_live_session_comes_first_and_shows_only_what_may_run() {
        let records = json!({"n": record("n", &["system.which", "system.notify"])});
        let state = state(
            json!({"n": device("n", false)}),
            records,
            json!({"r": request("n", &[])}),
        );
        let mut registry = Registry::default();
        let mut node = LiveNode {
            path_env: Some("/bin".to_owned()),
            connected_at_ms: 45_000,
            ..live("c", "n")
        };
        let blocked = "system.execApprovals.get".to_owned();
        node.claim
            .metadata
            .commands
            .get_or_insert_default()
            .push(blocked);
        registry.connect(node);
        check(
            &row(&state, &registry, "n"),
            json!({
            "displayName": "Build Node", "platform": "linux", "version": "1.0", "coreVersion": "c", "clientId": "node-host",
            "clientMode": "node", "pathEnv": "/bin", "caps": ["system"], "commands": ["system.which"],
            "pendingCommands": ["system.run"], "declaredCommands": ["system.run", "system.which"],
            "approvedCommands": ["system.notify", "system.which"], "connectedAtMs": 45_000, "lastConnectedAtMs": 45_000,
            "lastSeenAtMs": 45_000, "lastSeenReason": "connect", "connected": true, "paired": true}),
        );
    }

    #[test]
    fn nothing_may_run_before_the_approval() {
        let state = state(
            json!({}),
            json!({}),
            json!({"r": request("n", &["system.run"])}),
        );
        let mut registry = Registry::default();
        registry.connect(live("c", "n"));
        check(
            &row(&state, &registry, "n"),
            json!({
            "commands": [], "pendingCommands": ["system.run", "system.which"], "paired": false, "connected": true,
            "pairing": "pending", "approvalState": "pending-approval", "approvedAtMs": null}),
        );
    }

    #[test]
    fn the_name_an_operator_gave_wins_over_the_live_name() {
        let mut named = record("n", &[]);
        named["nameOverride"] = json!(true);
        let state = state(json!({}), json!({"n": named}), json!({}));
        let mut registry = Registry::default();
        registry.connect(live("c", "n"));
        check(
            &row(&state, &registry, "n"),
            json!({"displayName": "record name"}),
        );
    }

    #[test]
    fn known_nodes_are_those_of_all_three_sources_in_order() {
        let devices = json!({"d": device("d", false), "gone": device("gone", true)});
        let state = state(
            devices,
            json!({"r": record("r", &[])}),
            json!({"x": request("x", &[])}),
        );
        let mut registry = Registry::default();
        for (conn, node, name) in [("1", "z", "Alpha"), ("2", "y", "alpha"), ("3", "w", "Zeta")] {
            let mut live = live(conn, node);
            live.claim.metadata.display_name = Some(name.to_owned());
            registry.connect(live);
        }
        let policy = CommandPolicy::default();
        let roster = Roster::new(&state, &registry, &policy, NOW);
        let ids: Vec<String> = roster
            .rows()
            .iter()
            .map(|row| row.node_id.to_string())
            .collect();
        assert_eq!(ids, ["y", "z", "w", "d", "r"]);
        for unknown in ["gone", "x", "nobody"] {
            assert_eq!(roster.row(&NodeId::from(unknown)), None, "{unknown}");
        }
    }
}
