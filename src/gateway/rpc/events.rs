//! `node.event`: what a node reports on its own (protocol.md §7.5).
//!
//! Every event is accepted; two kinds have an effect here: presence is stored, exec reports are logged.

use std::convert::Infallible;

use serde_json::{Map, Value, json};

use super::call::{Call, Outcome, Reply};
use crate::gateway::node_events::{exec_line, presence_trigger};
use crate::identity::ids::DeviceId;
use crate::pairing::node;
use crate::protocol::params::NodeEvent;
use crate::store::{StoreError, TransactError};

/// The event with a structured answer.
const PRESENCE_ALIVE: &str = "node.presence.alive";

/// `node.event`.
pub fn event(call: &Call<'_>, params: Option<Value>) -> Outcome {
    let NodeEvent {
        event,
        payload_json,
    } = NodeEvent::parse(params)?;
    match event.as_str() {
        PRESENCE_ALIVE => {
            let (handled, reason) = keep_presence(call, payload_json.as_deref());
            Ok(Reply::Now(
                json!({"ok": true, "event": event, "handled": handled, "reason": reason}),
            ))
        }
        "exec.started" | "exec.finished" | "exec.denied" => {
            log_exec(call, &event, payload_json.as_deref());
            Ok(Reply::Now(json!({"ok": true})))
        }
        _ => Ok(Reply::Now(json!({"ok": true}))),
    }
}

/// Stores a sign of life of the calling device; the cases in the order of §7.5.
fn keep_presence(call: &Call<'_>, payload: Option<&str>) -> (bool, &'static str) {
    let Some(payload) = object(payload) else {
        return (false, "invalid_payload");
    };
    let Some(device) = call.session.device.clone() else {
        return (false, "missing_device_identity");
    };
    let now_ms = call.context.now_ms();
    if call.context.node_events().throttled(&device, now_ms) {
        return (true, "throttled");
    }
    match store_presence(call, &device, presence_trigger(&payload)) {
        Ok(true) => {
            call.context.node_events().stored(device, now_ms);
            (true, "persisted")
        }
        Ok(false) => (false, "unpaired"),
        Err(fault) => {
            log::error!(target: "gateway", "the presence of {device} cannot be stored: {fault}");
            (false, "persist_failed")
        }
    }
}

/// Whether a record of the device exists; the sign of life is then in memory and reaches the disk with the
/// next save.
fn store_presence(call: &Call<'_>, device: &DeviceId, trigger: &str) -> Result<bool, StoreError> {
    let noted = call.context.store.transact(|state, now| {
        let changes = node::presence_alive(state, device, trigger, now);
        Ok::<_, Infallible>((!changes.is_empty(), changes))
    });
    match noted {
        Ok((known, _)) => Ok(known),
        Err(TransactError::Refused(never)) => match never {},
        Err(TransactError::Store(fault)) => Err(fault),
    }
}

fn log_exec(call: &Call<'_>, event: &str, payload: Option<&str>) {
    let Some(payload) = object(payload) else {
        return;
    };
    let now_ms = call.context.now_ms();
    if call.context.node_events().is_news(event, &payload, now_ms) {
        let node = call
            .session
            .device
            .as_ref()
            .map(DeviceId::as_str)
            .unwrap_or_default();
        log::info!(target: "gateway", "node {node}: {}", exec_line(event, &payload));
    }
}

fn object(payload: Option<&str>) -> Option<Map<String, Value>> {
    serde_json::from_str(payload?).ok()
}
