//! Invokes that wait for their node: who asked, and which connection got the request (protocol.md
//! §7.2-7.4).
//!
//! Every open invoke belongs to the connection that received it and to the connection that asked. A
//! result counts only when it comes from the former; when either of the two closes, the invoke ends.
//! Nothing here sends, waits or reads a clock: the methods return what ended and the caller answers.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::gateway::timer::TimerId;
use crate::identity::ids::{ConnId, NodeId};
use crate::pairing::AuditEntry;
use crate::protocol::error::ErrorShape;
use crate::protocol::limits::DAY_MS;

/// The longest a caller may wait, whatever it asks for: nothing in memory lives without an end.
pub const MAX_TIMEOUT: Duration = Duration::from_millis(DAY_MS);

/// Open invokes one connection may have asked for: enough to fan out over a large fleet in two
/// batches, small enough that one caller cannot fill the table.
pub const MAX_OPEN_PER_ASKER: usize = 4_096;

/// Open invokes one node connection may have been sent: as many as one caller may ask for, so that several
/// callers of one silent node cannot fill the table.
pub const MAX_OPEN_PER_NODE: usize = 4_096;

/// Milliseconds after which a caller that hit a bound may ask again.
const RETRY_MS: u64 = 1_000;

/// Open invokes of the whole gateway, about 5 MiB of bookkeeping at worst.
pub const MAX_OPEN: usize = 16_384;

/// Random id under which the node sees an invoke.
pub type InvokeId = String;

/// Which method asked, because the two word their answers differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// `node.invoke`: the answer wraps the node's payload (§7.3).
    Invoke,
    /// `exec.approvals.node.*`: the answer is the node's payload as it is (§8.2).
    Relay,
}

impl Origin {
    /// Whether the command bypassed the allowlist.
    pub fn is_relay(self) -> bool {
        self == Origin::Relay
    }
}

/// One invoke whose node has not answered yet.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenInvoke {
    /// Id sent to the node.
    pub id: InvokeId,
    /// Connection that asked and gets the answer.
    pub asker: ConnId,
    /// Frame id of the asker's request.
    pub request: String,
    /// Node that was asked.
    pub node: NodeId,
    /// Connection that received the request; only its result counts.
    pub owner: ConnId,
    /// Command name, for answers and refusals.
    pub command: String,
    /// Method that asked.
    pub origin: Origin,
    /// When it was asked.
    pub asked_at: Instant,
    /// The deadline's timer entry, once it is scheduled.
    pub timer: Option<TimerId>,
    /// The line for the trail when the node has done it.
    pub audit: Option<Box<AuditEntry>>,
}

/// Why an invoke cannot be opened now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// This connection has [`MAX_OPEN_PER_ASKER`] open invokes.
    Asker,
    /// The gateway has [`MAX_OPEN`] open invokes.
    Gateway,
    /// The node has [`MAX_OPEN_PER_NODE`] open invokes, or more bytes are on their way to it than it takes.
    Node,
}

/// All open invokes, found by either of their connections.
#[derive(Debug, Default)]
pub struct Invokes {
    by_owner: HashMap<ConnId, HashMap<InvokeId, OpenInvoke>>,
    by_asker: HashMap<ConnId, HashMap<InvokeId, ConnId>>,
    open: usize,
}

impl Invokes {
    /// Number of open invokes.
    pub fn len(&self) -> usize {
        self.open
    }

    /// Whether no invoke is open.
    pub fn is_empty(&self) -> bool {
        self.open == 0
    }

    /// Opens `invoke`, or says which bound forbids it.
    pub fn open(&mut self, invoke: OpenInvoke) -> Result<(), Full> {
        if self.open >= MAX_OPEN {
            return Err(Full::Gateway);
        }
        let of_node = self.by_owner.get(&invoke.owner).map_or(0, HashMap::len);
        if of_node >= MAX_OPEN_PER_NODE {
            return Err(Full::Node);
        }
        let asked = self.by_asker.entry(invoke.asker.clone()).or_default();
        if asked.len() >= MAX_OPEN_PER_ASKER {
            return Err(Full::Asker);
        }
        asked.insert(invoke.id.clone(), invoke.owner.clone());
        let owned = self.by_owner.entry(invoke.owner.clone()).or_default();
        owned.insert(invoke.id.clone(), invoke);
        self.open += 1;
        Ok(())
    }

