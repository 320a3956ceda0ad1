//! `node.pending.*` and what node hosts ask for at their start (protocol.md §7.6, §2.5).

use serde_json::{Value, json};

use super::call::{Call, Outcome, Reply, payload};
use super::nodes::described;
use crate::gateway::gate;
use crate::gateway::pending_work::{DEFAULT_DRAIN, Item, Kind, Priority};
use crate::identity::Random;
use crate::protocol::params::{PendingAck, PendingDrain, PendingEnqueue, parse_nothing};

/// `node.pending.pull`: actions exist only for foreground commands of phones, which nothing here queues.
pub fn pull(call: &Call<'_>, params: Option<Value>) -> Outcome {
    parse_nothing(call.method, params)?;
    Ok(Reply::Now(json!({"nodeId": call.node()?, "actions": []})))
}

/// `node.pending.ack`.
pub fn acknowledge(call: &Call<'_>, params: Option<Value>) -> Outcome {
    let asked = PendingAck::parse(params)?;
    let node = call.node()?;
    let mut work = call.context.pending_work();
    let acked = work.acknowledge(&node, &asked.ids);
    let remaining = work.waiting(&node);
    Ok(Reply::Now(
        json!({"nodeId": node, "ackedIds": acked, "remainingCount": remaining}),
    ))
}

/// `node.pending.drain`: what was queued for a node that is no longer paired is dropped.
pub fn drain(call: &Call<'_>, params: Option<Value>) -> Outcome {
    let asked = PendingDrain::parse(params)?;
    let node = call.node()?;
    let paired = call.state()?.nodes.paired.record(node.as_str()).is_some();
    let limit = asked.max_items.map_or(DEFAULT_DRAIN, |limit| {
        usize::try_from(limit).unwrap_or(DEFAULT_DRAIN)
    });
    let mut work = call.context.pending_work();
    if !paired {
        work.forget(&node);
    }
    let drained = work.drain(&node, limit, call.context.now_ms());
    drop(work);
    let mut answer = json!({"nodeId": node});
    if let (Some(answer), Value::Object(fields)) = (answer.as_object_mut(), payload(&drained)?) {
        answer.extend(fields);
    }
    Ok(Reply::Now(answer))
}

/// `node.pending.enqueue`: only for paired nodes, because nothing is kept for later approval (§6.4).
pub fn enqueue(call: &Call<'_>, params: Option<Value>) -> Outcome {
    let asked = PendingEnqueue::parse(params)?;
    let now_ms = call.context.now_ms();
    let state = call.state()?;
    described(call, &state, &asked.node_id)?;
    let item = Item {
        id: Random.uuid(),
        kind: if asked.kind == "location.request" {
            Kind::Location
        } else {
            Kind::Status
        },
        priority: if asked.high_priority {
            Priority::High
        } else {
            Priority::Normal
        },
        created_at_ms: now_ms,
        expires_at_ms: asked.expires_in_ms.map(|life| now_ms.saturating_add(life)),
    };
    // Looked at under the lock, and no file is: a pairing that ends meanwhile takes the errand along.
    let mut work = call.context.pending_work();
    call.still_here()?;
    let known = call.context.store.known();
    gate::require_pairing(&known, &asked.node_id, now_ms, &asked.kind)?;
    let (revision, queued) = work.enqueue(&asked.node_id, item, now_ms);
    drop(work);
    Ok(Reply::Now(json!({
        "nodeId": asked.node_id,
        "revision": revision,
        "queued": payload(&queued)?,
        "wakeTriggered": false,
    })))
}

/// `skills.bins`: no skills here.
pub fn skill_bins(call: &Call<'_>, params: Option<Value>) -> Outcome {
    parse_nothing(call.method, params)?;
    Ok(Reply::Now(json!({"bins": []})))
}

/// `node.skills.update`: taken notice of, nothing kept.
pub fn skills(call: &Call<'_>) -> Outcome {
    Ok(Reply::Now(json!({"nodeId": call.node()?, "skills": []})))
}

