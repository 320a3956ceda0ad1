//! The small methods about the gateway itself (protocol.md §9.2).

use std::time::Instant;

use serde_json::{Value, json};

use super::call::{Call, Outcome, Reply, payload};
use crate::gateway::attendance;
use crate::gateway::context::Context;
use crate::gateway::presence::Row;
use crate::gateway::roster::Roster;
use crate::protocol::params::{SetHeartbeats, SystemEvent, parse_nothing};

/// The payload of `health`, of `health` broadcasts and of `snapshot.health`. It names no path and no
/// session [D18]; `nodes` is ours.
pub fn health(context: &Context) -> Value {
    let started = Instant::now();
    let nodes = match context.store.snapshot() {
        Ok(state) => {
            let registry = context.registry();
            let policy = context.command_policy();
            let known = Roster::new(&state, &registry, &policy, context.now_ms())
                .known()
                .len();
            json!({"known": known, "connected": registry.connected()})
        }
        Err(_) => Value::Null,
    };
    json!({
        "ok": true,
        "ts": context.now_ms(),
        "durationMs": started.elapsed().as_millis() as u64,
        "channels": {},
        "channelOrder": [],
        "channelLabels": {},
        "heartbeatSeconds": 0,
        "defaultAgentId": "main",
        "agents": [],
        "sessions": {"path": "", "count": 0, "recent": []},
        "nodes": nodes,
    })
}

/// `health`: its params are open and change nothing.
pub fn answer_health(call: &Call<'_>) -> Outcome {
    Ok(Reply::Now(health(call.context)))
}

/// `status`.
pub fn status(call: &Call<'_>, params: Option<Value>) -> Outcome {
    parse_nothing(call.method, params)?;
    Ok(Reply::Now(json!({
        "runtimeVersion": call.context.version,
        "heartbeat": {"defaultAgentId": "main", "agents": []},
        "channelSummary": [],
        "queuedSystemEvents": [],
        "sessions": {"paths": [], "count": 0, "defaults": {}, "recent": [], "byAgent": []},
    })))
}

/// `gateway.identity.get`.
pub fn identity(call: &Call<'_>, params: Option<Value>) -> Outcome {
    parse_nothing(call.method, params)?;
    let key = call.context.identity.public();
    Ok(Reply::Now(
        json!({"deviceId": key.device_id(), "publicKey": key.encode()}),
    ))
}

/// `system-presence`.
pub fn presence(call: &Call<'_>, params: Option<Value>) -> Outcome {
    parse_nothing(call.method, params)?;
    let rows = call.context.presence().rows(call.context.now_ms());
    Ok(Reply::Now(payload(&rows)?))
}

/// `system-event`: writes a presence row and tells everybody.
pub fn event(call: &Call<'_>, params: Option<Value>) -> Outcome {
    let said = SystemEvent::parse(params)?;
    let key = said
        .device_id
        .clone()
        .or_else(|| said.instance_id.clone())
        .or_else(|| said.host.clone());
    let key = key.unwrap_or_else(|| call.session.conn.to_string());
    let row = Row {
        host: said.host,
        ip: said.ip,
        version: said.version,
        platform: said.platform,
        device_family: said.device_family,
        model_identifier: said.model_identifier,
        mode: said.mode,
        reason: said.reason,
        device_id: said.device_id,
        instance_id: said.instance_id,
        text: said.text,
        ts: call.context.now_ms(),
        ..Row::default()
    };
    call.context.presence().report(&key, row);
    attendance::announce(call.context);
    Ok(Reply::Now(json!({"ok": true})))
}

/// `last-heartbeat`: there are none.
pub fn last_heartbeat(call: &Call<'_>, params: Option<Value>) -> Outcome {
    parse_nothing(call.method, params)?;
    Ok(Reply::Now(Value::Null))
}

/// `set-heartbeats`: accepted, there are none.
pub fn set_heartbeats(params: Option<Value>) -> Outcome {
    let asked = SetHeartbeats::parse(params)?;
    Ok(Reply::Now(json!({"ok": true, "enabled": asked.enabled})))
}
