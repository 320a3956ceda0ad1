//! What waits to be written to one peer. Any thread pushes; the owner of the socket writes, and while it sleeps
//! with nothing unsent, whoever pushes writes a text that fits one frame for it.
//!
//! So a push wakes nobody for what the socket takes at once: a request that goes through the gateway wakes as
//! many threads as an echo on the same way, and a tick wakes one. The write never waits. It is made under the
//! lock of the queue, so that texts keep their order, and what it leaves of a frame goes before everything else.
//!
//! Bytes are counted. Beyond the budget a droppable broadcast is dropped, and anything else ends the
//! connection with 1008 `slow consumer`: a peer that does not read must cost nobody else anything. The
//! budget is used up from the first dropped broadcast until something was sent, however small what comes
//! next is: a tick ends the connection of a peer that reads nothing.
//! Broadcast numbers are given out here, under the same lock that orders the queue.

use std::{
    collections::VecDeque,
    io::{self, Write},
    net::TcpStream,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    net::{
        traffic::Traffic,
        wake::Wake,
        wire::{FRAGMENT_BYTES, text_frame},
    },
    protocol::{
        close::{POLICY, SLOW_CONSUMER, truncate_reason},
        frame::EventText,
    },
};

/// A handle to the queue of one peer; clones share it.
#[derive(Clone, Debug)]
pub struct Outbox {
    shared: Arc<Shared>,
}

/// The last thing to be sent to a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Farewell {
    /// Close code.
    pub code: u16,
    /// Close reason, already short enough for a close frame.
    pub reason: String,
}

/// What the owner has to do next.
#[derive(Debug)]
pub(crate) enum Errand {
    /// Send this, then call [`Outbox::release`] with its cost.
    Send { text: String, cost: usize },
    /// Nothing is queued.
    Rest,
}

/// What the owner finds at the beginning of a turn.
#[derive(Debug)]
pub(crate) struct Turn {
    /// The number of a ping that is to be sent.
    pub ping: Option<u64>,
    /// The rest of a frame that was begun for the owner, which goes before everything else, and its cost.
    pub begun: Option<(Vec<u8>, usize)>,
}

/// Where the owner is.
#[derive(Debug)]
enum Owner {
    /// It looks at the queue before it sleeps.
    Awake {
        /// Something came since it looked.
        news: bool,
    },
    /// It has to be woken; what it lends is the socket, for whole frames.
    Asleep { lends: Option<Arc<TcpStream>> },
}

impl Default for Owner {
    fn default() -> Self {
        Owner::Asleep { lends: None }
    }
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    wake: Wake,
    budget: usize,
    traffic: Option<Arc<Traffic>>,
}

#[derive(Debug, Default)]
struct Queue {
    owner: Owner,
    /// Rest of a frame that was begun for the owner, and its cost.
    begun: Option<(Vec<u8>, usize)>,
    items: VecDeque<Item>,
    /// Cost of everything queued or being sent.
    bytes: usize,
    /// Number of the last broadcast.
    seq: u64,
    farewell: Option<Farewell>,
    /// A broadcast was dropped, and nothing was sent since.
    full: bool,
    /// Nothing more is accepted.
    closed: bool,
    /// The peer does not read: nothing is worth waiting for.
    slow: bool,
    poked: bool,
    /// Number of the last ping that was asked for.
    pings: u64,
    /// That ping was not handed out yet.
    ping_due: bool,
}

#[derive(Debug)]
enum Item {
    Text(String),
    Event { event: EventText, seq: Option<u64> },
}

impl Item {
    fn cost(&self) -> usize {
        match self {
            Item::Text(text) => text.len(),
            Item::Event { event, .. } => event.max_len(),
        }
    }

    fn into_text(self) -> String {
        match self {
            Item::Text(text) => text,
            Item::Event { event, seq } => event.render(seq),
        }
    }
}

impl Queue {
    fn has_room(&self, bytes: usize, budget: usize) -> bool {
        !self.full && (self.bytes == 0 || self.bytes.saturating_add(bytes) <= budget)
    }
}

/// Above this many free places an empty queue gives its memory back.
const SPARE_PLACES: usize = 32;

