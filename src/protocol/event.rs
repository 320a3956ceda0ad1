//! The event table: who may receive which broadcast (specification section 1.3).
//!
//! An event that is not in the table reaches nobody.

use crate::protocol::scope::{Role, Scope, Scopes};

/// One row of the event table.
#[derive(Debug)]
pub struct EventRow {
    /// Name, or the common start of a family when it ends in `*`.
    pub name: &'static str,
    /// Scope an operator needs, if any.
    pub guard: Option<Scope>,
    /// Whether sessions of role node receive it.
    pub to_nodes: bool,
    /// Dropped for a slow peer (its `seq` is consumed) instead of closing that peer.
    pub drop_if_slow: bool,
    /// Whether the frame carries `stateVersion`.
    pub state_version: bool,
    /// Whether hello-ok lists it in `features.events`.
    pub advertised: bool,
}

const TO_NODES: u8 = 1;
const DROP_IF_SLOW: u8 = 2;
const STATE_VERSION: u8 = 4;
const ADVERTISED: u8 = 8;

const fn row(name: &'static str, guard: Option<Scope>, flags: u8) -> EventRow {
    EventRow {
        name,
        guard,
        to_nodes: flags & TO_NODES != 0,
        drop_if_slow: flags & DROP_IF_SLOW != 0,
        state_version: flags & STATE_VERSION != 0,
        advertised: flags & ADVERTISED != 0,
    }
}

/// Every event; the advertised ones in the order in which hello-ok lists them. `connect.challenge` and
/// `node.invoke.request` go to one peer and are never broadcast.
pub static EVENTS: &[EventRow] = &[
    row("connect.challenge", None, ADVERTISED),
    row(
        "presence",
        None,
        TO_NODES | DROP_IF_SLOW | STATE_VERSION | ADVERTISED,
    ),
    row("tick", None, TO_NODES | ADVERTISED),
    row("shutdown", None, TO_NODES | ADVERTISED),
    row("health", None, TO_NODES | STATE_VERSION | ADVERTISED),
    row(
        "node.pair.requested",
        Some(Scope::PAIRING),
        DROP_IF_SLOW | ADVERTISED,
    ),
    row(
        "node.pair.resolved",
        Some(Scope::PAIRING),
        DROP_IF_SLOW | ADVERTISED,
    ),
    row("node.invoke.request", None, ADVERTISED),
    row(
        "device.pair.requested",
        Some(Scope::PAIRING),
        DROP_IF_SLOW | ADVERTISED,
    ),
    row(
        "device.pair.resolved",
        Some(Scope::PAIRING),
        DROP_IF_SLOW | ADVERTISED,
    ),
    row(
        "exec.approval.requested",
        Some(Scope::APPROVALS),
        DROP_IF_SLOW | ADVERTISED,
    ),
    row(
        "exec.approval.resolved",
        Some(Scope::APPROVALS),
        DROP_IF_SLOW | ADVERTISED,
    ),
    row("heartbeat", None, TO_NODES),
    row("update.available", None, TO_NODES),
    row("plugin.approval.*", Some(Scope::APPROVALS), 0),
    row(
        "voicewake.changed",
        Some(Scope::READ),
        TO_NODES | DROP_IF_SLOW,
    ),
    row(
        "voicewake.routing.changed",
        Some(Scope::READ),
        TO_NODES | DROP_IF_SLOW,
    ),
    row("agent", Some(Scope::READ), 0),
    row("chat", Some(Scope::READ), 0),
    row("sessions.changed", Some(Scope::READ), 0),
    row("session.*", Some(Scope::READ), 0),
    row("cron", Some(Scope::READ), 0),
    row("talk.mode", Some(Scope::WRITE), 0),
    row("plugin.*", Some(Scope::WRITE), 0),
];

/// The row of an event; the first that matches counts.
pub fn lookup(name: &str) -> Option<&'static EventRow> {
    EVENTS.iter().find(|row| match row.name.strip_suffix('*') {
        Some(family) => name.starts_with(family),
        None => row.name == name,
    })
}

/// Whether a session may receive a broadcast of `event`.
pub fn may_receive(event: &str, role: Role, scopes: &Scopes) -> bool {
    let Some(row) = lookup(event) else {
        return false;
    };
    match role {
        Role::Node => row.to_nodes,
        Role::Operator => row.guard.as_ref().is_none_or(|guard| scopes.allows(guard)),
    }
}

/// `features.events` of hello-ok.
pub fn advertised_names() -> impl Iterator<Item = &'static str> {
    EVENTS
        .iter()
        .filter(|row| row.advertised)
        .map(|row| row.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guards_are_those_of_the_specification() {
        let table: &[(&str, &str, bool)] = &[
            ("tick", "", true),
            ("presence", "", true),
            ("health", "", true),
            ("shutdown", "", true),
            ("device.pair.requested", "", false),
            ("device.pair.requested", "operator.write", false),
            ("device.pair.requested", "operator.pairing", true),
            ("node.pair.resolved", "operator.admin", true),
            ("exec.approval.requested", "operator.pairing", false),
            ("exec.approval.requested", "operator.approvals", true),
            ("plugin.approval.requested", "operator.approvals", true),
            ("plugin.approval.requested", "operator.write", false),
            ("plugin.other", "operator.write", true),
            ("voicewake.changed", "operator.read", true),
            ("voicewake.changed", "operator.write", true),
            ("session.message", "operator.read", true),
            ("agent", "", false),
            ("talk.mode", "operator.read", false),
            ("nothing.known", "operator.admin", false),
            ("ticks", "operator.admin", false),
        ];
        for (event, scope, expected) in table {
            let scopes: Scopes = Some(*scope)
                .into_iter()
                .filter(|scope| !scope.is_empty())
                .collect();
            assert_eq!(
                may_receive(event, Role::Operator, &scopes),
                *expected,
                "{event} {scope}"
            );
        }
    }

    #[test]
    fn nodes_hear_only_what_is_meant_for_all() {
        let admin: Scopes = ["operator.admin"].into_iter().collect();
        let heard: Vec<_> = EVENTS
            .iter()
            .map(|row| row.name)
            .filter(|name| may_receive(name, Role::Node, &admin))
            .collect();
        assert_eq!(
            heard,
            [
                "presence",
                "tick",
                "shutdown",
                "health",
                "heartbeat",
                "update.available",
                "voicewake.changed",
                "voicewake.routing.changed"
            ]
        );
    }

    #[test]
    fn only_presence_and_health_carry_a_version_and_ticks_are_never_dropped() {
        for row in EVENTS {
            assert_eq!(
                row.state_version,
                matches!(row.name, "presence" | "health"),
                "{}",
                row.name
            );
        }
        for name in ["tick", "health", "shutdown"] {
            assert!(!lookup(name).unwrap().drop_if_slow, "{name}");
        }
        for name in ["presence", "node.pair.requested", "device.pair.resolved"] {
            assert!(lookup(name).unwrap().drop_if_slow, "{name}");
        }
    }
}
