//! What the nodes are called, for rows that carry ids alone.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::cli::output::text::plain;
use crate::cli::row;

/// Names by node id; an id nobody knows stands for itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names(BTreeMap<String, String>);

impl Names {
    /// The names of an answer to `node.list`.
    pub fn of(listed: &Value) -> Names {
        let nodes = row::rows(listed, "nodes").iter();
        Names(
            nodes
                .map(|node| (row::id(node).to_owned(), row::label(node)))
                .collect(),
        )
    }

    /// Whether this node was listed.
    pub fn knows(&self, id: &str) -> bool {
        self.0.contains_key(id)
    }

    /// The name of a node, safe for a terminal.
    pub fn label(&self, id: &str) -> String {
        self.0.get(id).cloned().unwrap_or_else(|| plain(id))
    }
}
