//! Snapshots of a page: its accessibility tree with those of its frames, as nodes or as text
//! (node-host specification, section 4.5).

mod clicks;
mod given;
pub mod render;
mod roles;
mod text;
mod tree;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};

use self::clicks::{Captured, Click};
use self::given::Tree;
use self::tree::Marks;
use super::elements::{Handle, not_found};
use super::error::BrowserError;
use super::page::Page;
use super::world::World;

pub use self::tree::Node;

/// Nodes of a page with all its frames.
const MAX_NODES: usize = 25_000;

/// Frames of a page, and frames in each other.
const MAX_FRAMES: usize = 50;

/// Readings of a frame that another document comes to meanwhile.
const MAX_TRIES: usize = 3;

/// Which part of a page is wanted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Scope<'a> {
    /// CSS selector of a frame's element; without one the whole page.
    pub frame: Option<&'a str>,
    /// CSS selector of an element in there.
    pub selector: Option<&'a str>,
}

/// The nodes of a page, and the documents that they are of, by the frame whose session reaches them.
#[derive(Debug, Default)]
pub struct Taken {
    /// The nodes in reading order.
    pub nodes: Vec<Node>,
    /// The page has more of them.
    pub cut: bool,
    /// The document of every session.
    pub documents: HashMap<Option<Arc<str>>, String>,
}

/// Where a frame is: its id, and the frame whose session reaches it.
struct Place {
    frame: String,
    session: Option<Arc<str>>,
}

struct Taker<'a> {
    page: &'a Page,
    deadline: Instant,
    /// How elements take the mouse, by session.
    clicks: HashMap<Option<Arc<str>>, HashMap<u64, Click>>,
    documents: HashMap<Option<Arc<str>>, String>,
    /// Nodes that may still be taken.
    room: usize,
    cut: bool,
}

/// Takes a snapshot.
///
/// # Errors
/// [`not_found`] of a selector, else as [`Page::call`].
pub fn take(page: &Page, scope: Scope<'_>, deadline: Instant) -> Result<Taken, BrowserError> {
    let mut taker = Taker {
        page,
        deadline,
        clicks: HashMap::new(),
        documents: HashMap::new(),
        room: MAX_NODES,
        cut: false,
    };
    let mut place = Place {
        frame: page.target.clone(),
        session: None,
    };
    if let Some(selector) = scope.frame {
        let element = taker.find(&place, selector)?;
        let node = taker.describe(
            element.frame.as_deref(),
            json!({"objectId": element.object}),
        )?;
        place = taker.inner(&node, place.session).ok_or_else(|| {
            BrowserError::Unexpected(format!("Element \"{selector}\" is not a frame."))
        })?;
    }
    let kept = match scope.selector {
        None => None,
        Some(selector) => {
            let element = taker.find(&place, selector)?;
            let session = element.frame.as_deref();
            let node = taker.describe(session, json!({"objectId": element.object}))?;
            node.get("backendNodeId").and_then(Value::as_u64)
        }
    };
    let mut nodes = taker.frame(&place, kept)?;
    if scope.selector.is_some() {
        nodes = part(nodes, kept);
    }
    let nodes = taker.with_frames(nodes)?;
    Ok(Taken {
        nodes,
        cut: taker.cut,
        documents: taker.documents,
    })
}

