//! `node.pending.*` and what node hosts ask for at their start (protocol.md §7.6, §2.5).

use serde_json::{Value, json};

use super::call::{Call, Outcome, Reply, payload};
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
    gate::require_pairing(&state, &asked.node_id, now_ms, &asked.kind)?;
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
    let (revision, queued) = call
        .context
        .pending_work()
        .enqueue(&asked.node_id, item, now_ms);
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