/// `node.pluginTools.update`: taken notice of, nothing kept.
pub fn plugin_tools(call: &Call<'_>) -> Outcome {
    Ok(Reply::Now(json!({"nodeId": call.node()?, "tools": []})))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::testing::{House, START_MS, device_record, node_record};
    use crate::pairing::Part;

    #[test]
    fn errands_reach_their_node_once() {
        let house = House::new();
        let person = house.operator(&["operator.write"]);
        let node = house.paired_node("n", &[]);
        let queued = person.ask("node.pending.enqueue",
            json!({"nodeId": " n ", "type": "location.request", "priority": "high", "expiresInMs": 5_000}));
        let id = queued["queued"]["id"].clone();
        assert_eq!(
            queued,
            json!({"nodeId": "n", "revision": 1, "wakeTriggered": false, "queued": {"id": id,
            "type": "location.request", "priority": "high", "createdAtMs": START_MS, "expiresAtMs": START_MS + 5_000}})
        );
        let drained = node.ask("node.pending.drain", json!({"maxItems": 1}));
        assert_eq!(
            (
                &drained["nodeId"],
                &drained["items"][0]["id"],
                &drained["hasMore"]
            ),
            (&json!("n"), &id, &json!(false))
        );
        let baseline = node.ask("node.pending.drain", json!({}));
        assert_eq!(
            baseline["items"],
            json!([{"id": "baseline-status", "type": "status.request", "priority": "default",
            "createdAtMs": START_MS, "expiresAtMs": null}])
        );
    }

    #[test]
    fn nothing_is_kept_for_a_node_that_is_not_paired() {
        let house = House::new();
        let person = house.operator(&["operator.write", "operator.pairing"]);
        let node = house.paired_node("n", &[]);
        let errand = json!({"nodeId": "n", "type": "status.request"});
        person.ask("node.pending.enqueue", errand.clone());
        person.ask("node.pair.remove", json!({"nodeId": "n"}));
        assert_eq!(
            node.ask("node.pending.drain", json!({}))["items"][0]["id"],
            "baseline-status"
        );
        let error = person.refused("node.pending.enqueue", errand);
        assert_eq!(error["details"]["code"], "NODE_PAIRING_REQUIRED");
        for (id, message) in [("unknown", "unknown nodeId"), (" ", "nodeId required")] {
            let errand = json!({"nodeId": id, "type": "status.request"});
            let error = person.refused("node.pending.enqueue", errand);
            assert_eq!(error["message"], message);
        }
    }

    #[test]
    fn an_errand_does_not_outlive_the_pairing_of_its_node() {
        let ends = [
            ("node.pair.remove", json!({"nodeId": "n"})),
            ("device.pair.remove", json!({"deviceId": "n"})),
            (
                "device.token.revoke",
                json!({"deviceId": "n", "role": "node"}),
            ),
            (
                "node.pair.prune",
                json!({"notSeenMs": crate::protocol::limits::DAY_MS, "nodeIds": ["n"]}),
            ),
        ];
        for (method, params) in ends {
            let house = House::new();
            let pair = || {
                let device = device_record("n", &[("node", &[])]);
                house.seed(Part::DevicesPaired, json!({"n": device}));
                house.seed(Part::NodesPaired, json!({"n": node_record("n", &[])}));
            };
            pair();
            let person = house.operator(&["operator.admin"]);
            let errand = json!({"nodeId": "n", "type": "status.request"});
            person.ask("node.pending.enqueue", errand);
            person.ask(method, params);
            pair();
            let drained = house
                .node("n", &[])
                .ask("node.pending.drain", json!({"maxItems": 10}));
            assert_eq!(drained["items"][0]["id"], "baseline-status", "{method}");
        }
    }

    #[test]
    fn the_small_answers_are_those_of_the_specification() {
        let house = House::new();
        let node = house.node("n", &[]);
        let cases = [
            (
                "node.pending.pull",
                json!({}),
                json!({"nodeId": "n", "actions": []}),
            ),
            (
                "node.pending.ack",
                json!({"ids": ["a"]}),
                json!({"nodeId": "n", "ackedIds": [], "remainingCount": 0}),
            ),
            ("skills.bins", json!({}), json!({"bins": []})),
            (
                "node.skills.update",
                json!({"skills": [1]}),
                json!({"nodeId": "n", "skills": []}),
            ),
            (
                "node.pluginTools.update",
                json!({"any": 1}),
                json!({"nodeId": "n", "tools": []}),
            ),
        ];
        for (method, params, expected) in cases {
            assert_eq!(node.ask(method, params), expected, "{method}");
        }
    }
}
