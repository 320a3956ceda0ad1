//! `gateway.pairing.*`, methods of our own: the pairing switch, and the proof of an SSH login.

use serde_json::{Value, json};

use super::call::{Call, Outcome, Reply, payload};
use crate::gateway::refilter;
use crate::gateway::refusal::store_unavailable;
use crate::gateway::ssh_proof::{NotBegun, begin, check};
use crate::pairing::switch::{self, Standing, Switch};
use crate::pairing::{AuditEntry, Changes, State};
use crate::protocol::error::ErrorShape;
use crate::protocol::params::{
    GatewayPairingOpen, GatewayPairingSshCheck, parse_nothing, parse_request_id,
};

/// `gateway.pairing.status`.
pub fn status(call: &Call<'_>, params: Option<Value>) -> Outcome {
    parse_nothing(call.method, params)?;
    let switch = Switch::of(&*call.state()?, enabled(call));
    Ok(Reply::Now(payload(
        &switch.standing(call.context.now_ms()),
    )?))
}

/// `gateway.pairing.open`: for a while or without a limit. Connected nodes that wait ask at once.
pub fn open(call: &Call<'_>, params: Option<Value>) -> Outcome {
    let asked = GatewayPairingOpen::parse(params)?;
    let (enabled, caller) = (enabled(call), call.caller());
    decide(call, |state, now| {
        switch::open(state, enabled, asked.for_ms, &caller, now)
    })
}

/// `gateway.pairing.close`: stays so until somebody opens it, over restarts and edits of the configuration too.
pub fn close(call: &Call<'_>, params: Option<Value>) -> Outcome {
    parse_nothing(call.method, params)?;
    let (enabled, caller) = (enabled(call), call.caller());
    decide(call, |state, now| {
        switch::close(state, enabled, &caller, now)
    })
}

/// The answer of a list with how the switch stands, where it is not simply open, and who asked in vain lately,
/// where somebody did.
pub fn noted(call: &Call<'_>, state: &State, mut listed: Value) -> Value {
    let now = call.context.now_ms();
    Switch::of(state, enabled(call)).mention(now, &mut listed);
    let crowded = call.context.crowd.rows(now);
    if !crowded.is_empty() {
        listed["crowded"] = json!(crowded);
    }
    listed
}

fn enabled(call: &Call<'_>) -> bool {
    call.context.rules().admission.pairing_enabled
}

/// `gateway.pairing.ssh.begin`: places a secret that only the gateway's own user can read, for a request
/// that is marked silent.
pub fn ssh_begin(call: &Call<'_>, params: Option<Value>) -> Outcome {
    let request = parse_request_id(call.method, params)?;
    let state = call.state()?;
    let node = state.nodes.pending.record(request.as_str());
    let device = state.devices.pending.record(request.as_str());
    let silent = node
        .map(|request| request.silent)
        .or(device.map(|request| request.silent));
    match silent {
        None => return Err(ErrorShape::invalid("unknown requestId")),
        Some(false) => return Err(ErrorShape::invalid("the request is not marked silent")),
        Some(true) => {}
    }
    match begin(call.context, &call.session.conn, &request) {
        Ok(challenge) => Ok(Reply::Now(
            json!({"proofId": challenge.id, "path": challenge.path}),
        )),
        Err(NotBegun::TooMany) => Err(ErrorShape::unavailable(
            "too many SSH proofs are open; try again in a minute",
        )),
        Err(NotBegun::Store(fault)) => {
            log::error!(target: "gateway", "{}: {fault}", call.method);
            Err(store_unavailable())
        }
    }
}

/// `gateway.pairing.ssh.check`: one try per secret.
pub fn ssh_check(call: &Call<'_>, params: Option<Value>) -> Outcome {
    let given = GatewayPairingSshCheck::parse(params)?;
    let conn = &call.session.conn;
    let proven = check(
        call.context,
        conn,
        &given.proof_id,
        given.uid,
        given.secret.as_str(),
    );
    let Some(request) = proven else {
        return Err(ErrorShape::invalid(
            "the SSH login does not prove the gateway's own user on the gateway's host",
        ));
    };
    let caller = call.caller();
    call.context.store.audit(&AuditEntry {
        action: "pairing.ssh-proof",
        subject: request.to_string(),
        by: caller.label,
        via: caller.via,
        from: caller.from.map(|address| address.to_string()),
        ..AuditEntry::default()
    });
    Ok(Reply::Now(json!({"ok": true, "requestId": request})))
}

fn decide(
    call: &Call<'_>,
    mut operation: impl FnMut(&mut State, u64) -> (Standing, Changes),
) -> Outcome {
    let (standing, applied) = call.commit(|state, now| Ok(operation(state, now)))?;
    log::info!(
        target: "gateway",
        "pairing is {}{}",
        if standing.open { "open" } else { "closed" },
        if standing.until_ms.is_some() { " for a while" } else { "" },
    );
    if standing.open {
        refilter::all(call.context, true);
    }
    Ok(Reply::after(applied, payload(&standing)?))
}
