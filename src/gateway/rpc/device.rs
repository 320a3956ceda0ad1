//! `device.pair.*` and `device.token.*` (protocol.md §5.6). The rules are `pairing`'s; here is the way in
//! and out.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::call::{Call, Outcome, Reply, payload, refusal_shape};
use super::pairing::noted;
use crate::identity::{DeviceId, NodeId, Random};
use crate::pairing::transfer::{self, Bundle};
use crate::pairing::{State, device, node, token};
use crate::protocol::error::ErrorShape;
use crate::protocol::limits::FIRST_WITH_STANDING;
use crate::protocol::params::{
    DevicePairImport, DevicePairRemove, DeviceTokenRevoke, DeviceTokenRotate, PairApprove,
    parse_nothing, parse_request_id,
};

/// `device.pair.list`.
pub fn list(call: &Call<'_>, params: Option<Value>) -> Outcome {
    parse_nothing(call.method, params)?;
    let state = call.state()?;
    let now_ms = call.context.now_ms();
    let mut listed = payload(&device::list(&state, &call.caller(), now_ms))?;
    if call.session.protocol >= FIRST_WITH_STANDING {
        let sessions = call.context.hub.sessions();
        let devices = sessions
            .iter()
            .filter_map(|session| session.device.as_ref());
        let connected = devices.map(DeviceId::as_str).collect();
        let rows = listed["paired"].as_array_mut().into_iter().flatten();
        rows.for_each(|row| add_standing(&state, &connected, now_ms, row));
    }
    Ok(Reply::Now(noted(call, &state, listed)))
}

/// Whether the device is connected, and the node request that waits behind it: newer command lines
/// point from `devices list` to the approval that is still missing.
fn add_standing(state: &State, connected: &HashSet<&str>, now_ms: u64, row: &mut Value) {
    let Some(id) = row["deviceId"].as_str().map(str::to_owned) else {
        return;
    };
    row["connected"] = json!(connected.contains(id.as_str()));
    if let Some(request) = node::request_of(state, &NodeId::from(id.as_str()), now_ms) {
        row["pendingNodeSurface"] = request.shown();
    }
}

/// `device.pair.approve`: the sessions of another key that it replaces end.
pub fn approve(call: &Call<'_>, params: Option<Value>) -> Outcome {
    let asked = PairApprove::parse(call.method, params)?;
    let (request, expected) = (asked.request_id.as_str(), asked.expected_digest.as_deref());
    let caller = call.caller();
    call.commit_and_count(|state, now| {
        device::approve(state, request, expected, &caller, now, &mut Random)
    })
}

/// `device.pair.reject`.
pub fn reject(call: &Call<'_>, params: Option<Value>) -> Outcome {
    let request = parse_request_id(call.method, params)?;
    let caller = call.caller();
    call.commit_and_answer(|state, now| device::reject(state, request.as_str(), &caller, now))
}

/// `device.pair.remove`: all sessions of the device end.
pub fn remove(call: &Call<'_>, params: Option<Value>) -> Outcome {
    let asked = DevicePairRemove::parse(params)?;
    let caller = call.caller();
    call.commit_and_count(|state, now| device::remove(state, &asked.device_id, &caller, now))
}

/// `device.pair.import`: the sessions of devices that were known differently end.
pub fn import(call: &Call<'_>, params: Option<Value>) -> Outcome {
    let asked = DevicePairImport::parse(params)?;
    let bundle = Bundle::read(&asked.export);
    let bundle = bundle.map_err(|fault| ErrorShape::invalid(fault.to_string()))?;
    let (replace, caller) = (asked.replace, call.caller());
    if asked.dry_run {
        let (mut state, now) = (State::clone(&*call.state()?), call.context.now_ms());
        let would = transfer::import(&mut state, &bundle, replace, &caller, now, &mut Random);
        let (imported, _) = would.map_err(|refusal| refusal_shape(&refusal))?;
        return Ok(Reply::Now(payload(&imported)?));
    }
    call.commit_and_count(|state, now| {
        transfer::import(state, &bundle, replace, &caller, now, &mut Random)
    })
}

