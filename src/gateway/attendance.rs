//! What the opening and the closing of a session mean for the others: presence rows, the node registry
//! and the invokes that wait (protocol.md §2.6, §7.2).

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};

use crate::gateway::announcer::Turn;
use crate::gateway::context::{Context, Phase};
use crate::gateway::ending::Fault;
use crate::gateway::metrics::InvokeEnd;
use crate::gateway::presence::{self, Row};
use crate::gateway::registry::LiveNode;
use crate::gateway::rpc;
use crate::gateway::session::Session;
use crate::gateway::ssh_proof;
use crate::identity::ids::{ConnId, DeviceId, NodeId};
use crate::pairing::Changes;
use crate::pairing::node_record::NodeMetadata;
use crate::pairing::surface::NodeClaim;
use crate::protocol::frame::object;

/// Clients of this mode come for one call; they have no presence row.
const FLEETING_MODE: &str = "cli";

/// Takes note of an admitted session, before its hello is sent: a node that has its hello can be asked.
pub fn opened(context: &Context, session: &Arc<Session>) {
    if let Some(node) = session.node() {
        let replaced = context.registry().connect(live_node(session, node.clone()));
        match replaced {
            Some(older) => {
                log::info!(target: "gateway", "node {} moved from {} to {}", older.node(), older.conn, session.conn);
                let places = [older.claim.metadata.remote_ip.clone(), reported(session)];
                if let Some(warning) = two_places(older.node(), &places) {
                    log::warn!(target: "gateway", "{warning}");
                }
            }
            None => {
                let about = object([
                    ("nodeId", Some(json!(node))),
                    (
                        "displayName",
                        session.client.display_name.as_deref().map(Value::from),
                    ),
                    ("remoteIp", reported(session).map(Value::from)),
                ]);
                context
                    .journal
                    .note(context.now_ms(), "node.connected", &about);
            }
        }
    }
    if session.client.mode != FLEETING_MODE {
        let row = row(session, "connect", context.now_ms());
        context
            .presence()
            .connected(&presence_key(session), session.conn.clone(), row);
        context.hub.presence_changed();
    }
}

/// The address a session is shown under.
fn reported(session: &Session) -> Option<String> {
    session.reported_ip.map(|ip| ip.to_string())
}

/// What to know of a node that connects from one place while it is connected from another.
fn two_places(node: &NodeId, places: &[Option<String>; 2]) -> Option<String> {
    let [Some(older), Some(newer)] = places else {
        return None;
    };
    (older != newer).then(|| {
        format!(
            "node {node} was connected from {older} and is now from {newer}; if both are machines, one is a copy of the \
             other and only the newest works: remove identity/ and node.json from the copy's state directory"
        )
    })
}

/// Takes note of a closed or ended session: what waits for it fails, its presence ends with its last
/// connection. Returns how many invokes ended. May be called more than once for the same session.
pub fn closed(context: &Arc<Context>, session: &Session) -> usize {
    let ended = fail_invokes(context, &session.conn);
    ssh_proof::forget(context, &session.conn);
    context.approvals().drop_waiters(&session.conn);
    if session.client.mode == FLEETING_MODE {
        return ended;
    }
    let row = row(session, "disconnect", context.now_ms());
    if context
        .presence()
        .disconnected(&presence_key(session), &session.conn, row)
    {
        announce(context);
    }
    ended
}

/// What ending sessions did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// Invokes that ended without an answer of their node.
    pub invokes: usize,
    /// Sessions that were ended.
    pub sessions: usize,
}

