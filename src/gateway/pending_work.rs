//! Small errands that wait for a node to fetch them: status and location requests (protocol.md §7.6).
//!
//! One errand per node and kind; they live in memory only and end by being fetched, by expiring or when
//! the node's pairing or its token ends. Pure data: ids and the time come in as arguments.

use std::collections::HashMap;

use serde::Serialize;

use crate::identity::ids::NodeId;

/// Items a node gets at once when it does not say how many (§7.6 allows 1 to 10).
pub const DEFAULT_DRAIN: usize = 4;

/// Id of the item a node gets when nothing is queued for it.
const BASELINE_ID: &str = "baseline-status";

/// What a node is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum Kind {
    /// Report the location.
    #[serde(rename = "location.request")]
    Location,
    /// Report the status.
    #[serde(rename = "status.request")]
    Status,
}

/// How urgent an errand is; more urgent ones are handed out first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// Only the baseline item.
    Default,
    /// The usual one.
    Normal,
    /// Before everything else.
    High,
}

/// One errand as it goes over the wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Item {
    /// Random id, or `BASELINE_ID`.
    pub id: String,
    /// What to do.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// Urgency.
    pub priority: Priority,
    /// Epoch milliseconds.
    pub created_at_ms: u64,
    /// Epoch milliseconds, `null` without an end.
    pub expires_at_ms: Option<u64>,
}

/// What a node fetched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Drained {
    /// Counts the changes of this node's queue.
    pub revision: u64,
    /// The errands, most urgent first, never empty.
    pub items: Vec<Item>,
    /// Whether more are queued.
    pub has_more: bool,
}

/// The queues of all nodes; a queue exists only while it holds something or has a revision to continue.
#[derive(Debug, Default)]
pub struct PendingWork {
    queues: HashMap<NodeId, Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    revision: u64,
    items: Vec<Item>,
}

impl PendingWork {
    /// Queues `item` for `node` unless one of its kind waits already, which is returned instead. The first
    /// part is the queue's revision.
    pub fn enqueue(&mut self, node: &NodeId, item: Item, now_ms: u64) -> (u64, Item) {
        let queue = self.queues.entry(node.clone()).or_default();
        queue.expire(now_ms);
        if let Some(waiting) = queue.items.iter().find(|waiting| waiting.kind == item.kind) {
            return (queue.revision, waiting.clone());
        }
        queue.items.push(item.clone());
        queue.revision += 1;
        (queue.revision, item)
    }

    /// Hands `node` up to `limit` errands, the most urgent first; without any it gets one baseline item.
    pub fn drain(&mut self, node: &NodeId, limit: usize, now_ms: u64) -> Drained {
        let mut drained = Drained {
            revision: 0,
            items: Vec::new(),
            has_more: false,
        };
        if let Some(queue) = self.queues.get_mut(node) {
            queue.expire(now_ms);
            queue.items.sort_by(|left, right| {
                right
                    .priority
                    .cmp(&left.priority)
                    .then(left.created_at_ms.cmp(&right.created_at_ms))
            });
            drained.items = queue.items.drain(..limit.min(queue.items.len())).collect();
            queue.revision += u64::from(!drained.items.is_empty());
            drained.has_more = !queue.items.is_empty();
            drained.revision = queue.revision;
        }
        if drained.items.is_empty() {
            drained.items.push(Item {
                id: BASELINE_ID.to_owned(),
                kind: Kind::Status,
                priority: Priority::Default,
                created_at_ms: now_ms,
                expires_at_ms: None,
            });
        }
        drained
    }

    /// Removes the errands of `node` that it says are done; returns those that were queued.
    pub fn acknowledge(&mut self, node: &NodeId, ids: &[String]) -> Vec<String> {
        let Some(queue) = self.queues.get_mut(node) else {
            return Vec::new();
        };
        let (done, left) = std::mem::take(&mut queue.items)
            .into_iter()
            .partition(|item| ids.contains(&item.id));
        queue.items = left;
        let done: Vec<Item> = done;
        queue.revision += u64::from(!done.is_empty());
        done.into_iter().map(|item| item.id).collect()
    }

