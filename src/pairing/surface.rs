//! The command surface of a node: what it declares, what was approved, what may run.
//!
//! `surface` only computes and `reconcile` also asks for what is missing; the gateway uses the first
//! whenever something may have changed and the second when a node connects or may ask again.
//! Whatever the records say, nothing runs that is not declared, approved and allowed at once.

use serde_json::{Map, json};

use super::{
    Entropy, State,
    change::{AuditEntry, Change, Changes, Part},
    crowd::{self, Full},
    expiry,
    invitation::JoinedBy,
    node,
    node_record::{NodeMetadata, NodeRecord, NodeRequest},
    policy::{self, Allowlist, CommandPolicy},
    resolution::{self, Fate, Resolution},
    state::Entry,
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
    // Only a node whose device is not paired any more can be one too many; nothing of it runs either.
    match ask(state, &claim.node, metadata, false, now, entropy) {
        Ok((request, _, changes)) => {
            found.request = Some(request.request_id);
            (found, changes)
        }
        Err(_) => (found, Changes::new()),
    }
}

/// Approves what an invitation covers of the declaration of a node that it just paired, so that the node
/// works at once. Whatever else it declares waits for a person (`reconcile`), and so does all of it when
/// the invitation names no commands.
pub fn join(
    state: &mut State,
    claim: &NodeClaim,
    by: &JoinedBy,
    policy: &CommandPolicy,
    now: u64,
    entropy: &mut dyn Entropy,
) -> Changes {
    let declared = claim.metadata.commands.as_deref().unwrap_or_default();
    let mut commands = allowlist(claim, policy).filter(declared);
    commands.retain(|command| by.commands.contains(command));
    let known = state.nodes.paired.entry(claim.node.as_str());
    if commands.is_empty() || known != Entry::Absent {
        return Changes::new();
    }
    let open = node::request_of(state, &claim.node, now).cloned();
    let mut metadata = claim.metadata.clone();
    metadata.commands = Some(commands.clone());
    metadata.caps = metadata.caps.map(|caps| policy::words(&caps));
    let request = NodeRequest {
        request_id: match &open {
            Some(open) => open.request_id.clone(),
            None => entropy.request_id(),
        },
        node_id: claim.node.clone(),
        metadata,
        silent: true,
        ts: now,
        extra: Map::new(),
    };
    let mut record = NodeRecord::approved(None, &request, entropy.token(), now);
    if let Some(name) = &by.name {
        record.metadata.display_name = Some(name.clone());
        record.name_override = true;
    }
    state.nodes.paired.put(record);
    let audit = AuditEntry {
        action: "node.approve",
        subject: claim.node.to_string(),
        by: claim.node.to_string(),
        via: "connect".to_owned(),
        from: claim.metadata.remote_ip.clone(),
        after: Some(json!({"commands": commands})),
        detail: Some(json!({"rule": by.rule, "invitation": by.invitation})),
        ..AuditEntry::default()
    };
    let mut changes = vec![Change::Save(Part::NodesPaired), audit.into()];
    if let Some(open) = open {
        state.nodes.pending.remove(open.request_id.as_str());
        let end = Resolution::of_node(&open, Fate::Approved, now).by("gateway");
        changes.push(resolution::note(state, end));
        changes.push(Change::Save(Part::NodesPending));
        changes.push(node::resolved(&open, "approved", now));
    }
    changes
}

/// Creates the request of a node or refreshes the open one in place; says whether it is new. The
/// commands must be filtered already.
///
/// # Errors
/// [`Full`] for a node whose device is not paired, when too many of those wait.
pub(super) fn ask(
    state: &mut State,
    node: &NodeId,
    metadata: NodeMetadata,
    silent: bool,
    now: u64,
    entropy: &mut dyn Entropy,
) -> Result<(NodeRequest, bool, Changes), Full> {
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
        return Ok((request, false, changes));
    }
    crowd::node_place(state, node, metadata.remote_ip.as_deref(), now)?;
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
    Ok((request, true, changes))
}