/// `device.token.rotate`: the sessions of the device with this role end.
pub fn rotate(call: &Call<'_>, params: Option<Value>) -> Outcome {
    let asked = DeviceTokenRotate::parse(params)?;
    let caller = call.caller();
    call.commit_and_count(|state, now| {
        token::rotate(
            state,
            &asked.device_id,
            &asked.role,
            asked.scopes.as_ref(),
            &caller,
            now,
            &mut Random,
        )
    })
}

/// `device.token.revoke`: the sessions of the device with this role end.
pub fn revoke(call: &Call<'_>, params: Option<Value>) -> Outcome {
    let asked = DeviceTokenRevoke::parse(params)?;
    let caller = call.caller();
    call.commit_and_count(|state, now| {
        token::revoke(state, &asked.device_id, &asked.role, &caller, now)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::testing::{Guest, House, START_MS, device_record};
    use crate::pairing::Part;

    const PAIRING: &[&str] = &["operator.pairing"];
    const ADMIN: &[&str] = &["operator.admin"];

    fn request(id: &str, device: &str, role: &str, scopes: &[&str]) -> Value {
        json!({"requestId": id, "deviceId": device, "publicKey": "key", "role": role, "roles": [role],
            "scopes": scopes, "silent": false, "isRepair": false, "ts": START_MS})
    }

    /// Devices `a` (operator with pairing), `b` (operator with admin) and `n` (node and operator with
    /// pairing), requests of `x`, `y`, `z` and `a`.
    fn house() -> House {
        let house = House::new();
        house.seed(
            Part::DevicesPaired,
            json!({
                "a": device_record("a", &[("operator", PAIRING)]),
                "b": device_record("b", &[("operator", ADMIN)]),
                "n": device_record("n", &[("node", &[]), ("operator", PAIRING)]),
            }),
        );
        house.seed(
            Part::DevicesPending,
            json!({
                "rx": request("rx", "x", "operator", &["operator.read"]),
                "ry": request("ry", "y", "node", &["operator.read"]),
                "rz": request("rz", "z", "node", &[]),
                "ra": request("ra", "a", "operator", &["operator.pairing"]),
            }),
        );
        house
    }

    #[test]
    fn version_4_sees_where_a_paired_device_stands() {
        let house = house();
        let _node = house.join(|session| session.device = Some("n".into()));
        house.seed(
            Part::NodesPending,
            json!({"rn": {"requestId": "rn", "nodeId": "n", "commands": ["system.run"], "silent": false, "ts": START_MS}}),
        );
        let older = house.operator(PAIRING);
        let newer = house.join(|session| {
            session.protocol = 4;
            session.scopes = PAIRING.iter().copied().collect();
        });
        let row = |listed: &Value, id: &str| {
            let rows = listed["paired"].as_array().unwrap();
            rows.iter()
                .find(|row| row["deviceId"] == id)
                .unwrap()
                .clone()
        };
        let listed = newer.ask("device.pair.list", json!({}));
        let waiting = row(&listed, "n");
        assert_eq!(waiting["connected"], true, "{listed}");
        assert_eq!(waiting["pendingNodeSurface"]["requestId"], "rn");
        assert_eq!(row(&listed, "a")["connected"], false);
        assert!(row(&listed, "a").get("pendingNodeSurface").is_none());
        let listed = older.ask("device.pair.list", json!({}));
        assert!(row(&listed, "n").get("connected").is_none(), "{listed}");
    }

    #[test]
    fn every_refusal_has_its_words() {
        let house = house();
        let person = house.operator(PAIRING);
        let bound = house.device_operator("a", PAIRING);
        let rotation = "device token rotation denied";
        let revocation = "device token revocation denied";
        let cases = [
            (
                &person,
                "device.pair.approve",
                json!({"requestId": "none"}),
                "unknown requestId",
            ),
            (
                &person,
                "device.pair.approve",
                json!({"requestId": "rx"}),
                "missing scope: operator.read",
            ),
            (
                &person,
                "device.pair.approve",
                json!({"requestId": "ry"}),
                "invalid scope for requested roles: operator.read",
            ),
            (
                &bound,
                "device.pair.approve",
                json!({"requestId": "rz"}),
                "device pairing approval denied",
            ),
            (
                &bound,
                "device.pair.approve",
                json!({"requestId": "none"}),
                "device pairing approval denied",
            ),
            (
                &person,
                "device.pair.reject",
                json!({"requestId": "none"}),
                "unknown requestId",
            ),
            (
                &bound,
                "device.pair.reject",
                json!({"requestId": "rz"}),
                "device pairing rejection denied",
            ),
            (
                &person,
                "device.pair.remove",
                json!({"deviceId": "none"}),
                "unknown deviceId",
            ),
            (
                &bound,
                "device.pair.remove",
                json!({"deviceId": "b"}),
                "device pairing removal denied",
            ),
            (
                &person,
                "device.token.rotate",
                json!({"deviceId": "none", "role": "node"}),
                rotation,
            ),
            (
                &person,
                "device.token.rotate",
                json!({"deviceId": "a", "role": "node"}),
                rotation,
            ),
            (
                &person,
                "device.token.rotate",
                json!({"deviceId": "b", "role": "operator"}),
                rotation,
            ),
            (
                &person,
                "device.token.rotate",
                json!({"deviceId": "b", "role": "operator", "scopes": ["operator.pairing"]}),
                rotation,
            ),
            (
                &person,
                "device.token.rotate",
                json!({"deviceId": "a", "role": "operator", "scopes": ["operator.write"]}),
                rotation,
            ),
            (
                &bound,
                "device.token.rotate",
                json!({"deviceId": "n", "role": "node"}),
                rotation,
            ),
            (
                &person,
                "device.token.revoke",
                json!({"deviceId": "b", "role": "operator"}),
                revocation,
            ),
            (
                &person,
                "device.token.revoke",
                json!({"deviceId": "a", "role": "node"}),
                revocation,
            ),
            (
                &bound,
                "device.token.revoke",
                json!({"deviceId": "n", "role": "node"}),
                revocation,
            ),
            (
                &person,
                "device.pair.list",
                json!({"x": 1}),
                "invalid device.pair.list params: at root: unexpected property 'x'",
            ),
        ];
        for (caller, method, params, message) in cases {
            let error = caller.refused(method, params.clone());
            assert_eq!(
                error,
                json!({"code": "INVALID_REQUEST", "message": message}),
                "{method} {params}"
            );
        }
    }

    #[test]
    fn a_bound_device_sees_itself_alone_and_nobody_sees_a_token() {
        let house = house();
        let all = house.operator(PAIRING).ask("device.pair.list", json!({}));
        assert_eq!(all["paired"].as_array().unwrap().len(), 3);
        assert_eq!(all["pending"].as_array().unwrap().len(), 4);
        let own = house
            .device_operator("a", PAIRING)
            .ask("device.pair.list", json!({}));
        assert_eq!(own["pending"][0]["requestId"], "ra");
        assert_eq!(
            (
                own["paired"].as_array().unwrap().len(),
                &own["paired"][0]["deviceId"]
            ),
            (1, &json!("a"))
        );
        assert_eq!(
            own["paired"][0]["tokens"],
            json!([{"role": "operator", "scopes": PAIRING, "createdAtMs": 1}])
        );
        for listed in [all, own] {
            assert!(!listed.to_string().contains("device-token-"), "{listed}");
            assert!(!listed.to_string().contains("approvedScopes"), "{listed}");
        }
    }

    #[test]
    fn approving_and_rejecting_is_told_to_those_who_manage_pairing() {
        let house = house();
        let person = house.operator(PAIRING);
        let reader = house.operator(&["operator.read"]);
        let approved = person.ask("device.pair.approve", json!({"requestId": "rz"}));
        assert_eq!(
            (&approved["requestId"], &approved["device"]["deviceId"]),
            (&json!("rz"), &json!("z"))
        );
        let event = person.event_now("device.pair.resolved").unwrap();
        assert_eq!(
            event["payload"],
            json!({"requestId": "rz", "deviceId": "z", "decision": "approved", "ts": START_MS})
        );
        assert_eq!(event["seq"], 1);
        let rejected = person.ask("device.pair.reject", json!({"requestId": "rx"}));
        assert_eq!(rejected, json!({"requestId": "rx", "deviceId": "x"}));
        let event = person.event_now("device.pair.resolved").unwrap();
        assert_eq!(
            (&event["payload"]["decision"], &event["seq"]),
            (&json!("rejected"), &json!(2))
        );
        assert_eq!(reader.next(), None);
    }

    #[test]
    fn a_bound_device_hears_of_its_own_pairing_alone() {
        let house = house();
        let own = house.device_operator("z", PAIRING);
        let other = house.device_operator("a", PAIRING);
        let admin = house.device_operator("a", ADMIN);
        house
            .operator(PAIRING)
            .ask("device.pair.approve", json!({"requestId": "rz"}));
        for (guest, hears) in [(&own, true), (&other, false), (&admin, true)] {
            let event = guest.event_now("device.pair.resolved");
            assert_eq!(event.is_some(), hears, "{event:?}");
            assert_eq!(guest.session.outbox.last_seq(), u64::from(hears));
        }
    }

    #[test]
    fn removing_ends_all_sessions_and_invokes_of_the_device_before_the_answer() {
        let house = house();
        let person = house.operator(&["operator.pairing", "operator.write"]);
        let node = house.paired_node("n", &["system.which"]);
        let other = house.device_operator("n", PAIRING);
        let asked = person.start(
            "node.invoke",
            json!({"nodeId": "n", "command": "system.which", "idempotencyKey": "k"}),
        );
        let answer = person.start("device.pair.remove", json!({"deviceId": "n"}));
        assert!(node.session.has_ended() && other.session.has_ended());
        let failed = person.answer(&asked);
        assert_eq!(failed["error"]["details"]["code"], "NODE_DISCONNECTED");
        assert_eq!(
            person.answer(&answer)["payload"],
            json!({"deviceId": "n", "sessionsEnded": 2, "invokesEnded": 1, "approvalsEnded": 0})
        );
        assert_eq!(
            person.event_now("node.pair.resolved").unwrap()["payload"]["decision"],
            "removed"
        );
        assert!(house.context.registry().owner(&"n".into()).is_none());
        node.start("health", json!({}));
        assert!(node.event_now("node.invoke.request").is_some());
        assert_eq!(node.next(), None, "an ended session executes nothing");
    }

    #[test]
    fn rotating_ends_the_sessions_of_the_role_and_tells_only_the_owner() {
        let house = house();
        let person = house.operator(ADMIN);
        let node = house.node("n", &[]);
        let desk = house.device_operator("n", PAIRING);
        let rotated = person.ask(
            "device.token.rotate",
            json!({"deviceId": "n", "role": "node"}),
        );
        let expected = json!({"deviceId": "n", "role": "node", "scopes": [], "rotatedAtMs": START_MS,
            "told": false, "sessionsEnded": 1, "invokesEnded": 0, "approvalsEnded": 0});
        assert_eq!(rotated, expected);
        assert!(node.session.has_ended() && !desk.session.has_ended());

        let own = desk.ask(
            "device.token.rotate",
            json!({"deviceId": "n", "role": "operator"}),
        );
        assert_eq!(own["token"].as_str().unwrap().len(), 43);
        assert_eq!(
            (&own["sessionsEnded"], &own["told"]),
            (&json!(1), &json!(true))
        );
        assert!(desk.session.has_ended(), "behind its answer");
    }

    #[test]
    fn revoking_ends_the_sessions_of_the_role() {
        let house = house();
        let person = house.operator(PAIRING);
        let node = house.node("n", &[]);
        let desk = house.device_operator("n", PAIRING);
        let revoked = person.ask(
            "device.token.revoke",
            json!({"deviceId": "n", "role": "node"}),
        );
        assert_eq!(
            revoked,
            json!({"deviceId": "n", "role": "node", "revokedAtMs": START_MS,
                "sessionsEnded": 1, "invokesEnded": 0, "approvalsEnded": 0})
        );
        assert!(node.session.has_ended() && !desk.session.has_ended());
    }

    #[test]
    fn a_change_that_cannot_be_saved_is_not_answered_as_done() {
        let house = house();
        let person = house.operator(PAIRING);
        house.break_disk();
        let error = person.refused("device.pair.approve", json!({"requestId": "rz"}));
        assert_eq!(
            (&error["code"], &error["message"]),
            (&json!("UNAVAILABLE"), &json!("pairing store unavailable"))
        );
        // What the command line shows as the way out.
        let way = error["details"]["remediation"].as_str().unwrap();
        assert!(way.contains("openclaw doctor"), "{error}");
        assert!(person.event_now("device.pair.resolved").is_none());
        house.mend_disk();
    }

    #[test]
    fn a_request_that_changed_since_it_was_shown_is_refused_with_what_it_is_now() {
        let house = house();
        let person = house.operator(ADMIN);
        let listed = person.ask("device.pair.list", json!({}));
        let rows = listed["pending"].as_array().unwrap();
        let row = rows.iter().find(|row| row["requestId"] == "rz").unwrap();
        let stale = json!({"requestId": "rz", "expectedDigest": "00"});
        let error = person.refused("device.pair.approve", stale);
        assert_eq!(error["code"], "INVALID_REQUEST");
        assert_eq!(
            error["details"],
            json!({"code": "REQUEST_CHANGED", "digest": row["digest"], "request": row})
        );
        assert!(person.event_now("device.pair.resolved").is_none());
        let exact = json!({"requestId": "rz", "expectedDigest": row["digest"]});
        let approved = person.ask("device.pair.approve", exact.clone());
        assert_eq!(approved.get("alreadyApproved"), None);
        let again = person.ask("device.pair.approve", exact);
        assert_eq!(
            (&again["alreadyApproved"], &again["device"]),
            (&json!(true), &approved["device"])
        );
    }

    #[test]
    fn who_comes_late_is_told_what_happened() {
        let house = house();
        let person = house.operator(PAIRING);
        person.ask("device.pair.reject", json!({"requestId": "rz"}));
        let error = person.refused("device.pair.approve", json!({"requestId": "rz"}));
        assert_eq!(
            error,
            json!({"code": "INVALID_REQUEST", "message": "unknown requestId", "details": {
                "code": "REQUEST_RESOLVED", "state": "rejected", "requestId": "rz", "layer": "device",
                "deviceId": "z", "atMs": START_MS, "by": "cli token"}})
        );
    }

    /// A request that its connection thread already took from the socket when its session ended.
    fn on_its_way(house: &House, guest: &Guest<'_>, method: &str, params: Value) -> Outcome {
        super::super::run(&house.context, &guest.session, "late", method, Some(params))
    }

    #[test]
    fn what_an_ended_session_had_begun_has_no_effect_after_the_answer() {
        let house = house();
        let person = house.operator(ADMIN);
        let node = house.paired_node("w", &["system.which"]);
        let victim = house.device_operator("b", ADMIN);
        let gone = person.ask("device.pair.remove", json!({"deviceId": "b"}));
        assert_eq!(
            (&gone["sessionsEnded"], &gone["invokesEnded"]),
            (&json!(1), &json!(0))
        );
        let invoke = |timeout: u64| json!({"nodeId": "w", "command": "system.which", "idempotencyKey": "k", "timeoutMs": timeout});
        let table = [
            ("device.pair.approve", json!({"requestId": "rz"})),
            ("device.pair.remove", json!({"deviceId": "a"})),
            (
                "device.token.rotate",
                json!({"deviceId": "a", "role": "operator"}),
            ),
            ("node.pair.request", json!({"nodeId": "evil"})),
            ("node.pair.remove", json!({"nodeId": "w"})),
            ("gateway.pairing.close", json!({})),
            ("gateway.pairing.open", json!({"forMs": 1_000})),
            ("node.invoke", invoke(1_000)),
            ("node.invoke", invoke(0)),
            ("exec.approvals.node.get", json!({"nodeId": "w"})),
            (
                "node.pending.enqueue",
                json!({"nodeId": "w", "type": "status.request"}),
            ),
        ];
        let before = house.context.store.snapshot().unwrap();
        for (method, params) in table {
            let refused = on_its_way(&house, &victim, method, params).unwrap_err();
            assert_eq!(refused.message, "session ended", "{method}");
        }
        assert_eq!(*house.context.store.snapshot().unwrap(), *before);
        assert!(node.event_now("node.invoke.request").is_none());
        assert!(house.context.registry().invokes.is_empty());
    }

    #[test]
    fn an_operator_takes_its_own_open_invokes_along() {
        let house = house();
        let person = house.operator(ADMIN);
        let _node = house.paired_node("w", &["system.which"]);
        let victim = house.device_operator("b", ADMIN);
        victim.start(
            "node.invoke",
            json!({"nodeId": "w", "command": "system.which", "idempotencyKey": "k"}),
        );
        let revoked = person.ask(
            "device.token.revoke",
            json!({"deviceId": "b", "role": "operator"}),
        );
        assert_eq!(
            (&revoked["sessionsEnded"], &revoked["invokesEnded"]),
            (&json!(1), &json!(1))
        );
        assert!(house.context.registry().invokes.is_empty());
        let own = house.device_operator("a", ADMIN);
        own.start(
            "node.invoke",
            json!({"nodeId": "w", "command": "system.which", "idempotencyKey": "k"}),
        );
        let id = own.start(
            "device.token.revoke",
            json!({"deviceId": "a", "role": "operator"}),
        );
        let answer = own.answer(&id);
        assert_eq!(
            (
                &answer["payload"]["sessionsEnded"],
                &answer["payload"]["invokesEnded"]
            ),
            (&json!(1), &json!(1))
        );
        assert!(own.session.has_ended() && house.context.registry().invokes.is_empty());
    }

    #[test]
    fn who_may_manage_whose_access_and_who_is_told() {
        // Callers: the shared secret with pairing, device a, device b as administrator, the shared secret as
        // administrator. `t` allowed and told the token, `+` allowed, `-` denied.
        let table = [
            ("device.token.rotate", "a", "operator", ["+", "t", "+", "+"]),
            ("device.token.rotate", "b", "operator", ["-", "-", "t", "+"]),
            ("device.token.rotate", "n", "operator", ["+", "-", "+", "+"]),
            ("device.token.rotate", "n", "node", ["+", "-", "+", "+"]),
            ("device.token.rotate", "a", "node", ["-", "-", "-", "-"]),
            ("device.token.revoke", "a", "operator", ["+", "+", "+", "+"]),
            ("device.token.revoke", "b", "operator", ["-", "-", "+", "+"]),
            ("device.token.revoke", "n", "node", ["+", "-", "+", "+"]),
            ("device.token.revoke", "a", "node", ["-", "-", "-", "-"]),
            ("device.pair.remove", "a", "", ["+", "+", "+", "+"]),
            ("device.pair.remove", "b", "", ["+", "-", "+", "+"]),
        ];
        for (method, device, role, expected) in table {
            for (who, expected) in expected.into_iter().enumerate() {
                let house = house();
                let caller = match who {
                    0 => house.operator(PAIRING),
                    1 => house.device_operator("a", PAIRING),
                    2 => house.device_operator("b", ADMIN),
                    _ => house.operator(ADMIN),
                };
                let params = match role {
                    "" => json!({"deviceId": device}),
                    role => json!({"deviceId": device, "role": role}),
                };
                let id = caller.start(method, params);
                let answer = caller.answer(&id);
                let found = match answer["payload"].get("token") {
                    Some(_) => "t",
                    None if answer["ok"] == true => "+",
                    None => "-",
                };
                assert_eq!(
                    found, expected,
                    "{method} {device} {role} caller {who}: {answer}"
                );
                assert!(expected == "t" || !answer.to_string().contains("device-token-"));
            }
        }
    }
}
