//! The small methods about the gateway itself (protocol.md §9.2).

use std::time::Instant;

use serde_json::{Value, json};

use super::call::{Call, Outcome, Reply, payload};
use crate::gateway::attendance;
use crate::gateway::context::Context;
use crate::gateway::presence::{self, Row};
use crate::gateway::roster::Roster;
use crate::protocol::params::{SetHeartbeats, SystemEvent, parse_nothing, parse_status};

/// The payload of `health`, of `health` broadcasts and of `snapshot.health`. It names no path and no
/// session (D18); `nodes` and `discovery` are ours.
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
        "discovery": context.publicity.document(),
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
    parse_status(call.method, params)?;
    Ok(Reply::Now(json!({
        "runtimeVersion": call.context.version,
        "discovery": call.context.publicity.document(),
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
    let other = said.host.as_deref().unwrap_or(call.session.conn.as_str());
    let key = presence::key(
        said.device_id.as_deref(),
        said.instance_id.as_deref(),
        other,
    );
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::testing::{House, START_MS};

    #[test]
    fn health_is_for_everybody_and_names_no_path() {
        let house = House::new();
        let node = house.paired_node("n", &[]);
        let nobody = house.operator(&[]);
        for guest in [&node, &nobody] {
            let mut health = guest.ask("health", json!({"probe": true, "anything": 1}));
            health["durationMs"] = json!(0);
            assert_eq!(
                health,
                json!({"ok": true, "ts": START_MS, "durationMs": 0, "channels": {}, "channelOrder": [],
                "channelLabels": {}, "heartbeatSeconds": 0, "defaultAgentId": "main", "agents": [],
                "sessions": {"path": "", "count": 0, "recent": []}, "nodes": {"known": 1, "connected": 1},
                "discovery": {"state": "off", "reason": "not started"}})
            );
        }
    }

    #[test]
    fn the_small_answers_are_those_of_the_specification() {
        let house = House::new();
        let person = house.operator(&["operator.admin"]);
        let status = person.ask("status", json!({}));
        assert_eq!(status["runtimeVersion"], env!("CARGO_PKG_VERSION"));
        let newer = json!({"includeChannelSummary": false, "includeCliProjection": true});
        assert_eq!(person.ask("status", newer), status);
        assert_eq!(
            person.refused("status", json!({"other": 1}))["message"],
            "invalid status params: at root: unexpected property 'other'"
        );
        assert_eq!(person.ask("last-heartbeat", json!({})), Value::Null);
        assert_eq!(
            person.ask("set-heartbeats", json!({"enabled": true})),
            json!({"ok": true, "enabled": true})
        );
        let identity = person.ask("gateway.identity.get", json!({}));
        assert_eq!(identity["deviceId"].as_str().unwrap().len(), 64);
        assert_eq!(identity["publicKey"].as_str().unwrap().len(), 43);
    }

    #[test]
    fn a_system_event_writes_a_row_and_tells_everybody() {
        let house = House::new();
        let person = house.operator(&["operator.admin"]);
        let node = house.node("n", &[]);
        let before = house.context.hub.presence_version();
        assert_eq!(
            person.refused("system-event", json!({"text": " "}))["message"],
            "text required"
        );
        person.ask(
            "system-event",
            json!({"text": "back", "host": "pi", "other": [1]}),
        );
        let event = node.event_now("presence").unwrap();
        assert_eq!(event["stateVersion"]["presence"], before + 1);
        let rows = person.ask("system-presence", json!({}));
        assert_eq!(event["payload"]["presence"], rows);
        assert_eq!(rows[0]["host"], "gateway");
        assert!(
            rows.as_array()
                .unwrap()
                .iter()
                .any(|row| row["text"] == "back" && row["host"] == "pi")
        );
    }

    #[test]
    fn a_rush_of_closings_is_told_in_one_go() {
        let house = House::new();
        let person = house.operator(&["operator.read"]);
        let nodes: Vec<_> = (0..20)
            .map(|number| house.node(&number.to_string(), &[]))
            .collect();
        nodes.iter().for_each(|node| node.leave());
        let shown = |event: &Value| {
            let rows = event["payload"]["presence"].as_array().unwrap();
            rows.iter()
                .filter(|row| row["reason"] == "disconnect")
                .count()
        };
        let mut told = 1;
        while shown(&person.event("presence")) < nodes.len() {
            told += 1;
        }
        assert!(told < nodes.len(), "{told} broadcasts");
        assert!(person.event_now("presence").is_none());
    }

    #[test]
    fn presence_turns_with_the_last_connection_of_a_device() {
        let house = House::new();
        let person = house.operator(&["operator.read"]);
        let (first, second) = (house.node("n", &[]), house.node("n", &[]));
        first.leave();
        assert!(person.event_now("presence").is_none());
        second.leave();
        let event = person.event_now("presence").unwrap();
        let row = &event["payload"]["presence"][1];
        assert_eq!(
            (&row["reason"], &row["deviceId"]),
            (&json!("disconnect"), &json!("n"))
        );
        assert_eq!(row["text"], "Node: node-host · mode node");
        assert!(person.event_now("presence").is_none());
        assert_eq!(
            person
                .ask("system-presence", json!({}))
                .as_array()
                .unwrap()
                .len(),
            2,
            "no row for the cli"
        );
    }
}
