//! `device.pair.*` and `device.token.*` (protocol.md §5.6). The rules are `pairing`'s; here is the way in
//! and out, and the number of sessions that a change ended.

use serde_json::{Value, json};

use super::call::{Call, Outcome, Reply, payload};
use crate::gateway::apply::Applied;
use crate::identity::Random;
use crate::pairing::{device, token};
use crate::protocol::error::ErrorShape;
use crate::protocol::params::{
    DevicePairRemove, DeviceTokenRevoke, DeviceTokenRotate, parse_nothing, parse_request_id,
};

/// `device.pair.list`.
pub fn list(call: &Call<'_>, params: Option<Value>) -> Outcome {
    parse_nothing(call.method, params)?;
    let state = call.state()?;
    let listed = device::list(&state, &call.caller(), call.context.now_ms());
    Ok(Reply::Now(payload(&listed)?))
}

/// `device.pair.approve`.
pub fn approve(call: &Call<'_>, params: Option<Value>) -> Outcome {
    let request = parse_request_id(call.method, params)?;
    let caller = call.caller();
    call.commit_and_answer(|state, now| {
        device::approve(state, request.as_str(), &caller, now, &mut Random)
    })
}

/// `device.pair.reject`.
pub fn reject(call: &Call<'_>, params: Option<Value>) -> Outcome {
    let request = parse_request_id(call.method, params)?;
    let caller = call.caller();
    call.commit_and_answer(|state, now| device::reject(state, request.as_str(), &caller, now))
}

/// `device.pair.remove`: all sessions of the device end.
pub fn remove(call: &Call<'_>, params: Option<Value>) -> Outcome {
    let asked = DevicePairRemove::parse(params)?;
    let caller = call.caller();
    let (removed, applied) =
        call.commit(|state, now| device::remove(state, &asked.device_id, &caller, now))?;
    answer_with_count(payload(&removed)?, applied)
}

/// `device.token.rotate`: the sessions of the device with this role end.
pub fn rotate(call: &Call<'_>, params: Option<Value>) -> Outcome {
    let asked = DeviceTokenRotate::parse(params)?;
    let caller = call.caller();
    let (rotated, applied) = call.commit(|state, now| {
        token::rotate(
            state,
            &asked.device_id,
            &asked.role,
            asked.scopes.as_ref(),
            &caller,
            now,
            &mut Random,
        )
    })?;
    answer_with_count(payload(&rotated)?, applied)
}

/// `device.token.revoke`: the sessions of the device with this role end.
pub fn revoke(call: &Call<'_>, params: Option<Value>) -> Outcome {
    let asked = DeviceTokenRevoke::parse(params)?;
    let caller = call.caller();
    let (revoked, applied) = call
        .commit(|state, now| token::revoke(state, &asked.device_id, &asked.role, &caller, now))?;
    answer_with_count(payload(&revoked)?, applied)
}

/// Adds how many live sessions ended, so that a person sees that it took applied.
fn answer_with_count(mut answer: Value, applied: Applied) -> Result<Reply, ErrorShape> {
    answer["sessionsEnded"] = json!(applied.ended);
    Ok(Reply::after(applied, answer))
}
