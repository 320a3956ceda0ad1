//! `node.pair.*` and `node.rename` (protocol.md §6.3). The rules are `pairing`'s; what a change means for
//! a live node is recomputed when it is applied.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::call::{Call, Outcome, Reply, payload};
use super::pairing::noted;
use crate::identity::Random;
use crate::pairing::node::{self, Approved};
use crate::pairing::node_record::NodeMetadata;
use crate::pairing::prune::{self, Pruned, Rule};
use crate::pairing::switch::Switch;
use crate::pairing::{Changes, Refusal, State};
use crate::protocol::params::{
    NodePairPrune, NodePairRemove, NodePairRequest, NodePairVerify, NodeRename, PairApprove,
    parse_nothing, parse_request_id,
};

/// `node.pair.request`: an operator asks in the name of a node.
pub fn request(call: &Call<'_>, params: Option<Value>) -> Outcome {
    let asked = NodePairRequest::parse(params)?;
    let commands = call.context.command_policy();
    let enabled = call.context.rules().admission.pairing_enabled;
    let silent = asked.silent;
    let node_id = asked.node_id.clone();
    let metadata = metadata(asked);
    call.commit_and_answer(|state, now| {
        if !Switch::of(state, enabled).is_open(now) {
            return Err(Refusal::PairingClosed);
        }
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
    let listed = payload(&node::list(&state, call.context.now_ms()))?;
    Ok(Reply::Now(noted(call, &state, listed)))
}

/// `node.pair.approve`: the commands of a live node count at once.
pub fn approve(call: &Call<'_>, params: Option<Value>) -> Outcome {
    let asked = PairApprove::parse(call.method, params)?;
    let (request, expected) = (asked.request_id.as_str(), asked.expected_digest.as_deref());
    let caller = call.caller();
    call.commit_and_count(|state, now| {
        let (approved, mut changes) =
            node::approve(state, request, expected, &caller, now, &mut Random)?;
        changes.extend(came_in_before(call, state, &approved));
        Ok((approved, changes))
    })
}

/// A connection that is older than its record is noted in it now.
fn came_in_before(call: &Call<'_>, state: &mut State, approved: &Approved) -> Changes {
    let id = approved.node["nodeId"].as_str().unwrap_or_default();
    let record = state.nodes.paired.record(id);
    let live = record.and_then(|record| call.context.registry().owner(&record.node_id).cloned());
    live.map_or(Changes::new(), |live| {
        node::connected(state, live.node(), None, live.connected_at_ms)
    })
}

/// `node.pair.reject`.
pub fn reject(call: &Call<'_>, params: Option<Value>) -> Outcome {
    let request = parse_request_id(call.method, params)?;
    let caller = call.caller();
    call.commit_and_answer(|state, now| node::reject(state, request.as_str(), &caller, now))
}

/// `node.pair.remove`: a live node keeps its connection, loses its commands at once and asks again.
pub fn remove(call: &Call<'_>, params: Option<Value>) -> Outcome {
    let asked = NodePairRemove::parse(params)?;
    let caller = call.caller();
    call.commit_and_count(|state, now| node::remove(state, &asked.node_id, &caller, now))
}

/// `node.pair.prune`: removes nodes that were not seen for long, with their devices; none that is connected.
pub fn prune(call: &Call<'_>, params: Option<Value>) -> Outcome {
    let asked = NodePairPrune::parse(params)?;
    if asked.dry_run {
        let (state, now) = (call.state()?, call.context.now_ms());
        let nodes = prune::idle(&state, &Rule::of(&asked, &connected(call)), now);
        return Ok(Reply::Now(payload(&Pruned { nodes })?));
    }
    let caller = call.caller();
    call.commit_and_count(|state, now| {
        // Looked at inside: a device that comes in meanwhile has been seen in the state first.
        prune::prune(state, &Rule::of(&asked, &connected(call)), &caller, now)
    })
}

/// Ids of the devices that are connected, in whatever role.
fn connected(call: &Call<'_>) -> BTreeSet<String> {
    let sessions = call.context.hub.sessions();
    let devices = sessions
        .iter()
        .filter_map(|session| session.device.as_ref());
    devices.map(ToString::to_string).collect()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::testing::{House, START_MS, device_record, node_record};
    use crate::pairing::Part;

    const PAIRING: &[&str] = &["operator.pairing"];

    fn request(id: &str, node: &str, commands: &[&str]) -> Value {
        json!({"requestId": id, "nodeId": node, "commands": commands, "silent": false, "ts": START_MS})
    }

    #[test]
    fn every_refusal_has_its_words() {
        let house = House::new();
        house.seed(
            Part::NodesPending,
            json!({
                "exec": request("exec", "n", &["system.which"]),
                "other": request("other", "m", &["canvas.eval"]),
            }),
        );
        house.seed(Part::NodesPaired, json!({"p": node_record("p", &[])}));
        let person = house.operator(PAIRING);
        let cases = [
            (
                "node.pair.request",
                json!({"nodeId": "  "}),
                "nodeId required",
            ),
            (
                "node.pair.approve",
                json!({"requestId": "none"}),
                "unknown requestId",
            ),
            (
                "node.pair.approve",
                json!({"requestId": "exec"}),
                "missing scope: operator.admin",
            ),
            (
                "node.pair.approve",
                json!({"requestId": "other"}),
                "missing scope: operator.write",
            ),
            (
                "node.pair.reject",
                json!({"requestId": "none"}),
                "unknown requestId",
            ),
            ("node.pair.remove", json!({"nodeId": "n"}), "unknown nodeId"),
            (
                "node.rename",
                json!({"nodeId": "p", "displayName": " "}),
                "displayName required",
            ),
            (
                "node.rename",
                json!({"nodeId": "n", "displayName": "x"}),
                "unknown nodeId",
            ),
            (
                "node.pair.verify",
                json!({"nodeId": "p"}),
                "invalid node.pair.verify params: must have required property 'token'",
            ),
        ];
        for (method, params, message) in cases {
            let error = person.refused(method, params.clone());
            assert_eq!(
                error,
                json!({"code": "INVALID_REQUEST", "message": message}),
                "{method} {params}"
            );
        }
    }

    #[test]
    fn a_node_that_is_approved_while_it_is_connected_was_last_connected_then() {
        let house = House::new();
        house.seed(
            Part::NodesPending,
            json!({"r": request("r", "n", &["system.which"])}),
        );
        let person = house.operator(&["operator.pairing", "operator.admin", "operator.read"]);
        let node = house.node("n", &["system.which"]);
        person.ask("node.pair.approve", json!({"requestId": "r"}));
        let connected = || {
            let listed = person.ask("node.list", json!({}));
            listed["nodes"][0]["lastConnectedAtMs"].clone()
        };
        let then = connected();
        assert!(then.is_u64(), "{then}");
        node.leave();
        assert_eq!(connected(), then);
    }

    #[test]
    fn a_request_is_created_once_refreshed_and_filtered() {
        let house = House::new();
        let person = house.operator(PAIRING);
        let asked = json!({"nodeId": " n ", "platform": "linux", "commands": ["system.which", "sms.send"], "caps": ["a"]});
        let first = person.ask("node.pair.request", asked.clone());
        assert_eq!(
            (&first["status"], &first["created"]),
            (&json!("pending"), &json!(true))
        );
        assert_eq!(first["request"]["commands"], json!(["system.which"]));
        assert_eq!(first["request"]["nodeId"], "n");
        let event = person.event_now("node.pair.requested").unwrap();
        assert_eq!(
            event["payload"]["requiredApproveScopes"],
            json!(["operator.pairing", "operator.admin"])
        );
        let second = person.ask("node.pair.request", asked);
        assert_eq!(second["created"], false);
        assert_eq!(
            second["request"]["requestId"],
            first["request"]["requestId"]
        );
        assert!(person.event_now("node.pair.requested").is_none());
    }

    #[test]
    fn the_token_is_in_the_answer_to_the_approval_and_nowhere_else() {
        let house = House::new();
        house.seed(Part::NodesPending, json!({"r": request("r", "n", &[])}));
        let person = house.operator(PAIRING);
        let approved = person.ask("node.pair.approve", json!({"requestId": "r"}));
        let token = approved["node"]["token"].as_str().unwrap().to_owned();
        assert_eq!(token.len(), 43);
        let event = person.event_now("node.pair.resolved").unwrap();
        assert_eq!(
            event["payload"],
            json!({"requestId": "r", "nodeId": "n", "decision": "approved", "ts": START_MS})
        );
        let verified = person.ask("node.pair.verify", json!({"nodeId": "n", "token": token}));
        assert_eq!(
            (&verified["ok"], &verified["node"]["nodeId"]),
            (&json!(true), &json!("n"))
        );
        let wrong = person.ask("node.pair.verify", json!({"nodeId": "n", "token": "x"}));
        assert_eq!(wrong, json!({"ok": false}));
        let listed = person.ask("node.pair.list", json!({}));
        assert_eq!(listed["paired"][0]["nodeId"], "n");
        for shown in [verified, listed, event] {
            assert!(!shown.to_string().contains(&token), "{shown}");
        }
    }

    #[test]
    fn approval_and_removal_count_at_once_for_the_live_node() {
        let house = House::new();
        house.seed(
            Part::NodesPending,
            json!({"r": request("r", "n", &["system.which"])}),
        );
        let person = house.operator(&["operator.admin"]);
        let node = house.node("n", &["system.which"]);
        let commands = || person.ask("node.describe", json!({"nodeId": "n"}))["commands"].clone();
        let invoke = json!({"nodeId": "n", "command": "system.which", "idempotencyKey": "k"});
        assert_eq!(commands(), json!([]));
        assert_eq!(
            person.refused("node.invoke", invoke.clone())["details"]["code"],
            "NODE_PAIRING_REQUIRED"
        );

        person.ask("node.pair.approve", json!({"requestId": "r"}));
        assert_eq!(commands(), json!(["system.which"]));
        let open = person.start("node.invoke", invoke.clone());
        assert!(node.event_now("node.invoke.request").is_some());

        let removed = person.ask("node.pair.remove", json!({"nodeId": "n"}));
        let again = person.event_now("node.pair.requested").unwrap();
        let again = again["payload"]["requestId"].clone();
        assert_eq!(
            removed,
            json!({"nodeId": "n", "sessionsEnded": 0, "invokesEnded": 1, "approvalsEnded": 0, "pendingRequestId": again})
        );
        assert_eq!(
            person.answer(&open)["error"]["details"]["code"],
            "COMMAND_WITHDRAWN"
        );
        assert_eq!(commands(), json!([]));
        assert_eq!(
            person.refused("node.invoke", invoke)["details"]["code"],
            "NODE_PAIRING_REQUIRED"
        );
        assert!(!node.session.has_ended());
    }

    #[test]
    fn a_live_node_that_declares_more_than_was_approved_asks_again_at_once() {
        let house = House::new();
        house.seed(Part::NodesPending, json!({"r": request("r", "n", &[])}));
        let person = house.operator(PAIRING);
        let _node = house.node("n", &["system.which"]);
        person.ask("node.pair.approve", json!({"requestId": "r"}));
        let event = person.event_now("node.pair.requested").unwrap();
        assert_eq!(event["payload"]["commands"], json!(["system.which"]));
    }

    #[test]
    fn nodes_that_were_not_seen_go_and_connected_ones_stay() {
        const DAY: u64 = crate::protocol::limits::DAY_MS;
        let house = House::new();
        house.seed(
            Part::NodesPaired,
            json!({"old": node_record("old", &[]), "here": node_record("here", &[])}),
        );
        let person = house.operator(PAIRING);
        let _here = house.node("here", &[]);
        let rule = |more: Value| {
            let mut params = json!({"notSeenMs": 90 * DAY});
            params
                .as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            params
        };
        let dry = person.ask("node.pair.prune", rule(json!({"dryRun": true})));
        assert_eq!(dry["nodes"][0]["nodeId"], "old");
        assert_eq!(dry["nodes"].as_array().unwrap().len(), 1, "{dry}");
        let others = person.ask("node.pair.prune", rule(json!({"nodeIds": ["here"]})));
        assert_eq!(others["nodes"], json!([]));
        let pruned = person.ask("node.pair.prune", rule(json!({})));
        assert_eq!(
            (&pruned["nodes"], &pruned["sessionsEnded"]),
            (&dry["nodes"], &json!(0))
        );
        let left = person.ask("node.pair.list", json!({}));
        assert_eq!(left["paired"].as_array().unwrap().len(), 1);
        for not_seen in [json!(0), json!(90), json!("90d")] {
            let refused = person.refused("node.pair.prune", json!({"notSeenMs": not_seen}));
            assert!(
                refused["message"]
                    .as_str()
                    .unwrap()
                    .starts_with("invalid node.pair.prune params")
            );
        }
    }

    #[test]
    fn a_new_name_shows_everywhere_and_survives_the_next_connect() {
        let house = House::new();
        let person = house.operator(&["operator.pairing", "operator.read"]);
        let _node = house.paired_node("n", &[]);
        let renamed = person.ask("node.rename", json!({"nodeId": "n", "displayName": " Pi "}));
        assert_eq!(renamed, json!({"nodeId": "n", "displayName": "Pi"}));
        let _again = house.join(|session| {
            session.role = crate::protocol::scope::Role::Node;
            session.device = Some("n".into());
            session.client.display_name = Some("raspberrypi".to_owned());
        });
        assert_eq!(
            person.ask("node.list", json!({}))["nodes"][0]["displayName"],
            "Pi"
        );
        assert_eq!(
            person.ask("node.pair.list", json!({}))["paired"][0]["displayName"],
            "Pi"
        );
        let device = device_record("n", &[("node", &[])]);
        house.seed(Part::DevicesPaired, json!({"n": device}));
        assert_eq!(
            person.ask("device.pair.list", json!({}))["paired"][0]["displayName"],
            "Pi"
        );
    }

    #[test]
    fn a_node_that_declares_more_between_the_look_and_the_approval_gets_nothing() {
        let house = House::new();
        let person = house.operator(&["operator.admin"]);
        let asked = json!({"nodeId": "n", "platform": "linux", "commands": ["system.which"]});
        let shown = person.ask("node.pair.request", asked)["request"].clone();
        let more = json!({"nodeId": "n", "commands": ["system.which", "system.run"]});
        let now = person.ask("node.pair.request", more)["request"].clone();
        assert_eq!(now["requestId"], shown["requestId"]);
        let approve =
            |digest: &Value| json!({"requestId": shown["requestId"], "expectedDigest": digest});
        let error = person.refused("node.pair.approve", approve(&shown["digest"]));
        assert_eq!(
            (
                &error["details"]["code"],
                &error["details"]["request"]["commands"]
            ),
            (
                &json!("REQUEST_CHANGED"),
                &json!(["system.which", "system.run"])
            )
        );
        assert_eq!(person.ask("node.pair.list", json!({}))["paired"], json!([]));
        let approved = person.ask("node.pair.approve", approve(&now["digest"]));
        assert_eq!(
            approved["node"]["commands"],
            json!(["system.which", "system.run"])
        );
        let again = person.ask("node.pair.approve", approve(&now["digest"]));
        assert_eq!(
            (&again["alreadyApproved"], again["node"].get("token")),
            (&json!(true), None)
        );
    }

    #[test]
    fn an_approval_of_fewer_commands_ends_what_may_not_go_on() {
        let house = House::new();
        let person = house.operator(&["operator.admin"]);
        let _node = house.paired_node("n", &["system.which", "system.run"]);
        let invoke = json!({"nodeId": "n", "command": "system.which", "idempotencyKey": "k"});
        let open = person.start("node.invoke", invoke);
        let fewer = json!({"nodeId": "n", "platform": "linux", "commands": ["system.run"]});
        let asked = person.ask("node.pair.request", fewer)["request"]["requestId"].clone();
        assert!(person.event_now("node.pair.requested").is_some());
        let approved = person.ask("node.pair.approve", json!({"requestId": asked}));
        assert_eq!(
            (&approved["sessionsEnded"], &approved["invokesEnded"]),
            (&json!(0), &json!(1))
        );
        assert_eq!(
            person.answer(&open)["error"]["details"]["code"],
            "COMMAND_WITHDRAWN"
        );
        let again = person.event_now("node.pair.requested").unwrap();
        assert_eq!(again["payload"]["requestId"], approved["pendingRequestId"]);
    }
}
