//! `node.pair.*` and `node.rename` (protocol.md §6.3). The rules are `pairing`'s; what a change means for
//! a live node is recomputed when it is applied.

use serde_json::{Value, json};

use super::call::{Call, Outcome, Reply, payload};
use crate::identity::Random;
use crate::pairing::node;
use crate::pairing::node_record::NodeMetadata;
use crate::protocol::params::{
    NodePairRemove, NodePairRequest, NodePairVerify, NodeRename, parse_nothing, parse_request_id,
};

/// `node.pair.request`: an operator asks in the name of a node.
pub fn request(call: &Call<'_>, params: Option<Value>) -> Outcome {
    let asked = NodePairRequest::parse(params)?;
    let commands = call.context.command_policy();
    let silent = asked.silent;
    let node_id = asked.node_id.clone();
    let metadata = metadata(asked);
    call.commit_and_answer(|state, now| {
        node::request(
            state,
            &node_id,
            metadata.clone(),
            silent,
            &commands,
            now,
            &mut Random,
        )
    })
}

/// `node.pair.list`.
pub fn list(call: &Call<'_>, params: Option<Value>) -> Outcome {
    parse_nothing(call.method, params)?;
    let state = call.state()?;
    Ok(Reply::Now(payload(&node::list(
        &state,
        call.context.now_ms(),
    ))?))
}

/// `node.pair.approve`: the commands of a live node count at once.
pub fn approve(call: &Call<'_>, params: Option<Value>) -> Outcome {
    let request = parse_request_id(call.method, params)?;
    let caller = call.caller();
    call.commit_and_answer(|state, now| {
        node::approve(state, request.as_str(), &caller, now, &mut Random)
    })
}

/// `node.pair.reject`.
pub fn reject(call: &Call<'_>, params: Option<Value>) -> Outcome {
    let request = parse_request_id(call.method, params)?;
    let caller = call.caller();
    call.commit_and_answer(|state, now| node::reject(state, request.as_str(), &caller, now))
}

/// `node.pair.remove`: a live node keeps its connection and loses its commands at once.
pub fn remove(call: &Call<'_>, params: Option<Value>) -> Outcome {
    let asked = NodePairRemove::parse(params)?;
    let caller = call.caller();
    call.commit_and_answer(|state, now| node::remove(state, &asked.node_id, &caller, now))
}

/// `node.pair.verify`.
pub fn verify(call: &Call<'_>, params: Option<Value>) -> Outcome {
    let asked = NodePairVerify::parse(params)?;
    let state = call.state()?;
    Ok(Reply::Now(
        match node::verify(&state, &asked.node_id, asked.token.as_str()) {
            Some(record) => json!({"ok": true, "node": record}),
            None => json!({"ok": false}),
        },
    ))
}

/// `node.rename`: the operator's name wins over the node's own.
pub fn rename(call: &Call<'_>, params: Option<Value>) -> Outcome {
    let asked = NodeRename::parse(params)?;
    let caller = call.caller();
    call.commit_and_answer(|state, _| {
        node::rename(state, &asked.node_id, &asked.display_name, &caller)
    })
}

fn metadata(asked: NodePairRequest) -> NodeMetadata {
    NodeMetadata {
        display_name: asked.display_name,
        platform: asked.platform,
        version: asked.version,
        core_version: asked.core_version,
        ui_version: asked.ui_version,
        device_family: asked.device_family,
        model_identifier: asked.model_identifier,
        caps: asked.caps,
        commands: asked.commands,
        remote_ip: asked.remote_ip,
        ..NodeMetadata::default()
    }
}
