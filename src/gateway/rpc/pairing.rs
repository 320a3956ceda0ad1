//! `gateway.pairing.*`, methods of our own: the pairing switch.

use serde_json::Value;

use super::call::{Call, Outcome, Reply, payload};
use crate::gateway::pairing_switch::{change, current};
use crate::pairing::AuditEntry;
use crate::pairing::switch::{Decision, Switch};
use crate::protocol::error::ErrorShape;
use crate::protocol::params::{GatewayPairingOpen, parse_nothing};

/// `gateway.pairing.status`.
pub fn status(call: &Call<'_>, params: Option<Value>) -> Outcome {
    parse_nothing(call.method, params)?;
    let standing = current(call.context).standing(call.context.now_ms());
    Ok(Reply::Now(payload(&standing)?))
}

/// `gateway.pairing.open`: for a while or without a limit. Connected nodes that wait ask at once.
pub fn open(call: &Call<'_>, params: Option<Value>) -> Outcome {
    let asked = GatewayPairingOpen::parse(params)?;
    decide(call, |switch, now| {
        switch.open(asked.for_ms, &call.caller(), now)
    })
}

/// `gateway.pairing.close`: stays so until somebody opens it, over restarts too.
pub fn close(call: &Call<'_>, params: Option<Value>) -> Outcome {
    parse_nothing(call.method, params)?;
    decide(call, |switch, now| switch.close(&call.caller(), now))
}

fn decide(
    call: &Call<'_>,
    with: impl FnOnce(&Switch, u64) -> (Option<Decision>, AuditEntry),
) -> Outcome {
    let standing = change(call.context, with).map_err(|fault| {
        log::error!(target: "gateway", "{}: {fault}", call.method);
        ErrorShape::unavailable("pairing store unavailable")
    })?;
    Ok(Reply::Now(payload(&standing)?))
}
