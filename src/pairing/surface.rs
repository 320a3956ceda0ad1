//! The command surface of a node: what it declares, what was approved, what may run.
//!
//! `surface` only computes and `reconcile` also asks for what is missing; the gateway uses the first
//! whenever something may have changed and the second when a node connects or may ask again.
//! Whatever the records say, nothing runs that is not declared, approved and allowed at once.

use serde_json::Map;

use super::{
    Entropy, State,
    change::{Change, Changes, Part},
    expiry, node,
    node_record::{NodeMetadata, NodeRecord, NodeRequest},
    policy::{self, Allowlist, CommandPolicy},
};
use crate::identity::{NodeId, RequestId};

/// What a connected node says about itself.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeClaim {
    /// The proven device id of the session.
    pub node: NodeId,
    /// Its declaration as sent: `commands` unfiltered, `platform` and `device_family` as pinned.
    pub metadata: NodeMetadata,
}

/// The commands of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surface {
    /// What it declares and the policy allows, in declared order.
    pub declared: Vec<String>,
    /// What was approved and the policy still allows.
    pub approved: Vec<String>,
    /// What may be invoked now.
    pub effective: Vec<String>,
    /// Whether the node is paired on this layer.
    pub paired: bool,
    /// Its waiting request, if there is one.
    pub request: Option<RequestId>,
}

/// What the commands of this node are now.
pub fn surface(state: &State, claim: &NodeClaim, policy: &CommandPolicy, now: u64) -> Surface {
    let allowlist = allowlist(claim, policy);
    let declared = allowlist.filter(claim.metadata.commands.as_deref().unwrap_or_default());
    // An unreadable record counts as none: nothing runs.
    let record = state.nodes.paired.record(claim.node.as_str());
    let approved = allowlist.filter(
        record
            .map(NodeRecord::approved_commands)
            .unwrap_or_default(),
    );
    Surface {
        effective: policy::effective(&declared, &approved, &allowlist),
        declared,
        approved,
        paired: record.is_some(),
        request: node::request_of(state, &claim.node, now).map(|open| open.request_id.clone()),
    }
}

/// The commands of a connected node, after asking for what it declares and was not approved for:
/// everything when it is not paired, the full declaration when something new is in it (protocol §6.4).
pub fn reconcile(
    state: &mut State,
    claim: &NodeClaim,
    policy: &CommandPolicy,
    now: u64,
    entropy: &mut dyn Entropy,
) -> (Surface, Changes) {
    let mut found = surface(state, claim, policy, now);
    let wants_more = found
        .declared
        .iter()
        .any(|command| !found.approved.contains(command));
    if (found.paired && !wants_more) || state.nodes.paired.is_unreadable(claim.node.as_str()) {
        return (found, Changes::new());
    }
    let mut metadata = claim.metadata.clone();
    metadata.commands = Some(found.declared.clone());
    metadata.caps = metadata.caps.map(|caps| policy::words(&caps));
    let (request, _, changes) = ask(state, &claim.node, metadata, false, now, entropy);
    found.request = Some(request.request_id);
    (found, changes)
}

/// Creates the request of a node or refreshes the open one in place; says whether it is new. The
/// commands must be filtered already.
pub(super) fn ask(
    state: &mut State,
    node: &NodeId,
    metadata: NodeMetadata,
    silent: bool,
    now: u64,
    entropy: &mut dyn Entropy,
) -> (NodeRequest, bool, Changes) {
    let mut changes = Changes::new();
    if let Some(open) = node::request_of(state, node, now) {
        let mut request = open.clone();
        request.metadata.take(metadata);
        request.silent &= silent;
        let same_ask = request.metadata == open.metadata && request.silent == open.silent;
        request.ts = now;
        state.nodes.pending.put(request.clone());
        let only_later = Change::Touch(Part::NodesPending);
        changes.push(if same_ask {
            only_later
        } else {
            Change::Save(Part::NodesPending)
        });
        return (request, false, changes);
    }
    changes.extend(expiry::forget_node(state, node, now));
    changes.extend(expiry::make_room_for_node(state, now));
    let request = NodeRequest {
        request_id: entropy.request_id(),
        node_id: node.clone(),
        metadata,
        silent,
        ts: now,
        extra: Map::new(),
    };
    state.nodes.pending.put(request.clone());
    changes.push(Change::Save(Part::NodesPending));
    changes.push(Change::Emit {
        event: node::REQUESTED,
        payload: request.shown(),
    });
    (request, true, changes)
}

fn allowlist(claim: &NodeClaim, policy: &CommandPolicy) -> Allowlist {
    let metadata = &claim.metadata;
    policy::allowlist(
        metadata.platform.as_deref(),
        metadata.device_family.as_deref(),
        policy,
    )
}
