//! The pairing switch of a running gateway: the decision in force, and how it is changed durably.
//!
//! The rules are `pairing::switch`'s. A change is on the disk before it counts and before anybody is
//! answered; nodes that wait without a request ask as soon as it opens.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

use crate::gateway::context::Context;
use crate::gateway::refilter::refilter;
use crate::identity::NodeId;
use crate::pairing::AuditEntry;
use crate::pairing::switch::{Decision, Standing, Switch};
use crate::store::{StoreError, load_decision, save_decision};

/// The decision in force.
#[derive(Debug, Default)]
pub struct PairingSwitch {
    decision: Mutex<Option<Decision>>,
    /// One change at a time, so that file and memory tell the same; nobody else waits for it.
    turn: Mutex<()>,
}

impl PairingSwitch {
    /// The decision by command, if one stands.
    pub fn decision(&self) -> Option<Decision> {
        *self.decision.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, decision: Option<Decision>) {
        *self.decision.lock().unwrap_or_else(PoisonError::into_inner) = decision;
    }
}

/// Takes over what was decided before the gateway started.
///
/// # Errors
/// A file that cannot be read or is malformed.
pub fn load(context: &Context) -> Result<(), StoreError> {
    let decision = load_decision(context.store.dir())?;
    context.pairing_switch.set(decision);
    Ok(())
}

/// The switch as it is now.
pub fn current(context: &Context) -> Switch {
    context.admission_policy().switch
}

/// Changes the switch: durable and audited when this returns. `decide` gets the switch and the time.
///
/// # Errors
/// When the disk refuses; nothing has changed then.
pub fn change(
    context: &Arc<Context>,
    decide: impl FnOnce(&Switch, u64) -> (Option<Decision>, AuditEntry),
) -> Result<Standing, StoreError> {
    let turn = context.pairing_switch.turn.lock();
    let turn = turn.unwrap_or_else(PoisonError::into_inner);
    let now = context.now_ms();
    let (decision, audit) = decide(&current(context), now);
    save_decision(context.store.dir(), decision.as_ref())?;
    context.pairing_switch.set(decision);
    context.store.audit(&audit);
    drop(turn);
    let standing = current(context).standing(now);
    log::info!(
        target: "gateway",
        "pairing is {}{}",
        if standing.open { "open" } else { "closed" },
        if standing.until_ms.is_some() { " for a while" } else { "" },
    );
    if standing.open {
        ask_for_waiting_nodes(context);
    }
    Ok(standing)
}

/// Lets every connected node ask for what it lacks; those that lack nothing or ask already change nothing.
pub fn ask_for_waiting_nodes(context: &Arc<Context>) {
    let nodes: Vec<NodeId> = {
        let registry = context.registry();
        registry.owners().map(|live| live.node().clone()).collect()
    };
    for node in nodes {
        refilter(context, &node, true);
    }
}

/// Adds to the answer of a list how the switch stands, where it is not simply open, and who asked in vain
/// lately, where somebody did.
pub fn shown_in(context: &Context, mut listed: Value) -> Value {
    let standing = current(context).standing(context.now_ms());
    if let Some(standing) = standing.unusual() {
        listed["pairing"] = json!(standing);
    }
    let crowded = context.crowd.rows(context.now_ms());
    if !crowded.is_empty() {
        listed["crowded"] = json!(crowded);
    }
    listed
}
