//! The nodes that are connected now, and the invokes that wait for them (protocol.md §7.2).
//!
//! A node id may have several connections: the newest owns it, the older ones stay open and are asked
//! nothing, and when the owner closes, the most recent of the others takes over. Everything is bound to a
//! connection id, so the closing of an old socket never touches its successor.
//!
//! What a node may be asked is not kept here: it is computed from the pairing records at the moment it
//! matters (see `gate`), so no approval, removal or policy change can leave a stale answer behind.

use std::collections::HashMap;
use std::sync::Arc;

use crate::gateway::invoke::{Full, Invokes, OpenInvoke};
use crate::identity::ids::{ConnId, NodeId};
use crate::pairing::surface::NodeClaim;

/// What one connected node said about itself; never changes while the connection lives.
#[derive(Clone, Debug, PartialEq)]
pub struct LiveNode {
    /// Its connection.
    pub conn: ConnId,
    /// Negotiated protocol version (3 or 4).
    pub protocol: u8,
    /// Its id and its declaration as sent; platform and device family as pinned.
    pub claim: NodeClaim,
    /// `PATH` of the node's environment.
    pub path_env: Option<String>,
    /// Epoch milliseconds of hello-ok.
    pub connected_at_ms: u64,
}

impl LiveNode {
    /// Its node id, which is its device id.
    pub fn node(&self) -> &NodeId {
        &self.claim.node
    }
}

/// What a closing connection leaves to be done.
#[derive(Debug, Default, PartialEq)]
pub struct Departure {
    /// Invokes the connection had received and will not answer; their askers get `node disconnected`.
    pub unanswered: Vec<OpenInvoke>,
    /// Invokes the connection had asked for; nobody is left to answer, only their timers remain.
    pub unasked: Vec<OpenInvoke>,
    /// The connection that owns the node id now, if this one owned it and another is left.
    pub successor: Option<Arc<LiveNode>>,
    /// The node, when this was its last connection.
    pub left: Option<NodeId>,
}

/// Why an invoke was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotOpened {
    /// Too many are open.
    Full(Full),
    /// The node's connection closed meanwhile.
    Gone,
}

/// Live nodes by id, with their connections in the order in which they came, and the open invokes.
#[derive(Debug, Default)]
pub struct Registry {
    live: HashMap<NodeId, Vec<Arc<LiveNode>>>,
    node_of: HashMap<ConnId, NodeId>,
    /// Invokes that wait for an answer.
    pub invokes: Invokes,
}

impl Registry {
    /// Takes in a new connection, which owns its node id from now on; returns the owner it replaces.
    pub fn connect(&mut self, node: LiveNode) -> Option<Arc<LiveNode>> {
        self.node_of.insert(node.conn.clone(), node.node().clone());
        let connections = self.live.entry(node.node().clone()).or_default();
        let replaced = connections.last().cloned();
        connections.push(Arc::new(node));
        replaced
    }

    /// Forgets a closed connection of any role and ends the invokes at both of its ends.
    pub fn disconnect(&mut self, conn: &ConnId) -> Departure {
        let mut departure = Departure {
            unanswered: self.invokes.take_owned(conn, |_| true),
            unasked: self.invokes.drop_asked(conn),
            successor: None,
            left: None,
        };
        let Some(node) = self.node_of.remove(conn) else {
            return departure;
        };
        let Some(connections) = self.live.get_mut(&node) else {
            return departure;
        };
        let owned = connections.last().is_some_and(|last| last.conn == *conn);
        connections.retain(|live| live.conn != *conn);
        if connections.is_empty() {
            self.live.remove(&node);
            departure.left = Some(node);
        } else if owned {
            departure.successor = connections.last().cloned();
        }
        departure
    }

    /// Opens an invoke towards a connection that is still there: from then on the closing of that
    /// connection ends it.
    pub fn open(&mut self, invoke: OpenInvoke) -> Result<(), NotOpened> {
        if !self.node_of.contains_key(&invoke.owner) {
            return Err(NotOpened::Gone);
        }
        self.invokes.open(invoke).map_err(NotOpened::Full)
    }

    /// The connection that owns `node`, if the node is connected.
    pub fn owner(&self, node: &NodeId) -> Option<&Arc<LiveNode>> {
        self.live
            .get(node)
            .and_then(|connections| connections.last())
    }

    /// The owners of all connected nodes, in no particular order.
    pub fn owners(&self) -> impl Iterator<Item = &Arc<LiveNode>> {
        self.live
            .values()
            .filter_map(|connections| connections.last())
    }

    /// Number of connected nodes (not of connections).
    pub fn connected(&self) -> usize {
        self.live.len()
    }

