//! The whole truth about who waits: one list over both layers.
//!
//! A waiting node shows wherever a person looks, whichever layer it waits on. The functions work on
//! the rows as the methods answer them, so that a remote list and the files give the same picture.

use serde_json::{Value, json};

use super::{State, expiry, node};
use crate::{identity::NodeId, protocol::scope::Role};

/// Which list a person looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// Everything that waits for `devices approve` or `nodes approve`.
    Devices,
    /// The same without devices that do not ask to be a node.
    Nodes,
}

/// A node's standing on the second layer (protocol §7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApprovalState {
    /// It has a record and asks for nothing more.
    Approved,
    /// It has no record and waits.
    PendingApproval,
    /// It has a record and asks for more.
    PendingReapproval,
    /// It has no record and does not wait.
    Unapproved,
}

impl ApprovalState {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            ApprovalState::Approved => "approved",
            ApprovalState::PendingApproval => "pending-approval",
            ApprovalState::PendingReapproval => "pending-reapproval",
            ApprovalState::Unapproved => "unapproved",
        }
    }
}

/// Where a node stands.
pub fn approval_state(state: &State, node: &NodeId, now: u64) -> ApprovalState {
    let paired = state.nodes.paired.record(node.as_str()).is_some();
    let waits = node::request_of(state, node, now).is_some();
    match (paired, waits) {
        (true, false) => ApprovalState::Approved,
        (false, true) => ApprovalState::PendingApproval,
        (true, true) => ApprovalState::PendingReapproval,
        (false, false) => ApprovalState::Unapproved,
    }
}

/// The rows of both layers that wait, newest first, straight from the state.
pub fn pending(state: &State, view: View, now: u64) -> Vec<Value> {
    let devices = state.devices.pending.records();
    let devices = devices.filter(|request| !expiry::is_expired(request.ts, now));
    let shown = devices.map(|request| request.shown(&state.devices.paired));
    let devices: Vec<Value> = shown.collect();
    let nodes = node::list(state, now).pending;
    rows(&devices, &nodes, view)
}

/// The rows of both layers that wait, newest first, from the `pending` parts of `device.pair.list` and
/// `node.pair.list`. Every row gets a `layer`; a device row of a node also `nodeId` and `commands`.
pub fn rows(device_rows: &[Value], node_rows: &[Value], view: View) -> Vec<Value> {
    let devices = device_rows
        .iter()
        .filter(|row| view == View::Devices || asks_to_be_node(row));
    let nodes = node_rows.iter().map(|row| with_layer(row, "node"));
    let mut rows: Vec<Value> = devices.map(device_row).chain(nodes).collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row["ts"].as_u64().unwrap_or_default()));
    rows
}

fn device_row(row: &Value) -> Value {
    let mut shown = with_layer(row, "device");
    if asks_to_be_node(row) {
        shown["nodeId"] = row["deviceId"].clone();
        shown["commands"] = json!([]);
    }
    shown
}

fn asks_to_be_node(row: &Value) -> bool {
    let node = Role::Node.as_str();
    let among = row["roles"]
        .as_array()
        .is_some_and(|roles| roles.iter().any(|role| role == node));
    among || row["role"] == node
}

fn with_layer(row: &Value, layer: &str) -> Value {
    let mut shown = row.clone();
    if let Some(members) = shown.as_object_mut() {
        members.insert("layer".to_owned(), json!(layer));
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        pairing::{
            REQUEST_TTL_MS, device,
            testing::{Counter, NOW, caller, node_claim, remote, scopes, waits},
            {connect::ConnectClaim, surface},
        },
        protocol::scope::Role::{Node, Operator},
    };

    fn crowd() -> State {
        let (mut state, mut entropy) = (State::default(), Counter::default());
        let other = |id: &str, claim| ConnectClaim {
            device: id.into(),
            ..claim
        };
        waits(&mut state, &remote(Node, &[]), NOW, &mut entropy);
        waits(
            &mut state,
            &other("e", remote(Operator, &["operator.read"])),
            NOW + 1,
            &mut entropy,
        );
        let policy = Default::default();
        surface::reconcile(
            &mut state,
            &node_claim(&["system.which"]),
            &policy,
            NOW + 2,
            &mut entropy,
        );
        state
    }

    #[test]
    fn who_waits_shows_in_both_lists_with_the_layer() {
        let state = crowd();
        let seen = |view| -> Vec<(String, String)> {
            let rows = pending(&state, view, NOW + 2);
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            rows.iter()
                .map(|row| (text(&row["requestId"]), text(&row["layer"])))
                .collect()
        };
        let pair = |id: &str, layer: &str| (id.to_owned(), layer.to_owned());
        assert_eq!(
            seen(View::Devices),
            [
                pair("r3", "node"),
                pair("r2", "device"),
                pair("r1", "device")
            ]
        );
        assert_eq!(
            seen(View::Nodes),
            [pair("r3", "node"), pair("r1", "device")]
        );
        assert!(pending(&state, View::Devices, NOW + REQUEST_TTL_MS + 3).is_empty());
        let rows = pending(&state, View::Nodes, NOW + 2);
        assert_eq!(
            (&rows[1]["nodeId"], &rows[1]["commands"]),
            (&json!("d"), &json!([]))
        );
    }

    #[test]
    fn the_answers_of_the_methods_give_the_same_rows() {
        let (state, admin) = (crowd(), scopes(&["operator.admin"]));
        let devices = device::list(&state, &caller(&admin), NOW + 2).pending;
        let nodes = node::list(&state, NOW + 2).pending;
        for view in [View::Devices, View::Nodes] {
            assert_eq!(rows(&devices, &nodes, view), pending(&state, view, NOW + 2));
        }
    }

    #[test]
    fn a_node_stands_where_record_and_request_say() {
        let (mut state, mut entropy) = (State::default(), Counter::default());
        let (policy, admin) = (Default::default(), scopes(&["operator.admin"]));
        let node = NodeId::from("d");
        let state_of = |state: &State| approval_state(state, &node, NOW).as_str();
        assert_eq!(state_of(&state), "unapproved");
        surface::reconcile(&mut state, &node_claim(&[]), &policy, NOW, &mut entropy);
        assert_eq!(state_of(&state), "pending-approval");
        node::approve(&mut state, "r1", None, &caller(&admin), NOW, &mut entropy).unwrap();
        assert_eq!(state_of(&state), "approved");
        let more = node_claim(&["system.run"]);
        surface::reconcile(&mut state, &more, &policy, NOW, &mut entropy);
        assert_eq!(state_of(&state), "pending-reapproval");
        node::reject(&mut state, "r2", &caller(&admin), NOW).unwrap();
        assert_eq!(state_of(&state), "approved");
        assert_eq!(
            approval_state(&state, &"x".into(), NOW),
            ApprovalState::Unapproved
        );
    }
}
