//! Answers the requests of admitted sessions: one file per family of methods.
//!
//! The way of a request is the same for all: the method table decides who may call (protocol.md §9.1),
//! `protocol::params` reads the parameters, a handler here runs, and the answer goes out through the
//! session's outbox. No handler waits for a peer: `node.invoke` and the relayed methods return at once and
//! are answered later.

mod call;
mod device;
mod events;
mod exec_approval;
#[cfg(test)]
mod exec_approval_tests;
mod exec_policy;
mod invoke;
#[cfg(test)]
mod invoke_tests;
mod keys;
mod limits;
mod node_pair;
mod nodes;
mod pairing;
mod pending;
mod question;
mod system;
#[cfg(test)]
mod trace_tests;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use serde_json::Value;

use crate::gateway::context::Context;
use crate::gateway::limits::Topic;
use crate::gateway::metrics::Served;
use crate::gateway::session::Session;
use crate::gateway::transition::dismiss_if_lost;
use crate::protocol::close;
use crate::protocol::error::ErrorShape;
use crate::protocol::frame::Request;
use crate::protocol::method;

pub use call::{Call, Outcome, Reply, refusal_shape};
pub use question::{conclude, count, note_edit};
pub use system::health;

/// Bytes of a peer's own words in one log line.
const MAX_LOGGED_BYTES: usize = 200;

/// Runs one request of `session` and answers it, now or later. A handler that fails is logged with its
/// method and answered without its reasons; a session that was ended executes nothing more.
pub fn dispatch(context: &Arc<Context>, session: &Arc<Session>, request: Request) {
    if session.has_ended() || dismiss_if_lost(context, session) {
        return;
    }
    let Request { id, method, params } = request;
    let begun = Instant::now();
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        run(context, session, &id, &method, params)
    }));
    let outcome = outcome.unwrap_or_else(|_| {
        log::error!(target: "gateway", "{method} failed for connection {}", session.conn);
        Err(ErrorShape::unavailable("internal error"))
    });
    let served = match &outcome {
        Ok(Reply::Now(_) | Reply::Last(..)) => Served::Answered,
        Ok(Reply::Later) => Served::Deferred,
        Err(_) => Served::Refused,
    };
    context.counters.requests.note(served as usize);
    match outcome {
        Ok(Reply::Now(payload)) => session.respond(&id, &payload),
        Ok(Reply::Last(payload, end)) => {
            session.respond(&id, &payload);
            session.end(close::AUTH_CHANGED, end.reason());
        }
        Ok(Reply::Later) => {}
        Err(error) => {
            if context
                .chatter
                .allows(Topic::RefusedRequest, &context.timer)
            {
                log::info!(
                    target: "ws",
                    "⇄ res ✗ {} {}ms errorCode={} errorMessage={} conn={} id={}",
                    clip(&method), begun.elapsed().as_millis(), error.code,
                    clip(&error.message), session.conn, clip(&id)
                );
            }
            session.refuse(&id, &error);
        }
    }
}

/// What a peer wrote, short enough for a log line.
fn clip(text: &str) -> &str {
    close::truncate(text, MAX_LOGGED_BYTES)
}