    /// Notes the deadline's timer of an open invoke; `false` when it has ended meanwhile, so that the
    /// caller cancels the timer.
    pub fn attach_timer(&mut self, owner: &ConnId, id: &str, timer: TimerId) -> bool {
        let invoke = self
            .by_owner
            .get_mut(owner)
            .and_then(|owned| owned.get_mut(id));
        match invoke {
            Some(invoke) => {
                invoke.timer = Some(timer);
                true
            }
            None => false,
        }
    }

    /// Ends the invoke `id` if `owner` is the connection that received it; `None` for unknown, late and
    /// foreign ids alike.
    pub fn take(&mut self, owner: &ConnId, id: &str) -> Option<OpenInvoke> {
        let owned = self.by_owner.get_mut(owner)?;
        let invoke = owned.remove(id)?;
        if owned.is_empty() {
            self.by_owner.remove(owner);
        }
        self.forget_asked(&invoke.asker, id);
        self.open -= 1;
        Some(invoke)
    }

    /// Whether an invoke still waits for the connection `owner`.
    pub fn is_open(&self, owner: &ConnId, id: &str) -> bool {
        self.by_owner
            .get(owner)
            .is_some_and(|owned| owned.contains_key(id))
    }

    /// Ends every invoke sent to the connection `owner` that `chosen` selects.
    pub fn take_owned(
        &mut self,
        owner: &ConnId,
        chosen: impl Fn(&OpenInvoke) -> bool,
    ) -> Vec<OpenInvoke> {
        let Some(owned) = self.by_owner.get(owner) else {
            return Vec::new();
        };
        let mut ids: Vec<InvokeId> = owned
            .values()
            .filter(|invoke| chosen(invoke))
            .map(|invoke| invoke.id.clone())
            .collect();
        ids.sort_unstable();
        ids.iter().filter_map(|id| self.take(owner, id)).collect()
    }

    /// Ends every invoke the closing connection `asker` had asked for; nobody is left to answer.
    pub fn drop_asked(&mut self, asker: &ConnId) -> Vec<OpenInvoke> {
        let Some(asked) = self.by_asker.get(asker) else {
            return Vec::new();
        };
        let keys: Vec<(InvokeId, ConnId)> = asked
            .iter()
            .map(|(id, owner)| (id.clone(), owner.clone()))
            .collect();
        keys.iter()
            .filter_map(|(id, owner)| self.take(owner, id))
            .collect()
    }

    fn forget_asked(&mut self, asker: &ConnId, id: &str) {
        if let Some(asked) = self.by_asker.get_mut(asker) {
            asked.remove(id);
            if asked.is_empty() {
                self.by_asker.remove(asker);
            }
        }
    }
}

