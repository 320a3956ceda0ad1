//! What went over many connections together, and what waits for them: counted where it happens, read by whoever asks.
//!
//! Relaxed counters without a lock. Connections that share one value are counted together.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::protocol::limits::MAX_QUEUED_BYTES;

/// Sums over all connections that share it; all but what is queued only grow.
#[derive(Debug, Default)]
pub struct Traffic {
    queued: AtomicUsize,
    received: AtomicU64,
    sent: AtomicU64,
    dropped: AtomicU64,
    given_up: AtomicU64,
}

impl Traffic {
    /// Bytes of WebSocket frames that arrived; under TLS as they were before it.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Bytes of WebSocket frames that left; under TLS as they were before it.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Events that were dropped because their peer read too slowly.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Connections that ended because their peer read too slowly.
    pub fn given_up(&self) -> u64 {
        self.given_up.load(Ordering::Relaxed)
    }

    /// Bytes that wait to be sent.
    pub fn queued(&self) -> usize {
        self.queued.load(Ordering::Relaxed)
    }

    /// Bytes that may still be queued for all together. Those who queue at the same moment may all take them.
    pub(super) fn room(&self) -> usize {
        MAX_QUEUED_BYTES.saturating_sub(self.queued())
    }

    pub(super) fn add_queued(&self, bytes: usize) {
        self.queued.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn take_queued(&self, bytes: usize) {
        self.queued.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(super) fn add_received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn add_sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn note_dropped(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn note_given_up(&self) {
        self.given_up.fetch_add(1, Ordering::Relaxed);
    }
}
