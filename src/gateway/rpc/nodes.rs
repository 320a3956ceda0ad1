//! `node.list` and `node.describe` (protocol.md §7.1).

use serde_json::{Map, Value, json};

use super::call::{Call, Outcome, Reply, payload};
use crate::gateway::node_row::Described;
use crate::gateway::roster::Roster;
use crate::identity::{DeviceId, NodeId};
use crate::pairing::State;
use crate::protocol::error::ErrorShape;
use crate::protocol::params::{NodeDescribe, parse_after, parse_nothing};

/// `node.list`: every known node.
pub fn list(call: &Call<'_>, params: Option<Value>) -> Outcome {
    parse_nothing(call.method, params)?;
    let state = call.state()?;
    let commands = call.context.command_policy();
    let now_ms = call.context.now_ms();
    let rows = Roster::new(&state, &call.context.registry(), &commands, now_ms).rows();
    Ok(Reply::Now(json!({"ts": now_ms, "nodes": payload(&rows)?})))
}

/// `gateway.events`, a method of our own: what happened to nodes and devices after an event. A device-bound caller hears
/// of its own device alone.
pub fn events(call: &Call<'_>, params: Option<Value>) -> Outcome {
    let after = parse_after(params)?;
    let own = call.session.device_bound();
    let visible = |event: &Map<String, Value>| {
        let is_about = |own: &DeviceId| {
            let ids = ["deviceId", "nodeId"].map(|name| event.get(name));
            ids.into_iter().flatten().any(|id| id == own.as_str())
        };
        own.is_none_or(is_about)
    };
    Ok(Reply::Now(
        call.context.journal.after(after.as_deref(), visible),
    ))
}

/// `node.describe`: one known node.
pub fn describe(call: &Call<'_>, params: Option<Value>) -> Outcome {
    let asked = NodeDescribe::parse(params)?;
    let described = described(call, &*call.state()?, &asked.node_id)?;
    Ok(Reply::Now(payload(&described)?))
}

/// What is known of a node that is paired in either layer or connected; the refusal of any other.
pub(super) fn described(
    call: &Call<'_>,
    state: &State,
    node: &NodeId,
) -> Result<Described, ErrorShape> {
    let (registry, commands) = (call.context.registry(), call.context.command_policy());
    Roster::new(state, &registry, &commands, call.context.now_ms()).described(node)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::testing::{House, START_MS};

    #[test]
    fn list_and_describe_say_the_same() {
        let house = House::new();
        let person = house.operator(&["operator.read"]);
        let _node = house.paired_node("n", &["system.which"]);
        let listed = person.ask("node.list", json!({}));
        let described = person.ask("node.describe", json!({"nodeId": " n "}));
        assert_eq!(listed["ts"], START_MS);
        let mut row = json!({"ts": START_MS});
        row.as_object_mut()
            .unwrap()
            .extend(listed["nodes"][0].as_object().unwrap().clone());
        assert_eq!(described, row);
        assert_eq!(described["connected"], true);
    }

    #[test]
    fn unknown_and_blank_ids_are_refused() {
        let house = House::new();
        let person = house.operator(&["operator.read"]);
        for (id, message) in [("none", "unknown nodeId"), ("  ", "nodeId required")] {
            assert_eq!(
                person.refused("node.describe", json!({"nodeId": id}))["message"],
                message
            );
        }
    }

    #[test]
    fn an_event_says_nothing_of_what_is_not_known() {
        let house = House::new();
        let person = house.operator(&["operator.pairing"]);
        let start = person.ask("gateway.events", json!({}));
        let _nameless = house.node("n", &[]);
        let told = person.ask("gateway.events", json!({"after": start["last"]}));
        let event = &told["events"][0];
        assert_eq!(
            event,
            &json!({"id": event["id"], "ts": START_MS, "event": "node.connected", "nodeId": "n"})
        );
    }
}
