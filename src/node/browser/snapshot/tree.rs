//! The accessibility tree of a page as a flat list in reading order, without what says nothing
//! (node-host specification, section 4.5).
//!
//! Pure over the answer of `Accessibility.getFullAXTree` and what is known of clicks. Nothing here recurses: how deep a
//! page is nested is up to the page.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::clicks::Click;
use super::given::{Given, Id, Tree};

/// Role of a piece of text.
pub const TEXT: &str = "StaticText";

/// One node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Node {
    /// How many nodes of the list it is in.
    pub depth: usize,
    /// Its role as the browser calls it; `unknown` without one.
    pub role: String,
    /// Its accessible name, as the page gives it.
    pub name: String,
    /// What it holds, as the page gives it.
    pub value: String,
    /// More about it, as the page gives it.
    pub description: String,
    /// Where a link leads.
    pub url: Option<String>,
    /// `level=1`, `checked` and the like.
    pub states: Vec<String>,
    /// The browser's own id of its node in the page.
    pub backend_node: Option<u64>,
    /// The frame whose session reaches it; `None` is the page's own.
    pub frame: Option<Arc<str>>,
    /// The keyboard reaches it.
    pub focusable: bool,
    /// How it takes the mouse, whatever its role.
    pub click: Click,
}

impl Node {
    /// Whether it holds a frame.
    pub fn is_frame(&self) -> bool {
        ["Iframe", "IframePresentational"].contains(&self.role.as_str())
    }
}

/// What is known of the elements of a page beside their roles.
#[derive(Debug, Clone, Copy)]
pub struct Marks<'a> {
    /// How elements take the mouse.
    pub clicks: &'a HashMap<u64, Click>,
    /// An element that stays in the list even when it says nothing.
    pub kept: Option<u64>,
}

/// The tree of one frame as a list of at most `limit` nodes, and whether that is not all; the root is first.
pub fn flatten(
    tree: Tree,
    frame: Option<&Arc<str>>,
    marks: Marks<'_>,
    limit: usize,
) -> (Vec<Node>, bool) {
    let mut given = tree.nodes.list;
    let by_id: HashMap<Id, usize> = given
        .iter()
        .enumerate()
        .map(|(at, node)| (node.node_id, at))
        .collect();
    let children: HashSet<Id> = given
        .iter()
        .flat_map(|node| &node.child_ids)
        .copied()
        .collect();
    let mut ids = given.iter().map(|node| node.node_id);
    let root = ids.find(|id| !children.contains(id));
    let mut open: Vec<(Id, usize)> = root.into_iter().map(|root| (root, 0)).collect();
    let mut seen = vec![false; given.len()];
    let mut list = Vec::new();
    while let Some((id, depth)) = open.pop() {
        let Some(&at) = by_id.get(&id).filter(|at| !seen[**at]) else {
            continue;
        };
        if list.len() >= limit {
            return (list, true);
        }
        seen[at] = true;
        let given = &mut given[at];
        let inside = std::mem::take(&mut given.child_ids);
        let mut inner = depth;
        if let Some(node) = node(given, depth, frame, marks) {
            list.push(node);
            inner += 1;
        }
        open.extend(inside.into_iter().rev().map(|child| (child, inner)));
    }
    (list, tree.nodes.cut)
}

fn node(
    given: &mut Given,
    depth: usize,
    frame: Option<&Arc<str>>,
    marks: Marks<'_>,
) -> Option<Node> {
    let backend_node = given.backend_node;
    let click = backend_node.and_then(|id| marks.clicks.get(&id)).copied();
    if given.ignored {
        let kept = backend_node.is_some() && backend_node == marks.kept;
        let clickable = click.is_some() && !given.is_hidden();
        if !kept && !clickable {
            return None;
        }
    }
    let role = match given.role.text() {
        _ if given.ignored => "generic",
        "" => "unknown",
        role => role,
    };
    Some(Node {
        depth,
        role: role.to_owned(),
        name: given.name.take(),
        value: given.value.take(),
        description: given.description.take(),
        url: given.properties.url.take().map(String::from),
        states: given.properties.states(),
        backend_node,
        frame: frame.cloned(),
        focusable: given.properties.focusable,
        click: click.unwrap_or_default(),
    })
}
