//! `node.list` and `node.describe` (protocol.md §7.1).

use serde_json::{Value, json};

use super::call::{Call, Outcome, Reply, payload};
use crate::gateway::roster::Roster;
use crate::protocol::error::ErrorShape;
use crate::protocol::params::{NodeDescribe, parse_nothing};

/// `node.list`: every known node.
pub fn list(call: &Call<'_>, params: Option<Value>) -> Outcome {
    parse_nothing(call.method, params)?;
    let state = call.state()?;
    let commands = call.context.command_policy();
    let now_ms = call.context.now_ms();
    let rows = Roster::new(&state, &call.context.registry(), &commands, now_ms).rows();
    Ok(Reply::Now(json!({"ts": now_ms, "nodes": payload(&rows)?})))
}

/// `node.describe`: one known node.
pub fn describe(call: &Call<'_>, params: Option<Value>) -> Outcome {
    let asked = NodeDescribe::parse(params)?;
    let state = call.state()?;
    let commands = call.context.command_policy();
    let now_ms = call.context.now_ms();
    let row = Roster::new(&state, &call.context.registry(), &commands, now_ms).row(&asked.node_id);
    let row = row.ok_or_else(|| ErrorShape::invalid("unknown nodeId"))?;
    let mut answer = json!({"ts": now_ms});
    if let (Some(answer), Value::Object(fields)) = (answer.as_object_mut(), payload(&row)?) {
        answer.extend(fields);
    }
    Ok(Reply::Now(answer))
}