/// Ends sessions that were taken out of the hub, each with its close code and reason, with everything that
/// waits for them. What their requests had begun is durable, or has failed, when this returns.
pub fn end_all(
    context: &Arc<Context>,
    sessions: impl IntoIterator<Item = (Arc<Session>, (u16, &'static str))>,
) -> Ended {
    let mut ended = Ended::default();
    for (session, (code, reason)) in sessions {
        ended.invokes += end(context, &session, code, reason);
        ended.sessions += 1;
    }
    if ended.sessions > 0 {
        wait_for_what_runs(context);
    }
    ended
}

/// Returns when no request of an ended session has an effect any more: it looks whether its session has
/// ended under the lock of what it changes (`Call::still_here`), and whoever looked before is through.
/// The registry's lock was taken when the session's invokes ended.
pub fn wait_for_what_runs(context: &Context) {
    drop(context.pending_work());
    drop(context.approvals());
    // A change of nothing returns when everything before it is durable, or has failed.
    let before = context
        .store
        .transact(|_, _| Ok::<_, Infallible>(((), Changes::new())));
    if let Err(fault) = before {
        log::warn!(target: "gateway", "a change before the end of a session is not durable: {fault}");
    }
}

/// Ends a session that was taken out of the hub, with everything that waits for it. Returns how many
/// invokes ended.
pub fn end(context: &Arc<Context>, session: &Session, code: u16, reason: &str) -> usize {
    // Counted before the end is told: its own thread would take them along uncounted.
    let counted = fail_invokes(context, &session.conn);
    session.end(code, reason);
    let ended = counted + closed(context, session);
    let device = session.device.as_ref().map_or("-", DeviceId::as_str);
    log::info!(target: "ws", "ended conn={} device={device}: {reason}", session.conn);
    ended
}

/// Tells everybody that presence changed: at once, or with other changes of the same moment in one go.
pub fn announce(context: &Arc<Context>) {
    context.hub.presence_changed();
    if context.phase() == Phase::Stopping {
        return;
    }
    let sessions = context.hub.len();
    let turn = context
        .presence()
        .announcer
        .changed(Instant::now(), sessions);
    match turn {
        Turn::Now => broadcast(context),
        Turn::Covered => {}
        Turn::At(moment) => {
            let weak = Arc::downgrade(context);
            context.timer.schedule(moment, move || {
                if let Some(context) = weak.upgrade() {
                    context.presence().announcer.fired(Instant::now());
                    broadcast(&context);
                }
            });
        }
    }
}

fn broadcast(context: &Context) {
    let rows = context.presence().rows(context.now_ms());
    context
        .hub
        .broadcast("presence", &json!({"presence": rows}));
}

/// Ends the registration of a node connection and every invoke at either of its ends; returns their number.
pub fn fail_invokes(context: &Context, conn: &ConnId) -> usize {
    let departure = context.registry().disconnect(conn);
    let ended = departure.unanswered.len() + departure.unasked.len();
    for open in departure.unanswered {
        rpc::conclude(context, open, Err(Fault::Disconnected));
    }
    for open in departure.unasked {
        rpc::count(context, &open, InvokeEnd::AskerGone);
        if let Some(timer) = open.timer {
            context.timer.cancel(timer);
        }
        if let Some(line) = open.audit {
            rpc::note_edit(context, *line, None);
        }
    }
    if let Some(node) = departure.left {
        let about = json!({"nodeId": node});
        context
            .journal
            .note(context.now_ms(), "node.disconnected", &about);
    }
    if let Some(successor) = departure.successor {
        log::info!(target: "gateway", "node {} is now served by {}", successor.node(), successor.conn);
    }
    ended
}

fn presence_key(session: &Session) -> String {
    let device = session.device.as_ref().map(DeviceId::as_str);
    let instance = session.client.instance_id.as_deref();
    presence::key(device, instance, session.conn.as_str())
}

fn row(session: &Session, reason: &str, now_ms: u64) -> Row {
    let host = session.client.label().to_owned();
    Row {
        text: Row::connection_text(&host, &session.client.mode),
        host: Some(host),
        ip: reported(session),
        version: Some(session.client.version.clone()),
        platform: Some(session.platform.clone()),
        device_family: session.device_family.clone(),
        model_identifier: session.client.model_identifier.clone(),
        mode: Some(session.client.mode.clone()),
        reason: Some(reason.to_owned()),
        device_id: session.device.as_ref().map(|device| device.to_string()),
        roles: Some(vec![session.role.to_string()]),
        scopes: Some(
            session
                .scopes
                .iter()
                .map(|scope| scope.to_string())
                .collect(),
        ),
        instance_id: session.client.instance_id.clone(),
        ts: now_ms,
        ..Row::default()
    }
}

fn live_node(session: &Session, node: NodeId) -> LiveNode {
    let client = &session.client;
    LiveNode {
        conn: session.conn.clone(),
        protocol: session.protocol,
        claim: NodeClaim {
            node,
            metadata: NodeMetadata {
                display_name: client.display_name.clone(),
                platform: Some(session.platform.clone()),
                version: Some(client.version.clone()),
                device_family: session.device_family.clone(),
                model_identifier: client.model_identifier.clone(),
                client_id: Some(client.id.clone()),
                client_mode: Some(client.mode.clone()),
                caps: Some(session.caps.clone()),
                commands: Some(session.declared.clone()),
                permissions: session.permissions.as_ref().map(|granted| {
                    granted
                        .iter()
                        .map(|(name, given)| (name.clone(), json!(given)))
                        .collect()
                }),
                remote_ip: reported(session),
                ..NodeMetadata::default()
            },
        },
        path_env: session.path_env.clone(),
        connected_at_ms: session.connected_at_ms,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_at_two_places_may_be_a_copy() {
        let place = |text: &str| Some(text.to_owned());
        let warns = |older, newer| two_places(&"n".into(), &[older, newer]);
        assert_eq!(warns(place("10.0.0.1"), place("10.0.0.1")), None);
        // On this machine, or behind a proxy that names nobody.
        assert_eq!(warns(None, place("10.0.0.1")), None);
        let warning = warns(place("10.0.0.1"), place("10.0.0.2")).unwrap();
        assert!(
            warning.contains("from 10.0.0.1") && warning.contains("identity/"),
            "{warning}"
        );
    }
}
