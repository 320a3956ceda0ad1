//! `node.event`: what a node reports on its own (protocol.md §7.5).
//!
//! Every event is accepted; two kinds have an effect here: presence is stored, exec reports are logged.

use std::convert::Infallible;

use serde_json::{Map, Value, json};

use super::call::{Call, Outcome, Reply};
use crate::gateway::limits::Topic;
use crate::gateway::node_events::{exec_line, presence_trigger};
use crate::identity::ids::DeviceId;
use crate::pairing::node;
use crate::protocol::frame::parse_json;
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

/// Whether a record of the device exists; the sign of life is then on disk. The throttle bounds how often.
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

/// Logs a report of a run, within bounds. A node that is not paired runs nothing here.
fn log_exec(call: &Call<'_>, event: &str, payload: Option<&str>) {
    let context = call.context;
    let (Some(payload), Some(node)) = (object(payload), &call.session.device) else {
        return;
    };
    let paired = context
        .store
        .read(|state| state.nodes.paired.record(node.as_str()).is_some());
    if !paired.unwrap_or(false) {
        return;
    }
    let now_ms = context.now_ms();
    let is_news = context.node_events().is_news(node, event, &payload, now_ms);
    if is_news && context.chatter.allows(Topic::NodeReport, &context.timer) {
        log::info!(target: "gateway", "node {node}: {}", exec_line(event, &payload));
    }
}

fn object(payload: Option<&str>) -> Option<Map<String, Value>> {
    match parse_json(payload?) {
        Ok(Value::Object(members)) => Some(members),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::limits::chatter::MAX_LOG_LINES;
    use crate::gateway::testing::{Guest, House, START_MS, device_record};
    use crate::pairing::Part;
    use crate::protocol::scope::Role;

    fn alive(node: &Guest<'_>, payload: Value) -> (bool, String) {
        let answer = node.ask(
            "node.event",
            json!({"event": PRESENCE_ALIVE, "payload": payload}),
        );
        assert_eq!(
            (&answer["ok"], &answer["event"]),
            (&json!(true), &json!(PRESENCE_ALIVE))
        );
        (
            answer["handled"] == true,
            answer["reason"].as_str().unwrap().to_owned(),
        )
    }

    #[test]
    fn presence_is_stored_in_the_order_of_the_cases() {
        let house = House::new();
        house.seed(
            Part::DevicesPaired,
            json!({"n": device_record("n", &[("node", &[])])}),
        );
        let node = house.paired_node("n", &[]);
        let stranger = house.node("stranger", &[]);
        let nameless = house.join(|session| session.role = Role::Node);
        let good = json!({"trigger": "silent_push", "deviceId": "stranger"});
        assert_eq!(
            alive(&nameless, json!([])),
            (false, "invalid_payload".into())
        );
        assert_eq!(
            alive(&nameless, good.clone()),
            (false, "missing_device_identity".into())
        );
        assert_eq!(alive(&stranger, good.clone()), (false, "unpaired".into()));
        assert_eq!(
            alive(&node, json!("text")),
            (false, "invalid_payload".into())
        );
        let saves = house.context.store.saves();
        assert_eq!(alive(&node, good.clone()), (true, "persisted".into()));
        assert!(house.context.store.saves() > saves, "it is on disk");
        house.clock.advance(59_999);
        assert_eq!(alive(&node, good), (true, "throttled".into()));
        house.clock.advance(1);
        assert_eq!(
            alive(&node, json!({"trigger": "odd"})),
            (true, "persisted".into())
        );
        let state = house.context.store.snapshot().unwrap();
        let (device, record) = (
            state.devices.paired.record("n").unwrap(),
            state.nodes.paired.record("n").unwrap(),
        );
        for (at, reason) in [
            (device.last_seen_at_ms, &device.last_seen_reason),
            (record.last_seen_at_ms, &record.last_seen_reason),
        ] {
            assert_eq!(
                (at, reason.as_deref()),
                (Some(START_MS + 60_000), Some("background"))
            );
        }
    }

    #[test]
    fn reports_of_runs_are_logged_within_bounds_and_only_of_paired_nodes() {
        let house = House::new();
        let report = || json!({"event": "exec.started", "payload": {"command": "x"}});
        let context = &house.context;
        let is_line_left = || context.chatter.allows(Topic::NodeReport, &context.timer);
        let stranger = house.node("stranger", &[]);
        for _ in 0..MAX_LOG_LINES {
            assert_eq!(stranger.ask("node.event", report()), json!({"ok": true}));
        }
        assert!(is_line_left());
        let node = house.paired_node("n", &[]);
        for _ in 0..MAX_LOG_LINES {
            assert_eq!(node.ask("node.event", report()), json!({"ok": true}));
        }
        assert!(!is_line_left());
    }

    #[test]
    fn half_a_surrogate_pair_in_the_payload_costs_only_itself() {
        let read = object(Some(r#"{"output":"abc\ud83d"}"#)).unwrap();
        assert_eq!(read["output"], "abc\u{fffd}");
    }

    #[test]
    fn every_other_event_is_accepted() {
        let house = House::new();
        let node = house.node("n", &[]);
        let cases = [
            json!({"event": "exec.finished", "payload": {"runId": "r", "output": "x\u{1b}[2J"}}),
            json!({"event": "exec.finished", "payloadJSON": "{not json"}),
            json!({"event": "exec.started"}),
            json!({"event": "node.host.stats", "payload": {"load": 1}}),
            json!({"event": "never.heard.of"}),
        ];
        for params in cases {
            assert_eq!(node.ask("node.event", params), json!({"ok": true}));
        }
    }
}