    /// Ends those open invokes of all connections of `node` that `chosen` selects, because the node may
    /// no longer be asked.
    pub fn withdraw(
        &mut self,
        node: &NodeId,
        chosen: impl Fn(&OpenInvoke) -> bool,
    ) -> Vec<OpenInvoke> {
        let Some(connections) = self.live.get(node) else {
            return Vec::new();
        };
        let invokes = &mut self.invokes;
        connections
            .iter()
            .flat_map(|live| invokes.take_owned(&live.conn, &chosen))
            .collect()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::gateway::invoke::Origin;
    use crate::pairing::node_record::NodeMetadata;

    pub(crate) fn live(conn: &str, node: &str) -> LiveNode {
        let words = |list: &[&str]| Some(list.iter().map(|word| (*word).to_owned()).collect());
        LiveNode {
            conn: ConnId::from(conn),
            protocol: 3,
            claim: NodeClaim {
                node: NodeId::from(node),
                metadata: NodeMetadata {
                    display_name: Some("Build Node".to_owned()),
                    platform: Some("linux".to_owned()),
                    version: Some("1.0".to_owned()),
                    client_id: Some("node-host".to_owned()),
                    client_mode: Some("node".to_owned()),
                    caps: words(&["system"]),
                    commands: words(&["system.run", "system.which"]),
                    ..NodeMetadata::default()
                },
            },
            path_env: None,
            connected_at_ms: 1_000,
        }
    }

    fn asked(id: &str, owner: &str) -> OpenInvoke {
        OpenInvoke {
            id: id.to_owned(),
            asker: ConnId::from("op"),
            request: "1".to_owned(),
            node: NodeId::from("n"),
            owner: ConnId::from(owner),
            command: "system.which".to_owned(),
            origin: Origin::Invoke,
            asked_at: std::time::Instant::now(),
            timer: None,
            audit: None,
        }
    }

    fn owner(registry: &Registry) -> Option<String> {
        registry
            .owner(&NodeId::from("n"))
            .map(|live| live.conn.to_string())
    }

    #[test]
    fn the_newest_connection_owns_and_survivors_take_over() {
        // (connect +c / disconnect -c, owner afterwards)
        let steps = [
            ("+a", Some("a")),
            ("+b", Some("b")),
            ("-a", Some("b")),
            ("+c", Some("c")),
            ("+d", Some("d")),
            ("-c", Some("d")),
            ("-d", Some("b")),
            ("-x", Some("b")),
            ("-b", None),
            ("-b", None),
            ("+e", Some("e")),
        ];
        let mut registry = Registry::default();
        for (step, expected) in steps {
            let (sign, conn) = step.split_at(1);
            let before = owner(&registry);
            if sign == "+" {
                let replaced = registry.connect(live(conn, "n"));
                assert_eq!(replaced.map(|live| live.conn.to_string()), before, "{step}");
            } else {
                let departure = registry.disconnect(&ConnId::from(conn));
                let successor = departure.successor.map(|live| live.conn.to_string());
                let moved = before.as_deref() == Some(conn);
                assert_eq!(
                    successor,
                    if moved { owner(&registry) } else { None },
                    "{step}"
                );
            }
            assert_eq!(owner(&registry).as_deref(), expected, "{step}");
            assert_eq!(
                registry.connected(),
                usize::from(expected.is_some()),
                "{step}"
            );
        }
    }

    #[test]
    fn an_old_connection_takes_only_its_own_invokes_with_it() {
        let mut registry = Registry::default();
        registry.connect(live("old", "n"));
        registry.open(asked("first", "old")).unwrap();
        registry.connect(live("new", "n"));
        registry.open(asked("second", "new")).unwrap();
        let departure = registry.disconnect(&ConnId::from("old"));
        assert_eq!(departure.unanswered.len(), 1);
        assert_eq!(departure.unanswered[0].id, "first");
        assert!(
            registry
                .invokes
                .take(&ConnId::from("new"), "second")
                .is_some()
        );
    }

    #[test]
    fn a_closing_asker_leaves_no_invoke_open() {
        let mut registry = Registry::default();
        assert_eq!(registry.open(asked("i", "node")), Err(NotOpened::Gone));
        registry.connect(live("node", "n"));
        registry.open(asked("i", "node")).unwrap();
        let departure = registry.disconnect(&ConnId::from("op"));
        assert_eq!(departure.unasked.len(), 1);
        assert!(departure.unanswered.is_empty());
        assert!(
            registry.invokes.take(&ConnId::from("node"), "i").is_none(),
            "its result is late now"
        );
        assert_eq!(owner(&registry).as_deref(), Some("node"));
    }

    #[test]
    fn withdrawing_reaches_every_connection_of_the_node() {
        let mut registry = Registry::default();
        for conn in ["a", "b"] {
            registry.connect(live(conn, "n"));
            registry.open(asked(conn, conn)).unwrap();
        }
        registry.connect(live("c", "other"));
        registry.open(asked("c", "c")).unwrap();
        assert_eq!(registry.withdraw(&NodeId::from("n"), |_| true).len(), 2);
        assert_eq!(registry.invokes.len(), 1);
        assert!(
            registry
                .withdraw(&NodeId::from("none"), |_| true)
                .is_empty()
        );
    }
}