    /// Number of errands queued for `node`.
    pub fn waiting(&self, node: &NodeId) -> usize {
        self.queues.get(node).map_or(0, |queue| queue.items.len())
    }

    /// The time of day was set by so many milliseconds.
    pub fn follow_clock(&mut self, step_ms: i64) {
        for item in self.queues.values_mut().flat_map(|queue| &mut queue.items) {
            for at_ms in [Some(&mut item.created_at_ms), item.expires_at_ms.as_mut()]
                .into_iter()
                .flatten()
            {
                *at_ms = at_ms.saturating_add_signed(step_ms);
            }
        }
    }

    /// Drops everything queued for a node whose pairing ended.
    pub fn forget(&mut self, node: &NodeId) {
        self.queues.remove(node);
    }
}

impl Queue {
    fn expire(&mut self, now_ms: u64) {
        let before = self.items.len();
        self.items
            .retain(|item| item.expires_at_ms.is_none_or(|end| now_ms < end));
        self.revision += u64::from(self.items.len() != before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(id: &str, kind: Kind, priority: Priority, expires_at_ms: Option<u64>) -> Item {
        Item {
            id: id.to_owned(),
            kind,
            priority,
            created_at_ms: 10,
            expires_at_ms,
        }
    }

    fn ids(drained: &Drained) -> Vec<&str> {
        drained.items.iter().map(|item| item.id.as_str()).collect()
    }

    #[test]
    fn one_errand_per_kind_waits_until_it_is_fetched_once() {
        let node = NodeId::from("n");
        let mut work = PendingWork::default();
        assert_eq!(
            work.enqueue(&node, item("a", Kind::Status, Priority::Normal, None), 10)
                .0,
            1
        );
        let (revision, kept) =
            work.enqueue(&node, item("b", Kind::Status, Priority::High, None), 11);
        assert_eq!((revision, kept.id.as_str()), (1, "a"));
        work.enqueue(&node, item("c", Kind::Location, Priority::High, None), 12);
        let first = work.drain(&node, 1, 13);
        assert_eq!(
            (ids(&first), first.has_more, first.revision),
            (vec!["c"], true, 3)
        );
        let second = work.drain(&node, 10, 14);
        assert_eq!(
            (ids(&second), second.has_more, second.revision),
            (vec!["a"], false, 4)
        );
        let third = work.drain(&node, 10, 15);
        assert_eq!((ids(&third), third.revision), (vec!["baseline-status"], 4));
        assert_eq!(third.items[0].created_at_ms, 15);
    }

    #[test]
    fn errands_end_by_expiry_acknowledgement_and_forgetting() {
        let node = NodeId::from("n");
        let mut work = PendingWork::default();
        work.enqueue(
            &node,
            item("a", Kind::Status, Priority::Normal, Some(100)),
            10,
        );
        assert_eq!(ids(&work.drain(&node, 10, 100)), ["baseline-status"]);
        work.enqueue(
            &node,
            item("b", Kind::Status, Priority::Normal, Some(200)),
            110,
        );
        work.enqueue(
            &node,
            item("c", Kind::Location, Priority::Normal, None),
            111,
        );
        assert_eq!(
            work.acknowledge(&node, &["b".to_owned(), "x".to_owned()]),
            ["b"]
        );
        assert_eq!(work.waiting(&node), 1);
        work.forget(&node);
        assert_eq!(work.waiting(&node), 0);
        assert!(work.acknowledge(&node, &["c".to_owned()]).is_empty());
    }

    #[test]
    fn items_look_as_specified() {
        let text = serde_json::to_string(&item("a", Kind::Location, Priority::High, None)).unwrap();
        assert_eq!(
            text,
            r#"{"id":"a","type":"location.request","priority":"high","createdAtMs":10,"expiresAtMs":null}"#
        );
    }
}
