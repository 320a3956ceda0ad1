//! What went over many connections together: counted where it happens, read by whoever asks.
//!
//! Relaxed counters without a lock. Connections that share one value are counted together.

use std::sync::atomic::{AtomicU64, Ordering};

/// Sums over all connections that share it; they only grow.
#[derive(Debug, Default)]
pub struct Traffic {
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