fn allowlist(claim: &NodeClaim, policy: &CommandPolicy) -> Allowlist {
    let metadata = &claim.metadata;
    policy::allowlist(
        metadata.platform.as_deref(),
        metadata.device_family.as_deref(),
        policy,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pairing::{
        REQUEST_TTL_MS,
        testing::{Counter, NOW, caller, events, node_claim, saves, scopes, words},
    };

    /// A state in which node `d` is approved for these commands; the request was `r1`.
    fn approved(commands: &[&str], entropy: &mut Counter) -> State {
        let mut state = State::default();
        let policy = CommandPolicy {
            allow: words(commands),
            deny: Vec::new(),
        };
        reconcile(&mut state, &node_claim(commands), &policy, NOW, entropy);
        let admin = scopes(&["operator.admin"]);
        node::approve(&mut state, "r1", None, &caller(&admin), NOW, entropy).unwrap();
        state
    }

    #[test]
    fn nothing_runs_and_everything_is_asked_for_before_the_approval() {
        for declared in [&["system.run", "canvas.eval", "system.which"][..], &[]] {
            let (mut state, mut entropy) = (State::default(), Counter::default());
            let claim = node_claim(declared);
            let policy = CommandPolicy::default();
            let (found, changes) = reconcile(&mut state, &claim, &policy, NOW, &mut entropy);
            assert_eq!((found.effective.len(), found.paired), (0, false));
            assert_eq!(found.request, Some("r1".into()));
            assert_eq!(saves(&changes), [Part::NodesPending]);
            let (event, payload) = events(&changes).remove(0);
            assert_eq!(event, node::REQUESTED);
            assert_eq!(payload["commands"], json!(found.declared));
            assert!(!found.declared.contains(&"canvas.eval".to_owned()));

            let (again, changes) = reconcile(&mut state, &claim, &policy, NOW + 1, &mut entropy);
            assert_eq!(again, found);
            assert_eq!(changes, [Change::Touch(Part::NodesPending)]);
            assert_eq!(state.nodes.pending.record("r1").unwrap().ts, NOW + 1);
        }
    }

    #[test]
    fn what_is_declared_and_approved_and_allowed_runs() {
        // approved, declared, denied by the operator → effective, whether it asks for more
        type Row = (
            &'static [&'static str],
            &'static [&'static str],
            &'static [&'static str],
            &'static [&'static str],
            bool,
        );
        let table: &[Row] = &[
            (
                &["system.run", "system.which"],
                &["system.which", "system.run"],
                &[],
                &["system.which", "system.run"],
                false,
            ),
            (
                &["system.run", "system.which"],
                &["system.which"],
                &[],
                &["system.which"],
                false,
            ),
            (
                &["system.which"],
                &["system.which", "system.run"],
                &[],
                &["system.which"],
                true,
            ),
            (&["system.run"], &["system.which"], &[], &[], true),
            (
                &["system.run", "system.which"],
                &["system.run", "system.which"],
                &["system.run"],
                &["system.which"],
                false,
            ),
            (
                &["system.which"],
                &["system.which", "system.run"],
                &["system.run"],
                &["system.which"],
                false,
            ),
            (&["system.which"], &[], &[], &[], false),
            (&["canvas.eval"], &["canvas.eval"], &[], &[], false),
        ];
        for (commands, declared, denied, effective, asks) in table {
            let mut entropy = Counter::default();
            let mut state = approved(commands, &mut entropy);
            let policy = CommandPolicy {
                allow: Vec::new(),
                deny: words(denied),
            };
            let claim = node_claim(declared);
            let (found, changes) = reconcile(&mut state, &claim, &policy, NOW, &mut entropy);
            assert_eq!(
                found.effective,
                words(effective),
                "{commands:?} {declared:?} {denied:?}"
            );
            assert_eq!(
                !events(&changes).is_empty(),
                *asks,
                "{commands:?} {declared:?} {denied:?}"
            );
            assert_eq!(surface(&state, &claim, &policy, NOW), found);
            if *asks {
                let request = state.nodes.pending.records().next().unwrap();
                assert_eq!(
                    request.requested_commands(),
                    found.declared,
                    "the full declaration"
                );
            }
        }
    }

    #[test]
    fn shrinking_a_request_wins_nothing() {
        let (mut state, mut entropy) = (State::default(), Counter::default());
        let (policy, claim) = (CommandPolicy::default(), node_claim(&["system.run"]));
        reconcile(&mut state, &claim, &policy, NOW, &mut entropy);
        let shrunk = NodeMetadata {
            commands: Some(Vec::new()),
            ..NodeMetadata::default()
        };
        node::request(
            &mut state,
            &"d".into(),
            shrunk,
            false,
            &policy,
            NOW,
            &mut entropy,
        )
        .unwrap();
        let pairing = scopes(&["operator.pairing"]);
        let (_, changes) =
            node::approve(&mut state, "r1", None, &caller(&pairing), NOW, &mut entropy).unwrap();
        assert!(changes.contains(&Change::Refilter {
            node: "d".into(),
            ask: true
        }));

        let (found, changes) = reconcile(&mut state, &claim, &policy, NOW, &mut entropy);
        assert_eq!(found.effective, Vec::<String>::new());
        let (event, payload) = events(&changes).remove(0);
        assert_eq!(
            (event, &payload["commands"]),
            (node::REQUESTED, &json!(["system.run"]))
        );
        assert_eq!(
            payload["requiredApproveScopes"],
            json!(["operator.pairing", "operator.admin"])
        );
    }

    #[test]
    fn a_removed_node_runs_nothing() {
        let mut entropy = Counter::default();
        let mut state = approved(&["system.which"], &mut entropy);
        let (policy, claim) = (CommandPolicy::default(), node_claim(&["system.which"]));
        let pairing = scopes(&["operator.pairing"]);
        assert_eq!(
            surface(&state, &claim, &policy, NOW).effective,
            ["system.which"]
        );
        node::remove(&mut state, &"d".into(), &caller(&pairing), NOW).unwrap();
        assert_eq!(
            surface(&state, &claim, &policy, NOW).effective,
            Vec::<String>::new()
        );
    }

    #[test]
    fn an_unreadable_record_runs_nothing_and_is_not_asked_over() {
        let mut state = State::default();
        state
            .read(
                Part::NodesPaired,
                json!({"d": {"nodeId": "d", "commands": ["system.run"]}}),
            )
            .unwrap();
        let before = state.clone();
        let (found, changes) = reconcile(
            &mut state,
            &node_claim(&["system.run"]),
            &CommandPolicy::default(),
            NOW,
            &mut Counter::default(),
        );
        assert_eq!((found.effective.len(), found.request), (0, None));
        assert_eq!((changes, state), (Changes::new(), before));
    }

    #[test]
    fn a_request_that_is_over_is_asked_anew() {
        let (mut state, mut entropy) = (State::default(), Counter::default());
        let (policy, claim) = (CommandPolicy::default(), node_claim(&[]));
        reconcile(&mut state, &claim, &policy, NOW, &mut entropy);
        let late = NOW + REQUEST_TTL_MS + 1;
        let (found, changes) = reconcile(&mut state, &claim, &policy, late, &mut entropy);
        assert_eq!(found.request, Some("r2".into()));
        let told: Vec<_> = events(&changes)
            .into_iter()
            .map(|(event, _)| event)
            .collect();
        assert_eq!(told, [node::RESOLVED, node::REQUESTED]);
        assert_eq!(state.nodes.pending.len(), 1);
    }
}