impl Full {
    /// The answer to the caller that hit the bound.
    pub fn error(self) -> ErrorShape {
        let message = match self {
            Full::Asker => format!(
                "too many open node invokes on this connection (limit {MAX_OPEN_PER_ASKER}); wait for answers"
            ),
            Full::Gateway => {
                format!(
                    "too many open node invokes on this gateway (limit {MAX_OPEN}); retry later"
                )
            }
            Full::Node => format!(
                "node busy: too much waits for it already (limit {MAX_OPEN_PER_NODE} open invokes); retry later"
            ),
        };
        ErrorShape::unavailable(message)
            .with_details(json!({"code": "TOO_MANY_INVOKES"}))
            .with_retry(RETRY_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::timer::Timer;

    fn invoke(id: &str, asker: &str, owner: &str) -> OpenInvoke {
        OpenInvoke {
            id: id.to_owned(),
            asker: ConnId::from(asker),
            request: format!("frame-{id}"),
            node: NodeId::from("n"),
            owner: ConnId::from(owner),
            command: "system.which".to_owned(),
            origin: Origin::Invoke,
            asked_at: Instant::now(),
            timer: None,
            audit: None,
        }
    }

    fn ids(mut ended: Vec<OpenInvoke>) -> Vec<String> {
        ended.sort_by(|left, right| left.id.cmp(&right.id));
        ended.into_iter().map(|invoke| invoke.id).collect()
    }

    #[test]
    fn a_result_counts_once_and_only_from_the_connection_that_was_asked() {
        let mut invokes = Invokes::default();
        invokes.open(invoke("i1", "op", "old")).unwrap();
        assert_eq!(
            invokes.take(&ConnId::from("new"), "i1"),
            None,
            "foreign connection"
        );
        assert_eq!(invokes.take(&ConnId::from("old"), "i2"), None, "unknown id");
        assert_eq!(
            invokes.take(&ConnId::from("old"), "i1").unwrap().request,
            "frame-i1"
        );
        assert_eq!(invokes.take(&ConnId::from("old"), "i1"), None, "late");
        assert!(invokes.is_empty());
        assert!(
            invokes.by_owner.is_empty() && invokes.by_asker.is_empty(),
            "nothing is left behind"
        );
    }

    #[test]
    fn closing_connections_end_what_belongs_to_them() {
        let mut invokes = Invokes::default();
        for (id, asker, owner) in [
            ("1", "a", "x"),
            ("2", "a", "y"),
            ("3", "b", "x"),
            ("4", "b", "y"),
        ] {
            invokes.open(invoke(id, asker, owner)).unwrap();
        }
        assert_eq!(
            ids(invokes.take_owned(&ConnId::from("x"), |_| true)),
            ["1", "3"]
        );
        assert_eq!(ids(invokes.drop_asked(&ConnId::from("b"))), ["4"]);
        assert_eq!(invokes.len(), 1);
        assert!(
            invokes
                .take_owned(&ConnId::from("y"), |open| open.command != "system.which")
                .is_empty()
        );
        assert_eq!(ids(invokes.take_owned(&ConnId::from("y"), |_| true)), ["2"]);
        assert!(invokes.by_owner.is_empty() && invokes.by_asker.is_empty());
    }

    #[test]
    fn the_bounds_hold_and_are_given_back() {
        let mut invokes = Invokes::default();
        for number in 0..MAX_OPEN_PER_ASKER {
            invokes
                .open(invoke(&number.to_string(), "greedy", "node"))
                .unwrap();
        }
        assert_eq!(
            invokes.open(invoke("more", "modest", "node")),
            Err(Full::Node)
        );
        assert_eq!(
            invokes.open(invoke("more", "greedy", "other node")),
            Err(Full::Asker)
        );
        invokes
            .open(invoke("other", "modest", "other node"))
            .unwrap();
        invokes.take(&ConnId::from("node"), "7").unwrap();
        invokes.open(invoke("again", "greedy", "node")).unwrap();
        for number in invokes.len()..MAX_OPEN {
            invokes
                .open(invoke(
                    &format!("o{number}"),
                    &format!("a{}", number % 9),
                    &format!("n{}", number % 9),
                ))
                .unwrap();
        }
        assert_eq!(
            invokes.open(invoke("last", "fresh", "other node")),
            Err(Full::Gateway)
        );
        invokes.drop_asked(&ConnId::from("greedy"));
        invokes.open(invoke("last", "fresh", "node")).unwrap();
        assert_eq!(Full::Gateway.error().retryable, Some(true));
    }

    #[test]
    fn a_timer_is_attached_only_to_an_open_invoke() {
        let (clock, thread) = Timer::start().unwrap();
        let timer = clock.schedule(Instant::now() + MAX_TIMEOUT, || {});
        let mut invokes = Invokes::default();
        let node = ConnId::from("node");
        invokes.open(invoke("i", "op", "node")).unwrap();
        assert!(invokes.attach_timer(&node, "i", timer));
        assert_eq!(invokes.take(&node, "i").unwrap().timer, Some(timer));
        assert!(!invokes.attach_timer(&node, "i", timer));
        clock.stop();
        thread.join().unwrap();
    }
}
