//! The method table: who may call what (specification section 9.1), decided in this one place.
//!
//! Handlers live in the gateway; a row that is `Standing::Absent` has its guard but no handler.

use crate::protocol::{
    error::ErrorShape,
    scope::{Role, Scope, Scopes},
};

/// Whether a method is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Guarded, but answered with `unknown method`.
    Absent,
    /// Implemented and listed in `features.methods`.
    Advertised,
    /// Implemented but not listed.
    Quiet,
}

/// One row of the method table.
#[derive(Debug)]
pub struct MethodRow {
    /// Name on the wire.
    pub name: &'static str,
    /// The role that may call it; `None` is everybody.
    pub role: Option<Role>,
    /// Scope an operator needs; `None` for methods of nodes and of everybody.
    pub scope: Option<Scope>,
    /// Whether it is there and listed.
    pub standing: Standing,
}

use Standing::{Absent, Advertised, Quiet};

const fn node(name: &'static str, standing: Standing) -> MethodRow {
    MethodRow {
        name,
        role: Some(Role::Node),
        scope: None,
        standing,
    }
}

const fn operator(name: &'static str, scope: Scope, standing: Standing) -> MethodRow {
    MethodRow {
        name,
        role: Some(Role::Operator),
        scope: Some(scope),
        standing,
    }
}

/// Every method, the advertised ones in the order in which hello-ok lists them.
pub static METHODS: &[MethodRow] = &[
    MethodRow {
        name: "health",
        role: None,
        scope: None,
        standing: Advertised,
    },
    operator("status", Scope::READ, Advertised),
    operator("system-presence", Scope::READ, Advertised),
    operator("system-event", Scope::ADMIN, Advertised),
    operator("last-heartbeat", Scope::READ, Advertised),
    operator("set-heartbeats", Scope::ADMIN, Advertised),
    operator("gateway.identity.get", Scope::READ, Advertised),
    operator("gateway.events", Scope::PAIRING, Advertised),
    operator("gateway.pairing.status", Scope::PAIRING, Advertised),
    operator("gateway.pairing.ssh.begin", Scope::PAIRING, Advertised),
    operator("gateway.pairing.ssh.check", Scope::PAIRING, Advertised),
    operator("gateway.pairing.open", Scope::ADMIN, Advertised),
    operator("gateway.pairing.close", Scope::ADMIN, Advertised),
    operator("node.pair.request", Scope::PAIRING, Advertised),
    operator("node.pair.list", Scope::PAIRING, Advertised),
    operator("node.pair.approve", Scope::PAIRING, Advertised),
    operator("node.pair.reject", Scope::PAIRING, Advertised),
    operator("node.pair.remove", Scope::PAIRING, Advertised),
    operator("node.pair.prune", Scope::PAIRING, Advertised),
    operator("node.pair.verify", Scope::PAIRING, Advertised),
    operator("device.pair.list", Scope::PAIRING, Advertised),
    operator("device.pair.approve", Scope::PAIRING, Advertised),
    operator("device.pair.reject", Scope::PAIRING, Advertised),
    operator("device.pair.remove", Scope::PAIRING, Advertised),
    operator("device.pair.import", Scope::ADMIN, Advertised),
    operator("device.token.rotate", Scope::PAIRING, Advertised),
    operator("device.token.revoke", Scope::PAIRING, Advertised),
    operator("device.keys.create", Scope::PAIRING, Advertised),
    operator("device.keys.list", Scope::PAIRING, Advertised),
    operator("device.keys.preapprove", Scope::PAIRING, Advertised),
    operator("device.keys.revoke", Scope::PAIRING, Advertised),
    operator("node.rename", Scope::PAIRING, Advertised),
    operator("node.list", Scope::READ, Advertised),
    operator("node.describe", Scope::READ, Advertised),
    operator("node.invoke", Scope::WRITE, Advertised),
    node("node.invoke.result", Advertised),
    node("node.event", Advertised),
    node("node.pending.pull", Advertised),
    node("node.pending.ack", Advertised),
    node("node.pending.drain", Advertised),
    operator("node.pending.enqueue", Scope::WRITE, Advertised),
    node("skills.bins", Advertised),
    operator("exec.approvals.get", Scope::ADMIN, Advertised),
    operator("exec.approvals.set", Scope::ADMIN, Advertised),
    operator("exec.approvals.node.get", Scope::ADMIN, Advertised),
    operator("exec.approvals.node.set", Scope::ADMIN, Advertised),
    operator("exec.approval.get", Scope::APPROVALS, Advertised),
    operator("exec.approval.list", Scope::APPROVALS, Advertised),
    operator("exec.approval.request", Scope::APPROVALS, Advertised),
    operator("exec.approval.waitDecision", Scope::APPROVALS, Advertised),
    operator("exec.approval.resolve", Scope::APPROVALS, Advertised),
    operator("connect", Scope::ADMIN, Quiet),
    operator("gateway.limits.clear", Scope::ADMIN, Quiet),
    operator("gateway.limits.list", Scope::ADMIN, Quiet),
    node("node.canvas.capability.refresh", Absent),
    node("node.skills.update", Quiet),
    node("node.pluginTools.update", Quiet),
    node("node.runnerInventory.update", Absent),
];

