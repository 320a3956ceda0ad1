//! What a changed approval or policy means for a connected node (protocol.md §6.4).
//!
//! The commands of a node are computed whenever they matter; here only what cannot wait is done: open
//! invokes of commands that the node may no longer run end, and a node that declares more than was
//! approved asks for it at once.

use std::convert::Infallible;
use std::sync::Arc;

use crate::gateway::apply::apply;
use crate::gateway::context::Context;
use crate::gateway::ending::Fault;
use crate::gateway::rpc;
use crate::identity::{NodeId, Random, RequestId};
use crate::pairing::Changes;
use crate::pairing::surface::{Surface, reconcile, surface};
use crate::pairing::switch::Switch;

/// What became of a live node.
#[derive(Debug, Default)]
pub struct Refiltered {
    /// The open request of a node that was to ask.
    pub request: Option<RequestId>,
    /// Open invokes that ended because the node may not be asked any more.
    pub withdrawn: usize,
}

/// [`refilter`] for every connected node; says how many there were. Nodes that lack nothing, or ask already,
/// change nothing.
pub fn all(context: &Arc<Context>, ask: bool) -> usize {
    let nodes: Vec<NodeId> = {
        let registry = context.registry();
        registry.owners().map(|live| live.node().clone()).collect()
    };
    for node in &nodes {
        refilter(context, node, ask);
    }
    nodes.len()
}

/// Recomputes the commands of `node`, if it is connected; with `ask` it also requests what it lacks.
pub fn refilter(context: &Arc<Context>, node: &NodeId, ask: bool) -> Refiltered {
    let Some(live) = context.registry().owner(node).cloned() else {
        return Refiltered::default();
    };
    let policy = context.command_policy();
    let enabled = context.rules().admission.pairing_enabled;
    let found = if ask {
        let asked = context.store.transact(|state, now| {
            Ok::<_, Infallible>(match Switch::of(state, enabled).is_open(now) {
                true => reconcile(state, &live.claim, &policy, now, &mut Random),
                false => (surface(state, &live.claim, &policy, now), Changes::new()),
            })
        });
        asked
            .map(|(found, changes)| {
                apply(context, changes, None);
                found
            })
            .map_err(|fault| fault.to_string())
    } else {
        let now = context.now_ms();
        let looked = context
            .store
            .read(|state| surface(state, &live.claim, &policy, now));
        looked.map_err(|fault| fault.to_string())
    };
    let found = found.unwrap_or_else(|fault| {
        // Nothing may run on records that cannot be read.
        log::error!(target: "gateway", "commands of node {node} cannot be computed: {fault}");
        Surface::default()
    });
    let withdrawn = context.registry().withdraw(node, |open| {
        !found.paired || !(open.origin.is_relay() || found.effective.contains(&open.command))
    });
    let ended = withdrawn.len();
    for open in withdrawn {
        rpc::conclude(context, open, Err(Fault::Withdrawn));
    }
    Refiltered {
        request: found.request.filter(|_| ask),
        withdrawn: ended,
    }
}
