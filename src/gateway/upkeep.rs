//! What the timer does by itself: ticks, expiry of pairing requests, and saving what may be saved late.
//!
//! It owns the deadline of the next expiry. An idle gateway wakes up for ticks alone; the late save
//! rides on them.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::gateway::apply::apply;
use crate::gateway::context::Context;
use crate::gateway::timer::TimerId;
use crate::pairing::{expire, next_expiry};

/// How long to wait with the next attempt when expired requests cannot be removed from the disk.
const RETRY: Duration = Duration::from_secs(60);

/// The deadline of the next expiry.
#[derive(Debug, Default)]
pub struct Upkeep {
    scheduled: Mutex<Option<Scheduled>>,
}

#[derive(Clone, Copy, Debug)]
struct Scheduled {
    /// Epoch milliseconds of the expiry.
    due_ms: u64,
    timer: TimerId,
}

impl Upkeep {
    /// Looks when the next request expires and sets the timer for it. To be called after every change of
    /// the pending requests, with no lock held.
    pub fn reschedule(&self, context: &Arc<Context>) {
        match context.store.read(next_expiry) {
            Ok(due_ms) => self.set(context, due_ms),
            Err(fault) => {
                log::error!(target: "gateway", "pairing requests cannot be read: {fault}")
            }
        }
    }

    fn set(&self, context: &Arc<Context>, due_ms: Option<u64>) {
        let mut scheduled = self
            .scheduled
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if scheduled.map(|entry| entry.due_ms) == due_ms {
            return;
        }
        if let Some(entry) = scheduled.take() {
            context.timer.cancel(entry.timer);
        }
        *scheduled = due_ms.map(|due_ms| {
            // The wait is measured from now on the steady clock: a step of the wall clock moves nothing.
            let wait = Duration::from_millis(due_ms.saturating_sub(context.now_ms()));
            let weak = Arc::downgrade(context);
            let timer = context
                .timer
                .schedule(Instant::now() + wait, move || expire_due(&weak));
            Scheduled { due_ms, timer }
        });
    }

    fn fired(&self) {
        *self
            .scheduled
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Starts the regular work: the first tick, and the expiry of requests found on the disk.
pub fn begin(context: &Arc<Context>) {
    schedule_tick(context);
    context.upkeep.reschedule(context);
}

fn schedule_tick(context: &Arc<Context>) {
    let weak = Arc::downgrade(context);
    let next = Instant::now() + context.settings.tick_interval;
    context.timer.schedule(next, move || tick(&weak));
}

/// Notices that somebody set the time of day. What ends by itself keeps the time it has left.
pub fn follow_clock(context: &Arc<Context>) {
    let Some(step_ms) = context.store.follow_clock() else {
        return;
    };
    log::warn!(
        target: "gateway",
        "the clock of this machine was set by {} s; what waits or ends by itself keeps the time it has left",
        step_ms / 1_000
    );
    context.presence().follow_clock(step_ms);
    context.pending_work().follow_clock(step_ms);
    context.upkeep.reschedule(context);
}

fn tick(weak: &Weak<Context>) {
    let Some(context) = weak.upgrade() else {
        return;
    };
    follow_clock(&context);
    let now_ms = context.now_ms();
    context.hub.broadcast("tick", &json!({"ts": now_ms}));
    if let Err(fault) = context.store.flush_due(now_ms) {
        log::error!(target: "gateway", "last-seen times cannot be saved: {fault}");
    }
    schedule_tick(&context);
}

fn expire_due(weak: &Weak<Context>) {
    if let Some(context) = weak.upgrade() {
        context.upkeep.fired();
        expire_now(&context);
    }
}

/// Removes what has expired and tells everybody; nodes that are still connected ask anew. Sets the timer
/// for what remains.
pub fn expire_now(context: &Arc<Context>) {
    let expired = context.store.transact(|state, now| {
        let changes = expire(state, now);
        Ok::<_, Infallible>(((), changes))
    });
    match expired {
        Ok(((), changes)) => {
            apply(context, changes, None);
            context.upkeep.reschedule(context);
        }
        Err(fault) => {
            log::error!(target: "gateway", "expired pairing requests cannot be removed: {fault}");
            let again = Arc::downgrade(context);
            context
                .timer
                .schedule(Instant::now() + RETRY, move || expire_due(&again));
        }
    }
}