impl Outbox {
    /// An empty queue for at most `budget` bytes; fails when descriptors run out. A single item may be
    /// larger than the budget if nothing else waits.
    pub fn new(budget: usize) -> io::Result<Outbox> {
        Outbox::begin(budget, None)
    }

    /// [`Outbox::new`] for a connection whose traffic is counted.
    pub fn counted(budget: usize, traffic: Arc<Traffic>) -> io::Result<Outbox> {
        Outbox::begin(budget, Some(traffic))
    }

    fn begin(budget: usize, traffic: Option<Arc<Traffic>>) -> io::Result<Outbox> {
        let shared = Shared {
            queue: Mutex::default(),
            wake: Wake::new()?,
            budget,
            traffic,
        };
        Ok(Outbox {
            shared: Arc::new(shared),
        })
    }

    /// Queues a text for this peer; false when the connection is closing or this made it close.
    pub fn push_text(&self, text: String) -> bool {
        self.push(&mut self.lock(), Item::Text(text), false)
    }

    /// Queues an event meant for this peer alone, without `seq`; false as for [`Self::push_text`].
    pub fn push_event(&self, event: &EventText) -> bool {
        let item = Item::Event {
            event: event.clone(),
            seq: None,
        };
        self.push(&mut self.lock(), item, false)
    }

    /// Queues a broadcast under this peer's next `seq`, which is used up even when the frame is
    /// dropped (section 1.3); false when it was not queued.
    pub fn broadcast(&self, event: &EventText, drop_if_slow: bool) -> bool {
        let mut queue = self.lock();
        if queue.closed {
            return false;
        }
        queue.seq += 1;
        let seq = Some(queue.seq);
        self.push(
            &mut queue,
            Item::Event {
                event: event.clone(),
                seq,
            },
            drop_if_slow,
        )
    }

    /// Closes the connection after everything queued so far was sent. The first close counts; the
    /// reason is cut to what a close frame holds.
    pub fn close(&self, code: u16, reason: &str) {
        let mut queue = self.lock();
        if !queue.closed {
            queue.closed = true;
            queue.farewell = Some(Farewell {
                code,
                reason: truncate_reason(reason).to_owned(),
            });
            self.alert(&mut queue);
        }
    }

    /// Makes the owner's wait return `Woken`, for whatever it has to look at.
    pub fn poke(&self) {
        let mut queue = self.lock();
        queue.poked = true;
        self.alert(&mut queue);
    }

    /// Sends a ping; returns its number, which [`crate::net::Peer::answered`] reaches once it was answered. Of
    /// several that are due together only the last is sent.
    pub fn ping(&self) -> u64 {
        let mut queue = self.lock();
        queue.pings += 1;
        queue.ping_due = true;
        self.alert(&mut queue);
        queue.pings
    }

    /// Whether pushes are still accepted.
    pub fn is_open(&self) -> bool {
        !self.lock().closed
    }

    /// Whether the budget has room for so many bytes more: what has none is dropped or ends the connection.
    pub fn has_room(&self, bytes: usize) -> bool {
        self.lock().has_room(bytes, self.shared.budget)
    }

    /// Bytes that wait for this peer.
    pub fn queued_bytes(&self) -> usize {
        self.lock().bytes
    }

    /// The number of the last broadcast, 0 before the first.
    pub fn last_seq(&self) -> u64 {
        self.lock().seq
    }

    /// What wakes the owner; before there is a `Peer`, waits of the owner can listen to it too.
    pub fn wake(&self) -> &Wake {
        &self.shared.wake
    }

    /// Where the traffic of this connection is counted, if it is.
    pub(crate) fn traffic(&self) -> Option<&Arc<Traffic>> {
        self.shared.traffic.as_ref()
    }

    /// The owner is awake, and looks at everything from here on.
    pub(crate) fn begin_turn(&self) -> Turn {
        let mut queue = self.lock();
        queue.owner = Owner::Awake { news: false };
        Turn {
            ping: std::mem::take(&mut queue.ping_due).then_some(queue.pings),
            begun: queue.begun.take(),
        }
    }