/// The row of a method.
pub fn lookup(name: &str) -> Option<&'static MethodRow> {
    METHODS.iter().find(|row| row.name == name)
}

/// Decides whether a session may call `name`: role, then scope, then whether it exists, so that
/// nobody learns about methods he could not call.
pub fn authorize(
    role: Role,
    scopes: &Scopes,
    name: &str,
) -> Result<&'static MethodRow, ErrorShape> {
    let row = lookup(name);
    let callable_by = row.map_or(Some(Role::Operator), |row| row.role);
    if callable_by.is_some_and(|needed| needed != role) {
        return Err(ErrorShape::invalid(format!("unauthorized role: {role}")));
    }
    if role == Role::Operator {
        let needed = row.map_or(Some(Scope::ADMIN), |row| row.scope.clone());
        if let Some(missing) = scopes.missing(&needed) {
            return Err(ErrorShape::invalid(format!("missing scope: {missing}")));
        }
    }
    row.filter(|row| row.standing != Absent)
        .ok_or_else(|| ErrorShape::invalid(format!("unknown method: {name}")))
}

/// The least scopes a client should ask for to call `name` (section 2.5).
pub fn least_scopes(name: &str) -> Scopes {
    let scope = lookup(name).map_or(Some(Scope::ADMIN), |row| row.scope.clone());
    scope.into_iter().collect()
}

/// `features.methods` of hello-ok.
pub fn advertised_names() -> impl Iterator<Item = &'static str> {
    METHODS
        .iter()
        .filter(|row| row.standing == Advertised)
        .map(|row| row.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(role: Role, scopes: &[&str], name: &str) -> String {
        let scopes: Scopes = scopes.iter().copied().collect();
        authorize(role, &scopes, name).map_or_else(|error| error.message, |row| row.name.to_owned())
    }

    #[test]
    fn operators_need_the_scope_of_the_method() {
        let table: &[(&[&str], &str, &str)] = &[
            (&[], "health", "health"),
            (&[], "status", "missing scope: operator.read"),
            (&["operator.read"], "status", "status"),
            (&["operator.write"], "node.list", "node.list"),
            (
                &["operator.pairing"],
                "node.list",
                "missing scope: operator.read",
            ),
            (&["operator.pairing"], "node.rename", "node.rename"),
            (
                &["operator.read"],
                "node.invoke",
                "missing scope: operator.write",
            ),
            (
                &["operator.write"],
                "device.pair.list",
                "missing scope: operator.pairing",
            ),
            (
                &["operator.write"],
                "system-event",
                "missing scope: operator.admin",
            ),
            (
                &["operator.read"],
                "connect",
                "missing scope: operator.admin",
            ),
            (&["operator.admin"], "connect", "connect"),
            (
                &["operator.write"],
                "exec.approvals.node.get",
                "missing scope: operator.admin",
            ),
            (
                &["operator.admin"],
                "exec.approvals.node.get",
                "exec.approvals.node.get",
            ),
            (
                &["operator.read"],
                "no.such",
                "missing scope: operator.admin",
            ),
            (&["operator.admin"], "no.such", "unknown method: no.such"),
            (
                &["operator.admin"],
                "node.event",
                "unauthorized role: operator",
            ),
            (&[], "skills.bins", "unauthorized role: operator"),
        ];
        for (scopes, name, expected) in table {
            assert_eq!(
                outcome(Role::Operator, scopes, name),
                *expected,
                "{scopes:?} {name}"
            );
        }
    }

    #[test]
    fn nodes_call_node_methods_whatever_their_scopes() {
        let table = [
            ("health", "health"),
            ("node.event", "node.event"),
            ("node.invoke.result", "node.invoke.result"),
            ("node.skills.update", "node.skills.update"),
            (
                "node.runnerInventory.update",
                "unknown method: node.runnerInventory.update",
            ),
            ("node.list", "unauthorized role: node"),
            ("connect", "unauthorized role: node"),
            ("no.such", "unauthorized role: node"),
        ];
        for (name, expected) in table {
            assert_eq!(
                outcome(Role::Node, &["operator.admin"], name),
                expected,
                "{name}"
            );
        }
    }

    #[test]
    fn names_are_unique_and_only_what_exists_is_listed() {
        for (index, row) in METHODS.iter().enumerate() {
            assert!(
                METHODS[..index].iter().all(|other| other.name != row.name),
                "{}",
                row.name
            );
            assert_eq!(
                row.scope.is_some(),
                row.role == Some(Role::Operator),
                "{}",
                row.name
            );
        }
        let listed: Vec<_> = advertised_names().collect();
        assert_eq!(listed[0], "health");
        assert!(!listed.contains(&"connect") && listed.contains(&"exec.approval.request"));
    }

    #[test]
    fn clients_learn_the_least_scope() {
        assert_eq!(least_scopes("node.invoke").join(","), "operator.write");
        assert_eq!(least_scopes("health").join(","), "");
        assert_eq!(least_scopes("unheard.of").join(","), "operator.admin");
    }
}