impl Taker<'_> {
    fn call(
        &self,
        session: Option<&str>,
        method: &str,
        params: Value,
    ) -> Result<Value, BrowserError> {
        Ok(self.page.call_in(session, method, params, self.deadline)?)
    }

    fn world(&self, place: &Place) -> Result<World<'_>, BrowserError> {
        let (page, session) = (self.page, place.session.as_deref());
        Ok(World::enter(page, session, &place.frame, self.deadline)?)
    }

    fn find(&self, place: &Place, selector: &str) -> Result<Handle, BrowserError> {
        let found = self.world(place)?.find(selector)?;
        found.ok_or_else(|| not_found(selector))
    }

    fn describe(&self, session: Option<&str>, params: Value) -> Result<Value, BrowserError> {
        let mut answer = self.call(session, "DOM.describeNode", params)?;
        Ok(answer["node"].take())
    }

    /// The frame that an element holds; `None` when it holds none.
    fn inner(&self, node: &Value, session: Option<Arc<str>>) -> Option<Place> {
        let holder = node.get("nodeName").and_then(Value::as_str)?;
        if !["IFRAME", "FRAME", "OBJECT", "EMBED"].contains(&holder) {
            return None;
        }
        let frame = node.get("frameId").and_then(Value::as_str)?.to_owned();
        let separate = self.page.is_apart(&frame);
        let session = if separate {
            Some(frame.as_str().into())
        } else {
            session
        };
        Some(Place { frame, session })
    }

    /// The nodes of one frame, without those of frames in it; all of one document.
    fn frame(&mut self, place: &Place, kept: Option<u64>) -> Result<Vec<Node>, BrowserError> {
        let (room, cut) = (self.room, self.cut);
        let mut tries = 1;
        loop {
            let document = self.page.document(place.session.as_deref());
            let nodes = self.nodes(place, kept)?;
            if self.page.document(place.session.as_deref()) == document || tries == MAX_TRIES {
                self.documents.insert(place.session.clone(), document);
                return Ok(nodes);
            }
            // Another one came while this one was read.
            (self.room, self.cut) = (room, cut);
            self.clicks.remove(&place.session);
            tries += 1;
        }
    }

    fn nodes(&mut self, place: &Place, kept: Option<u64>) -> Result<Vec<Node>, BrowserError> {
        let session = place.session.as_deref();
        if !self.clicks.contains_key(&place.session) {
            let params = json!({"computedStyles": ["cursor"]});
            let captured: Captured = self.page.call_for(
                session,
                "DOMSnapshot.captureSnapshot",
                params,
                self.deadline,
            )?;
            self.clicks.insert(place.session.clone(), captured.clicks());
        }
        let none = HashMap::new();
        let marks = Marks {
            clicks: self.clicks.get(&place.session).unwrap_or(&none),
            kept,
        };
        let params = json!({"frameId": place.frame});
        let method = "Accessibility.getFullAXTree";
        let tree: Tree = self.page.call_for(session, method, params, self.deadline)?;
        let (nodes, cut) = tree::flatten(tree, place.session.as_ref(), marks, self.room);
        self.room -= nodes.len();
        self.cut |= cut;
        Ok(nodes)
    }

    /// The same nodes with those of the frames in them.
    fn with_frames(&mut self, nodes: Vec<Node>) -> Result<Vec<Node>, BrowserError> {
        let mut open: Vec<Node> = nodes.into_iter().rev().collect();
        let mut list = Vec::with_capacity(open.len());
        let mut frames = 0;
        while let Some(node) = open.pop() {
            let holder = node.is_frame() && frames < MAX_FRAMES;
            let (depth, session) = (node.depth + 1, node.frame.clone());
            let params = node.backend_node.map(|id| json!({"backendNodeId": id}));
            list.push(node);
            let Some(params) = params.filter(|_| holder) else {
                continue;
            };
            frames += 1;
            if self.room == 0 {
                self.cut = true;
                continue;
            }
            match self.inner_nodes(session, params) {
                Ok(nodes) => open.extend(nodes.into_iter().rev().map(|mut node| {
                    node.depth += depth;
                    node
                })),
                // A frame may be gone by now; the page is still there.
                Err(BrowserError::Unexpected(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(list)
    }

    fn inner_nodes(
        &mut self,
        session: Option<Arc<str>>,
        holder: Value,
    ) -> Result<Vec<Node>, BrowserError> {
        let node = self.describe(session.as_deref(), holder)?;
        match self.inner(&node, session) {
            Some(place) => self.frame(&place, None),
            None => Ok(Vec::new()),
        }
    }
}

/// The node of an element with everything in it; the element is at depth 0.
fn part(nodes: Vec<Node>, element: Option<u64>) -> Vec<Node> {
    let at = nodes
        .iter()
        .position(|node| node.backend_node == element && element.is_some());
    let mut nodes = nodes.into_iter().skip(at.unwrap_or(usize::MAX));
    let Some(mut first) = nodes.next() else {
        return Vec::new();
    };
    let depth = std::mem::take(&mut first.depth);
    let inside = nodes.take_while(|node| node.depth > depth).map(|mut node| {
        node.depth -= depth;
        node
    });
    std::iter::once(first).chain(inside).collect()
}