    /// The owner is about to sleep, and lends its socket if nothing of it is unsent; false when something came
    /// since its turn began.
    pub(crate) fn fall_asleep(&self, lends: Option<&Arc<TcpStream>>) -> bool {
        let mut queue = self.lock();
        if matches!(queue.owner, Owner::Awake { news: true }) {
            return false;
        }
        queue.owner = Owner::Asleep {
            lends: lends.cloned(),
        };
        true
    }

    /// The owner's next errand.
    pub(crate) fn next(&self) -> Errand {
        let mut queue = self.lock();
        if let Some(item) = queue.items.pop_front() {
            if queue.items.is_empty() && queue.items.capacity() > SPARE_PLACES {
                queue.items = VecDeque::new();
            }
            drop(queue);
            let cost = item.cost();
            let text = item.into_text();
            return Errand::Send { text, cost };
        }
        Errand::Rest
    }

    /// Whether somebody poked since this was last asked.
    pub(crate) fn take_poke(&self) -> bool {
        std::mem::take(&mut self.lock().poked)
    }

    /// The goodbye that was asked for, even while texts wait before it.
    pub(crate) fn farewell(&self) -> Option<Farewell> {
        self.lock().farewell.clone()
    }

    /// A sent text no longer counts.
    pub(crate) fn release(&self, cost: usize) {
        let mut queue = self.lock();
        queue.bytes = queue.bytes.saturating_sub(cost);
        queue.full = false;
    }

    /// Accepts nothing more and forgets what waits: there is nobody to send it to.
    pub(crate) fn abandon(&self) {
        let mut queue = self.lock();
        queue.closed = true;
        queue.items = VecDeque::new();
        queue.bytes = 0;
        // The socket closes with its owner, whoever still has a handle.
        queue.owner = Owner::default();
        queue.begun = None;
    }

    /// Whether the peer was given up as slow: nothing queued before is worth waiting for.
    pub(crate) fn gave_up(&self) -> bool {
        self.lock().slow
    }

    fn push(&self, queue: &mut Queue, item: Item, drop_if_slow: bool) -> bool {
        if queue.closed {
            return false;
        }
        let cost = item.cost();
        if !queue.has_room(cost, self.shared.budget) {
            if drop_if_slow {
                self.traffic().inspect(|traffic| traffic.note_dropped());
                queue.full = true;
            } else {
                self.traffic().inspect(|traffic| traffic.note_given_up());
                queue.closed = true;
                queue.slow = true;
                queue.items = VecDeque::new();
                queue.bytes = 0;
                queue.farewell = Some(Farewell {
                    code: POLICY,
                    reason: SLOW_CONSUMER.to_owned(),
                });
                self.alert(queue);
            }
            return false;
        }
        let item = match self.write_for_owner(queue, item) {
            Ok(()) => return true,
            Err(item) => item,
        };
        queue.bytes += item.cost();
        queue.items.push_back(item);
        self.alert(queue);
        true
    }

    /// Writes what the socket takes of a text, while the owner lends it; what it does not take at all comes back.
    fn write_for_owner(&self, queue: &mut Queue, item: Item) -> Result<(), Item> {
        let Owner::Asleep {
            lends: Some(socket),
        } = &queue.owner
        else {
            return Err(item);
        };
        // Where something waits already, or when one frame is not enough, the owner goes on by itself.
        if !queue.items.is_empty() || queue.bytes > 0 || item.cost() > FRAGMENT_BYTES {
            return Err(item);
        }
        let cost = item.cost();
        let text = item.into_text();
        let mut frame = text_frame(&text);
        match (&**socket).write(&frame) {
            Ok(written @ 1..) => {
                self.traffic().inspect(|traffic| traffic.add_sent(written));
                if written < frame.len() {
                    queue.begun = Some((frame.split_off(written), cost));
                    queue.bytes += cost;
                    queue.owner = Owner::default();
                    self.shared.wake.notify();
                }
                Ok(())
            }
            // A broken socket is for the owner to notice.
            _ => Err(Item::Text(text)),
        }
    }

    /// Makes the owner look once more before it sleeps, or wakes it.
    fn alert(&self, queue: &mut Queue) {
        match &mut queue.owner {
            Owner::Awake { news } => *news = true,
            Owner::Asleep { .. } => self.shared.wake.notify(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.shared
            .queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