fn run(
    context: &Arc<Context>,
    session: &Arc<Session>,
    id: &str,
    name: &str,
    params: Option<Value>,
) -> Outcome {
    let row = method::authorize(session.role, &session.scopes, name)?;
    let call = Call {
        context,
        session,
        id,
        method: row.name,
    };
    match row.name {
        "connect" => Err(ErrorShape::invalid(
            "connect is only valid as the first request",
        )),
        "device.keys.create" => keys::create(&call, params),
        "device.keys.list" => keys::list(&call, params),
        "device.keys.preapprove" => keys::preapprove(&call, params),
        "device.keys.revoke" => keys::revoke(&call, params),
        "device.pair.approve" => device::approve(&call, params),
        "device.pair.import" => device::import(&call, params),
        "device.pair.list" => device::list(&call, params),
        "device.pair.reject" => device::reject(&call, params),
        "device.pair.remove" => device::remove(&call, params),
        "device.token.revoke" => device::revoke(&call, params),
        "device.token.rotate" => device::rotate(&call, params),
        "exec.approval.get" => exec_approval::get(&call, params),
        "exec.approval.list" => exec_approval::list(&call),
        "exec.approval.request" => exec_approval::request(&call, params),
        "exec.approval.resolve" => exec_approval::resolve(&call, params),
        "exec.approval.waitDecision" => exec_approval::wait_decision(&call, params),
        "exec.approvals.get" => exec_policy::get(&call, params),
        "exec.approvals.node.get" => invoke::approvals_get(&call, params),
        "exec.approvals.node.set" => invoke::approvals_set(&call, params),
        "exec.approvals.set" => exec_policy::set(&call, params),
        "gateway.events" => nodes::events(&call, params),
        "gateway.identity.get" => system::identity(&call, params),
        "gateway.limits.clear" => limits::clear(&call, params),
        "gateway.limits.list" => limits::list(&call, params),
        "gateway.pairing.close" => pairing::close(&call, params),
        "gateway.pairing.open" => pairing::open(&call, params),
        "gateway.pairing.ssh.begin" => pairing::ssh_begin(&call, params),
        "gateway.pairing.ssh.check" => pairing::ssh_check(&call, params),
        "gateway.pairing.status" => pairing::status(&call, params),
        "health" => system::answer_health(&call),
        "last-heartbeat" => system::last_heartbeat(&call, params),
        "node.describe" => nodes::describe(&call, params),
        "node.event" => events::event(&call, params),
        "node.invoke" => invoke::invoke(&call, params),
        "node.invoke.result" => invoke::result(&call, params),
        "node.list" => nodes::list(&call, params),
        "node.pair.approve" => node_pair::approve(&call, params),
        "node.pair.list" => node_pair::list(&call, params),
        "node.pair.prune" => node_pair::prune(&call, params),
        "node.pair.reject" => node_pair::reject(&call, params),
        "node.pair.remove" => node_pair::remove(&call, params),
        "node.pair.request" => node_pair::request(&call, params),
        "node.pair.verify" => node_pair::verify(&call, params),
        "node.pending.ack" => pending::acknowledge(&call, params),
        "node.pending.drain" => pending::drain(&call, params),
        "node.pending.enqueue" => pending::enqueue(&call, params),
        "node.pending.pull" => pending::pull(&call, params),
        "node.pluginTools.update" => pending::plugin_tools(&call),
        "node.rename" => node_pair::rename(&call, params),
        "node.skills.update" => pending::skills(&call),
        "set-heartbeats" => system::set_heartbeats(params),
        "skills.bins" => pending::skill_bins(&call, params),
        "status" => system::status(&call, params),
        "system-event" => system::event(&call, params),
        "system-presence" => system::presence(&call, params),
        absent => Err(ErrorShape::invalid(format!("unknown method: {absent}"))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::gateway::testing::House;
    use crate::protocol::method::METHODS;

    #[test]
    fn refusals_before_a_handler_come_in_order() {
        let house = House::new();
        let (admin, reader) = (
            house.operator(&["operator.admin"]),
            house.operator(&["operator.read"]),
        );
        let node = house.node("n", &[]);
        let cases = [
            (&node, "node.list", "unauthorized role: node"),
            (&node, "no.such", "unauthorized role: node"),
            (
                &node,
                "node.runnerInventory.update",
                "unknown method: node.runnerInventory.update",
            ),
            (&admin, "node.event", "unauthorized role: operator"),
            (&reader, "no.such", "missing scope: operator.admin"),
            (&reader, "node.invoke", "missing scope: operator.write"),
            (&reader, "node.pair.list", "missing scope: operator.pairing"),
            (&reader, "connect", "missing scope: operator.admin"),
            (
                &admin,
                "connect",
                "connect is only valid as the first request",
            ),
            (&admin, "no.such", "unknown method: no.such"),
        ];
        for (guest, method, message) in cases {
            let error = guest.refused(method, json!({"any": 1}));
            assert_eq!(
                error,
                json!({"code": "INVALID_REQUEST", "message": message})
            );
        }
    }

    #[test]
    fn every_method_that_is_there_has_a_handler() {
        let house = House::new();
        let (admin, node) = (house.operator(&["operator.admin"]), house.node("n", &[]));
        for row in METHODS {
            let guest = if row.role == Some(crate::protocol::scope::Role::Node) {
                &node
            } else {
                &admin
            };
            let id = guest.start(row.name, json!({}));
            let answer = guest.answer(&id);
            let unknown = answer["error"]["message"] == format!("unknown method: {}", row.name);
            assert_eq!(
                unknown,
                row.standing == method::Standing::Absent,
                "{answer}"
            );
        }
    }
}
